"""The checks of a flow's declaration.

They run when the flow is made, and raise the first fault as a `FlowError`. They take a `Declared`, because `Flow`
imports this module.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import takewhile
from typing import Any, Final

import attrs

from vimbiso_fsm.document.data_types import DataType, data_type
from vimbiso_fsm.document.shape import RESERVED
from vimbiso_fsm.document.typed_data import name_of
from vimbiso_fsm.errors import FlowError, UnstorableType
from vimbiso_fsm.flow.annotations import called, field_type, fits, returned
from vimbiso_fsm.flow.callbacks import callback_faults
from vimbiso_fsm.flow.effect_loops import effect_loop
from vimbiso_fsm.flow.state import RESERVED_TRIGGERS, AnyState, AnyTransition, Declared, State, Transition, sequence
from vimbiso_fsm.flow.timeouts import timeout_fault
from vimbiso_fsm.messages.bounds import check_seconds
from vimbiso_fsm.messages.replies import ASKED, SAID

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,47}")
_WORDS: Final = frozenset({"filed", "foiled"})
"""English words that differ from a reserved trigger by one letter, as a typing error would."""


def check_data(flow: Declared) -> None:
    """Check the flow's name, version and data class."""
    if not _is_name(flow.name):
        raise FlowError(str(flow.name), "", "the name must be lower-case letters, digits and underscores", "rename it")
    if type(flow.version) is not int or flow.version < 1:
        raise FlowError(flow.name, "", f"version is {flow.version!r}", "versions count 1, 2, 3 …")
    if flow.late_text not in ("decide", "close"):
        raise FlowError(flow.name, "late_text", f"it is {flow.late_text!r}", 'give "decide" or "close"')
    if flow.opens not in ("after", "now"):
        raise FlowError(flow.name, "opens", f"it is {flow.opens!r}", 'give "after" or "now"')
    if flow.session is not None:
        check_seconds(f"flow {flow.name!r}", "session", flow.session)
    if not _is_data_class(flow.data):
        raise FlowError(flow.name, "data", "it is not an attrs class", "decorate it with @attrs.frozen")
    for field in attrs.fields(flow.data):
        if field.name in RESERVED | {"member_id"} or field.name.startswith("_"):
            raise FlowError(flow.name, "data", f"field {field.name!r} has a reserved name", "rename the field")
        if field.default is attrs.NOTHING:
            raise FlowError(
                flow.name, "data", f"field {field.name!r} has no default", "give it one: a run starts with no answers"
            )


def proven_data(flow: Declared) -> DataType[Any]:
    """Return the data class of a flow, proven to be read back equal.

    Raises:
        FlowError: A field has a type whose values cannot be stored and read back.
    """
    try:
        return data_type(flow.data)
    except UnstorableType as error:
        place = f"field {error.path!r}" if error.path else flow.data.__name__
        raise FlowError(flow.name, "data", f"{place} {error.fault}", error.remedy) from None


def check_marks(flow: Declared, public: frozenset[str], secrets: frozenset[str]) -> None:
    """Check that no field is to be shown that has a secret inside."""
    for name in sorted(public & secrets):
        raise FlowError(
            flow.name,
            "data",
            f"field {name!r} is marked PUBLIC, and a field within it is marked SECRET",
            "remove one of the marks",
        )


def check_frozen(flow: Declared) -> None:
    """Check that values of the data class cannot be changed in place.

    A guard that changes its turn would change what is stored, also when it declines.
    """
    values, fields = flow.data(), attrs.fields(flow.data)
    for field in fields[:1]:
        try:
            setattr(values, field.name, getattr(values, field.name))
        except attrs.exceptions.FrozenInstanceError:
            return
        fault = f"values of {flow.data.__name__} can be changed in place"
        raise FlowError(flow.name, "data", fault, "decorate it with @attrs.frozen, and change a copy by attrs.evolve")


