"""The marks that the author of a class has set on its fields, in metadata or by `Annotated`, such as `SECRET`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args, get_type_hints, is_typeddict

from vimbiso_fsm.document.data_types import data_type
from vimbiso_fsm.document.differences import has_fields
from vimbiso_fsm.document.type_proof import stored_fields
from vimbiso_fsm.document.typed_data import keys_of_typed_dict


def marks_of_fields(kind: Any) -> dict[str, tuple[object, ...]]:
    """Return the marks of each field of a proven type, by name: its own, and those of all fields within its values.

    A type without named fields has none.
    """
    return {name: (*marks, *_within(hint)) for name, hint, marks in _fields(kind)}


def _within(hint: Any) -> Iterator[object]:
    """Yield the marks of all fields within the values of a type.

    Each type is proven by itself: a class that was met in another field would not be searched again.
    """
    for kind in data_type(hint).classes:
        for _, _, marks in _fields(kind):
            yield from marks


def _fields(kind: Any) -> Iterator[tuple[str, object, tuple[object, ...]]]:
    """Yield the fields of a class: the name, the type, and the marks that stand at the field itself."""
    origin = getattr(kind, "__origin__", kind)
    if has_fields(origin):
        noted = get_type_hints(origin, include_extras=True)
        for field, hint in stored_fields(kind):
            yield field.name, hint, (field.metadata, *_extras(noted.get(field.name)))
    elif is_typeddict(origin):
        noted = get_type_hints(origin, include_extras=True)
        for name, (hint, _) in keys_of_typed_dict(origin).items():
            yield name, hint, tuple(_extras(noted[name]))
    elif hasattr(origin, "_fields"):
        plain = get_type_hints(origin)
        for name, hint in get_type_hints(origin, include_extras=True).items():
            yield name, plain[name], tuple(_extras(hint))


def _extras(hint: object) -> Iterator[object]:
    """Yield what `Annotated` adds to a type and to the types that it is made of."""
    yield from getattr(hint, "__metadata__", ())
    for each in get_args(hint):
        yield from _extras(each)
