"""What another system gives to an address: to the member or guest whom it leads to, or to a guest who never wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from tests.operations.test_handle_event import NEW, OLD, desk
from tests.shells import Shell, Watched
from vimbiso_fsm import Bot, Channel, Flow, Message, State, Text, Transition, Trigger
from vimbiso_fsm.document.ids import is_guest_id
from vimbiso_fsm.errors import InvalidMessage
from vimbiso_fsm.flow.inboxes import Inbox
from vimbiso_fsm.messages.replies import Reply
from vimbiso_fsm.messages.sending import Later, Sent
from vimbiso_fsm.messages.told import Reacted
from vimbiso_fsm.operations.handle_event import EventOutcome
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.store.requests import Link, Load, Request, Scan, Unlink
from vimbiso_fsm.testing.chat import STORE_SECRET, Clock, words

USER = "ZW.100001"


@attrs.frozen
class Answer:
    """The data of the survey."""

    item: str = ""
    answer: str = ""


survey = Flow(
    "survey", data=Answer, initial="asked",
    states=[
        State("asked", ask=lambda turn: Text("Was the {item} good?", item=turn.data.item or "tea"), reads=str,
              into="answer"),
        State("kept",  say=Text("Noted."), final=True),
    ],
    transitions=[Transition("answer", "asked", "kept")],
)  # fmt: skip
TRIGGERS = [Trigger("greet", lambda turn, name: Text("{name} says hello.", name=name), by="crm", takes=str)]


class World:
    """A manager that delivers, with what was delivered where."""

    def __init__(self, kind: Any = "sync", **bot: Any) -> None:
        self.clock = Clock()
        self.store = MemoryStore(self.clock, secret=STORE_SECRET)
        self.said: list[tuple[str, str]] = []
        deliver: Callable[..., Any] = self._take if kind == "sync" else self._take_later
        bot = {"triggers": TRIGGERS, **bot}
        self.shell = Shell(kind, Bot([desk, survey], session=300.0, windows={}, **bot), self.store, deliver=deliver)
        self.shell.manager._base.clock.follow(self.clock)

    def _take(self, channel: Channel, replies: Sequence[Reply]) -> None:
        self.said += [(channel.identifier, text) for text in words(replies)]

    async def _take_later(self, channel: Channel, replies: Sequence[Reply]) -> None:
        self._take(channel, replies)

    def says(self, place: Channel, *texts: str) -> str:
        """Say something on a channel; return the id of who has said it."""
        outcomes = [self.shell.handle(self.shell.message(text, channel=place)) for text in texts]
        return outcomes[-1].member_id

    def gives(self, how: str, whom: object, *details: Any, **named: Any) -> EventOutcome:
        """Give something to an address or a member."""
        outcome: EventOutcome = self.shell.do(how, whom, *details, **named)
        return outcome


@pytest.fixture(params=["sync", "async"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """A sync and an async manager of which nothing is stored."""
    made = World(request.param)
    yield made
    made.shell.close()


GIFTS = [
    pytest.param("tell", ("We close at five.",), {}, "We close at five.", id="words"),
    pytest.param("open", ("survey", Answer("cake")), {}, "Was the cake good?", id="a flow"),
    pytest.param("trigger", ("greet", "Ann"), {"by": "crm"}, "Ann says hello.", id="a trigger"),
]


@pytest.mark.parametrize(("how", "details", "named", "words_said"), GIFTS)
@pytest.mark.parametrize("met", ["never", "a guest", "a member"])
def test_an_address_stands_for_whom_it_leads_to(
    world: World, met: str, how: str, details: Any, named: Any, words_said: str
):
    """Words, a flow and a trigger reach a member, a guest and a guest who never wrote by their address, once."""
    if met != "never":
        world.says(OLD, "hi", *(("ann", "note") if met == "a member" else ()))
    first = world.gives(how, OLD, *details, key="k", **named)
    assert first.status == "advanced"
    assert is_guest_id(first.member_id or "") == (met != "a member")
    assert (OLD.identifier, words_said) in world.said or (how, met) == ("open", "a guest")
    world.said.clear()
    again = world.gives(how, OLD, *details, key="k", **named)
    assert (again.status, again.reason, again.member_id) == ("duplicate", "advanced", first.member_id)
    assert world.said == []


def test_a_flow_at_an_address_that_never_wrote_takes_the_first_answer(world: World):
    """A flow that is opened at a fresh address is the conversation there: the first message is its answer."""
    world.gives("open", OLD, survey, Answer("cake"), key="visit-7")
    outcome = world.shell.handle(Message(OLD, "1", "delicious"))
    assert words(outcome.replies)[0] == "Noted."
    assert world.shell.state(outcome.member_id).run.flow == "desk"  # type: ignore[union-attr]  # one is open
    kinds = [entry.kind for entry in world.shell.do("history", outcome.member_id)]
    assert kinds[0] == "open"


@pytest.mark.parametrize(
    "steps",
    [
        ["address", "guest", "login", "member", "address", "guest"],
        ["guest", "address", "login", "address", "member", "guest"],
        ["login", "member", "address", "member"],
        ["login", "address", "member", "address"],
        ["address", "login", "member", "address"],
    ],
    ids=" ".join,
)
def test_a_key_has_its_effect_once_whichever_name_the_member_has(world: World, steps: list[str]):
    """The same key, given to the address, to the guest on it and to the member they have become, has one effect."""
    names = {"address": OLD, "guest": world.says(OLD, "hi"), "member": "m-ann"}
    statuses: list[str] = []
    for step in steps:
        if step == "login":
            world.says(OLD, "ann")
        else:
            statuses.append(world.gives("tell", names[step], "Once.", key="k").status)
    assert statuses == ["advanced", *["duplicate"] * (len(statuses) - 1)]
    assert [text for _, text in world.said] == ["Once."]


def test_another_thing_under_the_key_of_an_address_is_refused(world: World):
    """A key that an address was given is used for one thing, also after the guest has become a member."""
    world.gives("tell", OLD, "Once.", key="k")
    world.says(OLD, "hi", "ann")
    outcome = world.gives("tell", OLD, "Another.", key="k")
    assert (outcome.status, outcome.reason, outcome.member_id) == ("refused", "key", "m-ann")


def test_a_system_without_the_right_uses_up_no_key_of_an_address(world: World):
    """A refused pull leaves the key free, at a fresh address, at a guest and at a member."""
    for texts in ((), ("hi",), ("ann", "note")):
        world.says(OLD, *texts) if texts else None
        key = f"k{len(texts)}"
        assert world.gives("trigger", OLD, "greet", "Ann", key=key, by="another").status == "refused"
        assert world.gives("trigger", OLD, "greet", "Ann", key=key, by="crm").status == "advanced"


def test_any_name_of_a_member_is_an_address(world: World):
    """A member whom a channel knows by several names is reached by each, under one key."""
    world.says(Channel("whatsapp", OLD.identifier, {"names": [USER]}), "hi", "ann", "note")
    names = [OLD, Channel("whatsapp", USER), Channel("whatsapp", USER, {"names": [OLD.identifier]})]
    outcomes = [world.gives("tell", name, "Once.", key="k") for name in names]
    assert [each.status for each in outcomes] == ["advanced", "duplicate", "duplicate"]
    assert {each.member_id for each in outcomes} == {"m-ann"}


def test_names_of_several_members_lead_to_none(world: World):
    """An address whose names belong to two members is not guessed at, and neither member is told."""
    world.says(OLD, "hi", "ann")
    world.says(Channel("whatsapp", USER), "hi", "ben")
    both = Channel("whatsapp", OLD.identifier, {"names": [USER]})
    outcome = world.gives("open", both, "survey", key="k")
    assert (outcome.status, outcome.reason) == ("ignored", "several members")
    assert world.said == []


def test_the_former_owner_of_an_address_is_not_told(world: World):
    """What is given to an address that has left its member begins a conversation with the guest on it."""
    world.says(OLD, "hi", "ann", "note")
    world.shell.do("unlink", "m-ann", OLD)
    before = world.shell.state("m-ann")
    outcome = world.gives("tell", OLD, "Your code is 17.", key="k")
    assert is_guest_id(outcome.member_id or "")
    assert world.said == [(OLD.identifier, "Your code is 17.")]
    assert world.shell.state("m-ann") == before


def test_an_index_that_still_leads_to_the_former_owner_tells_none(world: World):
    """While the index leads to a member who has let the address go, nothing is said, and the key stays free."""
    world.says(OLD, "hi", "ann", "note")
    world.shell.do("unlink", "m-ann", OLD)
    place = world.shell.manager.bot.route(OLD)
    world.store.perform(Link(place, "m-ann", None))
    outcome = world.gives("tell", OLD, "Your code is 17.", key="k")
    assert (outcome.status, outcome.reason) == ("ignored", "unknown member")
    world.store.perform(Unlink(place, "m-ann"))
    assert world.gives("tell", OLD, "Your code is 17.", key="k").status == "advanced"
    assert world.said == [(OLD.identifier, "Your code is 17.")]


def test_a_guest_who_is_forgotten_is_met_again(world: World):
    """A guest of whom only the audit is kept begins anew with what is given to the address."""
    world.says(OLD, "hi")
    world.clock.at += 3 * 86_400
    outcome = world.gives("open", OLD, "survey", key="k")
    assert (outcome.status, world.said) == ("advanced", [(OLD.identifier, "Was the tea good?")])


def test_a_promotion_on_the_way_is_followed():
    """A guest who becomes a member while something is on its way to the address is told as the member, once."""
    world = World()
    world.says(OLD, "hi")
    watched = Watched(world.store)
    with Shell("sync", Bot([desk, survey]), watched) as other:
        looked: list[Request] = []

        def before(request: Request) -> None:
            if isinstance(request, Load) and not looked:
                looked.append(request)
                world.says(OLD, "ann")

        watched.before = before
        outcomes = [other.do("tell", OLD, "Once.", key="k") for _ in range(2)]
    assert [(each.status, each.member_id) for each in outcomes] == [("advanced", "m-ann"), ("duplicate", "m-ann")]


def test_accounts_are_told_apart():
    """An address of one account of the bot reaches the conversation with that account and no other."""
    world = World(accounts="separate")
    here, there = OLD.with_account("shop"), OLD.with_account("bank")
    world.says(here, "hi")
    outcomes = [world.gives("tell", place, "Once.", key="k") for place in (here, there)]
    assert [each.status for each in outcomes] == ["advanced", "advanced"]
    assert outcomes[0].member_id != outcomes[1].member_id


@pytest.mark.parametrize("whom", [5, None, b"m", Channel("pigeon", "1"), ["m"], ""], ids=repr)
@pytest.mark.parametrize("how", ["tell", "open", "trigger"])
def test_what_is_no_member_and_no_address_is_refused(world: World, how: str, whom: object):
    """Neither an id nor an address, and an address of an unknown channel, raise an error that says so."""
    named = {"by": "crm"} if how == "trigger" else {}
    with pytest.raises(InvalidMessage, match=r"channel type|member"):
        world.gives(how, whom, "greet", key="k", **named)
    assert world.store.perform(Scan()) == ()


def test_a_person_may_write_first():
    """A conversation with an address that never wrote is handed over to a person, who writes, and is given back."""
    shell = Shell(
        "sync", Bot([desk, survey], inboxes=[Inbox("help")]), MemoryStore(Clock(), secret=STORE_SECRET),
        inboxes={"help": lambda passed: Sent()},
    )  # fmt: skip
    statuses = [
        shell.do("hand_over", NEW, "help", key="1", by="ben").status,
        shell.do("say", NEW, "Good morning", key="2", by="ben").status,
        shell.do("hand_back", NEW, key="3", by="ben").status,
    ]
    assert statuses == ["advanced"] * 3


@given(st.lists(st.sampled_from(["give 1", "give 2", "login", "unlink", "open 3"]), max_size=8))
@examples(15)
def test_a_key_at_an_address_has_its_effect_once_in_every_order(steps: list[str]):
    """Whatever becomes of the address, each key says its words once to each of the speakers that it leads to."""
    world = World()
    speakers: set[str] = set()
    for number, step in enumerate(steps):
        if step == "login":
            world.says(OLD, "hi", f"p{number}")
        elif step == "unlink":
            owner = world.shell.do("member_of", OLD)
            if owner is not None and not is_guest_id(owner):
                world.shell.do("unlink", owner, OLD)
                speakers.add(owner)
        elif step.startswith("open"):
            world.gives("open", OLD, "survey", Answer(step), key=step)
        else:
            outcome = world.gives("tell", OLD, step, key=step)
            assert outcome.status in ("advanced", "duplicate")
            again = world.gives("tell", OLD, step, key=step)
            assert (again.status, again.member_id) == ("duplicate", outcome.member_id)
    for text in ("give 1", "give 2"):
        assert [said for _, said in world.said].count(text) <= 1 + len(speakers)


# At one of several addresses of a member ------------------------------------------------------------------------------

CHAT = Channel("telegram", "77")


def two_places(world: World) -> None:
    """Let a member log in at two addresses, and be heard at the second one last."""
    world.says(OLD, "hi", "ann", "note")
    world.says(CHAT, "hi", "ann", "note")
    world.said.clear()


@pytest.mark.parametrize(("how", "details", "named", "words_said"), GIFTS)
@pytest.mark.parametrize("place", [OLD, CHAT], ids=["heard before", "heard last"])
def test_what_names_an_address_of_a_member_goes_there(
    world: World, place: Channel, how: str, details: Any, named: Any, words_said: str
):
    """Of several addresses of a member, words go to the one that the caller names; the conversation stays."""
    two_places(world)
    assert world.gives(how, place, *details, key="k", **named).status == "advanced"
    assert world.said == [(place.identifier, words_said)] or how == "open"
    assert world.shell.state("m-ann").channel.identifier == CHAT.identifier
    world.clock.at += 5  # the pace of Telegram
    world.gives("tell", "m-ann", "For you.", key="2")
    assert world.said[-1] == (CHAT.identifier, "For you.")


def test_words_for_one_address_wait_for_it_alone(world: World):
    """Undelivered words wait for a worker or for a message from their address. They hold up no others."""
    two_places(world)
    quiet = Shell("sync", world.shell.manager.bot, world.store)
    quiet.manager._base.clock.follow(world.clock)
    quiet.do("tell", OLD, "To the old one.", key="1")
    quiet.do("tell", "m-ann", "To you.", key="2")
    said = words(quiet.handle(quiet.message("note", channel=CHAT)).replies)
    assert (said[0], "To the old one." in said) == ("To you.", False)
    quiet.do("tell", "m-ann", "More.", key="3")
    world.shell.wake("m-ann")
    assert sorted(world.said) == sorted([(OLD.identifier, "To the old one."), (CHAT.identifier, "More.")])
    quiet.do("tell", OLD, "Again.", key="4")
    assert words(quiet.handle(quiet.message("ann", channel=OLD)).replies)[0] == "Again."
    quiet.close()


def test_words_for_an_address_that_is_unlinked_go_where_the_member_is(world: World):
    """What waits for an address is not said there once it is another person's."""
    two_places(world)
    quiet = Shell("sync", world.shell.manager.bot, world.store)
    quiet.manager._base.clock.follow(world.clock)
    quiet.do("tell", OLD, "To the old one.", key="1")
    quiet.do("unlink", "m-ann", OLD)
    world.shell.wake("m-ann")
    assert world.said == [(CHAT.identifier, "To the old one.")]
    quiet.close()


