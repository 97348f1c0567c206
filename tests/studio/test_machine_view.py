"""A flow as the panel "Machine" shows it: its edges, their guards, the place of a conversation, and counts."""

from __future__ import annotations

import importlib
import re
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows import bot as vimbisopay
from tests.examples import examples
from tests.strategies import Made, flows
from vimbiso_fsm import Bot, Flow, NoData, State, Text, Transition, Turn
from vimbiso_fsm.audit.entries import AuditEntry
from vimbiso_fsm.audit.short_form import AuditStep
from vimbiso_fsm.document.document import Document, Member, Run, Shown
from vimbiso_fsm.flow.machine import Machine
from vimbiso_fsm.operations.census import Census
from vimbiso_fsm.studio.machine_view import Conversation, MachineView, Tally, machine_view, tried
from vimbiso_fsm.testing.chat import CHANNEL, START

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(path.stem for path in ROOT.glob("examples/*.py") if "Flow(" in path.read_text("utf-8"))


def first(turn: Turn[NoData]) -> bool:
    """The first guard.

    It says no.
    """
    return False


def second(turn: Turn[NoData]) -> bool:
    """The second guard."""
    return True


def gate() -> Flow[NoData]:
    """Return a flow with two transitions of one trigger, of which the second has two guards."""
    return Flow(
        "gate",
        initial="wait",
        states=[State("wait", ask=Text("gate.wait")), State("in", final=True), State("out", final=True, cancels=True)],
        transitions=[
            Transition("go", "wait", "in", conditions=first),
            Transition("go", "wait", "out", conditions=second, unless=first),
            Transition("stop", "wait", "out"),
        ],
    )


def go(dest: str | None, *guards: tuple[str, str], trigger: str = "go") -> AuditStep:
    """Return a step of the flow from its first state."""
    return AuditStep("gate", "gate:1", "wait", dest, trigger, guards)


def assert_complete(flow: Flow[Any], view: MachineView) -> None:
    """Check that each transition and source has exactly one edge in the table and the drawing, and the reverse."""
    declared = Counter(
        (source, transition.dest, transition.triggers)
        for transition in flow.transitions
        for source in transition.sources
    )
    assert Counter((row.edge.source, row.edge.dest, row.triggers) for row in view.edges) == declared
    assert [row.id for row in view.edges] == [f"edge_{place}" for place in range(len(view.edges))]
    drawn = [line.strip() for line in view.dot.splitlines() if 'id="edge_' in line]
    assert len(drawn) == len(view.edges)
    for row, line in zip(view.edges, drawn, strict=True):
        assert line.startswith(f'"{row.edge.source}" -> "{row.edge.dest}" [id="{row.id}" ')
    assert [row.name for row in view.states] == [state.name for state in flow.states]
    assert all(view.dot.count(f'[id="{row.id}" ') == 1 for row in view.states)


@pytest.mark.parametrize("flow", vimbisopay.flows, ids=lambda flow: flow.name)
def test_each_transition_of_vimbisopay_has_one_edge(flow: Flow[Any]) -> None:
    """Each transition of the flows of VimbisoPay has one edge in the table and in the drawing."""
    assert_complete(flow, machine_view(flow))


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_transition_of_the_examples_has_one_edge(name: str) -> None:
    """Each transition of the flows of the examples has one edge in the table and in the drawing."""
    try:
        module = importlib.import_module(f"examples.{name}")
    except ModuleNotFoundError as error:
        pytest.skip(f"needs the package {error.name}")
    found: list[Any] = [value for value in vars(module).values() if type(value) is Flow]
    found += [module.seat(1.0)] if name == "held_seat" else []
    assert found
    for flow in found:
        assert_complete(flow, machine_view(flow))


@given(flow=flows())
@examples(20)
def test_each_transition_of_any_flow_has_one_edge(flow: Flow[Made]) -> None:
    """So does each of a generated flow."""
    assert_complete(flow, machine_view(flow))


@given(flow=flows(), n=st.integers(0, 1), data=st.data())
@examples(30)
def test_the_verdicts_of_a_step_belong_to_the_transition_that_fired(flow: Flow[Made], n: int, data: st.DataObject):
    """What the machine does is found again from the verdicts that the audit has of it."""
    trigger, source = data.draw(st.sampled_from(sorted((trigger, source) for source, trigger in flow.by_trigger)))
    fired = Machine(flow).fire(Turn(Made(n=n), Member("m"), CHANNEL, START, flow.name, source, trigger))
    step = AuditStep(flow.name, "r", source, fired.to, trigger, fired.verdicts)
    found = tried(flow, [step])
    view = machine_view(flow, Conversation(steps=(step,)))
    assert sorted(found.verdicts.values()) == sorted(verdict for _, verdict in fired.verdicts)
    last = [row for row in view.edges if row.is_last]
    assert [row.edge.dest for row in last] == ([fired.to] if fired.to is not None else [])
    assert not any(guard.is_in_the_way for row in last for guard in row.guards)
    before = [row for row in view.edges if (row.edge.source, trigger) == (source, row.triggers[0]) and not row.is_last]
    for row in before:
        asked = [guard for guard in row.guards if guard.verdict]
        assert not asked or asked[-1].is_in_the_way


