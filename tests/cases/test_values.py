"""Enums in the data of a flow, pickled errors, and flows with many states."""

from __future__ import annotations

import copy
import enum
import pickle
from typing import Any

import attrs
import pytest

from tests.cases.small_flows import YOU
from vimbiso_fsm import Bot, Flow, FlowStateManager, Message, Refused, State, Text, Transition, Turn
from vimbiso_fsm.errors import CommitUnknown, Contended, InvalidMessage, StoreUnavailable
from vimbiso_fsm.testing.chat import words


class Size(enum.StrEnum):
    """A size, as a `StrEnum`."""

    SMALL = "small"


@attrs.frozen
class Order:
    """The data of an order."""

    size: Size = Size.SMALL
    count: int = 0


def sure(turn: Turn[Order]) -> Text:
    """Return the text of the order, with the name of the size, which a plain text does not have."""
    return Text("{count} {size}?", count=turn.data.count, size=turn.data.size.name)


@pytest.mark.parametrize("cache", [pytest.param(100, id="cached"), pytest.param(0, id="restarted")])
def test_a_str_enum_may_stand_in_the_data(cache: int):
    """A `StrEnum` in the data is read as a member of its enum, also by another worker (Case 10)."""
    order = Flow(
        "order", data=Order, initial="count",
        states=[
            State("count", ask=Text("How many?"), reads=int, into="count"),
            State("sure",  ask=sure),
            State("end",   final=True),
        ],
        transitions=[
            Transition("answer", "count", "sure"),
            Transition("yes",    "sure",  "end"),
        ],
    )  # fmt: skip
    manager = FlowStateManager.in_memory(Bot(order), cache=cache)
    manager.handle(Message(YOU, "m1", "hi"))
    assert words(manager.handle(Message(YOU, "m2", "3")).replies) == ["3 SMALL?"]


def crossed(value: object) -> str:
    """Return the text of a value after a copy and after pickling, or the reason why that fails."""
    try:
        copy.deepcopy(value)
        return str(pickle.loads(pickle.dumps(value)))
    except TypeError as error:
        return f"TypeError: {error}"


@pytest.mark.parametrize(
    "value",
    [
        InvalidMessage("id", "is empty"),
        CommitUnknown("m", "t", "lost"),
        Contended("m", 5.0, 2),
        StoreUnavailable("down"),
        Text("a.key"),
        Refused("a.code"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_and_values_cross_the_borders_of_processes(value: object):
    """Errors, texts and refusals can be copied and pickled without a change (Case 44)."""
    assert crossed(value) == str(value)


def test_a_flow_may_have_two_hundred_questions():
    """A flow of two hundred questions is answered, gone back to its first question and answered again (Case 67)."""
    names = [f"q{number}" for number in range(200)]
    fields = {name: attrs.field(default="", type=str) for name in names}
    survey: Flow[Any] = Flow(
        "survey", data=attrs.make_class("Survey", fields, frozen=True), initial="q0",
        states=[
            *[State(name, ask=Text(name), reads=str, into=name) for name in names],
            State("end", say=Text("done"), final=True),
        ],
        transitions=[
            Transition("answer", name, following) for name, following in zip(names, [*names[1:], "end"], strict=True)
        ],
    )  # fmt: skip
    manager = FlowStateManager.in_memory(Bot(survey))
    texts = ["hi", *["an answer"] * 199, *["back"] * 199, *["an answer"] * 200]
    said = [words(manager.handle(Message(YOU, f"m{n}", text)).replies)[-1] for n, text in enumerate(texts)]
    assert (said[199], said[398], said[598]) == ("q199", "q0", "done")
