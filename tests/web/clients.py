"""Clients of the vendors' APIs, sync and async, for the tests of this package."""

from __future__ import annotations

import asyncio
import inspect
import ssl
from collections.abc import Callable
from typing import Any, TypeAlias

import httpx2
import pytest

from tests.web.vendors import Answer
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.replies import Text
from vimbiso_fsm.web import (
    Api,
    AsyncChannelClient,
    ChannelClient,
    CloudApi,
    TelegramApi,
    TwilioApi,
)

TOKEN = "12345:token-of-the-bot"
SAID = [Text("Hello <Ada>")]
TWO = [Text("One"), Text("Two")]
THREE = [*TWO, Text("Three")]
MEMBERS = {
    "whatsapp": Channel("whatsapp", "263771000001"),
    "telegram": Channel("telegram", "11"),
    "sms": Channel("sms", "263771000001"),
}
PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""A context without certificates, which take long to load. The server here speaks plain HTTP."""


def sync_client(api: Api) -> ChannelClient:
    """Make a client for threads."""
    return ChannelClient(api, transport=httpx2.HTTPTransport(verify=PLAIN))


def async_client(api: Api) -> AsyncChannelClient:
    """Make a client for an event loop."""
    return AsyncChannelClient(api, transport=httpx2.AsyncHTTPTransport(verify=PLAIN))


def api_of(name: str, url: str) -> Api:
    """Return the API of a channel at an address."""
    match name:
        case "whatsapp":
            return CloudApi(token=TOKEN, number_id="106", app_secret="s", base=url)
        case "telegram":
            return TelegramApi(token=TOKEN, secret_token="s", base=url)
        case _:
            return TwilioApi(account_sid="AC1", auth_token=TOKEN, sender="+16505550002", base=url, messaging_base=url)


class Threaded:
    """An `AsyncChannelClient` on an event loop of its own, with the methods of a `ChannelClient`."""

    def __init__(self, api: Api) -> None:
        self._runner = asyncio.Runner()
        self._client = self._runner.run(self._made(api))

    async def _made(self, api: Api) -> AsyncChannelClient:
        return async_client(api)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        if not inspect.iscoroutinefunction(method):
            return method
        return lambda *args, **more: self._runner.run(method(*args, **more))

    def close(self) -> None:
        """Close the client and its loop."""
        self._runner.run(self._client.close())
        self._runner.close()


Maker: TypeAlias = Callable[[Api], Any]


each_channel = pytest.mark.parametrize("name", MEMBERS)


def graph_error(code: int, status: int = 400, **more: Any) -> Answer:
    """Return an error of the Graph API."""
    words = f"(#{code}) 263771000001 said Hello"
    return Answer(status, {"error": {"message": words, "type": "OAuthException", "code": code, **more}})


def bot_error(status: int, words: str, **parameters: Any) -> Answer:
    """Return an error of the Bot API."""
    body = {"ok": False, "error_code": status, "description": words}
    return Answer(status, {**body, "parameters": parameters} if parameters else body)


def twilio_error(code: int, status: int = 400, **headers: str) -> Answer:
    """Return an error of Twilio."""
    words = "The 'To' number +263771000001 is not valid"
    return Answer(status, {"code": code, "message": words, "more_info": "", "status": status}, headers)
