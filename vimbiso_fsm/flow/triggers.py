"""Triggers that another system may pull: those of transitions, `Transition(by=…)`, and those of the bot, `Trigger`.

A declaration names the systems that have the right, and the type of the data. The callbacks see both: `turn.by`, and
`turn.answer`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import attrs

from vimbiso_fsm.document.data_types import data_type
from vimbiso_fsm.document.typed_data import name_of, structure
from vimbiso_fsm.errors import FlowError, UnstorableType
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
            `Refused`, as a reaction does. It logs nobody in.
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
        _check_right("", place, trigger.by, trigger.takes)
        found[name] = trigger
    return found


def events_of(flow: Declared) -> Mapping[tuple[str, str], AnyTransition]:
    """Return a transition for each state and trigger of a flow that another system may fire.

    Raises:
        FlowError: One of them has a fault.
    """
    found: dict[tuple[str, str], AnyTransition] = {}
    for transition in flow.transitions:
        place = f"transition {transition.trigger!r}"
        if transition.takes is not None and not transition.names:
            raise FlowError(flow.name, place, "it takes data, and no system may fire it", "name the systems: by=…")
        if transition.by is None:
            continue
        _check_right(flow.name, place, transition.by, transition.takes)
        if transition.words:
            raise FlowError(flow.name, place, "another system fires it, so it is no button with words", "remove words")
        for trigger in transition.triggers:
            if trigger in RESERVED_TRIGGERS:
                raise FlowError(flow.name, place, f"{trigger!r} is reserved, and no other system fires it", "rename it")
        for source in transition.sources:
            if not flow[source].is_question:
                fault = f"{place} waits for another system, and the state does not wait"
                raise FlowError(flow.name, f"state {source!r}", fault, "give it ask=Text(…), and no call or flow")
    for (source, trigger), ways in flow.by_trigger.items():
        if any((way.names, way.takes) != (ways[0].names, ways[0].takes) for way in ways):
            fault = f"the transitions {trigger!r} differ in by or takes"
            raise FlowError(flow.name, f"state {source!r}", fault, "give all of them the same")
        if ways[0].names:
            found[source, trigger] = ways[0]
    return found


def given_data(takes: Any, data: Any) -> Any:
    """Return the data of a trigger as the declared type.

    Raises:
        Unreadable: It is not of that type, or there is data and none is declared.
    """
    if takes is None:
        return structure(data, type(None))
    return structure(data, takes)


def _check_right(flow: str, place: str, by: object, takes: Any) -> None:
    """Check the names of systems and the type of the data."""
    names: tuple[object, ...] = sequence(by)
    if not names or not all(isinstance(name, str) and 0 < len(name) <= MAX_NAME for name in names):
        raise FlowError(flow, place, "by names no system", "give a name of 1 to 64 characters, or several in a list")
    try:
        if takes is not None:
            data_type(takes)
    except UnstorableType as error:
        fault = f"it takes {name_of(takes)}, which {error.fault}"
        raise FlowError(flow, place, fault, error.remedy) from None
