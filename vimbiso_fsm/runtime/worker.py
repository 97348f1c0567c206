"""Workers: they wake the members with due work, in any number of processes at the same time.

`manager.wake(member)` runs the due work of one member, and any process may call it. A worker finds the members: it
leases shards, reads the due members of each, and wakes them.

    Heartbeat  every third of a lease: report that the worker runs, and read which workers do. Each shard belongs to one
               of them by rendezvous hashing, so that a worker that starts or stops moves only its own shards
    Lease      lease the worker's own shards, and renew the leases until it stops. Those of a dead worker expire
    ReadDue    every second, read the due members of each shard, of those which may have one (ReadDueShards)
    archive    move a member's older audit entries to the archive, if the manager has one
    ReadUsage  every 30 seconds, read the memory of the servers, for the alarm of the budget
    wake       wake several members at the same time, so that a slow call delays no other member
    next sends between two reads, wake those whose replies had to wait for the pace of their channel, when they are next

Each of these is tried by itself. A server of a cluster that is down costs the members on it their wake-ups while it is
down, and nothing else; a waking that fails lets its member rest, with an incident, and the others go on.

`Worker` is for threads, `AsyncWorker` for asyncio. Both run in a process of their own (`vimbiso worker`) or beside a
bot.
"""

from __future__ import annotations

import hashlib
import logging
import math
import secrets
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final, TypeVar

import attrs

from vimbiso_fsm.audit.entries import AuditEntry, Incident, failure_of_delivery
from vimbiso_fsm.audit.redaction import error_record
from vimbiso_fsm.document.ids import instant
from vimbiso_fsm.errors import CommitUnknown, Contended, NewerState, StoreUnavailable, VimbisoError
from vimbiso_fsm.messages.bounds import check_seconds
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.operations.effects import Operation
from vimbiso_fsm.operations.shared import due_members, heartbeat, lease
from vimbiso_fsm.runtime.base import BaseManager
from vimbiso_fsm.runtime.budget import ASKED_EVERY, Budget
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager, FlowStateManager
from vimbiso_fsm.runtime.next_sends import NextSends
from vimbiso_fsm.store.doctor import MEMORY_ALARM
from vimbiso_fsm.store.requests import (
    Heartbeat,
    Lease,
    Leased,
    ReadDue,
    ReadDueShards,
    ReadUsage,
    RecordIncident,
    Usage,
)
from vimbiso_fsm.store.retention import LONGEST_LEASE, SHARD_LEASE, SHARDS

if TYPE_CHECKING:
    import asyncio  # not at run time: a bot of threads needs none

INTERVAL: Final = 1.0
"""Seconds between two reads of the due members."""
WIDTH: Final = 32
"""The number of members that are woken at the same time."""
MEMBERS_PER_SHARD: Final = 100
"""The number of members of one shard that are woken in one round."""
SHARDS_AT_ONCE: Final = 256
"""The number of shards that a worker asks about in one request, which takes the server about 0.2 ms."""
ALL: Final = 1_000_000_000
"""More members than a shard has."""
STALLED: Final = 30.0
"""Seconds without progress after which a worker is stalled, or three of its intervals where that is longer."""
REST: Final = 60.0
"""Seconds before a member is woken again after a waking has failed."""
REASONS: Final = 32
"""The reasons of failed deliveries that a worker counts apart; further ones are counted together."""
REASONS_SHOWN: Final = 4
"""The reasons in the line of metrics, the most frequent first."""
REASON_LENGTH: Final = 60
"""Characters of a reason that are kept."""

Q = TypeVar("Q", Heartbeat, Lease, ReadDue)
R = TypeVar("R")

_log = logging.getLogger("vimbiso_fsm")


