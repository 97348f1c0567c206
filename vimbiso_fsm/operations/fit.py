"""The parts of a document that are kept when a merge or a link makes it larger than a document may be.

Two documents that fit are not always one that fits. The member must get in all the same, so the parts that matter least
are dropped, one after the other, until the rest fits:

    suspended runs   the oldest first, each with the runs that wait for it
    replies          those that wait for their delivery
    the current run  unless a call is pending, whose outcome is not to be lost
    the profile      if the pending call came with another one, which its own document has room for

The member is told that something was dropped, and the audit entry names it.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from vimbiso_fsm.document.document import Document, Run, Suspended
from vimbiso_fsm.engine.commit import as_stored
from vimbiso_fsm.engine.salvage import with_notice
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.carry_on import CARRY_ON
from vimbiso_fsm.messages.replies import Text
from vimbiso_fsm.store.retention import MAX_DOCUMENT


def fitted(bot: Bot, document: Document, token: str, *, before: Document | None = None) -> tuple[Document, list[str]]:
    """Return a document, or as much of it as fits, and the names of what was dropped.

    Args:
        bot: The bot, which has the words for the member.
        document: The document.
        token: The token of the turn that stores it.
        before: The member's document before, whose profile is taken again in the end.

    Returns:
        The document, and "replies", "profile" or the name of a flow for each part that was dropped. If not even the
        least fits, that is returned, and the store refuses it.

    Raises:
        InvalidState: The document breaks the rule book.
        NotStorable: A value in it cannot be written as JSON.
    """
    dropped: list[str] = []
    found = document
    if not _fits(bot, document):
        for part, smaller in _smaller(document, before):
            dropped.append(part)
            found = with_notice(bot, smaller, Text("merge.too_much"), token)
            if _fits(bot, found):
                break
    return found, dropped


def _fits(bot: Bot, document: Document) -> bool:
    _, data = as_stored(bot, document)
    return len(data) <= MAX_DOCUMENT


def _smaller(document: Document, before: Document | None) -> Iterator[tuple[str, Document]]:
    """Yield the document with fewer and fewer parts, each with the name of the part that was dropped last."""
    while oldest := _oldest(document.suspended):
        document = attrs.evolve(document, suspended=document.suspended[len(oldest) :])
        if not document.suspended and document.run is not None and document.run.flow == CARRY_ON.name:
            document = attrs.evolve(document, run=None)  # it offers the run that is gone
        yield oldest[0].flow, document
    if document.outbox:
        document = attrs.evolve(document, outbox=())
        yield "replies", document
    if document.call is None and document.run is not None:
        flow, document = document.run.flow, attrs.evolve(document, run=None, suspended=(), effects=())
        yield flow, document
    if before is not None and document.profile != before.profile:
        yield "profile", attrs.evolve(document, profile=before.profile, current_account=before.current_account)


def _oldest(suspended: tuple[Run, ...]) -> tuple[Run, ...]:
    """Return the oldest suspended run with those that wait for it; none if all of them wait for the current one."""
    for place, run in enumerate(suspended, 1):
        if run.waits != Suspended.SUBFLOW:
            return suspended[:place]
    return ()
