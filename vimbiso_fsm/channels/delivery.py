"""The contents of one webhook request, read from untrusted bytes.

Each part of a request is of one of three classes:

    said        a word of a member to the conversation, a `Message`; only this is answered, refused or counted
    told        a fact that the channel tells, a `Told`: a status, a reaction, an edit, a blocked bot, a payment …
    unreadable  a part that is broken, a `Note`

A request that is no webhook at all is refused as a whole (`InvalidMessage`). If only a part of it is broken, that part
is noted and the rest is handled: otherwise the channel would send the whole batch again for days. What a member said is
said also if the content is of a kind that is not known, or is broken: the message then has only its kind.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from math import inf, isinf
from typing import Any, Final, Generic, Never, TypedDict, TypeGuard, TypeVar

import attrs

from vimbiso_fsm.errors import InvalidMessage
from vimbiso_fsm.messages.contents import (
    MAX_CONTENT,
    MAX_INTEGER,
    MAX_REFERENCE,
    Content,
    Form,
    Referral,
    as_json,
)
from vimbiso_fsm.messages.message import Message
from vimbiso_fsm.messages.money import Money
from vimbiso_fsm.messages.told import StatusChanged, Told
from vimbiso_fsm.messages.value import Value

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

EARLIEST_INSTANT: Final = 1_230_768_000
"""2009-01-01 in seconds since the epoch. No channel here is older, so an earlier time is wrong."""

INSTANT_DIGITS: Final = 11
"""Digits of an instant in seconds; more would not fit into a `datetime`."""

NAME_LENGTH: Final = 40
"""Characters of a type or field name that a note repeats."""

JSON_DEPTH: Final = 64
"""Levels of nesting in a body. Those of the channels have about ten, and the values of a form `MAX_DEPTH` more."""
JSON_DIGITS: Final = 64
"""Characters of a number in a body."""

_BRACKETS: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)
"""A text, or a bracket outside of texts."""


@attrs.frozen(eq=False, repr=False)
class Kind(Value, Generic[T_co]):
    """A kind of JSON value: its name in errors and its Python type."""

    name: str
    type: type[T_co]


TEXT: Final = Kind[str]("text", str)
NUMBER: Final = Kind[int]("a whole number", int)
OBJECT: Final = Kind[dict[str, Any]]("an object", dict)
LIST: Final = Kind[list[Any]]("a list", list)


class Said(TypedDict, total=False):
    """What a `Message` says: its words, its content or its `kind`, and how it came about."""

    text: str
    choice: str
    kind: str
    content: Content
    payload: str
    referral: Referral
    replied_to: str
    forwarded: bool
    burst: str


@attrs.frozen(eq=False, repr=False)
class Note(Value):
    """The reason why a part of a delivery cannot be read.

    Attributes:
        place: The path of the part: `entry[0].changes[1].value.messages[0]`.
        reason: What is wrong with it.
    """

    place: str
    reason: str


@attrs.frozen(eq=False, repr=False)
class Delivery(Value):
    """The content of one webhook request.

    Attributes:
        messages: What was said, in the order of the request.
        events: What was told, in the order of the request.
        faults: The parts that cannot be read.
    """

    messages: tuple[Message, ...] = ()
    events: tuple[Told, ...] = ()
    faults: tuple[Note, ...] = ()

    @property
    def statuses(self) -> int:
        """The number of status reports (sent, delivered, read, failed)."""
        return sum(isinstance(event, StatusChanged) for event in self.events)


@attrs.define
class Findings:
    """The content of a webhook request while it is being read."""

    messages: list[Message] = attrs.field(factory=list[Message])
    events: list[Told] = attrs.field(factory=list[Told])
    faults: list[Note] = attrs.field(factory=list[Note])

    def each(self, place: str, items: list[Any], read: Callable[[str, dict[str, Any]], None]) -> None:
        """Read every item with its place; a broken one becomes a fault, and the next one is read all the same."""
        for number, item in enumerate(items):
            where = f"{place}[{number}]"
            try:
                read(where, _object("part", item))
            except InvalidMessage as error:
                self.faults.append(Note(where, str(error)))

    def delivery(self) -> Delivery:
        """Return what was read."""
        return Delivery(tuple(self.messages), tuple(self.events), tuple(self.faults))


def carried(kind: str, make: Callable[[], Content | None], caption: str | None = None) -> Said:
    """Return a message with the content that `make` reads.

    Args:
        kind: The kind of the message if the content is broken, above the bounds or none.
        make: Reads the content.
        caption: The words that are the text of the message then.
    """
    content = attempted(make)
    if content is not None and len(as_json(content)) <= MAX_CONTENT:
        return {"content": content}
    return {"kind": kind, "text": caption} if caption else {"kind": kind}


def attempted(make: Callable[[], T]) -> T | None:
    """Return what `make` reads; None if it is broken. Used of parts without which a message can be read."""
    try:
        return make()
    except InvalidMessage:
        return None


def short(value: object, limit: int = MAX_REFERENCE) -> str:
    """Return a text, or the digits of a whole number, as far as a fact may hold it; "" of anything else."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_INTEGER:
        return str(value)
    return value[:limit] if isinstance(value, str) else ""


def price(amount: object, currency: object, offset: int = 1) -> Money | None:
    """Return an amount of money that a channel tells; None if it is no amount.

    Args:
        amount: A number, or its digits.
        currency: Three capital letters.
        offset: The number of parts of one unit of the currency in which the amount is told.
    """
    if not isinstance(currency, str) or not re.fullmatch("[A-Z]{3}", currency) or isinstance(amount, bool):
        return None
    if not isinstance(amount, int | float | str) or not re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,15})?", str(amount)):
        return None
    return Money(Decimal(str(amount)) / offset, currency) if 0 < offset <= MAX_INTEGER else None


