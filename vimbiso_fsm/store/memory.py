"""The store in memory: the laws of `store.py` on plain dictionaries.

It is the model the engines must agree with (`testing.check_agreement`), and enough for a bot that may forget.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile
from threading import Lock
from typing import Final, TypeAlias, TypeVar

import attrs

from vimbiso_fsm.store.requests import (
    ASIDE_LIFE,
    AUDIT_KEPT,
    AUDIT_LIFE,
    DOCUMENT_LIFE,
    DROPPED_AT_ONCE,
    INCIDENTS_KEPT,
    NO_HEAD,
    RECORDS_KEPT,
    TOKEN_LIFE,
    Commit,
    Committed,
    Conflict,
    Duplicate,
    Entry,
    FindOwner,
    Head,
    Heartbeat,
    Inherited,
    Late,
    Lease,
    Leased,
    Link,
    Linked,
    Load,
    Mismatch,
    Quarantine,
    Quarantined,
    ReadAudit,
    ReadDue,
    ReadIncidents,
    ReadInherited,
    ReadQuarantine,
    ReadRecords,
    Record,
    RecordIncident,
    Request,
    Result,
    SetWakeUp,
    ShowQuarantined,
    Stored,
    Unlink,
    Wipe,
    check_commit,
    shard_of,
)

_T = TypeVar("_T")
_Dated: TypeAlias = tuple[tuple[float, _T], ...]
"""Things with the instant at which each was appended, oldest first."""


def _appended(kept: _Dated[_T], at: float, one: _T, most: int) -> _Dated[_T]:
    """With one more, and without those it is too many for, or that are too old."""
    kept = (*kept, (at, one))[-most:]
    old = takewhile(lambda dated: dated[0] <= at - AUDIT_LIFE, kept[:DROPPED_AT_ONCE])
    return kept[len(tuple(old)) :]


def _living(kept: _Dated[_T], now: float) -> _Dated[_T]:
    """All of it; nothing when the latest is too old."""
    return kept if kept and now < kept[-1][0] + AUDIT_LIFE else ()


def _latest(kept: _Dated[_T], last: int | None) -> tuple[_T, ...]:
    """The latest so many, or all, without their instants."""
    start = 0 if last is None else max(len(kept) - max(last, 0), 0)
    return tuple(one for _, one in kept[start:])


@attrs.frozen
class _State:
    head: Head
    document: bytes


@attrs.frozen
class _Aside(_State):
    """A document that was set aside, and the instant at which that ends."""

    ends: float


@attrs.define
class _Member:
    """What is kept of a member, and the instant (seconds since the epoch) at which each kind of it ends."""

    state: _State | None = None
    previous: bytes | None = None
    records: tuple[Record, ...] = ()
    audit: _Dated[Entry] = ()
    tokens: dict[str, float] = attrs.field(factory=dict[str, float])
    set_aside: tuple[_Aside, ...] = ()
    documents_end: float = 0.0
    turns_end: float = 0.0

    @property
    def head(self) -> Head:
        """The document's; when none lives, that of the latest audit entry."""
        if self.state is not None:
            return self.state.head
        return next((Head(entry.version, entry.digest) for entry in _latest(self.audit, 1)), NO_HEAD)

    def forget(self, now: float) -> None:
        """Drop what has ended."""
        if now >= self.documents_end:
            self.state = self.previous = None
        if now >= self.turns_end:
            self.records = ()
            self.tokens.clear()
        self.audit = _living(self.audit, now)
        self.set_aside = tuple(one for one in self.set_aside if now < one.ends)

    @property
    def aside(self) -> tuple[Quarantined, ...]:
        """What was set aside."""
        return tuple(Quarantined(one.head.version, "state", str(place)) for place, one in enumerate(self.set_aside))

    def stored(self, at: float, *, previous: bool = False) -> Stored:
        """What is stored now."""
        document = self.state.document if self.state is not None else None
        return Stored(self.head, document, at, self.previous if previous else None)


