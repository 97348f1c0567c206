"""Messages that come in, and the channels by which members are reached.

Both are values, free of any channel's format, and are checked when they are made.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cached_property
from math import isfinite
from typing import Any, Final

import attrs

from vimbiso_fsm.errors import InvalidMessage
from vimbiso_fsm.messages.replies import plain

MAX_ID = 512
"""Characters of a message id or a channel identifier; WhatsApp's ids have about 60."""
MAX_DEPTH = 20
"""Levels of nesting in the metadata of a channel."""
MAX_METADATA = 4096
"""Characters of the metadata of a channel, written as JSON."""


def _named(field: str) -> Callable[[object, attrs.Attribute[Any], object], None]:
    """Make an attrs validator for an id or an address, which errors call `field`."""

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
    """Check that content is text (an attrs validator)."""
    if not isinstance(value, str) and (value is not None or attribute.default is not None):
        raise InvalidMessage(attribute.name, f"must be text, not {type(value).__name__}")


def _storable(value: object, depth: int = 0) -> Any:
    """Return `value` as it will be read back from a document: JSON values, tuples as lists."""
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
    """Convert metadata to what is stored, or refuse it (an attrs converter). It becomes part of the document."""
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
class Address:
    """A channel without its metadata.

    Attributes:
        type: The type of the channel.
        identifier: The address of the member on the channel.
        account: The bot's address on the channel; empty if the channel does not tell it.
    """

    type: str
    identifier: str = attrs.field(repr=False)
    account: str = ""

    @property
    def without_account(self) -> Address:
        """The member's address alone, whichever account of the bot it is reached from."""
        return attrs.evolve(self, account="") if self.account else self

    @property
    def channel(self) -> Channel:
        """The channel of this address, without what the channel knows of the member."""
        return Channel(self.type, self.identifier).with_account(self.account)


ACCOUNT: Final = "account"
"""The name in the metadata of a channel under which the bot's address on the channel stands."""


@attrs.frozen
class Channel:
    """A way to reach a member.

    Attributes:
        type: "whatsapp", "telegram", "sms", "terminal" …
        identifier: The address of the member on the channel: a phone number, a chat id. It is opaque; what it proves of
            its speaker is declared by the type (`Bot.proves`).
        metadata: What the channel knows of the member, as storable values. The text `account` in it is the bot's own
            address on the channel.

    Raises:
        InvalidMessage: A field is empty, too long, of the wrong type or not storable.
    """

    type: str = attrs.field(validator=_named("channel type"))
    identifier: str = attrs.field(repr=False, validator=_named("channel identifier"))
    metadata: Mapping[str, Any] = attrs.field(factory=dict, converter=_metadata, hash=False, repr=False)

    @property
    def account(self) -> str:
        """The bot's address on the channel (a phone-number id, a bot's name); empty if the channel does not tell it."""
        account = self.metadata.get(ACCOUNT)
        return account if isinstance(account, str) else ""

    @cached_property
    def address(self) -> Address:
        """Type, identifier and account; two channels with the same address are the same channel."""
        return Address(self.type, self.identifier, self.account)

    def with_account(self, account: str) -> Channel:
        """Return the channel with another account of the bot, or without one if it is empty."""
        if account == self.account:
            return self
        rest = {name: value for name, value in self.metadata.items() if name != ACCOUNT}
        return Channel(self.type, self.identifier, {**rest, ACCOUNT: account} if account else rest)


def _check_instant(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Check that an instant has a time zone, so that it can be compared with the store's clock (an attrs validator)."""
    if value is not None and not (isinstance(value, datetime) and value.utcoffset() is not None):
        raise InvalidMessage(attribute.name, "must be an instant with a time zone")


@attrs.frozen
class Message:
    """A message of a member.

    It has a `text` (typed) or a `choice` (a pressed button or row), or neither of them (an image, a sticker).

    Attributes:
        channel: Where the message came from.
        id: The channel's id of the message. The same id means the same message, however often it is delivered.
        text: The text that was typed.
        choice: The id of the button or row that was pressed.
        kind: The kind of content; "text" for text and choices, else "image", "sticker" …
        account: The bot's address on the channel (a phone-number id, a bot's name); part of the message's identity. It
            stands in the metadata of the channel too, and may be given in either place.
        sent_at: When the message was sent, with a time zone, by the clock of the channel. `Limits.age` bounds its age.

    Raises:
        InvalidMessage: A field is empty, too long or of the wrong type, both `text` and `choice` are given, or two
            accounts are.
    """

    channel: Channel
    id: str = attrs.field(validator=_named("id"))
    text: str | None = attrs.field(default=None, repr=False, validator=_check_content)
    choice: str | None = attrs.field(default=None, repr=False, validator=_check_content)
    kind: str = attrs.field(default="text", kw_only=True, validator=_check_content)
    account: str = attrs.field(default="", kw_only=True, validator=_check_content)
    sent_at: datetime | None = attrs.field(default=None, kw_only=True, validator=_check_instant)

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.channel, Channel):
            raise InvalidMessage("channel", f"must be a Channel, not a {type(self.channel).__name__}")
        if self.text is not None and self.choice is not None:
            raise InvalidMessage("text", "was given together with choice; a message is one or the other")
        for name in ("text", "choice", "kind", "account"):
            value = getattr(self, name)
            if value is not None and not value.isascii():
                object.__setattr__(self, name, plain(value))
        known = self.channel.account
        if self.account != known:
            if self.account and known:
                raise InvalidMessage("account", "is not the one in the metadata of the channel; give it once")
            object.__setattr__(self, "account", self.account or known)
            object.__setattr__(self, "channel", self.channel.with_account(self.account))
