"""Broken flows of a clinic."""

# mypy: ignore-errors
from __future__ import annotations

import os
import random
import time
from datetime import date, datetime

import attrs

from vimbiso_fsm import READ_ONLY, Flow, Refused, State, Text, Transition, Turn, call, readers

ASK = Text("Well?")


@attrs.frozen
class Visit:
    patient: str = ""
    day: date | None = None
    hour: int = 0
    tests: tuple[str, ...] = ()


class Ward:
    def admit(self, patient: str) -> str | Refused:
        return patient


@attrs.frozen
class Bill:
    amount: int = 0


def paid(turn: Turn[Bill]) -> bool:
    return turn.data.amount == 0


def visit(guard=None, prepare=None, reads=readers.name(), into="patient", ask=ASK):
    """Return a flow; the parts at fault are those that are given."""
    return Flow("visit", data=Visit, initial="patient",
        states=[
            State("patient", ask=ask, reads=reads, into=into),
            *([State("refused", say=Text("No."), final=True)] if guard else []),
            State("planned", say=Text("Planned."), final=True),
        ],
        transitions=[
            Transition("answer", "patient", "planned", conditions=guard or (), prepare=prepare),
            *([Transition("answer", "patient", "refused")] if guard else []),
        ])


def a_guard_that_reads_the_clock():
    def open_now(turn: Turn[Visit]) -> bool:
        return datetime.now().hour < 18  # HERE guard-impure
    return visit(open_now)


def a_guard_that_asks_for_the_day():
    def today(turn: Turn[Visit]) -> bool:
        return turn.data.day == date.today()  # HERE guard-impure
    return visit(today)


def a_guard_that_throws_dice():
    def lucky(turn: Turn[Visit]) -> bool:
        return random.random() < 0.5  # HERE guard-impure
    return visit(lucky)


def a_guard_that_opens_a_file():
    def known(turn: Turn[Visit]) -> bool:
        with open("patients.txt") as file:  # HERE guard-impure
            return turn.data.patient in file.read()
    return visit(known)


def a_guard_that_reads_the_environment():
    def allowed(turn: Turn[Visit]) -> bool:
        return "CLINIC" in os.environ  # HERE guard-impure
    return visit(allowed)


def a_helper_that_waits():
    def rested(turn: Turn[Visit]) -> bool:
        return _slowly(turn)
    def _slowly(turn: Turn[Visit]) -> bool:
        time.sleep(0.1)  # HERE guard-impure
        return True
    return visit(rested)


def a_guard_that_changes_the_data():
    def counted(turn: Turn[Visit]) -> bool:
        turn.data.tests.append("blood")  # HERE guard-impure
        return True
    return visit(counted)


def a_question_that_prints():
    def words(turn: Turn[Visit]) -> Text:
        print("asked")  # HERE callback-impure
        return Text("Who?")
    return visit(ask=words)


def a_guard_that_is_async():
    async def known(turn: Turn[Visit]) -> bool:  # HERE guard-async
        return True
    return visit(known)


def a_guard_of_two_arguments():
    def known(turn: Turn[Visit], name: str) -> bool:
        return turn.data.patient == name
    return Flow("visit", data=Visit, initial="patient",
        states=[State("patient", ask=ASK, reads=readers.name(), into="patient"), State("planned", say=ASK, final=True)],
        transitions=[Transition("answer", "patient", "planned", conditions=known)])  # HERE wrong-signature


def a_guard_that_returns_nothing():
    def known(turn: Turn[Visit]):  # HERE guard-returns-other
        turn.data.patient.strip()
    return visit(known)


def a_guard_that_returns_a_text():
    def known(turn: Turn[Visit]):  # HERE guard-returns-other
        return turn.data.patient
    return visit(known)


def a_guard_that_returns_a_text_by_its_annotation():
    def known(turn: Turn[Visit]) -> str:  # HERE guard-returns-other
        return turn.data.patient or "none"
    return visit(known)


def a_guard_with_a_wrong_field():
    def known(turn):  # HERE guard-raises
        return turn.data.pateint != ""
    return visit(known)


def a_guard_with_a_wrong_name():
    def known(turn: Turn[Visit]) -> bool:  # HERE guard-raises
        return turn.data.hour < LATEST  # noqa: F821
    return visit(known)


def a_guard_of_another_flow():
    return Flow("visit", data=Visit, initial="patient",
        states=[State("patient", ask=ASK, reads=readers.name(), into="patient"), State("planned", say=ASK, final=True)],
        transitions=[Transition("answer", "patient", "planned", conditions=paid)])  # HERE turn-of-another-flow


def a_question_without_words():
    def words(turn: Turn[Visit]):  # HERE callback-returns-other
        return "Who are you?"
    return visit(ask=words)


def a_reader_that_raises():
    return Flow("visit", data=Visit, initial="hour",
        states=[State("hour", ask=ASK, reads=int, into="hour"), State("planned", say=ASK, final=True)],  # HERE reader-raises
        transitions=[Transition("answer", "hour", "planned")])


def a_reader_of_another_type():
    return Flow("visit", data=Visit, initial="hour",
        states=[State("hour", ask=ASK, reads=readers.name(), into="hour"), State("planned", say=ASK, final=True)],  # HERE reader-wrong-type
        transitions=[Transition("answer", "hour", "planned")])


def a_reader_of_another_type_without_annotations():
    def read(text):
        return text.strip() or Refused("empty")
    return Flow("visit", data=Visit, initial="hour",
        states=[State("hour", ask=ASK, reads=read, into="hour"), State("planned", say=ASK, final=True)],  # HERE reader-wrong-type
        transitions=[Transition("answer", "hour", "planned")])


def a_call_with_a_wrong_argument():
    def admit(turn: Turn[Visit]):
        return call(Ward.admit, name=turn.data.patient)  # HERE call-wrong-arguments
    return Flow("visit", data=Visit, initial="patient",
        states=[
            State("patient", ask=ASK, reads=readers.name(), into="patient"),
            State("admitting", call=admit),
            State("planned", say=ASK, final=True),
        ],
        transitions=[
            Transition("answer", "patient", "admitting"),
            Transition(["done", "failed"], "admitting", "planned"),
        ])


def a_call_with_too_few_arguments():
    def admit(turn: Turn[Visit]):
        return call(Ward.admit)  # HERE call-wrong-arguments
    return Flow("visit", data=Visit, initial="patient",
        states=[
            State("patient", ask=ASK, reads=readers.name(), into="patient"),
            State("admitting", call=admit, policy=READ_ONLY),
            State("planned", say=ASK, final=True),
        ],
        transitions=[
            Transition("answer", "patient", "admitting"),
            Transition(["done", "failed"], "admitting", "planned"),
        ])
