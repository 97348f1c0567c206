"""The workers: the shards of each, the members that they wake, and the failures that they survive."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from types import SimpleNamespace
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bots import fruit_bot
from tests.digests import guest_id
from tests.engines import Proxy, Server
from tests.examples import examples
from tests.shells import Shell, Watched
from vimbiso_fsm.audit.entries import AuditEntry, entry_for
from vimbiso_fsm.document.ids import instant
from vimbiso_fsm.errors import NewerState, StoreUnavailable
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.calls import Call, Caller, call
from vimbiso_fsm.flow.flow import Flow, NoData
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.flow.turn import Turn
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.replies import Reply, Text
from vimbiso_fsm.messages.sending import Answer, Later, Never, Sent
from vimbiso_fsm.runtime.flow_state import FlowStateManager
from vimbiso_fsm.runtime.worker import REASONS, STALLED, AsyncWorker, Metrics, Worker, shards_of
from vimbiso_fsm.store.layout import Keys
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.store.requests import (
    Heartbeat,
    Lease,
    Leased,
    Load,
    ReadDue,
    ReadDueShards,
    Request,
    SetWakeUp,
    Stored,
    shard_of,
)
from vimbiso_fsm.store.retention import DAY, SHARDS
from vimbiso_fsm.testing.chat import STORE_SECRET, Clock

LIMIT = 30.0
"""Seconds after which something that must happen has failed; no test needs it to pass in time."""
Kind = Literal["sync", "async"]


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> Kind:
    """The kind of the worker."""
    found: Kind = request.param
    return found


# Whose shard ------------------------------------------------------------------------------------------------------

workers = st.lists(st.text(max_size=12), min_size=1, max_size=6, unique=True)


@examples(15)
@given(workers)
def test_each_shard_falls_to_exactly_one(names: list[str]):
    """Each shard belongs to one worker, whatever the names and the order of the list."""
    found = [shard for name in names for shard in shards_of(name, reversed(names))]
    assert sorted(found) == list(range(SHARDS))


@examples(15)
@given(workers, st.text(max_size=12))
def test_a_worker_that_starts_or_stops_moves_its_own_shards(names: list[str], new: str):
    """A worker that starts or stops moves only its own shards."""
    for name in names:
        if name != new:
            assert set(shards_of(name, [*names, new])) <= set(
                shards_of(name, [other for other in names if other != new])
            )


@examples(15)
@given(st.integers(2, 8), st.integers(0, 10**9))
def test_shards_fall_about_evenly(count: int, seed: int):
    """No worker has more than twice or less than half of an even share of the shards."""
    names = [f"worker-{seed + number:x}" for number in range(count)]
    for name in names:
        assert 0.5 < len(shards_of(name, names)) / (SHARDS / count) < 2


def test_a_worker_that_is_not_listed_counts_itself():
    """A worker that is not in the list counts itself."""
    assert shards_of("a", []) == tuple(range(SHARDS))
    assert set(shards_of("a", ["b"])) | set(shards_of("b", ["a"])) == set(range(SHARDS))


# Deliveries that fail ------------------------------------------------------------------------------------------------


def failed_delivery(answer: Never) -> AuditEntry:
    """Return the entry of a delivery that a channel has refused."""
    return entry_for(
        "delivery", "token", member_id="m-1", version=2, at=instant(0), channel=("sms", ""),
        status="failed", detail={"answer": "never", "reason": answer.reason},
    )  # fmt: skip


# A bot that counts -------------------------------------------------------------------------------------------------


class Waiter:
    """A service that holds up the calls of some members until a test releases them."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.held: list[str] = []

    def wait(self, who: str, *, caller: Caller = Caller()) -> str:  # noqa: B008
        """Answer when the test allows it."""
        if who.startswith("slow"):
            self.held.append(who)
            assert self.go_on.wait(LIMIT)
        return "done"


def waits(turn: Turn[NoData]) -> Call[str]:
    """Call for the member on this channel."""
    return call(Waiter.wait, who=turn.channel.identifier)


