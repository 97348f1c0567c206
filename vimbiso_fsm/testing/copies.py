"""Copies of services, so that one conversation leaves no trace in the services of another.

A copy shares with its original what cannot be copied, or needs no copy: functions, classes, modules, locks and open
files. A service that cannot be copied at all is shared as a whole.
"""

from __future__ import annotations

import io
import pickle
import threading
import types
from collections.abc import Mapping
from typing import Any, Final

import attrs

_SHARED: Final = (
    type, types.FunctionType, types.BuiltinFunctionType, types.ModuleType, type(threading.Lock()),
    type(threading.RLock()), io.TextIOWrapper, io.BufferedReader, io.BufferedWriter, io.FileIO,
)  # fmt: skip


@attrs.frozen(eq=False, repr=False)
class Copy:
    """What services were like at one moment.

    Attributes:
        shared: The names of the services that cannot be copied.
    """

    _states: tuple[tuple[bytes, tuple[Any, ...]], ...]
    _shared: Mapping[str, object]

    @property
    def shared(self) -> tuple[str, ...]:
        """The names of the services that cannot be copied."""
        return tuple(self._shared)

    def services(self) -> dict[str, object]:
        """Return new services as they were then."""
        found: dict[str, object] = dict(self._shared)
        for state, kept in self._states:
            found |= _Reader(io.BytesIO(state), kept).load()
        return found


def copy_of(services: Mapping[str, object]) -> Copy:
    """Return a copy of services, from which they can be made again."""
    try:
        return Copy((_written(dict(services)),), {})
    except Exception:  # noqa: BLE001  # whatever the classes of a service raise when one is written out
        states: list[tuple[bytes, tuple[Any, ...]]] = []
        shared: dict[str, object] = {}
        for name, service in services.items():
            try:
                states.append(_written({name: service}))
            except Exception:  # noqa: BLE001  # as above
                shared[name] = service
        return Copy(tuple(states), shared)


def _written(services: dict[str, object]) -> tuple[bytes, tuple[Any, ...]]:
    file = io.BytesIO()
    writer = _Writer(file)
    writer.dump(services)
    return file.getvalue(), tuple(writer.kept)


class _Writer(pickle.Pickler):
    """Writes objects out. What is shared stands in `kept`, and its place there in the bytes."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self.kept: list[Any] = []

    def persistent_id(self, value: Any, /) -> int | None:
        if not isinstance(value, _SHARED):
            return None
        self.kept.append(value)
        return len(self.kept) - 1


class _Reader(pickle.Unpickler):
    """Reads objects that `_Writer` has written in this process."""

    def __init__(self, file: io.BytesIO, kept: tuple[Any, ...]) -> None:
        super().__init__(file)
        self._kept = kept

    def persistent_load(self, place: Any, /) -> Any:
        return self._kept[place]
