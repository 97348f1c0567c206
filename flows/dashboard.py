"""The dashboard: a summary of the member's account, and the menu."""

from __future__ import annotations

from typing import Final

from flows.answer_offers import accept, cancel, decline
from flows.choose_account import choose_account
from flows.credex_core import Dashboard
from flows.ledger import ledger
from flows.members import lately_told, may_offer, me, owns_several, upgradable, using
from flows.offer import offer
from flows.refresh import refresh
from flows.upgrade import upgrade
from vimbiso_fsm import Flow, NoData, State, Text, Transition, Turn, authenticated

ERRANDS: Final = ["offering", "accepting", "declining", "cancelling", "reading", "upgrading"]
"""The states with a sub-flow whose end needs no further step."""


def summary(turn: Turn[NoData, Dashboard]) -> Text:
    """Return a summary of the account in use."""
    you = me(turn)
    return Text(
        "dashboard.limited" if you.limited_daily else "dashboard.summary",
        name=you.account.name,
        handle=you.account.handle,
        balances=you.account.balances or Text("account.empty"),
        net_assets=you.account.net_assets,
        incoming=you.account.incoming_count,
        outgoing=you.account.outgoing_count,
        remaining=you.dashboard.remaining_usd,
    )


def came_in(turn: Turn[NoData, Dashboard]) -> bool:
    """Guard: there are open offers to the member."""
    return bool(me(turn).account.incoming)


def went_out(turn: Turn[NoData, Dashboard]) -> bool:
    """Guard: there are open offers from the member."""
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
        Transition(["done", "cancelled"], "refreshing", "menu"),
        Transition("offer_secured",      "menu", "offering",   words="offer",   conditions=may_offer),
        Transition("accept_offer",       "menu", "accepting",  words="accept",  conditions=came_in),
        Transition("decline_offer",      "menu", "declining",  words="decline", conditions=came_in),
        Transition("cancel_offer",       "menu", "cancelling", conditions=went_out),
        Transition("view_ledger",        "menu", "reading",    words="ledger"),
        Transition("upgrade_membertier", "menu", "upgrading",  words="upgrade", conditions=upgradable),
        Transition("switch_account",     "menu", "switching",  words="switch",  conditions=owns_several),
        Transition("done",               "switching", "menu",  prepare=using),
        Transition("cancelled",          "switching", "menu"),
        Transition(["done", "cancelled"], ERRANDS, "menu"),
    ],
)  # fmt: skip
