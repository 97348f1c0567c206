"""A store's clock that is days ahead or behind for a moment, and documents that were stored meanwhile."""

from __future__ import annotations

from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.bots import one_flow
from tests.hostile.kit import MemoryLedger, pay_bot
from vimbiso_fsm.audit.entries import AuditEntry, unseal
from vimbiso_fsm.audit.flow_audit import FlowAuditLogger
from vimbiso_fsm.document.document import Document
from vimbiso_fsm.document.ids import instant
from vimbiso_fsm.engine.ahead import SKEW
from vimbiso_fsm.engine.schedule import wake_at
from vimbiso_fsm.engine.windows import hour_of
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.calls import STANDARD
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.messages.replies import Text
from vimbiso_fsm.operations.effects import Deliver, RunCall
from vimbiso_fsm.runtime import clock as clock_of
from vimbiso_fsm.runtime.clock import DISAGREEMENT, Clock
from vimbiso_fsm.store.requests import ReadAudit
from vimbiso_fsm.store.retention import DAY
from vimbiso_fsm.testing.chat import Chat

STEP: Final = 9.0 * DAY
DAYS: Final = (STEP, -STEP)


def entries(chat: Chat) -> list[AuditEntry]:
    """Return the audit of the member, whose chain must hold."""
    sealed = chat.store.perform(ReadAudit(chat.member_id()))
    assert FlowAuditLogger.faults(sealed) == ()
    return [unseal(entry) for entry in sealed]


def stored(chat: Chat) -> Document:
    """Return the stored document."""
    return chat.document()


def called(chat: Chat) -> bool:
    """Return whether a call of the member is on its way. The state of a stranger lives a day: a step can end it."""
    return chat.stored().document is not None and stored(chat).call is not None


def until(chat: Chat, operation: Any, kind: type) -> None:
    """Perform the effects of an operation up to the first of a kind, at which its worker dies."""
    while not isinstance(operation.request, kind):
        chat.step(operation)


def assert_possible(document: Document, now: datetime, *, session: float) -> None:
    """Check that no instant of a document is further ahead than the code can set it."""
    soon = now + timedelta(seconds=SKEW + max(2 * STANDARD.lease, 3600.0))
    call = document.call
    assert document.last_updated <= now
    assert call is None or max(call.leased_until, call.again_at or now) <= soon
    assert all(waiting.leased_until is None or waiting.leased_until <= soon for waiting in document.outbox)
    assert document.deadline is None or document.deadline <= now + timedelta(seconds=session)
    assert document.session_since is None or document.session_since <= now
    assert document.run is None or document.run.since is None or document.run.since <= now


@pytest.mark.parametrize("by", ["wake", "message", "again"])
def test_a_call_that_was_leased_while_the_clock_was_ahead_is_made_after_its_return(by: str):
    """The lease of a worker that died while the clock was ahead is over when the clock has returned."""
    ledger = MemoryLedger()
    chat = Chat(pay_bot(ledger))
    chat.say("hi", "100")
    yes = chat.message("yes")
    until(chat, chat.wait(STEP).begin(yes), RunCall)
    chat.wait(-STEP)
    assert stored(chat).call is not None
    if by == "wake":
        chat.wake()
    else:
        chat.handle(yes if by == "again" else chat.message("7"))
    assert ledger.amounts == [100]
    assert stored(chat).call is None
    assert_possible(stored(chat), instant(chat.clock.at), session=1e6)
    assert [entry.detail["clock_ahead"] for entry in entries(chat) if "clock_ahead" in entry.detail] == [int(STEP)]


def test_a_call_that_began_before_the_step_keeps_its_lease():
    """A lease that the right clock can have set holds: only one that is longer than any is over."""
    ledger = MemoryLedger()
    chat = Chat(pay_bot(ledger))
    chat.say("hi", "100")
    until(chat, chat.begin(chat.message("yes")), RunCall)
    chat.wait(1).say("7")
    assert ledger.amounts == []
    assert chat.wait(STANDARD.lease).say("7").state.call is None
    assert ledger.amounts == [100]


def question_bot(**options: Any) -> Bot:
    """Return a bot that asks for a word within a minute, and says when it is too late."""
    flow = one_flow(
        [
            State("ask", ask=Text("Well?"), reads=str, timeout=60.0),
            State("late", ask=Text("Too late."), reads=str),
        ],
        [Transition("answer", "ask", "ask"), Transition("timeout", "ask", "late"), Transition("answer", "late", "ask")],
    )
    return Bot(flow, **options)


@pytest.mark.parametrize("corrects", [True, False])
def test_a_timer_that_was_set_while_the_clock_was_ahead_fires_after_its_span(corrects: bool):
    """A timer that was set while the clock was ahead fires its span after the return, not days later."""
    chat = Chat(question_bot(session=1e6))
    chat.delivers = True
    chat.wait(STEP).say("hi")
    chat.wait(-STEP)
    if corrects:
        chat.wake()
    assert "Too late." not in chat.taken
    chat.wait(61).wake()
    if not corrects:  # the waking has only stored the correction
        chat.wait(61).wake()
    assert chat.taken == ["Too late."]
    assert [entry.kind for entry in entries(chat)][-3:-1] == ["clock", "timer"]


def test_a_session_that_was_renewed_while_the_clock_was_ahead_ends_in_time():
    """A session that was renewed while the clock was ahead ends after its idle time by the right clock."""
    chat = Chat(pay_bot(session=300))
    chat.say("hi")
    chat.wait(STEP).say("hi")
    chat.wait(-STEP).wake()
    assert_possible(stored(chat), instant(chat.clock.at), session=300)
    chat.wait(301).wake()
    assert stored(chat).deadline is None


