"""Offer a secured credex: how much, to whom, a look at the account, yes or no."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from flows.choose_account import Choice, choose_account
from flows.credex_core import DECIMALS, DEFAULT_DENOMINATION, Account, CredexCore, Receipt, Recipient
from flows.members import me, owns_several, refreshed
from flows.refresh import refresh
from vimbiso_fsm.flow.calls import READ_ONLY, Call, call
from vimbiso_fsm.flow.flow import Flow
from vimbiso_fsm.flow.privacy import PUBLIC
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.flow.turn import Turn, authenticated, failed_with
from vimbiso_fsm.messages.money import Money
from vimbiso_fsm.messages.readers import amount, handle
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.replies import Text

__all__ = ["Offer", "offer", "quick"]

money = amount(DECIMALS, default=DEFAULT_DENOMINATION)


@attrs.frozen
class Offer:
    """What an offer is made of. `own`: the handle of the account that pays, when it is not the one in use."""

    amount: Money = attrs.field(default=Money.zero(DEFAULT_DENOMINATION), metadata=PUBLIC)
    handle: str = ""
    to: Recipient = attrs.field(factory=Recipient)
    own: str = ""


def within_limit(turn: Turn[Offer]) -> bool | Refused:
    """Members of tier 1 offer so many dollars a day."""
    you = me(turn)
    return you.within_limit(turn.data.amount) or Refused(
        "amount.limit", field="amount", remaining=you.dashboard.remaining_usd
    )


def affordable(turn: Turn[Offer]) -> bool | Refused:
    """The account holds what is offered."""
    you = me(turn)
    return you.covers(turn.data.amount) or Refused(
        "amount.balance", field="amount", held=you.account.balance(turn.data.amount.currency)
    )


def not_own(turn: Turn[Offer]) -> bool | Refused:
    """Nobody offers to themselves."""
    return not me(turn).owns(turn.data.handle) or Refused("handle.own", field="handle")


def payers(turn: Turn[Offer]) -> Choice:
    """Another account may pay, if it holds what is offered."""
    return Choice(paying=turn.data.amount)


def payer(turn: Turn[Offer]) -> Account:
    """The account that pays."""
    return me(turn).owned(turn.data.own)


def find(turn: Turn[Offer]) -> Call[Recipient | Refused]:
    """Who has that handle?"""
    return call(CredexCore.get_account_by_handle, turn.data.handle)


def create(turn: Turn[Offer]) -> Call[Receipt | Refused]:
    """Make the offer."""
    return call(CredexCore.create_credex, issuer=payer(turn).id, receiver=turn.data.to.id, amount=turn.data.amount)


def summary(turn: Turn[Offer]) -> Text:
    """The offer, to be confirmed."""
    own, to = payer(turn), turn.data.to
    return Text(
        "offer.confirm", amount=turn.data.amount, own=own.name, own_handle=own.handle, name=to.name, handle=to.handle
    )


def sent(turn: Turn[Offer]) -> Text:
    """The offer was made."""
    return Text("offer.sent", amount=turn.data.amount, name=turn.data.to.name, handle=turn.data.to.handle)


offer = Flow(
    "offer", data=Offer, initial="amount", requires=authenticated, depends={"to": "handle", "own": "amount"},
    states=[
        State("amount",     ask=Text("offer.amount"), reads=money,  into="amount"),
        State("handle",     ask=Text("offer.handle"), reads=handle, into="handle"),
        State("checking",   ask=Text("offer.checking"), call=find, policy=READ_ONLY, into="to"),
        State("confirm",    ask=summary),
        State("paying",     flow=choose_account, given=payers, into="own"),
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
        Transition("done",          "paying",     "confirm"),
        Transition("cancelled",     "paying",     "confirm"),
        Transition("done",          "creating",   "sent",       prepare=refreshed),
        Transition("failed",        "creating",   "refreshing", conditions=failed_with("call.unsure")),
        Transition("failed",        "creating",   "confirm"),
        Transition("done",          "refreshing", "unsure"),
        Transition("cancelled",     "refreshing", "unsure"),
    ],
)  # fmt: skip


def quick(text: str) -> Sequence[str] | None:
    """The quick command: `0.5=>handle` is an amount and a handle."""
    amount, arrow, handle = (part.strip() for part in text.partition("=>"))
    return (amount, handle) if amount and arrow and handle else None
