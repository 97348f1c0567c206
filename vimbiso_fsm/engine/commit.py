"""A decision, and the commit that stores it.

`close` makes the `Decision` of a turn. `as_stored` and `decision_of` make that of a document that comes from no turn:
an operator's, an imported one, or a guest's that is merged into a member's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import attrs

from vimbiso_fsm.audit.entries import AuditEntry, seal
from vimbiso_fsm.document.codec import document_from_raw, document_to_raw
from vimbiso_fsm.document.document import (
    Document,
    Fields,
    Member,
    PendingCall,
    TokenLife,
    Undelivered,
)
from vimbiso_fsm.document.json_codec import dumps, dumps_unstructured, loads
from vimbiso_fsm.document.replies_codec import replies_to_raw
from vimbiso_fsm.document.turn_record import shorten
from vimbiso_fsm.engine.events import (
    Event,
    content_digest,
    earlier_contents,
    other_tokens,
    turn_token,
)
from vimbiso_fsm.engine.schedule import wake_at
from vimbiso_fsm.errors import Fault, InvalidState, VimbisoError
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.calls import Call, Caller
from vimbiso_fsm.flow.privacy import without
from vimbiso_fsm.messages.digests import Digests
from vimbiso_fsm.messages.message import Address
from vimbiso_fsm.messages.replies import Reply
from vimbiso_fsm.store.requests import NO_HEAD, Commit, Head
from vimbiso_fsm.store.retention import AUDIT_LIFE, DOCUMENT_LIFE, STRANGER_LIFE, TIMER_GRACE

_RECORD: Final = "turn record"
"""The name of a turn record in errors."""


@attrs.frozen
class Decision:
    """The result of a turn.

    Attributes:
        status: "advanced", "refused", "ignored", "recovered" or "failed".
        document: The new document; the old one when `changed` is false.
        replies: The replies with their final words.
        token: The token of the turn.
        earlier: Its tokens of other keys and names, see `Commit`.
        root: The token of the message that caused it.
        content: The digest of the message's content; empty for other events.
        contents: Its digests by other keys, see `Commit`.
        changed: Whether there is a document to store. Otherwise the commit only remembers a message by its record.
        raw: The document as bytes.
        record: The turn record as bytes; empty where nothing is to be remembered.
        entry: The audit entry, not sealed yet.
        call: The call to make once the turn is stored.
        renews: Whether `call` renews the login token, before the call that the document holds.
        forgets: Whether the previous document is deleted.
        stranger: Whether the document is that of a stranger, see `is_stranger`.
        delivery: The replies to deliver once the turn is stored.
        not_after: The instant after which the decision must not be stored.
        error: The exception that a callback raised.
    """

    status: str
    document: Document
    replies: tuple[Reply, ...] = attrs.field(repr=False)
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
    stranger: bool = False
    delivery: Undelivered | None = None
    not_after: datetime | None = None
    earlier: tuple[str, ...] = ()
    contents: tuple[str, ...] = ()
    error: BaseException | None = attrs.field(default=None, eq=False)


def caller(bot: Bot, document: Document, pending: PendingCall) -> Caller:
    """Return the caller on whose behalf a pending call acts."""
    channel = document.channel
    return Caller(pending.key, document.person, document.jwt_token, channel, bot.phone_of(channel))


def commit_of(decision: Decision, head: Head) -> Commit:
    """Return the commit of a decision that was made on the document at `head`."""
    document = decision.document
    if not decision.changed or decision.entry is None:
        token, root, earlier = decision.token, decision.root, decision.earlier
        return Commit(
            document.member_id,
            head,
            token,
            root,
            decision.content,
            None,
            None,
            decision.record,
            earlier=earlier,
            contents=decision.contents,
        )
    wake = wake_at(document, stranger=decision.stranger)
    return Commit(
        member_id=document.member_id,
        expected=head,
        token=decision.token,
        earlier=decision.earlier,
        root=decision.root,
        content=decision.content,
        contents=decision.contents,
        document=decision.raw,
        entry=seal(decision.entry, decision.raw, head.digest),
        record=decision.record,
        not_after=decision.not_after.timestamp() if decision.not_after else None,
        wake_at=wake.timestamp() if wake else None,
        life=_life(document, least=STRANGER_LIFE if decision.stranger else DOCUMENT_LIFE),
        forgets=decision.forgets or decision.stranger,
        stranger=decision.stranger,
    )


def verifying(digests: Digests, event: Event, known: Sequence[Address] = ()) -> Commit:
    """Return a commit that stores nothing, and asks whether an event was taken in before; without member and head.

    Args:
        digests: The digests of the store.
        event: The event.
        known: The linked channels of the member.
    """
    token = turn_token(event, digests.token_key)
    earlier, contents = other_tokens(event, digests, known), earlier_contents(event, digests)
    content = content_digest(event, digests.words_key)
    return Commit("", NO_HEAD, token, token, content, None, None, earlier=earlier, contents=contents)


def _life(document: Document, *, least: int) -> int:
    """Return the seconds that a document is kept: longer if a timer or the end of a session is far ahead.

    A document that says that the member wants no messages is kept as long as the audit, also that of a guest.
    """
    if document.opted_out:  # a wish that no message makes known again
        least = max(least, AUDIT_LIFE)
    for run in (document.run, *document.suspended):
        if run is not None and run.due is not None:
            ahead = run.due - document.last_updated
            least = max(least, math.ceil(ahead.total_seconds()) + TIMER_GRACE)
    for reminder in document.reminders:
        ahead = reminder.at - document.last_updated
        least = max(least, math.ceil(ahead.total_seconds()) + TIMER_GRACE)
    open_for = (document.deadline or document.last_updated) - document.last_updated
    return max(least, math.ceil(open_for.total_seconds()))


def life_of(bot: Bot, before: Document | None, member: Member, now: datetime) -> TokenLife | None:
    """Return the life of a member's login token. The token is read if it differs from that of `before`.

    Raises:
        BadToken: The token cannot be read, or is not the member's.
    """
    token = member.jwt_token
    if bot.tokens is None or not token:
        return None
    return before.token if before and token == before.jwt_token else bot.tokens.life(token, bot.typed(member), now)


def drops_token(before: Document | None, after: Document) -> bool:
    """Return whether a login token is gone. A logout is final, so the previous document is deleted too."""
    return before is not None and before.jwt_token is not None and after.jwt_token is None


def record_of(bot: Bot, status: str, replies: Sequence[Reply], document: Document, *, stranger: bool = False) -> bytes:
    """Return the turn record: the replies, and the run without the fields marked secret.

    That of a stranger has no run, which holds nothing to repair; without replies there is none.

    Args:
        bot: The bot that knows the run's flow.
        status: The status of the turn.
        replies: Its replies.
        document: The new document.
        stranger: Whether it is that of a stranger.
    """
    if stranger and not replies:
        return b""
    run = None if stranger else document.run
    data: Fields = {} if run is None else run.fields
    if run is not None and (secrets := bot.versions[run.flow, run.version].flow.secrets):
        data = without(data, secrets)
    record = shorten(status, replies_to_raw(replies), run, data, called=document.call is not None)
    return dumps_unstructured(record, _RECORD)


def record_of_replies(status: str, replies: Sequence[Reply]) -> bytes:
    """Return the turn record of a message that was not taken, and is answered with the same replies again."""
    return dumps_unstructured(shorten(status, replies_to_raw(replies), None, {}, called=False), _RECORD)


def as_stored(bot: Bot, document: Document) -> tuple[Document, bytes]:
    """Return a document that comes from no turn, as it will be read back, and its bytes.

    Raises:
        InvalidState: It breaks the rule book.
        NotStorable: A value in it cannot be written as JSON.
    """
    if not document.salt:
        document = attrs.evolve(document, salt=bot.digests.salt_of(document.member_id))
    try:
        raw = document_to_raw(document)
    except (AttributeError, TypeError, KeyError, ValueError) as error:
        if isinstance(error, VimbisoError):
            raise
        raise InvalidState((Fault("document", "has a part of a wrong type"),)) from None
    data = dumps(raw)
    bot.validator.check(raw)
    return document_from_raw(loads(data)), data


def decision_of(bot: Bot, document: Document, data: bytes, entry: AuditEntry, *, forgets: bool = False) -> Decision:
    """Return the decision that stores a document that comes from no turn.

    Args:
        bot: The bot that knows the document's flows.
        document: The document, as `as_stored` returned it.
        data: Its bytes.
        entry: The audit entry, not sealed yet.
        forgets: Whether the previous document is deleted.
    """
    return Decision(
        status=entry.status,
        document=document,
        replies=(),
        token=entry.token,
        root=entry.root,
        content="",
        raw=data,
        record=record_of(bot, entry.status, (), document),
        entry=entry,
        forgets=forgets,
    )
