"""The cache of recent members."""

from __future__ import annotations

from typing import TypeVar

import attrs

from vimbiso_fsm.document.document import Document
from vimbiso_fsm.messages.message import Address
from vimbiso_fsm.store.requests import Head

K = TypeVar("K")
V = TypeVar("V")


@attrs.frozen
class Known:
    """The latest known document of a member, and its head."""

    head: Head
    document: Document


class Cache:
    """The latest documents of recent members, and the owners of their channels.

    A stale copy is harmless: a commit on it is answered with `Conflict`. Guests have a table of their own, so that many
    of them displace no member.
    """

    def __init__(self, size: int = 10_000) -> None:
        """Keep up to `size` members and as many guests; 0 keeps none."""
        self._size = size
        self._documents: dict[str, Known] = {}
        self._guests: dict[str, Known] = {}
        self._members: dict[Address, str] = {}

    def document(self, member_id: str) -> Known | None:
        """Return the latest known document of a member."""
        return self._documents.get(member_id) or self._guests.get(member_id)

    def member(self, address: Address) -> str | None:
        """Return the latest known owner of a channel."""
        return self._members.get(address)

    def keep(self, member_id: str, head: Head, document: Document) -> None:
        """Remember a document, in place of the one that was remembered the longest ago if its table is full."""
        self._put(self._guests if document.guest else self._documents, member_id, Known(head, document))

    def linked(self, address: Address, member_id: str) -> None:
        """Remember the owner of a channel."""
        self._put(self._members, address, member_id)

    def forget(self, member_id: str, address: Address | None = None) -> None:
        """Forget a member, and the owner of a channel; the store is asked next time."""
        self._documents.pop(member_id, None)
        self._guests.pop(member_id, None)
        if address is not None:
            self._members.pop(address, None)

    def _put(self, table: dict[K, V], key: K, value: V) -> None:
        if not self._size:
            return
        table.pop(key, None)
        table[key] = value
        while len(table) > self._size:
            table.pop(next(iter(table)), None)
