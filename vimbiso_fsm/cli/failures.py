"""The end of a command with an error."""

from __future__ import annotations

import sys
import traceback
from pathlib import PurePath
from typing import NoReturn

import typer

from vimbiso_fsm.cli.plain_text import clean
from vimbiso_fsm.errors import VimbisoError


def fail(fault: object) -> NoReturn:
    """Print an error and end with exit code 1."""
    _end(fault, 1)


def misuse(fault: object) -> NoReturn:
    """Print an error about the usage and end with exit code 2."""
    _end(fault, 2)


def _end(fault: object, code: int) -> NoReturn:
    print(f"error: {clean(str(fault))}", file=sys.stderr)
    raise typer.Exit(code)


def describe(error: BaseException) -> str:
    """Describe an error of the application's code in one line: its type, its message and its place."""
    said = f"{type(error).__name__}: {' '.join(str(error).split())}"
    if isinstance(error, ImportError | SyntaxError | VimbisoError):  # their messages name the place
        return said
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{said} ({PurePath(place.filename).name}:{place.lineno})"
