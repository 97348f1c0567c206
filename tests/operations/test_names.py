"""A member whom a channel knows by several names is one member, whichever of them a message carries."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.digests import guest_id
from tests.engines import Server
from tests.examples import examples
from tests.operations.test_handle_event import desk
from tests.operations.test_recycled import PHONE as NUMBER
from tests.operations.test_recycled import recycled
from tests.shells import Shell
from vimbiso_fsm import Bot, Channel, Flow, FlowStateManager, Message, Outcome, State, Text, Transition, Turn
from vimbiso_fsm.channels import AddressChanged, Reacted
from vimbiso_fsm.document.ids import is_guest_id
from vimbiso_fsm.errors import TooManyMessages
from vimbiso_fsm.flow.rates import Rate, Rates
from vimbiso_fsm.messages.proof import proof_of
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.store.requests import FindOwner, Scan
from vimbiso_fsm.store.retention import NAME_LIFE
from vimbiso_fsm.testing.chat import STORE_SECRET, Chat, Clock, words

PHONE, USER, PARENT = "263771000001", "ZW.100001", "ZW.900001"
NAMES = (PHONE, USER, PARENT)


def channel(*names: str) -> Channel:
    """Return the channel of a message that carries names; each but a number is told as one of several."""
    ids = [name for name in names if not name.isdigit()]
    return Channel("whatsapp", names[0], {"names": ids} if ids else {})


def bare(name: str) -> Channel:
    """Return a name as an address."""
    return Channel("whatsapp", name)


BOTH = channel(PHONE, USER)


class Counted:
    """A store that counts the requests to it."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.asked: list[str] = []

    def perform(self, request: Any) -> Any:
        """Perform a request."""
        self.asked.append(type(request).__name__)
        return self.store.perform(request)


def store() -> MemoryStore:
    """Return an empty store."""
    return MemoryStore(Clock(), secret=STORE_SECRET)


@pytest.fixture(params=["sync", "async"])
def shell(request: pytest.FixtureRequest) -> Shell:
    """A sync and an async manager."""
    return Shell(request.param, Bot(desk), store())


def say(shell: Shell, place: Channel, *texts: str) -> Outcome:
    """Type messages on a channel, and return the outcome of the last."""
    return [shell.handle(shell.message(text, channel=place)) for text in texts][-1]


def owner(shell: Shell, name: str) -> str | None:
    """Return the owner of a name."""
    found: str | None = shell.do("member_of", bare(name))
    return found


# Joining --------------------------------------------------------------------------------------------------------------


def test_a_known_member_is_found_by_a_name_that_came_with_another(shell: Shell):
    """A new name is joined to the member by one message that carries both, and then leads there alone."""
    say(shell, channel(PHONE), "hi", "ann")
    assert say(shell, BOTH, "first").status == "advanced"
    assert (owner(shell, PHONE), owner(shell, USER)) == ("m-ann", "m-ann")
    assert say(shell, channel(USER), "menu").state.member_id == "m-ann"
    assert "channel" in {entry.detail.get("by") for entry in shell.do("history", "m-ann")}


def test_the_guest_on_a_new_name_becomes_the_member_with_all_that_was_handled(shell: Shell):
    """What was handled on a name before it was joined stays handled, and is answered as a repetition."""
    alone = shell.message("hi", channel=channel(USER))
    assert shell.handle(alone).status == "advanced"
    say(shell, channel(PHONE), "hi", "ann")
    say(shell, BOTH, "note")
    assert owner(shell, USER) == "m-ann"
    assert shell.handle(alone).status == "duplicate"


REPEATS = [
    pytest.param(BOTH, channel(PHONE), id="both, then the number"),
    pytest.param(BOTH, channel(USER), id="both, then the user"),
    pytest.param(channel(PHONE), BOTH, id="the number, then both"),
    pytest.param(channel(USER), BOTH, id="the user, then both"),
    pytest.param(channel(PHONE), channel(USER), id="the number, then the user"),
    pytest.param(channel(USER), channel(PHONE), id="the user, then the number"),
]


