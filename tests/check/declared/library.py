"""Broken flows of a library."""

# mypy: ignore-errors
from __future__ import annotations

import attrs

from vimbiso_fsm import Flow, NoData, Refused, State, Text, Transition, Turn, call, readers

ASK = Text("Well?")


@attrs.frozen
class Loan:
    title: str = ""
    days: int = 0


class Desk:
    def lend(self, title: str, days: int) -> str | Refused:
        return title


def lend(turn: Turn[Loan]):
    return call(Desk.lend, turn.data.title, turn.data.days)


def short(turn: Turn[Loan]) -> bool:
    return turn.data.days < 30


def a_state_that_is_not_declared():
    return Flow("loan", data=Loan, initial="title",
        states=[State("title", ask=ASK, reads=readers.name(), into="title"), State("lent", final=True)],
        transitions=[Transition("answer", "title", "lentt")])  # HERE unknown-state


def a_first_state_that_is_not_declared():
    return Flow("loan", data=Loan, initial="titel",  # HERE unknown-state
        states=[State("title", ask=ASK, reads=readers.name(), into="title"), State("lent", final=True)],
        transitions=[Transition("answer", "title", "lent")])


def a_state_to_which_nothing_leads():
    return Flow("loan", data=Loan, initial="title",
        states=[
            State("title", ask=ASK, reads=readers.name(), into="title"),
            State("limit", say=Text("Too many."), final=True),  # HERE unreachable-state
            State("lent", final=True),
        ],
        transitions=[Transition("answer", "title", "lent")])


def a_state_without_a_way_out():
    return Flow("loan", data=Loan, initial="title",
        states=[State("title", ask=ASK, reads=readers.name(), into="title"), State("lent")],  # HERE dead-end
        transitions=[Transition("answer", "title", "lent")])


def an_end_that_goes_on():
    return Flow("loan", data=Loan, initial="title",
        states=[
            State("title", ask=ASK, reads=readers.name(), into="title"),
            State("lent", final=True),  # HERE final-with-transition
        ],
        transitions=[Transition("answer", "title", "lent"), Transition("auto", "lent", "title")])


def a_state_declared_twice():
    return Flow("loan", data=Loan, initial="title",
        states=[
            State("title", ask=ASK, reads=readers.name(), into="title"),
            State("lent", final=True),
            State("lent", say=Text("Lent."), final=True),  # HERE duplicate-state
        ],
        transitions=[Transition("answer", "title", "lent")])


def the_same_transition_twice():
    return Flow("loan", data=Loan, initial="title",
        states=[
            State("title", ask=ASK, reads=readers.name(), into="title"),
            State("days", ask=ASK, reads=readers.number(least=1, most=30), into="days"),
            State("lent", final=True),
        ],
        transitions=[
            Transition("answer", "title", "days"),
            Transition("answer", "title", "lent"),  # HERE duplicate-transition
            Transition("answer", "days", "lent"),
        ])


def a_guarded_way_behind_an_open_one():
    return Flow("loan", data=Loan, initial="days",
        states=[
            State("days", ask=ASK, reads=readers.number(least=1, most=30), into="days"),
            State("long", final=True),
            State("lent", final=True),
        ],
        transitions=[
            Transition("answer", "days", "long"),
            Transition("answer", "days", "lent", conditions=short),  # HERE shadowed-transition
        ])


def an_answer_without_a_question():
    return Flow("loan", data=Loan, initial="title",
        states=[State("title", reads=readers.name(), into="title"), State("lent", final=True)],  # HERE waiting-without-question
        transitions=[Transition("answer", "title", "lent")])


def a_question_that_cannot_be_answered():
    return Flow("loan", data=Loan, initial="title",
        states=[State("title", ask=ASK), State("lent", final=True)],  # HERE waiting-without-input
        transitions=[Transition("answer", "title", "lent")])


def a_call_that_may_not_fail():
    return Flow("loan", data=Loan, initial="title",
        states=[
            State("title", ask=ASK, reads=readers.name(), into="title"),
            State("lending", call=lend),  # HERE call-without-failed
            State("lent", final=True),
        ],
        transitions=[Transition("answer", "title", "lending"), Transition("done", "lending", "lent")])


def a_timeout_that_leads_nowhere():
    return Flow("loan", data=Loan, initial="title",
        states=[
            State("title", ask=ASK, reads=readers.name(), into="title", timeout=60),  # HERE timeout-without-transition
            State("lent", final=True),
        ],
        transitions=[Transition("answer", "title", "lent")])


def a_way_of_a_timeout_that_is_not_declared():
    return Flow("loan", data=Loan, initial="title",
        states=[State("title", ask=ASK, reads=readers.name(), into="title"), State("lent", final=True)],  # HERE transition-without-timeout
        transitions=[Transition("answer", "title", "lent"), Transition("timeout", "title", "lent")])


def a_misspelt_trigger():
    return Flow("loan", data=Loan, initial="title",
        states=[State("title", ask=ASK, reads=readers.name(), into="title", timeout=60), State("lent", final=True)],  # HERE timeout-without-transition
        transitions=[
            Transition("answer", "title", "lent"),
            Transition("timout", "title", "lent"),  # HERE misspelt-trigger
        ])


def an_effect_made_again_and_again():
    return Flow("loan", data=Loan, initial="title",
        states=[
            State("title", ask=ASK, reads=readers.name(), into="title"),
            State("lending", call=lend),  # HERE effect-twice
            State("lent", final=True),
        ],
        transitions=[
            Transition("answer", "title", "lending"),
            Transition("done", "lending", "lent"),
            Transition("failed", "lending", "lending"),
        ])


def a_fact_that_is_refused():
    return Flow("loan", data=Loan, initial="title",
        states=[
            State("title", ask=ASK, reads=readers.name(), into="title"),
            State("lending", call=lend),  # HERE fact-refused
            State("lent", final=True),
        ],
        transitions=[
            Transition("answer", "title", "lending"),
            Transition("done", "lending", "lent", conditions=short),
            Transition("failed", "lending", "title"),
        ])


def two_roles():
    return Flow("loan", data=NoData, initial="sent",
        states=[State("sent", ask=ASK, final=True)],  # HERE state-roles
        transitions=[])
