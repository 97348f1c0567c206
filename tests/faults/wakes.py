"""Due work, which no message causes: timers, and the replies that they lead to, under the same faults.

A member is asked for a confirmation and does not answer; a timer ends the question, and the reply leaves through the
outbox. Workers race for it, deliveries fail before or after they were made, and workers are killed in the middle.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import attrs

from tests.engines import valkey_program
from tests.faults.bot import till_bot
from tests.faults.checker import check
from tests.faults.clock import Clock, Clocked
from tests.faults.kills import Mortal, Steps, in_child, nowhere, run_alone, wake_due
from tests.faults.members import PAST_LEASE, Person, deliver
from tests.faults.records import Folder, LedgerTill
from tests.faults.row import Profile, Report, folder, row
from tests.faults.server import own_server
from tests.faults.worker import logged
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.replies import Reply
from vimbiso_fsm.runtime.flow_state import FlowStateManager
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.testing.chat import STORE_SECRET

__all__ = ["TIMEOUT", "Deliverer", "ask_for_confirmations", "check_timers"]

TIMEOUT = 60.0
BEGINNING = 3
"""Messages after which a person is asked for a yes."""


@attrs.frozen(eq=False)
class Deliverer:
    """Receives replies to members, and fails now and then: before they were sent, or after.

    Attributes:
        point: The place at which its process may die.
    """

    records: Folder
    chance: random.Random | None = None
    point: Callable[[], None] = nowhere
    tries: Counter[str] = attrs.field(factory=Counter)

    def __call__(self, channel: Channel, replies: Sequence[Reply], /, *, key: str = "") -> None:
        drawn = self.chance.random() if self.chance and self.tries[key] < 3 else 1.0
        self.tries[key] += 1
        if drawn < 0.3:
            raise ConnectionError("nothing was sent")
        self.point()
        self.records.note("told", to=channel.identifier, key=key, texts=[reply.text for reply in replies])
        self.point()
        if drawn < 0.5:
            raise TimeoutError("it is not known whether it was sent")


def ask_for_confirmations(url: str, records: Folder, people: Iterable[Person], clock: Clock) -> None:
    """Ask each member for a confirmation."""
    bot = till_bot(LedgerTill(records), timeout=TIMEOUT)
    with (
        AtomicStateManager.from_url(url, secret=STORE_SECRET) as store,
        FlowStateManager(bot, Clocked(store, clock), rates=None) as manager,
    ):
        for person in people:
            for message in person.messages[:BEGINNING]:
                deliver(manager, person, message, records, clock)


def check_timers(url: str, records: Folder, people: Iterable[Person], report: Report) -> None:
    """Check that each timer fired once and that its replies were delivered, the same ones under the same key."""
    bot = till_bot(LedgerTill(records), timeout=TIMEOUT)
    told = Counter((line["to"], line["key"], tuple(line["texts"])) for line in records.noted("told"))
    with (
        AtomicStateManager.from_url(url, secret=STORE_SECRET) as store,
        FlowStateManager(bot, store, rates=None) as manager,
    ):
        for person in people:
            fired = [entry for entry in manager.history(person.member_id) if entry.kind == "timer"]
            report.demand(len(fired) == 1, f"{person.number}: the timer went off {len(fired)} times")
            theirs = [said for said in told if said[0] == person.channel.identifier]
            expected = {entry.token[:16] for entry in fired}
            report.demand({key for _, key, _ in theirs} == expected, f"{person.number}: told {theirs}")
            report.demand(len(theirs) == len(expected), f"{person.number}: one key, several replies")
            document = manager.state(person.member_id)
            left = document is None or document.outbox or document.call
            report.demand(not left, f"{person.number}: something was left")
    report.count(timers=len({key for _, key, _ in told}), told=sum(told.values()))
    check(url, records, list(people), report, whole=False)


@row(
    "outbox", "deliveries that fail before or after; workers that race", "each reply told, under one key; nothing left"
)
def outbox(profile: Profile, seed: int) -> Report:
    """Four workers wake the members for whom work is due at the same time, until there are none."""
    report, chance = Report(), random.Random(seed)
    people = [Person(number, 1) for number in range(1, profile.of(200, 1_000) + 1)]
    with folder() as records, own_server(valkey_program()) as server, logged(records), ExitStack() as stack:
        clock = Clock()
        ask_for_confirmations(server.url, records, people, clock)
        clock.forward(TIMEOUT + 1)
        bot = till_bot(LedgerTill(records), timeout=TIMEOUT)
        store = Clocked(stack.enter_context(AtomicStateManager.from_url(server.url, secret=STORE_SECRET)), clock)
        take = Deliverer(records, random.Random(chance.random()))
        managers = [  # without a pace, which would let members wait for their turn by the time of the server
            stack.enter_context(FlowStateManager(bot, store, deliver=take, rates=None, paces={})) for _ in range(4)
        ]
        pool = stack.enter_context(ThreadPoolExecutor(8))
        waiting = people
        while waiting and report.counts.get("rounds", 0) < 30:
            jobs = [(manager, person) for person in waiting for manager in managers]
            chance.shuffle(jobs)
            begun = [(person, pool.submit(wake_due, manager, person)) for manager, person in jobs]
            made = Counter(dict.fromkeys(waiting, 0))
            for person, done in begun:
                made[person] += done.result()
            waiting = [person for person in waiting if made[person]]  # once more, to see that nothing is left
            report.count(rounds=1, turns=made.total())
            clock.forward(2 * 3600)
        check_timers(server.url, records, people, report)
    return report


def _kill_wakers(profile: Profile, seed: int, url: str, records: Folder, report: Report) -> None:
    people: list[Person] = []
    for _ in range(profile.of(2, 10)):
        at, died = 1, True
        while died:
            person, clock = Person(len(people) + 1, 1), Clock()
            people.append(person)
            ask_for_confirmations(url, records, [person], clock)
            clock.forward(TIMEOUT + 1)
            died = bool(in_child(lambda: _wake(url, records, person, clock, Steps(at))))  # noqa: B023 – called here
            report.count(killed=died)
            clock.forward(PAST_LEASE)
            _wake(url, records, person, clock, None)
            at += 1
    check_timers(url, records, people, report)


def _wake(url: str, records: Folder, person: Person, clock: Clock, point: Steps | None) -> None:
    bot = till_bot(LedgerTill(records), timeout=TIMEOUT)
    with AtomicStateManager.from_url(url, secret=STORE_SECRET) as store:
        clocked = Clocked(store, clock)
        mortal = Mortal(clocked, point) if point else clocked
        with FlowStateManager(bot, mortal, deliver=Deliverer(records, point=point or nowhere), rates=None) as manager:
            wake_due(manager, person)


@row(
    "killed-waking",
    "worker killed before and after each step of a waking",
    "the timer once, the reply told, within a lease",
)
def killed_waking(profile: Profile, seed: int) -> Report:
    """The next worker delivers the reply when the lease has expired."""
    return run_alone(_kill_wakers, profile, seed)
