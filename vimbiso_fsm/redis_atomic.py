"""The store on Redis, Valkey or anything that speaks their protocol and runs their scripts.

Every request is one call of one script, `commit.lua`: `encode` says what is sent, `decode` what came back; both are
pure and shared by `AtomicStateManager` and `AsyncAtomicStateManager`, which only move bytes, repeat what may be
repeated and name what failed.

The keys. A shard is CRC-32 of the member's id modulo `SHARDS`; its number is the hash tag, so all keys of a member
live together. Ids are percent-encoded: no id can close a tag, and none can be another's key.

    vimbiso:shards                            the number of shards; written once            no end
    vimbiso:{17}:member:m-42:state            hash v, h, d: version, digest, document       DOCUMENT_LIFE
    vimbiso:{17}:member:m-42:prev             the same, of the document before              DOCUMENT_LIFE
    vimbiso:{17}:member:m-42:turns            list of records, RECORDS_KEPT                 TOKEN_LIFE
    vimbiso:{17}:member:m-42:audit            list of entries, AUDIT_KEPT                   AUDIT_LIFE
    vimbiso:{17}:member:m-42:tokens           sorted set, token by the instant of its use   TOKEN_LIFE
    vimbiso:{17}:member:m-42:aside:7:<ns>:…   a key set aside at version 7                  ASIDE_LIFE
    vimbiso:{17}:due                          sorted set, member id by earliest wake-up     no end
    vimbiso:{5}:channel:whatsapp:2637…        the member's id; shard of the channel         no end

Lives count from the latest commit, in the server's time.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from importlib.resources import files
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, TypeAlias, TypeVar, cast
from urllib.parse import quote, unquote
from zlib import crc32

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ConstantBackoff
from redis.cluster import RedisCluster
from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.retry import Retry

from vimbiso_fsm.errors import CommitUnknown, DamagedDocument, StoreUnavailable
from vimbiso_fsm.messages import Channel
from vimbiso_fsm.store import (
    AUDIT_KEPT,
    AUDIT_LIFE,
    DOCUMENT_LIFE,
    RECORDS_KEPT,
    SHARDS,
    TOKEN_LIFE,
    Broken,
    Commit,
    Committed,
    Conflict,
    Duplicate,
    Entry,
    Head,
    Inherited,
    Late,
    Link,
    Linked,
    Load,
    LookUp,
    Mismatch,
    ReadAudit,
    ReadInherited,
    ReadRecords,
    Record,
    Request,
    Result,
    SetAside,
    Settle,
    Stored,
    Unlink,
    WakeUps,
    check_commit,
    shard_of,
)

__all__ = [
    "AsyncAtomicStateManager",
    "AtomicStateManager",
    "Command",
    "Decided",
    "MisplacedReply",
    "decode",
    "encode",
]

ASIDE_LIFE: Final = 30 * 86_400
"""Seconds that what was set aside is kept for somebody to look at."""
ATTEMPTS: Final = 6
"""Times one request is sent at most; the waits between double from `FIRST_WAIT`, 0.62 s together."""
FIRST_WAIT: Final = 0.02
"""Seconds before the second attempt; each wait is drawn between half of it and all."""
TIMEOUT: Final = 2.0
"""Seconds to wait for a reply."""
PATIENCE: Final = 1.5
"""Timeouts after which no further attempt is begun: so two replies may hang, never three."""
MOST_GROUPED: Final = 64
"""Requests in one pipeline; more make further pipelines, on connections of their own."""

_SCRIPT: Final = files("vimbiso_fsm").joinpath("commit.lua").read_bytes()
_SHA: Final = hashlib.sha1(_SCRIPT, usedforsecurity=False).hexdigest()
_BOUNDS: Final = (DOCUMENT_LIFE, AUDIT_LIFE, RECORDS_KEPT, AUDIT_KEPT)

Decided: TypeAlias = Committed | Duplicate | Mismatch | Conflict | Late | Broken
"""What a commit comes to."""
_Words: TypeAlias = tuple[bytes | str | int, ...]
_Framed = TypeVar("_Framed", Record, Entry)
_Inspected: TypeAlias = Load | Commit | ReadAudit | ReadRecords | ReadInherited
"""Requests that may meet a member's key of a wrong type; `SetAside` gets round it."""

_RECORD_SHARDS: Final[tuple[_Words, ...]] = (
    ("GET", b"vimbiso:shards"),  # a full server still answers this
    ("SET", b"vimbiso:shards", SHARDS, "NX", "GET"),
)


