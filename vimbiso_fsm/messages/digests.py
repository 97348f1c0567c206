"""Digests of the addresses of channels, which stand for them in keys, ids, logs and audits. All are made here.

A digest without a key only keeps an address out of sight: there are so few telephone numbers that all can be tried. A
digest with a key says nothing to a reader without the key.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from vimbiso_fsm.messages.message import Address

INDEX: Final = b"vimbiso channel index"
"""The purpose of the digests under which the index keeps the owners of channels."""


def address_digest(type: str, identifier: str, account: str = "") -> str:
    """Return the digest of an address without a key, as 64 hexadecimal digits."""
    return hashlib.sha256(_words(type, identifier, account)).hexdigest()


def keyed_digest(key: bytes, purpose: bytes, address: Address) -> str:
    """Return the digest of an address with a key (HMAC-SHA256), as 64 hexadecimal digits.

    Args:
        key: The key.
        purpose: The use of the digest. Digests for two purposes cannot be compared.
        address: The address.
    """
    own = hmac.digest(key, purpose, "sha256")
    return hmac.digest(own, _words(address.type, address.identifier, address.account), "sha256").hex()


def _words(type: str, identifier: str, account: str) -> bytes:
    reached = f":{len(identifier)}:{account}" if account else ""
    return f"{len(type)}:{type}:{identifier}{reached}".encode()
