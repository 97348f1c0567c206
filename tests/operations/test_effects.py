"""The drivers of operations, which perform effects and send the answers back."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

import pytest

from tests.bots import Bank, fruit_bot, member_document
from vimbiso_fsm.audit.flow_audit import CommitEvent
from vimbiso_fsm.errors import DocumentTooLarge, StoreUnavailable
from vimbiso_fsm.messages.message import Message
from vimbiso_fsm.operations.cache import Cache
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.operations.effects import Beginning, Operation, Pause, run, run_awaited
from vimbiso_fsm.runtime.flow_state import FlowStateManager
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.store.requests import Commit, Effect, FindOwner, Linked
from vimbiso_fsm.testing.chat import CHANNEL, START, Chat, Held


async def owner_after_a_pause() -> str | None:
    """An operation of two effects."""
    await Pause(1)
    try:
        linked = await FindOwner(CHANNEL)
    except DocumentTooLarge as error:
        return f"too large: {error.size}"
    return linked.member_id


def drive(kind: str, operation: Operation[Any] | Beginning[Any], answers: list[Any], seen: list[Effect[Any]]) -> Any:
    """Run an operation with the sync or the async driver. An answer that is an exception is raised."""

    def perform(effect: Effect[Any]) -> object:
        """Perform a request, unless it is that commit."""
        seen.append(effect)
        answer = answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def perform_awaited(effect: Effect[Any]) -> object:
        await asyncio.sleep(0)
        return perform(effect)

    if kind == "sync":
        return run(operation, perform)
    return asyncio.run(_awaited(run_awaited(operation, perform_awaited)))


async def _awaited(result: Any) -> Any:
    return await result


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_both_drivers_perform_each_effect_and_send_its_answer(kind: str):
    """An operation gets the answers in order, and the driver returns its result."""
    seen: list[Effect[Any]] = []
    assert drive(kind, owner_after_a_pause(), [None, Linked("m-1")], seen) == "m-1"
    assert seen == [Pause(1), FindOwner(CHANNEL)]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_an_error_of_the_store_is_raised_in_the_operation(kind: str):
    """A `VimbisoError` is raised in the operation, which may go on; any other exception ends it."""
    assert drive(kind, owner_after_a_pause(), [None, DocumentTooLarge(2, 1)], []) == "too large: 2"
    with pytest.raises(StoreUnavailable):
        drive(kind, owner_after_a_pause(), [StoreUnavailable("gone")], [])


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_an_interrupt_closes_the_operation(kind: str):
    """An exception that is no error of the package closes the operation, whose `finally` blocks run."""
    left: list[str] = []

    async def operation() -> None:
        try:
            await Pause(1)
        finally:
            left.append("closed")

    with pytest.raises(KeyboardInterrupt):
        drive(kind, operation(), [KeyboardInterrupt()], [])
    assert left == ["closed"]


def test_an_operation_held_in_the_hand_stops_at_each_effect():
    """An operation stops at each effect until it gets the answer."""
    held = Held(Context(fruit_bot(), Cache(), START.timestamp()), lambda _: owner_after_a_pause())
    assert held.request == Pause(1)
    held.take(None)
    assert held.request == FindOwner(CHANNEL)
    held.take(Linked("m-1"))
    assert (held.request, held.outcome) == (None, "m-1")


R = TypeVar("R")


class FailsAt:
    """A store that cannot be reached at the commit of this number."""

    def __init__(self, store: MemoryStore, number: int) -> None:
        self._store, self._left = store, number

    def perform(self, request: Effect[R], /) -> R:
        """Perform a request, unless it is that commit."""
        stores: object = request
        if isinstance(stores, Commit):
            self._left -= 1
            if not self._left:
                raise StoreUnavailable("gone")
        return self._store.perform(request)


def test_commits_before_an_error_are_reported_to_observers():
    """Commits before an error of the store are reported to observers.

    The member's next message still sees the turn that proposed the call.
    """
    bank = Bank()
    chat = Chat(fruit_bot(bank))
    chat.plant(member_document(version=1))
    chat.say("hi", "order", "ada", "1234", "fruit02")
    told: list[CommitEvent] = []
    manager = FlowStateManager(chat.bot, FailsAt(chat.store, 2), observers=[told.append])
    manager._base.clock.follow(chat.clock)
    with pytest.raises(StoreUnavailable):
        manager.handle(Message(CHANNEL, "yes", "yes"))
    assert bank.calls
    assert [event.entry.version for event in told] == [chat.document().version]
    assert chat.document().call is not None


# An operation that begins as straight code ------------------------------------------------------------------------


class Asked(Beginning[str]):
    """An operation whose first effect ends it if the answer is short; `starts` says whether it has one."""

    def __init__(self, *, starts: bool = True) -> None:
        self.starts = starts
        self.answer: object = None

    def first(self) -> Effect[Any] | None:
        return Pause(1) if self.starts else None

    def answered(self, answer: Any) -> str | None:
        self.answer = answer
        return answer if answer == "short" else None

    async def rest(self) -> str:
        return f"{self.answer} {await FindOwner(CHANNEL)}"


DRIVERS = ["sync", "async", "whole"]


def begun(kind: str, operation: Beginning[str], answers: list[Any], seen: list[Effect[Any]]) -> Any:
    """Run an operation with a driver that begins it, or as one coroutine."""
    return drive("sync", operation.whole(), answers, seen) if kind == "whole" else drive(kind, operation, answers, seen)


@pytest.mark.parametrize("kind", DRIVERS)
def test_the_answer_to_the_first_effect_may_end_an_operation(kind: str):
    """An operation that the first answer ends makes no coroutine; another one goes on from it."""
    ended, went_on, began_late = list[Effect[Any]](), list[Effect[Any]](), list[Effect[Any]]()
    assert begun(kind, Asked(), ["short"], ended) == "short"
    assert begun(kind, Asked(), ["long", "owner"], went_on) == "long owner"
    assert begun(kind, Asked(starts=False), ["owner"], began_late) == "None owner"
    assert [[type(each) for each in seen] for seen in (ended, went_on, began_late)] == [
        [Pause],
        [Pause, FindOwner],
        [FindOwner],
    ]


@pytest.mark.parametrize("kind", DRIVERS)
def test_a_document_too_large_is_an_answer_and_another_error_ends_an_operation(kind: str):
    """An operation goes on from a document that is too large. Another error of its first effect is raised."""
    too_large = DocumentTooLarge(70_000, 65_536)
    assert begun(kind, Asked(), [too_large, "owner"], []) == f"{too_large} owner"
    with pytest.raises(StoreUnavailable):
        begun(kind, Asked(), [StoreUnavailable("s"), "owner"], [])
