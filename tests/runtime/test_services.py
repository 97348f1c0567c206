"""Calls: attempts under a policy, sync and async, calls that outlive `handle`, and deliveries."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any, Literal

import attrs
import pytest

from tests import bots
from tests.bots import Bank, fruit_bot, member_document
from tests.shells import Shell, Watched
from vimbiso_fsm.document.codec import decode
from vimbiso_fsm.document.document import PendingCall
from vimbiso_fsm.errors import FlowError, ServiceError
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.calls import LONGEST_PAUSE, LONGEST_REST, READ_ONLY, Call, Caller, CallPolicy, call
from vimbiso_fsm.flow.flow import Flow
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.flow.turn import Turn
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.refusals import Refused, Unreachable
from vimbiso_fsm.messages.replies import Reply, Text
from vimbiso_fsm.operations.effects import Deliver, NotMade, RunCall, answered
from vimbiso_fsm.runtime.binding import bind, bind_delivery, check_delivery
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager
from vimbiso_fsm.runtime.services import with_retries, with_retries_async
from vimbiso_fsm.store.memory import AsyncMemoryStore, MemoryStore
from vimbiso_fsm.store.requests import Commit, Link, Request
from vimbiso_fsm.testing.chat import CHANNEL, START, Clock, words

LIMIT = 30.0
"""Seconds after which something that must happen has failed; no test needs it to pass in time."""
MEMBER = "m-1"
QUICK = CallPolicy(attempts=3, pause=0)
Kind = Literal["sync", "async"]


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> Kind:
    """The kind of the manager."""
    found: Kind = request.param
    return found


def made(kind: Kind, method: Callable[[], Any], policy: CallPolicy) -> object:
    """Return the result of a call of a method by that manager."""
    return with_retries(method, policy) if kind == "sync" else asyncio.run(with_retries_async(method, policy))


# Attempts ---------------------------------------------------------------------------------------------------------


class Flaky:
    """Raises the given exceptions one after the other, then answers."""

    def __init__(self, *plan: BaseException) -> None:
        self.plan = list(plan)
        self.keys: list[str] = []

    def pay(self, name: str, fruit: str, *, caller: Caller) -> str:
        """Pay."""
        self.keys.append(caller.key)
        if self.plan:
            raise self.plan.pop(0)
        return "receipt"


def request(service: str = "bank", method: str = "pay", *, stored: bool = False, **arguments: Any) -> RunCall:
    """Return a call with a key."""
    proposed: Call[Any] = Call(service, method, arguments or {"name": "ada", "fruit": "apple"}, stored)
    pending = PendingCall("key-1", service, method, {}, "root", START)
    return RunCall(proposed, Caller("key-1", MEMBER), QUICK, pending, MEMBER)


@pytest.mark.parametrize("error", [OSError, TimeoutError, ValueError, RuntimeError, KeyError])
def test_attempts_go_on_until_one_answers_each_with_the_same_key(kind: Kind, error: type[Exception]):
    """A call is tried again after any exception, with the same key, until it returns."""
    flaky = Flaky(error(), error())
    assert made(kind, bind({"bank": flaky}, request()), QUICK) == "receipt"
    assert flaky.keys == ["key-1"] * 3


def test_the_last_exception_is_the_result_of_a_call(kind: Kind):
    """The result of a call whose attempts all raise is the last exception, as a value."""
    flaky = Flaky(OSError("first"), OSError("second"), ValueError("third"), OSError("never"))
    found = made(kind, bind({"bank": flaky}, request()), QUICK)
    assert isinstance(found, ValueError)
    assert len(flaky.keys) == 3


def test_one_attempt_is_one(kind: Kind):
    """A policy of one attempt makes one."""
    flaky = Flaky(OSError())
    assert isinstance(made(kind, bind({"bank": flaky}, request()), CallPolicy(attempts=1)), OSError)
    assert len(flaky.keys) == 1


def test_a_refusal_is_an_answer(kind: Kind):
    """A refusal ends a call without another attempt."""
    asked: list[int] = []

    def refuses() -> Refused:
        asked.append(1)
        return Refused("bank.closed")

    assert made(kind, refuses, QUICK) == Refused("bank.closed")
    assert asked == [1]


def test_a_method_that_hangs_is_left_behind(kind: Kind):
    """An attempt of a sync method that takes too long is given up, and its thread goes on."""
    # The future of the attempt is cancelled by then; setting its result would raise InvalidStateError in the thread.
    go_on, ended = threading.Event(), threading.Event()
    failed: list[Any] = []
    others = set(threading.enumerate())  # some wait for what other tests have left behind
    hook, threading.excepthook = threading.excepthook, failed.append

    def hangs() -> str:
        assert go_on.wait(LIMIT)
        ended.set()
        return "too late"

    try:
        assert isinstance(made(kind, hangs, CallPolicy(attempts=1, timeout=0.05)), TimeoutError)
        threads = [thread for thread in {*threading.enumerate()} - others if thread.name == "vimbiso call"]
        assert threads
        go_on.set()
        assert ended.wait(LIMIT)
        for thread in threads:
            thread.join(LIMIT)
    finally:
        threading.excepthook = hook
    assert failed == []


def test_an_async_method_that_hangs_is_cancelled():
    """An attempt of an async method that takes too long is cancelled."""
    told: list[str] = []

    async def hangs() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            told.append("cancelled")
            raise

    found = asyncio.run(with_retries_async(hangs, CallPolicy(attempts=2, timeout=0.02, pause=0)))
    assert isinstance(found, TimeoutError)
    assert told == ["cancelled"] * 2


def _given(make: Callable[..., Any], *arguments: Any) -> Any:
    """Return a function that is sync and returns this value."""
    return make(*arguments)


def test_a_coroutine_from_a_sync_manager_is_a_failed_call():
    """A coroutine that a service gives to the sync manager is closed, and counts as a call that was not made."""

    async def pays() -> str:
        return "receipt"

    found = with_retries(functools.partial(_given, pays), QUICK)
    assert isinstance(found, NotMade)
    assert "use AsyncFlowStateManager" in str(found.error)


def test_a_sync_method_that_gives_an_awaitable_is_awaited():
    """The async manager awaits what a sync method returns, if it can be awaited."""

    async def pays() -> str:
        return "receipt"

    assert asyncio.run(with_retries_async(functools.partial(_given, pays), QUICK)) == "receipt"


class Needy:
    """A bank whose method needs more than the port gives."""

    def pay(self, name: str, fruit: str, price: int) -> str:
        """Pay."""
        return "receipt"


@pytest.mark.parametrize(
    ("services", "method", "fault"),
    [
        ({}, "pay", "it is missing, or has no method 'pay'"),
        ({"bank": Bank()}, "gone", "it is missing, or has no method 'gone'"),
        ({"bank": Needy()}, "pay", "takes (name, fruit, price), and is called with name, fruit"),
    ],
)
def test_a_call_that_does_not_fit_is_not_made(services: dict[str, object], method: str, fault: str):
    """A call without a method, or with other parameters than it has, is not made, and the error says why."""
    with pytest.raises(ServiceError) as caught:
        bind(services, request(method=method))
    assert fault in str(caught.value)
    event = answered(request(), NotMade(caught.value))
    assert (event.result, event.unknown) == (Unreachable("call.failed"), False)


# Policies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bounds",
    [{"timeout": 0}, {"timeout": -1}, {"pause": -0.1}, {"attempts": 0}, {"rounds": 0}, {"timeout": float("nan")}],
)
def test_a_bound_that_is_none(bounds: dict[str, Any]):
    """A policy with an invalid bound is refused."""
    with pytest.raises(FlowError, match=f"CallPolicy: {next(iter(bounds))} is"):
        CallPolicy(**bounds)


def test_a_lease_holds_for_all_attempts_and_their_pauses():
    """The lease of a call is longer than all attempts, their pauses, and the commit of the result."""
    assert CallPolicy(timeout=1, attempts=1).lease >= 1
    policy = CallPolicy(timeout=2, attempts=5, pause=0.5)
    assert policy.lease >= 5 * 2 + 0.5 + 3 * LONGEST_PAUSE
    assert CallPolicy(pause=60, attempts=3).lease <= 3 * 8 + 2 * LONGEST_PAUSE + 5


def test_rests():
    """The pauses between rounds grow up to a minute."""
    assert [CallPolicy().rest(made) for made in range(1, 7)] == [2, 8, 32, 60, 60, 60]
    assert CallPolicy().rest(10_000) == LONGEST_REST


def test_a_question():
    """`READ_ONLY` is one round, and its failure has a reason of its own."""
    assert (READ_ONLY.rounds, READ_ONLY.effect) == (1, False)
    assert READ_ONLY.given_up == Refused("call.unavailable")
    assert CallPolicy().given_up == Refused("call.unsure")


# A bot whose call takes as long as a test wants ------------------------------------------------------------------


class Gate:
    """A bank that answers when it is released."""

    def __init__(self) -> None:
        self.began, self.go_on = threading.Event(), threading.Event()
        self.keys: list[str] = []

    def pay(self, name: str, fruit: str, *, caller: Caller = Caller()) -> str | Refused:  # noqa: B008
        """Pay, in time."""
        self.keys.append(caller.key)
        self.began.set()
        assert self.go_on.wait(LIMIT)
        return "receipt"


def pay(turn: Turn[bots.Order]) -> Call[str | Refused]:
    """Pay."""
    return call(Bank.pay, name="ada", fruit="apple")


paying = Flow(
    "paying", data=bots.Order, initial="ask",
    states=[
        State("ask", ask=Text("?")),
        State("pay", ask=Text("we are sending it"), call=pay, into="receipt"),
        State("paid", ask=bots.receipt),
    ],
    transitions=[
        Transition("go", "ask", "pay"),
        Transition("done", "pay", "paid"),
        Transition("failed", "pay", "ask"),
        Transition("go", "paid", "ask"),
    ],
)  # fmt: skip


def member_of(kind: Kind, service: Any, store: Any = None, **options: Any) -> Shell:
    """Return a manager with that bank, and a member at the question."""
    store = MemoryStore(Clock()) if store is None else store
    bot = Bot(flows=paying, services={"bank": service}, texts={"order.paid": "Paid: {receipt}"})
    shell = Shell(kind, bot, store, **options)
    shell.do("save", member_document())
    store.perform(Link(CHANNEL, MEMBER))
    shell.say("hi")
    return shell


class Delivered:
    """Records deliveries."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def __call__(self, channel: Channel, replies: Sequence[Reply]) -> None:
        self.said += words(replies)


