"""The door of a manager: the arithmetic of its rates, and the messages that it refuses."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.bot import TALLY
from vimbiso_fsm import (
    AsyncFlowStateManager,
    Channel,
    FlowError,
    FlowStateManager,
    Message,
    NotAnswered,
    Rate,
    Rates,
    TooManyMessages,
)
from vimbiso_fsm.messages.message import Address
from vimbiso_fsm.operations.cache import Cache
from vimbiso_fsm.runtime.door import LINE, Door
from vimbiso_fsm.store.memory import AsyncMemoryStore, MemoryStore
from vimbiso_fsm.store.requests import NO_HEAD, Effect

NOBODY: Any = object()
"""A wrong value."""


class Hand:
    """A clock that is set by hand, in seconds."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Counted(MemoryStore):
    """A store that counts its requests."""

    def __init__(self) -> None:
        super().__init__(lambda: 1.7e9)
        self.requests = 0

    def perform(self, request: Effect[Any], /) -> Any:
        self.requests += 1
        return super().perform(request)


def message(number: int, text: str = "1", sender: str = "263771000001", **metadata: object) -> Message:
    """Return a message of a sender. `number`: makes its id, so that the same number is the same message."""
    return Message(Channel("whatsapp", sender, metadata), f"m{number}-{sender}", text)


def address(number: int) -> Address:
    """Return one of the addresses."""
    return Address("whatsapp", str(number))


def is_taken(work: Callable[[], object]) -> bool:
    """Do something at a door; return whether it was let in."""
    try:
        work()
    except TooManyMessages:
        return False
    return True


# The arithmetic -------------------------------------------------------------------------------------------------------


@given(
    st.integers(1, 20),
    st.floats(0.01, 100.0),
    st.lists(st.floats(0.0, 50.0), max_size=80),
    st.floats(0.0, 1e9),
)
def test_in_no_time_more_messages_are_taken_than_the_rate_allows(
    burst: int, every: float, gaps: list[float], start: float
):
    """Between any two instants at most the burst is taken, and one message more for each `every` seconds."""
    rate, full_at, now = Rate(burst, every), start, start
    taken: list[float] = []
    for gap in gaps:
        now += gap
        after, wait = rate.take(full_at, now)
        if wait <= 0:
            full_at = after
            taken.append(now)
    for first, since in enumerate(taken):
        for last in range(first, len(taken)):
            most = burst + (taken[last] - since) / every
            assert last - first + 1 <= most + 0.01


@given(st.integers(1, 50), st.floats(0.01, 100.0), st.floats(0.0, 1e9))
def test_a_whole_burst_is_taken_at_once_and_no_message_more(burst: int, every: float, now: float):
    """A burst that nobody has used is taken whole; the next message waits until one is made up for."""
    rate, full_at = Rate(burst, every), 0.0
    for _ in range(burst):
        full_at, wait = rate.take(full_at, now)
        assert wait <= 0
    _, wait = rate.take(full_at, now)
    assert wait > 0
    assert rate.take(full_at, now + wait + 0.001 * every)[1] <= 0


@pytest.mark.parametrize(
    "wrong",
    [
        partial(Rate, 0, 1.0),
        partial(Rate, 1, 0.0),
        partial(Rate, NOBODY, 1.0),
        partial(Rate, 1, NOBODY),
        partial(Rates, address=NOBODY),
        partial(Rates, guests=NOBODY),
        partial(Rates, addresses=0),
    ],
)
def test_a_wrong_rate_is_refused_when_it_is_made(wrong: Callable[[], object]):
    """A count or a time that is no number or out of range is refused, and so is another value than a rate."""
    with pytest.raises(FlowError):
        wrong()


# The door -------------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(1, 40), st.floats(0.0, 3.0)), max_size=300))
def test_forgetting_an_address_gives_it_no_message_more(arrivals: list[tuple[int, float]]):
    """With a table of few addresses, no address is let in more often than by a door that forgets none."""
    clock = Hand()
    rate = Rate(3, every=1.0)
    small = Door(Rates(rate, guests=Rate(1, every=1e6), addresses=5), clock)
    large = Door(Rates(rate, guests=None, addresses=10_000), clock)
    extra = 0
    for number, gap in arrivals:
        clock.now += gap
        let_in = is_taken(partial(large.enter, address(number), cached=False))
        extra += is_taken(partial(small.enter, address(number), cached=False)) and not let_in
    assert extra <= 1  # the one message at the rate of new guests
    assert len(small._full_at) <= 5
    assert len(small._told) <= 6


