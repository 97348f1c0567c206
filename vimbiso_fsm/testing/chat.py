"""Two ways to talk to a bot in a test.

`Talk` decides turn by turn without a store. `Chat` runs operations on a `MemoryStore`, one effect at a time, so that a
test can stop one between two effects. Both check the rules that hold of every turn.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Generic, TypeAlias, TypeVar

import attrs

from vimbiso_fsm.audit.entries import AuditEntry, seal, unseal
from vimbiso_fsm.audit.flow_audit import CommitEvent, FlowAuditLogger
from vimbiso_fsm.document.codec import decode, encode
from vimbiso_fsm.document.document import Document
from vimbiso_fsm.document.replies_codec import replies_from_raw
from vimbiso_fsm.engine.commit import Decision, caller
from vimbiso_fsm.engine.decide import decide
from vimbiso_fsm.engine.events import (
    CallReturned,
    Delivered,
    Event,
    ReplyRoute,
)
from vimbiso_fsm.engine.schedule import due, wake_at
from vimbiso_fsm.errors import DocumentTooLarge
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.calls import CallPolicy
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.replies import Buttons, Menu, Reply
from vimbiso_fsm.operations.cache import Cache
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.operations.effects import Deliver, Operation, Pause, ReadLegacy, RunCall
from vimbiso_fsm.operations.handle import Outcome, handle
from vimbiso_fsm.operations.wake import wake
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.store.requests import Commit, Entry, FindOwner, Link, Load, ReadAudit, Stored

R = TypeVar("R")

START = datetime(2026, 11, 22, 9, 15, 2, 123456, tzinfo=UTC)
"""The instant at which the clock of a test stands first."""
CHANNEL = Channel("whatsapp", "263771234567")
"""The channel of the member, unless a test names another."""


class Held(Generic[R]):
    """An operation that a test advances, one effect at a time.

    Attributes:
        context: The context of the operation.
        request: The effect that the operation waits for; None when it has ended.
        outcome: What it returned; None as long as it has not ended.
    """

    def __init__(self, context: Context, begin: Callable[[Context], Operation[R]]) -> None:
        """Begin an operation, up to its first effect."""
        self.context = context
        self.outcome: R | None = None
        self.request: Any = None
        self._operation = begin(context)
        self._go_on(lambda: self._operation.send(None))

    @property
    def told(self) -> list[CommitEvent]:
        """The commits that observers are told of."""
        return self.context.told

    @property
    def errors(self) -> list[tuple[str, BaseException]]:
        """The exceptions of callbacks, calls and deliveries."""
        return self.context.errors

    def take(self, answer: object, now: float | None = None, waited: float | None = None) -> None:
        """Give the operation the answer of `request`.

        An exception of a store is raised in it; that of a call or a delivery is an answer.
        """
        assert self.request is not None, "the operation has ended"
        if now is not None:
            self.context.now = now
        if waited is not None:
            self.context.waited = waited
        if isinstance(answer, BaseException) and not isinstance(self.request, RunCall | Deliver):
            self._go_on(lambda: self._operation.throw(answer))
        else:
            self._go_on(lambda: self._operation.send(answer))

    def _go_on(self, step: Callable[[], Any]) -> None:
        self.request = None
        try:
            self.request = step()
        except StopIteration as end:
            self.outcome = end.value


Waking: TypeAlias = Held[tuple[AuditEntry, ...]]
"""A wake of a member that a test holds."""


def words(replies: Iterable[Reply]) -> list[str]:
    """Return the text of each reply."""
    return [reply.text for reply in replies]


def choices(reply: Reply) -> dict[str, str]:
    """Return the choices of a reply: the id on the wire by the title that is shown."""
    if isinstance(reply, Buttons):
        return {button.title.text: button.id for button in reply.buttons}
    if isinstance(reply, Menu):
        return {row.title.text: row.id for row in reply.rows}
    return {}


def same(one: Decision, other: Decision) -> bool:
    """Return whether two decisions are equal apart from their exceptions, which are never equal."""
    return attrs.evolve(one, error=None) == attrs.evolve(other, error=None)


class Talk:
    """A conversation decided turn by turn.

    `replies`: those of the latest message and of the calls it caused; `decisions`: of that message; `entries`: the
    whole audit.
    """

    def __init__(self, bot: Bot, document: Document | None = None, *, channel: Channel = CHANNEL) -> None:
        self.bot = bot
        self.document = document
        self.channel = channel
        self.now = START
        self.sealed: list[Entry] = []
        self.decisions: list[Decision] = []
        self.replies: tuple[Reply, ...] = ()
        self.delivered: list[str] = []
        self.hold_calls = False
        self._ids = itertools.count(1)

    def say(self, text: str) -> Talk:
        """Type a message."""
        return self.send(text=text)

    def says(self, *texts: str) -> Talk:
        """Type several messages, one after the other."""
        for text in texts:
            self.say(text)
        return self

    def press(self, title: str) -> Talk:
        """Press the button or row of that title in the latest question."""
        return self.send(choice=self.shown[title])

    def send(self, **content: Any) -> Talk:
        """Send a message."""
        return self.take(Message(self.channel, f"id-{next(self._ids)}", **content))

    def wait(self, seconds: float) -> Talk:
        """Move the clock forward by so many seconds."""
        self.now += timedelta(seconds=seconds)
        return self

    def wake(self, *, delivers: bool = False, fails: bool = False) -> Talk:
        """Run everything that is due now.

        Args:
            delivers: Whether replies are delivered; otherwise they wait in the outbox.
            fails: Whether each delivery fails.
        """
        route: ReplyRoute = "deliver" if delivers else "keep"
        for _ in range(40):
            waiting = due(self.state, delivers=delivers) if self.document else []
            if not waiting or waiting[0][0] > self.now:
                return self
            self.take(waiting[0][1], route)
            assert self.last.changed, f"{waiting[0][1]} is due and does nothing"
            if self.last.delivery is not None and not self.hold_calls:
                said = words(self.bot.catalogue.replies(replies_from_raw(self.last.delivery.replies)))
                self.delivered += () if fails else said
                self._turn(Delivered(self.last.delivery.id, self.last.delivery.tries, not fails), route)
        raise AssertionError("something is always due")

    @property
    def waiting(self) -> list[str]:
        """The texts that wait in the outbox."""
        return [
            word
            for one in self.state.outbox
            for word in words(self.bot.catalogue.replies(replies_from_raw(one.replies)))
        ]

    @property
    def words(self) -> list[str]:
        """The texts of the latest replies."""
        return words(self.replies)

    @property
    def question(self) -> Reply:
        """The latest reply."""
        return self.replies[-1]

    @property
    def shown(self) -> dict[str, str]:
        """The choices of the latest replies: the id on the wire by title."""
        return {title: id for reply in self.replies for title, id in choices(reply).items()}

    @property
    def last(self) -> Decision:
        """The decision of the latest event."""
        return self.decisions[-1]

    @property
    def state(self) -> Document:
        """The document."""
        assert self.document is not None
        return self.document

    @property
    def place(self) -> str:
        """The current flow and step as `flow.step`; empty without a flow."""
        run = self.state.run
        return f"{run.flow}.{run.step}" if run else ""

    @property
    def fields(self) -> dict[str, Any]:
        """The data of the current run."""
        run = self.state.run
        return dict(run.flow_data.data.fields) if run else {}

    @property
    def entry(self) -> AuditEntry:
        """The latest audit entry."""
        return unseal(self.sealed[-1])

    def take(self, event: Event, route: ReplyRoute = "handle") -> Talk:
        """Decide an event, run the calls that it causes, and decide their answers."""
        self.decisions, self.replies = [], ()
        self._turn(event, route)
        for _ in range(20):  # a flow may go from call to call for ever
            if self.last.call is None or not self.last.changed or self.hold_calls:
                break
            self.answer(route)
        if isinstance(event, Message) and self.state.call is None:
            assert self.replies, "a message got no reply"
        return self

    def answer(self, route: ReplyRoute = "handle") -> None:
        """Run the call that the latest decision proposed, and decide its answer."""
        pending = self.state.call
        assert pending is not None
        proposed = self.last.call
        assert proposed is not None
        result = run_call(self.bot, RunCall(proposed, caller(self.state, pending), CallPolicy(), pending))
        unknown = isinstance(result, BaseException)
        self._turn(CallReturned(pending.key, pending.root, None if unknown else result, unknown, pending.tries), route)

    def _turn(self, event: Event, route: ReplyRoute = "handle") -> None:
        before = self.document
        decision = decide(self.bot, before, event, self.now, route=route)
        check_decision(self.bot, before, event, self.now, decision, route)
        self.decisions.append(decision)
        self.replies += decision.replies
        if decision.changed:
            assert decision.entry is not None
            previous = self.sealed[-1].digest if self.sealed else ""
            self.sealed.append(seal(decision.entry, decision.raw, previous))
            assert FlowAuditLogger.faults(self.sealed) == ()
            self.document = decision.document
        elif before is None:
            self.document = decision.document


def check_decision(
    bot: Bot,
    before: Document | None,
    event: Event,
    now: datetime,
    decision: Decision,
    route: ReplyRoute = "handle",
) -> None:
    """Check the rules that hold of every decision.

    Raises:
        AssertionError: A rule does not hold.
    """
    assert same(decide(bot, before, event, now, route=route), decision), "deciding twice gave two decisions"
    if before is not None:
        read_back = decode(encode(before))
        assert read_back == before, "the document read back differs"
        again = decide(bot, read_back, event, now, route=route)
        assert same(again, decision), "the decision on what was read back differs"
    assert bot.validator.validate(decision.document).valid
    for reply in decision.replies:
        titles = choices(reply)
        assert len(titles) <= 10
    if not decision.changed:
        assert before is None or decision.document == before
        return
    assert decision.document.version == (before.version if before else 0) + 1
    assert decode(decision.raw) == decision.document, "what is stored is not what was decided"
    assert before is None or decision.document.last_updated >= before.last_updated
    assert decision.entry is not None
    assert decision.entry.version == decision.document.version
    assert unseal(seal(decision.entry, decision.raw, "")).version == decision.document.version
    if route != "handle" and decision.replies and decision.status != "failed":
        assert decision.document.outbox, "replies that answer no message are not kept"


def run_call(bot: Bot, request: RunCall) -> object:
    """Run a call once and return its result or its exception."""
    method = getattr(bot.services[request.call.service], request.call.method)
    arguments = dict(request.call.arguments)
    if "caller" in inspect.signature(method).parameters:
        arguments["caller"] = request.caller
    try:
        return method(**arguments)
    except Exception as error:  # noqa: BLE001  # whatever a service raises is the answer of the call
        return error


class Clock:
    """A clock that stands still until a test moves it. `at`: seconds since the epoch."""

    def __init__(self) -> None:
        self.at = START.timestamp()

    def __call__(self) -> float:
        """Return the instant."""
        return self.at


def on_clock(services: Mapping[str, object], clock: Callable[[], float]) -> None:
    """Give services that have a `clock` the clock of the test."""
    for service in services.values():
        if hasattr(service, "clock"):
            vars(service)["clock"] = clock


class Chat:
    """Conversations on a `MemoryStore`; the test performs each effect.

    `delivers`: whether wakings deliver; `delivered`: what was; `plan`: what the next deliveries raise, if anything.
    """

    def __init__(self, bot: Bot, *, channel: Channel = CHANNEL, cached: bool = True) -> None:
        self.bot = bot
        self.clock = Clock()
        on_clock(bot.services, self.clock)
        self.store = MemoryStore(self.clock)
        self.channel = channel
        self.cache = Cache(100 if cached else 0)
        self.outcome: Outcome | None = None
        self.delivers = False
        self.delivered: list[Deliver] = []
        self.plan: list[BaseException | None] = []
        self._ids = itertools.count(1)
        self._began: dict[Held[Any], float] = {}
        self._paused = 0.0

    def message(self, text: str | None = None, choice: str | None = None, id: str = "", **more: Any) -> Message:
        """A new message of the member."""
        return Message(self.channel, id or f"id-{next(self._ids)}", text, choice, **more)

    def begin(self, message: Message, *, cache: Cache | None = None, patience: float = 5.0) -> Held[Outcome]:
        """Begin to handle a message, up to its first effect."""
        cache = self.cache if cache is None else cache
        context = Context(self.bot, cache, self.clock.at, patience=patience)
        exchange = Held(context, partial(handle, message=message))
        self._began[exchange] = self._paused
        return exchange

    def waking(self, member_id: str = "", *, answer: CallReturned | None = None, cache: Cache | None = None) -> Waking:
        """Begin to wake a member, up to the first effect."""
        cache = self.cache if cache is None else cache
        member_id = member_id or self.member_id()
        context = Context(self.bot, cache, self.clock.at)
        waking = Held(context, partial(wake, member_id=member_id, delivers=self.delivers, answer=answer))
        self._began[waking] = self._paused
        return waking

    def wake(self, member_id: str = "", *, answer: CallReturned | None = None) -> Waking:
        """Wake a member and run to the end."""
        return self.end(self.waking(member_id, answer=answer))

    def end(self, waking: Waking, *, bound: int = 400) -> Waking:
        """Run a wake to its end."""
        for _ in range(bound):
            if waking.request is None:
                return waking
            self.step(waking)
        raise AssertionError(f"a waking did not end within {bound} steps")

    def wait(self, seconds: float) -> Chat:
        """Move the clock forward by so many seconds."""
        self.clock.at += seconds
        return self

    def wakes_at(self, member_id: str = "") -> datetime | None:
        """Return the instant of the member's wake-up; None without one."""
        at = self.store._due.get(member_id or self.member_id())
        return None if at is None else datetime.fromtimestamp(at, UTC)

    @property
    def taken(self) -> list[str]:
        """The texts of all deliveries."""
        return [word for each in self.delivered for word in words(each.replies)]

    def waited(self, exchange: Held[Any]) -> float:
        """Return the seconds since an operation began."""
        return self._paused - self._began[exchange]

    def perform(self, step: Any) -> object:
        """Perform an effect and return its answer."""
        if isinstance(step, RunCall):
            return run_call(self.bot, step)
        if isinstance(step, Deliver):
            fate = self.plan.pop(0) if self.plan else None
            if fate is None:
                self.delivered.append(step)
            return fate
        if isinstance(step, Pause):
            self.clock.at += 0.01
            self._paused += 0.1
            return None
        if isinstance(step, ReadLegacy):
            return None
        try:
            return self.store.perform(step)
        except DocumentTooLarge as error:
            return error

    def step(self, exchange: Held[Any]) -> None:
        """Perform the effect that an operation waits for, and give it the answer."""
        assert exchange.request is not None
        exchange.take(self.perform(exchange.request), self.clock.at, self.waited(exchange))

    def finish(self, exchange: Held[Outcome], *, bound: int = 200) -> Outcome:
        """Run an operation to its end and return the outcome."""
        for _ in range(bound):
            if exchange.outcome is not None:
                return exchange.outcome
            self.step(exchange)
        raise AssertionError(f"an exchange did not end within {bound} steps")

    def handle(self, message: Message) -> Outcome:
        """Handle a message and return the outcome."""
        self.outcome = self.finish(self.begin(message))
        return self.outcome

    def say(self, *texts: str) -> Outcome:
        """Type one or more messages and return the outcome of the last."""
        for text in texts:
            self.handle(self.message(text))
        assert self.outcome is not None
        return self.outcome

    def press(self, title: str) -> Outcome:
        """Press the choice of the latest outcome that has this title."""
        assert self.outcome is not None
        shown = {name: id for reply in self.outcome.replies for name, id in choices(reply).items()}
        return self.handle(self.message(choice=shown[title]))

    @property
    def words(self) -> list[str]:
        """The texts of the latest outcome."""
        assert self.outcome is not None
        return words(self.outcome.replies)

    def member_id(self) -> str:
        """Return the id of the member or guest on the channel."""
        from vimbiso_fsm.document.ids import guest_id

        linked: Any = self.store.perform(FindOwner(self.channel))
        return linked.member_id or guest_id(self.channel)

    def stored(self, member_id: str = "") -> Stored:
        """Return what the store keeps of a member."""
        stored = self.store.perform(Load(member_id or self.member_id()))
        assert isinstance(stored, Stored)
        return stored

    def document(self, member_id: str = "") -> Document:
        """Return the stored document."""
        data = self.stored(member_id).document
        assert data is not None
        return decode(data)

    def entries(self, member_id: str = "") -> tuple[Entry, ...]:
        """Return the stored audit entries."""
        entries: Any = self.store.perform(ReadAudit(member_id or self.member_id()))
        return tuple(entries)

    def plant(self, document: Document, **raw: Any) -> None:
        """Store a document; the channel of a member is linked."""
        self.plant_bytes(document.member_id, encode(document))
        if not document.guest:
            self.store.perform(Link(document.channel, document.member_id))

    def plant_bytes(self, member_id: str, data: bytes) -> None:
        """Store any bytes as a member's document."""
        head = self.stored(member_id).head
        token = f"planted-{head.version}"
        note = AuditEntry(head.version + 1, START, member_id, ("whatsapp", ""), "update", "advanced", token, token)
        entry = seal(note, data, head.digest)
        result = self.store.perform(Commit(member_id, head, token, token, "", data, entry))
        assert type(result).__name__ == "Committed"

    def check(self) -> None:
        """Check every member of the store: a valid document, a whole audit that ends with it, and no lost wake-up.

        Raises:
            AssertionError: A rule does not hold.
        """
        for member_id in self.store._members:
            stored, entries = self.stored(member_id), self.entries(member_id)
            assert FlowAuditLogger.faults(entries) == ()
            if stored.document is None:
                continue
            document = decode(stored.document)
            assert self.bot.validator.validate(document).valid
            assert encode(document) == stored.document
            assert [entry.version for entry in entries] == list(range(1, document.version + 1))
            assert stored.head.version == document.version
            assert entries[-1].digest == stored.head.digest
            wake = None if document.moved else wake_at(document, delivers=self.delivers)
            at = self.wakes_at(member_id)
            assert wake is None or (at is not None and at <= wake), "a wake-up was lost"
