"""The argument of commands that names a member."""

from __future__ import annotations

import attrs
import pytest
import typer

from tests.bots import fruit_bot, member_document
from tests.digests import guest_id
from tests.shells import Watched
from vimbiso_fsm import Channel, FlowStateManager, Message
from vimbiso_fsm.cli.member_argument import member_id_of
from vimbiso_fsm.cli.store_options import OpenStore
from vimbiso_fsm.document.state_validator import CHANNEL_TYPES
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.store.requests import Link, Request, Scan
from vimbiso_fsm.testing.chat import STORE_SECRET

NUMBER, OTHER = "263771000001", "263771000002"
PLACE = f"whatsapp:{NUMBER}"


class Talks:
    """A store in memory, and the conversations that a test begins there."""

    def __init__(self) -> None:
        self.store = MemoryStore(lambda: 1e9, secret=STORE_SECRET)
        self.at = OpenStore(self.store, CHANNEL_TYPES)
        self._manager = FlowStateManager(fruit_bot(), self.store)

    def guest(self, account: str, number: str = NUMBER) -> str:
        """Begin as a guest at an account, and return the id of the conversation."""
        message = Message(Channel("whatsapp", number), f"{account}-1", "hi", account=account)
        return self._manager.handle(message).state.member_id

    def member(self, *accounts: str, member_id: str = "m-1") -> str:
        """Store a member with one conversation at some accounts, and return the id of the conversation."""
        channels = [Channel("whatsapp", NUMBER).with_account(account) for account in accounts]
        addresses = tuple(channel.address for channel in channels)
        document = member_document(member_id=member_id, channel=channels[0], channels=addresses)
        self._manager.save(attrs.evolve(document, version=0))
        for channel in channels:
            self.store.perform(Link(channel, member_id))
        return member_id


@pytest.mark.parametrize("who", ["guest", "member"])
@pytest.mark.parametrize("account", ["", "1001"])
def test_the_only_conversation_of_a_channel_is_found_without_its_account(who: str, account: str):
    """A channel without an account names its one conversation, whatever the account of it and of other channels."""
    talks = Talks()
    talks.guest("2002", OTHER)
    wanted = talks.guest(account) if who == "guest" else talks.member(account)
    assert member_id_of(talks.at, PLACE) == wanted
    if account:
        assert member_id_of(talks.at, f"whatsapp/{account}:{NUMBER}") == wanted


def test_one_conversation_with_several_accounts_is_one():
    """A channel whose accounts lead to one member names that member."""
    talks = Talks()
    assert member_id_of(talks.at, "m-1") == talks.member("1001", "2002")
    assert member_id_of(talks.at, PLACE) == "m-1"


@pytest.mark.parametrize("second", ["guest", "member"])
def test_of_several_conversations_the_accounts_are_named(second: str):
    """A channel without an account that has several conversations is refused; the accounts are named, no number is."""
    talks = Talks()
    first = talks.guest("1001")
    other = talks.guest("2002") if second == "guest" else talks.member("2002", member_id="m-1@whatsapp:2002")
    with pytest.raises(typer.BadParameter, match="2 conversations, with the accounts 1001, 2002") as refused:
        member_id_of(talks.at, PLACE)
    assert NUMBER not in str(refused.value)
    assert member_id_of(talks.at, f"whatsapp/1001:{NUMBER}") == first
    assert member_id_of(talks.at, f"whatsapp/2002:{NUMBER}") == other


def test_a_channel_that_never_wrote_is_that_of_its_guest():
    """A channel without a conversation names the guest that it would have; an own entry needs no search."""
    talks = Talks()
    assert member_id_of(talks.at, PLACE) == guest_id(Channel("whatsapp", NUMBER))
    talks.member("")
    watched, asked = Watched(talks.store), list[Request]()
    watched.before = asked.append
    assert member_id_of(OpenStore(watched, CHANNEL_TYPES), PLACE) == "m-1"
    assert not any(isinstance(request, Scan) for request in asked)
