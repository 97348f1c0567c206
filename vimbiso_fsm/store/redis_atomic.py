"""The store on Redis, Valkey or any server that speaks their protocol and runs their scripts.

The server may be a single one, the primary of a service that Sentinels watch, or a cluster. Every request but scans
is one call of one script (`script.py` encodes and decodes it, `servers.py` finds the server). `AtomicStateManager` and
`AsyncAtomicStateManager` send the bytes, repeat requests that may be repeated, and raise the errors.

The `durability` of a manager is that of an answered commit:

`local`
    The server has it. If the server is lost and a replica takes over, the latest commits may be lost too.
`replicated`
    One `WAIT` follows each write on the same connection; on another connection it would not cover these writes. A
    commit that no replica acknowledges in time is made all the same and answered with `Committed(confirmed=False)`. A
    replica acknowledges data that it has in memory, and Sentinels or a cluster promote the replica with the most data.
    `min-replicas-to-write 1` stops a server that is cut off from its replicas.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import chain
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar, cast

import redis
import redis.asyncio
from redis.exceptions import AskError, RedisError, ResponseError

from vimbiso_fsm.errors import DamagedRecord, MissingSecret, StoreUnavailable, VimbisoError
from vimbiso_fsm.messages.digests import Digests
from vimbiso_fsm.store import requests
from vimbiso_fsm.store.attempts import Attempts, NotSent, WrongType, may_be_elsewhere
from vimbiso_fsm.store.connections import connections_of
from vimbiso_fsm.store.doctor import Durability
from vimbiso_fsm.store.handover import Served, restate
from vimbiso_fsm.store.health import ask_memory, ask_memory_awaited
from vimbiso_fsm.store.index import Secret, digests_of, recent_keys, record_of, secrets_of
from vimbiso_fsm.store.layout import Keys
from vimbiso_fsm.store.lines import LoopLines
from vimbiso_fsm.store.loops import PerLoop
from vimbiso_fsm.store.pipeline import Answer, converse
from vimbiso_fsm.store.requests import Effect
from vimbiso_fsm.store.retention import SHARDS
from vimbiso_fsm.store.script import (
    Altered,
    Command,
    SenselessReply,
    Unharmed,
    Words,
    decode,
    encode,
    freeing,
    index_record,
    inspected,
    inspection,
    instant_of,
    record_shards,
    recorded,
    renewal,
    shards_recorded,
    was_freed,
    was_renewed,
)
from vimbiso_fsm.store.servers import (
    CONNECTIONS,
    UNREACHABLE,
    AsyncCluster,
    AsyncServers,
    Cluster,
    Servers,
    async_servers_at,
    async_servers_of,
    servers_at,
    servers_of,
)

R = TypeVar("R")
ClientT = TypeVar("ClientT")
ServersT = TypeVar("ServersT", Servers, AsyncServers)

REPLY_TIMEOUT: Final = 2.0
"""Seconds to wait for a reply."""
CONFIRM_TIMEOUT: Final = 1.0
"""Seconds to wait for a replica at durability "replicated"."""
SCANNED_AT_ONCE: Final = 1000
"""Keys that a server looks at in one step of a scan."""


class _Manager(ABC, Generic[ClientT, ServersT]):
    """The parts that the two managers share.

    Its methods are coroutines. Those of `AtomicStateManager` never suspend, so it runs them without an event loop.
    """

    def __init__(
        self,
        client: ClientT,
        *,
        timeout: float = REPLY_TIMEOUT,
        durability: Durability = "local",
        confirm_timeout: float = CONFIRM_TIMEOUT,
        namespace: str = "",
        shift: float = 0.0,
        secret: Secret | None = None,
    ) -> None:
        """Make a manager from a client of redis-py, which the caller closes.

        Args:
            client: The client. That of a cluster only keeps the slots; each node gets a pool here.
            timeout: Seconds that the client waits for a reply. They bound the repeats too.
            durability: How durable an answered commit is; see the module.
            confirm_timeout: Seconds to wait for a replica at durability "replicated".
            namespace: The namespace of all keys. Stores of two namespaces on one server do not see each other.
            shift: Seconds by which the store's clock is moved; for tests.
            secret: The secret that keys the digests of channels, or the current one and earlier ones; see `index.py`.

        Raises:
            ValueError: `durability` is unknown, `confirm_timeout` is not below `timeout`, a secret is too short, or
                `namespace` has no valid form.
        """
        self._confirm = _confirm(durability, confirm_timeout, timeout)
        self._place = self._take(client)
        self._timeout = timeout
        self._shift = shift
        self._keys = Keys(namespace)
        self._secrets = secrets_of(secret)
        self._digests: Digests | None = None

    def move_clock(self, seconds: float) -> None:
        """Move the store's clock ahead for the requests of this object; for tests and simulations of one process."""
        self._shift += seconds

    @property
    def namespace(self) -> str:
        """The namespace of all keys."""
        return self._keys.namespace

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
        namespace: str = "",
        shift: float = 0.0,
        secret: Secret | None = None,
    ) -> Self:
        """Make a manager that connects to a URL when it is first used.

        Args:
            url: redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://; see `servers.py`.
            timeout: Seconds to wait for a reply.
            connect_timeout: Seconds to wait for a connection; by default half of `timeout`.
            connections: Connections to one server at most. A request waits for a free one. Threads make at most as many
                requests to a cluster at the same time.
            durability: How durable an answered commit is; see the module.
            confirm_timeout: Seconds to wait for a replica at durability "replicated".
            namespace: The namespace of all keys. Stores of two namespaces on one server do not see each other.
            shift: Seconds by which the store's clock is moved; for tests.
            secret: The secret that keys the digests of channels, or the current one and earlier ones; see `index.py`.

        Raises:
            StoreUnavailable: The URL is malformed.
            ValueError: `durability` is unknown, `confirm_timeout` is not below `timeout`, a secret is too short, or
                `namespace` has no valid form.
        """
        client = cls._client_at(url, timeout, timeout / 2 if connect_timeout is None else connect_timeout, connections)
        return cls(
            client,
            timeout=timeout,
            durability=durability,
            confirm_timeout=confirm_timeout,
            namespace=namespace,
            shift=shift,
            secret=secret,
        )

    @staticmethod
    @abstractmethod
    def _client_at(url: str, timeout: float, connect_timeout: float, connections: int) -> ClientT: ...

    @abstractmethod
    def _take(self, client: ClientT) -> str:
        """Keep the client; return the address of its servers, for errors."""

    @property
    @abstractmethod
    def servers(self) -> ServersT:
        """The servers; those of the running event loop if the manager is async."""

    @property
    def _is_cluster(self) -> bool:
        """Whether the keys of the store are spread over several servers."""
        return isinstance(self.servers, Cluster | AsyncCluster)

    async def _perform(self, request: Effect[R]) -> R:
        kind: object = type(request)
        if kind is requests.Scan:
            return cast(R, await self._scan())
        if isinstance(request, requests.ScanPart):
            return cast(R, await self._scan_part(request))
        if isinstance(request, requests.FreeChannels):
            return cast(R, await self._free_channels(request.member_id))
        if isinstance(request, requests.ReadIndexKeys):
            return cast(R, await self._read_index_keys(forget=request.forget))
        if isinstance(request, requests.FindOwners):
            return cast(R, await self._find_owners(request.each, self._digests or await self._check()))
        if isinstance(request, requests.ReadUsage):
            return cast(R, await self._read_usage())
        if kind is requests.ReadDueShards and (self._is_cluster or not cast(requests.ReadDueShards, request).shards):
            return cast(R, cast(requests.ReadDueShards, request).shards)
        if kind is requests.ReadOwner:  # which a manager asks for once a minute
            await self._check_again()
        digests = self._digests or (_UNKEYED if _is_of_store(request) else await self._check())
        if isinstance(request, requests.ReadDigests):
            return cast(R, digests)
        command = encode(request, digests, self._shift, self._keys)
        attempts = Attempts(request, self._place, self._timeout)
        while True:
            damage: WrongType | Altered
            try:
                result, confirmed = await self._repeat(command.words, attempts, partial(decode, request, command))
                return result if confirmed and not attempts.is_unknown else attempts.corrected(result, confirmed)
            except (WrongType, Altered) as error:
                damage = error
            if isinstance(damage, Altered) or not await self._renew_due(damage.member_id):
                with suppress(Unharmed):  # the damage was repaired meanwhile, or it was the reply that was altered
                    return cast(R, await self._inspect(request, damage.member_id))
            if isinstance(damage, Altered):
                await self._disconnect()
            await self._sleep(attempts.wait(damage))

    async def _inspect(self, request: requests.Request, member_id: str) -> requests.Broken:
        """Ask which key of a member is damaged, because a request has met one."""
        question = inspection(member_id, self._keys)
        found, _ = await self._repeat(
            question.words,
            self._attempts(),
            lambda reply: inspected(request, member_id, question, reply, self._place),
        )
        return found

    async def _renew_due(self, member_id: str) -> bool:
        """Put the due set of a member's shard aside if it has another type; return whether it had."""
        command = renewal(member_id, self._keys)
        renewed, _ = await self._repeat(command.words, self._attempts(), partial(was_renewed, command))
        return renewed

    async def _scan(self) -> tuple[str, ...]:
        """Ask each server for its keys. The script cannot: its keys are known beforehand and on one server.

        Nothing is recorded on a server that has no store yet.
        """
        try:
            return self._keys.members_of(await self._scanned(self._keys.members))
        except UNREACHABLE as error:
            raise StoreUnavailable(f"{self._place}: {error}") from error

    async def _scan_part(self, request: requests.ScanPart) -> requests.Scanned:
        """Ask one server for some of its keys. A cursor is the number of the server, a dot, and that of the server."""
        number, at = _cursor_of(request.cursor)
        try:
            found, at, servers = await self._scanned_from(self._keys.documents, number, at, request.keys)
        except UNREACHABLE as error:
            raise StoreUnavailable(f"{self._place}: {error}") from error
        number += at == 0
        return requests.Scanned(self._keys.members_of(found), f"{number}.{at}" if number < servers else "")

    async def _free_channels(self, member_id: str) -> int:
        """Take every channel from a member: each entry of the index is compared and removed by one call."""
        try:
            entries = list(await self._scanned(self._keys.channels))
        except UNREACHABLE as error:
            raise StoreUnavailable(f"{self._place}: {error}") from error
        freed = 0
        for key in entries:
            command = freeing(key, member_id)
            attempts = self._attempts(requests.FreeChannels(member_id))
            gone, _ = await self._repeat(command.words, attempts, partial(was_freed, command))
            freed += gone
        return freed

    async def _read_index_keys(self, *, forget: bool) -> requests.IndexKeys:
        """Count the entries and the earlier keys of the index; with `forget`, keep the current key alone."""
        try:
            entries = len(set(await self._scanned(self._keys.channels)))
        except UNREACHABLE as error:
            raise StoreUnavailable(f"{self._place}: {error}") from error
        record, at = await self._open_record(is_new=False)
        self._digests = digests = digests_of(self._secrets, record, self._place, at)
        earlier = len(digests.keys) - 1
        if forget and earlier:
            await self._forget_keys()
            self._digests = Digests(digests.keys[:1])
        return requests.IndexKeys(entries, earlier, len(recent_keys(record, at)))

    async def _forget_keys(self) -> None:
        """Keep the current key of the index alone in its record."""
        found, record = "", ""
        while True:
            found, _ = await self._recorded(found, record)
            if found == (record := " ".join(found.split(" ")[:2])):  # the form of the record, and the current key
                return

    async def _check_again(self) -> None:
        """Read the keys of the index again, which another process may have changed. One that was not given is refused.

        While a server does not answer, the known keys hold.
        """
        if self._digests is not None:
            known, self._digests = self._digests, None
            try:
                await self._check()
            except MissingSecret:
                raise
            except StoreUnavailable:
                self._digests = known

    def _attempts(self, request: requests.Request | None = None) -> Attempts:
        return Attempts(request, self._place, self._timeout)

    async def _check(self) -> Digests:
        """Record the number of shards and the keys of the digests, or refuse a store that has others."""
        is_new = True
        for words in record_shards(self._keys):
            with _naming("shards", self._place):
                found, _ = await self._repeat(words, self._attempts(), shards_recorded)
            if found is not None and found != b"%d" % SHARDS:
                raise StoreUnavailable(
                    f"{self._place}: its members are spread over {found.decode()} shards, this release uses "
                    f"{SHARDS}; use the release that filled it, or another database"
                )
            if found is not None:
                is_new = False
                break
        with _naming("index", self._place):
            self._digests = digests = await self._open_digests(is_new)
        return digests

    async def _open_digests(self, is_new: bool) -> Digests:
        """Make this manager's key the current one of the digests, if it has the other keys."""
        record, at = await self._open_record(is_new)
        return digests_of(self._secrets, record, self._place, at)

    async def _open_record(self, is_new: bool) -> tuple[str, float]:
        """Return the record of the keys with this manager's key as the current one, and the instant.

        Raises:
            MissingSecret: This manager lacks one of the other keys; the record is left alone.
        """
        found, record, at = "", record_of(self._secrets, "", is_new=is_new), 0.0
        while found != record:
            found, at = await self._recorded(found, record)
            digests_of(self._secrets, found, self._place, at)
            record = record_of(self._secrets, found)
        return record, at

    async def _recorded(self, found: str, record: str) -> tuple[str, float]:
        """Replace the record of the keys, if it is still `found`; return that after it, and the instant."""
        command = index_record(found, record, self._keys, self._shift)
        answer, _ = await self._repeat(command.words, self._attempts(), partial(recorded, command))
        return answer

    async def _repeat(self, words: Words, attempts: Attempts, read: Callable[[object], R]) -> tuple[R, bool]:
        """Send a command until it is answered or given up.

        A reply that makes no sense is a lost one. It says that connections may be out of step, so all are dropped.

        Args:
            words: The command.
            attempts: Its attempts.
            read: Reads a reply, or raises `SenselessReply`.

        Returns:
            What was read, and whether it is confirmed; see `Answer`.
        """
        while True:
            try:
                sent = await self._restated(words, attempts) if attempts.split else words
                reply, confirmed = await self._call(sent, attempts)
            except (RedisError, OSError, NotSent) as error:
                wait = attempts.wait(error)
                if may_be_elsewhere(error):
                    await self._refresh(attempts.seen)
            else:
                try:
                    return read(reply), confirmed
                except SenselessReply as error:
                    with suppress(Exception):  # a connection may be closed by another thread, or not close in time
                        await self._disconnect()
                    wait = attempts.wait(error)
            await self._sleep(wait)

    async def _restated(self, words: Words, attempts: Attempts) -> Words:
        """Return the words of a request whose slot is handed over, for the node to which the attempt then goes."""
        if not isinstance(attempts.request, Served):
            return words

        def encoded(commit: requests.Commit) -> Words:
            return encode(commit, _UNKEYED, self._shift, self._keys).words

        again, redirect = await restate(attempts.request, words, self._has, self._set_first, encoded)
        attempts.go_to(redirect)
        return again

    async def _has(self, key: bytes, redirect: AskError | None) -> bool:
        """Return whether the node of a slot, or the one that a redirect names, has a key."""
        attempt = self._attempts()
        attempt.go_to(redirect)
        try:
            found, _ = await self._call(("EXISTS", key), attempt)
            return bool(found)
        except ResponseError:
            raise
        except (RedisError, OSError) as error:
            raise NotSent from error

    async def _set_first(self, command: Command, redirect: AskError | None) -> float:
        """Send the command that sets a wake-up before its commit is made; return the instant of the answer."""
        attempts = self._attempts()
        attempts.go_to(redirect)
        try:
            at, _ = await self._repeat(command.words, attempts, partial(instant_of, command))
        except StoreUnavailable as error:  # which says nothing of the commit
            raise NotSent from error
        return at

    @abstractmethod
    def _call(self, words: Words, attempts: Attempts) -> Coroutine[Any, Any, Answer]:
        """Send a command once, and note in `attempts.seen` how often the topology was read before.

        redis-py's `execute_command` is not used: it repeats what must not be repeated, hides whether anything was sent,
        takes any connection for WAIT, and costs more than the rest of the call.
        """

    @abstractmethod
    async def _find_owners(
        self, each: Sequence[requests.FindOwner], digests: Digests
    ) -> tuple[requests.Linked, ...]: ...

    @abstractmethod
    async def _scanned(self, pattern: bytes) -> Iterable[bytes]: ...

    @abstractmethod
    async def _scanned_from(
        self, pattern: bytes, number: int, cursor: int, count: int
    ) -> tuple[Iterable[bytes], int, int]:
        """Return some keys of a server, its next cursor (0 after its last key), and the number of servers."""

    @abstractmethod
    async def _read_usage(self) -> tuple[requests.Usage, ...]: ...

    @abstractmethod
    async def _refresh(self, seen: int) -> None: ...

    @abstractmethod
    async def _disconnect(self) -> None: ...

    @abstractmethod
    async def _sleep(self, seconds: float) -> None: ...


