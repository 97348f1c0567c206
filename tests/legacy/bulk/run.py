"""A bulk import of many records beside live traffic, by a process that is killed, and the check of each record."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from tests.engines import Server, running, valkey_program
from tests.legacy.bulk.bot import bot
from tests.legacy.bulk.records import BROKEN, offered, text
from vimbiso_fsm.audit.flow_audit import CommitEvent, FlowAuditLogger
from vimbiso_fsm.errors import VimbisoError
from vimbiso_fsm.legacy.records import record_digests
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager
from vimbiso_fsm.store.redis_atomic import AsyncAtomicStateManager
from vimbiso_fsm.store.requests import ReadAudit, ReadDigests

__all__ = ["Figures", "migrate_many"]

ROOT: Final = Path(__file__).parents[3]
BROKEN_EVERY: Final = 50
BATCH: Final = 500
"""Keys that are written or looked at together."""


@attrs.define
class Figures:
    """The outcome of a run.

    `seconds`: of all processes together. `by_messages`: records that a message converted. `twice`, `lost`, `unlisted`,
    `changed`: records, 0 of each on success.
    """

    records: int = 0
    broken: int = 0
    kills: int = 0
    messages: int = 0
    unanswered: int = 0
    by_messages: int = 0
    seconds: float = 0.0
    twice: int = 0
    lost: int = 0
    unlisted: int = 0
    changed: int = 0

    @property
    def sound(self) -> bool:
        """Return whether each valid record was converted once, each invalid one reported, and none lost."""
        return not (self.twice or self.lost or self.unlisted or self.changed)

    def __str__(self) -> str:
        good = self.records - self.broken
        return (
            f"{self.records} records, {self.broken} of them broken; {self.kills} kills; "
            f"{self.messages} messages beside, {self.unanswered} of them not answered\n"
            f"converted once {good - self.lost - self.twice} of {good} ({self.by_messages} of them by a message), "
            f"twice {self.twice}, lost {self.lost}; listed {self.broken - self.unlisted} of {self.broken} broken ones, "
            f"changed {self.changed}\n"
            f"{self.seconds:.1f} s, {self.records / self.seconds:.0f} records a second, with the repeated starts"
        )


@attrs.frozen
class _Filled:
    """The records under the numbers."""

    good: Mapping[str, str | None]
    broken: Mapping[str, bytes]


def _records(count: int) -> _Filled:
    good: dict[str, str | None] = {}
    broken: dict[str, bytes] = {}
    ways = list(BROKEN.values())
    for n in range(count):
        number = f"2637{n:08}"
        if n % BROKEN_EVERY == 0:
            broken[number] = ways[n // BROKEN_EVERY % len(ways)][0](number)
        else:
            good[number] = f"m-{number}" if n % 3 else None
    return _Filled(good, broken)


def _fill(server: Server, filled: _Filled) -> None:
    with server.client() as client:
        for number, data in filled.broken.items():
            client.set(number, data)
        numbers = list(filled.good)
        for first in range(0, len(numbers), BATCH):
            client.mset(
                {
                    number: text(offered(number, filled.good[number], channel=bool(int(number) % 2)))
                    for number in numbers[first : first + BATCH]
                }
            )


class _Traffic:
    """Members who write meanwhile, at random, some of them repeatedly."""

    def __init__(self, url: str, numbers: list[str], a_second: float) -> None:
        self._url, self._numbers, self._a_second = url, numbers, a_second
        self._chance = random.Random(1)  # a run that can be repeated
        self.messages = self.unanswered = self.converted = 0

    async def run(self) -> None:
        """Write until cancelled."""
        async with AsyncFlowStateManager.from_url(self._url, bot, legacy=True, observers=[self._told]) as manager:
            while True:
                await asyncio.sleep(1 / self._a_second)
                number = self._chance.choice(self._numbers)
                self.messages += 1
                message = Message(
                    Channel("whatsapp", number), f"m{self.messages}", self._chance.choice(("help", "menu"))
                )
                try:
                    await manager.handle(message)
                except VimbisoError:
                    self.unanswered += 1

    def _told(self, details: CommitEvent) -> None:
        self.converted += details.entry.kind == "migration"


def _runner(url: str, report: Path) -> subprocess.Popen[bytes]:
    words = ("import-legacy", "--redis", url, "--flows", "tests.legacy.bulk.bot", "--report", str(report))
    command = [sys.executable, "-m", "vimbiso_fsm.cli", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


async def _run(
    server: Server, report: Path, good: int, kills: int, figures: Figures, say: Callable[[str], None]
) -> None:
    """Run processes one after the other, and kill all but the last one."""
    began = time.monotonic()
    with server.client() as client:
        before: Any = client.dbsize()
    for part in range(1, kills + 2):
        runner = _runner(server.url, report)
        ended = asyncio.ensure_future(asyncio.to_thread(runner.communicate))
        enough = good * part // (kills + 1) if part <= kills else None
        while not ended.done():
            await asyncio.wait([ended], timeout=0.05)
            if enough is not None and not ended.done() and _converted(server, before) >= enough:
                runner.send_signal(signal.SIGKILL)
                enough = None
        out, err = await ended
        said = (out or err).decode().strip()
        if runner.returncode == -signal.SIGKILL:
            figures.kills += 1
            say(f"runner {part}: killed")
        else:
            assert runner.returncode in {0, 1}, said
            say(f"runner {part}: {said}")
    figures.seconds = time.monotonic() - began


def _converted(server: Server, before: int) -> int:
    """Return about how many records are converted: each has two keys, and one of its channel."""
    with server.client() as client:
        keys: Any = client.dbsize()
        return int(keys - before) // 3


async def _check(server: Server, filled: _Filled, report: list[str], figures: Figures) -> None:
    lines = [json.loads(line) for line in report]
    assert lines[-1]["kind"] == "summary", "the last runner did not come to its end"
    listed = {line["digest"] for line in lines if line["kind"] == "record"}
    async with AsyncAtomicStateManager.from_url(server.url) as store:
        digests = await store.perform(ReadDigests())
    figures.unlisted = len([number for number in filled.broken if record_digests(digests, number)[0] not in listed])
    with server.client() as client:
        figures.changed = len([number for number, data in filled.broken.items() if client.get(number) != data])
    async with AsyncAtomicStateManager.from_url(server.url) as store:

        async def times(number: str) -> int:
            """Return how often a record was converted, at the member or at the guest."""
            read: Any = await store.perform(
                ReadAudit(filled.good[number] or digests.guest_id(Channel("whatsapp", number)))
            )
            return sum(entry.kind == "migration" for entry in FlowAuditLogger.read(read))

        numbers = list(filled.good)
        for first in range(0, len(numbers), BATCH):
            found = await asyncio.gather(*map(times, numbers[first : first + BATCH]))
            figures.lost += sum(1 for one in found if one == 0)
            figures.twice += sum(1 for one in found if one > 1)


def migrate_many(
    count: int, *, kills: int = 2, a_second: float = 50.0, say: Callable[[str], None] = lambda line: None
) -> Figures:
    """Fill a server with `count` records and import them, killing the process `kills` times.

    `a_second`: messages beside it. `say`: called with the progress.
    """
    filled = _records(count)
    figures = Figures(records=count, broken=len(filled.broken))

    async def all_of_it(server: Server, report: Path) -> None:
        traffic = _Traffic(server.url, [*filled.good, *filled.broken], a_second)
        talking = asyncio.ensure_future(traffic.run())
        try:
            await _run(server, report, len(filled.good), kills, figures, say)
        finally:
            talking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await talking
        figures.messages, figures.unanswered = traffic.messages, traffic.unanswered
        figures.by_messages = traffic.converted

    with tempfile.TemporaryDirectory(prefix="vimbiso-") as folder, running(valkey_program()) as server:
        report = Path(folder) / "report.jsonl"
        _fill(server, filled)
        say(f"{count} records are there")
        asyncio.run(all_of_it(server, report))
        asyncio.run(_check(server, filled, report.read_text(encoding="utf-8").splitlines(), figures))
    return figures
