"""The framework's own flow, which offers an interrupted flow back to the member."""

from __future__ import annotations

from typing import Final

import attrs

from vimbiso_fsm.flow.flow import Flow
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.flow.turn import Turn
from vimbiso_fsm.messages.replies import Text


@attrs.frozen
class CarryOn:
    """The data of the framework's own flow.

    Attributes:
        left: The name of the interrupted flow.
    """

    left: str = ""


def _offer_back(turn: Turn[CarryOn]) -> Text:
    return Text("carry_on.ask", flow=Text(f"{turn.data.left}.title"))


CARRY_ON: Final = Flow(
    "carry_on",
    data=CarryOn,
    initial="offered",
    states=[
        State("offered", ask=_offer_back),
        State("taken", final=True),
        State("dropped", say=Text("carry_on.dropped"), final=True, cancels=True),
    ],
    transitions=[
        Transition("yes", "offered", "taken"),
        Transition("no", "offered", "dropped"),
    ],
)
"""Offers an interrupted flow back to a member who wrote "menu" in the middle of it."""
