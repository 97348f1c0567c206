"""The wire format: each request as one call of the script, and the meaning of its reply.

The script is made of the parts in the folder `lua`, in the order of `_PARTS`. Each uses functions of those before it.

`encode` and `decode` are pure; `redis_atomic.py` moves the bytes.

`layout.py` makes the keys.
"""

from __future__ import annotations

import hashlib
import re
import time
from binascii import hexlify
from collections.abc import Callable, Iterator, Sequence
from importlib.resources import files
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar, cast

from vimbiso_fsm.errors import DamagedDocument, DamagedKey, StoreUnavailable
from vimbiso_fsm.messages.digests import Digests
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.store import requests, retention
from vimbiso_fsm.store.index import is_record
from vimbiso_fsm.store.layout import Keys, member_keys, unword, word, words_of
from vimbiso_fsm.store.packing import BEGINNINGS, all_packed, pack, unpack
from vimbiso_fsm.store.requests import Effect
from vimbiso_fsm.store.retention import AUDIT_KEPT, INCIDENTS_KEPT, SHARDS, TOKEN_KEPT, TOKENS_AT_ONCE

_CONSTANTS: Final = (
    "AUDIT_KEPT",
    "AUDIT_LIFE",
    "EXPIRED_AT_ONCE",
    "INCIDENTS_KEPT",
    "LONGEST_LEASE",
    "LONGEST_PACE",
    "NAME_LIFE",
    "PACE_GRACE",
    "PACE_WAIT",
    "QUARANTINE_LIFE",
    "RECORDS_KEPT",
    "SENT_KEPT",
    "MESSAGES_KEPT",
    "TOKENS_AT_ONCE",
    "TOKENS_IN_STATE",
    "TOKEN_KEPT",
    "TRIMMED_AT_ONCE",
    "UNTAKEN_KEPT",
    "WAY_LIFE",
)
"""The constants of `retention.py` that the script uses."""
_PARTS: Final = ("begin", "others", "state", "commit", "member", "shared", "damage")
_FOLDER: Final = files("vimbiso_fsm.store").joinpath("lua")


def with_numbers(text: str) -> str:
    """Return a text of the script with the numbers in the place of the names of constants.

    A local of the script for each of them would cost every call some instructions.
    """
    return _NAMES.sub(lambda name: f"{vars(retention)[name[0]]:.0f}", text)


_NAMES: Final = re.compile(r"\b(?:" + "|".join(_CONSTANTS) + r")\b")
SCRIPT: Final = with_numbers("\n".join(_FOLDER.joinpath(f"{part}.lua").read_text("utf-8") for part in _PARTS)).encode()
SHA: Final = hashlib.sha1(SCRIPT, usedforsecurity=False).hexdigest()
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
    | requests.Fold
    | requests.SetWakeUp
    | requests.MarkSent
    | requests.ReadAudit
    | requests.ReadOldest
    | requests.DropOldest
    | requests.ReadRecords
    | requests.ReadInherited
)
"""Requests that fail on a member's key of a wrong type. `Quarantine` handles such keys.

A due set of a wrong type, which is no member's, is put aside by the store, and the request is made.
"""
Shared: TypeAlias = (
    requests.ReadDue
    | requests.Heartbeat
    | requests.Lease
    | requests.FindOwner
    | requests.Link
    | requests.Unlink
    | requests.ReadStoreRecord
)
"""Requests about keys that belong to no single member. `SetAside` handles such keys if they are damaged."""
_R = TypeVar("_R")

DEFAULT_KEYS: Final = Keys()
"""The keys of the default namespace."""


class Command(NamedTuple):
    """The words that are sent for a request, and the `tag` and `token` with which its reply must start."""

    words: Words
    tag: bytes
    token: bytes


class Altered(Exception):
    """The stored document or its head is not what was written, so the request has no answer."""

    def __init__(self, member_id: str) -> None:
        self.member_id: Final = member_id
        super().__init__("a document is not what was written in a reply, and is when it is looked at")


