"""The budget of memory: an alarm while a server of the store uses more than a share of its limit.

At the limit a server refuses every write, so no member's turn is stored. The alarm is to come while there is time to
give the server more memory, or to lower the rates.
"""

from __future__ import annotations

import logging
from typing import Final

from vimbiso_fsm.errors import FlowError
from vimbiso_fsm.store.doctor import MEMORY_ALARM
from vimbiso_fsm.store.requests import Usage

ASKED_EVERY: Final = 30.0
"""Seconds between two looks at the memory of the servers."""
SLACK: Final = 0.05
"""The share by which the use must fall below the alarm before the alarm is over."""

_log = logging.getLogger("vimbiso_fsm")


class Budget:
    """Watches the memory of the servers of a store, in one process.

    Attributes:
        usages: The memory of each server, as it was read last.
    """

    def __init__(self, alarm: float = MEMORY_ALARM) -> None:
        """Watch from a share of the limit on.

        Args:
            alarm: The share of `maxmemory` from which the alarm is raised, above 0 and at most 1.

        Raises:
            FlowError: The share is out of range.
        """
        given: object = alarm
        if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < alarm <= 1:
            raise FlowError("", "memory_alarm", f"it is {alarm!r}", "give a share of maxmemory, above 0 and at most 1")
        self.usages: tuple[Usage, ...] = ()
        self._alarm = alarm
        self._raised: set[str] = set()

    @property
    def share(self) -> float | None:
        """The largest share of its limit that a server uses; None where no server is known to have a limit."""
        return max((usage.share for usage in self.usages if usage.limit), default=None)

    def take(self, usages: tuple[Usage, ...]) -> None:
        """Take note of the memory of the servers, and log an alarm that begins or is over."""
        self.usages = usages
        for usage in usages:
            raised = usage.place in self._raised
            if usage.share >= self._alarm and not raised:
                self._raised.add(usage.place)
                _log.error("%s; at the limit every turn is refused: raise maxmemory, or lower the rates", _words(usage))
            elif raised and usage.share < self._alarm - SLACK:
                self._raised.discard(usage.place)
                _log.warning("%s, less than the alarm again", _words(usage))


def _words(usage: Usage) -> str:
    return f"the server {usage.place} uses {usage.share:.0%} of its memory, {usage.used} of {usage.limit} bytes"
