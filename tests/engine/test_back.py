"""`back`: its range, what it shows and keeps, and the fields that a changed answer resets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bots import fruit_bot, member_document
from tests.flow.test_flow import END, A, made
from vimbiso_fsm.errors import FlowError
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.calls import READ_ONLY, Call, CallPolicy, call
from vimbiso_fsm.flow.flow import Flow
from vimbiso_fsm.flow.privacy import SECRET
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.flow.turn import Turn
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.replies import Row, Text
from vimbiso_fsm.testing.chat import Chat, Talk

NOWHERE = "This is the first question; there is nothing to go back to."
SENT = "What came before this was already sent, so there is no way back over it."


# Over sub-flows ------------------------------------------------------------------------------------------------------


def at_confirm() -> Talk:
    """A member who has given a name and a PIN and has chosen in a sub-flow."""
    return Talk(fruit_bot(), member_document()).says("hi", "order", "ada", "1234", "fruit02")


def test_back_walks_to_the_first_question_with_answers_shown_and_kept():
    """`back` leads to the first question, a sub-flow counts as one, and each answer stays until it is changed."""
    talk = at_confirm()
    answers = {**talk.fields}
    seen = []
    for _ in range(4):
        talk.say("back")
        seen.append((talk.place, talk.words[0]))
    assert seen == [
        ("pick.list", "Your earlier answer: fruit02"),
        ("order.pin", "Your PIN?"),  # it is secret
        ("order.name", "Your earlier answer: ada"),
        ("order.name", NOWHERE),
    ]
    assert talk.fields == answers
    talk.says("ada", "1234")
    assert (talk.place, talk.document.suspended[-1].flow_data.data.fields["fruit"]) == ("pick.list", "fruit02")  # type: ignore[union-attr]
    talk.say("fruit03")
    assert talk.fields == {**answers, "fruit": "fruit03", "visits": 2}


def test_a_sub_flow_that_is_left_backwards_is_not_a_cancelled_one():
    """`back` out of a sub-flow cancels nothing; the sub-flow begins again when it is reached again."""
    talk = Talk(fruit_bot(), member_document()).says("hi", "order", "ada", "1234")
    assert talk.place == "pick.list"
    talk.say("back")
    assert talk.place == "order.pin"
    assert [run.flow for run in talk.state.suspended] == ["home"]
    talk.says("4321", "fruit05")
    assert (talk.place, talk.fields["fruit"], talk.fields["pin"]) == ("order.confirm", "fruit05", "4321")


@attrs.frozen
class Words:
    """Two answers."""

    one: str = ""
    two: str = ""


def nested(depth: int, inner: Flow[Any] | None = None) -> Flow[Any]:
    """A flow of two questions; between them another of the same kind, `depth` deep."""
    middle: list[State[Any]] = [] if inner is None else [State("middle", flow=inner)]
    first = "middle" if inner else "two"
    over: list[Transition[Any]] = (
        [Transition("done", "middle", "two"), Transition("cancelled", "middle", "one")] if inner else []
    )
    flow: Flow[Any] = Flow(
        f"deep{depth}", data=Words, initial="one",
        states=[
            State("one", ask=Text(f"one of {depth}?"), reads=str, into="one"), *middle,
            State("two", ask=Text(f"two of {depth}?"), reads=str, into="two"), END,
        ],
        transitions=[Transition("answer", "one", first), Transition("answer", "two", "end"), *over],
    )  # fmt: skip
    return flow if depth == 1 else nested(depth - 1, flow)


def test_back_goes_through_flows_within_flows():
    """`back` leads through nested sub-flows to the very first question."""
    home: Flow[Any] = Flow(
        "home", initial="menu",
        states=[State("menu", ask=Text("menu?")), State("in", flow=nested(3))],
        transitions=[Transition("go", "menu", "in"), Transition("done", "in", "menu"),
                     Transition("cancelled", "in", "menu")],
    )  # fmt: skip
    talk = Talk(Bot([home])).says("hi", "go", "a", "b", "c")
    assert talk.words == ["two of 3?"]
    asked = []
    for _ in range(4):
        talk.say("back")
        asked.append(talk.words[-1])
    assert asked == ["one of 3?", "one of 2?", "one of 1?", "one of 1?"]
    assert talk.words[0] == NOWHERE
    talk.says("a", "b", "c", "d", "e")
    assert talk.words == ["two of 1?"]
    talk.say("back")
    assert talk.words == ["one of 2?"]  # what the flow within asks begins again
    talk.say("back")
    assert talk.words == ["Your earlier answer: a", "one of 1?"]


def test_a_sub_flow_that_asked_nothing_is_walked_past():
    """`back` skips a sub-flow that asked nothing."""
    silent: Flow[Any] = Flow(
        "silent", initial="pass", states=[State("pass"), END], transitions=[Transition("auto", "pass", "end")]
    )
    flow: Flow[Any] = Flow(
        "one", data=Words, initial="one",
        states=[State("one", ask=Text("one?"), reads=str, into="one"), State("sub", flow=silent),
                State("two", ask=Text("two?"), reads=str, into="two"), END],
        transitions=[Transition("answer", "one", "sub"), Transition("done", "sub", "two"),
                     Transition("cancelled", "sub", "one"), Transition("answer", "two", "end")],
    )  # fmt: skip
    talk = Talk(Bot([flow])).says("hi", "a")
    assert talk.words == ["two?"]
    assert talk.say("back").words == ["Your earlier answer: a", "one?"]


@attrs.frozen
class Thing:
    """The value of a row."""

    number: int = 0


@attrs.frozen
class Choices:
    """A thing chosen from a list, a secret word, and a note."""

    thing: Thing = attrs.field(factory=Thing)
    hidden: str = attrs.field(default="", metadata={**SECRET, "label": "of ours"})
    more: str = ""


def test_an_answer_is_shown_in_the_words_that_were_read():
    """`back` shows a row by its title, and never shows a secret."""

    def things(_: Turn[Choices]) -> Sequence[Row]:
        return [Row("t1", "The first", value=Thing(1)), Row("t2", "The second", value=Thing(2))]

    flow: Flow[Any] = Flow(
        "one", data=Choices, initial="thing",
        states=[State("thing", ask=Text("thing?"), rows=things, into="thing"),
                State("hidden", ask=Text("hidden?"), reads=str, into="hidden"),
                State("more", ask=Text("more?"), reads=str, into="more"), END],
        transitions=[Transition("answer", "thing", "hidden"), Transition("answer", "hidden", "more"),
                     Transition("answer", "more", "end")],
    )  # fmt: skip
    talk = Talk(Bot([flow])).says("hi", "2", "zebra")
    assert talk.say("back").words == ["hidden?"]
    assert talk.say("back").words[0] == "Your earlier answer: The second"


# Over calls ----------------------------------------------------------------------------------------------------------


class Office(Protocol):
    """A port."""

    def stamp(self) -> int | Refused:
        """Stamp it."""
        ...


class FakeOffice:
    """The implementation of the port: returns `answers` in turn, and raises those that are exceptions."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)

    def stamp(self) -> int | Refused:
        """Stamp it."""
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        stamped: int | Refused = answer
        return stamped


