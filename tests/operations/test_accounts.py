"""Conversations of one member with several accounts of the bot: numbers, names or tokens of its own on a channel."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Literal

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bots import member_document
from tests.digests import guest_id
from tests.shells import Shell
from vimbiso_fsm import (
    Bot,
    Call,
    Caller,
    Changes,
    Channel,
    Flow,
    FlowError,
    FlowStateManager,
    InvalidMessage,
    Message,
    Reply,
    State,
    Text,
    Transition,
    Turn,
    call,
)
from vimbiso_fsm.document.codec import decode, encode
from vimbiso_fsm.document.document import Document
from vimbiso_fsm.document.ids import conversation_id
from vimbiso_fsm.messages.digests import UNKEYED, Digests
from vimbiso_fsm.messages.message import Address
from vimbiso_fsm.operations.cache import Cache
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.store.requests import FindOwner, Link, Unlink
from vimbiso_fsm.testing.chat import STORE_SECRET, Chat, Clock, words

PHONE = "263771234567"
SHOP, DESK = "1001", "2002"


class Bank:
    """A service that keeps the member and the account of each payment."""

    def __init__(self) -> None:
        self.paid: list[tuple[str, str, str]] = []

    def pay(self, amount: str, *, caller: Caller = Caller()) -> str:  # noqa: B008  # a port is declared so
        """Pay an amount."""
        self.paid.append((amount, caller.member_id, caller.channel.account if caller.channel else ""))
        return "paid"


@attrs.frozen
class Gift:
    """The data of a gift."""

    pin: str = ""
    amount: str = ""
    receipt: str = ""


def known(turn: Turn[Gift]) -> Changes[Gift]:
    """Prepare: the PIN names the member."""
    member = attrs.evolve(turn.member, id=f"m-{turn.data.pin}", guest=False, authenticated=True, jwt_token="t")
    return turn.changes(data=turn.data, member=member)


def pay(turn: Turn[Gift]) -> Call[str]:
    """Pay the amount."""
    return call(Bank.pay, turn.data.amount)


GIFT: Flow[Gift] = Flow(
    "gift", data=Gift, initial="pin",
    states=[
        State("pin",    ask=Text("PIN?"), reads=str, into="pin"),
        State("amount", ask=Text("How much?"), reads=str, into="amount", timeout=100),
        State("sure",   ask=lambda turn: Text("Give {amount}?", amount=turn.data.amount), timeout=100),
        State("paying", call=pay, into="receipt"),
        State("given",  say=Text("Given.")),
    ],
    transitions=[
        Transition("answer",  "pin",    "amount", prepare=known),
        Transition("answer",  "amount", "sure"),
        Transition("timeout", ["amount", "sure"], "amount"),
        Transition("yes",     "sure",   "paying"),
        Transition("no",      "sure",   "amount"),
        Transition("done",    "paying", "given"),
        Transition("failed",  "paying", "amount"),
        Transition("auto",    "given",  "amount"),
    ],
)  # fmt: skip


def bot(bank: Bank | None = None, **options: Any) -> Bot:
    """Make the bot."""
    return Bot(GIFT, services={"bank": bank or Bank()}, session=30 * 86_400.0, **options)


class Desk:
    """A chat in which one person writes to several accounts.

    Attributes:
        chat: The chat. Its bot and cache may be replaced.
    """

    def __init__(self, made: Bot, **options: Any) -> None:
        self.chat = Chat(made, channel=Channel("whatsapp", PHONE), **options)
        self._ids = itertools.count(1)

    def say(self, account: str, *texts: str, phone: str = PHONE, kind: str = "whatsapp") -> list[str]:
        """Write to an account, and return the texts of the last reply."""
        for text in texts:
            self.chat.handle(Message(Channel(kind, phone), f"m{next(self._ids)}", text, account=account))
        return self.chat.words

    @property
    def state(self) -> Document:
        """The document of the latest outcome."""
        assert self.chat.outcome is not None
        return self.chat.outcome.state


# Where the account stands --------------------------------------------------------------------------------------------


def test_the_account_stands_in_the_metadata_of_the_channel():
    """It may be given with the message or with the channel, and is the same message; two different ones are refused."""
    said = Message(Channel("sms", "1", {"name": "Ada"}), "m", "hi", account=SHOP)
    assert said.channel.metadata == {"name": "Ada", "account": SHOP}
    assert said == Message(Channel("sms", "1", {"name": "Ada", "account": SHOP}), "m", "hi")
    assert said.channel.address == Address("sms", "1", SHOP) != Channel("sms", "1").address
    with pytest.raises(InvalidMessage, match="account"):
        Message(Channel("sms", "1", {"account": DESK}), "m", "hi", account=SHOP)
    with pytest.raises(InvalidMessage, match="must be a Channel"):
        Message("sms:1", "m", "hi")  # type: ignore[arg-type]  # a mistake of a beginner


def test_a_document_keeps_its_shape():
    """The account adds no field to the seed's document; a linked channel holds it only where it is known."""
    desk = Desk(bot())
    desk.say(SHOP, "hi", "42")
    raw = desk.chat.stored("m-42").document
    assert raw is not None
    assert b'"channel":{"type":"whatsapp","identifier":"263771234567","metadata":{"account":"1001"}}' in raw
    assert b'"_channels":[{"type":"whatsapp","identifier":"263771234567","account":"1001"}]' in raw
    assert b'"channel":{"type":"whatsapp","identifier":"263771234567"},"_validation' in raw
    without = encode(member_document(channels=(Address("sms", "1"),)))
    assert b'"_channels":[{"type":"sms","identifier":"1"}]' in without
    assert decode(raw) == desk.chat.document("m-42")


