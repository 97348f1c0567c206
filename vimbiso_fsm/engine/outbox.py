"""The outbox: replies that answer no message, kept until they are delivered or precede the next reply."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, Final

import attrs

from vimbiso_fsm.document.document import Undelivered
from vimbiso_fsm.document.json_codec import dumps
from vimbiso_fsm.document.replies_codec import replies_from_raw, replies_to_keep
from vimbiso_fsm.engine.draft import Draft
from vimbiso_fsm.engine.events import (
    Delivered,
    DeliveryDue,
    Event,
    ReminderDue,
    ReplyRoute,
    SessionEnding,
    SessionExpired,
    StateTimeout,
    turn_token,
)
from vimbiso_fsm.engine.schedule import DELIVERY_TRIES, next_delivery
from vimbiso_fsm.flow.calls import LONGEST_REST, STANDARD
from vimbiso_fsm.messages.given import GivenFact
from vimbiso_fsm.messages.replies import Reply

DELIVERY_LEASE: Final = timedelta(seconds=30)
"""The lease of the worker that delivers replies."""

LONGEST_PAUSE: Final = timedelta(seconds=LONGEST_REST)
"""The longest pause between two deliveries of the same replies; a lease is shorter."""

OUTBOX: Final = 16
"""The number of turns whose replies may wait. The oldest beyond it are dropped, which the audit records."""

OUTBOX_BYTES: Final = 8 * 1024
"""The bytes of the replies that may wait, but for the latest. The oldest beyond it are dropped likewise."""


def take_delivery_due(draft: Draft, event: DeliveryDue) -> None:
    """Take a lease on replies of the outbox. A warning of a session that has ended is dropped.

    While a service is asked for the login, another person may have the channel, and the replies wait for the member's
    next message.
    """
    waiting = _waiting(draft, event.id)
    if waiting is None or waiting.tries != event.tries or _is_leased(draft, waiting) or not draft.before.is_reachable:
        return draft.ignore()
    draft.kind = "delivery"
    if draft.is_unproven and draft.pending is not None:
        return _replace(draft, waiting, attrs.evolve(waiting, leased_until=None, tries=DELIVERY_TRIES))
    deadline = draft.before.deadline
    if deadline is None or deadline > draft.now or not _is_warning(draft, waiting):
        draft.delivery = attrs.evolve(waiting, leased_until=draft.now + DELIVERY_LEASE, tries=waiting.tries + 1)
    _replace(draft, waiting, draft.delivery)


def take_delivered(draft: Draft, event: Delivered) -> None:
    """Remove delivered replies from the outbox, or keep them for another delivery."""
    waiting = _waiting(draft, event.id)
    if waiting is None or (not event.done and waiting.tries != event.tries):
        return draft.ignore()
    draft.kind = "delivery"
    if event.done:
        return _replace(draft, waiting, None)
    draft.status = "failed"
    rest = timedelta(seconds=STANDARD.rest(waiting.tries))
    again = draft.now + rest if waiting.tries < DELIVERY_TRIES else None
    _replace(draft, waiting, attrs.evolve(waiting, leased_until=again))


def overdue(draft: Draft) -> Sequence[Undelivered]:
    """Return what precedes the reply to a message: the replies without a lease, up to the first with one."""
    return list(itertools.takewhile(lambda waiting: not _is_leased(draft, waiting), draft.outbox))


def take_overdue(draft: Draft) -> list[Reply]:
    """Take the replies that precede the reply to a message."""
    free = overdue(draft)
    draft.outbox = draft.outbox[len(free) :]
    return [reply for waiting in free for reply in replies_from_raw(waiting.replies)]


def hold_notices(draft: Draft) -> None:
    """Let what happened before a message wait until a login has proved who hears it.

    When a service is asked for the login, the words at the end of the session and the replies of the outbox begin to
    wait, but those that a worker delivers now. Replies that come later are the login's own, and are told.
    """
    if draft.was_asked_to_log_in:
        own = [waiting for waiting in overdue(draft) if waiting.tries < DELIVERY_TRIES]
        draft.outbox = tuple(waiting for waiting in draft.outbox if waiting not in own)
        said = [reply for waiting in own for reply in replies_from_raw(waiting.replies)]
        draft.replies = [*said, *draft.replies]
        return
    held, draft.replies = draft.said[: draft.notices], draft.replies[draft.notices :]
    if held:
        draft.outbox = (*draft.outbox, Undelivered(draft.token[:16], replies_to_keep(held)))
    draft.outbox = tuple(
        waiting if _is_leased(draft, waiting) else attrs.evolve(waiting, leased_until=None, tries=DELIVERY_TRIES)
        for waiting in _latest(draft.outbox)
    )


def is_among(reply: Any, kept: Iterable[Undelivered]) -> bool:
    """Return whether a reply, as the outbox keeps it, is among these."""
    return any(reply in waiting.replies for waiting in kept)


def drop_asked(draft: Draft) -> None:
    """Drop the current question where it waits for its delivery, if the reply to a message ends with it."""
    if not draft.outbox or draft.run is None or draft.pending is not None or not draft.state.is_question:
        return
    asked = replies_to_keep(draft.said[-1:])
    left = (
        attrs.evolve(waiting, replies=tuple(reply for reply in waiting.replies if reply not in asked))
        for waiting in draft.outbox
    )
    draft.outbox = tuple(waiting for waiting in left if waiting.replies)


def drop_warning(draft: Draft) -> None:
    """Drop a warning of the session's end, unless a worker is delivering it."""
    draft.outbox = tuple(
        waiting for waiting in draft.outbox if _is_leased(draft, waiting) or not _is_warning(draft, waiting)
    )


