"""How a turn is decided: `decide(bot, document, event, now) -> Decision`. Pure: it knows no store, no clock, no chance.

An event is a `Message`, an `Answered` call, or something that is `due` though nobody says anything. `hearing.py` says
what a message means, `conversation.py` does it on the stack of runs; here it begins and ends. Whatever an author's
callback raises, the decision is then: the document as before, a plain sentence with a reference for the member, an
error entry for the audit. Ids are hashes of the event's token, so deciding twice decides the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias

import attrs

from vimbiso_fsm import hearing
from vimbiso_fsm.bot import Bot
from vimbiso_fsm.codec import (
    document_to_raw,
    dumps,
    dumps_unstructured,
    is_intact,
    keep_judged,
    loads,
    replies_from_raw,
    replies_to_keep,
    replies_to_raw,
    restored,
    unstructure,
)
from vimbiso_fsm.conversation import Conversation, hashed
from vimbiso_fsm.errors import InvalidMessage, InvalidState, VimbisoError
from vimbiso_fsm.flow_audit import AuditEntry, channel_digest, error_record, redacted, seal
from vimbiso_fsm.messages import Channel, Message, Reply, Text
from vimbiso_fsm.state import Address, Document, Moved, PendingCall, Run, TokenLife, Undelivered, guest_id
from vimbiso_fsm.store import Commit, Head
from vimbiso_fsm.turn import STANDARD, Call, Caller, Member, Refused
from vimbiso_fsm.versions import is_unasked, migrated

__all__ = [
    "Answered",
    "Decision",
    "Due",
    "Ending",
    "Event",
    "Listener",
    "Send",
    "Sent",
    "Silence",
    "Stray",
    "WrongMember",
    "caller",
    "commit_of",
    "content_digest",
    "current_question",
    "decide",
    "drops_token",
    "due",
    "failure",
    "first_document",
    "life_of",
    "record_of",
    "turn_token",
    "wake_at",
]


@attrs.frozen
class Answered:
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
class Due:
    """A state's timer has come. It does nothing unless `run` still stands in the state that it entered at version
    `entered`, and its timer is still set to `at`."""

    run: str
    entered: int
    at: datetime


@attrs.frozen
class Silence:
    """The session's `deadline` has come. It does nothing when something was said since."""

    deadline: datetime


@attrs.frozen
class Ending:
    """The member is to be warned that the session ends at `deadline`. It does nothing when something was said since."""

    deadline: datetime


@attrs.frozen
class Stray:
    """A call on its way that nobody seems to be making any more. It is taken up again once its lease has ended, with
    the same key. `tries`: how often it has been taken up."""

    key: str
    root: str
    tries: int


@attrs.frozen
class Send:
    """Replies of the outbox are to be delivered: whoever commits this does it. `tries`: how often it was begun."""

    id: str
    tries: int


@attrs.frozen
class Sent:
    """A delivery has ended. `done` is False when it failed, or nobody knows."""

    id: str
    tries: int
    done: bool


Event: TypeAlias = Message | Answered | Due | Silence | Ending | Stray | Send | Sent

Listener: TypeAlias = Literal["handle", "deliver", "nobody"]
"""Who hears the replies of a turn: `handle` returns them, or `deliver` takes them to the member, or they wait in the
document for the member's next message (or for somebody who delivers)."""

DELIVERY_LEASE = timedelta(seconds=30)
"""How long replies are in the hands of whoever delivers them."""
DELIVERY_TRIES = 8
"""Deliveries that may fail before the replies wait for the member's next message."""
OUTBOX = 16
"""Turns whose replies may wait; of more, the oldest are dropped, which the audit says."""
POSTPONED = timedelta(seconds=60)
"""When what was due and failed is tried again."""


