"""`vimbiso check`, in this process and as a process of its own."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import pytest

from tests.changed_flows import FROM_1, WAYS, Till, bot_of, errand, errand_1
from tests.cli_runs import embedded, invoke, run
from tests.digests import digests_at
from tests.engines import Server
from vimbiso_fsm import (
    Bot,
    Channel,
    Flow,
    FlowStateManager,
    Message,
    NoData,
    ReplacedBy,
    State,
    Text,
    TextTemplate,
    Transition,
    Turn,
    remind,
)
from vimbiso_fsm.store.script import DEFAULT_KEYS

pytestmark = [pytest.mark.embedded, embedded]

TEXTS = {
    f"{flow}.{step}.{button}": button
    for flow, step, buttons in (
        ("home", "menu", ("go",)),
        ("errand", "colour", ("yes",)),
        ("errand", "gift", ("yes", "no")),
        ("errand", "confirm", ("yes", "no")),
        ("pick", "fruit", ("none",)),
    )
    for button in buttons
} | {"line.empty": "Please write something."}


@pytest.fixture(autouse=True)
def _own_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))  # the command puts the current directory first


def whole(flow: Flow[Any], **options: Any) -> Bot:
    """Make a bot that lacks no text."""
    return attrs.evolve(bot_of(flow, **options), texts=TEXTS)


def package(patch: pytest.MonkeyPatch, flow: Flow[Any]) -> str:
    """Make a package for `--flows`."""
    module = ModuleType("deployed_flows")
    module.bot = whole(flow)  # type: ignore[attr-defined]
    patch.setitem(sys.modules, "deployed_flows", module)
    return "deployed_flows"


def begin(url: str, *steps: str) -> dict[str, Channel]:
    """Bring one member to each of these states of version 1."""
    till = Till()
    channels = {step: Channel("whatsapp", f"26377123450{place}") for place, step in enumerate(steps)}
    with FlowStateManager.from_url(url, whole(errand_1, till=till)) as manager:
        for step, channel in channels.items():
            if step == "paying":
                till.lost.add("@ada")
            for place, text in enumerate(WAYS[step]):
                manager.handle(Message(channel, f"{step}-{place}", text))
    return channels


def everything(server: Server) -> dict[bytes, object]:
    """Return the server's keys with their values. A hash is read by its fields: a mere look may change their order."""
    with server.client() as client:
        return {
            key: client.hgetall(key) if client.type(key) == b"hash" else client.dump(key) for key in client.scan_iter()
        }


