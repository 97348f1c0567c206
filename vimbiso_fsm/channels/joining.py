"""Texts that follow each other, joined where they fit, because each message is billed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from vimbiso_fsm.channels.plain import utf16
from vimbiso_fsm.messages.replies import Reply, Text

JOINED: Final[Mapping[str, int]] = {"whatsapp": 4096, "telegram": 4096}
"""The UTF-16 units that joined texts may have, by the type of the channel. An SMS is bounded by its segments."""
JOINED_ELSEWHERE: Final = 1000
"""The same for other types."""


def joined(replies: Iterable[Reply], type: str) -> tuple[Reply, ...]:
    """Return replies with the texts that follow each other as one, where they fit.

    Args:
        replies: The replies with their final words.
        type: The type of the channel.
    """
    found: list[Reply] = []
    for reply in replies:
        before = found[-1] if found else None
        if isinstance(reply, Text) and isinstance(before, Text):
            words = f"{before.text}\n\n{reply.text}"
            if _fits(before.text, reply.text, words) if type == "sms" else utf16(words) <= _limit(type):
                found[-1] = before.said(words, {})
                continue
        found.append(reply)
    return tuple(found)


def _limit(type: str) -> int:
    return JOINED.get(type, JOINED_ELSEWHERE)


def _fits(first: str, second: str, both: str) -> bool:
    """Return whether two texts cost no more segments as one SMS than as two.

    One character outside of the GSM alphabet makes each segment of its whole message less than half as long.
    """
    from vimbiso_fsm.channels.sms import SEGMENTS, TYPOGRAPHY, segments  # a bot without SMS needs none of it

    one, two, whole = (segments(text.translate(TYPOGRAPHY).strip()) for text in (first, second, both))
    return whole <= min(SEGMENTS, one + two)
