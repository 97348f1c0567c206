"""Small bots with every kind of state, and two ways to talk to a bot by hand.

`Talk` decides turn by turn without a store, `Chat` drives exchanges on a `MemoryStore`. Both check every turn against
what must hold of any turn.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Literal, Self, TypeAlias

import attrs

from tests.held import Held
from vimbiso_fsm.audit.entries import AuditEntry, seal, unseal
from vimbiso_fsm.audit.flow_audit import FlowAuditLogger
from vimbiso_fsm.document.codec import decode, encode
from vimbiso_fsm.document.document import Address, Document
from vimbiso_fsm.document.replies_codec import replies_from_raw
from vimbiso_fsm.engine.commit import Decision, caller
from vimbiso_fsm.engine.decide import decide
from vimbiso_fsm.engine.events import (
    CallReturned,
    Delivered,
    DeliveryDue,
    Event,
    LeaseExpired,
    ReplyRoute,
    SessionExpired,
    StateTimeout,
)
from vimbiso_fsm.engine.schedule import due, wake_at
from vimbiso_fsm.errors import DocumentTooLarge
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.calls import Call, Caller, CallPolicy, call
from vimbiso_fsm.flow.commands import Shortcut
from vimbiso_fsm.flow.flow import Flow, NoData
from vimbiso_fsm.flow.privacy import PUBLIC, SECRET
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.flow.turn import Changes, Turn, authenticated
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.replies import Buttons, Menu, Reply, Row, Text
from vimbiso_fsm.operations.cache import Cache
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.operations.effects import Deliver, Pause, ReadLegacy, RunCall
from vimbiso_fsm.operations.handle import Outcome, handle
from vimbiso_fsm.operations.wake import wake
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager, FlowStateManager
from vimbiso_fsm.store.memory import AsyncMemoryStore, MemoryStore
from vimbiso_fsm.store.requests import Commit, Entry, FindOwner, Link, Load, ReadAudit, Request, Stored

Waking: TypeAlias = Held[tuple[AuditEntry, ...]]
START = datetime(2026, 11, 22, 9, 15, 2, 123456, tzinfo=UTC)
CHANNEL = Channel("whatsapp", "263771234567")


# The bank: a service ---------------------------------------------------------------------------------------------


class Bank:
    """The port, and a fake behind it: `script` holds what the next calls do, an exception is raised."""

    def __init__(self) -> None:
        self.script: list[Any] = []
        self.calls: list[tuple[str, str]] = []

    def pay(self, name: str, fruit: str, *, caller: Caller = Caller()) -> str | Refused:  # noqa: B008
        """Pay; gives a receipt."""
        self.calls.append(("pay", caller.key))
        result: str | Refused = self._next(f"receipt-{len(self.calls)}")
        return result

    def stock(self, *, caller: Caller = Caller()) -> int | Refused:  # noqa: B008
        """How much there is."""
        self.calls.append(("stock", caller.key))
        result: int | Refused = self._next(7)
        return result

    def _next(self, usual: Any) -> Any:
        result = self.script.pop(0) if self.script else usual
        if isinstance(result, BaseException):
            raise result
        return result


# Picking a fruit: a sub-flow with a long list -----------------------------------------------------------------------


FRUITS = [f"fruit{number:02}" for number in range(1, 24)] + ["apple", "pear"]


@attrs.frozen
class Pick:
    """Only fruits that begin with `start`; the one that was chosen."""

    start: str = ""
    fruit: str = ""


def fruits(turn: Turn[Pick]) -> Sequence[Row]:
    """Twenty-five fruits, or fewer."""
    return [
        Row(fruit, Text("fruit.title", fruit=fruit), Text("fruit.about"))
        for fruit in FRUITS
        if fruit.startswith(turn.data.start)
    ]


def fruit_of(turn: Turn[Pick]) -> str:
    """What the parent gets."""
    return turn.data.fruit


pick = Flow(
    "pick", data=Pick, initial="list",
    states=[
        State("list",   ask=Text("pick.list"), rows=fruits, into="fruit"),
        State("chosen", final=True, output=fruit_of),
        State("none",   final=True, cancels=True),
    ],
    transitions=[
        Transition("answer",  "list", "chosen"),
        Transition("nothing", "list", "none", words="nothing at all"),
    ],
)  # fmt: skip


# Ordering: everything else ------------------------------------------------------------------------------------------


@attrs.frozen
class Order:
    """What an order is made of."""

    name: str = attrs.field(default="", metadata=PUBLIC)
    pin: str = attrs.field(default="", metadata=SECRET)
    fruit: str = ""
    receipt: str = ""
    visits: int = 0


def word(text: str) -> str | Refused:
    """Reads one word."""
    text = text.strip()
    return text.removeprefix("@") if text.removeprefix("@").isalnum() else Refused("word.format", field="name")


def digits(text: str) -> str | Refused:
    """Reads a PIN."""
    return text if text.isascii() and text.isdigit() and len(text) == 4 else Refused("pin.format", field="pin")


def not_taken(turn: Turn[Order]) -> bool | Refused:
    """Refuses a name."""
    return turn.data.name != "taken" or Refused("name.taken", field="name", name=turn.data.name)


def is_vip(turn: Turn[Order]) -> bool:
    """Declines, silently, all names but one."""
    return turn.data.name == "vip"


def is_nobody(turn: Turn[Order]) -> bool:
    """For an `unless`."""
    return turn.data.name == "nobody"


def is_apple(turn: Turn[Order]) -> bool:
    """Hides the button of gifts."""
    return turn.data.fruit == "apple"


def is_ada(turn: Turn[Order]) -> bool | Refused:
    """Explains why express is not to be had."""
    return turn.data.name == "ada" or Refused("express.only", name=turn.data.name)


def is_sorted(turn: Turn[Order]) -> bool:
    """Always."""
    return bool(turn.data.name)


def visited(turn: Turn[Order]) -> Order:
    """Prepare: count the visit."""
    return attrs.evolve(turn.data, visits=turn.data.visits + 1)


def from_start(turn: Turn[Order]) -> Pick:
    """What picking is given: fruits that begin like a name of one letter."""
    return Pick(start=turn.data.name if len(turn.data.name) == 1 else "")


def pay(turn: Turn[Order]) -> Call[str | Refused]:
    """Pay for it."""
    return call(Bank.pay, name=turn.data.name, fruit=turn.data.fruit)


def summary(turn: Turn[Order]) -> Text:
    """What was ordered."""
    return Text("order.confirm", name=turn.data.name, fruit=turn.data.fruit, visits=turn.data.visits)


def receipt(turn: Turn[Order]) -> Text:
    """Paid."""
    return Text("order.paid", receipt=turn.data.receipt)


order = Flow(
    "order", version=2, data=Order, initial="name", requires=authenticated,
    states=[
        State("name",    ask=Text("order.name"), reads=word, into="name"),
        State("pin",     ask=Text("order.pin"), reads=digits, into="pin"),
        State("picking", flow=pick, input=from_start, into="fruit"),
        State("sorting", say=Text("order.sorting")),
        State("confirm", ask=summary, timeout=60),
        State("paying",  call=pay, into="receipt"),
        State("paid",    say=receipt, final=True),
        State("given",   say=Text("order.given"), final=True),
        State("dropped", say=Text("order.dropped"), final=True, cancels=True),
        State("expired", say=Text("order.expired"), final=True, cancels=True),
    ],
    transitions=[
        Transition("answer",    "name",    "picking", conditions=[not_taken, is_vip]),
        Transition("answer",    "name",    "pin",     conditions=not_taken, unless=is_nobody),
        Transition("answer",    "pin",     "picking"),
        Transition("done",      "picking", "sorting", prepare=visited),
        Transition("cancelled", "picking", "name"),
        Transition("auto",      "sorting", "confirm", conditions=is_sorted),
        Transition("yes",       "confirm", "paying"),
        Transition("no",        "confirm", "dropped"),
        Transition("gift",      "confirm", "given",   conditions=is_apple),
        Transition("express",   "confirm", "paying",  conditions=is_ada, words=["fast", "at once"]),
        Transition("timeout",   "confirm", "expired"),
        Transition("done",      "paying",  "paid"),
        Transition("failed",    "paying",  "confirm"),
    ],
)  # fmt: skip


# Signing in: the entry flow -------------------------------------------------------------------------------------------


@attrs.frozen
class SignIn:
    """The password, which is nobody's business."""

    password: str = attrs.field(default="", metadata=SECRET)


