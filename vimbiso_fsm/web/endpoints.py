"""The endpoints of channels: a request is verified, read, handed to the manager, and answered after the commit."""

from __future__ import annotations

import json
import logging
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import UTC, datetime
from typing import Any, Final

import attrs
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from vimbiso_fsm.audit.redaction import error_record
from vimbiso_fsm.channels import AsyncWebChannel, Delivery, whatsapp
from vimbiso_fsm.errors import InvalidMessage, NotAnswered, TooManyMessages, VimbisoError
from vimbiso_fsm.messages.message import Message
from vimbiso_fsm.messages.sending import Sent
from vimbiso_fsm.operations.handle import Outcome
from vimbiso_fsm.operations.handle_event import EventOutcome
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager
from vimbiso_fsm.web.bodies import Bodies, Rejected
from vimbiso_fsm.web.counts import Counts
from vimbiso_fsm.web.inbox import Act, HttpInbox
from vimbiso_fsm.web.peers import Peers
from vimbiso_fsm.web.rest import RestChannel

_log = logging.getLogger("vimbiso_fsm.web")
_BUSY: Final = 1.0
"""Seconds after which a request that was not taken may come again."""


@attrs.frozen
class Shared:
    """What the endpoints of an app share.

    Attributes:
        manager: The manager that takes the messages.
        base: The address of the app as channels call it, without a slash at its end: Twilio signs it.
        peers: The count of refused requests.
        metrics: The counts for operators.
        bodies: The bodies that are being read.
    """

    manager: AsyncFlowStateManager
    base: str
    peers: Peers
    metrics: Counts = attrs.field(factory=Counts)
    bodies: Bodies = attrs.field(factory=Bodies)


def _now() -> datetime:
    return datetime.fromtimestamp(time.time(), UTC)


class Endpoint(ABC):
    """The endpoint of one channel."""

    def __init__(self, name: str, shared: Shared) -> None:
        self._name, self._shared = name, shared

    async def answer(self, request: Request) -> Response:
        """Answer a request, and count it."""
        since, host = time.monotonic(), request.client and request.client.host
        status = 500
        try:
            response = await self._unless_shut_out(request, host)
            status = response.status_code
        finally:
            if status in (400, 403, 408, 413):
                self._shared.peers.refused(host)
            self._shared.metrics.request(self._name, status, time.monotonic() - since)
        return response

    async def _unless_shut_out(self, request: Request, host: str | None) -> Response:
        """Answer a request, unless too many of its address were refused."""
        if wait := self._shared.peers.wait(host):
            return _refusal(429, wait)
        try:
            return await self._answered(request)
        except Rejected as refused:
            return _refusal(refused.status, refused.wait)

    @abstractmethod
    async def _answered(self, request: Request) -> Response:
        """Answer a request.

        Raises:
            Rejected: It is refused.
        """

    def _url(self, request: Request) -> str:
        """Return the URL that the channel has called. The header `Host` has no part in it."""
        path: bytes = request.scope.get("raw_path") or request.url.path.encode()
        query: bytes = request.scope["query_string"]
        called = path + b"?" + query if query else path
        return self._shared.base + called.decode("ascii", "replace")

    async def _handled(self, message: Message) -> Outcome:
        """Hand a message to the manager, and count its outcome.

        Raises:
            NotAnswered, InvalidMessage: It was not taken.
        """
        try:
            outcome = await self._shared.manager.handle(message, send=False)
        except (NotAnswered, InvalidMessage) as error:
            self._shared.metrics.message(self._name, type(error).__name__)
            raise
        self._shared.metrics.message(self._name, outcome.status)
        return outcome


class Webhook(Endpoint):
    """The webhook of a channel.

    The replies are sent after the answer: a channel that is slow does not hold up its own webhooks. An error after
    which a message was not taken is answered with 503, so that the channel delivers it again; it takes effect once.
    """

    def __init__(self, name: str, shared: Shared, channel: AsyncWebChannel, verify_token: str = "") -> None:
        """Make a webhook.

        Args:
            name: The path of the channel.
            shared: What the endpoints share.
            channel: The channel.
            verify_token: The token of Meta's handshake; empty without one.
        """
        super().__init__(name, shared)
        self._channel, self._verify_token = channel, verify_token

    async def _answered(self, request: Request) -> Response:
        if request.method == "GET":
            challenge = whatsapp.verify_subscription(request.query_params, self._verify_token)
            if challenge is None:
                raise Rejected(403)
            return PlainTextResponse(challenge, headers={"X-Content-Type-Options": "nosniff"})
        handled = await self._handle(await self._delivery(request))
        return Response(background=BackgroundTask(self._send, handled))

    async def _delivery(self, request: Request) -> Delivery:
        """Read a request of the channel.

        Raises:
            Rejected: It is too large or too slow, is not one of the channel, or cannot be read.
        """
        raw = await self._shared.bodies.read(request)
        if not self._channel.verify(request.headers, raw, self._url(request)):
            raise Rejected(403)
        try:
            return self._channel.parse(raw, now=_now())
        except InvalidMessage as error:
            _log.warning("a webhook request cannot be read: %s", error)
            raise Rejected(400) from None

    async def _handle(self, delivery: Delivery) -> list[tuple[Message, Outcome]]:
        """Hand everything that was said and told to the manager.

        Raises:
            Rejected: Something of it was not taken.
        """
        handled: list[tuple[Message, Outcome]] = []
        for fault in delivery.faults:
            _log.warning("a part of a webhook request cannot be read: %s: %s", fault.place, fault.reason)
        try:
            for message in delivery.messages:
                try:
                    async with self._working(message):
                        handled.append((message, await self._handled(message)))
                except (TooManyMessages, InvalidMessage) as error:
                    _log.warning("a message was not taken: %s", error_record(error, ""))
            for event in delivery.events:
                await self._shared.manager.handle_event(event)
        except NotAnswered as error:
            _log.error("messages were not taken: %s", error_record(error, error.reference))
            raise Rejected(503, _BUSY) from None
        return handled

    def _working(self, message: Message) -> AbstractAsyncContextManager[object]:
        """Show that a reply is being prepared, where the channel has a sign for it."""
        show = getattr(self._channel, "working", None)
        shown: AbstractAsyncContextManager[object] = nullcontext() if show is None else show(message)
        return shown

    async def _send(self, handled: Sequence[tuple[Message, Outcome]]) -> None:
        """Send the replies of messages. What cannot be sent is left to a worker."""
        metrics = self._shared.metrics
        for message, outcome in handled:
            for waiting, replies in outcome.leased:
                try:
                    answer = await self._channel.send(message.channel, replies, waiting.id)
                    metrics.send(self._name, type(answer).__name__)
                    await self._shared.manager.sent(outcome, answer)
                except VimbisoError as error:
                    metrics.send(self._name, type(error).__name__)
                    _log.error("replies were not sent: %s", error_record(error, waiting.id[:10]))
                    break
                if not isinstance(answer, Sent):
                    break


