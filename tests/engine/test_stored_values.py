"""What a turn stores can be read: a value that does not fit its field fails the turn that would store it."""

# ruff: noqa: E501  # tables read best unwrapped

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Any, Protocol, cast

import attrs
import pytest

from vimbiso_fsm import (
    Bot,
    Call,
    Flow,
    FlowError,
    FlowStateManager,
    Message,
    Misfit,
    Row,
    State,
    Text,
    Transition,
    Turn,
    UnstorableType,
    VimbisoError,
    call,
)
from vimbiso_fsm.document.codec import decode
from vimbiso_fsm.document.document import PendingCall
from vimbiso_fsm.engine.reading import faults
from vimbiso_fsm.flow.calls import Caller, CallPolicy
from vimbiso_fsm.operations.effects import RunCall
from vimbiso_fsm.runtime.binding import bind
from vimbiso_fsm.testing.chat import CHANNEL, START, Chat, Talk


class Size(StrEnum):
    """A size."""

    SMALL = "small"


@attrs.frozen
class Order:
    """What is ordered."""

    count: int = 0
    size: Size = Size.SMALL
    day: date | None = None
    notes: Mapping[str, Any] = attrs.field(factory=dict)
    lines: tuple[str, ...] = ()


@attrs.frozen
class Line:
    """An argument of a call."""

    name: str
    price: Decimal


class Shop(Protocol):
    """A service that calls are made to."""

    def stock(self, name) -> Any:
        """Return what is in stock; no type says what."""
        ...

    def order(self, lines: tuple[Line, ...], day: date, share: float) -> str:
        """Order."""
        ...

    def weigh(self, weight: Fraction) -> str:
        """Take an argument of a type that is not stored."""
        ...


class TheShop(Shop):
    """A shop that answers what it is told to, and whose methods have fewer annotations than those of the port."""

    def __init__(self, answer: object = None) -> None:
        self.answer = answer

    def stock(self, name) -> Any:
        """Answer."""
        return self.answer

    def order(self, lines, day, share) -> Any:
        """Answer."""
        return self.answer

    def weigh(self, weight) -> Any:
        """Answer."""
        return self.answer


def stores(value: object) -> Any:
    """A `prepare` that stores values of these fields, or this data."""
    return lambda turn: attrs.evolve(turn.data, **value) if isinstance(value, dict) else value


def preparing(value: object) -> Flow[Order]:
    """A flow whose button stores a value."""
    return Flow(
        "order", data=Order, initial="ask",
        states=[State("ask", ask=Text("?")), State("end", ask=Text("!"))],
        transitions=[Transition("go", "ask", "end", prepare=stores(value)), Transition("go", "end", "ask")],
    )  # fmt: skip


def calling(proposed: Any, into: str | None = "count") -> Flow[Order]:
    """A flow whose button makes a call."""
    return Flow(
        "order", data=Order, initial="ask",
        states=[State("ask", ask=Text("?")), State("check", call=proposed, into=into), State("end", ask=Text("!"))],
        transitions=[
            Transition("go", "ask", "check"),
            Transition("go", "end", "ask"),
            Transition("done", "check", "end"),
            Transition("failed", "check", "ask"),
        ],
    )  # fmt: skip


MISFITS: list[tuple[dict[str, Any], str]] = [
    ({"count": "5"}, "count"), ({"count": None}, "count"), ({"count": 5.0}, "count"), ({"size": "small"}, "size"), ({"day": "2026-03-04"}, "day"),
    ({"day": START}, "day"), ({"notes": {"at": START}}, "notes.0"), ({"notes": {1: 1}}, "notes.key"), ({"lines": "ab"}, "lines"), ({"lines": (1,)}, "lines.0"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "path"), MISFITS)
def test_a_prepare_that_stores_a_misfit_fails_the_turn(given: dict[str, Any], path: str):
    """Data with a value that is not of its field's type is not stored; the error names the field, the member stays."""
    talk = Talk(Bot(preparing(given))).say("hi").say("go")
    error = talk.last.error
    assert isinstance(error, Misfit)
    assert (error.place, error.path) == ("data of flow 'order'", path)
    assert (talk.last.status, talk.place) == ("failed", "order.ask")
    assert faults(talk.bot, talk.last.raw)[1] == ()


