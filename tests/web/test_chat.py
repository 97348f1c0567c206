"""The web chat over real web sockets on this machine, driven by a plain client."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.engines import running, valkey_program
from tests.web.chat_bot import LIMIT, SECRET, Served, served
from vimbiso_fsm import AsyncFlowStateManager, Channel, Message, Text
from vimbiso_fsm.channels import web
from vimbiso_fsm.errors import StoreUnavailable, TooManyMessages
from vimbiso_fsm.web.chat_connection import FRAMES

pytestmark = [pytest.mark.asyncio, pytest.mark.embedded]


@pytest.fixture(scope="module")
def store() -> Generator[str]:
    """The URL of a server."""
    with running(valkey_program()) as server:
        yield server.url


@pytest.fixture(scope="module")
def site(store: str) -> Generator[Served]:
    """An app with a web chat."""
    with served(store) as found:
        yield found


async def cookie_of(site: Served, cookie: str = "") -> str:
    """Open the page, and return the cookie that it has set."""
    headers = {"Cookie": cookie} if cookie else {}
    async with httpx2.AsyncClient() as client:
        answer = await client.get(site.url, headers=headers)
    assert answer.status_code == 200
    return str(answer.headers["set-cookie"].partition(";")[0])


class Page:
    """A page that has a web socket."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket, self._count = socket, 0

    async def send(self, **frame: Any) -> None:
        """Send a frame."""
        await self.socket.send(json.dumps(frame))

    async def read(self, kind: str = "") -> dict[str, Any]:
        """Return the next frame, or the next of a type."""
        while True:
            frame: dict[str, Any] = json.loads(await self.socket.recv())
            if not kind or frame["type"] == kind:
                return frame

    async def say(self, id: str, **part: Any) -> dict[str, Any]:
        """Send a message, and return the answer to it."""
        await self.send(type="say", id=id, **part)
        frame = await self.read()
        assert frame["id"] == id
        return frame

    async def closed(self) -> int | None:
        """Wait until the connection ends, and return its code."""
        try:
            while True:
                await self.socket.recv()
        except ConnectionClosed as ended:
            return ended.rcvd.code if ended.rcvd is not None else None


@asynccontextmanager
async def page(site: Served, cookie: str, origin: str | None = None, **options: Any) -> AsyncGenerator[Page]:
    """Connect to the chat as a page does."""
    address = f"ws://127.0.0.1:{site.port}/chat/socket"
    given = site.origin if origin is None else origin
    async with (
        asyncio.timeout(LIMIT),
        connect(address, origin=given or None, additional_headers={"Cookie": cookie}, **options) as found,  # type: ignore[arg-type]
    ):
        yield Page(found)


def choice(frame: dict[str, Any], number: int = 0) -> str:
    """Return the id of a button in an answer."""
    return str(frame["replies"][-1]["buttons"][number]["id"])


async def test_a_conversation(site: Served) -> None:
    """The bot begins when a page is opened, and a pressed button is answered."""
    async with page(site, await cookie_of(site)) as tab:
        await tab.send(type="open", id="o-1")
        asked = await tab.read()
        assert (asked["type"], asked["id"], asked["replies"][0]["type"]) == ("answer", "o-1", "buttons")
        answer = await tab.say("m-1", choice=choice(asked))
        assert [row["title"] for row in answer["replies"][0]["rows"]] == ["Two guests", "Four guests"]
        await tab.send(type="ping")
        assert await tab.read() == {"type": "pong"}


async def test_a_message_that_comes_again_has_the_same_answer_and_one_effect(site: Served) -> None:
    """A page that has lost its connection sends the message again under its id, and is given the first result."""
    cookie = await cookie_of(site)
    async with page(site, cookie) as tab:
        await tab.send(type="open", id="o-1")
        asked = await tab.read()
        first = await tab.say("m-1", choice=choice(asked))
    async with page(site, cookie) as tab:
        again = await tab.say("m-1", choice=choice(asked))
    assert (first["status"], again["status"]) == ("advanced", "duplicate")
    assert again["replies"] == first["replies"]


