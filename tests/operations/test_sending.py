"""One outbox for every reply: leased with the turn, sent at once, struck off beside the member's path, never twice."""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator, Sequence
from datetime import timedelta
from typing import Any, Literal

import attrs
import pytest

from tests.shells import Shell
from vimbiso_fsm.document.document import Document
from vimbiso_fsm.errors import FlowError, ServiceError, WrongArgument
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.flow import Flow, NoData
from vimbiso_fsm.flow.reactions import Reaction
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.flow.turn import Turn
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.replies import Reply, Text
from vimbiso_fsm.messages.sending import LONGEST_WAIT, MAX_IDS, Later, Never, Sent
from vimbiso_fsm.messages.told import ChatOpened, Reacted, StatusChanged
from vimbiso_fsm.operations.handle import Outcome
from vimbiso_fsm.operations.sent_notes import SentNotes
from vimbiso_fsm.runtime import async_shell
from vimbiso_fsm.runtime import shell as sync_shell
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.store.requests import Load, Request, Stored
from vimbiso_fsm.store.retention import MESSAGES_KEPT
from vimbiso_fsm.testing.chat import STORE_SECRET

CHANNEL = Channel("whatsapp", "263771234567")
KINDS = pytest.mark.parametrize("kind", ["sync", "async"])
Kind = Literal["sync", "async"]


class Counting:
    """A store that counts its requests by their class."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.asked: list[str] = []

    def perform(self, request: Request) -> Any:
        self.asked.append(type(request).__name__)
        return self.store.perform(request)


class Line:
    """A channel: what was said on it, and its next answers. An exception among them is raised."""

    def __init__(self, *answers: object) -> None:
        self.answers: list[Any] = [*answers]
        self.said: list[str] = []
        self.keys: list[str] = []

    def __call__(self, channel: Channel, replies: Sequence[Reply], /, *, key: str) -> Any:
        answer = self.answers.pop(0) if self.answers else Sent()
        self.keys.append(key)
        if isinstance(answer, BaseException):
            raise answer
        if isinstance(answer, Sent):
            self.said += [reply.text for reply in replies]
        return answer


class Scene:
    """A member, a channel and managers on one store and one clock."""

    def __init__(self, kind: Kind, bot: Bot | None = None) -> None:
        self.kind: Kind = kind
        self.bot = bot or seat()
        self.at = 1e9
        self.memory = MemoryStore(lambda: self.at, secret=STORE_SECRET)
        self.store = Counting(self.memory)
        self.line = Line()
        self.shells: list[Shell] = []

    def shell(self, **options: Any) -> Shell:
        """Make a manager with the channel as its sender, unless others are given."""
        options = {"senders": {"whatsapp": self.line}, "cache": 100, **options}
        made = Shell(self.kind, self.bot, self.memory if self.kind == "async" else self.store, **options)
        made.manager._base.clock.follow(lambda: self.at)
        self.shells.append(made)
        return made

    def document(self, outcome: Outcome) -> Document:
        """Return the member's stored document without what was sent."""
        return self.shells[-1].state(outcome.member_id)

    def record(self, shell: Shell) -> None:
        """Let a manager record what it has sent, as it does by itself a second later."""
        base = shell.manager._base
        for request, note in base.sent.requests(base.bot):
            self.memory.perform(request)
            base.sent.done(request.member_id, note)


@pytest.fixture
def scene(kind: Kind) -> Generator[Scene]:
    """Make a scene, and close its managers."""
    made = Scene(kind)
    yield made
    for shell in made.shells:
        shell.do("close")


def seat(**more: Any) -> Bot:
    """Make a bot that holds a seat for a minute."""
    flow: Flow[NoData] = Flow(
        "seat",
        initial="hold",
        states=[
            State("hold", ask=Text("Take it?"), timeout=60),
            State("taken", say=Text("Yours.")),
            State("paid", say=Text("Thanks."), final=True),
            State("missed", say=Text("Too late."), final=True),
        ],
        transitions=[
            Transition("yes", "hold", "taken"),
            Transition("auto", "taken", "paid"),
            Transition("timeout", "hold", "missed"),
        ],
    )
    return Bot(flow, session=86_400.0, **more)


