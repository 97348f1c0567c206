"""Link, unlink, relink and merge: a channel leads to one member, and nothing is lost, doubled or told to another."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any

import attrs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.digests import guest_id, token_of
from tests.shells import Shell
from vimbiso_fsm import Bot, Call, Caller, Channel, Flow, Message, Refused, State, Text, Transition, Turn, call
from vimbiso_fsm.audit.entries import AuditEntry, unseal
from vimbiso_fsm.audit.flow_audit import FlowAuditLogger
from vimbiso_fsm.document.document import Document, first_document
from vimbiso_fsm.errors import CallPending, ChannelTaken, MemberNotFound, NotAMember, VimbisoError
from vimbiso_fsm.operations.cache import Cache
from vimbiso_fsm.operations.effects import RunCall
from vimbiso_fsm.operations.history import read_history
from vimbiso_fsm.operations.link import link, merge, unlink
from vimbiso_fsm.operations.rename import rename
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.store.redis_atomic import AsyncAtomicStateManager, AtomicStateManager
from vimbiso_fsm.store.requests import Commit, FindOwner, Link, ReadAudit, Scan, Unlink
from vimbiso_fsm.testing.chat import START, STORE_SECRET, Chat, Held, words

WHATSAPP, SMS, TELEGRAM, OTHER = (
    Channel("whatsapp", "263771000001"),
    Channel("sms", "263771000001"),
    Channel("telegram", "77"),
    Channel("sms", "263771000002"),
)
CHANNELS = (WHATSAPP, SMS, TELEGRAM, OTHER)


# A bot that pays a number, once for each message, and says whose account it was ---------------------------------------


class Till:
    """A service that notes each payment: its number, its key and its member."""

    def __init__(self) -> None:
        self.paid: list[tuple[str, str, str]] = []

    def pay(self, number: str, *, caller: Caller = Caller()) -> str | Refused:  # noqa: B008
        """Pay."""
        self.paid.append((number, caller.key, caller.member_id))
        return f"receipt of {number}"


@attrs.frozen
class Payment:
    """The data of the flow."""

    number: str = ""
    receipt: str = ""


def name_of(member_id: str, guest: bool) -> str:
    """Return the word by which a reply tells whose it is."""
    return "<stranger>" if guest else f"<{member_id}>"


def number(turn: Turn[Payment]) -> Text:
    """The question, which names the member and the latest receipt."""
    return Text(f"{name_of(turn.member.id, turn.member.guest)} {turn.data.receipt}, what number?")


def pay(turn: Turn[Payment]) -> Call[str | Refused]:
    """Pay the number."""
    return call(Till.pay, number=turn.data.number)


payments = Flow(
    "payments", data=Payment, initial="number",
    states=[
        State("number", ask=number, reads=str, into="number"),
        State("paying", call=pay, into="receipt"),
        State("end",    final=True),
    ],
    transitions=[
        Transition("answer", "number", "paying"),
        Transition("done",   "paying", "number"),
        Transition("failed", "paying", "number"),
        Transition("end",    "number", "end"),
    ],
)  # fmt: skip


def member(member_id: str, *channels: Channel) -> Document:
    """Return the document of a member with channels."""
    document = first_document(member_id, channels[0], START, channels[0].address, version=1)
    return attrs.evolve(document, channels=tuple(channel.address for channel in channels))


def a_chat() -> Chat:
    """Return a store in which m-1 has WhatsApp and SMS, and m-2 has another number."""
    chat = Chat(Bot(payments, services={"till": Till()}), channel=WHATSAPP)
    for document in (member("m-1", WHATSAPP, SMS), member("m-2", OTHER)):
        chat.plant(document)
        for address in document.channels:
            chat.store.perform(Link(Channel(address.type, address.identifier), document.member_id))
    for channel in (WHATSAPP, TELEGRAM, OTHER):
        say(chat, channel, f"hi on {channel.type} {channel.identifier}")  # opens the flow
    return chat


def owner(chat: Chat, channel: Channel) -> str | None:
    """Return the member that the index leads to."""
    return chat.store.perform(FindOwner(channel)).member_id


def say(chat: Chat, channel: Channel, text: str, cache: Cache | None = None) -> str:
    """Send a message, whose id is its text, by a worker without a cache unless one is given; return the reply."""
    _said(chat)[text] = channel
    message = Message(channel, text, text)
    return " ".join(words(chat.finish(chat.begin(message, cache=Cache(0) if cache is None else cache)).replies))


def run(chat: Chat, begin: Any, cache: Cache | None = None) -> Any:
    """Run an operation to its end."""
    return chat.finish(chat._hold(begin, Cache(0) if cache is None else cache))


def paid(chat: Chat) -> Counter[str]:
    """Return how many different payments there were of each number."""
    till: Any = chat.bot.services["till"]
    return Counter(number for number, _ in {(number, key) for number, key, _ in till.paid})


def turns(chat: Chat) -> Counter[str]:
    """Return how many turns were stored of each message, by its id, in the audits of all members and guests."""
    tokens = {token_of(Message(channel, text, text)): text for text, channel in _said(chat).items()}
    names = chat.store.perform(Scan())
    return Counter(tokens[entry.token] for name in names for entry in read(chat, name) if entry.token in tokens)


def _said(chat: Chat) -> dict[str, Channel]:
    """Return the messages that were said, by their ids, each with its channel."""
    said: dict[str, Channel] = chat.__dict__.setdefault("said", {})
    return said


def read(chat: Chat, member_id: str) -> list[AuditEntry]:
    """Return a member's audit entries."""
    return [unseal(entry) for entry in chat.entries(member_id)]


