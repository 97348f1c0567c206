"""Spans, metrics and log lines of real conversations, none of which names a member."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import pytest

import flows
from flows.credex_core import Fault, SimulatedCredexCore
from vimbiso_fsm.audit.entries import AuditEntry
from vimbiso_fsm.audit.flow_audit import CommitEvent
from vimbiso_fsm.audit.redaction import error_record
from vimbiso_fsm.errors import CommitUnknown, Contended, InvalidMessage, NotAnswered, StoreUnavailable, VimbisoError
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.told import OtherFact, StatusChanged, Told
from vimbiso_fsm.runtime.logs import FIELDS, MAX_TEXT, JSONFormatter, LineFormatter, log_turn
from vimbiso_fsm.runtime.watchdog import SlowCallback
from vimbiso_fsm.store.memory import AsyncMemoryStore, MemoryStore
from vimbiso_fsm.store.requests import Commit, Committed, Conflict, Load, Request, Usage

pytest.importorskip("opentelemetry.sdk")

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from vimbiso_fsm.runtime.measures import COUNTS, GAUGES, HISTOGRAMS, SECONDS
from vimbiso_fsm.runtime.telemetry import AsyncObservedManager, ObservedManager, Telemetry

ROOT = Path(__file__).resolve().parents[2]
NUMBER, NAME, SURNAME, PIN = "263779998887", "Canaria", "Serinus", "4711-canary"
ADA = "263771000001"
CANARIES = (NUMBER, NAME, SURNAME, PIN, ADA, "guest-", "Lovelace", "wamid")
ONBOARDING = ("hi", "become_member", NAME, SURNAME, "yes")
OFFERING = ("menu", "offer", "10 USD", "alan", "yes")


class Tampering:
    """A memory store whose answers a test can change.

    A value that `meddle` returns replaces the answer, and an exception that it raises is raised.
    """

    def __init__(self) -> None:
        self.at = 1_000_000.0
        self.store = MemoryStore(lambda: self.at)
        self.meddle: Callable[[Request, Any], Any] = lambda request, result: None

    def perform(self, request: Request) -> Any:
        result = self.store.perform(request)
        return self.meddle(request, result) or result


class Bench:
    """A sync or async manager with one interface, and all that it has recorded."""

    ids = count(1)

    def __init__(self, kind: str, runner: asyncio.Runner) -> None:
        self.store = Tampering()
        self.core = SimulatedCredexCore(clock=lambda: self.store.at)
        self.spans_made, self.reader = InMemorySpanExporter(), InMemoryMetricReader()
        self.tracers = tracers = TracerProvider(shutdown_on_exit=False)
        tracers.add_span_processor(SimpleSpanProcessor(self.spans_made))
        meters = MeterProvider([self.reader], shutdown_on_exit=False)
        self.telemetry = Telemetry(meter_provider=meters, tracer_provider=tracers)
        self.delivered: list[str] = []
        self.log, self.secrets = io.StringIO(), set(CANARIES)
        self._kind, self._runner = kind, runner
        self.manager = self.make()

    def make(self, **options: Any) -> Any:
        """Return a manager on the bench's store."""
        options = {
            "services": {"credex_core": self.core},
            "telemetry": self.telemetry,
            "observers": [log_turn],
            "deliver": lambda channel, replies: self.delivered.extend(reply.text for reply in replies),
            **options,
        }
        if self._kind == "sync":
            manager: Any = ObservedManager(flows.bot, self.store, **options)
        else:
            manager = AsyncObservedManager(flows.bot, AsyncMemoryStore(self.store), **options)  # type: ignore[arg-type]
        manager._base.clock.follow(lambda: self.store.at)  # a manager of its own clock would begin no call after a jump
        return manager

    def _do(self, result: Any) -> Any:
        return self._runner.run(result) if asyncio.iscoroutine(result) else result

    def handle(self, message: Message, manager: Any = None) -> Any:
        return self._do((manager or self.manager).handle(message))

    def take(self, fact: Told) -> Any:
        """Take in a fact."""
        return self._do(self.manager.handle_event(fact))

    def say(self, *texts: str, phone: str = NUMBER, manager: Any = None) -> Any:
        """Handle messages one after the other, and return the last outcome."""
        channel = Channel("whatsapp", phone)
        outcome = [self.handle(Message(channel, f"wamid.{next(self.ids)}", text), manager) for text in texts][-1]
        self.secrets |= {outcome.state.member_id, outcome.state.jwt_token or NAME}
        return outcome

    def wake(self, member_id: str) -> list[str]:
        return [entry.kind for entry in self._do(self.manager.wake(member_id))]

    def history(self, member_id: str) -> Any:
        return self._do(self.manager.history(member_id))

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self.spans_made.get_finished_spans()

    def points(self, name: str) -> dict[tuple[tuple[str, Any], ...], Any]:
        """Return the values of an instrument by their attributes: sums, or the counts of a histogram."""
        data = self.reader.get_metrics_data()
        found: list[Any] = (
            [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics] if data else []
        )
        return {
            tuple(sorted((key.removeprefix("vimbiso."), value) for key, value in (point.attributes or {}).items())): (
                point.value if hasattr(point, "value") else point.count
            )
            for metric in found
            if metric.name == name
            for point in metric.data.data_points
        }

    def total(self, name: str, **wanted: str) -> int:
        """Return the sum of the values with these attributes."""
        wants = {(key.replace("_", "."), value) for key, value in wanted.items()}
        return sum(value for attributes, value in self.points(name).items() if wants <= set(attributes))

    def seen(self) -> str:
        """Return all that the bench has recorded, as text."""
        data = self.reader.get_metrics_data()
        spans = [span.to_json() for span in self.spans]
        return "\n".join([data.to_json() if data else "", *spans, self.log.getvalue()])

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Return the log lines as objects."""
        return [json.loads(line) for line in self.log.getvalue().splitlines()]


@pytest.fixture(params=["sync", "async"])
def bench(request: pytest.FixtureRequest) -> Generator[Bench, None, None]:
    """A bench with a manager of each kind. After each test none of its records names a member."""
    log, level = logging.getLogger("vimbiso_fsm"), logging.getLogger("vimbiso_fsm").level
    with asyncio.Runner() as runner:
        made = Bench(request.param, runner)
        handler = logging.StreamHandler(made.log)
        handler.setFormatter(JSONFormatter())
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        try:
            yield made
            if asyncio.iscoroutine(closing := made.manager.close()):
                runner.run(closing)
        finally:
            log.removeHandler(handler)
            log.setLevel(level)
    seen = made.seen()
    assert {secret for secret in made.secrets if secret in seen} == set()
    assert all(set(line) <= set(FIELDS) for line in made.lines)


# Metrics -------------------------------------------------------------------------------------------------------------


def test_turns_are_counted_as_the_audit_has_them(bench: Bench):
    """The counter of turns agrees with the audit, by kind."""
    outcome = bench.say(*ONBOARDING, *OFFERING, "?!")
    history = bench.history(outcome.state.member_id)
    assert bench.total("vimbiso.turns") == len(history)
    for kind in {entry.kind for entry in history}:
        assert bench.total("vimbiso.turns", kind=kind) == sum(entry.kind == kind for entry in history)
    assert bench.total("vimbiso.turns", kind="move") == 1
    assert bench.total("vimbiso.turns", flow="offer", status="advanced", channel_type="whatsapp") > 0


def test_refusals_are_counted_by_code(bench: Bench):
    """Refusals are counted by flow and code."""
    bench.say("hi", "offer", "nonsense " + PIN, "26 USD", phone=ADA)
    assert bench.total("vimbiso.refusals", flow="offer", refusal_code="amount.limit") == 1
    assert bench.total("vimbiso.refusals", flow="offer") == 2
    assert bench.total("vimbiso.handle.duration", status="refused") == 2


def test_conflicts_are_counted(bench: Bench):
    """A commit that loses a race is counted, and the event of its turn has the number of attempts."""
    other = bench.make()
    bench.say("hi", phone=ADA)
    bench.say("offer", phone=ADA, manager=other)
    assert bench.total("vimbiso.conflicts") == 0
    bench.say("10 USD", phone=ADA)  # decided on what this manager still knows
    assert bench.total("vimbiso.conflicts") == 1
    (event,) = bench.spans[-1].events[:1]
    assert event.attributes
    assert event.attributes["vimbiso.attempts"] == 2


def test_recoveries_are_counted(bench: Bench):
    """A repaired document is counted."""
    bench.say("hi", phone=ADA)

    def break_it(request: Request, result: Any) -> Any:
        if not isinstance(request, Load):
            return None
        bench.store.meddle = lambda request, result: None
        return attrs.evolve(result, document=b"{")

    bench.store.meddle = break_it
    assert bench.say("menu", phone=ADA, manager=bench.make(cache=0)).status == "recovered"
    assert bench.total("vimbiso.recoveries") == 1
    assert bench.total("vimbiso.turns", status="recovered") == 1


def test_calls_are_counted_by_outcome(bench: Bench):
    """Calls are counted by outcome, flow and state."""
    bench.say("hi", "offer", "10 USD", phone=ADA)
    bench.core.faults = [Fault("down")]
    bench.say("alan", phone=ADA)  # a question: it failed
    bench.core.faults = []
    bench.say("alan", phone=ADA)
    bench.core.faults = [Fault("lost")]
    bench.say("yes", phone=ADA)
    assert bench.total("vimbiso.calls", call_outcome="failed", flow="offer", step="checking") == 1
    assert bench.total("vimbiso.calls", call_outcome="unknown", flow="offer", step="creating") == 1
    bench.core.faults = []
    bench.store.at += 60
    bench.say("hello?", phone=ADA)
    assert bench.total("vimbiso.calls", call_outcome="again") == 1
    assert bench.total("vimbiso.calls", call_outcome="done", step="creating") == 1
    assert bench.total("vimbiso.calls", call_outcome="done", step="checking") == 1
    assert bench.total("vimbiso.calls", call_outcome="done", flow="login") == 1
    assert bench.total("vimbiso.calls") == 6


def test_circuits_are_counted_that_open_and_close(bench: Bench):
    """A circuit that opens, and one that closes, is counted by its service."""
    places = bench.manager._base.services.at("credex_core")
    for member in range(places.limits.failures):
        places.ended(f"m-{member}", OSError())
    assert bench.total("vimbiso.circuits", service="credex_core", circuit="open") == 1
    places.ended("m-1", "an answer")
    assert bench.total("vimbiso.circuits", service="credex_core", circuit="closed") == 1
    assert bench.total("vimbiso.circuits") == 2


def test_incidents_are_counted_by_their_kind(bench: Bench):
    """An incident is counted when it is recorded: one of the store's clock, and one of a message that comes changed."""
    bench.say("hi", phone=ADA)
    assert bench.total("vimbiso.incidents") == 0
    bench.manager._base.clock.unreported = 7_200.0
    bench.say("offer", phone=ADA)
    assert bench.total("vimbiso.incidents", incident="clock") == 1
    message = Message(Channel("whatsapp", ADA), "wamid.changed", "10 USD")
    assert [bench.handle(each).status for each in (message, attrs.evolve(message, text="other words"))] == [
        "advanced",
        "refused",
    ]
    assert bench.total("vimbiso.incidents", incident="mismatch") == 1
    assert bench.total("vimbiso.incidents") == 2


