"""A flood of messages from senders that are not known, while known members go on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Sequence
from typing import Any

from tests.digests import guest_id
from tests.engines import valkey_program
from tests.faults.bot import TALLY
from tests.faults.row import Profile, Report, folder, row
from tests.faults.server import own_server
from tests.faults.worker import logged
from vimbiso_fsm.errors import TooManyMessages
from vimbiso_fsm.flow.rates import Rate, Rates
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.operations.handle import Outcome
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager
from vimbiso_fsm.store.requests import shard_of
from vimbiso_fsm.store.retention import STRANGER_LIFE, TOKEN_KEPT
from vimbiso_fsm.testing.chat import STORE_SECRET

__all__ = ["hostile_senders"]

MEMBERS = 40
"""Known members; each sends a message every `PAUSE` seconds."""
PAUSE = 0.5
FLOOD = 1_000
"""Messages of unknown senders in a second."""
BURST = 200
"""New guests that are taken at once."""
EVERY = 0.1
"""Seconds after which one more is taken."""
MOST_BYTES = 1_850
"""Bytes that are kept of a stranger at most."""


def _channel(kind: str, number: int) -> Channel:
    return Channel("whatsapp", f"{'2637' if kind == 'known' else '9'}{number:08}")


class _Clients:
    """The known members and the unknown senders of one manager."""

    def __init__(self, manager: AsyncFlowStateManager, report: Report, sums: Sequence[int] = (0,) * MEMBERS) -> None:
        self._manager, self._report = manager, report
        self.taken: list[int] = []
        self.first: list[float] = []
        self.began = time.monotonic()
        self.sums = list(sums)

    async def known(self, member: int, name: str, seconds: float, spent: list[float]) -> None:
        """Let a known member add numbers for some seconds, at least twice, and time each answer but the first."""
        until, number = time.monotonic() + seconds, 0
        await asyncio.sleep(PAUSE * member / MEMBERS)
        while time.monotonic() < until or number < 2:
            number += 1
            began = time.monotonic()
            outcome = await self.taken_in_the_end(Message(_channel("known", member), f"{name}-{number}", "1"))
            (spent if number > 1 else self.first).append(time.monotonic() - began)
            self.sums[member] += 1
            self._report.demand(outcome.status == "advanced", f"member {member} was answered {outcome.status!r}")
            await asyncio.sleep(max(0.0, began + PAUSE - time.monotonic()))

    async def taken_in_the_end(self, message: Message) -> Outcome:
        """Deliver a message of a known member until it is taken, as a channel does."""
        while True:
            try:
                return await self._manager.handle(message)
            except TooManyMessages:
                self._report.count(delivered_again=1)
                await asyncio.sleep(0.2)

    async def unknown(self, number: int) -> None:
        """Send one message of a sender that was never seen."""
        try:
            await self._manager.handle(Message(_channel("unknown", number), "1", "hi"))
        except TooManyMessages:
            self._report.count(refused=1)
        else:
            self.taken.append(number)

    async def flood(self, seconds: float) -> None:
        """Send messages of ever new senders at the rate of the flood, whether they are answered or not."""
        began = time.monotonic()
        sent = 0
        async with asyncio.TaskGroup() as group:
            while (past := time.monotonic() - began) < seconds:
                for number in range(sent, int(past * FLOOD)):
                    group.create_task(self.unknown(number))
                sent = max(sent, int(past * FLOOD))
                await asyncio.sleep(0.002)


async def _phase(clients: _Clients, name: str, seconds: float, *others: Awaitable[None]) -> list[float]:
    """Let the known members talk, and return the seconds of their turns."""
    spent: list[float] = []
    await asyncio.gather(*others, *(clients.known(member, name, seconds, spent) for member in range(MEMBERS)))
    return sorted(spent)


def _ninety_nine(spent: Sequence[float]) -> float:
    """Return the 99th percentile, in milliseconds."""
    return round(1_000 * spent[min(len(spent) - 1, int(0.99 * len(spent)))], 1)


def _check_kept(client: Any, clients: _Clients, report: Report) -> None:
    """Check what is kept of the unknown senders, and for how long."""
    most = BURST + (time.monotonic() - clients.began) / EVERY + 1
    report.demand(len(clients.taken) <= most, f"{len(clients.taken)} new guests were taken, at most {most:.0f} may be")
    names = {guest_id(_channel("unknown", number)).encode() for number in clients.taken}
    sizes: dict[bytes, int] = {}
    lives = {b"tokens": TOKEN_KEPT + 1.0}
    strangers = {guest_id(_channel("known", member)).encode() for member in range(MEMBERS)}
    for key in client.scan_iter("*:member:*", count=1_000):
        name, kind = key.split(b":member:")[1].rsplit(b":", 1)
        if name in strangers:
            continue
        report.demand(name in names, f"something is kept of a sender that was refused: {kind.decode()}")
        life, most_life = client.ttl(key), lives.get(kind, STRANGER_LIFE + STRANGER_LIFE / 30 + 1)
        report.demand(0 < life <= most_life, f"{kind.decode()} of a stranger is kept for {life} s")
        sizes[name] = sizes.get(name, 0) + client.memory_usage(key, samples=0)
    report.demand(max(sizes.values(), default=0) <= MOST_BYTES, f"{max(sizes.values(), default=0)} bytes of a stranger")
    for number in clients.taken[:100]:
        name_of = guest_id(_channel("unknown", number))
        due = client.zscore(f"vimbiso:{{{shard_of(name_of)}}}:due", name_of)
        report.demand(due is None, "a stranger has a wake-up")
    report.count(taken=len(clients.taken), most_bytes_of_a_stranger=max(sizes.values(), default=0))


async def _run(url: str, seconds: float, rates: Rates | None, client: Any, report: Report) -> None:
    async with AsyncFlowStateManager.from_url(url, TALLY, rates=rates, secret=STORE_SECRET) as manager:
        clients = _Clients(manager, report)
        for member in range(MEMBERS):
            await manager.handle(Message(_channel("known", member), "0", "hi"))
        quiet = await _phase(clients, "quiet", seconds)
    async with AsyncFlowStateManager.from_url(
        url, TALLY, rates=rates, secret=STORE_SECRET
    ) as manager:  # it remembers no member
        clients = _Clients(manager, report, clients.sums)
        before = client.info("memory")["used_memory"]
        flooded = await _phase(clients, "flood", seconds, clients.flood(seconds))
        report.count(kilobytes=round((client.info("memory")["used_memory"] - before) / 1_000))
        for member in range(MEMBERS):
            outcome = await clients.taken_in_the_end(Message(_channel("known", member), "last", "0"))
            run = outcome.state.run
            found = run.fields["n"] if run else None
            report.demand(found == clients.sums[member], f"member {member} is at {found}, not {clients.sums[member]}")
    first = sorted(clients.first)
    report.count(turns=len(quiet) + len(flooded) + len(first), first_turn_in_the_flood_p99_ms=_ninety_nine(first))
    report.count(quiet_p99_ms=_ninety_nine(quiet), flood_p99_ms=_ninety_nine(flooded))
    _check_kept(client, clients, report)


def hostile_senders(seconds: float, rates: Rates | None) -> Report:
    """Run the flood.

    Args:
        seconds: Seconds of quiet, and then of the flood.
        rates: The rates of the manager.
    """
    report = Report()
    with folder() as records, own_server(valkey_program()) as server, logged(records), server.client() as client:
        asyncio.run(_run(server.url, seconds, rates, client, report))
    return report


@row(
    "hostile-senders",
    "1,000 messages a second of unknown senders",
    "members go on, little is kept of few strangers, and each key of them has an end",
)
def senders(profile: Profile, seed: int) -> Report:
    """Known members talk in a quiet time, and then during a flood, to a manager that remembers none of them."""
    del seed  # nothing is drawn
    return hostile_senders(profile.of(2, 60), Rates(Rate(1_000, every=0.1), guests=Rate(BURST, every=EVERY)))
