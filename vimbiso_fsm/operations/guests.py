"""The guest on a channel, whose id is a digest of the address that may have been made with an earlier key."""

from __future__ import annotations

from vimbiso_fsm.messages.digests import Digests
from vimbiso_fsm.messages.message import Address, Channel
from vimbiso_fsm.store.requests import Broken, Load, Stored


def is_known(stored: Stored | Broken) -> bool:
    """Return whether anything was ever stored under an id."""
    return isinstance(stored, Broken) or stored.head.version > 0


async def find_guest(digests: Digests, place: Address | Channel) -> tuple[str, Stored | Broken]:
    """Return the id of the guest on a channel, and what is stored of it.

    An id of an earlier key is kept as long as something is stored under it and nothing under the current one.
    """
    current = digests.guest_id(place)
    stored = await Load(current)
    return (None if is_known(stored) else await earlier_guest(digests, place)) or (current, stored)


async def earlier_guest(digests: Digests, place: Address | Channel) -> tuple[str, Stored | Broken] | None:
    """Return the id of an earlier key under which something is stored of the guest on a channel, and what it is."""
    for guest in digests.guest_ids(place)[1:]:
        if is_known(stored := await Load(guest)):
            return guest, stored
    return None
