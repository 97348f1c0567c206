"""The page of the web chat in a real browser: what a visitor sees, presses and types."""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.conftest import NARROW, WIDE, Watched, Windows, barriers
from tests.web.chat_bot import Served, served
from vimbiso_fsm import AsyncFlowStateManager, Message
from vimbiso_fsm.errors import StoreUnavailable

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

expect: Any = pytest.importorskip("playwright.sync_api", reason="needs the package playwright").expect
expect.set_options(timeout=15_000)

SMALL = {"width": 320, "height": 568}
HELLO = "Welcome! What can we do for you?"


@pytest.fixture(scope="module")
def site(store: str) -> Generator[Served]:
    """An app with a web chat and a worker."""
    with served(store) as found:
        yield found


@pytest.fixture
def seen(window: Windows, site: Served) -> Watched:
    """A window of a new visitor."""
    found: Watched = window(site.origin)
    return found


def talking(seen: Watched, site: Served) -> Page:
    """Open the page, and come to the question that takes any text."""
    page = opened(seen, site)
    press(page, "Talk")
    expect(entries(page)).to_have_text([HELLO, "Talk", "What do you want to say?"])
    return page


def opened(seen: Watched, site: Served) -> Page:
    """Open the page, and wait until the bot has begun."""
    page = seen.context.new_page()
    page.goto(site.url)
    expect(entries(page).first).to_be_visible()
    return page


def entries(page: Page) -> Locator:
    """Return the bubbles."""
    return page.locator(".bubble")


def press(page: Page, name: str) -> None:
    """Press a button."""
    page.get_by_role("button", name=name, exact=True).click()


def say(page: Page, text: str) -> None:
    """Type a message, and send it."""
    page.get_by_label("Your message").fill(text)
    page.get_by_role("button", name="Send", exact=True).click()


def test_a_visitor_opens_the_page_and_presses_a_button(seen: Watched, site: Served) -> None:
    """The bot begins, what is pressed is shown as said, and an answered question is closed."""
    page = opened(seen, site)
    press(page, "Book a table")
    expect(entries(page)).to_have_text([HELLO, "Book a table", "For how many guests?"])
    expect(page.get_by_role("button", name="Talk", exact=True)).to_have_count(0)
    press(page, "Two guests at the window")
    expect(entries(page).last).to_have_text("Your table is booked.")


def test_a_conversation_goes_on_after_the_connection_is_lost(seen: Watched, site: Served) -> None:
    """A connection that ends in the middle is made anew; nothing is lost, and nothing is said twice."""
    page = talking(seen, site)
    for number in range(3):
        site.drop()
        say(page, f"word {number}")
        expect(entries(page).last).to_have_text(f"You said: word {number}")
    said = [text for number in range(3) for text in (f"word {number}", f"You said: word {number}")]
    expect(entries(page)).to_have_text([HELLO, "Talk", "What do you want to say?", *said])


def test_a_conversation_goes_on_after_the_server_was_restarted(window: Windows, store: str) -> None:
    """What is written while no server is there is kept, sent when one is back, and answered once, in order."""
    with served(store) as site:
        seen = window(site.origin)
        page = talking(seen, site)
        site.stop()
        expect(page.get_by_role("status")).to_have_text(re.compile("No connection|Connecting"))
        say(page, "one")
        say(page, "two")
        expect(page.locator(".waiting")).to_have_count(2)
        seen.picture(page, "offline")
        site.start()
        expect(entries(page).last).to_have_text("You said: two")
        expect(page.locator(".waiting")).to_have_count(0)
        expect(page.get_by_role("status")).to_have_text("")
        expect(entries(page)).to_have_text(
            [HELLO, "Talk", "What do you want to say?", "one", "two", "You said: one", "You said: two"]
        )


