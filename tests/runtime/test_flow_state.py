"""The managers, sync and async: shared, queued, crashed at every step, on a real server."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

import attrs
import pytest

import flows as vimbisopay
from flows.credex_core import Fault, SimulatedCredexCore
from tests.digests import guest_id
from tests.engines import Server
from tests.shells import Shell
from vimbiso_fsm.audit.entries import AuditEntry
from vimbiso_fsm.audit.flow_audit import CommitEvent, FlowAuditLogger
from vimbiso_fsm.document.codec import decode, document_to_raw
from vimbiso_fsm.document.document import Document
from vimbiso_fsm.errors import Contended, DamagedDocument, InvalidState, MemberNotFound, ServiceError, VersionConflict
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.calls import Call, Caller, call
from vimbiso_fsm.flow.flow import Flow
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.flow.turn import Turn
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.replies import Reply, Text
from vimbiso_fsm.operations.handle import Outcome
from vimbiso_fsm.runtime.base import resolve_bot
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager, FlowStateManager
from vimbiso_fsm.runtime.services import with_retries
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.store.requests import (
    Broken,
    Claim,
    Commit,
    Effect,
    Load,
    ReadAudit,
    ReadDigests,
    ReadOwner,
    Request,
    Store,
    Stored,
)
from vimbiso_fsm.testing.chat import CHANNEL, STORE_SECRET, choices

pytestmark = pytest.mark.embedded

ADA = Channel("whatsapp", "263771000001")
ALAN = Channel("whatsapp", "263771000002")
NEW = Channel("whatsapp", "263771234567")

LIMIT = 30.0
"""Seconds after which something that must happen has failed; no test needs it to pass in time."""

ONBOARDING = ("hi", "become_member", "Emmy", "Noether", "yes")
OFFERING = ("offer", "10 USD", "alan", "yes")
EVERYTHING = (*ONBOARDING, "menu", *OFFERING)

NOBODY = Caller()

R = TypeVar("R")

Client: TypeAlias = Any
"""A `redis.Redis`, whose answers redis-py types for sync and async at once."""

_ids = count()


class Managed(Protocol):
    """Makes managers on the test's server, each with an empty cache."""

    def __call__(self, flows: Bot | str = "flows", **options: Any) -> FlowStateManager: ...


@pytest.fixture
def managed(valkey_url: str) -> Generator[Managed, None, None]:
    """Make managers on the server, and close them after the test."""
    with ExitStack() as stack:

        def make(flows: Bot | str = "flows", **options: Any) -> FlowStateManager:
            return stack.enter_context(FlowStateManager.from_url(valkey_url, flows, **options, secret=STORE_SECRET))

        yield make


@pytest.fixture
def client(valkey_server: Server) -> Generator[Client, None, None]:
    """Yield a plain client, which reads keys beside the store."""
    with valkey_server.client() as client:
        yield client


def message(text: str, channel: Channel = ADA) -> Message:
    """Return a message with an id of its own."""
    return Message(channel, f"m{next(_ids)}", text)


def say(manager: FlowStateManager, *texts: str, channel: Channel = ADA) -> Outcome:
    """Handle messages one after the other, and return the last outcome."""
    return [manager.handle(message(text, channel)) for text in texts][-1]


def words(outcome: Outcome) -> list[str]:
    """Return the texts of all replies."""
    return [reply.text for reply in outcome.replies]


def step(document: Document | None) -> tuple[str, str]:
    """Return the flow and the step of the document's run."""
    assert document is not None
    assert document.run is not None
    return document.run.flow, document.run.step


def core(*faults: Fault) -> dict[str, SimulatedCredexCore]:
    """Return the services of the bot, with a simulated credex-core that has the given faults."""
    return {"credex_core": SimulatedCredexCore(faults=faults)}


# A bot with one call -------------------------------------------------------------------------------------------------


class Service(Protocol):
    """The port of the service."""

    def work(self, what: str, *, caller: Caller = NOBODY) -> str:
        """Do the work."""
        ...


@attrs.frozen
class Job:
    what: str = ""
    done: str = ""


def propose(turn: Turn[Job]) -> Call[str]:
    """Propose the call for the job."""
    return call(Service.work, turn.data.what)


def finished(turn: Turn[Job]) -> Text:
    """Return the text that names the result of the job."""
    return Text("job.done", done=turn.data.done)


JOB = Bot(
    [
        Flow(
            "job",
            data=Job,
            initial="asking",
            states=[
                State("asking", ask=Text("What?"), reads=str, into="what"),
                State("working", call=propose, into="done"),
                State("finished", say=finished, final=True),
                State("failed", say=Text("job.failed"), final=True),
            ],
            transitions=[
                Transition("answer", "asking", "working"),
                Transition("done", "working", "finished"),
                Transition("failed", "working", "failed"),
            ],
        )
    ],
    texts={"job.done": "Did {done}."},
)


class Quick:
    """Answers at once."""

    def work(self, what: str, *, caller: Caller = NOBODY) -> str:
        assert caller.key
        return what.upper()


class Slow:
    """Works on "wait" until it is released. `began` is set when it has begun."""

    def __init__(self) -> None:
        self.began, self.go_on = threading.Event(), threading.Event()

    def work(self, what: str, *, caller: Caller = NOBODY) -> str:
        if what == "wait":
            self.began.set()
            assert self.go_on.wait(LIMIT)
        return what.upper()


