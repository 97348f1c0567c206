"""Erasure of a member by an operator: nothing that says anything about the person is left in the store.

    leave    each channel becomes a guest's, who gets the tokens of handled messages, which are hashes
    wipe     the document, the one before it, the turn records and the quarantined data are removed
    Erase    the audit of each guest that the member was: the entries of that life become one tombstone
    Erase    the member's own audit becomes one tombstone; the tokens and the incidents are removed

Each step may be repeated. The tombstone keeps the version and the digest of the latest entry, so the chain goes on
from it, and a worker with an old copy still loses its commit.
"""

from __future__ import annotations

import itertools

import attrs

from vimbiso_fsm.audit.entries import ERASED, entry_for, is_erased, tombstone
from vimbiso_fsm.audit.folding import first_of
from vimbiso_fsm.document.ids import hashed, instant, is_guest_id
from vimbiso_fsm.errors import MemberNotFound
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.operations.history import Life, read_lives
from vimbiso_fsm.operations.recover import BY
from vimbiso_fsm.operations.wipe import Wiped, wipe
from vimbiso_fsm.store.requests import Conflict, Entry, Erase, FreeChannels, Load, ReadAudit


@attrs.frozen
class Erasure:
    """The result of an erasure.

    Attributes:
        member_id: The member.
        entries: The number of audit entries that were erased, those of the guests that the member was included; 0 if
            all was erased before.
        guests: The number of these guests.
        removed: The names of the removed parts, as of a wipe.
        call: The call that was pending, as in `Reset`.
        untold: The inboxes that were not told of the end of a hand-over, as of a wipe.
    """

    member_id: str
    entries: int
    guests: int = 0
    removed: tuple[str, ...] = ()
    call: str = ""
    untold: tuple[str, ...] = ()


async def erase(context: Context, member_id: str) -> Erasure:
    """Erase a member.

    Raises:
        Contended: Other writers were faster until the patience was over.
        ForeignState, NewerState: The document is of another bot, or of a newer release.
        MemberNotFound: Nothing is stored of the member.
    """
    for attempt in itertools.count(1):
        entries = await ReadAudit(member_id, tolerant=True)
        freed = await FreeChannels(member_id) if not entries else 0
        if not entries and not freed:
            raise MemberNotFound(member_id)
        if len(entries) == 1 and is_erased(entries[0]) and (await _was_erased(member_id)):
            return Erasure(member_id, 0)
        wiped = await wipe(context, member_id) if entries else Wiped(member_id, 0)
        await FreeChannels(member_id)  # those of which no document told
        entries = await ReadAudit(member_id, tolerant=True)
        lives = await read_lives(member_id, entries)
        erased = 0
        for life in lives:
            erased += await _erase_entries(context, life, await ReadAudit(life.member_id, tolerant=True))
        done = await _erase_all(context, member_id, entries)
        if done is not None:
            guests = len({life.member_id for life in lives})
            return Erasure(member_id, erased + done, guests, wiped.removed, wiped.call, wiped.untold)
        await context.pause(member_id, attempt)
    raise AssertionError("unreachable")


async def _was_erased(member_id: str) -> bool:
    """Erase what an earlier erasure that was ended may have left, and return whether that is all.

    The keys of the member's own can be kept in another store.
    """
    return not isinstance(await Erase(member_id, 0, 0, b"", all=True), Conflict)


async def _is_gone(member_id: str) -> bool:
    stored = await Load(member_id)
    return getattr(stored, "document", b"") is None


def _tombstone(context: Context, member_id: str, entries: list[Entry], previous: str, at: float) -> bytes:
    last = entries[-1].version
    first = min(map(first_of, entries))
    detail = {"erased": len(entries), "first": first, "by": BY}
    token = hashed("erase", member_id, str(last), entries[-1].digest)
    noted = entry_for(ERASED, token, member_id=member_id, version=last, at=instant(at), channel=("", ""), detail=detail)
    return tombstone(noted, previous)


async def _erase_entries(context: Context, life: Life, entries: tuple[Entry, ...]) -> int:
    """Replace the entries of one life in the audit of a guest; return their number."""
    guest, first, last = life.member_id, life.entries[0].version, life.entries[-1].version
    gone = [entry for entry in entries if first <= entry.version <= last]
    if not gone:
        return 0
    if all(map(is_erased, gone)):
        await Erase(guest, 0, 0, b"")  # the end of an earlier erasure may not have come to the keys of the guest's own
        return 0
    before = [entry for entry in entries if 0 < entry.version < first]
    body = _tombstone(context, guest, gone, before[-1].digest if before else "", context.now)
    # The tokens at a guest stay: messages of the channel are recognised by them.
    answer = await Erase(guest, first, last, body, all=not is_guest_id(guest) and await _is_gone(guest))
    return 0 if isinstance(answer, Conflict) else answer.entries


async def _erase_all(context: Context, member_id: str, entries: tuple[Entry, ...]) -> int | None:
    """Replace the whole audit and remove what is left; return the number of entries, or None after a conflict."""
    gone = [entry for entry in entries if entry.version]
    body = _tombstone(context, member_id, gone, "", context.now) if gone else b""
    answer = await Erase(member_id, 0, gone[-1].version if gone else 0, body, all=True)
    return None if isinstance(answer, Conflict) else answer.entries
