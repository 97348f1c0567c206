"""A row of the table: a fault, what must hold, what was counted, and what was found wrong."""

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
    """The size of a run: `short` for every test run, and otherwise deep."""

    short: bool = True

    def of(self, short: int, deep: int) -> int:
        """Return the value of the profile."""
        return short if self.short else deep


@attrs.define
class Report:
    """What a row counted and found.

    Attributes:
        counts: The counts.
        wrong: What did not hold; empty when everything did.
    """

    counts: dict[str, float] = attrs.field(factory=dict)
    wrong: list[str] = attrs.field(factory=list)

    def count(self, **counts: float) -> None:
        """Add to a count."""
        for name, number in counts.items():
            self.counts[name] = self.counts.get(name, 0) + number

    def demand(self, holds: object, else_: str) -> None:
        """Record what is wrong unless a condition holds."""
        if not holds:
            self.wrong.append(else_)


Run: TypeAlias = Callable[[Profile, int], Report]


@attrs.frozen
class Row:
    """A row of the table.

    Attributes:
        name: Its name for `--row` and pytest.
        fault: The fault, as the table names it.
        holds: What must hold, as the table names it.
    """

    name: str
    fault: str
    holds: str
    run: Run


ROWS: Final[dict[str, Row]] = {}


def row(name: str, fault: str, holds: str) -> Callable[[Run], Run]:
    """Make a function a row of the table."""

    def enter(run: Run) -> Run:
        ROWS[name] = Row(name, fault, holds, run)
        return run

    return enter


@contextlib.contextmanager
def folder() -> Generator[Folder]:
    """Make the folder for the records of a row."""
    with tempfile.TemporaryDirectory(prefix="vimbiso-faults-") as path:
        yield Folder(Path(path))
