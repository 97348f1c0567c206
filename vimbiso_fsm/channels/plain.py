"""Replies as plain text: numbered options, and texts shortened or split to a limit.

Whatever a channel has no format for is written this way; the member types the number of an option. A cut falls between
two grapheme clusters, never inside what a reader sees as one character: a letter with its accents, a Hindi conjunct, a
Thai syllable with its vowel signs, an emoji with its skin tone, a flag. All functions take time linear in the text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeAlias

import attrs

from vimbiso_fsm.messages.replies import (
    Buttons,
    ContactRequest,
    File,
    LocationRequest,
    Media,
    Menu,
    Reply,
    Template,
    Text,
    WebLink,
)

Size: TypeAlias = Callable[[str], int]
"""The length of a text as a channel counts it: the sum over its code points, 1 or 2 units each."""

ELLIPSIS: Final = "…"
CLUSTER_LENGTH: Final = 32
"""Code points of a grapheme cluster that is kept whole. Longer ones are cut: no script needs them."""


def utf16(text: str) -> int:
    """Count UTF-16 code units: what Telegram counts, and never less than WhatsApp may count."""
    return len(text) if text.isascii() else len(text) + sum(c > "\uffff" for c in text)


@attrs.frozen
class Option:
    """A button or row with its final words, each on one line."""

    id: str
    title: str
    description: str = ""

    @property
    def line(self) -> str:
        """The title and the description."""
        return f"{self.title} - {self.description}" if self.description else self.title


def question(reply: Reply) -> str:
    """Return the words of a reply without its options: those of a file or a link have its address."""
    if isinstance(reply, Buttons | Menu):
        return clean(str(reply.body)).strip()
    return clean(str(reply) if isinstance(reply, Text) else reply.text).strip()


def body(reply: Media | File | WebLink | LocationRequest | ContactRequest | Template) -> str:
    """Return the words beside a file, a link or a request, without its address."""
    return clean(str(reply.body)).strip()


def title(reply: WebLink | LocationRequest | ContactRequest, limit: int) -> str:
    """Return the words on the button of a reply in at most `limit` UTF-16 units; without any, those of the reply."""
    return shorten(_line(reply.title) or _line(reply.text or body(reply)), limit)


def options(reply: Reply) -> tuple[Option, ...]:
    """Return the buttons or rows of a reply, none for a text. An option without a title is titled by its id."""
    if isinstance(reply, Buttons):
        return tuple(Option(b.id, _line(b.title) or _line(b.id)) for b in reply.buttons)
    if isinstance(reply, Menu):
        return tuple(
            Option(r.id, _line(r.title) or _line(r.id), _line(r.description) if r.description else "")
            for r in reply.rows
        )
    return ()


def clean(text: str) -> str:
    """Replace lone surrogates, which no channel can encode."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _line(text: Text | str) -> str:
    return " ".join(clean(str(text)).split())


def numbered(body: str, choices: Iterable[Option]) -> str:
    """Return the body and, one per line, the options with the numbers that choose them, from 1."""
    lines = [f"{number}. {choice.line}" for number, choice in enumerate(choices, 1)]
    return "\n".join([body, *lines] if body else lines)


def pressable(choices: Sequence[Option], limit: int, id_limit: int, size: Size) -> bool:
    """Return whether a channel can show the options as buttons.

    Args:
        choices: The options.
        limit: The number of buttons that the channel shows at most.
        id_limit: The units of an id at most; an id has at least one.
        size: Counts the units of an id.

    Returns:
        True if the options fit, their ids differ, and the channel gives each id back unchanged.
    """
    ids = {choice.id for choice in choices}
    return (
        0 < len(choices) <= limit
        and len(ids) == len(choices)
        and all(id == clean(id).strip() and 0 < size(id) <= id_limit for id in ids)
    )


def titles(choices: Sequence[Option], limit: int) -> list[str]:
    """Return the options' titles in at most `limit` UTF-16 units each.

    If two of them would look the same, all are numbered; the numbers are those that the member may type as well.
    """
    short = [shorten(choice.title, limit) for choice in choices]
    if not alike(choices, limit):
        return short
    return [shorten(f"{number}. {choice.title}", limit) for number, choice in enumerate(choices, 1)]


def alike(choices: Sequence[Option], limit: int) -> bool:
    """Return whether two titles look the same in at most `limit` UTF-16 units, so that they are numbered."""
    return len({shorten(choice.title, limit).casefold() for choice in choices}) < len(choices)


def shorten(text: str, limit: int, size: Size = utf16, mark: str = ELLIPSIS) -> str:
    """Shorten `text` to at most `limit` units (4 or more); a shortened text ends in `mark`."""
    if size(text) <= limit:
        return text
    room = limit - size(mark)
    return text[: _cut(text[: room + 1], room, size)].rstrip() + mark


def split(text: str, limit: int, size: Size = utf16) -> list[str]:
    """Split `text` into pieces of at most `limit` units (4 or more), none of them blank.

    A piece ends after a paragraph, else after a line, a word or a character. Only white space at the seams is lost.
    """
    pieces: list[str] = []
    start = 0
    while start < len(text):
        window = text[
            start : start + limit + 1
        ]  # one code point more than can fit: it tells whether the cut is a boundary
        end = _seam(window, limit, size)
        if piece := window[:end].strip():
            pieces.append(piece)
        start += end
    return pieces


def split_off_end(text: str, limit: int, size: Size = utf16) -> tuple[str, str]:
    """Split `text` in two: what is sent ahead, and an end of at most `limit` units that stands with the options."""
    text = text.strip()
    end = split(text, limit, size)[-1] if text else ""
    return text[: len(text) - len(end)].rstrip(), end


def _seam(window: str, limit: int, size: Size) -> int:
    """Return where to split: the last seam in the second half of what fits, so that no piece is needlessly small."""
    end = _cut(window, limit, size)
    if end == len(window):
        return end
    for seam in ("\n\n", "\n", " "):
        at = window.rfind(seam, max(end // 2, 1), end + len(seam))
        if at > 0 and _is_boundary(window, at + len(seam)):
            return at
    return end


def _cut(window: str, limit: int, size: Size) -> int:
    """Return the length of the longest head of at most `limit` units that ends between two grapheme clusters."""
    end = min(len(window), limit)
    while (over := size(window[:end]) - limit) > 0:
        end -= (over + 1) // 2  # a code point has at most two units, so this never drops one too many
    if end == len(window) or (window.isascii() and "\r" not in window):
        return end
    from wcwidth import iter_graphemes  # here, because the import takes 20 ms and most texts fit

    whole = 0
    for cluster in iter_graphemes(window):
        if whole + len(cluster) > end:
            break
        whole += len(cluster)
    return whole if whole > 0 and end - whole < CLUSTER_LENGTH else end


def _is_boundary(text: str, at: int) -> bool:
    """Return whether the white space before `at` is a character of its own: an accent may follow and belong to it."""
    if text[at : at + 1].isascii():
        return True
    from wcwidth import iter_graphemes

    return next(iter_graphemes(text[at - 1 : at + 1])) == text[at - 1]
