"""The privacy of data fields: which places may hold the value of a field.

An author marks a field with `attrs.field(metadata=…)`. The document holds every value. The turn record leaves secret
values out. The audit shows public values, and a mask for every other value that is set.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

import attrs

PUBLIC: Final[Mapping[str, object]] = {"vimbiso": "public"}
"""`attrs.field(metadata=PUBLIC)`: the audit may show the field's value. It masks the values of other fields."""

SECRET: Final[Mapping[str, object]] = {"vimbiso": "secret"}
"""`attrs.field(metadata=SECRET)`: only the document holds the field's value; the turn record and the audit do not."""

MASK: Final = "•"
"""The mask that the audit shows in place of a value that is set and not public."""


def is_public(field: attrs.Attribute[object]) -> bool:
    """Return whether the field is marked `PUBLIC`."""
    return _is_marked(field, PUBLIC)


def is_secret(field: attrs.Attribute[object]) -> bool:
    """Return whether the field is marked `SECRET`."""
    return _is_marked(field, SECRET)


def public_names(fields: Iterable[attrs.Attribute[object]]) -> frozenset[str]:
    """Return the names of the public fields."""
    return frozenset(field.name for field in fields if is_public(field))


def secret_names(fields: Iterable[attrs.Attribute[object]]) -> frozenset[str]:
    """Return the names of the secret fields."""
    return frozenset(field.name for field in fields if is_secret(field))


def without(values: Mapping[str, object], names: Collection[str]) -> Mapping[str, object]:
    """Return the values without those of these names."""
    return {name: value for name, value in values.items() if name not in names} if names else values


def _is_marked(field: attrs.Attribute[object], mark: Mapping[str, object]) -> bool:
    return bool(field.metadata.get("vimbiso") == mark["vimbiso"])
