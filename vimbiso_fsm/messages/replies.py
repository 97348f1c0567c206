"""Replies that go out: texts, buttons and menus, free of any channel's format.

An author writes words as keys with parameters. When a turn is decided, `catalogue.Catalogue` gives each text its final
words in `.text`.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, TypeAlias

import attrs


def plain(value: str) -> str:
    """Replace lone surrogates, which no store and no channel can encode, by U+FFFD."""
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


_set: Final = object.__setattr__
"""Sets an attribute of a frozen object whose `__init__` is written by hand."""

Parameter: TypeAlias = str | int | Decimal | Any
"""A parameter of a text.

The catalogue writes money and texts in the member's language, the items of a list or a tuple on a line each, and
anything else with `str()`.
"""


@attrs.frozen(init=False)
class Text:
    """Words by key: `Text("offer.amount", limit=25)`.

    A key without an entry in the catalogue is its own words.

    Attributes:
        key: The key of the words.
        params: The parameters of the words.
        text: The final words; empty until the catalogue has filled them in.
    """

    key: str
    params: Mapping[str, Any] = attrs.field(hash=False)
    text: str = attrs.field(eq=False)

    def __init__(self, key: str, /, **params: Parameter) -> None:
        """Make a text without final words; see the class."""
        _set(self, "key", key)
        _set(self, "params", params)
        _set(self, "text", "")

    def said(self, words: str, params: Mapping[str, str | int]) -> Text:
        """Return this text with its final words, and its parameters as they were written."""
        text = Text.__new__(Text)
        _set(text, "key", self.key)
        _set(text, "params", params)
        _set(text, "text", words)
        return text

    def __str__(self) -> str:
        return self.text or self.key


def _text(value: str | Text) -> Text:
    """Convert a plain string to a text with these words. It is no key: the name of an account is never looked up."""
    return value if isinstance(value, Text) else Text(value).said(value, {})


@attrs.frozen
class Button:
    """A button under a question.

    Attributes:
        id: What comes back when the button is pressed: the name of a trigger.
        title: The words on the button.
    """

    id: str
    title: Text = attrs.field(converter=_text)


@attrs.frozen
class Row:
    """A row of a menu.

    Attributes:
        id: The id of the thing that the row stands for. What is sent also carries the fence of the question.
        title: The words of the row.
        description: More words, if the channel has room for them.
        value: What `into` takes when the row is chosen; by default the id.
    """

    id: str
    title: Text = attrs.field(converter=_text)
    description: Text | None = attrs.field(default=None, converter=attrs.converters.optional(_text))
    value: Any = attrs.field(default=None, kw_only=True, eq=False, repr=False)


@attrs.frozen
class Buttons:
    """A question with buttons under it."""

    body: Text
    buttons: tuple[Button, ...]

    @property
    def text(self) -> str:
        """The final words of the question."""
        return self.body.text


@attrs.frozen
class Menu:
    """A question with a list under it. At most ten rows are shown; more are paged by rows that count among the ten."""

    body: Text
    rows: tuple[Row, ...]

    @property
    def text(self) -> str:
        """The final words of the question."""
        return self.body.text


Reply: TypeAlias = Text | Buttons | Menu
"""A reply to a member."""
