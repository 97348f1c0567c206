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
from vimbiso_fsm.messages.digests import Digests
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.store import requests
from vimbiso_fsm.store.index import RECORD
from vimbiso_fsm.store.layout import Keys, unword, word
from vimbiso_fsm.store.packing import pack, unpack
from vimbiso_fsm.store.requests import Effect
from vimbiso_fsm.store.retention import (
    AUDIT_KEPT,
    AUDIT_LIFE,
    EXPIRED_PER_APPEND,
    INCIDENTS_KEPT,
    LONGEST_LEASE,
    QUARANTINE_LIFE,
    RECORDS_KEPT,
    SHARDS,
    TOKEN_KEPT,
    TOKENS_AT_ONCE,
    UNTAKEN_KEPT,
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
    requests.Load
    | requests.Commit
    | requests.Wipe
    | requests.Erase
    | requests.SetWakeUp
    | requests.ReadAudit
    | requests.ReadRecords
    | requests.ReadInherited
)
"""Requests that fail on a member's key of a wrong type. `Quarantine` handles such keys.

A due set of a wrong type, which is no member's, is put aside by the store, and the request is made.
"""
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


class SenselessReply(Exception):
    """A reply that its request cannot have: that of another request, a truncated one, or one with a spoilt value.

    The connection may be out of step, so none of its replies can be used, and it is not known whether the request was
    performed.
    """

    def __init__(self) -> None:
        super().__init__("a reply belonged to another request or made no sense, so all connections were dropped")


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogatepass")


def record_shards(keys: Keys) -> tuple[Words, ...]:
    """Return the commands that record the number of shards, unless it is recorded. Each answers the recorded number."""
    key = keys.one("shards")
    return ("GET", key), ("SET", key, SHARDS, "NX", "GET")  # a full server still answers the first


def _entry(channel: Channel, digests: Digests, keys: Keys) -> tuple[bytes, ...]:
    address = channel.address
    return keys.channel(address, digests.index_names(address))


def _entries(mode: bytes, channel: Channel, digests: Digests, keys: Keys, *more: bytes) -> Command:
    """Encode a request about the entry of a channel and, if it has an account, that of its address without one."""
    own = _entry(channel, digests, keys)
    other = _entry(channel.with_account(""), digests, keys) if channel.account else ()
    return _command((*own, *other), mode, len(own), *more)


def freeing(key: bytes, member_id: str) -> Command:
    """Encode the removal of one entry of the index, if it leads to the member."""
    return _command((key,), b"free", _raw(member_id))


def was_freed(command: Command, reply: object) -> bool:
    """Decode the reply to a `freeing`: whether the entry was removed.

    Raises:
        SenselessReply: The reply is none that a `freeing` can have.
    """
    match _tagged(command, reply):
        case [_, _, b"read", _, 0 | 1 as freed]:
            return bool(freed)
        case _:
            raise SenselessReply


def renewal(member_id: str, keys: Keys = DEFAULT_KEYS) -> Command:
    """Encode the renewal of the due set of a member's shard, if it has another type, which is put aside."""
    due = keys.of_shard("due", requests.shard_of(member_id))
    return _command((due, keys.set_aside(due, time.time_ns(), 0)), b"renew_due", QUARANTINE_LIFE)


def was_renewed(command: Command, reply: object) -> bool:
    """Decode the reply to a `renewal`: whether the due set had another type.

    Raises:
        SenselessReply: The reply is none that a `renewal` can have.
    """
    return was_freed(command, reply)


def index_record(found: str, record: str, keys: Keys = DEFAULT_KEYS) -> Command:
    """Encode the replacement of the record of the keys, if it is still `found`; the reply holds that after it.

    Args:
        found: The record to be replaced; "" for none.
        record: The new record.
        keys: The keys of the namespace.
    """
    return _command((keys.one("index"),), b"index", found, record)


def recorded(command: Command, reply: object) -> str:
    """Decode the reply to an `index_record`: the record that the store keeps.

    Raises:
        SenselessReply: The reply holds no record.
    """
    match _tagged(command, reply):
        case [_, _, b"read", _, bytes(found)] if RECORD.fullmatch(found.decode("ascii", "replace")):
            return found.decode("ascii")
        case _:
            raise SenselessReply


def shards_recorded(reply: object) -> bytes | None:
    """Return the number of shards in the reply to one of `record_shards`; None if none was recorded.

    Raises:
        SenselessReply: The reply is neither.
    """
    if reply is None or (isinstance(reply, bytes) and reply.isdigit()):
        return reply
    raise SenselessReply


