"""The async manager on several event loops: one after the other, in threads, closed early, closed elsewhere, forked."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import subprocess
import sys
import threading
import time
import warnings
import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pytest
import redis
import redis.asyncio

from tests.bots import fruit_bot
from tests.deployments import Nodes, Watched, cluster, watched
from tests.engines import Server, valkey_program
from vimbiso_fsm import AsyncFlowStateManager, Channel, Message
from vimbiso_fsm.errors import StoreUnavailable
from vimbiso_fsm.legacy.source import AsyncLegacySource
from vimbiso_fsm.store.embedded import EmbeddedServer
from vimbiso_fsm.store.loops import PerLoop
from vimbiso_fsm.store.redis_atomic import AsyncAtomicStateManager
from vimbiso_fsm.store.requests import NO_HEAD, Commit, Committed, Duplicate, Entry, Head, Stored, digest

ROOT = Path(__file__).parents[2]
LIMIT = 30.0
"""Seconds after which something that must happen has failed. No test needs them to pass in time."""

pytestmark = pytest.mark.embedded


def turn(head: Head = NO_HEAD, *, member: str = "m", token: str = "t") -> Commit:
    """Return the commit of a turn after a head."""
    body = b"%d %b" % (head.version + 1, token.encode())
    entry = Entry(head.version + 1, digest(body), body)
    return Commit(member, head, token, token, "said", b"{}", entry, b"record")


@contextmanager
def quiet() -> Generator[None]:
    """Nothing warns, fails out of sight or is logged by asyncio, also not when the garbage is collected."""
    heard: list[str] = []
    hook, sys.unraisablehook = sys.unraisablehook, lambda found: heard.append(repr(found))
    handler = logging.Handler()
    handler.emit = lambda record: heard.append(record.getMessage())  # type: ignore[method-assign]  # of this one object
    log = logging.getLogger("asyncio")
    log.addHandler(handler)
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            yield
            gc.collect()
    finally:
        sys.unraisablehook = hook
        log.removeHandler(handler)
    assert [str(warning.message) for warning in warned] + heard == []


def connections(server: Server) -> int:
    """Return the number of connections to a server, without the one that asks."""
    with server.client() as client:
        return len(client.client_list()) - 1


def until(happened: Callable[[], object]) -> None:
    """Return when something has happened."""
    deadline = time.monotonic() + LIMIT
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Running:
    """An event loop that runs in a thread until the block ends."""

    def __enter__(self) -> Self:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self.loop.shutdown_asyncgens())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine in the loop, and return its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(LIMIT)


# Each kind of servers ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nodes() -> Generator[Nodes]:
    """A cluster of three."""
    with cluster(valkey_program()) as found:
        yield found


@pytest.fixture(scope="module")
def service() -> Generator[Watched]:
    """A primary and a replica, with Sentinels."""
    with watched(valkey_program()) as found:
        yield found


@pytest.fixture(params=["server", "embedded", "cluster", "service"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[str]:
    """The URL of each kind of servers, without data."""
    if request.param == "embedded":
        with EmbeddedServer.start(tmp_path) as server:
            yield server.url
    elif request.param == "server":
        yield request.getfixturevalue("valkey_url")
    elif request.param == "cluster":
        found: Nodes = request.getfixturevalue("nodes")
        for node in found.nodes:
            with node.client() as client:
                client.flushall()
        yield found.url
    else:
        there: Watched = request.getfixturevalue("service")
        with there.pair.first.client() as client:
            client.flushall()
        yield there.url


def test_a_manager_serves_one_loop_after_the_other(url: str):
    """One manager commits in several loops in turn, on each kind of servers, and no loop leaves anything behind."""

    async def step(head: Head, token: str) -> Head:
        answers = await asyncio.gather(*(manager.commit(turn(head, member=f"m{n}", token=token)) for n in range(20)))
        assert all(isinstance(answer, Committed) and answer.confirmed for answer in answers)
        assert isinstance(answers[0], Committed)
        return answers[0].head

    with quiet():
        manager, head = AsyncAtomicStateManager.from_url(url), NO_HEAD
        for number in range(5):
            head = asyncio.run(step(head, f"t{number}"))
        asyncio.run(manager.close())
        asyncio.run(step(head, "after"))  # it works after it was closed, too


def ended(work: Callable[[], list[Coroutine[Any, Any, Any]]], moment: int) -> None:
    """Begin work in a loop that ends after so many of its steps, as `asyncio.run` ends one: the tasks are cancelled."""

    async def begin() -> None:
        tasks = [asyncio.ensure_future(each) for each in work()]
        for _ in range(moment):
            await asyncio.sleep(0)
        assert len(tasks) > 0

    asyncio.run(begin())


def closed(work: Callable[[], list[Coroutine[Any, Any, Any]]], moment: int) -> None:
    """Begin work in a loop that is closed after so many steps, without any shutdown."""
    loop = asyncio.new_event_loop()
    tasks = [loop.create_task(each) for each in work()]
    for _ in range(moment):
        loop.call_soon(loop.stop)
        loop.run_forever()
    loop.close()
    assert len(tasks) > 0


@contextmanager
def ignored() -> Generator[None]:
    """Python's complaints of tasks whose loop was closed under them are not heard: such tasks cannot be ended."""
    logging.getLogger("asyncio").disabled = True
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
            gc.collect()
    finally:
        sys.unraisablehook = hook
        logging.getLogger("asyncio").disabled = False