def password(text: str) -> str | Refused:
    """Reads the password."""
    return text if text == "sesame" else Refused("password.wrong", field="password")


def signed_in(turn: Turn[SignIn]) -> Changes[SignIn]:
    """Prepare: the member is known now."""
    member = attrs.evolve(turn.member, authenticated=True, jwt_token="token-1", profile={"name": "Ada", "accounts": []})
    return turn.changes(data=SignIn(), member=member)


sign_in = Flow(
    "sign_in", data=SignIn, initial="asking",
    states=[
        State("asking", ask=Text("sign_in.asking"), reads=password, into="password"),
        State("known",  say=Text("sign_in.known"), final=True),
        State("away",   final=True, cancels=True),
    ],
    transitions=[
        Transition("answer", "asking", "known", prepare=signed_in),
        Transition("leave",  "asking", "away"),
    ],
)  # fmt: skip


# Home ---------------------------------------------------------------------------------------------------------------


def stock(turn: Turn[NoData]) -> Call[int | Refused]:
    """Ask the bank."""
    return call(Bank.stock)


home = Flow(
    "home", initial="menu",
    states=[
        State("menu",     ask=Text("home.menu")),
        State("ordering", flow=order),
        State("stocking", ask=Text("home.stocking"), call=stock),
    ],
    transitions=[
        Transition("order",     "menu",     "ordering", words="buy"),
        Transition("stock",     "menu",     "stocking"),
        Transition("done",      "ordering", "menu"),
        Transition("cancelled", "ordering", "menu"),
        Transition("done",      "stocking", "menu"),
        Transition("failed",    "stocking", "menu"),
    ],
)  # fmt: skip


