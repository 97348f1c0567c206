"""What goes over the wire: each request of `store.py` as one call of `script.lua`, and what its reply says.

`encode` and `decode` are pure; `redis_atomic.py` moves the bytes.

The keys. A shard is CRC-32 of the member's id modulo `SHARDS`; its number is the hash tag, so all keys of a member
live together. Ids are percent-encoded: no id can close a tag, and none can be another's key.

    vimbiso:shards                            the number of shards; written once            no end
    vimbiso:{17}:member:m-42:state            hash v, h, d: version, digest, document       DOCUMENT_LIFE
    vimbiso:{17}:member:m-42:prev             the same, of the document before              DOCUMENT_LIFE
    vimbiso:{17}:member:m-42:turns            list of records, RECORDS_KEPT                 TOKEN_LIFE
    vimbiso:{17}:member:m-42:audit            list of entries, AUDIT_KEPT                   AUDIT_LIFE each
    vimbiso:{17}:member:m-42:tokens           sorted set, token by the instant of its use   TOKEN_LIFE
    vimbiso:{17}:member:m-42:aside:7:<ns>:…   a key set aside at version 7                  ASIDE_LIFE
    vimbiso:{17}:member:m-42:asides           sorted set, those keys by the end of each     ASIDE_LIFE
    vimbiso:{17}:member:m-42:incidents        list of incidents, INCIDENTS_KEPT             AUDIT_LIFE each
    vimbiso:{17}:due                          sorted set, member id by earliest wake-up     no end
    vimbiso:{17}:lease                        the worker that looks after the shard         as leased
    vimbiso:workers                           sorted set, worker by the end of its word     no end
    vimbiso:incidents                         list of the store's own incidents             AUDIT_LIFE each
    vimbiso:{5}:channel:whatsapp:2637…        the member's id; shard of the channel         no end

Lives count from the latest commit, in the server's time; "each": and, for what stands in the list, from the instant in
its frame (law 7).
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar
from urllib.parse import quote, unquote
from zlib import crc32

from vimbiso_fsm.errors import DamagedDocument, StoreUnavailable
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.store.requests import (
    ASIDE_LIFE,
    AUDIT_KEPT,
    AUDIT_LIFE,
    DOCUMENT_LIFE,
    DROPPED_AT_ONCE,
    INCIDENTS_KEPT,
    RECORDS_KEPT,
    SHARDS,
    TOKEN_LIFE,
    Broken,
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

SCRIPT: Final = files("vimbiso_fsm.store").joinpath("script.lua").read_bytes()
SHA: Final = hashlib.sha1(SCRIPT, usedforsecurity=False).hexdigest()
_AGES: Final = (AUDIT_LIFE, DROPPED_AT_ONCE)
_BOUNDS: Final = (DOCUMENT_LIFE, RECORDS_KEPT, AUDIT_KEPT, *_AGES)
_DATED: Final = re.compile(rb"@\d+\.\d+ ")
"""What the script writes before the body of an entry or an incident: when it was appended. Older ones have none, and
their bodies, JSON objects, begin otherwise."""

Decided: TypeAlias = Committed | Duplicate | Mismatch | Conflict | Late | Broken
"""What a commit comes to."""
Words: TypeAlias = tuple[bytes | str | int, ...]
"""A command, word by word."""
Inspected: TypeAlias = Load | Commit | Wipe | ReadAudit | ReadRecords | ReadInherited
"""Requests that may meet a member's key of a wrong type; `Quarantine` gets round it."""
_Framed = TypeVar("_Framed", Record, Entry)

RECORD_SHARDS: Final[tuple[Words, ...]] = (
    ("GET", b"vimbiso:shards"),  # a full server still answers this
    ("SET", b"vimbiso:shards", SHARDS, "NX", "GET"),
)


class Command(NamedTuple):
    """What is sent for a request, and the first two words its reply must carry."""

    words: Words
    tag: bytes
    token: bytes


