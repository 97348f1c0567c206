"""A row of the table: a fault, what must hold, what was counted, what was found wrong."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Final, TypeAlias

import attrs

from tests.faults.records import Folder

__all__ = ["ROWS", "Profile", "Report", "Row", "folder", "row"]


@attrs.frozen
class Profile:
    """How much of it: `short` for every test run, else deep."""

    short: bool = True

    def of(self, short: int, deep: int) -> int:
        """The one or the other."""
        return short if self.short else deep


@attrs.define
class Report:
    """What a row counted and found: `wrong` is empty when all that must hold held."""

    counts: dict[str, float] = attrs.field(factory=dict)
    wrong: list[str] = attrs.field(factory=list)

    def count(self, **counts: float) -> None:
        """Add to what was counted."""
        for name, number in counts.items():
            self.counts[name] = self.counts.get(name, 0) + number

    def demand(self, holds: object, else_: str) -> None:
        """Note what is wrong unless it holds."""
        if not holds:
            self.wrong.append(else_)


Run: TypeAlias = Callable[[Profile, int], Report]


@attrs.frozen
class Row:
    """`name`: what `--row` and pytest call it; `fault`, `holds`: as the table says them."""

    name: str
    fault: str
    holds: str
    run: Run


ROWS: Final[dict[str, Row]] = {}


def row(name: str, fault: str, holds: str) -> Callable[[Run], Run]:
    """Makes a function a row of the table."""

    def enter(run: Run) -> Run:
        ROWS[name] = Row(name, fault, holds, run)
        return run

    return enter


@contextlib.contextmanager
def folder() -> Generator[Folder]:
    """Where a row keeps its records."""
    with tempfile.TemporaryDirectory(prefix="vimbiso-faults-") as path:
        yield Folder(Path(path))
