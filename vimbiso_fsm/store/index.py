"""The keys of the digests that stand for the addresses of channels: in the index, in the ids of guests, in audits.

The key is a secret of the deployment. Without one it is a random key that the store itself keeps: it protects logs,
audits and exports, which leave the store; a copy of the whole store holds it.

The store keeps one record about the keys, of words that are separated by spaces: the form of the record, then
the keys, the current one first. `random:<hex>.<check>` is a random key with a check value, so that no other key is
taken for it when one of its bits flips. `secret:<check>` is a secret, of which only a check value is kept. `unkeyed`
tells that guests and audits may be named without a key, by an earlier release. With the record a manager finds what was
named with an earlier key, and refuses to start without a secret that the names need: it would take each member for a
stranger.

An earlier key has the instant at which it ceased to be the current one, in seconds since the epoch, as in
`secret:<check>@<at>.<check of it>`. Until tokens of that time are forgotten, each turn has a token of that key too: a
message that was handled under it is found, and so is one that is delivered again to a process whose current key it
still is. `tokens@<at>…` says the same of tokens without a key, by an earlier release.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets as chance
from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

from vimbiso_fsm.errors import MissingSecret, StoreUnavailable
from vimbiso_fsm.messages.digests import UNKEYED, Digests
from vimbiso_fsm.store.retention import TOKEN_KEPT

Secret: TypeAlias = str | Sequence[str]
"""The secret of a deployment, or the current one and the earlier ones after it."""

SHORTEST_SECRET: Final = 16
"""Characters of a secret at least: the record of the store holds a check value, with which guesses can be tried."""
_FORM: Final = "4"
"""The first word of a record. No bit that flips makes one form of another."""
_FORM_WITHOUT_TOKENS: Final = "2"
"""That of a release whose tokens had no key. A record without one is of a release that named only the entries of the
index by keys."""
_RANDOM, _SECRET, _UNKEYED, _TOKENS = "random:", "secret:", "unkeyed", "tokens"
_NOW: Final = "@now"
"""Stands for the instant at which the store keeps the record."""
_KEY: Final = rf"(?:{_RANDOM}[0-9a-f]{{64}}(?:\.[0-9a-f]{{16}})?|{_SECRET}[0-9a-f]{{16}}|{_UNKEYED}|{_TOKENS})"
_WORD: Final = rf"{_KEY}(?:@\d{{1,11}}\.[0-9a-f]{{8}})?"
RECORD: Final = re.compile(rf"(?:[{_FORM_WITHOUT_TOKENS}{_FORM}] )?{_WORD}(?: {_WORD})*")
"""The form of a record."""


def is_record(found: bytes) -> bool:
    """Return whether these bytes are a record, with random keys as they were made."""
    text = found.decode("ascii", "replace")
    words = [word.partition("@") for word in text.split()]
    random = (word.removeprefix(_RANDOM).partition(".") for word, *_ in words if word.startswith(_RANDOM))
    ends = (ended.partition(".") for *_, ended in words if ended)
    return (
        RECORD.fullmatch(text) is not None
        and all(check in ("", _check(key)) for key, _, check in random)
        and all(check == _check_of_instant(at) for at, _, check in ends)
    )


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
        The record that was found, if it begins with the current key of this manager; else one that does. "@now" stands
        in it for the instant at which it is kept.
    """
    words = _words(found, is_new)
    first = _bare(words[0]) if words else _UNKEYED
    if secrets:
        current = _SECRET + _check(secrets[0])
    elif first in (_UNKEYED, _TOKENS):
        key = chance.token_hex(32)
        current = f"{_RANDOM}{key}.{_check(key)}"
    else:
        current = first
    if current != first:
        ended = [] if first in (_UNKEYED, _TOKENS) else [first + _NOW]
        words = [current, *ended, *(word for word in words if _bare(word) not in (current, *map(_bare, ended)))]
    return " ".join([_FORM, *words])


def digests_of(secrets: tuple[str, ...], record: str, place: str, at: float = 0.0) -> Digests:
    """Return the digests with all keys of a record, and with the secrets that are not in use yet.

    Args:
        secrets: The secrets of this manager, the current one first.
        record: The record.
        place: The address of the store, for errors.
        at: The instant on the store's clock, in seconds since the epoch.

    Raises:
        MissingSecret: The record names a secret that this manager was not given.
        StoreUnavailable: The record cannot be read.
    """
    known = {_SECRET + _check(secret): secret.encode() for secret in secrets}
    recent = recent_keys(record, at)
    given = [word for word in map(_bare, _words(record, is_new=True)) if word != _TOKENS]
    later = [word for word in known if word not in given]  # another process may have made it the current one
    plain = [word for word in given if word == _UNKEYED]
    words = [*(word for word in given if word != _UNKEYED), *later, *plain]
    keys = dict(zip(words, _keys(words, known, place), strict=True))
    of_tokens = [keys[word] for word in words[1:] if word in recent or word in later]
    return Digests(tuple(keys.values()), (*of_tokens, *([UNKEYED] if _TOKENS in recent else [])))


def recent_keys(record: str, at: float) -> tuple[str, ...]:
    """Return the words of a record that stand for keys, other than the current one, of which tokens may be kept.

    Args:
        record: The record.
        at: The instant on the store's clock, in seconds since the epoch.
    """
    dated = [word.partition("@") for word in _words(record, is_new=True)]
    ends = {word: at if ended == "now" else int(ended.partition(".")[0]) for word, _, ended in dated if ended}
    return tuple(word for word, ended in ends.items() if at < ended + TOKEN_KEPT)


def _words(record: str, is_new: bool) -> list[str]:
    """Return the words of a record after its form, the current key first, as a record of now has them."""
    form, *words = record.split() or [""]
    if form == _FORM:
        return words
    if form == _FORM_WITHOUT_TOKENS:
        return [*words, _TOKENS + _NOW]
    return [] if is_new and not record else [*record.split(), _UNKEYED, _TOKENS + _NOW]


def _bare(word: str) -> str:
    """Return a word of a record without its instant."""
    return word.partition("@")[0]


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


def _check_of_instant(at: str) -> str:
    """Return the check of an instant, as the script makes it."""
    return hashlib.sha1(at.encode(), usedforsecurity=False).hexdigest()[:8]


def _check(secret: str) -> str:
    return hmac.digest(secret.encode(), b"vimbiso check of a secret", "sha256").hex()[:16]
