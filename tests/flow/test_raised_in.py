"""An exception names the callback, the slot, the flow and the state in which it was raised."""

from __future__ import annotations

import functools
from typing import Any

import attrs
import pytest

from vimbiso_fsm import Bot, Flow, State, Text, Transition, Turn, readers
from vimbiso_fsm.audit.redaction import error_record
from vimbiso_fsm.flow.raised_in import callback_place, note_callback
from vimbiso_fsm.testing.chat import Talk


@attrs.frozen
class Data:
    word: str = ""


def broken(_: Any) -> Any:
    """Raise, as a callback with a fault does."""
    raise ZeroDivisionError("what a member wrote")


class Broken:
    """A callback that is an object."""

    def __call__(self, turn: Turn[Data]) -> Text:
        """Raise."""
        return Text(str(1 // 0))


def asking(_: Turn[Data]) -> Text:
    """Raise, as a question with a fault does."""
    return Text(str(1 // 0))


def flow_with(**slots: Any) -> Flow[Any]:
    """A flow of two questions, whose second one has these slots."""
    way = {name: slots.pop(name) for name in ("prepare", "conditions") if name in slots}
    state: dict[str, Any] = {"ask": Text("Second?"), "reads": str, "into": "word", **slots}
    return Flow(
        "visit", data=Data, initial="first",
        states=[State("first", ask=Text("First?"), reads=str), State("second", **state), State("end", final=True)],
        transitions=[Transition("answer", "first", "second"), Transition("answer", "second", "end", **way)],
    )  # fmt: skip


SLOTS: dict[str, tuple[dict[str, Any], str]] = {
    "guard": ({"conditions": broken}, "guard 'broken'"),
    "prepare": ({"prepare": broken}, "prepare 'broken'"),
    "reader": ({"reads": broken}, "reads 'broken'"),
    "reader of the turn": ({"reads": readers.of_turn(broken)}, "reads 'broken'"),
    "question": ({"ask": asking}, "ask 'asking'"),
    "object": ({"ask": Broken()}, "ask 'Broken'"),
    "partial": ({"conditions": functools.partial(broken)}, "guard 'partial'"),
    "rows": ({"rows": broken}, "rows 'broken'"),
}


@pytest.mark.parametrize("slot", SLOTS)
def test_an_exception_names_its_callback(slot: str) -> None:
    """The note of an exception and its audit entry name slot, callback, flow and state, and quote nothing."""
    slots, named = SLOTS[slot]
    talk = Talk(Bot([flow_with(**slots)])).says("hi", "one")
    talk = talk if talk.last.error else talk.say("two")
    place = f"{named} of flow 'visit', state 'second'"
    assert talk.last.error is not None
    assert talk.last.error.__notes__ == [f"It was raised in {place}."]
    assert talk.entry.detail["callback"] == place
    assert "wrote" not in str(talk.entry)


def test_an_exception_of_no_callback_names_none() -> None:
    """An exception that no callback has raised gets no note, and its record no place."""
    error = KeyError("x")
    note_callback([flow_with()], error, "visit", "first")
    assert callback_place(error) == ""
    assert "callback" not in error_record(error, "")
