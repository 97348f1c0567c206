"""The webhooks of WhatsApp, Telegram and Twilio as an ASGI app, by its test client."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.web.clients import TOKEN, api_of, async_client
from tests.web.vendors import Answer, Vendors
from vimbiso_fsm import AsyncFlowStateManager, Bot, Flow, State, Text, Transition
from vimbiso_fsm.errors import StoreUnavailable
from vimbiso_fsm.web.app import MAX_BODY, app

BASE = "https://bot.example.org"
CLOUD = {
    "object": "whatsapp_business_account",
    "entry": [
        {
            "changes": [
                {
                    "field": "messages",
                    "value": {
                        "metadata": {"phone_number_id": "106"},
                        "messages": [
                            {
                                "from": "263771000001",
                                "id": "wamid.in",
                                "type": "text",
                                "text": {"body": "hi"},
                            }
                        ],
                    },
                }
            ]
        }
    ],
}
CHAT = {"id": 11, "type": "private"}
UPDATE = {"update_id": 1, "message": {"message_id": 2, "date": 1, "chat": CHAT, "from": {"id": 11}, "text": "hi"}}
FORM = b"MessageSid=SM0&From=%2B263771000001&To=%2B16505550002&Body=hi"


def signed(name: str) -> tuple[bytes, dict[str, str]]:
    """Return the body and the headers of a request of a channel."""
    match name:
        case "whatsapp":
            raw = json.dumps(CLOUD).encode()
            return raw, {"X-Hub-Signature-256": "sha256=" + hmac.new(b"s", raw, hashlib.sha256).hexdigest()}
        case "telegram":
            return json.dumps(UPDATE).encode(), {"X-Telegram-Bot-Api-Secret-Token": "s"}
        case _:
            text = f"{BASE}/sms?a=1" + "Bodyhi" + "From+263771000001" + "MessageSidSM0" + "To+16505550002"
            digest = hmac.new(TOKEN.encode(), text.encode(), "sha1").digest()
            return FORM, {"X-Twilio-Signature": base64.b64encode(digest).decode()}


PATHS = {"whatsapp": "/whatsapp", "telegram": "/telegram", "sms": "/sms?a=1"}
each_channel = pytest.mark.parametrize("name", PATHS)


@pytest.fixture
def manager() -> AsyncFlowStateManager:
    """A manager whose senders a worker would use; the app sends what it has handled."""
    states: list[State[Any]] = [State("ask", ask=Text("Shall we?")), State("begun", say=Text("So."), final=True)]
    flow = Flow("greeting", initial="ask", states=states, transitions=[Transition("yes", "ask", "begun")])

    async def never_called(channel: Any, replies: Any) -> Any:
        raise AssertionError

    return AsyncFlowStateManager.in_memory(Bot([flow]), senders=dict.fromkeys(PATHS, never_called))


@pytest.fixture
def web(world: Vendors, manager: AsyncFlowStateManager) -> Generator[TestClient]:
    """The app, with channels that talk to the vendors on this machine."""
    channels = {name: async_client(api_of(name, world.url)) for name in PATHS}
    with TestClient(app(manager, channels, base=BASE, verify_token="t0ken"), BASE) as found:
        yield found


def test_nothing_else_is_served(web: TestClient) -> None:
    """The app serves the webhooks and a sign of life, and nothing else."""
    assert (web.get("/healthz").text, web.get("/").status_code, web.put("/sms").status_code) == ("ok", 404, 405)


@each_channel
def test_a_request_of_the_channel_is_answered_by_a_reply(web: TestClient, world: Vendors, name: str) -> None:
    """What is said in a request that the channel has signed is answered, once, however often it comes."""
    raw, headers = signed(name)
    for _ in range(2):
        assert web.post(PATHS[name], content=raw, headers=headers).status_code == 200
    assert ["Shall" in each.body.decode() for each in world.seen] == [True]


@each_channel
def test_a_request_that_the_channel_has_not_signed_is_refused(web: TestClient, world: Vendors, name: str) -> None:
    """A request without its proof, or with another one, is refused and reaches nobody."""
    raw, headers = signed(name)
    assert web.post(PATHS[name], content=raw).status_code == 403
    assert web.post(PATHS[name], content=raw, headers=dict.fromkeys(headers, "other")).status_code == 403
    if name == "sms":
        assert web.post("/sms?a=2", content=raw, headers=headers).status_code == 403
    assert world.seen == []


@each_channel
def test_a_body_that_is_too_large_is_refused_before_it_is_read(web: TestClient, name: str) -> None:
    """A body above the limit is refused, also where its length is not announced."""

    def pieces() -> Iterator[bytes]:
        yield from [b"x" * 1024] * (MAX_BODY // 1024 + 2)

    assert web.post(PATHS[name], content=b"", headers={"Content-Length": str(MAX_BODY + 1)}).status_code == 413
    assert web.post(PATHS[name], content=pieces()).status_code == 413


def test_a_body_that_cannot_be_read_is_refused(web: TestClient) -> None:
    """A signed body that is no webhook is refused."""
    headers = {"X-Telegram-Bot-Api-Secret-Token": "s"}
    for raw in (b"", b"[]", b'{"update_id": 1, "update_id": 2}', b'{"update_id": NaN}', b"[" * 100_000):
        assert web.post("/telegram", content=raw, headers=headers).status_code == 400


def test_the_handshake_of_meta(web: TestClient) -> None:
    """The challenge is returned for the right token only."""
    params = {"hub.mode": "subscribe", "hub.verify_token": "t0ken", "hub.challenge": "42"}
    right = web.get("/whatsapp", params=params)
    assert (right.status_code, right.text) == (200, "42")
    assert web.get("/whatsapp", params={**params, "hub.verify_token": "other"}).status_code == 403


def test_what_was_not_taken_is_asked_for_again(
    web: TestClient, manager: AsyncFlowStateManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the store is down, the answer is 503, so that the channel delivers again."""

    async def fails(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("it is down")

    monkeypatch.setattr(type(manager), "handle", fails)
    raw, headers = signed("telegram")
    assert web.post("/telegram", content=raw, headers=headers).status_code == 503


def test_replies_that_the_channel_does_not_take_are_left_to_a_worker(web: TestClient, world: Vendors) -> None:
    """A limit or a fault of the channel is no fault of the webhook."""
    raw, headers = signed("telegram")
    world.will(Answer(500, b""))
    assert web.post("/telegram", content=raw, headers=headers).status_code == 200
    assert len(world.seen) == 1
