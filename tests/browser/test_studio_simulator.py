"""The panel "Simulator" of the studio in a real browser: a whole offer, the clock, the faults, and the saved test."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from flows import bot as vimbisopay
from tests.browser.conftest import NARROW, WIDE, Watched, Windows, barriers
from tests.browser.studio_site import Site, studio_site
from vimbiso_fsm.testing import Conversation

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

expect: Any = pytest.importorskip("playwright.sync_api", reason="needs the package playwright").expect
expect.set_options(timeout=15_000)

ROOT: Final = Path(__file__).parents[2]
ADA: Final = "whatsapp:263771000001"
ALAN: Final = "sms:263771000002"
HOSTILE: Final = ("<script>alert(1)</script><img src=x onerror=alert(2)>", "abc\u202ecba\u2066", "x" * 10_000)


@pytest.fixture
def site() -> Generator[Site]:
    """The studio of VimbisoPay without a live store."""
    with studio_site(vimbisopay) as found:
        yield found


@pytest.fixture(params=[WIDE, NARROW], ids=["wide", "narrow"])
def seen(window: Windows, site: Site, request: pytest.FixtureRequest) -> Watched:
    """A window of a developer."""
    found: Watched = window(site.origin, viewport=request.param)
    return found


def opened(seen: Watched, site: Site, path: str = "/simulator") -> Page:
    """Open the simulator."""
    page = seen.context.new_page()
    page.goto(site.door)
    page.goto(f"{site.origin}{path}")
    return page


def chat(page: Page, name: str) -> Locator:
    """Open a chat."""
    type, _, identifier = name.partition(":")
    page.get_by_label("Channel").select_option(type)
    page.get_by_label("Identifier").fill(identifier)
    page.get_by_role("button", name="Open a chat").click()
    found = page.locator(".phone", has_text=name)
    expect(found).to_be_visible()
    return found


def say(phone: Locator, text: str, fault: str = "") -> None:
    """Type a message, and send it by the Enter key."""
    meets(phone, fault)
    field = phone.get_by_placeholder("Message")
    field.fill(text)
    field.press("Enter")
    expect(field).to_have_value("")


def meets(phone: Locator, fault: str) -> None:
    """Choose the fault of the next message."""
    if fault:
        phone.get_by_label("The next message").select_option(fault)


def replies(phone: Locator) -> list[str]:
    """Return what the bot has said, oldest first."""
    return [*phone.locator(".line.replied .bubble").all_inner_texts()]


def test_an_offer_is_chatted_with_faults_and_saved(
    seen: Watched, site: Site, axe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state moves, time passes by a button, no fault loses a word, and the saved test passes."""
    page = opened(seen, site)
    phone = chat(page, ADA)
    place = phone.locator(".place")
    say(phone, "hi")
    expect(place).to_have_text("dashboard.menu")
    say(phone, "offer", "lost")
    expect(place).to_have_text("offer.amount")
    say(phone, "10 USD", "twice")
    expect(place).to_have_text("offer.handle")
    say(phone, "alan", "unsent")
    expect(place).to_have_text("offer.confirm")
    expect(phone.locator("dd").nth(1)).to_have_text("•")
    meets(phone, "dies")
    phone.get_by_role("button", name="Yes, offer it").click()
    expect(place).to_have_text("dashboard.menu")
    phone.get_by_role("button", name="Deliver the latest message again").click()
    expect(phone.locator(".line").last).to_contain_text("duplicate")
    said = replies(phone)
    assert len(said) == len(set(said)) == 6
    assert said[4].startswith("Your offer was made: 10.00 USD")
    phone.get_by_placeholder("Message").fill("half a mess")
    other = chat(page, ALAN)
    say(other, "hi")
    expect(phone.get_by_placeholder("Message")).to_have_value("half a mess")
    expect(other.locator(".kind").last).to_contain_text("2 segments")
    assert barriers(page, axe) == []
    size = page.viewport_size
    assert size is not None
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    seen.picture(page, f"simulator-{size['width']}")
    page.reload()  # axe leaves style attributes behind, which the next part of the page would take over
    page.get_by_role("button", name="6 minutes").click()
    expect(place).to_have_text("no flow")
    assert replies(phone)[-1] == "Your session ended after a while of silence."
    monkeypatch.chdir(tmp_path)
    page.get_by_label("Name of a test").fill("an_offer")
    page.get_by_role("button", name="Save as a test").click()
    expect(page.locator(".told")).to_contain_text("Wrote tests/test_an_offer.py")
    if size == WIDE:
        assert passes(tmp_path)


def passes(folder: Path) -> bool:
    """Return whether the saved test passes."""
    shutil.copytree(ROOT / "flows", folder / "flows", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "pyproject.toml").write_text('[tool.vimbiso]\nflows = "flows"\n')
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_an_offer.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)  # our own
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    return done.returncode == 0


def test_the_keyboard_alone_suffices(window: Windows, site: Site) -> None:
    """A chat is opened, a message is sent and a button is pressed by keys, and the focus stays in the field."""
    seen: Watched = window(site.origin)
    page = opened(seen, site)
    tab_to(page, "open-identifier")
    page.keyboard.type("263771000001")
    page.keyboard.press("Enter")
    expect(page.locator(".phone")).to_be_visible()
    tab_to(page, "text-1")
    for text in ("hi", "offer"):
        page.keyboard.type(text)
        page.keyboard.press("Enter")
        expect(page.get_by_placeholder("Message")).to_have_value("")
        expect(page.locator("#text-1")).to_be_focused()
    expect(page.locator(".place")).to_have_text("offer.amount")
    tab_to(page, "wait-360")
    page.keyboard.press("Enter")
    expect(page.locator(".place")).to_have_text("no flow")


def tab_to(page: Page, id: str) -> None:
    """Press the tabulator until the focus is at an element."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == id:
            return
    raise AssertionError(f"the keyboard does not lead to {id}")


def test_hostile_words_do_no_harm(window: Windows, site: Site, axe: str) -> None:
    """Markup, marks that turn words and long texts are shown as they are, on a telephone too."""
    seen: Watched = window(site.origin, viewport=NARROW)
    page = opened(seen, site)
    phone = chat(page, ADA)
    for text in HOSTILE:
        say(phone, text)
    expect(phone.locator(".line.said .bubble").first).to_have_text(HOSTILE[0])
    expect(phone.locator(".line.said .bubble").nth(1)).to_have_text("abc\\u202ecba\\u2066")
    expect(phone.locator(".line.said .bubble").last).to_contain_text("more characters")
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    assert barriers(page, axe) == []
    seen.picture(page, "simulator-hostile")


def test_a_fork_says_that_it_is_one(window: Windows, site: Site, axe: str) -> None:
    """A fork goes on where the member is, and tells on the page that it reaches nobody."""
    talk = Conversation(vimbisopay, ADA).say("hi", "offer", "10 USD", "alan")
    seen: Watched = window(site.origin)
    page = opened(seen, site, site.desk.simulations.fork(talk.state, at=talk.now))
    expect(page.locator(".fork")).to_contain_text(
        re.compile("This is a fork of .* Nothing here reaches the live store")
    )
    page.get_by_role("button", name="Yes, offer it").click()
    expect(page.locator(".place")).to_have_text("dashboard.menu")
    assert barriers(page, axe) == []
    seen.picture(page, "simulator-fork")
    page.get_by_role("button", name="Drop the fork").click()
    expect(page.locator(".fork")).to_have_count(0)
    expect(page).to_have_url(f"{site.origin}/simulator")
