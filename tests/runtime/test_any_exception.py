"""Exceptions of any class out of an author's code: each is a failure of that code, and no one else's.

`CancelledError`, `SystemExit` and `GeneratorExit` are no subclasses of `Exception`. What is meant for the process (the
exception of a signal handler) and for the task that waits (its cancellation) goes through.
"""

from __future__ import annotations

import asyncio
import functools
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import attrs
import pytest

from tests.shells import Shell
from vimbiso_fsm.audit.flow_audit import CommitEvent
from vimbiso_fsm.document.document import Member
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.calls import Call, CallPolicy, call
from vimbiso_fsm.flow.flow import Flow
from vimbiso_fsm.flow.interrupts import is_interrupt
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.flow.turn import Turn
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.replies import Reply, Row, Text
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.testing.chat import Clock, words

Kind = Literal["sync", "async"]


class Odd(BaseException):
    """An exception of an author that is no `Exception`."""


EXCEPTIONS = [asyncio.CancelledError, SystemExit, GeneratorExit, Odd, StopIteration, RecursionError]
PLACES = ["ask", "timeout", "reads", "guard", "rows", "call", "prepare", "say", "zone_of", "observer", "pay"]
AFTER_THE_PAYMENT = {"prepare", "say"}


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> Kind:
    """The kind of the manager."""
    found: Kind = request.param
    return found


@attrs.frozen
class Pay:
    """The data of the flow."""

    amount: int = 0
    shop: str = ""
    receipt: str = ""


class Till:
    """The service."""

    def __init__(self, trap: Trap) -> None:
        self.trap = trap
        self.paid = 0

    def pay(self, amount: int) -> str:
        """Pay an amount."""
        self.paid += 1
        self.trap("pay")
        return "receipt"


class AsyncTill(Till):
    """The service with a method to be awaited."""

    async def pay(self, amount: int) -> str:  # type: ignore[override]  # the port may be implemented by a coroutine
        """Pay an amount."""
        self.paid += 1
        await asyncio.sleep(0)
        self.trap("pay")
        return "receipt"


class Trap:
    """Raises in one place, a number of times."""

    def __init__(self) -> None:
        self.place, self.times = "", 0
        self.does: Callable[[], None] = lambda: None

    def set(self, place: str, does: Callable[[], None], times: int = 1) -> None:
        """Do something in a place."""
        self.place, self.does, self.times = place, does, times

    def __call__(self, place: str) -> None:
        """Pass a place."""
        if place == self.place and self.times:
            self.times -= 1
            self.does()


def paying_bot(trap: Trap, till: Till) -> Bot:
    """A bot with each kind of callback; each passes the trap."""

    def reads(text: str) -> int | Refused:
        trap("reads")
        return int(text) if text.isdecimal() else Refused("number.format")

    def guard(turn: Turn[Pay]) -> bool:
        trap("guard")
        return True

    def rows(turn: Turn[Pay]) -> Sequence[Row]:
        trap("rows")
        return [Row("a", Text("A")), Row("b", Text("B"))]

    def proposes(turn: Turn[Pay]) -> Call[str]:
        trap("call")
        return call(Till.pay, turn.data.amount)

    def prepare(turn: Turn[Pay]) -> Pay:
        trap("prepare")
        return turn.data

    def ask(turn: Turn[Pay]) -> Text:
        trap("ask")
        return Text("Which shop?")

    def say(turn: Turn[Pay]) -> Text:
        trap("say")
        return Text("Paid.")

    def timeout(turn: Turn[Pay]) -> float:
        trap("timeout")
        assert turn.today
        return 600.0

    def zone_of(member: Member[Any]) -> str:
        trap("zone_of")
        return "UTC"

    flow = Flow(
        "pay",
        data=Pay,
        initial="amount",
        states=[
            State("amount", ask=Text("How much?"), reads=reads, into="amount"),
            State("shop", ask=ask, rows=rows, into="shop", timeout=timeout),
            State("paying", ask=Text("Paying."), call=proposes, into="receipt", policy=CallPolicy(attempts=1)),
            State("paid", say=say),
        ],
        transitions=[
            Transition("answer", "amount", "shop", conditions=guard),
            Transition("timeout", "shop", "amount"),
            Transition("answer", "shop", "paying"),
            Transition("done", "paying", "paid", prepare=prepare),
            Transition("failed", "paying", "amount"),
            Transition("auto", "paid", "amount"),
        ],
    )
    return Bot([flow], services={"till": till}, zone_of=zone_of, session=1e6)


