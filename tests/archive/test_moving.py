"""Entries move from the store to the archive: nothing is dropped before it is archived, and both answer as one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.archive.chains import BEGAN, chain, tomb
from vimbiso_fsm.archive.joining import LAST_VERSION
from vimbiso_fsm.archive.json_lines import JsonLinesArchive
from vimbiso_fsm.archive.keeping import Archiving
from vimbiso_fsm.archive.procedures import RETRY_DELAY, AtArchive, Moved, MoveToArchive, Procedures
from vimbiso_fsm.archive.store import ArchivedStore
from vimbiso_fsm.audit.entries import Incident
from vimbiso_fsm.audit.flow_audit import FlowAuditLogger
from vimbiso_fsm.audit.folding import folds
from vimbiso_fsm.audit.trail import faults, read_trail
from vimbiso_fsm.errors import ArchiveUnavailable, FlowError
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.store.requests import (
    NO_HEAD,
    Commit,
    DropOldest,
    Entry,
    Erase,
    Fold,
    Head,
    ReadAudit,
    ReadDue,
    ReadIncidents,
    Request,
    Scan,
    SetWakeUp,
    Wipe,
    shard_of,
)
from vimbiso_fsm.store.retention import AUDIT_LIFE, DAY

ENTRIES = chain(20)


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.at = BEGAN.timestamp()

    def __call__(self) -> float:
        """Return the instant."""
        return self.at


class Refusing(JsonLinesArchive):
    """An archive that refuses while `fault` says so."""

    fault = ""

    def append(self, member_id: str, entries: Any, /) -> None:
        if self.fault:
            raise ArchiveUnavailable(self.place, self.fault)
        super().append(member_id, entries)

    def members(self) -> tuple[str, ...]:
        if self.fault:
            raise ArchiveUnavailable(self.place, self.fault)
        return super().members()

    def read(self, member_id: str, /) -> tuple[Entry, ...]:
        if self.fault:
            raise ArchiveUnavailable(self.place, self.fault)
        return super().read(member_id)


class Bench:
    """A store in memory with an archive in files that keeps five entries and thirty days."""

    def __init__(self, folder: Path, **bounds: Any) -> None:
        self.clock = Clock()
        self.inner = MemoryStore(self.clock)
        self.archive = Refusing(folder)
        self.archiving = Archiving(self.archive, **{"entries": 5, **bounds})
        self.store = ArchivedStore(self.inner, self.archiving, self.clock)

    def commit(self, entries: tuple[Entry, ...] = ENTRIES, member_id: str = "m-1", **more: Any) -> None:
        """Commit entries that the store has not yet."""
        for entry in entries:
            head = Head(entry.version - 1, entries[entry.version - 2].digest) if entry.version > 1 else NO_HEAD
            token = f"{member_id} {entry.digest}"
            self.store.perform(Commit(member_id, head, token, token, "", b"{}", entry, b"{}", **more))

    def hot(self, member_id: str = "m-1") -> tuple[Entry, ...]:
        """Return the entries in the store."""
        return self.inner.perform(ReadAudit(member_id, tolerant=True))

    def both(self, member_id: str = "m-1") -> tuple[Entry, ...]:
        """Return the entries of both as one."""
        return self.store.perform(ReadAudit(member_id))

    def move(self, member_id: str = "m-1") -> Moved:
        """Move what exceeds the bounds."""
        return self.store.perform(MoveToArchive(member_id))

    def incidents(self, member_id: str | None = None) -> list[Incident]:
        """Return the incidents of the store or of a member."""
        found = self.inner.perform(ReadIncidents(member_id))
        return [*map(Incident.read, found)]

    def due(self, until: float | None = None, member_id: str = "m-1") -> bool:
        """Return whether the member is due."""
        return member_id in self.inner.perform(ReadDue(shard_of(member_id), until))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A store with an archive."""
    return Bench(tmp_path)


