"""The audit looked at from outside: read whatever is damaged, verified, exported, explained; `vimbiso audit` does it.

`read_trail` reads what is kept of one member; all that follows works on that value alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias, TypeVar

import attrs

from vimbiso_fsm.audit.entries import AuditEntry, Incident, life_of_guest, unseal
from vimbiso_fsm.audit.flow_audit import FlowAuditLogger
from vimbiso_fsm.errors import DamagedDocument, StoreUnavailable, Unreadable
from vimbiso_fsm.store.requests import Broken, Entry, Load, ReadAudit, ReadIncidents, Scan, Store, Stored, digest

T = TypeVar("T")
Wanted: TypeAlias = Callable[[AuditEntry | Incident], bool]
"""Says which entries and incidents are asked for; `functools.partial(FlowAuditLogger.fits, flow="pay")`, say."""


# Reading -----------------------------------------------------------------------------------------------------


@attrs.frozen
class Trail:
    """What is kept of one member, or (`member_id` None) the incidents of the store itself.

    `stored`: the document now, read before the entries. `damaged`: what of the lists could not be read, and where.
    """

    member_id: str | None
    stored: Stored | Broken | None
    entries: tuple[Entry, ...] = ()
    incidents: tuple[bytes, ...] = ()
    damaged: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Whose it is, in words."""
        return "the store" if self.member_id is None else self.member_id

    @property
    def empty(self) -> bool:
        """Whether nothing at all is kept."""
        stored = isinstance(self.stored, Broken) or (self.stored is not None and self.stored.document is not None)
        return not (stored or self.entries or self.incidents or self.damaged)


def read_trail(store: Store, member_id: str | None) -> Trail:
    """All that is kept of a member, or (None) of the store itself. What is damaged is said in the trail.

    Raises: StoreUnavailable when the store does not answer.
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
    """Return every member of whom the store keeps a document, an audit or incidents, in order.

    Raises:
        StoreUnavailable: A server did not answer.
    """
    return store.perform(Scan())


def guests(trail: Trail) -> tuple[str, ...]:
    """The guests that the member was, as far as the entries of their moves are kept."""
    return tuple(dict.fromkeys(str(move.detail["guest"]) for move in _moves(trail)))


def earlier(store: Store, trail: Trail) -> Iterator[Trail]:
    """The trail of each guest that the member was, for as long as they were that guest; what cannot be read is in it.

    Raises: StoreUnavailable.
    """
    for move in _moves(trail):
        guest = read_trail(store, str(move.detail["guest"]))
        life = life_of_guest(read_entries(guest)[0], int(move.detail.get("guest_version", 0)))
        others = {entry.version for entry in read_entries(guest)[0]} - {entry.version for entry in life}
        yield attrs.evolve(guest, entries=tuple(entry for entry in guest.entries if entry.version not in others))


def _moves(trail: Trail) -> list[AuditEntry]:
    found = (entry for entry in map(readable, trail.entries) if isinstance(entry, AuditEntry))
    return [entry for entry in found if entry.kind == "move" and "guest" in entry.detail]


def read_entries(trail: Trail) -> tuple[tuple[AuditEntry, ...], tuple[str, ...]]:
    """The entries that can be read, oldest first, and of the others why they cannot be."""
    return _parted(AuditEntry, map(readable, trail.entries))


def read_incidents(trail: Trail) -> tuple[tuple[Incident, ...], tuple[str, ...]]:
    """The incidents that can be read, oldest first, and of the others why they cannot be."""
    found = (incident(body) for body in trail.incidents)
    return _parted(Incident, (placed(place, read) for place, read in enumerate(found, 1)))


def _parted(kind: type[T], found: Iterable[T | str]) -> tuple[tuple[T, ...], tuple[str, ...]]:
    read = tuple(found)
    return tuple(one for one in read if isinstance(one, kind)), tuple(one for one in read if isinstance(one, str))


def placed(place: int, read: Incident | str) -> Incident | str:
    """Name the place of an incident that cannot be read."""
    return f"incident {place}: {read}" if isinstance(read, str) else read


def readable(entry: Entry) -> AuditEntry | str:
    """An entry, read, or why it cannot be."""
    try:
        read = unseal(entry)
    except Unreadable as error:
        return f"entry {entry.version}: it cannot be read: {error}"
    if read.version != entry.version:
        return f"entry {entry.version}: its text is that of entry {read.version}"
    return read if read.at.tzinfo else f"entry {entry.version}: its instant has no time zone"


# Verifying ---------------------------------------------------------------------------------------------------


def faults(trail: Trail) -> tuple[str, ...]:
    """What is broken in a trail, a line each; empty when nothing is. No value is quoted.

    The chain of the entries from the first that is kept, whose entries they are, that the document stored now is the
    one its entry names, and that each incident can be read.
    """
    found = [*trail.damaged, *FlowAuditLogger.faults(trail.entries), *_strangers(trail), *_document_faults(trail)]
    found += read_incidents(trail)[1]
    return tuple(dict.fromkeys(found))  # a key of a wrong type is met twice


def _strangers(trail: Trail) -> Iterator[str]:
    for entry in trail.entries:
        read = readable(entry)
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
    read = readable(entry)
    if isinstance(read, AuditEntry) and read.document != digest(stored.document):
        yield f"the stored document is not the one that entry {version} names"


def incident(body: bytes) -> Incident | str:
    """Read an incident; return the fault as text if it cannot be read."""
    try:
        read = Incident.read(body)
    except Unreadable as error:
        return f"it cannot be read: {error}"
    return read if read.at.tzinfo else "its instant has no time zone"
