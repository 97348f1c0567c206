"""Flows that mypy --strict and pyright must accept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import attrs

from vimbiso_fsm import (
    Bot,
    Call,
    Changes,
    Flow,
    Member,
    Migration,
    Refused,
    ReplacedBy,
    Restart,
    Row,
    State,
    Text,
    Transition,
    Turn,
    authenticated,
    call,
    failed_with,
)


@attrs.frozen
class Offer:
    amount: int = 0
    handle: str = ""


@attrs.frozen
class Card:
    name: str = ""


class Core(Protocol):
    def create(self, *, amount: int) -> str | Refused: ...

    async def find(self, handle: str) -> str | Refused: ...


def affordable(turn: Turn[Offer]) -> bool | Refused:
    return turn.data.amount < 10 or Refused("amount.balance", field="amount")


def anybody(turn: Turn[object]) -> bool:
    return turn.member.guest


def prepared(turn: Turn[Offer]) -> Offer:
    return attrs.evolve(turn.data, amount=1)


def becomes(turn: Turn[Offer]) -> Changes[Offer]:
    return turn.changes(member=turn.member)


def renamed(turn: Turn[Offer, Card]) -> Changes[Offer]:
    profile: Card = turn.member.profile
    member = attrs.evolve(turn.member, profile=attrs.evolve(profile, name="Ada"), language="sn")
    return turn.changes(data=turn.data, member=member)


def known(turn: Turn[object, Card]) -> bool | Refused:
    return turn.member.profile.name != "" or Refused("member.unknown")


def untyped(turn: Turn[Offer]) -> bool:
    return "name" in turn.member.profile and turn.member.profile["name"] != ""


def half_done(fields: Mapping[str, Any]) -> str:
    return "handle" if fields["amount"] else "amount"


def named(member: Member[Card]) -> str:
    return member.profile.name


def summary(turn: Turn[Offer]) -> Text:
    return Text("offer.summary", amount=turn.data.amount)


def anything(turn: Turn[object]) -> Text:
    return Text("any", flow=turn.flow)


def rows(turn: Turn[Offer]) -> list[Row]:
    return [Row(turn.data.handle, "Title")]


def number(text: str) -> int | Refused:
    return int(text) if text.isdigit() else Refused("number.format")


def create(turn: Turn[Offer]) -> Call[str | Refused]:
    return call(Core.create, amount=turn.data.amount)


def find(turn: Turn[Offer]) -> Call[str | Refused]:
    return call(Core.find, turn.data.handle)


plain = Flow(
    "plain",
    initial="ask",
    states=[State("ask", ask=anything), State("end", final=True)],
    transitions=[Transition("go", "ask", "end", conditions=anybody)],
)

offer: Flow[Offer] = Flow(
    "offer",
    data=Offer,
    initial="amount",
    requires=authenticated,
    states=[
        State("amount", ask=Text("offer.amount"), reads=number, into="amount"),
        State("handle", ask=summary, rows=rows, into="handle"),
        State("finding", call=find),
        State("creating", call=create),
        State("more", flow=plain),
        State("sent", say=summary, final=True, output=summary),
    ],
    transitions=[
        Transition("answer", "amount", "handle", prepare=prepared, conditions=[affordable, authenticated]),
        Transition("answer", "handle", "finding", prepare=becomes, unless=anybody),
        Transition("done", "finding", "creating"),
        Transition("failed", "finding", "handle"),
        Transition("done", "creating", "more"),
        Transition(["done", "cancelled"], "more", "sent", prepare=renamed, conditions=[known, untyped, affordable]),
        Transition("failed", "creating", "sent", conditions=failed_with("call.unsure"), unless=known),
    ],
    migrations=[
        Migration(1, steps={"price": ReplacedBy("amount"), "whom": ReplacedBy(half_done, steps=["amount", "handle"])}),
        Migration(2, others=Restart()),
    ],
    version=3,
)

bot = Bot(flows=[offer, plain], home=plain, profile=Card)


# A flow that gathers no data needs no annotation.
plain = Flow(
    "plain",
    initial="asked",
    states=[State("asked", ask=Text("Well?")), State("over", final=True)],
    transitions=[Transition("go", "asked", "over", conditions=anybody)],
)
bot_of_plain = Bot(plain)
gathers: Flow[Offer] = Flow(
    "gathers",
    data=Offer,
    initial="asked",
    states=[State("asked", flow=plain), State("over", final=True)],
    transitions=[Transition(["done", "cancelled"], "asked", "over", conditions=affordable)],
)
