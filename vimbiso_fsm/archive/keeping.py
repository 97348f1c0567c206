"""The protocol of an archive, and the bounds of what stays in the store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import attrs

from vimbiso_fsm.messages.bounds import check_count, check_seconds
from vimbiso_fsm.store.requests import Entry
from vimbiso_fsm.store.retention import AUDIT_KEPT, AUDIT_LIFE, DAY

HOT_KEPT: Final = 64
"""Audit entries of a member that stay in the store."""
HOT_DAYS: Final = 30.0
"""Days for which an audit entry stays in the store."""


class Archive(Protocol):
    """A place for audit entries outside the store. It may be shared between threads.

    The entries of a member are a chain, in the order of their versions. One version is kept once.

    Attributes:
        place: The archive in words, for errors and incidents. It holds no password.
    """

    @property
    def place(self) -> str:
        """The archive in words."""
        ...

    def append(self, member_id: str, entries: Sequence[Entry], /) -> None:
        """Keep entries; when the method returns, they survive a power cut. Repeatable.

        An entry that is kept already is passed over, and so is one that was erased meanwhile. A tombstone takes the
        place of the entries that it stands for.

        Args:
            member_id: The member.
            entries: The entries, oldest first.

        Raises:
            ArchiveConflict: An entry differs from the kept one of its version, or continues another one. Nothing of
                these entries was kept.
            ArchiveUnavailable: The archive refuses. None of these entries can be relied on.
        """
        ...

    def read(self, member_id: str, /) -> tuple[Entry, ...]:
        """Return the entries of a member, oldest first. A place that holds no entry is one of version 0.

        Raises:
            ArchiveUnavailable: The archive cannot be read.
        """
        ...

    def erase(self, member_id: str, first: int, last: int, tombstone: Entry | None, body: bytes, /) -> tuple[int, ...]:
        """Remove a range of entries, and return their versions. Repeatable.

        Args:
            member_id: The member.
            first: The first version of the range.
            last: The last version of the range.
            tombstone: The tombstone that stands for the range in the store. It is kept here too, so that a worker that
                has read an entry before cannot bring it back.
            body: The body of a tombstone, for a range of which the store keeps nothing; it may be empty.

        Raises:
            ArchiveUnavailable: The archive refuses. The range may be there.
        """
        ...

    def members(self) -> tuple[str, ...]:
        """Return the ids of all members with entries, in order.

        Raises:
            ArchiveUnavailable: The archive cannot be read.
        """
        ...

    def check(self) -> None:
        """Prove that the archive can be written.

        Raises:
            ArchiveUnavailable: It cannot.
        """
        ...

    def close(self) -> None:
        """Close the archive."""
        ...


@attrs.frozen
class Archiving:
    """An archive, and the bounds of what stays in the store. An entry that exceeds one of them is moved by a worker.

    Attributes:
        archive: The archive, or its URL, as `opening.open_archive` takes it.
        entries: Audit entries of a member that stay in the store, from 1 to `AUDIT_KEPT`.
        days: Days for which an entry stays, at most those of `AUDIT_LIFE`.

    Raises:
        FlowError: A bound is out of its range.
    """

    archive: Archive | str
    entries: int = HOT_KEPT
    days: float = HOT_DAYS

    def __attrs_post_init__(self) -> None:
        check_count("Archiving", "entries", self.entries, most=AUDIT_KEPT)
        check_seconds("Archiving", "days, in seconds,", self.days * DAY, most=AUDIT_LIFE)

    @property
    def seconds(self) -> float:
        """The seconds for which an entry stays in the store."""
        return self.days * DAY
