"""`vimbiso serve` as a process, over HTTP on this machine, with the vendors' recorded requests."""

from __future__ import annotations

import http.client
import signal
import socket
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.cli_runs import LIMIT, embedded, wait_until
from tests.web.clients import TOKEN
from tests.web.served import CHAT_SECRET, METRICS, Served, ask, rest_body, served, settings, webhook
from tests.web.signed import REST_SECRET
from tests.web.vendors import Vendors, vendors
from vimbiso_fsm.store.embedded import EmbeddedServer

pytest.importorskip("prometheus_client", reason="needs the package prometheus_client")
pytestmark = [pytest.mark.embedded, embedded]

SHORT = """
from datetime import timedelta
from vimbiso_fsm.engine import outbox
outbox.DELIVERY_LEASE = timedelta(seconds=1)
"""
"""Replies that a process has left are taken over after a second, in place of thirty."""


@pytest.fixture(scope="module")
def shops() -> Generator[Vendors]:
    """The vendors on this machine."""
    with vendors() as found:
        yield found


@pytest.fixture(scope="module")
def process(shops: Vendors, tmp_path_factory: pytest.TempPathFactory) -> Generator[Served]:
    """A process with all channels, which the tests share that leave it as it is."""
    folder = tmp_path_factory.mktemp("serve")
    with served(folder, settings(shops.url), "--data", "data") as found:
        yield found
        assert found.stop() == 0
        assert found.lines[-1].endswith("stopped")


@pytest.mark.parametrize("name", ["whatsapp", "telegram", "twilio"])
def test_a_recorded_request_of_a_vendor_is_answered_and_its_reply_sent(
    process: Served, shops: Vendors, name: str
) -> None:
    """A signed request is acknowledged and its reply goes to the vendor, once however often it comes."""
    shops.seen.clear()
    shops.came.clear()
    path, raw, headers = webhook(name)
    assert ask(process.url, "POST", path, raw, headers).status == 200
    assert shops.came.wait(LIMIT)
    assert ask(process.url, "POST", path, raw, headers).status == 200
    assert ask(process.url, "POST", path, raw).status == 403
    process.say(f"after-{name}", "hi", sender=name)
    assert ["Shall" in each.body.decode() for each in shops.seen] == [True]


def test_the_start_names_the_channels_and_no_secret(process: Served) -> None:
    """The lines at the start have a time and a level, the webhooks and what is not set, and no value of a setting."""
    channels = ("whatsapp", "telegram", "twilio", "rest", "chat")
    assert all(f" is at https://bot.example.org/{name}" in process.text for name in channels)
    assert "the store is the folder data" in process.text
    assert all(line[:2] == "20" and line[30:34] == "INFO" for line in process.lines[:5]), process.text
    assert not [secret for secret in (TOKEN, REST_SECRET, METRICS, CHAT_SECRET, "t0ken") if secret in process.text]


def figures_of(process: Served) -> str:
    """Return the figures of a process, once its worker has leased all shards."""
    found: list[str] = []

    def is_leased() -> bool:
        answer = ask(process.url, "GET", "/metrics", headers={"Authorization": f"Bearer {METRICS}"})
        found[:] = [answer.body.decode()]
        return "vimbiso_worker_shards 1024.0" in found[0]

    wait_until(is_leased)
    return found[0]


def test_the_pages_for_operators(process: Served) -> None:
    """The process is alive and ready, and shows the figures of its manager, its worker and itself to the token."""
    assert [ask(process.url, "GET", path).status for path in ("/healthz", "/readyz", "/metrics")] == [200, 200, 401]
    process.say("metrics-1", "hi", sender="metrics")
    process.say("metrics-2", "yes", sender="metrics")
    text = figures_of(process)
    figures = ("vimbiso_turns_total", "vimbiso_worker_shards 1024.0", "vimbiso_web_requests_total", "process_open_fds")
    assert [name for name in figures if name not in text] == []


def test_a_slow_client_does_not_stop_others(process: Served) -> None:
    """While many clients have sent a part of their requests, others are answered."""
    parts = urlsplit(process.url)
    raw, headers = rest_body("slow", "slow-1", "hi")
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    begun = f"POST /rest HTTP/1.1\r\nHost: a\r\nContent-Length: {len(raw)}\r\n{head}"
    with ExitStack() as held:
        for number in range(200):
            line = held.enter_context(socket.create_connection((parts.hostname, parts.port), timeout=LIMIT))
            line.sendall(begun.encode() if number % 2 else f"{begun}\r\n".encode() + raw[:5])
        assert process.say("quick-1", "hi", sender="quick").texts == ["Shall we?"]


