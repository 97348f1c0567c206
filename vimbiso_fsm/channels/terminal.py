"""A terminal: replies as plain numbered text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vimbiso_fsm.channels.plain import numbered, options, question
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.replies import Reply

CONTROLS: Final = {code: None for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}
"""Control characters. A terminal would obey them, so text of other members must not contain them."""


def render(channel: Channel, replies: Iterable[Reply]) -> list[str]:
    """Write the replies as they are printed: the body, then the options with their numbers, one per line.

    A reply without words is left out.
    """
    texts = (numbered(question(reply), options(reply)).translate(CONTROLS) for reply in replies)
    return [text for text in texts if text]
