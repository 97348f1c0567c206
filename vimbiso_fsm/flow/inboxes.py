"""The inboxes of people to whom a conversation may be handed over, as a bot declares them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

import attrs

from vimbiso_fsm.errors import FlowError
from vimbiso_fsm.flow.commands import Commands
from vimbiso_fsm.made import Made, caller
from vimbiso_fsm.messages.bounds import check_range, check_seconds
from vimbiso_fsm.messages.words import normalise

LONGEST_HAND_OVER: Final = 7 * 86_400.0
"""The longest hand-over that can be declared, in seconds."""
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")


def _words(words: str | Iterable[str]) -> tuple[str, ...]:
    given = [words] if isinstance(words, str) else words
    return tuple(dict.fromkeys(filter(None, map(normalise, given))))


@attrs.frozen
class Inbox:
    """An inbox of people.

    Attributes:
        name: Its name: lower-case letters, digits and underscores.
        words: Words with which a member asks for a person at any question. None by default: then only a flow
            (`State(hands=…)`) or the manager hands over.
        back: Words with which the member comes back to the bot, at least one. The first one is told to the member.
        idle: Seconds without a word of the member or of a person after which the bot takes the conversation back.
        limit: Seconds after which it does so in any case.
        made: The file and the line at which the inbox was made.

    Raises:
        FlowError: The name has no valid form, no word leads back, or a time is out of range.
    """

    name: str
    words: tuple[str, ...] = attrs.field(default=(), converter=_words, kw_only=True)
    back: tuple[str, ...] = attrs.field(default=("bot",), converter=_words, kw_only=True)
    idle: float = attrs.field(default=3600.0, kw_only=True)
    limit: float = attrs.field(default=86_400.0, kw_only=True)
    made: Made = attrs.field(init=False, eq=False, repr=False, factory=caller)

    def __attrs_post_init__(self) -> None:
        name: object = self.name
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise FlowError("", "inbox", f"name is {name!r}", "give lower-case letters, digits and '_', at most 40")
        if not self.back:
            raise FlowError("", f"inbox {name}", "no word leads back", "give back=[…] at least one word")
        check_seconds(f"inbox {name}", "idle", self.idle, most=LONGEST_HAND_OVER)
        check_seconds(f"inbox {name}", "limit", self.limit, most=LONGEST_HAND_OVER)
        check_range(f"inbox {name}", ("idle", self.idle), ("limit", self.limit))


def declared_inboxes(given: Iterable[Inbox], commands: Commands) -> tuple[Mapping[str, Inbox], Mapping[str, Inbox]]:
    """Return the inboxes that a bot declares by name, and by the words that ask for them.

    Raises:
        FlowError: One of them is no `Inbox`, two have the same name or word, or a word is a global one.
    """
    by_name: dict[str, Inbox] = {}
    by_word: dict[str, Inbox] = {}
    shape: object = given
    if not isinstance(shape, list | tuple):
        raise FlowError("", "bot", f"inboxes is a {type(shape).__name__}", "give a list: [Inbox(…)]")
    for inbox in given:
        known: object = inbox
        if not isinstance(known, Inbox):
            raise FlowError("", "bot", f"inboxes holds a {type(known).__name__}", "declare each with Inbox(…)")
        if inbox.name in by_name:
            raise FlowError("", "bot", f"two inboxes are called {inbox.name!r}", "rename one")
        by_name[inbox.name] = inbox
        for word in inbox.words:
            if word in by_word:
                raise FlowError("", "bot", f"two inboxes have the word {word!r}", "take it out of one")
            if commands.command(word):
                raise FlowError("", f"inbox {inbox.name}", f"{word!r} is a global word", "give another word")
            by_word[word] = inbox
    return by_name, by_word
