"""Typed data as plain data, and back. The only module that imports cattrs.

Typed data are the data of flows, the arguments and results of calls, profiles, and the parts of a document. Scalars are
never coerced: a text where a number belongs is a fault, not a number. `type_proof` says which types have a round trip.
"""

from __future__ import annotations

import dataclasses
from base64 import b85decode
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, MutableSequence, MutableSet, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from enum import Enum, EnumMeta
from functools import cache, partial
from math import isfinite
from types import NoneType, UnionType
from typing import (
    Any,
    Final,
    Literal,
    NotRequired,
    Required,
    TypeGuard,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)
from uuid import UUID

import attrs
from cattrs import BaseValidationError, ForbiddenExtraKeysError, StructureHandlerNotFoundError, transform_error
from cattrs.cols import is_mapping, list_structure_factory
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override
from cattrs.preconf.json import JsonConverter, make_converter

from vimbiso_fsm.document.json_codec import dumps, loads
from vimbiso_fsm.errors import InvalidMessage, NotStorable, Unreadable, UnstorableType

T = TypeVar("T")

READ_ERRORS: Final[tuple[type[Exception], ...]] = (BaseValidationError, TypeError, ValueError, KeyError, AttributeError)
"""The exceptions that reading raises for data of another shape. Any other exception is a mistake of this library."""

_NAMES: Final[Mapping[type, str]] = {str: "text", bool: "true or false"}


class Misshapen(TypeError):
    """A value is not of the wanted shape. The message quotes no value."""


def unstructure(value: object) -> Any:
    """Return a typed value as plain data.

    Raises:
        NotStorable: The value contains itself, or does not have the parts of its type.
    """
    try:
        return converter.unstructure(value)
    except (TypeError, AttributeError, KeyError, ValueError, RecursionError) as error:
        if isinstance(error, NotStorable):
            raise
        raise NotStorable("value", type(value).__name__) from None


def writer(kind: Any) -> Callable[[Any], Any]:
    """Return the function that writes values of a type as plain data. It raises whatever `write` raises."""
    return converter.get_unstructure_hook(kind)


def write(value: object, kind: object) -> Any:
    """Return a value as plain data of a type. Raises whatever cattrs and the classes of an author raise."""
    return converter.unstructure(value, unstructure_as=kind)


def read(raw: object, kind: Any) -> object:
    """Return plain data as a value of a type. Raises whatever cattrs and the classes of an author raise."""
    return converter.structure(raw, kind)


def structure(raw: object, kind: type[T]) -> T:
    """Return plain data as a typed value.

    Args:
        raw: The plain data.
        kind: The type of the value.

    Raises:
        Unreadable: The data is not of the type; the error has a sentence for each fault.
        UnstorableType: No data can be read as the type.
    """
    try:
        return converter.structure(raw, kind)
    except BaseValidationError as error:
        raise Unreadable(transform_error(error)) from None
    except READ_ERRORS as error:
        raise Unreadable([f"is no {getattr(kind, '__name__', kind)}: {type(error).__name__}"]) from None
    except (StructureHandlerNotFoundError, NameError) as error:
        raise UnstorableType(name_of(kind), "", "is no type that data can be read as", str(error)) from None
    except RecursionError:
        raise Unreadable([f"is no {name_of(kind)}: it is nested too deep"]) from None


def name_of(annotation: object) -> str:
    """Return an annotation as it stands in an error."""
    return annotation.__name__ if isinstance(annotation, type) and not get_args(annotation) else str(annotation)


def kind_of(value: object) -> str:
    """Return the name of a value's type as JSON knows it."""
    return "null" if value is None else type(value).__name__


def is_object(value: object) -> TypeGuard[Mapping[str, object]]:
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
    """Make a converter that takes an object for no list, and no text for a list of characters.

    Args:
        options: As of `cattrs.preconf.json.make_converter`.
    """
    made = make_converter(**options)
    made.register_structure_hook_factory(_is_object, partial(_object_reader, converter=made))
    made.register_structure_hook_factory(_is_list, partial(_list_reader, converter=made))
    made.register_structure_hook_func(lambda kind: kind == Mapping[str, Any], lambda value, _: dict(mapping(value)))
    return made


