"""A barber on Telegram in a FastAPI app: the webhooks are mounted beside the routes of the app itself.

pip install "vimbiso_fsm[serve,embedded]" fastapi
BOT_TOKEN=… BOT_SECRET=… BASE=https://… uvicorn --factory examples.fastapi_bot:made
"""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import attrs
from fastapi import FastAPI

from vimbiso_fsm import AsyncFlowStateManager, Bot, Flow, State, Text, Transition, readers
from vimbiso_fsm.web import AsyncChannelClient, TelegramApi
from vimbiso_fsm.web.app import app


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


def serving(client: AsyncChannelClient, manager: AsyncFlowStateManager, base: str) -> FastAPI:
    """Return the app: /bot/telegram is the webhook, and /hours a route of its own."""

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncGenerator[None]:
        async with manager, client:
            yield

    made = FastAPI(lifespan=life)
    made.add_api_route("/hours", lambda: {"from": 9, "to": 5})
    made.mount("/bot", app(manager, {"telegram": client}, base=base))
    return made


def made() -> FastAPI:
    """Return the app with its settings from the environment."""
    env = os.environ
    client = AsyncChannelClient(TelegramApi(token=env["BOT_TOKEN"], secret_token=env["BOT_SECRET"]))
    manager = AsyncFlowStateManager.embedded("data", barber, senders={"telegram": client.send})
    return serving(client, manager, env["BASE"])
