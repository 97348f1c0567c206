"""Identifiers that are made by hashing, and instants of the store's clock."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from functools import lru_cache

from vimbiso_fsm.messages.message import Channel


def hashed(*parts: str) -> str:
    """Return 32 hexadecimal digits; no two lists of parts have the same ones."""
    return hashlib.sha256("\0".join([f"{len(part)}:{part}" for part in parts]).encode()).hexdigest()[:32]


def channel_digest(channel: Channel) -> tuple[str, str]:
    """Return a channel as it stands in the audit: its type, and a digest that does not show the identifier."""
    return _channel_digest(channel.type, channel.identifier)


@lru_cache(maxsize=4096)
def _channel_digest(type: str, identifier: str) -> tuple[str, str]:
    return type, hashlib.sha256(f"{len(type)}:{type}:{identifier}".encode()).hexdigest()[:16]


def guest_id(channel: Channel) -> str:
    """Return the id of the guest on a channel: a digest, so that no key shows a phone number."""
    return _guest_id(channel.type, channel.identifier)


@lru_cache(maxsize=4096)
def _guest_id(type: str, identifier: str) -> str:
    return "guest-" + hashlib.sha256(f"{len(type)}:{type}:{identifier}".encode()).hexdigest()[:24]


def instant(at: float) -> datetime:
    """Return an instant of the store's clock, given in seconds since the epoch, in UTC."""
    return datetime.fromtimestamp(at, UTC)