def object_writer(
    kind: type[T], omitted: Collection[str] = (), **written: Callable[[Any], object]
) -> Callable[[T], dict[str, object]]:
    """Make a function that writes an attrs class as plain data, without the fields that have their default.

    Args:
        kind: The class.
        omitted: The fields that are not written at all.
        written: The functions that write fields, by field, where it is not those of their types.
    """
    overrides: Any = {name: override(unstruct_hook=write) for name, write in written.items()}
    overrides |= {name: override(omit=True) for name in omitted}
    return make_dict_unstructure_fn(kind, converter, _cattrs_omit_if_default=True, **overrides)


def _is_object(kind: Any) -> bool:
    return attrs.has(kind) or dataclasses.is_dataclass(get_origin(kind) or kind)


def _object_reader(kind: Any, converter: JsonConverter) -> Callable[[object, object], object]:
    """Make a function that reads a class of fields; without the check, no object would be read as one of defaults."""
    read = make_dict_structure_fn(kind, converter)
    return lambda value, target: read(mapping(value), target)


_READ_AS: Final[Mapping[object, type]] = {
    **{kind: kind for kind in (list, tuple, set, frozenset, deque)},
    Sequence: tuple,
    MutableSequence: list,
    AbstractSet: frozenset,
    MutableSet: set,
}
"""The classes that lists are read as, by the class that a type names."""


def _is_list(kind: object) -> bool:
    return (get_origin(kind) or kind) in _READ_AS


def _is_set(kind: object) -> bool:
    origin = get_origin(kind) or kind
    return isinstance(origin, type) and issubclass(origin, AbstractSet)


def _set_writer(kind: object) -> Callable[[AbstractSet[object]], list[object]]:
    """Make a function that writes a set as a sorted list, so that equal sets are written alike in each process."""
    write = converter.get_unstructure_hook((*get_args(kind), Any)[0])
    return lambda value: sorted(map(write, value), key=dumps)


def _list_reader(kind: object, converter: JsonConverter) -> Callable[[object, object], object]:
    """Make a function that reads a list, a tuple or a set."""
    inner = get_args(kind)
    make = _READ_AS[get_origin(kind) or kind]
    several = get_origin(kind) is tuple and inner[-1:] != (...,)
    each: Any = inner[0] if inner and not several else Any
    read = list_structure_factory(list[each], converter)

    def structure_list(value: object, target: object) -> object:
        if not isinstance(value, list | tuple):
            raise Misshapen(f"must be a list, not {kind_of(value)}")
        found: list[object] = read(value, target)
        if several:
            found = [converter.structure(item, wanted) for item, wanted in zip(found, inner, strict=True)]
        return found if make is list else make(found)

    return structure_list


# Scalars -------------------------------------------------------------------------------------------------------------


def _float(value: object, _: object) -> float:
    if type(value) is int or type(value) is float:
        try:
            return float(value)
        except OverflowError:
            raise Misshapen("must be float, and is too large for one") from None
    raise Misshapen(f"must be float, not {kind_of(value)}")


def _decimal(value: object, _: object) -> Decimal:
    try:
        if isinstance(value, str):
            return Decimal(value)
    except InvalidOperation:
        pass
    raise Misshapen("must be a decimal number written as text")


def _from_text(make: Callable[[str], T], name: str) -> Callable[[object, object], T]:
    """Make a function that reads a value from the text that is written for it."""

    def structure_text(value: object, _: object) -> T:
        try:
            if isinstance(value, str):
                return make(value)
        except ValueError:
            pass
        raise Misshapen(f"must be {name} written as text")

    return structure_text


