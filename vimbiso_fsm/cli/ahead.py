"""A clock that a person moves ahead."""

from __future__ import annotations

import time
from collections.abc import Callable


class Ahead:
    """The clock of the machine, and the seconds by which it was moved ahead.

    Attributes:
        seconds: The seconds.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._move: Callable[[float], None] = lambda _: None

    def __call__(self) -> float:
        """Return seconds since the epoch."""
        return time.time() + self.seconds

    def follow(self, move: Callable[[float], None]) -> None:
        """Name the function that moves the clock of a server by so many seconds, too."""
        self._move = move

    def pass_time(self, seconds: float) -> None:
        """Move the clock ahead."""
        self.seconds += seconds
        self._move(seconds)
