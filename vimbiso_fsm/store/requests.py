"""How a member's document is kept: the requests, the results, and the laws both engines obey.

A store is one method, `perform(request) -> result`. `redis_atomic.py` performs each request as one script call on a
Redis-compatible server, `memory.py` on a dictionary: a model to agree with. `testing.check_store` states each law
as a test and `testing.check_agreement` runs generated programs on both.

The laws of the commit

 1.  All or nothing: a commit writes document, previous document, turn record, audit entry and token, or nothing. One
     that forgets keeps no previous document.
 2.  Checked in this order: size, token, head, deadline, then the reads that may meet a key of a wrong type.
 3.  A token is used once. Used again it answers `Duplicate` with every record made under it (those of which it is
     the token or the root) and what is stored now; with other content than its record kept, it answers `Mismatch`.
     This holds before the head is looked at.
 4.  The head is the version and the digest of the latest audit entry. A commit on another head is a `Conflict`
     that brings what is stored now. The version goes up by one per commit and never starts again while an audit
     entry is kept, even when the document has expired.
 5.  After `not_after`, on the store's clock, a commit is `Late` and brings what is stored now.
 6.  A commit without a document only verifies (2 to 5) and writes nothing, not even its token.
 7.  Tokens live `TOKEN_LIFE`; records the latest `RECORDS_KEPT` for as long; the document and its previous one
     `DOCUMENT_LIFE` after the last commit. Of audit entries and incidents the latest `AUDIT_KEPT` and `INCIDENTS_KEPT`
     are kept, each for `AUDIT_LIFE` on the store's clock: whatever appends one drops those that are older from the old
     end of the list, `DROPPED_AT_ONCE` at most, so that no commit pays for many. The latest goes with the list itself,
     `AUDIT_LIFE` after it was appended. One that was stored without its instant goes by the count alone, and what is
     behind it waits for it.
 8.  What is stored is given back byte for byte. The store never looks inside.
 9.  A commit writes a wake-up only when it is earlier than the one there; `SetWakeUp` sets it, but only on the head it
     was read at. So a wake-up is never lost, and one that has lost its reason costs a look.
 10. A broken document (`Quarantine`) is moved whole to a key of its own before anything is written over it.
 11. A shard is leased to one worker at a time. That saves work and no more: what two workers do at once is decided
     by the head.
 12. A wipe leaves of a member what must outlive them: the tokens, the audit with an entry of the wipe, the incidents.
     The same wipe again is the same wipe.
     It is made on a head, and knows of all that was set aside, or it is a `Conflict`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from typing import Final, Generic, Protocol, Self, TypeAlias, TypeVar
from zlib import crc32

import attrs

from vimbiso_fsm.errors import DocumentTooLarge
from vimbiso_fsm.messages.message import Channel

R = TypeVar("R")


class Effect(Generic[R]):
    """Work for the shell around a pure operation, with an answer of type `R`.

    An operation awaits an effect: `stored = await Load(member_id)`. The shell takes the effect out of the coroutine,
    performs it and sends the answer back. No event loop takes part.
    """

    __slots__ = ()

    def __await__(self) -> Generator[Self, R, R]:
        return (yield self)


MAX_DOCUMENT: Final = 64 * 1024
"""Bytes of a stored document."""
SHARDS: Final = 1024
"""Hash tags over which members are spread; fixed, recorded in the store at first use."""
DOCUMENT_LIFE: Final = 30 * 86_400
"""Seconds after the last commit that the document, and the one before it, are kept."""
TOKEN_LIFE: Final = 8 * 86_400
"""Seconds that a token is remembered; webhooks are retried for seven days."""
RECORDS_KEPT: Final = 16
"""Turn records kept per member."""
AUDIT_KEPT: Final = 10_000
"""Audit entries kept per member."""
AUDIT_LIFE: Final = 400 * 86_400
"""Seconds that an audit entry, or an incident, is kept."""
DROPPED_AT_ONCE: Final = 16
"""Entries older than `AUDIT_LIFE` that go when one is appended, at most; the next goes on with what is left."""
ASIDE_LIFE: Final = 30 * 86_400
"""Seconds that what was set aside is kept for somebody to look at."""
INCIDENTS_KEPT: Final = 1_000
"""Incidents kept per member, and at the store as a whole."""


def digest(data: bytes) -> str:
    """SHA-256 of `data`, 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def shard_of(member_id: str) -> int:
    """The shard of a member, 0 to `SHARDS` - 1; the same in every process and release."""
    return crc32(member_id.encode("utf-8", "surrogatepass")) % SHARDS


@attrs.frozen
class Head:
    """Where a member stands: `version` of the document and `digest` of the audit entry that made it."""

    version: int = 0
    digest: str = ""


NO_HEAD: Final = Head()


