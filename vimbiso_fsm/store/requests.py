"""The requests to a store, their results, and the rules that every store obeys.

A store has one method, `perform(request) -> result`. `redis_atomic.py` performs each request as one script call on a
Redis-compatible server, `memory.py` on dictionaries. `vimbiso_fsm.testing.check_store` tests a store against every
rule; `vimbiso_fsm.testing.check_agreement` compares it with the store in memory on generated programs.

Rules of a commit:

 1. A commit is atomic: it writes the document, the previous document, the turn record, the audit entry and the token,
    or nothing. A commit with `forgets` keeps no previous document.
 2. The checks are made in this order: size, token, head, deadline. Everything that could fail on a key of a wrong type
    is read before the first write, or is the first write.
 3. A token takes effect once. A second commit with the same token is answered with `Duplicate`, which holds the records
    made under the token (as token or as root) and the stored data. If the record of the token is kept and has
    other content, the answer is `Mismatch`. The token is checked before the head. A commit may have further tokens
    (`earlier`), because the keys of tokens change, and a channel may know a member by several names: each counts as
    used if one of them is, and all are used by it.
 4. The head is the version and the digest of the latest audit entry. A commit on any other head is answered with
    `Conflict`, which holds what is stored now. The version goes up by one per commit. It does not start again while an
    audit entry is kept, even after the document has expired.
 5. A commit after `not_after`, on the store's clock, is answered with `Late`, which holds what is stored now.
 6. A commit without a document makes the same checks (rules 2 to 5) and changes neither the document nor the head. With
    a record, it remembers a message that was answered and not taken: it writes the token and the record, whose root is
    empty. The latest `UNTAKEN_KEPT` such records are kept, beside those of turns. Without a record, it writes nothing,
    not even its token.

Rules of stored data:

 7. Lifetimes and counts are those of `retention.py`. The document, the one before, the records and the latest tokens of
    a member end together. A commit after which they would be kept for less than the life of the document (of a member
    who is no stranger, at least `TOKEN_KEPT`) renews them for this life and a thirtieth of it; it never shortens them.
    It then also renews the audit and drops from the old end of it entries older than `AUDIT_LIFE`, at most
    `EXPIRED_AT_ONCE`. Incidents do so with each append. Entries without a timestamp expire by count only and block
    those behind them. The instant of a token is in whole seconds, rounded up.
 8. Documents, records, entries and incidents are opaque: they are returned byte for byte.
 9. A commit sets a wake-up only if it is earlier than the one stored; that of a stranger clears it if it sets none.
    `SetWakeUp` replaces the wake-up, but only on the head that it was decided on. Wake-ups are never lost; a spurious
    one costs one read.
10. A key of a wrong type, or a damaged document, is moved whole to a key of its own (`Quarantine`) before anything is
    written in its place.
11. A shard is leased to one worker at a time. The lease only saves work: rule 4 decides between two workers that act at
    the same time. A lease or a presence that ends later than `LONGEST_LEASE` from now was taken while the clock was
    ahead; it is over.
12. A wipe removes everything of a member but the tokens, the audit (to which it adds an entry) and the incidents. It
    names a head and every quarantined key; if either has changed, the answer is `Conflict`. A repeated wipe is answered
    as the first one was.
13. An erasure replaces entries of the audit by a tombstone that keeps the head and the chain. Nothing of what the
    entries held is left. A fold replaces a row of entries by one that stands for them, in the same way.
14. `Rewrite` replaces bytes only where the bytes to be replaced are stored, and changes neither a head nor a lifetime.
    A key of a member's own is replaced only while it is kept: one that was dropped does not come back.
15. What was stored is compared with a check beside it when it is read. A document or a head that is not what was
    written is answered with `Broken`, whose head is that of the audit; such a turn record is passed over. The check
    covers the version, the digest and the bytes of the document, and all of a record. Documents and records of an older
    release have none. The latest tokens are kept twice. Where they are lost, the records and the audit entries of the
    latest turns, which name the token as `"token":"…"`, tell it. A store whose bytes cannot change needs no checks.
16. The oldest audit entries are dropped only before an entry that is named by its place, its version and its digest, so
    a stale request drops nothing, and the latest entry stays. It can be kept for longer than rule 7 says.
17. What was sent of an outbox is noted beside the document, on any head, and lives as long as it. No commit removes a
    note. `MarkSent` keeps the latest `SENT_KEPT`, and the latest `MESSAGES_KEPT` messages as which they were sent; if
    the head is the expected one, it drops those replies that do not wait any more and sets the wake-up. Where no
    document is stored, it changes nothing.
18. A change of a channel's owner that belongs to a way, which a document notes, is made once, however often and late it
    is asked for: the channel may have come back to its owner since. The store marks the way as done at the channel for
    `WAY_LIFE`. A `Link` or `Unlink` of a marked way changes nothing; the answer names the present owner. A `Link` that
    is refused, because the channel has another owner, marks nothing.
"""