@pytest.mark.parametrize("delivers", [False, True])
def test_a_call_that_takes_long_outlives_handle(kind: Kind, delivers: bool):
    """A call that takes longer than `call_wait` is answered with a notice, and its result is told once later."""
    gate, delivered = Gate(), Delivered()
    with member_of(kind, gate, call_wait=0.05, deliver=delivered if delivers else None) as shell:
        message = shell.message("go")
        first = shell.handle(message)
        assert (first.status, words(first.replies)) == ("advanced", ["we are sending it"])
        assert shell.state().call is not None
        gate.go_on.set()
        shell.until(lambda: shell.state().call is None)
        if delivers:
            shell.until(lambda: delivered.said)
            shell.until(lambda: not shell.state().outbox)
            assert delivered.said == ["Paid: receipt"]
        else:
            assert len(shell.state().outbox) == 1
        said = words(shell.say("help").replies)
        assert said[0] == ("You can always say: menu, back, cancel, help." if delivers else "Paid: receipt")
        again = shell.handle(message)
        assert again.status == "duplicate"
        assert "Paid: receipt" in words(again.replies)
        assert len(gate.keys) == 1


def test_a_message_while_the_call_goes_on_is_answered(kind: Kind):
    """A message during a call is answered with a notice, and stores nothing."""
    gate = Gate()
    with member_of(kind, gate, call_wait=0.05) as shell:
        shell.say("go")
        version = shell.state().version
        outcome = shell.say("well?")
        assert (outcome.status, words(outcome.replies)) == ("ignored", ["we are sending it"])
        assert shell.state().version == version
        gate.go_on.set()
        shell.until(lambda: shell.state().call is None)


