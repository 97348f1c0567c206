"""What a sync or an async method of a service returns, for a caller that is sync."""

from __future__ import annotations

import asyncio
import inspect
import weakref
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor


class Awaiting:
    """Awaits results on a loop of its own, which lives as long as this object, so that services may keep connections.

    Inside a running loop, as in a test that is async itself, the own loop runs in a thread.
    """

    def __init__(self) -> None:
        self._loop: _Loop | None = None

    def of(self, result: object) -> object:
        """Return a result, awaited if it can be. An exception that it raises is the result."""
        if not inspect.isawaitable(result):
            return result
        if self._loop is None:
            self._loop = _Loop(in_thread=_is_in_loop())
            weakref.finalize(self, self._loop.close)
        return self._loop.run(result)


class _Loop:
    def __init__(self, *, in_thread: bool) -> None:
        self._runner = asyncio.Runner()
        self._thread = ThreadPoolExecutor(1) if in_thread else None

    def run(self, result: Awaitable[object]) -> object:
        async def outcome() -> object:
            try:
                return await result
            except Exception as error:  # noqa: BLE001  # whatever a service raises is the answer of the call
                return error

        if self._thread is None:
            return self._runner.run(outcome())
        return self._thread.submit(lambda: self._runner.run(outcome())).result()

    def close(self) -> None:
        if self._thread is None:
            self._runner.close()
        else:
            self._thread.submit(self._runner.close).result()
            self._thread.shutdown()


def _is_in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
