"""An archive in files of JSON Lines, one per member.

    <folder>/<namespace or "default">/<two digits>/<SHA-256 of the member's id>.jsonl

An id can be any text, so a file is named by its hash, and its first line tells the id. Each further line is an entry:
its version, its digest, a check of the line, and the entry itself, byte for byte. A file can be read with any JSON
tool.

An append is forced to the disk before it returns. A process that ends in the middle of a line leaves a line without an
end; it is no entry, the store still has it, and the next append cuts it off. A line that was changed later is a place
that holds no entry, which a verification tells.

An erasure writes the file anew without the entries, under a name beside it, and puts it in place of the old one. The
old one is removed by that; what the file system and its copies do with the blocks is not in the hand of a program.

Each folder of two digits has a lock, so several processes of one machine, or on a file system with POSIX locks, can use
one archive.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from vimbiso_fsm.archive.joining import added, continues, erased
from vimbiso_fsm.errors import ArchiveUnavailable
from vimbiso_fsm.store.requests import NO_HEAD, Entry, Head

_LINE: Final = re.compile(
    rb'\{"version":(\d{1,19}),"digest":("[^"\\]*(?:\\.[^"\\]*)*"),"check":"([0-9a-f]{16})",'
    rb'(?:"base64":"([A-Za-z0-9+/=]*)"|"entry":(.*))\}',
)
_TAIL: Final = 4096
"""Bytes at the end of a file that are read at first, to find its last line."""


class JsonLinesArchive:
    """An `Archive` in a folder. It may be shared between threads and processes."""

    def __init__(self, folder: str | os.PathLike[str], namespace: str = "") -> None:
        """Use a folder, which is made when something is archived.

        Args:
            folder: The folder. Only its owner can read the files in it.
            namespace: The namespace of the store.
        """
        self._root: Final = Path(folder) / (namespace or "default")
        self._namespace: Final = namespace

    @property
    def place(self) -> str:
        """The archive in words."""
        return str(self._root)

    def append(self, member_id: str, entries: Sequence[Entry], /) -> None:
        """Keep entries; see `Archive.append`."""
        if not entries:
            return
        with self._failing(), self._locked(member_id) as path:
            checkpoint = _cut_and_read_latest(path)
            if checkpoint is not None and continues(member_id, checkpoint, entries):
                self._add(path, member_id, entries)
                return
            kept = self._read(path)
            found = added(member_id, kept, entries)
            if kept and found[: len(kept)] == kept:
                self._add(path, member_id, found[len(kept) :])
            else:
                self._replace(path, member_id, found)

    def read(self, member_id: str, /) -> tuple[Entry, ...]:
        """Return the entries of a member; see `Archive.read`."""
        with self._failing():
            return self._read(self._path(member_id))

    def erase(self, member_id: str, first: int, last: int, tombstone: Entry | None, body: bytes, /) -> tuple[int, ...]:
        """Remove a range of entries; see `Archive.erase`."""
        with self._failing(), self._locked(member_id) as path:
            kept = self._read(path)
            left, gone = erased(kept, first, last, tombstone, body)
            _beside(path).unlink(missing_ok=True)  # of a process that has ended while it wrote
            if left != kept or (path.exists() and not left):
                self._replace(path, member_id, left)
            return gone

    def members(self) -> tuple[str, ...]:
        """Return the ids of all members; see `Archive.members`."""
        with self._failing():
            return tuple(sorted(self._members()))

    def check(self) -> None:
        """Prove that a file can be written; see `Archive.check`."""
        with self._failing():
            _make_folder(self._root)
            probe = self._root / f".probe-{os.getpid()}"
            try:
                with _created(probe) as file:
                    file.write(b"{}\n")
                    _flush(file)
            finally:
                probe.unlink(missing_ok=True)

    def close(self) -> None:
        """Close nothing: no file is kept open."""

    # Files ---------------------------------------------------------------------------------------------------------

    def _path(self, member_id: str) -> Path:
        name = hashlib.sha256(member_id.encode("utf-8", "surrogatepass")).hexdigest()
        return self._root / name[:2] / f"{name}.jsonl"

    @contextmanager
    def _failing(self) -> Generator[None]:
        try:
            yield
        except OSError as error:  # its text has the name of a file, which is a hash
            raise ArchiveUnavailable(self.place, error.strerror or type(error).__name__) from error

    @contextmanager
    def _locked(self, member_id: str) -> Generator[Path]:
        """Lock the folder of a member's file, and give the path of the file."""
        path = self._path(member_id)
        _make_folder(path.parent)
        descriptor = os.open(path.parent / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield path
        finally:
            os.close(descriptor)

    def _add(self, path: Path, member_id: str, entries: Sequence[Entry]) -> None:
        if not path.exists():
            self._replace(path, member_id, entries)
            return
        with path.open("r+b", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            try:
                _write(file, b"".join(map(_line, entries)))
                os.fsync(file.fileno())
            except OSError:
                with suppress(OSError):  # a torn line is cut off by the next append
                    file.truncate(size)
                raise

    def _replace(self, path: Path, member_id: str, entries: Sequence[Entry]) -> None:
        """Write the whole file of a member, or remove it if there are no entries."""
        if not entries:
            path.unlink(missing_ok=True)
            _sync_folder(path.parent)
            return
        new = _beside(path)
        try:
            with _created(new) as file:
                _write(file, self._header(member_id) + b"".join(map(_line, entries)))
                _flush(file)
            new.replace(path)
        except OSError:
            new.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)

    def _header(self, member_id: str) -> bytes:
        header = {"archive": 1, "namespace": self._namespace, "member": member_id}
        return json.dumps(header, separators=(",", ":")).encode() + b"\n"

    def _read(self, path: Path) -> tuple[Entry, ...]:
        try:
            lines = path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return ()
        return tuple(map(_entry, lines[1:-1]))  # the first is the header; what follows the last end is torn

    def _members(self) -> Iterator[str]:
        for path in self._root.glob("[0-9a-f][0-9a-f]/*.jsonl"):
            header = b""
            with suppress(FileNotFoundError), path.open("rb") as file:  # it may just be erased
                header = file.readline()
            with suppress(ValueError, KeyError, TypeError):
                member_id = json.loads(header)["member"]
                if self._path(member_id) == path:
                    yield member_id


def _beside(path: Path) -> Path:
    return path.with_suffix(".new")


def _make_folder(path: Path) -> None:
    """Make a folder and those above it; each of them is on the disk before the function returns."""
    if path.is_dir():
        return
    if path.parent != path:
        _make_folder(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _created(path: Path) -> BinaryIO:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, 0o600), "wb", buffering=0)


