"""The store on several servers: confirmation by replicas, failovers, and slots of a cluster that move."""

from __future__ import annotations

import asyncio
import re
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import attrs
import pytest
import redis
from redis.crc import key_slot

from tests.bots import fruit_bot
from tests.deployments import (
    SERVICE,
    Handover,
    Nodes,
    Pair,
    Watched,
    at_port,
    cluster,
    on_a_port,
    pair,
    sentinel,
    stopped,
    until,
    watched,
)
from tests.engines import Proxy, Server, redis_program, valkey_program
from tests.shells import Shell
from vimbiso_fsm.errors import CommitUnknown, StoreUnavailable
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.store import servers as connecting
from vimbiso_fsm.store.attempts import ATTEMPTS
from vimbiso_fsm.store.connections import connections_of
from vimbiso_fsm.store.handover import WAKE_MARGIN
from vimbiso_fsm.store.layout import Keys
from vimbiso_fsm.store.redis_atomic import AsyncAtomicStateManager, AtomicStateManager
from vimbiso_fsm.store.requests import (
    NO_HEAD,
    Commit,
    Committed,
    Conflict,
    Duplicate,
    Entry,
    FindOwner,
    Head,
    Inherited,
    Link,
    Load,
    MarkSent,
    Quarantine,
    ReadAudit,
    ReadDigests,
    ReadDue,
    Request,
    SetWakeUp,
    Store,
    Stored,
    Unlink,
    Wipe,
    digest,
    shard_of,
)
from vimbiso_fsm.store.retention import AUDIT_KEPT
from vimbiso_fsm.store.servers import Cluster
from vimbiso_fsm.testing.store_contract import waiting

ENGINES = [
    pytest.param(valkey_program, marks=pytest.mark.embedded, id="valkey"),
    pytest.param(redis_program, marks=pytest.mark.redis, id="redis"),
]
ONE_IN_SHORT = [
    pytest.param(valkey_program, marks=pytest.mark.embedded, id="valkey"),
    pytest.param(redis_program, marks=[pytest.mark.redis, pytest.mark.slow], id="redis"),
]
"""Servers of the tests that wait for their timers, in which the programs do not differ."""
KINDS = pytest.mark.parametrize("kind", ["sync", "async"])
SYNC_IN_SHORT = pytest.mark.parametrize("kind", ["sync", pytest.param("async", marks=pytest.mark.slow)])
REPLICATED: dict[str, Any] = {"durability": "replicated"}


def turn(head: Head = NO_HEAD, *, member: str = "m", token: str = "t", **given: Any) -> Commit:
    """Return the commit of a turn after a head."""
    body = b"%d %b" % (head.version + 1, token.encode())
    entry = Entry(head.version + 1, digest(body), body)
    return Commit(member, head, token, token, "said", b"{}", entry, b"record", **given)


@contextmanager
def manager(kind: str, url: str, **options: Any) -> Generator[Store, None, None]:
    """Return a manager of either kind, driven as a sync one."""
    if kind == "sync":
        with AtomicStateManager.from_url(url, **options) as store:
            yield store
    else:
        with waiting(lambda: AsyncAtomicStateManager.from_url(url, **options)) as store:
            yield store


def calls(server: Server, command: str) -> int:
    """Return how often a server received a command since its statistics were reset."""
    with server.client() as client:
        found: Any = client.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})
    return int(found["calls"])


def tell(server: Server, *words: Any) -> Any:
    """Send a command to a server, and return its reply."""
    with server.client() as client:
        return client.execute_command(*words)


def audit(store: Store, member: str = "m") -> list[str]:
    """Return the tokens of a member's turns that the audit still has, in order."""
    entries = store.perform(ReadAudit(member))
    versions = [entry.version for entry in entries]
    first = versions[0] if versions else 1
    assert versions == list(range(first, first + len(versions)))
    assert first == 1 or len(versions) == AUDIT_KEPT
    return [entry.body.split(b" ", 1)[1].decode() for entry in entries]


def due(tokens: list[str], kept: list[str]) -> set[str]:
    """Return the tokens of a writer that must be kept. A fast writer makes more turns than an audit keeps."""
    if len(kept) < AUDIT_KEPT:
        return set(tokens)

    def number(token: str) -> int:
        return int(token.rpartition("-")[2])

    return {token for token in tokens if number(token) >= number(kept[0])}


@attrs.define
class Writer:
    """Makes turns of one member in a thread until it is stopped, and records the result of each."""

    store: Store
    member: str
    committed: list[str] = attrs.field(factory=list)
    confirmed: list[str] = attrs.field(factory=list)
    refused: int = 0
    unknown: int = 0
    failure: BaseException | None = None
    _over: bool = False

    def told(self) -> str:
        """Return the numbers of each kind of result."""
        made = f"{len(self.confirmed)} confirmed of {len(self.committed)} committed"
        return f"{made}, {self.refused} refused, {self.unknown} unknown"

    def run(self) -> None:
        """Make turns until stopped."""
        try:
            self._write()
        except BaseException as failure:
            self.failure = failure

    def _write(self) -> None:
        head, number = NO_HEAD, 0
        while not self._over:
            number += 1
            token = f"{self.member}-{number}"
            try:
                answer = self.store.perform(turn(head, member=self.member, token=token, wake_at=5.0))
            except StoreUnavailable:
                self.refused += 1
            except CommitUnknown:
                self.unknown += 1
            else:
                head = self._heard(token, answer)

    def _heard(self, token: str, answer: Any) -> Head:
        if isinstance(answer, Committed):
            self.committed.append(token)
            if answer.confirmed:
                self.confirmed.append(token)
            return answer.head
        assert isinstance(answer, Conflict)  # a turn whose answer was lost is there, or one that was answered is not
        return answer.current.head

    def more(self, number: int = 20) -> None:
        """Wait until this number of further turns is made."""
        aim = len(self.committed) + number
        until(lambda: len(self.committed) >= aim or self.failure, "turns are made")

    @contextmanager
    def at_work(self) -> Generator[None, None, None]:
        """Run in a thread inside the block."""
        thread = threading.Thread(target=self.run)
        thread.start()
        try:
            yield
        finally:
            self._over = True
            thread.join()
        assert self.failure is None


