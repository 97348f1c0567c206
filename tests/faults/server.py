"""A server that a test can kill, stop, restart and deprive of space; its files outlive it."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, Final

import redis

from tests.engines import STARTING

__all__ = ["DURABLE", "OwnServer", "own_server"]

DURABLE: Final = ("--appendonly", "yes", "--appendfsync", "always")
"""Options under which what was acknowledged is on the disk."""


class OwnServer:
    """A server of `program` with its files in `folder`, which listens on a Unix socket there."""

    def __init__(self, program: str, folder: Path, *options: str, environment: Mapping[str, str] | None = None) -> None:
        self.program, self.folder, self.options = program, folder, options
        self.environment = {**os.environ, **(environment or {})}
        self.socket = folder / "s"
        self.process: subprocess.Popen[bytes] | None = None
        self.starts = 0

    @property
    def url(self) -> str:
        """The URL of its Unix socket."""
        return f"unix://{self.socket}"

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        assert self.process is not None
        return self.process.pid

    @property
    def data(self) -> Path:
        """The folder of its append-only files and dumps."""
        return self.folder / "data"

    def client(self) -> Any:
        """Return a plain client, which bypasses the store."""
        return redis.Redis(unix_socket_path=str(self.socket), protocol=2)

    def start(self) -> None:
        """Start it on the files that exist."""
        assert self.process is None
        self.data.mkdir(exist_ok=True)
        self.socket.unlink(missing_ok=True)
        listen = ["--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.data), "--save", ""]
        command = [self.program, *listen, *self.options]
        with (self.folder / "log").open("ab") as log:
            # This process ignores SIGXFSZ, and so will the server: a write beyond the limit fails without a kill.
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, restore_signals=False, env=self.environment
            )
        self.starts += 1
        deadline = time.monotonic() + STARTING
        with self.client() as client:
            while True:
                with contextlib.suppress(redis.ConnectionError):  # it may also be loading still
                    client.ping()
                    return
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"the server did not start: {(self.folder / 'log').read_text()[-500:]}")
                time.sleep(0.01)

    def limit_files(self, largest: int | None) -> None:
        """Limit the size of its files in bytes, as if the disk were full; None lifts the limit."""
        limit = resource.RLIM_INFINITY if largest is None else largest
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """Kill it by SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def ended(self) -> bool:
        """Return whether it has ended by itself; then it can be started again."""
        if self.process is None or self.process.poll() is None:
            return False
        self.process = None
        return True

    def restart(self) -> None:
        """Kill it by SIGKILL, and start it again."""
        self.kill()
        self.start()

    @contextlib.contextmanager
    def stopped(self, seconds: float) -> Generator[None]:
        """Stop it for a number of seconds by SIGSTOP and SIGCONT; its connections stay open."""
        self.signal(signal.SIGSTOP)
        timer = threading.Timer(seconds, self.signal, (signal.SIGCONT,))
        timer.start()
        try:
            yield
        finally:
            timer.join()


@contextlib.contextmanager
def own_server(program: str, *options: str, environment: Mapping[str, str] | None = None) -> Generator[OwnServer]:
    """Run a server, and kill it at the end. `environment`: variables that it gets beside those of this process."""
    with tempfile.TemporaryDirectory(prefix="vimbiso-") as folder:
        server = OwnServer(program, Path(folder), *options, environment=environment)
        server.start()
        try:
            yield server
        finally:
            server.kill()
