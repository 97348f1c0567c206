"""The app and the worker in one process: how they begin, and how they end together.

`serve` runs until it is told to stop. It then ends in this order: no request is taken any more; those on their way are
answered and their replies sent; the worker ends its wakings and returns its shards. If the worker ends by itself, the
requests on their way are ended too, and the error is raised, so that a supervisor starts the process again.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Final

import attrs
import uvicorn
from starlette.types import ASGIApp

from vimbiso_fsm.runtime.worker import AsyncWorker

GRACE: Final = 30.0
"""Seconds for the requests on their way, once the process is to end. A handled message waits for its calls for ten."""
WS_BYTES: Final = 64 << 10
"""Bytes of a frame of a web socket."""
BACKLOG: Final = 2048
"""Connections that wait to be accepted."""


@attrs.frozen
class Listening:
    """Where an app listens.

    Attributes:
        host: The host, such as "127.0.0.1".
        port: The port; 0 for a free one.
        proxies: The addresses or networks of proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` count, separated
            by commas; empty for none.
        grace: Seconds for the requests on their way, once the process is to end.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    proxies: str = ""
    grace: float = GRACE

    def bind(self) -> socket.socket:
        """Bind the address.

        Raises:
            OSError: It cannot be had.
        """
        family, _, _, _, address = socket.getaddrinfo(
            self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, socket.SOCK_STREAM)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
            bound.listen(BACKLOG)
            bound.setblocking(False)
        except OSError:
            bound.close()
            raise
        return bound

    def address(self, bound: socket.socket) -> str:
        """Return the address of the bound socket, `http://HOST:PORT`."""
        host, port = bound.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Stop:
    """Signals that end the process: the first one in order, the second one at once.

    Attributes:
        told: Whether the process was told to stop.
    """

    def __init__(self) -> None:
        self.told = False
        self._stop: Callable[[], object] = lambda: None

    def then(self, stop: Callable[[], object]) -> None:
        """Let the first signal call a function from now on; at once if the signal has come."""
        self._stop = stop
        if self.told:
            stop()

    def _tell(self) -> None:
        self._stop()

    @contextmanager
    def signals(self) -> Generator[None]:
        """Take SIGTERM and SIGINT of the process while the block runs in its event loop.

        They are not handlers of the loop: the second signal ends the process also while code blocks the loop.
        """
        loop = asyncio.get_running_loop()

        def take(number: int, _: FrameType | None) -> None:
            if self.told:
                os._exit(128 + number)
            self.told = True
            loop.call_soon_threadsafe(self._tell)

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, take)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)  # the process ends


class _Server(uvicorn.Server):
    """A server that leaves the signals to its caller."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Capture none."""
        yield


async def serve(
    app: ASGIApp, worker: AsyncWorker | None, bound: socket.socket, listening: Listening, stop: Stop
) -> None:
    """Serve an app and run a worker until they are told to stop.

    Args:
        app: The app.
        worker: The worker, which has not begun; None for no worker.
        bound: The socket that `listening.bind` has returned.
        listening: Where the app listens.
        stop: Tells when to stop.

    Raises:
        BaseException: The worker has ended with it.
    """
    server = _Server(
        uvicorn.Config(
            app,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            ws_max_size=WS_BYTES,
            proxy_headers=bool(listening.proxies),
            forwarded_allow_ips=listening.proxies or None,
            timeout_graceful_shutdown=max(round(listening.grace), 1),
        )
    )

    def end() -> None:
        server.should_exit = True

    if worker is None:
        stop.then(end)
        return await server.serve([bound])
    working = asyncio.ensure_future(worker.run())
    working.add_done_callback(lambda _: end())
    stop.then(end)
    try:
        await server.serve([bound])
    finally:
        worker.stop()
        await working
