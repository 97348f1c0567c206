"""The events of a turn, as facts in the past tense, and the token of each."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

import attrs

from vimbiso_fsm.document.ids import hashed
from vimbiso_fsm.document.json_codec import dumps
from vimbiso_fsm.document.replies_codec import replies_to_raw
from vimbiso_fsm.messages.digests import Digests
from vimbiso_fsm.messages.given import (
    FlowOpened,
    Given,
    GivenFact,
    HandedBack,
    HandedOver,
    PersonSaid,
    TriggerPulled,
    WordsGiven,
)
from vimbiso_fsm.messages.message import MAX_NAMES, NAMED, NAMES, Address, Message
from vimbiso_fsm.messages.sending import Later, Never
from vimbiso_fsm.messages.told import Fact, Told
from vimbiso_fsm.messages.value import Value
from vimbiso_fsm.store.requests import CONTENT_DIGEST, UNKEYED_CONTENT


@attrs.frozen(eq=False, repr=False)
class CallReturned(Value):
    """A call has returned, or its attempts have failed.

    Attributes:
        key: The idempotency key of the call.
        root: The token of the message that caused it.
        result: What the service returned; a refusal is a `Refused`.
        unknown: Whether the call raised, so that it is not known whether it took effect.
        tries: How often the call has been taken up.
        renewal: "needed" if the service did not accept the login token, "done" if the renewal of the token returned,
            "" otherwise.
        again: How often a recovery has gone back to the call.
    """

    key: str
    root: str
    result: Any = attrs.field(default=None, repr=False)
    unknown: bool = False
    tries: int = 1
    renewal: Literal["", "needed", "done"] = ""
    again: int = 0

    @property
    def is_answer(self) -> bool:
        """Whether the service answered the call itself."""
        return not self.unknown and not self.renewal


@attrs.frozen(eq=False, repr=False)
class StateTimeout(Value):
    """A state has timed out. Ignored if the run has gone on since.

    Attributes:
        run: The id of the run.
        fence: The fence of the run in the state.
        at: The instant to which its timer was set.
    """

    run: str
    fence: str
    at: datetime


@attrs.frozen(eq=False, repr=False)
class SessionExpired(Value):
    """The session has been idle until its `deadline`. Ignored if the member has been active since.

    Attributes:
        deadline: The end of the session.
        member_id: The document with the session.
    """

    deadline: datetime
    member_id: str = ""


@attrs.frozen(eq=False, repr=False)
class SessionEnding(Value):
    """The session will end at `deadline`, and a warning is due. Ignored if the member has been active since.

    Attributes:
        deadline: The end of the session.
        member_id: The document with the session.
    """

    deadline: datetime
    member_id: str = ""


@attrs.frozen(eq=False, repr=False)
class ReminderDue(Value):
    """A reminder is due. Ignored if it was replaced, cancelled or given since.

    Attributes:
        id: The id of the reminder.
        at: The instant at which it is due.
    """

    id: str
    at: datetime


@attrs.frozen(eq=False, repr=False)
class LeaseExpired(Value):
    """The lease of a pending call has expired. The call is taken up again with the same key.

    Attributes:
        key: The idempotency key of the call.
        root: The token of the message that caused it.
        tries: How often the call has been taken up.
        begun: Whether this try may have been begun. It is False where the worker that was to make it knows better.
    """

    key: str
    root: str
    tries: int
    begun: bool = True


@attrs.frozen(eq=False, repr=False)
class DeliveryDue(Value):
    """Replies of the outbox are due. The worker that commits this event delivers them.

    Attributes:
        id: The identifier of the replies in the outbox.
        tries: The number of deliveries that have begun.
    """

    id: str
    tries: int


@attrs.frozen(eq=False, repr=False)
class Delivered(Value):
    """A delivery has finished.

    Attributes:
        id: The identifier of the replies in the outbox.
        tries: The number of deliveries that have begun.
        done: Whether the replies were delivered; False on failure or unknown outcome.
        answer: The answer of the channel, if it has taken nothing; None if the outcome is unknown.
        replies: The replies as the outbox keeps them, where only the record of their turn has held them so far.
        error: The class of the exception that the sender has raised; "" if it has answered.
    """

    id: str
    tries: int
    done: bool
    answer: Later | Never | None = None
    replies: tuple[Any, ...] = attrs.field(default=(), repr=False)
    error: str = ""


@attrs.frozen(eq=False, repr=False)
class PassingDone(Value):
    """An inbox has answered to what was passed on, or has raised.

    Attributes:
        id: The name of what was passed on.
        tries: The number of attempts before this one.
        done: Whether the inbox has taken it.
        answer: The answer of the inbox, if it has taken nothing; None if the outcome is unknown.
    """

    id: str
    tries: int
    done: bool
    answer: Later | Never | None = None


@attrs.frozen(eq=False, repr=False)
class PassingDue(Value):
    """Something waits to be passed on, and no process has a lease on it. Its turn takes one.

    Attributes:
        id: The name of what is passed on.
        at: The instant at which it is due.
    """

    id: str
    at: datetime


@attrs.frozen(eq=False, repr=False)
class HandOverEnded(Value):
    """A hand-over has lasted until its end. Ignored if it went on since.

    Attributes:
        until: The end.
        member_id: The document with the hand-over.
    """

    until: datetime
    member_id: str = ""


@attrs.frozen(eq=False, repr=False)
class ClockReturned(Value):
    """The store's clock was ahead at the latest commit and has returned, and the document is corrected.

    Attributes:
        at: The instant of that commit, by the clock that was ahead.
        version: The version that the commit made.
    """

    at: datetime
    version: int


Event: TypeAlias = (
    Message
    | CallReturned
    | StateTimeout
    | SessionExpired
    | SessionEnding
    | ReminderDue
    | LeaseExpired
    | DeliveryDue
    | Delivered
    | PassingDone
    | PassingDue
    | HandOverEnded
    | ClockReturned
    | Told
    | Given
)
"""The events that a turn is decided on."""

ReplyRoute: TypeAlias = Literal["handle", "send", "deliver", "keep"]
"""The way in which the replies of a turn are sent.