def test_the_latest_entries_stay(bench: Bench):
    """Entries above the count are moved, the others stay, and both parts are one chain that verifies."""
    bench.commit(ENTRIES[:5])
    assert (bench.move(), bench.archive.members()) == (Moved("m-1"), ())
    bench.commit(ENTRIES)
    assert bench.move() == Moved("m-1", 15)
    assert (bench.hot(), bench.archive.read("m-1")) == (ENTRIES[15:], ENTRIES[:15])
    assert bench.both() == ENTRIES
    assert FlowAuditLogger.faults(bench.both()) == ()
    for last in (1, 5, 6, 19, 20, 30):
        assert bench.store.perform(ReadAudit("m-1", last)) == ENTRIES[-last:]
    assert bench.move() == Moved("m-1")


def test_old_entries_are_moved_and_the_latest_stays_for_the_version(bench: Bench):
    """Entries older than the bound are moved; the latest is archived and stays, and the version continues for ever."""
    entries = chain(4, days=10)
    bench.commit(entries)
    bench.clock.at += 41 * DAY
    assert bench.move() == Moved("m-1", 2)
    assert (bench.hot(), bench.archive.read("m-1")) == (entries[2:], entries[:2])
    bench.clock.at += 60 * DAY
    assert bench.move() == Moved("m-1", 1)
    assert (bench.hot(), bench.archive.read("m-1")) == (entries[3:], entries)
    bench.clock.at += 3 * AUDIT_LIFE
    assert (bench.hot(), bench.both(), bench.move()) == (entries[3:], entries, Moved("m-1"))
    bench.commit(chain(5, days=10)[:5])
    assert bench.both() == chain(5, days=10)


def test_a_process_that_ends_anywhere_loses_nothing(tmp_path: Path):
    """Wherever a move ends, each entry is in the store or in the archive, and the next move ends the work."""
    steps = 0
    for end in range(100):
        bench = Bench(tmp_path / str(end))
        bench.commit()
        move = Procedures(bench.archiving, bench.clock).answer(MoveToArchive("m-1"))
        try:
            request: Any = move.send(None)
            for _ in range(end):
                request = move.send(performed(bench, request))
        except StopIteration:
            break
        finally:
            move.close()
        steps += 1
        assert bench.both() == ENTRIES
        assert {*bench.hot(), *bench.archive.read("m-1")} == {*ENTRIES}
        assert FlowAuditLogger.faults(bench.both()) == ()
        bench.move()
        assert (bench.hot(), bench.archive.read("m-1")) == (ENTRIES[15:], ENTRIES[:15])
    assert steps >= 5


def performed(bench: Bench, request: Request) -> object:
    """Perform an effect of a move."""
    return request.work(bench.archive) if isinstance(request, AtArchive) else bench.inner.perform(request)


def test_entries_are_archived_before_they_are_dropped(bench: Bench):
    """The archive holds each entry at the moment at which the store is asked to drop it."""
    bench.commit()
    dropped = 0
    perform = bench.inner.perform

    def watched(request: Request) -> object:
        nonlocal dropped
        if isinstance(request, DropOldest):
            dropped += request.count
            assert set(bench.hot()[: request.count]) <= set(bench.archive.read("m-1"))
        return perform(request)

    bench.inner.perform = watched  # type: ignore[assignment, method-assign]  # the type of the answer does not matter
    bench.move()
    assert dropped == 15


def test_two_workers_at_once_move_each_entry_once(tmp_path: Path):
    """Two moves of one member, in every order of their steps, leave one whole chain."""
    for pause in range(8):
        bench = Bench(tmp_path / str(pause))
        bench.commit()
        move = Procedures(bench.archiving, bench.clock).answer(MoveToArchive("m-1"))
        request: Any = move.send(None)
        try:
            for step in range(100):
                if step == pause:
                    bench.move()
                request = move.send(performed(bench, request))
        except StopIteration:
            pass
        assert (bench.hot(), bench.archive.read("m-1")) == (ENTRIES[15:], ENTRIES[:15])