@pytest.mark.parametrize("answer", ["5", None, 5.0, {"count": 5}])
def test_an_untyped_result_of_a_call_that_is_a_misfit_fails_the_turn(answer: object):
    """A result of another type is not stored in the field; the document can be read, and the call stays pending."""
    bot = Bot(calling(lambda turn: call(Shop.stock, "a")), services={"shop": TheShop(answer)})
    talk = Talk(bot).say("hi").say("go")
    assert isinstance(talk.last.error, Misfit)
    assert talk.last.error.path == "count"
    assert talk.place == "order.check"
    assert talk.state.call is not None
    assert faults(talk.bot, talk.last.raw)[1] == ()


@pytest.mark.parametrize(("value", "place"), [(5, "order.end"), ("5", "order.ask"), (None, "order.ask")])
def test_a_row_whose_value_is_a_misfit_fails_the_turn(value: object, place: str):
    """A chosen row stores a value of its field's type, and no other. Without a value it stores its id, a text."""

    def rows(turn: Turn[Order]) -> Sequence[Row]:
        return [Row("five", Text("five"), value=value)]

    flow = Flow(
        "order", data=Order, initial="ask",
        states=[State("ask", ask=Text("?"), rows=rows, into="count"), State("end", ask=Text("!")), State("none", final=True)],
        transitions=[
            Transition("answer", "ask", "end"),
            Transition("go", "end", "ask"),
            Transition("empty", "ask", "none"),
        ],
    )  # fmt: skip
    talk = Talk(Bot(flow)).say("hi").say("five")
    assert talk.place == place
    assert isinstance(talk.last.error, Misfit) == (value != 5)


def test_the_input_of_a_sub_flow_that_is_a_misfit_fails_the_turn():
    """The input of a sub-flow has values of the types of its fields."""
    flow = Flow(
        "outer", initial="ask",
        states=[
            State("ask", ask=Text("?")),
            State("sub", flow=preparing({}), input=stores(Order(count="5"))),  # type: ignore[arg-type]  # that is the test
        ],
        transitions=[
            Transition("go", "ask", "sub"),
            Transition("done", "sub", "ask"),
            Transition("cancelled", "sub", "ask"),
        ],
    )  # fmt: skip
    talk = Talk(Bot(flow)).say("hi").say("go")
    assert isinstance(talk.last.error, Misfit)
    assert talk.place == "outer.ask"


def test_a_value_is_settled_in_the_turn_that_stores_it():
    """A list for a tuple is a tuple for the next state of the same turn, for the next turn and for another worker."""
    seen: list[object] = []

    def look(turn: Turn[Order]) -> Text:
        seen.append(turn.data.lines)
        return Text("!")

    flow = preparing({"lines": ["a", "b"]})
    flow = attrs.evolve(flow, states=[flow["ask"], attrs.evolve(flow["end"], ask=look)])
    for cached in (True, False):
        chat = Chat(Bot(flow), cached=cached)
        chat.say("hi", "go", "what?")
    assert seen == [("a", "b")] * len(seen)
    assert len(seen) >= 4


# Calls ---------------------------------------------------------------------------------------------------------------


def proposed(made: Call[Any]) -> Talk:
    """A conversation that has proposed a call and not made it."""
    talk = Talk(Bot(calling(lambda turn: made, into=None), services={"shop": TheShop("done")})).say("hi")
    talk.hold_calls = True
    return talk.say("go")


def bound(talk: Talk, pending: PendingCall, call: Call[Any]) -> Mapping[str, object]:
    """The arguments that the service receives."""
    method: Any = bind(talk.bot.services, RunCall(call, Caller(), CallPolicy(), pending, talk.state.member_id))
    arguments: Mapping[str, object] = method.keywords
    return arguments