# Sync and async ------------------------------------------------------------------------------------------------------

CONVERSATIONS: list[list[tuple[Channel, str]]] = [
    [(NEW, text) for text in (*EVERYTHING, "back", "help", "cancel")],
    [(ADA, text) for text in ("hi", "offer", "nonsense", "1000000", "5", "nobody", "back", "6", "alan", "no", "menu")],
    [(channel, text) for text in ("hi", "offer", "1 USD", "grace", "yes") for channel in (ADA, ALAN)],
    [(NEW, text) for text in ("hi", "x", "x", "x", "1", "4", "Em", "No", "no", "Emmy", "Noether", "yes", "0.5=>alan")],
]

FAULTS = {
    "sound": [],
    "down": [Fault("down", times=2)],
    "lost": [Fault("lost", times=2)],
    "401": [Fault("401", times=1)],
}


def told_apart(entry: AuditEntry) -> AuditEntry:
    """Return an audit entry without the values that depend on the clock."""
    return attrs.evolve(entry, at=datetime(2000, 1, 1, tzinfo=UTC), document="", previous="")


def timeless(value: Any) -> Any:
    """Return a document without its instants."""
    if isinstance(value, dict):
        instants = {"_last_updated", "_deadline", "_session_since", "_token", "jwt_token"}
        instants |= {"leased_until", "again_at", "since", "due", "told", "stamp"}  # a stamp is made of the data
        return {name: timeless(inner) for name, inner in value.items() if name not in instants}
    return [timeless(inner) for inner in value] if isinstance(value, list) else value


def unfenced(replies: Sequence[Reply]) -> list[Any]:
    """Return replies with their choices, which stand behind nine characters of the fence."""
    return [(reply.text, {title: id[9:] for title, id in choices(reply).items()}) for reply in replies]


def summary(outcomes: Sequence[Outcome], histories: Sequence[Sequence[AuditEntry]]) -> list[Any]:
    """Return all that two managers must agree on: outcomes, documents without instants, and audit entries."""
    said = [
        (outcome.status, unfenced(outcome.replies), words(outcome), timeless(document_to_raw(outcome.state)))
        for outcome in outcomes
    ]
    return [*said, [[told_apart(entry) for entry in history] for history in histories]]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("conversation", range(len(CONVERSATIONS)))
def test_sync_and_async_agree(valkey_url: str, client: Client, conversation: int, fault: str):
    """Both managers give the same replies, documents and audits for the same messages, apart from instants."""
    messages = [Message(channel, f"{place}", text) for place, (channel, text) in enumerate(CONVERSATIONS[conversation])]

    def sync() -> list[Any]:
        with FlowStateManager.from_url(
            valkey_url, "flows", services=core(*FAULTS[fault]), secret=STORE_SECRET
        ) as manager:
            outcomes = [manager.handle(each) for each in messages]
            members = sorted({outcome.state.member_id for outcome in outcomes})
            return summary(outcomes, [manager.history(member) for member in members])

    async def awaited() -> list[Any]:
        async with AsyncFlowStateManager.from_url(
            valkey_url, "flows", services=core(*FAULTS[fault]), secret=STORE_SECRET
        ) as manager:
            outcomes = [await manager.handle(each) for each in messages]
            members = sorted({outcome.state.member_id for outcome in outcomes})
            for outcome in outcomes[-1:]:
                assert await manager.state(outcome.state.member_id) == outcome.state
            return summary(outcomes, [await manager.history(member) for member in members])

    first = sync()
    client.flushall()
    assert asyncio.run(awaited()) == first


@pytest.mark.asyncio
async def test_update_save_and_history_awaited(valkey_url: str):
    """The async manager updates, saves and reads like the sync one, with the same errors."""
    async with AsyncFlowStateManager.from_url(valkey_url, "flows", services=core(), secret=STORE_SECRET) as manager:
        assert await manager.state("m") is None
        with pytest.raises(MemberNotFound):
            await manager.update("m", lambda document: document)
        first = await manager.save(Document("m", ADA, datetime.now(UTC)))
        second = await manager.update("m", lambda document: attrs.evolve(document, profile={"a": 1}))
        with pytest.raises(VersionConflict) as caught:
            await manager.save(first)
        assert (caught.value.expected, caught.value.found) == (1, 2)
        with pytest.raises(InvalidState):
            await manager.save(attrs.evolve(second, jwt_token=""))
        assert await manager.state("m") == second
        assert [entry.kind for entry in await manager.history("m")] == ["update", "update"]
        assert [entry.version for entry in await manager.history("m", last=1)] == [2]
        assert await manager.history("m", channel=ALAN) == ()


def test_the_shells_have_the_same_words():
    """Both managers have the same public methods with the same parameters."""
    for name in (
        "handle",
        "state",
        "history",
        "update",
        "save",
        "from_url",
        "embedded",
        "in_memory",
        "bot",
        "__init__",
    ):
        one, two = inspect.getattr_static(FlowStateManager, name), inspect.getattr_static(AsyncFlowStateManager, name)
        if callable(one):
            ours, theirs = inspect.signature(one), inspect.signature(two)
            assert list(ours.parameters) == list(theirs.parameters)


