"""What a process has sent of the outboxes of its members, until the store knows it."""

from __future__ import annotations

import attrs

from vimbiso_fsm.document.codec import without_sent
from vimbiso_fsm.document.document import Document
from vimbiso_fsm.engine.schedule import wake_at
from vimbiso_fsm.engine.stranger import is_stranger
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.store.requests import Head, MarkSent
from vimbiso_fsm.store.retention import SENT_KEPT


@attrs.frozen
class Note:
    """The replies of a member that were sent and that the store has in the outbox.

    Attributes:
        head: The head of the document.
        document: The document.
        ids: The ids of the replies.
    """

    head: Head
    document: Document
    ids: tuple[str, ...]


class SentNotes(dict[str, Note]):
    """What a process has sent, by member, until the store knows it. It may be shared between threads."""

    def note(self, member_id: str, head: Head, document: Document, id: str) -> None:
        """Note that replies were sent which stand in the outbox of a document."""
        before = self.pop(member_id, None)
        ids = (*(() if before is None else before.ids), id)[-SENT_KEPT:]
        self[member_id] = Note(head, document, ids)

    def strike(self, member_id: str, document: Document) -> Document:
        """Return a document without what was sent."""
        note = self.get(member_id)
        return document if note is None else without_sent(document, note.ids)

    def is_sent(self, member_id: str, id: str) -> bool:
        """Return whether replies are noted as sent."""
        note = self.get(member_id)
        return note is not None and id in note.ids

    def stored(self, member_id: str, document: Document) -> None:
        """Take note of a document that was stored: what it leaves out need not be noted any more."""
        note = self.pop(member_id, None)
        if note is not None and (left := tuple(id for id in note.ids if document.waits(id))):
            self[member_id] = attrs.evolve(note, ids=left)

    def requests(self, bot: Bot) -> list[tuple[MarkSent, Note]]:
        """Return the requests that let the store know all of it, each with its note."""
        return [(_mark(bot, member_id, note), note) for member_id, note in [*self.items()]]

    def done(self, member_id: str, note: Note) -> None:
        """Forget a note that the store knows now, unless more was noted since."""
        if self.get(member_id) is note:
            self.pop(member_id, None)


def _mark(bot: Bot, member_id: str, note: Note) -> MarkSent:
    left = without_sent(note.document, note.ids)
    wake = wake_at(left, stranger=left.guest and is_stranger(bot, left))
    waiting = tuple(each.id for each in left.outbox)
    return MarkSent(member_id, note.head, note.ids, waiting, wake.timestamp() if wake else None)
