"""What outlives the workers: the ledger of sales, the journal of what members were answered, the log.

All three are files that every process appends whole lines to; killing a process loses none it has written.
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
    """One write of one line at the end: other processes' lines stay whole."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line.encode() + b"\n")
    finally:
        os.close(descriptor)


@attrs.frozen
class Folder:
    """Where a row keeps its records."""

    path: Path

    @property
    def ledger(self) -> Path:
        """A line a call: member, number, idempotency key."""
        return self.path / "ledger"

    @property
    def log(self) -> Path:
        """What all workers logged."""
        return self.path / "log"

    def note(self, kind: str, **facts: Any) -> None:
        """A line in the journal."""
        _append(self.path / "journal", json.dumps({"kind": kind, **facts}))

    def count(self, kind: str) -> int:
        """How many lines of one kind there are."""
        journal = self.path / "journal"
        return journal.read_bytes().count(b'{"kind": "%b"' % kind.encode()) if journal.exists() else 0

    def noted(self, kind: str) -> list[dict[str, Any]]:
        """The lines of one kind, oldest first."""
        journal = self.path / "journal"
        lines = map(json.loads, journal.read_text().splitlines()) if journal.exists() else ()
        return [line for line in lines if line["kind"] == kind]

    def deliverer(self, channel: Channel, replies: Sequence[Reply], *, key: str = "") -> None:
        """Takes replies that answer no message: a manager's `deliver`."""
        self.note("delivered", to=channel.identifier, key=key, texts=[reply.text for reply in replies])

    def calls(self) -> int:
        """How often the ledger was called."""
        return len(self.ledger.read_text().splitlines()) if self.ledger.exists() else 0

    def sales(self) -> Mapping[str, Mapping[int, set[str]]]:
        """By member and number, the keys it was sold under: more than one, and it was sold twice."""
        sold: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
        for line in self.ledger.read_text().splitlines() if self.ledger.exists() else ():
            member, number, key = line.split(" ")
            sold[member][int(number)].add(key)
        return sold


@attrs.frozen
class LedgerTill:
    """The service: a call is a line, the effect is a key's first line."""

    folder: Folder

    def sell(self, number: int, *, caller: Caller = Caller()) -> str:  # noqa: B008
        """Write it down."""
        _append(self.folder.ledger, f"{caller.member_id} {number} {caller.key}")
        return "r-" + sha256(caller.key.encode()).hexdigest()[:10]