def test_slow_callbacks_are_counted(bench: Bench):
    """A report of the watchdog is counted with the place of the callback."""
    bench.manager._base.watched.count(SlowCallback("affordable", "guard", "offer", "amount", (), 12.5, stopped=True))
    assert bench.total("vimbiso.callbacks.slow", flow="offer", step="amount", stopped="true") == 1
    assert bench.total("vimbiso.callbacks.slow") == 1


def test_wakings_and_deliveries_are_counted(bench: Bench):
    """A waking is a span with one event for each turn, and deliveries are counted."""
    member = bench.say("hi", "offer", "10 USD", phone=ADA).state.member_id
    bench.store.at += 600
    kinds = bench.wake(member)
    assert bench.delivered
    assert bench.total("vimbiso.deliveries", channel_type="whatsapp") == kinds.count("delivery") > 0
    assert bench.points("vimbiso.wake.duration") == {(): 1}
    assert bench.points("vimbiso.due.lag") == {(): 1}
    bench.wake(member)
    assert (bench.points("vimbiso.wake.duration"), bench.points("vimbiso.due.lag")) == ({(): 2}, {(): 1})
    span = bench.spans[-2]
    assert span.name == "vimbiso.wake"
    assert [event.name for event in span.events] == ["vimbiso.turn"] * len(kinds)


