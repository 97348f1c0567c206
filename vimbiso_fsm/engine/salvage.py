"""Repair a damaged document: keep its valid fields, and find the state in which the member stood.

The store quarantines the damaged bytes before anything is written over them. The state is searched for in this order:

    previous   the document before the damaged one; its login token only if the damaged bytes still hold it
    turns      the latest turn record that stands at a question of the current flows, or at the first question on the
               way there whose answer the record lacks
    restart    the flow that was open, from its beginning
    fresh      no flow; the next message leads home

No search goes back beyond a call with an effect: the call would be made twice. The audit names each source that failed,
with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Final, TypeAlias

import attrs

from vimbiso_fsm.audit.entries import ERASED, AuditEntry, AuditStep, unseal
from vimbiso_fsm.audit.folding import is_whole
from vimbiso_fsm.document.codec import document_from_raw, document_to_raw
from vimbiso_fsm.document.document import (
    Document,
    Run,
    Undelivered,
    first_document,
    to_be_asked,
    trail_before,
)
from vimbiso_fsm.document.ids import hashed, is_guest_id, stamp
from vimbiso_fsm.document.json_codec import dumps, dumps_unstructured, fragments, loads
from vimbiso_fsm.document.replies_codec import replies_to_keep
from vimbiso_fsm.document.shape import BOOKKEEPING, SEED
from vimbiso_fsm.document.turn_record import read_record
from vimbiso_fsm.document.typed_data import unstructure
from vimbiso_fsm.engine.draft import holds_answers
from vimbiso_fsm.engine.reading import faults
from vimbiso_fsm.engine.session import renewed
from vimbiso_fsm.engine.timers import timer_of
from vimbiso_fsm.engine.upgrade import migrated
from vimbiso_fsm.errors import Unreadable
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.carry_on import CARRY_ON
from vimbiso_fsm.flow.flow import Flow
from vimbiso_fsm.flow.migrations import renamed
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.replies import Text
from vimbiso_fsm.messages.value import Value
from vimbiso_fsm.store.requests import Entry, Head, Record, names_document
from vimbiso_fsm.store.retention import DOCUMENT_LIFE, MAX_DOCUMENT, STRANGER_LIFE

SALVAGED_ROOM: Final = MAX_DOCUMENT - 8 * 1024
"""Bytes of a salvaged document at most: the rest is for the notice and for the member's next turns."""
_TOKEN: Final = ("jwt_token", "authenticated", "_token")
"""The previous document may hold these from before a logout, which is final."""
_CORE: Final = (
    ("_guest",),
    ("_channels",),
    ("_leaving",),
    ("channel",),
    ("profile",),
    ("current_account",),
    _TOKEN,
    ("_outbox",),
    ("_reminders",),
    ("_handed",),
    ("_passing",),
    ("_salt",),
    ("_heard",),
    ("_names",),
    ("_deadline", "_session_since", "_warn_at"),
    ("_last_updated",),
)
"""The fields that are worth keeping without a run. Those of one group are kept together or not at all."""
_MAY_LACK: Final = frozenset({"_token", "_warn_at"})
"""A group is right without these: a token whose life is not known does not count."""


@attrs.frozen(eq=False, repr=False)
class Salvage(Value):
    """The part of a damaged document that was kept.

    Attributes:
        document: A valid document with the fields that were kept.
        kept: The names of the fields that were kept.
        lost: The names of the fields and turns that were lost.
        words: The text that tells the member.
        source: The source of the state: "previous", "turns", "restart", "fresh", or "version N".
        tried: The reason by source, for each source that failed.
    """

    document: Document
    kept: tuple[str, ...]
    lost: tuple[str, ...]
    words: Text = attrs.field(factory=lambda: Text("recovered"))
    source: str = "fresh"
    tried: Mapping[str, str] = attrs.field(factory=dict)

    @property
    def detail(self) -> dict[str, Any]:
        """The facts for the audit entry."""
        found = {"kept": self.kept, "lost": self.lost, "from": self.source, "tried": dict(self.tried)}
        return {**found, **migrated(self.document)}


