"""Archives in a database: errors without secrets, and what an erasure leaves in the file of SQLite."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from tests.archive.chains import chain, tomb
from vimbiso_fsm.archive.joining import LAST_VERSION
from vimbiso_fsm.archive.opening import open_archive
from vimbiso_fsm.errors import ArchiveUnavailable

pytest.importorskip("sqlalchemy", reason="needs the package sqlalchemy")
PASSWORD = "correct-horse"


def test_no_byte_of_an_erased_member_is_left(tmp_path: Path):
    """After an erasure the files of SQLite hold no byte of the entries."""
    archive = open_archive(f"sqlite:///{tmp_path / 'archive.db'}")
    entries = chain(200, mark="Lovelace")
    archive.append("m-1", entries)
    archive.append("m-2", chain(3, "m-2"))
    archive.erase("m-1", 0, LAST_VERSION, tomb(entries, 1, 200), b"")
    archive.close()
    assert [path.name for path in tmp_path.iterdir()] == ["archive.db"]
    assert b"Lovelace" not in (tmp_path / "archive.db").read_bytes()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"postgresql+psycopg://bot:{PASSWORD}@/x?host=/nowhere&password={PASSWORD}", "OperationalError"),
        (f"nosuch://bot:{PASSWORD}@host/x", "driver"),
        (f"postgresql+nosuch://bot:{PASSWORD}@host/x", "driver"),
        (f"://bot:{PASSWORD}@host/x", "no URL"),
        ("sqlite:////nowhere/archive.db", "OperationalError"),
        ("file://host/x", "absolute path"),
        (" ", "folder"),
    ],
)
def test_an_archive_that_cannot_be_used_says_so_without_a_password(url: str, said: str):
    """A wrong URL, a missing driver and a database that does not answer raise one error, without the password."""
    with pytest.raises(ArchiveUnavailable, match=said) as error:
        open_archive(url).append("m-1", chain(1))
    assert PASSWORD not in f"{error.value} {error.value!r} {error.value.place} {error.value.__cause__!r}"


def test_a_file_url_names_a_folder(tmp_path: Path):
    """A `file://` URL with an absolute path is an archive in files."""
    open_archive(f"{(tmp_path / 'a b').as_uri()}").append("m-1", chain(2))
    assert open_archive(str(tmp_path / "a b")).read("m-1") == chain(2)


def test_without_sqlalchemy_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch):
    """Where SQLAlchemy is missing, a URL of a database says what to install, and files work."""
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    monkeypatch.delitem(sys.modules, "vimbiso_fsm.archive.sql", raising=False)
    with pytest.raises(ModuleNotFoundError, match=r"vimbiso_fsm\[sql\]"):
        importlib.import_module("vimbiso_fsm.archive.sql")
    assert open_archive("folder").place == "folder/default"
