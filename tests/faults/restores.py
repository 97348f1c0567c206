"""The store is put back to an older copy while members buy: what left it before stands for nothing else afterwards."""

from __future__ import annotations

import random
import re
import shutil
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import Final

import attrs

from tests.engines import valkey_program
from tests.faults.bot import till_bot
from tests.faults.clock import Clock, Clocked
from tests.faults.kills import wake_due
from tests.faults.members import PAST_LEASE, Person
from tests.faults.records import Folder, LedgerTill
from tests.faults.row import Profile, Report, folder, row
from tests.faults.server import OwnServer, own_server
from tests.faults.worker import logged
from vimbiso_fsm.errors import NotAnswered
from vimbiso_fsm.messages.message import Message
from vimbiso_fsm.messages.replies import Buttons
from vimbiso_fsm.operations.handle import Outcome
from vimbiso_fsm.runtime.flow_state import FlowStateManager
from vimbiso_fsm.store.redis_atomic import AtomicStateManager

__all__ = ["copied", "sold_around_a_restore"]

TIMEOUT: Final = 60.0
"""Seconds after which a confirmation is no longer waited for."""
_SOLD: Final = re.compile(r"Sold (\d+): (r-[0-9a-f]+)\.")


def copied(server: OwnServer) -> Path:
    """Copy what the server holds."""
    with server.client() as client:
        client.save()
    shutil.copy(server.data / "dump.rdb", copy := server.folder / "copy.rdb")
    return copy


@attrs.define(eq=False)
class _Buyer:
    """A member who buys a new number each time, presses buttons of any age, and is slow now and then.

    Attributes:
        number: The latest number that the member has asked for.
        steps: The number of steps taken.
        asked: The question by the id of each choice that was shown.
        told: The numbers and receipts of which the member was told that they are sold.
        wrong: What was found wrong.
        closed: The number of presses that were answered and not taken.
    """

    person: Person
    managers: Sequence[FlowStateManager]
    clock: Clock
    chance: random.Random
    number: int = 0
    steps: int = 0
    sent: int = 0
    asked: dict[str, str] = attrs.field(factory=dict)
    told: list[tuple[int, str]] = attrs.field(factory=list)
    wrong: list[str] = attrs.field(factory=list)
    closed: int = 0

    def take(self, steps: int) -> None:
        """Take a number of steps."""
        for _ in range(steps):
            drawn = self.chance.random()
            if drawn < 0.45:
                self.buy()
            elif drawn < 0.6:
                self.ask()
            elif drawn < 0.85 and self.asked:
                self.press(self.chance.choice([*self.asked]))
            else:
                self.clock.forward(TIMEOUT + 1)
                self._wake()
            self.steps += 1

    def ask(self) -> str:
        """Ask for the next number; return the id of the button that confirms it, empty without one."""
        self.number += 1
        outcome = self.say(str(self.number))
        buttons = [reply.buttons for reply in outcome.replies[-1:] if isinstance(reply, Buttons)]
        if outcome.replies[-1].text != self._question(self.number):  # another number waits for its confirmation
            return ""
        [yes] = [button.id for shown in buttons for button in shown if button.id.endswith("yes")]
        return yes

    def buy(self) -> None:
        """Ask for the next number, and confirm it by its button."""
        yes = self.ask() or (self.say("no") and self.ask())
        if yes:
            self.press(yes)

    def press(self, choice: str) -> None:
        """Press a choice. It may only sell the number under which it was shown."""
        question = self.asked[choice]
        outcome = self._handle(attrs.evolve(self._message(""), text=None, choice=choice))
        self.closed += outcome.status == "ignored"
        for number, _ in self._sold(outcome):
            if question != self._question(number):
                self.wrong.append(f"{self.person.number}: a button of {question!r} has sold {number}")

    def say(self, text: str) -> Outcome:
        """Type a text."""
        return self._handle(self._message(text))

    def _question(self, number: int) -> str:
        return f"[{self.person.channel.identifier}] Number {number}?"

    def _message(self, text: str) -> Message:
        self.sent += 1
        return self.person.message(f"r{self.sent}", text)

    def _handle(self, message: Message) -> Outcome:
        """Deliver a message until it is answered, and let a call that is left over be taken up."""
        outcome: Outcome | None = None
        while outcome is None:
            try:
                outcome = self.chance.choice(self.managers).handle(message)
            except NotAnswered:  # the server is being put back
                time.sleep(0.02)
        if outcome.state.call is not None:
            self.clock.forward(PAST_LEASE)
            self._wake()
        self.told += self._sold(outcome)
        for reply in outcome.replies:
            for choice in reply.buttons if isinstance(reply, Buttons) else ():
                if self.asked.setdefault(choice.id, reply.text) != reply.text:
                    found = f"{self.asked[choice.id]!r} and {reply.text!r}"
                    self.wrong.append(f"{self.person.number}: one choice stands for two questions, {found}")
        return outcome

    def _sold(self, outcome: Outcome) -> list[tuple[int, str]]:
        found = (_SOLD.search(reply.text) for reply in outcome.replies)
        return [(int(sold[1]), sold[2]) for sold in found if sold]

    def _wake(self) -> None:
        try:
            wake_due(self.chance.choice(self.managers), self.person)
        except NotAnswered:
            time.sleep(0.02)


