"""The studio of a bot, served on this machine for a browser."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Generator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import attrs
import uvicorn

from vimbiso_fsm import AsyncFlowStateManager, Bot
from vimbiso_fsm.studio import Desk, studio_app
from vimbiso_fsm.studio.access import Access

T = TypeVar("T")
LIMIT: Final = 30.0
"""Seconds after which something that must happen has failed."""


@attrs.frozen
class Site:
    """A studio that is served.

    Attributes:
        origin: Its address.
        door: The address that opens it once.
        desk: What it looks at.
        loop: Its event loop.
    """

    origin: str
    door: str
    desk: Desk
    loop: asyncio.AbstractEventLoop

    @property
    def manager(self) -> AsyncFlowStateManager:
        """The manager at the live store."""
        assert self.desk.manager is not None
        return self.desk.manager

    def run(self, work: Awaitable[T]) -> T:
        """Run something in the event loop of the studio, such as a turn of its manager."""

        async def wait() -> T:
            return await work

        return asyncio.run_coroutine_threadsafe(wait(), self.loop).result(LIMIT)


@contextmanager
def studio_site(bot: Bot, url: str = "", **options: Any) -> Generator[Site]:
    """Serve the studio of a bot.

    Args:
        bot: The bot.
        url: The URL of the server of the live store; "" for the simulator alone.
        options: Further arguments of the desk.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    host = f"127.0.0.1:{listener.getsockname()[1]}"
    access = Access(hosts=(host,))
    begun: list[Site] = []
    ready, ended = threading.Event(), threading.Event()

    async def serve() -> None:
        manager = AsyncFlowStateManager.from_url(url, bot, rates=None) if url else None
        desk = Desk(bot, manager, **options)
        config = uvicorn.Config(studio_app(desk, access), log_level="warning", lifespan="off")
        server = uvicorn.Server(config)
        door = f"http://{host}/?token={access.token}"
        begun.append(Site(f"http://{host}", door, desk, asyncio.get_running_loop()))
        serving = asyncio.create_task(server.serve([listener]))
        ready.set()
        await asyncio.to_thread(ended.wait)
        server.should_exit = server.force_exit = True
        await serving
        if manager is not None:
            await manager.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(LIMIT)
    try:
        yield begun[0]
    finally:
        ended.set()
        thread.join(LIMIT)
