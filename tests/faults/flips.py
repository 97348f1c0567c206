"""A flipped bit in anything that is stored of a member, in the middle of a payment.

A bit of a stored value is flipped: of a name or value of a hash, an item of a list, a member or score of a sorted set,
or a string. Then the conversation goes on: an earlier confirmation is delivered again, the member confirms what was
asked, answers whatever is asked instead, and the latest messages are delivered again. Only the payment that the member
was asked about may be made, once, and no reply may show another amount or recipient.
"""

from __future__ import annotations

import logging
import math
import random
import re
import struct
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any, Final, Protocol, TypeAlias

import attrs

from tests.engines import valkey_program
from tests.faults.clock import Clock, Clocked
from tests.faults.members import PAST_LEASE
from tests.faults.row import Profile, Report, row
from tests.faults.server import own_server
from vimbiso_fsm.audit.flow_audit import CommitEvent
from vimbiso_fsm.errors import VimbisoError
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.calls import Call, Caller, call
from vimbiso_fsm.flow.flow import Flow
from vimbiso_fsm.flow.privacy import PUBLIC
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.flow.turn import Changes, Turn
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.replies import Text
from vimbiso_fsm.runtime.flow_state import FlowStateManager
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.testing.chat import STORE_SECRET

__all__ = ["FIRST", "Errand", "Flip", "Payments", "bank_bot", "flipped_bits"]

LIMIT: Final = 12
"""Messages after which a payment that the member wants has failed."""
SOON: Final = 2
"""Messages after which a question must have been asked."""
_ASKED: Final = re.compile(r"PIN\?|To whom\?|How much to (\w+)\?|Pay (\d+) to (\w+)\?")
_SHOWN: Final = re.compile(r"(?:Pay|Paid) (\S+) to (\w+)|How much to (\w+)\?")


# The flow that pays ---------------------------------------------------------------------------------------------------


class Bank(Protocol):
    """The port of the service that pays."""

    def pay(self, amount: int, to: str, *, caller: Caller = Caller()) -> str:  # noqa: B008  # a port is declared so
        """Pay an amount; return the receipt."""
        ...


@attrs.define
class Payments:
    """The service: it pays once for each key.

    Attributes:
        made: The member, amount and recipient of each payment, by its key.
    """

    made: dict[str, tuple[str, int, str]] = attrs.field(factory=dict)

    def pay(self, amount: int, to: str, *, caller: Caller = Caller()) -> str:  # noqa: B008  # as the port
        """Pay an amount."""
        self.made.setdefault(caller.key, (caller.member_id, amount, to))
        return f"receipt-{caller.key[:8]}"


@attrs.frozen
class Transfer:
    """The data of a run."""

    pin: str = ""
    to: str = attrs.field(default="", metadata=PUBLIC)
    amount: int = attrs.field(default=0, metadata=PUBLIC)
    receipt: str = ""


def _amount(text: str) -> int | Refused:
    return int(text) if text.isascii() and text.isdecimal() else Refused("number.format", field="amount")


def _known(turn: Turn[Transfer]) -> Changes[Transfer]:
    """Prepare: a guest who has given the PIN is a member."""
    who = f"m-{turn.channel.identifier}"
    member = attrs.evolve(turn.member, id=who, guest=False, authenticated=True, jwt_token=f"jwt-{who}")
    return turn.changes(data=turn.data, member=member)


def _pay(turn: Turn[Transfer]) -> Call[str]:
    return call(Bank.pay, turn.data.amount, turn.data.to)


def _says(key: str) -> Callable[[Turn[Transfer]], Text]:
    return lambda turn: Text(key, amount=turn.data.amount, to=turn.data.to)


def bank_bot(payments: Payments) -> Bot:
    """Make the bot that pays."""
    flow: Flow[Transfer] = Flow(
        "transfer", data=Transfer, initial="pin",
        states=[
            State("pin",     ask=Text("pin"), reads=str, into="pin"),
            State("to",      ask=Text("to"), reads=str, into="to"),
            State("amount",  ask=_says("amount"), reads=_amount, into="amount"),
            State("confirm", ask=_says("confirm"), timeout=86_400.0),
            State("paying",  call=_pay, into="receipt"),
            State("paid",    say=_says("paid")),
        ],
        transitions=[
            Transition("answer",  "pin",     "to", prepare=_known),
            Transition("answer",  "to",      "amount"),
            Transition("answer",  "amount",  "confirm"),
            Transition("yes",     "confirm", "paying"),
            Transition("no",      "confirm", "to"),
            Transition("timeout", "confirm", "to"),
            Transition("done",    "paying",  "paid"),
            Transition("failed",  "paying",  "confirm"),
            Transition("auto",    "paid",    "to"),
        ],
    )  # fmt: skip
    texts = {
        "pin": "PIN?",
        "to": "To whom?",
        "amount": "How much to {to}?",
        "confirm": "Pay {amount} to {to}?",
        "paid": "Paid {amount} to {to}.",
    }
    return Bot([flow], name="bank", texts=texts, services={"bank": payments}, session=30 * 86_400.0)


