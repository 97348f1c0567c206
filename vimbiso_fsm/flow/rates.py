"""The rates of messages that a manager takes in, and the paces at which its workers send."""

from __future__ import annotations

from collections.abc import Container, Mapping
from types import MappingProxyType
from typing import Final

import attrs

from vimbiso_fsm.errors import FlowError
from vimbiso_fsm.messages.bounds import check_count, check_seconds
from vimbiso_fsm.messages.value import Value
from vimbiso_fsm.store.retention import LONGEST_PACE

SLACK: Final = 0.001
"""The part of `Rate.every` by which a message may be early, because instants are rounded."""


@attrs.frozen(eq=False, repr=False)
class Rate(Value):
    """A number of messages that may come at once, and the time in which one of them is made up for.

    Attributes:
        burst: Messages that may come at once.
        every: Seconds after which one more may come.

    Raises:
        FlowError: A bound is no number or out of range.
    """

    burst: int
    every: float

    def __attrs_post_init__(self) -> None:
        check_count("Rate", "burst", self.burst)
        check_seconds("Rate", "every", self.every)

    def take(self, full_at: float, now: float) -> tuple[float, float]:
        """Count one message.

        Args:
            full_at: The instant at which the whole burst can come again, before the message, in seconds.
            now: The instant of the message, on the same clock.

        Returns:
            That instant after the message, and the seconds until the message can be taken: not more than 0 if it can be
            taken now. A message that is not taken leaves `full_at` as it was.
        """
        after = max(full_at, now) + self.every
        return after, after - now - (self.burst + SLACK) * self.every

    def room(self, full_at: float, now: float) -> float:
        """Return the number of messages that may come now; the arguments are those of `take`."""
        return self.burst - max(full_at - now, 0.0) / self.every


@attrs.frozen(eq=False, repr=False)
class Rates(Value):
    """The rates at which a manager takes messages in; None is no bound. Each manager counts for itself.

    Attributes:
        address: The rate of one address, on all accounts of the bot together.
        guests: The rate of new guests: addresses of which nothing is stored, all together.
        addresses: Addresses that are counted at the same time. Beyond them, an address that is not counted is taken in
            at the rate of new guests, unless its member is cached.

    Raises:
        FlowError: A value is of a wrong type or out of range.
    """

    address: Rate | None = Rate(100, every=5.0)
    guests: Rate | None = Rate(10_000, every=1.0)
    addresses: int = 100_000

    def __attrs_post_init__(self) -> None:
        for name in ("address", "guests"):
            value: object = getattr(self, name)
            if value is not None and not isinstance(value, Rate):
                raise FlowError("", "Rates", f"{name} is {value!r}", "give a Rate(burst, every=seconds), or None")
        check_count("Rates", "addresses", self.addresses)


DEFAULT_RATES: Final = Rates()
"""The rates of a manager that is given none."""


@attrs.frozen(eq=False, repr=False)
class Pace(Value):
    """The pace at which workers send on each account of a channel, all workers of a store together.

    Attributes:
        limit: Deliveries in any `every` seconds.
        every: The time of `limit`, in seconds, at most an hour.
        chat: The rate of one address, which fills in an hour at most; None for no bound.

    Raises:
        FlowError: A bound is no number or out of range.
    """

    limit: int
    every: float = 1.0
    chat: Rate | None = None

    def __attrs_post_init__(self) -> None:
        check_count("Pace", "limit", self.limit)
        check_seconds("Pace", "every", self.every, most=LONGEST_PACE)
        chat: object = self.chat
        if chat is not None and not (isinstance(chat, Rate) and chat.burst * chat.every <= LONGEST_PACE):
            advice = f"give a Rate(burst, every=seconds) that is full after {LONGEST_PACE:.0f} seconds at most, or None"
            raise FlowError("", "Pace", f"chat is {chat!r}", advice)


CHANNEL_PACES: Final[Mapping[str, Pace]] = MappingProxyType(
    {"telegram": Pace(30, chat=Rate(1, every=1.0)), "whatsapp": Pace(80, chat=Rate(10, every=6.0))}
)
"""The paces that the channels ask for by default.

A bot of Telegram sends 30 messages a second, and one a second to a chat. A number of WhatsApp sends 80 messages a
second, and to a member one in six seconds, of which it takes 45 at once (its pair rate); replies to messages need some
of these. The throughput of a number counts what comes in too. It is 20 where the number is also in the Business app of
WhatsApp, and up to 1,000 after an upgrade by Meta, so such numbers need a pace of their own. SMS has no pace here,
because the carrier queues it.
"""


def check_paces(paces: Mapping[str, Pace], types: Container[str]) -> None:
    """Check the paces of a manager, by the type of the channel.

    Raises:
        FlowError: A type is not known to the bot, or a value is no `Pace`.
    """
    for channel_type, pace in paces.items():
        value: object = pace
        if not isinstance(value, Pace):
            raise FlowError("", "paces", f"{channel_type!r} has {value!r}", "give a Pace(limit, every=seconds)")
        if channel_type not in types:
            raise FlowError("", "paces", f"{channel_type!r} is no type of a channel", "name it in Bot(channels=…)")