@attrs.frozen(eq=False, repr=False)
class Remains(Value):
    """The data that is stored of a member beside a damaged document.

    Attributes:
        previous: The document before the damaged one, as bytes; None if there is none.
        records: The latest turn records, oldest first.
        entries: The latest intact audit entries, oldest first.
        digest: The digest of the head, from which new ids are made: it is another one after each commit, also where an
            older copy of the store was restored.
        unproven: A document that is not what was written. No field of it is used; it only shows whether the login token
            of the previous document was still there.
    """

    previous: bytes | None = attrs.field(default=None, repr=False)
    records: tuple[Record, ...] = ()
    entries: tuple[AuditEntry, ...] = ()
    digest: str = ""
    unproven: bytes = attrs.field(default=b"", repr=False)

    @property
    def versions(self) -> dict[str, int]:
        """The version of each turn by its token."""
        return {entry.token: entry.version for entry in self.entries}


class NoSuchState(LookupError):
    """A member cannot be put back to a version.

    Attributes:
        fault: The reason.
        barrier: The version of a later turn that may have made a call with an effect; None if the reason is another.
    """

    fault: str
    barrier: int | None

    def __init__(self, fault: str, barrier: int | None = None) -> None:
        self.fault, self.barrier = fault, barrier
        super().__init__(fault)


def salvage(
    bot: Bot, data: bytes, channel: Channel, now: datetime, *, member_id: str, guest: bool, version: int
) -> Salvage:
    """Keep each core field of a damaged document that obeys the rules, even if the document is not JSON.

    No run is kept, because the question that was asked last is not known.

    Args:
        bot: The bot whose rules apply.
        data: The damaged document.
        channel: A channel of the member.
        now: The store's clock.
        member_id: The member.
        guest: Whether the member is a guest.
        version: The version of the damaged document.
    """
    fresh = first_document(member_id, channel, now, channel.address, version=version)
    whole = document_to_raw(attrs.evolve(fresh, guest=guest, channels=() if guest else fresh.channels))
    torn = False
    try:
        found = loads(data)
    except Unreadable:
        torn = len(data) <= MAX_DOCUMENT
        found = fragments(data, SEED | BOOKKEEPING, "flow_data") if torn else None
    if not isinstance(found, Mapping) or not found or _is_anothers(found, member_id):
        return Salvage(document_from_raw(whole), (), ("document",))
    kept: list[str] = []
    lost = [name for name in ("flow_data", "_suspended", "_call") if found.get(name, torn and name in SEED)]
    # Each missing field may be the one that cannot be read, or the one whose name was spoilt.
    strange = torn or found.keys() - SEED - BOOKKEEPING
    for group in _CORE:
        names = [name for name in group if name in found]
        trial = {**whole, **{name: found[name] for name in names}}
        missing = [
            name for name in group if name not in found and (name in SEED or (strange and name not in _MAY_LACK))
        ]
        if missing or (names and not (bot.validator.validate(trial).valid and _fits(dumps_unstructured(trial)))):
            lost += group
        elif names:
            whole = trial
            kept += names
    return Salvage(document_from_raw(whole), tuple(kept), tuple(lost))


def _fits(data: bytes) -> bool:
    """Whether a salvaged document leaves room for the member's next turns."""
    return len(data) <= SALVAGED_ROOM


def _readable(bot: Bot, raw: Mapping[str, object]) -> Document | None:
    """The document of salvaged plain data, if it is valid and leaves room for the member's next turns."""
    data = dumps(raw)
    return faults(bot, data)[0] if _fits(data) else None


def proves(entries: Sequence[AuditEntry], head: Head, data: bytes) -> bool:
    """Return whether the audit says that a document was stored, byte for byte, as the latest one.

    A document that was encrypted again since then carries the digest of before, which is authenticated when it is
    decrypted.

    Args:
        entries: The intact audit entries, oldest first.
        head: The head of the audit.
        data: The bytes in question, as they are stored.
    """
    latest = entries[-1] if entries else None
    return latest is not None and latest.version == head.version and names_document(latest.document, data)


def _is_anothers(found: Mapping[str, object], member_id: str) -> bool:
    """Whether a document names another member, so that nothing of it may be used."""
    named = found.get("member_id", member_id)
    return isinstance(named, str) and named not in ("", member_id)


