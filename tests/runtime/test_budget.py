"""The budget of memory: its alarm, what a server at its limit refuses, and what holds all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import suppress
from typing import Any

import pytest

from tests.engines import running, valkey_program
from tests.operations.test_untaken import Payments, pay_chat
from tests.runtime.test_worker import Kind, rounds, worker_of
from tests.shells import Shell
from vimbiso_fsm import Channel, FlowStateManager, Message
from vimbiso_fsm.errors import FlowError, StoreUnavailable
from vimbiso_fsm.runtime.budget import Budget
from vimbiso_fsm.runtime.worker import Metrics
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.store.redis_atomic import AsyncAtomicStateManager, AtomicStateManager
from vimbiso_fsm.store.requests import ReadUsage, Usage
from vimbiso_fsm.testing.chat import STORE_SECRET


def used(share: float, place: str = "db") -> Usage:
    """Return the memory of a server that uses a share of its limit."""
    return Usage(place, round(share * 1_000_000), 1_000_000)


def alarms(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the levels of the lines logged about memory, and forget them."""
    found = [record.levelname for record in caplog.records if "of its memory" in record.getMessage()]
    caplog.clear()
    return found


def test_the_alarm_is_raised_once_and_ends_when_the_use_has_fallen(caplog: pytest.LogCaptureFixture):
    """An alarm begins at its share, is logged once, and is over only well below it; each server has its own."""
    budget, found = Budget(0.8), []
    for share in (0.79, 0.8, 0.95, 0.78, 0.8, 0.7, 0.8):
        budget.take((used(share), used(0.1, "other")))
        found.append(alarms(caplog))
    assert found == [[], ["ERROR"], [], [], [], ["WARNING"], ["ERROR"]]
    budget.take((used(0.9), used(0.9, "other")))
    assert alarms(caplog) == ["ERROR"]
    assert budget.share == 0.9


def test_a_server_without_a_limit_raises_no_alarm(caplog: pytest.LogCaptureFixture):
    """Where no limit is set, nothing is known of a share, and the doctor warns of the missing limit."""
    budget = Budget(0.5)
    budget.take((Usage("db", 10**12, 0),))
    assert (alarms(caplog), budget.share) == ([], None)


@pytest.mark.parametrize("share", [0, -0.1, 1.1, float("nan"), True, "0.8"])
def test_a_share_out_of_range_is_refused(share: Any):
    """An alarm that could never be raised, or always, is refused with what to give."""
    with pytest.raises(FlowError, match="give a share of maxmemory"):
        Budget(share)


def test_the_line_of_metrics_has_the_share():
    """The metrics of a worker say how much of the memory is used, once that is known."""
    assert "memory=83%" in str(Metrics(memory=0.83))
    assert "memory" not in str(Metrics())


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_store_without_servers_has_no_budget(kind: Kind):
    """A worker on a store in memory watches nothing and goes on."""
    bot = pay_chat()[0].bot
    with Shell(kind, bot, MemoryStore(lambda: 0.0, secret=STORE_SECRET)) as shell:
        worker = worker_of(shell)
        rounds(shell, worker)
        assert worker.metrics.memory is None


# On a server ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Generator[Any]:
    """A server of its own, whose limit a test may set."""
    with running(valkey_program()) as found:
        yield found


@pytest.mark.embedded
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_worker_raises_the_alarm_before_the_server_is_full(server: Any, kind: Kind, caplog: pytest.LogCaptureFixture):
    """A worker reads the memory of the server, and logs an alarm once it is above the share."""
    bot = pay_chat()[0].bot
    with AtomicStateManager.from_url(server.url, secret=STORE_SECRET) as store, server.client() as client:
        [usage] = store.perform(ReadUsage())
        assert usage.limit == 0
        assert usage.used > 0
        client.config_set("maxmemory", 2 * usage.used)
        with Shell(kind, bot, store) as shell:
            calm, near = worker_of(shell, memory_alarm=0.95), worker_of(shell, memory_alarm=0.1)
            rounds(shell, calm)
            assert alarms(caplog) == []
            rounds(shell, near, 2)
            assert alarms(caplog) == ["ERROR"]
            assert near.metrics.memory == pytest.approx(0.5, abs=0.4)
            shell.run(calm.leave())
            shell.run(near.leave())


def flood(manager: FlowStateManager) -> list[str]:
    """Let strangers write until the server refuses a write; return those who were taken."""
    taken: list[str] = []
    with suppress(StoreUnavailable):
        for number in range(10_000):
            message = Message(Channel("whatsapp", f"9{number:09}"), f"flood {number}", "hi")
            taken.append(manager.handle(message).state.member_id)
    assert 0 < len(taken) < 10_000
    return taken


@pytest.mark.embedded
def test_the_async_store_reads_the_same_memory(server: Any):
    """The async store names the same server and its limit."""

    async def read() -> tuple[Usage, ...]:
        async with AsyncAtomicStateManager.from_url(server.url) as store:
            return await store.perform(ReadUsage())

    with server.client() as client:
        client.config_set("maxmemory", "100mb")
    [usage] = asyncio.run(read())
    assert usage.limit == 100 * 2**20
    assert 0 < usage.used < usage.limit
    with AtomicStateManager.from_url(server.url) as store:
        assert store.perform(ReadUsage())[0].place == usage.place


@pytest.mark.embedded
def test_a_flood_that_fills_the_server_stores_nothing_by_half_and_what_was_handled_stays(server: Any):
    """At the limit a message is refused whole and has its effect once there is room; duplicates are still answered."""
    payments = Payments()
    bot = pay_chat()[0].bot
    ada = Channel("whatsapp", "263771234567")

    def said(text: str) -> Message:
        return Message(ada, f"ada {text}", text)

    with (
        FlowStateManager.from_url(server.url, bot, services={"ledger": payments}, secret=STORE_SECRET) as manager,
        server.client() as client,
    ):
        for text in ("hi", "5"):
            manager.handle(said(text))
        member_id = manager.handle(said("5")).state.member_id
        client.config_set("maxmemory", client.info("memory")["used_memory"] + 300_000)
        taken = flood(manager)
        before = manager.state(member_id)
        assert before is not None
        with pytest.raises(StoreUnavailable, match="out of memory") as refused:
            manager.handle(said("yes"))
        assert refused.value.reply
        assert payments.amounts == {}
        assert manager.state(member_id) == before
        assert manager.handle(said("5")).status == "duplicate"
        assert len(manager.history(member_id)) == before.version
        for stranger in (taken[0], taken[-1]):
            assert len(manager.history(stranger)) == 1
        client.config_set("maxmemory", 0)
        assert manager.handle(said("yes")).status == "advanced"
        assert manager.handle(said("yes")).status == "duplicate"
        assert sum(payments.amounts.values()) == 5
