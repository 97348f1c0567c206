"""A channel that has got a new owner: a login unlinks it, and the two people hear nothing of each other."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.digests import guest_id
from vimbiso_fsm import (
    READ_ONLY,
    Bot,
    Call,
    Caller,
    Channel,
    Flow,
    FlowStateManager,
    Message,
    Outcome,
    Refused,
    State,
    Text,
    Transition,
    Turn,
    authenticated,
    call,
)
from vimbiso_fsm.audit.entries import unseal
from vimbiso_fsm.document.document import Undelivered
from vimbiso_fsm.document.replies_codec import replies_to_keep
from vimbiso_fsm.errors import VimbisoError
from vimbiso_fsm.operations.cache import Cache
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.operations.effects import STILL_RUNNING, RunCall, answered, run
from vimbiso_fsm.operations.link import unlink
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.store.requests import FindOwner
from vimbiso_fsm.testing.chat import Chat, Held, words

ANYBODY = Caller()
PHONE, CHAT = Channel("whatsapp", "263771000001"), Channel("telegram", "77")


class Door(Protocol):
    """The port of a service that knows who has a number."""

    def who(self, *, caller: Caller = ANYBODY) -> str | Refused | None: ...

    def register(self, name: str, *, caller: Caller = ANYBODY) -> str | Refused: ...

    def pay(self, amount: int, *, caller: Caller = ANYBODY) -> str | Refused: ...


class Registry:
    """A service that knows who has a number. A repeated key acts once."""

    def __init__(self) -> None:
        self.owners: dict[str, str] = {PHONE.identifier: "m-old", CHAT.identifier: "m-old"}
        self.keys: dict[str, str] = {}
        self.paid: dict[str, tuple[str, int]] = {}
        self.lock = threading.Lock()

    def who(self, *, caller: Caller = ANYBODY) -> str | Refused | None:
        """Return the member who has the number of the caller."""
        assert caller.channel is not None
        return self.owners.get(caller.channel.identifier)

    def register(self, name: str, *, caller: Caller = ANYBODY) -> str | Refused:
        """Give the number to a new member."""
        assert caller.channel is not None
        with self.lock:
            self.keys.setdefault(caller.key, f"m-{name}")
            self.owners[caller.channel.identifier] = self.keys[caller.key]
        return self.keys[caller.key]

    def pay(self, amount: int, *, caller: Caller = ANYBODY) -> str | Refused:
        """Pay on behalf of the member."""
        self.paid.setdefault(caller.key, (caller.member_id, amount))
        return "paid"


@attrs.frozen
class Name:
    """The data of a registration."""

    name: str = ""


@attrs.frozen
class Payment:
    """The data of a payment."""

    amount: int = 0


def amount(text: str) -> int | Refused:
    """Read an amount."""
    return int(text) if text.isdecimal() else Refused("number.format")


def who(turn: Turn[Any]) -> Call[Any]:
    """Ask who has the number."""
    return call(Door.who)


def register(turn: Turn[Name]) -> Call[Any]:
    """Register the speaker."""
    return call(Door.register, name=turn.data.name)


def pay(turn: Turn[Payment]) -> Call[Any]:
    """Pay."""
    return call(Door.pay, amount=turn.data.amount)


def known(turn: Turn[Any]) -> bool:
    """Guard: the number has a member."""
    return turn.answer is not None


def logged_in(turn: Turn[Any]) -> Any:
    """Prepare: the member of the answer is logged in."""
    member = attrs.evolve(
        turn.member,
        id=turn.answer,
        guest=False,
        authenticated=True,
        jwt_token=f"token of {turn.answer}",
        profile={"name": f"the name of {turn.answer}"},
    )
    return turn.changes(member=member)


def of_nobody(turn: Turn[Any]) -> Any:
    """Prepare: the number has no member."""
    return turn.unlink()


def greeting(turn: Turn[Any]) -> Text:
    """Greet the member by name."""
    return Text(f"hello, {turn.member.profile['name']}")


def a_bot(registry: Registry) -> Bot:
    """Return a bot with a login, a registration and a payment."""
    registering = Flow(
        "registering",
        data=Name,
        initial="name",
        states=[
            State("name", ask=Text("your name?"), reads=str, into="name"),
            State("making", call=register),
            State("made", final=True),
        ],
        transitions=[
            Transition("answer", "name", "making"),
            Transition("done", "making", "made", prepare=logged_in),
            Transition("failed", "making", "name"),
        ],
    )
    login = Flow(
        "login",
        initial="asking",
        states=[
            State("asking", call=who, policy=READ_ONLY),
            State("new", flow=registering),
            State("down", ask=Text("not now"), reads=str),
            State("in", final=True),
        ],
        transitions=[
            Transition("done", "asking", "in", conditions=known, prepare=logged_in),
            Transition("done", "asking", "new", prepare=of_nobody),
            Transition("failed", "asking", "down"),
            Transition("answer", "down", "asking"),
            Transition(["done", "cancelled"], "new", "in"),
        ],
    )
    paying = Flow(
        "paying",
        data=Payment,
        initial="amount",
        requires=authenticated,
        states=[
            State("amount", ask=Text("how much?"), reads=amount, into="amount"),
            State("confirm", ask=lambda turn: Text(f"pay {turn.data.amount} of the secret purse?")),
            State("making", call=pay),
            State("made", say=Text("paid"), final=True),
        ],
        transitions=[
            Transition("answer", "amount", "confirm"),
            Transition("yes", "confirm", "making"),
            Transition("done", "making", "made"),
            Transition("failed", "making", "confirm"),
        ],
    )
    home = Flow(
        "home",
        initial="hall",
        requires=authenticated,
        states=[State("hall", ask=greeting), State("paying", flow=paying)],
        transitions=[Transition("pay", "hall", "paying"), Transition(["done", "cancelled"], "paying", "hall")],
    )
    return Bot([home, login], entry=login, services={"door": registry}, session=300)


def recycled(newer: str | None) -> tuple[Chat, Registry]:
    """Return a chat in which `PHONE` had a member, with a payment that was begun, and belongs to `newer` now."""
    registry = Registry()
    chat = Chat(a_bot(registry), channel=PHONE)
    chat.say("hi", "pay", "5")
    assert chat.words == ["pay 5 of the secret purse?"]
    chat.wait(301).wake()
    if newer is None:
        del registry.owners[PHONE.identifier]
    else:
        registry.owners[PHONE.identifier] = newer
    return chat, registry


def check_apart(chat: Chat, heard: Iterable[str], newer: str) -> None:
    """Check that the former member is out, and that the new holder heard nothing of them."""
    chat.wait(31).wake("m-old")  # what a worker has left over
    told = " ".join(heard)
    for secret in ("m-old", "secret purse", "session", "pay"):
        assert secret not in told.replace("Pay", ""), told
    assert chat.store.perform(FindOwner(PHONE)).member_id == newer
    former = chat.document("m-old")
    assert (former.authenticated, former.channels, former.leaving, former.session_since) == (False, (), (), None)
    changes = [unseal(entry) for entry in chat.entries("m-old") if unseal(entry).kind == "unlink"]
    assert {entry.detail["by"] for entry in changes} == {"login"}
    assert newer not in str(changes)
    chat.check()


@pytest.mark.parametrize("newer", ["m-new", None])
def test_the_new_owner_of_a_number_begins_as_a_stranger(newer: str | None):
    """A login that answers another member, or none, unlinks the number, and the same message is a guest's."""
    chat, registry = recycled(newer)
    heard = list(chat.say("hi").replies)
    if newer is None:
        assert words(heard) == ["your name?"]
        heard += chat.say("ada").replies
    assert words(heard)[-1] == f"hello, the name of {newer or 'm-ada'}"
    check_apart(chat, words(heard), newer or "m-ada")
    assert registry.paid == {}
    chat.channel = CHAT  # the former member goes on by another channel, and finds the payment again
    assert chat.say("hi").state.member_id == "m-old"
    assert [run.flow for run in chat.document("m-old").suspended] == ["home", "paying"]


