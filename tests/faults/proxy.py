"""A TCP proxy in front of a server, in a process of its own, that damages what passes by a plan drawn from a seed.

It parses the protocol only as far as needed to damage exactly commits: the reply to a commit contains the member's key
and one of four words. The faults of a reply, each with its probability:

    drop     the reply is discarded and the connection closed
    reset    the same, closed by a reset
    hang     the reply and all later ones on this connection never arrive; the connection stays open
    skip     only the reply never arrives: the next one stands in its place
    delay    the reply arrives late
    spoil    the reply arrives without its last item, with another word or instant, or as another value altogether
    refuse   the request never reaches the server, and the connection is closed
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import random
import re
import socket
import struct
from collections.abc import Callable, Generator, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import attrs

__all__ = ["Plan", "Proxy", "frames", "proxied"]

_COMMITTED = re.compile(
    rb"\*\d+\r\n\$\d+\r\n[^\r]*:state\r\n\$\d+\r\n[^\r]*\r\n\$\d+\r\n(committed|duplicate|conflict|late)\r\n"
)
_COMMIT = re.compile(rb"\r\n\$6\r\ncommit\r\n")
_ITEM = re.compile(rb"\$\d+\r\n[^\r]*\r\n")
_OTHERS = (b"+OK\r\n", b":7\r\n", b"$-1\r\n", b"*0\r\n", b"*-1\r\n", b"*1\r\n*1\r\n:1\r\n", b"$3\r\nabc\r\n")
_INSTANTS = (
    b"$3\r\nnan\r\n",
    b"$3\r\ninf\r\n",
    b":7\r\n",
    b"$0\r\n\r\n",
    b"$-1\r\n",
    b"$9\r\n179x.1234\r\n",
    b"*0\r\n",
)
FAULTS = ("drop", "reset", "hang", "skip", "delay", "spoil", "refuse")


@attrs.frozen
class Plan:
    """The probability of each fault of a commit.

    Attributes:
        longest: Seconds of the longest delay.
    """

    seed: int
    drop: float = 0.0
    reset: float = 0.0
    hang: float = 0.0
    skip: float = 0.0
    delay: float = 0.0
    spoil: float = 0.0
    refuse: float = 0.0
    longest: float = 0.05


def _end(data: bytearray, start: int) -> int | None:
    """Return where the frame that begins at `start` ends; None when it is not whole yet."""
    line = data.find(b"\r\n", start)
    if line < 0:
        return None
    kind, end = data[start : start + 1], line + 2
    if kind in b"+-:_#,(":
        return end
    size = int(data[start + 1 : line])
    if kind in b"$=!":
        end += max(size, -2) + 2 if size >= 0 else 0
        return end if end <= len(data) else None
    for _ in range(max(size, 0) * (2 if kind in b"%|" else 1)):
        inner = _end(data, end)
        if inner is None:
            return None
        end = inner
    return end


def frames(data: bytearray) -> Iterator[bytes]:
    """Take the whole frames from the beginning of `data`, and return them."""
    while data and (end := _end(data, 0)) is not None:
        yield bytes(data[:end])
        del data[:end]


class _Spoiler:
    """The work of one proxy."""

    def __init__(self, target: Path, plan: Plan) -> None:
        self._target, self._plan = target, plan
        self._chance = random.Random(plan.seed)
        self.counts: dict[str, int] = dict.fromkeys(("commits", *FAULTS), 0)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client's connection to its end."""
        server: asyncio.StreamWriter | None = None
        with contextlib.suppress(OSError, ConnectionError):
            answers, server = await asyncio.open_unix_connection(str(self._target))
            up = asyncio.create_task(self._pump(reader, server, self._request))
            down = asyncio.create_task(self._pump(answers, writer, self._reply))
            _, rest = await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
            for task in rest:
                task.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
        for each in (writer, server):
            if each is not None:
                each.close()

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, fault: Callable[[bytes], str]
    ) -> None:
        held = bytearray()
        while data := await source.read(1 << 20):
            held += data
            for frame in frames(held):
                match fault(frame):
                    case "drop" | "refuse":
                        return
                    case "reset":
                        linger = struct.pack("ii", 1, 0)
                        sink.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                        return
                    case "hang":
                        await asyncio.Event().wait()
                    case "skip":
                        continue
                    case "spoil":
                        sink.write(self._spoilt(frame))
                        continue
                    case "delay":
                        await asyncio.sleep(self._chance.uniform(0, self._plan.longest))
                    case _:
                        pass
                sink.write(frame)
            await sink.drain()

    def _request(self, frame: bytes) -> str:
        return self._draw(("refuse",)) if self._plan.refuse and _COMMIT.search(frame) else ""

    def _reply(self, frame: bytes) -> str:
        if not _COMMITTED.match(frame):
            return ""
        self.counts["commits"] += 1
        return self._draw(FAULTS[:-1])

    def _spoilt(self, frame: bytes) -> bytes:
        """Return a reply that the request cannot have. A reply begins with the key, a token, a word and an instant."""
        items = [match.span() for match in _ITEM.finditer(frame)][:4]
        match self._chance.randrange(5):
            case 0:
                return self._chance.choice(_OTHERS)
            case 1:
                begin, end = items[3]
                return frame[:begin] + self._chance.choice(_INSTANTS) + frame[end:]
            case 2:
                begin, end = items[self._chance.randrange(3)]
                return frame[:begin] + frame[begin:end].swapcase() + frame[end:]
            case 3:
                return frame.replace(b"*", b"*1\r\n*", 1)
            case _:
                count = int(frame[1 : frame.index(b"\r\n")])
                return b"*3\r\n" + frame[items[0][0] : items[2][1]] if count > 3 else b"*0\r\n"

    def _draw(self, plan: tuple[str, ...]) -> str:
        drawn = self._chance.random()
        for fault in plan:
            drawn -= getattr(self._plan, fault)
            if drawn < 0:
                self.counts[fault] += 1
                return fault
        return ""


def _run(target: Path, plan: Plan, control: Connection) -> None:
    asyncio.run(_serve(target, plan, control))


async def _serve(target: Path, plan: Plan, control: Connection) -> None:
    """Serve until told to end, then send what was done. Any other message ends the damage."""
    spoiler = _Spoiler(target, plan)
    server = await asyncio.start_server(spoiler.serve, "127.0.0.1", 0)
    control.send(server.sockets[0].getsockname()[1])
    await asyncio.get_running_loop().run_in_executor(None, control.recv)
    server.close()
    control.send(spoiler.counts)


@attrs.define
class Proxy:
    """A running proxy.

    Attributes:
        counts: What it did; known after it has ended.
    """

    url: str
    counts: dict[str, int] = attrs.field(factory=dict)

    @property
    def lost(self) -> int:
        """The number of replies that were lost."""
        return self.counts["drop"] + self.counts["reset"]


@contextlib.contextmanager
def proxied(target: Path, plan: Plan) -> Generator[Proxy, None, None]:
    """Run a proxy in front of the server on a socket."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_run, args=(target, plan, there), daemon=True)
    process.start()
    there.close()
    proxy = Proxy(f"redis://127.0.0.1:{here.recv()}")
    try:
        yield proxy
        here.send("end")
        proxy.counts.update(here.recv())
    finally:
        process.terminate()
        process.join()
        process.close()
        here.close()
