"""Faults of services: they hang, before or after their effect, exit, cancel and fail. Another service is well.

Members confirm sales of a till that misbehaves by a plan, while others look at a board. A confirmation that is answered
"not now" is said again later. What hangs is let go from time to time, as by a restart of the service, and its late
answers arrive then.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final, Literal, Protocol, TypeAlias

import attrs

from tests.digests import token_of
from tests.engines import valkey_program
from tests.faults.bot import Sale, sale, till_bot
from tests.faults.checker import check
from tests.faults.clock import AsyncClocked, Clock, Clocked
from tests.faults.members import PERSEVERANCE, Person, seen
from tests.faults.records import Folder, LedgerTill
from tests.faults.row import Profile, Report, folder, row
from tests.faults.server import own_server
from tests.faults.worker import logged
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.calls import READ_ONLY, Call, Caller, CallPolicy, ServiceLimits, call
from vimbiso_fsm.flow.commands import Shortcut
from vimbiso_fsm.flow.flow import Flow, NoData
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.flow.turn import Turn
from vimbiso_fsm.messages.languages.english import ENGLISH
from vimbiso_fsm.messages.message import Message
from vimbiso_fsm.messages.replies import Text
from vimbiso_fsm.operations.handle import Outcome
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager, FlowStateManager
from vimbiso_fsm.store.redis_atomic import AsyncAtomicStateManager, AtomicStateManager
from vimbiso_fsm.testing.chat import STORE_SECRET

__all__ = ["misbehaving"]

LIMITS: Final = ServiceLimits(threads=4, wait=0.05, failures=4, within=600.0, rest=30.0)
QUICK: Final = CallPolicy(timeout=0.05, attempts=2, pause=0, rounds=30)
ODD_CALLS: Final = 4
"""The number of calls with one key that misbehave; later ones are well, so that no call is given up."""
KINDS: Final = ("well", "well", "slow", "hang", "hang after", "cancel", "exit", "exit after", "generator", "error")
BUSY: Final = ENGLISH["call.busy"]

Handle: TypeAlias = Callable[[Message], Outcome]


class OddTill:
    """The till, which misbehaves by a plan that is drawn from the seed, the key and the number of the call."""

    def __init__(self, records: Folder, seed: int) -> None:
        self._till, self._seed = LedgerTill(records), seed
        self._calls = Counter[str]()
        self._lock = threading.Lock()
        self._go_on = threading.Event()
        self.kinds = Counter[str]()

    def release(self) -> None:
        """Let all calls go on that hang."""
        go_on, self._go_on = self._go_on, threading.Event()
        go_on.set()

    def sell(self, number: int, *, caller: Caller = Caller()) -> str:  # noqa: B008  # a port is declared so
        """Sell a number, sooner or later or not at all."""
        with self._lock:
            self._calls[caller.key] += 1
            made = self._calls[caller.key]
            chance = random.Random(f"{self._seed} {caller.member_id} {number} {made}")  # a plan
            kind = chance.choice(KINDS) if made <= ODD_CALLS else "well"
            self.kinds[kind] += 1
        if kind == "hang":
            self._go_on.wait(PERSEVERANCE)
            raise ConnectionError("let go")
        if kind in _RAISED:
            raise _RAISED[kind]("odd")
        if kind == "slow":
            time.sleep(QUICK.timeout / 2)
        receipt = self._till.sell(number, caller=caller)
        if kind == "hang after":
            self._go_on.wait(PERSEVERANCE)
        if kind == "exit after":
            raise SystemExit("after the effect")
        return receipt


_RAISED: Final[dict[str, type[BaseException]]] = {
    "cancel": asyncio.CancelledError,
    "exit": SystemExit,
    "generator": GeneratorExit,
    "error": ValueError,
}


class Board(Protocol):
    """The port of the other service."""

    def look(self) -> str:
        """Return what is on the board."""
        ...


class WellBoard:
    """The other service, which is well."""

    def look(self) -> str:
        """Return what is on the board."""
        return "well"


def _look(turn: Turn[NoData]) -> Call[str]:
    return call(Board.look)


def _quick_sale() -> Flow[Sale]:
    """The flow that sells, whose call is given up soon."""
    usual = sale(None)
    states = [attrs.evolve(state, policy=QUICK) if state.call else state for state in usual.states]
    return attrs.evolve(usual, states=states)


def _bot(till: OddTill) -> Bot:
    board: Flow[NoData] = Flow(
        "board", initial="looking",
        states=[
            State("looking", call=_look, policy=READ_ONLY),
            State("shown", say=Text("well"), final=True),
            State("dark", say=Text("dark"), final=True),
        ],
        transitions=[Transition("done", "looking", "shown"), Transition("failed", "looking", "dark")],
    )  # fmt: skip
    selling = _quick_sale()
    usual = till_bot(till)
    return attrs.evolve(
        usual,
        flows=[selling, board],
        home=selling,
        shortcuts=[Shortcut(board, lambda text: () if text == "look" else None)],
        services={"till": till, "board": WellBoard()},
        service_limits={"till": LIMITS},
    )


# Members --------------------------------------------------------------------------------------------------------------


@attrs.frozen
class _Shop:
    """A manager with the till that misbehaves.

    Attributes:
        handle: Handles a message.
        till: The till.
        clock: The clock of the store.
        records: The records of the row.
        report: The counts, and what is wrong.
        lets_go: Whether what hangs is let go from time to time.
    """

    handle: Handle
    till: OddTill
    clock: Clock
    records: Folder
    report: Report
    lets_go: bool

    def buy(self, person: Person) -> None:
        """Make all sales of a member."""
        for place, text in enumerate(("hi", person.canary)):
            self._settle(person, person.message(place, text))
        for number in range(1, person.confirmations + 1):
            self._settle(person, person.message(f"{number}.n", str(number)))
            self._confirm(person, number)

    def _confirm(self, person: Person, number: int) -> None:
        """Confirm a sale, again and again as long as the answer is "not now"."""
        until = time.monotonic() + PERSEVERANCE
        for place in range(1_000):
            outcome = self._settle(person, person.message(f"{number}.y{place}", "yes"))
            if outcome is None or outcome.status != "refused":
                return
            fair = outcome.replies[0].text == BUSY and outcome.state.call is None
            self._demand(fair, f"{person.number}: refused, but not for the service: {outcome.replies[0].text!r}")
            self._count(not_now=1)
            if time.monotonic() > until:
                break
            if self.lets_go and place % 3 == 2:
                self.till.release()
            self.clock.forward(LIMITS.rest + 1)
            time.sleep(0.01)
        self._demand(False, f"{person.number}: number {number} could not be confirmed")

    def _settle(self, person: Person, message: Message) -> Outcome | None:
        """Deliver a message until its call has returned, and return its first outcome."""
        first: Outcome | None = None
        until = time.monotonic() + PERSEVERANCE
        for place in range(1_000):
            outcome = self.handle(message)
            first = first or outcome
            self.records.note("answered", who=person.number, token=token_of(message), status=outcome.status)
            self._demand(not seen(person, outcome), f"{person.number}: a reply has bytes of another member")
            if outcome.state.call is None:
                return first
            if time.monotonic() > until:
                break
            if self.lets_go and place % 5 == 4:
                self.till.release()
            self.clock.forward(QUICK.lease + LIMITS.rest + 61)
            time.sleep(0.01)
        self._demand(False, f"{person.number}: the call of message {message.id} never ended")
        return first

    def look(self, person: Person, ends: threading.Event) -> None:
        """Look at the board until the sales are made, and then once more.

        A look whose lease is over because the clock was moved is given up; that is no fault of the service.
        """
        for place in range(100_000):
            last = ends.is_set()
            outcome = self.handle(person.message(f"look.{place}", "look"))
            said = outcome.replies[0].text
            fair = ("well",) if last else ("well", ENGLISH["call.unavailable"])
            self._demand(said in fair, f"{person.number}: the board said {said!r} ({outcome.status})")
            self._count(looks=1)
            if last:
                return
            time.sleep(0.01)

    def _demand(self, holds: object, else_: str) -> None:
        if not holds:
            self.records.note("wrong", what=else_)

    def _count(self, **counts: float) -> None:
        with _COUNTING:
            self.report.count(**counts)


_COUNTING = threading.Lock()


@contextmanager
def _sync(url: str, bot: Bot, clock: Clock) -> Generator[Handle]:
    with (
        AtomicStateManager.from_url(url, secret=STORE_SECRET) as store,
        FlowStateManager(bot, Clocked(store, clock), rates=None) as manager,
    ):
        yield manager.handle


@contextmanager
def _awaited(url: str, bot: Bot, clock: Clock) -> Generator[Handle]:
    """A handler that hands messages to an async manager in a loop of its own thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        store = AsyncAtomicStateManager.from_url(url, secret=STORE_SECRET)
        manager = AsyncFlowStateManager(bot, AsyncClocked(store, clock), rates=None, on_close=store.close)
        yield lambda message: asyncio.run_coroutine_threadsafe(manager.handle(message), loop).result(PERSEVERANCE)
        asyncio.run_coroutine_threadsafe(manager.close(), loop).result(PERSEVERANCE)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


