"""Migrations: the rules by which runs of an older version of a flow continue on the next version."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import attrs

from vimbiso_fsm.errors import FlowFault
from vimbiso_fsm.flow.spelling import did_you_mean
from vimbiso_fsm.flow.state import Declared
from vimbiso_fsm.made import Made, caller
from vimbiso_fsm.messages.replies import Text

Fields: TypeAlias = Mapping[str, Any]
"""The data of a run as the document stores it: plain values, by the name of the field."""


def _names(given: Sequence[str]) -> tuple[str, ...]:
    return tuple(given)


@attrs.frozen
class ReplacedBy:
    """The step no longer exists. The run continues at another step, whose question is asked.

    `ReplacedBy("confirm")` leads every run to one step; "back" skips an answer to the old step.
    `ReplacedBy(missing_name, steps=["given", "family"])` is for a step that became several. The function returns
    one of `steps`; "back" returns from an answer to the old step to the step that the function returns.

    Attributes:
        step: The name of the step, or a pure function of the run's data as the old version stored it.
        steps: The steps that the function may return, at least two. Each must be a state of the flow.
    """

    step: str | Callable[[Fields], str]
    steps: tuple[str, ...] = attrs.field(default=(), converter=_names, kw_only=True)

    @property
    def targets(self) -> tuple[str, ...]:
        """The steps at which a run may continue."""
        return (self.step,) if isinstance(self.step, str) else self.steps


@attrs.frozen(eq=False)
class FinishOnOld:
    """The run is finished on the old definition.

    Attributes:
        flow: The old definition, which the package keeps.
    """

    flow: Declared


@attrs.frozen
class Restart:
    """The run begins again with nothing filled in.

    Attributes:
        say: The text that tells the member, once, before the next reply; the framework's own if not given.
    """

    say: Text | None = None


Step: TypeAlias = str | ReplacedBy | FinishOnOld | Restart
"""The rule for runs at a step. A text is the new name of the step, whose question is the same."""


@attrs.frozen(eq=False)
class Migration:
    """The rules that bring a run from version `since` to the next version. All functions in it are pure.

    Attributes:
        since: The version of the runs.
        steps: The rules by the name of the step in version `since`. Other steps keep their names.
        data: Makes the data of the next version from the data as version `since` stored it; unchanged if not given.
        others: The rule for steps that `steps` does not name.
        made: The file and the line at which the migration was made.
    """

    since: int
    steps: Mapping[str, Step] = attrs.field(factory=dict, kw_only=True)
    data: Callable[[dict[str, Any]], Fields] | None = attrs.field(default=None, kw_only=True)
    others: FinishOnOld | Restart | None = attrs.field(default=None, kw_only=True)
    made: Made = attrs.field(init=False, eq=False, repr=False, factory=caller)

    def rule(self, step: str) -> Step:
        """Return the rule for a run at `step`."""
        return self.steps.get(step, step if self.others is None else self.others)

    @property
    def kept(self) -> tuple[Declared, ...]:
        """The old definitions on which runs are finished."""
        return tuple(rule.flow for rule in (*self.steps.values(), self.others) if isinstance(rule, FinishOnOld))


def migration_faults(flow: Declared) -> Iterator[FlowFault]:
    """Yield the faults of migrations that do not lead every older run to a state of the flow."""

    def fault_of(migration: object, place: str, fault: str, remedy: str) -> FlowFault:
        made = migration.made if isinstance(migration, Migration) else flow.made
        return FlowFault(flow.name, place, fault, remedy, "wrong-migration", made)

    found: dict[int, Migration] = {}
    for migration in flow.migrations:
        if not isinstance(migration, Migration):
            yield fault_of(None, "migrations", f"holds a {type(migration).__name__}", "declare each with Migration(…)")
            return
        since = migration.since
        if type(since) is not int or not 0 < since < flow.version:
            fault = f"its version {since!r} is not below the flow's, {flow.version}"
            remedy = "raise the flow's, or remove the migration"
            yield fault_of(migration, f"migration from {since!r}", fault, remedy)
        elif since in found:
            yield fault_of(migration, _place(since), "it is declared twice", "make one of them")
        else:
            found[since] = migration
    for version in range(min(found, default=flow.version), flow.version):
        if version not in found:
            fault = f"none leads from version {version} to {version + 1}, so older runs end there"
            yield fault_of(None, "migrations", fault, f"declare Migration({version}, …)")
            return
    wrong: list[FlowFault] = []
    for each in (_slot_faults, _kept_faults):
        for migration in found.values() if not wrong else ():
            place = _place(migration.since)
            wrong += [fault_of(migration, place, fault, remedy) for fault, remedy in each(flow, migration)]
    yield from wrong
    for migration in found.values() if not wrong else ():
        unnamed = {state.name for old in migration.kept for state in old.states if not state.final}
        for step in (*migration.steps, *sorted(unnamed - migration.steps.keys())):
            for fault, remedy in _step_faults(flow, found, migration.since, migration.rule(step)):
                yield fault_of(migration, f"{_place(migration.since)}, step {step!r}", fault, remedy)


def _place(since: int) -> str:
    return f"migration from {since}"


def _slot_faults(_: Declared, migration: Migration) -> Iterator[tuple[str, str]]:
    steps: object = migration.steps
    data: object = migration.data
    others: object = migration.others
    if not isinstance(steps, Mapping):
        yield f"steps is a {type(steps).__name__}", "give a mapping by the old name of the step"
        return
    if data is not None and not callable(data):
        yield f"data is a {type(data).__name__}", "name a function by reference"
    if others is not None and not isinstance(others, FinishOnOld | Restart):
        yield f"others is a {type(others).__name__}", "give FinishOnOld(…) or Restart(…)"
    for step, rule in steps.items():
        if not isinstance(rule, str | ReplacedBy | FinishOnOld | Restart):
            yield (
                f"step {step!r} becomes a {type(rule).__name__}",
                "give its new name, ReplacedBy(…), FinishOnOld(…) or Restart(…)",
            )
        elif isinstance(rule, ReplacedBy):
            yield from _replacement_faults(step, rule)
    for restart in (*migration.steps.values(), migration.others):
        say: object = restart.say if isinstance(restart, Restart) else None
        if say is not None and not isinstance(say, Text):
            yield f"Restart says a {type(say).__name__}", "give say=Text(…)"


def _replacement_faults(step: str, rule: ReplacedBy) -> Iterator[tuple[str, str]]:
    target: object = rule.step
    if isinstance(target, str):
        if rule.steps:
            yield f"step {step!r} is replaced by a name and has steps=", "remove steps=, or give a function"
    elif not callable(target):
        yield (
            f"step {step!r} is replaced by a {type(target).__name__}",
            "give a step's name, or a function by reference",
        )
    elif len(rule.steps) < 2:
        fault = f"step {step!r} is replaced by a function with {len(rule.steps)} steps"
        yield fault, "name all steps that it returns, steps=[…], or give ReplacedBy the name of the one step"


def _kept_faults(flow: Declared, migration: Migration) -> Iterator[tuple[str, str]]:
    kept: tuple[object, ...] = migration.kept
    for old in kept:
        if not isinstance(old, type(flow)):
            yield f"FinishOnOld takes a {type(old).__name__}", "give the old flow itself"
        elif (old.name, old.version) != (flow.name, migration.since):
            yield (
                f"FinishOnOld takes {old!r}",
                f"give the definition of flow {flow.name!r} at version {migration.since}",
            )
        else:
            for step in migration.steps.keys() - old.by_name.keys():
                yield f"version {migration.since} has no step {step!r}", did_you_mean(step, old.by_name)


def _step_faults(flow: Declared, chain: Mapping[int, Migration], since: int, rule: Step) -> Iterator[tuple[str, str]]:
    """Follow a step through the later migrations to the current flow, and yield the faults on the way."""
    anew = isinstance(rule, ReplacedBy)
    for step in _leads_to(rule):
        places: list[tuple[int, str]] = [(since + 1, step)]
        while places:
            version, name = places.pop()
            if version < flow.version:
                later = chain[version].rule(name)
                anew = anew or isinstance(later, ReplacedBy)
                places += [(version + 1, next_name) for next_name in _leads_to(later)]
            elif name not in flow.by_name:
                yield f"it leads to {name!r}, which is not a state of {flow!r}", did_you_mean(name, flow.by_name)
            elif anew and flow[name].call:
                yield f"it leads to {name!r}, a call that was not proposed", "lead to the question before it"


def _leads_to(rule: Step) -> tuple[str, ...]:
    match rule:
        case str():
            return (rule,)
        case ReplacedBy():
            return rule.targets
        case _:
            return ()


def renamed(flow: Declared, step: str) -> frozenset[str]:
    """Return the current names of a step of any older version, as far as it is still the same step."""
    found: set[str] = set()
    for first in flow.migrations:
        name: Step = step
        for migration in sorted(flow.migrations, key=lambda item: item.since):
            if migration.since >= first.since and isinstance(name, str):
                name = migration.rule(name)
        if isinstance(name, str):
            found.add(name)
    return frozenset(found & flow.by_name.keys())