def recover(bot: Bot, data: bytes, core: Salvage, remains: Remains) -> Salvage:
    """Add to a salvage the state in which the member stood, as far as it can be known.

    Args:
        bot: The bot whose flows are current.
        data: The damaged document.
        core: What `salvage` kept of it.
        remains: The data beside it.
    """
    core = _filled(bot, data, core, remains)
    sources: tuple[tuple[str, Callable[[], _Found | str]], ...] = (
        ("previous", lambda: _from_previous(bot, core, remains)),
        ("turns", lambda: _from_turns(bot, core, remains)),
        ("restart", lambda: _restarted(bot, core, remains, _open_flow(data, core, remains))),
    )
    latest, tried = core.document.version, dict[str, str]()
    for source, search in sources:
        found = search()
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


def put_back(bot: Bot, core: Salvage, remains: Remains, to: int) -> Salvage:
    """Add to a salvage the state of an earlier version.

    Args:
        bot: The bot whose flows are current.
        core: What is kept of the member's document.
        remains: The data beside it.
        to: The version to go back to.

    Raises:
        NoSuchState: The state of that version is not kept or cannot be used.
    """
    latest = core.document.version
    document, version, names = kept_state(bot, core, remains, to)
    made = effect_between(bot, remains.entries, version, latest)
    if made is not None:
        raise NoSuchState(f"a call with an effect was made in turn {made}, or may have been", made)
    turns = (f"turn {number}" for number in range(to + 1, latest + 1))
    lost = (*(name for name in core.lost if name not in names), *turns)
    kept_names = tuple(dict.fromkeys((*core.kept, *names)))
    return attrs.evolve(core, document=document, kept=kept_names, lost=lost, source=f"version {to}")


def kept_state(bot: Bot, core: Salvage, remains: Remains, to: int) -> tuple[Document, int, tuple[str, ...]]:
    """Return the document at an earlier version, the version after which its effects count, and the restored fields.

    A call with an effect that was made since would be made again from there, so a member is not put back over one.

    Args:
        bot: The bot whose flows are current.
        core: What is kept of the member's document.
        remains: The data beside it.
        to: The version.

    Raises:
        NoSuchState: The state of that version is not kept or cannot be used.
    """
    before = faults(bot, remains.previous)[0] if remains.previous is not None else None
    records = [record for record in remains.records if remains.versions.get(record.token) == to]
    found: _Found | str = f"no state of version {to} is kept"
    if before is not None and before.version == to:
        found = _from_previous(bot, core, remains)
        if not isinstance(found, str) and not _waits_for_answer(bot, found[0]):
            found = f"at version {to} the member stood at no question, or at a call"
    elif records:
        found = _from_record(bot, core, remains, records[-1], to)
    if isinstance(found, str):
        kept = {*remains.versions.values()} & {remains.versions.get(record.token, 0) for record in remains.records}
        if before is not None:
            kept.add(before.version)
        raise NoSuchState(found + f"; kept are those of {', '.join(map(str, sorted(kept))) or 'none'}")
    return found


def resumed(bot: Bot, document: Document, version: int, now: datetime, token: str) -> Document:
    """Return the document with its run to be asked again, and with a session that ends.

    The member has said nothing, so an open session is not prolonged. A timer that has not passed holds; otherwise it is
    set as for a question that is asked now.

    Args:
        bot: The bot.
        document: The document.
        version: The version at which it is stored.
        now: The store's clock.
        token: The token of the recovery.
    """
    run, session = document.run, document.session
    if run is None:
        return document
    flow, warns = bot.definition(run), holds_answers(bot, run, document.suspended)
    fresh = renewed(session.since, session.deadline, flow, bot.session, now, warns=warns)
    if session.deadline is None or fresh.deadline is None or fresh.deadline < session.deadline:
        session = fresh
    due = run.due if run.due is not None and run.due > now else timer_of(bot, document, now)
    run = attrs.evolve(to_be_asked(run), entered=version, stamp=stamp(f"recovery {token} {run.id}"), due=due)
    document = attrs.evolve(document, run=run)
    return document.with_session(session)


def with_notice(bot: Bot, document: Document, words: Text, token: str) -> Document:
    """Return the document with a text for the member in its outbox, with a reference made of `token`."""
    words = Text(words.key, **words.params, reference=token[:10])
    said = replies_to_keep(bot.say([words], document.profile, document.channel))
    return attrs.evolve(document, outbox=(*document.outbox, Undelivered(token[:16], said)))


def intact_entries(stored: Sequence[Entry]) -> tuple[AuditEntry, ...]:
    """Return the audit entries that are what was written."""
    found: list[AuditEntry] = []
    for entry in stored:
        with suppress(Unreadable):
            if is_whole(entry):
                found.append(unseal(entry))
    return tuple(found)


