"""What languages do differently, as the Unicode CLDR has it: which one a tag means, plurals, amounts of money.

The only import of Babel. A language that the CLDR does not know counts and writes as English does.
"""

from __future__ import annotations

import decimal
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from babel import Locale, UnknownLocaleError
from babel.numbers import NumberPattern, parse_pattern

from vimbiso_fsm.messages.money import Money

MAX_TAG: Final = 35
"""Characters of a language tag that are looked at (RFC 5646, §4.4.1)."""
AMOUNT_DIGITS: Final = 100
"""Digits of an amount that is formatted; a longer one is written as it is."""

_EXACT: Final = decimal.Context(prec=4 * AMOUNT_DIGITS)
"""Amounts are formatted in this context; the thread's own may have any precision."""


def preferred(profile: Mapping[str, Any], metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """The language tags that are known of a member, the one that counts first: `language` of their profile, then of
    what their channel knows of them. Anything that is no tag is passed over."""
    tags = (profile.get("language"), metadata.get("language"))
    if tags == (None, None):
        return ()
    return tuple(tag[:MAX_TAG] for tag in tags if isinstance(tag, str) and tag)


def looked_up(tags: Iterable[str], available: Iterable[str]) -> str | None:
    """The first of the tags that is available, exactly or after its end is cut off (RFC 4647, §3.4): "sn-ZW", and
    "sn_ZW", mean "sn". None when none is."""
    known = {_parts(name): name for name in available}
    for tag in tags:
        parts = _parts(tag)
        for end in range(len(parts), 0, -1):
            if parts[:end] in known:
                return known[parts[:end]]
    return None


def _parts(tag: str) -> tuple[str, ...]:
    return tuple(tag.replace("_", "-").lower().split("-"))


def plural(number: int, language: str) -> str:
    """The plural category of a number: "zero", "one", "two", "few", "many" or "other"."""
    return _locale(language).plural_form(number)


def plurals(language: str) -> frozenset[str]:
    """The plural categories that a language has, "other" always among them."""
    return frozenset({*_locale(language).plural_form.tags, "other"})


def money(value: Money, language: str) -> str:
    """An amount as a language writes numbers, all its decimals kept, and its currency's code, which no two share:
    "1,000.00 USD"."""
    amount, exponent = value.amount, value.amount.as_tuple().exponent
    if not isinstance(exponent, int) or max(abs(exponent), abs(amount.adjusted())) > AMOUNT_DIGITS:
        return str(value)
    signs = _signs(language)
    if signs is not None and exponent <= 0 and not amount.is_signed():
        with decimal.localcontext(_EXACT):
            return f"{format(amount, ',f').translate(signs)} {value.currency}"
    with decimal.localcontext(_EXACT):
        words = _pattern(language, max(0, -exponent)).apply(amount, _locale(language))
    return f"{words} {value.currency}"


@lru_cache(maxsize=64)
def _signs(language: str) -> dict[int, str] | None:
    """A language's signs in place of "," and "."; None for a language that writes numbers otherwise than by groups of
    three digits, which is found out by comparing some numbers with Babel's."""
    symbols = _locale(language).number_symbols.get("latn", {})
    signs = {ord(","): symbols.get("group", ","), ord("."): symbols.get("decimal", ".")}
    with decimal.localcontext(_EXACT):
        for tried in ("0", "999", "1234", "12345.6", "123456789", "1234567.89"):
            amount = decimal.Decimal(tried)
            decimals = len(tried.partition(".")[2])
            if format(amount, ",f").translate(signs) != _pattern(language, decimals).apply(amount, _locale(language)):
                return None
    return signs


@lru_cache(maxsize=256)
def _pattern(language: str, decimals: int) -> NumberPattern:
    """The language's pattern for numbers, with so many decimals."""
    whole = _locale(language).decimal_formats[None].pattern.partition(".")[0]
    return parse_pattern(whole + "." * (decimals > 0) + "0" * decimals)


@lru_cache(maxsize=64)
def _locale(language: str) -> Locale:
    try:
        return Locale.parse(language, sep="-" if "-" in language else "_")
    except (UnknownLocaleError, TypeError, ValueError):
        return Locale("en")