def timed(timeout: float, waiter: Waiter | None = None) -> Bot:
    """Return a bot that says "late" once at a timeout, and then makes a call."""
    flow = Flow(
        "timed", initial="ask", session=1_000_000,
        states=[
            State("ask", ask=Text("?"), timeout=timeout),
            State("calling", call=waits),
            State("late", ask=Text("late")),
        ],
        transitions=[
            Transition("timeout", "ask", "calling"),
            Transition("done", "calling", "late"),
            Transition("failed", "calling", "late"),
            Transition("go", "late", "ask"),
        ],
    )  # fmt: skip
    return Bot(flows=flow, services={"waiter": waiter or Waiter()})


class Heard:
    """Counts deliveries by channel."""

    def __init__(self) -> None:
        self.by = Counter[str]()
        self.lock = threading.Lock()

    def __call__(self, channel: Channel, replies: Sequence[Reply]) -> None:
        with self.lock:
            self.by[channel.identifier] += 1


def channels(count: int, prefix: str = "n") -> list[Channel]:
    """Return this number of members on different shards."""
    return [Channel("whatsapp", f"{prefix}{number:03}") for number in range(count)]


def begin(shell: Shell, who: Sequence[Channel]) -> None:
    """Let each member begin, so that a timer is set."""
    for channel in who:
        shell.handle(shell.message("hi", channel=channel))


def until(holds: Callable[[], Any]) -> None:
    """Wait until a condition holds, while threads go on."""
    end = time.monotonic() + LIMIT
    while not holds():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.005)


def moves(clock: Clock, seconds: float, *shells: Shell) -> None:
    """Advance the clock, and let the manager read it from the store."""
    clock.at += seconds
    for shell in shells:
        shell.do("state", "nobody")


async def until_awaited(holds: Callable[[], Any]) -> None:
    """Wait until a condition holds, while tasks go on."""
    async with asyncio.timeout(LIMIT):
        while not holds():  # noqa: ASYNC110  # what is waited for is no event
            await asyncio.sleep(0.005)


def worker_of(shell: Shell, **options: Any) -> Any:
    """Return a worker on the manager."""
    return (Worker if shell.kind == "sync" else AsyncWorker)(shell.manager, **options)


def rounds(shell: Shell, worker: Any, count: int = 1) -> None:
    """Run this number of rounds, each to the end of its wakings."""
    for _ in range(count):
        begun = shell.run(worker.round()) if shell.kind == "sync" else shell.run(_round(worker))
        for future in begun if shell.kind == "sync" else ():
            future.result(LIMIT)


async def _round(worker: AsyncWorker) -> list[Any]:
    begun = await worker.round()
    if begun:
        await asyncio.wait(begun, timeout=LIMIT)
    return begun


# Rounds in memory ----------------------------------------------------------------------------------------------------


def test_all_members_are_woken_once_after_the_clock_has_returned(kind: Kind):
    """When the store's clock has returned, a worker wakes all members once, and timers fire after their spans."""
    clock, heard = Clock(), Heard()
    clock.at = time.time()
    with Shell(kind, timed(60), MemoryStore(clock, secret=STORE_SECRET), deliver=heard) as shell:
        who = channels(10)
        worker = worker_of(shell)
        rounds(shell, worker)
        clock.at += 9 * DAY
        rounds(shell, worker)
        begin(shell, who)
        moves(clock, -9 * DAY, shell)
        rounds(shell, worker, 3)
        assert (worker.metrics.woken, worker.metrics.done) == (10, {"clock": 10})
        moves(clock, 61, shell)
        rounds(shell, worker)
        assert heard.by == {channel.identifier: 1 for channel in who}
        assert [(one.kind, one.detail["returned"]) for one in shell.do("incidents")] == [
            ("clock", False),
            ("clock", True),
        ]


def test_one_worker_wakes_members_on_many_shards(kind: Kind):
    """One worker wakes each due member once, on any shard."""
    clock, heard = Clock(), Heard()
    with Shell(kind, timed(60), MemoryStore(clock, secret=STORE_SECRET), deliver=heard) as shell:
        who = channels(40)
        begin(shell, who)
        assert len({shard_of(guest_id(channel)) for channel in who}) > 20
        worker = worker_of(shell)
        rounds(shell, worker)
        assert heard.by == {}
        moves(clock, 61, shell)
        rounds(shell, worker)
        assert heard.by == {channel.identifier: 1 for channel in who}
        rounds(shell, worker)
        assert worker.metrics.woken == 40
        assert worker.metrics.done["timer"] == 40
        assert worker.metrics.failed == 0
        shell.run(worker.leave())


