"""Reports of a channel that answer no question: reactions, welcomes, albums, opt-outs, redeliveries."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.cases.small_flows import YOU, door
from vimbiso_fsm import Bot, FlowStateManager, Message
from vimbiso_fsm.channels import sms, whatsapp
from vimbiso_fsm.messages.told import ChatOpened
from vimbiso_fsm.testing.chat import words


def webhook(*messages: dict[str, Any]) -> tuple[Message, ...]:
    """Parse a WhatsApp body with these messages of one member."""
    said = [{"from": YOU.identifier, "timestamp": "1758000000", **message} for message in messages]
    entry = {"changes": [{"field": "messages", "value": {"messages": said}}]}
    body = {"object": "whatsapp_business_account", "entry": [entry]}
    return tuple(whatsapp.parse(json.dumps(body).encode()).messages)


def asked() -> tuple[FlowStateManager, str]:
    """Return a manager, and a member who was asked a question."""
    manager = FlowStateManager.in_memory(Bot(door))
    return manager, manager.handle(Message(YOU, "m1", "hi")).state.member_id


def attempts(manager: FlowStateManager, member_id: str) -> int:
    """Return the number of wrong answers that are counted at the question."""
    state = manager.state(member_id)
    if state is None or state.run is None:  # a failed preparation proves nothing about a case
        raise LookupError(f"nothing is stored of {member_id}")
    return state.run.attempts


def test_a_reaction_answers_no_question():
    """Reactions to a message of the bot are neither answered nor counted as wrong answers (Case 14)."""
    manager, member_id = asked()
    for number in range(3):
        reaction = {"message_id": "wamid.Q", "emoji": "\N{THUMBS UP SIGN}"}
        for message in webhook({"id": f"wamid.{number}", "type": "reaction", "reaction": reaction}):
            assert words(manager.handle(message).replies) == []
    assert attempts(manager, member_id) == 0


def test_a_customer_who_opens_the_chat_has_said_nothing():
    """WhatsApp's `request_welcome` is told as an opened chat, and is refused by no question (Case 17)."""
    said = {"from": YOU.identifier, "id": "wamid.A", "type": "request_welcome"}
    entry = {"changes": [{"field": "messages", "value": {"messages": [said]}}]}
    delivery = whatsapp.parse(json.dumps({"object": "whatsapp_business_account", "entry": [entry]}).encode())
    assert delivery.messages == ()
    assert delivery.events == (ChatOpened(id="wamid.A", channel=YOU),)


def test_nothing_is_refused_before_the_conversation_begins():
    """A first message of a kind that cannot be read begins the conversation and is no wrong answer (Case 17)."""
    (message,) = webhook({"id": "wamid.A", "type": "hologram"})
    assert words(FlowStateManager.in_memory(Bot(door)).handle(message).replies) == ["Open?"]


def test_an_album_is_one_wrong_answer():
    """An album of four pictures, which comes in one body, counts as one wrong answer (Case 18)."""
    manager, member_id = asked()
    picture = {"mime_type": "image/jpeg", "sha256": "x"}
    album = [{"id": f"wamid.{n}", "type": "image", "image": {"id": str(n), **picture}} for n in range(4)]
    for message in webhook(*album):
        manager.handle(message)
    assert attempts(manager, member_id) <= 1


@pytest.mark.parametrize("word", ["STOP", "HELP"])
def test_a_word_that_twilio_has_answered_is_not_replied_to(word: str):
    """A message with `OptOutType`, which Twilio has answered, gets no further reply (Case 28)."""
    manager = FlowStateManager.in_memory(Bot(door))
    sent: list[dict[str, Any]] = []
    for number, (text, more) in enumerate([("hi", {}), (word, {"OptOutType": word})]):
        form = {"MessageSid": f"SM{number}", "From": "+16505550001", "To": "+15550001111", "Body": text, **more}
        for message in sms.parse(urlencode({"NumMedia": "0", **form}).encode()).messages:
            replies = sms.render(message.channel, manager.handle(message).replies)
            sent += replies if more else []
    assert sent == []


def test_the_same_message_twice_in_a_body_is_one_turn():
    """A message that is twice in a body, or whose body is delivered twice, is one turn (Case 62)."""
    said = {"id": "wamid.A", "type": "text", "text": {"body": "hi"}}
    manager = FlowStateManager.in_memory(Bot(door))
    outcomes = [manager.handle(message) for _ in range(2) for message in webhook(said, said)]
    assert [outcome.status for outcome in outcomes] == ["advanced", "duplicate", "duplicate", "duplicate"]
    assert outcomes[-1].state.version == 1
