"""The bots of the fault suite: a till and a tally.

`till_bot` sells numbered things: each sale is confirmed, and its effect is a line in a ledger that outlives every
worker. `TALLY` adds numbers.

Each reply begins with the address of its member in brackets, so that a reply to another member is noticed. The PIN that
the till asks for is secret: anywhere but in the document, it is a leak.
"""

from __future__ import annotations

from typing import Protocol

import attrs

from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.calls import Call, Caller, ServiceLimits, call
from vimbiso_fsm.flow.flow import Flow
from vimbiso_fsm.flow.privacy import PUBLIC, SECRET
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.flow.turn import Changes, Turn
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.replies import Text

__all__ = ["TALLY", "Sale", "Tally", "Till", "till_bot"]


class Till(Protocol):
    """The port of the service that sells."""

    def sell(self, number: int, *, caller: Caller = Caller()) -> str | Refused:  # noqa: B008
        """Sell a number; return the receipt, which is the same for the same key."""
        ...


@attrs.frozen
class Card:
    """A card, which has a secret inside."""

    number: str = attrs.field(default="", metadata=SECRET)
    bank: str = ""


@attrs.frozen
class Purse:
    """A purse, which has a secret inside."""

    code: str = attrs.field(default="", metadata=SECRET)


@attrs.frozen
class Holder:
    """The profile of a member, with secrets in it and inside."""

    name: str = ""
    pin: str = attrs.field(default="", metadata=SECRET)
    cards: tuple[Card, ...] = ()


@attrs.frozen
class Sale:
    """The data of a sale. The PIN stands in it at every place that a secret may have.

    Attributes:
        number: The number that is being sold.
        sold: How many were sold so far.
    """

    pin: str = attrs.field(default="", metadata=SECRET)
    card: Card = Card()
    cards: list[Card] = attrs.field(factory=list[Card])
    named: dict[str, Card] = attrs.field(factory=dict[str, Card])
    pair: tuple[str, Purse] | None = None
    by: Card | Purse | None = None
    number: int = attrs.field(default=0, metadata=PUBLIC)
    receipt: str = ""
    sold: int = attrs.field(default=0, metadata=PUBLIC)


def whole_number(text: str) -> int | Refused:
    """Read a number."""
    return int(text) if text.isascii() and text.isdecimal() else Refused("number.format", field="number")


def known(turn: Turn[Sale, Holder]) -> Changes[Sale]:
    """Prepare: a guest who has given a PIN is a member."""
    who = turn.channel.identifier
    pin = turn.data.pin
    card, purse = Card(pin, "a bank"), Purse(pin)
    member = attrs.evolve(
        turn.member,
        id=f"m-{who}",
        guest=False,
        authenticated=True,
        jwt_token=f"jwt-{pin}",
        profile=Holder(f"member {who}", pin, (card,)),
    )
    data = attrs.evolve(turn.data, card=card, cards=[card], named={"mine": card}, pair=("mine", purse), by=purse)
    return turn.changes(data=data, member=member)


def one_more(turn: Turn[Sale]) -> Sale:
    """Prepare: one more was sold."""
    return attrs.evolve(turn.data, sold=turn.data.sold + 1)


def sell(turn: Turn[Sale]) -> Call[str | Refused]:
    """Sell it."""
    return call(Till.sell, turn.data.number)


def ask_pin(turn: Turn[Sale]) -> Text:
    """Ask for the PIN."""
    return Text("till.pin", who=turn.channel.identifier)


def ask_number(turn: Turn[Sale]) -> Text:
    """Ask for the number."""
    return Text("till.number", who=turn.channel.identifier, sold=turn.data.sold)


def ask_yes(turn: Turn[Sale]) -> Text:
    """Ask for the confirmation."""
    return Text("till.confirm", who=turn.channel.identifier, number=turn.data.number)


def say_receipt(turn: Turn[Sale]) -> Text:
    """Say the receipt."""
    return Text("till.paid", who=turn.channel.identifier, number=turn.data.number, receipt=turn.data.receipt)


def sale(timeout: float | None) -> Flow[Sale]:
    """Make the flow that sells."""
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
    """Make the bot that sells.

    Args:
        till: The service.
        session: Seconds of silence that end a session. The default is long, for clocks that are moved.
        timeout: Seconds after which a confirmation is no longer waited for; None without a timer.
    """
    texts = {
        "till.pin": "[{who}] Your PIN?",
        "till.number": "[{who}] {sold} sold. Which number?",
        "till.confirm": "[{who}] Number {number}?",
        "till.paid": "[{who}] Sold {number}: {receipt}.",
    }
    limits = {"till": ServiceLimits(wait=600.0)}  # hundreds of calls wait, on a busy machine long
    return Bot(
        [sale(timeout)],
        texts=texts,
        services={"till": till},
        service_limits=limits,
        session=session,
        profile=Holder,
    )


@attrs.frozen
class Tally:
    """The data of the tally.

    Attributes:
        by: The latest number.
        n: The sum.
        count: How many numbers were added.
    """

    by: int = attrs.field(default=0, metadata=PUBLIC)
    n: int = attrs.field(default=0, metadata=PUBLIC)
    count: int = attrs.field(default=0, metadata=PUBLIC)


def add(turn: Turn[Tally]) -> Tally:
    """Prepare: add the latest number."""
    return attrs.evolve(turn.data, n=turn.data.n + turn.data.by, count=turn.data.count + 1)


def total(turn: Turn[Tally]) -> Text:
    """Say the sum so far."""
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
