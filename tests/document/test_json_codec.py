"""Plain data as JSON: the bytes are those of the standard library, and damaged objects are read field by field."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.strategies import plain_values
from vimbiso_fsm.document.codec import (
    decode,
)
from vimbiso_fsm.document.json_codec import dumps, dumps_unstructured, fragments, loads
from vimbiso_fsm.document.typed_data import unstructure
from vimbiso_fsm.errors import NotStorable, Unreadable


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"\xff", b"[" * 100_000, b'{"a": NaN}', b'{"a": Infinity}', b"\xef\xbb\xbf{}", b"'", b"[1,]", b"\0"],
)
def test_bytes_that_are_no_json(data: bytes):
    """Bytes that are not JSON are refused, and nothing of them is quoted."""
    with pytest.raises(Unreadable, match="it is not JSON"):
        loads(data)
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
def test_the_error_names_the_place_and_the_type(value: Any, path: str, kind: str):
    """The error for a value that cannot be stored names its place and its type, and does not quote it."""
    with pytest.raises(NotStorable) as caught:
        dumps(value)
    assert caught.value.path == path
    assert kind in caught.value.type_name


def test_a_circle_cannot_be_stored():
    """A structure that contains itself, or a live object, is refused."""
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(NotStorable):
        dumps({"a": circle})
    with pytest.raises(NotStorable, match="which cannot be stored"):
        dumps(Live())


def test_a_circle_is_named_too():
    """A structure that contains itself is refused on the way through orjson too."""
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(NotStorable, match="nested more than 50 deep"):
        dumps_unstructured(circle)


NAMES = ("channel", "profile", "_run", "_call", "n")


objects = st.recursive(
    plain_values,
    lambda inner: st.dictionaries(st.sampled_from(NAMES), inner) | st.lists(inner, max_size=2),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(NAMES), objects, min_size=1), st.integers(0, 10**6), st.integers(0, 255))
def test_a_damaged_byte_costs_one_field(raw: dict[str, Any], place: int, byte: int):
    """One damaged byte costs at most the field in which it stands.

    Fields of inner objects are never taken for it, though they have the same names. A byte between two fields may turn
    the first into another value, as 1 before a comma that became a 2.
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
def test_the_fields_before_a_cut_are_read(inner: Any):
    """Of an object that was cut off, the fields before the cut are read, and nothing of the field that it hit."""
    raw = {"n": 12, "profile": {"channel": inner}, "channel": {"n": inner}, "last": {}}
    data = dumps(raw)
    found = [fragments(data[:end], (*NAMES, "last"), "last") for end in range(len(data) + 1)]
    assert (found[0], found[-1]) == ({}, raw)
    for one in found:
        assert list(one.items()) == list(raw.items())[: len(one)]


def test_bytes_of_nothing_known_are_nothing():
    """Bytes without a known field give no fields, however deep they nest."""
    for data in (b"", b"{", b"[" * 99_999, b'{"n":' * 9_999, b"\xff" * 99, b"[1]"):
        assert fragments(data, NAMES, "n") == {}


BIG = st.integers(-(2**70), 2**70)


FOREIGN = st.sampled_from([float("nan"), float("inf"), -float("inf"), b"bytes".hex, 1j])
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
    """Return the bytes, or the place and the type of the value that cannot be written."""
    try:
        return write()
    except NotStorable as error:
        return error.path, error.type_name


@given(storable)
def test_plain_data_has_the_bytes_of_the_standard_library(value: Any):
    """The bytes that orjson writes are those of the standard library; both refuse the same place."""
    plain = unstructure(value)
    assert written(lambda: dumps_unstructured(plain)) == written(lambda: dumps(value))


@given(FOREIGN, st.lists(storable, max_size=2), st.booleans())
def test_a_value_that_json_cannot_hold_is_refused_by_name(value: Any, others: list[Any], in_object: bool):
    """A value that JSON cannot hold is refused by name, where orjson alone would write `null` or a text."""
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
    """A float has the bytes of the standard library, whatever its exponent, because digests are computed from them."""
    written = dumps_unstructured(unstructure({"n": value, "in a text": f"{value} one-way 0.00001 1e-7"}))
    assert written == dumps({"n": value, "in a text": f"{value} one-way 0.00001 1e-7"})
    assert dumps_unstructured(unstructure([value])) == dumps([value])


@pytest.mark.parametrize("depth", [10, 200, 300, 600])
def test_nesting_is_written_as_deep_as_by_the_standard_library(depth: int):
    """Nested lists have the bytes of the standard library at every depth."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    assert dumps_unstructured(value) == dumps(value)
