"""Workers that kill themselves: at each request, at each call, and between any two lines that they run.

A warm process of one thread forks a child for each point; the child handles one message and kills itself there. Then
another worker goes on, on a clock past the lease: it receives the same message, or another one first, or only wakes the
member. Points and recoveries are drawn from the seed.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, TypeAlias

import attrs

import vimbiso_fsm
from tests.engines import valkey_program
from tests.faults.bot import till_bot
from tests.faults.checker import check
from tests.faults.clock import Clock, Clocked
from tests.faults.members import PAST_LEASE, Person, deliver
from tests.faults.records import Folder, LedgerTill
from tests.faults.replies import people_for
from tests.faults.row import Profile, Report, folder, row
from tests.faults.server import own_server
from tests.faults.worker import crews, logged, working
from vimbiso_fsm.flow.calls import Caller
from vimbiso_fsm.messages.message import Message
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager, FlowStateManager
from vimbiso_fsm.store.redis_atomic import AsyncAtomicStateManager, AtomicStateManager
from vimbiso_fsm.store.requests import AsyncStore, ReadDue, Request, Store, shard_of
from vimbiso_fsm.testing.chat import STORE_SECRET

__all__ = ["AsyncMortal", "Lines", "Mortal", "MortalTill", "Steps", "in_child", "nowhere", "run_alone", "wake_due"]

_LIBRARY = str(Path(vimbiso_fsm.__file__).parent)
STYLES = ("sync", "async")
RECOVERIES = ("again", "another first", "woken")
"""Recoveries after a kill: the message is delivered again; the member sends another message first; or the member is
woken first, and the message is delivered again after that."""


def die() -> None:
    """End this process by SIGKILL."""
    os.kill(os.getpid(), signal.SIGKILL)


@attrs.define
class Steps:
    """Counts the points before and after each request and each call, and kills the process at point `last`."""

    last: int
    passed: int = 0

    def __call__(self) -> None:
        self.passed += 1
        if self.passed == self.last:
            die()


@attrs.frozen
class Mortal:
    """A store whose process may die before and after each request."""

    store: Store
    point: Callable[[], None]

    def perform(self, request: Request) -> Any:
        self.point()
        result = self.store.perform(request)
        self.point()
        return result


@attrs.frozen
class AsyncMortal:
    """An async store whose process may die before and after each request."""

    store: AsyncStore
    point: Callable[[], None]

    async def perform(self, request: Request) -> Any:
        self.point()
        result = await self.store.perform(request)
        self.point()
        return result


@attrs.frozen
class MortalTill:
    """A till whose process may die before and after each call."""

    till: LedgerTill
    point: Callable[[], None]

    def sell(self, number: int, *, caller: Caller = Caller()) -> str:  # noqa: B008
        self.point()
        receipt = self.till.sell(number, caller=caller)
        self.point()
        return receipt


@attrs.define
class Lines:
    """Counts the lines of the library that are run, and kills the process at line `last`."""

    last: int
    passed: int = 0

    def __call__(self, frame: FrameType, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(_LIBRARY):
            return None
        if event == "line":
            self.passed += 1
            if self.passed == self.last:
                die()
        return self


def nowhere() -> None:
    """Do nothing: a point at which no process dies."""


def _handle(
    url: str, records: Folder, style: str, message: Message, point: Callable[[], None], lines: Lines | None
) -> None:
    """Handle one message in this process; `point` is called at each step, and `lines` at each line."""
    bot = till_bot(MortalTill(LedgerTill(records), point))
    if style == "sync":
        with (
            AtomicStateManager.from_url(url, secret=STORE_SECRET) as store,
            FlowStateManager(bot, Mortal(store, point), rates=None) as manager,
        ):
            _trace(lines)
            manager.handle(message)
            _trace(None)
    else:
        asyncio.run(_handle_async(url, bot, message, point, lines))


async def _handle_async(url: str, bot: Any, message: Message, point: Callable[[], None], lines: Any) -> None:
    async with (
        AsyncAtomicStateManager.from_url(url, secret=STORE_SECRET) as store,
        AsyncFlowStateManager(bot, AsyncMortal(store, point), rates=None) as manager,
    ):
        _trace(lines)
        await manager.handle(message)
        _trace(None)


def _trace(lines: Lines | None) -> None:
    """Trace this thread and those that it starts, or stop tracing."""
    threading.settrace(lines)  # pyright: ignore[reportArgumentType]  # None ends it, though the stub leaves that out
    sys.settrace(lines)


def in_child(act: Callable[[], object]) -> int:
    """Run a function in a forked child; return 0, or the number of the signal that ended it."""
    child = os.fork()
    if not child:
        try:
            act()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        os._exit(1)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        return os.WTERMSIG(status)
    if os.WEXITSTATUS(status):
        raise AssertionError("a child failed in another way than it should")
    return 0


@attrs.define
class Killer:
    """Kills workers in the middle of turns, and lets others go on."""

    url: str
    records: Folder
    chance: random.Random
    people: list[Person] = attrs.field(factory=list)

    def kill(self, turn: int, style: str, recovery: str, at: int, *, lines: bool) -> bool:
        """Kill a worker at a point of message `turn` of a new member, and go on; return whether it was reached."""
        person = Person(len(self.people) + 1, confirmations=3)
        self.people.append(person)
        clock = Clock()
        with AtomicStateManager.from_url(self.url, secret=STORE_SECRET) as store:
            with FlowStateManager(till_bot(LedgerTill(self.records)), Clocked(store, clock), rates=None) as manager:
                for message in person.messages[:turn]:
                    deliver(manager, person, message, self.records, clock)
            message = person.messages[turn]
            point, trace = (nowhere, Lines(at)) if lines else (Steps(at), None)
            died = in_child(lambda: _handle(self.url, self.records, style, message, point, trace))
            clock.forward(PAST_LEASE)
            bot = till_bot(LedgerTill(self.records))
            with FlowStateManager(bot, Clocked(store, clock), deliver=self.records.deliverer, rates=None) as manager:
                self._recover(manager, person, recovery, clock)
                for message in person.messages[turn:]:
                    deliver(manager, person, message, self.records, clock, again=True)
        return died == signal.SIGKILL

    def _recover(self, manager: FlowStateManager, person: Person, recovery: str, clock: Clock) -> None:
        if recovery == "another first":
            deliver(manager, person, person.message("help", "help"), self.records, clock)
        elif recovery == "woken":
            wake_due(manager, person)
            for member_id in (person.guest_id, person.member_id):
                document = manager.state(member_id)
                if document is not None and (document.call or (document.outbox and not document.moved)):
                    self.records.note("wrong", what=f"{person.number}: the next worker left something to be done")

    def count_lines(self, turn: int, style: str) -> int:
        """Count the lines of the library that a turn runs."""
        reader, writer = os.pipe()
        person = Person(len(self.people) + 1, confirmations=3)
        self.people.append(person)
        with AtomicStateManager.from_url(self.url, secret=STORE_SECRET) as store:
            manager = FlowStateManager(till_bot(LedgerTill(self.records)), store, rates=None)
            for message in person.messages[:turn]:
                deliver(manager, person, message, self.records, Clock())

            def count() -> None:
                lines = Lines(0)
                _handle(self.url, self.records, style, person.messages[turn], nowhere, lines)
                os.write(writer, str(lines.passed).encode())

            in_child(count)
            manager = FlowStateManager(till_bot(LedgerTill(self.records)), store, rates=None)
            for message in person.messages[turn:]:
                deliver(manager, person, message, self.records, Clock(), again=True)
        counted = int(os.read(reader, 100))
        os.close(reader)
        os.close(writer)
        return counted


def wake_due(manager: FlowStateManager, person: Person) -> int:
    """Wake a member for whom work is due, as a worker does; return how many turns were made."""
    made = 0
    for member_id in (person.guest_id, person.member_id):
        manager.state(member_id)  # which tells the manager what time it is
        if member_id in manager.ask(ReadDue(shard_of(member_id), manager.now(), 100_000)):
            made += len(manager.wake(member_id))
    return made


TURNS = {"first words": 0, "guest becomes member": 1, "number": 2, "confirm": 3}


def _steps(killer: Killer, profile: Profile, report: Report) -> None:
    """Kill at every point of every turn, with both managers, and recover in each way or in one that is drawn."""
    for style in STYLES:
        for turn in TURNS.values():
            for recovery in (None,) if profile.short else RECOVERIES:
                at = 1
                while killer.kill(turn, style, recovery or killer.chance.choice(RECOVERIES), at, lines=False):
                    report.count(killed=1)
                    at += 1
                report.count(turns=1)


def _lines(killer: Killer, profile: Profile, report: Report) -> None:
    """Return the lines of the turns that confirm and that make a member: all of them, or a sample."""
    for style in STYLES:
        for turn in (TURNS["confirm"], TURNS["guest becomes member"]):
            counted = killer.count_lines(turn, style)
            report.count(lines=counted)
            chosen: Sequence[int] = range(1, counted + 1)
            if profile.short:
                chosen = sorted(killer.chance.sample(chosen, 20))
            for at in chosen:
                report.count(killed=killer.kill(turn, style, killer.chance.choice(RECOVERIES), at, lines=True))


def _steps_then_check(profile: Profile, seed: int, url: str, records: Folder, report: Report) -> None:
    killer = Killer(url, records, random.Random(seed))
    _steps(killer, profile, report)
    check(url, records, killer.people, report)


def _lines_then_check(profile: Profile, seed: int, url: str, records: Folder, report: Report) -> None:
    killer = Killer(url, records, random.Random(seed))
    _lines(killer, profile, report)
    check(url, records, killer.people, report)


Work: TypeAlias = Callable[[Profile, int, str, Folder, Report], None]


def _alone(work: Work, profile: Profile, seed: int, url: str, path: Path) -> None:
    records, report = Folder(path), Report()
    with logged(records):
        work(profile, seed, url, records, report)
    records.note("report", counts=report.counts, wrong=report.wrong)


def run_alone(work: Work, profile: Profile, seed: int) -> Report:
    """Run a function that forks in a process of its own with one thread, so that its forks are whole."""
    report = Report()
    with folder() as records, own_server(valkey_program()) as server:
        process = multiprocessing.get_context("spawn").Process(
            target=_alone, args=(work, profile, seed, server.url, records.path)
        )
        process.start()
        process.join()
        report.demand(process.exitcode == 0, f"the process that forks came to {process.exitcode}")
        process.close()
        for line in records.noted("report"):
            report.count(**line["counts"])
            report.wrong += line["wrong"]
    return report


@row(
    "killed-at-steps",
    "worker killed before and after each request and call",
    "0 lost, 0 duplicate, resumed by another within one lease",
)
def killed_at_steps(profile: Profile, seed: int) -> Report:
    """A worker that dies between the commit and the call's answer leaves a lease; the next worker makes the call."""
    return run_alone(_steps_then_check, profile, seed)