def _read_quarantined(key: bytes) -> requests.Quarantined:
    *_, version, _, what = key.split(b":")
    return requests.Quarantined(int(version), what.decode(), key.decode())


# What is sent ------------------------------------------------------------------------------------------------


def encode(request: requests.Request, digests: Digests, shift: float = 0.0, keys: Keys = DEFAULT_KEYS) -> Command:
    """Encode a request as one command.

    Args:
        request: The request.
        digests: The digests, which name channels in the index.
        shift: Seconds by which the store's clock is moved; for tests.
        keys: The keys of the namespace.

    Raises:
        DocumentTooLarge: The document of a commit is over the limit.
        ValueError: A commit has a document and no audit entry of its version.
    """
    command = _encode(request, digests, keys)
    if not shift:
        return command
    words = list(command.words)
    place = 3 + int(words[2]) + 2
    words[place] = repr(float(words[place]) + shift)
    return command._replace(words=tuple(words))


def _encode(request: requests.Request, digests: Digests, keys: Keys) -> Command:
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
        case requests.Rewrite():
            return _command(keys.member(request.member_id), b"rewrite", *_encode_rewrite(request))
        case requests.ReadKeys(member_id):
            return _command((keys.of_member("keys", member_id),), b"keys")
        case requests.KeepKey(member_id, key, replaces):
            words = (_raw(key.id), key.body, b"1" if replaces else b"")
            return _command((keys.of_member("keys", member_id),), b"keep_key", *words)
        case requests.DropKeys(member_id, ids):
            return _command((keys.of_member("keys", member_id),), b"drop_keys", *map(_raw, ids))
        case requests.ReadAudit(member_id, last):
            return _command(keys.member(member_id), b"audit", *_latest(last, AUDIT_KEPT))
        case requests.ReadRecords(member_id):
            return _command(keys.member(member_id), b"records")
        case requests.ReadInherited(member_id, since):
            return _command(keys.member(member_id), b"inherit", _instant(since) or "-inf", TOKENS_AT_ONCE)
        case requests.UseTokens(member_id, tokens):
            used = (each for token, at in tokens for each in (word(token), _instant(at)))
            return _command(keys.member(member_id), b"use_tokens", TOKEN_KEPT, *used)
        case requests.FindOwner(channel):
            return _entries(b"look_up", channel, digests, keys)
        case requests.Link(channel, member_id, instead_of):
            owners = (_raw(member_id),) if instead_of is None else (_raw(member_id), _raw(instead_of))
            return _command(_entry(channel, digests, keys), b"link", *owners)
        case requests.Unlink(channel, member_id):
            return _entries(b"unlink", channel, digests, keys, _raw(member_id))
        case requests.SetWakeUp(member_id, head, wake_at):
            settled = (head.version, word(head.digest), _instant(wake_at), _raw(member_id))
            return _command(keys.member(member_id), b"settle", *settled)
        case requests.ReadDue(shard, until, limit):
            return _command((keys.of_shard("due", shard),), b"wake_ups", _instant(until), limit)
        case requests.Heartbeat(worker, seconds):
            present = (_raw(worker), _instant(seconds), _instant(LONGEST_LEASE))
            return _command((keys.one("workers"),), b"attend", *present)
        case requests.Lease(shard, worker, seconds):
            milliseconds = (round(seconds * 1000), round(LONGEST_LEASE * 1000))
            return _command((keys.of_shard("lease", shard),), b"lease", _raw(worker), *milliseconds)
        case requests.SetAside():
            return _encode_set_aside(request, digests, keys)
        case requests.RecordIncident(member_id, body):
            incidents = keys.incidents(member_id)
            return _command(
                (incidents, keys.incidents_aside(member_id)), b"report", body, INCIDENTS_KEPT, *_AGES, QUARANTINE_LIFE
            )
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
        _mode(commit),
        token,
        repr(commit.shift),
        expected.version,
        word(expected.digest),
        _instant(commit.not_after),
        TOKEN_KEPT,
    )
    if document is None:
        if commit.record:
            frame = _frame(commit.token, "", commit.content, commit.record)
            checked = (*checked, frame, RECORDS_KEPT, UNTAKEN_KEPT)
        return Command(checked, keys[0], token)
    entry = requests.check_commit(commit)
    digest = word(entry.digest)
    inherited = commit.inherited
    body, record = entry.body, _frame(commit.token, commit.root, commit.content, commit.record)
    if commit.stranger:
        document, body = pack(document), pack(body)
        record = _frame(commit.token, commit.root, commit.content, pack(commit.record)) if commit.record else b""
    words: Words = (
        *checked,
        entry.version,
        digest,
        document,
        record,
        body,
        _instant(commit.wake_at),
        _raw(commit.member_id),
        commit.life,
        *_BOUNDS,
        b"1" if commit.forgets else b"",
        b"1" if commit.stranger else b"",
        *(_encode_inherited(inherited) if inherited else (0,)),
    )
    return Command(words, keys[0], token)


