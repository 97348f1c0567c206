"""Questions that have nothing to choose from: the trigger `empty`, the way to the menu, and the checks."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bots import one_flow
from vimbiso_fsm.errors import FlowError
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.flow import Flow, NoData
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.flow.state_checks import may_be_empty
from vimbiso_fsm.messages.replies import Buttons, Row, Text
from vimbiso_fsm.testing.chat import Talk

NONE = "There is nothing to choose from here at the moment. Say menu to see what else you can do."


def shop(offers: list[str], *more: Transition[Any], **options: Any) -> Bot:
    """A home with one errand, which lists offers."""
    goods = Flow(
        "goods", initial="name",
        states=[
            State("name",  ask=Text("Your name?"), reads=str),
            State("list",  ask=Text("Which?"), rows=lambda _: [Row(offer, offer) for offer in offers], **options),
            State("sure",  ask=Text("Sure?")),
            State("none",  say=Text("Nothing there."), final=True),
            State("taken", say=Text("Taken."), final=True),
        ],
        transitions=[
            Transition("answer", "name", "list"),
            Transition("answer", "list", "sure"),
            Transition("yes",    "sure", "taken"),
            Transition("no",     "sure", "none"),
            *more,
        ],
    )  # fmt: skip
    home: Flow[NoData] = Flow(
        "home", initial="menu",
        states=[State("menu", ask=Text("Home.")), State("shopping", flow=goods)],
        transitions=[
            Transition("shop", "menu", "shopping"),
            Transition(["done", "cancelled"], "shopping", "menu"),
        ],
    )  # fmt: skip
    return Bot(home)


EMPTY = Transition[Any]("empty", "list", "none")


def at_list(bot: Bot) -> Talk:
    """A conversation at the list."""
    return Talk(bot).says("hi", "shop", "ada")


# A declared way -----------------------------------------------------------------------------------------------------


def test_an_empty_list_takes_the_declared_way():
    """A list without rows is not asked: `empty` is fired, and no answer is recorded for `back`."""
    talk = at_list(shop([], EMPTY))
    assert talk.words == ["Nothing there.", "Home."]
    assert [step.trigger for step in talk.entry.steps] == ["answer", "empty", "done"]
    assert at_list(shop(["a"], EMPTY)).words == ["Which?"]


def test_empty_is_decided_each_time_the_question_is_asked():
    """A list whose rows have gone meanwhile takes the way on the next message, whatever it is."""
    for act in ("nonsense", "1", "help"):
        offers = ["a"]
        talk = at_list(shop(offers, EMPTY))
        offers.clear()
        talk.say(act)
        assert talk.words[-2:] == ["Nothing there.", "Home."], act
    offers = ["a"]
    talk = at_list(shop(offers, EMPTY)).say("a")
    offers.clear()
    assert talk.say("back").words[-2:] == ["Nothing there.", "Home."]


def test_a_button_keeps_a_list_from_being_empty():
    """A list without rows is asked as long as a button is visible."""
    sells = [True]
    leave = Transition[Any]("leave", "list", "none", conditions=lambda _: sells[0])
    assert list(at_list(shop([], EMPTY, leave)).shown) == ["goods.list.leave"]
    sells[0] = False
    assert at_list(shop([], EMPTY, leave)).words == ["Nothing there.", "Home."]


def test_a_way_whose_guard_declines_leaves_the_question():
    """Where no transition `empty` accepts, the member is told and offered the menu."""
    guarded = Transition[Any]("empty", "list", "none", conditions=lambda _: False)
    assert at_list(shop([], guarded)).words == [NONE, "Which?"]


def test_two_empty_lists_that_lead_to_each_other_are_found_out():
    """A circle of empty lists ends with an error that names the place, not in an endless turn."""
    states = [State[Any](name, ask=Text("?"), rows=lambda _: []) for name in ("a", "b")]
    ways = [Transition[Any](trigger, source, dest) for trigger in ("answer", "empty") for source, dest in ("ab", "ba")]
    talk = Talk(Bot(one_flow(states, ways))).say("hi")
    assert talk.last.status == "failed"
    assert "states without a question" in str(talk.last.error)


# No declared way ----------------------------------------------------------------------------------------------------


def test_an_empty_list_without_a_way_offers_the_menu():
    """The member reads that there is nothing to choose from, and a button leads to the menu."""
    talk = at_list(shop([]))
    assert talk.words == [NONE, "Which?"]
    assert isinstance(talk.question, Buttons)
    assert list(talk.shown) == ["Menu"]
    talk.say("nonsense")
    assert talk.words == ["That is not one of the choices.", NONE, "Which?"]
    assert talk.press("Menu").place == "home.menu"
    for answer in ("1", "menu", "Menu.", "cancel"):
        assert at_list(shop([])).say(answer).place == "home.menu"
    assert at_list(shop([])).say("back").place == "goods.name"


def test_a_button_that_everybody_is_declined_offers_the_menu():
    """A question whose buttons are all hidden is as empty as a list without rows."""
    flow = one_flow(
        [State("ask", ask=Text("Go?")), State("end", final=True)],
        [Transition("go", "ask", "end", conditions=lambda _: False)],
    )
    assert Talk(Bot(flow)).say("hi").words == [NONE, "Go?"]


def test_a_question_that_only_waits_is_not_empty():
    """A question that declares neither rows nor buttons waits for its timeout, and nothing is said of choices."""
    flow = one_flow(
        [State("wait", ask=Text("Wait."), timeout=60), State("end", final=True)], [Transition("timeout", "wait", "end")]
    )
    talk = Talk(Bot(flow)).say("hi")
    assert talk.words == ["Wait."]
    assert not talk.shown


def test_a_press_on_the_menu_of_a_list_that_has_rows_again():
    """The button to the menu works although the list has rows meanwhile."""
    offers: list[str] = []
    talk = at_list(shop(offers))
    offers.append("a")
    assert talk.press("Menu").place == "home.menu"


@given(
    st.lists(st.sampled_from(["fill", "clear", "1", "a", "back", "help", "press", "nonsense"]), max_size=8),
    st.booleans(),
)
def test_a_member_always_has_a_way_on(acts: list[str], declared: bool):
    """However rows come and go, each question that is asked at the list shows at least one choice."""
    offers = ["a"]
    talk = at_list(shop(offers, *([EMPTY] if declared else [])))
    for act in acts:
        if act in ("fill", "clear"):
            offers[:] = ["a", "b"] if act == "fill" else []
        elif act == "press" and talk.shown:
            talk.press(next(iter(talk.shown)))
        else:
            talk.say(act)
        assert talk.place != "goods.list" or talk.shown, act


# Checks ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "ways", "fault"),
    [
        (
            State("ask", ask=Text("?"), rows=lambda _: [], reads=str),
            [Transition("answer", "ask", "end"), Transition("empty", "ask", "end")],
            "because an answer can be typed",
        ),
        (
            State("ask", ask=Text("?"), rows=lambda _: []),
            [Transition("answer", "ask", "end"), Transition("go", "ask", "end"), Transition("empty", "ask", "end")],
            "because button 'go' is always shown",
        ),
        (
            State("ask", ask=Text("?"), timeout=60),
            [Transition("timeout", "ask", "end"), Transition("empty", "ask", "end")],
            "it has nothing to choose from, so it is always empty",
        ),
        (
            State("ask", ask=Text("?"), rows=lambda _: []),
            [Transition("answer", "ask", "end"), Transition("empty", "ask", "ask")],
            "leads back to the state that is empty",
        ),
        (
            State("ask"),
            [Transition("auto", "ask", "end"), Transition("empty", "ask", "end")],
            "trigger 'empty' can never come here|asks no question",
        ),
    ],
)  # fmt: skip
def test_an_empty_that_cannot_come_is_refused(state: State[Any], ways: list[Transition[Any]], fault: str):
    """A transition `empty` that can never be taken, or always, or leads nowhere, is refused when the flow is made."""
    with pytest.raises(FlowError, match=fault):
        one_flow([state, State("end", final=True)], ways)


@pytest.mark.parametrize(
    ("state", "ways", "found"),
    [
        (State("ask", ask=Text("?"), rows=lambda _: []), [], ["ask"]),
        (State("ask", ask=Text("?"), rows=lambda _: []), [Transition("empty", "ask", "end")], []),
        (State("ask", ask=Text("?"), rows=lambda _: []), [Transition("go", "ask", "end")], []),
        (
            State("ask", ask=Text("?"), rows=lambda _: []),
            [Transition("go", "ask", "end", conditions=lambda _: True)],
            ["ask"],
        ),
        (State("ask", ask=Text("?"), rows=lambda _: [], reads=str), [], []),
        (State("ask", ask=Text("?"), rows=lambda _: [], timeout=9), [Transition("timeout", "ask", "end")], []),
    ],
)  # fmt: skip
def test_a_question_that_may_be_empty_is_known(state: State[Any], ways: list[Transition[Any]], found: list[str]):
    """A question is known to be possibly empty, unless something always answers it or says where that leads."""
    answer: list[Transition[Any]] = [Transition("answer", "ask", "end")]
    assert [*may_be_empty(one_flow([state, State("end", final=True)], [*answer, *ways]))] == found
