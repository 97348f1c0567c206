"""Facts that a channel tells: each is taken in once, with the declared reaction, and none makes a stranger known."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from tests.shells import Shell
from vimbiso_fsm import (
    Bot,
    Caller,
    Channel,
    Flow,
    FlowStateManager,
    Message,
    Refused,
    State,
    Text,
    Transition,
    Turn,
    call,
)
from vimbiso_fsm.channels import (
    AddressChanged,
    ChatOpened,
    Edited,
    OtherFact,
    Paid,
    Reacted,
    StatusChanged,
)
from vimbiso_fsm.errors import FlowError, InvalidMessage, TooManyMessages
from vimbiso_fsm.flow.rates import Rate, Rates
from vimbiso_fsm.operations.cache import Cache
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.operations.effects import run
from vimbiso_fsm.operations.handle_event import EventOutcome, handle_event
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.store.requests import Scan
from vimbiso_fsm.testing.chat import STORE_SECRET, Clock, words

OLD, NEW, THIRD = (Channel("whatsapp", f"26377100000{number}") for number in range(1, 4))
MOVED = AddressChanged(id="wamid.S", channel=OLD, new=NEW.identifier)


@attrs.frozen
class Name:
    """The data of the flow."""

    value: str = ""


def login(turn: Turn[Name, Any]) -> Any:
    """Log the speaker in under the name that they give."""
    member = attrs.evolve(turn.member, id=f"m-{turn.data.value}", guest=False, authenticated=True, jwt_token="secret")
    return turn.changes(member=member)


desk = Flow(
    "desk", data=Name, initial="name",
    states=[
        State("name", ask=Text("Name?"), reads=str, into="value"),
        State("note", ask=Text("Note?"), reads=str, into="value"),
        State("kept", say=Text("Kept."), final=True),
    ],
    transitions=[
        Transition("answer", "name", "note", prepare=login),
        Transition("answer", "note", "kept"),
    ],
)  # fmt: skip
"""A question whose answer logs the member in, and a question after it."""


def thanks(turn: Turn[None, Any], fact: Reacted) -> Text:
    """Thank for a reaction."""
    return Text("Thanks for {emoji}", emoji=fact.emoji)


def bot() -> Bot:
    """Return a bot that reacts to reactions."""
    return Bot(desk, on={Reacted: thanks})


def reacted(number: int = 1, channel: Channel = OLD, emoji: str = "+") -> Reacted:
    """Return a reaction of the member."""
    return Reacted(id=f"r{number}", channel=channel, message_id="wamid.Q", emoji=emoji)


@pytest.fixture(params=["sync", "async"])
def shell(request: pytest.FixtureRequest) -> Shell:
    """A sync and an async manager."""
    return Shell(request.param, bot(), MemoryStore(Clock(), secret=STORE_SECRET))


def logged_in(shell: Shell, channel: Channel = OLD, name: str = "ann") -> str:
    """Log a member in on a channel, and return their id."""
    for text in ("hi", name):
        shell.do("handle", shell.message(text, channel=channel))
    return f"m-{name}"


# A turn ---------------------------------------------------------------------------------------------------------------


def test_a_fact_is_taken_in_once(shell: Shell):
    """A fact that is told again has no second effect, and is answered with the first words."""
    member_id = logged_in(shell)
    before = shell.do("state", member_id)
    outcomes = [shell.do("handle_event", reacted()) for _ in range(3)]
    after = shell.do("state", member_id)
    assert [outcome.status for outcome in outcomes] == ["advanced", "duplicate", "duplicate"]
    assert [words(outcome.replies) for outcome in outcomes] == [["Thanks for +"]] * 3
    assert outcomes[0].channel == OLD
    assert (after.version, after.run, after.session) == (before.version + 1, before.run, before.session)
    entry = shell.do("history", member_id)[-1]
    assert (entry.kind, entry.status, entry.detail) == ("event", "advanced", {"event": "Reacted"})


def test_an_id_that_is_used_for_two_facts_is_refused(shell: Shell):
    """Another fact under a known id has no effect, and an incident records it."""
    member_id = logged_in(shell)
    shell.do("handle_event", reacted())
    outcome = shell.do("handle_event", reacted(emoji="-"))
    assert (outcome.status, outcome.replies) == ("refused", ())
    assert [incident.kind for incident in shell.do("incidents", member_id)] == ["mismatch"]


@pytest.mark.parametrize(
    "fact",
    [
        reacted(),
        StatusChanged(id="s", channel=OLD, message_id="never sent", status="failed"),
        OtherFact(id="o", channel=OLD, kind="of tomorrow"),
        OtherFact(id="a", kind="of the account"),
        Edited(id="e", channel=OLD, message_id="m", text="x" * 4000),
        MOVED,
    ],
    ids=lambda fact: f"{type(fact).__name__}-{fact.id}",
)
def test_a_fact_about_an_unknown_member_stores_nothing(shell: Shell, fact: Any):
    """A fact about an address of which nothing is stored is answered clearly, and the store stays empty."""
    outcome = shell.do("handle_event", fact)
    assert outcome.status == "ignored"
    assert outcome.reason in ("unknown member", "no reaction")
    assert shell.do("ask", Scan()) == ()


def test_a_fact_without_a_reaction_asks_the_store_nothing():
    """A status, of which there are three for each message, costs no request where no reaction to it is declared."""
    manager = FlowStateManager.in_memory(bot())
    manager.close()
    status = StatusChanged(id="s", channel=OLD, message_id="m", status="read")
    assert manager.handle_event(status) == EventOutcome("ignored", reason="no reaction")


@given(
    st.lists(st.tuples(st.integers(1, 3), st.sampled_from(["sent", "delivered", "read", "failed", "of tomorrow", ""])))
)
@examples(40)
def test_statuses_in_any_order_have_each_one_effect(told: list[tuple[int, str]]):
    """Statuses of messages that nobody knows, repeated and in any order, are answered; each failure is told once.

    What the reaction leaves alone stores nothing, however many come.
    """
    failed = lambda turn, fact: Text("Not sent.") if fact.failed else None  # noqa: E731  # one line says it
    shell = Shell("sync", Bot(desk, on={StatusChanged: failed}), MemoryStore(Clock(), secret=STORE_SECRET))
    member_id = logged_in(shell)
    before, seen = shell.do("state", member_id).version, set[tuple[int, str]]()
    for number, status in told:
        fact = StatusChanged(id=f"wamid.{number}/{status}", channel=OLD, message_id=f"wamid.{number}", status=status)
        outcome = shell.do("handle_event", fact)
        first = "advanced" if (number, status) not in seen else "duplicate"
        assert outcome.status == (first if status == "failed" else "ignored")
        assert words(outcome.replies) == (["Not sent."] if status == "failed" else [])
        seen.add((number, status))
    assert shell.do("state", member_id).version == before + sum(status == "failed" for _, status in seen)


def test_a_reaction_that_refuses_is_audited():
    """A reaction that refuses says nothing and changes nothing, and the audit has its reason."""
    shell = Shell(
        "sync",
        Bot(desk, on={Paid: lambda turn, fact: Refused("paid.unknown")}),
        MemoryStore(Clock(), secret=STORE_SECRET),
    )
    member_id = logged_in(shell)
    outcome = shell.do("handle_event", Paid(id="p", channel=OLD))
    entry = shell.do("history", member_id)[-1]
    assert (outcome.status, outcome.replies) == ("refused", ())
    assert (entry.kind, entry.status, entry.codes) == ("event", "refused", ("paid.unknown",))


def test_a_reaction_changes_the_profile_and_speaks():
    """A reaction may change the member and say several things in one turn."""

    def noted(turn: Turn[None, Any], fact: Paid) -> Any:
        profile = {**turn.member.profile, "paid": fact.reference}
        return [Text("Paid."), turn.changes(member=attrs.evolve(turn.member, profile=profile)), Text("Thanks.")]

    shell = Shell("sync", Bot(desk, on={Paid: noted}), MemoryStore(Clock(), secret=STORE_SECRET))
    member_id = logged_in(shell)
    outcome = shell.do("handle_event", Paid(id="p", channel=OLD, reference="r7"))
    assert words(outcome.replies) == ["Paid.", "Thanks."]
    assert shell.do("state", member_id).profile == {"paid": "r7"}


def test_a_reaction_of_the_open_flow_has_priority():
    """The flow in which the member stands reacts with its data; elsewhere the bot does."""
    own = attrs.evolve(desk, on={Paid: lambda turn, fact: Text("For {name}", name=turn.data.value)})
    shell = Shell(
        "sync", Bot(own, on={Paid: lambda turn, fact: Text("Nothing open")}), MemoryStore(Clock(), secret=STORE_SECRET)
    )
    member_id = logged_in(shell)
    assert words(shell.do("handle_event", Paid(id="1", channel=OLD)).replies) == ["For ann"]
    shell.do("reset", member_id)
    assert words(shell.do("handle_event", Paid(id="2", channel=OLD)).replies) == ["Nothing open"]


RAISING: list[Callable[[Turn[Any, Any], Any], Any]] = [
    lambda turn, fact: 1 / 0,
    lambda turn, fact: "text",
    lambda turn, fact: turn.changes(member=attrs.evolve(turn.member, id="m-mallory")),
    lambda turn, fact: turn.changes(member=attrs.evolve(turn.member, jwt_token="forged", authenticated=True)),
    lambda turn, fact: turn.changes(data=Name("other")),
]


@pytest.mark.parametrize("reaction", RAISING, ids=["raises", "text", "member", "login", "data"])
def test_a_reaction_that_may_not_be_fails_and_changes_nothing(reaction: Any):
    """A reaction that raises, logs in, changes the data or names another member fails: audited, unsaid, and again."""
    shell = Shell("sync", Bot(attrs.evolve(desk, on={Paid: reaction})), MemoryStore(Clock(), secret=STORE_SECRET))
    member_id = logged_in(shell)
    before = shell.do("state", member_id)
    outcomes = [shell.do("handle_event", Paid(id="p", channel=OLD)) for _ in range(2)]
    after = shell.do("state", member_id)
    assert [(outcome.status, outcome.replies) for outcome in outcomes] == [("failed", ())] * 2
    assert attrs.evolve(after, version=0, last_updated=before.last_updated) == attrs.evolve(before, version=0)
    assert shell.do("history", member_id)[-1].kind == "error"


@pytest.mark.parametrize("on", [[Paid], {"Paid": thanks}, {Paid: "thanks"}, {Paid: lambda turn: None}])
def test_reactions_that_are_none_are_refused_when_they_are_declared(on: Any):
    """A bot and a flow name the fault of what is no mapping of facts to functions of two arguments."""
    for declare in (lambda: Bot(desk, on=on), lambda: attrs.evolve(desk, on=on)):
        with pytest.raises(FlowError, match=r"on is|on names|reaction"):
            declare()


def test_what_is_no_fact_is_refused(shell: Shell):
    """A message, or a channel that the bot does not know, is a clear error."""
    for wrong in (Message(OLD, "1", "hi"), None, reacted(channel=Channel("pigeon", "1"))):
        with pytest.raises(InvalidMessage):
            shell.do("handle_event", wrong)


def test_a_flood_of_facts_is_bounded_as_messages_are():
    """What a member causes counts at the rate of their messages, so that it makes nothing grow faster."""
    manager = FlowStateManager.in_memory(bot(), rates=Rates(address=Rate(5, 60.0)))
    manager.handle(Message(OLD, "1", "hi"))

    def flood() -> None:
        for number in range(50):
            manager.handle_event(reacted(number))

    with pytest.raises(TooManyMessages):
        flood()


# An opened chat -------------------------------------------------------------------------------------------------------


def test_an_opened_chat_gets_the_welcome(shell: Shell):
    """An opened chat begins the conversation as a first message does; a repetition gets the same words (Case 17)."""
    opened = ChatOpened(id="c", channel=OLD)
    outcomes = [shell.do("handle_event", opened) for _ in range(2)]
    assert [(outcome.status, words(outcome.replies)) for outcome in outcomes] == [
        ("advanced", ["Name?"]),
        ("duplicate", ["Name?"]),
    ]
    assert shell.do("state", outcomes[0].member_id).session_since is not None
    assert words(shell.do("handle", shell.message("ann", channel=OLD)).replies) == ["Note?"]
    again = shell.do("handle_event", ChatOpened(id="d", channel=OLD))
    assert (again.status, again.reason, again.replies) == ("ignored", "nothing to do", ())


# A changed address ----------------------------------------------------------------------------------------------------


def test_a_changed_number_moves_the_member(shell: Shell):
    """The new number leads to the member and the former one to nobody; session and login are dropped (Case 26)."""
    member_id = logged_in(shell)
    assert shell.do("handle_event", MOVED).status == "advanced"
    state = shell.do("state", member_id)
    assert (shell.do("member_of", OLD), shell.do("member_of", NEW)) == (None, member_id)
    assert (state.jwt_token, state.authenticated, state.session_since, state.leaving) == (None, False, None, ())
    assert [address.identifier for address in state.channels] == [NEW.identifier]
    assert shell.do("handle", shell.message("hi", channel=OLD)).state.member_id != member_id
    assert shell.do("handle", shell.message("hi", channel=NEW)).state.member_id == member_id


def test_a_number_of_another_member_is_not_merged(shell: Shell):
    """If the new number is another member's, both stay, the former number is unlinked, and an incident tells it."""
    member_id, other = logged_in(shell), logged_in(shell, NEW, "bob")
    before = shell.do("state", other)
    assert shell.do("handle_event", MOVED).status == "advanced"
    assert (shell.do("member_of", OLD), shell.do("member_of", NEW)) == (None, other)
    assert shell.do("state", other) == before
    incidents = shell.do("incidents", member_id)
    assert [(incident.kind, incident.detail) for incident in incidents] == [("address", {"cause": "taken"})]


