"""The clock of a manager."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

STEP: Final = 60.0
"""Seconds by which two answers of the store can differ from the time between them. Beyond it, its clock has stepped.

The process may also have been suspended: its monotonic clock stands still then.
"""
DISAGREEMENT: Final = 3600.0
"""Seconds by which the store's clock may differ from that of the process. Beyond it, one of the two is wrong."""


class Clock:
    """The store's clock, continued by the monotonic clock of the process between answers of the store.

    Attributes:
        unreported: Seconds by which the store's clock has come to differ from that of the process, or by which it did
            before it returned; 0 if there is nothing to report.
        returns: How often the store's clock has gone back and agreed with that of the process afterwards.
    """

    def __init__(self) -> None:
        self._steady: Callable[[], float] = time.monotonic
        self._follows_store = True
        self._disagreed = 0.0
        self._offset = time.time() - time.monotonic()
        self.unreported = 0.0
        self.returns = 0

    def follow(self, clock: Callable[[], float]) -> None:
        """Follow another clock of the process, for example one that a test sets."""
        self._steady, self._offset, self._follows_store = clock, 0.0, False

    def now(self) -> float:
        """Return seconds since the epoch on the store's clock."""
        return self._steady() + self._offset

    def adjust(self, result: object) -> None:
        """Set the clock by the timestamp of a store's answer, if it has one."""
        at = getattr(result, "at", None)
        if at is None:
            at = getattr(getattr(result, "current", None), "at", None)
        if isinstance(at, float) and self._follows_store:
            offset = at - time.monotonic()
            if abs(offset - self._offset) > STEP:
                self._stepped(offset)
            self._offset = offset

    def agrees(self) -> bool:
        """Return whether the store's clock agrees with the clock of the process.

        Where the process follows another clock, there is only that one.
        """
        return not self._follows_store or abs(self._ahead(self._offset)) <= DISAGREEMENT

    def _ahead(self, offset: float) -> float:
        """Return the seconds by which the store's clock is ahead of that of the process at an offset."""
        return offset + time.monotonic() - time.time()

    def _stepped(self, offset: float) -> None:
        """Note what a step to an offset means for the agreement with the clock of the process."""
        ahead = self._ahead(offset)
        if abs(ahead) > DISAGREEMENT:
            self.unreported = self._disagreed = ahead
            return
        self.unreported, self._disagreed = self._disagreed, 0.0
        if offset < self._offset:
            self.returns += 1
