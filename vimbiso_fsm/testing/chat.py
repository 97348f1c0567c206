"""Two ways to talk to a bot in a test.

`Talk` decides turn by turn without a store. `Chat` runs operations on a `MemoryStore`, one effect at a time, so that a
test can stop one between two effects. Both check the rules that hold of every turn, and raise `AssertionError` when one
is broken. An exception of the bot's code is an outcome of the conversation, and is logged with its traceback.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final, Generic, Self, TypeAlias, TypeVar

import attrs

from vimbiso_fsm.audit.entries import AuditEntry, seal, unseal
from vimbiso_fsm.audit.flow_audit import CommitEvent, FlowAuditLogger
from vimbiso_fsm.audit.folding import first_of
from vimbiso_fsm.document.codec import decode, encode
from vimbiso_fsm.document.document import Document
from vimbiso_fsm.document.ids import instant
from vimbiso_fsm.document.replies_codec import replies_from_raw
from vimbiso_fsm.engine.commit import Decision, caller
from vimbiso_fsm.engine.decide import decide
from vimbiso_fsm.engine.events import CallReturned, Delivered, Event, ReplyRoute
from vimbiso_fsm.engine.reading import faults
from vimbiso_fsm.engine.schedule import due, wake_at
from vimbiso_fsm.engine.stranger import is_stranger
from vimbiso_fsm.errors import DocumentTooLarge
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.calls import CallPolicy
from vimbiso_fsm.flow.interrupts import is_interrupt
from vimbiso_fsm.messages.contents import Content
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.passed_on import PassedOn
from vimbiso_fsm.messages.replies import Buttons, Menu, Reply
from vimbiso_fsm.messages.sending import Answer, Sent
from vimbiso_fsm.operations.cache import Cache
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.operations.effects import (
    LEASE_OVER,
    Deliver,
    Operation,
    PassOn,
    Pause,
    ReadLegacy,
    RunCall,
    StandBack,
    TakePlace,
    is_lease_over,
)
from vimbiso_fsm.operations.handle import Outcome, handle
from vimbiso_fsm.operations.wake import wake
from vimbiso_fsm.runtime.binding import bind
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.store.requests import (
    Commit,
    Committed,
    Effect,
    Entry,
    FindOwner,
    Link,
    Load,
    ReadAudit,
    ReadDigests,
    Scan,
    Stored,
)

_log = logging.getLogger("vimbiso_fsm")
_R = TypeVar("_R")

START: Final = datetime(2026, 11, 22, 9, 15, 2, 123456, tzinfo=UTC)
"""The instant that the clock of a test shows first."""
CHANNEL: Final = Channel("whatsapp", "263771234567")
"""The channel of the member, unless a test names another."""


def words(replies: Iterable[Reply]) -> list[str]:
    """Return the text of each reply."""
    return [reply.text for reply in replies]


def choices(*replies: Reply) -> dict[str, str]:
    """Return the choices that replies show: the id on the wire by title."""
    found: dict[str, str] = {}
    for reply in replies:
        if isinstance(reply, Buttons):
            found |= {button.title.text: button.id for button in reply.buttons}
        elif isinstance(reply, Menu):
            found |= {row.title.text: row.id for row in reply.rows}
    return found


class Clock:
    """A clock that stands still until a test moves it.

    Attributes:
        at: Seconds since the epoch.
    """

    def __init__(self) -> None:
        self.at: float = START.timestamp()

    def __call__(self) -> float:
        """Return the instant."""
        return self.at


def on_clock(services: Mapping[str, object], clock: Callable[[], float]) -> None:
    """Give services that have an attribute `clock` the clock of the test."""
    for service in services.values():
        if hasattr(service, "clock"):
            vars(service)["clock"] = clock


# Turn by turn ---------------------------------------------------------------------------------------------------------


class Talk:
    """A conversation that is decided turn by turn, without a store.

    `say`, `press`, `wait` and the other methods that take turns return the conversation, so that calls can be chained.

    Attributes:
        bot: The bot.
        document: The member's document; None before the first message.
        channel: The channel of the messages.
        now: The instant of the next turn.
        sealed: The audit entries, oldest first.
        decisions: The decisions of the latest event and of the calls that it caused.
        replies: The replies of these decisions.
        delivered: The texts of all deliveries.
        hold_calls: Whether proposed calls and deliveries stay unanswered.
    """

    def __init__(self, bot: Bot, document: Document | None = None, *, channel: Channel = CHANNEL) -> None:
        self.bot = bot
        self.document = document
        self.channel = channel
        self.now: datetime = START
        self.sealed: list[Entry] = []
        self.decisions: list[Decision] = []
        self.replies: tuple[Reply, ...] = ()
        self.delivered: list[str] = []
        self.hold_calls = False
        self._ids = itertools.count(1)

    def say(self, text: str) -> Self:
        """Type a message."""
        return self.send(text)

    def says(self, *texts: str) -> Self:
        """Type several messages, one after the other."""
        for text in texts:
            self.say(text)
        return self

    def press(self, title: str) -> Self:
        """Press the button or row of the latest replies that has this title."""
        return self.send(choice=self.shown[title])

    def send(
        self,
        text: str | None = None,
        choice: str | None = None,
        *,
        kind: str = "text",
        sent_at: datetime | None = None,
        content: Content | None = None,
        burst: str = "",
    ) -> Self:
        """Send a message with the fields of `Message`."""
        message = Message(
            self.channel, f"id-{next(self._ids)}", text, choice,
            kind=kind, sent_at=sent_at, content=content, burst=burst,
        )  # fmt: skip
        return self.take(message)

    def wait(self, seconds: float) -> Self:
        """Move the clock forward."""
        self.now += timedelta(seconds=seconds)
        return self

    def wake(self, *, delivers: bool = False, fails: bool = False) -> Self:
        """Decide every event that is due by now.

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
            assert self.last.changed, f"{waiting[0][1]} is due and changes nothing"
            if self.last.delivery is not None and not self.hold_calls:
                if not fails:
                    self.delivered += self._words(self.last.delivery.replies)
                self._turn(Delivered(self.last.delivery.id, self.last.delivery.tries, not fails), route)
        raise AssertionError("after 40 events another one is due")

    @property
    def waiting(self) -> list[str]:
        """The texts that wait in the outbox."""
        return [text for item in self.state.outbox for text in self._words(item.replies)]

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
        return choices(*self.replies)

    @property
    def last(self) -> Decision:
        """The latest decision."""
        return self.decisions[-1]

    @property
    def state(self) -> Document:
        """The document, which is there since the first message."""
        assert self.document is not None, "no message was sent yet"
        return self.document

    @property
    def place(self) -> str:
        """The current flow and state as `flow.state`; "" without a flow."""
        run = self.state.run
        return f"{run.flow}.{run.step}" if run else ""

    @property
    def fields(self) -> dict[str, Any]:
        """The data of the current run."""
        run = self.state.run
        return dict(run.fields) if run else {}

    @property
    def entry(self) -> AuditEntry:
        """The latest audit entry."""
        return unseal(self.sealed[-1])

    def take(self, event: Event, route: ReplyRoute = "handle") -> Self:
        """Decide an event, run the calls that it causes, and decide their answers."""
        self.decisions, self.replies = [], ()
        self._turn(event, route)
        for _ in range(20):  # a flow may lead from call to call without an end
            if self.last.call is None or not self.last.changed or self.hold_calls:
                break
            self.answer(route)
        expected = self.state.call is None and self.state.is_reachable
        if isinstance(event, Message) and not event.burst and expected:
            assert self.replies, "a message got no reply"
        return self

    def answer(self, route: ReplyRoute = "handle") -> None:
        """Run the call that the latest decision proposed, and decide its answer."""
        state, proposed = self.state, self.last.call
        pending = state.call
        assert pending is not None, "no call is pending"
        assert proposed is not None, "the latest decision proposed no call"
        result = _run_call(
            self.bot, RunCall(proposed, caller(self.bot, state, pending), CallPolicy(), pending, state.member_id)
        )
        unknown = isinstance(result, BaseException)
        if isinstance(result, BaseException):
            _show(result)
        self._turn(CallReturned(pending.key, pending.root, None if unknown else result, unknown, pending.tries), route)

    def _turn(self, event: Event, route: ReplyRoute) -> None:
        before = self.document
        decision = decide(self.bot, before, event, self.now, route=route)
        check_decision(self.bot, before, event, self.now, decision, route)
        self.decisions.append(decision)
        if decision.error is not None:
            _show(decision.error)
        self.replies += decision.replies
        if decision.changed:
            assert decision.entry is not None
            previous = self.sealed[-1].digest if self.sealed else ""
            self.sealed.append(seal(decision.entry, decision.raw, previous))
            assert FlowAuditLogger.faults(self.sealed) == ()
            self.document, wrong = faults(self.bot, decision.raw)
            assert not wrong, f"what was stored cannot be read: {wrong}"
        elif before is None:
            self.document = decision.document

    def _words(self, raw: Iterable[Mapping[str, Any]]) -> list[str]:
        """Return the texts of stored replies."""
        return words(self.bot.catalogue.replies(replies_from_raw(raw)))


