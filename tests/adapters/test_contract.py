"""What each adapter must pass: a new one is added to `subjects.SUBJECTS`.

The libraries are real. Updates go in by their dispatcher, their application or their server, and what they send comes
to a server on this machine that answers as the vendors do.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest

from tests.adapters.subjects import SUBJECTS, Subject, _Webhook, made
from tests.adapters.updates import HOOK, Telegram, Twilio, WhatsApp, methods, parameters
from tests.web.clients import bot_error, graph_error, twilio_error
from tests.web.vendors import Answer, Vendors
from vimbiso_fsm import Bot, Flow, Location, Row, State, Text, Transition, Turn, readers
from vimbiso_fsm.errors import SendUnknown, StoreUnavailable
from vimbiso_fsm.messages.sending import Later, Never, Sent

MARKS = "1 < 2 & <b>Ada_Lovelace</b> *5* [a](b)"
DOWN = StoreUnavailable("the store is down")
DOWN.reply = "We could not save that."


@attrs.frozen
class Report:
    """The data of the flow."""

    place: Location | None = None


def thanks(turn: Turn[Report]) -> Text:
    """Name what was read."""
    assert turn.data.place is not None
    return Text("done", latitude=str(turn.data.place.latitude), marks=MARKS)


def reporting() -> Bot:
    """Return a bot that asks where something is, and waits a minute for it."""
    goods = [Row(f"g{number}", f"Good {number}") for number in range(1, 16)]
    report = Flow(
        "report",
        data=Report,
        initial="place",
        states=[
            State("place", ask=Text("ask"), reads=readers.location, into="place", timeout=60.0),
            State("goods", ask=Text("Which good?"), rows=lambda turn: goods),
            State("end", say=thanks, final=True),
            State("late", say=Text("late"), final=True),
        ],
        transitions=[
            Transition("answer", "place", "goods"),
            Transition("timeout", "place", "late"),
            Transition("answer", "goods", "end"),
        ],
    )
    texts = {
        "en": {"ask": "Where is it?", "done": "{latitude} {marks}", "late": "It is too late."},
        "sn": {"ask": "Zviri kupi?"},
    }
    return Bot(report, texts=texts)


@pytest.fixture(params=SUBJECTS)
def subject(request: pytest.FixtureRequest, world: Vendors) -> Iterator[Subject]:
    """Each adapter in turn."""
    found = made(request.param, world, reporting())
    yield found
    found.close()


@pytest.fixture(params=["aiogram", "ptb"])
def chat(request: pytest.FixtureRequest, world: Vendors) -> Iterator[Subject]:
    """Each adapter for Telegram in turn."""
    found = made(request.param, world, reporting())
    yield found
    found.close()


@pytest.fixture(params=["django", "twilio"])
def webhook(request: pytest.FixtureRequest, world: Vendors) -> Iterator[Subject]:
    """Each adapter that answers webhooks in turn."""
    found = made(request.param, world, reporting())
    yield found
    found.close()


# What comes in


def test_a_message_is_answered_by_the_client_of_the_library(subject: Subject) -> None:
    """What a member says reaches the flow, and the reply goes out by the library, once."""
    update = subject.updates.typed("hi")
    assert subject.said(update) == ["Where is it?"]
    subject.deliver(update)
    assert len(subject.words(subject.world.seen)) == 1


def test_a_command_of_the_bot_stays_its_own(subject: Subject) -> None:
    """A message that the bot answers itself does not reach the framework."""
    word = "/own" if isinstance(subject.updates, Telegram) else "own"
    assert subject.said(subject.updates.typed(word)) == ["own"]
    assert subject.said(subject.updates.typed("hi")) == ["Where is it?"]


def test_a_content_and_its_words_arrive_as_they_are(subject: Subject) -> None:
    """A location reaches the reader, and the words that answer it are marked up by no default of the library."""
    subject.deliver(subject.updates.typed("hi"))
    if isinstance(subject.updates, Twilio):  # on SMS there are no locations: this is another member
        located = subject.updates.located()
        subject.deliver(located.replace(b"&Latitude=-17.8&Longitude=31.0", b"").replace(b"Body=", b"Body=hi"))
    subject.deliver(subject.updates.located())
    last = subject.updates.typed("Good 2")
    if isinstance(subject.updates, Twilio):
        last = last.replace(b"From=", b"From=whatsapp%3A").replace(b"To=", b"To=whatsapp%3A")
    assert subject.said(last) == [f"-17.8 {MARKS}"]
    assert "parse_mode" not in parameters(subject.world.seen[-1]) if isinstance(subject.updates, Telegram) else True


def test_a_worker_sends_with_the_same_sender(subject: Subject) -> None:
    """What a timer says goes out by the client of the adapter."""
    subject.deliver(subject.updates.typed("hi"))
    subject.now += 61
    before = len(subject.world.seen)
    subject.work()
    assert subject.words(subject.world.seen[before:]) == ["It is too late."]


def test_what_cannot_be_read_is_left_to_the_bot(subject: Subject, caplog: pytest.LogCaptureFixture) -> None:
    """A broken update stops nothing: the next one is answered."""
    broken: Any = {"update_id": 5} if isinstance(subject.updates, Telegram) else WhatsApp().value(messages=[{}])
    with caplog.at_level(logging.CRITICAL):
        subject.deliver(broken)
    assert subject.said(subject.updates.typed("hi")) == ["Where is it?"]


def test_a_member_is_told_that_nothing_was_taken(subject: Subject) -> None:
    """Where a message was not taken, the member is told and the library gets the error, or it is delivered again."""
    subject.break_store(DOWN)
    before = len(subject.world.seen)
    status = subject.deliver(subject.updates.typed("hi"))
    told = subject.words(subject.world.seen[before:])
    assert (status, told) in ((200, ["We could not save that."]), (503, []))
    assert subject.errors == ([DOWN] if isinstance(subject.updates, Telegram) else [])


# What goes out


def _busy(subject: Subject) -> Answer:
    match subject.updates:
        case Telegram():
            return bot_error(429, "Too Many Requests: retry after 7", retry_after=7)
        case WhatsApp():
            found = graph_error(130429, 429)
            return Answer(found.status, found.body, {"Retry-After": "7"})
        case _:
            return twilio_error(20429, 429, **{"Retry-After": "7"})


def _blocked(subject: Subject) -> Answer:
    match subject.updates:
        case Telegram():
            return bot_error(403, "Forbidden: bot was blocked by the user")
        case WhatsApp():
            return graph_error(131026)
        case _:
            return twilio_error(21610)


def _refused(subject: Subject) -> Answer:
    match subject.updates:
        case Telegram():
            return bot_error(400, "Bad Request: message is too long")
        case WhatsApp():
            return graph_error(131009)
        case _:
            return twilio_error(21617)


def _operator(subject: Subject) -> Answer:
    match subject.updates:
        case Telegram():
            return bot_error(401, "Unauthorized")
        case WhatsApp():
            return graph_error(190, 401)
        case _:
            return twilio_error(20003, 401)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (_busy, lambda got: got == Later(7)),
        (_blocked, lambda got: isinstance(got, Never) and got.address),
        (_refused, lambda got: isinstance(got, Never) and not got.address),
        (_operator, lambda got: got == Later(300.0)),
    ],
    ids=["busy", "blocked", "refused", "operator"],
)
def test_an_error_of_the_library_is_the_answer_of_a_sender(
    subject: Subject, answer: Callable[[Subject], Answer], expected: Callable[[Any], bool]
) -> None:
    """The errors that the library raises lead to the same answers as the responses of the vendor itself."""
    subject.world.will(answer(subject))
    got = subject.send([Text("Hello").said("Hello", {})])
    assert expected(got), got


@pytest.mark.parametrize("answer", [Answer(500, b"<html>"), Answer(502, b""), Answer(200, b"{"), None])
def test_an_unknown_outcome_is_raised(subject: Subject, answer: Answer | None) -> None:
    """Where it is not known whether a message was taken, the sender raises, so that it is sent again."""
    subject.world.will(answer if answer is not None else lambda seen: None)
    with pytest.raises(SendUnknown):
        subject.send([Text("Hello").said("Hello", {})])


def test_what_never_left_is_sent_later(subject: Subject) -> None:
    """Without a connection nothing was taken: the answer is `Later`."""
    subject.unplug()
    assert isinstance(subject.send([Text("Hello").said("Hello", {})]), Later)


def test_a_message_that_was_taken_has_an_id(subject: Subject) -> None:
    """The answer has the channel's ids of the messages, by which it tells their status."""
    got = subject.send([Text("One").said("One", {}), Text("Two").said("Two", {})])
    assert isinstance(got, Sent)
    assert len(set(got.ids)) == len(got.ids) > 0


