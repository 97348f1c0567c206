"""Measure whether a turn costs more as a deployment grows: by members, turns, flows, threads and document.

`make bench ARGS="--growth members"` runs one of them. Each size has a server of its own. The sizes run in turn, in
short blocks, so that a slow minute affects all alike; the time of a turn at a size is compared with that at the
smallest size, block by block. `plots.py` draws the result.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import cycle
from typing import Final

import attrs
import redis

from tests.bench.contenders import AT_ONCE, Contender, Turns
from tests.bench.conversation import TILL, Conversation, Sale, advanced, switch, till
from tests.bench.measure import Spread, measure
from tests.bench.server import Server, placements
from vimbiso_fsm import Bot, FlowStateManager
from vimbiso_fsm.store.layout import Keys
from vimbiso_fsm.store.requests import shard_of

__all__ = ["GROWTHS", "Growth", "Point", "grow", "lines"]


@attrs.frozen
class Point:
    """A turn at one size.

    Attributes:
        size: The size.
        factor: The time of a turn over that of the smallest size, block by block.
        microseconds: The median time of a turn. It depends on the machine.
    """

    size: int
    factor: Spread
    microseconds: float


@attrs.frozen
class Growth:
    """One way in which a deployment grows.

    Attributes:
        name: Its name on the command line.
        unit: The unit of the sizes, as the plot shows it.
        sizes: The sizes by default, the smallest first.
        contender: Returns the contender of a size on a server.
    """

    name: str
    unit: str
    sizes: tuple[int, ...]
    contender: Callable[[Server, int], Contender]


def grow(growth: Growth, sizes: Sequence[int], seconds: float, blocks: int) -> tuple[Point, ...]:
    """Measure a growth.

    Args:
        growth: The growth.
        sizes: The sizes, the smallest first.
        seconds: The length of a block.
        blocks: The number of blocks of each size.
    """
    with ExitStack() as stack:
        servers = [stack.enter_context(Server.start("everysec")) for _ in sizes]
        contenders = [growth.contender(server, size) for server, size in zip(servers, sizes, strict=True)]
        for contender in contenders:
            stack.callback(contender.close)
        first, *others = servers
        place = next(iter(placements()), None)
        rows = measure(first, contenders, place, seconds, blocks, [server.pid for server in others])
    return tuple(
        Point(size, Spread(1 / row.ratio.median, 1 / row.ratio.upper, 1 / row.ratio.lower), 1e6 / row.rate.median)
        for size, row in zip(sizes, rows, strict=True)
    )


def lines(growth: Growth, points: Iterable[Point]) -> Iterator[str]:
    """Yield the lines of a table."""
    yield f"  {growth.unit:>24}{'µs a turn':>12}{'factor':>10}{'quartiles':>16}"
    for point in points:
        factor = point.factor
        quartiles = f"{factor.lower:.2f}–{factor.upper:.2f}"
        yield f"  {point.size:>24,}{point.microseconds:>12.0f}{factor.median:>10.2f}{quartiles:>16}"


# Members ---------------------------------------------------------------------------------------------------------

_AT_ONCE: Final = 10_000
"""Copies that are written in one pipeline."""


def _among_members(server: Server, members: int) -> Contender:
    """Return turns on a server that keeps a number of members beside those who talk: copies of one of them."""
    contender = Turns(server.url, TILL)
    with redis.Redis.from_url(server.url) as client, _without_log(client):
        _copy_members(server, client, members)
    return contender


@contextmanager
def _without_log(client: redis.Redis) -> Generator[None]:
    """Keep the server from logging what is copied: the log is written as a whole afterwards."""
    client.config_set("appendonly", "no")
    yield
    client.config_set("appendonly", "yes")
    while client.info("persistence")["aof_rewrite_in_progress"]:  # it takes the CPU of the server
        pass


def _copy_members(server: Server, client: redis.Redis, members: int) -> None:
    """Fill a server with copies of a member who has made some turns."""
    keys = Keys(TILL.namespace)
    with FlowStateManager.from_url(server.url, TILL.bot, namespace=TILL.namespace, rates=None) as manager:
        conversation = Conversation(TILL, members + 1_000)
        *before, latest = (*conversation.opening, *(next(conversation) for _ in range(4)))
        for message in before:
            manager.handle(message)
        member_id = manager.handle(latest).state.member_id
    own = [key for key in keys.member(member_id) if member_id.encode() in key]  # without the due set of the shard
    kept = {key: value for key in own if (value := client.dump(key)) is not None}
    pipeline, waiting = client.pipeline(transaction=False), 0
    old = f"{{{shard_of(member_id)}}}:member:{member_id}:".encode()
    for number in range(members):
        copy = f"copy{number:012}"
        new = f"{{{shard_of(copy)}}}:member:{copy}:".encode()
        for key, value in kept.items():
            pipeline.restore(key.replace(old, new), 31 * 86_400_000, value)
        waiting += 1
        if waiting == _AT_ONCE or number == members - 1:
            pipeline.execute()
            waiting = 0


# Turns, flows, documents ----------------------------------------------------------------------------------------


def _after_turns(server: Server, turns: int) -> Contender:
    """Return turns of members who have made a number of them before."""
    contender = Turns(server.url, TILL)
    for _ in range(turns * AT_ONCE):
        contender.once()
    return contender


def _among_flows(server: Server, number: int) -> Contender:
    """Return turns of a bot with a number of flows."""
    others = [attrs.evolve(switch, name=f"switch{place}") for place in range(number - 1)]
    return Turns(server.url, attrs.evolve(TILL, bot=Bot([till, *others])))


def _of_document(server: Server, size: int) -> Contender:
    """Return turns with a document of a number of bytes more than the least."""

    @attrs.frozen
    class Long(Sale):
        ledger: str = "x" * size

    return Turns(server.url, attrs.evolve(TILL, bot=Bot(attrs.evolve(till, data=Long))))


class _Threads(Turns):
    """Turns of several threads on one manager, each for members of its own."""

    def __init__(self, url: str, threads: int) -> None:
        super().__init__(url, TILL)
        self._threads = threads

    def run(self, seconds: float) -> int:
        done = [0] * self._threads
        until = time.perf_counter() + seconds

        def work(number: int) -> None:
            own = cycle(self._conversations[number :: self._threads])
            while time.perf_counter() < until:
                advanced(self._manager.handle(next(next(own))))
                done[number] += 1

        with ThreadPoolExecutor(self._threads) as pool:
            list(pool.map(work, range(self._threads)))
        return sum(done)


def _of_threads(server: Server, threads: int) -> Contender:
    """Return turns of a number of threads on one manager."""
    return _Threads(server.url, threads)


GROWTHS: Final = {
    growth.name: growth
    for growth in (
        Growth("members", "members on the server", (1_000, 10_000, 100_000), _among_members),
        Growth("turns", "turns of each member", (10, 100, 1_000), _after_turns),
        Growth("flows", "flows of the bot", (1, 10, 100, 500), _among_flows),
        Growth("threads", "threads on one manager", (1, 4, 16, 64), _of_threads),
        Growth("document", "bytes more in the document", (0, 1_000, 4_000, 16_000, 48_000), _of_document),
    )
}
"""The growths by name."""
