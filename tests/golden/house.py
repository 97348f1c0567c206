"""The package's inside as far as the golden files need it. When modules move, only this file changes.

Everything else in `tests.golden` imports the top-level names of `vimbiso_fsm` and those of `__all__` here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import flows
from flows.credex_core import Fault, SimulatedCredexCore
from vimbiso_fsm import AsyncFlowStateManager, Bot, FlowStateManager
from vimbiso_fsm.messages.digests import Digests
from vimbiso_fsm.store.requests import (
    Commit,
    Entry,
    FindOwner,
    Heartbeat,
    Lease,
    Link,
    Load,
    MarkSent,
    Quarantine,
    ReadAudit,
    ReadDue,
    ReadIncidents,
    ReadRecords,
    RecordIncident,
    SetWakeUp,
    Unlink,
    Wipe,
    shard_of,
)
from vimbiso_fsm.store.script import SCRIPT, encode
from vimbiso_fsm.testing.chat import STORE_SECRET

__all__ = [
    "Fault",
    "SimulatedCredexCore",
    "Tap",
    "commit_parts",
    "damage",
    "due_at",
    "fill_common_keys",
    "latest_entry",
    "latest_incident",
    "latest_record",
    "member_of",
    "stored_document",
    "tapped",
    "vimbisopay",
    "words_of",
]

vimbisopay: Bot = flows.bot
"""The bot of VimbisoPay."""

WRITES = (Commit, Link, MarkSent, RecordIncident, Quarantine, SetWakeUp, Unlink, Wipe)
"""The requests that change a store. A commit without a document changes nothing."""

Ask = Callable[[Any], Any]
"""Performs a request on a store and returns the result."""


# What a manager writes -------------------------------------------------------------------------------------------


class Tap:
    """A store, sync or async, that keeps each request that changes it in `writes`."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.writes: list[Any] = []

    def perform(self, request: Any) -> Any:
        """Keep the request and pass it on."""
        if isinstance(request, WRITES) and getattr(request, "document", b"") is not None:
            self.writes.append(request)
        return self._store.perform(request)


def tapped(kind: str, bot: Bot, clock: Callable[[], float], **options: Any) -> tuple[Any, Tap]:
    """Return a manager in memory, `kind` "sync" or "async", that follows `clock`, and the tap in front of its store."""
    make: Any = FlowStateManager if kind == "sync" else AsyncFlowStateManager
    manager = make.in_memory(bot, clock=clock, secret=STORE_SECRET, **options)
    manager._store = tap = Tap(manager._store)
    return manager, tap


def words_of(request: Any) -> tuple[list[bytes], list[bytes]]:
    """Return the keys and the arguments of the script call that performs a request."""
    name, sha, count, *rest = encode(request, Digests((b"golden",))).words
    assert (name, sha) == ("EVALSHA", hashlib.sha1(SCRIPT, usedforsecurity=False).hexdigest())
    words = [word if isinstance(word, bytes) else str(word).encode() for word in rest]
    return words[: int(count)], words[int(count) :]


def commit_parts(request: Any) -> tuple[bytes, bytes] | None:
    """Return the document and the audit entry of a commit; None for any other request."""
    if not isinstance(request, Commit) or request.document is None or request.entry is None:
        return None
    return request.document, request.entry.body


# What is stored --------------------------------------------------------------------------------------------------


def stored_document(ask: Ask, member_id: str) -> bytes:
    """Return the stored bytes of a member's document."""
    found: bytes = ask(Load(member_id)).document
    return found


def latest_record(ask: Ask, member_id: str) -> bytes:
    """Return the stored bytes of a member's latest turn record."""
    found: bytes = ask(ReadRecords(member_id))[-1].body
    return found


def latest_entry(ask: Ask, member_id: str) -> bytes:
    """Return the stored bytes of a member's latest audit entry."""
    found: bytes = ask(ReadAudit(member_id))[-1].body
    return found


def latest_incident(ask: Ask, member_id: str) -> bytes:
    """Return the stored bytes of a member's latest incident."""
    found: bytes = ask(ReadIncidents(member_id))[-1]
    return found


def due_at(ask: Ask, member_id: str, now: float) -> float:
    """Return the instant at which the member is due by the store, to the microsecond.

    It is the earliest `until` for which the store names the member.
    """
    shard, early, late = shard_of(member_id), int(now * 1e6) - 1, int((now + 400 * 86_400) * 1e6)
    assert member_id in ask(ReadDue(shard, late / 1e6)), "the member is not due"
    while late - early > 1:
        middle = (early + late) // 2
        early, late = (early, middle) if member_id in ask(ReadDue(shard, middle / 1e6)) else (middle, late)
    return late / 1e6


def member_of(ask: Ask, channel: Any) -> str | None:
    """Return the member that a channel is linked to."""
    found: str | None = ask(FindOwner(channel)).member_id
    return found


def damage(ask: Ask, member_id: str) -> None:
    """Store half of a member's document in its place, by an ordinary commit."""
    before, last = ask(Load(member_id)), ask(ReadAudit(member_id))[-1]
    version, half = before.head.version + 1, before.document[: len(before.document) // 2]
    text = json.loads(last.body)
    number = "v" if "v" in text else "version"  # the files of earlier releases are read by this module too
    note = {**text, number: version, "document": _digest(half), "previous": last.digest}
    body = json.dumps(note, ensure_ascii=False, separators=(",", ":")).encode()
    token = f"damage-{version}"
    ask(Commit(member_id, before.head, token, token, "", half, Entry(version, _digest(body), body)))


def fill_common_keys(ask: Ask, member_id: str) -> None:
    """Write the keys that belong to workers and to the store as a whole."""
    ask(Heartbeat("worker-1", 3_600.0))
    ask(Lease(shard_of(member_id), "worker-1", 3_600.0))
    ask(RecordIncident(None, b'{"kind":"waiver"}'))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
