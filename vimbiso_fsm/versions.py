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

`today` applies this to a stored document when it is read, before the rule book judges it; it is stored with the next
commit, whose audit entry names it. What cannot be brought to today is damage, and goes the way of recovery: a version
without a migration, a step that is gone, data that cannot be read, and whatever would lose a call on its way.
`check.py` finds all that before the deploy, by the same function. A version that is not declared yet is left to the
newer release that has stored it (`recovery.leave_to_newer`), unless that was rolled back.

A question that stands in the place of another was never shown: nothing the member said can be an answer to it. Such
a run is `unasked` until it has been asked; so is one that an operator has put back.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import attrs

from vimbiso_fsm.codec import (
    RESERVED,
    Unreadable,
    document_from_raw,
    document_to_raw,
    dumps,
    loads,
    replies_to_keep,
    structure,
    unstructure,
)
from vimbiso_fsm.errors import FlowError
from vimbiso_fsm.messages import Text
from vimbiso_fsm.state import Document, Run, Undelivered
from vimbiso_fsm.state_validator import StateValidator

if TYPE_CHECKING:
    from vimbiso_fsm.bot import Bot
    from vimbiso_fsm.flow import Flow

__all__ = [
    "Fate",
    "Finish",
    "Instead",
    "Migration",
    "Restart",
    "Split",
    "asked",
    "check_migrations",
    "fates",
    "finishing",
    "is_unasked",
    "migrated",
    "newer",
    "renamed",
    "today",
    "unasked",
]

Fields: TypeAlias = Mapping[str, Any]
"""A run's data as it is stored: plain values by field."""

_UNASKED, _FINISHING = "unasked", "finishing"
"""Marks in a run's validation context: its question has not been asked since a deploy put it there; it ends on the old
definition, whatever is declared of the steps it comes to."""


# What an author declares -------------------------------------------------------------------------------------------


@attrs.frozen
class Instead:
    """The step is gone; the run goes on at `step`, where it is asked anew."""

    step: str


def _names(given: Sequence[str]) -> tuple[str, ...]:
    return tuple(given)


@attrs.frozen(eq=False)
class Split:
    """The step has become several. `by`: given the data as the old version stored it, at which of `steps` the run goes
    on; it is asked anew there."""

    steps: tuple[str, ...] = attrs.field(converter=_names)
    by: Callable[[Fields], str] = attrs.field(kw_only=True)


@attrs.frozen(eq=False)
class Finish:
    """The run is finished on the old definition, kept in the package."""

    flow: Flow[Any]


@attrs.frozen
class Restart:
    """The run begins again with nothing filled in. `say`: what the member is told, once, before the next reply; a
    sentence of the framework's own, if not given."""

    say: Text | None = None


Step: TypeAlias = str | Instead | Split | Finish | Restart
"""What becomes of a step. Text: its new name; the question is the same."""


@attrs.frozen(eq=False)
class Migration:
    """How a run of version `since` goes on in the next one.

    `steps`: what becomes of a step, by its old name; one that is not named keeps its name. `data`: given the data as
    version `since` stored it, that of the next version; unchanged, if not given. `others`: what becomes of the runs at
    steps that `steps` does not name. All of it is pure.
    """

    since: int
    steps: Mapping[str, Step] = attrs.field(factory=dict, kw_only=True)
    data: Callable[[dict[str, Any]], Fields] | None = attrs.field(default=None, kw_only=True)
    others: Finish | Restart | None = attrs.field(default=None, kw_only=True)

    def becomes(self, step: str) -> Step:
        """What becomes of a run at `step`."""
        return self.steps.get(step, step if self.others is None else self.others)

    @property
    def kept(self) -> tuple[Flow[Any], ...]:
        """The old definitions that runs finish on."""
        return tuple(rule.flow for rule in (*self.steps.values(), self.others) if isinstance(rule, Finish))


# What is checked when a flow is made -------------------------------------------------------------------------------


