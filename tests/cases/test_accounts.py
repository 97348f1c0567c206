"""Several bots, and several accounts of one bot, that serve the same member."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.cases.small_flows import YOU, Answer, gift, seat
from vimbiso_fsm import AnotherBotsStore, Bot, Channel, Flow, FlowStateManager, Message, Reply, State, Text, Transition
from vimbiso_fsm.testing.chat import Clock, words


def asking(name: str) -> Bot:
    """Return a bot with one question and its confirmation."""
    flow = Flow(
        name, data=Answer, initial="ask",
        states=[
            State("ask",  ask=Text(name + "?"), reads=str, into="value"),
            State("sure", ask=Text("Sure?")),
            State("end",  say=Text(name + " done"), final=True),
        ],
        transitions=[
            Transition("answer", "ask",  "sure"),
            Transition("yes",    "sure", "end"),
        ],
    )  # fmt: skip
    return Bot(flow)


@pytest.mark.embedded
def test_two_bots_on_one_redis_leave_each_other_alone(valkey_url: str):
    """Two bots that share a server and a member each keep their own run of that member (Case 05)."""
    with (
        FlowStateManager.from_url(valkey_url, asking("bank")) as bank,
        FlowStateManager.from_url(valkey_url, asking("clinic"), namespace="clinic") as clinic,
    ):
        bank.handle(Message(YOU, "m1", "hi"))
        bank.handle(Message(YOU, "m2", "500"))
        assert words(clinic.handle(Message(YOU, "m3", "hi")).replies) == ["clinic?"]
        outcome = bank.handle(Message(YOU, "m4", "yes"))
    assert (outcome.status, words(outcome.replies)) == ("advanced", ["bank done"])


@pytest.mark.embedded
def test_two_bots_without_a_namespace_are_not_mixed(valkey_url: str):
    """The second of two bots with default settings is refused, and the member's run of the first goes on (Case 05)."""
    with (
        FlowStateManager.from_url(valkey_url, asking("bank")) as bank,
        FlowStateManager.from_url(valkey_url, asking("clinic")) as clinic,
    ):
        bank.handle(Message(YOU, "m1", "hi"))
        bank.handle(Message(YOU, "m2", "500"))
        with pytest.raises(AnotherBotsStore, match="with the flows bank"):
            clinic.handle(Message(YOU, "m3", "hi"))
        outcome = bank.handle(Message(YOU, "m4", "yes"))
    assert (outcome.status, words(outcome.replies)) == ("advanced", ["bank done"])


def test_a_yes_to_one_account_confirms_nothing_of_another():
    """A confirmation on one number of the bot does not answer the question of another of its numbers (Case 06)."""
    manager = FlowStateManager.in_memory(Bot(gift))
    manager.handle(Message(YOU, "m1", "hi", account="1001"))
    manager.handle(Message(YOU, "m2", "5", account="1001"))
    assert "Given." not in words(manager.handle(Message(YOU, "m3", "yes", account="2002")).replies)


def test_a_delivery_knows_the_account_it_leaves_from():
    """A function that delivers a timer's reply can read the number to which the member wrote (Case 07)."""
    clock, delivered = Clock(), list[tuple[Channel, str | None]]()

    def deliver(channel: Channel, replies: Sequence[Reply], key: str | None = None, account: str | None = None) -> None:
        delivered.append((channel, account))

    manager = FlowStateManager.in_memory(Bot(seat()), clock=clock, deliver=deliver)
    member_id = manager.handle(Message(YOU, "m1", "hi", account="2002")).state.member_id
    clock.at += 61
    manager.wake(member_id)
    ((channel, account),) = delivered
    assert "2002" in repr((dict(channel.metadata), getattr(channel, "account", None), account))
