"""Replies that go out: texts, buttons and menus, files, locations and links, free of any channel's format.

An author writes words as keys with parameters. When a turn is decided, `catalogue.Catalogue` gives each text its final
words in `.text`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final, TypeAlias

import attrs

from vimbiso_fsm.errors import FlowError
from vimbiso_fsm.messages.contents import MAX_REFERENCE, Location
from vimbiso_fsm.messages.value import Value
from vimbiso_fsm.messages.words import plain

_set: Final = object.__setattr__
"""Sets an attribute of a frozen object whose `__init__` is written by hand."""

Parameter: TypeAlias = str | int | Decimal | Any
"""A parameter of a text.

The catalogue writes money and texts in the member's language, the items of a list or a tuple on a line each, and
anything else with `str()`.
"""


def _texts(value: Iterable[str]) -> tuple[str, ...]:
    """Convert the parameters or languages of a template to a tuple of texts (an attrs converter)."""
    given: Any = value
    found: tuple[Any, ...] = tuple(value) if isinstance(given, Iterable) else (given,)
    if isinstance(given, str) or not all(isinstance(each, str) for each in found):
        raise FlowError("", "Template", "params or languages are no texts", "give a tuple of texts")
    return tuple(map(plain, found))


@attrs.frozen(eq=False, repr=False)
class TextTemplate(Value):
    """The template of a channel that says the same as a text: `TextTemplate("visit_tomorrow", ("day", "time"))`.

    Attributes:
        name: The channel's name of the template.
        params: The parameters of the text that fill the template, by name and in the order of the template. They are
            written as in the text, in the member's language.
        languages: The channel's names of the languages in which the template is approved. It is sent in the member's
            language, or in the first of these where it has not that one.

    Raises:
        FlowError: The name is empty, a parameter is no text, or there is no language.
    """

    name: str = attrs.field(validator=attrs.validators.instance_of(str))
    params: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    languages: tuple[str, ...] = attrs.field(default=("en",), converter=_texts)

    def __attrs_post_init__(self) -> None:
        if not self.name or not all(self.languages):
            raise FlowError("", "TextTemplate", "it has no name or a language without one", "give both")
        if not self.languages:
            raise FlowError("", "TextTemplate", "languages is empty", "give the ones in which it is approved")


_NO_TEMPLATES: Final[Mapping[str, TextTemplate]] = {}


@attrs.frozen(eq=False, repr=False, init=False)
class Text(Value):
    """Words by key: `Text("offer.amount", limit=25)`.

    A key without an entry in the catalogue is its own words.

    Attributes:
        key: The key of the words.
        params: The parameters of the words.
        templates: The templates that say the same, by the type of the channel. Where a channel takes no words of the
            bot's own (`Bot.windows`), the text goes as its template. Without one it waits for the member's message.
        holds: How long the text is worth saying, from when it is said, if it answers no message. What was not sent
            until then is dropped. None for the bounds of the outbox.
        text: The final words; empty until the catalogue has filled them in.

    Raises:
        FlowError: A template takes a parameter that the text has not, or `holds` is no time.
    """

    key: str
    params: Mapping[str, Any] = attrs.field(hash=False)
    templates: Mapping[str, TextTemplate] = attrs.field(hash=False, repr=False)
    holds: timedelta | None = attrs.field(repr=False)
    text: str = attrs.field(eq=False)

    def __init__(
        self,
        key: str,
        /,
        *,
        templates: Mapping[str, TextTemplate] = _NO_TEMPLATES,
        holds: timedelta | None = None,
        **params: Parameter,
    ) -> None:
        """Make a text without final words; see the class."""
        _set(self, "key", key)
        _set(self, "params", params)
        _set(self, "templates", templates)
        _set(self, "holds", holds)
        _set(self, "text", "")
        if templates is not _NO_TEMPLATES or holds is not None:
            self._check_late()

    def _check_late(self) -> None:
        """Check what is said of the text where it is late."""
        templates, holds = self.templates, self.holds
        given: object = templates
        if not isinstance(given, Mapping) or not all(isinstance(each, TextTemplate) for each in given.values()):
            raise FlowError(
                "", "Text", f"templates of {self.key!r} is no mapping of them", "give {'whatsapp': TextTemplate(…)}"
            )
        for channel_type, template in templates.items():
            for name in template.params:
                if name not in self.params:
                    fault = f"template {template.name!r} of {channel_type!r} takes {name!r}, which {self.key!r} has not"
                    raise FlowError("", "Text", fault, f"give Text({self.key!r}, {name}=…), or another template")
        end: object = holds
        if end is not None and not (isinstance(end, timedelta) and end > timedelta()):
            raise FlowError("", "Text", f"holds of {self.key!r} is {end!r}", "give a timedelta of more than nothing")

    def said(self, words: str, params: Mapping[str, str | int]) -> Text:
        """Return this text with its final words, and its parameters as they were written."""
        text = Text.__new__(Text)
        _set(text, "key", self.key)
        _set(text, "params", params)
        _set(text, "templates", self.templates)
        _set(text, "holds", self.holds)
        _set(text, "text", words)
        return text

    def __str__(self) -> str:
        return self.text or self.key


def _text(value: str | Text) -> Text:
    """Convert a plain string to a text with these words. It is no key: the name of an account is never looked up."""
    return value if isinstance(value, Text) else Text(value).said(value, {})


@attrs.frozen(eq=False, repr=False)
class Button(Value):
    """A button under a question.

    Attributes:
        id: What comes back when the button is pressed: the name of a trigger.
        title: The words on the button.
    """

    id: str
    title: Text = attrs.field(converter=_text)


@attrs.frozen(eq=False, repr=False)
class Row(Value):
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


@attrs.frozen(eq=False, repr=False)
class Buttons(Value):
    """A question with buttons under it."""

    body: Text
    buttons: tuple[Button, ...]

    @property
    def text(self) -> str:
        """The final words of the question."""
        return self.body.text


@attrs.frozen(eq=False, repr=False)
class Menu(Value):
    """A question with a list under it. At most ten rows are shown; more are paged by rows that count among the ten."""

    body: Text
    rows: tuple[Row, ...]

    @property
    def text(self) -> str:
        """The final words of the question."""
        return self.body.text


MEDIA: Final = ("image", "audio", "video", "sticker")
"""The kinds of `Media`."""


def _source(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Check the address of a file, or the id by which the channel knows it (an attrs validator)."""
    if not isinstance(value, str) or not value or len(value) > MAX_REFERENCE or not value.isprintable():
        fault = f"is no text of 1 to {MAX_REFERENCE} printable characters"
        raise FlowError(
            "", "reply", f"{attribute.name} {fault}", "give an https address, or the channel's id of a file"
        )


