"""The webhooks of channels as an ASGI app. It needs the extra `serve`.

A request is verified over the bytes of its body before anything is read from it, and is answered after the commit. The
replies are sent then: a channel that is slow does not hold up its own webhooks. An error after which the message was
not taken is answered with 503, so that the channel delivers it again; it takes effect once.
"""

from __future__ import annotations

import logging
import time
from asyncio import timeout
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

import attrs
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from vimbiso_fsm.audit.redaction import error_record
from vimbiso_fsm.channels import AsyncWebChannel, Delivery, whatsapp
from vimbiso_fsm.errors import InvalidMessage, NotAnswered, TooManyMessages, VimbisoError
from vimbiso_fsm.messages.message import Message
from vimbiso_fsm.messages.sending import Sent
from vimbiso_fsm.operations.handle import Outcome
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager

MAX_BODY: Final = 1 << 20
"""Bytes of a webhook request. Those of the vendors have far fewer."""
BODY_SECONDS: Final = 10.0
"""Seconds within which a body comes."""

_log = logging.getLogger("vimbiso_fsm.web")


class _Refused(Exception):
    """A request is refused with a status of HTTP."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@attrs.frozen
class Webhook:
    """The webhook of one channel.

    Attributes:
        manager: The manager that takes the messages. It needs a sender for the type of the channel, so that a worker
            sends what a process leaves.
        channel: The channel.
        base: The address of the app as channels call it, such as "https://bot.example.org": Twilio signs it.
        verify_token: The token of Meta's handshake; empty without one.
    """

    manager: AsyncFlowStateManager
    channel: AsyncWebChannel
    base: str
    verify_token: str = attrs.field(default="", repr=False)

    async def answer(self, request: Request) -> Response:
        """Answer a request."""
        if request.method == "GET":
            challenge = whatsapp.verify_subscription(request.query_params, self.verify_token)
            return Response(status_code=403) if challenge is None else PlainTextResponse(challenge)
        try:
            delivery = await self._delivery(request)
            handled = await self._handle(delivery)
        except _Refused as refused:
            return Response(status_code=refused.status)
        return Response(background=BackgroundTask(self._send, handled))

    async def _delivery(self, request: Request) -> Delivery:
        """Read a request of the channel.

        Raises:
            _Refused: It is too large or too slow, is not one of the channel, or cannot be read.
        """
        raw = await _body(request)
        path, query = request.scope.get("raw_path") or request.url.path.encode(), request.scope["query_string"]
        url = f"{self.base}{path.decode('ascii', 'replace')}{'?' if query else ''}{query.decode('ascii', 'replace')}"
        if not self.channel.verify(request.headers, raw, url):
            raise _Refused(403)
        try:
            return self.channel.parse(raw, now=datetime.fromtimestamp(time.time(), UTC))
        except InvalidMessage as error:
            _log.warning("a webhook request cannot be read: %s", error)
            raise _Refused(400) from None

    async def _handle(self, delivery: Delivery) -> list[tuple[Message, Outcome]]:
        """Hand everything that was said and told to the manager.

        Raises:
            _Refused: Something of it was not taken.
        """
        handled: list[tuple[Message, Outcome]] = []
        for fault in delivery.faults:
            _log.warning("a part of a webhook request cannot be read: %s: %s", fault.place, fault.reason)
        try:
            for message in delivery.messages:
                try:
                    async with self._working(message):
                        handled.append((message, await self.manager.handle(message, send=False)))
                except (TooManyMessages, InvalidMessage) as error:
                    _log.warning("a message was not taken: %s", error_record(error, ""))
            for event in delivery.events:
                await self.manager.handle_event(event)
        except NotAnswered as error:
            _log.error("messages were not taken: %s", error_record(error, error.reference))
            raise _Refused(503) from None
        return handled

    def _working(self, message: Message) -> AbstractAsyncContextManager[object]:
        """Show that a reply is being prepared, where the channel has a sign for it."""
        show = getattr(self.channel, "working", None)
        shown: AbstractAsyncContextManager[object] = nullcontext() if show is None else show(message)
        return shown

    async def _send(self, handled: Sequence[tuple[Message, Outcome]]) -> None:
        """Send the replies of messages. What cannot be sent is left to a worker."""
        for message, outcome in handled:
            for waiting, replies in outcome.leased:
                try:
                    answer = await self.channel.send(message.channel, replies, waiting.id)
                    await self.manager.sent(outcome, answer)
                except VimbisoError as error:
                    _log.error("replies were not sent: %s", error_record(error, waiting.id[:10]))
                    break
                if not isinstance(answer, Sent):
                    break


async def _body(request: Request) -> bytes:
    """Read the body of a request.

    Raises:
        _Refused: It is too large, or does not come in time.
    """
    length = request.headers.get("content-length", "0")
    if not length.isascii() or not length.isdigit() or len(length) > 9 or int(length) > MAX_BODY:
        raise _Refused(413)
    found = bytearray()
    try:
        async with timeout(BODY_SECONDS):
            async for piece in request.stream():
                found += piece
                if len(found) > MAX_BODY:
                    raise _Refused(413)
    except TimeoutError:
        raise _Refused(408) from None
    except ClientDisconnect:
        raise _Refused(400) from None
    return bytes(found)


def app(
    manager: AsyncFlowStateManager, channels: Mapping[str, AsyncWebChannel], *, base: str, verify_token: str = ""
) -> Starlette:
    """Make an ASGI app with the webhooks of channels.

    It can be mounted in another app. The caller starts and closes the manager and the channels.

    Args:
        manager: The manager, with senders for the channels.
        channels: The channels by their path: `{"whatsapp": …}` is at `/whatsapp`.
        base: The address of the app as channels call it, such as "https://bot.example.org".
        verify_token: The token of Meta's handshake.

    Raises:
        ValueError: `base` is not an address.
    """
    parts = urlsplit(base)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("base is not the address of the app; give https://HOST")
    webhooks = {name: Webhook(manager, channel, base.rstrip("/"), verify_token) for name, channel in channels.items()}

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok")

    routes = [Route(f"/{name}", webhook.answer, methods=["GET", "POST"]) for name, webhook in webhooks.items()]
    return Starlette(routes=[*routes, Route("/healthz", healthz)])
