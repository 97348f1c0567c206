"""Faults that the suite has found, each in its smallest form."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.engines import valkey_program
from tests.faults.bot import TALLY, till_bot
from tests.faults.clock import Clock, Clocked
from tests.faults.members import Person
from tests.faults.records import Folder, LedgerTill
from tests.faults.server import own_server
from vimbiso_fsm.document.document import Document
from vimbiso_fsm.errors import CommitUnknown, StoreUnavailable
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.replies import Reply
from vimbiso_fsm.operations.cache import Cache
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.operations.effects import Deliver, Pause, ReadLegacy, RunCall
from vimbiso_fsm.operations.handle import handle
from vimbiso_fsm.runtime.flow_state import FlowStateManager
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.store.requests import Commit, Conflict, Entry, Head, ReadRecords, digest
from vimbiso_fsm.testing.chat import Held

PERSON = Person(1, 1)


def known(path: Path, **options: Any) -> tuple[MemoryStore, Clock, FlowStateManager]:
    """Return a member who has given a PIN and is asked for a confirmation."""
    store, clock = MemoryStore(time.time), Clock()
    bot = till_bot(LedgerTill(Folder(path)), timeout=60.0)
    manager = FlowStateManager(bot, Clocked(store, clock), **options, rates=None)
    for message in PERSON.messages[:3]:
        manager.handle(message)
    return store, clock, manager


def test_no_secret_in_the_turn_record_of_a_move(tmp_path: Path):
    """The turn record of a promotion contains no field that is marked secret."""
    store, _, manager = known(tmp_path)
    manager.close()
    records = store.perform(ReadRecords(PERSON.member_id))
    assert not [record for record in records if PERSON.canary.encode() in record.body]


def test_no_secret_in_the_turn_record_of_an_update(tmp_path: Path):
    """The turn record of an operator's change contains no field that is marked secret."""
    store, _, manager = known(tmp_path)

    def change(document: Document) -> Document:
        return attrs.evolve(document, profile={"name": "Ada"})

    with manager:
        manager.update(PERSON.member_id, change)
    records = store.perform(ReadRecords(PERSON.member_id))
    assert PERSON.canary.encode() not in records[-1].body


@pytest.mark.embedded
def test_a_server_that_stands_still_costs_three_timeouts_at_most():
    """A request to a server that is stopped fails after three timeouts at most."""
    timeout = 0.5
    commit = Commit("m", Head(), "token", "token", "", b"{}", Entry(1, digest(b"entry"), b"entry"))
    with own_server(valkey_program()) as server, AtomicStateManager.from_url(server.url, timeout=timeout) as store:
        store.load("m")
        with server.stopped(6 * timeout):
            began = time.monotonic()
            with pytest.raises((CommitUnknown, StoreUnavailable)):
                store.perform(commit)
            assert time.monotonic() - began < 3 * timeout


@attrs.define
class Delivering:
    """Receives replies. It is not hashable, like any class that is compared by its content."""

    told: list[str] = attrs.field(factory=list)

    def __call__(self, channel: Channel, replies: Sequence[Reply], /) -> None:
        self.told += [reply.text for reply in replies]


def test_deliver_may_be_any_callable(tmp_path: Path):
    """`deliver` may be any callable, also one that is not hashable."""
    delivering = Delivering()
    _, clock, manager = known(tmp_path, deliver=delivering)
    with manager:
        clock.forward(61)
        manager.state(PERSON.member_id)  # which tells the manager what time it is
        manager.wake(PERSON.member_id)
    assert delivering.told


def test_a_turn_after_a_pause_is_decided_on_the_stored_document():
    """After lost races and a pause, a turn is decided on the document that is stored then."""
    store = MemoryStore(time.time)
    other = FlowStateManager(TALLY, store, rates=None)
    others = (PERSON.message(f"other {number}", "1") for number in itertools.count())
    other.handle(PERSON.message("hi", "hi"))
    context = Context(other.bot, Cache(), time.time())  # with the digests of its store
    exchange = Held(context, partial(handle, message=PERSON.message("slow", "1")))
    lost = 0
    while (step := exchange.request) is not None:
        if isinstance(step, Pause):
            other.handle(next(others))
            exchange.take(None, time.time())
        else:
            assert not isinstance(step, RunCall | Deliver | ReadLegacy)
            if isinstance(step, Commit) and lost < 2:
                other.handle(next(others))
            result = store.perform(step)
            lost += isinstance(result, Conflict)
            assert lost < 10, "it never comes to its turn"
            exchange.take(result, time.time())
    assert lost == 2
