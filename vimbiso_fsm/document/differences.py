"""The differences between a value and its copy that was written and read back."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, time
from typing import Any, TypeAlias, TypeGuard

import attrs

Settles: TypeAlias = Callable[[object, object], bool]
"""Tests whether a value may be read back as one of another class."""


def has_fields(kind: object) -> TypeGuard[type]:
    """Return whether a type is an attrs class or a dataclass."""
    return isinstance(kind, type) and (attrs.has(kind) or dataclasses.is_dataclass(kind))


def never_settles(_: object, __: object) -> bool:
    """Return that no value may be read back as one of another class."""
    return False


def differences(given: Any, back: Any, settles: Settles = never_settles) -> Iterator[tuple[str, str]]:
    """Yield the places where the value that is read back is another one than was given, and how it differs."""
    if type(given) is not type(back) and not settles(given, back):
        yield "", f"is of type {type(given).__name__}, and would be read back as {type(back).__name__}"
    elif has_fields(type(back)):
        for field in attrs.fields(type(back)) if attrs.has(type(back)) else dataclasses.fields(back):
            parts = differences(getattr(given, field.name, None), getattr(back, field.name, None), settles)
            yield from ((f".{field.name}{path}", fault) for path, fault in parts)
    elif isinstance(back, Mapping):
        if len(given) != len(back):
            yield "", "has keys that are stored alike"
        for place, ((key, one), (other, again)) in enumerate(zip(given.items(), back.items(), strict=False)):
            yield from ((f".key{path}", fault) for path, fault in differences(key, other, settles))
            yield from ((f".{place}{path}", fault) for path, fault in differences(one, again, settles))
    elif isinstance(back, list | tuple | deque):
        if len(given) != len(back):
            yield "", "would be read back with another length"
        for place, (one, again) in enumerate(zip(given, back, strict=False)):
            yield from ((f".{place}{path}", fault) for path, fault in differences(one, again, settles))
    elif isinstance(back, datetime | time):
        if given.isoformat() != back.isoformat():  # two instants may be unequal only because their zones differ
            yield "", "would be read back as another time"
    elif given != back and (given == given or back == back):  # noqa: PLR0124  # NaN is not equal to itself
        yield "", "would be read back as another value"
