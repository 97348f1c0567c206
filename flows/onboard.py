"""The onboarding of a member: first name, last name, confirmation."""

from __future__ import annotations

import attrs

from flows.credex_core import CredexCore, Dashboard, Session
from flows.members import logged_in
from flows.numbers import proven_number
from vimbiso_fsm import Call, Flow, Refused, State, Text, Transition, Turn, call, failed_with, readers


@attrs.frozen
class Names:
    """The data of the onboarding flow.

    Attributes:
        firstname: The first name.
        lastname: The last name.
    """

    firstname: str = ""
    lastname: str = ""


def names(turn: Turn[Names]) -> Text:
    """Return the names, for confirmation."""
    return Text("onboard.confirm", firstname=turn.data.firstname, lastname=turn.data.lastname)


def register(turn: Turn[Names, Dashboard]) -> Call[Session | Refused]:
    """Propose to register the member."""
    names = turn.data
    return call(
        CredexCore.onboard_member,
        firstname=names.firstname,
        lastname=names.lastname,
        phone=proven_number(turn),
    )


may_exist = failed_with("core.member_exists", "call.unsure")


def welcome(turn: Turn[Names]) -> Text:
    """Return the text that welcomes a new member."""
    return Text("onboard.welcomed", firstname=turn.data.firstname)


onboard = Flow(
    "onboard", data=Names, initial="welcome",
    states=[
        State("welcome",   ask=Text("onboard.welcome")),
        State("firstname", ask=Text("onboard.firstname"), reads=readers.name(), into="firstname"),
        State("lastname",  ask=Text("onboard.lastname"),  reads=readers.name(), into="lastname"),
        State("confirm",   ask=names),
        State("creating",  ask=Text("onboard.creating"), call=register),
        State("welcomed",  say=welcome, final=True),
        State("exists",    final=True),
    ],
    transitions=[
        Transition("become_member", "welcome", "firstname"),
        Transition("answer", "firstname", "lastname"),
        Transition("answer", "lastname",  "confirm"),
        Transition("yes",    "confirm",   "creating"),
        Transition("no",     "confirm",   "firstname"),
        Transition("done",   "creating",  "welcomed", prepare=logged_in),
        Transition("failed", "creating",  "exists",   conditions=may_exist),
        Transition("failed", "creating",  "confirm"),
    ],
)  # fmt: skip
