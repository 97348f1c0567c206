"""A network of a constant delay: a proxy in a process of its own, on TCP, in front of the server's socket.

Each chunk of bytes leaves `DELAY` seconds after it arrived, in each direction, and none waits for the one before it.
The delay that was reached is measured, because a process cannot sleep to the microsecond.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Final

import attrs
import redis

__all__ = ["DELAY", "Network", "network"]

DELAY: Final = 0.0003
"""Seconds in each direction, as between two hosts of one data centre."""
_SPIN: Final = 0.0001
"""Seconds before its due time at which a chunk is awaited without sleep, as a sleep ends late."""


@attrs.frozen
class Network:
    """A running proxy.

    Attributes:
        url: The URL of the server through it.
        pid: The process.
        round_trip: Seconds that a PING takes through it, as a median.
    """

    url: str
    pid: int
    round_trip: float


@contextmanager
def network(url: str) -> Generator[Network]:
    """Run the proxy in front of the server's Unix socket `url`."""
    command = [sys.executable, "-m", "tests.bench.network", url.removeprefix("unix://").partition("?")[0]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            through = f"redis://127.0.0.1:{process.stdout.readline().strip()}"
            yield Network(through, process.pid, _round_trip(through))
        finally:
            process.kill()


def _round_trip(url: str) -> float:
    with redis.Redis.from_url(url) as client:
        took: list[float] = []
        for _ in range(201):
            began = time.perf_counter()
            client.ping()
            took.append(time.perf_counter() - began)
    return sorted(took)[100]


def _receive(source: socket.socket, chunks: SimpleQueue[tuple[float, bytes]]) -> None:
    """Put each chunk into the queue, with the instant at which it is due."""
    data = b"-"
    while data:
        try:
            data = source.recv(1 << 16)
        except OSError:
            data = b""
        chunks.put((time.perf_counter() + DELAY, data))


def _send(sink: socket.socket, chunks: SimpleQueue[tuple[float, bytes]]) -> None:
    """Send each chunk when it is due; an empty one ends the connection."""
    while True:
        due, data = chunks.get()
        if (early := due - time.perf_counter() - _SPIN) > 0:
            time.sleep(early)
        while time.perf_counter() < due:
            pass
        try:
            if not data:
                sink.shutdown(socket.SHUT_WR)
                return
            sink.sendall(data)
        except OSError:
            return


def _serve(target: str) -> None:
    """Accept connections until the process is killed; print the port first."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            client, _ = listener.accept()
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            server = socket.socket(socket.AF_UNIX)
            server.connect(target)
            for source, sink in ((client, server), (server, client)):
                chunks: SimpleQueue[tuple[float, bytes]] = SimpleQueue()
                for work, end in ((_receive, source), (_send, sink)):
                    threading.Thread(target=work, args=(end, chunks), daemon=True).start()


if __name__ == "__main__":
    sys.setswitchinterval(1e-5)
    _serve(sys.argv[1])