# What is stored -------------------------------------------------------------------------------------------------------

Commands: TypeAlias = list[tuple[Any, ...]]


@attrs.frozen
class Flip:
    """A flip of one bit.

    Attributes:
        key: The key.
        where: The kind of the key, and the part of its value.
        commands: The commands that make it.
    """

    key: bytes
    where: str
    commands: Commands = attrs.field(repr=False)


def _flipped(data: bytes) -> Iterator[bytes]:
    """Yield each value that differs from `data` in one bit."""
    for place in range(8 * len(data)):
        at, mask = place // 8, 1 << place % 8
        yield data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]


def _flips_of(client: Any, key: bytes, name: str) -> Iterator[Flip]:
    """Yield each flip of a bit in the value of a key."""
    match client.type(key):
        case b"hash":
            for field, value in client.hgetall(key).items():
                for other in _flipped(field):
                    yield Flip(key, f"{name}: name", [("HDEL", key, field), ("HSET", key, other, value)])
                for other in _flipped(value):
                    yield Flip(key, f"{name}.{field.decode()}", [("HSET", key, field, other)])
        case b"list":
            for place, item in enumerate(client.lrange(key, 0, -1)):
                for other in _flipped(item):
                    yield Flip(key, name, [("LSET", key, place, other)])
        case b"zset":
            for member, score in client.zrange(key, 0, -1, withscores=True):
                for other in _flipped(member):
                    yield Flip(key, name, [("ZREM", key, member), ("ZADD", key, repr(score), other)])
                for raw in _flipped(struct.pack(">d", score)):
                    [number] = struct.unpack(">d", raw)
                    if not math.isnan(number):  # no server stores one
                        yield Flip(key, f"{name}: score", [("ZADD", key, repr(number), member)])
        case _:
            for other in _flipped(client.get(key)):
                yield Flip(key, name, [("SET", key, other)])


_OF_THE_STORE: Final = ("owner", "shards", "index", "workers", "lease")
"""Keys that belong to no member."""


def _kind(key: bytes, member_id: str) -> str:
    """Return the kind of a key; of the guest that the member was, its keys are marked."""
    *_, last = key.decode().split(":")
    if b":channel:" in key:
        return "channel"
    return last if b":member:" not in key or f":{member_id}:".encode() in key else f"guest's {last}"


# A conversation -------------------------------------------------------------------------------------------------------


_TEXTS: Final = ("hi", "4711", "to", "amount", "yes", "next to", "next amount")
"""What each member says up to the confirmation of the second payment."""


@attrs.frozen
class Errand:
    """What a member wants.

    Attributes:
        number: The member.
        first: The amount and the recipient of the payment that was made before.
        wanted: Those of the payment in whose midst a bit is flipped.
        said: The messages before the flip, at most all up to the confirmation.
    """

    number: int
    first: tuple[int, str]
    wanted: tuple[int, str]
    said: int = 7

    @property
    def is_asked_to_confirm(self) -> bool:
        """Whether the member stands at the confirmation of the payment."""
        return self.said == len(_TEXTS)

    @property
    def channel(self) -> Channel:
        """The channel of the member."""
        return Channel("whatsapp", f"2637{self.number:08}")

    @property
    def member_id(self) -> str:
        """The id of the member."""
        return f"m-{self.channel.identifier}"

    @property
    def texts(self) -> list[str]:
        """The texts before the flip."""
        (amount, to), (next_amount, next_to) = self.first, self.wanted
        words = {"to": to, "amount": str(amount), "next to": next_to, "next amount": str(next_amount)}
        return [words.get(text, text) for text in _TEXTS[: self.said]]

    def message(self, id: str, text: str) -> Message:
        """Return a message of the member."""
        return Message(self.channel, f"{self.channel.identifier}.{id}", text)

    def answer(self, asked: str) -> str:
        """Return the answer to the latest question of a reply; a greeting, if there is none."""
        found = [*_ASKED.finditer(asked)]
        if not found:
            return "hi"
        amount, to = self.wanted
        match found[-1].group().split()[0]:
            case "PIN?":
                return "4711"
            case "To":
                return to
            case "How":
                return str(amount) if found[-1][1] == to else "0"
            case _:
                return "yes" if (int(found[-1][2]), found[-1][3]) == self.wanted else "no"