class Unharmed(StoreUnavailable):
    """No key of a member is damaged, although a request has met one. It may have been repaired meanwhile."""


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


def _key_name(id: str) -> bytes:
    """Return the name of a key of a member's own; a damaged one too, so that it can be dropped."""
    return id.encode("utf-8", "surrogateescape")


def _key_id(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def record_shards(keys: Keys) -> tuple[Words, ...]:
    """Return the commands that record the number of shards, unless it is recorded. Each answers the recorded number."""
    key = keys.one("shards")
    return ("GET", key), ("SET", key, SHARDS, "NX", "GET")  # a full server still answers the first


def _entry(channel: Channel, digests: Digests, keys: Keys) -> tuple[bytes, ...]:
    address = channel.address
    return keys.channel(address, digests.index_names(address))


def _marks(channel: Channel, way: str, digests: Digests, keys: Keys) -> tuple[bytes, ...]:
    """Return the keys that mark a way as done at a channel; none without a way."""
    address = channel.address
    return keys.ways(address, digests.index_names(address), way) if way else ()


def _entries(
    mode: bytes, channel: Channel, digests: Digests, keys: Keys, *more: bytes | int, after: tuple[bytes, ...] = ()
) -> Command:
    """Encode a request about the entry of a channel and, if it has an account, that of its address without one."""
    own = _entry(channel, digests, keys)
    other = _entry(channel.with_account(""), digests, keys) if channel.account else ()
    return _command((*own, *other, *after), mode, len(own), *more)


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
    return _command((due, keys.set_aside(due, time.time_ns(), 0)), b"renew_due")


def was_renewed(command: Command, reply: object) -> bool:
    """Decode the reply to a `renewal`: whether the due set had another type.

    Raises:
        SenselessReply: The reply is none that a `renewal` can have.
    """
    return was_freed(command, reply)


def earlier_wake_up(request: requests.Commit | requests.SetWakeUp, words: Words, *, margin: float) -> Command:
    """Encode the wake-up of a request alone, which is set if it is earlier than the stored one.

    Args:
        request: The request.
        words: Its words, for the keys and the clock. The reply has the tag and the token of theirs.
        margin: Seconds from now before which the wake-up is not set.
    """
    place = 3 + cast(int, words[2])
    token, shift = cast(bytes, words[place + 1]), words[place + 2]
    settled: Words = (_instant(request.wake_at), _raw(request.member_id), _instant(margin))
    token = token.partition(b" ")[0]  # without its tokens of other keys
    return Command((*words[:place], b"wake", token, shift, *settled), cast(bytes, words[3]), token)


def instant_of(command: Command, reply: object) -> float:
    """Decode the instant of a reply that says no more than that its command was performed.

    Raises:
        SenselessReply: The reply is another one.
    """
    match _tagged(command, reply):
        case [_, _, b"read", at]:
            return float(at)
        case _:
            raise SenselessReply


def index_record(found: str, record: str, keys: Keys = DEFAULT_KEYS, shift: float = 0.0) -> Command:
    """Encode the replacement of the record of the keys, if it is still `found`; the reply holds that after it.

    Args:
        found: The record to be replaced; "" for none.
        record: The new record.
        keys: The keys of the namespace.
        shift: Seconds by which the store's clock is moved; for tests.
    """
    command = _command((keys.one("index"),), b"index", found, record)
    return _shifted(command, shift) if shift else command


def recorded(command: Command, reply: object) -> tuple[str, float]:
    """Decode the reply to an `index_record`: the record that the store keeps, and the instant on the store's clock.

    Raises:
        SenselessReply: The reply holds no record.
    """
    match _tagged(command, reply):
        case [_, _, b"read", at, bytes(found)] if is_record(found):
            return found.decode("ascii"), float(at)
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
    command = _encode_commit(request, keys) if type(request) is requests.Commit else _encode(request, digests, keys)
    return _shifted(command, shift) if shift else command


def _shifted(command: Command, shift: float) -> Command:
    words = list(command.words)
    place = 3 + int(words[2]) + 2
    words[place] = repr(float(words[place]) + shift)
    return command._replace(words=tuple(words))


def _encode(request: requests.Request, digests: Digests, keys: Keys) -> Command:
    """Encode a request other than a commit."""
    match request:
        case requests.Load(member_id, previous):
            return _command(keys.member(member_id), b"load_previous" if previous else b"load")
        case requests.Quarantine(member_id, expected):
            aside = keys.quarantined(member_id, expected.version, time.time_ns())
            keys_to = (*keys.member(member_id), *aside, keys.of_member("asides", member_id))
            return _command(keys_to, b"set_aside", expected.version, word(expected.digest))
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
            return _command(keys_to, b"wipe", *heads, entry.body, _raw(member_id))
        case requests.Erase(member_id, first, last, body, everything):
            keys_to = (*keys.member(member_id), keys.incidents(member_id))
            return _command(keys_to, b"erase", first, last, body, b"1" if everything else b"", _raw(member_id))
        case requests.Fold(member_id, first, last, body):
            keys_to = (*keys.member(member_id), keys.incidents(member_id))
            return _command(keys_to, b"erase", first, last, body, b"", _raw(member_id))
        case requests.Rewrite():
            return _command(keys.member(request.member_id), b"rewrite", *_encode_rewrite(request))
        case requests.ReadKeys(member_id, life):
            return _command((keys.of_member("keys", member_id),), b"keys", life)
        case requests.KeepKey(member_id, key, replaces, life):
            words = (_key_name(key.id), key.body, b"1" if replaces else b"", life)
            return _command((keys.of_member("keys", member_id),), b"keep_key", *words)
        case requests.DropKeys(member_id, ids):
            return _command((keys.of_member("keys", member_id),), b"drop_keys", *map(_key_name, ids))
        case requests.ReadAudit(member_id, last):
            return _command(keys.member(member_id), b"audit", *_latest(last, AUDIT_KEPT))
        case requests.ReadOldest(member_id, count):
            return _command(keys.member(member_id), b"audit", *((0, count - 1) if count > 0 else (1, 0)))
        case requests.DropOldest(member_id, count, left, life):
            named = (left.version, word(left.digest))
            return _command(keys.member(member_id), b"drop_oldest", count, *named, "" if life is None else life)
        case requests.ReadRecords(member_id):
            return _command(keys.member(member_id), b"records")
        case requests.ReadInherited(member_id, since):
            return _command(keys.member(member_id), b"inherit", _instant(since))
        case requests.UseTokens(member_id, tokens):
            used = (each for token, at in tokens for each in (word(token), _instant(at)))
            return _command(keys.member(member_id), b"use_tokens", *used)
        case requests.FindOwner(channel, guest):
            return _entries(b"look_up", channel, digests, keys, *(() if guest is None else (_raw(guest),)))
        case requests.Link(channel, member_id, instead_of, guest, way):
            own, marks = _entry(channel, digests, keys), _marks(channel, way, digests, keys)
            words = (len(marks), _raw(member_id), _raw(instead_of or ""), *((b"1",) if guest else ()))
            return _command((*own, *marks), b"link", *words)
        case requests.Unlink(channel, member_id, way):
            marks = _marks(channel, way, digests, keys)
            return _entries(b"unlink", channel, digests, keys, len(marks), _raw(member_id), after=marks)
        case requests.SetWakeUp(member_id, head, wake_at):
            settled = (head.version, word(head.digest), _instant(wake_at), _raw(member_id))
            return _command(keys.member(member_id), b"settle", *settled)
        case requests.MarkSent(member_id, head, ids, waiting, wake_at, messages):
            told = [b"%b=%b " % (word(message), word(reply)) for message, reply in messages]
            noted = (
                _each(ids),
                _each(waiting),
                _instant(wake_at),
                _raw(member_id),
                *((b"".join(told),) if told else ()),
            )
            return _command(keys.member(member_id), b"mark_sent", head.version, word(head.digest), *noted)
        case requests.ReadDue(shard, until, limit):
            return _command((keys.of_shard("due", shard),), b"wake_ups", _instant(until), limit)
        case requests.ReadDueShards(shards, until):
            return _command(tuple(keys.of_shard("due", shard) for shard in shards), b"any_due", _instant(until))
        case requests.Heartbeat(worker, seconds):
            return _command((keys.one("workers"),), b"attend", _raw(worker), _instant(seconds))
        case requests.Lease(shard, worker, seconds):
            return _command((keys.of_shard("lease", shard),), b"lease", _raw(worker), round(seconds * 1000))
        case requests.TakePace(channel_type, account, name, order, limit, every, burst, chat_every, pause):
            bounds = (_instant(order), limit, _instant(every), burst, _instant(chat_every), _instant(pause))
            return _command(keys.pace(channel_type, account), b"pace", word(name), *bounds)
        case requests.SetAside():
            return _encode_set_aside(request, digests, keys)
        case requests.RecordIncident(member_id, body):
            return _command((keys.incidents(member_id), keys.incidents_aside(member_id)), b"report", body)
        case requests.ReadIncidents(member_id, last):
            return _command((keys.incidents(member_id),), b"incidents", *_latest(last, INCIDENTS_KEPT))
        case requests.ReadOwner():
            return _command((keys.one("owner"),), b"owner")
        case requests.ReadStoreRecord(name):
            return _command((keys.one(name),), b"owner")
        case requests.Claim(owner, instead_of):
            return _command((keys.one("owner"),), b"claim", instead_of or b"", owner or b"")
        case _:
            raise TypeError(f"{type(request).__name__} is not a request of a store")


def _command(keys: tuple[bytes, ...], mode: bytes, *more: bytes | str | int) -> Command:
    return Command(("EVALSHA", SHA, len(keys), *keys, mode, mode, 0, *more), keys[0], mode)


def _each(ids: Sequence[str]) -> bytes:
    """Return ids as words, each with a space after it."""
    return b"".join(word(id) + b" " for id in ids)


def _encode_commit(commit: requests.Commit, keys: Keys) -> Command:
    expected, document, record = commit.expected, commit.document, commit.record
    not_after, wake_at = commit.not_after, commit.wake_at
    entry = None if document is None else requests.check_commit(commit)
    token, root, content, before, digest = words_of(
        commit.token, commit.root, commit.content, expected.digest, "" if entry is None else entry.digest
    )
    named = member_keys(keys.space, commit.member_id)
    tokens = b" ".join((token, *words_of(*commit.earlier))) if commit.earlier else token
    checked: Words = (
        "EVALSHA",
        SHA,
        len(named),
        *named,
        b"commit" if document is not None else b"remember" if record else b"verify",
        tokens,
        repr(commit.shift) if commit.shift else b"0",
        expected.version,
        before,
        "" if not_after is None else repr(float(not_after)),
    )
    if document is None or entry is None:
        return Command((*checked, _frame(token, b"", content, record)) if record else checked, named[0], token)
    inherited, body = commit.inherited, entry.body
    if commit.stranger:
        document, body, record = pack(document), pack(body), record and pack(record)
    whole: Words = (
        *checked,
        entry.version,
        digest,
        _check(b"%d" % entry.version, digest, document),
        document,
        _frame(token, root, content, record) if record or not commit.stranger else b"",
        body,
        "" if wake_at is None else repr(float(wake_at)),
        commit.member_id.encode("utf-8", "surrogatepass"),
        commit.life,
        b"s" if commit.stranger else b"f" if commit.forgets else b"",
        *(_encode_inherited(inherited) if inherited else ()),
    )
    return Command(whole, named[0], token)


def _check(*parts: bytes) -> bytes:
    """Return the check that is stored beside parts of a member's data, and covers all of them.

    Beside a document it covers the version, the digest of the head and the document; in the frame of a turn record it
    covers the words and the record. It is the beginning of a SHA-1, which the script can make too. It finds accidents:
    it misses one of 2**64. It proves nothing against a writer of the store, who could make it anew.
    """
    return hexlify(hashlib.sha1(b" ".join(parts), usedforsecurity=False).digest()[:8])


def _encode_inherited(inherited: requests.Inherited) -> Iterator[bytes | str | int]:
    yield len(inherited.tokens)
    for token, used in inherited.tokens:
        yield from (word(token), _instant(used))
    for record in inherited.records:
        words = words_of(record.token, record.root, record.content)
        yield _frame(words[0], words[1], words[2], record.body)


def _encode_rewrite(rewrite: requests.Rewrite) -> Iterator[bytes]:
    for part in (rewrite.document, rewrite.previous):
        found, changed = part or (b"", b"")
        yield from (found, changed, *(all_packed(found) if found else (b"", b"")))  # a stranger's is stored packed
    for old, new in rewrite.records:
        token, root, content = words_of(new.token, new.root, new.content)
        frame = _frame(token, root, content, new.body)
        token, root, content = words_of(old.token, old.root, old.content)
        for body in dict.fromkeys((old.body, *all_packed(old.body))):  # a stranger's is stored packed
            yield from (_frame(token, root, content, body), frame)
            if root == token:  # older releases stored the root in words
                yield from (_frame(token, root, content, body, same=root), frame)
        yield from (b" ".join((token, root, content, old.body)), frame)  # without a check


def _encode_set_aside(request: requests.SetAside, digests: Digests, keys: Keys) -> Command:
    shared = request.request
    words = _encode(shared, digests, keys).words
    damaged = cast(tuple[bytes, ...], words[3 : 3 + cast(int, words[2])])
    kind = "zset" if isinstance(shared, requests.ReadDue | requests.Heartbeat) else "string"
    places: tuple[bytes, ...] = ()
    if not isinstance(shared, requests.Heartbeat | requests.Lease):
        nanoseconds = time.time_ns()
        places = tuple(keys.set_aside(key, nanoseconds, place) for place, key in enumerate(damaged))
    return _command((*damaged, *places), b"set_aside_shared", len(damaged), kind, *request.entries)


def _latest(last: int | None, kept: int) -> tuple[int, int]:
    """Return the first and the last place of the latest `last` items of a list; (1, 0), no place, for 0."""
    return (1, 0) if last is not None and last <= 0 else (-min(last or kept, kept), -1)


def _instant(seconds: float | None) -> str:
    return "" if seconds is None else repr(float(seconds))


def _frame(token: bytes, root: bytes, content: bytes, body: bytes, *, same: bytes = b"=") -> bytes:
    """Return the frame of a turn record, "<token> <root> <content> =<check> <body>", from its words.

    `same`: what stands for a root that is the token.
    """
    root = same if root == token else root
    return b"%b %b %b =%b %b" % (token, root, content, _check(token, root, content, body), body)


# What is received --------------------------------------------------------------------------------------------


def decode(request: Effect[_R], command: Command, reply: object) -> _R:
    """Decode the reply to the command that `encode(request)` made.

    Raises:
        SenselessReply: The reply is none that the request can have.
        Altered: The document or its head is not what was written.
        DamagedDocument: An entry has no frame.
        DamagedKey: An entry of a due set, a lease or the index cannot be one.
    """
    # Each case gives the answer that the class of its request promises; a type checker cannot follow that.
    read: Callable[..., Any] = _decode_commit if type(request) is requests.Commit else _decode
    try:
        answer: _R = read(request, command, reply)
    except ValueError as error:  # a word or a key that has no such form
        raise SenselessReply from error
    return answer


def _decode(request: requests.Request, command: Command, reply: object) -> object:
    """Decode the reply to a request other than a commit. Each case states the whole shape of the reply."""
    match request, _tagged(command, reply)[2:]:
        case requests.Load(member_id, False), [b"stored", *stored]:
            return _stored(member_id, stored)
        case requests.Load(member_id), [b"stored", *stored, None | bytes() as previous]:
            return _stored(member_id, stored, previous and _previous(member_id, previous))
        case requests.Quarantine(member_id), [b"stored", *stored]:
            return _stored(member_id, stored)
        case (
            requests.Quarantine(member_id) | requests.Wipe(member_id) | requests.Erase(member_id),
            [b"conflict", *stored],
        ):
            return requests.Conflict(_stored(member_id, stored))
        case requests.Wipe(_, _, entry), [b"committed", at]:
            return requests.Committed(requests.Head(entry.version, entry.digest), float(at))
        case requests.Erase(), [b"erased", _, int(entries)] if type(entries) is int and entries >= 0:
            return requests.Erased(entries)
        case requests.Fold(), [b"erased", _, int(entries)] if type(entries) is int and entries >= 0:
            return entries
        case _, [b"read", at, *found]:
            return _read(request, found, float(at))
        case _:
            raise SenselessReply


def _read(request: requests.Request, found: list[Any], at: float) -> object:
    """Decode what a request has read, the part of the reply after its instant."""
    match request, found:
        case requests.SetWakeUp() | requests.MarkSent() | requests.RecordIncident() | requests.SetAside(), []:
            return None
        case requests.KeepKey() | requests.DropKeys(), []:
            return None
        case requests.Rewrite(), [int(parts)] if type(parts) is int and parts >= 0:
            return parts
        case requests.Link(), [None | bytes() as owner]:
            return requests.Linked(_name(request, owner), at=at)
        case requests.FindOwner() | requests.Unlink(), [None | bytes() as owner, 0 | 1 as own] if type(own) is int:
            return requests.Linked(_name(request, owner), own == 1, at)
        case requests.Lease(), [None | bytes() as owner]:
            return requests.Leased(_name(request, owner))
        case requests.TakePace(), [bytes(wait)] if _INSTANT.fullmatch(wait):
            return float(wait)
        case requests.ReadOwner() | requests.ReadStoreRecord() | requests.Claim(), [None | bytes() as owner]:
            return owner
        case requests.UseTokens() | requests.DropOldest(), [0 | 1 as done] if type(done) is int:
            return done == 1
        case requests.ReadInherited(), [list(frames), list(used), bytes(latest)]:
            return requests.Inherited(_tokens(request, used, latest, at), _records(_all_bytes(frames)))
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
        case requests.ReadAudit(_, _, True) | requests.ReadOldest():
            return tuple(map(_tolerated, items))
        case requests.ReadAudit(member_id):
            return _entries_of(member_id, items)
        case requests.ReadRecords():
            return _records(items)
        case requests.ReadDue() | requests.Heartbeat():
            return _names(request, items)
        case requests.ReadDueShards(shards):
            return tuple(_at_place(shards, place) for place in items)
        case requests.ReadIncidents():
            return tuple(map(_undated, items))
        case requests.ReadKeys():
            pairs = zip(items[::2], items[1::2], strict=True)
            return tuple(requests.MemberKey(_key_id(name), body) for name, body in sorted(pairs))
        case _:
            raise SenselessReply


_INSTANT: Final = re.compile(rb"\d{1,11}\.\d{6}")
"""An instant as the script writes it. It has at most 11 digits before the point, so it is an instant of `datetime`."""
_SCORE: Final = re.compile(rb"-?(\d+(\.\d+)?(e[+-]?\d+)?|inf)")
"""A number as the server writes it, as the score of a token."""


def _token_of(encoded: bytes) -> str | None:
    """Return a token; None for a damaged one that is no token any more."""
    try:
        return unword(encoded)
    except UnicodeError:
        return None


_LATEST: Final = re.compile(rb"([\w%.~-]+) (\d{1,11}(?:\.\d+)?) ")
"""One of the latest tokens in the state, with its instant."""


def _tokens(
    request: requests.ReadInherited, used: list[Any], latest: bytes, at: float
) -> tuple[tuple[str, float], ...]:
    """Return a portion of the tokens of a set and of the latest ones, the earliest first."""
    pairs = zip(map(_token_of, _all_bytes(used[::2])), used[1::2], strict=True)
    tokens = {token: _score_of(score, at) for token, score in pairs if token is not None}
    first = max(request.since or 0.0, at - TOKEN_KEPT)
    for encoded, instant in _LATEST.findall(latest):
        token, number = _token_of(encoded), float(instant)
        if token is not None and (number > first or number == request.since):
            tokens[token] = number
    return tuple(sorted(tokens.items(), key=lambda item: (item[1], item[0])))[:TOKENS_AT_ONCE]


def _score_of(reply: Any, at: float) -> float:
    """Return the instant at which a token was used; `at`, so that it is kept, if the number is damaged."""
    if not isinstance(reply, bytes) or not _SCORE.fullmatch(reply):
        raise SenselessReply
    return score if 0 <= (score := float(reply)) < 1e11 else at


def _all_bytes(items: list[Any]) -> list[bytes]:
    if not all(isinstance(item, bytes) for item in items):
        raise SenselessReply
    return items


def _names(request: Shared, found: list[bytes]) -> tuple[str, ...]:
    """Decode the names of members or workers. One that is no text or empty, or of another shard, is damage."""
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


def _at_place(shards: Sequence[int], place: bytes) -> int:
    """Return the shard at a place that a reply names."""
    if not place.isdigit() or int(place) >= len(shards):
        raise SenselessReply
    return shards[int(place)]


def _name(request: Shared, found: bytes | None) -> str | None:
    return None if found is None else _names(request, [found])[0]


def _tagged(command: Command, reply: Any) -> Sequence[Any]:
    """Return a reply that begins as all replies to the command do: the key, the token, a word and an instant."""
    match reply:
        case [command.tag, command.token, bytes(), bytes(at), *_] if _INSTANT.fullmatch(at):
            found: Sequence[Any] = reply
            return found
        case _:
            raise SenselessReply


def _decode_commit(commit: requests.Commit, command: Command, reply: object) -> requests.CommitResult:
    match reply:
        case [command.tag, command.token, b"committed", bytes(at)] if _INSTANT.fullmatch(at):
            entry = commit.entry if commit.document is not None else None
            head = requests.Head(entry.version, entry.digest) if entry else commit.expected
            return requests.Committed(head, float(at))
        case _:
            found = _tagged(command, reply)[2:]
    match found:
        case [b"conflict", *stored]:
            return requests.Conflict(_stored(commit.member_id, stored))
        case [b"late", *stored]:
            return requests.Late(_stored(commit.member_id, stored))
        case [b"duplicate", *stored, list(frames)]:
            current, records = _stored(commit.member_id, stored), _records(_all_bytes(frames))
            if any(map(commit.contradicts, records)):
                return requests.Mismatch(current)
            return requests.Duplicate(records, current)
        case _:
            raise SenselessReply


def _stored(member_id: str, reply: list[Any], previous: bytes | None = None) -> requests.Stored:
    """Decode the stored data: the instant, the version, the digest and the document."""
    match reply:
        case [at, bytes(version), bytes(digest), [v, h, d, c, None | bytes() as sent, *messages]] if version.isdigit():
            document, told = _document(member_id, [v, h, d, c]), _messages(messages)
            try:
                noted = tuple(map(unword, sent.split())) if sent and document is not None else ()
                told = told if document is not None else ()
                return requests.Stored(_head(version, digest), document, float(at), previous, sent=noted, messages=told)
            except ValueError:  # a digest that is none, beside which an older release stored no check
                raise Altered(member_id) from None
        case _:
            raise SenselessReply


def _messages(reply: list[Any]) -> tuple[tuple[str, str], ...]:
    """Decode the messages as which replies were sent. What is damaged of them is left out."""
    match reply:
        case [bytes(told)]:
            parts = (each.partition(b"=") for each in told.split())
            return tuple((_legible(message), _legible(id)) for message, _, id in parts if message and id)
        case [] | [None]:
            return ()
        case _:
            raise SenselessReply


def _legible(encoded: bytes) -> str:
    try:
        return unword(encoded)
    except ValueError:
        return ""


def _head(version: bytes, digest: bytes) -> requests.Head:
    return requests.Head(int(version), unword(digest))


def _document(member_id: str, kept: Any) -> bytes | None:
    """Decode the fields beside which a document is stored; None if there are none.

    Raises:
        Altered: It is not what was written.
    """
    match kept:
        case [None, None, None, None]:
            return None
        case [bytes(version), bytes(digest), bytes(document), bytes(check)]:
            if check == _check(version, digest, document):
                return unpack(document)
        case [None | bytes(), None | bytes(), None | bytes(), None | bytes()]:
            pass
        case _:
            raise SenselessReply
    raise Altered(member_id)


def _previous(member_id: str, frame: bytes) -> bytes | None:
    """Decode the document before, from its frame "<version> <digest> <check> <document>".

    Raises:
        Altered: It is not what was written.
    """
    version, digest, check, document = (*frame.split(b" ", 3), b"", b"", b"")[:4]
    return _document(member_id, [version, digest, document, check])


def _entries_of(member_id: str, frames: list[bytes]) -> tuple[requests.Entry, ...]:
    try:
        return tuple(map(entry_of, frames))
    except ValueError as error:
        raise DamagedDocument(member_id, "an audit entry has no valid frame") from error


def _records(frames: list[bytes]) -> tuple[requests.Record, ...]:
    """Return the turn records that are what was written. Damage to one costs only itself."""
    return tuple(record for frame in frames if (record := _record(frame)) is not None)


def _record(frame: bytes) -> requests.Record | None:
    """Read a turn record from its frame; None if it is damaged.

    A record without a check is older. Its body is a JSON object, perhaps packed.
    """
    *words, body = frame.split(b" ", 3)
    if body[:1] == b"=":
        check, _, body = body[1:].partition(b" ")
        if check != _check(*words, body):
            return None
    elif body[:1] not in BEGINNINGS or not all(map(_WORD.fullmatch, words)):
        return None
    try:
        token, root, content = map(unword, words)
    except ValueError:
        return None
    return requests.Record(token, token if root == "=" else root, content, unpack(body))


_WORD: Final = re.compile(rb"[A-Za-z0-9%_.~-]*")
"""A word as `word` encodes it."""


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
    """Decode the reply to an inspection, made because `request` met a damaged key.

    Raises:
        DamagedDocument: The request has no answer for a damaged key.
        Unharmed: No key is damaged.
        SenselessReply: The reply is none that an inspection can have.
    """
    match _tagged(command, reply):
        case [
            *_,
            b"broken",
            bytes(at),
            bytes(version),
            bytes(digest),
            bytes(words),
            None | bytes() as previous,
            None | bytes() as document,
        ] if version.isdigit() and words.isascii():
            fault = words.decode()
        case _:
            raise SenselessReply
    try:
        head = _head(version, digest)
    except ValueError as error:  # as in `decode`
        raise SenselessReply from error
    if not fault:
        raise Unharmed(f"{place}: a key changed its type while it was looked at")
    if not isinstance(request, requests.Load | requests.Commit | requests.Wipe):
        raise DamagedDocument(member_id, fault)
    return requests.Broken(head, fault, float(at), previous and unpack(previous), document and unpack(document))
