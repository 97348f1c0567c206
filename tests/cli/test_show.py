"""The command that shows the timeline of a member."""

from __future__ import annotations

import json

import pytest

from tests.cli_runs import invoke
from tests.engines import Server
from tests.studio.members import HIDDEN, NUMBER, lived

FLOWS = "tests.studio.members"


@pytest.mark.embedded
def test_the_command_shows_a_timeline(valkey_server: Server, valkey_url: str):
    """`vimbiso show` prints what happened, page by page, in the terminal and as JSON, and no secret."""
    at = ("--flows", FLOWS, "--redis", valkey_url)
    member_id = lived(valkey_url)
    code, out, said = invoke("show", f"whatsapp:{NUMBER}", *at)
    assert (code, said) == (0, "")
    for words in ("guard right_pin: refused pin.wrong", "call at payment.paying, try 3", "blocked: •", "‹ How much?"):
        assert words in out
    assert "now at version" in out
    assert not [text for text in (*HIDDEN, "\u202e", "\x1b") if text in out]
    code, out, said = invoke("show", member_id, "--json", "--limit", "3", *at)
    *moments, last = map(json.loads, out.splitlines())
    assert (code, said, len(moments), last["member"], last["newer"]) == (0, "", 3, member_id, False)
    assert last["older"] == moments[0]["key"]
    earlier = invoke("show", member_id, "--json", "--limit", "3", "--before", last["older"], *at)[1]
    assert json.loads(earlier.splitlines()[2])["version"] == moments[0]["version"] - 1
    whole = invoke("show", member_id, "--json", *at)[1]
    assert not [text for text in (*HIDDEN, "\u202e", "\x1b") if text in whole]
    assert "older entries: --before" in invoke("show", member_id, "--limit", "3", *at)[1]
    code, out, said = invoke("show", member_id, "--before", "99", *at)
    assert (code, out) == (1, "")
    assert "give the version" in said
    code, out, said = invoke("show", "m-9", *at)
    assert (code, out, said) == (1, "", "error: nothing of m-9 is stored\n")
    with valkey_server.client() as client:
        [audit] = client.keys(f"*{member_id}*:audit")
        client.lset(audit, 0, "x")
    code, out, said = invoke("show", member_id, *at)
    assert (code, "How much?" in out) == (1, True)
    assert "places of the audit that hold no entry: 1" in said
