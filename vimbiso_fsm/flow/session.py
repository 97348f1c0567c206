"""The limits of a conversation: the lifetime of a session, and the sizes of messages and lists."""

from __future__ import annotations

from typing import Final

import attrs

LONGEST_SESSION: Final = 8 * 3600.0
"""Seconds after which a session ends even if the member stays active, unless the bot sets another limit."""


@attrs.frozen
class SessionLife:
    """The lifetime of a session.

    Attributes:
        idle: Seconds without a message after which the session ends. A flow may set its own.
        limit: Seconds after which the session ends in any case.
        warning: Seconds before the end of the session at which a member with unconfirmed answers is warned, if the
            manager delivers replies; 0 sends no warning.
        announced: Whether the end of the session is announced at once, if the manager delivers replies. Otherwise
            the reply to the member's next message announces it.

    Raises:
        ValueError: A bound is out of range.
    """

    idle: float = 300.0
    limit: float = LONGEST_SESSION
    warning: float = 0.0
    announced: bool = True

    def __attrs_post_init__(self) -> None:
        if not (0 < self.idle <= self.limit and 0 <= self.warning < self.idle):
            raise ValueError(f"{self}: idle is more than 0 seconds, at most limit; warning is less than idle")


def session_life(given: SessionLife | float) -> SessionLife:
    """Return the value of a bot's `session=`, which may be given as the seconds without a message."""
    return given if isinstance(given, SessionLife) else SessionLife(given, max(given, LONGEST_SESSION))


@attrs.frozen
class Limits:
    """Bounds of one conversation.

    Attributes:
        text: Characters of a message that are read.
        help: Refusals in a row at one question after which the reply is the question's help.
        menu: Refusals in a row at one question after which the reply offers the menu.
        autos: States that one turn may pass without asking a question.
        rows: Rows of a list that are shown at once.
        age: Seconds since a message was sent, by its channel's clock, after which it is ignored; None for no bound.
    """

    text: int = 4096
    help: int = 3
    menu: int = 6
    autos: int = 16
    rows: int = 10
    age: float | None = None
