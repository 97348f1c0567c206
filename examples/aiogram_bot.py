"""A barber on Telegram with aiogram 3. `/hours` is a command of the bot's own; all else is the conversation.

pip install "vimbiso_fsm[aiogram,embedded]" && BOT_TOKEN=… python examples/aiogram_bot.py
"""

import asyncio
import os

import aiogram
import attrs
from aiogram.filters import Command

from vimbiso_fsm import AsyncFlowStateManager, AsyncWorker, Bot, Flow, State, Text, Transition, readers
from vimbiso_fsm.adapters import aiogram as adapter
from vimbiso_fsm.web import AsyncChannelClient


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


async def hours(message: aiogram.types.Message) -> None:
    await message.answer("We are open from 9 to 5.")


def dispatcher_of(manager: AsyncFlowStateManager, client: AsyncChannelClient) -> aiogram.Dispatcher:
    dispatcher = aiogram.Dispatcher()
    dispatcher.message.register(hours, Command("hours"))
    dispatcher.include_router(adapter.router(manager, client))
    return dispatcher


async def main() -> None:
    bot = aiogram.Bot(os.environ["BOT_TOKEN"])
    client = adapter.client(bot)
    manager = AsyncFlowStateManager.embedded("data", barber, senders={"telegram": client.send})
    async with manager, asyncio.TaskGroup() as tasks:
        tasks.create_task((worker := AsyncWorker(manager)).run())  # it sends what timers say
        await dispatcher_of(manager, client).start_polling(bot)
        worker.stop()


if __name__ == "__main__":
    asyncio.run(main())
