"""A server on this machine that behaves as the documents of the vendors say, and badly where a test says so."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

import attrs

ME = {"id": 12345, "is_bot": True, "first_name": "Bot", "username": "our_bot"}
"""The bot, as Telegram knows it."""
LIMIT = 60.0
"""Seconds after which something that must happen has failed."""


@attrs.frozen
class Seen:
    """A request that came in."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """The body as an object."""
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def form(self) -> dict[str, str]:
        """The body as the fields of a form."""
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))


@attrs.frozen
class Answer:
    """A response.

    Attributes:
        status: The HTTP status.
        body: An object, which is written as JSON, or bytes.
        headers: More headers.
        cut: How many bytes at the end of the body do not come. The connection ends there.
    """

    status: int
    body: Any = attrs.field(factory=dict)
    headers: Mapping[str, str] = attrs.field(factory=dict)
    cut: int = 0


Behaviour: TypeAlias = "Answer | Callable[[Seen], Answer | None]"


class Vendors:
    """The requests that came in, and the answers to the next ones.

    Attributes:
        url: The address of the server.
        seen: The requests, in order.
        came: Is set when a request comes.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.seen: list[Seen] = []
        self.came = threading.Event()
        self.ends = threading.Event()
        self._next: list[Behaviour] = []
        self._ids = count(1)
        self._guard = threading.Lock()

    def will(self, *behaviours: Behaviour) -> None:
        """Let the next requests be answered so; those after them as the vendors do."""
        self._next += behaviours

    def hangs(self, seen: Seen) -> None:
        """Answer nothing until the test ends."""
        assert seen
        assert self.ends.wait(LIMIT)

    def answer(self, seen: Seen) -> Answer | None:
        """Return the answer to a request; None if the connection ends without one."""
        with self._guard:
            self.seen.append(seen)
            self.came.set()
            behaviour = self._next.pop(0) if self._next else self._usual
        return behaviour if isinstance(behaviour, Answer) else behaviour(seen)

    def _usual(self, seen: Seen) -> Answer:
        """Answer as the vendor does that a path belongs to."""
        number = next(self._ids)
        if seen.path.endswith("/media"):
            return Answer(200, {"id": f"media-{number}"})
        if seen.path.endswith("/messages") and seen.headers["authorization"].startswith("Bearer "):
            if "status" in seen.json:
                return Answer(200, {"success": True})
            contacts = [{"input": seen.json["to"], "wa_id": seen.json["to"]}]
            return Answer(
                200, {"messaging_product": "whatsapp", "contacts": contacts, "messages": [{"id": f"wamid.{number}"}]}
            )
        if seen.path.startswith("/bot"):
            if seen.path.endswith("/getMe"):
                return Answer(200, {"ok": True, "result": ME})
            if seen.path.endswith(("/sendChatAction", "/answerCallbackQuery", "/setMyCommands")):
                return Answer(200, {"ok": True, "result": True})
            document = {"document": {"file_id": f"file-{number}"}} if seen.path.endswith("/sendDocument") else {}
            chat = {"id": 11, "type": "private"}
            return Answer(200, {"ok": True, "result": {"message_id": number, "date": 1, "chat": chat, **document}})
        if seen.path.endswith("/Messages.json"):
            return Answer(201, {"sid": f"SM{number}", "status": "queued", "error_code": None})
        if seen.path.endswith("/Typing.json"):
            return Answer(200, {"success": True})
        return Answer(404, {"error": "no such path"})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    vendors: Vendors

    def _handle(self) -> None:
        size = int(self.headers.get("Content-Length", 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.vendors.answer(Seen(self.command, self.path, headers, self.rfile.read(size)))
        self.close_connection = True
        if answer is None:
            return
        body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        self.send_response(answer.status)
        for name, value in {"Content-Type": "application/json", "Connection": "close", **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) - answer.cut])

    do_GET = do_POST = _handle  # noqa: N815 – the names of the class

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Log nothing."""


@contextmanager
def vendors() -> Generator[Vendors]:
    """Serve the vendors until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    found = Vendors(f"http://127.0.0.1:{server.server_port}")
    server.RequestHandlerClass = type("Handler", (_Handler,), {"vendors": found})
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield found
    finally:
        found.ends.set()
        server.shutdown()
        server.server_close()
        thread.join(LIMIT)


def closed_port() -> str:
    """Return an address at which nothing listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{held.getsockname()[1]}"
