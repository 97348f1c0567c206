"""python-telegram-bot: a handler for an application, and a client that sends with its `telegram.Bot`."""

from __future__ import annotations

import re
from typing import Any

from telegram import Bot, Update
from telegram.error import TelegramError
from telegram.ext import BaseHandler

from vimbiso_fsm.adapters.taking import read, take
from vimbiso_fsm.adapters.telegram import BotCarrier, answered, as_sent, failed
from vimbiso_fsm.channels import Delivery
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager
from vimbiso_fsm.web.client import AsyncChannelClient
from vimbiso_fsm.web.requests import HttpResponse, NoResponse


class _Carrier(BotCarrier):
    def __init__(self, bot: Bot) -> None:
        self._bot = bot

    async def call(self, name: str, parameters: dict[str, Any], seconds: float) -> HttpResponse | NoResponse:
        if "commands" in parameters:  # the library takes them as pairs
            parameters["commands"] = [tuple(each.values()) for each in parameters["commands"]]
        method = getattr(self._bot, re.sub("[A-Z]", lambda found: f"_{found[0].lower()}", name))
        try:
            return answered(await method(**parameters, read_timeout=seconds))
        except TelegramError as error:
            return failed(error)


class _Handler(BaseHandler[Update, Any, None]):
    def __init__(self, manager: AsyncFlowStateManager, client: AsyncChannelClient) -> None:
        async def unused(update: Update, context: Any) -> None: ...

        super().__init__(unused)
        self._manager, self._client = manager, client

    def check_update(self, update: object) -> Delivery | None:
        return read(self._client, as_sent(update.to_json())) if isinstance(update, Update) else None

    async def handle_update(self, update: Update, application: Any, check_result: Any, context: Any) -> None:
        await take(self._manager, self._client, check_result)


def client(bot: Bot, *, account: str = "", business: bool = False) -> AsyncChannelClient:
    """Return a client that sends with a bot. Its `send` is a sender: `senders={"telegram": client.send}`."""
    return _Carrier(bot).client(bot.token, account, business)


def handler(manager: AsyncFlowStateManager, client: AsyncChannelClient) -> BaseHandler[Update, Any, None]:
    """Return a handler that takes what members say to the bot. Add it after the bot's own handlers of the group."""
    return _Handler(manager, client)
