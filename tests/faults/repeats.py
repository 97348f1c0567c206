"""Messages that are delivered again: at once, shuffled, minutes and days later; and a store put back to a copy."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import cast

import attrs

from tests.digests import token_of
from tests.engines import valkey_program
from tests.faults.bot import TALLY, till_bot
from tests.faults.checker import check, check_tally
from tests.faults.clock import Clock, Clocked
from tests.faults.members import Person, judge
from tests.faults.records import Folder, LedgerTill
from tests.faults.replies import people_for
from tests.faults.restores import copied
from tests.faults.row import Profile, Report, folder, row
from tests.faults.server import own_server
from tests.faults.worker import logged
from vimbiso_fsm.engine.decide import current_question
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.messages.message import Message
from vimbiso_fsm.messages.replies import Reply
from vimbiso_fsm.runtime.flow_state import FlowStateManager
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.store.requests import Head, Load, ReadRecords, Record, Stored
from vimbiso_fsm.testing.chat import STORE_SECRET

__all__ = ["restored_store"]

MINUTES = 6 * 60.0
DAYS = 7 * 86_400.0


@attrs.frozen
class _Post:
    """Delivers one member's messages to workers, and compares each answer with the first one."""

    bot: Bot
    store: Clocked
    workers: Sequence[FlowStateManager]
    person: Person
    records: Folder
    report: Report
    chance: random.Random
    pool: ThreadPoolExecutor
    first: dict[str, tuple[Reply, ...]] = attrs.field(factory=dict)

    def deliver(self, message: Message) -> None:
        """Deliver a message for the first time, perhaps to two workers at the same moment, or once more."""
        if message.id in self.first:
            return self._again(message)
        chosen = self.chance.sample(self.workers, 2 if self.chance.random() < 0.3 else 1)
        outcomes = [done.result() for done in [self.pool.submit(worker.handle, message) for worker in chosen]]
        statuses = sorted(outcome.status for outcome in outcomes)
        fair = statuses in (["advanced"], ["advanced", "duplicate"])
        self.report.demand(fair, f"{message.id}: first delivered, it came to {statuses}")
        self.first[message.id] = outcomes[0].replies
        self.report.demand(outcomes[0].replies == outcomes[-1].replies, f"{message.id}: delivered twice, two answers")
        judge(self.person, message, outcomes[0], self.records, again=True)
        self.report.count(deliveries=len(outcomes))

    def _again(self, message: Message) -> None:
        worker = self.chance.choice(self.workers)
        token = token_of(message)
        kept = any(record.root == token for record in self._records())
        before = self._heads()
        outcome = worker.handle(message)
        judge(self.person, message, outcome, self.records, again=True)
        expected = self.first[message.id]
        if not kept:
            expected = current_question(self.bot, outcome.state, datetime.fromtimestamp(self.store.clock.ahead, UTC))
        name = "first reply" if kept else "current question"
        self.report.demand(outcome.status == "duplicate", f"{message.id}: again, it came to {outcome.status}")
        self.report.demand(outcome.replies == expected, f"{message.id}: again, it did not bring the {name}")
        self.report.demand(self._heads() == before, f"{message.id}: again, it had an effect")
        self.report.count(deliveries=1, **{name.replace(" ", "_"): 1})

    def _records(self) -> tuple[Record, ...]:
        """Return the turn records of the member; those of the guest were deleted by the promotion."""
        member = self.store.perform(ReadRecords(self.person.member_id))
        return cast("tuple[Record, ...]", member or self.store.perform(ReadRecords(self.person.guest_id)))

    def _heads(self) -> list[Head]:
        members = (self.person.guest_id, self.person.member_id)
        return [cast(Stored, self.store.perform(Load(member))).head for member in members]


@row(
    "repeated",
    "each message 5 times, shuffled, again 6 minutes and 7 days later",
    "one effect; the first reply while it is retained, then the current question",
)
def repeated(profile: Profile, seed: int) -> Report:
    """Deliver messages in order, and copies of each at any time after it; the clock is moved."""
    report, chance = Report(), random.Random(seed)
    people = people_for(profile.of(200, 1_000), profile.of(10, 20))
    with folder() as records, own_server(valkey_program()) as server, logged(records), ExitStack() as stack:
        bot = till_bot(LedgerTill(records), session=300.0)
        clock = Clock()
        store = Clocked(stack.enter_context(AtomicStateManager.from_url(server.url, secret=STORE_SECRET)), clock)
        workers = [stack.enter_context(FlowStateManager(bot, store, rates=None)) for _ in range(3)]
        pool = stack.enter_context(ThreadPoolExecutor(2))
        posts = [_Post(bot, store, workers, person, records, report, chance, pool) for person in people]
        for post in posts:
            for message in _mixed(post.person.messages, chance):
                post.deliver(message)
        for later in (MINUTES, DAYS):
            clock.ahead = later
            for post in posts:
                for message in _shuffled(post.person.messages, profile.of(1, 5), chance):
                    post.deliver(message)
        check(server.url, records, people, report)
    return report


