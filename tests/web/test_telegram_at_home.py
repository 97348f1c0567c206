"""What a bot does on Telegram alone: pressed messages, keyboards, commands and deep links, on a fake Bot API."""

from __future__ import annotations

import json
from itertools import count
from typing import Any

import pytest

from tests.web.clients import Maker, api_of, bot_error, sync_client
from tests.web.vendors import Answer, Vendors
from vimbiso_fsm import Bot, Flow, FlowError, FlowStateManager, Row, Shortcut, State, Text, Transition
from vimbiso_fsm.channels import telegram
from vimbiso_fsm.errors import RequestRefused
from vimbiso_fsm.flow.flow import NoData
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.replies import Button, Buttons, ContactRequest, LocationRequest
from vimbiso_fsm.messages.sending import Sent

PAT = {"id": 11, "is_bot": False, "first_name": "Pat", "language_code": "en"}
CHAT = {"id": 11, "type": "private", "first_name": "Pat"}


def shop() -> Bot:
    """Return a bot with a list of two pages."""
    goods = [Row(f"g{number}", f"Good {number}") for number in range(1, 16)]
    states: list[State[NoData]] = [
        State("list", ask=Text("Which good?"), rows=lambda turn: goods),
        State("sure", ask=Text("Sure?")),
        State("done", say=Text("Done."), final=True),
    ]
    ways: list[Transition[NoData]] = [Transition("answer", "list", "sure"), Transition("yes", "sure", "done")]
    return Bot([Flow("shop", initial="list", states=states, transitions=ways)], texts={"shop.sure.yes": "Yes"})


class Chat:
    """Pat's chat with a bot: updates as Telegram sends them, and the requests that the bot makes."""

    def __init__(self, world: Vendors, bot: Bot) -> None:
        self._world, self._client = world, sync_client(api_of("telegram", world.url))
        self._manager = FlowStateManager.in_memory(bot, senders={"telegram": self._client.send})
        self._ids = count(1)

    def _update(self, **content: Any) -> list[tuple[str, dict[str, Any]]]:
        update = {"update_id": next(self._ids), **content}
        before = len(self._world.seen)
        for message in telegram.parse(json.dumps(update).encode()).messages:
            self._manager.handle(message)
        return [(seen.path.rsplit("/", 1)[1], seen.json) for seen in self._world.seen[before:]]

    def says(self, **content: Any) -> list[tuple[str, dict[str, Any]]]:
        """Send a message, and return the methods that were called and their parameters."""
        told = {"message_id": next(self._ids), "from": PAT, "chat": CHAT, "date": 1_760_000_000, **content}
        return self._update(message=told)

    def presses(self, data: str, **place: Any) -> list[tuple[str, dict[str, Any]]]:
        """Press a button of message 70."""
        asked = {"message_id": 70, "chat": CHAT, "date": 1_760_000_000, "text": "Which good?", **place}
        query = {"id": "q1", "from": PAT, "message": asked, "chat_instance": "-3", "data": data}
        return self._update(callback_query=query)

    def close(self) -> None:
        """Close the client and the manager."""
        self._manager.close()
        self._client.close()


@pytest.fixture
def chat(world: Vendors):
    """Pat's chat with the shop."""
    found = Chat(world, shop())
    yield found
    found.close()


def keys(parameters: dict[str, Any]) -> dict[str, str]:
    """Return the data of the buttons of a message by their titles."""
    rows = parameters["reply_markup"]["inline_keyboard"]
    return {row[0]["text"]: row[0]["callback_data"] for row in rows}


def names(calls: list[tuple[str, dict[str, Any]]]) -> list[str]:
    """Return the methods that were called."""
    return [name for name, _ in calls]


def test_the_next_page_takes_the_place_of_the_page_before(chat: Chat) -> None:
    """A page of a list is shown in the message whose button asked for it, after its query was answered."""
    ((_, asked),) = chat.says(text="hi")
    calls = chat.presses(keys(asked)["Next"])
    assert names(calls) == ["answerCallbackQuery", "editMessageText"]
    page = calls[1][1]
    assert (page["chat_id"], page["message_id"], page["text"]) == ("11", 70, "Which good?")
    assert "Previous" in keys(page)
    assert "Good 1" not in keys(page)