def check_decision(
    bot: Bot, before: Document | None, event: Event, now: datetime, decision: Decision, route: ReplyRoute = "handle"
) -> None:
    """Check the rules that hold of every decision.

    A decision is repeatable, also from the document as it is stored; a change is one version, one audit entry and one
    valid document; and a reply that answers no message is kept for its delivery.

    Raises:
        AssertionError: A rule does not hold.
    """
    assert _equal(decide(bot, before, event, now, route=route), decision), "deciding twice gave two decisions"
    if before is not None:
        stored = decode(encode(before))
        assert stored == before, "the document that is read differs from the one that was written"
        again = decide(bot, stored, event, now, route=route)
        assert _equal(again, decision), "the decision on the document that is read differs"
    assert bot.validator.validate(decision.document).valid
    assert all(len(choices(reply)) <= 10 for reply in decision.replies), "a reply has more than ten choices"
    if not decision.changed:
        assert before is None or decision.document == before, "a decision that changes nothing has changed the document"
        return
    assert decision.document.version == (before.version if before else 0) + 1
    assert decode(decision.raw) == decision.document, "the bytes to be stored differ from the document"
    assert before is None or decision.document.last_updated >= before.last_updated
    assert decision.entry is not None
    assert decision.entry.version == decision.document.version
    assert unseal(seal(decision.entry, decision.raw, "")).version == decision.document.version
    if route != "handle" and decision.replies and decision.status != "failed":
        assert decision.document.outbox, "replies that answer no message are not kept"


