"""Documents and typed data, written down and read back. The only module that knows cattrs; JSON on the wire.

The shape of a document is the seed's, exactly; what the framework adds starts with `_` and is left out while it has
nothing to say. Scalars are never coerced: a text where a number belongs is a fault, not a number.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from decimal import Decimal, InvalidOperation
from operator import ne
from typing import Any, TypeVar, cast, get_args, get_origin

import attrs
from cattrs import BaseValidationError, transform_error
from cattrs.cols import list_structure_factory
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override
from cattrs.preconf.json import make_converter

from vimbiso_fsm.errors import NotStorable
from vimbiso_fsm.messages import Button, Buttons, Menu, Reply, Row, Text
from vimbiso_fsm.state import Address, Document, PendingCall, Run, StepData, Undelivered

__all__ = [
    "RESERVED",
    "Unreadable",
    "decode",
    "document_from_raw",
    "document_to_raw",
    "dumps",
    "encode",
    "fragments",
    "loads",
    "replies_from_raw",
    "replies_to_keep",
    "replies_to_raw",
    "structure",
    "unstructure",
]

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

_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), check_circular=False)


def dumps(raw: Any, path: str = "document") -> bytes:
    """`raw` as JSON in UTF-8.

    Raises: NotStorable, naming the field below `path` that cannot be written down.
    """
    try:
        return _encoder.encode(raw).encode()
    except (TypeError, ValueError, RecursionError, UnicodeEncodeError):
        raise _culprit(raw, path, 0) from None


def _culprit(raw: Any, path: str, depth: int) -> NotStorable:
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
            _encoder.encode(value).encode()
        except (TypeError, ValueError, RecursionError, UnicodeEncodeError):
            return _culprit(value, f"{path}.{name}", depth + 1)
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
    Document, _converter, run=_absent, brought=_absent, profile=_as_it_is, current_account=_as_it_is, **_written
)
_structure_document = make_dict_structure_fn(
    Document, _converter, _cattrs_forbid_extra_keys=True, brought=_absent, **_written
)


def document_to_raw(document: Document) -> dict[str, Any]:
    """The document as plain data, in the wire's shape."""
    raw = _unstructure_document(document)
    run = document.run
    if run is None:
        raw["flow_data"] = {}
    else:
        bookkeeping = _converter.unstructure(run)
        raw["flow_data"] = bookkeeping.pop("flow_data")
        raw["_run"] = bookkeeping
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


def _text_to_raw(text: Text) -> Any:
    if not text.params and text.text == text.key:
        return {"words": text.key}  # words, not a key
    return [text.key, dict(text.params)] if text.params else text.key


def _text_from_raw(raw: Any) -> Text:
    if isinstance(raw, dict):
        return Text(raw["words"]).said(raw["words"], {})
    return Text(raw) if isinstance(raw, str) else Text(raw[0], **raw[1])


def replies_to_raw(replies: Iterable[Reply]) -> list[Any]:
    """Replies as keys and parameters; their final words are said anew when they are read back."""
    return [_reply_to_raw(reply) for reply in replies]


def replies_to_keep(replies: Iterable[Reply]) -> tuple[Any, ...]:
    """The same as they will be read back from a document.

    Raises: NotStorable.
    """
    return tuple(loads(dumps(replies_to_raw(replies), "replies")))


def _reply_to_raw(reply: Reply) -> Any:
    if isinstance(reply, Text):
        return {"text": _text_to_raw(reply)}
    if isinstance(reply, Buttons):
        return {
            "buttons": [[button.id, _text_to_raw(button.title)] for button in reply.buttons],
            "body": _text_to_raw(reply.body),
        }
    return {
        "rows": [
            [row.id, _text_to_raw(row.title), _text_to_raw(row.description) if row.description else None]
            for row in reply.rows
        ],
        "body": _text_to_raw(reply.body),
    }


def replies_from_raw(raw: Iterable[Any]) -> tuple[Reply, ...]:
    """The replies in plain data.

    Raises: Unreadable when it is not of the shape `replies_to_raw` makes.
    """
    try:
        return tuple(_reply_from_raw(reply) for reply in raw)
    except (TypeError, KeyError, IndexError, ValueError) as error:
        raise Unreadable([f"no replies: {type(error).__name__}"]) from None


def _reply_from_raw(raw: Any) -> Reply:
    if "text" in raw:
        return _text_from_raw(raw["text"])
    body = _text_from_raw(raw["body"])
    if "buttons" in raw:
        return Buttons(body, tuple(Button(id, _text_from_raw(title)) for id, title in raw["buttons"]))
    return Menu(
        body,
        tuple(Row(id, _text_from_raw(title), about and _text_from_raw(about)) for id, title, about in raw["rows"]),
    )