def check_migrations(flow: Flow[Any]) -> None:
    """Raises: FlowError when the flow's migrations lead nowhere."""
    found: dict[int, Migration] = {}
    for migration in flow.migrations:
        if not isinstance(migration, Migration):
            raise FlowError(
                flow.name, "migrations", f"holds a {type(migration).__name__}", "declare each with Migration(…)"
            )
        since = migration.since
        if type(since) is not int or not 0 < since < flow.version:
            fault = f"its version {since!r} is not below the flow's, {flow.version}"
            raise FlowError(flow.name, f"migration from {since!r}", fault, "raise the flow's, or remove the migration")
        if since in found:
            raise FlowError(flow.name, _place(since), "it is declared twice", "make one of them")
        found[since] = migration
    for version in range(min(found, default=flow.version), flow.version):
        if version not in found:
            fault = f"none leads from version {version} to {version + 1}, so older runs end there"
            raise FlowError(flow.name, "migrations", fault, f"declare Migration({version}, …)")
    for migration in found.values():
        for fault, remedy in itertools.chain(_slot_faults(migration), _kept_faults(flow, migration)):
            raise FlowError(flow.name, _place(migration.since), fault, remedy)
        unnamed = {state.name for old in migration.kept for state in old.states if not state.final}
        for step in (*migration.steps, *sorted(unnamed - migration.steps.keys())):
            for fault, remedy in _step_faults(flow, found, migration.since, migration.becomes(step)):
                raise FlowError(flow.name, f"{_place(migration.since)}, step {step!r}", fault, remedy)


def _place(since: int) -> str:
    return f"migration from {since}"


def _slot_faults(migration: Migration) -> Iterator[tuple[str, str]]:
    steps: Any = migration.steps
    data: object = migration.data
    others: object = migration.others
    if not isinstance(steps, Mapping):
        yield f"steps is a {type(steps).__name__}", "give what becomes of a step, by its old name"
        return
    if data is not None and not callable(data):
        yield f"data is a {type(data).__name__}", "name a function by reference"
    if others is not None and not isinstance(others, Finish | Restart):
        yield f"others is a {type(others).__name__}", "say Finish(…) or Restart(…)"
    for step, rule in steps.items():
        if not isinstance(rule, str | Instead | Split | Finish | Restart):
            yield (
                f"step {step!r} becomes a {type(rule).__name__}",
                "say its new name, Instead(…), Split(…), Finish(…) or Restart(…)",
            )
        if not isinstance(rule, Split):
            continue
        by: Any = rule.by
        if not callable(by):
            yield f"step {step!r} is split by a {type(by).__name__}", "name a function by reference"
        if len(rule.steps) < 2:
            yield f"step {step!r} is split into {len(rule.steps)}", "name the steps, or say Instead(…)"
    for restart in (*migration.steps.values(), migration.others):
        say: Any = restart.say if isinstance(restart, Restart) else None
        if say is not None and not isinstance(say, Text):
            yield f"Restart says a {type(say).__name__}", "give say=Text(…)"


def _kept_faults(flow: Flow[Any], migration: Migration) -> Iterator[tuple[str, str]]:
    kept: tuple[Any, ...] = migration.kept
    for old in kept:
        if not isinstance(old, type(flow)):
            yield f"Finish takes a {type(old).__name__}", "give the old flow itself"
        elif (old.name, old.version) != (flow.name, migration.since):
            yield f"Finish takes {old!r}", f"give the definition of flow {flow.name!r} at version {migration.since}"
        else:
            for step in migration.steps.keys() - old.by_name.keys():
                yield f"step {step!r} is none of version {migration.since}", f"known are {', '.join(old.by_name)}"


def _step_faults(flow: Flow[Any], chain: Mapping[int, Migration], since: int, rule: Step) -> Iterator[tuple[str, str]]:
    """Follow where a step leads, through the later migrations, to today's flow."""
    anew = isinstance(rule, Instead | Split)
    for step in (rule,) if isinstance(rule, str) else _leads_to(rule):
        places: list[tuple[int, str]] = [(since + 1, step)]
        while places:
            version, name = places.pop()
            if version < flow.version:
                later = chain[version].becomes(name)
                anew = anew or isinstance(later, Instead | Split)
                places += [(version + 1, next_name) for next_name in _leads_to(later)]
            elif name not in flow.by_name:
                yield f"it leads to {name!r}, which is no state of {flow!r}", f"known are {', '.join(flow.by_name)}"
            elif anew and flow[name].call:
                yield f"it leads to {name!r}, a call nobody has asked for", "lead to the question before it"


