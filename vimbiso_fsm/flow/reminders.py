"""Reminders that a callback proposes: words, a flow or both, at an instant, under a key.

They are kept with the member, outlive the session and the run that proposed them, and are stored in the commit of the
turn. The same key replaces the earlier reminder.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, TypeAlias

import attrs

from vimbiso_fsm.errors import WrongArgument
from vimbiso_fsm.flow.state import Declared
from vimbiso_fsm.messages.replies import SAID, Said
from vimbiso_fsm.messages.value import Value

MAX_KEY: Final = 64
"""Characters of the key of a reminder."""


@attrs.frozen(eq=False, repr=False)
class SetReminder(Value):
    """A reminder to be set; made by `remind`."""

    at: datetime
    key: str
    say: Said | None = attrs.field(default=None, repr=False)
    flow: Declared | None = None
    data: Any = attrs.field(default=None, repr=False)
    until: datetime | None = None


@attrs.frozen(eq=False, repr=False)
class CancelReminder(Value):
    """A reminder to be cancelled; made by `cancel_reminder`."""

    key: str


ReminderChange: TypeAlias = SetReminder | CancelReminder
"""A change of the reminders of a member."""


def remind(
    at: datetime,
    key: str,
    say: Said | None = None,
    *,
    flow: Declared | None = None,
    data: object = None,
    until: datetime | None = None,
) -> SetReminder:
    """Return a reminder for `turn.changes(reminders=[…])` or `State(reminds=…)`.

    Args:
        at: When the member is reminded. Without a time zone, it is what the member's clock shows: of a time that the
            clock shows twice it is the first (the second with `fold=1`), and one that it skips is read by the clock
            before the change, as `turn.instant` reads it. An instant that has passed counts at once.
        key: The name of the reminder at this member. The audit shows it, so put no personal data in it.
        say: What is said.
        flow: The flow that is opened, as `manager.open` opens it; one of `Bot(flows=…)`.
        data: The data with which the flow begins, an instance of its data class; None for the defaults.
        until: When the reminder has lost its sense, as when the appointment begins. A later worker drops it. It is
            after `at`.

    Raises:
        WrongArgument: A value is empty, too long or of the wrong type, or `until` is not after `at`. Where only one of
            them has a time zone, that is known at the member alone, and the turn fails.
    """
    _check_key(key)
    for name, instant in (("at", at), ("until", until)):
        known: object = instant
        if not isinstance(known, datetime) and not (known is None and name == "until"):
            raise WrongArgument(name, f"is of type {type(known).__name__}; give a datetime")
    if (
        until is not None
        and (at.utcoffset() is None) == (until.utcoffset() is None)
        and (until, until.fold) <= (at, at.fold)
    ):
        raise WrongArgument("until", f"is {until}, and the reminder is due at {at}; give an instant after that")
    words: object = say
    if words is not None and not isinstance(words, SAID):
        raise WrongArgument("say", f"is of type {type(words).__name__}; give a Text, or another reply without choices")
    if words is None and flow is None:
        raise WrongArgument("say", "is missing, and so is flow; give one of them")
    return SetReminder(at, key, say, flow, data, until)


def cancel_reminder(key: str) -> CancelReminder:
    """Return the cancellation of a reminder. One that is not set, or was given, is nothing to cancel.

    Raises:
        WrongArgument: The key is empty, too long or no text.
    """
    _check_key(key)
    return CancelReminder(key)


def _check_key(key: object) -> None:
    if not isinstance(key, str) or not key.isprintable() or not 0 < len(key) <= MAX_KEY:
        raise WrongArgument("key", f"is no printable text of 1 to {MAX_KEY} characters; give one")
