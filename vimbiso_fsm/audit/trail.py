"""The trail of a member: all that the store keeps about them, readable or damaged, and its faults.

`read_trail` reads the trail. The other functions work on this value alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import starmap
from typing import TypeAlias, TypeVar

import attrs

from vimbiso_fsm.audit.entries import ERASED, AuditEntry, Incident, life_of_guest, unseal
from vimbiso_fsm.audit.flow_audit import FlowAuditLogger
from vimbiso_fsm.errors import DamagedDocument, StoreUnavailable, Unreadable
from vimbiso_fsm.store.requests import (
    Broken,
    Entry,
    Load,
    ReadAudit,
    ReadIncidents,
    Scan,
    Store,
    Stored,
    names_document,
)

T = TypeVar("T")
Wanted: TypeAlias = Callable[[AuditEntry | Incident], bool]
"""Selects entries and incidents, such as `functools.partial(FlowAuditLogger.fits, flow="pay")`."""


@attrs.frozen
class Trail:
    """All that the store keeps about a member, or the incidents of the store itself.

    Attributes:
        member_id: The member; None for the store.
        stored: The document, read before the entries; None for the store.
        entries: The audit entries, oldest first.
        incidents: The incidents as they are stored, oldest first.
        damaged: A sentence for each place of the stored lists that could not be read.
    """

    member_id: str | None
    stored: Stored | Broken | None
    entries: tuple[Entry, ...] = ()
    incidents: tuple[bytes, ...] = ()
    damaged: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The owner of the trail, in words."""
        return "the store" if self.member_id is None else self.member_id

    @property
    def empty(self) -> bool:
        """Whether the store keeps nothing about the member."""
        stored = isinstance(self.stored, Broken) or (self.stored is not None and self.stored.document is not None)
        return not (stored or self.entries or self.incidents or self.damaged)


def read_trail(store: Store, member_id: str | None) -> Trail:
    """Read the trail of a member. Damaged data raises no error; the trail names it.

    Args:
        store: The store.
        member_id: The member; None for the store itself.

    Raises:
        StoreUnavailable: The store did not answer.
    """
    stored: Stored | Broken | None = None
    entries: tuple[Entry, ...] = ()
    damaged: list[str] = []
    if member_id is not None:
        stored = store.perform(Load(member_id))
        try:
            found = store.perform(ReadAudit(member_id, tolerant=True))
        except DamagedDocument as error:
            found = ()
            damaged.append(error.fault)
        entries = tuple(entry for entry in found if entry.version)
        places = (place for place, entry in enumerate(found, 1) if not entry.version)
        damaged += [f"place {place} of the audit holds no entry" for place in places]
    try:
        incidents = store.perform(ReadIncidents(member_id))
    except StoreUnavailable as error:
        if "WRONGTYPE" not in error.fault:
            raise
        incidents = ()
        damaged.append("the key of the incidents is no list")
    return Trail(member_id, stored, entries, incidents, tuple(damaged))


def members(store: Store) -> tuple[str, ...]:
    """Return the ids of all members with a document, an audit or incidents, in order.

    Raises:
        StoreUnavailable: A server did not answer.
    """
    return store.perform(Scan())


def guests(trail: Trail) -> tuple[str, ...]:
    """Return the ids of the guests that the member was, as far as the entries of their promotions are kept."""
    return tuple(dict.fromkeys(str(promotion.detail["guest"]) for promotion in _promotions(trail)))


def earlier(store: Store, trail: Trail) -> Iterator[Trail]:
    """Yield the trail of each guest and merged member that the member was, the earliest first.

    They are without the readable entries of other persons.

    Raises:
        StoreUnavailable: The store did not answer.
    """
    yield from _earlier(store, trail, set())


def _earlier(store: Store, trail: Trail, seen: set[tuple[str, int]]) -> Iterator[Trail]:
    for promotion in _promotions(trail):
        name, version = str(promotion.detail["guest"]), int(promotion.detail.get("guest_version", 0))
        if (name, version) in seen:
            continue
        seen.add((name, version))
        guest = read_trail(store, name)
        readable, _ = read_entries(guest)
        others = {entry.version for entry in readable} - {entry.version for entry in life_of_guest(readable, version)}
        life = attrs.evolve(guest, entries=tuple(entry for entry in guest.entries if entry.version not in others))
        yield from _earlier(store, life, seen)
        yield life