from __future__ import annotations

import hashlib
from binascii import b2a_base64
from collections.abc import Coroutine, Generator, Iterable
from typing import Any, Final, Generic, Literal, Protocol, Self, TypeAlias, TypeVar
from zlib import crc32

import attrs

from vimbiso_fsm.errors import DocumentTooLarge
from vimbiso_fsm.messages.digests import Digests
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.value import Value
from vimbiso_fsm.store.ciphertext import FRAME, named_digest
from vimbiso_fsm.store.retention import DOCUMENT_LIFE, FRAME_ROOM, MAX_DOCUMENT, SHARDS

R = TypeVar("R")


class Effect(Value, Generic[R]):
    """Work for the shell around a pure operation, with an answer of type `R`.

    An operation awaits an effect: `stored = await Load(member_id)`. The shell takes the effect out of the coroutine,
    performs it and sends the answer back. No event loop takes part.
    """

    __slots__ = ()

    def __await__(self) -> Generator[Self, R, R]:
        return (yield self)


Request: TypeAlias = Effect[Any]
"""A request where the type of its answer does not matter."""


def digest(data: bytes) -> str:
    """Return the first 16 bytes of the SHA-256 of `data`, as 22 characters of URL-safe Base64."""
    return b2a_base64(hashlib.sha256(data).digest()[:16], newline=False)[:22].translate(_URL_SAFE).decode()


def long_digest(data: bytes) -> str:
    """Return the SHA-256 of `data` as 64 hexadecimal digits, which is the digest of entries up to layout 3."""
    return hashlib.sha256(data).hexdigest()


def is_digest(name: str, data: bytes) -> bool:
    """Return whether a digest, in the form of any layout, is that of `data`."""
    return name == (long_digest(data) if len(name) == _LONG else digest(data))


def names_document(name: str, document: bytes) -> bool:
    """Return whether a digest in an audit entry, in the form of any layout, is that of a document as it is stored.

    A document that was encrypted again since its commit carries the digest of before.
    """
    whole = named_digest(document)
    return name == (whole if len(name) == _LONG else _short(bytes.fromhex(whole)))


def _short(sha: bytes) -> str:
    return b2a_base64(sha[:16], newline=False)[:22].translate(_URL_SAFE).decode()


_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")
CONTENT_DIGEST: Final = 15
"""Characters of the digest of a content, which has a key."""
UNKEYED_CONTENT: Final = 16
"""Characters of one without a key, by an earlier release."""
_LONG: Final = 64
"""Characters of the digests of entries up to layout 3."""


def shard_of(member_id: str) -> int:
    """Return the shard of a member, 0 to `SHARDS` - 1; it is the same in every process and release."""
    return crc32(member_id.encode("utf-8", "surrogatepass")) % SHARDS


# Values ------------------------------------------------------------------------------------------------------


@attrs.frozen
class Head:
    """Position of a member: the `version` of the document and the `digest` of the audit entry that made it."""

    version: int = 0
    digest: str = ""


NO_HEAD: Final = Head()
"""The head of a member of whom nothing is stored."""


@attrs.frozen(eq=False, repr=False)
class Stored(Value):
    """The stored data of a member.

    Attributes:
        head: The member's head.
        document: The document; None if none is kept.
        at: The instant of the answer on the store's clock, in seconds since the epoch.
        previous: The document before, if the `Load` asked for it and it is kept.
        ciphertext: The document as it is stored, if `document` was decrypted.
        sent: The ids of replies in its outbox that are noted as sent (`MarkSent`), the latest last.
        messages: The messages as which replies were sent, each a digest of the channel's id and the id of the reply,
            the latest last. Only the answer of `Load` has them.
    """

    head: Head
    document: bytes | None = attrs.field(repr=False)
    at: float
    previous: bytes | None = attrs.field(default=None, repr=False)
    ciphertext: bytes | None = attrs.field(default=None, eq=False, repr=False)
    sent: tuple[str, ...] = ()
    messages: tuple[tuple[str, str], ...] = ()