def _shuffled(messages: Sequence[Message], copies: int, chance: random.Random) -> list[Message]:
    """Return copies of each message, in any order."""
    return chance.sample([*messages] * copies, copies * len(messages))


def _mixed(messages: Sequence[Message], chance: random.Random) -> list[Message]:
    """Return the messages in order, with four further copies of each at any place after it."""
    mixed = [*messages]
    for message in messages:
        for _ in range(4):
            mixed.insert(chance.randint(mixed.index(message) + 1, len(mixed)), message)
    return mixed


@row("shuffled", "the same, shuffled whole, several workers at once", "one effect each, the sum is right")
def shuffled(profile: Profile, seed: int) -> Report:
    """Add numbers that arrive in any order."""
    report, chance = Report(), random.Random(seed)
    person = Person(1)
    numbers = range(1, profile.of(200, 1_000) + 1)
    messages = {number: person.message(number, str(number)) for number in numbers}
    with folder() as records, own_server(valkey_program()) as server, logged(records), ExitStack() as stack:
        clock = Clock()
        store = Clocked(stack.enter_context(AtomicStateManager.from_url(server.url, secret=STORE_SECRET)), clock)
        workers = [stack.enter_context(FlowStateManager(TALLY, store, rates=None)) for _ in range(4)]
        workers[0].handle(person.message("hi", "hi"))
        for later in (0.0, MINUTES, DAYS):
            clock.ahead = later
            each = profile.of(1, 5) if later else 5
            copies = _shuffled([*messages.values()], each, chance)
            chosen = [chance.choice(workers) for _ in copies]
            with ThreadPoolExecutor(4) as pool:
                statuses = [*pool.map(lambda worker, message: worker.handle(message).status, chosen, copies)]
            found = {status: statuses.count(status) for status in {*statuses}}
            once = (
                {"duplicate": each * len(messages)}
                if later
                else {"advanced": len(messages), "duplicate": 4 * len(messages)}
            )
            report.demand(found == once, f"{later:g} s later: {found}, not {once}")
            report.count(deliveries=len(copies))
        said = {token_of(message): number for number, message in messages.items()}
        check_tally(server.url, person, report, said=said)
    return report


# An older copy of the store ------------------------------------------------------------------------------------------


@row("restored", "the store comes back from an older copy", "a stale worker gets a Conflict; what came since stays")
def restored(profile: Profile, seed: int) -> Report:
    """A worker that made turns which the copy lacks holds a document of the same or another version."""
    return restored_store(profile.of(200, 1_000), seed)


def restored_store(members: int, seed: int) -> Report:
    """Send numbers, copy the store, send more, restore the copy; then a fresh and a stale worker go on."""
    report, chance = Report(), random.Random(seed)
    people = [Person(number) for number in range(1, members + 1)]
    said: dict[Person, list[Message]] = {person: [] for person in people}
    with folder() as records, own_server(valkey_program()) as server, logged(records), ExitStack() as stack:
        stale_clock = Clock()
        stale_store = Clocked(
            stack.enter_context(AtomicStateManager.from_url(server.url, secret=STORE_SECRET)), stale_clock
        )
        stale = stack.enter_context(FlowStateManager(TALLY, stale_store, rates=None))
        fresh = stack.enter_context(FlowStateManager.from_url(server.url, TALLY, rates=None, secret=STORE_SECRET))

        def say(worker: FlowStateManager, person: Person, times: int, part: str) -> list[Message]:
            messages = [person.message(f"{part}{place}", str(chance.randint(1, 99))) for place in range(times)]
            for message in messages:
                report.demand(worker.handle(message).status == "advanced", f"{message.id} was not taken")
            return messages

        for person in people:
            stale.handle(person.message("hi", "hi"))
            said[person] += say(stale, person, chance.randint(1, 3), "before")
        copy = copied(server)
        forgotten = {person: len(say(stale, person, chance.randint(1, 3), "forgotten")) for person in people}
        server.kill()
        shutil.copy(copy, server.data / "dump.rdb")
        server.start()
        stale_clock.answers.clear()
        for person in people:
            since = forgotten[person] if chance.random() < 0.7 else chance.randint(1, 3)
            said[person] += say(fresh, person, since, "since")
            said[person] += say(stale, person, 1, "stale")
            report.count(turns=since + 1, same_version=since == forgotten[person])
        report.count(conflicts=stale_clock.answers["Conflict"])
        report.demand(stale_clock.answers["Conflict"] == members, "the stale worker did not always get a Conflict")
        for person in people:
            numbers = {token_of(message): int(message.text or "") for message in said[person]}
            check_tally(server.url, person, report, said=numbers)
    return report