# Two conversations ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cached", [True, False])
def test_guests_and_members_have_a_conversation_with_each_account(cached: bool):
    """A yes to one account confirms nothing of the other, before and after the login, with and without a cache."""
    bank = Bank()
    desk = Desk(bot(bank), cached=cached)
    assert desk.say(SHOP, "hi") == ["PIN?"]
    assert desk.say(DESK, "yes") == ["PIN?"]
    assert desk.say(SHOP, "42", "5") == ["Give 5?"]
    assert desk.say(DESK, "42") == ["How much?"]
    assert desk.say(DESK, "yes") == ["Give yes?"]
    assert desk.say(DESK, "no", "7") == ["Give 7?"]
    assert desk.say(SHOP, "yes") == ["Given.", "How much?"]
    assert desk.say(DESK, "yes") == ["Given.", "How much?"]
    assert bank.paid == [("5", "m-42", SHOP), ("7", "m-42", DESK)]
    assert desk.state.member_id == "m-42@whatsapp:2002"
    assert (desk.state.person, desk.state.member.id) == ("m-42", "m-42")
    assert [desk.chat.document(name).channel.account for name in ("m-42", "m-42@whatsapp:2002")] == [SHOP, DESK]


def test_a_guest_has_an_id_for_each_account():
    """The id of a guest differs by account. Without a key and an account it is that of earlier releases."""
    here = Channel("whatsapp", PHONE)
    assert len({guest_id(here), guest_id(here.with_account(SHOP)), guest_id(here.with_account(DESK))}) == 3
    assert Digests((UNKEYED,)).guest_id(Channel("whatsapp", "263771000001")) == "guest-ce64bae640d8cb964b53bd46"


def test_accounts_can_be_shared():
    """With `accounts="shared"` the member has one conversation, which any account goes on with."""
    bank = Bank()
    desk = Desk(bot(bank, accounts="shared"))
    assert desk.say(SHOP, "hi") == ["PIN?"]
    assert desk.say(DESK, "42") == ["How much?"]
    assert desk.say(SHOP, "5") == ["Give 5?"]
    assert desk.say(DESK, "yes") == ["Given.", "How much?"]
    assert bank.paid == [("5", "m-42", DESK)]
    assert desk.state.channels == (Address("whatsapp", PHONE),)
    with pytest.raises(FlowError, match="'separate' or 'shared'"):
        bot(accounts="one")


