"""The clock of a manager."""

from __future__ import annotations

import time
from collections.abc import Callable


class Clock:
    """The store's clock. Between the store's answers the steady clock of the process continues it."""

    def __init__(self) -> None:
        self._steady: Callable[[], float] = time.monotonic
        self._offset = time.time() - time.monotonic()

    def follow(self, clock: Callable[[], float]) -> None:
        """Follow a clock of the same process, which tests may turn."""
        self._steady, self._offset = clock, 0.0

    def now(self) -> float:
        """Return seconds since the epoch on the store's clock."""
        return self._steady() + self._offset

    def hear(self, result: object) -> None:
        """Set the clock by the timestamp of a store's answer, if it has one."""
        at = getattr(result, "at", None)
        if at is None:
            at = getattr(getattr(result, "current", None), "at", None)
        if isinstance(at, float) and self._steady is time.monotonic:
            self._offset = at - time.monotonic()
