"""Timeouts of random flows, under messages, silences, pauses of the worker and restarts at any instant.

A `Witness` compares each document with the one before it, and the audit between them. It knows the promises: a run that
stands in a state with a timer times out once, at its instant or later, unless it leaves the state before.

- No timer fires before its instant, or twice, or after its run has left the state.
- Where no session is open, no timer is overdue after a waking; in a session, none of the current run is.
- A run with a timer ends by a message of the member or by its timer, and by nothing else: not by the end of a session,
  by the timer of another run, by a call or by a restart.
- When the member stays away, each timer that is left fires.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Literal

import attrs
import pytest
from hypothesis import assume, event, given, note
from hypothesis import strategies as st

from tests.bots import Bank, sign_in
from tests.examples import examples
from vimbiso_fsm.audit.entries import AuditEntry
from vimbiso_fsm.document.document import Document, Run
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.calls import READ_ONLY, Call, call
from vimbiso_fsm.flow.commands import Shortcut
from vimbiso_fsm.flow.flow import Flow
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.flow.turn import Changes, Turn, authenticated
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.replies import Reply, Text
from vimbiso_fsm.runtime.flow_state import FlowStateManager
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.store.requests import Request
from vimbiso_fsm.store.retention import TIMER_GRACE
from vimbiso_fsm.testing.chat import START

YOU = Channel("sms", "16505550001")
DAY = 86_400.0
SECONDS = (5.0, 60.0, 299.0, 300.0, 301.0, 3_600.0, 9 * 3_600.0, 3 * DAY, 40 * DAY)
"""Timeouts, shorter and longer than the silence of 300 s, the limit of 8 h and the 30 days of a document."""
WAITS = (0.0, 1.0, 5.0, 59.0, 60.0, 240.0, 300.0, 301.0, 3_599.0, 3_600.0, 8 * 3_600.0, DAY, 3 * DAY)
LEAVING = ("hi", "go", "yes", "no", "menu", "cancel", "back", "f0", "f1", "f2")
"""Words by which a member may leave a run, or decline to carry on with it."""
WORDS = (*LEAVING, "go", "f0", "f1", "f2", "f0", "f1", "f2", "yes", "help", "what?", "sesame", "sesame")


# Random bots ----------------------------------------------------------------------------------------------------------


@attrs.frozen
class Answers:
    """The data of a flow."""

    text: str = ""


@attrs.frozen
class Place:
    """A state of a random flow.

    Attributes:
        kind: A question with a button, one that reads a text, a call, or a sub-flow.
        timeout: The seconds of its timer; None without one. Only a question has one.
        form: The form in which the timeout is declared.
        late: The place to which the timeout leads, counted over the places and the two ends.
    """

    kind: Literal["button", "text", "call", "sub"]
    timeout: float | None
    form: Literal["seconds", "timedelta", "function", "instant"]
    late: int


@attrs.frozen
class Plan:
    """A random bot: the places of three flows, whether each requires a login, how one logs in, and home's timer."""

    places: tuple[tuple[Place, ...], ...]
    logins: tuple[bool, ...]
    entry: Literal["", "asks", "calls"]
    home: float | None


def stock(turn: Turn[Any]) -> Call[Any]:
    """Propose a call that changes nothing."""
    return call(Bank.stock)


def declared(place: Place) -> Any:
    """Return the timeout of a place in its form."""
    seconds = place.timeout
    if seconds is None:
        return None
    forms: dict[str, Any] = {
        "seconds": seconds,
        "timedelta": timedelta(seconds=seconds),
        "function": lambda turn: seconds,
        "instant": lambda turn: turn.now + timedelta(seconds=seconds),
    }
    return forms[place.form]