@attrs.frozen
class Decision:
    """What a turn comes to.

    `status`: "advanced", "refused", "ignored", "recovered" or "failed". `document`: the new one; the old one when
    `changed` is false, and then there is nothing to store but to verify. `raw`, `record`: document and turn record
    as bytes. `entry`: for the audit, still to be sealed. `call`: to be run, `delivery`: to be delivered, once it is
    stored; `renews`: the call asks for a new token, before the one that the document holds. `forgets`: the document
    before is not kept. `not_after`: instant after
    which the decision is worth nothing. `error`: what a callback raised.
    """

    status: str
    document: Document
    replies: tuple[Reply, ...]
    token: str
    root: str
    content: str
    changed: bool = True
    raw: bytes = attrs.field(default=b"", repr=False)
    record: bytes = attrs.field(default=b"", repr=False)
    entry: AuditEntry | None = None
    call: Call[Any] | None = None
    renews: bool = False
    forgets: bool = False
    delivery: Undelivered | None = None
    not_after: datetime | None = None
    error: BaseException | None = attrs.field(default=None, eq=False)


class WrongMember(VimbisoError):
    """A flow made one member into another; only a guest becomes a member. Attributes: `member_id`."""

    def __init__(self, member_id: str) -> None:
        self.member_id = member_id
        super().__init__(
            f"member {member_id!r} cannot become another member, only a guest can; leave member.id as it is"
        )


def turn_token(event: Event) -> str:
    """What makes two deliveries the same turn: channel type, our account, sender and message id; or the call."""
    match event:
        case Message(channel=channel):
            return hashed("message", channel.type, event.account, channel.identifier, event.id)
        case Answered(renewal="needed" | "done" as renewal):
            return hashed(f"renewal {renewal}", event.key, str(event.tries), str(event.unknown))
        case Answered(unknown=True):
            return hashed("no answer", event.key, str(event.tries))
        case Answered():
            return hashed("answer", event.key, *([str(event.again)] if event.again else []))
        case Due():
            return hashed("due", event.run, str(event.entered), event.at.isoformat())
        case Silence():
            return hashed("silence", event.deadline.isoformat())
        case Ending():
            return hashed("ending", event.deadline.isoformat())
        case Send() | Sent():
            return hashed(type(event).__name__, event.id, str(event.tries))
        case Stray():
            return hashed("stray", event.key, str(event.tries))


def content_digest(event: Event) -> str:
    """A digest of what was said: the same token with another one is no repetition."""
    if isinstance(event, Message):
        return hashed(event.kind, event.text or "", event.choice or "")[:16]
    return ""


def first_document(channel: Channel, now: datetime, *, member_id: str = "", version: int = 0) -> Document:
    """The document of somebody new on a channel: a guest, unless the channel is known to be a member's."""
    return Document(
        member_id=member_id or guest_id(channel),
        channel=channel,
        last_updated=now,
        version=version,
        guest=not member_id,
        channels=(Address(*channel.address),) if member_id else (),
    )


def due(document: Document, *, delivers: bool = True) -> list[tuple[datetime, Event]]:
    """What becomes due at a member though nobody says anything, the earliest first. `delivers`: whether whoever asks
    can deliver replies. A call on its way suspends the session's end and the state's timer."""
    found: list[tuple[datetime, Event]] = []
    run, call = document.run, document.call
    if call:
        lease = max(call.again_at or call.leased_until, call.leased_until)
        found.append((lease, Stray(call.key, call.root, call.tries)))
    waiting = _first_out(document.outbox)
    if waiting and delivers:
        found.append((waiting.leased_until or document.last_updated, Send(waiting.id, waiting.tries)))
    if run and run.due and not call:
        found.append((run.due, Due(run.id, run.entered, run.due)))
    if document.deadline and not call:
        found.append((document.deadline, Silence(document.deadline)))
        if document.warn_at and delivers:
            found.append((document.warn_at, Ending(document.deadline)))
    return sorted(found, key=lambda one: one[0])


def _first_out(outbox: Sequence[Undelivered]) -> Undelivered | None:
    """What is to be delivered next: none overtakes another."""
    return next((waiting for waiting in outbox if waiting.tries < DELIVERY_TRIES), None)


def wake_at(document: Document, *, delivers: bool = True) -> datetime | None:
    """The earliest instant at which something is due although nobody says anything."""
    if document.moved:
        return document.last_updated
    waiting = due(document, delivers=delivers)
    return waiting[0][0] if waiting else None