def test_another_type_of_channel_goes_on_with_the_conversation():
    """A member who is linked on two types of channels is one, whatever the bot's address on each."""
    desk = Desk(bot())
    desk.say(SHOP, "hi", "42", "5")
    assert desk.say("+263", "hi", "42", kind="sms")[-1] == "Give 5?"
    assert desk.state.member_id == "m-42"
    assert {(known.type, known.account) for known in desk.state.channels} == {("whatsapp", SHOP), ("sms", "+263")}
    assert desk.say(DESK, "hi", "42") == ["How much?"]
    assert desk.state.member_id == conversation_id("m-42", Address("whatsapp", PHONE, DESK))


def test_two_phones_of_a_member_at_two_accounts_are_two_conversations():
    """The account decides, not the phone: each account has asked its own questions."""
    desk = Desk(bot())
    desk.say(SHOP, "hi", "42", "5")
    assert desk.say(DESK, "hi", "42", phone="263779999999") == ["How much?"]
    assert desk.say(SHOP, "hi", "42", phone="263778888888")[-1] == "Give 5?"


def test_a_second_login_finds_the_conversation_of_its_account():
    """The id that was given out to an account's conversation is used again, also after the other one is gone."""
    desk = Desk(bot())
    desk.say(SHOP, "hi", "42")
    desk.say(DESK, "hi", "42", "7")
    FlowStateManager(desk.chat.bot, desk.chat.store).wipe("m-42")
    desk.chat.cache = Cache(100)
    assert desk.say(DESK, "hi", "42", phone="263779999999")[-1] == "Give 7?"
    assert desk.state.member_id == "m-42@whatsapp:2002"


@given(st.lists(st.tuples(st.sampled_from([SHOP, DESK, "3003"]), st.sampled_from(["42", "5", "7", "yes", "no"]))))
def test_conversations_with_any_accounts_are_as_if_each_had_a_store_of_its_own(said: list[tuple[str, str]]):
    """Whatever is written to which account, each account replies as if there were no other."""
    together, banks = Desk(bot(bank := Bank()), cached=len(said) % 2 == 0), {name: Bank() for name, _ in said}
    alone = {name: Desk(bot(banks[name])) for name in banks}
    for account, text in said:
        assert together.say(account, text) == alone[account].say(account, text)
    assert sorted(bank.paid) == sorted(entry for each in banks.values() for entry in each.paid)


# Replies that answer no message --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_timer_replies_from_the_account_that_asked(kind: Literal["sync", "async"]):
    """Each conversation has its own timer, whose reply leaves from its own account; `deliver` is told which."""
    clock, sent = Clock(), list[tuple[str, str, list[str]]]()

    def deliver(channel: Channel, replies: Sequence[Reply], account: str, key: str) -> None:
        sent.append((channel.account, account, words(replies)))

    with Shell(kind, bot(), MemoryStore(clock, secret=STORE_SECRET), deliver=deliver) as shell:
        shell.manager._base.clock.follow(clock)
        here, members = Channel("whatsapp", PHONE), set[str]()
        for account, text in [(SHOP, "hi"), (DESK, "hi"), (SHOP, "42"), (DESK, "42"), (SHOP, "5"), (DESK, "7")]:
            members.add(shell.do("handle", shell.message(text, channel=here, account=account)).state.member_id)
        clock.at += 101
        for member in sorted(members):
            shell.do("wake", member)
    assert sent == [(SHOP, SHOP, ["How much?"]), (DESK, DESK, ["How much?"])]


def test_a_late_answer_belongs_to_the_conversation_of_its_call():
    """A call that takes longer than `handle` waits is stored where it was made, not at the member's other account."""
    desk = Desk(bot())
    desk.say(SHOP, "hi", "42", "5")
    desk.say(DESK, "hi", "42", "7")
    waiting = desk.chat.begin(Message(Channel("whatsapp", PHONE), "yes-2", "yes", account=DESK))
    while type(waiting.request).__name__ != "RunCall":
        desk.chat.step(waiting)
    request: Any = waiting.request
    assert (request.member_id, request.caller.member_id) == ("m-42@whatsapp:2002", "m-42")


