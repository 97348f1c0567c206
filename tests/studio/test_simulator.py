"""The panel "Simulator": its verbs over HTTP, what it refuses, and the reload of changed flows."""

from __future__ import annotations

import html
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

import flows
from tests.bots import fruit_bot
from vimbiso_fsm import Bot
from vimbiso_fsm.runtime.base import resolve_bot
from vimbiso_fsm.studio import Desk, studio_app
from vimbiso_fsm.studio.access import Access
from vimbiso_fsm.testing import Conversation

HOST = "127.0.0.1:8080"
ADA = "whatsapp:263771000001"
SHOP = """
from vimbiso_fsm import Bot, Flow, NoData, State, Text, Transition

home = Flow(
    "home", data=NoData, initial="first",
    states=[State("first", ask=Text("first"), reads=str), State("second", ask=Text("second"), reads=str)],
    transitions=[Transition("answer", "first", "second"), Transition("answer", "second", "first")],
)
bot = Bot([home], texts={"en": {"first": "The first?", "second": "The second?"}})
"""
Act = Callable[..., str]


def act_of(desk: Desk, *, htmx: bool = True) -> Act:
    """Open the studio of a desk, and return how a verb is done: `act("say", name="own", status=200, **fields)`."""
    access = Access(hosts=(HOST,))
    client = TestClient(studio_app(desk, access), base_url=f"http://{HOST}")
    client.headers.update({"origin": f"http://{HOST}", **({"hx-request": "true"} if htmx else {})})
    client.get("/", params={"token": access.token})

    def act(verb: str, simulation: str = "own", status: int = 200, **fields: str) -> str:
        answer = client.post(f"/simulator/{simulation}/{verb}", data=fields)
        assert answer.status_code == status, answer.text
        return html.unescape(answer.text)

    return act


def opened(bot: Bot = flows.bot, *, htmx: bool = True) -> Act:
    """Open a chat of Ada in the simulator of a bot."""
    act = act_of(Desk(bot), htmx=htmx)
    act("open", type="whatsapp", identifier="263771000001")
    return act


def test_an_offer_over_http() -> None:
    """Verbs change the part of the page that they answer with, and an edge is pressed by its trigger."""
    act = opened()
    for text in ("hi", "offer", "10 USD"):
        act("say", phone=ADA, text=text)
    shown = act("say", phone=ADA, text="alan", fault="dies")
    assert "offer.confirm" in shown
    assert "The worker has died after its commit." in shown
    assert "<html" not in shown
    assert "Your offer was made" in act("press", trigger="yes")
    assert "duplicate · dashboard.menu" in act("again", phone=ADA)
    assert "Your session ended" in act("wait", seconds="360")
    assert "Open a chat to begin" in act("close", phone=ADA)
    assert "09:15:02" in act("restart")


def test_without_scripts_the_page_follows() -> None:
    """A browser without scripts is led to the whole page."""
    act = opened(htmx=False)
    assert "<html" in act("say", phone=ADA, text="hi")
    assert "<html" in act("say", phone=ADA, text=" ")


@pytest.mark.parametrize(
    ("verb", "fields", "words"),
    [
        ("say", {"phone": ADA, "text": " "}, "type a message first"),
        ("say", {"phone": "sms:1", "text": "hi"}, "this chat is not open"),
        ("say", {"phone": ADA, "text": "hi", "fault": "fire"}, "there is no such fault"),
        ("press", {"phone": ADA, "choice": "!AAAAAAAAyes"}, "shows no such choice"),
        ("press", {"trigger": "yes"}, "has no button 'yes'"),
        ("again", {"phone": ADA}, "nothing was said"),
        ("wait", {"seconds": "soon"}, "give a span in seconds"),
        ("wait", {"seconds": "nan"}, "at most a year"),
        ("open", {"type": "pigeon", "identifier": "1"}, "no type of channel"),
        ("open", {"type": "sms", "identifier": ""}, "identifier"),
        ("save", {"name": "an_offer"}, "nothing was said yet"),
    ],
)
def test_what_cannot_be_done_is_said(verb: str, fields: dict[str, str], words: str) -> None:
    """A verb that cannot be done leaves the simulation as it is, and says what to do."""
    assert words in opened()(verb, **fields)


def test_what_does_not_exist_is_not_found() -> None:
    """A verb, a simulation or a form that is none is answered by 404 or 400."""
    act = opened()
    act("explode", status=404)
    act("say", "fork-9", 404, phone=ADA, text="hi")
    act("say", status=400, **{f"field{number}": "x" for number in range(30)})


def test_a_conversation_is_saved_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test is written into the folder `tests`; a name that is none or exists is refused."""
    monkeypatch.chdir(tmp_path)
    act = opened(fruit_bot())
    act("say", phone=ADA, text="hi")
    assert "give the test a name" in act("save", name="../up")
    assert "Wrote tests/test_fruit.py" in act("save", name="fruit")
    assert "exists; give another name" in act("save", name="fruit")
    assert "> hi" in (tmp_path / "tests" / "test_fruit.py").read_text()


def test_a_fork_is_shown_and_dropped() -> None:
    """A fork says that it is one; it is no test, and when it is dropped, the browser goes back."""
    desk = Desk(flows.bot)
    act = act_of(desk)
    address = desk.simulations.fork(Conversation(flows.bot, ADA).say("hi", "offer").state)
    name = address.rpartition("/")[2]
    assert "offer.handle" in act("say", name, phone=ADA, text="10 USD")
    assert "a fork begins in the middle" in act("save", name, name="a_fork")
    act("restart", name, 204)
    act("say", name, 404, phone=ADA, text="hi")


def test_a_secret_is_on_no_page() -> None:
    """The state beside a chat shows data as the audit does: what the member has typed as a secret is a mask."""
    act = opened(fruit_bot())
    for text in ("hi", "buy", "ada"):
        act("say", phone=ADA, text=text)
    shown = act("say", phone=ADA, text="1234")
    assert "order" in shown
    assert '<dd class="said">1234' not in shown


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package with a bot, that a test may change."""
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "changing_shop"
    package.mkdir()
    (package / "__init__.py").write_text(SHOP)
    yield package / "__init__.py"
    for name in [name for name in sys.modules if name.partition(".")[0] == "changing_shop"]:
        del sys.modules[name]


def rewrite(path: Path, old: str, new: str) -> None:
    """Change a file, so that its time differs too."""
    path.write_text(path.read_text().replace(old, new))
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 10_000_000))


def test_a_changed_flow_goes_on_where_the_member_is(shop: Path) -> None:
    """Changed words are said, a mistake leaves the flows of before, and a member whose state is gone is told where."""
    act = act_of(Desk(resolve_bot("changing_shop"), package="changing_shop"))
    act("open", type="whatsapp", identifier="263771000001")
    act("say", phone=ADA, text="hi")
    assert "The second?" in act("say", phone=ADA, text="apples")
    act("check", status=204)
    rewrite(shop, "The first?", "The very first?")
    assert "The flows were loaded anew" in act("check")
    assert "The very first?" in act("say", phone=ADA, text="pears")
    act("say", phone=ADA, text="apples")
    rewrite(shop, "bot = ", "bot = = ")
    assert "SyntaxError" in act("check")
    rewrite(shop, "bot = = ", "bot = ")
    rewrite(shop, '"second"', '"third"')
    assert f"home.second is gone, {ADA} stands at home." in act("check")
    assert "We had to tidy up our notes" in act("say", phone=ADA, text="apples")
    assert "home.third" in act("say", phone=ADA, text="apples")
