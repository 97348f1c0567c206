"""A barber on SMS with Twilio's own client. Any server of WSGI takes the webhook, here that of Python.

pip install "vimbiso_fsm[twilio,embedded]"
TWILIO_SID=… TWILIO_TOKEN=… TWILIO_NUMBER=+… BASE=https://… python examples/twilio_bot.py
"""

import os
from typing import Any
from wsgiref.simple_server import make_server

import attrs
from twilio.rest import Client  # pyright: ignore[reportMissingTypeStubs]  # it ships no types

from vimbiso_fsm import Bot, Flow, FlowStateManager, Message, State, Text, Transition, readers
from vimbiso_fsm.adapters import twilio as adapter
from vimbiso_fsm.adapters import wsgi
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


def served(twilio: Any, manager: FlowStateManager, client: ChannelClient, base: str) -> Any:
    """Return the webhook. "hours" is answered without the framework."""

    def hours(message: Message) -> bool:
        if (message.text or "").strip().lower() != "hours":
            return False
        number = f"+{message.channel.identifier}"
        twilio.messages.create(to=number, from_=message.account, body="We are open from 9 to 5.")
        return True

    return wsgi.app(manager, client, base=base, own=hours)


if __name__ == "__main__":
    twilio = Client(os.environ["TWILIO_SID"], os.environ["TWILIO_TOKEN"])
    client = adapter.client(twilio, sender=os.environ["TWILIO_NUMBER"])
    manager = FlowStateManager.embedded("data", barber, senders={"sms": client.send})
    make_server("127.0.0.1", 8000, served(twilio, manager, client, os.environ["BASE"])).serve_forever()