def shell_of(kind: Kind, trap: Trap, till: Till, **options: Any) -> Shell:
    """Return a manager of that bot."""
    clock = Clock()
    shell = Shell(kind, paying_bot(trap, till), MemoryStore(clock), call_wait=30, **options)
    shell.manager._base.clock.follow(clock)
    return shell


def raises(error: type[BaseException]) -> Callable[[], None]:
    """Return a function that raises."""

    def does() -> None:
        raise error

    return does


# Every place × every exception × both managers ------------------------------------------------------------------------


@pytest.mark.parametrize("error", EXCEPTIONS)
@pytest.mark.parametrize("place", PLACES)
def test_any_exception_of_a_callback_is_a_failure_and_the_next_message_goes_on(
    kind: Kind, place: str, error: type[BaseException]
):
    """Whatever class an exception out of an author's code has, the member is answered and can go on."""
    trap = Trap()
    till = Till(trap)

    def observer(details: CommitEvent, /) -> None:
        trap("observer")

    with shell_of(kind, trap, till, observers=[observer]) as shell:
        shell.say("hi")
        trap.set(place, raises(error))
        statuses = [shell.say(text).status for text in ("5", "5", "a")]
        shell.say("a") if till.paid == 0 else None
        assert trap.times == 0, "the place was not passed"
        if place == "observer":
            assert "failed" not in statuses
        else:
            assert "failed" in statuses
        if place == "pay":
            assert "still working" in " ".join(words(shell.say("hello").replies)) or till.paid == 2
        assert shell.say("menu", "5", "a").status == "advanced"
        assert till.paid >= 1


@pytest.mark.parametrize("error", EXCEPTIONS)
@pytest.mark.parametrize("service", [Till, AsyncTill])
def test_any_exception_of_a_service_is_an_unknown_outcome(error: type[BaseException], service: type[Till], kind: Kind):
    """Whatever class the exception of a service has, the outcome is unknown, and it is called again with its key."""
    if kind == "sync" and service is AsyncTill:
        pytest.skip("a sync manager has no async service")
    trap = Trap()
    till = service(trap)
    with shell_of(kind, trap, till) as shell:
        shell.say("hi", "5")
        trap.set("pay", raises(error))
        assert shell.say("a").status in ("advanced", "failed")
        assert words(shell.say("hello").replies)[-1] == "How much?"
        assert till.paid == 2


@pytest.mark.parametrize("error", EXCEPTIONS)
@pytest.mark.parametrize("awaits", [False, True])
def test_any_exception_of_a_delivery_is_a_failed_delivery(kind: Kind, error: type[BaseException], awaits: bool):
    """Whatever class the exception of a delivery has, the delivery is tried again."""
    if kind == "sync" and awaits:
        pytest.skip("a sync manager has no async delivery")
    trap, delivered = Trap(), list[str]()

    def deliver(channel: Channel, replies: Sequence[Reply]) -> None:
        trap("deliver")
        delivered.extend(words(replies))

    async def deliver_awaited(channel: Channel, replies: Sequence[Reply]) -> None:
        deliver(channel, replies)

    till = Till(trap)
    clock = Clock()
    shell = Shell(
        kind, paying_bot(trap, till), MemoryStore(clock), deliver=deliver_awaited if awaits else deliver, call_wait=30
    )
    shell.manager._base.clock.follow(clock)
    with shell:
        outcome = shell.say("hi", "5")
        trap.set("deliver", raises(error))
        clock.at += 601
        shell.wake(outcome.state.member_id)
        assert (trap.times, delivered) == (0, [])
        clock.at += 601
        shell.wake(outcome.state.member_id)
        assert delivered == ["How much?"]


