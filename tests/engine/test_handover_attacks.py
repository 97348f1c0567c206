"""A hand-over to a person, attacked: damage, deploys, erasure, encryption, hostile words, two persons at once."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest

from tests.engine.test_handover import BACK, BOT, INBOX, OVER, passed, talk
from vimbiso_fsm import (
    Bot,
    Channel,
    Flow,
    FlowStateManager,
    Inbox,
    InvalidMessage,
    Message,
    Never,
    NoData,
    PassedOn,
    Sent,
    State,
    Text,
    Transition,
)
from vimbiso_fsm.audit.entries import unseal
from vimbiso_fsm.document.codec import document_to_raw
from vimbiso_fsm.engine.passing import MOST_PASSING
from vimbiso_fsm.messages.given import FlowOpened, HandedBack
from vimbiso_fsm.operations.export import export
from vimbiso_fsm.operations.give import give
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.testing.chat import STORE_SECRET, Chat, Clock


def giving(chat: Chat, given: FlowOpened | HandedBack) -> str:
    """Give something to the member, and return the status of the outcome."""
    return chat.finish(chat._hold(lambda context: give(context, given, delivers=chat.delivers), None)).status


# Damage ---------------------------------------------------------------------------------------------------------------


def test_a_repair_keeps_the_hand_over_and_what_waits() -> None:
    """A member whose document is damaged stays with the person, and nothing that they have said is lost."""
    chat = talk("hi", "buy", "agent", "one", inbox=False)
    before = chat.document()
    raw = {**document_to_raw(before), "flow_data": {"id": "nowhere"}}
    chat.plant_bytes(before.member_id, json.dumps(raw, default=str).encode())
    chat.inboxes.add("support")
    assert chat.say("two").status == "recovered"
    assert chat.document().handed is not None
    chat.wait(31).wake()
    assert passed(chat) == [("begun", ""), ("said", "one"), ("said", "two")]


# What waits for the bot -----------------------------------------------------------------------------------------------


def survey_bot() -> Bot:
    """Return a bot with a flow that hands over at its end, and one that is opened from outside."""
    report: Flow[NoData] = Flow(
        "report", initial="what",
        states=[
            State("what", ask=Text("What?"), reads=str),
            State("end",  say=Text("Noted."), hands="support", final=True),
        ],
        transitions=[Transition("answer", "what", "end")],
    )  # fmt: skip
    survey: Flow[NoData] = Flow(
        "survey", initial="ask",
        states=[State("ask", ask=Text("All well?")), State("end", final=True)],
        transitions=[Transition("yes", "ask", "end")],
    )  # fmt: skip
    home: Flow[NoData] = Flow(
        "home", initial="menu",
        states=[State("menu", ask=Text("Menu")), State("report", flow=report)],
        transitions=[Transition("tell", "menu", "report"), Transition(["done", "cancelled"], "report", "menu")],
    )  # fmt: skip
    return Bot([home, report, survey], home=home, inboxes=[INBOX])


@pytest.mark.parametrize("how", ["member", "person", "timer", "inbox"])
def test_a_flow_that_is_next_begins_after_the_hand_over(how: str) -> None:
    """A flow that waits for the member to come home begins when the bot has the conversation back, not before."""
    chat = Chat(survey_bot())
    chat.delivers = True
    chat.inboxes.add("support")
    chat.say("hi", "tell")
    assert giving(chat, FlowOpened(member_id=chat.member_id(), flow="survey", key="1")) == "advanced"
    chat.inbox_plan = [OSError()] if how == "inbox" else []
    chat.say("it leaks")
    assert chat.words == ["Noted.", OVER], "a person has the conversation"
    if how == "member":
        chat.say("bot")
    elif how == "person":
        giving(chat, HandedBack(member_id=chat.member_id(), key="2", by="ann"))
    else:
        chat.inbox_plan = [Never("closed")]
        chat.wait(1800).wake()
    words = chat.words if how == "member" else chat.taken
    first = "No person can be reached now. You are back with the bot." if how == "inbox" else BACK
    assert words[0] == first
    assert words[-1] == "All well?"
    assert "Menu" not in words, "the question of home is not asked in between"


# Channels, consent and accounts ---------------------------------------------------------------------------------------


def known(passed: list[PassedOn], **options: Any) -> tuple[FlowStateManager, str]:
    """Return a manager with an inbox, and the id of a member whose conversation a person has."""

    def inbox(each: PassedOn) -> Sent:
        passed.append(each)
        return Sent()

    manager = FlowStateManager.in_memory(BOT, inboxes={"support": inbox}, **options)
    for text in ("hi", "join", "agent"):
        manager.handle(Message(Channel("whatsapp", "263771234567"), text, text))
    return manager, "m-1"


def test_a_channel_that_an_operator_takes_away_ends_the_hand_over() -> None:
    """The inbox learns of the end, the audit says why, and the next speaker on the channel talks to the bot."""
    passed: list[PassedOn] = []
    manager, member = known(passed)
    manager.unlink(member, Channel("whatsapp", "263771234567"))
    document = manager.state(member)
    assert document is not None
    assert document.handed is None
    manager.wake(member)
    assert [each.kind for each in passed] == ["begun", "ended"]
    assert [e.detail["ended"] for e in manager.history(member) if e.detail.get("handed") == "back"] == ["channel"]
    assert manager.handle(Message(Channel("whatsapp", "263771234567"), "9", "hi")).replies != ()
    assert manager.say(member, "Hello?", key="1", by="ann").reason == "not handed"
    assert manager.hand_over(member, "support", key="2", by="ann").reason == "unreachable"


def test_another_channel_that_leaves_ends_nothing() -> None:
    """The person goes on with a member who has lost a channel on which they are not speaking."""
    passed: list[PassedOn] = []
    manager, member = known(passed)
    manager.link(member, Channel("telegram", "7"))
    manager.unlink(member, Channel("telegram", "7"))
    document = manager.state(member)
    assert document is not None
    assert document.handed is not None


def test_a_member_who_wants_no_messages_is_not_taken() -> None:
    """A person cannot take a conversation in which nothing may be said, and may once the member has given consent."""
    manager = FlowStateManager.in_memory(BOT)
    member = manager.handle(Message(Channel("sms", "+263771234567"), "1", "hi")).member_id
    manager.handle(Message(Channel("sms", "+263771234567"), "2", "STOP"))
    assert manager.hand_over(member, "support", key="1", by="ann").reason == "unreachable"
    manager.handle(Message(Channel("sms", "+263771234567"), "3", "START"))
    again = manager.hand_over(member, "support", key="1", by="ann")
    assert (again.status, again.reason) == ("duplicate", "refused")
    assert manager.hand_over(member, "support", key="2", by="ann").status == "advanced"


def test_a_person_answers_in_the_conversation_that_was_handed_over() -> None:
    """With two accounts of the bot, what passes names the conversation with the one that the member has written to."""
    passed: list[PassedOn] = []
    bot = attrs.evolve(BOT, accounts="separate")

    def inbox(each: PassedOn) -> Sent:
        passed.append(each)
        return Sent()

    manager = FlowStateManager.in_memory(bot, inboxes={"support": inbox})
    one, two = (Channel("whatsapp", "263771234567").with_account(account) for account in ("one", "two"))
    for channel in (one, two):
        for text in ("hi", "join"):
            manager.handle(Message(channel, text, text))
    manager.handle(Message(two, "agent", "agent"))
    assert manager.say(passed[-1].member_id, "Hello.", key="1", by="ann").status == "advanced"
    [found] = manager.handed().conversations
    assert found.member_id == passed[-1].member_id


# Persons --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", ["", " \n", "x" * 9000, 5, None], ids=["empty", "blank", "long", "number", "none"])
def test_words_that_cannot_be_said_are_refused(words: Any) -> None:
    """Words of a person are text, neither empty nor longer than what is given may be."""
    manager, member = known([])
    with pytest.raises(InvalidMessage) as caught:
        manager.say(member, words, key="1", by="ann")
    assert caught.value.field == "text"
    with pytest.raises(InvalidMessage):
        manager.tell(member, Text("note", words="x" * 9000), key="2")


def test_two_persons_at_once_are_both_heard_and_both_in_the_audit() -> None:
    """Words of two persons go out in the order in which they were taken in, whatever signs they have in them."""
    sent: list[str] = []
    manager, member = known([], deliver=lambda channel, replies: sent.extend(reply.text for reply in replies))
    for number, (by, text) in enumerate([("ann", "{name} menu.left"), ("ben", "a\x00\x1b[31mb"), ("ann", "\u202eok")]):
        assert manager.say(member, text, key=f"{number}", by=by).status == "advanced"
    assert manager.hand_back(member, key="a", by="ben").status == "advanced"
    assert manager.hand_back(member, key="b", by="ann").reason == "not handed"
    assert len(sent) == 5
    assert sent[0] == "{name} menu.left"
    entries = [entry for entry in manager.history(member) if entry.kind == "person"]
    assert [entry.detail["by"] for entry in entries] == ["ann", "ben", "ann"]
    assert all(entry.at for entry in entries)


# Deploys and removal --------------------------------------------------------------------------------------------------


def plain_bot(inbox: str) -> Bot:
    """Return a bot with one inbox, which only a word hands over to."""
    shop: Flow[NoData] = Flow(
        "shop", initial="menu",
        states=[State("menu", ask=Text("Menu")), State("item", ask=Text("Which item?"), reads=str)],
        transitions=[Transition("buy", "menu", "item"), Transition("answer", "item", "menu")],
    )  # fmt: skip
    return Bot(shop, inboxes=[Inbox(inbox, words=["agent"])])


def test_a_process_that_does_not_know_the_inbox_leaves_the_conversation_to_it() -> None:
    """An old process passes on what is said to an inbox of a newer one, ends nothing, and does not put the end off."""
    chat = Chat(plain_bot("desk"))
    chat.say("hi", "buy")
    chat.bot = plain_bot("support")
    chat.say("agent", "one")
    until = chat.document().handed
    chat.wait(60)
    chat.bot = plain_bot("desk")
    chat.say("two", "bot")
    assert (chat.words, chat.document().handed) == ([], until)
    assert [item.text for item in chat.document().passing] == ["", "one", "two", "bot"]
    chat.bot = plain_bot("support")
    chat.say("bot")
    assert chat.words == [BACK, "Which item?"]


def test_a_process_that_does_not_know_the_inbox_keeps_no_more_than_it_may() -> None:
    """Where so much waits that no more fits, there is nobody to take it, and the bot has the conversation again."""
    chat = Chat(plain_bot("support"))
    chat.say("hi", "buy", "agent")
    chat.bot = plain_bot("desk")
    chat.say(*[f"word {number}" for number in range(MOST_PASSING)])
    assert chat.document().handed is None
    assert chat.words[-1] == "Which item?"


def test_a_deploy_without_the_inbox_gives_the_conversation_to_the_bot() -> None:
    """Where the bot has the inbox no longer, the end of the hand-over comes, and what waits is given up in the end."""
    chat = Chat(plain_bot("support"))
    chat.say("hi", "buy", "agent", "one")
    chat.bot = plain_bot("desk")
    chat.inboxes.add("desk")
    chat.wait(3600).say("two")
    assert chat.words == [BACK, "Which item?"]
    assert chat.document().handed is None
    chat.wait(60).wake()
    wakes = chat.wakes_at()
    assert wakes is not None
    assert wakes.timestamp() - chat.clock.at >= 200, "no worker is woken each minute for what no worker can do"
    assert len(chat.document().passing) == 3
    for _ in range(3):
        chat.wait(7 * 86_400).wake()
    assert chat.document().passing == ()
    reasons = {unseal(entry).detail.get("reason") for entry in chat.entries()}
    assert "the bot has no such inbox" in reasons


@pytest.mark.parametrize("do", ["erase", "wipe"])
@pytest.mark.parametrize("guest", [True, False])
@pytest.mark.parametrize("way", ["told", "fails", "gone"])
def test_an_inbox_is_told_that_an_erased_member_has_left(way: str, guest: bool, do: str) -> None:
    """The inbox hears of the end of the hand-over before the data goes; one that does not is named to the operator."""
    passed: list[PassedOn] = []

    def inbox(each: PassedOn) -> Sent:
        if way == "fails" and each.kind == "ended":
            raise RuntimeError("down")
        passed.append(each)
        return Sent()

    store = MemoryStore(Clock(), secret=STORE_SECRET)
    manager = FlowStateManager(BOT, store, inboxes={"support": inbox}, rates=None)
    member = ""
    for number, text in enumerate(("hi", "agent") if guest else ("hi", "join", "agent")):
        member = manager.handle(Message(Channel("whatsapp", "263771234567"), f"m{number}", text)).member_id
    manager.hand_over(member, "support", key="1", by="ann")
    operator = manager if way != "gone" else FlowStateManager(BOT, store)
    done = getattr(operator, do)(member)
    kinds = [each.kind for each in passed]
    assert (kinds, done.untold) == (["begun", "ended"], ()) if way == "told" else (["begun"], ("support",))
    assert getattr(operator, do)(member).untold == ()


def test_an_erased_member_leaves_nothing_with_the_store() -> None:
    """After an erasure nothing waits for the inbox, and a person is told that there is no such member."""
    manager, member = known([])
    manager.erase(member)
    assert manager.handed().conversations == ()
    assert manager.say(member, "Hello?", key="1", by="ann").reason == "unknown member"


def test_an_export_has_what_waits_for_the_inbox() -> None:
    """The person whom the data is about gets the words that wait, without their names."""
    chat = talk("hi", "agent", "my PIN is 98765", inbox=False)
    found = chat.finish(chat._hold(lambda context: export(context, chat.member_id()), None))
    [conversation] = found.value["conversations"]
    assert [item.get("text", "") for item in conversation["document"]["_passing"]] == ["", "my PIN is 98765"]
    assert "id" not in conversation["document"]["_passing"][0]


def test_no_words_are_in_a_log(caplog: pytest.LogCaptureFixture) -> None:
    """What the member and a person say, and what the inbox raises, is in no log and in no audit entry."""

    def inbox(each: PassedOn) -> Sent:
        raise ValueError(f"cannot take {each.text}")

    with caplog.at_level("DEBUG"):
        manager = FlowStateManager.in_memory(BOT, inboxes={"support": inbox})
        said = [Message(Channel("whatsapp", "263771234567"), text, text) for text in ("hi", "agent", "my PIN is 98765")]
        member = [manager.handle(message) for message in said][-1].member_id
        manager.say(member, "It is 98765.", key="1", by="ann")
    assert caplog.records, "the failure of the inbox is logged"
    shown = " ".join(record.getMessage() for record in caplog.records) + str(manager.history(member))
    assert "98765" not in shown
    assert "263771234567" not in shown
