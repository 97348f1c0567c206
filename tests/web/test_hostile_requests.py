"""Requests that no channel has made, and clients that are slow, against the whole app."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncGenerator, Mapping, MutableMapping
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette

from tests.web.forged import KINDS, Sending, attack, status_of
from tests.web.signed import BASE, REST_SECRET, signed
from vimbiso_fsm import AsyncFlowStateManager, Bot, Flow, State, Text
from vimbiso_fsm.channels import rest
from vimbiso_fsm.web import bodies
from vimbiso_fsm.web.app import app
from vimbiso_fsm.web.bodies import MAX_HELD, SMALL_BODY
from vimbiso_fsm.web.rest import RestChannel
from vimbiso_fsm.web.settings import MAX_BODY

LIMIT = 60.0
"""Seconds after which something that must happen has failed."""

pytestmark = pytest.mark.asyncio


def rest_app() -> Starlette:
    """Return an app with a REST channel."""
    bot = Bot([Flow("greeting", initial="said", states=[State("said", say=Text("So."), final=True)], transitions=[])])
    return app(AsyncFlowStateManager.in_memory(bot), {"rest": RestChannel(secrets=REST_SECRET)}, base=BASE)


def right(pieces: int = 1) -> Sending:
    """Return a request that is accepted, in some pieces."""
    raw, headers = signed("rest")
    size = len(raw) // pieces + 1
    return Sending(
        "right",
        "/rest",
        [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        tuple(raw[at : at + size] for at in range(0, len(raw), size)),
    )


async def test_no_request_that_no_channel_has_made_is_accepted() -> None:
    """Forged, truncated, mutated and oversized requests are refused, none reaches the manager, and none is kept.

    `make forged` is the same in depth.
    """
    found = await attack(400, 7)
    assert {kind for kind, _ in found.statuses} == set(KINDS)
    assert {status for _, status in found.statuses} <= {400, 403, 413}
    assert (found.statuses.total(), found.handled, found.held) == (400, 0, 0)


async def test_the_requests_of_these_tests_would_be_accepted_unharmed() -> None:
    """The requests that are harmed are right ones."""
    made = rest_app()
    assert [await status_of(made, right(pieces)) for pieces in (1, 3)] == [200, 200]


class Slow:
    """A client whose body stops in the middle, until it is let go."""

    def __init__(self, made: Starlette, size: int) -> None:
        self.stopped, self.goes = asyncio.Event(), asyncio.Event()
        self.statuses: list[int] = []
        self._first: bytes | None = b"x" * size
        self.task = asyncio.create_task(self._run(made))

    async def _run(self, made: Starlette) -> None:
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/rest",
            "query_string": b"",
            "headers": [],
            "client": ("8.8.8.8", 1),
        }
        await made(scope, self._receive, self._send)

    async def _receive(self) -> MutableMapping[str, Any]:
        if (first := self._first) is not None:
            self._first = None
            return {"type": "http.request", "body": first, "more_body": True}
        self.stopped.set()
        await self.goes.wait()
        return {"type": "http.request", "body": b""}

    async def _send(self, event: Mapping[str, Any]) -> None:
        if event["type"] == "http.response.start":
            self.statuses.append(event["status"])
            self.stopped.set()


async def test_slow_clients_do_not_stop_others_and_their_memory_is_bounded() -> None:
    """Bodies that are held have a bound for all together, beyond which large ones are refused and small ones taken."""
    made = rest_app()
    slow = [Slow(made, MAX_BODY) for _ in range(MAX_HELD // MAX_BODY + 5)]
    async with asyncio.timeout(LIMIT):
        for each in slow:
            await each.stopped.wait()
        refused = [each for each in slow if each.statuses]
        assert {*(status for each in refused for status in each.statuses)} == {503}
        assert 0 < len(refused) < len(slow)
        assert made.state.bodies.held == (len(slow) - len(refused)) * (MAX_BODY - SMALL_BODY) <= MAX_HELD
        assert await status_of(made, right()) == 200
        for each in slow:
            each.goes.set()
            await each.task
    assert [each.statuses for each in slow if each not in refused] == [[403]] * (len(slow) - len(refused))
    assert made.state.bodies.held == 0


async def test_a_body_that_does_not_come_in_time_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that stops is let go after a time, and what it has sent is dropped."""
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.0)
    made = rest_app()
    slow = Slow(made, 2 * SMALL_BODY)
    async with asyncio.timeout(LIMIT):
        await slow.task
    assert (slow.statuses, made.state.bodies.held) == ([408], 0)


@contextlib.asynccontextmanager
async def served(made: Starlette) -> AsyncGenerator[int]:
    """Serve an app by uvicorn on this machine, and yield the port."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(made, lifespan="off", log_config=None, timeout_graceful_shutdown=1))
    running = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        await running
        listening.close()


async def test_a_slow_client_does_not_stop_others_over_real_http() -> None:
    """While connections stand in the middle of a head or a body, another one is answered."""
    raw = json.dumps({"sender": "ada", "id": "1", "text": "hi"}).encode()
    signature = rest.sign(raw, secret=REST_SECRET, at=int(time.time()))
    head = f"POST /rest HTTP/1.1\r\nHost: a\r\nX-Vimbiso-Signature: {signature}\r\nContent-Length: {len(raw)}\r\n"
    async with asyncio.timeout(LIMIT), served(rest_app()) as port:
        slow = []
        for begun in (head.encode()[:30], f"{head}\r\n".encode() + raw[:5]) * 20:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(begun)
            await writer.drain()
            slow.append(writer)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"{head}Connection: close\r\n\r\n".encode() + raw)
        answer = await reader.read()
        for each in [*slow, writer]:
            each.close()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b'"So."' in answer
