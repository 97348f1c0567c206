"""The board of the studio in a real browser: read, by keyboard alone, and with what hostile members have written."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from tests.bots import fruit_bot
from tests.browser.conftest import NARROW, WIDE, Windows, barriers
from tests.browser.studio_site import Site, studio_site
from vimbiso_fsm import Channel, FlowStateManager, Message
from vimbiso_fsm.audit.entries import Incident
from vimbiso_fsm.document.ids import instant
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.store.requests import Heartbeat, Lease, Load, RecordIncident, SetWakeUp, Stored

if TYPE_CHECKING:
    from playwright.sync_api import Page

expect: Any = pytest.importorskip("playwright.sync_api", reason="needs the package playwright").expect
expect.set_options(timeout=15_000)

HOSTILE = "<script>alert('owned')</script><img src=x onerror=alert(1)>\u202eevil " + "x" * 10_000


@pytest.fixture
def site(store: str) -> Generator[Site]:
    """The studio of a bot, with a member who is stuck, a dead worker, late members and a hostile incident."""
    bot = fruit_bot()
    with AtomicStateManager.from_url(store) as found:
        manager = FlowStateManager(bot, found, rates=None)
        member_id = ""
        for number in range(12):
            texts = ["hi", "order", *["two words"] * (3 if number == 5 else 0)][: 2 + number]
            for place, text in enumerate(texts):
                message = Message(Channel("telegram", str(number)), f"{number}-{place}", text)
                member_id = manager.handle(message).member_id
        stored = found.perform(Load(member_id))
        assert isinstance(stored, Stored)
        found.perform(SetWakeUp(member_id, stored.head, stored.at - 90))
        found.perform(Heartbeat("worker of this machine 4711", 600.0))
        for shard in range(600):
            found.perform(Lease(shard, "worker of this machine 4711" if shard else HOSTILE, 600.0))
        facts = {"key": "index", "words": HOSTILE}
        found.perform(RecordIncident(None, Incident(instant(time.time()), "damage", detail=facts).body))
    with studio_site(bot, store) as shown:
        yield shown


def counted(page: Page) -> None:
    """Wait until both parts of the board are there."""
    expect(page.get_by_text("12 members", exact=False)).to_be_visible()
    expect(page.get_by_role("heading", name="Incidents of the store")).to_be_visible()


def fits(page: Page) -> bool:
    """Return whether the page is no wider than its window."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


def test_the_board_shows_who_is_stuck(window: Windows, site: Site, axe: str):
    """The stuck member, the dead worker and the late member stand there; hostile words are words."""
    seen = window(site.origin, viewport=WIDE)
    page = seen.context.new_page()
    page.goto(site.door)
    counted(page)
    expect(page.get_by_text("refused 3 times in a row")).to_be_visible()
    expect(page.get_by_text("1 member has been due for more than 1 min.")).to_be_visible()
    expect(page.get_by_text("<script>alert('owned')", exact=False).first).to_be_visible()
    assert page.locator("script[src^='/static/']").count() == page.locator("script").count()
    assert page.locator("img").count() == 0
    assert fits(page)
    assert barriers(page, axe) == []
    seen.picture(page, "studio-board-wide")


def test_the_keyboard_suffices_on_a_telephone(window: Windows, site: Site, axe: str):
    """On a narrow page with the dark look, Tab and Enter count again and lead to the timeline of a stuck member."""
    seen = window(site.origin, viewport=NARROW, color_scheme="dark")
    page = seen.context.new_page()
    page.goto(site.door)
    counted(page)
    assert fits(page)
    assert barriers(page, axe) == []
    seen.picture(page, "studio-board-narrow")
    tab_to(page, "#count-again")
    page.keyboard.press("Enter")
    counted(page)
    expect(page.locator("#count-again")).to_be_focused()  # it is kept through the change of the page
    tab_to(page, "#stuck-1")
    page.keyboard.press("Enter")
    page.wait_for_url("**/timeline/**")
    expect(page.get_by_role("heading", level=1)).to_be_visible()


def tab_to(page: Page, wanted: str) -> None:
    """Press Tab until an element has the focus."""
    for _ in range(40):
        if page.evaluate("wanted => document.activeElement.matches(wanted)", wanted):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{wanted} is not reached by Tab")
