"""Size a deployment from what one turn and one conversation cost on this machine.

`make bench ARGS=--sizing` runs it: the bytes that the store keeps of a conversation and the archive of an entry, and
the CPU time of server and worker for a turn, are measured; the machines that a number of members needs follow from
them by the arithmetic of `needed`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import attrs
import redis

from tests.bench.contenders import Turns
from tests.bench.conversation import TILL, Conversation
from tests.bench.measure import Spread, measure
from tests.bench.server import Server, placements
from vimbiso_fsm import FlowStateManager, Message
from vimbiso_fsm.store.layout import Keys

__all__ = ["MEMBERS", "Cost", "Habits", "Machines", "cost", "lines", "needed"]

MEMBERS: Final = (1_000_000, 10_000_000, 100_000_000)
"""The numbers of members that are sized by default."""
TURNS: Final = (4, 200)
"""The turns of a young conversation, and of one whose ring and hot audit are full."""
DAY: Final = 86_400
GIGABYTE: Final = 10**9


@attrs.frozen
class Cost:
    """What was measured.

    Attributes:
        young: Bytes that the store keeps of a conversation of 4 turns.
        full: Bytes that it keeps of a conversation of 200 turns, of which a worker has moved the oldest entries.
        archived: Bytes of an entry in an archive of JSON Lines.
        server: Microseconds of the server's CPU time for a turn.
        worker: Microseconds of a worker's CPU time for a turn.
    """

    young: int
    full: int
    archived: int
    server: Spread
    worker: Spread


@attrs.frozen
class Habits:
    """What is assumed of the members and of the machines.

    Attributes:
        turns: Turns of a member a day, on average over all members.
        full: The share of members whose conversation is full. The others have a young one.
        peak: The turns of the busiest second over those of an average second.
        memory: Bytes of a server's memory that may be used. The rest is for the copy that a save makes.
        busy: The share of a core that may be used in the busiest second, of servers and of workers.
    """

    turns: float = 1.0
    full: float = 0.25
    peak: float = 6.0
    memory: int = 16 * GIGABYTE
    busy: float = 0.5


@attrs.frozen
class Machines:
    """What a number of members needs.

    Attributes:
        members: The number of members.
        rate: Turns in the busiest second.
        memory: Bytes in the store.
        shards: Primaries of the cluster: enough for the memory, and for the CPU.
        workers: Cores that handle messages.
        archive: Bytes that the archive grows by in a year.
    """

    members: int
    rate: float
    memory: int
    shards: int
    workers: int
    archive: int


def cost(seconds: float, blocks: int) -> Cost:
    """Measure what a turn and a conversation cost.

    Args:
        seconds: The length of a block.
        blocks: The number of blocks.
    """
    with Server.start("everysec") as server:
        young, full, archived = _bytes(server)
        contender = Turns(server.url, TILL)
        row, *_ = measure(server, [contender], next(iter(reversed(placements())), None), seconds, blocks)
        contender.close()
    return Cost(young, full, archived, row.server_cpu, row.client_cpu)


def needed(cost: Cost, members: int, habits: Habits) -> Machines:
    """Return the machines that a number of members needs."""
    rate = members * habits.turns / DAY * habits.peak
    memory = round(members * (habits.full * cost.full + (1 - habits.full) * cost.young))
    by_memory = memory / habits.memory
    by_time = rate * cost.server.median / 1e6 / habits.busy
    workers = rate * cost.worker.median / 1e6 / habits.busy
    archive = round(members * habits.turns * 365 * cost.archived)
    return Machines(members, rate, memory, ceil(max(by_memory, by_time)), ceil(workers), archive)


def lines(cost: Cost, members: Sequence[int], habits: Habits) -> Iterator[str]:
    """Yield the lines of the report: what was measured, what is assumed, and what is needed."""
    yield f"a conversation     {cost.young:,} bytes after {TURNS[0]} turns, {cost.full:,} when it is full"
    yield f"an archived entry  {cost.archived:,} bytes"
    for name, spread in (("server", cost.server), ("worker", cost.worker)):
        yield f"a turn             {spread.median:.0f} µs of {name} CPU ({spread.lower:.0f}–{spread.upper:.0f})"
    yield f"assumed            {habits.turns:g} turns of a member a day, {habits.peak:g} × in the busiest second,"
    yield f"                   {habits.full:.0%} of the conversations full,"
    yield f"                   {habits.memory / GIGABYTE:g} GB a server, CPUs at most {habits.busy:.0%} busy\n"
    yield f"  {'members':>12}{'turns a second':>16}{'memory':>12}{'shards':>8}{'cores':>8}{'archive a year':>16}"
    for number in members:
        row = needed(cost, number, habits)
        memory, archive = (f"{size / GIGABYTE:,.0f} GB" for size in (row.memory, row.archive))
        yield f"  {row.members:>12,}{row.rate:>16,.0f}{memory:>12}{row.shards:>8,}{row.workers:>8,}{archive:>16}"


def _bytes(server: Server, members: int = 20) -> tuple[int, int, int]:
    """Return the bytes of a young conversation, of a full one, and of an archived entry, as means."""
    keys, young, full = Keys(TILL.namespace), 0, 0
    with (
        TemporaryDirectory() as folder,
        FlowStateManager.from_url(
            server.url, TILL.bot, namespace=TILL.namespace, rates=None, archive=folder
        ) as manager,
        redis.Redis.from_url(server.url) as client,
    ):

        def kept(member_id: str) -> int:
            return sum(int(client.memory_usage(key, samples=0) or 0) for key in keys.member(member_id))

        def say(messages: Iterable[Message]) -> str:
            return [manager.handle(message) for message in messages][-1].state.member_id

        moved = 0
        for number in range(members):
            conversation = Conversation(TILL, 10_000 + number)
            messages = (*conversation.opening, *(next(conversation) for _ in range(TURNS[1])))
            young += kept(say(messages[: TURNS[0]]))
            member_id = say(messages[TURNS[0] : TURNS[1]])
            moved += manager.archive(member_id).entries
            full += kept(member_id)
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    return round(young / members), round(full / members), round(size / moved)
