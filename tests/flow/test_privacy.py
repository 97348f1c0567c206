"""The marks of fields: a secret is secret wherever inside the data of a flow it stands."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping
from typing import Annotated, Any, Generic, NamedTuple, NewType, Protocol, TypedDict, TypeVar, cast

import attrs
import pytest

from vimbiso_fsm import (
    PUBLIC,
    SECRET,
    Bot,
    Channel,
    CommitEvent,
    Flow,
    FlowError,
    FlowStateManager,
    Message,
    NoData,
    Refused,
    State,
    Text,
    Transition,
    Turn,
    call,
)
from vimbiso_fsm.cli.state import _masked
from vimbiso_fsm.document.codec import decode, document_to_raw
from vimbiso_fsm.document.marks import marks_of_fields
from vimbiso_fsm.flow.privacy import secret_names
from vimbiso_fsm.store.requests import Load, ReadAudit, ReadRecords, Stored
from vimbiso_fsm.testing.chat import Talk

CANARY = "4111-CANARY"
"""The value of each secret in these tests."""
T = TypeVar("T")


@attrs.frozen
class Card:
    """A card with a secret number."""

    number: str = attrs.field(default="", metadata=SECRET)
    bank: str = ""


@dataclasses.dataclass(frozen=True)
class Plate:
    """The same as a dataclass."""

    number: str = dataclasses.field(default="", metadata=SECRET)


@attrs.frozen
class Cash:
    """A means of payment without a secret."""

    coins: int = 0


@attrs.frozen
class Wallet:
    """A class that holds the secret two classes deep."""

    cards: tuple[Card, ...] = ()


@attrs.frozen
class Page(Generic[T]):
    """A generic class."""

    items: tuple[T, ...] = ()


@attrs.frozen
class Node:
    """A class that holds itself."""

    value: str = attrs.field(default="", metadata=SECRET)
    rest: tuple[Node, ...] = ()


@attrs.frozen
class Branch:
    """A class whose secret is in a class that holds it."""

    leaf: Leaf | None = None


@attrs.frozen
class Leaf:
    """A class with a secret that holds the class that holds it."""

    value: str = attrs.field(default="", metadata=SECRET)
    parent: Branch | None = None


class Pair(NamedTuple):
    """A tuple with names, one of which is secret."""

    name: str
    pin: Annotated[str, SECRET]


class Keys(TypedDict):
    """A typed dictionary with a secret key."""

    pin: Annotated[str, SECRET]


Number = NewType("Number", str)
MARKED: Mapping[str, tuple[Any, Any, Any]] = {
    "class": (Card, Card(), Card(CANARY)),
    "optional": (Card | None, None, Card(CANARY)),
    "union": (Card | Cash, Cash(), Card(CANARY)),
    "dataclass": (Plate, Plate(), Plate(CANARY)),
    "class in a class": (Wallet, Wallet(), Wallet((Card(CANARY),))),
    "list": (list[Card], attrs.Factory(list), [Card(CANARY)]),
    "tuple": (tuple[Card, ...], (), (Card(CANARY),)),
    "fixed tuple": (tuple[int, Card], (1, Card()), (1, Card(CANARY))),
    "dict": (dict[str, Card], attrs.Factory(dict), {"a": Card(CANARY)}),
    "list in a dict": (dict[str, list[Card]], attrs.Factory(dict), {"a": [Card(CANARY)]}),
    "generic": (Page[Card], Page(), Page((Card(CANARY),))),
    "generic in a generic": (Page[Page[Card]], Page(), Page((Page((Card(CANARY),)),))),
    "recursive": (Node, Node(), Node("", (Node(CANARY),))),
    "recursive by another class": (Branch, Branch(), Branch(Leaf(CANARY))),
    "NamedTuple": (Pair, Pair("", ""), Pair("a", CANARY)),
    "list of NamedTuple": (list[Pair], attrs.Factory(list), [Pair("a", CANARY)]),
    "TypedDict": (Keys, attrs.Factory(lambda: {"pin": ""}), {"pin": CANARY}),
    "Annotated": (Annotated[str, SECRET], "", CANARY),
    "list of Annotated": (list[Annotated[str, SECRET]], attrs.Factory(list), [CANARY]),
    "Annotated NewType": (Annotated[Number, SECRET], "", CANARY),
}
"""Types with a secret inside, each with an empty value and one that holds the secret."""


def data_of(kind: Any, default: Any, **more: Any) -> type[Any]:
    """Make a data class with a field `value` of a type."""
    fields: Any = {
        "value": attrs.field(default=default, type=kind, **more),
        "name": attrs.field(default="", type=str),
    }
    made: Any = attrs.make_class("Data", fields, frozen=True)
    made.__annotations__ = {"value": kind, "name": str}
    return cast("type[Any]", made)


def flow_of(data: type[Any], value: Any) -> Flow[Any]:
    """Make a flow whose first answer is a value, which goes into the field `value`."""
    return Flow(
        "purchase",
        data=data,
        initial="card",
        states=[
            State("card", ask=Text("card?"), reads=lambda _: value, into="value"),
            State("name", ask=Text("name?"), reads=str, into="name"),
            State("sum", ask=Text("right?"), reads=str, into="name"),
            State("end", final=True, say=Text("bye")),
        ],
        transitions=[
            Transition("answer", "card", "name"),
            Transition("answer", "name", "sum"),
            Transition("answer", "sum", "end"),
        ],
    )


@pytest.mark.parametrize("name", MARKED)
def test_a_secret_inside_the_data_stands_in_the_document_alone(name: str, caplog: pytest.LogCaptureFixture):
    """A field that holds a secret anywhere inside is in no record, audit entry, log, `repr` or printed state."""
    caplog.set_level(logging.DEBUG)
    kind, empty, value = MARKED[name]
    told: list[CommitEvent] = []
    shown: list[str] = []
    member = ""
    with FlowStateManager.in_memory(Bot([flow_of(data_of(kind, empty), value)]), observers=[told.append]) as manager:
        for number, text in enumerate(("hi", CANARY, "Ada", "back", "Ada")):
            outcome = manager.handle(Message(Channel("whatsapp", "263771000001"), f"m{number}", text))
            member = outcome.state.member_id
            shown += [repr(outcome), repr(outcome.state), *(reply.text for reply in outcome.replies)]
        stored = manager.ask(Load(member))
        assert isinstance(stored, Stored)
        raw = document_to_raw(decode(stored.document or b""))
        records = [record.body.decode() for record in manager.ask(ReadRecords(member))]
        shown += [entry.body.decode() for entry in manager.ask(ReadAudit(member))]
        shown += [*records, str(_masked(manager.bot, raw)), repr(told), caplog.text]
    assert CANARY in json.dumps(raw)
    assert '"name":"Ada"' in records[-1]
    assert [text for text in shown if CANARY in text] == []


def test_a_secret_is_found_in_a_class_that_an_earlier_field_has_met():
    """Each field is searched to its end, also where classes hold one another and another field has met them."""
    both: Any = attrs.make_class("Both", {"a": attrs.field(default=Leaf()), "b": attrs.field(default=Branch())})
    both.__annotations__ = {"a": Leaf, "b": Branch}
    assert secret_names(marks_of_fields(both)) == {"a", "b"}


def test_a_field_without_a_secret_stays_in_the_records():
    """Only the fields with a secret inside are left out."""
    assert flow_of(data_of(Cash, Cash()), Cash()).secrets == frozenset()
    assert flow_of(data_of(Card, Card()), Card()).secrets == {"value"}


def test_a_public_field_with_a_secret_inside_is_refused():
    """A field that the audit is to show and that has a secret inside is refused when the flow is made."""
    with pytest.raises(FlowError, match="field 'value' is marked PUBLIC, and a field within it is marked SECRET"):
        flow_of(data_of(Wallet, Wallet(), metadata=PUBLIC), Wallet())
    assert flow_of(data_of(Cash, Cash(), metadata=PUBLIC), Cash()).public == {"value"}


@attrs.frozen
class Person:
    """A profile with a secret, and one inside a class."""

    name: str = ""
    pin: str = attrs.field(default="", metadata=SECRET)
    card: Card = attrs.field(factory=Card)


def test_the_secrets_of_a_profile_and_of_a_call_are_masked():
    """`vimbiso state` masks the secret fields of a profile, and the arguments and the kept answer of a call."""
    bot = Bot([flow_of(data_of(Cash, Cash()), Cash())], profile=Person)
    assert bot.secrets == {"pin", "card"}
    raw = {
        "profile": {"name": "Ada", "pin": CANARY, "card": {"number": CANARY}},
        "flow_data": {},
        "_call": {"arguments": {"card": CANARY}, "answer": {"done": True, "value": {"value": CANARY}}},
    }
    assert "Ada" in str(_masked(bot, raw))
    assert CANARY not in str(_masked(bot, raw))


class Bank(Protocol):
    """The port of a service that takes and returns cards."""

    def charge(self, card: Card, cards: list[Card]) -> Card | Refused:
        """Charge a card; the answer is a new one."""
        ...


class _Bank:
    """A bank whose first attempt fails with a message that quotes its arguments, in a later call it answers."""

    def __init__(self) -> None:
        self.calls = 0

    def charge(self, card: Card, cards: list[Card]) -> Card:
        self.calls += 1
        if self.calls == 1:
            raise RuntimeError(f"no answer for {card} {cards}")
        return Card(card.number[::-1])


def test_the_secrets_of_a_calls_arguments_and_result_stand_in_the_document_alone(caplog: pytest.LogCaptureFixture):
    """A secret in a class that a call takes or returns is in no record, audit entry, log, `repr` or printed state."""
    caplog.set_level(logging.DEBUG)
    flow = Flow(
        "purchase",
        data=data_of(Card, Card()),
        initial="card",
        states=[
            State("card", ask=Text("card?"), reads=Card, into="value"),
            State("charging", call=lambda turn: call(Bank.charge, turn.data.value, [turn.data.value]), into="value"),
            State("name", ask=Text("name?"), reads=str, into="name"),
            State("end", final=True),
        ],
        transitions=[
            Transition("answer", "card", "charging"),
            Transition(["done", "failed"], "charging", "name"),
            Transition("answer", "name", "end"),
        ],
    )
    shown: list[str] = []
    told: list[CommitEvent] = []
    bank = _Bank()
    with FlowStateManager.in_memory(Bot([flow], services={"bank": bank}), observers=[told.append]) as manager:
        manager.handle(Message(Channel("whatsapp", "263771000001"), "m1", "hi"))
        outcome = manager.handle(Message(Channel("whatsapp", "263771000001"), "m2", CANARY))
        member = outcome.state.member_id
        stored = manager.ask(Load(member))
        assert isinstance(stored, Stored)
        raw = document_to_raw(decode(stored.document or b""))
        shown += [repr(outcome), repr(told), caplog.text, str(_masked(manager.bot, raw))]
        shown += [record.body.decode() for record in manager.ask(ReadRecords(member))]
        shown += [entry.body.decode() for entry in manager.ask(ReadAudit(member))]
    assert bank.calls == 2
    assert raw["flow_data"]["data"]["value"]["number"] == CANARY[::-1]
    assert [text for text in shown if CANARY in text or CANARY[::-1] in text] == []


def test_no_repr_shows_the_data_of_a_flow_or_a_reply():
    """The `repr` of a turn, of its changes and of a decision shows neither the data nor the words of a member."""
    shown: list[str] = []

    def read(turn: Turn[Any]) -> Any:
        shown.extend((repr(turn), repr(turn.changes(data=turn.data))))
        return turn.data

    flow = attrs.evolve(flow_of(data_of(str, ""), CANARY))
    last = Transition("answer", "card", "name", prepare=read)
    flow = Flow(
        "purchase", data=flow.data, initial="card", states=flow.states, transitions=[last, *flow.transitions[1:]]
    )
    chat = Talk(Bot([flow], texts={"name?": CANARY})).say("hi").say("a")
    assert chat.words == [CANARY]
    assert shown
    assert [text for text in (*shown, repr(chat.last)) if CANARY in text] == []


def test_the_repr_of_an_outcome_shows_nothing_that_was_said():
    """The `repr` of an outcome shows neither the replies nor the document."""
    flow = Flow(
        "asks",
        data=NoData,
        initial="asked",
        states=[State("asked", ask=Text(CANARY)), State("told", final=True)],
        transitions=[Transition("yes", "asked", "told")],
    )
    with FlowStateManager.in_memory(Bot([flow])) as manager:
        outcome = manager.handle(Message(Channel("whatsapp", "263771000001"), "m1", "hi"))
    assert outcome.replies[0].text == CANARY
    assert not any(text in repr(outcome) for text in (CANARY, "263771000001", "asked"))
