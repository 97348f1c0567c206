"""What another system of the embedder gives to a member: words, a flow, or a trigger, each under a key.

The key makes it happen once: the same key at the same member is the same thing, however often it is given. The values
are free of the flows of a bot, and are checked and bounded when they are made.
"""

from __future__ import annotations

import json
from typing import Any, Final, TypeAlias

import attrs

from vimbiso_fsm.errors import InvalidMessage
from vimbiso_fsm.messages.contents import storable
from vimbiso_fsm.messages.message import Address, named
from vimbiso_fsm.messages.replies import SAID, Said, Text
from vimbiso_fsm.messages.value import Value

MAX_DATA: Final = 8192
"""Characters of the data of a trigger or of the input of a flow, written as JSON, and of the words that are told."""
MAX_NAME: Final = 64
"""Characters of the name of a flow, of a trigger or of a system."""


def _short(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Check the name of a flow, of a trigger or of a system (an attrs validator)."""
    named(attribute.name)(_, attribute, value)
    if len(str(value)) > MAX_NAME:
        raise InvalidMessage(attribute.name, f"has {len(str(value))} characters, the limit is {MAX_NAME}")


def _plain(value: object) -> Any:
    """Return data as it will be read back (an attrs converter).

    Raises:
        InvalidMessage: It is no plain data, or there is too much of it.
    """
    kept = storable(value, "data")
    size = len(json.dumps(kept))
    if size > MAX_DATA:
        raise InvalidMessage("data", f"has {size} characters as JSON, the limit is {MAX_DATA}")
    return kept


def _said(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Check what is to be said (an attrs validator)."""
    if not isinstance(value, SAID):
        raise InvalidMessage(
            attribute.name, f"must be a Text, or another reply without choices, not {type(value).__name__}"
        )
    if isinstance(value, Text) and not value.key.strip():
        raise InvalidMessage(attribute.name, "is empty")
    size = len(str(value)) + (len(str(value.params)) if isinstance(value, Text) and value.params else 0)
    if size > MAX_DATA:
        raise InvalidMessage(attribute.name, f"has {size} characters, the limit is {MAX_DATA}")


@attrs.frozen(eq=False, repr=False, kw_only=True)
class GivenFact(Value):
    """What all that is given has.

    Attributes:
        member_id: The member or guest.
        key: The name of this thing at this member.
        at: The address of the member that it is given to, for what is said; None for that of their latest turn. It is
            looked up from what the caller names, and is no part of the thing.

    Raises:
        InvalidMessage: A field is empty, too long or of the wrong type.
    """

    member_id: str = attrs.field(validator=named("member_id"))
    key: str = attrs.field(repr=False, validator=named("key"))
    at: Address | None = attrs.field(default=None, repr=False)


@attrs.frozen(eq=False, repr=False, kw_only=True)
class WordsGiven(GivenFact):
    """Words for the member.

    Attributes:
        text: The words, or another reply without choices.
    """

    text: Said = attrs.field(repr=False, validator=_said)


@attrs.frozen(eq=False, repr=False, kw_only=True)
class FlowOpened(GivenFact):
    """A flow to be opened.

    Attributes:
        flow: The name of the flow.
        data: The data with which it begins, as plain data; None for its defaults.
    """

    flow: str = attrs.field(validator=_short)
    data: Any = attrs.field(default=None, repr=False, converter=_plain)


@attrs.frozen(eq=False, repr=False, kw_only=True)
class TriggerPulled(GivenFact):
    """A trigger to be fired where the member stands, or at the bot.

    Attributes:
        name: The name of the trigger.
        by: The name of the system that pulls it, which the declaration has to allow.
        data: Its data, as plain data; None without data.
    """

    name: str = attrs.field(validator=_short)
    by: str = attrs.field(validator=_short)
    data: Any = attrs.field(default=None, repr=False, converter=_plain)


@attrs.frozen(eq=False, repr=False, kw_only=True)
class HandedOver(GivenFact):
    """A conversation to be handed over to a person.

    Attributes:
        inbox: The name of the inbox.
        by: The name of the person or system that does so.
    """

    inbox: str = attrs.field(validator=_short)
    by: str = attrs.field(validator=_short)


@attrs.frozen(eq=False, repr=False, kw_only=True)
class HandedBack(GivenFact):
    """A conversation to be handed back to the bot.

    Attributes:
        by: The name of the person or system that does so.
        inbox: The inbox that must have it; empty for any.
    """

    by: str = attrs.field(validator=_short)
    inbox: str = ""


@attrs.frozen(eq=False, repr=False, kw_only=True)
class PersonSaid(GivenFact):
    """Words of a person to whom the conversation is handed over.

    Attributes:
        text: The words, or another reply without choices.
        by: The name of the person.
        inbox: The inbox that must have the conversation; empty for any.
    """

    text: Said = attrs.field(repr=False, validator=_said)
    by: str = attrs.field(validator=_short)
    inbox: str = ""


Given: TypeAlias = WordsGiven | FlowOpened | TriggerPulled | HandedOver | HandedBack | PersonSaid
"""What another system gives to a member."""
