"""Hypothesis strategies: random types of a flow's data, each with a strategy of its values."""

# ruff: noqa: E501  # tables read best unwrapped

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import itertools
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, NewType, Optional, TypedDict
from uuid import UUID

import attrs
from hypothesis import strategies as st

from tests.strategies import plain_texts
from vimbiso_fsm.messages.money import Money


class Kind(NamedTuple):
    """A type, and how values of it are made.

    Attributes:
        type: The type, as an annotation.
        values: The strategy of its values.
        hashable: Whether its values can be keys.
    """

    type: Any
    values: st.SearchStrategy[Any]
    hashable: bool = True


_numbers = itertools.count(1)
_List: Any = list
_Tuple: Any = tuple
_Set: Any = set
_FrozenSet: Any = frozenset
_Deque: Any = deque
_Sequence: Any = Sequence
_Ordered: Any = OrderedDict
_Optional: Any = Optional
_Literal: Any = Literal
_Enum: Any = enum.Enum
_NamedTuple: Any = NamedTuple
_TypedDict: Any = TypedDict
"""Type checkers take no types that are made at run time; `Any` hides them."""
_zones = st.sampled_from(
    [None, dt.UTC, dt.timezone(dt.timedelta(hours=2)), dt.timezone(dt.timedelta(hours=-9, minutes=-30))]
)
_finite = st.floats(allow_nan=False, allow_infinity=False)
_decimals = st.decimals(allow_nan=False, allow_infinity=False, places=2)
_big = st.integers(-(1 << 70), 1 << 70)


def _name(word: str) -> str:
    return f"{word}{next(_numbers)}"


SCALARS = st.sampled_from([
    Kind(str, plain_texts), Kind(int, _big), Kind(bool, st.booleans()), Kind(float, _finite), Kind(type(None), st.none()),
    Kind(Decimal, _decimals), Kind(bytes, st.binary(max_size=9)), Kind(UUID, st.uuids()),
    Kind(dt.date, st.dates()), Kind(dt.time, st.times()), Kind(dt.timedelta, st.timedeltas()), Kind(dt.datetime, st.datetimes(timezones=_zones)),
    Kind(Money, st.builds(Money, _decimals, st.sampled_from(["USD", "ZWG"]))),
    Kind(Annotated[int, "a note"], _big), Kind(NewType("Handle", str), plain_texts), Kind(NewType("Day", dt.date), st.dates()),
])  # fmt: skip


@st.composite
def enums(draw: st.DrawFn) -> Kind:
    """An enum: of texts, of numbers, of other values, or of flags."""
    size = draw(st.integers(1, 4))
    names = [f"M{number}" for number in range(size)]
    base: Any
    values: Any
    base, values = draw(st.sampled_from([
        (enum.Enum, ["red", 2, 2.5, False]), (enum.StrEnum, ["a", "b", "M1", ""]), (enum.IntEnum, [7, 0, -1, 1 << 70]),
        (enum.Enum, [(1, 2), Decimal("1.5"), frozenset({1}), "plain"]), (enum.Flag, [1, 2, 4, 8]), (enum.IntFlag, [1, 2, 4, 8]),
    ]))  # fmt: skip
    made: Any = base(_name("Enum"), list(zip(names, values, strict=False)), module=__name__)
    members = st.sampled_from(list(made))
    if issubclass(made, enum.Flag):
        members = st.lists(members, min_size=1).map(lambda each: each[0] | each[-1])
    return Kind(made, members)


@st.composite
def literals(draw: st.DrawFn) -> Kind:
    """A `Literal` of texts, numbers and members of an enum."""
    shade = _Enum(_name("Shade"), {"LIGHT": "light", "DARK": "dark"}, module=__name__)
    values = draw(
        st.lists(st.sampled_from(["a", "b", 1, 2, True, None, *shade]), min_size=1, max_size=3, unique_by=repr)
    )
    return Kind(_Literal[tuple(values)], st.sampled_from(values))


def _fields(kinds: Sequence[Kind]) -> dict[str, Kind]:
    return {_name("field"): kind for kind in kinds}


def _objects(kind: Any, fields: Mapping[str, Kind]) -> st.SearchStrategy[Any]:
    return st.builds(kind, **{name: field.values for name, field in fields.items()})


