"""Learn again what the member has: a flow for others to call when what credex-core last said may be out of date."""

from __future__ import annotations

from flows.login import known, log_in
from flows.members import logged_in
from vimbiso_fsm.flow.calls import READ_ONLY
from vimbiso_fsm.flow.flow import Flow
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.messages.replies import Text

__all__ = ["refresh"]

refresh = Flow(
    "refresh", initial="asking",
    states=[
        State("asking", ask=Text("refresh.asking"), call=log_in, policy=READ_ONLY),
        State("fresh",  final=True),
        State("stale",  final=True, cancels=True),
    ],
    transitions=[
        Transition("done",   "asking", "stale", unless=known),
        Transition("done",   "asking", "fresh", prepare=logged_in),
        Transition("failed", "asking", "stale"),
    ],
)  # fmt: skip