class MisplacedReply(Exception):
    """A reply carries the tag of another request: the connection is out of step and nothing on it can be believed."""


# Keys --------------------------------------------------------------------------------------------------------


def _word(text: str) -> bytes:
    """`text` as one word that is safe in a key and in a frame; hashes and plain ids stay as they are."""
    if text.isalnum() and text.isascii():
        return text.encode()
    return quote(text, safe="", errors="surrogatepass").encode()


def unword(word: bytes) -> str:
    """The text that `_word` made a word of."""
    return unquote(word.decode("ascii"), errors="surrogatepass")


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogatepass")


@lru_cache(maxsize=4096)
def keys_of(member_id: str) -> tuple[bytes, ...]:
    """State, prev, turns, audit, tokens and due: KEYS of the script, in its order."""
    shard = shard_of(member_id)
    member = b"vimbiso:{%d}:member:%b" % (shard, _word(member_id))
    return *(b"%b:%b" % (member, name) for name in (b"state", b"prev", b"turns", b"audit", b"tokens")), _due(shard)


def _due(shard: int) -> bytes:
    return b"vimbiso:{%d}:due" % shard


def incidents_key(member_id: str | None) -> bytes:
    """Where a member's incidents are; None: the store's own."""
    if member_id is None:
        return b"vimbiso:incidents"
    return keys_of(member_id)[0].removesuffix(b"state") + b"incidents"


def _index(channel: Channel) -> bytes:
    words = b"%b:%b" % (_word(channel.type), _word(channel.identifier))
    return b"vimbiso:{%d}:channel:%b" % (crc32(words) % SHARDS, words)


def _asides_key(member_id: str) -> bytes:
    """Where the keys are named that were set aside of a member."""
    return keys_of(member_id)[0].removesuffix(b"state") + b"asides"


def _read_aside(key: bytes) -> Quarantined:
    *_, version, _, what = key.split(b":")
    return Quarantined(int(version), what.decode(), key.decode())


def _aside(keys: tuple[bytes, ...], version: int) -> Iterator[bytes]:
    member = keys[0].removesuffix(b":state")
    nanoseconds = time.time_ns()
    for key in keys:
        yield b"%b:aside:%d:%d:%b" % (member, version, nanoseconds, key.rpartition(b":")[2])


# What is sent ------------------------------------------------------------------------------------------------


def encode(request: Request, shift: float = 0.0) -> Command:
    """The one command that performs `request`. `shift`: seconds by which the store's clock is moved; for tests.

    Raises: DocumentTooLarge; ValueError for a commit that stores a document without its audit entry.
    """
    command = _encode(request)
    if not shift:
        return command
    words = list(command.words)
    place = 3 + int(words[2]) + 2
    words[place] = repr(float(words[place]) + shift)
    return command._replace(words=tuple(words))


