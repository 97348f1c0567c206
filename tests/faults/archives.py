"""Workers that are killed while they move audit entries to an archive in files, two at a time."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from tests.archive.chains import chain
from tests.engines import valkey_program
from tests.faults.kills import Mortal, Steps, die, in_child
from tests.faults.row import Profile, Report, folder, row
from tests.faults.server import own_server
from vimbiso_fsm.archive import json_lines
from vimbiso_fsm.archive.keeping import Archiving
from vimbiso_fsm.archive.procedures import MoveToArchive
from vimbiso_fsm.archive.store import ArchivedStore
from vimbiso_fsm.audit.flow_audit import FlowAuditLogger
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.store.requests import NO_HEAD, Commit, Entry, Head, ReadAudit

__all__: list[str] = []

MEMBER = "m-1"
HOT = 4
"""Entries that stay in the store."""


def _tearing(at: int) -> Callable[[BinaryIO, bytes], None]:
    """Return a function that writes data up to byte `at` of it, and then ends the process."""

    def write(file: BinaryIO, data: bytes) -> None:
        os.write(file.fileno(), data[: at % len(data)])
        die()

    return write


def _move(url: str, path: Path, point: Callable[[], None] = lambda: None, torn: int | None = None) -> None:
    """Move what exceeds the bound, in a worker that may die at a request or in the middle of a line."""
    if torn is not None:
        json_lines._write = _tearing(torn)  # type: ignore[assignment]  # it ends the process
    with AtomicStateManager.from_url(url) as store:
        archived = ArchivedStore(Mortal(store, point), Archiving(str(path), entries=HOT))
        archived.perform(MoveToArchive(MEMBER))


def _commit(url: str, entries: tuple[Entry, ...]) -> None:
    with AtomicStateManager.from_url(url) as store:
        for entry in entries:
            head = Head(entry.version - 1, _BEFORE[entry.version]) if entry.version > 1 else NO_HEAD
            store.perform(Commit(MEMBER, head, entry.digest, entry.digest, "", b"{}", entry, b"{}"))


_ENTRIES = chain(400, began=datetime.now(UTC))
_BEFORE = {entry.version + 1: entry.digest for entry in _ENTRIES}


@row("archived", "kill −9 of workers that archive: at each request, in the middle of a line", "0 lost, 0 twice")
def archived(profile: Profile, seed: int) -> Report:
    """Each round commits entries, kills a worker that archives them at a drawn point, and lets another go on or not."""
    report, chance = Report(), random.Random(seed)
    with folder() as records, own_server(valkey_program()) as server:
        path, made = records.path / "archive", 0
        for _ in range(profile.of(24, 60)):
            size = min(chance.randint(1, 12), len(_ENTRIES) - made)
            _commit(server.url, _ENTRIES[made : made + size])
            made += size
            torn = chance.randrange(5_000) if chance.random() < 0.4 else None
            steps = Steps(chance.randint(1, 12))
            point: Callable[[], None] = steps if torn is None else _alive
            killed = in_child(lambda point=point, torn=torn: _move(server.url, path, point, torn))  # type: ignore[misc]  # a lambda's type is not inferred
            report.count(rounds=1, killed=bool(killed), torn=bool(killed) and torn is not None)
            if chance.random() < 0.3:
                in_child(lambda: _move(server.url, path))
            _check(server.url, path, _ENTRIES[:made], report)
        _move(server.url, path)
        _check(server.url, path, _ENTRIES[:made], report)
        with AtomicStateManager.from_url(server.url) as store:
            hot = len(store.perform(ReadAudit(MEMBER)))
        report.demand(hot == min(HOT, made), f"{hot} entries stay in the store")
        report.count(entries=made)
    report.demand(report.counts.get("torn") and report.counts.get("killed"), "no worker was killed in a line")
    return report


def _alive() -> None:
    """Pass a point without an end."""


def _check(url: str, path: Path, entries: tuple[Entry, ...], report: Report) -> None:
    """Check that both parts hold each entry once, as one whole chain."""
    with AtomicStateManager.from_url(url) as store:
        both = ArchivedStore(store, str(path)).perform(ReadAudit(MEMBER))
    lost, twice = len({*entries} - {*both}), len(both) - len({*both})
    report.count(lost=lost, twice=twice)
    report.demand(both == entries, f"{lost} entries lost and {twice} twice of {len(entries)}")
    report.demand(not FlowAuditLogger.faults(both), "the chain is not whole")
