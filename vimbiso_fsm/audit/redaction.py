"""The data of a run and exceptions as the audit, the logs and observers may show them."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from pathlib import PurePath
from types import FrameType
from typing import Any, Final

from vimbiso_fsm.document.document import Run
from vimbiso_fsm.errors import VimbisoError
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.privacy import MASK
from vimbiso_fsm.flow.raised_in import callback_place

_PACKAGE: Final = __name__.partition(".")[0]
_EMPTY: Final[Sequence[object]] = ("", [], {})


def redacted(bot: Bot, run: Run | None) -> dict[str, Any]:
    """Return the data of a run as the audit shows it.

    Public values are shown, any other value that is set becomes a mask, and values that are not set become None.

    Args:
        bot: The bot with the run's flow.
        run: The run; None has no data.
    """
    if run is None:
        return {}
    public, shown = bot.versions[run.flow, run.version].flow.public, dict(run.fields)
    for name, value in run.fields.items():
        if name not in public:
            shown[name] = None if value is None or value in _EMPTY else MASK
    return shown


def changed_fields(before: Run | None, after: Run | None) -> tuple[str, ...]:
    """Return the names of the fields whose values differ between two states of a run, in order."""
    if before is None or after is None:
        return ()
    old, new = before.fields, after.fields
    if old is new:
        return ()
    changed: list[str] = []
    for name in old.keys() | new.keys():
        if old.get(name) != new.get(name):
            changed.append(name)  # noqa: PERF401  # a comprehension is one call more
    return tuple(sorted(changed))


def error_record(error: BaseException, reference: str) -> dict[str, Any]:
    """Return an exception as the audit shows it: its type, its callback and the places in the code that it came from.

    The message is left out, because it may quote what a member wrote. Errors that this library raises quote nothing and
    keep theirs; an author's subclass of one, or one that an author raises, does not.

    Args:
        error: The exception.
        reference: The reference that the member received; "" without one.
    """
    frames = traceback.extract_tb(error.__traceback__)
    place = callback_place(error)
    return {
        "reference": reference,
        "type": type(error).__name__,
        "message": str(error) if _is_ours(error) else "",
        **({"callback": place} if place else {}),
        "where": [f"{PurePath(f.filename).name}:{f.lineno} {f.name}" for f in frames[-8:]],
    }


def _is_ours(error: BaseException) -> bool:
    """Whether an error is of this library and was raised by it, or was never raised."""
    modules = [type(error).__module__, *(frame.f_globals.get("__name__", "") for frame, _ in _raised(error))]
    return isinstance(error, VimbisoError) and all(name.startswith(f"{_PACKAGE}.") for name in modules)


def _raised(error: BaseException) -> list[tuple[FrameType, int]]:
    """Return the frame that raised an error; nothing if it was not raised."""
    return list(traceback.walk_tb(error.__traceback__))[-1:]