def decide(
    bot: Bot,
    document: Document | None,
    event: Event,
    now: datetime,
    *,
    recovered: Text | None = None,
    arrived: datetime | None = None,
    listener: Listener = "handle",
) -> Decision:
    """Decide one turn. Never raises for anything a message, a document of this bot or a callback can do.

    `document`: the stored one, None for a first contact. `now`: the store's clock, with time zone. `recovered`: what
    the member is told when the document was mended just now. `arrived`: when the message came in; `now`, if not given.

    Raises: TypeError when there is no document and the event is no message.
    """
    if document is None:
        if not isinstance(event, Message):
            raise TypeError("only a message can be the first event of a conversation")
        document = first_document(event.channel, now)
    talk = _open(bot, document, event, now)
    try:
        match event:
            case Message():
                hearing.hear(talk, event, recovered=recovered, arrived=arrived or now)
                talk.kind = talk.kind if recovered is None else "recovery"
            case Answered():
                _take_answer(talk, event, listener)
            case Due():
                _take_timer(talk, event)
            case Silence():
                _take_silence(talk, event)
            case Ending():
                _take_ending(talk, event)
            case Stray():
                _take_stray(talk, event)
            case Send():
                _take_send(talk, event)
            case Sent():
                _take_sent(talk, event)
        return _close(talk, event, listener)
    except Exception as error:  # noqa: BLE001  # whatever an author's callback raises, the member keeps their place
        return failure(bot, document, event, now, error, listener=listener)


def failure(
    bot: Bot, document: Document, event: Event, now: datetime, error: BaseException, *, listener: Listener = "handle"
) -> Decision:
    """The decision when something raised: the document as before, also where a callback changed it in place, and an
    error entry. A member who said something gets a
    plain sentence; what was due by itself is tried again later."""
    document = document if is_intact(document) else restored(document)
    talk = _open(bot, document, event, now)
    reference = talk.token[:10]
    talk.kind, talk.status, talk.detail = "error", "failed", error_record(error, reference)
    if listener == "handle":
        talk.say(Text("failure", reference=reference))
    talk.before = _postponed(document, event, talk.now)
    if not isinstance(event, Message):  # it may come again, and must not meet its own failure as a repeat
        talk.token = hashed("failure", talk.token, str(talk.version))
    return attrs.evolve(_close(talk, event, listener), error=error)


def _postponed(document: Document, event: Event, now: datetime) -> Document:
    """The document with what raised due again later: a timer, also one that a message met; a call's answer; the end of
    the session, unless somebody says something before."""
    run, call, deadline, until = document.run, document.call, document.deadline, now + POSTPONED
    if run and run.due and run.due <= now:
        run = attrs.evolve(run, due=until)
    if call and isinstance(event, Answered | Stray):
        call = attrs.evolve(call, leased_until=now, again_at=until)
    if isinstance(event, Silence):
        deadline = until
    warn_at = None if isinstance(event, Ending) else document.warn_at
    return attrs.evolve(document, run=run, call=call, deadline=deadline, warn_at=warn_at)


def current_question(bot: Bot, document: Document, now: datetime) -> tuple[Reply, ...]:
    """What the member is being asked now; nothing when no flow is open or the question cannot be drawn."""
    talk = _open(bot, document, Silence(now), now)
    try:
        if document.call:
            talk.say(hearing.waiting_words(talk))
        elif is_unasked(talk.run):
            talk.settle()
        else:
            talk.ask()
    except Exception:  # noqa: BLE001  # a question that cannot be drawn is met, said and reported when the next message comes
        return ()
    return talk.said


def caller(document: Document, pending: PendingCall) -> Caller:
    """For whom a pending call acts."""
    return Caller(pending.key, document.member_id, document.jwt_token, document.channel)


def commit_of(decision: Decision, head: Head) -> Commit:
    """The commit of a decision made on the document at `head`."""
    document = decision.document
    if not decision.changed or decision.entry is None:
        return Commit(document.member_id, head, decision.token, decision.root, decision.content, None, None)
    wake = wake_at(document)
    return Commit(
        member_id=document.member_id,
        expected=head,
        token=decision.token,
        root=decision.root,
        content=decision.content,
        document=decision.raw,
        entry=seal(decision.entry, decision.raw, head.digest),
        record=decision.record,
        not_after=decision.not_after.timestamp() if decision.not_after else None,
        wake_at=wake.timestamp() if wake else None,
        forgets=decision.forgets,
    )


