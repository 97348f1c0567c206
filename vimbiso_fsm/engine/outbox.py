"""The outbox: replies that are kept until they are sent, delivered by a worker, or precede the next reply."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import attrs

from vimbiso_fsm.document.document import Document, Undelivered
from vimbiso_fsm.document.json_codec import dumps
from vimbiso_fsm.document.replies_codec import replies_from_raw, replies_to_keep
from vimbiso_fsm.engine.draft import Draft
from vimbiso_fsm.engine.events import (
    CallReturned,
    Delivered,
    DeliveryDue,
    Event,
    LeaseExpired,
    ReminderDue,
    ReplyRoute,
    SessionEnding,
    SessionExpired,
    StateTimeout,
    turn_token,
)
from vimbiso_fsm.engine.schedule import DELIVERY_TRIES, for_address, is_to_deliver, next_delivery
from vimbiso_fsm.engine.windows import has_lapsed, parted, with_end
from vimbiso_fsm.flow.calls import LONGEST_REST, STANDARD
from vimbiso_fsm.flow.privacy import reason_shown
from vimbiso_fsm.messages.given import GivenFact, HandedBack, HandedOver, PersonSaid
from vimbiso_fsm.messages.message import Address
from vimbiso_fsm.messages.replies import Reply
from vimbiso_fsm.messages.sending import LONGEST_WAIT, Later, Never
from vimbiso_fsm.messages.told import StatusChanged

DELIVERY_LEASE: Final = timedelta(seconds=30)
"""The lease of the process that sends replies."""

LONGEST_PAUSE: Final = timedelta(seconds=LONGEST_REST)
"""The longest pause between two deliveries of the same replies that no channel asks for; a lease is shorter."""

LONGEST_ASKED: Final = timedelta(seconds=LONGEST_WAIT)
"""The longest pause that a channel asks for."""

OUTBOX: Final = 16
"""The number of turns whose replies may wait. The oldest beyond it are dropped, which the audit records."""

UNSAID: Final = "unsaid"
"""The fact of an audit entry that replies are not said: "consent" if the member wants no messages."""
OUTBOX_BYTES: Final = 8 * 1024
"""The bytes of the replies that may wait, but for the latest. The oldest beyond it are dropped likewise."""


def take_delivery_due(draft: Draft, event: DeliveryDue) -> None:
    """Take a lease on replies of the outbox. A warning of a session that has ended is dropped.

    While a service is asked for the login, another person may have the channel, and the replies wait for the member's
    next message.
    """
    waiting = _waiting(draft, event.id)
    if waiting is None or waiting.tries != event.tries or _is_leased(draft, waiting):
        return draft.ignore()
    if not draft.before.reaches(waiting.to or draft.before.channel.address):
        return draft.ignore()
    draft.kind = "delivery"
    if draft.is_unproven and draft.pending is not None:
        return _replace(draft, waiting, attrs.evolve(waiting, leased_until=None, tries=DELIVERY_TRIES))
    if has_lapsed(draft, waiting):
        draft.lapsed = (waiting.id,)
        return _replace(draft, waiting)
    deadline = draft.before.deadline
    if deadline is not None and deadline <= draft.now and _is_warning(draft, waiting):
        return _replace(draft, waiting)
    goes, held = parted(draft, waiting)
    if goes is not None:
        rest: Literal["", "asked"] = "asked" if waiting.rest == "asked" else ""  # how often it asks is counted apart
        until = draft.now + DELIVERY_LEASE
        draft.delivery = attrs.evolve(goes, leased_until=until, tries=waiting.tries + 1, rest=rest)
    _replace(draft, waiting, draft.delivery, held)


def take_delivered(draft: Draft, event: Delivered) -> None:
    """Remove delivered replies from the outbox, or keep them for another delivery."""
    waiting = _waiting(draft, event.id)
    if waiting is None or (not event.done and waiting.tries != event.tries):
        return draft.ignore()
    draft.kind = "delivery"
    if event.done:
        return _replace(draft, waiting)
    draft.status = "failed"
    waiting = _with_replies(draft, waiting, event.replies)
    usual = STANDARD.rest(waiting.tries)
    match event.answer:
        case Never() as never:
            draft.detail = {**draft.detail, "answer": "never", "reason": reason_shown(never.reason), "code": never.code}
            if never.address:
                same = for_address(draft.outbox, here_of(draft), waiting.to)
                draft.outbox = tuple(_held(each) if each in same else each for each in draft.outbox)
            else:
                _replace(draft, waiting)
        case Later() as later:
            draft.detail = {**draft.detail, "answer": "later"}
            _replace(draft, waiting, _resting(draft, waiting, later.pause(usual), "asked"))
        case None:
            draft.detail = {**draft.detail, "answer": "unknown", "reason": event.error}
            _replace(draft, waiting, _resting(draft, waiting, usual, "retry"))


def lease_replies(draft: Draft) -> None:
    """Put the replies of a turn into the outbox, leased to the process that commits the turn. Its record holds them.

    Behind replies for which the channel has asked to wait they have no lease, because no replies overtake others.
    """
    before, to = draft.before.outbox, None
    if draft.message is None and not draft.channel.address.meets(
        here_of(draft)
    ):  # words about a fact go where it was told
        to = draft.channel.address
    paused = before and [
        each.leased_until for each in for_address(before, here_of(draft), to) if _is_asked(draft, each)
    ]
    if not paused:
        waiting = draft.delivery = Undelivered(draft.token[:16], (), draft.now + DELIVERY_LEASE, 1, to=to)
    else:
        waiting = Undelivered(draft.token[:16], to=to)
        if "choice.late" in draft.codes:  # however often a member writes meanwhile, they are told so once
            said = replies_to_keep(draft.said)
            draft.outbox = _without(draft.outbox, lambda each, reply: not each.tries and reply in said)
        same = for_address(draft.outbox, here_of(draft), to)
        if not any(_is_asked(draft, each) for each in same):  # those that waited for the pause are dropped
            waiting = attrs.evolve(waiting, leased_until=paused[0], rest="asked")
    if draft.outbox:
        _append(draft, waiting)
    else:
        draft.outbox = (waiting,)


def with_recorded(document: Document, raw: Mapping[str, Sequence[Any]], now: datetime) -> Document:
    """Return a document that holds the replies of its outbox that only records have held, but for those being sent.

    Args:
        document: The document.
        raw: The replies by the identifier in the outbox, as plain data. Where they are missing, the record is gone, and
            so are the replies.
        now: The store's clock.
    """
    outbox = (
        waiting
        if not is_left(waiting, now)
        else attrs.evolve(waiting, replies=tuple(raw.get(waiting.id, ())), urgent=True)
        for waiting in document.outbox
    )
    return attrs.evolve(document, outbox=tuple(each for each in outbox if each.replies or not is_left(each, now)))


def is_left(waiting: Undelivered, now: datetime) -> bool:
    """Return whether a turn's record holds replies that no process sends now."""
    return waiting.is_recorded and (waiting.leased_until is None or waiting.rest == "asked" or is_over(waiting, now))