def said(text: str, id: str | None = None) -> Message:
    """Make a message of the member."""
    return Message(CHANNEL, id or text, text)


@KINDS
def test_a_reply_is_sent_once_and_struck_off_by_the_next_commit(scene: Scene):
    """The sender says the reply of each turn, one request a turn; the next commit leaves it out of the outbox."""
    shell = scene.shell()
    first = shell.handle(said("hi"))
    assert (first.sent, scene.line.said) == (True, ["Take it?"])
    stored = scene.memory.perform(Load(first.member_id))
    assert b'"_outbox":[{"id":' in (getattr(stored, "document", None) or b"")
    assert b"Take it?" not in (getattr(stored, "document", None) or b"").split(b"_outbox")[1][:120]
    scene.store.asked.clear()
    second = shell.handle(said("yes"))
    assert scene.store.asked in (["Commit"], [])
    assert second.sent is True
    assert scene.line.said == ["Take it?", "Yours.\n\nThanks."]
    assert len(second.state.outbox) <= 1
    assert len(set(scene.line.keys)) == 2


@KINDS
def test_what_was_sent_is_noted_for_other_workers(scene: Scene):
    """Once it is recorded, no worker and no repeated message says a reply again, and no commit was made for it."""
    shell, other = scene.shell(), scene.shell(cache=0)
    outcome = shell.handle(said("hi"))
    version = outcome.state.version
    scene.record(shell)
    scene.at += 31
    assert other.handle(said("hi")).status == "duplicate"
    assert other.wake(outcome.member_id) == ()
    assert scene.line.said == ["Take it?"]
    assert scene.document(outcome).version == version
    assert scene.document(outcome).outbox == ()


@KINDS
def test_it_is_recorded_soon(scene: Scene):
    """A manager records by itself what it has sent, and at the latest when it is closed."""
    shell = scene.shell()
    outcome = shell.handle(said("hi"))
    shell.until(lambda: not shell.manager._base.sent)
    assert getattr(scene.memory.perform(Load(outcome.member_id)), "sent", ()) == (scene.line.keys[0],)
    shell.handle(said("yes"))
    shell.do("close")
    assert not shell.manager._base.sent


@KINDS
def test_a_worker_says_what_a_dead_process_has_left(scene: Scene):
    """A reply whose process died between the commit and the send is said by a worker when the lease is over."""
    dead, worker = scene.shell(), scene.shell(cache=0)
    outcome = dead.do("handle", said("hi"), send=False)
    assert (outcome.sent, scene.line.said) == (None, [])
    assert worker.wake(outcome.member_id) == ()
    assert worker.handle(said("hi")).status == "duplicate"
    assert scene.line.said == []
    scene.at += 31
    worker.wake(outcome.member_id)
    assert scene.line.said == ["Take it?"]
    assert scene.document(outcome).outbox == ()


@KINDS
@pytest.mark.parametrize("text", ["hi", "yes"])
def test_the_next_message_brings_what_a_dead_process_has_left(text: str, scene: Scene):
    """After the lease, a repeated message or the next one says what was left, and a text answers no unread question."""
    dead, other = scene.shell(), scene.shell(cache=0)
    dead.do("handle", said("hi"), send=False)
    scene.at += 31
    outcome = other.handle(said(text))
    assert scene.line.said[0] == "Take it?"
    assert "Yours." not in scene.line.said
    assert (outcome.status, outcome.sent) == ({"hi": "duplicate", "yes": "refused"}[text], True)


@KINDS
def test_the_channel_is_asked_again_when_it_says(scene: Scene):
    """After `Later(400)` the channel is not asked for 400 s, whoever speaks, and then all is said in order."""
    scene.line.answers = [Later(400)]
    shell = scene.shell()
    outcome = shell.handle(said("hi"))
    assert outcome.sent is False
    scene.at += 10
    later = shell.handle(said("cancel"))
    assert later.sent is False
    for _ in range(38):
        scene.at += 10
        shell.wake(outcome.member_id)
    assert len(scene.line.keys) == 1
    scene.at += 11
    shell.wake(outcome.member_id)
    assert scene.line.said[0] == "Take it?"
    assert len(scene.line.said) > 1
    assert scene.document(outcome).outbox == ()


