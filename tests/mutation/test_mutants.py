"""The mutants of a flow, and what is printed of them."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from tests.mutation.kept import SOURCES, Kept, digest
from tests.mutation.mutants import mutants_of
from tests.mutation.report import lines
from tests.mutation.unnamed import unused
from vimbiso_fsm import Call, Flow, State, Text, Transition, Turn, call
from vimbiso_fsm.runtime.base import resolve_bot


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


def test_a_result_is_kept_until_what_it_depends_on_changes(tmp_path: Path) -> None:
    """A run of the command goes on where another has ended."""
    today = {"made": "a", "declared": "b"}
    kept = Kept(tmp_path / "build" / "results.jsonl", today)
    assert kept.read() == {}
    kept.add("x: y: removed", {"made": "", "declared": "trap"})
    kept.add("x: z: removed", {"made": "it is refused"})
    assert kept.read() == {
        "x: y: removed": {"made": "", "declared": "trap"},
        "x: z: removed": {"made": "it is refused"},
    }
    changed = Kept(kept.file, {**today, "declared": "c"})
    assert changed.read() == {"x: y: removed": {"made": ""}, "x: z: removed": {"made": "it is refused"}}


def test_a_digest_is_of_the_contents_of_files(tmp_path: Path) -> None:
    """Another text, and another name, makes another digest."""
    for source in SOURCES["approved"]:
        (tmp_path / source).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "flows").mkdir()
    for source in SOURCES["approved"]:
        if source.endswith(".py"):
            (tmp_path / source).write_text("", encoding="utf-8")
    made = {digest("approved", tmp_path)}
    for name, text in (("a.py", "1"), ("a.py", "2"), ("b.py", "2")):
        (tmp_path / "flows" / name).write_text(text, encoding="utf-8")
        made.add(digest("approved", tmp_path))
    assert len(made) == 4


BAKERY = """
from vimbiso_fsm import Bot, Flow, State, Text, Transition, Turn


def is_open(turn: Turn) -> bool:
    return True


def asks(turn: Turn) -> Text:
    return Text("Well?")


bakery = Flow(
    "bakery", initial="asking",
    states=[State("asking", ask=asks), State("end", say=Text("Bye."), final=True)],
    transitions=[Transition("go", "asking", "end", conditions=is_open)],
)
bot = Bot(bakery, texts={"bakery.asking.go": "Go"})
"""


def test_a_guard_that_a_mutant_drops_is_named_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`callback-unused` finds in a mutant what it would find in the changed source."""
    (tmp_path / "mutated_bakery.py").write_text(BAKERY, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    bot = resolve_bot("mutated_bakery")
    assert unused(bot) == []
    bakery = bot.flow("bakery")
    parts = next(parts for mutant, parts in mutants_of(bakery) if mutant.change == "without is_open")
    object.__setattr__(bakery, "transitions", tuple(parts[1]))
    assert [(each.code, each.line) for each in unused(bot)] == [("callback-unused", 5)]