def _leads_to(rule: Step) -> tuple[str, ...]:
    match rule:
        case str():
            return (rule,)
        case Instead(step):
            return (step,)
        case Split():
            return rule.steps
        case _:
            return ()


def renamed(flow: Flow[Any], step: str) -> frozenset[str]:
    """What a step of any older version is called today, where it is still the same step."""
    found: set[str] = set()
    for first in flow.migrations:
        name: Step = step
        for migration in sorted(flow.migrations, key=lambda one: one.since):
            if migration.since >= first.since and isinstance(name, str):
                name = migration.becomes(name)
        if isinstance(name, str):
            found.add(name)
    return frozenset(found & flow.by_name.keys())


# What becomes of a run ---------------------------------------------------------------------------------------------


@attrs.frozen
class Fate:
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


def fates(bot: Bot, document: Document) -> tuple[Fate, ...]:
    """What becomes of each run of a document: of the suspended ones, the lowest first, then of the current one."""
    found: list[Fate] = []
    below: int | None = None
    for run in (*document.suspended, document.run):
        if run is None:
            continue
        called = document.call is not None and run is document.run
        fate = _fate(bot, run, called=called, current=run is document.run)
        if below is not None and _no_longer_waits(bot, found[below], fate):
            if called:
                fate = Fate(run, "lost", fault=_CALLED)
            else:
                fate = Fate(run, "restarted" if fate.how == "restarted" else "dropped", say=fate.say)
            parent = found[below].after
            assert parent is not None
            parents = "migrated" if found[below].how == "unchanged" else found[below].how
            found[below] = attrs.evolve(found[below], how=parents, after=unasked(attrs.evolve(parent, waits=run.waits)))
        else:
            below = len(found) if fate.after is not None else None
        found.append(fate)
    return tuple(found)


_CALLED = "its call is on its way, and would be lost"


def _no_longer_waits(bot: Bot, below: Fate, fate: Fate) -> bool:
    """Whether a run that the one below began as its sub-flow has lost its place."""
    parent = below.after
    if parent is None or parent.waits != "sub" or fate.how == "lost" or below.how == fate.how == "unchanged":
        return False
    state = bot.definition(parent).by_name.get(parent.step)
    if state is None or state.flow is None or state.flow.name != fate.before.flow:
        return True
    return fate.how == "restarted" and state.given is not None  # what it is given, only its caller knows


def _fate(bot: Bot, run: Run, *, called: bool, current: bool) -> Fate:
    if run.flow not in bot.machines:
        return Fate(run, "lost", fault="its flow is gone")
    try:
        fate = _carried(bot, run)
        assert fate.after is not None
        flow = bot.definition(fate.after)
        structure(fate.after.flow_data.data.fields, flow.data)
    except Unreadable as error:
        return Fate(run, "lost", fault="; ".join(error.faults))
    state = flow.by_name.get(fate.after.step)
    if state is None:
        return Fate(run, "lost", fault="its step is gone")
    if fate.how == "unchanged":
        return fate
    if called and (state.call is None or fate.how == "restarted"):
        return Fate(run, "lost", fault=_CALLED)
    if fate.how == "migrated" and current and state.call is not None and not called:
        return Fate(run, "lost", fault="its step has become a call, and none is on its way")
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


def _carried(bot: Bot, run: Run) -> Fate:
    """Take a run from version to version.

    Raises: Unreadable when its way ends before today.
    """
    flow = bot.flow(run.flow)
    data = run.flow_data.data
    if _FINISHING in data.context and (run.flow, run.version) in bot.kept:
        return Fate(run, "finishes", run)
    place = _Place(run.version, run.step, data.fields, run.trail, str(data.verdict.get("step", "")))
    chain = {migration.since: migration for migration in flow.migrations}
    while place.version != flow.version:
        migration = chain.get(place.version)
        if migration is None:
            return _without_migration(bot, run, place)
        rule = migration.becomes(place.step)
        if isinstance(rule, Restart):
            say = rule.say or Text("flow.restarted", flow=Text(f"{flow.name}.title"))
            return Fate(run, "restarted", _restarted(flow, run), say)
        if isinstance(rule, Finish):
            return _finishing(run, place, rule.flow)
        place = _next(flow, migration, rule, place)
    if place.version == run.version:
        return Fate(run, "unchanged", run)
    place = attrs.evolve(place, fields=unstructure(structure(place.fields, flow.data)))
    return Fate(run, "migrated", _moved(flow, run, place))


