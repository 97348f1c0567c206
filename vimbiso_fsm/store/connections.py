"""Connections of a pool, handed from thread to thread in the order of asking.

redis-py's pools give a free connection to whichever thread asks first after it was returned, which is mostly the thread
that returned it: under load the others starve until they time out. Here a thread that finds no free connection takes a
ticket, and a returned connection goes to the oldest ticket.

The pool still makes the connections, and counts those that are kept here as in use. A kept connection is checked before
each use, which costs less than asking the pool for it.

Threads that share the servers of a cluster also wait for each other across the pools (`RequestLimit`).
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import deque
from typing import Any, Final, Protocol
from weakref import WeakKeyDictionary, ref

import redis

from vimbiso_fsm.store.thread_wire import Connection, ThreadWire

WAIT: Final = 5.0
"""Seconds that a thread waits for a connection of a pool that has no `timeout`."""
PERMIT_HELD: Final = 0.25
"""Seconds for which a request counts for a `RequestLimit` at most."""


class AsyncConnection(Protocol):
    """A connection of redis-py for an event loop, as far as the store uses it."""

    socket_timeout: float | None
    health_check_interval: float
    _writer: asyncio.StreamWriter | None
    _parser: Any

    async def disconnect(self, nowait: bool = False) -> None:
        """Close the connection. It connects again when it is used."""


class Pool(Protocol):
    """A pool of redis-py, as far as the store uses it."""

    max_connections: int

    def get_connection(self) -> Connection:
        """Take a connection, or make one."""
        ...

    def release(self, connection: Any, /) -> None:
        """Return a connection that was taken."""

    def disconnect(self) -> None:
        """Close all connections."""


class AsyncPool(Protocol):
    """A pool of redis-py for an event loop, as far as the store uses it."""

    max_connections: int

    async def get_connection(self) -> AsyncConnection:
        """Take a connection, or make one."""
        ...

    async def release(self, connection: Any, /) -> None:
        """Return a connection that was taken."""

    async def disconnect(self) -> None:
        """Close all connections."""


class _Ticket:
    """A waiting thread. `given` is released once `wire` is set."""

    __slots__ = ("given", "wire")

    def __init__(self) -> None:
        self.wire: ThreadWire | None = None
        self.given = threading.Lock()
        self.given.acquire()


class _Queue:
    """Threads that wait in the order of asking."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[_Ticket] = deque()

    def _withdraw(self, ticket: _Ticket) -> bool:
        """Take a ticket back; return False if the thread was served meanwhile."""
        with self._lock:
            if ticket not in self._waiting:
                return False
            self._waiting.remove(ticket)
            return True


class RequestLimit(_Queue):
    """A limit of the requests that threads make to several servers at the same time, in the order of asking.

    Threads of a server that many ask would make fewer turns than those of another one, because more of them share its
    connections. With the limit, all threads wait in one queue.

    A request that is not answered within `held` seconds counts no more, so that a server which does not answer keeps no
    thread from the other servers.
    """

    def __init__(self, most: int, held: float = PERMIT_HELD) -> None:
        """Allow `most` requests at the same time, each of which counts for `held` seconds."""
        super().__init__()
        self._most, self._seconds = most, held
        self._held: dict[object, float] = {}  # the permits that count, the oldest first, with the end of each

    def begin_anew(self) -> None:
        """Forget all permits and waiting threads, in a process that was forked."""
        self.__init__(self._most, self._seconds)  # type: ignore[misc]  # no subclass has another signature

    def take(self) -> object:
        """Wait for a permit, and return it."""
        ticket = _Ticket()
        with self._lock:
            if not self._waiting and self._has_room():
                self._hold(ticket)
                return ticket
            self._waiting.append(ticket)
        try:
            while not ticket.given.acquire(timeout=self._seconds):
                self._admit()
        except BaseException:
            if not self._withdraw(ticket):
                self.give(ticket)
            raise
        return ticket

    def give(self, permit: object) -> None:
        """Give a permit back."""
        with self._lock:
            self._held.pop(permit, None)
        self._admit()

    def _admit(self) -> None:
        """Give permits to the threads that have waited longest, as far as there are some."""
        with self._lock:
            while self._waiting and self._has_room():
                ticket = self._waiting.popleft()
                self._hold(ticket)
                ticket.given.release()

    def _hold(self, permit: object) -> None:
        self._held[permit] = time.monotonic() + self._seconds

    def _has_room(self) -> bool:
        if len(self._held) < self._most:
            return True
        oldest = next(iter(self._held))
        if time.monotonic() < self._held[oldest]:
            return False
        del self._held[oldest]
        return True