def _encode(request: Request) -> Command:
    match request:
        case Commit():
            return _encode_commit(request)
        case Load(member_id, previous):
            return _command(keys_of(member_id), b"load_previous" if previous else b"load")
        case Quarantine(member_id, expected):
            keys = keys_of(member_id)
            keys_to = (*keys, *_aside(keys, expected.version), _asides_key(member_id))
            return _command(keys_to, b"set_aside", expected.version, _word(expected.digest), ASIDE_LIFE)
        case ReadQuarantine(member_id):
            return _command((_asides_key(member_id),), b"asides")
        case ShowQuarantined(_, aside):
            return _command((aside.key.encode(),), b"aside")
        case Wipe(member_id, expected, entry, aside):
            keys_to = (*keys_of(member_id), _asides_key(member_id), *(one.key.encode() for one in aside))
            heads = (expected.version, _word(expected.digest), entry.version, _word(entry.digest))
            return _command(keys_to, b"wipe", *heads, entry.body, AUDIT_KEPT, *_AGES, _raw(member_id))
        case ReadAudit(member_id, last):
            return _command(keys_of(member_id), b"audit", *_latest(last, AUDIT_KEPT))
        case ReadRecords(member_id):
            return _command(keys_of(member_id), b"records")
        case ReadInherited(member_id):
            return _command(keys_of(member_id), b"inherit")
        case FindOwner(channel):
            return _command((_index(channel),), b"look_up")
        case Link(channel, member_id):
            return _command((_index(channel),), b"link", _raw(member_id))
        case Unlink(channel, member_id):
            return _command((_index(channel),), b"unlink", _raw(member_id))
        case SetWakeUp(member_id, head, wake_at):
            settled = (head.version, _word(head.digest), _instant(wake_at), _raw(member_id))
            return _command(keys_of(member_id), b"settle", *settled)
        case ReadDue(shard, until, most):
            return _command((_due(shard),), b"wake_ups", _instant(until), most)
        case Heartbeat(worker, seconds):
            return _command((b"vimbiso:workers",), b"attend", _raw(worker), _instant(seconds))
        case Lease(shard, worker, seconds):
            return _command((b"vimbiso:{%d}:lease" % shard,), b"lease", _raw(worker), round(seconds * 1000))
        case RecordIncident(member_id, body):
            return _command((incidents_key(member_id),), b"report", body, INCIDENTS_KEPT, *_AGES)
        case ReadIncidents(member_id, last):
            return _command((incidents_key(member_id),), b"incidents", *_latest(last, INCIDENTS_KEPT))


def _command(keys: tuple[bytes, ...], mode: bytes, *more: bytes | str | int) -> Command:
    return Command(("EVALSHA", SHA, len(keys), *keys, mode, mode, 0, *more), keys[0], mode)


def _encode_commit(commit: Commit) -> Command:
    keys = keys_of(commit.member_id)
    expected = commit.expected
    document = commit.document
    token = _word(commit.token)
    checked: Words = (
        "EVALSHA",
        SHA,
        len(keys),
        *keys,
        b"verify" if document is None else b"commit",
        token,
        repr(commit.shift),
        expected.version,
        _word(expected.digest),
        _instant(commit.not_after),
        TOKEN_LIFE,
    )
    if document is None:
        return Command(checked, keys[0], token)
    entry = check_commit(commit)
    digest = _word(entry.digest)
    inherited = commit.inherited
    words: Words = (
        *checked,
        entry.version,
        digest,
        document,
        _frame(commit.token, commit.root, commit.content, commit.record),
        entry.body,
        _instant(commit.wake_at),
        _raw(commit.member_id),
        *_BOUNDS,
        b"1" if commit.forgets else b"",
        *(_encode_inherited(inherited) if inherited else (0,)),
    )
    return Command(words, keys[0], token)


def _encode_inherited(inherited: Inherited) -> Iterator[bytes | str | int]:
    yield len(inherited.tokens)
    for token, used in inherited.tokens:
        yield from (_word(token), _instant(used))
    for record in inherited.records:
        yield _frame(record.token, record.root, record.content, record.body)


def _latest(last: int | None, kept: int) -> tuple[int, int]:
    """The first and the last place of the latest `last` of a list; the places of nothing when it is 0."""
    return (1, 0) if last is not None and last <= 0 else (-(last or kept), -1)


def _instant(seconds: float | None) -> str:
    return "" if seconds is None else repr(float(seconds))


def _frame(token: str, root: str, content: str, body: bytes) -> bytes:
    return b"%b %b %b %b" % (_word(token), _word(root), _word(content), body)


# What came back ----------------------------------------------------------------------------------------------