def test_a_full_table_refuses_no_cached_member():
    """If no address can be forgotten, one that is not counted is taken in when its member is cached."""
    clock = Hand()
    door = Door(Rates(Rate(10, every=5.0), guests=Rate(1, every=60.0), addresses=2), clock)
    for number in (1, 2):
        door.enter(address(number), cached=False)
    assert is_taken(partial(door.enter, address(3), cached=True))
    assert is_taken(partial(door.enter, address(4), cached=False))
    assert not is_taken(partial(door.enter, address(5), cached=False))
    clock.now += 5.0
    assert is_taken(partial(door.enter, address(5), cached=False))


def test_a_flood_of_new_guests_leaves_no_address_counted():
    """An address that was refused as a new guest is forgotten, unless it has sent more than one message."""
    clock = Hand()
    door = Door(Rates(Rate(10, every=5.0), guests=Rate(1, every=1e6)), clock)
    for number in range(1_000):
        door.enter(address(number), cached=False)
        is_taken(partial(door.admit, address(number)))
    assert len(door._full_at) == 1
    for _ in range(2):
        door.enter(address(7), cached=False)
    assert not is_taken(partial(door.admit, address(7)))
    assert len(door._full_at) == 2


def test_threads_take_one_burst_together():
    """Threads that come at the same time are let in as often as the burst allows, together."""
    door = Door(Rates(Rate(50, every=1e6)), Hand())
    with ThreadPoolExecutor(8) as pool:
        let_in = list(pool.map(lambda _: is_taken(partial(door.enter, address(1), cached=True)), range(400)))
    assert sum(let_in) == 50


# The managers ---------------------------------------------------------------------------------------------------------


def test_a_message_above_the_rate_of_its_address_is_refused_before_anything_is_read():
    """Messages beyond the burst of their sender cost no request to the store; those of others are handled."""
    store = Counted()
    with FlowStateManager(TALLY, store, rates=Rates(Rate(3, every=1e6))) as manager:
        for number in range(3):
            manager.handle(message(number))
        before = store.requests
        with pytest.raises(TooManyMessages) as refused:
            manager.handle(message(4))
        assert store.requests == before
        assert isinstance(refused.value, NotAnswered)
        assert (refused.value.rate, refused.value.told) == ("address", False)
        assert refused.value.seconds > 0
        assert refused.value.reply.startswith("You send messages faster")
        assert manager.handle(message(5, sender="263771000002")).status == "advanced"


def test_a_sender_is_told_once_a_burst(caplog: pytest.LogCaptureFixture):
    """Further refusals have no reply and no line in the log, until the whole burst could come again."""
    clock = Hand()
    with FlowStateManager(TALLY, Counted()) as manager:
        manager._base.door = Door(Rates(Rate(2, every=1.0)), clock)

        def replies() -> list[str]:
            found: list[str] = []
            for number in range(5):
                try:
                    manager.handle(message(int(clock.now) * 10 + number))
                except TooManyMessages as error:
                    found.append(error.reply)
            return found

        with caplog.at_level(logging.WARNING, "vimbiso_fsm"):
            first, *others = replies()
            clock.now += 1.0  # one more may come, but not the whole burst
            others += replies()
        assert first
        assert len(others) == 6
        assert set(others) == {""}
        assert [record.msg for record in caplog.records].count("messages are not taken: %s") == 1
        clock.now += 2.0
        assert replies()[0] == first


def test_all_accounts_of_the_bot_count_together():
    """A sender has one rate, whichever account of the bot the messages are sent to."""
    with FlowStateManager(TALLY, Counted(), rates=Rates(Rate(2, every=1e6))) as manager:
        for number in range(2):
            manager.handle(message(number, account=f"a{number}"))
        with pytest.raises(TooManyMessages):
            manager.handle(message(3, account="a3"))


def test_a_message_that_was_taken_is_no_new_one_after_a_refusal():
    """A redelivery above the rate is refused without a reply of its own; below it, it gets its first reply."""
    clock = Hand()
    with FlowStateManager(TALLY, Counted()) as manager:
        manager._base.door = Door(Rates(Rate(2, every=1.0)), clock)
        first = manager.handle(message(1, "5"))
        said = manager.handle(message(2, "6"))
        with pytest.raises(TooManyMessages):
            manager.handle(message(2, "6"))
        clock.now += 1.0
        again = manager.handle(message(2, "6"))
    assert first.status == said.status == "advanced"
    assert again.status == "duplicate"
    assert [reply.text for reply in again.replies] == [reply.text for reply in said.replies]


