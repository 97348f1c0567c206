"""Who may read the value of a data field.

A field's author says so with `attrs.field(metadata=…)`. The document holds every value. The turn record leaves secret
values out. The audit shows public values and a mask for every other value that is set.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

import attrs

PUBLIC: Final[Mapping[str, Any]] = {"vimbiso": "public"}
"""`attrs.field(metadata=PUBLIC)`: the field's value may stand in the audit. Any other field's may not."""

SECRET: Final[Mapping[str, Any]] = {"vimbiso": "secret"}
"""`attrs.field(metadata=SECRET)`: the field's value stands in the document only, in no turn record either."""

MASK: Final = "•"
"""What the audit shows in place of a value that is set and not public."""


def is_public(field: attrs.Attribute[Any]) -> bool:
    """Return whether the field is marked `PUBLIC`."""
    return _is_marked(field, PUBLIC)


def is_secret(field: attrs.Attribute[Any]) -> bool:
    """Return whether the field is marked `SECRET`."""
    return _is_marked(field, SECRET)


def public_names(fields: Iterable[attrs.Attribute[Any]]) -> frozenset[str]:
    """Return the names of the public fields."""
    return frozenset(field.name for field in fields if is_public(field))


def secret_names(fields: Iterable[attrs.Attribute[Any]]) -> frozenset[str]:
    """Return the names of the secret fields."""
    return frozenset(field.name for field in fields if is_secret(field))


def without(values: Mapping[str, Any], names: Collection[str]) -> Mapping[str, Any]:
    """Return the values without those of these names."""
    return {name: value for name, value in values.items() if name not in names} if names else values


def _is_marked(field: attrs.Attribute[Any], mark: Mapping[str, Any]) -> bool:
    return bool(field.metadata.get("vimbiso") == mark["vimbiso"])
