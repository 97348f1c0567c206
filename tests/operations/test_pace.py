"""The pace of deliveries: kept by all workers together, urgent replies first, the rest in order, and none lost."""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from collections.abc import Generator, Sequence
from concurrent import futures
from typing import Any, Literal

import pytest

from tests.operations.test_sending import KINDS, seat
from tests.shells import Shell
from vimbiso_fsm.errors import FlowError
from vimbiso_fsm.flow.rates import CHANNEL_PACES, Pace, Rate
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.replies import Reply
from vimbiso_fsm.messages.sending import Later, Sent
from vimbiso_fsm.runtime.worker import INTERVAL, AsyncWorker, Worker
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.testing.chat import STORE_SECRET

Kind = Literal["sync", "async"]
STEP = 0.5
"""Seconds by which the clock of a test goes on between two rounds of its worker."""


class Crowd:
    """Many members on one channel and one clock, two managers, and what the channel was asked and has said."""

    def __init__(self, kind: Kind, **options: Any) -> None:
        self.at = 1e9
        self.store = MemoryStore(lambda: self.at, secret=STORE_SECRET)
        self.asked: list[tuple[float, str]] = []
        self.said: list[tuple[float, str, str]] = []
        self.pauses: dict[str, Later] = {}
        options = {"senders": {"telegram": self.send if kind == "sync" else self.send_awaited}, **options}
        self.shells = [Shell(kind, seat(), self.store, **options) for _ in range(2)]
        for shell in self.shells:
            shell.manager._base.clock.follow(lambda: self.at)

    def send(self, channel: Channel, replies: Sequence[Reply]) -> Sent | Later:
        """Say the replies, unless the channel asks this member to wait once."""
        self.asked.append((self.at, channel.identifier))
        pause = self.pauses.pop(channel.identifier, None)
        if pause is not None:
            return pause
        self.said += [(self.at, channel.identifier, reply.text) for reply in replies]
        return Sent()

    async def send_awaited(self, channel: Channel, replies: Sequence[Reply]) -> Sent | Later:
        """Say the replies, awaited."""
        return self.send(channel, replies)

    def write(self, member: int, text: str, *, send: bool = True) -> str:
        """Let a member write; without `send`, the process ends before it has sent the reply. Return the member's id."""
        message = Message(Channel("telegram", str(member)), f"{member} {text}", text)
        found: str = self.shells[0].do("handle", message, send=send).member_id
        return found

    def round(self) -> None:
        """Wake the due members, from the middle down and from the latest down, on one manager after the other."""
        due = sorted((name for name, at in self.store._due.items() if at <= self.at), key=self.store._due.__getitem__)
        half = len(due) // 2
        for place, member_id in enumerate([*reversed(due[:half]), *reversed(due[half:])]):
            self.shells[place % 2].wake(member_id)

    def work(self, count: int, seconds: float) -> None:
        """Let a worker run until it has sent this often, or for so long; the clock stands still while members wake."""
        shell, begun = self.shells[0], self.at
        worker: Any = (Worker if shell.kind == "sync" else AsyncWorker)(shell.manager)
        at_round = self.at
        while len(self.asked) < count and self.at < begun + seconds:
            if self.at >= at_round:
                _await_all(shell, worker.round())
                at_round = self.at + INTERVAL
            _await_all(shell, worker.send_next())
            self.at = min(at_round, worker._next_sends.first)
        shell.run(worker.leave())

    def settle(self) -> None:
        """Record what was sent, as the managers do by themselves, and forget what the test has seen."""
        for shell in self.shells:
            base = shell.manager._base
            for request, note in base.sent.requests(base.bot):
                self.store.perform(request)
                base.sent.done(request.member_id, note)
        self.asked.clear()
        self.said.clear()


def _await_all(shell: Shell, begun: Any) -> None:
    """Wait until wakings have ended: those of a worker of threads, or of one of a loop."""
    if shell.kind == "sync":
        futures.wait(begun, timeout=60.0)
    else:
        shell.run(_awaited(begun))


async def _awaited(begun: Any) -> None:
    wakings = await begun if inspect.iscoroutine(begun) else begun
    if wakings:
        await asyncio.wait(wakings, timeout=60.0)


@pytest.fixture
def close() -> Generator[list[Shell]]:
    """Close the managers of a test at its end."""
    shells: list[Shell] = []
    yield shells
    for shell in shells:
        shell.close()


