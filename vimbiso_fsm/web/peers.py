"""The rate of refused requests of one network address."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from itertools import islice
from typing import Final

from vimbiso_fsm.flow.rates import Rate

DEFAULT_REFUSALS: Final = Rate(100, every=1.0)
"""The rate of refused requests of one network address, unless an app is given another."""
MAX_PEERS: Final = 50_000
"""Addresses that are counted at the same time. Beyond them the one that was counted first is forgotten."""
NETWORK_BITS: Final = 64
"""Bits of an IPv6 address that count: a customer is given a whole network of the others."""


class Peers:
    """Counts refused requests by the network address that they come from.

    Only public addresses are counted. A private one is that of a proxy, whose refusals are those of all its clients:
    if it counted, a stranger could shut out a channel.
    """

    def __init__(self, rate: Rate | None, clock: Callable[[], float]) -> None:
        """Make a count.

        Args:
            rate: The rate of refused requests; None for no bound.
            clock: A monotonic clock; it returns seconds.
        """
        self._rate, self._clock = rate, clock
        self._full_at: dict[str, float] = {}

    def wait(self, host: str | None) -> float:
        """Return the seconds for which requests of an address are refused unread; 0 if they are read."""
        network = network_of(host)
        if self._rate is None or network not in self._full_at:
            return 0.0
        return max(self._rate.take(self._full_at[network], self._clock())[1], 0.0)

    def refused(self, host: str | None) -> None:
        """Count a refused request."""
        network, now = network_of(host), self._clock()
        if self._rate is None or not network:
            return
        for each in tuple(islice(self._full_at, 2)):  # two are looked at for each one that is added
            if self._full_at[each] <= now:
                del self._full_at[each]
        full_at = self._full_at.pop(network, now)
        if len(self._full_at) >= MAX_PEERS:
            del self._full_at[next(iter(self._full_at))]
        after, wait = self._rate.take(full_at, now)
        self._full_at[network] = full_at if wait > 0 else after


def network_of(host: str | None) -> str:
    """Return the network that an address belongs to; empty if it is not public."""
    try:
        address = ip_address(host or "")
    except ValueError:
        return ""
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or address
    if not address.is_global:
        return ""
    return str(int(address) >> NETWORK_BITS) if isinstance(address, IPv6Address) else str(address)