# Answers and timers -----------------------------------------------------------------------------------------------


def _take_answer(talk: Conversation, answered: Answered, listener: Listener) -> None:
    """A call came back: `done` or `failed` in the state that proposed it."""
    pending = talk.pending
    if pending is None or pending.key != answered.key or talk.run is None:
        return talk.ignore()
    tokens = talk.bot.tokens
    silent = answered.unknown or (tokens is not None and tokens.is_refusal(answered.result))
    if silent and answered.tries != pending.tries:  # somebody else has taken it up since
        return talk.ignore()
    if answered.renewal:
        return _take_renewal(talk, answered, pending, listener)
    if answered.unknown:
        return _take_no_answer(talk, pending, listener)
    talk.pending = None
    if isinstance(answered.result, Refused):
        talk.fail(answered.result)
    else:
        fired = talk.pull("done", answered.result)
        if fired.to is None:  # no way for this result: the flow hears why
            talk.fail(fired.reasons[0] if fired.reasons else Refused("call.failed"))
    hearing.go_on(talk)


def _take_no_answer(talk: Conversation, pending: PendingCall, listener: Listener) -> None:
    """Nobody knows whether the call was made: it stays on its way for a while, then the flow hears so."""
    policy = talk.policy
    if talk.tries < policy.rounds:
        talk.kind, talk.status = "call", "failed"
        talk.detail = {"call": f"{pending.service}.{pending.method}", "outcome": "unknown"}
        rest = timedelta(seconds=policy.rest(talk.tries))
        talk.pending = attrs.evolve(pending, leased_until=talk.now, again_at=talk.now + rest)
        if listener == "handle" and talk.tries == 1:  # whoever had it taken up again has heard so
            talk.say(hearing.waiting_words(talk))
        return
    talk.fail(policy.given_up)
    hearing.go_on(talk)


def _take_renewal(talk: Conversation, answered: Answered, pending: PendingCall, listener: Listener) -> None:
    """The call's token was not accepted, or a new one is there, or there is none."""
    tokens, result = talk.bot.tokens, answered.result
    if tokens is None or pending.renewed or answered.tries != pending.tries:
        return talk.ignore()
    talk.kind = "renewal"
    logged_out = talk.member.jwt_token is None  # by somebody else meanwhile; that is final
    if answered.renewal == "needed" and not logged_out:
        return talk.renew_for(pending)
    refused = isinstance(result, Refused)
    unavailable = answered.unknown or (refused and not tokens.is_refusal(result))
    if talk.in_doubt and (logged_out or unavailable or refused or result is None):
        return _take_no_answer(talk, pending, listener)
    if unavailable and not logged_out:
        talk.fail(result if isinstance(result, Refused) else Refused("call.unavailable"))
    elif logged_out or refused or result is None:
        talk.make_renewed(pending, attrs.evolve(talk.member, authenticated=False, jwt_token=None))
    else:
        talk.make_renewed(pending, talk.with_token(result))
    if talk.pending is None:
        hearing.go_on(talk)


def _take_stray(talk: Conversation, stray: Stray) -> None:
    """Take up a call that nobody is making."""
    pending = talk.pending
    if pending is None or (pending.key, pending.tries) != (stray.key, stray.tries) or talk.now < pending.leased_until:
        return talk.ignore()
    if talk.tries >= talk.policy.take_ups:
        talk.kind = "call"
        return talk.fail(talk.policy.given_up)
    talk.take_up(pending)


def _take_timer(talk: Conversation, timer: Due) -> None:
    """A state's time is over, if the run still stands where the timer was set."""
    run = talk.run
    if talk.pending or run is None or (run.id, run.entered, run.due) != (timer.run, timer.entered, timer.at):
        return talk.ignore()
    if timer.at > talk.now:
        return talk.ignore()
    talk.kind = "timer"
    hearing.time_out(talk)


def _take_silence(talk: Conversation, silence: Silence) -> None:
    """The session is over, if nothing was said since."""
    if talk.pending or talk.before.deadline != silence.deadline or silence.deadline > talk.now:
        return talk.ignore()
    hearing.end_session(talk)


