"""Languages, plural forms and amounts by the CLDR."""

from __future__ import annotations

import decimal
import itertools
import re
from decimal import Decimal
from typing import Any

import pytest
from babel.localedata import locale_identifiers
from hypothesis import assume, given
from hypothesis import strategies as st

from vimbiso_fsm.messages import locales
from vimbiso_fsm.messages.locales import looked_up, money, plural, plurals, preferred
from vimbiso_fsm.messages.money import Money

LANGUAGES = ["en", "sn", "sn-ZW", "de", "fr", "hi", "ar", "no such language", ""]


def test_the_profile_comes_before_the_channel():
    """The language of the profile has priority; text that is not a language tag is ignored, and a long tag is cut."""
    assert preferred({"language": "sn"}, {"language": "en-GB"}) == ("sn", "en-GB")
    assert preferred({}, {"language": "sn"}) == ("sn",)
    assert preferred({"language": 5}, {"language": None}) == preferred({"language": ""}, {}) == ()
    assert preferred({"language": "x" * 10_000}, {}) == ("x" * 35,)


@given(st.lists(st.text(max_size=12)), st.lists(st.text(max_size=6)))
def test_any_tag_finds_an_available_language_or_none(tags: list[str], available: list[str]):
    """Any tag at all is answered with a language that there is, or with none."""
    assert looked_up(tags, available) in {None, *available}


@pytest.mark.parametrize(
    ("tag", "available", "found"),
    [
        ("sn-ZW", ["en", "sn"], "sn"),
        ("SN_zw", ["en", "sn"], "sn"),
        ("en-GB", ["en-AU", "en"], "en"),
        ("en-GB", ["en-AU", "en-GB"], "en-GB"),
        ("pt-PT", ["en", "pt-BR"], "pt-BR"),
        ("zh-TW", ["zh", "zh-Hant"], "zh-Hant"),
        ("zh-HK", ["zh-Hans", "zh-Hant"], "zh-Hant"),
        ("zh-TW", ["en", "zh-Hans"], None),
        ("zh-TW", ["en", "zh"], "zh"),
        ("sr-Latn", ["sr-Cyrl", "sr"], "sr"),
        ("sh", ["sr", "sr-Latn"], "sr-Latn"),
        ("yue", ["zh", "en"], None),
        ("nn", ["no", "en"], None),
        ("tlh-US", ["en", "tlh"], "tlh"),
        ("x", ["en"], None),
        ("", ["en"], None),
    ],
)
def test_a_tag_finds_the_language_that_its_readers_understand(tag: str, available: list[str], found: str | None):
    """The same tag comes first, then one with the same meaning, then a prefix; no other language is offered."""
    assert looked_up([tag], available) == found


def test_the_first_tag_that_matches_decides():
    """A close match of an earlier tag comes before an exact match of a later one."""
    assert looked_up(["iw", "en"], ["en", "he"]) == "he"
    assert looked_up(["tlh", "en-ZW"], ["en", "he"]) == "en"


@pytest.mark.parametrize(
    ("language", "counted", "forms"),
    [
        ("en", ["other", "one", "other"], {"one", "other"}),
        ("sn", ["other", "one", "other"], {"one", "other"}),
        ("ar", ["zero", "one", "two"], {"zero", "one", "two", "few", "many", "other"}),
        ("ja", ["other", "other", "other"], {"other"}),
        ("tlh", ["other", "one", "other"], {"one", "other"}),  # not in the CLDR: as English
    ],
)
def test_plurals_are_those_of_the_language(language: str, counted: list[str], forms: set[str]):
    """The categories of 0, 1 and 2, and all that there are."""
    assert [plural(number, language) for number in range(3)] == counted
    assert plurals(language) == forms


@pytest.mark.parametrize(
    ("amount", "language", "words"),
    [
        ("1000.00", "en", "1,000.00 USD"),
        ("1000.00", "sn-ZW", "1,000.00 USD"),
        ("1234567.5", "de", "1.234.567,5 USD"),
        ("1234567.50", "hi", "12,34,567.50 USD"),
        ("0.0000", "sn", "0.0000 USD"),
        ("-3.10", "en", "-3.10 USD"),
        ("1E+3", "en", "1,000 USD"),
        ("NaN", "en", "NaN USD"),
        ("1E+200", "en", f"1{'0' * 200} USD"),
    ],
)
def test_amounts(amount: str, language: str, words: str):
    """Grouped and pointed as the language does, the code of the currency behind; what is no number as it is."""
    assert money(Money(Decimal(amount), "USD"), language) == words


@given(st.decimals(allow_nan=False, allow_infinity=False), st.sampled_from(LANGUAGES), st.integers(1, 40))
def test_no_digit_of_an_amount_is_lost(amount: Decimal, language: str, precision: int):
    """No digit of an amount is lost in any language and with any decimal precision of the thread."""
    context: Any = decimal.Context(prec=precision)
    with decimal.localcontext(context):
        words = money(Money(amount, "USD"), language)
    assert re.sub("[^0-9]", "", words) == re.sub("[^0-9]", "", f"{amount:f}")
    assert words.endswith(" USD")


def test_amounts_are_those_of_babel_in_every_language():
    """Grouping without Babel, where it is done, writes what Babel writes; with any signs, sizes and decimals."""
    small = ["0", "0.00", "7", "999.9", "1000", "9999.99", "10000", "-1234.5"]
    for language, text in itertools.product(
        locale_identifiers(), [*small, "1234567.50", "98765432109876543210.123456"]
    ):
        amount = Decimal(text)
        with decimal.localcontext(decimal.Context(prec=400)):
            pattern = locales._pattern(language, -int(amount.as_tuple().exponent))
            words = pattern.apply(amount, locales._locale(language))
        assert money(Money(amount, "USD"), language) == f"{words} USD", language


@given(
    st.decimals(allow_nan=False, allow_infinity=False), st.sampled_from([*LANGUAGES, "de-CH", "es", "pl", "my", "bn"])
)
def test_any_amount_is_that_of_babel(amount: Decimal, language: str):
    """The same for any amount that is formatted at all."""
    exponent = int(amount.as_tuple().exponent)
    assume(max(abs(exponent), abs(amount.adjusted())) <= locales.AMOUNT_DIGITS)
    with decimal.localcontext(decimal.Context(prec=400)):
        words = locales._pattern(language, max(0, -exponent)).apply(amount, locales._locale(language))
    assert money(Money(amount, "USD"), language) == f"{words} USD"


def test_some_languages_are_grouped_without_babel_and_some_are_not():
    """So the two tests above compare two ways."""
    assert locales._signs("en") == {ord(","): ",", ord("."): "."}
    assert locales._signs("de") == {ord(","): ".", ord("."): ","}
    assert locales._signs("hi") is None
