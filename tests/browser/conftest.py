"""Fixtures of the tests in a browser: the Chromium of this machine, and pages that are watched.

They are a profile of their own, `make browser`, and no part of `make test`. Nothing is downloaded: the tests are
skipped with a reason where Chromium or Playwright is missing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import pytest

from tests.engines import running, valkey_program

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Dialog, Page

PROGRAMS: Final = ("chromium", "chromium-browser", "google-chrome")
"""The names of the browser, in the order in which they are looked for."""
WIDE: Final = {"width": 1280, "height": 800}
"""The size of a screen."""
NARROW: Final = {"width": 390, "height": 844}
"""The size of a telephone."""
PICTURES: Final = Path("build/browser")
"""The folder of the pictures of pages, for a look by a person."""
ARGUMENTS: Final = ("--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
"""Arguments of the browser. It can look no other host up."""

_WATCH: Final = """
  document.addEventListener("securitypolicyviolation", (event) =>
    console.error(`violation of ${event.violatedDirective}: ${event.blockedURI} ${event.sample}`));
"""


@attrs.define
class Watched:
    """A browser window whose pages are watched.

    Attributes:
        context: The window, with cookies of its own.
        outside: The addresses of requests to other hosts than the server.
        faults: Errors of scripts and violations of the policy.
        dialogs: The words of dialogs that a page has opened.
    """

    context: BrowserContext
    outside: list[str] = attrs.field(factory=list[str])
    faults: list[str] = attrs.field(factory=list[str])
    dialogs: list[str] = attrs.field(factory=list[str])

    def check(self) -> None:
        """Check that no page has made a request elsewhere, has violated its policy or has failed."""
        assert (self.outside, self.faults, self.dialogs) == ([], [], [])

    def picture(self, page: Page, name: str) -> None:
        """Take a picture of a page."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=PICTURES / f"{name}.png")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The Chromium of this machine, without a window."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip(f"needs one of the programs {', '.join(PROGRAMS)}")
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
    arguments = [*ARGUMENTS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=program, args=arguments)
        yield found
        found.close()


Windows = Callable[..., Any]
"""Opens a window: `window(origin, **options)`, with the options of a context of Playwright."""


@pytest.fixture
def window(browser: Browser) -> Generator[Windows]:
    """Opens windows, whose pages are watched. Each is checked when the test ends."""
    opened: list[Watched] = []

    def make(origin: str, **options: Any) -> Watched:
        given: dict[str, Any] = {"viewport": WIDE, "locale": "en-GB", **options}
        context = browser.new_context(**given)
        context.set_default_timeout(20_000)
        context.add_init_script(_WATCH)
        found = Watched(context)

        def close(dialog: Dialog) -> None:
            found.dialogs.append(dialog.message)
            dialog.dismiss()

        def watch(page: Page) -> None:
            page.on("pageerror", lambda error: found.faults.append(str(error)))
            page.on("console", lambda said: found.faults.append(said.text) if _is_fault(said.text) else None)
            page.on("dialog", close)

        def look(request: Any) -> None:
            if not request.url.startswith(f"{origin}/"):
                found.outside.append(request.url)

        context.on("page", watch)
        context.on("request", look)
        opened.append(found)
        return found

    yield make
    for each in opened:
        each.context.close()
        each.check()


def _is_fault(text: str) -> bool:
    """Return whether a line of the console tells of a violation or of an error of a script."""
    return "violation of" in text or "Content Security Policy" in text or "Uncaught" in text


@pytest.fixture(scope="session")
def axe() -> str:
    """The script of axe-core, which looks for barriers to people with disabilities."""
    package = pytest.importorskip("axe_playwright_python", reason="needs the package axe-playwright-python")
    return (Path(package.__file__).parent / "axe.min.js").read_text("utf-8")


def barriers(page: Page, axe: str) -> list[str]:
    """Return the serious and critical barriers that axe-core finds on a page."""
    page.evaluate(axe)
    found = page.evaluate("() => axe.run(document, { resultTypes: ['violations'] })")
    return [
        f"{each['id']}: {each['nodes'][0]['html']}"
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
    ]


@pytest.fixture(scope="module")
def store() -> Generator[str]:
    """The URL of a server. Each module has its own, since a store belongs to one bot."""
    with running(valkey_program()) as server:
        yield server.url
