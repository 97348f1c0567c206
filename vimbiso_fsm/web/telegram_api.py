"""The Telegram Bot API: messages, files, and the sign of work.

Telegram takes no key that would make a repeated request harmless. Its documentation names no table of errors: the
status tells the kind, and of a status 400 the words do. `retry_after` comes in the body.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Final
from urllib.parse import quote

import attrs

from vimbiso_fsm.channels import telegram, telegram_presses
from vimbiso_fsm.channels.delivery import NUMBER, OBJECT, TEXT, Delivery, attempted, maybe
from vimbiso_fsm.errors import RequestRefused
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.replies import Reply
from vimbiso_fsm.messages.sending import Answer, Never, Sent
from vimbiso_fsm.web.api import Api, Fetched
from vimbiso_fsm.web.forms import multipart
from vimbiso_fsm.web.refusals import Kind, Refusal, of_no_response, of_status
from vimbiso_fsm.web.requests import HttpRequest, HttpResponse, NoResponse
from vimbiso_fsm.web.settings import address, optional_secret, secret, without_slash
from vimbiso_fsm.web.telegram_commands import lists_of

NO_TOPIC: Final = "message thread not found"
"""The words of an error: the topic in which the member has written is gone."""
SAME: Final = "message is not modified"
"""The words of an error: the message is as it should become."""

WORDS: Final[Sequence[tuple[str, Kind, str]]] = (
    (NO_TOPIC, "content", "the topic is gone"),
    ("chat not found", "address", "the chat is not known to the bot"),
    ("user not found", "address", "the member does not exist"),
    ("PEER_ID_INVALID", "address", "the chat is not known to the bot"),
    ("USER_IS_BLOCKED", "address", "the member has blocked the bot"),
    ("BUSINESS_PEER", "address", "the business may not write to the member now"),
    ("BUSINESS_CONNECTION", "address", "the connection of the business is gone"),
    ("business connection not found", "address", "the connection of the business is gone"),
    ("upgraded to a supergroup", "address", "the chat has another id"),
    ("failed to get HTTP URL content", "content", "the file could not be fetched"),
    ("wrong file identifier", "content", "the file does not exist"),
    ("wrong type of the web page content", "content", "the file is of another type"),
    ("BUTTON_", "content", "a button is invalid"),
    ("message is too long", "content", "the text is too long"),
    ("message text is empty", "content", "the text is empty"),
)
"""What the words of a status 400 mean. Other ones mean that the message is refused."""


@attrs.frozen(eq=False, repr=False, kw_only=True)
class BotMethod(HttpRequest):
    """The request of a method of the Bot API. The client of another library calls the method by its name.

    Attributes:
        name: The name, such as "sendMessage".
        parameters: The parameters. One that is None is named so that no default of a library takes its place.
    """

    name: str
    parameters: Mapping[str, Any]


def taken(result: object) -> HttpResponse:
    """Return the response of the Bot API with the result of a method."""
    return HttpResponse(200, {}, json.dumps({"ok": True, "result": result}).encode())


def declined(status: int, words: str = "", retry_after: float | None = None) -> HttpResponse:
    """Return the response of the Bot API that refuses a method.

    Args:
        status: The HTTP status.
        words: The description of the error.
        retry_after: The seconds that Telegram asks to wait.
    """
    parameters = {} if retry_after is None else {"parameters": {"retry_after": math.ceil(retry_after)}}
    body = {"ok": False, "error_code": status, "description": words, **parameters}
    return HttpResponse(status, {}, json.dumps(body).encode())


@attrs.frozen(kw_only=True)
class TelegramApi(Api):
    """The Telegram Bot API.

    Attributes:
        token: The token of the bot.
        secret_token: What was given to `setWebhook`. Without one no webhook is accepted.
        account: The name of the bot, where an embedder has several.
        business: Whether the bot answers for a connected business account; see `telegram.parse`.
        store_chat: The id of a chat to which the bot sends the files that it stores.
        base: The address of the API.

    Raises:
        ValueError: A setting is none.
    """

    name: ClassVar[str] = "Telegram Bot API"
    works_for: ClassVar[float | None] = 4.5  # the sign ends after 5 seconds

    token: str = attrs.field(repr=False, validator=secret)
    secret_token: str = attrs.field(default="", repr=False, validator=optional_secret)
    account: str = ""
    business: bool = False
    store_chat: str = attrs.field(default="", converter=str)
    base: str = attrs.field(default="https://api.telegram.org", converter=without_slash, validator=address)

    @property
    def missing_secrets(self) -> tuple[str, ...]:
        """The names of settings that are empty, and without which `verify` accepts no request."""
        return () if self.secret_token else ("secret_token",)

    def verify(self, headers: Mapping[str, str], raw: bytes, url: str) -> bool:
        """Return whether the request has the secret."""
        return telegram.verify(headers, raw, url, secret=self.secret_token)

    def parse(self, body: bytes, *, now: datetime | None = None) -> Delivery:
        """Read one update."""
        return telegram.parse(body, account=self.account, now=now, business=self.business)

    def render(self, channel: Channel, replies: Iterable[Reply]) -> list[dict[str, Any]]:
        """Write the parameters that send `replies`."""
        return telegram.render(channel, replies)

    async def send(self, channel: Channel, replies: Sequence[Reply], done: list[str | Never]) -> Answer:
        """Send replies. See `Api.send`, and `telegram_presses` for the replies to a pressed button.

        What has become of the pressed message shows whether these are its replies: the query of an earlier press is
        too old to be answered.
        """
        query = telegram_presses.query_of(channel)
        if not query or done:
            return await Api.send(self, channel, replies, done)
        response = await self._method("answerCallbackQuery", {"callback_query_id": query})
        if not isinstance(response, HttpResponse) or not response.is_success:
            return await Api.send(self, channel, replies, done)
        if (page := telegram_presses.in_place(channel, self.render(channel, replies))) is not None:
            response = await self._method("editMessageText", page)
            if isinstance(response, HttpResponse) and (response.is_success or SAME in _words(response)):
                return Sent(str(page["message_id"]))
        answer = await Api.send(self, channel, replies, done)
        over = telegram_presses.without_buttons(channel)
        if over is not None and isinstance(answer, Sent):
            await self._method("editMessageReplyMarkup", over)  # the reply is there, whatever becomes of this
        return answer

    async def attempt(self, channel: Channel, payload: Mapping[str, Any]) -> Answer:
        """Send one payload. Where its topic is gone, it goes to the chat."""
        response = await self.post(channel, payload)
        if isinstance(response, HttpResponse) and NO_TOPIC in _words(response) and "message_thread_id" in payload:
            rest = {name: value for name, value in payload.items() if name != "message_thread_id"}
            return await self.attempt(channel, rest)
        result = of_no_response(response) if isinstance(response, NoResponse) else self.outcome(response)
        return result if isinstance(result, Sent) else result.answer(self.name)

    def post(self, channel: Channel, payload: Mapping[str, Any]) -> HttpRequest:
        """Return the request that sends a payload, by the method that it names."""
        parameters = {name: value for name, value in payload.items() if name != "method"}
        return self._method(payload.get("method", "sendMessage"), parameters)

    def _method(self, method: str, parameters: Mapping[str, Any]) -> BotMethod:
        content = json.dumps({name: value for name, value in parameters.items() if value is not None}).encode()
        headers = {"Content-Type": "application/json"}
        return BotMethod("POST", self._url(method), headers, content, name=method, parameters=parameters)

    def _url(self, method: str) -> str:
        return f"{self.base}/bot{self.token}/{method}"

    def outcome(self, response: HttpResponse) -> Sent | Refusal:
        """Return what the response to a message says."""
        data = response.data() or {}
        if response.is_success:
            id = attempted(lambda: maybe(data, "result.message_id", NUMBER)) if data.get("ok") is True else None
            return Sent(str(id)) if id is not None else of_status(response, is_vendors=False)
        if data.get("ok") is not False:
            return of_status(response, is_vendors=False)
        code = str(response.status)
        match response.status:
            case 429:
                seconds = attempted(lambda: maybe(data, "parameters.retry_after", NUMBER))
                return Refusal("busy", "too many requests", code, seconds or response.retry_after)
            case 401 | 404:
                return Refusal("operator", "the token of the bot is not accepted", code)
            case 403:
                return Refusal("address", "the member has blocked the bot, or is gone", code)
            case 400:
                told = _words(response)
                found = (each for each in WORDS if each[0].lower() in told)
                _, kind, reason = next(found, ("", "content", "the message is refused"))
                return Refusal(kind, reason, code)
            case _:
                return of_status(response, is_vendors=True)

    def working(self, message: Message) -> HttpRequest | None:
        """Return the request that shows that the bot is typing."""
        chat: dict[str, Any] = {"chat_id": message.channel.identifier, "action": "typing"}
        place = message.channel.reply_to
        for name, parameter in (("topic", "message_thread_id"), ("business", "business_connection_id")):
            if place.get(name):
                chat[parameter] = place[name]
        return self._method("sendChatAction", chat)

    async def publish(self, bot: Bot) -> bool:
        """Tell Telegram the commands of a bot, in each language of its texts."""
        for commands in lists_of(bot):
            response = await self._method("setMyCommands", commands)
            if isinstance(response, NoResponse) or not response.is_success:
                raise self.refused(response)
        return True

    async def fetch(self, file_id: str, limit: int) -> Fetched:
        """Fetch a file that a member has sent, of at most 20 MB. Telegram does not tell its type."""
        told = await self._method("getFile", {"file_id": file_id})
        data = None if isinstance(told, NoResponse) or not told.is_success else told.data()
        file = None if data is None else attempted(lambda: maybe(data, "result", OBJECT))
        path = None if file is None else attempted(lambda: maybe(file, "file_path", TEXT))
        if file is None or not path:
            raise self.refused(told)
        size = file.get("file_size")
        if isinstance(size, int) and size > limit:
            raise RequestRefused(self.name, "content", f"the file has {size} bytes, the limit is {limit}")
        url = f"{self.base}/file/bot{self.token}/{quote(path)}"
        return Fetched(self.file_of(await HttpRequest("GET", url, limit=limit)).body)

    async def store(self, content: bytes, mime_type: str, name: str) -> str:
        """Store a file, by sending it to `store_chat`. Its id is the source of a `File`."""
        if not self.store_chat:
            raise RequestRefused(self.name, "operator", "it stores files in a chat only; give store_chat=…")
        kind, body = multipart({"chat_id": self.store_chat}, "document", name, mime_type, content)
        response = await HttpRequest("POST", self._url("sendDocument"), {"Content-Type": kind}, body)
        data = None if isinstance(response, NoResponse) or not response.is_success else response.data()
        id = None if data is None else attempted(lambda: maybe(data, "result.document.file_id", TEXT))
        if not id:
            raise self.refused(response)
        return id


def _words(response: HttpResponse) -> str:
    """Return the words of an error, in lower case."""
    description = (response.data() or {}).get("description")
    return description.lower() if isinstance(description, str) and not response.is_success else ""