def _name_of(node: Any) -> str:
    return str(node.name)


def _cursor_of(text: str) -> tuple[int, int]:
    """Return the number of the server and the cursor of it that the cursor of a scan names.

    Raises:
        ValueError: It names none.
    """
    number, _, at = (text or "0.0").partition(".")
    if not (number.isdecimal() and at.isdecimal() and len(number) < 10 and int(at) < 1 << 64):
        raise ValueError(f"{text[:40]!r} is not the cursor of a scan; give the one of the part before")
    return int(number), int(at)


_UNKEYED: Final = Digests()
"""The digests of a request that names no channel."""


def _is_of_store(request: object) -> bool:
    """Whether a request is about a record of the store, which is read and put aside where no other request is made."""
    return isinstance(getattr(request, "request", request), requests.ReadStoreRecord)


@contextmanager
def _naming(record: str, place: str) -> Generator[None]:
    """Name the record whose reading comes to replies that make no sense, or which is of another type.

    Raises:
        DamagedRecord: It is damaged.
    """
    try:
        yield
    except StoreUnavailable as error:
        cause = error.__cause__
        if isinstance(cause, SenselessReply) or str(cause).startswith("WRONGTYPE"):
            raise DamagedRecord(place, record) from error
        raise


def _confirm(durability: Durability, confirm_timeout: float, timeout: float) -> Words | None:
    """Return the command that waits for a replica, if one is to be waited for."""
    if durability not in {"local", "replicated"}:
        raise ValueError(f"durability is 'local' or 'replicated', not {durability!r}")
    if durability == "local":
        return None
    if not 0 < confirm_timeout < timeout:
        raise ValueError(
            f"confirm_timeout={confirm_timeout:g}: give seconds, more than 0 and less than the {timeout:g} after "
            "which a reply is given up"
        )
    return ("WAIT", 1, max(1, round(confirm_timeout * 1000)))  # 0 would wait without a limit


