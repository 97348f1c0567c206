"""The clients that do the requests of an API: one for threads, and one for an event loop."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, date, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from vimbiso_fsm.channels.delivery import Delivery
from vimbiso_fsm.errors import RequestRefused
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.messages.contents import Attachment
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.replies import Reply
from vimbiso_fsm.messages.sending import Answer, Later, Never
from vimbiso_fsm.web.api import MAX_FILE, Api, Fetched
from vimbiso_fsm.web.requests import AsyncCarrier, Carrier, HttpRequest, HttpResponse, NoResponse

if TYPE_CHECKING:
    from vimbiso_fsm.web.http import AsyncTransport, Transport  # not at run time: a carrier needs no httpx2

R = TypeVar("R")

SEND_SECONDS: Final = 8.0
"""Seconds for all messages of one `send`. A manager gives a sender ten."""
FILE_SECONDS: Final = 60.0
"""Seconds in which a file is fetched or stored."""
WORK_AFTER: Final = 1.0
"""Seconds after which a member is shown that a reply is being prepared."""
WORK_SIGNS: Final = 20
"""How often that is shown for one message, at most."""
KEPT_KEYS: Final = 10_000
"""Sends without an end whose messages are remembered."""

_log = logging.getLogger("vimbiso_fsm.web")


def _today() -> date:
    return datetime.now(UTC).date()


class _Progress:
    """What became of the messages of sends that have not ended, by the key. Threads may share it."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, list[str | Never]] = OrderedDict()
        self._guard = threading.Lock()

    def of(self, key: str) -> list[str | Never]:
        """Return the list of a send, to which is added. A send without a key is never continued."""
        if not key:
            return []
        with self._guard:
            found = self._kept.setdefault(key, [])
            self._kept.move_to_end(key)
            if len(self._kept) > KEPT_KEYS:
                self._kept.popitem(last=False)
        return found

    def end(self, key: str) -> None:
        """Forget a send that has ended."""
        with self._guard:
            self._kept.pop(key, None)


class _Client:
    """What both clients share."""

    def __init__(self, api: Api, today: Callable[[], date]) -> None:
        self.api = api
        self._today, self._warned = today, date.min
        self._progress = _Progress()
        self._warn()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.api!r})"

    def verify(self, headers: Mapping[str, str], raw: bytes, url: str) -> bool:
        """Return whether a webhook request comes from the channel. See `WebChannel`."""
        return self.api.verify(headers, raw, url)

    def parse(self, body: bytes, *, now: datetime | None = None) -> Delivery:
        """Read the body of a webhook request. See `ChannelFormat.parse`."""
        return self.api.parse(body, now=now)

    def render(self, channel: Channel, replies: Iterable[Reply]) -> list[dict[str, Any]]:
        """Write the payloads that send `replies`. See `ChannelFormat.render`."""
        return self.api.render(channel, replies)

    def _warn(self) -> None:
        """Log a warning about the settings, once a day."""
        today = self._today()
        if today != self._warned:
            self._warned = today
            if warning := self.api.warning(today):
                _log.warning("%s: %s", self.api.name, warning)

    def _ended(self, key: str, answer: Answer) -> Answer:
        """Note the answer of a send."""
        if not isinstance(answer, Later):
            self._progress.end(key)
        return answer

    def _refused(self, response: HttpResponse | NoResponse) -> RequestRefused | None:
        """Return the error of a request whose answer says no more than that it was taken; None if it was."""
        is_taken = isinstance(response, HttpResponse) and response.is_success
        return None if is_taken else self.api.refused(response)


