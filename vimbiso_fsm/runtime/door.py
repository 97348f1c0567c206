"""The door of a manager: it refuses messages above its rates, before anything of them is stored.

Messages above the rate of their address are refused before anything is read. Whether an address is new is known once
its member was looked for, so a new guest above the rate of new guests is refused after two reads. Where many wait to be
looked up, further senders whom the process does not remember are refused without a read.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from threading import Lock
from typing import Final, TypeAlias

from vimbiso_fsm.errors import TooManyMessages
from vimbiso_fsm.flow.rates import Rates
from vimbiso_fsm.messages.message import Address

LOOKED_AT: Final = 2
"""Counted addresses that are looked at for each one that is added; those whose burst is whole again are dropped."""

LINE: Final = 256
"""Senders whom the process does not remember that may wait to be looked up, besides the new guests of the rate."""

_Key: TypeAlias = tuple[str, str]
"""The type of a channel and the member's address on it."""


class Door:
    """Counts messages in one process. It may be shared between threads."""

    def __init__(self, rates: Rates, clock: Callable[[], float]) -> None:
        """Make a door.

        Args:
            rates: The rates.
            clock: A monotonic clock; it returns seconds.
        """
        self._rates = rates
        self._clock = clock
        self._lock: Final = Lock()
        self._full_at: dict[_Key, float] = {}
        self._told: set[_Key | None] = set()
        self._guests_full_at = -1.0e9

    def enter(self, address: Address, *, cached: bool) -> None:
        """Count a message of an address.

        Args:
            address: The address.
            cached: Whether its member is cached.

        Raises:
            TooManyMessages: The message is above the rate of its address.
        """
        rate = self._rates.address
        if rate is None:
            return
        key, now = (address.type, address.identifier), self._clock()
        with self._lock:
            full_at = self._full_at.get(key)
            if full_at is None:
                self._make_room(now)
                if len(self._full_at) >= self._rates.addresses:
                    if not cached:
                        self._take_guest(now)
                    return
                full_at = now
            after, wait = rate.take(full_at, now)
            if wait > 0:
                raise TooManyMessages("address", wait, told=self._is_told(key))
            self._full_at[key] = after
            if full_at <= now and self._told:
                self._told.discard(key)

    def join_line(self, waiting: int) -> None:
        """Let a sender wait to be looked up, whom the process does not remember.

        Args:
            waiting: The number of such senders that wait already.

        Raises:
            TooManyMessages: `LINE` more of them wait than new guests can be taken now.
        """
        rate = self._rates.guests
        if rate is None or waiting < LINE:
            return
        with self._lock:
            if waiting >= LINE + rate.room(self._guests_full_at, self._clock()):
                raise TooManyMessages("guests", rate.every, told=self._is_told(None))

    def admit(self, address: Address) -> None:
        """Count a new guest.

        Raises:
            TooManyMessages: The guest is above the rate of new guests.
        """
        key, now = (address.type, address.identifier), self._clock()
        with self._lock:
            try:
                self._take_guest(now)
            except TooManyMessages:
                rate = self._rates.address
                if rate is not None and self._full_at.get(key, now) - now <= rate.every:
                    self._full_at.pop(key, None)  # one message of many senders must not fill the table
                raise

    def has_room(self) -> bool:
        """Return whether many new guests can be taken in now, so that other threads leave room for one."""
        rate = self._rates.guests
        return rate is None or rate.room(self._guests_full_at, self._clock()) >= LINE

    def unadmit(self) -> None:
        """Take back the count of a guest who is known after all."""
        rate = self._rates.guests
        if rate is not None:
            with self._lock:
                self._guests_full_at -= rate.every

    def _take_guest(self, now: float) -> None:
        rate = self._rates.guests
        if rate is None:
            return
        after, wait = rate.take(self._guests_full_at, now)
        if wait > 0:
            raise TooManyMessages("guests", wait, told=self._is_told(None))
        if self._guests_full_at <= now:
            self._told.discard(None)
        self._guests_full_at = after

    def _is_told(self, key: _Key | None) -> bool:
        """Return whether there was a refusal since the burst was whole, and note this one."""
        told = key in self._told
        self._told.add(key)
        return told

    def _make_room(self, now: float) -> None:
        """Look at the next counted addresses in turn, and drop those whose burst is whole again."""
        for key in tuple(islice(self._full_at, LOOKED_AT)):
            full_at = self._full_at.pop(key)
            if full_at > now:
                self._full_at[key] = full_at
            else:
                self._told.discard(key)
