"""The ways to reach a member: one pure module a channel, from bytes to messages and from replies to payloads.

Each module (`whatsapp`, `telegram`, `sms`) is itself a `ChannelFormat`; `terminal` only renders. They read and send
nothing: who receives the bytes checks where they come from first (`verify_signature`, `verify_secret`), and who embeds
the bot sends the payloads.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Protocol

from vimbiso_fsm.channels.delivery import Delivery, Note
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.replies import Reply

__all__ = ["ChannelFormat", "Delivery", "Note"]


class ChannelFormat(Protocol):
    """How one channel writes what members say and what they are told."""

    def parse(self, body: bytes, *, now: datetime | None = None) -> Delivery:
        """What the body of one webhook request delivers; raises nothing but `InvalidMessage`. `now` is what the
        sender's own times are judged by; without it none is believed."""
        ...

    def render(self, channel: Channel, replies: Iterable[Reply]) -> list[dict[str, Any]]:
        """The payloads that say `replies` to the member on `channel`, in order, each inside the channel's limits."""
        ...
