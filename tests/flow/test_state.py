"""Transitions with several triggers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bots import member_document
from vimbiso_fsm.audit.entries import unseal
from vimbiso_fsm.errors import FlowError
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.calls import Call
from vimbiso_fsm.flow.flow import Flow, NoData
from vimbiso_fsm.flow.machine import Machine
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.flow.turn import Turn, authenticated
from vimbiso_fsm.messages.replies import Text
from vimbiso_fsm.testing.chat import Chat

BUTTONS = st.lists(st.sampled_from(["yes", "no", "more", "less"]), min_size=1, unique=True)


def branching(*transitions: Transition[NoData]) -> Flow[NoData]:
    """Return a flow of two questions with these transitions."""
    return Flow(
        "one",
        initial="first",
        states=[
            State("first", ask=Text("first?")),
            State("second", ask=Text("second?")),
            State("end", final=True),
        ],
        transitions=[*transitions, Transition("on", "first", "second"), Transition("off", "second", "end")],
    )


def shape(flow: Flow[Any]) -> object:
    """Return all that a flow derives from its transitions."""
    ways = {key: [way.dest for way in ways] for key, ways in flow.by_trigger.items()}
    events = [(name, sorted(event.transitions)) for name, event in Machine(flow)._machine.events.items()]
    return flow.fingerprint, list(ways.items()), flow.buttons, events


@given(BUTTONS, st.booleans())
def test_several_triggers_are_as_many_transitions(triggers: list[str], both: bool):
    """A transition with several triggers is the same as one transition for each of them."""
    source = ["first", "second"] if both else "second"
    together = branching(Transition(triggers, source, "end", conditions=authenticated))
    singly = branching(*(Transition(trigger, source, "end", conditions=authenticated) for trigger in triggers))
    assert shape(together) == shape(singly)
    assert list(together.buttons["second"]) == [*triggers, "off"]


def test_each_trigger_fires():
    """Each button of a transition leads to its state."""
    flow = branching(Transition(["yes", "no"], "first", "end"))
    for word in ("yes", "no"):
        chat = Chat(Bot(flow, texts={"one.title": "one"}))
        chat.plant(member_document(version=1))
        chat.say("hi", word)
        assert next((step.trigger, step.dest) for step in unseal(chat.entries()[-1]).steps) == (word, "end")


def proposes(turn: Turn[NoData]) -> Call[Any]:
    """Placeholder for a `call` callback."""
    raise NotImplementedError


def test_reserved_triggers_may_stand_together():
    """A transition can have several reserved triggers, such as `done` and `failed`."""
    states: list[State[NoData]] = [State("a", call=proposes), State("end", final=True)]
    flow = Flow("one", initial="a", states=states, transitions=[Transition(("done", "failed"), "a", "end")])
    assert set(flow.by_trigger) == {("a", "done"), ("a", "failed")}
    assert flow.buttons == {}


@pytest.mark.parametrize(
    ("triggers", "fault"),
    [
        ([], "it has no trigger"),
        (["yes", "yes"], "can never be told from"),
        (["yes", "Go!"], "transition 'Go!': a trigger is lower-case"),
        (["yes", "timeout"], "timeout= and a transition 'timeout' belong together"),
        (["yes", "done"], "trigger 'done' can never come here"),
        (["yes", "timout"], "did you mean 'timeout'"),
    ],
)
def test_faults_of_one_among_several(triggers: list[str], fault: str):
    """Each of several triggers is checked like a single one."""
    with pytest.raises(FlowError, match=fault):
        branching(Transition(triggers, "first", "end"))
