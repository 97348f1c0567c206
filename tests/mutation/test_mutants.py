"""The mutants of a flow, and what is printed of them."""

from __future__ import annotations

import attrs

from tests.mutation.mutants import mutants_of
from tests.mutation.report import lines
from vimbiso_fsm import Call, Flow, State, Text, Transition, Turn, call


@attrs.frozen
class Order:
    """The data of the flow."""

    cake: str = ""
    size: str = ""


class Bakery:
    """A service."""

    def bake(self, *, cake: str) -> str:
        """Bake a cake."""
        raise NotImplementedError

    def wrap(self, *, cake: str) -> str:
        """Wrap a cake."""
        raise NotImplementedError


def baking(turn: Turn[Order]) -> Call[str]:
    """Propose to bake."""
    return call(Bakery.bake, cake=turn.data.cake)


def wrapping(turn: Turn[Order]) -> Call[str]:
    """Propose to wrap."""
    return call(Bakery.wrap, cake=turn.data.cake)


def is_known(turn: Turn[Order]) -> bool:
    """Guard: the cake is known."""
    return turn.data.cake == "carrot"


def plain(turn: Turn[Order]) -> Order:
    """Prepare: the size is plain."""
    return attrs.evolve(turn.data, size="plain")


order: Flow[Order] = Flow(
    "order", data=Order, initial="cake",
    states=[
        State("cake", ask=Text("Which cake?"), reads=str, into="cake"),
        State("baking", call=baking),
        State("over", say=Text("Done."), final=True),
    ],
    transitions=[
        Transition("answer", "cake", "baking", conditions=is_known, prepare=plain),
        Transition("answer", "cake", "cake"),
        Transition(["done", "failed"], "baking", "over"),
    ],
)  # fmt: skip


def test_each_change_is_a_mutant_of_its_own() -> None:
    """Transitions, guards, a prepare, a call and an `into` are changed, one at a time."""
    made = dict(mutants_of(order))
    assert sorted(str(mutant) for mutant in made) == [
        "order: answer cake -> baking, is_known: is_known negated",
        "order: answer cake -> baking, is_known: leads to over",
        "order: answer cake -> baking, is_known: removed",
        "order: answer cake -> baking, is_known: without is_known",
        "order: answer cake -> baking, is_known: without plain",
        "order: answer cake -> cake: leads to baking",
        "order: answer cake -> cake: removed",
        "order: done baking -> over: leads to cake",
        "order: done baking -> over: removed",
        "order: failed baking -> over: leads to cake",
        "order: failed baking -> over: removed",
        "order: state baking: wrapping for baking",
        "order: state cake: into size for cake",
        "order: state cake: without into cake",
    ]
    for states, transitions, _ in made.values():
        changed = [way for way in transitions if way.made in {each.made for each in order.transitions}]
        assert len(changed) == len(transitions), "a mutant keeps the lines of the flow"
        assert len(states) == len(order.states)


def test_the_report_counts_each_stage_with_those_before_it() -> None:
    """Refused mutants are of all, the others of those that behave differently; what is left over is named."""
    shown = {
        "a: b: removed": {"made": "no way"},
        "a: c: removed": {"declared": "trap", "approved": "a"},
        "a: d: removed": {"walked": "turn 3"},
        "a: e: removed": {"tested": "test_e"},
        "a: f: removed": {},
        "a: g: removed": {},
    }
    printed = list(lines(shown, {"a: g: removed": "it never fires"}, tested=True))
    assert printed == [
        "6 mutants",
        "  refused when made: 1 of 6, 17 % (at least 45 %)  MISSED",
        "  1 change nothing that a member can see, 4 behave differently",
        "  found by the declaration alone: 1 of 4, 25 % (at least 45 %)  MISSED",
        "  found by approved walks: 1 of 4, 25 % (at least 85 %)  MISSED",
        "  found by the whole walk: 2 of 4, 50 % (at least 92 %)  MISSED",
        "  found by all tests of the flows: 3 of 4, 75 % (at least 99 %)  MISSED",
        "  = a: g: removed: it never fires",
        "  + a: e: removed: no walk shows it, test_e does",
        "  ! a: f: removed: survives",
    ]