def test_the_time_is_the_stores(kind: Kind):
    """A worker whose own clock is behind wakes members by the store's clock."""
    # A fault of an earlier release: the answers had no instant, so the worker used the clock of its machine.
    heard = Heard()
    store = MemoryStore(lambda: time.time() + 3600, secret=STORE_SECRET)
    with Shell(kind, timed(60), store, deliver=heard) as shell:
        begin(shell, channels(1))
    later = MemoryStore(lambda: time.time() + 3600 + 61, secret=STORE_SECRET)
    later.__dict__.update({name: value for name, value in store.__dict__.items() if name != "_clock"})
    with Shell(kind, timed(60), later, deliver=heard) as fresh:
        worker = worker_of(fresh)
        rounds(fresh, worker, 2)
        assert sum(heard.by.values()) == 1
        fresh.run(worker.leave())


def test_two_workers_share_the_shards_and_no_member_is_woken_by_both(kind: Kind):
    """Two workers share the shards, and each member is woken once."""
    clock, heard = Clock(), Heard()
    store = MemoryStore(clock, secret=STORE_SECRET)
    with Shell(kind, timed(60), store, deliver=heard) as one, Shell(kind, timed(60), store, deliver=heard) as two:
        who = channels(30)
        begin(one, who)
        first, second = worker_of(one, name="a", lease=0.001), worker_of(two, name="b", lease=0.001)
        pair = ((one, first), (two, second))
        moves(clock, 61, one, two)
        for _ in range(3):  # attends anew each round; the first gives back what falls to the second
            for shell, worker in pair:
                shell.run(worker.round()) if shell.kind == "sync" else shell.run(_round(worker))
                clock.at += 0.0001
        until(lambda: sum(heard.by.values()) >= 30)
        assert heard.by == {channel.identifier: 1 for channel in who}
        for shell, worker in pair:
            shell.run(worker.leave())


def test_a_worker_that_dies_is_replaced_when_its_lease_ends(kind: Kind):
    """The shards of a dead worker are leased by another one after the lease, and not before."""
    clock, heard = Clock(), Heard()
    store = MemoryStore(clock, secret=STORE_SECRET)
    with Shell(kind, timed(60), store, deliver=heard) as shell:
        who = channels(10)
        begin(shell, who)
        for shard in range(SHARDS):
            assert store.perform(Lease(shard, "dead", 90)) == Leased("dead")
        store.perform(Heartbeat("dead", 90))
        worker = worker_of(shell, lease=0.001)
        moves(clock, 61, shell)
        rounds(shell, worker, 2)
        assert heard.by == {}
        moves(clock, 30, shell)
        rounds(shell, worker, 2)
        assert heard.by == {channel.identifier: 1 for channel in who}
        shell.run(worker.leave())


def test_leaving_gives_the_shards_back_at_once(kind: Kind):
    """A worker that leaves returns its shards at once."""
    store = MemoryStore(Clock(), secret=STORE_SECRET)
    with Shell(kind, timed(60), store) as shell:
        worker = worker_of(shell, lease=1_000)
        rounds(shell, worker)
        assert worker.metrics.shards == SHARDS
        assert store.perform(Lease(7, "other", 10)) == Leased(worker.name)
        shell.run(worker.leave())
        assert store.perform(Lease(7, "other", 10)) == Leased("other")
        assert store.perform(Heartbeat("other", 10)) == ("other",)


def test_run_in_a_thread_until_stop():
    """`Worker.run` runs in a thread until `stop`, and returns the shards."""
    store, heard = MemoryStore(time.time, secret=STORE_SECRET), Heard()
    with Shell("sync", timed(0.2), store, deliver=heard) as shell:
        worker = Worker(shell.manager, every=0.01)
        thread = threading.Thread(target=worker.run)
        thread.start()
        who = channels(5)
        begin(shell, who)
        until(lambda: len(heard.by) == 5)
        worker.stop()
        thread.join(LIMIT)
        assert not thread.is_alive()
        assert heard.by == {channel.identifier: 1 for channel in who}
        assert store.perform(Lease(7, "other", 10)) == Leased("other")


