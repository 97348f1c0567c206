"""Choose one of the member's accounts: a flow that others ask, at the login and where an account is to be named."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from flows.credex_core import DEFAULT_DENOMINATION
from flows.members import me
from vimbiso_fsm.flow.flow import Flow
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.flow.turn import Turn
from vimbiso_fsm.messages.money import Money
from vimbiso_fsm.messages.replies import Row, Text

__all__ = ["Choice", "choose_account"]


@attrs.frozen
class Choice:
    """What the account must be able to pay, nothing unless the caller says more; and the handle that was chosen."""

    paying: Money = attrs.field(default=Money.zero(DEFAULT_DENOMINATION))
    handle: str = ""


def accounts(turn: Turn[Choice]) -> Sequence[Row]:
    """The member's accounts that can pay it."""
    return [
        Row(
            account.handle,
            Text("account.name", name=account.name),
            Text("account.about", handle=account.handle, balances=", ".join(map(str, account.balances))),
        )
        for account in me(turn).payers(turn.data.paying)
    ]


def chosen(turn: Turn[Choice]) -> str:
    """The handle that was chosen."""
    return turn.data.handle


choose_account = Flow(
    "choose_account", data=Choice, initial="choosing",
    states=[
        State("choosing", ask=Text("choose_account.choosing"), rows=accounts, into="handle"),
        State("chosen",   final=True, result=chosen),
    ],
    transitions=[
        Transition("answer", "choosing", "chosen"),
    ],
)  # fmt: skip