@attrs.frozen(eq=False, repr=False)
class Record(Value):
    """Result of one turn, or of a message that was answered and not taken.

    Attributes:
        token: The token of the turn.
        root: The token of the message that the turn answers; it differs from `token` for the answer of a call. Empty
            for a message that was not taken.
        content: The digest of the message's content.
        body: Opaque bytes.
    """

    token: str
    root: str
    content: str
    body: bytes = attrs.field(repr=False)


@attrs.frozen(eq=False, repr=False)
class Entry(Value):
    """A stored audit entry. `digest` is `digest(body)`; up to layout 3 it was `long_digest(body)`."""

    version: int
    digest: str
    body: bytes = attrs.field(repr=False)


@attrs.frozen(eq=False, repr=False)
class Quarantined(Value):
    """A quarantined key.

    Attributes:
        version: The version of the member's document at the quarantine.
        what: The kind of the key: "state", "turns" …
        key: Where the key is now.
    """

    version: int
    what: str
    key: str = attrs.field(eq=False, repr=False)


@attrs.frozen(eq=False, repr=False)
class MemberKey(Value):
    """A key of one member's own, encrypted with a key of the deployment.

    Attributes:
        id: Its id.
        body: Opaque bytes.
    """

    id: str
    body: bytes = attrs.field(repr=False)


@attrs.frozen(eq=False, repr=False)
class Inherited(Value):
    """The tokens and records that a member takes over from the guest.

    Attributes:
        tokens: Each token with the instant of its use, in seconds since the epoch.
        records: The turn records, oldest first.
    """

    tokens: tuple[tuple[str, float], ...] = ()
    records: tuple[Record, ...] = ()


# Results -----------------------------------------------------------------------------------------------------


@attrs.frozen(eq=False, repr=False)
class Committed(Value):
    """The commit is stored, or its head is verified.

    Attributes:
        head: The new head.
        at: The instant of the commit on the store's clock, in seconds since the epoch.
        confirmed: False if a replicated store has no acknowledgement of its replica.
    """

    head: Head
    at: float
    confirmed: bool = True


@attrs.frozen(eq=False, repr=False)
class Duplicate(Value):
    """The token was used before.

    Attributes:
        records: The records made under the token; empty if they are no longer kept.
        current: What is stored now.
    """

    records: tuple[Record, ...]
    current: Stored


@attrs.frozen(eq=False, repr=False)
class Mismatch(Value):
    """The token was used before with other content. `current` is what is stored now."""

    current: Stored


@attrs.frozen(eq=False, repr=False)
class Conflict(Value):
    """The head is another one. `current` is what is stored now."""

    current: Stored


@attrs.frozen(eq=False, repr=False)
class Late(Value):
    """The deadline `not_after` has passed. `current` is what is stored now."""

    current: Stored


@attrs.frozen(eq=False, repr=False)
class Broken(Value):
    """A key of the member is not what the store has written.

    It has another type, or it is the document or the document before, and the check beside it is that of other bytes.

    Attributes:
        head: The member's head; that of the audit, if the key is the document.
        fault: The name of the key and its fault.
        at: The instant of the answer on the store's clock, in seconds since the epoch.
        previous: The document before, if it is what was written.
        document: The bytes of the document, if there are any. Nothing may be used of them that nothing else proves.
        ciphertext: The document as it is stored, if `document` was decrypted.
    """

    head: Head
    fault: str
    at: float
    previous: bytes | None = attrs.field(default=None, repr=False)
    document: bytes | None = attrs.field(default=None, repr=False)
    ciphertext: bytes | None = attrs.field(default=None, eq=False, repr=False)


@attrs.frozen(eq=False, repr=False)
class Linked(Value):
    """The owner of a channel.

    Attributes:
        member_id: The owner; None if the channel has none.
        own: Whether the channel's own entry says so. An entry of the time before accounts of the bot were told apart
            has no account; it answers for every account that has no entry of its own.
        at: The instant of the answer on the store's clock, in seconds since the epoch; None if the store does not tell.
    """

    member_id: str | None
    own: bool = True
    at: float | None = attrs.field(default=None, eq=False, repr=False)


@attrs.frozen(eq=False, repr=False)
class Erased(Value):
    """The entries of a range are replaced by a tombstone; `entries` is their number."""

    entries: int


