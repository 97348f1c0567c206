"""An older copy of the store is put back while a member pays: no key, button or reply of before stands for another one.

A member types amounts and answers, presses any choice that was ever shown, and has any message delivered again. Timers
fire, sessions end, the service loses replies, and the store is put back to any earlier copy. Meanwhile:

- one key of a payment stands for one amount at one rate, confirmed by one message or timer;
- one choice on the wire stands for one question, in the very words in which it was shown;
- one key of a delivery stands for one text;
- "paid" is said of the amount and the rate that the service has paid.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import attrs
from hypothesis import event, example, given
from hypothesis import strategies as st

from vimbiso_fsm import (
    READ_ONLY,
    Bot,
    Buttons,
    Call,
    Caller,
    Flow,
    Menu,
    Message,
    Refused,
    State,
    Text,
    Transition,
    Turn,
    call,
)
from vimbiso_fsm.operations.effects import Deliver, RunCall
from vimbiso_fsm.operations.handle import Outcome
from vimbiso_fsm.store.requests import Effect
from vimbiso_fsm.testing.chat import Chat, words

ANYBODY = Caller()


class Exchange(Protocol):
    """The port of the service."""

    def rate(self, *, caller: Caller = ANYBODY) -> int:
        """Return the rate now."""
        ...

    def pay(self, amount: int, rate: int, *, caller: Caller = ANYBODY) -> str:
        """Pay an amount at a rate."""
        ...


class Payments:
    """The service, whose rate rises with each question for it. It pays once for each key.

    Attributes:
        paid: The amount and the rate by key.
        fails: Whether the reply to the next payment is lost.
    """

    def __init__(self) -> None:
        self.paid: dict[str, str] = {}
        self.fails = False
        self._asked = 0

    def rate(self, *, caller: Caller = ANYBODY) -> int:
        """Return the rate now."""
        self._asked += 1
        return self._asked

    def pay(self, amount: int, rate: int, *, caller: Caller = ANYBODY) -> str:
        """Pay, and return what was paid under this key."""
        receipt = self.paid.setdefault(caller.key, f"{amount}@{rate}")
        if self.fails:
            self.fails = False
            raise ConnectionError("the reply is lost")
        return receipt


@attrs.frozen
class Payment:
    """What is paid."""

    amount: int = 0
    rate: int = 0
    receipt: str = ""


def whole(text: str) -> int | Refused:
    """Read an amount."""
    return int(text) if text.isdecimal() else Refused("number.format")


def ask_rate(turn: Turn[Payment]) -> Call[int]:
    """Ask for the rate."""
    return call(Exchange.rate)


def pay(turn: Turn[Payment]) -> Call[str]:
    """Propose to pay."""
    return call(Exchange.pay, turn.data.amount, turn.data.rate)


def said(words: str) -> Callable[[Turn[Payment]], Text]:
    """Return a text about the payment."""
    return lambda turn: Text(words, n=turn.data.amount, rate=turn.data.rate, receipt=turn.data.receipt)


PAY: Flow[Payment] = Flow(
    "pay", data=Payment, initial="amount",
    states=[
        State("amount",  ask=Text("how much?"), reads=whole, into="amount"),
        State("quoting", call=ask_rate, policy=READ_ONLY, into="rate"),
        State("confirm", ask=said("pay {n}@{rate}?"), timeout=60),
        State("waiting", ask=said("will pay {n}@{rate}"), timeout=60),
        State("paying",  ask=Text("working"), call=pay, into="receipt"),
        State("paid",    say=said("paid {n}@{rate}, receipt {receipt}")),
        State("unsure",  say=Text("unsure")),
    ],
    transitions=[
        Transition("answer",  "amount",  "quoting"),
        Transition("done",    "quoting", "confirm"),
        Transition("failed",  "quoting", "amount"),
        Transition("yes",     "confirm", "paying"),
        Transition("later",   "confirm", "waiting"),
        Transition("no",      "confirm", "amount"),
        Transition("timeout", "confirm", "amount"),
        Transition("stop",    "waiting", "amount"),
        Transition("timeout", "waiting", "paying"),
        Transition("done",    "paying",  "paid"),
        Transition("failed",  "paying",  "unsure"),
        Transition("auto",    "paid",    "amount"),
        Transition("auto",    "unsure",  "amount"),
    ],
)  # fmt: skip


class Restored(Chat):
    """A chat whose store can be put back to a copy, and that notes what leaves it.

    Attributes:
        payments: The service.
        keys: The message or timer, and the arguments, of each payment by its key.
        asked: The question by the id of each choice that was shown.
        told: The texts of each delivery by its key.
    """

    def __init__(self) -> None:
        self.payments = Payments()
        super().__init__(Bot([PAY], services={"exchange": self.payments}, session=150.0))
        self.delivers = True
        self.keys: dict[str, tuple[str, Mapping[str, Any]]] = {}
        self.asked: dict[str, str] = {}
        self.told: dict[str, list[str]] = {}
        self.sent: list[Message] = []
        self.copies: list[dict[str, Any]] = []

    def perform(self, effect: Effect[Any]) -> object:
        """Perform an effect, and note the key of a payment or of a delivery."""
        if isinstance(effect, RunCall) and effect.call.method == "pay":
            made = (effect.pending.root, effect.call.arguments)
            assert self.keys.setdefault(effect.caller.key, made) == made, "one key stands for two payments"
        if isinstance(effect, Deliver):
            told = words(effect.replies)
            assert self.told.setdefault(effect.key, told) == told, "one key stands for two deliveries"
            self.hear(effect.replies)
        return super().perform(effect)

    def hear(self, replies: Any) -> None:
        """Note the choices of the replies, and compare what is said to be paid with what was paid."""
        for reply in replies:
            for paid, receipt in re.findall(r"paid (\S+), receipt (\S+)", reply.text):
                assert paid == receipt, "something is said to be paid that was not"
            shown = reply.buttons if isinstance(reply, Buttons) else reply.rows if isinstance(reply, Menu) else ()
            for choice in shown:
                assert self.asked.setdefault(choice.id, reply.text) == reply.text, "one choice stands for two questions"

    def receive(self, message: Message) -> Outcome:
        """Handle a message."""
        self.wait(1)
        self.sent.append(message)
        outcome = self.handle(message)
        self.hear(outcome.replies)
        return outcome

    def keep(self) -> None:
        """Copy the store."""
        self.copies.append(self._content())

    def put_back(self, place: int) -> None:
        """Put the store back to a copy."""
        vars(self.store).update(copy.deepcopy(self.copies[place % len(self.copies)]))

    def _content(self) -> dict[str, Any]:
        kept = {name: value for name, value in vars(self.store).items() if name not in ("_lock", "_clock")}
        return copy.deepcopy(kept)


STEPS = st.one_of(
    st.tuples(st.just("type"), st.sampled_from(["5", "7", "5 yes", "7 yes", "7 later", "yes", "no", "menu"])),
    st.tuples(st.just("press"), st.integers(0, 8)),
    st.tuples(st.just("again"), st.integers(0, 8)),
    st.tuples(st.just("wait"), st.sampled_from([10, 61, 200])),
    st.tuples(st.sampled_from(["lose", "keep"]), st.just(0)),
    st.tuples(st.just("put back"), st.integers(0, 3)),
    st.tuples(st.just("put back"), st.integers(0, 3)),
)


@example([("type", "5 yes"), ("put back", 0), ("type", "7 yes")])
@example([("type", "5"), ("put back", 0), ("type", "7"), ("press", 5), ("press", 2)])
@example([("type", "5 later"), ("wait", 61), ("put back", 0), ("type", "7 later"), ("wait", 61)])
@given(st.lists(STEPS, min_size=8, max_size=40))
def test_what_left_a_store_before_it_was_put_back_stands_for_nothing_else(steps: list[tuple[str, Any]]):
    """Keys of calls, choices and keys of deliveries are unique over copies of the store that are put back."""
    chat = Restored()
    chat.receive(chat.message("hi"))
    chat.keep()
    for kind, what in steps:
        match kind:
            case "type":
                for text in what.split():
                    chat.receive(chat.message(text))
            case "press" if chat.asked:
                choice = [*chat.asked][-1 - what % len(chat.asked)]
                paid = {*chat.keys}
                outcome = chat.receive(chat.message(choice=choice))
                fresh = {chat.keys[key][1]["amount"] for key in chat.keys.keys() - paid}
                assert all(f"pay {amount}@" in chat.asked[choice] for amount in fresh), (
                    "it has confirmed another amount"
                )
                event(f"a press came to {outcome.status}")
            case "again" if chat.sent:
                chat.receive(chat.sent[-1 - what % len(chat.sent)])
            case "wait":
                chat.wait(what)
                chat.end(chat.waking())
            case "lose":
                chat.payments.fails = True
            case "keep":
                chat.keep()
            case "put back":
                chat.put_back(what)
                event("the store was put back")
            case _:
                pass
    event(f"{min(len(chat.keys), 3)} payments")
