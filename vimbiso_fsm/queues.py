"""A queue per member in the process: its messages are served one after the other. The head protects what is stored;
the queue spares conflicts."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import attrs

from vimbiso_fsm.errors import Contended

if TYPE_CHECKING:
    import asyncio  # not at run time: `import vimbiso_fsm` does not load it

__all__ = ["AsyncHeld", "AsyncQueue", "Held", "Queue"]


@attrs.define
class _Place:
    """A member's place in a queue: whoever holds `lock` is being served; `waiting` counts all who want it."""

    lock: Any
    waiting: int = 0


class Held:
    """A place that is held, and may be let go for a while. Who cannot take it back in time goes on without it: the
    place only spares conflicts."""

    def __init__(self, lock: threading.Lock, patience: float) -> None:
        self._lock, self._patience = lock, patience
        self.held = True

    def let_go(self) -> None:
        """Let the next one in, if the place is held."""
        if self.held:
            self._lock.release()
        self.held = False

    def take_back(self) -> None:
        """Have the place again, if that can be within the patience."""
        self.held = self.held or self._lock.acquire(timeout=self._patience)


class Queue:
    """Messages of one member are served one after the other within the process."""

    def __init__(self) -> None:
        self._places: dict[object, _Place] = {}
        self._guard = threading.Lock()

    @contextmanager
    def place(self, key: object, patience: float) -> Generator[Held]:
        """Hold the member's place.

        Raises: Contended when it does not come free within `patience` seconds.
        """
        with self._guard:
            place = self._places.setdefault(key, _Place(threading.Lock()))
            place.waiting += 1
        try:
            if not place.lock.acquire(timeout=patience):
                raise Contended("", patience, 0)
            held = Held(place.lock, patience)
            try:
                yield held
            finally:
                held.let_go()
        finally:
            with self._guard:
                place.waiting -= 1
                if not place.waiting:
                    self._places.pop(key, None)


class AsyncHeld:
    """The same for the tasks of one event loop; with a seat, from which it rises while it only waits."""

    def __init__(self, lock: asyncio.Lock, seats: asyncio.Semaphore, patience: float) -> None:
        self._lock, self._seats, self._patience = lock, seats, patience
        self.held = True
        self._seated = False

    def rise(self) -> None:
        """Give the seat to somebody else, and keep the place."""
        if self._seated:
            self._seats.release()
        self._seated = False

    def let_go(self) -> None:
        """Let the next one in, if the place is held."""
        if self.held:
            self._lock.release()
        self.held = False

    async def take_back(self) -> None:
        """Have the place again, if that can be within the patience; and a seat, however long that takes."""
        self.held = self.held or await _acquired(self._lock, self._patience)
        self._seated = self._seated or await self._seats.acquire()


class AsyncQueue:
    """The same for the tasks of one event loop, and no more than `seats` of them at a time. The others wait, in the
    order in which they came, as long as it takes: thousands at once would hold one another up until each time limit
    seems to be over, that of the server's reply too, though it has long been there."""

    def __init__(self, seats: int) -> None:
        import asyncio

        self._places: dict[object, _Place] = {}
        self._seats = asyncio.Semaphore(seats)

    @asynccontextmanager
    async def place(self, key: object, patience: float) -> AsyncGenerator[AsyncHeld]:
        """Hold the member's place.

        Raises: Contended when it does not come free within `patience` seconds.
        """
        import asyncio

        place = self._places.setdefault(key, _Place(asyncio.Lock()))
        place.waiting += 1
        try:
            if not await _acquired(place.lock, patience):
                raise Contended("", patience, 0)
            held = AsyncHeld(place.lock, self._seats, patience)
            try:
                await held.take_back()
                yield held
            finally:
                held.rise()
                held.let_go()
        finally:
            place.waiting -= 1
            if not place.waiting:
                self._places.pop(key, None)


async def _acquired(lock: asyncio.Lock, patience: float) -> bool:
    import asyncio

    try:
        async with asyncio.timeout(patience if lock.locked() else None):
            return await lock.acquire()
    except TimeoutError:
        return False
