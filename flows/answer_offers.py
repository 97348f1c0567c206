"""Answer the offers that wait: choose one, yes or no, and the next.

Accepting, declining and cancelling are one declaration with three faces: which offers wait, and what is sent for the
one that was chosen. Of those that came in, all can be accepted at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import TypeAlias

import attrs

from flows.credex_core import Account, CredexCore, PendingOffer, Receipt
from flows.members import me, refreshed
from flows.refresh import refresh
from vimbiso_fsm.flow.calls import Call, call
from vimbiso_fsm.flow.flow import Flow
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.flow.turn import Turn, authenticated, failed_with
from vimbiso_fsm.messages.money import totals
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.replies import Row, Text

__all__ = ["Answer", "accept", "cancel", "decline"]


@attrs.frozen
class Answer:
    """The offers that are answered: the one that was chosen, or all."""

    offers: tuple[PendingOffer, ...] = ()


Waiting: TypeAlias = Callable[[Account], tuple[PendingOffer, ...]]
"""Which of an account's offers wait for the answer."""
incoming: Waiting = attrgetter("incoming")
outgoing: Waiting = attrgetter("outgoing")


def words(key: str) -> Callable[[Turn[Answer]], Text]:
    """What is said of the offers that were chosen; of several, how many and their totals."""

    def said(turn: Turn[Answer]) -> Text:
        one, *others = turn.data.offers
        if others:
            total = totals(offer.amount for offer in turn.data.offers)
            return Text(f"{turn.flow}.{key}_all", count=1 + len(others), total=total)
        return Text(f"{turn.flow}.{key}", amount=one.amount, name=one.name, handle=one.handle)

    return said


def answering(
    name: str,
    waiting: Waiting,
    send: Callable[[Turn[Answer]], Call[Receipt | Refused]],
    more: Sequence[Transition[Answer]] = (),
) -> Flow[Answer]:
    """A flow that answers the offers `waiting` by `send`. `more`: further ways to choose."""

    def rows(turn: Turn[Answer]) -> Sequence[Row]:
        return [
            Row(
                offer.id,
                Text("offers.row", amount=offer.amount, handle=offer.handle),
                Text("offers.row.name", name=offer.name),
                value=(offer,),
            )
            for offer in waiting(me(turn).account)
        ]

    def remaining(turn: Turn[Answer]) -> bool:
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
        ],
        transitions=[
            Transition("answer",    "list",       "confirm"),
            *more,
            Transition("yes",       "confirm",    "answering"),
            Transition("no",        "confirm",    "list"),
            Transition("done",      "answering",  "answered",   prepare=refreshed),
            Transition("failed",    "answering",  "refreshing", conditions=failed_with("core.offer_gone", "call.unsure")),
            Transition("failed",    "answering",  "confirm"),
            Transition("done",      "refreshing", "refreshed"),
            Transition("cancelled", "refreshing", "refreshed"),
            Transition("auto", ["answered", "refreshed"], "list", conditions=remaining),
            Transition("auto", ["answered", "refreshed"], "over"),
        ],
    )  # fmt: skip


def several(turn: Turn[Answer]) -> bool:
    """More than one offer came in."""
    return len(incoming(me(turn).account)) > 1


def everything(turn: Turn[Answer]) -> Answer:
    """Prepare: all that came in."""
    return Answer(incoming(me(turn).account))


def accepting(turn: Turn[Answer]) -> Call[Receipt | Refused]:
    """Accept one, or all of several."""
    one, *others = (offer.id for offer in turn.data.offers)
    return call(CredexCore.accept_credex_bulk, [one, *others]) if others else call(CredexCore.accept_credex, one)


def declining(turn: Turn[Answer]) -> Call[Receipt | Refused]:
    """Decline one."""
    return call(CredexCore.decline_credex, turn.data.offers[0].id)


def cancelling(turn: Turn[Answer]) -> Call[Receipt | Refused]:
    """Take one back."""
    return call(CredexCore.cancel_credex, turn.data.offers[0].id)


accept = answering(
    "accept_offer",
    incoming,
    accepting,
    [Transition("accept_all", "list", "confirm", prepare=everything, conditions=several)],
)
decline = answering("decline_offer", incoming, declining)
cancel = answering("cancel_offer", outgoing, cancelling)
