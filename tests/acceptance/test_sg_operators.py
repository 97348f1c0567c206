"""The scenarios of what an operator does, on the real engine: cleanup, reset, wipe; and how far `back` goes."""

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
from vimbiso_fsm.errors import VimbisoError
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.operations.handle import Outcome
from vimbiso_fsm.operations.recover import NotRecovered
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager, FlowStateManager
from vimbiso_fsm.store.redis_atomic import AsyncAtomicStateManager, AtomicStateManager
from vimbiso_fsm.store.requests import ReadAudit

pytestmark = pytest.mark.embedded

ADA = Channel("whatsapp", "263771000001")
Client: TypeAlias = Any
"""A `redis.Redis`, whose answers redis-py types for sync and async at once."""


class Do(Protocol):
    """What an operator does, with a manager of its own: `do("reset", member_id)`."""

    def __call__(self, what: str, member_id: str, **options: Any) -> Any: ...


class BaseManager:
    """A credex-core, workers and an operator on one engine whose clock can be moved."""

    def __init__(self, url: str, kind: str, stack: ExitStack) -> None:
        self.url, self.kind, self.stack = url, kind, stack
        self.core = SimulatedCredexCore()
        self.shift = 0.0
        self._ids = count()
        self.worker = self.another()

    def another(self) -> FlowStateManager:
        """A worker with nothing in its cache, at the clock as it is now."""
        store = self.stack.enter_context(AtomicStateManager.from_url(self.url, shift=self.shift))
        return FlowStateManager("flows", store, services={"credex_core": self.core})

    def wait(self, seconds: float) -> None:
        """The engine's clock goes on."""
        self.shift += seconds
        self.worker = self.another()

    def message(self, text: str) -> Message:
        """What Ada says."""
        return Message(ADA, f"d{next(self._ids)}", text)

    def say(self, *texts: str) -> Outcome:
        """Ada says it, at the worker."""
        return [self.worker.handle(self.message(text)) for text in texts][-1]

    def do(self, what: str, member_id: str, **options: Any) -> Any:
        """What an operator does, at a manager of their own."""
        if self.kind == "sync":
            return getattr(self.another(), what)(member_id, **options)
        return asyncio.run(self._do(what, member_id, options))

    async def _do(self, what: str, member_id: str, options: Mapping[str, Any]) -> Any:
        store = AsyncAtomicStateManager.from_url(self.url, shift=self.shift)
        manager = AsyncFlowStateManager("flows", store, services={"credex_core": self.core}, on_close=store.close)
        async with manager:
            return await getattr(manager, what)(member_id, **options)

    def document(self, member_id: str) -> Document:
        """As it is stored."""
        found = self.another().state(member_id)
        assert found is not None
        return found


@pytest.fixture(params=["sync", "async"])
def desk(request: pytest.FixtureRequest, valkey_url: str) -> Generator[BaseManager, None, None]:
    """Each kind of manager."""
    with ExitStack() as stack:
        yield BaseManager(valkey_url, request.param, stack)


@pytest.fixture
def client(valkey_server: Server) -> Generator[Client, None, None]:
    """A plain client, to look behind the store's back."""
    with valkey_server.client() as client:
        yield client


def words(outcome: Outcome) -> str:
    return "\n".join(reply.text for reply in outcome.replies)


def step(document: Document) -> tuple[str, str]:
    return (document.run.flow, document.run.step) if document.run else ("", "")


CLEANUPS: dict[str, Callable[[BaseManager, str], object]] = {
    "wake": lambda desk, member: desk.do("wake", member),
    "reset": lambda desk, member: desk.do("reset", member),
    "recover": lambda desk, member: desk.do("recover", member),
    "put back": lambda desk, member: desk.do("recover", member, to=desk.document(member).version - 1),
    "update": lambda desk, member: desk.another().update(member, lambda now: attrs.evolve(now, profile={"seen": 1})),
    "look": lambda desk, member: desk.do("state", member),
}


@pytest.mark.parametrize("how", CLEANUPS)
def test_sg53_cleanup_keeps_the_remaining_life(desk: BaseManager, how: str):
    """Given 60 s left; when cleaned; then at most 60 s left. The original: fixed 300 s."""
    member = desk.say("hi", "offer", "5", "nobody has this").state.member_id
    ends = desk.document(member).deadline
    assert ends is not None
    desk.wait(120)
    desk.another().update(member, lambda now: attrs.evolve(now, profile={**now.profile, "seen": 1}))
    desk.wait(120)
    CLEANUPS[how](desk, member)
    after = desk.document(member)
    assert after.deadline == ends
    assert after.authenticated
    desk.wait(61)
    said = words(desk.say("hello?"))
    assert "Your session ended" in said or how == "reset"
    assert not [call for call in desk.core.calls if call.name == "createCredex"]


