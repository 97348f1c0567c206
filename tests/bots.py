"""Small bots with every kind of state, and two ways to talk to a bot by hand.

`Talk` decides turn by turn without a store, `Chat` drives exchanges on a `MemoryStore`. Both check every turn against
what must hold of any turn.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal, Self

import attrs

from vimbiso_fsm.audit.entries import AuditEntry
from vimbiso_fsm.document.document import Address, Document
from vimbiso_fsm.engine.events import (
    CallReturned,
    Delivered,
    DeliveryDue,
    LeaseExpired,
    SessionExpired,
    StateTimeout,
)
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.calls import Call, Caller, call
from vimbiso_fsm.flow.commands import Shortcut
from vimbiso_fsm.flow.flow import Flow, NoData
from vimbiso_fsm.flow.privacy import PUBLIC, SECRET
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.flow.turn import Changes, Turn, authenticated
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.replies import Row, Text
from vimbiso_fsm.operations.handle import Outcome
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager, FlowStateManager
from vimbiso_fsm.store.memory import AsyncMemoryStore, MemoryStore
from vimbiso_fsm.store.requests import Request
from vimbiso_fsm.testing.chat import (
    CHANNEL,
    START,
    Chat,
    Clock,
    Talk,
    check_decision,
    choices,
    run_call,
    same,
    words,
)

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


def member_document(**changes: Any) -> Document:
    """A member who is signed in and has not said anything yet."""
    address = Address(*CHANNEL.address)
    known = Document("m-1", CHANNEL, START, guest=False, jwt_token="token-0", authenticated=True, channels=(address,))
    return attrs.evolve(known, **changes)


# Turn by turn -----------------------------------------------------------------------------------------------------


# On a store ----------------------------------------------------------------------------------------------------------


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
