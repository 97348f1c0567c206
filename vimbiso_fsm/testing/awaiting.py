"""What a sync or an async method of a service returns, for a caller that is sync."""

from __future__ import annotations

import asyncio
import inspect
import threading
import weakref
from collections.abc import Awaitable


class Awaiting:
    """Awaits results on a loop of its own, which lives as long as this object, so that services may keep connections.

    The loop runs in a thread of its own, because a test may be async itself, and because the object may be collected
    while another loop runs.
    """

    def __init__(self) -> None:
        self._loop: _Loop | None = None

    def of(self, result: object) -> object:
        """Return a result, awaited if it can be. An exception that it raises is the result."""
        if not inspect.isawaitable(result):
            return result
        if self._loop is None:
            self._loop = _Loop()
            weakref.finalize(self, self._loop.close)
        return self._loop.run(result)


class _Loop:
    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="services of a conversation", daemon=True)
        self._thread.start()

    def run(self, result: Awaitable[object]) -> object:
        async def outcome() -> object:
            try:
                return await result
            except Exception as error:  # noqa: BLE001  # whatever a service raises is the answer of the call
                return error

        return asyncio.run_coroutine_threadsafe(outcome(), self._loop).result()

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._loop.shutdown_asyncgens(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
