"""The flows that answer open offers: choose an offer, confirm it, continue with the next.

Accepting, declining and cancelling share one declaration. They differ in the offers that are listed and in the call
that is made for the chosen offer. All incoming offers can be accepted at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import TypeAlias

import attrs

from flows.credex_core import Account, CredexCore, Dashboard, PendingOffer, Receipt
from flows.members import me, refreshed
from flows.refresh import refresh
from vimbiso_fsm import (
    Call,
    Flow,
    Refused,
    Row,
    State,
    Text,
    Transition,
    Turn,
    authenticated,
    call,
    failed_with,
    totals,
)


@attrs.frozen
class Answer:
    """The data of these flows.

    Attributes:
        offers: The chosen offer, or all of them.
    """

    offers: tuple[PendingOffer, ...] = ()


Waiting: TypeAlias = Callable[[Account], tuple[PendingOffer, ...]]
"""A function that returns the offers of an account that a flow lists."""

incoming: Waiting = attrgetter("incoming")
outgoing: Waiting = attrgetter("outgoing")


def words(key: str) -> Callable[[Turn[Answer]], Text]:
    """Return a function that names the chosen offer, or the number and the totals of several."""

    def chosen(turn: Turn[Answer]) -> Text:
        first, *others = turn.data.offers
        if others:
            total = totals(offer.amount for offer in turn.data.offers)
            return Text(f"{turn.flow}.{key}_all", count=1 + len(others), total=total)
        return Text(f"{turn.flow}.{key}", amount=first.amount, name=first.name, handle=first.handle)

    return chosen


may_be_gone = failed_with("core.offer_gone", "call.unsure")


def answering(
    name: str,
    waiting: Waiting,
    send: Callable[[Turn[Answer]], Call[Receipt | Refused]],
    more: Sequence[Transition[Answer]] = (),
) -> Flow[Answer]:
    """Return a flow that answers open offers.

    Args:
        name: The name of the flow.
        waiting: Returns the offers that are listed.
        send: Proposes the call for the chosen offers.
        more: Further transitions from the list.
    """

    def rows(turn: Turn[Answer, Dashboard]) -> Sequence[Row]:
        return [
            Row(
                offer.id,
                Text("offers.row", amount=offer.amount, handle=offer.handle),
                Text("offers.row.name", name=offer.name),
                value=(offer,),
            )
            for offer in waiting(me(turn).account)
        ]

    def remaining(turn: Turn[Answer, Dashboard]) -> bool:
        return bool(waiting(me(turn).account))

    return Flow(
        name, data=Answer, initial="list", requires=authenticated,
        states=[
            State("list",       ask=Text(f"{name}.list"), rows=rows, into="offers"),
            State("confirm",    ask=words("confirm")),
            State("answering",  ask=Text(f"{name}.answering"), call=send),
            State("answered",   say=words("answered")),
            State("refreshing", flow=refresh),
            State("refreshed"),
            State("over",       final=True),
            State("none",       say=Text("offers.none"), final=True),
        ],
        transitions=[
            Transition("answer",    "list",       "confirm"),
            Transition("empty",     "list",       "none"),
            *more,
            Transition("yes",       "confirm",    "answering"),
            Transition("no",        "confirm",    "list"),
            Transition("done",      "answering",  "answered",   prepare=refreshed),
            Transition("failed",    "answering",  "refreshing", conditions=may_be_gone),
            Transition("failed",    "answering",  "confirm"),
            Transition(["done", "cancelled"], "refreshing", "refreshed"),
            Transition("auto", ["answered", "refreshed"], "list", conditions=remaining),
            Transition("auto", ["answered", "refreshed"], "over"),
        ],
    )  # fmt: skip


def several(turn: Turn[Answer, Dashboard]) -> bool:
    """Guard: there is more than one incoming offer."""
    return len(incoming(me(turn).account)) > 1


def everything(turn: Turn[Answer, Dashboard]) -> Answer:
    """Prepare: choose all incoming offers."""
    return Answer(incoming(me(turn).account))


def accepting(turn: Turn[Answer]) -> Call[Receipt | Refused]:
    """Propose to accept the chosen offers."""
    ids = [offer.id for offer in turn.data.offers]
    return call(CredexCore.accept_credex_bulk, ids) if len(ids) > 1 else call(CredexCore.accept_credex, ids[0])


def declining(turn: Turn[Answer]) -> Call[Receipt | Refused]:
    """Propose to decline the chosen offer."""
    return call(CredexCore.decline_credex, turn.data.offers[0].id)


def cancelling(turn: Turn[Answer]) -> Call[Receipt | Refused]:
    """Propose to cancel the chosen offer."""
    return call(CredexCore.cancel_credex, turn.data.offers[0].id)


accept = answering(
    "accept_offer",
    incoming,
    accepting,
    [Transition("accept_all", "list", "confirm", prepare=everything, conditions=several)],
)
decline = answering("decline_offer", incoming, declining)
cancel = answering("cancel_offer", outgoing, cancelling)
