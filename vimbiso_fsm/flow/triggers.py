"""Triggers that another system may pull: those of transitions, `Transition(by=…)`, and those of the bot, `Trigger`.

A declaration names the systems that have the right, and the type of the data. The callbacks see both: `turn.by`, and
`turn.answer`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from vimbiso_fsm.document.data_types import data_type
from vimbiso_fsm.document.typed_data import name_of, structure
from vimbiso_fsm.errors import FlowError, FlowFault, UnstorableType
from vimbiso_fsm.flow.reactions import Reaction, check_reaction
from vimbiso_fsm.flow.state import RESERVED_TRIGGERS, AnyTransition, Declared, sequence
from vimbiso_fsm.made import Made, caller
from vimbiso_fsm.messages.given import MAX_NAME

NO_RIGHT: Final = "trigger.right"
"""The code of the refusal of a system that has no right to pull a trigger."""
DECLINED: Final = "trigger.declined"
"""The code of the refusal where the guards of all transitions have declined without a reason."""


@attrs.frozen(eq=False)
class Trigger:
    """A trigger of the bot that another system may pull, wherever the member stands.

    A transition of the current state that has the trigger comes first.

    Attributes:
        name: The name of the trigger.
        does: A pure function of the turn and the data, which returns words, a change of the member, both in a list, or
            `Refused`, as a reaction does. It logs no member in.
        by: The names of the systems that may pull it.
        takes: The type of its data; None if it has none.
        made: The file and the line at which the trigger was made.
    """

    name: str
    does: Reaction
    by: str | Sequence[str] = attrs.field(kw_only=True)
    takes: Any = attrs.field(default=None, kw_only=True)
    made: Made = attrs.field(init=False, eq=False, repr=False, factory=caller)


def declared_triggers(given: Iterable[Trigger]) -> Mapping[str, Trigger]:
    """Return the triggers that a bot declares, by name.

    Raises:
        FlowError: One of them is no `Trigger` or has a fault, or two have the same name.
    """
    found: dict[str, Trigger] = {}
    shape: object = given
    if not isinstance(shape, list | tuple):
        raise FlowError("", "bot", f"triggers is a {type(shape).__name__}", "give a list: [Trigger(…)]")
    for trigger in given:
        known: object = trigger
        if not isinstance(known, Trigger):
            raise FlowError("", "bot", f"triggers holds a {type(known).__name__}", "declare each with Trigger(…)")
        place = f"trigger {trigger.name!r}"
        name: object = trigger.name
        if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME:
            raise FlowError("", place, "its name is no text of 1 to 64 characters", "rename it")
        if name in found:
            raise FlowError("", place, "it is declared twice", "rename or remove one")
        check_reaction(trigger.does, "", place, place)
        for fault, remedy in _right_faults(trigger.by, trigger.takes):
            raise FlowError("", place, fault, remedy, made=trigger.made)
        found[name] = trigger
    return found


def events_of(flow: Declared) -> Mapping[tuple[str, str], AnyTransition]:
    """Return a transition for each state and trigger of a flow that another system may fire."""
    return {key: ways[0] for key, ways in flow.by_trigger.items() if ways[0].names}


def event_faults(flow: Declared) -> Iterator[FlowFault]:
    """Yield the faults of transitions that another system may fire."""
    for transition in flow.transitions:
        place, code = f"transition {transition.trigger!r}", "wrong-event"
        if transition.takes is not None and not transition.names:
            fault, remedy = "it takes data, and no system may fire it", "name the systems: by=…"
            yield FlowFault(flow.name, place, fault, remedy, code, transition.made)
        if transition.by is None:
            continue
        for fault, remedy in _right_faults(transition.by, transition.takes):
            yield FlowFault(flow.name, place, fault, remedy, code, transition.made)
        if transition.words:
            fault = "another system fires it, so it is no button with words"
            yield FlowFault(flow.name, place, fault, "remove words", code, transition.made)
        for trigger in transition.triggers:
            if trigger in RESERVED_TRIGGERS:
                fault = f"{trigger!r} is reserved, and no other system fires it"
                yield FlowFault(flow.name, place, fault, "rename it", code, transition.made)
        for source in transition.sources:
            if source in flow.by_name and not flow.by_name[source].is_question:
                fault = f"{place} waits for another system, and the state does not wait"
                remedy = "give it ask=Text(…), and no call or flow"
                yield FlowFault(flow.name, f"state {source!r}", fault, remedy, code, transition.made)
    for (source, trigger), ways in flow.by_trigger.items():
        for way in ways[1:]:
            if (way.names, way.takes) != (ways[0].names, ways[0].takes):
                fault, remedy = f"the transitions {trigger!r} differ in by or takes", "give all of them the same"
                yield FlowFault(flow.name, f"state {source!r}", fault, remedy, "wrong-event", way.made)
                break


def given_data(takes: Any, data: Any) -> Any:
    """Return the data of a trigger as the declared type.

    Raises:
        Unreadable: It is not of that type, or there is data and none is declared.
    """
    if takes is None:
        return structure(data, type(None))
    return structure(data, takes)


def _right_faults(by: object, takes: Any) -> Iterator[tuple[str, str]]:
    """Yield the faults of the names of systems and of the type of the data."""
    names: tuple[object, ...] = sequence(by)
    if not names or not all(isinstance(name, str) and 0 < len(name) <= MAX_NAME for name in names):
        yield "by names no system", "give a name of 1 to 64 characters, or several in a list"
    try:
        if takes is not None:
            data_type(takes)
    except UnstorableType as error:
        yield f"it takes {name_of(takes)}, which {error.fault}", error.remedy
