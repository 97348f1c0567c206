"""The option `--to`: a new file in place of standard output, for data of members."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TextIO, TypeAlias

import typer

from vimbiso_fsm.cli.failures import fail

To: TypeAlias = Annotated[
    Path | None,
    typer.Option("--to", metavar="FILE", help="A new file, readable by its owner only. Default: standard output."),
]


@contextmanager
def output(to: Path | None) -> Generator[TextIO | None]:
    """Open a new file; None, which is standard output to `print`, without one."""
    if to is None:
        yield None
        return
    try:
        descriptor = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        fail(f"{to} exists; name a new file")
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        yield file
