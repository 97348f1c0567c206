"""A slow worker, which decides within the session and commits after it."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import attrs

from tests.engines import valkey_program
from tests.faults.bot import till_bot
from tests.faults.checker import check
from tests.faults.clock import AsyncClocked, Clock, Clocked
from tests.faults.members import Person, seen
from tests.faults.records import Folder, LedgerTill
from tests.faults.row import Profile, Report, folder, row
from tests.faults.server import own_server
from tests.faults.worker import logged
from vimbiso_fsm.messages.replies import Text
from vimbiso_fsm.operations.handle import Outcome
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager, FlowStateManager
from vimbiso_fsm.store.redis_atomic import AsyncAtomicStateManager, AtomicStateManager
from vimbiso_fsm.store.requests import AsyncStore, Commit, Request, Store
from vimbiso_fsm.testing.chat import STORE_SECRET

__all__: list[str] = []

SESSION = 300.0
BRIEF = 0.4
"""Seconds of a session that is waited for."""


@attrs.define
class _Slow:
    """A store that waits once before a commit."""

    store: Store
    dawdle: Callable[[], object] | None = None

    def perform(self, request: Request) -> Any:
        if isinstance(request, Commit) and self.dawdle:
            self.dawdle()
            self.dawdle = None
        return self.store.perform(request)


@attrs.define
class _AsyncSlow:
    """An async store that waits once before a commit."""

    store: AsyncStore
    dawdle: Callable[[], object] | None = None

    async def perform(self, request: Request) -> Any:
        if isinstance(request, Commit) and self.dawdle:
            self.dawdle()
            self.dawdle = None
        return await self.store.perform(request)


def _judge(person: Person, outcome: Outcome, report: Report) -> None:
    keys = [reply.key for reply in outcome.replies if isinstance(reply, Text)]
    report.demand("session.ended" in keys, f"{person.number}: the confirm of an ended session came to {keys}")
    report.demand(not seen(person, outcome), f"{person.number}: bytes of {seen(person, outcome)}")
    report.count(turns=1)


def _sync(url: str, records: Folder, people: Sequence[Person], chance: random.Random, report: Report) -> None:
    bot = till_bot(LedgerTill(records), session=SESSION)
    with AtomicStateManager.from_url(url, secret=STORE_SECRET) as store:
        for person in people:
            slow = _Slow(Clocked(store, clock := Clock()))
            with FlowStateManager(bot, slow, rates=None) as manager:
                for message in person.messages[:3]:
                    manager.handle(message)
                late = SESSION + chance.choice((0.001, 1, 600, 86_400))
                slow.dawdle = lambda clock=clock, late=late: clock.forward(late)
                _judge(person, manager.handle(person.messages[3]), report)
                report.count(late=clock.answers["Late"])


async def _async(url: str, records: Folder, people: Sequence[Person], chance: random.Random, report: Report) -> None:
    bot = till_bot(LedgerTill(records), session=SESSION)
    async with AsyncAtomicStateManager.from_url(url, secret=STORE_SECRET) as store:
        for person in people:
            slow = _AsyncSlow(AsyncClocked(store, clock := Clock()))
            async with AsyncFlowStateManager(bot, slow, rates=None) as manager:
                for message in person.messages[:3]:
                    await manager.handle(message)
                late = SESSION + chance.choice((0.001, 1, 600, 86_400))
                slow.dawdle = lambda clock=clock, late=late: clock.forward(late)
                _judge(person, await manager.handle(person.messages[3]), report)
                report.count(late=clock.answers["Late"])


@row("slow", "a slow worker after the session expired", "refused every time")
def slow_worker(profile: Profile, seed: int) -> Report:
    """Move the clock between decision and commit, with both managers."""
    report = Report()
    times = profile.of(200, 1_000)
    people = [Person(number, 1) for number in range(1, times + 1)]
    with folder() as records, own_server(valkey_program()) as server, logged(records):
        _sync(server.url, records, people[::2], random.Random(seed), report)
        asyncio.run(_async(server.url, records, people[1::2], random.Random(seed), report))
        check(server.url, records, people, report, whole=False)
        report.demand(report.counts["late"] == times, f"only {report.counts['late']} commits were late")
        report.demand(not folder_sales(records), "something was sold")
    return report


def folder_sales(records: Folder) -> int:
    """Count what was sold."""
    return sum(map(len, records.sales().values()))


def _stopped(url: str, records: Folder, person: Person) -> None:
    """Run a worker that stops itself between decision and commit, as if the machine had no time for it."""
    bot = till_bot(LedgerTill(records), session=BRIEF)
    report = Report()
    with AtomicStateManager.from_url(url, secret=STORE_SECRET) as store:
        slow = _Slow(Clocked(store, clock := Clock()))
        with FlowStateManager(bot, slow, rates=None) as manager:
            for message in person.messages[:3]:
                manager.handle(message)
            slow.dawdle = lambda: os.kill(os.getpid(), signal.SIGSTOP)
            _judge(person, manager.handle(person.messages[3]), report)
    records.note("stopped", late=clock.answers["Late"], wrong=report.wrong)


@row("stopped", "SIGSTOP of a worker between decision and commit, for longer than the session", "refused every time")
def stopped_worker(profile: Profile, seed: int) -> Report:
    """Stop a worker in real time, on a session of less than a second."""
    report = Report()
    people = [Person(number, 1) for number in range(1, profile.of(4, 40) + 1)]
    with folder() as records, own_server(valkey_program()) as server:
        with ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(_stop, server.url, records, person) for person in people]:
                done.result()
        for line in records.noted("stopped"):
            report.count(turns=1, late=line["late"])
            report.wrong += line["wrong"]
        check(server.url, records, people, report, whole=False)
        report.demand(report.counts["turns"] == len(people), "not every worker came to its end")
        report.demand(not folder_sales(records), "something was sold")
    return report


def _stop(url: str, records: Folder, person: Person) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_stopped, args=(url, records, person))
    process.start()
    pid = process.pid
    assert pid is not None
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    time.sleep(2 * BRIEF)
    os.kill(pid, signal.SIGCONT)
    process.join()
    process.close()
