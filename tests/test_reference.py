"""The reference of the site leaves out no public name and no command. `tests/check` does the same for findings."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import re
from pathlib import Path
from typing import Any

import pytest

import vimbiso_fsm
from vimbiso_fsm.cli.app import make_app

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = "\n".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "reference").glob("*.md"))
_ENTRY = re.compile(r"^:::\{public-names\} (\S+)(.*)$", re.MULTILINE)
_IMPORT = re.compile(r"^ *from (vimbiso_fsm[\w.]*) import ([\w, ]+)", re.MULTILINE)
NAMED = [(module, names.split()) for module, names in _ENTRY.findall(REFERENCE)]
PAGES = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*.py")]
ELSEWHERE = {
    "vimbiso_fsm.cli": "the command, which has a page of its own",
    "vimbiso_fsm.operations": "the procedures behind the managers",
    "vimbiso_fsm.legacy.convert": "shown once as the way of a record",
    "vimbiso_fsm.legacy.records": "likewise",
}
"""Modules whose names a page or a package may show although the reference leaves them out, and why."""


def references() -> Any:
    """Return the extension of the site that documents names."""
    place = importlib.util.spec_from_file_location("references", ROOT / "docs" / "_ext" / "references.py")
    assert place is not None
    assert place.loader is not None
    module = importlib.util.module_from_spec(place)
    place.loader.exec_module(module)
    return module


def documented() -> set[tuple[str, str]]:
    """Return the module and the name of each entry."""
    found: set[tuple[str, str]] = set()
    for given, chosen in NAMED:
        if "." in given:
            names = chosen or importlib.import_module(given).__all__
            found |= {(given, name) for name in names}
        else:
            found |= {("vimbiso_fsm", name) for name in references().names_of_group(given)}
    return found


def is_elsewhere(module: str) -> bool:
    """Return whether the reference may leave out the names of a module."""
    return any(module == name or module.startswith(f"{name}.") for name in ELSEWHERE)


def test_each_public_name_is_in_the_reference() -> None:
    """Each name that the library or one of its packages exports has an entry."""
    pytest.importorskip("docutils", reason="needs Sphinx")
    packages = [f"vimbiso_fsm.{each.name}" for each in pkgutil.iter_modules(vimbiso_fsm.__path__) if each.ispkg]
    exported = {
        (package, name)
        for package in ("vimbiso_fsm", *packages)
        if not is_elsewhere(package)
        for name in getattr(importlib.import_module(package), "__all__", ())
    }
    assert exported - documented() == set()


def test_each_name_that_a_page_imports_is_in_the_reference() -> None:
    """A page and an example import what the reference has."""
    pytest.importorskip("docutils", reason="needs Sphinx")
    known = documented()
    modules = {module for module, _ in known}
    lacking: set[str] = set()
    for page in PAGES:
        for module, names in _IMPORT.findall(page.read_text(encoding="utf-8")):
            for name in re.sub(r" as \w+", "", names).replace(",", " ").split():
                entry = (module, name) in known or f"{module}.{name}" in modules
                if not entry and not is_elsewhere(module):
                    lacking.add(f"{page.name}: {module}.{name}")
    assert lacking == set()


def test_each_command_is_in_the_reference() -> None:
    """The page of the commands has a section for each, as the directive makes them of the command itself."""
    pytest.importorskip("docutils", reason="needs Sphinx")
    from typer.main import get_command

    command: Any = get_command(make_app())
    shown = {words[0] for words, _ in references()._commands((), command)}
    assert ":::{commands}" in REFERENCE
    assert shown == set(command.commands)
