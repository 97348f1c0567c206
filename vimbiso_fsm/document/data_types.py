"""The types that stored data may have, proven by their round trip.

`data_type` proves a type (`type_proof.py`), or refuses it with a remedy. The result tests values: one that fits will be
read back equal, and one that is stable can also never change. A value that does not fit by its classes alone is written
and read, in `DataType.settled`.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import Any, Final, Generic, TypeVar, get_origin

import attrs

from vimbiso_fsm.document.differences import differences
from vimbiso_fsm.document.json_codec import dumps, loads
from vimbiso_fsm.document.type_proof import SCALARS, Test, prove
from vimbiso_fsm.document.typed_data import READ_ERRORS, faults_in, name_of, read, unstructure, write, writer
from vimbiso_fsm.errors import Misfit, NotStorable, VimbisoError

T = TypeVar("T")

_WRITE_ERRORS: Final[tuple[type[Exception], ...]] = (*READ_ERRORS, IndexError)
_KINDS_KEPT: Final = 4096


@attrs.frozen(eq=False)
class DataType(Generic[T]):
    """A type that was proven.

    Attributes:
        kind: The type.
        fits: Tests whether a value is of exactly this type, so that an equal one will be read back.
        stable: Tests whether a value fits and can never change, so that it may be kept in place of being read again.
        plain: Writes a value that is stable as plain data.
        classes: The classes with named fields of which a value may hold an instance, however deep.
    """

    kind: type[T]
    fits: Test
    stable: Test
    plain: Callable[[T], Any] = attrs.field(repr=False)
    classes: tuple[type, ...] = attrs.field(repr=False)

    def settled(self, value: Any, place: str) -> T:
        """Return a value as it will be read back.

        An integer becomes a float, a list a tuple, and an instance of `str` a plain text, where the type says so.

        Args:
            value: The value.
            place: The name of what is stored, for the error.

        Raises:
            Misfit: The value that would be read back is another one.
            NotStorable: JSON cannot hold a value.
        """
        try:
            return value if self.fits(value) else self._read_back(value, place)  # type: ignore[no-any-return]  # as found
        except RecursionError:
            raise NotStorable(place, f"{type(value).__name__} nested too deep") from None

    def _read_back(self, value: object, place: str) -> Any:
        try:
            back = read(loads(dumps(self._written(value), place)), self.kind)
        except READ_ERRORS as error:
            if isinstance(error, VimbisoError):
                raise
            path, fault = next(faults_in(error))
            if not path and fault == "cannot be read":
                fault = f"is of type {type(value).__name__}, not {name_of(self.kind)}"
            path, *_ = re.split("['\"]", path)  # a key of a mapping may be the member's
            raise Misfit(place, path.strip("."), fault) from None
        for path, fault in differences(value, back, _settles):
            raise Misfit(place, path.removeprefix("."), fault)
        return back

    def _written(self, value: object) -> object:
        """Return a value as plain data of the type, or of its fields' own types, so that reading names the field."""
        try:
            return write(value, self.kind)
        except _WRITE_ERRORS as error:
            kind: Any = type(value)
            fields = attrs.fields(kind) if attrs.has(kind) else ()
            if fields and issubclass(kind, get_origin(self.kind) or self.kind):
                return {field.name: unstructure(getattr(value, field.name)) for field in fields}
            raise TypeError from error


@lru_cache(_KINDS_KEPT)
def data_type(kind: type[T]) -> DataType[T]:
    """Prove a type.

    Args:
        kind: The type: a class or another annotation.

    Raises:
        UnstorableType: Its values cannot be stored and read back equal. The error names the field and the remedy.
    """
    node, classes = prove(kind)
    return DataType(kind, node.fits, node.stable, writer(kind), classes)


def _settles(given: object, back: object) -> bool:
    """Whether a value may become one of another class when it is read back, because both mean the same."""
    if isinstance(given, AbstractSet) and isinstance(back, AbstractSet):
        return True
    if isinstance(back, list | tuple | deque):
        return isinstance(given, list | tuple | deque) and not hasattr(given, "_fields")
    if isinstance(back, Mapping):
        return isinstance(given, Mapping)
    if type(back) is float:
        return type(given) is int
    return type(back) in SCALARS and isinstance(given, type(back))
