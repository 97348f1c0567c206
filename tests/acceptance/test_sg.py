"""The scenarios of the original system's design, as acceptance tests on the real engine.

Each test is named after its scenario. Its docstring states the rule, then the scenario, and how the original system
behaved.
"""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import multiprocessing
import re
import threading
import time
import traceback
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from multiprocessing.synchronize import Barrier
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias

import attrs
import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

import flows as vimbisopay
from flows.credex_core import Fault, HttpCredexCore, SimulatedCredexCore
from flows.credex_core import server as core_server
from tests.engines import (
    Proxy,
    Server,
    previous_document,
    running,
    stored_records,
    valkey_program,
    write_document,
)
from vimbiso_fsm.audit.flow_audit import CommitEvent
from vimbiso_fsm.channels import whatsapp
from vimbiso_fsm.document.codec import document_to_raw, encode
from vimbiso_fsm.document.document import Document
from vimbiso_fsm.document.json_codec import loads
from vimbiso_fsm.document.state_validator import StateValidator
from vimbiso_fsm.engine.reading import faults
from vimbiso_fsm.errors import (
    CommitUnknown,
    Contended,
    DamagedDocument,
    InvalidMessage,
    InvalidState,
    NotAnswered,
    NotStorable,
    StoreUnavailable,
    VersionConflict,
    VimbisoError,
)
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.calls import Call, call
from vimbiso_fsm.flow.flow import Flow
from vimbiso_fsm.flow.privacy import PUBLIC
from vimbiso_fsm.flow.session import Limits
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.flow.turn import Changes, Turn
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.replies import Buttons, Menu, Reply, Row, Text
from vimbiso_fsm.operations.handle import Outcome
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager, FlowStateManager
from vimbiso_fsm.store.packing import unpack
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.store.requests import Commit, Request, Store, Stored
from vimbiso_fsm.testing.chat import on_clock

pytestmark = pytest.mark.embedded

ADA = Channel("whatsapp", "263771000001")
ALAN = Channel("whatsapp", "263771000002")
KATHERINE = Channel("whatsapp", "263771000005")
NEW = Channel("whatsapp", "263771234567")

Client: TypeAlias = Any
"""A `redis.Redis`, whose answers redis-py types for sync and async at once."""

PATIENT = 120.0
"""Seconds of patience where a test is about what is stored and not about how long it takes."""


# Bots to talk to -----------------------------------------------------------------------------------------------------


def whole_number(text: str) -> int | Refused:
    """Read a whole number, or refuse the text."""
    return int(text) if text.isdecimal() else Refused("number.format")


@attrs.frozen
class Count:
    by: int = 0
    n: int = attrs.field(default=0, metadata=PUBLIC)


def add(turn: Turn[Count]) -> Count:
    """Return the data with `by` added to the count."""
    return attrs.evolve(turn.data, n=turn.data.n + turn.data.by)


def total(turn: Turn[Count]) -> Text:
    """Return the text that names the count."""
    return Text("counter.total", n=turn.data.n)


COUNTER = Bot(
    [
        Flow(
            "counter",
            data=Count,
            initial="counting",
            states=[State("counting", ask=total, reads=whole_number, into="by")],
            transitions=[Transition("answer", "counting", "counting", prepare=add)],
        )
    ],
    texts={"counter.total": "{n} so far."},
)
"""Adds up the numbers it is told."""


@attrs.frozen
class Note:
    text: str = attrs.field(default="", metadata=PUBLIC)
    more: str = attrs.field(default="", metadata=PUBLIC)


def note_bot(ask_more: Callable[[Turn[Note]], Text] | None = None, *, reads: Any = str, **way: Any) -> Bot:
    """Return a bot that asks for two texts. The arguments replace parts of it."""
    note = Flow(
        "note",
        data=Note,
        initial="text",
        states=[
            State("text", ask=Text("note.text"), reads=reads, into="text"),
            State("more", ask=ask_more or Text("note.more"), reads=reads, into="more"),
            State("kept", say=Text("note.kept"), final=True),
        ],
        transitions=[
            Transition("answer", "text", "more", **way),
            Transition("answer", "more", "kept"),
        ],
    )
    return Bot([note])


def state_of(manager: FlowStateManager, member_id: str) -> Document:
    """Return the stored document of a member, which must exist."""
    found = manager.state(member_id)
    assert found is not None
    return found


def step(document: Document) -> tuple[str, str]:
    """Return the flow and the step of the document's run."""
    assert document.run is not None
    return document.run.flow, document.run.step


def fields(document: Document) -> Mapping[str, Any]:
    """Return the fields of the data of the document's run."""
    assert document.run is not None
    return document.run.fields


def words(outcome: Outcome) -> str:
    """Return the texts of all replies, one a line."""
    return "\n".join(reply.text for reply in outcome.replies)


def was_sent(outcome: Outcome) -> bool:
    """Return whether the member was told that the offer was made."""
    return "offer.sent" in [getattr(reply, "key", "") for reply in outcome.replies]


class Chat:
    """One member in a conversation. `manager` may be replaced by that of another worker."""

    _ids = count()

    def __init__(self, manager: FlowStateManager, channel: Channel = ADA) -> None:
        self.manager = manager
        self.channel = channel

    def message(self, text: str | None = None, **rest: Any) -> Message:
        return Message(self.channel, f"m{next(self._ids)}", text, **rest)

    def say(self, *texts: str) -> Outcome:
        """Say the texts one after the other, and return the last outcome."""
        return [self.manager.handle(self.message(text)) for text in texts][-1]

    def press(self, choice: str) -> Outcome:
        return self.manager.handle(self.message(choice=choice))

    @property
    def document(self) -> Document:
        """The stored document."""
        outcome = self.manager.handle(Message(self.channel, f"m{next(self._ids)}", "help"))
        return state_of(self.manager, outcome.state.member_id)


def choices(outcome: Outcome) -> dict[str, str]:
    """The choices that were shown last, by the end of their ids."""
    asked = outcome.replies[-1]
    shown = asked.buttons if isinstance(asked, Buttons) else asked.rows if isinstance(asked, Menu) else ()
    return {choice.id[9:]: choice.id for choice in shown}


# Engines -------------------------------------------------------------------------------------------------------------


class Managed(Protocol):
    """Makes managers on the test's server, one for each worker."""

    def __call__(self, flows: Bot | str = COUNTER, **options: Any) -> FlowStateManager: ...

    def at(self, seconds: float, flows: Bot | str = COUNTER, **options: Any) -> FlowStateManager:
        """Return a worker on a store whose clock is `seconds` ahead."""
        ...


class _Managed:
    def __init__(self, url: str, stack: ExitStack) -> None:
        self._url, self._stack = url, stack

    def __call__(self, flows: Bot | str = COUNTER, **options: Any) -> FlowStateManager:
        return self._stack.enter_context(FlowStateManager.from_url(self._url, flows, **options))

    def at(self, seconds: float, flows: Bot | str = COUNTER, **options: Any) -> FlowStateManager:
        store = self._stack.enter_context(AtomicStateManager.from_url(self._url, shift=seconds))
        on_clock(options.get("services", {}), lambda: time.time() + seconds)
        return FlowStateManager(flows, store, **options)


@pytest.fixture
def managed(valkey_url: str) -> Generator[Managed, None, None]:
    """Make managers on the server, and close them after the test."""
    with ExitStack() as stack:
        yield _Managed(valkey_url, stack)


@pytest.fixture
def client(valkey_server: Server) -> Generator[Client, None, None]:
    """Return a client that reads the server without the store."""
    with valkey_server.client() as client:
        yield client


@pytest.fixture
def own_server() -> Generator[Server, None, None]:
    """Start a server for this test, which it may break."""
    with running(valkey_program()) as server:
        yield server


def hashes(client: Client, name: str) -> dict[bytes, bytes]:
    """Return the documents of all members, or with "prev" those before, by key, those of strangers unpacked."""
    states: list[bytes] = client.keys("*:state")
    if name == "state":
        return {key: unpack(client.hget(key, "d") or b"") for key in states}
    return {key: unpack(found) for key in states if (found := previous_document(client, key)) is not None}


def entries(client: Client) -> list[bytes]:
    """Return all audit entries as they are stored, those of strangers unpacked."""
    frames = [entry for key in client.keys("*:audit") for entry in client.lrange(key, 0, -1)]
    return [b" ".join((*words, unpack(body))) for *words, body in (frame.split(b" ", 3) for frame in frames)]


class Meddling:
    """A store that runs a function just before each commit."""

    def __init__(self, store: Store, meddle: Callable[[], object], times: int) -> None:
        self._store, self._meddle, self.times = store, meddle, times

    def perform(self, request: Request) -> Any:
        if isinstance(request, Commit) and self.times:
            self.times -= 1
            self._meddle()
        return self._store.perform(request)


class Between:
    """A store that runs a function before each request. The requests that the function causes are passed on.

    `requests`: the number of the other requests.
    """

    def __init__(self, store: Store, act: Callable[[], object]) -> None:
        self._store, self._act, self._acting, self.requests = store, act, False, 0

    def perform(self, request: Request) -> Any:
        if not self._acting:
            self.requests += 1
            self._acting = True
            self._act()
            self._acting = False
        return self._store.perform(request)


@attrs.frozen
class Shifted:
    """A store whose clock is `seconds` ahead, or behind if negative."""

    store: Store
    seconds: float

    def perform(self, request: Request) -> Any:
        if isinstance(request, Commit):
            return self.store.perform(attrs.evolve(request, shift=self.seconds))
        result = self.store.perform(request)
        return attrs.evolve(result, at=result.at + self.seconds) if isinstance(result, Stored) else result


def with_profile(name: str, value: Any) -> Callable[[Document], Document]:
    """Return a change that sets one value of the profile."""
    return lambda document: attrs.evolve(document, profile={**document.profile, name: value})


def one_more(document: Document) -> Document:
    """Return the document with the count in its profile raised by one."""
    return attrs.evolve(document, profile={"n": document.profile.get("n", 0) + 1})


# Atomic state --------------------------------------------------------------------------------------------------------


def test_sg01_lost_update(managed: Managed):
    """No change is lost if two workers save the same document.

    Given one session, when two workers load it and save different fields, then the second gets a conflict, applies its
    change to the new document, and both changes are stored. The original system lost the first change.
    """
    one, two = managed(), managed()
    member = Chat(one).say("hi").state.member_id
    first, second = state_of(one, member), state_of(two, member)
    one.save(with_profile("a", 1)(first))
    with pytest.raises(VersionConflict):
        two.save(with_profile("b", 2)(second))
    two.update(member, with_profile("b", 2))
    assert state_of(one, member).profile == {"a": 1, "b": 2}


def test_sg01_lost_update_between_conversation_and_update(managed: Managed):
    """No change is lost between a worker with a cached document and an update that it does not know."""
    one, two = managed(), managed()
    chat = Chat(one)
    member = chat.say("hi", "5").state.member_id
    two.update(member, with_profile("a", 1))
    outcome = chat.say("6")
    assert (fields(outcome.state)["n"], outcome.state.profile) == (11, {"a": 1})
    assert outcome.state == state_of(two, member)


