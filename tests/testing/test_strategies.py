"""Random conversations with Hypothesis."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, find, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.bots import Order, fruit_bot, order
from tests.examples import examples
from vimbiso_fsm import Flow, State, Text, Transition, Turn, readers
from vimbiso_fsm.testing import machine_of, texts_for


def few(count: int) -> settings:
    """Return settings with a number of conversations, the same in each run."""
    return settings(
        examples(count),
        stateful_step_count=12,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )


def test_random_conversations_with_a_bot_are_sound() -> None:
    """A bot with timers, calls, a login and sub-flows survives random conversations."""
    run_state_machine_as_test(machine_of(fruit_bot()), settings=few(8))


def broken(turn: Turn[Order]) -> bool:
    """Raise at one answer."""
    return bool(1 // (turn.data.name != "odd"))


def test_a_fault_at_one_answer_is_found() -> None:
    """A callback that raises at an example fails the test, and the error names it."""
    flow = Flow(
        "visit", data=Order, initial="ask",
        states=[
            State("ask", ask=Text("Which?"), reads=readers.choice("even", "odd"), into="name"),
            State("end", final=True, say=Text("End.")),
        ],
        transitions=[Transition("answer", "ask", "end", conditions=broken)],
    )  # fmt: skip
    with pytest.raises(ZeroDivisionError) as raised:
        run_state_machine_as_test(machine_of(flow), settings=few(40))
    assert "guard 'broken' of flow 'visit', state 'ask'" in raised.value.__notes__[0]


@pytest.mark.parametrize("text", ["ada", "vip", "x" * 4096])
def test_texts_are_accepted_near_and_hostile(text: str) -> None:
    """The strategy of a state has its examples and texts that are hostile to readers."""
    found: Any = find(texts_for(order["name"]), lambda each: each == text)
    assert found == text


def test_the_library_does_without_hypothesis() -> None:
    """Importing the kit does not import Hypothesis."""
    code = "import sys, vimbiso_fsm.testing; sys.exit('hypothesis' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
