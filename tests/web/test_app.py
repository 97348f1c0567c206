"""The webhooks of WhatsApp, Telegram and Twilio as an ASGI app, by its test client."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from tests.web.app_client import TestClient
from tests.web.clients import api_of, async_client
from tests.web.signed import BASE, REST_SECRET, signed
from tests.web.vendors import Answer, Vendors
from vimbiso_fsm import AsyncFlowStateManager, Bot, Flow, State, Text, Transition
from vimbiso_fsm.errors import StoreUnavailable
from vimbiso_fsm.flow.rates import Rate
from vimbiso_fsm.runtime.worker import AsyncWorker
from vimbiso_fsm.web import AsyncChannelClient, CloudApi, TelegramApi
from vimbiso_fsm.web.app import app
from vimbiso_fsm.web.rest import RestChannel
from vimbiso_fsm.web.settings import MAX_BODY

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
    """The app serves the webhooks and signs of life, and nothing else."""
    assert (web.get("/healthz").text, web.get("/").status_code, web.put("/sms").status_code) == ("ok", 404, 405)
    assert [web.get(path).status_code for path in ("/telegram", "/sms", "/metrics", "/docs")] == [405, 405, 404, 404]


@each_channel
def test_a_request_of_the_channel_is_answered_by_a_reply(web: TestClient, world: Vendors, name: str) -> None:
    """What is said in a request that the channel has signed is answered, once, however often it comes."""
    raw, headers = signed(name)
    for _ in range(2):
        assert web.post(PATHS[name], content=raw, headers=headers).status_code == 200
    assert ["Shall" in each.body.decode() for each in world.seen] == [True]


@each_channel
def test_sg61_a_request_that_the_channel_has_not_signed_is_refused(web: TestClient, world: Vendors, name: str) -> None:
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


def test_sg62_the_handshake_of_meta(web: TestClient) -> None:
    """The challenge is returned for the right token only."""
    params = {"hub.mode": "subscribe", "hub.verify_token": "t0ken", "hub.challenge": "42"}
    right = web.get("/whatsapp", params=params)
    assert (right.status_code, right.text) == (200, "42")
    assert web.get("/whatsapp", params={**params, "hub.verify_token": "other"}).status_code == 403


def of_whatsapp(*messages: dict[str, Any]) -> tuple[bytes, dict[str, str]]:
    """Return the body and the headers of a request of WhatsApp with these messages."""
    value = {"metadata": {"phone_number_id": "106"}, "messages": list(messages)}
    entry = {"changes": [{"field": "messages", "value": value}]}
    raw = json.dumps({"object": "whatsapp_business_account", "entry": [entry]}).encode()
    return raw, {"X-Hub-Signature-256": "sha256=" + hmac.new(b"s", raw, hashlib.sha256).hexdigest()}


def text_of(number: int, words: str, **fields: Any) -> dict[str, Any]:
    """Return a text message as WhatsApp writes it."""
    return {"from": "263771000001", "id": f"wamid.{number}", "type": "text", "text": {"body": words}, **fields}


def test_sg63_two_messages_in_one_request_are_handled_in_order(web: TestClient, world: Vendors) -> None:
    """Both messages of a request are answered, the earlier one first."""
    raw, headers = of_whatsapp(text_of(1, "hi"), text_of(2, "yes"))
    assert web.post("/whatsapp", content=raw, headers=headers).status_code == 200
    said = [each.body.decode() for each in world.seen]
    assert ["Shall we?" in words for words in said] == [True, False]
    assert "So." in said[1]


@pytest.mark.parametrize("day", [1, -1, 36_500])
def test_sg64_a_message_of_tomorrow_is_one_of_now(web: TestClient, world: Vendors, day: int) -> None:
    """A message that is dated on another day is handled as one that comes now, and the session goes on."""
    for number, words in enumerate(("hi", "yes")):
        at = str(int(time.time()) + day * 86_400)
        raw, headers = of_whatsapp(text_of(number, words, timestamp=at))
        assert web.post("/whatsapp", content=raw, headers=headers).status_code == 200
    assert "So." in world.seen[-1].body.decode()


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


@each_channel
def test_sg65_no_header_makes_a_request_one_of_a_test(web: TestClient, world: Vendors, name: str) -> None:
    """A header that names a test, another method or another host neither opens the door nor changes what is signed."""
    raw, headers = signed(name)
    others = {
        "X-Mock-Testing": "true",
        "X-Test": "1",
        "X-HTTP-Method-Override": "GET",
        "X-Forwarded-Host": "evil.example.org",
        "Host": "evil.example.org",
        "X-Forwarded-Proto": "http",
    }
    assert web.post(PATHS[name], content=raw, headers=others).status_code == 403
    assert world.seen == []
    assert web.post(PATHS[name], content=raw, headers={**headers, **others}).status_code == 200


# Start


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("channel", "verify_token", "named"),
    [
        (CloudApi(token="t", number_id="1"), "t0ken", "app_secret"),
        (CloudApi(token="t", number_id="1", app_secret="s"), "", "verify_token"),
        (TelegramApi(token="t"), "", "secret_token"),
    ],
    ids=["app secret", "verify token", "secret token"],
)
async def test_an_app_without_a_secret_is_not_made(
    manager: AsyncFlowStateManager, channel: CloudApi | TelegramApi, verify_token: str, named: str
) -> None:
    """An app whose channel could verify no request is refused, and the error names the setting."""
    async with AsyncChannelClient(channel) as client:
        with pytest.raises(ValueError, match=f"'c' has no {named}; without it"):
            app(manager, {"c": client}, base=BASE, verify_token=verify_token)


@pytest.mark.parametrize("name", ["", "Up", "a/b", "{a}", "healthz", "metrics", "a b", "-", "é"])
def test_a_path_that_is_none_is_refused(manager: AsyncFlowStateManager, name: str) -> None:
    """The path of a channel has letters, digits and dashes, and is none of the app's own."""
    with pytest.raises(ValueError, match="is no path of a channel"):
        app(manager, {name: RestChannel(secrets="s" * 32)}, base=BASE)


