"""`vimbiso owner`."""

from __future__ import annotations

import pytest

from tests.cli_runs import invoke
from vimbiso_fsm import AnotherBotsStore, Bot, Flow, FlowStateManager, NoData, State, Text, Transition
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.store.requests import Claim

pytestmark = pytest.mark.embedded


def bot(name: str) -> Bot:
    """Make a bot with one flow of its own."""
    flow: Flow[NoData] = Flow(
        "desk", initial="ask",
        states=[State("ask", ask=Text("?")), State("end", say=Text("Done."), final=True)],
        transitions=[Transition("yes", "ask", "end")],
    )  # fmt: skip
    return Bot(flow, name=name)


def test_a_store_is_handed_over(valkey_url: str):
    """The command shows the owner of a namespace and takes it away, so that another bot can start."""
    where = ("--redis", valkey_url, "--namespace", "desk")
    assert invoke("owner", *where)[:2] == (0, "no owner\n")
    with FlowStateManager.from_url(valkey_url, bot("bank"), namespace="desk") as manager:
        manager.start()
    assert invoke("owner", *where)[1].startswith("bot 'bank'; layout ")
    assert invoke("owner", "--redis", valkey_url)[1] == "no owner\n"
    with FlowStateManager.from_url(valkey_url, bot("clinic"), namespace="desk") as other:
        with pytest.raises(AnotherBotsStore):
            other.start()
        code, out, _ = invoke("owner", *where, "--release")
        assert (code, out.splitlines()[-1]) == (0, "released")
        other.start()
    assert "clinic" in invoke("owner", *where)[1]


def test_a_record_that_cannot_be_read_can_be_released(valkey_url: str):
    """What stands in the record is not printed."""
    with AtomicStateManager.from_url(valkey_url) as store:
        store.perform(Claim(b"{SECRET", None))
    code, out, _ = invoke("owner", "--redis", valkey_url, "--release")
    assert code == 0
    assert "SECRET" not in out
    assert out.splitlines()[-1] == "released"


def test_a_namespace_of_another_form_is_wrong_usage(valkey_url: str):
    """The form is named before the server is asked."""
    code, _, err = invoke("owner", "--redis", valkey_url, "--namespace", "a:b")
    assert code == 2
    assert "part of every key" in " ".join(err.replace("│", " ").split())
