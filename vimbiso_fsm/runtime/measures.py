"""The figures of a manager: which there are, and what counts towards each.

`Measures` is an observer that turns what a manager does into figures; a subclass writes them down: `Telemetry` with
OpenTelemetry, and `web.metrics.OpenMetrics` for Prometheus. Both therefore have the same figures.

Attributes are words of the code: kinds, codes, and the names of flows, states, channel types and error classes. No
member, address, text or message of an exception is among them.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Final
from weakref import WeakSet

import attrs

from vimbiso_fsm.audit.entries import AuditEntry, failure_of_delivery
from vimbiso_fsm.audit.flow_audit import CommitEvent
from vimbiso_fsm.document.ids import is_guest_id
from vimbiso_fsm.errors import Contended, InvalidMessage
from vimbiso_fsm.messages.message import Message
from vimbiso_fsm.messages.told import StatusChanged, Told
from vimbiso_fsm.operations.handle import Outcome
from vimbiso_fsm.operations.handle_event import EventOutcome
from vimbiso_fsm.runtime.base import BaseManager
from vimbiso_fsm.runtime.budget import Budget
from vimbiso_fsm.runtime.watchdog import SlowCallback

SECONDS: Final[tuple[float, ...]] = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""The bucket bounds of the histograms, in seconds: from a turn of a millisecond to a call of ten seconds."""
LAGS: Final[tuple[float, ...]] = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
"""The bucket bounds of the delay of due work, in seconds."""
STATUSES: Final = frozenset({"accepted", "delivered", "failed", "played", "queued", "read", "sending", "sent"})
"""The statuses of messages that a figure names; any other is "other"."""

CHANNEL: Final = "vimbiso.channel.type"
FLOW: Final = "vimbiso.flow"
STATUS: Final = "vimbiso.status"
STEP: Final = "vimbiso.step"
ERROR: Final = "error.type"


@attrs.frozen
class Measure:
    """A figure.

    Attributes:
        name: The name, with dots.
        unit: The unit of UCUM: "s", "By", "1", or what is counted in braces.
        description: One line.
        attributes: The attributes that its counts can have, each of which may be missing.
        bounds: The bounds of the buckets of a histogram; none for a count and a gauge.
    """

    name: str
    unit: str
    description: str
    attributes: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()


TURNS: Final = Measure("vimbiso.turns", "{turn}", "Turns stored", ("vimbiso.kind", STATUS, FLOW, CHANNEL))
REFUSALS: Final = Measure(
    "vimbiso.refusals", "{refusal}", "Reasons given in stored turns", ("vimbiso.refusal.code", FLOW)
)
CONFLICTS: Final = Measure("vimbiso.conflicts", "{conflict}", "Commits that lost a race", (FLOW,))
RECOVERIES: Final = Measure("vimbiso.recoveries", "{recovery}", "Damaged documents repaired", (FLOW,))
CALLS: Final = Measure("vimbiso.calls", "{call}", "Outcomes of calls, as stored", ("vimbiso.call.outcome", FLOW, STEP))
CIRCUITS: Final = Measure(
    "vimbiso.circuits",
    "{change}",
    "Circuits of services that opened or closed",
    ("vimbiso.service", "vimbiso.circuit"),
)
SLOW: Final = Measure(
    "vimbiso.callbacks.slow", "{report}", "Reports of callbacks that take long", ("vimbiso.stopped", FLOW, STEP)
)
DELIVERIES: Final = Measure(
    "vimbiso.deliveries", "{delivery}", "Deliveries by status", (STATUS, "vimbiso.answer", ERROR, CHANNEL)
)
FACTS: Final = Measure(
    "vimbiso.facts",
    "{fact}",
    "Facts that channels told, by outcome",
    ("vimbiso.fact", STATUS, "vimbiso.message.status", "vimbiso.reason", CHANNEL),
)
DUPLICATES: Final = Measure("vimbiso.duplicates", "{message}", "Messages that were handled before", (CHANNEL,))
UNCONFIRMED: Final = Measure(
    "vimbiso.unconfirmed", "{message}", "Messages stored and not confirmed in time", (CHANNEL,)
)
INCIDENTS: Final = Measure("vimbiso.incidents", "{incident}", "Incidents recorded", ("vimbiso.incident",))
ERRORS: Final = Measure("vimbiso.errors", "{error}", "Messages and wakings that ended in an error", (ERROR, CHANNEL))
GUESTS: Final = Measure("vimbiso.guests", "{guest}", "New guests stored", (CHANNEL,))
HANDLED: Final = Measure(
    "vimbiso.handle.duration",
    "s",
    "Duration of handling a message, with its calls",
    (STATUS, ERROR, CHANNEL),
    SECONDS,
)
WOKEN: Final = Measure("vimbiso.wake.duration", "s", "Duration of waking a member, with its calls", (ERROR,), SECONDS)
LAG: Final = Measure("vimbiso.due.lag", "s", "Delay of due work: from its instant to the waking that does it", (), LAGS)

