"""Typed data that may be kept in place of being read again from its plain data."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from types import NoneType, UnionType
from typing import Any, Final, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

import attrs

Test: TypeAlias = Callable[[object], bool]

_SCALARS: Final = frozenset({str, int, bool, float, Decimal, NoneType})


def stable(kind: object) -> Test:
    """Return a test for values of a type.

    A value passes when it can never change and `typed_data.structure` would give an equal one of the same types for its
    plain data, so it may be kept in place of being read again. Values of other types (lists, mappings, instants,
    classes that are not frozen) never pass.
    """
    try:
        return _stable(kind, ())
    except (AttributeError, KeyError, NameError, TypeError):  # annotations that cannot be resolved
        return _never


def _never(_: object) -> bool:
    return False


def _stable(kind: Any, within: tuple[type, ...]) -> Test:
    """Make the test for a type that stands in the classes `within`; a class inside itself never passes."""
    kind = NoneType if kind is None else kind
    origin, inner = get_origin(kind), get_args(kind)
    if kind in _SCALARS:
        return lambda value: type(value) is kind
    if origin is Literal:
        allowed = {(type(each), each) for each in inner if type(each) in _SCALARS}
        return lambda value: type(value) in _SCALARS and (type(value), value) in allowed
    if origin in (Union, UnionType):
        tests = tuple(_stable(each, within) for each in inner)
        return lambda value: any(test(value) for test in tests)
    if origin is tuple and len(inner) == 2 and inner[1] is ...:
        test = _stable(inner[0], within)
        return lambda value: isinstance(value, tuple) and type(value) is tuple and all(map(test, value))
    if isinstance(kind, type) and attrs.has(kind) and kind not in within and _is_frozen(kind):
        types = get_type_hints(kind)  # not attrs.resolve_types: that would change the fields of an author's class
        fields = tuple((field.name, _stable(types[field.name], (*within, kind))) for field in attrs.fields(kind))
        if not any(test is _never for _, test in fields):
            return lambda value: type(value) is kind and _all_pass(value, fields)
    return _never


def _all_pass(value: object, fields: Iterable[tuple[str, Test]]) -> bool:
    for name, test in fields:  # noqa: SIM110  # each turn runs this, and a generator takes two thirds more time
        if not test(getattr(value, name)):
            return False
    return True


def _is_frozen(kind: type) -> bool:
    try:
        object.__new__(kind).__setattr__("", None)
    except Exception as error:  # noqa: BLE001 – a slot or a `__setattr__` of the class's own may refuse it as well
        return isinstance(error, attrs.exceptions.FrozenInstanceError)
    return False
