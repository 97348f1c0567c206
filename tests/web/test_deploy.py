"""The files and procedures of the page on deployment, tried as they stand there."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis

from tests.cli_runs import LIMIT, ROOT, embedded, invoke, wait_until
from tests.engines import redis_program
from tests.web.served import BOT, CHAT_SECRET, METRICS, Served, ask, rest_body, served
from tests.web.signed import REST_SECRET
from vimbiso_fsm import Bot, Channel, Flow, FlowStateManager, Message, State, Text, Transition
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.web.deployment import OFFERED

PAGE = (ROOT / "docs" / "how-to" / "deploy.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", PAGE, re.DOTALL))
REST = {"VIMBISO_REST_SECRETS": REST_SECRET, "VIMBISO_METRICS_TOKEN": METRICS, "VIMBISO_PROXIES": "127.0.0.1"}

needs_nginx = pytest.mark.skipif(shutil.which("nginx") is None, reason="needs nginx")


def test_the_page_names_each_setting() -> None:
    """Each variable of a channel stands on the page, in the column that says whether it is needed."""
    rows = [line.split("|") for line in PAGE.splitlines() if line.startswith("| ") and "`/" in line.split("|")[1]]
    needed = {name for row in rows for name in re.findall(r"`(VIMBISO_\w+)`", row[2])}
    more = {name for row in rows for name in re.findall(r"`(VIMBISO_\w+)`", row[3])}
    assert needed == {each.name for offered in OFFERED for each in offered.variables if each.needed}
    assert more == {each.name for offered in OFFERED for each in offered.variables if not each.needed}
    assert {offered.path for offered in OFFERED} == {row[1].partition("`/")[2].partition("`")[0] for row in rows}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_the_unit_is_one_of_systemd(tmp_path: Path) -> None:
    """Systemd finds nothing wrong with the unit, whose command exists here."""
    command = tmp_path / "vimbiso"
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    (tmp_path / "bot@8000.service").write_text(
        FILES["bot@.service"].replace("/opt/bot/.venv/bin/vimbiso", str(command)).replace("User=bot", "User=root")
    )
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", tmp_path / "bot@8000.service"],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert (done.returncode, [line for line in done.stderr.splitlines() if "bot@" in line]) == (0, [])


@pytest.mark.parametrize("command", ["unit", "container"])
def test_the_commands_have_options_that_exist(command: str) -> None:
    """The command of the unit and that of the container are ones of `vimbiso serve`."""
    if command == "unit":
        words = re.findall(r"^ExecStart=\S+/vimbiso (.*)$", FILES["bot@.service"], re.MULTILINE)[0].split()
    else:
        name, *words = json.loads(re.findall(r"^CMD (.*)$", FILES["Containerfile"], re.MULTILINE)[0])
        assert name == "vimbiso"
    assert words[0] == "serve"
    assert invoke(*words, "--help")[0] == 0


@contextmanager
def nginx(folder: Path, port: int, upstreams: Mapping[int, int]) -> Generator[str]:
    """Run nginx with the file of the page, on this machine, without TLS.

    Args:
        folder: Where its files are.
        port: The port that it listens at, in place of 443.
        upstreams: The ports of the processes, by those of the page.
    """
    conf = FILES["bot.conf"].replace("listen 443 ssl;", f"listen 127.0.0.1:{port};")
    conf = re.sub(r"^ *ssl_certificate.*$", "", conf, flags=re.MULTILINE)
    for written, real in upstreams.items():
        conf = conf.replace(f"server 127.0.0.1:{written} ", f"server 127.0.0.1:{real} ")
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy"))
    temporary += "".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("fastcgi", "uwsgi", "scgi"))
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/error.log; events {{}}\n"
        f"http {{ access_log off; {temporary}\n{conf} }}\n"
    )
    words = ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
    tried = subprocess.run([*words, "-t"], capture_output=True, text=True, timeout=LIMIT, check=False)
    assert tried.returncode == 0, tried.stderr
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: _answers(url))
        yield url
    finally:
        process.terminate()
        process.wait(LIMIT)


def _answers(url: str) -> bool:
    try:
        return ask(url, "GET", "/healthz").status > 0
    except ConnectionError:
        return False


def free_port() -> int:
    """Return a port at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        port: int = held.getsockname()[1]
        return port


def port_of(process: Served) -> int:
    """Return the port of a process."""
    return urlsplit(process.url).port or 0


