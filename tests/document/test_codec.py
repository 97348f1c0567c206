"""Documents and typed data, written down and read back."""

# ruff: noqa: E501  # tables read best unwrapped

from __future__ import annotations

import datetime as dt
import enum
import itertools
import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from math import isfinite
from typing import Any, Literal, cast
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tests.bots import CHANNEL, START, member_document
from tests.strategies import documents, json_values, plain_texts, plain_values
from vimbiso_fsm.document.codec import (
    Unreadable,
    decode,
    document_from_raw,
    document_to_raw,
    dumps,
    dumps_unstructured,
    encode,
    fragments,
    is_intact,
    keep_judged,
    loads,
    restored,
    stable,
    structure,
    unstructure,
)
from vimbiso_fsm.document.document import Document
from vimbiso_fsm.document.replies_codec import replies_from_raw, replies_to_raw
from vimbiso_fsm.errors import NotStorable
from vimbiso_fsm.messages.money import Money
from vimbiso_fsm.messages.replies import Button, Buttons, Menu, Reply, Row, Text


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
    """All fields but the one it stands in; of inner objects none, though their fields have the same names.

    Where it stands between two fields, the first may have become another, as 1 has before a comma that became a 2.
    """
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


# Written by orjson: the bytes are those of the standard library ----------------------------------------------------

BIG = st.integers(-(2**70), 2**70)
FOREIGN = st.sampled_from([float("nan"), float("inf"), -float("inf"), UUID(int=7), dt.time(9, 15, 2), b"bytes".hex, 1j])
"""What JSON cannot say, though orjson writes most of it."""
numbers = st.floats(allow_nan=False, allow_infinity=False)
storable: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | BIG
    | numbers
    | st.text()
    | st.sampled_from(["\ud800", '\x00\x1f\x7f\u2028"\\/', "💣", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=3),
    max_leaves=8,
)


def written(write: Callable[[], bytes]) -> bytes | tuple[str, str]:
    """The bytes, or what is said of the field that cannot be written down."""
    try:
        return write()
    except NotStorable as error:
        return error.path, error.type_name


@given(storable)
def test_plain_data_has_the_bytes_of_the_standard_library(value: Any):
    """Also big integers, lone surrogates, control characters, empty lists, keys that are numbers."""
    plain = unstructure(value)
    assert written(lambda: dumps_unstructured(plain)) == written(lambda: dumps(value))


@given(FOREIGN, st.lists(storable, max_size=2), st.booleans())
def test_what_json_cannot_say_is_named_and_not_written(value: Any, others: list[Any], in_object: bool):
    """Orjson alone would write `null` for NaN and infinities, and texts for UUIDs and times of day."""
    whole: Any = {"a": others, "b": {"c": value}} if in_object else [*others, value]
    found = written(lambda: dumps_unstructured(unstructure(whole), "it"))
    assert isinstance(found, tuple)
    assert found == written(lambda: dumps(whole, "it"))


@given(st.floats(allow_nan=False, allow_infinity=False) | st.floats(1e-10, 1e-3))
@example(1e-09)
@example(1.5e-05)
@example(-9.999999999999998e-05)
@example(1e16)
@example(5e-324)
def test_a_float_has_the_bytes_of_the_standard_library(value: float):
    """Digests are made of the bytes: a float is written the same, whatever its exponent."""
    written = dumps_unstructured(unstructure({"n": value, "in a text": f"{value} one-way 0.00001 1e-7"}))
    assert written == dumps({"n": value, "in a text": f"{value} one-way 0.00001 1e-7"})
    assert dumps_unstructured(unstructure([value])) == dumps([value])


@pytest.mark.parametrize("depth", [10, 200, 300, 600])
def test_nesting_is_written_as_deep_as_by_the_standard_library(depth: int):
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    assert dumps_unstructured(value) == dumps(value)


def test_a_circle_is_named_too():
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(NotStorable, match="nested more than 50 deep"):
        dumps_unstructured(circle)


offsets = st.integers(-86_399, 86_399).map(lambda seconds: dt.timezone(dt.timedelta(seconds=seconds)))
zones = st.none() | st.just(dt.UTC) | offsets | st.sampled_from(["Africa/Harare", "Europe/Paris"]).map(ZoneInfo)


