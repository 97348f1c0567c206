"""Identifiers of channels as people write them."""

from __future__ import annotations

import re
from typing import Final

NUMBERS: Final = frozenset({"whatsapp", "sms"})
"""The types of channels whose modules store a telephone number as its digits."""

_WRITTEN: Final = re.compile(r"\+?[0-9][0-9 ().-]{5,30}")
_SIGNS: Final = re.compile(r"[^0-9]")


def is_number(text: str) -> bool:
    """Return whether a text is a telephone number as people write it, such as "+263 77 123 4567"."""
    return _WRITTEN.fullmatch(text) is not None


def as_stored(type: str, identifier: str) -> str:
    """Return an identifier as the module of its channel stores it: a telephone number becomes its digits.

    Args:
        type: The type of the channel.
        identifier: The identifier as it was written.
    """
    return _SIGNS.sub("", identifier) if type in NUMBERS and is_number(identifier) else identifier
