"""The flow in which a member chooses one of their accounts. Other flows run it as a sub-flow."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from flows.credex_core import DEFAULT_DENOMINATION, Dashboard
from flows.members import me
from vimbiso_fsm import Flow, Money, Row, State, Text, Transition, Turn


@attrs.frozen
class Choice:
    """The data of the flow.

    Attributes:
        paying: The amount that the account must be able to pay.
        handle: The handle of the chosen account.
    """

    paying: Money = attrs.field(default=Money.zero(DEFAULT_DENOMINATION))
    handle: str = ""


def accounts(turn: Turn[Choice, Dashboard]) -> Sequence[Row]:
    """Return the member's accounts that can pay the amount."""
    return [
        Row(
            account.handle,
            Text("account.name", name=account.name),
            Text(
                "account.about",
                handle=account.handle,
                balances=", ".join(map(str, account.balances)) or Text("account.empty"),
            ),
        )
        for account in me(turn).payers(turn.data.paying)
    ]


def chosen(turn: Turn[Choice]) -> str:
    """Return the handle of the chosen account."""
    return turn.data.handle


choose_account = Flow(
    "choose_account", data=Choice, initial="choosing",
    states=[
        State("choosing", ask=Text("choose_account.choosing"), rows=accounts, into="handle"),
        State("chosen",   final=True, output=chosen),
        State("none",     say=Text("choose_account.none"), final=True, cancels=True),
    ],
    transitions=[
        Transition("answer", "choosing", "chosen"),
        Transition("empty",  "choosing", "none"),
    ],
)  # fmt: skip
