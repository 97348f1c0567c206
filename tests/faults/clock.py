"""Stores whose clock can be moved, by the script's offset argument, which is 0 in production.

And what they answer is counted.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import attrs

from vimbiso_fsm.store.requests import AsyncStore, Commit, Request, Store, Stored

__all__ = ["AsyncClocked", "Clock", "Clocked"]


@attrs.define
class Clock:
    """`ahead`: seconds by which the store's clock is moved, for whoever shares this.

    `answers`: how often each kind of answer came; `slowest`: seconds that the slowest commit took.
    """

    ahead: float = 0.0
    answers: Counter[str] = attrs.field(factory=Counter)
    slowest: float = 0.0

    def forward(self, seconds: float) -> None:
        """Let so much time pass."""
        self.ahead += seconds

    @contextmanager
    def timing(self, request: Request) -> Generator[None]:
        """Measures how long a commit takes to be answered, or to fail."""
        began = time.monotonic()
        try:
            yield
        finally:
            if isinstance(request, Commit):
                self.slowest = max(self.slowest, time.monotonic() - began)

    def asked(self, request: Request) -> Request:
        """The request at that time."""
        return attrs.evolve(request, shift=request.shift + self.ahead) if isinstance(request, Commit) else request

    def answered(self, result: Any) -> Any:
        """The answer at that time; a commit's already is."""
        self.answers[type(result).__name__] += 1
        return attrs.evolve(result, at=result.at + self.ahead) if isinstance(result, Stored) else result


@attrs.frozen
class Clocked:
    """A store at the time of `clock`."""

    store: Store
    clock: Clock

    def perform(self, request: Request) -> Any:
        """Do what `request` says, then."""
        with self.clock.timing(request):
            return self.clock.answered(self.store.perform(self.clock.asked(request)))


@attrs.frozen
class AsyncClocked:
    """The same, awaited."""

    store: AsyncStore
    clock: Clock

    async def perform(self, request: Request) -> Any:
        """Do what `request` says, then."""
        with self.clock.timing(request):
            return self.clock.answered(await self.store.perform(self.clock.asked(request)))
