"""Requests that no channel has made: forged, truncated, mutated and oversized ones, against the whole app.

`python -m tests.web.forged 100000` runs as many, and prints what became of them and how much memory they took.
"""

from __future__ import annotations

import asyncio
import random
import resource
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

import attrs
from starlette.applications import Starlette

from tests.web.clients import api_of, async_client
from tests.web.signed import BASE, REST_SECRET, signed
from vimbiso_fsm import AsyncFlowStateManager, Bot, Flow, State, Text
from vimbiso_fsm.messages.sending import Sent
from vimbiso_fsm.web.app import app
from vimbiso_fsm.web.rest import RestChannel
from vimbiso_fsm.web.settings import MAX_BODY

PATHS = {"whatsapp": "/whatsapp", "telegram": "/telegram", "sms": "/sms?a=1", "rest": "/rest"}
KINDS = ("forged", "truncated", "mutated", "oversized", "cut off", "odd")
ODD = (
    b"",
    b"{}",
    b"[]",
    b"null",
    b"\xff\xfe",
    b'{"a":NaN}',
    b"[" * 5000,
    b'{"a":' * 5000,
    b"9" * 5000,
    b"%" * 99,
    b"=&" * 99,
)
MAX_GROWTH = 64 << 10
"""KiB of memory that requests may take, however many they are."""
Headers: TypeAlias = list[tuple[bytes, bytes]]


@attrs.define
class Attack:
    """What became of requests.

    Attributes:
        statuses: The number of requests by kind and HTTP status.
        handled: The number of messages that reached the manager.
        held: The bytes of bodies for which the app keeps room at the end.
    """

    statuses: Counter[tuple[str, int]] = attrs.field(factory=Counter[tuple[str, int]])
    handled: int = 0
    held: int = 0


@attrs.frozen
class Sending:
    """A request.

    Attributes:
        kind: What was done to it.
        path: Its path with its query.
        headers: Its headers.
        pieces: The pieces of its body.
        ends: Whether the body comes to its end, before the connection does.
    """

    kind: str
    path: str
    headers: Headers
    pieces: tuple[bytes, ...]
    ends: bool = True


def _mutated(chance: random.Random, value: bytes) -> bytes:
    """Return a value of which a few bytes are others, more or fewer."""
    found = bytearray(value)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(found) + 1)
        match chance.randrange(3):
            case 0:
                found[place:place] = chance.randbytes(chance.randint(1, 3))
            case 1:
                del found[place : place + chance.randint(1, 3)]
            case _ if place < len(found):
                found[place] ^= 1 << chance.randrange(8)
            case _:
                pass
    return bytes(found)


def _means_the_same(name: str, raw: bytes, other: bytes) -> bool:
    """Return whether two bodies are the same to their signature. Telegram signs none, and Twilio signs the fields."""
    if name == "telegram" or raw == other:
        return True
    fields = [sorted(set(parse_qsl(each.decode("utf-8", "replace"), keep_blank_values=True))) for each in (raw, other)]
    return name == "sms" and fields[0] == fields[1]


def requests(count: int, seed: int) -> Iterator[Sending]:
    """Yield requests, none of which a channel has made."""
    chance = random.Random(seed)
    while count:
        name, kind = chance.choice(tuple(PATHS)), chance.choice(KINDS)
        raw, proofs = signed(name)
        ((header, proof),) = proofs.items()
        body, value, ends, length = raw, proof.encode(), True, None
        match kind:
            case "forged":  # the proof of another secret, of another channel, or none
                other = signed(chance.choice(tuple(PATHS)))[1]
                value = chance.choice([b"", b"sha256=", value[:-1] + b"!", next(iter(other.values())).encode()])
            case "truncated" if chance.random() < 0.5 and name != "telegram":
                body = raw[: chance.randrange(len(raw))]
            case "truncated":
                value = value[: chance.randrange(len(value))]
            case "mutated" if chance.random() < 0.5 and name != "telegram":
                body = _mutated(chance, raw)
            case "mutated":
                value = _mutated(chance, value)
            case "oversized" if chance.random() < 0.98:  # most by their length only, so that a run is short
                length = chance.choice([str(MAX_BODY + 1), "9" * 30, "-1", "1e3", "٣", ""]).encode()
            case "oversized":
                body = b"x" * (MAX_BODY + 1)
            case "cut off":
                body, ends = raw[: chance.randrange(len(raw))], False
            case _:
                body, value = chance.choice(ODD), chance.choice([value[::-1], b"", b"\xff"])
        if ends and length is None and _means_the_same(name, raw, body) and value == proof.encode():
            continue
        count -= 1
        headers = [(header.lower().encode(), value)] + ([] if length is None else [(b"content-length", length)])
        cut = chance.randrange(len(body) + 1)
        yield Sending(kind, PATHS[name], headers, (body[:cut], body[cut:]), ends)


async def status_of(made: Starlette, sending: Sending) -> int:
    """Return the HTTP status with which an app answers a request."""
    path, _, query = sending.path.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "https",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": sending.headers,
        "client": ("8.8.8.8", 1),
        "server": ("bot.example.org", 443),
    }
    events: list[MutableMapping[str, Any]]
    events = [{"type": "http.request", "body": each, "more_body": True} for each in sending.pieces]
    events.append({"type": "http.request", "body": b""} if sending.ends else {"type": "http.disconnect"})
    coming = iter(events)
    statuses: list[int] = []

    async def receive() -> MutableMapping[str, Any]:
        return next(coming)

    async def send(event: Mapping[str, Any]) -> None:
        if event["type"] == "http.response.start":
            statuses.append(event["status"])

    await made(scope, receive, send)
    return statuses[0]


async def attack(count: int, seed: int) -> Attack:
    """Send requests that no channel has made. An exception of the app is raised."""
    found = Attack()

    async def sent(channel: Any, replies: Any) -> Any:
        return Sent()

    bot = Bot([Flow("greeting", initial="said", states=[State("said", say=Text("So."), final=True)], transitions=[])])
    manager = AsyncFlowStateManager.in_memory(bot, senders=dict.fromkeys(("whatsapp", "telegram", "sms"), sent))
    handle = manager.handle

    async def counted(message: Any, **more: Any) -> Any:
        found.handled += 1
        return await handle(message, **more)

    manager.handle = counted  # type: ignore[method-assign]  # to see what gets through
    clients = {name: async_client(api_of(name, "http://127.0.0.1:9")) for name in PATHS if name != "rest"}
    made = app(
        manager, {**clients, "rest": RestChannel(secrets=REST_SECRET)}, base=BASE, verify_token="t0ken", refusals=None
    )
    for sending in requests(count, seed):
        found.statuses[sending.kind, await status_of(made, sending)] += 1
        await asyncio.sleep(0)  # as between the requests of a server, so that the loop drops the timers that have ended
    found.held = made.state.bodies.held
    for client in clients.values():
        await client.close()
    return found


def main() -> None:
    """Run the attack, and print what became of it."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    asyncio.run(attack(1000, 0))  # what is loaded or cached once is there now
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = asyncio.run(attack(count, 1))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    for (kind, status), number in sorted(found.statuses.items()):
        print(f"{kind:<10} {status} {number:>7}")
    print(
        f"{found.statuses.total()} requests, {found.handled} messages taken, {found.held} bytes held, {grown} KiB more"
    )
    is_bounded = found.held == 0 and grown < MAX_GROWTH
    sys.exit(
        bool(not is_bounded or found.handled or any(status < 400 or status >= 500 for _, status in found.statuses))
    )


if __name__ == "__main__":
    main()
