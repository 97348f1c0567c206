"""Trails as a file of JSON Lines that can be gone on with."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

from vimbiso_fsm.audit.trail import Trail, Wanted, incident, placed, readable
from vimbiso_fsm.document.json_codec import loads
from vimbiso_fsm.errors import Unreadable, VimbisoError
from vimbiso_fsm.store.requests import Head, digest


class NoExport(VimbisoError, ValueError):
    """A file that an export cannot go on with; it was left as it was. Attributes: `path`, `fault`."""

    path: Path
    fault: str

    def __init__(self, path: Path, fault: str) -> None:
        self.path, self.fault = path, fault
        super().__init__(f"{path}: {fault}; name a new file, or one that an export has written")


_BEGIN: Final = b'{"member": '
"""How each line of an export begins."""


class Export:
    """A file of JSON Lines that trails are added to; a context manager.

    An entry is `{"member": …, "digest": …, …}` with the fields of the entry, its `version` among them; an incident is
    `{"member": …, "kind": "incident", "digest": …, "incident": {…}}`, with member null for the store's own. A file
    that is there is gone on with: what it holds is not written again, and a last line that was cut is taken off.
    It is only ever appended to, so whenever the process ends the file can be gone on with.

    Raises: NoExport when the file holds anything else, or another process exports to it; OSError.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._heads: dict[str, Head] = {}
        self._incidents: set[tuple[str | None, str]] = set()
        self._file = self._opened()
        try:
            self._lock()
            whole = self._read()
            self._file.truncate(whole)
            self._file.seek(whole)
        except BaseException:
            self._file.close()
            raise

    def add(self, trail: Trail, wanted: Wanted = lambda one: True) -> tuple[int, tuple[str, ...]]:
        """Append what the file does not hold yet -> how many lines that are, and what is wrong.

        Of a member whose entries do not continue those of the file, nothing is appended: the store has been put back.

        Raises: OSError; what was written before can be gone on with.
        """
        wrong = [*trail.damaged, *self._gaps(trail)]
        put_back = self._put_back(trail)
        lines = (
            [] if put_back else [*self._new_entries(trail, wanted, wrong), *self._new_incidents(trail, wanted, wrong)]
        )
        self._file.write(b"".join(lines))
        self._file.flush()
        return len(lines), (*wrong, *put_back)

    def lost(self, trail: Trail) -> tuple[str, ...]:
        """What was dropped from the store since the file was written, and so will never be in it. To be asked before
        `add`, and only when all entries are wanted.
        """
        head = self._heads.get(trail.member_id) if trail.member_id is not None else None
        first = trail.entries[0].version if trail.entries else 0
        if head is None or first <= head.version + 1:
            return ()
        return (f"entries {head.version + 1} to {first - 1} are not kept any more, and not in the file",)

    def close(self) -> None:
        """Force what was written to the disk, and let the file go."""
        try:
            os.fsync(self._file.fileno())
        finally:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _opened(self) -> BinaryIO:
        file = os.fdopen(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            file.close()
            raise NoExport(self._path, "it is no regular file")
        return file

    def _lock(self) -> None:
        import fcntl  # not at the top: Windows has none

        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NoExport(self._path, "another process exports to it") from None

    def _read(self) -> int:
        """Learn what the file holds -> bytes of its whole lines."""
        whole = 0
        for number, line in enumerate(self._file, 1):
            if not line.endswith(b"\n"):
                if not line.startswith(_BEGIN) and not _BEGIN.startswith(line):
                    raise NoExport(self._path, f"line {number} is none of an export")
                break
            self._learn(number, line)
            whole += len(line)
        return whole

    def _learn(self, number: int, line: bytes) -> None:
        try:
            raw = loads(line)
        except Unreadable:
            raw = None
        match raw:
            case {"member": str() | None as member, "kind": "incident", "digest": str(name)}:
                self._incidents.add((member, name))
            case {"member": str(member), "version": int(version), "digest": str(name)}:
                self._heads[member] = Head(version, name)
            case _:
                raise NoExport(self._path, f"line {number} is none of an export")

    def _put_back(self, trail: Trail) -> tuple[str, ...]:
        head = self._heads.get(trail.member_id) if trail.member_id is not None else None
        if head is None or not trail.entries:
            return ()
        here = next((entry for entry in trail.entries if entry.version == head.version), None)
        if here.digest == head.digest if here else trail.entries[-1].version > head.version:
            return ()
        return (f"entry {head.version} is another than in the file: the store was put back, or started anew",)

    def _gaps(self, trail: Trail) -> Iterator[str]:
        """Where entries are missing between those that are new to the file."""
        known = self._heads.get(trail.member_id or "", Head()).version
        for before, entry in pairwise(trail.entries):
            if entry.version > max(known, before.version + 1):
                yield f"entry {entry.version} follows entry {before.version}: what was between is missing"

    def _new_entries(self, trail: Trail, wanted: Wanted, wrong: list[str]) -> Iterator[bytes]:
        if trail.member_id is None:
            return
        for entry in trail.entries:
            if entry.version <= self._heads.get(trail.member_id, Head()).version:
                continue
            read = readable(entry)
            if isinstance(read, str):
                wrong.append(read)
            elif wanted(read):
                self._heads[trail.member_id] = Head(entry.version, entry.digest)
                yield _line({"member": trail.member_id, "digest": entry.digest, **loads(entry.body)})

    def _new_incidents(self, trail: Trail, wanted: Wanted, wrong: list[str]) -> Iterator[bytes]:
        for place, body in enumerate(trail.incidents, 1):
            read, name = placed(place, incident(body)), digest(body)
            if isinstance(read, str):
                wrong.append(read)
            elif (trail.member_id, name) not in self._incidents and wanted(read):
                self._incidents.add((trail.member_id, name))
                yield _line({"member": trail.member_id, "kind": "incident", "digest": name, "incident": loads(body)})


def _line(raw: Mapping[str, Any]) -> bytes:
    """One line, whatever stands in it: ASCII alone, so no character is an end of line to anybody."""
    return json.dumps(raw).encode() + b"\n"
