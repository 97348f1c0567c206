"""The operator's drill: each incident of docs/how-to/operate-at-night.md, prepared on a server, with its commands."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator

import pytest

from tests.cli.drill import MEANWHILE, PREPARED, Night, shop
from tests.cli_runs import ROOT, embedded, invoke
from tests.engines import Server
from vimbiso_fsm.testing.chat import STORE_SECRET

pytestmark = [pytest.mark.embedded, embedded]

PAGE = (ROOT / "docs" / "how-to" / "operate-at-night.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
_BLOCK = re.compile(r"<!-- (?P<meanwhile>.+?) -->|```(?P<kind>sh|text)\n(?P<lines>.*?)```", re.DOTALL)


@pytest.fixture
def night(valkey_url: str, valkey_server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Night]:
    """An empty store, that of the environment, and a bot in the package `shop`."""
    monkeypatch.setenv("VIMBISO_SECRET", STORE_SECRET)
    monkeypatch.setenv("VIMBISO_REDIS", valkey_url)
    monkeypatch.setattr(sys, "path", list(sys.path))
    found = Night(valkey_server, monkeypatch)
    found.deploy("shop", shop(found.bank))
    yield found
    with valkey_server.client() as client:
        client.config_set("maxmemory", "0")
        client.config_set("appendonly", "no")
        client.config_set("appendfsync", "everysec")


def run(night: Night, line: str) -> str:
    """Run a line of the page, and return what it prints. A worker of the bot runs for one round."""
    words = shlex.split(line, comments=True)
    if words[0] == "redis-cli":
        with night.server.client() as client:
            client.execute_command(*words[1:])
        return ""
    if words[:4] == ["vimbiso", "worker", "--flows", "shop"]:
        night.work()
        return ""
    assert words[0] == "vimbiso", line
    _, out, err = invoke(*words[1:])
    return out + err


def is_said(line: str, printed: str) -> bool:
    """Return whether a line of the page is printed, where "…" stands for anything."""
    pieces = (r"\s+".join(map(re.escape, piece.split())) for piece in line.split("…"))
    return re.search(r"\s*.*?\s*".join(pieces), printed) is not None


@pytest.mark.parametrize("title", PREPARED)
def test_the_page_mends_the_incident(title: str, night: Night) -> None:
    """The commands of the page show the incident and mend it; what they print is what the page says."""
    PREPARED[title](night)
    printed, steps = "", 0
    for block in _BLOCK.finditer(SECTIONS[title]):
        if block["meanwhile"]:
            MEANWHILE[block["meanwhile"]](night)
        for line in (block["lines"] or "").splitlines():
            if block["kind"] == "sh":
                printed += run(night, line)
                steps += 1
            else:
                assert is_said(line, printed), f"{line}\nis not in\n{printed}"
    assert steps
    if "--stuck" in SECTIONS[title]:
        code, out, _ = invoke("members", "--flows", "shop", "--stuck")
        assert (code, out.split()) == (0, ["member", "channel", "at", "since", "stuck"])


def test_each_incident_is_in_the_table() -> None:
    """The table names each incident with its place on the page."""
    for title in PREPARED:
        anchor = re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")
        assert f"| [{title}](#{anchor}) |" in PAGE
    assert {*PREPARED} < {*SECTIONS}
