"""Folds: one audit entry that stands for a row of messages that left the member at the same question.

Refused answers can be sent without end, and no two of them tell more than one. The latest `UNFOLDED` entries of a
member are never folded, so each turn whose record is kept has an entry of its own. In a row before them, the fold keeps
how many messages there were, when the first and the last came, and which reasons were given. It has the version, the
digest and the instant of the last entry of the row and continues the entry before the first, so the chain stays whole;
a check of its own, in place of that digest, covers its text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final

import attrs

from vimbiso_fsm.audit.entries import ERASED, AuditEntry, body_of, is_erased, unseal
from vimbiso_fsm.document.document import Fields
from vimbiso_fsm.errors import Unreadable
from vimbiso_fsm.store.requests import Entry, Fold, is_digest, long_digest
from vimbiso_fsm.store.retention import FOLD_EVERY, FOLD_LEAST, UNFOLDED

FOLDED: Final = "folded"
"""The kind of an entry that stands for a row of others."""
CODES: Final = 16
"""Reasons that a fold counts one by one, at most. An author can make any number of them."""
OTHERS: Final = "…"
"""Stands for all other reasons."""
_CHECKED: Final = re.compile(rb'(\{.*),"check":"([0-9a-f]{16})"\}', re.DOTALL)
"""A body with a check of its own at its end."""


def stays(entry: AuditEntry) -> bool:
    """Return whether an entry is that of a message that left the member at the same question and changed nothing."""
    return (
        (entry.kind in ("refusal", "page") or (entry.kind == "command" and entry.trigger == "help"))
        and entry.source == entry.dest != ""
        and not entry.changed
        and not entry.detail
        and all(step.dest is None for step in entry.steps)
    )


def is_fold_due(entry: AuditEntry) -> bool:
    """Return whether the audit is to be folded after the commit of an entry: each `FOLD_EVERY` versions in a row."""
    return entry.version % FOLD_EVERY == 0 and stays(entry)


def folds(member_id: str, stored: Sequence[Entry]) -> tuple[Fold, ...]:
    """Return the folds of the rows among a member's entries.

    Args:
        member_id: The member.
        stored: The latest entries of the member, oldest first, those that are not to be folded included. A damaged
            entry stands for itself: no row contains it.
    """
    rows: list[list[tuple[Entry, AuditEntry]]] = [[]]
    for entry in stored[:-UNFOLDED]:
        read = _read(entry)
        row = rows[-1]
        if read is None:
            rows.append([])
        elif row and _continues(row[-1], entry, read):
            row.append((entry, read))
        else:
            rows.append([(entry, read)])
    long = (row for row in rows if len(row) > 1 and _count(row) >= FOLD_LEAST)
    return tuple(_fold(member_id, [read for _, read in row]) for row in long)


def first_version(entry: AuditEntry) -> int:
    """Return the version of an entry; of one that stands for others, that of the first of them."""
    first = entry.detail.get("first") if entry.kind in (FOLDED, ERASED) else None
    return first if isinstance(first, int) else entry.version


def first_of(entry: Entry) -> int:
    """Return the first version that a stored entry stands for; its own where the text says nothing else."""
    with suppress(Unreadable):
        read = unseal(entry)
        return first_version(read) if read.version == entry.version else entry.version
    return entry.version


def first_instant(entry: AuditEntry) -> datetime:
    """Return the instant of an entry; of a fold, that of the first entry that it stands for."""
    with suppress(KeyError, TypeError, ValueError):
        return datetime.fromisoformat(entry.detail["since"]) if entry.kind == FOLDED else entry.at
    return entry.at


def is_whole(entry: Entry) -> bool:
    """Return whether the text of a stored entry is what was written: that of its digest, or of a fold's own check.

    A tombstone of an erasure has neither.
    """
    return is_digest(entry.digest, entry.body) or _has_own_check(entry.body) or is_erased(entry)


def _read(entry: Entry) -> AuditEntry | None:
    """Read an entry that may belong to a row; None for any other, and for a damaged one."""
    if not is_whole(entry):
        return None
    try:
        read = unseal(entry)
    except Unreadable:
        return None
    return read if read.version == entry.version and (read.kind == FOLDED or stays(read)) else None


def _continues(last: tuple[Entry, AuditEntry], entry: Entry, read: AuditEntry) -> bool:
    before, known = last
    return (
        read.previous == before.digest
        and first_version(read) == before.version + 1
        and _question(read) == _question(known)
    )


def _question(entry: AuditEntry) -> tuple[object, ...]:
    return entry.member_id, entry.channel, entry.flow, entry.run, entry.dest


def _count(row: Sequence[tuple[Entry, AuditEntry]]) -> int:
    return row[-1][1].version - first_version(row[0][1]) + 1


def _fold(member_id: str, row: Sequence[AuditEntry]) -> Fold:
    first, last = row[0], row[-1]
    begins, codes = first_version(first), _codes(row)
    detail = {
        "first": begins,
        "since": first_instant(first).isoformat(),
        "count": last.version - begins + 1,
        "codes": codes,
    }
    nothing: Fields = {}
    fold = attrs.evolve(
        last,
        kind=FOLDED,
        trigger="",
        steps=(),
        codes=tuple(codes),
        before=nothing,
        after=nothing,
        verdict=nothing,
        detail=detail,
    )
    return Fold(member_id, begins, last.version, _with_check(body_of(fold, last.document, first.previous)))


def _codes(row: Sequence[AuditEntry]) -> dict[str, int]:
    """Return how often each reason was given: the first `CODES` of them, and all others together as "…"."""
    counts: Counter[str] = Counter()
    for entry in row:
        given: Mapping[str, int] = entry.detail["codes"] if entry.kind == FOLDED else Counter(entry.codes)
        for code, times in given.items():
            counts[code if code in counts or len(counts) < CODES else OTHERS] += times
    return dict(counts)


def _with_check(body: bytes) -> bytes:
    return b'%b,"check":"%b"}' % (body[:-1], _check(body))


def _has_own_check(body: bytes) -> bool:
    found = _CHECKED.fullmatch(body)
    return found is not None and _check(found[1] + b"}") == found[2]


def _check(body: bytes) -> bytes:
    return long_digest(body)[:16].encode()
