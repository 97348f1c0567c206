"""The faults of one state of a flow: its slots, its transitions, and the types of what it stores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

from vimbiso_fsm.document.typed_data import name_of
from vimbiso_fsm.errors import FlowFault
from vimbiso_fsm.flow.annotations import called, field_type, fits, returned
from vimbiso_fsm.flow.callbacks import callback_faults
from vimbiso_fsm.flow.spelling import did_you_mean
from vimbiso_fsm.flow.state import RESERVED_TRIGGERS, AnyState, Declared, sequence
from vimbiso_fsm.flow.timeouts import timeout_fault
from vimbiso_fsm.made import Made, made_of
from vimbiso_fsm.messages.replies import ASKED, SAID

Found: TypeAlias = Iterator[tuple[str, str, str]]
"""Faults, each as its code, what is wrong and what to do."""

IN_THE_CALLBACK = frozenset({"guard-async", "callback-async", "guard-returns-other", "callback-returns-other"})
"""The codes of faults that are in the code of a callback; the others are where the callback is named."""


def state_faults(flow: Declared, state: AnyState, *, ways_known: bool) -> Iterator[FlowFault]:
    """Yield the faults of a state.

    Args:
        flow: The flow, with its tables of fields, states and triggers.
        state: The state.
        ways_known: Whether each transition leaves known states. Otherwise no transition is missed here, because a
            misspelt name can be the one of this state.
    """
    place = f"state {state.name!r}"
    for code, fault, remedy in _declared(flow, state, ways_known=ways_known):
        yield FlowFault(flow.name, place, fault, remedy, code, state.made)
    for slot in ("ask", "say", "reads", "rows", "call", "input", "output", "reminds", "timeout"):
        callback: object = getattr(state, slot)
        if callable(callback) and not (slot in ("ask", "say") and isinstance(callback, SAID)):
            yield from faults_of(flow, place, slot, callback, state.made)


def faults_of(
    flow: Declared, place: str, slot: str, callback: Callable[..., Any], declared: Made
) -> Iterator[FlowFault]:
    """Yield the faults of a callback that show without calling it.

    Args:
        flow: The flow.
        place: The state or the transition that names the callback.
        slot: Its slot.
        callback: The callback.
        declared: The line at which the state or the transition was made.
    """
    for code, fault, remedy in callback_faults(slot, callback, flow.data):
        within = made_of(callback) if code in IN_THE_CALLBACK else declared
        yield FlowFault(flow.name, place, fault, remedy, code, within if within.file else declared)


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


def _declared(flow: Declared, state: AnyState, *, ways_known: bool) -> Found:
    triggers = {trigger for source, trigger in flow.by_trigger if source == state.name}
    kinds = [name for name in ("final", "call", "flow") if getattr(state, name)]
    if state.rows is not None or state.is_question:
        kinds.append("a question")
    if len(kinds) > 1:
        yield "state-roles", "it has more than one role: " + ", ".join(kinds), "split the state"
    yield from _slot_faults(flow, state)
    yield from _into_faults(flow, state)
    if state.final:
        if triggers:
            yield "final-with-transition", f"it is final and has transition {min(triggers)!r}", "remove one of the two"
        if state.timeout is not None:
            fault = "it is final and has a timeout, which would never fire"
            yield "timeout-misplaced", fault, "remove one of the two"
        return
    if state.cancels or state.output is not None:
        yield "slot-misplaced", "cancels and output belong to final states", "say final=True or remove them"
    if len(kinds) <= 1:
        if triggers:
            yield from _trigger_faults(state, triggers, ways_known=ways_known)
        elif ways_known:
            yield "dead-end", "it is a dead end", "give it a transition or say final=True"
    yield from _timeout_faults(state, triggers, ways_known=ways_known)
    yield from _empty_faults(flow, state)
    if state.policy is not None and not state.call:
        yield "slot-misplaced", "policy= belongs to a call", "remove it, or give the state its call="


def _slot_faults(flow: Declared, state: AnyState) -> Found:
    for slot in ("ask", "say"):
        words: object = getattr(state, slot)
        taken = ASKED if slot == "ask" else SAID
        if words is not None and not isinstance(words, taken) and not callable(words):
            fault = f"{slot} is a {type(words).__name__}"
            yield "wrong-declaration", fault, f"give {slot}=Text(…) or a function that returns one"
    for slot in ("reads", "rows", "call", "input", "output", "reminds"):
        callback: object = getattr(state, slot)
        if callback is not None and not callable(callback):
            yield "not-a-function", f"{slot} is a {type(callback).__name__}", "name callbacks by reference"
    if state.hands is not None and not (state.idle or state.final):
        remedy = "let a state of its own hand over and go on by 'auto', or be final"
        yield "slot-misplaced", "hands over and waits in the same state", remedy


def _into_faults(flow: Declared, state: AnyState) -> Found:
    if state.into is not None and state.into not in flow.fields:
        fault = f"into names field {state.into!r}, which {flow.data.__name__} lacks"
        yield "unknown-field", fault, did_you_mean(state.into, flow.fields)
    if state.into is not None and not (state.reads or state.rows or state.call or state.flow):
        fault = f"nothing ever writes into {state.into!r}"
        yield "slot-misplaced", fault, "give it reads, rows, call or flow, or remove into"
    if (state.reads or state.rows) and not state.asks:
        yield "waiting-without-question", "it takes an answer but asks no question", "give it ask=Text(…)"
    if state.input and not state.flow:
        yield "slot-misplaced", "it has input but no flow", "name the sub-flow with flow="
    if state.into is not None and state.into in flow.fields:
        yield from _answer_faults(flow, state, state.into)
    if (
        callable(state.input)
        and isinstance(state.flow, type(flow))
        and not fits(returned(state.input), state.flow.data)
    ):
        given, taken = name_of(returned(state.input)), state.flow.data.__name__
        fault = f"input returns {given}, but flow {state.flow.name!r} takes {taken}"
        yield "input-wrong-type", fault, f"return a {taken}"


def _answer_faults(flow: Declared, state: AnyState, into: str) -> Found:
    """Find answers that their field cannot hold, as far as the annotations say."""
    answers: list[tuple[str, str, object]] = []
    if callable(state.reads):
        answers.append(("reader-wrong-type", "reads", returned(state.reads)))
    if callable(state.call):
        answers.append(("into-wrong-type", "the call", called(state.call)))
    if isinstance(state.flow, type(flow)):
        for end in state.flow.states:
            if end.final and not end.cancels:
                ending = f"state {end.name!r} of flow {state.flow.name!r}"
                answers.append(("into-wrong-type", ending, returned(end.output) if end.output else None))
    wanted = field_type(flow.data, into)
    for code, source, given in answers:
        if not fits(given, wanted):
            fault = f"{source} gives {name_of(given)}, but field {into!r} takes {name_of(wanted)}"
            yield code, fault, "give the field that type, or the answer"


def can_cancel(flow: Declared) -> bool:
    """Return whether a sub-flow can end as cancelled by its own declaration.

    It can if it has such an end, guards that can refuse its start, or a call whose failure guards can refuse. The home
    flow is told so of each sub-flow besides, because the word "cancel" ends all flows above home.
    """
    calls = [state.name for state in flow.states if state.call]
    unsure = any(all(way.guards for way in flow.by_trigger.get((name, "failed"), ())) for name in calls)
    return bool(sequence(flow.requires)) or unsure or any(state.cancels for state in flow.states)


_MISSING = {
    ("call", "done"): "call-without-done",
    ("call", "failed"): "call-without-failed",
    ("flow", "done"): "subflow-without-result",
    ("flow", "cancelled"): "subflow-without-cancelled",
}
"""The codes of missing transitions, by the slot that makes them necessary and by the trigger."""


def _trigger_faults(state: AnyState, triggers: set[str], *, ways_known: bool) -> Found:
    needed = {"done", "failed"} if state.call else {"done"} if state.flow else set[str]()
    if state.flow and can_cancel(state.flow):
        needed.add("cancelled")
    if state.idle and triggers - {"auto", "timeout"}:
        if state.reads or state.rows:
            return  # it is said of these
        yield "waiting-without-question", "it waits for an answer but asks no question", "give it ask=Text(…)"
        return
    slot = "call" if state.call else "flow"
    if state.idle:
        needed = {"auto"}
    for trigger in sorted(needed - triggers) if ways_known else ():
        code = _MISSING.get((slot, trigger), "dead-end")
        yield code, f"it has no transition {trigger!r}", f"say where {trigger!r} leads"
    allowed = {"done", "cancelled"} if state.flow else needed or {"answer", "timeout", "empty", *_buttons(triggers)}
    for trigger in sorted(triggers - allowed - {"timeout"}):
        yield "impossible-trigger", f"trigger {trigger!r} can never come here", "remove the transition"
    if "answer" in triggers and not (state.reads or state.rows) and "answer" in allowed:
        fault = "it has transition 'answer' but neither reads nor rows"
        yield "waiting-without-input", fault, "say how an answer is read"
    if (state.reads or state.rows) and "answer" not in triggers and ways_known:
        yield (
            "answer-without-transition",
            "it takes an answer but has no transition 'answer'",
            "say where an answer leads",
        )


def _timeout_faults(state: AnyState, triggers: set[str], *, ways_known: bool) -> Found:
    if state.call and state.timeout is not None:
        # The reply must not say "not sent" of an effect that may have happened.
        remedy = "let the service give up, and take its 'failed'"
        yield "timeout-misplaced", "a state with a call has no timeout", remedy
    elif state.flow and state.timeout is not None:
        # The run stands in the sub-flow, which no timer of this state ends.
        yield "timeout-misplaced", "a sub-flow has no timeout", "give its own questions a timeout"
    elif state.timeout is None and "timeout" in triggers:
        fault = "timeout= and a transition 'timeout' belong together"
        yield "transition-without-timeout", fault, "add the missing one"
    elif state.timeout is not None and "timeout" not in triggers and ways_known:
        fault = "timeout= and a transition 'timeout' belong together"
        yield "timeout-without-transition", fault, "add the missing one"
    if state.timeout is not None and (fault_found := timeout_fault(state.timeout)):
        times = "seconds or a timedelta, more than 0 and at most ten years, or a datetime with a time zone"
        yield "wrong-declaration", fault_found, f"give {times}, or a function of the turn that returns one of these"


def _empty_faults(flow: Declared, state: AnyState) -> Found:
    ways = flow.by_trigger.get((state.name, "empty"), ()) if state.is_question else ()
    if not ways:
        return
    if state.reads is not None:
        fault = "trigger 'empty' can never come here, because an answer can be typed"
        yield "impossible-trigger", fault, "remove the transition"
    for button in _always_shown(flow, state):
        fault = f"trigger 'empty' can never come here, because button {button!r} is always shown"
        yield "impossible-trigger", fault, "remove one of the two"
    if state.rows is None and not any(key[0] == state.name and _is_button(flow, key) for key in flow.by_trigger):
        fault = "it has nothing to choose from, so it is always empty"
        yield "waiting-without-input", fault, "give it rows or buttons, or remove the transition"
    if any(way.dest == state.name for way in ways):
        fault = "transition 'empty' leads back to the state that is empty"
        yield "loop-without-exit", fault, "let it lead to another state"


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
