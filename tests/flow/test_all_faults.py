"""A declaration is refused with all its faults, and each of them names its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import attrs
import pytest

from vimbiso_fsm import Bot, Flow, FlowError, Refused, State, Text, Transition, Turn, call, readers

ASK = Text("Well?")


@attrs.frozen
class Loan:
    """The data of a loan of a library."""

    title: str = ""
    days: int = 0


class Desk:
    """A service."""

    def lend(self, title: str) -> str | Refused:
        """Lend a book."""
        return title


async def _known(turn: Turn[Loan]) -> bool:  # HERE guard-async
    return True


is_known: Final[Any] = _known
"""A guard that type checkers would refuse."""


def lend(turn: Turn[Loan]) -> Any:
    """Propose to lend a book."""
    return call(Desk.lend, turn.data.title)


def refused(states: Any, transitions: Any, initial: str = "title") -> list[tuple[str, str]]:
    """Return the place and the code of each fault of a flow."""
    with pytest.raises(FlowError) as caught:
        Flow("loan", data=Loan, initial=initial, states=states, transitions=transitions)
    return [(fault.place, fault.code) for fault in caught.value.faults]


def test_all_faults_are_named_at_once_and_in_their_lines():
    """Faults of different parts do not hide one another."""
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    with pytest.raises(FlowError) as caught:
        Flow(
            "loan", data=Loan, initial="title", depends={"dys": "title"}, version=0,  # HERE
            states=[
                State("title", ask=ASK, reads=readers.name(), into="titel"),  # HERE unknown-field
                State("days", ask=ASK, reads=readers.name(), into="days"),  # HERE reader-wrong-type
                State("lending", call=lend),  # HERE call-without-failed
                State("lent", final=True),
                State("late"),  # HERE dead-end
            ],
            transitions=[
                Transition("answer", "title", "days", conditions=is_known),
                Transition("answer", "days", "lending"),
                Transition("timout", "days", "lent"),  # HERE misspelt-trigger
                Transition("done", "lending", "lent"),
                Transition("done", "lending", "late"),  # HERE duplicate-transition
            ],
        )  # fmt: skip
    faults = caught.value.faults
    marked = {(number, line.rpartition("# HERE ")[2]) for number, line in enumerate(lines, 1) if "# HERE " in line}
    found = {(fault.line, fault.code) for fault in faults}
    assert {(line, code) for line, code in found if code not in ("wrong-declaration", "unknown-field")} == {
        (line, code) for line, code in marked if code != "unknown-field" and not code.startswith('"')
    }
    assert [fault.code for fault in faults].count("unknown-field") == 2
    assert {fault.file for fault in faults} == {__file__}
    assert str(caught.value).splitlines()[0] == f"{len(faults)} faults"
    assert len(str(caught.value).splitlines()) == len(faults) + 1


def test_a_misspelt_state_is_one_fault():
    """The states that lose their way by a misspelt name are not named beside it."""
    states: list[State[Any]] = [
        State("title", ask=ASK, reads=str, into="title"),
        State("days", ask=ASK),
        State("lent", final=True),
    ]
    end: Transition[Any] = Transition("go", "days", "lent")
    assert refused(states=states, transitions=[Transition("answer", "title", "dayz"), end]) == [
        ("state 'dayz'", "unknown-state")
    ]
    assert refused(states=states, transitions=[Transition("answer", "titel", "days"), end]) == [
        ("state 'titel'", "unknown-state")
    ]
    ways = [Transition("answer", "title", "days"), end]
    assert refused(states=states, transitions=ways, initial="tilte") == [("state 'tilte'", "unknown-state")]


def test_parts_of_a_wrong_type_are_named_before_all_else():
    """Nothing is said of a flow whose parts are no states and transitions but that."""
    assert refused(states=["title"], transitions=[("go", "title", "lent")]) == [
        ("states", "wrong-declaration"),
        ("transitions", "wrong-declaration"),
    ]


def ended(name: str, *, cancels: bool = False, requires: Any = ()) -> Flow[Any]:
    """Return a flow of one question."""
    return Flow(
        name,
        initial="asked",
        requires=requires,
        states=[State("asked", ask=ASK), State("over", final=True, cancels=cancels)],
        transitions=[Transition("go", "asked", "over")],
    )


def running(flow: Flow[Any], *triggers: str) -> Flow[Any]:
    """Return a flow that runs another one, with a way on for these ends."""
    return Flow(
        "runs",
        initial="running",
        states=[State("running", flow=flow), State("over", say=ASK, final=True)],
        transitions=[Transition(triggers, "running", "over")],
    )


@pytest.mark.parametrize(
    ("flow", "needed"),
    [
        (ended("plain"), False),
        (ended("gives_up", cancels=True), True),
        (ended("guarded", requires=lambda turn: True), True),
    ],
    ids=["plain", "cancels", "requires"],
)
def test_an_end_that_cannot_come_is_not_demanded(flow: Flow[Any], needed: bool):
    """A transition `cancelled` is demanded only where the sub-flow can end so; it is allowed everywhere."""
    running(flow, "done", "cancelled")
    if needed:
        with pytest.raises(FlowError, match="it has no transition 'cancelled'"):
            running(flow, "done")
    else:
        running(flow, "done")


def test_home_goes_on_after_the_word_cancel():
    """Each sub-flow of home can be cancelled by a word of the member, so home says where that leads."""
    runs = running(ended("plain"), "done")
    Bot([ended("first"), runs], home=ended("other"))
    with pytest.raises(FlowError) as caught:
        Bot(runs)
    (fault,) = caught.value.faults
    assert (fault.code, fault.place, fault.made) == (
        "subflow-without-cancelled",
        "state 'running'",
        runs["running"].made,
    )
