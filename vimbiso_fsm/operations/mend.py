"""Repair of a damaged document: quarantine it, salvage its valid fields, and restore the member's run.

A member's next message repairs a damaged document, and so does an operator (`recover`). Both read the same remains. The
salvaged document is committed with the turn of the message, or without a turn by `store_recovery`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime

import attrs

from vimbiso_fsm.document.document import Document
from vimbiso_fsm.document.ids import hashed, instant
from vimbiso_fsm.engine import salvage as salvaging
from vimbiso_fsm.engine.reading import Sound, foreign_state, newer_state, open_document, refuse_encrypted
from vimbiso_fsm.engine.salvage import Remains, Salvage, resumed
from vimbiso_fsm.errors import DamagedDocument
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.operations.history import read_legible
from vimbiso_fsm.operations.update import commit, updated, with_entry
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
from vimbiso_fsm.store.retention import UNFOLDED


@attrs.frozen
class Mended:
    """A salvaged document, not stored yet; the damaged one is quarantined.

    Attributes:
        head: The head on which the salvaged document is to be committed.
        salvage: The salvaged document, with the names of the fields that were kept and lost.
    """

    head: Head
    salvage: Salvage


async def read_remains(member_id: str) -> tuple[Stored | Broken, Remains]:
    """Read a member's document, and the data from which the member's run can be restored.

    These are the previous document, the turn records and the audit. A damaged list counts as empty.
    """
    stored = await Load(member_id, previous=True)
    records: tuple[Record, ...] = ()
    with suppress(DamagedDocument):
        records = await ReadRecords(member_id)
    refuse_encrypted(member_id, *(record.body for record in records))
    entries = await read_legible(member_id, UNFOLDED)
    return stored, Remains(stored.previous, records, entries, stored.head.digest)


async def mend(
    context: Context, member_id: str, stored: Stored | Broken, channel: Channel, *, guest: bool
) -> Mended | Conflict | None:
    """Quarantine a damaged document and salvage what is valid in it.

    Nothing is used of a document that is not what was written, unless the audit says that only its head is not. Then it
    is stored again as it is.

    Args:
        context: The context of the operation.
        member_id: The member.
        stored: The loaded data: a damaged key, or a document that is damaged or another member's.
        channel: The channel on which the member writes.
        guest: Whether the member is a guest.

    Returns:
        The salvaged document. A conflict when another worker has repaired it, or when only keys beside it were damaged,
        which are quarantined then. None when the document is stored again as it was.

    Raises:
        NewerState: A newer release has stored the previous document, and can repair this one.
        ForeignState: The previous document is of a flow that the bot never had, so this one is another bot's too.
    """
    bot, head = context.bot, stored.head
    now = instant(max(stored.at, context.now))

    def saved(data: bytes, head: Head, remains: Remains) -> Salvage:
        core = salvaging.salvage(bot, data, channel, now, member_id=member_id, guest=guest, version=head.version)
        return salvaging.recover(bot, data, core, remains)

    if isinstance(stored, Broken):
        data = await proven_document(member_id, stored)
        refuse_others(bot, member_id, data or stored.previous, instant(context.now))
        # The other keys cannot be read until the damaged key is quarantined.
        moved = await Quarantine(member_id, head)
        if isinstance(moved, Conflict):
            return moved
        whole = open_document(bot, member_id, Stored(moved.head, data or None, stored.at), now)
        if isinstance(whole, Sound):
            await store_recovery(context, member_id, moved.head, whole.document, context.now, as_it_was(whole.document))
            return None
        remains = attrs.evolve(await _read_remains_at(member_id, moved.head), unproven=stored.document or b"")
        return Mended(moved.head, saved(data, moved.head, remains))
    remains = await _read_remains_at(member_id, head)
    refuse_others(bot, member_id, remains.previous, instant(context.now))
    found = saved(stored.document or b"", head, remains)
    moved = await Quarantine(member_id, head)
    return moved if isinstance(moved, Conflict) else Mended(moved.head, found)


async def proven_document(member_id: str, broken: Broken) -> bytes:
    """Return the document beside a damaged head, if the audit says that it is the latest one; else nothing.

    Raises:
        EncryptedState: A turn record is encrypted, and its key is not at hand.
    """
    if broken.document is None:
        return b""
    with suppress(DamagedDocument):
        refuse_encrypted(member_id, *(record.body for record in await ReadRecords(member_id)))
    entries = await read_legible(member_id, 1)
    data = broken.ciphertext if broken.ciphertext is not None else broken.document
    return broken.document if salvaging.proves(entries, broken.head, data) else b""


def as_it_was(document: Document) -> dict[str, object]:
    """Return the detail of the audit entry of a document that lost nothing."""
    return Salvage(document, ("document",), ("head",), source="document").detail


async def _read_remains_at(member_id: str, head: Head) -> Remains:
    """Read the remains. The previous document counts only if nothing was committed since `head`."""
    stored, remains = await read_remains(member_id)
    if isinstance(stored, Stored) and stored.head == head:
        return remains
    return attrs.evolve(remains, previous=None)


def refuse_others(bot: Bot, member_id: str, data: bytes | None, now: datetime) -> None:
    """Refuse to repair a document that another bot or a newer release, which may be able to read it, has stored.

    Args:
        bot: The bot.
        member_id: The member.
        data: The previous document, which tells whose the damaged one is.
        now: The store's clock.

    Raises:
        NewerState: A newer release has stored `data` within `NEWER_STATE_GRACE`.
        ForeignState: `data` is of a flow that the bot never had.
        EncryptedState: `data` is encrypted, and its key is not at hand.
    """
    refuse_encrypted(member_id, data)
    error = foreign_state(bot, member_id, data) or newer_state(bot, member_id, data, now)
    if error is not None:
        raise error


def recovery_token(member_id: str, head: Head) -> str:
    """Return the token under which a recovery on this head is committed."""
    return hashed("recovery", member_id, str(head.version), head.digest)


def resumed_with_notice(bot: Bot, member_id: str, head: Head, saved: Salvage, now: datetime) -> Document:
    """Return a salvaged document that asks its question again, with a notice to the member in its outbox."""
    token = recovery_token(member_id, head)
    document = resumed(bot, saved.document, head.version + 1, now, token)
    return salvaging.with_notice(bot, document, saved.words, token)


async def store_recovery(
    context: Context, member_id: str, head: Head, document: Document, at: float, detail: Mapping[str, object]
) -> bool:
    """Commit a salvaged document without a turn, and report it.

    Args:
        context: The context of the operation.
        member_id: The member.
        head: The head after the quarantine.
        document: The salvaged document.
        at: Seconds since the epoch on the store's clock.
        detail: The detail of the audit entry.

    Returns:
        Whether it is stored. If not, another writer was faster.

    Raises:
        DocumentTooLarge: The salvaged document does not fit.
    """
    token = recovery_token(member_id, head)
    decision = updated(context.bot, document, document, token, at, version=head.version)
    recovery = with_entry(decision, kind="recovery", status="recovered", detail=detail)
    return isinstance(await commit(context, recovery, head), Committed)
