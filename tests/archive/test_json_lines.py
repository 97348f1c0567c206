"""Archives in files: torn and changed lines, full disks, names of files, and what an erasure leaves on the disk."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path

import pytest

from tests.archive.chains import chain, tomb
from vimbiso_fsm.archive import json_lines
from vimbiso_fsm.archive.joining import LAST_VERSION
from vimbiso_fsm.archive.json_lines import JsonLinesArchive
from vimbiso_fsm.audit.flow_audit import FlowAuditLogger
from vimbiso_fsm.errors import ArchiveUnavailable
from vimbiso_fsm.store.requests import Entry

ENTRIES = chain(5, mark="Lovelace")


def file_of(folder: Path) -> Path:
    """Return the only file of members in a folder."""
    [found] = folder.rglob("*.jsonl")
    return found


def all_bytes(folder: Path) -> bytes:
    """Return the bytes of all files below a folder, with their names."""
    return b"".join(str(path).encode() + (path.read_bytes() if path.is_file() else b"") for path in folder.rglob("*"))


def test_each_line_is_json(tmp_path: Path):
    """A file is JSON Lines: a line that names the member, then a line for each entry with the entry as an object."""
    JsonLinesArchive(tmp_path, "bank").append("m-1", ENTRIES)
    header, *lines = map(json.loads, file_of(tmp_path).read_bytes().splitlines())
    assert header == {"archive": 1, "namespace": "bank", "member": "m-1"}
    assert [(line["version"], line["digest"]) for line in lines] == [(each.version, each.digest) for each in ENTRIES]
    assert lines[2]["entry"]["detail"] == {"mark": "Lovelace"}


def test_a_torn_last_line_is_cut_off_and_written_again(tmp_path: Path):
    """Wherever a process ends while it appends, the whole lines are read, and the next append repairs the file."""
    archive = JsonLinesArchive(tmp_path)
    archive.append("m-1", ENTRIES[:2])
    whole = file_of(tmp_path).stat().st_size
    archive.append("m-1", ENTRIES)
    path, data = file_of(tmp_path), file_of(tmp_path).read_bytes()
    for size in range(whole, len(data)):
        path.write_bytes(data[:size])
        kept = archive.read("m-1")
        assert kept == ENTRIES[: len(kept)]
        assert len(kept) == data[:size].count(b"\n") - 1
        archive.append("m-1", ENTRIES[1:])
        assert path.read_bytes() == data
    path.write_bytes(data + 5000 * b"\0")
    archive.append("m-1", ENTRIES)
    assert path.read_bytes() == data


def test_a_changed_line_is_told_and_hinders_nothing(tmp_path: Path):
    """A line of which one byte was changed is a place without an entry; entries behind it are kept and appended."""
    archive = JsonLinesArchive(tmp_path)
    archive.append("m-1", ENTRIES[:3])
    path = file_of(tmp_path)
    lines = path.read_bytes().split(b"\n")
    for place in (2, 3):
        damaged = lines[place].replace(b"Lovelace", b"Loveless")
        path.write_bytes(b"\n".join([*lines[:place], damaged, *lines[place + 1 :]]))
        assert archive.read("m-1")[place - 1] == Entry(0, "", damaged)
        archive.append("m-1", ENTRIES)
        kept = [entry for entry in archive.read("m-1") if entry.version]
        assert tuple(kept) == ENTRIES, "the store gave the damaged one again"
        assert damaged in path.read_bytes(), "the damaged line stays, for the verification"


def test_a_full_disk_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An append for which the disk has no room raises an error, and leaves the file as it was."""
    archive = JsonLinesArchive(tmp_path)
    archive.append("m-1", ENTRIES[:2])
    before = all_bytes(tmp_path)

    def full(file: object, data: bytes) -> None:
        file.write(data[: len(data) // 2])  # type: ignore[attr-defined]  # a file
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(json_lines, "_write", full)
    for member_id in ("m-1", "m-2"):
        with pytest.raises(ArchiveUnavailable, match="No space left on device") as error:
            archive.append(member_id, ENTRIES)
        assert error.value.place == str(tmp_path / "default")
    monkeypatch.undo()
    assert [path.read_bytes() for path in tmp_path.rglob("*.jsonl")] == [file_of(tmp_path).read_bytes()]
    assert before[:20] == all_bytes(tmp_path)[:20]
    assert archive.read("m-1") == ENTRIES[:2]


def test_entries_are_on_the_disk_before_an_append_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Each append forces the file to the disk after its last byte, and the folder of a new file too."""
    synced: list[tuple[str, int]] = []

    def fsync(descriptor: int) -> None:
        status = os.fstat(descriptor)
        synced.append(("folder", 0) if stat.S_ISDIR(status.st_mode) else ("file", status.st_size))

    monkeypatch.setattr(os, "fsync", fsync)
    archive = JsonLinesArchive(tmp_path)
    archive.append("m-1", ENTRIES[:2])
    assert synced[-2:] == [("file", file_of(tmp_path).stat().st_size), ("folder", 0)]
    archive.append("m-1", ENTRIES)
    assert synced[-1] == ("file", file_of(tmp_path).stat().st_size)


def test_only_the_owner_can_read(tmp_path: Path):
    """Files and folders of an archive can be read by their owner only, and no id stands in a name."""
    JsonLinesArchive(tmp_path / "a").append("../../263771000001", ENTRIES)
    for path in (tmp_path / "a").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
        assert "263771000001" not in str(path)


def test_no_byte_of_an_erased_member_is_left(tmp_path: Path):
    """After an erasure no file below the folder holds a byte of the entries, also if an earlier one was killed."""
    archive = JsonLinesArchive(tmp_path)
    archive.append("m-1", ENTRIES)
    file_of(tmp_path).with_suffix(".new").write_bytes(file_of(tmp_path).read_bytes())
    archive.erase("m-1", 0, LAST_VERSION, tomb(ENTRIES, 1, 5), b"")
    assert b"Lovelace" not in all_bytes(tmp_path)
    assert len(archive.read("m-1")) == 1
    file_of(tmp_path).with_suffix(".new").write_bytes(b"Lovelace")
    archive.erase("m-1", 0, LAST_VERSION, tomb(ENTRIES, 1, 5), b"")
    assert b"Lovelace" not in all_bytes(tmp_path)
    archive.erase("m-1", 0, LAST_VERSION, None, b"")
    assert [*tmp_path.rglob("*.jsonl")] == []


def test_damaged_lines_go_with_an_erasure(tmp_path: Path):
    """A damaged line may hold bytes of an erased entry, so it is removed with a range."""
    archive = JsonLinesArchive(tmp_path)
    archive.append("m-1", ENTRIES)
    path = file_of(tmp_path)
    path.write_bytes(path.read_bytes().replace(b'"version":2,', b'"version":7,', 1))
    archive.erase("m-1", 1, 3, tomb(ENTRIES, 1, 3), b"")
    assert path.read_bytes().count(b"Lovelace") == 2
    assert FlowAuditLogger.faults(archive.read("m-1")) == ()


def test_files_of_others_are_passed_over(tmp_path: Path):
    """A file below the folder that the archive has not written names no member."""
    archive = JsonLinesArchive(tmp_path)
    archive.append("m-1", ENTRIES)
    folder = file_of(tmp_path).parent
    for name, data in (("x", b""), ("y", b"[]\n"), ("z", b'{"member":"m-9"}\n'), ("w", b"\xff\n")):
        (folder / f"{name}.jsonl").write_bytes(data)
    assert archive.members() == ("m-1",)