def _take_ending(talk: Conversation, ending: Ending) -> None:
    """The session is about to be over: once it is, or nothing is there to be lost, there is nothing to warn of."""
    at, run = talk.before.warn_at, talk.run
    if talk.pending or at is None or at > talk.now or talk.before.deadline != ending.deadline:
        return talk.ignore()
    talk.kind = "session"
    seconds = int((ending.deadline - talk.now).total_seconds())
    if seconds > 0 and run is not None and talk.gathered(run):
        talk.say(Text("session.ending", seconds=seconds, flow=Text(f"{run.flow}.title")))


def _take_send(talk: Conversation, send: Send) -> None:
    """Take replies of the outbox into our hands."""
    waiting = _waiting(talk, send.id)
    if waiting is None or waiting.tries != send.tries or (waiting.leased_until or talk.now) > talk.now:
        return talk.ignore()
    talk.kind = "delivery"
    deadline, taken = talk.before.deadline, tuple[Undelivered, ...]()
    if deadline is None or deadline > talk.now or not _is_warning(talk, waiting):  # else it comes too late
        talk.delivery = attrs.evolve(waiting, leased_until=talk.now + DELIVERY_LEASE, tries=waiting.tries + 1)
        taken = (talk.delivery,)
    talk.outbox = tuple(one for whole in talk.outbox for one in (taken if whole is waiting else (whole,)))


def _take_sent(talk: Conversation, sent: Sent) -> None:
    """A delivery has ended: the replies leave the outbox, or wait to be tried again."""
    waiting = _waiting(talk, sent.id)
    if waiting is None or (not sent.done and waiting.tries != sent.tries):
        return talk.ignore()
    talk.kind = "delivery"
    kept: tuple[Undelivered, ...] = ()
    if not sent.done:
        talk.status = "failed"
        rest = timedelta(seconds=STANDARD.rest(waiting.tries))
        kept = (attrs.evolve(waiting, leased_until=talk.now + rest if waiting.tries < DELIVERY_TRIES else None),)
    talk.outbox = tuple(one for whole in talk.outbox for one in (kept if whole is waiting else (whole,)))


def _is_warning(talk: Conversation, waiting: Undelivered) -> bool:
    """Whether it warns of the end of the session as it was before this turn."""
    deadline = talk.before.deadline
    return deadline is not None and waiting.id == turn_token(Ending(deadline))[:16]


def _waiting(talk: Conversation, id: str) -> Undelivered | None:
    """What waits in the outbox under that id."""
    return next((one for one in talk.outbox if one.id == id), None)


# Opening and closing ----------------------------------------------------------------------------------------------


def _open(bot: Bot, document: Document, event: Event, now: datetime) -> Conversation:
    token = turn_token(event)
    root = event.root if isinstance(event, Answered | Stray) else token
    return Conversation(bot, document, _channel(document.channel, event), now, token, root)


def _channel(stored: Channel, event: Event) -> Channel:
    """The channel of this turn. What is known of it stays known, as long as there is room."""
    if not isinstance(event, Message) or event.channel == stored:
        return stored
    if event.channel.address != stored.address:
        return event.channel
    try:
        return attrs.evolve(stored, metadata={**stored.metadata, **event.channel.metadata})
    except InvalidMessage:
        return event.channel


def _close(talk: Conversation, event: Event, listener: Listener) -> Decision:
    """What all this comes to.

    Raises: InvalidState, NotStorable.
    """
    content = content_digest(event)
    if not talk.changed:
        return Decision(talk.status, talk.before, talk.said, talk.token, talk.root, content, changed=False)
    if isinstance(event, Message | Silence) and talk.kind != "error":
        _unwarn(talk)
    if isinstance(event, Message) and talk.kind != "error":
        talk.replies = [*_overdue(talk), *talk.replies]
    elif listener != "handle":
        _put_out(talk, event, listener)
    replies = talk.said
    document = _document(talk, event)
    raw = document_to_raw(document, talk.before)
    rules, judged = talk.bot.validator, talk.before.judged
    verdict = rules.validate(raw, judged.plain if judged is not None and judged.rules is rules else None)
    if not verdict.valid:
        raise InvalidState(verdict.faults)
    keep_judged(document, raw, rules)
    return Decision(
        status=talk.status,
        document=document,
        replies=replies,
        token=talk.token,
        root=talk.root,
        content=content,
        raw=dumps_unstructured(raw),
        record=record_of(talk.bot, talk.status, replies, document, raw),
        entry=_entry(talk, document),
        call=talk.call,
        renews=talk.renews,
        forgets=drops_token(talk.before, document),
        delivery=talk.delivery,
        not_after=_not_after(talk, event),
    )


