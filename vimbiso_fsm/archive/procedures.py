"""What is done for each request at a store with an archive.

The procedures are coroutines that await requests of the store below and `AtArchive`, like operations, so both stores
share them.

    MoveToArchive   read the oldest entries, append them to the archive, then drop them from the store. A process that
                    ends in between leaves them in both places; the next one passes over those that are archived
    ReadAudit       the entries of the store, preceded by those of the archive
    Erase           first in the store, then in the archive, which keeps the tombstone too: a worker that has read the
                    entries before cannot bring them back
    Scan            the members of both
    Commit, Wipe    set a wake-up where there would be none, so that a worker comes when the entry is old
    SetWakeUp       the same, for the oldest entry

An archive that refuses changes nothing in the store. The refusal is an incident of the store, and the archive is asked
again after `RETRY_DELAY`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import attrs

from vimbiso_fsm.archive.joining import LAST_VERSION, joined
from vimbiso_fsm.archive.keeping import Archive, Archiving
from vimbiso_fsm.audit.entries import Incident, is_erased, unseal
from vimbiso_fsm.audit.folding import first_of
from vimbiso_fsm.document.document import Fields
from vimbiso_fsm.document.ids import instant
from vimbiso_fsm.errors import ArchiveConflict, ArchiveUnavailable, DamagedDocument, Unreadable
from vimbiso_fsm.messages.value import Value
from vimbiso_fsm.store.requests import (
    Commit,
    Committed,
    Conflict,
    DropOldest,
    Effect,
    Entry,
    Erase,
    Erased,
    Head,
    ReadAudit,
    ReadOldest,
    RecordIncident,
    Request,
    Scan,
    SetWakeUp,
    Wipe,
)
from vimbiso_fsm.store.retention import ARCHIVED_HEAD_LIFE

R = TypeVar("R")

RETRY_DELAY: Final = 60.0
"""Seconds after which an archive that has refused is asked again, and a member whose entries could not be moved."""
MOVED_AT_ONCE: Final = 256
"""Entries that are read, archived and dropped in one piece, at most."""
REFUSED_KNOWN: Final = 10_000
"""Members whose entries cannot be moved that are remembered, so that each of them is reported once."""


@attrs.frozen(eq=False, repr=False)
class AtArchive(Effect[R]):
    """Work at the archive. The answer is what `work` returns.

    Attributes:
        work: Does the work. It may block.
    """

    work: Callable[[Archive], R]


@attrs.frozen(eq=False, repr=False)
class MoveToArchive(Effect["Moved"]):
    """Move the entries of a member that exceed the bounds from the store to the archive. Repeatable.

    Attributes:
        member_id: The member.
    """

    member_id: str


@attrs.frozen(eq=False, repr=False)
class Moved(Value):
    """The result of a `MoveToArchive`.

    Attributes:
        member_id: The member.
        entries: The number of entries that were dropped from the store.
        refused: Why entries stay in the store that exceed the bounds; "" if none does.
    """

    member_id: str
    entries: int = 0
    refused: str = ""


class Procedures:
    """The procedures of one store.

    Attributes:
        archiving: The archive and the bounds.
    """

    archiving: Archiving

    def __init__(self, archiving: Archiving, now: Callable[[], float]) -> None:
        """Make the procedures.

        Args:
            archiving: The archive and the bounds.
            now: Returns seconds since the epoch on the store's clock.
        """
        self.archiving = archiving
        self._now = now
        self._refusal = ""
        self._refuses_until = float("-inf")
        self._unmovable: dict[str, int] = {}

    def waking(self, commit: Commit) -> Commit:
        """Return a commit that wakes the member when its entry is old, or when many entries were made."""
        entry = commit.entry
        if commit.document is None or entry is None or commit.stranger:
            return commit
        if entry.version % self.archiving.entries == 0:
            return attrs.evolve(commit, wake_at=min(self._now(), commit.wake_at or float("inf")))
        if commit.wake_at is None:
            return attrs.evolve(commit, wake_at=self._now() + self.archiving.seconds)
        return commit

    async def answer(self, request: Request) -> object:
        """Return the answer to one of `CHANGED`."""
        match request:
            case MoveToArchive(member_id):
                return await self._moved(member_id)
            case ReadAudit():
                return await self._entries(request)
            case Erase():
                return await self._erase(request)
            case Scan():
                return await self._members(await request)
            case Wipe():
                return await self._wipe(request)
            case _:
                assert isinstance(request, SetWakeUp)
                await self._set_wake_up(request)
                return None

    # Moving --------------------------------------------------------------------------------------------------------

    async def _moved(self, member_id: str) -> Moved:
        if self._refusal and self._now() < self._refuses_until:
            return Moved(member_id, 0, self._refusal)
        moved, more = 0, await self._exceeds(member_id)
        while more:
            found = await ReadOldest(member_id, self.archiving.entries + MOVED_AT_ONCE)
            count = self._exceeding(found)
            entries = found[:count]
            if not entries:
                damaged = bool(found) and not found[0].version
                return Moved(member_id, moved, await self._damaged(member_id) if damaged else "")
            refused = await self._append(member_id, entries)
            if refused:
                return Moved(member_id, moved, refused)
            all_old = count == len(found)  # then the latest stays, since the version continues from it
            dropped = count - 1 if all_old else count
            left = Head(found[dropped].version, found[dropped].digest)
            if not await DropOldest(member_id, dropped, left, ARCHIVED_HEAD_LIFE if all_old else None):
                break  # another worker was faster, or they were erased meanwhile
            moved += dropped
            more = len(found) == self.archiving.entries + MOVED_AT_ONCE
        return Moved(member_id, moved)

    async def waiting(self, member_id: str) -> int:
        """Return how many entries of a member in the store exceed the bounds."""
        exceeds = await self._exceeds(member_id)
        return self._exceeding(await ReadAudit(member_id, tolerant=True)) if exceeds else 0

    async def _exceeds(self, member_id: str) -> bool:
        """Return whether the entries may exceed a bound, by the oldest and the latest of them."""
        oldest = await ReadOldest(member_id, 1)
        latest = await ReadAudit(member_id, 1, tolerant=True)
        if not (oldest and latest):
            return False
        count = latest[0].version - oldest[0].version + 1
        return count > self.archiving.entries or not oldest[0].version or self._is_old(oldest[0])

    def _exceeding(self, found: Sequence[Entry]) -> int:
        """Return how many of the oldest entries are to be moved; none behind a place that holds no entry."""
        sound = next((place for place, entry in enumerate(found) if not entry.version), len(found))
        by_age = next((place for place, entry in enumerate(found) if not self._is_old(entry)), len(found))
        return min(sound, max(by_age, len(found) - self.archiving.entries, 0))

    def _is_old(self, entry: Entry) -> bool:
        """Return whether an entry is older than the bound. One that cannot be read has no age, and does not hinder."""
        at = _made_at(entry)
        return at is None or at <= self._now() - self.archiving.seconds

    async def _append(self, member_id: str, entries: Sequence[Entry]) -> str:
        """Append entries to the archive; return why it refuses, or "" when they are there."""
        try:
            await AtArchive(lambda archive: archive.append(member_id, entries))
        except ArchiveUnavailable as error:
            if error.fault != self._refusal:
                await self._report(None, {"fault": error.fault})
            self._refusal, self._refuses_until = error.fault, self._now() + RETRY_DELAY
            return error.fault
        except ArchiveConflict as error:
            facts = {"version": error.version, "archived": error.archived, "stored": error.stored}
            await self._report_once(member_id, error.version, facts)
            return str(error)
        self._refusal = ""
        self._unmovable.pop(member_id, None)
        return ""

    async def _damaged(self, member_id: str) -> str:
        """Report that a place of the audit holds no entry, so that nothing behind it is moved; return that."""
        fault = "the oldest place of the audit holds no entry"
        await self._report_once(member_id, 0, {"fault": fault})
        return fault

    async def _report_once(self, member_id: str, version: int, detail: Fields) -> None:
        if self._unmovable.get(member_id) != version:
            self._unmovable[member_id] = version
            while len(self._unmovable) > REFUSED_KNOWN:
                self._unmovable.pop(next(iter(self._unmovable)), None)
            await self._report(member_id, detail)

    async def _report(self, member_id: str | None, detail: Fields) -> None:
        await RecordIncident(member_id, Incident(instant(self._now()), "archive", member_id, detail=detail).body)

    # Reading, erasing ----------------------------------------------------------------------------------------------

    async def _entries(self, request: ReadAudit) -> tuple[Entry, ...]:
        stored = await request
        last, member_id = request.last, request.member_id
        if last is not None and (request.tolerant or len(stored) >= last or not stored):
            return stored  # a turn reads the latest entries tolerantly, and does not depend on the archive
        archived = await AtArchive(lambda archive: archive.read(member_id))
        if not request.tolerant and not all(entry.version for entry in archived):
            raise DamagedDocument(member_id, "a line of its archive holds no entry")
        found = joined(archived, stored)
        return found if last is None else found[-last:]

    async def _members(self, stored: tuple[str, ...]) -> tuple[str, ...]:
        """Return the members of both. The store has all of them, unless their latest entries were lost."""
        try:
            archived = await AtArchive(lambda archive: archive.members())
        except ArchiveUnavailable:
            return stored
        return tuple(sorted({*stored, *archived}))

    async def _erase(self, erase: Erase) -> Erased | Conflict:
        """Erase in the store, and then in the archive what its tombstones stand for, also those of before."""
        member_id = erase.member_id
        before = {entry.version for entry in await ReadAudit(member_id, tolerant=True)}
        answer = await erase
        if isinstance(answer, Conflict):
            return answer
        stored = await ReadAudit(member_id, tolerant=True)
        first, last = (0, LAST_VERSION) if erase.all else (erase.first, erase.last)
        tombstones = [entry for entry in stored if is_erased(entry)]
        stands = next((entry for entry in reversed(tombstones) if first <= entry.version <= last), None)

        def erase_archived(archive: Archive) -> set[int]:
            gone = {*archive.erase(member_id, first, last, stands, erase.body)} if last else set[int]()
            for tombstone in tombstones:
                gone.update(archive.erase(member_id, first_of(tombstone), tombstone.version, tombstone, b""))
            return gone

        return Erased(answer.entries + len(await AtArchive(erase_archived) - before))

    # Wake-ups ------------------------------------------------------------------------------------------------------

    async def _wipe(self, wipe: Wipe) -> object:
        answer = await wipe
        if isinstance(answer, Committed):
            await SetWakeUp(wipe.member_id, answer.head, self._now() + self.archiving.seconds)
        return answer

    async def _set_wake_up(self, request: SetWakeUp) -> None:
        due = await self._due(request.member_id, request.expected.version)
        if due is not None and (request.wake_at is None or due < request.wake_at):
            request = attrs.evolve(request, wake_at=due)
        await request

    async def _due(self, member_id: str, version: int) -> float | None:
        """Return when entries of a member at this version are to be moved next; None if all are archived."""
        most, now = self.archiving.entries, self._now()
        oldest = await ReadOldest(member_id, 2)
        if not oldest:
            return None
        refuses = self._refuses_until if self._refusal else now
        again = max(now + RETRY_DELAY, refuses)
        may_exceed = version - oldest[0].version >= most  # entries that stand for others make the difference larger
        if may_exceed and len(await ReadOldest(member_id, most + 1)) > most:
            return again if self._refusal or member_id in self._unmovable else now
        at = _made_at(oldest[0])
        due = now if at is None else at + self.archiving.seconds
        if due > now:
            return due
        if len(oldest) == 1 and refuses <= now:
            return None  # the latest entry stays in the store, and was archived
        return again


def _made_at(entry: Entry) -> float | None:
    try:
        return unseal(entry).at.timestamp() if entry.version else None
    except (Unreadable, OverflowError):
        return None


CHANGED: Final = frozenset({MoveToArchive, ReadAudit, Erase, Scan, Wipe, SetWakeUp})
"""The requests that are answered with the archive, besides `Commit`."""
