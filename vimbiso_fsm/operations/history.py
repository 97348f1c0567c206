"""Reading of the audit and of incidents, filtered by channel, flow, run and time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypedDict, TypeVar

from vimbiso_fsm.audit.entries import AuditEntry, Incident, life_of_guest
from vimbiso_fsm.audit.flow_audit import FlowAuditLogger
from vimbiso_fsm.engine.salvage import intact_entries
from vimbiso_fsm.errors import DamagedDocument
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.store.requests import ReadAudit, ReadIncidents

T = TypeVar("T", AuditEntry, Incident)


class Filters(TypedDict, total=False):
    """The keyword arguments of `history` and `incidents`. Without any, all kept entries are returned.

    Attributes:
        channel: Only entries of this channel.
        flow: Only entries of the flow with this name.
        run: Only entries of the run with this id.
        since: Only entries of this instant or later. A time without a zone is UTC.
        until: Only entries of this instant or earlier. A time without a zone is UTC.
        last: Only this number of the latest entries that fit.
    """

    channel: Channel | None
    flow: str | None
    run: str | None
    since: datetime | None
    until: datetime | None
    last: int | None


async def read_history(member_id: str, filters: Filters) -> tuple[AuditEntry, ...]:
    """Return a member's audit entries, oldest first, with those of the guests that were promoted to the member.

    Raises:
        DamagedDocument: The audit cannot be read as a whole.
        Unreadable: An entry cannot be read.
    """
    entries = FlowAuditLogger.read(await ReadAudit(member_id, _limit(filters)))
    earlier: list[AuditEntry] = []
    for entry in entries:
        if entry.kind == "move":
            # All entries are read, because the latest ones may be of later owners of the channel.
            guest = FlowAuditLogger.read(await ReadAudit(str(entry.detail["guest"])))
            earlier += life_of_guest(guest, int(entry.detail.get("guest_version", 0)))
    return _select((*earlier, *entries), filters)


async def read_incidents(member_id: str | None, filters: Filters) -> tuple[Incident, ...]:
    """Return the incidents of a member, or of the store as a whole if `member_id` is None, oldest first.

    Raises:
        Unreadable: An incident cannot be read.
    """
    found = await ReadIncidents(member_id, _limit(filters))
    return _select(tuple(map(Incident.read, found)), filters)


async def read_legible(member_id: str, last: int | None = None) -> tuple[AuditEntry, ...]:
    """Return the latest audit entries of a member that can be read; none when the audit is damaged as a whole."""
    try:
        return intact_entries(await ReadAudit(member_id, last))
    except DamagedDocument:
        return ()


def _limit(filters: Filters) -> int | None:
    """The number of latest entries that contain everything asked for; None if all have to be read."""
    given = {name for name, value in filters.items() if value is not None}
    return filters.get("last") if given == {"last"} else None


def _select(found: Sequence[T], filters: Filters) -> tuple[T, ...]:
    """Return the entries that fit, in their order."""
    rest: dict[str, Any] = {name: value for name, value in filters.items() if name != "last"}
    fitting = tuple(item for item in found if FlowAuditLogger.fits(item, **rest))
    last = filters.get("last")
    return fitting if last is None else fitting[max(len(fitting) - max(last, 0), 0) :]
