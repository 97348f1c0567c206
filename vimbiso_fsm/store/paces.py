"""The pace of one channel and account, as the store in memory keeps it."""

from __future__ import annotations

import math
from bisect import bisect_left, insort

import attrs

from vimbiso_fsm.store.requests import TakePace
from vimbiso_fsm.store.retention import LONGEST_PACE, PACE_GRACE, PACE_WAIT


def _spread(wait: float) -> float:
    """Return the wait of an address, at most `PACE_WAIT`. Longer ones are spread over the second half of it."""
    over = wait % PACE_WAIT
    return wait if wait <= PACE_WAIT else max(PACE_WAIT - over, over)


@attrs.define
class Queue:
    """The latest sends of a channel and an account, and the addresses that wait for their turn.

    Attributes:
        sends: The instants from which each send does not count any more, the earliest first.
        chats: The instants at which the whole burst of each address is free again.
        waiting: The addresses that wait, by their order.
        places: The order of each address that waits, and the instant at which its place ends.
        ends: The earliest of these instants, or an earlier one.
        paused_until: The end of the pause that the channel has asked for.
    """

    sends: list[float] = attrs.field(factory=list[float])
    chats: dict[str, float] = attrs.field(factory=dict[str, float])
    waiting: list[tuple[float, str]] = attrs.field(factory=list[tuple[float, str]])
    places: dict[str, tuple[float, float]] = attrs.field(factory=dict[str, tuple[float, float]])
    ends: float = math.inf
    paused_until: float = 0.0

    def take(self, asked: TakePace, now: float) -> float:
        """Take a send, or a place in the queue. See `TakePace`."""
        self._forget(now)
        name, order = asked.name, asked.order
        full_at = self.chats.get(name, now)
        wait = round(full_at - now - (asked.chat_burst - 1) * asked.chat_every, 6)
        pause = max(self.paused_until - now, asked.pause, 0.0)
        if asked.pause > 0:
            self.paused_until = now + pause
            return pause
        if wait > 0:
            self._leave(name)
            return max(wait, pause)
        order = min(order, self._leave(name))
        rank = bisect_left(self.waiting, (order, name))
        ahead = rank + len(self.sends) - asked.limit
        if pause > 0:
            return self._stay(order, name, now, pause + _spread(rank // asked.limit * asked.every))
        if ahead < 0:
            insort(self.sends, now + asked.every)
            if asked.chat_every > 0:
                self.chats[name] = full_at + asked.chat_every
            return 0.0
        turns, place = divmod(ahead, asked.limit)
        free_at = self.sends[place] if place < len(self.sends) else now + asked.every
        return self._stay(order, name, now, _spread(free_at - now + turns * asked.every))

    def _stay(self, order: float, name: str, now: float, wait: float) -> float:
        """Put an address into the queue, and return how long it waits."""
        insort(self.waiting, (order, name))
        self.places[name] = (order, now + wait + PACE_GRACE)
        self.ends = min(self.ends, now + wait + PACE_GRACE)
        return wait

    def _leave(self, name: str) -> float:
        """Take an address out of the queue, and return its order there; infinity without a place."""
        order, _ = self.places.pop(name, (math.inf, 0.0))
        if order < math.inf:
            del self.waiting[bisect_left(self.waiting, (order, name))]
        return order

    def _forget(self, now: float) -> None:
        """Forget what has ended, and what was noted while the clock was ahead."""
        longest = now + LONGEST_PACE
        if not now < self.paused_until <= longest:
            self.paused_until = 0.0
        self.sends = [end for end in self.sends if now < end <= longest]
        self.chats = {name: end for name, end in self.chats.items() if now < end <= longest}
        if now >= self.ends or longest < self.ends < math.inf:
            self.places = {name: place for name, place in self.places.items() if now < place[1] <= longest}
            self.waiting = sorted((order, name) for name, (order, _) in self.places.items())
            self.ends = min((end for _, end in self.places.values()), default=math.inf)
