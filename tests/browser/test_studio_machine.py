"""The panel "Machine" of the studio in a real browser: the drawing, the place of a member, the guards of an edge."""

from __future__ import annotations

import itertools
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Final

import pytest

from flows import bot as vimbisopay
from tests.browser.conftest import NARROW, WIDE, Watched, Windows, barriers
from tests.browser.studio_site import Site, studio_site
from vimbiso_fsm import Bot, Channel, Flow, Message, NoData, State, Text, Transition, Turn

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

expect: Any = pytest.importorskip("playwright.sync_api", reason="needs the package playwright").expect
expect.set_options(timeout=15_000)

ADA: Final = Channel("whatsapp", "263771000001")
ALAN: Final = Channel("whatsapp", "263771000002")
NUMBERS: Final = itertools.count()


@pytest.fixture
def site(store: str) -> Generator[Site]:
    """The studio of VimbisoPay."""
    with studio_site(vimbisopay, store) as found:
        yield found


def say(site: Site, who: Channel, *texts: str) -> str:
    """Let a member write messages, and return their id."""
    for text in texts:
        site.run(site.manager.handle(Message(who, f"machine-{next(NUMBERS)}", text)))
    member = site.run(site.manager.member_of(who))
    assert member is not None
    return member


def opened(seen: Watched, site: Site, path: str) -> Page:
    """Open the studio, and a page of it whose flow is drawn."""
    page = seen.context.new_page()
    page.goto(site.door)
    page.goto(f"{site.origin}{path}")
    expect(page.locator("#drawing svg")).to_be_visible()
    return page


def shape(page: Page, name: str) -> Locator:
    """Return a state or an edge of the drawing."""
    return page.locator(f"#drawing [id='{name}']")


def edge(page: Page, source: str, trigger: str) -> Locator:
    """Return the first edge with a source and a trigger."""
    rows = page.locator("[data-draws^=edge_]", has=page.locator("td", has_text=source))
    found = rows.filter(has=page.get_by_role("link", name=trigger)).first.get_attribute("data-draws")
    assert found is not None
    return shape(page, found)


def test_the_place_of_a_member_moves_in_the_drawing(window: Windows, site: Site, axe: str) -> None:
    """A flow is drawn, a member's state and last way are marked while they talk, and an edge shows its guards."""
    seen = window(site.origin)
    member = say(site, ADA, "hi", "offer", "1")
    page = opened(seen, site, f"/machine/offer?member={member}")
    flow = vimbisopay.flow("offer")
    expect(page.locator("#drawing .node[id]")).to_have_count(len(flow.states) + 1)
    expect(page.locator("#drawing .edge[id^=edge_]")).to_have_count(sum(len(way.sources) for way in flow.transitions))
    expect(shape(page, "state_handle")).to_contain_class("here")
    expect(page.get_by_text("counted. Transitions since")).to_be_visible()
    expect(edge(page, "confirm", "no")).to_contain_class("never")
    say(site, ADA, "alan")
    expect(shape(page, "state_confirm")).to_contain_class("here")
    expect(edge(page, "checking", "done")).to_contain_class("last")
    expect(edge(page, "confirm", "yes")).to_contain_class("press")
    edge(page, "amount", "answer").locator("text").first.click()
    expect(page.locator("#edge h2")).to_have_text("amount → handle")
    expect(page.locator("#edge")).to_contain_text("within_limit")
    expect(page.locator("#edge")).to_contain_text("flows/offer.py:")
    expect(edge(page, "amount", "answer")).to_contain_class("chosen")
    assert barriers(page, axe) == []
    seen.picture(page, "machine-wide")
    say(site, ADA, "no")
    expect(page.locator("#marks")).to_contain_text("in another flow")


def test_a_narrow_page_is_used_with_the_keyboard_alone(window: Windows, site: Site, axe: str) -> None:
    """On a telephone the page is no wider than the screen, and its links show all that the drawing does."""
    seen = window(site.origin, viewport=NARROW, color_scheme="dark")
    member = say(site, ALAN, "hi", "offer")
    page = opened(seen, site, "/machine/offer")
    page.get_by_label("Member").focus()
    page.keyboard.type(member)
    page.keyboard.press("Enter")
    expect(page.locator("#marks")).to_contain_text("is at amount")
    expect(page.locator("#drawing svg")).to_be_visible()
    expect(page.get_by_text("counted. Transitions since")).to_be_visible()
    page.get_by_role("link", name="answer [not_own]").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#edge h2")).to_have_text("handle → checking")
    assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")
    assert barriers(page, axe) == []
    expect(page.locator("#edge")).to_be_in_viewport()
    seen.picture(page, "machine-narrow-edge")
    page.evaluate("() => window.scrollTo(0, 0)")
    seen.picture(page, "machine-narrow")


def test_the_flows_of_the_bot_lead_to_their_pages(window: Windows, site: Site, axe: str) -> None:
    """The overview draws the flows, and a click on one leads to its page."""
    seen = window(site.origin, viewport=WIDE)
    page = opened(seen, site, "/machine")
    assert barriers(page, axe) == []
    seen.picture(page, "machine-flows")
    shape(page, "state_offer").locator("text").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("offer")


def test_a_button_is_pressed_by_its_edge(window: Windows, axe: str) -> None:
    """In the simulator a chosen edge that is clicked again presses its button, and the state moves."""
    with studio_site(vimbisopay) as site:
        with site.desk.simulations.using("own") as simulation:
            phone = simulation.open("whatsapp:263771000001")
            for text in ("hi", "offer", "1", "alan"):
                simulation.say(phone, text)
        seen = window(site.origin)
        page = opened(seen, site, "/machine/offer?chat=own/whatsapp:263771000001")
        expect(shape(page, "state_confirm")).to_contain_class("here")
        yes = edge(page, "confirm", "yes")
        expect(yes).to_contain_class("press")
        yes.locator("text").first.click()
        expect(page.get_by_role("button", name="Press yes")).to_be_visible()
        assert barriers(page, axe) == []
        seen.picture(page, "machine-press")
        yes.locator("text").first.click()
        expect(page.locator("#marks")).to_contain_text("in another flow")
        expect(edge(page, "creating", "done")).to_contain_class("last")
        seen.picture(page, "machine-pressed")


HOSTILE: Final = '</td><script>alert(1)</script>"];x->y[label=<<b>\u202eevil</b>>]\n\\' + "x" * 10_000


def test_hostile_names_are_drawn_as_texts(window: Windows) -> None:
    """The name and the docstring of a guard may be any text: they make no element, and do not widen the page."""

    def odd(turn: Turn[NoData]) -> bool:
        return True

    odd.__name__, odd.__doc__ = HOSTILE, HOSTILE
    flow = Flow(
        "gate",
        initial="wait",
        states=[State("wait", ask=Text("gate.wait")), State("over", final=True)],
        transitions=[Transition("go", "wait", "over", conditions=odd)],
    )
    with studio_site(Bot(flow, texts={"gate.wait": "?", "gate.wait.go": "Go"})) as site:
        seen = window(site.origin, viewport=NARROW)
        page = opened(seen, site, "/machine/gate?edge=0")
        expect(page.locator("#edge")).to_contain_text("<script>alert(1)</script>")
        expect(page.locator("#edge")).to_contain_text("\\u202eevil")
        expect(page.locator("#drawing .edge[id^=edge_]")).to_have_count(1)
        assert page.locator(":is(#edge, #marks, #drawing) :is(script, b, img, iframe)").count() == 0
        assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")
        seen.picture(page, "machine-hostile")
