"""The figures of an app, its manager and its worker, as Prometheus reads them."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from tests.web.app_client import TestClient
from tests.web.signed import BASE, REST_SECRET
from vimbiso_fsm import AsyncFlowStateManager, Bot, Flow, Refused, State, Text, Transition, Turn
from vimbiso_fsm.channels import rest
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.runtime.measured import AsyncMeasuredManager
from vimbiso_fsm.runtime.measures import COUNTS, GAUGES, HISTOGRAMS
from vimbiso_fsm.runtime.worker import AsyncWorker
from vimbiso_fsm.store.requests import Usage
from vimbiso_fsm.web.app import app
from vimbiso_fsm.web.rest import RestChannel

pytest.importorskip("prometheus_client", reason="needs the package prometheus_client")

from prometheus_client.openmetrics import parser

from vimbiso_fsm.web.metrics import OpenMetrics

TOKEN = "token-of-the-metrics"


def never(turn: Turn[Any]) -> bool | Refused:
    """Refuse each answer."""
    return Refused("greeting.never")


def greeting() -> Bot:
    """Return a bot that asks one question, whose timer ends it, and that refuses to end it otherwise."""
    states: list[State[Any]] = [
        State("ask", ask=Text("Shall we?"), timeout=60.0),
        State("begun", say=Text("So."), final=True),
    ]
    moves: list[Transition[Any]] = [
        Transition("yes", "ask", "begun", conditions=never),
        Transition("timeout", "ask", "begun"),
    ]
    texts = {"en": {"greeting.never": "Not now."}}
    return Bot([Flow("greeting", initial="ask", states=states, transitions=moves)], texts=texts)


class World:
    """An app with all of its figures, and the clock of its store."""

    def __init__(self) -> None:
        self.at = time.time()
        self.metrics = OpenMetrics()
        self.manager: Any = AsyncMeasuredManager.in_memory(greeting(), measures=[self.metrics], clock=lambda: self.at)
        channels = {"rest": RestChannel(secrets=REST_SECRET)}
        self.web = TestClient(app(self.manager, channels, base=BASE, metrics_token=TOKEN, metrics=self.metrics), BASE)

    def post(self, id: str, text: str) -> Any:
        """Send a message."""
        raw = json.dumps({"sender": "ada", "id": id, "text": text}).encode()
        signature = rest.sign(raw, secret=REST_SECRET, at=int(time.time()))
        return self.web.post("/rest", content=raw, headers={"X-Vimbiso-Signature": signature}).json()

    def text(self) -> str:
        """Return the page."""
        return self.web.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).text


def values(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return the samples of a page by name and labels, as the library's own strict parser reads them."""
    families = parser.text_string_to_metric_families(text)
    return {
        (sample.name, frozenset((name, value) for name, value in sample.labels.items() if value)): sample.value
        for family in families
        for sample in family.samples
    }


def sample(text: str, name: str, **labels: str) -> float:
    """Return one sample of a page."""
    return values(text)[name, frozenset(labels.items())]


@pytest.fixture
def world() -> World:
    """An app."""
    return World()


def test_requests_and_messages_are_counted_by_channel(world: World) -> None:
    """Requests, messages and durations are counted by channel, and nothing of a member is among them."""
    world.post("1", "hi")
    world.post("1", "hi")
    world.web.post("/rest", content=b"{}")
    text = world.text()
    assert sample(text, "vimbiso_web_requests_total", channel="rest", status="200") == 2
    assert sample(text, "vimbiso_web_requests_total", channel="rest", status="403") == 1
    assert sample(text, "vimbiso_web_messages_total", channel="rest", outcome="duplicate") == 1
    assert sample(text, "vimbiso_web_request_seconds_bucket", channel="rest", le="+Inf") == 3
    assert sample(text, "vimbiso_duplicates_total", vimbiso_channel_type="rest") == 1
    assert "ada" not in text


def test_the_page_has_the_figures_of_turns(world: World) -> None:
    """Turns, refusals, durations and delays are those that OpenTelemetry has, under the names of its own rules."""
    world.post("1", "hi")
    world.post("2", "yes")
    world.at += 90
    guest = world.manager._base.bot.digests.guest_id(Channel("rest", "ada"))
    asyncio.run(world.manager.wake(guest))
    text = world.text()
    turn = {"vimbiso_channel_type": "rest", "vimbiso_flow": "greeting"}
    assert sample(text, "vimbiso_turns_total", vimbiso_kind="refusal", vimbiso_status="refused", **turn) == 1
    assert sample(text, "vimbiso_turns_total", vimbiso_kind="timer", vimbiso_status="advanced", **turn) == 1
    assert sample(text, "vimbiso_refusals_total", vimbiso_refusal_code="greeting.never", vimbiso_flow="greeting") == 1
    done = {"vimbiso_channel_type": "rest", "vimbiso_status": "refused"}
    assert sample(text, "vimbiso_handle_duration_seconds_count", **done) == 1
    assert sample(text, "vimbiso_due_lag_seconds_sum") == pytest.approx(30, abs=1)
    assert sample(text, "vimbiso_wake_duration_seconds_count") == 1


def test_each_figure_stands_on_the_page(world: World) -> None:
    """Each figure of the manager has a family with its description; the memory once a worker has read it."""
    families = {each.name: each.documentation for each in parser.text_string_to_metric_families(world.text())}
    for measure in (*COUNTS, *HISTOGRAMS):
        name = measure.name.replace(".", "_") + ("_seconds" if measure.unit == "s" else "")
        assert families[name] == measure.description
    assert "vimbiso_store_memory_used_bytes" not in families
    world.manager._base.budget.take((Usage("one", 30, 100),))
    assert sample(world.text(), "vimbiso_store_memory_share_ratio") == 0.3
    assert len(GAUGES) == sum("vimbiso_store_memory" in each for each, _ in values(world.text()))


def test_apps_of_one_process_have_figures_of_their_own(world: World) -> None:
    """What one app counts is not on the page of another."""
    other = World()
    world.post("1", "hi")
    assert sample(world.text(), "vimbiso_web_requests_total", channel="rest", status="200") == 1
    assert ("vimbiso_web_requests_total", frozenset({("channel", "rest"), ("status", "200")})) not in values(
        other.text()
    )


@pytest.mark.asyncio
async def test_the_figures_of_a_worker(world: World) -> None:
    """The shards and the wakings of a worker stand on the page too, and the seconds without progress."""
    worker = AsyncWorker(world.manager)
    world.metrics.watch_worker(worker)
    await worker.round()
    text = world.metrics.text()
    assert sample(text, "vimbiso_worker_shards") == 1024
    assert sample(text, "vimbiso_worker_workers") == 1
    assert sample(text, "vimbiso_worker_woken_total") == 0
    assert sample(text, "vimbiso_worker_stalled_seconds") >= 0
    await worker.leave()


def test_metrics_need_their_token() -> None:
    """`/metrics` is served to a reader with the token only, and a token that is short is refused."""
    manager = AsyncFlowStateManager.in_memory(greeting())
    with pytest.raises(ValueError, match="metrics_token has less than 16"):
        app(manager, {}, base=BASE, metrics_token="short")
    web = TestClient(app(manager, {}, base=BASE, metrics_token="t" * 16))
    assert web.get("/metrics").status_code == 401
    assert web.get("/metrics", headers={"Authorization": "Bearer " + "u" * 16}).status_code == 401
    answer = web.get("/metrics", headers={"Authorization": "Bearer " + "t" * 16})
    assert (answer.status_code, answer.text[-6:]) == (200, "# EOF\n")
    assert answer.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