def test_a_duplicate_while_the_call_goes_on(kind: Kind):
    """A duplicate during a call waits up to its patience, gets the same replies, and makes no second call."""
    gate = Gate()
    with member_of(kind, gate, call_wait=0.05, patience=0.3) as shell:
        message = shell.message("go")
        shell.handle(message)
        assert words(shell.handle(message).replies) == ["we are sending it"]
        gate.go_on.set()
        shell.until(lambda: shell.state().call is None)
        assert len(gate.keys) == 1


def test_close_waits_until_late_answers_are_stored(kind: Kind):
    """`close` waits until the results of late calls are stored."""
    # The future of the call is done before its answer is stored, so that waiting for the future would not be enough.
    gate = Gate()
    store = Watched(MemoryStore(Clock()))
    calls_left: list[bool] = []

    def close() -> None:
        state = store.store._members[MEMBER].state
        assert state is not None
        calls_left.append(decode(state.document).call is not None)

    shell = member_of(kind, gate, store, call_wait=0.5, on_close=close)
    shell.say("go")
    reached = threading.Event()

    def slow(request: Request) -> None:
        if isinstance(request, Commit) and threading.current_thread() is not threading.main_thread():
            reached.set()
            never.wait(0.2)  # the store takes its time

    never = threading.Event()
    store.before = slow
    gate.go_on.set()
    assert kind == "async" or reached.wait(LIMIT)
    shell.close()
    assert calls_left == [False]