def _timedelta(value: object, _: object) -> timedelta:
    try:
        if type(value) is int:
            return timedelta(microseconds=value)
    except OverflowError:
        pass
    raise Misshapen("must be a number of microseconds")


# orjson refuses subclasses of built-in types, so that the standard library writes these values, or names the culprit.
_ForeignFloat: Final = type("float", (float,), {"__slots__": ()})


def _number(value: float) -> object:
    """Mark a float that JSON cannot hold; orjson would write `null`."""
    return _ForeignFloat(value) if type(value) is float and not isfinite(value) else value


# Enums ---------------------------------------------------------------------------------------------------------------


def _is_enum(kind: object) -> bool:
    return isinstance(kind, EnumMeta)


def _wire_of(member: Enum) -> object:
    """Return the plain data of an enum's member: its value if that is plain, and its name otherwise."""
    value: object = member.value
    plain = type(value) in (str, int, bool, NoneType) or (type(value) is float and isfinite(value))
    return value if plain else member.name


def write_members_of(kind: EnumMeta) -> None:
    """Let members of an enum be written as their plain data; cattrs takes those that are texts for texts."""
    if converter.get_unstructure_hook(kind) is not _wire_of:
        converter.register_unstructure_hook(kind, _wire_of)


@cache
def _enum_reader(kind: EnumMeta) -> Callable[[object, object], object]:
    """Make a function that reads the members of an enum, and the combinations of flags."""
    members: list[Any] = list(kind.__members__.values())
    wires = {(type(wire), wire): member for member in members for wire in [_wire_of(member)]}

    def structure_enum(value: object, _: object) -> object:
        try:
            found = wires.get((type(value), value))
            if found is None and type(value) is not bool:
                found = kind(value)  # an enum may know more values than it lists
        except (TypeError, ValueError):
            found = None
        if found is None:
            raise Misshapen(f"is no member of {kind.__name__}")
        return found

    return structure_enum


def _is_literal(kind: object) -> bool:
    origin: object = get_origin(kind)
    return origin is Literal


def _is_literal_of_members(kind: object) -> bool:
    return _is_literal(kind) and any(isinstance(each, Enum) for each in get_args(kind))


def _literal_reader(kind: object) -> Callable[[object, object], object]:
    """Make a function that reads the values of a `Literal`, which are told apart by their types: 1 is not True."""
    wires = {(type(wire), wire): each for each in get_args(kind) for wire in [_plain_of(each)]}

    def structure_literal(value: object, _: object) -> object:
        try:
            return wires[type(value), value]
        except (KeyError, TypeError):
            raise Misshapen(f"is none of {len(wires)} values") from None

    return structure_literal


def _plain_of(value: object) -> object:
    return _wire_of(value) if isinstance(value, Enum) else value


def _unless_enum(read: Callable[[object, object], object]) -> Callable[[object, object], object]:
    """Return the reader of a class that also reads enums that extend the class; cattrs finds it for them as well."""

    def structure_scalar(value: object, kind: object) -> object:
        if isinstance(kind, EnumMeta):
            return _enum_reader(kind)(value, kind)
        return read(value, kind)

    return structure_scalar


# Unions and keys -----------------------------------------------------------------------------------------------------


def _is_choice(kind: object) -> bool:
    """Whether a type is a union of several types beside None."""
    return get_origin(kind) in (Union, UnionType) and len(set(get_args(kind)) - {NoneType}) > 1


def _union_reader(kind: object, converter: JsonConverter) -> Callable[[object, object], object]:
    """Make a function that reads a value of a union.

    The value is read as the first type that would write the same plain data again. Where a class has changed since
    there may be none; it is then read as the type whose plain data has the nearest names.
    """
    members = [(member, converter.get_structure_hook(member)) for member in get_args(kind) if member is not NoneType]
    optional = NoneType in get_args(kind)

    def structure_union(value: object, _: object) -> object:
        if value is None and optional:
            return None
        found: list[tuple[int, object]] = []
        for member, read in members:
            try:
                made = read(value, member)
            except READ_ERRORS:
                continue
            distance = 0 if made is value else _distance(value, converter.unstructure(made, member))
            if distance == 0:
                return made
            found.append((distance, made))
        if not found:
            raise Misshapen(f"is none of {', '.join(name_of(member) for member, _ in members)}")
        return min(found, key=lambda each: each[0])[1]

    return structure_union


