"""The REST channel of the app: a signed request with a message, and an answer with its replies."""

from __future__ import annotations

import json
import time
from collections.abc import Generator
from typing import Any

import pytest

from tests.web.app_client import TestClient
from tests.web.signed import BASE, REST_SECRET, signed
from vimbiso_fsm import AsyncFlowStateManager, Bot, Flow, State, Text, Transition
from vimbiso_fsm.channels import rest
from vimbiso_fsm.errors import StoreUnavailable
from vimbiso_fsm.flow.rates import Rate, Rates
from vimbiso_fsm.web.app import app
from vimbiso_fsm.web.rest import RestChannel


def greeting() -> Bot:
    """Return a bot that asks one question."""
    states: list[State[Any]] = [State("ask", ask=Text("Shall we?")), State("begun", say=Text("So."), final=True)]
    return Bot([Flow("greeting", initial="ask", states=states, transitions=[Transition("yes", "ask", "begun")])])


def web_of(manager: AsyncFlowStateManager) -> TestClient:
    """Return a client of an app with a REST channel."""
    made = app(manager, {"rest": RestChannel(secrets=REST_SECRET)}, base=BASE)
    return TestClient(made, BASE)


@pytest.fixture
def manager() -> AsyncFlowStateManager:
    """A manager without senders."""
    return AsyncFlowStateManager.in_memory(greeting())


@pytest.fixture
def web(manager: AsyncFlowStateManager) -> Generator[TestClient]:
    """The app."""
    with web_of(manager) as found:
        yield found


def post(web: TestClient, late: int = 0, **fields: Any) -> Any:
    """Send a message that was signed `late` seconds ago."""
    raw = json.dumps({"sender": "ada", **fields}).encode()
    signature = rest.sign(raw, secret=REST_SECRET, at=int(time.time()) - late)
    return web.post("/rest", content=raw, headers={"X-Vimbiso-Signature": signature})


def test_a_conversation(web: TestClient) -> None:
    """A question has its buttons in the answer; the id of a pressed one is the choice of the next message."""
    asked = post(web, id="1", text="hi").json()
    (question,) = asked["replies"]
    assert (asked["status"], question["type"], question["text"]) == ("advanced", "buttons", "Shall we?")
    answer = post(web, id="2", choice=question["buttons"][0]["id"])
    assert answer.json()["replies"][0] == {"type": "text", "text": "So."}
    assert (answer.headers["content-type"], answer.headers["cache-control"]) == ("application/json", "no-store")


def test_a_message_that_comes_again_has_the_same_answer(web: TestClient) -> None:
    """A system that has lost the answer sends the message again, and nothing happens twice."""
    first, again = post(web, id="1", text="hi").json(), post(web, id="1", text="hi").json()
    assert (first["status"], again["status"]) == ("advanced", "duplicate")
    assert first["replies"] == again["replies"]


def test_an_old_request_is_refused(web: TestClient) -> None:
    """A request that was recorded on its way is worth nothing after five minutes."""
    assert (post(web, 290, id="1", text="hi").status_code, post(web, 310, id="2", text="hi").status_code) == (200, 403)


def test_a_request_that_is_not_signed_says_nothing(web: TestClient) -> None:
    """A stranger learns of no field of the request."""
    raw, _ = signed("rest")
    answer = web.post("/rest", content=raw)
    assert (answer.status_code, answer.content, web.get("/rest").status_code) == (403, b"", 405)


def test_a_broken_message_is_told_by_its_field(web: TestClient) -> None:
    """A system that may speak here is told what is wrong with its message."""
    answer = post(web, id="1")
    fault = {"error": "InvalidMessage", "field": "body", "fault": "must have one of text, choice and content"}
    assert (answer.status_code, answer.json()) == (400, fault)


def test_a_channel_that_the_bot_does_not_know_is_told(manager: AsyncFlowStateManager) -> None:
    """The type of the channel is one of the bot's."""
    channel = RestChannel(secrets=REST_SECRET, type="pigeon")
    with TestClient(app(manager, {"rest": channel}, base=BASE), BASE) as web:
        answer = post(web, id="1", text="hi")
    assert (answer.status_code, answer.json()["error"]) == (400, "InvalidMessage")


def test_a_sender_above_their_rate_is_told_when_to_come_again() -> None:
    """The rates of the manager count for each sender, and not for the system that speaks for all of them."""
    manager = AsyncFlowStateManager.in_memory(greeting(), rates=Rates(Rate(1, every=3600.0)))
    with web_of(manager) as web:
        first, second, other = (post(web, id=str(n), text="hi", sender=who) for n, who in enumerate(("a", "a", "b")))
    assert [each.status_code for each in (first, second, other)] == [200, 429, 200]
    assert (second.json()["error"], int(second.headers["Retry-After"]) > 3000) == ("TooManyMessages", True)
    assert second.json()["reply"]


def test_a_message_that_was_not_taken_is_told(
    web: TestClient, manager: AsyncFlowStateManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the store is down, the system sends the message again."""

    async def fails(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("it is down")

    monkeypatch.setattr(type(manager), "handle", fails)
    answer = post(web, id="1", text="hi")
    assert (answer.status_code, answer.json()["error"], answer.headers["Retry-After"]) == (503, "StoreUnavailable", "1")


def test_replies_in_the_answer_are_not_sent_by_a_worker() -> None:
    """A manager with a sender for the channel, for what answers no message, is told that the replies have left."""

    async def never_called(channel: Any, replies: Any) -> Any:
        raise AssertionError

    manager = AsyncFlowStateManager.in_memory(greeting(), senders={"rest": never_called})
    told: list[Any] = []
    sent = manager.sent

    async def watched(outcome: Any, answer: Any) -> None:
        told.append(outcome.leased)
        await sent(outcome, answer)

    manager.sent = watched  # type: ignore[method-assign]  # to see that it is called
    with web_of(manager) as web:
        assert post(web, id="1", text="hi").json()["replies"]
    assert [len(each) for each in told] == [1]


@pytest.mark.parametrize("secrets", ["", [], "s" * 31, ["s" * 32, "t"], "é" * 32, "s" * 31 + " "])
def test_a_channel_without_a_good_secret_is_not_made(secrets: Any) -> None:
    """The error does not quote the secret."""
    with pytest.raises(ValueError, match=r"^secrets") as caught:
        RestChannel(secrets=secrets)
    assert "sss" not in str(caught.value)
    assert REST_SECRET not in repr(RestChannel(secrets=REST_SECRET))
