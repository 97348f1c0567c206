"""What is done for each request at a store whose data is encrypted.

The procedures are coroutines that await requests of the store below, like operations, so both stores share them. Data
that cannot be decrypted is not an error here: a note takes its place (`store/ciphertext.py`), and the reader of the
document decides what becomes of it. Plain data passes as it is, and is encrypted with the member's next commit.

A member's own key. Each document names the key that it is encrypted with. A turn uses the key of the document that it
was decided on; where there is none, a new key is made and kept before the commit. A wipe and an erasure drop the keys
that were kept before them. A wipe changes the head, so no commit uses a dropped key. An erasure keeps the head, and a
first commit may be on its way: it keeps its key once more after it was made, and the erasure looks once more at the
document after it has dropped the keys. One of the two comes last.
"""

from __future__ import annotations

import math
import secrets
import time
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias

import attrs

from vimbiso_fsm.document.ids import is_guest_id
from vimbiso_fsm.encryption.cipher import Changed, Cipher, place, require_package
from vimbiso_fsm.encryption.keys import KEY_BYTES, KeyRing
from vimbiso_fsm.encryption.parts import Parts, SecretsOf, all_hidden, cut, joined
from vimbiso_fsm.encryption.settings import Encryption
from vimbiso_fsm.errors import CommitUnknown, DamagedDocument, StoreUnavailable, VimbisoError
from vimbiso_fsm.messages.bounds import LONGEST_WAIT
from vimbiso_fsm.messages.value import Value
from vimbiso_fsm.store.ciphertext import BROKEN, FRAME, OWN, Frame, closed, frame_of, named_digest, without_key
from vimbiso_fsm.store.layout import unword
from vimbiso_fsm.store.packing import pack, unpack
from vimbiso_fsm.store.requests import (
    Broken,
    Commit,
    CommitResult,
    Committed,
    Conflict,
    DropKeys,
    Duplicate,
    Effect,
    Entry,
    Erase,
    Erased,
    Head,
    Inherited,
    KeepKey,
    Late,
    Load,
    MemberKey,
    Mismatch,
    Quarantine,
    ReadInherited,
    ReadKeys,
    ReadRecords,
    Record,
    Request,
    Rewrite,
    ShowQuarantined,
    Stored,
    Wipe,
    check_commit,
    digest,
)
from vimbiso_fsm.store.retention import DOCUMENT_LIFE, FRAME_ROOM, GUEST_KEY_LIFE, MAX_DOCUMENT, TIMER_GRACE

MEMBERS_KNOWN: Final = 10_000
"""Members whose ciphers, and whose own keys, are remembered."""
OWN_KNOWN: Final = 60.0
"""Seconds for which a key of a member's own is used without being asked for again.

A process that runs on while another one drops a key reads nothing with it after that, in a restored copy either.
"""
LONGEST_LIFE: Final = int(LONGEST_WAIT) + TIMER_GRACE
"""Seconds that any document of a guest is kept at most: one with a timer as far ahead as can be.

A document that is encrypted again does not tell for how long the turns before it have had it kept.
"""
NOT_KEPT: Final = "it is a key of the member's own, which is not kept any more: the member was wiped or erased since"


@attrs.frozen(eq=False, repr=False)
class Reencrypt(Effect["Reencrypted"]):
    """Encrypt what is stored of a member with the current key and in the scope of now, in place.

    No version, audit entry or lifetime changes. A part that is written meanwhile is left: it is written with the
    current key. In the scope "plain" nothing is written, because the audit names the bytes of a document as they are
    stored; a member's next turn writes plain. Repeatable.

    Attributes:
        member_id: The member.
        dry_run: Only tell what is found.
    """

    member_id: str
    dry_run: bool = False


