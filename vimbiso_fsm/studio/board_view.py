"""What the board shows, computed from what was read: pure functions and values.

The members of a store are counted part by part (`Count`), so that a store of a million members is counted while the
board is already shown, and the list of stuck members stays bounded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

import attrs

from vimbiso_fsm.operations.members import REASONS, Reason, Standing
from vimbiso_fsm.store.retention import SHARDS

MOST_STUCK: Final = 100
"""Stuck members that are listed: the gravest, and of the same reason those that are stuck for longest."""
WAITS: Final = (1, 10, 60, 600, 3600)
"""Seconds for which members that are counted as late have been due."""
NAME_SHOWN: Final = 60
"""Characters of the name of a worker in a sentence."""
DUE_PER_SHARD: Final = 100
"""Members of one shard that are counted."""


# Members --------------------------------------------------------------------------------------------------------------


@attrs.frozen
class Place:
    """The members in one state.

    Attributes:
        flow: The flow; empty for members without an open one.
        step: The state.
        members: The number of members.
        stuck: The number of those who are stuck.
    """

    flow: str
    step: str
    members: int
    stuck: int


@attrs.define
class Count:
    """The members of a store, counted so far.

    Attributes:
        members: The number of members.
        begun: The instant at which the count began; None before.
        ended: The instant at which it ended; None while it goes on.
        stuck: The number of stuck members.
    """

    members: int = 0
    begun: datetime | None = None
    ended: datetime | None = None
    stuck: int = 0
    _places: Counter[tuple[str, str]] = attrs.field(factory=Counter[tuple[str, str]], init=False)
    _stuck_at: Counter[tuple[str, str]] = attrs.field(factory=Counter[tuple[str, str]], init=False)
    _reasons: Counter[Reason] = attrs.field(factory=Counter[Reason], init=False)
    _listed: list[Standing] = attrs.field(factory=list[Standing], init=False)

    def add(self, found: Iterable[Standing]) -> None:
        """Count some members."""
        for each in found:
            place = (each.flow, each.step)
            self.members += 1
            self._places[place] += 1
            if each.stuck:
                self.stuck += 1
                self._stuck_at[place] += 1
                self._reasons[each.stuck[0].reason] += 1
                self._listed.append(each)
        self._listed = sorted(self._listed, key=_gravity)[:MOST_STUCK]

    @property
    def places(self) -> Sequence[Place]:
        """The states with their members: first those with stuck members, then those with most members."""
        found = [Place(*place, members, self._stuck_at[place]) for place, members in self._places.items()]
        return sorted(found, key=lambda each: (-each.stuck, -each.members, each.flow, each.step))

    @property
    def listed(self) -> Sequence[Standing]:
        """The stuck members that are listed, the gravest first."""
        return self._listed

    @property
    def reasons(self) -> Sequence[tuple[Reason, int]]:
        """The number of stuck members by their gravest reason."""
        return [(reason, self._reasons[reason]) for reason in REASONS if self._reasons[reason]]


def _gravity(each: Standing) -> tuple[int, float, str]:
    worst = each.stuck[0]
    since = worst.since or each.since
    return REASONS.index(worst.reason), since.timestamp() if since else 0.0, each.member_id


# Workers, and what is due ---------------------------------------------------------------------------------------------


@attrs.frozen
class Attendance:
    """The workers of a store.

    Attributes:
        workers: The workers that are present, with the number of shards that they hold, in order.
        gone: Workers that hold shards and are not present: they ended without a word, and their leases end soon.
        free: The number of shards that no worker holds.
    """

    workers: Sequence[tuple[str, int]]
    gone: Sequence[tuple[str, int]]
    free: int


def attendance(present: Iterable[str], holders: Iterable[str | None]) -> Attendance:
    """Return the workers of a store.

    Args:
        present: The workers that are present.
        holders: The holder of each shard; None for a shard without one.
    """
    held = Counter(holders)
    here = sorted({*present})
    away = sorted((name, count) for name, count in held.items() if name is not None and name not in here)
    return Attendance([(name, held[name]) for name in here], away, held[None])


@attrs.frozen
class Late:
    """The members who have been due for a time.

    Attributes:
        seconds: The time, in seconds.
        members: Their number, as far as it was counted.
        is_least: Whether there may be more.
    """

    seconds: int
    members: int
    is_least: bool


def late(seconds: int, due: Iterable[Sequence[str]]) -> Late:
    """Count the members who have been due for a time, from those of each shard."""
    counts = [len(members) for members in due]
    return Late(seconds, sum(counts), any(count >= DUE_PER_SHARD for count in counts))


def lag(rows: Iterable[Late]) -> int:
    """Return the longest time in seconds for which a member has been due, as far as it was counted; 0 without any."""
    return max((row.seconds for row in rows if row.members), default=0)


@attrs.frozen
class Finding:
    """A sentence about the store that an operator should read.

    Attributes:
        words: The sentence.
        remedy: What to do.
    """

    words: str
    remedy: str


def findings(workers: Attendance, rows: Sequence[Late], memory: float, alarm: float) -> Sequence[Finding]:
    """Return what is wrong with a store as a whole, the gravest first.

    Args:
        workers: The workers.
        rows: The members who are late.
        memory: The largest share of its memory that a server uses; 0 if none has a limit.
        alarm: The share from which a server counts as full.
    """
    found: list[Finding] = []
    if memory >= alarm:
        found.append(Finding(f"A server uses {memory:.0%} of its memory.", "Raise maxmemory, or archive the audit."))
    if not workers.workers:
        found.append(
            Finding("No worker is present: nothing is done without a message.", "Start vimbiso worker or serve.")
        )
    elif workers.free == SHARDS:
        found.append(Finding("The workers hold no shard.", "Look at the log of a worker."))
    for name, count in workers.gone:
        shards = "1 shard" if count == 1 else f"{count} shards"
        found.append(
            Finding(
                f"The worker {name[:NAME_SHOWN]} holds {shards} and is not present.",
                "Its leases end by themselves; start it again if it has died.",
            )
        )
    if lag(rows) >= 60:
        longest = next(row for row in reversed(rows) if row.members)
        number = f"{'At least ' if longest.is_least else ''}{longest.members:,}"
        late_ones = "member has" if longest.members == 1 else "members have"
        found.append(
            Finding(
                f"{number} {late_ones} been due for more than {spoken(longest.seconds)}.",
                "Look at the log of the workers, and start more of them if they are busy.",
            )
        )
    return found


def spoken(seconds: float) -> str:
    """Return a duration in words, in its largest whole unit: "3 min", "2 h", "4 d"."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(int(seconds), 0)} s"


