"""Digests of the addresses of channels, which stand for them in keys, ids, logs and audits, and the keys of others.

There are so few telephone numbers that all can be tried, so a digest has a key (HMAC-SHA256): it says nothing to a
reader without the key. Digests for two purposes cannot be compared. Earlier releases named guests and the channels of
audit entries by digests without a key; a store that has such names finds them by the key `UNKEYED`.

The token of a message is made of its sender, too (`engine/events.py`), so it has a key. The tokens of earlier keys are
looked for as long as they may be kept. A digest that is made of what a member wrote has a key for the same reason: a
PIN of four digits is found at the ten thousandth try at the latest.
"""

from __future__ import annotations

import hashlib
import hmac
from binascii import b2a_base64
from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import Final

import attrs

from vimbiso_fsm.messages.message import NAMED, Address, Channel

UNKEYED: Final = b""
"""Stands in the keys for the digests without a key of earlier releases. The index never had such names."""

REMEMBERED: Final = 4096
"""The number of addresses whose digests of one purpose are remembered."""

_INDEX: Final = b"vimbiso channel index"
_GUEST: Final = b"vimbiso guest"
_AUDIT: Final = b"vimbiso audit"
_TOKEN: Final = b"vimbiso turn token"
_WORDS: Final = b"vimbiso words of members"
_SALT: Final = b"vimbiso salt of documents"
_MESSAGE: Final = b"vimbiso id of a message"
_MESSAGE_DIGITS: Final = 12
"""Hexadecimal digits of the digest of a message. One of few messages of one member is looked for."""


@attrs.frozen
class Digests:
    """The digests of addresses, with the keys of one store.

    Attributes:
        keys: The keys, the current one first. New names are made with it; the others find names of earlier times.
        of_tokens: The keys other than the current one with which tokens may have been made that are kept; all others by
            default.
    """

    keys: tuple[bytes, ...] = attrs.field(default=(UNKEYED,), repr=False)
    of_tokens: tuple[bytes, ...] = attrs.field(
        default=attrs.Factory(lambda self: self.keys[1:], takes_self=True), repr=False
    )

    @cached_property
    def every_token_key(self) -> tuple[bytes, ...]:
        """All keys with which tokens may ever have been made, for tokens that are kept as long as an audit is."""
        return tuple(_made_for(_TOKEN, key) for key in dict.fromkeys((*self.keys, UNKEYED)))

    @cached_property
    def token_key(self) -> bytes:
        """The key of the tokens of messages; empty for tokens without a key."""
        return _made_for(_TOKEN, self.keys[0])

    @cached_property
    def earlier_token_keys(self) -> tuple[bytes, ...]:
        """The keys with which the tokens of messages may have been made that were handled before."""
        return tuple(_made_for(_TOKEN, key) for key in self.of_tokens)

    @cached_property
    def words_key(self) -> bytes:
        """The key of digests that are made of what a member wrote: of contents of messages, keys of calls, fences."""
        return _made_for(_WORDS, self.keys[0])

    @cached_property
    def earlier_words_keys(self) -> tuple[bytes, ...]:
        """The keys of the digests of contents that may be kept of messages that were handled before."""
        return tuple(_made_for(_WORDS, key) for key in self.of_tokens)

    def salt_of(self, member_id: str) -> str:
        """Return the salt of a new member's documents, 96 bits in 16 characters; empty without a key.

        An audit entry has a digest of the whole document, and says most of what stands in it. What it hides, such as a
        telephone number or a PIN, could be found by trying, if the document held nothing that cannot be tried.
        """
        key = _made_for(_SALT, self.keys[0])
        words = member_id.encode("utf-8", "surrogatepass")
        return b2a_base64(hmac.digest(key, words, "sha256")[:12], newline=False).decode() if key else ""

    def guest_id(self, place: Address | Channel) -> str:
        """Return the id of a new guest on a channel. Guests on two accounts of the bot are two guests."""
        return self._guest_ids(place.type, place.identifier, place.account)[0]

    def guest_ids(self, place: Address | Channel) -> tuple[str, ...]:
        """Return the ids that the guest on a channel may have, that of a new guest first."""
        return self._guest_ids(place.type, place.identifier, place.account)

    def shown(self, place: Address | Channel) -> tuple[str, str]:
        """Return a channel as the audit shows it: its type, and a digest of its identifier."""
        return place.type, self._audit_digests(place.type, place.identifier, "")[0]

    def all_shown(self, place: Address | Channel) -> tuple[tuple[str, str], ...]:
        """Return everything as which the audit may show a channel, what it shows now first."""
        return tuple((place.type, each) for each in self._audit_digests(place.type, place.identifier, ""))

    def index_names(self, address: Address) -> tuple[str, ...]:
        """Return the names of a channel in the index, the current one first: 64 hexadecimal digits each."""
        return self._index_names(address.type, address.identifier, address.account)

    def message_names(self, channel: Channel, message_id: str) -> tuple[str, ...]:
        """Return the digests that may stand for a message by the channel's id of it, that of a new note first.

        Ids may be small numbers, and may hold the number of a member. They count in one chat, but for those of a
        channel that knows one member by several names (`NAMED`), whose ids are unique in an account.
        """
        chat = "" if channel.type in NAMED else channel.identifier
        words = _words(channel.type, chat, message_id)
        return tuple(_digest(key, words)[:_MESSAGE_DIGITS] for key in self._message_keys)

    @cached_property
    def _message_keys(self) -> tuple[bytes, ...]:
        return tuple(_made_for(_MESSAGE, key) for key in self.keys)

    # Most turns ask for the digests of an address that is known, which costs a look in a table. The tables belong to
    # the keys, so that they are gone with them.

    @cached_property
    def _guest_ids(self) -> Callable[[str, str, str], tuple[str, ...]]:
        return self._made(_GUEST, lambda digest: f"guest-{digest[:24]}")

    @cached_property
    def _audit_digests(self) -> Callable[[str, str, str], tuple[str, ...]]:
        return self._made(_AUDIT, lambda digest: digest[:16])

    @cached_property
    def _index_names(self) -> Callable[[str, str, str], tuple[str, ...]]:
        return self._made(_INDEX, str, without=UNKEYED)

    def _made(
        self, purpose: bytes, form: Callable[[str], str], *, without: bytes | None = None
    ) -> Callable[[str, str, str], tuple[str, ...]]:
        keys = tuple(_made_for(purpose, key) for key in self.keys if key != without)

        @lru_cache(maxsize=REMEMBERED)
        def digests(type: str, identifier: str, account: str) -> tuple[str, ...]:
            words = _words(type, identifier, account)
            return tuple(form(_digest(key, words)) for key in keys)

        return digests


def _made_for(purpose: bytes, key: bytes) -> bytes:
    """Return the key of one purpose, so that digests for two purposes cannot be compared."""
    return key and hmac.digest(key, purpose, "sha256")


def _digest(key: bytes, words: bytes) -> str:
    return (hmac.digest(key, words, "sha256") if key else hashlib.sha256(words).digest()).hex()


def _words(type: str, identifier: str, account: str) -> bytes:
    reached = f":{len(identifier)}:{account}" if account else ""
    return f"{len(type)}:{type}:{identifier}{reached}".encode()
