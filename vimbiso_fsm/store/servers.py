"""Finds the server of a command: URLs, connection pools, Sentinels and clusters.

A manager asks its `Servers` for the pool of the server that has the keys of a command, and talks to that server itself.
There are two kinds, each sync and async: one server, which may be the primary of a service that Sentinels watch, and a
cluster, whose slots are kept by redis-py's cluster client. The pools of a cluster's nodes are made here: those of
redis-py's cluster clients raise when they are full, and those of the async one cannot be used from outside.

    redis://[user:password@]host[:port][/db]                                  one server
    redis+sentinel://[user:password@]host[:port][,host[:port]…]/service[/db]  the primary of a service; the hosts are
                                                                              Sentinels, by default at port 26379
    redis+cluster://[user:password@]host[:port][,host[:port]…]                a cluster; any of its nodes, by default
                                                                              at port 6379
    unix:///path/to/socket[?db=0]                                             one server

`rediss` in place of `redis` means TLS, also to Sentinels. User and password are those of the servers that hold the
data; Sentinels with their own take them from `?sentinel_username=…&sentinel_password=…`. Other parameters
(`?ssl_ca_certs=…`) are those of redis-py, as far as a text can give them and the manager does not set them itself.
"""

from __future__ import annotations

import asyncio
import inspect
import re
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, Generic, NoReturn, TypeAlias, TypeVar, cast
from urllib.parse import parse_qsl, unquote, urlsplit

import attrs
import redis
import redis.asyncio
import redis.asyncio.cluster
import redis.asyncio.sentinel
import redis.cluster
import redis.connection
import redis.sentinel
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import AskError, RedisClusterException, RedisError
from redis.retry import Retry

from vimbiso_fsm.errors import StoreUnavailable
from vimbiso_fsm.store.connections import AsyncPool, Pool, RequestLimit, share
from vimbiso_fsm.store.script import Words

C = TypeVar("C")
P = TypeVar("P")

CONNECTIONS: Final = 20
"""Connections to one server at most. A request that finds none free waits for one."""
UNREACHABLE: Final[tuple[type[Exception], ...]] = (RedisError, RedisClusterException, OSError, UnicodeError)
"""The errors that redis-py raises if it gets no connection. The second is no `RedisError`, and the last is that of a
host name that cannot be one, as a Sentinel or a node of a cluster may name it."""

_Address: TypeAlias = tuple[str, int]
_parsed: Final[Callable[[str], dict[str, Any]]] = redis.connection.parse_url
_KNOWS_DRIVER: Final = "driver_info" in inspect.signature(redis.connection.AbstractConnection.__init__).parameters
"""Since redis-py 8; before, a client's name and version were given apart."""
_POOL: Final[dict[str, Any]] = {
    "protocol": 2,  # no HELLO, no push messages: nothing but answers can stand on the connection
    "decode_responses": False,
    "timeout": 5.0,  # for a connection of the pool to become free
    # No CLIENT SETINFO: its reply would be waited for on each new connection, also where a server stands still.
    **dict.fromkeys(("driver_info",) if _KNOWS_DRIVER else ("lib_name", "lib_version")),
}


# URLs --------------------------------------------------------------------------------------------------------

_PARAMETERS: Final = re.compile(
    r"db|username|password|client_name|socket_(?:timeout|connect_timeout|keepalive)|max_connections"
    r"|health_check_interval|sentinel_(?:username|password)|ssl_\w+"
)
"""The parameters of a URL. Each of redis-py's others is an object, or would override an option of `_POOL`."""


@attrs.frozen
class _Place:
    """The parsed URL of several servers.

    Attributes:
        hosts: Their addresses.
        service: The service that the Sentinels watch; None for a cluster.
        tls: Whether connections use TLS.
        options: redis-py's options of a connection to a server with data, without its address.
        asking: redis-py's options of a connection to a Sentinel, without its address.
    """

    hosts: tuple[_Address, ...]
    service: str | None
    tls: bool
    options: dict[str, Any] = attrs.field(repr=False)
    asking: dict[str, Any] = attrs.field(repr=False)