# A primary and its replica -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=ENGINES)
def the_pair(request: pytest.FixtureRequest) -> Generator[Pair, None, None]:
    """Start a pair of servers of the deployment."""
    with pair(request.param()) as found:
        yield found


@pytest.fixture
def servers(the_pair: Pair) -> Pair:
    """Return a primary without data, and its replica."""
    the_pair.in_step()
    tell(the_pair.first, "FLUSHALL")
    tell(the_pair.first, "CONFIG", "RESETSTAT")
    return the_pair


@KINDS
class TestReplicated:
    def test_a_replica_that_answers_confirms(self, kind: str, servers: Pair):
        """At durability "replicated", a commit that a replica acknowledges is confirmed and stored there."""
        with manager(kind, servers.first.url, **REPLICATED) as store:
            store.perform(Load("m"))
            answer = store.perform(turn())
            assert isinstance(answer, Committed)
            assert answer.confirmed
        assert calls(servers.first, "wait") == 1
        assert tell(servers.second, "DBSIZE") == tell(servers.first, "DBSIZE") >= 4

    def test_a_replica_that_does_not_answer_leaves_it_unconfirmed(self, kind: str, servers: Pair):
        """Without an acknowledgement in time, the commit is made and answered as unconfirmed; the manager goes on."""
        with manager(kind, servers.first.url, **REPLICATED, confirm_timeout=0.1) as store:
            first = store.perform(turn(token="a"))
            assert isinstance(first, Committed)
            assert first.confirmed
            with stopped(servers.second.process):
                second = store.perform(turn(first.head, token="b"))
                assert isinstance(second, Committed)
                assert not second.confirmed
                assert audit(store) == ["a", "b"]
                assert isinstance(store.perform(turn(first.head, token="b")), Duplicate)
            servers.in_step()
            until(lambda: store.perform(turn(second.head, token="c")), "it goes on")

    def test_local_never_waits(self, kind: str, servers: Pair):
        """At durability "local" no WAIT is sent, and every commit counts as confirmed."""
        with manager(kind, servers.first.url) as store, stopped(servers.second.process):
            answer = store.perform(turn())
            assert isinstance(answer, Committed)
            assert answer.confirmed
            store.perform(Link(Channel("sms", "1"), "m"))
        assert calls(servers.first, "wait") == 0

    @pytest.mark.parametrize(
        ("request_", "waits"),
        [
            (Load("m"), 0),
            (ReadAudit("m"), 0),
            (FindOwner(Channel("sms", "1")), 0),
            pytest.param(attrs.evolve(turn(), document=None, entry=None), 0, id="Verify"),
            (turn(), 1),
            (Link(Channel("sms", "1"), "m"), 1),
            (Unlink(Channel("sms", "1"), "m"), 1),
            (Quarantine("m", NO_HEAD), 1),
            (SetWakeUp("m", NO_HEAD), 1),
            (MarkSent("m", NO_HEAD, ("r",)), 1),
            (Wipe("m", NO_HEAD, Entry(1, digest(b"wiped"), b"wiped")), 1),
        ],
        ids=lambda value: type(value).__name__ if attrs.has(type(value)) else str(value),
    )
    def test_only_requests_that_write_are_waited_for(self, kind: str, request_: Request, waits: int, servers: Pair):
        """A WAIT follows requests that write, and no other."""
        with manager(kind, servers.first.url, **REPLICATED) as store:
            store.perform(Load("m"))
            store.perform(request_)
        assert calls(servers.first, "wait") == waits

    @pytest.mark.parametrize("alive", [True, False])
    def test_a_commit_whose_reply_was_lost_is_as_safe_as_its_repeat(self, kind: str, alive: bool, servers: Pair):
        """A commit that is recognised on its repeat is confirmed exactly if the repeat is."""
        with (
            Proxy(servers.first.socket) as proxy,
            manager(kind, proxy.url, **REPLICATED, confirm_timeout=0.1) as store,
            ExitStack() as stack,
        ):
            store.perform(Load("m"))
            if not alive:
                stack.enter_context(stopped(servers.second.process))
            proxy.plan = ["lose"]
            answer = store.perform(turn())
            assert proxy.seen == 3
            assert isinstance(answer, Committed)
            assert answer.confirmed == alive

    def test_a_confirmation_that_is_lost_is_none(self, kind: str, servers: Pair):
        """A commit whose WAIT is cut off is answered as made and unconfirmed."""
        answers: list[Any] = []

        def commit() -> None:
            with manager(kind, servers.first.url, **REPLICATED, confirm_timeout=60.0, timeout=90.0) as store:
                answers.extend((store.perform(turn()), store.perform(Load("m"))))

        with stopped(servers.second.process):
            thread = threading.Thread(target=commit)
            thread.start()
            with servers.first.client() as client:
                waits: Any = until(
                    lambda: [each["id"] for each in client.client_list() if each["cmd"] == "wait"], "WAIT is under way"
                )
                client.client_kill_filter(_id=waits[0])
            thread.join()
        committed, stored = answers
        assert isinstance(committed, Committed)
        assert not committed.confirmed
        assert isinstance(stored, Stored)
        assert stored.head == committed.head

    def test_a_forgotten_script_is_confirmed_too(self, kind: str, servers: Pair):
        """A commit that is sent again with the source of the script is confirmed too."""
        with manager(kind, servers.first.url, **REPLICATED) as store:
            head: Any = store.perform(turn(token="a"))
            tell(servers.first, "SCRIPT", "FLUSH")
            answer = store.perform(turn(head.head, token="b"))
        assert isinstance(answer, Committed)
        assert answer.confirmed


