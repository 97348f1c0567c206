"""The flow that requests the dashboard again. Other flows run it as a sub-flow when the stored one may be outdated."""

from __future__ import annotations

from flows.login import known, log_in
from flows.members import logged_in, of_nobody
from flows.numbers import has_number
from vimbiso_fsm import READ_ONLY, Flow, State, Text, Transition

refresh = Flow(
    "refresh", initial="arriving",
    states=[
        State("arriving"),
        State("asking", ask=Text("refresh.asking"), call=log_in, policy=READ_ONLY),
        State("fresh",  final=True),
        State("stale",  final=True, cancels=True),
    ],
    transitions=[
        Transition("auto",   "arriving", "asking", conditions=has_number),
        Transition("auto",   "arriving", "stale"),
        Transition("done",   "asking", "stale", unless=known, prepare=of_nobody),
        Transition("done",   "asking", "fresh", prepare=logged_in),
        Transition("failed", "asking", "stale"),
    ],
)  # fmt: skip
