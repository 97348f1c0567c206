"""Bad input beside messages that are words: contents, facts, keys and answers of senders, each with a clear answer.

Each is tried at a sync and an async manager. Nothing is lost by it, and nothing raises but what the caller did wrong.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import attrs
import pytest

from tests.operations.test_give_at import World, survey
from tests.operations.test_handle_event import OLD
from tests.shells import Shell
from vimbiso_fsm import Bot, Channel, Flow, FlowError, Message, NoData, State, Text, Transition
from vimbiso_fsm.channels import (
    AddressChanged,
    Blocked,
    BusinessConnected,
    Called,
    ChatOpened,
    Deleted,
    Edited,
    OptedOut,
    OtherFact,
    Paid,
    Reacted,
    SaidElsewhere,
    StatusChanged,
)
from vimbiso_fsm.errors import InvalidMessage
from vimbiso_fsm.flow.inboxes import Inbox
from vimbiso_fsm.messages import content_readers as readers
from vimbiso_fsm.messages.contents import Attachment, Contact, Contacts, Form, Location, Order, OrderItem, Referral
from vimbiso_fsm.messages.readers import either
from vimbiso_fsm.messages.replies import Reply, Template
from vimbiso_fsm.messages.sending import Never, Sent
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.store.requests import Scan
from vimbiso_fsm.testing.chat import STORE_SECRET, Clock, words

LONG = "x" * 10_240
KINDS = pytest.mark.parametrize("kind", ["sync", "async"])


@pytest.fixture(params=["sync", "async"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """A sync and an async manager, with an inbox of people."""
    made = World(request.param, inboxes=[Inbox("help")])
    yield made
    made.shell.close()


# Contents -------------------------------------------------------------------------------------------------------------

CONTENTS: dict[str, Any] = {
    "location": Location(-17.8, 31.0),
    "photo": Attachment("image", "i1", "image/jpeg"),
    "voice": Attachment("audio", "a1", "audio/ogg"),
    "contact": Contacts((Contact("Ada", ("+263771000001",)),)),
    "form": Form({"amount": "12"}),
    "order": Order((OrderItem("tea", 2),)),
    "hologram": None,
}
"""Contents by name; None is a kind of tomorrow, which carries nothing that can be read."""
READERS: dict[str, tuple[Any, set[str]]] = {
    "location": (readers.location, {"location"}),
    "photo": (readers.photo, {"photo"}),
    "contact": (readers.contact, {"contact"}),
    "text": (str, set()),
    "photo or location": (either(readers.photo, readers.location), {"photo", "location"}),
}


@KINDS
@pytest.mark.parametrize("name", READERS)
def test_a_content_of_the_wrong_kind_is_refused_in_words(name: str, kind: Any):
    """Each content that a state does not read is refused and counted, and the run stands where it stood."""

    @attrs.frozen
    class Data:
        """The data of the flow."""

        value: Any = None

    reader, takes = READERS[name]
    flow = Flow(
        "f", data=Data, initial="asked",
        states=[
            State("asked", ask=Text("What?"), reads=reader, into="value"),
            State("end", say=Text("Thanks."), final=True),
        ],
        transitions=[Transition("answer", "asked", "end")],
    )  # fmt: skip
    for wrong, content in CONTENTS.items():
        if wrong in takes:
            continue
        with Shell(kind, Bot(flow), MemoryStore(Clock(), secret=STORE_SECRET)) as shell:
            shell.handle(Message(OLD, "0", "hi"))
            carried: dict[str, Any] = {"content": content} if content is not None else {"kind": wrong}
            outcome = shell.handle(Message(OLD, "1", **carried))
            assert (outcome.status, len(outcome.replies)) == ("refused", 2), wrong
            assert words(outcome.replies)[-1] == "What?"
            run = shell.state(outcome.member_id).run
            assert (run.step, run.attempts) == ("asked", 1)  # type: ignore[union-attr]  # one is open
            again = shell.handle(Message(OLD, "1", **carried))
            assert (again.status, words(again.replies)) == ("duplicate", words(outcome.replies))


# Long and senseless values --------------------------------------------------------------------------------------------

LONG_VALUES: dict[str, Callable[[], object]] = {
    "the id of a message": lambda: Message(OLD, LONG, "hi"),
    "an address": lambda: Channel("whatsapp", LONG),
    "a type of channel": lambda: Channel(LONG, "1"),
    "the id of a message that was replied to": lambda: Message(OLD, "1", "hi", replied_to=LONG),
    "a parameter of a link": lambda: Message(OLD, "1", "hi", payload=LONG),
    "the id of a file": lambda: Attachment("image", LONG, "image/jpeg"),
    "the type of a file": lambda: Attachment("image", "1", LONG),
    "the id of an item": lambda: OrderItem(LONG, 1),
    "the id of an advertisement": lambda: Referral("ad", LONG),
    "the id of a fact": lambda: OtherFact(id=LONG, kind="x"),
    "the kind of a fact": lambda: OtherFact(id="1", kind=LONG),
    "the message of a status": lambda: StatusChanged(id="1", message_id=LONG, status="failed"),
    "the code of a status": lambda: StatusChanged(id="1", message_id="1", status="failed", code=LONG),
    "a new address": lambda: AddressChanged(id="1", new=LONG),
    "the id of a call": lambda: Called(id="1", call_id=LONG),
    "the reference of a payment": lambda: Paid(id="1", reference=LONG),
    "no text as an id": lambda: OtherFact(id=5, kind="x"),  # type: ignore[arg-type]  # that is refused
    "no text as a message": lambda: StatusChanged(id="1", message_id=b"1"),  # type: ignore[arg-type]  # likewise
    "no channel": lambda: Message("263771000001", "1", "hi"),  # type: ignore[arg-type]  # likewise
}


@pytest.mark.parametrize("name", LONG_VALUES)
def test_a_value_of_ten_kilobytes_is_refused_when_it_is_made(name: str):
    """An id that no channel gives is refused with the name of its field, and the error quotes nothing of it."""
    with pytest.raises(InvalidMessage) as raised:
        LONG_VALUES[name]()
    assert LONG[:100] not in str(raised.value)
    assert "263771000001" not in str(raised.value)


@pytest.mark.parametrize("how", ["tell", "open", "trigger", "hand_over", "say", "hand_back"])
@pytest.mark.parametrize("key", [LONG, "", " ", "a\nb", 5, None], ids=["long", "empty", "blank", "line", "int", "none"])
def test_a_senseless_key_is_refused_before_anything_is_asked(world: World, how: str, key: Any):
    """A key of 10 kB, an empty one and one that is no text raise an error, and store nothing."""
    details, named = GIVEN[how]
    with pytest.raises(InvalidMessage, match="key"):
        world.gives(how, OLD, *details, key=key, **named)
    assert world.store.perform(Scan()) == ()


# Facts ----------------------------------------------------------------------------------------------------------------

FACTS = [
    StatusChanged(id="1", channel=OLD, message_id="wamid.Z", status="failed", code="131026"),
    StatusChanged(id="2", channel=OLD, message_id="wamid.Z", status="read"),
    StatusChanged(id="3", channel=OLD, message_id="wamid.Z", status="dreamt"),
    Reacted(id="4", channel=OLD, message_id="wamid.Z", emoji="x"),
    Edited(id="5", channel=OLD, message_id="wamid.Z", text="20"),
    Deleted(id="6", channel=OLD, message_id="wamid.Z"),
    Blocked(id="7", channel=OLD),
    OptedOut(id="8", channel=OLD),
    AddressChanged(id="9", channel=OLD, new="263771000002"),
    Paid(id="10", channel=OLD),
    Called(id="11", channel=OLD, call_id="c", status="connect"),
    SaidElsewhere(id="12", channel=OLD, place="tomorrow"),
    BusinessConnected(id="13", channel=OLD, connection="b"),
    OtherFact(id="14", channel=OLD, kind="hologram"),
]
EVERY = {type(fact): lambda turn, fact: Text("Heard.") for fact in FACTS}


@pytest.mark.parametrize("reacts", [False, True], ids=["without reactions", "with reactions"])
@KINDS
def test_facts_of_unknown_members_store_nothing(kind: Any, reacts: bool):
    """A fact of any class about an address that never wrote, or about none, is ignored with a reason."""
    world = World(kind, **({"on": EVERY} if reacts else {}))
    for fact in FACTS:
        for told in (fact, attrs.evolve(fact, channel=None)):
            outcome = world.shell.do("handle_event", told)
            assert (outcome.status, outcome.reason) in {("ignored", "unknown member"), ("ignored", "no reaction")}
    assert world.store.perform(Scan()) == ()
    assert world.shell.do("handle_event", ChatOpened(id="15", channel=OLD)).status == "advanced"
    world.shell.close()


def test_facts_without_a_reaction_leave_a_member_as_they_are(world: World):
    """What a channel tells of messages that were never sent, and facts of tomorrow, change nothing at a member."""
    member_id = world.says(OLD, "hi", "ann")
    before = world.shell.state(member_id)
    for fact in FACTS:
        if not isinstance(fact, Blocked | OptedOut | AddressChanged):
            outcome = world.shell.do("handle_event", fact)
            assert (outcome.status, outcome.replies) == ("ignored", ())
    assert world.shell.state(member_id) == before
    assert world.shell.do("incidents", member_id) == ()


def test_the_id_of_a_fact_that_is_used_for_another_one_is_refused(world: World):
    """The same id with other facts has no effect, and an incident says so."""
    member_id = world.says(OLD, "hi", "ann")
    blocked = Blocked(id="7", channel=OLD)
    assert world.shell.do("handle_event", blocked).status == "advanced"
    assert world.shell.do("handle_event", attrs.evolve(blocked, blocked=False)).status == "refused"
    assert [incident.kind for incident in world.shell.do("incidents", member_id)] == ["mismatch"]
    assert world.shell.state(member_id).is_opted_out(world.shell.manager.bot.route(OLD).address)


@pytest.mark.parametrize("value", [None, "fact", 5, {"id": "1"}, Message(OLD, "1", "hi")], ids=type)
def test_what_is_no_fact_is_refused(world: World, value: Any):
    """`handle_event` takes facts only, and says what it was given."""
    with pytest.raises(InvalidMessage, match="takes a fact"):
        world.shell.do("handle_event", value)


# Keys -----------------------------------------------------------------------------------------------------------------

GIVEN: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "tell": (("Hello",), {}),
    "open": ((survey,), {}),
    "trigger": (("greet", "Ann"), {"by": "crm"}),
    "hand_over": (("help",), {"by": "ben"}),
    "say": (("Hello",), {"by": "ben"}),
    "hand_back": ((), {"by": "ben"}),
}


@pytest.mark.parametrize(("first", "second"), [*itertools.permutations(["tell", "open", "trigger", "hand_over"], 2)])
def test_a_key_that_is_used_for_two_things_is_refused(world: World, first: str, second: str):
    """The second thing under a key has no effect and is an incident; the first one stays and is repeated as it was."""
    member_id = world.says(OLD, "hi", "ann")
    (details, named), (others, more) = GIVEN[first], GIVEN[second]
    assert world.gives(first, OLD, *details, key="k", **named).status == "advanced"
    before = len(world.shell.do("history", member_id))
    outcome = world.gives(second, member_id, *others, key="k", **more)
    assert (outcome.status, outcome.reason) in {("refused", "key"), ("ignored", "busy")}
    if outcome.status == "refused":
        assert [incident.kind for incident in world.shell.do("incidents", member_id)] == ["mismatch"]
    assert len(world.shell.do("history", member_id)) == before
    assert world.gives(first, OLD, *details, key="k", **named).status == "duplicate"


# Templates ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("params", [5, None, "text", (5,), [None], {"a": 1}.values()], ids=repr)
def test_parameters_that_are_no_texts_are_refused(params: Any):
    """A template takes texts as its parameters, and an error says so when it is made."""
    with pytest.raises(FlowError, match="texts"):
        Template("seat", Text("Seat"), params)


@KINDS
def test_a_template_with_other_parameters_than_approved_is_given_up_once(kind: Any):
    """What the channel refuses for its parameters is audited with the code, told to a reaction, and not sent again."""
    seen: list[str] = []
    asked: list[str] = []

    def refuse(channel: Channel, replies: Sequence[Reply]) -> Any:
        asked.extend(reply.text for reply in replies)
        is_template = any(isinstance(reply, Template) for reply in replies)
        return Never("the number of parameters differs", code="132000") if is_template else Sent("wamid.B")

    flow: Flow[NoData] = Flow(
        "f", initial="asked",
        states=[
            State("asked", ask=Text("Go on?")),
            State("told", say=Template("seat", Text("Your seat"), ("A", "B"))),
            State("end", final=True),
        ],
        transitions=[Transition("yes", "asked", "told"), Transition("auto", "told", "end")],
    )  # fmt: skip
    bot = Bot(flow, on={StatusChanged: lambda turn, fact: seen.append(fact.code)})
    with Shell(kind, bot, MemoryStore(Clock(), secret=STORE_SECRET), senders={"whatsapp": refuse}) as shell:
        shell.handle(Message(OLD, "1", "hi"))
        told = shell.handle(Message(OLD, "2", "yes"))
        assert (told.status, told.sent) == ("advanced", False)
        entries = [entry.detail for entry in shell.do("history", told.member_id)]
        assert [detail["code"] for detail in entries if detail.get("answer") == "never"] == ["132000"]
        assert seen == ["132000"]
        assert shell.handle(Message(OLD, "2", "yes")).status == "duplicate"
        shell.handle(Message(OLD, "3", "hi"))
        assert asked.count("Your seat") == 1
