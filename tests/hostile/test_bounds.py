"""Bounds of threads and of stored bytes, with a service that hangs and with an unknown sender."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

import flows
from flows.credex_core import SimulatedCredexCore
from tests.hostile.kit import ADA, START, MemoryLedger, client_of, foreign_error, message, pay_bot, require
from vimbiso_fsm import CallPolicy, FlowStateManager, TooManyMessages

MOST_THREADS = 100
MEMBERS = 40
"""Members that meet a service that hangs; three attempts for each are more than the threads allowed."""
MOST_BYTES = 1_850
BURST = 200
"""Messages of one member at once after which further ones add nothing to the stored bytes."""


# Threads --------------------------------------------------------------------------------------------------------------


def test_a_service_that_hangs_takes_a_bounded_number_of_threads():
    """However many messages meet a service that hangs, at most 100 threads are left waiting for it."""
    release, others = threading.Event(), set(threading.enumerate())

    def hang() -> None:
        release.wait()

    def left() -> set[threading.Thread]:
        return set(threading.enumerate()) - others

    ledger = MemoryLedger(hang)
    bot = pay_bot(ledger, policy=CallPolicy(timeout=0.01, attempts=3, pause=0))
    try:
        with FlowStateManager.in_memory(bot, clock=lambda: START, call_wait=0.0) as manager:
            for member in range(MEMBERS):
                for text in ("hi", "5", "yes"):
                    manager.handle(message(text, number=f"26377{member:07d}"))
        require(ledger.calls > 0, "the service was never called")
        waiting = len(left())
    finally:
        release.set()
        until = time.monotonic() + 5.0  # no more: threads of a pool may stay
        for thread in left():
            thread.join(max(0.0, until - time.monotonic()))
    assert waiting <= MOST_THREADS


def test_a_message_is_answered_when_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch):
    """If no thread can be started, a message is answered or raises an error of the library."""

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    manager = FlowStateManager.in_memory(pay_bot(), clock=lambda: START)
    for text in ("hi", "5"):
        manager.handle(message(text))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        raised = foreign_error(lambda: manager.handle(message("yes")), RuntimeError)
    assert raised == ""


# Stored bytes ---------------------------------------------------------------------------------------------------------


def _kept(client: Any) -> int:
    """Return the size of all keys in bytes."""
    return sum(client.memory_usage(key, samples=0) for key in client.scan_iter())


@pytest.mark.embedded
def test_one_message_of_an_unknown_sender_stores_little(valkey_url: str):
    """A message of an unknown sender stores at most 2,100 bytes."""
    core = SimulatedCredexCore()
    with (
        FlowStateManager.from_url(valkey_url, flows.bot, services={"credex_core": core}) as manager,
        client_of(valkey_url) as client,
    ):
        manager.handle(message("hi", number=ADA))
        before = _kept(client)
        for stranger in range(10):
            manager.handle(message("hi", number=f"9{stranger:09d}"))
        each = (_kept(client) - before) / 10
    require(each > 0, "nothing is stored of an unknown sender, so the test measures nothing")
    assert each <= MOST_BYTES


def _refused(manager: FlowStateManager) -> str:
    """Send a text that is no answer; return the status, "not taken" above the rate of the member."""
    try:
        return manager.handle(message("Z" * 4000, number=ADA)).status
    except TooManyMessages:
        return "not taken"


@pytest.mark.embedded
def test_a_burst_of_refused_messages_of_one_member_stores_a_bounded_amount(valkey_url: str):
    """After 200 refused messages of one member at once, 200 more add nothing to the stored bytes."""
    core = SimulatedCredexCore()
    with (
        FlowStateManager.from_url(valkey_url, flows.bot, services={"credex_core": core}) as manager,
        client_of(valkey_url) as client,
    ):
        manager.handle(message("hi", number=ADA))
        kept: list[int] = []
        for _ in range(2):
            statuses = {_refused(manager) for _ in range(BURST)}
            require("advanced" not in statuses, "the messages are not refused")
            kept.append(_kept(client))
    assert kept[1] - kept[0] <= MOST_BYTES