def kinds(chat: Chat, member_id: str) -> list[str]:
    """Return the kinds of a member's audit entries."""
    return [entry.kind for entry in read(chat, member_id)]


# What each operation does ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("engine", ["memory", pytest.param("valkey", marks=pytest.mark.embedded)])
def test_the_managers_do_all_four(kind: Any, engine: str, request: pytest.FixtureRequest):
    """Both managers link, unlink, relink and merge, in memory and on a server, and say what they did."""
    store: Any = MemoryStore(time.time, secret=STORE_SECRET)
    options: dict[str, Any] = {}
    if engine == "valkey":
        kinds: Any = {"sync": AtomicStateManager, "async": AsyncAtomicStateManager}
        store = kinds[kind].from_url(request.getfixturevalue("valkey_url"), secret=STORE_SECRET)
        options["on_close"] = store.close
    with Shell(kind, Bot(payments, services={"till": Till()}), store, **options) as shell:
        for document in (member("m-1", WHATSAPP, SMS), member("m-2", OTHER)):
            shell.do("save", attrs.evolve(document, version=0))
            for address in document.channels:
                shell.do("ask", Link(Channel(address.type, address.identifier), document.member_id))
        shell.handle(Message(TELEGRAM, "1", "hi"))
        linked = shell.do("link", "m-1", TELEGRAM)
        assert (linked.outcome, linked.flow) == ("linked", "payments")
        assert shell.do("link", "m-1", TELEGRAM).outcome == "unchanged"
        assert shell.handle(Message(TELEGRAM, "1", "hi")).status == "duplicate"
        assert shell.do("unlink", "m-1", TELEGRAM).outcome == "unlinked"
        assert shell.do("unlink", "m-1", TELEGRAM).outcome == "unchanged"
        assert shell.do("member_of", TELEGRAM) is None
        taken = shell.do("relink", "m-2", SMS)
        assert (taken.outcome, taken.before) == ("linked", "m-1")
        assert shell.do("relink", "m-2", SMS).outcome == "unchanged"
        merged = shell.do("merge", "m-2", "m-1")
        assert (merged.outcome, merged.channels) == ("merged", 2)
        assert shell.do("merge", "m-2", "m-1").outcome == "unchanged"
        assert {shell.do("member_of", channel) for channel in (WHATSAPP, SMS, OTHER)} == {"m-1"}
        history = shell.do("history", "m-1")
        assert [entry.kind for entry in history].count("move") == 2
        entries = shell.do("ask", ReadAudit("m-1"))
        assert FlowAuditLogger.faults(entries) == ()
        assert shell.do("state", "m-1").version == entries[-1].version