"handle" returns them to the caller. "send" also keeps them in the outbox, leased to the process that commits the turn
and sends them. "deliver" takes what answers no message to the member, and "keep" leaves it in the outbox for the
member's next message or the next worker that delivers.
"""

HEARD: Final[frozenset[ReplyRoute]] = frozenset({"handle", "send"})
"""The routes of replies that a member waits for."""


_BESIDE: Final = frozenset({*attrs.fields_dict(Fact), "reply"})
"""The fields of facts that are no part of what is told: those that name the fact, and what was looked up for it."""


def turn_token(event: Event, key: bytes, name: str = "") -> str:
    """Return the token of an event. Equal events have equal tokens, so a redelivered one is the same turn.

    A message is named by the type of its channel, the account, the sender and its id, and a fact by its class, too.
    What another system gives is named by the member and its key, which may name a person. Such a token has a key, else
    the sender could be found by trying all telephone numbers. Other events are named by what was made of such a token,
    and by ids.

    Args:
        event: The event.
        key: The key of the tokens, `Digests.token_key`.
        name: Another name of the sender of a message, of the member whom a fact is about or to whom something is given,
            in place of their own.
    """
    match event:
        case Message(channel=channel):
            return hashed("message", channel.type, event.account, name or channel.identifier, event.id, key=key)
        case CallReturned(renewal="needed" | "done" as renewal):
            return hashed(f"renewal {renewal}", event.key, str(event.tries), str(event.unknown))
        case CallReturned(unknown=True):
            return hashed("no answer", event.key, str(event.tries))
        case CallReturned():
            return hashed("answer", event.key, *([str(event.again)] if event.again else []))
        case StateTimeout():
            return hashed("due", event.run, event.fence, event.at.isoformat())
        case SessionExpired():
            return hashed("silence", event.member_id, event.deadline.isoformat())
        case SessionEnding():
            return hashed("ending", event.member_id, event.deadline.isoformat())
        case ReminderDue():
            return hashed("reminded", event.id, event.at.isoformat())
        case DeliveryDue():
            return hashed("Send", event.id, str(event.tries))
        case Delivered():
            return hashed("Sent", event.id, str(event.tries))
        case LeaseExpired():
            return hashed("stray", event.key, str(event.tries))
        case PassingDone():
            return hashed("passed", event.id, str(event.tries), *(["done"] if event.done else []))
        case PassingDue():
            return hashed("passing", event.id, event.at.isoformat())
        case HandOverEnded():
            return hashed("handed", event.member_id, event.until.isoformat())
        case ClockReturned():
            return hashed("clock", event.at.isoformat(), str(event.version))
        case GivenFact():
            return hashed("given", name or event.member_id, event.key, key=key)
        case _:  # a fact
            about = event.channel
            whom = ("", "") if about is None else (about.type, name or about.identifier)
            return hashed("told", type(event).__name__, *whom, event.account, event.id, key=key)


def other_tokens(event: Event, digests: Digests, known: Sequence[Address] = ()) -> tuple[str, ...]:
    """Return the other tokens under which an event may have been handled.

    A worker with another current key has used one. A channel that knows a member by several names may have told the
    event under another of them: under one that the event carries too, or one by which the member is known. What another
    system gives to a member may have been given to the guest on a channel who has become the member.

    Args:
        event: The event.
        digests: The digests of the store.
        known: The linked channels of the member.
    """
    if not isinstance(event, Message | Fact | GivenFact):
        return ()
    keys = (digests.token_key, *digests.earlier_token_keys)
    return tuple(turn_token(event, key, name) for name in _names(event, digests, known) for key in keys)[1:]


def _names(event: Message | Fact | GivenFact, digests: Digests, known: Sequence[Address]) -> Sequence[str]:
    """Return the names under which an event may have come. The empty one stands for its own."""
    if isinstance(event, GivenFact):
        guests = dict.fromkeys(guest for each in known for guest in digests.guest_ids(each))
        return ["", *(guest for guest in guests if guest != event.member_id)]
    names = [""]
    if event.channel is None:
        return names
    if NAMES in event.channel.metadata:
        names += [name.identifier for name in event.channel.names[1:]]
    if known and event.channel.type in NAMED:
        accounts = ("", event.account)
        told = (each for each in known if each.type == event.channel.type and each.account in accounts)
        names += [each.identifier for each in told if each.identifier not in (event.channel.identifier, *names)]
    return names[: 2 * MAX_NAMES]


def content_digest(event: Event, key: bytes) -> str:
    """Return the digest of what a message says, a fact tells or another system gives, "" for other events.

    One with a known token and another content is no duplicate. Such a digest has a key, else a PIN that a member wrote
    could be found by trying.

    Args:
        event: The event.
        key: The key of the digests, `Digests.words_key`.
    """
    length = CONTENT_DIGEST if key else UNKEYED_CONTENT
    if isinstance(event, Message):
        words = (event.kind, event.text or "", event.choice or "")
        if event.content is not None or event.payload or event.referral is not None:
            return hashed(*words, event.beside_words, key=key)[:length]
        return hashed(*words, key=key)[:length]
    if isinstance(event, Fact):  # without the instant, which is not read while the channel's clock is ahead
        told = (str(getattr(event, name)) for name in attrs.fields_dict(type(event)) if name not in _BESIDE)
        return hashed(*told, key=key)[:length]
    parts: tuple[object, ...]
    match event:
        case WordsGiven(text=text):
            parts = ("words", replies_to_raw([text]))
        case FlowOpened(flow=flow, data=data):
            parts = ("flow", flow, data)
        case TriggerPulled(name=name, by=by, data=data):
            parts = ("trigger", name, by, data)
        case PersonSaid(text=text, by=by):
            parts = ("person", by, replies_to_raw([text]))
        case HandedOver(inbox=inbox, by=by):
            parts = ("hand over", inbox, by)
        case HandedBack(by=by):
            parts = ("hand back", by)
        case _:
            return ""
    return hashed(dumps(parts, "given").decode(), key=key)[:length]


def earlier_contents(event: Event, digests: Digests) -> tuple[str, ...]:
    """Return the other digests that the content of an event may have, made by a worker with another current key."""
    if not isinstance(event, Message | Fact | GivenFact):
        return ()
    return tuple(content_digest(event, key) for key in digests.earlier_words_keys)
