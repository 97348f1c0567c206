"""Log in: members go on, with the account they choose; anybody else may become one."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from flows.credex_core import CredexCore, Session
from flows.members import logged_in, me, using
from flows.onboard import onboard
from vimbiso_fsm.flow import Flow, State, Transition
from vimbiso_fsm.messages import Row, Text
from vimbiso_fsm.turn import QUESTION, Call, Refused, Turn, authenticated, call

__all__ = ["Login", "log_in", "login"]


@attrs.frozen
class Login:
    """The handle of the account that was chosen."""

    account: str = ""


def log_in(turn: Turn[Login]) -> Call[Session | Refused | None]:
    """Who is this?"""
    return call(CredexCore.login)


def known(turn: Turn[Login]) -> bool:
    """There is such a member."""
    return turn.answer is not None


def several_accounts(turn: Turn[Login]) -> bool:
    """The member has accounts to choose from."""
    return me(turn).several_accounts


def accounts(turn: Turn[Login]) -> Sequence[Row]:
    """The member's accounts."""
    return [
        Row(
            account.handle,
            Text("login.account", name=account.name),
            Text("login.account.balances", balances=", ".join(map(str, account.balances))),
        )
        for account in me(turn).accounts
    ]


login = Flow(
    "login", version=1, data=Login, initial="asking",
    states=[
        State("asking",      ask=Text("login.asking"), call=log_in, policy=QUESTION),
        State("unavailable", ask=Text("login.unavailable"), reads=str),
        State("onboarding",  flow=onboard),
        State("choosing",    ask=Text("login.choosing"), rows=accounts, into="account"),
        State("known",       final=True),
        State("unknown",     final=True, cancels=True),
    ],
    transitions=[
        Transition("done",      "asking",      "onboarding", unless=known),
        Transition("done",      "asking",      "choosing",   prepare=logged_in, conditions=several_accounts),
        Transition("done",      "asking",      "known",      prepare=logged_in),
        Transition("failed",    "asking",      "unavailable"),
        Transition("answer",    "unavailable", "asking"),
        Transition("answer",    "choosing",    "known",      prepare=using),
        Transition("done",      "onboarding",  "known",      conditions=authenticated),
        Transition("done",      "onboarding",  "asking"),
        Transition("cancelled", "onboarding",  "unknown"),
    ],
)  # fmt: skip
