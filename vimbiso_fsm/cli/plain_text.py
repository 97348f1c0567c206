"""Text from a pipe and text for a terminal; neither is trusted."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

from vimbiso_fsm.channels.terminal import CONTROLS
from vimbiso_fsm.messages.words import plain

MAX_LINE: Final = 4 * 1024 * 1024
"""Bytes of a line that are read."""
MAX_SHOWN: Final = 200
"""Characters of a line that are repeated."""

_INVISIBLE: Final = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Characters that a terminal obeys or hides and that JSON leaves unescaped."""


def lines(stream: BinaryIO) -> Iterator[bytes]:
    """Read the lines of a stream without their ends, each as soon as it has arrived.

    Args:
        stream: The stream.

    Yields:
        A line; of a line longer than `MAX_LINE`, the first `MAX_LINE + 1` bytes, so that the reader can tell.
    """
    while line := stream.readline(MAX_LINE + 1):
        rest = line
        while not rest.endswith(b"\n") and (rest := stream.readline(MAX_LINE)):
            pass
        yield line.removesuffix(b"\n").removesuffix(b"\r")


def clean(text: str) -> str:
    """Remove control characters except tabs and line ends, and replace what is not valid UTF-8."""
    return plain(text.translate(CONTROLS))


def one_line(text: str) -> str:
    """Join the lines of a text and remove control characters; indentation stays."""
    return " ".join(clean(text).splitlines())


def shown(text: str) -> str:
    """Shorten a text of a user to one line of at most `MAX_SHOWN` characters."""
    line = " ".join(_INVISIBLE.sub("", clean(text[: 2 * MAX_SHOWN])).split())
    return line if len(line) <= MAX_SHOWN and len(text) <= 2 * MAX_SHOWN else f"{line[:MAX_SHOWN]}…"


def as_json(raw: Any, *, indent: int | None = None) -> str:
    """Write JSON that people can read, with invisible characters escaped."""
    text = json.dumps(raw, ensure_ascii=False, indent=indent)
    return _INVISIBLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
