"""Turns and calls, as callbacks see and return them."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from tests.bots import Bank
from vimbiso_fsm.document.document import Member
from vimbiso_fsm.flow.calls import Call, Caller, call, snake_case
from vimbiso_fsm.flow.turn import Changes, Turn, authenticated, failed_with
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.replies import Text
from vimbiso_fsm.testing.chat import CHANNEL, START


def turn(**changes: Any) -> Turn[str]:
    """Return a turn."""
    return attrs.evolve(Turn("d", Member("m"), CHANNEL, START, "f", "s"), **changes)


def test_a_refusal_is_false_and_carries_its_words():
    """`Refused` is falsy, so that `check(…) or Refused(…)` works."""
    refused = Refused("amount.balance", field="amount", held="5 USD")
    assert not refused
    assert (bool(refused.params.get("missing")) or refused) is refused
    assert refused.words == Text("amount.balance", held="5 USD")
    assert (refused.code, refused.field) == ("amount.balance", "amount")
    assert refused == Refused("amount.balance", "amount", held="5 USD")
    assert refused != Refused("amount.balance", "amount", held="6 USD")
    assert hash(refused) == hash(Refused("amount.balance", "amount"))


def test_changes_keep_the_other_fields():
    """`turn.changes` keeps what is not named."""
    before, other = turn(), Member("n")
    assert before.changes() == Changes("d", Member("m"))
    assert before.changes(member=other) == Changes("d", other)
    assert before.changes(data="e") == Changes("e", Member("m"))


def test_authenticated_asks_for_a_login():
    """The guard `authenticated` accepts a member who is logged in and refuses any other."""
    assert authenticated(turn()) == Refused("member.login")
    assert authenticated(turn(member=Member("m", authenticated=True))) is True


def test_a_call_names_port_and_method():
    """A call names its service in snake case and binds arguments to parameter names."""
    assert call(Bank.pay, "ada", fruit="apple") == Call("bank", "pay", {"name": "ada", "fruit": "apple"})
    assert call(Bank.stock).arguments == {}


@pytest.mark.parametrize(
    ("name", "snake"),
    [
        ("CredexCore", "credex_core"),
        ("Bank", "bank"),
        ("HTTPServer", "http_server"),
        ("A1Port", "a1_port"),
        ("SMSGate", "sms_gate"),
    ],
)
def test_snake_case(name: str, snake: str):
    """The name of a port is written in snake case."""
    assert snake_case(name) == snake


def free(name: str) -> str:
    """A function that is not a method of a port."""
    return name


def test_a_call_takes_a_method_of_a_class():
    """A plain or local function, and wrong arguments, raise `TypeError`."""

    def local(self: Any) -> None: ...

    with pytest.raises(TypeError, match="method of a port"):
        call(free, name="x")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="method of a port"):
        call(local)
    with pytest.raises(TypeError):
        call(Bank.pay, "ada")  # type: ignore[call-overload]
    with pytest.raises(TypeError):
        call(Bank.pay, name="ada", fruit="a", price=3)  # type: ignore[call-overload]


def test_a_failure_is_told_by_its_reason():
    """`failed_with` accepts the named codes only, and its name in the audit holds them."""
    guard = failed_with("core.gone", "call.unsure")
    assert [guard(turn(reason=Refused(code))) for code in ("core.gone", "call.unsure", "core.down")] == [
        True,
        True,
        False,
    ]
    assert guard(turn()) is False
    assert guard.__name__ == "because core.gone or call.unsure"


def test_secrets_are_not_in_a_repr():
    """A repr shows no token, no profile and no arguments of a call."""
    shown = [
        repr(Caller("k", "m", "s3cret", CHANNEL)),
        repr(Member("m", jwt_token="s3cret", profile={"name": "s3cret"})),
        repr(Call("bank", "pay", {"pin": "s3cret"})),
        repr(turn(answer="s3cret")),
    ]
    assert not [text for text in shown if "s3cret" in text or CHANNEL.identifier in text]


def test_turns_are_frozen():
    """A turn cannot be changed."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        turn().data = "e"  # type: ignore[misc]