def stamp(_: Turn[Any]) -> Call[int | Refused]:
    """Propose the call."""
    return call(Office.stamp)


@attrs.frozen
class Form:
    """A form and its stamp."""

    name: str = ""
    stamp: int = 0
    note: str = ""


def form(policy: CallPolicy | None) -> Flow[Form]:
    """A flow that asks for a name, a stamp and a note; the note is asked for even if there is no stamp."""
    return Flow(
        "form", data=Form, initial="name",
        states=[
            State("name", ask=Text("name?"), reads=str, into="name"),
            State("stamping", call=stamp, policy=policy, into="stamp"),
            State("note", ask=Text("note?"), reads=str, into="note"),
            State("sure", ask=Text("sure?")),
            END,
        ],
        transitions=[
            Transition("answer", "name", "stamping"), Transition("done", "stamping", "note"),
            Transition("failed", "stamping", "note"), Transition("answer", "note", "sure"),
            Transition("yes", "sure", "end"),
        ],
    )  # fmt: skip


ONCE = CallPolicy(attempts=1, rounds=1)


@pytest.mark.parametrize(
    ("policy", "answer", "crosses"),
    [
        (ONCE, 2, True),
        (ONCE, ConnectionError("lost"), True),  # the outcome is unknown
        (ONCE, Refused("office.closed"), False),  # nothing was done
        (READ_ONLY, 2, False),
        (READ_ONLY, ConnectionError("lost"), False),
    ],
)
def test_a_call_that_was_made_is_not_walked_back_over(policy: CallPolicy, answer: Any, crosses: bool):
    """`back` stops at a call with an effect that was made or may have been.

    It passes a read-only call and one without an effect.
    """
    talk = Talk(Bot([form(policy)], services={"office": FakeOffice(answer)})).says("hi", "ada", "a note")
    assert talk.place == "form.sure"
    assert talk.say("back").words == ["Your earlier answer: a note", "note?"]
    talk.say("back")
    assert talk.words == ([SENT, "note?"] if crosses else ["Your earlier answer: ada", "name?"])
    assert talk.state.run is not None
    assert talk.state.run.made is crosses


