"""The work that becomes due at a member without a message, and the instant of the next wake-up."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Final, TypeAlias

from vimbiso_fsm.document.document import Document, Passing, Run, Suspended, Undelivered
from vimbiso_fsm.engine.events import (
    DeliveryDue,
    Event,
    HandOverEnded,
    LeaseExpired,
    PassingDue,
    ReminderDue,
    SessionEnding,
    SessionExpired,
    StateTimeout,
)
from vimbiso_fsm.messages.message import Address

DELIVERY_TRIES: Final = 8
"""The number of deliveries after which replies wait for the member's next message."""
ASKED_TRIES: Final = 100
"""The same where the channel asks each time to wait: it says itself that nothing is wrong with the replies."""
MOST_NEXT: Final = 4
"""The number of flows that may wait for the open one to end."""


def is_full(suspended: Sequence[Run]) -> bool:
    """Return whether no further flow may wait for the open one to end."""
    return len(suspended) >= MOST_NEXT and sum(run.waits == Suspended.NEXT for run in suspended) >= MOST_NEXT


Delivers: TypeAlias = bool | Container[str] | Callable[[Address], bool]
"""Whether a worker can deliver replies, or the types of channels to whose members it can, or to which addresses."""


def delivers_to(delivers: Delivers, address: Address) -> bool:
    """Return whether a worker can deliver replies to an address."""
    if isinstance(delivers, bool):
        return delivers
    return delivers(address) if callable(delivers) else address.type in delivers


def due(document: Document, *, delivers: Delivers = True) -> list[tuple[datetime, Event]]:
    """Return the events that become due without a message, with their instants, the earliest first.

    A pending call suspends the end of the session, the timers and the reminders that open a flow. One that had its
    effect suspends only the timers and these reminders, because it is the flow that cannot go on. These reminders wait
    while as many flows as may wait for the open one do so (`is_full`). While a session is open, the timer of a
    suspended run waits, because the member is in another flow. It fires when the run is resumed, or after the end of
    the session. While a person has the conversation, the session, the timers and these reminders wait.

    Args:
        document: The member's document.
        delivers: Whether the worker that asks can deliver replies, or where.
    """
    found: list[tuple[datetime, Event]] = []
    call = document.call
    if call and (call.again_at or not call.done):
        lease = max(call.again_at or call.leased_until, call.leased_until)
        found.append((lease, LeaseExpired(call.key, call.root, call.tries)))
    if delivers and document.outbox:
        found += _deliveries(document, delivers)
    handed = document.handed
    if handed is not None:
        found.append((handed.until, HandOverEnded(handed.until, document.member_id)))
    if document.passing:
        found += ((item.again_at, PassingDue(item.id, item.again_at)) for item in first_passing(document.passing))
    if not call and handed is None:
        for run in (document.run, *(document.suspended if document.session_since is None else ())):
            if run and run.due:
                found.append((run.due, StateTimeout(run.id, run.fence, run.due)))
    for reminder in document.reminders:
        if not (reminder.flow and (call or handed or is_full(document.suspended))):
            found.append((reminder.at, ReminderDue(reminder.id, reminder.at)))
    if document.deadline and handed is None and (not call or call.done):
        found.append((document.deadline, SessionExpired(document.deadline, document.member_id)))
        here = document.channel
        if document.warn_at and not call and delivers_to(delivers, here.address) and document.is_reachable:
            found.append((document.warn_at, SessionEnding(document.deadline, document.member_id)))
    return sorted(found, key=itemgetter(0))


def first_passing(passing: Sequence[Passing]) -> Collection[Passing]:
    """Return what is to be passed on next to each inbox. Nothing overtakes what precedes it there."""
    first: dict[str, Passing] = {}
    for item in passing:
        first.setdefault(item.inbox, item)
    return first.values()


def _deliveries(document: Document, delivers: Delivers) -> list[tuple[datetime, Event]]:
    """Return the replies to deliver next to each address that may have them. No replies overtake others there."""
    found: list[tuple[datetime, Event]] = []
    met = set[Address | None]()
    here = document.channel
    for waiting in document.outbox:  # each turn with a sender comes here, so it makes few calls
        to = None if waiting.to is None or waiting.to.meets(here.address) else waiting.to
        if to in met or (waiting.tries >= DELIVERY_TRIES and not is_to_deliver(waiting)):
            continue
        met.add(to)
        if (delivers is True or delivers_to(delivers, here.address if to is None else to)) and (
            document.is_reachable if to is None else document.reaches(to)
        ):
            found.append((waiting.leased_until or document.last_updated, DeliveryDue(waiting.id, waiting.tries)))
    return found


def for_address(outbox: Sequence[Undelivered], here: Address, address: Address | None = None) -> list[Undelivered]:
    """Return the replies of an outbox that are for an address.

    Args:
        outbox: The outbox.
        here: The address of the member's latest turn.
        address: The address; None for `here`.
    """
    address = address or here
    return [waiting for waiting in outbox if waiting.to is address or (waiting.to or here).meets(address)]


def next_delivery(outbox: Sequence[Undelivered]) -> Undelivered | None:
    """Return the replies to deliver next, of those for one address."""
    return next(filter(is_to_deliver, outbox), None)


def is_to_deliver(waiting: Undelivered) -> bool:
    """Return whether a worker delivers the replies, or they wait for the member's next message."""
    return waiting.tries < (ASKED_TRIES if waiting.rest == "asked" else DELIVERY_TRIES)


def wake_at(document: Document, *, delivers: Delivers = True, stranger: bool = False) -> datetime | None:
    """Return the instant of the next event that is due without a message; None if there is none.

    Args:
        document: The member's document.
        delivers: Whether the worker that asks can deliver replies, or where.
        stranger: Whether the member is a stranger, whose session ends with the next message, without a notice before
            it.
    """
    if document.moved or document.leaving:
        return document.last_updated
    for at, event in due(document, delivers=delivers):
        if not (stranger and isinstance(event, SessionExpired)):
            return at
    return None
