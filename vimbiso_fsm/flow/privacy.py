"""The privacy of data fields: which places may hold the value of a field.

An author marks a field with `attrs.field(metadata=…)`, a field of a class inside the data as well; without
`attrs.field`, `Annotated[str, SECRET]` marks it. The document holds every value. The turn record leaves secret values
out. The audit shows public values, and a mask for every other value that is set.

A field whose value has a secret anywhere inside is secret as a whole. The rest of such a value would be of no use: a
card that is restored without its number is another card.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final

import attrs


@attrs.frozen(eq=False)  # it is equal to a dictionary with the same items, as metadata may be
class Mark(Mapping[str, object]):
    """A mark of a field: a mapping, as metadata must be, and hashable, as `Annotated` must be in a field of attrs."""

    _name: str

    def __getitem__(self, key: str) -> object:
        return {"vimbiso": self._name}[key]

    def __iter__(self) -> Iterator[str]:
        yield "vimbiso"

    def __len__(self) -> int:
        return 1

    def __hash__(self) -> int:
        return hash(self._name)


PUBLIC: Final = Mark("public")
"""`attrs.field(metadata=PUBLIC)`: the audit may show the field's value. It masks the values of other fields."""

SECRET: Final = Mark("secret")
"""`attrs.field(metadata=SECRET)`: only the document holds the field's value; the turn record and the audit do not."""

MASK: Final = "•"
"""The mask that the audit shows in place of a value that is set and not public."""
_NUMBER: Final = re.compile(r"\+?\d(?:[ ().-]{0,2}\d){6,}")


def public_names(fields: Iterable[attrs.Attribute[object]]) -> frozenset[str]:
    """Return the names of the fields that are marked `PUBLIC`."""
    return frozenset(field.name for field in fields if _is_mark(field.metadata, PUBLIC))


def secret_names(marks: Mapping[str, Iterable[object]]) -> frozenset[str]:
    """Return the names of the secret fields: `SECRET` stands at the field, or at a field within its values.

    Args:
        marks: The metadata of each field and of all fields within its values, as `marks_of_fields` returns them.
    """
    return frozenset(name for name, found in marks.items() if any(_is_mark(mark, SECRET) for mark in found))


def without(values: Mapping[str, object], names: Collection[str]) -> Mapping[str, object]:
    """Return the values without those of these names."""
    return {name: value for name, value in values.items() if name not in names} if names else values


def reason_shown(reason: str) -> str:
    """Return a channel's reason as the audit may show it: numbers of seven digits or more are masked.

    Channels quote the address of the member in some of their errors. Their codes are shorter.
    """
    return _NUMBER.sub(MASK, reason)


def masked(values: Mapping[str, object], names: Collection[str], mask: str) -> dict[str, object]:
    """Return the values with a mask for each one of these names that is set."""
    return {name: mask if name in names and value else value for name, value in values.items()}


def _is_mark(found: object, mark: Mark) -> bool:
    return isinstance(found, Mapping) and bool(found.get("vimbiso") == mark["vimbiso"])