COUNTS: Final = (
    TURNS, REFUSALS, CONFLICTS, RECOVERIES, CALLS, CIRCUITS, SLOW, DELIVERIES, FACTS, DUPLICATES, UNCONFIRMED,
    INCIDENTS, ERRORS, GUESTS,
)  # fmt: skip
"""The figures that only grow."""
HISTOGRAMS: Final = (HANDLED, WOKEN, LAG)
"""The figures of durations."""


def _used(budget: Budget) -> float | None:
    return sum(usage.used for usage in budget.usages)


def _limit(budget: Budget) -> float | None:
    return sum(usage.limit for usage in budget.usages)


def _share(budget: Budget) -> float | None:
    return budget.share


GAUGES: Final[Mapping[Measure, Callable[[Budget], float | None]]] = {
    Measure("vimbiso.store.memory.used", "By", "Memory that the servers use"): _used,
    Measure("vimbiso.store.memory.limit", "By", "Memory above which they refuse writes"): _limit,
    Measure("vimbiso.store.memory.share", "1", "The largest share of its limit that a server uses"): _share,
}
"""The figures that are read when they are asked for, from a manager whose worker watches the memory of the store."""


class Measures(ABC):
    """Turns what a manager does into figures. It is an observer that counts commits; a `MeasuredManager` does more."""

    def __init__(self) -> None:
        self._bases: WeakSet[BaseManager] = WeakSet()

    @abstractmethod
    def add(self, measure: Measure, amount: int, attributes: Mapping[str, str]) -> None:
        """Add to a count."""

    @abstractmethod
    def record(self, measure: Measure, seconds: float, attributes: Mapping[str, str]) -> None:
        """Add a duration to a histogram."""

    def __call__(self, details: CommitEvent, /) -> None:
        """Count a commit."""
        entry = details.entry
        flow = known({FLOW: entry.flow})
        self.add(TURNS, 1, attributes_of(entry))
        if entry.version == 1 and is_guest_id(entry.member_id):
            self.add(GUESTS, 1, {CHANNEL: entry.channel[0]})
        for code in entry.codes:
            self.add(REFUSALS, 1, {"vimbiso.refusal.code": code, **flow})
        if details.attempts > 1:
            self.add(CONFLICTS, details.attempts - 1, flow)
        if "lost" in entry.detail:
            self.add(RECOVERIES, 1, flow)
        if outcome := _of_call(entry):
            self.add(CALLS, 1, {"vimbiso.call.outcome": outcome, **flow, **known({STEP: entry.source})})
        if entry.kind == "delivery":
            answer, reason = failure_of_delivery(entry)
            why = {"vimbiso.answer": answer, ERROR: reason if answer == "unknown" else ""}
            self.add(DELIVERIES, 1, {STATUS: entry.status, CHANNEL: entry.channel[0], **known(why)})

    def took(self, event: Told, outcome: EventOutcome) -> None:
        """Count a fact that a channel has told."""
        about = {"vimbiso.fact": type(event).__name__, STATUS: outcome.status}
        if isinstance(event, StatusChanged):  # a channel may name a status of tomorrow in any words
            about["vimbiso.message.status"] = event.status if event.status in STATUSES else "other"
        place = {"vimbiso.reason": outcome.reason, CHANNEL: event.channel.type if event.channel else ""}
        self.add(FACTS, 1, {**about, **known(place)})

    def circuit(self, service: str, phase: str) -> None:
        """Count a circuit that opened or closed."""
        self.add(CIRCUITS, 1, {"vimbiso.service": service, "vimbiso.circuit": phase})

    def slow_callback(self, slow: SlowCallback) -> None:
        """Count a report of a callback that takes long."""
        place = known({FLOW: slow.flow, STEP: slow.state})
        self.add(SLOW, 1, {"vimbiso.stopped": str(slow.stopped).lower(), **place})

    def incident(self, kind: str) -> None:
        """Count an incident that was recorded."""
        self.add(INCIDENTS, 1, {"vimbiso.incident": kind})

    def lagged(self, seconds: float) -> None:
        """Record by how much due work was late."""
        self.record(LAG, seconds, {})

    def watch(self, base: BaseManager) -> None:
        """Read the gauges of a manager too."""
        self._bases.add(base)

    def gauge(self, read: Callable[[Budget], float | None]) -> Iterator[float]:
        """Yield a figure of each manager whose worker watches the memory of the store."""
        for base in tuple(self._bases):
            if base.budget.usages and (found := read(base.budget)) is not None:
                yield found

    @contextmanager
    def handling(self, message: Message, base: BaseManager) -> Generator[Callable[[Outcome], None]]:
        """Time a message, and yield a function that takes note of its outcome."""
        with self.timed(HANDLED) as attributes:
            if isinstance(message, Message):
                attributes[CHANNEL] = message.channel.type

            def note(outcome: Outcome) -> None:
                # Each count gets attributes of its own: an SDK may keep what it is given, and these change below.
                if outcome.status == "duplicate":
                    self.add(DUPLICATES, 1, {**attributes})
                if not outcome.confirmed:
                    self.add(UNCONFIRMED, 1, {**attributes})
                attributes[STATUS] = outcome.status

            yield note

    @contextmanager
    def timed(self, measure: Measure) -> Generator[dict[str, str]]:
        """Time a block, and count its error. Yields the attributes of the duration, to which the block may add."""
        since = time.monotonic()
        attributes: dict[str, str] = {}
        try:
            yield attributes
        except BaseException as error:  # its message may name a member, so only its type is recorded
            if isinstance(error, InvalidMessage):  # the type of its channel may be any text
                attributes.pop(CHANNEL, None)
            if isinstance(error, Contended) and error.attempts:
                self.add(CONFLICTS, error.attempts, {})
            attributes[ERROR] = type(error).__name__
            self.add(ERRORS, 1, {**attributes})
            raise
        finally:
            self.record(measure, time.monotonic() - since, attributes)


def attributes_of(entry: AuditEntry) -> dict[str, str]:
    """Return the attributes of a stored turn."""
    found = {"vimbiso.kind": entry.kind, STATUS: entry.status, FLOW: entry.flow, CHANNEL: entry.channel[0]}
    return known(found)


def known(attributes: Mapping[str, str]) -> dict[str, str]:
    """Return the attributes that are not empty."""
    return {name: value for name, value in attributes.items() if value}


def _of_call(entry: AuditEntry) -> str:
    """Return the outcome of a call in an entry: "done", "failed", "unknown", "again" (made again) or none."""
    if entry.detail.get("outcome") == "unknown":
        return "unknown"
    answers = entry.kind == "call" or (entry.kind != "error" and entry.root != entry.token)
    trigger = entry.steps[0].trigger if entry.steps else ""
    if answers and trigger in {"done", "failed"}:
        return trigger
    return "again" if entry.kind == "call" else ""
