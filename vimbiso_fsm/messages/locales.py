"""The conventions of languages, from the Unicode CLDR: the meaning of a tag, plurals, amounts, dates and times.

This is the only import of Babel. A language that the CLDR does not know counts and writes as English does.
"""

from __future__ import annotations

import datetime as dt
import decimal
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from babel import Locale, UnknownLocaleError
from babel.core import get_global, parse_locale
from babel.numbers import NumberPattern, parse_pattern

from vimbiso_fsm.messages.money import Money

TAG_LENGTH: Final = 35
"""Characters of a language tag that are read (RFC 5646, §4.4.1)."""
AMOUNT_DIGITS: Final = 100
"""Digits of an amount that is formatted; a longer one is written as it is."""

_EXACT: Final = decimal.Context(prec=4 * AMOUNT_DIGITS)
"""A context for amounts; the context of the thread may have any precision."""


class _Meaning(NamedTuple):
    """The meaning of a language tag: a language and a script."""

    language: str
    script: str


def preferred(profile: Mapping[str, Any], metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the language tags that are known of a member, the preferred one first.

    Args:
        profile: The member's profile; its `language` comes first.
        metadata: What the channel knows of the member; its `language` comes second.

    Returns:
        The tags. Values that are no text are left out.
    """
    tags = (profile.get("language"), metadata.get("language"))
    if tags == (None, None):
        return ()
    return tuple(tag[:TAG_LENGTH] for tag in tags if isinstance(tag, str) and tag)


def looked_up(tags: Iterable[str], available: Iterable[str]) -> str | None:
    """Return the first available language that a reader of one of the tags understands.

    A tag matches itself, a language that means the same in the CLDR ("zh-TW" and "zh-Hant", "iw" and "he", "nb" and
    "no"), and what is left when its end is cut off ("sn-ZW" and "sn"; RFC 4647, §3.4). Case, and "_" for "-", do not
    matter.

    Args:
        tags: Language tags, the preferred one first.
        available: The languages to choose from.

    Returns:
        One of `available`; None if no tag matches.
    """
    known = {_parts(name): name for name in available}
    for tag in tags:
        parts = _parts(tag)
        if parts in known:
            return known[parts]
        cut = next((known[parts[:end]] for end in range(len(parts) - 1, 0, -1) if parts[:end] in known), None)
        meaning = _meaning(parts)
        # Of the languages that mean the same, a prefix of the tag is the closest: "en" before "en-AU" for "en-GB".
        same = [name for key, name in known.items() if meaning is not None and _meaning(key) == meaning]
        found = cut if cut in same or not same else same[0]
        if found is not None:
            return found
    return None


def _parts(tag: str) -> tuple[str, ...]:
    return tuple(tag.replace("_", "-").lower().split("-"))


@lru_cache(maxsize=256)
def _meaning(parts: tuple[str, ...]) -> _Meaning | None:
    """Complete a tag by the CLDR's aliases and likely subtags; return None for a tag of no known language."""
    try:
        language, territory, script, *_ = parse_locale("-".join(parts), sep="-")
        alias = get_global("language_aliases").get(language, language)
        language, _, aliased_script, *_ = parse_locale(alias)
    except ValueError:
        return None
    likely = get_global("likely_subtags")
    usual = likely.get(f"{language}_{territory}") or likely.get(language)
    script = script or aliased_script or (usual and parse_locale(usual)[2])
    if script is None:
        return None
    # The CLDR inherits Norwegian Bokmål from Norwegian: "no" and "nb" are the same language under two tags.
    return _Meaning("no" if language == "nb" else language, script)


def plural(number: int, language: str) -> str:
    """Return the plural category of a number: "zero", "one", "two", "few", "many" or "other"."""
    return _locale(language).plural_form(number)


def plurals(language: str) -> frozenset[str]:
    """Return the plural categories of a language; "other" is always among them."""
    return frozenset({*_locale(language).plural_form.tags, "other"})


def money(value: Money, language: str) -> str:
    """Format an amount as the language writes numbers: "1,000.00 USD".

    All decimals are kept, and the currency is written by its code, because currencies share symbols.
    """
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


def number(value: decimal.Decimal, language: str) -> str:
    """Format a decimal number as the language writes numbers, with all its decimals: "1,250.50"."""
    if not value.is_finite():
        return str(value)
    return money(Money(value, ""), language).rstrip()


_YEAR: Final = re.compile(r"(?<!y)y(?!y)")
_LONG_DATES: Final = {"sn": "d MMMM y"}
"""Patterns of dates that the CLDR has not yet from the speakers of a language."""


def date(value: dt.date, language: str) -> str:
    """Format a date in words: "4 January 2027", "4 de enero de 2027". A year has at least four digits."""
    from babel.dates import format_date  # it reads the time zones of the system; only a bot that says dates pays for it

    found = _spoken(language)
    pattern = _LONG_DATES.get(found.language) or found.date_formats["long"].pattern
    return format_date(value, _YEAR.sub("yyyy", pattern), locale=found)


def time(value: dt.time, language: str) -> str:
    """Format a time of day: "15:30", with seconds unless they are 0."""
    from babel.dates import format_time

    return format_time(value.replace(tzinfo=None), "medium" if value.second else "short", locale=_spoken(language))


def datetime(value: dt.datetime, language: str) -> str:
    """Format a date and a time in the time zone of the value: "4 January 2027, 15:30".

    A time that the clocks of the zone show twice on that day is followed by its difference to UTC.
    """
    words = f"{date(value.date(), language)}, {time(value.time(), language)}"
    before, after = value.replace(fold=0).utcoffset(), value.replace(fold=1).utcoffset()
    return words if before is None or after is None or before <= after else f"{words} {_offset(value)}"


def _offset(value: dt.datetime) -> str:
    """Return the difference of an instant to UTC: "+02:00"."""
    return value.isoformat()[-6:] if value.utcoffset() else "+00:00"


class Names(NamedTuple):
    """The names of the months and of the days of the week, by number: January is 1, Monday is 0.

    The particles are the words that the language writes between the parts of a date.
    """

    months: Mapping[str, int]
    short_months: Mapping[str, int]
    weekdays: Mapping[str, int]
    particles: frozenset[str]


@lru_cache(maxsize=64)
def names(language: str) -> Names:
    """Return the names of months and weekdays in a language, as they stand in a date and by themselves."""
    found = _locale(language)
    kinds = ("format", "stand-alone")
    return Names(
        {name: number for kind in kinds for number, name in found.months[kind]["wide"].items()},
        {name: number for kind in kinds for number, name in found.months[kind]["abbreviated"].items()},
        {name: number for kind in kinds for number, name in found.days[kind]["wide"].items()},
        frozenset(re.findall("'([^']+)'", found.date_formats["long"].pattern)),
    )


_ORDERS: Final = {"sn": "dm"}
"""The orders of languages whose CLDR data have another one than their speakers."""


def order(tags: Iterable[str]) -> str:
    """Return the order of day and month in numbers, "dm" or "md", by the first tag that is known; "" without one.

    English without a territory tells none: 04/01 is the 4th of January in Harare and the 1st of April in Chicago. Nor
    does a language that writes the year first.
    """
    for tag in tags:
        parts = _parts(tag)
        if (parts[0] == "en" and len(parts) == 1) or not _is_known(tag):
            continue
        found = _locale(tag)
        pattern = found.date_formats["short"].pattern
        day, month, year = pattern.find("d"), pattern.find("M"), pattern.find("y")
        return _ORDERS.get(found.language) or ("" if year < max(day, month) else "dm" if day < month else "md")
    return ""


def _spoken(language: str) -> Locale:
    """Return the locale of dates and times: English without a territory is written as in most English countries."""
    return _locale("en-GB" if _parts(language) == ("en",) else language)


def _is_known(tag: str) -> bool:
    try:
        Locale.parse("_".join(_parts(tag)))
    except (UnknownLocaleError, TypeError, ValueError):
        return False
    return True


@lru_cache(maxsize=64)
def _signs(language: str) -> dict[int, str] | None:
    """Return the replacements of comma and point in numbers; None for a language that groups otherwise.

    Formatting with them is much faster than Babel. Sample numbers show whether the language needs nothing else.
    """
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
    """Return the pattern of the language for numbers with `decimals` decimals."""
    whole = _locale(language).decimal_formats[None].pattern.partition(".")[0]
    return parse_pattern(whole + "." * (decimals > 0) + "0" * decimals)


@lru_cache(maxsize=64)
def _locale(language: str) -> Locale:
    try:
        return Locale.parse(language, sep="-" if "-" in language else "_")
    except (UnknownLocaleError, TypeError, ValueError):
        return Locale("en")
