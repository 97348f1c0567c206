"""Pure rules of archived entries: what is added, what an erasure leaves, and both parts of a chain as one.

A tombstone and a fold stand for a range of entries, and have the version and the digest of the last of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from vimbiso_fsm.audit.entries import is_erased, unseal
from vimbiso_fsm.audit.folding import first_of
from vimbiso_fsm.errors import ArchiveConflict, Unreadable
from vimbiso_fsm.store.requests import Entry, Head

LAST_VERSION: Final = 2**63 - 1
"""The last version of a range that has no end."""


def continues(member_id: str, checkpoint: Head, entries: Sequence[Entry]) -> bool:
    """Return whether entries can be added after the latest archived one without a look at the others.

    Args:
        member_id: The member.
        checkpoint: The version and the digest of the latest archived entry; `NO_HEAD` if there is none.
        entries: The entries, oldest first; at least one.

    Raises:
        ArchiveConflict: The first entry is the next one, and continues another one than the archived one.
    """
    if first_of(entries[0]) <= checkpoint.version:
        return False
    _check_link(member_id, checkpoint, entries[0])
    return True


def added(member_id: str, archived: Sequence[Entry], entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """Return the archived entries of a member after further ones were added.

    An entry that is there is passed over, and so is one that an archived tombstone or fold stands for. A tombstone and
    a fold take the place of the entries that they stand for.

    Raises:
        ArchiveConflict: An entry differs from the archived one of its version, or continues another one.
    """
    kept = list(archived)
    known = {entry.version: entry for entry in kept}
    ranges = [(first_of(entry), entry.version) for entry in kept if _stands_for_others(entry)]
    for entry in entries:
        same, erases = known.get(entry.version), is_erased(entry)
        if same is not None and same.digest != entry.digest:
            raise ArchiveConflict(member_id, entry.version, same.digest, entry.digest)
        if not erases and (
            any(first <= entry.version < last for first, last in ranges) or (same is not None and is_erased(same))
        ):
            continue
        if erases or _stands_for_others(entry):
            kept = _in_place(kept, entry)
            ranges.append((first_of(entry), entry.version))
        elif same is None:
            place = _place(kept, entry.version)
            if place:
                _check_link(member_id, Head(kept[place - 1].version, kept[place - 1].digest), entry)
            kept.insert(place, entry)
    return tuple(kept)


def erased(
    archived: Sequence[Entry], first: int, last: int, tombstone: Entry | None, body: bytes
) -> tuple[tuple[Entry, ...], tuple[int, ...]]:
    """Return the entries of a member without those of a range, and the versions of the others.

    Places that hold no entry are removed too, because they may hold bytes of one of the range.

    Args:
        archived: The archived entries.
        first: The first version of the range.
        last: The last version of the range.
        tombstone: The tombstone in the store that stands for the range, if there is one.
        body: The body of a tombstone without one in the store; empty for none.
    """
    gone = [entry for entry in archived if entry.version and first <= entry.version <= last]
    if tombstone is None and gone and body:
        tombstone = Entry(gone[-1].version, gone[-1].digest, body)
    kept = [entry for entry in archived if entry.version and not first <= entry.version <= last]
    if tombstone is not None:
        kept = _in_place(kept, tombstone)
    return tuple(kept), tuple(entry.version for entry in gone if entry != tombstone)


def joined(archived: Sequence[Entry], stored: Sequence[Entry]) -> tuple[Entry, ...]:
    """Return the archived and the stored entries of a member as one chain.

    Both keep the same entries for a moment, between their archiving and their removal from the store. The stored ones
    must be read first, so that none is missed. Entries for which the store has a tombstone are not left out: an erasure
    that has not come to the archive is told by a verification.
    """
    sound = next((entry for entry in stored if entry.version), None)
    if sound is None:
        return (*archived, *stored)
    is_kept = any((each.version, each.digest) == (sound.version, sound.digest) for each in archived)
    if is_erased(sound):
        return (*(entry for entry in archived if entry != sound), *stored)
    if is_kept or _stands_for_others(sound):
        return (*(entry for entry in archived if entry.version < first_of(sound)), *stored)
    return (*archived, *stored)


def _stands_for_others(entry: Entry) -> bool:
    return first_of(entry) < entry.version


def _in_place(kept: Sequence[Entry], entry: Entry) -> list[Entry]:
    """Put an entry in place of those that it stands for."""
    rest = [each for each in kept if not first_of(entry) <= each.version <= entry.version]
    rest.insert(_place(rest, entry.version), entry)
    return rest


def _place(kept: Sequence[Entry], version: int) -> int:
    """Return the place after the last entry of an earlier version. A damaged place has none."""
    return next((place for place in range(len(kept), 0, -1) if 0 < kept[place - 1].version < version), 0)


def _check_link(member_id: str, before: Head, entry: Entry) -> None:
    """Check that an entry that is the next one continues the one before it."""
    if first_of(entry) != before.version + 1 or not before.version:
        return
    try:
        previous = unseal(entry).previous
    except Unreadable:
        return  # it is archived as it is; a verification tells it
    if previous != before.digest:
        raise ArchiveConflict(member_id, entry.version, before.digest, previous)
