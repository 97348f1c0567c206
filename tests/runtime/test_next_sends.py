"""The members whose replies wait for a pace: in order, bounded, each once, and woken between two rounds of a worker."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Sequence

from tests.operations.test_pace import Kind
from tests.operations.test_sending import KINDS, seat
from tests.shells import Shell
from vimbiso_fsm.flow.rates import Pace
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.replies import Reply
from vimbiso_fsm.runtime.next_sends import NextSends
from vimbiso_fsm.runtime.worker import AsyncWorker, Worker
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.testing.chat import STORE_SECRET

LIMIT = 30.0
"""Seconds after which something that must happen has failed; no test needs it to pass in time."""


def test_members_are_taken_at_their_instant_and_in_order():
    """What is taken has come, the earliest first, and is forgotten; the latest note of a member counts."""
    sends = NextSends()
    for member, at in (("c", 3.0), ("a", 1.0), ("b", 9.0), ("b", 2.0)):
        sends.note(member, at)
    assert (len(sends), sends.first) == (3, 1.0)
    assert sends.take(0.9) == []
    assert sends.take(2.0) == ["a", "b"]
    assert (sends.take(9.0), sends.first) == (["c"], math.inf)


def test_of_too_many_members_the_last_are_not_noted():
    """The number of notes is bounded, and those that are next are kept."""
    sends = NextSends(3)
    for at in (5, 1, 4, 2, 3):
        sends.note(str(at), float(at))
    assert (len(sends), sends.take(math.inf)) == (3, ["1", "2", "3"])


class Post:
    """A channel that notes to whom it has sent, and tells when it has sent often enough."""

    def __init__(self, count: int) -> None:
        self.to: list[str] = []
        self.enough = threading.Event()
        self._count = count

    def __call__(self, channel: Channel, replies: Sequence[Reply]) -> None:
        """Send the replies."""
        self.to.append(channel.identifier)
        if len(self.to) == self._count:
            self.enough.set()

    async def awaited(self, channel: Channel, replies: Sequence[Reply]) -> None:
        """Send the replies, awaited."""
        self(channel, replies)


def crowd(kind: Kind, post: Post, pace: Pace, members: int) -> Shell:
    """Make members whose timers are due, on a store whose clock goes on."""
    ahead = [0.0]
    store = MemoryStore(lambda: time.time() + ahead[0], secret=STORE_SECRET)
    shell = Shell(kind, seat(), store, deliver=post if kind == "sync" else post.awaited, paces={"telegram": pace})
    for member in range(members):
        shell.handle(Message(Channel("telegram", str(member)), f"hi {member}", "hi"))
    ahead[0] = 61.0
    return shell


@KINDS
def test_a_member_is_woken_between_two_rounds(kind: Kind):
    """A worker with one round an hour sends to all members at their pace, each once, and stops when it is told to."""
    post = Post(4)
    with crowd(kind, post, Pace(1, every=0.05), 4) as shell:
        _run(shell, post)
    assert sorted(post.to) == ["0", "1", "2", "3"]


@KINDS
def test_a_worker_stops_while_members_wait(kind: Kind):
    """`stop` ends a worker at once, also when its next send is an hour away; the member stays due in the store."""
    post = Post(1)
    with crowd(kind, post, Pace(1, every=3_600.0), 3) as shell:
        _run(shell, post)
        waits = [shell.state(name) for name in shell.manager._base.next_sends.take(math.inf)]
    assert len(post.to) == 1
    assert [len(document.outbox) for document in waits] == [1, 1]


def _run(shell: Shell, post: Post) -> None:
    """Run a worker whose rounds are an hour apart until the channel has sent often enough."""
    if shell.kind == "sync":
        worker = Worker(shell.manager, every=3_600.0)
        thread = threading.Thread(target=worker.run)
        thread.start()
        assert post.enough.wait(LIMIT)
        worker.stop()
        thread.join(LIMIT)
        assert not thread.is_alive()
        return

    async def run() -> None:
        worker = AsyncWorker(shell.manager, every=3_600.0)
        task = asyncio.create_task(worker.run())
        assert await asyncio.to_thread(post.enough.wait, LIMIT)
        worker.stop()
        await asyncio.wait_for(task, LIMIT)

    shell.run(run())


@KINDS
def test_a_member_who_is_next_while_being_woken_is_woken_again(kind: Kind):
    """A turn that comes while its member is being woken is not lost: it follows the waking."""
    with Shell(kind, seat(), MemoryStore(lambda: 1e9, secret=STORE_SECRET)) as shell:
        worker = (Worker if kind == "sync" else AsyncWorker)(shell.manager)
        sends = shell.manager._base.next_sends
        worker._busy.add("m-1")
        sends.note("m-1", 0.0)
        assert worker._to_send() == []
        worker._ended("m-1")
        assert worker._to_send() == ["m-1"]
        worker._found.append("m-2")
        assert worker._most_urgent() == "m-1"
        if kind == "sync":
            worker.leave()