@attrs.frozen(eq=False, repr=False)
class Leased(Value):
    """The holder of a shard; `worker` is None if no worker holds it."""

    worker: str | None


@attrs.frozen(eq=False, repr=False)
class Usage(Value):
    """The memory of one server that takes writes.

    Attributes:
        place: Its address.
        used: The bytes that it uses.
        limit: The bytes above which it refuses writes (`maxmemory`); 0 without a limit.
    """

    place: str
    used: int
    limit: int

    @property
    def share(self) -> float:
        """The share of the limit that is used; 0 without a limit."""
        return self.used / self.limit if self.limit else 0.0


CommitResult: TypeAlias = Committed | Duplicate | Mismatch | Conflict | Late | Broken
"""The answer to a commit."""


# Requests ----------------------------------------------------------------------------------------------------


@attrs.frozen(eq=False, repr=False)
class Load(Effect["Stored | Broken"]):
    """Read what is stored of a member; with `previous`, also the document before."""

    member_id: str
    previous: bool = False


@attrs.frozen(eq=False, repr=False)
class Commit(Effect["CommitResult"]):
    """Write one turn atomically (rules 1 to 9).

    Attributes:
        member_id: The member.
        expected: The head on which the turn was decided. The new version is `expected.version + 1`.
        token: The token of the turn.
        root: The token of the message that the turn answers.
        content: The digest of the message's content.
        document: The new document; None for a message that was not taken, and to verify (rule 6).
        entry: The audit entry of the new version.
        record: The body of the turn record; empty to verify.
        not_after: The latest instant at which the commit may be made, in seconds since the epoch on the store's clock.
        wake_at: The instant of the wake-up, in seconds since the epoch on the store's clock.
        inherited: Tokens and records that the member takes over.
        forgets: Keep no previous document, because it holds what must be gone.
        shift: Seconds by which the store's clock is moved; 0 in production.
        life: Seconds that the document and the one before it are kept after the commit, at least.
        stranger: Whether the member is a stranger: the audit ends with the document, if it is not kept for longer
            already, no document before and no empty record is kept, and the store may pack what it stores.
        earlier: Other tokens of the same event, by other keys and names (rule 3).
        contents: Other digests of its content, by other keys.

    Raises:
        DocumentTooLarge: The document is over `MAX_DOCUMENT`; nothing was written.
        StoreUnavailable: Nothing was written.
        CommitUnknown: The commit was sent and its answer was lost.
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
    life: int = DOCUMENT_LIFE
    stranger: bool = False
    earlier: tuple[str, ...] = ()
    contents: tuple[str, ...] = ()

    def names(self, *tokens: str) -> bool:
        """Return whether one of these tokens is one of the commit."""
        return self.token in tokens or any(each in tokens for each in self.earlier)

    def made(self, records: Iterable[Record]) -> tuple[Record, ...]:
        """Return the records that were made under a token of the commit, as token or as root."""
        return tuple(record for record in records if self.names(record.token, record.root))

    def contradicts(self, record: Record) -> bool:
        """Return whether a record was made under a token of the commit, of other content.

        A record of an earlier release, whose digest has no key and another length, is not compared with one of now.
        """
        content = record.content
        if content == self.content or content in self.contents or not self.names(record.token):
            return False
        return len(content) != UNKEYED_CONTENT or len(self.content) != CONTENT_DIGEST


@attrs.frozen(eq=False, repr=False)
class Quarantine(Effect["Stored | Conflict"]):
    """Move what is broken to a key of its own.

    What is damaged is moved on any head. If nothing is, the document is moved, provided that the head is still
    `expected`. Keys are moved whole; of the state, the document with its head, or the one before. The answer is
    `Stored` if no document is left, and `Conflict` if a newer one, or a sound one, is in place. Without a document, the
    head continues from the audit.
    """

    member_id: str
    expected: Head


@attrs.frozen(eq=False, repr=False)
class ReadQuarantine(Effect["tuple[Quarantined, ...]"]):
    """List the quarantined keys of a member that are still kept, oldest first."""

    member_id: str


@attrs.frozen(eq=False, repr=False)
class ShowQuarantined(Effect["tuple[bytes, ...]"]):
    """Read one quarantined key: of a hash its names and values in turn, else its values.

    The answer is empty if the key is no longer kept, or has a type that no key of the store has. It contains secrets
    as they were stored.
    """

    member_id: str
    quarantined: Quarantined


@attrs.frozen(eq=False, repr=False)
class Wipe(Effect["Committed | Conflict | Broken"]):
    """Remove the data of a member (rule 12).

    Attributes:
        member_id: The member.
        expected: The head on which the wipe was decided.
        entry: The audit entry of the wipe.
        quarantined: Every quarantined key of the member, as `ReadQuarantine` listed them.

    Raises:
        StoreUnavailable: Nothing was removed.
        CommitUnknown: The wipe was sent and its answer was lost.
    """

    member_id: str
    expected: Head
    entry: Entry
    quarantined: tuple[Quarantined, ...] = ()


@attrs.frozen(eq=False, repr=False)
class ReadAudit(Effect["tuple[Entry, ...]"]):
    """Read the audit entries of a member, oldest first; with `last`, only the latest so many.

    A place of the list that holds no entry raises `DamagedDocument`; with `tolerant`, it is an entry of version 0 in
    the answer.
    """

    member_id: str
    last: int | None = None
    tolerant: bool = False


@attrs.frozen(eq=False, repr=False)
class ReadOldest(Effect["tuple[Entry, ...]"]):
    """Read the oldest audit entries of a member, oldest first, at most `count` of them.

    A place of the list that holds no entry is an entry of version 0 in the answer.
    """

    member_id: str
    count: int


@attrs.frozen(eq=False, repr=False)
class DropOldest(Effect[bool]):
    """Drop the oldest audit entries of a member (rule 16). Repeatable.

    The answer is False, and nothing changes, if the first entry that would be left is another one.

    Attributes:
        member_id: The member.
        count: The number of entries to be dropped.
        left: The version and the digest of the first entry that is left.
        life: Seconds that the entries that are left are kept, unless one is appended; None leaves their lifetime.
    """

    member_id: str
    count: int
    left: Head
    life: int | None = None


@attrs.frozen(eq=False, repr=False)
class Scan(Effect["tuple[str, ...]"]):
    """Find every member of whom a document, an audit or incidents are kept, in the order of their ids.

    Each server is asked for all of its keys: this is for operators, not for turns. A member who comes or goes meanwhile
    may be missed.
    """


@attrs.frozen(eq=False, repr=False)
class Scanned(Value):
    """The members that a part of a scan has found.

    Attributes:
        members: Their ids, in order.
        cursor: Where the next part begins; empty after the last one.
    """

    members: tuple[str, ...]
    cursor: str = ""


@attrs.frozen(eq=False, repr=False)
class ScanPart(Effect["Scanned"]):
    """Find some of the members of whom a document is kept, or records of one.

    All parts together find every member who is there from the first part to the last, some of them perhaps twice. A
    member who comes or goes meanwhile may be missed, and many when a server joins or leaves a cluster. A part may find
    none and not be the last.

    Attributes:
        cursor: Where the part begins, as the part before it has told; empty for the first.
        keys: The number of keys that a server looks at, about: members are fewer.

    Raises:
        ValueError: The cursor was told by no part.
    """

    cursor: str = ""
    keys: int = 1000


@attrs.frozen(eq=False, repr=False)
class ReadRecords(Effect["tuple[Record, ...]"]):
    """Read the turn records of a member, oldest first."""

    member_id: str


@attrs.frozen(eq=False, repr=False)
class ReadInherited(Effect["Inherited"]):
    """Read the data that the member takes over from the guest: the records, and a portion of the tokens.

    Attributes:
        member_id: The guest.
        since: The instant of use from which tokens are read, in seconds since the epoch; None begins with the oldest.
    """

    member_id: str
    since: float | None = None


@attrs.frozen(eq=False, repr=False)
class UseTokens(Effect[bool]):
    """Take over tokens that were used at a guest, before what is decided of the guest is stored. Repeatable.

    A portion has at most `TOKENS_AT_ONCE`. The answer is False if the key of the member's tokens is of a wrong type;
    nothing is stored then.

    Attributes:
        member_id: The member.
        tokens: Each token with the instant of its use, in seconds since the epoch.
    """

    member_id: str
    tokens: tuple[tuple[str, float], ...]


@attrs.frozen(eq=False, repr=False)
class ReadDigests(Effect[Digests]):
    """Read the digests that stand for addresses of channels, with the keys that the store has.

    The answer is the same for as long as the store object lives. The keys are to appear in no log and no export.
    """


@attrs.frozen(eq=False, repr=False)
class FindOwner(Effect["Linked"]):
    """Find the owner of a channel. Its account counts; see `Linked.own`.

    Attributes:
        channel: The channel.
        guest: A guest who becomes the owner if the channel has none, for as long as `NAME_LIFE` says; None for none.
            It is for a channel that is one of several names. The owner that is there stays, so of two guests one gets
            the channel.
    """

    channel: Channel
    guest: str | None = None


@attrs.frozen(eq=False, repr=False)
class FindOwners(Effect["tuple[Linked, ...]"]):
    """Find the owners of several channels in one trip, each as `FindOwner` does. They are the names of one speaker."""

    each: tuple[FindOwner, ...]


@attrs.frozen(eq=False, repr=False)
class Link(Effect["Linked"]):
    """Give a channel to a member, if it has no owner or that of `instead_of`.

    The answer names the owner, which may be another member: a late repeat takes no channel away. Repeatable (rule 18).

    Attributes:
        channel: The channel.
        member_id: The member.
        instead_of: The owner that the channel is taken from; None for none.
        guest: Whether the new owner is a guest, who gets it for as long as `NAME_LIFE` says.
        way: The token of the way that the change belongs to; empty if it belongs to none.
    """

    channel: Channel
    member_id: str
    instead_of: str | None = None
    guest: bool = False
    way: str = ""


@attrs.frozen(eq=False, repr=False)
class Unlink(Effect["Linked"]):
    """Take a channel from a member, if the member still owns it; the answer names the owner after that.

    An entry without an account that names the member is taken too, since it would answer for this account.

    Attributes:
        channel: The channel.
        member_id: The member.
        way: The token of the way that the change belongs to; empty if it belongs to none (rule 18).
    """

    channel: Channel
    member_id: str
    way: str = ""


@attrs.frozen(eq=False, repr=False)
class FreeChannels(Effect[int]):
    """Take every channel from a member, and return the number of entries of the index that are gone.

    Each server is asked for all entries: this is for operators, where no document names the channels. Repeatable.
    """

    member_id: str


@attrs.frozen(eq=False, repr=False)
class IndexKeys(Value):
    """The keys and entries of the index of channels.

    Attributes:
        entries: The number of entries.
        earlier: The number of keys other than the current one with which entries may be named.
        recent: The number of keys other than the current one with which tokens may have been made that are kept.
    """

    entries: int
    earlier: int
    recent: int = 0


@attrs.frozen(eq=False, repr=False)
class ReadIndexKeys(Effect[IndexKeys]):
    """Count the entries of the index and its earlier keys, and forget these keys if `forget`. Repeatable.

    An entry that is named with a forgotten key is found no more. Each server is asked for all entries: this is for
    operators.
    """

    forget: bool = False


@attrs.frozen(eq=False, repr=False)
class Erase(Effect["Erased | Conflict"]):
    """Replace a range of audit entries by one tombstone, and with `all` remove all else that is stored of the member.

    The tombstone stands in the place of the latest entry of the range and keeps its version, digest and timestamp, so
    the chain goes on from it. With `all`, the answer is `Conflict` if a document is stored. Repeatable.

    Attributes:
        member_id: The member.
        first: The first version of the range.
        last: The last version of the range.
        body: The body of the tombstone.
        all: Whether the records, the tokens, the incidents and the wake-up are removed too.
    """

    member_id: str
    first: int
    last: int
    body: bytes = attrs.field(repr=False)
    all: bool = False


@attrs.frozen(eq=False, repr=False)
class Fold(Effect[int]):
    """Replace a range of audit entries by one that stands for them, and return the number of entries replaced.

    The new entry stands in the place of the latest entry of the range and keeps its version, digest and timestamp, so
    the chain goes on from it. Entries that another writer has folded meanwhile are none of the range. Repeatable.

    Attributes:
        member_id: The member.
        first: The first version of the range.
        last: The last version of the range.
        body: The body of the entry.
    """

    member_id: str
    first: int
    last: int
    body: bytes = attrs.field(repr=False)


@attrs.frozen(eq=False, repr=False)
class Rewrite(Effect[int]):
    """Replace stored bytes by others of the same meaning (rule 14), and return the number of parts that were replaced.

    A part that another writer has changed meanwhile is left as it is. Repeatable.

    Attributes:
        member_id: The member.
        document: The bytes of the document and those in their place; None leaves it.
        previous: The same of the document before.
        records: The turn records and those in their place.
    """

    member_id: str
    document: tuple[bytes, bytes] | None = attrs.field(default=None, repr=False)
    previous: tuple[bytes, bytes] | None = attrs.field(default=None, repr=False)
    records: tuple[tuple[Record, Record], ...] = ()


@attrs.frozen(eq=False, repr=False)
class ReadKeys(Effect["tuple[MemberKey, ...]"]):
    """Read the keys of a member's own, in the order of their ids.

    Attributes:
        member_id: The member.
        life: Seconds that keys that have an end are kept from now on, at least; 0 leaves their end.
    """

    member_id: str
    life: int = 0


@attrs.frozen(eq=False, repr=False)
class KeepKey(Effect[None]):
    """Keep a key of a member's own, in place of one with the same id. Repeatable.

    Attributes:
        member_id: The member.
        key: The key.
        replaces: Whether it is only kept in place of one with the same id.
        life: Seconds that the keys of the member are kept from now on, at least; 0 for keys without an end. Keys that
            have none get none.
    """

    member_id: str
    key: MemberKey
    replaces: bool = False
    life: int = 0


@attrs.frozen(eq=False, repr=False)
class DropKeys(Effect[None]):
    """Remove keys of a member's own, by their ids. Repeatable."""

    member_id: str
    ids: tuple[str, ...]