def test_sg53_a_mended_document_keeps_the_remaining_life(desk: BaseManager, client: Client):
    """The same when the document was damaged; where the damage took the session's end, it is no later than it was."""
    member = desk.say("hi", "offer", "5").state.member_id
    before = desk.document(member)
    assert before.deadline is not None
    (key,) = client.keys(f"*:{member}:state")
    for spoilt in (b"{", client.hget(key, "d").replace(b'"_deadline":"2', b'"_deadline":"x')):
        client.hset(key, "d", spoilt)
        assert desk.do("recover", member).outcome == "mended"
        after = desk.document(member).deadline
        assert after is not None
        assert after <= before.deadline


def test_sg54_reset_works(desk: BaseManager):
    """Given a session in a flow.

    When reset; then the flow is gone, member, channel and token kept, and memory agrees with the store. The original:
    the store loses channel, profile and flag, and memory keeps the old flow.
    """
    before = desk.say("hi", "offer", "5", "alan").state
    assert step(before) == ("offer", "confirm")
    done = desk.do("reset", before.member_id)
    assert set(done.flows) == {"dashboard", "offer"}
    after = desk.document(before.member_id)
    kept = ("member_id", "channel", "jwt_token", "authenticated", "profile", "current_account", "channels", "deadline")
    assert {name: getattr(after, name) for name in kept} == {name: getattr(before, name) for name in kept}
    assert (after.run, after.suspended, after.version) == (None, (), before.version + 1)
    outcome = desk.say("yes")  # at the worker whose memory still has the offer
    assert step(outcome.state) == ("dashboard", "menu")
    assert not [call for call in desk.core.calls if call.name == "createCredex"]
    assert outcome.state.version == after.version + 1
    (entry,) = [entry for entry in desk.worker.history(before.member_id) if entry.kind == "reset"]
    assert (entry.detail["by"], entry.source) == ("operator", "confirm")


def test_sg56_the_wipe_tool_wipes(desk: BaseManager, client: Client):
    """Given a stuck session; when it is wiped; then it is gone.

    The original: deletes from the other store and answers success.
    """
    member = desk.say("hi", "offer", "5").state.member_id
    (key,) = client.keys(f"*:{member}:state")
    client.hset(key, "d", b"{stuck")
    with pytest.raises(VimbisoError):
        desk.do("state", member)
    done = desk.do("wipe", member)
    assert done.removed == ("state", "previous", "turns")
    left = {each.rpartition(b":")[2] for each in client.keys(f"*:member:{member}:*")}
    assert left == {b"audit", b"tokens"}
    assert desk.do("state", member) is None
    outcome = desk.say("hi")  # at the worker whose memory still has the offer
    assert (outcome.status, step(outcome.state)) == ("advanced", ("dashboard", "menu"))
    assert "session" not in words(outcome).lower()
    entries = desk.worker.ask(ReadAudit(member))
    assert FlowAuditLogger.faults(entries) == ()
    kinds = [entry.kind for entry in desk.worker.history(member)]
    assert "wipe" in kinds
    assert "recovery" not in kinds


def test_sg56_a_wiped_member_confirms_nothing_twice(desk: BaseManager):
    """The tokens outlive the wipe: what was confirmed before it is not confirmed by the same message again."""
    desk.say("hi", "offer", "5", "alan")
    confirm = desk.message("yes")
    member = desk.worker.handle(confirm).state.member_id
    made = [call.key for call in desk.core.calls if call.name == "createCredex"]
    desk.do("wipe", member)
    assert desk.another().handle(confirm).status == "duplicate"
    assert [call.key for call in desk.core.calls if call.name == "createCredex"] == made
    assert len(made) == 1


def test_an_offer_is_not_walked_back_over(desk: BaseManager):
    """Once it is made, or may have been, neither `back` nor an operator leads to its confirmation again."""
    desk.core.faults = (Fault("lost", "createCredex", times=99),)
    confirming = desk.say("hi", "offer", "5", "alan").state
    desk.say("yes")
    with pytest.raises(NotRecovered) as error:
        desk.do("recover", confirming.member_id, to=confirming.version)
    assert error.value.barrier == confirming.version + 1
    assert desk.document(confirming.member_id).call is not None


def test_a_changed_handle_takes_the_recipient_with_it(desk: BaseManager):
    """The account that was looked up for one handle is never offered to under another."""
    desk.say("hi", "offer", "5", "alan")
    walked = desk.say("back").state
    assert walked.run is not None
    assert walked.run.flow_data.data.fields["to"]["name"]
    desk.core.faults = (Fault("down", "getAccountByHandle", times=1),)
    failed = desk.say("katherine").state
    assert step(failed) == ("offer", "handle")
    assert failed.run is not None
    assert failed.run.flow_data.data.fields["to"]["name"] == ""
    assert "Katherine" in words(desk.say("katherine"))
