"""Damage to keys that belong to no single member, under load: due sets, leases, the set of workers, the index.

Each round spoils a few keys in ways drawn from the seed, while members confirm sales and workers wake members. All else
must go on, and each entry that was put aside must be an incident.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any, Final

from tests.engines import valkey_program
from tests.faults.bot import till_bot
from tests.faults.checker import check
from tests.faults.clock import Clock, Clocked
from tests.faults.members import Person, deliver
from tests.faults.records import Folder, LedgerTill
from tests.faults.replies import people_for
from tests.faults.row import Profile, Report, folder, row
from tests.faults.server import OwnServer, own_server
from tests.faults.wakes import TIMEOUT, Deliverer, ask_for_confirmations, check_timers
from tests.faults.worker import logged
from vimbiso_fsm.runtime.flow_state import FlowStateManager
from vimbiso_fsm.runtime.worker import Worker
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.store.requests import shard_of
from vimbiso_fsm.store.retention import SHARDS
from vimbiso_fsm.testing.chat import STORE_SECRET

__all__ = ["broken_due_sets"]

PAUSE: Final = 0.01
"""Seconds between two acts of damage."""
LIMIT: Final = 30.0
"""Seconds after which timers that have not fired count as lost."""


class _Spoiler:
    """Spoils keys in ways drawn from a seed.

    Attributes:
        done: How often each kind of key was spoilt.
    """

    def __init__(self, client: Any, chance: random.Random, members: Sequence[str], kinds: Sequence[str]) -> None:
        self.done = Counter[str]()
        self._client, self._chance = client, chance
        self._members, self._kinds = members, kinds
        self._stopped = threading.Event()

    def act(self, kind: str = "") -> None:
        """Spoil one key, of a kind that is drawn if it is not given."""
        kind = kind or self._chance.choice(self._kinds)
        if getattr(self, f"_spoil_{kind}")():
            self.done[kind] += 1

    @contextmanager
    def running(self) -> Generator[None]:
        """Spoil keys in a thread inside the block."""

        def run() -> None:
            while not self._stopped.wait(PAUSE):
                self.act()

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            thread.join()

    def _retype(self, key: bytes) -> None:
        with self._client.pipeline(transaction=True) as together:
            together.delete(key).rpush(key, "x")
            together.execute()

    def _spoil_due(self) -> bool:
        """Put an entry into the due set of a member's shard that cannot be one, or replace the set."""
        shard = shard_of(self._chance.choice(self._members))
        key = b"vimbiso:{%d}:due" % shard
        elsewhere = next(each for each in map(str, range(10 * SHARDS)) if shard_of(each) != shard)
        entry = self._chance.choice((b"member-\xff", elsewhere.encode(), b"", None))
        if entry is None:
            self._retype(key)
        elif self._client.type(key) in (b"zset", b"none"):
            self._client.zadd(key, {entry: 0.0})
        return True

    def _spoil_lease(self) -> bool:
        """Replace the lease of a member's shard."""
        key = b"vimbiso:{%d}:lease" % shard_of(self._chance.choice(self._members))
        if self._chance.random() < 0.5:
            self._retype(key)
        else:
            self._client.set(key, b"\xff")
        return True

    def _spoil_workers(self) -> bool:
        """Put a worker that is no text into the set of workers, or replace the set."""
        if self._chance.random() < 0.5:
            self._retype(b"vimbiso:workers")
        elif self._client.type("vimbiso:workers") in (b"zset", b"none"):
            self._client.zadd("vimbiso:workers", {b"\xff": 9e9})
        return True

    def _spoil_index(self) -> bool:
        """Replace the entry of a channel: by another type, by what is no text, or by the name of another member."""
        keys = sorted(self._client.scan_iter("vimbiso:*:channel:*", count=10_000))
        if not keys:
            return False
        key = self._chance.choice(keys)
        value = self._chance.choice((None, b"\xff\xfe", b"membex-1", self._chance.choice(self._members).encode()))
        if value is None:
            self._retype(key)
        else:
            self._client.set(key, value)
        return True


def _met(manager: FlowStateManager) -> Counter[str]:
    """Count the incidents of damage, by the kind of the key."""
    return Counter(incident.detail["key"] for incident in manager.incidents() if incident.kind == "damage")


def _check_incidents(manager: FlowStateManager, client: Any, wanted: set[str], report: Report) -> None:
    """Check that damage of each wanted kind was met and put aside, with an incident."""
    met = _met(manager)
    asides = sum(1 for _ in client.scan_iter("vimbiso:*:aside:*", count=10_000))
    report.demand(wanted <= met.keys(), f"damage of the kinds {wanted - met.keys()} was never met")
    report.demand(asides, "nothing was put aside")
    report.count(incidents=met.total(), asides=asides)


