"""Words as they are compared: typed texts, titles, ids, and the words of an author.

`normalise` is the one form in which two of them are equal. `number` reads the number of a choice as people type it.
An amount is no choice: `readers.amount` reads it strictly.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

BLANK: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0")
"""Letters and marks that are blank."""
_KEYCAPS: Final = {"\u20e3": "", "\U0001f51f": "10"}
"""The mark that makes a digit a keycap, and the one keycap that is a single character."""
_STOPS: Final = ".\u0589\u06d4\u0964\u104b\u1362\u17d4\u3002"
"""Full stops: Latin, Armenian, Arabic, Devanagari, Myanmar, Ethiopic, Khmer and ideographic."""
_NUMBER: Final = re.compile(rf"\(? ?([0-9]{{1,3}}|[^0-9()]) ?[{_STOPS})]?")


_WHOLE: Final = re.compile(r"(?<![\w.,:/-])[0-9]{1,3}(?!\w|[.,:/-]\w)")
"""A whole number in a title: not the part of a word, of an amount, of a date or of a time."""


def plain(value: str) -> str:
    """Replace lone surrogates, which no store and no channel can encode, by U+FFFD."""
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


_SLASH: Final = re.compile(r"\s*/([^\s@/]+)(?:@\S+)?(?:\s+(.*))?", re.DOTALL)


def slash_command(text: str) -> tuple[str, str] | None:
    """Return the word and the argument of a command as channels spell it: `/start@our_bot ref_42`; None for others."""
    found = _SLASH.fullmatch(text)
    return None if found is None else (found[1], (found[2] or "").strip())


def is_selector(character: str) -> bool:
    """Return whether a character only selects a variant of the one before it."""
    return (
        "\ufe00" <= character <= "\ufe0f"
        or "\u180b" <= character <= "\u180f"
        or "\U000e0100" <= character <= "\U000e01ef"
    )


def normalise(text: str) -> str:
    """Return a text in the form in which words are compared.

    The text is in NFKC and case-folded, without characters that cannot be seen and with single spaces. Decimal digits
    of all scripts and keycaps are ASCII digits.
    """
    if not text.isascii():
        text = "".join(map(_plain, unicodedata.normalize("NFKC", text)))
        # Without an invisible character, a letter and an accent may be one; and case-folding may separate them.
        text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(text.split()).casefold()


def _plain(character: str) -> str:
    if character.isascii():
        return character
    if unicodedata.category(character) == "Cf" or character in BLANK or is_selector(character):
        return ""
    if character.isdecimal():
        return str(unicodedata.decimal(character))
    return _KEYCAPS.get(character, character)


def without_stop(word: str) -> str:
    """Return a normalised text without a full stop at its end; a text of one character stays as it is."""
    return word[:-1].rstrip() if word[-1:] in _STOPS and len(word) > 1 else word


def number(word: str) -> int | None:
    """Return the number that a normalised text is, as people number a list; None if it is none.

    It has at most three digits and may end in a full stop or a bracket: `2`, `2.`, `2)`, `(2)`. A single character
    that is a whole number counts as well, such as a Chinese numeral or an encircled digit.
    """
    found = _NUMBER.fullmatch(word)
    if found is None:
        return None
    if found[1].isascii():
        return int(found[1]) if found[1].isdigit() else None
    value = unicodedata.numeric(found[1], 0.5)
    return int(value) if value.is_integer() else None


def numbers_in(word: str) -> frozenset[int]:
    """Return the whole numbers of at most three digits that stand in a normalised text, such as 3 in "3 guests"."""
    return frozenset(map(int, _WHOLE.findall(word)))


_SPACE: Final = re.compile("[ \\t\\r\\n\\u00a0\\u1680\\u2000-\\u200a\\u202f\\u205f\\u3000]+")
"""White space, without the other control characters."""


def collapse(text: str) -> str:
    """Trim `text` and make each run of white space one space."""
    return _SPACE.sub(" ", text).strip(" ")
