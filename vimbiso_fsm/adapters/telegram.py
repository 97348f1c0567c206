"""What the adapters of Telegram's libraries share: a client whose methods of the Bot API a library calls."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from vimbiso_fsm.adapters.taking import FETCHED_BY_LIBRARY, unanswered
from vimbiso_fsm.web.client import AsyncChannelClient
from vimbiso_fsm.web.requests import HttpRequest, HttpResponse, NoResponse
from vimbiso_fsm.web.telegram_api import BotMethod, TelegramApi, declined, taken

LEAST_TIME: Final = 0.25
"""Seconds that a method is given at least."""
STATUS: Final[Mapping[str, int]] = {
    "BadRequest": 400,
    "ChatMigrated": 400,
    "EntityTooLarge": 413,
    "Forbidden": 403,
    "ForbiddenError": 403,
    "InvalidToken": 401,
    "MigrateToChat": 400,
    "NotFound": 404,
    "UnauthorizedError": 401,
}
"""The statuses of the Bot API, by the names of the errors that libraries make of them, without "Telegram"."""


class BotCarrier(ABC):
    """Calls the methods of the Bot API by the bot of a library. The bot stays the embedder's to close."""

    @abstractmethod
    async def call(self, name: str, parameters: dict[str, Any], seconds: float) -> HttpResponse | NoResponse:
        """Call a method.

        Args:
            name: Its name, such as "sendMessage".
            parameters: Its parameters, as the Bot API names them. None stands for no value, and not for a default.
            seconds: The seconds within which it answers.
        """

    async def perform(self, request: HttpRequest, until: float) -> HttpResponse | NoResponse:
        """Make a request. See `AsyncCarrier.perform`."""
        if not isinstance(request, BotMethod):
            return FETCHED_BY_LIBRARY
        return await self.call(request.name, dict(request.parameters), max(until - time.monotonic(), LEAST_TIME))

    async def close(self) -> None:  # noqa: B027  # it has opened nothing
        """Leave the bot open."""

    def client(self, token: str, account: str, business: bool) -> AsyncChannelClient:
        """Return a client that sends by this carrier."""
        return AsyncChannelClient(TelegramApi(token=token, account=account, business=business), carrier=self)


def as_sent(update: str) -> bytes:
    """Return an update as Telegram has sent it, from the JSON that a library has made: without what is False."""

    def stated(fields: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in fields.items() if value is not False}

    return json.dumps(json.loads(update, object_hook=stated)).encode()


def answered(result: object) -> HttpResponse:
    """Return the response to a method from the object that a library has made of it."""
    message_id = getattr(result, "message_id", None)
    return taken(result is True if message_id is None else {"message_id": message_id})


def failed(error: Exception) -> HttpResponse | NoResponse:
    """Return the response that a library has raised an error for, or that none came."""
    wait: object = getattr(error, "retry_after", None)
    if isinstance(wait, timedelta):
        wait = wait.total_seconds()
    if isinstance(wait, int | float):
        return declined(429, "", wait)
    status = STATUS.get(type(error).__name__.removeprefix("Telegram"))
    if status is None and (error.__cause__ or error.__context__) is not None:  # it is none of Telegram
        return unanswered(error)
    return declined(status or 500, str(getattr(error, "message", "")))
