"""Fixtures of the tests of archives."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from secrets import token_hex
from typing import TypeAlias

import pytest

from tests.archive.postgres import running
from vimbiso_fsm.archive.keeping import Archive
from vimbiso_fsm.archive.opening import open_archive

Open: TypeAlias = Callable[..., Archive]
"""Opens the archive of a test once more, as another process would."""


@pytest.fixture(scope="session")
def postgres_url() -> Generator[str]:
    """The URL of a PostgreSQL server, one for the whole run."""
    pytest.importorskip("sqlalchemy", reason="needs the package sqlalchemy")
    with running() as url:
        yield url


@pytest.fixture(params=["files", "sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of each kind of archive in turn."""
    if request.param == "files":
        return str(tmp_path / "archive")
    pytest.importorskip("sqlalchemy", reason="needs the package sqlalchemy")
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'archive.db'}"
    found: str = request.getfixturevalue("postgres_url")
    return found


@pytest.fixture
def opened(url: str) -> Generator[Open]:
    """Open an empty archive of each kind, any number of times."""
    found: list[Archive] = []
    own = f"n{token_hex(8)}"

    def again(namespace: str = "") -> Archive:
        found.append(open_archive(url, own + namespace))
        return found[-1]

    yield again
    for archive in found:
        archive.close()


@pytest.fixture
def archive(opened: Open) -> Archive:
    """An empty archive of each kind."""
    return opened()