# What a manager is made of -------------------------------------------------------------------------------------------


def test_flows_by_value_by_package_and_by_module():
    """Flows are given as a bot, a package or a module; a module without a bot raises `TypeError`."""
    assert resolve_bot("flows") is vimbisopay.bot
    assert resolve_bot("flows.bot") is vimbisopay.bot
    assert resolve_bot(JOB) is JOB
    with pytest.raises(TypeError, match="exports one as 'bot'"):
        resolve_bot("flows.texts.english")


def test_services_replace_by_name_and_leave_the_bot_alone():
    """A manager's services replace those of its bot by name, and the bot itself is unchanged."""
    service = SimulatedCredexCore()
    with FlowStateManager.in_memory("flows", services={"credex_core": service}) as manager:
        assert manager.bot.services["credex_core"] is service
        assert manager.bot is not vimbisopay.bot
        assert vimbisopay.bot.services["credex_core"] is not service
        say(manager, "hi")
    assert [received.name for received in service.calls] == ["login"]


class Awaiting:
    """A service with an async method."""

    async def work(self, what: str, *, caller: Caller = NOBODY) -> str:
        await asyncio.sleep(0)
        return what.upper()


class Mixed:
    """A service with a sync method that returns a coroutine, like a proxy."""

    def __init__(self) -> None:
        self._inner = Awaiting()

    def work(self, what: str, *, caller: Caller = NOBODY) -> Any:
        return self._inner.work(what, caller=caller)


def test_the_sync_shell_refuses_async_services():
    """The sync manager refuses a service with an async method."""
    with pytest.raises(ServiceError, match="'work' is async; use AsyncFlowStateManager") as caught:
        FlowStateManager.in_memory(JOB, services={"service": Awaiting()})
    assert caught.value.service == "service"


def test_the_sync_shell_never_takes_a_coroutine_for_an_answer():
    """The sync manager never takes a coroutine for the result of a call."""
    with FlowStateManager.in_memory(JOB, services={"service": Mixed()}) as manager:
        said = words(say(manager, "hi", "this"))
    assert "coroutine" not in "".join(said)


@pytest.mark.asyncio
@pytest.mark.parametrize("service", [Quick, Awaiting, Mixed])
async def test_async_services_are_awaited_and_sync_ones_not(valkey_url: str, service: Callable[[], object]):
    """The async manager calls sync and async services."""
    async with AsyncFlowStateManager.from_url(
        valkey_url, JOB, services={"service": service()}, secret=STORE_SECRET
    ) as manager:
        await manager.handle(message("hi"))
        outcome = await manager.handle(message("this"))
    assert words(outcome)[0] == "Did THIS."
    assert outcome.status == "advanced"


@pytest.mark.asyncio
async def test_a_sync_service_delays_no_other_member(valkey_url: str):
    """A sync service of the async manager runs in a thread, so that other messages are handled meanwhile."""
    slow = Slow()
    async with AsyncFlowStateManager.from_url(
        valkey_url, JOB, services={"service": slow}, secret=STORE_SECRET
    ) as manager:
        for channel in (ADA, ALAN):
            await manager.handle(message("hi", channel))
        held = asyncio.create_task(manager.handle(message("wait")))
        assert await asyncio.to_thread(slow.began.wait, LIMIT)
        assert words(await manager.handle(message("other", ALAN)))[0] == "Did OTHER."
        assert not held.done()
        slow.go_on.set()
        assert words(await held)[0] == "Did WAIT."


class Stopping(MemoryStore):
    """A store after whose next commit the process stands still for `seconds`, once; `meanwhile` happens then."""

    def __init__(self) -> None:
        self.at, self.seconds = 1_800_000_000.0, 0.0
        self.meanwhile: Callable[[], object] = lambda: None
        super().__init__(lambda: self.at, secret=STORE_SECRET)

    def perform(self, request: Effect[R], /) -> R:
        """Perform a request."""
        result = super().perform(request)
        if isinstance(request, Commit) and self.seconds:
            self.at, self.seconds = self.at + self.seconds, 0.0
            self.meanwhile()
        return result


class Leased:
    """A service that notes the end of the lease under which it is asked, and how far ahead it is."""

    def __init__(self, store: Stopping) -> None:
        self.store = store
        self.ahead: list[float] = []

    def work(self, what: str, *, caller: Caller = NOBODY) -> str:
        """Note the lease."""
        stored = self.store.perform(Load(guest_id(CHANNEL)))
        assert isinstance(stored, Stored)
        document = decode(stored.document or b"")
        assert document.call is not None
        self.ahead.append(document.call.leased_until.timestamp() - self.store.at)
        return what


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_call_is_not_begun_after_its_lease(kind: Literal["sync", "async"]):
    """A process that stood still between a commit and its call takes the call up again, with a new lease."""
    store = Stopping()
    service = Leased(store)
    with Shell(kind, JOB.with_services({"service": service}), store) as shell:
        shell.manager._base.clock.follow(lambda: store.at)
        shell.say("hi")
        store.seconds = 100.0
        outcome = shell.say("dig")
        assert (outcome.status, words(outcome)) == ("advanced", ["Did dig."])
        assert len(service.ahead) == 1
        assert service.ahead[0] > 0
        assert shell.state(guest_id(CHANNEL)).call is None


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_call_that_another_worker_has_taken_up_is_left_to_it(kind: Literal["sync", "async"]):
    """A process that stood still does not make the call that another worker has made meanwhile."""
    store = Stopping()
    service = Leased(store)
    bot = JOB.with_services({"service": service})
    with Shell(kind, bot, store) as shell, Shell("sync", bot, store) as other:
        for each in (shell, other):
            each.manager._base.clock.follow(lambda: store.at)
        shell.say("hi")
        store.seconds, store.meanwhile = 100.0, lambda: other.wake(guest_id(CHANNEL))
        shell.say("dig")
        assert len(service.ahead) == 1
        assert shell.state(guest_id(CHANNEL)).call is None