@attrs.define
class Metrics:
    """The counts of a worker.

    Attributes:
        done: The number of turns made, by the kind of their audit entry.
        woken: The number of members woken.
        failed: The number of wakings that ended in an error.
        undelivered: The number of deliveries that failed, by reason: "later", "never CODE", or the class of the
            exception that the sender has raised.
        shards: The number of shards leased now.
        workers: The number of workers that run now.
        archived: The number of audit entries moved to the archive.
        memory: The largest share of its limit that a server of the store uses; None where none is known to have one.
    """

    done: Counter[str] = attrs.field(factory=Counter[str])
    woken: int = 0
    failed: int = 0
    shards: int = 0
    workers: int = 0
    archived: int = 0
    memory: float | None = None
    undelivered: Counter[str] = attrs.field(factory=Counter[str])

    def count(self, entry: AuditEntry) -> None:
        """Count a turn that was made."""
        self.done[entry.kind] += 1
        answer, reason = failure_of_delivery(entry)
        if answer:
            words = (reason or answer) if answer == "unknown" else f"{answer} {reason}".rstrip()
            why = words[:REASON_LENGTH]
            known = why in self.undelivered or len(self.undelivered) < REASONS
            self.undelivered[why if known else "other"] += 1

    def __str__(self) -> str:
        kinds = " ".join(f"{kind}={count}" for kind, count in sorted(self.done.items()))
        known = f"shards={self.shards} workers={self.workers} woken={self.woken} failed={self.failed}"
        if self.undelivered:
            reasons = ", ".join(f"{why}={count}" for why, count in self.undelivered.most_common(REASONS_SHOWN))
            known += f" undelivered={self.undelivered.total()} ({reasons})"
        if self.archived:
            known += f" archived={self.archived}"
        if self.memory is not None:
            known += f" memory={self.memory:.0%}"
        return f"{known} {kinds}".rstrip()


def _begin(operation: Callable[[Context, Q], Operation[R]], request: Q) -> Callable[[Context], Operation[R]]:
    """Return the operation on a request that only lacks its context."""
    return lambda context: operation(context, request)


def shards_of(worker: str, workers: Iterable[str]) -> tuple[int, ...]:
    """Return the shards of one of several workers, those for which its hash is the highest of all workers."""
    running = sorted({worker, *workers})
    return tuple(shard for shard in range(SHARDS) if worker == max(running, key=lambda name: _rank(name, shard)))


def _rank(worker: str, shard: int) -> bytes:
    """Return the hash by which workers are compared for a shard."""
    name = worker.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(b"%d %b" % (shard, name), digest_size=8).digest()