@st.composite
def classes(draw: st.DrawFn, kinds: st.SearchStrategy[Kind]) -> Kind:
    """A class of fields: of attrs, with a base class or without, a dataclass, a named tuple, or a typed dictionary."""
    fields = _fields(draw(st.lists(kinds, min_size=1, max_size=3)))
    types = {name: field.type for name, field in fields.items()}
    hashable = all(field.hashable for field in fields.values())
    made: Any
    match draw(st.sampled_from(["frozen", "mutable", "derived", "dataclass", "named tuple", "typed dictionary"])):
        case "dataclass":
            made = dataclasses.make_dataclass(
                _name("Data"), list(types.items()), frozen=True, namespace={"__module__": __name__}
            )
        case "named tuple":
            made = _NamedTuple(_name("Named"), list(types.items()))
            made.__module__ = __name__
        case "typed dictionary":
            total = draw(st.booleans())
            made = _TypedDict(_name("Typed"), types, total=total)
            items = {name: field.values for name, field in fields.items()}
            several = st.fixed_dictionaries(items) if total else st.fixed_dictionaries({}, optional=items)
            return Kind(made, several, hashable=False)
        case kind:
            base: Any = attrs.make_class(_name("Base"), {}, frozen=kind != "mutable")
            given = {name: attrs.field(type=each) for name, each in types.items()}
            made = attrs.make_class(
                _name("Class"), given, bases=(base,) if kind == "derived" else (object,), frozen=kind != "mutable"
            )
            hashable = hashable and kind != "mutable"
    return Kind(made, _objects(made, fields), hashable)


@st.composite
def containers(draw: st.DrawFn, kinds: st.SearchStrategy[Kind]) -> Kind:
    """A container of another type."""
    inner = draw(kinds)
    several = st.lists(inner.values, max_size=3)
    frozen = [_Tuple[inner.type, ...], _Sequence[inner.type]]
    match draw(
        st.sampled_from(
            ["list", "tuple", "pair", "set", "frozenset", "deque", "dict", "mapping", "ordered", "optional"]
        )
    ):
        case "list":
            return Kind(_List[inner.type], several, hashable=False)
        case "tuple":
            return Kind(draw(st.sampled_from(frozen)), several.map(tuple), inner.hashable)
        case "pair":
            other = draw(kinds)
            return Kind(
                _Tuple[inner.type, other.type], st.tuples(inner.values, other.values), inner.hashable and other.hashable
            )
        case "set" if inner.hashable:
            return Kind(_Set[inner.type], several.map(set), hashable=False)
        case "frozenset" if inner.hashable:
            return Kind(_FrozenSet[inner.type], several.map(frozenset))
        case "deque":
            return Kind(_Deque[inner.type], several.map(deque), hashable=False)
        case "ordered":
            return Kind(
                _Ordered[str, inner.type],
                st.dictionaries(plain_texts, inner.values, max_size=2).map(OrderedDict),
                hashable=False,
            )
        case "optional" if inner.type is not type(None):
            return Kind(_Optional[inner.type], st.none() | inner.values, hashable=False)  # all keys have one type
        case _:
            pass
    keys = draw(kinds)
    if not keys.hashable:
        keys = Kind(str, plain_texts)
    outer: Any = draw(st.sampled_from([dict, Mapping]))
    return Kind(outer[keys.type, inner.type], st.dictionaries(keys.values, inner.values, max_size=2), hashable=False)


@st.composite
def unions(draw: st.DrawFn, kinds: st.SearchStrategy[Kind]) -> Kind:
    """A union of any types, of which some cannot be told apart when they are stored."""
    members = draw(st.lists(kinds, min_size=2, max_size=3))
    union: Any = members[0].type
    for member in members[1:]:
        union = _Optional[union] if member.type is type(None) else union | member.type
    return Kind(union, st.one_of([member.values for member in members]), all(member.hashable for member in members))


_leaves = st.one_of(SCALARS, SCALARS, enums(), literals())


def _grown(kinds: st.SearchStrategy[Kind], *, with_unions: bool) -> st.SearchStrategy[Kind]:
    return (
        st.one_of(containers(kinds), classes(kinds), unions(kinds))
        if with_unions
        else containers(kinds) | classes(kinds)
    )


sound_kinds: st.SearchStrategy[Kind] = st.recursive(
    _leaves, lambda kinds: _grown(kinds, with_unions=False), max_leaves=5
)
"""Types that may all stand in a flow's data."""

any_kinds: st.SearchStrategy[Kind] = st.recursive(_leaves, lambda kinds: _grown(kinds, with_unions=True), max_leaves=5)
"""Types that may stand in a flow's data, and unions that may not."""


def described(value: Any) -> object:
    """Return a value with the names of all its types, which is equal for values that are alike."""
    kind = type(value).__name__
    if attrs.has(type(value)):
        return kind, *(described(getattr(value, field.name)) for field in attrs.fields(type(value)))
    if dataclasses.is_dataclass(value):
        return kind, *(described(getattr(value, field.name)) for field in dataclasses.fields(value))
    if isinstance(value, Mapping):
        return kind, *((described(key), described(item)) for key, item in value.items())
    if isinstance(value, set | frozenset):
        return kind, frozenset(map(described, value))
    if isinstance(value, list | tuple | deque):
        return kind, *map(described, value)
    if isinstance(value, dt.datetime | dt.time):
        return kind, value.isoformat()  # `fold` is not stored; values that differ in it alone are equal
    return kind, repr(value)
