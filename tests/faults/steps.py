"""Steps of a server's clock: it is ten days ahead or behind for a moment, while members talk and workers die."""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import attrs
import pytest

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
SOURCE: Final = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static long ahead(void) {
  long seconds = 0;
  FILE *file = fopen(getenv("CLOCK_AHEAD"), "r");
  if (file) { if (fscanf(file, "%ld", &seconds) != 1) seconds = 0; fclose(file); }
  return seconds;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  int (*real)(struct timeval *, void *) = dlsym(RTLD_NEXT, "gettimeofday");
  int result = real(now, zone);
  if (!result && now) now->tv_sec += ahead();
  return result;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
  int result = real(clock, now);
  if (!result && clock == CLOCK_REALTIME) now->tv_sec += ahead();
  return result;
}

time_t time(time_t *seconds) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (seconds) *seconds = now.tv_sec;
  return now.tv_sec;
}
"""
"""A library for LD_PRELOAD. It moves the wall clock of a program by the seconds that a file holds."""


@attrs.frozen
class SteppingServer:
    """A server whose clock can be moved."""

    server: OwnServer
    file: Path

    def step(self, seconds: float) -> None:
        """Set the clock to so many seconds ahead of the right time."""
        new = self.file.with_suffix(".new")
        new.write_text(str(round(seconds)))
        new.replace(self.file)
        with self.server.client() as client:
            while abs(client.time()[0] - time.time() - seconds) > 60:
                time.sleep(0.01)


@contextmanager
def stepping_server(path: Path) -> Generator[SteppingServer]:
    """Run a server whose clock can be moved. `path`: a folder for the library that moves it."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    library, file = path / "clock.so", path / "ahead"
    (path / "clock.c").write_text(SOURCE)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, path / "clock.c", "-ldl"], check=True)
    file.write_text("0")
    moved = {"LD_PRELOAD": str(library), "CLOCK_AHEAD": str(file)}
    with own_server(valkey_program(), environment=moved) as server:
        yield SteppingServer(server, file)


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
