"""Each part of a declaration remembers the line at which it was made."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import attrs
import pytest

from vimbiso_fsm import (
    Bot,
    Flow,
    FlowError,
    Inbox,
    Limits,
    Migration,
    NoData,
    SessionLife,
    Shortcut,
    State,
    Text,
    Transition,
    Trigger,
)
from vimbiso_fsm.flow.carry_on import CARRY_ON
from vimbiso_fsm.made import Made, made_of


def here(offset: int = 0) -> Made:
    """Return the place of the caller."""
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return Made(__file__, frame.f_back.f_lineno + offset)


def question(name: str) -> State[Any]:
    """Return a question."""
    return State(name, ask=Text("Well?"))


def flow(name: str = "visit", **rest: Any) -> Flow[Any]:
    """Return a flow."""
    return Flow(
        name,
        initial="a",
        states=[State("a", ask=Text("Well?")), State("b", final=True)],
        transitions=[Transition("go", "a", "b")],
        **rest,
    )


def test_a_part_remembers_its_line():
    """The place is the line on which the call begins, for each class of a declaration."""
    visit = flow()
    parts: list[tuple[Any, Made]] = [
        (State("a", ask=Text("Well?")), here()),
        (State[NoData]("a", ask=Text("Well?")), here()),
        (Transition("go", "a", "b"), here()),
        (Shortcut(visit, str.split), here()),
        (Migration(1), here()),
        (Inbox("desk"), here()),
        (Trigger("paid", lambda turn, fact: None, by="bank"), here()),
        (
            Bot(
                [visit],
            ),
            here(-3),
        ),
    ]
    assert [part.made for part, _ in parts] == [place for _, place in parts]


def test_a_place_is_that_of_the_innermost_code_of_the_author():
    """A comprehension, a function that makes parts and `attrs.evolve` are lines of their own."""
    lines = {State(name, final=True).made for name in ("a", "b")}
    assert lines == {here(-1)}
    assert question("a").made == made_of(question)._replace(line=made_of(question).line + 2)
    changed, line = attrs.evolve(question("a"), final=False), here()
    assert changed.made == line
    assert CARRY_ON.made.file.endswith("carry_on.py")


def test_a_bot_with_other_services_is_the_one_that_was_made():
    """`with_services` makes no declaration of its own."""
    bot = Bot([flow()])
    assert bot.with_services({"desk": object()}).made == bot.made


def test_a_place_is_no_part_of_a_value():
    """Equal parts of other lines are equal, and look and are stored alike."""
    visit = flow()
    first = Shortcut(visit, str.split)
    second = Shortcut(visit, str.split)
    assert first.made != second.made
    assert (first, hash(first), repr(first)) == (second, hash(second), repr(second))
    assert "made" not in repr(State("a")) + repr(Transition("go", "a", "b")) + repr(visit) + repr(Bot([visit]))
    assert flow().fingerprint == visit.fingerprint


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: flow(version=0),
        lambda: Bot([]),
        lambda: SessionLife(idle=0),
        lambda: Limits(text=0),
        lambda: Bot([flow()], dropped=["visit"]),
        lambda: Inbox("desk", back=[]),
    ],
    ids=["flow", "bot", "session", "limits", "dropped", "inbox"],
)
def test_an_error_names_the_line_outside_the_library(wrong):
    """The fault of an argument is shown at the call of the author, wherever the library finds it."""
    with pytest.raises(FlowError) as caught:
        wrong()
    (fault,) = caught.value.faults
    assert fault.file == __file__
    source = Path(__file__).read_text(encoding="utf-8").splitlines()
    assert source[fault.line - 1].strip().startswith(("lambda:", "return Flow("))
    assert f"{Path(__file__).name}:{fault.line})" in str(caught.value)
    assert caught.value.fault == fault.fault
