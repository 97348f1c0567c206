"""The command that says something to a member, and the reminders in the state that a command shows."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.cli_runs import invoke
from tests.engines import Server
from vimbiso_fsm import SECRET, Bot, Channel, Flow, FlowStateManager, Message, NoData, State, Text, Transition, remind
from vimbiso_fsm.channels import OptedOut

YOU = Channel("whatsapp", "263771000001")


@attrs.frozen
class Pin:
    """The data of the flow that a reminder opens."""

    pin: str = attrs.field(default="", metadata=SECRET)
    day: str = ""


asks = Flow(
    "asks", data=Pin, initial="ask",
    states=[State("ask", ask=Text("Day?"), reads=str, into="day"), State("end", final=True)],
    transitions=[Transition("answer", "ask", "end")],
)  # fmt: skip


def later(turn: Any) -> Any:
    """Set a reminder with a secret in its data."""
    data = Pin("4711", "monday")
    return turn.changes(reminders=[remind(turn.now + timedelta(days=1), "k", flow=asks, data=data)])


menu: Flow[NoData] = Flow(
    "menu", initial="ask",
    states=[State("ask", ask=Text("Menu")), State("done", ask=Text("Done"))],
    transitions=[Transition("go", "ask", "done", prepare=later), Transition("home", "done", "ask")],
)  # fmt: skip
bot = Bot([menu, asks])
silent = attrs.evolve(bot, windows={"whatsapp": 1.0})
"""The same with a window that is over at once."""


@pytest.fixture
def flows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a package with the bot."""
    package = tmp_path / "reminding"
    package.mkdir()
    (package / "__init__.py").write_text("from tests.cli.test_tell import bot as bot\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return "reminding"


@pytest.mark.embedded
def test_words_are_told_once_and_reminders_are_listed(flows: str, valkey_server: Server, valkey_url: str):
    """`tell` says words once under a key, and `state` lists the reminders with secret data masked."""
    with FlowStateManager.from_url(valkey_url, bot, rates=None) as manager:
        manager.handle(Message(YOU, "1", "hi"))
        member_id = manager.handle(Message(YOU, "2", "go")).state.member_id
    at = ("--flows", flows, "--redis", valkey_url)
    assert invoke("tell", member_id, "We close.", "--key", "c", *at) == (0, f"told: {member_id}\n", "")
    assert invoke("tell", "whatsapp:263771000001", "We close.", "--key", "c", *at)[:2] == (
        0, f"told before: {member_id}\n",
    )  # fmt: skip
    code, _, said = invoke("tell", member_id, "We open.", "--key", "c", *at)
    assert code == 1
    assert "other words" in said
    code, _, said = invoke("tell", "nobody", "We open.", *at)
    assert code == 1
    assert "unknown member" in said
    assert invoke("tell", member_id, "", *at)[0] != 0
    code, out, _ = invoke("state", member_id, *at)
    [reminder] = json.loads(out)["_reminders"]
    assert (code, reminder["key"], reminder["flow"], reminder["data"]["day"]) == (0, "k", "asks", "monday")
    assert "4711" not in out


@pytest.mark.embedded
def test_words_that_do_not_reach_the_member_now_are_told(tmp_path: Path, flows: str, valkey_url: str):
    """The operator is told that words wait because the window is over, or that the member wants no messages."""
    (tmp_path / "reminding" / "__init__.py").write_text("from tests.cli.test_tell import silent as bot\n")
    sys.modules.pop("reminding", None)
    with FlowStateManager.from_url(valkey_url, silent) as manager:
        member = manager.handle(Message(YOU, "1", "hi")).member_id
        at = ("--flows", flows, "--redis", valkey_url)
        code, out, _ = invoke("tell", member, "Hello.", *at)
        assert (code, "the words wait for the member's next message" in out) == (0, True)
        assert manager.handle_event(OptedOut(id="o", channel=YOU)).status == "advanced"
        code, _, said = invoke("tell", member, "Hello.", *at)
        assert (code, "they want no messages, or have no channel" in said) == (1, True)