async def test_a_page_with_nothing_to_show_is_asked_the_open_question(site: Served) -> None:
    """A page that is opened in the middle of a conversation shows where it is, and begins no other."""
    cookie = await cookie_of(site)
    async with page(site, cookie) as tab:
        await tab.send(type="open", id="o-1")
        answer = await tab.say("m-1", choice=choice(await tab.read()))
    async with page(site, cookie) as tab:
        await tab.send(type="open", id="o-2")
        assert (await tab.read())["replies"][0]["text"] == answer["replies"][0]["text"] == "For how many guests?"


async def test_a_stranger_has_another_conversation(site: Served) -> None:
    """A browser without the cookie is another visitor, and sees nothing of the first."""
    first, second = await cookie_of(site), await cookie_of(site)
    async with page(site, first) as tab, page(site, second) as other:
        await tab.send(type="open", id="o-1")
        await tab.say("m-1", choice=choice(await tab.read()))
        await other.send(type="open", id="o-1")
        assert (await other.read())["replies"][0]["type"] == "buttons"


async def test_the_page_keeps_the_visitor(site: Served) -> None:
    """A page that is opened again renews the cookie of its visitor; a forged one is replaced."""
    first = await cookie_of(site)
    again, forged = await cookie_of(site, first), await cookie_of(site, first[:-1])
    name = [each.partition("=")[2].partition(".")[0] for each in (first, again, forged)]
    assert (name[0] == name[1], name[0] == name[2]) == (True, False)


async def test_what_is_said_of_itself_is_pushed_and_not_said_again(site: Served) -> None:
    """Words that another system gives are pushed to each tab, and are no part of the next answer once one has them."""
    cookie = await cookie_of(site)
    channel = Channel("web", cookie.partition("=")[2].partition(".")[0])
    async with page(site, cookie) as tab, page(site, cookie) as other:
        await tab.send(type="open", id="o-1")
        asked = await tab.read()
        telling = asyncio.wrap_future(
            asyncio.run_coroutine_threadsafe(site.manager.tell(channel, Text("It rains."), key="k-1"), site.loop)
        )
        pushed, seen = await tab.read(), await other.read()
        assert (pushed["type"], pushed["replies"][0]["text"], seen) == ("push", "It rains.", pushed)
        await tab.send(type="got", key=pushed["key"])
        assert (await telling).status == "advanced"
        answer = await tab.say("m-1", choice=choice(asked))
        assert [each["text"] for each in answer["replies"]] == ["For how many guests?"]


async def test_what_is_said_while_nobody_is_there_is_pushed_on_return(site: Served) -> None:
    """Words for a visitor without a connection wait in the store, and are pushed once when a page is there again."""
    cookie = await cookie_of(site)
    channel = Channel("web", cookie.partition("=")[2].partition(".")[0])
    async with page(site, cookie) as tab:
        await tab.send(type="open", id="o-1")
        await tab.read()
    for connection in [each for own in site.chat._of_visitor.values() for each in own]:
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(connection.gone.wait(), site.loop))
    site.do(site.manager.tell(channel, Text("It rains."), key="k-1"))
    async with page(site, cookie) as tab:
        pushed = await tab.read("push")
        assert pushed["replies"][0]["text"] == "It rains."
        await tab.send(type="got", key=pushed["key"])
        answer = await tab.say("m-1", text="talk")
        assert [each["text"] for each in answer["replies"]] == ["What do you want to say?"]


async def test_what_no_page_has_shown_is_said_with_the_next_answer_or_pushed_again(site: Served) -> None:
    """A push that no page acknowledges is not lost, and has the same key when it comes again."""
    cookie = await cookie_of(site)
    channel = Channel("web", cookie.partition("=")[2].partition(".")[0])
    async with page(site, cookie) as tab:
        await tab.send(type="open", id="o-1")
        await tab.read()
        telling = asyncio.run_coroutine_threadsafe(site.manager.tell(channel, Text("It rains."), key="k-1"), site.loop)
        first = await tab.read("push")
    await asyncio.wrap_future(telling)
    async with page(site, cookie) as tab:
        again = await tab.read("push")
        await tab.send(type="got", key=again["key"])
    assert again == first


