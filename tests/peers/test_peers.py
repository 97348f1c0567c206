"""The pages that compare libraries say what the trials show."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.engines import Server, redis_program, running
from tests.peers.trials import PEERS, ROOT, Trial

PAGES = sorted((ROOT / "docs" / "coming-from").glob("*.md"))
HEAD = re.compile(r"^\| trial \| payments \| .* \|$")


@pytest.fixture(scope="module")
def server() -> Generator[Server]:
    """A server that the trials empty."""
    with running(redis_program()) as server:
        yield server


@pytest.fixture
def trial(server: Server, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Trial:
    """The trials of the peer that the test names."""
    monkeypatch.setenv("TRIAL_TOGETHER", "0.1")
    peer = PEERS[request.param]
    if importlib.util.find_spec(peer.needs.partition(".")[0]) is None:
        pytest.skip(f"needs {peer.needs}; `python -m tests.peers --python PATH` tries it in another environment")
    return Trial(peer, server.url, tmp_path)


@pytest.mark.redis
@pytest.mark.parametrize("trial", ["vimbiso"], indirect=True)
def test_the_bot_of_this_library_pays_once(trial: Trial) -> None:
    """Two workers at once, and a worker that is killed after the payment, make one payment."""
    assert trial.race().payments == 1
    seen = trial.kill(patience=60.0)
    assert (seen.payments, seen.next) == (1, "One moment. Paid.")


@pytest.mark.redis
@pytest.mark.parametrize(("trial", "payments"), [("aiogram", 2), ("ptb", 1)], indirect=["trial"])
def test_a_killed_worker_costs_a_peer_what_its_page_says(trial: Trial, payments: int) -> None:
    """After a kill aiogram pays again, and python-telegram-bot has forgotten the conversation."""
    seen = trial.kill()
    assert seen.payments == payments
    assert seen.replies == (("How much?",) if payments == 1 else ("Paid.",))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_names_the_command_that_prints_its_figures(page: Path) -> None:
    """Each page has the line of this library, and names trials that exist."""
    text = page.read_text(encoding="utf-8")
    command = re.search(r"python -m tests\.peers(?: --python \S+)?((?: [a-z-]+)+)", text)
    assert command is not None
    assert set(command[1].split()) <= set(PEERS)
    assert [title for name in command[1].split() if (title := PEERS[name].title) not in text] == []
