"""Recovery of a damaged document: the valid fields are kept, the rest is reported.

The bytes themselves are set aside whole by the store before anything is written over them. Where the member stood is
looked for, in this order:

    previous   the document before the broken one; its token, only if that can still be seen in the broken one
    turns      the latest turn record that stands at a question of today's flows; at the first whose answer it lacks
    restart    the flow that was open, from its beginning
    fresh      none: the way home

An effect is a barrier: a state from before a call that was made since, or may have been, is not gone back to: it would
be made twice. Each place that was looked at in vain is named in the audit, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, TypeAlias

import attrs

from vimbiso_fsm.audit.entries import AuditEntry, AuditStep, unseal
from vimbiso_fsm.document.codec import (
    BOOKKEEPING,
    SEED,
    Unreadable,
    document_from_raw,
    document_to_raw,
    dumps,
    fragments,
    loads,
    unstructure,
)
from vimbiso_fsm.document.document import (
    Address,
    Document,
    FlowData,
    Run,
    StepData,
    Undelivered,
    first_document,
    to_be_asked,
    trail_before,
)
from vimbiso_fsm.document.ids import hashed
from vimbiso_fsm.document.replies_codec import replies_to_keep
from vimbiso_fsm.engine.draft import gathered
from vimbiso_fsm.engine.reading import faults
from vimbiso_fsm.engine.session import renewed
from vimbiso_fsm.engine.upgrade import migrated
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.carry_on import CARRY_ON
from vimbiso_fsm.flow.flow import Flow
from vimbiso_fsm.flow.migrations import renamed
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.replies import Text
from vimbiso_fsm.store.requests import Record
from vimbiso_fsm.store.retention import DOCUMENT_LIFE, MAX_DOCUMENT

_TOKEN = ("jwt_token", "authenticated", "_token")
"""Core fields that the previous document does not restore: it may be older than a logout, which is final."""
_CORE = (
    ("_guest",),
    ("_channels",),
    ("channel",),
    ("profile",),
    ("current_account",),
    _TOKEN,
    ("_outbox",),
    ("_deadline", "_session_since", "_warn_at"),
    ("_last_updated",),
)
"""Fields worth keeping on their own; those of one group only together."""
_MAY_LACK = frozenset({"_token", "_warn_at"})
"""Without them the others of their group say nothing wrong: a token of unknown life is not believed."""


@attrs.frozen
class Salvage:
    """The valid parts of a damaged document.

    `kept`, `lost`: names of fields. `words`: what the member is told. `source`: where it is known from where the member
    stood; `tried`: where that was looked for in vain, and why.
    """

    document: Document
    kept: tuple[str, ...]
    lost: tuple[str, ...]
    words: Text = attrs.field(factory=lambda: Text("recovered"))
    source: str = "fresh"
    tried: Mapping[str, str] = attrs.field(factory=dict)

    @property
    def detail(self) -> dict[str, Any]:
        """The detail of the audit entry."""
        found = {"kept": self.kept, "lost": self.lost, "from": self.source, "tried": dict(self.tried)}
        return {**found, **migrated(self.document)}


@attrs.frozen
class Remains:
    """The other data of a member with a damaged document.

    `records`, `entries`: the latest that can be read, oldest first.
    """

    previous: bytes | None = attrs.field(default=None, repr=False)
    records: tuple[Record, ...] = ()
    entries: tuple[AuditEntry, ...] = ()

    @classmethod
    def of(cls, previous: bytes | None, records: Any, entries: Any) -> Remains:
        """Return what could be read: nothing of a damaged list, and only the entries that are not damaged."""
        return cls(previous, records if isinstance(records, tuple) else (), readable(entries))

    @property
    def versions(self) -> dict[str, int]:
        """The version of each turn by its token."""
        return {entry.token: entry.version for entry in self.entries}


def readable(read: Any) -> tuple[AuditEntry, ...]:
    """Audit entries that were read, without those that are damaged themselves; none, where the list is."""
    found: list[AuditEntry] = []
    for entry in read if isinstance(read, tuple) else ():
        with suppress(Unreadable):
            found.append(unseal(entry))
    return tuple(found)


def salvage(
    bot: Bot, data: bytes, channel: Channel, now: datetime, *, member_id: str, guest: bool, version: int
) -> Salvage:
    """Return a valid document with each core field of the damaged one that still obeys the rule book.

    The damaged bytes need not be JSON. No run is kept, because the latest question cannot be known.
    """
    fresh = first_document(channel, now, member_id="" if guest else member_id, version=version)
    whole = document_to_raw(attrs.evolve(fresh, member_id=member_id))
    torn = False
    try:
        found = loads(data)
    except Unreadable:
        torn = len(data) <= MAX_DOCUMENT
        found = fragments(data, SEED | BOOKKEEPING, "flow_data") if torn else None
    if not isinstance(found, Mapping) or not found:
        return Salvage(document_from_raw(whole), (), ("document",))
    kept: list[str] = []
    lost = [name for name in ("flow_data", "_suspended", "_call") if found.get(name, torn and name in SEED)]
    # A field that cannot be read, or whose name was spoilt: any that is not there may have been it.
    strange = torn or found.keys() - SEED - BOOKKEEPING
    for group in _CORE:
        names = [name for name in group if name in found]
        trial = {**whole, **{name: found[name] for name in names}}
        missing = [
            name for name in group if name not in found and (name in SEED or (strange and name not in _MAY_LACK))
        ]
        if missing or (names and not _holds(bot, trial)):
            lost += group
        elif names:
            whole = trial
            kept += names
    return Salvage(document_from_raw(whole), tuple(kept), tuple(lost))


def recover(bot: Bot, data: bytes, core: Salvage, remains: Remains) -> Salvage:
    """Return the salvaged core with the run that the member was in, as far as that can be known."""
    candidates: tuple[tuple[str, Callable[[], _Found | str]], ...] = (
        ("previous", lambda: _from_previous(bot, core, remains)),
        ("turns", lambda: _from_turns(bot, core, remains)),
        ("restart", lambda: _restarted(bot, core, _open_flow(data, remains))),
    )
    core = _filled(bot, data, core, remains)
    latest, tried = core.document.version, dict[str, str]()
    for source, look in candidates:
        found = look()
        if isinstance(found, str):
            tried[source] = found
            continue
        document, version, kept = found
        made = effect_between(bot, remains.entries, version, latest)
        if made is not None:
            tried[source] = f"a call with an effect may have been made since, in turn {made}"
            return attrs.evolve(core, words=Text("recovered.unsure"), tried=tried)
        turns = (f"turn {number}" for number in range(version + 1, latest + 1))
        lost = (*(name for name in core.lost if name not in kept), *turns)
        return attrs.evolve(core, document=document, kept=(*core.kept, *kept), lost=lost, source=source, tried=tried)
    return attrs.evolve(core, tried=tried)


class NoSuchState(LookupError):
    """A member cannot be put back to a version. `barrier`: the turn that stands between, where one does."""

    fault: str
    barrier: int | None

    def __init__(self, fault: str, barrier: int | None = None) -> None:
        self.fault, self.barrier = fault, barrier
        super().__init__(fault)


def put_back(bot: Bot, core: Salvage, remains: Remains, to: int) -> Salvage:
    """Return the current core fields with the run of version `to`.

    Raises: NoSuchState.
    """
    latest = core.document.version
    before = faults(bot, remains.previous)[0] if remains.previous is not None else None
    records = [record for record in remains.records if remains.versions.get(record.token) == to]
    found: _Found | str = f"no state of version {to} is kept"
    if before is not None and before.version == to:
        found = _from_previous(bot, core, remains)
        if not isinstance(found, str) and not _waits_for_answer(bot, found[0]):
            found = f"at version {to} they stood at no question, or at a call"
    elif records:
        found = _from_record(bot, core, records[-1], to)
    if isinstance(found, str):
        kept = sorted({*remains.versions.values()} & {remains.versions.get(r.token, 0) for r in remains.records})
        kept += [before.version] if before is not None and before.version not in kept else []
        raise NoSuchState(found + f"; kept are those of {', '.join(map(str, sorted(kept))) or 'none'}")
    document, version, names = found
    made = effect_between(bot, remains.entries, version, latest)
    if made is not None:
        raise NoSuchState(f"a call with an effect was made in turn {made}, or may have been", made)
    turns = tuple(f"turn {number}" for number in range(to + 1, latest + 1))
    lost = (*(name for name in core.lost if name not in names), *turns)
    kept_names = tuple(dict.fromkeys((*core.kept, *names)))
    return attrs.evolve(core, document=document, kept=kept_names, lost=lost, source=f"version {to}")


def resumed(bot: Bot, document: Document, version: int, now: datetime) -> Document:
    """Return the document with its run to be asked anew, and with a session that ends.

    The member has said nothing, so a session that is open is not prolonged.
    """
    run, session = document.run, document.session
    if run is None:
        return document
    fresh = renewed(session, bot.definition(run), bot.session, now, warns=gathered(bot, run, document.suspended))
    if session.deadline is None or fresh.deadline is None or fresh.deadline < session.deadline:
        session = fresh
    document = attrs.evolve(document, run=to_be_asked(attrs.evolve(run, entered=version)))
    return document.with_session(session)


def told(bot: Bot, document: Document, words: Text, token: str) -> Document:
    """The document with a sentence for the member, which waits for the next message or for a delivery."""
    words = Text(words.key, **words.params, reference=token[:10])
    said = replies_to_keep(bot.say([words], document.profile, document.channel))
    return attrs.evolve(document, outbox=(*document.outbox, Undelivered(token[:16], said)))


def _waits_for_answer(bot: Bot, document: Document) -> bool:
    """Whether the member is asked something there, and no call is on its way."""
    run = document.run
    state = bot.definition(run)[run.step] if run is not None else None
    return state is not None and state.is_question and document.call is None


_Found: TypeAlias = tuple[Document, int, tuple[str, ...]]
"""A document, the version up to which its state knows of calls, and its fields beyond the core that was saved."""


def _before(bot: Bot, core: Salvage, remains: Remains) -> Document | str:
    """The document before the broken one, if it can be used; else why not."""
    if remains.previous is None:
        return "there is none"
    before = faults(bot, remains.previous)[0]
    if before is None:
        return "not readable"
    return before if before.member_id == core.document.member_id else "it is another member's"


def _filled(bot: Bot, data: bytes, core: Salvage, remains: Remains) -> Salvage:
    """Return the salvaged core; fields that are lost come from the previous document."""
    before = _before(bot, core, remains)
    if isinstance(before, str):
        return core
    old, raw = document_to_raw(before), document_to_raw(core.document)
    missing = {name for group in _CORE for name in group if name in core.lost or "document" in core.lost}
    if before.jwt_token is None or dumps(before.jwt_token) not in data:
        missing -= {*_TOKEN}
    names = [name for name in old if name in missing]
    document = faults(bot, dumps({**raw, **{name: old[name] for name in names}}))[0]
    if document is None:
        return core
    never = BOOKKEEPING - old.keys() - {"_suspended", "_call"}  # nothing says that they were there
    lost = tuple(name for name in core.lost if name not in names and name not in never)
    return attrs.evolve(core, document=document, kept=(*core.kept, *names), lost=lost)


def _from_previous(bot: Bot, core: Salvage, remains: Remains) -> _Found | str:
    """The document before; what was saved of the broken one is newer and stays."""
    before = _before(bot, core, remains)
    if isinstance(before, str):
        return before
    old, raw = document_to_raw(before), document_to_raw(core.document)
    kept = [name for name in ("flow_data", "_run", "_suspended", "_call") if old.get(name)]
    document = faults(bot, dumps({**raw, **{name: old[name] for name in kept}}))[0]
    if document is None:
        return "it does not fit what is newer"
    call = document.call
    if call is not None:  # the turn that was lost may have taken it up, or its answer: what comes now is no repetition
        call = attrs.evolve(call, tries=call.tries + 1, again=call.again + 1)
    return attrs.evolve(document, call=call, upgraded=before.upgraded), before.version, tuple(kept)


def _from_turns(bot: Bot, core: Salvage, remains: Remains) -> _Found | str:
    """The latest recorded state that stands at a question of today's flows.

    A record of a sub-flow is passed over: it knows nothing of the flow that waits for it.
    """
    inner = called(bot, remains.entries)
    for record in reversed(remains.records):
        version = remains.versions.get(record.token)
        found = _from_record(bot, core, record, version) if version is not None else ""
        if not isinstance(found, str) and (found[0].run is None or found[0].run.id not in inner):
            return found
    return "none stands at a question of today's flows" if remains.records else "there are none"


def called(bot: Bot, entries: Sequence[AuditEntry]) -> frozenset[str]:
    """The runs that began as another flow's sub-flow, not home's."""
    found: set[str] = set()
    for entry in entries:
        for before, step in pairwise(entry.steps):
            states = [flow.by_name.get(before.dest or "") for flow in bot.definitions(before.flow)]
            begun = step.trigger == "start" and before.flow != bot.home.name
            if begun and any(state is not None and state.flow is not None for state in states):
                found.add(step.run)
    return frozenset(found)


def _from_record(bot: Bot, core: Salvage, record: Record, version: int) -> _Found | str:
    """The state that a turn record keeps, if it stands at a question of today's flows."""
    try:
        body = loads(record.body)
        entered = core.document.version + 1  # nothing that was pressed before the damage is an answer
        place = {"flow_data": body.get("flow_data"), "_run": {**body.get("run", {}), "entered": entered}}
    except (Unreadable, AttributeError, TypeError):
        return f"the record of version {version} is not readable"
    if not place["flow_data"]:
        return f"at version {version} no flow was open"
    document = faults(bot, dumps({**document_to_raw(core.document), **place}))[0]
    if document is None or document.run is None:
        return f"the state of version {version} does not fit today's flows"
    if body.get(
        "called", bool(document.upgraded)
    ):  # the record lacks the call; a deploy may have made a question of it
        return f"at version {version} a call was on its way"
    flow = bot.definition(document.run)
    step = _earliest_unanswered(flow, document.run)
    if not flow[step].is_question:
        return f"at version {version} they stood at no question, or at a call"
    trail = trail_before(document.run.trail, step)
    run = attrs.evolve(document.run, flow_data=attrs.evolve(document.run.flow_data, step=step), trail=trail)
    # The record has the state without its call: had it stood at one, the call would be made anew.
    return attrs.evolve(document, run=run), version - 1, ("flow_data",)