# Figures of processes -------------------------------------------------------------------------------------------------


@attrs.frozen
class Latency:
    """The durations of something, from the buckets of a histogram.

    Attributes:
        title: What is measured.
        count: The number of measurements.
        p50: The median in seconds, within its bucket; None without measurements, or beyond the last bucket.
        p95: The 95th percentile.
        p99: The 99th percentile.
    """

    title: str
    count: int
    p50: float | None
    p95: float | None
    p99: float | None


@attrs.frozen
class Figures:
    """The figures of the processes that serve a bot, since each began.

    Attributes:
        latencies: The durations.
        counts: What was counted, by its title.
    """

    latencies: Sequence[Latency]
    counts: Sequence[tuple[str, int]]


Sample = tuple[str, Mapping[str, str], float]
"""A sample of OpenMetrics: its name, its labels and its value."""

LATENCIES: Final = (
    ("Messages, from handing over to the answer", "vimbiso_handle_duration_seconds"),
    ("Wakings", "vimbiso_wake_duration_seconds"),
    ("Delay of due work", "vimbiso_due_lag_seconds"),
)
"""The histograms that are shown."""
COUNTS: Final[Sequence[tuple[str, str, Mapping[str, str]]]] = (
    ("Turns stored", "vimbiso_turns_total", {}),
    ("Messages handled before (duplicates)", "vimbiso_duplicates_total", {}),
    ("Commits that lost a race (conflicts)", "vimbiso_conflicts_total", {}),
    ("Damaged documents repaired (recoveries)", "vimbiso_recoveries_total", {}),
    ("Messages and wakings that ended in an error", "vimbiso_errors_total", {}),
    ("Wakings that failed", "vimbiso_worker_failed_total", {}),
    ("Deliveries that failed", "vimbiso_deliveries_total", {"vimbiso_status": "failed"}),
)
"""The counts that are shown: their titles, their names, and the labels that they need."""


def figures(samples: Sequence[Sample]) -> Figures:
    """Return the figures of all processes together.

    Args:
        samples: The samples of their metrics, one process after another.
    """
    counts = [
        (
            title,
            int(sum(value for name, labels, value in samples if name == wanted and needed.items() <= labels.items())),
        )
        for title, wanted, needed in COUNTS
    ]
    return Figures([_latency(title, name, samples) for title, name in LATENCIES], counts)


def _latency(title: str, name: str, samples: Sequence[Sample]) -> Latency:
    buckets = Counter[float]()
    for found, labels, value in samples:
        if found == f"{name}_bucket" and "le" in labels:
            buckets[float(labels["le"])] += int(value)
    rows = sorted(buckets.items())
    count = rows[-1][1] if rows else 0
    p50, p95, p99 = (_quantile(rows, share) for share in (0.5, 0.95, 0.99))
    return Latency(title, count, p50, p95, p99)


def _quantile(buckets: Sequence[tuple[float, int]], share: float) -> float | None:
    """Return a quantile by the buckets of a histogram, whose counts are cumulative; linear within a bucket."""
    wanted = share * (buckets[-1][1] if buckets else 0)
    lower, below = 0.0, 0
    for upper, count in buckets:
        if count >= wanted and count:
            if upper == float("inf"):
                return None
            return lower + (upper - lower) * (wanted - below) / (count - below)
        lower, below = upper, count
    return None