class Connections(_Queue):
    """The connections of one pool. Each method takes the pool, because a kept one would never be collected."""

    def __init__(self) -> None:
        super().__init__()
        self._idle: list[ThreadWire] = []
        self._taken = 0  # connections that threads hold or make, and idle ones

    def take(self, pool: Pool) -> ThreadWire:
        """Take a connection that can be sent on: the one used last, a new one, or the next that is returned.

        Raises:
            redis.ConnectionError: None is returned within the `timeout` of the pool, or the server cannot be reached.
        """
        ticket = None
        wire = None
        with self._lock:
            if self._idle:
                wire = self._idle.pop()
            elif self._taken < pool.max_connections:
                self._taken += 1
            else:
                ticket = _Ticket()
                self._waiting.append(ticket)
        if ticket is not None:
            wire = self._wait(pool, ticket)
        try:
            if wire is None:
                return _made(pool)
            wire.prepare()
        except BaseException:
            self.give(pool, wire)
            raise
        return wire

    def give(self, pool: Pool, wire: ThreadWire | None) -> None:
        """Return a connection that was taken. None returns the right to make one.

        The last connection of a pool goes back to the pool itself, so that other users of the same pool (the doctor,
        the embedder's own client) find one while no thread waits here.
        """
        with self._lock:
            if self._waiting:
                ticket = self._waiting.popleft()
                ticket.wire = wire
                ticket.given.release()
                return
            if wire is not None and len(self._idle) < pool.max_connections - 1:
                self._idle.append(wire)
                return
            self._taken -= 1
        if wire is not None:
            pool.release(wire.connection)

    def close(self, pool: Pool) -> None:
        """Return the idle connections to the pool."""
        with self._lock:
            idle, self._idle = self._idle, []
            self._taken -= len(idle)
        for wire in idle:
            pool.release(wire.connection)

    def _wait(self, pool: Pool, ticket: _Ticket) -> ThreadWire | None:
        timeout = getattr(pool, "timeout", WAIT)
        try:
            given = ticket.given.acquire(timeout=-1 if timeout is None else timeout)
        except BaseException:
            if not self._withdraw(ticket):
                self.give(pool, ticket.wire)
            raise
        if not given and self._withdraw(ticket):
            raise redis.ConnectionError(f"all {pool.max_connections} connections are in use")
        return ticket.wire


def _made(pool: Pool) -> ThreadWire:
    connection = pool.get_connection()
    try:
        return ThreadWire(connection)
    except BaseException:
        pool.release(connection)
        raise


class LimitedConnections(Connections):
    """The connections of one of several pools that share a limit."""

    def __init__(self, limit: RequestLimit) -> None:
        super().__init__()
        self._limit = limit
        self._permits: dict[ThreadWire | None, object] = {}

    def take(self, pool: Pool) -> ThreadWire:
        """Take a connection as `Connections.take` does, after a permit."""
        permit = self._limit.take()
        try:
            wire = super().take(pool)
            self._permits[wire] = permit
        except BaseException:
            self._limit.give(permit)
            raise
        return wire

    def give(self, pool: Pool, wire: ThreadWire | None) -> None:
        """Return a connection that was taken, and its permit."""
        permit = self._permits.pop(wire, None)  # none if the connection could not be made
        try:
            super().give(pool, wire)
        finally:
            if permit is not None:
                self._limit.give(permit)


# A pool has one queue in a process, even if several managers share the pool.
# The keys are weak references, which a dictionary compares without a call of Python: each request looks here.
_known: dict[ref[Pool], Connections] = {}
_limits: WeakKeyDictionary[Pool, RequestLimit] = WeakKeyDictionary()


def connections_of(pool: Pool) -> Connections:
    """Return the connections of a pool in this process."""
    found = _known.get(ref(pool))
    if found is not None:
        return found
    limit = _limits.get(pool)
    made = Connections() if limit is None else LimitedConnections(limit)
    return _known.setdefault(ref(pool, _forget), made)


def _forget(gone: ref[Pool]) -> None:
    _known.pop(gone, None)


def share(limit: RequestLimit, pool: Pool) -> None:
    """Let a new pool share a limit with others."""
    _limits[pool] = limit


def _begin_anew() -> None:
    _known.clear()
    for limit in set(_limits.values()):
        limit.begin_anew()


if hasattr(os, "register_at_fork"):  # a child must not send on its parent's connections, nor wait for its threads
    os.register_at_fork(after_in_child=_begin_anew)
