"""The watchdog: what it reports of slow callbacks, and how it ends those that never end."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from threading import get_ident
from typing import Any, Literal

import attrs
import pytest

from tests.runtime.test_any_exception import Till, Trap, paying_bot
from tests.shells import Shell
from vimbiso_fsm.audit.flow_audit import CommitEvent
from vimbiso_fsm.document.document import Document
from vimbiso_fsm.errors import CallbackTimedOut, FlowError
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.flow import Flow
from vimbiso_fsm.flow.interrupts import CallbackStopped
from vimbiso_fsm.flow.migrations import Migration
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.messages.replies import Text
from vimbiso_fsm.runtime import watchdog
from vimbiso_fsm.runtime.watchdog import (
    INTERVAL,
    NO_STRETCH,
    RUNNING,
    SlowCallback,
    Stretch,
    Watchdog,
    Watched,
    settle,
)
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.testing.chat import Clock, words

pytestmark = pytest.mark.usefixtures("no_collection")

LIMIT = 30.0
"""Seconds after which a callback that must be ended ends by itself, and the test fails."""
Kind = Literal["sync", "async"]
SOON = INTERVAL


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> Kind:
    """The kind of the manager."""
    found: Kind = request.param
    return found


def shell_of(kind: Kind, trap: Trap, till: Till, **options: Any) -> Shell:
    """Return a manager of the bot whose callbacks pass a trap."""
    clock = Clock()
    shell = Shell(kind, paying_bot(trap, till), MemoryStore(clock), call_wait=LIMIT, **options)
    shell.manager._base.clock.follow(clock)
    return shell


def loops() -> None:
    """Go on for ever, as far as a test can wait."""
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        pass


def swallows() -> None:
    """Go on for ever, whatever exception comes."""
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        try:
            sum(range(100))
        except Exception:  # as an author may write it
            continue


def sleeps() -> None:
    """Sleep in C, where nothing can be interrupted."""
    time.sleep(4 * INTERVAL)


# Reported -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "texts", "slot", "state"),
    [
        ("guard", ("5",), "guard", "amount"),
        ("reads", ("5",), "reads", "amount"),
        ("ask", ("5",), "ask", "shop"),
        ("rows", ("5",), "rows", "shop"),
        ("timeout", ("5",), "timeout", "shop"),
        ("call", ("5", "a"), "call", "paying"),
        ("prepare", ("5", "a"), "prepare", "paying"),
        ("say", ("5", "a"), "say", "paid"),
    ],
)
def test_a_slow_callback_is_reported_with_its_place(
    kind: Kind, place: str, texts: tuple[str, ...], slot: str, state: str, caplog: pytest.LogCaptureFixture
):
    """A callback that takes long is named with its slot, flow, state and line, and the turn is made all the same."""
    reports: list[SlowCallback] = []
    reported = threading.Event()

    def told(slow: SlowCallback) -> None:
        reports.append(slow)
        reported.set()

    trap = Trap()
    with shell_of(kind, trap, Till(trap), watchdog=Watchdog(warn=SOON, stop=None, told=told)) as shell:
        shell.say("hi", *texts[:-1])
        trap.set(place, lambda: _until(reported.is_set))
        assert shell.say(texts[-1]).status == "advanced"
    found = reports[0]
    assert found.callback.endswith(f"paying_bot.<locals>.{'proposes' if place == 'call' else place}")
    assert (found.slot, found.flow, found.state, found.stopped) == (slot, "pay", state, False)
    assert any("test_watchdog.py" in line for line in found.where)
    assert found.seconds >= SOON
    assert f"'flow': 'pay', 'state': '{state}'" in caplog.text


def _until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT
    while not holds():
        assert time.monotonic() < end, "it was not reported"


def test_a_callback_is_reported_again_and_again():
    """A callback that goes on is reported again, each time after about twice the time."""
    seconds: list[float] = []
    often = threading.Event()

    def told(slow: SlowCallback) -> None:
        seconds.append(slow.seconds)
        if len(seconds) == 3:
            often.set()

    trap = Trap()
    with shell_of("sync", trap, Till(trap), watchdog=Watchdog(warn=SOON, stop=None, told=told)) as shell:
        shell.say("hi")
        trap.set("guard", lambda: _until(often.is_set))
        shell.say("5")
    assert seconds[0] * 2 <= seconds[1] <= seconds[2] / 2 + INTERVAL


def test_an_observer_that_raises_breaks_nothing(caplog: pytest.LogCaptureFixture):
    """An exception of the observer of slow callbacks is logged, and the watchdog goes on."""
    told: list[SlowCallback] = []
    twice = threading.Event()

    def raises(slow: SlowCallback) -> None:
        told.append(slow)
        if len(told) == 2:
            twice.set()
        raise SystemExit

    trap = Trap()
    with shell_of("sync", trap, Till(trap), watchdog=Watchdog(warn=SOON, stop=None, told=raises)) as shell:
        shell.say("hi")
        trap.set("guard", lambda: _until(twice.is_set))
        assert shell.say("5").status == "advanced"
    assert "the observer of slow callbacks failed" in caplog.text


def test_a_slow_observer_is_reported_and_not_ended(kind: Kind):
    """An observer that takes long is named, and it is not ended, because what it has done is not undone."""
    reports: list[SlowCallback] = []
    reported = threading.Event()

    def told(slow: SlowCallback) -> None:
        reports.append(slow)
        if len(reports) == 2:
            reported.set()

    def observer(details: CommitEvent, /) -> None:
        _until(reported.is_set)

    trap, bounds = Trap(), Watchdog(warn=SOON, stop=SOON, told=told)
    with shell_of(kind, trap, Till(trap), watchdog=bounds, observers=[observer]) as shell:
        assert shell.say("hi").status == "advanced"
    assert {(slow.slot, slow.callback.rpartition(".")[2], slow.stopped) for slow in reports} == {
        ("observer", "observer", False)
    }


def test_without_a_watchdog_nothing_is_reported(caplog: pytest.LogCaptureFixture):
    """`watchdog=None` watches nothing."""
    trap = Trap()
    with shell_of("sync", trap, Till(trap), watchdog=None) as shell:
        shell.say("hi")
        trap.set("guard", sleeps)
        assert shell.say("5").status == "advanced"
    assert caplog.text == ""


# Ended ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("never_ends", [loops, swallows, sleeps])
@pytest.mark.parametrize("place", ["guard", "ask"])
def test_a_callback_that_never_ends_is_ended_and_the_member_is_answered(
    kind: Kind, place: str, never_ends: Callable[[], None]
):
    """A callback that takes too long fails the turn: the member is told so, keeps the place, and can go on."""
    trap = Trap()
    with shell_of(kind, trap, Till(trap), watchdog=Watchdog(warn=SOON, stop=SOON)) as shell:
        shell.say("hi")
        trap.set(place, never_ends)
        outcome = shell.say("5")
        assert outcome.status == "failed"
        entry = shell.do("history", outcome.state.member_id)[-1]
        assert words(outcome.replies)[0].endswith(f"Reference: {entry.detail['reference']}")
        assert entry.detail["type"] == "CallbackStopped"
        assert any("test_watchdog.py" in line for line in entry.detail["where"])
        assert shell.say("5", "a").status == "advanced"


def test_a_callback_that_takes_its_end_for_a_failure_is_ended_again(kind: Kind):
    """A callback that goes on after it was ended is ended once more after the same time."""
    taken: list[CallbackStopped] = []

    def goes_on() -> None:
        try:
            loops()
        except CallbackStopped as error:
            taken.append(error)
            loops()

    trap = Trap()
    with shell_of(kind, trap, Till(trap), watchdog=Watchdog(warn=SOON, stop=SOON)) as shell:
        shell.say("hi")
        trap.set("ask", goes_on)
        assert shell.say("5").status == "failed"  # otherwise it has ended by itself
    assert len(taken) == 1


def test_what_was_paid_is_not_undone_by_a_callback_that_never_ends(kind: Kind):
    """A callback that never ends after a payment is a failure after the payment: the member hears that it was done."""
    trap = Trap()
    till = Till(trap)
    with shell_of(kind, trap, till, watchdog=Watchdog(warn=SOON, stop=SOON)) as shell:
        shell.say("hi", "5")
        trap.set("prepare", loops)
        outcome = shell.say("a")
        assert words(outcome.replies)[-1].startswith("That was done, but")
        assert words(shell.say("?").replies) == ["Paid.", "How much?"]
        assert till.paid == 1


@attrs.frozen
class Old:
    """The data of the first version."""

    amount: int = 0


def test_a_migration_that_never_ends_is_an_error_with_a_reply_and_no_damage(kind: Kind):
    """A migration that is ended leaves the stored run as it is, and the member can be answered."""
    clock = Clock()
    store, hangs = MemoryStore(clock), [True]

    def data(fields: Mapping[str, Any]) -> Mapping[str, Any]:
        if hangs[0]:
            loops()
        return fields

    def bot(version: int) -> Bot:
        migrations = [Migration(1, data=data)] if version == 2 else []
        states: list[State[Any]] = [
            State("ask", ask=Text("How much?"), reads=int, into="amount"),
            State("end", final=True),
        ]
        flow = Flow(
            "old", version=version, data=Old, initial="ask", states=states,
            transitions=[Transition("answer", "ask", "end")], migrations=migrations,
        )  # fmt: skip
        return Bot([flow])

    with Shell(kind, bot(1), store) as old:
        member_id = old.say("hi").state.member_id
        before: Document = old.state(member_id)
    with Shell(kind, bot(2), store, watchdog=Watchdog(warn=SOON, stop=SOON)) as new:
        message = new.message("5")
        with pytest.raises(CallbackTimedOut) as caught:
            new.handle(message)
        assert caught.value.reply.startswith("That took too long on our side")
        assert caught.value.reference in caught.value.reply
        hangs[0] = False
        assert new.state(member_id).version == before.version
        assert new.handle(message).status == "advanced"


# The protocol ---------------------------------------------------------------------------------------------------------


def test_no_exception_comes_after_the_stretch():
    """However a strike meets the end of a stretch, its exception comes in the stretch, or never."""
    watched, ident, came, strikes = Watched(Watchdog()), get_ident(), 0, 0
    ends = threading.Event()

    def strike() -> None:
        nonlocal strikes
        while not ends.is_set():
            stretch = RUNNING.get(ident, NO_STRETCH)
            if stretch is not NO_STRETCH:
                strikes += watchdog._strike(ident, stretch)

    striker = threading.Thread(target=strike)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    outside = False
    striker.start()
    try:
        until = time.monotonic() + 1.0
        while time.monotonic() < until or not strikes:
            outside = False
            came += _stretch(ident, watched)
            outside = True
            sum(range(20))
    except CallbackStopped:
        pytest.fail("it came outside of a stretch" if outside else "it came at the end of a stretch")
    finally:
        ends.set()
        striker.join()
        sys.setswitchinterval(interval)
        RUNNING.pop(ident, None)
    assert 0 < came <= strikes


def _stretch(ident: int, watched: Watched) -> bool:
    """Run a stretch as a manager does; return whether it was ended."""
    stretch: Stretch = [watched, False]
    try:
        try:
            RUNNING[ident] = stretch
            sum(range(50))
        finally:
            RUNNING[ident] = NO_STRETCH
            if stretch[1]:
                settle()
    except CallbackStopped:
        RUNNING[ident] = NO_STRETCH
        return True
    return False


def test_a_stretch_that_goes_on_to_another_is_not_late():
    """Time counts from the begin of a stretch; many short ones, one after the other, are not late."""
    looker, watched, ident = watchdog._Looker(), Watched(Watchdog(warn=SOON, stop=SOON)), -1
    reports: list[SlowCallback] = []
    watched.count = reports.append
    try:
        for _ in range(20):
            RUNNING[ident] = [watched, False]
            looker.look()
        assert reports == []
        looker.look()
        assert [slow.seconds for slow in reports] == [INTERVAL]
    finally:
        RUNNING.pop(ident, None)


# The thread -----------------------------------------------------------------------------------------------------------

SCRIPT = """
import os, sys, threading, time
from tests.runtime.test_any_exception import Till, Trap, paying_bot
from vimbiso_fsm import Channel, FlowStateManager, Message, Watchdog
from vimbiso_fsm.runtime.watchdog import LOOKER, RUNNING

