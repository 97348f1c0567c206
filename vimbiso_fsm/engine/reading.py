"""TODO."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import attrs

from vimbiso_fsm.document.codec import (
    Unreadable,
    document_to_raw,
    keep_judged,
    loads,
    structure,
)
from vimbiso_fsm.document.document import (
    Document,
    Run,
)
from vimbiso_fsm.engine.upgrade import newer, upgrade
from vimbiso_fsm.errors import NewerState
from vimbiso_fsm.flow.bot import Bot

PATIENCE_WITH_NEWER: Final = 3600.0
"""Seconds since a newer release has stored a member's state, after which it is taken for rolled back: old and new
workers do not run beside each other for so long."""


def faults(bot: Bot, data: bytes) -> tuple[Document | None, tuple[str, ...]]:
    """A stored document, brought to today's flows, and what is wrong with it: no JSON, against the rule book, a flow, a
    version or a state that is gone, data that does not fit the flow's."""
    try:
        raw, upgraded = upgrade(bot, loads(data))
        document = bot.validator.read(raw)
        plain = document_to_raw(document)
        if plain == raw:  # nothing was upgraded, and nothing is written differently today
            keep_judged(document, plain, bot.validator)
        for run in (document.run, *document.suspended):
            if run is not None:
                _read_data(bot, run)
    except Unreadable as error:
        return None, error.faults
    return attrs.evolve(document, upgraded=upgraded) if upgraded else document, ()


def leave_to_newer(bot: Bot, member_id: str, data: bytes | None, now: datetime) -> None:
    """Keep away from what a newer release has stored, while there is one: nothing of it is damaged, we only do not
    know it.

    Raises: NewerState.
    """
    try:
        raw = loads(data or b"")
        found = newer(bot, raw)
        since = datetime.fromisoformat(raw["_last_updated"]) if found else now
        if found and now - since < timedelta(seconds=PATIENCE_WITH_NEWER):
            raise NewerState(member_id, *found)
    except (Unreadable, TypeError, KeyError, ValueError):
        return


def _read_data(bot: Bot, run: Run) -> None:
    try:
        structure(run.flow_data.data.fields, bot.definition(run).data)
    except Unreadable as error:
        raise Unreadable(f"data of flow {run.flow!r}: {fault}" for fault in error.faults) from None
