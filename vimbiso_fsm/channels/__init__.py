"""The channels by which members are reached: one pure module each, from bytes to messages and from replies to payloads.

Each of `whatsapp`, `telegram` and `sms` is itself a `ChannelFormat`; `terminal` only renders. The modules do no I/O.
The caller verifies where the bytes come from (`verify_signature`, `verify_secret`) before it parses them, and sends the
payloads. What a channel tells beside messages are values such as `StatusChanged` and `Reacted`; `Told` is any of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Protocol

from vimbiso_fsm.channels.delivery import Delivery, Note
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.replies import Reply
from vimbiso_fsm.messages.told import (
    AddressChanged,
    Blocked,
    BusinessConnected,
    Called,
    ChatOpened,
    Deleted,
    Edited,
    OptedOut,
    OtherFact,
    Paid,
    Reacted,
    SaidElsewhere,
    StatusChanged,
    Told,
)

__all__ = [
    "AddressChanged",
    "Blocked",
    "BusinessConnected",
    "Called",
    "ChannelFormat",
    "ChatOpened",
    "Deleted",
    "Delivery",
    "Edited",
    "Note",
    "OptedOut",
    "OtherFact",
    "Paid",
    "Reacted",
    "SaidElsewhere",
    "StatusChanged",
    "Told",
]


class ChannelFormat(Protocol):
    """The format of a channel: how it writes messages and replies."""

    def parse(self, body: bytes, *, now: datetime | None = None) -> Delivery:
        """Read the body of a webhook request.

        Args:
            body: The bytes of the body.
            now: The current instant, with a time zone. A message's own time is only used if it is not later.

        Raises:
            InvalidMessage: The body is no webhook of the channel.
        """
        ...

    def render(self, channel: Channel, replies: Iterable[Reply]) -> list[dict[str, Any]]:
        """Write the payloads that send `replies` to the member on `channel`, in order, each within its limits."""
        ...
