"""The contenders: the bare loop of redis-py and the whole turn, each sync, in 64 tasks, and in one task."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import cycle
from typing import Any, Protocol
from unittest import mock

import redis
import redis.asyncio

from tests.bench.conversation import Conversation, Script, advanced, size
from vimbiso_fsm import AsyncFlowStateManager, Channel, FlowStateManager, Reply, Sent
from vimbiso_fsm.runtime import sending

__all__ = ["AT_ONCE", "Bare", "BareAsync", "Contender", "Turns", "TurnsAsync", "recorded_late", "senders"]

AT_ONCE = 64
"""Conversations; of the async contenders, all at once."""
DOCUMENT = b"x" * 800


def recorded_late() -> AbstractContextManager[Any]:
    """Let managers record what they have sent with the next commits of the members alone, as long as these go on.

    The note of a conversation that has stopped is a request of its own, a second later. Here it would be counted as a
    part of whatever runs then.
    """
    return mock.patch.object(sending, "RECORD_AFTER", 3_600.0)


def senders(sends: bool, *, awaited: bool = False) -> dict[str, Any]:
    """Return the options of a manager that sends its replies itself, to a channel that takes them at once."""

    def send(channel: Channel, replies: Sequence[Reply], /) -> Sent:
        return Sent()

    async def send_awaited(channel: Channel, replies: Sequence[Reply], /) -> Sent:
        return Sent()

    return {"senders": {"whatsapp": send_awaited if awaited else send}} if sends else {}


class Contender(Protocol):
    """Work that can be repeated.

    Attributes:
        name: The name of its row in the table.
        style: "sync"; "async", with 64 tasks at once; or "lone async", with one task.
        bytes: The size of the stored document.
    """

    name: str
    style: str
    bytes: int

    def run(self, seconds: float) -> int:
        """Repeat the work for a number of seconds; return how often it was done."""
        ...

    def close(self) -> None:
        """Close its connections."""
        ...


class Bare:
    """GET and SET of 800 bytes, one after the other: the least that storing a state can cost."""

    name, style, bytes = "GET+SET", "sync", len(DOCUMENT)

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(url)
        self._keys = cycle([f"bare:{number}" for number in range(AT_ONCE)])

    def run(self, seconds: float) -> int:
        get, put, keys, done = self._client.get, self._client.set, self._keys, 0
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            key = next(keys)
            get(key)
            put(key, DOCUMENT)
            done += 1
        return done

    def close(self) -> None:
        self._client.close()


class Turns:
    """The whole turn: message, decision, commit and replies, with the documents in the worker's cache."""

    style = "sync"

    def __init__(self, url: str, script: Script, first: int = 0, *, sends: bool = False) -> None:
        self.name = f"{script.name}, sent" if sends else script.name
        options = senders(sends)
        self._manager = FlowStateManager.from_url(url, script.bot, namespace=script.namespace, rates=None, **options)
        self._conversations = [Conversation(script, first + number) for number in range(AT_ONCE)]
        for conversation in self._conversations:
            for message in conversation.opening:
                self.bytes = size(self._manager.handle(message))
        self._members: Iterator[Conversation] = cycle(self._conversations)

    def once(self) -> None:
        """Make one turn of the next member."""
        advanced(self._manager.handle(next(next(self._members))))

    def run(self, seconds: float) -> int:
        handle, members, done = self._manager.handle, self._members, 0
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            advanced(handle(next(next(members))))
            done += 1
        return done

    def close(self) -> None:
        self._manager.close()


class _Loop:
    """An event loop that is kept between the blocks, and tasks on it."""

    def __init__(self, tasks: int) -> None:
        self.style = "async" if tasks > 1 else "lone async"
        self._tasks = tasks
        self._runner = asyncio.Runner()

    def _at_once(self, once: Callable[[int], Awaitable[None]], seconds: float) -> int:
        """Repeat the work in all tasks for a number of seconds; return how often it was done."""

        async def task(number: int, until: float) -> int:
            done = 0
            while time.perf_counter() < until:
                await once(number)
                done += 1
            return done

        async def tasks() -> int:
            until = time.perf_counter() + seconds
            return sum(await asyncio.gather(*(task(number, until) for number in range(self._tasks))))

        return self._runner.run(tasks())

    def _often(self, once: Callable[[int], Awaitable[None]], number: int) -> None:
        """Repeat the work a number of times in each task."""

        async def task(own: int) -> None:
            for _ in range(number):
                await once(own)

        async def tasks() -> None:
            await asyncio.gather(*map(task, range(self._tasks)))

        self._runner.run(tasks())


class BareAsync(_Loop):
    """`Bare` in several tasks, each with a connection of the client's pool."""

    name, bytes = "GET+SET", len(DOCUMENT)

    def __init__(self, url: str, tasks: int = AT_ONCE) -> None:
        super().__init__(tasks)
        self._client = redis.asyncio.Redis.from_url(url)

    async def _once(self, number: int) -> None:
        await self._client.get(f"bare:{number}")
        await self._client.set(f"bare:{number}", DOCUMENT)

    def run(self, seconds: float) -> int:
        return self._at_once(self._once, seconds)

    def close(self) -> None:
        self._runner.run(self._client.aclose())
        self._runner.close()


class TurnsAsync(_Loop):
    """`Turns` in several tasks, each with a conversation of its own."""

    def __init__(self, url: str, script: Script, tasks: int = AT_ONCE, *, sends: bool = False) -> None:
        super().__init__(tasks)
        self.name = f"{script.name}, sent" if sends else script.name
        options = senders(sends, awaited=True)
        self._manager = AsyncFlowStateManager.from_url(
            url, script.bot, namespace=script.namespace, rates=None, **options
        )
        first = AT_ONCE * (tasks + AT_ONCE * sends)
        self._members = [Conversation(script, first + number) for number in range(tasks)]
        self._runner.run(self._open())

    async def _open(self) -> None:
        for member in self._members:
            for message in member.opening:
                self.bytes = size(await self._manager.handle(message))

    async def _once(self, number: int) -> None:
        advanced(await self._manager.handle(next(self._members[number])))

    def often(self, number: int) -> None:
        """Make a number of turns in each task."""
        self._often(self._once, number)

    def run(self, seconds: float) -> int:
        return self._at_once(self._once, seconds)

    def close(self) -> None:
        self._runner.run(self._manager.close())
        self._runner.close()
