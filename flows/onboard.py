"""Become a member: first name, last name, yes."""

from __future__ import annotations

import attrs

from flows.credex_core import CredexCore, Session
from flows.members import logged_in
from vimbiso_fsm.flow.calls import Call, call
from vimbiso_fsm.flow.flow import Flow
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.flow.turn import Turn, failed_with
from vimbiso_fsm.messages.readers import name
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.replies import Text

__all__ = ["Names", "onboard"]


@attrs.frozen
class Names:
    """Who somebody is."""

    firstname: str = ""
    lastname: str = ""


def names(turn: Turn[Names]) -> Text:
    """The names, to be confirmed."""
    return Text("onboard.confirm", firstname=turn.data.firstname, lastname=turn.data.lastname)


def register(turn: Turn[Names]) -> Call[Session | Refused]:
    """Make the member."""
    return call(CredexCore.onboard_member, firstname=turn.data.firstname, lastname=turn.data.lastname)


may_exist = failed_with("core.member_exists", "call.unsure")


def welcome(turn: Turn[Names]) -> Text:
    """A new member."""
    return Text("onboard.welcomed", firstname=turn.data.firstname)


onboard = Flow(
    "onboard", data=Names, initial="welcome",
    states=[
        State("welcome",   ask=Text("onboard.welcome")),
        State("firstname", ask=Text("onboard.firstname"), reads=name(), into="firstname"),
        State("lastname",  ask=Text("onboard.lastname"),  reads=name(), into="lastname"),
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