def test_an_unlinked_channel_is_a_strangers():
    """After an unlink the channel is a guest's, the other channels are the member's, and nothing is delivered there."""
    chat = a_chat()
    say(chat, WHATSAPP, "1")
    assert run(chat, partial(unlink, member_id="m-1", channel=WHATSAPP)).outcome == "unlinked"
    assert "<stranger>" in say(chat, WHATSAPP, "hi")
    assert "<m-1>" in say(chat, SMS, "hi")
    document = chat.document("m-1")
    assert document.channels == (SMS.address,)
    assert document.leaving == ()
    assert kinds(chat, "m-1").count("unlink") == 2
    chat.check()


def test_a_member_without_a_channel_gets_no_deliveries():
    """Replies of a member whose last channel was unlinked wait, until a channel is linked."""
    chat = a_chat()
    chat.delivers = True
    held = chat.begin(Message(OTHER, "x", "5"), cache=Cache(0))
    for _ in range(50):  # up to the call
        if isinstance(held.request, RunCall):
            break
        chat.step(held)
    run(chat, partial(unlink, member_id="m-2", channel=OTHER))
    replies = words(chat.finish(held).replies)
    assert all("m-2" not in text and "receipt" not in text for text in replies), "said on a channel that has left"
    assert paid(chat) == {"5": 1}
    chat.wait(60).wake("m-2")
    assert chat.delivered == []
    assert "receipt of 5" in str([waiting.replies for waiting in chat.document("m-2").outbox])
    run(chat, partial(link, member_id="m-2", channel=TELEGRAM))
    chat.wake("m-2")
    assert [delivery.channel.address for delivery in chat.delivered] == [TELEGRAM.address]
    assert "receipt of 5" in " ".join(chat.taken)


@pytest.mark.parametrize("cached", [False, True], ids=["cold", "with an old copy"])
@pytest.mark.parametrize("to", ["guest", "m-2"])
def test_a_message_is_handled_once_wherever_its_channel_leads(cached: bool, to: str):
    """A message that was handled before its channel left is a duplicate at the next owner, who hears nothing of it."""
    chat = a_chat()
    cache = Cache(10 if cached else 0)
    say(chat, WHATSAPP, "7", cache=cache)
    change = partial(unlink, member_id="m-1") if to == "guest" else partial(link, member_id="m-2", takes=True)
    run(chat, partial(change, channel=WHATSAPP))
    again = say(chat, WHATSAPP, "7", cache=cache)
    assert "receipt" not in again
    assert "m-1" not in again
    assert paid(chat) == {"7": 1}
    chat.check()


@pytest.mark.parametrize("to", ["guest", "m-2"])
def test_a_worker_with_the_latest_copy_of_the_former_owner_asks_the_index(to: str):
    """A worker remembers the owner of a channel only as long as the owner's document has the channel."""
    chat, cache = a_chat(), Cache(10)
    say(chat, WHATSAPP, "7", cache=cache)
    change = partial(unlink, member_id="m-1") if to == "guest" else partial(link, member_id="m-2", takes=True)
    run(chat, partial(change, channel=WHATSAPP))
    assert "<m-1>" in say(chat, SMS, "8", cache=cache), "the worker has the document from after the change"
    assert "m-1" not in say(chat, WHATSAPP, "9", cache=cache)
    assert "m-1" not in say(chat, WHATSAPP, "7", cache=cache)
    assert "<m-1>" in say(chat, SMS, "10", cache=cache)
    till: Any = chat.bot.services["till"]
    assert ("9", "m-1") not in {(number, member_id) for number, _, member_id in till.paid}
    chat.check()


def test_a_guest_is_joined_to_a_member():
    """A link ends the guest's conversation: the member's flow stays, and what the guest said stays handled."""
    chat = a_chat()
    say(chat, TELEGRAM, "1")
    say(chat, WHATSAPP, "2")
    linked = run(chat, partial(link, member_id="m-1", channel=TELEGRAM))
    assert (linked.outcome, linked.flow) == ("linked", "payments")
    assert "receipt of 1" in say(chat, TELEGRAM, "1"), "the first reply to this message"
    assert "<m-1> receipt of 3" in say(chat, TELEGRAM, "3")
    assert paid(chat) == {"1": 1, "2": 1, "3": 1}
    assert chat.stored(guest_id(TELEGRAM)).document is None
    history = run(chat, lambda context: read_history(context, "m-1", {}))
    assert {entry.member_id for entry in history} == {"m-1", guest_id(TELEGRAM)}
    chat.check()


