"""Identifiers made by hashing, and instants of the store's clock."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from functools import lru_cache

from vimbiso_fsm.messages.message import Channel


def hashed(*parts: str) -> str:
    """Return the hash of a list of parts, as 32 hexadecimal digits."""
    return hashlib.sha256("\0".join([f"{len(part)}:{part}" for part in parts]).encode()).hexdigest()[:32]


def channel_digest(channel: Channel) -> tuple[str, str]:
    """Return a channel as the audit shows it: its type, and a digest of its identifier."""
    return _channel_digest(channel.type, channel.identifier)


@lru_cache(maxsize=4096)
def _channel_digest(type: str, identifier: str) -> tuple[str, str]:
    return type, hashlib.sha256(f"{len(type)}:{type}:{identifier}".encode()).hexdigest()[:16]


def guest_id(channel: Channel) -> str:
    """Return the id of the guest on a channel, which is a digest, so that no key shows a phone number."""
    return _guest_id(channel.type, channel.identifier)


@lru_cache(maxsize=4096)
def _guest_id(type: str, identifier: str) -> str:
    return "guest-" + hashlib.sha256(f"{len(type)}:{type}:{identifier}".encode()).hexdigest()[:24]


def instant(at: float) -> datetime:
    """Return an instant of the store's clock, given in seconds since the epoch, in UTC."""
    return datetime.fromtimestamp(at, UTC)
