"""Facts about servers and clients on which the store depends. Each test fails when one of them changes."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import attrs
import pytest
import redis
import redis.asyncio
from redis.exceptions import MaxConnectionsError, NoScriptError, OutOfMemoryError, ResponseError

from tests.engines import Proxy, Server, free_port, redis_program, running, valkey_program
from vimbiso_fsm.messages.digests import Digests
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.store.requests import NO_HEAD, Commit, Committed, Entry, Head, Load, Stored, digest, shard_of
from vimbiso_fsm.store.script import encode

LIMIT = 30.0
"""Seconds after which something that must happen has failed; no test needs it to pass in time."""

PROGRAMS = [
    pytest.param(valkey_program, marks=pytest.mark.embedded, id="valkey"),
    pytest.param(redis_program, marks=pytest.mark.redis, id="redis"),
]


def until(true: Callable[[], bool]) -> None:
    """Wait until a condition is true."""
    limit = time.monotonic() + LIMIT
    while not true():
        assert time.monotonic() < limit, "it did not happen"
        time.sleep(0.01)


def turn(head: Head = NO_HEAD, *, token: str = "t") -> Commit:
    """Return the commit of a turn after a head."""
    body = b"%d %b" % (head.version + 1, token.encode())
    return Commit("m", head, token, token, "said", b"{}", Entry(head.version + 1, digest(body), body), b"record")


@pytest.fixture
def client(server: Server) -> Generator[Any, None, None]:
    """Return a client of the server."""
    with server.client() as found:
        yield found


# Scripts -------------------------------------------------------------------------------------------------------------


def test_a_script_that_fails_is_not_rolled_back(client: Any):
    """A failing script keeps its earlier writes, so the store's script makes all checks before its first write."""
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        client.eval("redis.call('SET', KEYS[1], 'x') redis.call('LPUSH', KEYS[1], 'y')", 1, "k")
    assert client.get("k") == b"x"


def test_cjson_breaks_integers_from_10_to_the_14_on(client: Any):
    """The Lua library cjson does not preserve integers from 10**14 on, so documents are opaque to the script."""

    def through(number: int) -> bytes:
        answer: bytes = client.eval("return cjson.encode(cjson.decode(ARGV[1]))", 0, str(number))
        return answer

    assert through(10**14 - 1) == b"99999999999999"
    assert through(10**14) == b"1e+14"
    assert through(123_456_789_012_345) == b"1.2345678901234e+14"


def test_cjson_turns_an_empty_list_into_an_object(client: Any):
    """The Lua library cjson does not preserve empty lists, so documents are opaque to the script."""
    assert client.eval("return cjson.encode(cjson.decode('[]'))", 0) == b"{}"


def test_a_forgotten_script_is_named(client: Any):
    """EVALSHA of a script that the server does not have raises NOSCRIPT, so each call can send the source."""
    sha = client.script_load("return 1")
    assert client.evalsha(sha, 0) == 1
    client.script_flush()
    with pytest.raises(NoScriptError):
        client.evalsha(sha, 0)


def test_a_pipeline_goes_on_past_a_forgotten_script(client: Any):
    """A pipeline continues after a NOSCRIPT, which says nothing about the following commands."""
    client.script_flush()
    pipeline = client.pipeline(transaction=False)
    pipeline.evalsha("0" * 40, 0)
    pipeline.set("k", "x")
    refused, done = pipeline.execute(raise_on_error=False)
    assert isinstance(refused, NoScriptError)
    assert done is True


# Memory --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def full(client: Any) -> Generator[Any, None, None]:
    """Return a client of a server without free memory, which has the key `old`."""
    client.set("old", "x")
    client.config_set("maxmemory", 1)
    yield client
    client.config_set("maxmemory", 0)


def test_a_first_write_that_takes_memory_is_refused(full: Any):
    """A server without free memory refuses a script's first write that needs memory, whatever was read before."""
    with pytest.raises(OutOfMemoryError):
        full.eval("redis.call('GET', KEYS[1]) redis.call('SET', KEYS[2], 'x')", 2, "old", "new")
    assert not full.exists("new")


@pytest.mark.parametrize("first", ["DEL", "EXPIRE"])
def test_after_a_first_write_that_takes_none_nothing_is_refused(full: Any, first: str):
    """After a first write that needs no memory, the server refuses no write of the script.

    Therefore the first write of the store's script is one that can be refused. With DEL first, a full server would fill
    further.
    """
    more = ", 100" if first == "EXPIRE" else ""
    script = f"redis.call('{first}', KEYS[1]{more}) redis.call('SET', KEYS[2], string.rep('x', 1000000))"
    full.eval(script, 2, "old", "new")
    assert full.strlen("new") == 1_000_000


