"""How a turn is decided: `decide(bot, document, event, now) -> Decision`. Pure: it knows no store, no clock, no chance.

An event is a `Message`, an `Answered` call or a `Due` timer. `hearing.py` says what a message means,
`conversation.py` does it on the stack of runs; here it begins and ends. Whatever an author's callback raises, the
decision is then: the document as before, a plain sentence with a reference for the member, an error entry for the
audit. Ids are hashes of the event's token, so deciding twice decides the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import attrs

from vimbiso_fsm import hearing
from vimbiso_fsm.bot import Bot
from vimbiso_fsm.codec import document_to_raw, dumps, loads, replies_to_raw, unstructure
from vimbiso_fsm.conversation import CALL_TRIES, Conversation, hashed
from vimbiso_fsm.errors import InvalidMessage, InvalidState, VimbisoError
from vimbiso_fsm.flow import SECRET
from vimbiso_fsm.flow_audit import AuditEntry, channel_digest, error_record, redacted, seal
from vimbiso_fsm.messages import Channel, Message, Reply, Text
from vimbiso_fsm.state import Address, Document, Moved, PendingCall, Run, guest_id
from vimbiso_fsm.store import Commit, Head
from vimbiso_fsm.turn import Call, Caller, Refused

__all__ = [
    "Answered",
    "Decision",
    "Due",
    "Event",
    "Stray",
    "WrongMember",
    "caller",
    "commit_of",
    "content_digest",
    "current_question",
    "decide",
    "failure",
    "first_document",
    "turn_token",
]


@attrs.frozen
class Answered:
    """A call has come back. `result` is what the service returned, a `Refused` among it; `unknown`: it raised, and
    nobody knows whether it was done. `tries`: how often the call has been taken up."""

    key: str
    root: str
    result: Any = attrs.field(default=None, repr=False)
    unknown: bool = False
    tries: int = 1


@attrs.frozen
class Due:
    """A timer has come. It does nothing unless `run` still stands in the state it entered at version `entered`."""

    run: str
    entered: int


@attrs.frozen
class Stray:
    """A call on its way that nobody seems to be making any more. It is taken up again once its lease has ended, with
    the same key. `tries`: how often it has been taken up."""

    key: str
    root: str
    tries: int


Event: TypeAlias = Message | Answered | Due | Stray


@attrs.frozen
class Decision:
    """What a turn comes to.

    `status`: "advanced", "refused", "ignored", "recovered" or "failed". `document`: the new one; the old one when
    `changed` is false, and then there is nothing to store but to verify. `raw`, `record`: document and turn record
    as bytes. `entry`: for the audit, still to be sealed. `call`: to be run once it is stored. `not_after`: instant
    after which the decision is worth nothing. `error`: what a callback raised.
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
    not_after: datetime | None = None
    error: BaseException | None = attrs.field(default=None, eq=False)

    @property
    def wake_at(self) -> datetime | None:
        """The earliest instant at which something is due although nobody says anything."""
        document = self.document
        timers = [run.due for run in (document.run, *document.suspended) if run and run.due]
        if document.call:
            timers.append(document.call.leased_until)
        if document.moved:
            timers.append(document.last_updated)
        return min(timers, default=None)


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
        case Answered(unknown=True):
            return hashed("no answer", event.key, str(event.tries))
        case Answered():
            return hashed("answer", event.key)
        case Due():
            return hashed("due", event.run, str(event.entered))
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


def decide(bot: Bot, document: Document | None, event: Event, now: datetime, *, recovered: bool = False) -> Decision:
    """Decide one turn. Never raises for anything a message, a document of this bot or a callback can do.

    `document`: the stored one, None for a first contact. `now`: the store's clock, with time zone. `recovered`: the
    document was mended just now, which the member is told.

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
                hearing.hear(talk, event, recovered=recovered)
            case Answered():
                _take_answer(talk, event)
            case Due():
                _take_timer(talk, event)
            case Stray():
                _take_stray(talk, event)
        return _close(talk, event)
    except Exception as error:  # noqa: BLE001  # whatever an author's callback raises, the member keeps their place
        return failure(bot, document, event, now, error)


def failure(bot: Bot, document: Document, event: Event, now: datetime, error: BaseException) -> Decision:
    """The decision when something raised: the document as before, a plain sentence, an error entry."""
    talk = _open(bot, document, event, now)
    reference = talk.token[:10]
    talk.kind, talk.status, talk.detail = "error", "failed", error_record(error, reference)
    talk.say(Text("failure", reference=reference))
    return attrs.evolve(_close(talk, event), error=error)


def current_question(bot: Bot, document: Document, now: datetime) -> tuple[Reply, ...]:
    """What the member is being asked now; nothing when no flow is open or the question cannot be drawn."""
    talk = _open(bot, document, Due("", 0), now)
    try:
        if document.call:
            talk.say(hearing.waiting_words(talk))
        else:
            talk.ask()
    except Exception:  # noqa: BLE001  # a question that cannot be drawn is met, said and reported when the next message comes
        return ()
    return bot.catalogue.replies(talk.replies)


def caller(document: Document, pending: PendingCall) -> Caller:
    """For whom a pending call acts."""
    return Caller(pending.key, document.member_id, document.jwt_token, document.channel)


def commit_of(decision: Decision, head: Head) -> Commit:
    """The commit of a decision made on the document at `head`."""
    document = decision.document
    if not decision.changed or decision.entry is None:
        return Commit(document.member_id, head, decision.token, decision.root, decision.content, None, None)
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
        wake_at=decision.wake_at.timestamp() if decision.wake_at else None,
    )


# Answers and timers -----------------------------------------------------------------------------------------------


def _take_answer(talk: Conversation, answered: Answered) -> None:
    """A call came back: `done` or `failed` in the state that proposed it."""
    pending = talk.pending
    if pending is None or pending.key != answered.key or talk.run is None:
        return talk.ignore()
    if answered.unknown and pending.tries < CALL_TRIES:
        talk.kind, talk.status = "call", "failed"
        talk.detail = {"call": f"{pending.service}.{pending.method}", "outcome": "unknown"}
        talk.pending = attrs.evolve(pending, leased_until=talk.now)
        return talk.say(hearing.waiting_words(talk))
    talk.pending = None
    result = Refused("call.unsure") if answered.unknown else answered.result
    if isinstance(result, Refused):
        talk.fail(result)
    else:
        fired = talk.pull("done", result)
        if fired.to is None:  # no way for this result: the flow hears why
            talk.fail(fired.reasons[0] if fired.reasons else Refused("call.failed"))
    hearing.go_on(talk)


def _take_stray(talk: Conversation, stray: Stray) -> None:
    """Take up a call that nobody is making."""
    pending = talk.pending
    if pending is None or (pending.key, pending.tries) != (stray.key, stray.tries) or talk.now < pending.leased_until:
        return talk.ignore()
    if pending.tries >= CALL_TRIES:
        return talk.fail(Refused("call.unsure"))
    talk.take_up(pending)


def _take_timer(talk: Conversation, due: Due) -> None:
    """A state's time is over, if the run still stands where the timer was set."""
    run = talk.run
    if run is None or (run.id, run.entered) != (due.run, due.entered) or not run.due or run.due > talk.now:
        return talk.ignore()
    if talk.pull("timeout").to is None:
        talk.ignore()


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