def test_a_sub_flow_whose_call_was_made_is_not_walked_back_into():
    """`back` leads neither into, nor over, nor out of a sub-flow whose call was made."""
    outer: Flow[Any] = Flow(
        "outer", data=Words, initial="one",
        states=[State("one", ask=Text("one?"), reads=str, into="one"), State("sub", flow=form(ONCE)),
                State("two", ask=Text("two?"), reads=str, into="two"), State("three", ask=Text("three?"))],
        transitions=[Transition("answer", "one", "sub"), Transition("done", "sub", "two"),
                     Transition("cancelled", "sub", "one"), Transition("answer", "two", "three"),
                     Transition("again", "three", "one")],
    )  # fmt: skip
    talk = Talk(Bot([outer], services={"office": FakeOffice(2, 2)})).says("hi", "a", "ada")
    assert talk.say("back").words == [SENT, "note?"]
    talk.says("a note", "yes")
    assert talk.words == ["two?"]
    assert talk.say("back").words == [SENT, "two?"]
    talk.say("b")
    assert talk.say("back").words == ["Your earlier answer: b", "two?"]
    assert talk.says("c", "again").say("back").words == ["three?"]  # what was answered since


def test_the_barrier_outlives_a_detour():
    """The barrier for `back` is stored: a detour to the menu and another worker do not remove it."""
    home: Flow[Any] = Flow(
        "home", initial="menu",
        states=[State("menu", ask=Text("menu?")), State("in", flow=form(ONCE))],
        transitions=[Transition("go", "menu", "in"), Transition("done", "in", "menu"),
                     Transition("cancelled", "in", "menu")],
    )  # fmt: skip
    chat = Chat(Bot([home], services={"office": FakeOffice(2)}), cached=False)
    chat.say("hi", "go", "ada", "a note", "menu", "yes")
    assert chat.words == ["sure?"]
    chat.say("back", "back")
    assert chat.words == [SENT, "note?"]
    chat.check()


