"""The bot of the trials with aiogram 3: its finite state machine, and its storage on Redis."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Any

from aiogram import Bot, Dispatcher, Router
from aiogram.client.session.base import BaseSession
from aiogram.filters import StateFilter
from aiogram.fsm.context import FSMContext
from aiogram.fsm.state import State, StatesGroup
from aiogram.fsm.storage.redis import RedisStorage
from aiogram.types import Chat, Message

from tests.peers.worker import URL, Bank, serve


class Payment(StatesGroup):
    """The states."""

    amount = State()
    confirm = State()


class Session(BaseSession):
    """Keeps what the bot sends."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    async def make_request(self, bot: Bot, method: Any, timeout: int | None = None) -> Any:  # noqa: ASYNC109  # its name
        """Answer as Telegram does."""
        self.said.append(method.text)
        return Message(message_id=1, date=datetime.now(UTC), chat=Chat(id=11, type="private"), text=method.text)

    async def close(self) -> None:
        """Close nothing."""

    async def stream_content(self, *_: Any, **__: Any) -> AsyncGenerator[bytes, None]:
        """Stream nothing."""
        yield b""


router = Router()


@router.message(StateFilter(None))
async def begin(message: Message, state: FSMContext) -> None:
    """Begin the conversation."""
    await state.set_state(Payment.amount)
    await message.answer("How much?")


@router.message(Payment.amount)
async def amount(message: Message, state: FSMContext) -> None:
    """Read the amount."""
    if not (message.text or "").isdigit():
        await message.answer("A number, please.")
        return
    await state.update_data(amount=int(message.text or ""))
    await state.set_state(Payment.confirm)
    await message.answer("Pay it?")


@router.message(Payment.confirm)
async def confirm(message: Message, state: FSMContext, bank: Bank) -> None:
    """Pay."""
    if message.text != "yes":
        await message.answer("Pay it?")
        return
    data = await state.get_data()
    await asyncio.to_thread(bank.pay, data["amount"])
    await state.clear()
    await message.answer("Paid.")


async def main() -> None:
    """Serve the bot."""
    session, storage = Session(), RedisStorage.from_url(URL)
    isolation = storage.create_isolation() if os.environ.get("ISOLATION") else None  # none is its default
    dispatcher = Dispatcher(storage=storage, events_isolation=isolation, bank=Bank())
    dispatcher.include_router(router)
    bot = Bot("12345:token", session=session)

    async def handle(id_: int, text: str) -> list[str]:
        session.said = []
        person = {"id": 11, "is_bot": False, "first_name": "Ada"}
        told = {"message_id": id_, "from": person, "chat": {"id": 11, "type": "private"}, "date": 1_760_000_000}
        await dispatcher.feed_raw_update(bot, {"update_id": id_, "message": {**told, "text": text}})
        return session.said

    await serve(handle)


if __name__ == "__main__":
    asyncio.run(main())
