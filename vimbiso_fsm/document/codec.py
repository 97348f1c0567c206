"""Documents and typed data, written down and read back. The only module that knows cattrs; JSON on the wire.

The shape of a document is the seed's, exactly; what the framework adds starts with `_` and is left out while it has
nothing to say. Scalars are never coerced: a text where a number belongs is a fault, not a number.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime, time
from decimal import Decimal, InvalidOperation
from math import isfinite
from operator import ne
from types import NoneType, UnionType
from typing import Any, Final, Literal, NamedTuple, TypeVar, Union, cast, get_args, get_origin, get_type_hints
from uuid import UUID

import attrs
import orjson
from cattrs import BaseValidationError, transform_error
from cattrs.cols import list_structure_factory
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override
from cattrs.preconf.json import make_converter

from vimbiso_fsm.document.document import Address, Document, Judged, PendingCall, Run, StepData, Undelivered
from vimbiso_fsm.errors import NotStorable

T = TypeVar("T")

RESERVED = frozenset({"flow_type", "channel", "_validation_context", "_validation_state"})
"""Names in `flow_data.data` that belong to the framework; no field of a flow's data may be called so."""

_converter = make_converter(unstruct_collection_overrides={tuple: list, set: list, frozenset: list})


class Unreadable(ValueError):
    """Data that is not of the wanted shape. `faults`: a sentence with a path each; no value is quoted."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(self.faults))


# JSON --------------------------------------------------------------------------------------------------------------

_STRICT: Final = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_SUBCLASS

_SMALL: Final = re.compile(rb"[0-9]e-[0-9](?![0-9])|(?<![0-9])0\.0000[0-9]")
"""Floats from 1e-9 to 1e-4, which orjson writes as 1e-7 or 0.000015 and the standard library as 1e-07 or 1.5e-05."""


def _instant_as_text(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError


_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), check_circular=False)
_encoder_of_instants = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), check_circular=False, default=_instant_as_text
)


def dumps(raw: Any, path: str = "document") -> bytes:
    """`raw` as JSON in UTF-8.

    Raises: NotStorable, naming the field below `path` that cannot be written down.
    """
    return _dumped(_encoder, raw, path)


def dumps_unstructured(raw: Any, path: str = "document") -> bytes:
    """Plain data made by `unstructure` or `document_to_raw` as JSON in UTF-8, with orjson.

    The bytes are those of `dumps`. Not for other data: orjson also writes values that JSON cannot hold, such as NaN (as
    `null`) and UUIDs, and `unstructure` marks them for this function.

    Raises: NotStorable, naming the field below `path` that cannot be written down.
    """
    try:
        data = orjson.dumps(raw, option=_STRICT)
    except TypeError:  # the standard library also writes longer integers, keys that are numbers, and deeper nesting
        return _dumped(_encoder_of_instants, raw, path)
    if (b"e-" in data or b"0.0000" in data) and _SMALL.search(data):
        return _dumped(_encoder_of_instants, raw, path)
    return data


def _dumped(encoder: json.JSONEncoder, raw: Any, path: str) -> bytes:
    try:
        return encoder.encode(raw).encode()
    except (TypeError, ValueError, RecursionError, UnicodeEncodeError):
        raise _culprit(encoder, raw, path, 0) from None


def _culprit(encoder: json.JSONEncoder, raw: Any, path: str, depth: int) -> NotStorable:
    """The error for the first value below `path` that JSON cannot hold."""
    if depth > 50:
        return NotStorable(path, "structure nested more than 50 deep")
    inner: Iterable[tuple[Any, Any]] = ()
    if isinstance(raw, dict):
        inner = raw.items()
    elif isinstance(raw, list | tuple):
        inner = enumerate(raw)
    for name, value in inner:
        if not isinstance(name, str | int):
            return NotStorable(path, f"key of type {type(name).__name__}")
        try:
            encoder.encode(value).encode()
        except (TypeError, ValueError, RecursionError, UnicodeEncodeError):
            return _culprit(encoder, value, f"{path}.{name}", depth + 1)
    return NotStorable(path, type(raw).__name__ if inner == () else "value that JSON cannot hold")


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


_decoder = json.JSONDecoder(parse_constant=_no_constant)


def loads(data: bytes) -> Any:
    """What JSON says.

    Raises: Unreadable when `data` is no JSON in UTF-8.
    """
    try:
        return _decoder.decode(data.decode())
    except (ValueError, RecursionError) as error:
        where = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise Unreadable([f"it is no JSON{where}"]) from None


def fragments(data: bytes, names: Collection[str], last: str) -> dict[str, Any]:
    """What can still be read, field by field, of an object that `dumps` has written and that is no JSON any more: what
    stands before the damage, and what stands after it up to the end. `names`: those the object's fields may have;
    `last`: one that stands behind the others.

    A field of an inner object is never taken for one: after it, more than one brace is left to be closed; and where
    the end was cut off, `last` does not follow it.
    """
    text = data.decode(errors="surrogateescape")  # a byte that is no UTF-8 spoils the field it stands in, no other
    found, end, whole = _fields(text, 1, names)
    quoted = "|".join(map(re.escape, names))
    starts = () if whole else (match.start() for match in re.finditer(f'"(?:{quoted})":', text[end:]))
    for start in starts:
        rest, _, whole = _fields(text, end + start, names)
        if whole and last in rest:
            return {**rest, **found}
    return found


def _fields(text: str, at: int, names: Collection[str]) -> tuple[dict[str, Any], int, bool]:
    """The fields of an object from `at` on -> those that can be read, where the next one begins, whether that is the
    object's end and the text's. The sign after a field may be any: it may be the one that was spoilt."""
    found: dict[str, Any] = {}
    name = _name_at(text, at, names)
    while name is not None and name not in found:
        try:
            value, end = _decoder.raw_decode(text, at + len(name) + 3)
            _encoder.encode(value).encode()
        except (ValueError, RecursionError):
            break
        follows = _name_at(text, end + 1, names)
        if follows is None and end + 1 != len(text):
            break
        found[name], at, name = value, end + 1, follows
    return found, at, at == len(text)


def _name_at(text: str, at: int, names: Collection[str]) -> str | None:
    """The field whose name begins there; one sign of it may be spoilt."""
    for spoilt in (0, 1):
        for name in names:
            written = f'"{name}":'
            there = text[at : at + len(written)]
            if len(there) == len(written) and sum(map(ne, there, written)) == spoilt:
                return name
    return None


# Scalars -----------------------------------------------------------------------------------------------------------


def _exactly(kind: type[T]) -> Callable[[Any, Any], T]:
    def structure_exactly(value: Any, _: Any) -> T:
        if type(value) is not kind:
            raise TypeError(f"must be {kind.__name__}, not {type(value).__name__}")
        return value

    return structure_exactly


def _float(value: Any, _: Any) -> float:
    if type(value) not in (int, float):
        raise TypeError(f"must be float, not {type(value).__name__}")
    return float(value)


# orjson refuses subclasses of built-in types, so that the standard library writes these values, or names the culprit.
_ForeignFloat: Final = type("float", (float,), {"__slots__": ()})
_ForeignTime: Final = type("time", (time,), {"__slots__": ()})
_ForeignUUID: Final = type("UUID", (UUID,), {"__slots__": ()})


def _number(value: float) -> float:
    """A float, marked where it is none that JSON can say: orjson would write `null`."""
    return value if isfinite(value) else cast(float, _ForeignFloat(value))


def _time(value: time) -> time:
    return cast(time, _ForeignTime(value.hour))


def _uuid(value: UUID) -> UUID:
    return cast(UUID, _ForeignUUID(int=value.int))


def _decimal(value: Any, _: Any) -> Decimal:
    try:
        if isinstance(value, str):
            return Decimal(value)
    except InvalidOperation:
        pass
    raise TypeError("must be a decimal number written as text")


for _kind in (str, int, bool):
    _converter.register_structure_hook(_kind, _exactly(_kind))
_converter.register_structure_hook(float, _float)
_converter.register_structure_hook(Decimal, _decimal)
_converter.register_unstructure_hook(Decimal, str)
_converter.register_unstructure_hook(float, _number)
_converter.register_unstructure_hook(time, _time)
_converter.register_unstructure_hook(UUID, _uuid)


# Containers: an object is no list, a text is no list of characters --------------------------------------------------


def _object(value: Any, _: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"must be an object, not {type(value).__name__}")
    return dict(cast("dict[str, Any]", value))


def _of_object(kind: Any) -> Callable[[Any, Any], Any]:
    """Reads an attrs class; what is no object would be one of nothing but defaults."""
    read = make_dict_structure_fn(kind, _converter)
    return lambda value, target: read(_object(value, target), target)


def _of_list(kind: Any) -> Callable[[Any, Any], Any]:
    """Reads a list, a tuple or a set."""
    inner = get_args(kind)
    make = get_origin(kind) or kind
    several = make is tuple and inner[-1:] != (...,)
    read = list_structure_factory(
        cast(Any, list.__class_getitem__(inner[0] if inner and not several else Any)), _converter
    )

    def structure_list(value: Any, target: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise TypeError(f"must be a list, not {type(value).__name__}")
        found: list[Any] = read(value, target)
        if several and inner:
            found = [_converter.structure(one, wanted) for one, wanted in zip(found, inner, strict=True)]
        return found if make is list else make(found)

    return structure_list


def _is_list(kind: Any) -> bool:
    return (get_origin(kind) or kind) in (list, tuple, set, frozenset)


_converter.register_structure_hook_factory(attrs.has, _of_object)
_converter.register_structure_hook_factory(_is_list, _of_list)
_converter.register_structure_hook_func(lambda kind: kind == Mapping[str, Any], _object)


# Typed data of flows, arguments and results of calls ---------------------------------------------------------------


def unstructure(value: Any, kind: Any = None) -> Any:
    """Plain data for a typed value."""
    return _converter.unstructure(value, unstructure_as=kind)


def structure(raw: Any, kind: type[T]) -> T:
    """The typed value for plain data.

    Raises: Unreadable with a sentence for each fault.
    """
    try:
        return _converter.structure(raw, kind)
    except BaseValidationError as error:
        raise Unreadable(transform_error(error)) from None
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise Unreadable([f"is no {getattr(kind, '__name__', kind)}: {type(error).__name__}"]) from None


# Typed data that may be kept beside its plain form -----------------------------------------------------------------

_SCALARS: Final = frozenset({str, int, bool, float, Decimal, NoneType})


def stable(kind: Any) -> Callable[[Any], bool]:
    """A test for values of a type: whether one can never change, and `structure` would give an equal one of the same
    types for its plain data.

    A value that passes may be kept in place of being read again. Values of other types (lists, mappings, instants,
    classes that are not frozen) never pass.
    """
    try:
        return _stable(kind, ())
    except (AttributeError, KeyError, NameError, TypeError):  # annotations that cannot be resolved
        return _never


def _never(_: Any) -> bool:
    return False


def _stable(kind: Any, within: tuple[Any, ...]) -> Callable[[Any], bool]:
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
        return lambda value: type(value) is tuple and all(map(test, value))
    if isinstance(kind, type) and attrs.has(kind) and kind not in within and _is_frozen(kind):
        types = get_type_hints(kind)  # not attrs.resolve_types: that would change the fields of an author's class
        fields = tuple((field.name, _stable(types[field.name], (*within, kind))) for field in attrs.fields(kind))
        if not any(test is _never for _, test in fields):
            return lambda value: type(value) is kind and all(test(getattr(value, name)) for name, test in fields)
    return _never


def _is_frozen(kind: type) -> bool:
    try:
        object.__new__(kind).__setattr__("", None)
    except Exception as error:  # noqa: BLE001 – a slot or a `__setattr__` of the class's own may refuse it as well
        return isinstance(error, attrs.exceptions.FrozenInstanceError)
    return False


# The document ------------------------------------------------------------------------------------------------------


def _step_data_to_raw(data: StepData) -> dict[str, Any]:
    return {
        "flow_type": data.flow_type,
        "channel": {"type": data.channel.type, "identifier": data.channel.identifier},
        "_validation_context": data.context,
        "_validation_state": data.verdict,
        **data.fields,
    }


def _step_data_from_raw(raw: Any, _: Any) -> StepData:
    return StepData(
        flow_type=raw["flow_type"],
        channel=_converter.structure(raw["channel"], Address),
        context=raw["_validation_context"],
        verdict=raw["_validation_state"],
        fields={name: value for name, value in raw.items() if name not in RESERVED},
    )


_converter.register_unstructure_hook(StepData, _step_data_to_raw)
_converter.register_structure_hook(StepData, _step_data_from_raw)
for _class in (Run, PendingCall, Undelivered):
    _converter.register_unstructure_hook(
        _class, make_dict_unstructure_fn(_class, _converter, _cattrs_omit_if_default=True)
    )

_FIELDS = {
    "guest": "_guest",
    "call": "_call",
    "outbox": "_outbox",
    "token": "_token",
    "deadline": "_deadline",
    "session_since": "_session_since",
    "warn_at": "_warn_at",
    "channels": "_channels",
    "moved": "_moved",
    "suspended": "_suspended",
    "version": "_version",
    "last_updated": "_last_updated",
}
"""The document's bookkeeping: attribute -> name on the wire. `run` is split into `flow_data` and `_run`."""

