"""Spans and metrics with OpenTelemetry, for the extra `otel`.

`ObservedManager` and `AsyncObservedManager` are drop-in replacements with tracing. Each message and each waking has a
span and is timed; `Telemetry`, which they add to the observers, counts stored turns. No other module imports this one.
It configures no provider, and without an SDK it has no effect.

Attributes are words of the code: kinds, codes, and the names of flows, states, channel types and error classes. No
member, address, text or message of an exception is among them. A span has the reference of its message, which the log
and the audit have too; metrics have none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, Final, TypeAlias
from weakref import WeakSet

from opentelemetry.metrics import CallbackOptions, Histogram, MeterProvider, Observation, get_meter
from opentelemetry.trace import INVALID_SPAN, Span, StatusCode, TracerProvider, get_tracer

from vimbiso_fsm.audit.entries import AuditEntry
from vimbiso_fsm.audit.flow_audit import CommitEvent, Observer
from vimbiso_fsm.document.ids import is_guest_id
from vimbiso_fsm.errors import Contended, InvalidMessage
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.messages.message import Message
from vimbiso_fsm.messages.told import StatusChanged, Told
from vimbiso_fsm.operations.handle import Outcome
from vimbiso_fsm.operations.handle_event import EventOutcome
from vimbiso_fsm.runtime.base import BaseManager
from vimbiso_fsm.runtime.budget import Budget
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager, FlowStateManager
from vimbiso_fsm.runtime.watchdog import SlowCallback
from vimbiso_fsm.store.requests import AsyncStore, Store

SECONDS: Final[tuple[float, ...]] = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""The bucket bounds of the histograms, in seconds: from a turn of a millisecond to a call of ten seconds."""

STATUSES: Final = frozenset({"accepted", "delivered", "failed", "played", "queued", "read", "sending", "sent"})
"""The statuses of messages that a metric names; any other is "other"."""

_CHANNEL: Final = "vimbiso.channel.type"
_FLOW: Final = "vimbiso.flow"
_STATUS: Final = "vimbiso.status"

Attribute: TypeAlias = str | int | tuple[str, ...]
"""The value of an attribute of a span."""

_watched: ContextVar[Span] = ContextVar("vimbiso_fsm.runtime.telemetry", default=INVALID_SPAN)


