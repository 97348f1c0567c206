"""Misspelt triggers: names that are nearly reserved are refused, and other names are accepted."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vimbiso_fsm.errors import FlowError
from vimbiso_fsm.flow.checks import did_you_mean, meant_trigger
from vimbiso_fsm.flow.flow import Flow
from vimbiso_fsm.flow.state import RESERVED_TRIGGERS, State, Transition
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
