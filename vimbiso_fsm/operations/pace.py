"""The pace of deliveries: whether replies that a worker is about to send are next.

It is asked for before the commit that leases the replies, so that replies that wait for their turn keep their place in
the outbox, or in the timer that says them, and nothing is stored of the wait.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from vimbiso_fsm.document.document import Document, Undelivered
from vimbiso_fsm.errors import VimbisoError
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.sending import Later
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.store.requests import TakePace
from vimbiso_fsm.store.retention import LONGEST_PAUSE

URGENT: Final = 1e10
"""Seconds by which urgent replies precede others, more than any timer is apart from another."""
LATER: Final = 0.001
"""Seconds by which replies are asked for later than the store has said, because instants are rounded.

To ask too early would cost a request, and a wake-up, for nothing.
"""


async def wait_at_pace(context: Context, document: Document, waiting: Undelivered, due: datetime) -> float:
    """Ask for the turn of replies at the pace of their channel.

    Args:
        context: The context of the operation.
        document: The document of their member.
        waiting: The replies.
        due: The instant from which they are due: of replies of one urgency, the earliest come first.

    Returns:
        The seconds after which their turn is to be asked for again; 0 if it is their turn.
    """
    channel = document.channel_at(waiting.to)
    pace = context.paces.get(channel.type)
    if pace is None:
        return 0.0
    order = due.timestamp() - (URGENT if waiting.urgent else 0.0)
    name = context.bot.digests.guest_id(channel.address)
    burst, every = (1, 0.0) if pace.chat is None else (pace.chat.burst, pace.chat.every)
    wait = await TakePace(channel.type, channel.account, name, order, pace.limit, pace.every, burst, every)
    return wait + LATER if wait else 0.0


async def keep_pause(context: Context, channel: Channel, id: str, later: Later) -> None:
    """Let a pause that a channel has asked for count for its whole account, unless it is about the member alone.

    A store that does not answer is reported. The member's own pause is kept in the outbox.

    Args:
        context: The context of the operation.
        channel: The channel of the member.
        id: The identifier of the replies in the outbox.
        later: The answer of the channel.
    """
    pace, seconds = context.paces.get(channel.type), min(later.pause(0.0), LONGEST_PAUSE)
    if pace is None or later.address or not seconds:
        return
    name = context.bot.digests.guest_id(channel.address)
    try:
        await TakePace(channel.type, channel.account, name, 0.0, pace.limit, pace.every, pause=seconds)
    except VimbisoError as error:
        context.errors.append((id[:10], error))