def _overdue(talk: Conversation) -> list[Reply]:
    """What waited in the outbox and nobody is delivering, up to what somebody is: it precedes the reply to the member's
    message."""
    free = list(itertools.takewhile(lambda one: (one.leased_until or talk.now) <= talk.now, talk.outbox))
    talk.outbox = talk.outbox[len(free) :]
    return [reply for one in free for reply in replies_from_raw(one.replies)]


def _unwarn(talk: Conversation) -> None:
    """Who said something, or whose session is over, is not warned any more; unless somebody is doing it."""
    talk.outbox = tuple(
        one
        for one in talk.outbox
        if (one.leased_until is not None and one.leased_until > talk.now) or not _is_warning(talk, one)
    )


def _put_out(talk: Conversation, event: Event, listener: Listener) -> None:
    """Put the replies of a turn that answers no message into the outbox."""
    if not talk.replies:
        return
    waiting = Undelivered(talk.token[:16], replies_to_keep(talk.said))
    if isinstance(event, Silence) and not talk.bot.session.announced:
        waiting = attrs.evolve(waiting, tries=DELIVERY_TRIES)  # for the member's next message
    elif listener == "deliver" and _first_out(talk.outbox) is None:
        waiting = talk.delivery = attrs.evolve(waiting, leased_until=talk.now + DELIVERY_LEASE, tries=1)
    outbox = (*talk.outbox, waiting)
    if len(outbox) > OUTBOX:
        talk.detail = {**talk.detail, "dropped_from_outbox": len(outbox) - OUTBOX}
    talk.outbox = outbox[-OUTBOX:]


def _session(talk: Conversation, event: Event) -> tuple[datetime | None, datetime | None, datetime | None]:
    """The session's deadline, its beginning and the instant of its warning. Messages and answers of calls renew it."""
    before = talk.before
    if isinstance(event, Silence):
        return None, None, None
    if isinstance(event, Ending):
        return before.deadline, before.session_since, None
    if not isinstance(event, Message | Answered):
        return before.deadline, before.session_since, before.warn_at
    life, since = talk.bot.session, talk.session_since or talk.now
    idle = talk.flow.session if talk.run and talk.flow.session is not None else life.idle
    deadline = min(talk.now + timedelta(seconds=idle), since + timedelta(seconds=life.limit))
    warns = life.warning > 0 and talk.run is not None and talk.gathered(talk.run)
    warn_at = deadline - timedelta(seconds=life.warning) if warns else None
    if warn_at is not None and warn_at <= talk.now and deadline == before.deadline:  # they were warned of it
        warn_at = None
    return deadline, since, warn_at


def life_of(bot: Bot, before: Document | None, member: Member, now: datetime) -> TokenLife | None:
    """The life of a member's token, read when it is another one than `before`.

    Raises: tokens.BadToken.
    """
    token = member.jwt_token
    if bot.tokens is None or not token:
        return None
    return before.token if before and token == before.jwt_token else bot.tokens.life(token, member, now)


def _document(talk: Conversation, event: Event) -> Document:
    """The new document. After an error only its version and instant are new."""
    before, intact = talk.before, is_intact(talk.before)
    if talk.kind == "error":
        return attrs.evolve(before, version=talk.version, last_updated=talk.now, brought=()).at(talk.now)
    member = talk.member
    channel = talk.channel if intact or talk.channel is not before.channel else attrs.evolve(talk.channel)
    token = life_of(talk.bot, before, member, talk.now)
    deadline, session_since, warn_at = _session(talk, event)
    return Document(
        member_id=before.member_id,
        channel=channel,
        last_updated=talk.now,
        version=talk.version,
        guest=before.guest,
        jwt_token=member.jwt_token,
        authenticated=member.authenticated and (token is None or token.expires > talk.now),
        token=token,
        profile=_as_stored(before.profile, member.profile, "profile", intact),
        current_account=_as_stored(before.current_account, member.current_account, "current_account", intact),
        run=talk.run,
        suspended=talk.suspended,
        call=talk.pending,
        outbox=talk.outbox,
        deadline=deadline,
        session_since=session_since,
        warn_at=warn_at,
        channels=before.channels,
        moved=_moved(talk),
    )


