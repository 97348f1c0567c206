"""Small flows that several cases share, and the channel of their member."""

from __future__ import annotations

import attrs

from vimbiso_fsm import Channel, Flow, NoData, State, Text, Transition

YOU = Channel("whatsapp", "16505550001")


@attrs.frozen
class Answer:
    """The only answer of a flow."""

    value: str = ""


door: Flow[NoData] = Flow(
    "door", initial="shut",
    states=[
        State("shut", ask=Text("Open?")),
        State("open", say=Text("Open."), final=True),
    ],
    transitions=[Transition("yes", "shut", "open")],
)  # fmt: skip
"""One question with one button."""


gift = Flow(
    "gift", data=Answer, initial="amount",
    states=[
        State("amount",  ask=Text("How much?"), reads=str, into="value"),
        State("confirm", ask=Text("Sure?")),
        State("given",   say=Text("Given."), final=True),
    ],
    transitions=[
        Transition("answer", "amount",  "confirm"),
        Transition("yes",    "confirm", "given"),
    ],
)  # fmt: skip
"""A question for an amount, and its confirmation."""


def seat(timeout: float = 60) -> Flow[NoData]:
    """Return a flow whose question has a timeout of `timeout` seconds."""
    return Flow(
        "seat", initial="hold",
        states=[
            State("hold",   ask=Text("Take it?"), timeout=timeout),
            State("taken",  say=Text("Yours."), final=True),
            State("missed", say=Text("Too late."), final=True),
        ],
        transitions=[
            Transition("yes",     "hold", "taken"),
            Transition("timeout", "hold", "missed"),
        ],
    )  # fmt: skip
