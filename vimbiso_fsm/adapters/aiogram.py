"""aiogram 3: a router for the dispatcher of a bot, and a client that sends with its `aiogram.Bot`."""

from __future__ import annotations

from typing import Any, Final

import aiogram
from aiogram import exceptions, methods, types

from vimbiso_fsm.adapters.taking import read, take
from vimbiso_fsm.adapters.telegram import BotCarrier, answered, failed
from vimbiso_fsm.channels import Delivery
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager
from vimbiso_fsm.web.client import AsyncChannelClient
from vimbiso_fsm.web.requests import HttpResponse, NoResponse

UPDATES: Final = ("message", "edited_message", "callback_query", "my_chat_member", "message_reaction")
"""The updates that the router listens to, which `Dispatcher.resolve_used_update_types` therefore names."""
BUSINESS: Final = ("business_connection", "business_message", "edited_business_message", "deleted_business_messages")


class _Carrier(BotCarrier):
    def __init__(self, bot: aiogram.Bot) -> None:
        self._bot = bot

    async def call(self, name: str, parameters: dict[str, Any], seconds: float) -> HttpResponse | NoResponse:
        method = getattr(methods, name[0].upper() + name[1:])(**parameters)
        try:
            return answered(await self._bot(method, request_timeout=max(1, round(seconds))))
        except exceptions.AiogramError as error:
            return failed(error)


def client(bot: aiogram.Bot, *, account: str = "", business: bool = False) -> AsyncChannelClient:
    """Return a client that sends with a bot. Its `send` is a sender: `senders={"telegram": client.send}`."""
    return _Carrier(bot).client(bot.token, account, business)


def router(manager: AsyncFlowStateManager, client: AsyncChannelClient) -> aiogram.Router:
    """Return a router that takes what members say to the bot. Include it after the bot's own routers."""
    made = aiogram.Router(name="vimbiso_fsm")

    async def ours(_: types.TelegramObject, event_update: types.Update) -> dict[str, Delivery] | bool:
        delivery = read(client, event_update.model_dump_json(by_alias=True, exclude_unset=True).encode())
        return False if delivery is None else {"delivery": delivery}

    async def handle(_: types.TelegramObject, delivery: Delivery) -> None:
        await take(manager, client, delivery)

    for name in (*UPDATES, *BUSINESS) if getattr(client.api, "business", False) else UPDATES:
        made.observers[name].register(handle, ours)
    return made
