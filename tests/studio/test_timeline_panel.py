"""The panel "Timeline" of the studio."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.studio import members
from tests.studio.members import HIDDEN, HOSTILE, NUMBER, Channels, Till, everything
from tests.web.app_client import TestClient
from vimbiso_fsm import AsyncFlowStateManager, FlowStateManager
from vimbiso_fsm.store.memory import AsyncMemoryStore, MemoryStore
from vimbiso_fsm.studio import Desk, studio_app
from vimbiso_fsm.studio.access import Access
from vimbiso_fsm.studio.timeline_rows import address

HOST = "127.0.0.1:8080"


@pytest.fixture(scope="module")
def panel() -> Iterator[tuple[TestClient, str]]:
    """A browser of the studio, and a member to whom everything has happened. Tests only read."""
    at = [1_800_000_000.0]
    till, store = Till(), MemoryStore(lambda: at[0])
    manager = FlowStateManager(
        members.bot, store, services={"till": till}, senders={"whatsapp": Channels()}, rates=None, paces={}
    )

    def later(seconds: float) -> None:
        at[0] += seconds

    member_id = everything(manager, till, later)
    looking = AsyncFlowStateManager(members.bot, AsyncMemoryStore(store), rates=None, paces={})
    access = Access(hosts=(HOST,))
    app = studio_app(Desk(members.bot, looking, package="tests.studio.members"), access)
    with TestClient(app, base_url=f"http://{HOST}", follow_redirects=False) as client:
        client.get("/", params={"token": access.token})
        yield client, member_id
        assert client.portal is not None
        client.portal.call(looking.close)


def test_a_member_is_found_by_id_and_by_address(panel: tuple[TestClient, str]):
    """The search leads to the member that an id or an address names, and tells what is wrong with another name."""
    client, member_id = panel
    search = partial(client.get, "/timeline")
    for name in (member_id, f"whatsapp:{NUMBER}", f"whatsapp:+{NUMBER[:3]} {NUMBER[3:]}"):
        found = search(params={"member": name})
        assert (found.status_code, found.headers["location"]) == (303, address(member_id)), name
    assert search().status_code == 200
    assert client.get(address("m-9")).status_code == 404
    for name in ("whatsapp:", "x" * 501, "whatsapp:\x00"):
        assert search(params={"member": name}).status_code == 404, name
    odd = search(params={"member": "a/../b?c#d"})
    assert "Nothing is stored" in client.get(odd.headers["location"]).text


def test_the_page_shows_the_conversation_and_no_secret(panel: tuple[TestClient, str]):
    """The page and each explanation have the verdicts and outcomes. Neither has a secret or a live hostile text."""
    client, member_id = panel
    whole = client.get(address(member_id)).text
    assert "right_pin" in whole
    assert "refused pin.wrong" in whole
    assert "call at payment.paying, try 2" in whole
    assert "blocked: •" in whole
    keys = re.findall(r'id="at-([^"]+)"', whole)
    assert len(keys) == len(set(keys)) > 15
    opened = [
        client.get(address(member_id, entry=key), headers={"HX-Request": "true"}).text.partition("<form")[0]
        for key in keys
    ]
    assert not any("<html" in each for each in opened)
    assert any("held back" in each for each in opened)
    assert any("no state" in each or "is not kept" in each for each in opened)
    shown = "\n".join([whole, *opened])
    assert [each for each in HIDDEN if each in shown.replace(member_id, "")] == []
    assert "<script>alert" not in shown
    assert "&lt;script&gt;alert" in shown
    assert "\\u202e" in shown
    assert not [mark for mark in HOSTILE[1][:1] + "\x07\x1b" if mark in shown]


def test_an_entry_has_an_address(panel: tuple[TestClient, str]):
    """The address of an entry shows the page with it explained. An unknown one is told, and breaks nothing."""
    client, member_id = panel
    page = client.get(address(member_id, entry=f"{member_id}/5")).text
    assert page.count("<details open>") == 1
    assert "held back" in page
    for key in ("99", "x", "/", "guest-x/1", "9" * 400, "\u202e/1"):
        assert client.get(address(member_id, entry=key)).status_code == 200, key
        fragment = client.get(address(member_id, entry=key), headers={"HX-Request": "true"})
        assert "has no entry of version" in fragment.text, key
    assert client.get(address(member_id, before="x")).status_code == 404


def test_a_version_is_forked_into_the_simulator(panel: tuple[TestClient, str]):
    """A fork leads to a simulation that stands where the member stood, and goes on there with simulated services."""
    client, member_id = panel
    live = members.bot.services["till"]
    assert isinstance(live, Till)
    post = partial(client.post, "/timeline/fork", headers={"Origin": f"http://{HOST}"})
    page = client.get(address(member_id)).text
    asked = [int(found) for found in re.findall(r'id="at-[^"/]+/(\d+)"', page)][-2]
    assert "Fork version" in client.get(address(member_id, entry=f"{member_id}/{asked}")).text
    forked = post(data={"member": member_id, "version": str(asked)})
    assert forked.status_code == 303
    app: Any = client.app
    with app.state.desk.simulations.using(forked.headers["location"].rpartition("/")[2]) as simulation:
        [phone] = simulation.phones.values()
        assert simulation.place(phone) == "payment.pin"
        simulation.say(phone, members.PIN)
        assert simulation.place(phone) != "payment.pin"
    assert live.paid == 0
    for version in ("1", "0", "x", "99", ""):
        refused = post(data={"member": member_id, "version": version})
        assert (refused.status_code, "cannot be forked" in refused.text) == (404, True), version
    assert client.post("/timeline/fork", data={"member": member_id, "version": "3"}).status_code == 403
