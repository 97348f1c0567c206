"""A queue per member in the process: its messages are served one after the other. The head protects what is stored;
the queue spares conflicts."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Self

import attrs

from vimbiso_fsm.errors import Contended

if TYPE_CHECKING:
    import asyncio  # not at run time: `import vimbiso_fsm` does not load it


@attrs.define
class _Place:
    """A member's place in a queue: whoever holds `lock` is being served; `waiting` counts all who want it."""

    lock: Any
    waiting: int = 0


class MemberLock:
    """A member's place in the queue, held within its `with`; it may be let go for a while. When it cannot be taken back
    in time the work goes on without it: the place only spares conflicts."""

    __slots__ = ("_key", "_lock", "_patience", "_place", "_queue", "held")

    def __init__(self, queue: Queue, key: object, patience: float) -> None:
        self._queue, self._key, self._patience = queue, key, patience
        self.held = False

    def __enter__(self) -> Self:
        """Hold the member's place.

        Raises: Contended when it does not come free within the patience.
        """
        self._place = self._queue.join(self._key)
        self._lock = self._place.lock
        try:
            self.held = self._lock.acquire(timeout=self._patience)
        finally:
            if not self.held:
                self._queue.leave(self._key, self._place)
        if not self.held:
            raise Contended("", self._patience, 0)
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        self._queue.leave(self._key, self._place)

    def release(self) -> None:
        """Let the next one in, if the place is held."""
        if self.held:
            self._lock.release()
        self.held = False

    def reacquire(self) -> None:
        """Have the place again, if that can be within the patience."""
        self.held = self.held or self._lock.acquire(timeout=self._patience)


class Queue:
    """Messages of one member are served one after the other within the process."""

    def __init__(self) -> None:
        self._places: dict[object, _Place] = {}
        self._guard = threading.Lock()

    def place(self, key: object, patience: float) -> MemberLock:
        """The member's place, to be held by `with`. `patience`: seconds to wait until it comes free."""
        return MemberLock(self, key, patience)

    def join(self, key: object) -> _Place:
        """Count a waiter of a member's place."""
        with self._guard:
            place = self._places.get(key)
            if place is None:
                place = self._places[key] = _Place(threading.Lock())
            place.waiting += 1
            return place

    def leave(self, key: object, place: _Place) -> None:
        """Count it no more; the place of the last one is removed."""
        with self._guard:
            place.waiting -= 1
            if not place.waiting:
                self._places.pop(key, None)


class AsyncMemberLock:
    """The same for the tasks of one event loop; with a seat, from which it rises while it only waits."""

    __slots__ = ("_key", "_lock", "_patience", "_place", "_queue", "_seated", "held")

    def __init__(self, queue: AsyncQueue, key: object, patience: float) -> None:
        self._queue, self._key, self._patience = queue, key, patience
        self.held = self._seated = False

    async def __aenter__(self) -> Self:
        """Hold the member's place.

        Raises: Contended when it does not come free within the patience.
        """
        self._place = self._queue.join(self._key)
        self._lock = self._place.lock
        try:
            self.held = await _acquired(self._lock, self._patience)
            if self.held:
                await self.reacquire()
        except BaseException:
            self._leave()
            raise
        if not self.held:
            self._leave()
            raise Contended("", self._patience, 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._leave()

    def _leave(self) -> None:
        self.give_up_slot()
        self.release()
        self._queue.leave(self._key, self._place)

    def give_up_slot(self) -> None:
        """Give the seat to somebody else, and keep the place."""
        if self._seated:
            self._queue.seats.release()
        self._seated = False

    def release(self) -> None:
        """Let the next one in, if the place is held."""
        if self.held:
            self._lock.release()
        self.held = False

    async def reacquire(self) -> None:
        """Have the place again, if that can be within the patience; and a seat, however long that takes."""
        self.held = self.held or await _acquired(self._lock, self._patience)
        self._seated = self._seated or await self._queue.seats.acquire()


class AsyncQueue:
    """The same for the tasks of one event loop, and no more than `seats` of them at a time. The others wait, in the
    order in which they came, as long as it takes: thousands at once would hold one another up until each time limit
    seems to be over, that of the server's reply too, though it has long been there."""

    def __init__(self, seats: int) -> None:
        import asyncio

        self._places: dict[object, _Place] = {}
        self._lock = asyncio.Lock
        self.seats = asyncio.Semaphore(seats)

    def place(self, key: object, patience: float) -> AsyncMemberLock:
        """The member's place, to be held by `with`. `patience`: seconds to wait until it comes free."""
        return AsyncMemberLock(self, key, patience)

    def join(self, key: object) -> _Place:
        """Count a waiter of a member's place."""
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = _Place(self._lock())
        place.waiting += 1
        return place

    def leave(self, key: object, place: _Place) -> None:
        """Count it no more; the place of the last one is removed."""
        place.waiting -= 1
        if not place.waiting:
            self._places.pop(key, None)


async def _acquired(lock: asyncio.Lock, patience: float) -> bool:
    if not lock.locked():  # no time limit is set up where there is nothing to wait for
        return await lock.acquire()
    import asyncio

    try:
        async with asyncio.timeout(patience):
            return await lock.acquire()
    except TimeoutError:
        return False
