"""What a process has sent of the outboxes of its members, until the store knows it.

With the ids of the replies it notes as which messages the channel took them, so that a status which the channel tells
of a message leads to its reply. A commit of the member leaves the replies out of the outbox. The messages are noted by
`MarkSent` all the same, off the member's path.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Final

import attrs

from vimbiso_fsm.document.codec import without_sent
from vimbiso_fsm.document.document import Document
from vimbiso_fsm.engine.schedule import wake_at
from vimbiso_fsm.engine.stranger import is_stranger
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.sending import Sent
from vimbiso_fsm.messages.value import Value
from vimbiso_fsm.store.requests import Head, MarkSent
from vimbiso_fsm.store.retention import MESSAGES_KEPT, SENT_KEPT

_id_of: Final = attrgetter("id")


def sent_messages(bot: Bot, channel: Channel, sent: Sent) -> tuple[str, ...]:
    """Return the digests of the messages as which a channel has taken replies, as far as it has told their ids."""
    return tuple(bot.digests.message_names(channel, id)[0] for id in sent.ids)


@attrs.frozen(eq=False, repr=False)
class Note(Value):
    """The replies of a member that were sent, as far as the store is to know of them.

    Attributes:
        head: The head of the document.
        document: The document.
        ids: The ids of the replies that the store has in the outbox.
        messages: The messages as which replies were sent, see `Stored`.
    """

    head: Head
    document: Document
    ids: tuple[str, ...]
    messages: tuple[tuple[str, str], ...] = ()


class SentNotes(dict[str, Note]):
    """What a process has sent, by member, until the store knows it. It may be shared between threads."""

    def note(
        self,
        member_id: str,
        head: Head,
        document: Document,
        id: str,
        sent_as: Sequence[str] = (),
        *,
        waits: bool = True,
    ) -> None:
        """Note that replies were sent.

        Args:
            member_id: The member.
            head: The head of the document.
            document: The document.
            id: The id of the replies.
            sent_as: The digests of the messages, as far as the channel has told their ids (`sent_messages`).
            waits: Whether the replies stand in the outbox of the document.
        """
        before = self.pop(member_id, None)
        ids, messages = ((), ()) if before is None else (before.ids, before.messages)
        if sent_as:
            messages = (*messages, *((each, id) for each in sent_as))[-MESSAGES_KEPT:]
        ids = (*ids, id)[-SENT_KEPT:] if waits else ids
        self[member_id] = Note(head, document, ids, messages)

    def carry(self, source: str, target: str, head: Head, document: Document, known: Sequence[tuple[str, str]]) -> None:
        """Carry the messages that were sent to a guest over to the member that the guest has become.

        Args:
            source: The guest.
            target: The member.
            head: The head of the member's document.
            document: The member's document.
            known: What the store knows of the guest's messages.
        """
        messages, own = (*known, *self.messages(source)), self.get(target)
        self.pop(source, None)
        if messages:
            ids, later = ((), ()) if own is None else (own.ids, own.messages)
            self[target] = Note(head, document, ids, (*messages, *later)[-MESSAGES_KEPT:])

    def strike(self, member_id: str, document: Document) -> Document:
        """Return a document without what was sent."""
        note = self.get(member_id)
        return document if note is None else without_sent(document, note.ids)

    def is_sent(self, member_id: str, id: str) -> bool:
        """Return whether replies are noted as sent."""
        note = self.get(member_id)
        return note is not None and id in note.ids

    def messages(self, member_id: str) -> tuple[tuple[str, str], ...]:
        """Return the messages as which replies were sent that the store may not know yet."""
        note = self.get(member_id)
        return () if note is None else note.messages

    def stored(self, member_id: str, document: Document) -> None:
        """Take note of a document that was stored: what it leaves out need not be noted any more."""
        note = self.pop(member_id, None)
        if note is None:
            return
        left = tuple(filter({*map(_id_of, document.outbox)}.__contains__, note.ids))
        if left or note.messages:
            self[member_id] = Note(note.head, note.document, left, note.messages)

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
    return MarkSent(member_id, note.head, note.ids, waiting, wake.timestamp() if wake else None, note.messages)
