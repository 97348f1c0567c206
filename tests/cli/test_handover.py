"""The commands by which operators find the conversations that persons have, and speak in them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.cli_runs import invoke
from tests.engine.test_handover import BOT
from tests.engines import Server
from vimbiso_fsm import AsyncFlowStateManager, Channel, FlowStateManager, Message

bot = BOT
YOU, OTHER = Channel("whatsapp", "263771000001"), Channel("telegram", "77")


@pytest.fixture
def flows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a package with the bot."""
    package = tmp_path / "handing"
    package.mkdir()
    (package / "__init__.py").write_text("from tests.cli.test_handover import bot as bot\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return "handing"


@pytest.mark.embedded
def test_an_operator_takes_a_conversation_speaks_and_gives_it_back(flows: str, valkey_server: Server, valkey_url: str):
    """The commands do what the manager does, once per key, and say why nothing was done."""
    with FlowStateManager.from_url(valkey_url, bot, rates=None) as manager:
        member_id = manager.handle(Message(YOU, "1", "hi")).member_id
        manager.handle(Message(OTHER, "1", "hi"))
    at = ("--flows", flows, "--redis", valkey_url)
    who = ("whatsapp:263771000001", "--by", "ann", *at)
    assert json.loads(invoke("handover", "list", "--json", *at)[1]) == {"conversations": [], "unread": 0}
    assert "the bot has the conversation" in invoke("handover", "say", who[0], "Hello", *who[1:])[2]
    assert "no such inbox" in invoke("handover", "take", who[0], "nowhere", *who[1:])[2]
    assert invoke("handover", "take", who[0], "support", "--key", "a", *who[1:]) == (0, f"taken: {member_id}\n", "")
    assert invoke("handover", "take", who[0], "support", "--key", "a", *who[1:])[1] == f"taken before: {member_id}\n"
    code, _, said = invoke("handover", "take", member_id, "support", *who[1:])
    assert (code, "already" in said) == (1, True)
    assert invoke("handover", "say", who[0], "menu.left {x}", *who[1:])[:2] == (0, f"said: {member_id}\n")
    [found] = json.loads(invoke("handover", "list", "--json", *at)[1])["conversations"]
    assert (found["member_id"], found["inbox"], found["waiting"], found["tries"]) == (member_id, "support", 1, 0)
    assert found["since"] < found["until"]
    code, out, _ = invoke("handover", "list", "--inbox", "support", *at)
    assert (code, out.split()[7:9], "menu.left" in out) == (0, [member_id, "support"], False)
    assert member_id not in invoke("handover", "list", "--inbox", "other", *at)[1]
    assert invoke("handover", "back", *who)[:2] == (0, f"given back: {member_id}\n")
    assert "the bot has the conversation" in invoke("handover", "back", *who)[2]
    [found] = json.loads(invoke("handover", "list", "--json", *at)[1])["conversations"]
    assert (found["since"], found["waiting"]) == (None, 2), "what the inbox has not taken yet is listed all the same"
    assert invoke("handover", "take", "nobody", "support", *who[1:])[0] == 1

    async def listed() -> int:
        async with AsyncFlowStateManager.from_url(valkey_url, bot) as other:
            return len((await other.handed()).conversations)

    assert asyncio.run(listed()) == 1