def test_a_guest_of_a_changed_number_keeps_nothing(shell: Shell):
    """A guest is known by the address alone, which may be another person's now."""
    guest = shell.do("handle", shell.message("hi", channel=OLD)).state.member_id
    assert shell.do("handle_event", MOVED).status == "advanced"
    state = shell.do("state", guest)
    assert (state.run, state.session_since, state.profile) == (None, None, {})
    assert shell.do("member_of", NEW) is None


@pytest.mark.parametrize("new", ["", "\x00", OLD.identifier])
def test_a_new_address_that_is_none_changes_nothing(shell: Shell, new: str):
    """A changed address without a new one, or with the former one, is answered clearly and unlinks nothing."""
    member_id = logged_in(shell)
    fact = AddressChanged(id="x", channel=OLD, new=new)
    if new == OLD.identifier:
        assert shell.do("handle_event", fact).reason == "nothing to do"
    else:
        with pytest.raises(InvalidMessage):
            shell.do("handle_event", fact)
    assert shell.do("member_of", OLD) == member_id


class Died(Exception):
    """The process dies before an effect."""


@pytest.mark.parametrize("steps", range(24))
def test_a_fact_is_completed_after_a_crash_at_any_effect(steps: int):
    """A process that dies at any point of a move leaves what the repeated fact, or a worker, completes."""
    store = MemoryStore(Clock(), secret=STORE_SECRET)
    shell = Shell("sync", bot(), store)
    member_id = logged_in(shell)
    context = Context(shell.manager.bot, Cache(0), shell.manager.now())
    made = iter(range(steps))

    def perform(effect: Any) -> Any:
        if next(made, None) is None:
            raise Died
        return store.perform(effect)

    try:
        run(handle_event(context, MOVED, delivers=False), perform)
    except Died:
        shell.do("handle_event", MOVED)
    shell.do("wake", member_id)
    assert (shell.do("member_of", OLD), shell.do("member_of", NEW)) == (None, member_id)
    state = shell.do("state", member_id)
    assert (state.jwt_token, state.leaving) == (None, ())
    entries = [entry for entry in shell.do("history", member_id) if entry.detail.get("event") == "AddressChanged"]
    assert len(entries) == 1