@pytest.mark.parametrize("newer", ["m-new", None])
def test_a_login_is_finished_after_a_crash_at_any_effect(newer: str | None):
    """Whatever a worker that dies at any effect has begun, the same message finishes when it is delivered again."""
    for effects in itertools.count():
        chat, _ = recycled(newer)
        message = chat.message("hi")
        held = chat.begin(message, cache=Cache(0))
        for _ in range(effects):
            if held.request is not None:
                chat.step(held)
        is_whole = held.request is None
        chat.wait(60)
        outcome = chat.handle(message)
        if newer is None:
            assert outcome.status in ("advanced", "duplicate"), effects
            assert chat.say("ada").replies[-1].text == "hello, the name of m-ada", effects
        elif chat.words != ["hello, the name of m-new"]:  # the answer of the call came to another worker
            assert chat.say("hi").replies[-1].text == "hello, the name of m-new", effects
        check_apart(chat, chat.words, newer or "m-ada")
        if is_whole:
            assert effects > 15
            return


def test_the_message_of_the_login_is_the_guests_though_its_record_is_lost():
    """The message whose login unlinks the number is the guest's after a crash, also without the record of its turn."""
    for effects in itertools.count():
        chat, _ = recycled(None)
        message = chat.message("hi")
        held = chat.begin(message, cache=Cache(0))
        for _ in range(effects):
            if held.request is not None:
                chat.step(held)
        is_whole = held.request is None
        if chat.store.perform(FindOwner(PHONE)).member_id == "m-old":
            chat.store._members["m-old"].turns = ()
            chat.wait(60)
            heard = chat.handle(message)
            assert (heard.status, heard.state.member_id, bool(heard.replies)) == ("advanced", guest_id(PHONE), True), (
                effects
            )
        if is_whole:
            assert effects > 15
            return