@attrs.frozen(eq=False, repr=False)
class Reencrypted(Value):
    """What was found of a member, and what was done.

    Attributes:
        member_id: The member.
        found: The number of parts (documents, turn records, keys of the member's own) by the id of their key; "plain"
            for those that are not encrypted.
        rewritten: The number of parts that were encrypted again.
        closed: The number of parts whose key is not at hand, by the id of the key.
        broken: The number of parts that are damaged.
    """

    member_id: str
    found: Mapping[str, int] = attrs.field(factory=dict)
    rewritten: int = 0
    closed: Mapping[str, int] = attrs.field(factory=dict)
    broken: int = 0


class _NoKey(Exception):
    def __init__(self, key: str, fault: str) -> None:
        self.key, self.fault = key, fault


class _Key(NamedTuple):
    """A key to encrypt with.

    Attributes:
        id: Its id.
        cipher: The cipher.
        new: The key of a member's own that is not kept yet.
        until: The monotonic time until which it is known to be kept.
    """

    id: str
    cipher: Cipher
    new: MemberKey | None = None
    until: float = math.inf

    @property
    def is_known(self) -> bool:
        return time.monotonic() < self.until


class _Dropped(Exception):
    """The document is encrypted with a key that is not kept any more."""

    def __init__(self, stored: Stored) -> None:
        self.stored = stored


class _Opened(NamedTuple):
    """A turn record; `content_known` says whether it was decrypted, or plain."""

    record: Record
    content_known: bool


_Known: TypeAlias = tuple[Head, _Key | None]
"""The own key of a member at a head; None if the document of this head has none."""


