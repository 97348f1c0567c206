"""The places at a service: their number, who waits for one, and what is left behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any, Literal

import pytest

from tests.digests import guest_id
from tests.hostile.kit import MemoryLedger, message, pay_bot, replies, wait_until
from tests.shells import Shell
from vimbiso_fsm.errors import FlowError
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.calls import CallPolicy, ServiceLimits
from vimbiso_fsm.flow.flow import Flow, NoData
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.replies import Reply, Text
from vimbiso_fsm.operations.effects import NotMade
from vimbiso_fsm.runtime.services import (
    Places,
    Services,
    take,
    take_awaited,
    with_retries,
    with_retries_async,
)
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.testing.chat import STORE_SECRET, Clock, words

LIMIT = 30.0
BUSY = "That is not possible right now. Please try again in a minute."
UNSURE = "We could not find out whether that was done. Please check before you try again."
QUICK = CallPolicy(timeout=0.02, attempts=2, pause=0)
Kind = Literal["sync", "async"]


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> Kind:
    """The kind of the manager."""
    found: Kind = request.param
    return found


class Hanging:
    """A service that waits until it is released, and then answers."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.begun = 0

    def __call__(self) -> str:
        self.begun += 1
        self.go_on.wait(LIMIT)
        return "late"


# The number of places -------------------------------------------------------------------------------------------------


def test_attempts_that_never_end_keep_their_places():
    """An attempt that is left behind keeps its place; without another one no further attempt is begun."""
    hanging, places = Hanging(), Places(ServiceLimits(threads=3))
    try:
        for left in (2, 3):
            place = take(places, 0)
            assert place is not None
            result = with_retries(hanging, QUICK, place=place)
            assert isinstance(result, TimeoutError)
            assert hanging.begun == left
        assert take(places, LIMIT) is None  # at once: there is nothing to wait for
    finally:
        hanging.go_on.set()
    wait_until(lambda: not places.is_stuck, "an attempt ended")
    place = take(places, LIMIT)
    assert place is not None
    assert with_retries(lambda: "now", QUICK, place=place) == "now"


def test_a_call_waits_for_a_place_that_is_in_use():
    """A call waits for the place of one that goes on, and gets it in the order of asking."""
    places = Places(ServiceLimits(threads=1))
    first = take(places, 0)
    assert first is not None
    assert take(places, 0) is None
    served: list[int] = []

    def second(number: int) -> None:
        place = take(places, LIMIT)
        assert place is not None
        served.append(number)
        place.leave()

    threads = []
    for number in range(3):
        threads.append(threading.Thread(target=second, args=(number,)))
        threads[-1].start()
        wait_until(lambda: len(places._line) == len(threads), "it waits")
    first.leave()
    for thread in threads:
        thread.join(LIMIT)
    assert served == [0, 1, 2]


def test_those_who_wait_stop_when_all_are_left_behind():
    """When the last place is left to an attempt that takes too long, nothing waits any more."""
    hanging, places = Hanging(), Places(ServiceLimits(threads=1))
    place = take(places, 0)
    assert place is not None
    answered: list[Any] = []
    waiting = threading.Thread(target=lambda: answered.append(take(places, LIMIT)))
    try:
        waiting.start()
        wait_until(lambda: places._line, "it waits")
        with_retries(hanging, CallPolicy(timeout=0.02, attempts=1), place=place)
        waiting.join(LIMIT)
        assert answered == [None]
    finally:
        hanging.go_on.set()


def test_waiting_in_a_task_that_is_cancelled_takes_no_place():
    """A task that is cancelled while it waits leaves no place behind."""

    async def cancelled() -> None:
        places = Places(ServiceLimits(threads=1))
        first = await take_awaited(places, 0, threaded=True)
        assert first is not None
        waiting = asyncio.ensure_future(take_awaited(places, LIMIT, threaded=True))
        await asyncio.sleep(0)  # it begins to wait
        assert places._line
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        first.leave()
        second = await take_awaited(places, 0, threaded=True)
        assert second is not None
        second.leave()

    asyncio.run(cancelled())


