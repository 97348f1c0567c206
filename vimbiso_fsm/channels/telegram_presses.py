"""What becomes of the message whose button was pressed.

Its query is answered first, because the button spins until then. If the reply asks the same question again, as the next
page of a list does, the message becomes the reply. Otherwise the question is over, and its buttons are removed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.presses import pressed

QUERY: Final = "query"
"""The name in `Channel.reply_to` of the id of the query of a pressed button."""
MESSAGE: Final = "message"
"""The name of the id of the message with the button."""
FENCE: Final = "fence"
"""The name of the fence of the question whose button was pressed."""


def query_of(channel: Channel) -> str:
    """Return the id of the query that the replies to a pressed button answer; empty if none was pressed."""
    query = channel.reply_to.get(QUERY)
    return query if isinstance(query, str) else ""


def in_place(channel: Channel, payloads: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return the parameters of `editMessageText` that make the message with the button the reply.

    Returns:
        The parameters; None if the reply is more than a page of the question whose button was pressed.
    """
    message, fence = channel.reply_to.get(MESSAGE), channel.reply_to.get(FENCE)
    if not isinstance(message, int) or not fence or len(payloads) != 1 or _fence(payloads[0]) != fence:
        return None
    (payload,) = payloads
    kept = {name: value for name, value in payload.items() if name != "message_thread_id"}
    return {**kept, "message_id": message}


def without_buttons(channel: Channel) -> dict[str, Any] | None:
    """Return the parameters of `editMessageReplyMarkup` that remove the buttons; None if no message is known."""
    message, business = channel.reply_to.get(MESSAGE), channel.reply_to.get("business")
    if not isinstance(message, int) or not channel.reply_to.get(FENCE):
        return None
    place = {"business_connection_id": business} if business else {}
    return {"chat_id": channel.identifier, "message_id": message, **place}


def _fence(payload: Mapping[str, Any]) -> str:
    """Return the fence of the question that a payload asks; empty if it asks none."""
    keyboard: Sequence[Sequence[Mapping[str, Any]]] = payload.get("reply_markup", {}).get("inline_keyboard", ())
    found = pressed(str(keyboard[0][0].get("callback_data", ""))) if keyboard else None
    return found.fence if found is not None else ""
