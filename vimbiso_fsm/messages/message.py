"""What comes in and what goes out, free of any channel's format.

A `Message` is what a member said; a reply is `Text`, `Buttons` or `Menu`. An author writes texts as keys with
parameters; `texts.Catalogue` gives each its final words in `.text` when the turn is decided.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Mapping
from datetime import datetime
from math import isfinite
from typing import Any

import attrs

from vimbiso_fsm.errors import InvalidMessage
from vimbiso_fsm.messages.replies import plain

MAX_ID = 512
"""Characters in a message id or channel identifier; WhatsApp's ids have about 60."""
MAX_DEPTH = 20
"""How deep what a channel knows of a member may be nested."""
MAX_METADATA = 4096
"""Characters of it, written as JSON."""


def _named(field: str) -> Callable[[object, attrs.Attribute[Any], object], None]:
    """An attrs validator for an id or an address, called `field` in errors."""

    def check(_: object, __: attrs.Attribute[Any], value: object) -> None:
        if not isinstance(value, str):
            raise InvalidMessage(field, f"must be text, not {type(value).__name__}")
        if not value.strip():
            raise InvalidMessage(field, "is empty; every message needs one")
        if len(value) > MAX_ID:
            raise InvalidMessage(field, f"has {len(value)} characters, the limit is {MAX_ID}")
        if not value.isprintable() and any(unicodedata.category(c) in {"Cc", "Cs"} for c in value):
            raise InvalidMessage(field, "holds control characters")

    return check


def _check_content(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Attrs validator: what was said."""
    if not isinstance(value, str) and (value is not None or attribute.default is not None):
        raise InvalidMessage(attribute.name, f"must be text, not {type(value).__name__}")


def _storable(value: object, depth: int = 0) -> Any:
    """`value` as it will be read back from a document: what JSON can say, tuples as lists."""
    if isinstance(value, str):
        return value if value.isascii() else plain(value)
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and isfinite(value)):
        return value
    if depth < MAX_DEPTH and isinstance(value, list | tuple):
        return [_storable(inner, depth + 1) for inner in value]
    if depth < MAX_DEPTH and isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        return {plain(name): _storable(inner, depth + 1) for name, inner in value.items()}
    fault = "is nested too deep" if depth >= MAX_DEPTH else f"holds a {type(value).__name__}, which cannot be stored"
    raise InvalidMessage("metadata", fault)


def _metadata(value: object) -> Mapping[str, Any]:
    """Attrs converter: what a channel knows goes into the document, so it is refused here when it cannot be stored."""
    if not isinstance(value, Mapping):
        raise InvalidMessage("metadata", f"must be an object, not a {type(value).__name__}")
    if not value:
        return {}
    kept: Mapping[str, Any] = _storable(value)
    size = len(json.dumps(kept))
    if size > MAX_METADATA:  # it is stored with every turn
        raise InvalidMessage("metadata", f"has {size} characters as JSON, the limit is {MAX_METADATA}")
    return kept


@attrs.frozen
class Channel:
    """A way to reach a member. `type`: "whatsapp", "telegram", "sms", "terminal" …; `identifier`: the member's
    address there (a phone number, a chat id); `metadata`: what the channel knows of them, storable values."""

    type: str = attrs.field(validator=_named("channel type"))
    identifier: str = attrs.field(repr=False, validator=_named("channel identifier"))
    metadata: Mapping[str, Any] = attrs.field(factory=dict, converter=_metadata, hash=False, repr=False)

    @property
    def address(self) -> tuple[str, str]:
        """Type and identifier: what makes two channels the same."""
        return self.type, self.identifier


def _check_instant(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Attrs validator: an instant that can be compared with the store's clock."""
    if value is not None and not (isinstance(value, datetime) and value.utcoffset() is not None):
        raise InvalidMessage(attribute.name, "must be an instant with a time zone")


@attrs.frozen
class Message:
    """What came in: exactly one of `text` (typed), `choice` (the id of a pressed button or row) or neither (an
    image, a sticker: `kind` says what).

    `id` is the channel's own message id: the same id is the same message, however often it is delivered.
    `account` is our own address on the channel (a phone-number id, a bot's name): part of the message's identity.
    `sent_at`: when it was sent, UTC, never later than it came. `kind` stays "text" for a choice.
    """

    channel: Channel
    id: str = attrs.field(validator=_named("id"))
    text: str | None = attrs.field(default=None, repr=False, validator=_check_content)
    choice: str | None = attrs.field(default=None, repr=False, validator=_check_content)
    kind: str = attrs.field(default="text", kw_only=True, validator=_check_content)
    account: str = attrs.field(default="", kw_only=True, validator=_check_content)
    sent_at: datetime | None = attrs.field(default=None, kw_only=True, validator=_check_instant)

    def __attrs_post_init__(self) -> None:
        if self.text is not None and self.choice is not None:
            raise InvalidMessage("text", "was given together with choice; a message is one or the other")
        for name in ("text", "choice", "kind", "account"):
            value = getattr(self, name)
            if value is not None and not value.isascii():
                object.__setattr__(self, name, plain(value))