def _cancel_this_task() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


def test_a_task_of_a_service_that_cancels_itself_is_an_unknown_outcome():
    """A service that cancels the task it runs in does not cancel the one that waits for it."""
    trap = Trap()
    till = AsyncTill(trap)
    with shell_of("async", trap, till) as shell:
        shell.say("hi", "5")
        trap.set("pay", _cancel_this_task)
        shell.say("a")
        assert words(shell.say("hello").replies)[-1] == "How much?"
        assert till.paid == 2


# What goes through ----------------------------------------------------------------------------------------------------


def test_the_cancellation_of_the_task_that_waits_goes_through():
    """A task of the embedder that is cancelled while it waits for a call ends with `CancelledError`."""
    trap, began, go_on = Trap(), asyncio.Event(), asyncio.Event()

    class Waiting(Till):
        async def pay(self, amount: int) -> str:  # type: ignore[override]  # as above
            self.paid += 1
            began.set()
            await go_on.wait()
            return "receipt"

    till = Waiting(trap)

    async def cancelled(shell: Shell) -> None:
        waiting = asyncio.ensure_future(shell.manager.handle(shell.message("a")))
        await began.wait()
        waiting.cancel()
        await asyncio.wait({waiting})
        assert waiting.cancelled()
        go_on.set()

    with shell_of("async", trap, till) as shell:
        shell.say("hi", "5")
        shell.run(cancelled(shell))
        shell.until(lambda: shell.say("x").status != "ignored")
        assert till.paid == 1


@pytest.fixture
def handlers() -> Iterator[Callable[[Any], None]]:
    """Return a function that installs a handler of SIGUSR1."""
    before = signal.getsignal(signal.SIGUSR1)

    def install(handler: Any) -> None:
        signal.signal(signal.SIGUSR1, handler)

    yield install
    signal.signal(signal.SIGUSR1, before)


class Stopper:
    """A handler that is a method."""

    def stop(self, number: int, frame: Any) -> None:
        """Stop the process."""
        _exit()


def _exit() -> None:
    sys.exit(3)


HANDLERS = {
    "function": lambda number, frame: sys.exit(3),
    "any arguments": lambda *_: sys.exit(3),
    "method": Stopper().stop,
    "partial": functools.partial(lambda code, number, frame: sys.exit(code), 3),
}


@pytest.mark.parametrize("handler", HANDLERS)
@pytest.mark.parametrize("place", ["guard", "ask", "observer"])
def test_the_end_of_the_process_goes_through(kind: Kind, place: str, handler: str, handlers: Callable[[Any], None]):
    """The `SystemExit` of a signal handler that runs amid a callback ends the process, and nothing is stored."""
    trap = Trap()
    till = Till(trap)

    def observer(details: CommitEvent, /) -> None:
        trap("observer")

    handlers(HANDLERS[handler])
    with shell_of(kind, trap, till, observers=[observer]) as shell:
        shell.say("hi")
        trap.set(place, lambda: signal.raise_signal(signal.SIGUSR1))
        with pytest.raises(SystemExit) as caught:
            shell.say("5")
        assert caught.value.code == 3
        assert is_interrupt(caught.value)


def test_an_interrupt_of_the_keyboard_goes_through():
    """Ctrl-C amid a callback is no failure of the callback."""
    trap = Trap()
    with shell_of("sync", trap, Till(trap)) as shell:
        shell.say("hi")
        trap.set("guard", raises(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            shell.say("5")


def test_an_exception_that_looks_like_one_of_the_process_is_none():
    """An exit that an author's code calls is told from one of a signal handler, however deep it is."""

    def deep(frame: object) -> None:
        sys.exit(1)

    def deeper() -> None:
        deep(None)

    with pytest.raises(SystemExit) as caught:
        deeper()
    assert not is_interrupt(caught.value)
