"""`vimbiso new`: a small complete bot to begin with."""

from __future__ import annotations

import keyword
import sys
from collections.abc import Iterator
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Final

import typer

from vimbiso_fsm.cli.failures import fail
from vimbiso_fsm.cli.plain_text import shown

_STARTER: Final = "vimbiso_fsm.cli.starter"
_PLACES: Final = {
    "pyproject.toml.txt": "pyproject.toml",
    "README.md.txt": "README.md",
    "conversations.py.txt": "tests/test_visit.py",
    "home.walk.txt": "tests/walks/home.txt",
    "visit.walk.txt": "tests/walks/visit.txt",
}
"""The files of the project beside its package, by the names of their templates."""


def new(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="The name of the package and of the new folder: small letters, digits, _."),
    ],
) -> None:
    """Make a folder with a small complete bot: a flow, its texts, a service, a test, and a pyproject.toml.

    The folder must not exist. The bot passes the check, and its tests walk all its conversations.
    """
    _check_name(name)
    folder = Path(name)
    try:
        folder.mkdir()
    except OSError as error:
        fail(f"{name}: {'it exists; name a new folder' if folder.exists() else error.strerror}")
    for path, text in _files(name):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    print(f"made {name}/. Next:\n")
    print(f"    cd {name}")
    print(f"    vimbiso chat --flows {name}       talk to it")
    print(f"    vimbiso check --flows {name}      look for faults")
    print("    pip install pytest")
    print("    pytest                           walk through its conversations, and run its tests")
    print(f"    vimbiso diagram visit --flows {name}")


def _check_name(name: str) -> None:
    """End the command if Python could not import a package of this name, or would import another one."""
    if not name.isidentifier() or not name.isascii() or name != name.lower() or keyword.iskeyword(name):
        fail(f"{shown(name)}: no name for a package; give small letters, digits and _, beginning with a letter")
    if name in sys.stdlib_module_names or name in ("tests", "vimbiso_fsm") or find_spec(name) is not None:
        fail(f"{name}: Python has a package of this name already; give another one")


def _files(name: str) -> Iterator[tuple[str, str]]:
    """Yield the path of each file in the new folder, and its text."""
    starter = files(_STARTER)
    for file in starter.iterdir():
        if file.name.endswith(".py"):
            yield f"{name}/{file.name}", file.read_text(encoding="utf-8").replace(_STARTER, name)
    for file in (starter / "project").iterdir():
        if file.name in _PLACES:
            yield _PLACES[file.name], file.read_text(encoding="utf-8").replace("starter", name)