class AtomicStateManager(_Manager[redis.Redis | redis.RedisCluster | Servers, Servers]):
    """A `Store` on one server, a service or a cluster. It may be shared between threads.

    Every method that performs a request raises `DocumentTooLarge`, `StoreUnavailable` (nothing was stored) or
    `CommitUnknown` (a write was sent, and its answer was lost on every attempt).
    """

    @property
    def servers(self) -> Servers:
        """The servers."""
        return self._servers

    def perform(self, request: Effect[R], /) -> R:
        """Perform a request; its class documents the answer and the errors."""
        coroutine = self._perform(request)
        try:
            coroutine.send(None)
        except StopIteration as end:
            result: R = end.value
            return result
        raise AssertionError(f"{coroutine} has suspended")

    def load(self, member_id: str, *, previous: bool = False) -> requests.Stored | requests.Broken:
        """Read what is stored of a member; with `previous`, also the document before."""
        return self.perform(requests.Load(member_id, previous))

    def commit(self, commit: requests.Commit) -> requests.CommitResult:
        """Write one turn atomically."""
        return self.perform(commit)

    def place_of(self, request: requests.Request) -> object:
        """Return what stands for the server that answers a request about a shard; None if that is not known now.

        When the server is down, all its requests fail alike, each after a while.
        """
        if not isinstance(self._servers, Cluster):
            return self._servers
        try:
            return self._servers.pool(encode(request, Digests(()), keys=self._keys).words, None)
        except UNREACHABLE:
            return None

    def close(self) -> None:
        """Close the connections that the manager made, not a client that it was given; may be called twice."""
        for pool in self.servers.pools:
            connections_of(pool).close(pool)
        self.servers.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    @staticmethod
    def _client_at(url: str, timeout: float, connect_timeout: float, connections: int) -> Servers:
        return servers_at(url, timeout=timeout, connect_timeout=connect_timeout, connections=connections)

    def _take(self, client: redis.Redis | redis.RedisCluster | Servers) -> str:
        self._servers = servers_of(client)
        return self._servers.place

    async def _call(self, words: Words, attempts: Attempts) -> Answer:
        servers = self._servers
        attempts.seen = servers.seen
        try:
            pool = servers.pool(words, attempts.redirect)
            connections = connections_of(pool)
            wire = connections.take(pool)
        except VimbisoError:
            raise
        except Exception as error:  # a connection that another thread closes raises whatever it meets
            raise NotSent from error
        try:
            confirm = self._confirm if attempts.lasting else None
            [reply], confirmed = converse(wire, (words,), confirm, asking=attempts.asking)
        finally:
            connections.give(pool, wire)
        if isinstance(reply, Exception):
            raise reply
        return reply, confirmed

    async def _find_owners(self, each: Sequence[requests.FindOwner], digests: Digests) -> tuple[requests.Linked, ...]:
        """Find owners with one pipeline for each server. What it does not answer is asked for alone, and repeated."""
        commands = [encode(one, digests, self._shift, self._keys) for one in each]
        replies = await self._sent_together([command.words for command in commands])
        found: list[requests.Linked] = []
        for one, command, reply in zip(each, commands, replies, strict=True):
            linked: requests.Linked | None = None
            with suppress(SenselessReply):
                linked = None if reply is None else decode(one, command, reply)
            found.append(await self._perform(one) if linked is None else linked)
        return tuple(found)

    async def _sent_together(self, commands: Sequence[Words]) -> list[object]:
        """Send commands, those of one server in one pipeline; return their replies, None for one that failed."""
        replies: list[object] = [None] * len(commands)
        places: dict[Any, list[int]] = {}
        for place, words in enumerate(commands):
            with suppress(VimbisoError, *UNREACHABLE):
                places.setdefault(self._servers.pool(words, None), []).append(place)
        for pool, group in places.items():
            connections = connections_of(pool)
            with suppress(VimbisoError, RedisError, OSError):
                wire = connections.take(pool)
                try:
                    answers, _ = converse(wire, [commands[place] for place in group])
                finally:
                    connections.give(pool, wire)
                for place, reply in zip(group, answers, strict=True):
                    replies[place] = None if isinstance(reply, Exception) else reply
        return replies

    async def _scanned(self, pattern: bytes) -> Iterable[bytes]:
        found: Iterable[bytes] = self.servers.client.scan_iter(match=pattern, count=SCANNED_AT_ONCE)
        return found

    async def _scanned_from(
        self, pattern: bytes, number: int, cursor: int, count: int
    ) -> tuple[Iterable[bytes], int, int]:
        client: Any = self.servers.client
        if not isinstance(self.servers, Cluster):
            at, keys = client.scan(cursor, match=pattern, count=count)
            return keys, at, 1
        nodes = sorted(client.get_primaries(), key=_name_of)
        if number >= len(nodes):
            return (), 0, len(nodes)
        cursors, keys = client.scan(cursor, match=pattern, count=count, target_nodes=nodes[number])
        return keys, sum(cursors.values()), len(nodes)

    async def _read_usage(self) -> tuple[requests.Usage, ...]:
        return ask_memory(self.servers)

    async def _refresh(self, seen: int) -> None:
        self.servers.refresh(seen)

    async def _disconnect(self) -> None:
        self.servers.disconnect()

    async def _sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 – no event loop runs this


