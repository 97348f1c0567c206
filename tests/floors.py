"""Print the lowest versions that `pyproject.toml` declares, as constraints for pip. `make floors` installs them."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement

PROJECT: Final = Path(__file__).parents[1] / "pyproject.toml"
MEASURED: Final = ("opentelemetry-sdk",)
"""Packages of the group `test` that stand for those of an embedder, so that their lowest versions are tried too."""


def floors(project: Mapping[str, Any]) -> dict[str, str]:
    """Return the lowest version of each dependency and of each package of an extra.

    Args:
        project: The contents of a `pyproject.toml`.
    """
    found: dict[str, str] = {}
    for requirement in _requirements(project):
        for bound in requirement.specifier:
            if bound.operator in (">=", "=="):
                found[requirement.name] = bound.version
    return found


def _requirements(project: Mapping[str, Any]) -> Iterator[Requirement]:
    declared = project["project"]
    for words in (declared["dependencies"], *declared.get("optional-dependencies", {}).values()):
        yield from map(Requirement, words)
    for words in project.get("dependency-groups", {}).get("test", ()):
        if isinstance(words, str) and Requirement(words).name in MEASURED:
            yield Requirement(words)


if __name__ == "__main__":
    for name, version in sorted(floors(tomllib.loads(PROJECT.read_text(encoding="utf-8"))).items()):
        print(f"{name}=={version}")