class Telemetry:
    """Spans and metrics of a manager.

    It is an observer that counts commits. The observed managers also use its context managers. Without providers it
    uses those that the process has set up, now or later.
    """

    def __init__(
        self, *, meter_provider: MeterProvider | None = None, tracer_provider: TracerProvider | None = None
    ) -> None:
        meter = get_meter("vimbiso_fsm", meter_provider=meter_provider)
        self._tracer = get_tracer("vimbiso_fsm", tracer_provider=tracer_provider)
        self._turns = meter.create_counter("vimbiso.turns", "{turn}", "Turns stored")
        self._refusals = meter.create_counter("vimbiso.refusals", "{refusal}", "Reasons given in stored turns")
        self._conflicts = meter.create_counter("vimbiso.conflicts", "{conflict}", "Commits that lost a race")
        self._recoveries = meter.create_counter("vimbiso.recoveries", "{recovery}", "Damaged documents repaired")
        self._calls = meter.create_counter("vimbiso.calls", "{call}", "Outcomes of calls, as stored")
        self._circuits = meter.create_counter(
            "vimbiso.circuits", "{change}", "Circuits of services that opened or closed"
        )
        self._slow = meter.create_counter("vimbiso.callbacks.slow", "{report}", "Reports of callbacks that take long")
        self._deliveries = meter.create_counter("vimbiso.deliveries", "{delivery}", "Deliveries by status")
        self._facts = meter.create_counter("vimbiso.facts", "{fact}", "Facts that channels told, by outcome")
        self._duplicates = meter.create_counter("vimbiso.duplicates", "{message}", "Messages that were handled before")
        self._unconfirmed = meter.create_counter(
            "vimbiso.unconfirmed", "{message}", "Messages stored and not confirmed in time"
        )
        self._errors = meter.create_counter("vimbiso.errors", "{error}", "Messages and wakings that ended in an error")
        self._guests = meter.create_counter("vimbiso.guests", "{guest}", "New guests stored")
        self._bases: WeakSet[BaseManager] = WeakSet()
        for name, unit, description, read in (
            ("vimbiso.store.memory.used", "By", "Memory that the servers use", _used),
            ("vimbiso.store.memory.limit", "By", "Memory above which they refuse writes", _limit),
            ("vimbiso.store.memory.share", "1", "The largest share of its limit that a server uses", _share),
        ):
            meter.create_observable_gauge(name, [partial(self._observed, read)], unit, description)
        self._handled, self._woken = (
            meter.create_histogram(name, "s", description, explicit_bucket_boundaries_advisory=SECONDS)
            for name, description in (
                ("vimbiso.handle.duration", "Duration of handling a message, with its calls"),
                ("vimbiso.wake.duration", "Duration of waking a member, with its calls"),
            )
        )

    def __call__(self, details: CommitEvent, /) -> None:
        """Count a commit, and add it as an event to the span of the message or waking that caused it."""
        entry = details.entry
        flow = _known({_FLOW: entry.flow})
        turn = _known({"vimbiso.kind": entry.kind, _STATUS: entry.status, **flow, _CHANNEL: entry.channel[0]})
        self._turns.add(1, turn)
        if entry.version == 1 and is_guest_id(entry.member_id):
            self._guests.add(1, {_CHANNEL: entry.channel[0]})
        for code in entry.codes:
            self._refusals.add(1, {"vimbiso.refusal.code": code, **flow})
        if details.attempts > 1:
            self._conflicts.add(details.attempts - 1, flow)
        if "lost" in entry.detail:
            self._recoveries.add(1, flow)
        if outcome := _of_call(entry):
            self._calls.add(1, {"vimbiso.call.outcome": outcome, **flow, **_known({"vimbiso.step": entry.source})})
        if entry.kind == "delivery":
            self._deliveries.add(1, {_STATUS: entry.status, _CHANNEL: entry.channel[0]})
        span = _watched.get()
        if span.is_recording():  # the span of a message has ended when its call returns later
            steps = _known({"vimbiso.source": entry.source, "vimbiso.dest": entry.dest})
            event: dict[str, Attribute] = {**turn, **steps, "vimbiso.reference": entry.token[:10]}
            event |= {"vimbiso.refusal.codes": entry.codes, "vimbiso.attempts": details.attempts}
            span.add_event("vimbiso.turn", event)

    def took(self, event: Told, outcome: EventOutcome) -> EventOutcome:
        """Count a fact that a channel has told, and return its outcome."""
        about = {"vimbiso.fact": type(event).__name__, _STATUS: outcome.status}
        if isinstance(event, StatusChanged):  # a channel may name a status of tomorrow in any words
            about["vimbiso.message.status"] = event.status if event.status in STATUSES else "other"
        known = {"vimbiso.reason": outcome.reason, _CHANNEL: event.channel.type if event.channel else ""}
        self._facts.add(1, {**about, **_known(known)})
        return outcome

    def circuit(self, service: str, phase: str) -> None:
        """Count a circuit that opened or closed."""
        self._circuits.add(1, {"vimbiso.service": service, "vimbiso.circuit": phase})

    def slow_callback(self, slow: SlowCallback) -> None:
        """Count a report of a callback that takes long."""
        place = _known({_FLOW: slow.flow, "vimbiso.step": slow.state})
        self._slow.add(1, {"vimbiso.stopped": str(slow.stopped).lower(), **place})

    def watch(self, base: BaseManager) -> None:
        """Count also what a manager reports outside of turns."""
        base.services.told = self.circuit
        self._bases.add(base)
        for watched in (base.watched, base.observing):
            if watched is not None:
                watched.count = self.slow_callback

    def _observed(self, read: Callable[[Budget], float | None], _: CallbackOptions) -> Iterator[Observation]:
        """Yield a figure of each manager whose worker watches the memory of the store."""
        for base in self._bases:
            if base.budget.usages and (found := read(base.budget)) is not None:
                yield Observation(found)

    @contextmanager
    def handling(self, message: Message, base: BaseManager) -> Generator[Callable[[Outcome], Outcome]]:
        """Make a span of a message, and yield a function that records its outcome and returns it."""
        with self._watching("vimbiso.handle", self._handled) as (span, attributes):
            if isinstance(message, Message):
                attributes[_CHANNEL] = message.channel.type

            def recorded(outcome: Outcome) -> Outcome:
                # Each count gets attributes of its own: an SDK may keep what it is given, and these change below.
                if outcome.status == "duplicate":
                    self._duplicates.add(1, {**attributes})
                if not outcome.confirmed:
                    self._unconfirmed.add(1, {**attributes})
                run = outcome._document.run
                span.set_attributes({_FLOW: run.flow, "vimbiso.step": run.step} if run else {})
                attributes[_STATUS] = outcome.status
                return outcome

            try:
                yield recorded
            finally:  # the first message makes the store tell the keys of references
                if span.is_recording() and _CHANNEL in attributes:
                    span.set_attribute("vimbiso.reference", base.reference(message))

    @contextmanager
    def waking(self) -> Generator[None]:
        """Make a span of a waking."""
        with self._watching("vimbiso.wake", self._woken):
            yield

    @contextmanager
    def _watching(self, name: str, duration: Histogram) -> Generator[tuple[Span, dict[str, str]]]:
        """Make a span, and yield it with the attributes that it shares with the measured duration."""
        since = time.monotonic()
        attributes: dict[str, str] = {}
        started = self._tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False)
        with started as span:
            watched = _watched.set(span)
            try:
                yield span, attributes
            except BaseException as error:  # its message may name a member, so only its type is recorded
                if isinstance(error, InvalidMessage):  # the type of its channel may be any text
                    attributes.pop(_CHANNEL, None)
                if isinstance(error, Contended) and error.attempts:
                    self._conflicts.add(error.attempts)
                attributes["error.type"] = type(error).__name__
                self._errors.add(1, {**attributes})
                span.set_status(StatusCode.ERROR)
                raise
            finally:
                _watched.reset(watched)
                span.set_attributes(attributes)
                duration.record(time.monotonic() - since, attributes)