def _place_at(url: str) -> _Place | None:
    """Parse the URL of several servers; return None for the URL of one. Raises ValueError."""
    scheme, _, rest = url.partition("://")
    base, _, kind = scheme.partition("+")
    if kind not in {"sentinel", "cluster"}:
        return None
    front, _, query = rest.partition("?")
    netloc, _, path = front.partition("/")
    user, at, hosts = netloc.rpartition("@")
    service, _, db = path.partition("/") if kind == "sentinel" else (None, "", path)
    if service == "" or (service is None and db not in {"", "0"}):
        raise ValueError
    addresses = tuple(_address(host, 6379 if service is None else 26379) for host in hosts.split(","))
    options = _parsed(f"{base}://{user}{at}{hosts.partition(',')[0]}/{int(db or 0)}?{query}")
    tls = options.pop("connection_class", None) is not None
    asking = {name: options.pop(f"sentinel_{name}", None) for name in ("username", "password")}
    asking |= {name: value for name, value in options.items() if name.startswith("ssl_")}
    for name in ("host", "port") if service else ("host", "port", "db"):
        options.pop(name, None)
    return _Place(addresses, service and unquote(service), tls, options, asking)


def _address(host: str, port: int) -> _Address:
    found = _parsed(f"redis://{host}")
    if not found.get("host"):
        raise ValueError
    _check_host(found["host"])
    return found["host"], found.get("port", port)


def _check_host(host: str) -> None:
    """Check that a text can be the name of a host: no label is empty or too long. Raises ValueError."""
    host.encode("idna")  # as the connection will


def _check_parameters(url: str) -> None:
    """Check the names of the parameters of a URL. Raises ValueError."""
    for name, _ in parse_qsl(urlsplit(url).query, keep_blank_values=True):
        if not _PARAMETERS.fullmatch(name):
            raise ValueError


def _bad_url(url: str) -> StoreUnavailable:
    """Make the error for a malformed URL. It quotes neither the URL nor its parser: both may contain a password."""
    scheme, _, rest = url.partition("://")
    front, _, query = rest.partition("?")
    host = "" if "@" in query else front.rpartition("@")[2].partition("/")[0].partition(":")[0]
    return StoreUnavailable(
        f"the URL ({scheme if rest else 'no scheme'}, host {host!r}) is none of redis://host:port/db, "
        "rediss://host:port/db, unix:///path/to/socket?db=0, redis+sentinel://host:port,host:port/service/db, "
        "redis+cluster://host:port,host:port"
    )


# One server --------------------------------------------------------------------------------------------------


def _named(pool: Any) -> str:
    """Return the address of the server of a pool, without user and password."""
    options = pool.connection_kwargs
    if service := getattr(pool, "service_name", None):
        return f"the master of {service}"
    if "path" in options:
        return f"unix://{options['path']}"
    return f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"


class _SingleServer(Generic[C, P]):
    """The parts that `Server` and `AsyncServer` share."""

    def __init__(self, client: C, owned: Sequence[C] = ()) -> None:
        """Take a client.

        Args:
            client: The client of redis-py.
            owned: The clients that are closed with the server.
        """
        self.client: C = client
        self.pools: tuple[P] = (cast(Any, client).connection_pool,)
        self.place: str = _named(self.pools[0])
        self.seen: int = 0
        self._owned = owned

    def _refuse(self) -> NoReturn:
        raise StoreUnavailable(
            f"{self.place}: it is a node of a cluster; name it with redis+cluster://, or use RedisCluster"
        )