def _close(talk: Conversation, event: Event) -> Decision:
    """What all this comes to.

    Raises: InvalidState, NotStorable.
    """
    content = content_digest(event)
    replies = talk.bot.catalogue.replies(talk.replies)
    if not talk.changed:
        return Decision(talk.status, talk.before, replies, talk.token, talk.root, content, changed=False)
    document = _document(talk, spoken=isinstance(event, Message | Answered))
    raw = document_to_raw(document)
    verdict = talk.bot.validator.validate(raw)
    if not verdict.valid:
        raise InvalidState(verdict.faults)
    record = {"status": talk.status, "replies": replies_to_raw(replies), "flow_data": _kept(talk.bot, document)}
    return Decision(
        status=talk.status,
        document=document,
        replies=replies,
        token=talk.token,
        root=talk.root,
        content=content,
        raw=dumps(raw),
        record=dumps(record, "turn record"),
        entry=_entry(talk, document),
        call=talk.call,
        not_after=_not_after(talk, event),
    )


def _document(talk: Conversation, *, spoken: bool) -> Document:
    """The new document. After an error only its version and instant are new. `spoken`: this keeps the session alive."""
    before = talk.before
    if talk.kind == "error":
        return attrs.evolve(before, version=talk.version, last_updated=talk.now)
    member = talk.member
    return attrs.evolve(
        before,
        version=talk.version,
        last_updated=talk.now,
        channel=talk.channel,
        authenticated=member.authenticated,
        jwt_token=member.jwt_token,
        profile=_as_stored(before.profile, member.profile, "profile"),
        current_account=_as_stored(before.current_account, member.current_account, "current_account"),
        run=talk.run,
        suspended=talk.suspended,
        call=talk.pending,
        deadline=talk.now + timedelta(seconds=_session(talk)) if spoken else before.deadline,
        moved=_moved(talk),
    )


def _as_stored(before: Mapping[str, Any], after: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """What a flow made of a field, as it will be read back.

    Raises: NotStorable, naming the field.
    """
    return before if after is before else loads(dumps(unstructure(after), name))


def _not_after(talk: Conversation, event: Event) -> datetime | None:
    """The session's deadline, for what was decided within the session; a call on its way suspends it."""
    deadline = talk.before.deadline
    within = deadline is not None and talk.now <= deadline and talk.before.call is None
    return deadline if within and isinstance(event, Message) else None


def _session(talk: Conversation) -> float:
    """Seconds of silence that the current flow allows."""
    own = talk.flow.session if talk.run else None
    return talk.bot.session if own is None else own


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


def _kept(bot: Bot, document: Document) -> Any:
    """The run's state as the turn record keeps it: verbatim, but for fields marked secret."""
    if document.run is None:
        return {}
    raw = unstructure(document.run.flow_data)
    for name, field in bot.flow(document.run.flow).fields.items():
        if field.metadata.get("vimbiso") == SECRET["vimbiso"]:
            raw["data"].pop(name, None)
    return raw


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
        detail=talk.detail,
    )


def _redacted(bot: Bot, run: Run | None) -> dict[str, Any]:
    """A run's data as the audit may show it."""
    return redacted(bot.flow(run.flow), run.flow_data) if run else {}


def _changed(before: Run | None, after: Run | None) -> tuple[str, ...]:
    if before is None or after is None:
        return ()
    old, new = before.flow_data.data.fields, after.flow_data.data.fields
    return tuple(sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name)))
