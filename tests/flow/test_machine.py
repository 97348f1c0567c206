"""One step on the machine that all runs of a flow share."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from hypothesis import example, given, reject
from hypothesis import strategies as st

from tests.bots import one_flow
from vimbiso_fsm.document.document import Member
from vimbiso_fsm.errors import FlowError, WrongCallback
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.callbacks import name_of
from vimbiso_fsm.flow.flow import Flow
from vimbiso_fsm.flow.machine import Fired, Machine
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.flow.turn import Changes, Turn
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.replies import Text
from vimbiso_fsm.testing.chat import CHANNEL, START


@attrs.frozen
class Data:
    """Data with one number."""

    n: int = 0


def accepts(turn: Turn[Data]) -> bool:
    """Guard that accepts."""
    return True


def declines(turn: Turn[Data]) -> bool:
    """Guard that declines silently."""
    return False


def refuses(turn: Turn[Data]) -> bool | Refused:
    """Guard that refuses."""
    return Refused("no", n=turn.data.n)


def refuses_again(turn: Turn[Data]) -> bool | Refused:
    """Guard that refuses with another reason."""
    return Refused("never")


def adds(turn: Turn[Data]) -> Data:
    """Prepare: add one."""
    return Data(turn.data.n + 1)


ENDS: list[State[Any]] = [State(name, final=True) for name in ("one", "two", "three")]


def fire(*ways: Transition[Data], n: int = 0) -> Fired[Data]:
    """Fire `go` twice on one machine, and return the result, which must be the same."""
    dests = {way.dest for way in ways}
    flow: Flow[Data] = one_flow(
        [State("start", ask=Text("?")), *[end for end in ENDS if end.name in dests]], ways, data=Data
    )
    machine = Machine(flow)
    turn = Turn(Data(n), Member("m"), CHANNEL, START, "one", "start", "go")
    first = machine.fire(turn)
    assert result(machine.fire(turn)) == result(first)
    return first


def result(fired: Fired[Data]) -> tuple[Any, ...]:
    """Return all that a trigger has led to."""
    return fired.to, fired.data, fired.member, fired.reasons, fired.verdicts


def go(dest: str, **more: Any) -> Transition[Data]:
    """Return a transition from the first state."""
    return Transition("go", "start", dest, **more)


def test_the_first_that_accepts_wins():
    """Transitions are tried in the order of declaration, and the first that accepts fires."""
    fired = fire(go("one", conditions=declines), go("two", conditions=accepts), go("three"))
    assert fired.to == "two"
    assert fired.verdicts == (("declines", "declined"), ("accepts", "accepted"))


def test_reasons_on_the_way_are_kept():
    """The reasons of declined transitions are kept, even if a later one fires."""
    fired = fire(go("one", conditions=refuses), go("two", unless=refuses_again), go("three"))
    assert fired.to == "three"
    assert fired.reasons == (Refused("no", n=0), Refused("never"))
    assert fired.verdicts == (("refuses", "refused no"), ("refuses_again", "refused never"))


def test_conditions_must_all_accept():
    """One condition that declines or refuses is enough, and later ones are not evaluated."""
    assert fire(go("one", conditions=[accepts, declines, refuses])).to is None
    assert fire(go("one", conditions=[accepts, declines, refuses])).reasons == ()
    assert fire(go("one", conditions=[accepts, accepts])).to == "one"


def test_no_unless_may_accept():
    """`unless` blocks when it accepts or refuses, and lets through when it declines."""
    assert fire(go("one", unless=accepts)).to is None
    assert fire(go("one", unless=declines)).to == "one"
    refused = fire(go("one", unless=refuses))
    assert refused.to is None
    assert refused.reasons == (Refused("no", n=0),)


def test_prepare_comes_before_the_guards():
    """`prepare` comes before the conditions, and the new state gets its data."""

    def is_one(turn: Turn[Data]) -> bool:
        return turn.data.n == 1

    assert result(fire(go("one", prepare=adds, conditions=is_one))) == (
        "one", Data(1), Member("m"), (), (("is_one", "accepted"),),
    )  # fmt: skip


def test_prepare_is_dropped_when_the_transition_does_not_fire():
    """The result of `prepare` reaches neither the next candidate nor the result if nothing fires."""

    def is_none(turn: Turn[Data]) -> bool:
        return turn.data.n == 0

    fired = fire(go("one", prepare=adds, conditions=declines), go("two", conditions=is_none))
    assert (fired.to, fired.data) == ("two", Data(0))
    fired = fire(go("one", prepare=adds, conditions=declines), go("two", prepare=adds))
    assert (fired.to, fired.data) == ("two", Data(1))
    nothing = fire(go("one", prepare=adds, conditions=refuses))
    assert (nothing.to, nothing.data, nothing.reasons) == (None, Data(0), (Refused("no", n=1),))


def test_prepare_may_change_the_member():
    """`turn.changes` changes the member, and is discarded with the data."""

    def becomes(turn: Turn[Data]) -> Changes[Data]:
        return turn.changes(data=Data(5), member=Member("n"))

    fired = fire(go("one", prepare=becomes))
    assert (fired.data, fired.member) == (Data(5), Member("n"))
    assert fire(go("one", prepare=becomes, conditions=declines), go("two")).member == Member("m")


def test_a_trigger_that_is_not_there_does_nothing():
    """A trigger without a transition does nothing and has no reasons."""
    flow = one_flow([State("start", ask=Text("?")), ENDS[0]], [go("one")], data=Data)
    turn = Turn(Data(), Member("m"), CHANNEL, START, "one", "start", "other")
    fired = Machine(flow).fire(turn)
    assert (fired.to, fired.turn, fired.reasons, fired.verdicts) == (None, turn, (), ())


@pytest.mark.parametrize("wrong", [None, 1, "yes", [], Refused])
def test_a_guard_answers_true_false_or_refused(wrong: Any):
    """Any other result of a guard raises `WrongCallback`."""

    def careless(turn: Turn[Data]) -> Any:
        return wrong

    with pytest.raises(WrongCallback, match=r"guard .careless. of flow .* returned an? ") as caught:
        fire(go("one", conditions=careless))
    assert caught.value.wanted == "True, False or Refused(…)"


@pytest.mark.parametrize("wrong", [None, 5, {"n": 1}, Changes("x", Member("m"))])
def test_prepare_answers_with_data(wrong: Any):
    """A `prepare` that returns None raises `WrongCallback`."""

    def careless(turn: Turn[Data]) -> Any:
        return wrong

    with pytest.raises(WrongCallback, match=r"of flow .* returned an? .*; it must return a Data, such as attrs"):
        fire(go("one", prepare=careless))


def test_exceptions_of_callbacks_are_passed_on():
    """The machine passes exceptions of callbacks on."""

    def breaks(turn: Turn[Data]) -> bool:
        raise LookupError("x")

    with pytest.raises(LookupError):
        fire(go("one", conditions=breaks))


def test_a_callback_has_a_name():
    """A callback has a name, even if it is an object."""

    class Guard:
        def __call__(self, turn: Turn[Data]) -> bool:
            return True

    assert name_of(accepts) == "accepts"
    assert name_of(Guard()) == "Guard"


def test_a_machine_is_shared_by_threads():
    """Threads that step one machine at the same time do not affect each other."""

    def even(turn: Turn[Data]) -> bool | Refused:
        return turn.data.n % 2 == 0 or Refused("odd", n=turn.data.n)

    flow = one_flow(
        [State("start", ask=Text("?")), *ENDS[:2]], [go("one", prepare=adds, conditions=even), go("two")], data=Data
    )
    machine, wrong = Machine(flow), []

    def work(n: int) -> None:
        for _ in range(200):
            fired = machine.fire(Turn(Data(n), Member("m"), CHANNEL, START, "one", "start", "go"))
            expected = ("one", Data(n + 1), ()) if n % 2 else ("two", Data(n), (Refused("odd", n=n + 1),))
            if (fired.to, fired.data, fired.reasons) != expected:
                wrong.append(fired)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# One step is what `transitions` makes of a trigger -----------------------------------------------------------------


def raises(turn: Turn[Data]) -> bool:
    """Guard that raises an exception."""
    raise ArithmeticError


GUARDS = (accepts, declines, refuses, refuses_again, raises)
ways = st.builds(
    lambda dest, conditions, unless, prepare: go(dest, conditions=conditions, unless=unless, prepare=prepare),
    st.sampled_from(["one", "two", "three"]),
    st.lists(st.sampled_from(GUARDS), max_size=2, unique=True),
    st.lists(st.sampled_from(GUARDS), max_size=2, unique=True),
    st.sampled_from([None, adds]),
)


def triggered(machine: Machine[Data], turn: Turn[Data]) -> tuple[Any, ...]:
    """Return the effect of `Event.trigger`: the result, the state, the verdicts, the reasons and the turn."""
    model = Fired(turn)
    fired = machine._machine.events[turn.trigger].trigger(model, model)
    after = model.turn if fired else turn
    return model.state if fired else None, after.data, after.member, model.reasons, model.verdicts


def executed(machine: Machine[Data], turn: Turn[Data]) -> tuple[Any, ...]:
    """Return the same for `Machine.fire`."""
    return result(machine.fire(turn))


def outcome(step: Callable[[Machine[Data], Turn[Data]], tuple[Any, ...]], machine: Machine[Data]) -> Any:
    """Return what a step of the machine returns, or the class of the error that a callback raises."""
    turn = Turn(Data(3), Member("m"), CHANNEL, START, "one", "start", "go")
    try:
        return step(machine, turn)
    except ArithmeticError as error:
        return type(error)


@given(st.lists(ways, min_size=1, max_size=4))
@example([go("one", prepare=adds, conditions=declines), go("two")])
def test_fire_has_the_effect_of_a_trigger(tried: list[Transition[Data]]):
    """`Machine.fire` has the effect of `Event.trigger`."""
    try:
        flow: Flow[Data] = one_flow(
            [State("start", ask=Text("?")), *[end for end in ENDS if end.name in {way.dest for way in tried}]],
            tried,
            data=Data,
        )
    except FlowError:
        reject()  # a guard on both sides of a transition, or a transition that can never be reached
    machine = Machine(flow)
    assert outcome(executed, machine) == outcome(triggered, machine)


def test_the_machine_has_nothing_that_only_a_trigger_would_serve():
    """The machine has no queue, no callbacks of its own and no error handlers, which `fire` would skip."""
    flow: Flow[Data] = one_flow([State("start", ask=Text("?")), ENDS[0]], [go("one")], data=Data)
    machine = Machine(flow)._machine
    assert not machine.has_queue
    callbacks = (
        "prepare_event",
        "before_state_change",
        "after_state_change",
        "finalize_event",
        "on_exception",
        "on_final",
    )
    assert not any(getattr(machine, name) for name in callbacks)
    assert not any((state.on_enter, state.on_exit) != ([], []) for state in machine.states.values())


def test_a_position_has_the_words_that_are_the_same_in_each_turn():
    """A question without parameters and the titles of buttons are written out in each language, other questions not."""

    def ask(turn: Turn[Data]) -> Text:
        return Text("fixed")

    flow: Flow[Data] = one_flow(
        [
            State("start", ask=Text("fixed")),
            State("counted", ask=Text("counted", n=1)),
            State("made", ask=ask),
            State("end", final=True),
        ],
        [Transition("on", "start", "counted"), Transition("on", "counted", "made"), Transition("on", "made", "end")],
        data=Data,
    )
    texts = {"en": {"fixed": "Well?", "one.start.on": "On"}, "sn": {"fixed": "Saka?"}}
    positions = Bot(flow, texts=texts).machines["one"].positions
    assert {language: text.text for language, text in positions["start"].words.items()} == {
        "en": "Well?",
        "sn": "Saka?",
    }
    assert positions["counted"].words == positions["made"].words == {}
    titles = positions["start"].titles
    assert {language: titles[language]["on"].text for language in titles} == {"en": "On", "sn": "On"}
