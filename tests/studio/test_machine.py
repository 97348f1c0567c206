"""The panel "Machine" over HTTP: its pages and parts, on a store in memory and on hostile texts."""

from __future__ import annotations

import itertools
import re
from collections.abc import Generator

import attrs
import pytest

from flows import bot as vimbisopay
from tests.web.app_client import TestClient
from vimbiso_fsm import AsyncFlowStateManager, Channel, Message
from vimbiso_fsm.check.diagram import declared_flows
from vimbiso_fsm.errors import DamagedDocument
from vimbiso_fsm.studio import Desk, studio_app
from vimbiso_fsm.studio import machine as panel
from vimbiso_fsm.studio.access import POLICY, Access
from vimbiso_fsm.studio.machine import DRAWING_POLICY

HOST = "127.0.0.1:8080"
NUMBERS = itertools.count()
WHO = Channel("whatsapp", "263771000001")
HOSTILE = ["<script>alert(1)</script>", "\u202eevil", "x" * 10_000, "'\"><img src=x>", "{{ 7*7 }}", "\ud800"]


@attrs.frozen
class Studio:
    """A browser that has opened the studio of a live store."""

    client: TestClient
    manager: AsyncFlowStateManager

    def say(self, *texts: str) -> str:
        """Let a member write messages, and return their id."""
        assert self.client.portal is not None
        for text in texts:
            self.client.portal.call(self.manager.handle, Message(WHO, str(next(NUMBERS)), text))
        member = self.client.portal.call(self.manager.member_of, WHO)
        assert member is not None
        return member

    def get(self, path: str, status: int = 200, **parameters: str | int) -> str:
        """Return the text of a page or a part."""
        response = self.client.get(path, params=parameters)
        assert response.status_code == status
        return response.text


@pytest.fixture
def studio() -> Generator[Studio]:
    """A studio of VimbisoPay, on a store in memory."""
    manager = AsyncFlowStateManager.in_memory(vimbisopay)
    access = Access(hosts=(HOST,))
    with TestClient(studio_app(Desk(vimbisopay, manager), access), base_url=f"http://{HOST}") as client:
        client.get("/", params={"token": access.token})
        yield Studio(client, manager)


def test_each_flow_has_a_page(studio: Studio) -> None:
    """The overview leads to each flow, whose page names each state and leads to each transition."""
    overview = studio.get("/machine")
    for flow in declared_flows(vimbisopay):
        assert f'href="/machine/{flow.name}"' in overview
        shown = studio.get(f"/machine/{flow.name}")
        assert all(f'data-draws="state_{state.name}"' in shown for state in flow.states)
        ways = sum(len(way.sources) for way in flow.transitions)
        assert len(re.findall('id="way_', shown)) == ways
    assert studio.get("/machine/offer/edges/0").count("<tr>") == 3  # the heading and two guards
    for path in ("/machine/none", "/machine/none/marks", "/machine/offer/edges/999", "/machine/offer/edges/x"):
        studio.get(path, 404)


def test_only_the_pages_that_draw_may_compile(studio: Studio) -> None:
    """The pages of this panel may compile WebAssembly; no other page may, and nothing may be inline."""
    for path in ("/machine", "/machine/offer"):
        assert studio.client.get(path).headers["content-security-policy"] == DRAWING_POLICY
    assert DRAWING_POLICY != POLICY
    for path in ("/machine/offer/marks", "/board", "/simulator"):
        assert studio.client.get(path).headers["content-security-policy"] == POLICY
    shown = re.sub('data-dot="[^"]*"', "", studio.get("/machine/offer"))
    assert not re.search(r"<script(?! src=)|<style| style=| on[a-z]+=", shown)


def test_the_place_of_a_member_is_marked(studio: Studio) -> None:
    """The state in which a member stands, the way that they went last and the buttons that they see are marked."""
    member = studio.say("hi", "offer", "1", "alan")
    shown = studio.get("/machine/offer", member=member)
    assert re.findall('data-draws="(state_[a-z]+)" data-marks="here"', shown) == ["state_confirm"]
    assert re.findall('data-draws="(edge_[0-9]+)" data-marks="last', shown) == ["edge_2"]
    assert len(re.findall('data-marks="press"', shown)) >= 2
    assert "checking" in studio.get("/machine/offer", member=member, edge=2)
    assert "in another flow" in studio.get("/machine/dashboard", member=member)
    assert "accepted" in studio.get("/machine/offer/edges/1", member=studio.say("no", "offer", "1", "alan"))


def test_the_same_marks_are_not_sent_twice(studio: Studio) -> None:
    """A page that shows the latest state gets nothing, and one that does not gets the marks."""
    member = studio.say("hi")
    shown = studio.get("/machine/dashboard/marks", member=member)
    found = re.search("&#34;seen&#34;: &#34;([0-9a-f]{16})", shown)
    assert found
    assert studio.get("/machine/dashboard/marks", 204, member=member, seen=found[1]) == ""
    studio.say("offer")
    studio.get("/machine/dashboard/marks", member=member, seen=found[1])


