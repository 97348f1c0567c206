"""Words as they are compared, and numbers as people type them."""

# ruff: noqa: E501  # tables read best unwrapped

from __future__ import annotations

import sys
import unicodedata
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import texts
from vimbiso_fsm.messages.words import normalise, number, numbers_in, without_stop

ZEROS = [chr(code) for code in range(sys.maxunicode + 1) if unicodedata.decimal(chr(code), None) == 0]
"""The digit zero of every script that counts by tens, and its styled forms."""


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ("ＭＥＮＵ", "menu"), ("me\u200bnu", "menu"), ("\u202emenu", "menu"), ("Straße", "strasse"), (" a \t b ", "a b"),
        ("\u3000hi", "hi"), ("\ufeffhi", "hi"), ("e\u200d\u0301", "é"), ("E\u0301", "é"), ("✔️", "✔"), ("\u3164hi", "hi"),
        ("7\ufe0f\u20e3", "7"), ("7\u20e3", "7"), ("\U0001f51f", "10"), ("٣ ضيوف", "3 ضيوف"), ("ﬀ", "ff"), ("İ", "i̇"),
    ],
)  # fmt: skip
def test_words_are_compared_as_they_look(said: str, word: str):
    """Full-width letters, invisible characters, case, white space, keycaps and the script of digits do not matter."""
    assert normalise(said) == word


@given(texts, st.integers(1, 300))
def test_a_place_before_a_title_changes_nothing_of_the_title(title: str, place: int):
    """The words of a line of a list are its number, and the words of the title alone."""
    assert normalise(f"{place}. {title}") == f"{place}. {normalise(title)}".rstrip()


@given(texts)
def test_a_normalised_text_is_its_own_normal_form(text: str):
    """Any text can be normalised; the result is trimmed, and normalising it again changes nothing."""
    word = normalise(text)
    assert word == word.strip()
    assert normalise(word) == word


@given(st.text(), st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]))
def test_spellings_of_one_text_are_one_word(text: str, form: Literal["NFC", "NFD", "NFKC", "NFKD"]):
    """Unicode's normal forms of a text are the same word."""
    assert normalise(unicodedata.normalize(form, text)) == normalise(text)


def test_the_digits_of_every_script_are_numbers():
    """The numbers 0 to 999 in the digits of every script are read, bare, with a full stop and with a bracket."""
    assert len(ZEROS) > 60
    for zero in ZEROS:
        for value in (*range(21), 99, 100, 999):
            typed = "".join(chr(ord(zero) + int(digit)) for digit in str(value))
            assert [number(normalise(typed + end)) for end in ("", ".", ")", " .")] == [value] * 4, ascii(typed)


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("1", 1), (" 1 ", 1), ("01", 1), ("007", 7), ("1.", 1), ("1)", 1), ("(1)", 1), ("( 12 )", 12), ("1。", 1), ("१।", 1),
        ("١۔", 1), ("၁။", 1), ("1\ufe0f\u20e3", 1), ("1\ufe0f\u20e3.", 1), ("\U0001f51f", 10), ("①", 1), ("⑳", 20), ("⑴", 1),
        ("⒈", 1), ("❶", 1), ("➓", 10), ("一", 1), ("十", 10), ("፩", 1), ("፲", 10), ("²", 2), ("\u200e3\u200e", 3), ("１２", 12),
    ],
)  # fmt: skip
def test_a_number_is_read_as_people_type_it(typed: str, value: int):
    """A number may have a full stop, brackets or a keycap, and may be one character of another numeral system."""
    assert number(normalise(typed)) == value


@pytest.mark.parametrize(
    "typed",
    [
        "", ".", ")", "()", "-1", "+1", "1.5", "1..", "1,", "1.0", "1 2", "1e3", "0x1", "1234", "1st", "#1", "1/2", "½", "a",
        "one", "1 USD", "$1", "百万", "9" * 400, "1\n2", "\u20e3",
    ],
)  # fmt: skip
def test_an_amount_or_a_word_is_no_number(typed: str):
    """A sign, a fraction, a separator, a unit or a fourth digit makes a text something other than a number."""
    assert number(normalise(typed)) is None


@given(texts)
def test_any_text_is_a_number_or_none(text: str):
    """A number that is read has at most three digits, unless it is a single character, and never raises."""
    word = normalise(text)
    value = number(word)
    assert value is None or value >= 0
    assert without_stop(word) in (word, word[:-1].rstrip())


@pytest.mark.parametrize(
    ("title", "found"),
    [
        ("3 guests", {3}), ("Room 12", {12}), ("2. Settings", {2}), ("4-5 people", set()), ("5.00 USD", set()), ("10:30", set()),
        ("2026-11-22", set()), ("4x4", set()), ("1 or 2", {1, 2}), ("1,000", set()), ("2000", set()), ("#3", {3}), ("(3)", {3}),
    ],
)  # fmt: skip
def test_whole_numbers_in_a_title(title: str, found: set[int]):
    """A number in a title counts if it stands alone, not as the part of an amount, a date, a time or a word."""
    assert numbers_in(normalise(title)) == found
