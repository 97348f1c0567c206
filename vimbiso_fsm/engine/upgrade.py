"""Upgrade the runs of a stored document to the current flows.

A run records the version of the flow that it was last stepped with. Beside the flow stands one `Migration` for each
older version that is still in use. Each leads a run of its version to the next one, so the migrations form a chain:

    Flow("offer", version=2, …, migrations=[
        Migration(1, steps={
            "handle": "recipient",                                               # renamed: the same question
            "colour": ReplacedBy("confirm"),                                     # removed: another question
            "name":   ReplacedBy(which_is_left, steps=["given", "family"]),      # split in two
            "paying": FinishOnOld(offer_1),                                      # ends as it began
        }, data=with_currency, others=Restart()),
    ])

A step that `steps` does not name keeps its name, unless `others` says more. If the flow changes and its version does
not, the meaning of its steps is unchanged.

`upgrade` runs when a document is read, before the document is validated. The result is stored by the next commit,
whose audit entry records it. A run that cannot be upgraded is treated as damaged: its version has no migration, its
step is gone, its data cannot be read, or its call would be lost. `operations/census.py` finds such runs before a
deploy, by the same function. A version that is newer than the flow is left to the newer release that stored it
(`reading.py`), unless that release was rolled back.

A call whose answer is kept, because its flow could not go on from it (`kept_answer.py`), is not lost: where its step is
gone, the member is told that it was done.

A run of a flow that `Bot(dropped=…)` names ends. A run of a flow that the bot never had is another bot's, or a newer
release's, and is left alone (`reading.Foreign`).

A question that replaces another one has not been shown, so that no message can be its answer. Such a run is marked
`to_be_asked` until the question has been asked; so is a run that an operator has put back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Literal

import attrs

from vimbiso_fsm.document.codec import document_to_raw
from vimbiso_fsm.document.document import (
    FINISHING,
    Document,
    PendingCall,
    Run,
    Suspended,
    Undelivered,
    finishing,
    to_be_asked,
    trail_before,
)
from vimbiso_fsm.document.json_codec import dumps, loads
from vimbiso_fsm.document.replies_codec import replies_to_keep
from vimbiso_fsm.document.shape import RESERVED
from vimbiso_fsm.document.state_validator import StateValidator
from vimbiso_fsm.document.typed_data import structure, unstructure
from vimbiso_fsm.errors import Unreadable
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.flow import Flow
from vimbiso_fsm.flow.interrupts import is_interrupt
from vimbiso_fsm.flow.migrations import Fields, FinishOnOld, Migration, ReplacedBy, Restart
from vimbiso_fsm.flow.state import Declared
from vimbiso_fsm.messages.replies import Text
from vimbiso_fsm.messages.value import Value

_CALL_LOST: Final = "its call is on its way, and would be lost"
_DROPPED: Final = Text("flow.dropped")
_DONE: Final = Text("call.done")
_STRANDED: Final = frozenset({"lost", "foreign"})


@attrs.frozen(eq=False, repr=False)
class RunUpgrade(Value):
    """The way in which one run of a stored document continues.

    Attributes:
        before: The run as it is stored.
        how: "unchanged"; "migrated"; "finishes" on an old definition that is kept; "restarted"; "dropped" if its flow
            is, or if a run that waited for it no longer does; "lost" if it cannot be upgraded; "foreign" if the bot
            never had its flow.
        after: The upgraded run; None if it is dropped or lost, or if the run that waits for it begins it again.
        say: The text that tells the member, if there is one.
        fault: Why the run is lost or foreign.
    """

    before: Run
    how: Literal["unchanged", "migrated", "finishes", "restarted", "dropped", "lost", "foreign"]
    after: Run | None = None
    say: Text | None = None
    fault: str = ""


def plan(bot: Bot, document: Document) -> tuple[RunUpgrade, ...]:
    """Plan the upgrade of each run of a document: of the suspended runs, lowest first, then of the current one."""
    found: list[RunUpgrade] = []
    below: int | None = None
    orphaned = False
    for run in (*document.suspended, document.run):
        if run is None:
            continue
        current = run is document.run
        call = document.call if current else None
        planned = _plan_run(bot, run, call, current=current)
        unwanted = orphaned or (below is not None and _no_longer_waits(bot, found[below], planned))
        if unwanted and planned.how not in _STRANDED:
            if _must_stay(call):
                planned = RunUpgrade(run, "lost", fault=_CALL_LOST)
            else:
                planned = RunUpgrade(run, "restarted" if planned.how == "restarted" else "dropped", say=planned.say)
        if run.waits == Suspended.NEXT:  # it waits for no run above it
            found.append(planned)
            continue
        if planned.after is not None or planned.how in _STRANDED:
            below = len(found) if planned.after is not None else None
        elif below is not None:
            found[below] = _goes_on(found[below], run)
        if planned.say is _DROPPED and any(earlier.say is _DROPPED for earlier in found):
            planned = attrs.evolve(planned, say=None)  # it is said once
        orphaned = planned.how == "dropped" and run.waits not in ("", Suspended.INTERRUPTED)
        found.append(planned)
    return tuple(found)


def _goes_on(below: RunUpgrade, ended: Run) -> RunUpgrade:
    """Return the upgrade of a run that goes on in place of the run above it, which has ended."""
    parent = below.after
    assert parent is not None
    waits = ended.waits or (parent.waits if parent.waits == Suspended.LOGIN else "")
    after = to_be_asked(attrs.evolve(parent, waits=waits))
    return attrs.evolve(below, how="migrated" if below.how == "unchanged" else below.how, after=after)


def _no_longer_waits(bot: Bot, below: RunUpgrade, planned: RunUpgrade) -> bool:
    """Whether the run below no longer waits for this one as its sub-flow."""
    parent = below.after
    if (
        parent is None
        or parent.waits != Suspended.SUBFLOW
        or planned.how in _STRANDED
        or below.how == planned.how == "unchanged"
    ):
        return False
    state = bot.definition(parent).by_name.get(parent.step)
    if state is None or state.flow is None or state.flow.name != planned.before.flow:
        return True
    return planned.how == "restarted" and state.input is not None  # only the waiting run can make its input


def _must_stay(call: PendingCall | None) -> bool:
    """Whether a call must keep its state, because its outcome is not known yet."""
    return call is not None and not call.done


def _plan_run(bot: Bot, run: Run, call: PendingCall | None, *, current: bool) -> RunUpgrade:
    """Plan the upgrade of a run, and of the call that it waits for."""
    if run.flow in bot.dropped:
        lost = _must_stay(call)
        return RunUpgrade(run, "lost", fault=_CALL_LOST) if lost else RunUpgrade(run, "dropped", say=_DROPPED)
    if run.flow not in bot.machines:
        return RunUpgrade(run, "foreign", fault="this bot never had its flow; if it had, name it in Bot(dropped=…)")
    try:
        planned = _migrated(bot, run)
        assert planned.after is not None
        flow = bot.definition(planned.after)
        structure(planned.after.fields, flow.data)
    except Unreadable as error:
        return RunUpgrade(run, "lost", fault="; ".join(error.faults))
    state = flow.by_name.get(planned.after.step)
    if state is None:
        return RunUpgrade(run, "lost", fault="its step is gone")
    if planned.how == "unchanged":
        return planned
    if _must_stay(call) and (state.call is None or planned.how == "restarted"):
        return RunUpgrade(run, "lost", fault=_CALL_LOST)
    if planned.how == "migrated" and current and state.call is not None and call is None:
        return RunUpgrade(run, "lost", fault="its step has become a call, and none is on its way")
    return planned


@attrs.frozen(eq=False, repr=False)
class _Place(Value):
    """The place of a run during its upgrade from version to version.

    Attributes:
        version: The version that it has reached.
        step: The name of its step in that version.
        fields: Its data in that version.
        trail: The questions that were answered.
        judged: The step of the latest verdict.
        anew: Whether its question must be asked again.
    """

    version: int
    step: str
    fields: Fields
    trail: tuple[str, ...]
    judged: str
    anew: bool = False


def _migrated(bot: Bot, run: Run) -> RunUpgrade:
    """Upgrade a run from version to version.

    Raises:
        Unreadable: A version has no migration, or the data cannot be upgraded.
    """
    flow = bot.flow(run.flow)
    if FINISHING in run.context and (run.flow, run.version) in bot.kept:
        return RunUpgrade(run, "finishes", run)
    place = _Place(run.version, run.step, run.fields, run.trail, str(run.verdict.get("step", "")))
    chain = {migration.since: migration for migration in flow.migrations}
    while place.version != flow.version:
        migration = chain.get(place.version)
        if migration is None:
            return _without_migration(bot, run, place)
        rule = migration.rule(place.step)
        if isinstance(rule, Restart):
            say = rule.say or Text("flow.restarted", flow=Text(f"{flow.name}.title"))
            return RunUpgrade(run, "restarted", _restarted(flow, run), say)
        if isinstance(rule, FinishOnOld):
            return _finishing(run, place, rule.flow)
        place = _next(flow, migration, rule, place)
    if place.version == run.version:
        return RunUpgrade(run, "unchanged", run)
    place = attrs.evolve(place, fields=unstructure(structure(place.fields, flow.data)))
    return RunUpgrade(run, "migrated", _moved(flow, run, place))


def _without_migration(bot: Bot, run: Run, place: _Place) -> RunUpgrade:
    flow = bot.flow(run.flow)
    old = bot.kept.get((run.flow, place.version))
    if old is not None:
        return _finishing(run, place, old.flow)
    if place.version == run.version == 1 and not run.fingerprint:  # no version was stored with it
        return RunUpgrade(run, "unchanged", run)
    if place.version > flow.version:
        raise Unreadable([f"it is of version {place.version}, and {flow!r} is older: was a deploy rolled back?"])
    raise Unreadable([f"no migration leads from version {place.version}: declare Migration({place.version}, …)"])


def _finishing(run: Run, place: _Place, old: Declared) -> RunUpgrade:
    if place.version == run.version:
        return RunUpgrade(run, "finishes", finishing(run))
    place = attrs.evolve(place, fields=unstructure(structure(place.fields, old.data)))
    return RunUpgrade(run, "finishes", finishing(_moved(old, run, place)))


def _next(flow: Flow[Any], migration: Migration, rule: str | ReplacedBy, place: _Place) -> _Place:
    """Upgrade a run by one version."""
    fields = place.fields if migration.data is None else _upgraded(flow, migration, place.fields)
    trail = (_same_question(flow, migration, step, place.fields) for step in place.trail)
    return _Place(
        place.version + 1,
        _target(flow, migration, rule, place.fields),
        fields,
        tuple(step for step in trail if step is not None),
        _same_question(flow, migration, place.judged, place.fields) or place.judged,
        place.anew or not isinstance(rule, str),
    )


def _target(flow: Flow[Any], migration: Migration, rule: str | ReplacedBy, fields: Fields) -> str:
    """Return the step at which a run goes on."""
    if isinstance(rule, str):
        return rule
    if isinstance(rule.step, str):
        return rule.step
    step = _call(flow, migration, "ReplacedBy", rule.step, fields)
    if step not in rule.steps:
        fault = f"migration of {flow!r} from version {migration.since}: ReplacedBy returned none of its steps"
        raise Unreadable([fault])
    return str(step)


def _same_question(flow: Flow[Any], migration: Migration, step: str, fields: Fields) -> str | None:
    """Return the question that an earlier answer belongs to in the next version; None if the question is gone."""
    rule = migration.rule(step)
    same = isinstance(rule, str) or (isinstance(rule, ReplacedBy) and not isinstance(rule.step, str))
    return _target(flow, migration, rule, fields) if same and isinstance(rule, str | ReplacedBy) else None


def _upgraded(flow: Flow[Any], migration: Migration, fields: Fields) -> Fields:
    assert migration.data is not None
    found = _call(flow, migration, "data", migration.data, fields)
    if not isinstance(found, Mapping) or not all(isinstance(name, str) for name in found):
        raise Unreadable([f"migration of {flow!r} from version {migration.since}: data returned no mapping of fields"])
    if RESERVED & found.keys():
        raise Unreadable([f"migration of {flow!r} from version {migration.since}: data returned a reserved field"])
    return found


def _call(flow: Flow[Any], migration: Migration, name: str, function: Callable[[Any], Any], fields: Fields) -> Any:
    try:
        return function(loads(dumps(dict(fields))))  # a copy, which the function may change
    except BaseException as error:  # an author's function may raise anything, and its message may quote data
        if is_interrupt(error):
            raise
        fault = f"migration of {flow!r} from version {migration.since}: {name} raised {type(error).__name__}"
        raise Unreadable([fault]) from None


def _moved(flow: Declared, run: Run, place: _Place) -> Run:
    """Return the run at its new place. A renamed question keeps its choices.

    The timer that was set holds for the new state, also if the question is another one or its timeout has changed. It
    ends if the new state has none.
    """
    verdict = {**run.verdict, "step": place.judged} if "step" in run.verdict else run.verdict
    trail = [name for name in dict.fromkeys(place.trail) if name in flow.by_name and _can_be_gone_back_to(flow, name)]
    moved = attrs.evolve(
        run,
        step=place.step,
        fields=place.fields,
        typed=None,
        verdict=verdict,
        version=flow.version,
        fingerprint=flow.fingerprint,
        trail=trail_before(trail, place.step),
    )
    state = flow.by_name.get(place.step)
    due = run.due if state is not None and state.timeout is not None else None
    return attrs.evolve(to_be_asked(moved) if place.anew else moved, due=due)


def _restarted(flow: Flow[Any], run: Run) -> Run:
    begun = attrs.evolve(
        run,
        step=flow.initial,
        context={},
        verdict={},
        fields=unstructure(flow.data()),
        typed=None,
        trail=(),
        version=flow.version,
        fingerprint=flow.fingerprint,
    )
    return to_be_asked(begun)


def _can_be_gone_back_to(flow: Declared, step: str) -> bool:
    return flow[step].flow is not None or flow[step].is_question


def upgrade(bot: Bot, raw: Any) -> tuple[Any, tuple[dict[str, Any], ...]]:
    """Upgrade each run of a stored document to the current flow.

    Args:
        bot: The bot whose flows are current.
        raw: The document as plain data. Data without a run to upgrade is returned unchanged, also if it is no document.

    Returns:
        The document as plain data, and a note for the audit for each run that was changed.

    Raises:
        Unreadable: A run cannot be upgraded.
    """
    if not _is_older(bot, raw):
        return raw, ()
    document = StateValidator(None, bot.validator.channel_types).read(raw)
    found = plan(bot, document)
    lost = [
        f"flow {planned.before.flow!r}, step {planned.before.step!r}: {planned.fault}"
        for planned in found
        if planned.fault
    ]
    if lost:
        raise Unreadable(lost)
    if all(planned.after is planned.before for planned in found):
        return raw, ()
    return document_to_raw(_upgraded_document(bot, document, found)), tuple(_notes(found))


def _is_older(bot: Bot, raw: Any) -> bool:
    """Whether a run has another version than its flow. False if the data cannot be read; its validation says why."""
    try:
        return any(flow in bot.dropped or version != bot.machines[flow].flow.version for flow, version in _places(raw))
    except (AttributeError, IndexError, KeyError, TypeError):
        return False


def _places(raw: Any) -> list[tuple[str, int]]:
    """Return the flow and the version of each run of a stored document.

    Raises:
        AttributeError, IndexError, KeyError, TypeError: The data cannot be read.
    """
    placed = [(raw["flow_data"], raw.get("_run", {}))]
    placed += [(run["flow_data"], run) for run in raw.get("_suspended", ())]
    return [(data["data"]["flow_type"], notes.get("version", 1)) for data, notes in placed if data]


def unknown(bot: Bot, document: Document) -> tuple[str, ...]:
    """Return the flows of a document that the bot never had, each once."""
    runs = (*document.suspended, *([document.run] if document.run else []))
    known = bot.machines.keys() | bot.dropped
    return tuple(dict.fromkeys(run.flow for run in runs if run.flow not in known))


def newer(bot: Bot, raw: Any) -> tuple[str, int] | None:
    """Return the flow and the version of a run that a newer release has stored; None if none can be found."""
    with suppress(AttributeError, IndexError, KeyError, TypeError):
        for flow, version in _places(raw):
            if flow in bot.machines and (flow, version) not in bot.kept and version > bot.flow(flow).version:
                return flow, version
    return None


def _upgraded_document(bot: Bot, document: Document, found: Sequence[RunUpgrade]) -> Document:
    runs = [planned.after for planned in found if planned.after is not None]
    run = runs.pop() if document.run is not None and runs else None
    told = [_notice(bot, document, planned, planned.say) for planned in found if planned.say is not None]
    call = document.call
    if call is not None and call.done and not _waits_for_call(bot, found[-1]):
        call = None
        told.insert(0, _notice(bot, document, found[-1], _DONE))
        if run is not None and run.id == found[-1].before.id:
            run = to_be_asked(attrs.evolve(run, made=True, trail=()))
    return attrs.evolve(document, run=run, suspended=tuple(runs), call=call, outbox=(*document.outbox, *told))


def _waits_for_call(bot: Bot, planned: RunUpgrade) -> bool:
    """Whether a run still stands at the call whose answer is kept for it."""
    run = planned.after
    return run is not None and planned.how != "restarted" and bot.definition(run)[run.step].call is not None


def _notice(bot: Bot, document: Document, planned: RunUpgrade, text: Text) -> Undelivered:
    """Return a notice of an upgrade. It waits in the outbox, so that it is said once."""
    said = replies_to_keep(bot.say([text], document.profile, document.channel))
    flow = bot.machines.get(planned.before.flow)
    done = ".done" if text is _DONE else ""
    return Undelivered(f"{planned.before.id}.{flow.flow.version if flow else 'dropped'}{done}", said)


def _notes(found: Sequence[RunUpgrade]) -> Iterator[dict[str, Any]]:
    for planned in found:
        before, after = planned.before, planned.after
        if after is not before:
            yield {
                "flow": before.flow,
                "run": before.id,
                "how": planned.how,
                "versions": [before.version, after.version if after else before.version],
                "steps": [before.step, after.step if after else ""],
            }


def migrated(*documents: Document | None) -> dict[str, Any]:
    """Return what the audit records of the commit that stores these documents.

    These are the runs that were upgraded, and the seconds by which the clock was ahead at the commit before.
    """
    found: dict[str, Any] = {}
    for document in documents:
        if document is not None and document.upgraded:
            found["migrated"] = [*found.get("migrated", ()), *document.upgraded]
        if document is not None and document.ahead:
            found["clock_ahead"] = round(document.ahead)
    return found