def _as_stored(before: Mapping[str, Any], after: Mapping[str, Any], name: str, intact: bool) -> Mapping[str, Any]:
    """What a flow made of a field, as it will be read back. `intact`: the old value was not changed in place.

    Raises: NotStorable, naming the field.
    """
    return before if after is before and intact else loads(dumps(unstructure(after), name))


def _not_after(talk: Conversation, event: Event) -> datetime | None:
    """The end of the session, or of the state's time, for what was decided before it; a call suspends both."""
    if not isinstance(event, Message) or talk.before.call is not None:
        return None
    run = talk.before.run
    ends = [end for end in (talk.before.deadline, run.due if run else None) if end is not None and talk.now <= end]
    return min(ends, default=None)


def _moved(talk: Conversation) -> Moved | None:
    """Set when a guest has become a member.

    Raises: WrongMember when a member would become another one.
    """
    before = talk.before
    if talk.member.id == before.member_id:
        return before.moved
    if not before.guest:
        raise WrongMember(before.member_id)
    return Moved(talk.member.id, talk.version)


_RECORDED = ("version", "fingerprint", "trail", "made", "waits")


def drops_token(before: Document | None, after: Document) -> bool:
    """Whether a token is gone: a logout is final, so the document before is not kept either."""
    return before is not None and before.jwt_token is not None and after.jwt_token is None


def record_of(
    bot: Bot, status: str, replies: Sequence[Reply], document: Document, raw: Mapping[str, Any] | None = None
) -> bytes:
    """The turn record: what was answered, and the run's state verbatim but for fields marked secret; of its
    bookkeeping, what `back` and the way in need to know. `raw`: the document's plain data, if at hand."""
    flow_data: Any = {}
    run: Any = {}
    if document.run is not None:
        run = {name: getattr(document.run, name) for name in _RECORDED}
        flow_data = unstructure(document.run.flow_data) if raw is None else raw["flow_data"]
        if secrets := bot.definition(document.run).secrets:
            data = {name: value for name, value in flow_data["data"].items() if name not in secrets}
            flow_data = {**flow_data, "data": data}
    record = {
        "status": status,
        "replies": replies_to_raw(replies),
        "flow_data": flow_data,
        "run": run,
        "called": document.call is not None,
    }
    return dumps_unstructured(record, "turn record")


def _entry(talk: Conversation, document: Document) -> AuditEntry:
    """The audit entry of this turn."""
    before, after = talk.before.run, document.run
    first = talk.steps[0] if talk.steps else None
    stood = before or after
    same = after if before and after and before.id == after.id else None
    return AuditEntry(
        version=talk.version,
        at=talk.now,
        member_id=document.member_id,
        channel=channel_digest(talk.channel),
        kind=talk.kind,
        status=talk.status,
        token=talk.token,
        root=talk.root,
        source=first.source if first else before.step if before else "",
        dest=after.step if after else "",
        flow=first.flow if first else stood.flow if stood else "",
        run=first.run if first else stood.id if stood else "",
        trigger=talk.trigger or (first.trigger if first else ""),
        steps=tuple(talk.steps),
        codes=tuple(talk.codes),
        before=_redacted(talk.bot, before),
        after=_redacted(talk.bot, same),
        changed=_changed(before, same),
        verdict=after.flow_data.data.verdict if after else {},
        detail={**talk.detail, **migrated(talk.before)},
    )


def _redacted(bot: Bot, run: Run | None) -> dict[str, Any]:
    """A run's data as the audit may show it."""
    return redacted(bot.definition(run), run.flow_data) if run else {}


def _changed(before: Run | None, after: Run | None) -> tuple[str, ...]:
    if before is None or after is None:
        return ()
    old, new = before.flow_data.data.fields, after.flow_data.data.fields
    return tuple(sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name)))
