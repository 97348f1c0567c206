"""Flows that cannot go on by their own declaration: the fault is said and audited, and the member can go on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import attrs
import pytest

from vimbiso_fsm import (
    AsyncFlowStateManager,
    Bot,
    Call,
    Caller,
    Channel,
    Flow,
    FlowStateManager,
    Message,
    NoData,
    Outcome,
    Refused,
    State,
    Text,
    Transition,
    Turn,
    call,
)
from vimbiso_fsm.document.document import Document
from vimbiso_fsm.engine.commit import Decision
from vimbiso_fsm.engine.decide import decide
from vimbiso_fsm.engine.events import LeaseExpired
from vimbiso_fsm.errors import MemberNotFound, VersionConflict
from vimbiso_fsm.flow.calls import READ_ONLY, STANDARD, CallPolicy

NOW = datetime(2026, 11, 22, 9, 15, 2, tzinfo=UTC)
CHANNEL = Channel("web", "somebody")


class Office(Protocol):
    """A port."""

    def stamp(self, *, caller: Caller = Caller()) -> int | Refused: ...  # noqa: B008


class FakeOffice:
    """An office that gives its answers in turn, and raises those that are exceptions."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.keys: list[str] = []

    def stamp(self, *, caller: Caller = Caller()) -> int | Refused:  # noqa: B008
        self.keys.append(caller.key)
        answer = self.answers.pop(0) if self.answers else 1
        if isinstance(answer, Exception):
            raise answer
        return answer


def stamp(turn: Turn[object]) -> Call[int | Refused]:
    """Propose the call of the office."""
    return call(Office.stamp)


def never(turn: Turn[object]) -> bool:
    """Decline silently."""
    return False


def closed(turn: Turn[object]) -> bool | Refused:
    """Refuse because the office is closed."""
    return Refused("office.closed")


END: State[object] = State("end", final=True)


def say(manager: FlowStateManager, *texts: str, start: int = 0) -> Outcome:
    """Send texts as one message each, and return the last outcome."""
    return [manager.handle(Message(CHANNEL, f"m{start + n}", text)) for n, text in enumerate(texts)][-1]


def office(*done: Transition[NoData], policy: CallPolicy = STANDARD) -> Flow[NoData]:
    """Make a flow that makes a call after a question, with the given transitions after the call."""
    return Flow(
        "office", initial="ask",
        states=[State("ask", ask=Text("Stamp it?")), State("stamping", call=stamp, policy=policy), END],
        transitions=[Transition("go", "ask", "stamping"), *done],
    )  # fmt: skip


def test_a_home_that_only_ends_is_begun_a_bounded_number_of_times():
    """A flow that cancels itself at once fails as `Stuck`, within a bound."""
    home: Flow[NoData] = Flow(
        "home", initial="pass",
        states=[State("pass"), State("gone", final=True, cancels=True)],
        transitions=[Transition("auto", "pass", "gone")],
    )  # fmt: skip
    manager = FlowStateManager.in_memory(Bot([home]))
    outcome = say(manager, "hi")
    assert outcome.status == "failed"
    entry = manager.history(outcome.state.member_id)[-1]
    assert (entry.kind, entry.detail["type"]) == ("error", "Stuck")


def test_states_that_only_pass_end():
    """At most `Limits.autos` states are passed without a question."""
    ring: Flow[NoData] = Flow(
        "ring", initial="a",
        states=[State("a"), State("b")],
        transitions=[Transition("auto", "a", "b"), Transition("auto", "b", "a")],
    )  # fmt: skip
    blocked = Flow(
        "blocked", initial="a", states=[State("a"), END], transitions=[Transition("auto", "a", "end", conditions=never)]
    )
    for flow in (ring, blocked):
        outcome = say(FlowStateManager.in_memory(Bot([flow])), "hi")
        assert outcome.status == "failed"
        assert outcome.state.run is None


def test_a_sub_flow_given_something_else():
    """The input of a sub-flow must be an instance of its data class."""
    child: Flow[NoData] = Flow(
        "child", initial="ask", states=[State("ask", ask=Text("?")), END], transitions=[Transition("go", "ask", "end")]
    )
    parent = Flow(
        "parent", initial="child",
        states=[State("child", flow=child, input=lambda turn: 7), END],
        transitions=[Transition("done", "child", "end"), Transition("cancelled", "child", "end")],
    )  # fmt: skip
    manager = FlowStateManager.in_memory(Bot([parent]))
    outcome = say(manager, "hi")
    assert outcome.status == "failed"
    assert manager.history(outcome.state.member_id)[-1].detail["type"] == "WrongCallback"


def test_a_result_of_a_reading_call_that_no_transition_takes_is_a_failure_with_its_reason():
    """If each `done` transition of a call that only reads refuses, `failed` fires with the guard's reason."""
    flow = office(
        Transition("done", "stamping", "end", conditions=closed),
        Transition("failed", "stamping", "ask"),
        policy=READ_ONLY,
    )
    manager = FlowStateManager.in_memory(
        Bot([flow], services={"office": FakeOffice()}, texts={"office.closed": "Closed."})
    )
    outcome = say(manager, "hi", "go")
    assert [reply.text for reply in outcome.replies] == ["Closed.", "Stamp it?"]