def test_a_missing_service_is_a_failed_call():
    """A call of a service that the manager lacks is a failed call, where its services are not checked at the start."""
    with pytest.raises(ServiceError, match=r"it is missing, and flow 'job', state 'working', calls Service.work"):
        FlowStateManager.in_memory(JOB)
    with FlowStateManager.in_memory(JOB, check_services=False) as manager:
        outcome = say(manager, "hi", "this")
    assert "job.failed" in words(outcome)


def test_context_managers_close_what_they_opened(tmp_path: Path):
    """The embedded server stops with its last manager, and a manager can be closed twice."""
    with FlowStateManager.embedded(tmp_path, "flows", services=core()) as manager:
        member = say(manager, "hi", "offer").state.member_id
        with FlowStateManager.embedded(tmp_path, "flows", services=core()) as neighbour:
            assert step(neighbour.state(member)) == ("offer", "amount")
        assert step(say(manager, "10").state) == ("offer", "handle")
    manager.close()
    assert not (tmp_path / "engine.sock").exists()
    with FlowStateManager.embedded(tmp_path, "flows", services=core()) as later:
        assert step(later.state(member)) == ("offer", "handle")


def test_context_managers_close_what_they_opened_awaited(tmp_path: Path):
    """The async manager closes the embedded server, whose data the next one finds."""

    async def talk(texts: Sequence[str]) -> Document:
        async with AsyncFlowStateManager.embedded(tmp_path, "flows", services=core()) as manager:
            return [await manager.handle(message(text)) for text in texts][-1].state

    assert step(asyncio.run(talk(["hi", "offer"]))) == ("offer", "amount")
    assert step(asyncio.run(talk(["10"]))) == ("offer", "handle")


def test_a_manager_does_not_close_a_given_store(valkey_url: str):
    """A manager does not close a store that it was given."""
    with AtomicStateManager.from_url(valkey_url, secret=STORE_SECRET) as store:
        with FlowStateManager(JOB, store, services={"service": Quick()}) as manager:
            say(manager, "hi")
        with FlowStateManager(JOB, store, services={"service": Quick()}) as manager:
            assert words(say(manager, "this"))[0] == "Did THIS."


# Round trips ---------------------------------------------------------------------------------------------------------


@contextmanager
def counted(client: Client) -> Generator[list[str]]:
    """Count the commands that clients send meanwhile, without those that scripts run."""
    seen: list[str] = []
    with client.monitor() as monitor:
        yield seen
        client.echo("end of counting")
        for heard in monitor.listen():
            name = heard["command"].split()[0].upper()
            if name == "ECHO":
                return
            if heard["client_type"] != "lua":
                seen.append(name)


def of_ours(seen: Sequence[str]) -> list[str]:
    """Return the commands without those of a new connection."""
    return [name for name in seen if name not in ("CLIENT", "HELLO", "SELECT")]


def test_a_cached_turn_is_one_round_trip(managed: Managed, client: Client):
    """Each message of a cached member is one EVALSHA: answers, refusals, global words and duplicates."""
    manager = managed(services=core())
    say(manager, "hi", "offer")
    client.echo("connected")
    again = message("20")
    with counted(client) as seen:
        for each in (message("10"), message("?!"), message("back"), message("help"), again, again):
            manager.handle(each)
    assert of_ours(seen) == ["EVALSHA"] * 6


def test_a_turn_with_a_call_is_two(managed: Managed, client: Client):
    """A message with a call is two EVALSHA."""
    manager = managed(JOB, services={"service": Quick()})
    say(manager, "hi")
    with counted(client) as seen:
        assert words(say(manager, "this"))[0] == "Did THIS."
    assert of_ours(seen) == ["EVALSHA"] * 2


def test_a_cached_turn_is_one_round_trip_awaited(valkey_url: str, client: Client):
    """Concurrent messages of cached members share a pipeline, with one EVALSHA each."""

    async def talk() -> list[str]:
        async with AsyncFlowStateManager.from_url(valkey_url, "flows", services=core(), secret=STORE_SECRET) as manager:
            people = [Channel("whatsapp", f"26377765{n:04}") for n in range(20)]
            for text in ("hi", "become_member"):
                await asyncio.gather(*(manager.handle(message(text, person)) for person in people))
            with counted(client) as seen:
                await asyncio.gather(*(manager.handle(message("Emmy", person)) for person in people))
            return seen

    assert of_ours(asyncio.run(talk())) == ["EVALSHA"] * 20


