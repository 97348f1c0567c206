"""The conversations that are measured: two questions asked in turn without an end, so that every message advances."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, cycle

import attrs

import flows
from vimbiso_fsm import (
    Bot,
    Call,
    Channel,
    Flow,
    Message,
    Outcome,
    Refused,
    State,
    Text,
    Transition,
    Turn,
    call,
)
from vimbiso_fsm.document.codec import encode
from vimbiso_fsm.messages.money import Money
from vimbiso_fsm.messages.readers import amount, free_text

__all__ = ["OFFER", "PICK", "POST", "TILL", "Conversation", "Script", "advanced", "size"]


NOTHING = Money.zero("USD")


@attrs.frozen
class Sale:
    """The data of the till. `ledger` makes the stored document as long as an ordinary one, about 800 bytes."""

    price: Money = NOTHING
    goods: str = ""
    ledger: str = "x" * 90


def affordable(turn: Turn[Sale]) -> bool | Refused:
    """A guard that compares values."""
    return turn.data.price > NOTHING or Refused("price.none", field="price")


def bought(turn: Turn[Sale]) -> Text:
    """A question that quotes an answer."""
    return Text("{price}: for what?", price=turn.data.price)


till = Flow(
    "till", data=Sale, initial="price",
    states=[
        State("price", ask=Text("How much is it?"), reads=amount({"USD": 2}), into="price"),
        State("goods", ask=bought, reads=free_text(40), into="goods"),
    ],
    transitions=[
        Transition("answer", "price", "goods", conditions=affordable),
        Transition("answer", "goods", "price"),
    ],
)  # fmt: skip


@attrs.frozen
class Lamp:
    """The data of the switch."""


switch = Flow(
    "switch", data=Lamp, initial="off",
    states=[
        State("off", ask=Text("It is off.")),
        State("on", ask=Text("It is on.")),
    ],
    transitions=[Transition("flip", "off", "on"), Transition("flip", "on", "off")],
)  # fmt: skip


@attrs.frozen
class Parcel:
    """The data of the counter."""

    name: str = ""


class Post:
    """A service without effect or memory, so that it does not grow itself."""

    def send(self, name: str) -> str:
        """Return that the parcel was sent."""
        return name


def sent(turn: Turn[Parcel]) -> Call[str]:
    """The effect of each round."""
    return call(Post.send, turn.data.name)


counter = Flow(
    "counter", data=Parcel, initial="name",
    states=[
        State("name", ask=Text("To whom?"), reads=free_text(40), into="name"),
        State("sending", call=sent),
        State("sent", say=Text("Sent."), final=True),
    ],
    transitions=[
        Transition("answer", "name", "sending"),
        Transition("done", "sending", "sent"),
        Transition("failed", "sending", "name"),
    ],
)  # fmt: skip


@attrs.frozen
class Script:
    """A bot, the messages at the start, and the messages that are repeated from then on.

    The first round belongs to the opening: after it all answers are set, and the document has its full length.
    """

    name: str
    bot: Bot
    opening: tuple[str, ...]
    round: tuple[str, ...]

    @property
    def namespace(self) -> str:
        """The namespace of the keys of its bot, which shares the server with other bots."""
        return self.bot.home.name


TILL = Script("turn", Bot(till), ("hi",), ("12.50 USD", "bread and milk"))
"""A question answered: read, kept in a field, judged by a guard; and one answered without a guard."""

OFFER = Script(
    "turn of flows.offer",
    flows.bot,
    ("hi", "become_member", "Emmy", "Noether", "yes", "offer"),
    ("10 USD", "back"),
)
"""VimbisoPay's own conversation, its document and its guards: the amount of an offer, and back to it."""


PICK = Script("press", Bot(switch), ("hi",), ())
"""A question with a button. `counts.py` presses it, because a press needs what was shown; no text is repeated."""

POST = Script("call", Bot(counter, services={"post": Post()}), ("hi",), ("Alan", "hello"))
"""An answer that makes a call, in a run that ends with it."""


class Conversation:
    """The messages of one member, each with an id of its own and made anew, as a webhook's would be."""

    def __init__(self, script: Script, member: int) -> None:
        self._member = f"{script.name} {member}"
        self._channel = Channel("whatsapp", f"263770{member:08}")  # a number that no member of credex-core has
        self._ids: Iterator[int] = count(1)
        self.opening = tuple(map(self._message, (*script.opening, *script.round)))
        self._round = cycle(script.round)

    def _message(self, text: str) -> Message:
        return Message(self._channel, id=f"{self._member} {next(self._ids)}", text=text)

    def __next__(self) -> Message:
        return self._message(next(self._round))


def size(outcome: Outcome) -> int:
    """Return the bytes of the document after an opening turn."""
    advanced(outcome)
    return len(encode(outcome.state))


def advanced(outcome: Outcome) -> None:
    """Count a turn, and refuse to count anything else.

    Raises:
        RuntimeError: The turn did not advance.
    """
    if outcome.status != "advanced":
        raise RuntimeError(f"a turn of the benchmark was {outcome.status}: {[reply.text for reply in outcome.replies]}")