ENDS = pytest.mark.parametrize(("end", "heard"), [(ended, quiet), (closed, ignored)], ids=["ended", "closed"])


@ENDS
def test_a_loop_may_end_in_the_middle_of_requests(url: str, end: Callable[..., None], heard: Callable[[], Any]):
    """Requests of a loop that ends at any moment neither block nor break the next loop, and nothing is made twice."""

    async def again(commits: list[Commit]) -> None:
        for commit in commits:
            answer = await manager.commit(commit)
            assert isinstance(answer, Committed | Duplicate)
            assert (answer if isinstance(answer, Committed) else answer.current).head.version == 1

    with heard():
        manager = AsyncAtomicStateManager.from_url(url)
        for moment in range(0, 36, 3):
            commits = [turn(member=f"{moment} {n}") for n in range(8)]
            end(lambda commits=commits: [manager.commit(commit) for commit in commits], moment)
            asyncio.run(again(commits))
        asyncio.run(manager.close())


def test_two_loops_may_use_a_manager_at_once(url: str):
    """Two loops in two threads share a manager: each turn is made once, and the conflicts of a member are answered."""
    won: dict[int, list[str]] = {1: [], 2: []}

    async def writes(number: int) -> None:
        head = NO_HEAD
        for count in range(60):
            answer: Any = await manager.commit(turn(head, token=f"{number}-{count}"))
            if isinstance(answer, Committed):
                won[number].append(f"{number}-{count}")
            head = answer.head if isinstance(answer, Committed) else answer.current.head
        await asyncio.gather(*(manager.commit(turn(member=f"own {number} {n}")) for n in range(100)))

    async def version() -> int:
        found = await manager.load("m")
        assert isinstance(found, Stored)
        return found.head.version

    with quiet():
        manager = AsyncAtomicStateManager.from_url(url)
        with Running() as one, Running() as two:
            both = [asyncio.run_coroutine_threadsafe(writes(n), it.loop) for n, it in ((1, one), (2, two))]
            for each in both:
                each.result(LIMIT)
        assert asyncio.run(version()) == len(won[1]) + len(won[2])
        asyncio.run(manager.close())


# What a loop leaves ---------------------------------------------------------------------------------------------


def test_a_thousand_loops_leave_nothing(valkey_server: Server, valkey_url: str):
    """After a thousand loops there is no connection, no descriptor and no loop left, and nothing has warned."""

    def open_files() -> int:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 – only the number matters

    async def loads() -> weakref.ref[asyncio.AbstractEventLoop]:
        await manager.load("m")
        return weakref.ref(asyncio.get_running_loop())

    with quiet():
        manager = AsyncAtomicStateManager.from_url(valkey_url)
        asyncio.run(loads())
        before = open_files()
        loops = [asyncio.run(loads()) for _ in range(1000)]
        assert open_files() == before
        until(lambda: connections(valkey_server) == 0)
        gc.collect()
        assert sum(loop() is not None for loop in loops) <= 1


