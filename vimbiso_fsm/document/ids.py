"""TODO."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from functools import lru_cache

from vimbiso_fsm.messages.message import Channel


def hashed(*parts: str) -> str:
    """32 hex digits; no two lists of parts share them."""
    return hashlib.sha256("\0".join([f"{len(part)}:{part}" for part in parts]).encode()).hexdigest()[:32]


def channel_digest(channel: Channel) -> tuple[str, str]:
    """A channel as it stands in the audit: its type, and a digest that finds it again but does not show it."""
    return _channel_digest(channel.type, channel.identifier)


@lru_cache(maxsize=4096)
def _channel_digest(type: str, identifier: str) -> tuple[str, str]:
    return type, hashlib.sha256(f"{len(type)}:{type}:{identifier}".encode()).hexdigest()[:16]


def guest_id(channel: Channel) -> str:
    """The provisional member id of who is reached there: a digest, so that no key shows a phone number."""
    return _guest_id(channel.type, channel.identifier)


@lru_cache(maxsize=4096)
def _guest_id(type: str, identifier: str) -> str:
    return "guest-" + hashlib.sha256(f"{len(type)}:{type}:{identifier}".encode()).hexdigest()[:24]


def instant(at: float) -> datetime:
    """An instant of the store's clock."""
    return datetime.fromtimestamp(at, UTC)
