"""Webhook bodies of the channels, and replies as the channels show them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import attrs

from tests.cases.small_flows import YOU, Answer, door
from vimbiso_fsm import Bot, Channel, Flow, FlowStateManager, Message, Row, State, Text, Transition, Turn
from vimbiso_fsm.channels import Delivery, sms, telegram, whatsapp
from vimbiso_fsm.testing.chat import words

NOW = datetime(2026, 9, 20, tzinfo=UTC)
PARSERS = {"sms": sms.parse, "telegram": telegram.parse, "whatsapp": whatsapp.parse}


def parsed(body: str) -> Delivery:
    """Parse a body of the folder `bodies`, named "channel/name"."""
    channel = body.partition("/")[0]
    content = json.loads((Path(__file__).parent / "bodies" / f"{body}.json").read_text(encoding="utf-8"))
    encoded = urlencode(content) if channel == "sms" else json.dumps(content)
    return PARSERS[channel](encoded.encode(), now=NOW)


def everything(value: Any) -> str:
    """Return all contents of a value as text, also those that its `repr` hides."""
    if isinstance(value, Mapping):
        return " ".join(f"{everything(key)} {everything(inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return " ".join(map(everything, value))
    if attrs.has(type(value)):
        return " ".join(everything(getattr(value, field.name)) for field in attrs.fields(type(value)))
    return str(value)


# WhatsApp's bodies


def test_a_user_with_a_username_is_known_by_their_user_id():
    """A WhatsApp user whose `from` and `wa_id` are empty is identified by `from_user_id` (Case 02)."""
    delivery = parsed("whatsapp/username-without-number")
    assert not delivery.faults
    assert [message.channel.identifier for message in delivery.messages] == ["US.10000000000000000001"]


def test_a_message_in_a_group_is_told_and_not_said():
    """A message in a group does not belong to the private conversation with its sender (Case 19)."""
    delivery = parsed("whatsapp/text-in-a-group")
    assert (len(delivery.messages), len(delivery.faults), len(delivery.events)) == (0, 0, 1)


def test_the_caption_of_a_picture_is_read():
    """The caption of a picture is the text of the message (Case 20)."""
    (message,) = parsed("whatsapp/picture-with-caption").messages
    assert "10 USD" in everything(message)


def test_the_values_of_a_form_are_read():
    """The values of a WhatsApp Flow that the member filled in are part of the message (Case 21)."""
    (message,) = parsed("whatsapp/submitted-form").messages
    assert "12.50" in everything(message)


def test_a_changed_number_is_reported():
    """The delivery of a changed number contains the new number (Case 26)."""
    delivery = parsed("whatsapp/changed-number")
    assert not delivery.faults
    assert "16505550002" in everything(delivery)


def test_a_message_of_an_unsupported_type_is_a_message():
    """A message of type `unsupported`, with `errors` in place of content, is a message and no fault (Case 73)."""
    delivery = parsed("whatsapp/unsupported-with-errors")
    assert not delivery.faults
    assert [message.kind for message in delivery.messages] == ["unsupported"]


def test_a_status_needs_no_name_in_its_contact():
    """A failed status is counted even if its contact has only a `wa_id` (Case 74)."""
    delivery = parsed("whatsapp/failed-status-with-a-lean-contact")
    assert (len(delivery.messages), len(delivery.faults), delivery.statuses) == (0, 0, 1)


# Telegram's bodies


def test_the_parameter_of_a_deep_link_is_read():
    """The parameter of the link t.me/bot?start=ref_42 is part of the message (Case 24)."""
    (message,) = parsed("telegram/start-with-payload").messages
    assert "ref_42" in everything(message)


def test_a_pressed_game_button_is_no_invalid_update():
    """An update of a game button, with `game_short_name` and without data, is valid and has no message (Case 33)."""
    assert not parsed("telegram/game-button").messages


def test_a_button_of_a_message_too_old_to_be_shown_is_pressed():
    """A button of a very old message, of which Telegram sends only chat, id and date 0, is a choice (Case 63)."""
    (message,) = parsed("telegram/button-of-an-old-message").messages
    assert message.choice == "ab12cd34.7.yes"


def test_an_edited_message_answers_no_question():
    """An edited message is told and not said (Case 64)."""
    delivery = parsed("telegram/edited-message")
    assert (len(delivery.messages), len(delivery.events)) == (0, 1)


# Twilio's bodies


def test_a_shared_place_is_no_empty_text():
    """A shared location, which Twilio sends with an empty `Body`, is not read as an empty text (Case 38)."""
    (message,) = parsed("sms/location").messages
    assert message.kind == "location"


def test_a_pressed_button_is_a_choice():
    """The `ButtonPayload` of a pressed button is the choice (Case 39)."""
    (message,) = parsed("sms/pressed-button").messages
    assert message.choice == "ab12cd34.7.yes"


# Replies


def picking(rows: list[Row]) -> FlowStateManager:
    """Return a manager of a bot that asks for one of the rows."""

    def listed(turn: Turn[Answer]) -> list[Row]:
        return rows

    pick = Flow(
        "pick", data=Answer, initial="which",
        states=[
            State("which", ask=Text("Which?"), rows=listed, into="value"),
            State("end",   say=Text("ok"), final=True),
        ],
        transitions=[Transition("answer", "which", "end")],
    )  # fmt: skip
    return FlowStateManager.in_memory(Bot(pick))


def test_a_reply_stays_in_the_topic_of_a_private_chat():
    """A message in a topic (`message_thread_id`) of a private chat is answered in that topic (Case 34)."""
    said = {
        "message_id": 5,
        "message_thread_id": 77,
        "is_topic_message": True,
        "date": 1758000000,
        "from": {"id": 11, "is_bot": False, "first_name": "Pat"},
        "chat": {"id": 11, "type": "private"},
        "text": "hi",
    }
    (message,) = telegram.parse(json.dumps({"update_id": 1, "message": said}).encode(), now=NOW).messages
    replies = FlowStateManager.in_memory(Bot(door)).handle(message).replies
    (payload,) = telegram.render(message.channel, replies)
    assert payload.get("message_thread_id") == 77


def test_a_row_id_that_telegram_cannot_carry_makes_the_list_numbers():
    """If a row id has more than 64 bytes, the list is a numbered text, whose numbers can be typed (Case 65)."""
    you = Channel("telegram", "11")
    manager = picking([Row("accounts/x/deployments/" + "é" * 40, "Long"), Row("b", "B")])
    (payload,) = telegram.render(you, manager.handle(Message(you, "1", "hi")).replies)
    assert payload["text"] == "Which?\n1. Long\n2. B"
    assert "reply_markup" not in payload
    assert words(manager.handle(Message(you, "2", "1")).replies) == ["ok"]


def test_titles_too_long_and_alike_are_told_apart():
    """Equal titles that are too long are shortened to different ones, so that WhatsApp takes the message (Case 66)."""
    manager = picking([Row(str(number), "The very same title, and much too long") for number in range(15)])
    (payload,) = whatsapp.render(YOU, manager.handle(Message(YOU, "1", "hi")).replies)
    (section,) = payload["interactive"]["action"]["sections"]
    titles = [row["title"] for row in section["rows"]]
    assert 2 < len(titles) <= 10
    assert len(set(titles)) == len(titles)
    assert all(len(title) <= 24 for title in titles)