class Procedures:
    """The procedures of one store.

    Attributes:
        encryption: The settings.
    """

    encryption: Encryption

    def __init__(self, encryption: Encryption, secrets_of: SecretsOf) -> None:
        require_package()
        self.encryption = encryption
        self._secrets_of = secrets_of
        self._has_own = bool(encryption.member_keys) and encryption.scope != "plain"
        self._cipher = lru_cache(MEMBERS_KNOWN)(Cipher)
        self._own: dict[tuple[str, str], _Key] = {}
        self._known: dict[str, _Known] = {}

    async def answer(self, request: Request) -> object:
        """Return the answer to one of `CHANGED`."""
        match request:
            case Commit():
                return await self._commit(request)
            case Load(member_id):
                return await self._loaded(member_id, await request)
            case Quarantine(member_id):
                result = await request
                if isinstance(result, Conflict):
                    return Conflict(await self._opened(member_id, result.current))
                return await self._opened(member_id, result)
            case ReadRecords(member_id):
                return tuple([(await self._record(member_id, record)).record for record in await request])
            case ReadInherited(member_id):
                inherited = await request
                records = [(await self._record(member_id, record)).record for record in inherited.records]
                return Inherited(inherited.tokens, tuple(records))
            case ShowQuarantined(member_id):
                return tuple([await self._shown(member_id, part) for part in await request])
            case Wipe() | Erase():
                return await self._remove(request)
            case _:
                assert isinstance(request, Reencrypt)
                return await self._reencrypt(request)

    # A commit -----------------------------------------------------------------------------------------------------

    async def _commit(self, commit: Commit) -> CommitResult:
        if self.encryption.scope == "plain":
            return await self._answered(commit, await commit)
        member_id = commit.member_id
        # The content stands in the encrypted record, since it is a digest of what the member wrote.
        if commit.document is None and not commit.record:
            return await self._answered(commit, await attrs.evolve(commit, content=""))
        try:
            # A stranger gets no key of their own: it would outlive the rest, and each number could cause one.
            makes = commit.document is not None and not commit.stranger
            key = await self._key(member_id, commit.expected, makes=makes)
        except _Dropped as dropped:
            return Conflict(dropped.stored)
        if commit.document is None:
            untaken = self._encrypted_record(member_id, key, Record(commit.token, "", commit.content, commit.record))
            return await self._answered(commit, await attrs.evolve(commit, content="", record=untaken.body))
        entry = check_commit(commit)
        document = self._encrypted(member_id, key, commit.document, entry.version, stranger=commit.stranger)
        inherited = commit.inherited
        if inherited is not None:
            records = tuple(self._encrypted_record(member_id, key, record) for record in inherited.records)
            inherited = Inherited(inherited.tokens, records)
        record = commit.record
        if record or not commit.stranger:
            whole = Record(commit.token, commit.root, commit.content, record)
            record = self._encrypted_record(member_id, key, whole, stranger=commit.stranger).body
        sent = attrs.evolve(
            commit,
            content="",
            document=document,
            entry=_with_digest(entry, commit.document, document),
            record=record,
            inherited=inherited,
        )
        life = _life_of_key(member_id, commit.life)
        if key.new is not None:
            await KeepKey(member_id, key.new, life=life)
        elif life and commit.life > DOCUMENT_LIFE and key.id.startswith(OWN):
            await ReadKeys(member_id, life)
        result = await sent
        if not isinstance(result, Committed):
            return await self._answered(commit, result)
        if self._has_own:
            if key.new is not None:
                with suppress(VimbisoError):  # the turn is stored; only an erasure at this moment has dropped the key
                    await KeepKey(member_id, key.new, life=life)
            self._remember(member_id, result.head, key._replace(new=None) if key.id.startswith(OWN) else None)
        return result

    async def _answered(self, commit: Commit, result: CommitResult) -> CommitResult:
        """Return the answer to a commit, decrypted."""
        member_id = commit.member_id
        match result:
            case Committed():
                return result
            case Broken():
                return await self._broken(member_id, result)
            case Conflict(current):
                return Conflict(await self._opened(member_id, current))
            case Late(current):
                return Late(await self._opened(member_id, current))
            case Duplicate(records, current):
                return await self._judged(commit, records, current)
            case Mismatch(current):  # plain and encrypted records keep the content in different places
                try:
                    kept = await ReadRecords(member_id)
                except DamagedDocument:
                    kept = ()
                return await self._judged(commit, commit.made(kept), current)

    async def _judged(self, commit: Commit, records: tuple[Record, ...], current: Stored) -> Duplicate | Mismatch:
        """Judge by the contents of the records whether a token came with other content."""
        found = [await self._record(commit.member_id, record) for record in records]
        stored = await self._opened(commit.member_id, current)
        for record, content_known in found:
            if content_known and commit.contradicts(record):
                return Mismatch(stored)
        return Duplicate(tuple(record for record, _ in found), stored)

    # Encrypting ---------------------------------------------------------------------------------------------------

    def _encrypted(
        self, member_id: str, key: _Key, document: bytes, version: int, named: str = "", *, stranger: bool = False
    ) -> bytes:
        parts = self._parts(document, stranger=stranger)
        encrypted = _encrypted_document(member_id, key, parts, version, named)
        if len(encrypted) > MAX_DOCUMENT + FRAME_ROOM:  # many hidden values, each with its hole
            return _encrypted_document(member_id, key, all_hidden(document), version, named)
        return encrypted

    def _encrypted_record(self, member_id: str, key: _Key, record: Record, *, stranger: bool = False) -> Record:
        parts, content = self._parts(record.body, stranger=stranger), record.content.encode("utf-8", "surrogatepass")
        hidden = b"%d %b%b" % (len(content), content, parts.hidden)
        where = place("record", member_id, record.token, record.root)
        body = key.cipher.encrypt(where, hidden, key=key.id, readable=parts.readable)
        return Record(record.token, record.root, "", body)

    def _parts(self, data: bytes, *, stranger: bool) -> Parts:
        if stranger:  # encrypted data cannot be packed, and neither can what is cut
            return all_hidden(pack(data))
        return all_hidden(data) if self.encryption.scope == "whole" else cut(data, self._secrets_of)

    async def _key(self, member_id: str, head: Head, *, makes: bool = False) -> _Key:
        """Return the key with which what was decided at a head is encrypted.

        Without a document there is no key of the member's own; a record that is stored without one is encrypted with
        the key of the ring.

        Args:
            member_id: The member.
            head: The head.
            makes: Whether a key of the member's own is made where there is none.

        Raises:
            _Dropped: The document at the head is encrypted with a key that is not kept any more.
        """
        ring = self.encryption.ring()
        current = _Key(ring.current, self._cipher(ring.by_id[ring.current], member_id))
        if not self._has_own:
            return current
        known = self._known.get(member_id)
        if known is None or known[0] != head or (known[1] is not None and not known[1].is_known):
            stored = await Load(member_id)
            if isinstance(stored, Stored):
                opened = await self._opened(member_id, stored)
                if closed(opened.document or b"") is not None:
                    raise _Dropped(opened)
            known = self._known.get(member_id)
        if known is not None and known[1] is not None:
            return known[1]
        return self._new_key(ring, member_id) if makes else current

    def _new_key(self, ring: KeyRing, member_id: str) -> _Key:
        key, key_id = secrets.token_bytes(KEY_BYTES), OWN + secrets.token_hex(8)
        new = MemberKey(key_id, self._wrapped(ring, member_id, key_id, key))
        return _Key(key_id, Cipher(key, member_id), new, time.monotonic() + OWN_KNOWN)

    def _wrapped(self, ring: KeyRing, member_id: str, key_id: str, key: bytes) -> bytes:
        """Return a key of the member's own, encrypted. It is kept twice, since without it all else is lost."""
        cipher = self._cipher(ring.by_id[ring.current], member_id)
        return 2 * cipher.encrypt(place("key", member_id, key_id), key, key=ring.current)

    def _remember(self, member_id: str, head: Head, key: _Key | None) -> None:
        self._known.pop(member_id, None)
        self._known[member_id] = head, key
        _bound(self._known)
        if key is not None:
            self._keep_own(member_id, key)

    def _keep_own(self, member_id: str, key: _Key) -> None:
        self._own[member_id, key.id] = key
        _bound(self._own)

    # Decrypting ---------------------------------------------------------------------------------------------------

    async def _loaded(self, member_id: str, stored: Stored | Broken) -> Stored | Broken:
        if isinstance(stored, Broken):
            return await self._broken(member_id, stored)
        return await self._opened(member_id, stored)

    async def _broken(self, member_id: str, broken: Broken) -> Broken:
        data = broken.document
        encrypted = data is not None and data.startswith(FRAME)
        document = await self._document(member_id, data, broken.head.version)
        previous = await self._document(member_id, broken.previous)
        return attrs.evolve(broken, document=document, previous=previous, ciphertext=data if encrypted else None)

    async def _opened(self, member_id: str, stored: Stored) -> Stored:
        """Return what is stored of a member, decrypted, and remember the member's own key."""
        data = stored.document
        encrypted = data is not None and data.startswith(FRAME)
        document = await self._document(member_id, data, stored.head.version)
        if self._has_own:
            frame = frame_of(data) if data is not None else None
            own = self._own.get((member_id, frame.key)) if frame is not None else None
            self._remember(member_id, stored.head, own)
        previous = await self._document(member_id, stored.previous)
        return attrs.evolve(stored, document=document, previous=previous, ciphertext=data if encrypted else None)

    async def _document(self, member_id: str, data: bytes | None, version: int | None = None) -> bytes | None:
        """Return a document decrypted, or a note in its place; `version`: that of the head, which it must have."""
        if data is None or not data.startswith(FRAME):
            return data
        try:
            return unpack(joined(await self._parts_of(member_id, place("document", member_id), data, version)))
        except (Changed, ValueError):
            return BROKEN
        except _NoKey as error:
            return without_key(error.key, error.fault)

    async def _record(self, member_id: str, record: Record) -> _Opened:
        """Return a turn record decrypted, or with a note as its body."""
        if not record.body.startswith(FRAME):
            return _Opened(record, True)
        token, root = record.token, record.root
        try:
            parts = await self._parts_of(member_id, place("record", member_id, token, root), record.body)
            length, _, rest = parts.hidden.partition(b" ")
            content, hidden = rest[: int(length)], rest[int(length) :]
            body = unpack(joined(Parts(parts.readable, hidden)))
            return _Opened(Record(token, root, content.decode("utf-8", "surrogatepass"), body), True)
        except (Changed, ValueError):
            return _Opened(attrs.evolve(record, body=BROKEN), False)
        except _NoKey as error:
            return _Opened(attrs.evolve(record, body=without_key(error.key, error.fault)), False)

    async def _shown(self, member_id: str, part: bytes) -> bytes:
        """Return a part of quarantined data decrypted, or as it is."""
        if part.startswith(FRAME):
            document = await self._document(member_id, part)
            return part if document is None or document.startswith(b"encrypted:") else document
        words = part.split(b" ", 3)
        if len(words) == 4 and words[3].startswith(FRAME):
            try:
                kept = Record(unword(words[0]), unword(words[1]), unword(words[2]), words[3])
            except UnicodeError:
                return part
            record, content_known = await self._record(member_id, kept)
            return b" ".join((*words[:3], record.body)) if content_known else part
        return part

    async def _parts_of(self, member_id: str, where: bytes, data: bytes, number: int | None = None) -> Parts:
        """Return the parts of encrypted data.

        Raises:
            Changed: It was changed, or it is of another place or version.
            _NoKey: Its key is not at hand.
        """
        frame = frame_of(data)
        if frame is None or (number is not None and frame.number != number):
            raise Changed
        cipher = await self._own_cipher(member_id, frame) if frame.key.startswith(OWN) else self._of(member_id, frame)
        return Parts(*cipher.decrypt(where, frame))

    def _of(self, member_id: str, frame: Frame) -> Cipher:
        ring = self.encryption.ring()
        if frame.key not in ring.by_id:
            ring = self.encryption.latest_ring()
        key = ring.by_id.get(frame.key)
        if key is None:
            raise _NoKey(frame.key, ring.why_missing(frame.key))
        return self._cipher(key, member_id)

    async def _own_cipher(self, member_id: str, frame: Frame) -> Cipher:
        known = self._own.get((member_id, frame.key))
        if known is None or not known.is_known:
            self._own.pop((member_id, frame.key), None)
            until = time.monotonic() + OWN_KNOWN
            kept = await ReadKeys(member_id, _life_of_key(member_id))
            cipher = Cipher(self._found(member_id, frame.key, kept), member_id)
            known = _Key(frame.key, cipher, until=until)
            self._keep_own(member_id, known)
        return known.cipher

    def _found(self, member_id: str, key_id: str, kept: tuple[MemberKey, ...]) -> bytes:
        """Return a key of the member's own. It is bound to its id, by which it is found if its name is damaged.

        Raises:
            Changed: It is damaged.
            _NoKey: It is not kept, or the key with which it is encrypted is not at hand.
        """
        for key in sorted(kept, key=lambda key: key.id != key_id):
            with suppress(Changed):
                return self._unwrapped(member_id, key_id, key.body)
        if any(key.id == key_id for key in kept):
            raise Changed
        raise _NoKey(key_id, NOT_KEPT)

    def _unwrapped(self, member_id: str, key_id: str, body: bytes) -> bytes:
        for copy in _copies(body):
            frame = frame_of(copy)
            if frame is not None:
                with suppress(Changed):
                    return self._of(member_id, frame).decrypt(place("key", member_id, key_id), frame)[1]
        raise Changed

    # Removing -----------------------------------------------------------------------------------------------------

    async def _remove(self, request: Wipe | Erase) -> Committed | Erased | Conflict | Broken:
        """Wipe or erase a member, and drop the keys of the member's own that were kept before."""
        member_id = request.member_id
        looks = self._has_own or isinstance(request, Erase)
        kept = await ReadKeys(member_id) if looks else ()
        result = await request
        if isinstance(result, Conflict):
            return Conflict(await self._opened(member_id, result.current))
        if isinstance(result, Broken):
            return await self._broken(member_id, result)
        if kept and (isinstance(request, Wipe) or await self._is_gone(member_id)):
            await self._drop(member_id, kept, looks_again=isinstance(request, Erase))
        return result

    async def _is_gone(self, member_id: str) -> bool:
        stored = await Load(member_id)
        return isinstance(stored, Stored) and stored.document is None

    async def _drop(self, member_id: str, kept: tuple[MemberKey, ...], *, looks_again: bool) -> None:
        try:
            await DropKeys(member_id, tuple(key.id for key in kept))
        except StoreUnavailable as error:  # which says that nothing was done
            raise CommitUnknown(member_id, "DropKeys", error.fault) from error
        for key in kept:
            self._own.pop((member_id, key.id), None)
        self._known.pop(member_id, None)
        if looks_again and not await self._is_gone(member_id):  # a first commit was on its way
            for key in kept:
                await KeepKey(member_id, key, life=_life_of_key(member_id))

    # Encrypting again ---------------------------------------------------------------------------------------------

    async def _reencrypt(self, request: Reencrypt) -> Reencrypted:
        member_id, ring, found = request.member_id, self.encryption.latest_ring(), _Found()
        stored = await Load(member_id, previous=True)
        if isinstance(stored, Broken):
            return Reencrypted(member_id, broken=1)
        try:
            records = await ReadRecords(member_id)
        except DamagedDocument:
            records, found.broken = (), 1
        kept = await ReadKeys(member_id)
        if kept and stored.document is None and stored.previous is None and not records and not request.dry_run:
            await self._drop(member_id, kept, looks_again=True)
            kept = ()
        frames = map(frame_of, filter(None, (stored.document, stored.previous, *(record.body for record in records))))
        named = {frame.key for frame in frames if frame is not None}.difference(key.id for key in kept)
        rewraps = [again for key in kept if (again := self._rewrapped(ring, member_id, key, named, found)) is not None]
        await self._opened(member_id, stored)
        key = await self._key(member_id, stored.head, makes=stored.document is not None)
        document = await self._again(member_id, key, stored.document, found, stored.head.version)
        previous = await self._again(member_id, key, stored.previous, found)
        pairs: list[tuple[Record, Record]] = []
        for record in records:
            rewritten_record = await self._record_again(member_id, key, record, found)
            if rewritten_record is not None:
                pairs.append((record, rewritten_record))
        rewritten = 0
        if not request.dry_run and self.encryption.scope != "plain":
            for rewrap in rewraps:
                await KeepKey(member_id, rewrap, replaces=True)
            rewritten = len(rewraps)
            if document or previous or pairs:
                if key.new is not None:
                    await KeepKey(member_id, key.new, life=_life_of_key(member_id, LONGEST_LIFE))
                    self._remember(member_id, stored.head, key._replace(new=None))
                rewritten += await Rewrite(member_id, document, previous, tuple(pairs))
        return Reencrypted(member_id, dict(found.keys), rewritten, dict(found.closed), found.broken)

    async def _again(
        self, member_id: str, key: _Key, data: bytes | None, found: _Found, version: int | None = None
    ) -> tuple[bytes, bytes] | None:
        """Return the bytes of a document and those to be put in their place; None if they stay."""
        if data is None or not self._counted(found, key, data):
            return None
        document = await self._document(member_id, data, version)
        assert document is not None
        if document.startswith(b"encrypted:"):
            found.count_unread(data, document)
            return None
        frame = frame_of(data)
        number = frame.number if frame is not None else version if version is not None else 0
        return data, self._encrypted(member_id, key, document, number, named_digest(data))

    async def _record_again(self, member_id: str, key: _Key, record: Record, found: _Found) -> Record | None:
        if not self._counted(found, key, record.body):
            return None
        opened, content_known = await self._record(member_id, record)
        if not content_known:
            found.count_unread(record.body, opened.body)
            return None
        return self._encrypted_record(member_id, key, opened)

    def _counted(self, found: _Found, key: _Key, data: bytes) -> bool:
        """Count a part by its key; return whether it is to be encrypted."""
        frame = frame_of(data) if data.startswith(FRAME) else None
        if not data.startswith(FRAME):
            found.keys["plain"] += 1
            return True
        found.keys[frame.key if frame is not None else "damaged"] += 1
        return frame is None or frame.key != key.id or (bool(frame.readable) and self.encryption.scope == "whole")

    def _rewrapped(
        self, ring: KeyRing, member_id: str, key: MemberKey, named: Collection[str], found: _Found
    ) -> MemberKey | None:
        """Return a member's own key, encrypted with the current key of the ring; None if it is already.

        Args:
            ring: The ring.
            member_id: The member.
            key: The key. If its name is damaged, it keeps that name.
            named: The ids that documents and records name, and under which no key is kept.
            found: What was found of the member.
        """
        frames = [frame for frame in map(frame_of, _copies(key.body)) if frame is not None]
        if not frames:
            found.broken += 1
            return None
        found.keys[frames[0].key] += 1
        if frames[0].key == ring.current and len({*_copies(key.body)[:2]}) == 1:
            return None
        for key_id in (key.id, *named):
            try:
                unwrapped = self._unwrapped(member_id, key_id, key.body)
            except Changed:
                continue
            except _NoKey as error:
                found.closed[error.key] += 1
                return None
            return MemberKey(key.id, self._wrapped(ring, member_id, key_id, unwrapped))
        found.broken += 1
        return None


