"""The order of messages: those of a member one after the other, and of all members a bounded number."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import flows
from flows.credex_core import SimulatedCredexCore
from vimbiso_fsm.errors import Contended
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.operations.cache import Cache
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.operations.handle import handle
from vimbiso_fsm.runtime import loop_state
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager, FlowStateManager
from vimbiso_fsm.runtime.queue import AsyncMemberLock, AsyncQueue, MemberLock, Queue, Slots
from vimbiso_fsm.store.requests import Commit, Conflict, Head, Linked, Stored
from vimbiso_fsm.testing.chat import Held

ADA, ALAN, NEW = "263771000001", "263771000002", "263771234567"


def said(phone: str, id: str, text: str) -> Message:
    """Return a message from a phone number."""
    return Message(Channel("whatsapp", phone), f"{phone} {id}", text)


# The queue itself --------------------------------------------------------------------------------------------------


async def served(queue: AsyncQueue, key: object, inside: set[object], most: list[int]) -> None:
    """Hold the place of a key for one step of the loop, and record how many hold one then."""
    async with AsyncMemberLock(queue, key, 5.0):
        inside.add(key)
        most.append(len(inside))
        await asyncio.sleep(0)
        inside.remove(key)


def test_no_more_than_there_are_slots():
    """At most as many messages as slots are handled at the same time, and all come to their turn."""

    async def many() -> list[int]:
        queue, most = AsyncQueue(3), list[int]()
        inside: set[object] = set()
        await asyncio.gather(*(served(queue, number, inside, most) for number in range(50)))
        return most

    most = asyncio.run(many())
    assert (len(most), max(most)) == (50, 3)


class Guest:
    """A task that takes a slot, holds it until it is told to leave, and gives it back."""

    def __init__(self, slots: Slots, seen: list[Guest]) -> None:
        self.inside, self.told = False, asyncio.Event()
        self.task = asyncio.create_task(self._visit(slots, seen))

    async def _visit(self, slots: Slots, seen: list[Guest]) -> None:
        assert slots.take() or await slots.wait()
        self.inside = True
        seen.append(self)
        try:
            await self.told.wait()
        finally:
            self.inside = False
            slots.give()


@given(
    st.lists(st.tuples(st.sampled_from(["come", "come", "leave", "cancel", "step"]), st.integers(0, 9)), max_size=40)
)
@example([("come", 0)] * 3 + [("step", 0), ("leave", 0), ("step", 0), ("cancel", 2)])
def test_slots_are_neither_lost_nor_taken_twice(actions: list[tuple[str, int]]):
    """Whoever is cancelled at whatever moment: no slot is lost or taken twice, and tasks are served as they came."""

    async def story() -> None:
        slots, seen, came = Slots(2), list[Guest](), list[Guest]()
        for name, number in actions:
            if name == "come":
                came.append(Guest(slots, seen))
            elif name == "step":
                await asyncio.sleep(0)
            elif number < len(came):
                (came[number].told.set if name == "leave" else came[number].task.cancel)()
            assert sum(each.inside for each in came) + slots.free <= 2
        for each in came:
            each.told.set()
        async with asyncio.timeout(5):
            ends = await asyncio.gather(*(each.task for each in came), return_exceptions=True)
        served = [each for each, end in zip(came, ends, strict=True) if end is None]
        assert served == [each for each in seen if each in served]
        assert slots.free == 2

    asyncio.run(story())


def test_a_message_that_gives_up_its_slot_lets_another_in():
    """A message that gives up its slot lets another one be handled, and waits for a slot again."""

    async def two() -> list[str]:
        queue, order = AsyncQueue(1), list[str]()
        waiting, ended = asyncio.Event(), asyncio.Event()

        async def first() -> None:
            async with AsyncMemberLock(queue, "first", 5.0) as place:
                place.give_up_slot()
                waiting.set()
                await ended.wait()
                await place.reacquire()
                order.append("first")

        async def second() -> None:
            await waiting.wait()
            async with AsyncMemberLock(queue, "second", 5.0):
                order.append("second")
                ended.set()

        await asyncio.gather(first(), second())
        return order

    assert asyncio.run(two()) == ["second", "first"]


@pytest.mark.parametrize("steps", range(6))
def test_a_cancelled_message_returns_its_slot_and_its_lock(steps: int):
    """A cancelled message returns its slot and its lock, wherever it waits."""

    async def leave() -> None:
        queue, free = AsyncQueue(1), asyncio.Event()

        async def hold(key: str) -> None:
            async with AsyncMemberLock(queue, key, 5.0) as place:
                place.give_up_slot()
                await asyncio.sleep(0)
                await place.reacquire()
                await free.wait()

        tasks = [asyncio.create_task(hold(key)) for key in ("a", "b", "a", "c")]
        for _ in range(steps):
            await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        free.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        most = list[int]()
        inside: set[object] = set()
        async with asyncio.timeout(5):
            await asyncio.gather(*(served(queue, number, inside, most) for number in range(5)))
        assert max(most) == 1
        assert not queue._places

    asyncio.run(leave())


# The manager -------------------------------------------------------------------------------------------------------


class Gated(SimulatedCredexCore):
    """A service that makes no offer before it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.let = threading.Event(), threading.Event()

    def create_credex(self, **arguments: Any) -> Any:
        self.asked.set()
        assert self.let.wait(10)
        return super().create_credex(**arguments)


