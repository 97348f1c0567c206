"""One move of a conversation without a store: what is said at a moment, and the moment to which it leads.

A `Moment` is a value: a document, the state of the services and the instant. So many conversations can go on from the
same moment, as a walk does. The replies that answer no message are delivered at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, cast

import attrs

from vimbiso_fsm.audit.short_form import AuditStep
from vimbiso_fsm.document.document import Document, Undelivered
from vimbiso_fsm.document.replies_codec import replies_from_raw
from vimbiso_fsm.engine.commit import Decision
from vimbiso_fsm.engine.events import Delivered, DeliveryDue, Event, ReplyRoute
from vimbiso_fsm.engine.schedule import due
from vimbiso_fsm.flow.annotations import called, parts_of, result_type
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.interrupts import is_interrupt
from vimbiso_fsm.flow.reactions import FACTS
from vimbiso_fsm.flow.state import AnyState
from vimbiso_fsm.messages.contents import Content
from vimbiso_fsm.messages.given import TriggerPulled
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.replies import Reply, Text
from vimbiso_fsm.messages.told import Told
from vimbiso_fsm.operations.effects import RunCall, answered
from vimbiso_fsm.operations.turn import proposed_call
from vimbiso_fsm.runtime.binding import bind
from vimbiso_fsm.testing.awaiting import Awaiting
from vimbiso_fsm.testing.chat import START, on_clock
from vimbiso_fsm.testing.copies import Copy, copy_of
from vimbiso_fsm.testing.steps import step

PACE: Final = timedelta(seconds=5)
"""The time from a message to the next."""
LOST: Final = "call.lost"
"""Stands for an answer that is lost after the effect."""
LATE: Final = "call.late"
"""Stands for an answer that comes after the time-out, when the call has been given up or waits for its next round."""
DONE: Final = "call.done"
"""Stands for an answer of the type that a method returns, without a call of the service."""
EMPTY: Final = "call.empty"
"""Stands for the answer of a call that only reads, with no item in its lists."""
EMPTY_WITHIN: Final = "call.empty-within"
"""Stands for such an answer with no item in the lists within its lists."""
NOTHING: Final = "call.nothing"
"""Stands for the answer None, of a call that only reads and may return it."""
_PLAIN: Final[Mapping[type, object]] = {bool: True, int: 1, str: "done"}
"""An answer of each plain type."""
CALLS_IN_A_MOVE: Final = 20
"""Calls that one message may lead to; more of them are a loop."""


@attrs.frozen
class Move:
    """Something that happens in a conversation.

    Attributes:
        kind: "say", "press", "content", "wait", "pull", "tell" or "link".
        what: What is typed, the choice without its fence, the kind of the content, the name of the trigger, the class
            of the fact, or the payload. Empty for "wait", which goes to the next instant at which something is due.
        by: The system that pulls a trigger.
        answers: The codes with which calls of this move are refused, by the place of the call in the move, from 0;
            or `LOST`, `LATE`, `DONE`, `EMPTY`, `EMPTY_WITHIN` or `NOTHING`.
        is_global: Whether it is a global word.
    """

    kind: str
    what: str = ""
    by: str = ""
    answers: tuple[tuple[int, str], ...] = ()
    is_global: bool = attrs.field(default=False, eq=False)
    content: Content | None = attrs.field(default=None, eq=False, repr=False)

    @property
    def label(self) -> str:
        """The move as one word for counting."""
        return f"{self.kind} {self.what} {self.answers}"


@attrs.frozen
class Call:
    """A call that was made in a move.

    Attributes:
        place: The state of the call, as "flow.state".
        method: The name of the method.
        key: The idempotency key.
        arguments: The arguments, as text.
        effect: Whether it has an effect.
        code: The code of the refusal that it was answered with; "" if it was not refused.
        others: What else it may answer: `EMPTY`, `EMPTY_WITHIN` and `NOTHING`.
    """

    place: str
    method: str
    key: str = attrs.field(eq=False)
    arguments: str
    effect: bool
    code: str
    others: tuple[str, ...] = attrs.field(default=(), eq=False)


@attrs.frozen(eq=False)
class Moment:
    """A moment of a conversation.

    Attributes:
        document: The member's document; None before the first message.
        channel: The channel of the messages.
        now: The instant.
        services: The services as they are then.
        before: The moment before; None at the beginning.
        move: The move that led here; None at the beginning.
        depth: The number of moves since the beginning.
        replies: The replies of the move, also those that answer no message.
        steps: The steps on the machines.
        codes: The codes of the refusals that were given to the member.
        calls: The calls that were made.
        error: An exception that a callback raised.
        fault: What is wrong with the move, as a code of a finding; "" if nothing is.
    """

    document: Document | None
    channel: Channel
    now: datetime
    services: Copy
    before: Moment | None = None
    move: Move | None = None
    depth: int = 0
    replies: tuple[Reply, ...] = ()
    steps: tuple[AuditStep, ...] = ()
    codes: tuple[str, ...] = ()
    calls: tuple[Call, ...] = ()
    error: BaseException | None = None
    fault: str = ""

    @property
    def place(self) -> str:
        """The state in which the member stands, as "flow.state"; empty without a flow."""
        run = self.document.run if self.document is not None else None
        return f"{run.flow}.{run.step}" if run else ""

    @property
    def moves(self) -> tuple[Move, ...]:
        """The moves from the beginning to here."""
        return tuple(moment.move for moment in self.way if moment.move is not None)

    @property
    def way(self) -> tuple[Moment, ...]:
        """The moments from the beginning to here."""
        found: list[Moment] = []
        at: Moment | None = self
        while at is not None:
            found.append(at)
            at = at.before
        return tuple(reversed(found))

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of the texts that were said, in order."""
        return tuple(text.key for reply in self.replies for text in _texts(reply))


