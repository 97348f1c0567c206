"""Telegram: updates in, `sendMessage` out."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cases.small_flows import seat
from tests.channels.strategies import NOW, any_json, any_reply, broken, reachable, says_all
from vimbiso_fsm import Bot
from vimbiso_fsm.channels import ChannelFormat, telegram
from vimbiso_fsm.errors import InvalidMessage
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.replies import Button, Buttons, Menu, Row, Text
from vimbiso_fsm.testing.chat import Chat

ADA = Channel("telegram", "4711", {"name": "Ada", "language": "en"})
SENDER = {"id": 4711, "is_bot": False, "first_name": " Ada\n", "language_code": "en"}
CHAT = {"id": 4711, "type": "private", "first_name": "Ada"}


def message(**content: Any) -> dict[str, Any]:
    """Return an update with a message of the given content."""
    told = {"message_id": 9, "from": SENDER, "chat": CHAT, "date": 1_760_000_000, **content}
    return {"update_id": 77, "message": told}


def callback(**content: Any) -> dict[str, Any]:
    """Return an update for a pressed button of a message."""
    asked = {"message_id": 9, "chat": CHAT, "date": 1_760_000_000, "text": "Send it?"}
    return {"update_id": 78, "callback_query": {"id": "1", "from": SENDER, "message": asked, **content}}


def parsed(update: Any) -> Any:
    """Parse an update as the channel would receive it."""
    return telegram.parse(json.dumps(update).encode(), account="vimbiso_bot", now=NOW)


def test_a_typed_text():
    """A text message has the chat's id, the name and the language of its sender."""
    (said,) = parsed(message(text="10 USD")).messages
    assert said.channel == ADA.with_account("vimbiso_bot")
    assert (said.id, said.text, said.choice, said.kind) == ("77", "10 USD", None, "text")
    assert said.channel.metadata["language"] == "en"  # what Bot.language goes by
    assert said.account == "vimbiso_bot"
    assert said.sent_at == datetime.fromtimestamp(1_760_000_000, UTC)


def test_a_pressed_button_tells_its_query_and_its_message():
    """The sender gets the ids of the query and of the message with the button, and the topic of that message."""
    asked = {"message_id": 9, "chat": CHAT, "message_thread_id": 5, "is_topic_message": True}
    (said,) = parsed(callback(data="yes", message=asked)).messages
    assert said.channel.reply_to == {"query": "1", "message": 9, "topic": 5}
    assert telegram.render(said.channel, [Text("a", text="a")])[0]["message_thread_id"] == 5


@pytest.mark.parametrize("topic", [True, "5", -1, 0, 10**30, None, [5]])
def test_a_broken_topic_is_none(topic):
    """A topic that is no id is left out, and the message is read."""
    (said,) = parsed(message(text="hi", message_thread_id=topic, is_topic_message=True)).messages
    assert said.channel.reply_to == {}
    assert "message_thread_id" not in telegram.render(said.channel, [Text("a", text="a")])[0]


def test_a_place_is_that_of_the_latest_message():
    """A late reply goes to the topic of the latest message, and a message outside of one leaves no old topic behind."""
    chat = Chat(Bot(seat()), channel=ADA.with_account("vimbiso_bot"))
    chat.delivers = True
    within = message(text="hi", message_thread_id=5, is_topic_message=True)
    later = {**message(text="hi"), "update_id": 78}
    said, outside = (telegram.parse(json.dumps(each).encode(), account="vimbiso_bot") for each in (within, later))
    chat.handle(said.messages[0])
    chat.wait(61).wake()
    assert [delivery.channel.reply_to for delivery in chat.delivered] == [{"topic": 5}]
    state = chat.handle(outside.messages[0]).state
    assert (state.channel.reply_to, state.channel.metadata["name"]) == ({}, "Ada")


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("/start", "start"),
        ("/start abc", "start"),
        ("/menu@vimbiso_bot", "menu"),
        ("/5 of 7", "/5 of 7"),
        ("0.5=>alan", "0.5=>alan"),
    ],
)
def test_a_bot_command_is_its_bare_word(typed, read):
    """A bot command is read as its bare word."""
    assert parsed(message(text=typed)).messages[0].text == read


def test_a_pressed_button():
    """A pressed button is a choice."""
    (said,) = parsed(callback(data="run.1.yes")).messages
    assert (said.channel.address, said.id) == (ADA.with_account("vimbiso_bot").address, "78")
    assert (said.choice, said.text) == ("run.1.yes", None)
    assert said.sent_at is None  # Telegram gives the time of the question, not of the answer


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ({"photo": []}, "image"),
        ({"sticker": {}}, "sticker"),
        ({"animation": {}, "document": {}}, "video"),
        ({"voice": {}}, "audio"),
        ({"hologram": {}}, "unsupported"),
    ],
)
def test_a_message_without_text_has_a_kind(content, kind):
    """A message without text is of the kind of its content."""
    (said,) = parsed(message(**content)).messages
    assert (said.kind, said.text, said.choice) == (kind, None, None)


