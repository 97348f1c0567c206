"""The scenarios of VimbisoPay's conversations on the real engine: answered offers, two channels, long lists."""

from __future__ import annotations

from collections.abc import Generator
from decimal import Decimal
from itertools import count
from typing import Any

import attrs
import pytest

from flows.credex_core import SimulatedCredexCore
from tests.engines import Server
from vimbiso_fsm.channels import whatsapp
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.money import Money
from vimbiso_fsm.messages.replies import Buttons, Menu
from vimbiso_fsm.operations.handle import Outcome
from vimbiso_fsm.runtime.flow_state import FlowStateManager

pytestmark = pytest.mark.embedded

ADA, ALAN = "263771000001", "263771000002"
DONE = {"accept": "accepted", "decline": "declined", "cancel_offer": "cancelled"}


class Chat:
    """One member in a conversation. The worker may be replaced."""

    _ids = count()

    def __init__(self, url: str, core: SimulatedCredexCore, channel: Channel) -> None:
        self.url, self.core, self.channel = url, core, channel
        self.manager = self.worker()

    def worker(self) -> FlowStateManager:
        """Make a worker with an empty cache."""
        return FlowStateManager.from_url(self.url, "flows", services={"credex_core": self.core})

    def say(self, *texts: str) -> Outcome:
        return [self._send(text=text) for text in texts][-1]

    def press(self, outcome: Outcome, title: str) -> Outcome:
        """Press a choice of the question that was shown last."""
        asked = outcome.replies[-1]
        shown = asked.buttons if isinstance(asked, Buttons) else asked.rows if isinstance(asked, Menu) else ()
        return self._send(choice=next(choice.id for choice in shown if choice.title.text == title))

    def _send(self, **content: Any) -> Outcome:
        return self.manager.handle(Message(self.channel, f"f{next(self._ids)}", **content))


@pytest.fixture
def core() -> SimulatedCredexCore:
    """Return a simulated credex-core without faults."""
    return SimulatedCredexCore()


@pytest.fixture
def alan(valkey_url: str, core: SimulatedCredexCore) -> Generator[Chat, None, None]:
    """Return a chat on the channel of a member who writes English."""
    chat = Chat(valkey_url, core, Channel("whatsapp", ALAN))
    with chat.manager:
        yield chat


@pytest.fixture
def ada(valkey_url: str, core: SimulatedCredexCore) -> Generator[Chat, None, None]:
    """Return a chat on the channel of a member who writes Shona."""
    chat = Chat(valkey_url, core, Channel("whatsapp", ADA, {"lang": "sn"}))
    with chat.manager:
        yield chat


def place(outcome: Outcome) -> str:
    """Return the flow and the step of the run, joined by a dot, or an empty text without a run."""
    run = outcome.state.run
    return f"{run.flow}.{run.step}" if run else ""


def test_sg27_an_offer_that_is_not_on_the_list_does_not_advance(alan: Chat) -> None:
    """An offer that is not on the list is refused, and the list is shown again.

    Given a list of offers, when the id of another member's offer, an unknown id or a number beyond the list is sent,
    then the list is shown again with a reason, and no earlier choice is used. The original system went on to the
    confirmation with the earlier choice.
    """
    alan.core._new_offer(alan.core._handles["alan"], alan.core._handles["ada"], Money(Decimal("1.00"), "USD"))
    of_ada = alan.core.offers[-1].id
    alan.say("hi", "accept", "1", "back")
    for unknown in (of_ada, "credex-0", "9", "0", "-1", "5.00"):
        for outcome in (alan.say(unknown), alan._send(choice=unknown)):
            assert (outcome.status, place(outcome)) == ("refused", "accept_offer.list"), unknown
            assert outcome.replies[0].text == "That is not one of the choices."
            assert isinstance(outcome.replies[-1], Menu)
    assert {call.name for call in alan.core.calls} == {"login"}


@pytest.mark.parametrize("word", DONE)
def test_sg28_an_offer_can_be_answered(word: str, alan: Chat) -> None:
    """An offer that is confirmed twice is accepted once.

    Given an offer of 5.00 USD, when it is chosen and confirmed twice, then the API gets its id once. In the original
    system the text of the question failed, and the client would have sent a dictionary as the id.
    """
    if word == "cancel_offer":
        alan.say("hi", "5=>ada", "yes")
    offer = next(offer for offer in alan.core.offers if "alan" in (offer.issuer, offer.receiver) and offer.amount == 5)
    if word == "cancel_offer":
        offer = alan.core.offers[-1]
    asked = alan.say("hi", word, offer.id)
    assert "5.00 USD" in asked.replies[-1].text
    yes = next(button.id for button in asked.replies[-1].buttons)  # type: ignore[union-attr]
    assert yes.endswith("yes")
    before = len(alan.core.calls)
    alan._send(choice=yes)
    alan._send(choice=yes)
    name = word.removesuffix("_offer") + "Credex"
    assert [call.name for call in alan.core.calls[before:]] == [name]
    status = {each.id: each.status for each in alan.core.offers}
    assert status.pop(offer.id) == DONE[word]
    assert set(status.values()) == {"pending"}
    alan.core.check_conservation()


