"""Comparison of the annotations of callbacks with those of the fields that take their values.

The pairs are an answer and its field, the input of a sub-flow and its data, and the output of a sub-flow and its
field. A callback without annotations, or with annotations that are not classes, fits everywhere.
"""

from __future__ import annotations

import functools
import operator
import types
import typing
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import attrs

from vimbiso_fsm.flow.calls import Call
from vimbiso_fsm.flow.turn import Turn
from vimbiso_fsm.messages.readers import ContentReader, TurnReader
from vimbiso_fsm.messages.refusals import Refused


def returned(callback: Callable[..., object]) -> object:
    """Return the annotated result of a callback; `Any` if it is unknown. The result of a class is the class."""
    if isinstance(callback, TurnReader):
        return callback.returns if callback.plain is None else returned(callback.plain)
    if isinstance(callback, ContentReader):
        return _union([*(way.returns for way in callback.ways), *map(returned, callback.texts)])
    return callback if isinstance(callback, type) else _hints(callback).get("return", Any)


def called(callback: Callable[..., object]) -> object:
    """Return the annotated result of the call that a callback proposes; `Any` if it is unknown."""
    proposed = returned(callback)
    arguments = typing.get_args(proposed)
    return arguments[0] if typing.get_origin(proposed) is Call and arguments else Any


def result_type(callback: Callable[..., object]) -> Any:
    """Return the annotated result of the call that a callback proposes, `Refused` aside; `Any` if it is unknown."""
    return _union([part for part in parts_of(called(callback)) if not _is_refused(part)])


def _union(parts: Sequence[Any]) -> Any:
    """Return the union of annotations; `Any` if there are none."""
    return functools.reduce(operator.or_, parts) if parts else Any


def field_type(data: type, name: str) -> object:
    """Return the annotation of a field; `Any` if it is unknown."""
    return _hints(data).get(name, Any)


def fits(given: object, wanted: object) -> bool:
    """Return whether each value of one annotation is one of the other, `Refused` aside, which is never stored."""
    takes = list(parts_of(wanted))
    return all(_is_refused(part) or any(_is_kind(part, taken) for taken in takes) for part in parts_of(given))


def takes_kind(wanted: tuple[type, ...], given: object) -> bool:
    """Return whether each value of an annotation is an instance of one of these classes; True if it is unknown."""
    return all(any(_is_kind(part, kind) for kind in wanted) for part in parts_of(given))


def lacks(callback: Callable[..., object], data: type) -> Iterator[tuple[str, str]]:
    """Yield the fields that a callback's turn has by its annotation and that `data` lacks, with the name of the class.

    A `Turn[Order]` of another flow is one whose fields this flow does not have.
    """
    turn = next((hint for name, hint in _hints(callback).items() if name != "return"), None)
    wanted = next(iter(typing.get_args(turn)), None) if typing.get_origin(turn) is Turn else None
    if isinstance(wanted, type) and attrs.has(wanted):
        for name in attrs.fields_dict(wanted).keys() - attrs.fields_dict(data).keys():
            yield wanted.__name__, name


def _hints(annotated: object) -> dict[str, object]:
    if hasattr(annotated, "__wrapped__"):  # a decorator may change the result
        return {}
    try:
        return (
            _hints_of(annotated)
            if isinstance(annotated, types.FunctionType | type)
            else typing.get_type_hints(annotated)
        )
    except Exception:  # noqa: BLE001  # an undefined name, or not a function: nothing is known then
        return {}


@functools.lru_cache(maxsize=65_536)
def _hints_of(annotated: types.FunctionType | type) -> dict[str, object]:
    """Return the hints of a function or a class, read once. An undefined name raises, and is looked for again."""
    return typing.get_type_hints(annotated)


def _is_refused(part: object) -> bool:
    return isinstance(part, type) and issubclass(part, Refused)


def parts_of(annotation: object) -> Iterator[object]:
    """Yield the members of a union."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        for part in typing.get_args(annotation):
            yield from parts_of(part)
    else:
        yield type(None) if annotation is None else annotation


def _is_kind(part: object, taken: object) -> bool:
    kind, wanted = typing.get_origin(part) or part, typing.get_origin(taken) or taken
    if not (isinstance(kind, type) and isinstance(wanted, type)) or {kind, wanted} & {Any, object}:
        return True
    return issubclass(kind, wanted) or (kind is int and wanted is float)
