"""The replies that managers send themselves, while senders fail, messages are repeated and processes die.

A member says one number after another, and is told each of them. The bot of these rows says every number in a text of
its own, so that what was said tells what is missing, what was said again, and what came out of order.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import attrs

from tests.engines import valkey_program
from tests.faults.clock import Clock, Clocked
from tests.faults.hangs import hang, hang_awaited, hanging_at_once
from tests.faults.kills import STYLES, AsyncMortal, Mortal, Steps, in_child, nowhere, run_alone
from tests.faults.members import PAST_LEASE
from tests.faults.proxy import Plan, proxied
from tests.faults.records import Folder
from tests.faults.row import Profile, Report, row
from tests.faults.server import own_server
from tests.shells import Shell
from vimbiso_fsm.errors import NotAnswered
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.flow import Flow
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.flow.turn import Turn
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.replies import Reply, Text
from vimbiso_fsm.messages.sending import Answer, Later, Never, Sent
from vimbiso_fsm.operations.handle import Outcome
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager, FlowStateManager
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.store.requests import Request
from vimbiso_fsm.testing.chat import STORE_SECRET

__all__ = ["ROUNDS", "FailingChannel", "judge_numbers", "numbers_said", "repeater_bot"]

ROUNDS = 60
"""The rounds of waking, each on a clock that is two minutes further, in which everything must be said."""


@attrs.frozen
class _Data:
    number: str = ""


def _number(text: str) -> str | Refused:
    return text if text.isdigit() else Refused("choice.unknown")


def _told(turn: Turn[_Data]) -> Text:
    return Text(f"heard {turn.data.number}")


def repeater_bot() -> Bot:
    """Make a bot that says each number that it is told."""
    flow = Flow(
        "repeater",
        initial="ask",
        data=_Data,
        states=[State("ask", ask=Text("Next?"), reads=_number, into="number"), State("told", say=_told)],
        transitions=[Transition("answer", "ask", "told"), Transition("auto", "told", "ask")],
    )
    return Bot(flow, session=86_400.0)


@attrs.define
class FailingChannel:
    """Sends replies, and fails now and then: before they were sent, after it, or by asking to be left alone.

    Attributes:
        said: The numbers that were said, by member, in their order.
        unknown: How often a number was said, and the sender has raised all the same.
        early: How often replies were sent before the end of the pause that was asked for.
    """

    chance: random.Random
    clock: Clock
    fails: float = 0.5
    said: dict[str, list[int]] = attrs.field(factory=dict)
    unknown: Counter[tuple[str, int]] = attrs.field(factory=Counter)
    paused: dict[str, float] = attrs.field(factory=dict)
    early: int = 0
    lock: threading.Lock = attrs.field(factory=threading.Lock)

    def __call__(self, channel: Channel, replies: Sequence[Reply], /) -> Answer:
        with self.lock:
            member, drawn = channel.identifier, self.chance.random() / self.fails if self.fails else 1.0
            self.early += self.clock.ahead < self.paused.get(member, 0.0)
            if drawn < 0.4:
                self.paused[member] = self.clock.ahead + 100.0
                return Later(100)
            if drawn < 0.7:
                raise ConnectionError("nothing was sent")
            numbers = [int(word) for reply in replies for word in reply.text.split() if word.isdigit()]
            self.said.setdefault(member, []).extend(numbers)
            if drawn < 1.0:
                self.unknown.update((member, number) for number in numbers)
                raise TimeoutError("it is not known whether it was sent")
            return Sent("id")


@attrs.define
class _OddChannel(FailingChannel):
    """A channel that also hangs, before or after it has said something, and refuses replies or a member for good.

    Attributes:
        gone: The numbers that it has refused for good, by member.
        over: Lets go of what hangs.
    """

    gone: set[tuple[str, int]] = attrs.field(factory=set)
    over: threading.Event = attrs.field(factory=threading.Event)
    kinds: Counter[str] = attrs.field(factory=Counter)

    def take(self, channel: Channel, replies: Sequence[Reply]) -> Answer | None:
        """Send replies, or fail; None to hang."""
        with self.lock:
            member, drawn = channel.identifier, self.chance.random() if self.fails else 1.0
            numbers = [int(word) for reply in replies for word in reply.text.split() if word.isdigit()]
            kind = next((kind for kind, below in _ODD.items() if drawn < below), "")
            if kind:
                self.kinds[kind] += 1
                self.early += self.clock.ahead < self.paused.get(member, 0.0)
            if kind == "refuses":
                self.gone.update((member, number) for number in numbers)
                return Never("it cannot be sent", code="131026")
            if kind == "blocked":
                return Never("the member has blocked the bot", address=True)
            if kind == "hangs after":
                self.said.setdefault(member, []).extend(numbers)
                self.unknown.update((member, number) for number in numbers)
        return None if kind else FailingChannel.__call__(self, channel, replies)

    def __call__(self, channel: Channel, replies: Sequence[Reply], /) -> Answer:
        answer = self.take(channel, replies)
        if answer is None:
            hang(self.over)
        return answer or Sent()

    async def awaited(self, channel: Channel, replies: Sequence[Reply], /) -> Answer:
        """Send replies, as the sender of an async manager."""
        answer = self.take(channel, replies)
        if answer is None:
            await hang_awaited()
        return answer or Sent()


_ODD: Final = {"refuses": 0.03, "blocked": 0.06, "hangs": 0.08, "hangs after": 0.1}
"""The parts of the attempts, added up, that end so."""


def judge_numbers(
    name: str, found: Sequence[int], wanted: Sequence[int], unknown: Callable[[int], int], report: Report
) -> None:
    """Check that each number came, again only where the outcome was unknown, and in order.

    Args:
        name: Whose numbers they are, and how they came.
        found: The numbers that came, in their order.
        wanted: The numbers that had to come, in their order.
        unknown: Returns how often the outcome of a number was unknown.
        report: The report.
    """
    lost, strange = set(wanted).difference(found), set(found).difference(wanted)
    report.demand(not lost, f"{name}: {sorted(lost)} were lost")
    report.demand(not strange, f"{name}: {sorted(strange)} came from nowhere")
    for number, times in Counter(found).items():
        may = 1 + unknown(number)
        report.demand(times <= may, f"{name}: {number} came {times} times, {may} may be")
    firsts = list(dict.fromkeys(found))
    report.demand(firsts == [number for number in wanted if number in firsts], f"{name}: out of order {found}")


def _judge(channel: _OddChannel, members: Sequence[str], numbers: int, report: Report) -> None:
    """Check that each number was said, again only where the outcome was unknown, and in order."""
    for member in members:
        unknown = partial(lambda member, number: channel.unknown[member, number], member)
        found = channel.said.get(member, [])
        wanted = [n for n in range(1, numbers + 1) if n in found or (member, n) not in channel.gone]
        judge_numbers(member, found, wanted, unknown, report)
        report.count(numbers=numbers, refused=numbers - len(wanted))
    report.demand(not channel.early, f"the channel was asked {channel.early} times in the pause that it asked for")
    report.count(said=sum(map(len, channel.said.values())), unknown=channel.unknown.total())


@attrs.frozen
class _Awaited:
    """A store that is awaited."""

    store: Clocked

    async def perform(self, request: Request) -> Any:
        """Perform a request."""
        return self.store.perform(request)


@attrs.frozen
class _Worker:
    """A sync or an async manager, and its store."""

    shell: Shell
    store: Clocked

    @classmethod
    def of(cls, kind: Literal["sync", "async"], store: Clocked, channel: _OddChannel, **options: Any) -> _Worker:
        """Make a worker that sends on a channel."""
        sender = channel if kind == "sync" else channel.awaited
        given = store if kind == "sync" else _Awaited(store)
        return cls(Shell(kind, repeater_bot(), given, senders={"whatsapp": sender}, paces={}, **options), store)

    def say(self, message: Message) -> Outcome:
        """Handle a message until it is answered."""
        while True:
            try:
                outcome: Outcome = self.shell.do("handle", message)
            except NotAnswered:
                continue
            return outcome

    def record(self) -> None:
        """Record what was sent, as the worker does by itself a second later."""
        base = self.shell.manager._base
        while base.sent:
            for request, note in base.sent.requests(base.bot):
                with suppress(NotAnswered):
                    self.store.perform(request)
                    base.sent.done(request.member_id, note)


@attrs.frozen
class _Post:
    """Says the numbers of one member to several workers, some of them twice."""

    workers: Sequence[_Worker]
    clock: Clock
    chance: random.Random
    pool: ThreadPoolExecutor

    def tell(self, member: str, number: int) -> None:
        """Say one number, until it is taken. A text that comes before the question was read is said again."""
        for attempt in range(100):
            message = Message(Channel("whatsapp", member), f"{number}.{attempt}", str(number))
            chosen = self.chance.sample(self.workers, 2 if self.chance.random() < 0.3 else 1)
            outcomes = [each.result() for each in [self.pool.submit(worker.say, message) for worker in chosen]]
            if any(f"heard {number}" in [reply.text for reply in outcome.replies] for outcome in outcomes):
                return
            self.forward(30)  # the member waits for the question
            with suppress(NotAnswered):
                self.workers[0].shell.do("wake", outcomes[0].member_id)
        raise AssertionError(f"{member}: {number} was never taken")

    def forward(self, seconds: float) -> None:
        """Move the clock once the workers have recorded what they have sent, which takes them a second."""
        for worker in self.workers:
            worker.record()
        self.clock.forward(seconds)


def _wake_all(url: Path | str, channel: _OddChannel, clock: Clock, members: Sequence[str], report: Report) -> None:
    """Wake the members again and again, as a worker does, until nothing is left to be said.

    What waits for the member's next message, because they had blocked the bot, comes when they write now and then.
    """
    with (
        AtomicStateManager.from_url(str(url), secret=STORE_SECRET) as store,
        FlowStateManager(
            repeater_bot(), Clocked(store, clock), senders={"whatsapp": channel}, cache=0, rates=None, paces={}
        ) as manager,  # without a pace, whose pauses of an account end by the time of the server
    ):
        manager.start()
        ids = [manager.bot.digests.guest_id(Channel("whatsapp", member).address) for member in members]
        for turn in range(ROUNDS):
            clock.forward(120)
            for member, member_id in zip(members, ids, strict=True):
                manager.wake(member_id)
                document = manager.state(member_id)
                if turn % 5 == 4 and document is not None and document.outbox:
                    manager.handle(Message(Channel("whatsapp", member), f"again {turn}", "again"))
            found = [manager.state(member_id) for member_id in ids]
            if not any(document is not None and document.outbox for document in found):
                return
    report.demand(False, f"something is left to be said after {ROUNDS} rounds")


@row(
    "said",
    "30 % of the store's replies lost; senders raise, hang, answer later or never; messages twice at once",
    "each reply said, twice only where its outcome was unknown, in order; the channel's pauses kept",
)
def said(profile: Profile, seed: int) -> Report:
    """Members talk to three workers at once, one of them async, through a connection that loses replies."""
    return numbers_said(profile.of(4, 100), profile.of(5, 20), seed)


def numbers_said(count: int, numbers: int, seed: int) -> Report:
    """Let members say numbers. See `said`.

    Args:
        count: The number of members.
        numbers: The numbers that each of them says.
        seed: The seed of what fails.
    """
    report, chance, clock = Report(), random.Random(seed), Clock()
    members = [f"2637712{number:05d}" for number in range(count)]
    channel = _OddChannel(random.Random(seed + 1), clock)
    with own_server(valkey_program()) as server, ExitStack() as stack, hanging_at_once():
        proxy = stack.enter_context(proxied(server.socket, Plan(seed, drop=0.15, reset=0.15)))
        stores = [stack.enter_context(AtomicStateManager.from_url(proxy.url, secret=STORE_SECRET)) for _ in range(3)]
        kinds: Sequence[Literal["sync", "async"]] = ("sync", "sync", "async")
        workers = [
            _Worker.of(kind, Clocked(store, clock), channel, cache=100)
            for kind, store in zip(kinds, stores, strict=True)
        ]
        pool = stack.enter_context(ThreadPoolExecutor(2))
        post = _Post(workers, clock, chance, pool)
        for member in members:
            workers[0].say(Message(Channel("whatsapp", member), "0", "hi"))
        for number in range(1, numbers + 1):
            for member in members:
                post.tell(member, number)
            post.forward(chance.choice([0.0, 5.0, 110.0]))
            channel.over.set()  # what hangs ends, too late
            channel.over.clear()
        for worker in workers:
            worker.record()
            worker.shell.do("close")
        _wake_all(server.url, channel, clock, members, report)
        _judge(channel, members, numbers, report)
        channel.over.set()
    report.count(answers_lost=proxy.lost, hung=channel.kinds["hangs"] + channel.kinds["hangs after"])
    report.count(blocked=channel.kinds["blocked"])
    return report


@attrs.frozen
class _Lasting:
    """A channel whose record of what it has said outlives its process, which may die before and after it is asked."""

    records: Folder
    point: Callable[[], None] = nowhere

    def __call__(self, channel: Channel, replies: Sequence[Reply], /) -> Answer:
        self.point()
        self.records.note("said", texts=[reply.text for reply in replies], to=channel.identifier)
        self.point()
        return Sent()

    async def awaited(self, channel: Channel, replies: Sequence[Reply], /) -> Answer:
        """Send replies, as the sender of an async manager."""
        return self(channel, replies)


def _talk(url: str, records: Folder, clock: Clock, member: str, style: str, point: Callable[[], None]) -> None:
    """Say one number to a worker that dies at a point, or answers."""
    message, sender = Message(Channel("whatsapp", member), "1", "1"), _Lasting(records, point)
    if style == "sync":
        with (
            AtomicStateManager.from_url(url, secret=STORE_SECRET) as store,
            FlowStateManager(
                repeater_bot(), Mortal(Clocked(store, clock), point), senders={"whatsapp": sender}, rates=None
            ) as manager,
        ):
            manager.handle(message)
    else:
        asyncio.run(_talk_async(url, clock, message, sender, point))


async def _talk_async(url: str, clock: Clock, message: Message, sender: _Lasting, point: Callable[[], None]) -> None:
    with AtomicStateManager.from_url(url, secret=STORE_SECRET) as store:
        mortal, senders = AsyncMortal(_Awaited(Clocked(store, clock)), point), {"whatsapp": sender.awaited}
        async with AsyncFlowStateManager(repeater_bot(), mortal, senders=senders, rates=None) as manager:
            await manager.handle(message)


def _kill_sender(url: str, records: Folder, member: str, style: str, at: int, report: Report) -> bool:
    """Kill a worker at a step, if it comes to it, let others go on, and judge what was said; return whether it died."""
    clock, channel = Clock(), Channel("whatsapp", member)
    with (
        AtomicStateManager.from_url(url, secret=STORE_SECRET) as store,
        FlowStateManager(
            repeater_bot(), Clocked(store, clock), senders={"whatsapp": _Lasting(records)}, rates=None
        ) as manager,
    ):
        manager.handle(Message(channel, "0", "hi"))
        died = bool(in_child(lambda: _talk(url, records, clock, member, style, Steps(at))))
        if at % 2:  # the channel repeats the message, before the lease of the dead process is over and after it
            manager.handle(Message(channel, "1", "1"))
        clock.forward(PAST_LEASE)
        outcome = manager.handle(Message(channel, "1", "1"))
        manager.wake(outcome.member_id)
        manager._recorder.record()
        document = manager.state(outcome.member_id)
        report.demand(document is not None and not document.outbox, f"{style} {at}: something was left")
    texts = [text for line in records.noted("said") if line["to"] == member for text in line["texts"]]
    times = sum("heard 1" in text for text in texts)
    report.demand(1 <= times <= 1 + died, f"{style} {at}: the reply was said {times} times")
    report.count(said=times, **{f"killed_{style}": died})
    return died


def _kill_senders(profile: Profile, seed: int, url: str, records: Folder, report: Report) -> None:
    """Kill at every step: workers of both kinds, or in the short profile of each kind in turn."""
    at, lived = 1, set[str]()
    while len(lived) < len(STYLES):
        for number, style in enumerate(STYLES):
            if profile.short and (at + seed + number) % len(STYLES):
                continue
            if not _kill_sender(url, records, f"26377{number}{seed:02d}{at:04d}", style, at, report):
                lived.add(style)
        at += 1
    for style in STYLES:
        report.demand(report.counts.get(f"killed_{style}"), f"no {style} worker was killed")


@row(
    "killed-sending",
    "sync and async worker killed at each step between a commit and the record of its replies",
    "the reply said, twice only if its worker was killed; by a repeated message or a worker",
)
def killed_sending(profile: Profile, seed: int) -> Report:
    """A repeated message, or a worker, says what the dead process has left."""
    return run_alone(_kill_senders, profile, seed)
