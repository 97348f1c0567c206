"""TODO."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs

from vimbiso_fsm.audit.entries import AuditEntry, redacted, seal
from vimbiso_fsm.document.codec import (
    document_to_raw,
    dumps,
    dumps_unstructured,
    is_intact,
    keep_judged,
    loads,
    unstructure,
)
from vimbiso_fsm.document.document import (
    Document,
    Member,
    Moved,
    PendingCall,
    Run,
    TokenLife,
    Undelivered,
)
from vimbiso_fsm.document.ids import channel_digest
from vimbiso_fsm.document.replies_codec import replies_to_raw
from vimbiso_fsm.engine.draft import Conversation
from vimbiso_fsm.engine.events import Event, Listener, Silence, content_digest
from vimbiso_fsm.engine.outbox import _overdue, _put_out, _unwarn
from vimbiso_fsm.engine.schedule import wake_at
from vimbiso_fsm.engine.session import _not_after, _session
from vimbiso_fsm.engine.upgrade import migrated
from vimbiso_fsm.errors import InvalidState, VimbisoError
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.calls import Call, Caller
from vimbiso_fsm.messages.message import Message
from vimbiso_fsm.messages.replies import Reply
from vimbiso_fsm.store.requests import Commit, Head


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
