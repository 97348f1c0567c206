"""Documents of a flow that the bot never had: every way to reach one leaves it as it is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import attrs
import pytest
from hypothesis import given

from tests.changed_flows import WAYS, Errand1, pick
from tests.digests import guest_id
from tests.engine.test_upgrade import last, old_documents, place, standing
from tests.runtime.test_between import kept, spoil
from vimbiso_fsm import (
    AsyncFlowStateManager,
    Bot,
    Flow,
    FlowError,
    FlowStateManager,
    ForeignState,
    State,
    Text,
    Transition,
    Worker,
)
from vimbiso_fsm.document.codec import encode
from vimbiso_fsm.document.document import Document, Moved, Suspended, first_document
from vimbiso_fsm.engine.reading import Foreign, Sound, open_document
from vimbiso_fsm.operations.cache import Cache
from vimbiso_fsm.operations.census import Census
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.operations.promote import promote
from vimbiso_fsm.store.memory import AsyncMemoryStore
from vimbiso_fsm.store.requests import Broken, Commit, Conflict, Head, Inherited, Load, Quarantine, Stored
from vimbiso_fsm.testing.chat import CHANNEL, START, Chat, Held

_ASK: Flow[Any] = Flow(
    "clinic", initial="which",
    states=[State("which", ask=Text("Which doctor?")), State("booked", say=Text("Booked."), final=True)],
    transitions=[Transition("yes", "which", "booked")],
)  # fmt: skip
STRANGER = Bot(_ASK)
"""A bot that shares no flow with the bot of the errand."""


def stranger(chat: Chat) -> Chat:
    """Return the same members, met by a bot that never had their flows."""
    chat.bot, chat.cache = STRANGER, Cache(100)
    return chat


def manager_of(chat: Chat) -> FlowStateManager:
    """Return a manager of the bot on the store of the chat."""
    return FlowStateManager(chat.bot, chat.store)


WAYS_IN: dict[str, Callable[[Chat], object]] = {
    "a message": lambda chat: chat.say("yes"),
    "a press": lambda chat: chat.handle(chat.message(choice="12345678.3.yes")),
    "wake": lambda chat: chat.wake(),
    "state": lambda chat: manager_of(chat).state("m-1"),
    "recover": lambda chat: manager_of(chat).recover("m-1"),
    "recover to a version": lambda chat: manager_of(chat).recover("m-1", to=1),
    "reset": lambda chat: manager_of(chat).reset("m-1"),
    "wipe": lambda chat: manager_of(chat).wipe("m-1"),
    "update": lambda chat: manager_of(chat).update("m-1", lambda document: document),
}


@pytest.mark.parametrize("way", WAYS_IN)
@pytest.mark.parametrize("step", ["handle", "picking", "paying"])
def test_no_way_touches_a_document_of_an_unknown_flow(step: str, way: str):
    """Nothing that a message, a worker or an operator does changes one byte of it, also after any time."""
    chat = stranger(standing(step))
    for wait in (0.0, 7200.0):
        chat.wait(wait)
        before = kept(chat)
        with pytest.raises(ForeignState, match="never had") as error:
            WAYS_IN[way](chat)
        assert error.value.member_id == "m-1"
        assert set(error.value.flows) <= {"home", "errand", "pick"}
        assert kept(chat) == before


@given(old_documents())
def test_any_sound_document_of_another_bot_is_left_alone(document: Document):
    """A document is foreign to a bot that had none of its flows, with any runs, data and bookkeeping."""
    runs = (*document.suspended, *([document.run] if document.run else []))
    stored = Stored(Head(document.version, "d"), encode(document), START.timestamp())
    reading = open_document(STRANGER, document.member_id, stored, START)
    assert isinstance(reading, Foreign) == bool(runs)
    if isinstance(reading, Foreign):
        assert set(reading.error.flows) == {run.flow for run in runs}
        census = Census(STRANGER)
        census.add(encode(document))
        assert document.moved or {place.how for place in census.lost} == {"foreign"}


def test_the_reply_says_that_nothing_was_changed():
    """The reply says that nothing was changed, and the sentence for the operator says what to do."""
    chat = stranger(standing("confirm"))
    with FlowStateManager(chat.bot, chat.store) as manager, pytest.raises(ForeignState) as error:
        manager.handle(chat.message("yes"))
    assert error.value.reply.startswith("Your last conversation here belongs to a part of our service")
    assert error.value.reference in error.value.reply
    assert "Bot(dropped=['home', 'errand'])" in str(error.value)


def test_a_member_goes_on_when_the_right_bot_comes():
    """The message that another bot could not take is taken by the right one."""
    chat = standing("confirm")
    bot = chat.bot
    message = stranger(chat).message("yes")
    with pytest.raises(ForeignState):
        chat.handle(message)
    chat.bot, chat.cache = bot, Cache(100)
    assert chat.handle(message).status == "advanced"
    assert chat.words == ["Paid, as of old.", "At home."]


def test_both_shells_leave_it_alone():
    """The async manager raises the same error with the same words."""
    chat = stranger(standing("confirm"))

    async def awaited() -> ForeignState:
        manager = AsyncFlowStateManager(chat.bot, AsyncMemoryStore(chat.store))
        with pytest.raises(ForeignState) as error:
            await manager.handle(chat.message("yes"))
        return error.value

    before = kept(chat)
    assert "Nothing was changed" in asyncio.run(awaited()).reply
    assert kept(chat) == before


def test_a_worker_rests_from_such_a_member(caplog: pytest.LogCaptureFixture):
    """A worker leaves the wake-up to the right bot's workers, and does not come back at once."""
    chat = stranger(standing("handle"))
    chat.wait(7200)
    due: Any = Worker(manager_of(chat), every=0.01)
    for waking in due.round():
        waking.result()
    assert due._resting.keys() == {"m-1"}
    assert "ForeignState" in caplog.text
    assert chat.wakes_at() is not None
    due.leave()


