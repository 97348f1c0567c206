"""Checks of the numbers that an author declares as bounds: seconds and counts."""

from __future__ import annotations

import math
from typing import Any, Final

from vimbiso_fsm.errors import FlowError

LONGEST_WAIT: Final = 3660 * 86_400.0
"""The longest time that can be declared, in seconds: about ten years.

A longer one is a slip, of milliseconds for seconds for example, and the sum of an instant and an unbounded time is no
instant.
"""
LARGEST_COUNT: Final = 1_000_000_000
"""The largest count that can be declared."""


def check_seconds(
    place: str, name: str, value: object, *, least: float = 0.0, more: bool = True, most: float = LONGEST_WAIT
) -> None:
    """Check a number of seconds.

    Args:
        place: The declaration that it belongs to, for the error.
        name: Its name, for the error.
        value: The declared value.
        least: The lower bound.
        more: Whether it must be more than the lower bound.
        most: The upper bound, which is included.

    Raises:
        FlowError: It is no number, or out of its bounds.
    """
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if not ((least < number if more else least <= number) and number <= most):
        lower = f"more than {least:g}" if more else f"at least {least:g}"
        raise FlowError("", place, f"{name} is {value!r}", f"give seconds, {lower} and at most {most:,.0f}")


def check_count(place: str, name: str, value: object, *, least: int = 1, most: int = LARGEST_COUNT) -> None:
    """Check a count; the arguments are those of `check_seconds`.

    Raises:
        FlowError: It is no whole number, or out of its bounds.
    """
    if type(value) is not int or not least <= value <= most:
        raise FlowError("", place, f"{name} is {value!r}", f"give a whole number from {least:,} to {most:,}")


def check_range(place: str, lower: tuple[str, Any], upper: tuple[str, Any]) -> None:
    """Check that a lower bound is not above an upper one, if both are given. Each comes with its name.

    Raises:
        FlowError: The lower bound is above the upper one.
    """
    (low_name, low), (high_name, high) = lower, upper
    if low is not None and high is not None and low > high:
        fault = f"{low_name} is {low!r} and {high_name} {high!r}"
        raise FlowError("", place, fault, f"{low_name} is at most {high_name}")
