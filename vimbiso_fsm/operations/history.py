"""Reading back what the audit and the incidents keep: chosen by channel, flow, run and time.

Each is a `Work`: the sync and the async manager perform the same one.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from datetime import datetime
from typing import Any, TypeVar

import attrs

from vimbiso_fsm.audit.entries import AuditEntry, Incident, life_of_guest
from vimbiso_fsm.audit.flow_audit import FlowAuditLogger
from vimbiso_fsm.errors import DamagedDocument
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.operations.effects import Pause
from vimbiso_fsm.operations.work import Done, Work
from vimbiso_fsm.store.requests import ReadAudit, ReadIncidents, Request

_Told = TypeVar("_Told", AuditEntry, Incident)


@attrs.frozen
class Wanted:
    """What is asked for: the latest `last` of those that fit. `since`, `until`: both included."""

    channel: Channel | None = None
    flow: str | None = None
    run: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    last: int | None = None

    @property
    def most(self) -> int | None:
        """How many of the latest hold all that is wanted; None: nobody knows."""
        filters = (self.channel, self.flow, self.run, self.since, self.until)
        return self.last if filters == (None,) * 5 else None

    def of(self, told: Sequence[_Told]) -> tuple[_Told, ...]:
        """Those that are wanted, in their order."""
        filters = {name: value for name, value in attrs.asdict(self, recurse=False).items() if name != "last"}
        found = tuple(one for one in told if FlowAuditLogger.fits(one, **filters))
        return found if self.last is None else found[max(len(found) - max(self.last, 0), 0) :]


def reading_history(member_id: str, wanted: Wanted) -> Work[tuple[AuditEntry, ...]]:
    """A member's audit entries, oldest first, those of the guests they were before them.

    Raises: DamagedDocument; codec.Unreadable for an entry that cannot be read.
    """
    entries = yield from _audit(member_id, wanted)
    earlier: list[AuditEntry] = []
    for entry in entries:
        if entry.kind == "move":
            guest = yield from _audit(str(entry.detail["guest"]), Wanted())  # others' later lives may be the latest
            earlier += life_of_guest(guest, int(entry.detail.get("guest_version", 0)))
    return Done(wanted.of((*earlier, *entries)))


def _audit(member_id: str, wanted: Wanted) -> Generator[Request | Pause, Any, tuple[AuditEntry, ...]]:
    found = yield ReadAudit(member_id, wanted.most)
    if isinstance(found, DamagedDocument):
        raise found
    return FlowAuditLogger.read(found)


def reading_incidents(member_id: str | None, wanted: Wanted) -> Work[tuple[Incident, ...]]:
    """What happened at a member, or (None) at the store as a whole, and changed no document; oldest first.

    Raises: codec.Unreadable for an incident that cannot be read.
    """
    found = yield ReadIncidents(member_id, wanted.most)
    return Done(wanted.of(tuple(map(Incident.read, found))))