def flow_of(name: str, places: Sequence[Place], login: bool, sub: Flow[Any] | None) -> Flow[Answers]:
    """Make a flow: each place leads to the next one, and by its timeout to any."""
    names = [f"s{number}" for number in range(len(places))]
    ends = [*names, "end", "away"]
    states: list[State[Answers]] = []
    ways: list[Transition[Answers]] = []
    for number, (here, place) in enumerate(zip(names, places, strict=True)):
        onward, kind = ends[number + 1], place.kind if place.kind != "sub" or sub else "button"
        ask, timeout = Text(f"{name} {here}?"), declared(place) if kind in ("button", "text") else None
        if kind == "button":
            states.append(State(here, ask=ask, timeout=timeout))
            ways.append(Transition("go", here, onward))
        elif kind == "text":
            states.append(State(here, ask=ask, reads=str, into="text", timeout=timeout))
            ways.append(Transition("answer", here, onward))
        elif kind == "call":
            states.append(State(here, call=stock, policy=READ_ONLY))
            ways.append(Transition(["done", "failed"], here, onward))
        else:
            states.append(State(here, flow=sub))
            ways.append(Transition(["done", "cancelled"], here, onward))
        if timeout is not None:
            ways.append(Transition("timeout", here, ends[place.late % len(ends)]))
        ways.append(Transition("away", here, "away")) if kind == "button" else None
    states += [State("end", say=Text("The end."), final=True)]
    if any(way.dest == "away" for way in ways):
        states.append(State("away", say=Text("Away."), final=True, cancels=True))
    return Flow(
        name, data=Answers, initial="s0", requires=authenticated if login else (), states=states, transitions=ways
    )


def logged_in(turn: Turn[Any]) -> Changes[Any]:
    """Log the member in after a call."""
    return turn.changes(member=attrs.evolve(turn.member, authenticated=True, jwt_token="token-2"))


calling_in: Flow[Any] = Flow(
    "calling_in", initial="asking",
    states=[
        State("asking", call=stock, policy=READ_ONLY),
        State("known",  final=True),
        State("failed", final=True, cancels=True),
    ],
    transitions=[
        Transition("done",   "asking", "known", prepare=logged_in),
        Transition("failed", "asking", "failed"),
    ],
)  # fmt: skip


def bot_of(plan: Plan) -> Bot:
    """Make the bot of a plan. Each flow is begun by its name, from home or where nothing is open, or as a sub-flow."""
    flows: list[Flow[Any]] = []
    for number in range(len(plan.places) - 1, -1, -1):
        sub = flows[-1] if flows else None
        flows.append(flow_of(f"f{number}", plan.places[number], plan.logins[number] and plan.entry != "", sub))
    menu: list[Transition[Any]] = [Transition("again", "menu", "menu")]
    if plan.home is not None:
        menu.append(Transition("timeout", "menu", "menu"))
    home: Flow[Any] = Flow(
        "home", initial="menu", states=[State("menu", ask=Text("Home?"), timeout=plan.home)], transitions=menu
    )
    return Bot(
        [home, *flows],
        home=home,
        entry={"": None, "asks": sign_in, "calls": calling_in}[plan.entry],
        shortcuts=[Shortcut(flow, _word(flow.name)) for flow in flows],
        services={"bank": Bank()},
    )


def _word(name: str) -> Callable[[str], Sequence[str] | None]:
    return lambda text: [] if text == name else None


PLACES = st.builds(
    Place,
    kind=st.sampled_from(["button", "button", "text", "call", "sub"]),
    timeout=st.sampled_from([None, *SECONDS]),
    form=st.sampled_from(["seconds", "timedelta", "function", "instant"]),
    late=st.integers(0, 5),
)
PLANS = st.builds(
    Plan,
    places=st.tuples(*[st.lists(PLACES, min_size=1, max_size=4).map(tuple)] * 3),
    logins=st.tuples(*[st.booleans()] * 3),
    entry=st.sampled_from(["", "asks", "calls"]),
    home=st.sampled_from([None, None, 3_600.0]),
)
ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("say"), st.sampled_from(WORDS)),
        st.tuples(st.just("wait"), st.sampled_from(WAITS)),
        st.tuples(st.just("wake"), st.booleans()),
        st.tuples(st.just("restart"), st.none()),
    ),
    min_size=4,
    max_size=24,
)