class RestEndpoint(Endpoint):
    """The endpoint of a REST channel: the answer to a message has its replies."""

    def __init__(self, name: str, shared: Shared, channel: RestChannel) -> None:
        """Make an endpoint.

        Args:
            name: The path of the channel.
            shared: What the endpoints share.
            channel: The channel.
        """
        super().__init__(name, shared)
        self._channel = channel

    async def _answered(self, request: Request) -> Response:
        raw = await self._shared.bodies.read(request)
        if not self._channel.verify(request.headers, raw, self._url(request), now=_now()):
            raise Rejected(403)
        try:
            (message,) = self._channel.parse(raw).messages
            outcome = await self._handled(message)
        except InvalidMessage as error:
            return _json({"error": "InvalidMessage", "field": error.field, "fault": error.fault}, 400)
        except TooManyMessages as error:
            return _json(_not_taken(error), 429, error.seconds)
        except NotAnswered as error:
            _log.error("a message was not taken: %s", error_record(error, error.reference))
            return _json({**_not_taken(error), "reference": error.reference}, 503, _BUSY)
        replies = self._channel.render(message.channel, outcome.replies)
        answer = _json({"status": outcome.status, "replies": replies})
        answer.background = BackgroundTask(self._noted, outcome)
        return answer

    async def _noted(self, outcome: Outcome) -> None:
        """Tell the manager that replies which it would have sent itself have left with the answer."""
        try:
            await self._shared.manager.sent(outcome, Sent())
        except VimbisoError as error:
            _log.error("it was not noted that replies were sent: %s", error_record(error, ""))


class InboxEndpoint(Endpoint):
    """The endpoint of a help desk: what a person says and does in a conversation that their inbox has."""

    def __init__(self, name: str, shared: Shared, inbox: HttpInbox) -> None:
        """Make an endpoint.

        Args:
            name: The path of the inbox.
            shared: What the endpoints share.
            inbox: The inbox.
        """
        super().__init__(name, shared)
        self._inbox = inbox

    async def _answered(self, request: Request) -> Response:
        raw = await self._shared.bodies.read(request)
        if not self._inbox.verify(request.headers, raw, now=_now()):
            raise Rejected(403)
        try:
            outcome = await self._done(self._inbox.parse(raw))
        except InvalidMessage as error:
            return _json({"error": "InvalidMessage", "field": error.field, "fault": error.fault}, 400)
        except VimbisoError as error:
            _log.error("an act of a help desk was not taken: %s", error_record(error, ""))
            return _json({"error": type(error).__name__}, 503, _BUSY)
        return _json({"status": outcome.status, "reason": outcome.reason, "held": outcome.held})

    async def _done(self, act: Act) -> EventOutcome:
        """Do what a person does. Its key is the inbox's own, so that it meets no key of another system."""
        manager, inbox = self._shared.manager, self._inbox.name
        key = f"{inbox} {act.key}"
        match act.do:
            case "say":
                return await manager.say(act.member_id, act.text, key=key, by=act.by, inbox=inbox)
            case "take":
                return await manager.hand_over(act.member_id, inbox, key=key, by=act.by)
            case _:
                return await manager.hand_back(act.member_id, key=key, by=act.by, inbox=inbox)


def _refusal(status: int, wait: float | None) -> Response:
    """Return an answer without words: a stranger learns nothing of the reason."""
    return Response(status_code=status, headers=_retry(wait))


def _retry(wait: float | None) -> dict[str, str]:
    return {} if wait is None else {"Retry-After": str(max(math.ceil(wait), 1))}


def _not_taken(error: NotAnswered) -> dict[str, Any]:
    return {"error": type(error).__name__, "reply": error.reply}


def _json(value: dict[str, Any], status: int = 200, wait: float | None = None) -> Response:
    """Return an answer in JSON. No cache keeps it, because it holds what was said to a member."""
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", **_retry(wait)}
    return Response(json.dumps(value, allow_nan=False), status, headers, "application/json")
