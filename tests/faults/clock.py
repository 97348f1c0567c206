"""Stores whose clock can be moved, by an argument of the script that is 0 in production. They count their answers."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import attrs

from vimbiso_fsm.store.requests import AsyncStore, Commit, ReadDue, Request, Store, Stored

__all__ = ["AsyncClocked", "Clock", "Clocked"]


@attrs.define
class Clock:
    """A clock that stores share.

    Attributes:
        ahead: Seconds by which it is moved.
        answers: How often each kind of answer came.
        slowest: Seconds that the slowest commit took.
    """

    ahead: float = 0.0
    answers: Counter[str] = attrs.field(factory=Counter)
    slowest: float = 0.0

    def forward(self, seconds: float) -> None:
        """Move the clock forward."""
        self.ahead += seconds

    @contextmanager
    def timing(self, request: Request) -> Generator[None]:
        """Measure how long a commit takes to be answered or to fail."""
        began = time.monotonic()
        try:
            yield
        finally:
            if isinstance(request, Commit):
                self.slowest = max(self.slowest, time.monotonic() - began)

    def asked(self, request: Request) -> Request:
        """Return a request at the time of the clock."""
        if isinstance(request, ReadDue) and request.until is None:
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
