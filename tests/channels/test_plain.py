"""Shortening, splitting and numbering: within the limit, nothing lost, no character cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.channels.strategies import bare, long_words
from vimbiso_fsm.channels.plain import (
    Option,
    numbered,
    options,
    pressable,
    question,
    shorten,
    split,
    split_off_end,
    titles,
    utf16,
)
from vimbiso_fsm.messages.replies import Button, Buttons, Menu, Row, Text

ASTRONAUT = "👩🏽‍🚀"
FLAGS = "🇿🇼🇨🇦"
clean_words = long_words.map(lambda text: text.encode("utf-8", "replace").decode())


@given(clean_words, st.integers(4, 300))
def test_a_shortened_text_is_within_the_limit(text, limit):
    """A shortened text is within the limit and marked as shortened."""
    short = shorten(text, limit)
    assert utf16(short) <= limit
    assert short == text or short.endswith("…")


@given(clean_words, st.integers(4, 300))
def test_a_split_text_loses_nothing_but_white_space_at_its_seams(text, limit):
    """The pieces of a text are within the limit and hold all of it but white space."""
    pieces = split(text, limit)
    assert all(piece.strip() and utf16(piece) <= limit for piece in pieces)
    assert bare("".join(pieces)) == bare(text)


@given(clean_words, st.integers(4, 300))
def test_the_end_that_is_split_off_and_the_rest_are_the_whole(text, limit):
    """The end that is split off is within the limit, and both parts hold all of the text but white space."""
    ahead, end = split_off_end(text, limit)
    assert utf16(end) <= limit
    assert bare(ahead + end) == bare(text)


@pytest.mark.parametrize(
    ("text", "limit", "short"),
    [
        ("twenty characters!!!", 20, "twenty characters!!!"),
        ("twenty-one characters", 20, "twenty-one characte…"),
        ("a word at the border of it", 8, "a word…"),
        ("cafe\u0301 noir", 5, "caf…"),  # the accent would not fit, so its letter goes too
        (ASTRONAUT * 3, 10, ASTRONAUT + "…"),
        (FLAGS, 7, "🇿🇼…"),
        ("각\u1100\u1161\u11a8각", 4, "각…"),
        ("e" + "\u0301" * 99, 10, "e" + "\u0301" * 8 + "…"),  # no letter has so many accents: cut among them
        ("x\r\ny and more", 4, "x…"),
        ("12345\r\n", 7, "12345\r\n"),
        ("नमस्ते जी", 5, "नम…"),  # "स्ते" is one character: s and t joined by a virama, with a vowel sign
        ("ab\u0915\u094d\u0937\u093f क्षत्रिय", 5, "ab…"),  # a conjunct does not fit in part
        ("กำลังน้ำใจ", 6, "กำลัง…"),
        ("กำลังน้ำใจ", 4, "กำ…"),  # "ลั" is a consonant with the vowel above it
        ("น้ำใจ", 4, "น้ำ…"),
        ("👨‍👩‍👧‍👦👨‍👩‍👧‍👦", 12, "👨‍👩‍👧‍👦…"),
        ("ab👨‍👩‍👧‍👦", 10, "ab…"),
        ("🇿🇼🇿🇦🇲🇿", 8, "🇿🇼…"),
        ("🏴󠁧󠁢󠁥󠁮󠁧󠁿🏴󠁧󠁢󠁥󠁮󠁧󠁿", 15, "🏴󠁧󠁢󠁥󠁮󠁧󠁿…"),
    ],
)
def test_a_cut_falls_between_characters(text, limit, short):
    """A shortened text ends before a grapheme cluster that does not fit whole, in any script."""
    assert shorten(text, limit) == short


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", []),
        (" \n ", []),
        ("one two", ["one two"]),
        ("one two\n\nthree four", ["one two", "three four"]),
        ("one two\nthree four", ["one two", "three four"]),
        ("one two three four", ["one two", "three four"]),
        ("onetwothreefour", ["onetwothreef", "our"]),
        ("1234567 \u0301890123", ["1234567 \u0301890", "123"]),  # a space with an accent is no seam
    ],
)
def test_a_text_is_split_at_its_largest_seam(text, pieces):
    """A text is split after a paragraph, else after a line, a word or a character."""
    assert split(text, 12) == pieces


def test_a_megabyte_is_split_in_a_moment():
    """A long text without white space is split into pieces of the limit."""
    assert len(split("wort " * 200_000, 200)) == 5_000
    assert len(split("\u0301" * 1_000_000, 200)) == 5_000


def test_titles_that_would_look_the_same_are_numbered():
    """If two titles would look the same, all are numbered."""
    same = [Option("a", "Offer from Alan Turing, 5 USD"), Option("b", "Offer from Alan Turing, 7 USD")]
    assert titles(same, 20) == ["1. Offer from Alan…", "2. Offer from Alan…"]
    assert titles(same, 40) == [option.title for option in same]
    assert titles([Option("a", "Yes"), Option("b", "YES")], 20) == ["1. Yes", "2. YES"]


def test_numbered_text():
    """Options are numbered from 1, one per line, below the body."""
    menu = Menu(Text("Which one?"), (Row("a", "First\nof all", Text("5.00 USD")), Row("b", ""), Row("c", "Third")))
    assert numbered(question(menu), options(menu)) == "Which one?\n1. First of all - 5.00 USD\n2. b\n3. Third"
    assert numbered("", options(Buttons(Text(""), (Button("y", "Yes"),)))) == "1. Yes"
    assert options(Text("hi")) == ()


@pytest.mark.parametrize("ids", [[], [""], [" a"], ["a", "a"], ["a", "b", "c", "d"], ["12345"], ["\ud800"]])
def test_options_that_are_no_buttons(ids):
    """Too many options, equal ids, and ids that are empty, too long or not returned unchanged are no buttons."""
    assert not pressable([Option(id, "title") for id in ids], limit=3, id_limit=4, size=len)
    assert pressable([Option("1234", "title")], limit=3, id_limit=4, size=len)
