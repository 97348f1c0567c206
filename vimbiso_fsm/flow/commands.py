"""The global words, which work in every state, and the shortcuts into a flow.

The bot declares them, not its flows. A global word is compared with the whole message, trimmed and without regard to
case. It has priority over a state's reader: a handle called `home` is accepted as `@home`. A pressed button is never
read as a global word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import attrs

from vimbiso_fsm.flow.flow import AnyFlow
from vimbiso_fsm.messages.words import normalise


def _words(words: str | Iterable[str]) -> frozenset[str]:
    return frozenset(map(normalise, [words] if isinstance(words, str) else words))


_GREETINGS: Final = (
    "hi", "hie", "hy", "hey", "hello", "start", "/start", "menu", "home", "mhoro", "makadii", "sawubona", "jambo",
    "habari", "bonjour", "salut", "hola", "buenos dias",
)  # fmt: skip


@attrs.frozen
class Commands:
    """The global words.

    Attributes:
        menu: Words that lead home.
        cancel: Words that end the current flow.
        back: Words that return to the question before.
        help: Words that ask for help.
        yes: Words that press a button `yes`, wherever one is shown.
        no: Words that press a button `no`, wherever one is shown.
    """

    menu: frozenset[str] = attrs.field(converter=_words, default=_words(_GREETINGS))
    cancel: frozenset[str] = attrs.field(converter=_words, default=_words(["cancel", "stop", "exit", "x"]))
    back: frozenset[str] = attrs.field(converter=_words, default=_words(["back"]))
    help: frozenset[str] = attrs.field(converter=_words, default=_words(["help", "?"]))
    yes: frozenset[str] = attrs.field(converter=_words, default=_words(["yes", "y", "ok", "confirm"]))
    no: frozenset[str] = attrs.field(converter=_words, default=_words(["no", "n"]))

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

    def command(self, word: str) -> str:
        """Return the command that a normalised text is: "menu", "cancel", "back", "help" or ""."""
        for name in ("menu", "cancel", "back", "help"):
            if word in getattr(self, name):
                return name
        return ""

    def button(self, word: str) -> str:
        """Return the trigger that a normalised text presses: "yes", "no" or ""."""
        return "yes" if word in self.yes else "no" if word in self.no else ""


@attrs.frozen
class Shortcut:
    """A quick command: a message that starts a flow and answers its first questions.

    Each answer goes through the reader and the guards of its state. The first refused answer is asked for again.

    Attributes:
        flow: The flow that is started.
        reads: Returns the answers in a message, as if they were typed one after the other; None if the message is
            not this command.
    """

    flow: AnyFlow
    reads: Callable[[str], Sequence[str] | None]
