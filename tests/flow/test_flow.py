"""A flow is checked when it is made. The error names the flow, the state, the fault and the remedy."""

# ruff: noqa: E501  # tables read best unwrapped

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest
from hypothesis import given

from tests.bots import Bank, home, order, pick
from tests.strategies import flows
from vimbiso_fsm.errors import FlowError
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.calls import Call, call
from vimbiso_fsm.flow.flow import Flow, NoData
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.flow.turn import Turn
from vimbiso_fsm.messages.money import Money
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.replies import Text

ASK = Text("ask")


@attrs.frozen
class Data:
    """Data with two fields."""

    amount: int = 0
    handle: str = ""


def guard(turn: Turn[Data]) -> bool:
    """Guard that accepts."""
    return True


def other(turn: Turn[Data]) -> bool:
    """Another guard."""
    return True


def no_call(turn: Turn[Data]) -> Any:
    """Placeholder for a `call` callback."""
    return call(Bank.pay, name="", fruit="")


def no_rows(turn: Turn[Data]) -> list[Any]:
    """Placeholder for a `rows` callback."""
    return []


def made(
    states: list[Any], transitions: list[Any], *, name: Any = "offer", initial: str = "a", data: Any = Data, **more: Any
) -> Flow[Any]:
    """Return a flow with these states and transitions."""
    return Flow(name, data=data, initial=initial, states=states, transitions=transitions, **more)


END: State[Any] = State("end", final=True)
A: State[Any] = State("a", ask=ASK)
GO: Transition[Any] = Transition("go", "a", "end")


def test_the_message_of_the_design():
    """The error for an undeclared state has the wording of the style guide."""
    with pytest.raises(FlowError) as caught:
        made(
            [State("amount", ask=ASK, reads=str), State("handle", ask=ASK, reads=str), END],
            [Transition("answer", "amount", "handel"), Transition("answer", "handle", "end")],
            initial="amount",
        )
    assert str(caught.value).startswith(
        "flow 'offer', state 'handel': transition 'answer' names it, but no State('handel') is declared; "
        "did you mean 'handle'? ("
    )
    error = caught.value
    assert (error.flow, error.place, error.remedy) == ("offer", "state 'handel'", "did you mean 'handle'?")
    assert isinstance(error, ValueError)