def test_a_coroutine_that_ignores_its_cancellation_is_left_behind():
    """A coroutine needs no place, but one that goes on after it was cancelled takes one, until none is left."""

    async def stubborn() -> None:
        places, go_on = Places(ServiceLimits(threads=1)), asyncio.Event()

        async def ignores() -> str:
            while not go_on.is_set():
                try:
                    await go_on.wait()
                except asyncio.CancelledError:
                    continue
            return "late"

        place = await take_awaited(places, 0, threaded=False)
        assert place is not None
        assert isinstance(await with_retries_async(ignores, QUICK, place=place), TimeoutError)
        assert places.is_stuck
        assert await take_awaited(places, LIMIT, threaded=False) is None
        go_on.set()
        for _ in range(5):  # it ends, and its end is taken note of
            await asyncio.sleep(0)
        assert await take_awaited(places, 0, threaded=False) is not None

    asyncio.run(stubborn())


def test_a_thread_that_cannot_be_started_takes_no_place():
    """If no thread can be started there is no place, and none is lost."""
    places = Places(ServiceLimits(threads=1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, "start", _refuses)
        assert take(places, 0) is None
    place = take(places, 0)
    assert place is not None
    place.leave()


def _refuses(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_a_further_attempt_without_a_thread_is_not_made(kind: Kind):
    """If no thread can be started for the first attempt the call was not made; for a further one, the result stands."""

    def made(method: Callable[[], Any]) -> object:
        if kind == "sync":
            return with_retries(method, CallPolicy(attempts=2, pause=0))
        return asyncio.run(with_retries_async(method, CallPolicy(attempts=2, pause=0)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, "start", _refuses)
        assert isinstance(made(lambda: "never"), NotMade)

    with pytest.MonkeyPatch.context() as patch:

        def fails() -> None:
            patch.setattr(threading.Thread, "start", _refuses)
            raise OSError("first")

        found = made(fails)
    assert isinstance(found, OSError)


def test_a_forked_process_begins_with_free_places(monkeypatch: pytest.MonkeyPatch):
    """In a forked process the threads that had places do not run, so all places are free."""
    services = Services({"ledger": ServiceLimits(threads=1)}, lambda: 0.0)
    assert take(services.at("ledger"), 0) is not None
    assert take(services.at("ledger"), 0) is None
    monkeypatch.setattr("os.getpid", lambda: -1)
    assert take(services.at("ledger"), 0) is not None


def test_no_attempt_is_begun_after_the_lease(kind: Kind):
    """A further attempt is not begun once the lease of the call is over; the outcome stays that of the last one."""
    calls: list[int] = []

    def fails() -> None:
        calls.append(1)
        raise OSError

    policy, may_begin = CallPolicy(attempts=5, pause=0), lambda: len(calls) < 2
    if kind == "sync":
        found = with_retries(fails, policy, may_begin=may_begin)
    else:
        found = asyncio.run(with_retries_async(fails, policy, may_begin=may_begin))
    assert isinstance(found, OSError)
    assert len(calls) == 2


def test_limits_are_those_of_a_service():
    """`service_limits` maps names to limits."""
    with pytest.raises(FlowError, match="service_limits is no mapping"):
        Bot(pay_bot().flows, service_limits=ServiceLimits())  # type: ignore[arg-type]  # a mistake of an author


# Managers -------------------------------------------------------------------------------------------------------------


def asked(kind: Kind, ledger: MemoryLedger, limits: ServiceLimits, clock: Clock, **options: Any) -> Shell:
    """Return a manager of the bot that pays."""
    bot = pay_bot(ledger, policy=CallPolicy(timeout=0.02, attempts=1, rounds=1))
    bot = Bot(bot.flows, services=bot.services, session=1e6, service_limits={"ledger": limits})
    shell = Shell(kind, bot, MemoryStore(clock, secret=STORE_SECRET), **options)
    shell.manager._base.clock.follow(clock)
    return shell


def confirm(shell: Shell, member: int) -> list[str]:
    """Let a member confirm a payment, and return the replies to the confirmation."""
    number = f"26377{member:07d}"
    for text in ("hi", "5"):
        shell.handle(message(text, number=number))
    return replies(shell.handle(message("yes", number=number)))


def test_a_full_pool_refuses_a_confirmation_before_it_is_stored(kind: Kind):
    """When all threads are left behind, a confirmation is answered "not now", and nothing is stored as pending."""
    go_on = threading.Event()

    def hook() -> None:
        go_on.wait(LIMIT)

    ledger = MemoryLedger(hook)
    with asked(kind, ledger, ServiceLimits(threads=2, failures=100), Clock()) as shell:
        try:
            assert confirm(shell, 1)[0] == confirm(shell, 2)[0] == UNSURE
            assert confirm(shell, 3) == [BUSY, "pay 5?"]
            assert ledger.calls == 2
            assert shell.state(guest_id(Channel("whatsapp", "263770000003"))).call is None
        finally:
            go_on.set()
        shell.until(lambda: not shell.manager._base.services.at("ledger").is_stuck)
        assert replies(shell.handle(message("yes", number="263770000003")))[0] == "paid 5"


def test_a_confirmation_is_refused_when_no_thread_can_be_started(kind: Kind):
    """When no thread can be started, a confirmation is answered "not now" before anything is stored of it."""
    ledger = MemoryLedger()
    with asked(kind, ledger, ServiceLimits(), Clock()) as shell:
        for text in ("hi", "5"):
            shell.handle(message(text))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(threading.Thread, "start", _refuses)
            assert replies(shell.handle(message("yes"))) == [BUSY, "pay 5?"]
        assert ledger.calls == 0
        assert replies(shell.handle(message("yes")))[0] == "paid 5"


def test_an_open_circuit_refuses_and_one_call_tries_the_service(kind: Kind, caplog: pytest.LogCaptureFixture):
    """After several members had no answer, others are refused at once; after the rest one call tries, and all go on."""
    fails = [True]

    def hook() -> Refused | None:
        if fails[0]:
            raise ConnectionError
        return None

    ledger, clock = MemoryLedger(hook), Clock()
    with asked(kind, ledger, ServiceLimits(failures=3, rest=30), clock) as shell:
        for member in range(3):
            assert confirm(shell, member)[0] == UNSURE
        assert confirm(shell, 4) == [BUSY, "pay 5?"]
        assert ledger.calls == 3
        assert "the circuit of service 'ledger' is open for 30 seconds" in caplog.text
        clock.at += 31
        assert confirm(shell, 5)[0] == UNSURE
        assert confirm(shell, 6) == [BUSY, "pay 5?"]
        assert ledger.calls == 4
        fails[0] = False
        clock.at += 31
        assert confirm(shell, 7)[0] == confirm(shell, 8)[0] == "paid 5"
        assert "the circuit of service 'ledger' is closed" in caplog.text
        assert ledger.amounts == [5, 5]


def test_a_place_that_was_not_used_is_left(kind: Kind):
    """A place that was taken for a call that is not made after all is free again."""
    ledger = MemoryLedger()
    with asked(kind, ledger, ServiceLimits(threads=1), Clock()) as shell:
        for member in range(5):
            assert confirm(shell, member)[0] == "paid 5"
        places = shell.manager._base.services.at("ledger")
        assert (places._taken, places._left_behind) == (0, 0)


# Deliveries -----------------------------------------------------------------------------------------------------------


def test_a_delivery_waits_for_a_thread_before_it_counts(kind: Kind):
    """While all threads of deliveries are in use, due replies are not tried; when one is free, they are delivered."""
    clock, told = Clock(), list[str]()
    flow: Flow[NoData] = Flow(
        "late",
        initial="ask",
        states=[State("ask", ask=Text("Buy?"), timeout=60), State("gone", ask=Text("Gone."))],
        transitions=[Transition("timeout", "ask", "gone"), Transition("yes", ["ask", "gone"], "ask")],
    )

    def deliver(channel: Channel, replies: Sequence[Reply]) -> None:
        told.extend(words(replies))

    with Shell(kind, Bot([flow], session=1e6), MemoryStore(clock), deliver=deliver) as shell:
        member_id = shell.say("hi").state.member_id
        clock.at += 61
        shell.state(member_id)  # which tells the manager what time it is
        shell.manager._base.deliveries = Places(ServiceLimits(threads=1, wait=0.01))
        other = take(shell.manager._base.deliveries, 0)
        assert other is not None
        shell.wake(member_id)
        assert ([each.tries for each in shell.state(member_id).outbox], told) == ([0], [])
        other.leave()
        clock.at += 1
        shell.wake(member_id)
        assert (told, shell.state(member_id).outbox) == (["Gone."], ())
        free = take(shell.manager._base.deliveries, 0)
        assert free is not None, "the place was not left"
        free.leave()
