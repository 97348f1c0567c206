"""What a bot cannot say: texts that nobody wrote, or that its languages have differently.

Which texts a bot says is read off its declaration, and off the code of its callbacks and services: each
`Text("a.key")` and `Refused("a.key")` there, and in what they call of their own package. A key that is put together
when the program runs (an f-string) is not known before; what the default language has of such, every other must have.
"""

from __future__ import annotations

import ast
import inspect
import re
import string
import textwrap
from collections.abc import Iterable, Iterator
from types import FunctionType, ModuleType
from typing import Any, Final

import attrs

from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.flow import Flow
from vimbiso_fsm.messages import locales
from vimbiso_fsm.messages.catalogue import Plural, Template
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.replies import Text

_KEY: Final = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)+")
"""What is meant as a key; anything else is words, said as they stand."""


@attrs.frozen(order=True)
class TextFault:
    """A text that a member would not read as it is meant: its key, in which language, what is wrong."""

    language: str
    key: str
    fault: str

    def __str__(self) -> str:
        return f"{self.key} in {self.language!r}: {self.fault}"


def text_faults(bot: Bot) -> tuple[TextFault, ...]:
    """All that is wrong with the texts of a bot; none when a member reads every text, in every language."""
    catalogue = bot.catalogue
    wanted = {*_declared(bot), *_said(bot), *catalogue.languages.get(catalogue.default, {})}
    return tuple(
        sorted(
            TextFault(language, key, fault)
            for language in (catalogue.languages or {catalogue.default: {}})
            for key in wanted
            for fault in _faults(bot, language, key)
        )
    )


def _faults(bot: Bot, language: str, key: str) -> Iterator[str]:
    catalogue = bot.catalogue
    own = catalogue.languages.get(language, {}).get(key)
    if own is None:
        read = "the key" if key not in catalogue else f"{catalogue.default!r} in between"
        yield f"there is none; members would read {read}"
        return
    try:
        fields = _fields(own)
    except ValueError as error:
        yield f"it is no template ({error}); members would read it as it stands"
        return
    meant = catalogue.template(key)
    known = _known_fields(meant) if meant is not None else fields
    for field in sorted(fields - known):
        yield f"it names {{{field}}}, which the one in {catalogue.default!r} does not"
    lacking = locales.plurals(language) - own.forms.keys() if isinstance(own, Plural) else ()
    for form in sorted(lacking):
        yield f"it lacks the plural {form!r}"


def _templates(template: Template) -> Iterable[str]:
    return template.forms.values() if isinstance(template, Plural) else (template,)


def _fields(template: Template) -> set[str]:
    """The parameters that it names.

    Raises: ValueError when it cannot be read.
    """
    counted = {template.by} if isinstance(template, Plural) else set[str]()
    parsed = [part for words in _templates(template) for part in string.Formatter().parse(words)]
    return counted | {name for _, name, _, _ in parsed if name is not None}


def _known_fields(template: Template) -> set[str]:
    try:
        return _fields(template)
    except ValueError:  # it has a fault of its own
        return set()


# What is declared --------------------------------------------------------------------------------------------------


def _definitions(bot: Bot) -> Iterator[Flow[Any]]:
    for flow in bot.flows:
        yield from bot.definitions(flow.name)


def _declared(bot: Bot) -> Iterator[str]:
    """The keys that stand in the declaration: texts, and titles of buttons."""
    for flow in _definitions(bot):
        for state in flow.states:
            for text in (state.ask, state.say):
                if isinstance(text, Text) and not text.text and _KEY.fullmatch(text.key):
                    yield text.key
            for trigger in flow.buttons.get(state.name, ()):
                yield bot.button_title(flow.name, state.name, trigger).key


# What the code says ------------------------------------------------------------------------------------------------


def _callbacks(bot: Bot) -> Iterator[object]:
    """All that an author wrote and the bot calls."""
    for flow in _definitions(bot):
        yield from flow.required
        for state in flow.states:
            yield from (state.ask, state.say, state.reads, state.rows, state.call, state.given, state.result)
        for transition in flow.transitions:
            yield from (transition.prepare, *transition.guards)
    yield from map(type, bot.services.values())
    if bot.tokens is not None:
        yield from (bot.tokens.renew, bot.tokens.renewed)


def _said(bot: Bot) -> set[str]:
    """The keys that the code of the callbacks names."""
    reader = _Reader()
    for callback in _callbacks(bot):
        reader.read(callback)
    return reader.keys


class _Reader:
    """Reads code for the keys it names, each piece once, and follows it within its own package."""

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self._seen: set[int] = set()

    def read(self, thing: object) -> None:
        """Take the keys of a function, of a class with all its methods, or of a text that stands by itself."""
        thing = inspect.unwrap(getattr(thing, "__func__", thing)) if callable(thing) else thing
        if id(thing) in self._seen:
            return
        self._seen.add(id(thing))
        match thing:
            case Text() | Refused():
                self._take([thing.key if isinstance(thing, Text) else thing.code])
            case FunctionType():
                self._read_function(thing)
            case type():
                for part in vars(thing).values():
                    self.read(part.fget if isinstance(part, property) else part)
            case _:
                pass

    def _read_function(self, function: FunctionType) -> None:
        for value in inspect.getclosurevars(function).nonlocals.values():
            if _is_near(value, function):
                self.read(value)
        tree = _tree(function)
        for node in ast.walk(tree) if tree else ():
            if isinstance(node, ast.Call) and _name(node.func) in ("Text", "Refused"):
                self._take(_words(node.args[0]) if node.args else ())
            elif isinstance(node, ast.Name | ast.Attribute):
                found = _resolve(node, function)
                if _is_near(found, function):
                    self.read(found)

    def _take(self, words: Iterable[str]) -> None:
        self.keys.update(key for key in words if _KEY.fullmatch(key))


def _tree(function: FunctionType) -> ast.Module | None:
    """The code as it was written, where that can be had."""
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, SyntaxError, TypeError):
        return None


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _words(node: ast.expr) -> Iterator[str]:
    """The strings that an argument can be."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from _words(node.body)
        yield from _words(node.orelse)


def _resolve(node: ast.Name | ast.Attribute, function: FunctionType) -> object:
    """What a name of the function's module stands for, or one of a module that it imports."""
    if isinstance(node, ast.Name):
        return function.__globals__.get(node.id)
    if isinstance(node.value, ast.Name):
        module = function.__globals__.get(node.value.id)
        return getattr(module, node.attr, None) if isinstance(module, ModuleType) else None
    return None


def _is_near(found: object, function: FunctionType) -> bool:
    """Whether it belongs to the author of the function: it is of the same package, or a text."""
    package = function.__module__.partition(".")[0]
    module = getattr(found, "__module__", None)
    near = isinstance(module, str) and module.partition(".")[0] == package
    return isinstance(found, Text | Refused) or (near and isinstance(found, FunctionType | type))