def rounds(manager: FlowStateManager, worker: int, member_id: str, times: int) -> None:
    """Run rounds of load, add and save as one worker, and as many turns of a conversation."""
    for number in range(times):
        manager.update(member_id, one_more)
        outcome = manager.handle(Message(ADA, f"{worker}.{number}", "1"))
        assert outcome.status == "advanced"


def assert_nothing_lost(manager: FlowStateManager, member_id: str, before: int, expected: int) -> None:
    """Assert that each of the `expected` changes of a kind is in the document, and that the audit has no gap."""
    document = state_of(manager, member_id)
    assert document.profile["n"] == expected
    assert fields(document)["n"] == expected
    assert document.version == before + 2 * expected
    assert [entry.version for entry in manager.history(member_id)] == list(range(1, document.version + 1))


@pytest.mark.parametrize("managers", [1, 8])
def test_sg02_counter_under_load_of_threads(managed: Managed, managers: int):
    """No change is lost under load of threads.

    Given a counter at 0, when 8 threads each make 50 rounds of load, add and save, and 50 turns, on one worker or on
    eight, then the counter is at 400. The original system reached 81: 109 saves were refused, and 210 were lost without
    an error.
    """
    workers = [managed(patience=PATIENT, rates=None) for _ in range(managers)]
    start = Chat(workers[0]).say("hi").state
    with ThreadPoolExecutor(8) as pool:
        done = [pool.submit(rounds, workers[n % managers], n, start.member_id, 50) for n in range(8)]
    for future in done:
        future.result()
    assert_nothing_lost(workers[0], start.member_id, start.version, 400)


_barrier: Barrier


def begin(barrier: Barrier) -> None:
    """Keep the barrier at which the processes of the pool wait for each other."""
    global _barrier  # noqa: PLW0603  # how a pool's initializer hands something to its process
    _barrier = barrier


def process(url: str, worker: int, member_id: str) -> None:
    """Run 25 rounds of changes in a process of its own, once all processes are ready."""
    with FlowStateManager.from_url(url, COUNTER, patience=PATIENT, rates=None) as manager:
        _barrier.wait()
        rounds(manager, worker, member_id, 25)


def test_sg02_counter_under_load_of_processes(managed: Managed, valkey_url: str):
    """No change is lost under load of 8 processes."""
    manager = managed()
    start = Chat(manager).say("hi").state
    context = multiprocessing.get_context("spawn")
    with context.Pool(8, begin, (context.Barrier(8),)) as pool:
        pool.starmap(process, [(valkey_url, n, start.member_id) for n in range(8)], chunksize=1)
        pool.close()
        pool.join()
    assert_nothing_lost(manager, start.member_id, start.version, 200)


@pytest.mark.asyncio
async def test_sg02_counter_under_load_of_tasks(managed: Managed, valkey_url: str):
    """No change is lost under load of 64 asyncio tasks on four workers."""
    times = 4
    start = Chat(managed()).say("hi").state

    async def work(manager: AsyncFlowStateManager, task: int) -> None:
        for number in range(times):
            await manager.update(start.member_id, one_more)
            outcome = await manager.handle(Message(ADA, f"{task}.{number}", "1"))
            assert outcome.status == "advanced"

    async with (
        AsyncFlowStateManager.from_url(valkey_url, COUNTER, patience=PATIENT, rates=None) as a,
        AsyncFlowStateManager.from_url(valkey_url, COUNTER, patience=PATIENT, rates=None) as b,
        AsyncFlowStateManager.from_url(valkey_url, COUNTER, patience=PATIENT, rates=None) as c,
        AsyncFlowStateManager.from_url(valkey_url, COUNTER, patience=PATIENT, rates=None) as d,
    ):
        await asyncio.gather(*(work((a, b, c, d)[task % 4], task) for task in range(64)))
    assert_nothing_lost(managed(), start.member_id, start.version, 64 * times)


def test_sg03_stale_writer(managed: Managed):
    """A save on a stale version is refused.

    Given the stored version 99, when a writer saves on version 1, then a conflict names both versions. The original
    system accepted the old value.
    """
    manager = managed()
    old = Chat(manager).say("hi").state
    assert old.version == 1
    for _ in range(98):
        manager.update(old.member_id, one_more)
    with pytest.raises(VersionConflict, match=r"\b99\b.*\b1\b") as caught:
        manager.save(old)
    assert (caught.value.expected, caught.value.found) == (1, 99)
    assert state_of(manager, old.member_id).profile == {"n": 98}


def test_sg03_stale_writer_between_load_and_commit(managed: Managed, valkey_url: str):
    """The store refuses a commit if another writer came after the version was read."""
    manager = managed()
    document = Chat(manager).say("hi").state
    with AtomicStateManager.from_url(valkey_url) as store:
        meddling = Meddling(store, lambda: manager.update(document.member_id, one_more), times=1)
        with pytest.raises(VersionConflict) as caught:
            FlowStateManager(COUNTER, meddling).save(document)
    assert (caught.value.expected, caught.value.found) == (1, 2)
    assert state_of(manager, document.member_id).profile == {"n": 1}


def test_sg04_versions_count(managed: Managed):
    """Versions count by one.

    Given a new record, when it is saved five times within a second, then its versions are 1 to 5. The original system
    stored the same Unix second five times.
    """
    manager = managed()
    document = Document("m-42", ADA, datetime.now(UTC))
    versions = []
    for _ in range(5):
        document = manager.save(document)
        versions.append((document.version, state_of(manager, "m-42").version))
    assert versions == [(n, n) for n in range(1, 6)]


def test_sg04_versions_count_when_the_clock_is_set_back(managed: Managed, valkey_url: str):
    """Neither versions nor instants go back when the clock is set back."""
    chat = Chat(managed())
    before = chat.say("hi").state
    with AtomicStateManager.from_url(valkey_url) as store:
        chat.manager = FlowStateManager(COUNTER, Shifted(store, -3600))
        turn = chat.say("1").state
        update = chat.manager.update(turn.member_id, one_more)
    assert [turn.version, update.version] == [before.version + 1, before.version + 2]
    assert before.last_updated <= turn.last_updated <= update.last_updated


def test_sg05_the_callers_object_is_its_own(managed: Managed):
    """A save does not change the object of the caller.

    Given a state object of version 7, when it is saved, then it is unchanged, and the result has the new version. The
    original system overwrote its `_version` in place.
    """
    manager = managed()
    document = Chat(manager).say("hi", *"123456").state
    mine = attrs.evolve(document, profile={"list": [1]})
    before = copy.deepcopy(mine)
    saved = manager.save(mine)
    assert mine == before
    assert (mine.version, saved.version) == (7, 8)


def test_sg05_later_changes_of_the_caller_are_not_stored(managed: Managed):
    """A later change of the caller to its own object reaches no document."""
    manager = managed()
    chat = Chat(manager)
    profile: dict[str, Any] = {"list": [1]}
    saved = manager.save(attrs.evolve(chat.say("hi").state, profile=profile))
    profile["list"].append(2)
    profile["more"] = True
    assert saved.profile == {"list": [1]}
    outcome = chat.say("1")
    assert state_of(manager, saved.member_id).profile == {"list": [1]}
    assert outcome.state.profile == {"list": [1]}


def test_sg05_changes_to_an_outcome_are_not_stored(managed: Managed):
    """A change to the state of an outcome, or to an object that a callback has returned, reaches no document."""
    given: dict[str, Any] = {"list": [1]}

    def give(turn: Turn[Note]) -> Changes[Note]:
        return turn.changes(member=attrs.evolve(turn.member, profile=given))

    chat = Chat(managed(note_bot(prepare=give)))
    outcome = chat.say("hi", "text")
    given["list"].append(2)
    profile: Any = outcome.state.profile
    profile["list"].append(3)
    profile["more"] = True
    chat.say("help")
    assert state_of(chat.manager, outcome.state.member_id).profile == {"list": [1]}


def test_sg06_retry_rereads(managed: Managed):
    """A retry after a conflict applies the change to the document that is stored by then.

    Given a conflict at the first attempt, when the save is repeated, then it loads the document again and applies the
    change again. The original system repeated the same bytes, so a successful retry erased the change of the other
    writer.
    """
    one, two = managed(), managed()
    member = Chat(one).say("hi").state.member_id
    seen = []

    def change(document: Document) -> Document:
        seen.append(dict(document.profile))
        if len(seen) == 1:
            two.update(member, with_profile("other", True))
        return with_profile("mine", True)(document)

    one.update(member, change)
    assert seen == [{}, {"other": True}]
    assert state_of(one, member).profile == {"other": True, "mine": True}


def test_sg06_a_turn_is_decided_again(managed: Managed, valkey_url: str):
    """After three conflicts, a turn is decided on the document that is stored by then."""
    chat = Chat(managed())
    member = chat.say("hi", "5").state.member_id
    other = managed()
    with AtomicStateManager.from_url(valkey_url) as store:
        meddling = Meddling(store, lambda: other.update(member, one_more), times=3)
        told: list[CommitEvent] = []
        chat.manager = FlowStateManager(COUNTER, meddling, observers=[told.append], patience=PATIENT)
        outcome = chat.say("6")
    assert (fields(outcome.state)["n"], outcome.state.profile) == (11, {"n": 3})
    assert [details.attempts for details in told] == [4]


def test_sg06_after_the_last_try_it_is_a_conflict(managed: Managed, valkey_url: str):
    """After the last attempt the save reports a conflict, and nothing of it is stored."""
    chat = Chat(managed())
    member = chat.say("hi", "5").state.member_id
    other = managed()
    with AtomicStateManager.from_url(valkey_url) as store:
        meddling = Meddling(store, lambda: other.update(member, one_more), times=-1)
        beaten = FlowStateManager(COUNTER, meddling, patience=0.0)
        with pytest.raises(Contended, match="nothing of this message was stored"):
            beaten.handle(chat.message("6"))
        with pytest.raises(Contended):
            beaten.update(member, with_profile("mine", True))
    document = state_of(other, member)
    assert fields(document)["n"] == 5
    assert "mine" not in document.profile


def assert_told_plainly(manager: FlowStateManager, error: NotAnswered) -> None:
    """Assert that the reply of an error is a sentence for the member, without internal terms."""
    said = error.reply
    assert " " in said.strip()
    for internal in (type(error).__name__, "unix:", "socket", "Error", "Exception", "{", "Traceback", str(error)):
        assert internal not in said


def refuse_writes(server: Server) -> None:
    """Make the server refuse writes because its memory is full."""
    with server.client() as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1")


def accept_writes(server: Server) -> None:
    """Make the server accept writes again."""
    with server.client() as client:
        client.config_set("maxmemory", "0")


