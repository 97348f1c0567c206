"""The members whose replies wait for the pace of a channel, as a process knows them.

A waking that is told to wait notes here when its member is next, and the workers of the process wake the member at that
instant. Nothing depends on it: the store has the same instant as the member's wake-up, so what is not noted here, or is
lost with the process, is found when the due members are read.
"""

from __future__ import annotations

import math
import threading
from bisect import bisect_left, bisect_right, insort
from typing import Final

KEPT: Final = 10_000
"""The number of members that are noted. Of more, the last ones are left to the reads of the due members."""


class NextSends:
    """Members by the instant at which their replies are next. It can be shared between threads."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._order: list[tuple[float, str]] = []
        self._at: dict[str, float] = {}
        self._guard = threading.Lock()

    def __len__(self) -> int:
        return len(self._at)

    @property
    def first(self) -> float:
        """The earliest instant, in seconds since the epoch; infinity if no member waits."""
        try:
            return self._order[0][0]
        except IndexError:
            return math.inf

    def note(self, member_id: str, at: float) -> None:
        """Note when the replies of a member are next. An earlier note of the member does not count any more."""
        with self._guard:
            known = self._at.get(member_id)
            if known is not None:
                del self._order[bisect_left(self._order, (known, member_id))]
            self._at[member_id] = at
            insort(self._order, (at, member_id))
            if len(self._order) > self._kept:
                del self._at[self._order.pop()[1]]

    def take(self, now: float) -> list[str]:
        """Return the members who are next by now, the earliest first, and forget them."""
        with self._guard:
            place = bisect_right(self._order, now, key=lambda each: each[0])
            taken = [member_id for _, member_id in self._order[:place]]
            del self._order[:place]
            for member_id in taken:
                del self._at[member_id]
            return taken
