"""The answers of a sender: `Sent`, `Later` and `Never`. A sender that raises leaves the outcome unknown."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Final, TypeAlias, cast

import attrs

from vimbiso_fsm.messages.value import Value

LONGEST_WAIT: Final = 86_400.0
"""The longest pause that a channel can ask for, in seconds. A longer one is cut: replies of yesterday are late."""
SHORTEST_WAIT: Final = 1.0
"""The shortest pause that a channel can ask for, in seconds."""
MAX_ID: Final = 512
"""Characters of a channel's id of a message. A longer one is left out."""
MAX_IDS: Final = 100
"""Ids of one answer that are kept."""
MAX_REASON: Final = 200
"""Characters of a reason and of a code that are kept."""


def _ids(value: object) -> tuple[str, ...]:
    """Return the ids among a value. What is no id is left out, because the replies are sent all the same."""
    if isinstance(value, str | int):
        value = (value,)
    if not isinstance(value, Iterable):
        return ()
    known = (str(each) for each in cast("Iterable[object]", value) if isinstance(each, str | int))
    return tuple(each for each in known if 0 < len(each) <= MAX_ID)[:MAX_IDS]


def _cut(value: object) -> str:
    """Return a text of a sender at the length that is kept, as text that can be encoded."""
    return str(value)[:MAX_REASON].encode("utf-8", "replace").decode()


@attrs.frozen(eq=False, repr=False)
class Sent(Value):
    """The channel has taken the replies.

    Attributes:
        ids: The channel's ids of the messages, with which it tells their status. One id may be given alone. What is no
            text or number, is empty or is longer than `MAX_ID` is left out.
    """

    ids: tuple[str, ...] = attrs.field(default=(), converter=_ids, repr=False)


@attrs.frozen(eq=False, repr=False)
class Later(Value):
    """The channel has taken nothing, and asks to be left alone for a time.

    On a channel with a pace, all workers leave the whole account alone, for an hour at most. A pause that a value names
    by None or no number is the member's alone.

    Attributes:
        seconds: The seconds, or a `timedelta`, for which nothing is sent to the member. From `SHORTEST_WAIT` to
            `LONGEST_WAIT`: less counts as the shortest, and more as the longest. None, and what is no number, stands
            for the usual pause before another try.
        address: Whether the channel asks it for this member alone, as after too many messages to one chat.
    """

    seconds: Any = None
    address: bool = attrs.field(default=False, kw_only=True)

    def pause(self, usual: float) -> float:
        """Return the seconds to wait; `usual` is the pause where the channel has named none."""
        seconds = self.seconds.total_seconds() if isinstance(self.seconds, timedelta) else self.seconds
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            return usual
        bounded = min(max(seconds, SHORTEST_WAIT), LONGEST_WAIT)  # first, because an int can be too large for a float
        return usual if math.isnan(bounded) else float(bounded)


@attrs.frozen(eq=False, repr=False)
class Never(Value):
    """The channel will not take the replies, however often it is asked.

    Attributes:
        reason: Why, for operators and the audit. It quotes no words of the member and no number. At most `MAX_REASON`
            characters are kept.
        code: The channel's code of the error, such as "131026".
        address: Whether the channel sends this member nothing now, as after a block. Replies then wait for the member's
            next message, and the channel is not asked before. Otherwise it refuses only these replies, and they are
            given up.
    """

    reason: str = attrs.field(converter=_cut)
    code: str = attrs.field(default="", converter=_cut, kw_only=True)
    address: bool = attrs.field(default=False, kw_only=True)


Answer: TypeAlias = Sent | Later | Never
"""What a sender answers."""


def asked_wait(error: BaseException) -> Later | None:
    """Return the pause that an exception of a channel's library names as its `retry_after`; None if it names none."""
    seconds: object = getattr(error, "retry_after", None)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float | timedelta):
        return None
    return Later(seconds)
