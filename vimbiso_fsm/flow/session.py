"""The limits of a conversation: the lifetime of a session, and the sizes of messages and lists."""

from __future__ import annotations

from typing import Final

import attrs

from vimbiso_fsm.errors import FlowError
from vimbiso_fsm.messages.bounds import check_count, check_seconds
from vimbiso_fsm.messages.value import Value
from vimbiso_fsm.store.retention import TOKEN_LIFE

LONGEST_SESSION: Final = 8 * 3600.0
"""Seconds after which a session ends even if the member stays active, unless the bot sets another limit."""


@attrs.frozen(eq=False, repr=False)
class SessionLife(Value):
    """The lifetime of a session.

    Attributes:
        idle: Seconds without a message after which the session ends. A flow may set its own.
        limit: Seconds after which the session ends in any case.
        warning: Seconds before the end of the session at which a member with unconfirmed answers is warned, if the
            manager delivers replies; 0 sends no warning.
        announced: Whether the end of the session is announced at once, if the manager delivers replies. Otherwise
            the reply to the member's next message announces it.

    Raises:
        FlowError: A bound is no number or out of range, or the bounds do not fit each other.
    """

    idle: float = 300.0
    limit: float = LONGEST_SESSION
    warning: float = 0.0
    announced: bool = True

    def __attrs_post_init__(self) -> None:
        check_seconds("SessionLife", "idle", self.idle)
        check_seconds("SessionLife", "limit", self.limit)
        check_seconds("SessionLife", "warning", self.warning, more=False)
        if self.idle > self.limit:
            raise FlowError(
                "", "SessionLife", f"idle is {self.idle!r} and limit {self.limit!r}", "idle is at most limit"
            )
        if self.warning >= self.idle:
            fault = f"warning is {self.warning!r} and idle {self.idle!r}"
            raise FlowError("", "SessionLife", fault, "warning is less than idle")


def session_life(given: SessionLife | float) -> SessionLife:
    """Return the value of a bot's `session=`, which may be given as the seconds without a message."""
    if isinstance(given, SessionLife):
        return given
    check_seconds("bot", "session", given)
    return SessionLife(given, max(given, LONGEST_SESSION))


@attrs.frozen(eq=False, repr=False)
class Limits(Value):
    """Bounds of one conversation.

    Attributes:
        text: Characters of a message that are read.
        content: Characters of what a message carries beside its words, such as a form, written as JSON.
        file: Bytes of a file that a message carries, where the channel tells them. A reader may take less.
        help: Refusals in a row at one question after which the reply is the question's help.
        menu: Refusals in a row at one question after which the reply offers the menu.
        autos: States that one turn may pass without asking a question.
        rows: Rows of a list that are shown at once.
        age: Seconds since a message was sent, by its channel's clock, after which it is answered and not taken; None
            for no bound. By default `TOKEN_LIFE`: an older message may have been handled and forgotten. The time of a
            message that is later than the store's clock says nothing about its age.

    Raises:
        FlowError: A bound is no number or out of range.
    """

    text: int = 4096
    content: int = 8192
    file: int = 100_000_000
    help: int = 3
    menu: int = 6
    autos: int = 16
    rows: int = 10
    age: float | None = TOKEN_LIFE

    def __attrs_post_init__(self) -> None:
        for name in ("text", "content", "file", "help", "menu", "autos", "rows"):
            check_count("Limits", name, getattr(self, name))
        if self.age is not None:
            check_seconds("Limits", "age", self.age)