def test_sg07_a_failed_save_is_known_when_writes_are_refused(own_server: Server, caplog: pytest.LogCaptureFixture):
    """A member is told when a turn could not be stored.

    Given a store that refuses writes, when a step is completed, then the member is told that nothing was saved, no
    success is logged, and the flow stays in its state. The original system reported no error and logged success.
    """
    caplog.set_level(logging.DEBUG, "vimbiso_fsm")
    told: list[CommitEvent] = []
    with FlowStateManager.from_url(own_server.url, "flows", services=core(), observers=[told.append]) as manager:
        chat = Chat(manager)
        before = chat.say("hi", "offer", "10").state
        history, heard = manager.history(before.member_id), list(told)
        refuse_writes(own_server)
        caplog.clear()
        answer = chat.message("alan")
        with pytest.raises(StoreUnavailable, match="nothing was stored") as caught:
            manager.handle(answer)
        with pytest.raises(StoreUnavailable):
            manager.update(before.member_id, one_more)
        assert_told_plainly(manager, caught.value)
        assert told == heard
        (line,) = [record.getMessage() for record in caplog.records if record.name == "vimbiso_fsm"]
        assert line.startswith("a message was not answered")
        assert caught.value.reference in line
        assert manager.state(before.member_id) == before
        accept_writes(own_server)
        assert manager.state(before.member_id) == before
        assert manager.history(before.member_id) == history
        again = manager.handle(answer)
        assert step(again.state) == ("offer", "confirm")


def test_sg07_a_failed_save_is_known_when_the_server_is_gone(tmp_path: Path):
    """A member is told when the server goes away during a turn; when it is back, the flow is in its earlier state."""
    told: list[CommitEvent] = []
    options = ("--appendonly", "yes", "--appendfsync", "always", "--appenddirname", "a", "--dir", str(tmp_path))
    with running(valkey_program(), *options) as server:
        manager = FlowStateManager.from_url(server.url, "flows", services=core(), observers=[told.append])
        chat = Chat(manager)
        before = chat.say("hi", "offer", "10").state
        heard = list(told)
    with manager:
        answer = chat.message("alan")
        with pytest.raises(StoreUnavailable, match="nothing was stored") as caught:
            manager.handle(answer)
        assert_told_plainly(manager, caught.value)
        with pytest.raises(StoreUnavailable):
            manager.state(before.member_id)
        assert told == heard
    with (
        running(valkey_program(), *options) as server,
        FlowStateManager.from_url(server.url, "flows", services=core()) as manager,
    ):
        assert manager.state(before.member_id) == before
        assert step(manager.handle(answer).state) == ("offer", "confirm")


def test_sg07_a_failed_save_is_known_when_the_answer_is_lost(valkey_server: Server, managed: Managed):
    """A member is told that the outcome is unknown when each reply of the store is lost.

    The same message, handled again, takes effect once.
    """
    told: list[CommitEvent] = []
    with Proxy(valkey_server.socket) as proxy:
        manager = FlowStateManager.from_url(proxy.url, COUNTER, observers=[told.append])
        with manager:
            chat = Chat(manager)
            chat.say("hi", "5")
            proxy.plan = ["lose"] * 99
            answer = chat.message("6")
            with pytest.raises(CommitUnknown, match="it takes effect once") as caught:
                manager.handle(answer)
            proxy.plan = []
            assert_told_plainly(manager, caught.value)
            assert len(told) == 2
            outcome = manager.handle(answer)
    assert fields(outcome.state)["n"] == 11
    assert words(outcome) == "11 so far."
    assert state_of(managed(), outcome.state.member_id) == outcome.state


def test_sg08_only_storable_state(managed: Managed, client: Client):
    """A live object is not stored, and the error names its field.

    Given a state with a live object, when it is saved, then the save is refused. The original system skipped the save
    without an error in one place, and showed the error to the member in another.
    """
    manager = managed()
    document = Chat(manager).say("hi").state
    stored = hashes(client, "state")
    live = attrs.evolve(document, profile={"known": [{"service": manager}]})
    with pytest.raises(NotStorable, match=r"document\.profile\.known\.0\.service holds a FlowStateManager"):
        manager.save(live)
    with pytest.raises(NotStorable, match=r"profile\.known\.0\.service"):
        manager.update(document.member_id, lambda _: live)
    assert hashes(client, "state") == stored


def test_sg08_only_storable_state_in_a_flow(managed: Managed):
    """A turn fails if a callback puts a live object into the member.

    The reply is in plain words, the document is unchanged, and the log and the audit name the field.
    """

    def keep(turn: Turn[Note]) -> Changes[Note]:
        return turn.changes(member=attrs.evolve(turn.member, profile={"parent_service": object()}))

    chat = Chat(managed(note_bot(prepare=keep)))
    before = chat.say("hi").state
    outcome = chat.say("something")
    assert outcome.status == "failed"
    assert (step(outcome.state), outcome.state.profile) == (step(before), {})
    assert "object" not in words(outcome)
    entry = chat.manager.history(before.member_id)[-1]
    assert (entry.kind, entry.detail["type"]) == ("error", "NotStorable")
    assert "profile.parent_service holds a object" in entry.detail["message"]


def core(*faults: Fault) -> dict[str, object]:
    """Return the services of the bot, with a simulated credex-core that has the given faults."""
    return {"credex_core": SimulatedCredexCore(faults=faults)}


def test_sg09_confirm_delivered_twice(managed: Managed):
    """A confirmation that is delivered twice takes effect once.

    Given an offer that waits for its confirmation, when the same message is delivered to two workers at once, then one
    offer is made, and the second delivery gets the first replies. The original system made two offers.
    """
    service = SimulatedCredexCore()
    workers = [managed("flows", services={"credex_core": service}, patience=PATIENT) for _ in range(2)]
    chat = Chat(workers[0])
    chat.say("hi")
    before = len(service.offers)
    for number in range(1, 11):
        chat.say("offer", "1 USD", "alan")
        message = chat.message("yes")
        together = threading.Barrier(2)

        def deliver(worker: FlowStateManager, message: Message = message, gate: Any = together) -> Outcome:
            gate.wait()
            return worker.handle(message)

        with ThreadPoolExecutor(2) as pool:
            first, second = sorted(pool.map(deliver, workers), key=lambda outcome: outcome.status)
        assert (first.status, second.status) == ("advanced", "duplicate")
        assert words(second) == words(first)
        assert len(service.offers) == before + number
        for worker in workers:
            later = worker.handle(message)
            assert (later.status, words(later)) == ("duplicate", words(first))
    assert len({call.key for call in service.calls if call.name == "createCredex"}) == 10


def test_sg10_side_keys(managed: Managed, client: Client):
    """The keys of members do not collide.

    Given members whose ids look like keys of each other, when they are saved, then each is read back as it was saved.
    In the original system `m_stage` was overwritten by the stage of `m`, which lived longer than `m`.
    """
    manager = managed()
    members = ["m", "m_stage", "m:state", "m:prev", "}m", "m%3Astate", "vimbiso:{1}:member:m:state"]
    saved = {}
    for place, member in enumerate(members):
        document = manager.save(Document(member, ADA, datetime.now(UTC), profile={"place": place}))
        saved[member] = manager.save(document)
    assert {member: manager.state(member) for member in members} == saved
    for kind in ("state", "audit"):
        assert len(client.keys(f"*:{kind}")) == len(members)
    later = managed.at(1000)
    for member in members:
        later.save(state_of(later, member))
    for key in client.keys("*:member:*"):
        assert re.fullmatch(rb"vimbiso:\{\d+\}:member:[A-Za-z0-9_.%~-]+:(state|audit)", key), key


# Validation ----------------------------------------------------------------------------------------------------------


def good_state() -> dict[str, Any]:
    """Return a state as it is stored in the middle of an offer."""
    return {
        "member_id": "m-42",
        "channel": {"type": "whatsapp", "identifier": "263771234567", "metadata": {}},
        "jwt_token": "a-token",
        "authenticated": True,
        "profile": {"accounts": [{"account_id": "a-1"}]},
        "current_account": {"account_id": "a-1"},
        "flow_data": {
            "id": "offer:9f2c",
            "step": "amount",
            "data": {
                "flow_type": "offer",
                "channel": {"type": "whatsapp", "identifier": "263771234567"},
                "_validation_context": {},
                "_validation_state": {},
                "amount": {"amount": "0", "currency": "USD"},
                "handle": "",
                "to": {"id": "", "handle": "", "name": ""},
            },
        },
        "_run": {"version": 1, "fingerprint": "f", "entered": 1},
        "_guest": False,
        "_version": 7,
        "_last_updated": "2026-11-22T09:15:02.123456+00:00",
    }


GONE = object()

MALFORMED: list[tuple[str, Any]] = [
    ("member_id", None),
    ("member_id", ""),
    ("member_id", 263771234567),
    ("channel", "whatsapp"),
    ("channel.type", "pigeon"),
    ("channel.identifier", None),
    ("channel.identifier", GONE),
    ("flow_data.data.member_id", "m-42"),
    ("flow_data.step", True),
    ("flow_data.step", 999),
    ("flow_data.step", -1),
    ("flow_data.step", "nowhere"),
    ("flow_data", None),
    ("authenticated", "no"),
    ("jwt_token", None),  # though authenticated
    ("jwt_token", {"token": "a-token"}),
    ("current_account.account_id", None),
    ("profile.accounts", "a-1"),
    ("_version", "7"),
    ("stage", "menu"),
]


def _malformed(path: str, value: Any) -> str:
    """Return the name of a case, which is the same in every process of a parallel run."""
    return f"{path} gone" if value is GONE else f"{path}={value!r}"[:50]


@pytest.mark.parametrize(("path", "value"), MALFORMED, ids=[_malformed(*one) for one in MALFORMED])
def test_sg11_malformed_states_are_refused(path: str, value: Any, managed: Managed, client: Client):
    """Each malformed state is refused.

    Given a good state, when any one of these fields is changed, then the validator refuses it, and so does a read from
    the store. The original system accepted all but two of them.
    """
    manager = managed("flows", services=core())
    state = good_state()
    manager.bot.validator.check(state)
    *where, name = path.split(".")
    place = state
    for part in where:
        place = place[part]
    if value is GONE:
        del place[name]
    else:
        place[name] = value
    verdict = manager.bot.validator.validate(state)
    assert [fault.path for fault in verdict.faults if fault.path in (path, *where) or not value]
    with pytest.raises(InvalidState) as caught:
        manager.bot.validator.check(state)
    assert "263771234567" not in str(caught.value)
    manager.save(Document("m-42", NEW, datetime.now(UTC)))
    (key,) = hashes(client, "state")
    client.hset(key.decode(), "d", json.dumps(state))
    with pytest.raises(DamagedDocument):
        manager.state("m-42")


def test_sg12_the_documents_example_is_valid():
    """The example of the design is valid as it is printed.

    The original system refused it, because it has no account id.
    """
    example = good_state() | {"profile": {}, "current_account": {}}
    del example["_run"], example["_guest"]  # bookkeeping that the example does not have
    example["flow_data"]["data"] = {
        "flow_type": "offer",
        "channel": {"type": "whatsapp", "identifier": "263771234567"},
        "_validation_context": {},
        "_validation_state": {},
    }
    assert StateValidator().validate(example).faults == ()
    assert vimbisopay.bot.validator.validate(example).faults == ()
    document, wrong = faults(vimbisopay.bot, json.dumps(example).encode())
    assert wrong == ()
    assert document is not None
    assert step(document) == ("offer", "amount")