@pytest.mark.parametrize("member", [True, False], ids=["member", "guest"])
@pytest.mark.parametrize(("first", "then"), REPEATS)
def test_a_message_that_comes_again_under_another_name_is_the_same(
    shell: Shell, first: Channel, then: Channel, member: bool
):
    """A message is handled once under all names of its speaker, whichever of them each delivery carries."""
    say(shell, BOTH, "hi")
    if member:
        say(shell, BOTH, "ann")
    message = shell.message("note", channel=first)
    taken = shell.handle(message)
    again = shell.handle(attrs.evolve(message, channel=then))
    assert (taken.status, again.status) == ("advanced", "duplicate")
    assert (again.member_id, again.replies) == (taken.member_id, taken.replies)
    assert shell.handle(attrs.evolve(message, channel=then, text="other")).status == "refused"


@pytest.mark.parametrize(("first", "then"), REPEATS[:4])
def test_the_first_message_of_a_speaker_may_come_again_under_another_name(shell: Shell, first: Channel, then: Channel):
    """The message that makes a speaker known is taken once, whether a delivery of it carries one name or two."""
    message = shell.message("hi", channel=first)
    assert shell.handle(message).status == "advanced"
    assert shell.handle(attrs.evolve(message, channel=then)).status == "duplicate"


@pytest.mark.parametrize(("first", "then"), REPEATS)
def test_a_fact_that_comes_again_under_another_name_is_the_same(first: Channel, then: Channel):
    """A fact is taken in once under all names of the member whom it is about."""
    reacting = Shell("sync", Bot(desk, on={Reacted: lambda turn, fact: Text("Thanks")}), store())
    say(reacting, BOTH, "hi", "ann")
    fact = Reacted(id="r", channel=first, message_id="m")
    assert reacting.do("handle_event", fact).status == "advanced"
    assert reacting.do("handle_event", attrs.evolve(fact, channel=then)).status == "duplicate"


def test_ids_that_count_in_a_chat_are_two_messages_in_two_chats_of_a_member(shell: Shell):
    """A channel without further names may count its messages per chat: the same id in two chats is two messages."""
    here, there = Channel("terminal", "1"), Channel("terminal", "2")
    say(shell, here, "hi", "ann")
    shell.do("link", "m-ann", there)
    assert shell.handle(shell.message("note", channel=here, id="5")).status == "advanced"
    assert shell.handle(shell.message("more", channel=there, id="5")).status == "advanced"


def test_a_guest_takes_all_names_along(shell: Shell):
    """A guest who logs in is the member on every name by which they were met."""
    say(shell, BOTH, "hi")
    say(shell, channel(USER, PARENT), "ann")
    assert [owner(shell, name) for name in NAMES] == ["m-ann"] * 3
    assert {address.identifier for address in shell.state("m-ann").channels} == set(NAMES)


def test_a_name_that_came_first_is_one_of_several(shell: Shell):
    """The first name of a message leads to the guest too, so that a later message with another first name finds it."""
    say(shell, channel(PHONE), "hi")
    say(shell, channel(USER, PARENT), "hi")
    say(shell, BOTH, "ann")
    assert [owner(shell, name) for name in NAMES] == ["m-ann"] * 3


def test_two_guests_become_one(shell: Shell):
    """Two guests whose names come together are one guest, who keeps the conversation of the first name."""
    say(shell, channel(USER), "hi")
    say(shell, channel(PHONE), "hi")
    assert owner(shell, USER) == guest_id(bare(USER))
    say(shell, BOTH, "ann")
    assert (owner(shell, PHONE), owner(shell, USER)) == ("m-ann", "m-ann")


def test_names_of_two_members_are_never_merged(shell: Shell):
    """A message with names of two members changes neither; both have an incident, and the speaker is told."""
    say(shell, channel(PHONE), "hi", "ann")
    say(shell, channel(USER), "hi", "ben")
    before = shell.state("m-ann"), shell.state("m-ben")
    outcome = say(shell, BOTH, "menu")
    assert (outcome.status, len(words(outcome.replies))) == ("refused", 1)
    assert "more than one membership" in words(outcome.replies)[0]
    assert outcome.state.profile == {}
    assert (shell.state("m-ann"), shell.state("m-ben")) == before
    for member_id in ("m-ann", "m-ben"):
        assert [incident.detail for incident in shell.do("incidents", member_id)] == [{"cause": "several members"}]
    shell.do("merge", "m-ben", "m-ann")
    assert say(shell, BOTH, "menu").state.member_id == "m-ann"