class _Rounds:
    """State shared by both workers: the shards, the members being woken, the metrics.

    A waking takes the most urgent member when it begins: one whose replies are next at a pace precedes those found due,
    however many of these wait for a place. So a crowd does not leave a pace unused.
    """

    name: str
    metrics: Metrics

    def __init__(self, base: BaseManager, name: str | None, every: float, lease: float, memory_alarm: float) -> None:
        check_seconds("Worker", "lease", lease, most=LONGEST_LEASE)
        self._budget = base.budget = Budget(memory_alarm)
        self._next_sends = base.next_sends = base.next_sends or NextSends()
        self._clock = base.clock
        self._memory_at = float("-inf")
        self.name = name or f"worker-{secrets.token_hex(6)}"
        self.metrics = Metrics()
        self._every, self._lease = every, lease
        self._workers: tuple[str, ...] = ()
        self._wanted: tuple[int, ...] = ()
        self._held: set[int] = set()
        self._returns = 0
        self._swept: set[int] = set()
        self._heartbeat_at = float("-inf")
        self._busy: set[str] = set()
        self._missed: set[str] = set()
        self._found: deque[str] = deque()
        self._sends: deque[str] = deque()
        self._looks_at = math.inf
        self._resting: dict[str, float] = {}
        self._reported: dict[str, str] = {}
        self._guard = threading.Lock()
        self._moved_at = self._rounded_at = time.monotonic()

    def stalled_for(self) -> float:
        """Return the seconds since the latest progress: a round that ended, and a waking that began if any waits."""
        with self._guard:
            since = min(self._moved_at, self._rounded_at) if self._found or self._sends else self._rounded_at
        return time.monotonic() - since

    def is_stalled(self) -> bool:
        """Return whether the worker makes no progress. One that has not begun has made none."""
        return self.stalled_for() > max(STALLED, 3 * self._every)

    def _heartbeat_is_due(self) -> bool:
        return time.monotonic() >= self._heartbeat_at + self._lease / 3

    def _memory_is_due(self) -> bool:
        now = time.monotonic()
        due = now >= self._memory_at + ASKED_EVERY
        if due:
            self._memory_at = now
        return due

    def _take_memory(self, usages: tuple[Usage, ...]) -> None:
        self._budget.take(usages)
        self.metrics.memory = self._budget.share

    def _requests(self, workers: tuple[str, ...] | None) -> Iterator[Lease]:
        """Return the leases to take or renew, and those to return.

        Args:
            workers: The workers that run; None if the store did not say, and the known ones count.
        """
        self._heartbeat_at = time.monotonic()
        workers = workers or self._workers or (self.name,)
        if workers != self._workers:
            self._workers, self._wanted = workers, shards_of(self.name, workers)
        for shard in self._wanted:
            yield Lease(shard, self.name, self._lease)
        for shard in sorted(self._held.difference(self._wanted)):
            yield Lease(shard, self.name, 0)

    def _leased(self, requests: Iterable[Lease], answers: Iterable[Leased | None]) -> None:
        """Take note of the shards that the store has leased to this worker. None: the store did not say."""
        held = self._held
        self._held = {
            request.shard
            for request, answer in zip(requests, answers, strict=True)
            if request.seconds and (request.shard in held if answer is None else answer.worker == self.name)
        }
        self.metrics.shards, self.metrics.workers = len(self._held), len(self._workers)

    def _to_wake(self, due: Iterable[tuple[str, ...] | None]) -> list[str]:
        """Return the members to wake now, without those that are being woken or that rest after a failure."""
        now = time.monotonic()
        with self._guard:
            self._resting = {member: until for member, until in self._resting.items() if until > now}
            passed = self._busy.union(self._resting)
            found = [member for members in due for member in members or () if member not in passed]
            self._busy.update(found)
            self._waits(found)
            self._found.extend(found)
        return found

    def _to_send(self) -> list[str]:
        """Return the members to wake now because their replies are next; one that is being woken follows after that."""
        with self._guard:
            taken = self._next_sends.take(self._clock.now())
            self._missed.update(self._busy.intersection(taken))
            found = [member for member in taken if member not in self._busy and member not in self._resting]
            self._busy.update(found)
            self._waits(found)
            self._sends.extend(found)
        return found

    def _waits(self, found: Sequence[str]) -> None:
        """Note since when members wait for a waking."""
        if found and not (self._found or self._sends):
            self._moved_at = time.monotonic()

    def _most_urgent(self) -> str:
        """Return the member that a waking is for. There is one for each waking."""
        with self._guard:
            self._moved_at = time.monotonic()
            return (self._sends or self._found).popleft()

    def _wait_for_send(self) -> float:
        """Return the seconds until replies are next. What is noted to be earlier, from now on, nudges the worker."""
        self._looks_at = math.inf
        self._looks_at = first = self._next_sends.first
        return max(first - self._clock.now(), 0.0)

    def _nudge(self) -> None:
        """End the wait for the next round, because replies are next before."""
        raise NotImplementedError

    def _reads(self, returns: int) -> Iterator[ReadDue]:
        """Return a request for the due members of each shard, enough that busy and resting ones hide no others.

        After the store's clock has returned, all members of each shard are due once: the wake-ups of those who were
        stored while it was ahead are as far ahead.

        Args:
            returns: How often the store's clock has returned.
        """
        if returns != self._returns:
            self._returns, self._swept = returns, set()
        limit = MEMBERS_PER_SHARD + len(self._busy) + len(self._resting)
        for shard in sorted(self._held):
            if returns and shard not in self._swept:
                yield ReadDue(shard, math.inf, limit=ALL)
            else:
                yield ReadDue(shard, limit=limit)

    def _asks(self, reads: Iterable[ReadDue]) -> Iterator[ReadDueShards]:
        """Yield requests for the shards of some reads that have a member who is due, to save the other reads."""
        shards = [read.shard for read in reads if read.until is None]
        for first in range(0, len(shards), SHARDS_AT_ONCE):
            yield ReadDueShards(tuple(shards[first : first + SHARDS_AT_ONCE]))

    def _due_of(self, reads: Iterable[ReadDue], found: Iterable[tuple[int, ...]]) -> list[ReadDue]:
        """Return the reads that may find a member, by the answers to `_asks`."""
        due = {shard for shards in found for shard in shards}
        return [read for read in reads if read.until is not None or read.shard in due]

    def _read(self, requests: Iterable[ReadDue], answers: Sequence[tuple[str, ...] | None]) -> list[str]:
        """Return the members to wake now, and note the shards of which all members were read: the end of a round."""
        self._rounded_at = time.monotonic()
        for request, answer in zip(requests, answers, strict=True):
            if request.until is not None and answer is not None:
                self._swept.add(request.shard)
        return self._to_wake(answers)

    def _ended(self, member: str) -> None:
        with self._guard:
            self._busy.discard(member)
            missed = member in self._missed
            self._missed.discard(member)
        if missed:
            self._next_sends.note(member, self._clock.now())
        if self._next_sends.first < self._looks_at:
            self._nudge()

    def _woken(self, member: str, entries: tuple[AuditEntry, ...], archived: int) -> None:
        with self._guard:
            self.metrics.woken += 1
            self.metrics.archived += archived
            self._reported.pop(member, None)
            for entry in entries:
                self.metrics.count(entry)

    def _failed(self, member: str | None, error: BaseException) -> bool:
        """Count and log a failure. After one that is the member's and not the store's, the member rests.

        Returns:
            Whether it is to be reported as an incident: it is the member's, and new.
        """
        _log.error("a waking failed at %s: %s", self.name, error_record(error, ""))
        with self._guard:
            self.metrics.failed += 1
            if member is None or isinstance(error, StoreUnavailable | CommitUnknown | Contended):
                return False
            self._resting[member] = time.monotonic() + REST
            kind, before = type(error).__name__, self._reported.get(member)
            self._reported[member] = kind
        return kind != before and not isinstance(error, NewerState)  # a newer release is no incident

    def _incident(self, member: str, error: BaseException, at: float) -> RecordIncident:
        """Return the request that reports a waking that failed."""
        detail = {"worker": self.name, **error_record(error, "")}
        return RecordIncident(member, Incident(instant(at), "waking", member, detail=detail).body)

    def _answers(self, found: Iterable[R | BaseException]) -> list[R | None]:
        """Return the answers to several requests; None for each that the store did not answer.

        Many requests to one server fail alike, so each failure is counted and logged once.
        """
        answers: list[R | None] = []
        failures: dict[str, VimbisoError] = {}
        for answer in found:
            if isinstance(answer, VimbisoError):
                failures[str(answer)] = answer
            elif isinstance(answer, BaseException):
                raise answer
            answers.append(None if isinstance(answer, BaseException) else answer)
        for failure in failures.values():
            self._failed(None, failure)
        return answers