def test_sg13_a_new_session_is_valid(managed: Managed, client: Client):
    """The initial state of a new session is valid.

    Given a first contact, when the initial state is made, then it is validated before it is stored. The original system
    stored it although it failed its own validator.
    """
    manager = managed("flows", services=core())
    outcome = Chat(manager, NEW).say("hello there")
    for data in hashes(client, "state").values():
        manager.bot.validator.check(loads(data))
    assert outcome.state.channel == NEW


def test_sg13_an_invalid_first_state_is_not_stored(managed: Managed, client: Client):
    """An initial state with an unknown channel, or with a member without an id, is not stored."""

    def nobody(turn: Turn[Note]) -> Changes[Note]:
        return turn.changes(member=attrs.evolve(turn.member, authenticated=True))

    with pytest.raises(InvalidMessage, match="pigeon"):
        managed(note_bot()).handle(Message(Channel("pigeon", "7"), "1", "hi"))
    with pytest.raises(InvalidState, match="member_id"):
        managed(note_bot()).save(Document("", NEW, datetime.now(UTC)))
    assert not client.keys("*:member:*")
    chat = Chat(managed(note_bot(prepare=nobody)))
    before = chat.say("hi").state
    assert chat.say("text").status == "failed"
    assert not state_of(chat.manager, before.member_id).authenticated


def test_sg14_a_stored_state_stays_valid(managed: Managed, client: Client):
    """A state is still valid after it was stored.

    Given the minimal state of a greeting, when it is saved and loaded, then it is valid. In the original system saving
    added a version, which made it invalid.
    """
    manager = managed()
    minimal = Document("m-42", NEW, datetime.now(UTC))
    validator = StateValidator()
    validator.check(minimal)
    saved = manager.save(minimal)
    validator.check(saved)
    validator.check(loads(hashes(client, "state").popitem()[1]))
    loaded = state_of(manager, "m-42")
    assert loaded == saved
    assert manager.save(loaded).version == 2


def frozen(value: Any) -> Any:
    """Return the same value, immutable."""
    if isinstance(value, dict):
        return MappingProxyType({name: frozen(inner) for name, inner in value.items()})
    return tuple(map(frozen, value)) if isinstance(value, list) else value


def test_sg15_validation_only_looks():
    """Validation does not change the state.

    Given a state without a verdict, when it is validated, then it is unchanged, and an option of the validator changes
    the result. The original system wrote into the state, and its option had no effect.
    """
    state = good_state() | {"profile": {}}
    before = copy.deepcopy(state)
    for validator in (StateValidator(), vimbisopay.bot.validator):
        assert validator.validate(state).valid
        assert validator.validate(frozen(state)).valid
    assert state == before
    assert not StateValidator(flows={"onboard": ["amount"]}).validate(state).valid
    assert not StateValidator(flows={"offer": ["handle"]}).validate(state).valid
    assert not StateValidator(channel_types=["sms"]).validate(state).valid


ONBOARDING = ("hi", "become_member", "Emmy", "Noether", "yes")
OFFERING = ("offer", "10 USD", "alan", "yes")


def test_sg16_one_rule_book(managed: Managed, client: Client):
    """All components have the same rules.

    Given a state that one component has made and saved, when any other component validates it, then the verdict is the
    same. The original system had four validators that no state could satisfy together.
    """
    manager, other = managed("flows", services=core()), managed("flows", services=core())
    chat = Chat(manager, NEW)
    for text in (*ONBOARDING, "nonsense", *OFFERING[:3], "menu", "yes", "cancel", "?"):
        outcome = chat.say(text)
        for data in hashes(client, "state").values():
            raw = loads(data)
            document, wrong = faults(other.bot, data)
            assert (wrong, document and document_to_raw(document)) == ((), raw)
            assert StateValidator().validate(raw).faults == manager.bot.validator.validate(raw).faults == ()
        assert other.state(outcome.state.member_id) == outcome.state
        assert encode(outcome.state) in hashes(client, "state").values()


def test_sg16_all_components_refuse_the_same_states(managed: Managed, client: Client):
    """A state that one component refuses is refused by each of them."""
    manager = managed("flows", services=core())
    good = Chat(manager).say("hi", "offer").state
    bad = attrs.evolve(good, jwt_token=None)
    assert good.authenticated
    for refuses in (manager.save, manager.bot.validator.check, StateValidator().check):
        with pytest.raises(InvalidState, match="without a token"):
            refuses(bad)
    with pytest.raises(InvalidState, match="without a token"):
        manager.update(good.member_id, lambda _: bad)
    document, wrong = faults(manager.bot, encode(bad))
    assert document is None
    assert "without a token" in "".join(wrong)
    for key in client.keys("*:state"):
        client.hset(key, "d", encode(bad))
    with pytest.raises(DamagedDocument, match="without a token"):
        manager.state(good.member_id)


# Flows, transitions, rollback ----------------------------------------------------------------------------------------


def test_sg17_known_member_logs_in(managed: Managed):
    """A known member who greets sees the dashboard.

    Given a member with an account, whom the API knows, when they write "hi", then the dashboard is shown. In the
    original system the login succeeded, its own validator refused the state, and registration was offered.
    """
    outcome = Chat(managed("flows", services=core()), ADA).say("hi")
    assert step(outcome.state) == ("dashboard", "menu")
    assert outcome.state.authenticated
    assert "Ada Lovelace" in words(outcome)
    assert "100.00 USD" in words(outcome)


FIRST_QUESTIONS = {
    "offer_secured": ("offer", "amount"),
    "accept_offer": ("accept_offer", "list"),
    "decline_offer": ("decline_offer", "list"),
    "cancel_offer": ("cancel_offer", "list"),
    "view_ledger": ("ledger", "page"),
    "upgrade_membertier": ("upgrade", "confirm"),
    "switch_account": ("choose_account", "choosing"),
}


@pytest.mark.parametrize(
    ("phone", "shown"),
    [
        ("263771000001", "offer_secured cancel_offer view_ledger upgrade_membertier"),  # tier 1, one offer out
        ("263771000002", "offer_secured accept_offer decline_offer view_ledger"),  # tier 3, two offers in
        ("263771000003", "view_ledger upgrade_membertier"),  # tier 2, and the account holds nothing
        ("263771000005", "offer_secured view_ledger switch_account"),  # tier 5, several accounts
    ],
    ids=["tier 1", "tier 3", "tier 2", "tier 5"],
)
def test_sg18_a_flow_starts(managed: Managed, phone: str, shown: str):
    """Each row of the menu starts its flow.

    Given a member who is logged in, when they choose a row of the menu, then the first question of its flow is shown.
    In the original system no flow started.
    """
    for row in shown.split():
        chat = Chat(managed("flows", services=core()), Channel("whatsapp", phone))
        greeted = chat.say("hi")
        if step(greeted.state) == ("choose_account", "choosing"):  # of tier 5, at the login
            greeted = chat.say("1")
        rows = choices(greeted)
        assert list(rows) == shown.split()
        outcome = chat.press(rows[row])
        assert outcome.status == "advanced"
        assert step(outcome.state) == FIRST_QUESTIONS[row]
        assert outcome.replies[-1].text
        chat.say("cancel")


def test_sg19_a_flow_goes_on(managed: Managed):
    """Each step of an offer accepts its answer.

    Given a stored offer at each of its steps, when the right answer comes to a worker without a cached copy, then the
    flow advances. The original system refused each answer, because no arguments could construct the flow.
    """
    services = core()

    def fresh() -> FlowStateManager:
        return managed("flows", services=services)

    chat = Chat(fresh())
    chat.say("hi")
    met = []
    for text in OFFERING:
        chat.manager = fresh()
        outcome = chat.say(text)
        assert outcome.status == "advanced"
        met.append(step(outcome.state))
    assert met == [("offer", "amount"), ("offer", "handle"), ("offer", "confirm"), ("dashboard", "menu")]


def test_sg20_registration_starts(managed: Managed):
    """Registration asks for the first name.

    Given an unknown number, when the registration button is pressed, then the question for the first name is shown. The
    original system refused, because there was no member id.
    """
    chat = Chat(managed("flows", services=core()), NEW)
    outcome = chat.press(choices(chat.say("hi"))["become_member"])
    assert step(outcome.state) == ("onboard", "firstname")
    assert "first name" in words(outcome)


def test_sg21_rollback_restores_the_state_before_the_step(managed: Managed, client: Client, valkey_url: str):
    """The previous state is that before the answer.

    Given a valid answer to step one, when the bookkeeping is inspected, then the previous state is that before the
    answer. In the original system the previous state equalled the current one.
    """
    chat = Chat(managed())
    chat.say("hi", "5")
    before = hashes(client, "state")
    outcome = chat.say("6")
    (current,), (previous,) = hashes(client, "state").values(), hashes(client, "prev").values()
    assert [previous] == list(before.values())
    assert loads(previous)["flow_data"]["data"]["n"] == 5
    assert loads(current)["flow_data"]["data"]["n"] == 11
    with AtomicStateManager.from_url(valkey_url) as store:
        stored = store.load(outcome.state.member_id, previous=True)
    assert isinstance(stored, Stored)
    assert (stored.document, stored.previous) == (current, previous)


def without_bookkeeping(document: Document) -> Document:
    """Return the part of the state that a failed turn may not change."""
    return attrs.evolve(document, version=0, last_updated=datetime(2000, 1, 1, tzinfo=UTC), deadline=None)


def test_sg22_step_and_data_move_together(managed: Managed):
    """A failed turn changes neither the step nor the data.

    Given an answer whose next question cannot be rendered, when the error is handled, then the step and the data are
    unchanged, and the same answer can be sent again. In the original system the index advanced, the value stayed, and
    the question was never shown.
    """
    broken = [True]

    def ask(_: Turn[Note]) -> Text:
        if broken:
            raise RuntimeError("the question cannot be drawn")
        return Text("note.more")

    chat = Chat(managed(note_bot(ask)))
    before = chat.say("hi").state
    outcome = chat.say("an answer")
    assert outcome.status == "failed"
    assert without_bookkeeping(outcome.state) == without_bookkeeping(before)
    assert state_of(managed(note_bot(ask)), before.member_id) == outcome.state
    broken.clear()
    again = chat.say("an answer")
    assert (step(again.state), fields(again.state)["text"]) == (("note", "more"), "an answer")


def test_sg22_the_final_call_is_refused(managed: Managed):
    """After a refusal of the final call the flow is back at the confirmation, with every answer."""
    service = SimulatedCredexCore(faults=[Fault("down", "createCredex", times=1)])
    chat = Chat(managed("flows", services={"credex_core": service}))
    before = chat.say("hi", *OFFERING[:3]).state
    outcome = chat.say("yes")
    assert "nothing was done" in words(outcome)
    assert (step(outcome.state), fields(outcome.state)) == (step(before), fields(before))
    assert was_sent(chat.say("yes"))
    assert [offer.issuer for offer in service.offers].count("ada") == 2


