"""`--otel` of `vimbiso serve` and `vimbiso worker`: spans and metrics at a collector on this machine."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.cli_runs import embedded, invoke
from tests.web.collector import collecting
from tests.web.served import served
from tests.web.signed import REST_SECRET
from vimbiso_fsm.cli.otel import chosen

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs the exporter of OTLP over HTTP")

pytestmark = [pytest.mark.embedded, embedded]


def test_serve_sends_spans_and_metrics(tmp_path: Path) -> None:
    """A message is a span and counts at the collector, under the name of the service; nothing of its sender is said."""
    with collecting() as collector:
        variables = {"VIMBISO_REST_SECRETS": REST_SECRET, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
        variables |= {"OTEL_SERVICE_NAME": "shop", "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=night"}
        with served(tmp_path, variables, "--data", "data", "--otel") as process:
            process.say("1", "hi", sender="ada-canary")
            assert process.stop() == 0
        assert collector.has("/v1/traces", b"vimbiso.handle")
        assert collector.has("/v1/metrics", b"vimbiso.turns")
        for path in ("/v1/traces", "/v1/metrics"):
            assert collector.has(path, b"shop")
            assert collector.has(path, b"night")
            assert not collector.has(path, b"ada-canary")
    assert "Traceback" not in process.text


def test_a_worker_sends_metrics_too_and_ends_without_a_collector(tmp_path: Path) -> None:
    """A worker sends its wakings; where nothing listens, it works and ends all the same, with a warning in the log."""
    (tmp_path / "data").mkdir()
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    with served(tmp_path, variables, "--data", "data", "--otel", command="worker") as process:
        assert process.stop() == 0
    assert "Traceback" not in process.text
    assert all(line[:4].isdigit() for line in process.lines)


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({}, (True, True)),
        ({"OTEL_TRACES_EXPORTER": "none"}, (False, True)),
        ({"OTEL_METRICS_EXPORTER": "none", "OTEL_TRACES_EXPORTER": "otlp"}, (True, False)),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, (True, True)),
    ],
)
def test_the_environment_chooses_what_is_sent(variables: dict[str, str], found: tuple[bool, bool]) -> None:
    """The variables that OpenTelemetry names choose spans and metrics."""
    assert chosen(variables) == found


@pytest.mark.parametrize(
    ("name", "value"), [("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("OTEL_TRACES_EXPORTER", "zipkin")]
)
def test_another_exporter_is_wrong_usage(
    name: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A protocol or an exporter that is not at hand ends the command with the variable and the remedy."""
    monkeypatch.setenv(name, value)
    code, _, err = invoke("worker", "--flows", "flows", "--data", tmp_path, "--otel")
    assert code == 2
    assert f"{name} names" in err


def test_a_missing_exporter_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the exporter, the error names the extra."""
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.metric_exporter", None)
    code, _, err = invoke("worker", "--flows", "flows", "--data", tmp_path, "--otel")
    assert code == 1
    assert "pip install 'vimbiso_fsm[otlp]'" in err
