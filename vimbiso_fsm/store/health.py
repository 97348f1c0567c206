"""Asks every server of a store the questions of the doctor: a single one, all of a cluster, or all of a service."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from functools import partial
from typing import Any, Final, TypeAlias, cast

import attrs
import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel

from vimbiso_fsm.errors import StoreUnavailable
from vimbiso_fsm.store.attempts import fault_of
from vimbiso_fsm.store.doctor import ABOUT_MEMORY, Node, questions, usage_of
from vimbiso_fsm.store.layout import DEFAULT_SPACE
from vimbiso_fsm.store.requests import Usage
from vimbiso_fsm.store.servers import UNREACHABLE, AsyncCluster, AsyncServers, Cluster, Servers, servers_at

_Words: TypeAlias = tuple[tuple[str, ...], ...]
"""The questions to one server."""
REPLY_TIMEOUT: Final = 2.0
"""Seconds to wait for a reply of a server that is asked by its URL; half as long for a connection."""


def ask_url(url: str, space: str = DEFAULT_SPACE) -> tuple[Node, ...]:
    """Ask the servers at a URL, any that `AtomicStateManager.from_url` takes.

    Args:
        url: The URL.
        space: The part before the first colon of the keys that the user of the URL needs, as `Keys.space`.

    Raises:
        StoreUnavailable: The URL is malformed, or no server answers. The message contains no password.
    """
    servers = servers_at(url, timeout=REPLY_TIMEOUT, connect_timeout=REPLY_TIMEOUT / 2, connections=1)
    try:
        return ask_nodes(servers, space)
    finally:
        servers.close()


def ask_nodes(servers: Servers, space: str = DEFAULT_SPACE) -> tuple[Node, ...]:
    """Ask each of the servers.

    Args:
        servers: The servers.
        space: The part before the first colon of the keys that the user needs, as `Keys.space`.

    Returns:
        The answers, those of primaries first.

    Raises:
        StoreUnavailable: No server answers.
    """
    return _at_space(_ask_all(servers, questions(space)), space)


def ask_memory(servers: Servers) -> tuple[Usage, ...]:
    """Return how much memory each server that takes writes uses.

    Raises:
        StoreUnavailable: No server answers.
    """
    return usage_of(_ask_all(servers, ABOUT_MEMORY))


def _ask_all(servers: Servers, words: _Words) -> tuple[Node, ...]:
    pool: Any
    if isinstance(servers, Cluster):
        try:
            cluster: Any = servers.client
        except UNREACHABLE as error:
            raise _unreachable(servers.place, error) from error
        return _answered(_ask(words, cluster.get_redis_connection(node), *_known(node)) for node in cluster.get_nodes())
    pool = servers.client.connection_pool
    if not isinstance(pool, redis.sentinel.SentinelConnectionPool):
        return _answered([_ask(words, servers.client, servers.place, False)])
    pool = cast(Any, pool)
    try:
        primary = pool.get_master_address()
        replicas = pool.sentinel_manager.discover_slaves(pool.service_name)
    except UNREACHABLE as error:
        raise _unreachable(servers.place, error) from error
    nodes = [_ask(words, servers.client, _address(*primary), False)]
    for address in replicas:
        with _beside(redis, pool, *address) as replica:
            nodes.append(_ask(words, replica, _address(*address), True))
    return _answered(nodes)


async def ask_nodes_awaited(servers: AsyncServers, space: str = DEFAULT_SPACE) -> tuple[Node, ...]:
    """Ask each of the servers; see `ask_nodes`."""
    return _at_space(await _ask_all_awaited(servers, questions(space)), space)


async def ask_memory_awaited(servers: AsyncServers) -> tuple[Usage, ...]:
    """Return how much memory each server that takes writes uses; see `ask_memory`."""
    return usage_of(await _ask_all_awaited(servers, ABOUT_MEMORY))


async def _ask_all_awaited(servers: AsyncServers, words: _Words) -> tuple[Node, ...]:
    pool: Any
    if isinstance(servers, AsyncCluster):
        try:
            await servers.client.initialize()
        except UNREACHABLE as error:
            raise _unreachable(servers.place, error) from error
        return _answered(await asyncio.gather(*map(partial(_ask_cluster_node, words), servers.client.get_nodes())))
    pool = servers.client.connection_pool
    if not isinstance(pool, redis.asyncio.sentinel.SentinelConnectionPool):
        return _answered([await _ask_awaited(words, servers.client, servers.place, False)])
    pool = cast(Any, pool)
    try:
        primary = await pool.get_master_address()
        replicas = await pool.sentinel_manager.discover_slaves(pool.service_name)
    except UNREACHABLE as error:
        raise _unreachable(servers.place, error) from error
    nodes = [await _ask_awaited(words, servers.client, _address(*primary), False)]
    for address in replicas:
        async with _beside(redis.asyncio, pool, *address) as replica:
            nodes.append(await _ask_awaited(words, replica, _address(*address), True))
    return _answered(nodes)


def _beside(library: Any, pool: Any, host: Any, port: int) -> Any:
    """Make a client of another server with the options of a Sentinel's pool. `library` is redis or redis.asyncio."""
    kind = library.SSLConnection if issubclass(pool.connection_class, library.SSLConnection) else library.Connection
    options = {name: value for name, value in pool.connection_kwargs.items() if name != "connection_pool"}
    return library.Redis.from_pool(library.ConnectionPool(kind, **options | {"host": host, "port": port}))


