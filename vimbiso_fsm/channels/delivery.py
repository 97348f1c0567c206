"""What one webhook request delivers, and how its bytes are read without trusting them.

A request that is no webhook at all is refused as a whole (`InvalidMessage`); a part of it that is broken is noted and
the rest is handled, for the channel would send the whole batch again for days.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, Generic, Never, TypedDict, TypeGuard, TypeVar

import attrs

from vimbiso_fsm.errors import InvalidMessage
from vimbiso_fsm.messages.message import Message

T = TypeVar("T")

EARLIEST: Final = 1_230_768_000
"""2009-01-01 in seconds since 1970: no channel here is older, so an earlier time is nonsense."""

MAX_DIGITS: Final = 11
"""Digits of a time in seconds; more would not fit a `datetime`."""

MAX_NAME: Final = 40
"""Characters of a type or field name that is worth repeating in a note."""


@attrs.frozen
class Kind(Generic[T]):
    """A kind of JSON value: how it is called, and its Python type."""

    name: str
    type: type[T]


TEXT: Final = Kind[str]("text", str)
NUMBER: Final = Kind[int]("a whole number", int)
OBJECT: Final = Kind[dict[str, Any]]("an object", dict)
LIST: Final = Kind[list[Any]]("a list", list)


class Content(TypedDict, total=False):
    """What a `Message` takes of what was said: `text`, `choice` or, when it is neither, `kind`."""

    text: str
    choice: str
    kind: str


@attrs.frozen
class Note:
    """Why a part of a delivery is no message. `place`: its path, as in `entry[0].changes[1].value.messages[0]`."""

    place: str
    reason: str


@attrs.frozen
class Delivery:
    """What one webhook request held: the `messages` in the order they were given, how many `statuses` (sent,
    delivered, read) came with them, what was `ignored` by rule, and the `faults`, parts that should have been
    messages and are broken."""

    messages: tuple[Message, ...] = ()
    statuses: int = 0
    ignored: tuple[Note, ...] = ()
    faults: tuple[Note, ...] = ()


@attrs.define
class Findings:
    """A delivery while it is being read."""

    messages: list[Message] = attrs.field(factory=list[Message])
    statuses: int = 0
    ignored: list[Note] = attrs.field(factory=list[Note])
    faults: list[Note] = attrs.field(factory=list[Note])

    def each(self, place: str, items: list[Any], read: Callable[[str, dict[str, Any]], None]) -> None:
        """Reads every item with its place; a broken one becomes a fault, and the next is read all the same."""
        for number, item in enumerate(items):
            where = f"{place}[{number}]"
            try:
                read(where, _object("part", item))
            except InvalidMessage as error:
                self.faults.append(Note(where, str(error)))

    def ignore(self, place: str, reason: str) -> None:
        """Notes a part that is no message and was not meant to be one."""
        self.ignored.append(Note(place, reason))

    def delivery(self) -> Delivery:
        """What was found."""
        return Delivery(tuple(self.messages), self.statuses, tuple(self.ignored), tuple(self.faults))


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`. Refused: what is no JSON (`NaN` is none), nests too deeply, is no object, or names a
    key twice, which two readers could understand differently."""
    try:
        value: Any = json.loads(body, object_pairs_hook=_once, parse_constant=_no_constant)
    except InvalidMessage:
        raise
    except RecursionError:
        raise InvalidMessage("body", "is nested too deeply") from None
    except ValueError:  # not chained: the error quotes the body, and with it what members wrote
        raise InvalidMessage("body", "is no JSON") from None
    return _object("body", value)


def _object(field: str, value: object) -> dict[str, Any]:
    if not _is_object(value):
        raise InvalidMessage(field, f"must be an object, not {type(value).__name__}")
    return value


def _is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)  # the keys of a JSON object are always text


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise InvalidMessage("body", "names a key twice")
    return found


def _no_constant(_: str) -> Never:
    raise InvalidMessage("body", "holds NaN or Infinity, which are no JSON")


def take(holder: object, path: str, kind: Kind[T]) -> T:
    """The value at a dotted `path` of a JSON object; `InvalidMessage` when it is missing or of another type."""
    value = maybe(holder, path, kind)
    if value is None:
        raise InvalidMessage(path, "is missing")
    return value


def maybe(holder: object, path: str, kind: Kind[T]) -> T | None:
    """As `take`, but None when there is no such value."""
    value: Any = holder
    for name in path.split("."):
        value = value.get(name) if _is_object(value) else None
    if value is None:
        return None
    if not isinstance(value, kind.type) or isinstance(value, bool):  # True is an int to Python, but not to JSON
        raise InvalidMessage(path, f"must be {kind.name}, not {type(value).__name__}")
    return value


def instant(seconds: object, now: datetime | None) -> datetime | None:
    """A sender's time (seconds since 1970, as a number or its ASCII digits) in UTC.

    None when it is nonsense, before 2009, or later than `now`: what is dated tomorrow counts as said now (SG-64).
    None also without `now`: a time that cannot be judged is not believed.
    """
    if isinstance(seconds, str) and seconds.isascii() and seconds.isdigit() and len(seconds) <= MAX_DIGITS:
        seconds = int(seconds)
    if now is None or type(seconds) is not int or not EARLIEST <= seconds <= now.timestamp():
        return None
    return datetime.fromtimestamp(seconds, UTC)


def one_line(text: str) -> str:
    """`text` on one line and without lone surrogates, which nothing can encode: a profile name."""
    return " ".join(text.encode("utf-8", "replace").decode().split())


def is_name(value: object) -> bool:
    """True for a short ASCII identifier: a type or field name that may be kept and repeated in a note."""
    return isinstance(value, str) and value.isascii() and value.isidentifier() and len(value) <= MAX_NAME


def same_secret(given: str | None, expected: str) -> bool:
    """Compares in constant time. No header is never right, nor is anything where no secret was set."""
    if not given or not expected:
        return False
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode("utf-8", "replace"))