def test_a_merged_member_goes_on_as_the_other():
    """After a merge each channel leads to the one member, and messages of both stay handled."""
    chat = a_chat()
    say(chat, WHATSAPP, "1")
    say(chat, OTHER, "2")
    merged = run(chat, partial(merge, member_id="m-1", into="m-2"))
    assert (merged.outcome, merged.channels, merged.flow) == ("merged", 2, "payments")
    assert {owner(chat, channel) for channel in (WHATSAPP, SMS, OTHER)} == {"m-2"}
    for text, channel in (("1", WHATSAPP), ("2", OTHER), ("3", SMS)):
        assert "<m-2>" in say(chat, channel, text) or text == "1"
    assert paid(chat) == {"1": 1, "2": 1, "3": 1}
    assert chat.stored("m-1").document is None
    chat.check()


def test_a_guest_may_be_merged_by_its_id():
    """A merge of a guest links the guest's channel."""
    chat = a_chat()
    say(chat, TELEGRAM, "1")
    assert run(chat, partial(merge, member_id=guest_id(TELEGRAM), into="m-2")).channels == 1
    assert owner(chat, TELEGRAM) == "m-2"


@pytest.mark.parametrize("name", ["unlink", "relink"])
def test_a_worker_finds_a_channel_that_is_on_its_way(name: str):
    """From the commit that lets a channel go, a wake-up of the member is due, until the channel has arrived."""
    chat = a_chat()
    held = chat._hold(OPERATIONS[name], Cache(0))
    while not chat.document("m-1").leaving:
        chat.step(held)
    assert (wakes_at := chat.wakes_at("m-1")) is not None
    assert wakes_at.timestamp() <= chat.clock.at
    chat.wake("m-1")
    assert chat.document("m-1").leaving == ()
    assert owner(chat, WHATSAPP) == ("m-2" if name == "relink" else None)


# What is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("begin", "error", "said"),
    [
        (partial(link, member_id="m-2", channel=SMS), ChannelTaken, "linked to member 'm-1'"),
        (partial(link, member_id="m-9", channel=TELEGRAM), MemberNotFound, "'m-9'"),
        (partial(link, member_id=guest_id(SMS), channel=TELEGRAM), NotAMember, "the id of a guest"),
        (partial(unlink, member_id="m-9", channel=TELEGRAM), MemberNotFound, "'m-9'"),
        (partial(unlink, member_id=guest_id(SMS), channel=SMS), NotAMember, "the id of a guest"),
        (partial(merge, member_id="m-1", into="m-1"), NotAMember, "into itself"),
        (partial(merge, member_id="m-9", into="m-1"), MemberNotFound, "'m-9'"),
        (partial(merge, member_id="m-1", into="m-9"), MemberNotFound, "'m-9'"),
        (partial(merge, member_id="m-1", into=guest_id(SMS)), NotAMember, "the id of a guest"),
    ],
)
def test_a_wrong_member_a_taken_channel_and_a_guest_are_refused(begin: Any, error: type[VimbisoError], said: str):
    """A wrong member, a taken channel and a guest are refused with the facts, and nothing is changed."""
    chat = a_chat()
    before = [chat.stored(name) for name in chat.store.perform(Scan())]
    with pytest.raises(error, match=said) as caught:
        run(chat, begin)
    assert "263771" not in str(caught.value)
    assert [attrs.evolve(chat.stored(name), at=0.0) for name in chat.store.perform(Scan())] == [
        attrs.evolve(stored, at=0.0) for stored in before
    ]


def test_a_call_in_doubt_is_waited_for():
    """Neither a merge nor a link ends a document whose call may have been made; both work when it is answered."""
    chat = a_chat()
    for channel, begin in (
        (WHATSAPP, partial(merge, member_id="m-1", into="m-2")),
        (TELEGRAM, partial(link, member_id="m-2", channel=TELEGRAM)),
    ):
        held = chat.begin(Message(channel, f"x {channel.type}", channel.type), cache=Cache(0))
        while not isinstance(held.request, RunCall):
            chat.step(held)
        with pytest.raises(CallPending, match=r"till\.pay") as error:
            run(chat, begin)
        assert error.value.call == "till.pay"
        chat.finish(held)
        run(chat, begin)
    assert paid(chat) == {"whatsapp": 1, "telegram": 1}
    assert {owner(chat, channel) for channel in CHANNELS} == {"m-2"}


