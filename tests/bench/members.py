"""Ten thousand members in the middle of a conversation, in one process: `make bench ARGS="--members 10000"`.

Newcomers to VimbisoPay (`flows`) open an account, offer credex to one another, accept, decline and cancel offers, read
their ledgers, upgrade, and use words that leave a flow. Each is a task. They wait for one another twice: when all stand
at the last question before their account is opened, and when all stand before their first offer is made. A member's
messages depend on the seed alone, the answers on the other members.

The answers are counted, and what is wrong: an error, a failure, a member with an unknown outcome or away from the
dashboard at the end; an offer that was made and not reported, or reported and not made; money without an origin; an
audit with faults. Speed is not judged.

A run writes some hundred MB of log. A disk that delays the server by more than two seconds, the time limit of a reply,
shows as `CommitUnknown` or `StoreUnavailable`: nothing is lost, and the message is delivered again, as a webhook would
be, and takes effect once. Such deliveries are counted apart; `--fsync no` excludes the disk.
"""

from __future__ import annotations

import asyncio
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from string import ascii_lowercase
from typing import Final

import attrs

import flows
from flows.credex_core import SimulatedCredexCore
from tests.bench.server import Server
from vimbiso_fsm.audit.trail import faults, read_trail
from vimbiso_fsm.errors import NotAnswered
from vimbiso_fsm.flow.calls import ServiceLimits
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.replies import Buttons, Menu, Reply, Text
from vimbiso_fsm.operations.handle import Outcome
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager
from vimbiso_fsm.store.redis_atomic import AtomicStateManager

__all__ = ["Report", "Told", "talk"]

ERRANDS: Final = 3
"""That a member runs after their first offer."""
SAMPLE: Final = 200
"""Members whose audit is verified at most."""
WAIT: Final = 600.0
"""Seconds for which a call waits for a thread, and a message for its call."""
DELIVERIES: Final = 10
"""Of one message at most, while the server does not answer in time."""
SHOWN: Final = 20
"""Of what is wrong, there may be one a message."""
NOBODY_KNOWS: Final = frozenset(
    {
        "failure", "call.failed", "call.unsure", "call.unavailable", "call.waiting", "core.down", "core.not_done",
        "core.unauthorised", "core.key_reused", "core.rejected", "session.lost",
    }
)  # fmt: skip
"""Texts that no member gets if nothing fails."""


@attrs.frozen
class Member:
    """One of the members. `number` begins at 0."""

    number: int
    of: int
    seed: int

    @property
    def channel(self) -> Channel:
        """The channel of the member."""
        return Channel("whatsapp", f"2638{self.number:08}")

    @property
    def lastname(self) -> str:
        """The last name, which no other member has."""
        letters, rest = "", self.number
        for _ in range(4):
            rest, letter = divmod(rest, len(ascii_lowercase))
            letters += ascii_lowercase[letter]
        return f"Noether{letters}"

    @property
    def handle(self) -> str:
        """The handle of the account, once it is open."""
        return f"emmy_{self.lastname.lower()}"

    def acts(self) -> Iterator[Sequence[str]]:
        """Return the messages in three acts: up to the opening of the account, up to the first offer, and the rest."""
        dice = random.Random(f"{self.seed} {self.number}")
        yield "hi", "become_member", "Emmy", self.lastname
        yield "yes", "offer", f"{dice.randint(1, 9)} USD", self._peer(dice)
        errands = [errand for chosen in dice.choices(_ERRANDS, k=ERRANDS) for errand in chosen(self, dice)]
        yield ("yes", *errands, "menu", "no", "menu")

    def _peer(self, dice: random.Random) -> str:
        """Return the handle of a neighbour, so that every member receives an offer."""
        return attrs.evolve(self, number=(self.number + dice.randint(1, min(9, self.of - 1))) % self.of).handle

    def _offers(self, dice: random.Random) -> list[str]:
        return ["offer", f"{dice.randint(1, 9)}", f"@{self._peer(dice)}", "yes"]

    def _offers_quickly(self, dice: random.Random) -> list[str]:
        return [f"0.5=>{self._peer(dice)}", "yes"]

    def _thinks_again(self, dice: random.Random) -> list[str]:
        return ["offer", "ten", "help", "2 USD", self._peer(dice), "back", "back", "3 USD", self._peer(dice), "no"]

    def _is_called_away(self, dice: random.Random) -> list[str]:
        return ["offer", "2", "menu", "yes", self._peer(dice), "cancel"]


