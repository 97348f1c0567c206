"""Log in: members go on, with the account they choose; anybody else may become one."""

from __future__ import annotations

from flows.choose_account import choose_account
from flows.credex_core import CredexCore, Session
from flows.members import logged_in, me, owns_several, using
from flows.onboard import onboard
from vimbiso_fsm.flow.calls import READ_ONLY, Call, call
from vimbiso_fsm.flow.flow import Flow
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.flow.turn import Turn, authenticated
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.replies import Text

__all__ = ["known", "log_in", "login"]


def log_in(turn: Turn[object]) -> Call[Session | Refused | None]:
    """Who is this?"""
    return call(CredexCore.login)


def known(turn: Turn[object]) -> bool:
    """There is such a member."""
    return turn.answer is not None


def chooses(turn: Turn[object]) -> bool:
    """The member says which account they are going to use."""
    return me(turn).tier >= 5 and owns_several(turn)


login = Flow(
    "login", initial="asking",
    states=[
        State("asking",      ask=Text("login.asking"), call=log_in, policy=READ_ONLY),
        State("unavailable", ask=Text("login.unavailable"), reads=str),
        State("onboarding",  flow=onboard),
        State("choosing",    flow=choose_account),
        State("known",       final=True),
        State("unknown",     final=True, cancels=True),
    ],
    transitions=[
        Transition("done",      "asking",      "onboarding", unless=known),
        Transition("done",      "asking",      "choosing",   prepare=logged_in, conditions=chooses),
        Transition("done",      "asking",      "known",      prepare=logged_in),
        Transition("failed",    "asking",      "unavailable"),
        Transition("answer",    "unavailable", "asking"),
        Transition("done",      "choosing",    "known",      prepare=using),
        Transition("cancelled", "choosing",    "known"),
        Transition("done",      "onboarding",  "known",      conditions=authenticated),
        Transition("done",      "onboarding",  "asking"),
        Transition("cancelled", "onboarding",  "unknown"),
    ],
)  # fmt: skip
