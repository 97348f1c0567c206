"""Small bots with every kind of state, which many tests share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from vimbiso_fsm.document.document import Document
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.calls import Call, Caller, call
from vimbiso_fsm.flow.commands import Shortcut
from vimbiso_fsm.flow.flow import Flow, NoData
from vimbiso_fsm.flow.privacy import PUBLIC, SECRET
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.flow.turn import Changes, Turn, authenticated
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.replies import Row, Text
from vimbiso_fsm.testing.chat import CHANNEL, START

# The bank: a service ---------------------------------------------------------------------------------------------


class Bank:
    """A service.

    Attributes:
        script: What the next calls return; an exception is raised. After it, calls return their usual results.
        calls: The method and the key of each call.
    """

    def __init__(self) -> None:
        self.script: list[Any] = []
        self.calls: list[tuple[str, str]] = []

    def pay(self, name: str, fruit: str, *, caller: Caller = Caller()) -> str | Refused:  # noqa: B008
        """Pay, and return a receipt."""
        self.calls.append(("pay", caller.key))
        result: str | Refused = self._next(f"receipt-{len(self.calls)}")
        return result

    def stock(self, *, caller: Caller = Caller()) -> int | Refused:  # noqa: B008
        """Return the stock."""
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
    """The chosen fruit; only those that begin with `start` are offered."""

    start: str = ""
    fruit: str = ""


def fruits(turn: Turn[Pick]) -> Sequence[Row]:
    """The rows of the list, at most 25."""
    return [
        Row(fruit, Text("fruit.title", fruit=fruit), Text("fruit.about"))
        for fruit in FRUITS
        if fruit.startswith(turn.data.start)
    ]


def fruit_of(turn: Turn[Pick]) -> str:
    """The output of the sub-flow."""
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
    """The data of an order."""

    name: str = attrs.field(default="", metadata=PUBLIC)
    pin: str = attrs.field(default="", metadata=SECRET)
    fruit: str = ""
    receipt: str = ""
    visits: int = 0


def word(text: str) -> str | Refused:
    """Read one word."""
    text = text.strip()
    return text.removeprefix("@") if text.removeprefix("@").isalnum() else Refused("word.format", field="name")


def digits(text: str) -> str | Refused:
    """Read a PIN."""
    return text if text.isascii() and text.isdigit() and len(text) == 4 else Refused("pin.format", field="pin")


def not_taken(turn: Turn[Order]) -> bool | Refused:
    """Refuse a name that is taken."""
    return turn.data.name != "taken" or Refused("name.taken", field="name", name=turn.data.name)


def is_vip(turn: Turn[Order]) -> bool:
    """Decline all names but one, without a reason."""
    return turn.data.name == "vip"


def is_nobody(turn: Turn[Order]) -> bool:
    """Accept one name; the guard is used in `unless`."""
    return turn.data.name == "nobody"


def is_apple(turn: Turn[Order]) -> bool:
    """Decline all fruits but one, which hides the button for gifts."""
    return turn.data.fruit == "apple"


def is_ada(turn: Turn[Order]) -> bool | Refused:
    """Refuse all names but one, with a reason."""
    return turn.data.name == "ada" or Refused("express.only", name=turn.data.name)


def is_sorted(turn: Turn[Order]) -> bool:
    """Accept every name."""
    return bool(turn.data.name)


def visited(turn: Turn[Order]) -> Order:
    """Count the visit."""
    return attrs.evolve(turn.data, visits=turn.data.visits + 1)


def from_start(turn: Turn[Order]) -> Pick:
    """The input of the sub-flow: a name of one letter restricts the fruits to those that begin with it."""
    return Pick(start=turn.data.name if len(turn.data.name) == 1 else "")


def pay(turn: Turn[Order]) -> Call[str | Refused]:
    """Propose to pay for the order."""
    return call(Bank.pay, name=turn.data.name, fruit=turn.data.fruit)


def summary(turn: Turn[Order]) -> Text:
    """The question of the order."""
    return Text("order.confirm", name=turn.data.name, fruit=turn.data.fruit, visits=turn.data.visits)


def receipt(turn: Turn[Order]) -> Text:
    """The text of a paid order."""
    return Text("order.paid", receipt=turn.data.receipt)


order = Flow(
    "order", version=2, data=Order, initial="name", requires=authenticated,
    states=[
        State("name",    ask=Text("order.name"), reads=word, into="name", examples=["ada", "vip", "taken", "nobody"]),
        State("pin",     ask=Text("order.pin"), reads=digits, into="pin", examples="1234"),
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
    """The password."""

    password: str = attrs.field(default="", metadata=SECRET)


def password(text: str) -> str | Refused:
    """Read the password."""
    return text if text == "sesame" else Refused("password.wrong", field="password")


def signed_in(turn: Turn[SignIn]) -> Changes[SignIn]:
    """Authenticate the member."""
    member = attrs.evolve(turn.member, authenticated=True, jwt_token="token-1", profile={"name": "Ada", "accounts": []})
    return turn.changes(data=SignIn(), member=member)


sign_in = Flow(
    "sign_in", data=SignIn, initial="asking",
    states=[
        State("asking", ask=Text("sign_in.asking"), reads=password, into="password", examples="sesame"),
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
    """Propose to read the stock."""
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
    """Read a shortcut such as `ada/1234`: a name and a PIN."""
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
    """Make the bot with all flows of this module; options replace those of `Bot`."""
    settings: dict[str, Any] = {
        "home": home,
        "entry": sign_in,
        "shortcuts": [Shortcut(order, quick, examples="ada/1234")],
        "texts": TEXTS,
        "services": {"bank": bank or Bank()},
    }
    return Bot(flows=[home, order], **{**settings, **options})


def one_flow(
    states: Sequence[State[Any]], transitions: Sequence[Transition[Any]], *, data: type[Any] = NoData, **options: Any
) -> Flow[Any]:
    """Make the flow `one`, whose initial state is the first."""
    return Flow("one", data=data, initial=states[0].name, states=states, transitions=transitions, **options)


def member_document(**changes: Any) -> Document:
    """Make the document of a member who is signed in and has sent no message."""
    address = CHANNEL.address
    known = Document("m-1", CHANNEL, START, guest=False, jwt_token="token-0", authenticated=True, channels=(address,))
    return attrs.evolve(known, **changes)