def _address(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Check the address of a page (an attrs validator)."""
    if not isinstance(value, str) or not is_address(value) or len(value) > MAX_REFERENCE or not value.isprintable():
        raise FlowError("", "WebLink", f"{attribute.name} is no address", "give one that begins with https://")


def is_address(source: str) -> bool:
    """Return whether the source of a file is an address that members can open, rather than a channel's id."""
    return source.startswith(("https://", "http://"))


@attrs.frozen(eq=False, repr=False)
class Media(Value):
    """A picture, a sound, a video or a sticker: `Media("image", "https://example.org/map.png", Text("map"))`.

    Attributes:
        kind: "image", "audio", "video" or "sticker".
        source: The address of the file, or the channel's id of one that it holds already.
        body: The words under it. A channel without such files shows them with the address; an id shows nothing there.

    Raises:
        FlowError: The kind is another one, or the source is none.
    """

    kind: str = attrs.field()
    source: str = attrs.field(repr=False, validator=_source)
    body: Text = attrs.field(default=Text(""), converter=_text)

    def __attrs_post_init__(self) -> None:
        if self.kind not in MEDIA:
            raise FlowError("", "Media", f"kind is {self.kind!r}", f"give one of {', '.join(MEDIA)}, or a File")

    @property
    def text(self) -> str:
        """The final words, with the address of the file."""
        return _lines(self.body.text, self.source if is_address(self.source) else "")


@attrs.frozen(eq=False, repr=False)
class File(Value):
    """A document: `File("https://example.org/receipt.pdf", "receipt.pdf", Text("receipt"))`.

    Attributes:
        source: The address of the file, or the channel's id of one that it holds already.
        name: The name of the file as the member sees it.
        body: The words under it; see `Media`.

    Raises:
        FlowError: The source is none.
    """

    source: str = attrs.field(repr=False, validator=_source)
    name: str = attrs.field(default="", validator=attrs.validators.instance_of(str))
    body: Text = attrs.field(default=Text(""), converter=_text)

    @property
    def text(self) -> str:
        """The final words, with the name and the address of the file."""
        return _lines(self.body.text, self.name, self.source if is_address(self.source) else "")


@attrs.frozen(eq=False, repr=False)
class WebLink(Value):
    """A button that opens a page: `WebLink(Text("pay.ask"), "https://pay.example.org/1", Text("pay.open"))`.

    Attributes:
        body: The words above it.
        url: The address of the page, which begins with https:// or http://.
        title: The words on the button.

    Raises:
        FlowError: The address is none.
    """

    body: Text = attrs.field(converter=_text)
    url: str = attrs.field(repr=False, validator=_address)
    title: Text = attrs.field(default=Text("link.open"), converter=_text)

    @property
    def text(self) -> str:
        """The final words, with the address."""
        return _lines(self.body.text, self.url)


@attrs.frozen(eq=False, repr=False)
class LocationRequest(Value):
    """A question for a location, with a button that sends it where a channel has one.

    Attributes:
        body: The words of the question.
        title: The words on the button.
    """

    body: Text = attrs.field(converter=_text)
    title: Text = attrs.field(default=Text("request.location"), converter=_text)

    @property
    def text(self) -> str:
        """The final words of the question."""
        return self.body.text


@attrs.frozen(eq=False, repr=False)
class ContactRequest(Value):
    """A question for the member's own contact, with a button that sends it where a channel has one.

    Attributes:
        body: The words of the question.
        title: The words on the button.
    """

    body: Text = attrs.field(converter=_text)
    title: Text = attrs.field(default=Text("request.contact"), converter=_text)

    @property
    def text(self) -> str:
        """The final words of the question."""
        return self.body.text


@attrs.frozen(eq=False, repr=False)
class Template(Value):
    """A message that the channel has approved before: `Template("seat_free", Text("seat.free", name=name), (name,))`.

    Attributes:
        name: The channel's name of the template.
        body: The words where the channel has no templates.
        params: The parameters of the template, in order.
        language: The channel's name of the language.

    Raises:
        FlowError: A parameter is no text.
    """

    name: str = attrs.field(validator=attrs.validators.instance_of(str))
    body: Text = attrs.field(converter=_text)
    params: tuple[str, ...] = attrs.field(default=(), repr=False, converter=_texts)
    language: str = attrs.field(default="en", validator=attrs.validators.instance_of(str))

    @property
    def text(self) -> str:
        """The final words where the channel has no templates."""
        return self.body.text


def _lines(*parts: str) -> str:
    return "\n".join(filter(None, parts))


Said: TypeAlias = Text | Media | File | Location | WebLink | LocationRequest | ContactRequest | Template
"""What a state may say when it is entered."""

SAID: Final = (Text, Media, File, Location, WebLink, LocationRequest, ContactRequest, Template)
"""The classes of what a state may say."""

Asked: TypeAlias = Text | WebLink | LocationRequest | ContactRequest
"""What a state may ask. With rows or buttons, its words stand above them."""

ASKED: Final = (Text, WebLink, LocationRequest, ContactRequest)
"""The classes of what a state may ask."""

Reply: TypeAlias = Said | Buttons | Menu
"""A reply to a member."""
