"""Catalogues: the words of each key in each language, and how a key with its parameters becomes the words of a reply.

A template is `str.format` with named fields: `"You hold {held}."`. If the words differ by number it is a `Plural`. What
a member wrote is only ever a parameter, so nothing in it is read as a template.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, tzinfo
from decimal import Decimal
from functools import cached_property, lru_cache
from typing import Any, Final, TypeAlias

import attrs

from vimbiso_fsm.messages import locales
from vimbiso_fsm.messages.contents import Location
from vimbiso_fsm.messages.languages import LANGUAGES, shipped
from vimbiso_fsm.messages.money import Money
from vimbiso_fsm.messages.replies import (
    Button,
    Buttons,
    ContactRequest,
    LocationRequest,
    Menu,
    Reply,
    Row,
    Text,
    WebLink,
)
from vimbiso_fsm.messages.templates import Plural, Template, Templates
from vimbiso_fsm.messages.value import Value

__all__ = ["Catalogue", "Plural", "Template", "Templates"]


ENGLISH: Final = "en"
"""The tag of English."""

Zone: TypeAlias = Callable[[], tzinfo]
"""Returns the time zone of a member; it is called where a text has an instant."""


@attrs.frozen(eq=False, repr=False)
class Catalogue(Value):
    """Templates by language and key.

    Attributes:
        languages: The templates of each language.
        default: The language whose templates serve every key that another language lacks.
    """

    languages: Mapping[str, Templates] = attrs.field(factory=dict)
    default: str = "en"

    @classmethod
    def of(cls, texts: Templates | Mapping[str, Templates] | Catalogue, flows: Iterable[str] = ()) -> Catalogue:
        """Make a catalogue from the texts of a bot.

        The default language is English if there are texts in it, or no texts at all, otherwise the first language.

        Args:
            texts: English templates by key, or templates by language and key.
            flows: The names of the bot's flows. Each has a title, `<flow>.title`; by default it is the name.

        Returns:
            The catalogue, with the words of the framework in each of its languages, as far as they ship.
        """
        if isinstance(texts, Catalogue):
            return texts
        given: dict[str, dict[str, Template]] = {}
        for name, value in texts.items():
            if isinstance(value, str | Plural):
                given.setdefault(ENGLISH, {})[name] = value
            else:
                given[name] = dict(value)
        default = next(iter(given), ENGLISH) if ENGLISH not in given else ENGLISH
        given.setdefault(default, {})
        titles = {f"{flow}.title": flow.replace("_", " ") for flow in flows}
        for tag, own in given.items():
            if tag == default:  # its members read English in between
                given[tag] = {**(shipped(tag) or LANGUAGES[ENGLISH]).texts, **titles, **own}
            elif language := shipped(tag):
                given[tag] = {**language.texts, **own}
        return cls(given, default)

    def __contains__(self, key: str) -> bool:
        return key in self.languages.get(self.default, {})

    def language(self, tags: Iterable[str]) -> str:
        """Return the language for a reader of `tags`, the preferred one first: the first match, else the default."""
        if not tags:
            return self.default
        return locales.looked_up(tags, self.languages) or self.default

    def template(self, key: str, language: str = "") -> Template | None:
        """Return the template of a key in `language`, else in the default language; None without a template."""
        found = self._found
        return (found[language] if language in found else found[self.default]).get(key, (None, ""))[0]

    @cached_property
    def _found(self) -> Mapping[str, Mapping[str, tuple[Template, str]]]:
        """The template of each key and its language, by the language in which a text is to be said."""
        default = {key: (template, self.default) for key, template in self.languages.get(self.default, {}).items()}
        return {
            self.default: default,
            **{
                language: default | {key: (template, language) for key, template in templates.items()}
                for language, templates in self.languages.items()
            },
        }

    def say(self, text: Text, language: str = "", zone: Zone | None = None) -> Text:
        """Return the text with its final words; a text that has them is returned as it is.

        An instant is said in the time zone, by default in the one that it has itself.

        A key without an entry is its own words. A template whose parameters are incomplete is said unfilled, because
        the member must get an answer.
        """
        if text.text:
            return text
        spoken, found = language or self.default, self._found
        template, spoken = (found[spoken] if spoken in found else found[self.default]).get(text.key, (None, spoken))
        if isinstance(template, Plural):
            template = template.form(text.params.get(template.by), spoken)
        if not text.params:
            return text.said(text.key if template is None else _plain(template), {})
        params: dict[str, str | int] = {}
        for name, value in text.params.items():
            params[name] = value if type(value) in (str, int) else self._parameter(value, spoken, zone)
        words = text.key if template is None else template
        try:
            return text.said(_filled(words, params), params)
        except (ArithmeticError, LookupError, TypeError, ValueError):
            return text.said(words, params)

    def reply(self, reply: Reply, language: str = "", zone: Zone | None = None) -> Reply:
        """Return the reply with all its final words."""
        if isinstance(reply, Text):
            return self.say(reply, language, zone)
        if isinstance(reply, Location):
            return reply
        body = self.say(reply.body, language, zone)
        match reply:
            case Buttons():
                return Buttons(body, tuple(Button(b.id, self.say(b.title, language, zone)) for b in reply.buttons))
            case Menu():
                return Menu(body, tuple(self._row(row, language, zone) for row in reply.rows))
            case WebLink() | LocationRequest() | ContactRequest():
                return attrs.evolve(reply, body=body, title=self.say(reply.title, language, zone))
            case _:
                return attrs.evolve(reply, body=body)

    def replies(self, replies: Iterable[Reply], language: str = "", zone: Zone | None = None) -> tuple[Reply, ...]:
        """Return the replies with all their final words."""
        return tuple(self.reply(reply, language, zone) for reply in replies)

    def _parameter(self, value: Any, language: str, zone: Zone | None) -> str | int:
        match value:
            case Text():
                return self.say(value, language, zone).text
            case Money():
                return locales.money(value, language)
            case Decimal():
                return locales.number(value, language)
            case datetime():
                return locales.datetime(value if zone is None or value.tzinfo is None else _at(value, zone), language)
            case date():
                return locales.date(value, language)
            case time():
                return locales.time(value, language)
            case list() | tuple():
                items: Iterable[Any] = value
                return "\n".join(str(self._parameter(each, language, zone)) for each in items)
            case _:
                return value if type(value) in (str, int) else str(value)

    def _row(self, row: Row, language: str, zone: Zone | None) -> Row:
        about = self.say(row.description, language, zone) if row.description else None
        return Row(row.id, self.say(row.title, language, zone), about)


def _at(value: datetime, zone: Zone) -> datetime:
    """Return an instant in a time zone; one of the first or the last day of the calendar may have none there."""
    try:
        return value.astimezone(zone())
    except OverflowError:
        return value


class _Fields(string.Formatter):
    """Fills fields by name only: a template cannot reach an attribute or an item of a parameter."""

    def get_field(self, field_name: str, args: Any, kwargs: Any) -> tuple[Any, str]:
        return kwargs[field_name], field_name


_FORMATTER: Final = _Fields()


@lru_cache(maxsize=4096)
def _parts(template: str) -> tuple[tuple[str, str | None], ...] | None:
    """Split a template into words and the parameters that follow them; return None if a field has a format."""
    parts = tuple(_FORMATTER.parse(template))
    if any(spec or conversion or (name is not None and not name.isidentifier()) for _, name, spec, conversion in parts):
        return None
    return tuple((words, name) for words, name, _, _ in parts)


def _filled(template: str, params: Mapping[str, str | int]) -> str:
    """Fill a template.

    Raises:
        ArithmeticError, LookupError, TypeError, ValueError: The template cannot be filled.
    """
    parts = _parts(template)
    if parts is None:
        return _FORMATTER.vformat(template, (), params)
    said = ""
    for words, name in parts:
        said += words if name is None else f"{words}{params[name]}"
    return said


def _plain(template: str) -> str:
    """Return the words of a template without parameters: doubled braces become single ones."""
    return template.replace("{{", "{").replace("}}", "}") if "{" in template or "}" in template else template
