"""Conversations that are saved as tests: what was said, played from the beginning, and the file with the transcript."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.testing.conversation import Conversation

NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,60}")
"""The names of tests."""

_TEST: Final = '''"""A conversation that was saved from {source}."""

from typing import Any

SCRIPT = """\\
{transcript}"""


def test_{name}(conversation: Any) -> None:
    talk = conversation({channel!r}).play(SCRIPT)
    assert talk.transcript == SCRIPT
'''


def rehearsed(bot: Bot, script: Sequence[str], services: Mapping[str, object]) -> str:
    """Return the transcript of a conversation that is played from its beginning.

    Args:
        bot: The bot.
        script: The lines of a transcript; the first one names the channel.
        services: The services, as they were when the conversation began.

    Raises:
        Exception: A line cannot be played, or a callback of the bot raised it.
    """
    played = Conversation(bot, script[0].removeprefix("@ "), services=services)
    return played.play("\n".join(script[1:])).transcript


def saved_as(name: str, transcript: str, *, source: str, folder: Path = Path("tests")) -> Path:
    """Write a transcript as the test of a conversation, and return its path.

    Args:
        name: The name of the test, of small letters, digits and "_".
        transcript: The transcript; its first line names the channel.
        source: What it was saved from.
        folder: The folder of the tests.

    Raises:
        ValueError: The name is no name of a test, or a test of this name exists.
        OSError: The file cannot be written.
    """
    if not NAME.fullmatch(name):
        raise ValueError("give the test a name of small letters, digits and _, such as an_offer")
    path = folder / f"test_{name}.py"
    channel = transcript.partition("\n")[0].removeprefix("@ ")
    written = transcript.replace("\\", "\\\\").replace('"""', '\\"""')
    folder.mkdir(exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(_TEST.format(transcript=written, name=name, channel=channel, source=source))
    except FileExistsError:
        raise ValueError(f"{path} exists; give another name") from None
    return path