def test_an_archive_that_refuses_keeps_the_entries_in_the_store(bench: Bench):
    """A refusal drops nothing, is one incident, and is tried again after a delay; then everything is moved."""
    bench.commit()
    bench.archive.fault = "full"
    said = f"the archive {bench.archive.place} refuses: full"
    for _ in range(3):
        assert bench.move() == Moved("m-1", 0, said)
        bench.clock.at += RETRY_DELAY + 1
    assert bench.hot() == ENTRIES
    [incident] = bench.incidents()
    assert (incident.kind, incident.detail["fault"]) == ("archive", said)
    bench.clock.at -= 1
    bench.move()
    bench.archive.fault = ""
    bench.clock.at += RETRY_DELAY - 1
    assert bench.move().refused != "", "it is not asked before the delay is over"
    bench.clock.at += 1
    assert bench.move() == Moved("m-1", 15)
    assert bench.both() == ENTRIES


def test_the_latest_entries_are_read_without_the_archive(bench: Bench):
    """A turn that looks for the latest entries does not depend on the archive; reading all of them says why not."""
    bench.commit()
    bench.move()
    bench.archive.fault = "down"
    assert bench.store.perform(ReadAudit("m-1", 3)) == ENTRIES[17:]
    assert bench.store.perform(ReadAudit("m-1", 32, tolerant=True)) == ENTRIES[15:]
    for request in (ReadAudit("m-1"), ReadAudit("m-1", tolerant=True), ReadAudit("m-1", 32)):
        with pytest.raises(ArchiveUnavailable, match="down"):
            bench.store.perform(request)


def test_one_number_with_two_entries_is_an_incident(bench: Bench):
    """Where archive and store have two entries of one version, neither changes; an incident and `verify` say so."""
    bench.archive.append("m-1", chain(8, mark="another"))
    bench.commit()
    for _ in range(3):
        assert bench.move().refused != ""
    assert (bench.hot(), bench.archive.read("m-1")) == (ENTRIES, chain(8, mark="another"))
    [incident] = bench.incidents("m-1")
    assert (incident.kind, incident.detail["version"]) == ("archive", 1)
    assert (incident.detail["archived"], incident.detail["stored"]) == (
        chain(1, mark="another")[0].digest,
        ENTRIES[0].digest,
    )
    assert any("follows entry 8" in fault for fault in faults(read_trail(bench.store, "m-1")))


def test_a_damaged_place_stays_and_is_an_incident(bench: Bench):
    """Behind a place of the store that holds no entry nothing is moved, since it may be put right."""
    bench.commit()
    audit = bench.inner._members["m-1"].audit
    bench.inner._members["m-1"].audit = ((audit[0][0], Entry(0, "", b"damage")), *audit[1:])
    for _ in range(2):
        assert bench.move().refused == "the oldest place of the audit holds no entry"
    assert (len(bench.hot()), bench.archive.members()) == (20, ())
    assert [incident.kind for incident in bench.incidents("m-1")] == ["archive"]


def test_an_erasure_reaches_both(bench: Bench):
    """An erasure of a range that is partly archived leaves one tombstone; a worker from before brings nothing back."""
    bench.commit()
    stale = Procedures(bench.archiving, bench.clock).answer(MoveToArchive("m-1"))
    request: Any = stale.send(None)
    while not isinstance(request, AtArchive):
        request = stale.send(performed(bench, request))
    bench.move()
    mark = tomb(ENTRIES, 1, 18)
    assert bench.store.perform(Erase("m-1", 1, 18, mark.body)).entries == 18  # type: ignore[union-attr]
    request.work(bench.archive)
    assert bench.both() == (mark, *ENTRIES[18:])
    assert bench.archive.read("m-1") == (mark,)
    assert FlowAuditLogger.faults(bench.both()) == ()
    bench.move()
    assert FlowAuditLogger.faults(bench.both()) == ()


def test_a_range_that_is_archived_alone_is_erased(bench: Bench):
    """An erasure of a range of which the store keeps nothing leaves its tombstone in the archive."""
    bench.commit()
    bench.move()
    mark = tomb(ENTRIES, 3, 9)
    assert bench.store.perform(Erase("m-1", 3, 9, mark.body)).entries == 7  # type: ignore[union-attr]
    assert bench.both() == (*ENTRIES[:2], mark, *ENTRIES[9:])
    assert FlowAuditLogger.faults(bench.both()) == ()
    bench.archive.fault = "down"
    with pytest.raises(ArchiveUnavailable):
        bench.store.perform(ReadAudit("m-1"))


