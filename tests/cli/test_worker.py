"""`vimbiso worker`, as a process of its own."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli_runs import LIMIT, embedded, invoke, start

BOT = r"""
from vimbiso_fsm import Bot, Flow, State, Text, Transition

seat = Flow(
    "seat", initial="held",
    states=[State("held", ask=Text("Held."), timeout=0.5), State("lost", ask=Text("Lost."))],
    transitions=[Transition("timeout", "held", "lost"), Transition("hold", "lost", "held")],
)
bot = Bot([seat])


def deliver(channel, replies):
    print(f"delivered {channel.type} {replies[-1].text}\n", end="", flush=True)  # one write: the worker prints too
"""


LINE = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00 (DEBUG|INFO|WARNING|ERROR)\s+vimbiso_fsm[.\w]*: \S.*\n"
)
"""A line of the log: the time, the level, the logger and the event."""


def until(process: subprocess.Popen[bytes], words: str, *, log: bool = False) -> str:
    """Return the first line of the output, or of the log, that contains these words."""
    stream = process.stderr if log else process.stdout
    assert stream is not None
    for line in stream:
        assert not log or LINE.fullmatch(line.decode()), line
        if words in line.decode():
            return line.decode()
    raise AssertionError(f"it ended without {words!r}: {process.communicate()}")


def ended(process: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    """Send SIGTERM, and return the exit code and the rest of the output and of the errors."""
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=LIMIT)
    return process.returncode, out.decode(), err.decode()


@pytest.mark.embedded
@embedded
def test_a_worker_fires_a_timer_and_stops_when_told(tmp_path: Path):
    """A worker fires a timer and delivers the reply; SIGTERM ends it in order, with a line of metrics."""
    (tmp_path / "seats.py").write_text(BOT)
    (tmp_path / "data").mkdir()
    words = ("--data", "data", "--flows", "seats")
    talk = start("chat", *words, cwd=tmp_path)
    assert talk.communicate(b"hi\n", timeout=LIMIT)[0].decode().strip() == "> hi\nHeld."
    worker = start("worker", *words, "--deliver", "seats:deliver", "--every", "0.1", "--metrics", "0.2", cwd=tmp_path)
    assert until(worker, "delivered") == "delivered terminal Lost.\n"
    assert "shards=1024 workers=1" in until(worker, "timer=1", log=True)
    code, out, err = ended(worker)
    assert (code, out) == (0, "")
    assert "stopped: shards=" in err.splitlines()[-1]
    assert all(LINE.fullmatch(line) for line in err.splitlines(keepends=True))


@pytest.mark.embedded
@embedded
def test_the_log_of_a_worker_says_that_and_why_deliveries_fail(tmp_path: Path):
    """When each delivery fails, the line of the worker is a warning with the number and the reason."""
    (tmp_path / "seats.py").write_text(BOT + FAILING)
    (tmp_path / "data").mkdir()
    words = ("--data", "data", "--flows", "seats")
    start("chat", *words, cwd=tmp_path).communicate(b"hi\n", timeout=LIMIT)
    worker = start("worker", *words, "--deliver", "seats:fails", "--every", "0.1", "--metrics", "0.2", cwd=tmp_path)
    line = until(worker, "undelivered=", log=True)
    assert " WARNING vimbiso_fsm.worker: worker-" in line
    assert "failed=0 undelivered=1 (ConnectionRefusedError=1)" in line
    assert ended(worker)[0] == 0


FAILING = r"""

def fails(channel, replies):
    raise ConnectionRefusedError("263771234567")
"""

SENDING = r"""
import contextlib, sys
from vimbiso_fsm import Bot, Flow, FlowStateManager, Inbox, Later, Message, Channel, Sent, State, Text, Transition

seat = Flow(
    "seat", initial="held",
    states=[State("held", ask=Text("Held."), timeout=0.5), State("lost", ask=Text("Lost."))],
    transitions=[Transition("timeout", "held", "lost"), Transition("hold", "lost", "held")],
)
bot = Bot([seat], inboxes=[Inbox("support", words=("human",))])