def _distance(raw: object, again: object) -> int:
    """Return how much the plain data of a reading differs from what was read; 0 if it is the same."""
    if dumps(raw) == dumps(again):
        return 0
    return 1 + len(raw.keys() ^ again.keys()) if isinstance(raw, Mapping) and isinstance(again, Mapping) else 1


def _keys_of(kind: object) -> object:
    """Return the type of the keys of a mapping; None for another type, and `Any` where the keys are not named."""
    if not is_mapping(kind) or is_typeddict(get_origin(kind) or kind):
        return None
    return (*get_args(kind), Any)[0]


def _mapping_writer(kind: object, converter: JsonConverter) -> Callable[[Mapping[object, object]], object]:
    """Make a function that writes a mapping with keys of any type. A key that is no text is written as JSON in one."""
    inner = get_args(kind)
    write = converter.get_unstructure_hook(inner[1]) if len(inner) > 1 else converter.unstructure
    return lambda value: {_key(key): write(item) for key, item in value.items()}


def _key(key: object) -> str:
    wire = key if type(key) is str else converter.unstructure(key)
    return wire if type(wire) is str else dumps(wire, "key").decode()


def _mapping_reader(kind: Any, converter: JsonConverter) -> Callable[[object, object], object]:
    """Make a function that reads a mapping with keys of any type."""
    wanted, *inner = get_args(kind)
    textual: object = (get_origin(kind) or kind)[(str, *inner)]
    read, read_key = converter.get_structure_hook(textual), converter.get_structure_hook(wanted)

    def structure_key(text: str) -> object:
        try:
            key = read_key(text, wanted)
            if _key(key) == text:
                return key
        except READ_ERRORS:
            pass
        try:
            return read_key(loads(text.encode()), wanted)
        except READ_ERRORS:
            raise Misshapen(f"has a key that is no {name_of(wanted)}") from None

    def structure_mapping(value: object, _: object) -> object:
        made = read(mapping(value), textual)
        items = {structure_key(text): item for text, item in made.items()}
        made.clear()
        made.update(items)
        return made

    return structure_mapping


# Tuples and dictionaries with names ----------------------------------------------------------------------------------
# cattrs reads their annotations as they are written; `get_type_hints` finds the classes that texts name.