def _earliest_unanswered(flow: Flow[Any], run: Run) -> str:
    """Return the step of the run, or the first question before it whose answer is in no record.

    A field marked secret, also where a migration has filled in its default. What was answered before a call that was
    made is not on that way: from there it would be made again.
    """
    for name in run.trail:
        state = flow.by_name.get(name)
        if state is None or not state.into or not state.asks:
            continue
        if state.into in flow.secrets or state.into not in run.flow_data.data.fields:
            return name
    return run.step


def _open_flow(data: bytes, remains: Remains) -> str:
    """The name of the flow that was open, from the broken document or from the audit."""
    try:
        named = loads(data)["flow_data"]["data"]["flow_type"]
    except (Unreadable, TypeError, KeyError, IndexError):
        named = None
    latest = remains.entries[-1].flow if remains.entries else ""
    return named if isinstance(named, str) else latest


def _restarted(bot: Bot, core: Salvage, name: str) -> _Found | str:
    """The flow from its beginning; not home, or the entry, which come by themselves."""
    if name not in bot.machines:
        return "nobody knows what was open"
    if name in (bot.home.name, bot.entry.name if bot.entry else "", CARRY_ON.name):
        return "what was open comes by itself"
    flow, document = bot.flow(name), core.document
    if not flow[flow.initial].is_question:
        return f"flow {name!r} does not begin with a question"
    fields = unstructure(flow.data())
    data = StepData(flow.name, Address(*document.channel.address), fields=fields)
    run_id = f"{flow.name}:{hashed('restart', document.member_id, str(document.version))[:16]}"
    run = Run(FlowData(run_id, flow.initial, data), flow.version, flow.fingerprint, document.version)
    return attrs.evolve(document, run=run), document.version, ()


