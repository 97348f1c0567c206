"""The store on Redis, Valkey or any server that speaks their protocol and runs their scripts.

The server may be a single one, the primary of a service that Sentinels watch, or a cluster. Every request but `Scan`
is one call of one script (`script.py` encodes and decodes it, `servers.py` finds the server). `AtomicStateManager` and
`AsyncAtomicStateManager` move the bytes, repeat what may be repeated and name what failed.

A manager's `durability` says how durable an answered commit is:

`local`
    The server has it. If the server is lost and a replica takes over, the latest commits may be lost too.
`replicated`
    One `WAIT` follows each write on the same connection; on another connection it would not cover these writes. A
    commit that no replica acknowledges in time is made all the same and answered with `Committed(confirmed=False)`. A
    replica acknowledges what it has in memory, and Sentinels or a cluster promote the replica that has most. A server
    that is cut off from its replicas is stopped by `min-replicas-to-write 1`.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from functools import partial
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, TypeVar, cast
from weakref import WeakKeyDictionary, WeakSet

import attrs
import redis
import redis.asyncio
from redis.exceptions import (
    AskError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from vimbiso_fsm.errors import CommitUnknown, StoreUnavailable
from vimbiso_fsm.store import requests
from vimbiso_fsm.store.connections import Connections, connections_of
from vimbiso_fsm.store.doctor import Durability
from vimbiso_fsm.store.pipeline import Answer, Sent, converse, converse_awaited, converse_once
from vimbiso_fsm.store.requests import Effect
from vimbiso_fsm.store.retention import SHARDS
from vimbiso_fsm.store.script import (
    MEMBER_KEYS,
    RECORD_SHARDS,
    Inspected,
    MisplacedReply,
    Words,
    decode,
    encode,
    inspected,
    inspection,
    members_of,
)
from vimbiso_fsm.store.servers import (
    CONNECTIONS,
    UNREACHABLE,
    AsyncCluster,
    AsyncServer,
    AsyncServers,
    Cluster,
    Server,
    Servers,
    async_servers_at,
    async_servers_of,
    servers_at,
    servers_of,
)

_R = TypeVar("_R")

ATTEMPTS: Final = 6
"""Times that one request is sent at most. The waits between them double from `FIRST_WAIT`; together they are 0.62 s."""
FIRST_WAIT: Final = 0.02
"""Seconds before the second attempt; each wait is drawn between half of it and all."""
REPLY_TIMEOUT: Final = 2.0
"""Seconds to wait for a reply."""
RETRY_PERIOD: Final = 1.4
"""Reply timeouts after which no further attempt starts.