@row(
    "restored-sales",
    "an older copy of the store is put back while members buy",
    "one key, one sale; one button, one question; one delivery, one text; nothing is called sold that was not",
)
def restored_sales(profile: Profile, seed: int) -> Report:
    """Members buy, press buttons of before and let timers fire, before and after the copy is put back."""
    return sold_around_a_restore(profile.of(16, 200), profile.of(10, 60), seed)


def sold_around_a_restore(members: int, steps: int, seed: int) -> Report:
    """Let members buy, put an older copy of the store back in the middle of it, and check all that has left it.

    Args:
        members: The number of members.
        steps: The number of steps of each, before the copy is put back and after it.
        seed: The seed of the plan.
    """
    report, chance = Report(), random.Random(seed)
    with folder() as records, own_server(valkey_program()) as server, logged(records), ExitStack() as stack:
        clock = Clock()
        bot = till_bot(LedgerTill(records), timeout=TIMEOUT)
        stores = [Clocked(stack.enter_context(AtomicStateManager.from_url(server.url)), clock) for _ in range(2)]
        managers = [stack.enter_context(FlowStateManager(bot, store, deliver=records.deliverer)) for store in stores]
        people = [Person(number) for number in range(1, members + 1)]
        buyers = [_Buyer(person, managers, clock, random.Random(chance.random())) for person in people]
        for buyer in buyers:
            buyer.say("hi")
            buyer.say(buyer.person.canary)
            buyer.take(2)
        copy = copied(server)
        pool = stack.enter_context(ThreadPoolExecutor(4))
        begun = [pool.submit(buyer.take, 2 * steps) for buyer in buyers]
        while sum(buyer.steps for buyer in buyers) < members * (steps + 2) and not all(done.done() for done in begun):
            time.sleep(0.005)
        server.kill()
        shutil.copy(copy, server.data / "dump.rdb")
        server.start()
        for done in begun:
            done.result()
        for buyer in buyers:  # all that was shown before, and all that is new
            buyer.take(steps)
        _check(records, buyers, report)
    return report


def _check(records: Folder, buyers: Sequence[_Buyer], report: Report) -> None:
    sold: dict[str, set[tuple[str, int]]] = defaultdict(set)
    for member, numbers in records.sales().items():
        for number, keys in numbers.items():
            for key in keys:
                sold[key].add((member, number))
    for key, sales in sold.items():
        report.demand(len(sales) == 1, f"one key stands for {len(sales)} sales: {key} of {sorted(sales)}")
    receipts = {"r-" + sha256(key.encode()).hexdigest()[:10]: sales for key, sales in sold.items()}
    for buyer in buyers:
        report.wrong += buyer.wrong
        who = buyer.person.member_id
        for number, receipt in buyer.told:
            is_sold = receipts.get(receipt) == {(who, number)}
            report.demand(is_sold, f"{buyer.person.number}: {number} is called sold by a receipt of another sale")
        paid = {receipt for _, receipt in buyer.told}
        report.demand(len(paid) == len(buyer.told), f"{buyer.person.number}: one sale is called sold to two messages")
        report.count(sold=len(paid), choices=len(buyer.asked), presses_not_taken=buyer.closed)
    delivered: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for line in records.noted("delivered"):
        delivered[line["key"]].add((line["to"], *line["texts"]))
    for texts in delivered.values():
        report.demand(len(texts) == 1, f"one key stands for {len(texts)} deliveries")
    report.count(keys=len(sold), deliveries=len(delivered))
    report.demand(min(len(sold), len(delivered), report.counts["presses_not_taken"]) > 0, "the row has tried nothing")
