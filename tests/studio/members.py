"""A bot whose conversations hold secrets, and a member to whom everything has happened, for tests of the studio."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, Final

import attrs

from vimbiso_fsm import (
    PUBLIC,
    SECRET,
    Bot,
    Call,
    CallPolicy,
    Channel,
    Flow,
    FlowStateManager,
    Message,
    Refused,
    State,
    Text,
    Transition,
    Turn,
    call,
)
from vimbiso_fsm.messages.sending import Answer, Never, Sent
from vimbiso_fsm.store.redis_atomic import AtomicStateManager

PIN: Final = "4711-canary-pin"
NAME: Final = "Emmy Canary-Noether"
NUMBER: Final = "263771055667"
WRONG_PIN: Final = "0815-canary-wrong"
HIDDEN: Final = (PIN, NAME, NUMBER, WRONG_PIN, "canary", NUMBER[3:])
"""Texts that may stand in no timeline."""
HOSTILE: Final = (
    "<script>alert('owned')</script><img src=x onerror=alert(1)>",
    "\u202eevil\u2066\u200f\x07\x1b[31mred\x1b[0m",
    "x" * 10_000,
)
"""Texts of hostile members."""
WHATSAPP: Final = Channel("whatsapp", NUMBER)


class Till:
    """The service that pays.

    Attributes:
        broken: The number of next calls whose outcome is not known.
        paid: The number of payments.
    """

    def __init__(self) -> None:
        self.broken = self.paid = 0

    def pay(self, to: str, pin: str) -> str:
        """Pay, and return a receipt."""
        if self.broken:
            self.broken -= 1
            raise TimeoutError(f"no answer for {pin}")
        self.paid += 1
        return f"receipt of {to}"


@attrs.frozen
class Payment:
    """The data of a payment."""

    amount: str = attrs.field(default="", metadata=PUBLIC)
    to: str = ""
    pin: str = attrs.field(default="", metadata=SECRET)
    receipt: str = ""


def right_pin(turn: Turn[Payment]) -> bool | Refused:
    """Guard: the PIN is right."""
    return turn.data.pin == PIN or Refused("pin.wrong", field="pin", given=turn.data.pin)


def pay(turn: Turn[Payment]) -> Call[str]:
    """Propose the payment."""
    return call(Till.pay, to=turn.data.to, pin=turn.data.pin)


def said(turn: Turn[Payment]) -> Text:
    """Return words that quote the member: the author has not written them as a text with parameters."""
    return Text(f"Paid to {turn.data.to}.")


PAYMENT: Final = Flow(
    "payment",
    data=Payment,
    initial="amount",
    states=[
        State("amount", ask=Text("How much?"), reads=str, into="amount"),
        State("to", ask=Text("pay.to"), reads=str, into="to"),
        State("pin", ask=lambda turn: Text("pay.pin", to=turn.data.to), reads=str, into="pin"),
        State("paying", call=pay, into="receipt", policy=CallPolicy(attempts=1, rounds=4)),
        State("paid", say=said, final=True),
        State("unsure", say=Text("It is not known."), final=True),
    ],
    transitions=[
        Transition("answer", "amount", "to"),
        Transition("answer", "to", "pin"),
        Transition("answer", "pin", "paying", conditions=right_pin),
        Transition("done", "paying", "paid"),
        Transition("failed", "paying", "unsure"),
    ],
)
TEXTS: Final = {
    "pay.to": "Who is it for?",
    "pay.pin": "Your PIN, to pay {to}?",
    "pin.wrong": "{given} is not your PIN.",
}
bot: Final = Bot([PAYMENT], texts=TEXTS, services={"till": Till()})


def talk(manager: FlowStateManager, *texts: str, channel: Channel = WHATSAPP) -> str:
    """Send texts to the bot; return the id of the member."""
    found = ""
    for text in texts:
        found = manager.handle(Message(channel, f"m{next(_IDS)}", text)).state.member_id
    return found


_IDS: Final = itertools.count(1)


class Channels:
    """A sender of WhatsApp that refuses its `refused`-th delivery, which quotes the number."""

    def __init__(self, refused: int = 2) -> None:
        self._left = refused

    def __call__(self, channel: Channel, replies: Any, /) -> Answer:
        """Take the replies, or refuse them."""
        self._left -= 1
        return Never(f"blocked: {NUMBER}", code="131026") if self._left == 0 else Sent()


def everything(manager: FlowStateManager, till: Till, later: Callable[[float], object]) -> str:
    """Lead a member through a payment: a refused PIN, a call that has no answer, a refused delivery and a recovery.

    Args:
        manager: The manager, with `Channels` as the sender of WhatsApp.
        till: Its service.
        later: Sets the clock forward by seconds.

    Returns:
        The id of the member.
    """
    till.broken = 2
    member_id = talk(manager, "hi", "10 USD", NAME, WRONG_PIN, PIN)
    for _ in range(3):
        later(60)
        manager.wake(member_id)
    talk(manager, "hi", HOSTILE[0], "cancel", "no", HOSTILE[1], "cancel", "no", HOSTILE[2], "12 USD", NAME)
    version = next(entry.version for entry in reversed(manager.history(member_id)) if entry.dest == "pin")
    manager.recover(member_id, to=version - 1)
    return member_id


def lived(url: str) -> str:
    """Lead a member through everything in the store of a server, whose clock is moved meanwhile; return their id."""
    till = Till()
    with AtomicStateManager.from_url(url) as store:
        options: dict[str, Any] = {"services": {"till": till}, "senders": {"whatsapp": Channels()}}
        manager = FlowStateManager(bot, store, rates=None, cache=0, **options)
        return everything(manager, till, store.move_clock)