# The world ------------------------------------------------------------------------------------------------------------


class InMemory:
    """A store in memory, on a clock in the test's hand."""

    def __init__(self) -> None:
        self.at: float = START.timestamp()
        self._store = MemoryStore(lambda: self.at)

    def perform(self, request: Request) -> Any:
        """Perform a request."""
        return self._store.perform(request)

    def now(self) -> float:
        """Return the instant, in seconds since the epoch."""
        return self.at

    def sleep(self, seconds: float) -> None:
        """Move the clock."""
        self.at += seconds

    def close(self) -> None:
        """Do nothing."""


class OnServer:
    """A store on a server whose clock is moved by the store's shift."""

    def __init__(self, url: str) -> None:
        self._url, self._shift = url, 0.0
        self._store = AtomicStateManager.from_url(url)

    def perform(self, request: Request) -> Any:
        """Perform a request."""
        return self._store.perform(request)

    def now(self) -> float:
        """Return the instant, in seconds since the epoch; the server is on this machine."""
        return time.time() + self._shift

    def sleep(self, seconds: float) -> None:
        """Connect anew, with a later clock."""
        self._store.close()
        self._shift += seconds
        self._store = AtomicStateManager.from_url(self._url, shift=self._shift)

    def close(self) -> None:
        """Close the connections."""
        self._store.close()


class Witness:
    """A member, a manager that is restarted at times, and the promises that are open."""

    def __init__(self, bot: Bot, store: InMemory | OnServer) -> None:
        self.bot, self.store = bot, store
        self.fired: set[tuple[str, int]] = set()
        self.seen = 0
        self.said: list[str] = []
        self._ids = itertools.count()
        self.restart()
        self.member_id = ""
        self.say("hi")

    def restart(self) -> None:
        """Begin with another manager on the same store, which remembers nothing."""
        self.manager = FlowStateManager(self.bot, self.store, cache=0, deliver=self._deliver, rates=None)
        self.quiet = FlowStateManager(self.bot, self.store, cache=0, rates=None)
        for manager in (self.manager, self.quiet):
            manager._base.clock.follow(self.store.now)

    def _deliver(self, channel: Channel, replies: Sequence[Reply]) -> None:
        self.said += [reply.text for reply in replies]

    @property
    def document(self) -> Document:
        """The stored document."""
        document = self.manager.state(self.member_id)
        assume(document is not None)  # that of a guest who has answered nothing ends after a day
        assert document is not None
        return document

    def say(self, text: str) -> None:
        """Send a message."""
        before = self.document if self.member_id else None
        outcome = self.manager.handle(Message(YOU, f"m{next(self._ids)}", text))
        self.member_id = outcome.state.member_id
        assert outcome.status != "failed", f"{text!r} failed"
        self._judge(before, leaves=text in LEAVING)

    def wake(self, delivers: bool) -> None:
        """Wake the member; then nothing is overdue that may fire."""
        before, now = self.document, self.store.now()
        (self.manager if delivers else self.quiet).wake(self.member_id)
        self._judge(before)
        document = self.document
        if document.call is None:
            at_rest = document.session_since is None
            for run in timed(document):
                assert run.due is not None
                overdue = run.due.timestamp() <= now
                assert not overdue or not (at_rest or run is document.run), f"{run.id} is overdue after a waking"

    def _judge(self, before: Document | None, *, leaves: bool = False) -> None:
        """Compare the document with the one before, by the audit between them. `leaves`: the member may leave runs."""
        after = self.document
        fresh = [entry for entry in self.manager.history(self.member_id) if entry.version > self.seen]
        self.seen = after.version
        promised = {run.id: run for run in timed(before)} if before else {}
        assert not [entry for entry in fresh if entry.kind == "error"]
        fired = self._fired(fresh, promised)
        stands = {(run.id, run.entered) for run in (*after.suspended, *([after.run] if after.run else []))}
        for run in promised.values():
            left = (run.id, run.entered) not in stands
            assert not left or leaves or run.id in fired or _moved(fresh, run), f"{run.id} left without its timer"
            kept = [now for now in timed(after) if (now.id, now.entered) == (run.id, run.entered)]
            assert left or run.id in fired or [now.due for now in kept] == [run.due], f"the instant of {run.id} moved"

    def _fired(self, entries: Sequence[AuditEntry], promised: dict[str, Run]) -> set[str]:
        """Return the runs that timed out, each at its instant or later and once for an entry of a state."""
        found: set[str] = set()
        for entry in entries:
            for step in entry.steps:
                if step.trigger != "timeout":
                    continue
                assert step.dest is not None
                run = promised.get(step.run)
                if run is not None and step.run not in found:
                    assert run.due is not None
                    assert step.source == run.step, f"{run.id} timed out in a state that it has left"
                    assert entry.at >= run.due, f"{run.id} timed out {run.due - entry.at} too early"
                    assert (run.id, run.entered) not in self.fired, f"{run.id} timed out twice"
                    self.fired.add((run.id, run.entered))
                found.add(step.run)
        return found

    def stay_away(self) -> None:
        """Leave the member alone until no timer is left; a chain of timeouts may lead in a circle."""
        self.store.sleep(8 * 3_600.0 + 1)
        self.wake(delivers=True)
        for _ in range(12):
            document = self.document
            dues = [run.due for run in timed(document) if run.due is not None]
            if not dues:
                return
            assert document.session_since is None, "a session does not end"
            self.store.sleep(max(min(dues).timestamp() - self.store.now(), 0.0) + 0.001)
            before = {(run.id, run.entered) for run in timed(document)}
            self.restart()
            self.wake(delivers=True)
            assert {(run.id, run.entered) for run in timed(self.document)} != before, "a timer did not fire"