def show(*words):
    print(" ".join(words) + "\n", end="", flush=True)  # one write: the worker prints too


@contextlib.asynccontextmanager
async def senders():
    async def send(channel, replies):
        show("sent", channel.type, *[reply.text for reply in replies])
        return Sent()

    show("senders opened")
    yield {"terminal": send}
    show("senders closed")


def inboxes():
    def take(passed):
        show("passed", passed.kind)
        return Sent()

    return {"support": take}


if __name__ == "__main__":
    you = Channel("terminal", "you")
    later = {"senders": {"terminal": lambda *said: Later(1)}, "inboxes": {"support": lambda passed: Later(1)}}
    with FlowStateManager.embedded("data", bot, **later) as manager:
        for word in ("hi", "human"):
            manager.handle(Message(you, word, word))
"""


@pytest.mark.embedded
@embedded
def test_a_worker_sends_by_senders_and_passes_on_to_inboxes(tmp_path: Path):
    """A worker sends what a channel has put off by the senders of `--senders`, and passes on by `--inboxes`."""
    (tmp_path / "seats.py").write_text(SENDING)
    (tmp_path / "data").mkdir()
    subprocess.run([sys.executable, "seats.py"], cwd=tmp_path, timeout=LIMIT, check=True)
    options = ("--senders", "seats:senders", "--inboxes", "seats:inboxes", "--every", "0.1")
    worker = start("worker", "--data", "data", "--flows", "seats", *options, cwd=tmp_path)
    until(worker, "senders opened")
    left = {"sent terminal Held.\n", "passed begun\n"}
    while left:
        left.discard(until(worker, " "))
    code, out, err = ended(worker)
    assert code == 0
    assert "senders closed" in out
    assert "ERROR" not in err


@pytest.mark.embedded
@embedded
def test_a_worker_refuses_a_store_a_store_that_would_lose_turns(valkey_url: str, tmp_path: Path):
    """A worker refuses a server that the doctor refuses; `--unsafe-store` waives it, and an incident records that."""
    (tmp_path / "seats.py").write_text(BOT)
    words = ("--redis", valkey_url, "--flows", "seats")
    refused = start("worker", *words, cwd=tmp_path)
    assert refused.communicate(timeout=LIMIT)[1].startswith(b"error: ")
    assert refused.returncode == 1
    waived = start("worker", *words, "--unsafe-store", cwd=tmp_path)
    until(waived, "started", log=True)
    assert ended(waived)[0] == 0
    code, out, _ = invoke("incidents", "--redis", valkey_url)
    assert code == 0
    assert '"waiver"' in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "give --redis URL or --data DIR"),
        (("--redis", "redis://x", "--data", "y"), "name two stores; give one of them"),
        (("--redis", "redis://x", "--durability", "high"), "is not a level of durability"),
        (("--redis", "redis://x", "--deliver", "no_such_module:f"), "cannot be imported"),
        (("--redis", "redis://x", "--senders", "no_such_module:f"), "cannot be imported"),
        (("--redis", "redis://x", "--senders", "json:nothing"), "has no function of this name"),
        (
            ("--redis", "redis://x", "--senders", "builtins:list"),
            "--senders builtins:list: the function returned a list",
        ),
        (("--redis", "redis://x", "--senders", "builtins:sum"), "--senders builtins:sum: the function failed"),
        (("--redis", "redis://x", "--inboxes", "builtins:list"), "return a mapping of names to inboxes"),
        (("--redis", "redis://x", "--deliver", "json"), "is not MODULE:FUNCTION"),
        (("--redis", "redis://x", "--deliver", "json:nothing"), "has no function of this name"),
        (("--data", "nowhere"), "there is no folder"),
        (("--redis", "http://x"), "is none of"),
    ],
)
def test_wrong_usage_is_said(words: tuple[str, ...], said: str):
    """A wrong option is named before the worker starts."""
    code, out, err = invoke("worker", *words, "--flows", "flows")
    assert code in (1, 2)
    assert out == ""
    assert said in " ".join(err.replace("│", " ").split())
