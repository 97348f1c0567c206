"""The flow in which a member offers a secured credex: amount, handle, confirmation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs

from flows.choose_account import Choice, choose_account
from flows.credex_core import DECIMALS, DEFAULT_DENOMINATION, Account, CredexCore, Dashboard, Receipt, Recipient
from flows.members import me, owns_several, refreshed
from flows.refresh import refresh
from vimbiso_fsm import (
    PUBLIC,
    READ_ONLY,
    Call,
    Flow,
    Money,
    Refused,
    State,
    Text,
    Transition,
    Turn,
    authenticated,
    call,
    failed_with,
    readers,
)

money: Final = readers.amount(DECIMALS, default=DEFAULT_DENOMINATION)
"""Reads an amount."""


@attrs.frozen
class Offer:
    """The data of the offer flow.

    Attributes:
        amount: The amount that is offered.
        handle: The handle of the recipient, as it was typed.
        to: The account with that handle.
        own: The handle of the account that pays; empty for the account in use.
    """

    amount: Money = attrs.field(default=Money.zero(DEFAULT_DENOMINATION), metadata=PUBLIC)
    handle: str = ""
    to: Recipient = attrs.field(factory=Recipient)
    own: str = ""


def offering(turn: Turn[object, Dashboard]) -> bool | Refused:
    """Guard: the member can offer an amount."""
    return me(turn).may_offer or Refused("offer.nothing")


def within_limit(turn: Turn[Offer, Dashboard]) -> bool | Refused:
    """Guard: the amount is within the daily limit of tier 1."""
    you = me(turn)
    return you.within_limit(turn.data.amount) or Refused(
        "amount.limit", field="amount", remaining=you.dashboard.remaining_usd
    )


def affordable(turn: Turn[Offer, Dashboard]) -> bool | Refused:
    """Guard: the account holds the amount."""
    you = me(turn)
    return you.covers(turn.data.amount) or Refused(
        "amount.balance", field="amount", held=you.account.balance(turn.data.amount.currency)
    )


def not_own(turn: Turn[Offer, Dashboard]) -> bool | Refused:
    """Guard: the handle is not one of the member's own."""
    return not me(turn).owns(turn.data.handle) or Refused("handle.own", field="handle")


def payers(turn: Turn[Offer]) -> Choice:
    """Return the input of `choose_account`: the amount that the account must hold."""
    return Choice(paying=turn.data.amount)


def payer(turn: Turn[Offer, Dashboard]) -> Account:
    """Return the account that pays."""
    return me(turn).owned(turn.data.own)


def find(turn: Turn[Offer]) -> Call[Recipient | Refused]:
    """Propose to look the handle up."""
    return call(CredexCore.get_account_by_handle, turn.data.handle)


def create(turn: Turn[Offer, Dashboard]) -> Call[Receipt | Refused]:
    """Propose to make the offer."""
    return call(CredexCore.create_credex, issuer=payer(turn).id, receiver=turn.data.to.id, amount=turn.data.amount)


def summary(turn: Turn[Offer, Dashboard]) -> Text:
    """Return the offer, for confirmation."""
    own, to = payer(turn), turn.data.to
    return Text(
        "offer.confirm", amount=turn.data.amount, own=own.name, own_handle=own.handle, name=to.name, handle=to.handle
    )


def sent(turn: Turn[Offer]) -> Text:
    """Return the text that confirms the offer."""
    return Text("offer.sent", amount=turn.data.amount, name=turn.data.to.name, handle=turn.data.to.handle)


offer = Flow(
    "offer", data=Offer, initial="amount", requires=[authenticated, offering],
    depends={"to": "handle", "own": "amount"},
    states=[
        State("amount",     ask=Text("offer.amount"), reads=money,  into="amount"),
        State("handle",     ask=Text("offer.handle"), reads=readers.handle, into="handle", examples="alan"),
        State("checking",   ask=Text("offer.checking"), call=find, policy=READ_ONLY, into="to"),
        State("confirm",    ask=summary),
        State("paying",     flow=choose_account, input=payers, into="own"),
        State("creating",   ask=Text("offer.creating"), call=create),
        State("refreshing", flow=refresh),
        State("sent",       say=sent, final=True),
        State("unsure",     say=Text("offer.unsure"), final=True),
        State("dropped",    say=Text("offer.dropped"), final=True, cancels=True),
    ],
    transitions=[
        Transition("answer",        "amount",     "handle",     conditions=[within_limit, affordable]),
        Transition("answer",        "handle",     "checking",   conditions=not_own),
        Transition("done",          "checking",   "confirm"),
        Transition("failed",        "checking",   "handle"),
        Transition("yes",           "confirm",    "creating"),
        Transition("no",            "confirm",    "dropped"),
        Transition("other_account", "confirm",    "paying",     conditions=owns_several),
        Transition(["done", "cancelled"], "paying", "confirm"),
        Transition("done",          "creating",   "sent",       prepare=refreshed),
        Transition("failed",        "creating",   "refreshing", conditions=failed_with("call.unsure")),
        Transition("failed",        "creating",   "confirm"),
        Transition(["done", "cancelled"], "refreshing", "unsure"),
    ],
)  # fmt: skip


def quick(text: str) -> Sequence[str] | None:
    """Read the shortcut `0.5=>handle`: an amount and a handle."""
    amount, arrow, handle = (part.strip() for part in text.partition("=>"))
    return (amount, handle) if amount and arrow and handle else None