def sub_flow_runs(bot: Bot, entries: Sequence[AuditEntry]) -> frozenset[str]:
    """Return the ids of the runs that began as the sub-flow of a flow other than home."""
    found: set[str] = set()
    for entry in entries:
        for before, step in pairwise(entry.steps):
            states = [flow.by_name.get(before.dest or "") for flow in bot.definitions(before.flow)]
            begun = step.trigger == "start" and before.flow != bot.home.name
            if begun and any(state is not None and state.flow is not None for state in states):
                found.add(step.run)
    return frozenset(found)


def effect_between(bot: Bot, entries: Sequence[AuditEntry], version: int, latest: int) -> int | None:
    """Return the first turn that may have made a call with an effect, which would be made again from `version`.

    A turn without an entry may have made one, and so may a version above `latest`.

    Args:
        bot: The bot whose flows are current.
        entries: The audit entries that can be read.
        version: The version to go back to; its own calls do not count.
        latest: The latest version.

    Returns:
        The version of the turn; None if no call would be made again.
    """
    if version > latest:
        return latest
    later = {entry.version: entry for entry in entries}
    for number in range(version + 1, latest + 1):
        entry = later.get(number)
        if entry is None or any(step.dest is not None and _has_effect(bot, step) for step in entry.steps):
            return number
    return None


def evicted(last: AuditEntry, now: datetime) -> bool:
    """Return whether the server has evicted a document: it is gone before its life has ended, not wiped or erased.

    Args:
        last: The member's latest audit entry.
        now: The store's clock.
    """
    life = STRANGER_LIFE if is_guest_id(last.member_id) else DOCUMENT_LIFE  # a guest may have been a stranger
    return last.kind not in ("wipe", ERASED) and now < last.at + timedelta(seconds=life)


# The sources ----------------------------------------------------------------------------------------------------------

_Found: TypeAlias = tuple[Document, int, tuple[str, ...]]
"""A document, the version up to which its state reflects the calls, and its fields beyond the core."""


def _filled(bot: Bot, data: bytes, core: Salvage, remains: Remains) -> Salvage:
    """The salvage, with its lost core fields as the previous document has them."""
    before = _previous(bot, core, remains)
    if isinstance(before, str):
        return core
    old, raw = document_to_raw(before), document_to_raw(core.document)
    missing = {name for group in _CORE for name in group if name in core.lost or "document" in core.lost}
    if before.jwt_token is None or dumps(before.jwt_token) not in (data or remains.unproven):
        missing -= {*_TOKEN}
    names = [name for name in old if name in missing]
    document = _readable(bot, {**raw, **{name: old[name] for name in names}})
    if document is None:
        return core
    absent = BOOKKEEPING - old.keys() - {"_suspended", "_call"}  # the damaged document may have lacked them too
    lost = tuple(name for name in core.lost if name not in names and name not in absent)
    return attrs.evolve(core, document=document, kept=(*core.kept, *names), lost=lost)


def _previous(bot: Bot, core: Salvage, remains: Remains) -> Document | str:
    """The previous document, or the reason why it cannot be used."""
    if remains.previous is None:
        return "there is none"
    before = faults(bot, remains.previous)[0]
    if before is None:
        return "not readable"
    return before if before.member_id == core.document.member_id else "it is another member's"


def _from_previous(bot: Bot, core: Salvage, remains: Remains) -> _Found | str:
    """The state of the previous document. The core fields of the damaged one are newer and stay."""
    before = _previous(bot, core, remains)
    if isinstance(before, str):
        return before
    old, raw = document_to_raw(before), document_to_raw(core.document)
    kept = [name for name in ("flow_data", "_run", "_suspended", "_call", "_effects") if old.get(name)]
    document = _readable(bot, {**raw, **{name: old[name] for name in kept}})
    if document is None:
        return "it does not fit the newer fields"
    call = document.call
    if call is not None:
        # The lost turn may have taken up the call or stored its answer. Another number keeps what comes now from being
        # taken for a repetition of that.
        call = attrs.evolve(call, tries=call.tries + 1, again=call.again + 1)
    return attrs.evolve(document, call=call, upgraded=before.upgraded), before.version, tuple(kept)


