"""The state of a member, as it is shown beside a chat: the place, the data as the audit shows it, and what is due."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import attrs

from vimbiso_fsm.audit.entries import AuditEntry
from vimbiso_fsm.audit.redaction import redacted
from vimbiso_fsm.document.document import Document
from vimbiso_fsm.document.json_codec import dumps
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
from vimbiso_fsm.engine.schedule import due
from vimbiso_fsm.flow.bot import Bot

EVENTS: Final[Mapping[type[object], str]] = {
    StateTimeout: "the state times out",
    SessionExpired: "the session ends",
    SessionEnding: "the warning before the end of the session",
    ReminderDue: "a reminder",
    LeaseExpired: "another worker takes up the call",
    DeliveryDue: "a worker sends the replies",
    HandOverEnded: "the bot takes the conversation back",
    PassingDue: "a message passes to the inbox",
}
"""The events that come without a message, in words."""
FIRED: Final[Mapping[str, str]] = {
    "timer": "The state has timed out",
    "session": "The session",
    "reminder": "A reminder",
    "call": "The call has returned",
}
"""What a worker has done, in words, by the kind of the audit entry."""
_SPANS: Final = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))


@attrs.frozen
class MemberView:
    """The state of a member.

    Attributes:
        member_id: The id of the member or guest.
        known: "guest", "member", or "member, logged in".
        version: The number of commits.
        flow: The open flow; empty without one.
        state: The state in which its run stands.
        data: The data of the run, as the audit shows it.
        waiting: The states of suspended runs, the next one first.
        call: The service and method of the pending call; empty without one.
        unsent: The number of turns whose replies are not sent yet.
        due: What is due without a message, each with the span until then.
    """

    member_id: str
    known: str
    version: int
    flow: str = ""
    state: str = ""
    data: tuple[tuple[str, str], ...] = ()
    waiting: tuple[str, ...] = ()
    call: str = ""
    unsent: int = 0
    due: tuple[tuple[str, str], ...] = ()

    @property
    def place(self) -> str:
        """The flow and the state as "flow.state"; empty without a flow."""
        return f"{self.flow}.{self.state}" if self.flow else ""


def view_of(bot: Bot, document: Document, now: datetime) -> MemberView:
    """Return the state of a member at an instant.

    Args:
        bot: The bot with the flows of the member.
        document: The member's document.
        now: The instant, with a time zone.
    """
    run, call = document.run, document.call
    return MemberView(
        member_id=document.member_id,
        known="guest" if document.guest else "member, logged in" if document.authenticated else "member",
        version=document.version,
        flow=run.flow if run is not None else "",
        state=run.step if run is not None else "",
        data=tuple((name, _value(value)) for name, value in redacted(bot, run).items()),
        waiting=tuple(f"{each.flow}.{each.step}" for each in reversed(document.suspended)),
        call=f"{call.service}.{call.method}" if call is not None else "",
        unsent=len(document.outbox),
        due=tuple((in_words(event), span(round((at - now).total_seconds()))) for at, event in due(document)),
    )


def in_words(event: Event) -> str:
    """Return an event that comes without a message, in words."""
    return EVENTS.get(type(event), type(event).__name__)


def fired(entry: AuditEntry) -> str:
    """Return what a worker has done, in words; empty for what is of no interest to the reader of a chat."""
    words = FIRED.get(entry.kind, "")
    place = f"{entry.flow}.{entry.dest}" if entry.dest else "no flow"
    if entry.kind == "session":
        words = f"The session {'has ended' if entry.source != entry.dest or not entry.dest else 'is about to end'}"
    return f"{words} · {place}." if words else ""


def span(seconds: int) -> str:
    """Return a span of seconds in words, in its two largest units: "1 hour 5 minutes"."""
    left, parts = max(0, seconds), list[str]()
    for size, unit in _SPANS:
        count, left = divmod(left, size)
        if count or (parts and len(parts) < 2):
            parts += [f"{count} {unit}{'' if count == 1 else 's'}"] if count else [""]
    return " ".join(filter(None, parts[:2])) or "0 seconds"


def _value(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, dict) and value.keys() == {"amount", "currency"}:
        return f"{value['amount']} {value['currency']}"
    return value if isinstance(value, str) else dumps(value).decode()
