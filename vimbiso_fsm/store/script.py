"""The wire format: each request as one call of `script.lua`, and the meaning of its reply.

`encode` and `decode` are pure; `redis_atomic.py` moves the bytes.

`layout.py` makes the keys.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator
from importlib.resources import files
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar, cast

from vimbiso_fsm.errors import DamagedDocument, DamagedKey, StoreUnavailable
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.store import requests
from vimbiso_fsm.store.index import Index
from vimbiso_fsm.store.layout import Keys, unword, word
from vimbiso_fsm.store.requests import Effect
from vimbiso_fsm.store.retention import (
    AUDIT_KEPT,
    AUDIT_LIFE,
    EXPIRED_PER_APPEND,
    INCIDENTS_KEPT,
    QUARANTINE_LIFE,
    RECORDS_KEPT,
    SHARDS,
    TOKEN_LIFE,
)

SCRIPT: Final = files("vimbiso_fsm.store").joinpath("script.lua").read_bytes()
SHA: Final = hashlib.sha1(SCRIPT, usedforsecurity=False).hexdigest()
_AGES: Final = (AUDIT_LIFE, EXPIRED_PER_APPEND)
_BOUNDS: Final = (RECORDS_KEPT, AUDIT_KEPT, *_AGES)
_DATED: Final = re.compile(rb"@\d+\.\d+ ")
"""The timestamp that the script writes before the body of an entry or an incident.

Bodies without one are older; they are JSON objects and start with a brace.
"""

Words: TypeAlias = tuple[bytes | str | int, ...]
"""The words of one command."""
Inspected: TypeAlias = (
    requests.Load | requests.Commit | requests.Wipe | requests.ReadAudit | requests.ReadRecords | requests.ReadInherited
)
"""Requests that fail on a member's key of a wrong type. `Quarantine` handles such keys."""
Shared: TypeAlias = (
    requests.ReadDue | requests.Heartbeat | requests.Lease | requests.FindOwner | requests.Link | requests.Unlink
)
"""Requests about keys that belong to no single member. `SetAside` handles such keys if they are damaged."""
_R = TypeVar("_R")
_Framed = TypeVar("_Framed", requests.Record, requests.Entry)

DEFAULT_KEYS: Final = Keys()
"""The keys of the default namespace."""


class Command(NamedTuple):
    """The words that are sent for a request, and the `tag` and `token` with which its reply must start."""

    words: Words
    tag: bytes
    token: bytes


class MisplacedReply(Exception):
    """A reply carries the tag of another request: the connection is out of step and its replies cannot be used."""


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogatepass")


def record_shards(keys: Keys) -> tuple[Words, ...]:
    """Return the commands that record the number of shards, unless it is recorded. Each answers the recorded number."""
    key = keys.one("shards")
    return ("GET", key), ("SET", key, SHARDS, "NX", "GET")  # a full server still answers the first


def _entry(channel: Channel, index: Index, keys: Keys) -> tuple[bytes, ...]:
    address = channel.address
    return keys.channel(address, index.names(address))


def _entries(mode: bytes, channel: Channel, index: Index, keys: Keys, *more: bytes) -> Command:
    """Encode a request about the entry of a channel and, if it has an account, that of its address without one."""
    own = _entry(channel, index, keys)
    other = _entry(channel.with_account(""), index, keys) if channel.account else ()
    return _command((*own, *other), mode, len(own), *more)


def freeing(key: bytes, member_id: str) -> Command:
    """Encode the removal of one entry of the index, if it leads to the member; the reply is that of an `Unlink`."""
    return _command((key,), b"unlink", 1, _raw(member_id))


def was_freed(command: Command, reply: object) -> bool:
    """Decode the reply to a `freeing`: whether the entry is gone."""
    return _tagged(command, reply)[4] is None


def index_record(found: str, record: str, keys: Keys = DEFAULT_KEYS) -> Command:
    """Encode the replacement of the record of the index's keys, if it is still `found`; the reply holds that after it.

    Args:
        found: The record to be replaced; "" for none.
        record: The new record.
        keys: The keys of the namespace.
    """
    return _command((keys.one("index"),), b"index", found, record)


def recorded(command: Command, reply: object) -> str:
    """Decode the reply to an `index_record`: the record that the store keeps."""
    found: bytes = _tagged(command, reply)[4]
    return found.decode("ascii")


def _read_quarantined(key: bytes) -> requests.Quarantined:
    *_, version, _, what = key.split(b":")
    return requests.Quarantined(int(version), what.decode(), key.decode())