def names():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("vimbiso")]

def loops():
    end = time.monotonic() + 30
    while time.monotonic() < end:
        pass

trap = Trap()
first = FlowStateManager.in_memory(paying_bot(trap, Till(trap)), watchdog=Watchdog(warn=0.25, stop=0.25))
second = FlowStateManager.in_memory(paying_bot(trap, Till(trap)))
assert names() == []
for manager in (first, second):
    manager.handle(Message(Channel("terminal", "you"), "1", "hi"))
assert names() == ["vimbiso watchdog"], names()
if os.fork() == 0:
    assert (names(), RUNNING, LOOKER.runs) == ([], {}, False)
    trap.set("guard", loops)
    status = first.handle(Message(Channel("terminal", "you"), "2", "5")).status
    os._exit(0 if status == "failed" else 1)
assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
first.close()
assert names() == ["vimbiso watchdog"], names()
second.close()
assert names() == [], names()
second.handle(Message(Channel("terminal", "you"), "3", "5"))
assert names() == ["vimbiso watchdog"], names()
print("well")
"""


def test_one_thread_serves_a_process_and_ends_with_the_last_manager():
    """All managers of a process share one thread. It ends with the last of them, and a forked process has its own."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.strip() == "well", done.stderr


def test_the_thread_ends_when_there_is_nothing_to_look_at(monkeypatch: pytest.MonkeyPatch):
    """Without a stretch the thread ends after a while, and the next stretch starts another one."""
    monkeypatch.setattr(watchdog, "IDLE_END", 0.0)
    monkeypatch.setattr(watchdog, "RUNNING", {})
    looker = watchdog._Looker()
    looker.start()
    thread = looker._thread
    assert thread is not None
    thread.join(LIMIT)
    assert not looker.runs
    looker.start()
    assert looker._thread is not thread


def test_a_thread_that_cannot_be_started_keeps_no_message(caplog: pytest.LogCaptureFixture):
    """If the watchdog cannot start its thread, messages are handled without it."""

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    looker = watchdog._Looker()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        looker.start()
    assert not looker.runs


@pytest.mark.parametrize("bounds", [{"warn": 0}, {"warn": float("nan")}, {"stop": 0}, {"stop": -1}])
def test_a_bound_that_is_none(bounds: dict[str, Any]):
    """A watchdog with an invalid bound is refused."""
    with pytest.raises(FlowError, match=f"Watchdog: {next(iter(bounds))} is"):
        Watchdog(**bounds)


@pytest.mark.parametrize("collects", [True, False])
def test_no_collection_begins_while_the_frames_are_read(collects: bool, monkeypatch: pytest.MonkeyPatch):
    """Garbage is not collected while the frames are read; afterwards it is, if it was before."""
    seen: list[bool] = []

    def read() -> dict[int, object]:
        seen.append(gc.isenabled())
        return {}

    monkeypatch.setattr(sys, "_current_frames", read)
    if collects:
        gc.enable()
    watchdog._Looker().look()
    assert (seen, gc.isenabled()) == ([False], collects)