_as_it_is = override(unstruct_hook=lambda value: value)
"""For fields that hold plain data already."""
_absent = override(omit=True)
_always = ("guest", "version", "last_updated")
_written: Any = {name: override(rename=wire, omit_if_default=name not in _always) for name, wire in _FIELDS.items()}
_unstructure_document = make_dict_unstructure_fn(
    Document,
    _converter,
    run=_absent,
    upgraded=_absent,
    judged=_absent,
    profile=_as_it_is,
    current_account=_as_it_is,
    **_written,
)
_structure_document = make_dict_structure_fn(
    Document, _converter, _cattrs_forbid_extra_keys=True, upgraded=_absent, **_written
)


class _Part(NamedTuple):
    """How an attribute of a document is written. `omitted`: it is left out while it is the default."""

    name: str
    wire: str
    omitted: bool
    default: Any
    write: Callable[[Any], Any]


def _instant(value: datetime | None) -> datetime | str | None:
    """orjson writes instants as `isoformat` does, but for time zones with seconds in their offset."""
    return value if value is None or value.tzinfo is UTC else value.isoformat()


def _parts() -> Iterator[_Part]:
    for field in attrs.fields(Document):
        if not field.init or field.name in ("run", "upgraded"):
            continue
        default: Any = field.default
        if field.name in ("profile", "current_account"):
            write: Callable[[Any], Any] = _same
        elif datetime in (field.type, *get_args(field.type)):
            write = _instant
        else:
            write = _converter.get_unstructure_hook(field.type)
        yield _Part(
            field.name,
            _FIELDS.get(field.name, field.name),
            field.name in _FIELDS and field.name not in _always,
            default.factory() if hasattr(default, "factory") else default,
            write,
        )


