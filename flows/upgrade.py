"""The upgrade of the membership: price, confirmation, payment."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from flows.credex_core import CredexCore, Dashboard, Receipt
from flows.members import me, refreshed, upgradable
from flows.refresh import refresh
from vimbiso_fsm import (
    Call,
    Flow,
    Money,
    NoData,
    Refused,
    State,
    Text,
    Transition,
    Turn,
    authenticated,
    call,
    failed_with,
)

TIER: Final = 3
"""The tier that is subscribed to."""

PRICE: Final = Money(Decimal("1.00"), "USD")
"""The amount of one payment."""

DAYS: Final = 28
"""Days between two payments."""


def subscribe(turn: Turn[NoData, Dashboard]) -> Call[Receipt | Refused]:
    """Propose the recurring payment."""
    return call(
        CredexCore.create_recurring,
        source_account_id=me(turn).account.id,
        member_tier=TIER,
        amount=PRICE,
        pay_frequency=DAYS,
        start_date=turn.now.date(),
    )


def price(turn: Turn[NoData, Dashboard]) -> Text:
    """Return the price and the account that pays, for confirmation."""
    own = me(turn).account
    return Text("upgrade.confirm", price=PRICE, days=DAYS, tier=TIER, own=own.name, own_handle=own.handle)


too_little = failed_with("core.insufficient_secured_balance", "core.balance_short")


upgrade = Flow(
    "upgrade", initial="confirm", requires=[authenticated, upgradable],
    states=[
        State("confirm",    ask=price),
        State("paying",     ask=Text("upgrade.paying"), call=subscribe),
        State("refreshing", flow=refresh),
        State("upgraded",   say=Text("upgrade.upgraded", tier=TIER), final=True),
        State("short",      say=Text("upgrade.short", price=PRICE), final=True),
        State("unsure",     say=Text("upgrade.unsure"), final=True),
        State("dropped",    say=Text("upgrade.dropped"), final=True, cancels=True),
    ],
    transitions=[
        Transition("yes",       "confirm",    "paying"),
        Transition("no",        "confirm",    "dropped"),
        Transition("done",      "paying",     "upgraded",   prepare=refreshed),
        Transition("failed",    "paying",     "short",      conditions=too_little),
        Transition("failed",    "paying",     "refreshing", conditions=failed_with("call.unsure")),
        Transition("failed",    "paying",     "confirm"),
        Transition("done",      "refreshing", "unsure",     conditions=upgradable),
        Transition("done",      "refreshing", "upgraded"),
        Transition("cancelled", "refreshing", "unsure"),
    ],
)  # fmt: skip
