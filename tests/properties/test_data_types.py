"""Random types of a flow's data: refused when the flow is made, or read back equal after each turn, by each worker."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from tests.data_strategies import Kind, any_kinds, described, sound_kinds
from tests.engines import Server
from tests.examples import examples
from vimbiso_fsm import Bot, Channel, Flow, FlowError, FlowStateManager, Message, State, Text, Transition, Turn
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.store.requests import Store

_members = itertools.count(1)


def memory() -> Store:
    """Return a store in memory."""
    return MemoryStore(time.time)


def holding(kind: Any, values: Sequence[Any], seen: list[Any]) -> Flow[Any]:
    """A flow whose data have a field of a type. "next" stores the next value, "stay" asks again; the question looks."""
    fields = {"held": attrs.field(type=kind, default=values[0]), "place": attrs.field(type=int, default=0)}
    data = attrs.make_class("Held", fields, frozen=True)

    def put(turn: Turn[Any]) -> Any:
        place = turn.data.place + 1
        return attrs.evolve(turn.data, held=values[place % len(values)], place=place)

    def look(turn: Turn[Any]) -> Text:
        seen.append((turn.data.place, turn.data.held))
        return Text("?")

    return Flow(
        "holding", data=data, initial="here",
        states=[State("here", ask=look), State("there", ask=look)],
        transitions=[
            Transition("next", "here", "there", prepare=put),
            Transition("next", "there", "here", prepare=put),
            Transition("stay", "here", "here"),
            Transition("stay", "there", "there"),
        ],
    )  # fmt: skip


def check(store: Store, kind: Any, values: Sequence[Any], workers: Sequence[int]) -> None:
    """Let workers, some with a cache and some without, take turns with values of a type, and compare what they see.

    Args:
        store: The store that the workers share.
        kind: The type.
        values: Values of it.
        workers: The worker of each turn: 0 and 1 have a cache, 2 has none, and 3 is a new process.
    """
    seen: list[Any] = []
    flow = holding(kind, values, seen)
    kept = [FlowStateManager(Bot(flow), store, cache=cache) for cache in (10, 10, 0)]
    channel = Channel("terminal", f"member-{next(_members)}")
    for number, worker in enumerate(workers):
        manager = FlowStateManager(Bot(flow), store) if worker == 3 else kept[worker]
        words = "hi" if number == 0 else "stay" if number % 3 == 0 else "next"
        outcome = manager.handle(Message(channel, f"m{number}", words))
        assert outcome.status == "advanced", outcome
    assert seen[-1][0] >= len(workers) // 2, "few values were stored"
    for place, held in seen:
        assert described(held) == described(values[place % len(values)])


def tried(store: Callable[[], Store], kind: Kind, data: st.DataObject) -> bool:
    """Return whether a flow takes a type; where it does, check that values of the type survive."""
    values = data.draw(st.lists(kind.values, min_size=2, max_size=4))
    try:
        holding(kind.type, values, [])
    except FlowError as error:
        assert (error.place, bool(error.remedy)) == ("data", True)  # noqa: PT017  # either outcome is right
        event("refused")
        return False
    event("taken")
    check(store(), kind.type, values, data.draw(st.lists(st.integers(0, 3), min_size=3, max_size=7)))
    return True


@examples(200)
@given(sound_kinds, st.data())
def test_a_type_that_can_be_read_back_is_taken_and_is(kind: Kind, data: st.DataObject):
    """Values of a type made of scalars, enums, containers and classes are equal for each worker after each turn."""
    assert tried(memory, kind, data)


@examples(200)
@given(any_kinds, st.data())
def test_a_type_is_refused_or_its_values_are_read_back_equal(kind: Kind, data: st.DataObject):
    """A type, with unions whose members may be stored alike, is refused when the flow is made, or keeps its values."""
    tried(memory, kind, data)


@pytest.mark.embedded
@given(kind=any_kinds, data=st.data())
def test_a_server_keeps_values_as_the_memory_does(valkey_server: Server, kind: Kind, data: st.DataObject):
    """A type that is taken keeps its values on a server as well."""
    store = AtomicStateManager.from_url(valkey_server.url, namespace="data-types")
    try:
        tried(lambda: store, kind, data)
    finally:
        store.close()
