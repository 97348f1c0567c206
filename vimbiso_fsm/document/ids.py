"""Identifiers made by hashing, and instants of the store's clock."""

from __future__ import annotations

import hashlib
import re
from binascii import b2a_base64
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Final

from vimbiso_fsm.messages.message import Address


def hashed(*parts: str, key: bytes = b"") -> str:
    """Return the hash of a list of parts, as 32 hexadecimal digits; with a key, 100 bits of a keyed one.

    The latter has 20 small letters and digits: it stands several times in what a turn stores, and people read it out. A
    key has at most 64 bytes.
    """
    words = ""
    for part in parts:
        words += f"\0{len(part)}:{part}"
    data = words[1:].encode()
    if not key:
        return hashlib.sha256(data).hexdigest()[:32]
    # BLAKE2 takes a key itself, with one call for each turn less than HMAC.
    return b2a_base64(hashlib.blake2b(data, digest_size=15, key=key).digest(), newline=False).translate(_SMALL).decode()


_OF_BASE64: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_SMALL: Final = bytes.maketrans(_OF_BASE64, b"abcdefghijklmnopqrstuvwxyz234567" * 2)
"""Of the 64 characters of Base64, 32 that are told apart without capitals. Each keeps five of its six bits."""


def stamp(name: str, data: bytes = b"", key: bytes = b"") -> str:
    """Return a short hash of a name and data, 48 bits in 8 characters, for what is compared within a conversation.

    With a key it is a keyed hash.
    """
    words = name.encode() + b"\0" + data
    found = hashlib.blake2b(words, digest_size=6, key=key).digest() if key else hashlib.sha256(words).digest()
    return b2a_base64(found[:6], newline=False).decode()


_GUEST: Final = re.compile(r"guest-[0-9a-f]{24}")


def is_guest_id(member_id: str) -> bool:
    """Return whether an id is that of a guest."""
    return _GUEST.fullmatch(member_id) is not None


def conversation_id(person: str, address: Address) -> str:
    """Return the id of a member's conversation with one account, where another account has that of the member."""
    return f"{person}@{address.type}:{address.account}"


def person_of(member_id: str, addresses: Iterable[Address]) -> str:
    """Return the member of a conversation.

    Args:
        member_id: The id of the conversation.
        addresses: The channels of the conversation.
    """
    for address in addresses:
        if address.account and member_id.endswith(suffix := conversation_id("", address)):
            return member_id.removesuffix(suffix)
    return member_id


instant: Final[Callable[[float], datetime]] = partial(datetime.fromtimestamp, tz=UTC)
"""Returns an instant of the store's clock, given in seconds since the epoch, in UTC."""
