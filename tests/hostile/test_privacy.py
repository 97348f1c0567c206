"""Places in which telephone numbers, secrets and passwords are stored or shown."""

from __future__ import annotations

import attrs
import pytest

import flows
from flows.credex_core import SimulatedCredexCore
from tests.cli_runs import invoke
from tests.digests import token_of
from tests.hostile.kit import ADA, client_of, message, pay_bot, require
from vimbiso_fsm import SECRET, Bot, Flow, FlowStateManager, State, Text, Transition
from vimbiso_fsm.messages.digests import Digests
from vimbiso_fsm.store.requests import ReadRecords


def _names_of(number: str) -> set[str]:
    """Return the names of a telephone number in keys, logs, errors and the audit of a new deployment."""
    manager = FlowStateManager.in_memory(pay_bot())
    member_id = manager.handle(message("hi", number=number)).state.member_id
    [entry] = manager.history(member_id)
    return {member_id, entry.channel[1]}


def test_a_telephone_number_is_not_found_by_trying_all_of_them():
    """The digest of a telephone number cannot be computed without a secret of the deployment."""
    leaked = _names_of("263771734512")
    found = [number for number in range(263771734500, 263771734525) if _names_of(str(number)) & leaked]
    assert found == []


def test_a_telephone_number_is_not_found_from_a_token_and_the_id_of_its_message():
    """The token of a message cannot be computed from its sender and its id without a secret of the deployment."""
    sent = message("hi", number="263771734512", id="1000")
    manager = FlowStateManager.in_memory(pay_bot())
    [entry] = manager.history(manager.handle(sent).state.member_id)
    tried = [message("hi", number=str(number), id="1000") for number in range(263771734500, 263771734525)]
    require(entry.token in [token_of(each, manager.bot.digests) for each in tried], "the token is made in another way")
    assert [each for each in tried if token_of(each, Digests()) == entry.token] == []


@pytest.mark.embedded
def test_no_telephone_number_is_kept_of_a_member_that_was_wiped(valkey_url: str):
    """When a member is wiped, no key of the store holds their telephone number."""
    with FlowStateManager.from_url(valkey_url, flows.bot, services={"credex_core": SimulatedCredexCore()}) as manager:
        manager.wipe(manager.handle(message("hi", number=ADA)).state.member_id)
    with client_of(valkey_url) as client:
        assert [key for key in client.scan_iter() if ADA.encode() in key] == []


# A secret inside a class ----------------------------------------------------------------------------------------------


@attrs.frozen
class Card:
    """A card, whose number is secret."""

    number: str = attrs.field(default="", metadata=SECRET)


@attrs.frozen
class Purchase:
    """The data of a flow that asks for a card."""

    card: Card = attrs.field(factory=Card)
    name: str = ""


def test_a_secret_inside_a_class_stands_in_no_turn_record():
    """The value of a field that is marked `SECRET` is in no turn record, also in a class inside the data."""
    flow = Flow(
        "purchase",
        data=Purchase,
        initial="card",
        states=[
            State("card", ask=Text("card?"), reads=Card, into="card"),
            State("name", ask=Text("name?"), reads=str, into="name"),
            State("end", final=True, say=Text("bye")),
        ],
        transitions=[Transition("answer", "card", "name"), Transition("answer", "name", "end")],
    )
    with FlowStateManager.in_memory(Bot([flow])) as manager:
        manager.handle(message("hi"))
        member_id = manager.handle(message("4111-CANARY")).state.member_id
        records = manager.ask(ReadRecords(member_id))
    require(records, "there are no turn records")
    assert [record for record in records if b"4111-CANARY" in record.body] == []


# A password on the command line ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "begin", "end"),
    [("worker", "--redis", "--data"), ("doctor", "--redis", "--data")],
    ids=["worker", "doctor"],
)
def test_the_password_of_the_store_need_not_stand_on_the_command_line(command: str, begin: str, end: str):
    """The help of the option for the store's URL names an environment variable that can hold it."""
    code, shown, _ = invoke(command, "--help")
    require(code == 0 and begin in shown and end in shown, f"the help of {command} has another form")
    about = shown[shown.rindex(begin, 0, shown.rindex(end)) : shown.rindex(end)]
    assert "environment" in about.lower()
