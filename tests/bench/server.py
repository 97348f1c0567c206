"""The server of the benchmark: its placement, its settings and its counters."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import attrs
import redis

from vimbiso_fsm.store.embedded import EmbeddedServer

__all__ = ["Counters", "Placement", "Server", "placements"]


@attrs.frozen
class Placement:
    """The CPUs of client and server."""

    name: str
    client: int
    server: int

    def __str__(self) -> str:
        return f"{self.name}: client on CPU {self.client}, server on CPU {self.server}"


def placements() -> tuple[Placement, ...]:
    """Return the possible placements: both on one CPU and, where two can be used, each on its own."""
    if not hasattr(os, "sched_setaffinity"):
        return ()
    first, *others = sorted(os.sched_getaffinity(0))
    one = Placement("one core", first, first)
    return (one, Placement("two cores", others[0], first)) if others else (one,)


def _pin(pid: int, cpu: int) -> None:
    """Pin every thread of a process."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {cpu})


@attrs.frozen
class Counters:
    """The counters of the server since its start.

    Attributes:
        round_trips: How often it read from a client.
        commands: The commands that it received.
        cpu: Seconds of CPU time.
    """

    round_trips: int
    commands: int
    cpu: float

    def since(self, before: Counters) -> Counters:
        """Return what was counted since `before`, without the request that read it."""
        return Counters(
            self.round_trips - before.round_trips - 1, self.commands - before.commands, self.cpu - before.cpu
        )


SENT = ("get", "set", "eval", "evalsha")
"""The commands that clients send here; what a script does inside is no command sent."""


class Server:
    """The embedded server, with a connection of the benchmark."""

    def __init__(self, engine: EmbeddedServer) -> None:
        self.pid = engine.pid
        self._client = redis.Redis.from_url(engine.url, decode_responses=True)
        self.url = engine.url

    @classmethod
    @contextmanager
    def start(cls, fsync: str) -> Generator[Server]:
        """Start the server.

        Raises:
            EmbeddedServerError: It could not be started.
        """
        with TemporaryDirectory() as folder, EmbeddedServer.start(folder, fsync="everysec") as engine:
            server = cls(engine)
            server._client.config_set("appendfsync", fsync)
            yield server
            server._client.close()

    def __str__(self) -> str:
        about = self._client.info("server")
        name = about.get("server_name", "redis")
        version = about.get(f"{name}_version", about["redis_version"])
        fsync = self._client.config_get("appendfsync")["appendfsync"]
        return f"{name} {version} on a Unix socket, appendonly yes, appendfsync {fsync}"

    def place(self, placement: Placement, *others: int) -> None:
        """Pin client and server with all their threads, and the processes `others` beside the server."""
        for pid in (self.pid, *others):
            _pin(pid, placement.server)
        _pin(os.getpid(), placement.client)

    def memory(self) -> int:
        """Return the peak memory of the server, in bytes."""
        return int(self._client.info("memory")["used_memory_peak"])

    def counters(self) -> Counters:
        """Return the counters."""
        info = self._client.info("everything")
        sent = sum(info.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in SENT)
        return Counters(info["total_reads_processed"], sent, info["used_cpu_user"] + info["used_cpu_sys"])