@attrs.frozen(eq=False, repr=False)
class SetWakeUp(Effect[None]):
    """Set the wake-up of a member to `wake_at` (None: clear it), if the head is still `expected`.

    On another head nothing changes: a later commit may have set an earlier wake-up.
    """

    member_id: str
    expected: Head
    wake_at: float | None = None


@attrs.frozen(eq=False, repr=False)
class MarkSent(Effect[None]):
    """Note beside a document which replies of its outbox were sent (rule 17). Repeatable.

    Attributes:
        member_id: The member.
        expected: The head of the document that `waiting` and `wake_at` are about.
        ids: The ids of the replies that were sent, without white space.
        waiting: The ids of the other replies in the outbox of that document.
        wake_at: The instant of the wake-up without these replies, in seconds since the epoch; None clears it.
        messages: The messages as which replies were sent, see `Stored`. The latest `MESSAGES_KEPT` are kept.
    """

    member_id: str
    expected: Head
    ids: tuple[str, ...]
    waiting: tuple[str, ...] = ()
    wake_at: float | None = None
    messages: tuple[tuple[str, str], ...] = ()


@attrs.frozen(eq=False, repr=False)
class ReadDue(Effect["tuple[str, ...]"]):
    """List the members of a shard whose wake-up is due, the earliest first.

    Attributes:
        shard: The shard.
        until: The latest wake-up to be listed, in seconds since the epoch on the store's clock; None means now.
        limit: The number of members to be listed at most.
    """

    shard: int
    until: float | None = None
    limit: int = 100


