"""Mistakes that mypy --strict and pyright must reject, each on a line with the mark `# wrong`."""

from __future__ import annotations

from typing import Protocol

import attrs

from vimbiso_fsm import Call, Flow, Refused, State, Text, Transition, Turn, call


@attrs.frozen
class Offer:
    amount: int = 0


@attrs.frozen
class Login:
    account: str = ""


@attrs.frozen
class Card:
    name: str = ""


class Core(Protocol):
    def create(self, *, amount: int) -> str | Refused: ...


def of_login(turn: Turn[Login]) -> bool | Refused:
    return turn.data.account != ""


def text_of_login(turn: Turn[Login]) -> Text:
    return Text("login", account=turn.data.account)


def no_guard(turn: Turn[Offer]) -> str:
    return "yes"


def no_text(turn: Turn[Offer]) -> str:
    return "Well?"


def prepares_login(turn: Turn[Offer]) -> Login:
    return Login()


def wrong_field(turn: Turn[Offer]) -> bool:
    return turn.data.amuont > 0  # wrong


def wrong_argument(turn: Turn[Offer]) -> Call[str | Refused]:
    return call(Core.create, amount="ten")  # wrong


def wrong_result(turn: Turn[Offer]) -> Call[int]:
    return call(Core.create, amount=1)  # wrong


def wrong_field_of_the_profile(turn: Turn[Offer, Card]) -> bool:
    return turn.member.profile.nmae == ""  # wrong


def no_class_for_the_profile(turn: Turn[Offer]) -> bool:
    return turn.member.profile.name == ""  # wrong


def of_login_with_profile(turn: Turn[Login, Card]) -> bool:
    return turn.member.profile.name != turn.data.account


typed_guard_of_another_flow: Transition[Offer] = Transition(["go", "on"], "ask", "end", conditions=of_login_with_profile)  # wrong
triggers_that_are_none: Transition[Offer] = Transition(5, "ask", "end")  # wrong
guard_of_another_flow: Transition[Offer] = Transition("go", "ask", "end", conditions=of_login)  # wrong
guards_of_another_flow: Transition[Offer] = Transition("go", "ask", "end", unless=[of_login])  # wrong
ask_of_another_flow: State[Offer] = State("ask", ask=text_of_login)  # wrong
guard_that_is_none: Transition[Offer] = Transition("go", "ask", "end", conditions=no_guard)  # wrong
ask_that_is_none: State[Offer] = State("ask", ask=no_text)  # wrong
prepare_of_another_flow: Transition[Offer] = Transition("go", "ask", "end", prepare=prepares_login)  # wrong
guard_by_name: Transition[Offer] = Transition("go", "ask", "end", conditions="affordable")  # wrong

of_another: Transition[Login] = Transition("go", "ask", "end", conditions=of_login)
state_of_another: State[Login] = State("ask", ask=text_of_login)
end: State[Offer] = State("end", final=True)
ask: State[Offer] = State("ask", ask=Text("?"))
go: Transition[Offer] = Transition("go", "ask", "end")

flow_one: Flow[Offer] = Flow("one", data=Offer, initial="ask", states=[ask, end], transitions=[of_another])  # wrong
flow_two: Flow[Offer] = Flow("two", data=Offer, initial="ask", states=[state_of_another, end], transitions=[go])  # wrong
flow_three: Flow[Offer] = Flow("three", data=Offer, initial="ask", requires=of_login, states=[ask, end], transitions=[go])  # wrong
