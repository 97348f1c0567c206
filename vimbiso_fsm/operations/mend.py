"""Mending of a damaged document: quarantine the damage, salvage the valid fields, find where the member stood.

A member's next message mends a damaged document (`mend`), and so does an operator (`recover`). Both find out in the
same way what is left, and both commit in the same way what was salvaged; only a message has its own turn, whose commit
may bring the salvaged document with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs

from vimbiso_fsm.audit.flow_audit import CommitEvent
from vimbiso_fsm.document.document import Document
from vimbiso_fsm.document.ids import hashed, instant
from vimbiso_fsm.engine import salvage as salvaging
from vimbiso_fsm.engine.commit import commit_of
from vimbiso_fsm.engine.reading import newer_state
from vimbiso_fsm.engine.salvage import Remains, Salvage, resumed
from vimbiso_fsm.errors import DamagedDocument
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.operations.history import read_legible
from vimbiso_fsm.operations.update import updated
from vimbiso_fsm.store.requests import (
    Broken,
    Committed,
    Conflict,
    Head,
    Load,
    Quarantine,
    ReadRecords,
    Record,
    Stored,
)
from vimbiso_fsm.store.retention import RECORDS_KEPT


@attrs.frozen
class Mended:
    """A damaged document was quarantined, and this is what was salvaged. It is not stored yet.

    Attributes:
        head: The head on which the salvaged document is to be committed.
        salvage: The salvaged document, and what was kept and lost.
    """

    head: Head
    salvage: Salvage


async def read_remains(member_id: str) -> tuple[Stored | Broken, Remains]:
    """Read what is stored of a member, and what may tell where the member stood.

    The document before, the turn records and the audit. A damaged list counts as empty.
    """
    stored = await Load(member_id, previous=True)
    records: tuple[Record, ...] = ()
    try:
        records = await ReadRecords(member_id)
    except DamagedDocument:
        records = ()
    return stored, Remains(stored.previous, records, await read_legible(member_id, 2 * RECORDS_KEPT))


async def mend(
    context: Context, member_id: str, stored: Stored | Broken, channel: Channel, *, guest: bool
) -> Mended | Conflict:
    """Quarantine a damaged document and salvage what is valid in it.

    Args:
        context: The context of the operation.
        member_id: The member.
        stored: What was loaded: a key of a wrong type, or a document that is damaged or another member's.
        channel: The channel on which the member writes.
        guest: Whether the member is a guest.

    Returns:
        What was salvaged; a conflict when another worker has mended the document, or when only keys beside it were
        damaged, which are quarantined then.

    Raises:
        NewerState: The document before is a newer release's, and it is that release that can mend this one.
    """
    bot, head = context.bot, stored.head
    data = b"" if isinstance(stored, Broken) else stored.document or b""
    now = instant(max(stored.at, context.now))
    core = salvaging.salvage(bot, data, channel, now, member_id=member_id, guest=guest, version=head.version)
    if isinstance(stored, Broken):  # nothing can be read beside a key of a wrong type before it is out of the way
        aside = await Quarantine(member_id, head)
        if isinstance(aside, Conflict):
            return aside
        remains = await _read_remains_at(member_id, aside.head)
        return Mended(aside.head, salvaging.recover(bot, b"", core, remains))
    remains = await _read_remains_at(member_id, head)
    refuse_newer(bot, member_id, remains.previous, instant(context.now))
    saved = salvaging.recover(bot, data, core, remains)
    aside = await Quarantine(member_id, head)
    return aside if isinstance(aside, Conflict) else Mended(aside.head, saved)


async def _read_remains_at(member_id: str, head: Head) -> Remains:
    """Read the remains. The document before counts only if nothing was committed since `head`."""
    stored, remains = await read_remains(member_id)
    if isinstance(stored, Stored) and stored.head == head:
        return remains
    return attrs.evolve(remains, previous=None)


def refuse_newer(bot: Bot, member_id: str, data: bytes | None, now: datetime) -> None:
    """Leave a damaged document alone while a newer release is at work.

    Raises:
        NewerState: A newer release has stored `data` lately.
    """
    error = newer_state(bot, member_id, data, now)
    if error is not None:
        raise error


def recovery_token(member_id: str, head: Head) -> str:
    """Return the token under which a recovery on this head is committed."""
    return hashed("recovery", member_id, str(head.version), head.digest)


def resumed_with_notice(bot: Bot, member_id: str, head: Head, saved: Salvage, now: datetime) -> Document:
    """Return a salvaged document that asks its question anew and tells the member what has happened."""
    document = resumed(bot, saved.document, head.version + 1, now)
    return salvaging.with_notice(bot, document, saved.words, recovery_token(member_id, head))


async def store_recovery(
    context: Context, member_id: str, head: Head, document: Document, at: float, detail: Mapping[str, Any]
) -> bool:
    """Commit a salvaged document by itself, and report it.

    Args:
        context: The context of the operation.
        member_id: The member.
        head: The head after the quarantine.
        document: The salvaged document.
        at: Seconds since the epoch on the store's clock.
        detail: What the audit says of the recovery.

    Returns:
        Whether it is stored; if not, another writer was faster.

    Raises:
        DocumentTooLarge: The salvaged document does not fit.
    """
    token = recovery_token(member_id, head)
    decision = updated(context.bot, document, document, token, at, version=head.version)
    assert decision.entry is not None
    entry = attrs.evolve(decision.entry, kind="recovery", status="recovered", detail=detail)
    result = await commit_of(attrs.evolve(decision, entry=entry), head)
    if not isinstance(result, Committed):
        return False
    context.told.append(CommitEvent(entry, 1, result.head.digest))
    return True
