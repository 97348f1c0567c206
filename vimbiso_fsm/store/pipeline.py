"""Commands that go out together on one connection of a thread, and the answer to each; `wire.py` is for event loops.

`converse` repeats only the commands that the server refused because it did not know the script. It does not raise for a
reply that is an error: the error stands in the place of the reply.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, cast

import hiredis
import redis
from redis.exceptions import MovedError, NoScriptError, ReadOnlyError, RedisError, ResponseError

from vimbiso_fsm.store.connections import Connection
from vimbiso_fsm.store.script import SCRIPT, Words

packed: Final[Callable[[Words], bytes]] = cast(Any, hiredis.pack_command)
"""Returns a command as the protocol has it. redis-py's own packing costs several times as much."""


class Sent(NamedTuple):
    """A command of a pipeline.

    Attributes:
        words: Its words.
        asking: Whether it goes to a node that does not have the slot yet.
        lasting: Whether it writes what a replica must acknowledge.
    """

    words: Words
    asking: bool = False
    lasting: bool = False


class Answer(NamedTuple):
    """The answer to a command.

    Attributes:
        reply: The reply, or the error in its place.
        confirmed: False if a replica had to acknowledge what was written and did not.
    """

    reply: Any
    confirmed: bool


def converse(connection: Connection, batch: Sequence[Sent], confirm: Words | None) -> list[Answer]:
    """Send commands and return their answers, in order.

    Args:
        connection: The connection. It is closed if it cannot be used again.
        batch: The commands.
        confirm: The words of a WAIT, which ends each pipeline that writes something lasting; None for none.
    """
    commands: list[Words] = []
    for sent in batch:
        if sent.asking:
            commands.append(("ASKING",))
        commands.append(sent.words)
    if confirm is not None and any(sent.lasting for sent in batch):
        commands.append(confirm)
    replies = exchange(connection, commands)
    if len(commands) == len(batch):
        answers = [Answer(reply, True) for reply in replies]
    else:
        answers = _answers(batch, confirm, replies)
    if NoScriptError in map(type, replies):
        places = [place for place, answer in enumerate(answers) if isinstance(answer.reply, NoScriptError)]
        again: list[Sent] = [batch[place] for place in places]
        again[0] = again[0]._replace(words=("EVAL", SCRIPT, *again[0].words[2:]))  # EVAL brings the script along
        for place, answer in zip(places, converse(connection, again, confirm), strict=True):
            answers[place] = answer
    return answers


def _answers(batch: Sequence[Sent], confirm: Words | None, replies: Sequence[Any]) -> list[Answer]:
    """Return the answers of commands that were sent with ASKING or WAIT.

    If the reply to WAIT is an error, or lost, the commands are answered all the same, unconfirmed: nothing needs
    repeating, and a caller that holds back what must not be lost errs on the safe side.
    """
    waited = confirm is None or (isinstance(replies[-1], int) and replies[-1] >= 1)
    rest = iter(replies)
    answers: list[Answer] = []
    for sent in batch:
        asked = next(rest) if sent.asking else None
        reply = next(rest)
        if isinstance(asked, ResponseError) and isinstance(reply, MovedError):
            reply = asked  # the command was redirected only because ASKING was refused
        answers.append(Answer(reply, waited or not sent.lasting))
    return answers


def exchange(connection: Connection, commands: list[Words]) -> list[Any]:
    """Send the commands together and return a reply, or the error in its place, for each."""
    data = b"".join(map(packed, commands))
    replies: list[Any] = []
    usable = False
    try:
        connection.send_packed_command((data,))
        for _ in commands:
            try:
                replies.append(connection.read_response(disable_decoding=True))
            except ResponseError as error:
                replies.append(error)
        usable = ReadOnlyError not in map(type, replies)  # the server is no longer the primary
    except Exception as error:  # noqa: BLE001  # a connection that another thread closes raises whatever it meets
        _fill(replies, error, len(commands))
    finally:
        if not usable:
            connection.disconnect()
    return replies


def _fill(replies: list[Any], error: Exception, due: int) -> None:
    """Report a failure for the command that it met, and the remaining replies as lost.

    An error that has arrived before counts as lost too. It carries no tag, so it may be that of a later command, if it
    is the reply before it that never arrived.
    """
    lost = redis.ConnectionError(f"the connection ended: {str(error) or type(error).__name__}")
    lost.__cause__ = error
    replies[:] = [lost if isinstance(reply, Exception) else reply for reply in replies]
    replies.append(error if isinstance(error, RedisError | OSError) else lost)
    replies += [lost] * (due - len(replies))
