"""The abstraction of a walk: which moments count as the same place.

Small numbers, words that a member typed or chose, and what is empty are kept by value, because guards tell them apart.
Large numbers count by their digits, other texts and instants as such, and lists by their length up to two and by their
first items.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Hashable, Mapping
from typing import Any, Final

from vimbiso_fsm.document.document import Run
from vimbiso_fsm.testing.moments import Moment

_NUMBER: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_INSTANT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:T.*)?")
_SMALL: Final = 10
_ITEMS: Final = 2


def place_key(moment: Moment, words: Collection[str]) -> Hashable:
    """Return what tells the place of a moment from others.

    Args:
        moment: The moment.
        words: The texts that are kept by value.
    """
    document = moment.document
    if document is None:
        return ("", moment.channel)
    return (
        moment.channel,
        document.guest,
        document.authenticated,
        abstract(document.profile, words),
        abstract(document.current_account, words),
        None if document.run is None else _run(document.run, words),
        tuple(_run(run, ()) for run in document.suspended),  # texts matter less there
        document.call is not None,
        document.handed is not None,
        len(document.reminders[:_ITEMS]),
        document.session_since is not None,
    )


def spot(moment: Moment) -> str:
    """Return the states in which the member stands, the open one last, for counting visits."""
    document = moment.document
    if document is None:
        return ""
    runs = (*reversed(document.suspended), *((document.run,) if document.run is not None else ()))
    return "/".join(f"{run.flow}.{run.step}" for run in runs)


def _run(run: Run, words: Collection[str]) -> Hashable:
    return (
        run.flow, run.step, run.waits, min(run.page, 2), abstract(run.fields, words), bool(run.trail),
        tuple(abstract(shown.choice, words) for shown in run.shown[:_ITEMS]), len(run.shown),
    )  # fmt: skip


def abstract(value: Any, words: Collection[str]) -> Hashable:
    """Return the abstraction of a plain value."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return _size(float(value))
    if isinstance(value, str):
        if not value or value in words:
            return value
        if _NUMBER.fullmatch(value) and len(value) < 20:
            return _size(float(value))
        return "an instant" if _INSTANT.fullmatch(value) else "a text"
    if isinstance(value, Mapping):
        return tuple((str(name), abstract(each, words)) for name, each in sorted(value.items()))
    if isinstance(value, list | tuple):
        return (min(len(value), _ITEMS), *(abstract(each, words) for each in value[:1]))
    return "a value"


def _size(number: float) -> Hashable:
    """Return a small whole number as it is, another one by its sign and its digits before the point."""
    if abs(number) < _SMALL and number == int(number):
        return int(number)
    return ("about", number > 0, len(str(int(abs(number)))))
