"""A change to a stored document that is no turn of a conversation: an operator's, a migration's, another program's.

It is held to the same laws: on the head that was read, valid before it is stored, with an audit entry. `updating` and
`saving` are a `Work` each: the sync and the async manager perform the same ones.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator
from typing import Any

import attrs

from vimbiso_fsm.audit.entries import AuditEntry, entry_for
from vimbiso_fsm.audit.flow_audit import CommitEvent
from vimbiso_fsm.document.codec import Fault
from vimbiso_fsm.document.document import Document
from vimbiso_fsm.document.ids import instant
from vimbiso_fsm.engine.commit import Decision, as_stored, commit_of, decision_of, drops_token, life_of
from vimbiso_fsm.engine.reading import faults, leave_to_newer
from vimbiso_fsm.engine.upgrade import migrated
from vimbiso_fsm.errors import DamagedDocument, DocumentTooLarge, InvalidState, VersionConflict
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.operations.effects import Pause
from vimbiso_fsm.operations.work import Done, Work
from vimbiso_fsm.store.requests import Broken, Committed, Conflict, Load, Request, Stored

Change = Callable[[Document], Document]
"""A pure function from the document as it is to the document as it should be."""


def read(bot: Bot, member_id: str, stored: Stored | Broken) -> Document | None:
    """The stored document, None when there is none.

    Raises: DamagedDocument when what is stored is no valid document; NewerState.
    """
    if isinstance(stored, Broken):
        raise DamagedDocument(member_id, stored.fault)
    if stored.document is None:
        return None
    document, wrong = faults(bot, stored.document)
    if document is None:
        leave_to_newer(bot, member_id, stored.document, instant(stored.at))
        raise DamagedDocument(member_id, "; ".join(wrong[:3]))
    if document.member_id != member_id:
        raise DamagedDocument(member_id, "it is another member's")
    return document.at(instant(stored.at))


def updating(bot: Bot, member_id: str, change: Change, token: Callable[[], str]) -> Work[Document]:
    """Change a stored document; on a conflict the change is applied again to what is stored then. `token`: makes a new
    one for each try.

    Raises: as `updated`; DamagedDocument; DocumentTooLarge; KeyError when the member has no document.
    """
    for attempt in itertools.count(1):
        stored = yield Load(member_id)
        before = read(bot, member_id, stored)
        if before is None:
            raise KeyError(member_id)
        done = yield from _storing(bot, before, change(before), stored, token())
        if not isinstance(done, Conflict):
            return done
        yield Pause(attempt)
    raise AssertionError("unreachable")


def saving(bot: Bot, document: Document, token: str) -> Work[Document]:
    """Store a document that was read earlier, if it is still at that version; a new one at version 0.

    Raises: as `updated`; DamagedDocument; DocumentTooLarge; VersionConflict naming both versions.
    """
    member_id = document.member_id
    stored = yield Load(member_id)
    if stored.head.version != document.version:
        raise VersionConflict(member_id, document.version, stored.head.version)
    done = yield from _storing(bot, read(bot, member_id, stored), document, stored, token)
    if isinstance(done, Conflict):
        raise VersionConflict(member_id, document.version, done.current.head.version)
    return done


def _storing(
    bot: Bot, before: Document | None, after: Document, stored: Stored, token: str
) -> Generator[Request | Pause, Any, Done[Document] | Conflict]:
    decision = updated(bot, before, after, token, stored.at, version=stored.head.version)
    result = yield commit_of(decision, stored.head)
    refuse_unstorable(after.member_id, result)
    if isinstance(result, Conflict):
        return result
    assert isinstance(result, Committed), result
    assert decision.entry is not None
    return Done(decision.document, (CommitEvent(decision.entry, 1, result.head.digest),))


def refuse_unstorable(member_id: str, result: Any) -> None:
    """What a commit comes to that would come to the same again.

    Raises: DocumentTooLarge; DamagedDocument when a key beside the document is broken, which recovery sets aside.
    """
    if isinstance(result, DocumentTooLarge):
        raise result
    if isinstance(result, Broken):
        raise DamagedDocument(member_id, result.fault)


def updated(bot: Bot, before: Document | None, after: Document, token: str, at: float, *, version: int) -> Decision:
    """The decision that stores `after`; the caller's object is left as it is, and what it holds is not shared.
    `version`: of the head it is made on.

    Raises: InvalidState, also when it would become another member's; NotStorable; tokens.BadToken.
    """
    if before is not None and after.member_id != before.member_id:
        raise InvalidState((Fault("member_id", "is another than that of the document to be changed"),))
    now = instant(at)
    latest = max(now, before.last_updated) if before else now
    after = attrs.evolve(after, token=life_of(bot, before, after.member, latest)).at(latest)
    document, data = as_stored(bot, attrs.evolve(after, version=version + 1, last_updated=latest))
    entry = _entry(before, document, token)
    return decision_of(bot, document, data, entry, forgets=drops_token(before, document))


def _entry(before: Document | None, after: Document, token: str) -> AuditEntry:
    names = [
        field.name for field in attrs.fields(Document) if field.name not in ("version", "last_updated", "upgraded")
    ]
    changed = [name for name in names if before is None or getattr(before, name) != getattr(after, name)]
    return entry_for(
        "update",
        token,
        member_id=after.member_id,
        version=after.version,
        at=after.last_updated,
        channel=after.channel,
        run=after.run,
        source=before.run.step if before and before.run else "",
        detail={"fields": changed, **migrated(before)},
    )
