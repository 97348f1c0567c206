"""The scenarios of operators on the real engine: cleanup, reset and wipe; and the reach of `back`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack
from itertools import count
from typing import Any, Protocol, TypeAlias

import attrs
import pytest

from flows.credex_core import Fault, SimulatedCredexCore
from tests.engines import Server
from vimbiso_fsm.audit.flow_audit import FlowAuditLogger
from vimbiso_fsm.document.document import Document
from vimbiso_fsm.errors import NotRecovered, VimbisoError
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.operations.handle import Outcome
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager, FlowStateManager
from vimbiso_fsm.store.redis_atomic import AsyncAtomicStateManager, AtomicStateManager
from vimbiso_fsm.store.requests import ReadAudit

pytestmark = pytest.mark.embedded

ADA = Channel("whatsapp", "263771000001")
Client: TypeAlias = Any
"""A `redis.Redis`, whose answers redis-py types for sync and async at once."""


class Do(Protocol):
    """An operation of an operator, by a manager of its own: `do("reset", member_id)`."""

    def __call__(self, what: str, member_id: str, **options: Any) -> Any: ...


class World:
    """A credex-core, workers and an operator on one server whose clock can be moved."""

    def __init__(self, url: str, kind: str, stack: ExitStack) -> None:
        self.url, self.kind, self.stack = url, kind, stack
        self.core = SimulatedCredexCore()
        self.shift = 0.0
        self._ids = count()
        self.worker = self.another()

    def another(self) -> FlowStateManager:
        """Return a worker with an empty cache, at the current clock."""
        store = self.stack.enter_context(AtomicStateManager.from_url(self.url, shift=self.shift))
        return FlowStateManager("flows", store, services={"credex_core": self.core})

    def wait(self, seconds: float) -> None:
        """Move the server's clock."""
        self.shift += seconds
        self.worker = self.another()

    def message(self, text: str) -> Message:
        """Return a message of Ada."""
        return Message(ADA, f"d{next(self._ids)}", text)

    def say(self, *texts: str) -> Outcome:
        """Let Ada say a text at the worker."""
        return [self.worker.handle(self.message(text)) for text in texts][-1]

    def do(self, what: str, member_id: str, **options: Any) -> Any:
        """Run an operation of an operator."""
        if self.kind == "sync":
            return getattr(self.another(), what)(member_id, **options)
        return asyncio.run(self._do(what, member_id, options))

    async def _do(self, what: str, member_id: str, options: Mapping[str, Any]) -> Any:
        store = AsyncAtomicStateManager.from_url(self.url, shift=self.shift)
        manager = AsyncFlowStateManager("flows", store, services={"credex_core": self.core}, on_close=store.close)
        async with manager:
            return await getattr(manager, what)(member_id, **options)

    def document(self, member_id: str) -> Document:
        """The stored document."""
        found = self.another().state(member_id)
        assert found is not None
        return found


@pytest.fixture(params=["sync", "async"])
def world(request: pytest.FixtureRequest, valkey_url: str) -> Generator[World, None, None]:
    """Make a world for each kind of manager."""
    with ExitStack() as stack:
        yield World(valkey_url, request.param, stack)


@pytest.fixture
def client(valkey_server: Server) -> Generator[Client, None, None]:
    """Return a client that reads the server without the store."""
    with valkey_server.client() as client:
        yield client


def words(outcome: Outcome) -> str:
    """Return the texts of all replies, one a line."""
    return "\n".join(reply.text for reply in outcome.replies)


def step(document: Document) -> tuple[str, str]:
    """Return the flow and the step of the document's run, or two empty texts without a run."""
    return (document.run.flow, document.run.step) if document.run else ("", "")


CLEANUPS: dict[str, Callable[[World, str], object]] = {
    "wake": lambda world, member: world.do("wake", member),
    "reset": lambda world, member: world.do("reset", member),
    "recover": lambda world, member: world.do("recover", member),
    "put back": lambda world, member: world.do("recover", member, to=world.document(member).version - 1),
    "update": lambda world, member: world.another().update(member, lambda now: attrs.evolve(now, profile={"seen": 1})),
    "look": lambda world, member: world.do("state", member),
}


@pytest.mark.parametrize("how", CLEANUPS)
def test_sg53_cleanup_keeps_the_remaining_life(world: World, how: str):
    """A cleanup does not prolong a session.

    Given a session with 60 s left, when it is cleaned up, then at most 60 s are left. The original system set 300 s.
    """
    member = world.say("hi", "offer", "5", "nobody has this").state.member_id
    ends = world.document(member).deadline
    assert ends is not None
    world.wait(120)
    world.another().update(member, lambda now: attrs.evolve(now, profile={**now.profile, "seen": 1}))
    world.wait(120)
    CLEANUPS[how](world, member)
    after = world.document(member)
    assert after.deadline == ends
    assert after.authenticated
    world.wait(61)
    said = words(world.say("hello?"))
    assert "Your session ended" in said or how == "reset"
    assert not [call for call in world.core.calls if call.name == "createCredex"]


