"""The global words, which work in every state, and the shortcuts and links into a flow.

The bot declares them, not its flows. A global word is compared with the whole message, trimmed and without regard to
case. It has priority over a state's reader: a handle called `home` is accepted as `@home`. A pressed button is never
read as a global word. A channel may have a spelling for commands of its own, such as `/help` and `/start@our_bot`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Final, cast

import attrs

from vimbiso_fsm.errors import FlowError
from vimbiso_fsm.flow.flow import AnyFlow, Flow
from vimbiso_fsm.flow.state import texts
from vimbiso_fsm.made import Made, caller
from vimbiso_fsm.messages.consent import START_WORDS, STOP_WORDS
from vimbiso_fsm.messages.languages import shipped
from vimbiso_fsm.messages.value import Value
from vimbiso_fsm.messages.words import normalise, slash_command

SLASHED: Final = frozenset({"telegram", "whatsapp"})
"""The types of the channels that spell a command with a slash."""
_LINK: Final = re.compile(r"([A-Za-z0-9]{1,64})(?:[_-](.*))?", re.DOTALL)
"""The payload of a deep link: the name of the link, and what follows it."""


def _words(words: str | Iterable[str]) -> frozenset[str]:
    return frozenset(map(normalise, [words] if isinstance(words, str) else words))


_GREETINGS: Final = (
    "hi", "hie", "hy", "hey", "hello", "start", "/start", "menu", "home", "mhoro", "makadii", "sawubona", "jambo",
    "habari", "bonjour", "salut", "hola", "buenos dias",
)  # fmt: skip


@attrs.frozen(eq=False, repr=False)
class Commands(Value):
    """The global words. A bot adds the framework's words of its languages (`vimbiso_fsm.messages.languages`).

    Attributes:
        menu: Words that lead home.
        cancel: Words that end the current flow.
        back: Words that return to the question before.
        help: Words that ask for help.
        yes: Words that press a button `yes`, wherever one is shown.
        no: Words that press a button `no`, wherever one is shown.
        stop: Words with which a member on SMS wants no more messages; by default those of the carriers, of which
            "cancel" is one.
        start: Words with which they want them again.
    """

    menu: frozenset[str] = attrs.field(converter=_words, default=_words(_GREETINGS))
    cancel: frozenset[str] = attrs.field(converter=_words, default=_words(["cancel", "stop", "exit", "x"]))
    back: frozenset[str] = attrs.field(converter=_words, default=_words(["back"]))
    help: frozenset[str] = attrs.field(converter=_words, default=_words(["help", "?"]))
    yes: frozenset[str] = attrs.field(converter=_words, default=_words(["yes", "y", "ok", "confirm"]))
    no: frozenset[str] = attrs.field(converter=_words, default=_words(["no", "n"]))
    stop: frozenset[str] = attrs.field(converter=_words, default=STOP_WORDS)
    start: frozenset[str] = attrs.field(converter=_words, default=START_WORDS)

    def also(self, **words: str | Iterable[str]) -> Commands:
        """Return these and further words, of another language for example.

        Args:
            **words: Words by the name of a command: `Commands().also(yes=["hongu"], no=["kwete"])`.

        Raises:
            TypeError: A name is not that of a command.
        """
        known = attrs.fields_dict(Commands)
        if unknown := sorted(words.keys() - known.keys()):
            raise TypeError(f"{', '.join(map(repr, unknown))} is not a command; known are {', '.join(known)}")
        return attrs.evolve(self, **{name: getattr(self, name) | _words(more) for name, more in words.items()})

    def spoken(self, languages: Iterable[str]) -> Commands:
        """Return these and the framework's words of the languages of a bot.

        A command whose default words an author has replaced keeps the author's words only. A word that has a meaning
        already keeps it.

        Args:
            languages: Tags of the languages.
        """
        taken = {word: name for name in _FIELDS for word in cast("frozenset[str]", getattr(self, name))}
        more: dict[str, set[str]] = {}
        for language in filter(None, map(shipped, languages)):
            for name, words in language.words.items():
                if getattr(self, name) >= getattr(_DEFAULT, name):
                    more.setdefault(name, set()).update(w for w in _words(words) if taken.get(w, name) == name)
        return self.also(**more) if more else self

    def command(self, word: str) -> str:
        """Return the command that a normalised text is: "menu", "cancel", "back", "help" or ""."""
        return self.by_word.get(word, "")

    @cached_property
    def by_word(self) -> Mapping[str, str]:
        """The command of each word, normalised. Of two that share a word, the first one named above has it."""
        commands = ("help", "back", "cancel", "menu")
        return {word: name for name in commands for word in cast("frozenset[str]", getattr(self, name))}

    def spelled(self, channel_type: str, text: str) -> str:
        """Return the command that a typed text is as the channel spells it: `/help`, `/start@our_bot`; "" if none.

        Such a text is a command by its first word, whatever follows it.
        """
        spelled = slash_command(text) if channel_type in SLASHED else None
        return self.command(normalise(spelled[0])) if spelled is not None else ""

    def button(self, word: str) -> str:
        """Return the trigger that a normalised text presses: "yes", "no" or ""."""
        return "yes" if word in self.yes else "no" if word in self.no else ""


_DEFAULT: Final = Commands()
_FIELDS: Final = tuple(attrs.fields_dict(Commands))


@attrs.frozen(eq=False, repr=False)
class Shortcut(Value):
    """A quick command: a message that starts a flow and answers its first questions.

    Each answer goes through the reader and the guards of its state. The first refused answer is asked for again.

    Attributes:
        flow: The flow that is started.
        reads: Returns the answers in a message, as if they were typed one after the other; None if the message is
            not this command.
        anywhere: Whether it is heard at every question, before the reader of the state, and by a session that begins
            anew. The open flow is interrupted and asks its question again afterwards. Otherwise it is heard where no
            flow is open and in the home flow.
        examples: Messages that `reads` takes, such as "0.5=>alan"; a walk of the bot types them.
        command: The word by which a channel with a list of commands offers it, such as "pay" for `/pay`: at most 32
            lower-case letters and digits of ASCII and "_". Its description there is the title of the flow.
        made: The file and the line at which the shortcut was made.

    Raises:
        FlowError: The command has another form, or `reads` does not take it.
    """

    flow: AnyFlow
    reads: Callable[[str], Sequence[str] | None]
    anywhere: bool = attrs.field(default=False, kw_only=True)
    examples: Sequence[str] = attrs.field(default=(), kw_only=True, converter=texts)
    command: str = attrs.field(default="", kw_only=True)
    made: Made = attrs.field(init=False, eq=False, repr=False, factory=caller)

    def __attrs_post_init__(self) -> None:
        given: object = self.command
        if not isinstance(given, str) or not re.fullmatch(r"[a-z0-9_]{0,32}", given):
            fault = f"the command of a shortcut is {given!r}"
            raise FlowError("", "bot", fault, "give at most 32 lower-case letters and digits of ASCII and '_'")
        if given and self.reads(given) is None:
            fault = f"the shortcut is offered as {given!r}, which its reads does not take"
            raise FlowError("", "bot", fault, "return the answers in it, such as (), or offer another word")


def declared_links(given: Mapping[str, AnyFlow | Shortcut]) -> Mapping[str, Shortcut]:
    """Return the links that a bot declares as shortcuts that read what follows the name of the link.

    Raises:
        FlowError: They are no mapping of names to flows or shortcuts.
    """
    shape: object = given
    if not isinstance(shape, Mapping):
        raise FlowError("", "bot", f"links is a {type(shape).__name__}", "give {name: flow}")
    found: dict[str, Shortcut] = {}
    for name, target in given.items():
        known: object = target
        key: object = name
        if not isinstance(key, str) or not re.fullmatch(r"[A-Za-z0-9]{1,64}", key):
            remedy = "a name is 1 to 64 ASCII letters and digits; what follows '_' or '-' in the link is the answer"
            raise FlowError("", "bot", f"links names {name!r}", remedy)
        if not isinstance(known, Flow | Shortcut):
            fault = f"link {name!r} leads to a {type(known).__name__}"
            raise FlowError("", "bot", fault, "give a flow, or Shortcut(flow, reads) for links of more answers")
        found[name] = target if isinstance(target, Shortcut) else Shortcut(target, _rest)
    return found


def linked(links: Mapping[str, Shortcut], payload: str) -> tuple[Shortcut, Sequence[str]] | None:
    """Return the shortcut that the payload of a deep link names, and the answers in it; None if it names none."""
    found = _LINK.fullmatch(payload)
    shortcut = links.get(found[1]) if found is not None else None
    answers = shortcut.reads(found[2] or "") if found is not None and shortcut is not None else None
    return (shortcut, answers) if shortcut is not None and answers is not None else None


def payload_of(channel_type: str, payload: str, text: str | None) -> str:
    """Return the payload of a deep link: the one that the channel told, or the argument of `/start`."""
    if payload or text is None or not text.startswith("/") or channel_type not in SLASHED:
        return payload
    spelled = slash_command(text)
    return spelled[1] if spelled is not None and spelled[0] == "start" else ""


def _rest(answer: str) -> Sequence[str]:
    """Return what follows the name of a link as the answer to the first question; nothing is no answer."""
    return [answer] if answer else []
