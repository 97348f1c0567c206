"""The bots of the fault suite.

`till_bot` sells numbered things: each sale is confirmed, and its effect is a line in a ledger that outlives every
worker. `TALLY` adds up the numbers it is told.

Everything said to a member begins with their own address in brackets, so that a reply gone astray is seen. The PIN
that the till asks for is secret: wherever it turns up but in the document, something leaks.
"""

from __future__ import annotations

from typing import Protocol

import attrs

from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.calls import Call, Caller, call
from vimbiso_fsm.flow.flow import Flow
from vimbiso_fsm.flow.privacy import PUBLIC, SECRET
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.flow.turn import Changes, Turn
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.replies import Text

__all__ = ["TALLY", "Sale", "Tally", "Till", "till_bot"]


class Till(Protocol):
    """The service: where sales are made."""

    def sell(self, number: int, *, caller: Caller = Caller()) -> str | Refused:  # noqa: B008
        """Sell that number; gives a receipt, the same for the same key."""
        ...


@attrs.frozen
class Sale:
    """`number`: what is being sold; `sold`: how many were sold so far."""

    pin: str = attrs.field(default="", metadata=SECRET)
    number: int = attrs.field(default=0, metadata=PUBLIC)
    receipt: str = ""
    sold: int = attrs.field(default=0, metadata=PUBLIC)


def whole_number(text: str) -> int | Refused:
    """Reads a number."""
    return int(text) if text.isascii() and text.isdecimal() else Refused("number.format", field="number")


def known(turn: Turn[Sale]) -> Changes[Sale]:
    """Prepare: whoever has said their PIN is a member."""
    who = turn.channel.identifier
    member = attrs.evolve(turn.member, id=f"m-{who}", guest=False, authenticated=True, jwt_token=f"jwt-{turn.data.pin}")
    return turn.changes(data=turn.data, member=member)


def one_more(turn: Turn[Sale]) -> Sale:
    """Prepare: it was sold."""
    return attrs.evolve(turn.data, sold=turn.data.sold + 1)


def sell(turn: Turn[Sale]) -> Call[str | Refused]:
    """Sell it."""
    return call(Till.sell, turn.data.number)


def ask_pin(turn: Turn[Sale]) -> Text:
    """The first question."""
    return Text("till.pin", who=turn.channel.identifier)


def ask_number(turn: Turn[Sale]) -> Text:
    """What is wanted?"""
    return Text("till.number", who=turn.channel.identifier, sold=turn.data.sold)


def ask_yes(turn: Turn[Sale]) -> Text:
    """Is it wanted?"""
    return Text("till.confirm", who=turn.channel.identifier, number=turn.data.number)


def say_receipt(turn: Turn[Sale]) -> Text:
    """It was sold."""
    return Text("till.paid", who=turn.channel.identifier, number=turn.data.number, receipt=turn.data.receipt)


def sale(timeout: float | None) -> Flow[Sale]:
    """The flow that sells."""
    timed: list[Transition[Sale]] = [] if timeout is None else [Transition("timeout", "confirm", "number")]
    return Flow(
        "till", data=Sale, initial="pin",
        states=[
            State("pin",     ask=ask_pin, reads=str, into="pin"),
            State("number",  ask=ask_number, reads=whole_number, into="number"),
            State("confirm", ask=ask_yes, timeout=timeout),
            State("paying",  call=sell, into="receipt"),
            State("paid",    say=say_receipt),
        ],
        transitions=[
            Transition("answer", "pin",     "number", prepare=known),
            Transition("answer", "number",  "confirm"),
            Transition("yes",    "confirm", "paying"),
            Transition("no",     "confirm", "number"),
            Transition("done",   "paying",  "paid", prepare=one_more),
            Transition("failed", "paying",  "confirm"),
            Transition("auto",   "paid",    "number"),
            *timed,
        ],
    )  # fmt: skip


def till_bot(till: Till, *, session: float = 30 * 86_400.0, timeout: float | None = None) -> Bot:
    """The bot that sells.

    `session`: seconds of silence that end one; long, where clocks are moved for other ends. `timeout`: seconds after
    which nobody waits for a yes any more.
    """
    texts = {
        "till.pin": "[{who}] Your PIN?",
        "till.number": "[{who}] {sold} sold. Which number?",
        "till.confirm": "[{who}] Number {number}?",
        "till.paid": "[{who}] Sold {number}: {receipt}.",
    }
    return Bot([sale(timeout)], texts=texts, services={"till": till}, session=session)


@attrs.frozen
class Tally:
    """`by`: what was said last; `n`: the sum; `count`: of how many."""

    by: int = attrs.field(default=0, metadata=PUBLIC)
    n: int = attrs.field(default=0, metadata=PUBLIC)
    count: int = attrs.field(default=0, metadata=PUBLIC)


def add(turn: Turn[Tally]) -> Tally:
    """Prepare: add what was said."""
    return attrs.evolve(turn.data, n=turn.data.n + turn.data.by, count=turn.data.count + 1)


def total(turn: Turn[Tally]) -> Text:
    """The sum so far."""
    return Text("tally.total", who=turn.channel.identifier, n=turn.data.n, by=turn.data.by)


TALLY = Bot(
    [
        Flow(
            "tally",
            data=Tally,
            initial="counting",
            states=[State("counting", ask=total, reads=whole_number, into="by")],
            transitions=[Transition("answer", "counting", "counting", prepare=add)],
        )
    ],
    texts={"tally.total": "[{who}] {by} makes {n}."},
)