async def test_a_page_that_acknowledges_nothing_is_pushed_to_again(
    site: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Words count as sent when a page says that it has shown them, and not when its connection has taken them."""
    monkeypatch.setattr("vimbiso_fsm.web.chat.SHOWN_WITHIN", 0.1)
    cookie = await cookie_of(site)
    channel = Channel("web", cookie.partition("=")[2].partition(".")[0])
    async with page(site, cookie) as tab:
        await tab.send(type="open", id="o-1")
        await tab.read()
        asyncio.run_coroutine_threadsafe(site.manager.tell(channel, Text("It rains."), key="k-1"), site.loop)
        first, again = await tab.read("push"), await tab.read("push")
        assert first == again
        await tab.send(type="got", key=again["key"])


async def test_words_left_by_another_process_are_pushed_by_the_one_with_the_connection(store: str) -> None:
    """A worker without the connection leaves the words of a timer, and the process that holds it pushes them."""
    with served(store, works=False) as holder, served(store) as other:
        cookie = await cookie_of(holder)
        async with page(holder, cookie) as tab:
            await tab.send(type="open", id="o-1")
            waits = await tab.say("m-1", choice=choice(await tab.read(), 4))
            assert waits["replies"][0]["text"] == "We look for a table."
            pushed = await tab.read()
            assert (pushed["type"], pushed["replies"][0]["text"]) == ("push", "We have found a table.")
            await tab.send(type="got", key=pushed["key"])
        assert other.chat._count == 0


async def test_a_chat_with_an_account_pushes_too(store: str) -> None:
    """The bot's own address on the channel is part of each word, and of what the process looks for."""
    with served(store, account="shop") as site:
        cookie = await cookie_of(site)
        channel = Channel("web", cookie.partition("=")[2].partition(".")[0]).with_account("shop")
        async with page(site, cookie) as tab:
            await tab.send(type="open", id="o-1")
            pressed = choice(await tab.read())
        for connection in [each for own in site.chat._of_visitor.values() for each in own]:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(connection.gone.wait(), site.loop))
        site.do(site.manager.tell(channel, Text("It rains."), key="k-1"))
        async with page(site, cookie) as tab:
            pushed = await tab.read("push")
            assert pushed["replies"][0]["text"] == "It rains."
            await tab.send(type="got", key=pushed["key"])
            await tab.send(type="open", id="o-2")
            asked = await tab.read("answer")
            assert asked["replies"][0]["type"] == "buttons"
            assert (await tab.say("m-1", choice=pressed))["status"] == "advanced"


async def test_one_tab_too_many_ends_the_oldest(site: Served) -> None:
    """A visitor has a bounded number of connections."""
    cookie = await cookie_of(site)
    async with page(site, cookie) as oldest:
        await oldest.send(type="ping")
        await oldest.read()
        async with contextlib.AsyncExitStack() as others:
            for _ in range(8):
                await (await others.enter_async_context(page(site, cookie))).send(type="ping")
            assert await oldest.closed() == 4000


async def test_pages_are_told_that_the_server_ends(store: str) -> None:
    """A server that ends closes its connections with the code of a server that goes away."""
    with served(store) as site:
        async with page(site, await cookie_of(site)) as tab:
            await tab.send(type="ping")
            await tab.read()
            await asyncio.to_thread(site.stop)
            assert await tab.closed() == 1001


