"""Senders send in order, once, by the requests that the vendors document."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.web.clients import (
    MEMBERS,
    SAID,
    THREE,
    TOKEN,
    TWO,
    Maker,
    api_of,
    async_client,
    bot_error,
    each_channel,
    graph_error,
    sync_client,
)
from tests.web.vendors import Answer, Vendors
from vimbiso_fsm import (
    AsyncFlowStateManager,
    Bot,
    Flow,
    FlowStateManager,
    Later,
    Message,
    Never,
    Sent,
    State,
    Transition,
)
from vimbiso_fsm.channels import AsyncWebChannel, StatusChanged, WebChannel
from vimbiso_fsm.errors import SendUnknown
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.replies import Button, Buttons, Media, Text
from vimbiso_fsm.web import (
    TwilioApi,
    cloud_api,
)

# Sent


@each_channel
def test_replies_are_sent_in_order_and_their_ids_come_back(world: Vendors, make: Maker, name: str) -> None:
    """Each message is one request, in order, and the answer has the channel's ids."""
    channel = make(api_of(name, world.url))
    answer = channel.send(MEMBERS[name], TWO, key="k")
    prefix = {"whatsapp": "wamid.", "telegram": "", "sms": "SM"}[name]
    assert answer == Sent([f"{prefix}1", f"{prefix}2"])
    assert ["One" in each.body.decode() for each in world.seen] == [True, False]


def test_the_requests_are_those_of_the_documents(world: Vendors, make: Maker) -> None:
    """Method, path, credentials and body of a message are those that each vendor documents."""
    for name, member in MEMBERS.items():
        assert isinstance(make(api_of(name, world.url)).send(member, SAID), Sent)
    cloud, bot, twilio = world.seen
    assert (cloud.method, cloud.path) == ("POST", f"/{cloud_api.VERSION}/106/messages")
    assert (cloud.headers["authorization"], cloud.headers["content-type"]) == (f"Bearer {TOKEN}", "application/json")
    assert cloud.json["text"] == {"preview_url": False, "body": "Hello <Ada>"}
    assert (bot.method, bot.path) == ("POST", f"/bot{TOKEN}/sendMessage")
    assert bot.json == {"chat_id": "11", "text": "Hello <Ada>"}
    assert (twilio.method, twilio.path) == ("POST", "/2010-04-01/Accounts/AC1/Messages.json")
    assert twilio.headers["authorization"] == "Basic " + base64.b64encode(f"AC1:{TOKEN}".encode()).decode()
    assert twilio.form == {"To": "+263771000001", "Body": "Hello <Ada>", "From": "+16505550002"}


def test_a_member_is_answered_from_the_number_that_they_wrote_to(world: Vendors, make: Maker) -> None:
    """The account of the channel is the number to send from; a messaging service is named by its id."""
    member = MEMBERS["whatsapp"].with_account("777")
    assert isinstance(make(api_of("whatsapp", world.url)).send(member, SAID), Sent)
    assert world.seen[-1].path.split("/")[2] == "777"
    twilio = make(
        TwilioApi(account_sid="AC1", auth_token="t", sender="MG1", status_callback="https://b/s", base=world.url)
    )
    for channel, number in (
        (MEMBERS["sms"], {"MessagingServiceSid": "MG1"}),
        (MEMBERS["sms"].with_account("+1650"), {"From": "+1650"}),
        (MEMBERS["whatsapp"].with_account("whatsapp:+1650"), {"From": "whatsapp:+1650"}),
        (MEMBERS["whatsapp"].with_account("+1650"), {"From": "whatsapp:+1650"}),
    ):
        assert isinstance(twilio.send(channel, SAID), Sent)
        form = world.seen[-1].form
        assert {key: form[key] for key in number} == number
        assert form["StatusCallback"] == "https://b/s"


def test_replies_without_words_are_sent_without_a_request(world: Vendors, make: Maker) -> None:
    """What a channel has no payload for asks it nothing."""
    assert make(api_of("telegram", world.url)).send(MEMBERS["telegram"], [Text("x").said(" ", {})]) == Sent()
    assert world.seen == []


def test_the_id_of_a_sent_message_is_the_one_that_its_status_names(world: Vendors, make: Maker) -> None:
    """A status that the channel reports later names the id that the sender has answered."""
    twilio, cloud = make(api_of("sms", world.url)), make(api_of("whatsapp", world.url))
    (sid,) = twilio.send(MEMBERS["sms"], SAID).ids
    form = f"MessageSid={sid}&MessageStatus=undelivered&ErrorCode=30003&From=%2B1650&To=%2B263771000001"
    (wamid,) = cloud.send(MEMBERS["whatsapp"], SAID).ids
    told = {"id": wamid, "status": "delivered", "timestamp": "1760000000", "recipient_id": "263771000001"}
    change = {"field": "messages", "value": {"metadata": {"phone_number_id": "106"}, "statuses": [told]}}
    body = {"object": "whatsapp_business_account", "entry": [{"changes": [change]}]}
    events = (*twilio.parse(form.encode()).events, *cloud.parse(json.dumps(body).encode()).events)
    found = [(each.message_id, each.status, each.code) for each in events if isinstance(each, StatusChanged)]
    assert found == [(sid, "failed", "30003"), (wamid, "delivered", "")]


# Several messages