def test_run_in_a_task_until_stop():
    """`AsyncWorker.run` runs in a task until `stop`, and returns the shards."""
    store, heard = MemoryStore(time.time, secret=STORE_SECRET), Heard()

    async def story(shell: Shell, who: list[Channel]) -> None:
        worker = AsyncWorker(shell.manager, every=0.01)
        task = asyncio.ensure_future(worker.run())
        for channel in who:
            await shell.manager.handle(Message(channel, "m", "hi"))
        await until_awaited(lambda: len(heard.by) == len(who))
        worker.stop()
        await asyncio.wait_for(task, LIMIT)

    with Shell("async", timed(0.2), store, deliver=heard) as shell:
        who = channels(5)
        shell.run(story(shell, who))
        assert heard.by == {channel.identifier: 1 for channel in who}
        assert store.perform(Lease(7, "other", 10)) == Leased("other")


def test_a_cancelled_run_leaves():
    """A cancelled `AsyncWorker.run` returns the shards."""
    store = MemoryStore(time.time, secret=STORE_SECRET)

    async def story(shell: Shell) -> None:
        worker = AsyncWorker(shell.manager, every=0.01)
        task = asyncio.ensure_future(worker.run())
        await until_awaited(lambda: worker.metrics.shards)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with Shell("async", timed(60), store) as shell:
        shell.run(story(shell))
        assert store.perform(Lease(7, "other", 10)) == Leased("other")


# Faults --------------------------------------------------------------------------------------------------------------


@pytest.mark.embedded
def test_a_round_without_due_members_reads_no_shard(valkey_url: str):
    """A round asks for all shards in four requests, and reads those that may have a member who is due."""
    with AtomicStateManager.from_url(valkey_url, secret=STORE_SECRET) as inner:
        asked: Counter[str] = Counter()
        any_store: Any = inner
        store = Watched(any_store)
        store.before = lambda request: asked.update([type(request).__name__])
        manager = FlowStateManager(timed(60), store, rates=None)
        worker = Worker(manager)
        [channel] = channels(1)
        manager.handle(Message(channel, "0", "hi"))
        worker.round()
        asked.clear()
        worker.round()
        assert asked == {"ReadDueShards": 4}
        stored = inner.load(guest_id(channel))
        assert isinstance(stored, Stored)
        inner.perform(SetWakeUp(guest_id(channel), stored.head, 1.0))
        asked.clear()
        for waking in worker.round():
            waking.result()
        assert (asked["ReadDueShards"], asked["ReadDue"]) == (4, 1)
        inner.servers.client.set(Keys().of_shard("due", 7), "of another type")
        asked.clear()
        worker.round()
        assert asked["ReadDue"] == SHARDS, "the damaged due set is not mended"
        asked.clear()
        worker.round()
        assert asked["ReadDue"] <= 1
        worker.leave()


def test_a_store_that_cannot_be_reached_for_a_while_is_survived(kind: Kind):
    """A worker goes on after any request has failed for a while."""
    clock, heard = Clock(), Heard()
    store = Watched(MemoryStore(clock, secret=STORE_SECRET))
    with Shell(kind, timed(60), store, deliver=heard) as shell:
        begin(shell, channels(3))
        worker = worker_of(shell, lease=0.001)
        moves(clock, 61, shell)
        failed = 0
        for fails in (Load, SetWakeUp, Heartbeat, Lease, ReadDueShards | ReadDue):

            def down(request: Request, kind: Any = fails) -> None:
                if isinstance(request, kind):
                    raise StoreUnavailable("down")

            store.before = down
            rounds(shell, worker)
            assert worker.metrics.failed > failed or fails is SetWakeUp
            failed = worker.metrics.failed
        store.before = lambda request: None
        moves(clock, 61, shell)
        rounds(shell, worker, 3)
        assert heard.by == {f"n{number:03}": 1 for number in range(3)}
        shell.run(worker.leave())