def test_a_cancelled_handle_leaves_its_call_going():
    """The call of a cancelled message goes on, and its result is stored and told with the next message."""

    async def story() -> None:
        gate = Gate()
        shell = member_of("sync", gate)
        manager = AsyncFlowStateManager(shell.manager.bot, AsyncMemoryStore(shell.manager._store), cache=0)
        task = asyncio.ensure_future(manager.handle(shell.message("go")))
        assert await asyncio.to_thread(gate.began.wait, LIMIT)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.go_on.set()
        async with asyncio.timeout(LIMIT):
            await asyncio.wait(tuple(manager._loops.get().late))
        document = await manager.state(MEMBER)
        assert document is not None
        assert document.call is None
        outcome = await manager.handle(shell.message("help"))
        assert words(outcome.replies)[0] == "Paid: receipt"
        assert len(gate.keys) == 1
        await manager.close()

    asyncio.run(story())


class Strict:
    """A bank whose method takes other arguments than when the call was stored."""

    def pay(self, name: int, fruit: str) -> str:
        """Pay."""
        return "receipt"


def test_stored_arguments_that_no_longer_fit_raise_nothing(kind: Kind):
    """A pending call whose stored arguments no longer fit the method fails, and the member is answered."""
    # A fault of an earlier release: `handle` and `wake` raised `Unreadable`.
    clock = Clock()
    shell = member_of(kind, Strict(), MemoryStore(clock), check_services=False)
    with shell:
        lease = CallPolicy().lease
        shell.do("update", MEMBER, lambda document: attrs.evolve(
            document,
            run=attrs.evolve(document.run, step="pay"),
            call=PendingCall("key", "bank", "pay", {"name": "ada", "fruit": "apple"}, "root", START),
        ))  # fmt: skip
        clock.at += lease
        shell.wake()
        for _ in range(8):
            clock.at += 61
            outcome = shell.say("well?")
            assert outcome.replies
        assert shell.state().call is None


