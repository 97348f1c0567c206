"""Find the texts that a bot lacks, or that differ between its languages.

The keys that a bot uses are read from its declaration and from the source of its callbacks and services: each
`Text("a.key")` and `Refused("a.key")` there, and in the functions of the same package that they call. A key that is
built at run time, by an f-string for example, cannot be found; each key of the default language must exist in every
other language too.
"""

from __future__ import annotations

import ast
import re
import string
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import attrs

from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.flow import AnyFlow
from vimbiso_fsm.flow.source import Source, sources
from vimbiso_fsm.made import Made
from vimbiso_fsm.messages import locales
from vimbiso_fsm.messages.catalogue import ENGLISH, Plural, Template
from vimbiso_fsm.messages.languages import LANGUAGES, shipped
from vimbiso_fsm.messages.readers import ContentReader, TurnReader
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.replies import SAID, Text

_KEY: Final = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)+")
"""The form of a key. A text in any other form is said as it stands."""


_NO_PARAMETERS: Final = frozenset({"templates", "holds"})
"""The keywords of `Text` that are no parameters of its words."""


@attrs.frozen(order=True)
class TextFault:
    """A fault of a text.

    Attributes:
        language: The language in which the text has the fault.
        key: The key of the text.
        fault: What is wrong.
        code: The word for faults of this kind: "text-missing", "text-parameters" or "plural-form".
    """

    language: str
    key: str
    fault: str
    code: str = "text-missing"

    def __str__(self) -> str:
        return f"{self.key} in {self.language!r}: {self.fault}"


def text_faults(bot: Bot, uses: Sequence[TextUse] | None = None) -> tuple[TextFault, ...]:
    """Return the faults of a bot's texts in all its languages.

    Args:
        bot: The bot.
        uses: The texts that it says, as `text_uses` returns them; found anew if not given.
    """
    catalogue = bot.catalogue
    uses = text_uses(bot) if uses is None else uses
    wanted = {*(use.key for use in uses), *catalogue.languages.get(catalogue.default, {})}
    found = {
        TextFault(language, key, fault, code)
        for language in (catalogue.languages or {catalogue.default: {}})
        for key in wanted
        for code, fault in _faults(bot, language, key)
    }
    return tuple(sorted({*found, *_unfilled(bot, uses), *_titles_as_words(bot, uses)}))


@attrs.frozen
class TextUse:
    """A text that a bot says.

    Attributes:
        key: The key.
        parameters: The names of the parameters that it is said with; None if they are not known.
        made: The line that names it.
        flow: The flow whose declaration names it; empty if it is named in code.
    """

    key: str
    parameters: frozenset[str] | None
    made: Made
    flow: str = ""


def text_uses(bot: Bot) -> tuple[TextUse, ...]:
    """Return the texts that a bot says, as far as its declaration and the code of its callbacks and services show."""
    return tuple(dict.fromkeys((*_declared(bot), *_said(bot))))


def _unfilled(bot: Bot, uses: Iterable[TextUse]) -> Iterator[TextFault]:
    """Yield the texts that are said without a parameter that their template names."""
    for use in uses:
        key, given = use.key, use.parameters
        template = bot.catalogue.template(key)
        for field in sorted(_known_fields(template) - given) if template is not None and given is not None else ():
            fault = f"it names {{{field}}}, and is said without; give it as Text({key!r}, {field}=…)"
            yield TextFault(bot.catalogue.default, key, fault, "text-parameters")


def _titles_as_words(bot: Bot, uses: Iterable[TextUse]) -> Iterator[TextFault]:
    """Yield the words of states whose key is that of the title of a flow, and has no template of the author's."""
    titles = {f"{flow.name}.title": flow.name.replace("_", " ") for flow in bot.flows}
    for use in uses:
        name = titles.get(use.key)
        if use.flow and name is not None and bot.catalogue.template(use.key) == name:
            fault = f"there is none; members would read {name!r}, the name of the flow"
            yield TextFault(bot.catalogue.default, use.key, fault)


