"""The census of live runs, and a deploy with a thousand of them."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import attrs
import pytest
from hypothesis import given

from tests.changed_flows import ANSWERS, FROM_1, WAYS, Till, bot_of, errand, errand_1
from tests.digests import guest_id
from tests.engine.test_upgrade import deploy, old_documents, standing
from tests.engines import Server
from tests.strategies import plain_values
from vimbiso_fsm import AsyncFlowStateManager, Bot, Channel, Message, Migration, ReplacedBy, State, Text, Transition
from vimbiso_fsm.audit.entries import unseal
from vimbiso_fsm.audit.flow_audit import FlowAuditLogger
from vimbiso_fsm.audit.trail import members
from vimbiso_fsm.document.codec import decode, encode
from vimbiso_fsm.document.document import Document, Moved
from vimbiso_fsm.document.json_codec import dumps
from vimbiso_fsm.engine.reading import faults
from vimbiso_fsm.flow.calls import ServiceLimits
from vimbiso_fsm.flow.flow import Flow
from vimbiso_fsm.operations.census import Census
from vimbiso_fsm.store.redis_atomic import AsyncAtomicStateManager, AtomicStateManager
from vimbiso_fsm.store.requests import Load, ReadAudit, Stored
from vimbiso_fsm.testing.chat import CHANNEL, STORE_SECRET, words

# The verdict -------------------------------------------------------------------------------------------------------


def census_of(bot: Bot, *documents: Document) -> Census:
    """Return a census of documents."""
    census = Census(bot)
    for document in documents:
        census.add(encode(document))
    return census


def verdicts(census: Census) -> set[tuple[str, str]]:
    """Return the way in which the runs of the changed flow continue, by state."""
    return {(place.step, place.words) for place in census.runs if place.flow == "errand"}


def test_each_place_has_the_fate_it_will_have():
    """The census names for each state of version 1 the way in which its runs continue."""
    documents = [standing(step).document() for step in WAYS]
    census = census_of(bot_of(errand()), *documents)
    assert verdicts(census) == {
        ("handle", "goes on at recipient, version 2"),
        ("name", "goes on at given, version 2"),
        ("colour", "goes on at picking, version 2"),
        ("picking", "goes on at picking, version 2"),
        ("wrap", "finishes on version 1"),
        ("gift", "begins again at recipient, version 2"),
        ("confirm", "goes on at confirm, version 2"),
        ("paying", "goes on at sending, version 2"),
    }
    assert census.lost == ()
    assert census.documents == len(WAYS)
    assert {place.step: count for place, count in census.calls.items() if count} == {"paying": 1}
    assert {(place.flow, place.standing) for place in census.runs} == {
        ("home", "suspended"),
        ("errand", "current"),
        ("errand", "suspended"),
        ("pick", "current"),
    }


def test_a_place_without_a_mapping_is_named():
    """A state is lost without a migration, with one that loses its call, or if its state or flow is gone."""
    documents = [standing(step).document() for step in ("colour", "paying")]
    census = census_of(bot_of(errand([])), *documents)
    assert {place.words for place in census.lost} == {
        "NO MAPPING: no migration leads from version 1: declare Migration(1, …)"
    }
    loses = attrs.evolve(FROM_1, steps={**FROM_1.steps, "paying": ReplacedBy("confirm")})
    census = census_of(bot_of(errand([loses])), *documents)
    assert [(place.step, place.fault) for place in census.lost] == [
        ("paying", "its call is on its way, and would be lost")
    ]
    unnamed = errand([Migration(1, data=FROM_1.data, steps={"paying": "sending"})])
    assert [(place.step, place.fault) for place in census_of(bot_of(unnamed), *documents).lost] == [
        ("colour", "its step is gone")
    ]
    alone = Bot([Flow("home", initial="menu", states=[State("menu", ask=Text("M")), State("running", final=True)],
                      transitions=[Transition("go", "menu", "running")])])  # fmt: skip
    assert [(place.flow, place.fault) for place in census_of(alone, *documents).lost] == [
        ("errand", "this bot never had its flow; if it had, name it in Bot(dropped=…)"),
        ("errand", "this bot never had its flow; if it had, name it in Bot(dropped=…)"),
    ]


def test_a_version_declared_otherwise_is_pointed_out():
    """A version that is declared otherwise than when its runs were stepped is reported, and not as lost."""
    document = standing("confirm").document()
    assert document.run is not None
    changed = attrs.evolve(document, run=attrs.evolve(document.run, fingerprint="another"))
    census = census_of(bot_of(errand_1), document, changed)
    assert verdicts(census) == {("confirm", "unchanged"), ("confirm", "unchanged, though declared otherwise")}
    assert census.lost == ()


def test_a_call_whose_step_is_declared_otherwise_is_found():
    """A run with a pending call is lost if its state makes no call any more, even within one version."""
    document = deploy(standing("paying"), errand()).document()
    assert document.run is not None
    changed = attrs.evolve(document, run=attrs.evolve(document.run, step="confirm"))
    census = census_of(bot_of(errand_1), changed)
    assert [place.fault for place in census.lost] == ["its call is pending, and its state makes no call any more"]


def test_a_rolled_back_deploy_is_found():
    """Runs of a version that the bot does not declare are found."""
    chat = deploy(standing("confirm"), errand())
    chat.say("help")
    census = census_of(bot_of(errand_1), chat.document())
    assert [place.fault for place in census.lost] == [
        "it is of version 2, and Flow('errand', version=1) is older: was a deploy rolled back?"
    ]


def test_broken_documents_are_counted_and_quote_nothing():
    """Damaged documents are counted by their first fault, without values; a promoted guest has no runs."""
    census = Census(bot_of(errand()))
    for data in (b"{", b"[]", b"{", dumps({**attrs.asdict(Moved("m", 1))})):
        census.add(data)
    census.add_broken("a key is of a wrong type")
    lost_token = attrs.evolve(standing("name").document(), jwt_token=None, authenticated=True)
    census.add(encode(lost_token))
    moved = attrs.evolve(standing("name").document(), moved=Moved("m-2", 3))
    census.add(encode(moved))
    assert census.documents == 7
    assert census.broken.total() == 6
    assert census.runs.total() == 0
    assert CHANNEL.identifier not in str(census.broken)


@given(old_documents())
def test_the_census_agrees_with_reading(document: Document):
    """A document without a lost run or a fault is read by the bot, and any other is not.

    The exception is a pending call in a version that is declared otherwise, whose result could not be taken.
    """
    bot = bot_of(errand())
    census = census_of(bot, document)
    found, _ = faults(bot, encode(document))
    if found is not None and found.call is not None and not census.broken:
        assert [place.fault for place in census.lost] in (
            [],
            ["its call is pending, and its state makes no call any more"],
        )
    else:
        assert (found is None) == bool(census.lost or census.broken)


@given(plain_values)
def test_anything_is_counted(raw: Any):
    """No stored bytes stop a census."""
    census = Census(bot_of(errand()))
    census.add(dumps(raw))
    assert census.broken.total() == 1


# A thousand runs ---------------------------------------------------------------------------------------------------

RUNS = 1_000
STILL = 60.0
"""Seconds for which a crowded machine may stand still without an answer that is given up."""
MORE_WAYS = {
    **WAYS,
    "name, gone back to": (*WAYS["colour"], "back"),
    "colour, left for the menu": (*WAYS["colour"], "menu"),
    "confirm, left for the menu": (*WAYS["confirm"], "menu"),
}
"""The states of the runs at the deploy, also after `back` and suspended."""
ENDS = {
    "handle": ("migrated", "Paid."),
    "name": ("migrated", "Paid."),
    "colour": ("migrated", "Paid."),
    "picking": ("migrated", "Paid."),
    "wrap": ("finishes", "Paid, as of old."),
    "gift": ("restarted", "Paid."),
    "confirm": ("migrated", "Paid."),
    "paying": ("migrated", "Paid."),
    "name, gone back to": ("migrated", "Paid."),
    "colour, left for the menu": ("migrated", "Paid."),
    "confirm, left for the menu": ("migrated", "Paid."),
}
"""How each ends, by its policy."""


class Crowd:
    """A thousand members in different states of a flow.

    `seen`: the last replies before the deploy. `said`: all messages of each member since.
    """

    def __init__(self, till: Till) -> None:
        self.till = till
        places = list(itertools.islice(itertools.cycle(MORE_WAYS), RUNS))
        self.places = {Channel("whatsapp", f"2637712{number:05}"): place for number, place in enumerate(places)}
        self.seen: dict[Channel, str] = {}
        self.said: dict[Channel, list[str]] = {channel: [] for channel in self.places}
        self._ids = itertools.count()

    async def begin(self, manager: AsyncFlowStateManager) -> None:
        """Bring each member to a state before the deploy."""
        await self._each(lambda channel: self._begin(manager, channel))

    async def end(self, manager: AsyncFlowStateManager) -> None:
        """Answer each question, first the one that was asked before the deploy, until the member is home."""
        await self._each(lambda channel: self._end(manager, channel))

    async def _each(self, speak: Callable[[Channel], Awaitable[None]]) -> None:
        """Handle some dozens of members at a time, so that none waits longer for its turn than for an answer."""
        waiting = list(self.places)

        async def speaker() -> None:
            while waiting:
                await speak(waiting.pop())

        await asyncio.gather(*(speaker() for _ in range(32)))

    async def _begin(self, manager: AsyncFlowStateManager, channel: Channel) -> None:
        place, handle = self.places[channel], f"@{channel.identifier}"
        if place == "paying":
            self.till.lost.add(handle)
        for text in MORE_WAYS[place]:
            said = await self._say(manager, channel, handle if text == "@ada" else text)
            self.seen[channel] = said[-1]

    async def _end(self, manager: AsyncFlowStateManager, channel: Channel) -> None:
        said = self.said[channel]
        for _ in range(15):
            question = said[-1] if said else self.seen[channel]
            if question == "At home.":
                break
            answer = ANSWERS.get(question, "and now?")
            said += await self._say(manager, channel, f"@{channel.identifier}" if answer == "@ada" else answer)

    async def _say(self, manager: AsyncFlowStateManager, channel: Channel, text: str) -> list[str]:
        outcome = await manager.handle(Message(channel, f"m-{next(self._ids)}", text))
        lost = "Paying." in words(outcome.replies)  # its answer was lost on the way back, as planned
        assert outcome.status == "advanced" or lost, (self.places[channel], outcome)
        return words(outcome.replies)


def documents_of(store: AtomicStateManager) -> Iterator[bytes]:
    """Return all stored documents."""
    for member_id in members(store):
        stored = store.perform(Load(member_id))
        assert isinstance(stored, Stored)
        assert stored.document is not None
        yield stored.document


@pytest.mark.embedded
def test_a_deploy_under_a_thousand_live_runs_strands_none(valkey_server: Server, valkey_url: str):
    """Runs of version 1 end under version 2 as each policy says, and each member has paid exactly once.

    Version 2 renames, removes and splits states and uses every policy. The audit records each upgrade.
    """
    till = Till()
    crowd = Crowd(till)
    patient = {"till": ServiceLimits(failures=RUNS)}  # nearly every call before the deploy is lost, as planned
    old = attrs.evolve(bot_of(errand_1, till, session=86_400.0), service_limits=patient)
    asyncio.run(_spoken_to(valkey_url, old, crowd.begin))
    new = bot_of(errand(), till, session=86_400.0)
    with AtomicStateManager.from_url(valkey_url, secret=STORE_SECRET) as store:
        census = Census(new)
        for data in documents_of(store):
            census.add(data)
        assert (census.documents, census.broken.total(), census.lost) == (RUNS, 0, ())
        assert sum(count for place, count in census.runs.items() if place.flow == "errand") == RUNS
        assert census.calls.total() == sum(place == "paying" for place in crowd.places.values())
        asyncio.run(_spoken_to(valkey_url, new, crowd.end))
        ended = Counter(_ended(store, crowd, channel) for channel in crowd.places)
        assert ended == Counter((place, *ENDS[place]) for place in crowd.places.values())
        after = Census(new)
        for data in documents_of(store):
            after.add(data)
        assert {place.how for place in after.runs} == {"unchanged"}
    assert Counter(to for to, _ in till.paid.values()) == Counter(f"@{channel.identifier}" for channel in crowd.places)
    assert Counter(Counter(till.asked).values()) == {1: RUNS - census.calls.total(), 2: census.calls.total()}


async def _spoken_to(url: str, bot: Bot, speak: Callable[[AsyncFlowStateManager], Awaitable[None]]) -> None:
    """Let the crowd speak to a bot, however long the machine stands still in between: a reply is waited for."""
    async with (
        AsyncAtomicStateManager.from_url(url, timeout=STILL, secret=STORE_SECRET) as store,
        AsyncFlowStateManager(bot, store, rates=None, patience=STILL, call_wait=STILL) as manager,
    ):
        await manager.start()
        await speak(manager)


def _ended(store: AtomicStateManager, crowd: Crowd, channel: Channel) -> tuple[str, str, str]:
    """Return the state of a member, the upgrade of the run in the audit, and the end of the run."""
    said = crowd.said[channel]
    assert said[-1] == "At home.", said
    member_id = guest_id(channel)
    stored = store.load(member_id)
    assert isinstance(stored, Stored)
    assert stored.document is not None
    document = decode(stored.document)
    assert document.outbox == ()
    entries: Any = store.perform(ReadAudit(member_id))
    assert FlowAuditLogger.faults(entries) == ()
    assert [entry.version for entry in entries] == list(range(1, document.version + 1))
    notes = [note for entry in entries for note in unseal(entry).detail.get("migrated", ())]
    (how,) = [note["how"] for note in notes if note["flow"] == "errand"]
    place = crowd.places[channel]
    notice = "Gifts are other than they were; please begin again."
    assert said.count(notice) == (place == "gift")
    return place, how, said[-2]