def _from_turns(bot: Bot, core: Salvage, remains: Remains) -> _Found | str:
    """The latest recorded state that can be used.

    A record of a sub-flow is skipped, because it does not hold the flow that waits for it.
    """
    inner = sub_flow_runs(bot, remains.entries)
    for record in reversed(remains.records):
        version = remains.versions.get(record.token)
        found = _from_record(bot, core, remains, record, version) if version is not None else ""
        if not isinstance(found, str) and (found[0].run is None or found[0].run.id not in inner):
            return found
    return "none stands at a question of the current flows" if remains.records else "there are none"


def _from_record(bot: Bot, core: Salvage, remains: Remains, record: Record, version: int) -> _Found | str:
    """The state of a turn record, if it stands at a question of the current flows."""
    try:
        body = read_record(record.body)
        # A button that was shown before the damage is no answer.
        anew = {"entered": core.document.version + 1, "stamp": stamp(f"record {record.token} {remains.digest}")}
        place = {"flow_data": body.get("flow_data"), "_run": {**body.get("run", {}), **anew}}
    except (Unreadable, AttributeError, TypeError):
        return f"the record of version {version} is not readable"
    if not place["flow_data"]:
        return f"at version {version} no flow was open"
    document = _readable(bot, {**document_to_raw(core.document), **place})
    if document is None or document.run is None:
        return f"the state of version {version} does not fit the current flows"
    # The record lacks the call itself. An upgrade may have replaced the call's state with a question.
    if body.get("called", bool(document.upgraded)):
        return f"at version {version} a call was on its way"
    flow = bot.definition(document.run)
    step = _earliest_unanswered(flow, document.run)
    if not flow[step].is_question:
        return f"at version {version} the member stood at no question, or at a call"
    trail = trail_before(document.run.trail, step)
    run = attrs.evolve(document.run, step=step, trail=trail)
    # The turn itself counts as later, because a call that it proposed would be made again.
    return attrs.evolve(document, run=run), version - 1, ("flow_data",)


def _earliest_unanswered(flow: Flow[Any], run: Run) -> str:
    """The first question on the run's trail whose answer no record keeps; the run's own state if there is none.

    No record keeps a field that is marked secret, even if a migration has filled in its default. A trail begins after
    the last call with an effect, so that the call is not made again.
    """
    for name in run.trail:
        state = flow.by_name.get(name)
        if state is None or not state.into or not state.asks:
            continue
        if state.into in flow.secrets or state.into not in run.fields:
            return name
    return run.step


def _open_flow(data: bytes, core: Salvage, remains: Remains) -> str:
    """The name of the flow that was open, from the damaged document or from the audit."""
    try:
        found = loads(data)
        named = found["flow_data"]["data"]["flow_type"]
        if _is_anothers(found, core.document.member_id):
            named = None
    except (Unreadable, TypeError, KeyError, IndexError):
        named = None
    latest = remains.entries[-1].flow if remains.entries else ""
    return named if isinstance(named, str) else latest


def _restarted(bot: Bot, core: Salvage, remains: Remains, name: str) -> _Found | str:
    """The flow from its beginning, unless the next message starts it anyway."""
    if name not in bot.machines:
        return "the flow that was open is not known"
    if name in (bot.home.name, bot.entry.name if bot.entry else "", CARRY_ON.name):
        return "the next message starts the flow that was open"
    flow, document = bot.flow(name), core.document
    if not flow[flow.initial].is_question:
        return f"flow {name!r} does not begin with a question"
    fields = unstructure(flow.data())
    run_id = f"{flow.name}:{hashed('restart', document.member_id, str(document.version), remains.digest)[:16]}"
    run = Run(
        run_id,
        flow.name,
        flow.initial,
        document.channel.address.without_account,
        fields=fields,
        version=flow.version,
        fingerprint=flow.fingerprint,
        entered=document.version,
        stamp=stamp(f"restart {run_id}"),
    )
    return attrs.evolve(document, run=run), document.version, ()


def _waits_for_answer(bot: Bot, document: Document) -> bool:
    """Whether the document stands at a question, with no call on its way."""
    run = document.run
    return run is not None and bot.definition(run)[run.step].is_question and document.call is None


def _has_effect(bot: Bot, step: AuditStep) -> bool:
    """Whether a step entered a call with an effect.

    A step says so itself. One of an earlier release does not; it is judged by the current flows.
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
        return True  # its state is gone, and it may have had one
    return any(state.call is not None and state.call_policy.effect for state in known)
