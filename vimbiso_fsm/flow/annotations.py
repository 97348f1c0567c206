"""Whether what a callback gives fits where it goes, as far as the annotations of both say: a state's answer into its
field, a sub-flow's input and its result. What is not annotated, or not with classes, is taken at its word."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterator
from typing import Any

from vimbiso_fsm.flow.calls import Call
from vimbiso_fsm.messages.refusals import Refused


def returned(callback: Callable[..., object]) -> object:
    """What a callback gives, `Any` where that cannot be known; a class gives itself."""
    return callback if isinstance(callback, type) else _hints(callback).get("return", Any)


def called(callback: Callable[..., object]) -> object:
    """What the call that a callback proposes comes back with."""
    proposed = returned(callback)
    arguments = typing.get_args(proposed)
    return arguments[0] if typing.get_origin(proposed) is Call and arguments else Any


def field_type(data: type, name: str) -> object:
    """What a field takes, `Any` where that cannot be known."""
    return _hints(data).get(name, Any)


def _hints(of: object) -> dict[str, Any]:
    try:
        return typing.get_type_hints(of)
    except Exception:  # noqa: BLE001  # a name that is not there yet, or no function at all: then nothing is known
        return {}


def fits(given: object, wanted: object) -> bool:
    """Whether every value of one may stand where the other is wanted. A `Refused` never gets there."""
    takes = list(_parts(wanted))
    return all(_is_refused(part) or any(_is_kind(part, taken) for taken in takes) for part in _parts(given))


def _is_refused(part: object) -> bool:
    return isinstance(part, type) and issubclass(part, Refused)


def _parts(annotation: object) -> Iterator[object]:
    """The members of a union."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        for part in typing.get_args(annotation):
            yield from _parts(part)
    else:
        yield type(None) if annotation is None else annotation


def _is_kind(part: object, taken: object) -> bool:
    one, other = typing.get_origin(part) or part, typing.get_origin(taken) or taken
    if not (isinstance(one, type) and isinstance(other, type)) or {one, other} & {Any, object}:
        return True
    return issubclass(one, other) or (one is int and other is float)


def name_of(annotation: object) -> str:
    """An annotation in words."""
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)