@pytest.mark.parametrize("error", [RuntimeError, KeyError, OSError])
def test_a_member_whose_waking_raises_rests_and_delays_no_other(kind: Kind, error: type[Exception]):
    """An unexpected exception at a member is logged and counted, and the member rests before the next try."""
    clock, heard = Clock(), Heard()
    store = Watched(MemoryStore(clock, secret=STORE_SECRET))
    with Shell(kind, timed(60), store, deliver=heard) as shell:
        who = channels(4)
        begin(shell, who)
        cursed = guest_id(who[0])

        def curse(request: Request) -> None:
            if isinstance(request, Load) and request.member_id == cursed:
                raise error("private")

        store.before = curse
        moves(clock, 61, shell)
        worker = worker_of(shell)
        rounds(shell, worker, 3)
        assert heard.by == {channel.identifier: 1 for channel in who[1:]}
        assert worker.metrics.failed == 1
        shell.run(worker.leave())


def test_a_waking_that_fails_is_an_incident_of_its_member(kind: Kind, monkeypatch: pytest.MonkeyPatch):
    """The first failure of a kind at a member is an incident, which names the error and quotes nothing."""
    monkeypatch.setattr("vimbiso_fsm.runtime.worker.REST", 0.0)
    clock = Clock()
    store = Watched(MemoryStore(clock, secret=STORE_SECRET))
    with Shell(kind, timed(60), store) as shell:
        who = channels(1)
        begin(shell, who)
        cursed = guest_id(who[0])
        errors: dict[str, Exception] = {"now": KeyError("private")}

        def curse(request: Request) -> None:
            if isinstance(request, Load) and request.member_id == cursed:
                raise errors["now"]

        store.before = curse
        moves(clock, 61, shell)
        worker = worker_of(shell)
        rounds(shell, worker, 3)
        errors["now"] = NewerState(cursed, "timed", 2)
        rounds(shell, worker, 2)
        errors["now"] = OSError("private")
        rounds(shell, worker, 2)
        assert worker.metrics.failed == 7
        store.before = lambda request: None
        incidents = shell.do("incidents", cursed)
        assert [(each.kind, each.detail["type"]) for each in incidents] == [
            ("waking", "KeyError"),
            ("waking", "OSError"),
        ]
        assert "private" not in str(incidents)
        shell.run(worker.leave())


class HalfDown(Watched):
    """A store on two servers, of which one is down: it has the shards with an odd number.

    Attributes:
        refused: The shards that were asked for in vain.
    """

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.refused: list[int] = []
        self.before = self.refuse

    def place_of(self, request: Any) -> object:
        """Return what stands for the server of a request."""
        return getattr(request, "shard", 0) % 2

    def refuse(self, request: Request) -> None:
        """Refuse what the lost server would answer."""
        shard = getattr(request, "shard", None)
        if shard is not None and shard % 2:
            self.refused.append(shard)
            raise StoreUnavailable("the second server is down")


def test_a_server_that_is_down_costs_only_the_members_on_it_their_wake_ups(kind: Kind):
    """While a server is down, all other shards are leased and read; a sync worker asks it once for each purpose."""
    clock, heard = Clock(), Heard()
    store = HalfDown(MemoryStore(clock, secret=STORE_SECRET))
    with Shell(kind, timed(60), store, deliver=heard) as shell:
        who = channels(40)
        begin(shell, who)
        moves(clock, 61, shell)
        worker = worker_of(shell)
        rounds(shell, worker)
        assert worker.metrics.shards == SHARDS // 2
        assert heard.by == {channel.identifier: 1 for channel in who if shard_of(guest_id(channel)) % 2 == 0}
        assert worker.metrics.failed == 1
        assert kind == "async" or store.refused == [1]
        store.before = lambda request: None
        worker._heartbeat_at = float("-inf")
        rounds(shell, worker)
        assert heard.by == {channel.identifier: 1 for channel in who}
        shell.run(worker.leave())


def test_a_lease_that_cannot_be_renewed_is_kept_in_mind(kind: Kind):
    """A server that does not answer for a moment takes no shard from its worker, which reads them when it is back."""
    clock, heard = Clock(), Heard()
    store = HalfDown(MemoryStore(clock, secret=STORE_SECRET))
    store.before = lambda request: None
    with Shell(kind, timed(60), store, deliver=heard) as shell:
        who = channels(20)
        begin(shell, who)
        worker = worker_of(shell)
        rounds(shell, worker)
        store.before = store.refuse
        worker._heartbeat_at = float("-inf")
        rounds(shell, worker)
        assert worker.metrics.shards == SHARDS
        store.before = lambda request: None
        moves(clock, 61, shell)
        rounds(shell, worker)
        assert heard.by == {channel.identifier: 1 for channel in who}
        shell.run(worker.leave())


