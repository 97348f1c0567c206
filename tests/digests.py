"""The digests of channels in stores with the secret of `vimbiso_fsm.testing.chat`, and in any store at a server."""

from __future__ import annotations

from typing import Any, Final

from vimbiso_fsm.engine.events import Event, turn_token
from vimbiso_fsm.messages.digests import Digests
from vimbiso_fsm.messages.message import Address, Channel
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.store.requests import ReadDigests
from vimbiso_fsm.testing.chat import STORE_SECRET

DIGESTS: Final = Digests((STORE_SECRET.encode(),))


def guest_id(place: Channel | Address) -> str:
    """Return the id of the guest on a channel."""
    return DIGESTS.guest_id(place)


def channel_digest(place: Channel | Address) -> tuple[str, str]:
    """Return a channel as the audit shows it."""
    return DIGESTS.shown(place)


def digests_at(url: str, **options: Any) -> Digests:
    """Return the digests of the store at a server."""
    with AtomicStateManager.from_url(url, **options) as store:
        return store.perform(ReadDigests())


def token_of(event: Event, digests: Digests = DIGESTS) -> str:
    """Return the token of an event."""
    return turn_token(event, digests.token_key)