@pytest.mark.parametrize("newer", ["m-new", None])
def test_a_late_answer_of_the_login_unlinks_too(newer: str | None):
    """An answer that comes to a worker ends the session and unlinks the number, and the next message is a guest's."""
    chat, _ = recycled(newer)
    held = chat.begin(chat.message("hi"), cache=Cache(0))
    while not isinstance(held.request, RunCall):
        chat.step(held)
    chat.wait(60).wake("m-old")
    chat.wait(60).wake("m-old")
    assert chat.store.perform(FindOwner(PHONE)).member_id is None
    assert chat.document("m-old").leaving == ()
    heard = list(chat.say("hi").replies)
    heard += chat.say("ada").replies if newer is None else ()
    check_apart(chat, words(heard), newer or "m-ada")


def test_another_channel_of_the_member_keeps_its_conversation():
    """Only the channel whose login answers another member is taken; replies go to the ones that are left."""
    chat, _ = recycled("m-new")
    chat.channel = CHAT
    chat.say("hi")
    assert chat.document("m-old").channels == (PHONE.address, CHAT.address)
    chat.wait(301).wake("m-old")
    chat.channel = PHONE
    chat.say("hi")
    assert (chat.document("m-old").channels, chat.document("m-old").channel.type) == ((CHAT.address,), "telegram")
    assert chat.document("m-new").channels == (PHONE.address,)


def test_a_guest_who_is_not_known_stays_the_guest():
    """For a guest, the answer that no member has the number changes nothing."""
    registry = Registry()
    registry.owners.clear()
    chat = Chat(a_bot(registry), channel=PHONE)
    assert chat.say("hi").state.member_id == guest_id(PHONE)
    assert [unseal(entry).kind for entry in chat.entries()] == ["command", "transition"]


# Notices of the former member ---------------------------------------------------------------------------------------


NOTICE = "the secret purse was emptied"


def noticed() -> tuple[Chat, Registry]:
    """Return a chat whose member has a notice waiting, and has been silent for longer than a session."""
    registry = Registry()
    chat = Chat(a_bot(registry), channel=PHONE)
    chat.say("hi", "pay", "5")
    notice = Undelivered("notice", replies_to_keep(chat.bot.say([Text(NOTICE)], {}, PHONE)))
    document = chat.document("m-old")
    chat.plant(attrs.evolve(document, version=document.version + 1, outbox=(notice,)))
    chat.wait(301)
    return chat, registry


def in_flight(chat: Chat) -> tuple[RunCall, list[str]]:
    """Begin a login whose call takes longer than the message waits; return it with what was said to the speaker."""
    held = chat.begin(chat.message("hi"), cache=Cache(0))
    while not isinstance(held.request, RunCall):
        chat.step(held)
    step = held.request
    held.take(STILL_RUNNING, chat.clock.at)
    outcome = chat.finish(held)
    assert chat.document("m-old").call is not None
    return step, words(outcome.replies)