@each_channel
def test_what_was_sent_is_not_sent_again(world: Vendors, make: Maker, name: str) -> None:
    """After a limit in the middle, the next attempt with the key sends only what is left; another key sends all."""
    channel = make(api_of(name, world.url))
    usual: Callable[[Any], Any] = world._usual
    world.will(usual, Answer(429, b"", {"Retry-After": "3"}))
    assert channel.send(MEMBERS[name], THREE, key="k") == Later(3)
    assert len(channel.send(MEMBERS[name], THREE, key="k").ids) == 3
    texts = [next(word for word in ("One", "Two", "Three") if word in each.body.decode()) for each in world.seen]
    assert texts == ["One", "Two", "Two", "Three"]
    assert isinstance(channel.send(MEMBERS[name], THREE, key="other"), Sent)
    assert isinstance(channel.send(MEMBERS[name], THREE, key="k"), Sent)  # the send had ended
    assert len(world.seen) == 10


@each_channel
def test_a_message_of_unknown_outcome_is_sent_again_and_those_before_it_are_not(
    world: Vendors, make: Maker, name: str
) -> None:
    """After an unknown outcome, the next attempt begins with the message in question."""
    channel = make(api_of(name, world.url))
    usual: Callable[[Any], Any] = world._usual
    world.will(usual, Answer(500, b""))
    with pytest.raises(SendUnknown):
        channel.send(MEMBERS[name], TWO, key="k")
    assert len(channel.send(MEMBERS[name], TWO, key="k").ids) == 2
    assert ["One" in each.body.decode() for each in world.seen] == [True, False, False]


def test_a_refused_picture_does_not_take_the_question_with_it(world: Vendors, make: Maker) -> None:
    """A message that is refused for its content does not hold up the next ones, and the answer tells of it."""
    channel = make(api_of("whatsapp", world.url))
    world.will(graph_error(131053))
    question = Buttons(Text("Go on?"), (Button("yes", "Yes"),))
    answer = channel.send(MEMBERS["whatsapp"], [Media("image", "https://x.example/gone.png"), question], key="k")
    assert answer == Never("1 of 2 messages: the file could not be uploaded", code="131053")
    assert [each.json["type"] for each in world.seen] == ["image", "interactive"]


def test_a_blocked_address_ends_a_send(world: Vendors, make: Maker) -> None:
    """Where the member is not reached, the messages that are left are not tried."""
    world.will(bot_error(403, "Forbidden: bot was blocked by the user"))
    answer = make(api_of("telegram", world.url)).send(MEMBERS["telegram"], THREE, key="k")
    assert (answer.address, len(world.seen)) == (True, 1)


# Telegram


def test_a_pressed_button_is_answered_before_the_replies(world: Vendors, make: Maker) -> None:
    """The query of a pressed button is answered first and once, whatever becomes of it."""
    member = Channel("telegram", "11", {"reply_to": {"query": "q1"}})
    usual: Callable[[Any], Any] = world._usual
    world.will(bot_error(400, "Bad Request: query is too old"), usual, Answer(500, b""))
    channel = make(api_of("telegram", world.url))
    with pytest.raises(SendUnknown):
        channel.send(member, TWO, key="k")
    assert isinstance(channel.send(member, TWO, key="k"), Sent)
    methods = [each.path.rsplit("/", 1)[1] for each in world.seen]
    assert methods == ["answerCallbackQuery", "sendMessage", "sendMessage", "sendMessage"]
    assert world.seen[0].json == {"callback_query_id": "q1"}


def test_a_topic_that_is_gone_does_not_keep_words_back(world: Vendors, make: Maker) -> None:
    """Where the topic of the latest message was deleted, the words go to the chat."""
    member = Channel("telegram", "11", {"reply_to": {"topic": 5}})
    world.will(bot_error(400, "Bad Request: message thread not found"))
    assert isinstance(make(api_of("telegram", world.url)).send(member, SAID), Sent)
    assert [each.json.get("message_thread_id") for each in world.seen] == [5, None]


def test_each_payload_names_its_method_by_the_path(world: Vendors, make: Maker) -> None:
    """A file goes by the method that its payload names, and no parameter of it is empty."""
    photo = Media("image", "https://x.example/a.png", Text("A <b>"))
    assert isinstance(make(api_of("telegram", world.url)).send(MEMBERS["telegram"], [photo]), Sent)
    assert world.seen[0].path == f"/bot{TOKEN}/sendPhoto"
    assert world.seen[0].json == {"chat_id": "11", "photo": "https://x.example/a.png", "caption": "A <b>"}


# In a manager


def greeting() -> Bot:
    """Return a bot that asks one question."""
    states: list[State[Any]] = [
        State("ask", ask=Text("Shall we begin?")),
        State("begun", say=Text("Here we go."), final=True),
    ]
    return Bot([Flow("greeting", initial="ask", states=states, transitions=[Transition("yes", "ask", "begun")])])


@each_channel
def test_a_client_is_the_sender_of_a_manager(world: Vendors, name: str) -> None:
    """A manager sends by the client what it says; the client is a `WebChannel` or an `AsyncWebChannel`."""
    with sync_client(api_of(name, world.url)) as channel:
        web: WebChannel = channel
        with FlowStateManager.in_memory(greeting(), senders={name: web.send}) as manager:
            assert manager.handle(Message(MEMBERS[name], "m1", "hi")).sent

    async def sends() -> bool | None:
        async with async_client(api_of(name, world.url)) as client:
            web: AsyncWebChannel = client
            async with AsyncFlowStateManager.in_memory(greeting(), senders={name: web.send}) as manager:
                return (await manager.handle(Message(MEMBERS[name], "m1", "hi"))).sent

    assert asyncio.run(sends())
    assert ["Shall we begin?" in each.body.decode().replace("+", " ").replace("%3F", "?") for each in world.seen] == [
        True
    ] * 2
