"""TODO."""

from __future__ import annotations

import itertools
from datetime import timedelta

import attrs

from vimbiso_fsm.document.document import (
    Undelivered,
)
from vimbiso_fsm.document.replies_codec import replies_from_raw, replies_to_keep
from vimbiso_fsm.engine.draft import Conversation
from vimbiso_fsm.engine.events import Ending, Event, Listener, Send, Sent, Silence, turn_token
from vimbiso_fsm.engine.schedule import DELIVERY_TRIES, _first_out
from vimbiso_fsm.flow.calls import STANDARD
from vimbiso_fsm.messages.replies import Reply

DELIVERY_LEASE = timedelta(seconds=30)
"""How long replies are in the hands of whoever delivers them."""


OUTBOX = 16
"""Turns whose replies may wait; of more, the oldest are dropped, which the audit says."""


def _take_send(talk: Conversation, send: Send) -> None:
    """Take replies of the outbox into our hands."""
    waiting = _waiting(talk, send.id)
    if waiting is None or waiting.tries != send.tries or (waiting.leased_until or talk.now) > talk.now:
        return talk.ignore()
    talk.kind = "delivery"
    deadline, taken = talk.before.deadline, tuple[Undelivered, ...]()
    if deadline is None or deadline > talk.now or not _is_warning(talk, waiting):  # else it comes too late
        talk.delivery = attrs.evolve(waiting, leased_until=talk.now + DELIVERY_LEASE, tries=waiting.tries + 1)
        taken = (talk.delivery,)
    talk.outbox = tuple(one for whole in talk.outbox for one in (taken if whole is waiting else (whole,)))


def _take_sent(talk: Conversation, sent: Sent) -> None:
    """A delivery has ended: the replies leave the outbox, or wait to be tried again."""
    waiting = _waiting(talk, sent.id)
    if waiting is None or (not sent.done and waiting.tries != sent.tries):
        return talk.ignore()
    talk.kind = "delivery"
    kept: tuple[Undelivered, ...] = ()
    if not sent.done:
        talk.status = "failed"
        rest = timedelta(seconds=STANDARD.rest(waiting.tries))
        kept = (attrs.evolve(waiting, leased_until=talk.now + rest if waiting.tries < DELIVERY_TRIES else None),)
    talk.outbox = tuple(one for whole in talk.outbox for one in (kept if whole is waiting else (whole,)))


def _is_warning(talk: Conversation, waiting: Undelivered) -> bool:
    """Whether it warns of the end of the session as it was before this turn."""
    deadline = talk.before.deadline
    return deadline is not None and waiting.id == turn_token(Ending(deadline))[:16]


def _waiting(talk: Conversation, id: str) -> Undelivered | None:
    """What waits in the outbox under that id."""
    return next((one for one in talk.outbox if one.id == id), None)


def _overdue(talk: Conversation) -> list[Reply]:
    """What waited in the outbox and nobody is delivering, up to what somebody is: it precedes the reply to the member's
    message."""
    free = list(itertools.takewhile(lambda one: (one.leased_until or talk.now) <= talk.now, talk.outbox))
    talk.outbox = talk.outbox[len(free) :]
    return [reply for one in free for reply in replies_from_raw(one.replies)]


def _unwarn(talk: Conversation) -> None:
    """Who said something, or whose session is over, is not warned any more; unless somebody is doing it."""
    talk.outbox = tuple(
        one
        for one in talk.outbox
        if (one.leased_until is not None and one.leased_until > talk.now) or not _is_warning(talk, one)
    )


def _put_out(talk: Conversation, event: Event, listener: Listener) -> None:
    """Put the replies of a turn that answers no message into the outbox."""
    if not talk.replies:
        return
    waiting = Undelivered(talk.token[:16], replies_to_keep(talk.said))
    if isinstance(event, Silence) and not talk.bot.session.announced:
        waiting = attrs.evolve(waiting, tries=DELIVERY_TRIES)  # for the member's next message
    elif listener == "deliver" and _first_out(talk.outbox) is None:
        waiting = talk.delivery = attrs.evolve(waiting, leased_until=talk.now + DELIVERY_LEASE, tries=1)
    outbox = (*talk.outbox, waiting)
    if len(outbox) > OUTBOX:
        talk.detail = {**talk.detail, "dropped_from_outbox": len(outbox) - OUTBOX}
    talk.outbox = outbox[-OUTBOX:]
