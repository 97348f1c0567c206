"""Messages that come in, and the channels by which members are reached.

Both are values, free of any channel's format, and are checked when they are made.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import cached_property
from typing import Any, Final

import attrs

from vimbiso_fsm.errors import InvalidMessage
from vimbiso_fsm.messages.contents import (
    CONTENTS,
    MAX_CONTENT,
    MAX_REFERENCE,
    Content,
    Referral,
    as_json,
    check_words,
    storable,
)
from vimbiso_fsm.messages.words import plain

MAX_ID = 512
"""Characters of a message id or a channel identifier; WhatsApp's ids have about 60."""
MAX_METADATA = 4096
"""Characters of the metadata of a channel, written as JSON."""


def named(field: str) -> Callable[[object, attrs.Attribute[Any], object], None]:
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


def _is_address(value: object) -> bool:
    """Whether a value can be the identifier of a channel."""
    try:
        Channel("names", value)  # type: ignore[arg-type]  # that is what is asked
    except InvalidMessage:
        return False
    return True


def _check_content(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Check that content is text (an attrs validator)."""
    if not isinstance(value, str) and (value is not None or attribute.default is not None):
        raise InvalidMessage(attribute.name, f"must be text, not {type(value).__name__}")


def _metadata(value: object) -> Mapping[str, Any]:
    """Convert metadata to what is stored, or refuse it (an attrs converter). It becomes part of the document."""
    if not isinstance(value, Mapping):
        raise InvalidMessage("metadata", f"must be an object, not a {type(value).__name__}")
    if not value:
        return {}
    kept: Mapping[str, Any] = storable(value, "metadata")
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

    def meets(self, other: Address) -> bool:
        """Return whether both are one address, as far as is known: one that tells no account is that of any."""
        return self == other or (self.without_account == other.without_account and not (self.account and other.account))

    def is_among(self, others: Iterable[Address]) -> bool:
        """Return whether this is one of some addresses, as far as is known."""
        return any(map(self.meets, others))

    @property
    def channel(self) -> Channel:
        """The channel of this address, without what the channel knows of the member."""
        return Channel(self.type, self.identifier).with_account(self.account)


ACCOUNT: Final = "account"
"""The name in the metadata of a channel under which the bot's address on the channel stands."""
REPLY_TO: Final = "reply_to"
"""The name in the metadata of a channel under which the place of the latest message stands."""
NAMES: Final = "names"
"""The name in the metadata of a channel under which further names of the member on the channel stand."""
NAMED: Final = frozenset({"whatsapp"})
"""The types of channels that know one member by several names. Their ids of messages are unique in an account, so that
the same id under two names of one member is the same message."""
MAX_NAMES: Final = 4
"""Further names of a member that are read. WhatsApp has two, beside the number."""


@attrs.frozen
class Channel:
    """A way to reach a member.

    Attributes:
        type: "whatsapp", "telegram", "sms", "terminal" …
        identifier: The address of the member on the channel: a phone number, a chat id. It is opaque; what it proves of
            its speaker is declared by the type (`Bot.proves`).
        metadata: What the channel knows of the member, as storable values. The text `account` in it is the bot's own
            address on the channel, the object `reply_to` is the place of the latest message, and the list `names` has
            further names of the member on the channel.

    Raises:
        InvalidMessage: A field is empty, too long, of the wrong type or not storable.
    """

    type: str = attrs.field(validator=named("channel type"))
    identifier: str = attrs.field(repr=False, validator=named("channel identifier"))
    metadata: Mapping[str, Any] = attrs.field(factory=dict, converter=_metadata, hash=False, repr=False)

    @property
    def account(self) -> str:
        """The bot's address on the channel (a phone-number id, a bot's name); empty if the channel does not tell it."""
        account = self.metadata.get(ACCOUNT)
        return account if isinstance(account, str) else ""

    @property
    def reply_to(self) -> Mapping[str, Any]:
        """The place of the latest message, in the channel's own terms; empty if the channel tells none.

        It is a topic, the id of a pressed button's query, or the message with the button. Only the renderer and the
        sender of the channel read it. It is kept with the question and is part of the metadata, which bound it.
        """
        place = self.metadata.get(REPLY_TO)
        return place if isinstance(place, Mapping) else {}

    def at_place_of(self, other: Channel) -> Channel:
        """Return the channel with the place of the latest message of another one that reaches the same chat."""
        if other.metadata == self.metadata or other.address.without_account != self.address.without_account:
            return self
        kept = {name: value for name, value in self.metadata.items() if name != REPLY_TO}
        place = {REPLY_TO: other.reply_to} if other.reply_to else {}
        try:
            return attrs.evolve(self, metadata={**kept, **place})
        except InvalidMessage:  # there is no room for it
            return self

    @property
    def names(self) -> tuple[Channel, ...]:
        """The channel under each name by which the member may be met on it, the identifier first.

        WhatsApp has a number and ids of its own for one member, which come together or alone. Each name is an address
        by itself, and what it proves is what it would prove alone.
        """
        return self._named if NAMES in self.metadata else (self,)

    @cached_property
    def _named(self) -> tuple[Channel, ...]:
        told = self.metadata[NAMES]
        found = [name for name in told if _is_address(name)] if isinstance(told, list | tuple) else []
        others = [name for name in dict.fromkeys(found) if name != self.identifier][:MAX_NAMES]
        return (self, *(Channel(self.type, name).with_account(self.account) for name in others))

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


@attrs.frozen
class EarlierReply:
    """What the bot said in a message that a member has replied to.

    Attributes:
        id: The id of the reply: the beginning of the token of its turn, by which the audit names it.
        texts: The words of its messages in the member's language, as far as the record of the turn is kept.
        flow: The name of the flow that was open then; empty if none was, the record is not kept, or the member had
            answered nothing yet.
        state: The state in which it stood, whose question the last text is, if it has one.
    """

    id: str
    texts: tuple[str, ...] = attrs.field(default=(), repr=False)
    flow: str = ""
    state: str = ""


def _check_instant(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Check that an instant has a time zone, so that it can be compared with the store's clock (an attrs validator)."""
    if value is not None and not (isinstance(value, datetime) and value.utcoffset() is not None):
        raise InvalidMessage(attribute.name, "must be an instant with a time zone")


@attrs.frozen
class Message:
    """A message of a member.

    It has a `text` (typed) or a `choice` (a pressed button or row), and may carry a `content` (a file, a location, a
    contact, a form, an order). The caption of a content is the text. A message without any of them is of a kind that a
    bot cannot read.

    Attributes:
        channel: Where the message came from.
        id: The channel's id of the message. The same id means the same message, however often it is delivered.
        text: The text that was typed.
        choice: The id of the button or row that was pressed.
        kind: The kind of content; "text" for text and choices, else "image", "location" … With a content it is the
            kind of that.
        account: The bot's address on the channel (a phone-number id, a bot's name); part of the message's identity. It
            stands in the metadata of the channel too, and may be given in either place.
        sent_at: When the message was sent, with a time zone, by the clock of the channel. `Limits.age` bounds its age.
        content: What the message carries beside its words.
        payload: The parameter of the deep link that the member followed; empty without one. Anyone can write one.
        referral: The advertisement or post that the member came from.
        replied_to: The channel's id of the message that the member replied to; empty without one.
        reply: The reply of the bot that was sent as that message. The manager looks it up among the latest messages
            whose ids a sender has told (`Sent`); None if it is not among them, and before.
        forwarded: Whether the member forwarded it, so that the words may be those of another person.
        burst: The name of the burst that it belongs to, such as an album of pictures; empty without one. Of a burst one
            message is refused, and the others are then passed over.

    Raises:
        InvalidMessage: A field is empty, too long or of the wrong type, both `text` and `choice` are given, two
            accounts are, or the text is not the caption of the content.
    """

    channel: Channel
    id: str = attrs.field(validator=named("id"))
    text: str | None = attrs.field(default=None, repr=False, validator=_check_content)
    choice: str | None = attrs.field(default=None, repr=False, validator=_check_content)
    kind: str = attrs.field(default="text", kw_only=True, validator=_check_content)
    account: str = attrs.field(default="", kw_only=True, validator=_check_content)
    sent_at: datetime | None = attrs.field(default=None, kw_only=True, validator=_check_instant)
    content: Content | None = attrs.field(default=None, kw_only=True, repr=False)
    payload: str = attrs.field(default="", kw_only=True, repr=False)
    referral: Referral | None = attrs.field(default=None, kw_only=True, repr=False)
    replied_to: str = attrs.field(default="", kw_only=True, repr=False)
    reply: EarlierReply | None = attrs.field(default=None, kw_only=True, eq=False, repr=False)
    forwarded: bool = attrs.field(default=False, kw_only=True)
    burst: str = attrs.field(default="", kw_only=True, repr=False)

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.channel, Channel):
            raise InvalidMessage("channel", f"must be a Channel, not a {type(self.channel).__name__}")
        if self.text is not None and self.choice is not None:
            raise InvalidMessage("text", "was given together with choice; a message is one or the other")
        if self.content is not None:
            self._take_content(self.content)
        if self.payload != "" or self.replied_to != "" or self.burst != "" or self.referral is not None:
            self._check_marks()
        if type(self.forwarded) is not bool:
            raise InvalidMessage("forwarded", f"must be True or False, not {type(self.forwarded).__name__}")
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

    def _take_content(self, content: object) -> None:
        """Check the content. The message is of its kind, and its caption is the text."""
        if not isinstance(content, CONTENTS):
            raise InvalidMessage("content", f"must be a content, not a {type(content).__name__}")
        if self.choice is not None:
            raise InvalidMessage("content", "was given together with choice; a pressed button carries none")
        size = len(as_json(content))
        if size > MAX_CONTENT:
            raise InvalidMessage("content", f"has {size} characters as JSON, the limit is {MAX_CONTENT}")
        if content.caption != (self.text or content.caption):
            raise InvalidMessage("text", "is not the caption of the content; give it once")
        object.__setattr__(self, "text", content.caption or None)
        object.__setattr__(self, "kind", content.kind)

    def _check_marks(self) -> None:
        """Check how the message came about."""
        for name in ("payload", "replied_to", "burst"):
            value = getattr(self, name)
            check_words(name, value, MAX_REFERENCE)
            object.__setattr__(self, name, plain(value))
        if self.referral is not None and not isinstance(self.referral, Referral):
            raise InvalidMessage("referral", f"must be a Referral, not a {type(self.referral).__name__}")

    @property
    def beside_words(self) -> str:
        """The content, the referral and the parameter of a deep link as JSON, which is the same for equal ones."""
        parts = [each and as_json(each) for each in (self.content, self.referral)]
        return json.dumps([*parts, self.payload])
