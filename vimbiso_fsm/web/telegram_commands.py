"""The commands of a bot as Telegram lists them beside the field for words: `/menu`, `/pay`.

They are the shortcuts with a `command`, and the global words. Telegram has one list for each language, and shows the
one without a language where it has none of the member's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from vimbiso_fsm.channels import plain
from vimbiso_fsm.channels.delivery import one_line
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.messages.replies import Text

MAX_COMMANDS: Final = 100
"""Commands of one list."""
DESCRIPTION: Final = 256
"""Characters of a description."""
_LISTED: Final = ("menu", "back", "cancel", "help")
_WORD: Final = re.compile(r"[a-z0-9_]{1,32}", re.ASCII)
_LANGUAGE: Final = re.compile(r"[a-z]{2}", re.ASCII)


def lists_of(bot: Bot) -> Iterator[dict[str, Any]]:
    """Yield the parameters of `setMyCommands` for each language of the bot's texts, the default one first."""
    default = bot.catalogue.default
    for language in sorted(bot.catalogue.languages, key=lambda each: (each != default, each)):
        commands = [
            {"command": word, "description": plain.shorten(one_line(about.text), DESCRIPTION)}
            for word, about in _commands(bot, language)
        ]
        if language == default:
            yield {"commands": commands[:MAX_COMMANDS]}
        elif _LANGUAGE.fullmatch(language):  # Telegram knows languages by their two letters only
            yield {"commands": commands[:MAX_COMMANDS], "language_code": language}


def _commands(bot: Bot, language: str) -> Iterator[tuple[str, Text]]:
    for shortcut in bot.shortcuts:
        if shortcut.command:
            yield shortcut.command, bot.catalogue.say(Text(f"{shortcut.flow.name}.title"), language)
    for name in _LISTED:
        words: frozenset[str] = getattr(bot.commands, name)
        possible = sorted(word for word in words if _WORD.fullmatch(word))
        if possible:
            word = name if name in words else possible[0]
            yield word, bot.catalogue.say(Text(f"command.{name}"), language)
