"""The examples of readers, of states and of shortcuts, and the codes of `failed_with`."""

from __future__ import annotations

import copy
import datetime as dt
import pickle
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from vimbiso_fsm import Flow, FlowError, Money, Refused, Shortcut, State, Text, Transition, failed_with, readers
from vimbiso_fsm.messages.examples import examples_of, exemplified, near_of

READERS: dict[str, Any] = {
    "amount": readers.amount({"USD": 2, "ZWG": 2}),
    "amount of whole units": readers.amount({"JPY": 0}),
    "amount in bounds": readers.amount({"USD": 2}, least=Money(Decimal("5.00"), "USD"), most=Money(Decimal(7), "USD")),
    "number": readers.number(),
    "number in bounds": readers.number(least=5, most=7),
    "number without bounds": readers.number(least=None),
    "negative number": readers.number(least=-9, most=-5),
    "name": readers.name(),
    "short name": readers.name(1, 2),
    "long name": readers.name(20, 30),
    "handle": readers.handle,
    "choice": readers.choice("red", "blue"),
    "date": readers.date(),
    "date in bounds": readers.date(earliest=dt.date(2026, 1, 1), latest=dt.date(2026, 1, 2)),
    "free text": readers.free_text(),
    "short text": readers.free_text(1),
    "phone": readers.phone(),
    "phone of a region": readers.phone("ZW"),
    "either": readers.either(readers.location, readers.number(most=9), readers.choice("many")),
}


@pytest.mark.parametrize("name", READERS)
def test_a_reader_accepts_its_examples_and_refuses_what_is_near(name: str) -> None:
    """Each example of a reader is read, and each text that is near is refused."""
    reader = READERS[name]
    assert reader.examples
    assert [text for text in reader.examples if isinstance(reader(text), Refused)] == []
    assert reader.near
    assert [text for text in reader.near if not isinstance(reader(text), Refused)] == []


def test_a_reader_of_the_turn_has_the_examples_of_a_turn() -> None:
    """A bound of the turn is an example, once the turn is known."""
    reader: Any = readers.date(earliest=lambda turn: turn.today)
    assert reader.examples == reader.near == ()
    assert reader.at(SimpleNamespace(today=dt.date(2027, 1, 4))).examples == ("2027-01-04", "2027-01-05")


def test_a_reader_of_an_author_gets_examples() -> None:
    """`exemplified` gives any reader examples, and one without them has none."""
    read = exemplified("friday", near=("someday",))(lambda text: text)
    assert (examples_of(read), near_of(read)) == (("friday",), ("someday",))
    assert examples_of(str) == near_of(None) == ()


def test_a_state_and_a_shortcut_name_examples() -> None:
    """A state and a shortcut take one example or several; what is no text is refused."""
    flow: Flow[Any] = Flow(
        "visit", initial="day",
        states=[State("day", ask=Text("Day?"), reads=str, examples="friday"), State("end", final=True)],
        transitions=[Transition("answer", "day", "end")],
    )  # fmt: skip
    assert flow["day"].examples == ("friday",)
    assert Shortcut(flow, lambda text: [text], examples=["a", "b"]).examples == ("a", "b")
    with pytest.raises(FlowError, match="give texts"):
        State("day", examples=[1])  # type: ignore[list-item]  # it is refused


def test_failed_with_shows_its_codes() -> None:
    """A guard of `failed_with` names the codes, and accepts a call that failed with one of them."""
    guard = failed_with("a", "b")
    assert guard.codes == ("a", "b")
    assert guard.__name__ == "because a or b"
    reasons = [Refused("b", field="x"), Refused("c"), None]
    assert [guard(SimpleNamespace(reason=each)) for each in reasons] == [True, False, False]  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [Refused("a", field="x", held="5"), Text("k", name="ada")], ids=["Refused", "Text"])
def test_reasons_and_texts_copy_and_pickle(value: object) -> None:
    """A service that remembers a reason or a text can be copied and pickled."""
    assert copy.copy(value) == copy.deepcopy(value) == pickle.loads(pickle.dumps(value)) == value