@needs_nginx
@pytest.mark.embedded
@embedded
def test_nginx_hands_on_what_it_should(tmp_path: Path) -> None:
    """Requests, web sockets, bounds of bodies and the address of the client pass nginx as the page says."""
    pytest.importorskip("prometheus_client", reason="needs the package prometheus_client")
    connect: Any = pytest.importorskip("websockets.sync.client", reason="needs the package websockets").connect
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    variables = {**REST, "VIMBISO_CHAT_SECRETS": CHAT_SECRET, "VIMBISO_BASE_URL": url}
    with served(tmp_path, variables, "--data", "data") as process:
        here = port_of(process)
        with nginx(tmp_path, port, {8000: here, 8001: here}):
            assert ask(url, "POST", "/rest", *rest_body("ada", "1", "hi")).texts == ["Shall we?"]
            assert ask(url, "GET", "/metrics", headers={"Authorization": f"Bearer {METRICS}"}).status == 403
            assert ask(url, "POST", "/rest", b"x" * (3 << 20) + b"x").status == 413

            cookie = ask(url, "GET", "/chat").headers["set-cookie"].partition(";")[0]
            with connect(
                f"ws://127.0.0.1:{port}/chat/socket", origin=url, additional_headers={"Cookie": cookie}
            ) as page:
                page.send(json.dumps({"type": "open", "id": "1"}))
                assert json.loads(page.recv(LIMIT))["replies"][0]["text"] == "Shall we?"

            said = {"X-Forwarded-For": "8.8.8.8"}
            assert {ask(url, "POST", "/rest", b"{}", said).status for _ in range(150)} == {403}
        through = [ask(process.url, "POST", "/rest", b"{}", said).status for _ in range(150)]
        assert (through[0], through[-1]) == (403, 429)  # an address that the proxy tells is counted


SECOND = (
    BOT.replace('"greeting", initial', '"greeting", version=2, migrations=[Migration(1)], initial')
    .replace("import Bot,", "import Bot, Migration,")
    .replace('Text("So.")', 'Text("So, anew.")')
)


@needs_nginx
@pytest.mark.embedded
@embedded
def test_a_rolling_deploy_of_two_versions_loses_no_message(tmp_path: Path) -> None:
    """Two versions stand beside each other and replace one another while members write: all are answered, once."""
    pytest.importorskip("prometheus_client", reason="needs the package prometheus_client")
    old, new = tmp_path / "old", tmp_path / "new"
    for folder, bot in ((old, BOT), (new, SECOND)):
        folder.mkdir()
        (folder / "greeter.py").write_text(bot)
    words = ("--data", tmp_path / "data", "--every", "0.1")
    first, second, port = free_port(), free_port(), free_port()
    answers: list[int] = []
    with ExitStack() as stack:
        process = stack.enter_context(served(old, REST, "--port", str(first), *words))
        url = stack.enter_context(nginx(tmp_path, port, {8000: first, 8001: second}))
        assert ask(url, "POST", "/rest", *rest_body("ada", "1", "hi")).texts == ["Shall we?"]
        ended = threading.Event()

        def write() -> None:
            number = 0
            while not ended.is_set():
                number += 1
                text = "hi" if number == 1 else ("yes", "back")[number % 2]
                answers.append(ask(url, "POST", "/rest", *rest_body("writer", f"{number}", text)).status)

        writer = threading.Thread(target=write)
        writer.start()
        beside = stack.enter_context(served(new, REST, "--port", str(second), *words))
        assert ask(beside.url, "POST", "/rest", *rest_body("ada", "2", "yes")).texts == ["So, anew."]
        refused = ask(process.url, "POST", "/rest", *rest_body("ada", "3", "end"))
        assert (refused.status, refused.json["error"]) == (503, "NewerState")  # the old one leaves the member alone
        assert ask(url, "POST", "/rest", *rest_body("ada", "3", "end")).texts == ["Over."]
        assert process.stop() == 0
        assert ask(url, "POST", "/rest", *rest_body("bob", "1", "hi")).texts == ["Shall we?"]
        ended.set()
        writer.join(LIMIT)
        assert set(answers) == {200}
        assert beside.stop() == 0


# Backup and restore


def counter() -> Bot:
    """Return a bot whose member goes on from question to question."""
    states: list[State[Any]] = [State(name, ask=Text(name.title())) for name in ("one", "two", "three")]
    moves: list[Transition[Any]] = [
        Transition("on", "one", "two"),
        Transition("on", "two", "three"),
        Transition("on", "three", "one"),
    ]
    return Bot([Flow("count", initial="one", states=states, transitions=moves)])


YOU = Channel("rest", "ada")


def say(manager: FlowStateManager, id: str, text: str) -> str:
    """Say something, and return the status and the answer."""
    outcome = manager.handle(Message(YOU, id, text))
    return f"{outcome.status} {outcome.replies[-1].text}"


