"""The cache of recent members."""

from __future__ import annotations

from typing import Final, TypeAlias

import attrs

from vimbiso_fsm.document.document import Document
from vimbiso_fsm.messages.message import Address
from vimbiso_fsm.store.requests import Head

CACHE_BYTES: Final = 64 * 1024 * 1024
"""Bytes that the cached documents of all members, and of all guests, have in the store, at most.

As objects they take a few times as much memory.
"""
_Key: TypeAlias = tuple[str, str, str]
"""An address as a key, of which a look in a table makes no call."""
RECOUNT: Final = 1_000
"""Documents after which the bytes are summed anew: two threads at once can miscount one."""


@attrs.frozen
class Known:
    """The latest known document of a member, its head, and the number of its bytes in the store."""

    head: Head
    document: Document
    size: int = 0


class Cache:
    """The latest documents of recent members, and the owners of their channels.

    A stale copy is harmless: a commit on it is answered with `Conflict`. Guests have a table of their own, so that many
    of them displace no member.
    """

    def __init__(self, size: int = 10_000, most: int = CACHE_BYTES) -> None:
        """Keep up to `size` members and as many guests, and up to `most` bytes of each; a size of 0 keeps none."""
        self._size = size
        self._documents = _Documents(size, most)
        self._guests = _Documents(size, most)
        self._members: dict[_Key, str] = {}

    @property
    def remembers(self) -> bool:
        """Whether anything is kept."""
        return self._size > 0

    def document(self, member_id: str) -> Known | None:
        """Return the latest known document of a member."""
        return self._documents.get(member_id) or self._guests.get(member_id)

    def member(self, address: Address) -> str | None:
        """Return the latest known owner of a channel."""
        return self._members.get((address.type, address.identifier, address.account))

    def keep(self, member_id: str, head: Head, document: Document, size: int) -> None:
        """Remember a document, in place of those that were remembered the longest ago if its table is full.

        Args:
            member_id: The member.
            head: The head of the document.
            document: The document.
            size: The number of its bytes in the store.
        """
        (self._guests if document.guest else self._documents).put(member_id, Known(head, document, size))

    def replace(self, member_id: str, head: Head, document: Document) -> None:
        """Put another copy of a document in the place of one with the same head, if that is remembered."""
        table = self._guests if document.guest else self._documents
        known = table.get(member_id)
        if known is not None and (known.head is head or known.head == head):
            table[member_id] = Known(head, document, known.size)

    def linked(self, address: Address, member_id: str) -> None:
        """Remember the owner of a channel."""
        if not self._size:
            return
        key = (address.type, address.identifier, address.account)
        self._members.pop(key, None)
        self._members[key] = member_id
        while len(self._members) > self._size:
            self._members.pop(next(iter(self._members)), None)

    def forget(self, member_id: str, address: Address | None = None) -> None:
        """Forget a member, and the owner of a channel; the store is asked next time."""
        self._documents.drop(member_id)
        self._guests.drop(member_id)
        if address is not None:
            self._members.pop((address.type, address.identifier, address.account), None)


class _Documents(dict[str, Known]):
    """The latest documents by member, up to a number of them and of their bytes."""

    def __init__(self, size: int, most: int) -> None:
        super().__init__()
        self._size, self._most = size, most
        self._bytes = self._puts = 0

    def put(self, member_id: str, known: Known) -> None:
        """Keep a document as the latest. One that alone has too many bytes is not kept."""
        if not self._size or known.size > self._most:
            return self.drop(member_id)
        before = self.pop(member_id, None)
        self[member_id] = known
        self._bytes += known.size - (0 if before is None else before.size)
        self._puts += 1
        if self._puts >= RECOUNT:
            self._puts, self._bytes = 0, sum(each.size for each in [*self.values()])
        while len(self) > self._size or (self._bytes > self._most and self):
            self.drop(next(iter(self)))

    def drop(self, member_id: str) -> None:
        """Forget a document."""
        found = self.pop(member_id, None)
        if found is not None:
            self._bytes -= found.size