def test_pcall_reports_a_success_that_wrote_nothing(full: Any):
    """`redis.pcall` reports success without a write, so the store's script uses `redis.call` alone."""
    assert full.eval("redis.pcall('SET', KEYS[1], 'x') return 'done'", 1, "new") == b"done"
    assert not full.exists("new")


# Versions ------------------------------------------------------------------------------------------------------------


def test_a_bare_counter_starts_again_when_it_expires(client: Any):
    """A counter that expires starts again, so a writer with an old version 1 would overwrite a new version 1."""
    assert client.incr("version") == 1
    client.pexpire("version", 1)
    until(lambda: not client.exists("version"))
    assert client.incr("version") == 1


def test_our_version_goes_on_when_the_document_expires(server: Server, client: Any):
    """The version continues after the document has expired, because the head comes from the audit (rule 4)."""
    with AtomicStateManager.from_url(server.url) as store:
        first = store.commit(turn())
        assert isinstance(first, Committed)
        state = b"vimbiso:{%d}:member:m:state" % shard_of("m")
        client.pexpire(state, 1)
        until(lambda: not client.exists(state))
        found = store.perform(Load("m"))
        assert isinstance(found, Stored)
        assert (found.document, found.head) == (None, first.head)
        second = store.commit(turn(first.head, token="u"))
        assert isinstance(second, Committed)
        assert second.head.version == 2


# Replication ---------------------------------------------------------------------------------------------------------


@attrs.frozen
class Pair:
    """A primary and its replica."""

    primary: Server
    replica: Server

    def stop_the_replica(self) -> None:
        """Stop the replica. It keeps its connection and replies to nothing."""
        self.replica.process.send_signal(signal.SIGSTOP)


@contextmanager
def pair(program: str, *options: str) -> Generator[Pair, None, None]:
    """Start a primary with a replica that is in step. `options`: options of both."""
    with ExitStack() as closing_:
        port = free_port()
        both = ("--repl-diskless-sync-delay", "0", *options)
        primary = closing_.enter_context(running(program, *both, port=port))
        replica = closing_.enter_context(running(program, *both, "--replicaof", f"127.0.0.1 {port}"))
        with primary.client() as asked:
            until(lambda: asked.info("replication").get("slave0", {}).get("state") == "online")
        yield Pair(primary, replica)


@pytest.fixture(params=PROGRAMS)
def servers(request: pytest.FixtureRequest) -> Generator[Pair, None, None]:
    """Start a pair of servers of the deployment."""
    with pair(request.param()) as found:
        yield found


def wait(client: Any, replicas: int = 1, milliseconds: int = 200) -> int:
    """Return the number of replicas that have the writes of this client's connection."""
    answer: int = client.execute_command("WAIT", replicas, milliseconds)
    return answer


def lost(server: Server, key: str) -> bool:
    """Return whether a replica that becomes the primary lacks the key."""
    with server.client() as client:
        client.execute_command("REPLICAOF", "NO", "ONE")
        return not client.exists(key)


def test_an_acknowledged_write_is_lost_with_the_primary(servers: Pair):
    """A write that no replica has is lost with the primary, and WAIT reports that none has it."""
    with closing(redis.Redis(unix_socket_path=str(servers.primary.socket), single_connection_client=True)) as client:
        client.set("kept", "x")
        assert wait(client, milliseconds=int(1000 * LIMIT)) == 1
        servers.stop_the_replica()
        client.eval("redis.call('SET', KEYS[1], string.rep('x', 64000000))", 1, "filler")  # more than sockets hold
        assert client.set("acknowledged", "x") is True
        assert wait(client) == 0
    servers.primary.process.kill()
    servers.primary.process.wait()
    servers.replica.process.send_signal(signal.SIGCONT)
    assert lost(servers.replica, "acknowledged")
    assert not lost(servers.replica, "kept")


def test_min_replicas_stops_a_primary_that_is_cut_off(servers: Pair):
    """A primary that is cut off refuses writes after `min-replicas-max-lag` at most, and not at once."""
    with servers.primary.client() as client:
        client.config_set("min-replicas-to-write", 1)
        client.config_set("min-replicas-max-lag", 1)
        until(lambda: client.info("replication")["min_slaves_good_slaves"] == 1)
        client.set("a", "x")
        servers.stop_the_replica()

        def refused() -> bool:
            try:
                client.set("b", "x")
            except ResponseError as error:
                return "NOREPLICAS" in str(error)
            return False

        until(refused)
        with pytest.raises(ResponseError, match="NOREPLICAS"):
            client.eval("return redis.call('SET', KEYS[1], 'x')", 1, "b")


