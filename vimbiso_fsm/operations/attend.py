"""Look what is due at the member on a channel, for a process that holds a connection to them.

Nothing is changed: what is due is run by `wake.py`, in the member's place in the queue.
"""

from __future__ import annotations

from datetime import datetime

import attrs

from vimbiso_fsm.document.document import Document
from vimbiso_fsm.document.ids import instant
from vimbiso_fsm.engine.decide import current_question
from vimbiso_fsm.engine.events import DeliveryDue
from vimbiso_fsm.engine.reading import Encrypted, Foreign, Newer, Sound, open_document
from vimbiso_fsm.engine.schedule import due, wake_at
from vimbiso_fsm.engine.stranger import is_stranger
from vimbiso_fsm.messages.message import Address, Channel
from vimbiso_fsm.messages.replies import Reply
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.operations.guests import find_guest
from vimbiso_fsm.operations.shared import find_owner
from vimbiso_fsm.store.requests import Load


@attrs.frozen
class Attended:
    """What is open and due at the member on a channel.

    Attributes:
        member_id: The member or guest; empty if nothing is stored, or if they speak on another channel and nothing is
            to be said on this one.
        due_at: The instant at which something is due next, in seconds since the epoch; None without one.
        question: The question that is open, with its final words, if it was asked for. Empty once the session is over.
    """

    member_id: str = ""
    due_at: float | None = None
    question: tuple[Reply, ...] = attrs.field(default=(), repr=False)

    def is_due(self, now: float) -> bool:
        """Return whether something is due, at an instant in seconds since the epoch."""
        return self.due_at is not None and self.due_at <= now


async def look(context: Context, channel: Channel, *, asks: bool) -> Attended:
    """Return what is due at the member on a channel, as far as a shell that reaches them is concerned.

    Args:
        context: The context of the operation.
        channel: The channel.
        asks: Whether the open question is wanted.

    Raises:
        NewerState: A newer release has stored the member's document.
        ForeignState: The member's document is of a flow that the bot never had.
        EncryptedState: The member's data is encrypted, and its key is not at hand.
    """
    bot, place = context.bot, context.bot.route(channel)
    owner = (await find_owner(context, place)).member_id
    if owner is None:
        member_id, stored = await find_guest(bot.digests, place)
    else:
        member_id, stored = owner, await Load(owner)
    now = instant(max(stored.at, context.now))
    match open_document(bot, member_id, stored, now):
        case Sound(document):
            pass
        case Newer(error) | Foreign(error) | Encrypted(error):
            raise error
        case _:  # nothing is stored, or the member's next message repairs it
            return Attended()

    def is_here(address: Address) -> bool:
        return bot.route(address.channel).address == place.address

    if not is_here(document.channel.address):  # then only what is for this very address is due here
        first = next((at for at, event in due(document, delivers=is_here) if isinstance(event, DeliveryDue)), None)
        return Attended() if first is None else Attended(member_id, first.timestamp())
    first = wake_at(document, delivers=is_here, stranger=is_stranger(bot, document))
    question = current_question(bot, document, now) if asks and _is_asked(document, now) else ()
    return Attended(member_id, first.timestamp() if first else None, question)


def _is_asked(document: Document, now: datetime) -> bool:
    """Return whether a question is open, in a session that goes on."""
    is_open = document.deadline is not None and document.deadline > now
    return is_open and document.run is not None and document.call is None and document.moved is None