SHELLS: Final = {"sync": _sync, "async": _awaited}


def misbehaving(kind: Literal["sync", "async"], sales: int, each: int, seed: int, *, lets_go: bool = True) -> Report:
    """Sell with a till that misbehaves, and look at a board that is well, on one kind of manager.

    Without `lets_go`, what hangs does so to the end.
    """
    report = Report()
    people = [Person(1 + place, each) for place in range(-(-sales // each))]
    watchers = [Person(1_000 + place) for place in range(4)]
    ends, most, clock = threading.Event(), 0, Clock()
    with folder() as records, own_server(valkey_program()) as server, logged(records):
        till = OddTill(records, seed)
        with SHELLS[kind](server.url, _bot(till), clock) as handle:
            shop = _Shop(handle, till, clock, records, report, lets_go)
            with ThreadPoolExecutor(12) as pool:
                looking = [pool.submit(shop.look, person, ends) for person in watchers]
                buying = [pool.submit(shop.buy, person) for person in people]
                while not all(each.done() for each in buying):
                    most = max(most, sum(thread.name == "vimbiso call" for thread in threading.enumerate()))
                    time.sleep(0.005)
                ends.set()
                for each_done in (*buying, *looking):
                    each_done.result()
            till.release()
        check(server.url, records, people, report)
        log = records.log.read_text()
    bound = 2 * LIMITS.threads + 2 * len(watchers)  # of a call, a round and an attempt; those of the board end at once
    report.demand(most <= bound, f"{most} threads were in calls, not {bound}")
    odd = sum(till.kinds.values()) - till.kinds["well"]
    hung = till.kinds["hang"] + till.kinds["hang after"]
    report.count(odd=odd, hung=hung, opened=log.count("the circuit of service 'till' is open"))
    report.counts["threads"] = most
    report.demand(odd and hung, "no call has misbehaved")
    return report


@row(
    "services-misbehave",
    "a service that hangs, cancels, exits and fails, before or after its effect",
    "each sale once, other members and services go on, threads bounded",
)
def services_misbehave(profile: Profile, seed: int) -> Report:
    """Let the till misbehave under both kinds of manager."""
    report = Report()
    for kind in ("sync", "async"):
        found = misbehaving(kind, profile.of(24, 600), profile.of(2, 10), seed)
        report.wrong += [f"{kind}: {wrong}" for wrong in found.wrong]
        report.count(**{name: count for name, count in found.counts.items() if name != "threads"})
        report.counts["threads"] = max(report.counts.get("threads", 0), found.counts["threads"])
    return report
