"""The place in the author's code at which a part of a declaration was made: a file and a line.

A part remembers it so that a fault found in it can be shown there. It is no part of the value: two parts that were made
at different places are equal, and no document, fingerprint or audit entry has it.
"""

from __future__ import annotations

import os
import sys
from types import FrameType
from typing import Final, NamedTuple

_BETWEEN: Final = frozenset({"attr._make", "attr._funcs", "attr._next_gen", "typing", "copy", __name__})
"""Modules whose frames stand between a part and the code that makes it: `attrs.evolve`, and `State[Data](…)`."""


class Made(NamedTuple):
    """A place in a source file.

    Attributes:
        file: The path of the file, as Python was given it; empty if it is not known.
        line: The number of the line, from 1; 0 if it is not known.
    """

    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        return f"{shown_path(self.file)}:{self.line}" if self.file else ""


UNKNOWN: Final = Made()
"""The place of a part whose code is not known."""


def caller() -> Made:
    """Return the place of the code that makes a value of an attrs class; for `attrs.field(factory=caller)`.

    It is the line on which the call begins, also within a comprehension or a function that makes parts.
    """
    frame: FrameType | None = sys._getframe(1)  # `inspect.stack` reads the source of each frame
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith("<attrs generated") and frame.f_globals.get("__name__") not in _BETWEEN:
            return Made(file, frame.f_lineno)
        frame = frame.f_back
    return UNKNOWN


def embedder() -> Made:
    """Return the place of the code outside this library that has called it; `UNKNOWN` if there is none."""
    frame: FrameType | None = sys._getframe(1)  # as in `caller`
    while frame is not None:
        file, module = frame.f_code.co_filename, str(frame.f_globals.get("__name__"))
        if not file.startswith("<") and module not in _BETWEEN and module.partition(".")[0] != "vimbiso_fsm":
            return Made(file, frame.f_lineno)
        frame = frame.f_back
    return UNKNOWN


def made_of(callback: object) -> Made:
    """Return the place at which a function begins; `UNKNOWN` if it has no code in Python."""
    function = getattr(callback, "__func__", callback)
    code = getattr(getattr(function, "__wrapped__", function), "__code__", None)
    return Made(code.co_filename, code.co_firstlineno) if code is not None else UNKNOWN


def made_of_class(kind: type) -> Made:
    """Return the place at which a class begins; `UNKNOWN` if its source is not available."""
    import inspect  # here, because only a fault needs it

    try:
        file = inspect.getsourcefile(kind) or ""
        return Made(file, inspect.getsourcelines(kind)[1] or 1) if file else UNKNOWN
    except (OSError, TypeError):
        return UNKNOWN


def made_of_field(kind: type, name: str) -> Made:
    """Return the place at which a class declares a field; that of the class, or `UNKNOWN`, if it is not seen."""
    import inspect  # here, because only a finding needs it
    import re

    for base in kind.__mro__:
        begin = made_of_class(base) if name in inspect.get_annotations(base) else UNKNOWN
        if begin.file:
            for offset, line in enumerate(inspect.getsourcelines(base)[0]):
                if re.match(rf"\s*{re.escape(name)}\s*[:=]", line):
                    return begin._replace(line=begin.line + offset)
    return made_of_class(kind)


def shown_path(path: str) -> str:
    """Return a path as it is shown: relative to the current directory if the file is within it."""
    try:
        relative = os.path.relpath(path)
    except (OSError, ValueError):  # the directory was removed, or is on another drive
        return path
    return path if relative.startswith(os.pardir) else relative
