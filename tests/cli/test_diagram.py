"""`vimbiso diagram`."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from tests.cli_runs import embedded, invoke
from vimbiso_fsm import Channel, FlowStateManager, Message
from vimbiso_fsm.flow.bot import Bot

pytestmark = [pytest.mark.embedded, embedded]


@pytest.fixture(autouse=True)
def _own_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))  # the command puts the current directory first


def test_a_flow_is_printed_for_mermaid_or_graphviz() -> None:
    """The diagram is all that is printed, so that it can be piped."""
    code, out, err = invoke("diagram", "offer", "--flows", "flows")
    assert (code, err) == (0, "")
    assert out.startswith("stateDiagram-v2\n")
    assert "    amount --> handle : answer [within_limit, affordable]\n" in out
    code, out, err = invoke("diagram", "offer", "--flows", "flows", "--dot")
    assert (code, err) == (0, "")
    assert out.startswith('digraph "offer" {')
    code, out, err = invoke("diagram", "--all", "--flows", "flows")
    assert (code, err) == (0, "")
    assert "    offer --> choose_account : paying\n" in out


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        (["nowhere"], 1, "the bot has no flow nowhere; known are accept_offer,"),
        ([], 2, "name a flow, or give --all; the bot has dashboard, offer,"),
        (["offer", "--all"], 2, "--all shows the flows of the bot"),
        (["offer", "--dot", "--svg", "x.svg"], 2, "--dot and --svg are two forms"),
        (["offer", "--coverage", "none.json"], 1, "--coverage none.json: No such file or directory"),
        (["offer", "--coverage", "c.json", "--data", "d"], 2, "name two counts"),
    ],
)
def test_wrong_usage_is_told(
    given: list[str], code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong name or combination is answered with what there is, or what to leave out."""
    monkeypatch.chdir(tmp_path)
    got, out, err = invoke("diagram", *given, "--flows", "flows")
    assert (got, out) == (code, "")
    assert said in err


def test_a_bot_of_one_flow_needs_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """The only flow of a bot is meant where none is named."""
    from tests.bots import pick

    module = type(sys)("one_flow_bot")
    module.bot = Bot([pick])  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "one_flow_bot", module)
    code, out, _ = invoke("diagram", "--flows", "one_flow_bot")
    assert code == 0
    assert out.startswith("stateDiagram-v2\n")


def test_transitions_are_counted_by_the_audit(tmp_path: Path) -> None:
    """Each transition has the number of its steps in the audit of all members; the others are marked."""
    data = tmp_path / "data"
    from flows import bot

    with FlowStateManager.embedded(data, bot) as manager:
        for number in ("263771000001", "263771000002"):
            for place, text in enumerate(("hi", "offer", "1 USD")):
                manager.handle(Message(Channel("whatsapp", number), f"{number}-{place}", text))
    code, out, err = invoke("diagram", "offer", "--flows", "flows", "--data", data)
    assert (code, err) == (0, "")
    assert "    amount --> handle : answer [within_limit, affordable] ×2\n" in out
    assert "    confirm --> creating : yes, never fired\n" in out


def test_transitions_are_counted_by_a_file(tmp_path: Path) -> None:
    """A file of counts marks the transitions; one of another form is refused."""
    file = tmp_path / "walk.json"
    file.write_text(
        json.dumps([{"flow": "offer", "source": "confirm", "trigger": "yes", "dest": "creating", "fired": 7}])
    )
    code, out, _ = invoke("diagram", "offer", "--flows", "flows", "--coverage", file)
    assert code == 0
    assert "confirm --> creating : yes ×7\n" in out
    for wrong in ("", "7", "[7]", '[{"flow": "offer"}]', "[" * 100_000):
        file.write_text(wrong)
        code, out, err = invoke("diagram", "offer", "--flows", "flows", "--coverage", file)
        assert (code, out) == (1, "")
        assert "it is no list of objects with flow, source, trigger, dest and fired" in err


def test_a_picture_is_written_by_graphviz(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The picture is an SVG file; without Graphviz the error says what to install."""
    file = tmp_path / "offer.svg"
    if shutil.which("dot") is not None:
        code, out, err = invoke("diagram", "offer", "--flows", "flows", "--svg", file)
        assert (code, out, err) == (0, "", "")
        assert file.read_text().startswith("<svg")
        code, _, err = invoke("diagram", "offer", "--flows", "flows", "--svg", tmp_path / "none" / "offer.svg")
        assert code == 1
        assert "No such file or directory" in err
    monkeypatch.setenv("PATH", str(tmp_path))
    code, _, err = invoke("diagram", "offer", "--flows", "flows", "--svg", file)
    assert code == 1
    assert "--svg needs the program dot of Graphviz" in err
