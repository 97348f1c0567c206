"""The dashboard: what the member has, and what they can do."""

from __future__ import annotations

from flows.members import me
from flows.offer import offer
from vimbiso_fsm.flow import Flow, NoData, State, Transition
from vimbiso_fsm.messages import Text
from vimbiso_fsm.turn import Turn, authenticated

__all__ = ["dashboard"]


def summary(turn: Turn[NoData]) -> Text:
    """The account in use, at a glance."""
    you = me(turn)
    return Text(
        "dashboard.limited" if you.limited_daily else "dashboard.summary",
        name=you.account.name,
        handle=you.account.handle,
        balances="\n".join(map(str, you.account.balances)),
        net_assets=you.account.net_assets,
        incoming=you.account.incoming_count,
        outgoing=you.account.outgoing_count,
        remaining=you.dashboard.remaining_usd,
    )


dashboard = Flow(
    "dashboard", version=1, data=NoData, initial="menu", requires=authenticated,
    states=[
        State("menu",     ask=summary),
        State("offering", flow=offer),
    ],
    transitions=[
        Transition("offer_secured", "menu", "offering", words="offer"),
        Transition("done",      "offering", "menu"),
        Transition("cancelled", "offering", "menu"),
    ],
)  # fmt: skip
