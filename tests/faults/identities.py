"""Numbers that change hands, codes that go astray and identifiers that look like numbers, under load.

Pairs of people share one number, one after the other: the first has an account and links another channel by a code, the
second gets the number and an account of their own, and the first comes back by the other channel with a new number.
A third speaker has an account of Telegram whose id is that number. Messages are delivered twice, workers die at any
request, and the secret of the store changes in the middle. Each reply names the member that it is for.
"""

from __future__ import annotations

import itertools
import random
import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, Final, Protocol

import attrs

from tests.engines import valkey_program
from tests.faults.clock import Clock, Clocked
from tests.faults.row import Profile, Report, row
from tests.faults.server import own_server
from vimbiso_fsm.errors import NotAnswered
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.calls import READ_ONLY, Call, Caller, call
from vimbiso_fsm.flow.flow import Flow, NoData
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.flow.turn import Changes, Turn, authenticated
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.replies import Reply, Text
from vimbiso_fsm.runtime.flow_state import FlowStateManager
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.store.requests import Request, Store

__all__ = ["identities_under_load"]

OLD, NEW = "the-secret-of-the-first-half", "the-secret-of-the-second-half"
CODES_LIVE: Final = 300.0
"""Seconds for which a code is valid, by the clock of its pair."""
_ACCOUNT = re.compile(r"\[(\w*)\]")


class Door(Protocol):
    """The port of the service that knows who has a number."""

    def who(self, number: str) -> str | None:
        """Return the member of a number."""
        ...

    def send(self, number: str, *, caller: Caller = Caller()) -> str | Refused:  # noqa: B008  # a port is declared so
        """Send a code to a number."""
        ...

    def check(self, number: str, code: str) -> str | Refused:
        """Return the member of the number that the code was sent to."""
        ...

    def pay(self, amount: int, *, caller: Caller = Caller()) -> str:  # noqa: B008  # a port is declared so
        """Pay from the account of the caller."""
        ...


class Registry:
    """The service. A code is valid once, for some time, and until the next one is sent."""

    def __init__(self, clock: Clock) -> None:
        self.owners: dict[str, str] = {}
        self.inbox: dict[str, list[str]] = {}
        self.paid: dict[str, tuple[str, int]] = {}
        self._sent: dict[str, tuple[str, float]] = {}
        self._keys: dict[str, str] = {}
        self._clock, self._numbers = clock, itertools.count(100_000)

    def who(self, number: str) -> str | None:
        """Return the member of a number."""
        return self.owners.get(number)

    def send(self, number: str, *, caller: Caller = Caller()) -> str | Refused:  # noqa: B008  # a port is declared so
        """Send a code; a repeated key sends none."""
        if caller.key not in self._keys:
            self._keys[caller.key] = code = str(next(self._numbers))
            self._sent[number] = (code, self._clock.ahead + CODES_LIVE)
            self.inbox.setdefault(number, []).append(code)
        return "sent"

    def check(self, number: str, code: str) -> str | Refused:
        """Return the member of a number, for a code that is valid."""
        sent, until = self._sent.get(number, ("", 0.0))
        if code != sent or self._clock.ahead >= until or number not in self.owners:
            return Refused("code.wrong")
        self._sent[number] = ("", 0.0)
        return self.owners[number]

    def pay(self, amount: int, *, caller: Caller = Caller()) -> str:  # noqa: B008  # a port is declared so
        """Pay once for a key."""
        self.paid.setdefault(caller.key, (caller.member_id, amount))
        return "paid"


@attrs.frozen
class Proving:
    """The data of a login."""

    number: str = ""
    code: str = ""


@attrs.frozen
class Payment:
    """The data of a payment."""

    amount: int = 0


def _digits(text: str) -> str | Refused:
    return text if text.isdecimal() else Refused("number.format")


def _amount(text: str) -> int | Refused:
    return int(text) if text.isdecimal() else Refused("number.format")


def _has_number(turn: Turn[Proving]) -> bool:
    return bool(turn.phone)


def _who(turn: Turn[Proving]) -> Call[str | None]:
    return call(Door.who, turn.phone)


def _send(turn: Turn[Proving]) -> Call[str | Refused]:
    return call(Door.send, turn.data.number)


def _check(turn: Turn[Proving]) -> Call[str | Refused]:
    return call(Door.check, turn.data.number, turn.data.code)