FIRST: Final = Errand(1, (10, "ada"), (20, "bea"))
"""The member of whom each bit is flipped."""


@attrs.define
class _Run:
    """One conversation after a flip.

    Attributes:
        replies: Each status, with the texts of the replies.
        wrong: What did not hold, each a kind, a colon and the facts.
    """

    manager: FlowStateManager
    clock: Clock
    payments: Payments
    errand: Errand
    replies: list[tuple[str, str]] = attrs.field(factory=list)
    wrong: list[str] = attrs.field(factory=list)

    def finish(self) -> None:
        """Go on with the conversation until the payment is made."""
        errand, before = self.errand, len(self.payments.made)
        said = [errand.message(str(place), text) for place, text in enumerate(errand.texts)]
        if before:
            self._say(said[4])
            if len(self.payments.made) != before:
                self.wrong.append("paid: by a message that was delivered again")
        text = "yes" if errand.is_asked_to_confirm else "hi"
        asked = False
        for place in range(LIMIT):
            said.append(errand.message(f"new {place}", text))
            words = self._say(said[-1])
            asked |= place < SOON and _ASKED.search(words) is not None
            if self._has_paid:
                break
            text = errand.answer(words)
        if not asked:
            self.wrong.append(f"stuck: {SOON} messages end at no question")
        if not self._has_paid:
            self.wrong.append("stuck: the payment cannot be made")
        for message in (said[len(errand.texts) - 1], said[-1]):
            self._say(message)
        fair = [(errand.member_id, *each) for each in (errand.first, errand.wanted)]
        made = [*self.payments.made.values()]
        if any(each not in fair for each in made) or len(made) != len({*made}):
            self.wrong.append(f"paid: {made}")

    @property
    def _has_paid(self) -> bool:
        return (self.errand.member_id, *self.errand.wanted) in self.payments.made.values()

    def _say(self, message: Message) -> str:
        """Handle a message; return what was said."""
        try:
            outcome = self.manager.handle(message)
        except VimbisoError as error:
            self.wrong.append(f"raised: {type(error).__name__}")
            self.replies.append(("raised", ""))
            return ""
        if outcome.state.call is not None:  # the member waits for the answer that was announced
            self.clock.forward(PAST_LEASE)
        said = " ".join(reply.text for reply in outcome.replies)
        self.replies.append((outcome.status, re.sub(r"Reference: \w+", "", said)))
        payments = {(str(amount), to) for amount, to in (self.errand.first, self.errand.wanted)}
        for amount, to, alone in _SHOWN.findall(said):
            if (amount, to) not in payments if amount else alone not in {to for _, to in payments}:
                self.wrong.append(f"shown: {amount} to {to}{alone}")
        return said


@attrs.frozen
class Kept:
    """What is stored of a member, and by the service.

    Attributes:
        keys: The value of each key, as the server dumps it.
        made: The payments.
    """

    keys: dict[bytes, bytes] = attrs.field(repr=False)
    made: dict[str, tuple[str, int, str]]


class Scene:
    """A member in the middle of a payment, of whom all can be put back as it was stored.

    Attributes:
        errand: What the member wants.
        kept: What is stored.
        usual: The conversation without a flip.
    """

    def __init__(self, client: Any, url: str, errand: Errand, kept: Kept | None = None) -> None:
        self.errand = errand
        self._client, self._payments, self._recoveries = client, Payments(), 0
        self._store, self._clock = AtomicStateManager.from_url(url, secret=STORE_SECRET), Clock()
        self._manager = self._new_manager()
        if kept is None:
            client.flushdb()
            for place, text in enumerate(errand.texts):
                self._manager.handle(errand.message(str(place), text))
            kept = Kept({key: client.dump(key) for key in client.scan_iter()}, dict(self._payments.made))
        self.kept = kept
        self.usual = self.run(None)

    def _new_manager(self) -> FlowStateManager:
        store = Clocked(self._store, self._clock)
        return FlowStateManager(bank_bot(self._payments), store, cache=0, observers=[self._count], rates=None)

    def _count(self, event: CommitEvent) -> None:
        self._recoveries += event.entry.kind == "recovery"

    def flips(self) -> list[Flip]:
        """Return all flips of what is stored of the member, in an order that is always the same."""
        self._put_back([])
        kinds = {key: _kind(key, self.errand.member_id) for key in sorted(self.kept.keys)}
        return [
            flip
            for key, kind in kinds.items()
            if kind not in _OF_THE_STORE
            for flip in _flips_of(self._client, key, kind)
        ]

    def _put_back(self, commands: Commands) -> None:
        pipe = self._client.pipeline(transaction=False)
        pipe.flushdb()
        for key, value in self.kept.keys.items():
            pipe.restore(key, 0, value)
        for command in commands:
            pipe.execute_command(*command)
        pipe.execute()
        self._payments.made.clear()
        self._payments.made.update(self.kept.made)
        self._recoveries = 0
        if self._clock.ahead:  # no manager takes back the time that it has seen
            self._clock.ahead = 0.0
            self._manager = self._new_manager()

    def run(self, flip: Flip | None) -> _Run:
        """Put all back, make a flip, and go on with the conversation."""
        self._put_back(flip.commands if flip else [])
        run = _Run(self._manager, self._clock, self._payments, self.errand)
        run.finish()
        return run

    def came_to(self, run: _Run) -> str:
        """Return in a word what a flip came to.

        "asked again": the member had to say more than without it. "mended": a recovery is in the audit, and the member
        had to say nothing more. "answered otherwise": only a reply differs. Else "no difference".
        """
        if len(run.replies) > len(self.usual.replies) or any(status == "recovered" for status, _ in run.replies):
            return "asked_again"
        if self._recoveries:
            return "mended"
        return "no_difference" if run.replies == self.usual.replies else "answered_otherwise"

    def close(self) -> None:
        """Close the manager."""
        self._store.close()


