"""The values of the board, computed from what was read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vimbiso_fsm.operations.members import REASONS, Standing, Stuck
from vimbiso_fsm.store.retention import SHARDS
from vimbiso_fsm.studio.board_view import (
    DUE_PER_SHARD,
    MOST_STUCK,
    Count,
    Late,
    Sample,
    attendance,
    figures,
    findings,
    lag,
    late,
    spoken,
)

NOW = datetime(2026, 5, 1, tzinfo=UTC)
WELL = attendance(["one"], ["one"] * SHARDS)


def member(number: int, step: str = "ask", *stuck: Stuck, minutes: int = 0) -> Standing:
    """Return a member who has stood in a state for some minutes."""
    return Standing(f"m-{number}", "offer", step, NOW - timedelta(minutes=minutes), "sms", stuck)


def test_members_are_counted_by_state():
    """States with stuck members stand first, then those with most members."""
    count = Count()
    count.add([member(1), member(2), Standing("m-3")])
    count.add([member(4, "pay", Stuck("call"))])
    assert [(each.flow, each.step, each.members, each.stuck) for each in count.places] == [
        ("offer", "pay", 1, 1),
        ("offer", "ask", 2, 0),
        ("", "", 1, 0),
    ]
    assert (count.members, count.stuck) == (4, 1)


def test_the_gravest_and_longest_stuck_stand_first():
    """A graver reason comes before a longer time, and the time of the reason before that of the state."""
    count = Count()
    count.add(
        [
            member(1, "ask", Stuck("refused", times=3), minutes=60),
            member(2, "pay", Stuck("call", NOW - timedelta(minutes=2)), minutes=90),
            member(3, "pay", Stuck("call", NOW - timedelta(minutes=5)), minutes=5),
            member(4, "ask", Stuck("damaged"), Stuck("refused")),
        ]
    )
    assert [each.member_id for each in count.listed] == ["m-4", "m-3", "m-2", "m-1"]
    assert count.reasons == [("damaged", 1), ("call", 2), ("refused", 1)]


@given(st.lists(st.tuples(st.sampled_from(REASONS), st.integers(0, 500)), max_size=3 * MOST_STUCK), st.integers(1, 50))
def test_the_list_is_the_same_in_parts_of_any_size(rows: list[tuple[str, int]], size: int):
    """The listed members do not depend on the parts in which a store is counted, and are bounded."""
    members = [member(number, "s", Stuck(reason), minutes=age) for number, (reason, age) in enumerate(rows)]  # type: ignore[arg-type]  # one of the reasons
    whole, parts = Count(), Count()
    whole.add(members)
    for begin in range(0, len(members), size):
        parts.add(members[begin : begin + size])
    assert whole.listed == parts.listed
    assert len(whole.listed) == min(len(members), MOST_STUCK)
    assert (whole.stuck, whole.places, whole.reasons) == (parts.stuck, parts.places, parts.reasons)


def test_workers_with_their_shards():
    """A worker that is present and holds none is named, and one that holds some and is gone."""
    found = attendance(["b", "a"], ["a"] * 3 + ["dead"] * 2 + [None] * 4)
    assert (found.workers, found.gone, found.free) == ([("a", 3), ("b", 0)], [("dead", 2)], 4)


def test_what_is_late_is_counted_up_to_a_bound():
    """The number is a least one where a shard may have more."""
    assert late(60, [["a"], [], ["b", "c"]]) == Late(60, 3, is_least=False)
    assert late(60, [["a"] * DUE_PER_SHARD]).is_least
    assert lag([Late(1, 5, is_least=False), Late(10, 2, is_least=False), Late(60, 0, is_least=False)]) == 10
    assert lag([]) == 0


def test_a_store_that_is_well_has_no_findings():
    """Members who are due for a moment are no finding."""
    assert findings(WELL, [Late(1, 5, is_least=False), Late(10, 2, is_least=False)], 0.5, 0.9) == []


def test_findings_say_what_is_wrong_and_what_to_do():
    """Full servers, missing and dead workers, and late members are told, each with a remedy."""
    rows = [Late(1, 500, is_least=True), Late(60, 1200, is_least=True)]
    found = findings(attendance([], ["dead"] * 2 + [None] * 1022), rows, 0.95, 0.9)
    assert [each.words for each in found] == [
        "A server uses 95% of its memory.",
        "No worker is present: nothing is done without a message.",
        "The worker dead holds 2 shards and is not present.",
        "At least 1,200 members have been due for more than 1 min.",
    ]
    assert all(each.remedy for each in found)
    [idle] = findings(attendance(["one"], [None] * SHARDS), [], 0.0, 0.9)
    assert idle.words == "The workers hold no shard."


@pytest.mark.parametrize(
    ("seconds", "words"), [(-5, "0 s"), (0.9, "0 s"), (59.9, "59 s"), (60, "1 min"), (7_300, "2 h"), (200_000, "2 d")]
)
def test_durations_in_words(seconds: float, words: str):
    """A duration is spoken in its largest whole unit."""
    assert spoken(seconds) == words


def bucket(bound: str, count: int, name: str = "vimbiso_handle_duration_seconds") -> Sample:
    """Return a sample of a bucket."""
    return f"{name}_bucket", {"le": bound}, count


def test_latencies_of_all_processes_together():
    """The buckets of processes and labels are added, and quantiles are linear within a bucket."""
    process = [bucket("0.1", 50), bucket("0.2", 100), bucket("+Inf", 100)]
    handled = figures([*process, *process]).latencies[0]
    assert handled.count == 200
    assert handled.p50 == pytest.approx(0.1)
    assert handled.p95 == pytest.approx(0.19)


def test_latencies_that_are_not_known():
    """Nothing measured has no quantiles, and one beyond the last bucket is none."""
    assert [each.count for each in figures([]).latencies] == [0, 0, 0]
    assert figures([]).latencies[0].p50 is None
    long = figures([bucket("0.1", 1), bucket("+Inf", 10)]).latencies[0]
    assert (long.count, long.p50, long.p99) == (10, None, None)


def test_counts_are_added_by_name_and_label():
    """Failed deliveries are told from others; counts of all labels are added."""
    samples: list[Sample] = [
        ("vimbiso_conflicts_total", {"vimbiso_flow": "a"}, 2.0),
        ("vimbiso_conflicts_total", {"vimbiso_flow": "b"}, 3.0),
        ("vimbiso_deliveries_total", {"vimbiso_status": "failed"}, 4.0),
        ("vimbiso_deliveries_total", {"vimbiso_status": "sent"}, 9.0),
    ]
    found = dict(figures(samples).counts)
    assert found["Commits that lost a race (conflicts)"] == 5
    assert found["Deliveries that failed"] == 4
    assert found["Messages handled before (duplicates)"] == 0
