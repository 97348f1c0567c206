"""Senders: the functions that send replies, their answers, and the record of what they have sent.

A sender is called by the process that has committed a turn, at once. That the replies were sent is recorded beside the
member's path: with the member's next commit, or `RECORD_AFTER` seconds later together with what else was sent then.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

from vimbiso_fsm.errors import VimbisoError
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.passed_on import PassedOn
from vimbiso_fsm.messages.replies import Reply
from vimbiso_fsm.messages.sending import Answer
from vimbiso_fsm.operations.sent_notes import Note
from vimbiso_fsm.runtime.base import BaseManager
from vimbiso_fsm.store.requests import MarkSent

if TYPE_CHECKING:
    import asyncio  # not at run time: `import vimbiso_fsm` does not load it

RECORD_AFTER: Final = 1.0
"""Seconds after which it is recorded that replies were sent, unless a commit of the member has done so before."""


class Sender(Protocol):
    """A function that sends replies to a member, and answers with `Sent`, `Later` or `Never`.

    One that raises leaves the outcome unknown, and the replies are sent again: an exception of the network says nothing
    of what the channel has taken. An exception with an attribute `retry_after`, as the libraries of Telegram raise it,
    counts as `Later`. The account of the bot to send from is `channel.account`. A parameter `account` of the function
    is filled with it too, and a parameter `key` with a text that is the same in each attempt to send the same replies,
    for channels that recognise repeats.
    """

    def __call__(self, channel: Channel, replies: Sequence[Reply], /) -> Answer:
        """Send the replies."""
        ...


class AsyncSender(Protocol):
    """An async function that sends replies. See `Sender`."""

    def __call__(self, channel: Channel, replies: Sequence[Reply], /) -> Awaitable[Answer]:
        """Send the replies."""
        ...


class TakesPassedOn(Protocol):
    """A function that takes what passes to a person, and answers with `Sent`, `Later` or `Never`.

    It is given the same again where its answer is not known, because it has raised or its process has ended. It knows
    by `PassedOn.id` what it has taken before, and answers `Sent` then. After `Never` the bot takes the conversation
    back, and the member is told.
    """

    def __call__(self, passed: PassedOn, /) -> Answer:
        """Take what passes."""
        ...


class AsyncTakesPassedOn(Protocol):
    """An async function that takes what passes to a person. See `TakesPassedOn`."""

    def __call__(self, passed: PassedOn, /) -> Awaitable[Answer]:
        """Take what passes."""
        ...


class Recorder:
    """Lets the store know what a sync manager has sent, in a thread that ends when there is nothing to record."""

    def __init__(self, base: BaseManager, perform: Callable[[MarkSent], object]) -> None:
        self._base, self._perform = base, perform
        self._timer: threading.Timer | None = None
        self._process = 0  # the process in which the timer was started
        self._guard = threading.Lock()

    def soon(self) -> None:
        """Record in `RECORD_AFTER` seconds what was sent by then."""
        with self._guard:
            if self._timer is None or self._process != os.getpid():  # after a fork the thread is gone
                timer = threading.Timer(RECORD_AFTER, self._record)
                timer.daemon = True
                timer.start()
                self._timer, self._process = timer, os.getpid()

    def record(self) -> None:
        """Record now what was sent. What the store does not take is recorded later."""
        for request, note in self._base.sent.requests(self._base.bot):
            with suppress(VimbisoError):
                self._perform(request)
                self._base.sent.done(request.member_id, note)

    def _record(self) -> None:
        try:
            self.record()
        finally:
            with self._guard:
                self._timer = None
        if self._base.sent:
            self.soon()

    def close(self) -> None:
        """Record what was sent, and end the thread."""
        with self._guard:
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
            if timer is not threading.current_thread():
                timer.join(RECORD_AFTER)
        self.record()


class AsyncRecorder:
    """Lets the store know what an async manager has sent, in a task of one event loop. See `Recorder`."""

    def __init__(self, base: BaseManager, perform: Callable[[MarkSent], Awaitable[object]]) -> None:
        self._base, self._perform = base, perform
        self._task: asyncio.Task[None] | None = None

    def soon(self) -> None:
        """Record in `RECORD_AFTER` seconds what was sent by then."""
        if self._task is None or self._task.done():
            from asyncio import ensure_future

            self._task = ensure_future(self._record())

    async def record(self) -> None:
        """Record now what was sent. The requests leave together."""
        from asyncio import gather

        await gather(*(self._mark(*each) for each in self._base.sent.requests(self._base.bot)))

    async def _mark(self, request: MarkSent, note: Note) -> None:
        with suppress(VimbisoError):
            await self._perform(request)
            self._base.sent.done(request.member_id, note)

    async def _record(self) -> None:
        from asyncio import sleep

        while self._base.sent:
            await sleep(RECORD_AFTER)
            await self.record()

    async def close(self) -> None:
        """Record what was sent, and end the task."""
        if self._task is not None:
            self._task.cancel()
        await self.record()
