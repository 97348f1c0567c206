"""Changes to a stored document outside a turn, by an operator, an import or another program.

The rules of a turn hold: a change is made on the head that was read, is validated before it is stored, and has an audit
entry.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import TypeAlias

import attrs

from vimbiso_fsm.audit.entries import AuditEntry, entry_for
from vimbiso_fsm.document.document import Document
from vimbiso_fsm.document.ids import instant
from vimbiso_fsm.engine.commit import Decision, as_stored, commit_of, decision_of, drops_token, life_of
from vimbiso_fsm.engine.reading import Absent, Encrypted, Foreign, Newer, Sound, open_document
from vimbiso_fsm.engine.upgrade import migrated
from vimbiso_fsm.errors import DamagedDocument, Fault, InvalidState, MemberNotFound, VersionConflict, WrongCallback
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.store.requests import Broken, CommitResult, Committed, Conflict, Head, Inherited, Load, Stored

Change: TypeAlias = Callable[[Document], Document]
"""A pure function from the stored document to the changed one."""


def read(bot: Bot, member_id: str, stored: Stored | Broken) -> Document | None:
    """Return the stored document, or None when there is none.

    Raises:
        DamagedDocument: The stored data is no valid document of the member.
        NewerState: A newer release has stored it.
        ForeignState: It is of a flow that the bot never had.
    """
    now = instant(stored.at)
    match open_document(bot, member_id, stored, now):
        case Sound(document):
            return document.at(now)
        case Absent():
            return None
        case Newer(error) | Foreign(error) | Encrypted(error):
            raise error
        case damage:
            raise DamagedDocument(member_id, "; ".join(damage.faults[:3]))


async def update(context: Context, member_id: str, change: Change, token: Callable[[], str]) -> Document:
    """Change a stored document. After a conflict the change is applied again to the document stored then.

    Args:
        context: The context of the operation.
        member_id: The member whose document is changed.
        change: The change.
        token: Makes a new token for each attempt.

    Raises:
        Contended: Other writers were faster until the patience was over.
        DamagedDocument: The document is damaged.
        DocumentTooLarge: The changed document does not fit.
        MemberNotFound: Nothing is stored of the member.
        InvalidState, NotStorable, BadToken: As `updated`.
    """
    for attempt in itertools.count(1):
        stored = await Load(member_id)
        before = read(context.bot, member_id, stored)
        if before is None:
            raise MemberNotFound(member_id)
        assert isinstance(stored, Stored)
        result = await _store(context, before, change(before), stored, token())
        if not isinstance(result, Conflict):
            return result
        await context.pause(member_id, attempt)
    raise AssertionError("unreachable")


async def save(context: Context, document: Document, token: str) -> Document:
    """Store a document that was read earlier, if the member is still at its version. A new one has version 0.

    Raises:
        DamagedDocument: The stored document is damaged.
        DocumentTooLarge: The document does not fit.
        VersionConflict: The member is at another version.
        InvalidState, NotStorable, BadToken: As `updated`.
    """
    member_id = document.member_id
    stored = await Load(member_id)
    if stored.head.version != document.version:
        raise VersionConflict(member_id, document.version, stored.head.version)
    before = read(context.bot, member_id, stored)
    assert isinstance(stored, Stored)
    result = await _store(context, before, document, stored, token)
    if isinstance(result, Conflict):
        raise VersionConflict(member_id, document.version, result.current.head.version)
    return result


async def _store(
    context: Context, before: Document | None, after: Document, stored: Stored, token: str
) -> Document | Conflict:
    decision = updated(context.bot, before, after, token, stored.at, version=stored.head.version)
    result = await commit(context, decision, stored.head)
    refuse_broken(after.member_id, result)
    if isinstance(result, Conflict):
        return result
    assert isinstance(result, Committed), result
    return decision.document


async def commit(
    context: Context, decision: Decision, head: Head, attempts: int = 1, *, inherited: Inherited | None = None
) -> CommitResult:
    """Commit a decision outside a turn, and report it if it is stored.

    Args:
        context: The context of the operation.
        decision: The decision, as `updated` returned it.
        head: The head on which the decision was made.
        attempts: The number of commits tried, this one included.
        inherited: Tokens and records that the member takes over.

    Raises:
        DocumentTooLarge: The document does not fit.
    """
    result = await attrs.evolve(commit_of(decision, head), inherited=inherited)
    if isinstance(result, Committed) and decision.entry is not None:
        context.stored.append((decision.entry, attempts, result.head.digest))
    return result


def refuse_broken(member_id: str, result: CommitResult) -> None:
    """Refuse to commit again beside a damaged key, because the result would be the same.

    Raises:
        DamagedDocument: A key beside the document is damaged. Recovery quarantines it.
    """
    if isinstance(result, Broken):
        raise DamagedDocument(member_id, result.fault)


def updated(bot: Bot, before: Document | None, after: Document, token: str, at: float, *, version: int) -> Decision:
    """Return the decision that stores a changed document. Its document shares no value with `after`.

    Args:
        bot: The bot.
        before: The document as it is stored; None for a new one.
        after: The changed document.
        token: The token of the change.
        at: Seconds since the epoch on the store's clock.
        version: The version of the head on which the change is made.

    Raises:
        WrongCallback: The change returned no document.
        InvalidState: The changed document is invalid, or another member's.
        NotStorable: A value of it cannot be stored.
        BadToken: Its token cannot be read.
    """
    if not isinstance(after, Document):
        raise WrongCallback("the change", type(after).__name__, "a Document")
    if before is not None and after.member_id != before.member_id:
        raise InvalidState((Fault("member_id", "is another than that of the document to be changed"),))
    now = instant(at)
    latest = max(now, before.last_updated) if before else now
    after = attrs.evolve(after, token=life_of(bot, before, after.member, latest)).at(latest)
    document, data = as_stored(bot, attrs.evolve(after, version=version + 1, last_updated=latest))
    entry = _entry(bot, before, document, token)
    return decision_of(bot, document, data, entry, forgets=drops_token(before, document))


def with_entry(decision: Decision, *, kind: str, detail: Mapping[str, object], status: str = "advanced") -> Decision:
    """Return a decision of `updated` with another kind, detail and status of its audit entry, as in `AuditEntry`."""
    assert decision.entry is not None
    return attrs.evolve(decision, entry=attrs.evolve(decision.entry, kind=kind, status=status, detail=detail))


def _entry(bot: Bot, before: Document | None, after: Document, token: str) -> AuditEntry:
    names = [
        field.name
        for field in attrs.fields(Document)
        if field.name not in ("version", "last_updated", "salt", "upgraded", "ahead")
    ]
    changed = [name for name in names if before is None or getattr(before, name) != getattr(after, name)]
    return entry_for(
        "update",
        token,
        member_id=after.member_id,
        version=after.version,
        at=after.last_updated,
        channel=bot.digests.shown(after.channel),
        stands=after.run,
        source=before.run.step if before and before.run else "",
        detail={"fields": changed, **migrated(before)},
    )