def test_a_cold_start_finds_loads_and_commits(managed: Managed, client: Client):
    """The first message of a new manager finds the owner, loads and commits.

    Before it, the manager makes the startup check, which asks for its rights in one script, and reads the number of
    shards, the keys of the index and whose the store is, once.
    """
    say(managed(services=core()), "hi", "offer")
    cold = managed(services=core())
    with counted(client) as seen:
        outcome = say(cold, "10")
        say(cold, "?!")
    assert step(outcome.state) == ("offer", "handle")
    ours = of_ours(seen)
    questions = [name for name in ours if name in ("INFO", "CONFIG")]
    assert ours == [*questions, "EVAL", "GET", "EVALSHA", *["EVALSHA"] * 4, "EVALSHA"]


def test_without_a_cache_every_turn_asks(managed: Managed, client: Client):
    """Without a cache each message finds the owner, loads and commits."""
    manager = managed(services=core(), cache=0)
    say(manager, "hi", "offer")
    with counted(client) as seen:
        assert step(say(manager, "10").state) == ("offer", "handle")
        assert say(manager, "?!").status == "refused"
    assert of_ours(seen) == ["EVALSHA"] * 6
    assert words(say(manager, "alan"))[0].startswith("Offer 10.00 USD")


def test_a_small_cache_forgets_and_asks(managed: Managed):
    """Members that a small cache has dropped are loaded again."""
    manager = managed(services=core(), cache=1)
    turns = [say(manager, text, channel=channel) for text in ("hi", "offer", "1 USD") for channel in (ADA, ALAN)]
    assert [step(outcome.state) for outcome in turns[-2:]] == [("offer", "handle")] * 2


def test_state_asks_the_server_and_not_the_cache(managed: Managed):
    """`state` reads the server and not the cache."""
    one, two = managed(services=core()), managed(services=core())
    member = say(one, "hi", "offer").state.member_id
    assert step(two.state(member)) == ("offer", "amount")
    say(one, "10")
    assert step(two.state(member)) == ("offer", "handle")


# Together ------------------------------------------------------------------------------------------------------------


def test_a_manager_is_shared_between_threads(managed: Managed):
    """Concurrent members on one manager each get their own replies."""
    service = core()
    manager = managed(services=service)

    def talk(number: int) -> Outcome:
        channel = Channel("whatsapp", f"2637776{number:05}")
        texts = ("hi", "become_member", f"Emmy{'a' * number}", "Noether", "yes", *OFFERING)
        return say(manager, *texts, channel=channel)

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(talk, range(16)))
    for number, outcome in enumerate(outcomes):
        assert outcome.state.profile["firstname"] == f"Emmy{'a' * number}"
        assert step(outcome.state) == ("dashboard", "menu")
    assert len(service["credex_core"].offers) == 2 + 16
    assert len({outcome.state.member_id for outcome in outcomes}) == 16


class Gate:
    """A store whose commits for one member wait while the gate is closed."""

    def __init__(self, store: Any, member_id: str) -> None:
        self._store, self._member_id = store, member_id
        self.began, self.go_on = threading.Event(), threading.Event()

    def perform(self, request: Any) -> Any:
        if isinstance(request, Commit) and request.member_id == self._member_id:
            self.began.set()
            assert self.go_on.wait(LIMIT)
        return self._store.perform(request)


def test_messages_of_one_member_wait_for_each_other_and_no_others(managed: Managed):
    """A message waits for an earlier one of its member, and not for those of other members."""
    manager = managed(JOB, services={"service": Slow()}, patience=LIMIT)
    member, _ = (say(manager, "hi", channel=channel).state.member_id for channel in (ADA, ALAN))
    gate = manager._store = Gate(manager._store, member)
    with ThreadPoolExecutor(2) as pool:
        held = pool.submit(say, manager, "one")
        assert gate.began.wait(LIMIT)
        second = pool.submit(say, manager, "help")
        assert words(say(manager, "other", channel=ALAN))[0] == "Did OTHER."
        assert not second.done()
        gate.go_on.set()
        assert held.result().state.version < second.result().state.version
        assert words(held.result())[0] == "Did ONE."


def test_a_message_while_a_call_is_made_is_answered(managed: Managed):
    """A message during a call is answered and stores nothing; the result of the call is stored later."""
    slow = Slow()
    manager = managed(JOB, services={"service": slow}, patience=0.05)
    say(manager, "hi")
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(say, manager, "wait")
        assert slow.began.wait(LIMIT)
        meanwhile = say(manager, "hello?")
        assert words(meanwhile) == ["We are still working on your last answer; you will hear from us."]
        assert meanwhile.status == "ignored"
        slow.go_on.set()
        assert words(held.result())[0] == "Did WAIT."


def test_waiting_is_bounded_by_patience(managed: Managed):
    """A message that waits longer than the patience stores nothing, and leaves the queue."""
    manager = managed(JOB, services={"service": Slow()}, patience=0.05)
    before = say(manager, "hi").state
    slow = manager._store = Gate(manager._store, before.member_id)
    late = message("late")
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(say, manager, "one")
        assert slow.began.wait(LIMIT)
        with pytest.raises(Contended) as caught:
            manager.handle(late)
        assert caught.value.seconds == 0.05
        assert caught.value.reply
        assert ADA.identifier not in str(caught.value)
        slow.go_on.set()
        held.result()
    assert len(manager.history(before.member_id)) == 3
    assert manager.handle(late).status == "advanced"