@pytest.mark.slow
def test_a_primary_without_its_replica_refuses(servers: Pair):
    """With `min-replicas-to-write 1`, a primary that lost its replica refuses commits, and none of them is made."""
    tell(servers.first, "CONFIG", "SET", "min-replicas-to-write", 1)
    tell(servers.first, "CONFIG", "SET", "min-replicas-max-lag", 1)
    try:
        with manager("sync", servers.first.url, **REPLICATED, confirm_timeout=0.05) as store:
            store.perform(Load("m"))
            with stopped(servers.second.process):
                with servers.first.client() as client:
                    until(lambda: client.info("replication")["min_slaves_good_slaves"] == 0, "the lag shows")
                tell(servers.first, "CONFIG", "RESETSTAT")
                with pytest.raises(StoreUnavailable, match="NOREPLICAS"):
                    store.perform(turn())
                assert calls(servers.first, "evalsha") == ATTEMPTS
                assert audit(store) == []
            assert isinstance(until(lambda: _unless_refused(store, turn()), "it goes on"), Committed)
    finally:
        tell(servers.first, "CONFIG", "SET", "min-replicas-to-write", 0)


def _unless_refused(store: Store, request: Request) -> Any:
    try:
        return store.perform(request)
    except StoreUnavailable:
        return None


def test_one_confirmation_ends_each_pipeline(servers: Pair):
    """Commits of one pipeline are confirmed by one WAIT at its end."""

    async def together(number: int) -> list[Any]:
        async with AsyncAtomicStateManager.from_url(servers.first.url, **REPLICATED) as store:
            await store.load("m")
            return await asyncio.gather(*(store.commit(turn(member=f"m{i}")) for i in range(number)))

    assert all(answer.confirmed for answer in asyncio.run(together(60)))
    assert calls(servers.first, "wait") == 1
    assert all(isinstance(answer, Duplicate | Committed) for answer in asyncio.run(together(100)))
    assert calls(servers.first, "wait") == 1 + 2


@pytest.mark.parametrize("made", [AtomicStateManager, AsyncAtomicStateManager])
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"durability": "safe"}, "durability is 'local' or 'replicated', not 'safe'"),
        ({**REPLICATED, "confirm_timeout": 0}, "confirm_timeout=0: give seconds, more than 0"),
        ({**REPLICATED, "confirm_timeout": 2.0, "timeout": 2.0}, "less than the 2 after"),
    ],
)
def test_settings_that_are_none(made: Any, options: dict[str, Any], said: str):
    """An unknown durability, or a `confirm_timeout` that is not below `timeout`, raises ValueError."""
    with pytest.raises(ValueError, match=said):
        made.from_url("redis://127.0.0.1", **options)


@KINDS
def test_the_clock_can_be_moved(kind: str, servers: Pair):
    """The store's clock is moved by the `shift` of the manager and that of the commit together."""
    with manager(kind, servers.first.url) as now, manager(kind, servers.first.url, shift=1000.0) as later:
        times: list[Any] = [now.perform(Load("m")), later.perform(Load("m")), later.perform(turn(shift=500.0))]
    assert [round(at.at - times[0].at, -2) for at in times] == [0, 1000, 1500]


# Sentinels ---------------------------------------------------------------------------------------------------------


GUARDED = ("--min-replicas-to-write", "1", "--min-replicas-max-lag", "1")


@pytest.fixture(scope="module", params=ONE_IN_SHORT)
def guarded(request: pytest.FixtureRequest) -> Generator[Watched, None, None]:
    """Start servers that refuse writes without a replica, and their Sentinels."""
    with watched(request.param(), *GUARDED) as found:
        yield found


def fail_over(service: Watched) -> Iterator[None]:
    """Start a failover, as an operator does."""
    service.ask("FAILOVER", SERVICE)
    yield


def hang(service: Watched) -> Iterator[None]:
    """Stop the primary, and resume it after another server has become the primary."""
    with stopped(service.primary().process):
        yield


@pytest.mark.parametrize(
    ("kind", "disturb"),
    [
        ("sync", fail_over),
        pytest.param("async", fail_over, marks=pytest.mark.slow),
        pytest.param("sync", hang, marks=pytest.mark.slow),
        pytest.param("async", hang, marks=pytest.mark.slow),
    ],
)
def test_nothing_confirmed_is_lost(kind: str, disturb: Callable[[Watched], Iterator[None]], guarded: Watched):
    """Every confirmed commit outlives a failover, and none is made twice."""
    guarded.complete()
    old = guarded.primary()
    new = next(server for server in (guarded.pair.first, guarded.pair.second) if server is not old)
    with manager(kind, guarded.url, **REPLICATED, timeout=1.0, confirm_timeout=0.5, connect_timeout=0.5) as store:
        writer = Writer(store, f"{kind}-{disturb.__name__}-{new.port}")
        with writer.at_work():
            writer.more()
            for _ in disturb(guarded):
                guarded.agree_on(new)
            writer.more()  # the same manager goes on
        kept = audit(store, writer.member)
    assert len(kept) == len(set(kept))
    assert due(writer.confirmed, kept) <= set(kept)
    print(f"{writer.told()}; {len(kept)} kept")