@KINDS
def test_a_reply_that_is_refused_is_given_up_audited_and_told(kind: Kind):
    """After `Never` the reply is given up; the audit has the reason, and the bot's reaction to a failure runs."""
    told: list[StatusChanged] = []

    def react(turn: Any, fact: StatusChanged) -> Reaction | None:
        told.append(fact)
        return None

    scene = Scene(kind, seat(on={StatusChanged: react}))
    scene.line.answers = [Never("the template is paused", code="132015")]
    shell = scene.shell()
    outcome = shell.handle(said("hi"))
    assert outcome.sent is False
    assert scene.document(outcome).outbox == ()
    [entry] = [entry for entry in shell.do("history", outcome.member_id) if entry.kind == "delivery"]
    assert (entry.status, entry.detail["reason"], entry.detail["code"]) == (
        "failed",
        "the template is paused",
        "132015",
    )
    assert {(fact.status, fact.code, fact.reason) for fact in told} == {("failed", "132015", "the template is paused")}
    scene.at += 3600
    shell.wake(outcome.member_id)
    assert "Take it?" not in scene.line.said
    shell.do("close")


@KINDS
@pytest.mark.parametrize("number", ["+263771234567", "263771234567", "+263 77 123-4567", "(0)77 123 4567", "7712345"])
def test_a_reason_that_quotes_a_number_is_masked_in_the_audit(number: str, scene: Scene):
    """The errors of a channel may quote the address of the member, and the audit does not; codes stay."""
    scene.line.answers = [Never(f"21211: The 'To' number {number} is not valid, see 131026")]
    shell = scene.shell()
    outcome = shell.handle(said("hi"))
    [entry] = [entry for entry in shell.do("history", outcome.member_id) if entry.kind == "delivery"]
    assert entry.detail["reason"] in {f"21211: The 'To' number {mask} is not valid, see 131026" for mask in ("•", "(•")}


@KINDS
def test_a_member_who_has_blocked_the_bot_is_not_asked_again(scene: Scene):
    """After `Never(address=True)` the channel is not asked until the member writes, and then all of it is said."""
    shell = scene.shell()
    outcome = shell.handle(said("hi"))
    scene.line.answers = [Never("blocked", address=True)]
    for _ in range(433):
        scene.at += 600
        shell.wake(outcome.member_id)
    assert len(scene.line.keys) == 2
    shell.handle(said("hello"))
    assert scene.line.said[0] == "Take it?"
    assert scene.line.said[1].startswith("Too late.")


@KINDS
@pytest.mark.parametrize("answer", [None, 7, {"ok": True}, OSError("gone"), KeyboardInterrupt()])
def test_what_is_no_answer_leaves_the_outcome_unknown(answer: Any, scene: Scene, caplog: pytest.LogCaptureFixture):
    """A sender that raises or answers something else is reported; a worker asks again after a pause, and it is said."""
    scene.line.answers = [answer]
    shell = scene.shell()
    with caplog.at_level(logging.ERROR):
        outcome = shell.handle(said("hi"))
    assert outcome.sent is False
    assert caplog.records
    assert shell.wake(outcome.member_id) == ()
    scene.at += 3
    shell.wake(outcome.member_id)
    assert scene.line.said == ["Take it?"]
    assert len(set(scene.line.keys)) == 1


@KINDS
@pytest.mark.parametrize(
    ("seconds", "pause"),
    [(-1, 1), (0, 1), (float("inf"), LONGEST_WAIT), (float("-inf"), 1), (float("nan"), 2), ("400", 2), (None, 2),
     (True, 2), (timedelta(seconds=9), 9), (10**400, LONGEST_WAIT)],
)  # fmt: skip
def test_a_senseless_pause_has_a_meaning(seconds: Any, pause: float, scene: Scene):
    """A pause is cut to its bounds, and what is no number stands for the usual one; nothing is lost by it."""
    scene.line.answers = [Later(seconds)]
    shell = scene.shell()
    outcome = shell.handle(said("hi"))
    [waiting] = scene.document(outcome).outbox
    assert waiting.leased_until is not None
    assert waiting.leased_until.timestamp() == pytest.approx(scene.at + pause, abs=0.01)