STEPS = st.lists(
    st.sampled_from([
        MOVED,
        AddressChanged(id="back", channel=NEW, new=OLD.identifier),
        AddressChanged(id="on", channel=NEW, new=THIRD.identifier),
        reacted(1, OLD), reacted(2, NEW), ChatOpened(id="c", channel=NEW),
        Message(OLD, "m1", "hi"), Message(NEW, "m2", "hi"), Message(NEW, "m3", "bob"), Message(THIRD, "m4", "hi"),
    ]),
    max_size=12,
)  # fmt: skip


@examples(60)
@given(STEPS)
def test_facts_in_any_order_and_number_merge_nobody(steps: list[Any]):
    """Facts and messages in any order, and any number of times, leave each address with one member, and nobody two."""
    shell = Shell("sync", bot(), MemoryStore(Clock(), secret=STORE_SECRET))
    logged_in(shell)
    taken: set[Any] = set()
    for step in steps:
        if isinstance(step, Message):
            shell.do("handle", step)
            continue
        outcome = shell.do("handle_event", step)
        assert not (outcome.status == "advanced" and (type(step), step.id) in taken)
        if outcome.status == "advanced":
            taken.add((type(step), step.id))
    owners = {channel.identifier: shell.do("member_of", channel) for channel in (OLD, NEW, THIRD)}
    for known in ("m-ann", "m-bob"):
        state = shell.do("state", known)
        linked = {address.identifier for address in state.channels} if state is not None else set()
        assert linked == {identifier for identifier, owner in owners.items() if owner == known}


