"""The commands that change which channels lead to a member."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from tests.cli_runs import invoke
from tests.engines import Server
from tests.operations.test_link import Till, member, payments
from vimbiso_fsm import Bot, Channel, FlowStateManager, Message
from vimbiso_fsm.store.requests import Link

PHONE, CHAT = "whatsapp:263771000001", "telegram:77"


@pytest.fixture
def flows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a package with the bot."""
    package = tmp_path / "paying"
    package.mkdir()
    code = "from tests.operations.test_link import Till, payments\nfrom vimbiso_fsm import Bot\n"
    (package / "__init__.py").write_text(code + "bot = Bot(payments, services={'till': Till()})\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return "paying"


@pytest.mark.embedded
def test_the_commands_say_what_they_did(flows: str, valkey_server: Server, valkey_url: str):
    """`link`, `unlink`, `relink` and `merge` print the result, end with 1 on an error, and may be repeated."""
    with FlowStateManager.from_url(valkey_url, Bot(payments), services={"till": Till()}) as manager:
        for member_id, channel in (("m-1", Channel("whatsapp", "263771000001")), ("m-2", Channel("sms", "2"))):
            manager.save(attrs.evolve(member(member_id, channel), version=0))
            manager.ask(Link(channel, member_id))
        manager.handle(Message(Channel("telegram", "77"), "1", "hello"))
    at = ("--flows", flows, "--redis", valkey_url)
    assert invoke("link", "m-1", CHAT, *at) == (0, "linked: m-1\na flow that was open has ended: payments\n", "")
    assert invoke("link", PHONE, CHAT, *at) == (0, "unchanged: m-1\n", "")
    code, out, said = invoke("link", "m-2", CHAT, *at)
    assert (code, out) == (1, "")
    assert "linked to member 'm-1'" in said
    assert invoke("relink", "m-2", CHAT, *at) == (0, "linked: m-2, taken from m-1\n", "")
    assert invoke("unlink", "m-2", CHAT, *at) == (0, "unlinked: m-2\n", "")
    assert invoke("unlink", "m-2", CHAT, *at) == (0, "unchanged: m-2\n", "")
    merged = "merged: m-2 into m-1, channels taken over: 1\n"
    assert invoke("merge", "m-2", PHONE, *at) == (0, merged, "")
    code, _, said = invoke("unlink", "m-2", "sms:2", *at)
    assert code == 1
    assert "merged into member 'm-1'" in said
    code, _, said = invoke("link", "m-1", "nonsense", *at)
    assert code == 2
    assert "TYPE:IDENTIFIER" in said
