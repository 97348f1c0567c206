"""Tables and progress bars."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from vimbiso_fsm.cli.plain_text import clean

TABLE_WIDTH: Final = 160
"""Columns of a table that is not printed to a terminal."""


def print_table(names: Sequence[str], rows: Iterable[Iterable[str]], *, numbers: Collection[str]) -> None:
    """Print a table to standard output, without control characters.

    Args:
        names: The names of the columns.
        rows: The cells of each row.
        numbers: The names of the columns that are aligned to the right.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name, overflow="fold", justify="right" if name in numbers else "left")
    for row in rows:
        table.add_row(*(Text(clean(cell)) for cell in row))
    Console(highlight=False, width=None if sys.stdout.isatty() else TABLE_WIDTH).print(table)


def progress_bar(count: str, notes: Console | None = None) -> Progress:
    """Make a progress bar on standard error, which is shown at a terminal only.

    Args:
        count: What is counted, as a format of Rich: "{task.completed} of {task.total}".
        notes: The console of other notes, which appear above the bar.
    """
    notes = notes or Console(stderr=True, highlight=False)
    columns = (TextColumn(count), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    return Progress(
        *columns,
        console=notes,
        transient=True,
        disable=not notes.is_terminal,
        redirect_stdout=sys.stdout.isatty(),  # a file or a pipe gets its lines, which Rich would print above the bar
    )