def test_the_buttons_of_an_answered_question_are_removed(chat: Chat) -> None:
    """The answer to a question comes as a message, and then the buttons of the question go."""
    ((_, asked),) = chat.says(text="hi")
    calls = chat.presses(keys(asked)["Good 2"])
    assert names(calls) == ["answerCallbackQuery", "sendMessage", "editMessageReplyMarkup"]
    assert calls[1][1]["text"] == "Sure?"
    assert calls[2][1] == {"chat_id": "11", "message_id": 70}
    assert names(chat.says(text="yes")) == ["sendMessage"]


def test_the_buttons_of_an_old_question_are_removed_when_pressed(chat: Chat) -> None:
    """A press on a question that is over is answered with the open one as a message, and its buttons go."""
    ((_, asked),) = chat.says(text="hi")
    chat.says(text="Good 2")
    calls = chat.presses(keys(asked)["Next"])
    assert names(calls)[0] == "answerCallbackQuery"
    assert names(calls)[-1] == "editMessageReplyMarkup"
    assert "editMessageText" not in names(calls)


def test_a_press_of_long_ago_changes_no_message(chat: Chat, world: Vendors) -> None:
    """Where the query is too old to be answered, these are no replies to it: they come as messages."""
    ((_, asked),) = chat.says(text="hi")
    world.will(bot_error(400, "Bad Request: query is too old and response timeout expired or query ID is invalid"))
    assert names(chat.presses(keys(asked)["Next"])) == ["answerCallbackQuery", "sendMessage"]


@pytest.mark.parametrize(
    ("answer", "methods"),
    [
        (bot_error(400, "Bad Request: message to edit not found"), ["sendMessage", "editMessageReplyMarkup"]),
        (bot_error(400, "Bad Request: message is not modified: specified new message content"), []),
        (Answer(500, b""), ["sendMessage", "editMessageReplyMarkup"]),
    ],
)
def test_a_message_that_cannot_be_edited_is_sent(
    chat: Chat, world: Vendors, answer: Answer, methods: list[str]
) -> None:
    """A page comes as a message where the old one is gone; where it is shown already, nothing is sent."""
    ((_, asked),) = chat.says(text="hi")
    world.will(Answer(200, {"ok": True, "result": True}), answer)
    assert names(chat.presses(keys(asked)["Next"])) == ["answerCallbackQuery", "editMessageText", *methods]


def test_an_edit_names_the_business_and_no_topic(world: Vendors, make: Maker) -> None:
    """The message of a business is edited by its connection; `editMessageText` has no topic."""
    asked = Buttons(Text("Again?"), (Button("!aZ09+/bcyes", "Yes"),))
    place = {"query": "q1", "message": 70, "fence": "!aZ09+/bc", "topic": 5, "business": "b1"}
    answer = make(api_of("telegram", world.url)).send(Channel("telegram", "11", {"reply_to": place}), [asked])
    assert answer == Sent("70")
    edited = world.seen[1].json
    assert (edited["business_connection_id"], edited["message_id"]) == ("b1", 70)
    assert "message_thread_id" not in edited


def test_a_reply_stays_in_its_topic(chat: Chat) -> None:
    """A reply to a button of a topic goes to the topic."""
    ((_, asked),) = chat.says(text="hi", message_thread_id=5, is_topic_message=True)
    assert asked["message_thread_id"] == 5
    calls = chat.presses(keys(asked)["Good 2"], message_thread_id=5, is_topic_message=True)
    assert calls[1][1]["message_thread_id"] == 5


@pytest.mark.parametrize(
    ("request_", "button", "content"),
    [
        (LocationRequest(Text("Where?")), "request_location", {"location": {"latitude": -17.8, "longitude": 31.0}}),
        (ContactRequest(Text("Who?")), "request_contact", {"contact": {"phone_number": "263", "first_name": "Pat"}}),
    ],
)
def test_a_keyboard_that_was_used_is_removed(request_: Any, button: str, content: dict[str, Any]) -> None:
    """A question for a location or a contact has a button that sends it; the words after it remove the keyboard."""
    ((_, asked),) = [("", each) for each in telegram.render(Channel("telegram", "11"), [request_])]
    ((key,),) = asked["reply_markup"]["keyboard"]
    assert key[button] is True
    told = {"message_id": 9, "from": PAT, "chat": CHAT, "date": 1_760_000_000}
    (used,) = telegram.parse(json.dumps({"update_id": 1, "message": {**told, **content}}).encode()).messages
    (typed,) = telegram.parse(json.dumps({"update_id": 2, "message": {**told, "text": "there"}}).encode()).messages
    thanks = [Text("thanks", text="Thank you.")]
    assert telegram.render(used.channel, thanks)[0]["reply_markup"] == {"remove_keyboard": True}
    assert "reply_markup" not in telegram.render(typed.channel, thanks)[0]
    asked_next = Buttons(Text("Next?"), (Button("yes", "Yes"),))
    assert "inline_keyboard" in telegram.render(used.channel, [asked_next])[0]["reply_markup"]


