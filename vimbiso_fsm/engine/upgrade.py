"""A flow is changed while members are in the middle of it: what its author declares, and what becomes of each run.

A run remembers the version of the flow it was stepped with. Beside the flow stands one `Migration` for each older
version that may still be met; each takes a run of its version to the next one, so they make a chain:

    Flow("offer", version=2, …, migrations=[
        Migration(1, steps={
            "handle": "recipient",                                    # renamed: the same question
            "colour": Instead("confirm"),                             # removed: another question in its place
            "name":   Split(["given", "family"], by=which_is_left),   # now two: where this run goes on
            "paying": Finish(offer_1),                                # ends as it began
        }, data=with_currency, others=Restart()),
    ])

A step that `steps` does not name keeps its name, unless `others` says more. A changed flow of the same version says
that the meaning of its steps is unchanged.

`upgrade` applies this to a stored document when it is read, before the rule book judges it; it is stored with the next
commit, whose audit entry names it. What cannot be brought to today is damage, and goes the way of recovery: a version
without a migration, a step that is gone, data that cannot be read, and whatever would lose a call on its way.
`check.py` finds all that before the deploy, by the same function. A version that is not declared yet is left to the
newer release that has stored it (`recovery.leave_to_newer`), unless that was rolled back.

A question that stands in the place of another was never shown: nothing the member said can be an answer to it. Such
a run is `to_be_asked` until it has been asked; so is one that an operator has put back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

import attrs

from vimbiso_fsm.document.codec import (
    RESERVED,
    Unreadable,
    document_from_raw,
    document_to_raw,
    dumps,
    loads,
    structure,
    unstructure,
)
from vimbiso_fsm.document.document import FINISHING, Document, Run, Undelivered, finishing, to_be_asked
from vimbiso_fsm.document.replies_codec import replies_to_keep
from vimbiso_fsm.document.state_validator import StateValidator
from vimbiso_fsm.flow.migrations import Fields, FinishOnOld, Instead, Migration, Restart, Split
from vimbiso_fsm.messages.replies import Text

if TYPE_CHECKING:
    from vimbiso_fsm.flow.bot import Bot
    from vimbiso_fsm.flow.flow import Flow
    from vimbiso_fsm.flow.state import Declared

# What an author declares -------------------------------------------------------------------------------------------


# What is checked when a flow is made -------------------------------------------------------------------------------


# What becomes of a run ---------------------------------------------------------------------------------------------


@attrs.frozen
class RunUpgrade:
    """What becomes of one run of a stored document.

    `how`: "unchanged"; "migrated"; "finishes" on an old definition that is kept; "restarted"; "dropped", when the run
    that began it as its sub-flow does not wait for it any more; "lost", when it cannot be brought to today, because of
    `fault`. `after`: the run then; None for one that is dropped or lost, or that its caller begins again. `say`: what
    the member is told.
    """

    before: Run
    how: Literal["unchanged", "migrated", "finishes", "restarted", "dropped", "lost"]
    after: Run | None = None
    say: Text | None = None
    fault: str = ""


def plan(bot: Bot, document: Document) -> tuple[RunUpgrade, ...]:
    """What becomes of each run of a document: of the suspended ones, the lowest first, then of the current one."""
    found: list[RunUpgrade] = []
    below: int | None = None
    for run in (*document.suspended, document.run):
        if run is None:
            continue
        called = document.call is not None and run is document.run
        fate = _fate(bot, run, called=called, current=run is document.run)
        if below is not None and _no_longer_waits(bot, found[below], fate):
            if called:
                fate = RunUpgrade(run, "lost", fault=_CALLED)
            else:
                fate = RunUpgrade(run, "restarted" if fate.how == "restarted" else "dropped", say=fate.say)
            parent = found[below].after
            assert parent is not None
            parents = "migrated" if found[below].how == "unchanged" else found[below].how
            found[below] = attrs.evolve(
                found[below], how=parents, after=to_be_asked(attrs.evolve(parent, waits=run.waits))
            )
        else:
            below = len(found) if fate.after is not None else None
        found.append(fate)
    return tuple(found)


_CALLED = "its call is on its way, and would be lost"


def _no_longer_waits(bot: Bot, below: RunUpgrade, fate: RunUpgrade) -> bool:
    """Whether a run that the one below began as its sub-flow has lost its place."""
    parent = below.after
    if parent is None or parent.waits != "sub" or fate.how == "lost" or below.how == fate.how == "unchanged":
        return False
    state = bot.definition(parent).by_name.get(parent.step)
    if state is None or state.flow is None or state.flow.name != fate.before.flow:
        return True
    return fate.how == "restarted" and state.given is not None  # what it is given, only its caller knows


def _fate(bot: Bot, run: Run, *, called: bool, current: bool) -> RunUpgrade:
    if run.flow not in bot.machines:
        return RunUpgrade(run, "lost", fault="its flow is gone")
    try:
        fate = _carried(bot, run)
        assert fate.after is not None
        flow = bot.definition(fate.after)
        structure(fate.after.flow_data.data.fields, flow.data)
    except Unreadable as error:
        return RunUpgrade(run, "lost", fault="; ".join(error.faults))
    state = flow.by_name.get(fate.after.step)
    if state is None:
        return RunUpgrade(run, "lost", fault="its step is gone")
    if fate.how == "unchanged":
        return fate
    if called and (state.call is None or fate.how == "restarted"):
        return RunUpgrade(run, "lost", fault=_CALLED)
    if fate.how == "migrated" and current and state.call is not None and not called:
        return RunUpgrade(run, "lost", fault="its step has become a call, and none is on its way")
    return fate


@attrs.frozen
class _Place:
    """Where a run stands on its way through the versions. `judged`: the step of its latest verdict. `anew`: whether it
    must be asked anew."""

    version: int
    step: str
    fields: Fields
    trail: tuple[str, ...]
    judged: str
    anew: bool = False


def _carried(bot: Bot, run: Run) -> RunUpgrade:
    """Take a run from version to version.

    Raises: Unreadable when its way ends before today.
    """
    flow = bot.flow(run.flow)
    data = run.flow_data.data
    if FINISHING in data.context and (run.flow, run.version) in bot.kept:
        return RunUpgrade(run, "finishes", run)
    place = _Place(run.version, run.step, data.fields, run.trail, str(data.verdict.get("step", "")))
    chain = {migration.since: migration for migration in flow.migrations}
    while place.version != flow.version:
        migration = chain.get(place.version)
        if migration is None:
            return _without_migration(bot, run, place)
        rule = migration.becomes(place.step)
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
    if place.version == run.version == 1 and not run.fingerprint:  # it does not say of which version it is
        return RunUpgrade(run, "unchanged", run)
    if place.version > flow.version:
        raise Unreadable([f"it is of version {place.version}, and {flow!r} is older: was a deploy rolled back?"])
    raise Unreadable([f"no migration leads from version {place.version}: declare Migration({place.version}, …)"])


def _finishing(run: Run, place: _Place, old: Declared) -> RunUpgrade:
    if place.version == run.version:
        return RunUpgrade(run, "finishes", finishing(run))
    place = attrs.evolve(place, fields=unstructure(structure(place.fields, old.data)))
    return RunUpgrade(run, "finishes", finishing(_moved(old, run, place)))


def _next(flow: Flow[Any], migration: Migration, rule: str | Instead | Split, place: _Place) -> _Place:
    """The run one version on."""
    fields = place.fields if migration.data is None else _upgraded(flow, migration, place.fields)
    trail = (_same_question(flow, migration, step, place.fields) for step in place.trail)
    return _Place(
        place.version + 1,
        _where(flow, migration, rule, place.fields),
        fields,
        tuple(step for step in trail if step is not None),
        _same_question(flow, migration, place.judged, place.fields) or place.judged,
        place.anew or not isinstance(rule, str),
    )


def _where(flow: Flow[Any], migration: Migration, rule: str | Instead | Split, fields: Fields) -> str:
    match rule:
        case str():
            return rule
        case Instead(step):
            return step
        case Split():
            step = _called(flow, migration, "by", rule.by, fields)
            if step not in rule.steps:
                raise Unreadable([f"migration of {flow!r} from version {migration.since}: by named none of its steps"])
            return str(step)


def _same_question(flow: Flow[Any], migration: Migration, step: str, fields: Fields) -> str | None:
    """The question an earlier answer stands for now; None when it is gone."""
    rule = migration.becomes(step)
    return _where(flow, migration, rule, fields) if isinstance(rule, str | Split) else None


def _upgraded(flow: Flow[Any], migration: Migration, fields: Fields) -> Fields:
    assert migration.data is not None
    found = _called(flow, migration, "data", migration.data, fields)
    if not isinstance(found, Mapping) or not all(isinstance(name, str) for name in found):
        raise Unreadable([f"migration of {flow!r} from version {migration.since}: data gave no values by field"])
    if RESERVED & found.keys():
        raise Unreadable([f"migration of {flow!r} from version {migration.since}: data gave a reserved field"])
    return found


def _called(flow: Flow[Any], migration: Migration, name: str, function: Callable[[Any], Any], fields: Fields) -> Any:
    try:
        return function(loads(dumps(dict(fields))))  # a copy: what it does to it, it does to nobody else
    except Exception as error:  # noqa: BLE001  # an author's function may raise anything; what it says may quote data
        fault = f"migration of {flow!r} from version {migration.since}: {name} raised {type(error).__name__}"
        raise Unreadable([fault]) from None


def _moved(flow: Declared, run: Run, place: _Place) -> Run:
    """The run at its new place. A renamed question keeps what was shown and when its time is over."""
    data = run.flow_data.data
    verdict = {**data.verdict, "step": place.judged} if "step" in data.verdict else data.verdict
    trail = [name for name in dict.fromkeys(place.trail) if name in flow.by_name and _can_be_gone_back_to(flow, name)]
    if place.step in trail:
        trail = trail[: trail.index(place.step)]
    moved = attrs.evolve(
        run,
        flow_data=attrs.evolve(
            run.flow_data, step=place.step, data=attrs.evolve(data, fields=place.fields, typed=None, verdict=verdict)
        ),
        version=flow.version,
        fingerprint=flow.fingerprint,
        trail=tuple(trail),
    )
    return to_be_asked(moved) if place.anew else moved


def _restarted(flow: Flow[Any], run: Run) -> Run:
    data = attrs.evolve(run.flow_data.data, context={}, verdict={}, fields=unstructure(flow.data()), typed=None)
    begun = attrs.evolve(run, flow_data=attrs.evolve(run.flow_data, step=flow.initial, data=data), trail=())
    return to_be_asked(attrs.evolve(begun, version=flow.version, fingerprint=flow.fingerprint))


def _can_be_gone_back_to(flow: Declared, step: str) -> bool:
    return flow[step].flow is not None or (flow[step].asks and not flow[step].call)


# Marks of a run ----------------------------------------------------------------------------------------------------


# A stored document -------------------------------------------------------------------------------------------------


def upgrade(bot: Bot, raw: Any) -> tuple[Any, tuple[dict[str, Any], ...]]:
    """A stored document as plain data, each of its runs brought to today's flows -> it, and what was done, for the
    audit. One that needs nothing is given back as it is; so is what is no document.

    Raises: Unreadable when a run cannot be brought to today.
    """
    if not _is_older(bot, raw):
        return raw, ()
    verdict = StateValidator(None, bot.validator.channel_types).validate(raw)
    if not verdict.valid:
        raise Unreadable(map(str, verdict.faults))
    document = document_from_raw(raw)
    found = plan(bot, document)
    lost = [f"flow {fate.before.flow!r}, step {fate.before.step!r}: {fate.fault}" for fate in found if fate.fault]
    if lost:
        raise Unreadable(lost)
    if all(fate.after is fate.before for fate in found):
        return raw, ()
    return document_to_raw(_brought(bot, document, found)), tuple(_notes(found))


def _is_older(bot: Bot, raw: Any) -> bool:
    """Whether a run is of another version than its flow; no, when that cannot be seen: the rule book will say why."""
    try:
        return any(version != bot.machines[flow].flow.version for flow, version in _places(raw))
    except (AttributeError, IndexError, KeyError, TypeError):
        return False


def _places(raw: Any) -> list[tuple[str, int]]:
    """Flow and version of each run of a stored document.

    Raises: AttributeError, IndexError, KeyError, TypeError when that cannot be seen.
    """
    placed = [(raw["flow_data"], raw.get("_run", {}))]
    placed += [(run["flow_data"], run) for run in raw.get("_suspended", ())]
    return [(data["data"]["flow_type"], notes.get("version", 1)) for data, notes in placed if data]


def newer(bot: Bot, raw: Any) -> tuple[str, int] | None:
    """Flow and version of a run that only a newer release can have stored; None when there is none, or none to be
    seen."""
    with suppress(AttributeError, IndexError, KeyError, TypeError):
        for flow, version in _places(raw):
            if flow in bot.machines and (flow, version) not in bot.kept and version > bot.flow(flow).version:
                return flow, version
    return None


def _brought(bot: Bot, document: Document, found: Sequence[RunUpgrade]) -> Document:
    runs = [fate.after for fate in found if fate.after is not None]
    run = runs.pop() if document.run is not None and runs else None
    told = [_notice(bot, document, fate) for fate in found if fate.say is not None]
    return attrs.evolve(document, run=run, suspended=tuple(runs), outbox=(*document.outbox, *told))


def _notice(bot: Bot, document: Document, fate: RunUpgrade) -> Undelivered:
    """What is said of a restart: it waits in the outbox, so it is said once, by whoever comes first."""
    assert fate.say is not None
    said = replies_to_keep(bot.say([fate.say], document.profile, document.channel))
    return Undelivered(f"{fate.before.id}.{bot.flow(fate.before.flow).version}", said)


def _notes(found: Sequence[RunUpgrade]) -> Iterator[dict[str, Any]]:
    for fate in found:
        before, after = fate.before, fate.after
        if after is not before:
            yield {
                "flow": before.flow,
                "run": before.id,
                "how": fate.how,
                "versions": [before.version, after.version if after else before.version],
                "steps": [before.step, after.step if after else ""],
            }


def migrated(*documents: Document | None) -> dict[str, Any]:
    """What the audit says of the commit that stores these documents: which runs were brought to today. Nothing, as a
    rule."""
    notes = [note for document in documents if document is not None for note in document.upgraded]
    return {"migrated": notes} if notes else {}
