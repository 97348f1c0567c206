"""Reminders of a member: set, replaced and cancelled by callbacks, and given when they are due."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import attrs

from vimbiso_fsm.document.document import Reminder
from vimbiso_fsm.document.ids import hashed
from vimbiso_fsm.document.json_codec import dumps
from vimbiso_fsm.document.replies_codec import replies_to_keep
from vimbiso_fsm.engine.draft import Draft, settle
from vimbiso_fsm.engine.events import ReminderDue
from vimbiso_fsm.errors import WrongCallback
from vimbiso_fsm.flow.reminders import CancelReminder, ReminderChange, SetReminder
from vimbiso_fsm.flow.turn import Turn
from vimbiso_fsm.messages.bounds import LONGEST_WAIT

MOST_REMINDERS: Final = 16
"""The number of reminders of a member."""
REMINDER_BYTES: Final = 1024
"""Bytes of the words and of the data of one reminder."""
_FIRST: Final = datetime.min.replace(tzinfo=UTC)
_LAST: Final = datetime.max.replace(tzinfo=UTC)


def change_reminders(draft: Draft, changes: Sequence[ReminderChange], turn: Turn[Any], place: str) -> None:
    """Take over what a callback has changed of the reminders.

    Args:
        draft: The draft of the turn.
        changes: The changes, in order.
        turn: The turn as the callback has seen it.
        place: The name of the callback, for the error.

    Raises:
        WrongCallback: There are too many reminders, or one is too large, too far ahead or of an unknown flow.
    """
    kept = {reminder.key: reminder for reminder in draft.reminders}
    for change in changes:
        kept.pop(change.key, None)
        if isinstance(change, SetReminder):
            kept[change.key] = _made(draft, change, turn, place)
    if len(kept) > MOST_REMINDERS:
        wanted = f"at most {MOST_REMINDERS}; cancel_reminder(key) takes one back"
        raise WrongCallback(place, f"more than {MOST_REMINDERS} reminders, those that were set before counted", wanted)
    draft.reminders = tuple(sorted(kept.values(), key=lambda reminder: (reminder.at, reminder.key)))


def checked_changes(changes: object, place: str) -> tuple[ReminderChange, ...]:
    """Return what a callback has returned as changes of reminders.

    Raises:
        WrongCallback: It is something else.
    """
    given: tuple[object, ...] = tuple(changes) if isinstance(changes, list | tuple) else (changes,)
    found: list[ReminderChange] = []
    for change in given:
        if not isinstance(change, SetReminder | CancelReminder):
            raise WrongCallback(place, type(change).__name__, "remind(…) or cancel_reminder(…), or a list of them")
        found.append(change)
    return tuple(found)


def due_reminder(draft: Draft, event: ReminderDue) -> Reminder | None:
    """Take the reminder that is due; None if it was replaced, cancelled or given since."""
    found = next((each for each in draft.reminders if (each.id, each.at) == (event.id, event.at)), None)
    if found is not None and event.at <= draft.now:
        draft.reminders = tuple(each for each in draft.reminders if each is not found)
        return found
    return None


def _made(draft: Draft, change: SetReminder, turn: Turn[Any], place: str) -> Reminder:
    flow, fields = change.flow, {}
    if flow is not None:
        if draft.bot.machines.get(flow.name) is None:
            raise WrongCallback(place, f"a reminder of flow {flow.name!r}", "a flow that Bot(flows=…) names")
        if change.data is not None:
            if not isinstance(change.data, flow.data):
                raise WrongCallback(place, type(change.data).__name__, f"data of class {flow.data.__name__}")
            fields = dict(settle(flow, change.data)[1])
    said = replies_to_keep([change.say]) if change.say is not None else ()
    size = len(dumps([said, fields], "reminder"))
    if size > REMINDER_BYTES:
        raise WrongCallback(place, f"a reminder of {size} bytes", f"at most {REMINDER_BYTES}")
    at = _instant(change.at, turn)
    if at - draft.now > timedelta(seconds=LONGEST_WAIT):
        raise WrongCallback(place, "a reminder of more than ten years ahead", "an instant before that")
    until = None if change.until is None else _instant(change.until, turn)
    mixed = change.until is not None and (change.at.utcoffset() is None) != (change.until.utcoffset() is None)
    if mixed and until is not None and until <= at:  # others were compared when they were made
        raise WrongCallback(place, "a reminder that is dropped before it is due", "one whose until is after its at")
    id = hashed("reminder", draft.token, change.key, key=draft.bot.digests.words_key)[:16]
    return Reminder(change.key, id, at, said, flow.name if flow is not None else "", fields, until)


def _instant(given: datetime, turn: Turn[Any]) -> datetime:
    """Return an instant in UTC. One without a time zone is what the member's clock shows.

    One that UTC cannot express, such as `datetime.max` west of Greenwich, is the first or last that it can.
    """
    try:
        return turn.instant(given.date(), given.time()) if given.utcoffset() is None else given.astimezone(UTC)
    except OverflowError:
        return _LAST if given.year > 1 else _FIRST


def merged_reminders(first: Sequence[Reminder], then: Sequence[Reminder]) -> tuple[Reminder, ...]:
    """Return the reminders of two documents of one member. Of the same key, that of the second one stays.

    Of too many, the latest are dropped.
    """
    kept = {reminder.key: reminder for reminder in (*first, *then)}
    ordered = sorted(kept.values(), key=lambda reminder: (reminder.at, reminder.key))
    return tuple(ordered[:MOST_REMINDERS])


def postponed(reminders: Sequence[Reminder], event: ReminderDue, until: datetime) -> tuple[Reminder, ...]:
    """Return the reminders with the one that is due at a later instant."""
    return tuple(attrs.evolve(each, at=until) if each.id == event.id else each for each in reminders)
