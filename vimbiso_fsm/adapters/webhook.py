"""The webhook of a channel in a server of threads: verified, handed to the manager, and answered after the commit.

Django and WSGI have adapters of their own; any other server calls `Webhook.answer`. An app on an event loop mounts
`vimbiso_fsm.web.app`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import attrs

from vimbiso_fsm.audit.redaction import error_record
from vimbiso_fsm.channels import Delivery, WebChannel, whatsapp
from vimbiso_fsm.errors import InvalidMessage, NotAnswered, TooManyMessages
from vimbiso_fsm.messages.message import Message
from vimbiso_fsm.runtime.flow_state import FlowStateManager
from vimbiso_fsm.web.settings import MAX_BODY, address, missing_settings, without_slash

_log = logging.getLogger("vimbiso_fsm.adapters")


def _never(message: Message) -> bool:
    return False


@attrs.frozen
class Webhook:
    """The webhook of a channel.

    Attributes:
        manager: The manager, with a sender for the channel.
        channel: The channel: a `ChannelClient`, or any `WebChannel`.
        base: The address of the server as the channel calls it, such as "https://bot.example.org": Twilio signs it.
        verify_token: The token of Meta's handshake.
        own: Whether the embedder answers a message itself, so that the framework does not.

    Raises:
        ValueError: `base` is no address, or a secret is missing without which each request would be refused.
    """

    manager: FlowStateManager
    channel: WebChannel
    base: str = attrs.field(converter=without_slash, validator=address, kw_only=True)
    verify_token: str = attrs.field(default="", kw_only=True, repr=False)
    own: Callable[[Message], bool] = attrs.field(default=_never, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if missing := missing_settings(self.channel, self.verify_token):
            raise ValueError(f"the channel has no {' and no '.join(missing)}; without it each request would be refused")

    def challenge(self, query: Mapping[str, str]) -> tuple[int, str]:
        """Return the status and the body of the answer to a GET: the handshake of Meta."""
        found = whatsapp.verify_subscription(query, self.verify_token)
        return (403, "") if found is None else (200, found)

    def answer(self, headers: Mapping[str, str], raw: bytes, path: str) -> int:
        """Take a POST, and return the status of the answer.

        Args:
            headers: The headers of the request.
            raw: The bytes of its body as they came, at most `MAX_BODY`.
            path: The path that was called, with its query.

        Returns:
            200 after the commit; 503 where the channel is to deliver the request again; 400, 403 or 413 for a request
            that is refused.
        """
        if len(raw) > MAX_BODY:
            return 413
        if not self.channel.verify(headers, raw, self.base + path):
            return 403
        try:
            return self._taken(self.channel.parse(raw, now=datetime.now(UTC)))
        except InvalidMessage as error:
            _log.warning("a webhook request cannot be read: %s", error)
            return 400
        except NotAnswered as error:
            _log.error("messages were not taken: %s", error_record(error, error.reference))
            return 503

    def _taken(self, delivery: Delivery) -> int:
        for fault in delivery.faults:
            _log.warning("a part of a webhook request cannot be read: %s: %s", fault.place, fault.reason)
        for message in delivery.messages:
            try:
                if not self.own(message):
                    self.manager.handle(message)
            except (TooManyMessages, InvalidMessage) as error:
                _log.warning("a message was not taken: %s", error_record(error, ""))
        for event in delivery.events:
            self.manager.handle_event(event)
        return 200
