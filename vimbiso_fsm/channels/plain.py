"""Replies as plain words: numbered options, and texts shortened or split to a limit.

What no channel-specific format can hold is said this way: the member types the number. A cut never falls inside what
a reader sees as one character (a letter with its accents, an emoji with its skin tone, a flag), as far as the
standard library can tell. All functions take time linear in the text.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeAlias

import attrs

from vimbiso_fsm.messages.replies import Buttons, Menu, Reply, Text

Size: TypeAlias = Callable[[str], int]
"""How long a channel finds a text: the sum over its characters, 1 or 2 units each."""

ELLIPSIS: Final = "…"
JOINER: Final = "\u200d"
MAX_CLUSTER: Final = 32
"""Code points of one character as read. Longer heaps of accents are cut anyway: no script needs them."""


def utf16(text: str) -> int:
    """UTF-16 code units: what Telegram counts, and never less than WhatsApp may count."""
    return len(text) if text.isascii() else len(text) + sum(c > "\uffff" for c in text)


@attrs.frozen
class Option:
    """One button or row with its final words, each on one line."""

    id: str
    title: str
    description: str = ""

    @property
    def line(self) -> str:
        """Title and description."""
        return f"{self.title} - {self.description}" if self.description else self.title


def question(reply: Reply) -> str:
    """The reply's words without its options."""
    return _clean(str(reply if isinstance(reply, Text) else reply.body)).strip()


def options(reply: Reply) -> tuple[Option, ...]:
    """The reply's buttons or rows; none for a text. One without a title is called by its id."""
    if isinstance(reply, Buttons):
        return tuple(Option(b.id, _line(b.title) or _line(b.id)) for b in reply.buttons)
    if isinstance(reply, Menu):
        return tuple(
            Option(r.id, _line(r.title) or _line(r.id), _line(r.description) if r.description else "")
            for r in reply.rows
        )
    return ()


def _clean(text: str) -> str:
    """`text` without lone surrogates, which no channel can encode."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _line(text: Text | str) -> str:
    return " ".join(_clean(str(text)).split())


def numbered(body: str, choices: Iterable[Option]) -> str:
    """The body and, a line each, the options with the numbers that choose them, from 1."""
    lines = [f"{number}. {choice.line}" for number, choice in enumerate(choices, 1)]
    return "\n".join([body, *lines] if body else lines)


def pressable(choices: Sequence[Option], most: int, id_limit: int, size: Size) -> bool:
    """True when a channel that takes `most` options with ids of 1 to `id_limit` units can show these as buttons: ids
    differ, and come back as they went."""
    ids = {choice.id for choice in choices}
    return (
        0 < len(choices) <= most
        and len(ids) == len(choices)
        and all(id == _clean(id).strip() and 0 < size(id) <= id_limit for id in ids)
    )


def titles(choices: Sequence[Option], limit: int) -> list[str]:
    """The options' titles within `limit` UTF-16 units. Where two would look the same all get their numbers, which
    are what the member may type as well."""
    short = [shorten(choice.title, limit) for choice in choices]
    if len({title.casefold() for title in short}) == len(short):
        return short
    return [shorten(f"{number}. {choice.title}", limit) for number, choice in enumerate(choices, 1)]


def shorten(text: str, limit: int, size: Size = utf16, mark: str = ELLIPSIS) -> str:
    """`text` in at most `limit` units (4 or more); a shortened one ends in `mark`."""
    if size(text) <= limit:
        return text
    room = limit - size(mark)
    return text[: _cut(text[: room + 1], room, size)].rstrip() + mark


def split(text: str, limit: int, size: Size = utf16) -> list[str]:
    """`text` in pieces of at most `limit` units (4 or more), none of them blank: ended after a paragraph, else a
    line, else a word, else anywhere between two characters. Only white space at the seams is lost."""
    pieces: list[str] = []
    start = 0
    while start < len(text):
        window = text[start : start + limit + 1]  # one more than can fit, so that what follows the cut is seen
        end = _seam(window, limit, size)
        if piece := window[:end].strip():
            pieces.append(piece)
        start += end
    return pieces


def split_off_end(text: str, limit: int, size: Size = utf16) -> tuple[str, str]:
    """`text` in two, the second of at most `limit` units: what goes ahead, and what stands with the options."""
    text = text.strip()
    end = split(text, limit, size)[-1] if text else ""
    return text[: len(text) - len(end)].rstrip(), end


def _seam(window: str, limit: int, size: Size) -> int:
    """Where to split: the last seam in the second half of what fits, so that no piece is needlessly small."""
    end = _cut(window, limit, size)
    if end == len(window):
        return end
    for seam in ("\n\n", "\n", " "):
        at = window.rfind(seam, max(end // 2, 1), end + len(seam))
        if at > 0 and not _joined(window, at + len(seam)):
            return at
    return end


def _cut(window: str, limit: int, size: Size) -> int:
    """The length of the longest head of at most `limit` units that ends between two characters as read."""
    end = min(len(window), limit)
    while (over := size(window[:end]) - limit) > 0:
        end -= (over + 1) // 2  # a code point has at most two units, so this never drops one too many
    whole = end
    while whole > 0 and end - whole < MAX_CLUSTER and _joined(window, whole):
        whole -= 1
    return whole if whole > 0 and not _joined(window, whole) else end


def _joined(text: str, at: int) -> bool:
    """True when the code points on both sides of `at` are read as one character."""
    if not 0 < at < len(text):
        return False
    before, after = text[at - 1], text[at]
    if after.isascii():
        return before == "\r" and after == "\n"
    if _is_flag_half(after):
        return _flag_halves_before(text, at) % 2 == 1
    return before == JOINER or _extends(after)


def _extends(c: str) -> bool:
    """Accents, vowel signs and variation selectors; the joiner; Hangul vowels and finals; skin tones; flag tags."""
    return (
        unicodedata.category(c).startswith("M")
        or c == JOINER
        or "\u1160" <= c <= "\u11ff"
        or "\U0001f3fb" <= c <= "\U0001f3ff"
        or "\U000e0020" <= c <= "\U000e007f"
    )


def _is_flag_half(c: str) -> bool:
    return "\U0001f1e6" <= c <= "\U0001f1ff"


def _flag_halves_before(text: str, at: int) -> int:
    start = at
    while start > 0 and _is_flag_half(text[start - 1]):
        start -= 1
    return at - start