def _texts(reply: Reply) -> Iterable[Text]:
    body = getattr(reply, "body", reply)
    if isinstance(body, Text):
        yield body


class World:
    """A bot whose conversations are tried from moment to moment.

    Attributes:
        bot: The bot.
    """

    def __init__(self, bot: Bot) -> None:
        self.bot = bot
        self._first = copy_of(bot.services)
        self._awaiting = Awaiting()
        self._live: tuple[Copy, dict[str, object]] | None = None
        self._now = START

    def beginning(self, channel: Channel) -> Moment:
        """Return the moment before the first message on a channel."""
        return Moment(None, channel, START, self._first)

    def after(self, moment: Moment, move: Move) -> Moment | None:
        """Return the moment to which a move leads; None if it cannot be made: nothing is due, or nothing is open."""
        if moment.document is None and move.kind in ("wait", "pull", "tell"):
            return None
        return _Moving(self, moment, move).result()

    def run(self, services: Copy, request: RunCall, now: datetime) -> tuple[object, Copy]:
        """Run a call on the services as they are at a moment, and return its answer and the services afterwards."""
        if self._live is None or self._live[0] is not services:
            self._live = services, services.services()
            on_clock(self._live[1], self._clock())
        live, self._now = self._live[1], now
        try:
            answer = self._awaiting.of(bind(live, request)())
        except BaseException as error:  # whatever a service raises is the answer of the call
            if is_interrupt(error):
                raise
            answer = error
        after = copy_of(live)
        self._live = after, live
        return answer, after

    def _clock(self) -> Callable[[], float]:
        """Return the clock of services. It is a function, which a copy of a service shares."""

        def clock() -> float:
            return self._now.timestamp()

        return clock