def _equal(decision: Decision, other: Decision) -> bool:
    """Return whether two decisions are equal apart from their exceptions, which never are."""
    return attrs.evolve(decision, error=None) == attrs.evolve(other, error=None)


def _show(error: BaseException) -> None:
    """Log an exception of the bot's code with its traceback, which a failing test then shows."""
    _log.error("a callback or call failed", exc_info=error)


def _run_call(bot: Bot, request: RunCall) -> object:
    """Run a call once and return its result or its exception.

    Raises:
        ServiceError: No service of the bot fits the call.
    """
    method = bind(bot.services, request)
    try:
        return method()
    except BaseException as error:  # whatever a service raises is the answer of the call
        if is_interrupt(error):
            raise
        return error


# Effect by effect -----------------------------------------------------------------------------------------------------


class Held(Generic[_R]):
    """An operation that a test advances, one effect at a time.

    Attributes:
        context: The context of the operation.
        request: The effect that the operation waits for; None when it has ended.
        outcome: The result of the operation; None as long as it has not ended.
    """

    def __init__(self, context: Context, begin: Callable[[Context], Operation[_R]], busy: Collection[str] = ()) -> None:
        """Begin an operation, up to its first effect.

        Args:
            context: The context of the operation.
            begin: Makes the operation.
            busy: The services that take no call. Whether one does is answered without a step of the test.
        """
        self._busy = busy
        self.context = context
        self.outcome: _R | None = None
        self.request: Any = None  # the class of the effect is what a test asserts, and then uses its fields
        self._operation = begin(context)
        self._go_on(lambda: self._operation.send(None))

    @property
    def told(self) -> list[CommitEvent]:
        """The commits that observers are told of."""
        return self.context.told

    @property
    def errors(self) -> list[tuple[str, BaseException]]:
        """The exceptions of callbacks, calls and deliveries, each with the reference of its turn."""
        return self.context.errors

    def take(self, answer: object, now: float | None = None, waited: float | None = None) -> None:
        """Give the operation the answer of `request`, and run it up to its next effect.

        Args:
            answer: The answer. An exception of a store is raised in the operation; that of a call or a delivery is an
                answer.
            now: The store's clock, in seconds since the epoch; None leaves it as it is.
            waited: Seconds since the operation began; None leaves them as they are.
        """
        assert self.request is not None, "the operation has ended"
        if now is not None:
            self.context.now = now
        if waited is not None:
            self.context.waited = waited
        if isinstance(answer, BaseException) and not isinstance(self.request, RunCall | Deliver | PassOn):
            self._go_on(lambda: self._operation.throw(answer))
        else:
            self._go_on(lambda: self._operation.send(answer))

    def _go_on(self, step: Callable[[], Effect[Any]]) -> None:
        self.request = None
        try:
            self.request = step()
            while isinstance(self.request, TakePlace):
                self.request = self._operation.send(self.request.service not in self._busy)
        except StopIteration as end:
            self.outcome = end.value