@contextmanager
def _quiet() -> Generator[None]:
    """Log nothing, because each recovery would be a line."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


Choice: TypeAlias = Callable[[Errand, list[Flip]], list[Flip]]
"""Chooses the flips to be tried of all flips of a member."""


def flipped_bits(errands: Sequence[Errand], choose: Choice, processes: int = 1) -> Report:
    """Flip bits of what is stored of members in the middle of a payment, one at a time, and go on.

    Args:
        errands: The members.
        choose: Chooses the flips.
        processes: The number of processes, each with a server of its own.
    """
    report = Report()
    with _quiet(), own_server(valkey_program()) as server, server.client() as client, ExitStack() as stack:
        pool = stack.enter_context(ProcessPoolExecutor(processes)) if processes > 1 else None
        for errand in errands:
            scene = Scene(client, server.url, errand)
            report.demand(not scene.usual.wrong, f"without a flip: {scene.usual.wrong}")
            flips = choose(errand, scene.flips())
            if pool is None:
                parts = [_tried(scene, flips)]
            else:
                jobs = [
                    pool.submit(_tried_elsewhere, errand, scene.kept, flips[n::processes]) for n in range(processes)
                ]
                parts = [job.result() for job in jobs]
            for part in parts:
                report.count(**part.counts)
                report.wrong += part.wrong
            scene.close()
    return report


def _tried_elsewhere(errand: Errand, kept: Kept, flips: list[Flip]) -> Report:
    """Try flips on a server of this process."""
    with _quiet(), own_server(valkey_program()) as server, server.client() as client:
        scene = Scene(client, server.url, errand, kept)
        report = _tried(scene, flips)
        scene.close()
        return report


def _tried(scene: Scene, flips: Sequence[Flip]) -> Report:
    """Try flips of a member."""
    report = Report()
    for flip in flips:
        run = scene.run(flip)
        came_to = scene.came_to(run)
        report.count(flips=1, **{came_to: 1, f"{re.split('[:.]', flip.where)[0]} {came_to}": 1})
        for wrong in run.wrong:
            report.count(**{"wrong_" + wrong.partition(":")[0]: 1})
            report.wrong.append(f"{flip.where} of member {scene.errand.number}: {wrong}; {flip.commands}"[:800])
    return report


def _others(chance: random.Random, members: int) -> list[Errand]:
    """Return further members, each with other payments, most of them at another place of the conversation.

    One who has said one word is a stranger, of whom all is packed.
    """
    errands: list[Errand] = []
    for number in range(2, members + 2):
        first, wanted = chance.sample(range(1, 1000), 2)
        errands.append(Errand(number, (first, "ada"), (wanted, "bea"), chance.choice((1, 3, 4, 5, 6, 7, 7))))
    return errands


@row(
    "flipped-bits",
    "a bit is flipped in anything that is stored of a member, in the middle of a payment",
    "the payment that was asked about, once; no other amount or recipient is shown; two messages lead to a question",
)
def flipped(profile: Profile, seed: int) -> Report:
    """Flip each bit of one member (in the short profile a sample), and a sample of others."""
    chance = random.Random(seed)

    def choose(errand: Errand, flips: list[Flip]) -> list[Flip]:
        if errand.number == 1 and not profile.short:
            return flips
        return chance.sample(flips, profile.of(150 if errand.number == 1 else 30, 100))

    return flipped_bits([FIRST, *_others(chance, profile.of(3, 50))], choose, processes=profile.of(1, 4))