def test_new_guests_above_their_rate_are_refused_before_anything_is_stored(caplog: pytest.LogCaptureFixture):
    """A new guest above the rate is told nothing and leaves nothing; guests and members of before are handled."""
    store = Counted()
    rates = Rates(guests=Rate(2, every=1e6))
    with FlowStateManager(TALLY, store, rates=rates) as manager, caplog.at_level(logging.WARNING, "vimbiso_fsm"):
        for number in range(2):
            manager.handle(message(number, sender=f"26377100000{number}"))
        for number in range(10):
            with pytest.raises(TooManyMessages) as refused:
                manager.handle(message(number, sender=f"9{number}"))
            assert (refused.value.rate, refused.value.reply) == ("guests", "")
        assert {name: member for name, member in store._members.items() if member.is_found}.keys() == {
            manager._base.enter(message(9, sender=f"26377100000{number}"))[1] for number in range(2)
        }
        assert [record.msg for record in caplog.records].count("messages are not taken: %s") == 1
        manager._base.cache = Cache()  # as after a restart of the process
        assert manager.handle(message(7, sender="263771000000")).status == "advanced"


def test_the_rates_are_off_where_none_are_given():
    """`rates=None` takes in each message; in memory that is the default."""
    with (
        FlowStateManager(TALLY, Counted(), rates=None) as manager,
        FlowStateManager.in_memory(TALLY, clock=lambda: 1.7e9) as in_memory,
    ):
        for each in (manager, in_memory):
            assert each.handle(message(1)).status == "advanced"
            assert {each.handle(message(number)).status for number in range(2, 300)} == {"advanced"}


def test_an_honest_burst_is_taken_by_default():
    """Ten thousand new guests at once, and a burst of one of them, are within the rates of a manager by default."""
    door = Door(Rates(), Hand())
    for number in range(10_000):
        door.enter(address(number), cached=False)
        door.admit(address(number))
    for _ in range(99):
        door.enter(address(1), cached=True)
    assert not is_taken(partial(door.enter, address(1), cached=True))


def test_a_line_of_unknown_senders_is_bounded_once_no_guest_can_be_taken():
    """As many senders may wait to be looked up as new guests can be taken now, and `LINE` besides."""
    clock = Hand()
    door = Door(Rates(guests=Rate(2, every=5.0)), clock)
    assert is_taken(partial(door.join_line, LINE + 1))
    assert not is_taken(partial(door.join_line, LINE + 2))
    for number in range(2):
        door.admit(address(number))
    assert is_taken(partial(door.join_line, LINE - 1))
    assert not is_taken(partial(door.join_line, LINE))
    clock.now += 5.0
    assert is_taken(partial(door.join_line, LINE))
    assert not is_taken(partial(door.join_line, LINE + 1))
    assert is_taken(partial(Door(Rates(guests=None), clock).join_line, 10 * LINE))


def test_a_flood_delays_no_remembered_member_and_leaves_no_one_in_the_line():
    """Many unknown senders at once are taken or refused, a remembered member is answered, and the line is empty."""

    async def talk() -> tuple[list[str], str, int]:
        store = Counted()
        async with AsyncFlowStateManager(
            TALLY, AsyncMemoryStore(store), rates=Rates(guests=Rate(2, every=1e6))
        ) as manager:
            await manager.handle(message(1))
            flood = [manager.handle(message(1, sender=f"9{number}")) for number in range(3 * LINE)]
            member = manager.handle(message(2))
            *told, answer = await asyncio.gather(*flood, member, return_exceptions=True)
            assert not isinstance(answer, BaseException)
            return [type(each).__name__ for each in told], answer.status, manager._loops.get().others

    told, answer, waiting = asyncio.run(talk())
    assert told.count("Outcome") == 1
    assert told.count("TooManyMessages") == 3 * LINE - 1
    assert (answer, waiting) == ("advanced", 0)


def test_the_async_manager_has_the_same_door():
    """The async manager refuses the same messages as the sync one, in tasks that run at the same time."""

    async def talk() -> list[str]:
        store = Counted()
        rates = Rates(Rate(5, every=1e6), Rate(3, every=1e6))
        async with AsyncFlowStateManager(TALLY, AsyncMemoryStore(store), rates=rates) as manager:
            burst = [manager.handle(message(number)) for number in range(9)]
            strangers = [manager.handle(message(number, sender=f"9{number}")) for number in range(5)]
            told = await asyncio.gather(*burst, *strangers, return_exceptions=True)
        return [type(each).__name__ for each in told]

    told = asyncio.run(talk())
    assert told[:9].count("Outcome") == 5
    assert told[9:].count("Outcome") == 2
    assert set(told) == {"Outcome", "TooManyMessages"}


def test_guests_displace_no_member_from_the_cache():
    """However many guests are remembered, a remembered member is not forgotten for them."""
    cache = Cache(2)
    with FlowStateManager.in_memory(TALLY, clock=lambda: 1.7e9) as manager:
        guest = manager.handle(message(1)).state
    cache.keep("m-1", NO_HEAD, attrs.evolve(guest, member_id="m-1", guest=False), 10)
    for number in range(5):
        cache.keep(f"guest-{number}", NO_HEAD, guest, 10)
    assert cache.document("m-1") is not None
    assert cache.document("guest-4") is not None
    assert cache.document("guest-0") is None
