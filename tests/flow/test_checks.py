"""Misspelt triggers, facts that guards could refuse, and effects that lead back to themselves."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vimbiso_fsm.errors import FlowError
from vimbiso_fsm.flow.calls import READ_ONLY, Call, call
from vimbiso_fsm.flow.flow import Flow
from vimbiso_fsm.flow.spelling import did_you_mean, meant_trigger
from vimbiso_fsm.flow.state import RESERVED_TRIGGERS, State, Transition
from vimbiso_fsm.flow.turn import Turn
from vimbiso_fsm.messages.replies import Text

LETTERS = "abcdefghijklmnopqrstuvwxyz"
RESERVED = st.sampled_from(sorted(RESERVED_TRIGGERS))
LONG = st.sampled_from(sorted(trigger for trigger in RESERVED_TRIGGERS if len(trigger) >= 6))

SENSIBLE = re.findall(
    r"\w+",
    """
    yes no ok one two three none all any more less add remove edit save send pay buy sell order take leave hold free
    cancel cancels cancel_all cancel_order cancel_bed close closed open start stop end ended gone back next prev again
    retry repeat help menu home skip later now today donate dose dome zone bone tone done_with undone auth author
    automatic autos auto1 into answers answer1 answer_b answered ask reply question mailed filed foiled sailed nailed
    tailed fail fails faded timer timers timed time_up timetable takeout layout checkout logout sign_out offer_secured
    accept_offer decline_offer cancel_offer view_ledger upgrade_membertier switch_account accept_all other_account
    dashboard become_member again1 language confirm confirmed finish finished_it a b c x1 y_2
    """,
)


def ask(trigger: str) -> Flow[Any]:
    """Return a flow with one question, which that trigger leaves."""
    return Flow(
        "one",
        initial="ask",
        states=[State("ask", ask=Text("?")), State("end", final=True)],
        transitions=[Transition(trigger, "ask", "end")],
    )


@pytest.mark.parametrize("name", SENSIBLE)
def test_a_sensible_name_of_a_button_is_taken(name: str):
    """A usual name of a button is accepted."""
    assert ask(name).buttons == {"ask": (name,)}


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("timout", "timeout"),
        ("anwser", "answer"),
        ("anser", "answer"),
        ("canceled", "cancelled"),
        ("time_out", "timeout"),
        ("faild", "failed"),
        ("doen", "done"),
        ("autto", "auto"),
    ],
)
def test_a_slip_is_named(name: str, meant: str):
    """The error names the reserved trigger that was meant."""
    with pytest.raises(FlowError, match=f"transition '{name}': .*did you mean '{meant}'\\?"):
        ask(name)


@given(RESERVED, st.data())
def test_swapped_and_doubled_letters_are_found(trigger: str, data: st.DataObject):
    """Two neighbouring letters swapped, or one letter doubled, are a slip in each reserved trigger."""
    place = data.draw(st.integers(0, len(trigger) - 1))
    if data.draw(st.booleans()):
        name = trigger[: place + 1] + trigger[place:]
    else:
        assume(place + 1 < len(trigger) and trigger[place] != trigger[place + 1])
        name = trigger[:place] + trigger[place + 1] + trigger[place] + trigger[place + 2 :]
    assert meant_trigger(name) == trigger
    with pytest.raises(FlowError, match=f"did you mean '{trigger}'"):
        ask(name)


@given(LONG, st.data(), st.sampled_from([*LETTERS, ""]))
def test_one_wrong_letter_is_found(trigger: str, data: st.DataObject, letter: str):
    """One letter after the first left out, replaced or added is a slip in each reserved trigger of six letters."""
    place = data.draw(st.integers(1, len(trigger) - 1))
    kept = data.draw(st.integers(0, 1)) if letter else 1
    name = trigger[:place] + letter + trigger[place + kept :]
    assume(name not in RESERVED_TRIGGERS and name not in ("filed", "foiled"))
    assert meant_trigger(name) == trigger


@given(st.text(LETTERS + "_", min_size=1, max_size=20))
def test_a_name_that_is_taken_for_another_is_near_it(name: str):
    """A refused name has nearly the letters of the reserved trigger."""
    meant = meant_trigger(name)
    if meant is not None:
        assert abs(len(name) - len(meant)) <= 1
        assert name not in RESERVED_TRIGGERS
        assert len(set(name) ^ set(meant)) <= 2


def test_an_unknown_name_is_answered_with_the_nearest_one():
    """The remedy for an unknown name is the most similar known name, otherwise all known names."""
    assert did_you_mean("handel", ["handle", "amount"]) == "did you mean 'handle'?"
    assert did_you_mean("zzz", {"b", "a"}) == "known are a, b"


# Facts and effects ----------------------------------------------------------------------------------------------------


class Till:
    """A port."""

    def pay(self) -> str:
        """Pay."""
        raise NotImplementedError


def pays(turn: Turn[Any]) -> Call[str]:
    """Propose to pay."""
    return call(Till.pay)


def sometimes(turn: Turn[Any]) -> bool:
    """Guard that can decline."""
    return not turn.member.guest


ASK: State[Any] = State("ask", ask=Text("?"))
END: State[Any] = State("end", final=True)
OFF: State[Any] = State("off", final=True, cancels=True)


def flow_of(
    states: list[State[Any]], *ways: tuple[str, str, str], name: str = "one", guarded: bool = False
) -> Flow[Any]:
    """Make a flow of (trigger, source, dest); with `guarded`, every transition of a fact has a guard."""
    conditions = sometimes if guarded else ()
    return Flow(
        name,
        initial=states[0].name,
        states=states,
        transitions=[
            Transition(trigger, source, dest, conditions=conditions if trigger in ("done", "cancelled") else ())
            for trigger, source, dest in ways
        ],
    )


CHILD = flow_of([ASK, END, OFF], ("yes", "ask", "end"), ("no", "ask", "off"), name="child")
PAYING = flow_of(
    [State("paying", call=pays), END, OFF], ("done", "paying", "end"), ("failed", "paying", "off"), name="paid"
)
ASKING = flow_of(
    [ASK, State("paying", call=pays), END], ("yes", "ask", "paying"), ("done", "paying", "end"),
    ("failed", "paying", "ask"), name="asking",
)  # fmt: skip


@pytest.mark.parametrize(
    ("state", "trigger"),
    [(State("fact", call=pays), "done"), (State("fact", flow=CHILD), "done"), (State("fact", flow=CHILD), "cancelled")],
)
def test_a_fact_that_every_transition_could_refuse_is_refused_when_made(state: State[Any], trigger: str):
    """The answer of an effect and the end of a sub-flow need a transition without guards, and the error says which."""
    other = "failed" if state.call else "cancelled" if trigger == "done" else "done"
    ways = [Transition(trigger, "fact", "end", conditions=sometimes), Transition(other, "fact", "end")]
    with pytest.raises(FlowError, match=f"each transition '{trigger}' has a guard.*Transition\\('{trigger}', 'fact'"):
        Flow("one", initial="fact", states=[state, END], transitions=ways)
    last: Transition[Any] = Transition(trigger, "fact", "off")
    assert Flow("one", initial="fact", states=[state, END, OFF], transitions=[*ways, last])


def test_the_answer_of_a_reading_call_may_be_refused():
    """A call that only reads may have guards on all its `done` transitions, because it changed nothing."""
    reading = State("reading", call=pays, policy=READ_ONLY)
    assert flow_of([reading, END, OFF], ("done", "reading", "end"), ("failed", "reading", "off"), guarded=True)


PAY = State("paying", call=pays)
LOOPS: list[tuple[list[State[Any]], list[tuple[str, str, str]]]] = [
    ([PAY, ASK, END], [("done", "paying", "paying"), ("failed", "paying", "ask"), ("yes", "ask", "end")]),
    ([PAY, END], [("done", "paying", "end"), ("failed", "paying", "paying")]),
    ([PAY, State("next"), END], [("done", "paying", "next"), ("failed", "paying", "end"), ("auto", "next", "paying")]),
    (
        [PAY, State("two", call=pays), END],
        [("done", "paying", "two"), ("failed", "paying", "end"), ("done", "two", "end"), ("failed", "two", "paying")],
    ),
    (
        [PAY, State("look", call=pays, policy=READ_ONLY), END],
        [
            ("done", "paying", "look"),
            ("failed", "paying", "end"),
            ("done", "look", "paying"),
            ("failed", "look", "end"),
        ],
    ),
    ([State("sub", flow=PAYING), END], [("done", "sub", "end"), ("cancelled", "sub", "sub")]),
    ([State("sub", flow=PAYING), END], [("done", "sub", "sub"), ("cancelled", "sub", "end")]),
]


@pytest.mark.parametrize(("states", "ways"), LOOPS)
def test_an_effect_that_leads_back_to_itself_is_refused_when_made(
    states: list[State[Any]], ways: list[tuple[str, str, str]]
):
    """No path from an effect to itself may lack a question: by its answer, other calls, idle states and sub-flows."""
    with pytest.raises(FlowError, match="effect leads back to it without a word of the member"):
        flow_of(states, *ways)


@pytest.mark.parametrize(
    ("states", "ways"),
    [
        ([ASK, PAY], [("yes", "ask", "paying"), ("done", "paying", "ask"), ("failed", "paying", "ask")]),
        ([State("look", call=pays, policy=READ_ONLY), END], [("done", "look", "look"), ("failed", "look", "end")]),
        ([State("sub", flow=ASKING), END], [("done", "sub", "sub"), ("cancelled", "sub", "end")]),
        ([State("sub", flow=CHILD), END], [("done", "sub", "sub"), ("cancelled", "sub", "end")]),
        (
            [ASK, PAY, State("sub", flow=CHILD)],
            [
                ("yes", "ask", "paying"),
                ("done", "paying", "sub"),
                ("failed", "paying", "ask"),
                ("done", "sub", "paying"),
                ("cancelled", "sub", "ask"),
            ],
        ),
    ],
)
def test_an_effect_may_come_again_after_a_question(states: list[State[Any]], ways: list[tuple[str, str, str]]):
    """A loop that asks the member on the way is accepted, and so is one of calls that only read."""
    assert flow_of(states, *ways)
