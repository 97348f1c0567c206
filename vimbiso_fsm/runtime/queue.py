"""A queue for each member in the process, so that the member's messages are handled one after the other.

The head of the document protects the stored data. The queue only saves conflicts.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Generic, Self, TypeVar

import attrs

from vimbiso_fsm.errors import Contended

if TYPE_CHECKING:
    import asyncio  # not at run time: `import vimbiso_fsm` does not load it


L = TypeVar("L")


@attrs.define
class _Place(Generic[L]):
    """The queue of one member with more than one message.

    Attributes:
        lock: The lock, held by the message that is handled now.
        waiting: The number of messages that hold or want the lock.
    """

    lock: L
    waiting: int = 1


class _Places(Generic[L]):
    """The queues of all members that have a message now.

    A message that is alone has no lock, and None in place of a queue. The lock is made for the message in its name when
    another one comes. A message that lets others go first leaves the queue, and enters it again.
    """

    def __init__(self, new_lock: Callable[[], L]) -> None:
        """Make the queues. `new_lock` makes a lock that is held."""
        self._new_lock = new_lock
        self._places: dict[object, _Place[L] | None] = {}

    def _shared(self, key: object) -> _Place[L]:
        """Return the queue of a member with a message, with its lock."""
        place = self._places[key]
        if place is None:
            place = self._places[key] = _Place(self._new_lock())
        return place

    def _join(self, key: object) -> L:
        """Enter the queue of a member with a message, and return its lock."""
        place = self._shared(key)
        place.waiting += 1
        return place.lock

    def _leave(self, key: object, held: bool) -> L | None:
        """Leave the queue; the last message removes it. Return the lock if it is held and others wait for it."""
        place = self._places[key]
        if place is None or place.waiting == 1:
            del self._places[key]
            return None
        place.waiting -= 1
        return place.lock if held else None


class MemberLock:
    """The lock of a member's queue, as a context manager. It may be released and reacquired within the `with` block.

    A message that cannot reacquire it in time goes on without it, because the lock only saves conflicts.

    Attributes:
        held: Whether the lock is held. A message that neither holds it nor waits for it has left the queue.
    """

    __slots__ = ("_key", "_patience", "_queue", "held")

    held: bool

    def __init__(self, queue: Queue, key: object, patience: float) -> None:
        """Make the lock of a member's queue. `patience`: seconds to wait for it."""
        self._queue, self._key, self._patience = queue, key, patience
        self.held = False

    def __enter__(self) -> Self:
        """Acquire the lock.

        Raises:
            Contended: The lock was not released within the patience.
        """
        queue = self._queue
        with queue._guard:
            if self._key not in queue._places:
                queue._places[self._key] = None
                self.held = True
                return self
            lock = queue._join(self._key)
        try:
            self.held = lock.acquire(timeout=self._patience)
        finally:
            if not self.held:
                with queue._guard:
                    queue._leave(self._key, False)
        if not self.held:
            raise Contended("", self._patience, 0)
        return self

    def __exit__(self, *_: object) -> None:
        """Release the lock, if it is held."""
        if self.held:
            queue, lock = self._queue, None
            with queue._guard:
                if queue._places[self._key] is None:  # no other message has come
                    del queue._places[self._key]
                else:
                    lock = queue._leave(self._key, True)
            if lock is not None:
                lock.release()
            self.held = False

    release = __exit__

    def reacquire(self) -> None:
        """Acquire the lock again, if that is possible within the patience."""
        if not self.held:
            try:
                self.__enter__()
            except Contended:
                return


class Queue(_Places[threading.Lock]):
    """The queues of all members, for threads."""

    def __init__(self) -> None:
        super().__init__(_held_lock)
        self._guard = threading.Lock()


def _held_lock() -> threading.Lock:
    lock = threading.Lock()
    lock.acquire()
    return lock


