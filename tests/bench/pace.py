"""Let many timers come due at once, and count what a worker sends of them at a pace in ten real seconds.

`make bench ARGS="--pace"` runs it, with a worker in threads and then with one in an event loop. No second may have more
than the pace, and while members wait, each should have nearly as much.
"""

from __future__ import annotations

import asyncio
import threading
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Literal

import attrs

from vimbiso_fsm import AsyncFlowStateManager, Bot, Channel, Flow, FlowStateManager, Message, NoData, Pace, Rate
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.messages.replies import Reply, Text
from vimbiso_fsm.runtime.worker import AsyncWorker, Worker

__all__ = ["SECONDS", "Paced", "keep_pace"]

SECONDS = 10.0
"""Seconds for which the worker sends."""
LIMIT = 30
"""Deliveries in any second."""
WINDOW = 1.0
PACES = {"telegram": Pace(LIMIT, every=WINDOW, chat=Rate(1, every=1.0))}
WAIT = 2.0
"""Seconds after which each timer is due, once its member has begun."""


@attrs.frozen
class Paced:
    """The instants at which a worker of a kind has sent, and the number of members whose timers were due."""

    kind: str
    members: int
    sent: tuple[float, ...]

    @property
    def most(self) -> int:
        """The largest number of sends within a second."""
        return max(place + 1 - bisect_left(self.sent, at - WINDOW + 1e-3) for place, at in enumerate(self.sent))

    @property
    def each(self) -> list[int]:
        """The number of sends in each second after the first send."""
        seconds = [int(at - self.sent[0]) for at in self.sent]
        return [seconds.count(second) for second in range(int(SECONDS))]

    @property
    def lines(self) -> Iterator[str]:
        """Yield the lines of the report."""
        yield f"{self.kind:<10}{self.members} timers due at once, at most {LIMIT} a second for {SECONDS:g} s"
        yield f"          sent {sum(self.each)} of {SECONDS * LIMIT:.0f}: {' '.join(map(str, self.each))}"
        yield f"          at most {self.most} within a second, as the channel sees it: a stalled process sends late"


class Post:
    """A channel that notes when it has sent."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def __call__(self, channel: Channel, replies: Sequence[Reply]) -> None:
        """Send the replies."""
        self.at.append(time.monotonic())

    async def awaited(self, channel: Channel, replies: Sequence[Reply]) -> None:
        """Send the replies, awaited."""
        self(channel, replies)


def _bot() -> Bot:
    states: list[State[NoData]] = [
        State("hold", ask=Text("Take it?"), timeout=WAIT),
        State("missed", say=Text("Too late."), final=True),
    ]
    flow: Flow[NoData] = Flow(
        "hold", initial="hold", states=states, transitions=[Transition("timeout", "hold", "missed")]
    )
    return Bot(flow, session=86_400.0)


def keep_pace(url: str, kind: Literal["sync", "async"], members: int) -> Paced:
    """Let the timers of members come due, and let a worker send for `SECONDS`.

    Args:
        url: The server.
        kind: The kind of the worker. Each has a namespace of its own on the server.
        members: The number of members.
    """
    post, bot, namespace = Post(), _bot(), f"pace-{kind}"
    with FlowStateManager.from_url(url, bot, namespace=namespace, deliver=post, paces=PACES, rates=None) as manager:
        for member in range(members):
            manager.handle(Message(Channel("telegram", str(member)), f"hi {member}", "hi"))
        time.sleep(WAIT)
        if kind == "sync":
            worker = Worker(manager)
            thread = threading.Thread(target=worker.run)
            thread.start()
            time.sleep(SECONDS + 1)
            worker.stop()
            thread.join()
        else:
            asyncio.run(_send(url, namespace, bot, post))
    return Paced(kind, members, tuple(post.at))


async def _send(url: str, namespace: str, bot: Bot, post: Post) -> None:
    """Let a worker in an event loop send."""
    async with AsyncFlowStateManager.from_url(
        url, bot, namespace=namespace, deliver=post.awaited, paces=PACES, rates=None
    ) as manager:
        worker = AsyncWorker(manager)
        running = asyncio.create_task(worker.run())
        await asyncio.sleep(SECONDS + 1)
        worker.stop()
        await running
