"""A bot with every kind of reply, and an app that serves it as a web chat on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Generator
from datetime import timedelta
from typing import Any, Final

import attrs
import uvicorn
from starlette.applications import Starlette

from vimbiso_fsm import (
    AsyncFlowStateManager,
    Bot,
    Flow,
    Limits,
    Location,
    Row,
    State,
    Text,
    Transition,
    Turn,
    readers,
)
from vimbiso_fsm.messages.replies import File, LocationRequest, Media, Said, WebLink
from vimbiso_fsm.runtime.worker import AsyncWorker
from vimbiso_fsm.web.app import app
from vimbiso_fsm.web.chat import WebChat

SECRET: Final = "secret-of-the-cookies-of-visitors-0"
LIMIT: Final = 30.0
"""Seconds after which something that must happen has failed."""
REMINDER: Final = timedelta(seconds=2)
"""The time of the timer."""

KINDS: Final[dict[str, Said]] = {
    "picture": Media("image", "https://pictures.example/a.png", Text("Our shop")),
    "voice": Media("audio", "media-id-1", Text("Listen")),
    "list": File("https://files.example/prices.pdf", "prices.pdf", Text("Our prices")),
    "pay": WebLink(Text("Pay here"), "https://pay.example/1", Text("Pay")),
    "trap": Media("video", "javascript:alert(1)", Text("Free")),
    "place": Location(-17.83, 31.05, "Our shop", "1 Main Road"),
}


@attrs.frozen
class Visit:
    """The data of the flow."""

    words: str = ""
    kind: str = ""
    size: str = ""
    place: Location | str | None = None


def _echo(turn: Turn[Visit]) -> Text:
    return Text("You said: {words}", words=turn.data.words) if turn.data.words else Text("What do you want to say?")


def _anything(text: str) -> str:
    """Read any text, also one that no careful reader takes."""
    return text


def _where(turn: Turn[Visit]) -> Text:
    place = turn.data.place
    return Text("You are at {where}.", where=f"{place.latitude:.1f}" if isinstance(place, Location) else str(place))


def _sizes(turn: Turn[Visit]) -> list[Row]:
    return [Row("two", "Two guests", Text("at the window")), Row("four", "Four guests", Text("in the garden"))]


VISIT: Final = Flow(
    "visit",
    data=Visit,
    initial="hello",
    states=[
        State("hello", ask=Text("Welcome! What can we do for you?")),
        State("size", ask=Text("For how many guests?"), rows=_sizes, into="size"),
        State("booked", say=Text("Your table is booked."), final=True),
        State("echo", ask=_echo, reads=_anything, into="words"),
        State(
            "kinds", ask=Text("What shall we show?"), rows=lambda turn: [Row(each, each) for each in KINDS], into="kind"
        ),
        State("shown", say=lambda turn: KINDS[turn.data.kind], final=True),
        State(
            "where",
            ask=LocationRequest(Text("Where are you?")),
            reads=readers.either(readers.location, readers.free_text(200)),
            into="place",
        ),
        State("there", say=_where, final=True),
        State("wait", ask=Text("We look for a table."), timeout=REMINDER),
        State("found", say=Text("We have found a table."), final=True),
    ],
    transitions=[
        Transition("book", "hello", "size"),
        Transition("talk", "hello", "echo"),
        Transition("show", "hello", "kinds"),
        Transition("come", "hello", "where"),
        Transition("look", "hello", "wait"),
        Transition("answer", "size", "booked"),
        Transition("answer", "echo", "echo"),
        Transition("answer", "kinds", "shown"),
        Transition("answer", "where", "there"),
        Transition("yes", "wait", "found"),
        Transition("timeout", "wait", "found"),
    ],
)
TEXTS: Final = {
    "visit.hello.book": "Book a table",
    "visit.hello.talk": "Talk",
    "visit.hello.show": "Show me more",
    "visit.hello.come": "Send a taxi",
    "visit.hello.look": "Look for a table",
}


def chat_bot(*languages: str) -> Bot:
    """Return the bot. It has further languages, without words of its own in them."""
    return Bot(VISIT, texts={"en": TEXTS, **{each: {} for each in languages}}, limits=Limits(text=20_000))


class Served:
    """An app with a web chat, served by uvicorn in a thread on one port, which can be stopped and started again.

    Attributes:
        port: The port.
        url: The address of the page.
        chat: The chat of the running server.
        manager: The manager of the running server.
        loop: The event loop of the running server.
    """

    chat: WebChat
    manager: AsyncFlowStateManager
    loop: asyncio.AbstractEventLoop

    def __init__(self, url: str, *, works: bool = True, languages: tuple[str, ...] = (), **options: Any) -> None:
        """Make a server on a store.

        Args:
            url: The URL of the store.
            works: Whether a worker runs beside the app.
            languages: Further languages of the bot.
            **options: Of the chat.
        """
        self._store, self._works, self._bot = url, works, chat_bot(*languages)
        self._options: dict[str, Any] = {"title": "Our shop", **options}
        with socket.create_server(("127.0.0.1", 0)) as found:
            self.port: int = found.getsockname()[1]
        self.origin = f"http://127.0.0.1:{self.port}"
        self.url = f"{self.origin}/chat"
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    def make(self) -> Starlette:
        """Make the app."""
        self.chat = WebChat(secrets=SECRET, **self._options)
        self.manager = AsyncFlowStateManager.from_url(self._store, self._bot, deliver=self.chat)
        return app(self.manager, {"chat": self.chat}, base=self.origin)

    def start(self) -> None:
        """Start the server, and wait until it listens."""
        started = threading.Event()
        self._stopping.clear()
        failed: list[BaseException] = []

        async def serve() -> None:
            server = uvicorn.Server(
                uvicorn.Config(
                    self.make(),
                    host="127.0.0.1",
                    port=self.port,
                    lifespan="off",
                    log_config=None,
                    ws_max_size=1 << 16,
                    timeout_graceful_shutdown=5,
                )
            )
            self.loop = asyncio.get_running_loop()
            worker = AsyncWorker(self.manager, every=0.2)
            working = asyncio.create_task(worker.run()) if self._works else None
            serving = asyncio.create_task(server.serve())
            while not server.started and not serving.done():  # noqa: ASYNC110  # uvicorn has no event for this
                await asyncio.sleep(0.01)
            started.set()
            await asyncio.to_thread(self._stopping.wait)
            await self.chat.close()
            server.should_exit = True
            await serving
            if working is not None:
                worker.stop()
                await working
            await self.manager.close()

        def run() -> None:
            try:
                asyncio.run(serve())
            except BaseException as error:
                failed.append(error)
            finally:
                started.set()

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()
        assert started.wait(LIMIT)
        assert not failed, failed

    def do(self, coroutine: Any) -> Any:
        """Run a coroutine in the event loop of the server, and return its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(LIMIT)

    def drop(self) -> None:
        """End the connections without a goodbye, as a network does."""

        async def end() -> None:
            for own in self.chat._of_visitor.values():
                for connection in own:
                    connection.end(1011)

        self.do(end())

    def stop(self) -> None:
        """Stop the server in order."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._stopping.set()
            thread.join(LIMIT)
            assert not thread.is_alive()


@contextlib.contextmanager
def served(url: str, **options: Any) -> Generator[Served]:
    """Serve a web chat on a store."""
    found = Served(url, **options)
    found.start()
    try:
        yield found
    finally:
        found.stop()
