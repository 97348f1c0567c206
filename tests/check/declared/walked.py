"""Broken flows of a school, whose faults show only in a walk."""

# mypy: ignore-errors
from __future__ import annotations

import attrs

from vimbiso_fsm import READ_ONLY, Bot, Call, Flow, Refused, State, Text, Transition, Turn, call

ASK = Text("Well?")


@attrs.frozen
class Pupil:
    word: str = ""


class Register:
    def count(self) -> int | Refused:
        return 1


def count(turn: Turn[Pupil]) -> Call[int | Refused]:
    return call(Register.count)


def a_question_that_takes_no_answer():
    def is_known(turn: Turn[Pupil]) -> bool | Refused:
        return turn.data.word == "Tariro" or Refused("Nobody here has that name.")
    return Flow("school", data=Pupil, initial="name",
        states=[
            State("name", ask=ASK, reads=str, into="word", examples=["Ada", "Alan"]),  # HERE trap
            State("end", say=ASK, final=True),
        ],
        transitions=[Transition("answer", "name", "end", conditions=is_known)])  # HERE never-fired


def a_way_that_nothing_takes():
    def is_long(turn: Turn[Pupil]) -> bool:
        return len(turn.data.word) > 100
    return Flow("school", data=Pupil, initial="name",
        states=[State("name", ask=ASK, reads=str, into="word", examples="Ada"), State("end", say=ASK, final=True)],
        transitions=[
            Transition("answer", "name", "name", conditions=is_long),  # HERE never-fired
            Transition("answer", "name", "end"),
        ])


def words_that_are_empty_for_some():
    def greets(turn: Turn[Pupil]) -> Text:
        return Text("" if turn.data.word == "Ada" else "Welcome.")
    return Bot(Flow("school", data=Pupil, initial="name",  # HERE said-empty
        states=[
            State("name", ask=ASK, reads=str, into="word", examples=["Ada", "Alan"]),
            State("end", say=greets, final=True),
        ],
        transitions=[Transition("answer", "name", "end")]))


def an_end_without_a_word():
    return Bot(Flow("school", data=Pupil, initial="name",  # HERE sent-empty
        states=[
            State("name", ask=ASK, reads=str, into="word", examples=["Ada", "Alan"]),
            State("end", final=True),
        ],
        transitions=[Transition("answer", "name", "end")]))


def calls_in_a_circle():
    flow = Flow("school", data=Pupil, initial="name",
        states=[
            State("name", ask=ASK, reads=str, into="word", examples="Ada"),  # HERE loop
            State("counting", ask=ASK, call=count, policy=READ_ONLY),
            State("again", ask=ASK, call=count, policy=READ_ONLY),
            State("end", say=ASK, final=True),
        ],
        transitions=[
            Transition("answer", "name", "counting"),
            Transition("done", "counting", "again"),
            Transition("done", "again", "counting"),
            Transition("failed", ["counting", "again"], "end"),
        ])
    return Bot(flow, services={"register": Register()})