@pytest.mark.parametrize(
    ("given", "kept"),
    [("a", ("a",)), (7, ("7",)), (["a", 8, None, b"c", ""], ("a", "8")), (["x" * 10_240], ()), (None, ()),
     (3.5, ()), (map(str, range(1000)), tuple(map(str, range(MAX_IDS))))],
)  # fmt: skip
def test_ids_that_are_none_are_left_out(given: Any, kept: tuple[str, ...]):
    """`Sent` takes any ids without an error, because the replies are sent all the same."""
    assert Sent(given).ids == kept


def test_a_reason_is_cut():
    """A reason is kept at a bounded length, and can be encoded."""
    never = Never("é" * 10_240 + "\ud800", code=9)
    assert (len(never.reason), never.code) == (200, "9")
    assert Never("\ud800").reason == "?"


@KINDS
def test_an_exception_that_names_a_pause_asks_for_it(scene: Scene):
    """The `retry_after` of an exception, as libraries of Telegram raise it, counts as `Later`."""

    class Flood(Exception):
        retry_after = timedelta(seconds=400)

    scene.line.answers = [Flood()]
    shell = scene.shell()
    [waiting] = scene.document(shell.handle(said("hi"))).outbox
    assert (waiting.rest, waiting.leased_until and waiting.leased_until.timestamp()) == ("asked", scene.at + 400)


