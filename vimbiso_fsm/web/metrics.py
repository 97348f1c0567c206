"""The figures of a process as OpenMetrics 1.0, by `prometheus_client`. No member, address or text is among them.

The figures of the manager are those of `runtime.measures`, under the names to which OpenTelemetry's rules turn them for
Prometheus: `vimbiso.handle.duration` in seconds is `vimbiso_handle_duration_seconds`, and `vimbiso.kind` is
`vimbiso_kind`. A dashboard therefore reads the same, whichever way the figures take.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from vimbiso_fsm.runtime.measures import COUNTS, GAUGES, HISTOGRAMS, Measure, Measures
from vimbiso_fsm.runtime.worker import AsyncWorker
from vimbiso_fsm.web.counts import Counts

CONTENT_TYPE: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"
"""The media type of the text."""
SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""The upper bounds of the buckets of requests, in seconds."""

_written: Callable[[CollectorRegistry], bytes] = generate_latest  # it has no annotations
_families: Callable[[str], Iterable[Metric]] = text_string_to_metric_families  # nor has this
_UNITS: Final[Mapping[str, str]] = {"s": "seconds", "By": "bytes", "1": "ratio"}


def _name(name: str) -> str:
    """Return a name of OpenTelemetry as one of Prometheus."""
    return name.replace(".", "_")


def samples_of(text: str) -> Sequence[tuple[str, Mapping[str, str], float]]:
    """Return the samples of a text as OpenMetrics: the name, the labels and the value of each.

    Raises:
        ValueError: It is no such text.
    """
    return [(sample.name, sample.labels, sample.value) for family in _families(text) for sample in family.samples]


class OpenMetrics(Measures, Counts):
    """The figures of an app, its manager and its workers.

    Each has a registry of its own, so that apps in one process do not mix their figures. Give it to a
    `MeasuredManager` as one of its `measures`, and to the app as its `metrics`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._registry = registry = CollectorRegistry()
        self._workers: list[AsyncWorker] = []
        self._counters: dict[Measure, Counter] = {}
        self._histograms: dict[Measure, Histogram] = {}
        for each in COUNTS:
            labels = [*map(_name, each.attributes)]
            self._counters[each] = Counter(_name(each.name), each.description, labels, registry=registry)
        for each in HISTOGRAMS:
            labels = [*map(_name, each.attributes)]
            self._histograms[each] = Histogram(
                _name(each.name),
                each.description,
                labels,
                unit=_UNITS[each.unit],
                registry=registry,
                buckets=each.bounds,
            )
        words = "Requests by channel and HTTP status"
        self._requests = Counter("vimbiso_web_requests", words, ["channel", "status"], registry=registry)
        words = "Messages by channel and outcome"
        self._messages = Counter("vimbiso_web_messages", words, ["channel", "outcome"], registry=registry)
        words = "Sends of replies by channel and answer"
        self._sends = Counter("vimbiso_web_sends", words, ["channel", "answer"], registry=registry)
        words = "Time until the answer to a request"
        self._durations = Histogram(
            "vimbiso_web_request", words, ["channel"], unit="seconds", registry=registry, buckets=SECONDS
        )
        ProcessCollector(registry=registry)
        registry.register(self)

    def add(self, measure: Measure, amount: int, attributes: Mapping[str, str]) -> None:
        """Add to a count."""
        self._counters[measure].labels(*(attributes.get(name, "") for name in measure.attributes)).inc(amount)

    def record(self, measure: Measure, seconds: float, attributes: Mapping[str, str]) -> None:
        """Add a duration to a histogram."""
        histogram, names = self._histograms[measure], measure.attributes
        (histogram.labels(*(attributes.get(name, "") for name in names)) if names else histogram).observe(seconds)

    def request(self, channel: str, status: int, seconds: float) -> None:
        """Count a request. See `Counts.request`."""
        self._requests.labels(channel, str(status)).inc()
        self._durations.labels(channel).observe(seconds)

    def message(self, channel: str, outcome: str) -> None:
        """Count a message by its outcome: the status of its turn, or the class of an error."""
        self._messages.labels(channel, outcome).inc()

    def send(self, channel: str, answer: str) -> None:
        """Count a send of replies by the class of the answer or of the error."""
        self._sends.labels(channel, answer).inc()

    def watch_worker(self, worker: AsyncWorker) -> None:
        """Show the figures of a worker too."""
        self._workers.append(worker)

    def text(self) -> str:
        """Return all figures as OpenMetrics."""
        return _written(self._registry).decode()

    def describe(self) -> list[Metric]:
        """Return the names of what `collect` reads: none, because all of them are of this registry alone."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Read the figures that are read when they are asked for (called by the registry)."""
        for measure, read in GAUGES.items():
            for value in self.gauge(read):
                unit = _UNITS[measure.unit]
                yield GaugeMetricFamily(f"{_name(measure.name)}_{unit}", measure.description, value, unit=unit)
                break  # the managers of an app have one store
        if not self._workers:
            return
        counts = [each.metrics for each in self._workers]
        for name, words, value in (
            ("woken", "Members woken", sum(each.woken for each in counts)),
            ("failed", "Wakings that ended in an error", sum(each.failed for each in counts)),
            ("archived", "Audit entries moved to the archive", sum(each.archived for each in counts)),
        ):
            yield CounterMetricFamily(f"vimbiso_worker_{name}", words, value)
        words = "Time without progress of the worker"
        idle = max(each.stalled_for() for each in self._workers)
        yield GaugeMetricFamily("vimbiso_worker_shards", "Shards leased now", sum(each.shards for each in counts))
        yield GaugeMetricFamily("vimbiso_worker_stalled_seconds", words, idle, unit="seconds")
        words = "Workers of the store that run now, in any process"
        yield GaugeMetricFamily("vimbiso_worker_workers", words, max(each.workers for each in counts))