The last attempt may take half a timeout to connect and one for the reply, so all attempts end within three.
"""
CONFIRM_TIMEOUT: Final = 1.0
"""Seconds to wait for a replica at durability "replicated"."""
REQUESTS_PER_PIPELINE: Final = 64
"""Requests in one pipeline at most. Further requests go out in further pipelines, each on its own connection."""


SCANNED_AT_ONCE: Final = 1000
"""Keys that a server looks at in one step of a scan."""
# What failed -------------------------------------------------------------------------------------------------


class _NotSent(Exception):
    """There was no connection to send on; the cause says why."""


class _WrongType(Exception):
    """A key of the member is of a wrong type; the request has written nothing."""

    def __init__(self, member_id: str) -> None:
        self.member_id = member_id
        super().__init__(member_id)


_REFUSED_FOR_NOW: Final = (
    AskError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    NoScriptError,
    ReadOnlyError,
    TryAgainError,
)
"""The server did nothing and it may soon be done, there or elsewhere: it loads, fails over, hands a slot to another
node, or forgot the script between two sentences."""


def _is_refused_for_now(error: BaseException) -> bool:
    return isinstance(error, _REFUSED_FOR_NOW) or str(error).startswith("NOREPLICAS")


def _is_elsewhere(error: Exception) -> bool:
    """Whether the error may mean that another server has the keys now."""
    return not isinstance(error, ResponseError) or isinstance(
        error, MovedError | ClusterDownError | MasterDownError | ReadOnlyError
    )


class _Attempts:
    """The attempts of one command: a bounded number, each with the same bytes and so the same token.

    `redirect`: where the next attempt goes, when a node of a cluster has named another. `began`: when the first attempt
    began, where it was made without this object.
    """

    def __init__(
        self, request: requests.Request | None, place: str, timeout: float, began: float | None = None
    ) -> None:
        self._request, self._place = request, place
        self._last = (time.monotonic() if began is None else began) + RETRY_PERIOD * timeout
        self._made = 0
        self._unknown = False
        self.redirect: AskError | None = None
        self.lasting = isinstance(request, _LASTING) and getattr(request, "document", b"") is not None

    def wait(self, error: Exception) -> float:
        """Seconds to wait before the next attempt after this one failed with `error`.

        Raises: _WrongType; CommitUnknown or StoreUnavailable when there is no next attempt.
        """
        if isinstance(self._request, Inspected) and str(error).startswith("WRONGTYPE"):
            raise _WrongType(self._request.member_id) from error
        self._made += 1
        self.redirect = error if isinstance(error, AskError) else None
        refused = isinstance(_answered(error), ResponseError | BusyLoadingError)
        self._unknown = self._unknown or not (refused or isinstance(error, _NotSent))
        hopeless = refused and not _is_refused_for_now(_answered(error))
        wait = FIRST_WAIT * 2.0 ** (self._made - 1) * random.uniform(0.5, 1.0)  # noqa: S311 – it only spreads retries
        if self.redirect is not None and self._made == 1:
            wait = 0.0  # it is said where to go; only nodes that do not agree yet are given time
        if hopeless or self._made == ATTEMPTS or time.monotonic() + wait > self._last:
            raise self.over(_fault(error)) from error
        return wait

    def result(self, result: _R, confirmed: bool) -> _R:
        """Correct the decoded result by what is known of the attempts.

        The `Duplicate` of our own commit, whose first answer was lost, means that the commit is made. `confirmed` holds
        for it too: a duplicate makes a write of its own, later than the first.
        """
        commit, found = self._request, cast(object, result)
        if self._unknown and isinstance(found, requests.Duplicate) and isinstance(commit, requests.Commit):
            head, entry = found.current.head, commit.entry
            if entry is not None and head == requests.Head(entry.version, entry.digest):
                found = requests.Committed(head, found.current.at)
        if isinstance(found, requests.Committed) and not confirmed:
            found = attrs.evolve(found, confirmed=False)
        return cast(_R, found)

    def misplaced(self) -> Exception:
        """Return the error for a misplaced reply: it is not known whether the request was performed."""
        self._unknown = True
        return self.over("a reply belonged to another request, all connections were dropped")

    def over(self, fault: str) -> Exception:
        """Return the error after the last attempt."""
        fault = f"{self._place}: {fault}"
        match self._request:
            case requests.Commit(member_id, _, token) as commit if self._unknown and commit.document is not None:
                return CommitUnknown(member_id, token, fault)
            case (
                requests.Quarantine()
                | requests.Link()
                | requests.Unlink()
                | requests.SetWakeUp()
                | requests.RecordIncident()
                | requests.Wipe() as request
            ) if self._unknown:
                return CommitUnknown(request.member_id or "", type(request).__name__, fault)
            case _:
                return StoreUnavailable(fault)


_LASTING: Final = (
    requests.Commit,
    requests.Quarantine,
    requests.Link,
    requests.Unlink,
    requests.SetWakeUp,
    requests.RecordIncident,
    requests.Wipe,
)
"""Requests whose writes are to outlive the server; a commit without a document writes nothing that matters."""


def _answered(error: Exception) -> BaseException:
    """What the server said: redis-py's connections of a Sentinel's service turn its refusal into a lost connection."""
    return error.__context__ if isinstance(error.__context__, ReadOnlyError) else error


def _is_ask(redirect: AskError | None) -> bool:
    """Whether the node must be told that the command knows of the redirect: it does not have the slot yet."""
    return redirect is not None and not isinstance(redirect, MovedError)


def _fault(error: Exception) -> str:
    cause = error.__cause__ if isinstance(error, _NotSent) else error
    if isinstance(cause, OutOfMemoryError):
        return "it is out of memory (maxmemory) and refused the write"
    if isinstance(cause, AskError):
        return f"its nodes do not agree who has slot {cause.slot_id}, {cause.host}:{cause.port} was named last"
    return str(cause) or type(cause).__name__


def _check_shards(found: bytes | None, place: str) -> None:
    if found is not None and found != b"%d" % SHARDS:
        raise StoreUnavailable(
            f"{place}: its members are spread over {found.decode()} shards, this release uses {SHARDS}; "
            "use the release that filled it, or another database"
        )


def _confirm(durability: Durability, confirm_timeout: float, timeout: float) -> Words | None:
    """The command that waits for a replica, if the durability needs one."""
    if durability not in {"local", "replicated"}:
        raise ValueError(f"durability is 'local' or 'replicated', not {durability!r}")
    if durability == "local":
        return None
    if not 0 < confirm_timeout < timeout:
        raise ValueError(
            f"confirm_timeout={confirm_timeout:g}: give seconds, more than 0 and less than the {timeout:g} after "
            "which a reply is given up"
        )
    return ("WAIT", 1, max(1, round(confirm_timeout * 1000)))  # 0 would wait for ever


def _first_key(words: Words) -> bytes:
    return cast(bytes, words[3] if words[0] == "EVALSHA" else words[1])


# The two managers --------------------------------------------------------------------------------------------


class AtomicStateManager:
    """A `Store` on one server, a service or a cluster. It may be shared between threads.

    Every method that performs a request raises `DocumentTooLarge`, `StoreUnavailable` (nothing was stored) or
    `CommitUnknown` (a write was sent, and its answer was lost on every attempt).
    """

    servers: Server | Cluster

    def __init__(
        self,
        client: redis.Redis | redis.RedisCluster | Servers,
        *,
        timeout: float = REPLY_TIMEOUT,
        durability: Durability = "local",
        confirm_timeout: float = CONFIRM_TIMEOUT,
        shift: float = 0.0,
    ) -> None:
        """Make a manager from a client of redis-py, which the caller closes.

        Args:
            client: The client. That of a cluster only keeps the slots; each node gets a pool here.
            timeout: Seconds that the client waits for a reply. They bound the repeats too.
            durability: How durable an answered commit is; see the module.
            confirm_timeout: Seconds to wait for a replica at durability "replicated".
            shift: Seconds by which the store's clock is moved; for tests.

        Raises:
            ValueError: `durability` is unknown, or `confirm_timeout` is not below `timeout`.
        """
        self._confirm = _confirm(durability, confirm_timeout, timeout)
        self.servers = client if isinstance(client, Server | Cluster) else servers_of(client)
        self._timeout = timeout
        self._shift = shift
        self._checked = False
        self._pools: WeakSet[Any] = WeakSet()  # those used so far; a cluster's come and go

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        timeout: float = REPLY_TIMEOUT,
        connect_timeout: float | None = None,
        connections: int = CONNECTIONS,
        durability: Durability = "local",
        confirm_timeout: float = CONFIRM_TIMEOUT,
        shift: float = 0.0,
    ) -> Self:
        """Make a manager that connects to a URL when it is first used.

        Args:
            url: redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://; see `servers.py`.
            timeout: Seconds to wait for a reply.
            connect_timeout: Seconds to wait for a connection; by default half of `timeout`.
            connections: Connections to one server at most. A request waits for a free one.
            durability: How durable an answered commit is; see the module.
            confirm_timeout: Seconds to wait for a replica at durability "replicated".
            shift: Seconds by which the store's clock is moved; for tests.

        Raises:
            StoreUnavailable: The URL is malformed.
            ValueError: `durability` is unknown, or `confirm_timeout` is not below `timeout`.
        """
        servers = servers_at(
            url,
            timeout=timeout,
            connect_timeout=timeout / 2 if connect_timeout is None else connect_timeout,
            connections=connections,
        )
        return cls(servers, timeout=timeout, durability=durability, confirm_timeout=confirm_timeout, shift=shift)

    def perform(self, request: Effect[_R], /) -> _R:
        """Perform a request; its class documents the answer and the errors."""
        if type(request) is requests.Scan:
            return cast(_R, self._scan())
        command = encode(request, self._shift)
        if not self._checked:
            self._check()
        began, attempts, seen = time.monotonic(), None, self.servers.seen
        try:
            try:
                if self._confirm is None:
                    reply = self._once(command.words)
                    if not isinstance(reply, Exception):
                        return decode(request, command, reply)
                    attempts = self._attempts(request, began)
                    self._failed(reply, attempts, seen)
                attempts = attempts or self._attempts(request, began)
                reply, confirmed = self._repeat(command.words, attempts)
                return attempts.result(decode(request, command, reply), confirmed)
            except _WrongType as wrong:
                question = inspection(wrong.member_id)
                reply, _ = self._repeat(question.words, self._attempts(None))
                return cast(_R, inspected(request, wrong.member_id, question, reply, self.servers.place))
        except MisplacedReply as error:
            self.servers.disconnect()
            raise (attempts or self._attempts(request, began)).misplaced() from error

    def load(self, member_id: str, *, previous: bool = False) -> requests.Stored | requests.Broken:
        """Read what is stored of a member; with `previous`, also the document before."""
        return self.perform(requests.Load(member_id, previous))

    def commit(self, commit: requests.Commit) -> requests.CommitResult:
        """Write one turn atomically."""
        return self.perform(commit)

    def close(self) -> None:
        """Close the connections that the manager made, not a client that it was given; may be called twice."""
        for pool in list(self._pools):
            connections_of(pool).close(pool)
        self.servers.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    @property
    def _client(self) -> redis.Redis | redis.RedisCluster:
        """redis-py's own, for looking behind the store's back. Raises: StoreUnavailable when a cluster is not there."""
        try:
            return self.servers.client
        except UNREACHABLE as error:
            raise StoreUnavailable(f"{self.servers.place}: {error}") from error

    def _scan(self) -> tuple[str, ...]:
        """Ask each server for its keys. The script cannot: its keys are known beforehand and on one server.

        Nothing is recorded on a server that has no store yet.
        """
        try:
            return members_of(self._client.scan_iter(match=MEMBER_KEYS, count=SCANNED_AT_ONCE))
        except UNREACHABLE as error:
            raise StoreUnavailable(f"{self.servers.place}: {error}") from error

    def _attempts(self, request: requests.Request | None, began: float | None = None) -> _Attempts:
        return _Attempts(request, self.servers.place, self._timeout, began)

    def _check(self) -> None:
        """Record the number of shards, or refuse a store that has another."""
        for words in RECORD_SHARDS:
            found, _ = self._repeat(words, self._attempts(None))
            _check_shards(found, self.servers.place)
            if found is not None:
                break
        self._checked = True

    def _once(self, words: Words) -> Any:
        """The first attempt: the reply, or the error in its place.

        It is that of `_call`, without what only a retry needs.
        """
        try:
            pool = self.servers.pool(_first_key(words), None)
            connections = self._connections(pool)
            connection = connections.take(pool)
        except UNREACHABLE as error:
            failure = _NotSent()
            failure.__cause__ = error
            return failure
        try:
            return converse_once(connection, words)
        finally:
            connections.give(pool, connection)

    def _connections(self, pool: Any) -> Connections:
        if pool not in self._pools:
            self._pools.add(pool)
        return connections_of(pool)

    def _failed(self, error: Exception, attempts: _Attempts, seen: int) -> None:
        """Wait after a failed attempt, or raise when there is no next one. `seen`: the servers' `seen` before it."""
        wait = attempts.wait(error)
        if _is_elsewhere(error):
            self.servers.refresh(seen)
        time.sleep(wait)

    def _repeat(self, words: Words, attempts: _Attempts) -> Answer:
        while True:
            seen = self.servers.seen
            try:
                return self._call(words, attempts)
            except (RedisError, OSError, _NotSent) as error:
                self._failed(error, attempts, seen)

    def _call(self, words: Words, attempts: _Attempts) -> Answer:
        """Send the words once. redis-py's `execute_command` is passed by.

        It repeats what it must not, hides whether anything was sent, takes any connection for WAIT, and costs more than
        the rest of the call.
        """
        try:
            pool = self.servers.pool(_first_key(words), attempts.redirect)
            connections = self._connections(pool)
            connection = connections.take(pool)
        except UNREACHABLE as error:
            raise _NotSent from error
        try:
            batch = [Sent(words, _is_ask(attempts.redirect), attempts.lasting)]
            [answer] = converse(connection, batch, self._confirm)
        finally:
            connections.give(pool, connection)
        if isinstance(answer.reply, Exception):
            raise answer.reply
        return answer


