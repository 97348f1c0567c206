"""The transcript of a conversation: what was said on both sides, as text that can be played again.

    @ whatsapp:263771000001
    > 10 USD
        Whom do you offer 10.00 USD to?
        [Cancel]
    = offer.handle; amount: 10.00 USD
    ! get_account_by_handle
    * 360 seconds pass

A line begins with `@` for a channel, `>` for a message, `=` for the place with the answers so far, `!` for a call and
`*` for what else has happened. Replies stand indented under their message; those that answer none begin with `~`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from vimbiso_fsm.document.document import Run
from vimbiso_fsm.document.typed_data import structure
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.privacy import MASK
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.money import Money
from vimbiso_fsm.messages.replies import Buttons, Menu, Reply

_LONGEST: Final = 60
"""Characters of a value in a line."""


class Transcript:
    """The lines of a conversation."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._keys: set[str] = set()
        self._said = 0

    def __str__(self) -> str:
        """Return the lines."""
        return "\n".join(self._lines) + "\n"

    def __len__(self) -> int:
        """Return the number of messages."""
        return self._said

    def turn_to(self, channel: Channel) -> None:
        """Name the channel of the next messages."""
        self._lines.append(f"@ {channel.type}:{channel.identifier}")

    def said(self, text: str) -> None:
        """Add a message."""
        self._said += 1
        self._lines.append(f"> {text}")

    def note(self, what: str) -> None:
        """Add something that has happened."""
        self._lines.append(f"* {what}")

    def replied(self, replies: Sequence[Reply]) -> None:
        """Add the replies to a message."""
        for reply in replies:
            self._lines += (f"    {line}".rstrip() for line in reply.text.splitlines())
            if isinstance(reply, Buttons):
                self._lines += (f"    [{button.title.text}]" for button in reply.buttons)
            elif isinstance(reply, Menu):
                for row in reply.rows:
                    about = f" {row.description.text}" if row.description else ""
                    self._lines.append(f"    [{row.title.text}]{about}")

    def heard(self, texts: Sequence[str]) -> None:
        """Add words that answer no message."""
        self._lines += (f"    ~ {line}".rstrip() for text in texts for line in text.splitlines())

    def stands(self, bot: Bot, run: Run | None) -> None:
        """Add the place of the member, and what the run has gathered. Secrets are masked."""
        if run is None:
            self._lines.append("= no flow")
            return
        flow = bot.definition(run)
        data: Any = structure(run.fields, flow.data)
        fresh = flow.data()
        held = {name: getattr(data, name) for name in flow.fields}
        gathered = [
            f"; {name}: {MASK if name in flow.secrets else _brief(value)}"
            for name, value in held.items()
            if value != getattr(fresh, name)
        ]
        self._lines.append(f"= {run.flow}.{run.step}{''.join(gathered)}")

    def called(self, calls: Iterable[tuple[str, str]]) -> None:
        """Add calls, each by its method and its key."""
        for method, key in calls:
            again = " again, with the same key" if key and key in self._keys else ""
            self._keys.add(key)
            self._lines.append(f"! {method}{again}")


def _brief(value: object) -> str:
    if isinstance(value, tuple | list | dict):
        return f"{len(value)} of them"
    if isinstance(value, str | int | float | Money):
        return str(value)[:_LONGEST]
    named = getattr(value, "name", None)
    return str(named if isinstance(named, str) and named else value)[:_LONGEST]