def test_a_member_is_due_when_the_oldest_entry_is_old(bench: Bench):
    """A commit without a wake-up, a wipe and a settled wake-up wake the member when an entry is old, and no earlier."""
    month = 30 * DAY
    bench.commit(ENTRIES[:1])
    assert (bench.due(bench.clock.at + month - 1), bench.due(bench.clock.at + month + 1)) == (False, True)
    head = Head(1, ENTRIES[0].digest)
    bench.store.perform(SetWakeUp("m-1", head))
    assert (bench.due(bench.clock.at + month - 1), bench.due(bench.clock.at + month + 1)) == (False, True)
    bench.store.perform(SetWakeUp("m-1", head, bench.clock.at + 5))
    assert bench.due(bench.clock.at + 5)
    bench.store.perform(Wipe("m-1", head, ENTRIES[1]))
    assert bench.due(bench.clock.at + month + 1)
    bench.clock.at += month
    bench.move()
    bench.store.perform(SetWakeUp("m-1", Head(2, ENTRIES[1].digest)))
    assert not bench.due(bench.clock.at + 100 * month), "all is archived"


def test_many_entries_wake_the_member_at_once(bench: Bench):
    """Each time as many entries were made as the store keeps, the member is due, however long the session lasts."""
    bench.commit(ENTRIES[:4], wake_at=bench.clock.at + 300)
    assert not bench.due()
    bench.commit(ENTRIES[:5], wake_at=bench.clock.at + 300)
    assert bench.due()


def test_a_member_with_too_many_entries_is_due_at_once(bench: Bench):
    """A settled wake-up is now while more entries are stored than the bound, and later where they cannot be moved."""
    bench.commit()
    head = Head(20, ENTRIES[19].digest)
    bench.store.perform(SetWakeUp("m-1", head))
    assert bench.due()
    bench.archive.append("m-1", chain(1, mark="another"))
    bench.move()
    bench.store.perform(SetWakeUp("m-1", head))
    assert (bench.due(), bench.due(bench.clock.at + RETRY_DELAY + 1)) == (False, True)
    bench.archive.erase("m-1", 0, LAST_VERSION, None, b"")
    bench.move()
    bench.store.perform(SetWakeUp("m-1", head))
    assert (bench.due(), bench.due(bench.clock.at + DAY)) == (False, False)


def test_folded_entries_are_counted_once(bench: Bench):
    """A member whose many versions are folded into few entries is not woken for them."""
    bench.commit(chain(100, refused=True))
    bench.store.perform(Fold("m-1", 1, 97, folds("m-1", chain(100, refused=True))[0].body))
    bench.store.perform(SetWakeUp("m-1", Head(100, chain(100, refused=True)[-1].digest)))
    assert not bench.due(bench.clock.at + DAY)


def test_a_member_stays_due_while_the_archive_refuses(bench: Bench):
    """A member whose entries could not be moved is woken again after the delay."""
    bench.commit(ENTRIES[:3])
    bench.clock.at += 31 * DAY
    bench.archive.fault = "down"
    bench.move()
    bench.store.perform(SetWakeUp("m-1", Head(3, ENTRIES[2].digest)))
    assert (bench.due(), bench.due(bench.clock.at + RETRY_DELAY + 1)) == (False, True)


def test_a_stranger_is_left_alone(bench: Bench):
    """A commit of a stranger sets no wake-up: what is kept of a stranger ends with the day."""
    bench.commit(ENTRIES[:1], stranger=True)
    assert not bench.due(bench.clock.at + 100 * DAY)