# What is sent ------------------------------------------------------------------------------------------------


def encode(request: requests.Request, index: Index, shift: float = 0.0, keys: Keys = DEFAULT_KEYS) -> Command:
    """Encode a request as one command.

    Args:
        request: The request.
        index: The names of channels in the index.
        shift: Seconds by which the store's clock is moved; for tests.
        keys: The keys of the namespace.

    Raises:
        DocumentTooLarge: The document of a commit is over the limit.
        ValueError: A commit has a document and no audit entry of its version.
    """
    command = _encode(request, index, keys)
    if not shift:
        return command
    words = list(command.words)
    place = 3 + int(words[2]) + 2
    words[place] = repr(float(words[place]) + shift)
    return command._replace(words=tuple(words))


def _encode(request: requests.Request, index: Index, keys: Keys) -> Command:
    match request:
        case requests.Commit():
            return _encode_commit(request, keys.member(request.member_id))
        case requests.Load(member_id, previous):
            return _command(keys.member(member_id), b"load_previous" if previous else b"load")
        case requests.Quarantine(member_id, expected):
            aside = keys.quarantined(member_id, expected.version, time.time_ns())
            keys_to = (*keys.member(member_id), *aside, keys.of_member("asides", member_id))
            return _command(keys_to, b"set_aside", expected.version, word(expected.digest), QUARANTINE_LIFE)
        case requests.ReadQuarantine(member_id):
            return _command((keys.of_member("asides", member_id),), b"asides")
        case requests.ShowQuarantined(_, quarantined):
            return _command((quarantined.key.encode(),), b"aside")
        case requests.Wipe(member_id, expected, entry, quarantined):
            keys_to = (
                *keys.member(member_id),
                keys.of_member("asides", member_id),
                *(key.key.encode() for key in quarantined),
            )
            heads = (expected.version, word(expected.digest), entry.version, word(entry.digest))
            return _command(keys_to, b"wipe", *heads, entry.body, AUDIT_KEPT, *_AGES, _raw(member_id))
        case requests.Erase(member_id, first, last, body, everything):
            keys_to = (*keys.member(member_id), keys.incidents(member_id))
            return _command(keys_to, b"erase", first, last, body, b"1" if everything else b"", _raw(member_id))
        case requests.ReadAudit(member_id, last):
            return _command(keys.member(member_id), b"audit", *_latest(last, AUDIT_KEPT))
        case requests.ReadRecords(member_id):
            return _command(keys.member(member_id), b"records")
        case requests.ReadInherited(member_id):
            return _command(keys.member(member_id), b"inherit")
        case requests.FindOwner(channel):
            return _entries(b"look_up", channel, index, keys)
        case requests.Link(channel, member_id, instead_of):
            words = (_raw(member_id),) if instead_of is None else (_raw(member_id), _raw(instead_of))
            return _command(_entry(channel, index, keys), b"link", *words)
        case requests.Unlink(channel, member_id):
            return _entries(b"unlink", channel, index, keys, _raw(member_id))
        case requests.SetWakeUp(member_id, head, wake_at):
            settled = (head.version, word(head.digest), _instant(wake_at), _raw(member_id))
            return _command(keys.member(member_id), b"settle", *settled)
        case requests.ReadDue(shard, until, limit):
            return _command((keys.of_shard("due", shard),), b"wake_ups", _instant(until), limit)
        case requests.Heartbeat(worker, seconds):
            return _command((keys.one("workers"),), b"attend", _raw(worker), _instant(seconds))
        case requests.Lease(shard, worker, seconds):
            return _command((keys.of_shard("lease", shard),), b"lease", _raw(worker), round(seconds * 1000))
        case requests.SetAside():
            return _encode_set_aside(request, index, keys)
        case requests.RecordIncident(member_id, body):
            return _command((keys.incidents(member_id),), b"report", body, INCIDENTS_KEPT, *_AGES)
        case requests.ReadIncidents(member_id, last):
            return _command((keys.incidents(member_id),), b"incidents", *_latest(last, INCIDENTS_KEPT))
        case requests.ReadOwner():
            return _command((keys.one("owner"),), b"owner")
        case requests.Claim(owner, instead_of):
            return _command((keys.one("owner"),), b"claim", instead_of or b"", owner or b"")
        case _:
            raise TypeError(f"{type(request).__name__} is not a request of a store")


def _command(keys: tuple[bytes, ...], mode: bytes, *more: bytes | str | int) -> Command:
    return Command(("EVALSHA", SHA, len(keys), *keys, mode, mode, 0, *more), keys[0], mode)


