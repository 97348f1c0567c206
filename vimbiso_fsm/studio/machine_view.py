"""A flow as the panel "Machine" shows it: its states and transitions, with counts and the place of one conversation.

The functions are pure. An edge has the place that it has in the diagram of the flow (`check.diagram.ways_of`), so the
table, the drawing and the page of an edge speak of the same transition.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

import attrs

from vimbiso_fsm.audit.entries import AuditEntry
from vimbiso_fsm.audit.short_form import AuditStep
from vimbiso_fsm.check.diagram import Diagram, Edge, Kind, count_steps, flow_diagram, ways_of
from vimbiso_fsm.check.dot import dot
from vimbiso_fsm.document.document import Document
from vimbiso_fsm.flow.callbacks import name_of
from vimbiso_fsm.flow.flow import AnyFlow
from vimbiso_fsm.flow.state import RESERVED_TRIGGERS, AnyTransition, sequence
from vimbiso_fsm.flow.turn import Guard
from vimbiso_fsm.made import made_of
from vimbiso_fsm.operations.census import Census

Presence: TypeAlias = Literal["", "here", "suspended"]
"""Whether a conversation stands in a state: it does, or a suspended run of it does."""


# One conversation -----------------------------------------------------------------------------------------------------


@attrs.frozen
class Conversation:
    """What the panel shows of one conversation.

    Attributes:
        current: The flow and the state of the current run; empty without one.
        suspended: The flow and the state of each suspended run.
        shown: The triggers of the buttons that the current question has shown.
        steps: The triggers that the latest turn has tried, in order.
        version: The version of the document.
    """

    current: tuple[str, str] = ("", "")
    suspended: tuple[tuple[str, str], ...] = ()
    shown: frozenset[str] = frozenset()
    steps: tuple[AuditStep, ...] = ()
    version: int = 0

    @classmethod
    def of(cls, document: Document, latest: AuditEntry | None) -> Conversation:
        """Return what is shown of a document, and of the latest entry of its audit."""
        run = document.run
        return cls(
            (run.flow, run.step) if run is not None else ("", ""),
            tuple((each.flow, each.step) for each in document.suspended),
            frozenset(choice.choice for choice in run.shown) if run is not None else frozenset(),
            latest.steps if latest is not None else (),
            document.version,
        )

    def presence(self, flow: str, state: str) -> Presence:
        """Return whether it stands in a state."""
        if (flow, state) == self.current:
            return "here"
        return "suspended" if (flow, state) in self.suspended else ""


NO_CONVERSATION: Final = Conversation()
"""No conversation is followed."""


@attrs.frozen
class Tried:
    """The transitions of a flow that a turn has tried.

    Attributes:
        fired: The place of the edge of the transition that fired last; None if none did.
        verdicts: The verdicts of guards, by the place of the edge and of the guard among its guards.
    """

    fired: int | None = None
    verdicts: Mapping[tuple[int, int], str] = attrs.field(factory=dict[tuple[int, int], str])


def tried(flow: AnyFlow, steps: Iterable[AuditStep]) -> Tried:
    """Return which transitions of a flow a turn has tried, and with which verdicts.

    An entry has the guards of a step in the order in which they were asked, and no names of transitions. They are
    dealt out anew: to each transition of the trigger in order, up to the first guard of it that stood in the way. A
    step of another declaration is not dealt out if its guards do not fit; its edge is found by source, trigger and
    destination, if there is only one.
    """
    fired, verdicts = None, dict[tuple[int, int], str]()
    for step in steps:
        if step.flow == flow.name and step.source:
            ways = [
                (place, way)
                for place, (source, way) in enumerate(ways_of(flow))
                if source == step.source and step.trigger in way.triggers
            ]
            dealt = _dealt(ways, step)
            verdicts |= dealt.verdicts
            fired = dealt.fired if dealt.fired is not None else fired
    return Tried(fired, verdicts)


def _dealt(ways: Sequence[tuple[int, AnyTransition]], step: AuditStep) -> Tried:
    """Deal the verdicts of a step out to the transitions that its trigger may fire."""
    left, verdicts = list(step.guards), dict[tuple[int, int], str]()
    for place, way in ways:
        wanted = ["accepted"] * len(_conditions(way)) + ["declined"] * len(_unless(way))
        for number, (guard, passes) in enumerate(zip(way.guards, wanted, strict=True)):
            if not left or left[0][0] != name_of(guard):
                return _by_ends(ways, step)
            verdict = verdicts[place, number] = left.pop(0)[1]
            if verdict != passes:
                break
        else:
            fits = way.dest == step.dest and not left
            return Tried(place, verdicts) if fits else _by_ends(ways, step)
    return Tried(None, verdicts) if step.dest is None and not left else _by_ends(ways, step)


def _by_ends(ways: Sequence[tuple[int, AnyTransition]], step: AuditStep) -> Tried:
    """Return the only transition with the ends of a step."""
    found = [place for place, way in ways if way.dest == step.dest]
    return Tried(found[0] if len(found) == 1 else None)


def _conditions(way: AnyTransition) -> tuple[Guard[Any], ...]:
    return sequence(way.conditions)


def _unless(way: AnyTransition) -> tuple[Guard[Any], ...]:
    return sequence(way.unless)


# All conversations ----------------------------------------------------------------------------------------------------


@attrs.define
class Tally:
    """How many members are where, and how often transitions fired since an instant.

    Attributes:
        census: The live runs, as `vimbiso check --live` counts them.
        since: The instant from which transitions count.
        fired: How often transitions fired, as `vimbiso diagram --live` counts them.
        is_complete: Whether all members of the store were counted.
    """

    census: Census
    since: datetime
    is_complete: bool = True
    fired: Counter[tuple[str, str, str, str]] = attrs.field(factory=Counter[tuple[str, str, str, str]])

    def add(self, entries: Iterable[AuditEntry]) -> None:
        """Count the transitions of audit entries."""
        self.fired.update(count_steps(step for entry in entries if entry.at >= self.since for step in entry.steps))

    def members(self, flow: str) -> Mapping[str, int]:
        """Return the number of runs in each state of a flow, suspended ones too."""
        found: Counter[str] = Counter()
        for place, runs in self.census.runs.items():
            if place.flow == flow:
                found[place.to[1] if place.to is not None else place.step] += runs
        return found

    @property
    def words(self) -> str:
        """What was counted, in words."""
        counted = self.census.documents
        members = f"{counted:,} document{'' if counted == 1 else 's'} of members counted"
        part = members if self.is_complete else f"Only {members}; the store has more"
        return f"{part}. Transitions since {self.since:%Y-%m-%d %H:%M} UTC, as far as the latest entries of each show."


# The view -------------------------------------------------------------------------------------------------------------


@attrs.frozen
class StateRow:
    """A state, as a row of the table.

    Attributes:
        name: Its name.
        id: The id of its shape in the drawing.
        kind: What it is.
        note: Its call or sub-flow; may be empty.
        place: The file and the line at which it was declared.
        members: How many members are in it; None if they were not counted.
        presence: Whether the conversation that is followed stands in it.
    """

    name: str
    id: str
    kind: Kind
    note: str
    place: str
    members: int | None
    presence: Presence


@attrs.frozen
class GuardRow:
    """A guard of a transition.

    Attributes:
        name: Its name.
        wanted: What it has to return for the transition to fire.
        words: The first line of its docstring; may be empty.
        place: The file and the line at which it begins; empty if it has no code in Python.
        verdict: What it returned in the latest turn; empty if it was not asked.
    """

    name: str
    wanted: Literal["accepted", "declined"]
    words: str
    place: str
    verdict: str

    @property
    def is_in_the_way(self) -> bool:
        """Whether it kept the transition from firing in the latest turn."""
        return bool(self.verdict) and self.verdict != self.wanted


@attrs.frozen
class EdgeRow:
    """A transition from one source, as a row of the table and as a page of its own.

    Attributes:
        place: Its place among the edges of the diagram.
        id: The id of its line in the drawing.
        edge: The edge of the diagram.
        triggers: Its triggers.
        prepare: The name of the function that changes the data; may be empty.
        by: The systems that may fire it.
        made: The file and the line at which the transition was declared.
        guards: Its guards, in the order in which they are asked.
        is_last: Whether the conversation that is followed went this way last.
        press: The trigger of the button that can be pressed now; empty if it has none.
    """

    place: int
    id: str
    edge: Edge
    triggers: tuple[str, ...]
    prepare: str
    by: tuple[str, ...]
    made: str
    guards: tuple[GuardRow, ...]
    is_last: bool
    press: str

    @property
    def is_never(self) -> bool:
        """Whether it was counted and has never fired."""
        return self.edge.fired == 0

    @property
    def buttons(self) -> tuple[str, ...]:
        """Its triggers that are buttons."""
        return () if self.by else tuple(trigger for trigger in self.triggers if trigger not in RESERVED_TRIGGERS)

    @property
    def marks(self) -> str:
        """The marks of its line in the drawing, separated by spaces."""
        marks = {"last": self.is_last, "never": self.is_never, "press": bool(self.press)}
        return " ".join(name for name, is_marked in marks.items() if is_marked)


@attrs.frozen
class MachineView:
    """A flow as the panel shows it.

    Attributes:
        flow: The flow.
        diagram: Its diagram.
        dot: The diagram for Graphviz.
        states: Its states, in the order of declaration.
        edges: Its edges, in the order of the diagram.
    """

    flow: AnyFlow
    diagram: Diagram
    dot: str
    states: tuple[StateRow, ...]
    edges: tuple[EdgeRow, ...]


def machine_view(flow: AnyFlow, followed: Conversation = NO_CONVERSATION, tally: Tally | None = None) -> MachineView:
    """Return a flow as the panel shows it.

    Args:
        flow: The flow.
        followed: The conversation whose place is marked.
        tally: The counts of all conversations; None if they were not counted.
    """
    counted = (tally.fired, tally.members(flow.name)) if tally is not None else (None, None)
    drawn = flow_diagram(flow, *counted)
    latest = tried(flow, followed.steps)
    states = tuple(
        StateRow(
            node.name,
            f"state_{node.name}",
            node.kind,
            node.note,
            str(flow[node.name].made),
            node.members,
            followed.presence(flow.name, node.name),
        )
        for node in drawn.nodes
    )
    edges = tuple(
        EdgeRow(
            place,
            f"edge_{place}",
            edge,
            way.triggers,
            name_of(way.prepare) if way.prepare is not None else "",
            way.names,
            str(way.made),
            tuple(_guard_rows(place, way, latest)),
            place == latest.fired,
            _press(flow, edge.source, way, followed),
        )
        for place, (edge, (_, way)) in enumerate(zip(drawn.edges, ways_of(flow), strict=True))
    )
    return MachineView(flow, drawn, dot(drawn), states, edges)


def _guard_rows(place: int, way: AnyTransition, latest: Tried) -> Iterable[GuardRow]:
    conditions = len(_conditions(way))
    for number, guard in enumerate(way.guards):
        words = (inspect.getdoc(guard) or "").partition("\n")[0] if inspect.isroutine(guard) else ""
        verdict = latest.verdicts.get((place, number), "")
        wanted: Literal["accepted", "declined"] = "accepted" if number < conditions else "declined"
        yield GuardRow(name_of(guard), wanted, words, str(made_of(guard)), verdict)


def _press(flow: AnyFlow, source: str, way: AnyTransition, followed: Conversation) -> str:
    """Return the trigger of a button that the current question shows and that may fire a transition."""
    if followed.current != (flow.name, source) or way.by:
        return ""
    return next((trigger for trigger in way.triggers if trigger in followed.shown), "")