def _faults(bot: Bot, language: str, key: str) -> Iterator[tuple[str, str]]:
    catalogue = bot.catalogue
    own = catalogue.languages.get(language, {}).get(key)
    if language == catalogue.default and own is LANGUAGES[ENGLISH].texts.get(key) and shipped(language) is None:
        own, read = None, "English in between"
    else:
        read = "the key" if key not in catalogue else f"{catalogue.default!r} in between"
    if own is None:
        yield "text-missing", f"there is none; members would read {read}"
        return
    try:
        fields = _fields(own)
    except ValueError as error:
        yield "text-parameters", f"it is not a valid template ({error}); members would read it as it stands"
        return
    meant = catalogue.template(key)
    known = _known_fields(meant) if meant is not None else fields
    for field in sorted(fields - known):
        yield "text-parameters", f"it names {{{field}}}, which the one in {catalogue.default!r} does not"
    lacking = locales.plurals(language) - own.forms.keys() if isinstance(own, Plural) else ()
    for form in sorted(lacking):
        yield "plural-form", f"it lacks the plural {form!r}"


def _templates(template: Template) -> Iterable[str]:
    return template.forms.values() if isinstance(template, Plural) else (template,)


def _fields(template: Template) -> set[str]:
    """Return the parameters that a template names.

    Raises:
        ValueError: The template cannot be parsed.
    """
    counted = {template.by} if isinstance(template, Plural) else set[str]()
    parsed = [part for words in _templates(template) for part in string.Formatter().parse(words)]
    return counted | {name for _, name, _, _ in parsed if name is not None}


def _known_fields(template: Template) -> set[str]:
    try:
        return _fields(template)
    except ValueError:  # it has a fault of its own, which is reported under its language
        return set()


def _definitions(bot: Bot) -> Iterator[AnyFlow]:
    for flow in bot.flows:
        yield from bot.definitions(flow.name)


def _declared(bot: Bot) -> Iterator[TextUse]:
    """Yield the keys in the declaration: texts, and titles of buttons."""
    for flow in _definitions(bot):
        for state in flow.states:
            for text in (*texts_of(state.ask), *texts_of(state.say)):
                if not text.text and _KEY.fullmatch(text.key):
                    yield TextUse(text.key, frozenset(text.params), state.made, flow.name)
            for trigger in flow.buttons.get(state.name, ()):
                made = flow.ways(state.name, trigger)[0].made
                yield TextUse(flow.button_title(state.name, trigger).key, frozenset(), made, flow.name)


def texts_of(reply: object) -> Iterator[Text]:
    """Yield the texts of a reply that a slot has."""
    if isinstance(reply, Text):
        yield reply
    elif isinstance(reply, SAID):
        parts = (getattr(reply, "body", None), getattr(reply, "title", None))
        yield from (text for text in parts if isinstance(text, Text))


def _callbacks(bot: Bot) -> Iterator[object]:
    """Yield the callbacks of the author and the classes of the services."""
    for flow in _definitions(bot):
        yield from flow.required
        for state in flow.states:
            yield from (state.ask, state.say, state.reads, state.rows, state.call, state.input, state.output)
            yield state.reminds
            if isinstance(state.reads, TurnReader):
                yield state.reads.make
            if isinstance(state.reads, ContentReader):
                yield from state.reads.texts
        for transition in flow.transitions:
            yield from (transition.prepare, *transition.guards)
    yield from map(type, bot.services.values())
    if bot.tokens is not None:
        yield from (bot.tokens.renew, bot.tokens.renewed)


def _said(bot: Bot) -> Iterator[TextUse]:
    """Yield the keys in the source of the callbacks."""
    for source in sources(_callbacks(bot)):
        for value in source.values:
            if isinstance(value, Text | Refused) and not (isinstance(value, Text) and value.text):
                key = value.key if isinstance(value, Text) else value.code
                if _KEY.fullmatch(key):
                    yield TextUse(key, frozenset(value.params), _line(source, source.nodes[:1]))
        for node in source.calls("Text", "Refused"):
            for key in words_in(node.args[0]) if node.args else ():
                if _KEY.fullmatch(key):
                    yield TextUse(key, _parameters(node), _line(source, [node]))


def _line(source: Source, nodes: Sequence[ast.AST]) -> Made:
    return Made(source.file, max((getattr(node, "lineno", 0) for node in nodes), default=0))


def _parameters(node: ast.Call) -> frozenset[str] | None:
    """Return the names of the parameters that a text is made with; None if some are computed."""
    names = [keyword.arg for keyword in node.keywords]
    return None if None in names else frozenset(name for name in names if name) - _NO_PARAMETERS


def words_in(node: ast.expr) -> Iterator[str]:
    """Yield the strings that an argument can be."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from words_in(node.body)
        yield from words_in(node.orelse)
