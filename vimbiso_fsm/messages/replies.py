"""TODO."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any, TypeAlias

import attrs

NOTHING: Mapping[str, Any] = MappingProxyType({})


def plain(value: str) -> str:
    """`value` without lone surrogates, which no store and no channel can encode: they become U+FFFD, no word."""
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _fill(frozen: object, **values: Any) -> None:
    """Set the attributes of a frozen object whose `__init__` is written by hand."""
    for name, value in values.items():
        object.__setattr__(frozen, name, value)


Parameter: TypeAlias = str | int | Decimal | Any
"""A text's parameter: said with `str()` unless the catalogue knows better (money, dates, another text). Of a list or a
tuple, each on a line of its own."""


@attrs.frozen(init=False)
class Text:
    """Words by key: `Text("offer.amount", limit=25)`. A key without an entry is said as it stands.

    `text` is empty until the catalogue has said it; then it holds the final words.
    """

    key: str
    params: Mapping[str, Any] = attrs.field(hash=False)
    text: str = attrs.field(eq=False)

    def __init__(self, key: str, /, **params: Parameter) -> None:
        _fill(self, key=key, params=params or NOTHING, text="")

    def said(self, words: str, params: Mapping[str, str | int]) -> Text:
        """This text with its final words and its parameters as they were said."""
        text = Text.__new__(Text)
        _fill(text, key=self.key, params=params, text=words)
        return text

    def __str__(self) -> str:
        return self.text or self.key


def _text(value: str | Text) -> Text:
    """A text as it is; a plain string is words, not a key: what a member called their account is never looked up."""
    return value if isinstance(value, Text) else Text(value).said(value, {})


@attrs.frozen
class Button:
    """One of a few ways on. `id` is what comes back when it is pressed."""

    id: str
    title: Text = attrs.field(converter=_text)


@attrs.frozen
class Row:
    """One entry of a list. Authors give the bare `id` of the thing; what is shown carries run and version."""

    id: str
    title: Text = attrs.field(converter=_text)
    description: Text | None = attrs.field(default=None, converter=attrs.converters.optional(_text))
    value: Any = attrs.field(default=None, kw_only=True, eq=False, repr=False)
    """What `into` takes when the row is chosen; the id when nothing is given."""


@attrs.frozen
class Buttons:
    """A question with buttons under it."""

    body: Text
    buttons: tuple[Button, ...]

    @property
    def text(self) -> str:
        """The question's final words."""
        return self.body.text


@attrs.frozen
class Menu:
    """A question with a list under it, at most ten rows; more are paged with rows that count among the ten."""

    body: Text
    rows: tuple[Row, ...]

    @property
    def text(self) -> str:
        """The question's final words."""
        return self.body.text


Reply: TypeAlias = Text | Buttons | Menu
"""What goes out."""