def test_replies_that_were_leased_while_the_clock_was_ahead_are_delivered():
    """Replies whose delivery was begun while the clock was ahead are delivered after its return."""
    chat = Chat(question_bot(session=1e6, windows={}))
    chat.delivers = True
    chat.say("hi")
    until(chat, chat.wait(STEP).waking(), Deliver)
    chat.wait(-STEP).wake()
    assert chat.taken == ["Too late."]
    assert stored(chat).outbox == ()


def test_a_message_of_a_clock_that_was_ahead_counts_as_heard_now():
    """What was heard while the clock was ahead opens no window beyond a day after its return."""
    chat = Chat(question_bot(session=1e6))
    chat.wait(STEP).say("hi")
    chat.wait(-STEP).wake()
    [note] = stored(chat).heard
    assert note.at == hour_of(instant(chat.clock.at))


def test_a_correction_is_stored_once():
    """A waking stores the correction in one turn of its own, and the next one finds nothing to correct."""
    chat = Chat(pay_bot())
    chat.wait(STEP).say("hi")
    before = stored(chat).version
    chat.wait(-STEP)
    assert [entry.kind for entry in chat.wake().outcome or ()] == ["clock"]
    assert chat.wake().outcome == ()
    document = stored(chat)
    assert document.version == before + 1
    due = wake_at(document)
    assert due is not None
    assert due <= instant(chat.clock.at + 1e6)


class Contradicted:
    """The clock of a manager whose process says another time."""

    def agrees(self) -> bool:
        """Return that the two clocks do not agree."""
        return False


def test_a_clock_that_is_behind_changes_nothing():
    """While the store's clock contradicts that of the process, instants stay, and time stands still at the member."""
    chat = Chat(pay_bot())
    before = chat.say("hi").state
    operation = chat.wait(-STEP).begin(chat.message("100"))
    operation.context.clock = Contradicted()
    after = chat.finish(operation).state
    assert (after.last_updated, after.deadline) == (before.last_updated, before.deadline)
    assert chat.wait(STEP + 1).say("yes").state.last_updated == instant(chat.clock.at)


@example([(-STEP, "w"), (STEP, "m")])
@example([(STEP, "w")])
@given(st.lists(st.tuples(st.sampled_from([0.0, *DAYS, STEP + DAY, 30.0]), st.sampled_from("mwrk")), max_size=12))
def test_no_step_of_the_clock_loses_or_doubles_or_holds_a_payment(steps: list[tuple[float, str]]):
    """Whatever steps of up to ten days the clock makes, each confirmed payment is made once, and none is held up."""
    ledger = MemoryLedger()
    chat = Chat(pay_bot(ledger))
    chat.say("hi")
    confirmed, last = 0, None
    for ahead, what in steps:
        chat.wait(ahead)
        if what == "w":
            chat.wake()
        elif what == "r" and last is not None:
            chat.handle(last)
        elif not called(chat):
            chat.say("menu", "100")
            last = chat.message("yes")
            if chat.outcome is not None and "pay 100?" in chat.words:
                confirmed += 1
                operation = chat.begin(last)
                if what == "k":
                    until(chat, operation, RunCall)
                else:
                    chat.finish(operation)
        chat.wait(-ahead)
    for _ in range(3):
        chat.wait(STANDARD.lease + 61).wake()
    assert ledger.amounts == [100] * confirmed
    assert not called(chat)
    if chat.stored().document is not None:
        assert_possible(stored(chat), instant(chat.clock.at), session=1e6)


# The clock of a manager -----------------------------------------------------------------------------------------------


class Times:
    """The clocks of a process that a test sets: `wall` and `steady` in seconds."""

    def __init__(self) -> None:
        self.wall, self.steady = 1_800_000_000.0, 1_000.0

    def time(self) -> float:
        """Return the wall clock."""
        return self.wall

    def monotonic(self) -> float:
        """Return the monotonic clock."""
        return self.steady

    def go(self, seconds: float, *, suspended: bool = False) -> None:
        """Let time pass. The monotonic clock stands still while the process is suspended."""
        self.wall += seconds
        self.steady += 0 if suspended else seconds


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> Times:
    """Return the clocks of the process."""
    times = Times()
    monkeypatch.setattr(clock_of, "time", times)
    return times


def answer(at: float) -> object:
    """Return an answer of the store with its instant."""
    return SimpleNamespace(at=at)


def test_a_step_of_the_store_is_reported_and_so_is_its_return(times: Times):
    """The clock of a manager notices that the store's clock is ahead, and that it has returned."""
    clock = Clock()
    clock.adjust(answer(times.wall))
    assert (clock.agrees(), clock.unreported, clock.returns) == (True, 0, 0)
    clock.adjust(answer(times.wall + STEP))
    assert (clock.agrees(), round(clock.unreported), clock.returns) == (False, STEP, 0)
    clock.unreported = 0
    times.go(60)
    clock.adjust(answer(times.wall))
    assert (clock.agrees(), round(clock.unreported), clock.returns) == (True, STEP, 1)
    assert clock.now() == times.wall


def test_a_suspended_process_catches_up_with_the_store(times: Times):
    """After a process was suspended, its clock is late until the next answer, and nothing is reported."""
    clock = Clock()
    clock.adjust(answer(times.wall))
    times.go(STEP, suspended=True)
    assert clock.now() == times.wall - STEP
    clock.adjust(answer(times.wall))
    assert (clock.now(), clock.unreported, clock.returns) == (times.wall, 0, 0)


def test_a_step_of_the_wall_clock_moves_no_time(times: Times):
    """A step of the process's own clock changes no time of the manager, and says only that the two disagree."""
    clock = Clock()
    clock.adjust(answer(times.wall))
    right = times.wall
    times.wall -= DISAGREEMENT + 1
    assert clock.now() == right
    assert not clock.agrees()
