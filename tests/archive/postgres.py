"""A PostgreSQL server for tests, from the programs of the machine."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import Final

import pytest

STARTING: Final = 30.0
"""Seconds that a server may take to answer."""
OWNER: Final = "postgres"
"""The user as whom the server runs where the tests run as root, which the server refuses."""


def _program(name: str) -> str:
    found = shutil.which(name) or next(
        (str(path) for path in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)), None
    )
    if found is None:
        pytest.skip(f"needs the program {name} of PostgreSQL")
    return found


def _user() -> str | None:
    if os.geteuid() != 0:
        return None
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(OWNER).pw_name
    pytest.skip(f"PostgreSQL does not run as root, and there is no user {OWNER}")


@contextlib.contextmanager
def running() -> Generator[str]:
    """Run a server on a Unix socket in a folder of its own; yield its URL for SQLAlchemy with psycopg."""
    pytest.importorskip("psycopg", reason="needs the driver psycopg")
    initdb, server, user = _program("initdb"), _program("postgres"), _user()
    with tempfile.TemporaryDirectory(prefix="vimbiso-pg-") as folder:
        data = Path(folder) / "data"
        if user is not None:
            shutil.chown(folder, user)
        made = [
            initdb,
            "--pgdata",
            str(data),
            "--auth",
            "trust",
            "--username",
            OWNER,
            "--no-sync",
            "--encoding",
            "UTF8",
        ]
        subprocess.run(made, check=True, capture_output=True, user=user, cwd=folder)
        command = [server, "-D", str(data), "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"]
        with (Path(folder) / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, user=user, cwd=folder)
        try:
            _wait(process, folder)
            yield f"postgresql+psycopg://{OWNER}@/postgres?host={folder}"
        finally:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], folder: str) -> None:
    import psycopg

    deadline = time.monotonic() + STARTING
    while True:
        try:
            psycopg.connect(host=folder, user=OWNER, dbname="postgres").close()
        except psycopg.OperationalError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((Path(folder) / "log").read_text()[-500:]) from error
            time.sleep(0.02)
        else:
            return
