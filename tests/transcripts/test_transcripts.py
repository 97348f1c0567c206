"""The conversations of VimbisoPay on each channel, compared with their transcripts.

`pytest tests/transcripts/test_transcripts.py --rewrite-transcripts` writes the transcripts again. Read them before you
commit them.
"""

from __future__ import annotations

import pytest

import flows
from tests.transcripts.player import CHANNELS, SCRIPTS, play

NAMES = sorted(path.stem for path in SCRIPTS.glob("*.txt"))


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("name", NAMES)
def test_each_step_is_as_in_the_transcript(name: str, channel: str, request: pytest.FixtureRequest) -> None:
    """Each reply, state and call is as the transcript says."""
    written = SCRIPTS.with_name(channel) / f"{name}.txt"
    played = play((SCRIPTS / f"{name}.txt").read_text(encoding="utf-8"), channel)
    if request.config.getoption("--rewrite-transcripts"):
        written.parent.mkdir(exist_ok=True)
        written.write_text(played, encoding="utf-8")
    assert played.splitlines() == written.read_text(encoding="utf-8").splitlines()


def test_every_transcript_has_its_script() -> None:
    """Each transcript belongs to a script."""
    for channel in CHANNELS:
        assert sorted(path.stem for path in SCRIPTS.with_name(channel).glob("*.txt")) == NAMES


def test_every_question_is_met() -> None:
    """The scripts reach each question of each flow."""
    written = "\n".join(path.read_text(encoding="utf-8") for path in SCRIPTS.with_name("whatsapp").glob("*.txt"))
    asked = {f"{flow.name}.{state.name}" for flow in flows.bot.flows for state in flow.states if state.asks}
    asked = {place for place in asked if not place.startswith("prove_number.")}  # see tests/vimbisopay/test_numbers.py
    met = {line[2:].partition(";")[0] for line in written.splitlines() if line.startswith("= ")}
    calls = {f"{flow.name}.{state.name}" for flow in flows.bot.flows for state in flow.states if state.call}
    assert asked - calls - met == set()