def quick(text: str) -> Sequence[str] | None:
    """`ada/1234`: a name and a PIN."""
    name, slash, pin = text.partition("/")
    return (name, pin) if slash else None


TEXTS = {
    "home.menu": "What now?",
    "home.menu.order": "Order fruit",
    "home.menu.stock": "See the stock",
    "home.stocking": "Looking …",
    "order.name": "Your name?",
    "order.name.help": "One word, for example: ada",
    "order.pin": "Your PIN?",
    "order.sorting": "Sorting.",
    "order.confirm": "{fruit} for {name}?",
    "order.confirm.yes": "Yes please",
    "order.confirm.no": "No",
    "order.confirm.gift": "As a gift",
    "order.confirm.express": "Express",
    "order.paid": "Paid: {receipt}",
    "order.given": "Given.",
    "order.dropped": "Dropped.",
    "order.expired": "Too slow.",
    "pick.list": "Which fruit?",
    "pick.list.nothing": "None of them",
    "fruit.title": "A {fruit}",
    "fruit.about": "Fresh.",
    "sign_in.asking": "The password?",
    "sign_in.known": "Welcome.",
    "sign_in.asking.leave": "Leave",
    "word.format": "One word, please.",
    "pin.format": "Four digits, please.",
    "name.taken": "{name} is taken.",
    "express.only": "Express is only for ada, not for {name}.",
    "password.wrong": "That is not it.",
}


def fruit_bot(bank: Bank | None = None, **options: Any) -> Bot:
    """The bot of this file, whole."""
    settings: dict[str, Any] = {
        "home": home,
        "entry": sign_in,
        "shortcuts": [Shortcut(order, quick)],
        "texts": TEXTS,
        "services": {"bank": bank or Bank()},
    }
    return Bot(flows=[home, order], **{**settings, **options})


