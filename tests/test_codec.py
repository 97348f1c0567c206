"""Documents and typed data, written down and read back."""

# ruff: noqa: E501  # tables read best unwrapped

from __future__ import annotations

import datetime as dt
import enum
import itertools
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bots import CHANNEL, START, member_document
from tests.strategies import documents, json_values, plain_texts, plain_values
from vimbiso_fsm.answers import Money
from vimbiso_fsm.codec import (
    Unreadable,
    decode,
    document_from_raw,
    document_to_raw,
    dumps,
    encode,
    fragments,
    loads,
    replies_from_raw,
    replies_to_raw,
    structure,
    unstructure,
)
from vimbiso_fsm.errors import NotStorable
from vimbiso_fsm.messages import Button, Buttons, Menu, Reply, Row, Text
from vimbiso_fsm.state import Document


class Colour(enum.Enum):
    """For typed data."""

    RED = "red"
    BLUE = "blue"


@attrs.frozen
class Inner:
    """For typed data."""

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


@given(documents())
def test_a_document_is_read_back_equal(document: Document):
    """Writing and reading change nothing, and writing again gives the same bytes."""
    data = encode(document)
    assert decode(data) == document
    assert encode(decode(data)) == data


def test_the_shape_of_the_seed():
    """A document that has nothing to say beyond the seed has exactly its fields, with the seed's names."""
    raw = json.loads(encode(member_document(channels=(), profile={"name": "Ada"})))
    assert raw == {
        "member_id": "m-1",
        "channel": {"type": "whatsapp", "identifier": "263771234567", "metadata": {}},
        "jwt_token": "token-0",
        "authenticated": True,
        "profile": {"name": "Ada"},
        "current_account": {},
        "flow_data": {},
        "_guest": False,
        "_version": 0,
        "_last_updated": "2026-11-22T09:15:02.123456+00:00",
    }


@given(datas)
def test_typed_data_is_read_back_equal(data: Data):
    """Every type that a flow's data may have comes back as it was, through JSON."""
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
    """A text where a number belongs is a fault, not a number; the fault names the field and quotes no value."""
    raw = unstructure(Data()) | {field: wrong}
    with pytest.raises(Unreadable) as caught:
        structure(raw, Data)
    assert field in str(caught.value) or isinstance(wrong, dict)
    assert caught.value.faults


@given(json_values)
def test_reading_anything_else_is_refused(raw: Any):
    """Any JSON is data of the type or `Unreadable`, never another error."""
    for kind in (Data, Document):
        try:
            structure(raw, kind)
        except Unreadable as error:
            assert error.faults  # noqa: PT017


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"\xff", b"[" * 100_000, b'{"a": NaN}', b'{"a": Infinity}', b"\xef\xbb\xbf{}", b"'", b"[1,]", b"\0"],
)
def test_bytes_that_are_no_json(data: bytes):
    """Refused with the place, whatever they are; nothing of them is quoted."""
    with pytest.raises(Unreadable, match="it is no JSON"):
        loads(data)
    with pytest.raises(Unreadable):
        decode(data)


@pytest.mark.parametrize("data", [b"5", b"null", b'"x"', b"[]", b"true"])
def test_json_that_is_no_object(data: bytes):
    """A document is an object."""
    with pytest.raises(Unreadable, match="not an object"):
        decode(data)


@given(st.binary(max_size=60))
def test_reading_bytes_never_raises_anything_else(data: bytes):
    """Garbage is `Unreadable`."""
    with pytest.raises(Unreadable):
        decode(data)


class Live:
    """A live object."""


@pytest.mark.parametrize(
    ("value", "path", "kind"),
    [
        ({"a": Live()}, "document.a", "Live"),
        ({"a": [1, {"b": Live()}]}, "document.a.1.b", "Live"),
        ({"a": float("nan")}, "document.a", "float"),
        ({"a": {1, 2}}, "document.a", "set"),
        ({"a": b"x"}, "document.a", "bytes"),
        ({"a": "\ud800"}, "document.a", "str"),
        ({"a": {(1, 2): 3}}, "document.a", "key of type tuple"),
    ],
)
def test_what_cannot_be_stored_is_named(value: Any, path: str, kind: str):
    """The error says where and of what type, not what."""
    with pytest.raises(NotStorable) as caught:
        dumps(value)
    assert caught.value.path == path
    assert kind in caught.value.type_name


