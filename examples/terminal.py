"""A pizzeria at the terminal. Every line is a message; stop it in the middle, start it again, and it goes on there.

pip install "vimbiso_fsm[embedded]"
python examples/terminal.py [FOLDER]
"""

import sys
import uuid

import attrs

from vimbiso_fsm import Bot, Channel, Flow, FlowStateManager, Message, Refused, Row, State, Text, Transition, Turn
from vimbiso_fsm import readers as read
from vimbiso_fsm.channels import terminal

PRICES = {"margherita": "9.00", "funghi": "10.50", "calzone": "12.00"}


@attrs.frozen
class Order:
    """The data of an order."""

    pizza: str = ""
    guest: str = ""


def menu(turn: Turn[Order]) -> list[Row]:
    """Offer the pizzas with their prices."""
    return [Row(pizza, pizza.title(), Text(price)) for pizza, price in PRICES.items()]


def baked_now(turn: Turn[Order]) -> bool | Refused:
    """Guard: the pizza can be baked at this hour."""
    return turn.data.pizza != "calzone" or Refused("No calzone before six, sorry.", field="pizza")


def ready(turn: Turn[Order]) -> Text:
    """Say that the order is in the oven."""
    return Text("{guest}, your {pizza} is in the oven.", guest=turn.data.guest, pizza=turn.data.pizza)


order = Flow(
    "order", data=Order, initial="pizza",
    states=[
        State("pizza", ask=Text("Which pizza?"), rows=menu, into="pizza"),
        State("guest", ask=Text("Under which name?"), reads=read.name(), into="guest"),
        State("ready", say=ready, final=True),
    ],
    transitions=[
        Transition("answer", "pizza", "guest", conditions=baked_now),
        Transition("answer", "guest", "ready"),
    ],
)  # fmt: skip

if __name__ == "__main__":
    you = Channel("terminal", "you")
    with FlowStateManager.embedded(sys.argv[1] if len(sys.argv) > 1 else "data", Bot(order)) as manager:
        for line in sys.stdin:
            outcome = manager.handle(Message(you, id=uuid.uuid4().hex, text=line.strip()))
            print(*terminal.render(you, outcome.replies), sep="\n", flush=True)