@attrs.frozen(eq=False, repr=False)
class ReadDueShards(Effect["tuple[int, ...]"]):
    """Tell which of several shards may have a member whose wake-up is due, in one trip.

    Each shard that has one is among them. A cluster, whose shards are spread over its servers, tells nothing, and names
    all of them. If one of the due sets has another type, the request is refused as if the store were unavailable; the
    request for its shard alone puts it aside.

    Attributes:
        shards: The shards.
        until: The latest wake-up that counts, in seconds since the epoch on the store's clock; None means now.
    """

    shards: tuple[int, ...]
    until: float | None = None


@attrs.frozen(eq=False, repr=False)
class Heartbeat(Effect["tuple[str, ...]"]):
    """Report a worker as present for `seconds`, with 0 as gone; the answer lists the workers that are present."""

    worker: str
    seconds: float


@attrs.frozen(eq=False, repr=False)
class Lease(Effect["Leased"]):
    """Take or renew the lease of a shard for `seconds`, unless another worker holds it; with 0, return it."""

    shard: int
    worker: str
    seconds: float


@attrs.frozen(eq=False, repr=False)
class TakePace(Effect[float]):
    """Ask for a send at the pace of a channel and an account; the answer is 0 if it may be made now.

    Otherwise the answer is the number of seconds after which it is to be asked again, and the send has a place in a
    queue: the smallest `order` is first. The place is kept for `PACE_GRACE` after that, and can be taken again. A send
    that was allowed counts, whether it is made or not. So a repeat whose first answer was lost makes the pace slower,
    and never faster.

    Attributes:
        type: The type of the channel.
        account: The account that sends; empty for the only one.
        name: A name of the address that is sent to. It waits once at a time.
        order: Its place in the queue; that of a place that it has already counts if it is smaller.
        limit: The number of sends in any `every` seconds.
        every: The time of `limit`, in seconds, at most `LONGEST_PACE`.
        chat_burst: The number of sends that can be made to the same address at once.
        chat_every: Seconds after which one more can be made to it; 0 for no bound. Both multiplied are at most
            `LONGEST_PACE`.
        pause: Seconds for which nothing may be sent on the account, because the channel asks for it, at most
            `LONGEST_PAUSE`. With one, no send is asked for: the answer is what is left of the longest pause, and a
            place in the queue stays. 0 for none.
    """

    type: str
    account: str
    name: str
    order: float
    limit: int
    every: float = 1.0
    chat_burst: int = 1
    chat_every: float = 0.0
    pause: float = 0.0


