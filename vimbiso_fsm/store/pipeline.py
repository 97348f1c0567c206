"""Commands that go out together on one connection, and what comes back for each.

`converse` and `converse_awaited` differ in two awaits. Neither repeats anything but what a server without the script
has refused, and neither raises for a reply that is an error: it stands in its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import hiredis
import redis
from redis._parsers.hiredis import NOT_ENOUGH_DATA
from redis.exceptions import MovedError, NoScriptError, ReadOnlyError, RedisError, ResponseError

from vimbiso_fsm.store.script import SCRIPT, Words


class Sent(NamedTuple):
    """A command of a pipeline.

    `asking`: it goes to a node that does not have the slot yet. `lasting`: it writes what is to be confirmed.
    """

    words: Words
    asking: bool = False
    lasting: bool = False


class Answer(NamedTuple):
    """A reply, or the error in its place. `confirmed`: a replica has what was written, or no replica was asked."""

    reply: Any
    confirmed: bool


def converse(connection: Any, batch: Sequence[Sent], confirm: Words | None) -> list[Answer]:
    """The answers to the commands of `batch`, in order.

    `confirm`, the words of a WAIT, ends each pipeline that holds something lasting. When it cannot be used again the
    connection is closed.
    """
    answers = _answers(batch, confirm, _exchange(connection, _commands(batch, confirm)))
    places, again = _forgotten(batch, answers)
    if again:
        replies = _exchange(connection, _commands(again, confirm))
        for place, answer in zip(places, _answers(again, confirm, replies), strict=True):
            answers[place] = answer
    return answers


async def converse_awaited(connection: Any, batch: Sequence[Sent], confirm: Words | None) -> list[Answer]:
    """The same, awaited."""
    answers = _answers(batch, confirm, await _exchange_awaited(connection, _commands(batch, confirm)))
    places, again = _forgotten(batch, answers)
    if again:
        replies = await _exchange_awaited(connection, _commands(again, confirm))
        for place, answer in zip(places, _answers(again, confirm, replies), strict=True):
            answers[place] = answer
    return answers


def converse_once(connection: Any, words: Words) -> Any:
    """The reply to one command, or the error in its place: `converse` for one command that needs no confirmation."""
    usable = False
    try:
        connection.send_packed_command((_packed(words),))
        reply = connection.read_response(disable_decoding=True)
        usable = True
    except ResponseError as error:
        usable = _whole([error])
        reply = error
    except (RedisError, OSError) as error:
        reply = error
    finally:
        if not usable:
            connection.disconnect()
    if isinstance(reply, NoScriptError):
        [answer] = converse(connection, [Sent(words)], None)
        return answer.reply
    return reply


# What is sent, and what the replies mean ---------------------------------------------------------------------


def _commands(batch: Sequence[Sent], confirm: Words | None) -> list[Words]:
    commands: list[Words] = []
    for sent in batch:
        if sent.asking:
            commands.append(("ASKING",))
        commands.append(sent.words)
    if confirm is not None and any(sent.lasting for sent in batch):
        commands.append(confirm)
    return commands


def _answers(batch: Sequence[Sent], confirm: Words | None, replies: Sequence[Any]) -> list[Answer]:
    """When the reply to WAIT is an error, or lost, the commands are answered all the same, unconfirmed.

    Nothing needs repeating, and a caller who holds back what must not be lost errs on the safe side.
    """
    waited = confirm is None or (isinstance(replies[-1], int) and replies[-1] >= 1)
    rest = iter(replies)
    answers: list[Answer] = []
    for sent in batch:
        asked = next(rest) if sent.asking else None
        reply = next(rest)
        if isinstance(asked, ResponseError) and isinstance(reply, MovedError):
            reply = asked  # that the command was sent away is only what follows from it
        answers.append(Answer(reply, waited or not sent.lasting))
    return answers


def _forgotten(batch: Sequence[Sent], answers: Sequence[Answer]) -> tuple[list[int], list[Sent]]:
    """Which commands the server knew no script for, and what to send for them: the first brings it along."""
    places = [place for place, answer in enumerate(answers) if isinstance(answer.reply, NoScriptError)]
    again = [batch[place] for place in places]
    if again:
        again[0] = again[0]._replace(words=("EVAL", SCRIPT, *again[0].words[2:]))
    return places, again


# The bytes ---------------------------------------------------------------------------------------------------


def _packed(words: Words) -> bytes:
    """The words as the protocol has them. redis-py's own packing costs several times this, above all awaited."""
    return cast(bytes, hiredis.pack_command(cast(Any, words)))


def _reader_of(connection: Any) -> Any:
    """Return the hiredis reader of an async connection, which gives replies that have arrived without a coroutine each.

    It is None where the connection has another parser, or where push messages may stand among the replies.
    """
    if str(connection.protocol) != "2":
        return None
    return getattr(connection._parser, "_reader", None)


def _exchange(connection: Any, commands: list[Words]) -> list[Any]:
    """Send the commands together and read the replies; where there is none, the error that took its place."""
    replies: list[Any] = []
    whole = False
    try:
        connection.send_packed_command([b"".join(map(_packed, commands))])
        for _ in commands:
            try:
                replies.append(connection.read_response(disable_decoding=True))
            except ResponseError as error:
                replies.append(error)
        whole = _whole(replies)
    except (RedisError, OSError) as error:
        _cut(replies, error, len(commands))
    finally:
        if not whole:
            connection.disconnect()
    return replies


async def _exchange_awaited(connection: Any, commands: list[Words]) -> list[Any]:
    replies: list[Any] = []
    whole = False
    try:
        await connection.send_packed_command(b"".join(map(_packed, commands)))
        reader = _reader_of(connection)
        for _ in commands:
            try:
                reply = NOT_ENOUGH_DATA if reader is None else reader.gets(False)
                if reply is NOT_ENOUGH_DATA:
                    reply = await connection.read_response(disable_decoding=True)
            except ResponseError as error:
                reply = error
            if isinstance(reply, redis.ConnectionError):
                raise reply
            replies.append(reply)
        whole = _whole(replies)
    except (RedisError, OSError) as error:
        _cut(replies, error, len(commands))
    finally:
        if not whole:
            await connection.disconnect(nowait=True)
    return replies


def _cut(replies: list[Any], error: Exception, due: int) -> None:
    """A failure stands for one reply; it says nothing of the others that are due, they are lost."""
    replies.append(error)
    replies += [redis.ConnectionError(f"the connection ended: {error}")] * (due - len(replies))


def _whole(replies: Sequence[Any]) -> bool:
    """Whether the connection can be used again: it does not when it leads to a master that is none any more."""
    return not any(isinstance(reply, ReadOnlyError) for reply in replies)