# Telegram


def test_the_language_of_the_member_is_that_of_the_words(chat: Subject) -> None:
    """The language that the channel tells is given to the framework."""
    assert chat.said(chat.updates.typed("hi", "sn")) == ["Zviri kupi?"]


def test_the_time_of_a_message_is_given(chat: Subject) -> None:
    """A message that was sent long ago is not taken, as the framework decides."""
    updates = chat.updates
    assert isinstance(updates, Telegram)
    assert "too late" in chat.said(updates.of_long_ago("hi"))[0]


def test_what_is_said_elsewhere_passes(chat: Subject) -> None:
    """A message of a group is left to the handlers of the bot that stand after the framework."""
    updates = chat.updates
    assert isinstance(updates, Telegram)
    assert chat.said(updates.in_group("hi")) == []
    assert len(chat.passed) == 1


def test_a_reply_stays_in_its_topic(chat: Subject) -> None:
    """The place of a message is given to the framework, and the library sends to it."""
    updates = chat.updates
    assert isinstance(updates, Telegram)
    chat.deliver(updates.in_topic("hi"))
    assert parameters(chat.world.seen[-1])["message_thread_id"] == "5"


def test_a_pressed_button_is_answered_and_its_message_edited(chat: Subject) -> None:
    """The query is answered first, a page takes the place of the one before, and the buttons of an answer go."""
    updates = chat.updates
    assert isinstance(updates, Telegram)
    chat.deliver(updates.typed("hi"))
    chat.deliver(updates.located())
    keys = {row[0]["text"]: row[0]["callback_data"] for row in _keyboard(chat)}
    before = len(chat.world.seen)
    chat.deliver(updates.pressed(keys["Next"]))
    assert methods(chat.world.seen[before:]) == ["answerCallbackQuery", "editMessageText"]
    keys = {row[0]["text"]: row[0]["callback_data"] for row in _keyboard(chat)}
    before = len(chat.world.seen)
    chat.deliver(updates.pressed(keys["Good 9"]))
    assert methods(chat.world.seen[before:]) == ["answerCallbackQuery", "sendMessage", "editMessageReplyMarkup"]