def check_depends(flow: Declared) -> None:
    """Check the fields of `depends`, and that no field depends on itself."""
    given: object = flow.depends
    if not isinstance(given, Mapping):
        raise FlowError(flow.name, "depends", f"it is a {type(given).__name__}", "give {field: field or fields}")
    for name, given_sources in flow.depends.items():
        sources: tuple[str, ...] = sequence(given_sources)
        if not sources:
            raise FlowError(flow.name, "depends", f"field {name!r} depends on nothing", "name its sources or remove it")
        for field in (name, *sources):
            if field not in flow.fields:
                fault = f"it names field {field!r}, which {flow.data.__name__} lacks"
                raise FlowError(flow.name, "depends", fault, did_you_mean(str(field), flow.fields))
    for name in flow.depends:
        if name in made_from(flow, name):
            raise FlowError(
                flow.name,
                "depends",
                f"field {name!r} depends on itself",
                "name only the fields that it is made from directly",
            )


def check_states(flow: Declared) -> None:
    """Check that states have names of their own and that the initial state is one of them."""
    names: set[str] = set()
    for state in flow.states:
        if not isinstance(state, State):
            raise FlowError(flow.name, "states", f"holds a {type(state).__name__}", "declare each with State(…)")
        if not _is_name(state.name):
            raise FlowError(flow.name, f"state {state.name!r}", "the name must be lower-case letters, digits and _")
        if state.name in names:
            raise FlowError(flow.name, f"state {state.name!r}", "it is declared twice", "rename or remove one")
        names.add(state.name)
    if flow.initial not in names:
        raise FlowError(
            flow.name,
            f"state {flow.initial!r}",
            "initial names it, but it is not declared",
            did_you_mean(flow.initial, names),
        )


def check_transitions(flow: Declared) -> None:
    """Check the triggers, sources, destination and callbacks of each transition."""
    for transition in flow.transitions:
        if not isinstance(transition, Transition):
            raise FlowError(
                flow.name, "transitions", f"holds a {type(transition).__name__}", "declare each with Transition(…)"
            )
        place = f"transition {transition.trigger!r}"
        if not transition.triggers:
            raise FlowError(flow.name, place, "it has no trigger", "name one, or several in a list")
        for trigger in transition.triggers:
            if not _is_name(trigger):
                raise FlowError(
                    flow.name, f"transition {trigger!r}", "a trigger is lower-case letters, digits and underscores"
                )
            if (meant := meant_trigger(trigger)) is not None:
                fault = f"{trigger!r} would be a button, and is nearly the reserved trigger {meant!r}"
                remedy = f"did you mean {meant!r}? A button needs another name"
                raise FlowError(flow.name, f"transition {trigger!r}", fault, remedy)
        for name in (*transition.sources, transition.dest):
            if name == "*":
                raise FlowError(flow.name, place, "'*' is not a source", "list the states")
            if name not in flow.by_name:
                raise FlowError(
                    flow.name,
                    f"state {name!r}",
                    f"{place} names it, but no State({name!r}) is declared",
                    did_you_mean(name, flow.by_name),
                )
        for callback in (*transition.guards, *sequence(transition.prepare)):
            if not callable(callback):
                raise FlowError(flow.name, place, f"{callback!r} is not a function", "name callbacks by reference")
        _check_callbacks(flow, place, [("prepare", transition.prepare), *(("guard", g) for g in transition.guards)])


def check_requires(flow: Declared, guards: Iterable[object]) -> None:
    """Check the guards of `requires`."""
    for guard in guards:
        if not callable(guard):
            raise FlowError(flow.name, "requires", f"{guard!r} is not a function", "name callbacks by reference")
    _check_callbacks(flow, "requires", [("guard", guard) for guard in guards])


def check_state(flow: Declared, state: AnyState) -> None:
    """Check the slots of a state and its transitions."""
    for fault, remedy in _state_faults(flow, state):
        raise FlowError(flow.name, f"state {state.name!r}", fault, remedy)


def check_guards_apart(flow: Declared) -> None:
    """Check that transitions of one state and trigger differ in their guards, so that each can fire."""
    for (source, trigger), ways in flow.by_trigger.items():
        for place, earlier in enumerate(ways):
            for later in ways[place + 1 :]:
                always = not earlier.guards
                if always or _asks(earlier) == _asks(later):
                    raise FlowError(
                        flow.name,
                        f"state {source!r}",
                        f"transition {trigger!r} to {later.dest!r} can never be told from the one to {earlier.dest!r}",
                        "give the earlier one a guard that can decline" if always else "give them different guards",
                    )