def test_a_notice_told_again_does_not_touch_the_next_owner_of_the_number(shell: Shell):
    """The next person on the former number has its tokens, so that the notice is a duplicate there."""
    logged_in(shell)
    shell.do("handle_event", MOVED)
    next_owner = logged_in(shell, OLD, "carl")
    before = shell.do("state", next_owner)
    assert shell.do("handle_event", MOVED).status == "duplicate"
    assert shell.do("state", next_owner) == before
    assert (shell.do("member_of", OLD), shell.do("member_of", NEW)) == (next_owner, "m-ann")


def test_facts_told_at_the_same_time_are_taken_in_once(valkey_url: str):
    """On a real server, each fact that eight threads of two managers hand over has one effect."""
    managers = [FlowStateManager.from_url(valkey_url, bot(), rates=None) for _ in range(2)]
    facts = [*(reacted(number) for number in range(5)), MOVED]
    try:
        for number, text in enumerate(("hi", "ann")):
            managers[0].handle(Message(OLD, f"m{number}", text))
        for fact in facts:
            with ThreadPoolExecutor(8) as pool:
                outcomes = list(pool.map(lambda each, fact=fact: managers[each % 2].handle_event(fact), range(8)))
            assert [outcome.status for outcome in outcomes].count("advanced") == 1, outcomes
            assert {outcome.status for outcome in outcomes} <= {"advanced", "duplicate", "ignored"}
        entries = [entry.detail.get("event") for entry in managers[1].history("m-ann")]
        assert [entries.count(name) for name in ("Reacted", "AddressChanged")] == [5, 1]
        assert [managers[1].member_of(channel) for channel in (OLD, NEW)] == [None, "m-ann"]
    finally:
        for manager in managers:
            manager.close()