# Deliveries ---------------------------------------------------------------------------------------------------------


def test_deliver_may_have_a_key_and_need_not():
    """The parameter `key` of a delivery function is filled if it has one."""
    got: list[Any] = []

    def with_key(channel: Channel, replies: Sequence[Reply], *, key: str) -> None:
        got.append((channel, replies, key))

    def without(channel: Channel, replies: Sequence[Reply]) -> None:
        got.append((channel, replies))

    step = Deliver(CHANNEL, (Text("hi"),), "key-1")
    bind_delivery(with_key, step)()
    bind_delivery(without, step)()
    assert got == [(CHANNEL, (Text("hi"),), "key-1"), (CHANNEL, (Text("hi"),))]


def test_deliver_may_be_any_callable():
    """A delivery function need not be hashable."""
    # A fault of an earlier release: a callable of a class with `__eq__`, which has no hash, was never called.

    @attrs.define
    class Sender:
        sent: list[str] = attrs.field(factory=list[str])

        def __call__(self, channel: Channel, replies: Sequence[Reply]) -> None:
            self.sent += words(replies)

    sender = Sender()
    bind_delivery(sender, Deliver(CHANNEL, (Text("hi"),), "key-1"))()
    assert len(sender.sent) == 1


class Awaiting:
    """An async delivery function."""

    async def __call__(self, channel: Channel, replies: Sequence[Reply]) -> None: ...


async def awaits(channel: Channel, replies: Sequence[Reply]) -> None:
    """Deliver, awaited."""


@pytest.mark.parametrize("deliver", [awaits, Awaiting()])
def test_a_sync_manager_refuses_an_async_deliver(deliver: Any):
    """The sync manager refuses an async delivery function."""
    with pytest.raises(ServiceError, match="deliver"):
        Shell("sync", fruit_bot(), MemoryStore(Clock()), deliver=deliver)
    with pytest.raises(ServiceError):
        check_delivery(deliver, is_async=False)
    Shell("async", fruit_bot(), MemoryStore(Clock()), deliver=deliver).close()


def at_timeout(kind: Kind, deliver: Any) -> tuple[Shell, Clock]:
    """Return a member whose timer is due."""
    clock = Clock()
    store = MemoryStore(clock)
    shell = Shell(kind, fruit_bot(), store, deliver=deliver)
    shell.do("save", member_document())
    store.perform(Link(CHANNEL, MEMBER))
    shell.say("hi", "order", "ada", "1234", "fruit02")
    clock.at += 61
    return shell, clock


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
def test_a_sync_manager_never_takes_a_coroutine_for_a_delivery():
    """A delivery function that returns a coroutine to the sync manager has failed, and the replies wait."""
    # A fault of an earlier release: the coroutine was dropped, and the replies counted as delivered.
    shell, _ = at_timeout("sync", functools.partial(_given, awaits))
    with shell:
        shell.wake()
        assert shell.state().outbox != ()


def test_an_async_manager_delivers_by_either_kind():
    """The async manager delivers by a sync or an async function."""
    seen: list[str] = []

    async def awaited(channel: Channel, replies: Sequence[Reply]) -> None:
        seen.extend(words(replies))

    def plain(channel: Channel, replies: Sequence[Reply]) -> None:
        assert threading.current_thread() is not threading.main_thread()
        seen.extend(words(replies))

    for deliver in (awaited, plain):
        seen.clear()
        shell, _ = at_timeout("async", deliver)
        with shell:
            shell.wake()
            assert seen == ["Too slow.", "What now?"]
            assert shell.state().outbox == ()


def test_a_method_that_is_gone_says_nothing_of_an_earlier_try():
    """A call that may have had an effect does not fail because its method does not exist any more."""
    doubtful = attrs.evolve(request(), in_doubt=True)
    with pytest.raises(ServiceError) as caught:
        bind({}, doubtful)
    assert answered(doubtful, NotMade(caught.value)).unknown
    assert not answered(request(), NotMade(caught.value)).unknown