def _pay(turn: Turn[Payment]) -> Call[str]:
    return call(Door.pay, turn.data.amount)


def _known(turn: Turn[Proving]) -> bool:
    return turn.answer is not None


def _logged_in(turn: Turn[Proving]) -> Changes[Proving]:
    member_id: Any = turn.answer
    return turn.changes(
        member=attrs.evolve(turn.member, id=member_id, guest=False, authenticated=True, jwt_token=f"t-{member_id}")
    )


def _of_nobody(turn: Turn[Proving]) -> Changes[Proving]:
    return turn.unlink()


def _greeting(turn: Turn[NoData]) -> Text:
    return Text(f"[{turn.member.id}] hello")


def _confirm(turn: Turn[Payment]) -> Text:
    return Text(f"[{turn.member.id}] pay {turn.data.amount}?")


def _bot(registry: Registry) -> Bot:
    login = Flow(
        "login", data=Proving, initial="arriving",
        states=[
            State("arriving"),
            State("asking",   call=_who, policy=READ_ONLY),
            State("number",   ask=Text("Your number?"), reads=_digits, into="number"),
            State("sending",  call=_send),
            State("code",     ask=Text("The code?"), reads=_digits, into="code"),
            State("checking", call=_check),
            State("unknown",  ask=Text("Nobody has this number."), reads=str),
            State("in",       final=True),
        ],
        transitions=[
            Transition("auto",   "arriving", "asking", conditions=_has_number),
            Transition("auto",   "arriving", "number"),
            Transition("done",   "asking",   "in", conditions=_known, prepare=_logged_in),
            Transition("done",   "asking",   "unknown", prepare=_of_nobody),
            Transition("failed", "asking",   "unknown"),
            Transition("answer", "unknown",  "arriving"),
            Transition("answer", "number",   "sending"),
            Transition("done",   "sending",  "code"),
            Transition("failed", "sending",  "number"),
            Transition("answer", "code",     "checking"),
            Transition("done",   "checking", "in", prepare=_logged_in),
            Transition("failed", "checking", "number"),
        ],
    )  # fmt: skip
    paying = Flow(
        "paying", data=Payment, initial="amount", requires=authenticated,
        states=[
            State("amount",  ask=Text("How much?"), reads=_amount, into="amount"),
            State("confirm", ask=_confirm),
            State("making",  call=_pay),
            State("made",    say=Text("Paid."), final=True),
        ],
        transitions=[
            Transition("answer", "amount",  "confirm"),
            Transition("yes",    "confirm", "making"),
            Transition("done",   "making",  "made"),
            Transition("failed", "making",  "confirm"),
        ],
    )  # fmt: skip
    home: Flow[NoData] = Flow(
        "home", initial="hall", requires=authenticated,
        states=[State("hall", ask=_greeting), State("paying", flow=paying)],
        transitions=[Transition("pay", "hall", "paying"), Transition(["done", "cancelled"], "paying", "hall")],
    )  # fmt: skip
    return Bot([home, login], entry=login, services={"door": registry}, session=300)


class _Died(BaseException):
    """A worker has died."""


@attrs.define
class _Mortal:
    """A store whose worker dies at a request now and then, before it is performed or after."""

    store: Store
    chance: random.Random
    counts: Callable[..., None]

    def perform(self, request: Request) -> Any:
        drawn = self.chance.random()
        if drawn < 0.01:
            self.counts(died=1)
            raise _Died
        result = self.store.perform(request)
        if drawn > 0.99:
            self.counts(died=1)
            raise _Died
        return result


# The people -----------------------------------------------------------------------------------------------------------


