"""The timeout of a state: a time span, an instant, or a function of the turn that returns one of the two."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias

from vimbiso_fsm.errors import WrongCallback
from vimbiso_fsm.flow.turn import Turn
from vimbiso_fsm.messages.bounds import LONGEST_WAIT

Timeout: TypeAlias = float | timedelta | datetime
"""Seconds or a `timedelta` in the state, or an instant with a time zone."""

_LONGEST: Final = timedelta(seconds=LONGEST_WAIT)
_WANTED: Final = "seconds, a timedelta or a datetime with a time zone, at most ten years ahead"


def timeout_fault(timeout: object) -> str | None:
    """Return what is wrong with a declared timeout, None if nothing is. A function is judged when it is called."""
    if callable(timeout):
        return None
    span = span_of(timeout)
    if span is None:
        return None if isinstance(timeout, datetime) and timeout.tzinfo is not None else f"timeout is {timeout!r}"
    return None if timedelta() < span <= _LONGEST else f"timeout is {timeout!r}"


def fires_at(timeout: object, turn: Turn[Any]) -> datetime:
    """Return the instant at which a state times out that is entered in a turn, in UTC.

    It may have passed, if a function or the declaration names such an instant.

    Args:
        timeout: The state's `timeout`.
        turn: The turn, as a callback of the state sees it.

    Raises:
        WrongCallback: A function returned no time span and no instant, or one that no clock can keep.
    """
    given: object = timeout(turn) if callable(timeout) else timeout
    callback = f"timeout {getattr(timeout, '__name__', type(timeout).__name__)!r}"
    if isinstance(given, datetime) and given.tzinfo is None:
        raise WrongCallback(callback, "a datetime without a time zone", _WANTED)
    span = given - turn.now if isinstance(given, datetime) else span_of(given)
    if span is None:
        raise WrongCallback(callback, _named(given), _WANTED)
    if span > _LONGEST:
        raise WrongCallback(callback, f"{type(given).__name__} of more than ten years ahead", _WANTED)
    return given.astimezone(UTC) if isinstance(given, datetime) else turn.now + max(span, timedelta())


def span_of(given: object) -> timedelta | None:
    """Return a time span; None for anything else, also for a number that is none."""
    if isinstance(given, timedelta):
        return given
    if isinstance(given, bool) or not isinstance(given, int | float):
        return None
    if isinstance(given, float) and not math.isfinite(given):
        return None
    return timedelta(seconds=max(min(given, LONGEST_WAIT + 1), -LONGEST_WAIT))


def _named(given: object) -> str:
    number = isinstance(given, int | float) and not isinstance(given, bool)
    return repr(given) if number else type(given).__name__
