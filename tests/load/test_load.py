"""The load over HTTP, in short."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.cli_runs import embedded
from vimbiso_fsm.channels import whatsapp

pytest.importorskip("prometheus_client", reason="needs the package prometheus_client")

from tests.load.__main__ import Measured, main, webhooks


def test_each_request_is_a_message_of_its_own() -> None:
    """No message comes twice, and each is signed as WhatsApp signs."""
    made = [request.partition(b"\r\n\r\n") for request in webhooks(30, 10, 5)]
    said = [whatsapp.parse(raw).messages[0] for _, _, raw in made]
    assert len({message.id for message in said}) == 30
    assert Counter(message.text for message in said) == {"hi": 5, "yes": 15, "back": 10}
    for head, _, raw in made:
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
        assert whatsapp.verify(headers, raw, "", secret="s")
        assert json.loads(raw)["object"] == "whatsapp_business_account"


def test_the_figures_are_those_of_the_requests() -> None:
    """Shares of the times are told in milliseconds, and each status but 200 is an error."""
    measured = Measured([0.004, 0.001, 0.002, 0.003], Counter({200: 4, 503: 2, 0: 1}), 10.0)
    assert (measured.at(0.5), measured.at(0.99), measured.errors) == (3.0, 4.0, 3)


@pytest.mark.embedded
@embedded
def test_the_command_prints_and_draws_the_figures(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A short load has no error, and prints the maximum and the times at half of it. The SVG names its command."""
    few = ["--processes", "1", "--connections", "4", "--members", "10", "--requests", "60"]
    assert main([*few, "--plots", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines[1:3]] == ["maximum", "half of it"]
    assert all(line.endswith("errors 0") for line in lines[1:3])
    drawn = Path(lines[-1].removeprefix("drawn").strip()).read_text("utf-8")
    assert f'make load ARGS="{" ".join(few)}"' in drawn.replace("- -", "--")  # in a comment, which has no two hyphens
