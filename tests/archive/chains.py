"""Chains of audit entries for tests of archives."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import attrs

from vimbiso_fsm.audit.entries import entry_for, seal, tombstone
from vimbiso_fsm.store.requests import Entry

BEGAN = datetime(2026, 11, 1, 9, tzinfo=UTC)
"""An instant for tests with a clock of their own. A real server knows how long ago it is: see `chain(began=…)`."""


def chain(
    count: int,
    member_id: str = "m-1",
    *,
    mark: str = "",
    days: float = 0.0,
    refused: bool = False,
    began: datetime = BEGAN,
) -> tuple[Entry, ...]:
    """Return the first entries of a member, whole and linked.

    Args:
        count: The number of entries.
        member_id: The member.
        mark: A text in each entry; another one makes another chain.
        days: The days between two entries.
        refused: Whether each is that of a refused message, so that they can be folded.
        began: The instant of the first entry. A store on a real server drops and archives by age, so there it is now.
    """
    entries: list[Entry] = []
    for version in range(1, count + 1):
        at = began + timedelta(days=days * (version - 1))
        made = entry_for(
            "refusal" if refused else "transition",
            f"token-{version}",
            member_id=member_id,
            version=version,
            at=at,
            channel=("sms", "d"),
            source="q" if refused else "",
            dest="q" if refused else "",
            detail={} if refused else {"mark": mark},
        )
        entries.append(seal(made, b"{}", entries[-1].digest if entries else ""))
    return tuple(entries)


def tomb(entries: tuple[Entry, ...], first: int, last: int, member_id: str = "m-1") -> Entry:
    """Return the tombstone that stands for a range of a chain that begins with version 1."""
    noted = entry_for(
        "erase", "token", member_id=member_id, version=last, at=BEGAN, channel=("", ""), detail={"first": first}
    )
    before = entries[first - 2].digest if first > 1 else ""
    return attrs.evolve(entries[last - 1], body=tombstone(noted, before))
