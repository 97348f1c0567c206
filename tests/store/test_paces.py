"""The pace of a channel on a server: it agrees with the store in memory, and survives damage and a returned clock."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Generator

import attrs
import pytest

from tests.engines import Server, running, valkey_program
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.store.requests import TakePace
from vimbiso_fsm.store.retention import PACE_WAIT

TICK = 7.0
"""Seconds by which the clock goes on: no end of a send, of a rate or of a place falls on one of its instants."""


@pytest.fixture(scope="module")
def server() -> Generator[Server]:
    """Run a server."""
    with running(valkey_program()) as made:
        yield made


@pytest.fixture
def manager(server: Server) -> Generator[AtomicStateManager]:
    """Make a store whose clock a test moves."""
    with server.client() as client:
        client.flushall()
    with AtomicStateManager.from_url(server.url) as made:
        yield made


@pytest.mark.embedded
@pytest.mark.parametrize("seed", range(4))
def test_a_server_and_the_memory_agree(manager: AtomicStateManager, seed: int):
    """Whatever is asked, both stores allow the same sends, and let the others wait equally long."""
    chance, at = random.Random(seed), 1e9
    memory = MemoryStore(lambda: at)
    for _ in range(150):
        if chance.random() < 0.3:
            manager._shift += TICK
            at += TICK
        name, order = f"a{chance.randrange(8)}", float(chance.randrange(-2, 3))
        pause = 10.0 if chance.random() < 0.05 else 0.0
        asked = TakePace("sms", "", name, order, chance.randrange(1, 4), 15.0, chance.randrange(1, 4), 23.0, pause)
        assert manager.perform(asked) == pytest.approx(memory.perform(asked), abs=0.9)


@pytest.mark.embedded
def test_damaged_keys_are_made_anew(manager: AtomicStateManager, server: Server):
    """Keys of another type hold nothing up, and those of a pace end by themselves."""
    asked = TakePace("sms", "1001", "a", 0.0, 1)
    assert manager.perform(asked) == 0.0
    assert manager.perform(asked) > 0.0
    with server.client() as client:
        names = client.keys("*pace*")
        assert len(names) == 3
        assert all(0 < client.ttl(name) <= 3_601 for name in names)
        for name in names:
            client.set(name, "x")
    assert manager.perform(asked) == 0.0


@pytest.mark.embedded
def test_a_clock_that_was_ahead_holds_nothing_up(manager: AtomicStateManager):
    """What was counted while the clock was ahead is forgotten when it has returned."""
    asked = TakePace("sms", "", "a", 0.0, 1, 3_000.0, 1, 3_000.0)
    manager._shift = 86_400.0
    assert manager.perform(asked) == 0.0
    assert manager.perform(TakePace("sms", "", "b", -5.0, 1, 3_000.0)) > 0.0
    manager._shift = 0.0
    assert manager.perform(asked) == 0.0


@pytest.mark.embedded
def test_a_pause_ends_and_keeps_the_places(manager: AtomicStateManager):
    """In a pause nothing is sent on the account, the longest counts, and after it the first in the queue are next."""
    asked = TakePace("sms", "", "a", 5.0, 1)
    assert manager.perform(attrs.evolve(asked, name="z", pause=100.0)) == pytest.approx(100.0)
    assert 90 < manager.perform(attrs.evolve(asked, name="z", pause=10.0)) <= 100
    assert 90 < manager.perform(asked) <= 100
    assert 90 < manager.perform(attrs.evolve(asked, name="b", order=1.0)) <= 100
    manager._shift = 101.0
    assert manager.perform(asked) > 0.0
    assert manager.perform(attrs.evolve(asked, name="b", order=9.0)) == 0.0


def capped(take: Callable[[TakePace], float]) -> list[float]:
    """Return how long 300 addresses wait at a rate of one in a second, without the first ones."""
    asked = [TakePace("sms", "", f"a{number}", float(number), 1, 1.0) for number in range(300)]
    return [take(each) for each in asked][int(PACE_WAIT) + 1 :]


@pytest.mark.embedded
def test_those_that_wait_for_long_do_not_ask_again_together(manager: AtomicStateManager):
    """Waits beyond the bound are spread over the second half of it, alike in both stores, and none exceeds it."""
    memory = MemoryStore(lambda: 1e9)
    waits = capped(memory.perform)
    assert min(waits) >= PACE_WAIT / 2
    assert max(waits) <= PACE_WAIT
    assert max(Counter(map(round, waits)).values()) <= 2 * len(waits) / (PACE_WAIT / 2)
    assert all(PACE_WAIT / 2 <= wait <= PACE_WAIT for wait in capped(manager.perform))