class Slots:
    """A number of slots, which tasks of one event loop take in the order of asking; with one slot, a lock.

    A free slot is taken without a coroutine, which a primitive of asyncio would need.

    Attributes:
        free: The number of slots that are not taken.
    """

    __slots__ = ("_waiting", "free")

    def __init__(self, number: int) -> None:
        self.free = number
        self._waiting: deque[asyncio.Future[None]] = deque()

    def take(self) -> bool:
        """Take a slot, if one is free; then no task waits for one."""
        if not self.free:
            return False
        self.free -= 1
        return True

    async def wait(self) -> bool:
        """Wait for a slot, which another task gives back; return True."""
        import asyncio

        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():  # the slot came, and the task was cancelled before it went on
                self.give()
            raise
        return True

    def give(self) -> None:
        """Give a slot back, to the task that has waited longest."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.free += 1


class AsyncMemberLock:
    """The lock of a member's queue, for the tasks of one event loop.

    It also holds one of the slots that bound the number of messages being handled. The slot is given up while a message
    only waits for a call or a delivery.

    Attributes:
        held: Whether the lock is held. See `MemberLock`.
    """

    __slots__ = ("_has_slot", "_key", "_patience", "_queue", "_slots", "held")

    held: bool

    def __init__(self, queue: AsyncQueue, key: object, patience: float, *, cached: bool = True) -> None:
        """Make the lock of a member's queue.

        Args:
            queue: The queues.
            key: The key of the member's queue.
            patience: Seconds to wait for the lock.
            cached: Whether the member's document is cached. The others have few slots of their own, so that many
                unknown senders do not delay the members that the process remembers.
        """
        self._queue, self._key, self._patience = queue, key, patience
        self._slots = queue.slots if cached else queue.slots_of_others
        self.held = self._has_slot = False

    def enter(self) -> bool:
        """Acquire the lock, if no other message of the member is there and a slot is free; return whether it is."""
        places, slots = self._queue._places, self._slots
        if self._key in places or not slots.free:
            return False
        slots.free -= 1
        places[self._key] = None
        self.held = self._has_slot = True
        return True

    async def wait(self) -> None:
        """Acquire the lock.

        Raises:
            Contended: The lock was not released within the patience.
        """
        try:
            await self._hold()
            self._has_slot = self.held and (self._slots.take() or await self._slots.wait())
        except BaseException:
            self.leave()
            raise
        if not self.held:
            raise Contended("", self._patience, 0)

    async def _hold(self) -> None:
        """Acquire the lock, if that is possible within the patience."""
        queue = self._queue
        if self._key not in queue._places:
            queue._places[self._key], self.held = None, True
            return
        lock = queue._join(self._key)
        try:
            self.held = lock.take() or await self._waited(lock)
        finally:
            if not self.held:
                queue._leave(self._key, False)

    def leave(self) -> None:
        """Leave the queue."""
        places, slots = self._queue._places, self._slots
        if self.held and self._has_slot and places[self._key] is None and not slots._waiting:  # as `enter` has found it
            del places[self._key]
            slots.free += 1
            self.held = self._has_slot = False
            return
        self.give_up_slot()
        self.release()

    async def __aenter__(self) -> Self:
        if not self.enter():
            await self.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.leave()

    def give_up_slot(self) -> None:
        """Give up the slot, and keep the lock."""
        if self._has_slot:
            self._slots.give()
        self._has_slot = False

    def release(self) -> None:
        """Release the lock, if it is held."""
        if self.held:
            lock = self._queue._leave(self._key, True)
            if lock is not None:
                lock.give()
            self.held = False

    async def reacquire(self) -> None:
        """Acquire the lock again, if that is possible within the patience, and a slot, without a time limit."""
        if not self.held:
            await self._hold()
        self._has_slot = self._has_slot or self._slots.take() or await self._slots.wait()

    async def _waited(self, lock: Slots) -> bool:
        """Wait for the lock; return whether it came within the patience."""
        import asyncio

        try:
            async with asyncio.timeout(self._patience):
                return await lock.wait()
        except TimeoutError:
            return False


class AsyncQueue(_Places[Slots]):
    """The queues of all members, for the tasks of one event loop, with a bound on the messages being handled.

    Messages beyond the number of slots wait in the order of arrival, without a time limit. Without the bound, thousands
    of concurrent tasks starve each other until replies time out.

    Attributes:
        slots: The slots of members whose documents are cached, and of other work.
        slots_of_others: The slots of all other members.
    """

    slots: Slots
    slots_of_others: Slots

    def __init__(self, slots: int, slots_of_others: int | None = None) -> None:
        """Make the queues. Without `slots_of_others`, all members share the slots."""
        super().__init__(partial(Slots, 0))
        self.slots = Slots(slots)
        self.slots_of_others = self.slots if slots_of_others is None else Slots(slots_of_others)
