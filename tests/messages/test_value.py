"""Tests of `vimbiso_fsm.messages.value`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

import attrs
import pytest

import vimbiso_fsm
from vimbiso_fsm.messages.value import Value
from vimbiso_fsm.store import requests

PACKAGE: Final = vimbiso_fsm.__name__


@attrs.frozen
class Generated:
    """A class whose methods attrs makes."""

    name: str
    size: int = 0
    secret: str = attrs.field(default="", repr=False)
    note: str = attrs.field(default="", eq=False)
    more: dict[str, int] = attrs.field(factory=dict, hash=False)


@attrs.frozen(eq=False, repr=False)
class Shared(Value):
    """The same class with the methods of `Value`."""

    name: str
    size: int = 0
    secret: str = attrs.field(default="", repr=False)
    note: str = attrs.field(default="", eq=False)
    more: dict[str, int] = attrs.field(factory=dict, hash=False)


@attrs.frozen(eq=False, repr=False)
class Other(Value):
    """Another class with the same attributes."""

    name: str
    size: int = 0
    secret: str = ""
    note: str = ""
    more: dict[str, int] = attrs.field(factory=dict, hash=False)


ARGUMENTS: Final[tuple[tuple[Any, ...], ...]] = (
    ("a",),
    ("b",),
    ("a", 1),
    ("a", 0, "x"),
    ("a", 0, "", "y"),
    ("a", 0, "x", "y"),
    ("a", 0, "x", "y", {"b": 1}),
)


def _values(kind: type[Value] = Value) -> Iterator[type[Value]]:
    for each in kind.__subclasses__():
        yield each
        yield from _values(each)


@pytest.mark.parametrize("one", ARGUMENTS)
@pytest.mark.parametrize("other", ARGUMENTS)
def test_values_are_equal_where_those_of_attrs_are(one: tuple[Any, ...], other: tuple[Any, ...]):
    """Two values are equal, and have equal hashes, exactly where attrs would say so."""
    assert (Shared(*one) == Shared(*other)) is (Generated(*one) == Generated(*other))
    assert (hash(Shared(*one)) == hash(Shared(*other))) is (hash(Generated(*one)) == hash(Generated(*other)))


@pytest.mark.parametrize("arguments", ARGUMENTS)
def test_a_value_is_written_as_attrs_writes_it(arguments: tuple[Any, ...]):
    """The text of a value is that of attrs, without what is not shown."""
    assert repr(Shared(*arguments)) == repr(Generated(*arguments)).replace("Generated", "Shared")


def test_values_of_two_classes_differ():
    """A value is not equal to one of another class, nor to a subclass of its own, with the same attributes."""
    assert Shared("a") != Other("a")
    assert Shared("a") != Generated("a")
    assert requests.Load("a") != requests.ReadRecords("a")


def test_no_value_of_the_package_has_methods_of_its_own():
    """Each attrs class on `Value` says `eq=False, repr=False`; otherwise attrs makes the methods once more."""
    for module in pkgutil.walk_packages(vimbiso_fsm.__path__, f"{PACKAGE}."):
        if not module.name.endswith("__main__"):
            with suppress(ImportError):  # an extra is missing
                importlib.import_module(module.name)
    kinds = [kind for kind in _values() if kind.__module__.startswith(PACKAGE) and attrs.has(kind)]
    assert len(kinds) > 100
    assert [kind for kind in kinds if not {"__eq__", "__hash__", "__repr__"}.isdisjoint(vars(kind))] == []
