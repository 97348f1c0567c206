"""Connections of a pool: the order in which threads get them, the check before use, and their return."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
import redis

from tests.engines import Server
from vimbiso_fsm.store.connections import Connections, LimitedConnections, RequestLimit, connections_of
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.store.requests import NO_HEAD, Commit, Committed, Entry, Head, Stored, digest

ROOT = Path(__file__).parents[2]


class Line:
    """A connection without a network.

    `fault`: the error or the result of a check; `dead`: whether it cannot be connected again.
    """

    def __init__(self) -> None:
        self.fault: Exception | bool = False
        self.connected, self.dead = True, False
        self.made_anew = 0

    def connect(self) -> None:
        if self.dead and not self.connected:
            raise redis.ConnectionError("refused")
        self.made_anew += not self.connected
        self.connected = True

    def disconnect(self) -> None:
        self.connected = False

    def can_read(self) -> bool:
        if isinstance(self.fault, Exception):
            raise self.fault
        return self.fault

    def send_packed_command(self, command: Sequence[bytes], /) -> None: ...

    def read_response(self, *, disable_decoding: bool) -> Any: ...


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
        if self.released:
            return self.released.pop()
        self.made += 1
        return Line()

    def release(self, connection: Line) -> None:
        self.released.append(connection)

    def disconnect(self) -> None: ...


class Lines(Connections):
    """Connections of a pool of lines."""

    def take(self, pool: Any) -> Line:
        return cast(Line, super().take(pool))


class Limited(LimitedConnections):
    """Connections of a pool of lines that shares a limit."""

    def take(self, pool: Any) -> Line:
        return cast(Line, super().take(pool))


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
    pool, connections, order = Pool(size), Lines(), list[int]()
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
    pool, connections = Pool(1), Lines()
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
    assert connections.take(pool) is mine


def test_a_thread_that_gives_up_leaves_the_queue():
    """After a thread has timed out, a returned connection goes to the next thread that asks."""
    pool, connections = Pool(1, timeout=0.0), Lines()
    mine = connections.take(pool)
    for _ in range(3):
        with pytest.raises(redis.ConnectionError):
            connections.take(pool)
    assert not connections._waiting
    connections.give(pool, mine)
    assert connections.take(pool) is mine


def test_an_interrupted_wait_loses_no_connection(monkeypatch: pytest.MonkeyPatch):
    """An interrupted wait loses no connection, even if one was handed over at the same moment."""

    class Interrupted:
        def __init__(self, meanwhile: Callable[[], None]) -> None:
            self.meanwhile = meanwhile

        def acquire(self, timeout: float = -1) -> bool:
            self.meanwhile()
            raise KeyboardInterrupt

        def release(self) -> None: ...

    pool, connections = Pool(1), Lines()
    for hands_over in (False, True):
        mine = connections.take(pool)

        def meanwhile(mine: Line = mine, hands_over: bool = hands_over) -> None:
            if hands_over:
                connections.give(pool, mine)

        class Ticket:
            def __init__(self) -> None:
                self.connection: Any = None
                self.given = Interrupted(meanwhile)

        monkeypatch.setattr("vimbiso_fsm.store.connections._Ticket", Ticket)
        with pytest.raises(KeyboardInterrupt):
            connections.take(pool)
        if not hands_over:
            connections.give(pool, mine)
        assert not connections._waiting
        assert connections.take(pool) is mine
        connections.give(pool, mine)


def test_a_pool_without_a_time_limit_is_waited_for():
    """With `BlockingConnectionPool(timeout=None)` a thread waits without a limit, as in redis-py."""
    pool, connections, got = Pool(1, timeout=None), Lines(), list[Line]()
    mine = connections.take(pool)
    thread = started(lambda: got.append(connections.take(pool)))
    waiting(connections, 1)
    connections.give(pool, mine)
    thread.join()
    assert got == [mine]


@pytest.mark.parametrize("most", [1, 2, 5])
def test_threads_of_several_servers_wait_in_one_queue(most: int):
    """A returned connection lets the thread go on that has waited longest, whichever server it asks."""
    limit, order = RequestLimit(most, held=600.0), list[int]()
    servers = [(Pool(5), Limited(limit)) for _ in range(3)]

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
    silent, other = (Pool(5), Limited(limit)), (Pool(5), Limited(limit))
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
    pool, connections = Pool(1), Limited(limit)
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
    pool, connections = Pool(5), Lines()
    first, second = connections.take(pool), connections.take(pool)
    connections.give(pool, first)
    connections.give(pool, second)
    assert connections.take(pool) is second
    assert (pool.made, first.made_anew, second.made_anew) == (2, 0, 0)


@pytest.mark.parametrize("fault", [True, redis.ConnectionError("ended"), OSError("ended")], ids=["data", "end", "os"])
def test_a_connection_that_is_out_of_step_or_has_ended_is_made_anew(fault: Exception | bool):
    """A connection that has ended, or on which a reply was left, is connected again before it is used."""
    pool, connections = Pool(2), Lines()
    line = connections.take(pool)
    connections.give(pool, line)
    line.fault = fault
    assert connections.take(pool) is line
    assert line.made_anew == 1


def test_the_right_to_make_a_connection_is_not_lost_with_a_failure():
    """If a thread cannot make a connection, the next waiting thread may make one."""
    pool, connections, errors = Pool(1), Lines(), list[str]()
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
    mine.fault = mine.dead = True
    connections.give(pool, mine)
    for thread in threads:
        thread.join()
    assert errors == ["refused"] * 3
    mine.fault = mine.dead = pool.refuses = False
    assert isinstance(connections.take(pool), Line)


def test_the_last_connection_of_a_pool_goes_back_to_it():
    """The last connection goes back to the pool, so that its other users find one while this process is idle."""
    for size in (1, 2, 3):
        pool, connections = Pool(size), Lines()
        taken = [connections.take(pool) for _ in range(size)]
        for connection in taken:
            connections.give(pool, connection)
        assert len(pool.released) == 1
        assert len({id(connections.take(pool)) for _ in range(size)}) == pool.made == size


def test_closing_gives_the_idle_ones_back():
    """Closing gives each idle connection back to its pool, and connections can be taken again."""
    pool, connections = Pool(3), Lines()
    taken = [connections.take(pool) for _ in range(3)]
    for connection in taken:
        connections.give(pool, connection)
    connections.close(pool)
    assert len(pool.released) == 3
    assert len({id(connections.take(pool)) for _ in range(3)}) == 3


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
