"""Documents and typed data as JSON, and back. The only module that imports cattrs.

The shape of a document is the seed's, exactly; what the framework adds starts with `_` and is left out while it has
nothing to say. Scalars are never coerced: a text where a number belongs is a fault, not a number.

The shape is judged here and nowhere else, part by part (`parts_of`): the fields that are there and no other, each of
its type, numbers that count not negative, instants with a time zone. What a well-shaped document may not say is
`state_validator.py`'s business.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime, time
from decimal import Decimal, InvalidOperation
from functools import partial
from math import isfinite
from operator import ne
from types import NoneType, UnionType
from typing import Any, Final, Literal, NamedTuple, TypeVar, Union, cast, get_args, get_origin, get_type_hints
from uuid import UUID

import attrs
import orjson
from cattrs import BaseValidationError, ForbiddenExtraKeysError, transform_error
from cattrs.cols import list_structure_factory
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override
from cattrs.preconf.json import JsonConverter, make_converter

from vimbiso_fsm.document.document import Address, Document, Judged, PendingCall, Run, StepData, Suspended, Undelivered
from vimbiso_fsm.errors import InvalidMessage, NotStorable
from vimbiso_fsm.messages.message import Channel

T = TypeVar("T")

SEED: Final = frozenset(
    {
        "member_id",
        "channel",
        "jwt_token",
        "authenticated",
        "profile",
        "current_account",
        "flow_data",
        "_version",
        "_last_updated",
    }
)
"""The fields of the seed's document; each must be there."""

RESERVED = frozenset({"flow_type", "channel", "_validation_context", "_validation_state"})
"""Names in `flow_data.data` that belong to the framework; no field of a flow's data may be called so."""

_converter = make_converter(unstruct_collection_overrides={tuple: list, set: list, frozenset: list})
"""For the typed data of authors, and for writing."""
_wire = make_converter(forbid_extra_keys=True)
"""For reading documents: an unknown field is a fault, a number counts, an instant has a time zone."""


@attrs.frozen
class Fault:
    """One thing that is wrong with a document: where, and what. The value itself is not quoted."""

    path: str
    fault: str

    def __str__(self) -> str:
        return f"{self.path} {self.fault}"


class _Misshapen(TypeError):
    """A value is not of the wanted shape. The message quotes no value."""


class Unreadable(ValueError):
    """Data that is not of the wanted shape. `faults`: a sentence with a path each; no value is quoted."""

    faults: tuple[str, ...]

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
    """What can still be read, field by field, of an object that `dumps` has written and that is no JSON any more.

    What stands before the damage, and what stands after it up to the end. `names`: those the object's fields may have;
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
    """Read the fields of a damaged object from `at` on.

    The character after a field may be any: it may be the damaged one.

    Returns:
        The fields that can be read, the place of the next one, and whether the object and the text end there.
    """
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


def kind_of(value: Any) -> str:
    """Return the name of a value's type as JSON knows it."""
    return "null" if value is None else type(value).__name__


_NAMES: Final[Mapping[type, str]] = {str: "text", bool: "true or false"}


def _exactly(kind: type[T]) -> Callable[[Any, Any], T]:
    def structure_exactly(value: Any, _: Any) -> T:
        if type(value) is not kind:
            raise _Misshapen(f"must be {_NAMES.get(kind, kind.__name__)}, not {kind_of(value)}")
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


def _count(value: Any, _: Any) -> int:
    if type(value) is not int or value < 0:
        raise _Misshapen("must be a whole number, not negative")
    return value


def _instant(value: Any, _: Any) -> datetime:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise _Misshapen("is no instant") from None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise _Misshapen("must be an instant with a time zone")
    return value


def _waits(value: Any, _: Any) -> Suspended | Literal[""]:
    if not isinstance(value, str) or value not in _REASONS:
        raise _Misshapen("is no reason to wait")
    return Suspended(value) if value else ""


_REASONS: Final = frozenset({"", *Suspended})

for _kind in (str, bool):
    _wire.register_structure_hook(_kind, _exactly(_kind))
_wire.register_structure_hook(int, _count)
_wire.register_structure_hook(datetime, _instant)
_wire.register_structure_hook_func(lambda kind: kind == Suspended | Literal[""], _waits)
_converter.register_unstructure_hook_func(lambda kind: kind == Suspended | Literal[""], str)


# Containers: an object is no list, a text is no list of characters --------------------------------------------------


