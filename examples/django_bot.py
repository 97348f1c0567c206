"""A barber on WhatsApp in Django: a project of one file with a sync view.

pip install "vimbiso_fsm[django,embedded]"
WA_NUMBER=… WA_TOKEN=… WA_SECRET=… WA_VERIFY=… python examples/django_bot.py runserver 8000
"""

# pyright: reportMissingTypeStubs=false
# Django ships no types.

import os
import sys
from typing import Any

import attrs
from django.conf import settings
from django.core.management import execute_from_command_line
from django.urls import path

from vimbiso_fsm import Bot, Flow, FlowStateManager, State, Text, Transition, readers
from vimbiso_fsm.adapters.django import view
from vimbiso_fsm.web import ChannelClient, CloudApi


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
urlpatterns: list[Any] = []


def add_barber(client: ChannelClient, manager: FlowStateManager, verify_token: str) -> None:
    base = os.environ.get("BASE", "https://bot.example.org")
    urlpatterns.append(path("whatsapp", view(manager, client, base=base, verify_token=verify_token)))


if __name__ == "__main__":
    env = os.environ
    settings.configure(SECRET_KEY=os.urandom(16).hex(), ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"])
    api = CloudApi(token=env["WA_TOKEN"], number_id=env["WA_NUMBER"], app_secret=env["WA_SECRET"])
    whatsapp = ChannelClient(api)
    manager = FlowStateManager.embedded("data", barber, senders={"whatsapp": whatsapp.send})
    add_barber(whatsapp, manager, env["WA_VERIFY"])
    execute_from_command_line(sys.argv)