def check_restored(manager: FlowStateManager) -> None:
    """Check that members stand where they stood at the copy, and what a message of after it does."""
    assert say(manager, "2", "on") == "duplicate Two"  # of before the copy: once
    assert say(manager, "3", "on") == "advanced Three"  # of after it: forgotten, so it takes effect again
    assert say(manager, "3", "on") == "duplicate Three"


@pytest.mark.embedded
@embedded
def test_a_copy_of_the_log_of_an_embedded_server_is_restored(tmp_path: Path) -> None:
    """The log is copied while the server runs. Exactly once holds up to the copy, and not from there to the restore."""
    with FlowStateManager.embedded(tmp_path / "data", counter()) as manager:
        assert [say(manager, "1", "hi"), say(manager, "2", "on")] == ["advanced One", "advanced Two"]
        client = _client_of(manager)
        _copy_log(client.execute_command, tmp_path / "data" / "appendonlydir", tmp_path / "copy")
        assert say(manager, "3", "on") == "advanced Three"
    shutil.rmtree(tmp_path / "data" / "appendonlydir")
    shutil.copytree(tmp_path / "copy", tmp_path / "data" / "appendonlydir")
    with FlowStateManager.embedded(tmp_path / "data", counter()) as manager:
        check_restored(manager)


def _client_of(manager: FlowStateManager) -> Any:
    store = manager._store
    assert isinstance(store, AtomicStateManager)
    return store.servers.client


def _copy_log(command: Callable[..., Any], log: Path, to: Path) -> None:
    """Copy the log as the page says."""
    command("CONFIG", "SET", "auto-aof-rewrite-percentage", "0")
    wait_until(lambda: _info(command)["aof_rewrite_in_progress"] in (0, "0"))
    shutil.copytree(log, to)
    command("CONFIG", "SET", "auto-aof-rewrite-percentage", "100")


def _info(command: Callable[..., Any]) -> Mapping[str, Any]:
    found: Any = command("INFO", "persistence")
    return found if isinstance(found, Mapping) else dict(line.split(":", 1) for line in found.decode().split())


@contextmanager
def redis_server(folder: Path, *words: str) -> Generator[str]:
    """Run redis-server on a folder, and yield its URL."""
    folder.mkdir(exist_ok=True)
    line = [str(redis_program()), "--dir", str(folder), "--port", "0", "--unixsocket", "s", "--save", "", *words]
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL)
    try:
        with redis.Redis.from_url(f"unix://{folder}/s") as client:
            wait_until(lambda: _is_loaded(client) or process.poll() is not None)
        assert process.poll() is None
        yield f"unix://{folder}/s"
    finally:
        process.terminate()
        process.wait(LIMIT)


def _is_loaded(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:  # a server that is loading has one too
        return False


@pytest.mark.redis
def test_copies_of_a_redis_server_are_restored(tmp_path: Path) -> None:
    """A copy of the log and a snapshot of redis-server are restored as the page says."""
    words = ("--appendonly", "yes", "--appendfsync", "always")
    with redis_server(tmp_path / "a", *words) as url, FlowStateManager.from_url(url, counter()) as manager:
        assert [say(manager, "1", "hi"), say(manager, "2", "on")] == ["advanced One", "advanced Two"]
        client = redis.Redis.from_url(url)
        _copy_log(client.execute_command, tmp_path / "a" / "appendonlydir", tmp_path / "copy")
        cli = ["redis-cli", "-s", url.removeprefix("unix://"), "--rdb", str(tmp_path / "copy.rdb")]
        subprocess.run(cli, check=True, capture_output=True, timeout=LIMIT)
        client.close()
        assert say(manager, "3", "on") == "advanced Three"

    (tmp_path / "b").mkdir()
    shutil.copytree(tmp_path / "copy", tmp_path / "b" / "appendonlydir")
    with redis_server(tmp_path / "b", *words) as url, FlowStateManager.from_url(url, counter()) as manager:
        check_restored(manager)

    (tmp_path / "c").mkdir()
    shutil.copy(tmp_path / "copy.rdb", tmp_path / "c")
    with redis_server(tmp_path / "c", "--dbfilename", "copy.rdb", "--appendonly", "no") as url:
        client = redis.Redis.from_url(url)
        client.config_set("appendonly", "yes")
        wait_until(lambda: _info(client.execute_command)["aof_rewrite_in_progress"] in (0, "0"))
        client.close()
    with redis_server(tmp_path / "c", *words) as url, FlowStateManager.from_url(url, counter()) as manager:
        check_restored(manager)
