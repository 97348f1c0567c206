"""Deployments of several servers: a primary with a replica, Sentinels that watch them, and clusters.

All run on 127.0.0.1, on free ports and in folders of their own, and are killed at the end. Replication, failovers and
gossip are waited for by polling.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Self

import attrs
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.engines import Server, free_port, running

DEADLINE: Final = 30.0
"""Seconds after which what is waited for is said not to come."""
TRIES: Final = 5
"""Ports tried for one server: another process may take a free one before the server does."""
SERVICE: Final = "bots"
SLOTS: Final = 16_384


def until(done: Callable[[], object], what: str) -> Any:
    """Poll `done` until its result is true, and return it; connections that fail meanwhile are ignored."""
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        with contextlib.suppress(redis.RedisError):
            if found := done():
                return found
        time.sleep(0.02)
    raise AssertionError(f"within {DEADLINE:g} s not: {what}")


def on_a_port(stack: ExitStack, program: str, *options: str) -> Server:
    """Start a server on a port of its own, which is stopped with the stack."""
    for last in range(TRIES):
        port = free_port()
        try:
            return stack.enter_context(running(program, "--bind", "127.0.0.1", *options, port=port))
        except RuntimeError:
            if last == TRIES - 1:
                raise
    raise AssertionError


def at_port(port: int, **options: Any) -> redis.Redis:
    """Return a plain client that tries once."""
    return redis.Redis(port=port, protocol=2, retry=Retry(NoBackoff(), 0), **options)


def address(server: Server) -> str:
    """Return host and port."""
    return f"127.0.0.1:{server.port}"


@contextlib.contextmanager
def stopped(process: subprocess.Popen[bytes]) -> Generator[None, None, None]:
    """Stop a process inside the block; its connections stay open and are not answered."""
    os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process.pid, signal.SIGCONT)


# A primary and its replica -----------------------------------------------------------------------------------------


@attrs.frozen
class Pair:
    """Two servers: at first, `first` is the primary and `second` its replica."""

    first: Server
    second: Server

    def in_step(self) -> None:
        """Wait until the second server replicates the first and reports it."""

        def linked() -> bool:
            with self.first.client() as client:
                client.set("in step", 1)
                return bool(client.execute_command("WAIT", 1, 100))

        until(linked, "the replica is in step")


@contextlib.contextmanager
def pair(program: str, *options: str) -> Generator[Pair, None, None]:
    """Run a primary and a replica in step with it; `options` are those of both servers."""
    quick = ("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1", *options)
    with ExitStack() as stack:
        first = on_a_port(stack, program, *quick)
        second = on_a_port(stack, program, *quick, "--replicaof", f"127.0.0.1 {first.port}")
        found = Pair(first, second)
        found.in_step()
        yield found


# Sentinels ---------------------------------------------------------------------------------------------------------


@attrs.frozen
class Watched:
    """A pair with three Sentinels that watch it."""

    pair: Pair
    ports: tuple[int, ...]

    @property
    def url(self) -> str:
        """The URL of the service."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        return f"redis+sentinel://{hosts}/{SERVICE}/0"

    def ask(self, *words: str) -> Any:
        """Ask the first Sentinel."""
        with at_port(self.ports[0]) as client:
            return client.execute_command("SENTINEL", *words)

    def primary(self) -> Server:
        """Return the primary that all Sentinels name."""
        [port] = {self._named(port) for port in self.ports}
        return next(server for server in (self.pair.first, self.pair.second) if server.port == port)

    def _named(self, port: int) -> int:
        with at_port(port) as client:
            found: Any = client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return int(found[1])

    def agree_on(self, server: Server) -> None:
        """Wait until all Sentinels name a server as the primary and it accepts writes."""

        def named() -> bool:
            role = _ask(server, "ROLE")
            return role[0] == b"master" and {self._named(port) for port in self.ports} == {server.port}

        until(named, f"{address(server)} is the primary")

    def complete(self) -> None:
        """Wait until the Sentinels know each other and a healthy replica, so that they can fail over."""

        def known(port: int) -> bool:
            with at_port(port, decode_responses=True) as client:
                masters: Any = client.sentinel_masters()
                replicas: Any = client.sentinel_slaves(SERVICE)
            [state] = masters.values()
            well = [r for r in replicas if r["flags"] == "slave" and r["master-link-status"] == "ok"]
            return state["num-other-sentinels"] == 2 and state["flags"] == "master" and len(well) == 1

        for port in self.ports:
            until(lambda port=port: known(port), "the Sentinels know each other and the replica")  # type: ignore[misc]


@contextlib.contextmanager
def watched(program: str, *options: str, down_after: int = 500) -> Generator[Watched, None, None]:
    """Run a pair and three Sentinels, for which `down_after` milliseconds of silence are a failure."""
    with pair(program, *options) as servers, ExitStack() as stack:
        ports = tuple(_sentinel(stack, program, servers.first, down_after) for _ in range(3))
        found = Watched(servers, ports)
        found.complete()
        yield found


def _sentinel(stack: ExitStack, program: str, primary: Server, down_after: int) -> int:
    settings = (f"down-after-milliseconds {SERVICE} {down_after}", f"failover-timeout {SERVICE} 3000")
    return sentinel(stack, program, primary, 2, *(f"sentinel {setting}" for setting in settings))


