"""The names of a declaration: the form that they have, and the names that a misspelt one probably means."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import takewhile
from typing import Final

from vimbiso_fsm.flow.state import RESERVED_TRIGGERS

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,47}")
_WORDS: Final = frozenset({"filed", "foiled"})
"""English words that differ from a reserved trigger by one letter, as a typing error would."""


def is_name(value: object) -> bool:
    """Return whether a value is a name: lower-case letters, digits and underscores, at most 48."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the remedy for an unknown name: the most similar known name, or all known names."""
    import difflib  # here, because only a mistake needs it

    close = difflib.get_close_matches(name, sorted(known), n=1)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(sorted(known))}"


def meant_trigger(name: str) -> str | None:
    """Return the reserved trigger that a button's name is probably a misspelling of, None if there is none.

    A misspelling has two neighbouring letters swapped or one letter doubled. In a trigger of at least six letters it
    may also have one letter left out, added or replaced, except for the first letter and for letters after the end:
    `answer1` and `answers` are other names. Short triggers get no more tolerance, because `one`, `none` and `auth`
    are good names for buttons.
    """
    for trigger in sorted(RESERVED_TRIGGERS - {name}):
        if name in _slips(trigger) or (len(trigger) >= 6 and _differs_by_one(name, trigger)):
            return trigger
    return None


def _slips(word: str) -> set[str]:
    """Return the word with two neighbouring letters swapped, or one letter doubled."""
    swapped = {word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in range(len(word) - 1)}
    return swapped | {word[: i + 1] + word[i:] for i in range(len(word))}


def _differs_by_one(name: str, trigger: str) -> bool:
    if name[:1] != trigger[0] or name.startswith(trigger) or name in _WORDS:
        return False
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(name, trigger, strict=False)))
    rest, meant = name[same:], trigger[same:]
    return rest[1:] == meant[1:] or rest == meant[1:] or rest[1:] == meant