def test_neither_a_call_nor_messages_that_wait_for_it_delay_other_members(monkeypatch: pytest.MonkeyPatch):
    """Neither a call nor a message that waits for it takes up a slot."""
    monkeypatch.setattr(loop_state, "AT_ONCE", 1)

    async def talk() -> tuple[str, list[str]]:
        core = Gated()
        async with AsyncFlowStateManager.in_memory(flows.bot, services={"credex_core": core}) as manager:
            for place, text in enumerate(["hi", "offer", "10", "alan"]):
                await manager.handle(said(ADA, str(place), text))
            calling = asyncio.create_task(manager.handle(said(ADA, "yes", "yes")))
            await asyncio.to_thread(core.asked.wait, 10)
            waiting = asyncio.create_task(manager.handle(said(ADA, "menu", "menu")))
            await asyncio.sleep(0)
            async with asyncio.timeout(5):
                other = await manager.handle(said(ALAN, "hi", "hi"))
            assert not calling.done()
            core.let.set()
            return other.replies[0].text, [(await task).status for task in (calling, waiting)]

    greeted, statuses = asyncio.run(talk())
    assert greeted.startswith("Alan Turing")
    assert statuses == ["advanced", "advanced"]


@pytest.mark.parametrize("kind", ["guest", "member"])
def test_a_member_is_woken_in_turn_with_their_messages(kind: str):
    """A message waits while its member, or the guest of its channel, is woken: both wait by the same id."""
    service = SimulatedCredexCore()
    manager = FlowStateManager.in_memory("flows", cache=10, patience=0.0, services={"credex_core": service})
    first = said(ADA if kind == "member" else NEW, "1", "hi")
    state = manager.handle(first).state
    assert state.guest == (kind == "guest")
    with MemberLock(manager._queue, state.member_id, 0.0):
        for act in (
            lambda: manager.wake(state.member_id),
            lambda: manager.handle(said(first.channel.identifier, "2", "hi")),
        ):
            with pytest.raises(Contended):
                act()


# What has waited ---------------------------------------------------------------------------------------------------


def test_the_patience_with_conflicts_begins_when_a_message_is_served():
    """The time in the queue does not count for the patience with conflicts."""
    stored = Stored(Head(), None, at=1_000.0)
    context = Context(flows.bot, Cache(), 1_000.0, patience=5.0, waited=60.0)
    exchange = Held(context, partial(handle, message=said(ADA, "1", "hi")))
    for result, waited in ((Linked(None), 60.0), (Conflict(stored), 64.9)):
        exchange.take(result, 1_000.0, waited)
    assert isinstance(exchange.request, Commit)
    with pytest.raises(Contended):
        exchange.take(Conflict(stored), 1_000.0, 65.1)


# A lock only where a second message comes --------------------------------------------------------------------------


def test_a_message_alone_has_no_lock_and_a_second_one_waits_for_it():
    """The lock is made when a second message comes, or when the first lets others go first; it is held by the first."""
    queue = Queue()
    with MemberLock(queue, "m", 0.01) as first:
        assert queue._places == {"m": None}
        with pytest.raises(Contended), MemberLock(queue, "m", 0.0):
            pass
        first.release()
        with MemberLock(queue, "m", 0.0):
            first.reacquire()  # in vain, because the patience ends
            assert not first.held
        first.reacquire()
        assert first.held
    assert queue._places == {}


def test_a_message_of_a_task_alone_has_no_lock():
    """In an event loop, too, the lock is made when a second message comes."""

    async def alone() -> tuple[dict[object, Any], bool, dict[object, Any]]:
        queue = AsyncQueue(2)
        async with AsyncMemberLock(queue, "m", 60.0):
            before = dict(queue._places)
            second = AsyncMemberLock(queue, "m", 60.0)
            went_in = second.enter()
            waiting = asyncio.create_task(second.wait())
            await asyncio.sleep(0)
        await waiting
        second.leave()
        return before, went_in, queue._places

    assert asyncio.run(alone()) == ({"m": None}, False, {})


# A wait that does not end well -------------------------------------------------------------------------------------


def test_a_member_who_is_not_served_in_time_is_not_counted_any_longer():
    """A message that was not handled in time leaves the queue."""
    queue = Queue()
    with MemberLock(queue, "m", 5.0), pytest.raises(Contended), MemberLock(queue, "m", 0.0):
        pass
    assert queue._places == {}
    with MemberLock(queue, "m", 0.0) as place:
        assert place.held


def test_an_interrupted_wait_leaves_no_place_behind(monkeypatch: pytest.MonkeyPatch):
    """An interrupted wait leaves the queue."""

    class Interrupted:
        def acquire(self, timeout: float) -> bool:
            raise KeyboardInterrupt

    queue = Queue()
    monkeypatch.setattr(queue, "_new_lock", Interrupted)
    with MemberLock(queue, "m", 5.0) as held:
        with pytest.raises(KeyboardInterrupt), MemberLock(queue, "m", 5.0):
            pass
        assert held.held
    assert queue._places == {}


def test_a_cancelled_wait_leaves_no_place_and_no_seat_behind():
    """A cancelled task leaves the queue and its slot, whether it waits for its member or for a slot."""

    async def cancelled() -> tuple[int, dict[object, Any]]:
        queue = AsyncQueue(1)

        async def served(key: str) -> None:
            async with AsyncMemberLock(queue, key, 60.0):
                pass

        async with AsyncMemberLock(queue, "m", 60.0):
            tasks = [asyncio.create_task(served("m")), asyncio.create_task(served("other"))]
            await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return queue.slots.free, queue._places

    assert asyncio.run(cancelled()) == (1, {})
