"""Reading of the audit and of incidents, filtered by channel, flow, run and time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypedDict, TypeVar

import attrs

from vimbiso_fsm.audit.entries import AuditEntry, Incident, life_of_guest
from vimbiso_fsm.audit.flow_audit import FlowAuditLogger
from vimbiso_fsm.engine.salvage import intact_entries
from vimbiso_fsm.errors import DamagedDocument
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.store.requests import Entry, ReadAudit, ReadIncidents

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


@attrs.frozen
class Life:
    """The part of the audit of a guest, or of a merged member, that belongs to the member that it became.

    Attributes:
        member_id: The id of the guest or the merged member.
        entries: Its stored entries of that time, oldest first; at least one.
    """

    member_id: str
    entries: tuple[Entry, ...]


async def read_lives(member_id: str, entries: Sequence[Entry]) -> tuple[Life, ...]:
    """Return the lives of the guests and members that a member was, and of those that they were, the earliest first.

    An id that was merged more than once has a life for each time.

    Args:
        member_id: The member.
        entries: The stored entries of the member. Those that cannot be read are passed over.
    """
    return await _lives(member_id, entries, set())


async def _lives(member_id: str, entries: Sequence[Entry], seen: set[tuple[str, int]]) -> tuple[Life, ...]:
    found: list[Life] = []
    for entry in intact_entries(entries):
        if entry.kind != "move" or "guest" not in entry.detail:
            continue
        earlier, version = str(entry.detail["guest"]), int(entry.detail.get("guest_version", 0))
        if earlier == member_id or (earlier, version) in seen:
            continue
        seen.add((earlier, version))
        # All entries are read, because the latest ones may be of later owners of the channel.
        kept = await ReadAudit(earlier, tolerant=True)
        versions = [known.version for known in life_of_guest(intact_entries(kept), version)]
        if versions:
            life = Life(earlier, tuple(each for each in kept if min(versions) <= each.version <= max(versions)))
            found += (*await _lives(member_id, life.entries, seen), life)
    return tuple(found)


async def read_history(context: Context, member_id: str, filters: Filters) -> tuple[AuditEntry, ...]:
    """Return a member's audit entries, oldest first, with those of the guests and members that the member was.

    Raises:
        DamagedDocument: The audit cannot be read as a whole.
        Unreadable: An entry cannot be read.
    """
    stored = await ReadAudit(member_id, _limit(filters))
    entries = FlowAuditLogger.read(stored)
    lives = await read_lives(member_id, stored)
    earlier = [entry for life in lives for entry in FlowAuditLogger.read(life.entries)]
    return _select(context, (*earlier, *entries), filters)


async def read_incidents(context: Context, member_id: str | None, filters: Filters) -> tuple[Incident, ...]:
    """Return the incidents of a member, or of the store as a whole if `member_id` is None, oldest first.

    Raises:
        Unreadable: An incident cannot be read.
    """
    found = await ReadIncidents(member_id, _limit(filters))
    return _select(context, tuple(map(Incident.read, found)), filters)


async def read_legible(member_id: str, last: int | None = None) -> tuple[AuditEntry, ...]:
    """Return the latest audit entries of a member that are intact; none when the audit is damaged as a whole."""
    try:
        return intact_entries(await ReadAudit(member_id, last, tolerant=True))
    except DamagedDocument:
        return ()


async def merged_before(member_id: str) -> str | None:
    """Return the member into which a guest or member was merged, as its audit tells; None if it ends otherwise."""
    latest = await read_legible(member_id, 1)
    found = latest[0].detail.get("moved_to") if latest and latest[0].kind == "wipe" else None
    return found if isinstance(found, str) else None


def _limit(filters: Filters) -> int | None:
    """The number of latest entries that contain everything asked for; None if all have to be read."""
    given = {name for name, value in filters.items() if value is not None}
    return filters.get("last") if given == {"last"} else None


def _select(context: Context, found: Sequence[T], filters: Filters) -> tuple[T, ...]:
    """Return the entries that fit, in their order."""
    rest: dict[str, Any] = {name: value for name, value in filters.items() if name not in ("last", "channel")}
    if (channel := filters.get("channel")) is not None:
        rest["channels"] = context.bot.digests.all_shown(channel)
    fitting = tuple(item for item in found if FlowAuditLogger.fits(item, **rest))
    last = filters.get("last")
    return fitting if last is None else fitting[max(len(fitting) - max(last, 0), 0) :]