@pytest.mark.parametrize("by", ["a message", "a worker"])
def test_words_for_an_address_find_it_when_its_account_is_known(world: World, by: str):
    """Words for an address whose account nobody has told are for the same address with its account."""
    two_places(world)
    quiet = Shell("sync", world.shell.manager.bot, world.store)
    quiet.manager._base.clock.follow(world.clock)
    quiet.do("tell", OLD, "To the old one.", key="1")
    if by == "a message":
        answer = quiet.handle(quiet.message("ann", channel=OLD.with_account("one")))
        assert words(answer.replies)[0] == "To the old one."
    else:
        quiet.do("update", "m-ann", lambda each: attrs.evolve(
            each, channels=tuple(attrs.evolve(address, account="one") for address in each.channels)
        ))  # fmt: skip
        world.shell.wake("m-ann")
        assert world.said == [(OLD.identifier, "To the old one.")]
    quiet.close()


@pytest.mark.parametrize("answer", [Later(30), RuntimeError("down")], ids=["later", "raises"])
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_words_about_a_fact_are_repeated_where_the_fact_was_told(kind: Any, answer: Any):
    """A reaction's words that the channel has not taken are sent again to the address of the fact, by a worker too."""
    clock, taken, answers = Clock(), list[tuple[str, str]](), list[Any]()

    def send(channel: Channel, replies: Sequence[Reply]) -> Any:
        failed = answers.pop() if answers else None
        if isinstance(failed, Exception):
            raise failed
        if failed is None:
            taken.extend((channel.identifier, text) for text in words(replies))
        return failed or Sent()

    async def send_later(channel: Channel, replies: Sequence[Reply]) -> Any:
        return send(channel, replies)

    sender = send if kind == "sync" else send_later
    bot = Bot([desk, survey], windows={}, on={Reacted: lambda turn, fact: Text("Thanks.")})
    shell = Shell(kind, bot, MemoryStore(clock, secret=STORE_SECRET), senders={"whatsapp": sender, "telegram": sender})
    shell.manager._base.clock.follow(clock)
    for place in (OLD, CHAT):
        for text in ("hi", "ann", "note"):
            shell.handle(shell.message(text, channel=place))
    taken.clear()
    answers.append(answer)
    shell.do("handle_event", Reacted(id="r", channel=OLD, message_id="m"))
    assert taken == []
    shell.handle(shell.message("note", channel=CHAT))
    taken.clear()
    clock.at += 60
    shell.wake("m-ann")
    assert taken == [(OLD.identifier, "Thanks.")]
    shell.close()
