"""The bot of the golden files: a fruit stall. It uses the top-level names of `vimbiso_fsm` only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal

import attrs

from vimbiso_fsm import (
    PUBLIC,
    READ_ONLY,
    SECRET,
    Bot,
    Call,
    Caller,
    CallPolicy,
    Changes,
    Flow,
    Limits,
    NoData,
    Refused,
    Row,
    Shortcut,
    State,
    Text,
    Transition,
    Turn,
    Unreachable,
    authenticated,
    call,
)

__all__ = ["Till", "stall"]


ANYBODY = Caller()


class Till:
    """The service.

    Attributes:
        fault: The fault of the calls of a method: "refused", "down" or "lost".
    """

    def __init__(self) -> None:
        self.fault: tuple[str, str] = ("", "")
        self.calls: list[tuple[str, str]] = []

    def pay(self, name: str, fruits: Sequence[str], price: Decimal, *, caller: Caller = ANYBODY) -> str | Refused:
        """Take the money; return the number of the receipt."""
        fault = self._fault("pay", caller)
        return f"receipt-{len(self.calls)}" if fault is None else fault

    def stock(self, *, caller: Caller = ANYBODY) -> int | Refused:
        """Return how much fruit is left."""
        fault = self._fault("stock", caller)
        return 7 if fault is None else fault

    def _fault(self, method: str, caller: Caller) -> Refused | None:
        self.calls.append((method, caller.key))
        match self.fault:
            case ("refused", name) if name == method:
                return Refused("till.closed", field="fruits")
            case ("down", name) if name == method:
                return Unreachable("till.down")
            case ("lost", name) if name == method:
                raise ConnectionError("the answer was lost")
            case _:
                return None


# Picking: a sub-flow with a list ---------------------------------------------------------------------------------


FRUITS = ("fruit01", "fruit02", "fruit03", "äpfel", "梨")
"""More than one page has rows."""


@attrs.frozen
class Pick:
    """The fruit that was chosen."""

    fruit: str = ""


def fruits(turn: Turn[Pick]) -> Sequence[Row]:
    """Offer a row for each fruit."""
    return [Row(fruit, Text("fruit.title", fruit=fruit), Text("fruit.about")) for fruit in FRUITS]


def fruit_of(turn: Turn[Pick]) -> str:
    """Return the result of the sub-flow."""
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


# Ordering ----------------------------------------------------------------------------------------------------------


@attrs.frozen
class Order:
    """A field of each kind: public, secret and private; text, number, decimal, list, date, instant and nothing."""

    name: str = attrs.field(default="", metadata=PUBLIC)
    pin: str = attrs.field(default="", metadata=SECRET)
    fruit: str = attrs.field(default="", metadata=PUBLIC)
    fruits: tuple[str, ...] = ()
    price: Decimal = attrs.field(default=Decimal("0.00"), metadata=PUBLIC)
    weight: float = attrs.field(default=0.25, metadata=PUBLIC)
    count: int = attrs.field(default=0, metadata=PUBLIC)
    gift: bool = attrs.field(default=False, metadata=PUBLIC)
    day: date | None = None
    begun: datetime | None = None
    receipt: str = ""


def word(text: str) -> str | Refused:
    """Read one word."""
    text = text.strip()
    return text if text and " " not in text else Refused("word.format", field="name")


def digits(text: str) -> str | Refused:
    """Read a PIN."""
    return text if text.isascii() and text.isdigit() and len(text) == 4 else Refused("pin.format", field="pin")


def not_taken(turn: Turn[Order]) -> bool | Refused:
    """Refuse a name."""
    return turn.data.name != "taken" or Refused("name.taken", field="name", name=turn.data.name)


def is_vip(turn: Turn[Order]) -> bool:
    """Decline silently all names but one."""
    return turn.data.name == "vip"


def is_nobody(turn: Turn[Order]) -> bool:
    """Accept one name, for an `unless`."""
    return turn.data.name == "nobody"


def broken(turn: Turn[Order]) -> Order:
    """Prepare: raise an exception, as a mistake of the author."""
    raise RuntimeError("a mistake")


def counted(turn: Turn[Order]) -> Order:
    """Prepare: set a value of each kind."""
    return attrs.evolve(
        turn.data,
        fruits=(turn.data.fruit, "apple"),
        price=Decimal("12.50"),
        count=2,
        gift=True,
        day=turn.now.date(),
        begun=turn.now,
    )


def pay(turn: Turn[Order]) -> Call[str | Refused]:
    """Pay for it."""
    return call(Till.pay, name=turn.data.name, fruits=turn.data.fruits, price=turn.data.price)


def summary(turn: Turn[Order]) -> Text:
    """Say what was ordered."""
    return Text("order.confirm", name=turn.data.name, fruit=turn.data.fruit, price=turn.data.price)


def receipt(turn: Turn[Order]) -> Text:
    """Say that it was paid."""
    return Text("order.paid", receipt=turn.data.receipt)


order = Flow(
    "order", version=2, data=Order, initial="name", requires=authenticated,
    states=[
        State("name",    ask=Text("order.name"), reads=word, into="name"),
        State("pin",     ask=Text("order.pin"), reads=digits, into="pin"),
        State("picking", flow=pick, into="fruit"),
        State("sorting", say=Text("order.sorting")),
        State("confirm", ask=summary, timeout=60),
        State("paying",  call=pay, into="receipt", policy=CallPolicy(attempts=1, rounds=2)),
        State("paid",    say=receipt, final=True),
        State("dropped", say=Text("order.dropped"), final=True, cancels=True),
        State("expired", say=Text("order.expired"), final=True, cancels=True),
    ],
    transitions=[
        Transition("answer",    "name",    "picking", conditions=[not_taken, is_vip]),
        Transition("answer",    "name",    "pin",     conditions=not_taken, unless=is_nobody),
        Transition("answer",    "pin",     "picking"),
        Transition("done",      "picking", "sorting", prepare=counted),
        Transition("cancelled", "picking", "name"),
        Transition("auto",      "sorting", "confirm"),
        Transition("yes",       "confirm", "paying"),
        Transition("no",        "confirm", "dropped"),
        Transition("express",   "confirm", "paying",  prepare=broken, words="at once"),
        Transition("timeout",   "confirm", "expired"),
        Transition("done",      "paying",  "paid"),
        Transition("failed",    "paying",  "confirm"),
    ],
)  # fmt: skip


# Signing in: a guest becomes a member ------------------------------------------------------------------------------


@attrs.frozen
class SignIn:
    """The data of the login."""

    password: str = attrs.field(default="", metadata=SECRET)


def password(text: str) -> str | Refused:
    """Read the password."""
    return text if text == "sesame" else Refused("password.wrong", field="password")


def signed_in(turn: Turn[SignIn]) -> Changes[SignIn]:
    """Prepare: the guest is a member."""
    profile = {"name": "Ada 😀", "language": "en", "visits": 1, "rate": 0.1, "tags": [], "since": None, "vip": False}
    member = attrs.evolve(
        turn.member,
        id="m-1",
        guest=False,
        authenticated=True,
        jwt_token="token-1",
        profile=profile,
        current_account={"id": "a-1"},
    )
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


# Odd values --------------------------------------------------------------------------------------------------------


@attrs.frozen
class Inner:
    """A value within a value."""

    number: float | None = None
    words: tuple[str, ...] = ()


@attrs.frozen
class Odd:
    """Values that JSON writers are known to write in different ways."""

    small: float = attrs.field(default=0.0, metadata=PUBLIC)
    smaller: float = attrs.field(default=0.0, metadata=PUBLIC)
    large: float = attrs.field(default=0.0, metadata=PUBLIC)
    whole: float = attrs.field(default=0.0, metadata=PUBLIC)
    minus: float = attrs.field(default=0.0, metadata=PUBLIC)
    long: float = attrs.field(default=0.0, metadata=PUBLIC)
    huge: int = attrs.field(default=0, metadata=PUBLIC)
    beyond: int = attrs.field(default=0, metadata=PUBLIC)
    exact: Decimal = attrs.field(default=Decimal(0), metadata=PUBLIC)
    signs: str = attrs.field(default="", metadata=PUBLIC)
    none: str | None = attrs.field(default=None, metadata=PUBLIC)
    empty: tuple[str, ...] = attrs.field(default=(), metadata=PUBLIC)
    table: dict[str, int] = attrs.field(factory=dict[str, int], metadata=PUBLIC)
    inner: Inner = attrs.field(factory=Inner, metadata=PUBLIC)
    inners: tuple[Inner, ...] = attrs.field(default=(), metadata=PUBLIC)
    at: datetime | None = attrs.field(default=None, metadata=PUBLIC)
    begins: datetime | None = attrs.field(default=None, metadata=PUBLIC)
    answer: str = attrs.field(default="", metadata=PUBLIC)


def oddly(turn: Turn[Odd]) -> Odd:
    """Prepare: set all of them."""
    return attrs.evolve(
        turn.data,
        small=1.5e-05,
        smaller=1e-07,
        large=1e16,
        whole=5.0,
        minus=-0.0,
        long=0.1 + 0.2,
        huge=2**63,
        exact=Decimal("1.50E+3"),
        signs='"\\/\b\f\n\r\t\x00\x1f\x7f\x80\u2028\u2029 é 😀 \ufeff <&>',
        table={"b": 1, "a": 2, "": 3},
        inner=Inner(2.5e-10, ("x", "")),
        inners=(Inner(), Inner(1e22)),
        at=turn.now,
        begins=turn.now.replace(microsecond=0),
    )


def beyond(turn: Turn[Odd]) -> Odd:
    """Prepare: set a number that some writers refuse."""
    return attrs.evolve(turn.data, beyond=2**80)


odd = Flow(
    "odd", data=Odd, initial="asking",
    states=[
        State("asking", ask=Text("odd.asking"), reads=str, into="answer"),
        State("again",  ask=Text("odd.again"), reads=str, into="answer"),
        State("longer", ask=Text("odd.longer"), reads=str, into="answer"),
        State("over",   final=True),
    ],
    transitions=[
        Transition("answer", "asking", "again",  prepare=oddly),
        Transition("answer", "again",  "longer", prepare=beyond),
        Transition("answer", "longer", "over"),
    ],
)  # fmt: skip


# Home --------------------------------------------------------------------------------------------------------------


def stock(turn: Turn[NoData]) -> Call[int | Refused]:
    """Ask the till."""
    return call(Till.stock)


home = Flow(
    "home", initial="menu",
    states=[
        State("menu",     ask=Text("home.menu")),
        State("ordering", flow=order),
        State("stocking", ask=Text("home.stocking"), call=stock, policy=READ_ONLY),
        State("odd",      flow=odd),
    ],
    transitions=[
        Transition("order",     "menu",     "ordering", words="buy"),
        Transition("stock",     "menu",     "stocking"),
        Transition("oddity",    "menu",     "odd"),
        Transition("done",      "ordering", "menu"),
        Transition("cancelled", "ordering", "menu"),
        Transition("done",      "stocking", "menu"),
        Transition("failed",    "stocking", "menu"),
        Transition("done",      "odd",      "menu"),
        Transition("cancelled", "odd",      "menu"),
    ],
)  # fmt: skip


def quick(text: str) -> Sequence[str] | None:
    """Read `ada/1234`: a name and a PIN."""
    name, slash, pin = text.partition("/")
    return (name, pin) if slash else None


TEXTS = {
    "home.menu": "What now?",
    "home.menu.order": "Order fruit",
    "home.menu.stock": "See the stock",
    "home.menu.oddity": "Odd values",
    "home.stocking": "Looking …",
    "order.title": "Your order",
    "order.name": "Your name?",
    "order.name.help": "One word, for example: ada",
    "order.pin": "Your PIN?",
    "order.sorting": "Sorting.",
    "order.confirm": "{fruit} for {name}, {price}?",
    "order.confirm.yes": "Yes please",
    "order.confirm.no": "No",
    "order.confirm.express": "Express",
    "order.paid": "Paid: {receipt}",
    "order.dropped": "Dropped.",
    "order.expired": "Too slow.",
    "pick.list": "Which fruit?",
    "pick.list.nothing": "None of them",
    "fruit.title": "A {fruit}",
    "fruit.about": "Fresh.",
    "odd.asking": "Anything?",
    "odd.again": "Anything else?",
    "odd.longer": "And now?",
    "sign_in.asking": "The password?",
    "sign_in.asking.leave": "Leave",
    "sign_in.known": "Welcome.",
    "word.format": "One word, please.",
    "pin.format": "Four digits, please.",
    "name.taken": "{name} is taken.",
    "password.wrong": "That is not it.",
    "till.closed": "The till is closed.",
    "till.down": "The till cannot be reached.",
}

stall = Bot(
    flows=[home, order],
    home=home,
    entry=sign_in,
    shortcuts=[Shortcut(order, quick)],
    texts=TEXTS,
    services={"till": Till()},
    limits=Limits(rows=5),
)
"""The bot."""