@pytest.mark.asyncio
async def test_waiting_is_bounded_by_patience_awaited(valkey_url: str):
    """An async message that waits longer than the patience stores nothing, and leaves the queue."""
    services = {"service": Slow()}
    async with AsyncFlowStateManager.from_url(
        valkey_url, JOB, services=services, patience=0.05, secret=STORE_SECRET
    ) as manager:
        for channel in (ADA, ALAN):
            await manager.handle(message("hi", channel))
        gate, began, store = asyncio.Event(), asyncio.Event(), manager._store

        class Gated:
            async def perform(self, request: Any) -> Any:
                if isinstance(request, Commit) and request.member_id == guest_id(ADA):
                    began.set()
                    await gate.wait()
                return await store.perform(request)

        manager._store = Gated()
        held = asyncio.create_task(manager.handle(message("one")))
        await asyncio.wait_for(began.wait(), LIMIT)
        late = message("late")
        with pytest.raises(Contended) as caught:
            await manager.handle(late)
        assert caught.value.reply
        assert words(await manager.handle(message("other", ALAN)))[0] == "Did OTHER."
        gate.set()
        await held
        assert (await manager.handle(late)).status == "advanced"


@pytest.mark.asyncio
async def test_a_cancelled_task_leaves_its_place(valkey_url: str):
    """A cancelled task leaves the queue, whether it waits or works, and no effect is made twice."""
    slow = Slow()
    async with AsyncFlowStateManager.from_url(
        valkey_url, JOB, services={"service": slow}, patience=LIMIT, secret=STORE_SECRET
    ) as manager:
        first = await manager.handle(message("hi"))
        working = asyncio.create_task(manager.handle(message("wait")))
        assert await asyncio.to_thread(slow.began.wait, LIMIT)
        waiting = asyncio.create_task(manager.handle(message("help")))
        await asyncio.sleep(0)
        for task in (waiting, working):
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        slow.go_on.set()
        outcome = await manager.handle(message("help"))
        assert outcome.status == "ignored"  # the call is still pending
        assert outcome.state.call is not None
        assert outcome.state.version == first.state.version + 1


@pytest.mark.asyncio
async def test_a_task_cancelled_at_the_commit_can_be_handled_again(valkey_url: str):
    """A message whose task was cancelled at its commit takes effect once when it is handled again."""
    async with AsyncFlowStateManager.from_url(
        valkey_url, JOB, services={"service": Awaiting()}, secret=STORE_SECRET
    ) as manager:
        start = (await manager.handle(message("hi"))).state
        for ticks in range(12):
            each = message("help")
            task = asyncio.create_task(manager.handle(each))
            for _ in range(ticks):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            outcome = await manager.handle(each)
            assert outcome.status in ("advanced", "duplicate")
            assert outcome.state.version == start.version + ticks + 1


# Observers -----------------------------------------------------------------------------------------------------------


def test_observers_are_told_after_the_commit_each_on_its_own(managed: Managed):
    """Each observer is told after the commit, also if another one raises."""
    reader = managed()
    seen: list[tuple[int, int]] = []

    def look(details: CommitEvent) -> None:
        stored = reader.state(details.entry.member_id)
        assert stored is not None
        seen.append((details.entry.version, stored.version))

    def fail(details: CommitEvent) -> None:
        raise RuntimeError(str(details))

    told: list[CommitEvent] = []
    manager = managed(services=core(), observers=[fail, look, fail, told.append])
    outcome = say(manager, "hi", "offer", "?!", "10", channel=ADA)
    assert outcome.status == "advanced"
    assert all(version <= stored for version, stored in seen)
    assert seen[-3:] == [(2, 2), (3, 3), (4, 4)]
    history = manager.history(outcome.state.member_id)
    # The last entry of the guest is reported last, because it comes after the member's first entry.
    assert sorted((d.entry.member_id, d.entry.version, d.entry.kind) for d in told) == sorted(
        (entry.member_id, entry.version, entry.kind) for entry in history
    )
    again = message("11")
    manager.handle(again)
    heard = len(told)
    manager.handle(again)
    assert len(told) == heard  # a duplicate stores nothing


@pytest.mark.asyncio
async def test_observers_are_isolated_awaited(valkey_url: str):
    """An observer that raises stops neither the async manager nor the other observers."""
    told: list[CommitEvent] = []

    def fail(_: CommitEvent) -> None:
        raise RuntimeError

    observers = [fail, told.append]
    async with AsyncFlowStateManager.from_url(
        valkey_url, "flows", services=core(), observers=observers, secret=STORE_SECRET
    ) as manager:
        outcome = await manager.handle(message("hi"))
        assert outcome.status == "advanced"
        history = await manager.history(outcome.state.member_id)
    assert sorted(details.entry.version for details in told) == sorted(entry.version for entry in history)


# A worker dies -------------------------------------------------------------------------------------------------------


class Died(BaseException):
    """The process has died. No code catches it."""


