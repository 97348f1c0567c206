"""The store in memory: the rules of `requests.py` on plain dictionaries.

It is the model with which the other stores must agree (`testing.check_agreement`), and it serves bots whose members
may be forgotten when the process ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from itertools import takewhile
from threading import Lock
from typing import Final, TypeAlias, TypeVar, cast

import attrs

from vimbiso_fsm.messages.message import Address
from vimbiso_fsm.store import requests
from vimbiso_fsm.store.index import Secret, digests_of, record_of, secrets_of
from vimbiso_fsm.store.paces import Queue
from vimbiso_fsm.store.requests import Effect
from vimbiso_fsm.store.retention import (
    AUDIT_KEPT,
    AUDIT_LIFE,
    EXPIRED_AT_ONCE,
    INCIDENTS_KEPT,
    LONGEST_LEASE,
    MESSAGES_KEPT,
    NAME_LIFE,
    QUARANTINE_LIFE,
    RECORDS_KEPT,
    SENT_KEPT,
    TOKEN_KEPT,
    TOKENS_AT_ONCE,
    TOKENS_IN_STATE,
    TRIMMED_AT_ONCE,
    UNTAKEN_KEPT,
    WAY_LIFE,
)

_R = TypeVar("_R")
_T = TypeVar("_T")
_Dated: TypeAlias = tuple[tuple[float, _T], ...]
"""Items with the instant at which each was appended, oldest first."""


def _appended(kept: _Dated[_T], at: float, item: _T, limit: int) -> _Dated[_T]:
    """Append an item and drop those that are over the limit or expired."""
    return _unexpired(_bounded((*kept, (at, item)), limit), at)


def _bounded(kept: _Dated[_T], limit: int) -> _Dated[_T]:
    """Drop the items that are over the limit, once they are many."""
    return kept[-limit:] if len(kept) > limit + TRIMMED_AT_ONCE else kept


def _unexpired(kept: _Dated[_T], at: float) -> _Dated[_T]:
    """Drop expired items, a bounded number of them."""
    old = takewhile(lambda dated: dated[0] <= at - AUDIT_LIFE, kept[:EXPIRED_AT_ONCE])
    return kept[len(tuple(old)) :]


def _living(kept: _Dated[_T], now: float) -> _Dated[_T]:
    """Return all items, or none if the latest has expired."""
    return kept if kept and now < kept[-1][0] + AUDIT_LIFE else ()


def _latest(kept: _Dated[_T], last: int | None, limit: int) -> tuple[_T, ...]:
    """Return the latest `last` items, or as many as are kept, without their instants."""
    start = max(len(kept) - min(limit if last is None else max(last, 0), limit), 0)
    return tuple(item for _, item in kept[start:])


@attrs.frozen
class _State:
    head: requests.Head
    document: bytes


@attrs.frozen
class _Quarantined(_State):
    """A quarantined document and the instant of its expiry."""

    expires: float


@attrs.define
class _Member:
    """The data of a member.

    Attributes:
        state: The document and its head.
        previous: The document before.
        turns: The records of turns.
        untaken: The records of messages without a turn.
        sent: The ids of sent replies.
        messages: The messages as which they were sent.
        latest: The latest tokens, each with the instant of its use; one may stand there again.
        expires: The instant at which all of this expires, in seconds since the epoch; 0 if nothing of it is kept.
        used: Earlier tokens, those of strangers, and those that were taken over.
        used_expire: The instant at which they expire.
    """

    state: _State | None = None
    previous: bytes | None = None
    turns: tuple[requests.Record, ...] = ()
    untaken: tuple[requests.Record, ...] = ()
    sent: tuple[str, ...] = ()
    messages: tuple[tuple[str, str], ...] = ()
    latest: tuple[tuple[str, float], ...] = ()
    expires: float = 0.0
    used: dict[str, float] = attrs.field(factory=dict[str, float])
    used_expire: float = 0.0
    audit: _Dated[requests.Entry] = ()
    audit_expires: float = 0.0
    quarantine: tuple[_Quarantined, ...] = ()
    keys: dict[str, requests.MemberKey] = attrs.field(factory=dict[str, requests.MemberKey])
    keys_expire: float | None = None

    @property
    def head(self) -> requests.Head:
        """The head of the document; without one, that of the latest audit entry."""
        if self.state is not None:
            return self.state.head
        return next(
            (requests.Head(entry.version, entry.digest) for entry in _latest(self.audit, 1, 1)), requests.NO_HEAD
        )

    @property
    def is_found(self) -> bool:
        """Whether a document, records or an audit are kept."""
        return bool(self.expires or self.audit)

    @property
    def records(self) -> tuple[requests.Record, ...]:
        """All records, oldest first, then those of messages without a turn."""
        return (*self.turns, *self.untaken)

    def forget(self, now: float) -> None:
        """Drop what has expired."""
        if now >= self.expires:
            self.drop_state()
        if now >= self.used_expire:
            self.used.clear()
        if now >= self.audit_expires:
            self.audit = ()
        self.quarantine = tuple(kept for kept in self.quarantine if now < kept.expires)
        if self.keys_expire is not None and now >= self.keys_expire:
            self.keys.clear()
        if not self.keys:
            self.keys_expire = None

    def keep_keys(self, life: int, now: float) -> None:
        """Let keys that have an end end at least so many seconds later."""
        if life and self.keys_expire is not None:
            self.keys_expire = max(self.keys_expire, math.ceil(now + life))

    def drop_state(self) -> None:
        """Drop the documents, the records and the latest tokens."""
        self.state = self.previous = None
        self.turns = self.untaken = ()
        self.sent = self.messages = ()
        self.latest, self.expires = (), 0.0

    def is_used(self, token: str, at: float) -> bool:
        """Return whether a token has been used and is not forgotten at an instant."""
        uses = [used for name, used in (*self.latest, *self.used.items()) if name == token]
        return any(used > at - TOKEN_KEPT for used in uses)

    def tokens(self, at: float) -> dict[str, float]:
        """Return the tokens that are not forgotten at an instant."""
        return {name: used for name, used in (self.used | dict(self.latest)).items() if used > at - TOKEN_KEPT}

    def use_in_set(self, tokens: Iterable[tuple[str, float]], at: float, *, replaces: bool = True) -> None:
        """Remember tokens apart from the latest; with `replaces`, in place of earlier uses of the same tokens."""
        found = dict(tokens)
        if found:
            ends = math.ceil(at + TOKEN_KEPT)
            self.used_expire = max(ends, self.used_expire if self.used else 0.0)
            self.used = self.used | found if replaces else found | self.used

    def drop_tokens(self, at: float) -> None:
        """Drop expired tokens apart from the latest, a bounded number of them."""
        expired = sorted(used for used in self.used.values() if 0 <= used <= at - TOKEN_KEPT)[:TOKENS_AT_ONCE]
        self.used = {name: used for name, used in self.used.items() if used not in expired}

    def keep_record(self, record: requests.Record) -> None:
        """Keep a record in place of the oldest of its kind."""
        if record.root:
            self.turns = (*self.turns, record)[-RECORDS_KEPT:]
        else:
            self.untaken = (*self.untaken, record)[-UNTAKEN_KEPT:]

    def replace(self, first: int, last: int, body: bytes) -> int:
        """Replace the audit entries of a range by one at the place of the latest of them; return their number."""
        gone = [dated for dated in self.audit if first <= dated[1].version <= last]
        if gone:
            at, latest = gone[-1]
            entry = requests.Entry(latest.version, latest.digest, body)
            self.audit = tuple(
                (at, entry) if dated is gone[-1] else dated
                for dated in self.audit
                if dated is gone[-1] or dated not in gone
            )
        return len(gone)

    @property
    def quarantined(self) -> tuple[requests.Quarantined, ...]:
        """The quarantined documents, named by their places."""
        return tuple(
            requests.Quarantined(kept.head.version, "state", str(place)) for place, kept in enumerate(self.quarantine)
        )

    def stored(self, at: float, *, previous: bool = False) -> requests.Stored:
        """Return what is stored at an instant."""
        document = self.state.document if self.state is not None else None
        sent = self.sent if document is not None else ()
        return requests.Stored(self.head, document, at, self.previous if previous else None, sent=sent)

    def mark_sent(self, marked: requests.MarkSent) -> None:
        """Note which replies of the outbox were sent."""
        known = [id for id in self.sent if id not in marked.ids]
        if self.head == marked.expected:
            known = [id for id in known if id in marked.waiting]
        self.sent = (*known, *marked.ids)[-SENT_KEPT:]
        if marked.messages:
            others = tuple(each for each in self.messages if each not in marked.messages)
            self.messages = (*others, *marked.messages)[-MESSAGES_KEPT:]


class MemoryStore:
    """A `Store` that lasts as long as its process. It may be shared between threads."""

    def __init__(self, clock: Callable[[], float], *, secret: Secret | None = None) -> None:
        """Make an empty store.

        Args:
            clock: The store's clock; it returns seconds since the epoch.
            secret: The secret that keys the digests of channels, or the current one and the earlier ones. By default
                the store makes a random key, so that two stores have two ids for one guest.

        Raises:
            ValueError: A secret is too short.
        """
        self._clock = clock
        secrets = secrets_of(secret)
        self._digests: Final = digests_of(secrets, record_of(secrets, "", is_new=True), "memory")
        self._lock: Final = Lock()
        self._members: dict[str, _Member] = {}
        self._channels: dict[Address, str] = {}
        self._names: dict[Address, float] = {}  # the instants at which the entries of guests end
        self._ways: dict[tuple[Address, str], float] = {}  # the instants at which the marks of ways end
        self._due: dict[str, float] = {}
        self._shards: dict[int, set[str]] = {}  # the members of each shard that are due
        self._workers: dict[str, float] = {}
        self._leases: dict[int, tuple[str, float]] = {}
        self._paces: dict[tuple[str, str], Queue] = {}
        self._owner_record: bytes | None = None
        self._incidents: dict[str | None, _Dated[bytes]] = {}

    def perform(self, request: Effect[_R], /) -> _R:
        """Perform a request; its class documents the answer and the errors."""
        with self._lock:
            # Each case gives the answer that the class of its request promises; a type checker cannot follow that.
            return cast(_R, self._perform(request))

    def _perform(self, request: requests.Request) -> object:
        match request:
            case requests.Commit():
                return self._commit(request)
            case requests.Load(member_id, previous):
                member = self._member(member_id)
                stored = member.stored(self._at(), previous=previous)
                return attrs.evolve(stored, messages=member.messages) if member.state is not None else stored
            case requests.Quarantine(member_id, expected):
                return self._quarantine(self._member(member_id), expected)
            case requests.ReadQuarantine(member_id):
                return self._member(member_id).quarantined
            case requests.ShowQuarantined(member_id, quarantined):
                found = self._member(member_id).quarantine[int(quarantined.key) :][:1]
                return tuple(part for kept in found for part in (b"d", kept.document))
            case requests.Wipe():
                return self._wipe(self._member(request.member_id), request)
            case requests.Scan():
                names = {name for name in [*self._members] if self._member(name).is_found}
                names |= {name for name in self._incidents if name is not None and self._incidents_of(name)}
                return tuple(sorted(names))
            case requests.ScanPart(cursor, keys):
                names = {name for name in [*self._members] if name > cursor and self._member(name).expires}
                shown = sorted(names)[: max(keys, 1)]
                return requests.Scanned((*shown,), shown[-1] if len(shown) < len(names) else "")
            case requests.ReadAudit(member_id, last):
                return _latest(self._member(member_id).audit, last, AUDIT_KEPT)
            case requests.ReadOldest(member_id, count):
                return tuple(entry for _, entry in self._member(member_id).audit[: max(count, 0)])
            case requests.DropOldest():
                return self._drop_oldest(self._member(request.member_id), request)
            case requests.ReadRecords(member_id):
                return self._member(member_id).records
            case requests.ReadInherited(member_id, since):
                member = self._member(member_id)
                by_age = sorted(member.tokens(self._at()).items(), key=lambda item: (item[1], item[0]))
                portion = [used for used in by_age if since is None or used[1] >= since][:TOKENS_AT_ONCE]
                return requests.Inherited(tuple(portion), member.records)
            case requests.UseTokens(member_id, tokens):
                self._member(member_id).use_in_set(tokens, self._at(), replaces=False)
                return True
            case requests.ReadDigests():
                return self._digests
            case requests.FindOwner(channel, guest):
                return self._owner(channel.address, guest)
            case requests.FindOwners(each):
                return tuple(self._owner(one.channel.address, one.guest) for one in each)
            case requests.Link(channel, member_id, instead_of, guest, way):
                owner = self._owner_of(channel.address)
                if owner not in (None, member_id, instead_of) or self._is_done(channel.address, way):
                    return requests.Linked(owner, at=self._at())
                return self._give(channel.address, member_id, ends=guest)
            case requests.Unlink(channel, member_id, way):
                done = self._is_done(channel.address, way)
                for address in () if done else {channel.address, channel.address.without_account}:
                    if self._owner_of(address) == member_id:
                        del self._channels[address]
                return self._owner(channel.address)
            case requests.ReadUsage():
                return ()
            case requests.ReadIndexKeys():
                entries = sum(self._owner_of(address) is not None for address in self._channels)
                return requests.IndexKeys(entries, 0)  # names in memory have no keys
            case requests.FreeChannels(member_id):
                owned = [address for address in self._channels if self._owner_of(address) == member_id]
                for address in owned:
                    del self._channels[address]
                return len(owned)
            case requests.Erase():
                return self._erase(self._member(request.member_id), request)
            case requests.Fold(member_id, first, last, body):
                return self._member(member_id).replace(first, last, body)
            case requests.Rewrite():
                return self._rewrite(self._member(request.member_id), request)
            case requests.ReadKeys(member_id, life):
                member = self._member(member_id)
                member.keep_keys(life, self._at())
                return tuple(key for _, key in sorted(member.keys.items()))
            case requests.KeepKey(member_id, key, replaces, life):
                member = self._member(member_id)
                if not replaces or key.id in member.keys:
                    if life and not member.keys:
                        member.keys_expire = 0.0
                    member.keys[key.id] = key
                    member.keep_keys(life, self._at())
                return None
            case requests.DropKeys(member_id, ids):
                for key_id in ids:
                    self._member(member_id).keys.pop(key_id, None)
                return None
            case requests.SetWakeUp(member_id, expected, wake_at):
                if self._member(member_id).head == expected:
                    self._set_due(member_id, wake_at)
                return None
            case requests.MarkSent(member_id, expected, _, _, wake_at):
                member = self._member(member_id)
                if member.state is not None:
                    member.mark_sent(request)
                    if member.head == expected:
                        self._set_due(member_id, wake_at)
                return None
            case requests.ReadDue(shard, until, limit):
                end = self._at() if until is None else until
                due = [(at, name) for name in self._shards.get(shard, ()) if (at := self._due[name]) <= end]
                return tuple(name for _, name in sorted(due)[:limit])
            case requests.ReadDueShards(shards, until):
                end = self._at() if until is None else until
                return tuple(
                    shard for shard in shards if any(self._due[name] <= end for name in self._shards.get(shard, ()))
                )
            case requests.Heartbeat(worker, seconds):
                self._workers[worker] = self._at() + seconds
                longest = self._at() + LONGEST_LEASE
                self._workers = {name: end for name, end in self._workers.items() if self._at() < end <= longest}
                return tuple(sorted(self._workers, key=lambda name: (self._workers[name], name)))
            case requests.Lease():
                return requests.Leased(self._lease(request))
            case requests.TakePace(channel_type, account):
                return self._paces.setdefault((channel_type, account), Queue()).take(request, self._at())
            case requests.SetAside():
                return None  # nothing is damaged in memory
            case requests.RecordIncident(member_id, body):
                kept = self._incidents_of(member_id)
                if _latest(kept, 1, 1) != (body,):  # an equal body is a repeat of the same request
                    self._incidents[member_id] = _appended(kept, self._at(), body, INCIDENTS_KEPT)
                return None
            case requests.ReadIncidents(member_id, last):
                return _latest(self._incidents_of(member_id), last, INCIDENTS_KEPT)
            case requests.ReadOwner():
                return self._owner_record
            case requests.ReadStoreRecord(name):
                return self._owner_record if name == "owner" else None
            case requests.Claim(owner, instead_of):
                if self._owner_record == instead_of:
                    self._owner_record = owner
                return self._owner_record
            case _:
                raise TypeError(f"{type(request).__name__} is not a request of a store")

    def _set_due(self, member_id: str, wake_at: float | None) -> None:
        shard = self._shards.setdefault(requests.shard_of(member_id), set())
        if wake_at is None:
            self._due.pop(member_id, None)
            shard.discard(member_id)
        else:
            self._due[member_id] = wake_at
            shard.add(member_id)

    def _owner_of(self, address: Address) -> str | None:
        """Return the owner that the entry of an address names, if the entry has not ended."""
        return self._channels.get(address) if self._names.get(address, math.inf) > self._at() else None

    def _is_done(self, address: Address, way: str) -> bool:
        """Return whether a way is marked as done at an address, and mark it."""
        if not way or self._ways.get((address, way), 0.0) > self._at():
            return bool(way)
        self._ways[address, way] = self._at() + WAY_LIFE
        return False

    def _give(self, address: Address, owner: str, *, ends: bool) -> requests.Linked:
        """Lead an address to an owner, for a while if `ends`."""
        self._channels[address] = owner
        self._names.pop(address, None)
        if ends:
            self._names[address] = self._at() + NAME_LIFE
        return requests.Linked(owner, at=self._at())

    def _owner(self, address: Address, guest: str | None = None) -> requests.Linked:
        owner = self._owner_of(address)
        if owner is not None:
            return self._give(address, owner, ends=address in self._names)
        bare = self._owner_of(address.without_account)
        if address.account and bare is not None:
            return requests.Linked(bare, False, self._at())
        return requests.Linked(None, at=self._at()) if guest is None else self._give(address, guest, ends=True)

    def _incidents_of(self, member_id: str | None) -> _Dated[bytes]:
        return _living(self._incidents.get(member_id, ()), self._at())

    def _lease(self, lease: requests.Lease) -> str | None:
        """Take, renew or return a lease; return the holder after that."""
        worker, end = self._leases.get(lease.shard, ("", 0.0))
        if self._at() < end <= self._at() + LONGEST_LEASE and worker != lease.worker:
            return worker
        self._leases[lease.shard] = (lease.worker, self._at() + lease.seconds)
        return lease.worker if lease.seconds else None

    def _at(self, shift: float = 0.0) -> float:
        return round(self._clock() + shift, 6)

    def _member(self, member_id: str) -> _Member:
        member = self._members.setdefault(member_id, _Member())
        member.forget(self._clock())
        return member

    def _commit(self, commit: requests.Commit) -> requests.CommitResult:
        entry = None if commit.document is None else requests.check_commit(commit)
        member = self._member(commit.member_id)
        at = self._at(commit.shift)
        if any(member.is_used(token, at) for token in (commit.token, *commit.earlier)):
            return self._repeated(member, commit, at)
        if member.head != commit.expected:
            return requests.Conflict(member.stored(at))
        if commit.not_after is not None and at > commit.not_after:
            return requests.Late(member.stored(at))
        if commit.document is None or entry is None:
            if commit.record:
                self._remember(member, commit, at)
            return requests.Committed(commit.expected, at)
        self._write(member, commit, _State(requests.Head(entry.version, entry.digest), commit.document), entry, at)
        return requests.Committed(requests.Head(entry.version, entry.digest), at)

    def _repeated(self, member: _Member, commit: requests.Commit, at: float) -> requests.Duplicate | requests.Mismatch:
        records = commit.made(member.records)
        if any(map(commit.contradicts, records)):
            return requests.Mismatch(member.stored(at))
        return requests.Duplicate(records, member.stored(at))

    def _write(self, member: _Member, commit: requests.Commit, state: _State, entry: requests.Entry, at: float) -> None:
        inherited = commit.inherited or requests.Inherited()
        if member.state is not None:
            member.previous = member.state.document
        if commit.forgets or commit.stranger:
            member.previous = None
        life = commit.life if commit.stranger else max(commit.life, TOKEN_KEPT)
        renews = member.expires < at + life
        if renews:
            member.expires = math.ceil(at + life + life / 30)
        member.state = state
        record = requests.Record(commit.token, commit.root, commit.content, commit.record)
        for each in (*inherited.records, *(() if commit.stranger and not commit.record else (record,))):
            member.keep_record(each)
        self._use(member, commit, inherited, at)
        if commit.stranger and commit.wake_at is None:
            self._set_due(commit.member_id, None)
        if commit.wake_at is not None:
            self._set_due(commit.member_id, min(commit.wake_at, self._due.get(commit.member_id, commit.wake_at)))
        longer = member.audit_expires if member.audit and commit.stranger else 0.0
        member.audit = _bounded((*member.audit, (at, entry)), AUDIT_KEPT)
        if renews or len(member.audit) < 3:
            ends = member.expires if commit.stranger else math.ceil(at + AUDIT_LIFE + life / 30)
            member.audit_expires = max(ends, longer)
            member.audit = _unexpired(member.audit, at)
            member.drop_tokens(at)

    def _use(self, member: _Member, commit: requests.Commit, inherited: requests.Inherited, at: float) -> None:
        """Remember the token of a commit and those that it inherits."""
        used, *others = ((token, float(math.ceil(at))) for token in (commit.token, *commit.earlier))
        if commit.stranger:
            member.use_in_set([used], at)
        else:
            member.latest = (*member.latest, used)
            if (commit.expected.version + 1) % 4 == 0:
                member.use_in_set(member.latest[:-TOKENS_IN_STATE], at)
                member.latest = member.latest[-TOKENS_IN_STATE:]
        member.use_in_set(others, at)
        member.use_in_set(inherited.tokens, at, replaces=False)

    def _remember(self, member: _Member, commit: requests.Commit, at: float) -> None:
        member.keep_record(requests.Record(commit.token, "", commit.content, commit.record))
        member.expires = member.expires or math.ceil(at + TOKEN_KEPT)
        member.use_in_set([(token, float(math.ceil(at))) for token in (commit.token, *commit.earlier)], at)
        member.drop_tokens(at)

    def _quarantine(self, member: _Member, expected: requests.Head) -> requests.Stored | requests.Conflict:
        if member.state is not None and member.head == expected:
            expires = self._at() + QUARANTINE_LIFE
            member.quarantine = (
                *member.quarantine,
                _Quarantined(member.state.head, member.state.document, expires),
            )
            member.state = None
        stored = member.stored(self._at())
        return stored if member.state is None else requests.Conflict(stored)

    def _wipe(self, member: _Member, wipe: requests.Wipe) -> requests.Committed | requests.Conflict:
        at = self._at()
        if member.head.digest == wipe.entry.digest:
            return requests.Committed(member.head, at)
        if member.head != wipe.expected or member.quarantined != wipe.quarantined:
            return requests.Conflict(member.stored(at))
        member.use_in_set(member.latest, at)
        member.drop_state()
        member.quarantine = ()
        member.audit = _appended(member.audit, at, wipe.entry, AUDIT_KEPT)
        member.audit_expires = math.ceil(at + AUDIT_LIFE)
        self._set_due(wipe.member_id, None)
        return requests.Committed(member.head, at)

    def _drop_oldest(self, member: _Member, drop: requests.DropOldest) -> bool:
        left = member.audit[drop.count :]
        if not left or requests.Head(left[0][1].version, left[0][1].digest) != drop.left:
            return False
        member.audit = left
        if drop.life is not None:
            member.audit_expires = math.ceil(self._at() + drop.life)
        return True

    def _rewrite(self, member: _Member, rewrite: requests.Rewrite) -> int:
        rewritten, state = 0, member.state
        if rewrite.document is not None and state is not None and state.document == rewrite.document[0]:
            member.state = attrs.evolve(state, document=rewrite.document[1])
            rewritten += 1
        if rewrite.previous is not None and member.previous == rewrite.previous[0]:
            member.previous = rewrite.previous[1]
            rewritten += 1
        replaced = dict(rewrite.records)
        rewritten += sum(record in replaced for record in member.records)
        member.turns = tuple(replaced.get(record, record) for record in member.turns)
        member.untaken = tuple(replaced.get(record, record) for record in member.untaken)
        return rewritten

    def _erase(self, member: _Member, erase: requests.Erase) -> requests.Erased | requests.Conflict:
        if erase.all and member.state is not None:
            return requests.Conflict(member.stored(self._at()))
        erased = member.replace(erase.first, erase.last, erase.body)
        if erase.all:
            member.drop_state()
            member.used.clear()
            self._incidents.pop(erase.member_id, None)
            self._set_due(erase.member_id, None)
        return requests.Erased(erased)


class AsyncMemoryStore:
    """A `MemoryStore` as an `AsyncStore`. It never waits."""

    def __init__(self, store: MemoryStore) -> None:
        """Wrap `store`, which both kinds of manager may then share."""
        self._store = store

    async def perform(self, request: Effect[_R], /) -> _R:
        """Perform a request; its class documents the answer and the errors."""
        return self._store.perform(request)
