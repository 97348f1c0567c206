"""The words of carriers with which a member takes back or gives their consent to messages.

On SMS these words belong to the carrier: after one of `STOP_WORDS` it delivers nothing more, until one of
`START_WORDS`. On every other channel they are words like any others, so `stop` means what the bot declares.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, Literal

from vimbiso_fsm.messages.told import Blocked, OptedOut, Told
from vimbiso_fsm.messages.words import normalise

Wish = Literal["stop", "start", ""]
"""Whether a member wants no more messages, wants them again, or says nothing of it."""

BY_WORD: Final = frozenset({"sms"})
"""The types of channels on which a word takes the consent back."""
STOP_WORDS: Final = frozenset(
    {"stop", "stopall", "stop all", "unsubscribe", "cancel", "end", "quit", "revoke", "optout", "opt out"}
)
"""The words after which a carrier of SMS delivers nothing."""
START_WORDS: Final = frozenset({"start", "unstop", "yes"})
"""The words after which it delivers again. They count only after a stop, since "yes" answers many questions."""
_LONGEST: Final = 64
"""Characters of a text that is looked at; no word is longer."""


def wish_in_words(
    channel_type: str, text: str | None, *, stop: Collection[str], start: Collection[str], stopped: bool
) -> Wish:
    """Return the wish in a typed text.

    Args:
        channel_type: The type of the channel.
        text: The text; None if nothing was typed.
        stop: The words of a stop, which count on SMS.
        start: The words of a start.
        stopped: Whether the member wants no messages now. Then the words of a start count on every channel.
    """
    if text is None or len(text) > _LONGEST:
        return ""
    word = normalise(text).rstrip(".!")
    if channel_type in BY_WORD and word in stop:
        return "stop"
    return "start" if stopped and word in start else ""


def wish_in_fact(fact: Told) -> Wish:
    """Return the wish that a channel tells. One about some messages only, such as advertising, is the author's."""
    match fact:
        case OptedOut(wish="stop" | "start" as wish, topic=""):
            return wish
        case Blocked(blocked=blocked):
            return "stop" if blocked else "start"
        case _:
            return ""
