"""The page of the web chat, and the settings of a chat, without a browser."""

from __future__ import annotations

import contextlib
import re
from datetime import timedelta
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.websockets import WebSocketDisconnect

from tests.web.app_client import TestClient
from tests.web.chat_bot import SECRET, chat_bot
from tests.web.signed import BASE
from vimbiso_fsm import AsyncFlowStateManager, Bot, Channel, Flow, State, Text, Transition
from vimbiso_fsm.messages.sending import Later
from vimbiso_fsm.web.app import app
from vimbiso_fsm.web.chat import WebChat
from vimbiso_fsm.web.chat_page import WORDS


def made(base: str = BASE, languages: tuple[str, ...] = (), **options: Any) -> Starlette:
    """Make an app with a web chat."""
    chat = WebChat(secrets=SECRET, **options)
    manager = AsyncFlowStateManager.in_memory(chat_bot(*languages), deliver=chat)
    return app(manager, {"chat": chat}, base=base)


def test_the_policy_of_the_page_allows_nothing_from_elsewhere() -> None:
    """The page runs no inline code, is shown in no frame, and speaks to its own server alone."""
    answer = TestClient(made(), BASE).get("/chat")
    policy = dict(each.split(" ", 1) for each in answer.headers["content-security-policy"].split("; "))
    assert policy["connect-src"] == "'self' wss://bot.example.org"
    assert {policy[name] for name in ("default-src", "base-uri", "form-action", "frame-ancestors")} == {"'none'"}
    assert {policy[name] for name in ("script-src", "style-src", "img-src")} == {"'self'"}
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert not re.search(r"\son\w+=|\sstyle=|<style|<script(?! src)", answer.text)
    assert answer.headers["cache-control"] == "no-store"
    assert (answer.headers["referrer-policy"], answer.headers["x-content-type-options"]) == ("no-referrer", "nosniff")


@pytest.mark.parametrize(
    ("base", "name", "is_safe"), [(BASE, "__Host-vimbiso-chat", True), ("http://127.0.0.1:8", "vimbiso-chat", False)]
)
def test_the_cookie_is_for_the_server_alone(base: str, name: str, is_safe: bool) -> None:
    """No script reads the cookie, no other site sends it, and over https no other host can plant it."""
    given = TestClient(made(base, life=timedelta(days=2)), base).get("/chat").headers["set-cookie"]
    parts = given.lower().split("; ")
    assert given.partition("=")[0] == name
    assert {"httponly", "samesite=lax", "path=/", "max-age=172800"} <= {*parts}
    assert ("secure" in parts, "domain" in given.lower()) == (is_safe, False)


def test_the_files_of_the_page_are_kept_by_a_browser() -> None:
    """The addresses of the files change with their content, and a browser keeps them; there are no others."""
    web = TestClient(made(), BASE)
    found = re.findall(r'(?:src|href)="([^"]+)"', web.get("/chat").text)
    assert len(found) == 3
    for address in found:
        answer = web.get(f"/{address}")
        assert (answer.status_code, "immutable" in answer.headers["cache-control"]) == (200, True)
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert [web.get(f"/chat/{name}").status_code for name in ("page.html", "..%2fapp.py", "socket")] == [404] * 3


def test_a_title_is_no_markup() -> None:
    """The title is shown as it is written."""
    assert (
        '<h1 dir="auto">&lt;b&gt; &amp; $title</h1>' in TestClient(made(title="<b> & $title"), BASE).get("/chat").text
    )


@pytest.mark.parametrize(
    ("accepts", "language", "word"),
    [("sn-ZW,en;q=0.5", "sn", "Tumira"), ("fr", "en", "Send"), ("", "en", "Send"), ("ar", "ar", "Send"),
     ('"><x>', "en", "Send")],
)  # fmt: skip
def test_the_words_are_in_the_language_of_the_visitor(accepts: str, language: str, word: str) -> None:
    """The page is in the first language of the browser that the bot has; words that it lacks are in English."""
    page = TestClient(made(languages=("sn", "ar")), BASE).get("/chat", headers={"Accept-Language": accepts}).text
    assert f'<html lang="{language}" dir="{"rtl" if language == "ar" else "ltr"}">' in page
    assert f">{word}</button>" in page


@pytest.mark.parametrize(
    ("accepts", "words"),
    [("sn-ZW,en;q=0.5", "Tiende here?"), ("en", "Shall we?"), ("x" * 40, "Shall we?"), ("s n", "Shall we?")],
)
def test_the_bot_speaks_the_language_of_the_browser(accepts: str, words: str) -> None:
    """The language that a browser prefers is that of its visitor, until their profile names another one."""
    flow: Flow[Any] = Flow(
        "hello",
        initial="ask",
        states=[State("ask", ask=Text("hello.ask")), State("end", say=Text("hello.end"), final=True)],
        transitions=[Transition("yes", "ask", "end")],
    )
    texts = {"en": {"hello.ask": "Shall we?", "hello.end": "So."}, "sn": {"hello.ask": "Tiende here?"}}
    chat = WebChat(secrets=SECRET)
    manager = AsyncFlowStateManager.in_memory(Bot(flow, texts=texts), deliver=chat)
    web = TestClient(app(manager, {"chat": chat}, base=BASE), BASE)
    cookie = web.get("/chat").headers["set-cookie"].partition(";")[0]
    headers: Any = {"Cookie": cookie, "Origin": BASE, "Accept-Language": accepts}
    with web.websocket_connect("/chat/socket", headers=headers) as page:
        page.send_json({"type": "open", "id": "1"})
        assert page.receive_json()["replies"][0]["text"] == words


