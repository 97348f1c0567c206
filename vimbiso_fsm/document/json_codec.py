"""Plain data as JSON in UTF-8, and back. The only module that imports orjson.

One value has one text, because digests are computed from it: the text that the standard library writes, without spaces.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from datetime import datetime
from operator import ne
from typing import Any, Final

import orjson

from vimbiso_fsm.errors import NotStorable, Unreadable

_STRICT: Final = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_SUBCLASS
_SMALL: Final = re.compile(rb"[0-9]e-[0-9](?![0-9])|(?<![0-9])0\.0000[0-9]")
"""Floats from 1e-9 to 1e-4, which orjson writes as 1e-7 or 0.000015 and the standard library as 1e-07 or 1.5e-05."""
_NOT_WRITABLE: Final = (TypeError, ValueError, RecursionError, UnicodeEncodeError)
_DEPTH_SEARCHED: Final = 50
"""Levels of nesting in which the value that cannot be written is looked for."""


def dumps(raw: object, path: str = "document") -> bytes:
    """Return plain data as JSON in UTF-8.

    Args:
        raw: The data.
        path: The name of the data in errors.

    Raises:
        NotStorable: JSON cannot hold a value; the error names its place below `path`.
    """
    return _dumped(_encoder, raw, path)


def dumps_unstructured(raw: object, path: str = "document") -> bytes:
    """Return plain data made by `unstructure` or `document_to_raw` as JSON in UTF-8, with orjson.

    The bytes are those of `dumps`. Other data must not be given: orjson also writes values that JSON cannot hold, such
    as NaN (as `null`) and UUIDs, and `unstructure` marks them for this function.

    Args:
        raw: The data. It may contain instants.
        path: The name of the data in errors.

    Raises:
        NotStorable: JSON cannot hold a value; the error names its place below `path`.
    """
    try:
        data = orjson.dumps(raw, option=_STRICT)
    except TypeError:  # the standard library also writes longer integers, keys that are numbers, and deeper nesting
        return _dumped(_encoder_of_instants, raw, path)
    if (b"e-" in data or b"0.0000" in data) and _SMALL.search(data):
        return _dumped(_encoder_of_instants, raw, path)
    return data


def snapshot(raw: object) -> bytes | None:
    """Return bytes that `loads` reads and that are equal for equal data; None for data that orjson cannot write."""
    try:
        return orjson.dumps(raw, option=_STRICT)
    except TypeError:
        return None


def loads(data: bytes) -> Any:
    """Return the plain data that JSON in UTF-8 holds.

    Raises:
        Unreadable: The bytes are not JSON in UTF-8.
    """
    try:
        return _decoder.decode(data.decode())
    except (ValueError, RecursionError) as error:
        where = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise Unreadable([f"it is not JSON{where}"]) from None


def fragments(data: bytes, names: Collection[str], last: str) -> dict[str, Any]:
    """Return the readable fields of a damaged object that `dumps` wrote: those before the damage and those after it.

    A field of an inner object is never taken for a field of the object: after it, more than one brace is left to be
    closed, and where the end was cut off, `last` does not follow it.

    Args:
        data: The bytes, which are not JSON any more.
        names: The names that fields of the object can have.
        last: The name of a field that stands behind the others.
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


def _instant_as_text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError


_encoder: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), check_circular=False)
_encoder_of_instants: Final = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), check_circular=False, default=_instant_as_text
)


def _dumped(encoder: json.JSONEncoder, raw: object, path: str) -> bytes:
    try:
        return encoder.encode(raw).encode()
    except _NOT_WRITABLE:
        raise _culprit(encoder, raw, path, 0) from None


def _culprit(encoder: json.JSONEncoder, raw: object, path: str, depth: int) -> NotStorable:
    """Return the error for the first value below `path` that JSON cannot hold."""
    if depth > _DEPTH_SEARCHED:
        return NotStorable(path, f"structure nested more than {_DEPTH_SEARCHED} deep")
    inner: Iterable[tuple[object, object]] = ()
    if isinstance(raw, dict):
        inner = raw.items()
    elif isinstance(raw, list | tuple):
        inner = enumerate(raw)
    for name, value in inner:
        if not isinstance(name, str | int):
            return NotStorable(path, f"key of type {type(name).__name__}")
        try:
            encoder.encode(value).encode()
        except _NOT_WRITABLE:
            return _culprit(encoder, value, f"{path}.{name}", depth + 1)
    return NotStorable(path, type(raw).__name__ if inner == () else "value that JSON cannot hold")


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


_decoder: Final = json.JSONDecoder(parse_constant=_refuse_constant)


def _fields(text: str, at: int, names: Collection[str]) -> tuple[dict[str, Any], int, bool]:
    """Read the fields of an object from a place in its text.

    The sign after a field may be any, because it may be the damaged one.

    Returns:
        The fields that can be read, the place of the next one, and whether that is the end of the text.
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
    """Return the field whose quoted name and colon stand at a place; one sign of them may be damaged."""
    for damaged in (0, 1):
        for name in names:
            written = f'"{name}":'
            there = text[at : at + len(written)]
            if len(there) == len(written) and sum(map(ne, there, written)) == damaged:
                return name
    return None