def test_a_scan_finds_members_of_both(bench: Bench):
    """Members of the store and of the archive are found alike; a refusing archive hinders no worker that looks."""
    bench.commit(ENTRIES[:1])
    bench.archive.append("m-0", chain(1, "m-0"))
    assert bench.store.perform(Scan()) == ("m-0", "m-1")
    bench.archive.fault = "down"
    assert bench.store.perform(Scan()) == ("m-1",)


@pytest.mark.parametrize("bounds", [{"entries": 0}, {"entries": 1.5}, {"entries": 10_001}, {"days": 0}, {"days": 401}])
def test_bounds_that_are_none_are_refused(bounds: dict[str, Any]):
    """Bounds out of their range raise an error that says what to give."""
    with pytest.raises(FlowError, match="give"):
        Archiving("folder", **bounds)


def test_one_entry_may_be_all_that_stays(tmp_path: Path):
    """With a bound of one entry the latest stays, and each other is archived."""
    bench = Bench(tmp_path, entries=1)
    bench.commit(chain(600))
    assert bench.move().entries == 599
    assert (len(bench.hot()), bench.both()) == (1, chain(600))


def test_interrupted_erasure_is_ended_by_the_next_move(bench: Bench):
    """A tombstone of the store that comes to the archive removes there what it stands for."""
    bench.commit()
    bench.move()
    mark = tomb(ENTRIES, 1, 17)
    bench.inner.perform(Erase("m-1", 1, 17, mark.body))
    bench.clock.at += 31 * DAY
    bench.move()
    assert bench.archive.read("m-1")[0] == attrs.evolve(mark)
    assert len(bench.both()) == 4


def test_a_fold_takes_the_place_of_what_it_stands_for(bench: Bench):
    """A fold that is made while a worker archives the row leaves one whole chain, and comes to the archive in turn."""
    entries = chain(100, refused=True)
    bench.commit(entries)
    stale = Procedures(bench.archiving, bench.clock).answer(MoveToArchive("m-1"))
    request: Any = stale.send(None)
    while not isinstance(request, DropOldest):
        request = stale.send(performed(bench, request))
    assert len(bench.archive.read("m-1")) == 95
    [fold] = folds("m-1", entries)
    bench.store.perform(fold)
    with pytest.raises(StopIteration):
        stale.send(performed(bench, request))
    assert (len(bench.hot()), FlowAuditLogger.faults(bench.both())) == (33, ())
    assert bench.move() == Moved("m-1", 28)
    bench.archive.append("m-1", entries[:95])
    assert (len(bench.both()), FlowAuditLogger.faults(bench.both())) == (33, ())


def test_a_fold_stands_for_the_part_of_its_row_that_is_archived(bench: Bench):
    """A fold in the store, of a row whose first entries a worker has archived before, is read in their place."""
    entries = chain(100, refused=True)
    bench.commit(entries)
    bench.archive.append("m-1", entries[:30])
    [fold] = folds("m-1", entries)
    bench.store.perform(fold)
    assert (len(bench.both()), FlowAuditLogger.faults(bench.both())) == (33, ())


def test_an_erased_fold_stays_erased(bench: Bench):
    """A fold that a worker has read before an erasure does not bring back what was erased."""
    entries = chain(100, refused=True)
    [fold] = folds("m-1", entries)
    folded = attrs.evolve(entries[fold.last - 1], body=fold.body)
    mark = tomb(entries, 1, fold.last)
    bench.archive.append("m-1", (folded,))
    bench.archive.erase("m-1", 1, fold.last, mark, b"")
    bench.archive.append("m-1", (folded, *entries[fold.last :]))
    assert bench.archive.read("m-1") == (mark, *entries[fold.last :])


def test_a_repeated_erasure_ends_one_that_did_not_come_to_the_archive(bench: Bench):
    """An erasure that is repeated, and finds nothing to do in the store, removes what the first one has left."""
    bench.commit()
    bench.move()
    mark = tomb(ENTRIES, 1, 17)
    bench.inner.perform(Erase("m-1", 1, 17, mark.body))
    assert bench.archive.read("m-1") == ENTRIES[:15]
    bench.store.perform(Erase("m-1", 0, 0, b""))
    assert bench.archive.read("m-1") == (mark,)