@attrs.frozen(eq=False, repr=False)
class SetAside(Effect[None]):
    """Put aside what a request has found damaged, so that the request can be performed. Repeatable.

    A damaged entry of a due set and of the index, and a record of the store, is kept for `QUARANTINE_LIFE`; leases and
    the set of workers, which are made again within seconds, are deleted.

    Attributes:
        request: The request.
        entries: The damaged entries; empty if the key as a whole is of another type.
    """

    request: ReadDue | Heartbeat | Lease | FindOwner | Link | Unlink | ReadStoreRecord
    entries: tuple[bytes, ...] = attrs.field(default=(), repr=False)


@attrs.frozen(eq=False, repr=False)
class RecordIncident(Effect[None]):
    """Append an incident: an event that changed no document.

    `member_id` None means the store as a whole. A body equal to that of the latest incident is not appended again.
    """

    member_id: str | None
    body: bytes = attrs.field(repr=False)


@attrs.frozen(eq=False, repr=False)
class ReadIncidents(Effect["tuple[bytes, ...]"]):
    """Read the incidents of a member, or of the store if `member_id` is None, oldest first; with `last`, the latest."""

    member_id: str | None
    last: int | None = None


StoreRecord: TypeAlias = Literal["owner", "shards", "index"]
"""A record that a store keeps once: its owner, the number of its shards, and the keys of its digests."""


