"""Damage to keys that belong to no single member stops no work but its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest

import flows
from flows.credex_core import SimulatedCredexCore
from tests.hostile.kit import ADA, client_of, message, only_key, pay_bot
from vimbiso_fsm import AsyncFlowStateManager, Channel, FlowStateManager
from vimbiso_fsm.document.document import Moved, first_document
from vimbiso_fsm.runtime.worker import AsyncWorker, Worker
from vimbiso_fsm.store.requests import FindOwner, Link, shard_of
from vimbiso_fsm.store.retention import QUARANTINE_LIFE

pytestmark = pytest.mark.embedded
Damage = Callable[[Any], object]


@contextmanager
def due(url: str) -> Generator[tuple[FlowStateManager, Any, bytes, str]]:
    """Yield a manager, a client, the due set of a shard and its only member, for whom work is due."""
    with FlowStateManager.from_url(url, pay_bot(session=300.0)) as manager, client_of(url) as client:
        manager.handle(message("hi"))
        member = manager.handle(message("5")).state.member_id  # nothing is due at a guest who has answered nothing
        key = only_key(client, "*:due")
        client.zadd(key, {member: 1.0})
        yield manager, client, key, member


def round_of(manager: FlowStateManager) -> Worker:
    """Make one round of a worker, and return it after its wakings have ended."""
    worker = Worker(manager)
    try:
        for waking in worker.round():
            waking.result()
    finally:
        worker.leave()
    return worker


def damage_of(manager: FlowStateManager, member: str | None = None) -> list[str]:
    """Return which keys were damaged, by the incidents."""
    return [incident.detail["key"] for incident in manager.incidents(member) if incident.kind == "damage"]


ELSEWHERE = next(f"m-{number}" for number in range(9999) if shard_of(f"m-{number}") == 5)


@pytest.mark.parametrize(
    "entries",
    [[b"member-\xff"], [ELSEWHERE.encode()], [b""], [b"member-\xff", b"\xff\xfe"], [b"\xff%d" % n for n in range(150)]],
    ids=["no text", "of another shard", "empty", "two", "more than a round reads"],
)
def test_damaged_entries_of_a_due_set_are_put_aside(valkey_url: str, entries: list[bytes]):
    """Each damaged entry is moved aside with an incident and kept for a while; the members beside it are woken."""
    with due(valkey_url) as (manager, client, key, member):
        client.zadd(key, dict.fromkeys(entries, 0.0))
        assert (first := round_of(manager)).metrics.failed == 0
        assert first.metrics.woken == 1
        while client.zrange(key, 0, 0)[0] in entries:
            assert round_of(manager).metrics.failed == 0
        assert client.zrange(key, 0, -1) == [member.encode()]
        asides = list(client.scan_iter("*:aside:*"))
        assert sorted(entry for aside in asides for entry in client.zrange(aside, 0, -1)) == sorted(entries)
        assert all(0 < client.ttl(aside) <= QUARANTINE_LIFE + 1 for aside in asides)
        assert damage_of(manager) == ["ReadDue"] * len(entries)


def test_an_async_worker_puts_damage_aside(valkey_url: str):
    """An async worker passes over damage as the other one does."""

    async def woken() -> tuple[int, int]:
        async with AsyncFlowStateManager.from_url(valkey_url, pay_bot(session=300.0)) as manager:
            worker = AsyncWorker(manager)
            await asyncio.gather(*await worker.round())
            await worker.leave()
            return worker.metrics.woken, worker.metrics.failed

    with due(valkey_url) as (manager, client, key, _):
        client.zadd(key, {b"member-\xff": 0.0})
        client.set("vimbiso:workers", "spoilt")
        assert asyncio.run(woken()) == (1, 0)
        assert damage_of(manager) == ["Heartbeat", "ReadDue"]


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (lambda client: client.zadd("vimbiso:workers", {b"\xff": time.time() + 60}), "Heartbeat"),
        (lambda client: client.set("vimbiso:workers", "x"), "Heartbeat"),
        (lambda client: client.rpush(only_key(client, "*:due").replace(b"due", b"lease"), "x"), "Lease"),
        (lambda client: client.set(only_key(client, "*:due").replace(b"due", b"lease"), b"\xff"), "Lease"),
    ],
    ids=["a worker that is no text", "workers of another type", "a lease of another type", "a lease that is no text"],
)
def test_damage_to_the_registers_of_workers_is_removed(valkey_url: str, damage: Damage, found: str):
    """A damaged lease or set of workers, which lives for seconds anyway, is deleted, and the worker goes on."""
    with due(valkey_url) as (manager, client, _, _member):
        damage(client)
        worker = round_of(manager)
        assert (worker.metrics.woken, worker.metrics.failed) == (1, 0)
        assert damage_of(manager) == [found]


def test_the_wake_ups_of_a_damaged_due_set_are_restored(valkey_url: str):
    """When a due set is lost to another type, the documents of its members restore their wake-ups."""
    with due(valkey_url) as (manager, client, key, member):
        client.delete(key)
        client.rpush(key, "x")
        worker = round_of(manager)
        assert (worker.metrics.woken, worker.metrics.failed) == (1, 0)
        assert client.zrange(key, 0, -1) == [member.encode()]
        assert damage_of(manager) == ["ReadDue"]


def test_the_member_that_a_damaged_entry_has_named_is_woken(valkey_url: str):
    """A flipped bit in an entry costs its member no wake-up: all members of the shard are woken once."""
    with due(valkey_url) as (manager, client, key, member):
        client.delete(key)
        client.zadd(key, {member[:-1].encode() + b"\xff": 1.0})
        assert round_of(manager).metrics.woken == 1
        assert client.zrange(key, 0, -1) == [member.encode()]


def test_damaged_incidents_hide_nothing_and_stop_nothing(valkey_url: str):
    """A list of incidents of another type is moved aside by the next incident, and the work beside it goes on."""
    with due(valkey_url) as (manager, client, key, _):
        client.set("vimbiso:incidents", "x")
        client.zadd(key, {b"member-\xff": 0.0})
        worker = round_of(manager)
        assert (worker.metrics.woken, worker.metrics.failed) == (1, 0)
        assert damage_of(manager) == ["ReadDue"]
        asides = {client.type(aside): aside for aside in client.scan_iter("*:aside:*")}
        assert client.get(asides[b"string"]) == b"x"
        assert 0 < client.ttl(asides[b"string"]) <= QUARANTINE_LIFE + 1


# The index of channels ------------------------------------------------------------------------------------------------

ALAN = "263771000002"
"""The telephone number of another member of the simulated credex-core."""


@pytest.mark.parametrize("kind", ["no text", "another type", "no member", "another member"])
def test_a_damaged_entry_of_the_index_is_restored(valkey_url: str, kind: str):
    """A member whose index entry is damaged goes on at their own document, and an incident records the repair."""
    core = SimulatedCredexCore()

    def manager() -> FlowStateManager:
        return FlowStateManager.from_url(valkey_url, flows.bot, services={"credex_core": core})

    with closing(manager()) as serving, client_of(valkey_url) as client:
        member = serving.handle(message("hi")).state.member_id
        index = only_key(client, "*:channel:*")
        other = serving.handle(message("hi", number=ALAN)).state.member_id
        assert not other.startswith("guest")
        if kind == "another type":
            client.delete(index)
            client.rpush(index, "x")
        else:
            client.set(
                index, {"no text": b"\xff\xfe", "no member": b"membex-1", "another member": other.encode()}[kind]
            )
    with closing(manager()) as serving:
        outcome = serving.handle(message("hi"))
        assert (outcome.state.member_id, outcome.status) == (member, "advanced")
        assert serving.ask(FindOwner(Channel("whatsapp", ADA))).member_id == member
        assert damage_of(serving, member) == ["index"]
        assert damage_of(serving) == (["FindOwner"] if kind in ("no text", "another type") else [])
        assert serving.handle(message("hi", number=ALAN)).state.member_id == other


SPOILT = pytest.mark.parametrize("spoilt", ["no text", "another type"])
"""Damage to the entry of a channel."""


def spoil(client: Any, spoilt: str) -> None:
    """Damage the only entry of the index."""
    index = only_key(client, "*:channel:*")
    if spoilt == "no text":
        client.set(index, b"\xff\xfe")
    else:
        client.delete(index)
        client.rpush(index, "x")


@pytest.fixture
def served(valkey_url: str) -> Generator[tuple[FlowStateManager, Any, str]]:
    """Yield a manager of VimbisoPay, a client, and a member that has logged in."""
    services = {"credex_core": SimulatedCredexCore()}
    with (
        FlowStateManager.from_url(valkey_url, flows.bot, services=services) as manager,
        client_of(valkey_url) as client,
    ):
        yield manager, client, manager.handle(message("hi")).state.member_id


@SPOILT
@pytest.mark.parametrize("change", ["member_of", "unlink", "link", "relink", "erase"])
def test_an_operator_works_on_a_damaged_entry(served: tuple[FlowStateManager, Any, str], change: str, spoilt: str):
    """A change of channels by an operator puts a damaged entry aside and does what it does on a sound one."""
    manager, client, member = served
    channel = Channel("whatsapp", ADA)
    spoil(client, spoilt)
    match change:
        case "member_of":
            assert manager.member_of(channel) == member
        case "unlink":
            assert manager.unlink(member, channel).outcome == "unlinked"
            assert manager.member_of(channel) is None
        case "link":
            assert manager.link(member, channel).outcome == "unchanged"
            assert manager.member_of(channel) == member
        case "relink":
            other = manager.handle(message("hi", number=ALAN)).state.member_id
            assert manager.relink(other, channel).before == member
            assert manager.member_of(channel) == other
        case _:
            assert manager.erase(member).removed
            assert manager.member_of(channel) is None
    assert "FindOwner" in damage_of(manager)


@SPOILT
def test_a_damaged_entry_elsewhere_hinders_no_erasure(served: tuple[FlowStateManager, Any, str], spoilt: str):
    """An erasure passes over the damaged entries of other channels, and frees those of the member."""
    manager, client, member = served
    own = only_key(client, "*:channel:*")
    manager.ask(Link(Channel("whatsapp", ALAN), "m-8"))
    client.rename(own, "kept")
    damaged = only_key(client, "*:channel:*")
    spoil(client, spoilt)
    client.rename("kept", own)
    manager.erase(member)
    assert manager.member_of(Channel("whatsapp", ADA)) is None
    assert client.exists(damaged)


@SPOILT
def test_a_guest_becomes_a_member_in_spite_of_a_damaged_entry(valkey_url: str, spoilt: str):
    """A worker that completes a promotion puts a damaged entry aside, and links the channel."""
    services = {"credex_core": SimulatedCredexCore()}
    channel = Channel("whatsapp", ADA)
    with (
        FlowStateManager.from_url(valkey_url, flows.bot, services=services) as manager,
        client_of(valkey_url) as client,
    ):
        manager.ask(Link(channel, "nobody"))
        spoil(client, spoilt)
        guest = first_document(manager.bot.digests.guest_id(channel), channel, datetime.now(UTC), channel.address)
        manager.save(attrs.evolve(guest, moved=Moved("m-7", 1)))
        manager.wake(guest.member_id)
        assert manager.member_of(channel) == "m-7"
        assert damage_of(manager) == ["Link"]


def test_without_a_proof_the_channel_is_a_guests(valkey_url: str):
    """A damaged entry is not restored where the document of the member that the guest became has lost the channel."""
    core = SimulatedCredexCore()
    with (
        FlowStateManager.from_url(valkey_url, flows.bot, services={"credex_core": core}) as manager,
        client_of(valkey_url) as client,
    ):
        member = manager.handle(message("hi")).state.member_id
        manager.update(member, lambda found: attrs.evolve(found, channels=()))
        client.set(only_key(client, "*:channel:*"), b"\xff\xfe")
    with FlowStateManager.from_url(valkey_url, flows.bot, services={"credex_core": core}) as manager:
        manager.handle(message("hi"))
        assert damage_of(manager, member) == []
        assert damage_of(manager) == ["FindOwner"]