def test_sg22_the_final_call_throws(managed: Managed):
    """An error of the final call leaves its outcome unknown.

    Every answer is kept, a second confirmation repeats the same call with the same key, and one offer exists.
    """
    service = SimulatedCredexCore(faults=[Fault("lost", "createCredex", times=3)])
    chat = Chat(managed("flows", services={"credex_core": service}))
    before = chat.say("hi", *OFFERING[:3]).state
    outcome = chat.say("yes")
    assert outcome.status == "failed"
    assert fields(outcome.state) == fields(before)
    assert not was_sent(outcome)
    assert was_sent(chat.say("yes"))
    keys = [received.key for received in service.calls if received.name == "createCredex"]
    assert (len(keys), len(set(keys))) == (4, 1)
    assert [offer.issuer for offer in service.offers].count("ada") == 2


def test_sg23_a_refused_answer_leaves_no_mark_on_the_fallback(managed: Managed, client: Client):
    """A refused answer leaves no mark on the states that recovery uses.

    Given a wrong answer, when it is refused, then the stored previous state is the state before it, and the earlier
    turns are unchanged. The original system marked the fallback as failed too.
    """
    chat = Chat(managed("flows", services=core()))
    chat.say("hi", "offer", "10 USD")
    before = hashes(client, "state")
    records = {key: stored_records(client, key) for key in client.keys("*:state")}
    assert chat.say("not a handle!").status == "refused"
    for key, data in before.items():
        fallback = previous_document(client, key)
        if b"member-" in key:
            assert fallback == data
            assert loads(data)["flow_data"]["data"]["_validation_state"]["ok"] is True
    for key, kept in records.items():
        assert kept.items() <= stored_records(client, key).items()


def test_sg24_the_newest_previous_wins(managed: Managed, client: Client):
    """The newest previous state is stored.

    Given stored rollback data, when a flow saves newer rollback data, then the newer is stored. The original system
    copied the older data over it.
    """
    chat = Chat(managed())
    chat.say("hi", "1")
    kept = []
    for text in ("2", "3", "oops", "4"):
        (current,) = hashes(client, "state").values()
        chat.say(text)
        (previous,) = hashes(client, "prev").values()
        assert previous == current
        kept.append(previous)
    assert len(set(kept)) == 4


def test_sg25_a_partial_update_keeps_the_rest(managed: Managed):
    """An update of one field keeps all others.

    Given an offer at its second step, when only the account is updated, then the rest is unchanged. The original system
    lost the member, the token, the account and the flow.
    """
    chat = Chat(managed("flows", services=core()))
    before = chat.say("hi", *OFFERING[:2]).state
    account = {**before.current_account, "account_id": "a-2"}
    after = managed("flows").update(before.member_id, lambda document: attrs.evolve(document, current_account=account))
    expected = attrs.evolve(before, current_account=account, version=after.version, last_updated=after.last_updated)
    assert state_of(chat.manager, before.member_id) == after == expected
    assert step(chat.say("alan").state) == ("offer", "confirm")


def test_sg26_validation_context_survives(managed: Managed):
    """The validation state of a step survives an update.

    The original system emptied it.
    """
    chat = Chat(managed("flows", services=core()))
    before = chat.say("hi", "offer", "nothing", "still nothing").state
    assert before.run is not None
    data = before.run.flow_data.data
    assert (data.context, data.verdict["step"], data.verdict["ok"]) == ({"attempts": 2}, "amount", False)
    chat.manager.update(before.member_id, with_profile("seen", True))
    for document in (state_of(chat.manager, before.member_id), chat.say("help").state):
        assert document.run is not None
        assert document.run.context == data.context
        assert document.run.verdict == data.verdict
    third = chat.say("nothing at all")
    assert "for example: 10" in words(third)  # help at the third refusal in a row


def test_sg26_validation_context_survives_a_detour(managed: Managed):
    """The validation state of a step survives a visit to the menu."""
    chat = Chat(managed("flows", services=core()))
    before = chat.say("hi", "offer", "10 USD", "?!").state
    assert step(chat.say("menu").state) == ("carry_on", "offered")
    after = chat.say("yes").state
    assert before.run is not None
    assert after.run is not None
    assert after.run.flow_data.data == before.run.flow_data.data


@attrs.frozen
class Pick:
    offer: str = ""


PICKING = Bot(
    [
        Flow(
            "pick",
            data=Pick,
            initial="list",
            states=[
                State(
                    "list",
                    ask=Text("Which offer?"),
                    rows=lambda turn: [Row(name, name.title()) for name in turn.member.profile.get("offers", ["one"])],
                    into="offer",
                ),
                State("confirm", ask=lambda turn: Text("pick.confirm", offer=turn.data.offer)),
                State("done", final=True),
            ],
            transitions=[
                Transition("answer", "list", "confirm"),
                Transition("yes", "confirm", "done"),
                Transition("no", "confirm", "list"),
            ],
        )
    ]
)


@pytest.mark.parametrize("unknown", ["seven", "7", "0", "=two", "two"])
def test_sg27_unknown_choice_does_not_advance(managed: Managed, unknown: str):
    """An unknown choice is refused, and the list is shown again.

    Given a list of offers, when an id that is not on the list is typed or pressed, also one that was on it before, then
    the list is shown again with a reason. The original system went on to the confirmation with the id of an earlier
    choice.
    """
    chat = Chat(managed(PICKING))
    member = chat.say("hi").state.member_id
    chat.manager.update(member, with_profile("offers", ["one", "two"]))
    earlier = choices(chat.say("two", "no"))
    chat.manager.update(member, with_profile("offers", ["one"]))
    before = chat.say("help").state
    typed, bare = chat.say(unknown), chat.press(unknown)
    known = chat.press(earlier["=two"])
    for outcome in (typed, bare, known):
        assert step(outcome.state) == ("pick", "list")
        assert "not one of the choices" in words(outcome)
        assert list(choices(outcome)) == ["=one"]
        assert fields(outcome.state) == fields(before)


def test_sg27_unknown_account_does_not_advance(managed: Managed):
    """An unknown account is refused, and the list of accounts is shown again."""
    chat = Chat(managed("flows", services=core()), KATHERINE)
    assert step(chat.say("hi").state) == ("choose_account", "choosing")
    outcome = chat.say("ada")
    assert (outcome.status, step(outcome.state)) == ("refused", ("choose_account", "choosing"))
    assert step(chat.say("shop_two").state) == ("dashboard", "menu")


@attrs.frozen
class Careless:
    seen: list[str] = attrs.field(factory=list)
    last: str = ""


def test_sg29_two_members_never_share_memory(managed: Managed, client: Client):
    """Two members share no state in memory.

    Given a state that was made for one number, when another is made for another member, then it contains nothing of the
    first, even if an author changes shared objects in place. In the original system the second member's flow data had
    the first member's number until the process ended.
    """
    default: dict[str, Any] = {"numbers": []}

    def remember(turn: Turn[Careless]) -> Changes[Careless]:
        turn.data.seen.append(turn.data.last)  # what an author must not do
        profile = turn.member.profile or {"numbers": []}
        profile["numbers"].append(turn.channel.identifier)  # nor this
        return turn.changes(member=attrs.evolve(turn.member, profile={**default, **profile}))

    careless = Flow(
        "careless",
        data=Careless,
        initial="asking",
        states=[State("asking", ask=Text("?"), reads=str, into="last")],
        transitions=[Transition("answer", "asking", "asking", prepare=remember)],
    )
    manager = managed(Bot([careless]))
    people = [Chat(manager, Channel("whatsapp", f"26377{n:07}")) for n in range(3)]
    for text in ("hi", "one", "two"):
        for number, chat in enumerate(people):
            chat.say(text if text == "hi" else f"{text}-{number}")
    for number, chat in enumerate(people):
        others = [other for other in range(3) if other != number]
        document = chat.document
        assert document.profile["numbers"] == [chat.channel.identifier] * 2
        assert fields(document)["seen"] == [f"one-{number}", f"two-{number}"]
        for data in hashes(client, "state").values():
            if chat.channel.identifier.encode() in data:
                assert not [other for other in others if people[other].channel.identifier.encode() in data]


def test_sg30_cancel_cancels(managed: Managed):
    """The word "cancel" ends the flow and leads to the menu.

    Given an offer at the amount, when the member types "cancel", then the flow ends, and the menu is shown. In the
    original system "cancel" was the id of another flow, which it started.
    """
    chat = Chat(managed("flows", services=core()))
    chat.say("hi", "offer")
    outcome = chat.say("cancel")
    assert step(outcome.state) == ("dashboard", "menu")
    assert outcome.state.suspended == ()
    assert "nothing was sent" in words(outcome)


@pytest.mark.parametrize("text", ["menu", "Home", " hi ", "what?!"])
@pytest.mark.parametrize("path", [(), ("offer",), OFFERING[:2], OFFERING[:3], OFFERING], ids=len)
def test_sg31_menu_works_anywhere(managed: Managed, path: tuple[str, ...], text: str):
    """The word "menu" works in each state.

    Given a member who is logged in, in any state, when they send `menu`, `Home`, `" hi "` or nonsense, then the menu or
    a hint with the menu is shown. The original system answered each with an internal error.
    """
    chat = Chat(managed("flows", services=core()))
    before = chat.say("hi", *path).state
    outcome = chat.say(text)
    assert outcome.status in ("advanced", "refused")
    assert outcome.replies[-1].text
    if text == "what?!":
        assert (outcome.status, step(outcome.state)) == ("refused", step(before))
    elif len(path) in (2, 3):
        assert step(outcome.state) == ("carry_on", "offered")
        outcome = chat.say("no")
        assert step(outcome.state) == ("dashboard", "menu")
    else:
        assert step(outcome.state) == ("dashboard", "menu")
    for _ in range(6):
        outcome = chat.say("cancel")
    assert step(outcome.state) == ("dashboard", "menu")


def test_sg31_nonsense_often_leads_to_the_menu(managed: Managed):
    """Repeated nonsense leads to help, and then to the way to the menu."""
    chat = Chat(managed("flows", services=core()))
    chat.say("hi", "offer")
    replies = [words(chat.say("?!#")) for _ in range(6)]
    assert "menu" in replies[2].lower()
    assert "menu" in replies[5].lower()


# Identity, channels, token -------------------------------------------------------------------------------------------


def asked_core(service: SimulatedCredexCore, since: int) -> list[str]:
    """Return the names of the calls that the service received after the first `since`."""
    return [call.name for call in service.calls[since:]]


def test_sg35_token_age_is_known(managed: Managed):
    """An expired token is renewed before a call.

    Given a token that was issued 5 min 1 s ago, in a session that messages have prolonged, when an API call is due,
    then the token is renewed first. The original system stored no time, so the session outlived the token.
    """
    service = SimulatedCredexCore()
    options = {"services": {"credex_core": service}}
    chat = Chat(managed("flows", **options))
    first = chat.say("hi", "offer", "5", "alan").state
    assert first.token is not None
    assert first.token.expires - first.token.issued == timedelta(minutes=5)
    chat.manager = managed.at(200, "flows", **options)
    chat.say("help")
    chat.manager = managed.at(301, "flows", **options)
    before = len(service.calls)
    outcome = chat.say("help")
    assert (step(outcome.state), asked_core(service, before)) == (("offer", "confirm"), [])
    assert not outcome.state.authenticated
    assert was_sent(chat.say("yes"))
    assert asked_core(service, before) == ["login", "createCredex"]
    renewed = state_of(chat.manager, first.member_id)
    assert renewed.token is not None
    assert renewed.token.issued >= first.token.expires
    assert (renewed.authenticated, renewed.jwt_token == first.jwt_token) == (True, False)