def _without_migration(bot: Bot, run: Run, place: _Place) -> Fate:
    flow = bot.flow(run.flow)
    old = bot.kept.get((run.flow, place.version))
    if old is not None:
        return _finishing(run, place, old.flow)
    if place.version == run.version == 1 and not run.fingerprint:  # it does not say of which version it is
        return Fate(run, "unchanged", run)
    if place.version > flow.version:
        raise Unreadable([f"it is of version {place.version}, and {flow!r} is older: was a deploy rolled back?"])
    raise Unreadable([f"no migration leads from version {place.version}: declare Migration({place.version}, …)"])


def _finishing(run: Run, place: _Place, old: Flow[Any]) -> Fate:
    if place.version == run.version:
        return Fate(run, "finishes", finishing(run))
    place = attrs.evolve(place, fields=unstructure(structure(place.fields, old.data)))
    return Fate(run, "finishes", finishing(_moved(old, run, place)))


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


def _moved(flow: Flow[Any], run: Run, place: _Place) -> Run:
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
    return unasked(moved) if place.anew else moved


def _restarted(flow: Flow[Any], run: Run) -> Run:
    data = attrs.evolve(run.flow_data.data, context={}, verdict={}, fields=unstructure(flow.data()), typed=None)
    begun = attrs.evolve(run, flow_data=attrs.evolve(run.flow_data, step=flow.initial, data=data), trail=())
    return unasked(attrs.evolve(begun, version=flow.version, fingerprint=flow.fingerprint))


def _can_be_gone_back_to(flow: Flow[Any], step: str) -> bool:
    return flow[step].flow is not None or (flow[step].asks and not flow[step].call)


# Marks of a run ----------------------------------------------------------------------------------------------------


def finishing(run: Run) -> Run:
    """The run as one that ends on the old definition of its version."""
    context = run.flow_data.data.context
    return run if _FINISHING in context else _with_context(run, {**context, _FINISHING: True})


def is_unasked(run: Run | None) -> bool:
    """Whether the run stands where a deploy has put it, and the member has not been asked since."""
    return run is not None and _UNASKED in run.flow_data.data.context


def asked(run: Run) -> Run:
    """The run, no longer unasked."""
    if not is_unasked(run):
        return run
    return _with_context(run, {name: v for name, v in run.flow_data.data.context.items() if name != _UNASKED})


def unasked(run: Run) -> Run:
    """The run as one that must be asked; what was shown, and its timer, belonged to another question."""
    context = {name: value for name, value in run.flow_data.data.context.items() if name != "attempts"}
    return attrs.evolve(_with_context(run, {**context, _UNASKED: True}), shown=(), page=0, since=None, due=None)


def _with_context(run: Run, context: Mapping[str, Any]) -> Run:
    data = attrs.evolve(run.flow_data.data, context=context)
    return attrs.evolve(run, flow_data=attrs.evolve(run.flow_data, data=data))


# A stored document -------------------------------------------------------------------------------------------------


def today(bot: Bot, raw: Any) -> tuple[Any, tuple[dict[str, Any], ...]]:
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
    found = fates(bot, document)
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


def _brought(bot: Bot, document: Document, found: Sequence[Fate]) -> Document:
    runs = [fate.after for fate in found if fate.after is not None]
    run = runs.pop() if document.run is not None and runs else None
    told = [_notice(bot, document, fate) for fate in found if fate.say is not None]
    return attrs.evolve(document, run=run, suspended=tuple(runs), outbox=(*document.outbox, *told))


def _notice(bot: Bot, document: Document, fate: Fate) -> Undelivered:
    """What is said of a restart: it waits in the outbox, so it is said once, by whoever comes first."""
    assert fate.say is not None
    said = replies_to_keep(bot.say([fate.say], document.profile, document.channel))
    return Undelivered(f"{fate.before.id}.{bot.flow(fate.before.flow).version}", said)


def _notes(found: Sequence[Fate]) -> Iterator[dict[str, Any]]:
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
    notes = [note for document in documents if document is not None for note in document.brought]
    return {"migrated": notes} if notes else {}