def check_facts(flow: Declared) -> None:
    """Check that each fact has a transition that no guard can refuse.

    Facts are the answer of a call with an effect, and the end of a sub-flow. A call that only reads changes nothing, so
    that guards may refuse its answer; it counts as failed then.
    """
    for state in flow.states:
        facts = ("done", "cancelled") if state.flow else ("done",) if state.call and state.call_policy.effect else ()
        for trigger in facts:
            ways = flow.by_trigger.get((state.name, trigger), ())
            if all(way.guards for way in ways):
                dest = ways[-1].dest if ways else state.name
                reads = ", or policy=READ_ONLY if the call only reads" if state.call else ""
                raise FlowError(
                    flow.name,
                    f"state {state.name!r}",
                    f"each transition {trigger!r} has a guard, and a guard cannot refuse what has happened",
                    f"add a last one without guards, such as Transition({trigger!r}, {state.name!r}, {dest!r}){reads}",
                )


def check_effects(flow: Declared) -> None:
    """Check that no effect leads back to its own state without a word of the member."""
    name = effect_loop(flow)
    if name is not None:
        raise FlowError(
            flow.name,
            f"state {name!r}",
            "its effect leads back to it without a word of the member, so that it would be made again and again",
            "lead the way through a question, or give a call that only reads policy=READ_ONLY",
        )


def check_reachable(flow: Declared) -> None:
    """Check that transitions lead to every state."""
    reached, fresh = {flow.initial}, [flow.initial]
    while fresh:
        source = fresh.pop()
        for transition in flow.transitions:
            if source in transition.sources and transition.dest not in reached:
                reached.add(transition.dest)
                fresh.append(transition.dest)
    for state in flow.states:
        if state.name not in reached:
            raise FlowError(flow.name, f"state {state.name!r}", "no transition leads to it", "add one or remove it")


