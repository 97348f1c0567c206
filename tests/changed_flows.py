"""A flow before and after a deploy.

Steps are renamed, removed, split, kept on the old definition and started anew; a call is renamed; there is a sub-flow;
and a till remembers what was paid under which key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from vimbiso_fsm import (
    Bot,
    Call,
    Caller,
    CallPolicy,
    FinishOnOld,
    Flow,
    Migration,
    Refused,
    ReplacedBy,
    Restart,
    Row,
    State,
    Text,
    Transition,
    Turn,
    call,
)
from vimbiso_fsm.flow.privacy import PUBLIC


class Till:
    """The port, and the service.

    Attributes:
        paid: What each key has paid.
        asked: Every try.
        lost: The members whose answer is lost on its way back.
    """

    def __init__(self) -> None:
        self.paid: dict[str, tuple[str, str]] = {}
        self.asked: list[str] = []
        self.lost: set[str] = set()

    def pay(self, to: str, fruit: str, *, caller: Caller = Caller()) -> str | Refused:  # noqa: B008
        """Pay, once per key."""
        self.asked.append(caller.key)
        self.paid[caller.key] = (to, fruit)
        if to in self.lost:
            self.lost.remove(to)
            raise ConnectionError("lost")
        return f"receipt of {to}"


def line(text: str) -> str | Refused:
    """Read any line."""
    return text.strip() or Refused("line.empty")


@attrs.frozen
class Pick:
    """The data of the sub-flow."""

    basket: str = ""
    fruit: str = ""


def fruits(turn: Turn[Pick]) -> Sequence[Row]:
    """Offer two fruits."""
    return [Row("pear", Text("Pear")), Row("plum", Text("Plum"))]


def picked(turn: Turn[Pick]) -> str:
    """Return the result for the flow above."""
    return f"{turn.data.basket}{turn.data.fruit}"


pick = Flow(
    "pick", data=Pick, initial="fruit",
    states=[
        State("fruit",  ask=Text("Which fruit?"), rows=fruits, into="fruit"),
        State("picked", final=True, output=picked),
        State("none",   final=True, cancels=True),
    ],
    transitions=[Transition("answer", "fruit", "picked"), Transition("none", "fruit", "none")],
)  # fmt: skip


def basket(turn: Turn[Any]) -> Pick:
    """Return the input of the sub-flow."""
    return Pick(basket="fresh ")


POLICY = CallPolicy(attempts=1)


# Version 1 ------------------------------------------------------------------------------------------------------------


@attrs.frozen
class Errand1:
    """The data of version 1."""

    handle: str = attrs.field(default="", metadata=PUBLIC)
    name: str = ""
    colour: str = ""
    fruit: str = ""
    wrap: str = ""
    receipt: str = ""


def pay_1(turn: Turn[Errand1]) -> Call[str | Refused]:
    """Pay the handle."""
    return call(Till.pay, to=turn.data.handle, fruit=turn.data.fruit)


errand_1 = Flow(
    "errand", version=1, data=Errand1, initial="handle",
    states=[
        State("handle",  ask=Text("Whose handle?"), reads=line, into="handle", timeout=3600),
        State("name",    ask=Text("Which name?"), reads=line, into="name"),
        State("colour",  ask=Text("Add a colour?"), reads=line, into="colour"),
        State("picking", flow=pick, input=basket, into="fruit"),
        State("wrap",    ask=Text("How is it wrapped?"), reads=line, into="wrap"),
        State("gift",    ask=Text("Is it a gift?")),
        State("confirm", ask=Text("Pay it?")),
        State("paying",  ask=Text("Paying."), call=pay_1, policy=POLICY, into="receipt"),
        State("paid",    say=Text("Paid, as of old."), final=True),
        State("dropped", say=Text("Dropped."), final=True, cancels=True),
    ],
    transitions=[
        Transition("answer",    "handle",  "name"),
        Transition("timeout",   "handle",  "dropped"),
        Transition("answer",    "name",    "colour"),
        Transition("answer",    "colour",  "picking"),
        Transition("yes",       "colour",  "picking"),
        Transition("done",      "picking", "wrap"),
        Transition("cancelled", "picking", "dropped"),
        Transition("answer",    "wrap",    "gift"),
        Transition("yes",       "gift",    "confirm"),
        Transition("no",        "gift",    "confirm"),
        Transition("yes",       "confirm", "paying"),
        Transition("no",        "confirm", "dropped"),
        Transition("done",      "paying",  "paid"),
        Transition("failed",    "paying",  "dropped"),
    ],
)  # fmt: skip


# Version 2 ------------------------------------------------------------------------------------------------------------


@attrs.frozen
class Errand2:
    """The data of version 2."""

    recipient: str = attrs.field(default="", metadata=PUBLIC)
    given: str = ""
    family: str = ""
    fruit: str = ""
    receipt: str = ""


def pay_2(turn: Turn[Errand2]) -> Call[str | Refused]:
    """Pay the recipient."""
    return call(Till.pay, to=turn.data.recipient, fruit=turn.data.fruit)


def which_is_left(fields: Mapping[str, Any]) -> str:
    """Ask a member who has given a name for the rest of it."""
    return "family" if fields["name"] else "given"


def upgraded(fields: dict[str, Any]) -> Mapping[str, Any]:
    """Split the name in two, and drop colour and wrapping."""
    given, _, family = fields.pop("name").partition(" ")
    return {"recipient": fields.pop("handle"), "given": given, "family": family, **fields}


FROM_1 = Migration(
    1,
    steps={
        "handle": "recipient",
        "name": ReplacedBy(which_is_left, steps=["given", "family"]),
        "colour": ReplacedBy("picking"),
        "wrap": FinishOnOld(errand_1),
        "gift": Restart(Text("Gifts are other than they were; please begin again.")),
        "paying": "sending",
    },
    data=upgraded,
)


def errand(migrations: Sequence[Migration] = (FROM_1,), version: int = 2) -> Flow[Errand2]:
    """Make version 2."""
    return Flow(
        "errand", version=version, data=Errand2, initial="recipient", migrations=migrations,
        states=[
            State("recipient", ask=Text("Who gets it?"), reads=line, into="recipient", timeout=3600),
            State("given",     ask=Text("Their given name?"), reads=line, into="given", timeout=3600),
            State("family",    ask=Text("Their family's name?"), reads=line, into="family"),
            State("picking",   flow=pick, input=basket, into="fruit"),
            State("confirm",   ask=Text("Pay it?")),
            State("sending",   ask=Text("Sending."), call=pay_2, policy=POLICY, into="receipt"),
            State("paid",      say=Text("Paid."), final=True),
            State("dropped",   say=Text("Dropped."), final=True, cancels=True),
        ],
        transitions=[
            Transition("answer",    "recipient", "given"),
            Transition("timeout",   ["recipient", "given"], "dropped"),
            Transition("answer",    "given",     "family"),
            Transition("answer",    "family",    "picking"),
            Transition("done",      "picking",   "confirm"),
            Transition("cancelled", "picking",   "dropped"),
            Transition("yes",       "confirm",   "sending"),
            Transition("no",        "confirm",   "dropped"),
            Transition("done",      "sending",   "paid"),
            Transition("failed",    "sending",   "dropped"),
        ],
    )  # fmt: skip


def bot_of(flow: Flow[Any], till: Till | None = None, **options: Any) -> Bot:
    """Make a bot with a home that starts the flow."""
    home: Flow[Any] = Flow(
        "home", initial="menu",
        states=[State("menu", ask=Text("At home.")), State("running", flow=flow)],
        transitions=[
            Transition("go", "menu", "running"),
            Transition("done", "running", "menu"),
            Transition("cancelled", "running", "menu"),
        ],
    )  # fmt: skip
    texts = {"errand.title": "your errand", "errand.confirm.yes": "Pay now"}
    return Bot([home, flow], services={"till": till or Till()}, texts=texts, **options)


WAYS: Mapping[str, tuple[str, ...]] = {
    "handle": ("hi", "go"),
    "name": ("hi", "go", "@ada"),
    "colour": ("hi", "go", "@ada", "Ada Byron"),
    "picking": ("hi", "go", "@ada", "Ada Byron", "red"),
    "wrap": ("hi", "go", "@ada", "Ada Byron", "red", "pear"),
    "gift": ("hi", "go", "@ada", "Ada Byron", "red", "pear", "paper"),
    "confirm": ("hi", "go", "@ada", "Ada Byron", "red", "pear", "paper", "yes"),
    "paying": ("hi", "go", "@ada", "Ada Byron", "red", "pear", "paper", "yes", "yes"),
}
"""The messages that lead to each step of version 1."""

ANSWERS: Mapping[str, str] = {
    "Whose handle?": "@ada",
    "Which name?": "Ada Byron",
    "Add a colour?": "red",
    "Which fruit?": "plum",
    "How is it wrapped?": "paper",
    "Is it a gift?": "no",
    "Pay it?": "yes",
    "Who gets it?": "@ada",
    "Their given name?": "Ada",
    "Their family's name?": "Byron",
    "You have not finished: your errand. Carry on with it?": "yes",
}
"""The answers of a member that confirm, in each version."""