# One server --------------------------------------------------------------------------------------------------


def _ask(words: _Words, client: Any, place: str, replica: bool) -> Node:
    pipeline = client.pipeline(transaction=False)
    for question in words:
        pipeline.execute_command(*question)
    try:
        return Node(place, pipeline.execute(raise_on_error=False), replica, at=time.time())
    except UNREACHABLE as error:
        return Node(place, (), replica, fault_of(error))


async def _ask_awaited(words: _Words, client: Any, place: str, replica: bool) -> Node:
    pipeline = client.pipeline(transaction=False)
    for question in words:
        pipeline.execute_command(*question)
    try:
        return Node(place, await pipeline.execute(raise_on_error=False), replica, at=time.time())
    except UNREACHABLE as error:
        return Node(place, (), replica, fault_of(error))


async def _ask_cluster_node(words: _Words, node: Any) -> Node:
    """Ask one question at a time: a node of redis-py's async cluster client has no pipeline of its own."""
    place, replica = _known(node)
    answers: list[Any] = []
    for question in words:
        try:
            answers.append(await node.execute_command(*question))
        except redis.ResponseError as error:
            answers.append(error)
        except UNREACHABLE as error:
            return Node(place, (), replica, fault_of(error))
    return Node(place, answers, replica, at=time.time())


def _known(node: Any) -> tuple[str, bool]:
    """Return the address of a node of a cluster, and whether it is a replica."""
    return _address(node.host, node.port), str(node.server_type) == "replica"


def _at_space(nodes: Iterable[Node], space: str) -> tuple[Node, ...]:
    return tuple(attrs.evolve(node, space=space) for node in nodes)


def _answered(nodes: Iterable[Node]) -> tuple[Node, ...]:
    """Return the nodes, primaries first. Raises StoreUnavailable if none has answered."""
    found = tuple(sorted(nodes, key=lambda node: node.replica))
    if all(node.fault for node in found):
        raise StoreUnavailable("; ".join(f"{node.place}: {node.fault}" for node in found))
    return found


def _unreachable(place: str, error: BaseException) -> StoreUnavailable:
    return StoreUnavailable(f"{place}: {fault_of(error)}")


def _address(host: Any, port: int) -> str:
    return f"{host.decode() if isinstance(host, bytes) else host}:{port}"
