"""The dashboard: what the member has, as credex-core says now, and what they can do."""

from __future__ import annotations

from flows.answer_offers import accept, cancel, decline
from flows.choose_account import choose_account
from flows.ledger import ledger
from flows.members import lately_told, me, owns_several, upgradable, using
from flows.offer import offer
from flows.refresh import refresh
from flows.upgrade import upgrade
from vimbiso_fsm.flow.flow import Flow, NoData
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.flow.turn import Turn, authenticated
from vimbiso_fsm.messages.replies import Text

__all__ = ["dashboard"]

ERRANDS = ["offering", "accepting", "declining", "cancelling", "reading", "upgrading"]
"""The states in which another flow runs, and leaves nothing to be done here."""


def summary(turn: Turn[NoData]) -> Text:
    """The account in use, at a glance."""
    you = me(turn)
    return Text(
        "dashboard.limited" if you.limited_daily else "dashboard.summary",
        name=you.account.name,
        handle=you.account.handle,
        balances=you.account.balances,
        net_assets=you.account.net_assets,
        incoming=you.account.incoming_count,
        outgoing=you.account.outgoing_count,
        remaining=you.dashboard.remaining_usd,
    )


def came_in(turn: Turn[NoData]) -> bool:
    """Offers wait for the member's answer."""
    return bool(me(turn).account.incoming)


def went_out(turn: Turn[NoData]) -> bool:
    """The member's offers wait for others' answers."""
    return bool(me(turn).account.outgoing)


dashboard = Flow(
    "dashboard", data=NoData, initial="arriving", requires=authenticated,
    states=[
        State("arriving"),
        State("refreshing", flow=refresh),
        State("menu",       ask=summary),
        State("offering",   flow=offer),
        State("accepting",  flow=accept),
        State("declining",  flow=decline),
        State("cancelling", flow=cancel),
        State("reading",    flow=ledger),
        State("upgrading",  flow=upgrade),
        State("switching",  flow=choose_account),
    ],
    transitions=[
        Transition("auto",               "arriving", "menu",   conditions=lately_told),
        Transition("auto",               "arriving", "refreshing"),
        Transition("done",               "refreshing", "menu"),
        Transition("cancelled",          "refreshing", "menu"),
        Transition("offer_secured",      "menu", "offering",   words="offer"),
        Transition("accept_offer",       "menu", "accepting",  words="accept",  conditions=came_in),
        Transition("decline_offer",      "menu", "declining",  words="decline", conditions=came_in),
        Transition("cancel_offer",       "menu", "cancelling", conditions=went_out),
        Transition("view_ledger",        "menu", "reading",    words="ledger"),
        Transition("upgrade_membertier", "menu", "upgrading",  words="upgrade", conditions=upgradable),
        Transition("switch_account",     "menu", "switching",  words="switch",  conditions=owns_several),
        Transition("done",               "switching", "menu",  prepare=using),
        Transition("done",               ERRANDS, "menu"),
        Transition("cancelled",          [*ERRANDS, "switching"], "menu"),
    ],
)  # fmt: skip
