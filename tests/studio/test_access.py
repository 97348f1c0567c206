"""The access to the studio, the headers of its pages, and its files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

import flows
from tests.web.app_client import TestClient
from vimbiso_fsm.studio import Desk, studio_app
from vimbiso_fsm.studio.access import BODY, Access
from vimbiso_fsm.studio.pages import address_of, seen

HOST = "127.0.0.1:8080"
ORIGIN = f"http://{HOST}"


async def _change(request: Request) -> Response:
    return PlainTextResponse(f"changed: {len(await request.body())}")


def client_of(access: Access) -> TestClient:
    """Return a browser of the studio without a live store, and with a page that changes something."""
    app = studio_app(Desk(flows.bot), access)
    app.routes.append(Route("/change", _change, methods=["POST"]))
    return TestClient(app, base_url=ORIGIN, follow_redirects=False)


@pytest.fixture
def access() -> Access:
    """The access to a studio that nobody has opened."""
    return Access(hosts=(HOST, "localhost:8080"))


@pytest.fixture
def inside(access: Access) -> Iterator[TestClient]:
    """A browser that has opened the studio."""
    with client_of(access) as client:
        assert client.get("/", params={"token": access.token}).status_code == 303
        yield client


def test_the_token_lets_one_browser_in(access: Access):
    """The token is used up by the browser that opens the studio; its cookie is strict and not for scripts."""
    token = access.token
    with client_of(access) as first, client_of(access) as second:
        opened = first.get("/", params={"token": token})
        assert (opened.status_code, opened.headers["location"]) == (303, "/")
        cookie = opened.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert token not in cookie
        assert first.get("/machine").status_code == 200
        assert second.get("/", params={"token": token}).status_code == 403
        assert second.get("/machine").status_code == 403


@pytest.mark.parametrize("token", ["", "x", "é", "\ud800", "x" * 5_000])
def test_another_token_opens_nothing(access: Access, token: str):
    """A wrong token opens nothing, and leaves the right one valid."""
    with client_of(access) as client:
        given = token.encode("utf-8", "surrogatepass")
        assert client.get("/", params={"token": given.decode("latin-1")}).status_code == 403
        assert client.get("/", params={"token": access.token}).status_code == 303


@pytest.mark.parametrize("path", ["/", "/machine", "/simulator", "/static/studio.css", "/nothing"])
def test_without_the_cookie_there_is_nothing(access: Access, path: str):
    """No page and no file is shown to another browser, and none is told from what does not exist."""
    with client_of(access) as client:
        client.cookies.set(access.cookie, "guessed")
        assert client.get(path).status_code == 403


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:80", "", "localhost:8080.evil.example"])
def test_a_foreign_name_of_this_machine_is_refused(inside: TestClient, host: str):
    """A request to another name is refused, also with the cookie: a page elsewhere may lead its name here."""
    assert inside.get("/machine", headers={"host": host}).status_code == 421


@pytest.mark.parametrize("origin", [None, "null", "http://evil.example", "https://127.0.0.1:8080", "http://127.0.0.1"])
def test_a_change_from_another_page_is_refused(inside: TestClient, origin: str | None):
    """A request that changes something names the studio as its origin."""
    headers = {} if origin is None else {"origin": origin}
    assert inside.post("/change", headers=headers).status_code == 403
    assert inside.post("/change", headers={"origin": ORIGIN}, content=b"x").text == "changed: 1"


def test_a_large_change_is_refused_unread(inside: TestClient):
    """A body over the bound is refused, and one whose length is not told."""

    def endless() -> Iterator[bytes]:
        yield b"x"

    assert inside.post("/change", headers={"origin": ORIGIN}, content=b"x" * (BODY + 1)).status_code == 413
    assert inside.post("/change", headers={"origin": ORIGIN}, content=endless()).status_code == 411
    assert inside.post("/change", headers={"origin": ORIGIN}, content=b"x" * BODY).status_code == 200


def test_a_web_socket_is_refused(inside: TestClient):
    """A web socket does not come to a panel, also with the cookie: another page could open it."""

    async def answer(connection: WebSocket) -> None:
        await connection.accept()

    cast(Starlette, inside.app).routes.append(WebSocketRoute("/socket", answer))
    with pytest.raises(WebSocketDisconnect), inside.websocket_connect("/socket"):
        pass


@pytest.mark.parametrize("path", ["/", "/machine", "/nothing", "/static/htmx.min.js"])
def test_each_response_has_a_strict_policy(inside: TestClient, path: str):
    """No response may be framed, loads something elsewhere or runs a script of a page."""
    headers = inside.get(path).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy.replace(" 'wasm-unsafe-eval'", "")  # test_machine.py says which pages have that
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert ("no-store" in headers["cache-control"]) is not path.startswith("/static")


@pytest.mark.parametrize("name", ["..%2fpages.py", "%2e%2e/app.py", ".hidden.css", "nothing.css", "a/b.css", "x.py"])
def test_only_files_of_the_pages_are_served(inside: TestClient, name: str):
    """No other file is served, by whatever name."""
    assert inside.get(f"/static/{name}").status_code == 404


def test_a_file_is_kept_by_the_browser(inside: TestClient):
    """The address of a file changes with its content."""
    found = inside.get(address_of("studio.css"))
    assert found.status_code == 200
    assert "immutable" in found.headers["cache-control"]
    with pytest.raises(FileNotFoundError):
        address_of("nothing.css")


def test_without_a_store_there_is_no_panel_of_it(inside: TestClient):
    """Without a live store, only panels that need none are there."""
    text = inside.get("/simulator").text
    assert "/machine" in text
    assert "/board" not in text
    assert inside.get("/board").status_code == 404


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\twords\n", "plain\twords\n"),
        ("abc\u202ecba", "abc\\u202ecba"),
        ("\x00\x1b[31m\ud800", "\\u0000\\u001b[31m\\ud800"),
        ("مرحبا", "مرحبا"),
        ("x" * 1_003, "x" * 1_000 + "… (3 more characters)"),
        (12, "12"),
    ],
)
def test_a_text_of_a_member_is_seen_as_it_is(text: Any, shown: str):
    """What a page would hide, or what would turn the words around it, is shown as a number; a long text is cut."""
    assert seen(text) == shown