def test_sg53_a_repaired_document_keeps_the_remaining_life(world: World, client: Client):
    """The repair of a document does not prolong its session, even if the end of the session was lost."""
    member = world.say("hi", "offer", "5").state.member_id
    before = world.document(member)
    assert before.deadline is not None
    (key,) = client.keys(f"*:{member}:state")
    for spoilt in (b"{", client.hget(key, "d").replace(b'"_deadline":"2', b'"_deadline":"x')):
        client.hset(key, "d", spoilt)
        assert world.do("recover", member).outcome == "repaired"
        after = world.document(member).deadline
        assert after is not None
        assert after <= before.deadline


def test_sg54_reset_works(world: World):
    """A reset ends the flow and keeps the member.

    Given a session in a flow, when it is reset, then the flow has ended, the member, the channel and the token are
    kept, and memory agrees with the store. In the original system the store lost the channel, the profile and the flag,
    and memory kept the flow.
    """
    before = world.say("hi", "offer", "5", "alan").state
    assert step(before) == ("offer", "confirm")
    done = world.do("reset", before.member_id)
    assert set(done.flows) == {"dashboard", "offer"}
    after = world.document(before.member_id)
    kept = ("member_id", "channel", "jwt_token", "authenticated", "profile", "current_account", "channels", "deadline")
    assert {name: getattr(after, name) for name in kept} == {name: getattr(before, name) for name in kept}
    assert (after.run, after.suspended, after.version) == (None, (), before.version + 1)
    outcome = world.say("yes")  # at the worker whose memory still has the offer
    assert step(outcome.state) == ("dashboard", "menu")
    assert not [call for call in world.core.calls if call.name == "createCredex"]
    assert outcome.state.version == after.version + 1
    (entry,) = [entry for entry in world.worker.history(before.member_id) if entry.kind == "reset"]
    assert (entry.detail["by"], entry.source) == ("operator", "confirm")


def test_sg56_the_wipe_tool_wipes(world: World, client: Client):
    """A wipe deletes the session.

    Given a session, when it is wiped, then it is gone. The original system deleted from another store and reported
    success.
    """
    member = world.say("hi", "offer", "5").state.member_id
    (key,) = client.keys(f"*:{member}:state")
    client.hset(key, "d", b"{stuck")
    with pytest.raises(VimbisoError):
        world.do("state", member)
    done = world.do("wipe", member)
    assert done.removed == ("state", "previous", "turns")
    left = {each.rpartition(b":")[2] for each in client.keys(f"*:member:{member}:*")}
    assert left == {b"audit", b"tokens"}
    assert world.do("state", member) is None
    outcome = world.say("hi")  # at the worker whose memory still has the offer
    assert (outcome.status, step(outcome.state)) == ("advanced", ("dashboard", "menu"))
    assert "session" not in words(outcome).lower()
    entries = world.worker.ask(ReadAudit(member))
    assert FlowAuditLogger.faults(entries) == ()
    kinds = [entry.kind for entry in world.worker.history(member)]
    assert "wipe" in kinds
    assert "recovery" not in kinds


def test_sg56_a_wiped_member_confirms_nothing_twice(world: World):
    """The tokens outlive a wipe, so a message that confirmed before it confirms nothing again."""
    world.say("hi", "offer", "5", "alan")
    confirm = world.message("yes")
    member = world.worker.handle(confirm).state.member_id
    made = [call.key for call in world.core.calls if call.name == "createCredex"]
    world.do("wipe", member)
    assert world.another().handle(confirm).status == "duplicate"
    assert [call.key for call in world.core.calls if call.name == "createCredex"] == made
    assert len(made) == 1


def test_an_offer_is_not_walked_back_over(world: World):
    """After an offer was made, or may have been, neither `back` nor an operator leads to its confirmation."""
    world.core.faults = (Fault("lost", "createCredex", times=99),)
    confirming = world.say("hi", "offer", "5", "alan").state
    world.say("yes")
    with pytest.raises(NotRecovered) as error:
        world.do("recover", confirming.member_id, to=confirming.version)
    assert error.value.barrier == confirming.version + 1
    assert world.document(confirming.member_id).call is not None


def test_a_changed_handle_takes_the_recipient_with_it(world: World):
    """A changed handle resets the account that was looked up for the earlier one."""
    world.say("hi", "offer", "5", "alan")
    walked = world.say("back").state
    assert walked.run is not None
    assert walked.run.fields["to"]["name"]
    world.core.faults = (Fault("down", "getAccountByHandle", times=1),)
    failed = world.say("katherine").state
    assert step(failed) == ("offer", "handle")
    assert failed.run is not None
    assert failed.run.fields["to"]["name"] == ""
    assert "Katherine" in words(world.say("katherine"))