def test_duplicates_are_counted(bench: Bench):
    """Duplicates are counted."""
    message = Message(Channel("whatsapp", NUMBER), "wamid.twice", "hi")
    assert [bench.handle(message).status for _ in range(3)] == ["advanced", "duplicate", "duplicate"]
    assert bench.total("vimbiso.duplicates", channel_type="whatsapp") == 2
    assert bench.total("vimbiso.handle.duration", status="duplicate") == 2


def test_facts_are_counted_by_what_became_of_them(bench: Bench):
    """Each fact is counted, also one that nobody reacts to; a status that no channel had so far is "other"."""
    place = Channel("whatsapp", NUMBER)
    for status in ("read", "read", "delivered", "of tomorrow"):
        fact = StatusChanged(id=status, channel=place, message_id="never sent", status=status)
        assert bench.take(fact).reason == "no reaction"
    assert bench.take(OtherFact(id="o", kind="error")).status == "ignored"
    read = {"fact": "StatusChanged", "status": "ignored", "reason": "no reaction", "channel_type": "whatsapp"}
    assert bench.total("vimbiso.facts", **read) == 4
    assert bench.total("vimbiso.facts", message_status="read") == 2
    assert bench.total("vimbiso.facts", message_status="other") == 1
    assert bench.total("vimbiso.facts", fact="OtherFact") == 1