def test_closed_loops_leave_nothing(valkey_server: Server, valkey_url: str):
    """A loop that is closed without a shutdown leaves its connections only until the manager is used again."""
    with quiet():
        manager = AsyncAtomicStateManager.from_url(valkey_url)
        for _ in range(50):
            loop = asyncio.new_event_loop()
            loop.run_until_complete(manager.load("m"))
            loop.close()
        assert connections(valkey_server) == 1
        asyncio.run(manager.load("m"))
        until(lambda: connections(valkey_server) == 0)


def test_a_loop_that_ends_without_its_manager(valkey_server: Server, valkey_url: str):
    """A manager that is closed in its loop has nothing to close when the loop ends."""

    async def story() -> None:
        async with AsyncAtomicStateManager.from_url(valkey_url) as manager:
            await manager.load("m")

    with quiet():
        asyncio.run(story())
        until(lambda: connections(valkey_server) == 0)


def test_a_manager_may_be_made_inside_a_loop_and_used_in_another(valkey_url: str):
    """It does not matter in which loop a manager is made, or whether in one at all."""

    async def made() -> AsyncAtomicStateManager:
        return AsyncAtomicStateManager.from_url(valkey_url)

    with quiet():
        manager = asyncio.run(made())
        assert isinstance(asyncio.run(manager.load("m")), Stored)
        assert isinstance(asyncio.run(manager.load("m")), Stored)


def test_closing_in_another_loop(valkey_server: Server, valkey_url: str):
    """`close` closes the connections of a loop that runs in another thread, and of loops that do not run."""
    with quiet():
        manager = AsyncAtomicStateManager.from_url(valkey_url)
        idle, ended = asyncio.new_event_loop(), asyncio.new_event_loop()
        with Running() as running:
            running.run(manager.load("m"))
            idle.run_until_complete(manager.load("m"))
            ended.run_until_complete(manager.load("m"))
            ended.close()
            assert connections(valkey_server) == 3
            asyncio.run(manager.close())
            idle.run_until_complete(asyncio.sleep(0))  # what the idle loop has to do for that
            until(lambda: connections(valkey_server) == 0)
            assert isinstance(running.run(manager.load("m")), Stored)
            assert isinstance(idle.run_until_complete(manager.load("m")), Stored)
        idle.run_until_complete(idle.shutdown_asyncgens())
        idle.close()


def test_a_client_that_was_given_serves_one_loop(valkey_url: str):
    """A manager says in a sentence that the client it was given cannot serve a second loop."""

    async def story() -> None:
        for _ in range(2):
            assert isinstance(await manager.load("m"), Stored)
            await manager.close()
        await client.aclose()

    with quiet():
        client = redis.asyncio.Redis.from_url(valkey_url)
        manager = AsyncAtomicStateManager(client)
        asyncio.run(story())
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="serves one event loop, and another one has used it"):
                asyncio.run(manager.load("m"))