def test_a_call_has_the_same_arguments_in_each_attempt():
    """The worker that proposed a call and one that takes it up later give the service equal arguments of one type."""
    lines: Any = [Line("a", Decimal("1.50"))]
    talk = proposed(call(Shop.order, lines, date(2026, 3, 4), 1))
    pending, first = talk.state.call, talk.last.call
    assert pending is not None
    assert first is not None
    assert decode(talk.last.raw).call == pending
    later: Call[Any] = Call(pending.service, pending.method, pending.arguments, stored=True)
    expected = {"lines": (Line("a", Decimal("1.50")),), "day": date(2026, 3, 4), "share": 1.0}
    assert repr(bound(talk, pending, first)) == repr(bound(talk, pending, later)) == repr(expected)


@pytest.mark.parametrize(
    ("made", "error", "words"),
    [
        (lambda: call(Shop.order, (), cast(Any, "2026-03-04"), 1.0), Misfit, "argument 'day' of shop.order"),
        (lambda: call(Shop.order, (Line("a", cast(Any, 1)),), date(2026, 3, 4), 1.0), Misfit, "argument 'lines' of shop.order, field '0.price'"),
        (lambda: call(Shop.stock, Decimal(1)), Misfit, "declare the type"),
        (lambda: call(Shop.weigh, Fraction(1)), UnstorableType, "type Fraction"),
    ],
)  # fmt: skip
def test_an_argument_that_cannot_be_stored_fails_the_turn_that_proposes_the_call(
    made: Any, error: type[VimbisoError], words: str
):
    """An argument that another worker would not receive equal fails the turn, and the call is not made."""
    talk = proposed(made())
    assert isinstance(talk.last.error, error)
    assert words in str(talk.last.error)
    assert (talk.place, talk.state.call) == ("order.ask", None)


# Profiles ------------------------------------------------------------------------------------------------------------


@attrs.frozen
class Person:
    """A profile."""

    name: str = ""
    size: Size = Size.SMALL
    born: date | None = None


def renamed(change: Mapping[str, Any]) -> Flow[Any]:
    """A flow whose button changes the profile."""

    def prepare(turn: Turn[Any, Person]) -> Any:
        profile = attrs.evolve(turn.member.profile, **change)
        return turn.changes(member=attrs.evolve(turn.member, profile=profile))

    return Flow(
        "order", initial="ask",
        states=[State("ask", ask=Text("?")), State("end", ask=Text("!"))],
        transitions=[Transition("go", "ask", "end", prepare=prepare), Transition("go", "end", "ask")],
    )  # fmt: skip


def test_a_profile_class_is_proven_when_the_bot_is_made():
    """A profile class with a type that is not stored is refused, and the error names the field."""

    @attrs.frozen
    class Odd:
        """A profile that cannot be stored."""

        share: Fraction = Fraction(0)

    with pytest.raises(FlowError, match="field 'share' of profile class Odd is of type Fraction"):
        Bot(preparing({}), profile=Odd)


def test_a_profile_has_enums_and_dates_for_each_worker():
    """A profile with an enum and a date is read back equal."""
    seen: list[Person] = []
    flow = renamed({"name": "Ada", "born": date(1815, 12, 10)})

    def look(turn: Turn[Any, Person]) -> Text:
        seen.append(turn.member.profile)
        return Text("!")

    flow = attrs.evolve(flow, states=[flow["ask"], attrs.evolve(flow["end"], ask=look)])
    manager = FlowStateManager.in_memory(Bot(flow, profile=Person))
    for number, text in enumerate(["hi", "go", "what?"]):
        manager.handle(Message(CHANNEL, f"m{number}", text))
    assert seen == [Person("Ada", Size.SMALL, date(1815, 12, 10))] * len(seen)
    assert len(seen) >= 2


@pytest.mark.parametrize("change", [{"name": 5}, {"size": "small"}, {"born": START}])
def test_a_profile_that_is_a_misfit_fails_the_turn(change: Mapping[str, Any]):
    """A profile with a value that is not of its field's type is not stored."""
    talk = Talk(Bot(renamed(change), profile=Person)).say("hi").say("go")
    assert isinstance(talk.last.error, Misfit)
    assert (talk.last.error.place, talk.last.error.path) == ("profile", next(iter(change)))
    assert talk.place == "order.ask"
