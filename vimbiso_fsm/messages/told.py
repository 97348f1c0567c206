"""What a channel tells beside messages: facts about messages, members and the account, free of any channel's format.

A fact is no word of the member, so it answers no question and is never refused or counted. Each is a value with all
that the channel tells. Facts about members are personal data, so their `repr` shows only their kind.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal, TypeAlias, cast

import attrs

from vimbiso_fsm.errors import InvalidMessage
from vimbiso_fsm.messages.contents import MAX_CONTENT, MAX_REFERENCE, encodable, text_field, words
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.money import Money
from vimbiso_fsm.messages.value import Value


@attrs.frozen(eq=False, repr=False, kw_only=True)
class Fact(Value):
    """What all facts have.

    Attributes:
        id: The name of the fact: a fact that the channel tells again has the same one.
        channel: The member whom it is about; None if it is about the account, or the channel does not say.
        account: The bot's address on the channel; empty if the channel does not tell it.
        at: When it happened, by the clock of the channel; None if it is not told.

    Raises:
        InvalidMessage: A field is too long or of the wrong type.
    """

    id: str = text_field(2 * MAX_REFERENCE, least=1)
    channel: Channel | None = attrs.field(default=None, repr=False)
    account: str = attrs.field(default="", converter=encodable, validator=words(MAX_REFERENCE))
    at: datetime | None = None


@attrs.frozen(eq=False, repr=False, kw_only=True)
class OfReply(Fact):
    """A fact about a message that the bot may have sent.

    Attributes:
        message_id: The channel's id of the message.
        reply: The id of the reply that was sent as this message: the beginning of the token of its turn, by which the
            audit names it. The manager looks it up among the latest messages whose ids a sender has told (`Sent`);
            empty if it is not among them, and before.
    """

    message_id: str = text_field()
    reply: str = attrs.field(default="", converter=encodable, validator=words(MAX_REFERENCE))


@attrs.frozen(eq=False, repr=False, kw_only=True)
class StatusChanged(OfReply):
    """A message of the bot has another status.

    Attributes:
        status: "sent", "delivered", "read", "played" or "failed", or another one as the channel names it.
        code: The channel's code of the error, such as "131026"; empty without one.
        reason: The channel's words for the error. They are for operators.
    """

    status: str = attrs.field(default="", converter=encodable, validator=words(MAX_REFERENCE))
    code: str = attrs.field(default="", converter=encodable, validator=words(MAX_REFERENCE))
    reason: str = text_field()

    @property
    def failed(self) -> bool:
        """Whether the message does not reach the member."""
        return self.status == "failed"


@attrs.frozen(eq=False, repr=False, kw_only=True)
class Reacted(OfReply):
    """The member reacted to a message, which may be one of their own.

    Attributes:
        emoji: The reaction; empty if it was taken back.
    """

    emoji: str = text_field()


@attrs.frozen(eq=False, repr=False, kw_only=True)
class Edited(Fact):
    """The member changed a message that was sent before. What it was taken for stays.

    Attributes:
        message_id: The channel's id of the message.
        text: The new words; empty without words.
    """

    message_id: str = text_field()
    text: str = text_field(MAX_CONTENT)


@attrs.frozen(eq=False, repr=False, kw_only=True)
class Deleted(Fact):
    """The member took a message back.

    Attributes:
        message_id: The channel's id of the message.
    """

    message_id: str = text_field()


@attrs.frozen(eq=False, repr=False, kw_only=True)
class ChatOpened(Fact):
    """The member opened the chat for the first time, and has said nothing."""


@attrs.frozen(eq=False, repr=False, kw_only=True)
class Blocked(Fact):
    """The member blocked the bot, or lets it write again.

    Attributes:
        blocked: Whether the bot is blocked now.
    """

    blocked: bool = True


def _names(value: object) -> tuple[str, ...]:
    """Convert further names of a member (an attrs converter). Each is judged when it is used as an address."""
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) for name in cast("list[object]", value)):
        raise InvalidMessage("names", "must be a tuple of texts")
    return tuple(cast("list[str]", value))


@attrs.frozen(eq=False, repr=False, kw_only=True)
class AddressChanged(Fact):
    """The member has another address on the channel: a new number, or a new id.

    Attributes:
        new: The new address. `channel` has the former one, and in its metadata the former names beside it.
        names: The new names of the member beside the new address.
    """

    new: str = text_field()
    names: tuple[str, ...] = attrs.field(default=(), converter=_names, repr=False)

    @property
    def all_new(self) -> tuple[str, ...]:
        """All new names of the member, the new address first."""
        return tuple(dict.fromkeys((self.new, *self.names)))


@attrs.frozen(eq=False, repr=False, kw_only=True)
class OptedOut(Fact):
    """The member wants no more messages, wants them again, or asked for help, and the channel has answered.

    Attributes:
        wish: "stop", "start" or "help".
        topic: What the wish is about, such as "marketing messages"; empty for all messages.
    """

    wish: Literal["stop", "start", "help"] = "stop"
    topic: str = attrs.field(default="", converter=encodable, validator=words(MAX_REFERENCE))


@attrs.frozen(eq=False, repr=False, kw_only=True)
class Paid(Fact):
    """The channel tells of a payment.

    Attributes:
        status: "paid", "refunded", "requested" or another one as the channel names it. What is requested has to be
            answered by the adapter.
        amount: The amount, if the channel tells it.
        reference: The reference that the bot gave to the payment.
        charge: The channel's id of the payment.
    """

    status: str = attrs.field(default="paid", converter=encodable, validator=words(MAX_REFERENCE))
    amount: Money | None = attrs.field(default=None, repr=False)
    reference: str = text_field()
    charge: str = text_field()


@attrs.frozen(eq=False, repr=False, kw_only=True)
class Called(Fact):
    """The member calls, or a call has ended.

    Attributes:
        call_id: The channel's id of the call.
        status: What happened, as the channel names it: "connect", "terminate".
    """

    call_id: str = text_field()
    status: str = attrs.field(default="", converter=encodable, validator=words(MAX_REFERENCE))


@attrs.frozen(eq=False, repr=False, kw_only=True)
class SaidElsewhere(Fact):
    """Something was said in a place that is not the member's own chat with the bot.

    Attributes:
        place: "group", "channel", "business" for the chat of a person whom the bot assists, "guest" for a chat to which
            the bot was called by its name, or "bot" for another bot.
        place_id: The channel's id of the place.
    """

    place: str = attrs.field(default="group", converter=encodable, validator=words(MAX_REFERENCE))
    place_id: str = text_field()


@attrs.frozen(eq=False, repr=False, kw_only=True)
class BusinessConnected(Fact):
    """A person connected the bot to their business account, changed what it may do there, or disconnected it.

    Attributes:
        connection: The channel's id of the connection.
        enabled: Whether the connection is there now.
        can_reply: Whether the bot may write in the chats of the account.
    """

    connection: str = text_field()
    enabled: bool = True
    can_reply: bool = False


@attrs.frozen(eq=False, repr=False, kw_only=True)
class OtherFact(Fact):
    """Another fact.

    Attributes:
        kind: Its kind, as the channel names it.
        code: The channel's code of an error; empty without one.
    """

    kind: str = attrs.field(default="", converter=encodable, validator=words(MAX_REFERENCE))
    code: str = attrs.field(default="", converter=encodable, validator=words(MAX_REFERENCE))


Told: TypeAlias = (
    StatusChanged
    | Reacted
    | Edited
    | Deleted
    | ChatOpened
    | Blocked
    | AddressChanged
    | OptedOut
    | Paid
    | Called
    | SaidElsewhere
    | BusinessConnected
    | OtherFact
)
"""A fact that a channel tells."""
