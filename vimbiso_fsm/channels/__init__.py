"""The channels by which members are reached: one pure module each, from bytes to messages and from replies to payloads.

Each of `whatsapp`, `telegram` and `sms` is itself a `ChannelFormat`; `terminal` only renders. The modules do no I/O.
The caller verifies where the bytes come from (`verify`) before it parses them, and sends the payloads. A `WebChannel`
does both: it has the secrets and the connection, as those of `vimbiso_fsm.web` have. What a channel tells beside
messages are values such as `StatusChanged` and `Reacted`; `Told` is any of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from vimbiso_fsm.channels.delivery import Delivery, Note
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.replies import Reply
from vimbiso_fsm.messages.sending import Answer
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
    "AsyncWebChannel",
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
    "WebChannel",
]


class _Format(Protocol):
    """What a channel writes and reads."""

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


class ChannelFormat(_Format, Protocol):
    """The format of a channel: how it writes messages and replies, and how it proves that a request is its own."""

    def verify(self, headers: Mapping[str, str], raw: bytes, url: str, *, secret: str) -> bool:
        """Return whether a webhook request comes from the channel. The secret is compared in constant time.

        Args:
            headers: The headers of the request. Their names may have any case. One that counts and is given twice
                is none.
            raw: The bytes of the body as they came.
            url: The full URL that the channel has called.
            secret: What the channel and the embedder share. Without one no request is accepted.
        """
        ...


class _Verified(_Format, Protocol):
    """A format with its secrets."""

    def verify(self, headers: Mapping[str, str], raw: bytes, url: str) -> bool:
        """Return whether a webhook request comes from the channel. See `ChannelFormat`."""
        ...


class WebChannel(_Verified, Protocol):
    """A channel with its secrets and its connection: requests come in, and replies go out.

    `send` is a sender: give it to a manager as `senders={"whatsapp": channel.send}`.
    """

    def send(self, channel: Channel, replies: Sequence[Reply], key: str = "") -> Answer:
        """Send replies.

        Args:
            channel: The channel of the member.
            replies: The replies with their final words.
            key: A text that is the same in each attempt to send the same replies. What an earlier attempt is known to
                have sent is not sent again.

        Raises:
            SendUnknown: It is not known whether the channel took a message.
        """
        ...


class AsyncWebChannel(_Verified, Protocol):
    """A channel with its secrets and its connection, for an `AsyncFlowStateManager`. See `WebChannel`."""

    def send(self, channel: Channel, replies: Sequence[Reply], key: str = "") -> Awaitable[Answer]:
        """Send replies. See `WebChannel.send`."""
        ...
