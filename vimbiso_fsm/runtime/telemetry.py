"""Spans and metrics with OpenTelemetry, for the extra `otel`.

`ObservedManager` and `AsyncObservedManager` are drop-in replacements with tracing. Each message and each waking has a
span and is timed; `Telemetry`, which they add to the observers, counts stored turns. No other module imports this one.
It configures no provider, and without an SDK it has no effect.

`measures` says which figures there are and which attributes they have. A span has the reference of its message too,
which the log and the audit have; metrics have none.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, TypeAlias

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation, get_meter
from opentelemetry.trace import INVALID_SPAN, Span, StatusCode, TracerProvider, get_tracer

from vimbiso_fsm.audit.flow_audit import CommitEvent
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.messages.message import Message
from vimbiso_fsm.operations.handle import Outcome
from vimbiso_fsm.runtime.base import BaseManager
from vimbiso_fsm.runtime.budget import Budget
from vimbiso_fsm.runtime.measured import AsyncMeasuredManager, MeasuredManager
from vimbiso_fsm.runtime.measures import (
    COUNTS,
    FLOW,
    GAUGES,
    HISTOGRAMS,
    STEP,
    Measure,
    Measures,
    attributes_of,
    known,
)
from vimbiso_fsm.store.requests import AsyncStore, Store

Attribute: TypeAlias = str | int | tuple[str, ...]
"""The value of an attribute of a span."""

_watched: ContextVar[Span] = ContextVar("vimbiso_fsm.runtime.telemetry", default=INVALID_SPAN)


class Telemetry(Measures):
    """Spans and metrics of a manager.

    It is an observer that counts commits. The observed managers also use its context managers. Without providers it
    uses those that the process has set up, now or later.
    """

    def __init__(
        self, *, meter_provider: MeterProvider | None = None, tracer_provider: TracerProvider | None = None
    ) -> None:
        super().__init__()
        meter = get_meter("vimbiso_fsm", meter_provider=meter_provider)
        self._tracer = get_tracer("vimbiso_fsm", tracer_provider=tracer_provider)
        self._counters = {each: meter.create_counter(each.name, each.unit, each.description) for each in COUNTS}
        self._histograms = {
            each: meter.create_histogram(
                each.name, each.unit, each.description, explicit_bucket_boundaries_advisory=each.bounds
            )
            for each in HISTOGRAMS
        }
        for each, read in GAUGES.items():
            meter.create_observable_gauge(each.name, [partial(self._observed, read)], each.unit, each.description)

    def add(self, measure: Measure, amount: int, attributes: Mapping[str, str]) -> None:
        """Add to a count."""
        self._counters[measure].add(amount, attributes)

    def record(self, measure: Measure, seconds: float, attributes: Mapping[str, str]) -> None:
        """Add a duration to a histogram."""
        self._histograms[measure].record(seconds, attributes)

    def _observed(self, read: Callable[[Budget], float | None], _: CallbackOptions) -> Iterator[Observation]:
        return map(Observation, self.gauge(read))

    def __call__(self, details: CommitEvent, /) -> None:
        """Count a commit, and add it as an event to the span of the message or waking that caused it."""
        super().__call__(details)
        span = _watched.get()
        if span.is_recording():  # the span of a message has ended when its call returns later
            entry = details.entry
            steps = known({"vimbiso.source": entry.source, "vimbiso.dest": entry.dest})
            event: dict[str, Attribute] = {**attributes_of(entry), **steps, "vimbiso.reference": entry.token[:10]}
            event |= {"vimbiso.refusal.codes": entry.codes, "vimbiso.attempts": details.attempts}
            span.add_event("vimbiso.turn", event)

    @contextmanager
    def handling(self, message: Message, base: BaseManager) -> Generator[Callable[[Outcome], None]]:
        """Make a span of a message, and yield a function that takes note of its outcome."""
        with super().handling(message, base) as counted:
            span = _watched.get()

            def note(outcome: Outcome) -> None:
                run = outcome._document.run
                span.set_attributes({FLOW: run.flow, STEP: run.step} if run else {})
                counted(outcome)

            try:
                yield note
            finally:  # the first message makes the store tell the keys of references
                if span.is_recording() and isinstance(message, Message):
                    span.set_attribute("vimbiso.reference", base.reference(message))

    @contextmanager
    def timed(self, measure: Measure) -> Generator[dict[str, str]]:
        """Make a span of a block that is timed, with the attributes of its duration."""
        name = measure.name.removesuffix(".duration")
        started = self._tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False)
        with started as span:
            watched = _watched.set(span)
            attributes: dict[str, str] = {}
            try:
                with super().timed(measure) as attributes:
                    yield attributes
            except BaseException:
                span.set_status(StatusCode.ERROR)
                raise
            finally:
                _watched.reset(watched)
                span.set_attributes(attributes)


class ObservedManager(MeasuredManager):
    """A `FlowStateManager` with tracing.

    Its further argument `telemetry` is by default a `Telemetry` on the providers that the process has set up.
    """

    def __init__(
        self,
        flows: Bot | str,
        store: Store,
        *,
        telemetry: Telemetry | None = None,
        measures: Sequence[Measures] = (),
        **options: Any,
    ) -> None:
        super().__init__(flows, store, measures=[*measures, telemetry or Telemetry()], **options)


class AsyncObservedManager(AsyncMeasuredManager):
    """An `AsyncFlowStateManager` with tracing. See `ObservedManager`."""

    def __init__(
        self,
        flows: Bot | str,
        store: AsyncStore,
        *,
        telemetry: Telemetry | None = None,
        measures: Sequence[Measures] = (),
        **options: Any,
    ) -> None:
        super().__init__(flows, store, measures=[*measures, telemetry or Telemetry()], **options)