_ERRANDS: Final[Sequence[Callable[[Member, random.Random], list[str]]]] = (
    Member._offers,
    Member._offers_quickly,
    Member._thinks_again,
    Member._is_called_away,
    lambda *_: ["accept", "1", "yes", "menu"],
    lambda *_: ["accept", "accept_all", "yes", "menu"],
    lambda *_: ["decline", "1", "yes", "menu"],
    lambda *_: ["cancel_offer", "1", "yes", "menu"],
    lambda *_: ["ledger", "next", "dashboard"],
    lambda *_: ["upgrade", "yes"],
    lambda *_: ["what can I do?", "help"],
)


@attrs.define
class Told:
    """The answers of all members.

    Attributes:
        took: Seconds of each message.
        together: How many members were in the middle of a conversation when they waited for each other.
        again: Deliveries that were not answered in time, by the reason.
    """

    took: list[float] = attrs.field(factory=list[float])
    statuses: Counter[str] = attrs.field(factory=Counter[str])
    keys: Counter[str] = attrs.field(factory=Counter[str])
    together: Counter[str] = attrs.field(factory=Counter[str])
    again: Counter[str] = attrs.field(factory=Counter[str])
    wrong: list[str] = attrs.field(factory=list[str])

    def hear(self, member: Member, word: str, outcome: Outcome, *, again: bool) -> None:
        """Count an answer; with `again`, the message was delivered before and not answered."""
        self.statuses[outcome.status] += 1
        keys = [_key(reply) for reply in outcome.replies]
        self.keys.update(keys)
        usual = {"advanced", "refused", "duplicate"} if again else {"advanced", "refused"}
        if outcome.status not in usual or not keys or not NOBODY_KNOWS.isdisjoint(keys):
            self.wrong.append(f"{member.number}: {word!r} was {outcome.status}: {keys}")


def _key(reply: Reply) -> str:
    asked = reply.body if isinstance(reply, Buttons | Menu) else reply
    assert isinstance(asked, Text), "the bots of the bench say texts"
    return asked.key


def _place(outcome: Outcome | None) -> str:
    run = outcome.state.run if outcome else None
    return f"{run.flow}.{run.step}" if run else "nowhere"


async def _speak(manager: AsyncFlowStateManager, member: Member, told: Told, meeting: asyncio.Barrier) -> None:
    """Send all messages of a member, each after the answer to the one before."""
    outcome: Outcome | None = None
    said = 0
    for act, words in enumerate(member.acts()):
        if act:
            told.together[_place(outcome)] += 1
            await meeting.wait()
        for word in words:
            said += 1
            began = time.perf_counter()
            try:
                outcome, again = await _deliver(manager, Message(member.channel, f"{member.number}.{said}", word), told)
            except Exception as error:
                told.wrong.append(f"{member.number}: {word!r} raised {type(error).__name__}: {error}")
                continue
            told.took.append(time.perf_counter() - began)
            told.hear(member, word, outcome, again=again)
    if (place := _place(outcome)) != "dashboard.menu":
        told.wrong.append(f"{member.number}: ends at {place}")


async def _deliver(manager: AsyncFlowStateManager, message: Message, told: Told) -> tuple[Outcome, bool]:
    """Deliver a message until it is answered, as a webhook is, a little later each time.

    Returns:
        The outcome, and whether the message was delivered more than once.
    """
    for delivery in range(1, DELIVERIES):
        try:
            return await manager.handle(message), delivery > 1
        except NotAnswered as error:
            told.again[type(error).__name__] += 1
            await asyncio.sleep(0.1 * 2**delivery)
    return await manager.handle(message), True