def one_flow(
    states: Sequence[State[Any]], transitions: Sequence[Transition[Any]], *, data: type[Any] = NoData, **options: Any
) -> Flow[Any]:
    """A flow called `one` that begins at its first state."""
    return Flow("one", data=data, initial=states[0].name, states=states, transitions=transitions, **options)


# What was said --------------------------------------------------------------------------------------------------------


def words(replies: Iterable[Reply]) -> list[str]:
    """The final words of each reply."""
    return [reply.text for reply in replies]


def choices(reply: Reply) -> dict[str, str]:
    """What is shown under a reply: final title -> id on the wire."""
    if isinstance(reply, Buttons):
        return {button.title.text: button.id for button in reply.buttons}
    if isinstance(reply, Menu):
        return {row.title.text: row.id for row in reply.rows}
    return {}


def member_document(**changes: Any) -> Document:
    """A member who is signed in and has not said anything yet."""
    address = Address(*CHANNEL.address)
    known = Document("m-1", CHANNEL, START, guest=False, jwt_token="token-0", authenticated=True, channels=(address,))
    return attrs.evolve(known, **changes)


# Turn by turn -----------------------------------------------------------------------------------------------------


def same(one: Decision, other: Decision) -> bool:
    """Whether two decisions are equal, what was raised apart (two exceptions are never equal)."""
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

    # what a member does

    def say(self, text: str) -> Talk:
        """Type something."""
        return self.send(text=text)

    def says(self, *texts: str) -> Talk:
        """Type several messages."""
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
        """Let time pass."""
        self.now += timedelta(seconds=seconds)
        return self

    # what nobody does

    def wake(self, *, delivers: bool = False, fails: bool = False) -> Talk:
        """Take all that is due now, one after the other; then nothing is. `fails`: what is delivered is not."""
        route: ReplyRoute = "deliver" if delivers else "nobody"
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
        """Final words of what waits in the outbox."""
        return [
            word
            for one in self.state.outbox
            for word in words(self.bot.catalogue.replies(replies_from_raw(one.replies)))
        ]

    # what there is to see

    @property
    def words(self) -> list[str]:
        """Final words of the latest replies."""
        return words(self.replies)

    @property
    def question(self) -> Reply:
        """The latest reply."""
        return self.replies[-1]

    @property
    def shown(self) -> dict[str, str]:
        """What the latest replies show: title -> id on the wire."""
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
        """`flow.step`, or nothing."""
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

    # the turn

    def take(self, event: Event, route: ReplyRoute = "handle") -> Talk:
        """Decide an event and the calls it causes."""
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
        """Run the call that was proposed last and decide its answer."""
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
    """What holds of every decision."""
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
        assert decision.document.outbox, "what nobody hears is not kept"


def run_call(bot: Bot, request: RunCall) -> object:
    """Run a proposed call once: its result, or what it raised."""
    method = getattr(bot.services[request.call.service], request.call.method)
    arguments = dict(request.call.arguments)
    if "caller" in inspect.signature(method).parameters:
        arguments["caller"] = request.caller
    try:
        return method(**arguments)
    except Exception as error:
        return error


# On a store ----------------------------------------------------------------------------------------------------------


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.at = START.timestamp()

    def __call__(self) -> float:
        return self.at


def on_clock(services: Mapping[str, object], clock: Callable[[], float]) -> None:
    """Have services that know the time, as a simulated core does, know that of a test."""
    for service in services.values():
        if hasattr(service, "clock"):
            vars(service)["clock"] = clock


