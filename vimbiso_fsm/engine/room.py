"""The room that a turn may fill in a document, so that no document is ever too full to go on.

| what                                               | bound           | on turns                                   |
| -------------------------------------------------- | --------------- | ------------------------------------------ |
| profile and account                                | `MEMBER_ROOM`   | that take something in                     |
| these, and the data of all runs                    | `GATHERED_ROOM` | that take in anything but the answer of a  |
|                                                    |                 | call that had its effect                   |
| the document, if the turn adds more than `SMALL`   | `TURN_ROOM`     | that take something in                     |
| the document                                       | `MAX_DOCUMENT`  | all                                        |

A turn takes something in if a state is left by an answer, a timeout or a call. The room above the bounds is for the
ways out (the global words, the start and the end of a session), for refusals, and for the answers of calls that had
their effect. A part that does not grow is never refused, so that a document that is full already can be left.

A turn without room goes another way (`refuse_for_size`): an answer is refused and its question asked again, a timer is
cleared, a call that only reads fails. The answer of a call that had its effect is kept (`kept_answer.py`). "menu" and
"cancel" end everything that is open (`decide.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

import attrs

from vimbiso_fsm.document.codec import document_to_raw
from vimbiso_fsm.document.document import Run
from vimbiso_fsm.document.json_codec import dumps_unstructured
from vimbiso_fsm.engine.draft import Draft
from vimbiso_fsm.engine.events import CallReturned, Event, LeaseExpired, ReminderDue, StateTimeout
from vimbiso_fsm.engine.interpreter import fail, go_home
from vimbiso_fsm.engine.refusals import count_refusal, say_reasons
from vimbiso_fsm.errors import DocumentTooLarge
from vimbiso_fsm.messages.given import FlowOpened, TriggerPulled
from vimbiso_fsm.messages.message import Message
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.store.retention import MAX_DOCUMENT

MEMBER_ROOM: Final = 32 * 1024
"""Bytes of a member's profile and account. They stay when all flows are left."""
GATHERED_ROOM: Final = 48 * 1024
"""Bytes of all that was gathered: profile, account and the data of all runs."""
TURN_ROOM: Final = 56 * 1024
"""Bytes of a document that a turn may fill: also the arguments of calls, the choices shown and the outbox."""
SMALL: Final = 1024
"""Bytes that a turn may add above `TURN_ROOM`: a confirmation and its bookkeeping."""

_TAKES_NOTHING_IN: Final = frozenset({"start", "session", "recovery", "refusal", "page", "clock", "error"})
"""The kinds of turns of a message that gather nothing."""


def check_room(draft: Draft, event: Event, raw: Mapping[str, Any], size: int) -> None:
    """Check the size of a new document that has more than `MEMBER_ROOM` bytes. No part is larger than the whole.

    Args:
        draft: The draft of the turn.
        event: The event.
        raw: The new document as plain data.
        size: Its size in bytes.

    Raises:
        DocumentTooLarge: The turn makes the document, or a part of it, larger than it may.
    """
    if size > MAX_DOCUMENT:
        raise DocumentTooLarge(size, MAX_DOCUMENT)
    if not _takes_in(draft, event):
        return
    before = document_to_raw(draft.before)
    _check(_bytes(_member_parts(raw)), _bytes(_member_parts(before)), MEMBER_ROOM)
    if not draft.from_effect:
        _check(_bytes(_gathered_parts(raw)), _bytes(_gathered_parts(before)), GATHERED_ROOM)
    if size > TURN_ROOM:
        _check(size, _bytes([before]) + SMALL, TURN_ROOM)


def refuse_for_size(draft: Draft, event: Event) -> bool:
    """Refuse what an event brings, because there is no room for it; return whether the event can be refused.

    Args:
        draft: A new draft of the turn.
        event: The event.
    """
    match event:
        case Message():
            return draft.pending is None and _refuse_answer(draft)
        case StateTimeout():
            draft.kind, draft.status = "timer", "refused"
            draft.codes.append("message.too_much")
            _clear_timers(draft)
            return True
        case CallReturned(result=result):
            if not event.is_answer or isinstance(result, Refused) or draft.policy.effect:
                return False
            fail(draft, Refused("call.too_much"))
            return True
        case FlowOpened() | TriggerPulled():
            draft.kind, draft.status = "trigger" if isinstance(event, TriggerPulled) else "open", "refused"
            draft.codes.append("message.too_much")
            return True
        case _:
            return False


def _refuse_answer(draft: Draft) -> bool:
    reason = Refused("message.too_much")
    draft.kind, draft.status = "refusal", "refused"
    say_reasons(draft, [reason])
    _clear_timers(draft)  # it may be a timeout that has no room
    if draft.run is None:
        go_home(draft)
        return True
    count_refusal(draft, reason, draft.run.attempts)
    if draft.state.is_question:
        draft.ask()
    return True


def _clear_timers(draft: Draft) -> None:
    """Clear the timers that are due, as if no transition had accepted them."""
    if draft.run is not None:
        draft.run = _without_due_timer(draft.run, draft.now)
    draft.suspended = tuple(_without_due_timer(run, draft.now) for run in draft.suspended)


def _without_due_timer(run: Run, now: datetime) -> Run:
    return attrs.evolve(run, due=None) if run.due is not None and run.due <= now else run


def _takes_in(draft: Draft, event: Event) -> bool:
    """Whether a state is left by an answer, a timeout or a call."""
    if isinstance(event, Message):
        return not (draft.leaves or draft.kind in _TAKES_NOTHING_IN)
    takes = CallReturned | LeaseExpired | StateTimeout | FlowOpened | TriggerPulled | ReminderDue
    return isinstance(event, takes) and draft.kind != "error"


def _check(size: int, before: int, limit: int) -> None:
    if size > max(limit, before):
        raise DocumentTooLarge(size, limit)


def _bytes(parts: Iterator[object] | list[object]) -> int:
    return sum(len(dumps_unstructured(part)) for part in parts)


def _member_parts(raw: Mapping[str, Any]) -> Iterator[object]:
    yield raw["profile"]
    yield raw["current_account"]


def _gathered_parts(raw: Mapping[str, Any]) -> Iterator[object]:
    yield from _member_parts(raw)
    if raw["flow_data"]:
        yield raw["flow_data"]["data"]
    for run in raw.get("_suspended", ()):
        yield run["flow_data"]["data"]