async def test_a_message_that_was_not_taken_is_told_when_to_come_again(
    site: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page is told the seconds after which it sends the same message again, which then takes effect once."""
    handle, faults = (
        AsyncFlowStateManager.handle,
        [StoreUnavailable("it is down"), TooManyMessages("guests", 7.0, told=True)],
    )

    async def fails(manager: AsyncFlowStateManager, message: Message, **more: Any) -> Any:
        if faults:
            fault = faults.pop(0)
            manager._base.not_answered(message, fault)
            raise fault
        return await handle(manager, message, **more)

    async with page(site, await cookie_of(site)) as tab:
        await tab.send(type="open", id="o-1")
        pressed = choice(await tab.read())
        monkeypatch.setattr(AsyncFlowStateManager, "handle", fails)
        down, fast, done = [await tab.say("m-1", choice=pressed) for _ in range(3)]
    assert [(each["type"], each["error"], each["again"]) for each in (down, fast)] == [
        ("refused", "StoreUnavailable", 1.0),
        ("refused", "TooManyMessages", 7.0),
    ]
    assert (bool(down["reply"]), fast["reply"], done["status"]) == (True, "", "advanced")


async def test_an_error_of_the_app_ends_the_connection_alone(site: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an error that is none of the manager's, the page comes back and sends its message again."""

    async def fails(*_: Any, **__: Any) -> Any:
        raise RuntimeError

    cookie = await cookie_of(site)
    async with page(site, cookie) as tab:
        await tab.send(type="open", id="o-1")
        pressed = choice(await tab.read())
        with monkeypatch.context() as patched:
            patched.setattr(AsyncFlowStateManager, "handle", fails)
            await tab.send(type="say", id="m-1", choice=pressed)
            assert await tab.closed() == 1011
    async with page(site, cookie) as tab:
        assert (await tab.say("m-1", choice=pressed))["status"] == "advanced"


async def test_a_message_is_handled_to_its_end_though_its_connection_ends(
    site: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that ends while its message is handled leaves a whole turn, and the page is given its replies."""
    handle, began, goes = AsyncFlowStateManager.handle, threading.Event(), threading.Event()

    async def slow(manager: AsyncFlowStateManager, message: Message, **more: Any) -> Any:
        began.set()
        await asyncio.to_thread(goes.wait, LIMIT)
        return await handle(manager, message, **more)

    cookie = await cookie_of(site)
    async with page(site, cookie) as tab:
        await tab.send(type="open", id="o-1")
        pressed = choice(await tab.read())
        (connection,) = site.chat._of_visitor[cookie.partition("=")[2].partition(".")[0]]
        monkeypatch.setattr(AsyncFlowStateManager, "handle", slow)
        await tab.send(type="say", id="m-1", choice=pressed)
        assert await asyncio.to_thread(began.wait, LIMIT)
    goes.set()
    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(connection.gone.wait(), site.loop))
    async with page(site, cookie) as tab:
        assert (await tab.say("m-1", choice=pressed))["status"] == "duplicate"


async def test_a_page_that_says_nothing_is_let_go(site: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection without a frame for too long is ended; a page says from time to time that it is there."""
    monkeypatch.setattr("vimbiso_fsm.web.chat_connection.IDLE_SECONDS", 0.05)
    async with page(site, await cookie_of(site)) as tab:
        assert await tab.closed() == 4008


# Hostile --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1", ""])
async def test_a_web_socket_of_another_page_is_refused(site: Served, origin: str) -> None:
    """A web socket that does not come from a page of the app is refused, whatever its cookie."""
    cookie = await cookie_of(site)
    with pytest.raises(InvalidStatus) as refused:
        async with page(site, cookie, origin):
            pass
    assert refused.value.response.status_code == 403


async def test_a_forged_cookie_is_refused(site: Served) -> None:
    """A cookie that the app has not signed, that is too old, or that comes twice is none."""
    cookie = await cookie_of(site)
    name, _, value = cookie.partition("=")
    visitor, at, digest = value.split(".")
    old = web.sign(visitor, secret=SECRET, at=int(at) - 31 * 86_400)
    early = web.sign(visitor, secret=SECRET, at=int(at) + 600)
    forged = [
        "", f"{name}=", f"{name}={visitor}.{at}.{digest[::-1]}", f"{name}={visitor[:-1]}A.{at}.{digest}",
        f"{name}={visitor}.{int(at) + 1}.{digest}", f"{name}={web.sign(visitor, secret='x' * 32, at=int(at))}",
        f"{cookie}; {cookie}", f"{name}={old}", f"{name}={early}", f"other={value}", f"{name}={visitor}",
    ]  # fmt: skip
    for each in forged:
        with pytest.raises(InvalidStatus) as refused:
            async with page(site, each):
                pass
        assert refused.value.response.status_code == 403, each


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\x00\x01", 1003),
        ('{"type": "say", "id": "1", "text": "hi"', 1007),
        ('{"type": "say", "id": "1", "id": "2", "text": "hi"}', 1007),
        ('{"type": "say", "id": "1", "text": NaN}', 1007),
        ('{"type": "say", "id": "1", "text": 1e999}', 1007),
        ("[" * 50_000, 1007),
        ("null", 1007),
        ("", 1007),
        ('{"type": "say", "id": "1", "text": "' + "x" * (1 << 20) + '"}', 1009),
    ],
    ids=["binary", "truncated", "twice", "nan", "infinite", "deep", "null", "empty", "large"],
)
async def test_what_is_no_frame_ends_the_connection(site: Served, frame: str | bytes, code: int) -> None:
    """A frame that no page sends ends the connection with a code, and is not handed to the bot."""
    async with page(site, await cookie_of(site)) as tab:
        await tab.socket.send(frame)
        assert await tab.closed() == code