def test_a_failure_that_no_transition_takes_ends_the_flow():
    """A failed call without a `failed` transition ends the flow and starts home."""
    flow = office(
        Transition("done", "stamping", "end"), Transition("failed", "stamping", "ask", conditions=never)
    )  # fmt: skip
    manager = FlowStateManager.in_memory(Bot([flow], services={"office": FakeOffice(Refused("office.closed"))}))
    outcome = say(manager, "hi", "go")
    assert outcome.state.run is not None
    assert outcome.state.run.step == "ask"
    assert outcome.state.call is None


def waiting(tries: int = 1) -> tuple[Bot, Document]:
    """A member whose call has no answer."""
    flow = office(Transition("done", "stamping", "end"), Transition("failed", "stamping", "ask"))
    bot = Bot([flow], services={"office": FakeOffice()})
    first = decide(bot, None, Message(CHANNEL, "1", "hi"), NOW)
    asked = decide(bot, first.document, Message(CHANNEL, "2", "go"), NOW).document
    assert asked.call is not None
    return bot, attrs.evolve(asked, call=attrs.evolve(asked.call, tries=tries))


def stray(bot: Bot, document: Document, *, tries: int, later: float = 31) -> Decision:
    """Decide the expiry of the lease of the document's call, `later` seconds after the start."""
    pending = document.call
    assert pending is not None
    return decide(bot, document, LeaseExpired(pending.key, pending.root, tries), NOW + timedelta(seconds=later))


def test_a_stray_call_is_taken_up_with_its_key():
    """A call is taken up with the same key once its lease has expired; an event of another try is ignored."""
    bot, document = waiting()
    assert document.call is not None
    taken = stray(bot, document, tries=1)
    assert taken.call is not None
    assert taken.document.call is not None
    assert (taken.document.call.key, taken.document.call.tries) == (document.call.key, 2)
    assert not stray(bot, document, tries=1, later=5).changed
    assert not stray(bot, document, tries=2).changed


def test_a_stray_call_is_given_up_in_the_end():
    """A call that was taken up too often fails with `policy.given_up`."""
    bot, document = waiting(STANDARD.rounds)
    given_up = stray(bot, document, tries=STANDARD.rounds)
    assert given_up.document.call is None
    assert "could not find out" in given_up.replies[0].text


def test_a_service_that_never_answers_is_asked_with_one_key():
    """Each attempt in each round uses the same key; after the last round the call fails."""
    fake = FakeOffice(*[OSError("no line")] * 60)
    flow = office(Transition("done", "stamping", "end"), Transition("failed", "stamping", "ask"))
    manager = FlowStateManager.in_memory(Bot([flow], services={"office": fake}))
    outcome = say(manager, "hi", "go", *["hello?"] * (STANDARD.rounds - 1))
    assert len(set(fake.keys)) == 1
    assert len(fake.keys) == 3 * STANDARD.rounds
    assert outcome.state.call is None
    assert outcome.state.run is not None
    assert outcome.state.run.step == "ask"


def test_the_metadata_of_a_channel_is_bounded():
    """New metadata of a channel replaces the old if both together are too large."""
    bot = Bot([office(Transition("done", "stamping", "end"), Transition("failed", "stamping", "ask"))])
    document = None
    for number in range(4):
        channel = attrs.evolve(CHANNEL, metadata={f"k{number}": "x" * 2000})
        document = decide(bot, document, Message(channel, f"m{number}", "hi"), NOW).document
    assert document is not None
    assert list(document.channel.metadata) == ["k2", "k3"]


@pytest.mark.asyncio
async def test_the_async_shell_changes_and_saves():
    """The async manager updates and saves a document as the sync one does."""
    bot = Bot([office(Transition("done", "stamping", "end"), Transition("failed", "stamping", "ask"))])
    async with AsyncFlowStateManager.in_memory(bot, services={"office": FakeOffice()}) as manager:
        assert manager.bot.services
        member = (await manager.handle(Message(CHANNEL, "1", "hi"))).state.member_id
        assert await manager.member_of(CHANNEL) is None
        changed = await manager.update(member, lambda document: attrs.evolve(document, profile={"language": "sn"}))
        assert changed.profile == {"language": "sn"}
        saved = await manager.save(attrs.evolve(changed, profile={}))
        with pytest.raises(VersionConflict):
            await manager.save(changed)
        state = await manager.state(member)
        assert state is not None
        assert (state.version, state.profile) == (saved.version, {})
        assert [entry.kind for entry in await manager.history(member)] == ["command", "update", "update"]
        with pytest.raises(MemberNotFound):
            await manager.update("nobody", lambda document: document)
