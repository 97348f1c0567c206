"""One web socket of a web chat: frames come in, are answered in order, and what is due at the visitor is pushed.

    reading    reads frames within bounds, and hands messages on. What a page has shown is noted at once
    answering  hands one message after another to the manager, and sends the answer after the commit
    attending  asks the store from time to time what other processes have left for the visitor

A message that is being handled when the connection ends is handled to its end. The page sends it again, and is given
the same replies.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from asyncio import timeout
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from vimbiso_fsm.audit.redaction import error_record
from vimbiso_fsm.channels import web
from vimbiso_fsm.channels.delivery import TEXT, Delivery, attempted, maybe, read_object
from vimbiso_fsm.errors import InvalidMessage, NotAnswered, TooManyMessages, VimbisoError
from vimbiso_fsm.flow.rates import Rate
from vimbiso_fsm.messages.locales import TAG_LENGTH
from vimbiso_fsm.messages.message import MAX_ID, Channel
from vimbiso_fsm.messages.replies import Reply
from vimbiso_fsm.messages.told import Told
from vimbiso_fsm.web.bodies import SMALL_BODY
from vimbiso_fsm.web.chat import WebChat
from vimbiso_fsm.web.endpoints import Shared

MAX_FRAME: Final = SMALL_BODY
"""Bytes of a frame."""
MAX_WAITING: Final = 8
"""Messages of one connection that wait to be handled. A page waits for the answer before it sends the next one."""
FRAMES: Final = Rate(60, every=0.5)
"""The rate of frames of one connection."""
IDLE_SECONDS: Final = 150.0
"""Seconds without a frame after which a connection is ended. A page says every 30 seconds that it is there, and a
browser lets one that is hidden do so once a minute."""
SEND_SECONDS: Final = 10.0
"""Seconds within which a connection takes a frame."""
FINISH_SECONDS: Final = 15.0
"""Seconds within which a message that is being handled ends after its connection."""
FIRST_LOOK: Final = 1.0
"""Seconds after a word of the visitor until the store is asked what is due. Each time it is half as long again."""
LONGEST_LOOK: Final = 15.0
"""Seconds between two looks at most."""
AGAIN_SECONDS: Final = 1.0
"""Seconds after which a page sends a message again that was not taken."""

NORMAL: Final = 1000
NO_TEXT: Final = 1003
"""The code of a connection that has sent bytes."""
NO_FRAME: Final = 1007
"""The code of a connection that has sent what is no JSON object."""
TOO_MANY: Final = 1008
"""The code of a connection that sends faster than `FRAMES`, or does not wait for answers."""
TOO_LARGE: Final = 1009
FAILED: Final = 1011
SLOW: Final = 4008
"""The code of a connection that was silent for too long, or did not take what was sent."""

_log = logging.getLogger("vimbiso_fsm.web")


async def serve(name: str, shared: Shared, chat: WebChat, cookie: str, socket: WebSocket) -> None:
    """Serve one web socket, once it is known to be of a page of the app and of a visitor.

    Args:
        name: The path of the chat.
        shared: What the endpoints share.
        chat: The chat.
        cookie: The name of the cookie of visitors.
        socket: The web socket, which is not accepted yet.
    """
    since, host = time.monotonic(), socket.client and socket.client.host
    visitor, status = _admitted(shared, chat, cookie, socket, host)
    shared.metrics.request(name, status, time.monotonic() - since)
    if visitor is None:
        if status == 403:
            shared.peers.refused(host)
        return await _deny(socket, status)
    language = socket.headers.get("accept-language", "").partition(",")[0].partition(";")[0].strip()
    is_tag = language.isascii() and language.replace("-", "").isalnum() and len(language) <= TAG_LENGTH
    known = {"language": language} if is_tag else {}
    await socket.accept()
    channel = Channel(chat.type, visitor, known).with_account(chat.account)
    await Connection(socket, name, shared, chat, channel, host).run()


def _admitted(
    shared: Shared, chat: WebChat, cookie: str, socket: WebSocket, host: str | None
) -> tuple[str | None, int]:
    """Return the visitor, or the status with which the web socket is refused."""
    if shared.peers.wait(host):
        return None, 429
    if not web.is_from(socket.headers, shared.base):
        if not chat.is_warned:  # once, because a stranger can cause it as often as they like
            chat.is_warned = True
            _log.warning("a web socket was refused: its page is not at %s, the base of the app", shared.base)
        return None, 403
    now = datetime.fromtimestamp(time.time(), UTC)
    visitor = web.visitor_of(socket.headers, secret=chat.secrets, now=now, cookie=cookie, life=chat.life)
    if visitor is None:
        return None, 403
    return (visitor, 101) if chat.has_room(host) else (None, 503)


async def _deny(socket: WebSocket, status: int) -> None:
    """Refuse a web socket with a status, where the server can say one."""
    if "websocket.http.response" in socket.scope.get("extensions", {}):
        await socket.send_denial_response(Response(status_code=status))
    else:
        await socket.close(TOO_MANY)


class Connection:
    """One connection of a visitor.

    Attributes:
        channel: The channel of the visitor.
        host: The network address that it comes from.
        gone: Set when the connection has ended.
    """

    def __init__(
        self, socket: WebSocket, name: str, shared: Shared, chat: WebChat, channel: Channel, host: str | None
    ) -> None:
        self.channel, self.host, self.gone = channel, host, asyncio.Event()
        self._socket, self._name, self._shared, self._chat = socket, name, shared, chat
        self._waiting: asyncio.Queue[Delivery] = asyncio.Queue(MAX_WAITING)
        self._sending = asyncio.Lock()
        self._stirred = asyncio.Event()
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._full_at, self._idle = 0.0, True

    async def run(self) -> None:
        """Serve the connection to its end."""
        self._chat.add(self)
        answering = asyncio.create_task(self._guarded(self._answer()))
        others = [asyncio.create_task(self._guarded(each)) for each in (self._read(), self._attend())]
        code = FAILED
        try:
            code = await self._ended
        finally:
            self._chat.remove(self)
            for task in others:
                task.cancel()
            await self._close(code)
            if self._idle:
                answering.cancel()
            await asyncio.wait([answering, *others], timeout=FINISH_SECONDS)
            answering.cancel()
            self.gone.set()

    def end(self, code: int) -> None:
        """End the connection with a code."""
        if not self._ended.done():
            self._ended.set_result(code)

    async def send(self, frame: dict[str, Any]) -> bool:
        """Send a frame. A connection that does not take it in time is ended.

        Returns:
            Whether the connection has taken it. That is no proof that the page has shown it.
        """
        try:
            async with timeout(SEND_SECONDS), self._sending:
                if self._ended.done():
                    return False
                await self._socket.send_text(json.dumps(frame, allow_nan=False))
        except TimeoutError:
            self.end(SLOW)
            return False
        except (WebSocketDisconnect, RuntimeError, OSError):  # the other side has gone meanwhile
            self.end(NORMAL)
            return False
        return True

    async def _close(self, code: int) -> None:
        with suppress(TimeoutError, WebSocketDisconnect, RuntimeError, OSError):
            async with timeout(SEND_SECONDS):
                if self._socket.application_state is WebSocketState.CONNECTED:
                    await self._socket.close(code)

    async def _guarded(self, part: Coroutine[Any, Any, None]) -> None:
        """Run a part of the connection. An error in it ends the connection."""
        try:
            await part
        except Exception as error:  # noqa: BLE001  # whatever it is, the page comes back, and nothing is lost
            _log.error("a connection of a web chat has failed: %s", error_record(error, ""))
            self.end(FAILED)

    # Reading ----------------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        """Read frames until the connection ends."""
        while not self._ended.done():
            try:
                async with timeout(IDLE_SECONDS):
                    event = await self._socket.receive()
            except TimeoutError:
                return self.end(SLOW)
            if event["type"] == "websocket.disconnect":
                return self.end(NORMAL)
            text = event.get("text")
            if text is None:
                return self._refuse(NO_TEXT)
            raw = text.encode("utf-8", "replace")
            if len(raw) > MAX_FRAME:
                return self._refuse(TOO_LARGE)
            after, wait = FRAMES.take(self._full_at, time.monotonic())
            if wait > 0:
                return self._refuse(TOO_MANY)
            self._full_at = after
            await self._take(raw)

    async def _take(self, raw: bytes) -> None:
        """Take one frame."""
        try:
            frame = web.read_frame(raw, self.channel, account=self._chat.account)
        except InvalidMessage as error:
            found = attempted(lambda: read_object(raw))
            if found is None:
                return self._refuse(NO_FRAME)
            self._shared.peers.refused(self.host)
            id = attempted(lambda: maybe(found, "id", TEXT)) or ""
            await self.send(_invalid(id[:MAX_ID], error))
            return None
        match frame:
            case web.Got(key):
                self._chat.was_shown(self, key)
            case web.Ping():
                await self.send({"type": "pong"})
            case delivery:
                try:
                    self._waiting.put_nowait(delivery)
                except asyncio.QueueFull:
                    self._refuse(TOO_MANY)

    def _refuse(self, code: int) -> None:
        """End a connection that is none of the page."""
        self._shared.peers.refused(self.host)
        self.end(code)

    # Answering --------------------------------------------------------------------------------------------------------

    async def _answer(self) -> None:
        """Answer messages in their order until the connection ends."""
        while not self._ended.done():
            delivery = await self._waiting.get()
            self._idle = False
            try:
                await self.send(await self._answered(delivery))
            finally:
                self._idle = True
            self._stirred.set()

    async def _answered(self, delivery: Delivery) -> dict[str, Any]:
        """Hand a message, or the fact that a page was opened, to the manager, and return the answer."""
        id = delivery.messages[0].id if delivery.messages else delivery.events[0].id
        metrics = self._shared.metrics
        try:
            if delivery.messages:
                outcome = await self._shared.manager.handle(delivery.messages[0], send=False)
                metrics.message(self._name, outcome.status)
                return self._said(id, outcome.status, outcome.replies)
            return self._said(id, "opened", await self._opened(delivery.events[0]))
        except InvalidMessage as error:
            metrics.message(self._name, type(error).__name__)
            return _invalid(id, error)
        except NotAnswered as error:
            metrics.message(self._name, type(error).__name__)
            again = error.seconds if isinstance(error, TooManyMessages) else AGAIN_SECONDS
            if not isinstance(error, TooManyMessages):
                _log.error("a message was not taken: %s", error_record(error, error.reference))
            kind = type(error).__name__
            return {"type": "refused", "id": id, "error": kind, "reply": error.reply, "again": again}

    async def _opened(self, event: Told) -> Sequence[Reply]:
        """Return what a page shows that has nothing to show: the open question, else how the bot begins."""
        found = await self._shared.manager.attend(self.channel, asks=True)
        if found.question or not self._chat.begins:
            return found.question
        return (await self._shared.manager.handle_event(event)).replies

    def _said(self, id: str, status: str, replies: Sequence[Reply]) -> dict[str, Any]:
        return {"type": "answer", "id": id, "status": status, "replies": web.render(self.channel, replies)}

    # Attending --------------------------------------------------------------------------------------------------------

    async def _attend(self) -> None:
        """Let what is due at the visitor be done and pushed, until the connection ends.

        A process that has no connection to the visitor leaves the words of timers, reminders and other systems in the
        store. So the store is asked soon after each word of the visitor, then less often, and when a timer is due.
        """
        pause = FIRST_LOOK
        while not self._ended.done():
            wait = pause
            if self._chat.is_first(self):
                with suppress(NotAnswered):
                    wait = await self._look(pause)
            self._stirred.clear()
            try:
                async with timeout(wait):
                    await self._stirred.wait()
                pause = FIRST_LOOK
            except TimeoutError:
                pause = min(pause * 1.5, LONGEST_LOOK)

    async def _look(self, pause: float) -> float:
        """Let what is due be done; return the seconds until the next look."""
        manager = self._shared.manager
        try:
            found = await manager.attend(self.channel)
        except NotAnswered:
            raise
        except VimbisoError as error:
            _log.warning("what is due at a visitor was not done: %s", error_record(error, ""))
            return LONGEST_LOOK
        return pause if found.due_at is None else min(pause, max(found.due_at - manager.now(), 0.5))


def _invalid(id: str, error: InvalidMessage) -> dict[str, Any]:
    return {"type": "refused", "id": id, "error": "InvalidMessage", "field": error.field, "fault": error.fault}
