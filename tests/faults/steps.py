"""Steps of a server's clock: it is ten days ahead or behind for a moment, while members talk and workers die."""

from __future__ import annotations

import random
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import attrs
import pytest

from tests.clocks import MovedClock, ahead_of_all, compiler
from tests.engines import valkey_program
from tests.faults.bot import till_bot
from tests.faults.checker import check
from tests.faults.members import Person
from tests.faults.records import Folder, LedgerTill
from tests.faults.replies import people_for
from tests.faults.row import Profile, Report, folder, row
from tests.faults.server import OwnServer, own_server
from tests.faults.worker import Workers, crews, working
from vimbiso_fsm.runtime.flow_state import FlowStateManager
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.store.requests import Lease
from vimbiso_fsm.store.retention import DAY, SHARDS
from vimbiso_fsm.testing.chat import STORE_SECRET

__all__ = ["clock_steps"]

STEPS: Final = (10 * DAY, -10 * DAY, 9 * DAY, -9 * DAY)


@attrs.frozen
class SteppingServer:
    """A server whose clock can be moved."""

    server: OwnServer
    clock: MovedClock

    def step(self, seconds: float) -> None:
        """Set the clock to so many seconds ahead of that of this process."""
        self.clock.set(ahead_of_all() + seconds)
        with self.server.client() as client:
            while abs(client.time()[0] - time.time() - seconds) > 60:
                time.sleep(0.01)


@contextmanager
def stepping_server(path: Path) -> Generator[SteppingServer]:
    """Run a server whose clock can be moved. `path`: a folder for the library that moves it."""
    if compiler() is None:
        pytest.skip("needs a C compiler")
    clock = MovedClock(path, ahead_of_all())
    with own_server(valkey_program(), environment=clock.environment) as server:
        yield SteppingServer(server, clock)


@row(
    "clock-steps",
    "the server's clock ±10 days for a moment, workers killed meanwhile",
    "0 lost, 0 doubled, 0 held up, no lease left",
)
def clock_steps(profile: Profile, seed: int) -> Report:
    """Step the clock again and again while members confirm sales; then deliver every message once more."""
    report, chance = Report(), random.Random(seed)
    people = people_for(profile.of(40, 1_000), 5)
    with folder() as records, stepping_server(records.path) as stepping:
        url = stepping.server.url
        with working(crews(url, records, people, 2, at_once=4)) as workers:
            steps = STEPS[: profile.of(2, 4)]
            for step in chance.sample(steps, len(steps)) * profile.of(1, 5):
                _wait_for_answers(records, workers, chance.randrange(5, 15))
                stepping.step(step)
                _wait_for_answers(records, workers, chance.randrange(5, 15))
                if busy := workers.busy():
                    workers.replace(chance.choice(busy))
                    report.count(killed=1)
                with AtomicStateManager.from_url(url, secret=STORE_SECRET) as store:
                    shard = chance.randrange(SHARDS)
                    store.perform(Lease(shard, "dead", 15.0))
                    stepping.step(0)
                    held = store.perform(Lease(shard, "next", 15.0)).worker if step > 0 else "next"
                    report.demand(held == "next", f"shard {shard} stays leased to a dead worker")
                report.count(steps=1)
        _deliver_again(url, records, people, report)
        check(url, records, people, report)
    return report


def _wait_for_answers(records: Folder, workers: Workers, number: int) -> None:
    """Wait until the members have got a number of answers more, or have said everything."""
    wanted = records.count("answered") + number
    while records.count("answered") < wanted and workers.busy():
        time.sleep(0.01)


def _deliver_again(url: str, records: Folder, people: Sequence[Person], report: Report) -> None:
    """Deliver every message again; each must be known. Then look for instants that only a wrong clock can have set."""
    bot = till_bot(LedgerTill(records))
    latest = time.time() + 3600
    with (
        AtomicStateManager.from_url(url, secret=STORE_SECRET) as store,
        FlowStateManager(bot, store, rates=None) as manager,
    ):
        for person in people:
            statuses = {manager.handle(message).status for message in person.messages}
            report.demand(statuses == {"duplicate"}, f"{person.number}: delivered again, messages came to {statuses}")
            manager.wake(person.member_id)
            document = manager.state(person.member_id)
            known = document is not None and document.call is None and document.last_updated.timestamp() <= latest
            report.demand(known, f"{person.number}: the document has a call, or is from the future")
            corrected = [entry for entry in manager.history(person.member_id) if "clock_ahead" in entry.detail]
            report.count(delivered_again=len(person.messages), corrected=len(corrected))
    report.demand(report.counts["corrected"], "no document was stored while the clock was ahead")