@pytest.fixture(params=ONE_IN_SHORT)
def alone(request: pytest.FixtureRequest) -> Generator[Watched, None, None]:
    """Start servers that also write without a replica, and their Sentinels."""
    with watched(request.param()) as found:
        yield found


def test_a_primary_that_is_killed(alone: Watched):
    """After the primary was killed and replaced, a manager goes on with the new one and its data."""
    with manager("sync", alone.url) as sync, manager("async", alone.url) as awaited:
        for store in (sync, awaited):
            assert isinstance(store.perform(turn(member=str(store is sync))), Committed)
        until(lambda: tell(alone.pair.second, "DBSIZE") == tell(alone.pair.first, "DBSIZE"), "the replica has it")
        alone.pair.first.process.kill()
        with pytest.raises((StoreUnavailable, CommitUnknown), match=f"the master of {SERVICE}"):
            sync.perform(turn(token="in between"))
        alone.agree_on(alone.pair.second)
        for store in (sync, awaited):
            stored: Any = store.perform(Load(str(store is sync)))
            assert stored.head.version == 1
            assert isinstance(store.perform(turn(stored.head, member=str(store is sync), token="b")), Committed)


@pytest.mark.parametrize("connections", [20, 2])
def test_calls_wait_for_a_connection_of_the_service(connections: int, guarded: Watched):
    """Requests wait for a free connection of a service instead of failing."""
    answers: list[Any] = []
    with AtomicStateManager.from_url(guarded.url, connections=connections) as store:
        threads = [threading.Thread(target=lambda i=i: answers.append(store.load(f"m{i}"))) for i in range(400)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [type(answer) for answer in answers] == [Stored] * 400

    async def flood() -> list[Any]:
        async with AsyncAtomicStateManager.from_url(guarded.url, connections=connections) as store:
            # each on its own connection: no two of the same moment
            async def late(i: int) -> Any:
                for _ in range(i % 40):
                    await asyncio.sleep(0)
                return await store.load(f"m{i}")

            return await asyncio.gather(*map(late, range(400)))

    assert [type(answer) for answer in asyncio.run(flood())] == [Stored] * 400


@KINDS
def test_sentinels_with_a_password_of_their_own(kind: str):
    """Sentinels get their own password from the URL; with a wrong one the error quotes none."""
    program = valkey_program()
    with ExitStack() as stack:
        server = on_a_port(stack, program)
        tell(server, "CONFIG", "SET", "requirepass", "d@ta")
        secrets = ("requirepass w/tch", f'sentinel auth-pass {SERVICE} "d@ta"')
        port = sentinel(stack, program, server, 1, *secrets)
        with at_port(port, password="w/tch") as client:
            masters: Any = client.sentinel_masters
            until(lambda: masters()[SERVICE]["flags"] == "master", "the primary is well")
        url = f"redis+sentinel://:d%40ta@127.0.0.1:{port}/{SERVICE}"
        with manager(kind, f"{url}?sentinel_password=w%2Ftch") as store:
            assert isinstance(store.perform(turn()), Committed)
        for wrong in (url, f"{url}?sentinel_password=secret"):
            with (
                manager(kind, wrong) as store,
                pytest.raises(StoreUnavailable, match="none of the Sentinels") as caught,
            ):
                store.perform(Load("m"))
            told = "".join(traceback.format_exception(caught.value))
            assert not re.search(r"secret|d@ta", told.replace(wrong, ""))


# A cluster ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=ENGINES)
def nodes(request: pytest.FixtureRequest) -> Generator[Nodes, None, None]:
    """Start a cluster of three nodes without replicas."""
    with cluster(request.param()) as found:
        yield found


def slot_of(member: str) -> int:
    """Return the hash slot of a member's keys."""
    return int(key_slot(b"%d" % shard_of(member)))


def test_commits_of_one_moment_are_one_pipeline_a_node(nodes: Nodes):
    """Requests of one moment go out in one pipeline per node, over at most one new connection each.

    The first one may leave by itself before the others come; these take a second connection then.
    """

    async def together() -> list[Any]:
        # at this durability each pipeline ends with a WAIT, which can be counted
        async with AsyncAtomicStateManager.from_url(nodes.url, **REPLICATED, confirm_timeout=0.05) as store:
            await asyncio.gather(*(store.load(f"m{i}") for i in range(60)))
            for node in nodes.nodes:
                tell(node, "SCRIPT", "FLUSH")
                tell(node, "CONFIG", "RESETSTAT")
            await asyncio.gather(*(store.load(f"m{i}") for i in range(60)))
            found = [(calls(node, "eval"), calls(node, "evalsha")) for node in nodes.nodes]
            assert {evals for evals, _ in found} <= {1, 2}
            assert 60 <= sum(hashes for _, hashes in found) <= 60 + 57  # as many again as there are no sources
            for node in nodes.nodes:
                tell(node, "CONFIG", "RESETSTAT")
            return await asyncio.gather(*(store.commit(turn(member=f"m{i}")) for i in range(60)))

    for node in nodes.nodes:
        tell(node, "FLUSHALL")
    answers = asyncio.run(together())
    assert [type(answer) for answer in answers] == [Committed] * 60
    assert not any(answer.confirmed for answer in answers)  # there are no replicas
    assert {calls(node, "wait") for node in nodes.nodes} <= {1, 2}
    assert sum(calls(node, "evalsha") for node in nodes.nodes) == 60
    for node in nodes.nodes:
        with node.client() as client:
            assert client.info("stats")["total_connections_received"] in (3, 4)  # three are of this test alone


@KINDS
def test_many_more_calls_than_connections_to_a_node(kind: str, nodes: Nodes):
    """Requests wait for a free connection to a node instead of failing."""
    if kind == "async":

        async def flood() -> list[Any]:
            async with AsyncAtomicStateManager.from_url(nodes.url, connections=1) as store:
                return await asyncio.gather(*(store.load(f"m{i}") for i in range(400)))

        answers = asyncio.run(flood())
    else:
        answers = []
        with AtomicStateManager.from_url(nodes.url, connections=1) as made:
            threads = [threading.Thread(target=lambda i=i: answers.append(made.load(f"m{i}"))) for i in range(100)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    assert {type(answer) for answer in answers} == {Stored}


def test_threads_wait_for_each_other_across_the_nodes(nodes: Nodes):
    """While a manager has as many requests under way as connections to a server, a thread waits at each node."""
    with AtomicStateManager.from_url(nodes.url, connections=2) as store:
        names = [next(f"m{i}" for i in range(1000) if nodes.owner(slot_of(f"m{i}")) is node) for node in nodes.nodes]
        for name in names:
            store.load(name)
        assert isinstance(store.servers, Cluster)
        limit, pools = store.servers.limit, store.servers.pools
        limit._seconds = 600.0  # the servers of this test answer late enough
        taken = [(pool, connections_of(pool), connections_of(pool).take(pool)) for pool in pools[:2]]
        threads = [threading.Thread(target=store.load, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        until(lambda: len(limit._waiting) == 3, "the threads wait")
        for pool, connections, connection in taken:
            connections.give(pool, connection)
        for thread in threads:
            thread.join()
        assert not limit._held


def of_shard(name: str, shard: int) -> Iterator[str]:
    """Yield names of members that belong to one shard."""
    return (member for member in (f"{name} {i}" for i in range(1_000_000)) if shard_of(member) == shard)


@attrs.define
class Conversation:
    """The turns of a member in a slot that is handed over.

    Attributes:
        rekeyed: Whether turns have a token of another key too. It is kept in the key of earlier tokens.
    """

    store: Store
    member: str
    head: Head = NO_HEAD
    tokens: list[str] = attrs.field(factory=list)
    others: list[str] = attrs.field(factory=list)
    rekeyed: bool = False

    def turn(self, **given: Any) -> None:
        """Make a turn, which is committed."""
        token = f"t{len(self.tokens)}"
        earlier = (f"old {token}",) if self.rekeyed else ()
        answer = self.store.perform(turn(self.head, member=self.member, token=token, earlier=earlier, **given))
        assert isinstance(answer, Committed)
        self.others += earlier
        self.head = answer.head
        self.tokens.append(token)

    def turns(self, number: int) -> None:
        """Make turns, the last of which is the member's latest that is read."""
        for _ in range(number):
            self.turn(wake_at=5.0)
        stored = self.store.perform(Load(self.member, previous=True))
        assert isinstance(stored, Stored)
        assert (stored.head, stored.document) == (self.head, b"{}" if self.tokens else None)
        assert audit(self.store, self.member) == self.tokens

    def used(self) -> None:
        """Check that each token was used, and that no turn is made again."""
        for token in self.tokens:
            again = self.store.perform(turn(self.head, member=self.member, token=token))
            assert isinstance(again, Duplicate), token
        for token in self.others:
            again = self.store.perform(turn(self.head, member=self.member, token="new", earlier=(token,)))
            assert isinstance(again, Duplicate), token


@KINDS
@pytest.mark.parametrize("before", [0, 2, 5], ids=["new", "without earlier tokens", "with all keys"])
def test_a_slot_that_is_handed_over(kind: str, before: int, nodes: Nodes):
    """A member whose keys are on one node is served throughout a hand-over, also a new one.

    A member has no key for what the member does not have, and a node cannot tell a key that was moved from one that
    never was.
    """
    member = f"handed {kind} {before}"
    handover = Handover.of(nodes, slot_of(member))
    with manager(kind, nodes.url) as store:
        talk = Conversation(store, member)
        talk.turns(before)
        talk.rekeyed = True
        with handover.begun():
            talk.turns(6)  # nothing is moved yet; earlier tokens leave the state at each fourth turn
            handover.take(*Keys().member(member))
            asked = calls(handover.goal, "asking")
            tell(handover.goal, "SCRIPT", "FLUSH")
            talk.turns(6)  # all is moved, the slot is not
            assert calls(handover.goal, "asking") > asked
            talk.used()
        talk.turns(2)
        sent = calls(handover.source, "evalsha")
        talk.turns(2)  # no redirect any more
        assert calls(handover.source, "evalsha") == sent
        talk.used()
    handover.back()


@SYNC_IN_SHORT
def test_a_member_whose_keys_are_on_two_nodes_waits_until_they_are_together(kind: str, nodes: Nodes):
    """A turn that finds the keys of its member on two nodes is made as soon as the others have been moved too."""
    member = f"split {kind}"
    handover = Handover.of(nodes, slot_of(member))
    state, *others = Keys().member(member)
    with manager(kind, nodes.url, timeout=20.0) as store:
        talk = Conversation(store, member)
        talk.turns(5)
        with handover.begun():
            handover.take(state)
            asked = calls(handover.source, "exists")

            def moves_the_others() -> None:
                until(lambda: calls(handover.source, "exists") >= asked + 24, "the turn has looked eight times")
                handover.take(*others)

            mover = threading.Thread(target=moves_the_others)
            mover.start()
            talk.turns(1)
            mover.join()
            assert audit(store, member) == talk.tokens
    handover.back()


@SYNC_IN_SHORT
def test_a_member_whose_keys_stay_on_two_nodes_is_refused(kind: str, nodes: Nodes):
    """A turn that finds the keys of its member on two nodes until its deadline is refused, and nothing is stored."""
    member = f"apart {kind}"
    handover = Handover.of(nodes, slot_of(member))
    with manager(kind, nodes.url, timeout=0.3) as store:
        talk = Conversation(store, member)
        talk.turns(2)
        with handover.begun():
            handover.take(Keys().member(member)[0])
            with pytest.raises(StoreUnavailable, match="both nodes have keys of the member"):
                talk.turn()
        talk.turns(1)
    handover.back()


@SYNC_IN_SHORT
@pytest.mark.parametrize("moved", ["nothing", "member", "due set"])
def test_wake_ups_in_a_slot_that_is_handed_over(kind: str, moved: str, nodes: Nodes):
    """A turn is made although the due set of its shard is at another node; its wake-up is a few seconds late then."""
    member, is_apart = f"woken {kind} {moved}", moved != "nothing"
    shard, handover = shard_of(member), Handover.of(nodes, slot_of(member))
    other = next(of_shard("woken too", shard))
    due_set = Keys().of_shard("due", shard)
    with manager(kind, nodes.url) as store:
        talk = Conversation(store, member)
        talk.turn()
        store.perform(turn(member=other, wake_at=1.0))
        keys = {"nothing": (), "member": Keys().member(member)[:-1], "due set": (due_set,)}[moved]
        now = store.perform(Load(member)).at
        with handover.begun():
            handover.take(*keys)
            talk.turn(wake_at=now - 60)
            talk.turn(wake_at=now + 3600)  # later than the one that is stored
            early = store.perform(ReadDue(shard, now + WAKE_MARGIN - 0.001))
            assert early == ((other,) if is_apart else (other, member))
            assert store.perform(ReadDue(shard, now + 60)) == (other, member)
            store.perform(SetWakeUp(member, talk.head, now + 7200))
            left = store.perform(ReadDue(shard, now + 60))
            assert left == ((other, member) if is_apart else (other,))  # a wake-up that is left costs one more read
            store.perform(SetWakeUp(member, talk.head, now - 60))
            assert member in store.perform(ReadDue(shard))  # on the store's clock, which has gone on
        assert audit(store, member) == talk.tokens
        store.perform(SetWakeUp(member, talk.head))
        assert store.perform(ReadDue(shard, now + 3600)) == (other,)
        store.perform(SetWakeUp(other, store.perform(Load(other)).head))
    handover.back()


@SYNC_IN_SHORT
def test_a_turn_that_needs_a_new_key_beside_others_waits_for_the_hand_over(kind: str, nodes: Nodes):
    """A turn that takes over tokens is refused while the old node has no key for them, and nothing is stored."""
    member = f"inherits {kind}"
    handover = Handover.of(nodes, slot_of(member))
    with manager(kind, nodes.url, timeout=0.3) as store:
        talk = Conversation(store, member)
        talk.turn()
        inherited = Inherited((("of the guest", store.perform(Load(member)).at),), ())
        with handover.begun():
            with pytest.raises(StoreUnavailable, match="a key is missing at the old node"):
                talk.turn(inherited=inherited)
            talk.turn()
        talk.turn(inherited=inherited)
        assert audit(store, member) == talk.tokens
    handover.back()


@SYNC_IN_SHORT
def test_messages_without_a_turn_while_a_slot_is_handed_over(kind: str, nodes: Nodes):
    """A message that is answered and not taken is remembered also where the member has no key of earlier tokens."""
    member = f"untaken {kind}"
    handover = Handover.of(nodes, slot_of(member))
    with manager(kind, nodes.url) as store:
        talk = Conversation(store, member)
        talk.turn()
        aside = Commit(member, talk.head, "aside", "", "said", None, None, b"record", earlier=("old",))
        with handover.begun():
            assert isinstance(store.perform(aside), Committed)
            assert isinstance(store.perform(aside), Duplicate)
            assert isinstance(store.perform(attrs.evolve(aside, token="new")), Duplicate)
            talk.turn()
            handover.take(*Keys().member(member))
            assert isinstance(store.perform(aside), Duplicate)
        assert isinstance(store.perform(aside), Duplicate)
    handover.back()


@SYNC_IN_SHORT
def test_channels_in_a_slot_that_is_handed_over(kind: str, nodes: Nodes):
    """A channel is found and linked throughout a hand-over, also one with an account and one that is unknown."""
    plain = Channel("sms", f"+26377{len(kind)}")
    channel = plain.with_account("desk")
    with manager(kind, nodes.url) as store:
        digests = store.perform(ReadDigests())
        key = Keys().channel(plain.address, digests.index_names(plain.address))[0]
        handover = Handover.of(nodes, int(key_slot(key.partition(b"{")[2].partition(b"}")[0])))
        with handover.begun():
            assert store.perform(FindOwner(channel)).member_id is None
            assert (
                store.perform(Link(plain, "first", way="1")).member_id == "first"
            )  # new keys are made at the new node
            assert store.perform(FindOwner(channel)).member_id == "first"
        with handover.turned().begun():
            assert store.perform(FindOwner(channel)).member_id == "first"  # nothing is moved yet
            assert store.perform(Link(plain, "second", "first", way="1")).member_id == "first"  # it was made
            with pytest.raises(StoreUnavailable):  # the old node makes no mark, so the change waits
                store.perform(Link(plain, "second", "first", way="2"))
            assert store.perform(Link(plain, "second", "first")).member_id == "second"
            handover.turned().take(key)
            assert store.perform(FindOwner(channel)).member_id == "second"


@KINDS
def test_first_contact_in_a_slot_that_is_handed_over(kind: str, nodes: Nodes):
    """A person's first messages are answered while the slots of their channel and of their member are handed over."""
    channel = Channel("sms", f"+26377{len(kind)}0")
    with manager("sync", nodes.url) as store:
        digests = store.perform(ReadDigests())
    guest, key = digests.guest_id(channel), Keys().channel(channel.address, digests.index_names(channel.address))[0]
    slots = {slot_of(guest), int(key_slot(key.partition(b"{")[2].partition(b"}")[0]))}
    store_class: Any = AtomicStateManager if kind == "sync" else AsyncAtomicStateManager
    with Shell(kind, fruit_bot(), store_class.from_url(nodes.url)) as shell:  # type: ignore[arg-type]  # one of the two
        with ExitStack() as stack:
            for slot in slots:
                stack.enter_context(Handover.of(nodes, slot).begun())
            for number in range(1, 7):
                outcome = shell.handle(shell.message("hello", channel=channel))
                assert (outcome.state.member_id, outcome.state.version) == (guest, number)
        assert [entry.version for entry in shell.do("history", guest)] == [1, 2, 3, 4, 5, 6]
    for slot in slots:
        Handover.of(nodes, slot).back()


@KINDS
def test_a_user_who_must_not_ask_is_told_so(kind: str, nodes: Nodes):
    """A user without the right to ASKING gets an error that names it, and goes on when the slot has moved."""
    member = f"unasked {kind}"
    for node in nodes.nodes:
        tell(node, "ACL", "SETUSER", "bot", "on", ">secret", "~*", "+@all", "-asking")
    with manager(kind, nodes.url.replace("://", "://bot:secret@")) as store:
        first: Any = store.perform(turn(member=member, wake_at=5.0))
        handover = Handover.of(nodes, slot_of(member))
        handover.begin()
        try:
            handover.move()
            with pytest.raises(StoreUnavailable, match="asking"):
                store.perform(turn(first.head, member=member, token="b"))
        finally:
            handover.end()
        assert isinstance(store.perform(turn(first.head, member=member, token="b")), Committed)
    handover.back()


@SYNC_IN_SHORT
def test_slots_that_are_handed_over_while_turns_are_made(kind: str, nodes: Nodes):
    """No turn is lost, made twice or left unknown while its slot moves to another node and back."""
    with manager(kind, nodes.url) as store:
        writers = [
            Writer(store, f"{kind} mover {i}") for i in range(3 if kind == "sync" else 1)
        ]  # the adapter is for one thread
        with ExitStack() as stack:
            for writer in writers:
                stack.enter_context(writer.at_work())
            for writer in writers:
                writer.more(5)
                handover = Handover.of(nodes, slot_of(writer.member))
                for each in (handover, handover.turned()):
                    each.begin()
                    while each.move(1):
                        time.sleep(0.005)
                    each.end()
                    writer.more(5)
        for writer in writers:
            kept = audit(store, writer.member)
            assert due(writer.committed, kept) <= set(kept)
            assert len(set(kept)) == len(kept)
            assert writer.unknown == 0


@pytest.fixture(scope="module", params=ONE_IN_SHORT)
def safe_nodes(request: pytest.FixtureRequest) -> Generator[Nodes, None, None]:
    """Start a cluster of three nodes with a replica each."""
    with cluster(request.param(), replicas=True) as found:
        yield found


@pytest.mark.parametrize("number", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_node_that_is_killed(number: int, safe_nodes: Nodes):
    """Every confirmed commit outlives the loss of a cluster's node, and none is made twice."""
    kind = ["sync", "async"][number]
    members = (f"{kind} {i}" for i in range(1000))
    member = next(member for member in members if safe_nodes.owner(slot_of(member)) is safe_nodes.nodes[number])
    with manager(kind, safe_nodes.url, **REPLICATED, timeout=1.0, confirm_timeout=0.5) as store:
        writer = Writer(store, member)
        with writer.at_work():
            writer.more()
            assert writer.confirmed
            safe_nodes.nodes[number].process.kill()
            until(lambda: tell(safe_nodes.replicas[number], "ROLE")[0] == b"master", "the replica takes over")
            writer.more(3)  # the same manager goes on, each turn now waits in vain for a replica
        kept = audit(store, member)
    assert len(kept) == len(set(kept))
    assert due(writer.confirmed, kept) <= set(kept)
    print(f"{writer.told()}; {len(kept)} kept")


def test_clients_that_fail_together_read_the_topology_once():
    """If a whole cluster is gone, clients that fail together read the topology once."""
    failures: list[str] = []
    with cluster(valkey_program()) as gone, AtomicStateManager.from_url(gone.url) as store:
        store.load("m")
        asked: list[float] = []
        topology: Any = store.servers.client
        initialize = topology.nodes_manager.initialize

        def slowly() -> None:
            asked.append(time.monotonic())
            time.sleep(0.2)
            initialize()

        topology.nodes_manager.initialize = slowly
        for node in gone.nodes:
            node.process.kill()
            node.process.wait()

        def load(number: int) -> None:
            with pytest.raises(StoreUnavailable) as caught:
                store.load(f"m{number}")
            failures.append(str(caught.value))

        threads = [threading.Thread(target=load, args=(number,)) for number in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(failures) == 50
    assert len(asked) < 50  # a client that reads it for itself does so in each of its attempts


def test_no_server_at_the_address():
    """Without any server the error is `StoreUnavailable` and quotes no password."""
    for kind in ("sync", "async"):
        for url in ("redis+cluster://:secret@127.0.0.1:1", f"redis+sentinel://:secret@127.0.0.1:1/{SERVICE}"):
            with manager(kind, url, connect_timeout=0.2) as store, pytest.raises(StoreUnavailable) as caught:
                store.perform(turn())
            assert "secret" not in str(caught.value)


@KINDS
def test_the_url_of_a_node_of_a_cluster_is_refused(kind: str, nodes: Nodes):
    """The URL of a single node of a cluster is refused with the URL scheme to use."""
    url = f"redis://127.0.0.1:{nodes.nodes[0].port}"
    member = next(m for m in map(str, range(1000)) if nodes.owner(slot_of(m)) is nodes.nodes[1])
    with manager(kind, url) as store, pytest.raises(StoreUnavailable, match=r"name it with redis\+cluster://"):
        store.perform(Load(member))


# URLs --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "hosts", "service", "options"),
    [
        ("redis+cluster://a", [("a", 6379)], None, {}),
        ("redis+cluster://a:1,b,[::1]:3/0", [("a", 1), ("b", 6379), ("::1", 3)], None, {}),
        ("redis+sentinel://a,b:2/bots", [("a", 26379), ("b", 2)], "bots", {"db": 0}),
        (
            "redis+sentinel://me:p%40s%2Fs@a/my%20bots/3?socket_keepalive=yes",
            [("a", 26379)],
            "my bots",
            {"username": "me", "password": "p@s/s", "db": 3, "socket_keepalive": True},
        ),
    ],
)
def test_urls(url: str, hosts: list[tuple[str, int]], service: str | None, options: dict[str, Any]):
    """The URL of several servers names their addresses, the service and the options; `rediss` means TLS."""
    place = connecting._place_at(url)
    assert place is not None
    assert (list(place.hosts), place.service, place.tls, place.options) == (hosts, service, False, options)
    assert "p@s/s" not in repr(place)
    secure = connecting._place_at(url.replace("redis+", "rediss+"))
    assert secure == attrs.evolve(place, tls=True)


def test_a_password_behind_the_question_mark_is_not_quoted():
    """The error for a malformed URL does not quote a password in its parameters."""
    with pytest.raises(StoreUnavailable) as caught:
        AtomicStateManager.from_url("redis+sentinel://a/?sentinel_password=x@secret")
    assert "secret" not in str(caught.value)


def test_sentinels_have_credentials_of_their_own():
    """Connections to Sentinels use their own credentials and the same TLS options."""
    url = "rediss+sentinel://:d@a/bots?sentinel_username=s&sentinel_password=p&ssl_ca_certs=/ca"
    place = connecting._place_at(url)
    assert place is not None
    assert place.asking == {"username": "s", "password": "p", "ssl_ca_certs": "/ca"}
    assert place.options == {"password": "d", "db": 0, "ssl_ca_certs": "/ca"}
    with AtomicStateManager.from_url(url) as store:
        assert issubclass(store.servers.client.connection_pool.connection_class, redis.SSLConnection)  # type: ignore[union-attr]


@pytest.mark.parametrize("made", [AtomicStateManager, AsyncAtomicStateManager])
@pytest.mark.parametrize(
    "url",
    [
        "redis+cluster://",
        "redis+cluster://:secret@a,",
        "redis+cluster://:secret@a/1",
        "redis+cluster://:secret@a/bots",
        "redis+cluster://:se/cret@a",
        "redis+cluster://:se?cret@a",
        "redis+cluster://a:port",
        "redis+sentinel://a",
        "redis+sentinel://a/",
        "redis+sentinel://a/bots/one",
        "http+sentinel://:secret@a/bots",
        "redis+proxy://:secret@a",
        *(
            scheme.format(host)
            for scheme in (
                "redis://:secret@{}",
                "rediss://{}:1/0",
                "redis+cluster://a,{}:1",
                "redis+sentinel://{}/bots",
            )
            for host in ("a..b", ".", "-" * 64, "a\udc80")
        ),
        *(
            f"{base}?{parameter}"
            for base in ("redis://:secret@a", "rediss+cluster://:secret@a", "redis+sentinel://:secret@a/bots")
            for parameter in (
                "retry=5",
                "protocol=3",
                "decode_responses=1",
                "timeout=-1",
                "socket_timeout=x",
                "credential_provider=secret",
                "ssl_nothing=1",
                "secret=1",
            )
        ),
        "redis://a?ssl_ca_certs=/ca",
    ],
)
def test_urls_that_are_none(made: Any, url: str):
    """A malformed URL raises an error that lists the valid forms, quotes no password and chains no parser's error."""
    with pytest.raises(StoreUnavailable, match=r"redis\+sentinel://host:port,host:port/service/db") as caught:
        made.from_url(url)
    assert "cret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