def is_over(waiting: Undelivered, now: datetime) -> bool:
    """Return whether the lease of replies, or their rest, is over."""
    return waiting.leased_until is not None and waiting.leased_until <= now


def overdue(draft: Draft) -> Sequence[Undelivered]:
    """Return what precedes the reply to a message: the replies there without a lease, up to the first with one.

    Where the process sends the reply itself, those that rest because the outcome was unknown precede it too, because
    the member is there.
    """
    retries = draft.sends
    return list(
        itertools.takewhile(
            lambda waiting: not _is_leased(draft, waiting) or (retries and waiting.rest == "retry"),
            for_address(draft.outbox, here_of(draft)),
        )
    )


def take_overdue(draft: Draft) -> list[Reply]:
    """Take the replies that precede the reply to a message."""
    free = overdue(draft)
    draft.outbox = tuple(waiting for waiting in draft.outbox if waiting not in free)
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


def here_of(draft: Draft) -> Address:
    """Return the address of the member's latest turn, which is this one, unless it is that of a fact.

    A fact that begins a conversation is one.
    """
    spoken = draft.message is not None or draft.begun or not draft.before.version
    return (draft.channel if spoken else draft.before.channel).address


def is_among(reply: Any, kept: Iterable[Undelivered]) -> bool:
    """Return whether a reply, as the outbox keeps it, is among these."""
    return any(reply in waiting.replies for waiting in kept)


def drop_asked(draft: Draft) -> None:
    """Drop the current question where it waits for its delivery, if the reply to a message ends with it."""
    if not draft.outbox or draft.run is None or draft.pending is not None or not draft.state.is_question:
        return
    asked = replies_to_keep(draft.said[-1:])
    draft.outbox = _without(draft.outbox, lambda _, reply: reply in asked)


def drop_warning(draft: Draft) -> None:
    """Drop a warning of the session's end, unless a worker is delivering it."""
    draft.outbox = tuple(
        waiting for waiting in draft.outbox if _is_leased(draft, waiting) or not _is_warning(draft, waiting)
    )


