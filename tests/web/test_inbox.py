"""An inbox of people over HTTP: what a member says is posted to the help desk, and its signed acts come in."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Generator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.web.app_client import TestClient
from tests.web.signed import BASE
from vimbiso_fsm import AsyncFlowStateManager, Bot, Channel, Flow, Inbox, State, Text, Transition
from vimbiso_fsm.channels import rest
from vimbiso_fsm.errors import StoreUnavailable
from vimbiso_fsm.messages.message import Message
from vimbiso_fsm.messages.passed_on import PassedOn
from vimbiso_fsm.messages.replies import Reply
from vimbiso_fsm.messages.sending import Later, Never, Sent
from vimbiso_fsm.web.app import app
from vimbiso_fsm.web.inbox import AsyncInboxClient, HttpInbox, InboxClient
from vimbiso_fsm.web.requests import HttpRequest, HttpResponse, NoResponse

SECRET = "inbox-secret-of-thirty-two-chars-or-more"
URL = "https://desk.example.org/hooks/bot"
MEMBER = Channel("telegram", "77")


class HelpDesk:
    """A help desk that verifies what is posted to it, and keeps it."""

    def __init__(self) -> None:
        self.posts: list[dict[str, Any]] = []
        self.answers: list[HttpResponse | NoResponse] = []

    def take(self, request: HttpRequest) -> HttpResponse | NoResponse:
        """Take a post."""
        assert (request.method, request.url) == ("POST", URL)
        assert HttpInbox(name="support", url=URL, secrets=SECRET).verify(request.headers, request.content, now=_now())
        answer = self.answers.pop(0) if self.answers else HttpResponse(204)
        if isinstance(answer, HttpResponse) and answer.is_success:
            self.posts.append(json.loads(request.content))
        return answer

    @property
    def heard(self) -> list[tuple[str, str, str]]:
        """What was posted: the kind, the words and the person."""
        return [(each["kind"], each["text"], each["by"]) for each in self.posts]


def _now() -> datetime:
    return datetime.fromtimestamp(time.time(), UTC)


class Threads:
    """A carrier for threads, to the help desk."""

    def __init__(self, desk: HelpDesk) -> None:
        self.desk, self.closed = desk, False

    def perform(self, request: HttpRequest, until: float) -> HttpResponse | NoResponse:
        """Make a request."""
        assert until > time.monotonic()
        return self.desk.take(request)

    def close(self) -> None:
        """Note that it is closed."""
        self.closed = True


class Loop(Threads):
    """A carrier for an event loop, to the help desk."""

    async def perform(self, request: HttpRequest, until: float) -> HttpResponse | NoResponse:  # type: ignore[override]
        """Make a request."""
        return super().perform(request, until)

    async def close(self) -> None:  # type: ignore[override]
        """Note that it is closed."""
        super().close()


class Scene:
    """A bot with two inboxes on an app, its help desk, and what the member was sent."""

    def __init__(self) -> None:
        self.desk, self.sent = HelpDesk(), list[str]()
        home: Flow[Any] = Flow("home", initial="menu", states=[State("menu", ask=Text("Menu"))],
                               transitions=[Transition("again", "menu", "menu")])  # fmt: skip
        self.inbox = HttpInbox(name="support", url=URL, secrets=SECRET)
        other = HttpInbox(name="sales", url=URL, secrets=SECRET[::-1])
        client = AsyncInboxClient(self.inbox, carrier=Loop(self.desk))

        async def send(channel: Channel, replies: Sequence[Reply]) -> Sent:
            self.sent += [reply.text for reply in replies]
            return Sent()

        self.manager = AsyncFlowStateManager.in_memory(
            Bot(home, inboxes=[Inbox("support", words=["agent"]), Inbox("sales", words=["buy"])]),
            inboxes={"support": client.take, "sales": client.take}, senders={"telegram": send},
        )  # fmt: skip
        self.web = TestClient(app(self.manager, {"help": self.inbox, "sales": other}, base=BASE), BASE)

    def calls(self, do: Callable[[], Awaitable[Any]]) -> Any:
        """Call something on the loop of the app."""
        assert self.web.portal is not None
        return self.web.portal.call(do)

    def says(self, text: str) -> Any:
        """Let the member say something."""
        return self.calls(lambda: self.manager.handle(Message(MEMBER, f"m-{text}", text)))

    def acts(self, path: str = "/help", *, secret: str = SECRET, late: Any = 0, **act: Any) -> Any:
        """Let a person act, and return the response."""
        raw = json.dumps(act).encode()
        signature = rest.sign(raw, secret=secret, at=int(time.time()) - late)
        return self.web.post(path, content=raw, headers={"X-Vimbiso-Signature": signature})


@pytest.fixture
def scene() -> Generator[Scene]:
    """The app and the help desk."""
    made = Scene()
    with made.web:
        yield made


def test_a_conversation_with_a_person(scene: Scene) -> None:
    """The desk takes a conversation, hears the member, answers and gives it back; the audit says who, and when."""
    member = scene.says("hi").member_id
    taken = scene.acts(do="take", member=member, key="1", by="ann")
    assert (taken.status_code, taken.json()) == (200, {"status": "advanced", "reason": "", "held": ""})
    scene.says("my order is lost")
    assert (
        scene.acts(do="say", member=member, key="2", by="ann", text="We send it again.").json()["status"] == "advanced"
    )
    assert scene.sent[-1] == "We send it again."
    assert scene.acts(do="back", member=member, key="3", by="ann").json()["status"] == "advanced"
    assert scene.sent[-1] == "Menu"
    assert scene.desk.heard == [("begun", "", "ann"), ("said", "my order is lost", ""), ("ended", "", "ann")]
    assert {each["member"] for each in scene.desk.posts} == {member}
    assert scene.desk.posts[1]["channel"] == {"type": "telegram", "identifier": "77"}
    audit = [(entry.kind, entry.detail.get("by")) for entry in scene.calls(lambda: scene.manager.history(member))]
    assert [each for each in audit if each[1]] == [("handed", "ann"), ("person", "ann"), ("handed", "ann")]


def test_an_act_that_comes_again_has_no_second_effect(scene: Scene) -> None:
    """A request that is made again is a duplicate. Its key is the inbox's own, and meets no key of another system."""
    member = scene.says("agent").member_id
    scene.calls(lambda: scene.manager.tell(member, Text("News."), key="1"))
    acts = [scene.acts(do="say", member=member, key="1", by="ann", text="Hello.").json()["status"] for _ in range(2)]
    assert acts == ["advanced", "duplicate"]
    assert scene.sent.count("Hello.") == 1
    assert scene.acts(do="say", member=member, key="1", by="ann", text="Another.").json()["reason"] == "key"