class Command(NamedTuple):
    """What is sent for a request, and the first two words its reply must carry."""

    words: _Words
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


def _unword(word: bytes) -> str:
    return unquote(word.decode("ascii"), errors="surrogatepass")


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogatepass")


@lru_cache(maxsize=4096)
def _keys(member_id: str) -> tuple[bytes, ...]:
    """State, prev, turns, audit, tokens and due: KEYS of the script, in its order."""
    shard = shard_of(member_id)
    member = b"vimbiso:{%d}:member:%b" % (shard, _word(member_id))
    return *(b"%b:%b" % (member, name) for name in (b"state", b"prev", b"turns", b"audit", b"tokens")), _due(shard)


def _due(shard: int) -> bytes:
    return b"vimbiso:{%d}:due" % shard


def _index(channel: Channel) -> bytes:
    words = b"%b:%b" % (_word(channel.type), _word(channel.identifier))
    return b"vimbiso:{%d}:channel:%b" % (crc32(words) % SHARDS, words)


def _aside(keys: tuple[bytes, ...], version: int) -> Iterator[bytes]:
    member = keys[0].removesuffix(b":state")
    nanoseconds = time.time_ns()
    for key in keys:
        yield b"%b:aside:%d:%d:%b" % (member, version, nanoseconds, key.rpartition(b":")[2])


# What is sent ------------------------------------------------------------------------------------------------


def encode(request: Request) -> Command:
    """The one command that performs `request`.

    Raises: DocumentTooLarge; ValueError for a commit that stores a document without its audit entry.
    """
    match request:
        case Commit():
            return _encode_commit(request)
        case Load(member_id, previous):
            return _command(_keys(member_id), b"load_previous" if previous else b"load")
        case SetAside(member_id, expected):
            keys = _keys(member_id)
            keys_to = (*keys, *_aside(keys, expected.version))
            return _command(keys_to, b"set_aside", expected.version, _word(expected.digest), ASIDE_LIFE)
        case ReadAudit(member_id, last):
            first, final = (1, 0) if last is not None and last <= 0 else (-(last or AUDIT_KEPT), -1)
            return _command(_keys(member_id), b"audit", first, final)
        case ReadRecords(member_id):
            return _command(_keys(member_id), b"records")
        case ReadInherited(member_id):
            return _command(_keys(member_id), b"inherit")
        case LookUp(channel):
            return _command((_index(channel),), b"look_up")
        case Link(channel, member_id):
            return _command((_index(channel),), b"link", _raw(member_id))
        case Unlink(channel, member_id):
            return _command((_index(channel),), b"unlink", _raw(member_id))
        case Settle(member_id, at):
            return _command((_due(shard_of(member_id)),), b"settle", _raw(member_id), _instant(at))
        case WakeUps(shard, until, most):
            return _command((_due(shard),), b"wake_ups", _instant(until), most)


def _command(keys: tuple[bytes, ...], mode: bytes, *more: bytes | str | int) -> Command:
    return Command(("EVALSHA", _SHA, len(keys), *keys, mode, mode, 0, *more), keys[0], mode)