@pytest.mark.parametrize(
    ("kind", "members"), [("sync", 200), ("async", 200), pytest.param("async", 3_000, marks=pytest.mark.slow)]
)
def test_due_timers_go_out_at_the_pace_urgent_first_and_in_order(kind: Kind, members: int, close: list[Shell]):
    """Of timers that are due at once, no second has more than the pace; answers go first, the rest by their timers."""
    crowd, limit = Crowd(kind, paces={"telegram": Pace(members // 100, chat=Rate(1, every=1.0))}), members // 100
    close += crowd.shells
    for member in range(members):
        crowd.at += 0.001
        crowd.write(member, "hi")
    crowd.at += 45.0  # the answers that are left are due after the timers
    for member in range(members, members + limit):
        crowd.write(member, "hi")
        crowd.write(member, "yes", send=False)
    crowd.settle()
    crowd.pauses = {str(member): Later(5.0, address=True) for member in range(0, members, 50)}
    crowd.at += 100.0
    begun = crowd.at
    while len(crowd.said) < members + limit and crowd.at < begun + 200.0:
        crowd.round()
        crowd.at += STEP
    late, urgent = {str(member) for member in range(0, members, 50)}, {str(members + each) for each in range(limit)}
    assert Counter(who for _, who, _ in crowd.said) == Counter(map(str, range(members + limit)))
    assert {text for _, _, text in crowd.said} == {"Too late.", "Yours.\n\nThanks."}
    asked = [at for at, _ in crowd.asked]
    assert all(after >= before + 1.0 for before, after in zip(asked, asked[limit:], strict=False))
    assert asked[-1] - begun <= len(asked) / limit + 5.0  # the last may have been asked to wait
    assert urgent <= {who for _, who in crowd.asked[: 2 * limit]}
    in_order = [int(who) for _, who in crowd.asked[limit:] if who not in urgent | late]
    assert all(before < after for before, after in zip(in_order, in_order[limit:], strict=False))
    for waits in late:
        first, second = (at for at, who in crowd.asked if who == waits)
        assert second >= first + 5.0


@KINDS
def test_a_worker_uses_its_pace(kind: Kind, close: list[Shell]):
    """While members wait, a worker sends 30 in each second and never more, and it says all, each once."""
    members = 300
    crowd = Crowd(kind, paces={"telegram": Pace(30, chat=Rate(1, every=1.0))})
    close += crowd.shells
    for member in range(members):
        crowd.write(member, "hi")
    crowd.settle()
    crowd.at += 61.0
    crowd.work(members, 2 * members / 30)
    asked = [at for at, _ in crowd.asked]
    assert Counter(who for _, who, _ in crowd.said) == Counter(map(str, range(members)))
    assert all(1.0 <= after - before < 1.01 for before, after in zip(asked, asked[30:], strict=False))


@KINDS
def test_a_timer_acts_in_time_and_its_words_wait(kind: Kind, close: list[Shell]):
    """The pace delays words alone: the flow has gone on, and the member's next message brings them."""
    crowd = Crowd(kind, paces={"telegram": Pace(1, every=600.0)})
    close += crowd.shells
    one, two = crowd.write(1, "hi"), crowd.write(2, "hi")
    crowd.settle()
    crowd.at += 61.0
    crowd.round()
    assert [text for _, _, text in crowd.said] == ["Too late."]
    left, who = (one, 1) if crowd.said[0][1] == "2" else (two, 2)
    assert crowd.shells[0].state(left).run is None
    crowd.write(who, "hello")
    assert next(text for _, each, text in crowd.said if each == str(who)).startswith("Too late.")


@KINDS
def test_an_address_has_a_rate_of_its_own(kind: Kind, close: list[Shell]):
    """A second delivery to the same address waits for its rate, and holds no other address up."""
    crowd = Crowd(kind, paces={"telegram": Pace(1, every=0.1, chat=Rate(1, every=90.0))})
    close += crowd.shells
    crowd.write(1, "hi")
    crowd.at += 61.0
    crowd.round()
    crowd.write(1, "again")
    crowd.write(2, "hi")
    crowd.settle()
    crowd.at += 61.0
    crowd.round()
    assert [who for _, who, _ in crowd.said] == ["2"]
    crowd.at += 30.0
    crowd.round()
    assert [who for _, who, _ in crowd.said] == ["2", "1"]


@KINDS
def test_the_whole_account_keeps_a_pause_that_the_channel_asks_for(kind: Kind, close: list[Shell]):
    """After a 429 no worker sends to any member of the account until its end, and then all are sent, each once."""
    crowd = Crowd(kind, paces={"telegram": Pace(30)})
    close += crowd.shells
    for member in range(5):
        crowd.write(member, "hi")
    crowd.settle()
    crowd.pauses = {str(member): Later(400) for member in range(5)}
    crowd.at += 61.0
    begun = crowd.at
    crowd.round()
    crowd.pauses = {}
    assert len(crowd.asked) == 1
    while len(crowd.said) < 5 and crowd.at < begun + 600.0:
        crowd.round()
        crowd.at += 10 * STEP
    assert all(at == begun or at >= begun + 400.0 for at, _ in crowd.asked)
    assert Counter(who for _, who, _ in crowd.said) == Counter(map(str, range(5)))


@KINDS
def test_a_pause_is_one_of_the_account_unless_it_is_the_members(kind: Kind, close: list[Shell]):
    """A reply that `handle` sends brings the pause too; one for the member alone, or without seconds, is no pause."""
    for answer, waits in ((Later(400), True), (Later(400, address=True), False), (Later(), False)):
        crowd = Crowd(kind, paces={"telegram": Pace(30)})
        close += crowd.shells
        crowd.write(1, "hi")
        crowd.settle()
        crowd.pauses = {"2": answer}
        crowd.at += 50.0
        crowd.write(2, "hi")
        crowd.at += 11.0
        crowd.round()
        assert ("1" in {who for _, who in crowd.asked}) is not waits


def test_the_paces_of_a_manager_are_checked():
    """A pace that is none, one of an unknown channel and one out of its bounds are refused when they are declared."""
    for paces, fault in (({"telegram": 30}, "give a Pace"), ({"pigeon": Pace(1)}, "no type of a channel")):
        with pytest.raises(FlowError, match=fault):
            Shell("sync", seat(), MemoryStore(lambda: 1e9), paces=paces)
    wrong: list[dict[str, Any]] = [{"limit": 0}, {"every": 3_601}, {"chat": Rate(10, every=361.0)}, {"chat": 1.0}]
    for bounds in wrong:
        with pytest.raises(FlowError, match="Pace"):
            Pace(bounds.pop("limit", 1), **bounds)
    assert CHANNEL_PACES["telegram"].limit == 30
