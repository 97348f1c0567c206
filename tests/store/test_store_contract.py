"""Every law of the store on every engine, and agreement with the model in memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import attrs
import pytest
import redis
import redis.asyncio
import redis.cluster

from tests.deployments import Nodes, cluster
from tests.engines import Server, free_port, running, valkey_program
from tests.faults.mutants import mutated
from vimbiso_fsm.errors import StoreUnavailable
from vimbiso_fsm.store import memory as model
from vimbiso_fsm.store.memory import AsyncMemoryStore, MemoryStore
from vimbiso_fsm.store.pipeline import Answer
from vimbiso_fsm.store.redis_atomic import AsyncAtomicStateManager, AtomicStateManager
from vimbiso_fsm.store.requests import (
    Commit,
    Committed,
    Conflict,
    Duplicate,
    Entry,
    Head,
    Late,
    Lease,
    Leased,
    Load,
    MarkSent,
    Quarantine,
    ReadAudit,
    ReadIncidents,
    RecordIncident,
    Request,
    SetWakeUp,
    Store,
    Stored,
    Wipe,
    shard_of,
)
from vimbiso_fsm.store.retention import AUDIT_LIFE
from vimbiso_fsm.testing.store_agreement import _STEP, _Pair, check_agreement
from vimbiso_fsm.testing.store_contract import LAWS, Law, Make, check_namespaces, check_store, waiting


def sync_manager(url: str) -> Make:
    """Return a function that makes a store on the server at a URL."""
    return lambda: AtomicStateManager.from_url(url)


def async_manager(url: str) -> Make:
    """Return a function that makes an async store on the server at a URL, driven as a sync one."""
    return lambda: waiting(lambda: AsyncAtomicStateManager.from_url(url))


def memory() -> MemoryStore:
    """Return a store in memory on the clock of the machine."""
    return MemoryStore(time.time)


MANAGERS: dict[str, Callable[[str], Make]] = {"sync": sync_manager, "async": async_manager}


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
class TestLaws:
    def test_in_memory(self, law: Law):
        """Every rule holds in memory."""
        law(memory())

    def test_in_memory_awaited(self, law: Law):
        """Every rule holds in memory for the async store."""
        with waiting(lambda: AsyncMemoryStore(memory())) as store:
            law(store)

    @pytest.mark.parametrize("manager", MANAGERS)
    def test_on_an_engine(self, law: Law, manager: str, server: Server):
        """Every rule holds on a server, for both managers."""
        made = MANAGERS[manager](server.url)()
        assert not isinstance(made, MemoryStore)
        with made as store:  # type: ignore[union-attr]  # both are context managers
            law(store)


@pytest.mark.parametrize("manager", MANAGERS)
def test_an_engine_agrees_with_the_model(manager: str, server: Server):
    """A manager on a server answers generated programs as the store in memory does."""
    check_agreement(MANAGERS[manager](server.url))


def test_the_model_agrees_with_itself():
    """The generated programs have one answer on the store in memory."""
    check_agreement(memory)


@pytest.fixture(scope="module")
def cluster_port() -> Generator[int, None, None]:
    """Start a cluster of one node with all slots, which refuses keys in two slots."""
    port = free_port()
    with running(valkey_program(), "--cluster-enabled", "yes", port=port) as server, server.client() as client:
        client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
        ready: Any = {}
        while ready.get("cluster_state") != "ok":
            time.sleep(0.01)
            ready = client.execute_command("CLUSTER INFO")
        yield port


@pytest.fixture(scope="module")
def three_nodes() -> Generator[Nodes, None, None]:
    """Start a cluster of three nodes."""
    with cluster(valkey_program()) as nodes:
        yield nodes


@pytest.mark.embedded
class TestCluster:
    def test_laws_and_agreement(self, cluster_port: int):
        """Every rule holds on a cluster of one node."""
        with closing(redis.cluster.RedisCluster(host="127.0.0.1", port=cluster_port)) as client:
            check_store(lambda: AtomicStateManager(client))
            client.script_flush()
            check_agreement(lambda: AtomicStateManager(client), examples=10)

    def test_laws_and_agreement_awaited(self, cluster_port: int):
        """Every rule holds on a cluster of one node for the async manager."""

        @contextmanager
        def make() -> Generator[Store, None, None]:
            client = redis.asyncio.RedisCluster(host="127.0.0.1", port=cluster_port)
            with waiting(lambda: AsyncAtomicStateManager(client)) as store:
                yield store
                store.runner.run(client.aclose())  # type: ignore[attr-defined]  # the runner of `waiting`

        with closing(redis.cluster.RedisCluster(host="127.0.0.1", port=cluster_port)) as client:
            client.script_flush()
        check_store(make)
        check_agreement(make, examples=10)

    def test_a_reply_of_another_request_drops_the_connections(self, cluster_port: int, monkeypatch):
        """A reply of another request drops the connections to a cluster, and the next request works."""

        async def no_reply(*_: object) -> Answer:
            return [], True

        with (
            closing(redis.cluster.RedisCluster(host="127.0.0.1", port=cluster_port)) as client,
            AtomicStateManager(client) as manager,
        ):
            manager.load("m")
            monkeypatch.setattr(manager, "_call", no_reply)
            with pytest.raises(StoreUnavailable, match="the cluster: a reply belonged to another"):
                manager.load("m")
            monkeypatch.undo()
            assert isinstance(manager.load("m"), Stored)

    def test_a_reply_of_another_request_drops_the_connections_awaited(self, cluster_port: int, monkeypatch):
        """The async manager drops its connections to a cluster too."""

        async def no_reply(*_: object) -> Answer:
            return [], True

        async def mix_up() -> None:
            async with (
                redis.asyncio.RedisCluster(host="127.0.0.1", port=cluster_port) as client,
                AsyncAtomicStateManager(client) as manager,
            ):
                await manager.load("m")
                monkeypatch.setattr(manager, "_call", no_reply)
                with pytest.raises(StoreUnavailable, match="the cluster: a reply belonged to another"):
                    await manager.load("m")
                monkeypatch.undo()
                assert isinstance(await manager.load("m"), Stored)

        asyncio.run(mix_up())


@pytest.mark.embedded
@pytest.mark.parametrize("manager", MANAGERS)
def test_laws_and_agreement_on_three_nodes(manager: str, three_nodes: Nodes):
    """Every rule holds on a cluster of three nodes."""
    for node in three_nodes.nodes:
        with node.client() as client:
            client.script_flush()
    check_store(MANAGERS[manager](three_nodes.url))
    check_agreement(MANAGERS[manager](three_nodes.url), examples=20)


# The checks have teeth ---------------------------------------------------------------------------------------------


@attrs.define
class Faulty:
    """A store with one fault: `spoil` may answer a request itself."""

    spoil: Callable[[Store, Request], Any]
    store: Store = attrs.field(factory=memory)

    def perform(self, request: Request) -> Any:
        """Return the answer of `spoil`, or the right one."""
        answer = self.spoil(self.store, request)
        return self.store.perform(request) if isinstance(answer, str) else answer


def forgets_tokens(store: Store, request: Request) -> Any:
    """Perform a commit under another token, so that no commit is a duplicate."""
    if not isinstance(request, Commit):
        return "as it is"
    return store.perform(attrs.evolve(request, token=f"{request.token} {time.monotonic_ns()}"))


def takes_any_head(store: Store, request: Request) -> Any:
    """Repeat a commit that conflicts on the stored head."""
    answer = store.perform(request)
    if not isinstance(request, Commit) or request.entry is None or not isinstance(answer, Conflict):
        return answer
    head = answer.current.head
    entry = attrs.evolve(request.entry, version=head.version + 1)
    return store.perform(attrs.evolve(request, expected=head, entry=entry))


def is_never_late(store: Store, request: Request) -> Any:
    """Perform a commit without its deadline."""
    return store.perform(attrs.evolve(request, not_after=None)) if isinstance(request, Commit) else "as it is"


def verifies_anything(store: Store, request: Request) -> Any:
    """Answer a commit without a document with success."""
    if isinstance(request, Commit) and request.document is None:
        return Committed(request.expected, 0.0)
    return "as it is"


def quarantines_nothing(store: Store, request: Request) -> Any:
    """Answer a quarantine with what is stored, and quarantine nothing."""
    return store.perform(Load(request.member_id)) if isinstance(request, Quarantine) else "as it is"


def sets_no_wake_up(store: Store, request: Request) -> Any:
    """Perform no change of a wake-up."""
    return None if isinstance(request, SetWakeUp) else "as it is"


def notes_nothing(store: Store, request: Request) -> Any:
    """Note no sent reply."""
    return None if isinstance(request, MarkSent) else "as it is"


def says_nothing_is_stored(store: Store, request: Request) -> Any:
    """Answer that nothing is stored beside a conflict, a late commit or a duplicate."""
    answer = store.perform(request)
    if isinstance(answer, Conflict | Late | Duplicate):
        return attrs.evolve(answer, current=Stored(Head(), None, answer.current.at))
    return answer


SPOILERS = (
    forgets_tokens,
    takes_any_head,
    is_never_late,
    verifies_anything,
    quarantines_nothing,
    sets_no_wake_up,
    notes_nothing,
    says_nothing_is_stored,
)


@pytest.mark.parametrize("spoil", SPOILERS, ids=lambda spoil: spoil.__name__)
def test_a_faulty_store_breaks_a_law(spoil):
    """Each faulty store breaks a rule that is checked."""
    with pytest.raises(AssertionError):
        check_store(lambda: Faulty(spoil))


@pytest.mark.parametrize("spoil", [forgets_tokens, is_never_late], ids=lambda spoil: spoil.__name__)
def test_a_faulty_store_disagrees_with_the_model(spoil):
    """The generated programs find a faulty store."""
    with pytest.raises(AssertionError, match="the model answers"):
        check_agreement(lambda: Faulty(spoil), examples=500)


def test_a_program_that_fails_leaves_no_lease():
    """After a program that shows a fault its shards are free, so that the next program does not find another fault."""
    store, leased = Faulty(is_never_late), attrs.evolve(_STEP, kind="lease", inherits=True)
    pair = _Pair(store, MemoryStore)
    shard = shard_of(pair._member(leased.member))
    with pytest.raises(AssertionError, match="the model answers"):
        pair.run([leased, attrs.evolve(_STEP, deadline=-3600.0)])
    assert store.perform(Lease(shard, "another", 1.0)) == Leased("another")


@pytest.mark.parametrize("mutant", ["no age", "all ages at once"])
def test_a_script_that_drops_none_or_all_by_age_breaks_a_law(mutant: str, server: Server):
    """A script that drops too few or too many expired entries breaks a rule that is checked."""
    with mutated(mutant), pytest.raises(AssertionError, match="the entries kept by a commit"):
        check_store(sync_manager(server.url))


def test_a_script_that_drops_none_by_age_disagrees_with_the_model(server: Server):
    """The generated programs find a script that drops no expired entries."""
    with mutated("no age"), pytest.raises(AssertionError, match="the model answers"):
        check_agreement(sync_manager(server.url))


# Whatever appends drops what is too old ----------------------------------------------------------------------------


def appended(at: Callable[[float], Store]) -> tuple[Any, Any]:
    """Append two entries and incidents of which the first is too old, then wipe and report; return the rest.

    `at`: returns the store with its clock moved by a number of seconds.
    """
    head = Head()
    for number, shift in enumerate((0.0, 7200.0), 1):
        entry = Entry(number, f"d{number}", b"body")
        made = at(shift).perform(Commit("m", head, f"t{number}", "t", "said", b"{}", entry))
        assert isinstance(made, Committed)
        head = made.head
        at(shift).perform(RecordIncident("m", b"incident %d" % number))
    late = at(AUDIT_LIFE + 3600.0)
    assert isinstance(late.perform(Wipe("m", head, Entry(3, "d3", b"wiped"))), Committed)
    late.perform(RecordIncident("m", b"incident 3"))
    return late.perform(ReadAudit("m")), late.perform(ReadIncidents("m"))


LEFT = ((Entry(2, "d2", b"body"), Entry(3, "d3", b"wiped")), (b"incident 2", b"incident 3"))


def test_a_wipe_and_an_incident_drop_expired_entries(server: Server):
    """A wipe and an incident drop expired entries as a commit does."""
    with ExitStack() as closing:
        assert appended(lambda by: closing.enter_context(AtomicStateManager.from_url(server.url, shift=by))) == LEFT


def test_a_wipe_and_an_incident_drop_expired_entries_in_memory():
    """In memory, a wipe and an incident drop expired entries as a commit does."""
    now = [0.0]
    store = MemoryStore(lambda: 1_000.0 + now[0])

    def at(shift: float) -> Store:
        now[0] = shift
        return store

    assert appended(at) == LEFT


# The model in its own right ----------------------------------------------------------------------------------------


def test_the_model_keeps_to_its_clock():
    """The store in memory answers with the instant of its clock."""
    now = [1_000.0]
    store = MemoryStore(lambda: now[0])
    answer = store.perform(Load("m"))
    assert answer == Stored(Head(), None, 1_000.0)
    now[0] += 0.5
    assert store.perform(Load("m")) == Stored(Head(), None, 1_000.5)


def test_the_model_drops_what_is_beyond_its_count_together(monkeypatch: pytest.MonkeyPatch):
    """In memory, too, a reader sees no more than the count, and what is beyond it is dropped together."""
    monkeypatch.setattr(model, "INCIDENTS_KEPT", 3)
    monkeypatch.setattr(model, "TRIMMED_AT_ONCE", 2)
    store, kept = MemoryStore(lambda: 1_000.0), list[int]()
    for number in range(1, 8):
        store.perform(RecordIncident("m", b"%d" % number))
        kept.append(len(store._incidents["m"]))
        latest = [b"%d" % each for each in range(1, number + 1)][-3:]
        assert [*store.perform(ReadIncidents("m"))] == latest
    assert kept == [1, 2, 3, 4, 5, 3, 4]


@pytest.mark.embedded
def test_two_namespaces_of_a_server_do_not_see_each_other(valkey_url: str):
    """A store of one namespace answers as if the other were not there, by both managers."""
    check_namespaces(lambda namespace: AtomicStateManager.from_url(valkey_url, namespace=namespace))
    check_namespaces(
        lambda namespace: waiting(lambda: AsyncAtomicStateManager.from_url(valkey_url, namespace=namespace))
    )


@pytest.mark.embedded
def test_a_store_without_namespaces_is_found_out(valkey_url: str):
    """The check fails on stores that use one namespace for both."""
    with pytest.raises(AssertionError, match="other"):
        check_namespaces(lambda _: AtomicStateManager.from_url(valkey_url))


@pytest.mark.embedded
def test_the_laws_hold_in_a_namespace(valkey_url: str):
    """A namespace is a store like any other."""
    check_store(lambda: AtomicStateManager.from_url(valkey_url, namespace="bank"))
    check_agreement(lambda: AtomicStateManager.from_url(valkey_url, namespace="bank"), examples=10)