def test_all_members_are_counted(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    """Members and transitions are counted as `vimbiso check` and `vimbiso diagram` count them, up to a bound."""
    monkeypatch.setattr(panel, "_REST", 0)
    studio.say("hi", "offer")
    shown = studio.get("/machine/offer/marks")
    assert "document of members counted. Transitions since" in shown
    assert "1 member" in shown[: shown.index("<h2")]
    assert shown.count(">never<") == sum(len(way.sources) for way in vimbisopay.flow("offer").transitions)
    monkeypatch.setattr(panel, "MOST_COUNTED", 0)
    monkeypatch.setattr(panel, "_REST", 10**6)
    studio.get("/machine/offer/marks")
    monkeypatch.setattr(panel, "MOST_COUNTED", 500)
    assert "Only 0 documents of members counted; the store has more." in studio.get("/machine/offer/marks")


@pytest.mark.parametrize("text", HOSTILE, ids=["script", "right-to-left", "long", "quote", "template", "half"])
def test_hostile_names_are_shown_as_texts(studio: Studio, text: str) -> None:
    """A member of any name is unknown, and the name is no markup."""
    raw = text.encode("utf-8", "surrogatepass")
    response = studio.client.get("/machine/offer?member=" + "".join(f"%{byte:02x}" for byte in raw))
    assert response.status_code == 200
    assert "The store has no conversation of this member." in response.text
    assert "<script>alert" not in response.text
    assert "<img" not in response.text


def test_a_damaged_document_is_told(studio: Studio) -> None:
    """A document that cannot be read has no place, and the page says why."""

    async def state(member_id: str) -> None:
        raise DamagedDocument(member_id, "it is torn")

    member = studio.say("hi")
    object.__setattr__(studio.manager, "state", state)
    assert "cannot be shown (DamagedDocument)" in studio.get("/machine/offer", member=member)


def test_the_form_names_the_flow(studio: Studio) -> None:
    """The form of a page leads to the page of the flow that was chosen, with the member."""
    response = studio.client.get("/machine/offer?flow=login&member=m%2D1", follow_redirects=False)
    assert (response.status_code, response.headers["location"]) == (303, "/machine/login?member=m-1")


@pytest.fixture
def simulated(studio: Studio) -> Generator[Studio]:
    """A studio whose simulator has a chat in which an offer is to be confirmed."""
    desk = Desk(vimbisopay)
    access = Access(hosts=(HOST,))
    with desk.simulations.using("own") as simulation:
        phone = simulation.open("whatsapp:263771000001")
        for text in ("hi", "offer", "1", "alan"):
            simulation.say(phone, text)
    with TestClient(
        studio_app(desk, access), base_url=f"http://{HOST}", headers={"origin": f"http://{HOST}"}
    ) as client:
        client.get("/", params={"token": access.token})
        yield Studio(client, studio.manager)


CHAT = "own/whatsapp:263771000001"


def test_a_button_is_pressed_in_a_simulation(simulated: Studio) -> None:
    """The edge of a button that a simulated chat shows has a form, which presses it."""
    shown = simulated.get("/machine/offer", chat=CHAT)
    assert f'<option value="{CHAT}" selected>' in shown
    assert re.findall('data-draws="(state_[a-z]+)" data-marks="here"', shown) == ["state_confirm"]
    edge = simulated.get("/machine/offer/edges/5", chat=CHAT)
    assert "Press no" in edge
    headers = {"hx-request": "true"}
    pressed = simulated.client.post(f"/machine/offer/edges/5?chat={CHAT}", data={"trigger": "no"}, headers=headers)
    assert (pressed.status_code, pressed.headers["hx-trigger"]) == (200, "pressed")
    assert "The conversation went this way." in pressed.text
    assert "in another flow" in simulated.get("/machine/offer/marks", chat=CHAT)
    again = simulated.client.post(f"/machine/offer/edges/5?chat={CHAT}", data={"trigger": "no"})
    assert (again.status_code, again.text[:12]) == (409, "Not pressed:")


def test_a_browser_without_scripts_presses_too(simulated: Studio) -> None:
    """Its form leads back to the page, with the edge."""
    pressed = simulated.client.post(f"/machine/offer/edges/5?chat={CHAT}", data={"trigger": "no"})
    assert (pressed.status_code, pressed.url.path) == (200, "/machine/offer")
    assert "The conversation went this way." in pressed.text


@pytest.mark.parametrize("chat", [*HOSTILE[:5], "own/none", "fork-9/whatsapp:1", "/"])
def test_a_chat_that_is_not_there_is_told(simulated: Studio, chat: str) -> None:
    """The name of a chat may be any text, and nothing is pressed in one that is not there."""
    shown = simulated.get("/machine/offer", chat=chat)
    assert "There is no such chat in the simulator." in shown
    assert "<script>alert" not in shown
    pressed = simulated.client.post("/machine/offer/edges/5", params={"chat": chat}, data={"trigger": "no"})
    assert (pressed.status_code, pressed.text) == (409, "There is no such chat in the simulator.")


def test_nothing_is_pressed_on_a_live_store(studio: Studio) -> None:
    """A button of a member is shown and cannot be pressed."""
    member = studio.say("hi", "offer", "1", "alan")
    assert "presses none of a live store" in studio.get("/machine/offer/edges/5", member=member)
    assert "<form" not in studio.get("/machine/offer/edges/5", member=member)
    headers = {"origin": f"http://{HOST}"}
    pressed = studio.client.post(f"/machine/offer/edges/5?member={member}", data={"trigger": "no"}, headers=headers)
    assert pressed.status_code == 409
    assert 'data-marks="here"' in studio.get("/machine/offer", member=member)