def test_an_inbox_acts_in_its_own_conversations_alone(scene: Scene) -> None:
    """A desk neither speaks nor gives back where another inbox, or the bot, has the conversation."""
    member = scene.says("hi").member_id
    assert scene.acts(do="say", member=member, key="0", by="ann", text="Hello.").json()["reason"] == "not handed"
    scene.says("agent")
    acts: list[dict[str, Any]] = [{"do": "say", "text": "Hello."}, {"do": "back"}]
    for act in acts:
        answer = scene.acts("/sales", secret=SECRET[::-1], member=member, key="1", by="eve", **act)
        assert (answer.json()["status"], answer.json()["reason"]) == ("ignored", "not handed")
    assert (
        scene.acts("/sales", secret=SECRET[::-1], do="take", member=member, key="1", by="eve").json()["reason"]
        == "handed"
    )
    assert "Hello." not in scene.sent
    assert scene.acts(do="say", member="nobody", key="1", by="ann", text="Hello.").json()["reason"] == "unknown member"


def test_a_request_of_a_stranger_does_nothing(scene: Scene) -> None:
    """A request without the secret, with that of another inbox, or that was recorded, is refused without a word."""
    member = scene.says("agent").member_id
    forged: list[dict[str, Any]] = [{"secret": "x" * 32}, {"secret": SECRET[::-1]}, {"late": 400}, {"late": -400}]
    for more in forged:
        answer = scene.acts(do="say", member=member, key="1", by="eve", text="Hello.", **more)
        assert (answer.status_code, answer.content) == (403, b"")
    assert scene.web.get("/help").status_code == 405
    assert "Hello." not in scene.sent


