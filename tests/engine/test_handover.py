"""The hand-over to a person: what passes, what stands still, how it ends, and what is lost in a crash (nothing)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import attrs
import pytest

from tests.engines import running, valkey_program
from vimbiso_fsm import (
    AsyncFlowStateManager,
    Bot,
    Changes,
    Channel,
    Flow,
    FlowError,
    FlowStateManager,
    Inbox,
    Later,
    Location,
    Message,
    Never,
    NoData,
    PassedOn,
    Sent,
    ServiceError,
    State,
    Text,
    Transition,
    Turn,
)
from vimbiso_fsm.audit.entries import AuditEntry, unseal
from vimbiso_fsm.cli.state import _masked
from vimbiso_fsm.document.codec import document_to_raw, encode
from vimbiso_fsm.document.document import Document, PendingCall, Reminder, Suspended, to_be_asked
from vimbiso_fsm.encryption.parts import cut
from vimbiso_fsm.engine.ahead import corrected
from vimbiso_fsm.engine.decide import current_question, decide
from vimbiso_fsm.engine.draft import Draft
from vimbiso_fsm.engine.events import HandOverEnded, ReminderDue
from vimbiso_fsm.engine.passing import MOST_PASSING
from vimbiso_fsm.engine.schedule import due
from vimbiso_fsm.engine.session import is_session_over
from vimbiso_fsm.engine.stranger import is_stranger
from vimbiso_fsm.messages.given import PersonSaid, WordsGiven
from vimbiso_fsm.messages.told import AddressChanged
from vimbiso_fsm.operations.effects import PassOn
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.testing.chat import Chat, choices, words


@attrs.frozen
class Order:
    """The data of the flow."""

    item: str = ""
    pin: str = ""


order = Flow(
    "order", data=Order, initial="item",
    states=[
        State("item",   ask=Text("Which item?"), reads=str, into="item"),
        State("pin",    ask=Text("Your PIN?"), reads=str, into="pin", timeout=600),
        State("person", say=Text("Let us ask a colleague."), hands="support"),
        State("sure",   ask=Text("Sure?")),
        State("end",    say=Text("Ordered."), final=True),
    ],
    transitions=[
        Transition("answer",  "item", "pin"),
        Transition("answer",  "pin", "person"),
        Transition("auto",    "person", "sure"),
        Transition("yes",     "sure", "end"),
        Transition("timeout", "pin", "end"),
    ],
)  # fmt: skip


def joined(turn: Turn[NoData]) -> Changes[NoData]:
    """Make the guest a member."""
    return turn.changes(member=attrs.evolve(turn.member, id="m-1", guest=False))


home: Flow[NoData] = Flow(
    "home", initial="menu",
    states=[State("menu", ask=Text("Menu")), State("order", flow=order)],
    transitions=[
        Transition("buy", "menu", "order"),
        Transition(["done", "cancelled"], "order", "menu"),
        Transition("join", "menu", "menu", prepare=joined),
    ],
)  # fmt: skip
INBOX = Inbox("support", words=["agent"], back=["bot"], idle=1800, limit=7200)
BOT = Bot(home, inboxes=[INBOX])
OVER = "A person will answer you here. Say bot to come back to the bot."
BACK = "You are back with the bot."


def talk(*said: str, inbox: bool = True) -> Chat:
    """Return a chat that has said this, with the inbox at hand or not."""
    chat = Chat(BOT)
    if inbox:
        chat.inboxes.add("support")
    chat.say(*said)
    return chat


def passed(chat: Chat) -> list[tuple[str, str]]:
    """Return what the inbox has taken."""
    return [(each.kind, each.text) for each in chat.passed]


def entries(chat: Chat) -> list[AuditEntry]:
    """Return the audit entries of the member."""
    return [unseal(entry) for entry in chat.entries()]


def test_all_words_pass_to_the_person_and_none_moves_the_run() -> None:
    """While a person has the conversation, each word passes, also a global one, and the run stands where it stood."""
    chat = talk("hi", "buy", "agent")
    assert chat.words == [OVER]
    before = chat.document().run
    for word in ("tea?", "menu", "cancel", "agent"):
        assert chat.say(word).replies == ()
    assert passed(chat) == [("begun", ""), ("said", "tea?"), ("said", "menu"), ("said", "cancel"), ("said", "agent")]
    assert chat.document().run == before
    chat.say("Bot ")
    assert chat.words == [BACK, "Which item?"]
    assert passed(chat)[-1] == ("ended", "")
    assert chat.document().handed is None
    assert chat.document().passing == ()
    chat.say("tea")
    assert chat.words == ["Your PIN?"]


def test_a_flow_hands_over_and_goes_on_after_it() -> None:
    """A state hands over. The next question is asked when the bot has the conversation back."""
    chat = talk("hi", "buy", "tea", "1234")
    assert chat.words == ["Let us ask a colleague.", OVER]
    assert passed(chat) == [("begun", "")], "nothing of before passes, above all no secret"
    chat.say("bot")
    assert chat.words == [BACK, "Sure?"]
    chat.say("yes")
    assert chat.words == ["Ordered.", "Menu"]


def test_a_message_that_comes_twice_passes_once() -> None:
    """A repeated message has no second effect at the inbox, and its name there is the same in each attempt."""
    chat = talk("hi", "agent")
    chat.inbox_plan = [OSError("no answer")]
    message = chat.message("help me", id="twice")
    for _ in range(2):
        chat.handle(message)
    assert chat.passed[1:] == []
    [waiting] = chat.document().passing
    chat.wait(60).wake()
    assert [each.id for each in chat.passed[1:]] == [waiting.id]
    chat.handle(message)
    assert passed(chat) == [("begun", ""), ("said", "help me")]


def test_a_worker_passes_on_what_a_dead_process_left() -> None:
    """A process that ends between the commit and the inbox loses nothing, and the order stays."""
    chat = talk("hi", "agent", "one", "two", inbox=False)
    assert [item.kind for item in chat.document().passing] == ["begun", "said", "said"]
    chat.inboxes.add("support")
    chat.wake()
    assert chat.passed == [], "the process that has stored it has thirty seconds"
    chat.wait(31).wake()
    assert passed(chat) == [("begun", ""), ("said", "one"), ("said", "two")]
    assert chat.document().passing == ()


def test_a_message_beside_another_on_its_way_is_passed_once_and_in_order() -> None:
    """While one process passes a message on, the next message is left to it: none overtakes, and none passes twice."""
    chat = talk("hi", "agent")
    first = chat.begin(chat.message("one"))
    while not isinstance(first.request, PassOn):
        chat.step(first)
    chat.say("two")
    assert passed(chat) == [("begun", "")]
    chat.finish(first)
    assert passed(chat) == [("begun", ""), ("said", "one"), ("said", "two")]
    assert chat.document().passing == ()


def test_two_workers_at_once_pass_a_message_on_once() -> None:
    """A worker takes a lease before it passes something on, so that another one leaves it alone meanwhile."""
    chat = talk("hi", "agent", "one", inbox=False)
    chat.inboxes.add("support")
    first = chat.wait(31).waking()
    while not isinstance(first.request, PassOn):
        chat.step(first)
    chat.wake()
    assert passed(chat) == []
    chat.end(first)
    assert passed(chat) == [("begun", ""), ("said", "one")]
    assert [entry.kind for entry in entries(chat)][-4:] == ["passing"] * 4


def test_a_worker_that_dies_holds_nothing_up() -> None:
    """What a worker has taken a lease on is passed on by another one after the lease."""
    chat = talk("hi", "agent", inbox=False)
    chat.inboxes.add("support")
    dead = chat.wait(31).waking()
    while not isinstance(dead.request, PassOn):
        chat.step(dead)
    chat.wait(29).wake()
    assert passed(chat) == []
    chat.wait(2).wake()
    assert passed(chat) == [("begun", "")]


def test_a_failure_that_is_told_late_hides_no_success() -> None:
    """A worker that took too long tells of its success, though another one has failed at the same attempt since."""
    chat = talk("hi", "agent", inbox=False)
    chat.inboxes.add("support")
    first = chat.wait(31).waking()
    while not isinstance(first.request, PassOn):
        chat.step(first)
    chat.inbox_plan = [None, OSError("it does not answer")]
    answer = chat.perform(first.request)
    chat.wait(31).wake()
    assert chat.document().passing != ()
    first.take(answer, chat.clock.at)
    chat.end(first)
    assert chat.document().passing == ()


def test_a_process_that_was_slow_leaves_the_rest_to_a_worker() -> None:
    """A process passes on only what it has a lease on for long enough, since a worker takes the rest up."""
    chat = talk("hi", "agent")
    first = chat.begin(chat.message("one"))
    while not isinstance(first.request, PassOn):
        chat.step(first)
    chat.say("two")
    chat.wait(16)
    chat.finish(first)
    assert passed(chat) == [("begun", ""), ("said", "one")]
    chat.wait(15).wake()
    assert passed(chat)[2:] == [("said", "two")]


def test_a_press_passes_as_its_title_and_a_content_as_plain_data() -> None:
    """A person reads what the member has read on a button, and gets what a message carries beside words."""
    chat = talk("hi")
    [title, press] = next(iter(choices(*chat.say("menu").replies).items()))
    chat.say("agent")
    chat.handle(chat.message(choice=press))
    chat.handle(Message(chat.channel, "place", content=Location(-17.8, 31.0), kind="location"))
    assert passed(chat)[1] == ("said", title)
    assert chat.passed[2].content["kind"] == "location"
    assert chat.passed[2].content["latitude"] == -17.8


def test_a_merge_keeps_the_hand_over() -> None:
    """A guest who is linked to a member while a person has the conversation keeps it, and what waits for the inbox."""
    told: list[PassedOn] = []
    manager = manager_of(told.append)
    for text in ("hi", "join"):
        manager.handle(Message(Channel("telegram", "7"), text, text))
    manager.handle(said("hi"))
    guest = manager.handle(said("agent")).state.member_id
    manager.link("m-1", Channel("whatsapp", "263771234567"))
    assert words(manager.handle(said("still there?")).replies) == [OVER], "which the member has not read yet"
    assert manager.say(guest, "Yes.", key="1", by="ann").status == "advanced"
    assert told[-1].member_id == "m-1"
    assert told[-1].text == "still there?"


def test_what_waits_is_passed_again_as_the_inbox_asks() -> None:
    """`Later` is obeyed, and nothing overtakes what waits."""
    chat = talk("hi", "agent")
    chat.inbox_plan = [Later(300)]
    chat.say("one", "two")
    assert passed(chat) == [("begun", "")]
    chat.wait(299).wake()
    assert passed(chat) == [("begun", "")]
    chat.wait(2).wake()
    assert passed(chat) == [("begun", ""), ("said", "one"), ("said", "two")]


def test_an_inbox_that_takes_nothing_gives_the_conversation_back() -> None:
    """After `Never` the bot has the conversation again, tells so, and the audit has the reason."""
    chat = Chat(BOT)
    chat.inboxes.add("support")
    chat.inbox_plan = [Never("closed", code="17")]
    chat.say("hi", "agent", "menu")
    assert chat.words[:2] == ["No person can be reached now. You are back with the bot.", "Menu"]
    assert chat.document().handed is None
    detail = next(entry.detail for entry in entries(chat) if entry.kind == "passing")
    assert detail["reason"] == "closed"
    assert detail["code"] == "17"
    assert detail["ended"] == "inbox"


def test_timers_and_the_session_stand_still() -> None:
    """A timer and the session have as much time left after the hand-over as before it."""
    chat = talk("hi", "buy", "tea")
    chat.wait(100).say("agent")
    before = chat.document()
    assert before.run is not None
    assert before.run.due is not None
    assert before.deadline is not None
    chat.wait(1500).wake()
    chat.say("are you there?")
    chat.wait(1500).wake()
    assert chat.document().run == before.run
    chat.say("bot")
    assert chat.words == [BACK, "Your PIN?"]
    after = chat.document()
    stood = timedelta(seconds=3000)
    assert after.run is not None
    assert after.run.due == before.run.due + stood
    assert after.session_since is not None
    assert before.session_since is not None
    assert after.session_since == before.session_since + stood
    chat.wait(501).wake()
    after = chat.document()
    assert [entry.trigger for entry in entries(chat)][-1] == "timeout"


def test_the_timer_takes_the_conversation_back() -> None:
    """The bot takes over after the idle time, which each word renews up to the limit, and asks the question again."""
    chat = talk("hi", "buy", "agent")
    chat.delivers = True
    for _ in range(4):
        chat.wait(1700).say("hello?")
    assert chat.wakes_at() is not None
    chat.wait(7200 - 4 * 1700 - 1).wake()
    assert chat.document().handed is not None
    chat.wait(2).wake()
    assert chat.document().handed is None
    assert chat.taken == [BACK, "Which item?"]
    assert [entry.detail["ended"] for entry in entries(chat) if "ended" in entry.detail] == ["timer"]


def test_a_late_message_finds_the_bot() -> None:
    """A message after the end answers nothing: the bot takes over, and asks the question again."""
    chat = talk("hi", "buy", "agent")
    chat.wait(1801).say("tea")
    assert chat.words == [BACK, "Which item?"]


def test_a_full_inbox_refuses_in_words() -> None:
    """What waits for an inbox is bounded. A message beyond the bound is refused, and never dropped in silence."""
    chat = talk("hi", "agent", inbox=False)
    for number in range(MOST_PASSING - 1):
        assert chat.say(str(number)).replies == ()
    assert chat.say("one more").status == "refused"
    assert chat.words[0].startswith("That did not reach a person yet")
    assert len(chat.document().passing) == MOST_PASSING


def test_an_opt_out_ends_the_hand_over() -> None:
    """A member who wants no messages gets none from a person either, and the inbox learns of the end."""
    chat = Chat(BOT, channel=Channel("sms", "+263771234567"))
    chat.inboxes.add("support")
    chat.say("hi", "agent", "STOP")
    assert chat.document().handed is None
    assert passed(chat)[-1] == ("ended", "")


def test_the_audit_has_who_and_when_and_no_words() -> None:
    """The entries name the inbox and the person, and quote nothing that was said."""
    told: list[PassedOn] = []
    manager = manager_of(told.append)
    member = manager.handle(said("hi")).state.member_id
    manager.hand_over(member, "support", key="1", by="ann")
    manager.handle(said("my PIN is 1234"))
    manager.say(member, "We look into it.", key="2", by="ann")
    manager.hand_back(member, key="3", by="ben")
    kept = [(entry.kind, entry.detail) for entry in manager.history(member) if entry.kind in ("handed", "person")]
    assert [(kind, detail.get("by")) for kind, detail in kept] == [
        ("handed", "ann"), ("handed", None), ("person", "ann"), ("handed", "ben"),
    ]  # fmt: skip
    assert "1234" not in str(kept)
    assert "look into" not in str(kept)
    assert kept[-1][1]["since"]
    assert kept[-1][1]["ended"] == "person"


# The managers ---------------------------------------------------------------------------------------------------------


def said(text: str, id: str = "") -> Message:
    """Return a message of the member."""
    return Message(Channel("whatsapp", "263771234567"), id or f"m-{text}", text)


def manager_of(take: Callable[[PassedOn], Any], sent: list[str] | None = None) -> FlowStateManager:
    """Return a manager in memory with an inbox."""

    def deliver(_: Channel, replies: Any) -> None:
        if sent is not None:
            sent.extend(reply.text for reply in replies)

    def inbox(passed: PassedOn) -> Sent:
        take(passed)
        return Sent()

    return FlowStateManager.in_memory(BOT, deliver=deliver, inboxes={"support": inbox})


def test_a_person_answers_through_the_manager() -> None:
    """A person takes over, speaks as they write, and gives back; each once per key."""
    told: list[PassedOn] = []
    sent: list[str] = []
    manager = manager_of(told.append, sent)
    member = manager.handle(said("hi")).state.member_id
    assert manager.say(member, "Hello", key="0", by="ann").reason == "not handed"
    assert manager.hand_over(member, "nowhere", key="a", by="ann").reason == "unknown inbox"
    assert manager.hand_over(member, "support", key="1", by="ann").status == "advanced"
    assert manager.hand_over(member, "support", key="b", by="ben").reason == "handed"
    assert manager.handle(said("help")).replies == ()
    said_by_ann = [manager.say(member, "Write {this}, menu.left", key="2", by="ann").status for _ in range(2)]
    assert said_by_ann == ["advanced", "duplicate"]
    assert manager.open(member, "order", key="c").reason == "busy"
    assert manager.hand_back(member, key="3", by="ann").status == "advanced"
    assert sent == [OVER, "Write {this}, menu.left", BACK, "Menu"]
    assert [(each.kind, each.text, each.by) for each in told] == [
        ("begun", "", "ann"), ("said", "help", ""), ("ended", "", "ann"),
    ]  # fmt: skip
    assert told[-1].member_id == member
    assert told[-1].channel.identifier == "263771234567"


def test_the_async_manager_does_the_same() -> None:
    """The async manager hands over, passes on, speaks and gives back."""

    async def main() -> list[str]:
        told: list[str] = []

        async def inbox(passed: PassedOn) -> Sent:
            told.append(passed.text)
            return Sent()

        async def deliver(_: Channel, replies: Any) -> None:
            told.extend(reply.text for reply in replies)

        manager = AsyncFlowStateManager.in_memory(BOT, deliver=deliver, inboxes={"support": inbox})
        member = (await manager.handle(said("hi"))).state.member_id
        await manager.hand_over(member, "support", key="1", by="ann")
        await manager.handle(said("help"))
        await manager.say(member, "Yes?", key="2", by="ann")
        await manager.hand_back(member, key="3", by="ann")
        return told

    told = asyncio.run(main())
    assert [words for words in told if words] == [OVER, "help", "Yes?", BACK, "Menu"]


def test_the_document_is_stored_and_read_on_a_server() -> None:
    """On a real server the hand-over and what waits for the inbox outlive the manager."""
    with running(valkey_program()) as server:
        for times in range(2):
            store = AtomicStateManager.from_url(server.url)
            with FlowStateManager(BOT, store, on_close=store.close) as manager:
                member = manager.handle(said("hi")).state.member_id
                if not times:
                    manager.handle(said("agent"))
                assert manager.handle(said("tea", f"t{times}")).replies == ()
                state = manager.state(member)
                assert isinstance(state, Document)
                assert state.handed is not None
                assert [item.text for item in state.passing] == ["", "tea", "tea"][: 2 + times]


# Declarations ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "declare",
    [
        lambda: Inbox("No"),
        lambda: Inbox("a", back=[]),
        lambda: Inbox("a", idle=0),
        lambda: Inbox("a", idle=10, limit=5),
        lambda: Bot(home),
        lambda: Bot(home, inboxes=[INBOX, INBOX]),
        lambda: Bot(home, inboxes=[INBOX, Inbox("other", words=["agent"])]),
        lambda: Bot(home, inboxes=[INBOX, Inbox("other", words=["menu"])]),
        lambda: Bot(home, inboxes=["support"]),  # type: ignore[list-item]
        lambda: Bot(home, inboxes=INBOX),  # type: ignore[arg-type]
        lambda: Flow("f", initial="a", states=[State("a", ask=Text("?"), hands="support")], transitions=[]),
        lambda: FlowStateManager.in_memory(BOT, inboxes={"other": lambda passed: Sent()}),
    ],
    ids=range(12),
)
def test_a_wrong_declaration_is_refused(declare: Callable[[], object]) -> None:
    """A declaration that could not work is refused when it is made."""
    with pytest.raises(FlowError):
        declare()


def _takes_nothing() -> Sent:
    return Sent()


async def _async_inbox(_: PassedOn) -> Sent:
    return Sent()


@pytest.mark.parametrize("inbox", [None, _takes_nothing, _async_inbox])
def test_a_wrong_function_of_an_inbox_is_refused(inbox: Any) -> None:
    """A function that could not take what passes is refused when the manager is made."""
    with pytest.raises(ServiceError):
        FlowStateManager.in_memory(BOT, inboxes={"support": inbox})


# What else stands still, and where it is kept -------------------------------------------------------------------------


def handed_document(*said: str) -> Document:
    """Return the document of a guest whose conversation a person has."""
    return talk(*said, "agent").document()


def test_nothing_of_the_flow_is_due() -> None:
    """While a person has the conversation, no timer, no end of the session and no reminder with a flow is due."""
    chat = talk("hi", "buy", "tea", "agent")
    document = chat.document()
    at = document.last_updated
    reminders = (Reminder("a", "1", at, ({"text": "x"},)), Reminder("b", "2", at, flow="order"))
    found = [event for _, event in due(attrs.evolve(document, reminders=reminders))]
    assert [type(event) for event in found] == [ReminderDue, HandOverEnded]


def test_a_fact_of_the_channel_ends_no_login_that_stands_still() -> None:
    """A session that stands still is not over, however long a person has the conversation."""
    document = handed_document("hi", "buy")
    later = document.last_updated + timedelta(days=1)
    draft = Draft(BOT, document, document.channel, later, "t", "t")
    assert not is_session_over(draft)
    assert is_session_over(Draft(BOT, attrs.evolve(document, handed=None), document.channel, later, "t", "t"))


def test_no_question_is_shown_while_a_person_has_the_conversation() -> None:
    """The current question is none, also where it has to be asked again after an upgrade."""
    document = handed_document("hi", "buy")
    assert document.run is not None
    pending = PendingCall("k", "shop", "ship", {}, "r", document.last_updated)
    unasked = attrs.evolve(document, run=to_be_asked(document.run))
    assert current_question(BOT, attrs.evolve(document, call=pending), document.last_updated) == ()
    assert current_question(BOT, unasked, document.last_updated) == ()
    assert current_question(BOT, attrs.evolve(unasked, handed=None), document.last_updated) != ()


def test_a_guest_with_a_person_is_no_stranger() -> None:
    """Such a guest is kept as others are: something would be lost."""
    document = handed_document("hi")
    assert not is_stranger(BOT, attrs.evolve(document, passing=()))
    assert is_stranger(BOT, attrs.evolve(document, passing=(), handed=None))


def test_a_changed_address_ends_the_hand_over() -> None:
    """Who has the former address now may be another person, and does not speak to the inbox."""
    manager = manager_of(lambda passed: None)
    manager.handle(said("hi"))
    member = manager.handle(said("agent")).state.member_id
    manager.handle_event(AddressChanged(channel=Channel("whatsapp", "263771234567"), id="n1", new="263779999999"))
    left = manager.state(member)
    assert left is None or left.handed is None
    assert "channel" in [entry.detail.get("ended") for entry in manager.history(member)]


def test_a_clock_that_was_ahead_moves_the_hand_over() -> None:
    """After the clock has returned, a hand-over lasts as long as it would have."""
    document = handed_document("hi")
    assert document.handed is not None
    after = corrected(BOT, document, document.last_updated - timedelta(days=400)).handed
    assert after is not None
    assert after.until - after.since == timedelta(seconds=1800)
    assert after.since == document.last_updated - timedelta(days=400)


def test_words_on_their_way_are_hidden_in_an_encrypted_store() -> None:
    """What waits for an inbox is in the hidden part of a document, and the command masks it."""
    chat = talk("hi", "agent", "my PIN is 98765", inbox=False)
    assert b"98765" not in cut(encode(chat.document()), BOT.secrets_of).readable
    assert "98765" not in str(_masked(BOT, document_to_raw(chat.document())))


def test_a_person_answers_a_speaker_who_has_not_logged_in() -> None:
    """What a person says goes out while a login is asked for, though other notices wait for the login."""
    chat = Chat(BOT)
    document = handed_document("hi")
    assert document.run is not None
    run = attrs.evolve(document.run, id="home:0", waits=Suspended.LOGIN)
    asked = attrs.evolve(document, guest=False, member_id="m", channels=(document.channel.address,), suspended=(run,))
    words = Text("handed.said", words="Try again.")
    given = PersonSaid(member_id="m", text=words, key="1", by="ann")
    assert decide(chat.bot, asked, given, document.last_updated, route="deliver").delivery is not None
    answered = decide(chat.bot, asked, given, document.last_updated, route="keep").document
    after = decide(chat.bot, answered, chat.message("thanks"), answered.last_updated).document
    assert [waiting.tries for waiting in after.outbox] == [0], "a worker still delivers it"
    other = WordsGiven(member_id="m", text=words, key="2")
    assert decide(chat.bot, asked, other, document.last_updated, route="deliver").delivery is None