class ChannelClient(_Client):
    """A channel with its connection, for threads. It is a `WebChannel`.

    Args:
        api: The API: a `CloudApi`, a `TelegramApi` or a `TwilioApi`.
        transport: A transport of httpx2, with a proxy or certificates for example. It is closed with the client.
        carrier: What makes the requests in place of httpx2: the client of another library (`vimbiso_fsm.adapters`).
        today: Returns the present day, in UTC.
    """

    def __init__(
        self,
        api: Api,
        *,
        transport: Transport | None = None,
        carrier: Carrier | None = None,
        today: Callable[[], date] = _today,
    ) -> None:
        super().__init__(api, today)
        if carrier is None:
            from vimbiso_fsm.web.http import Connection

            carrier = Connection(transport)
        self._connection = carrier

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._connection.close()

    def send(self, channel: Channel, replies: Sequence[Reply], key: str = "") -> Answer:
        """Send replies. See `WebChannel.send`."""
        self._warn()
        return self._ended(key, self._run(self.api.send(channel, replies, self._progress.of(key)), SEND_SECONDS))

    def fetch(self, file: Attachment | str, *, limit: int = MAX_FILE) -> Fetched:
        """Fetch a file that a member has sent.

        Args:
            file: The content of the message, or its id.
            limit: The largest size in bytes.

        Raises:
            RequestRefused: The channel does not give it, or it is too large.
        """
        return self._run(self.api.fetch(file.id if isinstance(file, Attachment) else file, limit), FILE_SECONDS)

    def store(self, content: bytes, mime_type: str, name: str = "") -> str:
        """Store a file at the channel, and return its id, which is the source of a `Media` or a `File`.

        Args:
            content: The bytes of the file.
            mime_type: Its type, such as "image/png".
            name: Its name.

        Raises:
            RequestRefused: The channel does not take it.
        """
        return self._run(self.api.store(content, mime_type, name), FILE_SECONDS)

    def publish(self, bot: Bot) -> bool:
        """Tell the channel the commands of a bot, which it shows to members. Return whether the channel can.

        Call it when the bot is deployed, and not at each start of a process.

        Raises:
            RequestRefused: The channel has refused them.
        """
        return self._run(self.api.publish(bot), FILE_SECONDS)

    def read(self, message: Message) -> bool:
        """Mark a message as read. Return whether the channel can.

        Raises:
            RequestRefused: The channel has refused it.
        """
        request = self.api.read(message)
        if request is None:
            return False
        if error := self._refused(self._connection.perform(request, time.monotonic() + SEND_SECONDS)):
            raise error
        return True

    @contextmanager
    def working(self, message: Message, *, after: float = WORK_AFTER) -> Generator[None]:
        """Show the member that a reply is being prepared, if the block takes longer than `after` seconds.

        `with client.working(message): manager.handle(message)`. On WhatsApp the message is marked as read then. What
        the channel answers to the sign is passed over.
        """
        done = threading.Event()
        request = self.api.working(message)
        if request is not None:
            threading.Thread(target=self._show, args=(request, done, after), daemon=True).start()
        try:
            yield
        finally:
            done.set()

    def _show(self, request: HttpRequest, done: threading.Event, after: float) -> None:
        """Show the sign of work until the block ends."""
        if done.wait(after):
            return
        for _ in range(WORK_SIGNS):
            self._connection.perform(request, time.monotonic() + SEND_SECONDS)
            if self.api.works_for is None or done.wait(self.api.works_for):
                return

    def _run(self, procedure: Coroutine[HttpRequest, HttpResponse | NoResponse | None, R], seconds: float) -> R:
        """Do the requests of a procedure."""
        until = time.monotonic() + seconds
        response: HttpResponse | NoResponse | None = None
        while True:
            try:
                request = procedure.send(response)
            except StopIteration as end:
                result: R = end.value
                return result
            response = self._connection.perform(request, until)


class AsyncChannelClient(_Client):
    """A channel with its connection, for one event loop. It is an `AsyncWebChannel`. See `ChannelClient`.

    Args:
        api: The API.
        transport: An async transport of httpx2. It is closed with the client.
        carrier: What makes the requests in place of httpx2.
        today: Returns the present day, in UTC.
    """

    def __init__(
        self,
        api: Api,
        *,
        transport: AsyncTransport | None = None,
        carrier: AsyncCarrier | None = None,
        today: Callable[[], date] = _today,
    ) -> None:
        super().__init__(api, today)
        if carrier is None:
            from vimbiso_fsm.web.http import AsyncConnection

            carrier = AsyncConnection(transport)
        self._connection = carrier

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._connection.close()

    async def send(self, channel: Channel, replies: Sequence[Reply], key: str = "") -> Answer:
        """Send replies. See `WebChannel.send`."""
        self._warn()
        return self._ended(key, await self._run(self.api.send(channel, replies, self._progress.of(key)), SEND_SECONDS))

    async def fetch(self, file: Attachment | str, *, limit: int = MAX_FILE) -> Fetched:
        """Fetch a file that a member has sent. See `ChannelClient.fetch`."""
        return await self._run(self.api.fetch(file.id if isinstance(file, Attachment) else file, limit), FILE_SECONDS)

    async def store(self, content: bytes, mime_type: str, name: str = "") -> str:
        """Store a file at the channel. See `ChannelClient.store`."""
        return await self._run(self.api.store(content, mime_type, name), FILE_SECONDS)

    async def publish(self, bot: Bot) -> bool:
        """Tell the channel the commands of a bot. See `ChannelClient.publish`."""
        return await self._run(self.api.publish(bot), FILE_SECONDS)

    async def read(self, message: Message) -> bool:
        """Mark a message as read. See `ChannelClient.read`."""
        request = self.api.read(message)
        if request is None:
            return False
        if error := self._refused(await self._connection.perform(request, time.monotonic() + SEND_SECONDS)):
            raise error
        return True

    @asynccontextmanager
    async def working(self, message: Message, *, after: float = WORK_AFTER) -> AsyncGenerator[None]:
        """Show the member that a reply is being prepared. See `ChannelClient.working`."""
        from asyncio import create_task

        request = self.api.working(message)
        task = None if request is None else create_task(self._show(request, after))
        try:
            yield
        finally:
            if task is not None:
                task.cancel()

    async def _show(self, request: HttpRequest, after: float) -> None:
        """Show the sign of work until the block ends."""
        from asyncio import sleep

        await sleep(after)
        for _ in range(WORK_SIGNS):
            await self._connection.perform(request, time.monotonic() + SEND_SECONDS)
            if self.api.works_for is None:
                return
            await sleep(self.api.works_for)

    async def _run(self, procedure: Coroutine[HttpRequest, HttpResponse | NoResponse | None, R], seconds: float) -> R:
        """Do the requests of a procedure."""
        until = time.monotonic() + seconds
        response: HttpResponse | NoResponse | None = None
        while True:
            try:
                request = procedure.send(response)
            except StopIteration as end:
                result: R = end.value
                return result
            response = await self._connection.perform(request, until)
