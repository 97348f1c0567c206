"""Wipe of a member by an operator: everything stored is removed but the tokens and the audit.

The channels are unlinked first: their next message is a stranger's.

Because the tokens stay, a message that was handled before the wipe is not handled again. The audit records the wipe.
"""

from __future__ import annotations

import itertools

import attrs

from vimbiso_fsm.audit.entries import AuditEntry, entry_for, seal
from vimbiso_fsm.document.document import Document, Passing
from vimbiso_fsm.document.ids import hashed, instant, is_guest_id
from vimbiso_fsm.engine.passing import end_of, passed_on
from vimbiso_fsm.engine.reading import Foreign, Newer, Sound, open_document
from vimbiso_fsm.errors import DamagedDocument, MemberNotFound
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.messages.sending import Sent
from vimbiso_fsm.messages.value import Value
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.operations.effects import PassOn
from vimbiso_fsm.operations.leave import leave, part
from vimbiso_fsm.operations.recover import BY
from vimbiso_fsm.operations.reset import call_of
from vimbiso_fsm.store.requests import (
    Broken,
    Committed,
    FreeChannels,
    Load,
    Quarantine,
    Quarantined,
    ReadQuarantine,
    ReadRecords,
    Stored,
    Wipe,
)


@attrs.frozen(eq=False, repr=False)
class Wiped(Value):
    """The data that a wipe removed.

    Attributes:
        member_id: The member.
        version: The version of the audit entry of the wipe.
        removed: The names of the removed parts; empty if an earlier wipe has removed all.
        call: The call that was pending, as in `Reset`.
        untold: The inboxes that had the conversation, or did not know yet that it has ended, and were not told so: the
            shell has no such inbox, or it did not take it.
    """

    member_id: str
    version: int
    removed: tuple[str, ...] = ()
    call: str = ""
    untold: tuple[str, ...] = ()


async def wipe(context: Context, member_id: str) -> Wiped:
    """Remove the stored data of a member, damaged or not, and keep the tokens and the audit.

    Raises:
        ForeignState: The document is of a flow that the bot never had.
        Contended: Other writers were faster until the patience was over.
        MemberNotFound: Nothing is stored of the member.
    """
    before = await ReadQuarantine(member_id)
    for attempt in itertools.count(1):
        stored = await Load(member_id, previous=True)
        if isinstance(stored, Broken):
            await Quarantine(member_id, stored.head)
            await context.pause(member_id, attempt)
            continue
        if await _lets_go(context, member_id, stored):
            await context.pause(member_id, attempt)
            continue
        has_records, quarantined = await _has_records(member_id), await ReadQuarantine(member_id)
        names = _removed(stored, has_records, quarantined, before)
        if not names:
            if not stored.head.version:
                raise MemberNotFound(member_id)
            return Wiped(member_id, stored.head.version)
        entry, wiped = _wipe_entry(context.bot, member_id, stored, names)
        wiped = attrs.evolve(wiped, untold=await _tell_inboxes(context, member_id, stored))
        sealed = seal(entry, b"", stored.head.digest)
        result = await Wipe(member_id, stored.head, sealed, quarantined)
        if isinstance(result, Broken):  # a key that a load does not read
            await Quarantine(member_id, result.head)
            continue
        if isinstance(result, Committed):
            context.stored.append((entry, attempt, sealed.digest))
            return wiped
        await context.pause(member_id, attempt)
    raise AssertionError("unreachable")


async def _lets_go(context: Context, member_id: str, stored: Stored) -> bool:
    """Unlink the channels of a member first, so that the next speaker on them is a stranger; return whether any was."""
    reading = open_document(context.bot, member_id, stored, instant(stored.at))
    if not isinstance(reading, Sound):
        if not isinstance(reading, Foreign | Newer) and not is_guest_id(member_id):
            await FreeChannels(member_id)  # a damaged document does not tell them, nor does one that was put aside
        return False
    document = reading.document
    if document.leaving:
        await leave(context, document, stored.head)
        return True
    if document.guest or document.moved is not None or not document.channels:
        return False
    try:
        await part(context, document, stored, document.channels)
    except DamagedDocument:  # a key beside the document
        await Quarantine(member_id, stored.head)
    return True


async def _tell_inboxes(context: Context, member_id: str, stored: Stored) -> tuple[str, ...]:
    """Tell the inboxes that a hand-over has ended, because nothing of it will be stored; return those not told.

    What the member said and was not passed on goes with the data. The end has the same name when it is told again.
    """
    reading = open_document(context.bot, member_id, stored, instant(stored.at))
    if not isinstance(reading, Sound):
        return ()
    document = reading.document
    ends = {item.inbox: item for item in document.passing if item.kind == "ended"}
    if (handed := document.handed) is not None:
        token = hashed("wiped", member_id, str(stored.head.version), stored.head.digest)
        ends[handed.inbox] = end_of(handed, token, instant(stored.at))
    told = [name for name, item in ends.items() if name in context.inboxes and await _is_taken(document, item)]
    return tuple(name for name in ends if name not in told)


async def _is_taken(document: Document, item: Passing) -> bool:
    return isinstance(await PassOn(passed_on(document, item)), Sent)


async def _has_records(member_id: str) -> bool:
    """Return whether there are turn records, damaged or not."""
    try:
        return bool(await ReadRecords(member_id))
    except DamagedDocument:
        return True


def _removed(
    stored: Stored, has_records: bool, quarantined: tuple[Quarantined, ...], before: tuple[Quarantined, ...]
) -> tuple[str, ...]:
    """Return the names of the parts that are stored, also of those that the wipe itself has put in quarantine."""
    aside = {item.what for item in quarantined if item not in before}
    parts = {
        "state": stored.document is not None or "state" in aside,
        "previous": stored.previous is not None or "prev" in aside,
        "turns": has_records or "turns" in aside,
        "quarantine": bool(before),
    }
    return tuple(name for name, is_stored in parts.items() if is_stored)


def _wipe_entry(bot: Bot, member_id: str, stored: Stored, names: tuple[str, ...]) -> tuple[AuditEntry, Wiped]:
    """Return the audit entry of a wipe, and its report."""
    now = instant(stored.at)
    reading = open_document(bot, member_id, stored, now)
    if isinstance(reading, Foreign):
        raise reading.error
    document = reading.document if isinstance(reading, Sound) else None
    wiped = Wiped(member_id, stored.head.version + 1, names, call_of(document))
    token = hashed("wipe", member_id, str(stored.head.version), stored.head.digest)
    entry = entry_for(
        "wipe",
        token,
        member_id=member_id,
        version=wiped.version,
        at=now,
        channel=bot.digests.shown(document.channel) if document is not None else ("", ""),
        detail={"removed": names, "call": wiped.call, "by": BY},
    )
    return entry, wiped
