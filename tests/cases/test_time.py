"""Timers, sessions, bounds that depend on the date, and deliveries that are postponed."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from tests.cases.small_flows import YOU, gift, seat
from vimbiso_fsm import Bot, Channel, Flow, FlowStateManager, Message, NoData, Reply, State, Text, Transition
from vimbiso_fsm.errors import FlowError
from vimbiso_fsm.messages.readers import date
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.store.requests import Request
from vimbiso_fsm.testing.chat import Clock, words


def test_a_timer_longer_than_the_session_ends():
    """A timeout of an hour ends after an hour although the session has 300 s, or the bot is refused (Case 08)."""
    try:
        bot = Bot(seat(timeout=3600), session=300.0)
    except FlowError:
        return
    clock, delivered = Clock(), list[Reply]()

    def deliver(channel: Channel, replies: Sequence[Reply]) -> None:
        delivered.extend(replies)

    manager = FlowStateManager.in_memory(bot, clock=clock, deliver=deliver)
    member_id = manager.handle(Message(YOU, "m1", "hi")).state.member_id
    for _ in range(3 * 120):
        clock.at += 30
        manager.wake(member_id)
    assert "Too late." in words(delivered)


class RetryAfter(Exception):
    """The error of the Telegram libraries; `retry_after` is in seconds."""

    def __init__(self, seconds: float) -> None:
        self.retry_after = seconds
        super().__init__(f"Flood control exceeded. Retry in {seconds} s")


def test_a_delivery_waits_as_long_as_it_is_told():
    """A delivery that fails with `retry_after` of 400 s is tried again after that time, and not before (Case 30)."""
    clock, tries, delivered = Clock(), list[float](), list[Reply]()
    begin = clock.at

    def deliver(channel: Channel, replies: Sequence[Reply]) -> None:
        tries.append(clock.at - begin)
        if clock.at < begin + 460:
            raise RetryAfter(begin + 460 - clock.at)
        delivered.extend(replies)

    manager = FlowStateManager.in_memory(Bot(seat(), session=86400.0), clock=clock, deliver=deliver)
    member_id = manager.handle(Message(Channel("telegram", "11"), "m1", "hi")).state.member_id
    for _ in range(1200):
        clock.at += 1
        manager.wake(member_id)
    assert words(delivered) == ["Too late."]
    assert len(tries) <= 3


def made(timeout: Any) -> str:
    """Return "refused" for a flow with this timeout, or the status of its first turn, or the name of another error."""
    try:
        bot = Bot(seat(timeout))
    except FlowError:
        return "refused"
    except TypeError as error:
        return type(error).__name__
    return FlowStateManager.in_memory(bot).handle(Message(Channel("sms", "16505550001"), "1", "hi")).status


@pytest.mark.parametrize(
    "timeout",
    [
        pytest.param(float("inf"), id="infinite"),
        pytest.param(1e12, id="30000-years"),
        pytest.param("60", id="text"),
        pytest.param(lambda turn: 60.0, id="function"),
    ],
)
def test_a_timeout_that_cannot_be_kept_is_refused(timeout: Any):
    """A timeout beyond the range of a clock is refused when the flow is made, or has no effect (Case 41)."""
    assert made(timeout) in {"refused", "advanced"}


def test_the_earliest_day_moves_with_the_calendar():
    """A bound that is a function is read at each answer, so it refuses a date that is too early by now (Case 42)."""
    flow: Flow[NoData] = Flow(
        "visit", initial="day",
        states=[
            State("day", ask=Text("Which day?"), reads=date(earliest=lambda turn: turn.today)),
            State("end", say=Text("Noted."), final=True),
        ],
        transitions=[Transition("answer", "day", "end")],
    )  # fmt: skip
    clock = Clock()
    manager = FlowStateManager.in_memory(Bot(flow, zone="Africa/Harare"), clock=clock)
    clock.at = dt.datetime(2026, 9, 20, 12, tzinfo=dt.UTC).timestamp()
    manager.handle(Message(YOU, "m1", "hi"))
    assert words(manager.handle(Message(YOU, "m2", "2026-09-21")).replies)[0] == "Noted."
    manager.handle(Message(YOU, "m3", "hi"))
    clock.at = dt.datetime(2026, 9, 21, 21, 59, tzinfo=dt.UTC).timestamp()
    manager.handle(Message(YOU, "m4", "hi"))
    assert words(manager.handle(Message(YOU, "m5", "2026-09-20")).replies)[0] == (
        "That is too early; the first possible day is 21 September 2026."
    )
    clock.at += 120
    assert words(manager.handle(Message(YOU, "m6", "2026-09-21")).replies)[0] == (
        "That is too early; the first possible day is 22 September 2026."
    )


def test_the_time_of_a_caller_stands_still_during_its_sub_flow():
    """A question of a sub-flow has its own timeout, and the timer of its caller begins again on return (Case 68)."""
    inner: Flow[NoData] = Flow(
        "inner", initial="q",
        states=[
            State("q",    ask=Text("inner?"), timeout=30),
            State("late", say=Text("inner late"), final=True, cancels=True),
            State("end",  final=True),
        ],
        transitions=[
            Transition("yes",     "q", "end"),
            Transition("timeout", "q", "late"),
        ],
    )  # fmt: skip
    outer: Flow[NoData] = Flow(
        "outer", initial="go",
        states=[
            State("go",    ask=Text("go?"), timeout=50),
            State("sub",   flow=inner),
            State("after", ask=Text("after?"), timeout=20),
            State("over",  say=Text("outer late"), final=True),
            State("end",   final=True),
        ],
        transitions=[
            Transition("yes",       "go",            "sub"),
            Transition("timeout",   ["go", "after"], "over"),
            Transition("done",      "sub",           "after"),
            Transition("cancelled", "sub",           "after"),
            Transition("yes",       "after",         "end"),
        ],
    )  # fmt: skip
    clock, delivered = Clock(), list[Sequence[Reply]]()

    def deliver(channel: Channel, replies: Sequence[Reply]) -> None:
        delivered.append(replies)

    manager, you = FlowStateManager.in_memory(Bot(outer), clock=clock, deliver=deliver), Channel("sms", "16505550001")
    member_id = manager.handle(Message(you, "1", "hi")).state.member_id
    clock.at += 40
    manager.handle(Message(you, "2", "yes"))
    for seconds in (31, 19, 2):
        clock.at += seconds
        manager.wake(member_id)
    assert [words(replies) for replies in delivered] == [["inner late", "after?"], ["outer late"]]


def raced(bot: Bot) -> list[str]:
    """Answer and wake twice each at the moment of a timeout; return the triggers of the member."""
    clock, you, together = Clock(), Channel("sms", "16505550001"), threading.Barrier(4)

    def deliver(channel: Channel, replies: Sequence[Reply]) -> None: ...

    manager = FlowStateManager.in_memory(bot, clock=clock, deliver=deliver)
    member_id = manager.handle(Message(you, "1", "hi")).state.member_id
    clock.at += 60

    def wake() -> None:
        together.wait()
        manager.wake(member_id)

    def say() -> None:
        together.wait()
        manager.handle(Message(you, "2", "yes"))

    threads = [threading.Thread(target=act) for act in (wake, wake, say, say)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [entry.trigger for entry in manager.history(member_id) if entry.trigger in {"yes", "timeout"}]


def test_a_timer_and_an_answer_at_the_same_moment_are_one_turn():
    """If an answer and the timeout come at the same moment, exactly one of them fires (Case 69)."""
    bot = Bot(seat())
    for _ in range(60):
        assert raced(bot) in (["yes"], ["timeout"])


class Suspended:
    """A store on a server that runs on while the machine of the manager is suspended."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.store = AtomicStateManager.from_url(url)

    def sleep(self, seconds: float) -> None:
        """Advance the server's clock by `seconds`, and leave the clock of this process."""
        self.store.close()
        self.store = AtomicStateManager.from_url(self.url, shift=seconds)

    def perform(self, request: Request) -> Any:
        """Perform a request."""
        return self.store.perform(request)


@pytest.mark.embedded
def test_a_yes_after_a_suspend_confirms_nothing(valkey_url: str):
    """A manager suspended for ten minutes learns from the store that the question is over (Case 71)."""
    store = Suspended(valkey_url)
    with FlowStateManager(Bot(gift), store) as manager:
        you = Channel("sms", "16505550001")
        manager.handle(Message(you, "1", "hi"))
        manager.handle(Message(you, "2", "5"))
        store.sleep(600.0)
        said = words(manager.handle(Message(you, "3", "yes")).replies)
    store.store.close()
    assert "Given." not in said
    assert said[0].startswith("Your session ended")
