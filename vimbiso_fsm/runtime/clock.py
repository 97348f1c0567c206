"""TODO."""

from __future__ import annotations

import time
from collections.abc import Callable


class Clock:
    """The store's clock, kept between answers by the worker's own steady one."""

    def __init__(self) -> None:
        self._steady: Callable[[], float] = time.monotonic
        self._offset = time.time() - time.monotonic()

    def follow(self, clock: Callable[[], float]) -> None:
        """Be the store's own clock, which is at hand here and may be turned."""
        self._steady, self._offset = clock, 0.0

    def now(self) -> float:
        """Seconds since the epoch, on the store's clock as last heard."""
        return self._steady() + self._offset

    def hear(self, result: object) -> None:
        """Set by the instant that a store's answer carries."""
        at = getattr(result, "at", None)
        if at is None:
            at = getattr(getattr(result, "current", None), "at", None)
        if isinstance(at, float) and self._steady is time.monotonic:
            self._offset = at - time.monotonic()