def put_in_outbox(draft: Draft, event: Event, route: ReplyRoute) -> None:
    """Put the replies of a turn that answers no message into the outbox."""
    if not draft.replies:
        return
    waiting = Undelivered(draft.token[:16], replies_to_keep(draft.said))
    if isinstance(event, SessionExpired) and not draft.bot.session.announced:
        waiting = attrs.evolve(waiting, tries=DELIVERY_TRIES)  # it waits for the member's next message
    elif isinstance(event, StateTimeout | GivenFact | ReminderDue) and draft.was_asked_to_log_in:
        waiting = attrs.evolve(waiting, tries=DELIVERY_TRIES)
    elif route == "deliver" and next_delivery(draft.outbox) is None and draft.before.is_reachable:
        waiting = draft.delivery = attrs.evolve(waiting, leased_until=draft.now + DELIVERY_LEASE, tries=1)
    outbox = (*draft.outbox, waiting)
    kept = _latest(outbox)
    if len(outbox) > len(kept):
        draft.detail = {**draft.detail, "dropped_from_outbox": len(outbox) - len(kept)}
    draft.outbox = kept


def _latest(outbox: Sequence[Undelivered]) -> tuple[Undelivered, ...]:
    """The latest replies within the bounds of the outbox; the very latest in any case."""
    kept: list[Undelivered] = []
    room = OUTBOX_BYTES
    for waiting in reversed(outbox[-OUTBOX:]):
        room -= len(dumps(waiting.replies, "outbox"))
        if kept and room < 0:
            break
        kept.append(waiting)
    return tuple(reversed(kept))


def _waiting(draft: Draft, id: str) -> Undelivered | None:
    """The replies in the outbox with that id."""
    return next((waiting for waiting in draft.outbox if waiting.id == id), None)


def _is_leased(draft: Draft, waiting: Undelivered) -> bool:
    """Whether a worker is delivering the replies, or their rest is not over."""
    return waiting.leased_until is not None and waiting.leased_until > draft.now


def _is_warning(draft: Draft, waiting: Undelivered) -> bool:
    """Whether the replies warn of the session's end as it was before this turn."""
    deadline = draft.before.deadline
    return deadline is not None and waiting.id == turn_token(SessionEnding(deadline, draft.before.member_id), b"")[:16]


def _replace(draft: Draft, waiting: Undelivered, by: Undelivered | None) -> None:
    """Replace replies in the outbox; None removes them."""
    kept = (by if each is waiting else each for each in draft.outbox)
    draft.outbox = tuple(each for each in kept if each is not None)