def timed(document: Document) -> list[Run]:
    """Return the runs with a timer."""
    runs = (*document.suspended, *([document.run] if document.run else []))
    return [run for run in runs if run.due is not None]


def _moved(entries: Sequence[AuditEntry], run: Run) -> bool:
    """Return whether the run itself made a step, because its call or its sub-flow has ended."""
    return any(step.run == run.id and step.dest is not None for entry in entries for step in entry.steps)


def play(plan: Plan, acts: Sequence[tuple[str, Any]], store: InMemory | OnServer) -> None:
    """Play the acts, then leave the member alone. No pause of the worker is longer than `TIMER_GRACE`."""
    witness, paused = Witness(bot_of(plan), store), 0.0
    for act, value in acts:
        note(f"{act} {value}")
        paused = paused + value if act == "wait" else paused
        if paused > TIMER_GRACE - DAY:
            witness.wake(delivers=True)
            paused = 0.0
        if act == "say":
            witness.say(value)
        elif act == "wait":
            store.sleep(value)
        elif act == "wake":
            witness.wake(value)
        else:
            witness.restart()
    witness.stay_away()
    event(f"timers fired: {min(len(witness.fired), 4)}")
    store.close()


@given(PLANS, ACTS)
@examples(120)
def test_each_timeout_fires_once_or_its_run_has_left(plan: Plan, acts: Sequence[tuple[str, Any]]):
    """Each timer fires once, at its instant or later, unless its run has left the state before."""
    play(plan, acts, InMemory())


@pytest.mark.embedded
@given(plan=PLANS, acts=ACTS)
@examples(6)
def test_each_timeout_fires_once_on_a_server(valkey_server: Any, plan: Plan, acts: Sequence[tuple[str, Any]]):
    """A server keeps the same promises, with its own clock."""
    with valkey_server.client() as client:
        client.flushall()
    play(plan, acts, OnServer(valkey_server.url))