class MemoryStore:
    """A `Store` that lasts as long as the process; safe to share between threads."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock`: the store's clock, seconds since the epoch."""
        self._clock = clock
        self._lock: Final = Lock()
        self._members: dict[str, _Member] = {}
        self._channels: dict[tuple[str, str], str] = {}
        self._due: dict[str, float] = {}
        self._workers: dict[str, float] = {}
        self._leases: dict[int, tuple[str, float]] = {}
        self._incidents: dict[str | None, _Dated[bytes]] = {}

    def perform(self, request: Request) -> Result:
        """Do what `request` says; see the request's class for the result and what is raised."""
        with self._lock:
            return self._perform(request)

    def _perform(self, request: Request) -> Result:
        match request:
            case Commit():
                return self._commit(request)
            case Load(member_id, previous):
                return self._member(member_id).stored(self._at(), previous=previous)
            case Quarantine(member_id, expected):
                return self._set_aside(self._member(member_id), expected)
            case ReadQuarantine(member_id):
                return self._member(member_id).aside
            case ShowQuarantined(member_id, aside):
                found = self._member(member_id).set_aside[int(aside.key) :][:1]
                return tuple(part for one in found for part in (b"d", one.document))
            case Wipe():
                return self._wipe(self._member(request.member_id), request)
            case ReadAudit(member_id, last):
                return _latest(self._member(member_id).audit, last)
            case ReadRecords(member_id):
                return self._member(member_id).records
            case ReadInherited(member_id):
                member = self._member(member_id)
                by_age = sorted(member.tokens.items(), key=lambda item: (item[1], item[0]))
                return Inherited(tuple(by_age), member.records)
            case FindOwner(channel):
                return Linked(self._channels.get(channel.address))
            case Link(channel, member_id):
                return Linked(self._channels.setdefault(channel.address, member_id))
            case Unlink(channel, member_id):
                if self._channels.get(channel.address) == member_id:
                    del self._channels[channel.address]
                return Linked(self._channels.get(channel.address))
            case SetWakeUp(member_id, expected, wake_at):
                if self._member(member_id).head == expected:
                    self._due.pop(member_id, None)
                    if wake_at is not None:
                        self._due[member_id] = wake_at
                return None
            case ReadDue(shard, until, most):
                end = self._at() if until is None else until
                due = [(at, name) for name, at in self._due.items() if at <= end and shard_of(name) == shard]
                return tuple(name for _, name in sorted(due)[:most])
            case Heartbeat(worker, seconds):
                self._workers[worker] = self._at() + seconds
                self._workers = {name: end for name, end in self._workers.items() if end > self._at()}
                return tuple(sorted(self._workers, key=lambda name: (self._workers[name], name)))
            case Lease():
                return Leased(self._lease(request))
            case RecordIncident(member_id, body):
                kept = self._told(member_id)
                if _latest(kept, 1) != (body,):  # else it is the same report, made once more
                    self._incidents[member_id] = _appended(kept, self._at(), body, INCIDENTS_KEPT)
                return None
            case ReadIncidents(member_id, last):
                return _latest(self._told(member_id), last)

    def _told(self, member_id: str | None) -> _Dated[bytes]:
        """The incidents."""
        return _living(self._incidents.get(member_id, ()), self._at())

    def _lease(self, lease: Lease) -> str | None:
        """Who holds the shard after this."""
        worker, end = self._leases.get(lease.shard, ("", 0.0))
        if end > self._at() and worker != lease.worker:
            return worker
        self._leases[lease.shard] = (lease.worker, self._at() + lease.seconds)
        return lease.worker if lease.seconds else None

    def _at(self, shift: float = 0.0) -> float:
        return round(self._clock() + shift, 6)

    def _member(self, member_id: str) -> _Member:
        member = self._members.setdefault(member_id, _Member())
        member.forget(self._clock())
        return member

    def _commit(self, commit: Commit) -> Result:
        entry = None if commit.document is None else check_commit(commit)
        member = self._member(commit.member_id)
        at = self._at(commit.shift)
        if member.tokens.get(commit.token, at - TOKEN_LIFE) > at - TOKEN_LIFE:
            return self._repeated(member, commit, at)
        if member.head != commit.expected:
            return Conflict(member.stored(at))
        if commit.not_after is not None and at > commit.not_after:
            return Late(member.stored(at))
        if commit.document is None or entry is None:
            return Committed(commit.expected, at)
        self._write(member, commit, _State(Head(entry.version, entry.digest), commit.document), entry, at)
        return Committed(Head(entry.version, entry.digest), at)

    def _repeated(self, member: _Member, commit: Commit, at: float) -> Duplicate | Mismatch:
        records = tuple(record for record in member.records if commit.token in (record.token, record.root))
        if any(record.token == commit.token and record.content != commit.content for record in records):
            return Mismatch(member.stored(at))
        return Duplicate(records, member.stored(at))

    def _write(self, member: _Member, commit: Commit, state: _State, entry: Entry, at: float) -> None:
        inherited = commit.inherited or Inherited()
        if member.state is not None:
            member.previous = member.state.document
        if commit.forgets:
            member.previous = None
        member.state = state
        record = Record(commit.token, commit.root, commit.content, commit.record)
        member.records = (*member.records, *inherited.records, record)[-RECORDS_KEPT:]
        member.audit = _appended(member.audit, at, entry, AUDIT_KEPT)
        tokens = dict(inherited.tokens) | member.tokens | {commit.token: at}
        member.tokens = {token: used for token, used in tokens.items() if used > at - TOKEN_LIFE}
        if commit.wake_at is not None:
            self._due[commit.member_id] = min(commit.wake_at, self._due.get(commit.member_id, commit.wake_at))
        member.documents_end = at + DOCUMENT_LIFE
        member.turns_end = at + TOKEN_LIFE

    def _set_aside(self, member: _Member, expected: Head) -> Stored | Conflict:
        if member.state is not None and member.head == expected:
            ends = self._at() + ASIDE_LIFE
            member.set_aside = (*member.set_aside, _Aside(member.state.head, member.state.document, ends))
            member.state = None
        stored = member.stored(self._at())
        return stored if member.state is None else Conflict(stored)

    def _wipe(self, member: _Member, wipe: Wipe) -> Committed | Conflict:
        at = self._at()
        if member.head.digest == wipe.entry.digest:
            return Committed(member.head, at)
        if member.head != wipe.expected or member.aside != wipe.aside:
            return Conflict(member.stored(at))
        member.state = member.previous = None
        member.records = member.set_aside = ()
        member.audit = _appended(member.audit, at, wipe.entry, AUDIT_KEPT)
        self._due.pop(wipe.member_id, None)
        return Committed(member.head, at)


class AsyncMemoryStore:
    """A `MemoryStore` as an `AsyncStore`. Nothing in it waits."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def perform(self, request: Request) -> Result:
        """Do what `request` says; see the request's class for the result and what is raised."""
        return self._store.perform(request)
