"""TODO."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, TypeAlias

import attrs

from vimbiso_fsm.document.ids import hashed
from vimbiso_fsm.messages.message import Message


@attrs.frozen
class CallReturned:
    """A call has come back. `result` is what the service returned, a `Refused` among it; `unknown`: it raised, and
    nobody knows whether it was done. `tries`: how often the call has been taken up. `renewal`: "needed" when the call's
    token was not accepted, "done" when it was not the call that came back but the renewal of its token. `again`: as the
    call's."""

    key: str
    root: str
    result: Any = attrs.field(default=None, repr=False)
    unknown: bool = False
    tries: int = 1
    renewal: Literal["", "needed", "done"] = ""
    again: int = 0


@attrs.frozen
class StateTimeout:
    """A state's timer has come. It does nothing unless `run` still stands in the state that it entered at version
    `entered`, and its timer is still set to `at`."""

    run: str
    entered: int
    at: datetime


@attrs.frozen
class SessionExpired:
    """The session's `deadline` has come. It does nothing when something was said since."""

    deadline: datetime


@attrs.frozen
class SessionEnding:
    """The member is to be warned that the session ends at `deadline`. It does nothing when something was said since."""

    deadline: datetime


@attrs.frozen
class LeaseExpired:
    """A call on its way that nobody seems to be making any more. It is taken up again once its lease has ended, with
    the same key. `tries`: how often it has been taken up."""

    key: str
    root: str
    tries: int


@attrs.frozen
class DeliveryDue:
    """Replies of the outbox are to be delivered: whoever commits this does it. `tries`: how often it was begun."""

    id: str
    tries: int


@attrs.frozen
class Delivered:
    """A delivery has ended. `done` is False when it failed, or nobody knows."""

    id: str
    tries: int
    done: bool


Event: TypeAlias = (
    Message | CallReturned | StateTimeout | SessionExpired | SessionEnding | LeaseExpired | DeliveryDue | Delivered
)


ReplyRoute: TypeAlias = Literal["handle", "deliver", "nobody"]
"""Who hears the replies of a turn: `handle` returns them, or `deliver` takes them to the member, or they wait in the
document for the member's next message (or for somebody who delivers)."""


def turn_token(event: Event) -> str:
    """What makes two deliveries the same turn: channel type, our account, sender and message id; or the call."""
    match event:
        case Message(channel=channel):
            return hashed("message", channel.type, event.account, channel.identifier, event.id)
        case CallReturned(renewal="needed" | "done" as renewal):
            return hashed(f"renewal {renewal}", event.key, str(event.tries), str(event.unknown))
        case CallReturned(unknown=True):
            return hashed("no answer", event.key, str(event.tries))
        case CallReturned():
            return hashed("answer", event.key, *([str(event.again)] if event.again else []))
        case StateTimeout():
            return hashed("due", event.run, str(event.entered), event.at.isoformat())
        case SessionExpired():
            return hashed("silence", event.deadline.isoformat())
        case SessionEnding():
            return hashed("ending", event.deadline.isoformat())
        case DeliveryDue():
            return hashed("Send", event.id, str(event.tries))
        case Delivered():
            return hashed("Sent", event.id, str(event.tries))
        case LeaseExpired():
            return hashed("stray", event.key, str(event.tries))


def content_digest(event: Event) -> str:
    """A digest of what was said: the same token with another one is no repetition."""
    if isinstance(event, Message):
        return hashed(event.kind, event.text or "", event.choice or "")[:16]
    return ""