def _mode(commit: requests.Commit) -> bytes:
    if commit.document is not None:
        return b"commit"
    return b"remember" if commit.record else b"verify"


def _encode_inherited(inherited: requests.Inherited) -> Iterator[bytes | str | int]:
    yield len(inherited.tokens)
    for token, used in inherited.tokens:
        yield from (word(token), _instant(used))
    for record in inherited.records:
        yield _frame(record.token, record.root, record.content, record.body)


def _encode_rewrite(rewrite: requests.Rewrite) -> Iterator[bytes]:
    yield from rewrite.document or (b"", b"")
    yield from rewrite.previous or (b"", b"")
    for pair in rewrite.records:
        for record in pair:
            yield _frame(record.token, record.root, record.content, record.body)


def _encode_set_aside(request: requests.SetAside, digests: Digests, keys: Keys) -> Command:
    shared = request.request
    words = _encode(shared, digests, keys).words
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
        SenselessReply: The reply is none that the request can have.
        DamagedDocument: A record or an entry has no frame.
        DamagedKey: An entry of a due set, a lease or the index cannot be one.
    """
    found = _tagged(command, reply)
    try:
        # Each case gives the answer that the class of its request promises; a type checker cannot follow that.
        return cast(_R, _decode_commit(request, found) if type(request) is requests.Commit else _decode(request, found))
    except ValueError as error:  # a word or a key that has no such form
        raise SenselessReply from error


def _decode(request: requests.Request, reply: list[Any]) -> object:
    """Decode the reply to a request other than a commit. Each case states the whole shape of the reply."""
    match request, reply[2:]:
        case requests.Load(_, False), [b"stored", *stored]:
            return _stored(stored)
        case requests.Load(), [b"stored", *stored, None | bytes() as previous]:
            return _stored(stored, previous and unpack(previous))
        case requests.Quarantine(), [b"stored", *stored]:
            return _stored(stored)
        case requests.Quarantine() | requests.Wipe() | requests.Erase(), [b"conflict", *stored]:
            return requests.Conflict(_stored(stored))
        case requests.Wipe(_, _, entry), [b"committed", at]:
            return requests.Committed(requests.Head(entry.version, entry.digest), float(at))
        case requests.Erase(), [b"erased", _, int(entries)] if type(entries) is int and entries >= 0:
            return requests.Erased(entries)
        case _, [b"read", _, *found]:
            return _read(request, found)
        case _:
            raise SenselessReply


def _read(request: requests.Request, found: list[Any]) -> object:
    """Decode what a request has read, the part of the reply after its instant."""
    match request, found:
        case requests.SetWakeUp() | requests.RecordIncident() | requests.SetAside(), []:
            return None
        case requests.KeepKey() | requests.DropKeys(), []:
            return None
        case requests.Rewrite(), [int(parts)] if type(parts) is int and parts >= 0:
            return parts
        case requests.Link(), [None | bytes() as owner]:
            return requests.Linked(_name(request, owner))
        case requests.FindOwner() | requests.Unlink(), [None | bytes() as owner, 0 | 1 as own] if type(own) is int:
            return requests.Linked(_name(request, owner), own == 1)
        case requests.Lease(), [None | bytes() as owner]:
            return requests.Leased(_name(request, owner))
        case requests.ReadOwner() | requests.Claim(), [None | bytes() as owner]:
            return owner
        case requests.UseTokens(), [0 | 1 as used] if type(used) is int:
            return used == 1
        case requests.ReadInherited(member_id), [list(frames), list(used)]:
            pairs = zip(_all_bytes(used[::2]), used[1::2], strict=True)
            tokens = tuple((unword(token), _score_of(score)) for token, score in pairs)
            return requests.Inherited(tokens, _unframed(member_id, _record, _all_bytes(frames)))
        case _, [list(items)]:
            return _listed(request, _all_bytes(items))
        case _:
            raise SenselessReply


def _listed(request: requests.Request, items: list[bytes]) -> object:
    """Decode a list that a request has read."""
    match request:
        case requests.ReadQuarantine():
            return tuple(map(_read_quarantined, items))
        case requests.ShowQuarantined():
            return tuple(map(unpack, items))
        case requests.ReadAudit(_, _, True):
            return tuple(map(_tolerated, items))
        case requests.ReadAudit(member_id):
            return _unframed(member_id, entry_of, items)
        case requests.ReadRecords(member_id):
            return _unframed(member_id, _record, items)
        case requests.ReadDue() | requests.Heartbeat():
            return _names(request, items)
        case requests.ReadIncidents():
            return tuple(map(_undated, items))
        case requests.ReadKeys():
            pairs = zip(items[::2], items[1::2], strict=True)
            return tuple(requests.MemberKey(_text(name), body) for name, body in sorted(pairs))
        case _:
            raise SenselessReply


_INSTANT: Final = re.compile(rb"\d{1,11}\.\d{6}")
"""An instant as the script writes it. It has at most 11 digits before the point, so it is an instant of `datetime`."""
_SCORE: Final = re.compile(rb"\d{1,11}(\.\d+)?(e[+-]?\d+)?")
"""An instant as the server writes it, as the score of a token."""


def _score_of(reply: Any) -> float:
    score = float(reply) if isinstance(reply, bytes) and _SCORE.fullmatch(reply) else -1
    if not 0 <= score < 1e11:
        raise SenselessReply
    return score


def _all_bytes(items: list[Any]) -> list[bytes]:
    if not all(isinstance(item, bytes) for item in items):
        raise SenselessReply
    return items


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
        if not name or (isinstance(request, requests.ReadDue) and requests.shard_of(name) != request.shard):
            damaged.append(entry)
        names.append(name)
    if damaged:
        raise DamagedKey(request, tuple(damaged))
    return tuple(names)


def _name(request: Shared, found: bytes | None) -> str | None:
    return None if found is None else _names(request, [found])[0]


def _tagged(command: Command, reply: Any) -> list[Any]:
    """Return a reply that begins as all replies to the command do: the key, the token, a word and an instant."""
    match reply:
        case [command.tag, command.token, bytes(), bytes(at), *_] if _INSTANT.fullmatch(at):
            return cast(list[Any], reply)
        case _:
            raise SenselessReply


def _decode_commit(commit: requests.Commit, reply: list[Any]) -> requests.CommitResult:
    match reply[2:]:
        case [b"committed", at]:
            entry = commit.entry if commit.document is not None else None
            head = requests.Head(entry.version, entry.digest) if entry else commit.expected
            return requests.Committed(head, float(at))
        case [b"conflict", *stored]:
            return requests.Conflict(_stored(stored))
        case [b"late", *stored]:
            return requests.Late(_stored(stored))
        case [b"duplicate", *stored, list(frames)]:
            records = _unframed(commit.member_id, _record, _all_bytes(frames))
            if any(record.token == commit.token and record.content != commit.content for record in records):
                return requests.Mismatch(_stored(stored))
            return requests.Duplicate(records, _stored(stored))
        case _:
            raise SenselessReply


def _stored(reply: list[Any], previous: bytes | None = None) -> requests.Stored:
    """Decode the stored data: the instant, the version, the digest and the document."""
    match reply:
        case [at, bytes(version), bytes(digest), None | bytes() as document] if version.isdigit():
            head = requests.Head(int(version), unword(digest))
            return requests.Stored(head, document and unpack(document), float(at), previous)
        case _:
            raise SenselessReply


def _unframed(member_id: str, kind: Callable[[bytes], _Framed], frames: list[bytes]) -> tuple[_Framed, ...]:
    try:
        return tuple(map(kind, frames))
    except ValueError as error:
        raise DamagedDocument(member_id, "a turn record or an audit entry has no valid frame") from error


def _record(frame: bytes) -> requests.Record:
    token, root, content, body = frame.split(b" ", 3)
    return requests.Record(unword(token), unword(root), unword(content), unpack(body))


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
    return requests.Entry(int(version), unword(digest), unpack(_undated(body)))


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
        SenselessReply: The reply is none that an inspection can have.
    """
    match _tagged(command, reply):
        case [_, _, b"broken", *head, bytes(words), None | bytes() as previous] if words.isascii():
            fault = words.decode()
        case _:
            raise SenselessReply
    try:
        found = _stored([*head, None])
    except ValueError as error:  # as in `decode`
        raise SenselessReply from error
    if not fault:
        raise StoreUnavailable(f"{place}: a key changed its type while it was looked at")
    if not isinstance(request, requests.Load | requests.Commit | requests.Wipe):
        raise DamagedDocument(member_id, fault)
    return requests.Broken(found.head, fault, found.at, previous and unpack(previous))
