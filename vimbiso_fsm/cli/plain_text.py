"""Lines from a pipe, and words for a terminal, neither of them trusted."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

from vimbiso_fsm.channels.terminal import CONTROLS

MAX_LINE: Final = 4 * 1024 * 1024
"""Bytes of a line that are looked at."""
MAX_SHOWN: Final = 200
"""Characters of a line that are repeated."""

_UNSEEN: Final = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""What a terminal obeys or hides, and JSON leaves as it is."""


def lines(stream: BinaryIO) -> Iterator[bytes]:
    """The lines of a stream without their ends, each as soon as it is there. Of a longer one, `MAX_LINE` bytes and
    one: enough to know."""
    while line := stream.readline(MAX_LINE + 1):
        rest = line
        while not rest.endswith(b"\n") and (rest := stream.readline(MAX_LINE)):
            pass
        yield line.removesuffix(b"\n").removesuffix(b"\r")


def clean(text: str) -> str:
    """`text` without control characters but tabs and line ends."""
    return text.translate(CONTROLS)


def shown(text: str) -> str:
    """What was said, on one line that is not too long."""
    line = " ".join(_UNSEEN.sub("", clean(text[: 2 * MAX_SHOWN])).split())
    return line if len(line) <= MAX_SHOWN and len(text) <= 2 * MAX_SHOWN else f"{line[:MAX_SHOWN]}…"


def as_json(raw: Any, *, indent: int | None = None) -> str:
    """`raw` as JSON that can be read by people too, and looks like what it is."""
    text = json.dumps(raw, ensure_ascii=False, indent=indent)
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
