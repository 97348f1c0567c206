"""The rates of messages that a manager takes in."""

from __future__ import annotations

from typing import Final

import attrs

from vimbiso_fsm.errors import FlowError
from vimbiso_fsm.messages.bounds import check_count, check_seconds

SLACK: Final = 0.001
"""The part of `Rate.every` by which a message may be early, because instants are rounded."""


@attrs.frozen
class Rate:
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


@attrs.frozen
class Rates:
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