class Dying:
    """A store whose worker dies at the request number `at`, before it is sent or after it was performed."""

    def __init__(self, store: Store, at: int, *, after: bool) -> None:
        self._store, self.at, self._after = store, at, after
        self.performed = 0

    def perform(self, request: Request) -> Any:
        starts = isinstance(request, ReadOwner | Claim | ReadDigests)
        self.performed += not starts
        if self.performed != self.at or starts:
            return self._store.perform(request)
        if self._after:
            self._store.perform(request)
        raise Died


@attrs.frozen
class Later:
    """The same store `seconds` later, when the leases of a dead worker have expired."""

    store: Store
    seconds: float

    def perform(self, request: Request) -> Any:
        if isinstance(request, Commit):
            return self.store.perform(attrs.evolve(request, shift=self.seconds))
        result = self.store.perform(request)
        return attrs.evolve(result, at=result.at + self.seconds) if isinstance(result, Stored | Broken) else result


@attrs.define
class Story:
    """A conversation whose worker may die once, at a given request; the next worker comes half a minute later."""

    store: Store
    texts: Sequence[str]
    channel: Channel = NEW
    services: dict[str, Any] = attrs.field(factory=core)
    crash: Dying | None = None
    answers: dict[str, tuple[Outcome, Message]] = attrs.field(factory=dict)
    crashed: str = ""

    def tell(self) -> Outcome:
        manager = FlowStateManager("flows", self.crash or self.store, services=self.services)
        outcome = None
        for text in self.texts:
            each = message(text, self.channel)
            try:
                outcome = manager.handle(each)
            except Died:
                self.crashed = text
                manager = self.next_worker()
                outcome = manager.handle(each)  # the channel delivers it again
                if outcome.state.call is not None:
                    again = manager.handle(each)
                    assert (again.status, again.replies) == ("duplicate", outcome.replies)
                    outcome = manager.handle(message("hello?", self.channel))  # any word of the member takes it up
                    assert outcome.state.call is None
            self.answers[text] = outcome, each
        assert outcome is not None
        return outcome

    def next_worker(self) -> FlowStateManager:
        return FlowStateManager("flows", Later(self.store, 31.0), services=self.services)


def assert_all_is_well(story: Story, outcome: Outcome, usual: Outcome) -> None:
    """Check that the member has all data once, and that the audit is whole."""
    manager = story.next_worker()
    service: SimulatedCredexCore = story.services["credex_core"]
    assert [(offer.issuer, offer.receiver, str(offer.money)) for offer in service.offers[2:]] == [
        ("emmy_noether", "alan", "10.00 USD")
    ]
    document = manager.state(outcome.state.member_id)
    assert document is not None
    assert document.moved is None
    assert not document.guest
    assert (step(document), document.call) == (("dashboard", "menu"), None)
    assert (document.authenticated, document.suspended) == (True, ())
    assert [address.identifier for address in document.channels] == [NEW.identifier]
    assert timeless(document.profile) == timeless(usual.state.profile)
    assert document.current_account == usual.state.current_account
    history = manager.history(document.member_id)
    assert [entry.kind for entry in history].count("move") == 1
    for member in {entry.member_id for entry in history}:
        stored: Any = story.store.perform(ReadAudit(member))
        assert FlowAuditLogger.faults(stored) == ()
        assert [entry.version for entry in stored] == list(range(1, len(stored) + 1))
    for text, (first, each) in story.answers.items():  # a duplicate returns its first result and has no effect
        later = manager.handle(each)
        assert later.status == "duplicate"
        if text != story.crashed:
            assert later.replies == first.replies
    assert len(service.offers) == 3
    assert manager.state(document.member_id) == document


@pytest.fixture
def store(valkey_url: str) -> Generator[AtomicStateManager, None, None]:
    """Return a store on the server."""
    with AtomicStateManager.from_url(valkey_url, secret=STORE_SECRET) as store:
        yield store


def test_a_worker_dies_at_each_step(store: AtomicStateManager, client: Client):
    """A worker may die before or after any request of a conversation without loss or repetition.

    The guest becomes the member with all answers, the offer is made once, and each message gets its first replies.
    """
    usual = Story(store, EVERYTHING, crash=(counting := Dying(store, 0, after=False)))
    expected = usual.tell()
    assert_all_is_well(usual, expected, expected)
    assert counting.performed > 19
    for at in range(1, counting.performed + 1):
        for after in (False, True):
            client.flushall()
            story = Story(store, EVERYTHING, crash=Dying(store, at, after=after))
            outcome = story.tell()
            assert story.crashed, f"request {at}"
            assert_all_is_well(story, outcome, expected)