def _encode_commit(commit: requests.Commit, keys: tuple[bytes, ...]) -> Command:
    expected = commit.expected
    document = commit.document
    token = word(commit.token)
    checked: Words = (
        "EVALSHA",
        SHA,
        len(keys),
        *keys,
        b"verify" if document is None else b"commit",
        token,
        repr(commit.shift),
        expected.version,
        word(expected.digest),
        _instant(commit.not_after),
        TOKEN_LIFE,
    )
    if document is None:
        return Command(checked, keys[0], token)
    entry = requests.check_commit(commit)
    digest = word(entry.digest)
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
        commit.life,
        *_BOUNDS,
        b"1" if commit.forgets else b"",
        *(_encode_inherited(inherited) if inherited else (0,)),
    )
    return Command(words, keys[0], token)


def _encode_inherited(inherited: requests.Inherited) -> Iterator[bytes | str | int]:
    yield len(inherited.tokens)
    for token, used in inherited.tokens:
        yield from (word(token), _instant(used))
    for record in inherited.records:
        yield _frame(record.token, record.root, record.content, record.body)


def _encode_set_aside(request: requests.SetAside, index: Index, keys: Keys) -> Command:
    shared = request.request
    words = _encode(shared, index, keys).words
    damaged = cast(tuple[bytes, ...], words[3 : 3 + cast(int, words[2])])
    kind = "zset" if isinstance(shared, requests.ReadDue | requests.Heartbeat) else "string"
    places: tuple[bytes, ...] = ()
    if not isinstance(shared, requests.Heartbeat | requests.Lease):
        nanoseconds = time.time_ns()
        places = tuple(keys.set_aside(key, nanoseconds, place) for place, key in enumerate(damaged))
    return _command((*damaged, *places), b"set_aside_shared", len(damaged), kind, QUARANTINE_LIFE, *request.entries)


def _latest(last: int | None, kept: int) -> tuple[int, int]:
    """Return the first and the last place of the latest `last` items of a list; (1, 0), no place, for 0."""
    return (1, 0) if last is not None and last <= 0 else (-min(last or kept, kept), -1)


def _instant(seconds: float | None) -> str:
    return "" if seconds is None else repr(float(seconds))


def _frame(token: str, root: str, content: str, body: bytes) -> bytes:
    return b"%b %b %b %b" % (word(token), word(root), word(content), body)


# What is received --------------------------------------------------------------------------------------------


def decode(request: Effect[_R], command: Command, reply: object) -> _R:
    """Decode the reply to the command that `encode(request)` made.

    Raises:
        MisplacedReply: The reply answers another request.
        DamagedDocument: A record or an entry has no frame.
        DamagedKey: An entry of a due set, a lease or the index cannot be one.
    """
    # Each case gives the answer that the class of its request promises; a type checker cannot follow that.
    return cast(_R, _decode(request, _tagged(command, reply)))


def _decode(request: requests.Request, reply: list[Any]) -> object:
    match request:
        case requests.Commit():
            return _decode_commit(request, reply)
        case requests.Load(_, previous):
            return _stored(reply, reply[7] if previous else None)
        case requests.Quarantine():
            return requests.Conflict(_stored(reply)) if reply[2] == b"conflict" else _stored(reply)
        case requests.ReadQuarantine():
            return tuple(map(_read_quarantined, reply[4]))
        case requests.ShowQuarantined():
            return tuple(reply[4])
        case requests.Wipe(_, _, entry):
            if reply[2] == b"conflict":
                return requests.Conflict(_stored(reply))
            return requests.Committed(requests.Head(entry.version, entry.digest), float(reply[3]))
        case requests.Erase():
            return requests.Conflict(_stored(reply)) if reply[2] == b"conflict" else requests.Erased(int(reply[4]))
        case requests.ReadAudit(_, _, tolerant=True):
            return tuple(map(_tolerated, reply[4]))
        case requests.ReadAudit(member_id):
            return _unframed(member_id, entry_of, reply[4])
        case requests.ReadRecords(member_id):
            return _unframed(member_id, _record, reply[4])
        case requests.ReadInherited(member_id):
            used = zip(reply[5][::2], reply[5][1::2], strict=True)
            tokens = tuple((unword(token), float(instant)) for token, instant in used)
            return requests.Inherited(tokens, _unframed(member_id, _record, reply[4]))
        case requests.FindOwner() | requests.Link() | requests.Unlink():
            own = len(reply) < 6 or reply[5] == 1
            return requests.Linked(_name(request, reply[4]), own)
        case requests.SetWakeUp() | requests.RecordIncident() | requests.SetAside():
            return None
        case requests.ReadOwner() | requests.Claim():
            return reply[4]
        case requests.ReadDue() | requests.Heartbeat():
            return _names(request, reply[4])
        case requests.Lease():
            return requests.Leased(_name(request, reply[4]))
        case _:
            assert isinstance(request, requests.ReadIncidents)  # `encode` refuses anything else
            return tuple(map(_undated, reply[4]))