def _write(file: BinaryIO, data: bytes) -> None:
    """Write all of the data: an unbuffered file may take a part of it."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def _flush(file: BinaryIO) -> None:
    os.fsync(file.fileno())


def _cut_and_read_latest(path: Path) -> Head | None:
    """Cut off a torn line at the end of a file, and return the head of its last entry.

    The head is `NO_HEAD` if there is no file; None if the last line holds no entry, so that the whole file must be
    read.
    """
    try:
        file = path.open("r+b", buffering=0)
    except FileNotFoundError:
        return NO_HEAD
    with file:
        size = file.seek(0, os.SEEK_END)
        lines, read = [b""], 0
        while len(lines) < 3 and read < size:
            read = min(size, max(2 * read, _TAIL))
            file.seek(size - read)
            lines = file.read(read).split(b"\n")
        if lines[-1]:
            file.truncate(size - len(lines[-1]))
            os.fsync(file.fileno())
        if len(lines) < 3:  # the header alone, or a part of it
            return None
        entry = _entry(lines[-2])
        return Head(entry.version, entry.digest) if entry.version else None


def _check(version: int, digest: str, body: bytes) -> str:
    return hashlib.sha256(b"%d %b %b" % (version, json.dumps(digest).encode(), body)).hexdigest()[:16]


def _line(entry: Entry) -> bytes:
    """Return the line of an entry. One that was damaged before stays as it is."""
    if not entry.version:
        return entry.body + b"\n"
    digest, check = json.dumps(entry.digest).encode(), _check(entry.version, entry.digest, entry.body).encode()
    text = b'"entry":%b' % entry.body if _is_json_line(entry.body) else b'"base64":"%b"' % base64.b64encode(entry.body)
    return b'{"version":%d,"digest":%b,"check":"%b",%b}\n' % (entry.version, digest, check, text)


def _is_json_line(body: bytes) -> bool:
    try:
        return b"\n" not in body and json.loads(body) is not None
    except (ValueError, RecursionError):
        return False


def _entry(line: bytes) -> Entry:
    """Return the entry of a line; one of version 0, with the line, if the line is not what was written."""
    found = _LINE.fullmatch(line)
    with suppress(ValueError):
        if found is not None:
            version, digest = int(found[1]), json.loads(found[2])
            body = found[5] if found[4] is None else base64.b64decode(found[4], validate=True)
            if _check(version, digest, body) == found[3].decode():
                return Entry(version, digest, body)
    return Entry(0, "", line)
