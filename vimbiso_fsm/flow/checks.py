"""The checks of a flow's declaration.

They run when the flow is made, and find all faults at once. They take a `Declared`, because `Flow` imports this module.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from vimbiso_fsm.errors import FlowError, FlowFault
from vimbiso_fsm.flow.data_checks import class_faults
from vimbiso_fsm.flow.effect_loops import effect_loop
from vimbiso_fsm.flow.spelling import did_you_mean, is_name, meant_trigger
from vimbiso_fsm.flow.state import AnyState, AnyTransition, Declared, State, Transition, sequence
from vimbiso_fsm.flow.state_checks import faults_of, state_faults
from vimbiso_fsm.messages.bounds import check_seconds


def shape_faults(flow: Declared) -> Iterator[FlowFault]:
    """Yield the faults without whose cure nothing else of the flow can be judged: parts of a wrong type."""
    if not is_name(flow.name):
        fault = "the name must be lower-case letters, digits and underscores"
        yield FlowFault(str(flow.name), "", fault, "rename it", "wrong-name", flow.made)
    yield from class_faults(flow)
    for kind, parts in ((State, flow.states), (Transition, flow.transitions)):
        slot = "states" if kind is State else "transitions"
        for part in parts:
            if not isinstance(part, kind):
                fault = f"holds a {type(part).__name__}"
                remedy = f"declare each with {kind.__name__}(…)"
                yield FlowFault(flow.name, slot, fault, remedy, "wrong-declaration", flow.made)
            elif isinstance(part, State) and not is_name(part.name):
                fault = "the name must be lower-case letters, digits and _"
                yield FlowFault(flow.name, f"state {part.name!r}", fault, "", "wrong-name", part.made)
            elif isinstance(part, State) and part.flow is not None and not isinstance(part.flow, type(flow)):
                fault, remedy = f"flow is a {type(part.flow).__name__}", "give the flow itself, made with Flow(…)"
                yield FlowFault(flow.name, f"state {part.name!r}", fault, remedy, "wrong-declaration", part.made)


def setting_faults(flow: Declared) -> Iterator[FlowFault]:
    """Yield the faults of the version and of the other settings of a flow."""
    if type(flow.version) is not int or flow.version < 1:
        yield _of_flow(flow, "", f"version is {flow.version!r}", "versions count 1, 2, 3 …")
    if flow.late_text not in ("decide", "close"):
        yield _of_flow(flow, "late_text", f"it is {flow.late_text!r}", 'give "decide" or "close"')
    if flow.opens not in ("after", "now"):
        yield _of_flow(flow, "opens", f"it is {flow.opens!r}", 'give "after" or "now"')
    if flow.session is not None:
        try:
            check_seconds(f"flow {flow.name!r}", "session", flow.session)
        except FlowError as error:
            yield from error.faults


def graph_faults(flow: Declared, guards: Iterable[object]) -> Iterator[FlowFault]:
    """Yield the faults of states and transitions, and of the guards of `requires`.

    A misspelt name is named once: the states that it leaves without a way, or without a way to them, are not.
    """
    yield from _requires_faults(flow, guards)
    yield from _name_faults(flow)
    for transition in flow.transitions:
        yield from _transition_faults(flow, transition)
    known = flow.by_name.keys()
    sources_known = all(way.triggers and known >= set(way.sources) for way in flow.transitions)
    targets_known = all(transition.dest in known for transition in flow.transitions) and flow.initial in known
    for state in flow.states:
        yield from state_faults(flow, state, ways_known=sources_known)
    yield from _apart_faults(flow)
    if sources_known and targets_known:
        yield from _reachable_faults(flow)
        yield from _fact_faults(flow)
        yield from _effect_faults(flow)


def _requires_faults(flow: Declared, guards: Iterable[object]) -> Iterator[FlowFault]:
    for guard in guards:
        if callable(guard):
            yield from faults_of(flow, "requires", "guard", guard, flow.made)
        else:
            fault = f"{guard!r} is not a function"
            yield FlowFault(flow.name, "requires", fault, "name callbacks by reference", "not-a-function", flow.made)


def _name_faults(flow: Declared) -> Iterator[FlowFault]:
    """Yield states that have no name of their own, and an initial state that is none of them."""
    names: set[str] = set()
    for state in flow.states:
        if state.name in names:
            yield _of_state(flow, state, "duplicate-state", "it is declared twice", "rename or remove one")
        names.add(state.name)
    if flow.initial not in names:
        place, fault = f"state {flow.initial!r}", "initial names it, but it is not declared"
        yield FlowFault(flow.name, place, fault, did_you_mean(flow.initial, names), "unknown-state", flow.made)


def _transition_faults(flow: Declared, transition: AnyTransition) -> Iterator[FlowFault]:
    """Yield the faults of the triggers, sources, destination and callbacks of a transition."""

    def fault_of(place: str, code: str, fault: str, remedy: str = "") -> FlowFault:
        return FlowFault(flow.name, place, fault, remedy, code, transition.made)

    place = f"transition {transition.trigger!r}"
    if not transition.triggers:
        yield fault_of(place, "wrong-declaration", "it has no trigger", "name one, or several in a list")
    for trigger in transition.triggers:
        if not is_name(trigger):
            fault = "a trigger is lower-case letters, digits and underscores"
            yield fault_of(f"transition {trigger!r}", "wrong-name", fault)
        elif (meant := meant_trigger(trigger)) is not None:
            fault = f"{trigger!r} would be a button, and is nearly the reserved trigger {meant!r}"
            remedy = f"did you mean {meant!r}? A button needs another name"
            yield fault_of(f"transition {trigger!r}", "misspelt-trigger", fault, remedy)
    for name in dict.fromkeys((*transition.sources, transition.dest)):
        if name == "*":
            yield fault_of(place, "unknown-state", "'*' is not a source", "list the states")
        elif name not in flow.by_name:
            fault = f"{place} names it, but no State({name!r}) is declared"
            yield fault_of(f"state {name!r}", "unknown-state", fault, did_you_mean(name, flow.by_name))
    callbacks: list[tuple[str, object]] = [
        ("prepare", transition.prepare),
        *(("guard", guard) for guard in transition.guards),
    ]
    for slot, callback in callbacks:
        if callback is None:
            continue
        if not callable(callback):
            yield fault_of(place, "not-a-function", f"{callback!r} is not a function", "name callbacks by reference")
        else:
            yield from faults_of(flow, place, slot, callback, transition.made)


def _apart_faults(flow: Declared) -> Iterator[FlowFault]:
    """Yield transitions of one state and trigger that do not differ in their guards, so that one can never fire."""
    named: set[int] = set()
    for (source, trigger), ways in flow.by_trigger.items():
        for earlier, later in itertools.combinations(ways, 2):
            always = not earlier.guards
            if id(later) not in named and (always or _asks(earlier) == _asks(later)):
                named.add(id(later))
                fault = f"transition {trigger!r} to {later.dest!r} can never be told from the one to {earlier.dest!r}"
                remedy = "give the earlier one a guard that can decline" if always else "give them different guards"
                code = "shadowed-transition" if always and later.guards else "duplicate-transition"
                yield FlowFault(flow.name, f"state {source!r}", fault, remedy, code, later.made)


def _fact_faults(flow: Declared) -> Iterator[FlowFault]:
    """Yield facts of which a guard can refuse each transition.

    Facts are the answer of a call with an effect, and the end of a sub-flow. A call that only reads changes nothing, so
    that guards may refuse its answer; it counts as failed then.
    """
    for state in flow.states:
        facts = ("done", "cancelled") if state.flow else ("done",) if state.call and state.call_policy.effect else ()
        for trigger in facts:
            ways = flow.by_trigger.get((state.name, trigger), ())
            if ways and all(way.guards for way in ways):
                dest = ways[-1].dest
                reads = ", or policy=READ_ONLY if the call only reads" if state.call else ""
                fault = f"each transition {trigger!r} has a guard, and a guard cannot refuse what has happened"
                remedy = (
                    f"add a last one without guards, such as Transition({trigger!r}, {state.name!r}, {dest!r}){reads}"
                )
                yield _of_state(flow, state, "fact-refused", fault, remedy)


def _effect_faults(flow: Declared) -> Iterator[FlowFault]:
    """Yield an effect that leads back to its own state without a word of the member."""
    name = effect_loop(flow)
    if name is not None:
        fault = "its effect leads back to it without a word of the member, so that it would be made again and again"
        remedy = "lead the way through a question, or give a call that only reads policy=READ_ONLY"
        yield _of_state(flow, flow[name], "effect-twice", fault, remedy)


def _reachable_faults(flow: Declared) -> Iterator[FlowFault]:
    """Yield the states to which no transitions lead."""
    reached, fresh = {flow.initial}, [flow.initial]
    while fresh:
        source = fresh.pop()
        for transition in flow.transitions:
            if source in transition.sources and transition.dest not in reached:
                reached.add(transition.dest)
                fresh.append(transition.dest)
    for state in flow.states:
        if state.name not in reached:
            yield _of_state(flow, state, "unreachable-state", "no transition leads to it", "add one or remove it")


def _asks(transition: AnyTransition) -> tuple[frozenset[object], frozenset[object]]:
    """Return the guards that decide whether a transition accepts."""
    return frozenset(sequence(transition.conditions)), frozenset(sequence(transition.unless))


def _of_state(flow: Declared, state: AnyState, code: str, fault: str, remedy: str) -> FlowFault:
    return FlowFault(flow.name, f"state {state.name!r}", fault, remedy, code, state.made)


def _of_flow(flow: Declared, place: str, fault: Any, remedy: str) -> FlowFault:
    return FlowFault(flow.name, place, fault, remedy, "wrong-declaration", flow.made)
