"""The bot of the trials with python-telegram-bot: a persistent ConversationHandler, kept in a file."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

from telegram import Update
from telegram.ext import ApplicationBuilder, ConversationHandler, MessageHandler, PicklePersistence, filters
from telegram.request import BaseRequest, RequestData

from tests.peers.worker import FOLDER, Bank, serve

AMOUNT, CONFIRM = range(2)
bank = Bank()


class Request(BaseRequest):
    """Keeps what the bot sends."""

    def __init__(self) -> None:
        self.said: list[str] = []

    @property
    def read_timeout(self) -> float | None:
        """No timeout."""
        return None

    async def initialize(self) -> None:
        """Open nothing."""

    async def shutdown(self) -> None:
        """Close nothing."""

    async def do_request(
        self, url: str, method: str, request_data: RequestData | None = None, *_: Any, **__: Any
    ) -> tuple[int, bytes]:
        """Answer as Telegram does."""
        if url.endswith("getMe"):
            result: Any = {"id": 12345, "is_bot": True, "first_name": "Bot", "username": "bot"}
        else:
            assert request_data is not None
            self.said.append(str(request_data.parameters["text"]))
            result = {"message_id": 1, "date": 1_760_000_000, "chat": {"id": 11, "type": "private"}, "text": "-"}
        return 200, json.dumps({"ok": True, "result": result}).encode()


async def begin(update: Any, context: Any) -> int:
    """Begin the conversation."""
    await update.message.reply_text("How much?")
    return AMOUNT


async def amount(update: Any, context: Any) -> int:
    """Read the amount."""
    if not update.message.text.isdigit():
        await update.message.reply_text("A number, please.")
        return AMOUNT
    context.user_data["amount"] = int(update.message.text)
    await update.message.reply_text("Pay it?")
    return CONFIRM


async def confirm(update: Any, context: Any) -> int:
    """Pay."""
    if update.message.text != "yes":
        await update.message.reply_text("Pay it?")
        return CONFIRM
    await asyncio.to_thread(bank.pay, context.user_data["amount"])
    await update.message.reply_text("Paid.")
    return ConversationHandler.END


conversation: Any = ConversationHandler(
    entry_points=[MessageHandler(filters.TEXT, begin)],
    states={AMOUNT: [MessageHandler(filters.TEXT, amount)], CONFIRM: [MessageHandler(filters.TEXT, confirm)]},
    fallbacks=[],
    name="payment",
    persistent=True,
)


async def main() -> None:
    """Serve the bot."""
    request = Request()
    persistence: Any = PicklePersistence(f"{FOLDER}/bot.pickle")
    builder: Any = ApplicationBuilder().token("12345:token").request(request).get_updates_request(Request())
    application = builder.persistence(persistence).build()
    application.add_handler(conversation)
    await application.initialize()
    await application.start()

    async def handle(id_: int, text: str) -> list[str]:
        request.said = []
        person = {"id": 11, "is_bot": False, "first_name": "Ada"}
        told = {"message_id": id_, "from": person, "chat": {"id": 11, "type": "private"}, "date": 1_760_000_000}
        update = Update.de_json({"update_id": id_, "message": {**told, "text": text}}, application.bot)
        await application.process_update(update)
        if os.environ.get("FLUSH"):
            await application.update_persistence()
        return request.said

    await serve(handle)
    await application.stop()
    await application.shutdown()


if __name__ == "__main__":
    asyncio.run(main())