class Server(_SingleServer[redis.Redis, Pool]):
    """One server, or the primary of a service.

    Attributes:
        client: The client of redis-py.
        pools: Its pool of connections.
        place: The address.
        seen: How often the topology was read; always 0 here.
    """

    def pool(self, words: Words, redirect: AskError | None) -> Pool:
        """Return the pool of the server.

        Raises:
            StoreUnavailable: A `redirect` names another server, which the client of a single server cannot follow.
        """
        return self.pools[0] if redirect is None else self._refuse()

    def refresh(self, seen: int) -> None:
        """Do nothing: the pool of a service follows its primary by itself."""

    def disconnect(self) -> None:
        """Drop all connections; new ones are made when they are needed."""
        self.pools[0].disconnect()

    def close(self) -> None:
        """Close the connections and the owned clients; may be called twice."""
        for client in self._owned:
            client.close()


class AsyncServer(_SingleServer[redis.asyncio.Redis, AsyncPool]):
    """One server, or the primary of a service, for an event loop; see `Server`."""

    async def pool(self, words: Words, redirect: AskError | None) -> AsyncPool:
        """Return the pool of the server; see `Server.pool`."""
        return self.pools[0] if redirect is None else self._refuse()

    async def refresh(self, seen: int) -> None:
        """Do nothing: the pool of a service follows its primary by itself."""

    async def disconnect(self) -> None:
        """Drop all connections; new ones are made when they are needed."""
        await self.pools[0].disconnect()

    async def close(self) -> None:
        """Close the connections and the owned clients; may be called twice."""
        for client in self._owned:
            await client.aclose()

    def abandon(self) -> None:
        """Close the sockets of the owned clients, whose event loop does not run any more."""
        for client in self._owned:
            _abandon(client.connection_pool)


def _abandon(*pools: Any) -> None:
    """Close the sockets of asyncio pools. Their event loop does not run, so redis-py cannot close them."""
    for pool in pools:
        for name in ("_available_connections", "_in_use_connections", "_connections"):
            for connection in tuple(getattr(pool, name, ())):
                writer, connection._reader, connection._writer = connection._writer, None, None
                if writer is not None:
                    _abandon_transport(writer.transport)


def _abandon_transport(transport: Any) -> None:
    with suppress(RuntimeError):  # the loop is closed and takes no callback, which would close the socket
        transport.abort()
        return
    with suppress(Exception):  # private, and not the same in each kind of loop; without it, the collector closes it
        transport._call_connection_lost(None)


class _Sentinels(redis.sentinel.Sentinel):
    """Sentinels whose error does not show their connections, which contain secrets."""

    def discover_master(self, service_name: str) -> Any:
        """Return the host and port of the primary."""
        try:
            return super().discover_master(service_name)  # type: ignore[no-untyped-call]
        except redis.sentinel.MasterNotFoundError:
            raise _no_primary(self.sentinels) from None


class _AsyncSentinels(redis.asyncio.sentinel.Sentinel):
    """Sentinels whose error does not show their connections; see `_Sentinels`."""

    async def discover_master(self, service_name: str) -> Any:
        """Return the host and port of the primary."""
        try:
            return await super().discover_master(service_name)
        except redis.asyncio.sentinel.MasterNotFoundError:
            raise _no_primary(self.sentinels) from None


def _no_primary(sentinels: Sequence[Any]) -> redis.ConnectionError:
    asked = ", ".join(_named(client.connection_pool) for client in sentinels)
    return redis.ConnectionError(f"none of the Sentinels {asked} names a healthy primary")


class _ServicePool(redis.sentinel.SentinelConnectionPool, redis.BlockingConnectionPool):
    """A pool of connections to the primary that the Sentinels name. A full pool waits."""

    def disconnect(self, inuse_connections: bool = True) -> None:
        """Drop all connections, also when only the idle ones are meant.

        redis-py asks for that when the primary has changed, and connections in use then lead to the old primary. (The
        blocking pool of redis-py 6 takes no such argument.)
        """
        redis.BlockingConnectionPool.disconnect(self)


class _AsyncServicePool(redis.asyncio.sentinel.SentinelConnectionPool, redis.asyncio.BlockingConnectionPool):
    """A pool of connections to the primary that the Sentinels name, for an event loop. A full pool waits."""


# A cluster ---------------------------------------------------------------------------------------------------

