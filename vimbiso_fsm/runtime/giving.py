"""What an embedder gives to a member, as values: words, a flow or a trigger."""

from __future__ import annotations

from typing import Any

from vimbiso_fsm.document.typed_data import unstructure
from vimbiso_fsm.errors import InvalidMessage
from vimbiso_fsm.flow.flow import AnyFlow, Flow
from vimbiso_fsm.messages.given import FlowOpened, HandedBack, HandedOver, PersonSaid, TriggerPulled, WordsGiven
from vimbiso_fsm.messages.replies import Said, Text
from vimbiso_fsm.messages.words import plain


def words_given(member_id: str, text: str | Said, key: str) -> WordsGiven:
    """Return words for a member. A plain text is a key of the catalogue, or the words as they are.

    Raises:
        InvalidMessage: A value is empty, too long or of the wrong type.
    """
    return WordsGiven(member_id=member_id, text=Text(plain(text)) if isinstance(text, str) else text, key=key)


def flow_opened(member_id: str, flow: str | AnyFlow, data: object, key: str) -> FlowOpened:
    """Return a flow to be opened, by its name or itself, with its data as plain data.

    Raises:
        InvalidMessage: A value is empty, too long or of the wrong type.
    """
    name: Any = flow.name if isinstance(flow, Flow) else flow
    return FlowOpened(member_id=member_id, flow=name, data=unstructure(data), key=key)


def person_said(member_id: str, text: str | Said, key: str, by: str, inbox: str = "") -> PersonSaid:
    """Return words of a person for a member, as they are.

    Raises:
        InvalidMessage: A value is empty, too long or of the wrong type.
    """
    if isinstance(text, str):
        if not plain(text).strip():
            raise InvalidMessage("text", "is empty")
        text = Text("handed.said", words=plain(text))
    return PersonSaid(member_id=member_id, text=text, key=key, by=by, inbox=inbox)


def trigger_pulled(member_id: str, name: str, data: object, key: str, by: str) -> TriggerPulled:
    """Return a trigger to be fired, with its data as plain data.

    Raises:
        InvalidMessage: A value is empty, too long or of the wrong type.
    """
    return TriggerPulled(member_id=member_id, name=name, data=unstructure(data), key=key, by=by)


def handed_over(member_id: str, inbox: str, key: str, by: str) -> HandedOver:
    """Return a conversation to be handed over to a person.

    Raises:
        InvalidMessage: A value is empty, too long or of the wrong type.
    """
    return HandedOver(member_id=member_id, inbox=inbox, key=key, by=by)


def handed_back(member_id: str, key: str, by: str, inbox: str = "") -> HandedBack:
    """Return a conversation to be handed back to the bot.

    Raises:
        InvalidMessage: A value is empty, too long or of the wrong type.
    """
    return HandedBack(member_id=member_id, key=key, by=by, inbox=inbox)
