"""The outbox: replies that answer no message, kept until they are delivered or precede the next reply."""

from __future__ import annotations

import itertools
from datetime import timedelta

import attrs

from vimbiso_fsm.document.document import (
    Undelivered,
)
from vimbiso_fsm.document.replies_codec import replies_from_raw, replies_to_keep
from vimbiso_fsm.engine.draft import Draft
from vimbiso_fsm.engine.events import (
    Delivered,
    DeliveryDue,
    Event,
    ReplyRoute,
    SessionEnding,
    SessionExpired,
    turn_token,
)
from vimbiso_fsm.engine.schedule import DELIVERY_TRIES, next_delivery
from vimbiso_fsm.flow.calls import STANDARD
from vimbiso_fsm.messages.replies import Reply

DELIVERY_LEASE = timedelta(seconds=30)
"""Lease of the worker that delivers replies."""


OUTBOX = 16
"""Turns whose replies may wait. The oldest above that are dropped; the audit records it."""


def take_delivery_due(draft: Draft, send: DeliveryDue) -> None:
    """Take a lease on replies of the outbox."""
    waiting = _waiting(draft, send.id)
    if waiting is None or waiting.tries != send.tries or (waiting.leased_until or draft.now) > draft.now:
        return draft.ignore()
    draft.kind = "delivery"
    deadline, taken = draft.before.deadline, tuple[Undelivered, ...]()
    if deadline is None or deadline > draft.now or not _is_warning(draft, waiting):  # else it comes too late
        draft.delivery = attrs.evolve(waiting, leased_until=draft.now + DELIVERY_LEASE, tries=waiting.tries + 1)
        taken = (draft.delivery,)
    draft.outbox = tuple(one for whole in draft.outbox for one in (taken if whole is waiting else (whole,)))


def take_delivered(draft: Draft, sent: Delivered) -> None:
    """Remove delivered replies from the outbox, or keep them for another try."""
    waiting = _waiting(draft, sent.id)
    if waiting is None or (not sent.done and waiting.tries != sent.tries):
        return draft.ignore()
    draft.kind = "delivery"
    kept: tuple[Undelivered, ...] = ()
    if not sent.done:
        draft.status = "failed"
        rest = timedelta(seconds=STANDARD.rest(waiting.tries))
        kept = (attrs.evolve(waiting, leased_until=draft.now + rest if waiting.tries < DELIVERY_TRIES else None),)
    draft.outbox = tuple(one for whole in draft.outbox for one in (kept if whole is waiting else (whole,)))


def _is_warning(draft: Draft, waiting: Undelivered) -> bool:
    """Whether the replies warn of the end of the session as it was before this turn."""
    deadline = draft.before.deadline
    return deadline is not None and waiting.id == turn_token(SessionEnding(deadline))[:16]


def _waiting(draft: Draft, id: str) -> Undelivered | None:
    """The replies in the outbox under that id."""
    return next((one for one in draft.outbox if one.id == id), None)


def take_overdue(draft: Draft) -> list[Reply]:
    """Take the replies that precede the reply to a message: those without a lease, up to the first with one."""
    free = list(itertools.takewhile(lambda one: (one.leased_until or draft.now) <= draft.now, draft.outbox))
    draft.outbox = draft.outbox[len(free) :]
    return [reply for one in free for reply in replies_from_raw(one.replies)]


def drop_warning(draft: Draft) -> None:
    """Drop a warning of the session's end, unless a worker is delivering it."""
    draft.outbox = tuple(
        one
        for one in draft.outbox
        if (one.leased_until is not None and one.leased_until > draft.now) or not _is_warning(draft, one)
    )


def put_in_outbox(draft: Draft, event: Event, route: ReplyRoute) -> None:
    """Put the replies of a turn that answers no message into the outbox."""
    if not draft.replies:
        return
    waiting = Undelivered(draft.token[:16], replies_to_keep(draft.said))
    if isinstance(event, SessionExpired) and not draft.bot.session.announced:
        waiting = attrs.evolve(waiting, tries=DELIVERY_TRIES)  # for the member's next message
    elif route == "deliver" and next_delivery(draft.outbox) is None:
        waiting = draft.delivery = attrs.evolve(waiting, leased_until=draft.now + DELIVERY_LEASE, tries=1)
    outbox = (*draft.outbox, waiting)
    if len(outbox) > OUTBOX:
        draft.detail = {**draft.detail, "dropped_from_outbox": len(outbox) - OUTBOX}
    draft.outbox = outbox[-OUTBOX:]