@given(st.datetimes(timezones=zones), st.booleans(), st.booleans())
def test_an_instant_is_written_as_isoformat_writes_it(instant: dt.datetime, whole_second: bool, beside_big: bool):
    """With microseconds of 0 and without, in any time zone, also where the standard library has to write the rest."""
    instant = instant.replace(microsecond=0) if whole_second else instant
    rest = [2**80] if beside_big else []
    document = attrs.evolve(member_document(), last_updated=instant, deadline=instant)
    before = member_document()
    keep_judged(before, document_to_raw(before), None)
    raw = document_to_raw(document, before)
    assert loads(dumps_unstructured([raw["_last_updated"], raw["_deadline"], *rest]))[:2] == [instant.isoformat()] * 2
    assert dumps_unstructured(raw) == encode(document)


@given(
    documents(), documents(), st.sets(st.sampled_from([field.name for field in attrs.fields(Document) if field.init]))
)
def test_a_document_made_from_another_has_the_bytes_it_has_alone(one: Document, other: Document, changed: set[str]):
    """Whichever of its attributes are the same objects."""
    keep_judged(one, document_to_raw(one), None)
    after = attrs.evolve(one, **{name: getattr(other, name) for name in changed})
    assert dumps_unstructured(document_to_raw(after, one)) == encode(after)
    keep_judged(after, document_to_raw(after, one), None)
    again = attrs.evolve(after, version=after.version + 1)
    assert dumps_unstructured(document_to_raw(again, after)) == encode(again)


# Values that callbacks could change in place -----------------------------------------------------------------------


def test_a_change_in_place_is_noticed_and_can_be_taken_back():
    """Of the profile, the current account, and what the channel knows of the member."""
    for name in ("profile", "current_account", "metadata"):
        channel = attrs.evolve(CHANNEL, metadata={"a": [1]})
        document = member_document(channel=channel, profile={"a": [1]}, current_account={"a": [1]})
        keep_judged(document, document_to_raw(document), None)
        assert is_intact(document)
        getattr(document.channel if name == "metadata" else document, name)["a"].append(2)
        assert not is_intact(document)
        whole = restored(document)
        assert whole.profile == whole.current_account == whole.channel.metadata == {"a": [1]}


def test_a_document_that_cannot_be_compared_is_never_called_intact():
    document = member_document(profile={"n": 2**80})
    keep_judged(document, document_to_raw(document), None)
    assert not is_intact(document)
    assert restored(document) is document


@attrs.frozen
class Fixed:
    """Nothing of it can change."""

    word: str = ""
    amount: Decimal | None = None
    price: Money = attrs.field(factory=lambda: Money(Decimal(1), "USD"))
    sizes: tuple[Literal["s", "m"], ...] = ()
    numbers: tuple[tuple[int, ...], ...] = ()
    yes: bool = False
    share: float = 0.5


@attrs.define
class Open:
    """It can be assigned to."""

    word: str = ""


@attrs.frozen
class WithList:
    """Its list can change."""

    words: list[str] = attrs.field(factory=list)


@attrs.frozen
class Tree:
    """It holds others of its kind."""

    inner: tuple[Tree, ...] = ()


@given(st.from_type(Fixed))
def test_stable_data_is_what_would_be_read_back(data: Fixed):
    """Equal, and of the same types, so that keeping it changes nothing."""
    assume(isfinite(data.share) and data.price.amount.is_finite() and (data.amount is None or data.amount.is_finite()))
    assert stable(Fixed)(data)
    again = structure(loads(dumps_unstructured(unstructure(data))), Fixed)
    assert (again, repr(again)) == (data, repr(data))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Open, Open()), (WithList, WithList()), (Tree, Tree((Tree(),))), (Data, Data()), (list[str], []), (dict[str, str], {}), (Any, 1),
        (Fixed, Fixed(word=cast(Any, 5))), (Fixed, Fixed(amount=cast(Any, 1))), (Fixed, Fixed(sizes=cast(Any, ["s"]))),
        (Fixed, Fixed(sizes=cast(Any, ("l",)))), (Fixed, Fixed(yes=cast(Any, 1))), (Fixed, Fixed(share=1)), (Fixed, None),
        (Fixed, Fixed(price=cast(Any, None))), (dt.datetime, START),
    ],
)  # fmt: skip
def test_other_data_is_never_stable(kind: Any, value: Any):
    """What can change, what is read back as another type, and what the annotations do not promise."""
    assert not stable(kind)(value)
