"""Catalogues: the words of each key in each language, and how a key with its parameters becomes the words of a reply.

A template is `str.format` with named fields: `"You hold {held}."`. If the words differ by number it is a `Plural`. What
a member wrote is only ever a parameter, so nothing in it is read as a template.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping
from functools import cached_property, lru_cache
from typing import Any, Final, TypeAlias

import attrs

from vimbiso_fsm.messages import locales
from vimbiso_fsm.messages.contents import Location
from vimbiso_fsm.messages.money import Money
from vimbiso_fsm.messages.readers import ANSWER_TEXTS
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
from vimbiso_fsm.messages.value import Value


@attrs.frozen(eq=False, repr=False)
class Plural(Value):
    """A template that differs by number: `Plural("days", one="{days} day", other="{days} days")`.

    The categories are those of the Unicode CLDR. A language defines which of them it has and what they mean.

    Attributes:
        by: The parameter that counts, a whole number.
        other: The template of every category that is not given.
        zero: The template of the category "zero"; `one`, `two`, `few` and `many` likewise.
    """

    by: str
    other: str = attrs.field(kw_only=True)
    zero: str | None = attrs.field(default=None, kw_only=True)
    one: str | None = attrs.field(default=None, kw_only=True)
    two: str | None = attrs.field(default=None, kw_only=True)
    few: str | None = attrs.field(default=None, kw_only=True)
    many: str | None = attrs.field(default=None, kw_only=True)

    @property
    def forms(self) -> Mapping[str, str]:
        """The given templates by category."""
        return {name: form for name, form in attrs.asdict(self).items() if name != "by" and form is not None}

    def form(self, count: object, language: str) -> str:
        """Return the template for a number in a language; a count that is no whole number is "other"."""
        if type(count) is not int:
            return self.other
        form: str | None = getattr(self, locales.plural(count, language))
        return self.other if form is None else form


Template: TypeAlias = str | Plural
Templates: TypeAlias = Mapping[str, Template]
"""The templates of one language by key."""

ENGLISH: Final[Templates] = {
    "back.earlier": "Your earlier answer: {answer}",
    "back.made": "What came before this was already sent, so there is no way back over it.",
    "back.nowhere": "This is the first question; there is nothing to go back to.",
    "call.again": "That is not done a second time by itself; please say so if you want it once more.",
    "call.busy": "That is not possible right now. Please try again in a minute.",
    "call.done": "That was done.",
    "call.failed": "That did not work; please try again.",
    "call.too_much": "There is too much of that to show it here.",
    "call.unavailable": "We cannot find that out at the moment; please try again in a while.",
    "call.unsure": "We could not find out whether that was done. Please check before you try again.",
    "call.waiting": "We are still working on your last answer; you will hear from us.",
    "choice.closed": "That question is closed.",
    "choice.late": "That came when the question before was over; here is where you are now.",
    "choice.menu": "Menu",
    "choice.none": "There is nothing to choose from here at the moment. Say menu to see what else you can do.",
    "choice.several": "That can mean more than one of these; please choose one.",
    "choice.typed": "My answer: {answer}",
    "choice.unknown": "That is not one of the choices.",
    "carry_on.ask": "You have not finished: {flow}. Carry on with it?",
    "carry_on.dropped": "Left it there; nothing more was sent.",
    "carry_on.offered.help": "Say yes to carry on where you were, no to leave it.",
    "carry_on.offered.yes": "Yes, carry on",
    "carry_on.offered.no": "No, leave it",
    "cancel.done": "Cancelled; nothing was sent.",
    "cancel.made": "Cancelled; what was done before stays done.",
    "flow.next": "There is something else for you now: {flow}.",
    "flow.restarted": "We have changed how this works ({flow}); please begin it again.",
    "flow.dropped": "What you had begun is no longer offered here, so it has ended.",
    "failure": "Something went wrong on our side; nothing was changed. Please try again. Reference: {reference}",
    "failure.done": (
        "That was done, but something went wrong on our side and we cannot show you the result yet. You need not send "
        "it again; say menu to go on with something else. Reference: {reference}"
    ),
    "failure.timed_out": (
        "That took too long on our side, and we could not finish it. Please send it again later; it counts once. "
        "Reference: {reference}"
    ),
    "failure.unsure": (
        "Something went wrong on our side, and we could not find out whether your last request was done. Please check "
        "before you send it again. Reference: {reference}"
    ),
    "command.back": "Go back to the question before",
    "command.cancel": "Cancel what is open",
    "command.help": "Show what you can do here",
    "command.menu": "Go to the menu",
    "consent.given": "You get our messages again. Reply STOP to get none.",
    "consent.taken_back": "You get no more messages from us. Reply START to get them again.",
    "handed.said": "{words}",
    "handed.over": "A person will answer you here. Say {word} to come back to the bot.",
    "handed.back": "You are back with the bot.",
    "handed.nobody": "No person can be reached now. You are back with the bot.",
    "handed.full": (
        "That did not reach a person yet; please send it again later, or say {word} to come back to the bot."
    ),
    "help.words": "You can always say: menu, back, cancel, help.",
    "help.words.sms": "You can always say: menu, back, exit, ?",
    "link.open": "Open",
    "limits.menu": "This does not seem to work. Say menu to leave it and see what else you can do.",
    "member.login": "Please log in first.",
    "menu.left": "We have left what was open.",
    "address.several": (
        "You are known here under more than one membership, and we cannot tell which of them is meant. Nothing was "
        "changed; please ask us to put that right."
    ),
    "message.reused": "That message was answered before.",
    "message.too_late": "That message reached us too late and was not taken; please send it again.",
    "message.too_long": "That is too long; please keep it to {limit} characters.",
    "merge.too_much": "We could not keep everything that you had begun, so some of it was ended.",
    "message.too_much": "That is too much for us to keep; please send less, or say menu to leave it.",
    "message.unsupported": "We can only read text here: please write, or tap a button.",
    "pages.next": "Next",
    "pages.prev": "Previous",
    "rate.address": (
        "You send messages faster than we take them; the latest was not taken. Please wait a minute and send it again."
    ),
    "recovered": (
        "We had to tidy up our notes about this conversation; let us start again from here. Reference: {reference}"
    ),
    "recovered.put_back": "We put this conversation back to an earlier question; let us go on from here.",
    "recovered.unsure": (
        "We had to tidy up our notes about this conversation, and could not find out whether your last request was "
        "done. Please check before you try again. Reference: {reference}"
    ),
    "store.newer": (
        "Our service is being updated just now; nothing was saved. Please send that again in a moment. "
        "Reference: {reference}"
    ),
    "store.foreign": (
        "Your last conversation here belongs to a part of our service that is not running just now, so we could not "
        "take that message. Nothing was changed. Please try again later. Reference: {reference}"
    ),
    "store.contended": "Many things came at once; that one was not taken. Please send it again. Reference: {reference}",
    "store.unavailable": (
        "We could not save that; nothing was changed. Please send it again in a while. Reference: {reference}"
    ),
    "store.unknown": (
        "We cannot tell whether that was saved. Please send it again; it counts once. Reference: {reference}"
    ),
    "request.contact": "Send my number",
    "request.location": "Send my location",
    "session.ended": "Your session ended after a while of silence.",
    "session.ending": Plural(
        "seconds",
        one="Your session ends in {seconds} second; what you have not confirmed ({flow}) is then not sent.",
        other="Your session ends in {seconds} seconds; what you have not confirmed ({flow}) is then not sent.",
    ),
    "session.kept": "This stays open: {flow}.",
    "session.limit": "Your session ended, for it had been open very long.",
    "session.lost": "Your session ended. What you had not confirmed was not sent.",
    "session.unsent": "What you had not confirmed ({flow}) was not sent.",
}
"""The words of the framework. The texts of a bot may replace any of them."""


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

        Args:
            texts: English templates by key, or templates by language and key.
            flows: The names of the bot's flows. Each has a title, `<flow>.title`; by default it is the name.

        Returns:
            The catalogue, with the words of the framework.
        """
        if isinstance(texts, Catalogue):
            return texts
        given: dict[str, dict[str, Template]] = {}
        for name, value in texts.items():
            if isinstance(value, str | Plural):
                given.setdefault("en", {})[name] = value
            else:
                given[name] = dict(value)
        titles = {f"{flow}.title": flow.replace("_", " ") for flow in flows}
        given["en"] = {**ENGLISH, **ANSWER_TEXTS, **titles, **given.get("en", {})}
        return cls(given)

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

    def say(self, text: Text, language: str = "") -> Text:
        """Return the text with its final words; a text that has them is returned as it is.

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
            params[name] = value if type(value) in (str, int) else self._parameter(value, spoken)
        words = text.key if template is None else template
        try:
            return text.said(_filled(words, params), params)
        except (ArithmeticError, LookupError, TypeError, ValueError):
            return text.said(words, params)

    def reply(self, reply: Reply, language: str = "") -> Reply:
        """Return the reply with all its final words."""
        if isinstance(reply, Text):
            return self.say(reply, language)
        if isinstance(reply, Location):
            return reply
        body = self.say(reply.body, language)
        match reply:
            case Buttons():
                return Buttons(body, tuple(Button(b.id, self.say(b.title, language)) for b in reply.buttons))
            case Menu():
                return Menu(body, tuple(self._row(row, language) for row in reply.rows))
            case WebLink() | LocationRequest() | ContactRequest():
                return attrs.evolve(reply, body=body, title=self.say(reply.title, language))
            case _:
                return attrs.evolve(reply, body=body)

    def replies(self, replies: Iterable[Reply], language: str = "") -> tuple[Reply, ...]:
        """Return the replies with all their final words."""
        return tuple(self.reply(reply, language) for reply in replies)

    def _parameter(self, value: Any, language: str) -> str | int:
        if isinstance(value, Text):
            return self.say(value, language).text
        if isinstance(value, Money):
            return locales.money(value, language)
        if isinstance(value, list | tuple):
            return "\n".join(str(self._parameter(each, language)) for each in value)
        return value if type(value) in (str, int) else str(value)

    def _row(self, row: Row, language: str) -> Row:
        about = self.say(row.description, language) if row.description else None
        return Row(row.id, self.say(row.title, language), about)


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
