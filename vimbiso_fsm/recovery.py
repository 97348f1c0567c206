"""What is done with a document that is broken: what of it still obeys the rule book is kept, the rest is named.

The bytes themselves are set aside whole by the store before anything is written over them. Where the member stood is
looked for, in this order:

    previous   the document before the broken one
    turns      the latest turn record that stands at a question of today's flows; at the first whose answer it lacks
    restart    the flow that was open, from its beginning
    fresh      none: the way home

An effect is a barrier: a state from before a call that was made since, or may have been, is not gone back to: it would
be made twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import attrs

from vimbiso_fsm.bot import Bot
from vimbiso_fsm.codec import Unreadable, document_from_raw, document_to_raw, dumps, loads, structure, unstructure
from vimbiso_fsm.commands import CARRY_ON
from vimbiso_fsm.conversation import hashed
from vimbiso_fsm.decision import first_document
from vimbiso_fsm.flow import Flow
from vimbiso_fsm.flow_audit import AuditEntry, AuditStep
from vimbiso_fsm.messages import Channel, Text
from vimbiso_fsm.state import Address, Document, FlowData, Run, StepData
from vimbiso_fsm.state_validator import BOOKKEEPING, SEED
from vimbiso_fsm.store import DOCUMENT_LIFE, Record

__all__ = ["Remains", "Salvage", "evicted", "faults", "recover", "salvage"]

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
    """What was saved of a broken document. `kept`, `lost`: names of fields. `words`: what the member is told. `source`:
    where it is known from where the member stood."""

    document: Document
    kept: tuple[str, ...]
    lost: tuple[str, ...]
    words: Text = attrs.field(factory=lambda: Text("recovered"))
    source: str = "fresh"

    @property
    def detail(self) -> dict[str, Any]:
        """What the audit says of it."""
        return {"kept": self.kept, "lost": self.lost, "from": self.source}


@attrs.frozen
class Remains:
    """What there is of a member beside their broken document. `records`, `entries`: the latest that can be read, oldest
    first."""

    previous: bytes | None = attrs.field(default=None, repr=False)
    records: tuple[Record, ...] = ()
    entries: tuple[AuditEntry, ...] = ()


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
    strange = found.keys() - SEED - BOOKKEEPING  # a field whose name was spoilt: any that is not there may have been it
    for group in _CORE:
        names = [name for name in group if name in found]
        trial = {**whole, **{name: found[name] for name in names}}
        if any(name not in found and (name in SEED or strange) for name in group) or (names and not _holds(bot, trial)):
            lost += group
        elif names:
            whole = trial
            kept += names
    return Salvage(document_from_raw(whole), tuple(kept), tuple(lost))


def recover(bot: Bot, data: bytes, core: Salvage, remains: Remains) -> Salvage:
    """What `salvage` saved of the broken `data` (`core`), and where the member stood, as far as that can be known."""
    candidates = (
        ("previous", _from_previous(bot, core, remains)),
        ("turns", _from_turns(bot, core, remains)),
        ("restart", _restarted(bot, core, _open_flow(data, remains))),
    )
    for source, found in candidates:
        if found is not None:
            document, version, kept = found
            if _may_be_crossed(bot, remains.entries, version, core.document.version):
                return attrs.evolve(core, words=Text("recovered.unsure"))
            turns = (f"turn {number}" for number in range(version + 1, core.document.version + 1))
            lost = (*(name for name in core.lost if name not in kept), *turns)
            return attrs.evolve(core, document=document, kept=(*core.kept, *kept), lost=lost, source=source)
    return core


_Found: TypeAlias = tuple[Document, int, tuple[str, ...]]
"""A document, the version up to which its state knows of calls, and its fields beyond the core that was saved."""


def _from_previous(bot: Bot, core: Salvage, remains: Remains) -> _Found | None:
    """The document before; what was saved of the broken one is newer and stays."""
    before = faults(bot, remains.previous)[0] if remains.previous is not None else None
    if before is None or before.member_id != core.document.member_id:
        return None
    old, raw = document_to_raw(before), document_to_raw(core.document)
    kept = [name for name in ("flow_data", "_run", "_suspended", "_call") if old.get(name)]
    missing = {name for group in _CORE for name in group if name in core.lost or "document" in core.lost}
    kept += [name for name in old if name in missing]
    document = faults(bot, dumps({**raw, **{name: old[name] for name in kept}}))[0]
    return (document, before.version, tuple(kept)) if document is not None else None


def _from_turns(bot: Bot, core: Salvage, remains: Remains) -> _Found | None:
    """The latest recorded state that stands at a question of today's flows."""
    versions = {entry.token: entry.version for entry in remains.entries}
    raw = document_to_raw(core.document)
    for record in reversed(remains.records):
        try:
            flow_data = loads(record.body).get("flow_data")
        except (Unreadable, AttributeError):
            continue
        document = faults(bot, dumps({**raw, "flow_data": flow_data}))[0] if flow_data else None
        if document is None or document.run is None or record.token not in versions:
            continue
        flow = bot.flow(document.run.flow)
        step = _earliest_unanswered(flow, document.run)
        if flow[step].asks and not flow[step].call:
            run = attrs.evolve(document.run, flow_data=attrs.evolve(document.run.flow_data, step=step))
            # The record has the state without its call: had it stood at one, the call would be made anew.
            return attrs.evolve(document, run=run), versions[record.token] - 1, ("flow_data",)
    return None