@row(
    "killed-at-lines",
    "worker killed at each point between two lines of the turn",
    "0 lost, 0 duplicate, resumed by another within one lease",
)
def killed_at_lines(profile: Profile, seed: int) -> Report:
    """Kill a worker at lines of the library that the turn runs; at every one in the deep profile."""
    return run_alone(_lines_then_check, profile, seed)


@row("workers-killed", "kill −9 and SIGSTOP of workers under load, from outside", "0 lost, 0 duplicate")
def workers_killed(profile: Profile, seed: int) -> Report:
    """Replace each worker that was killed; messages that were not answered are sent again."""
    report, chance = Report(), random.Random(seed)
    people = people_for(profile.of(200, 1_000), 5)
    times = profile.of(6, 40)
    turns = sum(len(person.messages) for person in people)
    with folder() as records, own_server(valkey_program()) as server:
        with working(crews(server.url, records, people, 3, at_once=4, patience=1.0)) as workers:
            for number in range(1, times + 1):
                while workers.busy() and records.count("answered") < turns * number / (times + 1):
                    time.sleep(0.01)
                if not (busy := workers.busy()):
                    break
                place = chance.choice(busy)
                if chance.random() < 0.7:
                    workers.replace(place)
                    report.count(killed=1)
                elif pid := workers.processes[place].pid:
                    os.kill(pid, signal.SIGSTOP)
                    time.sleep(chance.uniform(0, 1))
                    os.kill(pid, signal.SIGCONT)
                    report.count(stopped=1)
        check(server.url, records, people, report)
    report.demand(report.counts.get("killed"), "no worker was killed")
    return report