def test_sent_answers_are_not_offered_back():
    """Answers that a call has sent are not offered back by the menu."""
    home: Flow[Any] = Flow(
        "home", initial="menu",
        states=[State("menu", ask=Text("menu?")), State("in", flow=form(ONCE))],
        transitions=[Transition("go", "menu", "in"), Transition("done", "in", "menu"),
                     Transition("cancelled", "in", "menu")],
    )  # fmt: skip
    talk = Talk(Bot([home], services={"office": FakeOffice(2)})).says("hi", "go", "ada", "menu")
    assert talk.words == ["menu?"]
    assert talk.say("back").words == [NOWHERE, "menu?"]


def test_a_call_whose_login_ran_out_is_confirmed_again():
    """A flow that was parked at a call it never made goes on at its latest question.

    The call was not made because `requires` no longer held. The rule holds also when the call has an `ask`.
    """

    def is_known(turn: Turn[Any]) -> bool:
        return turn.member.authenticated

    flow: Flow[Any] = Flow(
        "form", data=Form, initial="name", requires=is_known,
        states=[State("name", ask=Text("name?"), reads=str, into="name"), State("sure", ask=Text("sure?")),
                State("stamping", ask=Text("a moment"), call=stamp, policy=ONCE, into="stamp"), END],
        transitions=[Transition("answer", "name", "sure"), Transition("yes", "sure", "stamping"),
                     Transition("done", "stamping", "end"), Transition("failed", "stamping", "sure")],
    )  # fmt: skip
    home: Flow[Any] = Flow(
        "home", initial="menu",
        states=[State("menu", ask=Text("menu?")), State("in", flow=flow)],
        transitions=[Transition("go", "menu", "in"), Transition("done", "in", "menu"),
                     Transition("cancelled", "in", "menu")],
    )  # fmt: skip

    def signed(turn: Turn[Any]) -> Any:
        return turn.changes(member=attrs.evolve(turn.member, authenticated=True, jwt_token="t"))

    entry: Flow[Any] = Flow(
        "entry", initial="ask", states=[State("ask", ask=Text("password?"), reads=str), END],
        transitions=[Transition("answer", "ask", "end", prepare=signed)],
    )  # fmt: skip
    office = FakeOffice(2)
    talk = Talk(Bot([home], entry=entry, services={"office": office}), member_document()).says("hi", "go", "ada")
    assert talk.document is not None
    talk.document = attrs.evolve(talk.document, authenticated=False)
    talk.say("yes")
    assert talk.words == ["password?"]
    talk.wait(301).say("anyone?")
    talk.say("sesame")  # in each way in which the session continues …
    if talk.place.startswith("carry_on"):
        talk.say("yes")
    assert office.answers == [2], "a call was made that nobody had confirmed since"
    assert talk.place == "form.sure"


# What depended on an answer ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("depends", "fault"),
    [
        ([("amount", "handle")], "it is a list"),
        ({"amuont": "handle"}, "it names field 'amuont', which Data lacks; did you mean 'amount'?"),
        ({"amount": "handel"}, "it names field 'handel', which Data lacks; did you mean 'handle'?"),
        ({"amount": ("handle", 7)}, "it names field 7, which Data lacks"),
        ({"amount": ()}, "field 'amount' depends on nothing"),
        ({"amount": "amount"}, "field 'amount' depends on itself"),
        ({"amount": "handle", "handle": ("amount",)}, "depends on itself"),
    ],
)
def test_a_wrong_dependency_is_found_when_the_flow_is_made(depends: Any, fault: str):
    """A wrong dependency of a field is refused when the flow is made, with a remedy."""
    with pytest.raises(FlowError, match="flow 'offer', depends: ") as error:
        made([A, END], [Transition("go", "a", "end")], depends=depends)
    assert fault in str(error.value)
    assert error.value.remedy


@attrs.frozen
class Trade:
    """An amount at a rate, the fee on it, and an account that was looked up."""

    amount: int = 0
    rate: int = 0
    fee: int = 0
    total: int = 0
    note: str = "none"


def number(text: str) -> int | Refused:
    """Read a number."""
    return int(text) if text.isdecimal() else Refused("number.format")