class AsyncAtomicStateManager(
    _Manager[redis.asyncio.Redis | redis.asyncio.RedisCluster | Callable[[], AsyncServers], AsyncServers]
):
    """An `AsyncStore` on one server, a service or a cluster.

    It may be shared between the tasks of an event loop and between event loops, also of several threads. Each loop has
    connections of its own, which are closed when it ends. Only a client of redis-py that was given to the manager
    serves the one loop in which it is first used.

    Requests that are made at the same moment in one loop leave together on one connection, and none waits for the reply
    to another; see `lines.py`. While the server reads more slowly than they come, they wait in the order of asking.

    Every method that performs a request raises `DocumentTooLarge`, `StoreUnavailable` (nothing was stored) or
    `CommitUnknown` (a write was sent, and its answer was lost on every attempt). A request that is cancelled after it
    was sent may still be performed; other requests are not affected.
    """

    @property
    def servers(self) -> AsyncServers:
        """The servers of the running event loop."""
        return self._loops.get().servers

    def perform(self, request: Effect[R], /) -> Coroutine[Any, Any, R]:
        """Return a coroutine that performs a request; its class documents the answer and the errors."""
        return self._perform(request)

    async def load(self, member_id: str, *, previous: bool = False) -> requests.Stored | requests.Broken:
        """Read what is stored of a member; with `previous`, also the document before."""
        return await self.perform(requests.Load(member_id, previous))

    async def commit(self, commit: requests.Commit) -> requests.CommitResult:
        """Write one turn atomically."""
        return await self.perform(commit)

    async def close(self) -> None:
        """Wait for the requests that wait or are on their way, then close as `AtomicStateManager.close` does.

        The connections of event loops in other threads are closed there. May be called in any event loop.
        """
        await self._loops.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        await self.close()

    @staticmethod
    def _client_at(url: str, timeout: float, connect_timeout: float, connections: int) -> Callable[[], AsyncServers]:
        return partial(async_servers_at, url, timeout=timeout, connect_timeout=connect_timeout, connections=connections)

    def _take(self, client: redis.asyncio.Redis | redis.asyncio.RedisCluster | Callable[[], AsyncServers]) -> str:
        first, make = (client(), client) if callable(client) else (async_servers_of(client), _no_second_loop)
        servers: Iterator[AsyncServers] = chain([first], iter(make, None))  # one for each loop
        confirm = self._confirm
        self._loops = PerLoop(lambda: LoopLines(next(servers), confirm))
        return first.place

    def _call(self, words: Words, attempts: Attempts) -> Coroutine[Any, Any, Answer]:
        return self._loops.get().answer(words, attempts)

    async def _find_owners(self, each: Sequence[requests.FindOwner], digests: Digests) -> tuple[requests.Linked, ...]:
        """Find owners at the same moment, which is one pipeline for each server."""
        found = await asyncio.gather(*map(self._perform, each), return_exceptions=True)
        return tuple(_raised(linked) for linked in found)

    async def _scanned(self, pattern: bytes) -> Iterable[bytes]:
        return [key async for key in self.servers.client.scan_iter(match=pattern, count=SCANNED_AT_ONCE)]

    async def _scanned_from(
        self, pattern: bytes, number: int, cursor: int, count: int
    ) -> tuple[Iterable[bytes], int, int]:
        client: Any = self.servers.client
        if not isinstance(self.servers, AsyncCluster):
            at, keys = await client.scan(cursor, match=pattern, count=count)
            return keys, at, 1
        await client.initialize()  # does nothing when it is
        nodes = sorted(client.get_primaries(), key=_name_of)
        if number >= len(nodes):
            return (), 0, len(nodes)
        cursors, keys = await client.scan(cursor, match=pattern, count=count, target_nodes=nodes[number])
        return keys, sum(cursors.values()), len(nodes)

    async def _read_usage(self) -> tuple[requests.Usage, ...]:
        return await ask_memory_awaited(self.servers)

    async def _refresh(self, seen: int) -> None:
        await self.servers.refresh(seen)

    async def _disconnect(self) -> None:
        await self._loops.get().disconnect()

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def _raised(found: R | BaseException) -> R:
    """Return what was found, or raise the error in its place."""
    if isinstance(found, BaseException):
        raise found
    return found


def _no_second_loop() -> AsyncServers:
    raise StoreUnavailable(
        "the client that this manager was given serves one event loop, and another one has used it; make the manager "
        "with from_url(), or one manager for each event loop"
    )