@pytest.mark.parametrize("base", ["", "bot.example.org", "ftp://bot.example.org", "https://", "https://a/?b=1"])
def test_a_base_that_is_no_address_is_refused(manager: AsyncFlowStateManager, base: str) -> None:
    """Without the address that channels call, a signature of Twilio cannot be checked."""
    with pytest.raises(ValueError, match="base is not the address"):
        app(manager, {}, base=base)


# Operators


def test_an_app_is_ready_while_its_store_answers(
    web: TestClient, manager: AsyncFlowStateManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`/readyz` asks the store; `/healthz` does not."""
    assert (web.get("/readyz").status_code, web.get("/readyz").text) == (200, "ready")

    async def fails(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("it is down")

    monkeypatch.setattr(type(manager), "state", fails)
    assert (web.get("/readyz").status_code, web.get("/healthz").status_code) == (503, 200)


# Rates of network addresses


def test_a_network_address_that_is_refused_too_often_is_shut_out_for_a_time(manager: AsyncFlowStateManager) -> None:
    """Above the rate of refusals even a right request of a public address waits; others are taken."""
    made = app(manager, {"rest": RestChannel(secrets=REST_SECRET)}, base=BASE, refusals=Rate(2, every=3600.0))
    raw, headers = signed("rest")
    stranger, other, proxy = (TestClient(made, client=(host, 1)) for host in ("8.8.8.8", "8.8.4.4", "10.0.0.1"))
    for web in (stranger, proxy):
        assert [web.post("/rest", content=b"{}").status_code for _ in range(2)] == [403, 403]
    shut_out = stranger.post("/rest", content=raw, headers=headers)
    assert (shut_out.status_code, int(shut_out.headers["Retry-After"]) > 3000) == (429, True)
    for web in (other, proxy):
        assert web.post("/rest", content=raw, headers=headers).status_code == 200


# The worker of the process


def test_an_app_is_not_ready_while_its_worker_makes_no_progress(manager: AsyncFlowStateManager) -> None:
    """`/readyz` tells of a worker whose round does not end, and is ready again when it does."""
    at = 0.0
    worker = AsyncWorker(manager)
    worker.stalled_for = lambda: at  # type: ignore[method-assign]
    web = TestClient(app(manager, {}, base=BASE, worker=worker))
    assert web.get("/readyz").status_code == 200
    at = 41.0
    answer = web.get("/readyz")
    assert (answer.status_code, answer.text) == (503, "not ready: the worker made no progress for 41 s")
    at = 1.0
    assert web.get("/readyz").status_code == 200