@pytest.mark.parametrize("delivers", [False, True])
@pytest.mark.parametrize("newer", ["m-new", None])
def test_a_login_in_flight_tells_no_notice_of_the_former_member(newer: str | None, delivers: bool):
    """While the service is asked who has the number, neither a reply nor a delivery tells what happened before."""
    chat, registry = noticed()
    registry.owners = {CHAT.identifier: "m-old"} | ({PHONE.identifier: newer} if newer else {})
    chat.delivers = delivers
    step, heard = in_flight(chat)
    for _ in range(3):  # a worker at any moment, also after the rest of a delivery
        chat.wait(1).wake("m-old")
    heard += words(chat.say("hello?").replies)
    chat.wake("m-old", answer=answered(step, newer))
    heard += words(chat.say("hi").replies) + chat.taken
    check_apart(chat, heard, newer or guest_owner(chat))
    chat.channel = CHAT
    said = words(chat.say("hi").replies) + words(chat.say("menu").replies)
    assert said.count(NOTICE) == 1  # the former member hears it where the login proves them


def guest_owner(chat: Chat) -> str:
    """Register the guest on the number, who has no member; return the new member."""
    chat.say("ada")
    return "m-ada"


@pytest.mark.parametrize("late", [False, True])
def test_the_member_hears_the_notices_once_the_login_is_made(late: bool):
    """A login that answers the same member releases what waited, before what is said after it, and once."""
    chat, _ = noticed()
    heard: list[str] = []
    if late:
        step, heard = in_flight(chat)
        chat.wake("m-old", answer=answered(step, "m-old"))
    heard += words(chat.say("hi").replies)
    assert heard.count(NOTICE) == 1
    assert heard[-1] != NOTICE
    assert chat.document("m-old").outbox == ()


def test_a_login_that_fails_tells_no_notice():
    """While nothing proves the speaker, notices wait, also when the login is asked for again and given up."""
    chat, registry = noticed()
    registry.who = lambda **_: Refused("call.unavailable")  # type: ignore[method-assign]  # a service that is down
    chat.delivers = True
    heard = words(chat.say("hi").replies)
    for text in ("again", "cancel", "hi", "menu"):
        heard += words(chat.say(text).replies)
        chat.wait(5).wake("m-old")
    assert NOTICE not in heard + chat.taken
    assert not [word for word in heard + chat.taken if "purse" in word or "paying" in word]


@pytest.mark.parametrize("kind", ["timer", "call"])
def test_what_comes_after_the_unlinking_is_not_delivered(kind: str):
    """A timer or the answer of a call that comes after the channel was unlinked is not delivered to its next owner."""
    registry = Registry()
    bot = a_bot(registry)
    chat = Chat(bot, channel=PHONE)
    chat.delivers = True
    chat.say("hi", "pay", "5")
    held = chat.begin(chat.message("yes"), cache=Cache(0))
    while not isinstance(held.request, RunCall):
        chat.step(held)
    step = held.request
    if kind == "call":
        unlink_channel(chat)
        chat.wake("m-old", answer=answered(step, "paid"))
    else:
        chat.end(held)
        unlink_channel(chat)
        chat.wait(301).wake("m-old")
    assert chat.document("m-old").channels == ()
    assert chat.delivered == []
    assert chat.document("m-old").outbox != ()


def unlink_channel(chat: Chat) -> None:
    """Unlink the number, as an operator does."""
    context = Context(chat.bot, Cache(0), chat.clock.at)
    run(unlink(context, "m-old", PHONE), chat.store.perform)


# With other messages at the same moment -----------------------------------------------------------------------------