def _used(budget: Budget) -> float:
    return sum(usage.used for usage in budget.usages)


def _limit(budget: Budget) -> float:
    return sum(usage.limit for usage in budget.usages)


def _share(budget: Budget) -> float | None:
    return budget.share


def _known(attributes: dict[str, str]) -> dict[str, str]:
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


class ObservedManager(FlowStateManager):
    """A `FlowStateManager` with tracing.

    Its further argument `telemetry` is by default a `Telemetry` on the providers that the process has set up.
    """

    def __init__(
        self,
        flows: Bot | str,
        store: Store,
        *,
        telemetry: Telemetry | None = None,
        observers: Sequence[Observer] = (),
        **options: Any,
    ) -> None:
        self._telemetry = telemetry or Telemetry()
        super().__init__(flows, store, observers=[*observers, self._telemetry], **options)
        self._telemetry.watch(self._base)

    def handle(self, message: Message, *, send: bool = True) -> Outcome:
        """See `FlowStateManager.handle`."""
        with self._telemetry.handling(message, self._base) as recorded:
            return recorded(super().handle(message, send=send))

    def handle_event(self, event: Told) -> EventOutcome:
        """See `FlowStateManager.handle_event`."""
        return self._telemetry.took(event, super().handle_event(event))

    def wake(self, member_id: str) -> tuple[AuditEntry, ...]:
        """See `FlowStateManager.wake`."""
        with self._telemetry.waking():
            return super().wake(member_id)


class AsyncObservedManager(AsyncFlowStateManager):
    """An `AsyncFlowStateManager` with tracing. See `ObservedManager`."""

    def __init__(
        self,
        flows: Bot | str,
        store: AsyncStore,
        *,
        telemetry: Telemetry | None = None,
        observers: Sequence[Observer] = (),
        **options: Any,
    ) -> None:
        self._telemetry = telemetry or Telemetry()
        super().__init__(flows, store, observers=[*observers, self._telemetry], **options)
        self._telemetry.watch(self._base)

    async def handle(self, message: Message, *, send: bool = True) -> Outcome:
        """See `FlowStateManager.handle`."""
        with self._telemetry.handling(message, self._base) as recorded:
            return recorded(await super().handle(message, send=send))

    async def handle_event(self, event: Told) -> EventOutcome:
        """See `FlowStateManager.handle_event`."""
        return self._telemetry.took(event, await super().handle_event(event))

    async def wake(self, member_id: str) -> tuple[AuditEntry, ...]:
        """See `FlowStateManager.wake`."""
        with self._telemetry.waking():
            return await super().wake(member_id)
