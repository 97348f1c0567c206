"""Strangers: guests of whom nothing would be lost. They are stored with less, and for a shorter time."""

from __future__ import annotations

from functools import lru_cache

from vimbiso_fsm.document.document import Document, Run
from vimbiso_fsm.document.typed_data import unstructure
from vimbiso_fsm.flow.bot import Bot


def is_stranger(bot: Bot, document: Document) -> bool:
    """Return whether a document is that of a guest who has answered nothing and for whom nothing was done.

    Such a guest may have been asked a question, may have been refused answers, and may wait for a call without an
    effect.
    """
    run = document.run
    if run is not None and run.trail:  # a plain turn of a guest ends here
        return False
    if not document.guest or document.moved or document.jwt_token or document.profile or document.current_account:
        return False
    for waiting in document.outbox:
        if waiting.replies:  # no record holds them
            return False
    if document.reminders or document.effects or (document.call is not None and document.call.done):
        return False
    if document.opted_out or document.handed is not None or document.passing:
        return False
    if run is not None and not _is_blank(bot, run):
        return False
    return not document.suspended or all(_is_blank(bot, run) for run in document.suspended)


def _is_blank(bot: Bot, run: Run) -> bool:
    """Return whether a run is as it began: without answers, a timer, an effect, and data other than the defaults."""
    if run.trail or run.made or run.due is not None or run.context.get("answers"):
        return False
    kind = bot.versions[run.flow, run.version].flow.data
    return bool(run.fields == _defaults(kind))  # type: ignore[arg-type]  # a class is hashable


@lru_cache(maxsize=1024)
def _defaults(data: type) -> object:
    """Return the plain data of a flow that has just begun. A default that differs each time is equal to no other."""
    return unstructure(data())