@KINDS
def test_a_sender_that_hangs_holds_up_nobody_else(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    """A sender that does not answer in time leaves the outcome unknown, and another one says the reply later."""
    for module in (sync_shell, async_shell):
        monkeypatch.setattr(module, "DELIVERY_TIMEOUT", 0.05)
    goes_on = threading.Event()
    shell = scene.shell(senders={"whatsapp": lambda channel, replies, /: goes_on.wait(30)})
    outcome = shell.handle(said("hi"))
    assert outcome.sent is False
    goes_on.set()
    scene.at += 3
    scene.shell().wake(outcome.member_id)
    assert scene.line.said == ["Take it?"]


@KINDS
def test_the_caller_may_send_and_tell(scene: Scene):
    """`handle(send=False)` leases the replies to the caller, who tells the answer of the channel by `sent`."""
    shell = scene.shell()
    outcome = shell.do("handle", said("hi"), send=False)
    assert [reply.text for reply in outcome.replies] == ["Take it?"]
    shell.do("sent", outcome, Sent("wamid.1"))
    scene.record(shell)
    second = shell.do("handle", said("yes"), send=False)
    shell.do("sent", second, Later(100))
    assert [waiting.rest for waiting in scene.document(second).outbox] == ["asked"]
    scene.at += 101
    shell.wake(outcome.member_id)
    assert scene.line.said == ["Yours.\n\nThanks."]
    for wrong in (None, "sent", 7):
        with pytest.raises(WrongArgument, match="answer"):
            shell.do("sent", outcome, wrong)
    with pytest.raises(WrongArgument, match="outcome"):
        shell.do("sent", None, Sent())


@KINDS
def test_without_a_sender_nothing_is_leased(scene: Scene):
    """Where the type has no sender, the caller sends what `handle` returns, and nothing is kept of it."""
    shell = scene.shell(senders={"telegram": scene.line})
    outcome = shell.handle(said("hi"))
    assert (outcome.sent, outcome.leased, outcome.state.outbox) == (None, (), ())
    shell.do("sent", outcome, Sent())
    assert scene.line.keys == []


@KINDS
def test_an_opened_chat_is_answered_by_the_sender(scene: Scene):
    """What a fact leads to is sent and struck off as the reply to a message is, and once."""
    shell = scene.shell()
    statuses = [shell.do("handle_event", ChatOpened(id="o1", channel=CHANNEL)).status for _ in range(2)]
    assert statuses == ["advanced", "duplicate"]
    assert scene.line.said == ["Take it?"]


@KINDS
def test_a_timer_speaks_through_the_sender(scene: Scene):
    """A worker says what answers no message through the sender, behind the replies that are still to be said."""
    shell = scene.shell()
    outcome = shell.do("handle", said("hi"), send=False)
    scene.at += 61
    shell.wake(outcome.member_id)
    shell.wake(outcome.member_id)
    assert scene.line.said == ["Take it?", "Too late."]


@KINDS
@pytest.mark.parametrize(
    ("senders", "error"),
    [({"fax": Line()}, FlowError), ({"whatsapp": None}, ServiceError), ({"whatsapp": 7}, ServiceError),
     ({"whatsapp": lambda channel: Sent()}, ServiceError)],
)  # fmt: skip
def test_senders_are_checked_at_the_start(senders: Any, error: type[Exception], scene: Scene):
    """A sender for an unknown type, or one that cannot be called with a channel and replies, is refused at once."""
    with pytest.raises(error, match=r"senders|deliver"):
        scene.shell(senders=senders)


@KINDS
def test_a_message_that_is_not_taken_is_answered_through_the_outbox(scene: Scene):
    """The answer to a stale button is leased too, and the member stays where they are."""
    dead, worker = scene.shell(), scene.shell(cache=0)
    outcome = dead.handle(said("hi"))
    before = outcome.state
    pressed = dead.do("handle", Message(CHANNEL, "p", choice="!0000000000000000yes"), send=False)
    assert [reply.text for reply in pressed.replies][-1] == "Take it?"
    after = pressed.state
    assert (after.run, after.deadline) == (before.run, before.deadline)
    scene.at += 31
    worker.wake(outcome.member_id)
    assert scene.line.said == ["Take it?", *(reply.text for reply in pressed.replies)]


@KINDS
def test_a_member_who_opts_out_hears_the_confirmation_alone(scene: Scene):
    """The confirmation of an opt-out is sent; nothing follows it until the member opts in; what was told is lost."""
    shell, sms = scene.shell(senders={"sms": scene.line}), Channel("sms", "+263771234567")

    def say(id: str, text: str) -> list[str]:
        scene.line.said.clear()
        shell.do("handle", Message(sms, id, text))
        return scene.line.said

    assert say("m1", "hi")
    [confirmation] = say("m2", "STOP")
    assert "START" in confirmation
    member_id = shell.do("handle", Message(sms, "m2", "STOP")).member_id
    told = shell.do("tell", member_id, Text("Your parcel is here."), key="k1")
    assert (told.status, told.reason) == ("refused", "unreachable")
    scene.at += 3_600
    shell.do("wake", member_id)
    assert scene.line.said == [confirmation]
    assert say("m3", "hi") == []
    assert "parcel" not in "\n".join(say("m4", "START"))


# The messages as which replies were sent ------------------------------------------------------------------------------


def failing(id: str, **more: Any) -> StatusChanged:
    """Make the fact that a message did not reach the member."""
    return StatusChanged(id=f"{id}/failed", channel=CHANNEL, message_id=id, status="failed", code="131026", **more)


@KINDS
@pytest.mark.parametrize("goes_on", [False, True], ids=["at rest", "after a turn"])
@pytest.mark.parametrize("recorded", [False, True], ids=["noted", "recorded"])
def test_the_failure_of_a_reply_that_was_sent_is_audited(scene: Scene, recorded: bool, goes_on: bool):
    """A failed status leads to its reply, in the process that has sent it and in others, and is audited once."""
    scene.line.answers = [Sent(("wamid.A", "wamid.B")), Sent("wamid.C")]
    shell = scene.shell()
    first = shell.handle(said("hi"))
    if goes_on:
        shell.handle(said("what?"))
    if recorded:
        scene.record(shell)
        shell = scene.shell()
    outcome = shell.do("handle_event", failing("wamid.B", reason="Not deliverable"))
    sent = next(entry for entry in shell.do("history", first.member_id) if entry.kind != "event")
    assert (outcome.status, outcome.reply) == ("advanced", sent.token[:16])
    entry = shell.do("history", first.member_id)[-1]
    assert entry.kind == "event"
    assert entry.detail == {
        "event": "StatusChanged", "reply": sent.token[:10], "answer": "failed", "code": "131026",
        "reason": "Not deliverable",
    }  # fmt: skip
    again = shell.do("handle_event", failing("wamid.B", reason="Not deliverable"))
    assert (again.status, again.reply) == ("duplicate", sent.token[:16])
    assert len(shell.do("history", first.member_id)) == (3 if goes_on else 2)


@KINDS
def test_a_status_of_a_message_that_was_never_sent_is_told_apart(scene: Scene):
    """The failure of another message changes nothing, and the outcome says that it is not known."""
    scene.line.answers = [Sent("wamid.A")]
    shell = scene.shell()
    first = shell.handle(said("hi"))
    outcome = shell.do("handle_event", failing("wamid.Z"))
    assert (outcome.status, outcome.reason, outcome.reply) == ("ignored", "unknown message", "unknown")
    assert len(shell.do("history", first.member_id)) == 1
    stranger = attrs.evolve(failing("wamid.A"), channel=Channel("whatsapp", "263770000009"))
    outcome = shell.do("handle_event", stranger)
    assert (outcome.status, outcome.reason, outcome.reply) == ("ignored", "unknown member", "unknown")


@KINDS
def test_a_reaction_knows_of_which_reply_a_fact_tells(kind: Kind):
    """A reaction to a status, or to an emoji, sees the reply that was sent, and an empty text for another message."""
    seen: list[str] = []

    def note(turn: Any, fact: Any) -> None:
        seen.append(fact.reply)

    scene = Scene(kind, seat(on={StatusChanged: note, Reacted: note}))
    scene.line.answers = [Sent("wamid.A")]
    with scene.shell() as shell:
        first = shell.handle(said("hi"))
        token = shell.do("history", first.member_id)[0].token[:16]
        for fact in (
            StatusChanged(id="1", channel=CHANNEL, message_id="wamid.A", status="read"),
            Reacted(id="2", channel=CHANNEL, message_id="wamid.A", emoji="x"),
            Reacted(id="3", channel=CHANNEL, message_id="wamid.Z", emoji="x"),
        ):
            shell.do("handle_event", fact)
        assert seen == [token, token, ""]


@KINDS
def test_a_delivery_of_a_worker_is_known_by_its_messages(scene: Scene):
    """What a worker delivers is noted with the ids of its messages, and their failure leads to it."""
    scene.line.answers = [Sent("wamid.A"), Sent("wamid.W")]
    shell = scene.shell()
    first = shell.handle(said("hi"))
    scene.at += 61
    shell.wake(first.member_id)
    late = shell.do("history", first.member_id)[1]
    scene.record(shell)
    outcome = scene.shell().do("handle_event", failing("wamid.W"))
    assert (outcome.status, outcome.reply) == ("advanced", late.token[:16])


@KINDS
def test_a_failure_that_comes_before_the_note_is_looked_up_again(scene: Scene):
    """A failure is told while the process that sends notes nothing yet: another process finds it a moment later."""
    here, there = scene.shell(), scene.shell()
    scene.line.answers = [Sent("wamid.A")]
    first = here.handle(said("hi"))
    looks: list[object] = []
    notes, messages = here.manager._base.sent, there.manager._base.sent

    class Noted(SentNotes):
        """Notes of a process that another one records while they are asked for."""

        def messages(self, member_id: str) -> tuple[tuple[str, str], ...]:
            looks.append(member_id)
            if len(looks) == 3:
                scene.record(here)
            return super().messages(member_id)

    assert notes
    assert not messages
    there.manager._base.sent = Noted()
    outcome = there.do("handle_event", failing("wamid.A"))
    assert outcome.reply == there.do("history", first.member_id)[0].token[:16]
    assert len(looks) == 4


@KINDS
def test_the_ids_of_a_channel_are_bounded_and_kept_as_digests(scene: Scene):
    """The latest messages are kept, as digests that do not show the number that an id may hold; ids cost no trip."""
    shell = scene.shell()
    first = shell.handle(said("hi"))
    for number in range(3):
        scene.line.answers = [Sent(tuple(f"wamid.{CHANNEL.identifier}.{number}.{each}" for each in range(MAX_IDS)))]
        scene.store.asked.clear()
        shell.handle(said(f"what {number}?"))
        assert scene.kind == "async" or scene.store.asked == ["Commit"]
        scene.record(shell)
    stored = scene.memory.perform(Load(first.member_id))
    assert isinstance(stored, Stored)
    assert len(stored.messages) == MESSAGES_KEPT
    assert {len(digest) for digest, _ in stored.messages} == {12}
    assert CHANNEL.identifier not in repr(stored.messages)
    last = f"wamid.{CHANNEL.identifier}.2.{MAX_IDS - 1}"
    assert shell.do("handle_event", failing(last)).status == "advanced"
    assert shell.do("handle_event", failing(f"wamid.{CHANNEL.identifier}.0.0")).reply == "unknown"


def joining(seen: list[Any]) -> Bot:
    """Make a bot with a login, whose answers note to which reply the member has replied."""

    def login(turn: Turn[NoData]) -> Any:
        seen.append(turn.message and turn.message.reply)
        return turn.changes(member=attrs.evolve(turn.member, id="m-ann", guest=False))

    states: list[State[NoData]] = [
        State("name", ask=Text("Name?"), reads=str),
        State("rest", ask=Text("Rest?"), reads=str),
    ]
    ways: list[Transition[NoData]] = [
        Transition("answer", "name", "rest", prepare=login),
        Transition("answer", "rest", "rest", prepare=login),
    ]
    return Bot(Flow[NoData]("greet", initial="name", states=states, transitions=ways))


@pytest.mark.parametrize("process", ["the same", "another", "a worker that is new"])
@KINDS
def test_a_message_leads_to_the_reply_that_it_replies_to(kind: Kind, process: str):
    """A callback sees which question of the bot was replied to, also one that was asked before a login."""
    seen: list[Any] = []
    scene = Scene(kind, joining(seen))
    shell = scene.shell()
    for number, text in enumerate(("hi", "ann", "tea")):
        scene.line.answers = [Sent(f"wamid.{number}")]
        shell.handle(said(text))
    if process != "the same":
        scene.record(shell)
        shell = scene.shell(cache=0 if process == "another" else 100)
    entries = [entry for entry in shell.do("history", "m-ann") if entry.kind not in ("move", "wipe")]
    for number, (text, *place) in enumerate(
        [("Name?", "", ""), ("Rest?", "greet", "rest"), ("Rest?", "greet", "rest")]
    ):
        shell.handle(attrs.evolve(said(f"reply {number}"), replied_to=f"wamid.{number}"))
        reply = seen[-1]
        assert (reply.texts, [reply.flow, reply.state]) == ((text,), place)
        assert reply.id == entries[number].token[:16]
    for unknown in ("wamid.9", ""):
        shell.handle(attrs.evolve(said(f"again {unknown}"), replied_to=unknown))
        assert seen[-1] is None
    for made in scene.shells:
        made.close()


@KINDS
def test_a_failure_of_a_reply_to_a_guest_is_known_at_the_member(kind: Kind):
    """The ids of messages that were sent to a guest lead to their replies when the guest has become a member."""
    scene = Scene(kind, joining([]))
    scene.line.answers = [Sent("wamid.G")]
    shell = scene.shell()
    shell.handle(said("hi"))
    scene.record(shell)
    shell.handle(said("ann"))
    scene.record(shell)
    other = scene.shell()
    first = other.do("history", "m-ann")[0].token[:16]
    assert other.do("handle_event", failing("wamid.G")).reply == first
    for made in scene.shells:
        made.close()