STORE_SECRET: Final = "of-every-chat-in-tests"  # noqa: S105  # it keys made-up numbers
"""The secret of the store of a `Chat`, so that a guest has the same id in each chat."""

Waking: TypeAlias = Held[tuple[AuditEntry, ...]]
"""A wake of a member that a test holds."""


class Chat:
    """Conversations on a `MemoryStore`, whose effects are performed one by one.

    A member id of "" is that of the member or guest on `channel`.

    Attributes:
        bot: The bot. Services that have an attribute `clock` get the clock of the chat.
        clock: The clock of the store.
        store: The store.
        channel: The channel of the messages.
        cache: The cache of operations that are given no other.
        outcome: The outcome of the latest message that was handled to its end.
        delivers: Whether a wake delivers replies; otherwise they wait in the outbox.
        delivered: The deliveries that succeeded.
        plan: What the next deliveries raise or answer; None is `Sent`, and so is each delivery after the end of the
            plan.
        inboxes: The names of the inboxes to which messages pass.
        passed: What the inboxes have taken.
        inbox_plan: What the inboxes raise or answer next, as in `plan`.
        busy: The services that take no call; `DELIVERY` for the function that delivers.
    """

    def __init__(self, bot: Bot, *, channel: Channel = CHANNEL, cached: bool = False) -> None:
        """Begin with an empty store.

        Args:
            bot: The bot.
            channel: The channel of the messages.
            cached: Whether documents are cached. Otherwise each operation reads what was stored.
        """
        self.clock: Clock = Clock()
        on_clock(bot.services, self.clock)
        self.store: MemoryStore = MemoryStore(self.clock, secret=STORE_SECRET)
        self.bot = bot
        self.channel = channel
        self.cache: Cache = Cache(100 if cached else 0)
        self.outcome: Outcome | None = None
        self.delivers = False
        self.delivered: list[Deliver] = []
        self.plan: list[BaseException | Answer | None] = []
        self.inboxes: set[str] = set()
        self.passed: list[PassedOn] = []
        self.inbox_plan: list[BaseException | Answer | None] = []
        self.busy: set[str] = set()
        self._ids = itertools.count(1)
        self._began: dict[Held[Any], float] = {}
        self._paused = 0.0

    @property
    def bot(self) -> Bot:
        """The bot, with the digests of the store."""
        return self._bot

    @bot.setter
    def bot(self, bot: Bot) -> None:
        self._bot = bot.with_digests(self.store.perform(ReadDigests()))

    # Whole operations -------------------------------------------------------------------------------------------------

    def next_id(self) -> str:
        """Return an id that no message has."""
        return f"id-{next(self._ids)}"

    def message(
        self, text: str | None = None, choice: str | None = None, *, id: str = "", sent_at: datetime | None = None
    ) -> Message:
        """Make a message with an id of its own, unless one is given."""
        return Message(self.channel, id or self.next_id(), text, choice, sent_at=sent_at)

    def handle(self, message: Message) -> Outcome:
        """Handle a message."""
        self.outcome = self.finish(self.begin(message))
        return self.outcome

    def say(self, *texts: str) -> Outcome:
        """Type one or more messages, and return the outcome of the last."""
        for text in texts:
            self.handle(self.message(text))
        return self._latest

    def press(self, title: str) -> Outcome:
        """Press the choice of the latest outcome that has this title."""
        return self.handle(self.message(choice=choices(*self._latest.replies)[title]))

    def wake(self, member_id: str = "", *, answer: CallReturned | None = None) -> Waking:
        """Wake a member. `answer` is that of a call, for a turn before the due ones."""
        return self.end(self.waking(member_id, answer=answer))

    def wait(self, seconds: float) -> Self:
        """Move the clock forward."""
        self.clock.at += seconds
        return self

    @property
    def words(self) -> list[str]:
        """The texts of the latest outcome."""
        return words(self._latest.replies)

    @property
    def taken(self) -> list[str]:
        """The texts of all deliveries."""
        return [text for delivery in self.delivered for text in words(delivery.replies)]

    @property
    def _latest(self) -> Outcome:
        assert self.outcome is not None, "no message was handled yet"
        return self.outcome

    # Effect by effect -------------------------------------------------------------------------------------------------

    def begin(self, message: Message, *, cache: Cache | None = None, patience: float = 5.0) -> Held[Outcome]:
        """Begin to handle a message, up to the first effect."""
        return self._hold(partial(handle, message=message), cache, patience)

    def waking(self, member_id: str = "", *, answer: CallReturned | None = None, cache: Cache | None = None) -> Waking:
        """Begin to wake a member, up to the first effect."""
        member_id = member_id or self.member_id()
        return self._hold(partial(wake, member_id=member_id, delivers=self.delivers, answer=answer), cache)

    def _hold(self, begin: Callable[[Context], Operation[_R]], cache: Cache | None, patience: float = 5.0) -> Held[_R]:
        cache = self.cache if cache is None else cache
        context = Context(self.bot, cache, self.clock.at, patience=patience)
        context.inboxes = self.inboxes
        operation = Held(context, begin, self.busy)
        self._began[operation] = self._paused
        return operation

    def step(self, operation: Held[Any]) -> None:
        """Perform the effect that an operation waits for, and give it the answer."""
        answer = self.perform(operation.request)
        operation.take(answer, self.clock.at, self._paused - self._began[operation])

    def perform(self, effect: Effect[Any]) -> object:
        """Perform an effect and return its answer, or the exception that it comes to.

        A pause takes no time of the test: it moves the clock by 0.01 s, and counts as 0.1 s of waiting.
        """
        match effect:
            case RunCall():
                return LEASE_OVER if is_lease_over(effect, self.clock.at) else self.run_call(effect)
            case Deliver():
                fault = self.plan.pop(0) if self.plan else None
                if fault is None:
                    self.delivered.append(effect)
                return Sent() if fault is None else fault
            case PassOn():
                fault = self.inbox_plan.pop(0) if self.inbox_plan else None
                if fault is None:
                    self.passed.append(effect.passed)
                return Sent() if fault is None else fault
            case Pause() | StandBack():
                self.clock.at += 0.01
                self._paused += 0.1
                return None
            case ReadLegacy():
                return None
            case _:
                try:
                    return self.store.perform(effect)
                except DocumentTooLarge as error:
                    return error

    def run_call(self, request: RunCall) -> object:
        """Run a call once and return its result or its exception."""
        return _run_call(self.bot, request)

    def end(self, operation: Held[_R], *, bound: int = 400) -> Held[_R]:
        """Run an operation to its end, which must come within `bound` effects, and return it."""
        for _ in range(bound):
            if operation.request is None:
                for _, error in operation.errors:
                    _show(error)
                return operation
            self.step(operation)
        raise AssertionError(f"the operation did not end within {bound} effects")

    def finish(self, operation: Held[_R], *, bound: int = 400) -> _R:
        """Run an operation to its end, which must come within `bound` effects, and return its result."""
        outcome = self.end(operation, bound=bound).outcome
        assert outcome is not None
        return outcome

    # The store --------------------------------------------------------------------------------------------------------

    def member_id(self) -> str:
        """Return the id of the member or guest on the channel."""
        place = self.bot.route(self.channel)
        return self.store.perform(FindOwner(place)).member_id or self.bot.digests.guest_id(place)

    def stored(self, member_id: str = "") -> Stored:
        """Return what the store keeps of a member."""
        stored = self.store.perform(Load(member_id or self.member_id()))
        assert isinstance(stored, Stored)
        return stored

    def document(self, member_id: str = "") -> Document:
        """Return the stored document of a member."""
        data = self.stored(member_id).document
        assert data is not None, "no document is stored"
        return decode(data)

    def entries(self, member_id: str = "") -> tuple[Entry, ...]:
        """Return the stored audit entries of a member, oldest first."""
        return self.store.perform(ReadAudit(member_id or self.member_id()))

    def wakes_at(self, member_id: str = "") -> datetime | None:
        """Return the instant of a member's wake-up; None without one."""
        at = self.store._due.get(member_id or self.member_id())
        return None if at is None else instant(at)

    def plant(self, document: Document) -> None:
        """Store a document, and link the channel of a member to it."""
        self.plant_bytes(document.member_id, encode(document))
        if not document.guest:
            self.store.perform(Link(document.channel, document.member_id))

    def plant_bytes(self, member_id: str, data: bytes) -> None:
        """Store any bytes as a member's document, with an audit entry."""
        head = self.stored(member_id).head
        token = f"planted-{head.version}"
        note = AuditEntry(head.version + 1, START, member_id, ("whatsapp", ""), "update", "advanced", token, token)
        entry = seal(note, data, head.digest)
        assert isinstance(self.store.perform(Commit(member_id, head, token, token, "", data, entry)), Committed)

    def check(self) -> None:
        """Check every member of the store: a valid document, a whole audit that ends with it, and no lost wake-up.

        Raises:
            AssertionError: A rule does not hold.
        """
        for member_id in self.store.perform(Scan()):
            stored, entries = self.stored(member_id), self.entries(member_id)
            assert FlowAuditLogger.faults(entries) == ()
            if stored.document is None:
                continue
            document = decode(stored.document)
            assert self.bot.validator.validate(document).valid
            assert encode(document) == stored.document
            assert first_of(entries[0]) == 1, "the chain of entries has no beginning"
            assert stored.head.version == document.version
            assert entries[-1].digest == stored.head.digest
            stranger = is_stranger(self.bot, document)
            wake = None if document.moved else wake_at(document, delivers=self.delivers, stranger=stranger)
            at = self.wakes_at(member_id)
            assert wake is None or (at is not None and at <= wake), "a wake-up was lost"