@pytest.mark.parametrize(
    ("act", "field"),
    [
        ({}, "do"),
        ({"do": "leave"}, "do"),
        ({"do": 3}, "do"),
        ({"do": "say", "member": "m", "key": "k", "by": "ann"}, "text"),
        ({"do": "say", "member": "m", "key": "k", "by": "ann", "text": " "}, "text"),
        ({"do": "say", "member": "m", "key": "k", "by": "ann", "text": "x" * 20_000}, "text"),
        ({"do": "back", "member": "m", "key": "k", "by": "ann", "text": "x"}, "body"),
        ({"do": "take", "member": "m", "key": "k" * 5_000, "by": "ann"}, "key"),
        ({"do": "take", "member": "m", "key": "k", "by": "a" * 100}, "by"),
        ({"do": "take", "member": "", "key": "k", "by": "ann"}, "member_id"),
    ],
    ids=["empty", "unknown", "no text", "silent", "blank", "long", "too much", "long key", "long name", "no member"],
)
def test_a_broken_act_is_told_by_its_field(scene: Scene, act: dict[str, Any], field: str) -> None:
    """A desk that may act here is told what is wrong with its request."""
    answer = scene.acts(**act)
    assert (answer.status_code, answer.json()["error"], answer.json()["field"]) == (400, "InvalidMessage", field)


def test_an_act_that_was_not_taken_is_told(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the store is down, the desk makes the request again."""

    async def fails(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("it is down")

    monkeypatch.setattr(type(scene.manager), "say", fails)
    answer = scene.acts(do="say", member="m", key="1", by="ann", text="Hello.")
    assert (answer.status_code, answer.json(), answer.headers["Retry-After"]) == (
        503,
        {"error": "StoreUnavailable"},
        "1",
    )


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        (HttpResponse(200), Sent()),
        (HttpResponse(204), Sent()),
        (HttpResponse(301), Later(None)),
        (HttpResponse(400), Later(None)),
        (HttpResponse(429, {"retry-after": "7"}), Later(7)),
        (HttpResponse(503, {"retry-after": "soon"}), Later(None)),
        (NoResponse(True, "ReadTimeout"), Later(None)),
        (HttpResponse(410), Never("the help desk is gone", code="410")),
    ],
    ids=str,
)
def test_the_answer_of_the_desk_says_what_comes_next(response: Any, answer: Any) -> None:
    """Only a success counts as taken; a desk that is gone gives the conversation back, all others are asked again."""
    assert HttpInbox(name="support", url=URL, secrets=SECRET).answer(response) == answer


def test_what_the_desk_has_not_taken_is_posted_again(scene: Scene) -> None:
    """A desk that is down for a while gets everything once it is up, in order, each under the name that it had."""
    scene.desk.answers = [HttpResponse(503)]
    member = scene.says("agent").member_id
    scene.says("one")
    assert scene.desk.posts == []
    now = time.time()
    scene.manager._base.clock.follow(lambda: now + 120)
    scene.calls(lambda: scene.manager.wake(member))
    assert [each[:2] for each in scene.desk.heard] == [("begun", ""), ("said", "one")]
    assert len({each["id"] for each in scene.desk.posts}) == 2


def test_a_desk_that_is_gone_gives_the_conversation_back(scene: Scene) -> None:
    """After 410 the member is with the bot again, and is told so."""
    scene.desk.answers = [HttpResponse(410)]
    scene.says("agent")
    assert scene.calls(scene.manager.handed).conversations == ()


def test_a_client_for_threads() -> None:
    """The client for threads posts the same, and closes its carrier."""
    desk = HelpDesk()
    carrier = Threads(desk)
    passed = PassedOn(inbox="support", id="1", kind="said", at=_now(), member_id="m", channel=MEMBER, text="x")
    with InboxClient(HttpInbox(name="support", url=URL, secrets=[SECRET, "y" * 32]), carrier=carrier) as client:
        assert client.take(passed) == Sent()
    assert (carrier.closed, desk.posts[0]["text"]) == (True, "x")


@pytest.mark.parametrize("wrong", [{"url": "desk"}, {"url": "ftp://x"}, {"secrets": "short"}, {"secrets": []}], ids=str)
def test_a_wrong_inbox_is_refused(wrong: dict[str, Any]) -> None:
    """An address that is none and a secret that can be guessed are refused when the inbox is made."""
    with pytest.raises(ValueError, match=r"url|secrets") as error:
        HttpInbox(**{"name": "support", "url": URL, "secrets": SECRET, **wrong})
    assert "short" not in str(error.value)
