"""The store of a studio that was started without `--write`: nothing that is asked of it changes anything."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.bots import fruit_bot
from tests.engines import Server
from vimbiso_fsm import AsyncFlowStateManager, Channel, Message
from vimbiso_fsm.errors import StoreUnavailable
from vimbiso_fsm.store import requests
from vimbiso_fsm.store.memory import AsyncMemoryStore, MemoryStore
from vimbiso_fsm.store.redis_atomic import AsyncAtomicStateManager
from vimbiso_fsm.studio.read_only import READS, ReadOnlyStore

HEAD = requests.NO_HEAD
SMS = Channel("sms", "+263771234567")

CHANGES: list[requests.Effect[Any]] = [
    requests.SetWakeUp("m-1", HEAD, 1.0),
    requests.Link(SMS, "m-1"),
    requests.Unlink(SMS, "m-1"),
    requests.FindOwner(SMS, "g-1"),
    requests.FindOwners((requests.FindOwner(SMS, "g-1"),)),
    requests.FreeChannels("m-1"),
    requests.Heartbeat("studio", 5.0),
    requests.Lease(1, "studio", 5.0),
    requests.ReadIndexKeys(forget=True),
    requests.Erase("m-1", 0, 1, b"x"),
    requests.DropKeys("m-1", ("k",)),
]


@pytest.mark.parametrize("request_", CHANGES, ids=lambda each: type(each).__name__)
def test_a_change_is_refused(request_: requests.Effect[Any]):
    """A request that changes something does not come to the store, and the error names the remedy."""

    class Untouched:
        async def perform(self, request: Any, /) -> Any:
            raise AssertionError(f"{request} came through")

    with pytest.raises(StoreUnavailable, match="--write"):
        asyncio.run(ReadOnlyStore(Untouched()).perform(request_))


def test_every_request_of_the_store_is_known():
    """A new request is refused until somebody says that it changes nothing: those that pass are listed here."""
    assert all(issubclass(each, requests.Effect) for each in READS)
    names = {"Load", "Show", "Read", "Scan"}
    assert all(any(each.__name__.startswith(name) for name in names) for each in READS)


def test_a_manager_reads_and_cannot_say_a_word(server: Server):
    """A manager lists and reads the members of a live store, a message is refused, and the bytes stay as they are."""

    async def look() -> None:
        async with AsyncFlowStateManager.from_url(server.url, fruit_bot(), rates=None) as live:
            await live.handle(Message(Channel("telegram", "7"), "1", "hi"))
        before = dump(server)
        store = AsyncAtomicStateManager.from_url(server.url)
        async with AsyncFlowStateManager(fruit_bot(), ReadOnlyStore(store), rates=None, on_close=store.close) as seen:
            await seen.start()
            [member] = (await seen.members()).members
            assert await seen.state(member.member_id) is not None
            assert await seen.history(member.member_id)
            with pytest.raises(StoreUnavailable, match="--write"):
                await seen.handle(Message(Channel("telegram", "7"), "2", "order"))
            with pytest.raises(StoreUnavailable, match="--write"):
                await seen.recover("m-9") if await seen.wipe(member.member_id) else None
        assert dump(server) == before

    asyncio.run(look())


def dump(server: Server) -> dict[bytes, bytes]:
    """Return all that a server holds."""
    with server.client() as client:
        found: Any = {key: client.dump(key) for key in client.scan_iter()}
        return dict(found)


def test_a_store_without_an_owner_is_not_claimed():
    """A manager starts on an empty store, and records nothing there."""

    async def start() -> bytes | None:
        store = AsyncMemoryStore(MemoryStore(lambda: 1e9))
        async with AsyncFlowStateManager(fruit_bot(), ReadOnlyStore(store)) as manager:
            await manager.start()
            await manager.ask(requests.RecordIncident(None, b"incident"))
            assert await manager.ask(requests.ReadIncidents(None)) == ()
        return await store.perform(requests.ReadOwner())

    assert asyncio.run(start()) is None
