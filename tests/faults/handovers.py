"""Conversations that pass to a person and back, while inboxes fail, replies of the store are lost and processes die.

The members and the persons say one number after another. The bot says each number that it has heard, the inbox notes
each one that has passed to it, and the channel each one that was said. So what is missing, what came again and what
came out of order is told from the numbers, and the audit tells who had the conversation.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import Any, Final

import attrs

from tests.engines import valkey_program
from tests.faults.clock import Clock, Clocked
from tests.faults.hangs import hang, hanging_at_once
from tests.faults.kills import Mortal, Steps, in_child, nowhere, run_alone
from tests.faults.members import PAST_LEASE
from tests.faults.proxy import Plan, proxied
from tests.faults.records import Folder
from tests.faults.row import Profile, Report, row
from tests.faults.sendings import ROUNDS, FailingChannel, judge_numbers, repeater_bot
from tests.faults.server import own_server
from vimbiso_fsm.audit.entries import AuditEntry
from vimbiso_fsm.errors import NotAnswered
from vimbiso_fsm.flow.inboxes import Inbox
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.passed_on import PassedOn
from vimbiso_fsm.messages.replies import Reply
from vimbiso_fsm.messages.sending import Answer, Later, Never, Sent
from vimbiso_fsm.runtime.flow_state import FlowStateManager
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.testing.chat import STORE_SECRET, words

__all__ = ["handed_to_failing_inboxes"]

INBOX: Final = Inbox("support", words=["agent"], back=["bot"], idle=86_400.0, limit=86_400.0)
BOT: Final = attrs.evolve(repeater_bot(), inboxes=[INBOX])


@attrs.define
class _FailingInbox:
    """Takes what passes, and fails now and then: before or after it has taken it, by hanging, or by its answer.

    Attributes:
        fails: The part of the attempts that fail.
        taken: What was taken, by channel, in its order.
        unknown: How often something may have been taken, and the answer did not say so.
        never: What it has said that it will never take, by its name.
        early: How often it was asked again before the end of the pause that it has asked for.
    """

    chance: random.Random
    clock: Clock
    fails: float = 0.5
    taken: dict[str, list[PassedOn]] = attrs.field(factory=dict)
    unknown: Counter[str] = attrs.field(factory=Counter)
    never: dict[str, PassedOn] = attrs.field(factory=dict)
    paused: dict[str, float] = attrs.field(factory=dict)
    early: int = 0
    lock: threading.Lock = attrs.field(factory=threading.Lock)
    go_on: threading.Event = attrs.field(factory=threading.Event)

    def __call__(self, passed: PassedOn, /) -> Answer:
        with self.lock:
            drawn = self.chance.random() / self.fails if self.fails else 1.0
            self.early += self.clock.ahead < self.paused.get(passed.id, 0.0)
            if drawn < 0.3:
                self.paused[passed.id] = self.clock.ahead + 100.0
                return Later(100)
            if drawn < 0.35:
                self.never[passed.id] = passed
                return Never("closed")
            if drawn < 0.55:
                raise ConnectionError("nothing was taken")
            if drawn >= 0.65:
                self.taken.setdefault(passed.channel.identifier, []).append(passed)
            if drawn >= 1.0:
                return Sent()
            self.unknown[passed.id] += 1
            go_on = self.go_on
        if drawn >= 0.75:
            raise TimeoutError("it is not known whether it was taken")
        hang(go_on)  # it takes it in the end, or has taken it before
        if drawn < 0.65:
            with self.lock:
                self.taken.setdefault(passed.channel.identifier, []).append(passed)
        return Sent()

    def let_go(self) -> None:
        """Let all attempts go on that hang."""
        with self.lock:
            go_on, self.go_on = self.go_on, threading.Event()
        go_on.set()


@attrs.define
class _Member:
    """A member, with what must come of the numbers.

    Attributes:
        told: The numbers that must be said to them.
        passed: The numbers that must pass to the inbox.
        heard: The latest number that the bot has heard.
    """

    channel: Channel
    id: str = ""
    number: int = 0
    told: list[int] = attrs.field(factory=list)
    passed: list[int] = attrs.field(factory=list)
    heard: int = 0


@attrs.frozen
class _Floor:
    """Members and persons who speak to several workers, some of them twice at once."""

    workers: Sequence[FlowStateManager]
    watch: FlowStateManager
    clock: Clock
    chance: random.Random
    pool: ThreadPoolExecutor
    report: Report

    def anywhere(self, act: Callable[[FlowStateManager], Any]) -> list[Any]:
        """Do something at one worker or at two at once, until it is answered; return the answers."""

        def until_answered(worker: FlowStateManager) -> Any:
            while True:
                try:
                    return act(worker)
                except NotAnswered:
                    continue

        chosen = self.chance.sample(self.workers, 2 if self.chance.random() < 0.3 else 1)
        return [each.result() for each in [self.pool.submit(until_answered, worker) for worker in chosen]]

    def say(self, member: _Member, text: str, id: str) -> AuditEntry | None:
        """Let a member say something; return the audit entry of the message, if it has one."""
        message = Message(member.channel, id, text)
        outcomes = self.anywhere(lambda worker: worker.handle(message))
        member.id = outcomes[0].member_id
        self.watch.state(member.id)  # which tells the manager the key of tokens
        reference = self.watch._base.reference(message)
        entries = self.watch.history(member.id, last=60)
        return next((entry for entry in entries if entry.token.startswith(reference)), None)

    def speak(self, member: _Member) -> None:
        """Let a member say the next number, until the bot has heard it or it passes to the inbox."""
        member.number += 1
        for attempt in range(100):
            entry = self.say(member, str(member.number), f"{member.number}.{attempt}")
            if entry is not None and entry.kind == "handed" and "handed" not in entry.detail:
                return member.passed.append(member.number)
            if entry is not None and entry.trigger == "answer" and entry.status == "advanced":
                member.told.append(member.number)
                member.heard = member.number
                return None
            self.forward(30)  # the member waits for the question
            self.wake(member)
        raise AssertionError(f"{member.channel.identifier}: {member.number} was never taken")

    def person(self, member: _Member, does: str) -> None:
        """Let a person take the conversation, say the next number, or give it back."""
        member.number += 1
        number, by = member.number, self.chance.choice(["ann", "ben"])
        match does:
            case "take":
                self.anywhere(lambda at: at.hand_over(member.id, "support", key=f"take-{number}", by=by))
            case "give":
                self.anywhere(lambda at: at.hand_back(member.id, key=f"give-{number}", by=by))
            case _:
                found = self.anywhere(lambda at: at.say(member.id, f"word {number}", key=f"say-{number}", by=by))
                if {outcome.status for outcome in found} & {"advanced", "duplicate"}:
                    member.told.append(number)

    def wake(self, member: _Member) -> None:
        """Wake a member at one of the workers."""
        self.anywhere(lambda worker: worker.wake(member.id))

    def forward(self, seconds: float) -> None:
        """Move the clock once the workers have recorded what they have sent, which takes them a second."""
        for worker in self.workers:
            while worker._base.sent:
                worker._recorder.record()
        self.clock.forward(seconds)

    def act(self, member: _Member) -> None:
        """Let one of them do one thing; the run moves only if the bot has heard a number."""
        does = self.chance.choice(["speak", "speak", "speak", "agent", "bot", "take", "say", "say", "give", "wake"])
        if does == "speak":
            self.speak(member)
        elif does in ("agent", "bot"):
            self.say(member, does, f"{does}.{member.number}.{self.clock.ahead}")
        elif does == "wake":
            self.wake(member)
        else:
            self.person(member, does)
        document = self.watch.state(member.id)
        run = document.run if document is not None else None
        stands = None if run is None else (run.step, run.fields["number"])
        name = f"{member.channel.identifier} after {does!r}"
        self.report.demand(stands == ("ask", str(member.heard or "")), f"{name}: the run stands at {stands}")

    def finish(self, members: Sequence[_Member], let_go: Callable[[], None]) -> None:
        """Wake the members again and again, until nothing is left to be said and to pass."""
        for _ in range(ROUNDS):
            let_go()
            self.forward(120)
            for member in members:
                self.watch.wake(member.id)
            found = [self.watch.state(member.id) for member in members]
            if not any(document is not None and (document.outbox or document.passing) for document in found):
                return
        self.report.demand(False, f"something is left after {ROUNDS} rounds")


_KINDS: Final = {"over": "begun", "back": "ended"}


def _passed(entries: Sequence[AuditEntry]) -> list[str]:
    """Return the names of all that must have passed to the inbox, in order, as the audit tells them."""
    found: list[str] = []
    for entry in entries:
        if "handed" in entry.detail:
            found.append(f"{entry.token[:16]}.{_KINDS[entry.detail['handed']]}")
        elif entry.kind == "handed":
            found.append(entry.token[:16])
    return found


def _judge_inbox(member: _Member, inbox: _FailingInbox, entries: Sequence[AuditEntry], report: Report) -> None:
    """Check what has passed to the inbox: the beginning and the end of each hand-over, and the words between them."""
    name, wanted = member.channel.identifier, _passed(entries)
    taken = inbox.taken.get(name, [])
    never = [item for item in inbox.never.values() if item.channel.identifier == name]
    places = {id: place for place, id in enumerate(wanted)}
    strange = {item.id for item in taken}.difference(places)
    report.demand(not strange, f"{name}: {len(strange)} have passed that the audit does not know")
    found = [places[item.id] for item in taken if item.id in places and item.id not in inbox.never]
    due = [place for id, place in places.items() if id not in inbox.never]
    judge_numbers(f"{name}, passed", found, due, lambda place: inbox.unknown[wanted[place]], report)
    numbers = {int(item.text) for item in (*taken, *never) if item.text.isdigit()}
    report.demand(numbers == {*member.passed}, f"{name}: {numbers ^ {*member.passed}} did not pass, or should not have")
    by = {entry.detail.get("by") for entry in entries if entry.kind == "person"}
    report.demand(by <= {"ann", "ben"}, f"{name}: the audit names {by}")


def handed_to_failing_inboxes(count: int, acts: int, seed: int) -> Report:
    """Let members and persons speak through a connection that loses replies, to an inbox and a channel that fail.

    Args:
        count: The number of members.
        acts: The number of things that are done at each of them.
        seed: Seeds the plans.
    """
    report, chance, clock = Report(), random.Random(seed), Clock()
    channel, inbox = FailingChannel(random.Random(seed + 1), clock), _FailingInbox(random.Random(seed + 2), clock)
    members = [_Member(Channel("whatsapp", f"2637713{number:05d}")) for number in range(count)]
    both: dict[str, Any] = {"senders": {"whatsapp": channel}, "inboxes": {"support": inbox}, "rates": None, "paces": {}}
    with (
        own_server(valkey_program()) as server,
        ExitStack() as stack,
        hanging_at_once(),
    ):
        proxy = stack.enter_context(proxied(server.socket, Plan(seed, drop=0.15, reset=0.15)))

        def worker(url: str, **options: Any) -> FlowStateManager:
            store = stack.enter_context(AtomicStateManager.from_url(url, secret=STORE_SECRET))
            return stack.enter_context(FlowStateManager(BOT, Clocked(store, clock), **both, **options))

        watch = worker(server.url, cache=0)
        pool = stack.enter_context(ThreadPoolExecutor(2))
        floor = _Floor([worker(proxy.url) for _ in range(3)], watch, clock, chance, pool, report)
        for member in members:
            floor.say(member, "hi", "0")
        for _ in range(acts):
            for member in members:
                floor.act(member)
            inbox.let_go()
            floor.forward(chance.choice([0.0, 5.0, 110.0]))
        floor.finish(members, inbox.let_go)
        for member in members:
            _judge_inbox(member, inbox, watch.history(member.id), report)
            unknown = partial(lambda name, number: channel.unknown[name, number], member.channel.identifier)
            name = member.channel.identifier
            judge_numbers(f"{name}, said", channel.said.get(name, []), member.told, unknown, report)
    report.demand(not inbox.early, f"the inbox was asked {inbox.early} times in the pause that it asked for")
    report.count(
        passed=sum(map(len, inbox.taken.values())), unknown=inbox.unknown.total(), never=len(inbox.never),
        said=sum(map(len, channel.said.values())), lost=proxy.lost,
    )  # fmt: skip
    report.demand(any(member.passed for member in members), "nothing has passed")
    inbox.let_go()
    return report


@row(
    "handed",
    "conversations handed over and back; 30 % of the store's replies lost; inboxes raise, hang, answer later or never",
    "all that is said passes once or more, twice only where the answer was unknown, in order; the run stands still",
)
def handed(profile: Profile, seed: int) -> Report:
    """Members and persons speak to three workers at once."""
    return handed_to_failing_inboxes(profile.of(3, 40), profile.of(12, 60), seed)


# Killed processes -----------------------------------------------------------------------------------------------------

WAYS: Final = ("word", "message", "back", "take", "say", "give")
"""What a process does when it is killed: a word hands over, a message passes, a word leads back; a person takes the
conversation, says something and gives it back."""


def _do(manager: FlowStateManager, how: str, channel: Channel, member_id: str) -> None:
    """Do one thing, under a name that is the same each time."""
    match how:
        case "word" | "message" | "back":
            text = {"word": "agent", "message": "1", "back": "bot"}[how]
            manager.handle(Message(channel, how, text))
        case "take":
            manager.hand_over(member_id, "support", key=how, by="ann")
        case "say":
            manager.say(member_id, "word 1", key=how, by="ann")
        case _:
            manager.hand_back(member_id, key=how, by="ann")


def _functions(records: Folder, point: Callable[[], None]) -> dict[str, Any]:
    """Return an inbox and a sender that note what they are given, and may die before and after it."""

    def inbox(passed: PassedOn) -> Answer:
        point()
        records.note("passed", to=passed.channel.identifier, id=passed.id, what=passed.text or passed.kind)
        point()
        return Sent()

    def sender(channel: Channel, replies: Sequence[Reply], /) -> Answer:
        point()
        records.note("said", to=channel.identifier, words=words(replies))
        point()
        return Sent()

    return {"inboxes": {"support": inbox}, "senders": {"whatsapp": sender}, "rates": None, "paces": {}}


def _killed(url: str, records: Folder, how: str, number: int, at: int, report: Report) -> bool:
    """Kill a process that does one thing to a new member at a point, and go on; return whether it was reached."""
    channel, clock = Channel("whatsapp", f"26377{number:07}"), Clock()
    over = how not in ("word", "take")
    with AtomicStateManager.from_url(url, secret=STORE_SECRET) as store:
        clocked = Clocked(store, clock)
        with FlowStateManager(BOT, clocked, **_functions(records, nowhere)) as manager:
            member_id = manager.handle(Message(channel, "hi", "hi")).member_id
            if over:
                manager.handle(Message(channel, "first", "agent"))

        def act() -> None:
            point = Steps(at)
            with (
                AtomicStateManager.from_url(url, secret=STORE_SECRET) as own,
                FlowStateManager(BOT, Mortal(own, point), **_functions(records, point)) as mortal,
            ):
                _do(mortal, how, channel, member_id)

        died = bool(in_child(act))
        clock.forward(PAST_LEASE)
        with FlowStateManager(BOT, clocked, **_functions(records, nowhere), cache=0) as manager:
            manager.state(member_id)  # which tells the manager what time it is
            if at % 2:
                manager.wake(member_id)
            for _ in range(2):
                _do(manager, how, channel, member_id)
            clock.forward(PAST_LEASE)
            manager.state(member_id)
            manager.wake(member_id)
            manager._recorder.record()
            document, entries = manager.state(member_id), manager.history(member_id)
    name = f"{how!r} killed at {at}"
    lines = [line for line in records.noted("passed") if line["to"] == channel.identifier]
    wanted, times = _passed(entries), Counter(line["id"] for line in lines)
    firsts = list(dict.fromkeys(line["id"] for line in lines))
    report.demand(firsts == wanted, f"{name}: of {len(wanted)} there have passed {[line['what'] for line in lines]}")
    report.demand(max(times.values()) <= 1 + died, f"{name}: something has passed {max(times.values())} times")
    said = [text for line in records.noted("said") if line["to"] == channel.identifier for text in line["words"]]
    report.demand(how != "say" or 1 <= said.count("word 1") <= 1 + died, f"{name}: what was said is {said}")
    stands = document is not None and document.run is not None and document.run.step == "ask"
    report.demand(stands, f"{name}: the run does not stand where it stood")
    report.demand(document is not None and not (document.passing or document.outbox), f"{name}: work is left")
    has = document is not None and document.handed is not None
    report.demand(has == (how not in ("back", "give")), f"{name}: a person has the conversation: {has}")
    report.count(killed=died, passed=len(lines))
    return died


def _kill_at_each_step(profile: Profile, seed: int, url: str, records: Folder, report: Report) -> None:
    """Kill at every point of everything that is done; in the short profile, at a sample of them."""
    chance, number = random.Random(seed), 0
    for how in WAYS:
        at, step = chance.randint(1, profile.of(4, 1)), profile.of(9, 1)
        while True:
            number += 1
            if not _killed(url, records, how, number, at, report):
                break
            at += chance.randint(1, step)


@row(
    "killed-handing",
    "worker killed before and after each step of a hand-over, of what passes, of a person's word and of the way back",
    "everything passes and is said, twice only if its worker was killed, in order; the run stands where it stood",
)
def killed_handing(profile: Profile, seed: int) -> Report:
    """A repeated message or key, or a worker, passes on and says what the dead process has left."""
    return run_alone(_kill_at_each_step, profile, seed)
