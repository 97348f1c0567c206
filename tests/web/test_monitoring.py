"""The dashboard and the alerts of docs/monitoring: each figure exists, and Prometheus itself understands them."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.cli_runs import ROOT, embedded, wait_until
from tests.engines import free_port
from tests.web.served import METRICS, served
from tests.web.signed import REST_SECRET
from vimbiso_fsm.runtime.measures import COUNTS, GAUGES, HISTOGRAMS
from vimbiso_fsm.runtime.worker import AsyncWorker
from vimbiso_fsm.store.requests import Usage

yaml = pytest.importorskip("yaml", reason="needs the package pyyaml")
pytest.importorskip("prometheus_client", reason="needs the package prometheus_client")

FOLDER = ROOT / "docs" / "monitoring"
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text(encoding="utf-8"))
ALERTS: dict[str, Any] = yaml.safe_load((FOLDER / "alerts.yml").read_text(encoding="utf-8"))
EXPRESSIONS = [
    *(target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])),
    *(rule["expr"] for group in ALERTS["groups"] for rule in group["rules"]),
]
OF_PROMETHEUS = {"up", "instance", "job", "le"}
"""The figure and the labels that Prometheus itself adds."""
OF_SERVE: Mapping[str, set[str]] = {
    "vimbiso_web_requests": {"channel", "status"},
    "vimbiso_web_messages": {"channel", "outcome"},
    "vimbiso_web_sends": {"channel", "answer"},
    "vimbiso_web_request_seconds": {"channel"},
}
_LABELS = re.compile(r"\{([^}]*)\}|\b(?:by|without) \(([^)]*)\)")
_FIGURE = re.compile(r"\b(?:vimbiso_[a-z_]+|process_[a-z_]+|up)\b")


def _under(name: str) -> str:
    return name.replace(".", "_")


def known_labels() -> set[str]:
    """Return each label that a figure of this library can have."""
    found = {_under(name) for each in (*COUNTS, *HISTOGRAMS) for name in each.attributes}
    return found.union(*OF_SERVE.values(), OF_PROMETHEUS)


def printed() -> set[str]:
    """Return the names of all samples that `/metrics` prints: those of a fresh page, each with a worker and a store."""
    from prometheus_client.openmetrics import parser

    from tests.web.test_metrics import World

    world = World()

    async def page() -> str:
        worker = AsyncWorker(world.manager)
        world.metrics.watch_worker(worker)
        await worker.round()
        await worker.leave()
        world.manager._base.budget.take((Usage("one", 30, 100),))
        return world.metrics.text()

    families = parser.text_string_to_metric_families(asyncio.run(page()))
    ends = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
    return {family.name + end for family in families for end in ends.get(family.type, ("",))}


def labels_of(expression: str) -> Iterator[str]:
    """Yield the labels that an expression names."""
    for selected, grouped in _LABELS.findall(expression):
        yield from re.findall(r"([a-z_]+)\s*(?:=|!=|=~|!~)", selected)
        yield from (name.strip() for name in grouped.split(",") if name.strip())


def test_each_figure_of_an_expression_is_printed() -> None:
    """Each figure and each label in the dashboard and the alerts is one that `/metrics` prints."""
    there, labels = printed() | {"up"}, known_labels()
    for expression in EXPRESSIONS:
        assert {*labels_of(expression)} <= labels, expression
        named = _FIGURE.findall(_LABELS.sub("", expression))
        assert named, expression
        assert {*named} <= there, expression


def test_each_figure_of_trouble_is_on_the_dashboard() -> None:
    """Each figure of the manager is on the dashboard, and no panel covers another."""
    shown = " ".join(EXPRESSIONS)
    for measure in (*COUNTS, *HISTOGRAMS):
        if measure.name not in ("vimbiso.facts", "vimbiso.wake.duration"):
            assert _under(measure.name) in shown, measure.name
    assert len(GAUGES) == 3
    places = [tuple(panel["gridPos"].values()) for panel in DASHBOARD["panels"]]
    assert len({*places}) == len(places)
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(places)
    assert all(panel["title"] for panel in DASHBOARD["panels"])
    assert DASHBOARD["templating"]["list"][0]["name"] == "datasource"


def test_each_alert_says_what_to_do() -> None:
    """Each alert has a severity, a summary and a remedy, and the page for the night names it."""
    page = (ROOT / "docs" / "how-to" / "operate-at-night.md").read_text(encoding="utf-8")
    for rule in ALERTS["groups"][0]["rules"]:
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert {*rule["annotations"]} == {"summary", "description"}
        assert f"`{rule['alert']}`" in page


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"needs the program {name}")
    return found


def test_promtool_understands_the_rules(tmp_path: Path) -> None:
    """`promtool` finds no fault in the rules, and each alert fires at the figures that it is for."""
    tool = _program("promtool")
    subprocess.run([tool, "check", "rules", FOLDER / "alerts.yml"], check=True, capture_output=True)
    cases = (ROOT / "tests" / "web" / "alerts_test.yml").read_text(encoding="utf-8")
    (tmp_path / "cases.yml").write_text(cases.replace("RULES", str(FOLDER / "alerts.yml")), encoding="utf-8")
    done = subprocess.run([tool, "test", "rules", tmp_path / "cases.yml"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.embedded
@embedded
def test_prometheus_reads_the_pages_and_the_expressions(tmp_path: Path) -> None:
    """A real Prometheus scrapes `vimbiso serve` with the configuration of the page, and evaluates each expression."""
    program, port = _program("prometheus"), free_port()
    for name in ("prometheus.yml", "alerts.yml"):
        shutil.copy(FOLDER / name, tmp_path)
    (tmp_path / "metrics.token").write_text(METRICS + "\n")
    variables = {"VIMBISO_METRICS_TOKEN": METRICS, "VIMBISO_REST_SECRETS": REST_SECRET}
    with served(tmp_path, variables, "--data", "data") as process:
        process.say("1", "hi")
        config = (tmp_path / "prometheus.yml").read_text().replace("15s", "1s")
        config = config.replace("127.0.0.1:8000, 127.0.0.1:9100", process.url.removeprefix("http://"))
        (tmp_path / "prometheus.yml").write_text(config)
        options = (f"--web.listen-address=127.0.0.1:{port}", f"--storage.tsdb.path={tmp_path / 'figures'}")
        line = [program, f"--config.file={tmp_path / 'prometheus.yml'}", *options]
        with (tmp_path / "log").open("wb") as log:
            running = subprocess.Popen(line, stdout=log, stderr=log)
        try:
            wait_until(lambda: bool(asked(port, "vimbiso_turns_total")))
            assert asked(port, "sum(vimbiso_turns_total)")[0]["value"][1] == "1"
            assert asked(port, 'up{job="vimbiso"}')[0]["value"][1] == "1"
            for expression in EXPRESSIONS:
                asked(port, expression.replace("$__rate_interval", "1m"))
        finally:
            running.kill()
            running.wait()


def asked(port: int, query: str) -> list[dict[str, Any]]:
    """Ask Prometheus; return nothing while it does not answer yet. A query that it does not understand is an error."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?{urlencode({'query': query})}") as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
            return found
    except urllib.error.HTTPError as error:
        if error.code == 503:  # it is starting
            return []
        raise AssertionError(f"{query}: {error.read().decode()}") from None
    except OSError:
        return []
