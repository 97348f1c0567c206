"""What is due on a wire: commands whose replies have not arrived, and the replies that only the wire itself needs."""

from __future__ import annotations

import asyncio
from typing import Any, TypeAlias

import redis

from vimbiso_fsm.store.pipeline import Answer
from vimbiso_fsm.store.script import Words


class Pending:
    """A command, and the future of its answer.

    Attributes:
        words: Its words.
        answer: The answer, or the error in its place. The caller may cancel it.
        asking: Whether it goes to a node that does not have the slot yet.
        confirm: The words of the WAIT for a replica that its answer has to wait for; None for none.
        reply: The reply, while it does not count yet.
        refusal: The error that ASKING was answered with.
        confirmation: The reply to WAIT that it waits for.
    """

    __slots__ = ("answer", "asking", "confirm", "confirmation", "refusal", "reply", "words")

    def __init__(self, words: Words, answer: asyncio.Future[Answer], asking: bool, confirm: Words | None) -> None:
        self.words, self.answer, self.asking, self.confirm = words, answer, asking, confirm
        self.reply: Any = None
        self.refusal: Exception | None = None
        self.confirmation: Confirmation | None = None

    def give(self, reply: Any, confirmed: bool = True) -> None:
        """Give the answer, unless the caller is gone."""
        if self.answer.done():
            return
        if isinstance(reply, Exception):
            self.answer.set_exception(reply)
        else:
            self.answer.set_result((reply, confirmed))

    def lose(self, cause: BaseException | None) -> None:
        """Give the error of a connection that ended after the command was sent."""
        lost = redis.ConnectionError(
            "the connection ended" + ("" if cause is None else f": {str(cause) or type(cause).__name__}")
        )
        lost.__cause__ = cause
        self.give(lost)


class Asking:
    """Stands for the reply to ASKING, which precedes that to its command."""

    __slots__ = ("pending",)

    def __init__(self, pending: Pending) -> None:
        self.pending = pending


class Confirmation:
    """Stands for the reply to WAIT, which follows the replies to the commands that it confirms.

    Attributes:
        words: The words of WAIT.
        answered: The commands whose replies have arrived.
    """

    __slots__ = ("answered", "words")

    def __init__(self, words: Words) -> None:
        self.words = words
        self.answered: list[Pending] = []

    def give(self, *, confirmed: bool) -> None:
        """Give the answers. They count also if the reply to WAIT is an error, or lost: nothing needs repeating."""
        for pending in self.answered:
            pending.give(pending.reply, confirmed)


class Probe:
    """Stands for the reply to PING."""


Due: TypeAlias = Pending | Asking | Confirmation | Probe
"""What a reply can be the reply to."""