_CARRIED: Final = (
    "username",
    "password",
    "credential_provider",
    "client_name",
    "redis_connect_func",
    "socket_",
    "ssl_",
)
"""Prefixes of the options that the connections to a node take over from redis-py's: credentials, sockets and TLS. The
others concern redis-py's own pools and push messages."""


def _first_key(words: Words) -> bytes:
    first: Any = words[3] if words[0] == "EVALSHA" else words[1]
    key: bytes = first
    return key


class _Nodes(Generic[P]):
    """The pools of a cluster's nodes, by address."""

    place: str = "the cluster"
    seen: int = 0

    def __init__(self, pool_class: Callable[..., Any], retry: object, options: dict[str, Any]) -> None:
        self._pool_class = pool_class
        self._options = {"max_connections": CONNECTIONS, **options, **_POOL, "retry": retry}
        self._pools: dict[_Address, P] = {}

    @property
    def pools(self) -> list[P]:
        """The pools of the nodes that were used."""
        return list(self._pools.values())

    def _at(self, client: Any, node: Any, redirect: AskError | None, like: Callable[[Any], Any]) -> P:
        """Return the pool of a node, or of that in a redirect; `like` returns a pool of redis-py to the node."""
        address: _Address = (node.host, int(node.port))
        if redirect is not None:  # the host is left out when it is that of the node which answered
            address = client.nodes_manager.remap_host_port(redirect.host or node.host, redirect.port)
        pool = self._pools.get(address)
        if pool is None:
            found = like(node)
            carried = {name: value for name, value in found.connection_kwargs.items() if name.startswith(_CARRIED)}
            options = {**carried, **self._options, "host": address[0], "port": address[1]}
            made: P = self._pool_class(connection_class=found.connection_class, **options)
            self._prepare(made)
            pool = self._pools.setdefault(address, made)
        return pool

    def _prepare(self, pool: P) -> None:
        """Prepare a new pool before it is used."""

    def _starts_reading(self, seen: int) -> bool:
        """Count a reading of the topology and return True, unless it was read since `seen`."""
        if seen != self.seen:
            return False
        self.seen += 1
        return True

    def _left(self, client: Any) -> list[P]:
        """Forget and return the pools of nodes that have left the cluster."""
        there = {(node.host, int(node.port)) for node in client.get_nodes()}
        return [self._pools.pop(address) for address in set(self._pools) - there]


class Cluster(_Nodes[Pool]):
    """A cluster.

    Attributes:
        pools: The pools of the nodes that were used.
        place: "the cluster".
        seen: How often the topology was read.
        limit: The limit of the requests of all threads at the same time: as many as one server has connections.
    """

    def __init__(
        self, client: redis.RedisCluster | Callable[[], redis.RedisCluster], *, owned: bool = False, **options: Any
    ) -> None:
        """Take a client, which keeps the slots, or a function that makes it.

        Args:
            client: The client, or how to make it. A client connects when it is made, so it is made at first use.
            owned: Whether the client is closed with the cluster.
            options: Options of connections; they override those of the client.
        """
        super().__init__(redis.BlockingConnectionPool, Retry(NoBackoff(), 0), options)
        self._make: Callable[[], redis.RedisCluster] = client if callable(client) else lambda: client
        self._client: Any = None if callable(client) else client
        self._owned = owned
        self._lock = threading.Lock()
        self.limit = RequestLimit(cast(int, self._options["max_connections"]))

    def _prepare(self, pool: Pool) -> None:
        share(self.limit, pool)

    @property
    def client(self) -> redis.RedisCluster:
        """The client of redis-py. Raises one of `UNREACHABLE` if it cannot connect."""
        if self._client is None:  # checked without the lock too, because a refresh may hold it for long
            with self._lock:
                if self._client is None:
                    self._client = self._make()
        return cast(redis.RedisCluster, self._client)

    def pool(self, words: Words, redirect: AskError | None) -> Pool:
        """Return the pool of the node that has the keys of a command, or of the node that a `redirect` names.

        Raises one of `UNREACHABLE` if no node tells where the slots are.
        """
        client: Any = self.client  # Any: redis-py does not type the calls below
        node = client.get_node_from_key(_first_key(words))
        return self._at(client, node, redirect, lambda node: client.get_redis_connection(node).connection_pool)

    def refresh(self, seen: int) -> None:
        """Read the topology, unless it was read since `seen`.

        If no node answers, the last topology stays, and callers that waited here do not ask again.
        """
        with self._lock:
            if self._client is None or not self._starts_reading(seen):
                return
            with suppress(*UNREACHABLE):
                self._client.nodes_manager.initialize()
                for pool in self._left(self._client):
                    pool.disconnect()

    def disconnect(self) -> None:
        """Drop all connections; new ones are made when they are needed."""
        for pool in self.pools:
            pool.disconnect()

    def close(self) -> None:
        """Close the connections and the owned clients; may be called twice."""
        self.disconnect()
        if self._owned and self._client is not None:
            self._client.close()


