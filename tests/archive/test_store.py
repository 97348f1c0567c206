"""A store with an archive is a store: it keeps the rules of the store below, also of one that encrypts."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final, Literal

import pytest

from tests.operations.test_link import WHATSAPP, Till, payments
from tests.shells import Shell
from vimbiso_fsm import Archiving, Bot, Encryption, KeyRing, Message
from vimbiso_fsm.archive.store import ArchivedStore, AsyncArchivedStore
from vimbiso_fsm.audit.trail import faults, members, read_trail
from vimbiso_fsm.store.memory import AsyncMemoryStore, MemoryStore
from vimbiso_fsm.store.requests import ReadAudit
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