class Worker(_Rounds):
    """Wakes members on a sync manager. Call `run` in a thread or a process of its own, and `stop` to end it.

    Args:
        manager: The manager.
        name: A name that no other worker has. By default a random one.
        every: Seconds between two reads of the due members.
        lease: Seconds for which a shard is leased, at most `LONGEST_LEASE`.
        width: The number of members that are woken at the same time.
        memory_alarm: The share of the memory of a server from which the log has an error.

    Raises:
        FlowError: A value is out of range.
    """

    def __init__(
        self,
        manager: FlowStateManager,
        *,
        name: str | None = None,
        every: float = INTERVAL,
        lease: float = SHARD_LEASE,
        width: int = WIDTH,
        memory_alarm: float = MEMORY_ALARM,
    ) -> None:
        super().__init__(manager._base, name, every, lease, memory_alarm)
        self._manager = manager
        self._stopped = threading.Event()
        self._nudges: SimpleQueue[None] = SimpleQueue()
        self._pool = ThreadPoolExecutor(width, thread_name_prefix="vimbiso wake")

    def run(self) -> None:
        """Wake the members of the worker's shards until `stop`, then wait for the wakings and return the shards."""
        try:
            while not self._stopped.is_set():
                self.round()
                self._send_until(time.monotonic() + self._every)
        finally:
            self.leave()

    def stop(self) -> None:
        """End `run` soon. It may be called in any thread or signal handler."""
        self._stopped.set()
        self._nudge()

    def _nudge(self) -> None:
        if self._nudges.empty():  # one is enough; a signal handler can put it while `run` waits for it
            self._nudges.put(None)

    def _send_until(self, end: float) -> None:
        """Wake the members whose replies are next, each at that instant, until the next round or `stop`."""
        while not self._stopped.is_set() and (left := end - time.monotonic()) > 0:
            self.send_next()
            with suppress(Empty):
                self._nudges.get(timeout=min(left, self._wait_for_send()))

    def send_next(self) -> list[Future[None]]:
        """Wake the members whose replies are next at the pace of their channel now, and return the wakings begun."""
        return [self._pool.submit(self._wake) for _ in self._to_send()]

    def round(self) -> list[Future[None]]:
        """Read the due members once, and return the wakings begun: none of shards whose server does not answer."""
        if self._heartbeat_is_due():
            (workers,) = self._each(heartbeat, [Heartbeat(self.name, self._lease)])
            requests = list(self._requests(workers))
            self._leased(requests, self._each(lease, requests))
        if self._memory_is_due():
            with suppress(VimbisoError):  # what a server does not tell is not watched
                self._take_memory(self._manager.ask(ReadUsage()))
        reads = list(self._reads(self._manager._base.clock.returns))
        with suppress(VimbisoError):  # each shard is read then
            reads = self._due_of(reads, [self._manager.ask(asked) for asked in self._asks(reads)])
        members = self._read(reads, self._each(due_members, reads))
        return [self._pool.submit(self._wake) for _ in members]

    def _each(self, operation: Callable[[Context, Q], Operation[R]], requests: Sequence[Q]) -> list[R | None]:
        """Perform requests by an operation that puts damage aside. A server that has failed is not asked again."""
        place_of = getattr(self._manager._store, "place_of", None)
        failures: dict[object, VimbisoError] = {}
        found: list[R | BaseException] = []
        for request in requests:
            place = place_of(request) if place_of is not None else None
            failure = failures.get(place)
            if failure is None:
                try:
                    found.append(self._manager._operate(_begin(operation, request)))
                    continue
                except VimbisoError as error:
                    failures[place] = failure = error
            found.append(failure)
        return self._answers(found)

    def leave(self) -> None:
        """Wait for the wakings, and return the shards."""
        self._pool.shutdown()
        try:
            self._each(lease, [Lease(shard, self.name, 0) for shard in sorted(self._held)])
            self._each(heartbeat, [Heartbeat(self.name, 0)])
        finally:  # leases that were not returned end by themselves
            self._held.clear()

    def _wake(self) -> None:
        member = self._most_urgent()
        try:
            archived = self._manager.archive(member).entries if self._manager.archives else 0
            self._woken(member, self._manager.wake(member), archived)
        except Exception as error:  # noqa: BLE001  # a failure at one member does not stop the others
            if self._failed(member, error):
                with suppress(VimbisoError):
                    self._manager.ask(self._incident(member, error, self._manager.now()))
        finally:
            self._ended(member)


