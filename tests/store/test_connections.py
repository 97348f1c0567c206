"""Connections of a pool: the order in which threads get them, the check before use, and their return."""

from __future__ import annotations

import gc
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest
import redis
from redis._parsers import BaseParser
from redis.cache import CacheConfig

from tests.engines import Server
from vimbiso_fsm.store.connections import Connections, LimitedConnections, RequestLimit, connections_of
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.store.requests import NO_HEAD, Commit, Committed, Entry, Head, Stored, digest
from vimbiso_fsm.store.thread_wire import ThreadWire

ROOT = Path(__file__).parents[2]


class Line:
    """A connection whose other end is in the test.

    `number`: its own one; `dead`: whether it cannot be connected again; `made_anew`: how often it was.
    """

    socket_timeout: float | None = 60.0
    health_check_interval: float = 0
    next_health_check: float = 0
    _parser: Any = BaseParser

    _numbers = count()

    def __init__(self) -> None:
        self.number = next(self._numbers)
        self.dead = False
        self.made_anew = -1
        self._sock: Any = None
        self.connect()

    def connect(self) -> None:
        if self._sock is not None:
            return
        if self.dead:
            raise redis.ConnectionError("refused")
        self._sock, self.server = socket.socketpair()
        self._sock.settimeout(self.socket_timeout)
        self.made_anew += 1

    def disconnect(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self.server.close()
        self._sock = None

    def check_health(self) -> None: ...

    __del__ = disconnect


class Pool:
    """A pool of such connections. `released`: those that were returned; `refuses`: whether it makes no more."""

    def __init__(self, size: int, timeout: float | None = 60.0) -> None:
        self.max_connections, self.timeout = size, timeout
        self.released: list[Line] = []
        self.made = 0
        self.refuses = False

    def get_connection(self) -> Line:
        if self.refuses:
            raise redis.ConnectionError("refused")
        if not self.released:
            self.made += 1
            return Line()
        connection = self.released.pop()
        connection.connect()
        return connection

    def release(self, connection: Line, /) -> None:
        self.released.append(connection)

    def disconnect(self) -> None: ...


def line(wire: ThreadWire) -> Line:
    """Return the connection of a wire."""
    return cast(Line, wire.connection)


def waiting(queue: Connections | RequestLimit, count: int) -> None:
    """Wait until this number of threads waits for a connection."""
    while len(queue._waiting) != count:
        time.sleep(0.001)


def started(target: Callable[[], None]) -> threading.Thread:
    """Start a thread that does not keep the process alive."""
    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    return thread


# The order ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 5])
def test_connections_are_handed_over_in_the_order_of_asking(size: int):
    """A returned connection goes to the thread that has waited longest."""
    pool, connections, order = Pool(size), Connections(), list[int]()
    held = [connections.take(pool) for _ in range(size)]

    def asks(number: int) -> None:
        connection = connections.take(pool)
        order.append(number)
        connections.give(pool, connection)

    threads: list[threading.Thread] = []
    for number in range(12):
        threads.append(started(lambda number=number: asks(number)))  # type: ignore[misc]  # a default binds the number
        waiting(connections, number + 1)
    connections.give(pool, held.pop())
    for thread in threads:
        thread.join()
    assert order == list(range(12))
    assert pool.made == size


def test_the_thread_that_returns_a_connection_does_not_overtake_a_waiting_one():
    """A thread that returns a connection does not get it back before a waiting thread.

    In a pool of redis-py it mostly does, because it asks again before the waiting thread has woken.
    """
    pool, connections = Pool(1), Connections()
    mine = connections.take(pool)
    got, done = threading.Event(), threading.Event()

    def other() -> None:
        connection = connections.take(pool)
        got.set()
        done.wait()
        connections.give(pool, connection)

    thread = started(other)
    waiting(connections, 1)
    connections.give(pool, mine)
    pool.timeout = 0.0
    with pytest.raises(redis.ConnectionError, match="all 1 connections are in use"):
        connections.take(pool)
    assert got.wait(60)
    done.set()
    thread.join()
    assert line(connections.take(pool)) is line(mine)


def test_a_thread_that_gives_up_leaves_the_queue():
    """After a thread has timed out, a returned connection goes to the next thread that asks."""
    pool, connections = Pool(1, timeout=0.0), Connections()
    mine = connections.take(pool)
    for _ in range(3):
        with pytest.raises(redis.ConnectionError):
            connections.take(pool)
    assert not connections._waiting
    connections.give(pool, mine)
    assert line(connections.take(pool)) is line(mine)


def test_an_interrupted_wait_loses_no_connection(monkeypatch: pytest.MonkeyPatch):
    """An interrupted wait loses no connection, even if one was handed over at the same moment."""

    class Interrupted:
        def __init__(self, meanwhile: Callable[[], None]) -> None:
            self.meanwhile = meanwhile

        def acquire(self, timeout: float = -1) -> bool:
            self.meanwhile()
            raise KeyboardInterrupt

        def release(self) -> None: ...

    pool, connections = Pool(1), Connections()
    for hands_over in (False, True):
        mine = connections.take(pool)

        def meanwhile(mine: ThreadWire = mine, hands_over: bool = hands_over) -> None:
            if hands_over:
                connections.give(pool, mine)

        class Ticket:
            def __init__(self) -> None:
                self.wire: Any = None
                self.given = Interrupted(meanwhile)

        monkeypatch.setattr("vimbiso_fsm.store.connections._Ticket", Ticket)
        with pytest.raises(KeyboardInterrupt):
            connections.take(pool)
        if not hands_over:
            connections.give(pool, mine)
        assert not connections._waiting
        assert line(connections.take(pool)) is line(mine)
        connections.give(pool, mine)


def test_a_pool_without_a_time_limit_is_waited_for():
    """With `BlockingConnectionPool(timeout=None)` a thread waits without a limit, as in redis-py."""
    pool, connections, got = Pool(1, timeout=None), Connections(), list[ThreadWire]()
    mine = connections.take(pool)
    thread = started(lambda: got.append(connections.take(pool)))
    waiting(connections, 1)
    connections.give(pool, mine)
    thread.join()
    assert [line(wire) for wire in got] == [line(mine)]


@pytest.mark.parametrize("most", [1, 2, 5])
def test_threads_of_several_servers_wait_in_one_queue(most: int):
    """A returned connection lets the thread go on that has waited longest, whichever server it asks."""
    limit, order = RequestLimit(most, held=600.0), list[int]()
    servers = [(Pool(5), LimitedConnections(limit)) for _ in range(3)]

    def asks(number: int) -> None:
        pool, connections = servers[number % 3]
        connection = connections.take(pool)
        order.append(number)
        connections.give(pool, connection)

    pool, connections = servers[0]
    held = [connections.take(pool) for _ in range(most)]
    threads: list[threading.Thread] = []
    for number in range(12):
        threads.append(started(lambda number=number: asks(number)))  # type: ignore[misc]  # a default binds the number
        waiting(limit, number + 1)
    assert order == []
    connections.give(pool, held.pop())
    for thread in threads:
        thread.join()
    assert order == list(range(12))


def test_a_server_that_does_not_answer_keeps_no_thread_from_another():
    """A request that takes long counts no more, so threads go on that ask another server."""
    limit = RequestLimit(2, held=0.01)
    silent, other = (Pool(5), LimitedConnections(limit)), (Pool(5), LimitedConnections(limit))
    lost = [silent[1].take(silent[0]) for _ in range(2)]
    found = [other[1].take(other[0]) for _ in range(2)]
    assert len(found) == 2  # taken without a return
    for connection in lost:
        silent[1].give(silent[0], connection)
    assert len(limit._held) <= 2  # what counts no more is returned without effect
    for connection in found:
        other[1].give(other[0], connection)
    assert limit._held == {}


def test_a_permit_is_not_lost_with_a_failure():
    """A thread that gets no connection, or whose wait is interrupted, leaves its permit to the others."""
    limit = RequestLimit(1, held=600.0)
    pool, connections = Pool(1), LimitedConnections(limit)
    pool.refuses = True
    for _ in range(3):
        with pytest.raises(redis.ConnectionError):
            connections.take(pool)
    pool.refuses = False
    connections.give(pool, connections.take(pool))
    assert limit._held == {}


def test_a_forked_child_has_all_permits():
    """A forked child has none of the requests of its parent, so it begins with all permits and without a queue."""
    limit = RequestLimit(1, held=600.0)
    limit.take()
    limit.begin_anew()
    limit.take()
    assert len(limit._held) == 1


def test_an_interrupted_wait_loses_no_permit(monkeypatch: pytest.MonkeyPatch):
    """An interrupted wait for a permit loses none, even if one was handed over at the same moment."""

    class Interrupted:
        def acquire(self, timeout: float = -1) -> bool:
            if hands_over:
                limit.give(mine)
            raise KeyboardInterrupt

        def release(self) -> None: ...

    class Ticket:
        def __init__(self) -> None:
            self.given = Interrupted()

    limit = RequestLimit(1, held=600.0)
    for hands_over in (False, True):
        mine = limit.take()
        with monkeypatch.context() as patched:
            patched.setattr("vimbiso_fsm.store.connections._Ticket", Ticket)
            with pytest.raises(KeyboardInterrupt):
                limit.take()
        if not hands_over:
            limit.give(mine)
        assert (list(limit._waiting), limit._held) == ([], {})


# What is handed over -----------------------------------------------------------------------------------------------


def test_the_connection_used_last_is_used_again():
    """The connection that was used last is used again, so no more are made than are needed at once."""
    pool, connections = Pool(5), Connections()
    first, second = connections.take(pool), connections.take(pool)
    connections.give(pool, first)
    connections.give(pool, second)
    assert connections.take(pool) is second
    assert (pool.made, line(first).made_anew, line(second).made_anew) == (2, 0, 0)


def a_reply_is_left(of: Line) -> None:
    """Let the server send what no command waits for."""
    of.server.sendall(b"+OK\r\n")


def the_server_ends(of: Line) -> None:
    """Close the other end."""
    of.server.close()


def another_thread_closes_it(of: Line) -> None:
    """Close the connection as its pool does for another thread."""
    of.disconnect()


def its_socket_fails(of: Line) -> None:
    """Close the socket beneath the connection."""
    of._sock.close()


@pytest.mark.parametrize("fault", [a_reply_is_left, the_server_ends, another_thread_closes_it, its_socket_fails])
def test_a_connection_that_is_out_of_step_or_has_ended_is_made_anew(fault: Callable[[Line], None]):
    """A connection that has ended, or on which a reply was left, is connected again before it is used."""
    pool, connections = Pool(2), Connections()
    wire = connections.take(pool)
    connections.give(pool, wire)
    fault(line(wire))
    assert connections.take(pool) is wire
    assert line(wire).made_anew == 1
    line(wire).server.sendall(b"+PONG\r\n")
    assert wire.exchange(b"PING\r\n", 1) == [b"PONG"]


def test_a_reply_that_no_command_waits_for_makes_the_connection_anew():
    """A reply that arrives together with the one that is waited for is not taken for that of the next command."""
    pool, connections = Pool(2), Connections()
    wire = connections.take(pool)
    line(wire).server.sendall(b"+first\r\n+second\r\n")
    assert wire.exchange(b"PING\r\n", 1) == [b"first"]
    connections.give(pool, wire)
    assert connections.take(pool) is wire
    assert line(wire).made_anew == 1


@pytest.mark.parametrize("answer", [b"", b"+fir", b"!no reply of the protocol\r\n", b"-LOADING the data\r\n"])
def test_a_connection_is_closed_after_a_lost_reply(answer: bytes):
    """After a reply that did not arrive, or is none, the connection is closed, and the command has no answer."""
    wire = ThreadWire(of := Line())
    of.server.sendall(b"+first\r\n-ERR refused\r\n" + answer)
    of.server.shutdown(socket.SHUT_WR)
    first, *lost = wire.exchange(b"PING\r\n" * 4, 4)
    assert first == b"first"
    assert [isinstance(reply, redis.ConnectionError | redis.InvalidResponse) for reply in lost] == [True] * 3
    assert of._sock is None


def test_a_connection_is_closed_after_a_timeout():
    """A command whose reply does not arrive in time has a timeout as its answer, and the connection is closed."""
    wire = ThreadWire(of := Line())
    of._sock.settimeout(0.01)
    [reply] = wire.exchange(b"PING\r\n", 1)
    assert isinstance(reply, redis.TimeoutError)
    assert of._sock is None


def test_a_long_reply_is_read_in_parts():
    """A reply that is longer than what is read at once is put together."""
    wire, body = ThreadWire(of := Line()), b"x" * 50_000
    of.server.sendall(b"$50000\r\n" + body + b"\r\n+OK\r\n")
    assert wire.exchange(b"GET a\r\nPING\r\n", 2) == [body, b"OK"]


def test_a_push_message_is_no_reply():
    """A push message of protocol 3 is passed on to redis-py, which may want the connection to be made anew."""
    pushed: list[Any] = []

    class Parser(BaseParser):
        handle_push_response = staticmethod(pushed.append)

    class Moving(Line):
        _parser = Parser

        def should_reconnect(self) -> bool:
            return bool(pushed)

    wire = ThreadWire(of := Moving())
    of.server.sendall(b">2\r\n+MOVING\r\n+soon\r\n+PONG\r\n")
    assert wire.exchange(b"PING\r\n", 1) == [b"PONG"]
    assert pushed == [[b"MOVING", b"soon"]]
    assert of._sock is None


def test_the_health_of_a_connection_is_checked_before_it_is_used():
    """redis-py checks a connection that was idle for its interval; what it makes anew is taken over."""

    class Checked(Line):
        health_check_interval = 10.0

        def check_health(self) -> None:
            if time.monotonic() > self.next_health_check:
                self.disconnect()
                self.connect()

    wire = ThreadWire(of := Checked())
    for anew in (1, 1):
        wire.prepare()
        of.server.sendall(b"+PONG\r\n")
        assert wire.exchange(b"PING\r\n", 1) == [b"PONG"]
        assert of.made_anew == anew


def test_the_right_to_make_a_connection_is_not_lost_with_a_failure():
    """If a thread cannot make a connection, the next waiting thread may make one."""
    pool, connections, errors = Pool(1), Connections(), list[str]()
    mine = connections.take(pool)

    def asks() -> None:
        try:
            connections.take(pool)
        except redis.ConnectionError as error:
            errors.append(str(error))

    threads = []
    for number in range(3):
        threads.append(started(asks))
        waiting(connections, number + 1)
    pool.refuses = True
    line(mine).disconnect()
    line(mine).dead = True
    connections.give(pool, mine)
    for thread in threads:
        thread.join()
    assert errors == ["refused"] * 3
    line(mine).dead = pool.refuses = False
    assert isinstance(connections.take(pool), ThreadWire)


def test_the_last_connection_of_a_pool_goes_back_to_it():
    """The last connection goes back to the pool, so that its other users find one while this process is idle."""
    for size in (1, 2, 3):
        pool, connections = Pool(size), Connections()
        taken = [connections.take(pool) for _ in range(size)]
        for connection in taken:
            connections.give(pool, connection)
        assert len(pool.released) == 1
        assert len({line(connections.take(pool)).number for _ in range(size)}) == pool.made == size


def test_closing_gives_the_idle_ones_back():
    """Closing gives each idle connection back to its pool, and connections can be taken again."""
    pool, connections = Pool(3), Connections()
    taken = [connections.take(pool) for _ in range(3)]
    for connection in taken:
        connections.give(pool, connection)
    connections.close(pool)
    assert len(pool.released) == 3
    assert len({line(connections.take(pool)).number for _ in range(3)}) == 3


def test_a_pool_is_not_kept_alive():
    """A pool that is no longer used is garbage collected, because the pools of a cluster change."""
    pool = Pool(2)
    connections = connections_of(pool)
    assert connections_of(pool) is connections
    connections.give(pool, connections.take(pool))
    gone = weakref.ref(pool)
    del pool
    gc.collect()
    assert gone() is None


# On real servers ---------------------------------------------------------------------------------------------------


def turn(member: str, head: Head, token: str) -> Commit:
    """Return the commit of a turn after a head."""
    body = b"%d %b" % (head.version + 1, token.encode())
    return Commit(member, head, token, token, "said", b"{}", Entry(head.version + 1, digest(body), body), b"record")


def test_forty_threads_on_one_store_all_finish_without_an_error(server: Server):
    """Twice as many threads as connections, each with turns of its own member, all finish without an error."""
    turns, finished, errors = 25, list[int](), list[Exception]()
    begin = threading.Barrier(40)

    def works(number: int) -> None:
        try:
            begin.wait()
            head = NO_HEAD
            for count in range(turns):
                answer = manager.commit(turn(f"m{number}", head, f"t{count}"))
                assert isinstance(answer, Committed)
                head = answer.head
            finished.append(head.version)
        except Exception as error:
            errors.append(error)

    with AtomicStateManager.from_url(server.url) as manager:
        threads = [threading.Thread(target=works, args=(number,)) for number in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert errors == []
    assert finished == [turns] * 40


def test_managers_of_one_client_share_its_connections(server: Server):
    """Managers of one client share its connections, and the client itself finds one too."""
    pool = redis.BlockingConnectionPool.from_url(server.url, max_connections=1, timeout=60)
    with redis.Redis.from_pool(pool) as client:
        one, other = AtomicStateManager(client), AtomicStateManager(client)
        for manager in (one, other, one):
            assert isinstance(manager.load("m"), Stored)
            assert client.ping()
        assert len(client.client_list()) == 1
        one.close()
        other.close()


@pytest.mark.parametrize(
    "options",
    [{"protocol": 2}, {"protocol": 3}, {"protocol": 3, "cache_config": CacheConfig()}, {"decode_responses": True}],
    ids=["protocol 2", "protocol 3", "cache of the client", "texts"],
)
def test_a_manager_reads_the_replies_of_any_client(server: Server, options: dict[str, Any]):
    """Replies are read as bytes whatever protocol a client of redis-py speaks, and whether it keeps or decodes them."""
    with redis.Redis(unix_socket_path=str(server.socket), **options) as client:
        with AtomicStateManager(client) as manager:
            assert isinstance(manager.commit(turn("m", NO_HEAD, "t")), Committed)
            stored = manager.load("m")
            assert isinstance(stored, Stored)
            assert stored.document == b"{}"
        assert client.ping()


FORKED = """
import os, sys
from vimbiso_fsm.store.redis_atomic import AtomicStateManager

with AtomicStateManager.from_url(sys.argv[1]) as manager:
    received = lambda: manager.servers.client.info("stats")["total_connections_received"]
    manager.load("m")
    before = received()
    child = os.fork()
    if child == 0:
        manager.load("m")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    manager.load("m")
    print(received() - before)
"""


def test_a_forked_child_uses_no_connection_of_its_parent(server: Server):
    """A forked child makes connections of its own, because it would read the replies of its parent."""
    command = [sys.executable, "-W", "ignore", "-c", FORKED, server.url]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "1\n"
