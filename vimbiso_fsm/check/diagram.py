"""Diagrams of flows, as values: the states and transitions of a flow, or the flows of a bot.

They are made of the transitions that the machine of the flow executes. `mermaid.py` and `dot.py` write them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

import attrs

from vimbiso_fsm.audit.short_form import AuditStep
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.callbacks import name_of
from vimbiso_fsm.flow.carry_on import CARRY_ON
from vimbiso_fsm.flow.flow import AnyFlow
from vimbiso_fsm.flow.state import AnyState, AnyTransition, sequence
from vimbiso_fsm.flow.timeouts import span_of
from vimbiso_fsm.flow.turn import Guard

Kind: TypeAlias = Literal["question", "call", "flow", "step", "final", "cancelled"]
"""What a state is: a question, a call, a sub-flow, a state that goes on at once, or an end of two kinds."""

Fired: TypeAlias = Mapping[tuple[str, str, str, str], int]
"""How often transitions fired, by flow, source, trigger and destination."""

_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"))


@attrs.frozen
class Node:
    """A state of a flow, or a flow of a bot.

    Attributes:
        name: Its name.
        kind: What it is.
        note: The callback that proposes its call, or the name of its sub-flow; may be empty.
        members: How many members are there; None if they were not counted.
    """

    name: str
    kind: Kind
    note: str = ""
    members: int | None = None


@attrs.frozen
class Edge:
    """A transition from one source, or a flow that leads to another flow.

    Attributes:
        source: The name of the node that it leaves.
        dest: The name of the node that it leads to.
        label: Its triggers, guards and timeout, as a reader sees them.
        fired: How often it fired; None if that was not counted.
    """

    source: str
    dest: str
    label: str
    fired: int | None = None

    @property
    def text(self) -> str:
        """The label, with the count behind it."""
        return f"{self.label} ×{self.fired}" if self.fired else self.label  # the sign for "times"


@attrs.frozen
class Diagram:
    """The diagram of a flow, or of a bot.

    Attributes:
        name: The name of the flow; "bot" for the diagram of a bot.
        initial: The node that it begins at.
        begins: What is asked before it begins; may be empty.
        nodes: The nodes, in the order of declaration.
        edges: The edges, in the order of declaration.
    """

    name: str
    initial: str
    begins: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


def ways_of(flow: AnyFlow) -> Iterator[tuple[str, AnyTransition]]:
    """Yield each source and transition of a flow, in the order of the edges of its diagram."""
    return ((source, transition) for transition in flow.transitions for source in transition.sources)


def flow_diagram(flow: AnyFlow, fired: Fired | None = None, members: Mapping[str, int] | None = None) -> Diagram:
    """Return the diagram of a flow: an edge for each transition and source.

    Args:
        flow: The flow.
        fired: How often its transitions fired; None if that was not counted. Transitions with the same source, trigger
            and destination share a count.
        members: How many members are in its states; None if they were not counted.
    """
    edges = (
        Edge(source, transition.dest, _label(flow[source], transition), _count(flow, source, transition, fired))
        for source, transition in ways_of(flow)
    )
    required = ", ".join(map(name_of, flow.required))
    nodes = tuple(
        Node(state.name, *_kind(state), members=members.get(state.name, 0) if members is not None else None)
        for state in flow.states
    )
    return Diagram(flow.name, flow.initial, f"[{required}]" if required else "", nodes, tuple(edges))


def bot_diagram(bot: Bot) -> Diagram:
    """Return the diagram of a bot: its flows, and the ways by which one leads to another."""
    flows = declared_flows(bot)
    subflows = (
        Edge(flow.name, state.flow.name, state.name)
        for flow in flows
        for state in flow.states
        if state.flow is not None
    )
    nodes = tuple(Node(flow.name, "flow") for flow in flows)
    return Diagram("bot", bot.home.name, "", nodes, (*_entered(bot), *subflows))


def declared_flows(bot: Bot) -> list[AnyFlow]:
    """Return the flows of a bot without the framework's own."""
    return [flow for flow in bot.flows if flow is not CARRY_ON]


def count_steps(steps: Iterable[AuditStep]) -> dict[tuple[str, str, str, str], int]:
    """Return how often transitions fired, by the steps of audit entries."""
    counts: dict[tuple[str, str, str, str], int] = {}
    for step in steps:
        if step.dest is not None and step.source:
            way = step.flow, step.source, step.trigger, step.dest
            counts[way] = counts.get(way, 0) + 1
    return counts


def _entered(bot: Bot) -> Iterator[Edge]:
    """Yield the ways from the home flow to flows that a word, a link or a login leads to."""
    home = bot.home.name
    if bot.entry is not None:
        yield Edge(home, bot.entry.name, "login")
    for shortcut in bot.shortcuts:
        yield Edge(home, shortcut.flow.name, "shortcut")
    for name, link in bot.linked.items():
        yield Edge(home, link.flow.name, f"link {name}")


def _kind(state: AnyState) -> tuple[Kind, str]:
    if state.final:
        return ("cancelled" if state.cancels else "final"), ""
    if state.call is not None:
        return "call", name_of(state.call)
    if state.flow is not None:
        return "flow", state.flow.name
    return ("question" if state.asks else "step"), ""


def _label(state: AnyState, transition: AnyTransition) -> str:
    """Return the triggers of a transition, the time of a timeout, its guards, and who may fire it."""
    conditions: tuple[Guard[Any], ...] = sequence(transition.conditions)
    unless: tuple[Guard[Any], ...] = sequence(transition.unless)
    guards = [*map(name_of, conditions), *(f"not {name_of(guard)}" for guard in unless)]
    parts = [", ".join(transition.triggers)]
    if "timeout" in transition.triggers and state.timeout is not None:
        parts.append(f"({_time(state.timeout)})")
    if guards:
        parts.append(f"[{', '.join(guards)}]")
    if transition.names:
        parts.append(f"by {', '.join(transition.names)}")
    return " ".join(parts)


def _time(timeout: object) -> str:
    """Return a timeout as a reader sees it: "90 s", "5 min", an instant, or the name of the function."""
    span = span_of(timeout)
    if span is not None:
        seconds = span.total_seconds()
        for size, unit in _UNITS:
            if seconds >= size and seconds % size == 0:
                return f"{seconds / size:g} {unit}"
        return f"{seconds:g} s"
    return timeout.isoformat() if isinstance(timeout, datetime) else getattr(timeout, "__name__", "timeout")


def _count(flow: AnyFlow, source: str, transition: AnyTransition, fired: Fired | None) -> int | None:
    if fired is None:
        return None
    return sum(fired.get((flow.name, source, trigger, transition.dest), 0) for trigger in transition.triggers)
