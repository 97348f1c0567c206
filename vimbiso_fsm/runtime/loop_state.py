"""What an async manager has of each event loop in which it is used."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from vimbiso_fsm.runtime.base import BaseManager
from vimbiso_fsm.runtime.queue import AsyncQueue
from vimbiso_fsm.runtime.sending import AsyncRecorder
from vimbiso_fsm.runtime.shell import CALL_WAIT
from vimbiso_fsm.store.requests import MarkSent

if TYPE_CHECKING:
    import asyncio  # not at run time: `import vimbiso_fsm` does not load it

AT_ONCE: Final = 500
"""The number of messages that an async manager handles at the same time, without those that wait for a call or a
delivery."""
OTHERS_AT_ONCE: Final = 32
"""The number of them that are of members whose documents are not cached, besides those that are: a flood of unknown
senders delays no member whom the process remembers."""


class LoopState:
    """The parts of an async manager that serve one event loop.

    Attributes:
        queue: The queues of the members.
        late: The tasks that store late results of calls.
        starting: The startup check while it runs.
        others: The number of messages that are handled or wait, of members whose documents are not cached.
    """

    def __init__(self) -> None:
        self.queue = AsyncQueue(AT_ONCE, OTHERS_AT_ONCE)
        self.late: set[asyncio.Task[None]] = set()
        self.starting: asyncio.Future[None] | None = None
        self.others = 0
        self._recorder: AsyncRecorder | None = None

    def recorder(self, base: BaseManager, perform: Callable[[MarkSent], Awaitable[object]]) -> AsyncRecorder:
        """Return what lets the store know what was sent in this loop."""
        self._recorder = self._recorder or AsyncRecorder(base, perform)
        return self._recorder

    def started(self, starting: asyncio.Future[None]) -> None:
        """Let the next use check again after a failure."""
        self.starting = None
        if not starting.cancelled():
            starting.exception()  # retrieved here, because the tasks that waited may all be cancelled

    async def close(self) -> None:
        """Wait for late results, at most `CALL_WAIT` seconds."""
        import asyncio

        if self.late:
            _, slow = await asyncio.wait(tuple(self.late), timeout=CALL_WAIT)
            for task in slow:
                task.cancel()
        if self._recorder is not None:
            await self._recorder.close()

    def abandon(self) -> None:
        """Do nothing: the state has no resources outside its loop."""