def sentinel(stack: ExitStack, program: str, primary: Server, quorum: int, *settings: str) -> int:
    """Start a Sentinel that watches `primary` and is stopped with the stack; return its port."""
    for _ in range(TRIES):
        port = free_port()
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vimbiso-")))
        lines = [
            *(f"port {port}", "bind 127.0.0.1", f"dir {folder}"),
            *(f"sentinel monitor {SERVICE} 127.0.0.1 {primary.port} {quorum}", *settings),
        ]
        (folder / "conf").write_text("\n".join(lines) + "\n")
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen([program, str(folder / "conf"), "--sentinel"], stdout=log, stderr=log)
        stack.callback(process.wait)
        stack.callback(process.kill)
        with at_port(port) as client:
            until(lambda: process.poll() is not None or _answers(client), "a Sentinel answers")  # noqa: B023 – called here
        if process.poll() is None:
            return port
    raise AssertionError("no Sentinel could be started")


def _answers(client: redis.Redis) -> bool:
    with contextlib.suppress(redis.AuthenticationError):
        client.ping()
    return True


# Clusters ----------------------------------------------------------------------------------------------------------


@attrs.frozen
class Nodes:
    """A cluster with the slots spread evenly over `nodes`, the primaries; `replicas` stand in their order."""

    nodes: tuple[Server, ...]
    replicas: tuple[Server, ...] = ()

    @property
    def url(self) -> str:
        """The URL of the cluster, by its primaries."""
        return f"redis+cluster://{','.join(map(address, self.nodes))}"

    @property
    def ids(self) -> list[str]:
        """Return the ids of the nodes."""
        return [str(_ask(node, "CLUSTER MYID").decode()) for node in self.nodes]

    def owner(self, slot: int) -> Server:
        """Return the node that has a slot."""
        return self.nodes[min(slot * len(self.nodes) // SLOTS, len(self.nodes) - 1)]


def _ask(server: Server, *words: Any) -> Any:
    with server.client() as client:
        return client.execute_command(*words)


@contextlib.contextmanager
def cluster(program: str, *options: str, nodes: int = 3, replicas: bool = False) -> Generator[Nodes, None, None]:
    """Run a cluster of `nodes` primaries, each with a replica when `replicas` is true."""
    settings = (
        *("--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1", "--cluster-node-timeout", "1500"),
        *("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1", *options),
    )
    with ExitStack() as stack:
        servers = [on_a_port(stack, program, *settings) for _ in range(nodes * (1 + replicas))]
        primaries, followers = servers[:nodes], servers[nodes:]
        for number, server in enumerate(servers):
            _ask(server, "CLUSTER SET-CONFIG-EPOCH", number + 1)
            _ask(server, "CLUSTER MEET", "127.0.0.1", servers[0].port)
        ends = [-(-SLOTS * number // nodes) for number in range(nodes + 1)]
        for number, server in enumerate(primaries):
            _ask(server, "CLUSTER ADDSLOTSRANGE", ends[number], ends[number + 1] - 1)
        for server in servers:
            until(lambda server=server: _knows(server, len(servers)), "all nodes know each other")  # type: ignore[misc]
        for primary, follower in zip(primaries, followers, strict=bool(followers)):
            _ask(follower, "CLUSTER REPLICATE", _ask(primary, "CLUSTER MYID"))
            until(lambda server=follower: _ask(server, "ROLE")[3] == b"connected", "the replica is in step")  # type: ignore[misc]
        for server in servers:
            until(lambda server=server: _sees_all(server, nodes, replicas), "all nodes see all slots")  # type: ignore[misc]
        yield Nodes(tuple(primaries), tuple(followers))


def _knows(server: Server, number: int) -> bool:
    nodes = _ask(server, "CLUSTER NODES").values()
    met = sum(node["connected"] and "handshake" not in node["flags"] for node in nodes)
    return bool(met == number and _ask(server, "CLUSTER INFO")["cluster_state"] == "ok")


def _sees_all(server: Server, nodes: int, replicas: bool) -> bool:
    slots = _ask(server, "CLUSTER SLOTS")
    return len(slots) == nodes and all(len(part) == 3 + replicas for part in slots)


@attrs.frozen
class Handover:
    """A slot that moves from one node to another, step by step."""

    nodes: Nodes
    slot: int
    source: Server
    goal: Server

    @classmethod
    def of(cls, nodes: Nodes, slot: int) -> Self:
        """Return the move of a slot from its node to the next."""
        source = nodes.owner(slot)
        goal = nodes.nodes[(nodes.nodes.index(source) + 1) % len(nodes.nodes)]
        return cls(nodes, slot, source, goal)

    def turned(self) -> Self:
        """Return the move back."""
        return attrs.evolve(self, source=self.goal, goal=self.source)

    def begin(self) -> None:
        """Begin the move: the source redirects requests for keys that it does not have."""
        self._set(self.goal, "IMPORTING", self.source)
        self._set(self.source, "MIGRATING", self.goal)

    def move(self, most: int = 1000) -> int:
        """Move a number of keys; return how many there were."""
        keys = _ask(self.source, "CLUSTER GETKEYSINSLOT", self.slot, most)
        self.take(*keys)
        return len(keys)

    def take(self, *keys: bytes) -> None:
        """Move these keys, those of them that are there."""
        for key in keys:
            _ask(self.source, "MIGRATE", "127.0.0.1", self.goal.port, key, 0, 5000)

    @contextlib.contextmanager
    def begun(self) -> Generator[None, None, None]:
        """Begin the move; after the block move the remaining keys and end it."""
        self.begin()
        try:
            yield
        finally:
            self.move()
            self.end()

    def end(self) -> None:
        """Give the slot to the target, and wait until all nodes know it."""
        for node in (self.goal, self.source, *self.nodes.nodes):
            self._set(node, "NODE", self.goal)

    def back(self) -> None:
        """Move everything back at once."""
        turned = self.turned()
        turned.begin()
        turned.move()
        turned.end()

    def _set(self, node: Server, state: str, other: Server) -> None:
        name = self.nodes.ids[self.nodes.nodes.index(other)]
        _ask(node, "CLUSTER SETSLOT", self.slot, state, name)
