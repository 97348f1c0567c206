"""The windows of channels: how long after a message of the member a channel takes words of the bot's own.

WhatsApp takes them for 24 hours after the member's latest message, and Twilio's documentation of its error 63016 says
the same of Messenger. After that it takes templates alone, and refuses all else for good. A message that came from an
advertisement opens a second window of 72 hours, within which nothing is billed. The descriptions of it do not agree on
whether it takes other words than templates once the 24 hours are over. It does not count here, because a template is
taken in either case.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from types import MappingProxyType
from typing import Final

from vimbiso_fsm.errors import FlowError
from vimbiso_fsm.messages import locales
from vimbiso_fsm.messages.bounds import check_seconds
from vimbiso_fsm.messages.contents import Location
from vimbiso_fsm.messages.replies import Reply, Template, Text

CHANNEL_WINDOWS: Final[Mapping[str, float]] = MappingProxyType({"whatsapp": 86_400.0})
"""The windows of the channels, in seconds, by the type of the channel. Others take any words at any time."""
MARGIN: Final = 60.0
"""Seconds before the end of a window from which it counts as over: what is sent has a way to go."""


def declared_windows(given: Mapping[str, float]) -> Mapping[str, float]:
    """Return the windows of a bot, checked (an attrs converter).

    Raises:
        FlowError: It is no mapping of types of channels to seconds.
    """
    shape: object = given
    if not isinstance(shape, Mapping):
        raise FlowError("", "bot", f"windows is a {type(shape).__name__}", "give {type of a channel: seconds}")
    for seconds in given.values():
        check_seconds("Bot", "windows", seconds)
    return dict(given)


def check_windows(windows: Mapping[str, float], types: Container[str]) -> None:
    """Check that the bot knows each type of a channel that has a window.

    Raises:
        FlowError: It does not.
    """
    for channel_type in windows:
        if channel_type not in types:
            raise FlowError("", "windows", f"{channel_type!r} is no type of a channel", "name it in Bot(channels=…)")


def words_of(reply: Reply) -> Text | None:
    """Return the text of a reply, or that of its body; None of a location."""
    if isinstance(reply, Location):
        return None
    return reply if isinstance(reply, Text) else reply.body


def has_template(reply: Reply, channel_type: str) -> bool:
    """Return whether a reply is a template, or names one for a channel."""
    words = words_of(reply)
    return isinstance(reply, Template) or (words is not None and channel_type in words.templates)


def as_templates(replies: Iterable[Reply], channel_type: str, language: str) -> tuple[Reply, ...]:
    """Return replies as the templates that they name for a channel; one that names none stays as it is.

    Args:
        replies: The replies with their final words.
        channel_type: The type of the channel.
        language: The language of the words.
    """
    return tuple(_as_template(reply, channel_type, language) for reply in replies)


def _as_template(reply: Reply, channel_type: str, language: str) -> Reply:
    words = words_of(reply)
    named = None if words is None or isinstance(reply, Template) else words.templates.get(channel_type)
    if words is None or named is None:
        return reply
    values = tuple(str(words.params[name]) for name in named.params)
    chosen = locales.looked_up((language,), named.languages) or named.languages[0]
    return Template(named.name, words, values, chosen)