def test_damage_is_left_to_the_bot_whose_document_came_before():
    """A damaged document is not repaired by a bot that never had the flow of the one before it."""
    chat = standing("confirm")
    bot = chat.bot
    spoil(stranger(chat), previous=chat.stored().document)
    before = kept(chat)
    for way in ("a message", "recover"):
        with pytest.raises(ForeignState):
            WAYS_IN[way](chat)
        assert kept(chat) == before
    chat.bot, chat.cache = bot, Cache(100)
    assert chat.say("okay").status == "recovered"
    assert place(chat) == "errand.confirm 1"


def test_a_key_of_a_wrong_type_is_left_to_that_bot_too():
    """The previous document also tells whose a key of a wrong type is."""
    chat = stranger(standing("confirm"))
    stored = chat.stored()
    exchange = chat.begin(chat.message("yes"))
    while not isinstance(exchange.request, Load):
        chat.step(exchange)
    with pytest.raises(ForeignState):
        exchange.take(Broken(stored.head, "state is a list", chat.clock.at, stored.document))
    assert not isinstance(exchange.request, Quarantine)


def test_a_guest_is_not_merged_into_it():
    """The promotion of a guest stops at a member whose document is foreign, and can be completed later."""
    chat = stranger(standing("confirm"))
    guest = first_document(guest_id(CHANNEL), CHANNEL, START, CHANNEL.address, version=3)
    guest = attrs.evolve(guest, moved=Moved("m-1", 3))
    held = Held(Context(chat.bot, Cache(), START.timestamp()), partial(promote, guest=guest, head=Head(3, "x")))
    held.take(Inherited())
    assert isinstance(held.request, Commit)
    with pytest.raises(ForeignState):
        held.take(Conflict(chat.stored()))


def test_a_broken_name_of_a_flow_is_damage():
    """A name that differs from that in the id of its run is damage, and is repaired."""
    chat = standing("confirm")
    data = chat.stored().document
    assert data is not None
    spoil(chat, data.replace(b'"flow_type":"errand"', b'"flow_type":"arrand"'), previous=data)
    assert chat.say("okay").status == "recovered"


# Flows that the bot had ----------------------------------------------------------------------------------------------