@contextmanager
def fresh(server: Server) -> Generator[Any, None, None]:
    """Return a client with one connection that is not used yet."""
    with closing(redis.Redis.from_pool(redis.ConnectionPool(**OWN, path=str(server.socket)))) as client:
        yield client


OWN: Any = {"connection_class": redis.UnixDomainSocketConnection, "max_connections": 1, "protocol": 2}


def test_wait_on_a_connection_that_has_not_written_reports_success_at_once(servers: Pair):
    """WAIT reports success at once on a connection that has not written.

    It waits for the writes of its own connection, so the managers send it after the commit on the same one.
    """
    servers.stop_the_replica()
    with fresh(servers.primary) as writer, fresh(servers.primary) as other:
        writer.set("new", "x")
        assert wait(writer) == 0
        assert wait(other, milliseconds=int(1000 * LIMIT)) == 1


def test_wait_after_a_mere_look_reports_success_on_valkey(servers: Pair):
    """WAIT reports success after a read, although the replica may lack the write of another connection.

    A retry that only reads would therefore be confirmed. Redis 7.0 also counted earlier writes of other connections;
    later versions do not. So the store's script makes a write for a duplicate.
    """
    commit = turn()
    with AtomicStateManager.from_url(servers.primary.url) as store:
        servers.stop_the_replica()
        assert isinstance(store.perform(commit), Committed)
    with fresh(servers.primary) as client:
        first_of_valkey = int("valkey_version" in client.info("server"))
        seen = client.eval("return redis.call('EXISTS', KEYS[1])", 1, encode(Load("m"), Digests((b"a key",))).tag)
        assert (seen, wait(client)) == (1, first_of_valkey)
        assert client.set(encode(Load("m"), Digests((b"a key",))).tag, "y", nx=True) is None
        assert wait(client) == first_of_valkey
        assert client.execute_command(*encode(commit, Digests((b"a key",))).words)[2] == b"duplicate"
        assert wait(client) == 0


@pytest.mark.embedded
def test_waitaof_does_not_wait_for_the_disk_on_everysec():
    """WAITAOF does not wait for the disk with `appendfsync everysec`.

    The log is forced to the disk once a second at most, so five waits would take four seconds. They are answered at
    once. Therefore `local` means `appendfsync always`.
    """
    options = ("--appendonly", "yes", "--appendfsync", "everysec")
    with running(valkey_program(), *options) as server, closing(server.client()) as client:
        until(lambda: not client.info("persistence")["aof_rewrite_in_progress"])
        begun = time.monotonic()
        for number in range(5):
            client.set("k", number)
            assert client.execute_command("WAITAOF", 1, 0, int(1000 * LIMIT)) == [1, 0]
        assert time.monotonic() - begun < 3.0


# The client ----------------------------------------------------------------------------------------------------------

CALLS, CONNECTIONS = 400, 20


async def calls(pool: redis.asyncio.ConnectionPool) -> list[Any]:
    """Return the results of calls that are made together."""
    async with redis.asyncio.Redis.from_pool(pool) as client:
        return await asyncio.gather(*(client.incr("k") for _ in range(CALLS)), return_exceptions=True)


@pytest.mark.asyncio
async def test_a_default_pool_raises_when_it_is_full(server: Server):
    """redis-py's default pool raises when it is full, so the managers use another one."""
    pool = redis.asyncio.ConnectionPool.from_url(server.url, max_connections=CONNECTIONS)
    results = await calls(pool)
    assert sum(isinstance(result, MaxConnectionsError) for result in results) == CALLS - CONNECTIONS


@pytest.mark.asyncio
async def test_a_blocking_pool_waits(server: Server):
    """redis-py's blocking pool waits for a free connection, so the managers use it."""
    pool = redis.asyncio.BlockingConnectionPool.from_url(server.url, max_connections=CONNECTIONS, timeout=LIMIT)
    assert sorted(await calls(pool)) == list(range(1, CALLS + 1))


def test_the_client_repeats_a_command_whose_reply_was_lost(server: Server):
    """redis-py repeats a command whose reply was lost, so the managers switch that off and repeat under one token."""
    with Proxy(server.socket) as proxy, closing(redis.Redis(unix_socket_path=proxy.url[7:], protocol=2)) as client:
        proxy.plan = ["lose"]
        client.eval("redis.call('INCR', KEYS[1]) return ':member:'", 1, "k")  # what the proxy looks for
        assert client.get("k") == b"2"
