"""A value for each event loop, because connections and locks of asyncio serve the loop in which they were made.

A value is made when it is first used in a loop, and closed when the loop shuts down its asynchronous generators, as
`asyncio.run` and `asyncio.Runner` do. A loop may also end without that; its value is then abandoned at the first use in
another loop.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Any, Final, Generic, Protocol, TypeVar
from weakref import WeakSet

CLOSING_TIMEOUT: Final = 5.0
"""Seconds to wait for another thread's event loop to close its value."""


class OfLoop(Protocol):
    """A value that serves one event loop."""

    async def close(self) -> None:
        """Close the value, in its loop; may be called more than once."""

    def abandon(self) -> None:
        """Free the resources of the value outside its loop, which does not run. Nothing can be awaited."""


T = TypeVar("T", bound=OfLoop)


class PerLoop(Generic[T]):
    """The values of one owner, one for each event loop. It may be shared between threads."""

    def __init__(self, make: Callable[[], T]) -> None:
        """Make no value yet; `make` returns the value of the running loop, and is called once for each loop."""
        self._make = make
        self._values: dict[asyncio.AbstractEventLoop, T] = {}
        _all.add(self)

    def get(self) -> T:
        """Return the value of the running event loop.

        Raises:
            RuntimeError: No event loop is running in this thread.
        """
        loop = asyncio.get_running_loop()
        value = self._values.get(loop)
        return self._begin(loop) if value is None else value

    async def close(self) -> None:
        """Close each value in its loop. A value whose loop does not run is abandoned.

        A value can be used again after it was closed.
        """
        here = asyncio.get_running_loop()
        for loop, value in list(self._values.items()):
            if loop is here:
                await value.close()
            elif not await _closed_in(loop, value):
                value.abandon()

    def forget(self) -> object:
        """Begin anew without values, in a process that was forked; return the values."""
        values, self._values = self._values, {}
        return values

    def _begin(self, loop: asyncio.AbstractEventLoop) -> T:
        # No lock: a loop runs in one thread, and a coroutine of a dead loop may run here whenever garbage is collected.
        value = self._values.setdefault(loop, self._make())
        _close_with(loop, value)
        for other in list(self._values):
            if other.is_closed() and (gone := self._values.pop(other, None)) is not None:
                gone.abandon()
        return value


async def _closed_in(loop: asyncio.AbstractEventLoop, value: OfLoop) -> bool:
    """Close a value in its loop, which runs in another thread; return False if the loop does not run."""
    if not loop.is_running():
        return False
    closing = value.close()
    try:
        future = asyncio.run_coroutine_threadsafe(closing, loop)
    except RuntimeError:  # the loop has ended meanwhile
        closing.close()
        return False
    with suppress(Exception):  # the value of another loop is not this caller's concern
        await asyncio.wait_for(asyncio.wrap_future(future), CLOSING_TIMEOUT)
    return True


# The end of a loop -------------------------------------------------------------------------------------------


class _End:
    """The values to close when a loop shuts down its asynchronous generators."""

    def __init__(self) -> None:
        self.values: WeakSet[OfLoop] = WeakSet()
        self._generator = self._wait()
        with suppress(StopIteration):
            self._generator.asend(None).send(None)  # runs to the `yield`; the loop knows the generator from here on

    async def _wait(self) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            for value in list(self.values):
                with suppress(Exception):  # the loop ends, and no caller is left to be told
                    await value.close()


_ends: dict[asyncio.AbstractEventLoop, _End] = {}


def _close_with(loop: asyncio.AbstractEventLoop, value: OfLoop) -> None:
    """Close a value when its loop, which is running, shuts down."""
    for other in list(_ends):
        if other.is_closed():
            _ends.pop(other, None)
    if loop not in _ends:
        _ends[loop] = _End()
    _ends[loop].values.add(value)


# Processes that are forked -----------------------------------------------------------------------------------

_all: WeakSet[PerLoop[Any]] = WeakSet()
_inherited: list[object] = []
"""Values of the parent process. A child neither uses nor closes them: their sockets and selectors are shared."""


def _forget_all() -> None:
    for end in list(_ends.values()):
        _inherited.append(list(end.values))
        end.values.clear()
    _inherited.extend(values.forget() for values in list(_all))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