def test_the_page_has_the_same_words_in_each_language() -> None:
    """No word lacks a translation."""
    assert WORDS["en"].keys() == WORDS["sn"].keys()


def test_a_chat_can_be_mounted() -> None:
    """In another app the page finds its files and its web socket beside it."""
    web = TestClient(Starlette(routes=[Mount("/bot", made())]), BASE)
    answer = web.get("/bot/chat")
    (script,) = re.findall(r'src="([^"]+)"', answer.text)
    assert web.get(f"/bot/{script}").status_code == 200
    cookie = answer.headers["set-cookie"].partition(";")[0]
    with web.websocket_connect("/bot/chat/socket", headers={"Cookie": cookie, "Origin": BASE}) as page:
        page.send_json({"type": "open", "id": "1"})
        assert page.receive_json()["replies"][0]["type"] == "buttons"


def test_the_visitor_can_begin() -> None:
    """With `begins=False` an opened page is answered with nothing, and a first message begins the conversation."""
    web = TestClient(made(begins=False), BASE)
    cookie = web.get("/chat").headers["set-cookie"].partition(";")[0]
    with web.websocket_connect("/chat/socket", headers={"Cookie": cookie, "Origin": BASE}) as page:
        page.send_json({"type": "open", "id": "1"})
        assert page.receive_json()["replies"] == []
        page.send_json({"type": "say", "id": "2", "text": "hi"})
        assert page.receive_json()["replies"][0]["type"] == "buttons"


def test_a_large_frame_is_refused_whatever_the_server_takes() -> None:
    """The app bounds a frame by itself, where a server takes larger ones."""
    web = TestClient(made(), BASE)
    cookie = web.get("/chat").headers["set-cookie"].partition(";")[0]
    with web.websocket_connect("/chat/socket", headers={"Cookie": cookie, "Origin": BASE}) as page:
        page.send_json({"type": "say", "id": "1", "text": "x" * (1 << 16)})
        with pytest.raises(WebSocketDisconnect) as ended:
            page.receive_json()
    assert ended.value.code == 1009


def test_a_web_socket_of_another_page_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """An operator who has given another `base` finds it in the log, and a stranger does not fill the log."""
    web = TestClient(made(), BASE)
    for _ in range(3):
        with (
            contextlib.suppress(Exception),
            web.websocket_connect("/chat/socket", headers={"Origin": "https://x.example"}),
        ):
            pass
    assert [record.getMessage() for record in caplog.records if "base" in record.getMessage()] == [
        f"a web socket was refused: its page is not at {BASE}, the base of the app"
    ]


def test_a_web_socket_without_a_cookie_is_refused() -> None:
    """A stranger opens no web socket."""
    web = TestClient(made(), BASE)
    with pytest.raises(Exception) as refused, web.websocket_connect("/chat/socket", headers={"Origin": BASE}):  # noqa: PT011  # Starlette's own class
        pass
    assert isinstance(refused.value, WebSocketDisconnect) or "403" in str(getattr(refused.value, "status_code", ""))


@pytest.mark.parametrize(
    "options",
    [{"secrets": ()}, {"secrets": "short"}, {"life": 5}, {"life": True}, {"max_connections": 0}, {"title": 1}],
    ids=str,
)
def test_a_setting_that_is_none_is_refused(options: dict[str, Any]) -> None:
    """A chat without a secret, or with a bound that is none, is not made."""
    given: dict[str, Any] = {"secrets": SECRET}
    with pytest.raises((ValueError, TypeError)):
        WebChat(**(given | options))


def test_an_app_whose_manager_delivers_by_nothing_is_not_made() -> None:
    """Without `deliver=chat`, or with another chat there, the words of timers would never be pushed."""
    for deliver in (None, WebChat(secrets=SECRET)):
        manager = AsyncFlowStateManager.in_memory(chat_bot(), deliver=deliver)
        with pytest.raises(ValueError, match="deliver=chat"):
            app(manager, {"chat": WebChat(secrets=SECRET)}, base=BASE)


@pytest.mark.asyncio
async def test_words_for_a_visitor_without_a_connection_are_for_later() -> None:
    """What is pushed to nobody is not lost: the manager is asked to send it later."""
    answer = await WebChat(secrets=SECRET)(Channel("web", "nobody"), [Text("hi")], "k-1")
    assert isinstance(answer, Later)