def _encode_commit(commit: Commit) -> Command:
    keys = _keys(commit.member_id)
    expected = commit.expected
    document = commit.document
    token = _word(commit.token)
    checked: _Words = (
        "EVALSHA",
        _SHA,
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
    words: _Words = (
        *checked,
        entry.version,
        digest,
        document,
        _frame(commit.token, commit.root, commit.content, commit.record),
        b"%d %b %b" % (entry.version, digest, entry.body),
        _instant(commit.wake_at),
        _raw(commit.member_id),
        *_BOUNDS,
        *(_encode_inherited(inherited) if inherited else (0,)),
    )
    return Command(words, keys[0], token)


def _encode_inherited(inherited: Inherited) -> Iterator[bytes | str | int]:
    yield len(inherited.tokens)
    for token, used in inherited.tokens:
        yield from (_word(token), _instant(used))
    for record in inherited.records:
        yield _frame(record.token, record.root, record.content, record.body)


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
        case SetAside():
            return Conflict(_stored(reply)) if reply[2] == b"conflict" else _stored(reply)
        case ReadAudit(member_id):
            return _unframed(member_id, _entry, reply[4])
        case ReadRecords(member_id):
            return _unframed(member_id, _record, reply[4])
        case ReadInherited(member_id):
            used = zip(reply[5][::2], reply[5][1::2], strict=True)
            tokens = tuple((_unword(token), float(instant)) for token, instant in used)
            return Inherited(tokens, _unframed(member_id, _record, reply[4]))
        case LookUp() | Link() | Unlink():
            return Linked(None if reply[4] is None else _text(reply[4]))
        case Settle():
            return None
        case WakeUps():
            return tuple(map(_text, reply[4]))


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
    return Stored(Head(int(version), _unword(digest)), document, float(at), previous)


def _unframed(member_id: str, kind: Callable[[bytes], _Framed], frames: list[bytes]) -> tuple[_Framed, ...]:
    try:
        return tuple(map(kind, frames))
    except ValueError as error:
        raise DamagedDocument(member_id, "a turn record or an audit entry is not framed as ours") from error


def _record(frame: bytes) -> Record:
    token, root, content, body = frame.split(b" ", 3)
    return Record(_unword(token), _unword(root), _unword(content), body)


def _entry(frame: bytes) -> Entry:
    version, digest, body = frame.split(b" ", 2)
    return Entry(int(version), _unword(digest), body)


def _broken(request: Request, member_id: str, command: Command, reply: Any, place: str) -> Broken:
    """What the reply to an inspection says of a request that met a key of a wrong type."""
    _check_tag(command, reply)
    _, _, _, at, version, digest, fault = reply
    if not fault:
        raise StoreUnavailable(f"{place}: a key changed its type while it was looked at")
    if not isinstance(request, Load | Commit):
        raise DamagedDocument(member_id, fault.decode())
    return Broken(Head(int(version), _unword(digest)), fault.decode(), float(at))


# What failed -------------------------------------------------------------------------------------------------


class _NotSent(Exception):
    """There was no connection to send on; the cause says why."""


class _WrongType(Exception):
    """A key of the member is of a wrong type; the request has written nothing."""

    def __init__(self, member_id: str) -> None:
        self.member_id = member_id
        super().__init__(member_id)


_REFUSED_FOR_NOW: Final = (
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    NoScriptError,
    ReadOnlyError,
    TryAgainError,
)
"""The server did nothing and may soon do it: it loads, fails over, or forgot the script between two sentences."""


class _Attempts:
    """How often one command is sent: a bounded number of times, always the same bytes, so the same token."""

    def __init__(self, request: Request | None, place: str, timeout: float) -> None:
        self._request, self._place = request, place
        self._last = time.monotonic() + PATIENCE * timeout
        self._made = 0
        self._unknown = False

    def wait(self, error: Exception) -> float:
        """Seconds to wait before the next attempt after this one failed with `error`.

        Raises: _WrongType; CommitUnknown or StoreUnavailable when there is no next attempt.
        """
        if isinstance(self._request, _Inspected) and str(error).startswith("WRONGTYPE"):
            raise _WrongType(self._request.member_id) from error
        self._made += 1
        refused = isinstance(error, ResponseError | BusyLoadingError)
        self._unknown = self._unknown or not (refused or isinstance(error, _NotSent))
        hopeless = refused and not isinstance(error, _REFUSED_FOR_NOW)
        if hopeless or self._made == ATTEMPTS or time.monotonic() > self._last:
            raise self.over(_fault(error)) from error
        return FIRST_WAIT * 2.0 ** (self._made - 1) * random.uniform(0.5, 1.0)  # noqa: S311 – it only spreads retries

    def made_earlier(self, result: Result) -> Result:
        """`result`, unless it is the `Duplicate` of our own commit, whose first answer was lost: then it is made."""
        commit = self._request
        if self._unknown and isinstance(result, Duplicate) and isinstance(commit, Commit) and commit.entry is not None:
            head = Head(commit.entry.version, commit.entry.digest)
            if result.current.head == head:
                return Committed(head, result.current.at)
        return result

    def misplaced(self) -> Exception:
        """What to raise when a reply was not ours: whether the request was performed is not known."""
        self._unknown = True
        return self.over("a reply belonged to another request, all connections were dropped")

    def over(self, fault: str) -> Exception:
        """What to raise when nothing more is tried."""
        fault = f"{self._place}: {fault}"
        match self._request:
            case Commit(member_id, _, token) as commit if self._unknown and commit.document is not None:
                return CommitUnknown(member_id, token, fault)
            case SetAside() | Link() | Unlink() | Settle() as request if self._unknown:
                return CommitUnknown(request.member_id, type(request).__name__, fault)
            case _:
                return StoreUnavailable(fault)


def _fault(error: Exception) -> str:
    cause = error.__cause__ if isinstance(error, _NotSent) else error
    if isinstance(cause, OutOfMemoryError):
        return "it is out of memory (maxmemory) and refused the write"
    return str(cause) or type(cause).__name__


def _place(client: Any) -> str:
    """Where the server is, without user and password."""
    if isinstance(client, _CLUSTERS):
        return "the cluster"
    options = client.connection_pool.connection_kwargs
    if service := getattr(client.connection_pool, "service_name", None):
        return f"the master of {service}"
    if "path" in options:
        return f"unix://{options['path']}"
    return f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"


def _check_shards(found: bytes | None, place: str) -> None:
    if found is not None and found != b"%d" % SHARDS:
        raise StoreUnavailable(
            f"{place}: its members are spread over {found.decode()} shards, this release uses {SHARDS}; "
            "use the release that filled it, or another database"
        )


def _with_source(words: _Words) -> _Words:
    return ("EVAL", _SCRIPT, *words[2:])


def _packed(words: _Words) -> bytes:
    """The words as the protocol has them. redis-py's own packing costs several times this, above all awaited."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        raw = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(raw), raw))
    return b"".join(parts)


# The two managers --------------------------------------------------------------------------------------------

_CLUSTERS: Final = (RedisCluster, redis.asyncio.RedisCluster)
_POOL: Final[dict[str, Any]] = {
    "protocol": 2,  # no HELLO, no push messages: nothing but answers can stand on the connection
    "decode_responses": False,
    "timeout": 5.0,  # for a connection of the pool to become free
}


def _bad_url(url: str) -> StoreUnavailable:
    """Neither the URL nor what the parser says of it is quoted: a password may stand in either."""
    scheme, _, rest = url.partition("://")
    host = rest.rpartition("@")[2].partition("/")[0].partition(":")[0]
    return StoreUnavailable(
        f"the URL ({scheme if rest else 'no scheme'}, host {host!r}) is none of redis://host:port/db, "
        "rediss://host:port/db, unix:///path/to/socket?db=0"
    )


class AtomicStateManager:
    """Performs requests on one server, or a cluster; safe to share between threads.

    Raises, from `perform` and all that leads to it: DocumentTooLarge; StoreUnavailable when nothing was stored;
    CommitUnknown when a write was sent and its answer was lost, also on the repeats.
    """

    def __init__(self, client: redis.Redis | RedisCluster, *, timeout: float = TIMEOUT) -> None:
        """`client` stays the caller's to close; a cluster's must not decode responses. `timeout`: the client's own
        for a reply, in seconds; repeating is measured by it."""
        self._client = client
        self._timeout = timeout
        self._owned = False
        self._place = _place(client)
        self._checked = False

    @classmethod
    def from_url(
        cls, url: str, *, timeout: float = TIMEOUT, connect_timeout: float = 1.0, connections: int = 20
    ) -> Self:
        """`url`: redis://, rediss:// or unix://. `timeout` and `connect_timeout` in seconds. Connects when first
        used, with at most `connections` at a time; a call waits for a free one.

        Raises: StoreUnavailable for a URL that is none.
        """
        try:
            pool: Any = redis.BlockingConnectionPool.from_url(  # pyright: ignore[reportUnknownMemberType]
                url,
                **_POOL,
                retry=Retry(ConstantBackoff(0.05), 1),  # for connecting alone: the commands are repeated here
                socket_timeout=timeout,
                socket_connect_timeout=connect_timeout,
                max_connections=connections,
            )
        except ValueError:
            raise _bad_url(url) from None
        manager = cls(redis.Redis.from_pool(pool), timeout=timeout)
        manager._owned = True
        return manager

    def perform(self, request: Request) -> Result:
        """Do what `request` says; see the request's class for the result and what is raised."""
        command = encode(request)
        if not self._checked:
            self._check()
        attempts = self._attempts(request)
        try:
            try:
                return attempts.made_earlier(decode(request, command, self._repeat(command.words, attempts)))
            except _WrongType as wrong:
                inspection = _command(_keys(wrong.member_id), b"inspect")
                reply = self._repeat(inspection.words, self._attempts(None))
                return _broken(request, wrong.member_id, inspection, reply, self._place)
        except MisplacedReply as error:
            self._drop()
            raise attempts.misplaced() from error

    def load(self, member_id: str, *, previous: bool = False) -> Stored | Broken:
        """What is stored of a member; with `previous`, the document before it too."""
        return cast(Stored | Broken, self.perform(Load(member_id, previous)))

    def commit(self, commit: Commit) -> Decided:
        """Make the one atomic write of a turn."""
        return cast(Decided, self.perform(commit))

    def close(self) -> None:
        """Close the connections `from_url` made; may be called twice."""
        if self._owned:
            self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def _attempts(self, request: Request | None) -> _Attempts:
        return _Attempts(request, self._place, self._timeout)

    def _check(self) -> None:
        """Record the number of shards, or refuse a store that has another."""
        for words in _RECORD_SHARDS:
            found = self._repeat(words, self._attempts(None))
            _check_shards(found, self._place)
            if found is not None:
                break
        self._checked = True

    def _repeat(self, words: _Words, attempts: _Attempts) -> Any:
        while True:
            try:
                return self._call(words)
            except (RedisError, OSError, _NotSent) as error:
                wait = attempts.wait(error)
            time.sleep(wait)

    def _call(self, words: _Words) -> Any:
        """Send the words once. redis-py's `execute_command` is passed by: it repeats what it must not, hides
        whether anything was sent, and costs more than the rest of the call."""
        client: Any = self._client  # Any: redis-py leaves what stands below untyped
        if isinstance(self._client, RedisCluster):
            try:
                return client.execute_command(*words)
            except NoScriptError:
                return client.execute_command(*_with_source(words))
        pool = client.connection_pool
        try:
            connection = pool.get_connection()
        except (RedisError, OSError) as error:
            raise _NotSent from error
        try:
            connection.send_packed_command([_packed(words)])
            try:
                return connection.read_response(disable_decoding=True)
            except NoScriptError:
                connection.send_packed_command([_packed(_with_source(words))])
                return connection.read_response(disable_decoding=True)
        except BaseException as error:
            if not isinstance(error, ResponseError) or isinstance(error, ReadOnlyError):
                connection.disconnect()  # an answer may still come, or the master is elsewhere now
            raise
        finally:
            pool.release(connection)

    def _drop(self) -> None:
        client: Any = self._client
        if isinstance(self._client, RedisCluster):
            client.disconnect_connection_pools()
        else:
            client.connection_pool.disconnect()


_Waiting: TypeAlias = tuple[_Words, "asyncio.Future[Any]"]


class AsyncAtomicStateManager:
    """The same, awaited, on one event loop. Requests made at the same moment go out in one pipeline.

    Raises, from `perform` and all that leads to it: DocumentTooLarge; StoreUnavailable when nothing was stored;
    CommitUnknown when a write was sent and its answer was lost, also on the repeats. A request that is cancelled
    after it was sent may still be performed; those that share its pipeline are not touched.
    """

    def __init__(self, client: redis.asyncio.Redis | redis.asyncio.RedisCluster, *, timeout: float = TIMEOUT) -> None:
        """`client` stays the caller's to close; a cluster's must not decode responses. `timeout`: the client's own
        for a reply, in seconds; repeating is measured by it."""
        self._client = client
        self._timeout = timeout
        self._owned = False
        self._place = _place(client)
        self._checked = False
        self._waiting: list[_Waiting] = []
        self._sending: set[asyncio.Task[None]] = set()

    @classmethod
    def from_url(
        cls, url: str, *, timeout: float = TIMEOUT, connect_timeout: float = 1.0, connections: int = 20
    ) -> Self:
        """`url`: redis://, rediss:// or unix://. `timeout` and `connect_timeout` in seconds. Connects when first
        used, with at most `connections` at a time; a call waits for a free one.

        Raises: StoreUnavailable for a URL that is none.
        """
        try:
            pool: Any = redis.asyncio.BlockingConnectionPool.from_url(  # pyright: ignore[reportUnknownMemberType]
                url,
                **_POOL,
                retry=AsyncRetry(ConstantBackoff(0.05), 1),  # for connecting alone: the commands are repeated here
                socket_timeout=timeout,
                socket_connect_timeout=connect_timeout,
                max_connections=connections,
            )
        except ValueError:
            raise _bad_url(url) from None
        manager = cls(redis.asyncio.Redis.from_pool(pool), timeout=timeout)
        manager._owned = True
        return manager

    async def perform(self, request: Request) -> Result:
        """Do what `request` says; see the request's class for the result and what is raised."""
        command = encode(request)
        if not self._checked:
            await self._check()
        attempts = self._attempts(request)
        try:
            try:
                return attempts.made_earlier(decode(request, command, await self._repeat(command.words, attempts)))
            except _WrongType as wrong:
                inspection = _command(_keys(wrong.member_id), b"inspect")
                reply = await self._repeat(inspection.words, self._attempts(None))
                return _broken(request, wrong.member_id, inspection, reply, self._place)
        except MisplacedReply as error:
            await self._drop()
            raise attempts.misplaced() from error

    async def load(self, member_id: str, *, previous: bool = False) -> Stored | Broken:
        """What is stored of a member; with `previous`, the document before it too."""
        return cast(Stored | Broken, await self.perform(Load(member_id, previous)))

    async def commit(self, commit: Commit) -> Decided:
        """Make the one atomic write of a turn."""
        return cast(Decided, await self.perform(commit))

    async def close(self) -> None:
        """Let what is being sent end, then close the connections `from_url` made; may be called twice."""
        while self._sending:
            await asyncio.wait(self._sending)
        if self._owned:
            await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        await self.close()

    def _attempts(self, request: Request | None) -> _Attempts:
        return _Attempts(request, self._place, self._timeout)

    async def _check(self) -> None:
        """Record the number of shards, or refuse a store that has another."""
        for words in _RECORD_SHARDS:
            found = await self._repeat(words, self._attempts(None))
            _check_shards(found, self._place)
            if found is not None:
                break
        self._checked = True

    async def _repeat(self, words: _Words, attempts: _Attempts) -> Any:
        while True:
            try:
                return await self._call(words)
            except (RedisError, OSError, _NotSent) as error:
                wait = attempts.wait(error)
            await asyncio.sleep(wait)

    async def _call(self, words: _Words) -> Any:
        client = self._client
        if isinstance(client, redis.asyncio.RedisCluster):
            try:
                return await client.execute_command(*words)
            except NoScriptError:
                return await client.execute_command(*_with_source(words))
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._send_waiting)  # runs when all that is ready now has joined
        answer: asyncio.Future[Any] = loop.create_future()
        self._waiting.append((words, answer))
        return await answer

    def _send_waiting(self) -> None:
        waiting = [(words, answer) for words, answer in self._waiting if not answer.done()]
        self._waiting.clear()
        for first in range(0, len(waiting), MOST_GROUPED):
            task = asyncio.ensure_future(self._send(waiting[first : first + MOST_GROUPED]))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _send(self, group: list[_Waiting]) -> None:
        """One pipeline. It is a task of its own: no waiter's cancellation reaches the connection."""
        answers = [answer for _, answer in group]
        try:
            replies = await self._converse([words for words, _ in group])
        except BaseException:  # the loop is being shut down
            for answer in answers:
                answer.cancel()
            raise
        for answer, reply in zip(answers, replies, strict=True):
            if answer.done():
                continue
            if isinstance(reply, Exception):
                answer.set_exception(reply)
            else:
                answer.set_result(reply)

    async def _converse(self, commands: list[_Words]) -> list[Any]:
        """The replies in order; where there is none, the error that took its place."""
        client: Any = self._client  # Any: redis-py leaves the pool untyped
        pool = client.connection_pool
        try:
            connection = await pool.get_connection()
        except (RedisError, OSError) as error:
            failure = _NotSent()
            failure.__cause__ = error
            return [failure] * len(commands)
        whole = False
        try:
            replies = await _exchange(connection, commands)
            forgotten = [i for i, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
            if forgotten:
                again = [commands[i] for i in forgotten]
                again[0] = _with_source(again[0])  # the rest find it in place
                for i, reply in zip(forgotten, await _exchange(connection, again), strict=True):
                    replies[i] = reply
            whole = all(not isinstance(r, Exception) or isinstance(r, ResponseError) for r in replies)
            whole = whole and not any(isinstance(reply, ReadOnlyError) for reply in replies)
            return replies
        finally:
            if not whole:
                await connection.disconnect(nowait=True)  # answers may still come, or the master is elsewhere now
            await pool.release(connection)

    async def _drop(self) -> None:
        if isinstance(self._client, redis.asyncio.RedisCluster):
            await self._client.aclose()
        else:
            await self._client.connection_pool.disconnect()


async def _exchange(connection: redis.asyncio.Connection, commands: list[_Words]) -> list[Any]:
    """Send the commands together and read the replies; after a failure every reply still due is that failure."""
    replies: list[Any] = []
    try:
        await connection.send_packed_command(b"".join(map(_packed, commands)))
        for _ in commands:
            try:
                replies.append(await connection.read_response(disable_decoding=True))
            except ResponseError as error:
                replies.append(error)
    except (RedisError, OSError) as error:
        replies += [error] * (len(commands) - len(replies))
    return replies