class _Moving:
    """One move while it is made."""

    def __init__(self, world: World, moment: Moment, move: Move) -> None:
        self._world, self._bot, self._from, self._move = world, world.bot, moment, move
        self._document = moment.document
        self._now, self._services = moment.now, moment.services
        self._replies: list[Reply] = []
        self._steps: list[AuditStep] = []
        self._codes: list[str] = []
        self._calls: list[Call] = []
        self._error: BaseException | None = None
        self._fault = ""
        self._late: Event | None = None
        self._faults: Mapping[int, str] = dict(move.answers)

    def result(self) -> Moment | None:
        kind = self._move.kind
        if kind == "wait":
            if not self._wait():
                return None
        else:
            self._now += PACE
            self._until_now()
            self._take(self._event(), "keep" if kind in ("pull", "tell") else "handle")
        before, move, depth = self._from, self._move, self._from.depth + 1
        return Moment(
            self._document, before.channel, self._now, self._services, before, move, depth, tuple(self._replies),
            tuple(self._steps), tuple(self._codes), tuple(self._calls), self._error, self._fault,
        )  # fmt: skip

    def _event(self) -> Event:
        move, channel, id = self._move, self._from.channel, f"walk-{self._from.depth}"
        match move.kind:
            case "press":
                run = self._document.run if self._document is not None else None
                return Message(channel, id, choice=(run.fence if run else "") + move.what)
            case "content":
                return Message(channel, id, content=move.content, kind="text" if move.content else move.what)
            case "link":
                return Message(channel, id, "/start", payload=move.what)
            case "pull":
                assert self._document is not None
                return TriggerPulled(member_id=self._document.member_id, key=id, name=move.what, by=move.by)
            case "tell":
                return fact_of(move.what)(id=id, channel=channel)
            case _:
                return Message(channel, id, move.what)

    def _wait(self) -> bool:
        """Go to the next instant at which something is due, and do all that is due then."""
        assert self._document is not None
        waiting = due(self._document)
        if not waiting:
            return False
        self._now = max(self._now, waiting[0][0])
        self._until_now()
        return True

    def _until_now(self) -> None:
        """Do what is due by now. Something that stays due is left to the rules of the engine's own tests."""
        for _ in range(CALLS_IN_A_MOVE):
            waiting = due(self._document) if self._document is not None else []
            if not waiting or waiting[0][0] > self._now:
                return
            decision = self._take(waiting[0][1], "deliver")
            if not decision.changed:
                return

    def _take(self, event: Event, route: ReplyRoute) -> Decision:
        """Take an event, make the calls that it leads to, and deliver what answers no message."""
        decision = first = self._decide(event, route)
        if decision.delivery is not None and route != "handle":
            self._sent(decision.delivery)
        while (decision.call is not None and decision.document.call is not None) or self._late is not None:
            if len(self._calls) >= CALLS_IN_A_MOVE:
                self._fault = "loop"
                break
            if self._late is not None:
                came, self._late = self._late, None
                decision = self._decide(came, "deliver")
            else:
                decision = self._decide(self._call(decision), route)
            if decision.delivery is not None and route != "handle":
                self._sent(decision.delivery)
        self._deliver()
        return first

    def _decide(self, event: Event, route: ReplyRoute) -> Decision:
        decision = step(self._bot, self._document, event, self._now, route=route)
        if decision.changed or self._document is None:
            self._document = decision.document
        self._replies += decision.replies if route == "handle" else ()
        if decision.entry is not None:
            self._steps += decision.entry.steps
            self._codes += decision.entry.codes
        self._error = self._error or decision.error
        return decision

    def _call(self, decision: Decision) -> Event:
        assert self._document is not None
        request = proposed_call(self._bot, decision, self._document)
        code = self._faults.get(len(self._calls), "")
        run = self._document.run
        answer: object = Refused(code)
        others: tuple[str, ...] = ()
        if code in ("", LOST, LATE, EMPTY, EMPTY_WITHIN):
            answer, self._services = self._world.run(self._services, request, self._now)
            if run is not None and not request.policy.effect:
                others = tuple(_others(self._bot.definition(run)[run.step], answer))
        if code in (EMPTY, EMPTY_WITHIN):
            answer = emptied(answer, within=code == EMPTY_WITHIN)
        if code == NOTHING:
            answer = None
        if code == LATE:
            self._late = answered(request, answer)
        if code in (LOST, LATE):
            answer = TimeoutError("the answer was lost")
        if code == DONE and run is not None:
            answer = next(iter(plain_answers(self._bot.definition(run)[run.step])), None)
        self._calls.append(
            Call(
                f"{run.flow}.{run.step}" if run else "", request.call.method, request.caller.key,
                repr(sorted(request.call.arguments.items())), request.policy.effect,
                answer.code if isinstance(answer, Refused) else type(answer).__name__ * isinstance(answer, Exception),
                others,
            )
        )  # fmt: skip
        return answered(request, answer)

    def _deliver(self) -> None:
        """Deliver what is in the outbox, as a worker does."""
        while self._document is not None and self._document.outbox:
            waiting = [(at, event) for at, event in due(self._document) if isinstance(event, DeliveryDue)]
            if not waiting:
                return
            decision = self._decide(waiting[0][1], "deliver")
            if decision.delivery is None:
                return
            self._sent(decision.delivery)

    def _sent(self, delivery: Undelivered) -> None:
        """Take a delivery to the member."""
        self._replies += self._bot.catalogue.replies(replies_from_raw(delivery.replies))
        self._decide(Delivered(delivery.id, delivery.tries, done=True), "deliver")


def _others(state: AnyState, answer: object) -> Iterator[str]:
    """Yield what a call that only reads may answer in place of what it has answered."""
    if isinstance(answer, Refused | BaseException):
        return
    outer, inner = emptied(answer, within=False), emptied(answer, within=True)
    if outer != answer:
        yield EMPTY
    if inner not in (answer, outer):
        yield EMPTY_WITHIN
    if answer is not None and state.call is not None and type(None) in parts_of(called(state.call)):
        yield NOTHING


def emptied(value: object, *, within: bool) -> object:
    """Return a value without the items of its lists; with `within`, only of those whose items hold no list."""
    if type(value) in (tuple, list):
        items = cast("Sequence[object]", value)
        if within and any(_holds_list(each) for each in items):
            return type(items)(emptied(each, within=within) for each in items)  # type: ignore[call-arg]
        return type(items)()
    if not attrs.has(type(value)):
        return value
    record = cast("attrs.AttrsInstance", value)
    fields = [field for field in attrs.fields(type(record)) if field.init and _holds_list(getattr(record, field.name))]
    changes = {str(field.alias): emptied(getattr(record, field.name), within=within) for field in fields}
    try:
        return attrs.evolve(cast("Any", record), **changes) if changes else record
    except Exception:  # noqa: BLE001  # a validator of the author that takes no empty list
        return record


def _holds_list(value: object) -> bool:
    if attrs.has(type(value)):
        record = cast("attrs.AttrsInstance", value)
        return any(_holds_list(getattr(record, field.name)) for field in attrs.fields(type(record)))
    return type(value) in (tuple, list)


def fact_of(name: str) -> Callable[..., Told]:
    """Return the class of the facts of a name, which a channel tells."""
    return next(each for each in FACTS if each.__name__ == name)


def plain_answers(state: AnyState) -> tuple[object, ...]:
    """Return an answer that the call of a state may return, by its annotation; none where that is no plain type."""
    kind: Any = result_type(state.call) if state.call is not None else None
    return (_PLAIN[kind],) if isinstance(kind, type) and kind in _PLAIN else ()
