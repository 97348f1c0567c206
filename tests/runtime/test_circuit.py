"""The circuit of a service: when it opens, when it tries the service, and when it closes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vimbiso_fsm.errors import FlowError
from vimbiso_fsm.flow.calls import ServiceLimits
from vimbiso_fsm.runtime.circuit import Circuit

LIMITS = ServiceLimits(failures=3, within=60, rest=30)
MEMBERS = st.sampled_from(["a", "b", "c", "d"])
STEPS = st.lists(
    st.tuples(st.sampled_from(["failed", "answered", "begun", "withdrawn"]), MEMBERS, st.floats(-100, 100)),
    max_size=40,
)


def after(*failures: tuple[str, float]) -> Circuit:
    """Return the circuit after calls that had no answer."""
    circuit = Circuit()
    for member, at in failures:
        circuit = circuit.failed(LIMITS, member, at)
    return circuit


def test_it_opens_after_the_calls_of_several_members_in_a_row():
    """The circuit opens when the calls of that many members in a row had no answer, and keeps calls back for a rest."""
    circuit = after(("a", 0), ("b", 1))
    assert circuit.admits(LIMITS, 2)
    circuit = circuit.failed(LIMITS, "c", 2)
    assert (circuit.phase(LIMITS, 2), circuit.admits(LIMITS, 31.9)) == ("open", False)
    assert circuit.phase(LIMITS, 32) == "half-open"


def test_an_answer_ends_the_row():
    """An answer between them begins the count anew."""
    circuit = after(("a", 0), ("b", 1)).answered()
    assert circuit.failed(LIMITS, "c", 2).admits(LIMITS, 2)


def test_one_member_alone_does_not_open_it():
    """However often the calls of one member fail, the service stays open to the others."""
    assert after(*[("a", float(n)) for n in range(100)]).admits(LIMITS, 100)


def test_failures_far_apart_do_not_open_it():
    """Failures count within a span only."""
    assert after(("a", 0), ("b", 1), ("c", 61)).admits(LIMITS, 61)


def test_one_call_tries_the_service():
    """After the rest one call is admitted. Its answer closes the circuit, and its failure begins another rest."""
    circuit = after(("a", 0), ("b", 0), ("c", 0))
    trying = circuit.begun(LIMITS, 30)
    assert not trying.admits(LIMITS, 31)
    assert trying.answered() == Circuit()
    again = trying.failed(LIMITS, "d", 35)
    assert (again.phase(LIMITS, 64), again.phase(LIMITS, 65)) == ("open", "half-open")
    assert trying.withdrawn().admits(LIMITS, 31)


def test_a_try_that_never_ends_is_forgotten():
    """A call that tries the service and never ends keeps no other one back for longer than a rest."""
    trying = after(("a", 0), ("b", 0), ("c", 0)).begun(LIMITS, 30)
    assert trying.admits(LIMITS, 60)


def test_late_failures_do_not_prolong_the_rest():
    """The failure of a call that began before the circuit opened changes nothing."""
    circuit = after(("a", 0), ("b", 0), ("c", 0))
    assert circuit.failed(LIMITS, "d", 20) == circuit


@pytest.mark.parametrize("by", [-10 * 86_400, 10 * 86_400])
def test_a_clock_that_is_set_ends_every_span(by: float):
    """A clock that is set back or ahead by days leaves no circuit open for longer than a rest."""
    circuit = after(("a", 0), ("b", 0), ("c", 0))
    assert circuit.admits(LIMITS, 1 + by)


@given(STEPS)
def test_no_service_is_kept_back_for_longer_than_a_rest(steps: list[tuple[str, str, float]]):
    """Whatever happens on whatever clock: while nothing begins, a call is admitted after a rest at the latest."""
    circuit, now = Circuit(), 0.0
    for kind, member, seconds in steps:
        now += seconds
        if kind == "failed":
            circuit = circuit.failed(LIMITS, member, now)
        elif kind == "answered":
            circuit = circuit.answered()
        elif kind == "withdrawn":
            circuit = circuit.withdrawn()
        elif circuit.admits(LIMITS, now):
            circuit = circuit.begun(LIMITS, now)
        assert len(circuit.failures) <= LIMITS.failures
        if circuit.phase(LIMITS, now) == "open":
            assert not circuit.admits(LIMITS, now)
    assert circuit.admits(LIMITS, now + 2 * LIMITS.rest)


@given(st.lists(MEMBERS, max_size=30))
def test_it_is_open_only_after_enough_members(members: list[str]):
    """It opens only when as many different members as declared had no answer in a row."""
    circuit = Circuit()
    for number, member in enumerate(members):
        circuit = circuit.failed(LIMITS, member, 0)
        assert (circuit.opened is not None) == (len(set(members[: number + 1])) >= LIMITS.failures)


@pytest.mark.parametrize(
    "bounds",
    [{"threads": 0}, {"wait": -1}, {"failures": 0}, {"within": 0}, {"rest": 0}, {"rest": float("nan")}],
)
def test_a_bound_that_is_none(bounds: dict[str, Any]):
    """Limits with an invalid bound are refused."""
    with pytest.raises(FlowError, match=f"ServiceLimits: {next(iter(bounds))} is"):
        ServiceLimits(**bounds)