# Commands


def says(name: str, words: str) -> Flow[NoData]:
    """Return a flow that says words, and is over."""
    return Flow(name, initial="said", states=[State("said", say=Text(words), final=True)], transitions=[])


def listed(**settings: Any) -> Bot:
    """Return a bot with a shortcut that is offered."""
    pay = says("pay", "Paid.")
    hidden = says("gift", "Given.")
    shortcuts = [
        Shortcut(pay, lambda text: () if text == "pay" else None, command="pay"),
        Shortcut(hidden, lambda text: None),
    ]
    texts = {
        "en": {"pay.title": "Pay a bill"},
        "sn": {"pay.title": "Bhadhara", "command.menu": "Endai kumenu"},
        "en_GB": {"pay.title": "Settle a bill"},
    }
    return Bot([*shop().flows, pay, hidden], shortcuts=shortcuts, texts=texts, **settings)


def test_the_commands_of_a_bot_are_published(world: Vendors, make: Maker) -> None:
    """The offered shortcuts and the global words are listed in each language that Telegram can name."""
    assert make(api_of("telegram", world.url)).publish(listed()) is True
    assert {each.path.rsplit("/", 1)[1] for each in world.seen} == {"setMyCommands"}
    english, shona = (each.json for each in world.seen)
    assert [each["command"] for each in english["commands"]] == ["pay", "menu", "back", "cancel", "help"]
    assert [each["description"] for each in english["commands"]][:2] == ["Pay a bill", "Go to the menu"]
    assert (english.get("language_code"), shona["language_code"]) == (None, "sn")
    assert [each["description"] for each in shona["commands"]][:2] == ["Bhadhara", "Endai kumenu"]


def test_a_command_that_is_listed_works(world: Vendors) -> None:
    """A member who picks a listed command gets what it names."""
    chat = Chat(world, listed())
    assert chat.says(text="/pay")[0][1]["text"] == "Paid."
    assert chat.says(text="/menu@our_bot")[0][1]["text"] == "Which good?"
    chat.close()


def test_commands_that_are_refused_raise(world: Vendors, make: Maker) -> None:
    """A refusal of the commands reaches the operator who publishes them."""
    world.will(bot_error(401, "Unauthorized"))
    with pytest.raises(RequestRefused) as refused:
        make(api_of("telegram", world.url)).publish(listed())
    assert refused.value.kind == "operator"


def test_a_channel_without_a_list_of_commands_is_told_none(world: Vendors, make: Maker) -> None:
    """Other channels have no such list, and no request is made."""
    assert make(api_of("sms", world.url)).publish(listed()) is False
    assert world.seen == []


@pytest.mark.parametrize("word", ["Pay", "a" * 33, "gift"])
def test_a_command_that_would_not_work_is_refused(word: str) -> None:
    """A shortcut is offered by a word that Telegram can list and that the shortcut reads."""
    pay = says("pay", "Paid.")
    with pytest.raises(FlowError, match="shortcut"):
        Shortcut(pay, lambda text: () if text == "pay" else None, command=word)


# Deep links


def test_a_deep_link_leads_into_its_flow(world: Vendors) -> None:
    """The payload of the link is what Telegram hands to the bot as the argument of /start."""
    pay = says("pay", "Paid.")
    link = telegram.deep_link("@our_bot", "pay")
    assert link == "https://t.me/our_bot?start=pay"
    chat = Chat(world, Bot([*shop().flows, pay], links={"pay": pay}))
    assert chat.says(text=f"/start {link.partition('start=')[2]}")[0][1]["text"] == "Paid."
    chat.close()


@pytest.mark.parametrize(("name", "payload"), [("our bot", ""), ("", ""), ("our_bot", "a b"), ("our_bot", "a" * 65)])
def test_a_deep_link_of_another_form_is_refused(name: str, payload: str) -> None:
    """A link that Telegram would not pass on is not made."""
    with pytest.raises(ValueError, match="give"):
        telegram.deep_link(name, payload)
