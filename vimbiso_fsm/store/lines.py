"""The commands that tasks wait to send to one server, and the wires on which they leave, in the order of asking.

Commands of one moment leave on one wire, those of the next moment on another one if a reply is still due: what is sent
on a connection that hangs is lost. When the pool allows no further connection, they follow one another on those there
are, without waiting for replies.

Nothing is buffered without a limit. While a server reads more slowly than commands come, they wait here, each with the
task that wants its answer. They wait as long as the server answers, because thousands at once are no fault; when it
falls silent, or when there is no connection to it, all that wait are told that they were not sent.
"""

from __future__ import annotations

import asyncio
import os
import weakref
from collections import deque
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final
from weakref import WeakKeyDictionary

import redis

from vimbiso_fsm.errors import VimbisoError
from vimbiso_fsm.store.attempts import Attempts, NotSent
from vimbiso_fsm.store.connections import AsyncConnection, AsyncPool
from vimbiso_fsm.store.pending import Pending
from vimbiso_fsm.store.pipeline import Answer
from vimbiso_fsm.store.script import Words
from vimbiso_fsm.store.servers import AsyncServers
from vimbiso_fsm.store.wire import Wire

REQUESTS_PER_PIPELINE: Final = 64
"""Commands that are written together at most. So many leave without waiting for the rest of the moment."""


