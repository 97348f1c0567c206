"""The app in other apps: Starlette and FastAPI mount it, and Django's ASGI application stands beside it."""

from __future__ import annotations

import importlib
from collections.abc import MutableMapping
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from tests.adapters.django_settings import configure
from tests.web.app_client import TestClient
from tests.web.signed import BASE, REST_SECRET, signed
from tests.web.test_rest import greeting
from vimbiso_fsm import AsyncFlowStateManager
from vimbiso_fsm.channels import Delivery, sms
from vimbiso_fsm.messages.sending import Sent
from vimbiso_fsm.web.app import app
from vimbiso_fsm.web.rest import RestChannel


class Twilio:
    """The channel whose signature covers the URL."""

    def __init__(self) -> None:
        self.urls: list[str] = []

    def verify(self, headers: Any, raw: bytes, url: str) -> bool:
        """Note the URL."""
        self.urls.append(url)
        return True

    def parse(self, body: bytes, *, now: Any = None) -> Delivery:
        """Read the form."""
        return sms.parse(body, now=now)

    def render(self, channel: Any, replies: Any) -> list[dict[str, Any]]:
        """Write the payloads."""
        return sms.render(channel, replies)

    async def send(self, channel: Any, replies: Any, key: str = "") -> Sent:
        """Take the replies."""
        return Sent()


@pytest.fixture
def twilio() -> Twilio:
    """A channel that notes the URLs that it is called with."""
    return Twilio()


@pytest.fixture
def made(twilio: Twilio) -> Starlette:
    """The app."""
    manager = AsyncFlowStateManager.in_memory(greeting())
    return app(manager, {"sms": twilio, "rest": RestChannel(secrets=REST_SECRET)}, base=BASE)


def check(web: TestClient, twilio: Twilio, at: str) -> None:
    """Check that the app answers at a path, and that the URL of a request is the whole one."""
    raw, headers = signed("rest")
    answer = web.post(f"{at}/rest", content=raw, headers=headers)
    assert (answer.status_code, answer.json()["replies"][0]["text"]) == (200, "Shall we?")
    assert web.post(f"{at}/rest", content=raw).status_code == 403
    assert web.get(f"{at}/healthz").text == "ok"
    assert web.post(f"{at}/sms?a=1&b=%2B", content=signed("sms")[0]).status_code == 200
    assert twilio.urls == [f"{BASE}{at}/sms?a=1&b=%2B"]


def test_starlette_mounts_it(made: Starlette, twilio: Twilio) -> None:
    """The app answers below the path of its mount, and a signature of the URL is checked with that path."""
    check(TestClient(Starlette(routes=[Mount("/bot", made)])), twilio, "/bot")


def test_fastapi_mounts_it(made: Starlette, twilio: Twilio) -> None:
    """FastAPI mounts the app beside its own routes."""
    pytest.importorskip("fastapi", reason="FastAPI is not installed")
    other: Any = importlib.import_module("fastapi").FastAPI()
    other.get("/own")(lambda: {"own": True})
    other.mount("/bot", made)
    web = TestClient(other)
    check(web, twilio, "/bot")
    assert web.get("/own").json() == {"own": True}


def test_django_stands_beside_it(made: Starlette, twilio: Twilio) -> None:
    """The ASGI application of Django takes all other paths."""
    pytest.importorskip("django", reason="Django is not installed")
    configure()
    django: Any = importlib.import_module("django.core.asgi").get_asgi_application()

    async def asgi(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        mine = scope["type"] == "http" and scope["path"] in ("/sms", "/rest", "/healthz")
        await (made if mine else django)(scope, receive, send)

    web = TestClient(asgi)
    check(web, twilio, "")
    assert (web.get("/other").status_code, "<h1>Not Found</h1>" in web.get("/other").text) == (404, True)  # by Django