def _keyboard(chat: Subject) -> Any:
    return parameters(chat.world.seen[-1])["reply_markup"]["inline_keyboard"]


def test_the_commands_of_the_bot_are_published(chat: Subject) -> None:
    """`publish` lists the commands by the library."""
    assert chat.run(chat.client.publish(reporting())) is True  # type: ignore[attr-defined]  # they are async
    listed = parameters(chat.world.seen[0])["commands"]
    assert [each["command"] for each in listed] == ["menu", "back", "cancel", "help"]


@pytest.mark.parametrize("name", ["aiogram", "ptb"])
def test_customers_of_a_business_are_answered_by_its_connection(
    name: str, world: Vendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `business=True` what is said to a connected account is answered as that account."""
    monkeypatch.setattr(Subject, "business", True)
    found = made(name, world, reporting())
    updates = found.updates
    assert isinstance(updates, Telegram)
    assert found.said(updates.of_customer("hi")) == ["Where is it?"]
    assert parameters(world.seen[-1])["business_connection_id"] == "b1"
    found.close()


# Webhooks


def test_a_request_without_its_signature_is_refused(webhook: _Webhook) -> None:
    """A request that is not signed, or whose body or path is another one, reaches nothing."""
    raw = webhook.updates.typed("hi")
    signed = webhook.signs.headers(raw)
    assert webhook.post(raw, {})[0] == 403
    assert webhook.post(raw.replace(b"hi", b"ho"), signed)[0] == 403
    if isinstance(webhook.signs, Twilio):
        assert webhook.post(raw, signed, path=HOOK + "&b=2")[0] == 403
    assert webhook.world.seen == []
    assert webhook.post(raw, signed)[0] == 200


def test_a_body_that_is_too_large_is_refused(webhook: _Webhook) -> None:
    """A body above the bound is refused before it is read."""
    assert webhook.post(b"x" * ((3 << 20) + 1), {})[0] == 413


def test_a_body_that_cannot_be_read_is_refused(webhook: _Webhook) -> None:
    """A signed body that is no webhook is answered with 400."""
    raw = b"[1]" if isinstance(webhook.signs, WhatsApp) else b"a=b"
    assert webhook.deliver(raw) == 400


def test_other_methods_are_refused(webhook: _Webhook) -> None:
    """A webhook has POST, and for Meta the GET of the handshake."""
    assert webhook.post(b"", {}, method="PUT")[0] == 405
    query = "/hook?hub.mode=subscribe&hub.verify_token=v&hub.challenge=77"
    expected = (200, "77") if isinstance(webhook.signs, WhatsApp) else (403, "")
    assert webhook.post(b"", {}, method="GET", path=query) == expected
    assert webhook.post(b"", {}, method="GET", path=query.replace("=v&", "=w&")) == (403, "")