def made_from(flow: Declared, name: str) -> set[str]:
    """Return the fields that a field was made from, directly or by way of others."""
    found: set[str] = set()
    fresh = [name]
    while fresh:
        sources: tuple[str, ...] = sequence(flow.depends.get(fresh.pop()))
        fresh += set(sources) - found
        found.update(sources)
    return found


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the remedy for an unknown name: the most similar known name, or all known names."""
    import difflib  # here, because only a mistake needs it

    close = difflib.get_close_matches(name, sorted(known), n=1)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(sorted(known))}"


def meant_trigger(name: str) -> str | None:
    """Return the reserved trigger that a button's name is probably a misspelling of, None if there is none.

    A misspelling has two neighbouring letters swapped or one letter doubled. In a trigger of at least six letters it
    may also have one letter left out, added or replaced, except for the first letter and for letters after the end:
    `answer1` and `answers` are other names. Short triggers get no more tolerance, because `one`, `none` and `auth`
    are good names for buttons.
    """
    for trigger in sorted(RESERVED_TRIGGERS - {name}):
        if name in _slips(trigger) or (len(trigger) >= 6 and _differs_by_one(name, trigger)):
            return trigger
    return None


def _check_callbacks(flow: Declared, place: str, callbacks: Iterable[tuple[str, Any]]) -> None:
    for slot, callback in callbacks:
        for fault, remedy in callback_faults(slot, callback, flow.data) if callback is not None else ():
            raise FlowError(flow.name, place, fault, remedy)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _is_data_class(value: object) -> bool:
    return isinstance(value, type) and attrs.has(value)


def _state_faults(flow: Declared, state: AnyState) -> Iterator[tuple[str, str]]:
    triggers = {trigger for source, trigger in flow.by_trigger if source == state.name}
    kinds = [name for name in ("final", "call", "flow") if getattr(state, name)]
    if state.rows is not None or state.is_question:
        kinds.append("a question")
    if len(kinds) > 1:
        yield "it has more than one role: " + ", ".join(kinds), "split the state"
    yield from _slot_faults(flow, state)
    yield from _into_faults(flow, state)
    if state.final:
        if triggers:
            yield f"it is final and has transition {min(triggers)!r}", "remove one of the two"
        if state.timeout is not None:
            yield "it is final and has a timeout, which would never fire", "remove one of the two"
        return
    if state.cancels or state.output is not None:
        yield "cancels and output belong to final states", "say final=True or remove them"
    if not triggers:
        yield "it is a dead end", "give it a transition or say final=True"
    yield from _trigger_faults(state, triggers)
    yield from _timeout_faults(state, triggers)
    yield from _empty_faults(flow, state)
    yield from _policy_faults(state)


def _slot_faults(flow: Declared, state: AnyState) -> Iterator[tuple[str, str]]:
    for slot in ("ask", "say"):
        words: object = getattr(state, slot)
        taken = ASKED if slot == "ask" else SAID
        if words is not None and not isinstance(words, taken) and not callable(words):
            yield f"{slot} is a {type(words).__name__}", f"give {slot}=Text(…) or a function that returns one"
        elif callable(words):
            yield from callback_faults(slot, words, flow.data)
    for slot in ("reads", "rows", "call", "input", "output", "reminds"):
        callback: object = getattr(state, slot)
        if callback is not None and not callable(callback):
            yield f"{slot} is a {type(callback).__name__}", "name callbacks by reference"
        elif callback is not None:
            yield from callback_faults(slot, callback, flow.data)
    if state.hands is not None and not (state.idle or state.final):
        yield (
            "hands over and waits in the same state",
            "let a state of its own hand over and go on by 'auto', or be final",
        )
    if callable(state.timeout):
        yield from callback_faults("timeout", state.timeout, flow.data)
    subflow: object = state.flow
    if subflow is not None and not isinstance(subflow, type(flow)):
        yield f"flow is a {type(subflow).__name__}", "give the flow itself, made with Flow(…)"


def _into_faults(flow: Declared, state: AnyState) -> Iterator[tuple[str, str]]:
    if state.into is not None and state.into not in flow.fields:
        yield (
            f"into names field {state.into!r}, which {flow.data.__name__} lacks",
            did_you_mean(state.into, flow.fields),
        )
    if state.into is not None and not (state.reads or state.rows or state.call or state.flow):
        yield f"nothing ever writes into {state.into!r}", "give it reads, rows, call or flow, or remove into"
    if (state.reads or state.rows) and not state.asks:
        yield "it takes an answer but asks no question", "give it ask=Text(…)"
    if state.input and not state.flow:
        yield "it has input but no flow", "name the sub-flow with flow="
    if state.into is not None and state.into in flow.fields:
        yield from _answer_faults(flow, state, state.into)
    if state.input and isinstance(state.flow, type(flow)) and not fits(returned(state.input), state.flow.data):
        given, taken = name_of(returned(state.input)), state.flow.data.__name__
        yield f"input returns {given}, but flow {state.flow.name!r} takes {taken}", f"return a {taken}"


def _answer_faults(flow: Declared, state: AnyState, into: str) -> Iterator[tuple[str, str]]:
    """Find answers that their field cannot hold, as far as the annotations say."""
    answers: list[tuple[str, object]] = []
    if state.reads:
        answers.append(("reads", returned(state.reads)))
    if state.call:
        answers.append(("the call", called(state.call)))
    if isinstance(state.flow, type(flow)):
        for end in state.flow.states:
            if end.final and not end.cancels:
                ending = f"state {end.name!r} of flow {state.flow.name!r}"
                answers.append((ending, returned(end.output) if end.output else None))
    wanted = field_type(flow.data, into)
    for source, given in answers:
        if not fits(given, wanted):
            fault = f"{source} gives {name_of(given)}, but field {into!r} takes {name_of(wanted)}"
            yield fault, "give the field that type, or the answer"


def _trigger_faults(state: AnyState, triggers: set[str]) -> Iterator[tuple[str, str]]:
    needed = {"done", "failed"} if state.call else {"done", "cancelled"} if state.flow else set[str]()
    if state.idle:
        needed = {"auto"}
        if triggers - {"auto"}:
            yield "it waits for an answer but asks no question", "give it ask=Text(…)"
    for trigger in sorted(needed - triggers):
        yield f"it has no transition {trigger!r}", f"say where {trigger!r} leads"
    allowed = needed or {"answer", "timeout", "empty", *_buttons(triggers)}
    for trigger in sorted(triggers - allowed - {"timeout"}):
        yield f"trigger {trigger!r} can never come here", "remove the transition"
    if "answer" in triggers and not (state.reads or state.rows):
        yield "it has transition 'answer' but neither reads nor rows", "say how an answer is read"
    if (state.reads or state.rows) and "answer" not in triggers:
        yield "it takes an answer but has no transition 'answer'", "say where an answer leads"


def _timeout_faults(state: AnyState, triggers: set[str]) -> Iterator[tuple[str, str]]:
    if (
        state.call and state.timeout is not None
    ):  # the reply must not say "not sent" of an effect that may have happened
        yield "a state with a call has no timeout", "let the service give up, and take its 'failed'"
    if state.flow and state.timeout is not None:  # the run stands in the sub-flow, which no timer of this state ends
        yield "a sub-flow has no timeout", "give its own questions a timeout"
    if (state.timeout is not None) != ("timeout" in triggers):
        yield "timeout= and a transition 'timeout' belong together", "add the missing one"
    if state.timeout is not None and (fault := timeout_fault(state.timeout)):
        times = "seconds or a timedelta, more than 0 and at most ten years, or a datetime with a time zone"
        yield fault, f"give {times}, or a function of the turn that returns one of these"


def _empty_faults(flow: Declared, state: AnyState) -> Iterator[tuple[str, str]]:
    ways = flow.by_trigger.get((state.name, "empty"), ()) if state.is_question else ()
    if not ways:
        return
    if state.reads is not None:
        yield "trigger 'empty' can never come here, because an answer can be typed", "remove the transition"
    for button in _always_shown(flow, state):
        yield f"trigger 'empty' can never come here, because button {button!r} is always shown", "remove one of the two"
    if state.rows is None and not any(key[0] == state.name and _is_button(flow, key) for key in flow.by_trigger):
        yield (
            "it has nothing to choose from, so it is always empty",
            "give it rows or buttons, or remove the transition",
        )
    if any(way.dest == state.name for way in ways):
        yield "transition 'empty' leads back to the state that is empty", "let it lead to another state"


def may_be_empty(flow: Declared) -> Iterator[str]:
    """Yield the questions that may have nothing to choose from and do not say where that leads.

    Such a question is only answered by a choice, each of its buttons has a guard that may hide it, and it has neither
    a transition `empty` nor a timeout. A member who meets it empty is told so and is given a button to the menu.
    """
    for state in flow.states:
        if not state.is_question or state.reads is not None or state.timeout is not None:
            continue
        triggers = {trigger for source, trigger in flow.by_trigger if source == state.name}
        if any((state.name, trigger) in flow.events for trigger in triggers):
            continue  # it waits for another system
        if "empty" not in triggers and not _always_shown(flow, state):
            yield state.name


def _buttons(triggers: Iterable[str]) -> list[str]:
    return [trigger for trigger in triggers if trigger not in RESERVED_TRIGGERS]


def _always_shown(flow: Declared, state: AnyState) -> list[str]:
    """Return the buttons of a state that no guard can hide."""
    return [
        trigger
        for (source, trigger), ways in flow.by_trigger.items()
        if source == state.name and _is_button(flow, (source, trigger)) and any(not way.guards for way in ways)
    ]


def _is_button(flow: Declared, key: tuple[str, str]) -> bool:
    """Whether a trigger of a state is a button: the member fires it, and not the framework or another system."""
    return key[1] not in RESERVED_TRIGGERS and key not in flow.events


def _policy_faults(state: AnyState) -> Iterator[tuple[str, str]]:
    if state.policy is not None and not state.call:
        yield "policy= belongs to a call", "remove it, or give the state its call="


def _asks(transition: AnyTransition) -> tuple[frozenset[object], frozenset[object]]:
    """Return the guards that decide whether a transition accepts."""
    return frozenset(sequence(transition.conditions)), frozenset(sequence(transition.unless))


def _slips(word: str) -> set[str]:
    """Return the word with two neighbouring letters swapped, or one letter doubled."""
    swapped = {word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in range(len(word) - 1)}
    return swapped | {word[: i + 1] + word[i:] for i in range(len(word))}


def _differs_by_one(name: str, trigger: str) -> bool:
    if name[:1] != trigger[0] or name.startswith(trigger) or name in _WORDS:
        return False
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(name, trigger, strict=False)))
    rest, meant = name[same:], trigger[same:]
    return rest[1:] == meant[1:] or rest == meant[1:] or rest[1:] == meant