@pytest.fixture
def gate() -> Generator[socket.socket]:
    """Where the calls of the bot connect to."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        found.settimeout(LIMIT)
        yield found


def test_a_request_on_its_way_is_answered_before_the_end(gate: socket.socket, shops: Vendors, tmp_path: Path) -> None:
    """SIGTERM in the middle of a request: it is answered, no new one is taken, and the process ends with 0."""
    gated = {**settings(shops.url), "GATE": str(gate.getsockname()[1])}
    with served(tmp_path, gated, "--data", "data") as process, ThreadPoolExecutor(1) as pool:
        process.say("1", "hi")
        answer = pool.submit(process.say, "2", "wait")
        call, _ = gate.accept()
        process.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not _listens(process.url))
        call.close()
        assert answer.result(LIMIT).texts == ["So."]
        assert process.ended() == 0
    with served(tmp_path, settings(shops.url), "--data", "data") as again:
        assert again.say("3", "end").texts == ["Over."]
        assert again.stop(signal.SIGINT) == 0


def test_a_second_signal_ends_the_process_at_once(gate: socket.socket, shops: Vendors, tmp_path: Path) -> None:
    """The second signal does not wait for the request that the first one waits for."""
    gated = {**settings(shops.url), "GATE": str(gate.getsockname()[1])}
    with served(tmp_path, gated, "--data", "data") as process, ThreadPoolExecutor(1) as pool:
        process.say("1", "hi")
        answer = pool.submit(process.say, "2", "wait")
        call, _ = gate.accept()
        process.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not _listens(process.url))
        assert process.stop() == 128 + signal.SIGTERM
        EmbeddedServer.start(tmp_path / "data").close()  # it outlives a process that ends at once
        call.close()
        assert isinstance(answer.exception(LIMIT), ConnectionError | http.client.HTTPException)


def test_what_a_killed_process_has_not_sent_is_sent_by_the_next_one(world: Vendors, tmp_path: Path) -> None:
    """SIGKILL between the commit and the send: the next process sends the reply, and the message takes effect once."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        deaf.settimeout(LIMIT)
        variables = settings(f"http://127.0.0.1:{deaf.getsockname()[1]}")
        with served(tmp_path, variables, "--data", "data", "--lease", "0.5", before=SHORT) as process:
            path, raw, headers = webhook("telegram")
            assert ask(process.url, "POST", path, raw, headers).status == 200  # it is committed
            line, _ = deaf.accept()  # and is being sent: the vendor has read nothing of it
            process.stop(signal.SIGKILL)
            line.close()
    with served(tmp_path, settings(world.url), "--data", "data", "--lease", "0.5", "--every", "0.1") as process:
        assert world.came.wait(LIMIT)
        assert ask(process.url, "POST", path, raw, headers).status == 200
        assert process.stop() == 0
    assert ["Shall" in each.body.decode() for each in world.seen] == [True]


def test_a_worker_that_ends_by_itself_ends_the_process(shops: Vendors, tmp_path: Path) -> None:
    """A crash of the worker ends the process with a status after which a supervisor starts it again."""
    crash = """
from vimbiso_fsm.errors import StoreUnavailable
from vimbiso_fsm.runtime.worker import AsyncWorker
async def fails(self):
    raise StoreUnavailable("the test says so")
AsyncWorker.round = fails
"""
    with served(tmp_path, settings(shops.url), "--data", "data", before=crash, waits=False) as process:
        assert process.ended() == 1
        assert "the test says so" in process.until("error:")
        assert "Traceback" not in process.text


def test_a_worker_serves_its_pages(tmp_path: Path) -> None:
    """`vimbiso worker --http` serves life, readiness and figures, and no channel."""
    (tmp_path / "data").mkdir()
    variables = {"VIMBISO_METRICS_TOKEN": METRICS}
    with served(tmp_path, variables, "--data", "data", command="worker") as process:
        statuses = [ask(process.url, "GET", path).status for path in ("/healthz", "/readyz", "/metrics", "/rest")]
        assert statuses == [200, 200, 401, 404]
        assert "vimbiso_wake_duration_seconds" in figures_of(process)
        assert process.stop() == 0
        assert "stopped: shards=" in process.lines[-1]


def _listens(url: str) -> bool:
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname, parts.port), timeout=LIMIT).close()
    except ConnectionRefusedError:
        return False
    return True