def test_a_guard_is_shown_with_its_words_its_place_and_its_verdict() -> None:
    """A guard has the first line of its docstring, the line at which it begins, and what it returned."""
    steps = (go("out", ("first", "refused gate.shut"), ("second", "accepted"), ("first", "declined")),)
    one, two, three = machine_view(gate(), Conversation(steps=steps)).edges
    assert [(guard.name, guard.wanted, guard.verdict, guard.is_in_the_way) for guard in (*one.guards, *two.guards)] == [
        ("first", "accepted", "refused gate.shut", True),
        ("second", "accepted", "accepted", False),
        ("first", "declined", "declined", False),
    ]
    assert one.guards[0].words == "The first guard."
    assert one.guards[0].place == f"tests/studio/test_machine_view.py:{first.__code__.co_firstlineno}"
    assert (one.is_last, two.is_last, three.is_last, three.guards) == (False, True, False, ())


def test_a_step_of_another_declaration_has_no_verdicts() -> None:
    """Guards that do not fit are not dealt out; the edge is found by its ends if they are those of one only."""
    assert tried(gate(), [go("out", ("other", "accepted"))]).fired == 1
    assert tried(gate(), [go("out", ("other", "accepted"))]).verdicts == {}
    assert tried(gate(), [go("gone", ("first", "accepted"))]).fired is None
    assert tried(gate(), [go(None, ("first", "accepted"))]).fired is None
    assert tried(gate(), [attrs.evolve(go("out"), flow="other")]).fired is None
    doubled = attrs.evolve(gate(), transitions=[*gate().transitions, Transition("go", "wait", "out")])
    assert tried(doubled, [go("out", ("other", "accepted"))]).fired is None


def followed(*choices: str) -> Conversation:
    """Return a conversation at the first state, whose question has shown choices."""
    shown = tuple(Shown(choice, choice) for choice in choices)
    run = Run("gate:1", "gate", "wait", CHANNEL.address, shown=shown)
    document = Document("m", CHANNEL, START, 7, run=run, suspended=(attrs.evolve(run, flow="home", step="shop"),))
    return Conversation.of(document, None)


def test_the_state_of_a_conversation_is_marked_and_its_buttons_can_be_pressed() -> None:
    """The current state is marked, that of a suspended run otherwise; a button can be pressed if it is shown."""
    conversation = followed("stop")
    view = machine_view(gate(), conversation)
    assert [row.presence for row in view.states] == ["here", "", ""]
    assert conversation.presence("home", "shop") == "suspended"
    assert [row.press for row in view.edges] == ["", "", "stop"]
    assert [row.marks for row in view.edges] == ["", "", "press"]
    assert [row.press for row in machine_view(gate(), Conversation()).edges] == ["", "", ""]


def test_counts_stand_at_states_and_edges() -> None:
    """Members are counted by state, transitions of the last day by edge, and one that never fired is dashed."""
    bot = Bot(gate())
    tally = Tally(Census(bot), START - timedelta(days=1))
    entry = AuditEntry(1, START, "m", ("t", "d"), "transition", "advanced", "t", "t", steps=(go("in"),))
    tally.add([entry, attrs.evolve(entry, at=START - timedelta(days=2))])
    view = machine_view(gate(), tally=tally)
    assert [row.edge.fired for row in view.edges] == [1, 0, 0]
    assert [row.marks for row in view.edges] == ["", "never", "never"]
    assert [row.members for row in view.states] == [0, 0, 0]
    assert view.dot.count("style=dashed") == 2
    assert tally.words.startswith("0 documents of members counted. Transitions since ")


def test_hostile_names_stay_within_their_labels() -> None:
    """The name of a guard may have any signs; the text for Graphviz keeps them in a label."""

    def odd(turn: Turn[NoData]) -> bool:
        return True

    odd.__name__ = '"]; x -> y [label=<<b>\u202e</b>>]\n<script>alert(1)</script>\\'
    ways = [Transition("go", "wait", "in", conditions=odd), Transition(["go", "stop"], "wait", "out")]
    flow = attrs.evolve(gate(), transitions=ways)
    view = machine_view(flow)
    assert_complete(flow, view)
    line = next(line for line in view.dot.splitlines() if 'id="edge_0"' in line)
    assert len(re.findall(r'(?<!\\)"', line)) == 8  # of the two ends, the id and the label: no other quote ends one
