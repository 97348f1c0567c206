"""The command that exports all of a member."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import attrs
import pytest

from tests.cli.test_link import flows
from tests.cli_runs import invoke
from tests.engines import Server
from tests.operations.test_link import WHATSAPP, Till, member, payments
from vimbiso_fsm import Bot, FlowStateManager, Message
from vimbiso_fsm.store.requests import Link

__all__ = ["flows"]


@pytest.mark.embedded
def test_the_command_prints_or_writes_one_json_value(
    flows: str, valkey_server: Server, valkey_url: str, tmp_path: Path
):
    """`vimbiso export` prints one JSON value or writes it to a new private file, and says what it cannot read."""
    with FlowStateManager.from_url(valkey_url, Bot(payments), services={"till": Till()}) as manager:
        manager.save(attrs.evolve(member("m-1", WHATSAPP), version=0))
        manager.ask(Link(WHATSAPP, "m-1"))
        for text in ("hi", "5"):
            manager.handle(Message(WHATSAPP, text, text))
    at = ("--flows", flows, "--redis", valkey_url)
    code, out, said = invoke("export", f"whatsapp:{WHATSAPP.identifier}", *at)
    assert (code, said) == (0, "")
    value = json.loads(out)
    assert (value["member"], len(value["conversations"][0]["turns"])) == ("m-1", 4)
    file = tmp_path / "m-1.json"
    assert invoke("export", "m-1", "--to", str(file), *at) == (0, f"m-1 written to {file}\n", "")
    assert json.loads(file.read_text())["conversations"] == value["conversations"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    code, out, said = invoke("export", "m-1", "--to", str(file), *at)
    assert (code, out) == (1, "")
    assert "exists; name a new file" in said
    code, out, said = invoke("export", "m-9", "--to", str(tmp_path / "none"), *at)
    assert (code, out, (tmp_path / "none").exists()) == (1, "", False)
    assert "m-9" in said
    with valkey_server.client() as client:
        [audit] = client.keys("*m-1*:audit")
        client.lset(audit, 0, "x")
    code, out, said = invoke("export", "m-1", *at)
    assert (code, len(json.loads(out)["conversations"][0]["turns"])) == (1, 4)
    assert said == "m-1: places of the audit that hold no entry: 1\n"
