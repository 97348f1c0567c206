"""TODO."""

from __future__ import annotations

from typing import Any

import attrs

from vimbiso_fsm.document.document import Document
from vimbiso_fsm.store.requests import (
    Head,
)


@attrs.frozen
class _Known:
    head: Head
    document: Document


class Cache:
    """The latest documents of recent members, and whose their channels are. Stale copies are harmless: a commit made
    on one is a `Conflict`. `size` members; 0 keeps none."""

    def __init__(self, size: int = 10_000) -> None:
        self._size = size
        self._documents: dict[str, _Known] = {}
        self._members: dict[tuple[str, str], str] = {}

    def document(self, member_id: str) -> _Known | None:
        """The latest known document of a member."""
        return self._documents.get(member_id)

    def member(self, address: tuple[str, str]) -> str | None:
        """The member a channel was linked to when last heard of."""
        return self._members.get(address)

    def keep(self, member_id: str, head: Head, document: Document) -> None:
        """Remember a document; the one unused longest makes room."""
        self._put(self._documents, member_id, _Known(head, document))

    def linked(self, address: tuple[str, str], member_id: str) -> None:
        """Remember whose channel it is."""
        self._put(self._members, address, member_id)

    def forget(self, member_id: str, address: tuple[str, str] | None = None) -> None:
        """Ask the store next time."""
        self._documents.pop(member_id, None)
        if address is not None:
            self._members.pop(address, None)

    def _put(self, table: dict[Any, Any], key: Any, value: Any) -> None:
        if not self._size:
            return
        table.pop(key, None)
        table[key] = value
        while len(table) > self._size:
            table.pop(next(iter(table)), None)
