"""TODO."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import attrs

from vimbiso_fsm.errors import FlowError
from vimbiso_fsm.flow.state import Declared
from vimbiso_fsm.messages.replies import Text

Fields: TypeAlias = Mapping[str, Any]
"""A run's data as it is stored: plain values by field."""


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
class FinishOnOld:
    """The run is finished on the old definition, kept in the package."""

    flow: Declared


@attrs.frozen
class Restart:
    """The run begins again with nothing filled in. `say`: what the member is told, once, before the next reply; a
    sentence of the framework's own, if not given."""

    say: Text | None = None


Step: TypeAlias = str | Instead | Split | FinishOnOld | Restart
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
    others: FinishOnOld | Restart | None = attrs.field(default=None, kw_only=True)

    def becomes(self, step: str) -> Step:
        """What becomes of a run at `step`."""
        return self.steps.get(step, step if self.others is None else self.others)

    @property
    def kept(self) -> tuple[Declared, ...]:
        """The old definitions that runs finish on."""
        return tuple(rule.flow for rule in (*self.steps.values(), self.others) if isinstance(rule, FinishOnOld))


def check_migrations(flow: Declared) -> None:
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
    if others is not None and not isinstance(others, FinishOnOld | Restart):
        yield f"others is a {type(others).__name__}", "say Finish(…) or Restart(…)"
    for step, rule in steps.items():
        if not isinstance(rule, str | Instead | Split | FinishOnOld | Restart):
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


def _kept_faults(flow: Declared, migration: Migration) -> Iterator[tuple[str, str]]:
    kept: tuple[Any, ...] = migration.kept
    for old in kept:
        if not isinstance(old, type(flow)):
            yield f"Finish takes a {type(old).__name__}", "give the old flow itself"
        elif (old.name, old.version) != (flow.name, migration.since):
            yield f"Finish takes {old!r}", f"give the definition of flow {flow.name!r} at version {migration.since}"
        else:
            for step in migration.steps.keys() - old.by_name.keys():
                yield f"step {step!r} is none of version {migration.since}", f"known are {', '.join(old.by_name)}"


def _step_faults(flow: Declared, chain: Mapping[int, Migration], since: int, rule: Step) -> Iterator[tuple[str, str]]:
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


def renamed(flow: Declared, step: str) -> frozenset[str]:
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