def test_slow_calls_delay_no_other_member(kind: Kind):
    """During a slow call of one member the timers of others fire, and that member is not woken again."""
    clock, heard, waiter = Clock(), Heard(), Waiter()
    store = MemoryStore(clock, secret=STORE_SECRET)
    with Shell(kind, timed(60, waiter), store, deliver=heard) as shell:
        slow, quick = channels(3, "slow"), channels(5, "quick")
        begin(shell, [*slow, *quick])
        moves(clock, 61, shell)
        worker = worker_of(shell)
        shell.run(worker.round())
        shell.until(lambda: len(heard.by) == 5 and len(waiter.held) == 3)
        clock.at += 5
        shell.run(worker.round())
        shell.run(worker.round())
        assert sorted(waiter.held) == [channel.identifier for channel in slow]
        assert {channel.identifier for channel in quick} == set(heard.by)
        waiter.go_on.set()
        shell.until(lambda: len(heard.by) == 8)
        assert set(heard.by.values()) == {1}
        shell.run(worker.leave())


def test_the_line_of_metrics():
    """The metrics of a worker are one line of text."""
    metrics = Metrics(Counter(timer=2, call=1), 3, 1, 1024, 2)
    assert str(metrics) == "shards=1024 workers=2 woken=3 failed=1 call=1 timer=2"
    assert str(Metrics()) == "shards=0 workers=0 woken=0 failed=0"


def test_the_line_says_why_deliveries_fail(kind: Kind):
    """A worker counts deliveries that fail by reason: an exception, a pause and a refusal of the channel."""
    clock = Clock()
    given: list[Answer | ConnectionError] = [ConnectionError("10.0.0.7"), Later(60), Never("no", code="131026"), Sent()]
    answers = iter(given)

    def send(channel: Channel, replies: Sequence[Reply]) -> Answer:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with Shell(kind, timed(60), MemoryStore(clock, secret=STORE_SECRET), deliver=send) as shell:
        begin(shell, channels(1))
        worker = worker_of(shell)
        for seconds in (61, 300, 300, 300):
            moves(clock, seconds, shell)
            rounds(shell, worker)
        line = str(worker.metrics)
        shell.run(worker.leave())
    assert "failed=0 undelivered=3 (ConnectionError=1, later=1, never 131026=1)" in line
    assert "10.0.0.7" not in line


def test_reasons_of_failed_deliveries_are_bounded():
    """The line shows the most frequent reasons, and a sender that gives a new one each time fills no memory."""
    metrics = Metrics()
    for number in range(2 * REASONS):
        for _ in range(1 + (number == 7)):
            metrics.count(failed_delivery(Never(f"{number}" + "x" * 500)))
    assert len(metrics.undelivered) == REASONS + 1
    assert metrics.undelivered["other"] == REASONS
    assert len(str(metrics)) < 400
    assert "never 7x" in str(metrics)


def test_names_are_made_up_and_differ():
    """Workers without a name have different names."""
    with Shell("sync", fruit_bot(), MemoryStore(Clock(), secret=STORE_SECRET)) as shell:
        one, two = Worker(shell.manager), Worker(shell.manager)
        assert one.name != two.name
        assert Worker(shell.manager, name="mine").name == "mine"


# On the engine --------------------------------------------------------------------------------------------------------


@pytest.fixture
def store(valkey_url: str) -> Generator[AtomicStateManager]:
    """An empty store on the server."""
    store = AtomicStateManager.from_url(valkey_url, secret=STORE_SECRET)
    yield store
    store.close()


