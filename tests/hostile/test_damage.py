"""Damage to one entry or reply of the store does not spread, and raises only the library's own errors."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any, Self

import pytest
import redis

import flows
from flows.credex_core import SimulatedCredexCore
from tests.hostile.kit import client_of, foreign_error, message, only_key, pay_bot, require
from vimbiso_fsm import FlowStateManager
from vimbiso_fsm.runtime.worker import Worker
from vimbiso_fsm.store import thread_wire
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.store.requests import Commit, Entry, Head, digest
from vimbiso_fsm.store.thread_wire import ThreadWire

pytestmark = pytest.mark.embedded
ON_THE_WIRE = (str(Path(redis.__file__).parent), thread_wire.__file__)
"""The folder of redis-py's code."""


# What is stored -------------------------------------------------------------------------------------------------------


def test_the_members_beside_a_broken_entry_of_a_due_set_are_woken(valkey_url: str):
    """A worker passes over an entry of a due set that is no member id, and wakes the members beside it."""
    with FlowStateManager.from_url(valkey_url, pay_bot(session=300.0)) as manager:
        manager.handle(message("hi"))
        manager.handle(message("100"))
        with client_of(valkey_url) as client:
            due = only_key(client, "*:due")
            require(client.zcard(due) == 1, "the member is not the only one in the due set")
            client.zadd(due, {client.zrange(due, 0, 0)[0]: 1.0, b"member-\xff": 0.0})
        worker = Worker(manager)
        try:
            ended = foreign_error(lambda: [waking.result() for waking in worker.round()], UnicodeDecodeError)
        finally:
            worker.leave()
    assert (ended, worker.metrics.woken) == ("", 1)


@pytest.mark.parametrize("entry", [b"\xff\xfe", b"membex-1"], ids=["no-text", "no-member"])
def test_a_member_is_served_when_the_index_of_their_channel_is_damaged(valkey_url: str, entry: bytes):
    """A member is served even if the entry of their channel is no member id."""
    statuses: list[str] = []

    def served() -> None:
        with FlowStateManager.from_url(valkey_url, flows.bot, services={"credex_core": core}) as manager:
            statuses.extend(manager.handle(message("hi")).status for _ in range(2))

    core = SimulatedCredexCore()
    served()
    require(statuses == ["advanced", "advanced"], "the member is not served while the index is sound")
    with client_of(valkey_url) as client:
        client.set(only_key(client, "*:channel:*"), entry)
    statuses.clear()
    raised = foreign_error(served, UnicodeDecodeError)
    assert (raised, "failed" in statuses) == ("", False)


# What the server answers ----------------------------------------------------------------------------------------------


class Interruption:
    """Drops all connections at one step of a request, as another thread may do at any time.

    A step is a line of redis-py's code, or of that which uses its sockets. The drop comes after a given number of them,
    so each moment can be met, independent of the machine's load.

    Attributes:
        steps: The number of steps so far.
    """

    def __init__(self, drop: Callable[[], object], after: int) -> None:
        """Prepare the interruption.

        Args:
            drop: Drops all connections, as another thread would.
            after: The number of steps before the drop.
        """
        self._drop, self._after = drop, after
        self.steps = 0

    def __enter__(self) -> Self:
        self._before = sys.gettrace()
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _trace(self, frame: FrameType, event: str, _: object) -> Any:
        if not frame.f_code.co_filename.startswith(ON_THE_WIRE):
            return self._trace if event == "call" and "vimbiso_fsm" in frame.f_code.co_filename else None
        if event == "line":
            self.steps += 1
            if self.steps == self._after:
                sys.settrace(None)  # the drop itself is not interrupted
                self._drop()
                sys.settrace(self._trace)
        return self._trace


@pytest.mark.parametrize("closes", ["store", "client"])
def test_a_dropped_connection_raises_only_the_errors_of_the_store(valkey_url: str, closes: str):
    """When all connections are dropped at any step of a request, it is answered, or raises a documented error.

    The store drops them after a misplaced reply, and an embedder's client of the same pool may drop them at any time.
    """
    raised: dict[int, str] = {}
    with client_of(valkey_url) as client, AtomicStateManager(client) as store:
        drop = store.servers.disconnect if closes == "store" else client.connection_pool.disconnect
        versions = 0
        for after in count(1):
            store.load("m-1")  # the connection is kept from one request to the next
            head = store.load("m-1").head
            commit = _commit(head, after)
            with Interruption(drop, after) as interruption:
                error = foreign_error(partial(store.commit, commit), TypeError, AttributeError, ValueError)
            if error:
                raised[after] = error
            assert store.load("m-1").head.version == (versions := versions + 1)
            if interruption.steps < after:
                require(after > 20, "no request was interrupted")
                break
    assert raised == {}


def _commit(head: Head, number: int) -> Commit:
    body = b"%d" % number
    entry = Entry(head.version + 1, digest(body), body)
    return Commit("m-1", head, f"t{number}", "content", "said", b"{}", entry, b"record")


def _with_spoilt_instants(reply: Any) -> Any:
    if isinstance(reply, list):
        return [_with_spoilt_instants(part) for part in reply]
    if isinstance(reply, bytes) and re.fullmatch(rb"\d+\.\d+", reply):
        return reply.replace(b".", b"x")
    return reply


def test_a_spoilt_number_in_a_reply_says_whether_anything_was_stored(valkey_url: str, monkeypatch: pytest.MonkeyPatch):
    """A malformed reply raises `StoreUnavailable` or `CommitUnknown`, as a lost reply does."""
    spoilt: list[Any] = []
    exchange = ThreadWire.exchange

    def spoil(wire: ThreadWire, data: bytes, due: int) -> list[Any]:
        replies = exchange(wire, data, due)
        found = [_with_spoilt_instants(reply) for reply in replies]
        if found != replies:
            spoilt.append(found)
        return found

    with FlowStateManager.from_url(valkey_url, pay_bot()) as manager:
        manager.handle(message("hi"))
        with monkeypatch.context() as patch:
            patch.setattr(ThreadWire, "exchange", spoil)
            raised = foreign_error(lambda: manager.handle(message("7")), ValueError)
    require(spoilt, "no reply held an instant")
    assert raised == ""
