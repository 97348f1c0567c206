"""What is done with a document that is broken: what of it still obeys the rule book is kept, the rest is named.

The bytes themselves are set aside whole by the store before anything is written over them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import attrs

from vimbiso_fsm.bot import Bot
from vimbiso_fsm.codec import Unreadable, document_from_raw, document_to_raw, loads, structure
from vimbiso_fsm.decision import first_document
from vimbiso_fsm.messages import Channel, Text
from vimbiso_fsm.state import Document, Run
from vimbiso_fsm.store import DOCUMENT_LIFE

__all__ = ["Salvage", "evicted", "faults", "salvage"]

_CORE = (
    ("_guest",),
    ("_channels",),
    ("channel",),
    ("profile",),
    ("current_account",),
    ("jwt_token", "authenticated"),
    ("_outbox",),
    ("_deadline",),
    ("_last_updated",),
)
"""Fields worth keeping on their own; those of one group only together."""


@attrs.frozen
class Salvage:
    """What was saved of a broken document. `kept`, `lost`: names of fields. `words`: what the member is told."""

    document: Document
    kept: tuple[str, ...]
    lost: tuple[str, ...]
    words: Text = attrs.field(factory=lambda: Text("recovered"))


def faults(bot: Bot, data: bytes) -> tuple[Document | None, tuple[str, ...]]:
    """A stored document, and what is wrong with it: no JSON, against the rule book, a flow or a state that is gone,
    data that does not fit the flow's."""
    try:
        raw = loads(data)
        verdict = bot.validator.validate(raw)
        if not verdict.valid:
            return None, tuple(map(str, verdict.faults))
        document = document_from_raw(raw)
        for run in (document.run, *document.suspended):
            if run is not None:
                _read_data(bot, run)
    except Unreadable as error:
        return None, error.faults
    return document, ()


def _read_data(bot: Bot, run: Run) -> None:
    try:
        structure(run.flow_data.data.fields, bot.flow(run.flow).data)
    except Unreadable as error:
        raise Unreadable(f"data of flow {run.flow!r}: {fault}" for fault in error.faults) from None


def salvage(
    bot: Bot, data: bytes, channel: Channel, now: datetime, *, member_id: str, guest: bool, version: int
) -> Salvage:
    """A valid document with every core field of the broken one that still obeys the rule book. No run is kept: what
    was asked last cannot be known."""
    fresh = first_document(channel, now, member_id="" if guest else member_id, version=version)
    whole = document_to_raw(attrs.evolve(fresh, member_id=member_id))
    try:
        found = loads(data)
    except Unreadable:
        found = None
    if not isinstance(found, Mapping):
        return Salvage(document_from_raw(whole), (), ("document",))
    kept: list[str] = []
    lost = [name for name in ("flow_data", "_suspended", "_call") if found.get(name)]
    for group in _CORE:
        names = [name for name in group if name in found]
        trial = {**whole, **{name: found[name] for name in names}}
        if names and _holds(bot, trial):
            whole = trial
            kept += names
        else:
            lost += names
    return Salvage(document_from_raw(whole), tuple(kept), tuple(lost))


def evicted(last: datetime, now: datetime) -> bool:
    """Whether a document that is not there any more, last changed at `last`, has not reached its natural end."""
    return now < last + timedelta(seconds=DOCUMENT_LIFE)


def _holds(bot: Bot, raw: dict[str, Any]) -> bool:
    try:
        document_from_raw(raw)
    except Unreadable:
        return False
    return bot.validator.validate(raw).valid
