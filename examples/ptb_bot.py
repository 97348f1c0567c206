"""A barber on Telegram with python-telegram-bot. `/hours` is a command of the bot's own; all else is the conversation.

pip install "vimbiso_fsm[ptb,embedded]" && BOT_TOKEN=… python examples/ptb_bot.py
"""

import os
from typing import Any, TypeAlias

import attrs
from telegram import Update
from telegram.ext import Application, ApplicationBuilder, CommandHandler

from vimbiso_fsm import AsyncFlowStateManager, Bot, Flow, State, Text, Transition, readers
from vimbiso_fsm.adapters import ptb as adapter

AnyApplication: TypeAlias = Application[Any, Any, Any, Any, Any, Any]


@attrs.frozen
class Visit:
    day: str = ""


visit = Flow(
    "visit", data=Visit, initial="day",
    states=[
        State("day", ask=Text("Friday or Saturday?"), reads=readers.choice("Friday", "Saturday"), into="day"),
        State("confirm", ask=lambda turn: Text("A haircut on {day}?", day=turn.data.day)),
        State("booked", say=Text("See you there!"), final=True),
    ],
    transitions=[
        Transition("answer", "day", "confirm"),
        Transition("yes", "confirm", "booked"), Transition("no", "confirm", "day"),
    ],
)  # fmt: skip
barber = Bot(visit, texts={"visit.confirm.yes": "Yes", "visit.confirm.no": "Another day"})


async def hours(update: Update, context: Any) -> None:
    if update.message is not None:
        await update.message.reply_text("We are open from 9 to 5.")


def add_barber(
    application: Application[Any, Any, Any, Any, Any, Any], manager: AsyncFlowStateManager, client: Any
) -> None:
    """Add the command, and then the conversation."""
    application.add_handler(CommandHandler("hours", hours))
    application.add_handler(adapter.handler(manager, client))


if __name__ == "__main__":
    application = ApplicationBuilder().token(os.environ["BOT_TOKEN"]).build()
    client = adapter.client(application.bot)
    manager = AsyncFlowStateManager.embedded("data", barber, senders={"telegram": client.send})
    add_barber(application, manager, client)
    application.run_polling()
