"""Typed data as plain data, and back. The only module that imports cattrs.

Typed data are the data of flows, the arguments and results of calls, profiles, and the parts of a document. Scalars are
never coerced: a text where a number belongs is a fault, not a number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import time
from decimal import Decimal, InvalidOperation
from functools import partial
from math import isfinite
from typing import Any, Final, TypeGuard, TypeVar, get_args, get_origin
from uuid import UUID

import attrs
from cattrs import BaseValidationError, ForbiddenExtraKeysError, transform_error
from cattrs.cols import list_structure_factory
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override
from cattrs.preconf.json import JsonConverter, make_converter

from vimbiso_fsm.errors import InvalidMessage, Unreadable

T = TypeVar("T")

READ_ERRORS: Final[tuple[type[Exception], ...]] = (BaseValidationError, TypeError, ValueError, KeyError, AttributeError)
"""The exceptions that reading raises for data of another shape. Any other exception is a mistake of this library."""

_NAMES: Final[Mapping[type, str]] = {str: "text", bool: "true or false"}


class Misshapen(TypeError):
    """A value is not of the wanted shape. The message quotes no value."""


def unstructure(value: object) -> Any:
    """Return a typed value as plain data."""
    return converter.unstructure(value)


def structure(raw: object, kind: type[T]) -> T:
    """Return plain data as a typed value.

    Args:
        raw: The plain data.
        kind: The type of the value.

    Raises:
        Unreadable: The data is not of the type; the error has a sentence for each fault.
    """
    try:
        return converter.structure(raw, kind)
    except BaseValidationError as error:
        raise Unreadable(transform_error(error)) from None
    except READ_ERRORS as error:
        raise Unreadable([f"is no {getattr(kind, '__name__', kind)}: {type(error).__name__}"]) from None


def kind_of(value: object) -> str:
    """Return the name of a value's type as JSON knows it."""
    return "null" if value is None else type(value).__name__


def is_object(value: object) -> TypeGuard[Mapping[str, Any]]:
    """Return whether a value is an object of JSON."""
    return type(value) is dict or isinstance(value, Mapping)  # the check of an abstract class is slow


def mapping(value: object) -> Mapping[str, Any]:
    """Return a value that must be an object.

    Raises:
        Misshapen: The value is not an object.
    """
    if not is_object(value):
        raise Misshapen(f"must be an object, not {kind_of(value)}")
    return value


def exactly(kind: type[T]) -> Callable[[object, object], T]:
    """Return a function that accepts values of a type, and none of a subclass."""

    def structure_exactly(value: object, _: object) -> T:
        if type(value) is not kind:
            raise Misshapen(f"must be {_NAMES.get(kind, kind.__name__)}, not {kind_of(value)}")
        return value

    return structure_exactly


def faults_in(error: Exception) -> Iterator[tuple[str, str]]:
    """Yield what one of `READ_ERRORS` says: a path such as `.data.step`, and a text that quotes no value."""
    for line in transform_error(error, "", _in_words):
        text, _, path = line.rpartition(" @ ")
        yield path.replace("[", ".").replace("]", ""), text


def _in_words(error: BaseException, _: object) -> str:
    """Describe an error of reading. Only the messages of this library are known to quote no value."""
    match error:
        case Misshapen():
            return str(error)
        case KeyError():
            return "is missing"
        case ForbiddenExtraKeysError():
            return "has a field that is not known"
        case InvalidMessage():
            return f"cannot be read: its {error.field.removeprefix('channel ')} {error.fault}"
        case _:
            return "cannot be read"


# Converters ----------------------------------------------------------------------------------------------------------


def new_converter(**options: Any) -> JsonConverter:
    """Make a converter that takes an object for no list and a text for no list of characters.

    Args:
        options: As of `cattrs.preconf.json.make_converter`.
    """
    made = make_converter(**options)
    made.register_structure_hook_factory(attrs.has, partial(_object_reader, converter=made))
    made.register_structure_hook_factory(_is_list, partial(_list_reader, converter=made))
    made.register_structure_hook_func(lambda kind: kind == Mapping[str, Any], lambda value, _: dict(mapping(value)))
    return made


def object_writer(kind: type[T], **written: Callable[[Any], object]) -> Callable[[T], dict[str, Any]]:
    """Make a function that writes an attrs class as plain data, without the fields that have their default.

    Args:
        kind: The class.
        written: The functions that write fields, by field, where it is not those of their types.
    """
    overrides: Any = {name: override(unstruct_hook=write) for name, write in written.items()}
    return make_dict_unstructure_fn(kind, converter, _cattrs_omit_if_default=True, **overrides)


def _object_reader(kind: Any, converter: JsonConverter) -> Callable[[object, Any], Any]:
    """Make a function that reads an attrs class; without the check, no object would be read as one of defaults."""
    read = make_dict_structure_fn(kind, converter)
    return lambda value, target: read(mapping(value), target)


def _is_list(kind: object) -> bool:
    return (get_origin(kind) or kind) in (list, tuple, set, frozenset)


def _list_reader(kind: Any, converter: JsonConverter) -> Callable[[object, Any], Any]:
    """Make a function that reads a list, a tuple or a set."""
    inner = get_args(kind)
    make = get_origin(kind) or kind
    several = make is tuple and inner[-1:] != (...,)
    each: Any = inner[0] if inner and not several else Any
    read = list_structure_factory(list[each], converter)

    def structure_list(value: object, target: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise Misshapen(f"must be a list, not {kind_of(value)}")
        found: list[Any] = read(value, target)
        if several and inner:
            found = [converter.structure(item, wanted) for item, wanted in zip(found, inner, strict=True)]
        return found if make is list else make(found)

    return structure_list


# Scalars -------------------------------------------------------------------------------------------------------------


def _float(value: object, _: object) -> float:
    if type(value) is int or type(value) is float:
        return float(value)
    raise TypeError(f"must be float, not {type(value).__name__}")


def _decimal(value: object, _: object) -> Decimal:
    try:
        if isinstance(value, str):
            return Decimal(value)
    except InvalidOperation:
        pass
    raise TypeError("must be a decimal number written as text")


# orjson refuses subclasses of built-in types, so that the standard library writes these values, or names the culprit.
_ForeignFloat: Final = type("float", (float,), {"__slots__": ()})
_ForeignTime: Final = type("time", (time,), {"__slots__": ()})
_ForeignUUID: Final = type("UUID", (UUID,), {"__slots__": ()})


def _number(value: float) -> object:
    """Mark a float that JSON cannot hold; orjson would write `null`."""
    return value if isfinite(value) else _ForeignFloat(value)


converter: Final = new_converter(unstruct_collection_overrides={tuple: list, set: list, frozenset: list})
"""The converter of typed data. It also writes documents."""
for _kind in (str, int, bool):
    converter.register_structure_hook(_kind, exactly(_kind))
converter.register_structure_hook(float, _float)
converter.register_structure_hook(Decimal, _decimal)
converter.register_unstructure_hook(Decimal, str)
converter.register_unstructure_hook(float, _number)
converter.register_unstructure_hook(time, lambda value: _ForeignTime(value.hour))
converter.register_unstructure_hook(UUID, lambda value: _ForeignUUID(int=value.int))