CASES: list[tuple[str, Callable[[], object], str]] = [
    ("bad name", lambda: made([A, END], [GO], name="Offer!"), "flow 'Offer!': the name must be lower-case letters, digits and underscores; rename it"),
    ("name no text", lambda: made([A, END], [GO], name=5), "flow '5': the name must be lower-case"),
    ("version", lambda: made([A, END], [GO], version=0), "flow 'offer': version is 0; versions count 1, 2, 3"),
    ("version true", lambda: made([A, END], [GO], version=True), "flow 'offer': version is True"),
    ("data no class", lambda: made([A, END], [GO], data=dict), "flow 'offer', data: it is not an attrs class; decorate it with @attrs.frozen"),
    ("data a value", lambda: made([A, END], [GO], data=Data()), "flow 'offer', data: it is not an attrs class"),
    ("reserved field", lambda: made([A, END], [GO], data=attrs.make_class("D", {"member_id": attrs.field(default="")})), "field 'member_id' has a reserved name; rename the field"),
    ("framework's field", lambda: made([A, END], [GO], data=attrs.make_class("D", {"flow_type": attrs.field(default="")})), "field 'flow_type' has a reserved name"),
    ("underscore", lambda: made([A, END], [GO], data=attrs.make_class("D", {"_x": attrs.field(default="")})), "field '_x' has a reserved name"),
    ("no default", lambda: made([A, END], [GO], data=attrs.make_class("D", ["x"])), "field 'x' has no default; give it one: a run starts with no answers"),
    ("no state", lambda: made([A, "end"], [GO]), "flow 'offer', states: holds a str; declare each with State(…)"),
    ("state name", lambda: made([State("A b", ask=ASK), END], [GO]), "flow 'offer', state 'A b': the name must be lower-case"),
    ("state name no text", lambda: made([State(5, ask=ASK), END], [GO]), "flow 'offer', state 5: the name must be lower-case"),  # type: ignore[arg-type]
    ("twice", lambda: made([A, A, END], [GO]), "flow 'offer', state 'a': it is declared twice; rename or remove one"),
    ("initial", lambda: made([A, END], [GO], initial="aa"), "flow 'offer', state 'aa': initial names it, but it is not declared; did you mean 'a'?"),
    ("initial unlike any", lambda: made([A, END], [GO], initial="zzz"), "initial names it, but it is not declared; known are a, end"),
    ("no transition", lambda: made([A, END], [("go", "a", "end")]), "flow 'offer', transitions: holds a tuple; declare each with Transition(…)"),
    ("trigger name", lambda: made([A, END], [Transition("Go!", "a", "end")]), "flow 'offer', transition 'Go!': a trigger is lower-case letters, digits and underscores"),
    ("trigger no text", lambda: made([A, END], [Transition(None, "a", "end")]), "flow 'offer', transition None: it has no trigger; name one, or several in a list"),  # type: ignore[arg-type]
    ("star", lambda: made([A, END], [Transition("go", "*", "end")]), "flow 'offer', transition 'go': '*' is not a source; list the states"),
    ("star among", lambda: made([A, END], [Transition("go", ["a", "*"], "end")]), "'*' is not a source; list the states"),
    ("unknown source", lambda: made([A, END], [GO, Transition("go", "b", "end")]), "flow 'offer', state 'b': transition 'go' names it, but no State('b') is declared"),
    ("guard by name", lambda: made([A, END], [Transition("go", "a", "end", conditions="guard")]), "flow 'offer', transition 'go': 'guard' is not a function; name callbacks by reference"),  # type: ignore[arg-type]
    ("prepare by name", lambda: made([A, END], [Transition("go", "a", "end", prepare="p")]), "'p' is not a function; name callbacks by reference"),  # type: ignore[arg-type]
    ("ask no text", lambda: made([State("a", ask="How much?"), END], [GO]), "flow 'offer', state 'a': ask is a str; give ask=Text(…) or a function that returns one"),  # type: ignore[arg-type]
    ("say no text", lambda: made([State("a", say=5, ask=ASK), END], [GO]), "say is a int; give say=Text(…)"),  # type: ignore[arg-type]
    ("reads by name", lambda: made([State("a", ask=ASK, reads="money"), END], [Transition("answer", "a", "end")]), "flow 'offer', state 'a': reads is a str; name callbacks by reference"),  # type: ignore[arg-type]
    ("call made", lambda: made([State("a", call=5), END], [Transition("done", "a", "end"), Transition("failed", "a", "end")]), "call is a int; name callbacks by reference"),  # type: ignore[arg-type]
    ("flow by name", lambda: made([State("a", flow="pick"), END], [Transition("done", "a", "end"), Transition("cancelled", "a", "end")]), "flow is a str; give the flow itself, made with Flow(…)"),  # type: ignore[arg-type]
    ("unreachable", lambda: made([A, State("b", ask=ASK), END], [GO, Transition("go", "b", "end")]), "flow 'offer', state 'b': no transition leads to it; add one or remove it"),
    ("dead end", lambda: made([A, State("b", ask=ASK)], [Transition("go", "a", "b")]), "flow 'offer', state 'b': it is a dead end; give it a transition or say final=True"),
    ("final with a way on", lambda: made([A, END], [GO, Transition("go", "end", "a")]), "flow 'offer', state 'end': it is final and has transition 'go'; remove one of the two"),
    ("final with a timeout", lambda: made([A, State("end", final=True, timeout=60)], [GO]), "flow 'offer', state 'end': it is final and has a timeout, which would never fire; remove one of the two"),
    ("never told apart", lambda: made([A, END, State("x", final=True)], [GO, Transition("go", "a", "x")]), "flow 'offer', state 'a': transition 'go' to 'x' can never be told from the one to 'end'; give the earlier one a guard that can decline"),
    ("same guards", lambda: made([A, END, State("x", final=True)], [Transition("go", "a", "end", conditions=[guard, other]), Transition("go", "a", "x", conditions=[other, guard])]), "can never be told from the one to 'end'; give them different guards"),
    ("no question", lambda: made([State("a"), END], [GO]), "flow 'offer', state 'a': it waits for an answer but asks no question; give it ask=Text(…)"),
    ("reads without question", lambda: made([State("a", reads=str), END], [Transition("answer", "a", "end")]), "it takes an answer but asks no question; give it ask=Text(…)"),
    ("into nowhere", lambda: made([State("a", ask=ASK, reads=str, into="amuont"), END], [Transition("answer", "a", "end")]), "flow 'offer', state 'a': into names field 'amuont', which Data lacks; did you mean 'amount'?"),
    ("unwritten into", lambda: made([State("a", ask=ASK, into="amount"), END], [GO]), "flow 'offer', state 'a': nothing ever writes into 'amount'; give it reads, rows, call or flow, or remove into"),
    ("input alone", lambda: made([State("a", ask=ASK, input=guard), END], [GO]), "it has input but no flow; name the sub-flow with flow="),
    ("answer unread", lambda: made([A, END], [Transition("answer", "a", "end")]), "it has transition 'answer' but neither reads nor rows; say how an answer is read"),
    ("answer leads nowhere", lambda: made([State("a", ask=ASK, reads=str), END], [GO]), "it takes an answer but has no transition 'answer'; say where an answer leads"),
    ("rows lead nowhere", lambda: made([State("a", ask=ASK, rows=no_rows), END], [GO]), "it takes an answer but has no transition 'answer'"),
    ("call without failed", lambda: made([State("a", call=no_call), END], [Transition("done", "a", "end")]), "flow 'offer', state 'a': it has no transition 'failed'; say where 'failed' leads"),
    ("flow without cancelled", lambda: made([State("a", flow=pick), END], [Transition("done", "a", "end")]), "it has no transition 'cancelled'; say where 'cancelled' leads"),
    ("done of nothing", lambda: made([A, END], [GO, Transition("done", "a", "end")]), "flow 'offer', state 'a': trigger 'done' can never come here; remove the transition"),
    ("button of a call", lambda: made([State("a", call=no_call), END], [Transition("done", "a", "end"), Transition("failed", "a", "end"), GO]), "trigger 'go' can never come here; remove the transition"),
    ("timeout alone", lambda: made([State("a", ask=ASK, timeout=5), END], [GO]), "timeout= and a transition 'timeout' belong together; add the missing one"),
    ("timeout transition alone", lambda: made([A, END], [GO, Transition("timeout", "a", "end")]), "timeout= and a transition 'timeout' belong together"),
    ("timeout of nothing", lambda: made([State("a", ask=ASK, timeout=0), END], [GO, Transition("timeout", "a", "end")]), "timeout is 0; give seconds or a timedelta, more than 0"),
    ("cancels not final", lambda: made([State("a", ask=ASK, cancels=True), END], [GO]), "cancels and output belong to final states; say final=True or remove them"),
    ("output not final", lambda: made([State("a", ask=ASK, output=guard), END], [GO]), "cancels and output belong to final states"),
    ("call and flow", lambda: made([State("a", call=no_call, flow=pick), END], [Transition("done", "a", "end"), Transition("failed", "a", "end"), Transition("cancelled", "a", "end")]), "flow 'offer', state 'a': it has more than one role: call, flow; split the state"),
    ("final and ask", lambda: made([A, State("end", final=True, ask=ASK)], [GO]), "flow 'offer', state 'end': it has more than one role: final, a question; split the state"),
    ("flow and ask", lambda: made([State("a", flow=pick, ask=ASK), END], [Transition("done", "a", "end"), Transition("cancelled", "a", "end")]), "it has more than one role: flow, a question; split the state"),
    ("call and rows", lambda: made([State("a", call=no_call, ask=ASK, rows=no_rows), END], [Transition("done", "a", "end"), Transition("failed", "a", "end")]), "it has more than one role: call, a question"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "message"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_each_fault_is_raised_when_the_flow_is_made(make: Callable[[], object], message: str):
    """Each fault of a declaration raises a `FlowError` when the flow is made."""
    with pytest.raises(FlowError) as caught:
        make()
    assert message in str(caught.value)
    assert all(fault.words.startswith("flow '") and fault.line for fault in caught.value.faults)


def test_a_timeout_beside_a_call_is_refused():
    """A state with a call has no timeout, because a reply must not deny an effect that may have happened."""
    with pytest.raises(FlowError, match="timeout"):
        made(
            [State("a", call=no_call, timeout=5), END],
            [Transition("done", "a", "end"), Transition("failed", "a", "end"), Transition("timeout", "a", "end")],
        )


def test_a_sub_flow_needs_its_question_no_more():
    """Complete states of every kind are accepted."""
    assert repr(order) == "Flow('order', version=2)"
    assert order.buttons["confirm"] == ("yes", "no", "gift", "express")
    assert [way.dest for way in order.ways("name", "answer")] == ["picking", "pin"]
    assert order.ways("name", "yes") == ()
    assert order["sorting"].idle
    assert not order["paying"].idle
    assert home.data is NoData


def test_a_list_is_a_source():
    """A transition can have several sources."""
    flow = made([A, State("b", ask=ASK), END], [Transition("go", ["a", "b"], "end"), Transition("on", "a", "b")])
    assert flow.ways("a", "go") == flow.ways("b", "go")
    assert Transition("go", ("a", "b"), "end").sources == ("a", "b")


def test_a_single_guard_needs_no_list():
    """`conditions=f` is the same as `conditions=[f]`."""
    assert Transition("go", "a", "b", conditions=guard, unless=[other]).guards == (guard, other)


def test_a_fingerprint_does_not_depend_on_whether_annotations_were_resolved():
    """The fingerprint stays when attrs or cattrs resolve the annotations of the data class."""

    @attrs.frozen
    class Once:
        amount: int = 0

    before = made([A, END], [GO], data=Once).fingerprint
    attrs.resolve_types(Once)
    assert made([A, END], [GO], data=Once).fingerprint == before


def test_the_fingerprint_is_of_states_transitions_and_fields():
    """The fingerprint depends on states, transitions and fields, not on texts and code."""
    same = made([State("a", ask=Text("other words")), END], [Transition("go", "a", "end", conditions=guard)])
    assert made([A, END], [GO]).fingerprint == same.fingerprint
    assert made([A, END], [Transition("on", "a", "end")]).fingerprint != same.fingerprint
    assert made([A, END], [GO], data=NoData).fingerprint != same.fingerprint


def test_a_bot_takes_flows_of_different_names():
    """A bot refuses no flows, an object that is not a flow, and two flows of one name, sub-flows included."""
    simple = made([A, END], [GO], name="simple")
    twin = made([A, END], [GO], name="simple")
    assert Bot(flows=simple).home is simple
    assert set(Bot(flows=[home]).machines) == {"home", "order", "pick", "carry_on"}
    with pytest.raises(FlowError, match="it has no flows"):
        Bot(flows=[])
    with pytest.raises(FlowError, match="a str is not a flow"):
        Bot(flows=["simple"])  # type: ignore[list-item]
    with pytest.raises(FlowError, match="two flows have this name"):
        Bot(flows=[simple, twin])
    with pytest.raises(FlowError, match="two flows have this name"):
        Bot(flows=[simple], entry=twin)
    with pytest.raises(KeyError):
        Bot(flows=simple).flow("nothing")


def test_services_are_replaced_by_name():
    """`with_services` replaces services by name and leaves the bot unchanged."""
    bot = Bot(flows=[made([A, END], [GO])], services={"a": 1, "b": 2})
    assert bot.with_services({"b": 3}).services == {"a": 1, "b": 3}
    assert bot.services == {"a": 1, "b": 2}
    assert bot.with_services({}) is bot


@given(flows())
def test_generated_flows_are_whole(flow: Flow[Any]):
    """Generated flows pass the checks, and each of their states can be looked up."""
    assert all(flow[state.name] is state for state in flow.states)
    assert len(flow.fingerprint) == 12


def test_refused_is_no_exception():
    """`Refused` is not an exception."""
    assert not isinstance(Refused("x"), BaseException)


# What is given fits where it goes ---------------------------------------------------------------------------------


@attrs.frozen
class Basket:
    price: Money | None = None
    count: int = 0
    weight: float = 0.0
    names: tuple[str, ...] = ()
    anything: Any = None


class Till:
    """A port."""

    def price(self) -> Money | Refused:
        raise NotImplementedError

    def receipt(self) -> str | None:
        raise NotImplementedError


def reads_money(text: str) -> Money | Refused:
    """Reader of money."""
    return Refused("none")


def reads_count(text: str) -> int:
    """Reader of a number."""
    return len(text)


def reads_names(text: str) -> tuple[str, ...]:
    """Reader of names."""
    return (text,)


def reads_something(text: str) -> object:
    """Reader of any value."""
    return text


def asks_price(turn: Turn[Basket]) -> Call[Money | Refused]:
    """Propose a call that returns money or a refusal."""
    return call(Till.price)


def asks_receipt(turn: Turn[Basket]) -> Call[str | None]:
    """Propose a call that returns a text or nothing."""
    return call(Till.receipt)


def unannotated(text):
    """Reader without annotations."""
    return text


def filling(into: str, **answer: Any) -> Flow[Basket]:
    """Return a flow whose first state fills a field."""
    ways = ["done", "failed"] if "call" in answer else ["done", "cancelled"] if "flow" in answer else ["answer"]
    asked: dict[str, Any] = {"ask": Text("?")} if ways == ["answer"] else {}
    states = [State("filling", into=into, **answer, **asked), State("over", final=True)]
    return Flow(
        "basket",
        data=Basket,
        initial="filling",
        states=states,
        transitions=[Transition(way, "filling", "over") for way in ways],
    )


def picking(result: Any = None) -> Flow[Any]:
    """Return a sub-flow with this output."""
    states: list[State[Any]] = [
        State("asking", ask=Text("?"), reads=str),
        State("picked", final=True, output=result),
        State("left", final=True, cancels=True),
    ]
    ways: list[Transition[Any]] = [Transition("answer", "asking", "picked"), Transition("no", "asking", "left")]
    return Flow("picking", data=Basket, initial="asking", states=states, transitions=ways)


def picked_count(turn: Turn[Basket]) -> int:
    """Return the number in the basket, as the output of a flow."""
    return turn.data.count


@pytest.mark.parametrize(
    ("into", "answer"),
    [
        ("price", {"reads": reads_money}),
        ("price", {"call": asks_price}),
        ("count", {"reads": reads_count}),
        ("weight", {"reads": reads_count}),
        ("names", {"reads": reads_names}),
        ("count", {"reads": unannotated}),
        ("count", {"reads": reads_something}),
        ("anything", {"reads": reads_money}),
        ("count", {"flow": picking(picked_count)}),
    ],
)
def test_an_answer_that_fits_its_field(into: str, answer: dict[str, Any]):
    """An answer that fits its field by annotation, or has no annotation, is accepted."""
    assert filling(into, **answer)["filling"].into == into


@pytest.mark.parametrize(
    ("into", "answer", "fault"),
    [
        ("count", {"reads": str}, "reads gives str, but field 'count' takes int"),
        ("names", {"reads": reads_money}, "reads gives .*Money.*, but field 'names' takes tuple"),
        ("count", {"call": asks_price}, "the call gives .*Money.*, but field 'count' takes int"),
        ("anything", {"call": asks_receipt}, ""),
        ("count", {"flow": picking()}, "state 'picked' of flow 'picking' gives None, but field 'count' takes int"),
        ("price", {"flow": picking(picked_count)}, "state 'picked' of flow 'picking' gives int, but field 'price'"),
    ],
)
def test_an_answer_that_its_field_cannot_hold(into: str, answer: dict[str, Any], fault: str):
    """An answer that its field cannot hold is found when the flow is made."""
    if not fault:
        filling(into, **answer)
        return
    with pytest.raises(FlowError, match=fault):
        filling(into, **answer)


def test_the_input_of_a_sub_flow_is_its_data_class():
    """The annotated result of `input` must be the data class of the sub-flow."""

    def gives_count(turn: Turn[Basket]) -> int:
        raise NotImplementedError

    def gives_basket(turn: Turn[Basket]) -> Basket:
        raise NotImplementedError

    with pytest.raises(FlowError, match="input returns int, but flow 'picking' takes Basket; return a Basket"):
        filling("count", flow=picking(picked_count), input=gives_count)
    assert filling("count", flow=picking(picked_count), input=gives_basket)
