"""The proof of a telephone number, where nothing else proves it: a code is sent to the number, and is to be said."""

from __future__ import annotations

from typing import Final

import attrs

from flows.credex_core import CredexCore
from vimbiso_fsm import (
    SECRET,
    Call,
    Flow,
    Refused,
    State,
    Text,
    Transition,
    Turn,
    call,
    failed_with,
    readers,
)

CODE_DIGITS: Final = 6
"""The number of digits of a code."""


@attrs.frozen
class Proving:
    """The data of the proof.

    Attributes:
        phone: The number, with a plus and the country code.
        challenge: The id of the code that was sent.
        code: The code that was said; gone once it was checked.
    """

    phone: str = ""
    challenge: str = ""
    code: str = attrs.field(default="", metadata=SECRET)


def read_code(text: str) -> str | Refused:
    """Read a code, which may be written in groups."""
    digits = "".join(text.split()).replace("-", "")
    return digits if len(digits) == CODE_DIGITS and digits.isdecimal() else Refused("code.format", digits=CODE_DIGITS)


def send(turn: Turn[Proving]) -> Call[str | Refused]:
    """Propose to send a code to the number."""
    return call(CredexCore.send_code, phone=turn.data.phone.removeprefix("+"))


def check(turn: Turn[Proving]) -> Call[bool | Refused]:
    """Propose to check the code."""
    return call(CredexCore.check_code, challenge=turn.data.challenge, code=turn.data.code)


def ask_code(turn: Turn[Proving]) -> Text:
    """Ask for the code."""
    return Text("prove_number.code", digits=CODE_DIGITS, last=turn.data.phone[-3:])


def without_code(turn: Turn[Proving]) -> Proving:
    """Prepare: forget the code that was said."""
    return attrs.evolve(turn.data, code="")


def number(turn: Turn[Proving]) -> str:
    """Return the proven number."""
    return turn.data.phone


prove_number = Flow(
    "prove_number", data=Proving, initial="number",
    states=[
        State("number",   ask=Text("prove_number.number"), reads=readers.phone("ZW"), into="phone"),
        State("sending",  ask=Text("prove_number.sending"), call=send, into="challenge"),
        State("code",     ask=ask_code, reads=read_code, into="code", examples="123 456"),
        State("checking", ask=Text("prove_number.checking"), call=check),
        State("proven",   final=True, output=number),
    ],
    transitions=[
        Transition("answer",       "number",   "sending"),
        Transition("done",         "sending",  "code"),
        Transition("failed",       "sending",  "number"),
        Transition("answer",       "code",     "checking"),
        Transition("new_code",     "code",     "sending"),
        Transition("other_number", "code",     "number"),
        Transition("done",         "checking", "proven", prepare=without_code),
        Transition("failed",       "checking", "number", prepare=without_code, conditions=failed_with("code.spent")),
        Transition("failed",       "checking", "code",   prepare=without_code),
    ],
)  # fmt: skip