@attrs.frozen
class Stored:
    """What is stored of a member now. `document` is None when none lives; `at`: the store's clock, seconds since
    the epoch; `previous`: the document before, given only when a `Load` asked for it."""

    head: Head
    document: bytes | None = attrs.field(repr=False)
    at: float
    previous: bytes | None = attrs.field(default=None, repr=False)


@attrs.frozen
class Record:
    """What one turn produced: `token` is its own, `root` that of the message it answers (the same but for the
    answers of calls), `content` the digest of what was said, `body` opaque bytes."""

    token: str
    root: str
    content: str
    body: bytes = attrs.field(repr=False)


@attrs.frozen
class Entry:
    """One audit entry as it is stored: `digest` is `store.digest(body)`."""

    version: int
    digest: str
    body: bytes = attrs.field(repr=False)


@attrs.frozen
class Quarantined:
    """One key that was set aside: at which `version`, `what` it was ("state", "turns" …); `key`: where it is now."""

    version: int
    what: str
    key: str = attrs.field(eq=False, repr=False)


@attrs.frozen
class Inherited:
    """What a member takes over from the guest they were: tokens with the instant each was used, and records."""

    tokens: tuple[tuple[str, float], ...] = ()
    records: tuple[Record, ...] = ()


# Requests ----------------------------------------------------------------------------------------------------


@attrs.frozen
class Load(Effect["Stored | Broken"]):
    """What is stored of a member -> `Stored | Broken`."""

    member_id: str
    previous: bool = False


@attrs.frozen
class Commit(Effect["CommitResult"]):
    """The one atomic write of a turn -> `Committed | Duplicate | Mismatch | Conflict | Late | Broken`.

    `document=None` only verifies. The new version is `expected.version + 1`; `entry.version` is the same.
    `not_after` and `wake_at` are instants on the store's clock (seconds since the epoch). `shift` moves the
    store's clock (seconds; 0 in production, tests step it). `forgets`: the document before is not kept, it holds what
    must be gone.

    Raises: DocumentTooLarge (nothing written), StoreUnavailable (nothing written), CommitUnknown.
    """

    member_id: str
    expected: Head
    token: str
    root: str
    content: str
    document: bytes | None = attrs.field(repr=False)
    entry: Entry | None
    record: bytes = attrs.field(default=b"", repr=False)
    not_after: float | None = None
    wake_at: float | None = None
    inherited: Inherited | None = None
    forgets: bool = False
    shift: float = 0.0


@attrs.frozen
class Quarantine(Effect["Stored | Conflict"]):
    """Move what is broken, whole, to a key of its own -> `Stored` (no document is left) | `Conflict` (one still is).

    Keys of a wrong type are moved whatever the head is; when there is none, the document is, if the head is still
    `expected`. So a document that was not what was broken stays, and so does a newer one. When none is left, the
    head goes on from the audit.
    """

    member_id: str
    expected: Head


@attrs.frozen
class ReadQuarantine(Effect["tuple[Quarantined, ...]"]):
    """What was set aside of a member and is still kept, oldest first -> `tuple[Quarantined, ...]`."""

    member_id: str


@attrs.frozen
class ShowQuarantined(Effect["tuple[bytes, ...]"]):
    """What one of them holds -> `tuple[bytes, ...]`: of a hash names and values in turn, else the values. Secrets stand
    in it as they were. Nothing, when it is not kept any more, or is of a type that no key of ours has."""

    member_id: str
    aside: Quarantined


@attrs.frozen
class Wipe(Effect["Committed | Conflict | Broken"]):
    """Remove the document, the one before it, the turn records, the wake-up and what was set aside; `entry` says so in
    the audit -> `Committed | Conflict | Broken`. `aside`: all that was set aside, as it was read.

    Raises: StoreUnavailable (nothing removed), CommitUnknown.
    """

    member_id: str
    expected: Head
    entry: Entry
    aside: tuple[Quarantined, ...] = ()


@attrs.frozen
class ReadAudit(Effect["tuple[Entry, ...]"]):
    """Audit entries, oldest first -> `tuple[Entry, ...]`. `last`: only so many, the latest."""

    member_id: str
    last: int | None = None


@attrs.frozen
class ReadRecords(Effect["tuple[Record, ...]"]):
    """Turn records, oldest first -> `tuple[Record, ...]`."""

    member_id: str


@attrs.frozen
class ReadInherited(Effect["Inherited"]):
    """What the member a guest has become must take over -> `Inherited`."""

    member_id: str


@attrs.frozen
class FindOwner(Effect["Linked"]):
    """Whose channel this is -> `Linked`."""

    channel: Channel


@attrs.frozen
class Link(Effect["Linked"]):
    """Give a channel that is nobody's to a member; repeatable -> `Linked` (to its owner, which may be another: a late
    repeat never takes a channel back)."""

    channel: Channel
    member_id: str