def test_a_deploy_that_maps_every_live_step(
    valkey_server: Server, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each place of live runs is one line with what a deploy makes of it; nothing is written."""
    begin(valkey_url, *WAYS)
    before = everything(valkey_server)
    code, out, err = invoke("check", "--redis", valkey_url, "--flows", package(monkeypatch, errand()))
    assert (code, err) == (0, "")
    assert everything(valkey_server) == before
    lines = [line.rstrip().split(maxsplit=6) for line in out.splitlines()]
    assert ["errand", "1", "handle", "current", "1", "0", "goes on at recipient, version 2"] in lines
    assert ["errand", "1", "wrap", "current", "1", "0", "finishes on version 1"] in lines
    assert ["errand", "1", "gift", "current", "1", "0", "begins again at recipient, version 2"] in lines
    assert ["errand", "1", "paying", "current", "1", "1", "goes on at sending, version 2"] in lines
    assert ["errand", "1", "picking", "suspended", "1", "0", "goes on at picking, version 2"] in lines
    assert ["home", "1", "running", "suspended", "8", "0", "unchanged"] in lines
    assert out.splitlines()[-1] == "documents 8, broken 0, runs 17, without a mapping 0"


def test_a_deploy_that_would_lose_runs_fails(valkey_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run without a mapping makes the exit code 1 and is named, as text and as JSON."""
    begin(valkey_url, "colour", "paying")
    loses = errand([attrs.evolve(FROM_1, steps={**FROM_1.steps, "paying": ReplacedBy("confirm")})])
    named = package(monkeypatch, loses)
    code, out, _ = invoke("check", "--redis", valkey_url, "--flows", named)
    assert code == 1
    assert "NO MAPPING: its call is on its way, and would be lost" in out
    assert out.splitlines()[-1] == "documents 2, broken 0, runs 4, without a mapping 1"
    code, out, _ = invoke("check", "--redis", valkey_url, "--flows", named, "--json")
    found = json.loads(out)
    assert code == 1
    assert [(row["step"], row["how"], row["calls"]) for row in found["live"]["runs"] if row["flow"] == "errand"] == [
        ("colour", "migrated", 0),
        ("paying", "lost", 1),
    ]
    assert found["texts"] == []
    assert {"flow": "errand", "version": 2, "fingerprint": loses.fingerprint} in found["flows"]


def test_broken_documents_are_counted_without_personal_data(
    valkey_server: Server, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Damaged documents are counted by fault, without personal data, and do not fail a deploy."""
    channels = begin(valkey_url, "handle", "name", "colour")
    digests = digests_at(valkey_url)
    with valkey_server.client() as client:
        client.hset(DEFAULT_KEYS.member(digests.guest_id(channels["handle"]))[0].decode(), "d", b"{broken")
        key = DEFAULT_KEYS.member(digests.guest_id(channels["name"]))[0]
        client.delete(key)
        client.set(key, "no hash")
    code, out, err = invoke("check", "--redis", valkey_url, "--flows", package(monkeypatch, errand()))
    assert (code, err) == (0, "")
    assert "broken, 1: state is not what was written" in out
    assert "broken, 1: state is a string, not a hash" in out
    assert out.splitlines()[-1] == "documents 3, broken 2, runs 2, without a mapping 0"
    for channel in channels.values():
        assert channel.identifier not in out
        assert digests.guest_id(channel) not in out


def test_a_store_without_members_stays_empty(
    valkey_server: Server, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A check of an empty store writes nothing, not even the number of shards."""
    code, out, _ = invoke("check", "--redis", valkey_url, "--flows", package(monkeypatch, errand()))
    assert (code, out.splitlines()[-1]) == (0, "documents 0, broken 0, runs 0, without a mapping 0")
    assert everything(valkey_server) == {}


def test_the_bot_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a store the flows are counted, and a missing text makes the exit code 1."""
    assert invoke("check", "--flows", package(monkeypatch, errand())) == (
        0,
        "3 flows in en; no finding\n",
        "",
    )
    module = ModuleType("wordless_flows")
    module.bot = bot_of(errand_1)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wordless_flows", module)
    code, out, _ = invoke("check", "--flows", "wordless_flows")
    assert code == 1
    assert (
        "text-missing: flow 'errand': text 'errand.gift.no' in 'en': there is none; members would read the key" in out
    )
    assert json.loads(invoke("check", "--flows", "wordless_flows", "--json")[1])["live"] is None


BROKEN = """
from vimbiso_fsm import Bot, Flow, State, Text, Transition

ask = Flow(
    "ask", initial="a", version={version},
    states=[State("a", ask=Text("Well?")), State("b", say=Text("Bye."), final=True), {more}],
    transitions=[Transition("go", "a", "b")],
)
bot = Bot(ask, texts={texts})
"""


def written(folder: Path, *, version: int = 1, more: str = "", texts: object = None) -> str:
    """Write a package with a flow, and return its name."""
    text = BROKEN.format(version=version, more=more, texts=texts or {"ask.a.go": "Go"})
    (folder / "broken_flows.py").write_text(text, encoding="utf-8")
    return "broken_flows"


def test_a_finding_is_a_line_and_makes_the_exit_code_one(tmp_path: Path) -> None:
    """A fault of a bot, and of a flow that is refused when it is made, is shown with its file and line."""
    said = (
        "broken_flows.py:4: migration-missing: flow 'ask', migrations: version is 2 and there is no migration, so that "
        "open runs of older versions end; declare Migration(1, …), or silence it if no run of an older version is "
        "open\n"
    )
    assert run("check", written(tmp_path, version=2), cwd=tmp_path) == (1, f"1 flow in en; 1 fault\n{said}", "")
    name = written(tmp_path, more='State("c", final=True)')
    said = (
        "broken_flows.py:6: unreachable-state: flow 'ask', state 'c': no transition leads to it; add one or remove it"
    )
    assert run("check", name, cwd=tmp_path) == (1, f"{said}\n", "")
    code, out, err = run("check", name, "--json", cwd=tmp_path)
    (found,) = json.loads(out)["findings"]
    assert (code, err, found["file"], found["line"], found["code"]) == (
        1,
        "",
        "broken_flows.py",
        6,
        "unreachable-state",
    )
    code, out, _ = run("check", name, "--github", cwd=tmp_path)
    assert out.startswith("::error file=broken_flows.py,line=6,title=unreachable-state::flow 'ask', state 'c': no tran")


def test_missing_translations_are_advice_unless_strict(tmp_path: Path) -> None:
    """A text that another language lacks leaves the exit code at 0, and at 1 with `--strict`."""
    name = written(tmp_path, texts={"en": {"ask.a.go": "Go"}, "fr": {"ask.title": "question"}})
    code, out, _ = run("check", name, "--github", cwd=tmp_path)
    assert code == 0
    assert "::warning file=broken_flows.py,line=7,title=text-missing::flow 'ask': text 'ask.a.go' in 'fr'" in out
    code, out, _ = run("check", name, "--strict", "--json", cwd=tmp_path)
    assert (code, [each["advice"] for each in json.loads(out)["findings"]]) == (1, [False])
    assert run("check", name, "--flows", "flows", cwd=tmp_path)[0] == 2


def test_a_question_that_may_be_empty_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list that may have no rows is named with its place, as text and as JSON, and fails no deploy."""
    goods: Flow[NoData] = Flow(
        "goods",
        initial="list",
        states=[State("list", ask=Text("Which?"), rows=lambda turn: []), State("end", say=Text("Bye."), final=True)],
        transitions=[Transition("answer", "list", "end")],
    )
    module = ModuleType("goods_flows")
    module.bot = Bot(goods)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "goods_flows", module)
    code, out, err = invoke("check", "--flows", "goods_flows")
    assert (code, err) == (0, "")
    said = "may-be-empty: flow 'goods', state 'list': it may have nothing to choose from; say where 'empty' leads"
    assert said in out
    code, out, _ = invoke("check", "--flows", "goods_flows", "--json")
    assert (code, json.loads(out)["may_be_empty"]) == (0, [{"flow": "goods", "state": "list"}])


def test_a_late_text_without_a_template_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text of a long timer or a reminder without a template is advice: named as text and as JSON, and no fault."""
    told = {"whatsapp": TextTemplate("gone")}

    def planned(turn: Turn[NoData]) -> object:
        return [remind(turn.now, "a", Text("Come.")), remind(turn.now, "b", say=Text("Go.", templates=told))]

    seat: Flow[NoData] = Flow(
        "seat",
        initial="hold",
        states=[
            State("hold", ask=Text("Take it?"), timeout=60, reminds=planned),
            State("soon", ask=Text("Still?"), timeout=timedelta(days=2)),
            State("gone", say=Text("Gone.")),
            State("told", say=Text("Told.", templates=told)),
            State("next", ask=Text("Another?"), reads=str),
            State("end", say=Text("Bye."), final=True),
        ],
        transitions=[
            Transition("yes", "hold", "end"),
            Transition("timeout", "hold", "soon"),
            Transition("yes", "soon", "end"),
            Transition("timeout", "soon", "gone"),
            Transition("auto", "gone", "told"),
            Transition("auto", "told", "next"),
            Transition("answer", "next", "end"),
        ],
    )
    module = ModuleType("late_flows")
    texts = {"seat.hold.yes": "Yes", "seat.soon.yes": "Yes"}
    module.bot = Bot(seat, texts=texts)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "late_flows", module)
    code, out, _ = invoke("check", "--flows", "late_flows", "--json")
    found = {(late["state"], late["key"]) for late in json.loads(out)["late_texts"]}
    assert (code, found) == (0, {("gone", "Gone."), ("next", "Another?"), ("hold", "Come.")})
    code, out, _ = invoke("check", "--flows", "late_flows")
    assert "flow 'seat', state 'gone': 'Gone.' may come after the window of whatsapp" in out
    module.bot = Bot(seat, texts=texts, windows={})  # type: ignore[attr-defined]
    assert json.loads(invoke("check", "--flows", "late_flows", "--json")[1])["late_texts"] == []


def test_wrong_usage_and_a_server_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two stores are wrong usage; a server that cannot be reached is one line on standard error."""
    named = package(monkeypatch, errand())
    assert invoke("check", "--redis", "redis://x", "--data", tmp_path, "--flows", named)[0] == 2
    code, out, err = invoke("check", "--redis", f"unix://{tmp_path}/none", "--flows", named)
    assert (code, out) == (1, "")
    assert err.startswith("error: the store is not available")


def test_a_folder_of_ones_own_and_the_projects_flows(tmp_path: Path) -> None:
    """The bot of the repository has no fault, and a folder is checked like a server."""
    said = "13 flows in en, sn; no finding\n"  # as the page on languages says
    assert run("check", "--flows", "flows", cwd=tmp_path) == (0, said, "")
    (tmp_path / "data").mkdir()
    code, out, err = run("check", "--flows", "flows", "--data", "data", cwd=tmp_path)
    assert (code, err) == (0, "")
    assert out.endswith("documents 0, broken 0, runs 0, without a mapping 0\n")


def test_a_census_beside_live_traffic_on_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a cluster every node is asked for its members."""
    from tests.deployments import cluster
    from tests.engines import valkey_program

    with cluster(valkey_program()) as nodes:
        url = nodes.url
        begin(url, "handle", "name", "colour", "confirm")
        code, out, _ = invoke("check", "--redis", url, "--flows", package(monkeypatch, errand()))
    assert (code, out.splitlines()[-1]) == (0, "documents 4, broken 0, runs 8, without a mapping 0")
