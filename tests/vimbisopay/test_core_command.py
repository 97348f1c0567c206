"""`python -m flows core`, and the commands of `vimbiso` that use it through `--services`."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from starlette.types import Receive, Scope, Send
from typer.testing import CliRunner

from flows.cli import _fault, app
from flows.credex_core import Fault, Session, SimulatedCredexCore
from flows.credex_core.http import HttpCredexCore
from flows.credex_core.server import application, listening, served
from flows.credex_core.server import running as serving
from tests.cli.test_worker import ended, until
from tests.cli_runs import LIMIT, TRANSCRIPT, embedded, environment, invoke, start

pytestmark = [pytest.mark.embedded, embedded]

ADA = "263771000001"
OFFER = "hi\noffer\n10\nalan\nyes\n"


PHONE = ("--phone", "263779990001")
OVER_HTTP = ("--flows", "flows", "--services", "flows.services:over_http")


@pytest.fixture(autouse=True)
def _own_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))  # the command puts the current directory first


@contextmanager
def running(*words: str, cwd: Path) -> Generator[tuple[subprocess.Popen[bytes], str]]:
    """Run the command in a process, and yield it with the address that it prints."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-m", "flows", "core", *words]
    process = subprocess.Popen(command, cwd=cwd, env=environment(cwd), stdin=pipe, stdout=pipe, stderr=pipe)
    assert process.stdout is not None
    try:
        said = process.stdout.readline().decode()
        found = re.fullmatch(r"credex-core, simulated: (http://127\.0\.0\.1:\d+)\n", said)
        assert found, process.communicate()[1].decode()
        yield process, found[1]
    finally:
        process.kill()
        process.communicate(timeout=LIMIT)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_is_serves_and_ends_in_order(tmp_path: Path, number: int):
    """The command prints its address, serves the seeded core, and ends with exit code 0 on a signal."""
    with running("--seed", "3", cwd=tmp_path) as (process, url):
        with HttpCredexCore(url) as client:
            session, same = client.login(phone=ADA), SimulatedCredexCore(3).login(phone=ADA)
        assert isinstance(session, Session)
        assert isinstance(same, Session)
        assert session.dashboard == same.dashboard
        process.send_signal(number)
        out, err = process.communicate(timeout=LIMIT)
    assert (process.returncode, out, err) == (0, b"", b"")


def test_it_ends_at_once_in_spite_of_a_connection(tmp_path: Path):
    """The command ends at once, in spite of an open connection and a slow call."""
    with running("--fault", "slow=1:login", cwd=tmp_path) as (process, url), HttpCredexCore(url, read=0.2) as client:
        client.get_account_by_handle("ada")
        client.login(phone=ADA)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=LIMIT)
    assert process.returncode == 0


def test_a_bot_talks_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A bot makes one offer through the command, in spite of a lost reply and a 401."""
    words = ("--fault", "lost:createCredex:1", "--fault", "401:getAccountByHandle:1")
    with running(*words, cwd=tmp_path) as (_, url):
        monkeypatch.setenv("CREDEX_CORE_URL", url)
        chat = start("chat", *OVER_HTTP, "--phone", ADA, cwd=tmp_path)
        out, err = chat.communicate(OFFER.encode(), timeout=LIMIT)
        assert (chat.returncode, err) == (0, b"")
        assert "Your offer was made: 10.00 USD to Alan Turing (@alan)." in out.decode()
        seen = httpx2.get(url).json()
    assert [offer["amount"] for offer in seen["offers"]] == ["5.00", "7.50", "10.00"]
    keys = [call["key"] for call in seen["received"] if call["name"] == "createCredex"]
    assert len(keys) == 2
    assert len(set(keys)) == 1
    assert [fault["times"] for fault in seen["faults"]] == [0, 0]


def test_a_replay_talks_to_it(monkeypatch: pytest.MonkeyPatch):
    """`vimbiso replay --services` uses the given services in place of the bot's own."""
    core = SimulatedCredexCore()
    with served(core) as url:
        monkeypatch.setenv("CREDEX_CORE_URL", url)
        code, _, _ = invoke("replay", TRANSCRIPT, *OVER_HTTP)
    assert code == 0
    assert core.calls