def test_a_message_that_was_not_taken_is_sent_again(
    seen: Watched, site: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the store is down, the page says so, sends the message again by itself, and shows one answer."""
    page = talking(seen, site)
    handle, faults = AsyncFlowStateManager.handle, [StoreUnavailable("it is down"), StoreUnavailable("it is down")]

    async def fails(manager: AsyncFlowStateManager, message: Message, **more: Any) -> Any:
        if faults:
            fault = faults.pop()
            manager._base.not_answered(message, fault)
            raise fault
        return await handle(manager, message, **more)

    monkeypatch.setattr(AsyncFlowStateManager, "handle", fails)
    say(page, "one")
    expect(page.get_by_role("status")).to_contain_text("We could not save that")
    expect(entries(page)).to_have_text([HELLO, "Talk", "What do you want to say?", "one", "You said: one"])
    expect(page.get_by_role("status")).to_have_text("")


def test_what_was_not_answered_survives_a_reload(window: Windows, store: str) -> None:
    """A message that waits is kept by the tab, and sent after the page was read anew; no other word is stored."""
    with served(store) as site:
        page = talking(window(site.origin), site)
        page.route("**/chat/socket", lambda route: route.abort())
        site.drop()
        page.evaluate("() => { window.WebSocket = class extends EventTarget { close() {} } }")
        say(page, "keep me")
        page.reload()
        expect(entries(page).last).to_have_text("You said: keep me")
        kept = page.evaluate("() => [JSON.stringify(sessionStorage), JSON.stringify(localStorage), document.cookie]")
        assert (re.sub('[^{}]*"\\[\\]"', "", kept[0]), kept[1:]) == ("{}", ["{}", ""])


def test_a_page_that_is_read_anew_shows_the_open_question(seen: Watched, site: Served) -> None:
    """A page without anything to show asks where the visitor is in the conversation."""
    page = opened(seen, site)
    press(page, "Book a table")
    expect(entries(page).last).to_have_text("For how many guests?")
    page.reload()
    expect(entries(page)).to_have_text(["For how many guests?"])
    press(page, "Four guests in the garden")
    expect(entries(page).last).to_have_text("Your table is booked.")


def test_tabs_of_one_visitor_show_one_conversation(seen: Watched, site: Served) -> None:
    """A second tab shows what the first has shown, and what is said in one is shown in both."""
    first = talking(seen, site)
    second = opened(seen, site)
    expect(entries(second)).to_have_text([HELLO, "Talk", "What do you want to say?"])
    say(second, "to both")
    for page in (first, second):
        expect(entries(page)).to_have_text([HELLO, "Talk", "What do you want to say?", "to both", "You said: to both"])


def test_another_browser_is_another_visitor(window: Windows, site: Served) -> None:
    """A window without the cookie sees nothing of the conversation."""
    press(opened(window(site.origin), site), "Book a table")
    expect(entries(opened(window(site.origin), site))).to_have_text([HELLO])


def test_the_words_of_a_timer_are_pushed(seen: Watched, site: Served) -> None:
    """What the bot says of itself is shown at once, in each tab once."""
    first = opened(seen, site)
    second = opened(seen, site)
    press(first, "Look for a table")
    for page in (first, second):
        expect(entries(page)).to_have_text(
            [HELLO, "Look for a table", "We look for a table.", "We have found a table."]
        )


HOSTILE = [
    "<script>alert(1)</script><img src=x onerror=alert(2)>",
    "</div></main><svg/onload=alert(3)>",
    "\u202eevil\u2066 right to left \u05d0\u05d1\u05d2",
    "${alert(4)} {{7*7}} &lt;b&gt; \\u003cscript\\u003e",
    "javascript:alert(5) https://evil.example/",
    "x" * 10_000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=["script", "markup", "right-to-left", "template", "link", "long"])
def test_hostile_texts_are_shown_as_they_are(window: Windows, site: Served, text: str) -> None:
    """A text is shown as it is, makes no element, and does not widen the page."""
    seen = window(site.origin, viewport=NARROW)
    page = talking(seen, site)
    say(page, text)
    expect(entries(page).last).to_contain_text("You said:")
    assert entries(page).last.text_content() == f"You said: {text}"
    assert entries(page).nth(3).text_content() == text
    assert page.locator("#log :is(script, img, svg, iframe, style, b)").count() == 0
    assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")
    if len(text) < 100:
        seen.picture(page, f"hostile-{HOSTILE.index(text)}")


def test_files_and_links_are_offered_and_not_fetched(seen: Watched, site: Served) -> None:
    """A file, a picture or a page elsewhere is a link that sends no referrer; an address of another kind is a text."""
    shown = {
        "picture": ("Our shop", "https://pictures.example/a.png"),
        "voice": ("Listen", None),
        "list": ("Our prices", "https://files.example/prices.pdf"),
        "pay": ("Pay here", "https://pay.example/1"),
        "trap": ("Free", None),
        "place": ("1 Main Road", "https://maps.google.com/?q=-17.83,31.05"),
    }
    page = opened(seen, site)
    for kind, (words, address) in shown.items():
        press(page, "Show me more")
        press(page, kind)
        expect(page.locator(".entry.bot").last).to_contain_text(words)
        link = page.locator(".entry.bot").last.locator("a")
        if address is None:
            assert link.count() == 0
        else:
            assert (link.get_attribute("href"), link.get_attribute("rel")) == (address, "noopener noreferrer")
        say(page, "hi")
        expect(page.locator(".entry.bot").last).to_contain_text(HELLO)
    seen.picture(page, "kinds")


def test_a_location_is_sent_where_the_visitor_allows_it(window: Windows, site: Served) -> None:
    """A question for a location has a button that sends it, and can be answered in words."""
    allowed = {"geolocation": {"latitude": -17.83, "longitude": 31.05}, "permissions": ["geolocation"]}
    page = opened(window(site.origin, **allowed), site)
    press(page, "Send a taxi")
    press(page, "Send my location")
    expect(entries(page).last).to_have_text("You are at -17.8.")
    page = opened(window(site.origin), site)
    press(page, "Send a taxi")
    press(page, "Send my location")
    expect(page.locator(".note")).to_have_text("Your location could not be read; please write where you are.")
    say(page, "at the market")
    expect(entries(page).last).to_have_text("You are at at the market.")


def test_the_keyboard_alone_suffices(seen: Watched, site: Served) -> None:
    """A visitor reaches each button with Tab, presses it with Enter, and goes on writing."""
    page = opened(seen, site)
    page.keyboard.press("Tab")  # the conversation, which can be scrolled
    assert page.evaluate("() => document.activeElement.id") == "log"
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.textContent") == "Talk"
    page.keyboard.press("Enter")
    expect(entries(page).last).to_have_text("What do you want to say?")
    assert page.evaluate("() => document.activeElement.id") == "words"
    page.keyboard.type("one")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("two")
    page.keyboard.press("Enter")
    expect(entries(page).last).to_have_text("You said: one two")
    page.keyboard.type("menu")
    page.keyboard.press("Enter")
    expect(entries(page).nth(6)).to_be_visible()


def test_a_screen_reader_is_told_what_comes(seen: Watched, site: Served) -> None:
    """The conversation is a live region, each entry says whose it is, and the field has a name."""
    page = opened(seen, site)
    expect(page.get_by_role("group", name=HELLO)).to_be_visible()
    press(page, "Talk")
    expect(entries(page)).to_have_count(3)
    log = page.get_by_role("log", name="Conversation")
    assert log.get_attribute("aria-live") == "polite"
    assert [each.text_content() for each in page.locator(".entry > .hidden").all()] == ["Bot: ", "You: ", "Bot: "]
    expect(page.get_by_role("heading", level=1)).to_have_text("Our shop")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW, SMALL], ids=["wide", "narrow", "small"])
def test_axe_finds_no_barrier(window: Windows, site: Served, axe: str, size: Any, scheme: str) -> None:
    """axe-core finds no serious barrier, in light and dark, on a screen and on a telephone."""
    seen = window(site.origin, viewport=size, color_scheme=scheme)
    page = opened(seen, site)
    assert barriers(page, axe) == []
    press(page, "Talk")
    say(page, "We come at seven, and one of us sits in a wheelchair. Is there a step at the door?")
    expect(entries(page).last).to_contain_text("You said:")
    say(page, "menu")
    page.wait_for_function("() => document.querySelectorAll('.bubble').length > 6")
    seen.picture(page, f"chat-{size['width']}-{scheme}")
    assert barriers(page, axe) == []
    assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")


def test_the_page_speaks_the_language_of_the_visitor(window: Windows, store: str) -> None:
    """The words of the page are in the language of the browser where the bot has it, else in English."""
    with served(store, languages=("sn",)) as site:
        page = opened(window(site.origin, locale="sn-ZW"), site)
        expect(page.get_by_role("button", name="Tumira", exact=True)).to_be_visible()
        assert page.locator("html").get_attribute("lang") == "sn"
        page = opened(window(site.origin, locale="fr-FR"), site)
        expect(page.get_by_role("button", name="Send", exact=True)).to_be_visible()