def _is_named_tuple(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields")


def _named_tuple_reader(kind: Any, converter: JsonConverter) -> Callable[[object, object], object]:
    hints = get_type_hints(kind)
    wanted = [hints[name] for name in kind._fields]
    readers = [converter.get_structure_hook(each) for each in wanted]
    least = len(wanted) - len(kind._field_defaults)

    def structure_named_tuple(value: object, _: object) -> object:
        if not isinstance(value, list | tuple) or not least <= len(value) <= len(wanted):
            raise Misshapen(f"must be a list of {len(wanted)} values")
        return kind(*(read(item, each) for item, read, each in zip(value, readers, wanted, strict=False)))

    return structure_named_tuple


def _named_tuple_writer(kind: Any, converter: JsonConverter) -> Callable[[Any], list[object]]:
    hints = get_type_hints(kind)
    writers = [converter.get_unstructure_hook(hints[name]) for name in kind._fields]
    return lambda value: [write(item) for write, item in zip(writers, value, strict=True)]


def keys_of_typed_dict(kind: Any) -> Mapping[str, tuple[object, bool]]:
    """Return the type of each key of a typed dictionary, and whether the key is required."""
    hints = get_type_hints(kind, include_extras=True)
    plain = get_type_hints(kind)
    optional = {name for name, hint in hints.items() if get_origin(hint) is NotRequired}
    required = kind.__required_keys__ | {name for name, hint in hints.items() if get_origin(hint) is Required}
    return {name: (plain[name], name in required and name not in optional) for name in hints}


def _typed_dict_reader(kind: object, converter: JsonConverter) -> Callable[[object, object], object]:
    keys = keys_of_typed_dict(kind)
    readers = {name: (converter.get_structure_hook(hint), hint) for name, (hint, _) in keys.items()}
    required = [name for name, (_, needed) in keys.items() if needed]

    def structure_typed_dict(value: object, _: object) -> object:
        raw = mapping(value)
        if missing := [name for name in required if name not in raw]:
            raise Misshapen(f"lacks {', '.join(missing)}")
        return {name: readers[name][0](item, readers[name][1]) for name, item in raw.items() if name in readers}

    return structure_typed_dict


def _typed_dict_writer(kind: object, converter: JsonConverter) -> Callable[[Any], dict[str, Any]]:
    writers = {name: converter.get_unstructure_hook(hint) for name, (hint, _) in keys_of_typed_dict(kind).items()}
    return lambda value: {
        _key(name): writers[name](item) if name in writers else converter.unstructure(item)
        for name, item in value.items()
    }


# The converter of typed data -----------------------------------------------------------------------------------------

converter: Final = new_converter(unstruct_collection_overrides={tuple: list, deque: list})
"""The converter of typed data. It also writes documents."""

_SCALARS: Final[Mapping[type, Callable[[object, Any], object]]] = {
    **{kind: exactly(kind) for kind in (str, int, bool, NoneType)},
    float: _float,
    Decimal: _decimal,
    bytes: _from_text(b85decode, "bytes"),
    date: _from_text(date.fromisoformat, "a date"),
    datetime: _from_text(datetime.fromisoformat, "an instant"),
    time: _from_text(time.fromisoformat, "a time of day"),
    timedelta: _timedelta,
    UUID: _from_text(UUID, "a UUID"),
}
"""The functions that read scalars, by class."""
_WRITTEN: Final[Mapping[type, Callable[[Any], object]]] = {
    float: _number,
    Decimal: str,
    time: time.isoformat,
    timedelta: lambda value: value // timedelta(microseconds=1),
    UUID: str,
}
"""The functions that write scalars, by class; cattrs writes the others."""

for _kind, _read in _SCALARS.items():
    converter.register_structure_hook(_kind, _unless_enum(_read))
for _kind, _write in _WRITTEN.items():
    converter.register_unstructure_hook(_kind, _write)
converter.register_structure_hook_func(lambda kind: kind is object, lambda value, _: value)
converter.register_unstructure_hook_func(
    lambda kind: kind is object, lambda value: value if type(value) is object else converter.unstructure(value)
)
converter.register_unstructure_hook_factory(_is_set, _set_writer)
converter.register_structure_hook_factory(_is_literal, _literal_reader)
converter.register_unstructure_hook_factory(_is_literal_of_members, lambda _: _plain_of)
converter.register_structure_hook_factory(_is_enum, _enum_reader)
converter.register_unstructure_hook_factory(_is_enum, lambda _: _wire_of)
converter.register_structure_hook_factory(_is_choice, partial(_union_reader, converter=converter))
converter.register_structure_hook_factory(
    lambda kind: _keys_of(kind) not in (None, str, Any), partial(_mapping_reader, converter=converter)
)
converter.register_unstructure_hook_factory(
    lambda kind: _keys_of(kind) not in (None, str), partial(_mapping_writer, converter=converter)
)
converter.register_structure_hook_factory(_is_named_tuple, partial(_named_tuple_reader, converter=converter))
converter.register_unstructure_hook_factory(_is_named_tuple, partial(_named_tuple_writer, converter=converter))
converter.register_structure_hook_factory(is_typeddict, partial(_typed_dict_reader, converter=converter))
converter.register_unstructure_hook_factory(is_typeddict, partial(_typed_dict_writer, converter=converter))
