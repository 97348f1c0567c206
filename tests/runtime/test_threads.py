"""Threads and tasks that senders are called in, and what becomes of those that do not end in time."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
import time
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import Any

import pytest

from vimbiso_fsm.flow.calls import ServiceLimits
from vimbiso_fsm.runtime import services, threads
from vimbiso_fsm.runtime.services import NO_PLACE, Places, Raised
from vimbiso_fsm.runtime.threads import in_thread

LIMIT = 30.0
"""Seconds for which a test waits for a thread."""


@pytest.fixture(autouse=True)
def _no_idle_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin without idle threads; those of other tests end by themselves."""
    monkeypatch.setattr(threads, "_idle", [])


def until(holds: Any) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + LIMIT
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.001)


def ident_of_next() -> int:
    """Do work in a thread, and return which one it was once it waits again."""
    found: SimpleQueue[int] = SimpleQueue()
    in_thread(lambda: found.put(threading.get_ident()))
    ident = found.get(timeout=LIMIT)
    until(lambda: threads._idle)
    return ident


def test_a_thread_is_used_again():
    """Work after work is done in the same thread."""
    assert len({ident_of_next() for _ in range(5)}) == 1


def test_few_threads_wait_for_work(monkeypatch: pytest.MonkeyPatch):
    """Of many threads at once, about `IDLE` wait for further work, and the others end with their work."""
    monkeypatch.setattr(threads, "LINGER", 2 * LIMIT)  # so none ends because it had no work
    go_on, working = threading.Event(), threading.Semaphore(0)

    def work() -> None:
        working.release()
        go_on.wait(LIMIT)

    many = 3 * threads.IDLE
    before = {*threading.enumerate()}
    for _ in range(many):
        in_thread(work)
    for _ in range(many):
        assert working.acquire(timeout=LIMIT)
    mine = {*threading.enumerate()} - before
    assert len(mine) == many
    go_on.set()
    until(lambda: sum(thread.is_alive() for thread in mine) <= threads.IDLE + 2)
    assert len(threads._idle) <= threads.IDLE + 2


def test_an_idle_thread_ends(monkeypatch: pytest.MonkeyPatch):
    """A thread that gets no work for `LINGER` seconds ends, and the next work has a new one."""
    monkeypatch.setattr(threads, "LINGER", 0.01)
    ident_of_next()
    until(lambda: not threads._idle)
    ident_of_next()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_process_starts_threads_of_its_own():
    """The idle threads of the parent are not waited for in a child."""
    ident_of_next()
    child = os.fork()
    if not child:
        os._exit(len(threads._idle))
    assert os.waitpid(child, 0)[1] == 0


# Attempts at a place --------------------------------------------------------------------------------------------------


def test_an_attempt_returns_or_raises_and_leaves_its_place():
    """The result is what the method returns or raises, in the context of the caller, and the place is free again."""
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name")
    name.set("Tendai")
    places = Places(ServiceLimits(threads=1))
    assert places.attempt(name.get, LIMIT) == "Tendai"

    def fails() -> None:
        raise SystemExit("no")

    for _ in range(2):
        raised = places.attempt(fails, LIMIT)
        assert isinstance(raised, Raised)
        assert isinstance(raised.error, SystemExit)
    assert places.take()


def test_an_attempt_that_hangs_keeps_its_place_until_it_ends():
    """What takes too long is left behind with its place, which is free when it ends; meanwhile nothing waits for it."""
    places, go_on = Places(ServiceLimits(threads=1)), threading.Event()
    late = places.attempt(lambda: go_on.wait(LIMIT), 0.01)
    assert isinstance(late, Raised)
    assert isinstance(late.error, TimeoutError)
    assert places.is_stuck
    assert places.attempt(lambda: "now", LIMIT) is NO_PLACE
    go_on.set()
    until(lambda: not places.is_stuck)
    assert places.attempt(lambda: "now", LIMIT) == "now"
    assert (places._taken, places._left_behind) == (0, 0)


def test_attempts_that_end_just_in_time_are_counted_right():
    """Whether an attempt ends before or after the caller stops waiting, each place is free in the end."""
    places = Places(ServiceLimits(threads=4))
    for _ in range(200):
        places.attempt(lambda: time.sleep(0.0005), 0.0005)
    until(lambda: (places._taken, places._left_behind) == (0, 0))


def test_an_awaited_attempt_that_ignores_its_cancellation_is_left_behind(monkeypatch: pytest.MonkeyPatch):
    """An async method that goes on when it is cancelled is left behind, and counts at its place until it ends."""
    monkeypatch.setattr(services, "CANCELLING", 0.01)
    places = Places(ServiceLimits(threads=1))

    async def attempts() -> None:
        go_on = asyncio.Event()

        async def stubborn() -> str:
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            await go_on.wait()
            return "late"

        async def now() -> str:
            return "now"

        late = await places.attempt_awaited(stubborn, 0.01)
        assert isinstance(late, Raised)
        assert isinstance(late.error, TimeoutError)
        assert places.is_stuck
        assert await places.attempt_awaited(now, LIMIT) is NO_PLACE
        go_on.set()
        await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()}, timeout=LIMIT)
        assert await places.attempt_awaited(now, LIMIT) == "now"

    asyncio.run(attempts())
    assert (places._taken, places._left_behind) == (0, 0)


def test_the_caller_of_an_awaited_attempt_may_be_cancelled():
    """A caller that is cancelled ends at once; the method is cancelled too, and counts at its place until it ends."""
    places, ended = Places(ServiceLimits(threads=1)), list[str]()

    async def attempts() -> None:
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def method() -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                await go_on.wait()
                ended.append("cancelled")

        caller = asyncio.ensure_future(places.attempt_awaited(method, LIMIT))
        await begun.wait()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        assert places.is_stuck
        assert ended == []
        go_on.set()
        await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()}, timeout=LIMIT)

    asyncio.run(attempts())
    assert ended == ["cancelled"]
    assert (places._taken, places._left_behind) == (0, 0)


def test_without_a_thread_no_attempt_is_made(monkeypatch: pytest.MonkeyPatch):
    """Where no thread can be started, the method is not called, and the place is free."""

    def start(_: Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Thread, "start", start)
    places, called = Places(ServiceLimits(threads=1)), list[int]()
    assert places.attempt(lambda: called.append(1), LIMIT) is NO_PLACE
    assert called == []
    assert places.take()