def _names(request: Shared, found: list[bytes]) -> tuple[str, ...]:
    """Decode the names of members or workers. One that is no text, and a member of another shard, is damage."""
    names: list[str] = []
    damaged: list[bytes] = []
    for entry in found:
        try:
            name = _text(entry)
        except UnicodeDecodeError:
            damaged.append(entry)
            continue
        if isinstance(request, requests.ReadDue) and requests.shard_of(name) != request.shard:
            damaged.append(entry)
        names.append(name)
    if damaged:
        raise DamagedKey(request, tuple(damaged))
    return tuple(names)


def _name(request: Shared, found: bytes | None) -> str | None:
    return None if found is None else _names(request, [found])[0]


def _tagged(command: Command, reply: Any) -> list[Any]:
    if not isinstance(reply, list) or reply[:2] != [command.tag, command.token]:
        raise MisplacedReply
    return reply


def _decode_commit(commit: requests.Commit, reply: list[Any]) -> requests.CommitResult:
    match reply[2]:
        case b"committed":
            entry = commit.entry if commit.document is not None else None
            return requests.Committed(
                requests.Head(entry.version, entry.digest) if entry else commit.expected, float(reply[3])
            )
        case b"conflict":
            return requests.Conflict(_stored(reply))
        case b"late":
            return requests.Late(_stored(reply))
        case _:
            records = _unframed(commit.member_id, _record, reply[7])
            if any(record.token == commit.token and record.content != commit.content for record in records):
                return requests.Mismatch(_stored(reply))
            return requests.Duplicate(records, _stored(reply))


def _stored(reply: list[Any], previous: bytes | None = None) -> requests.Stored:
    _, _, _, at, version, digest, document, *_ = reply
    return requests.Stored(requests.Head(int(version), unword(digest)), document, float(at), previous)


def _unframed(member_id: str, kind: Callable[[bytes], _Framed], frames: list[bytes]) -> tuple[_Framed, ...]:
    try:
        return tuple(map(kind, frames))
    except ValueError as error:
        raise DamagedDocument(member_id, "a turn record or an audit entry has no valid frame") from error


def _record(frame: bytes) -> requests.Record:
    token, root, content, body = frame.split(b" ", 3)
    return requests.Record(unword(token), unword(root), unword(content), body)


def _tolerated(frame: bytes) -> requests.Entry:
    """Decode a frame of an audit entry; one that is none becomes an entry of version 0."""
    try:
        return entry_of(frame)
    except ValueError:
        return requests.Entry(0, "", frame)


def entry_of(frame: bytes) -> requests.Entry:
    """Read an audit entry from its frame, "<version> <digest> @<at> <body>".

    Raises:
        ValueError: The frame is damaged.
    """
    version, digest, body = frame.split(b" ", 2)
    return requests.Entry(int(version), unword(digest), _undated(body))


def _undated(body: bytes) -> bytes:
    dated = _DATED.match(body)
    return body[dated.end() :] if dated else body


def inspection(member_id: str, keys: Keys = DEFAULT_KEYS) -> Command:
    """Encode the question which of a member's keys has a wrong type."""
    return _command(keys.member(member_id), b"inspect")


def inspected(
    request: requests.Request, member_id: str, command: Command, reply: object, place: str
) -> requests.Broken:
    """Decode the reply to an inspection, made because `request` met a key of a wrong type.

    Raises:
        DamagedDocument: The request has no answer for a key of a wrong type.
        StoreUnavailable: The key has changed its type meanwhile.
        MisplacedReply: The reply answers another request.
    """
    _, _, _, at, version, digest, fault, previous = _tagged(command, reply)
    if not fault:
        raise StoreUnavailable(f"{place}: a key changed its type while it was looked at")
    if not isinstance(request, requests.Load | requests.Commit | requests.Wipe):
        raise DamagedDocument(member_id, fault.decode())
    return requests.Broken(requests.Head(int(version), unword(digest)), fault.decode(), float(at), previous)
