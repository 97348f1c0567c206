"""The panel "Timeline" of the studio in a real browser: explain an entry, by mouse and by keyboard alone."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.conftest import NARROW, WIDE, Windows, barriers
from tests.browser.studio_site import Site, studio_site
from tests.studio import members
from tests.studio.members import HIDDEN, NUMBER
from vimbiso_fsm import Channel, FlowStateManager

if TYPE_CHECKING:
    from playwright.sync_api import Page

expect: Any = pytest.importorskip("playwright.sync_api", reason="needs the package playwright").expect
expect.set_options(timeout=15_000)


@pytest.fixture
def shown(store: str) -> Generator[tuple[Site, str]]:
    """The studio of a bot, and a member to whom everything has happened."""
    member_id = members.lived(store)
    with studio_site(members.bot, store) as found:
        yield found, member_id


def fits(page: Page) -> bool:
    """Return whether the page is no wider than its window."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


def test_an_entry_is_explained(window: Windows, shown: tuple[Site, str], axe: str):
    """A member is found by their address. Explaining an entry shows each guard's verdict and the state after it."""
    site, member_id = shown
    seen = window(site.origin, viewport=WIDE)
    page = seen.context.new_page()
    page.goto(site.door)
    page.get_by_role("link", name="Timeline").click()
    page.get_by_label("Member").fill(f"whatsapp:+{NUMBER}")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text(member_id)
    refused = page.locator(".moment.refused", has_text="right_pin").first
    refused.get_by_text("Explain").click()
    expect(refused).to_contain_text("to paying: held back")
    expect(refused.get_by_role("heading", name="State after version")).to_be_visible()
    expect(page.locator(".moment", has_text="<script>alert('owned')")).to_have_count(1)
    text = page.locator("body").inner_text()
    assert [each for each in HIDDEN if each in text] == []
    assert fits(page)
    assert barriers(page, axe) == []
    seen.picture(page, "studio-timeline-wide")


def test_the_keyboard_suffices_on_a_telephone(window: Windows, shown: tuple[Site, str], axe: str):
    """On a narrow page with the dark look, an entry is found by Tab, opened by Enter and closed again."""
    site, member_id = shown
    seen = window(site.origin, viewport=NARROW, color_scheme="dark")
    page = seen.context.new_page()
    page.goto(site.door)
    page.goto(f"{site.origin}/timeline/{member_id}")
    summary = page.locator("summary").first
    for _ in range(20):
        page.keyboard.press("Tab")
        if summary.evaluate("element => element === document.activeElement"):
            break
    page.keyboard.press("Enter")
    opened = page.locator(".moment").first.locator(".opened")
    expect(opened).to_contain_text("began in")
    assert fits(page)
    assert barriers(page, axe) == []
    seen.picture(page, "studio-timeline-narrow")
    page.keyboard.press("Enter")
    expect(opened).to_be_hidden()


def test_a_version_is_forked_and_left_again(window: Windows, store: str):
    """Version 3 of a conversation goes on in the simulator, and nothing has happened to the member."""
    channel = Channel("whatsapp", "263771000777")
    with FlowStateManager.from_url(store, members.bot, rates=None) as manager:
        member_id = members.talk(manager, "hi", "10 USD", members.NAME, members.WRONG_PIN, channel=channel)
    with studio_site(members.bot, store, package="tests.studio.members") as site:
        seen = window(site.origin, viewport=WIDE)
        page = seen.context.new_page()
        page.goto(site.door)
        page.goto(f"{site.origin}/timeline/{member_id}")
        third = page.locator(".moment").nth(2)
        third.get_by_text("Explain").click()
        third.get_by_role("button", name="Fork version 3").click()
        expect(page.locator(".fork")).to_contain_text(f"of {member_id}, version 3")
        page.wait_for_load_state()  # a form that is sent before the scripts are ready leads to a page of its own
        box = page.locator(".talk").get_by_role("textbox")
        box.fill(members.PIN)
        box.press("Enter")
        expect(page.locator("#content")).to_contain_text("Paid to")
        seen.picture(page, "studio-timeline-fork")
        page.go_back()
        expect(page.get_by_role("heading", level=1)).to_contain_text(member_id)
        page.reload()
        expect(page.locator(".moment")).to_have_count(4)
        assert fits(page)