FORKED = """
import asyncio, os, sys, warnings
from vimbiso_fsm.store.redis_atomic import AsyncAtomicStateManager

warnings.simplefilter("error")
manager = AsyncAtomicStateManager.from_url(sys.argv[1])
loop = asyncio.new_event_loop()
async def all_loads():
    for stored in await asyncio.gather(*(manager.load(f"m{n}") for n in range(40))):
        assert stored.head.version == 0
loads = lambda: loop.run_until_complete(all_loads())
loads()
children = []
for _ in range(2):
    child = os.fork()
    if child == 0:
        for _ in range(20):
            asyncio.run(all_loads())
        asyncio.run(manager.close())
        os._exit(0)
    children.append(child)
    for _ in range(20):
        loads()
for child in children:
    assert os.waitpid(child, 0)[1] == 0
loads()
loop.run_until_complete(manager.close())
loop.run_until_complete(loop.shutdown_asyncgens())
loop.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_shares_no_connection(valkey_url: str):
    """A child neither uses nor closes the connections of its parent, which goes on in its loop."""
    done = subprocess.run(
        [sys.executable, "-c", FORKED, valkey_url], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


# The value of a loop --------------------------------------------------------------------------------------------


class Value:
    """A value that counts how often it was closed and abandoned."""

    def __init__(self) -> None:
        self.closed: list[asyncio.AbstractEventLoop] = []
        self.abandoned = 0

    async def close(self) -> None:
        await asyncio.sleep(0)
        self.closed.append(asyncio.get_running_loop())

    def abandon(self) -> None:
        self.abandoned += 1


async def value_of(values: PerLoop[Value]) -> Value:
    """Return the value of the running loop, which is the same each time."""
    assert values.get() is values.get()
    return values.get()


def test_a_value_is_closed_in_its_loop():
    """A loop that shuts down closes its value; the next loop has another one."""
    values = PerLoop(Value)
    one, other = asyncio.run(value_of(values)), asyncio.run(value_of(values))
    assert one is not other
    assert [len(each.closed) for each in (one, other)] == [1, 1]
    assert one.closed != other.closed


def test_a_value_is_abandoned_when_its_loop_was_only_closed():
    """A value of a loop that was closed without a shutdown is abandoned once, at the first use in another loop."""
    values, loop = PerLoop(Value), asyncio.new_event_loop()
    one = loop.run_until_complete(value_of(values))
    loop.close()
    assert (one.closed, one.abandoned) == ([], 0)
    for _ in range(2):
        asyncio.run(value_of(values))
        assert (one.closed, one.abandoned) == ([], 1)


def test_without_a_loop_there_is_no_value():
    """A value is asked for in a loop."""
    with pytest.raises(RuntimeError, match="no running event loop"):
        PerLoop(Value).get()


def test_a_value_may_be_used_while_the_loop_shuts_down():
    """Another generator of the loop may still use the value when the loop shuts down."""
    values, seen = PerLoop(Value), list[Value]()

    async def steps() -> AsyncGenerator[None]:
        try:
            yield
        finally:
            seen.append(values.get())

    async def story() -> object:
        seen.append(values.get())
        generator = steps()
        await anext(generator)
        return generator  # kept until the loop shuts down

    with quiet():
        asyncio.run(story())
    assert len(seen) == 2
    assert seen[0] is seen[1]


# Conversations --------------------------------------------------------------------------------------------------


def said(text: str, number: int) -> Message:
    """Return a message of one member."""
    return Message(Channel("sms", "16505550001"), f"m{number}", text)


def test_a_conversation_over_many_loops(valkey_url: str, tmp_path: Path):
    """Turns of one member in one loop each make one conversation, on a server, an embedded server and in memory."""
    with quiet():
        for make in (
            lambda: AsyncFlowStateManager.from_url(valkey_url, fruit_bot(), unsafe_store=True),
            lambda: AsyncFlowStateManager.embedded(tmp_path / "data", fruit_bot()),
            lambda: AsyncFlowStateManager.in_memory(fruit_bot()),
        ):
            manager = make()
            versions = [asyncio.run(manager.handle(said("help", n))).state.version for n in range(4)]
            assert versions == sorted(set(versions))
            asyncio.run(manager.close())
            del manager


@ENDS
def test_a_loop_that_ends_in_the_middle_of_a_turn_keeps_no_lock(
    valkey_url: str, end: Callable[..., None], heard: Callable[[], Any]
):
    """The next loop handles the same member's messages, and a turn that was cut is made once."""
    with heard():
        manager = AsyncFlowStateManager.from_url(valkey_url, fruit_bot(), unsafe_store=True)
        version = asyncio.run(manager.handle(said("hi", 0))).state.version
        for moment in range(1, 60, 4):
            messages = [said("help", moment * 100 + n) for n in range(3)]
            end(lambda messages=messages: [manager.handle(message) for message in messages], moment)
            outcomes = [asyncio.run(manager.handle(message)) for message in messages]
            assert {outcome.status for outcome in outcomes} <= {"advanced", "duplicate"}
            assert outcomes[-1].state.version == version + 3
            version += 3
        asyncio.run(manager.close())


def test_legacy_records_are_read_in_each_loop(valkey_server: Server, valkey_url: str):
    """A source of legacy records serves one loop after the other."""
    with quiet():
        source = AsyncLegacySource(valkey_url)
        assert [asyncio.run(source.read("263771234567")) for _ in range(3)] == [None] * 3
        asyncio.run(source.close())
    until(lambda: connections(valkey_server) == 0)
