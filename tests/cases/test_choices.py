"""Choices by number, by title, by a button, and by a button of an earlier question."""

from __future__ import annotations

import threading

import pytest

from tests.cases.small_flows import YOU, Answer, door
from vimbiso_fsm import Bot, Channel, Flow, FlowStateManager, Message, NoData, Row, State, Text, Transition, Turn
from vimbiso_fsm.testing.chat import choices, words


def test_a_number_that_is_a_title_means_the_title():
    """A number that is the title of a row chooses this row, not the row at that place (Case 01)."""

    def rows(turn: Turn[Answer]) -> list[Row]:
        return [Row("2", "2"), Row("3", "3"), Row("4", "4")]

    def count(turn: Turn[Answer]) -> Text:
        return Text("{n} guests", n=turn.data.value)

    table = Flow(
        "table", data=Answer, initial="count",
        states=[
            State("count", ask=Text("How many guests?"), rows=rows, into="value"),
            State("end",   say=count, final=True),
        ],
        transitions=[Transition("answer", "count", "end")],
    )  # fmt: skip
    manager = FlowStateManager.in_memory(Bot(table))
    manager.handle(Message(YOU, "m1", "hi"))
    assert words(manager.handle(Message(YOU, "m2", "3")).replies) == ["3 guests"]


@pytest.mark.parametrize(
    "typed",
    [
        pytest.param("1", id="ascii"),
        pytest.param("\N{ARABIC-INDIC DIGIT ONE}", id="arabic-indic"),
        pytest.param("\N{EXTENDED ARABIC-INDIC DIGIT ONE}", id="persian"),
        pytest.param("\N{DEVANAGARI DIGIT ONE}", id="devanagari"),
        pytest.param("1\N{VARIATION SELECTOR-16}\N{COMBINING ENCLOSING KEYCAP}", id="keycap"),
        pytest.param("1.", id="full-stop"),
        pytest.param("1)", id="bracket"),
    ],
)
def test_the_number_of_a_choice_is_read_as_people_type_it(typed: str):
    """Digits of other scripts, keycap emoji, "1." and "1)" are read as the number of a choice (Case 35)."""
    manager, you = FlowStateManager.in_memory(Bot(door)), Channel("sms", "16505550001")
    manager.handle(Message(you, "1", "hi"))
    assert words(manager.handle(Message(you, "2", typed)).replies)[0] == "Open."


def test_a_typed_title_that_two_rows_have_is_refused():
    """A typed title that two rows have chooses neither of them (Case 37)."""

    def rows(turn: Turn[Answer]) -> list[Row]:
        return [Row("offer-1", "5.00 USD from shop_one"), Row("offer-2", "5.00 USD from shop_one")]

    def accepted(turn: Turn[Answer]) -> Text:
        return Text("accepted {offer}", offer=turn.data.value)

    pick = Flow(
        "pick", data=Answer, initial="which",
        states=[
            State("which", ask=Text("Accept which?"), rows=rows, into="value"),
            State("end",   say=accepted, final=True),
        ],
        transitions=[Transition("answer", "which", "end")],
    )  # fmt: skip
    manager = FlowStateManager.in_memory(Bot(pick))
    manager.handle(Message(YOU, "1", "hi"))
    assert manager.handle(Message(YOU, "2", "5.00 USD from shop_one")).status == "refused"


def test_a_tap_after_the_end_is_told_that_the_question_is_closed():
    """A second press of a button whose flow has ended is answered that the question is closed (Case 48)."""
    manager, you = FlowStateManager.in_memory(Bot(door)), Channel("telegram", "11")
    (button,) = choices(manager.handle(Message(you, "1", "hi")).replies[0]).values()
    manager.handle(Message(you, "2", choice=button))
    assert words(manager.handle(Message(you, "3", choice=button)).replies)[0] == "That question is closed."


def tapped(bot: Bot) -> tuple[list[str], list[str]]:
    """Press a button three times at the same moment; return the statuses and the triggers of the member."""
    manager, you, together = FlowStateManager.in_memory(bot), Channel("telegram", "11"), threading.Barrier(3)
    first = manager.handle(Message(you, "1", "hi"))
    (button,) = choices(first.replies[0]).values()
    statuses: list[str] = []

    def tap(number: int) -> None:
        together.wait()
        statuses.append(manager.handle(Message(you, f"tap{number}", choice=button)).status)

    taps = [threading.Thread(target=tap, args=(number,)) for number in range(3)]
    for thread in taps:
        thread.start()
    for thread in taps:
        thread.join()
    return statuses, [entry.trigger for entry in manager.history(first.state.member_id)]


def test_three_taps_at_the_same_moment_act_once():
    """Three presses of a button in three threads fire its transition once (Case 61)."""
    wider: Flow[NoData] = Flow(
        "wider", initial="shut",
        states=[
            State("shut", ask=Text("Open?")),
            State("ajar", ask=Text("Wider?")),
            State("open", final=True),
        ],
        transitions=[
            Transition("yes",   "shut", "ajar"),
            Transition("wider", "ajar", "open"),
        ],
    )  # fmt: skip
    bot = Bot(wider)
    for _ in range(30):
        statuses, triggers = tapped(bot)
        assert len(statuses) == 3
        assert triggers.count("yes") == 1