class Line:
    """The waiting commands and the wires of one pool, in its event loop."""

    def __init__(self, pool: AsyncPool) -> None:
        """Make a line without wires; the pool stays collectable."""
        self._pool = weakref.ref(pool)
        self._waiting: deque[Pending] = deque()
        self._wires: list[Wire] = []
        self._opening = 0
        self._count = 0  # the commands of this moment
        self._current: Wire | None = None  # on which they leave
        self._is_alone = False  # the latest moment had one command, no other was on its way, and none has joined since
        self._settled = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def put(self, pending: Pending) -> None:
        """Send a command together with the others of the moment.

        One that no other joined the last time leaves at once while none is on its way, and begins no moment. At
        durability "replicated" it waits for the moment's end, because one WAIT confirms them all.
        """
        is_alone = self._is_alone and pending.confirm is None and not self._waiting and self._is_idle()
        self._waiting.append(pending)
        if is_alone:
            self._send()
            return
        self._is_alone = False
        self._count += 1
        if self._count == 1:
            asyncio.get_running_loop().call_soon(self._end_moment)  # runs after every task that is ready now
        if pending.confirm is None and len(self._waiting) >= REQUESTS_PER_PIPELINE:
            self._send()

    async def close(self) -> None:
        """Wait for the commands that are waiting or on their way, then give the connections back to the pool."""
        while self._waiting or self._opening or not self._is_idle():
            self._settled.clear()
            await self._settled.wait()
        for wire in tuple(self._wires):
            self._give_back(wire)
        while self._tasks:
            await asyncio.wait(self._tasks)

    def disconnect(self) -> None:
        """Close the connections. What is on its way on them is lost."""
        for wire in tuple(self._wires):
            wire.end(redis.ConnectionError("the connections were dropped, because a reply made no sense"))

    # What wires call ---------------------------------------------------------------------------------------------

    def send_again(self, commands: list[Pending]) -> None:
        """Send these commands before all that wait."""
        self._waiting.extendleft(reversed(commands))

    def is_ready(self, wire: Wire) -> None:
        """Send what waits. If nothing does, a pool gets its last connection back, so that its other users find one."""
        if self._waiting:
            self._send()
        elif wire.is_idle:
            pool = self._pool()
            if pool is not None and len(self._wires) >= pool.max_connections:
                self._give_back(wire)
        self._settled.set()

    def has_ended(self, wire: Wire, cause: BaseException | None) -> None:
        """Return the connection, and send what waits on another one; none of it if the server has fallen silent."""
        self._wires.remove(wire)
        self._return(wire.connection, usable=False)
        if isinstance(cause, redis.TimeoutError) and not self._wires:
            self._refuse(cause)
        if self._waiting:
            self._send()
        self._settled.set()

    def run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a task to its end, also after its caller is gone."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # Its own -----------------------------------------------------------------------------------------------------

    def _end_moment(self) -> None:
        """Send what waits of this moment. What comes afterwards is of the next one."""
        count, self._count = self._count, 0
        self._send()
        on_the_way = len(self._waiting) + sum(not wire.is_idle for wire in self._wires)
        self._is_alone = count == 1 and on_the_way <= 1

    def _send(self) -> None:
        """Send what waits, as far as there are wires; all of one moment on one wire."""
        while self._waiting and (wire := self._free_wire()) is not None:
            self._current = wire
            count, take = min(len(self._waiting), REQUESTS_PER_PIPELINE), self._waiting.popleft
            if batch := [pending for _ in range(count) if not (pending := take()).answer.done()]:
                wire.send(batch)
        if not self._count:  # no moment has begun that others may join
            self._current = None

    def _free_wire(self) -> Wire | None:
        """Return a wire to send on: that of the moment, an idle one, or any if the pool has no other connection."""
        if self._current is not None and self._current.check(joining=True):
            return self._current
        for wire in self._wires:
            if wire.check(joining=False):
                return wire
        if self._open():
            return None
        return next((wire for wire in self._wires if wire.check(joining=True)), None)

    def _is_idle(self) -> bool:
        for wire in self._wires:  # noqa: SIM110  # a generator would be calls in each turn
            if not wire.is_idle:
                return False
        return True

    def _open(self) -> bool:
        """Open a wire, or several for very many commands; return False if the pool has no further connection."""
        pool = self._pool()
        if pool is None or len(self._wires) >= pool.max_connections:
            return False
        wanted = -(-len(self._waiting) // REQUESTS_PER_PIPELINE)
        while self._opening < min(wanted, pool.max_connections - len(self._wires)):
            self._opening += 1
            self.run(self._opened(pool)).add_done_callback(self._has_opened)
        return True

    async def _opened(self, pool: AsyncPool) -> None:
        connection = await pool.get_connection()
        try:
            self._wires.append(Wire(connection, self))
        except BaseException:
            self._return(connection, usable=False)
            raise

    def _has_opened(self, task: asyncio.Task[None]) -> None:
        """Send what waits. Called in any case, also if the task is cancelled before it begins."""
        self._opening -= 1
        cause = asyncio.CancelledError() if task.cancelled() else task.exception()
        if cause is None:
            self._send()
        elif not self._wires:  # else they go on with what waits
            self._refuse(cause)
        self._settled.set()

    def _refuse(self, cause: BaseException) -> None:
        """Tell all that wait that they were not sent."""
        waiting, self._waiting = self._waiting, deque()
        for pending in waiting:
            failure = NotSent()
            failure.__cause__ = cause
            pending.give(failure)

    def _give_back(self, wire: Wire) -> None:
        self._wires.remove(wire)
        wire.give_back()
        self._return(wire.connection, usable=True)

    def _return(self, connection: AsyncConnection, *, usable: bool) -> None:
        """Return a connection to the pool, whoever cancels the task."""

        def again(task: asyncio.Task[None]) -> None:
            if task.cancelled():
                self._return(connection, usable=False)

        self.run(self._returned(connection, usable)).add_done_callback(again)

    async def _returned(self, connection: AsyncConnection, usable: bool) -> None:
        pool = self._pool()
        with suppress(Exception):  # redis-py raises more than its own errors, and the answers have been given
            if not usable:
                await connection.disconnect(nowait=True)
        with suppress(Exception):
            if pool is not None:
                await pool.release(connection)


# A pool serves one event loop. It has one line, even if several managers share the pool.
_known: WeakKeyDictionary[AsyncPool, Line] = WeakKeyDictionary()

if hasattr(os, "register_at_fork"):  # a child must not send on its parent's connections
    os.register_at_fork(after_in_child=_known.clear)


class LoopLines:
    """The servers of one event loop, and the lines to them."""

    def __init__(self, servers: AsyncServers, confirm: Words | None) -> None:
        """Take the servers, and the words of the WAIT for a replica, if one is to be waited for."""
        self.servers = servers
        self._confirm = confirm

    async def answer(self, words: Words, attempts: Attempts) -> Answer:
        """Send a command to the server that has its keys, and return its answer.

        Raises whatever took the place of the answer: an error of redis-py, or `NotSent`.
        """
        attempts.seen = self.servers.seen
        try:
            pool = await self.servers.pool(words, attempts.redirect)
        except VimbisoError:
            raise
        except Exception as error:  # redis-py raises more than its own errors
            raise NotSent from error
        line = _known.get(pool)
        if line is None:
            line = _known[pool] = Line(pool)
        confirm = None if self._confirm is None or not attempts.lasting else self._confirm
        pending = Pending(words, asyncio.get_running_loop().create_future(), attempts.asking, confirm)
        line.put(pending)
        return await pending.answer

    async def disconnect(self) -> None:
        """Drop all connections; new ones are made when they are needed."""
        for line in self._lines():
            line.disconnect()
        await self.servers.disconnect()

    async def close(self) -> None:
        """Wait for the commands that are waiting or on their way, then close the connections."""
        for line in self._lines():
            await line.close()
        await self.servers.close()

    def abandon(self) -> None:
        """Close the sockets. The event loop does not run, so what was being sent has no answer."""
        for pool in self.servers.pools:
            _known.pop(pool, None)  # its tasks keep the pool alive, and never end
        self.servers.abandon()

    def _lines(self) -> list[Line]:
        return [line for pool in self.servers.pools if (line := _known.get(pool)) is not None]
