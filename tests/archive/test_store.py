"""A store with an archive is a store: it keeps the rules of the store below, also of one that encrypts."""

from __future__ import annotations

import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import pytest

from tests.archive.chains import chain, tomb
from tests.archive.conftest import Open
from tests.engines import Server
from tests.operations.test_link import WHATSAPP, Till, payments
from tests.shells import Shell
from vimbiso_fsm import Archiving, Bot, Encryption, KeyRing, Message
from vimbiso_fsm.archive.procedures import MoveToArchive
from vimbiso_fsm.archive.store import ArchivedStore, AsyncArchivedStore
from vimbiso_fsm.audit.flow_audit import FlowAuditLogger
from vimbiso_fsm.audit.trail import faults, members, read_trail
from vimbiso_fsm.store.memory import AsyncMemoryStore, MemoryStore
from vimbiso_fsm.store.redis_atomic import AsyncAtomicStateManager, AtomicStateManager
from vimbiso_fsm.store.requests import NO_HEAD, Commit, Erase, Head, ReadAudit, Store
from vimbiso_fsm.testing.chat import STORE_SECRET, Clock
from vimbiso_fsm.testing.store_contract import LAWS, Law, waiting

WAKES_MORE: Final = {
    "law_6_without_a_document_it_remembers_a_message",
    "law_9_only_an_earlier_wake_up_is_written",
    "law_12_a_wiped_member_is_gone",
}
"""Rules whose checks look for no wake-up at all: here a member is woken when the oldest entry is old."""
KEPT: Final = [law for law in LAWS if law.__name__ not in WAKES_MORE]


@pytest.mark.parametrize("law", KEPT, ids=lambda law: law.__name__)
def test_it_keeps_every_rule(law: Law, tmp_path: Path):
    """Every rule of a store but that of wake-ups holds with an archive around it, sync and async."""
    law(ArchivedStore(MemoryStore(time.time), str(tmp_path / "sync")))
    with waiting(
        lambda: AsyncArchivedStore(AsyncMemoryStore(MemoryStore(time.time)), str(tmp_path / "async"))
    ) as store:
        law(store)


def test_the_rules_that_are_left_out_are_there():
    """No rule is left out under a name that none has."""
    assert len(KEPT) == len(LAWS) - len(WAKES_MORE)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_store_that_encrypts_has_an_archive(kind: Literal["sync", "async"], tmp_path: Path):
    """With encryption the entries are archived as the store has them, verify against the document, and are erased."""
    pytest.importorskip("cryptography", reason="needs the package cryptography")
    inner, clock = MemoryStore(time.time, secret=STORE_SECRET), Clock()
    clock.at = time.time()
    options: dict[str, Any] = {
        "encryption": Encryption(KeyRing.read("one:" + 32 * "0f"), member_keys=True),
        "archive": Archiving(str(tmp_path), entries=2),
    }
    with Shell(kind, Bot(payments, services={"till": Till()}), inner, **options) as shell:
        for number in range(4):
            shell.handle(Message(WHATSAPP, f"{number}", f"{number}"))
        [name] = members(inner)
        stored = inner.perform(ReadAudit(name))
        assert shell.do("archive", name).entries == len(stored) - 2
        assert tuple(entry.version for entry in shell.do("history", name)) == tuple(entry.version for entry in stored)
        trail = read_trail(ArchivedStore(inner, str(tmp_path)), name)
        assert (trail.entries, faults(trail)) == (stored, ())
        shell.do("erase", name)
        [left] = [path.read_bytes() for path in tmp_path.rglob("*.jsonl")]
        assert not [entry for entry in stored if entry.body in left]


class Own(AsyncArchivedStore):
    """A store with an archive that closes the store below."""

    def __init__(self, url: str, archiving: Archiving) -> None:
        self.below = AsyncAtomicStateManager.from_url(url)
        super().__init__(self.below, archiving)

    async def close(self) -> None:
        """Close both."""
        await super().close()
        await self.below.close()


@pytest.mark.parametrize("is_async", [False, True])
def test_on_real_servers(server: Server, opened: Open, is_async: bool):
    """On each server, with each kind of archive, entries are moved once, read as one and erased from both."""
    entries, archive = chain(12, began=datetime.now(UTC)), opened()
    archiving = Archiving(archive, entries=4)

    with ExitStack() as closing:
        inner = closing.enter_context(AtomicStateManager.from_url(server.url))
        store: Store = (
            closing.enter_context(waiting(lambda: Own(server.url, archiving)))
            if is_async
            else ArchivedStore(inner, archiving)
        )
        for entry in entries:
            head = Head(entry.version - 1, entries[entry.version - 2].digest) if entry.version > 1 else NO_HEAD
            store.perform(Commit("m-1", head, entry.digest, entry.digest, "", b"{}", entry, b"{}"))
        assert store.perform(MoveToArchive("m-1")).entries == 8
        assert store.perform(MoveToArchive("m-1")).entries == 0
        assert (inner.perform(ReadAudit("m-1")), archive.read("m-1")) == (entries[8:], entries[:8])
        assert store.perform(ReadAudit("m-1")) == entries
        mark = tomb(entries, 3, 10)
        store.perform(Erase("m-1", 3, 10, mark.body))
        both = store.perform(ReadAudit("m-1"))
        assert both == (*entries[:2], mark, *entries[10:])
        assert FlowAuditLogger.faults(both) == ()
        assert archive.read("m-1") == (*entries[:2], mark)
