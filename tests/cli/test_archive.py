"""`vimbiso archive`, and the option `--archive` of the commands that read or erase an audit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.archive.chains import chain
from tests.cli.test_worker import BOT, ended, until
from tests.cli_runs import LIMIT, embedded, invoke, start
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.store.requests import NO_HEAD, Commit, Entry, Head, ReadAudit, ReadDue, shard_of

pytestmark = pytest.mark.embedded
ENTRIES = chain(8, began=datetime.now(UTC))


def commit(url: str, member_id: str, entries: tuple[Entry, ...]) -> None:
    """Commit entries of a new member."""
    head = NO_HEAD
    with AtomicStateManager.from_url(url) as store:
        for entry in entries:
            store.perform(Commit(member_id, head, entry.digest, entry.digest, "", b"{}", entry, b"{}"))
            head = Head(entry.version, entry.digest)


@pytest.fixture
def url(valkey_url: str) -> str:
    """The URL of a server with a member who has eight entries."""
    commit(valkey_url, "m-1", ENTRIES)
    return valkey_url


def test_entries_are_read_wherever_they_are(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`archive` moves entries; history and verification print the same with the option and with the variable."""
    folder = str(tmp_path / "archive")
    before = invoke("history", "m-1", "--redis", url, "--json")
    assert before[1].count("\n") == 8
    moved = invoke("archive", "--all", "--redis", url, "--archive", folder, "--hot-entries", "3")
    assert moved == (0, "members 1, entries archived 5, refused 0\n", "")
    assert invoke("archive", "m-1", "--redis", url, "--archive", folder, "--hot-entries", "3")[1].endswith(
        "entries archived 0, refused 0\n"
    )
    assert invoke("history", "m-1", "--redis", url, "--json")[1].count("\n") == 3
    assert invoke("history", "m-1", "--redis", url, "--json", "--archive", folder) == before
    monkeypatch.setenv("VIMBISO_ARCHIVE", folder)
    assert invoke("history", "m-1", "--redis", url, "--json") == before
    assert invoke("audit", "verify", "m-1", "--redis", url) == (0, "checked 1, entries 8, faults 0\n", "")
    assert invoke("audit", "export", "m-1", "--redis", url)[1].count("\n") == 8
    with AtomicStateManager.from_url(url) as store:
        assert store.perform(ReadAudit("m-1")) == ENTRIES[5:]
        assert store.perform(ReadDue(shard_of("m-1"))) == ("m-1",), "a worker looks at the member"


def test_an_archive_that_refuses_is_told(url: str, tmp_path: Path):
    """Where the archive refuses, `archive` and the doctor say why, and what the store keeps; nothing is lost."""
    (tmp_path / "file").write_text("")
    folder = str(tmp_path / "file" / "archive")
    words = ("--redis", url, "--archive", folder, "--hot-entries", "3")
    code, out, err = invoke("archive", "m-1", *words)
    assert (code, out) == (1, "members 1, entries archived 0, refused 1\n")
    assert err.startswith(f"m-1: the archive {folder}/default refuses: ")
    code, out, err = invoke("doctor", "--redis", url, "--archive", folder)
    assert code == 1
    assert f"refused: the archive {folder}/default refuses: " in out
    assert "drops those of a member that are more than 10,000 or older than 400 days" in out
    assert invoke("history", "m-1", "--redis", url, "--json")[1].count("\n") == 8


def test_the_doctor_counts_what_waits(url: str, tmp_path: Path):
    """The doctor says that the archive can be written, and how many entries wait for it."""
    words = ("doctor", "--redis", url, "--archive", str(tmp_path))
    assert f"archive: {tmp_path}/default can be written; looked at 1 of 1 members" in invoke(*words)[1]
    assert "wait for the archive" not in invoke(*words)[1]
    commit(url, "m-2", chain(3, "m-2", began=datetime.now(UTC) - timedelta(days=31)))
    assert "3 audit entries of 1 members wait for the archive, 3 at most; meanwhile" in invoke(*words)[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("archive", "m-1"), "no archive is named; give --archive URL, or set the environment variable"),
        (("archive", "--archive", "x"), "give either members or --all"),
        (("archive", "m-1", "--archive", "x", "--hot-entries", "0"), "--hot-entries"),
        (("archive", "m-1", "--archive", "nosuch://x"), "archive"),
        (("history", "m-1", "--archive", "file://host/x"), "absolute path"),
    ],
)
def test_wrong_options_are_told(words: tuple[str, ...], said: str, url: str):
    """Wrong options end the command with a line that says what to give."""
    code, _, err = invoke(*words, "--redis", url)
    assert code in (1, 2)
    assert said in err


@embedded
def test_a_worker_archives(tmp_path: Path):
    """`vimbiso worker --archive` moves entries, and its metrics count them."""
    (tmp_path / "seats.py").write_text(BOT)
    (tmp_path / "data").mkdir()
    words = ("--data", "data", "--flows", "seats")
    assert b"Held." in start("chat", *words, cwd=tmp_path).communicate(b"hi\n", timeout=LIMIT)[0]
    options: Any = ("--archive", "older", "--hot-entries", "1", "--every", "0.1", "--metrics", "0.2")
    worker = start("worker", *words, *options, cwd=tmp_path)
    assert "archived=" in until(worker, "archived=", log=True)
    assert ended(worker)[0] == 0
    assert [*(tmp_path / "older").rglob("*.jsonl")] != []