class Chat:
    """Conversations on a `MemoryStore`, each message an exchange driven by hand.

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
        """The handling of a message, nothing performed yet."""
        cache = self.cache if cache is None else cache
        context = Context(self.bot, cache, self.clock.at, patience=patience)
        exchange = Held(context, partial(handle, message=message))
        self._began[exchange] = self._paused
        return exchange

    def waking(self, member_id: str = "", *, answer: CallReturned | None = None, cache: Cache | None = None) -> Waking:
        """The waking of a member, nothing performed yet."""
        cache = self.cache if cache is None else cache
        member_id = member_id or self.member_id()
        context = Context(self.bot, cache, self.clock.at)
        waking = Held(context, partial(wake, member_id=member_id, delivers=self.delivers, answer=answer))
        self._began[waking] = self._paused
        return waking

    def wake(self, member_id: str = "", *, answer: CallReturned | None = None) -> Waking:
        """Wake a member, to the end."""
        return self.end(self.waking(member_id, answer=answer))

    def end(self, waking: Waking, *, bound: int = 400) -> Waking:
        """Go on to the end of a waking."""
        for _ in range(bound):
            if waking.request is None:
                return waking
            self.step(waking)
        raise AssertionError(f"a waking did not end within {bound} steps")

    def wait(self, seconds: float) -> Chat:
        """Let time pass."""
        self.clock.at += seconds
        return self

    def wakes_at(self, member_id: str = "") -> datetime | None:
        """When the store would have the member woken."""
        at = self.store._due.get(member_id or self.member_id())
        return None if at is None else datetime.fromtimestamp(at, UTC)

    @property
    def taken(self) -> list[str]:
        """Final words of all that was delivered."""
        return [word for each in self.delivered for word in words(each.replies)]

    def waited(self, exchange: Held[Any]) -> float:
        """Seconds since the exchange began."""
        return self._paused - self._began[exchange]

    def perform(self, step: Any) -> object:
        """Perform one step."""
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
        """Perform what an operation waits for, and give it the answer."""
        assert exchange.request is not None
        exchange.take(self.perform(exchange.request), self.clock.at, self.waited(exchange))

    def finish(self, exchange: Held[Outcome], *, bound: int = 200) -> Outcome:
        """Go on to the end."""
        for _ in range(bound):
            if exchange.outcome is not None:
                return exchange.outcome
            self.step(exchange)
        raise AssertionError(f"an exchange did not end within {bound} steps")

    def handle(self, message: Message) -> Outcome:
        """A message, from its arrival to its outcome."""
        self.outcome = self.finish(self.begin(message))
        return self.outcome

    def say(self, *texts: str) -> Outcome:
        """Type one or more messages; the outcome of the last."""
        for text in texts:
            self.handle(self.message(text))
        assert self.outcome is not None
        return self.outcome

    def press(self, title: str) -> Outcome:
        """Press what the latest outcome shows under that title."""
        assert self.outcome is not None
        shown = {name: id for reply in self.outcome.replies for name, id in choices(reply).items()}
        return self.handle(self.message(choice=shown[title]))

    @property
    def words(self) -> list[str]:
        """Final words of the latest outcome."""
        assert self.outcome is not None
        return words(self.outcome.replies)

    # what is stored

    def member_id(self) -> str:
        """Whose the channel is."""
        from vimbiso_fsm.document.ids import guest_id

        linked: Any = self.store.perform(FindOwner(self.channel))
        return linked.member_id or guest_id(self.channel)

    def stored(self, member_id: str = "") -> Stored:
        """What is stored of a member."""
        stored = self.store.perform(Load(member_id or self.member_id()))
        assert isinstance(stored, Stored)
        return stored

    def document(self, member_id: str = "") -> Document:
        """The stored document."""
        data = self.stored(member_id).document
        assert data is not None
        return decode(data)

    def entries(self, member_id: str = "") -> tuple[Entry, ...]:
        """The stored audit."""
        entries: Any = self.store.perform(ReadAudit(member_id or self.member_id()))
        return tuple(entries)

    def plant(self, document: Document, **raw: Any) -> None:
        """Store a document that was made elsewhere, its channel linked when it is a member's."""
        self.plant_bytes(document.member_id, encode(document))
        if not document.guest:
            self.store.perform(Link(document.channel, document.member_id))

    def plant_bytes(self, member_id: str, data: bytes) -> None:
        """Store bytes as a member's document, whatever they are."""
        head = self.stored(member_id).head
        token = f"planted-{head.version}"
        note = AuditEntry(head.version + 1, START, member_id, ("whatsapp", ""), "update", "advanced", token, token)
        entry = seal(note, data, head.digest)
        result = self.store.perform(Commit(member_id, head, token, token, "", data, entry))
        assert type(result).__name__ == "Committed"

    def check(self) -> None:
        """What holds of a store after any messages.

        Valid documents, each member's audit gapless and whole, its latest entry that of the document.
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


# On a manager ----------------------------------------------------------------------------------------------------


class Shell:
    """A manager, sync or async, spoken to alike. Without a cache, so that a clock that is moved by hand is heard."""

    def __init__(self, kind: Literal["sync", "async"], bot: Bot, store: Any, **options: Any) -> None:
        self.kind = kind
        self._runner = asyncio.Runner() if kind == "async" else None
        self._ids = itertools.count(1)
        options = {"cache": 0, **options}
        if kind == "sync":
            self.manager: Any = FlowStateManager(bot, store, **options)
        else:
            self.manager = AsyncFlowStateManager(bot, store if _is_async(store) else AsyncMemoryStore(store), **options)

    def do(self, name: str, *arguments: Any, **named: Any) -> Any:
        """Call a method of the manager."""
        return self.run(getattr(self.manager, name)(*arguments, **named))

    def run(self, result: Any) -> Any:
        """What a method gave, awaited when it is awaitable."""
        return self._runner.run(result) if self._runner and inspect.iscoroutine(result) else result

    def pause(self) -> None:
        """Let others go on for a moment: threads, and the tasks of the manager's loop."""
        if self._runner is not None:
            self._runner.run(asyncio.sleep(0.005))
        else:
            time.sleep(0.005)

    def until(self, holds: Callable[[], Any], seconds: float = 30.0) -> None:
        """Wait until something holds."""
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, "it did not come to that"
            self.pause()

    def message(self, text: str | None = None, *, channel: Channel = CHANNEL, **more: Any) -> Message:
        """A new message of the member."""
        return Message(channel, more.pop("id", f"{id(self)}-{next(self._ids)}"), text, **more)

    def handle(self, message: Message) -> Outcome:
        """Handle a message."""
        outcome: Outcome = self.do("handle", message)
        return outcome

    def say(self, *texts: str) -> Outcome:
        """Type one or more messages; the outcome of the last."""
        return [self.handle(self.message(text)) for text in texts][-1]

    def wake(self, member_id: str = "m-1") -> tuple[AuditEntry, ...]:
        """Wake a member; what was done."""
        done: tuple[AuditEntry, ...] = self.do("wake", member_id)
        return done

    def state(self, member_id: str = "m-1") -> Document:
        """The document."""
        document: Document = self.do("state", member_id)
        assert document is not None
        return document

    def close(self) -> None:
        """Close the manager and its loop."""
        self.do("close")
        if self._runner is not None:
            self._runner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _is_async(store: Any) -> bool:
    return inspect.iscoroutinefunction(store.perform)


class Watched:
    """A store that a test may hold up or spoil: `before` is called with each request and may wait, or raise."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.before: Callable[[Request], None] = lambda request: None

    def perform(self, request: Request) -> Any:
        """Do what `request` says."""
        self.before(request)
        return self.store.perform(request)


__all__ = [
    "CHANNEL",
    "FRUITS",
    "START",
    "TEXTS",
    "Bank",
    "CallReturned",
    "Chat",
    "Clock",
    "Delivered",
    "DeliveryDue",
    "LeaseExpired",
    "Order",
    "Pick",
    "SessionExpired",
    "Shell",
    "SignIn",
    "StateTimeout",
    "Talk",
    "Watched",
    "check_decision",
    "choices",
    "fruit_bot",
    "home",
    "member_document",
    "one_flow",
    "order",
    "pick",
    "run_call",
    "same",
    "sign_in",
    "words",
]
