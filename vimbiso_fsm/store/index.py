"""The names of channels in the index, and the keys that they are made with.

A name is a keyed digest of the address, so that no key of the store shows a telephone number. The key is a secret of
the deployment. Without one it is a random key that the store itself keeps: it protects logs, audits and exports, which
leave the store; a copy of the whole store holds it.

The store keeps one record about the keys, of words that are separated by spaces, the current key first. `random:<hex>`
is a random key, `secret:<check>` is a secret, of which only a check value is kept. With the record a manager finds the
channels that were named with an earlier key, and refuses to start without a secret that the names need: it would take
each member for a stranger.
"""

from __future__ import annotations

import hmac
import re
import secrets as chance
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final, TypeAlias

import attrs

from vimbiso_fsm.errors import MissingSecret, StoreUnavailable
from vimbiso_fsm.messages.digests import INDEX, keyed_digest
from vimbiso_fsm.messages.message import Address

Secret: TypeAlias = str | Sequence[str]
"""The secret of a deployment, or the current one and the earlier ones after it."""

SHORTEST_SECRET: Final = 16
"""Characters of a secret at least: the record of the store holds a check value, with which guesses can be tried."""
_RANDOM, _SECRET = "random:", "secret:"
_WORD: Final = rf"(?:{_RANDOM}[0-9a-f]{{64}}|{_SECRET}[0-9a-f]{{16}})"
RECORD: Final = re.compile(rf"{_WORD}(?: {_WORD})*")
"""The form of a record."""


@lru_cache(maxsize=4096)
def _digest(key: bytes, address: Address) -> str:
    return keyed_digest(key, INDEX, address)


@attrs.frozen
class Index:
    """The keys with which addresses are named.

    Attributes:
        keys: The keys, the current one first.
    """

    keys: tuple[bytes, ...] = attrs.field(repr=False)

    def names(self, address: Address) -> tuple[str, ...]:
        """Return the names of an address, the current one first."""
        return tuple(_digest(key, address) for key in self.keys)


def secrets_of(secret: Secret | None) -> tuple[str, ...]:
    """Return the secrets that were given, the current one first.

    Raises:
        ValueError: One is shorter than `SHORTEST_SECRET`.
    """
    given = (secret,) if isinstance(secret, str) else tuple(secret or ())
    if short := [place for place, each in enumerate(given, 1) if len(each) < SHORTEST_SECRET]:
        raise ValueError(
            f"secret {short[0]} of {len(given)} has fewer than {SHORTEST_SECRET} characters; give a random text, for "
            "example of `python -c 'import secrets; print(secrets.token_hex(32))'`"
        )
    return given


def record_of(secrets: tuple[str, ...], found: str) -> str:
    """Return the record that the store is to keep.

    Args:
        secrets: The secrets of this manager, the current one first.
        found: The record that it keeps now; "" for none.

    Returns:
        The record that was found, if it begins with the current key of this manager; else one that does.
    """
    if not secrets:
        return found or _RANDOM + chance.token_hex(32)
    current = _SECRET + _check(secrets[0])
    return " ".join([current, *(word for word in found.split() if word != current)])


def index_of(secrets: tuple[str, ...], record: str, place: str) -> Index:
    """Return the index with all keys of a record.

    Args:
        secrets: The secrets of this manager, the current one first.
        record: The record.
        place: The address of the store, for errors.

    Raises:
        MissingSecret: The record names a secret that this manager was not given.
        StoreUnavailable: The record cannot be read.
    """
    known = {_SECRET + _check(secret): secret.encode() for secret in secrets}
    return Index(tuple(_keys(record.split(), known, place)))


def _keys(words: list[str], known: dict[str, bytes], place: str) -> Iterator[bytes]:
    for number, word in enumerate(words, 1):
        if word.startswith(_RANDOM):
            try:
                yield bytes.fromhex(word.removeprefix(_RANDOM))
            except ValueError:
                fault = "the record of the keys of its channel index is damaged; put it back from a copy of the store"
                raise StoreUnavailable(f"{place}: {fault}") from None
        elif word in known:
            yield known[word]
        else:
            which = "" if number == 1 else f", an earlier one (number {number})"
            raise MissingSecret(
                f"{place}: its channel index is keyed with a secret that was not given{which}, without which its "
                "members would be taken for strangers; give it as secret=, or to the command in VIMBISO_SECRET"
            )


def _check(secret: str) -> str:
    return hmac.digest(secret.encode(), b"vimbiso check of a secret", "sha256").hex()[:16]