def test_a_fact_finds_the_member_by_any_name(shell: Shell):
    """A fact about several names is the member's whom one of them leads to; about those of two, it is nobody's."""
    reacting = Shell("sync", Bot(desk, on={Reacted: lambda turn, fact: Text("Thanks")}), store())
    say(reacting, channel(USER), "hi", "ann")
    for number, place in enumerate((channel(USER, PARENT), BOTH, channel(PHONE))):
        outcome = reacting.do("handle_event", Reacted(id=f"r{number}", channel=place, message_id="m"))
        assert outcome.member_id == ("m-ann" if number < 2 else None)
    say(reacting, channel(PHONE), "hi", "ben")
    outcome = reacting.do("handle_event", Reacted(id="r9", channel=BOTH, message_id="m"))
    assert (outcome.status, outcome.reason) == ("ignored", "several members")


def test_a_notice_moves_all_names(shell: Shell):
    """A changed number ends all former names, ends the session and the login, and leads the new names to the member."""
    say(shell, channel(PHONE, USER, PARENT), "hi", "ann")
    assert shell.state("m-ann").jwt_token is not None
    moved = AddressChanged(id="s", channel=channel(PHONE, USER, PARENT), new="263771000002", names=("ZW.2", "ZW.902"))
    for status in ("advanced", "ignored"):  # told again, it is about names of nobody
        assert shell.do("handle_event", moved).status == status
    after = shell.state("m-ann")
    assert (after.jwt_token, after.authenticated, after.session_since) == (None, False, None)
    assert [owner(shell, name) for name in ("263771000002", "ZW.2", "ZW.902")] == ["m-ann"] * 3
    assert all(owner(shell, name) is None for name in NAMES)
    assert is_guest_id(say(shell, BOTH, "hi").state.member_id)


# Trips and what is stored ---------------------------------------------------------------------------------------------


def test_a_known_member_costs_one_trip_and_a_first_contact_two():
    """The names are looked up in one trip, before the first turn, and not again while the member is known."""
    counted = Counted(store())
    manager = FlowStateManager(Bot(desk), counted)
    manager.handle(Message(BOTH, "0", "hi"))
    manager.handle(Message(channel(PHONE), "1", "ann"))
    manager.handle(Message(BOTH, "2", "x"))
    trips = []
    for number, place in enumerate((BOTH, BOTH, channel(USER), channel(PHONE))):
        counted.asked.clear()
        manager.handle(Message(place, f"a{number}", "menu"))
        trips.append(counted.asked[:])
    assert trips == [["Commit"]] * 4
    counted.asked.clear()
    manager.handle(Message(channel("263771000009", "ZW.9", "ZW.909"), "b", "hi"))
    assert counted.asked == ["FindOwners", "Commit"]


def test_a_refused_stranger_takes_no_name():
    """A message above the rate of new guests leaves no entry of the index."""
    kept = store()
    manager = FlowStateManager(Bot(desk), kept, rates=Rates(guests=Rate(1, every=60.0)))
    manager.handle(Message(channel("ZW.7"), "0", "hi"))
    with pytest.raises(TooManyMessages):
        manager.handle(Message(BOTH, "1", "hi"))
    assert kept.perform(FindOwner(bare(USER))).member_id is None
    assert len(kept.perform(Scan())) == 1


def test_the_names_of_a_guest_end_with_the_guest():
    """The index leads the names of a guest there for as long as the guest is kept, and those of a member for ever."""
    clock = Clock()
    shell = Shell("sync", Bot(desk), MemoryStore(clock, secret=STORE_SECRET))
    say(shell, BOTH, "hi")
    clock.at += NAME_LIFE - 10
    assert owner(shell, USER) == guest_id(bare(PHONE))
    clock.at += NAME_LIFE - 10
    assert owner(shell, USER) is not None, "a look at the channel renews its life"
    clock.at += NAME_LIFE + 10
    assert owner(shell, USER) is None
    say(shell, BOTH, "hi", "ann")
    clock.at += 2 * NAME_LIFE
    assert owner(shell, USER) == "m-ann"


# Orders of messages ---------------------------------------------------------------------------------------------------


def gathered(turn: Turn[Texts, Any]) -> Any:
    """Add what was said to the rest; a word of the form =name logs in."""
    text = turn.data.latest
    data = attrs.evolve(turn.data, said=(*turn.data.said, text))
    if not text.startswith("="):
        return data
    return turn.changes(data=data, member=attrs.evolve(turn.member, id=f"m-{text[1:]}", guest=False))