class AsyncCluster(_Nodes[AsyncPool]):
    """A cluster, for an event loop; see `Cluster`."""

    def __init__(self, client: redis.asyncio.RedisCluster, *, owned: bool = False, **options: Any) -> None:
        """Take a client, which keeps the slots; see `Cluster`."""
        super().__init__(redis.asyncio.BlockingConnectionPool, AsyncRetry(NoBackoff(), 0), options)
        self.client = client
        self._owned = owned
        self._lock = asyncio.Lock()

    async def pool(self, words: Words, redirect: AskError | None) -> AsyncPool:
        """Return the pool of a node; see `Cluster.pool`."""
        client: Any = self.client  # Any: redis-py does not type the calls below
        await client.initialize()  # does nothing when it is
        # a node of the async client has the attributes of a pool
        return self._at(client, client.get_node_from_key(_first_key(words)), redirect, lambda node: node)

    async def refresh(self, seen: int) -> None:
        """Read the topology, unless it was read since `seen`; see `Cluster.refresh`."""
        async with self._lock:
            if not self._starts_reading(seen):
                return
            with suppress(*UNREACHABLE):
                await self.client.nodes_manager.initialize()
                for pool in self._left(self.client):
                    await pool.disconnect()

    async def disconnect(self) -> None:
        """Drop all connections; new ones are made when they are needed."""
        for pool in self.pools:
            await pool.disconnect()

    async def close(self) -> None:
        """Close the connections and the owned clients; may be called twice."""
        await self.disconnect()
        if self._owned:
            await self.client.aclose()

    def abandon(self) -> None:
        """Close the sockets; see `AsyncServer.abandon`."""
        _abandon(*self.pools)
        if self._owned:
            client: Any = self.client
            _abandon(*client.nodes_manager.nodes_cache.values(), *client.nodes_manager.startup_nodes.values())
            client._initialize = True  # redis-py warns of a client that was not closed


Servers: TypeAlias = Server | Cluster
"""The servers of a manager."""
AsyncServers: TypeAlias = AsyncServer | AsyncCluster
"""The servers of an async manager."""


# From clients and from URLs ----------------------------------------------------------------------------------


def servers_of(client: redis.Redis | redis.RedisCluster | Servers) -> Servers:
    """Return the servers of a client that the caller closes."""
    if isinstance(client, Server | Cluster):
        return client
    return Cluster(client) if isinstance(client, redis.RedisCluster) else Server(client)


def async_servers_of(client: redis.asyncio.Redis | redis.asyncio.RedisCluster) -> AsyncServers:
    """Return the servers of a client that the caller closes."""
    return AsyncCluster(client) if isinstance(client, redis.asyncio.RedisCluster) else AsyncServer(client)