def home_without(**options: Any) -> Bot:
    """Return the bot of the errand in a release that has dropped it."""
    home: Flow[Any] = Flow(
        "home", initial="menu",
        states=[State("menu", ask=Text("At home.")), State("running", ask=Text("Which one?"))],
        transitions=[Transition("go", "menu", "running"), Transition("back_home", "running", "menu")],
    )  # fmt: skip
    return Bot([home], **options)


DROPPED = home_without(dropped=["errand", "pick"])


@pytest.mark.parametrize("step", [step for step in WAYS if step != "paying"])
def test_a_run_of_a_dropped_flow_ends_with_a_notice(step: str):
    """The run that waits for it goes on, the member is told once, and the audit names what ended."""
    chat = standing(step)
    chat.bot, chat.cache = DROPPED, Cache(100)
    chat.say("hello there")
    assert chat.words[:2] == ["What you had begun is no longer offered here, so it has ended.", "Which one?"]
    assert chat.words.count(chat.words[0]) == 1
    assert place(chat) == "home.running 1"
    ended = [note["flow"] for note in last(chat).detail["migrated"] if note["how"] == "dropped"]
    assert ended == (["errand", "pick"] if step == "picking" else ["errand"])
    assert "no longer offered" not in " ".join(chat.say("menu").replies[0].text)


def test_a_dropped_flow_with_a_call_on_its_way_goes_the_way_of_damage():
    """The call may have an effect, so the member is told to check, as for any run that cannot be upgraded."""
    chat = standing("paying")
    chat.bot, chat.cache = DROPPED, Cache(100)
    assert chat.say("hello").status == "recovered"
    assert "check before you try again" in chat.words[0]


def test_a_dropped_flow_ends_at_the_rest():
    """A member without another run is greeted at home after the notice."""
    alone = Flow(
        "alone", data=Errand1, initial="handle",
        states=[State("handle", ask=Text("Whose?"), reads=str, into="handle"), State("end", final=True)],
        transitions=[Transition("answer", "handle", "end")],
    )  # fmt: skip
    chat = Chat(Bot(alone))
    chat.say("hi")
    chat.bot, chat.cache = Bot(_ASK, dropped=["alone"]), Cache(100)
    chat.say("@ada")
    assert chat.words == ["What you had begun is no longer offered here, so it has ended.", "Which doctor?"]


@given(old_documents())
def test_dropping_strands_no_document(document: Document):
    """A document whose runs are all of dropped flows is read, with no run of them left, unless a call is pending."""
    bot = Bot(_ASK, dropped=["home", "errand", "pick"])
    stored = Stored(Head(document.version, "d"), encode(document), START.timestamp())
    reading = open_document(bot, document.member_id, stored, START)
    assert isinstance(reading, Sound) == (document.call is None)
    if isinstance(reading, Sound):
        assert (reading.document.run, reading.document.suspended) == (None, ())


@pytest.mark.parametrize("waits", [Suspended.SUBFLOW, Suspended.OFFERED_BACK, Suspended.LOGIN])
def test_a_run_begun_for_a_dropped_flow_ends_with_it(waits: Suspended):
    """A run above a dropped one, which was begun for it, ends too; only one that interrupted it stays."""
    document = standing("picking").document()
    home, dropped = document.suspended
    above = attrs.evolve(document, suspended=(home, attrs.evolve(dropped, waits=waits)))
    interrupted = attrs.evolve(document, suspended=(home, attrs.evolve(dropped, waits=Suspended.INTERRUPTED)))
    bot = Bot([*home_without().flows[:1], pick], dropped=["errand"])
    for given_document, left in ((above, ["home"]), (interrupted, ["home", "pick"])):
        stored = Stored(Head(document.version, "d"), encode(given_document), START.timestamp())
        reading = open_document(bot, "m-1", stored, START)
        assert isinstance(reading, Sound)
        runs = (*reading.document.suspended, reading.document.run)
        assert [run.flow for run in runs if run] == left


def test_a_dropped_flow_is_declared_once():
    """A flow is dropped or there; a text in place of a list is refused, since its letters are no flows."""
    with pytest.raises(FlowError, match="dropped and among the flows"):
        Bot(_ASK, dropped=["clinic"])
    with pytest.raises(FlowError, match=r"dropped=\['errand'\]"):
        Bot(_ASK, dropped="errand")
