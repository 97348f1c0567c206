"""TODO."""

from __future__ import annotations

import itertools

import attrs

from vimbiso_fsm.audit.entries import AuditEntry, entry_for, seal
from vimbiso_fsm.audit.flow_audit import CommitEvent
from vimbiso_fsm.document.ids import hashed, instant
from vimbiso_fsm.engine.reading import faults
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.operations.effects import Pause
from vimbiso_fsm.operations.recover import BY, NothingStored
from vimbiso_fsm.operations.reset import call_of
from vimbiso_fsm.operations.work import Done, Work
from vimbiso_fsm.store.requests import (
    Broken,
    Committed,
    Load,
    Quarantine,
    Quarantined,
    ReadQuarantine,
    ReadRecords,
    Stored,
    Wipe,
)


@attrs.frozen
class Wiped:
    """What was removed. `version`: of the entry that says so. `removed`: names of what there was; none when nothing was
    left. `call`: as in `Reset`."""

    member_id: str
    version: int
    removed: tuple[str, ...] = ()
    call: str = ""


def wiping(bot: Bot, member_id: str) -> Work[Wiped]:
    """Remove what is stored of a member, damaged or not; tokens and audit stay, so nothing is done twice.

    Raises: NothingStored.
    """
    for attempt in itertools.count(1):
        stored: Stored | Broken = yield Load(member_id, previous=True)
        if isinstance(stored, Broken):
            yield Quarantine(member_id, stored.head)
            yield Pause(attempt)
            continue
        records, aside = (yield ReadRecords(member_id)), (yield ReadQuarantine(member_id))
        names = _removed(stored, records, aside)
        if not names:
            if not stored.head.version:
                raise NothingStored(member_id)
            return Done(Wiped(member_id, stored.head.version))
        entry, wiped = _wipe_entry(bot, member_id, stored, names)
        sealed = seal(entry, b"", stored.head.digest)
        result = yield Wipe(member_id, stored.head, sealed, aside)
        if isinstance(result, Broken):  # a key that a load does not look at
            yield Quarantine(member_id, result.head)
            continue
        if isinstance(result, Committed):
            return Done(wiped, (CommitEvent(entry, attempt, sealed.digest),))
        yield Pause(attempt)
    raise AssertionError("unreachable")


def _removed(stored: Stored, records: object, aside: tuple[Quarantined, ...]) -> tuple[str, ...]:
    parts = {
        "state": stored.document is not None,
        "previous": stored.previous is not None,
        "turns": bool(records),
        "set aside": bool(aside),
    }
    return tuple(name for name, there in parts.items() if there)


def _wipe_entry(bot: Bot, member_id: str, stored: Stored, names: tuple[str, ...]) -> tuple[AuditEntry, Wiped]:
    document = faults(bot, stored.document)[0] if stored.document is not None else None
    wiped = Wiped(member_id, stored.head.version + 1, names, call_of(document))
    token = hashed("wipe", member_id, str(stored.head.version), stored.head.digest)
    entry = entry_for(
        "wipe",
        token,
        member_id=member_id,
        version=wiped.version,
        at=instant(stored.at),
        channel=document.channel if document is not None else None,
        detail={"removed": names, "call": wiped.call, "by": BY},
    )
    return entry, wiped
