"""The REST channel with its secrets, for the app."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

import attrs

from vimbiso_fsm.channels import rest
from vimbiso_fsm.channels.delivery import Delivery
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.replies import Reply
from vimbiso_fsm.web.settings import secret

SECRET_LENGTH: Final = 32
"""Characters of the shortest secret of a REST channel."""


def secrets_of(value: str | Iterable[str]) -> tuple[str, ...]:
    """Return one secret, or several, as a tuple (an attrs converter)."""
    return (value,) if isinstance(value, str) else tuple(value)


def check_secrets(instance: object, attribute: attrs.Attribute[Any], value: tuple[object, ...]) -> None:
    """Check the secrets of a channel (an attrs validator)."""
    if not value:
        raise ValueError(f"{attribute.name} is empty; give one, or two while one takes the place of the other")
    for each in value:
        secret(instance, attribute, each)
        if len(str(each)) < SECRET_LENGTH:
            raise ValueError(f"{attribute.name} has one of less than {SECRET_LENGTH} characters; give a random one")


@attrs.frozen(kw_only=True)
class RestChannel:
    """A channel by which a system of the embedder hands messages in and takes the replies. See `channels.rest`.

    Attributes:
        secrets: What the bot and the system share: one random text of at least `SECRET_LENGTH` characters, or several
            while one takes the place of another.
        type: The type of the channel. The bot says what its identifiers prove: `Bot(channels={"rest": "phone"})` for a
            system that has verified its numbers.
        account: The bot's address on the channel; empty without one.

    Raises:
        ValueError: There is no secret, or one is too short.
    """

    secrets: tuple[str, ...] = attrs.field(repr=False, converter=secrets_of, validator=check_secrets)
    type: str = "rest"
    account: str = ""

    def verify(self, headers: Mapping[str, str], raw: bytes, url: str, *, now: datetime) -> bool:
        """Return whether a request is signed, and was made within the replay window of now."""
        return rest.verify(headers, raw, url, secret=self.secrets, now=now)

    def parse(self, body: bytes) -> Delivery:
        """Read one message.

        Raises:
            InvalidMessage: The body is no message.
        """
        return rest.parse(body, type=self.type, account=self.account)

    def render(self, channel: Channel, replies: Iterable[Reply]) -> list[dict[str, Any]]:
        """Write replies as objects."""
        return rest.render(channel, replies)
