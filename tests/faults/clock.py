"""Stores whose clock can be moved, by an argument of the script that is 0 in production. They count their answers."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import attrs

from vimbiso_fsm.store.requests import AsyncStore, Commit, ReadDue, ReadDueShards, Request, Store, Stored

__all__ = ["AsyncClocked", "Clock", "Clocked", "Metronome"]


class Metronome:
    """Counts short sleeps of a thread, and so the time that this process had on a machine that others keep busy.

    A thread that waits sees it go on; while the process gets no processor, it stands still.
    """

    STEP = 0.02
    """Seconds of one sleep."""

    def __init__(self) -> None:
        self._steps = 0
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            time.sleep(self.STEP)
            self._steps += 1

    @property
    def seconds(self) -> float:
        """The time so far."""
        return self._steps * self.STEP


@attrs.define
class Clock:
    """A clock that stores share.

    Attributes:
        ahead: Seconds by which it is moved.
        metronome: Measures commits; None measures none.
        answers: How often each kind of answer came.
        slowest: Seconds by the metronome that the slowest commit took.
    """

    ahead: float = 0.0
    metronome: Metronome | None = None
    answers: Counter[str] = attrs.field(factory=Counter)
    slowest: float = 0.0

    def forward(self, seconds: float) -> None:
        """Move the clock forward."""
        self.ahead += seconds

    @contextmanager
    def timing(self, request: Request) -> Generator[None]:
        """Measure how long a commit takes to be answered or to fail."""
        began = self.metronome.seconds if self.metronome else 0.0
        try:
            yield
        finally:
            if self.metronome and isinstance(request, Commit):
                self.slowest = max(self.slowest, self.metronome.seconds - began)

    def asked(self, request: Request) -> Request:
        """Return a request at the time of the clock."""
        if isinstance(request, ReadDue | ReadDueShards) and request.until is None:
            return attrs.evolve(request, until=time.time() + self.ahead)
        return attrs.evolve(request, shift=request.shift + self.ahead) if isinstance(request, Commit) else request

    def answered(self, result: Any) -> Any:
        """Return an answer at the time of the clock; that of a commit is already."""
        self.answers[type(result).__name__] += 1
        return attrs.evolve(result, at=result.at + self.ahead) if isinstance(result, Stored) else result


@attrs.frozen
class Clocked:
    """A store at the time of a clock."""

    store: Store
    clock: Clock

    def perform(self, request: Request) -> Any:
        """Perform a request at the time of the clock."""
        with self.clock.timing(request):
            return self.clock.answered(self.store.perform(self.clock.asked(request)))


@attrs.frozen
class AsyncClocked:
    """An async store at the time of a clock."""

    store: AsyncStore
    clock: Clock

    async def perform(self, request: Request) -> Any:
        """Perform a request at the time of the clock."""
        with self.clock.timing(request):
            return self.clock.answered(await self.store.perform(self.clock.asked(request)))
