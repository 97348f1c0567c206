"""The keys of the digests that stand for the addresses of channels: in the index, in the ids of guests, in audits.

The key is a secret of the deployment. Without one it is a random key that the store itself keeps: it protects logs,
audits and exports, which leave the store; a copy of the whole store holds it.

The store keeps one record about the keys, of words that are separated by spaces: the form of the record, then
the keys, the current one first. `random:<hex>.<check>` is a random key with a check value, so that no other key is
taken for it when one of its bits flips. `secret:<check>` is a secret, of which only a check value is kept. `unkeyed`
tells that guests and audits may be named without a key, by an earlier release. With the record a manager finds what was
named with an earlier key, and refuses to start without a secret that the names need: it would take each member for a
stranger.
"""

from __future__ import annotations

import hmac
import re
import secrets as chance
from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

from vimbiso_fsm.errors import MissingSecret, StoreUnavailable
from vimbiso_fsm.messages.digests import UNKEYED, Digests

Secret: TypeAlias = str | Sequence[str]
"""The secret of a deployment, or the current one and the earlier ones after it."""

SHORTEST_SECRET: Final = 16
"""Characters of a secret at least: the record of the store holds a check value, with which guesses can be tried."""
_FORM: Final = "2"
"""The first word of a record. One without it is of a release that named only the entries of the index by keys."""
_RANDOM, _SECRET, _UNKEYED = "random:", "secret:", "unkeyed"
_WORD: Final = rf"(?:{_RANDOM}[0-9a-f]{{64}}(?:\.[0-9a-f]{{16}})?|{_SECRET}[0-9a-f]{{16}}|{_UNKEYED})"
RECORD: Final = re.compile(rf"(?:{_FORM} )?{_WORD}(?: {_WORD})*")
"""The form of a record."""


def is_record(found: bytes) -> bool:
    """Return whether these bytes are a record, with random keys as they were made."""
    text = found.decode("ascii", "replace")
    random = (word.removeprefix(_RANDOM).partition(".") for word in text.split() if word.startswith(_RANDOM))
    return RECORD.fullmatch(text) is not None and all(check in ("", _check(key)) for key, _, check in random)


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


def record_of(secrets: tuple[str, ...], found: str, *, is_new: bool = False) -> str:
    """Return the record that the store is to keep.

    Args:
        secrets: The secrets of this manager, the current one first.
        found: The record that it keeps now; "" for none.
        is_new: Whether nothing was ever stored there.

    Returns:
        The record that was found, if it begins with the current key of this manager; else one that does.
    """
    words = _words(found, is_new)
    if secrets:
        current = _SECRET + _check(secrets[0])
        words = [current, *(word for word in words if word != current)]
    elif not words or words[0] == _UNKEYED:
        key = chance.token_hex(32)
        words = [f"{_RANDOM}{key}.{_check(key)}", *words]
    return " ".join([_FORM, *words])


def digests_of(secrets: tuple[str, ...], record: str, place: str) -> Digests:
    """Return the digests with all keys of a record, and with the secrets that are not in use yet.

    Args:
        secrets: The secrets of this manager, the current one first.
        record: The record.
        place: The address of the store, for errors.

    Raises:
        MissingSecret: The record names a secret that this manager was not given.
        StoreUnavailable: The record cannot be read.
    """
    known = {_SECRET + _check(secret): secret.encode() for secret in secrets}
    words = _words(record, is_new=True)
    later = [word for word in known if word not in words]  # another process may have made it the current one
    plain = [word for word in words if word == _UNKEYED]
    keyed = [word for word in words if word != _UNKEYED]
    return Digests(tuple(_keys([*keyed, *later, *plain], known, place)))


def _words(record: str, is_new: bool) -> list[str]:
    """Return the keys of a record, the current one first."""
    form, *keys = record.split() or [""]
    if form == _FORM:
        return keys
    return [] if is_new and not record else [*record.split(), _UNKEYED]


def _keys(words: list[str], known: dict[str, bytes], place: str) -> Iterator[bytes]:
    for number, word in enumerate(words, 1):
        if word.startswith(_RANDOM):
            try:
                yield bytes.fromhex(word.removeprefix(_RANDOM).partition(".")[0])
            except ValueError:
                fault = "the record of the keys of its digests is damaged; put it back from a copy of the store"
                raise StoreUnavailable(f"{place}: {fault}") from None
        elif word == _UNKEYED:
            yield UNKEYED
        elif word in known:
            yield known[word]
        else:
            which = "" if number == 1 else f", an earlier one (number {number})"
            raise MissingSecret(
                f"{place}: its digests of channels are keyed with a secret that was not given{which}, without which "
                "its members would be taken for strangers; give it as secret=, or to the command in VIMBISO_SECRET"
            )


def _check(secret: str) -> str:
    return hmac.digest(secret.encode(), b"vimbiso check of a secret", "sha256").hex()[:16]