@pytest.mark.parametrize("function", ["over_http", "over_async_http"])
def test_a_worker_takes_services_of_both_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str):
    """A worker accepts a sync client and an async client."""
    (tmp_path / "data").mkdir()
    with served(SimulatedCredexCore()) as url:
        monkeypatch.setenv("CREDEX_CORE_URL", url)
        words = ("--flows", "flows", "--services", f"flows.services:{function}")
        worker = start("worker", "--data", "data", *words, cwd=tmp_path)
        until(worker, "started", log=True)
        code, out, err = ended(worker)
    assert (code, out) == (0, "")
    assert "stopped" in err


def test_the_key_of_the_api_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch):
    """The key of the API is read from the environment and sent with a call."""
    app, sent = application(SimulatedCredexCore()), []

    async def noting(scope: Scope, receive: Receive, send: Send) -> None:
        sent.append(dict(scope["headers"]).get(b"x-client-api-key"))
        await app(scope, receive, send)

    with listening() as bound, serving(noting, bound) as url:
        monkeypatch.setenv("CREDEX_CORE_URL", url)
        invoke("chat", *PHONE, *OVER_HTTP, stdin="hi\n")
        monkeypatch.setenv("CREDEX_API_KEY", "of-the-api")
        code, out, err = invoke("chat", *PHONE, *OVER_HTTP, stdin="hi\n")
    assert sent == [None, b"of-the-api"]
    assert (code, err) == (0, "")
    assert "of-the-api" not in out


def test_a_core_that_is_away_is_told_to_the_member(monkeypatch: pytest.MonkeyPatch):
    """If nothing listens at the address, the member reads so and the command continues."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("CREDEX_CORE_URL", f"http://127.0.0.1:{port}")
    code, out, _ = invoke("chat", *PHONE, *OVER_HTTP, stdin="hi\n")
    assert code == 0
    assert "cannot reach the credex network" in out


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "CREDEX_CORE_URL is not set; set it to the address of credex-core"),
        ("core", "is not an address of credex-core"),
        ("http://user:secret-word@core", "url holds a user name or a password"),
    ],
)
def test_an_address_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, url: str, said: str):
    """The error names the option and the remedy, and quotes no password."""
    monkeypatch.setenv("CREDEX_CORE_URL", url)
    code, out, err = invoke("chat", *OVER_HTTP)
    assert (code, out) == (1, "")
    assert err.startswith("error: --services flows.services:over_http: the function failed: ValueError: ")
    assert said in err
    assert "secret-word" not in err


def test_a_port_that_is_taken_is_said():
    """The error for a port in use names the port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = CliRunner().invoke(app, ["core", "--port", str(port)])
    assert (done.exit_code, done.stdout) == (1, "")
    assert f"error: port {port} is not available" in done.stderr


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("down", Fault("down")),
        ("401:login", Fault("401", "login")),
        ("lost:createCredex:2", Fault("lost", "createCredex", 2)),
        ("lost::2", Fault("lost", "", 2)),
        ("slow=0.5:login:1", Fault("slow", "login", 1, seconds=0.5)),
    ],
)
def test_a_fault_is_read(words: str, fault: Fault):
    """`--fault` is read as a `Fault`."""
    assert Fault(*_fault(words)) == fault


@pytest.mark.parametrize(
    "words", ["", "slower", "slow", "slow=", "slow=x", "slow=-1", "slow=inf", "down=1", "down:login:0", "down:login:x"]
)
def test_a_fault_that_is_none_is_refused(words: str):
    """A malformed `--fault` is a usage error that names the form."""
    done = CliRunner().invoke(app, ["core", "--fault", words])
    assert (done.exit_code, done.stdout) == (2, "")
    assert "--fault is KIND" in " ".join(done.stderr.split())