def form_of(text: object, name: str = "") -> Form:
    """Return the form whose values a channel writes as a text of JSON. A text that is none is the value `data`.

    Raises:
        InvalidMessage: It is no text, or the values are above the bounds.
    """
    if not isinstance(text, str):
        raise InvalidMessage("values", f"must be text, not {type(text).__name__}")
    values = attempted(lambda: read_object(text.encode("utf-8", "replace")))
    if values is None:
        return Form({"data": text}, name)
    token = values.pop("flow_token", "")
    return Form(values, name, short(token))


def read_object(body: bytes) -> dict[str, Any]:
    """Read the JSON object in `body`.

    Raises:
        InvalidMessage: The body is not JSON in UTF-8 (nor is `NaN`), is nested deeper than `JSON_DEPTH`, has a number
            above `JSON_DIGITS` or the range of a float, is not an object, or repeats a key, which two readers could
            understand differently.
    """
    if _is_too_deep(body):
        raise InvalidMessage("body", "is nested too deeply")
    try:
        value: Any = json.loads(
            body.decode(),
            object_pairs_hook=_once,
            parse_constant=_no_constant,
            parse_int=_whole_number,
            parse_float=_broken_number,
        )
    except InvalidMessage:
        raise
    except ValueError:  # not chained: the error quotes the body, and with it the words of members
        raise InvalidMessage("body", "is not JSON") from None
    return _object("body", value)


def _is_too_deep(body: bytes) -> bool:
    """Return whether a body is nested too deeply. It is looked through only if it has brackets enough."""
    if body.count(b"[") + body.count(b"{") <= JSON_DEPTH:
        return False
    depth = 0
    for found in _BRACKETS.finditer(body):
        match found[0]:
            case b"[" | b"{":
                depth += 1
                if depth > JSON_DEPTH:
                    return True
            case b"]" | b"}":
                depth -= 1
            case _:
                pass
    return False


def _whole_number(digits: str) -> int:
    if len(digits) > JSON_DIGITS:
        raise InvalidMessage("body", f"has a number of more than {JSON_DIGITS} characters")
    return int(digits)


def _broken_number(digits: str) -> float:
    number = float(digits) if len(digits) <= JSON_DIGITS else inf
    if isinf(number):
        raise InvalidMessage("body", f"has a number of more than {JSON_DIGITS} characters, or out of range")
    return number


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
    raise InvalidMessage("body", "holds NaN or Infinity, which are not JSON")


def take(holder: object, path: str, kind: Kind[T]) -> T:
    """Return the value at a dotted `path` of a JSON object.

    Raises:
        InvalidMessage: The value is missing or of another type.
    """
    value = maybe(holder, path, kind)
    if value is None:
        raise InvalidMessage(path, "is missing")
    return value


def maybe(holder: object, path: str, kind: Kind[T]) -> T | None:
    """Return the value at a dotted `path` of a JSON object; None if it is missing.

    Raises:
        InvalidMessage: The value is of another type.
    """
    value: Any = holder
    for name in path.split("."):
        value = value.get(name) if _is_object(value) else None
    if value is None:
        return None
    if not isinstance(value, kind.type) or isinstance(value, bool):  # True is an int to Python, but not to JSON
        raise InvalidMessage(path, f"must be {kind.name}, not {type(value).__name__}")
    return value


def instant(seconds: object, now: datetime | None) -> datetime | None:
    """Read the time at which a message was sent.

    Args:
        seconds: Seconds since the epoch, as a number or its ASCII digits.
        now: The current instant. Without it no time is believed.

    Returns:
        The instant in UTC; None if it is wrong, before `EARLIEST_INSTANT`, or later than `now` (SG-64).
    """
    if isinstance(seconds, str) and seconds.isascii() and seconds.isdigit() and len(seconds) <= INSTANT_DIGITS:
        seconds = int(seconds)
    if now is None or type(seconds) is not int or not EARLIEST_INSTANT <= seconds <= now.timestamp():
        return None
    return datetime.fromtimestamp(seconds, UTC)


def one_line(text: str) -> str:
    """Put a text, such as a profile name, on one line and replace lone surrogates."""
    return " ".join(text.encode("utf-8", "replace").decode().split())


def is_name(value: object) -> bool:
    """Return whether `value` is a short ASCII identifier: a type or field name that a note may repeat."""
    return isinstance(value, str) and value.isascii() and value.isidentifier() and len(value) <= NAME_LENGTH


def same_secret(given: str | None, expected: str) -> bool:
    """Compare two secrets in constant time. A missing header, or an unset secret, never matches."""
    if not given or not expected:
        return False
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode("utf-8", "replace"))


def header(headers: Mapping[str, str], name: str) -> str | None:
    """Return the value of a header.

    Args:
        headers: The headers of a request. Their names may have any case. A mapping of a web framework may name one
            twice in `items()`.
        name: The name of the header, in lower case.

    Returns:
        The value; None if it is missing, or given twice: two readers could take another one each.
    """
    found = [value for key, value in headers.items() if key.lower() == name]
    return found[0] if len(found) == 1 else None


def matches(given: str | None, expected: Iterable[str]) -> bool:
    """Compare a secret with each one that is expected, in a time that does not tell which one it was."""
    found = [same_secret(given, each) for each in expected]  # each one is compared
    return any(found)