def test_a_worker_dies_at_each_step_of_the_move_and_the_member_says_something_else(
    store: AtomicStateManager, client: Client
):
    """After a crash at any step of a promotion another message completes it.

    The lost message, redelivered, gets its first replies.
    """
    prelude, last = ONBOARDING[:-1], ONBOARDING[-1]

    def up_to_the_move(crash: Dying | None) -> tuple[Story, Message]:
        client.flushall()
        story = Story(store, prelude)
        story.tell()
        confirm = message(last, NEW)
        manager = FlowStateManager("flows", crash or store, services=story.services)
        if crash:
            with pytest.raises(Died):
                manager.handle(confirm)
        else:
            story.answers[last] = manager.handle(confirm), confirm
        return story, confirm

    usual, _ = up_to_the_move(None)
    expected = usual.answers[last][0]
    counting = Dying(store, 0, after=False)
    Story(store, prelude).tell()
    client.flushall()
    story = Story(store, prelude)
    story.tell()
    FlowStateManager("flows", counting, services=story.services).handle(message(last, NEW))
    assert counting.performed == 10  # who, what, confirm, answer, and the six steps of the move
    for at in range(4, counting.performed + 1):
        for after in (False, True):
            story, confirm = up_to_the_move(Dying(store, at, after=after))
            manager = story.next_worker()
            said = manager.handle(message("menu", NEW))
            while said.state.guest or said.state.call:
                said = manager.handle(message("menu", NEW))
            assert timeless(said.state.profile) == timeless(expected.state.profile)
            late = manager.handle(confirm)
            assert late.status == "duplicate"
            assert late.replies[0] == expected.replies[0]
            assert [reply.text.partition("\n")[0] for reply in late.replies] == [
                reply.text.partition("\n")[0] for reply in expected.replies
            ]
            outcome = Story(store, OFFERING, services=story.services)
            outcome.tell()
            assert len(story.services["credex_core"].offers) == 3
            kinds = [entry.kind for entry in manager.history(said.state.member_id)]
            assert kinds.count("move") == 1


def test_a_worker_dies_inside_the_call(store: AtomicStateManager, monkeypatch: pytest.MonkeyPatch):
    """After a crash during a call the next worker repeats it with the same key, and one offer is made."""
    services = core()
    made = lambda: [call.key for call in services["credex_core"].calls if call.name == "createCredex"]  # noqa: E731  # short

    def deadly(*arguments: Any) -> object:
        before = len(made())
        result = with_retries(*arguments)
        if before < len(made()) == 1:
            raise Died
        return result

    monkeypatch.setattr("vimbiso_fsm.runtime.shell.with_retries", deadly)
    story = Story(store, EVERYTHING, services=services)
    outcome = story.tell()
    assert story.crashed == "yes"
    assert (len(made()), len(set(made()))) == (2, 1)
    assert_all_is_well(story, outcome, outcome)


def test_a_call_in_the_hands_of_another_is_left_alone(store: AtomicStateManager, client: Client):
    """While another worker has the lease of a call, a message gets a notice, and no call is made or stored.

    Only the message is remembered.
    """
    services = core()
    talk = Story(store, ("hi", *OFFERING[:-1]), channel=ADA, services=services)
    talk.tell()
    dying = FlowStateManager("flows", Dying(store, 4, after=False), services=services)
    confirm = message("yes")
    with pytest.raises(Died):
        dying.handle(confirm)
    calls = len(services["credex_core"].calls)
    manager = FlowStateManager("flows", store, services=services, patience=0.05)

    def dump() -> dict[bytes, Any]:
        states = client.keys("*:state")
        others = {key: client.dump(key) for key in client.keys("*") if key not in states and b":tokens" not in key}
        fields = {key: client.hgetall(key) for key in states}
        return others | {
            key: {name: value for name, value in found.items() if name != b"m" and not name.startswith(b"q")}
            for key, found in fields.items()
        }

    before = dump()
    for text in ("menu", "yes", "cancel"):
        outcome = say(manager, text)
        assert outcome.status == "ignored"
        assert outcome.replies
    assert manager.handle(confirm).status == "duplicate"
    assert dump() == before
    assert len(services["credex_core"].calls) == calls
    outcome = say(talk.next_worker(), "menu")
    assert step(outcome.state) == ("dashboard", "menu")
    assert len(services["credex_core"].offers) == 3


def test_two_workers_finish_one_move(store: AtomicStateManager, client: Client):
    """Two workers that meet a promoted guest at the same time merge it once."""
    for at in (5, 6, 7, 8, 9):
        client.flushall()
        story = Story(store, ONBOARDING[:-1])
        story.tell()
        with pytest.raises(Died):
            FlowStateManager("flows", Dying(store, at, after=False), services=story.services).handle(
                message("yes", NEW)
            )
        together = threading.Barrier(2)

        def meet(story: Story = story, gate: threading.Barrier = together) -> Outcome:
            worker = story.next_worker()
            gate.wait()
            return say(worker, "menu", channel=NEW)

        with ThreadPoolExecutor(2) as pool:
            one, two = [future.result() for future in [pool.submit(meet), pool.submit(meet)]]
        assert one.state.member_id == two.state.member_id
        assert {one.state.version, two.state.version} <= {2, 3, 4}  # half a minute later, the dashboard asks anew
        kinds = [entry.kind for entry in story.next_worker().history(one.state.member_id)]
        assert kinds.count("move") == 1


def test_state_raises_for_a_damaged_document(managed: Managed, client: Client):
    """`state` raises `DamagedDocument` for a damaged document."""
    manager = managed(services=core())
    member = say(manager, "hi").state.member_id
    client.hset(str(client.keys(f"*:{member}:state")[0], "ascii"), "d", "{")
    with pytest.raises(DamagedDocument, match="not JSON"):
        manager.state(member)
