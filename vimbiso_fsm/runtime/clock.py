"""The clock of a manager."""

from __future__ import annotations

import time
from collections.abc import Callable


class Clock:
    """The store's clock, continued by the monotonic clock of the process between answers of the store."""

    def __init__(self) -> None:
        self._steady: Callable[[], float] = time.monotonic
        self._offset = time.time() - time.monotonic()

    def follow(self, clock: Callable[[], float]) -> None:
        """Follow another clock of the process, for example one that a test sets."""
        self._steady, self._offset = clock, 0.0

    def now(self) -> float:
        """Return seconds since the epoch on the store's clock."""
        return self._steady() + self._offset

    def adjust(self, result: object) -> None:
        """Set the clock by the timestamp of a store's answer, if it has one."""
        at = getattr(result, "at", None)
        if at is None:
            at = getattr(getattr(result, "current", None), "at", None)
        if isinstance(at, float) and self._steady is time.monotonic:
            self._offset = at - time.monotonic()
