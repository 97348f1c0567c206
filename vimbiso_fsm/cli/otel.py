"""`--otel`: spans and metrics by OTLP, with the settings that OpenTelemetry reads from the environment.

The SDK reads OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_HEADERS,
OTEL_METRIC_EXPORT_INTERVAL, OTEL_TRACES_SAMPLER, OTEL_SDK_DISABLED and their like itself. Read here are those that
choose an exporter, because only OTLP over HTTP is at hand.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer

from vimbiso_fsm.cli.failures import fail, misuse

if TYPE_CHECKING:
    from vimbiso_fsm.runtime.telemetry import Telemetry

Otel: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--otel", help="Send spans and metrics by OTLP; OTEL_EXPORTER_OTLP_ENDPOINT and its like are the settings."
    ),
]

SERVICE: Final = "vimbiso"
"""The name of the service, unless the environment has one."""
LAST_SECONDS: Final = 5.0
"""Seconds for what is left to be sent at the end."""


def chosen(environment: Mapping[str, str]) -> tuple[bool, bool]:
    """Return whether spans and whether metrics are sent, by the variables that choose their exporters.

    Raises:
        ValueError: A variable names an exporter or a protocol that the command does not have.
    """
    for signal in ("", "TRACES_", "METRICS_"):
        name = f"OTEL_EXPORTER_OTLP_{signal}PROTOCOL"
        if environment.get(name, "") not in ("", "http/protobuf"):
            raise ValueError(f"{name} names a protocol that the command does not have; set it to http/protobuf")
    found: list[bool] = []
    for signal in ("TRACES", "METRICS"):
        name = f"OTEL_{signal}_EXPORTER"
        word = environment.get(name, "")
        if word not in ("", "otlp", "none"):
            raise ValueError(f"{name} names an exporter that the command does not have; set it to otlp or none")
        found.append(word != "none")
    return found[0], found[1]


@contextmanager
def exported(wanted: bool) -> Generator[list[Telemetry]]:
    """Yield what observes a manager and sends spans and metrics; nothing unless it is wanted.

    What is left is sent at the end. What is missing or wrong ends the command.
    """
    if not wanted:
        yield []
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        from vimbiso_fsm.runtime.telemetry import Telemetry
    except ModuleNotFoundError as missing:
        fail(f"--otel needs {missing.name}; run: pip install 'vimbiso_fsm[otlp]'")
    try:
        sends_spans, sends_metrics = chosen(os.environ)
        named = Resource.create({} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": SERVICE})
        tracers = TracerProvider(resource=named, shutdown_on_exit=False)
        if sends_spans:
            tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        readers = [PeriodicExportingMetricReader(OTLPMetricExporter())] if sends_metrics else []
        meters = MeterProvider(readers, resource=named, shutdown_on_exit=False)
    except ValueError as error:
        misuse(error)
    with ExitStack() as closing:
        closing.callback(meters.shutdown, timeout_millis=LAST_SECONDS * 1000)
        closing.callback(tracers.shutdown)
        closing.callback(tracers.force_flush, int(LAST_SECONDS * 1000))
        yield [Telemetry(meter_provider=meters, tracer_provider=tracers)]
