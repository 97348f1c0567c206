"""The API of a channel without I/O: its format, its secrets, and the procedures that send and fetch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, ClassVar, Final

import attrs

from vimbiso_fsm.channels.delivery import Delivery
from vimbiso_fsm.errors import RequestRefused
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.replies import Reply
from vimbiso_fsm.messages.sending import Answer, Never, Sent
from vimbiso_fsm.web.refusals import Refusal, of_no_response
from vimbiso_fsm.web.requests import HttpRequest, HttpResponse, NoResponse

MAX_FILE: Final = 100 << 20
"""Bytes of a file that is fetched, at most."""


@attrs.frozen
class Fetched:
    """A file that a member has sent.

    Attributes:
        content: Its bytes.
        mime_type: Its type as the channel tells it, such as "image/jpeg"; empty if it is not told.
    """

    content: bytes = attrs.field(repr=False)
    mime_type: str = ""


class Api(ABC):
    """The API of a channel. Give it to a `ChannelClient` or an `AsyncChannelClient`, which do its requests."""

    name: ClassVar[str]
    """The name of the API in errors and logs."""
    works_for: ClassVar[float | None] = None
    """Seconds after which the sign that a reply is being prepared is shown again; None if once is enough."""
    shakes_hands: ClassVar[bool] = False
    """Whether the first request to a webhook is a GET with a token, as those of Meta."""

    @property
    def missing_secrets(self) -> tuple[str, ...]:
        """The names of settings that are empty, and without which `verify` accepts no request."""
        return ()

    @abstractmethod
    def verify(self, headers: Mapping[str, str], raw: bytes, url: str) -> bool:
        """Return whether a webhook request comes from the channel. See `ChannelFormat.verify`."""

    @abstractmethod
    def parse(self, body: bytes, *, now: datetime | None = None) -> Delivery:
        """Read the body of a webhook request. See `ChannelFormat.parse`."""

    @abstractmethod
    def render(self, channel: Channel, replies: Iterable[Reply]) -> list[dict[str, Any]]:
        """Write the payloads that send `replies`. See `ChannelFormat.render`."""

    @abstractmethod
    def post(self, channel: Channel, payload: Mapping[str, Any]) -> HttpRequest:
        """Return the request that sends a payload of `render`."""

    @abstractmethod
    def outcome(self, response: HttpResponse) -> Sent | Refusal:
        """Return what a response to `post` says."""

    def working(self, message: Message) -> HttpRequest | None:
        """Return the request that shows the member that a reply is being prepared; None if there is none."""
        return None

    def read(self, message: Message) -> HttpRequest | None:
        """Return the request that marks a message as read; None if there is none."""
        return None

    def warning(self, today: date) -> str:
        """Return a warning for operators about the settings; empty without one."""
        return ""

    async def send(self, channel: Channel, replies: Sequence[Reply], done: list[str | Never]) -> Answer:
        """Send replies, each of their messages after the one before.

        A message that is refused for its content does not hold up the next ones: a picture that is gone must not take
        the question with it. The answer tells of the first one that was refused.

        Args:
            channel: The channel of the member.
            replies: The replies with their final words.
            done: What became of each message in earlier attempts: its id, or the refusal. It is added to.

        Raises:
            SendUnknown: It is not known whether a message was taken.
        """
        payloads = self.render(channel, replies)
        for payload in payloads[len(done) :]:
            answer = await self.attempt(channel, payload)
            if isinstance(answer, Sent):
                done.append(answer.ids[0] if answer.ids else "")
            elif isinstance(answer, Never) and not answer.address:
                done.append(answer)
            else:
                return answer
        refused = [each for each in done if isinstance(each, Never)]
        if not refused:
            return Sent([each for each in done if isinstance(each, str)])
        if len(refused) == len(done):
            return refused[0]
        return attrs.evolve(refused[0], reason=f"{len(refused)} of {len(done)} messages: {refused[0].reason}")

    async def attempt(self, channel: Channel, payload: Mapping[str, Any]) -> Answer:
        """Send one payload.

        Raises:
            SendUnknown: It is not known whether it was taken.
        """
        result = self._result(await self.post(channel, payload))
        return result if isinstance(result, Sent) else result.answer(self.name)

    def _result(self, response: HttpResponse | NoResponse) -> Sent | Refusal:
        return of_no_response(response) if isinstance(response, NoResponse) else self.outcome(response)

    async def publish(self, bot: Bot) -> bool:
        """Tell the channel the commands of a bot. See `ChannelClient.publish`.

        Raises:
            RequestRefused: The channel has refused them.
        """
        return False

    async def fetch(self, file_id: str, limit: int) -> Fetched:
        """Fetch a file that a member has sent.

        Args:
            file_id: `Attachment.id`.
            limit: The largest size in bytes.

        Raises:
            RequestRefused: The channel does not give it, or it is too large.
        """
        raise RequestRefused(self.name, "operator", "it has no files")

    async def store(self, content: bytes, mime_type: str, name: str) -> str:
        """Store a file at the channel. See `ChannelClient.store`.

        Raises:
            RequestRefused: The channel does not take it.
        """
        raise RequestRefused(self.name, "operator", "it stores no files; give a reply the address of one")

    def refused(self, response: HttpResponse | NoResponse) -> RequestRefused:
        """Return the error of a request that has no answer as it should."""
        result = self._result(response)
        if isinstance(result, Sent):
            return RequestRefused(self.name, "unknown", "the response is not as it should be")
        return RequestRefused(self.name, result.kind, result.reason, result.code, result.seconds)

    def file_of(self, response: HttpResponse | NoResponse) -> HttpResponse:
        """Return the response that holds a file.

        Raises:
            RequestRefused: It holds none.
        """
        if isinstance(response, HttpResponse) and response.is_success:
            return response
        if isinstance(response, HttpResponse) and response.status in (404, 410):
            raise RequestRefused(self.name, "content", "the file is gone", f"HTTP {response.status}")
        raise self.refused(response)