class Till(Protocol):
    """The port of a service."""

    def pay(self, *, caller: Caller = ...) -> str: ...


class SlowTill:
    """A service during whose call the member's number changes."""

    def __init__(self) -> None:
        self.meanwhile: Callable[[], object] = lambda: None
        self.paid = 0

    def pay(self, *, caller: Caller) -> str:
        """Pay."""
        self.paid += 1
        self.meanwhile()
        return "r1"


def test_the_answer_of_a_call_is_kept_when_the_number_changes_meanwhile():
    """A call that is on its way when the number changes is made once, and its answer is stored at the member."""
    flow = attrs.evolve(
        desk,
        states=[
            *desk.states[:2],
            State("paying", call=lambda turn: call(Till.pay), into="value"),
            State("kept", say=Text("Paid."), final=True),
        ],
        transitions=[
            desk.transitions[0],
            Transition("answer", "note", "paying"),
            Transition("done", "paying", "kept"),
            Transition("failed", "paying", "note"),
        ],
    )
    till, store = SlowTill(), MemoryStore(Clock(), secret=STORE_SECRET)
    shell = Shell("sync", Bot(flow, services={"till": till}), store)
    other = Shell("sync", Bot(flow, services={"till": till}), store)
    member_id = logged_in(shell)
    till.meanwhile = lambda: other.do("handle_event", MOVED)
    shell.do("handle", shell.message("rent", channel=OLD))
    state = shell.do("state", member_id)
    assert (till.paid, state.call, state.jwt_token) == (1, None, None)
    assert [shell.do("member_of", channel) for channel in (OLD, NEW)] == [None, member_id]
    assert "done" in [step.trigger for entry in shell.do("history", member_id) for step in entry.steps]
