"""Odd arguments of the managers: each error is of this library, names the argument and does nothing."""

# ruff: noqa: E501  # tables read best unwrapped

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from tests.bots import fruit_bot
from vimbiso_fsm import AsyncFlowStateManager, FlowStateManager, Message, VimbisoError, WrongArgument, WrongCallback
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.testing.chat import CHANNEL

ODD: list[Any] = [
    None, 5, -1, 1 << 70, "\ud800", "", "a\0b", "x" * 100_000, b"x", object(), ["a"], {"a": 1}, True, float("nan"), 1.5, CHANNEL, int,
]  # fmt: skip
"""Values that a method may be given by mistake."""
FIRST = (
    "handle",
    "wake",
    "state",
    "history",
    "incidents",
    "member_of",
    "save",
    "recover",
    "reset",
    "wipe",
    "quarantined",
    "ask",
)
NAMED = (
    ("recover", "to"),
    ("history", "since"),
    ("history", "until"),
    ("history", "last"),
    ("history", "channel"),
    ("incidents", "last"),
    ("incidents", "run"),
)
CHANGED = (
    "profile",
    "current_account",
    "jwt_token",
    "run",
    "suspended",
    "call",
    "channel",
    "deadline",
    "version",
    "outbox",
    "token",
)


def calls(member_id: str) -> Iterator[tuple[str, tuple[Any, ...], dict[str, Any]]]:
    """Yield calls of the methods of a manager, each with one odd value."""
    for odd in ODD:
        yield from ((name, (odd,), {}) for name in FIRST)
        yield from ((method, (member_id,), {name: odd}) for method, name in NAMED)
        yield "update", (odd, lambda document: document), {}
        yield "update", (member_id, lambda document, odd=odd: odd), {}
        yield "update", (member_id, lambda document, odd=odd: attrs.evolve(document, profile={"a": odd})), {}
        for name in CHANGED:
            yield "update", (member_id, lambda document, name=name, odd=odd: attrs.evolve(document, **{name: odd})), {}


def walk(manager: FlowStateManager) -> None:
    """Call each method with odd values. An error of another library, or of Python, fails the test."""
    member_id = manager.handle(Message(CHANNEL, "m1", "hi")).state.member_id
    for name, arguments, named in calls(member_id):
        with contextlib.suppress(VimbisoError):
            getattr(manager, name)(*arguments, **named)
    assert manager.handle(Message(CHANNEL, "m2", "menu")).replies


def test_odd_arguments_raise_errors_of_this_library_only():
    """Whatever a method of a manager in memory is given, its error is a `VimbisoError`."""
    walk(FlowStateManager(fruit_bot(), MemoryStore(time.time)))


@pytest.mark.embedded
def test_odd_arguments_reach_no_server(valkey_url: str):
    """Whatever a method of a manager on a server is given, its error is a `VimbisoError`, and none of redis-py."""
    store = AtomicStateManager.from_url(valkey_url)
    walk(FlowStateManager(fruit_bot(), store))
    store.close()


def test_odd_arguments_of_the_async_manager_raise_the_same_errors():
    """The async manager raises for each odd argument what the sync one raises."""

    async def raised(manager: AsyncFlowStateManager) -> list[str]:
        await manager.handle(Message(CHANNEL, "m1", "hi"))
        found: list[str] = []
        for name, odd in itertools.product(FIRST, ODD):
            try:
                await getattr(manager, name)(odd)
            except VimbisoError as error:
                found.append(f"{name}: {type(error).__name__}")
        return found

    manager = FlowStateManager.in_memory(fruit_bot())
    manager.handle(Message(CHANNEL, "m1", "hi"))
    expected: list[str] = []
    for name, odd in itertools.product(FIRST, ODD):
        try:
            getattr(manager, name)(odd)
        except VimbisoError as error:
            expected.append(f"{name}: {type(error).__name__}")
    assert asyncio.run(raised(AsyncFlowStateManager.in_memory(fruit_bot()))) == expected


@pytest.mark.parametrize(
    ("method", "argument", "given", "fault"),
    [
        ("state", "member_id", 5, "is of type int; give text"), ("wake", "member_id", "\ud800", "surrogate"), ("member_of", "channel", "x", "Channel"),
        ("save", "document", {}, "Document"), ("ask", "request", None, "Effect"),
    ],
)  # fmt: skip
def test_the_error_names_the_argument(method: str, argument: str, given: Any, fault: str):
    """The error carries the name of the argument and what to give, and quotes no value."""
    with pytest.raises(WrongArgument, match=fault) as caught:
        getattr(FlowStateManager.in_memory(fruit_bot()), method)(given)
    assert caught.value.argument == argument
    assert caught.value.fault in str(caught.value)


def test_a_change_that_returns_no_document_is_named():
    """A function for `update` that returns nothing is a `WrongCallback`."""
    manager = FlowStateManager.in_memory(fruit_bot())
    member_id = manager.handle(Message(CHANNEL, "m1", "hi")).state.member_id
    with pytest.raises(WrongCallback, match="returned a NoneType; it must return a Document"):
        manager.update(member_id, lambda document: None)  # type: ignore[arg-type,return-value]  # that is the test
