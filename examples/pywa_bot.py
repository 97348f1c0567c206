"""A barber on WhatsApp with pywa, which serves and verifies the webhook. "hours" is answered by the bot itself.

pip install "vimbiso_fsm[pywa,embedded]" fastapi uvicorn
WA_NUMBER=… WA_TOKEN=… WA_SECRET=… WA_VERIFY=… python examples/pywa_bot.py
"""

import os
from typing import Any

import attrs
from fastapi import FastAPI
from pywa import filters, handlers
from pywa.client import WhatsApp

from vimbiso_fsm import Bot, Flow, FlowStateManager, State, Text, Transition, readers
from vimbiso_fsm.adapters import pywa as adapter
from vimbiso_fsm.web import ChannelClient


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


def hours(_: WhatsApp, message: Any) -> None:
    message.reply("We are open from 9 to 5.")


def serve(whatsapp: WhatsApp, manager: FlowStateManager, client: ChannelClient) -> None:
    whatsapp.add_handlers(handlers.MessageHandler(hours, filters.matches("hours", ignore_case=True)))
    adapter.attach(whatsapp, manager, client)


if __name__ == "__main__":
    import uvicorn

    app, env = FastAPI(), os.environ
    whatsapp = WhatsApp(
        env["WA_NUMBER"], env["WA_TOKEN"], server=app, app_secret=env["WA_SECRET"], verify_token=env["WA_VERIFY"]
    )
    client = adapter.client(whatsapp)
    manager = FlowStateManager.embedded("data", barber, senders={"whatsapp": client.send})
    serve(whatsapp, manager, client)
    uvicorn.run(app)
