"""Equality and text of values, written once for all of their classes."""

from __future__ import annotations

from typing import Any

import attrs


class Value:
    """Base of frozen attrs classes that take their equality, hash and text from here: `eq=False, repr=False`.

    attrs would compile the three methods anew for each class, which is more than half of the time that it takes to make
    one. There are more than a hundred classes of requests, results, messages and events, and a turn compares none of
    them.
    """

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        """Return whether the other one is of the same class and has equal attributes, without those of `eq=False`."""
        if other.__class__ is not self.__class__:
            return NotImplemented
        return all(getattr(self, each.name) == getattr(other, each.name) for each in _fields(self) if each.eq)

    def __hash__(self) -> int:
        """Return a hash of what is compared, without attributes of `hash=False`."""
        hashed = (getattr(self, each.name) for each in _fields(self) if (each.eq if each.hash is None else each.hash))
        return hash((self.__class__, *hashed))

    def __repr__(self) -> str:
        """Return the name of the class and the attributes, without those of `repr=False`."""
        shown = ", ".join(f"{each.name}={getattr(self, each.name)!r}" for each in _fields(self) if each.repr)
        return f"{self.__class__.__qualname__.rpartition('>.')[2]}({shown})"


def _fields(value: Any) -> tuple[attrs.Attribute[Any], ...]:
    return tuple(attrs.fields(value.__class__))
