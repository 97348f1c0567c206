"""The words that always work, and the quick commands. Declared once, outside the flows (domain: §1).

A command is matched on the whole message, trimmed, case ignored. A typed command beats a state's reader (a handle
called `home` gets through as `@home`); a pressed button is never read as a command.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import attrs

from vimbiso_fsm.flow.flow import Flow


def normalise(text: str) -> str:
    """A message as words are compared: NFKC, without invisible format characters, trimmed, white space collapsed,
    case folded."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
        text = "".join(c for c in text if unicodedata.category(c) != "Cf")
    return " ".join(text.split()).casefold()


def _words(words: str | Iterable[str]) -> frozenset[str]:
    return frozenset(map(normalise, [words] if isinstance(words, str) else words))


_GREETINGS: Final = (
    "hi", "hie", "hy", "hey", "hello", "start", "/start", "menu", "home", "mhoro", "makadii", "sawubona", "jambo",
    "habari", "bonjour", "salut", "hola", "buenos dias",
)  # fmt: skip


@attrs.frozen
class Commands:
    """The global words, each a set of messages. `yes` and `no` count wherever a button of that trigger is shown."""

    menu: frozenset[str] = attrs.field(converter=_words, default=_words(_GREETINGS))
    cancel: frozenset[str] = attrs.field(converter=_words, default=_words(["cancel", "stop", "exit", "x"]))
    back: frozenset[str] = attrs.field(converter=_words, default=_words(["back"]))
    help: frozenset[str] = attrs.field(converter=_words, default=_words(["help", "?"]))
    yes: frozenset[str] = attrs.field(converter=_words, default=_words(["yes", "y", "ok", "confirm"]))
    no: frozenset[str] = attrs.field(converter=_words, default=_words(["no", "n"]))

    def also(self, **words: str | Iterable[str]) -> Commands:
        """These and further words, of another language say: `Commands().also(yes=["hongu"], no=["kwete"])`.

        Raises: TypeError for a command that there is not.
        """
        known = attrs.fields_dict(Commands)
        if unknown := sorted(words.keys() - known.keys()):
            raise TypeError(f"there is no command {', '.join(map(repr, unknown))}; there are {', '.join(known)}")
        return attrs.evolve(self, **{name: getattr(self, name) | _words(more) for name, more in words.items()})

    def command(self, word: str) -> str:
        """ "menu", "cancel", "back" or "help" for a normal word, "" for any other."""
        for name in ("menu", "cancel", "back", "help"):
            if word in getattr(self, name):
                return name
        return ""

    def button(self, word: str) -> str:
        """The trigger that a yes or no word stands for, "" for any other."""
        return "yes" if word in self.yes else "no" if word in self.no else ""


@attrs.frozen
class Shortcut:
    """A quick command: a message that starts `flow` and answers its first questions.

    `reads` gives the answers as if they had been typed one after the other, or None when the message is no such
    command. Each goes through its state's reader and guards; the first that is refused is asked again.
    """

    flow: Flow[Any]
    reads: Callable[[str], Sequence[str] | None]