def read_entries(trail: Trail) -> tuple[tuple[AuditEntry, ...], tuple[str, ...]]:
    """Return the readable entries, oldest first, and a sentence for each of the others."""
    return _parted(AuditEntry, map(read_entry, trail.entries))


def read_incidents(trail: Trail) -> tuple[tuple[Incident, ...], tuple[str, ...]]:
    """Return the readable incidents, oldest first, and a sentence for each of the others."""
    return _parted(Incident, starmap(read_incident, enumerate(trail.incidents, 1)))


def read_entry(entry: Entry) -> AuditEntry | str:
    """Return a stored entry as an object, or a sentence that says why it cannot be read."""
    try:
        read = unseal(entry)
    except Unreadable as error:
        return f"entry {entry.version}: it cannot be read: {error}"
    if read.version != entry.version:
        return f"entry {entry.version}: its text is that of entry {read.version}"
    return read if read.at.tzinfo else f"entry {entry.version}: its instant has no time zone"


def read_incident(place: int, body: bytes) -> Incident | str:
    """Return a stored incident as an object, or a sentence that says why it cannot be read.

    Args:
        place: Its place among the incidents, from 1.
        body: Its bytes.
    """
    try:
        read = Incident.read(body)
    except Unreadable as error:
        return f"incident {place}: it cannot be read: {error}"
    return read if read.at.tzinfo else f"incident {place}: its instant has no time zone"


def faults(trail: Trail) -> tuple[str, ...]:
    """Return the faults of a trail, one sentence each; none when it is whole. No value is quoted.

    The entries must form a chain from the first that is kept and belong to the member, the stored document must be the
    one that its entry names, and each incident must be readable.
    """
    found = [*trail.damaged, *FlowAuditLogger.faults(trail.entries), *_owner_faults(trail), *_document_faults(trail)]
    found += read_incidents(trail)[1]
    return tuple(dict.fromkeys(found))  # a key of a wrong type is reported twice


def erasures(trail: Trail) -> tuple[str, ...]:
    """Return a sentence for each erasure in a trail. It is no fault."""
    entries, _ = read_entries(trail)
    return tuple(
        f"erased by {entry.detail.get('by')} at {entry.at.isoformat()}, {entry.detail.get('erased')} entries"
        for entry in entries
        if entry.kind == ERASED
    )


def _promotions(trail: Trail) -> list[AuditEntry]:
    entries, _ = read_entries(trail)
    return [entry for entry in entries if entry.kind == "move" and "guest" in entry.detail]


def _parted(kind: type[T], found: Iterable[T | str]) -> tuple[tuple[T, ...], tuple[str, ...]]:
    read = tuple(found)
    return tuple(each for each in read if isinstance(each, kind)), tuple(each for each in read if isinstance(each, str))


def _owner_faults(trail: Trail) -> Iterator[str]:
    for entry in trail.entries:
        read = read_entry(entry)
        if isinstance(read, AuditEntry) and read.member_id != trail.member_id:
            yield f"entry {entry.version}: its text is of another member"


def _document_faults(trail: Trail) -> Iterator[str]:
    stored = trail.stored
    if isinstance(stored, Broken):
        yield stored.fault
    if not isinstance(stored, Stored) or stored.document is None:
        return  # it has expired; then the head is that of the latest entry
    version = stored.head.version
    entry = next((entry for entry in reversed(trail.entries) if entry.version == version), None)
    if entry is None:
        yield f"the stored document is of version {version}, and there is no such entry"
        return
    if entry.digest != stored.head.digest:
        yield f"the stored document names another entry {version} as the one that made it"
    read = read_entry(entry)
    if isinstance(read, AuditEntry) and not names_document(read.document, stored.ciphertext or stored.document):
        yield f"the stored document is not the one that entry {version} names"