def _same(value: Any) -> Any:
    return value


_PARTS: Final = sorted(_parts(), key=lambda part: part.omitted)  # the order of `_unstructure_document`
_write_run = _converter.get_unstructure_hook(Run)
_as_instant: Any = override(unstruct_hook=_instant, omit_if_default=True)
_write_run_with_instants = make_dict_unstructure_fn(
    Run, _converter, _cattrs_omit_if_default=True, since=_as_instant, due=_as_instant
)


def document_to_raw(document: Document, before: Document | None = None) -> dict[str, Any]:
    """The document as plain data, in the wire's shape.

    Args:
        document: The document to write.
        before: The document that it was made from. Where the plain data of `before` is known, an attribute that is the
            same object in both is taken from there, and instants stay instants, for `dumps_unstructured`.
    """
    if before is None or before.judged is None:
        raw: dict[str, Any] = _unstructure_document(document)
        run: dict[str, Any] | None = _write_run(document.run) if document.run else None
    else:
        known = before.judged.plain
        raw = _changed_parts(document, before, known)
        if document.run is not None and document.run is before.run:
            return {**raw, "flow_data": known["flow_data"], "_run": known["_run"]}
        run = _write_run_with_instants(document.run) if document.run else None
    if run is None:
        raw["flow_data"] = {}
    else:
        raw["flow_data"] = run.pop("flow_data")
        raw["_run"] = run
    return raw