def test_a_circle_cannot_be_stored():
    """A structure that contains itself is refused."""
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(NotStorable):
        dumps({"a": circle})
    with pytest.raises(NotStorable, match="which cannot be stored"):
        dumps(Live())


def test_a_field_that_is_unknown_is_refused():
    """A document holds what it may hold and nothing else."""
    raw = document_to_raw(member_document())
    with pytest.raises(Unreadable):
        document_from_raw(raw | {"extra": 1})
    with pytest.raises(Unreadable):
        document_from_raw({name: value for name, value in raw.items() if name != "channel"})


NAMES = ("channel", "profile", "_run", "_call", "n")
objects = st.recursive(
    plain_values,
    lambda inner: st.dictionaries(st.sampled_from(NAMES), inner) | st.lists(inner, max_size=2),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(NAMES), objects, min_size=1), st.integers(0, 10**6), st.integers(0, 255))
def test_what_one_spoilt_byte_leaves_is_read_field_by_field(raw: dict[str, Any], place: int, byte: int):
    """All fields but the one it stands in; of inner objects none, though their fields have the same names. Where it
    stands between two fields, the first may have become another, as 1 has before a comma that became a 2."""
    raw["last"] = {}
    data = bytearray(dumps(raw))
    place %= len(data)
    data[place] = byte
    ends = list(itertools.accumulate((len(dumps({name: value})) - 1 for name, value in raw.items()), initial=1))
    hit = next(name for name, end in zip(raw, ends[1:], strict=True) if place < end)
    try:
        loads(bytes(data))
    except Unreadable:
        found = fragments(bytes(data), (*NAMES, "last"), "last")
        found.pop(hit, None)
        del raw[hit]
        assert found == raw


@pytest.mark.parametrize("inner", [1, {"channel": 1}, {"channel": {"_run": {}}}])
def test_what_is_cut_off_is_read_up_to_there(inner: Any):
    """Of a field that may go on nothing is read, nor of what is inside it."""
    raw = {"n": 12, "profile": {"channel": inner}, "channel": {"n": inner}, "last": {}}
    data = dumps(raw)
    found = [fragments(data[:end], (*NAMES, "last"), "last") for end in range(len(data) + 1)]
    assert (found[0], found[-1]) == ({}, raw)
    for one in found:
        assert list(one.items()) == list(raw.items())[: len(one)]


def test_bytes_of_nothing_known_are_nothing():
    """However deep."""
    for data in (b"", b"{", b"[" * 99_999, b'{"n":' * 9_999, b"\xff" * 99, b"[1]"):
        assert fragments(data, NAMES, "n") == {}


REPLIES: list[Reply] = [
    Text("plain"),
    Text("k", a=1, b="x"),
    Buttons(Text("q", n=1), (Button("b1", Text("t")), Button("b2", Text("t", x="y")))),
    Menu(Text("q"), (Row("r1", Text("t"), Text("d", z=1)), Row("r2", Text("t")))),
]


def test_replies_are_stored_as_keys_and_parameters():
    """They come back equal, through JSON."""
    assert replies_from_raw(json.loads(dumps(replies_to_raw(REPLIES)))) == tuple(REPLIES)


@given(json_values)
def test_replies_of_another_shape_are_refused(raw: Any):
    """Any JSON gives replies or `Unreadable`."""
    try:
        replies_from_raw([raw])
    except Unreadable as error:
        assert error.faults  # noqa: PT017


def test_an_instant_keeps_its_microseconds():
    """And its time zone."""
    assert decode(encode(member_document())).last_updated == START
    assert decode(encode(member_document())).channel == CHANNEL