def _earliest_unanswered(flow: Flow[Any], run: Run) -> str:
    """Where the run stands, or the first question before it whose answer no record keeps: a field marked secret."""
    places = [state.name for state in flow.states]
    for state in flow.states[: places.index(run.step) + 1]:
        if state.into and state.asks and state.into not in run.flow_data.data.fields:
            return state.name
    return run.step


def _open_flow(data: bytes, remains: Remains) -> str:
    """The name of the flow that was open, from the broken document or from the audit."""
    try:
        named = loads(data)["flow_data"]["data"]["flow_type"]
    except (Unreadable, TypeError, KeyError, IndexError):
        named = None
    latest = remains.entries[-1].flow if remains.entries else ""
    return named if isinstance(named, str) else latest


def _restarted(bot: Bot, core: Salvage, name: str) -> _Found | None:
    """The flow from its beginning; not home, or the entry, which come by themselves."""
    if name not in bot.machines or name in (bot.home.name, bot.entry.name if bot.entry else "", CARRY_ON.name):
        return None
    flow, document = bot.flow(name), core.document
    if not flow[flow.initial].asks or flow[flow.initial].call:
        return None
    fields = unstructure(flow.data())
    data = StepData(flow.name, Address(*document.channel.address), fields=fields)
    run_id = f"{flow.name}:{hashed('restart', document.member_id, str(document.version))[:16]}"
    run = Run(FlowData(run_id, flow.initial, data), flow.version, flow.fingerprint, document.version)
    return attrs.evolve(document, run=run), document.version, ()


def _may_be_crossed(bot: Bot, entries: Sequence[AuditEntry], version: int, latest: int) -> bool:
    """Whether a call with an effect may have been made in the turns after `version`, up to the `latest`: the state of
    that version would make it again. Of a turn without an entry nobody knows."""
    later = {entry.version: entry for entry in entries if entry.version > version}
    if version > latest or not later.keys() >= set(range(version + 1, latest + 1)):
        return True
    steps = (step for entry in later.values() for step in entry.steps)
    return any(step.dest is not None and _has_effect(bot, step) for step in steps)


def _has_effect(bot: Bot, step: AuditStep) -> bool:
    flow = bot.flow(step.flow) if step.flow in bot.machines else None
    state = flow.by_name.get(step.dest or "") if flow else None
    if state is None:
        return True  # nobody knows any more what it did
    return state.call is not None and state.call_policy.effect


def evicted(last: datetime, now: datetime) -> bool:
    """Whether a document that is not there any more, last changed at `last`, has not reached its natural end."""
    return now < last + timedelta(seconds=DOCUMENT_LIFE)


def _holds(bot: Bot, raw: dict[str, Any]) -> bool:
    try:
        document_from_raw(raw)
    except Unreadable:
        return False
    return bot.validator.validate(raw).valid