def put_in_outbox(draft: Draft, event: Event, route: ReplyRoute) -> None:
    """Put the replies of a turn that answers no message into the outbox.

    They are for the address that the event names, see `Document.reached_at`. Where the member wants no messages at any,
    only the result of a call is kept, for which they have asked.
    """
    if not draft.replies:
        return
    urgent = isinstance(event, CallReturned | LeaseExpired)
    before, here = draft.before, here_of(draft)
    address = here if draft.parts else before.reached_at(draft.named)
    if address is None and before.opted_out and not urgent:
        draft.detail = {**draft.detail, UNSAID: "consent"}
        return
    to = None if address is None or address.meets(here) else address
    waiting = Undelivered(draft.token[:16], replies_to_keep(draft.said), urgent=urgent, to=to)
    waiting = with_end(draft, event, waiting)
    same = for_address(draft.outbox, here, to)
    if any(each.rest == "held" for each in same) or is_failure(event):
        waiting = _held(waiting)
    elif isinstance(event, SessionExpired) and not draft.bot.session.announced:
        waiting = attrs.evolve(waiting, tries=DELIVERY_TRIES)  # it waits for the member's next message
    elif (
        isinstance(event, StateTimeout | GivenFact | ReminderDue)
        and draft.was_asked_to_log_in
        and not (
            isinstance(event, PersonSaid | HandedOver | HandedBack)  # a person answers the speaker, not the member
        )
    ):
        waiting = attrs.evolve(waiting, tries=DELIVERY_TRIES)
    elif address is not None:
        goes, held = parted(draft, waiting)
        if goes is not None and route == "deliver" and next_delivery(same) is None:
            goes = draft.delivery = attrs.evolve(goes, leased_until=draft.now + DELIVERY_LEASE, tries=1)
        for each in (goes, held):
            if each is not None:
                _append(draft, each)
        return
    _append(draft, waiting)


def _append(draft: Draft, waiting: Undelivered) -> None:
    """Append replies to the outbox. The oldest beyond its bounds are dropped."""
    outbox = (*draft.outbox, waiting)
    kept = _latest(outbox) if draft.outbox else outbox
    if len(outbox) > len(kept):
        draft.detail = {**draft.detail, "dropped_from_outbox": len(outbox) - len(kept)}
    draft.outbox = kept


def _without(outbox: Sequence[Undelivered], drops: Callable[[Undelivered, Any], bool]) -> tuple[Undelivered, ...]:
    """The replies of an outbox without some of them. Those in records stay."""
    left = (
        attrs.evolve(waiting, replies=tuple(reply for reply in waiting.replies if not drops(waiting, reply)))
        for waiting in outbox
    )
    return tuple(now for was, now in zip(outbox, left, strict=True) if was.is_recorded or now.replies)


def _with_replies(draft: Draft, waiting: Undelivered, replies: tuple[Any, ...]) -> Undelivered:
    """Put replies into the outbox that only the record of their turn has held, and return them there."""
    if not (waiting.is_recorded and replies):
        return waiting
    found = attrs.evolve(waiting, replies=replies, urgent=True)
    _replace(draft, waiting, found)
    return found


def _resting(draft: Draft, waiting: Undelivered, seconds: float, rest: Literal["asked", "retry"]) -> Undelivered:
    """The replies before their next delivery. After the last one they wait for the member's next message."""
    again = attrs.evolve(waiting, leased_until=draft.now + timedelta(seconds=seconds), rest=rest)
    return again if is_to_deliver(again) else attrs.evolve(again, leased_until=None, rest="")


def _held(waiting: Undelivered) -> Undelivered:
    """Replies to a member to whom the channel sends nothing now: they wait for the member's next message."""
    return attrs.evolve(waiting, leased_until=None, tries=max(waiting.tries, DELIVERY_TRIES), rest="held")


def is_failure(event: Event) -> bool:
    """Return whether an event tells that replies do not reach the member, so that words about it would not either."""
    return isinstance(event, StatusChanged) and event.failed


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


def _is_asked(draft: Draft, waiting: Undelivered) -> bool:
    """Whether the channel has asked to wait with the replies, and the pause goes on, or a process sends them now."""
    return waiting.rest == "asked" and is_to_deliver(waiting) and _is_leased(draft, waiting)


def _is_leased(draft: Draft, waiting: Undelivered) -> bool:
    """Whether a worker is delivering the replies, or their rest is not over."""
    return waiting.leased_until is not None and waiting.leased_until > draft.now


def _is_warning(draft: Draft, waiting: Undelivered) -> bool:
    """Whether the replies warn of the session's end as it was before this turn."""
    deadline = draft.before.deadline
    return deadline is not None and waiting.id == turn_token(SessionEnding(deadline, draft.before.member_id), b"")[:16]


def _replace(draft: Draft, waiting: Undelivered, *by: Undelivered | None) -> None:
    """Replace replies in the outbox; without any, and by None, they are removed."""
    place = draft.outbox.index(waiting)
    kept = (*draft.outbox[:place], *by, *draft.outbox[place + 1 :])
    draft.outbox = tuple(each for each in kept if each is not None)