class Pair:
    """Two members who have one number, one after the other, and a stranger whose id of Telegram is this number."""

    def __init__(self, place: int, seed: int, report: Report, lock: threading.Lock) -> None:
        self.chance = random.Random(f"{seed} {place}")
        self.number, self.other = f"26377{place:05}", f"26378{place:05}"  # ten digits, as ids of Telegram may be
        self.first, self.second = f"a{place}", f"b{place}"
        self.clock, self.report, self._lock = Clock(), report, lock
        self.registry = Registry(self.clock)
        self.registry.owners[self.number] = self.first
        self.holder = self.first
        self.managers: Sequence[FlowStateManager] = ()
        self._ids = itertools.count()

    def count(self, **counts: float) -> None:
        """Add to a count."""
        with self._lock:
            self.report.count(**counts)

    def demand(self, holds: object, else_: str) -> None:
        """Record what is wrong unless a condition holds."""
        with self._lock:
            self.report.demand(holds, else_)

    def open(self, store: AtomicStateManager) -> None:
        """Begin with two workers on a store."""
        mortal = _Mortal(Clocked(store, self.clock), self.chance, self.count)
        bot = _bot(self.registry)
        self.managers = [FlowStateManager(bot, mortal, rates=None, deliver=self._delivered) for _ in range(2)]

    def _delivered(self, channel: Channel, replies: Sequence[Reply]) -> None:
        self.count(deliveries=1)
        speaker = self.holder if channel.identifier == self.number and channel.type == "whatsapp" else self.first
        self._judge(speaker, [reply.text for reply in replies], "a delivery")

    def _judge(self, speaker: str, texts: Sequence[str], where: str) -> None:
        told = {name for text in texts for name in _ACCOUNT.findall(text)}
        self.demand(told <= {speaker}, f"{speaker} was told of {sorted(told - {speaker})} by {where}")

    def say(self, speaker: str, channel: Channel, text: str) -> str:
        """Deliver a message until it is answered, and perhaps once more; return the last text of its answer."""
        message = Message(channel, f"{next(self._ids)}", text)
        for _ in range(100):
            try:
                outcome = self.chance.choice(self.managers).handle(message)
            except (_Died, NotAnswered):
                self.clock.forward(61)  # leases of the dead worker's calls end
                continue
            texts = [reply.text for reply in outcome.replies]
            self._judge(speaker, texts, f"the answer to {text!r}")
            self.count(messages=1)
            if outcome.state.call is None:
                if self.chance.random() < 0.2:
                    self._again(speaker, message)
                return texts[-1] if texts else ""
            self.clock.forward(61)
        self.demand(False, f"{speaker}: {text!r} was never answered")
        return ""

    def _again(self, speaker: str, message: Message) -> None:
        """Deliver a message once more."""
        self.count(again=1)
        try:
            outcome = self.chance.choice(self.managers).handle(message)
        except (_Died, NotAnswered):
            return
        self._judge(speaker, [reply.text for reply in outcome.replies], "a message that came again")

    def wake(self) -> None:
        """Let a worker wake the members, as it may do at any moment."""
        for member_id in (self.first, self.second):
            try:
                self.managers[0].state(member_id)  # which tells the manager what time it is
                self.managers[0].wake(member_id)
            except (_Died, NotAnswered):
                self.clock.forward(61)

    def arrive(self, speaker: str, channel: Channel, *, numbers: Sequence[str] = ()) -> bool:
        """Come to the greeting of the speaker; by codes that go astray first, where a number is to be proven.

        Args:
            speaker: The member.
            channel: The channel.
            numbers: The numbers that are named, the last of which is the speaker's.
        """
        left, said = list(numbers), self.say(speaker, channel, "menu")
        for _ in range(40):
            if said == f"[{speaker}] hello":
                return True
            if said.startswith("You have not finished") or "Carry on" in said:
                said = self.say(speaker, channel, "no")
            elif said == "Your number?":
                said = self.say(speaker, channel, left.pop(0) if len(left) > 1 else left[0] if left else "1")
            elif said == "The code?":
                said = self._answer(speaker, channel)
            else:
                said = self.say(speaker, channel, "menu")
        return False

    def _answer(self, speaker: str, channel: Channel) -> str:
        """Answer with the latest code of a number that the speaker has, or with one that is not valid."""
        own = [number for number in (self.number, self.other) if self._has(speaker, number)]
        codes = [code for number in own for code in self.registry.inbox.get(number, ())]
        drawn = self.chance.random()
        if drawn < 0.15 or not codes:
            self.count(guessed=1)
            return self.say(speaker, channel, str(self.chance.randrange(100_000)))
        if drawn < 0.3:
            self.count(replayed=1)
            return self.say(speaker, channel, codes[0])
        if drawn < 0.4:
            self.count(late=1)
            self.clock.forward(CODES_LIVE + 1)
            return self.say(speaker, channel, codes[-1])
        return self.say(speaker, channel, max(codes, key=int))

    def _has(self, speaker: str, number: str) -> bool:
        return self.holder == speaker if number == self.number else speaker == self.first

    def pay(self, speaker: str, channel: Channel, amount: int) -> None:
        """Pay at the greeting."""
        said = self.say(speaker, channel, "pay")
        said = self.say(speaker, channel, str(amount)) if said == "How much?" else said
        if said.endswith("?") and "pay" in said:
            self.say(speaker, channel, "yes")

    # The story --------------------------------------------------------------------------------------------------------

    def before(self) -> None:
        """Let the first member use the number and link another channel, and leave a payment open."""
        phone, chat = Channel("whatsapp", self.number), Channel("telegram", "7" + self.number)
        self.demand(self.arrive(self.first, phone), f"{self.first} did not get in by the number")
        self.pay(self.first, phone, 5)
        self.demand(self.arrive(self.first, chat, numbers=[self.number]), f"{self.first} did not get in by a code")
        self._stranger()
        if self.arrive(self.first, phone):
            self.say(self.first, phone, "pay")
            self.say(self.first, phone, "7")

    def _stranger(self) -> None:
        """Let an account of Telegram write whose id is the number, and guess codes."""
        channel = Channel("telegram", self.number)
        said = self.say("", channel, "hi")
        self.demand(said == "Your number?", f"an id of ten digits was answered {said!r}")
        for _ in range(2):
            self.say("", channel, self.number)
            self.say("", channel, str(self.chance.randrange(100_000)))
            self.count(strangers=1)

    def after(self) -> None:
        """Give the number to the second member, who writes; then let the first come back by the other channel."""
        phone, chat = Channel("whatsapp", self.number), Channel("telegram", "7" + self.number)
        self.clock.forward(self.chance.choice((301, 4_000)))
        self.registry.owners[self.number] = self.holder = self.second
        self.registry.owners[self.other] = self.first
        self.registry.inbox.pop(self.number, None)  # the codes of before are gone with the telephone
        if self.chance.random() < 0.5:
            self.wake_held_back()
        self.demand(self.arrive(self.second, phone), f"{self.second} did not get in by the number")
        self.pay(self.second, phone, 9)
        self.wake()
        numbers = [self.number, self.other]  # the code for the first goes to the second member
        self.demand(self.arrive(self.first, chat, numbers=numbers), f"{self.first} did not come back by proof")
        self.pay(self.first, chat, 11)
        self.wake()
        self.demand(self.arrive(self.second, phone), f"{self.second} did not stay in")
        self._check()

    def wake_held_back(self) -> None:
        """Wake without delivering: what is told before anybody writes goes to whoever has the number."""
        for member_id in (self.first, self.second):
            try:
                self.managers[1].state(member_id)
            except (_Died, NotAnswered):
                self.clock.forward(61)

    def _check(self) -> None:
        paid = sorted(self.registry.paid.values())
        self.count(paid=len(paid))
        fair = {(self.first, 5), (self.first, 11), (self.second, 9)}
        self.demand({*paid} <= fair, f"paid: {[each for each in paid if each not in fair]}")
        self.demand(len(paid) == len({*paid}), f"paid twice: {paid}")


def identities_under_load(pairs: int, seed: int) -> Report:
    """Let pairs of people exchange a number, with a change of the secret in the middle."""
    report, lock = Report(), threading.Lock()
    stories = [Pair(place, seed, report, lock) for place in range(1, pairs + 1)]
    with own_server(valkey_program()) as server:
        for secret, part in ((OLD, Pair.before), ((NEW, OLD), Pair.after)):
            with ExitStack() as stack, ThreadPoolExecutor(8) as pool:
                store = stack.enter_context(AtomicStateManager.from_url(server.url, secret=secret))
                for pair in stories:
                    pair.open(store)
                for done in [pool.submit(part, pair) for pair in stories]:
                    done.result()
    report.count(pairs=pairs, rotations=1)
    report.demand(report.counts.get("died"), "no worker has died")
    return report


@row(
    "identities",
    "numbers change hands, codes lost, late, guessed and replayed, ids that look like numbers, kills, a new secret",
    "0 told of another member, 0 paid from another account, each member gets in by proof",
)
def identities(profile: Profile, seed: int) -> Report:
    """Let pairs of people exchange a number."""
    return identities_under_load(profile.of(8, 400), seed)