def test_sg36_401_is_healed_anywhere(managed: Managed):
    """A 401 of any call leads to one renewal and one repetition.

    Given an expired token, when the member confirms an offer, then the token is renewed once, the call is repeated once
    with the same idempotency key, and the offer is made. The original system renewed only if the payload contained
    `phone`.
    """
    service = SimulatedCredexCore()
    chat = Chat(managed("flows", services={"credex_core": service}))
    before = chat.say("hi", "offer", "5", "alan").state
    service.expire_tokens()
    made, asked = len(service.offers), len(service.calls)
    outcome = chat.say("yes")
    assert was_sent(outcome)
    assert asked_core(service, asked) == ["createCredex", "login", "createCredex"]
    assert service.calls[asked].key == service.calls[-1].key != ""
    assert len(service.offers) == made + 1
    assert outcome.state.jwt_token not in (None, before.jwt_token)
    chat.say("offer", "5", "alan", "yes")  # with the new token
    assert asked_core(service, asked + 3) == ["getAccountByHandle", "createCredex"]


def test_sg37_logout_is_final(managed: Managed, client: Client):
    """A logout is final.

    Given a session, when its token is removed, then it is in neither memory nor store, and does not come back. The
    original system kept it in memory, and the next message restored it from `_previous_state`.
    """
    service = SimulatedCredexCore()
    worker, operator = (managed("flows", services={"credex_core": service}) for _ in range(2))
    chat = Chat(worker)
    before = chat.say("hi", "offer", "5", "alan").state
    assert before.jwt_token is not None
    operator.update(before.member_id, lambda document: attrs.evolve(document, authenticated=False, jwt_token=None))
    for name in ("state", "prev"):  # at once, and not only when another turn has pushed it out
        assert not any(before.jwt_token.encode() in document for document in hashes(client, name).values())
    asked = len(service.calls)
    for outcome in (chat.say("help"), chat.say("nonsense")):
        assert (outcome.state.authenticated, outcome.state.jwt_token, outcome.state.token) == (False, None, None)
    for name in ("state", "prev"):
        assert not any(before.jwt_token.encode() in document for document in hashes(client, name).values())
    assert asked_core(service, asked) == []
    assert was_sent(chat.say("yes"))  # through the login, and back
    assert asked_core(service, asked) == ["login", "createCredex"]
    assert state_of(worker, before.member_id).jwt_token not in (None, before.jwt_token)


def test_sg38_bounded_record(managed: Managed, client: Client):
    """The record does not grow with the number of updates.

    Given 100 updates, when the record is measured, then it contains no copy of itself, and has not grown. The original
    system always stored a second copy, with the token.
    """
    chat = Chat(managed("flows", services=core()))
    document = chat.say("hi", "offer").state
    manager = chat.manager
    key = next(key for key in hashes(client, "state") if b"member-" in key)
    manager.update(document.member_id, with_profile("n", 100))
    first = len(hashes(client, "state")[key])
    for n in range(50):
        manager.update(document.member_id, with_profile("n", 101 + n))
        chat.say("?!")
    data = hashes(client, "state")[key]
    assert len(data) <= first + 64  # digits of counters
    assert document.jwt_token is not None
    for once in (document.jwt_token.encode(), b'"jwt_token"', b'"profile"'):
        assert data.count(once) == 1
    assert len(stored_records(client, key)) == 16


# Audit ---------------------------------------------------------------------------------------------------------------


def test_sg43_the_audit_returns_each_stored_event(managed: Managed):
    """The audit returns each event that it stored.

    Given an event whose text contains " - ", when the history is read, then the event is there. The original system
    split lines at " - ", so such events were lost.
    """
    chat = Chat(managed(note_bot()))
    nasty = 'a - b - c | "d"\n\t{e} - \\ %s 𝔘 - '
    member = chat.say("hi", nasty).state.member_id
    history = managed(note_bot()).history(member)
    assert history[-1].after["text"] == nasty
    assert [entry.version for entry in history] == [1, 2]


def test_sg44_success_means_saved(own_server: Server):
    """The audit has no success of a turn that was not stored.

    The original system logged success before the save.
    """
    told: list[CommitEvent] = []
    with FlowStateManager.from_url(own_server.url, COUNTER, observers=[told.append]) as manager:
        chat = Chat(manager)
        member = chat.say("hi", "5").state.member_id
        refuse_writes(own_server)
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                chat.say("6")
        accept_writes(own_server)
        assert [entry.status for entry in manager.history(member)] == ["advanced", "advanced"]
        assert len(told) == 2
        chat.say("7")
        assert [details.entry.version for details in told] == [1, 2, 3]


def test_sg44_one_refusal_no_success(managed: Managed):
    """An answer that would make the document too large leaves one refusal and no success in the audit."""
    told: list[CommitEvent] = []
    chat = Chat(managed(note_bot(lambda turn: Text("x")), observers=[told.append]))
    member = chat.say("hi").state.member_id
    chat.manager.update(member, with_profile("bulk", "x" * 47_000))
    outcome = chat.say("y" * 4000)
    assert outcome.status == "refused"
    entries = managed(note_bot()).history(member)[2:]
    assert [(entry.kind, entry.status, entry.codes) for entry in entries] == [
        ("refusal", "refused", ("message.too_much",))
    ]
    assert [(each.entry.kind, each.entry.status) for each in told] == [
        ("command", "advanced"),
        ("update", "advanced"),
        ("refusal", "refused"),
    ]
    assert step(state_of(chat.manager, member)) == ("note", "text")
    assert chat.say("short").status == "advanced"


def test_sg45_from_is_not_to(managed: Managed):
    """The source of an audited transition lacks the change of the transition.

    In the original system source and target were equal.
    """
    chat = Chat(managed())
    chat.say("hi", "5")
    entry = chat.manager.history(chat.say("6").state.member_id)[-1]
    assert (entry.before["n"], entry.after["n"], entry.changed) == (5, 11, ("by", "n"))


def test_sg45_from_is_not_to_in_an_offer(managed: Managed):
    """The same holds of a step of VimbisoPay."""
    offer = Chat(managed("flows", services=core()))
    entry = offer.manager.history(offer.say("hi", "offer", "10").state.member_id)[-1]
    assert (entry.source, entry.dest) == ("amount", "handle")
    assert "10" not in str(entry.before)
    assert "10" in str(entry.after)


class Exploding:
    """A service and callbacks whose errors quote all values that they have."""

    def explode(self, text: str, caller: Any = None) -> str:
        raise RuntimeError(f"{text} {caller.token} {caller.channel.identifier} {caller!r}")


def exploding_bot() -> Bot:
    """Make a bot whose guard, action or call raises, as the member's message asks."""

    def guard(turn: Turn[Any]) -> bool | Refused:
        if turn.data.text.startswith("guard"):
            raise ValueError(f"{turn.data} {turn.member.jwt_token} {turn.channel.identifier}")
        return True

    def known(turn: Turn[Any]) -> Changes[Any]:
        member = attrs.evolve(
            turn.member, authenticated=True, jwt_token="token-canary-8d31", profile={"n": "Cassandra"}
        )
        return turn.changes(member=member)

    def explode(turn: Turn[Any]) -> Call[str]:
        return call(Exploding.explode, turn.data.text)

    def reads(text: str) -> str | Refused:
        return Refused("text.bad", text=text) if text.startswith("bad") else text

    flow = Flow(
        "exploding",
        data=attrs.make_class("Quiet", {"text": attrs.field(default="", type=str)}, frozen=True),
        initial="text",
        states=[
            State("text", ask=Text("Text?"), reads=reads, into="text"),
            State("calling", call=explode),
            State("end", final=True),
        ],
        transitions=[
            Transition("answer", "text", "calling", conditions=guard, prepare=known),
            Transition("done", "calling", "end"),
            Transition("failed", "calling", "end"),
        ],
    )
    return Bot([flow], services={"exploding": Exploding()}, texts={"text.bad": "{text} is bad."})