# Documents of the time before ----------------------------------------------------------------------------------------


def test_a_guest_without_an_account_goes_on_with_the_first_that_is_written_to():
    """A stored guest takes the account of the next message; another account begins anew."""
    desk = Desk(bot(), cached=False)
    desk.say("", "hi")
    before = desk.state
    assert before.member_id == guest_id(Channel("whatsapp", PHONE))
    assert desk.say(SHOP, "42") == ["How much?"]
    assert desk.state.member_id == "m-42"
    assert desk.say(DESK, "hi") == ["PIN?"]
    assert desk.say(SHOP, "5") == ["Give 5?"]


def test_a_guest_stays_with_the_account_that_has_taken_it():
    """A guest that was taken over is found again by its account, and by no other."""
    desk = Desk(bot(), cached=False)
    desk.say("", "hi")
    old = desk.state.member_id
    FlowStateManager(desk.chat.bot, desk.chat.store).update(
        old, lambda document: attrs.evolve(document, channel=document.channel.with_account(SHOP))
    )
    assert desk.say(DESK, "hi") == ["PIN?"]
    assert desk.state.member_id == guest_id(Channel("whatsapp", PHONE, {"account": DESK}))
    desk.say(SHOP, "help")
    assert desk.state.member_id == old


def test_a_member_without_an_account_goes_on_with_the_first_that_is_written_to():
    """The link of earlier releases answers for any account, until the document has taken one."""
    desk = Desk(bot(), cached=False)
    desk.say("", "hi", "42", "5")
    assert desk.state.channels == (Address("whatsapp", PHONE),)
    assert desk.say(SHOP, "no") == ["How much?"]
    assert desk.state.channels == (Address("whatsapp", PHONE, SHOP),)
    assert desk.say(DESK, "yes") == ["PIN?"]
    assert desk.say(DESK, "42") == ["How much?"]
    assert desk.state.member_id == "m-42@whatsapp:2002"
    assert desk.say(SHOP, "9") == ["Give 9?"]


def test_metadata_of_the_channel_outlives_the_account():
    """A document that takes an account keeps what the channel knew of the member."""
    desk = Desk(bot())
    desk.chat.handle(Message(Channel("whatsapp", PHONE, {"language": "sn"}), "first", "hi"))
    desk.say(SHOP, "help")
    assert desk.state.channel.metadata == {"language": "sn", "account": SHOP}


def test_an_operator_recovers_the_conversation_of_an_account():
    """A damaged guest of an account is repaired as a guest of that account."""
    desk = Desk(bot())
    desk.say(DESK, "hi")
    member_id = desk.state.member_id
    data = desk.chat.stored(member_id).document
    assert data is not None
    desk.chat.plant_bytes(member_id, data.replace(b'"authenticated":false', b'"authenticated":5'))
    manager = FlowStateManager(desk.chat.bot, desk.chat.store)
    manager.recover(member_id)
    document = manager.state(member_id)
    assert document is not None
    assert (document.guest, document.channel.account) == (True, DESK)


# The index -----------------------------------------------------------------------------------------------------------


def test_a_link_is_one_accounts():
    """An entry without an account answers where an account has none of its own, and is told apart from that."""
    store, here = Chat(bot()).store, Channel("whatsapp", PHONE)
    shop, desk = here.with_account(SHOP), here.with_account(DESK)
    assert store.perform(Link(here, "m-1")).member_id == "m-1"
    assert (store.perform(FindOwner(shop)).member_id, store.perform(FindOwner(shop)).own) == ("m-1", False)
    assert store.perform(Link(shop, "m-2")).member_id == "m-2"
    assert (store.perform(FindOwner(shop)).member_id, store.perform(FindOwner(shop)).own) == ("m-2", True)
    assert store.perform(FindOwner(desk)).member_id == store.perform(FindOwner(here)).member_id == "m-1"
    assert store.perform(Unlink(desk, "m-2")).member_id == "m-1"
    assert store.perform(Unlink(desk, "m-1")).member_id is None
    assert store.perform(FindOwner(shop)).member_id == "m-2"