class _Waiting(NamedTuple):
    """A command that goes out with those of the same moment and the same pool, and who waits for its answer."""

    sent: Sent
    answer: asyncio.Future[Answer]


class _Line:
    """The commands that wait for a connection of one pool, and how many pipelines are out on its connections."""

    def __init__(self) -> None:
        self.waiting: deque[_Waiting] = deque()
        self.out = 0

    def group(self) -> list[_Waiting]:
        """Those that go out next, together; who has given up waiting is left out."""
        taken = [self.waiting.popleft() for _ in range(min(len(self.waiting), REQUESTS_PER_PIPELINE))]
        return [waiting for waiting in taken if not waiting.answer.done()]


class AsyncAtomicStateManager:
    """An `AsyncStore` on one server, a service or a cluster, for one event loop.

    Requests that are made at the same moment go out in one pipeline. While all connections are in use, requests wait
    as long as it takes; each connection that becomes free takes the next ones.

    Every method that performs a request raises `DocumentTooLarge`, `StoreUnavailable` (nothing was stored) or
    `CommitUnknown` (a write was sent, and its answer was lost on every attempt). A request that is cancelled after it
    was sent may still be performed; the requests that share its pipeline are not affected.
    """

    servers: AsyncServer | AsyncCluster

    def __init__(
        self,
        client: redis.asyncio.Redis | redis.asyncio.RedisCluster | AsyncServers,
        *,
        timeout: float = REPLY_TIMEOUT,
        durability: Durability = "local",
        confirm_timeout: float = CONFIRM_TIMEOUT,
        shift: float = 0.0,
    ) -> None:
        """Make a manager from a client of redis-py, which the caller closes.

        Args:
            client: The client. That of a cluster only keeps the slots; each node gets a pool here.
            timeout: Seconds that the client waits for a reply. They bound the repeats too.
            durability: How durable an answered commit is; see the module.
            confirm_timeout: Seconds to wait for a replica at durability "replicated".
            shift: Seconds by which the store's clock is moved; for tests.

        Raises:
            ValueError: `durability` is unknown, or `confirm_timeout` is not below `timeout`.
        """
        self._confirm = _confirm(durability, confirm_timeout, timeout)
        self.servers = client if isinstance(client, AsyncServer | AsyncCluster) else async_servers_of(client)
        self._timeout = timeout
        self._shift = shift
        self._checked = False
        self._lines: WeakKeyDictionary[Any, _Line] = WeakKeyDictionary()  # by pool; a cluster's come and go
        self._sending: set[asyncio.Task[None]] = set()

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        timeout: float = REPLY_TIMEOUT,
        connect_timeout: float | None = None,
        connections: int = CONNECTIONS,
        durability: Durability = "local",
        confirm_timeout: float = CONFIRM_TIMEOUT,
        shift: float = 0.0,
    ) -> Self:
        """Make a manager that connects to a URL when it is first used.

        Args:
            url: redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://; see `servers.py`.
            timeout: Seconds to wait for a reply.
            connect_timeout: Seconds to wait for a connection; by default half of `timeout`.
            connections: Connections to one server at most. A request waits for a free one.
            durability: How durable an answered commit is; see the module.
            confirm_timeout: Seconds to wait for a replica at durability "replicated".
            shift: Seconds by which the store's clock is moved; for tests.

        Raises:
            StoreUnavailable: The URL is malformed.
            ValueError: `durability` is unknown, or `confirm_timeout` is not below `timeout`.
        """
        servers = async_servers_at(
            url,
            timeout=timeout,
            connect_timeout=timeout / 2 if connect_timeout is None else connect_timeout,
            connections=connections,
        )
        return cls(servers, timeout=timeout, durability=durability, confirm_timeout=confirm_timeout, shift=shift)

    async def perform(self, request: Effect[_R], /) -> _R:
        """Perform a request; its class documents the answer and the errors."""
        if type(request) is requests.Scan:
            return cast(_R, await self._scan())
        command = encode(request, self._shift)
        if not self._checked:
            await self._check()
        began, attempts, seen = time.monotonic(), None, self.servers.seen
        try:
            try:
                if self._confirm is None:
                    try:
                        return decode(request, command, (await self._call(command.words)).reply)
                    except (RedisError, OSError, _NotSent) as error:
                        attempts = self._attempts(request, began)
                        await self._failed(error, attempts, seen)
                attempts = attempts or self._attempts(request, began)
                reply, confirmed = await self._repeat(command.words, attempts)
                return attempts.result(decode(request, command, reply), confirmed)
            except _WrongType as wrong:
                question = inspection(wrong.member_id)
                reply, _ = await self._repeat(question.words, self._attempts(None))
                return cast(_R, inspected(request, wrong.member_id, question, reply, self.servers.place))
        except MisplacedReply as error:
            await self.servers.disconnect()
            raise (attempts or self._attempts(request, began)).misplaced() from error

    async def load(self, member_id: str, *, previous: bool = False) -> requests.Stored | requests.Broken:
        """Read what is stored of a member; with `previous`, also the document before."""
        return await self.perform(requests.Load(member_id, previous))

    async def commit(self, commit: requests.Commit) -> requests.CommitResult:
        """Write one turn atomically."""
        return await self.perform(commit)

    async def close(self) -> None:
        """Wait for the requests that are being sent, then close as `AtomicStateManager.close` does."""
        while self._sending:
            await asyncio.wait(self._sending)
        await self.servers.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def _client(self) -> redis.asyncio.Redis | redis.asyncio.RedisCluster:
        return self.servers.client

    async def _scan(self) -> tuple[str, ...]:
        """Ask each server for its keys. The script cannot: its keys are known beforehand and on one server.

        Nothing is recorded on a server that has no store yet.
        """
        try:
            found = self._client.scan_iter(match=MEMBER_KEYS, count=SCANNED_AT_ONCE)
            return members_of([key async for key in found])
        except UNREACHABLE as error:
            raise StoreUnavailable(f"{self.servers.place}: {error}") from error

    def _attempts(self, request: requests.Request | None, began: float | None = None) -> _Attempts:
        return _Attempts(request, self.servers.place, self._timeout, began)

    async def _check(self) -> None:
        """Record the number of shards, or refuse a store that has another."""
        for words in RECORD_SHARDS:
            found, _ = await self._repeat(words, self._attempts(None))
            _check_shards(found, self.servers.place)
            if found is not None:
                break
        self._checked = True

    async def _failed(self, error: Exception, attempts: _Attempts, seen: int) -> None:
        """Wait after a failed attempt, or raise when there is no next one. `seen`: the servers' `seen` before it."""
        wait = attempts.wait(error)
        if _is_elsewhere(error):
            await self.servers.refresh(seen)
        await asyncio.sleep(wait)

    async def _repeat(self, words: Words, attempts: _Attempts) -> Answer:
        while True:
            seen = self.servers.seen
            try:
                return await self._call(words, attempts)
            except (RedisError, OSError, _NotSent) as error:
                await self._failed(error, attempts, seen)

    async def _call(self, words: Words, attempts: _Attempts | None = None) -> Answer:
        redirect = attempts.redirect if attempts else None
        try:
            pool = await self.servers.pool(_first_key(words), redirect)
        except UNREACHABLE as error:
            raise _NotSent from error
        loop = asyncio.get_running_loop()
        line = self._lines.get(pool)
        if line is None:
            line = self._lines[pool] = _Line()
        if not line.waiting:
            loop.call_soon(self._send_waiting, pool, line)  # runs when all that is ready now has joined
        answer: asyncio.Future[Answer] = loop.create_future()
        line.waiting.append(_Waiting(Sent(words, _is_ask(redirect), attempts is not None and attempts.lasting), answer))
        return await answer

    def _send_waiting(self, pool: Any, line: _Line) -> None:
        """Send what waits, as far as there are connections.

        The pool's own way of waiting for one is left alone: it gives up after a while, also when the server answers all
        the time and there is only much to do.
        """
        while line.waiting and line.out < pool.max_connections:
            if group := line.group():
                line.out += 1
                task = asyncio.ensure_future(self._send(pool, group))
                self._sending.add(task)
                task.add_done_callback(partial(self._sent, pool, line))

    def _sent(self, pool: Any, line: _Line, task: asyncio.Task[None]) -> None:
        """A pipeline is back: its connection takes the next ones."""
        self._sending.discard(task)
        line.out -= 1
        if task.cancelled():  # the loop is being shut down
            for waiting in line.waiting:
                waiting.answer.cancel()
        self._send_waiting(pool, line)

    async def _send(self, pool: Any, group: list[_Waiting]) -> None:
        """One pipeline. It is a task of its own: no waiter's cancellation reaches the connection."""
        try:
            answers = await self._talk(pool, [waiting.sent for waiting in group])
        except BaseException:  # the loop is being shut down
            for waiting in group:
                waiting.answer.cancel()
            raise
        for waiting, answer in zip(group, answers, strict=True):
            if waiting.answer.done():
                continue
            if isinstance(answer.reply, Exception):
                waiting.answer.set_exception(answer.reply)
            else:
                waiting.answer.set_result(answer)

    async def _talk(self, pool: Any, batch: list[Sent]) -> list[Answer]:
        try:
            connection = await pool.get_connection()
        except UNREACHABLE as error:
            failure = _NotSent()
            failure.__cause__ = error
            return [Answer(failure, False)] * len(batch)
        try:
            return await converse_awaited(connection, batch, self._confirm)
        finally:
            await pool.release(connection)
