"""Follow the audit of many members, a few reads at a time.

No list of the latest turns of all members exists, because a turn would have to write it. So the audits are read member
by member: those who were seen to talk come first in each round, and the others in turn with what is left.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from vimbiso_fsm.audit.entries import AuditEntry

SHARE_OF_ACTIVE: Final = 0.5
"""The share of the reads of a round that members who were seen to talk have at most."""


class Following:
    """The members that are followed, and how far each of them was read.

    Args:
        since: The instant from which entries are shown.
        reads: The number of reads in a round at most, one for each member.
    """

    def __init__(self, since: datetime, reads: int) -> None:
        self._since = since
        self._reads = reads
        self._active: dict[str, None] = {}
        self._others = deque[str]()
        self._seen: dict[str, int] = {}

    @property
    def rounds(self) -> int:
        """The number of rounds within which each member is read once, however silent."""
        count = len(self._active) + len(self._others)
        if count <= self._reads:
            return 1
        at_least = self._reads - int(self._reads * SHARE_OF_ACTIVE)
        return -(-count // at_least)

    def know(self, members: Iterable[str]) -> None:
        """Take note of the members that there are."""
        there = dict.fromkeys(members)
        self._active = {member: None for member in self._active if member in there}
        kept = [member for member in self._others if member in there]
        new = there.keys() - self._active.keys() - {*kept}
        self._others = deque([*sorted(new), *kept])  # a new member has just said something
        self._seen = {member: seen for member, seen in self._seen.items() if member in there}

    def next_round(self) -> tuple[str, ...]:
        """Return the members to be read in the next round."""
        active = [*self._active]
        count = min(self._reads - len(active), len(self._others))
        others = [self._others.popleft() for _ in range(count)]
        self._others.extend(others)
        return (*active, *others)

    def misses(self, member: str, entries: Sequence[AuditEntry]) -> bool:
        """Return whether older entries of a member may not have been shown either."""
        if not entries:
            return False
        first = entries[0]
        return first.at >= self._since and first.version > self._seen.get(member, 0) + 1 and first.version > 1

    def take(self, member: str, entries: Iterable[AuditEntry]) -> list[AuditEntry]:
        """Return those of the latest entries of a member that were not shown, and note that they are shown."""
        seen = self._seen.get(member, 0)
        new = [entry for entry in entries if entry.version > seen and entry.at >= self._since]
        if new:
            self._seen[member] = new[-1].version
            if member in self._others:
                self._others.remove(member)
            self._active.pop(member, None)
            self._active = {member: None, **self._active}  # who talked last is read first
            while len(self._active) > int(self._reads * SHARE_OF_ACTIVE):
                silent, _ = self._active.popitem()
                self._others.append(silent)
        return new
