"""Commands that go out together on one connection of a thread, and the reply to each.

`converse` repeats only the commands that the server refused because it did not know the script. It does not raise for a
reply that is an error: the error stands in the place of the reply.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias, cast

import hiredis
from redis.exceptions import MovedError, NoScriptError, ResponseError

from vimbiso_fsm.store.script import SCRIPT, Words
from vimbiso_fsm.store.thread_wire import ThreadWire

packed: Final[Callable[[Words], bytes]] = cast(Any, hiredis.pack_command)
"""Returns a command as the protocol has it. redis-py's own packing costs several times as much."""

Answer: TypeAlias = tuple[Any, bool]
"""The answer to a command: the reply, or the error in its place; and False if a replica had to acknowledge what was
written and did not."""

_ASKING: Final[Words] = ("ASKING",)


def converse(
    wire: ThreadWire, commands: Sequence[Words], confirm: Words | None = None, *, asking: bool = False
) -> tuple[list[Any], bool]:
    """Send commands together, and return their replies, in order, and whether what they wrote is confirmed.

    Args:
        wire: The connection. It is closed if it cannot be used again.
        commands: The commands.
        confirm: The words of a WAIT, which ends the pipeline; None for none. If the reply to it is an error, or lost,
            the commands are answered all the same, unconfirmed: nothing needs repeating, and a caller that holds back
            what must not be lost errs on the safe side.
        asking: Whether they go to a node that does not have their slot yet.
    """
    sent = [each for words in commands for each in (_ASKING, words)] if asking else [*commands]
    if confirm is not None:
        sent.append(confirm)
    replies, confirmed = wire.exchange(b"".join(map(packed, sent)), len(sent)), True
    if confirm is not None:
        waited = replies.pop()
        confirmed = isinstance(waited, int) and waited >= 1
    if asking:
        replies = [_after(asked, reply) for asked, reply in zip(replies[::2], replies[1::2], strict=True)]
    if NoScriptError in map(type, replies):
        places = [place for place, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        again = [commands[place] for place in places]
        again[0] = ("EVAL", SCRIPT, *again[0][2:])  # EVAL brings the script along
        repeated, confirmed = converse(wire, again, confirm, asking=asking)  # this WAIT confirms what came before too
        for place, reply in zip(places, repeated, strict=True):
            replies[place] = reply
    return replies, confirmed


def _after(asked: Any, reply: Any) -> Any:
    """Return the reply to a command after the one to its ASKING."""
    if isinstance(asked, ResponseError) and isinstance(reply, MovedError):
        return asked  # the command was redirected only because ASKING was refused
    return reply