@attrs.frozen
class Unlink(Effect["Linked"]):
    """Take a channel from a member, if it is still theirs -> `Linked`."""

    channel: Channel
    member_id: str


@attrs.frozen
class SetWakeUp(Effect[None]):
    """Set a member's wake-up to `wake_at` (None: clear it), if the head is still `expected` -> None. Whoever committed
    since may have asked for an earlier one, so it stays."""

    member_id: str
    expected: Head
    wake_at: float | None = None


@attrs.frozen
class ReadDue(Effect["tuple[str, ...]"]):
    """Members of one shard whose wake-up has come -> `tuple[str, ...]`, the earliest first. `until`: an instant on the
    store's clock; now, if None."""

    shard: int
    until: float | None = None
    most: int = 100


@attrs.frozen
class Heartbeat(Effect["tuple[str, ...]"]):
    """A worker says that it is there for `seconds` more, with 0 that it leaves -> `tuple[str, ...]`, all there are."""

    worker: str
    seconds: float


@attrs.frozen
class Lease(Effect["Leased"]):
    """Take a shard for `seconds`, or hold it on, if it is nobody else's -> `Leased`; with 0 seconds, give it back."""

    shard: int
    worker: str
    seconds: float


@attrs.frozen
class RecordIncident(Effect[None]):
    """Keep an incident: what happened and changed no document -> None. `member_id` None: at the store as a whole. The
    same body at once again is the same incident."""

    member_id: str | None
    body: bytes = attrs.field(repr=False)


@attrs.frozen
class ReadIncidents(Effect["tuple[bytes, ...]"]):
    """Incidents, oldest first -> `tuple[bytes, ...]`. `last`: only so many, the latest."""

    member_id: str | None
    last: int | None = None


Request: TypeAlias = (
    Load
    | Commit
    | Quarantine
    | ReadQuarantine
    | ShowQuarantined
    | Wipe
    | ReadAudit
    | ReadRecords
    | ReadInherited
    | FindOwner
    | Link
    | Unlink
    | SetWakeUp
    | ReadDue
    | Heartbeat
    | Lease
    | RecordIncident
    | ReadIncidents
)


def check_commit(commit: Commit) -> Entry:
    """What every engine looks at before anything else: the size of the document, and that its audit entry is there.

    Raises: DocumentTooLarge; ValueError without an entry of the next version.
    """
    if commit.document is not None and len(commit.document) > MAX_DOCUMENT:
        raise DocumentTooLarge(len(commit.document), MAX_DOCUMENT)
    entry, version = commit.entry, commit.expected.version + 1
    if entry is None or entry.version != version:
        found = "none" if entry is None else f"that of version {entry.version}"
        raise ValueError(f"a commit that stores a document needs the audit entry of version {version}, not {found}")
    return entry


# Results -----------------------------------------------------------------------------------------------------


@attrs.frozen
class Committed:
    """It is stored (or, for a commit without a document, still true). `at`: the store's clock. `confirmed`: as safely
    as was asked for; False when a replicated store has not heard of its replica in time."""

    head: Head
    at: float
    confirmed: bool = True


@attrs.frozen
class Duplicate:
    """The token was used before: the records made under it (none when they are no longer kept), and what is
    stored now."""

    records: tuple[Record, ...]
    current: Stored


@attrs.frozen
class Mismatch:
    """The token was used before for other content."""

    current: Stored


@attrs.frozen
class Conflict:
    """Somebody else committed first."""

    current: Stored


@attrs.frozen
class Late:
    """The decision was only good until an instant that has passed."""

    current: Stored


@attrs.frozen
class Broken:
    """A key of the member is of a type that is not ours. `fault` names it; `previous`: the document before, where that
    can be read."""

    head: Head
    fault: str
    at: float
    previous: bytes | None = attrs.field(default=None, repr=False)


@attrs.frozen
class Linked:
    """The member a channel belongs to, if any."""

    member_id: str | None


@attrs.frozen
class Leased:
    """The worker that holds a shard now, if any."""

    worker: str | None


CommitResult: TypeAlias = Committed | Duplicate | Mismatch | Conflict | Late | Broken
"""What a commit comes to."""

Result: TypeAlias = (
    Stored
    | Committed
    | Duplicate
    | Mismatch
    | Conflict
    | Late
    | Broken
    | Linked
    | Leased
    | Inherited
    | tuple[Quarantined, ...]
    | tuple[Entry, ...]
    | tuple[Record, ...]
    | tuple[str, ...]
    | tuple[bytes, ...]
    | None
)


class Store(Protocol):
    """What a manager needs of a store."""

    def perform(self, request: Request) -> Result:
        """Do what `request` says; see the request's class for the result and what is raised."""
        ...


class AsyncStore(Protocol):
    """The same, awaited."""

    async def perform(self, request: Request) -> Result:
        """Do what `request` says; see the request's class for the result and what is raised."""
        ...
