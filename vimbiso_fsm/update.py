"""A change to a stored document that is no turn of a conversation: an operator's, a migration's, another program's.

It is held to the same laws: on the head that was read, valid before it is stored, with an audit entry.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import attrs

from vimbiso_fsm.bot import Bot
from vimbiso_fsm.codec import document_from_raw, document_to_raw, dumps, loads
from vimbiso_fsm.decision import Decision, life_of, record_of
from vimbiso_fsm.errors import DamagedDocument, InvalidState
from vimbiso_fsm.flow_audit import AuditEntry, channel_digest
from vimbiso_fsm.recovery import faults
from vimbiso_fsm.state import Document
from vimbiso_fsm.state_validator import Fault
from vimbiso_fsm.store import Broken, Stored
from vimbiso_fsm.versions import migrated

__all__ = ["Change", "read", "updated"]

Change = Callable[[Document], Document]
"""A pure function from the document as it is to the document as it should be."""


def read(bot: Bot, member_id: str, stored: Stored | Broken) -> Document | None:
    """The stored document, None when there is none.

    Raises: DamagedDocument when what is stored is no valid document.
    """
    if isinstance(stored, Broken):
        raise DamagedDocument(member_id, stored.fault)
    if stored.document is None:
        return None
    document, wrong = faults(bot, stored.document)
    if document is None:
        raise DamagedDocument(member_id, "; ".join(wrong[:3]))
    if document.member_id != member_id:
        raise DamagedDocument(member_id, "it is another member's")
    return document.at(datetime.fromtimestamp(stored.at, UTC))


def updated(bot: Bot, before: Document | None, after: Document, token: str, at: float, *, version: int) -> Decision:
    """The decision that stores `after`; the caller's object is left as it is, and what it holds is not shared.
    `version`: of the head it is made on.

    Raises: InvalidState, also when it would become another member's; NotStorable; tokens.BadToken.
    """
    if before is not None and after.member_id != before.member_id:
        raise InvalidState((Fault("member_id", "is another than that of the document to be changed"),))
    now = datetime.fromtimestamp(at, UTC)
    latest = max(now, before.last_updated) if before else now
    after = attrs.evolve(after, token=life_of(bot, before, after.member, latest)).at(latest)
    raw = document_to_raw(attrs.evolve(after, version=version + 1, last_updated=latest))
    data = dumps(raw)
    verdict = bot.validator.validate(raw)
    if not verdict.valid:
        raise InvalidState(verdict.faults)
    document = document_from_raw(loads(data))
    return Decision(
        status="advanced",
        document=document,
        replies=(),
        token=token,
        root=token,
        content="",
        raw=data,
        record=record_of(bot, "advanced", (), document),
        entry=_entry(before, document, token),
    )


def _entry(before: Document | None, after: Document, token: str) -> AuditEntry:
    names = [field.name for field in attrs.fields(Document) if field.name not in ("version", "last_updated", "brought")]
    changed = [name for name in names if before is None or getattr(before, name) != getattr(after, name)]
    run = after.run
    return AuditEntry(
        version=after.version,
        at=after.last_updated,
        member_id=after.member_id,
        channel=channel_digest(after.channel),
        kind="update",
        status="advanced",
        token=token,
        root=token,
        source=before.run.step if before and before.run else "",
        dest=run.step if run else "",
        flow=run.flow if run else "",
        run=run.id if run else "",
        detail={"fields": changed, **migrated(before)},
    )
