"""The frame of encrypted data, and the facts about such data that can be told without a key.

A frame is one line of words and the encrypted bytes. The words are the key, a number, the length of the readable part,
a digest, the nonce and a check of the line; they are authenticated with the rest. The check tells a damaged line from
one that names a key which is not at hand.

A store that decrypts hands out notes in place of data that it cannot decrypt (`without_key`, `BROKEN`). None of these
forms is JSON, and no JSON begins like one of them.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

import attrs

from vimbiso_fsm.messages.value import Value

FRAME: Final = b"encrypted:1 "
"""The beginning of encrypted data."""
BROKEN: Final = b"encrypted:broken"
"""The note in place of encrypted data that is damaged, or of another member, place or version."""
OWN: Final = "~"
"""The sign with which the id of a member's own key begins."""
BROKEN_FAULT: Final = "it is encrypted, and its bytes were changed or moved from another place"
NOT_GIVEN: Final = "this process was given no such key"

_NOTE: Final = b"encrypted:closed "
_LINE: Final = re.compile(rb"encrypted:1 ([!-~]+) (\d{1,18}) (\d{1,9}) ([0-9a-f]{64}|-) ([0-9a-f]{24}) ([0-9a-f]{8})\n")


@attrs.frozen(eq=False, repr=False)
class Frame(Value):
    """A frame, with an intact line.

    Attributes:
        key: The id of the key.
        number: The version of a document; 0 for other data.
        readable: The length of the readable part in bytes; 0 if the data is encrypted as a whole.
        named: The digest by which the audit names a document that was encrypted again since; "" for others.
        nonce: The nonce.
        line: The line, which ends with a newline.
        rest: The readable part and the encrypted bytes.
    """

    key: str
    number: int
    readable: int
    named: str
    nonce: bytes
    line: bytes = attrs.field(repr=False)
    rest: bytes = attrs.field(repr=False)


@attrs.frozen(eq=False, repr=False)
class Closed(Value):
    """Encrypted data whose key is not at hand.

    Attributes:
        key: The id of the key.
        fault: Why it is not at hand.
    """

    key: str
    fault: str


def line_of(key: str, number: int, readable: int, named: str, nonce: bytes) -> bytes:
    """Return the line of a frame; see `Frame` for the words."""
    words = b"encrypted:1 %b %d %d %b %b " % (
        key.encode("ascii"), number, readable, (named or "-").encode(), nonce.hex().encode()
    )  # fmt: skip
    return words + _check(words) + b"\n"


def frame_of(data: bytes) -> Frame | None:
    """Return the frame of encrypted data; None if its line is damaged, or if it is no encrypted data."""
    match = _LINE.match(data)
    if match is None or _check(data[: match.start(6)]) != match[6]:
        return None
    key, number, readable, named, nonce, _ = match.groups()
    return Frame(
        key.decode("ascii"),
        int(number),
        int(readable),
        "" if named == b"-" else named.decode("ascii"),
        bytes.fromhex(nonce.decode("ascii")),
        match[0],
        data[match.end() :],
    )


def without_key(key: str, fault: str) -> bytes:
    """Return the note in place of encrypted data whose key is not at hand."""
    return _NOTE + f"{key} {fault}".encode()


def closed(data: bytes) -> Closed | None:
    """Return which key is not at hand, for encrypted data with an intact line and for the note in its place."""
    if data.startswith(_NOTE):
        key, _, fault = data[len(_NOTE) :].decode().partition(" ")
        return Closed(key, fault)
    if not data.startswith(FRAME):
        return None
    frame = frame_of(data)
    return Closed(frame.key, NOT_GIVEN) if frame is not None else None


def fault_of(data: bytes) -> str:
    """Return why encrypted data cannot be read, in words; "" for other data."""
    found = closed(data)
    if found is not None:
        return f"it is encrypted with key {found.key!r}: {found.fault}"
    return BROKEN_FAULT if data.startswith((FRAME, BROKEN)) else ""


def named_digest(data: bytes) -> str:
    """Return the digest by which the audit names a document: the SHA-256 of its bytes as they are stored.

    A document that was encrypted again since its commit carries the digest of before.
    """
    frame = frame_of(data) if data.startswith(FRAME) else None
    return frame.named if frame is not None and frame.named else hashlib.sha256(data).hexdigest()


def _check(words: bytes) -> bytes:
    return hashlib.sha256(words).hexdigest()[:8].encode()
