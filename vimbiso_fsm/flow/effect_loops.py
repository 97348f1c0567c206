"""Loops by which an effect leads back to its own state without a word of the member.

Such a path leads past calls, sub-flows and states with nothing to do. `effect_loop` finds the loops that the
declaration of a flow shows, when the flow is made. The others, which lead through a timeout or a new run, are stopped
when they happen (`engine/interpreter.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeAlias

from vimbiso_fsm.flow.state import AnyState, Declared

_End: TypeAlias = tuple[str, bool]
"""How a run ends, by the trigger of the waiting flow, and whether a call with an effect was made on the way."""
_DONE: Final = "done"
_CANCELLED: Final = "cancelled"


def effect_loop(flow: Declared) -> str | None:
    """Return a state whose effect leads back to it without a word of the member; None if there is none.

    Guards are not considered: a path that must never be taken to its end is a fault even if guards close it.
    """
    for state in flow.states:
        seen: set[str] = set()
        fresh = [dest for dest, made in _ways(flow, state) if made]
        while fresh:
            name = fresh.pop()
            if name == state.name:
                return name
            if name not in seen:
                seen.add(name)
                fresh += [dest for dest, _ in _ways(flow, flow[name])]
    return None


def _ways(flow: Declared, state: AnyState) -> Iterator[tuple[str, bool]]:
    """Yield the states that follow a state without a word of the member, and whether an effect is made between."""
    triggers: list[_End] = []
    if state.call:
        triggers = [(trigger, state.call_policy.effect) for trigger in ("done", "failed")]
    elif state.flow:
        triggers = sorted(_ends(state.flow))
    elif state.idle:
        triggers = [("auto", False)]
    for trigger, made in triggers:
        for way in flow.by_trigger.get((state.name, trigger), ()):
            yield way.dest, made


def _ends(flow: Declared) -> set[_End]:
    """Return the ends that a run of the flow can reach from its beginning without a word of the member."""
    found: set[_End] = set()
    seen: set[tuple[str, bool]] = set()
    fresh = [(flow.initial, False)]
    while fresh:
        name, before = place = fresh.pop()
        if place in seen:
            continue
        seen.add(place)
        state = flow[name]
        if state.final:
            found.add((_CANCELLED if state.cancels else _DONE, before))
        if state.call and all(way.guards for way in flow.by_trigger.get((name, "failed"), ())):
            found.add((_CANCELLED, before or state.call_policy.effect))
        fresh += [(dest, before or made) for dest, made in _ways(flow, state)]
    return found
