"""The mutants of a flow: its states and transitions with one change.

A transition of several triggers or sources counts as one for each of them. The changes are those of an author's slip:
a transition is missing or leads elsewhere, a guard is missing or negated, a `prepare`, a call or an `into` is another.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import attrs

from vimbiso_fsm.flow.annotations import returned
from vimbiso_fsm.flow.callbacks import name_of
from vimbiso_fsm.flow.calls import Call
from vimbiso_fsm.flow.flow import AnyFlow
from vimbiso_fsm.flow.state import AnyState, AnyTransition, sequence

FlowParts = tuple[Sequence[AnyState], Sequence[AnyTransition], Sequence[Any]]
"""The states, the transitions and the guards of `requires`."""


@attrs.frozen(order=True)
class Mutant:
    """One change of one flow.

    Attributes:
        flow: The name of the flow.
        place: The transition or the state, or "requires".
        change: What is changed.
    """

    flow: str
    place: str
    change: str

    def __str__(self) -> str:
        return f"{self.flow}: {self.place}: {self.change}"


def mutants_of(flow: AnyFlow) -> Iterator[tuple[Mutant, FlowParts]]:
    """Yield the mutants of a flow, each with the parts that it has in place of the flow's."""
    edges, required = [*_edges(flow)], flow.required
    for mutant, changed in _of_transitions(flow, edges):
        yield mutant, (flow.states, changed, required)
    for mutant, states in _of_states(flow):
        yield mutant, (states, edges, required)
    for guard in required:
        left = [each for each in required if each is not guard]
        yield Mutant(flow.name, "requires", f"without {name_of(guard)}"), (flow.states, edges, left)


def _edges(flow: AnyFlow) -> Iterator[AnyTransition]:
    for way in flow.transitions:
        for source in way.sources:
            for trigger in way.triggers:
                yield _like(way, trigger=trigger, source=source)


def _like(part: Any, **changes: Any) -> Any:
    """Return a state or transition with changes, at the line of the original."""
    changed = attrs.evolve(part, **changes)
    object.__setattr__(changed, "made", part.made)
    return changed


def _of_transitions(flow: AnyFlow, edges: list[AnyTransition]) -> Iterator[tuple[Mutant, list[AnyTransition]]]:
    names = [state.name for state in flow.states]
    prepares = list(dict.fromkeys(way.prepare for way in edges if way.prepare is not None))
    for place, way in enumerate(edges):
        guards = "".join(f", {name_of(guard)}" for guard in way.guards)
        label = f"{way.trigger} {way.source} -> {way.dest}{guards}"

        def mutant(change: str, *others: AnyTransition, place: int = place, label: str = label) -> Any:
            return Mutant(flow.name, label, change), [*edges[:place], *others, *edges[place + 1 :]]

        yield mutant("removed")
        other = names[(names.index(way.dest) + 1) % len(names)]
        yield mutant(f"leads to {other}", _like(way, dest=other))
        asks, refuses = sequence(way.conditions), sequence(way.unless)
        for guard in way.guards:
            asked, refused = (tuple(each for each in part if each is not guard) for part in (asks, refuses))
            yield mutant(f"without {name_of(guard)}", _like(way, conditions=asked, unless=refused))
            negated = (asked, (*refused, guard)) if guard in asks else ((*asked, guard), refused)
            yield mutant(f"{name_of(guard)} negated", _like(way, conditions=negated[0], unless=negated[1]))
        if way.prepare is not None:
            yield mutant(f"without {name_of(way.prepare)}", _like(way, prepare=None))
            for prepare in [each for each in prepares if each is not way.prepare][:1]:
                yield mutant(f"{name_of(prepare)} for {name_of(way.prepare)}", _like(way, prepare=prepare))


def _of_states(flow: AnyFlow) -> Iterator[tuple[Mutant, list[AnyState]]]:
    states, fields = [*flow.states], [*flow.fields]
    for place, state in enumerate(states):

        def mutant(change: str, other: AnyState, place: int = place, name: str = state.name) -> Any:
            return Mutant(flow.name, f"state {name}", change), [*states[:place], other, *states[place + 1 :]]

        if state.call is not None:
            for other in [each for each in _calls_beside(state.call) if each is not state.call][:1]:
                yield mutant(f"{name_of(other)} for {name_of(state.call)}", _like(state, call=other))
        if state.into is not None:
            yield mutant(f"without into {state.into}", _like(state, into=None))
            for field in [name for name in fields if name != state.into][:1]:
                yield mutant(f"into {field} for {state.into}", _like(state, into=field))


def _calls_beside(call: Callable[..., Any]) -> list[Callable[..., Any]]:
    """Return the functions that propose calls in the module of one of them, those after it first."""
    module = vars(sys.modules[call.__module__])
    found = [each for each in module.values() if getattr(each, "__module__", "") == call.__module__ and _proposes(each)]
    place = found.index(call) + 1 if call in found else 0
    return [*found[place:], *found[:place]]


def _proposes(value: Any) -> bool:
    return callable(value) and not isinstance(value, type) and getattr(returned(value), "__origin__", None) is Call