@attrs.frozen
class Texts:
    """All texts of a conversation."""

    latest: str = ""
    said: tuple[str, ...] = ()


gatherer = Flow(
    "gatherer", data=Texts, initial="next",
    states=[State("next", ask=Text("Next?"), reads=str, into="latest"), State("over", final=True)],
    transitions=[
        Transition("answer", "next", "over", conditions=lambda turn: turn.data.latest == "over"),
        Transition("answer", "next", "next", prepare=gathered),
    ],
)  # fmt: skip
SETS = [(PHONE,), (USER,), (PARENT,), (PHONE, USER), (USER, PARENT), (PHONE, USER, PARENT)]


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(SETS), st.sampled_from(["word", "word", "login"]), st.integers(0, 1)), max_size=10
    ),
    cached=st.booleans(),
)
@examples(20)
def test_names_that_came_together_are_one_speaker(steps: Any, cached: bool):
    """In every order, on two workers: names that came together lead to one conversation, unless they are two members'.

    The model joins the names of each message; a message with the names of two members joins nothing and is refused.
    """
    kept, ids = store(), itertools.count()
    workers = [FlowStateManager(Bot(gatherer), kept, cache=100 if cached else 0) for _ in range(2)]
    together = [frozenset({name}) for name in NAMES]
    members: dict[frozenset[str], str] = {}
    for names, kind, worker in steps:
        number = next(ids)
        text = f"={number}" if kind == "login" else f"word {number}"
        message = Message(channel(*names), f"{number}", text)
        touched = [group for group in together if group & set(names)]
        known = {members[group] for group in touched if group in members}
        outcome = workers[worker].handle(message)
        if len(known) > 1:
            assert outcome.status == "refused"
            continue
        merged: frozenset[str] = frozenset().union(*touched)
        together = [group for group in together if group not in touched] + [merged]
        after = outcome.state.member_id
        if known or not is_guest_id(after):
            assert {after} == (known or {after}), "the member of joined names has changed"
            members[merged] = after
        assert workers[1 - worker].handle(message).status == "duplicate"
        for others in SETS:
            if merged.issuperset(others):
                again = attrs.evolve(message, channel=channel(*others))
                assert workers[worker].handle(again).status == "duplicate"
        assert {kept.perform(FindOwner(bare(name))).member_id or guest_id(bare(name)) for name in names} == {after}
        for group in set(together) & members.keys():
            assert {kept.perform(FindOwner(bare(name))).member_id for name in group} == {members[group]}


# Workers --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [False, True], ids=["guests", "members"])
def test_two_workers_meet_one_speaker_under_different_names(valkey_url: str, known: bool):
    """Messages with one name and with both come to two workers at once: each is taken once, and one speaker is left."""
    namespace = f"names{known}"
    with (
        FlowStateManager.from_url(valkey_url, flows=Bot(desk), namespace=namespace) as one,
        FlowStateManager.from_url(valkey_url, flows=Bot(desk), namespace=namespace) as two,
        ThreadPoolExecutor(2) as pool,
    ):
        for number in range(6):
            phone, user = f"26377200{number:04}", f"ZW.2{number:04}"
            if known:
                for text in ("hi", f"p{number}"):
                    one.handle(Message(channel(phone), f"{number}/{text}", text))
            start = threading.Barrier(2)

            def send(manager: FlowStateManager, message: Message, start: threading.Barrier = start) -> str:
                start.wait()
                return manager.handle(message).status

            alone, both = (
                Message(channel(user), f"{number}/a", "hi"),
                Message(channel(phone, user), f"{number}/b", "hi"),
            )
            statuses = [*pool.map(send, (one, two), (alone, both))]
            assert "failed" not in statuses
            last = [one.handle(Message(channel(phone, user), f"{number}/c{turn}", "menu")) for turn in range(2)][-1]
            found = {one.member_of(bare(name)) or guest_id_of(one, name) for name in (phone, user)}
            assert found == {last.state.member_id}
            assert {two.handle(message).status for message in (alone, both)} == {"duplicate"}


def guest_id_of(manager: FlowStateManager, name: str) -> str:
    """Return the id of the guest on a name, by the digests of a manager."""
    return manager.bot.digests.guest_id(bare(name))