def trade(**prepared: Any) -> Flow[Trade]:
    """A flow that asks for amount, rate, fee and note, and starts again."""
    return Flow(
        "trade", data=Trade, initial="amount",
        depends={"fee": ("amount", "rate"), "total": "fee", "note": ["total"]},
        states=[
            State("amount", ask=Text("amount?"), reads=number, into="amount"),
            State("rate", ask=Text("rate?"), reads=number, into="rate"),
            State("fee", ask=Text("fee?"), reads=number, into="fee"),
            State("total", ask=Text("total?"), reads=number, into="total"),
            State("note", ask=Text("note?"), reads=str, into="note"),
            State("sure", ask=Text("sure?")),
        ],
        transitions=[
            Transition("answer", "amount", "rate", **prepared), Transition("answer", "rate", "fee"),
            Transition("answer", "fee", "total"), Transition("answer", "total", "note"),
            Transition("answer", "note", "sure"), Transition("again", "sure", "amount"),
        ],
    )  # fmt: skip


def traded(flow: Flow[Trade]) -> Talk:
    """A member who has answered each question once and is asked for the amount again."""
    return Talk(Bot([flow])).says("hi", "5", "2", "1", "11", "a note", "again")


def test_a_changed_answer_resets_the_fields_that_depend_on_it():
    """A changed answer resets the fields that depend on it, directly or through others.

    The audit names each changed field.
    """
    talk = traded(trade()).say("6")
    assert talk.fields == {"amount": 6, "rate": 2, "fee": 0, "total": 0, "note": "none"}
    assert talk.entry.changed == ("amount", "fee", "note", "total")


def test_the_same_answer_again_takes_nothing():
    """The same answer again resets no field."""
    talk = traded(trade())
    before = talk.fields
    assert talk.says("5", "2", "1").fields == before


def test_an_answer_that_is_gone_is_not_shown_as_one():
    """The default of a field that was reset is not shown as an earlier answer."""
    talk = traded(trade()).says("6", "2", "0", "back")
    assert talk.words == ["fee?"]
    assert traded(trade()).says("5", "2", "0", "back").words == ["fee?"]
    assert traded(trade()).says("5", "2", "1", "back").words == ["Your earlier answer: 1", "fee?"]


@pytest.mark.parametrize("fee", [1, 3, 0])
def test_a_field_that_the_same_step_sets_stays(fee: int):
    """A field that the same step sets stays; the fields that depend on it are reset only if it differs."""

    def priced(turn: Turn[Trade]) -> Trade:
        return attrs.evolve(turn.data, fee=fee)

    talk = traded(trade(prepare=priced)).say("6")
    assert (talk.fields["fee"], talk.fields["rate"]) == (fee, 2)
    assert (talk.fields["total"], talk.fields["note"]) == (0, "none")


def test_a_prepare_that_sets_a_field_with_its_source():
    """A field that `prepare` sets together with its source stays, even if its value is the same as before."""

    def doubled(turn: Turn[Trade]) -> Trade:
        return attrs.evolve(turn.data, rate=turn.data.rate + 1, fee=1)

    talk = traded(trade(prepare=doubled))
    assert talk.fields["fee"] == 1
    before = talk.fields
    talk.say("5")
    assert talk.fields == {**before, "rate": before["rate"] + 1, "fee": 1, "total": 0, "note": "none"}


def test_a_prepare_that_computes_a_field_from_its_earlier_value():
    """`prepare` may compute a field from its earlier value."""

    def dearer(turn: Turn[Trade]) -> Trade:
        return attrs.evolve(turn.data, rate=turn.data.rate + 1, fee=turn.data.fee + 1)

    talk = traded(trade(prepare=dearer))
    before = talk.fields
    assert talk.say("5").fields == {
        **before, "rate": before["rate"] + 1, "fee": before["fee"] + 1, "total": 0, "note": "none"
    }  # fmt: skip