@pytest.mark.embedded
def test_two_workers_on_the_engine_in_two_kinds(valkey_url: str, store: AtomicStateManager):
    """A threaded and an async worker share the members of a server, and one takes over when the other stops."""
    heard = Heard()
    who = channels(20)

    async def story() -> None:
        from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager

        async with AsyncFlowStateManager.from_url(
            valkey_url, timed(0.5), deliver=heard, secret=STORE_SECRET
        ) as manager:
            other = AsyncWorker(manager, name="b", every=0.1, lease=3.0)
            task = asyncio.ensure_future(other.run())
            await until_awaited(lambda: len(heard.by) == 20)
            await until_awaited(lambda: worker.metrics.workers == other.metrics.workers == 2)
            await until_awaited(lambda: worker.metrics.shards + other.metrics.shards == SHARDS)
            other.stop()
            await asyncio.wait_for(task, LIMIT)

    with FlowStateManager.from_url(valkey_url, timed(0.5), deliver=heard, secret=STORE_SECRET) as manager:
        worker = Worker(manager, name="a", every=0.1, lease=3.0)
        thread = threading.Thread(target=worker.run)
        for channel in who:
            manager.handle(Message(channel, "m", "hi"))
        thread.start()
        try:
            asyncio.run(story())
            until(lambda: worker.metrics.shards == SHARDS)
        finally:
            worker.stop()
            thread.join(LIMIT)
        assert heard.by == {channel.identifier: 1 for channel in who}
        for channel in who:
            kinds = [entry.kind for entry in manager.history(guest_id(channel))]
            assert kinds.count("timer") == 1


@pytest.mark.embedded
def test_a_lossy_line_to_the_engine_is_survived(valkey_server: Server, valkey_url: str):
    """Each timer fires once, even if replies of the server are lost."""
    heard = Heard()
    who = channels(6)
    with FlowStateManager.from_url(valkey_url, timed(0.05), secret=STORE_SECRET) as bot:
        for channel in who:
            bot.handle(Message(channel, "m", "hi"))
        with Proxy(valkey_server.socket) as proxy:
            with FlowStateManager.from_url(proxy.url, timed(0.05), deliver=heard, secret=STORE_SECRET) as manager:
                worker = Worker(manager, every=0.01, width=4)
                thread = threading.Thread(target=worker.run)
                proxy.plan = ["lose", "pass", "lose", "pass", "pass"] * 4
                thread.start()
                try:
                    until(lambda: len(heard.by) == 6)
                finally:
                    worker.stop()
                    thread.join(LIMIT)
            assert not thread.is_alive()
        for channel in who:
            kinds = [entry.kind for entry in bot.history(guest_id(channel))]
            assert kinds.count("timer") == 1


def test_both_workers_have_the_same_words():
    """Both workers have the same parameters and public methods."""
    for name in ("__init__", "run", "stop", "round", "leave"):
        one, other = inspect.signature(getattr(Worker, name)), inspect.signature(getattr(AsyncWorker, name))
        assert list(one.parameters) == list(other.parameters)


# Progress ------------------------------------------------------------------------------------------------------------


def test_a_worker_is_stalled_without_a_round_that_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker makes progress with each round; without one for longer than its bound it is stalled."""
    now = 100.0
    monkeypatch.setattr("vimbiso_fsm.runtime.worker.time", SimpleNamespace(monotonic=lambda: now))
    worker = Worker(FlowStateManager.in_memory(fruit_bot()), every=1.0)
    assert not worker.is_stalled()
    now += STALLED + 1
    assert (worker.is_stalled(), worker.stalled_for()) == (True, STALLED + 1)
    worker.round()
    assert (worker.is_stalled(), worker.stalled_for()) == (False, 0.0)
    worker.leave()


def test_a_worker_is_stalled_while_members_wait_and_no_waking_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds are no progress while all places are taken by wakings that do not end, and a member waits for one."""
    now = 100.0
    monkeypatch.setattr("vimbiso_fsm.runtime.worker.time", SimpleNamespace(monotonic=lambda: now))
    worker = Worker(FlowStateManager.in_memory(fruit_bot()), every=1.0)
    now += 500
    worker.round()
    worker._to_wake([("m-1", "m-2")])
    assert worker.stalled_for() == 0.0
    now += STALLED + 1
    worker._read((), ())
    assert worker.is_stalled()
    worker._most_urgent()
    assert not worker.is_stalled()
    worker._most_urgent()
    now += 20
    worker._read((), ())
    assert worker.stalled_for() == 0.0
    worker.leave()