def _mapping(value: Any) -> Mapping[str, Any]:
    if type(value) is not dict and not isinstance(value, Mapping):  # to ask an abstract class is slow
        raise _Misshapen(f"must be an object, not {kind_of(value)}")
    return cast("Mapping[str, Any]", value)


def _object(value: Any, _: Any) -> dict[str, Any]:
    return dict(_mapping(value))


def _of_object(kind: Any, converter: JsonConverter) -> Callable[[Any, Any], Any]:
    """Reads an attrs class; what is no object would be one of nothing but defaults."""
    read = make_dict_structure_fn(kind, converter)
    return lambda value, target: read(_mapping(value), target)


def _of_list(kind: Any, converter: JsonConverter) -> Callable[[Any, Any], Any]:
    """Reads a list, a tuple or a set."""
    inner = get_args(kind)
    make = get_origin(kind) or kind
    several = make is tuple and inner[-1:] != (...,)
    read = list_structure_factory(
        cast(Any, list.__class_getitem__(inner[0] if inner and not several else Any)), converter
    )

    def structure_list(value: Any, target: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise _Misshapen(f"must be a list, not {kind_of(value)}")
        found: list[Any] = read(value, target)
        if several and inner:
            found = [converter.structure(one, wanted) for one, wanted in zip(found, inner, strict=True)]
        return found if make is list else make(found)

    return structure_list


def _is_list(kind: Any) -> bool:
    return (get_origin(kind) or kind) in (list, tuple, set, frozenset)


for _reader in (_converter, _wire):
    _reader.register_structure_hook_factory(attrs.has, partial(_of_object, converter=_reader))
    _reader.register_structure_hook_factory(_is_list, partial(_of_list, converter=_reader))
    _reader.register_structure_hook_func(lambda kind: kind == Mapping[str, Any], _object)


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
    """A test for values of a type.

    Whether one can never change, and `structure` would give an equal one of the same types for its plain data.

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


def _step_data_from_raw(value: Any, _: Any) -> StepData:
    raw: Mapping[str, Any] = _mapping(value)
    if missing := RESERVED - raw.keys():
        raise _Misshapen(f"lacks {', '.join(sorted(missing))}")
    flow, context, verdict = raw["flow_type"], raw["_validation_context"], raw["_validation_state"]
    if not isinstance(flow, str):
        raise _Misshapen("has a flow_type that is no text")
    if not (isinstance(context, Mapping) and isinstance(verdict, Mapping)):
        raise _Misshapen("has a _validation_context or _validation_state that is no object")
    fields = {name: part for name, part in raw.items() if name not in RESERVED}
    return StepData(flow, _address(raw["channel"]), context, verdict, fields)


def _address(value: Any) -> Address:
    """The address in a run's data; the seed's documents may hold metadata there too, which is not kept."""
    if not isinstance(value, Mapping) or not _ADDRESS <= value.keys() <= _CHANNEL:
        raise _Misshapen("has a channel without type and identifier, or with more")
    kind, identifier = value["type"], value["identifier"]
    if not (isinstance(kind, str) and isinstance(identifier, str)):
        raise _Misshapen("has a channel whose type or identifier is no text")
    return Address(kind, identifier)


_ADDRESS: Final = frozenset({"type", "identifier"})
_CHANNEL: Final = _ADDRESS | {"metadata"}


def _channel_from_raw(value: Any, _: Any) -> Channel:
    raw = _mapping(value)
    if raw.keys() != _CHANNEL:
        raise _Misshapen("must have exactly type, identifier and metadata")
    return Channel(raw["type"], raw["identifier"], raw["metadata"])


_converter.register_unstructure_hook(StepData, _step_data_to_raw)
_wire.register_structure_hook(StepData, _step_data_from_raw)
_wire.register_structure_hook(Channel, _channel_from_raw)
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
BOOKKEEPING: Final = frozenset({"_run", *_FIELDS.values()}) - SEED
"""The fields that the framework adds to the seed's."""


class _Part(NamedTuple):
    """How an attribute of a document is written. `omitted`: it is left out while it is the default."""

    name: str
    wire: str
    omitted: bool
    default: Any
    write: Callable[[Any], Any]


def _written_instant(value: datetime | None) -> datetime | str | None:
    """Orjson writes instants as `isoformat` does, but for time zones with seconds in their offset."""
    return value if value is None or value.tzinfo is UTC else value.isoformat()


def _parts() -> Iterator[_Part]:
    for field in attrs.fields(Document):
        if not field.init or field.name in ("run", "upgraded"):
            continue
        default: Any = field.default
        if field.name in ("profile", "current_account"):
            write: Callable[[Any], Any] = _same
        elif datetime in (field.type, *get_args(field.type)):
            write = _written_instant
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
_as_instant: Any = override(unstruct_hook=_written_instant, omit_if_default=True)
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


_ABSENT: Final = object()
_NOTHING: Final[Mapping[str, Any]] = {}
_READERS: Final[tuple[tuple[str, str, Callable[[Any, Any], Any], Any], ...]] = tuple(
    (str(_FIELDS.get(field.name, field.name)), field.name, _wire.get_structure_hook(field.type), field.type)
    for field in attrs.fields(Document)
    if field.init and field.name not in ("run", "upgraded")
)
"""Of each attribute of a document but `run`: its name on the wire, its own, how it is read, its type."""
_read_run = _wire.get_structure_hook(Run)


def parts_of(raw: Mapping[str, Any], known: Mapping[str, Any] = _NOTHING) -> tuple[dict[str, Any], tuple[Fault, ...]]:
    """Read a document in plain data, part by part.

    Args:
        raw: Plain data of the wire's shape.
        known: Plain data that is known to be well shaped. A part that is the very same object in both is left out.

    Returns:
        The parts that are well shaped, by the name of the document's attribute, and what is wrong with the others.
    """
    parts: dict[str, Any] = {}
    faults: list[Fault] = []
    if not known or raw.keys() != known.keys():
        faults += [Fault(name, "is missing") for name in sorted(SEED - raw.keys())]
        faults += [Fault(str(name)[:40], "is no field of a document") for name in raw.keys() - SEED - BOOKKEEPING]
    for wire, name, read, kind in _READERS:
        value = raw.get(wire, _ABSENT)
        if value is _ABSENT or value is known.get(wire, _ABSENT):
            continue
        try:
            parts[name] = read(value, kind)
        except _UNREADABLE as error:
            faults += _faults_of(error, wire)
    flow_data, notes = raw.get("flow_data", _ABSENT), raw.get("_run", _ABSENT)
    if flow_data is not known.get("flow_data", _ABSENT) or notes is not known.get("_run", _ABSENT):
        run, wrong = _run_part(flow_data, notes)
        faults += wrong
        if not wrong:
            parts["run"] = run
    return parts, tuple(faults)


def _run_part(flow_data: Any, notes: Any) -> tuple[Run | None, list[Fault]]:
    """The current run, which stands in two parts on the wire, None when no flow is open; and what is wrong with it."""
    if flow_data is _ABSENT:
        return None, []  # it is named as missing
    if not isinstance(flow_data, Mapping):
        return None, [Fault("flow_data", f"must be an object, not {kind_of(flow_data)}")]
    if notes is _ABSENT:
        notes = {}
    elif not (flow_data and isinstance(notes, Mapping) and "flow_data" not in notes):
        return None, [Fault("_run", "must be an object, there only with flow_data, and not hold it")]
    if not flow_data:
        return None, []
    try:
        run = _read_run({**notes, "flow_data": flow_data}, Run)
    except _UNREADABLE as error:
        wrong = _faults_of(error, "_run")
        return None, [attrs.evolve(each, path=each.path.replace("_run.flow_data", "flow_data", 1)) for each in wrong]
    return run, []


_UNREADABLE: Final = (BaseValidationError, TypeError, ValueError, KeyError, AttributeError)
"""What reading raises. Whatever else is raised is a mistake of ours."""


def _faults_of(error: Exception, place: str) -> Iterator[Fault]:
    """The faults that reading the part at `place` has raised."""
    for line in transform_error(error, "", _said):
        text, _, path = line.rpartition(" @ ")
        yield Fault(place + path.replace("[", ".").replace("]", ""), text)


def _said(error: BaseException, _: object) -> str:
    """An error of reading in words; only our own are believed to quote no value."""
    match error:
        case _Misshapen():
            return str(error)
        case KeyError():
            return "is missing"
        case ForbiddenExtraKeysError():
            return "has a field that is not known"
        case InvalidMessage():
            return f"cannot be read: its {error.field.removeprefix('channel ')} {error.fault}"
        case _:
            return "cannot be read"


def document_from_raw(raw: Mapping[str, Any]) -> Document:
    """The document in plain data of the wire's shape.

    Raises: Unreadable with a sentence for each fault.
    """
    parts, faults = parts_of(raw)
    if faults:
        raise Unreadable(map(str, faults))
    return Document(**parts)


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