# Proof ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("declared", "kind", "identifier", "proves"),
    [
        ("phone", "whatsapp", PHONE, "phone"),
        ("phone", "whatsapp", USER, "account"),
        ("phone", "sms", "+263771000001", "phone"),
        ("phone", "sms", "BANK", "nothing"),
        ("account", "telegram", PHONE, "account"),
        ("nothing", "web", PHONE, "nothing"),
    ],
)
def test_each_name_proves_what_it_would_prove_alone(declared: Any, kind: str, identifier: str, proves: str):
    """An id of a user proves no number, although it comes on a channel that proves numbers."""
    assert proof_of(declared, kind, identifier) == proves


def test_a_name_that_came_along_proves_no_number():
    """A speaker who writes under an id has no proven number, also if a number was joined before."""
    seen: list[tuple[str, str]] = []

    def note(turn: Turn[Texts, Any]) -> Any:
        seen.append((turn.proves, turn.phone))
        return turn.data

    flow = Flow(
        "f", data=Texts, initial="next",
        states=[State("next", ask=Text("Next?"), reads=str, into="latest"), State("over", final=True)],
        transitions=[Transition("answer", "next", "over", conditions=lambda turn: turn.data.latest == "over"),
                     Transition("answer", "next", "next", prepare=note)],
    )  # fmt: skip
    shell = Shell("sync", Bot(flow), store())
    say(shell, BOTH, "hi", "a")
    say(shell, channel(USER), "b")
    assert seen == [("phone", PHONE), ("account", "")]


# Owners of before, and crashes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("newer", ["m-new", None])
def test_a_login_that_finds_another_owner_takes_all_names_from_the_former(newer: str | None):
    """A new owner of a number, whose id was joined to the former one, leaves them with both names at the login."""
    chat, _ = recycled(newer)
    both = Channel("whatsapp", NUMBER.identifier, {"names": [USER]})
    heard = words(chat.handle(Message(both, "new.1", "hi")).replies)
    assert "secret purse" not in " ".join(heard)
    owners = {chat.store.perform(FindOwner(bare(name))).member_id for name in (NUMBER.identifier, USER)}
    assert "m-old" not in owners
    assert not chat.document("m-old").channels
    again = chat.handle(Message(bare(USER), "new.2", "hi"))
    assert again.state.member_id != "m-old"


def test_a_crash_at_any_effect_of_a_joining_is_completed_by_the_next_message():
    """Whatever was done of a joining, the message that comes again completes it, and what was handled stays so."""
    for steps in itertools.count():
        chat = Chat(Bot(desk), channel=bare(PHONE))
        chat.say("hi", "ann")
        alone, both = Message(channel(USER), "a", "hi"), Message(BOTH, "b", "note")
        chat.handle(alone)
        handling = chat.begin(both)
        for _ in range(steps):
            if handling.request is not None:
                chat.step(handling)
        chat.handle(both)
        assert chat.handle(alone).status == "duplicate"
        assert chat.handle(both).status == "duplicate"
        owners = {chat.store.perform(FindOwner(bare(name))).member_id for name in (PHONE, USER)}
        assert owners == {"m-ann"}
        chat.check()
        if handling.request is None:
            return


def test_a_damaged_entry_of_one_name_stops_no_look_up(valkey_server: Server):
    """An entry of the index that is of another type is put aside, and the other name leads to the member."""
    with FlowStateManager.from_url(valkey_server.url, flows=Bot(desk), namespace="damaged-names") as manager:
        for number, (place, text) in enumerate(((channel(PHONE), "hi"), (BOTH, "ann"), (BOTH, "note"))):
            manager.handle(Message(place, str(number), text))
        assert manager.member_of(bare(USER)) == "m-ann"
    client = valkey_server.client()
    keys = [key for key in client.scan_iter(match="*damaged-names*") if client.type(key) == b"string"]
    entries = [key for key in keys if client.get(key) == b"m-ann"]
    assert len(entries) == 2
    for place in entries:
        client.delete(place)
        client.rpush(place, b"of another type")
        with FlowStateManager.from_url(valkey_server.url, flows=Bot(desk), namespace="damaged-names") as manager:
            assert manager.handle(Message(BOTH, f"after {place!r}", "menu")).state.member_id == "m-ann"
            assert manager.member_of(bare(PHONE)) == manager.member_of(bare(USER)) == "m-ann"