def test_sg32_one_member_two_channels(ada: Chat, valkey_url: str) -> None:
    """A member continues a flow on another channel.

    Given a member in the middle of an offer on WhatsApp, when they write by SMS, then the member and the flow are the
    same, the open question is asked there, and each channel keeps its address. The original system made a new, empty
    session.
    """
    begun = ada.say("hi", "offer", "10", "alan")
    sms = Chat(valkey_url, ada.core, Channel("sms", ADA))
    with sms.manager:
        greeted = sms.say("hi")
        assert greeted.state.member_id == begun.state.member_id
        assert greeted.replies[-1].text == begun.replies[-1].text == ada.say("help").replies[-1].text
        done = sms.say("yes")
    assert "was made" in done.replies[0].text
    assert done.state.channel.address == Channel("sms", ADA).address
    assert {(address.type, address.identifier) for address in done.state.channels} == {("sms", ADA), ("whatsapp", ADA)}
    assert place(ada.say("menu")) == "dashboard.menu"
    assert [offer.amount for offer in ada.core.offers[2:]] == [10]


def test_sg33_keyed_by_member(ada: Chat, valkey_server: Server) -> None:
    """The key of a session is the id of the member.

    Given a member who is logged in, when the keys are listed, then the key of the session contains the id of the
    member, and a separate index, which names no telephone number, leads to it from the channel. The original system had
    one key, the telephone number.
    """
    member = ada.say("hi").state.member_id
    with valkey_server.client() as client:
        keys: Any = client.keys("*")
        names = sorted(key.decode() for key in keys)
        owners = [client.get(name) for name in names if ":channel:" in name]
    assert [name for name in names if name.endswith(":state")] == [
        name for name in names if name.endswith(f":member:{member}:state")
    ]
    assert owners == [member.encode()]
    assert not [name for name in names if ADA in name]


def test_sg34_channel_details_survive(ada: Chat) -> None:
    """The details of a channel survive messages and updates.

    The original system replaced them by nothing, and the type by WhatsApp.
    """
    outcome = ada.say("hi", "offer", "10", "alan", "yes")
    assert outcome.state.channel == ada.channel
    assert outcome.state.channel.metadata == {"lang": "sn"}
    ada.manager.update(outcome.state.member_id, lambda d: attrs.evolve(d, profile={**d.profile, "note": "x"}))
    ada.manager = ada.worker()
    with ada.manager:
        assert ada.say("menu").state.channel.metadata == {"lang": "sn"}


def test_sg67_many_offers_with_long_names(alan: Chat) -> None:
    """A long list of offers is shown in valid pages.

    Given 15 offers of accounts with long names, when they are listed, then each page is a valid WhatsApp list with the
    rows that turn the pages, and all offers can be reached. The original system sent them as they are.
    """
    core = alan.core
    for number in range(13):
        rich = core._new_member(f"26377200{number:04}", "R", "R", 5, Decimal(0))
        account = core._new_account(
            rich, f"a_rather_long_handle_{number:02}", f"{'The Long Name Company ' * 3}{number}"
        )
        core._new_offer(account, core._handles["alan"], Money(Decimal(f"1234567.{number:02}"), "USD"))
    outcome = alan.say("hi", "accept")
    met: list[str] = []
    for _ in range(5):
        (payload,) = whatsapp.render(alan.channel, outcome.replies)
        (section,) = payload["interactive"]["action"]["sections"]
        rows = section["rows"]
        assert 0 < len(rows) <= 10
        assert all(len(row["title"]) <= 24 and len(row.get("description", "")) <= 72 for row in rows)
        assert all(len(row["id"]) <= 200 for row in rows)
        assert len({row["title"] for row in rows}) == len(rows)
        met += [row["id"].rpartition("=")[2] for row in rows if "=" in row["id"]]
        if not any(row["id"].endswith("#next") for row in rows):
            break
        outcome = alan.say("next")
    waiting = [offer.id for offer in core.offers if offer.receiver == "alan"]
    assert len(waiting) == 15
    assert met == waiting
    assert place(alan.say("1")) == "accept_offer.confirm"
