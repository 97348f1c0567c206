"""Another system that gives something, or a reminder that is due, and a worker that is killed at each step of it.

A warm process forks a child for each point; the child gives one thing and kills itself there. Then a worker wakes the
member on a clock past the lease, and the system gives the same thing again under the same key.
"""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import attrs

from tests.faults.clock import Clock, Clocked
from tests.faults.kills import Mortal, in_child, nowhere, run_alone
from tests.faults.kills import Steps as Points
from tests.faults.members import PAST_LEASE
from tests.faults.mutants import mutated
from tests.faults.records import Folder
from tests.faults.row import Profile, Report, row
from vimbiso_fsm import Bot, Caller, Channel, Flow, Message, NoData, State, Text, Transition, Turn, call, remind
from vimbiso_fsm.flow.flow import AnyFlow
from vimbiso_fsm.operations.handle_event import EventOutcome
from vimbiso_fsm.runtime.flow_state import FlowStateManager
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.testing.chat import STORE_SECRET, words

__all__ = ["given_at_each_step"]

WAYS: Final = ("tell", "open", "trigger", "reminder")
FINAL: Final = {"tell": "We close.", "open": "Noted?", "trigger": "Shipped.", "reminder": "Remember."}
"""The words that each of them leads to."""


@attrs.frozen
class Shop:
    """A service that notes each key under which it ships."""

    records: Folder
    point: Callable[[], None]

    def ship(self, *, caller: Caller = Caller()) -> str:  # noqa: B008  # a frozen value
        """Ship, once per key."""
        self.point()
        self.records.note("shipped", key=caller.key)
        self.point()
        return "ok"


def reminded(turn: Turn[NoData]) -> Any:
    """Set a reminder that is due at once."""
    return turn.changes(reminders=[remind(turn.now, "k", Text("Remember."))])


def shop_bot(shop: Shop) -> Bot:
    """Return a bot whose order waits for a payment."""
    order: AnyFlow = Flow(
        "order", initial="waiting",
        states=[
            State("waiting",  ask=Text("Pay?")),
            State("shipping", call=lambda turn: call(Shop.ship)),
            State("shipped",  ask=Text("Shipped.")),
        ],
        transitions=[
            Transition("paid", "waiting", "shipping", by="bank"),
            Transition(["done", "failed"], "shipping", "shipped"),
            Transition("again", "shipped", "waiting"),
            Transition("remember", "waiting", "waiting", prepare=reminded),
        ],
    )  # fmt: skip
    survey: Flow[NoData] = Flow(
        "survey", initial="ask", opens="now",
        states=[State("ask", ask=Text("Noted?")), State("end", final=True)],
        transitions=[Transition("yes", "ask", "end")],
    )  # fmt: skip
    return Bot([order, survey], services={"shop": shop})


def give(manager: FlowStateManager, how: str, member_id: str) -> EventOutcome:
    """Give one thing under a key that is the same each time, or wake the member who has a reminder."""
    if how == "reminder":
        return EventOutcome("advanced" if manager.wake(member_id) else "duplicate")
    if how == "tell":
        return manager.tell(member_id, "We close.", key="k")
    if how == "open":
        return manager.open(member_id, "survey", key="k")
    return manager.trigger(member_id, "paid", key="k", by="bank")


def _killed(url: str, records: Folder, how: str, number: int, at: int, report: Report) -> bool:
    """Kill a worker that gives something to a new member at a point, and go on; return whether it was reached."""
    channel, clock = Channel("whatsapp", f"26377{number:07}"), Clock()

    def told(point: Callable[[], None], channel: Channel, replies: Any) -> None:
        point()
        records.note("heard", number=number, words=words(replies))
        point()

    with AtomicStateManager.from_url(url, secret=STORE_SECRET) as store:
        bot = shop_bot(Shop(records, nowhere))
        with FlowStateManager(bot, Clocked(store, clock), rates=None) as manager:
            member_id = manager.handle(Message(channel, "1", "hi")).state.member_id
            if how == "reminder":
                manager.handle(Message(channel, "2", "remember"))

        def act() -> None:
            point = Points(at)
            with (
                AtomicStateManager.from_url(url, secret=STORE_SECRET) as own,
                FlowStateManager(
                    shop_bot(Shop(records, point)), Mortal(own, point), rates=None, deliver=partial(told, point)
                ) as mortal,
            ):
                give(mortal, how, member_id)

        died = in_child(act) == signal.SIGKILL
        clock.forward(PAST_LEASE)
        with FlowStateManager(
            bot, Clocked(store, clock), rates=None, deliver=partial(told, nowhere), cache=0
        ) as manager:
            manager.state(member_id)  # which tells the manager what time it is
            if at % 2:
                manager.wake(member_id)
            again = [give(manager, how, member_id).status for _ in range(2)]
            manager.wake(member_id)
            entries = manager.history(member_id)
            document = manager.state(member_id)
    name = f"{how} killed at {at}"
    taken = [entry for entry in entries if entry.kind == how and entry.status == "advanced"]
    report.demand(len(taken) == 1, f"{name}: it was taken in {len(taken)} times")
    report.demand(again[1] == "duplicate", f"{name}: given again, it was {again}")
    heard = [line["words"] for line in records.noted("heard") if line["number"] == number]
    report.demand([FINAL[how]] in [each[-1:] for each in heard], f"{name}: what was heard is {heard}")
    report.demand(document is not None and not document.outbox and document.call is None, f"{name}: work is left")
    report.count(killed=died, taken=len(taken), heard=len(heard))
    return died


def _at_each_step(mutant: str, profile: Profile, seed: int, url: str, records: Folder, report: Report) -> None:
    """Kill at every point of everything that is given; in the short profile, at a sample of them."""
    chance, number = random.Random(seed), 0
    with mutated(mutant):
        for how in WAYS:
            at, step = 1, profile.of(3, 1)
            while True:
                number += 1
                if not _killed(url, records, how, number, at, report):
                    break
                at += chance.randint(1, step)
    keys = [line["key"] for line in records.noted("shipped")]
    report.count(shipped=len(set(keys)))
    report.demand(len(set(keys)) <= report.counts["taken"], "more was shipped than was taken in")


def given_at_each_step(profile: Profile, seed: int, mutant: str = "") -> Report:
    """Give each thing, with a kill at each point, on the real script or on a broken one."""
    return run_alone(partial(_at_each_step, mutant), profile, seed)


@row(
    "given",
    "worker killed before and after each request, call and delivery of a reminder or of what another system gives",
    "each key taken in once, 0 lost, each reply said at least once",
)
def given(profile: Profile, seed: int) -> Report:
    """Words, flows and triggers of another system, and a reminder."""
    return given_at_each_step(profile, seed)
