"""An exception of an author's code: whole for a developer, hidden from members, the audit and the log of production."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, TypeAlias

import attrs
import pytest

from tests.shells import Shell
from vimbiso_fsm.audit.flow_audit import CommitEvent
from vimbiso_fsm.errors import FlowError, VimbisoError
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.calls import Call, CallPolicy, call
from vimbiso_fsm.flow.flow import Flow
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.flow.turn import Turn
from vimbiso_fsm.messages.replies import Row, Text
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.testing.chat import Clock

CANARY = "canary of a member"
Kind: TypeAlias = Literal["sync", "async"]


class Mistake(VimbisoError):
    """An author's own error, made from that of the library."""


def plain() -> Exception:
    """An error that quotes."""
    return ValueError(CANARY)


def of_the_library() -> Exception:
    """An error of the library that an author raises, and that quotes."""
    return FlowError("order", CANARY, CANARY)


def derived() -> Exception:
    """An author's subclass of an error of the library."""
    return Mistake(CANARY)


def with_a_cause() -> Exception:
    """An error whose cause and notes quote."""
    error = RuntimeError("no words")
    error.__cause__ = KeyError(CANARY)
    error.add_note(CANARY)
    return error


ERRORS = (plain, of_the_library, derived, with_a_cause)


@attrs.frozen
class Order:
    """The data of the flow."""

    size: str = ""


class Bank:
    """A service that raises."""

    def __init__(self, make: Callable[[], Exception] | None) -> None:
        self.make = make

    def pay(self) -> str:
        """Pay, or raise."""
        if self.make is not None:
            raise self.make()
        return "paid"


PLACES = (
    "guard",
    "prepare",
    "ask",
    "rows",
    "reads",
    "say",
    "call",
    "service",
    "requires",
    "input",
    "output",
    "timeout",
)


def bot_that_raises(place: str, make: Callable[[], Exception]) -> Bot:
    """Return a bot whose callback or service raises at a place."""

    def at(name: str, usual: Any) -> Callable[..., Any]:
        def callback(given: object) -> Any:
            if name == place:
                raise make()
            return usual

        return callback

    def pay(turn: Turn[Order]) -> Call[str]:
        at("call", None)(turn)
        return call(Bank.pay)

    inner = Flow(
        "inner", data=Order, initial="size",
        states=[
            State("size", ask=at("ask", Text("Which?")), reads=at("reads", "big"), rows=at("rows", [Row("1", "One")]),
                  into="size", timeout=at("timeout", 60.0)),
            State("paying", call=pay, policy=CallPolicy(attempts=1, rounds=1)),
            State("sent", say=at("say", Text("Sent.")), final=True, output=at("output", "")),
        ],
        transitions=[
            Transition(
                ["answer", "timeout"], "size", "paying", conditions=at("guard", True), prepare=at("prepare", Order())
            ),
            Transition("done", "paying", "sent"),
            Transition("failed", "paying", "size"),
        ],
    )  # fmt: skip
    home = Flow(
        "home", data=Order, initial="inner", requires=at("requires", True),
        states=[State("inner", flow=inner, input=at("input", Order())), State("end", final=True)],
        transitions=[Transition("done", "inner", "end"), Transition("cancelled", "inner", "end")],
    )  # fmt: skip
    return Bot(home, services={"bank": Bank(make if place == "service" else None)})


def conversation(kind: Kind, bot: Bot, **options: Any) -> Iterator[str]:
    """Yield all that a member, an observer and an operator see of a conversation that meets the exception."""
    told: list[CommitEvent] = []

    def observe(event: CommitEvent) -> None:
        told.append(event)

    with Shell(kind, bot, MemoryStore(Clock()), observers=[observe], **options) as shell:
        member = ""
        for text in ("hi", "small", "menu"):
            outcome = shell.say(text)
            member = outcome.state.member_id
            yield repr(outcome)
        yield repr(shell.do("history", member))
        yield repr(shell.do("incidents", member)) + repr(shell.do("incidents"))
        yield repr(told)


def logged(caplog: pytest.LogCaptureFixture) -> str:
    """Return the log as it is written."""
    return "\n".join(map(logging.Formatter().format, caplog.records))


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("make", ERRORS)
@pytest.mark.parametrize("place", PLACES)
def test_an_exception_is_shown_to_its_author_alone(
    place: str, make: Callable[[], Exception], kind: Kind, caplog: pytest.LogCaptureFixture
):
    """With `debug` the log has the message and the traceback; without it no message is anywhere, in either case."""
    caplog.set_level(logging.DEBUG)
    seen = list(conversation(kind, bot_that_raises(place, make)))
    assert "failed" in logged(caplog)
    assert not any(CANARY in text for text in [*seen, logged(caplog)])
    caplog.clear()
    seen = list(conversation(kind, bot_that_raises(place, make), debug=True))
    assert CANARY in logged(caplog)
    assert "make()" in logged(caplog)
    assert not any(CANARY in text for text in seen)


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("debug", [False, True])
def test_the_exceptions_of_observers_and_deliveries(kind: Kind, debug: bool, caplog: pytest.LogCaptureFixture):
    """What an observer or a delivery raises is shown in the same way."""
    clock = Clock()

    def observe(event: CommitEvent) -> None:
        raise plain()

    def deliver(channel: object, replies: Sequence[object]) -> None:
        raise plain()

    bot = bot_that_raises("nowhere", plain)
    with Shell(kind, bot, MemoryStore(clock), observers=[observe], deliver=deliver, debug=debug) as shell:
        member = shell.say("hi").state.member_id
        clock.at += 61
        shell.wake(member)
    shown = [record for record in caplog.records if record.exc_info]
    assert {record.getMessage().partition(" ")[0] for record in shown} == ({"observer", "a"} if debug else set())
    assert (CANARY in logged(caplog)) is debug


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_late_exception_is_logged(kind: Kind, caplog: pytest.LogCaptureFixture):
    """The exception of a call that outlives `handle` is logged when the call has ended."""
    with Shell(kind, bot_that_raises("service", plain), MemoryStore(Clock()), debug=True, call_wait=0.0) as shell:
        shell.say("hi")
        shell.say("small")
        shell.until(lambda: CANARY in logged(caplog))


def test_a_manager_in_memory_is_a_desk(caplog: pytest.LogCaptureFixture):
    """Managers in memory show tracebacks without being told."""
    from vimbiso_fsm.messages.message import Message
    from vimbiso_fsm.runtime.flow_state import FlowStateManager
    from vimbiso_fsm.testing.chat import CHANNEL

    with FlowStateManager.in_memory(bot_that_raises("ask", plain)) as manager:
        manager.handle(Message(CHANNEL, "1", "hi"))
    assert CANARY in logged(caplog)
