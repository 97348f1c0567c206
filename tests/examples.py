"""The number of examples of a property that needs more or fewer of them than the others."""

from __future__ import annotations

from typing import Final

from hypothesis import settings

USUAL: Final = 50
"""The examples of a property in the default profile, as `conftest.py` has it."""


def examples(count: int) -> settings:
    """Return settings with a number of examples, which a deeper profile multiplies as it does that of the others.

    Args:
        count: The number in the default profile.
    """
    return settings(max_examples=max(1, count * settings().max_examples // USUAL))
