"""What every archive promises, in files, in SQLite and in PostgreSQL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.archive.chains import chain, tomb
from tests.archive.conftest import Open
from vimbiso_fsm.archive.joining import LAST_VERSION
from vimbiso_fsm.archive.keeping import Archive
from vimbiso_fsm.audit.flow_audit import FlowAuditLogger
from vimbiso_fsm.errors import ArchiveConflict
from vimbiso_fsm.store.requests import Entry, digest

HOSTILE = ("", ".", "..", "../../etc/passwd", "/", "a/b", "\0", "a\nb", "\ud800", "é" * 300, "-rf *", "CON", "a'; --")
ENTRIES = chain(6)


def test_entries_come_back_byte_for_byte(archive: Archive, opened: Open):
    """Entries of any bytes are returned as they were given, also by another process."""
    bodies = [
        b"",
        b"{}",
        b"\n",
        b'{"a":1}\n{"b":2}',
        bytes(range(256)),
        b'{"base64":"x"}',
        '"é\u2028"'.encode(),
        b"null",
    ]
    entries = tuple(Entry(version, digest(body), body) for version, body in enumerate(bodies, 1))
    archive.append("m-1", entries[:3])
    archive.append("m-1", entries[3:])
    archive.append("m-1", ())
    for each in (archive, opened()):
        assert each.read("m-1") == entries
        assert each.read("m-2") == ()


def test_an_id_can_be_any_text(archive: Archive, opened: Open):
    """Members with hostile ids have archives of their own, and their ids are told."""
    for number, member_id in enumerate(HOSTILE):
        archive.append(member_id, chain(2, mark=str(number)))
    for number, member_id in enumerate(HOSTILE):
        assert opened().read(member_id) == chain(2, mark=str(number))
    assert opened().members() == tuple(sorted(HOSTILE))


def test_an_entry_is_kept_once(archive: Archive):
    """Entries that are given again, in any overlap, are kept once, and the archive is a whole chain."""
    kept: tuple[Entry, ...] = ()
    for first, last in ((0, 3), (0, 3), (1, 5), (4, 5), (0, 6), (2, 6)):
        archive.append("m-1", ENTRIES[first:last])
        kept = archive.read("m-1")
        assert kept == ENTRIES[: len(kept)]
    assert len(kept) == 6
    assert FlowAuditLogger.faults(kept) == ()


@pytest.mark.parametrize("first", [1, 3, 4])
def test_a_number_has_one_entry(archive: Archive, first: int):
    """An entry that differs from the kept one, or continues another chain, is refused, and nothing of it is kept."""
    archive.append("m-1", ENTRIES[:3])
    others = chain(6, mark="another")[first - 1 :]
    with pytest.raises(ArchiveConflict) as error:
        archive.append("m-1", others)
    assert (error.value.member_id, error.value.version) == ("m-1", first)
    assert error.value.archived == ENTRIES[min(first, 3) - 1].digest
    assert archive.read("m-1") == ENTRIES[:3]
    archive.append("m-1", ENTRIES)
    assert archive.read("m-1") == ENTRIES


def test_a_gap_is_kept_as_it_is_and_filled(archive: Archive):
    """Entries after a gap are kept, and entries of the gap take their place when they are given later."""
    archive.append("m-1", ENTRIES[:2])
    archive.append("m-1", ENTRIES[4:])
    assert FlowAuditLogger.faults(archive.read("m-1")) != ()
    archive.append("m-1", ENTRIES[2:4])
    assert archive.read("m-1") == ENTRIES


def test_an_erased_range_does_not_come_back(archive: Archive, opened: Open):
    """An erasure leaves the tombstone in place of a range, and entries of it that are given later are not kept."""
    archive.append("m-1", ENTRIES[:5])
    mark = tomb(ENTRIES, 2, 4)
    assert opened().erase("m-1", 2, 4, mark, b"") == (2, 3, 4)
    left = (ENTRIES[0], mark, ENTRIES[4])
    assert archive.read("m-1") == left
    assert FlowAuditLogger.faults(left) == ()
    archive.append("m-1", ENTRIES[1:5])
    assert archive.erase("m-1", 2, 4, mark, b"") == ()
    assert archive.read("m-1") == left
    archive.append("m-1", ENTRIES)
    assert archive.read("m-1") == (*left, ENTRIES[5])


def test_a_tombstone_takes_the_place_of_what_it_stands_for(archive: Archive):
    """A tombstone that is given like an entry ends an erasure that has not come to the archive."""
    archive.append("m-1", ENTRIES[:4])
    mark = tomb(ENTRIES, 1, 5)
    archive.append("m-1", (mark, ENTRIES[5]))
    assert archive.read("m-1") == (mark, ENTRIES[5])


def test_an_erased_member_stays_erased(archive: Archive, opened: Open):
    """After an erasure of all, entries that a worker has read before are not kept; without a tombstone all is gone."""
    archive.append("m-1", ENTRIES)
    archive.append("m-2", chain(3, "m-2"))
    mark = tomb(ENTRIES, 1, 6)
    assert len(archive.erase("m-1", 0, LAST_VERSION, mark, b"")) == 6
    opened().append("m-1", ENTRIES)
    assert archive.read("m-1") == (mark,)
    assert archive.erase("m-2", 0, LAST_VERSION, None, b"") == (1, 2, 3)
    assert (archive.read("m-2"), archive.members()) == ((), ("m-1",))
    body = tomb(chain(3, "m-3"), 1, 3, "m-3").body
    archive.append("m-3", chain(3, "m-3"))
    assert archive.erase("m-3", 0, 2, None, body) == (1, 2)
    assert [entry.body == body for entry in archive.read("m-3")] == [True, False]


def test_a_tombstone_is_kept_where_nothing_was_archived(archive: Archive, opened: Open):
    """A worker that has read a member's entries before an erasure archives none, also if it would be the first."""
    mark = tomb(ENTRIES, 1, 6)
    archive.erase("m-1", 0, LAST_VERSION, mark, b"")
    opened().append("m-1", ENTRIES)
    assert archive.read("m-1") == (mark,)


def test_namespaces_do_not_see_each_other(archive: Archive, opened: Open):
    """Two bots with one archive have members of their own."""
    other = opened("other")
    archive.append("m-1", ENTRIES)
    other.append("m-1", ENTRIES[:1])
    assert archive.erase("m-1", 0, LAST_VERSION, None, b"") != ()
    assert (archive.members(), other.members(), other.read("m-1")) == ((), ("m-1",), ENTRIES[:1])


def test_two_workers_at_once(opened: Open):
    """Workers that append to one member at the same time, and one that erases, keep one whole chain."""
    entries = chain(40)
    mark = tomb(entries, 1, 10)
    archives = [opened() for _ in range(4)]

    def work(number: int) -> None:
        for first in range(0, 40, 4 + number):
            archives[number].append("m-1", entries[: first + 6])
        if number == 3:
            archives[number].erase("m-1", 1, 10, mark, b"")

    with ThreadPoolExecutor(4) as pool:
        assert [*pool.map(work, range(4))] == [None] * 4
    assert archives[0].read("m-1") == (mark, *entries[10:])


def test_a_check_leaves_nothing(archive: Archive):
    """A check proves that the archive can be written, and leaves no member."""
    archive.check()
    assert archive.members() == ()
