"""Typed data, written as plain data and read back."""

# ruff: noqa: E501  # tables read best unwrapped

from __future__ import annotations

import datetime as dt
import enum
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import json_values, plain_texts
from vimbiso_fsm.document.document import Document
from vimbiso_fsm.document.json_codec import dumps
from vimbiso_fsm.document.typed_data import structure, unstructure
from vimbiso_fsm.errors import Unreadable
from vimbiso_fsm.messages.money import Money


class Colour(enum.Enum):
    """An enumeration."""

    RED = "red"
    BLUE = "blue"


@attrs.frozen
class Inner:
    """A class inside the data."""

    name: str = ""
    price: Decimal = Decimal(0)


@attrs.frozen
class Data:
    """A field of every type a flow's data may have."""

    text: str = ""
    number: int = 0
    ratio: float = 0.0
    flag: bool = False
    price: Decimal = Decimal("0.00")
    money: Money | None = None
    colour: Colour = Colour.RED
    day: dt.date = dt.date(2026, 1, 1)
    at: dt.datetime | None = None
    inner: Inner = Inner()
    inners: tuple[Inner, ...] = ()
    names: list[str] = attrs.field(factory=list)
    table: dict[str, int] = attrs.field(factory=dict)
    anything: Mapping[str, Any] = attrs.field(factory=dict)


datas = st.builds(
    Data,
    text=plain_texts,
    number=st.integers(),
    ratio=st.floats(allow_nan=False, allow_infinity=False),
    flag=st.booleans(),
    price=st.decimals(allow_nan=False, allow_infinity=False, places=4),
    money=st.none() | st.builds(Money, st.decimals(0, 10**9, places=2), st.sampled_from(["USD", "ZWG"])),
    colour=st.sampled_from(Colour),
    day=st.dates(),
    at=st.none() | st.datetimes(timezones=st.just(dt.UTC)),
    inner=st.builds(Inner, plain_texts, st.decimals(allow_nan=False, allow_infinity=False, places=2)),
    inners=st.lists(st.builds(Inner, plain_texts), max_size=2).map(tuple),
    names=st.lists(plain_texts, max_size=2),
    table=st.dictionaries(plain_texts, st.integers(), max_size=2),
    anything=st.dictionaries(plain_texts, st.none() | st.integers() | st.lists(plain_texts, max_size=1), max_size=2),
)


@given(datas)
def test_typed_data_is_read_back_equal(data: Data):
    """A value of every type that the data of a flow may have is read back equal through JSON."""
    raw = json.loads(dumps(unstructure(data)))
    assert structure(raw, Data) == data
    assert raw == unstructure(data), "what is held in memory differs from what is read back"


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("text", 5), ("text", None), ("text", True), ("text", []), ("number", "5"), ("number", True), ("number", 5.0), ("ratio", "1"), ("ratio", True),
        ("flag", 1), ("flag", "true"), ("price", 5), ("price", 5.0), ("price", "five"), ("money", "5 USD"), ("colour", "green"), ("day", 5),
        ("day", "soon"), ("at", "soon"), ("at", 5), ("inner", []), ("inner", "x"), ("inner", {"name": 5}), ("inners", "ab"), ("inners", {"a": 1}),
        ("names", "ab"), ("names", {"a": 1}), ("names", [5]), ("table", []), ("table", [["a", 1]]), ("table", {"a": "1"}), ("anything", []),
        ("anything", [["a", 1]]), ("anything", ""),
    ],
)  # fmt: skip
def test_nothing_is_coerced(field: str, wrong: Any):
    """A text in the place of a number is a fault and not a number. The fault names the field and quotes no value."""
    raw = unstructure(Data()) | {field: wrong}
    with pytest.raises(Unreadable) as caught:
        structure(raw, Data)
    assert field in str(caught.value) or isinstance(wrong, dict)
    assert caught.value.faults


@given(json_values)
def test_reading_anything_else_is_refused(raw: Any):
    """Any JSON is data of the type or `Unreadable`; reading raises no other error."""
    for kind in (Data, Document):
        try:
            structure(raw, kind)
        except Unreadable as error:
            assert error.faults  # noqa: PT017