def decode(request: Request, command: Command, reply: Any) -> Result:
    """What `reply` to `command`, which `encode(request)` made, says.

    Raises: MisplacedReply when it answers something else; DamagedDocument for a record or entry that is not framed.
    """
    _check_tag(command, reply)
    match request:
        case Commit():
            return _decode_commit(request, reply)
        case Load(_, previous):
            return _stored(reply, reply[7] if previous else None)
        case Quarantine():
            return Conflict(_stored(reply)) if reply[2] == b"conflict" else _stored(reply)
        case ReadQuarantine():
            return tuple(map(_read_aside, reply[4]))
        case ShowQuarantined():
            return tuple(reply[4])
        case Wipe(_, _, entry):
            if reply[2] == b"conflict":
                return Conflict(_stored(reply))
            return Committed(Head(entry.version, entry.digest), float(reply[3]))
        case ReadAudit(member_id):
            return _unframed(member_id, entry_of, reply[4])
        case ReadRecords(member_id):
            return _unframed(member_id, _record, reply[4])
        case ReadInherited(member_id):
            used = zip(reply[5][::2], reply[5][1::2], strict=True)
            tokens = tuple((unword(token), float(instant)) for token, instant in used)
            return Inherited(tokens, _unframed(member_id, _record, reply[4]))
        case FindOwner() | Link() | Unlink():
            return Linked(None if reply[4] is None else _text(reply[4]))
        case SetWakeUp() | RecordIncident():
            return None
        case ReadDue() | Heartbeat():
            return tuple(map(_text, reply[4]))
        case Lease():
            return Leased(None if reply[4] is None else _text(reply[4]))
        case ReadIncidents():
            return tuple(map(_undated, reply[4]))


def _check_tag(command: Command, reply: Any) -> None:
    if not isinstance(reply, list) or reply[:2] != [command.tag, command.token]:
        raise MisplacedReply


def _decode_commit(commit: Commit, reply: list[Any]) -> Decided:
    match reply[2]:
        case b"committed":
            entry = commit.entry if commit.document is not None else None
            return Committed(Head(entry.version, entry.digest) if entry else commit.expected, float(reply[3]))
        case b"conflict":
            return Conflict(_stored(reply))
        case b"late":
            return Late(_stored(reply))
        case _:
            records = _unframed(commit.member_id, _record, reply[7])
            if any(record.token == commit.token and record.content != commit.content for record in records):
                return Mismatch(_stored(reply))
            return Duplicate(records, _stored(reply))


def _stored(reply: list[Any], previous: bytes | None = None) -> Stored:
    _, _, _, at, version, digest, document, *_ = reply
    return Stored(Head(int(version), unword(digest)), document, float(at), previous)


def _unframed(member_id: str, kind: Callable[[bytes], _Framed], frames: list[bytes]) -> tuple[_Framed, ...]:
    try:
        return tuple(map(kind, frames))
    except ValueError as error:
        raise DamagedDocument(member_id, "a turn record or an audit entry is not framed as ours") from error


def _record(frame: bytes) -> Record:
    token, root, content, body = frame.split(b" ", 3)
    return Record(unword(token), unword(root), unword(content), body)


def entry_of(frame: bytes) -> Entry:
    """An audit entry in its frame, "<version> <digest> @<at> <body>".

    Raises: ValueError when it is none.
    """
    version, digest, body = frame.split(b" ", 2)
    return Entry(int(version), unword(digest), _undated(body))


def _undated(body: bytes) -> bytes:
    dated = _DATED.match(body)
    return body[dated.end() :] if dated else body


def inspection(member_id: str) -> Command:
    """Asks which of a member's keys is of a wrong type."""
    return _command(keys_of(member_id), b"inspect")


def inspected(request: Request, member_id: str, command: Command, reply: Any, place: str) -> Broken:
    """What the reply to an inspection says of a request that met a key of a wrong type."""
    _check_tag(command, reply)
    _, _, _, at, version, digest, fault, previous = reply
    if not fault:
        raise StoreUnavailable(f"{place}: a key changed its type while it was looked at")
    if not isinstance(request, Load | Commit | Wipe):
        raise DamagedDocument(member_id, fault.decode())
    return Broken(Head(int(version), unword(digest)), fault.decode(), float(at), previous)