def test_how_long_it_took_is_measured(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    """The duration of a message is measured by the monotonic clock, in buckets from a millisecond."""
    ticks = iter([10.0, 10.25, 20.0, 24.0])
    monkeypatch.setattr("vimbiso_fsm.runtime.measures.time", SimpleNamespace(monotonic=lambda: next(ticks)))
    member = bench.say("hi", phone=ADA).state.member_id
    bench.wake(member)
    data = bench.reader.get_metrics_data()
    assert data is not None
    metrics = {metric.name: metric for metric in data.resource_metrics[0].scope_metrics[0].metrics}
    for name, seconds in (("vimbiso.handle.duration", 0.25), ("vimbiso.wake.duration", 4.0)):
        (point,) = metrics[name].data.data_points
        assert isinstance(point, HistogramDataPoint)
        assert (point.sum, point.count, metrics[name].unit) == (seconds, 1, "s")
        assert tuple(point.explicit_bounds) == SECONDS


def test_messages_that_no_replica_confirmed_are_counted(bench: Bench):
    """Messages that no replica has confirmed in time are counted."""

    def unconfirmed(request: Request, result: Any) -> Any:
        return attrs.evolve(result, confirmed=False) if isinstance(result, Committed) else None

    bench.store.meddle = unconfirmed
    assert not bench.say("hi", phone=ADA).confirmed
    assert bench.points("vimbiso.unconfirmed") == {(("channel.type", "whatsapp"),): 1}


@pytest.mark.parametrize(
    "error",
    [StoreUnavailable(f"no route, said {NUMBER}"), CommitUnknown("guest-1", NAME, NAME), asyncio.CancelledError(PIN)],
    ids=lambda error: type(error).__name__,
)
def test_errors_are_counted_by_type(bench: Bench, error: BaseException):
    """An error is counted by its type, and the span has the type and no message."""

    def fail(request: Request, result: Any) -> Any:
        raise error

    bench.store.meddle = fail
    with pytest.raises(type(error)):
        bench.say("hi")
    attributes = (("channel.type", "whatsapp"), ("error.type", type(error).__name__))
    assert bench.points("vimbiso.errors") == {attributes: 1}
    assert bench.points("vimbiso.handle.duration") == {attributes: 1}
    (span,) = bench.spans
    assert span.attributes
    assert span.attributes["error.type"] == type(error).__name__
    assert (span.status.status_code, span.status.description, len(span.events)) == (StatusCode.ERROR, None, 0)


def test_conflicts_of_a_message_that_gave_up_are_counted(bench: Bench):
    """The lost races of a message that ended with `Contended` are counted."""

    def lose(request: Request, result: Any) -> Any:
        return Conflict(bench.store.store.perform(Load(request.member_id))) if isinstance(request, Commit) else None  # type: ignore[arg-type]

    bench.store.meddle = lose
    with pytest.raises(Contended) as gave_up:
        bench.say("hi", manager=bench.make(patience=0.05))
    assert bench.points("vimbiso.conflicts") == {(): gave_up.value.attempts}
    assert bench.total("vimbiso.errors", error_type="Contended") == 1


def test_an_unknown_channel_type_is_no_attribute(bench: Bench):
    """An unknown channel type is no attribute."""
    with pytest.raises(InvalidMessage):
        bench.handle(Message(Channel("pigeon-" + NUMBER, NUMBER), "wamid.1", "hi"))
    with pytest.raises(InvalidMessage):
        bench.handle(PIN)  # type: ignore[arg-type]
    assert bench.points("vimbiso.errors") == {(("error.type", "InvalidMessage"),): 2}


# Spans ---------------------------------------------------------------------------------------------------------------


def as_it_happened(entries: Sequence[AuditEntry]) -> list[AuditEntry]:
    """Return the entries in the order of their commits, with the guest's last one after the member's first."""
    place = next(place for place, entry in enumerate(entries) if entry.kind == "wipe")
    return [*entries[:place], entries[place + 1], entries[place], *entries[place + 2 :]]


def test_a_message_is_a_span_and_each_of_its_turns_an_event(bench: Bench):
    """A message is a span with the reference, the status and the state, and each of its turns an event."""
    outcome = bench.say("hi", phone=ADA)
    (span,) = bench.spans
    entries = as_it_happened(bench.history(outcome.state.member_id))
    assert span.name == "vimbiso.handle"
    assert span.attributes == {
        "vimbiso.channel.type": "whatsapp",
        "vimbiso.status": "advanced",
        "vimbiso.flow": "dashboard",
        "vimbiso.step": "menu",
        "vimbiso.reference": entries[0].token[:10],
    }
    assert span.status.status_code is StatusCode.UNSET
    assert [(event.attributes or {})["vimbiso.reference"] for event in span.events] == [e.token[:10] for e in entries]
    assert [(event.attributes or {})["vimbiso.kind"] for event in span.events] == [e.kind for e in entries]


def test_spans_of_services_are_inside(bench: Bench):
    """A span that a service makes is a child of the message's span."""

    class Traced(SimulatedCredexCore):
        def login(self, **arguments: Any) -> Any:
            with bench.tracers.get_tracer("core").start_as_current_span("login"):
                return super().login(**arguments)

    bench.say("hi", phone=ADA, manager=bench.make(services={"credex_core": Traced()}))
    inner, outer = bench.spans
    assert inner.parent
    assert outer.context
    assert (inner.name, inner.parent.span_id) == ("login", outer.context.span_id)


def test_an_observer_that_raises_breaks_nothing(bench: Bench):
    """An observer that raises is logged, and the turn is counted all the same."""

    def fail(details: CommitEvent) -> None:
        raise RuntimeError(NUMBER)

    manager = bench.make(observers=[fail])
    assert bench.say("hi", phone=ADA, manager=manager).status == "advanced"
    assert bench.total("vimbiso.turns") > 0
    assert {(line["event"], line["type"]) for line in bench.lines} == {("observer fail failed", "RuntimeError")}


def test_telemetry_alone_counts_and_touches_no_span_of_others(bench: Bench):
    """`Telemetry` as an observer of a plain manager counts, and adds nothing to a span of the application."""
    from opentelemetry.trace import use_span

    from vimbiso_fsm.runtime.flow_state import FlowStateManager

    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("somebody else's")
    with FlowStateManager(flows.bot, bench.store, observers=[bench.telemetry]) as manager:
        span = tracer.start_span("theirs")
        with use_span(span):
            bench.say("hi", manager=manager)
    assert bench.total("vimbiso.turns") > 0
    assert isinstance(span, ReadableSpan)
    assert (len(span.events), dict(span.attributes or {})) == (0, {})


def test_nothing_is_needed_but_the_api_and_the_library_imports_none_of_it():
    """Telemetry runs without the SDK, and no other module imports OpenTelemetry."""
    code = (
        "import sys, vimbiso_fsm, vimbiso_fsm.runtime.flow_state, vimbiso_fsm.runtime.logs\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]\n"
        "sys.modules['opentelemetry.sdk'] = None\n"
        "from vimbiso_fsm import Channel, Message\n"
        "from vimbiso_fsm.runtime.telemetry import ObservedManager\n"
        "with ObservedManager.in_memory('flows') as manager:\n"
        "    print(manager.handle(Message(Channel('terminal', 'you'), 'm1', 'hi')).status)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("advanced\n", "")


def test_the_page_names_every_instrument_and_each_is_tested():
    """The page on telemetry names each instrument and field, and a test uses each instrument."""
    page = (ROOT / "docs" / "how-to" / "watch-it.md").read_text(encoding="utf-8")
    tests = Path(__file__).read_text(encoding="utf-8")
    measures = (*COUNTS, *HISTOGRAMS, *GAUGES)
    named = {name for each in measures for name in (each.name, *each.attributes)}
    assert {name for name in named if f"`{name}`" not in page} == set()
    assert {f"`{name}`" for name in FIELDS if f"`{name}`" not in page} == set()
    for line in page.splitlines():
        if line.startswith("| `vimbiso."):
            assert line.split("`")[1] in {each.name for each in measures}
            assert f'"{line.split("`")[1]}"' in tests


def test_new_guests_and_the_memory_of_the_store_are_measured(bench: Bench):
    """A new guest is counted once, and the memory is shown once a worker watches it."""
    for _ in range(2):
        bench.say("hi", phone="263770000099")
    assert bench.points("vimbiso.guests") == {(("channel.type", "whatsapp"),): 1}
    gauges = ["vimbiso.store.memory.used", "vimbiso.store.memory.limit", "vimbiso.store.memory.share"]
    assert [bench.points(name) for name in gauges] == [{}, {}, {}]
    bench.manager._base.budget.take((Usage("one", 30, 100), Usage("two", 50, 0)))
    assert [bench.points(name) for name in gauges] == [{(): 80}, {(): 100}, {(): 0.3}]


# Lines of the log ----------------------------------------------------------------------------------------------------


def line(message: object, *arguments: object, **rest: Any) -> dict[str, Any]:
    """Return a record as the formatter writes it: one line of ASCII with known fields."""
    record = logging.LogRecord("vimbiso_fsm", logging.ERROR, __file__, 1, message, arguments, rest.get("exc_info"))
    record.created = 1_000_000.5
    written = JSONFormatter().format(record)
    assert written.isascii()
    assert written.isprintable()
    assert len(written) < 100 * MAX_TEXT
    read: dict[str, Any] = json.loads(written)
    assert tuple(read) == tuple(name for name in FIELDS if name in read)
    return read


def raised(error: BaseException) -> BaseException:
    """Return the error with a traceback, as if it had been caught."""
    try:
        raise error  # noqa: TRY301  # so that it has come from somewhere
    except BaseException as caught:
        return caught


def test_turns_are_lines(bench: Bench):
    """Each turn is a log line with the fields of its audit entry."""
    outcome = bench.say("hi", "offer", "26 USD", phone=ADA)
    entries = as_it_happened(bench.history(outcome.state.member_id))
    assert [(line["event"], line["kind"], line["reference"]) for line in bench.lines] == [
        ("turn", entry.kind, entry.token[:10]) for entry in entries
    ]
    assert bench.lines[-1] | {"time": ""} == {
        "time": "",
        "level": "info",
        "logger": "vimbiso_fsm.turns",
        "event": "turn",
        "reference": entries[-1].token[:10],
        "kind": "refusal",
        "status": "refused",
        "channel": "whatsapp",
        "flow": "offer",
        "source": "amount",
        "dest": "amount",
        "codes": ["amount.limit"],
        "attempts": 1,
    }


def test_a_service_that_raises_is_a_line_without_its_message(bench: Bench):
    """The exception of a service is logged with its type and place, without its message."""

    class Down(SimulatedCredexCore):
        def login(self, **arguments: Any) -> Any:
            raise ConnectionError(f"{NUMBER} {PIN}\n{arguments}")

    outcome = bench.say("hi", manager=bench.make(services={"credex_core": Down()}))
    (found,) = [line for line in bench.lines if line["level"] == "error"]
    assert (found["event"], found["type"]) == ("a callback or call failed", "ConnectionError")
    assert found["where"][-1].endswith(" login")
    assert len(found["reference"]) == 10
    assert outcome.replies


@pytest.mark.parametrize("error", [StoreUnavailable(f"no route, said {NUMBER}"), CommitUnknown("guest-1", NAME, PIN)])
def test_a_message_that_was_not_answered_is_a_line_with_the_reference_that_the_member_hears(
    bench: Bench, error: VimbisoError
):
    """A message that was not answered is logged with the reference that the reply names."""

    def fail(request: Request, result: Any) -> Any:
        raise error

    bench.store.meddle = fail
    with pytest.raises(type(error)) as caught:
        bench.say("hi " + PIN)
    assert isinstance(caught.value, NotAnswered)
    (found,) = bench.lines
    assert (found["event"], found["level"], found["type"]) == (
        "a message was not answered",
        "error",
        type(error).__name__,
    )
    (span,) = bench.spans
    assert found["reference"] == caught.value.reference == (span.attributes or {})["vimbiso.reference"]
    assert caught.value.reply
    assert caught.value.reply.endswith(f" Reference: {found['reference']}")


def test_no_member_is_named_after_any_failure(bench: Bench):
    """No number, name, token or text of a member is recorded after any failure.

    Spans, metrics, log lines, history and incidents are searched after logins, refusals, damage and failures.
    """

    class Talkative(SimulatedCredexCore):
        def get_account_by_handle(self, handle: str, **arguments: Any) -> Any:
            raise ConnectionError(f"{NUMBER} {PIN} {handle} {arguments}")

    bench.say(*ONBOARDING, *OFFERING, "?! " + PIN, "back", "cancel")
    message = Message(Channel("whatsapp", NUMBER), "wamid.again", PIN)
    assert [bench.handle(message).status for _ in range(2)][1] == "duplicate"
    assert bench.handle(attrs.evolve(message, text=NAME)).status == "refused"
    bench.core.faults = [Fault("401"), Fault("lost", "createCredex", times=3)]
    bench.say(*OFFERING)
    talkative = Talkative()
    vars(talkative).update(vars(bench.core))  # it knows the same members
    bench.say("menu", "offer", "1 USD", "alan", manager=bench.make(services={"credex_core": talkative}))

    def damage(request: Request, result: Any) -> Any:
        if not isinstance(request, Load):
            return None
        bench.store.meddle = lambda request, result: None
        return attrs.evolve(result, document=json.dumps({"profile": PIN}).encode())

    bench.store.meddle = damage
    member = bench.say("menu", manager=bench.make(cache=0)).state.member_id
    told = [repr(entry) for entry in bench.history(member)]
    reported = [repr(one) for one in bench._do(bench.manager.incidents(member))]
    assert len(told) > 15
    assert len(reported) == 1
    for text in (*told, *reported):  # ids of members stand in the audit: it is theirs
        assert {secret for secret in bench.secrets - {"guest-", member} if secret in text} <= {
            name for name in bench.secrets if name.startswith(("guest-", "member-"))
        }


def test_an_error_is_lifted_out_of_the_words():
    """The facts of an error become fields of the line, and cannot replace its own fields."""
    found = line("a callback or call failed: %s", error_record(raised(ValueError(PIN)), "abc"))
    assert (found["event"], found["reference"], found["type"]) == ("a callback or call failed", "abc", "ValueError")
    assert found["where"][0].endswith(" raised")
    assert found["time"] == "1970-01-12T13:46:40.500+00:00"
    assert line("observer %s failed: %s", "look", error_record(ValueError(PIN), ""))["event"] == "observer look failed"
    assert line("x %s", {"time": PIN, "level": PIN, "logger": PIN, "event": PIN, "kind": "k"})["kind"] == "k"
    assert PIN not in json.dumps(line("x %s", {"time": PIN, "level": PIN, "logger": PIN, "event": PIN}))
    assert "message" not in line("%s: %s", "worker-1", error_record(CommitUnknown(NUMBER, PIN, ""), ""))


def test_exceptions_are_their_types_wherever_they_stand():
    """An exception in a record is written as its type, as message, argument or `exc_info`."""
    error = raised(KeyError(PIN))
    for found in (
        line(error),
        line("%s", error),
        line("it failed", exc_info=(KeyError, error, error.__traceback__)),
        line("%s and %s", ValueError(PIN), error),
    ):
        assert PIN not in json.dumps(found)
    assert line("it failed: %s", error)["event"] == "it failed: KeyError"
    assert line("it failed", exc_info=(KeyError, error, None))["type"] == "KeyError"
    assert "type" not in line("it failed", exc_info=(None, None, None))


@pytest.mark.parametrize(
    "text",
    [
        "\n{}\r\n",
        "\x00\x1b[2J\x7f\x85\u2028\u2029",
        "\ud800",
        "\u202e",
        '"}\n{"level": "info',
        "x" * 100_000,
        "%s %d %",
    ],
    ids=ascii,
)
def test_hostile_text_is_one_line(text: str):
    """Any text is written as one line, cut to the limits."""
    assert line(text)["event"][: MAX_TEXT - 1] == text[: MAX_TEXT - 1].rstrip(": ")
    line("%s", text)
    line(text, text)
    line("x %s", {"type": text, "where": [text] * 1000, "codes": text, "unknown": text, "attempts": 10**5000})


def test_a_record_that_cannot_be_formatted_is_a_line():
    """A record whose arguments cannot be formatted is a line all the same."""

    class Mute:
        def __str__(self) -> str:
            raise RuntimeError(PIN)

    assert line("it is %s", Mute())["event"] == "it is Mute"
    assert line("%d of %s", 1, "2")["event"] == "1 of 2"
    assert line("%d", "two")["event"] == "%d"
    assert line("%s %s", "one")["event"] == "%s %s"
    assert line("%(a)s", {"a": PIN})["event"] == "%(a)s"


def test_a_line_for_people_has_time_and_level_and_stays_one_line():
    """The other form has the same fields; no text begins a line of its own, and no message of an exception is in it."""
    error = ValueError(PIN)
    facts = {"type": "ValueError", "where": ["a.py:1"], "secret": PIN}
    record = logging.LogRecord("vimbiso_fsm", logging.ERROR, __file__, 1, "a \n%s: %s", ("\x1b[1m", facts), None)
    record.created = 1_000_000.5
    written = LineFormatter().format(record)
    begun = "1970-01-12T13:46:40.500+00:00 ERROR   vimbiso_fsm: a \\n\\x1b[1m"
    assert written == f'{begun} type="ValueError" where=["a.py:1"]'
    raised = logging.LogRecord("uvicorn.error", logging.ERROR, __file__, 1, "%s", (error,), (ValueError, error, None))
    assert PIN not in LineFormatter().format(raised)
