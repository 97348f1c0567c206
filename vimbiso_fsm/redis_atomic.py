"""The store on Redis, Valkey or anything that speaks their protocol and runs their scripts.

Every request is one call of one script (`wire.py` says what is sent and what came back). `AtomicStateManager` and
`AsyncAtomicStateManager` only move bytes, repeat what may be repeated and name what failed.
"""

from __future__ import annotations

import asyncio
import random
import time
from types import TracebackType
from typing import Any, Final, Self, TypeAlias, cast

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

from vimbiso_fsm.errors import CommitUnknown, StoreUnavailable
from vimbiso_fsm.store import (
    SHARDS,
    Broken,
    Commit,
    Committed,
    Duplicate,
    Head,
    Link,
    Load,
    Request,
    Result,
    SetAside,
    Settle,
    Stored,
    Unlink,
)
from vimbiso_fsm.wire import (
    RECORD_SHARDS,
    SCRIPT,
    Decided,
    Inspected,
    MisplacedReply,
    Words,
    decode,
    encode,
    inspected,
    inspection,
)

__all__ = ["AsyncAtomicStateManager", "AtomicStateManager"]

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
        if isinstance(self._request, Inspected) and str(error).startswith("WRONGTYPE"):
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


def _with_source(words: Words) -> Words:
    return ("EVAL", SCRIPT, *words[2:])


def _packed(words: Words) -> bytes:
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
                question = inspection(wrong.member_id)
                reply = self._repeat(question.words, self._attempts(None))
                return inspected(request, wrong.member_id, question, reply, self._place)
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
        for words in RECORD_SHARDS:
            found = self._repeat(words, self._attempts(None))
            _check_shards(found, self._place)
            if found is not None:
                break
        self._checked = True

    def _repeat(self, words: Words, attempts: _Attempts) -> Any:
        while True:
            try:
                return self._call(words)
            except (RedisError, OSError, _NotSent) as error:
                wait = attempts.wait(error)
            time.sleep(wait)

    def _call(self, words: Words) -> Any:
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


_Waiting: TypeAlias = tuple[Words, "asyncio.Future[Any]"]


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
                question = inspection(wrong.member_id)
                reply = await self._repeat(question.words, self._attempts(None))
                return inspected(request, wrong.member_id, question, reply, self._place)
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
        for words in RECORD_SHARDS:
            found = await self._repeat(words, self._attempts(None))
            _check_shards(found, self._place)
            if found is not None:
                break
        self._checked = True

    async def _repeat(self, words: Words, attempts: _Attempts) -> Any:
        while True:
            try:
                return await self._call(words)
            except (RedisError, OSError, _NotSent) as error:
                wait = attempts.wait(error)
            await asyncio.sleep(wait)

    async def _call(self, words: Words) -> Any:
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

    async def _converse(self, commands: list[Words]) -> list[Any]:
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


async def _exchange(connection: redis.asyncio.Connection, commands: list[Words]) -> list[Any]:
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