def effect_between(bot: Bot, entries: Sequence[AuditEntry], version: int, latest: int) -> int | None:
    """The first turn after `version`, up to `latest`, in which a call with an effect may have been made.

    From there it would be made again. Of a turn without an entry nobody knows, nor of a state that is newer.
    """
    if version > latest:
        return latest
    later = {entry.version: entry for entry in entries}
    for number in range(version + 1, latest + 1):
        entry = later.get(number)
        if entry is None or any(step.dest is not None and _has_effect(bot, step) for step in entry.steps):
            return number
    return None


def _has_effect(bot: Bot, step: AuditStep) -> bool:
    """Whether a call with an effect was entered.

    The step says so itself; of one from before that was kept, judge by what is declared today.
    """
    if step.version:
        return step.effect
    dest = step.dest or ""
    known = [
        flow[name]
        for flow in bot.definitions(step.flow)
        for name in {dest, *renamed(flow, dest)}
        if name in flow.by_name
    ]
    if not known:
        return True  # its effect is not known any more
    return any(state.call is not None and state.call_policy.effect for state in known)


def evicted(last: AuditEntry, now: datetime) -> bool:
    """Whether a missing document, whose audit ends with `last`, was neither wiped nor kept for its whole life."""
    return last.kind != "wipe" and now < last.at + timedelta(seconds=DOCUMENT_LIFE)


def _holds(bot: Bot, raw: dict[str, Any]) -> bool:
    return bot.validator.validate(raw).valid
