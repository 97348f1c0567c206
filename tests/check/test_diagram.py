"""Diagrams of flows: what they show, and that Mermaid and Graphviz read them."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from flows import bot as vimbisopay
from tests.examples import examples
from tests.strategies import Made, bots, flows
from vimbiso_fsm import Bot, Flow, NoData, State, Text, Transition, Turn
from vimbiso_fsm.audit.short_form import AuditStep
from vimbiso_fsm.check.diagram import bot_diagram, count_steps, flow_diagram
from vimbiso_fsm.check.dot import dot, svg
from vimbiso_fsm.check.mermaid import mermaid
from vimbiso_fsm.flow.machine import Machine

ROOT = Path(__file__).parents[2]
MERMAID = ROOT / "build" / "mermaid"
PARSE = """
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
const need = createRequire(process.argv[2] + "/");
const { JSDOM } = need("jsdom");
globalThis.window = new JSDOM("<!doctype html>").window;
globalThis.document = globalThis.window.document;
const { default: mermaid } = await import(need.resolve("mermaid"));
for (const file of process.argv.slice(3)) await mermaid.parse(readFileSync(file, "utf8"));
"""
needs_mermaid = pytest.mark.skipif(
    shutil.which("node") is None or not (MERMAID / "node_modules" / "mermaid").is_dir(),
    reason="needs node and Mermaid: npm install --prefix build/mermaid mermaid jsdom",
)
needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="needs the program dot of Graphviz")


def ready(turn: Turn[NoData]) -> bool:
    """Guard."""
    return True


def due(turn: Turn[NoData]) -> float:
    """Timeout."""
    return 60.0


def waiting(timeout: Any) -> Flow[NoData]:
    """Return a flow whose first state has a timeout, and whose states have names that Mermaid has, too."""
    return Flow(
        "note",
        initial="state",
        states=[
            State("state", ask=Text("note.state"), reads=str, timeout=timeout),
            State("end", final=True),
            State("direction", final=True, cancels=True),
        ],
        transitions=[
            Transition("answer", "state", "end", conditions=ready),
            Transition("answer", "state", "direction", unless=ready),
            Transition("timeout", "state", "end"),
            Transition("paid", "state", "end", by=["bank", "till"]),
        ],
    )


@given(flow=flows())
@examples(30)
def test_a_diagram_has_the_transitions_that_the_machine_executes(flow: Flow[Made]) -> None:
    """Each source and trigger of the machine leads to the same states, in the same order, as the diagram shows."""
    machine, drawn = Machine(flow), flow_diagram(flow)
    shown: dict[tuple[str, str], list[str]] = {}
    for edge in drawn.edges:
        for trigger in re.split(r", ", re.split(r" [\[(]| by ", edge.label)[0]):
            shown.setdefault((edge.source, trigger), []).append(edge.dest)
    executed = {
        (state.name, trigger): [str(each.dest) for each in candidates]
        for state in flow.states
        for trigger, candidates in machine.candidates(state.name).items()
    }
    assert shown == executed
    assert [node.name for node in drawn.nodes] == [state.name for state in flow.states]


def test_an_edge_names_guards_timeouts_and_systems() -> None:
    """Guards stand in brackets, the time of a timeout in parentheses, and systems that may fire it behind "by"."""
    drawn = flow_diagram(waiting(90))
    assert [edge.label for edge in drawn.edges] == [
        "answer [ready]",
        "answer [not ready]",
        "timeout (90 s)",
        "paid by bank, till",
    ]


@pytest.mark.parametrize(
    ("timeout", "shown"),
    [
        (90, "90 s"),
        (0.5, "0.5 s"),
        (300, "5 min"),
        (timedelta(hours=2), "2 h"),
        (timedelta(days=3), "3 d"),
        (datetime(2027, 1, 4, 9, tzinfo=UTC), "2027-01-04T09:00:00+00:00"),
        (due, "due"),
    ],
)
def test_a_timeout_is_written_in_its_largest_whole_unit(timeout: Any, shown: str) -> None:
    """A span is written in its largest whole unit, an instant as such, and a function by its name."""
    assert flow_diagram(waiting(timeout)).edges[2].label == f"timeout ({shown})"


def test_a_diagram_of_a_bot_has_its_flows_and_the_ways_between_them() -> None:
    """Sub-flows, the login, shortcuts and links lead from one flow to another."""
    drawn = bot_diagram(vimbisopay)
    ways = {(edge.source, edge.dest, edge.label) for edge in drawn.edges}
    assert ("dashboard", "offer", "offering") in ways
    assert ("offer", "choose_account", "paying") in ways
    assert ("dashboard", "login", "login") in ways
    assert ("dashboard", "language", "shortcut") in ways
    assert {node.name for node in drawn.nodes} >= {end for way in ways for end in way[:2]}


def test_counts_mark_how_often_a_transition_fired() -> None:
    """A transition has the number of its steps, and one without a step is marked as never fired."""
    steps = [
        AuditStep("note", "r", "state", "end", "answer"),
        AuditStep("note", "r", "state", "end", "answer"),
        AuditStep("note", "r", "state", None, "timeout"),
        AuditStep("note", "r", "", "state", "start"),
    ]
    drawn = flow_diagram(waiting(90), count_steps(steps))
    assert [edge.fired for edge in drawn.edges] == [2, 0, 0, 0]
    assert "answer [ready] ×2" in mermaid(drawn)
    assert mermaid(drawn).count("never fired") == dot(drawn).count("style=dashed") == 3
    assert "never fired" not in mermaid(flow_diagram(waiting(90)))


def test_the_text_for_mermaid() -> None:
    """The text is complete: ids of names that Mermaid has are others, and both kinds of ends are marked."""
    assert mermaid(flow_diagram(waiting(90))).splitlines() == [
        "stateDiagram-v2",
        '    state "state" as _state',
        '    state "end" as _end',
        '    state "direction" as _direction',
        "    [*] --> _state",
        "    _state --> _end : answer [ready]",
        "    _state --> _direction : answer [not ready]",
        "    _state --> _end : timeout (90 s)",
        "    _state --> _end : paid by bank, till",
        "    _end --> [*]",
        "    _direction --> [*] : cancelled",
    ]


class Drawn:
    """The diagrams of a bot, with a short `repr` for Hypothesis."""

    def __init__(self, bot: Bot) -> None:
        self.diagrams = [*map(flow_diagram, bot.flows), bot_diagram(bot)]

    def __repr__(self) -> str:
        return f"Drawn({[drawn.name for drawn in self.diagrams]})"


def parse(texts: Sequence[str], folder: Path) -> None:
    """Let Mermaid itself parse texts."""
    files = [folder / f"{place}.mmd" for place in range(len(texts))]
    for file, text in zip(files, texts, strict=True):
        file.write_text(text)
    script = folder / "parse.mjs"
    script.write_text(PARSE)
    done = subprocess.run(["node", script, MERMAID, *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@needs_mermaid
def test_mermaid_parses_the_diagrams(tmp_path: Path) -> None:
    """Mermaid reads the diagrams of all flows of VimbisoPay, and of states with names that its grammar has."""
    words = "as class classdef click default end fork hide join note scale style choice root direction h1 accdescr"
    grammar: list[Flow[NoData]] = [
        Flow(
            word,
            initial=word,
            states=[State(word, ask=Text("x"), reads=str), State(f"{word}_2", final=True)],
            transitions=[Transition("answer", word, f"{word}_2", conditions=lambda turn: True)],
        )
        for word in words.split()
    ]
    drawn = [flow_diagram(flow) for flow in (*vimbisopay.flows, *grammar, waiting(90))]
    counted = [flow_diagram(flow, {}) for flow in vimbisopay.flows]
    parse([mermaid(each) for each in (*drawn, *counted, bot_diagram(vimbisopay))], tmp_path)


@needs_dot
@given(bot=bots().map(Drawn))
@examples(5)
def test_graphviz_draws_any_bot(bot: Drawn) -> None:
    """Graphviz draws each flow: a group for each state and each edge, by their ids."""
    for drawn in bot.diagrams:
        picture = svg(drawn)
        assert picture.startswith("<svg")
        assert all(f'id="state_{node.name}"' in picture for node in drawn.nodes)
        assert all(f'id="edge_{place}"' in picture for place in range(len(drawn.edges)))


def test_labels_of_hostile_names_are_escaped() -> None:
    """The name of a callback may have any signs: they stay within the label."""

    def odd(turn: Turn[NoData]) -> bool:
        return True

    odd.__name__ = '"];x -> y\n<b>\\'
    flow = Flow(
        "odd",
        initial="a",
        states=[State("a", ask=Text("x"), reads=str), State("b", final=True)],
        transitions=[Transition("answer", "a", "b", conditions=odd)],
    )
    assert r'label=" answer [\"];x -> y <b>\\] "' in dot(flow_diagram(flow))
    assert "    a --> b : answer []x - y b]\n" in mermaid(flow_diagram(flow))