class Turmoil:
    """Messages of the holders of two numbers that change hands, in any order of effects, and what must hold at rest."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.registry.owners = {PHONE.identifier: "m-0", "263771000002": "m-1"}
        self.chat = Chat(a_bot(self.registry))
        self.held: list[Held[Outcome]] = []
        self.number = itertools.count()

    def begin(self, which: int, text: str) -> None:
        """Begin to handle a message."""
        channel = Channel("whatsapp", f"26377100000{which + 1}")
        self.held.append(self.chat.begin(Message(channel, f"m{next(self.number)}", text), cache=Cache(0)))

    def step(self, place: int) -> None:
        """Perform one effect of one of the messages; an error ends it."""
        running = [held for held in self.held if held.request is not None]
        if running:
            held = running[place % len(running)]
            try:
                self.chat.step(held)
            except VimbisoError:
                held.request = None

    def settle(self) -> None:
        """Let every message end, and every worker wake everybody."""
        for place in range(2000):
            self.step(place)
        self.chat.wait(400)
        for name in ("m-0", "m-1", "m-2"):
            for _ in range(3):
                self.chat.wait(31).wake(name)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("say"), st.integers(0, 1), st.sampled_from(["hi", "pay", "5", "yes"])),
            st.tuples(st.just("step"), st.integers(0, 5), st.integers(1, 12)),
            st.tuples(st.just("give"), st.integers(0, 1), st.integers(0, 2)),
            st.tuples(st.just("sleep"), st.just(0), st.just(0)),
        ),
        max_size=24,
    )
)
@example([("say", 1, "hi"), ("step", 0, 4), ("give", 0, 1), ("give", 1, 0)])  # two calls of one key
def test_numbers_change_hands_beside_messages(events: list[tuple[Any, Any, Any]]):
    """Whoever has a number, and whatever is said meanwhile, a login leads to the member who has the number then.

    No session of one member is reached from the number of another after a login, and each channel is listed at its
    owner alone.
    """
    turmoil = Turmoil()
    chat, registry = turmoil.chat, turmoil.registry
    for kind, one, two in events:
        if kind == "say":
            turmoil.begin(one, two)
        elif kind == "step":
            for _ in range(two):
                turmoil.step(one)
        elif kind == "give":
            registry.owners[f"26377100000{one + 1}"] = f"m-{two}"
        else:
            chat.wait(301)
    turmoil.settle()
    chat.check()
    for which in (0, 1):
        channel = Channel("whatsapp", f"26377100000{which + 1}")
        chat.channel = channel
        chat.wait(301)
        outcome = chat.say("hi", "hi", "menu")
        owner = registry.owners[channel.identifier]
        assert (outcome.state.person, chat.store.perform(FindOwner(channel)).member_id) == (owner, owner)
        for member_id in {"m-0", "m-1", "m-2"} - {owner}:
            stored = chat.stored(member_id)
            assert stored.document is None or channel.address not in chat.document(member_id).channels


@pytest.mark.embedded
@pytest.mark.parametrize("engine", ["memory", "valkey"])
def test_a_number_changes_hands_beside_threads(engine: str, request: pytest.FixtureRequest):
    """On a real server too, with messages of many threads at once, everybody ends at the member who has the number."""
    registry, now = Registry(), [1.7e9]
    make: Callable[[], FlowStateManager]
    if engine == "memory":
        store = MemoryStore(lambda: now[0])
        make = lambda: FlowStateManager(a_bot(registry), store, cache=0, rates=None)  # noqa: E731  # one of two ways
    else:
        url: str = request.getfixturevalue("valkey_url")
        make = lambda: FlowStateManager.from_url(url, a_bot(registry), rates=None)  # noqa: E731  # one of two ways
    numbers = [f"2637710001{n:02}" for n in range(6)]
    registry.owners = {number: f"m-{number}" for number in numbers}
    with make() as one, make() as two, ThreadPoolExecutor(8) as threads:
        for turn in range(3):
            said = [
                threads.submit(manager.handle, Message(Channel("whatsapp", number), f"{turn}-{n}", "hi"))
                for number in numbers
                for n, manager in enumerate([one, two, one])
            ]
            registry.owners = {number: f"m{turn}-{number}" for number in numbers}
            for done in said:
                done.result()
            for number in numbers:
                channel = Channel("whatsapp", number)
                one.update(one.member_of(channel) or "", logged_out)
                outcome = two.handle(Message(channel, f"{turn}-last", "menu"))
                assert outcome.state.member_id == f"m{turn}-{number}"
                assert one.member_of(channel) == f"m{turn}-{number}"


def logged_out(document: Any) -> Any:
    """Return a document without a login."""
    return attrs.evolve(document, authenticated=False, jwt_token=None)
