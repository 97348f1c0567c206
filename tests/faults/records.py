"""Records that outlive the workers: the ledger of sales, the journal of answers, and the log.

All three are files to which every process appends whole lines, so a killed process loses none that it has written.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import attrs

from vimbiso_fsm.flow.calls import Caller
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.replies import Reply

__all__ = ["Folder", "LedgerTill"]


def _append(path: Path, line: str) -> None:
    """Append one line in one write, so that lines of other processes stay whole."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line.encode() + b"\n")
    finally:
        os.close(descriptor)


@attrs.frozen
class Folder:
    """The folder of the records of a row."""

    path: Path

    @property
    def ledger(self) -> Path:
        """The file with a line for each call: member, number and idempotency key."""
        return self.path / "ledger"

    @property
    def log(self) -> Path:
        """The file with the logs of all workers."""
        return self.path / "log"

    def note(self, kind: str, **facts: Any) -> None:
        """Append a line to the journal."""
        _append(self.path / "journal", json.dumps({"kind": kind, **facts}))

    def count(self, kind: str) -> int:
        """Count the lines of one kind."""
        journal = self.path / "journal"
        return journal.read_bytes().count(b'{"kind": "%b"' % kind.encode()) if journal.exists() else 0

    def noted(self, kind: str) -> list[dict[str, Any]]:
        """Return the lines of one kind, oldest first."""
        journal = self.path / "journal"
        lines = map(json.loads, journal.read_text().splitlines()) if journal.exists() else ()
        return [line for line in lines if line["kind"] == kind]

    def deliverer(self, channel: Channel, replies: Sequence[Reply], *, key: str = "") -> None:
        """Receive replies that answer no message: the `deliver` of a manager."""
        self.note("delivered", to=channel.identifier, key=key, texts=[reply.text for reply in replies])

    def calls(self) -> int:
        """Count the calls in the ledger."""
        return len(self.ledger.read_text().splitlines()) if self.ledger.exists() else 0

    def sales(self) -> Mapping[str, Mapping[int, set[str]]]:
        """Return the keys of each sale, by member and number. A sale with more than one key was made twice."""
        sold: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
        for line in self.ledger.read_text().splitlines() if self.ledger.exists() else ():
            member, number, key = line.split(" ")
            sold[member][int(number)].add(key)
        return sold


@attrs.frozen
class LedgerTill:
    """The service: each call is a line, and the effect is the first line of a key."""

    folder: Folder

    def sell(self, number: int, *, caller: Caller = Caller()) -> str:  # noqa: B008
        """Write the sale to the ledger."""
        _append(self.folder.ledger, f"{caller.member_id} {number} {caller.key}")
        return "r-" + sha256(caller.key.encode()).hexdigest()[:10]