def test_a_merged_member_is_named_when_it_is_meant_again():
    """An operation on a member that was merged names the member to take instead."""
    chat = a_chat()
    run(chat, partial(merge, member_id="m-1", into="m-2"))
    for begin in (partial(link, member_id="m-1", channel=TELEGRAM), partial(unlink, member_id="m-1", channel=SMS)):
        with pytest.raises(NotAMember, match="merged into member 'm-2'"):
            run(chat, begin)


def test_two_members_that_are_merged_into_each_other_end_as_one():
    """Two merges in opposite directions at once leave one member with all channels."""
    for order in itertools.product((0, 1), repeat=8):
        chat = a_chat()
        works = [
            chat._hold(partial(merge, member_id=one, into=other), Cache(0))
            for one, other in (("m-1", "m-2"), ("m-2", "m-1"))
        ]
        for which in order:
            if works[which].request is not None:
                _step(chat, works[which])
        for work in works:
            _end(chat, work)
        for name in ("m-1", "m-2"):
            chat.wake(name)
        assert len({owner(chat, channel) for channel in (WHATSAPP, SMS, OTHER)}) == 1, order
        assert len([name for name in ("m-1", "m-2") if chat.stored(name).document is not None]) == 1, order


# At any point, in any order -------------------------------------------------------------------------------------------


def _step(chat: Chat, held: Held[Any]) -> None:
    """Perform one effect of an operation. An error ends it."""
    try:
        chat.step(held)
    except VimbisoError:
        held.request = None


def _end(chat: Chat, held: Held[Any]) -> None:
    for _ in range(600):
        if held.request is None:
            return
        _step(chat, held)
    raise AssertionError("the operation did not end")


BUSY = "We are still working on your last answer; you will hear from us."
"""The answer to a message while a call is pending."""
OPERATIONS: dict[str, Any] = {
    "unlink": partial(unlink, member_id="m-1", channel=WHATSAPP),
    "link": partial(link, member_id="m-2", channel=TELEGRAM),
    "relink": partial(link, member_id="m-2", channel=WHATSAPP, takes=True),
    "merge": partial(merge, member_id="m-1", into="m-2"),
}


def settled(chat: Chat) -> dict[str, Any]:
    """Wake everybody and return where each channel leads, after checks that hold of every store at rest."""
    chat.wait(31)
    for _ in range(2):
        for name in chat.store.perform(Scan()):
            chat.wake(name)
    chat.check()
    found = {}
    documents = {name: chat.document(name) for name in chat.store.perform(Scan()) if chat.stored(name).document}
    for channel in CHANNELS:
        owned = [name for name, document in documents.items() if channel.address in document.channels]
        assert owned == [own for own in [owner(chat, channel)] if own], f"{channel.type} is listed at {owned}"
        found[channel.type + channel.identifier[-1]] = owner(chat, channel)
    assert not any(document.leaving or document.moved for document in documents.values())
    return found