def servers_at(url: str, *, timeout: float, connect_timeout: float, connections: int) -> Servers:
    """Return the servers at a URL, without connecting to them.

    Args:
        url: The URL; see the module.
        timeout: Seconds to wait for a reply.
        connect_timeout: Seconds to wait for a connection.
        connections: Connections to one server at most.

    Raises:
        StoreUnavailable: The URL is malformed.
    """
    limits = _limits(timeout, connect_timeout, connections)
    try:
        _check_parameters(url)
        place = _place_at(url)
        if place is None:
            return Server(*_one(redis, url, limits, Retry(NoBackoff(), 0)))
        if place.service is not None:
            return Server(*_service(redis, place, limits, _Sentinels, _ServicePool, Retry(NoBackoff(), 0)))
        _check_options(redis, place.tls, place.options)
    except (ValueError, TypeError):
        raise _bad_url(url) from None
    return Cluster(lambda: _cluster(redis, redis.cluster.ClusterNode, place, limits), owned=True, **limits)


def async_servers_at(url: str, *, timeout: float, connect_timeout: float, connections: int) -> AsyncServers:
    """Return the servers at a URL, without connecting to them; see `servers_at`."""
    limits = _limits(timeout, connect_timeout, connections)
    try:
        _check_parameters(url)
        place = _place_at(url)
        if place is None:
            return AsyncServer(*_one(redis.asyncio, url, limits, AsyncRetry(NoBackoff(), 0)))
        if place.service is not None:
            return AsyncServer(
                *_service(redis.asyncio, place, limits, _AsyncSentinels, _AsyncServicePool, AsyncRetry(NoBackoff(), 0))
            )
        client = _cluster(redis.asyncio, redis.asyncio.cluster.ClusterNode, place, limits)
    except (ValueError, TypeError):
        raise _bad_url(url) from None
    return AsyncCluster(client, owned=True, **limits)


# `kit` is `redis` or `redis.asyncio`, which have the same names. `retry` is for connections only: the manager repeats
# commands, after it has asked again where to connect to.


def _limits(timeout: float, connect_timeout: float, connections: int) -> dict[str, Any]:
    return {"socket_timeout": timeout, "socket_connect_timeout": connect_timeout, "max_connections": connections}


def _one(kit: Any, url: str, limits: dict[str, Any], retry: Any) -> tuple[Any, tuple[Any, ...]]:
    pool = kit.BlockingConnectionPool.from_url(url, **_POOL, **limits, retry=retry)
    _check_host(pool.connection_kwargs.get("host", ""))
    pool.connection_class(**pool.connection_kwargs)  # as below
    client = kit.Redis.from_pool(pool)
    return client, (client,)


def _check_options(kit: Any, tls: bool, options: dict[str, Any]) -> None:
    """Check that a connection has these options, which would otherwise be found when it is made. Raises TypeError."""
    (kit.SSLConnection if tls else kit.Connection)(**options)


def _service(
    kit: Any, place: _Place, limits: dict[str, Any], sentinels: Any, pool: Any, retry: Any
) -> tuple[Any, tuple[Any, ...]]:
    _check_options(kit, place.tls, place.options)
    asking = {**place.asking, **_quick(limits), "ssl": place.tls, "retry": retry}
    asked = sentinels(place.hosts, sentinel_kwargs=asking)
    options = {**place.options, **_POOL, **limits, "ssl": place.tls, "retry": retry}
    client = kit.Redis.from_pool(pool(place.service, asked, **options))
    return client, (client, *asked.sentinels)


def _cluster(kit: Any, node: Any, place: _Place, limits: dict[str, Any]) -> Any:
    nodes = [node(host, port) for host, port in place.hosts]
    options = {**place.options, **_quick(limits), "ssl": place.tls}
    # a slot without a node does not stop the others
    return kit.RedisCluster(startup_nodes=nodes, require_full_coverage=False, **options)


def _quick(limits: dict[str, Any]) -> dict[str, Any]:
    """Return the limits of a client that only asks where to connect.

    It asks another server if one does not answer at once, so it waits less long than a commit does.
    """
    patience = limits["socket_connect_timeout"]
    return {"socket_timeout": patience, "socket_connect_timeout": patience, "protocol": 2}
