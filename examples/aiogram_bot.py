"""A barber on Telegram: aiogram receives and sends the messages, and one flow holds the conversation.

pip install "vimbiso_fsm[aiogram,embedded]" && BOT_TOKEN=… python examples/aiogram_bot.py
"""

import os

import aiogram
import attrs

from vimbiso_fsm import AsyncFlowStateManager, Bot, Channel, Flow, Message, State, Text, Transition, readers
from vimbiso_fsm.channels import telegram


@attrs.frozen
class Visit:
    """The data of the flow."""

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
dispatcher = aiogram.Dispatcher()


@dispatcher.message(aiogram.F.chat.type == "private")
@dispatcher.callback_query(aiogram.F.message.chat.type == "private")
async def handle(
    event: aiogram.types.Message | aiogram.types.CallbackQuery,
    event_update: aiogram.types.Update,
    event_from_user: aiogram.types.User,
    bot: aiogram.Bot,
    manager: AsyncFlowStateManager,
) -> None:
    """Handle a message or a pressed button, and send the replies."""
    text, pressed = (event.text, None) if isinstance(event, aiogram.types.Message) else (None, event.data)
    channel = Channel("telegram", str(event_from_user.id))
    outcome = await manager.handle(Message(channel, str(event_update.update_id), text, pressed))
    for payload in telegram.render(channel, outcome.replies):
        await bot.send_message(**payload)
    if isinstance(event, aiogram.types.CallbackQuery):
        await event.answer()


if __name__ == "__main__":
    manager = AsyncFlowStateManager.embedded("data", barber)
    dispatcher.shutdown.register(manager.close)
    dispatcher.run_polling(aiogram.Bot(os.environ["BOT_TOKEN"]), manager=manager)