@attrs.frozen
class Report:
    """The results of a run.

    Attributes:
        seconds: Time from the first message to the last answer.
        memory: The peak memory of the process, in bytes.
        server_memory: The peak memory of the server, in bytes.
        audits: Entries that were verified, of a sample.
    """

    members: int
    seconds: float
    told: Told
    offers: int
    audits: int
    memory: int
    server_memory: int
    wrong: Sequence[str]

    @property
    def lines(self) -> Iterator[str]:
        """Yield the report as lines."""
        told, took, size = self.told, sorted(self.told.took), 2**20
        turns = max(len(took), 1)
        yield f"members   {self.members}, all at once in the middle of a conversation: {_counted(told.together)}"
        yield f"answers   {_counted(told.statuses)}"
        if told.again:
            yield f"again     {_counted(told.again)}: delivered again, for the server took more than the time limit"
        yield f"offers    {self.offers} made, {told.keys['offer.sent']} said to be made"
        yield f"audit     {self.audits} entries of {min(SAMPLE, self.members)} members verified"
        yield (
            f"took      {self.seconds:.1f} s: {turns / self.seconds:.0f} messages a second, "
            f"{self.members / self.seconds:.1f} conversations a second, each of {turns / self.members:.1f} messages"
        )
        if took:
            yield (
                f"a message {median(took):.3f} s the median, {took[turns * 99 // 100]:.3f} s all but one in a hundred, "
                f"{took[-1]:.3f} s the slowest (without pauses: each waits for all)"
            )
        yield f"memory    {self.memory / size:.0f} MiB the process at most, {self.server_memory / size:.0f} the server"
        yield from (f"WRONG     {wrong}" for wrong in self.wrong[:SHOWN])
        yield f"{len(self.wrong)} wrong" if self.wrong else "nothing wrong"


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {what}" for what, count in counts.most_common())


def talk(server: Server, members: int, seed: int) -> Report:
    """Let members talk at once, and check the results."""
    core = SimulatedCredexCore(seed)
    before = len(core.offers)
    people = [Member(number, members, seed) for number in range(members)]
    told = Told()
    # All of them call at the same moment; none is to be told "not now", or to wait, however slow the machine is.
    patient = attrs.evolve(flows.bot, service_limits={"credex_core": ServiceLimits(wait=WAIT)})

    async def together() -> float:
        meeting = asyncio.Barrier(members)
        async with AsyncFlowStateManager.from_url(
            server.url, patient, services={"credex_core": core}, call_wait=WAIT
        ) as manager:
            began = time.perf_counter()
            async with asyncio.TaskGroup() as tasks:
                for member in people:
                    tasks.create_task(_speak(manager, member, told, meeting))
            return time.perf_counter() - began

    seconds = asyncio.run(together())
    wrong = [*told.wrong]
    made = len(core.offers) - before
    if made != told.keys["offer.sent"]:
        wrong.append(f"{made} offers were made, {told.keys['offer.sent']} said to be")
    try:
        core.check_conservation()
    except AssertionError as error:
        wrong.append(str(error))
    audits = 0
    with AtomicStateManager.from_url(server.url) as store:
        for phone in random.Random(seed).sample([member.channel.identifier for member in people], min(SAMPLE, members)):
            person = core._phones.get(phone)
            if person is None:
                wrong.append(f"{phone} has no account")
                continue
            trail = read_trail(store, person.id)
            audits += len(trail.entries)
            wrong += [f"the audit of {phone}: {fault}" for fault in faults(trail)]
            if not trail.entries:
                wrong.append(f"{phone} has no audit")
    return Report(members, seconds, told, made, audits, _memory(), server.memory(), wrong)


def _memory() -> int:
    """Return the peak memory of this process, in bytes."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