class _Found:
    """What was found of a member."""

    def __init__(self) -> None:
        self.keys: Counter[str] = Counter()
        self.closed: Counter[str] = Counter()
        self.broken = 0

    def count_unread(self, data: bytes, note: bytes) -> None:
        frame = frame_of(data)
        if note == BROKEN or frame is None:
            self.broken += 1
        else:
            self.closed[frame.key] += 1


CHANGED: Final = frozenset(
    {Commit, Load, Quarantine, ReadRecords, ReadInherited, ShowQuarantined, Wipe, Erase, Reencrypt}
)
"""The requests that a store below answers with encrypted data, or that carry data; and `Reencrypt`."""


def _copies(body: bytes) -> tuple[bytes, ...]:
    """Return the two copies of a key of a member's own, and the whole, as which an earlier release has kept it."""
    half = len(body) // 2
    return body[:half], body[half:], body


def _life_of_key(member_id: str, life: int = 0) -> int:
    """Return the seconds that a member's own key is kept, for a document that is kept for `life` seconds.

    That of a guest ends with what it encrypts, as each number could cause one; 0 stands for that of a member, which has
    no end. A process that uses a key has asked for it at most `OWN_KNOWN` seconds before, which prolongs its life.
    """
    if not is_guest_id(member_id):
        return 0
    life = max(life, DOCUMENT_LIFE)
    return life + life // 30 + GUEST_KEY_LIFE


def _bound(table: dict[Any, Any]) -> None:
    """Forget what was remembered first of a table that is full."""
    while len(table) > 2 * MEMBERS_KNOWN:
        table.pop(next(iter(table)), None)


def _encrypted_document(member_id: str, key: _Key, parts: Parts, version: int, named: str) -> bytes:
    where = place("document", member_id)
    return key.cipher.encrypt(where, parts.hidden, key=key.id, number=version, readable=parts.readable, named=named)


def _with_digest(entry: Entry, document: bytes, encrypted: bytes) -> Entry:
    """Return an audit entry that names the encrypted document: a digest of the plain one would tell a short secret."""
    before, name, after = entry.body.rpartition(b'"document":"')
    plain, named = digest(document).encode(), digest(encrypted).encode()
    if not name or not after.startswith(plain):
        return entry
    body = b"".join((before, name, named, after[len(plain) :]))
    return Entry(entry.version, digest(body), body)