def test_a_prepare_that_only_changes_a_source():
    """A `prepare` that changes only a source resets the fields that depend on it."""

    def dearer(turn: Turn[Trade]) -> Trade:
        return attrs.evolve(turn.data, rate=turn.data.rate + 1)

    assert traded(trade(prepare=dearer)).say("5").fields == {
        "amount": 5, "rate": 3, "fee": 0, "total": 0, "note": "none"
    }  # fmt: skip


def test_guards_see_no_data_of_another_answer():
    """A guard sees the data as the next state gets it."""
    seen = []

    def look(turn: Turn[Trade]) -> bool:
        seen.append(turn.data.total)
        return True

    traded(trade(conditions=look)).say("6")
    assert set(seen) == {0}


def test_a_refused_answer_takes_nothing():
    """A refused answer changes no field."""

    def odd(turn: Turn[Trade]) -> bool | Refused:
        return turn.data.amount % 2 == 1 or Refused("even")

    talk = traded(trade(conditions=odd))
    before = talk.fields
    assert talk.say("6").fields == before


@attrs.frozen
class Five:
    """Five numbers."""

    f0: int = 0
    f1: int = 0
    f2: int = 0
    f3: int = 0
    f4: int = 0


def graphs() -> st.SearchStrategy[dict[str, tuple[str, ...]]]:
    """The dependencies among five fields, without a cycle."""
    sources = [
        st.lists(st.sampled_from([f"f{below}" for below in range(place)]), unique=True, max_size=3)
        if place
        else st.just([])
        for place in range(5)
    ]
    return st.tuples(*sources).map(
        lambda found: {f"f{place}": tuple(names) for place, names in enumerate(found) if names}
    )


def questions(depends: Mapping[str, tuple[str, ...]], order: Sequence[int]) -> Flow[Five]:
    """A flow that asks for the five fields in any order, and starts again."""
    names = [f"f{place}" for place in order]
    ways: list[Transition[Any]] = [
        Transition("answer", one, two) for one, two in zip(names, [*names[1:], "sure"], strict=True)
    ]
    return Flow(
        "five", data=Five, initial=names[0], depends=depends,
        states=[*(State(name, ask=Text(f"{name}?"), reads=number, into=name) for name in names),
                State("sure", ask=Text("sure?"))],
        transitions=[*ways, Transition("again", "sure", names[0])],
    )  # fmt: skip


@given(
    graphs(),
    st.permutations(range(5)),
    st.lists(st.one_of(st.just("back"), st.just("help"), st.integers(0, 2).map(str)), max_size=40),
)
def test_any_walk_keeps_each_answer_until_its_source_changes(
    depends: dict[str, tuple[str, ...]], order: list[int], said: list[str]
):
    """Each field holds its latest answer, or its default if a field that it depends on has changed since.

    `back` leads to the previous question, as far as the first.
    """
    names = [f"f{place}" for place in order]
    talk = Talk(Bot([questions(depends, order)])).say("hi")
    held, walk = dict.fromkeys(names, 0), [names[0]]
    for text in said:
        if text == "help":
            talk.say("help")
        elif text == "back":
            talk.say("back")
            walk = walk[:-1] or walk
        elif walk[-1] == "sure":
            talk.say("again")
            walk = [names[0]]
        else:
            talk.say(text)
            if held[walk[-1]] != int(text):
                held.update(dict.fromkeys(_made_from(depends, walk[-1]), 0))
            held[walk[-1]] = int(text)
            walk.append([*names, "sure"][names.index(walk[-1]) + 1])
        assert (talk.place, talk.fields) == (f"five.{walk[-1]}", held)


def _made_from(depends: Mapping[str, tuple[str, ...]], source: str) -> set[str]:
    """The fields that depend on a field, computed in another way than by the flow."""
    found = {name for name, sources in depends.items() if source in sources}
    return found.union(*(_made_from(depends, name) for name in found))
