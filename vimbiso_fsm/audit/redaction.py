"""What the audit, the logs and observers may show: of a run's data, and of an exception."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any, Final

from vimbiso_fsm.document.document import Run
from vimbiso_fsm.errors import VimbisoError
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.privacy import MASK

_EMPTY: Final[Sequence[Any]] = ("", [], {})


def redacted(bot: Bot, run: Run | None) -> dict[str, Any]:
    """Return a run's data as it stands in the audit.

    Public values stay, any other value that is set becomes a mask, values that are not set become None.

    Args:
        bot: The bot that knows the run's flow.
        run: The run; None has no data.
    """
    if run is None:
        return {}
    public = bot.definition(run).public
    return {
        name: value if name in public else None if value is None or value in _EMPTY else MASK
        for name, value in run.flow_data.data.fields.items()
    }


def changed_fields(before: Run | None, after: Run | None) -> tuple[str, ...]:
    """Return the names of the fields whose values differ between two states of a run, in order."""
    if before is None or after is None:
        return ()
    old, new = before.flow_data.data.fields, after.flow_data.data.fields
    return tuple(sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name)))


def error_record(error: BaseException, reference: str) -> dict[str, Any]:
    """Return what the audit keeps of an exception: its type and the places in the code that it came from.

    Its message may quote what a member wrote and is left out, except for this library's own errors, which quote
    nothing.

    Args:
        error: The exception.
        reference: What a member is told to name when they ask about it; "" where nothing was said.
    """
    frames = traceback.extract_tb(error.__traceback__)
    return {
        "reference": reference,
        "type": type(error).__name__,
        "message": str(error) if isinstance(error, VimbisoError) else "",
        "where": [f"{PurePath(f.filename).name}:{f.lineno} {f.name}" for f in frames[-8:]],
    }