@pytest.mark.parametrize(
    "update",
    [
        {"update_id": 1, "edited_message": {}},
        {"update_id": 1, "my_chat_member": {}},
        message(text="hi", chat={"id": -5, "type": "group"}),
        callback(data="yes", message={"chat": {"id": -5, "type": "supergroup"}}),
    ],
)
def test_other_updates_and_groups_are_told(update):
    """Updates of other kinds and of groups are told and not said."""
    delivery = parsed(update)
    assert not delivery.messages
    assert len(delivery.events) == 1


@pytest.mark.parametrize(
    ("update", "field"),
    [
        ({}, "update_id"),
        ({"update_id": True}, "update_id"),
        ({"update_id": 1, "message": "hi"}, "message"),
        ({"update_id": 1, "message": {"text": "hi"}}, "from.id"),
        (message(text=5), "text"),
        (callback(), "data"),
        ([], "body"),
    ],
)
def test_a_broken_update_is_refused(update, field):
    """A broken update is refused, and the error names the field."""
    with pytest.raises(InvalidMessage) as raised:
        parsed(update)
    assert raised.value.field == field


@given(st.binary() | any_json.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_read_or_refused(body):
    """Any bytes are read or refused with `InvalidMessage`."""
    with suppress(InvalidMessage):
        telegram.parse(body, now=NOW)


@given(broken(message(text="hi")) | broken(callback(data="yes")))
def test_any_broken_update_is_read_or_refused(body):
    """An update with any part replaced is read or refused with `InvalidMessage`."""
    with suppress(InvalidMessage):
        telegram.parse(body, now=NOW)


def test_the_secret_header():
    """Only the secret of `setWebhook` is accepted."""
    name = "X-Telegram-Bot-Api-Secret-Token"
    assert telegram.verify({name: "s3cret"}, b"{}", secret="s3cret")
    for header, secret in [("other", "s3cret"), ("", "s3cret"), ("", ""), ("sécret", "s3cret")]:
        assert not telegram.verify({name: header}, b"{}", secret=secret)


def test_an_inline_keyboard_has_a_button_a_line():
    """Options are an inline keyboard with one button per line."""
    (payload,) = telegram.render(ADA, [Buttons(Text("Send it?"), (Button("yes", "Yes"), Button("no", "No")))])
    assert payload == {
        "chat_id": "4711",
        "text": "Send it?",
        "parse_mode": None,
        "reply_markup": {
            "inline_keyboard": [[{"text": "Yes", "callback_data": "yes"}], [{"text": "No", "callback_data": "no"}]]
        },
    }


def test_descriptions_are_said_in_the_text():
    """Descriptions are written in the text, because buttons show none."""
    (payload,) = telegram.render(ADA, [Menu(Text("Offers"), (Row("a", "Alan", Text("5 USD")), Row("b", "Ada")))])
    assert payload["text"] == "Offers\n1. Alan - 5 USD\n2. Ada"
    assert len(payload["reply_markup"]["inline_keyboard"]) == 2


def test_a_callback_that_does_not_fit_becomes_a_number():
    """Options whose ids are too long are numbered text."""
    (payload,) = telegram.render(ADA, [Buttons(Text("Who?"), (Button("é" * 33, "Alan"),))])
    assert payload == {"chat_id": "4711", "text": "Who?\n1. Alan", "parse_mode": None}


def test_a_long_question_goes_ahead_of_its_buttons():
    """A question that is too long is sent ahead; its end stands with the buttons."""
    first, last = telegram.render(ADA, [Buttons(Text("word " * 1000), (Button("yes", "Yes"),))])
    assert "reply_markup" not in first
    assert "reply_markup" in last


@given(any_reply)
def test_any_reply_fits_and_keeps_its_options(reply):
    """Any reply is within the limits and keeps all its options."""
    payloads = telegram.render(ADA, [reply])
    json.dumps(payloads).encode()
    keys = [key for payload in payloads if "reply_markup" in payload for key in _keys(payload)]
    said = [payload["text"] for payload in payloads]
    assert all(text.strip() and len(text.encode("utf-16-le")) <= 2 * 4096 for text in said)
    assert all(key["text"] and 1 <= len(key["callback_data"].encode()) <= 64 for key in keys)
    assert len({key["text"] for key in keys}) == len(keys) <= 100
    assert says_all(reply, said)
    assert reachable(reply, [key["callback_data"] for key in keys], said)


def _keys(payload: dict[str, Any]) -> list[dict[str, str]]:
    return [key for line in payload["reply_markup"]["inline_keyboard"] for key in line]


def test_the_module_is_a_channel_format():
    """The module is a `ChannelFormat`."""
    channel_format: ChannelFormat = telegram
    assert channel_format.render(ADA, []) == []