def test_sg46_no_secrets(
    managed: Managed, client: Client, own_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """Logs, audit, observers and errors contain no secrets.

    Given logins and whole conversations, when all logs, audit entries, details of observers and errors are searched for
    tokens, phone numbers, names and typed texts, then none is found. The original system logged the token with every
    update.
    """
    caplog.set_level(logging.DEBUG)
    for name in list(logging.root.manager.loggerDict):
        caplog.set_level(logging.DEBUG, name)
    told: list[CommitEvent] = []
    errors: list[BaseException] = []
    canary = "zebra_canary"
    secrets = {NEW.identifier, ADA.identifier, KATHERINE.identifier, "Cassandra", "Quetzalcoatl", canary}
    secrets |= {"Lovelace", "Turing", "token-canary-8d31"}

    def attempt(act: Callable[[], object]) -> None:
        try:
            act()
        except VimbisoError as error:
            errors.append(error)

    def observe(details: CommitEvent) -> None:
        told.append(details)
        raise RuntimeError("an observer fails")

    service = SimulatedCredexCore()
    services = {"credex_core": service}
    manager = managed("flows", services=services, observers=[observe])
    new, ada, katherine = Chat(manager, NEW), Chat(manager, ADA), Chat(manager, KATHERINE)
    new.say("hi", "become_member", "Cassandra", "<zebra_canary>", "Quetzalcoatl", "back", "Quetzalcoatl", "yes")
    new.say("offer", "zebra_canary USD", "10 USD", "zebra_canary", "alan", "yes", "zebra_canary" * 400)
    katherine.say("hi", "zebra_canary", "shop_one", "offer")
    katherine.press("zebra_canary")
    ada.say("hi", *OFFERING[:3])
    service.faults = [Fault("lost", "createCredex", times=3), Fault("401", "createCredex", times=1)]
    ada.say("yes", "yes")
    apart = managed(exploding_bot(), observers=[observe], namespace="exploding")
    exploding = Chat(apart, Channel("whatsapp", "263771987654"))
    secrets.add(exploding.channel.identifier)
    exploding.say("hi", "bad zebra_canary", "guard zebra_canary", "call zebra_canary", "menu", "menu")
    documents = [chat.document for chat in (new, ada, katherine, exploding)]
    secrets |= {document.jwt_token for document in documents if document.jwt_token}
    assert len([secret for secret in secrets if "token" in secret or secret.startswith("ey")]) >= 3

    member = documents[0].member_id
    repeated = new.message("zebra_canary")
    manager.handle(repeated)
    attempt(lambda: manager.save(attrs.evolve(documents[0], version=3)))
    attempt(lambda: manager.update(member, lambda document: attrs.evolve(document, jwt_token="")))
    attempt(lambda: manager.update(member, with_profile("service", [canary, service])))
    attempt(lambda: Message(NEW, "", canary))
    attempt(lambda: Channel("whatsapp", f"{NEW.identifier}\n"))
    manager.handle(attrs.evolve(repeated, text=f"{canary}, other words"))
    (state,) = (key for key in hashes(client, "state") if member.encode() in key)
    client.hset(state.decode(), "d", encode(documents[0]).replace(b'"authenticated":true', b'"authenticated":"no"'))
    attempt(lambda: manager.state(member))
    Chat(managed("flows", services=services, observers=[observe]), NEW).say("zebra_canary")
    broken = FlowStateManager.from_url(own_server.url, "flows", services=services, observers=[observe])
    with broken:
        Chat(broken, NEW).say("hi")
        refuse_writes(own_server)
        attempt(lambda: Chat(broken, NEW).say(canary))
        own_server.process.kill()
        own_server.process.wait()
        attempt(lambda: Chat(broken, NEW).say(canary))
    attempt(lambda: FlowStateManager.from_url(f"http://{canary}@host", "flows"))

    logs = [logging.Formatter().format(record) for record in caplog.records]
    raw = [entry.decode() for entry in entries(client)]
    raised = ["".join(traceback.format_exception(error)) + str(vars(error)) for error in errors]
    assert "vimbiso_fsm" in {record.name.partition(".")[0] for record in caplog.records}
    assert len(raw) > 40
    assert len(told) > 40
    assert {type(error).__name__ for error in errors} == {
        "DamagedDocument",
        "InvalidMessage",
        "InvalidState",
        "NotStorable",
        "StoreUnavailable",
        "VersionConflict",
    }
    for place, texts in {"log": logs, "audit": raw, "observer": map(repr, told), "error": raised}.items():
        for text in texts:
            found = [secret for secret in secrets if secret in text]
            assert not found, f"{place}: {found} in {text[:2000]}"


def test_sg47_audit_cannot_break_a_conversation(managed: Managed, capsys: pytest.CaptureFixture[str]):
    """A failing observer or log does not end a conversation.

    Given observers that fail in every way, and a log on a full disk, when they are called, then the conversation
    continues. In the original system a `TypeError` reached the caller and ended the flow.
    """

    def fails(_: CommitEvent) -> None:
        raise TypeError("not serialisable")

    def full(_: CommitEvent) -> None:
        raise OSError(28, "No space left on device")

    told: list[CommitEvent] = []
    handler = logging.FileHandler("/dev/full")
    logger = logging.getLogger("vimbiso_fsm")
    logger.addHandler(handler)
    try:
        chat = Chat(managed(observers=[fails, full, json.dumps, told.append]))
        outcome = chat.say("hi", "1", "oops", "2")
    finally:
        logger.removeHandler(handler)
        with suppress(OSError):  # it flushes
            handler.close()
    assert "No space left on device" in capsys.readouterr().err
    assert fields(outcome.state)["n"] == 3
    assert [details.entry.version for details in told] == [1, 2, 3, 4]


def test_sg47_an_event_that_cannot_be_serialised(managed: Managed):
    """An event that cannot be serialised gets a reply in plain words, and the conversation continues."""

    def odd(text: str) -> Any:
        return {"guard": Refused("odd", thing=object()), "live": object()}.get(text, text)

    chat = Chat(managed(note_bot(reads=odd)))
    member = chat.say("hi").state.member_id
    outcomes = [chat.say(text) for text in ("guard", "live", "fine")]
    assert [outcome.status for outcome in outcomes] == ["refused", "failed", "advanced"]
    assert [entry.version for entry in chat.manager.history(member)] == [1, 2, 3, 4]


def test_sg48_events_are_found_by_member_and_by_channel(managed: Managed):
    """Each event is found by its member and by its channel.

    In the original system 0 of 7 records had either.
    """
    chat = Chat(managed("flows", services=core()), NEW)
    chat.say(*ONBOARDING, "?!", "help", "offer", "menu", "no")
    member = chat.press("nothing").state.member_id
    chat.manager.update(member, with_profile("seen", True))
    every = chat.manager.history(member)
    kinds = {entry.kind for entry in every}
    assert kinds >= {"command", "transition", "refusal", "move", "update"}
    assert all(entry.member_id for entry in every)
    assert chat.manager.history(member, channel=NEW) == every
    assert chat.manager.history(member, channel=ADA) == ()
    for entry in every:
        found = chat.manager.history(member, since=entry.at, until=entry.at, channel=NEW)
        assert entry in found
        assert {entry.flow for entry in chat.manager.history(member, flow="onboard")} >= {"onboard"}


# Recovery ------------------------------------------------------------------------------------------------------------


def spoil(client: Client, name: str = "state", data: bytes = b'{"broken') -> None:
    """Damage each stored document of a kind."""
    for key in client.keys(f"*:{name}"):
        client.hset(key, "d", data)


def state_key(client: Client, member_id: str) -> bytes:
    """Return the key of a member's document."""
    (key,) = client.keys(f"*:{member_id}:state") or client.keys(f"*:{member_id.replace('-', '%2D')}:state")
    return bytes(key)


def lately(manager: FlowStateManager, member_id: str) -> Mapping[str, Any]:
    """Return the audit entry of the latest recovery."""
    return [entry for entry in manager.history(member_id) if entry.kind == "recovery"][-1].detail


def test_sg39_recovery_finds_the_last_good_state(managed: Managed, client: Client):
    """Recovery restores the state after the last valid answer.

    Given a valid answer to step one, when step two fails, then recovery restores exactly the state after step one. The
    original system found nothing for the current, the previous or any step.
    """
    chat = Chat(managed("flows", services=core()))
    good = chat.say("hi", "offer", "5").state
    chat.say("no handle, I think")
    spoil(client)
    chat.manager = managed("flows", services=core())
    state = chat.say("alan").state
    assert (step(state), fields(state)) == (("offer", "handle"), fields(good))
    assert (state.profile, state.current_account) == (good.profile, good.current_account)
    assert lately(chat.manager, state.member_id)["from"] == "previous"


def test_sg40_recovery_survives_being_used(managed: Managed, client: Client):
    """After a recovery the member is asked again.

    Given a failure that can be recovered from, when recovery runs, then the question is asked again, and the flow
    continues. The original system raised an error after it had replaced the data.
    """
    chat = Chat(managed("flows", services=core()))
    chat.say("hi", "offer", "5")
    for _ in range(3):
        spoil(client)
        chat.manager = managed("flows", services=core())
        outcome = chat.say("alan")
        assert outcome.status == "recovered"
        assert words(outcome).endswith("How much do you want to offer?")
        chat.say("5")
    assert step(chat.say("alan").state) == ("offer", "confirm")
    assert was_sent(chat.say("yes"))


def test_sg41_recovery_is_private(managed: Managed, client: Client):
    """The recovery of one member uses no data of another.

    Given that the record of one member is damaged while a request of another begins, when the first session is
    recovered, then it contains nothing of the second. In the original system it became the session of the other member.
    """
    bob, alice = Chat(managed("flows", services=core()), ALAN), Chat(managed("flows", services=core()), ADA)
    before = bob.say("hi", "offer", "5").state
    alice.say("hi", "offer", "7 USD")
    client.hset(state_key(client, before.member_id), "d", b"{}")
    bob.manager = alice.manager = managed("flows", services=core())  # the same worker: what it keeps, it keeps apart
    her = alice.say("help").state.member_id
    store = bob.manager._store
    between = bob.manager._store = Between(store, lambda: alice.say("menu", "yes"))
    outcome = bob.say("ada")
    bob.manager._store = store
    assert between.requests > 5
    state = outcome.state
    assert (outcome.status, state.member_id, state.profile) == ("recovered", before.member_id, before.profile)
    assert "tidy up" in words(outcome)
    assert "7.00" not in str(fields(state))
    assert "recovery" not in [entry.kind for entry in bob.manager.history(her)]
    assert alice.document.profile["firstname"] == "Ada"


def test_sg42_recovery_never_makes_it_worse(managed: Managed, client: Client):
    """Recovery keeps all valid fields.

    Given a state with one invalid field, when it is recovered, then all valid fields are kept. The original system
    replaced everything by `{mobile_number}`.
    """
    chat = Chat(managed("flows", services=core()))
    member = chat.say("hi", "offer", "5").state.member_id
    before = chat.manager.update(member, with_profile("seen", True))  # newer than anything recovery can go back to
    key = state_key(client, before.member_id)
    raw = json.loads(client.hget(key, "d"))
    write_document(client, key, json.dumps({**raw, "current_account": "none"}))
    chat.manager = managed("flows", services=core())
    state = chat.say("menu").state
    kept = ("member_id", "channel", "jwt_token", "authenticated", "profile", "current_account", "channels")
    assert {name: getattr(state, name) for name in kept} == {name: getattr(before, name) for name in kept}


def test_sg55_damage_is_noticed(managed: Managed, client: Client):
    """A damaged record is reported and quarantined.

    Given a record that is not valid JSON or has another Redis type, when it is loaded, then the log and the audit
    report it, its bytes are quarantined, and the member is told. The original system overwrote it with an empty
    session. A key of another type has taken the previous record along, and the audit tells the open flow.
    """
    for value, source in ((b"\xff{", "previous"), ("words, no hash", "restart")):
        client.flushall()
        chat = Chat(managed("flows", services=core()))
        member = chat.say("hi", "offer", "5").state.member_id
        key = state_key(client, member)
        if isinstance(value, bytes):
            client.hset(key, "d", value)
        else:
            client.set(key, value)
        told: list[CommitEvent] = []
        chat.manager = managed("flows", services=core(), observers=[told.append])
        outcome = chat.say("alan")
        assert outcome.status == "recovered"
        assert "tidy up" in words(outcome)
        assert told[0].entry.kind == "recovery"
        assert (lately(chat.manager, member)["from"], step(outcome.state)) == (source, ("offer", "amount"))
        assert lately(chat.manager, member)["lost"]
        assert client.keys("*:aside:*:state")


# Ends of sessions ----------------------------------------------------------------------------------------------------


def test_sg50_looking_is_not_living(managed: Managed, client: Client):
    """Only messages that are taken renew a session.

    Given a session with 15 s left, when a message above the age limit is ignored, then 15 s remain, and nothing is
    written. Reads and duplicates do not renew it either. The original system set 300 s and wrote the record.
    """
    service = SimulatedCredexCore()
    bot = attrs.evolve(vimbisopay.bot, limits=Limits(age=60))
    chat = Chat(managed(bot, services={"credex_core": service}))
    member = chat.say("hi", "offer").state.member_id
    repeated = chat.message("5")
    before = chat.manager.handle(repeated).state
    chat.manager = managed.at(285, bot, services={"credex_core": service})
    kept = hashes(client, "state"), hashes(client, "prev"), entries(client)
    sent = datetime.now(UTC) + timedelta(seconds=285 - 61)
    outcome = chat.manager.handle(chat.message("alan", sent_at=sent))
    assert (outcome.status, len(outcome.replies)) == ("ignored", 2)
    assert chat.manager.handle(repeated).status == "duplicate"
    assert state_of(chat.manager, member).deadline == before.deadline
    assert (hashes(client, "state"), hashes(client, "prev"), entries(client)) == kept
    chat.manager = managed.at(299, bot, services={"credex_core": service})
    assert step(chat.say("alan").state) == ("offer", "confirm")


def test_sg51_expiry_is_announced(managed: Managed):
    """A member is told that the session ended.

    Given an offer at its confirmation whose session has expired, when its button is pressed, then no API call is made
    for it, the reply says that the session ended and the offer was not sent, and the login leads home. The original
    system showed an error.
    """
    service = SimulatedCredexCore()
    chat = Chat(managed("flows", services={"credex_core": service}))
    confirm = chat.say("hi", "offer", "5", "alan")
    before = len(service.offers)
    chat.manager = managed.at(301, "flows", services={"credex_core": service})
    outcome = chat.press(choices(confirm)["yes"])
    assert "Your session ended" in words(outcome)
    assert "was not sent" in words(outcome)
    assert step(outcome.state) == ("carry_on", "offered")
    assert (len(service.offers), outcome.state.authenticated) == (before, True)
    assert not [call for call in service.calls if call.name == "createCredex"]


def test_sg51_expiry_is_announced_by_the_worker(managed: Managed):
    """The worker delivers the end of a session and drops the token, and the next message continues from there."""
    service = SimulatedCredexCore()
    chat = Chat(managed("flows", services={"credex_core": service}))
    confirm = chat.say("hi", "offer", "5", "alan")
    told: list[tuple[Channel, str]] = []

    def deliver(channel: Channel, replies: Sequence[Reply], /) -> None:
        told.extend((channel, reply.text) for reply in replies)

    worker = managed.at(301, "flows", services={"credex_core": service}, deliver=deliver)
    assert [entry.kind for entry in worker.wake(confirm.state.member_id)] == ["session", "delivery"]
    assert {channel for channel, _ in told} == {ADA}
    assert [text for _, text in told] == [
        "Your session ended after a while of silence.",
        "What you had not confirmed (offer) was not sent.",
    ]
    asleep = state_of(worker, confirm.state.member_id)
    assert (asleep.authenticated, asleep.jwt_token, asleep.run, asleep.deadline) == (False, None, None, None)
    assert worker.wake(confirm.state.member_id) == ()
    chat.manager = worker
    outcome = chat.press(choices(confirm)["yes"])
    assert step(outcome.state) == ("carry_on", "offered")
    assert step(chat.say("yes").state) == ("offer", "confirm")
    assert was_sent(chat.say("yes"))


def test_sg52_cleanup_respects_a_newer_write(managed: Managed):
    """A cleanup works on the newest document.

    Given a request that saves between the read and the write of a cleanup, when the cleanup runs, then it works on the
    newer document. The original system read before it watched the key, and restored the older value.
    """
    service = SimulatedCredexCore()
    chat = Chat(managed("flows", services={"credex_core": service}))
    member = chat.say("hi", "offer", "5").state.member_id
    chat.manager = managed.at(299, "flows", services={"credex_core": service})  # in time, by a second
    cleanup = managed.at(301, "flows", services={"credex_core": service})
    meddling = cleanup._store = Meddling(cleanup._store, lambda: chat.say("alan"), times=1)
    assert cleanup.wake(member) == ()
    assert meddling.times == 0
    document = state_of(cleanup, member)
    assert (step(document), document.authenticated) == (("offer", "confirm"), True)
    assert was_sent(chat.say("yes"))
    assert "session" not in [entry.kind for entry in cleanup.history(member)]


def test_sg57_eviction_is_not_silence(managed: Managed, client: Client):
    """An evicted session is announced and counted.

    Given a server without free memory, when a session is evicted, then the member is told as in SG-51, and the loss is
    counted. The original system treated the member as unknown.
    """
    service = SimulatedCredexCore()
    chat = Chat(managed("flows", services={"credex_core": service}))
    confirm = chat.say("hi", "offer", "5", "alan")
    before = state_of(chat.manager, confirm.state.member_id)
    assert client.delete(*client.keys("*:state"))
    chat.manager = managed("flows", services={"credex_core": service})  # no copy in its cache
    outcome = chat.press(choices(confirm)["yes"])
    assert words(outcome).startswith("Your session ended. What you had not confirmed was not sent.")
    assert (outcome.status, step(outcome.state)) == ("recovered", ("dashboard", "menu"))
    assert not [call for call in service.calls if call.name == "createCredex"]
    assert outcome.state.version > before.version
    lost = [entry for entry in chat.manager.history(before.member_id) if entry.kind == "recovery"]
    assert [entry.detail["lost"] for entry in lost] == [["document"]]


def test_sg57_a_member_who_stayed_away_is_no_loss(managed: Managed, client: Client):
    """A document that expired after its thirty days counts neither as recovered nor as evicted."""
    service = SimulatedCredexCore()
    chat = Chat(managed("flows", services={"credex_core": service}))
    member = chat.say("hi").state.member_id
    client.delete(*client.keys("*:state"))
    chat.manager = managed.at(31 * 86_400, "flows", services={"credex_core": service})
    outcome = chat.say("hi")
    assert (outcome.status, step(outcome.state)) == ("advanced", ("dashboard", "menu"))
    assert "recovery" not in [entry.kind for entry in chat.manager.history(member)]


# Errors towards the member -------------------------------------------------------------------------------------------


def apologises(chat: Chat) -> None:
    """Check that each message gets an apology and no invitation, and that the login is tried again."""
    for text in ("hi", "hello", "menu", "anything"):
        outcome = chat.say(text)
        assert step(outcome.state)[0] == "login"
        assert "cannot reach" in words(outcome)
        assert "member" not in words(outcome).lower()


def test_sg59_an_outage_is_not_a_new_customer(managed: Managed):
    """An outage of the API is not taken for an unknown member.

    Given an API that is down, when a member greets, then they get an apology, the session is kept, and the login is
    tried again later. The original system invited them to register.
    """
    service = SimulatedCredexCore(faults=[Fault("down")])
    chat = Chat(managed("flows", services={"credex_core": service}))
    apologises(chat)
    assert len(service.calls) == 4
    service.faults = ()
    assert step(chat.say("hi").state) == ("dashboard", "menu")


@pytest.mark.parametrize("status", [500, 502, 503])
def test_sg59_an_answer_of_500_is_an_outage(managed: Managed, status: int):
    """A response with status 500 is an outage.

    Given an API that responds with 500 over HTTP, when a member greets, then they get the same apology. When the API is
    back, the member is known. The original system invited them to register.
    """
    real = core_server.application(SimulatedCredexCore())
    broken = Starlette(routes=[Route("/{path:path}", lambda _: Response("oops", status), methods=["POST"])])
    serves = [broken]

    async def core_or_none(scope: Scope, receive: Receive, send: Send) -> None:
        await serves[-1](scope, receive, send)

    with (
        core_server.listening() as bound,
        core_server.running(core_or_none, bound) as url,
        HttpCredexCore(url) as service,
    ):
        chat = Chat(managed("flows", services={"credex_core": service}))
        apologises(chat)
        serves.append(real)
        assert step(chat.say("hi").state) == ("dashboard", "menu")


@pytest.mark.parametrize(
    ("path", "wrong", "where"),
    [
        (ONBOARDING[:1], "I do not know", ("onboard", "welcome")),
        (ONBOARDING[:2], "4mmy", ("onboard", "firstname")),
        (ONBOARDING[:3], "<b>", ("onboard", "lastname")),
        (ONBOARDING[:4], "perhaps", ("onboard", "confirm")),
        ((*ONBOARDING, *OFFERING[:1]), "ten", ("offer", "amount")),
        ((*ONBOARDING, *OFFERING[:1]), "20.01", ("offer", "amount")),
        ((*ONBOARDING, *OFFERING[:2]), "al an", ("offer", "handle")),
        ((*ONBOARDING, *OFFERING[:2]), "emmy_noether", ("offer", "handle")),
        ((*ONBOARDING, *OFFERING[:2]), "nobody", ("offer", "handle")),
        ((*ONBOARDING, *OFFERING[:3]), "perhaps", ("offer", "confirm")),
    ],
)
def test_sg60_bad_input_is_not_a_bad_flow(managed: Managed, path: tuple[str, ...], wrong: str, where: tuple[str, str]):
    """Refused input keeps the step and the earlier answers.

    Given any step, when its input is refused, then the step stays, the reply has a reason, and earlier answers are
    kept. In the original system an exception in a validator counted as bad input, and a later error deleted the
    session.
    """
    chat = Chat(managed("flows", services=core()), NEW)
    before = chat.say(*path).state
    outcome = chat.say(wrong)
    assert step(outcome.state) == step(before) == where
    assert len(outcome.replies) >= 2  # a reason, and the question
    assert {**fields(outcome.state), "handle": ""} == {**fields(before), "handle": ""}
    assert outcome.state.suspended == before.suspended


def test_sg60_a_validator_that_raises_is_not_bad_input(managed: Managed):
    """An exception in a validator is a fault of the bot; it is not counted as a refusal of the member."""

    def reads(text: str) -> str:
        return str(1 // len(text.strip("!")))

    chat = Chat(managed(note_bot(reads=reads)))
    before = chat.say("hi").state
    outcome = chat.say("!")
    assert outcome.status == "failed"
    assert without_bookkeeping(outcome.state) == without_bookkeeping(before)


# At the door ---------------------------------------------------------------------------------------------------------


def webhook(said: Mapping[str, Any]) -> bytes:
    """Return the body of a WhatsApp webhook with one message."""
    value = {"metadata": {"phone_number_id": "1"}, "messages": [{"from": ADA.identifier, "id": "wamid.1", **said}]}
    body = {"object": "whatsapp_business_account", "entry": [{"changes": [{"field": "messages", "value": value}]}]}
    return json.dumps(body).encode()


def test_sg66_an_image(managed: Managed):
    """An image at a question for text gets the advice to write or tap.

    The original system handled it as empty text.
    """
    chat = Chat(managed("flows", services=core()))
    before = chat.say("hi", "offer").state
    (message,) = whatsapp.parse(webhook({"type": "image", "image": {"id": "1", "mime_type": "image/jpeg"}})).messages
    outcome = chat.manager.handle(message)
    assert outcome.status == "refused"
    assert "please write, or tap" in words(outcome)
    assert (step(outcome.state), fields(outcome.state)) == (step(before), fields(before))


@pytest.mark.parametrize("amount", ["1" + "0" * 309, "١٠٠", "0.00001 USD", "1e3", "inf", "nan", "-1", "0", "1,000"])
def test_sg68_odd_amounts_are_refused(managed: Managed, amount: str):
    """Amounts that no rule allows are refused: 310 digits, `١٠٠`, `0.00001` USD.

    The original system read them as infinity, 100 and a thousandth of a cent.
    """
    chat = Chat(managed("flows", services=core()), ALAN)
    before = chat.say("hi", "offer").state
    outcome = chat.say(amount)
    assert outcome.status == "refused"
    assert (step(outcome.state), fields(outcome.state)) == (step(before), fields(before))