@pytest.mark.parametrize("how", ["again", "by a worker", "by a message"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_may_end_at_any_effect(name: str, how: str):
    """After a crash at any effect, a repeat, a worker or the next message completes what was begun; nothing is lost."""
    whole = a_chat()
    held = whole._hold(OPERATIONS[name], Cache(0))
    count = 0
    while held.request is not None:
        whole.step(held)
        count += 1
    done = settled(whole)
    for crash in range(count):
        chat = a_chat()
        say(chat, WHATSAPP, "1")
        say(chat, TELEGRAM, "2")
        held = chat._hold(OPERATIONS[name], Cache(0))
        for _ in range(crash):
            chat.step(held)
        if how == "again":
            run(chat, OPERATIONS[name])
        elif how == "by a worker":
            chat.wait(1)
            for member_id in chat.store.perform(Scan()):
                chat.wake(member_id)
        begun = settled(chat) if how != "by a message" else None
        assert how != "again" or begun == done
        texts = [say(chat, WHATSAPP, "1"), say(chat, TELEGRAM, "2"), say(chat, WHATSAPP, "3"), say(chat, TELEGRAM, "4")]
        assert settled(chat) == (begun or settled(chat))
        assert turns(chat) == dict.fromkeys(_said(chat), 1), (crash, texts)
        assert paid(chat) | {"3": 1, "4": 1} == {"1": 1, "2": 1, "3": 1, "4": 1}, (crash, texts)
        for channel, text in ((WHATSAPP, texts[2]), (TELEGRAM, texts[3])):
            assert name_of(owner(chat, channel) or "", owner(chat, channel) is None) in text, (crash, text)


# A way whose process stops, while others complete it and the channel comes back --------------------------------------


def _stop_and_go_on(name: str, by: str, effects: int, then: Sequence[str]) -> bool:
    """Stop a process on a way some effects after its note, let others act, and go on; return whether it had ended.

    The process is that of the operator, or of a worker who has read the note. The index leads where the documents say
    at the end.
    """
    chat = a_chat()
    channel, source = (TELEGRAM, guest_id(TELEGRAM)) if name == "link" else (WHATSAPP, "m-1")
    held = chat._hold(OPERATIONS[name], Cache(0))
    while not (chat.document(source).leaving or chat.document(source).moved):
        chat.step(held)
    if by == "a worker":
        held = chat.waking(source)
    for _ in range(effects):
        if held.request is not None:
            chat.step(held)
    had_ended = held.request is None
    for what in then:
        verb, member_id = what.split()
        if verb == "wake":
            chat.wake(member_id)
        elif verb == "to":
            _end(chat, chat._hold(partial(link, member_id=member_id, channel=channel, takes=True), Cache(0)))
        else:
            _end(chat, chat._hold(partial(unlink, member_id=member_id, channel=channel), Cache(0)))
    _end(chat, held)
    settled(chat)
    for each in CHANNELS:
        listed = [member_id for member_id in ("m-1", "m-2") if chat.document(member_id).has(each.address)]
        assert listed == [*filter(None, [owner(chat, each)])], (effects, each)
    return had_ended


@pytest.mark.parametrize("by", ["the operator", "a worker"])
@pytest.mark.parametrize(
    ("name", "then"),
    [
        ("unlink", ["wake m-1", "to m-1"]),
        ("relink", ["wake m-1", "to m-1"]),
        ("relink", ["wake m-1", "to m-1", "unlink m-1"]),
        ("link", ["to m-2", "unlink m-2"]),
        ("relink", ["unlink m-2"]),  # it leaves before the index leads there
        ("link", ["unlink m-2"]),
    ],
)
def test_a_change_of_the_index_is_made_once_however_late_it_comes(name: str, then: list[str], by: str):
    """A process stops at any effect of a way, others complete it, and the channel comes back or leaves; it goes on.

    The index leads where the documents say, also if the process had looked at the note and was about to change it.
    """
    assert next(effects for effects in itertools.count() if _stop_and_go_on(name, by, effects, then)) > 5


def _linked_while_another_was_linked(effects: int, first: str) -> bool:
    """Stop a link of a channel without an owner some effects after its begin, link it to another member, and go on.

    Return whether the first link had ended.
    """
    chat = a_chat()
    held = chat._hold(partial(link, member_id="m-1", channel=TELEGRAM), Cache(0))
    for _ in range(effects):
        if held.request is not None:
            chat.step(held)
    had_ended = held.request is None
    if first == "at once":
        _end(chat, chat._hold(partial(link, member_id="m-2", channel=TELEGRAM, takes=True), Cache(0)))
    else:
        for name in chat.store.perform(Scan()):
            chat.wake(name)
        _end(chat, chat._hold(partial(link, member_id="m-2", channel=TELEGRAM, takes=True), Cache(0)))
        say(chat, TELEGRAM, "7")
    _end(chat, held)
    settled(chat)
    return had_ended


@pytest.mark.parametrize("first", ["at once", "after a wake"])
def test_a_channel_that_two_operators_link_is_listed_where_it_leads(first: str):
    """A link that was decided while the channel had no owner, and is refused, leaves the channel in no second list."""
    assert next(n for n in itertools.count() if _linked_while_another_was_linked(n, first)) > 5


def _stopped_twice(begin: Any, first: int, after: Any, second: int, then: Any, *, lost: Channel | None = None) -> bool:
    """Stop an operation twice, let another one be done each time, and go on; return whether it had ended before."""
    chat = a_chat()
    if lost is not None:
        chat.store.perform(Unlink(lost, "m-1"))
    held = chat._hold(begin, Cache(0))
    had_ended = False
    for effects, other in ((first, after), (second, then)):
        for _ in range(effects):
            if held.request is not None:
                chat.step(held)
        had_ended = held.request is None
        _end(chat, chat._hold(other, Cache(0)))
    _end(chat, held)
    settled(chat)
    return had_ended


def test_a_channel_that_comes_back_meanwhile_stays_in_the_list():
    """A list is not corrected, if the channel has come to its member by another way since the `Link` was refused."""
    to_one, to_other = (partial(link, member_id=name, channel=TELEGRAM, takes=True) for name in ("m-1", "m-2"))
    effects = 0
    for effects in itertools.count():
        chat = a_chat()
        held = chat._hold(to_one, Cache(0))
        while not isinstance(held.request, FindOwner):
            chat.step(held)
        chat.step(held)  # the channel has no owner yet
        _end(chat, chat._hold(to_other, Cache(0)))
        while not isinstance(held.request, Commit):
            chat.step(held)
        chat.step(held)  # it ends the guest, whose document says so
        worker = chat.waking(guest_id(TELEGRAM))  # the operator's process has ended
        for _ in range(effects):
            if worker.request is not None:
                chat.step(worker)
        if worker.request is None:
            break
        _end(chat, chat._hold(to_one, Cache(0)))
        _end(chat, worker)
        settled(chat)
        assert chat.document("m-1").has(TELEGRAM.address), effects
    assert effects > 5


def test_an_entry_that_is_taken_back_is_written_again_if_the_channel_comes_back():
    """A channel may leave its member while its entry is restored, and come back while the entry is taken back."""
    begin, back = partial(rename, restore=True), partial(link, member_id="m-1", channel=WHATSAPP, takes=True)
    away = partial(unlink, member_id="m-1", channel=WHATSAPP)
    whole = a_chat()
    whole.store.perform(Unlink(WHATSAPP, "m-1"))
    held, links = whole._hold(begin, Cache(0)), 0
    while not isinstance(held.request, Link):
        whole.step(held)
        links += 1
    ends = (_stopped_twice(begin, links, away, effects, back, lost=WHATSAPP) for effects in itertools.count())
    assert next(place for place, had_ended in enumerate(ends) if had_ended) > 3


def _restored_while(effects: int, then: Sequence[str]) -> bool:
    """Stop the restoring of a lost entry some effects after its begin, let others act, and go on.

    Return whether it had ended.
    """
    chat = a_chat()
    chat.store.perform(Unlink(WHATSAPP, "m-1"))
    held = chat._hold(partial(rename, restore=True), Cache(0))
    for _ in range(effects):
        if held.request is not None:
            chat.step(held)
    had_ended = held.request is None
    for what in then:
        verb, member_id = what.split()
        begin = partial(unlink, member_id=member_id, channel=WHATSAPP)
        if verb == "to":
            begin = partial(link, member_id=member_id, channel=WHATSAPP, takes=True)
        _end(chat, chat._hold(begin, Cache(0)))
    _end(chat, held)
    _end(chat, chat._hold(partial(rename, restore=True), Cache(0)))  # an entry that was lost again
    settled(chat)
    return had_ended


@pytest.mark.parametrize("then", [["unlink m-1"], ["unlink m-1", "to m-1"], ["unlink m-1", "to m-2"], ["to m-1"], []])
def test_a_restored_entry_leads_to_no_member_who_has_the_channel_no_more(then: list[str]):
    """An entry that is written anew is taken back, if the channel has left its member since the document was read."""
    assert next(effects for effects in itertools.count() if _restored_while(effects, then)) > 5


@settings(deadline=None)
@given(
    st.sampled_from(["unlink", "relink", "link"]),
    st.sampled_from(["the operator", "a worker"]),
    st.integers(0, 14),
    st.lists(st.sampled_from(["unlink m-1", "unlink m-2", "to m-1", "to m-2", "wake m-1", "wake m-2"]), max_size=6),
)
def test_a_process_that_stopped_leads_no_channel_astray(name: str, by: str, effects: int, then: list[str]):
    """A process on a way may stop at any effect and go on after any others: the index leads where the documents say."""
    _stop_and_go_on(name, by, effects, then)


@st.composite
def programs(draw: st.DrawFn) -> list[tuple[str, int, int]]:
    """Draw a program of works that are begun, advanced and dropped."""
    whats = st.sampled_from(
        ["say", "say", "again", "operate", "step", "step", "step", "step", "drop", "wake", "finish"]
    )
    return draw(st.lists(st.tuples(whats, st.integers(0, 7), st.integers(0, 2)), max_size=60))


@settings(deadline=None)
@given(programs(), st.booleans())
@example([("operate", 5, 0), ("operate", 1, 0), ("step", 1, 0), ("step", 1, 1)], False)  # taken, and taken back
def test_any_order_of_turns_and_changes_keeps_each_member_apart(program: list[tuple[str, int, int]], merges: bool):
    """Changes, messages and workers with old copies may meet in any order, and end at any effect.

    Each message takes effect once, each channel leads to one member, and a reply names no member but the one that the
    channel led to while the message was handled. (Members that are merged are one person.)
    """
    chat = a_chat()
    caches = [Cache(0), Cache(10), Cache(10)]
    works: list[Held[Any]] = []
    said = _said(chat)
    owners: dict[str, set[str]] = {}
    replies: list[tuple[str, str]] = []
    begun: dict[Held[Any], str] = {}
    joining = [partial(merge, member_id="m-1", into="m-2"), partial(merge, member_id="m-2", into="m-1")]
    changes: list[Any] = [
        *(joining if merges else [partial(unlink, member_id="m-1", channel=SMS), OPERATIONS["relink"]]),
        OPERATIONS["unlink"],
        OPERATIONS["link"],
        OPERATIONS["relink"],
        partial(link, member_id="m-1", channel=WHATSAPP, takes=True),
        partial(unlink, member_id="m-2", channel=WHATSAPP),
        partial(link, member_id="m-1", channel=TELEGRAM, takes=True),
    ]

    def note() -> None:
        for held, text in begun.items():
            if held.request is not None:
                owners[text].add(owner(chat, said[text]) or "stranger")

    def begin(text: str, which: int) -> None:
        held = chat.begin(Message(said[text], text, text), cache=caches[which])
        owners.setdefault(text, set()).add(owner(chat, said[text]) or "stranger")
        begun[held] = text
        works.append(held)

    def advance(held: Held[Any], effects: int) -> None:
        for _ in range(effects):
            if held.request is None:
                return
            note()
            _step(chat, held)
            note()
            if held.request is None and held in begun and held.outcome is not None:
                replies.append((begun[held], " ".join(words(held.outcome.replies))))

    for what, number, which in program:
        match what:
            case "say":
                text = str(len(said))
                said[text] = CHANNELS[number % 4]
                begin(text, which)
            case "again" if said:
                begin([*said][number % len(said)], which)
            case "operate":
                works.append(chat._hold(changes[number], caches[which]))
            case "step" if works:
                advance(works[number % len(works)], 1 + 3 * which)
            case "drop" if works:
                works.pop(number % len(works))
            case "finish" if works:
                advance(works[number % len(works)], 400)
            case "wake":
                names = chat.store.perform(Scan())
                works.append(chat.waking(names[number % len(names)], cache=caches[which]))
            case _:
                pass
    for held in works:
        advance(held, 600)
    settled(chat)
    for text in [*said]:  # the channel delivers what was not acknowledged once more
        begin(text, 0)
        advance(works[-1], 600)
    settled(chat)
    made = turns(chat)
    for text in said.keys() - made.keys():  # a call was pending; the message was answered so, and is never taken
        assert {reply for of, reply in replies if of == text} == {BUSY}
    assert set(made.values()) <= {1}
    assert set(paid(chat).values()) <= {1}
    for text, reply in () if merges else replies:
        for name in ("m-1", "m-2"):
            assert f"<{name}>" not in reply or name in owners[text], (text, reply, owners[text])
    for channel in CHANNELS:
        now = owner(chat, channel)
        assert name_of(now or "", now is None) in say(chat, channel, f"last on {channel.type} {channel.identifier}")
