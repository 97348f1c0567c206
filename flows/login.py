"""The login of a member, who may have to choose an account. A guest may become a member."""

from __future__ import annotations

from flows.choose_account import choose_account
from flows.credex_core import CredexCore, Dashboard, Session
from flows.members import logged_in, me, of_nobody, owns_several, using
from flows.numbers import has_number, proved, proven_number
from flows.onboard import onboard
from flows.prove import prove_number
from vimbiso_fsm import READ_ONLY, Call, Flow, Refused, State, Text, Transition, Turn, call


def log_in(turn: Turn[object, Dashboard]) -> Call[Session | Refused | None]:
    """Propose to log the member in by the number that was proved."""
    return call(CredexCore.login, phone=proven_number(turn))


def known(turn: Turn[object]) -> bool:
    """Guard: credex-core knows the member."""
    return turn.answer is not None


def registered(turn: Turn[object]) -> bool:
    """Guard: the onboarding has made the speaker a member. It gives no reason: otherwise they are logged in at once."""
    return turn.member.authenticated


def chooses(turn: Turn[object, Dashboard]) -> bool:
    """Guard: the member has to choose an account."""
    return me(turn).tier >= 5 and owns_several(turn)


login = Flow(
    "login", initial="arriving",
    states=[
        State("arriving"),
        State("proving",     flow=prove_number),
        State("asking",      ask=Text("login.asking"), call=log_in, policy=READ_ONLY),
        State("unavailable", ask=Text("login.unavailable"), reads=str),
        State("onboarding",  flow=onboard),
        State("choosing",    flow=choose_account),
        State("known",       final=True),
    ],
    transitions=[
        Transition("auto",      "arriving",    "asking",     conditions=has_number),
        Transition("auto",      "arriving",    "proving"),
        Transition("done",      "proving",     "asking",     prepare=proved),
        Transition("done",      "asking",      "onboarding", unless=known, prepare=of_nobody),
        Transition("done",      "asking",      "choosing",   prepare=logged_in, conditions=chooses),
        Transition("done",      "asking",      "known",      prepare=logged_in),
        Transition("failed",    "asking",      "unavailable"),
        Transition("answer",    "unavailable", "arriving"),
        Transition("done",      "choosing",    "known",      prepare=using),
        Transition("cancelled", "choosing",    "known"),
        Transition("done",      "onboarding",  "known",      conditions=registered),
        Transition("done",      "onboarding",  "arriving"),
    ],
)  # fmt: skip