@pytest.mark.parametrize(
    ("frame", "field"),
    [
        ({"type": "shout", "id": "1", "text": "hi"}, "type"),
        ({"type": "say", "id": "1"}, "body"),
        ({"type": "say", "id": "1", "text": "hi", "choice": "a"}, "body"),
        ({"type": "say", "id": "1", "text": "hi", "sender": "ada"}, "body"),
        ({"type": "say", "id": "", "text": "hi"}, "id"),
        ({"type": "say", "id": "1", "text": ["hi"]}, "text"),
        ({"type": "say", "id": "1", "content": {"kind": "image", "id": "http://10.0.0.1/"}}, "content.kind"),
        ({"type": "say", "id": "1", "content": {"kind": "location", "latitude": 95, "longitude": 0}}, None),
        ({"type": "got", "key": "x" * 65}, "key"),
        ({"type": "open"}, "id"),
    ],
    ids=str,
)
async def test_a_frame_that_is_wrong_in_a_part_is_told(site: Served, frame: Any, field: str | None) -> None:
    """A frame that is JSON is answered with what is wrong with it, and the connection goes on."""
    async with page(site, await cookie_of(site)) as tab:
        await tab.send(**frame)
        answer = await tab.read()
        assert (answer["type"], answer["error"], answer["fault"] != "") == ("refused", "InvalidMessage", True)
        assert field is None or answer["field"] == field
        await tab.send(type="ping")
        assert await tab.read() == {"type": "pong"}


async def test_a_connection_that_floods_is_ended(site: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of messages at once end the connection, and only a few of them are handled or wait."""
    handle, handled = AsyncFlowStateManager.handle, list[str]()

    async def counted(manager: AsyncFlowStateManager, message: Message, **more: Any) -> Any:
        handled.append(message.id)
        return await handle(manager, message, **more)

    monkeypatch.setattr(AsyncFlowStateManager, "handle", counted)
    async with page(site, await cookie_of(site), ping_interval=None) as tab:
        with contextlib.suppress(ConnectionClosed):
            for number in range(5000):
                await tab.send(type="say", id=str(number), text="hi")
        assert await tab.closed() == 1008
    assert len(handled) <= FRAMES.burst


async def test_a_connection_that_only_pings_too_fast_is_ended(site: Served) -> None:
    """Frames have a rate, whatever they say."""
    async with page(site, await cookie_of(site)) as tab:
        for _ in range(FRAMES.burst + 2):
            await tab.send(type="ping")
        assert await tab.closed() == 1008


async def test_a_client_that_reads_nothing_is_let_go(site: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that does not take what is sent to it is ended, and others go on."""
    monkeypatch.setattr("vimbiso_fsm.web.chat_connection.SEND_SECONDS", 0.5)
    cookie = await cookie_of(site)
    async with page(site, cookie, max_queue=1, compression=None) as slow, page(site, await cookie_of(site)) as other:
        await slow.send(type="open", id="o-1")
        await slow.read()
        (connection,) = site.chat._of_visitor[cookie.partition("=")[2].partition(".")[0]]
        slow.socket.transport.pause_reading()
        large = {"type": "push", "key": "k", "replies": [{"type": "text", "text": "x" * (1 << 20)}]}

        async def fill() -> bool:
            while await connection.send(large):
                pass
            await connection.gone.wait()
            return True

        assert await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(fill(), site.loop))
        await other.send(type="ping")
        assert await other.read() == {"type": "pong"}
        slow.socket.transport.resume_reading()


async def test_no_more_connections_than_there_is_room_for(store: str) -> None:
    """A process that holds as many connections as it may refuses more with 503."""
    with served(store, max_connections=1) as site:
        async with page(site, await cookie_of(site)) as tab:
            await tab.send(type="ping")
            await tab.read()
            with pytest.raises(InvalidStatus) as refused:
                async with page(site, await cookie_of(site)):
                    pass
        assert refused.value.response.status_code == 503