def keep_judged(document: Document, raw: Mapping[str, Any], rules: object) -> None:
    """Note on a document that its plain data was found valid by `rules`."""
    document.keep_judged(Judged(raw, rules, _exposed(document)))


def is_intact(document: Document) -> bool:
    """Whether the values that callbacks are given to read are what they were when the document was judged.

    A document is a value, but its profile, current account and channel metadata are plain dictionaries. A callback that
    changes one in place would go unnoticed where the same object counts as unchanged.
    """
    judged = document.judged
    return judged is None or (judged.exposed is not None and judged.exposed == _exposed(document))


def restored(document: Document) -> Document:
    """The document without what callbacks changed in place, as far as that is known."""
    if document.judged is None or document.judged.exposed is None:
        return document
    profile, current_account, metadata = loads(document.judged.exposed)
    channel = attrs.evolve(document.channel, metadata=metadata)
    return attrs.evolve(document, profile=profile, current_account=current_account, channel=channel)


def _exposed(document: Document) -> bytes | None:
    try:
        return orjson.dumps((document.profile, document.current_account, document.channel.metadata), option=_STRICT)
    except TypeError:  # longer integers, for example: such a document is always judged as a whole
        return None


def _changed_parts(document: Document, before: Document, known: Mapping[str, Any]) -> dict[str, Any]:
    """Everything but the run; what is not another object is taken from the known plain data."""
    raw: dict[str, Any] = {}
    for name, wire, omitted, default, write in _PARTS:
        value = getattr(document, name)
        if value is getattr(before, name):
            if wire in known:
                raw[wire] = known[wire]
        elif not omitted or value != default:
            raw[wire] = write(value)
    return raw


def document_from_raw(raw: Mapping[str, Any]) -> Document:
    """The document in plain data of the wire's shape.

    Raises: Unreadable with a sentence for each fault.
    """
    fields = dict(raw)
    flow_data, run = fields.pop("flow_data", None), fields.pop("_run", None)
    if flow_data:
        fields["run"] = {**(run or {}), "flow_data": flow_data}
    try:
        return _structure_document(fields, Document)
    except BaseValidationError as error:
        raise Unreadable(transform_error(error)) from None


def encode(document: Document) -> bytes:
    """The document's bytes.

    Raises: NotStorable, naming the field that cannot be written down.
    """
    return dumps(document_to_raw(document))


def decode(data: bytes) -> Document:
    """The document in bytes; not validated against the rule book.

    Raises: Unreadable with a sentence for each fault.
    """
    raw = loads(data)
    if not isinstance(raw, dict):
        raise Unreadable([f"it is a {type(raw).__name__}, not an object"])
    return document_from_raw(raw)


# Replies -----------------------------------------------------------------------------------------------------------