class AsyncWorker(_Rounds):
    """Wakes members on an async manager, in a task of its own. See `Worker`."""

    def __init__(
        self,
        manager: AsyncFlowStateManager,
        *,
        name: str | None = None,
        every: float = INTERVAL,
        lease: float = SHARD_LEASE,
        width: int = WIDTH,
        memory_alarm: float = MEMORY_ALARM,
    ) -> None:
        super().__init__(manager._base, name, every, lease, memory_alarm)
        import asyncio

        self._manager = manager
        self._stopped = asyncio.Event()
        self._nudged = asyncio.Event()
        self._width = asyncio.Semaphore(width)
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Wake members until `stop`. See `Worker.run`."""
        try:
            while not self._stopped.is_set():
                await self.round()
                await self._send_until(time.monotonic() + self._every)
        finally:
            await self.leave()

    def stop(self) -> None:
        """End `run` soon. It must be called in the event loop."""
        self._stopped.set()
        self._nudge()

    def _nudge(self) -> None:
        self._nudged.set()

    async def _send_until(self, end: float) -> None:
        """Wake the members whose replies are next until the next round. See `Worker._send_until`."""
        import asyncio

        while not self._stopped.is_set() and (left := end - time.monotonic()) > 0:
            self._nudged.clear()
            self.send_next()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._nudged.wait(), min(left, self._wait_for_send()))

    def send_next(self) -> list[asyncio.Task[None]]:
        """Wake the members whose replies are next at the pace of their channel. See `Worker.send_next`."""
        return self._begin_wakings(self._to_send())

    def _begin_wakings(self, members: Sequence[str]) -> list[asyncio.Task[None]]:
        import asyncio

        begun = [asyncio.ensure_future(self._wake()) for _ in members]
        self._tasks.update(begun)
        for task in begun:
            task.add_done_callback(self._tasks.discard)
        return begun

    async def round(self) -> list[asyncio.Task[None]]:
        """Begin one round, and return its wakings. See `Worker.round`."""
        if self._heartbeat_is_due():
            (workers,) = await self._each(heartbeat, [Heartbeat(self.name, self._lease)])
            requests = list(self._requests(workers))
            self._leased(requests, await self._each(lease, requests))
        if self._memory_is_due():
            with suppress(VimbisoError):
                self._take_memory(await self._manager.ask(ReadUsage()))
        reads = list(self._reads(self._manager._base.clock.returns))
        with suppress(VimbisoError):
            reads = self._due_of(reads, [await self._manager.ask(asked) for asked in self._asks(reads)])
        return self._begin_wakings(self._read(reads, await self._each(due_members, reads)))

    async def _each(self, operation: Callable[[Context, Q], Operation[R]], requests: Sequence[Q]) -> list[R | None]:
        """Perform requests at the same time, by an operation that puts damage aside."""
        import asyncio

        asked = (self._manager._operate(_begin(operation, request)) for request in requests)
        return self._answers(await asyncio.gather(*asked, return_exceptions=True))

    async def leave(self) -> None:
        """Wait for the wakings, and return the shards. See `Worker.leave`."""
        import asyncio

        if self._tasks:
            await asyncio.wait(set(self._tasks))
        try:
            await self._each(lease, [Lease(shard, self.name, 0) for shard in sorted(self._held)])
            await self._each(heartbeat, [Heartbeat(self.name, 0)])
        finally:
            self._held.clear()

    async def _wake(self) -> None:
        async with self._width:
            member = self._most_urgent()
            try:
                archived = (await self._manager.archive(member)).entries if self._manager.archives else 0
                self._woken(member, await self._manager.wake(member), archived)
            except Exception as error:  # noqa: BLE001  # a failure at one member does not stop the others
                if self._failed(member, error):
                    with suppress(VimbisoError):
                        await self._manager.ask(self._incident(member, error, self._manager.now()))
            finally:
                self._ended(member)