@attrs.frozen(eq=False, repr=False)
class ReadStoreRecord(Effect["bytes | None"]):
    """Read a record of the store, also where that or another one is damaged; None if there is none.

    Raises:
        DamagedKey: It is of another type.
    """

    name: StoreRecord


@attrs.frozen(eq=False, repr=False)
class ReadUsage(Effect["tuple[Usage, ...]"]):
    """Read how much memory each server that takes writes uses; nothing of a store without servers.

    A server that does not answer, or does not tell, is left out.
    """


@attrs.frozen(eq=False, repr=False)
class ReadOwner(Effect["bytes | None"]):
    """Read the record of the store's owner; None if there is none."""


@attrs.frozen(eq=False, repr=False)
class Claim(Effect["bytes | None"]):
    """Record the owner of the store, or with None that it has none, if the record is still `instead_of`.

    The answer is the record after that, which may be another one. Repeatable.
    """

    owner: bytes | None
    instead_of: bytes | None


def check_commit(commit: Commit) -> Entry:
    """Check the size of the document and the audit entry, as every store does before anything else.

    Returns:
        The audit entry of the commit.

    Raises:
        DocumentTooLarge: The document is over `MAX_DOCUMENT`.
        ValueError: The commit has no audit entry of the next version.
    """
    document = commit.document
    # The size of a document was compared before it was encrypted.
    if document is not None and len(document) > MAX_DOCUMENT + (FRAME_ROOM if document.startswith(FRAME) else 0):
        raise DocumentTooLarge(len(document), MAX_DOCUMENT)
    entry, version = commit.entry, commit.expected.version + 1
    if entry is None or entry.version != version:
        found = "none" if entry is None else f"that of version {entry.version}"
        raise ValueError(f"a commit that stores a document needs the audit entry of version {version}, not {found}")
    return entry


# Stores ------------------------------------------------------------------------------------------------------


class Store(Protocol):
    """The store of a sync manager."""

    def perform(self, request: Effect[R], /) -> R:
        """Perform a request; its class documents the answer and the errors."""
        ...


class AsyncStore(Protocol):
    """The store of an async manager."""

    def perform(self, request: Effect[R], /) -> Coroutine[Any, Any, R]:
        """Perform a request; its class documents the answer and the errors."""
        ...