@row(
    "broken-entry",
    "broken entries in due sets, leases, worker sets and the index",
    "the rest goes on, each an incident",
)
def broken_entry(profile: Profile, seed: int) -> Report:
    """Spoil shared keys while members confirm sales, and then while workers run timers."""
    report = Report()
    _confirm(profile.of(100, 1_000), seed, report)
    timers = broken_due_sets(profile.of(60, 400), seed)
    report.count(**timers.counts)
    report.wrong += timers.wrong
    return report


def _confirm(confirmations: int, seed: int, report: Report) -> None:
    """Let members confirm at a manager that knows no member by heart, beside a worker."""
    people = people_for(confirmations, 5)
    with folder() as records, own_server(valkey_program()) as server, logged(records), ExitStack() as stack:
        client = stack.enter_context(server.client())
        store = stack.enter_context(AtomicStateManager.from_url(server.url, secret=STORE_SECRET))
        clock = Clock()
        settings: dict[str, Any] = {"deliver": records.deliverer, "cache": 0, "rates": None}
        manager = stack.enter_context(
            FlowStateManager(till_bot(LedgerTill(records)), Clocked(store, clock), **settings)
        )

        def talk(person: Person) -> None:
            for message in person.messages:
                if deliver(manager, person, message, records, clock) is None:
                    return

        members = [person.member_id for person in people]
        spoiler = _Spoiler(client, random.Random(seed), members, ("index", "index", "due", "lease", "workers"))
        with _awake(server, records, report, Clock(), None), spoiler.running(), ThreadPoolExecutor(8) as pool:
            list(pool.map(talk, people))
        check(server.url, records, people, report)
        for _ in people:
            spoiler.act("index")
        for person in people:
            owner = manager.handle(person.message("after", "?")).state.member_id
            report.demand(owner == person.member_id, f"{person.number}: the channel leads to {owner}")
        _check_incidents(manager, client, {"FindOwner"}, report)
        report.count(spoilt=spoiler.done.total())


def broken_due_sets(count: int, seed: int, *, limit: float = LIMIT) -> Report:
    """Let timers of members fire at two workers whose due sets, leases and register are spoilt all the time.

    Args:
        count: The number of members.
        seed: The seed of the damage.
        limit: Seconds after which timers that have not fired count as lost.
    """
    report, wanted = Report(), {"ReadDue", "Heartbeat", "Lease"}
    people = [Person(number, 1) for number in range(1, count + 1)]
    with folder() as records, own_server(valkey_program()) as server, logged(records), server.client() as client:
        clock = Clock()
        ask_for_confirmations(server.url, records, people, clock)
        clock.forward(TIMEOUT + 1)
        members = [person.member_id for person in people]
        spoiler = _Spoiler(client, random.Random(seed), members, ("due", "lease", "workers"))
        with (
            _awake(server, records, report, clock, TIMEOUT) as told,
            _awake(server, records, report, clock, TIMEOUT),
            spoiler.running(),
            AtomicStateManager.from_url(server.url, secret=STORE_SECRET) as store,
        ):
            manager = FlowStateManager(till_bot(LedgerTill(records)), store)
            until = time.monotonic() + limit
            while (told() < count or not wanted <= _met(manager).keys()) and time.monotonic() < until:
                time.sleep(0.02)
        check_timers(server.url, records, people, report)
        with AtomicStateManager.from_url(server.url, secret=STORE_SECRET) as store:
            _check_incidents(FlowStateManager(till_bot(LedgerTill(records)), store), client, wanted, report)
        report.count(spoilt=spoiler.done.total())
    return report


@contextmanager
def _awake(
    server: OwnServer, records: Folder, report: Report, clock: Clock, timeout: float | None
) -> Generator[Callable[[], int]]:
    """Run a worker inside the block; yield how many members were told something. No waking may fail."""
    bot = till_bot(LedgerTill(records), timeout=timeout)
    with (
        AtomicStateManager.from_url(server.url, secret=STORE_SECRET) as store,
        FlowStateManager(bot, Clocked(store, clock), deliver=Deliverer(records)) as manager,
    ):
        worker = Worker(manager, every=0.05, lease=0.6)
        thread = threading.Thread(target=worker.run)
        thread.start()
        try:
            yield lambda: len({line["to"] for line in records.noted("told")})
        finally:
            worker.stop()
            thread.join()
        report.count(woken=worker.metrics.woken, failed=worker.metrics.failed)
        report.demand(not worker.metrics.failed, f"{worker.metrics.failed} wakings of a worker failed")
