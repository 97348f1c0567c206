"""The readers of typed answers: each rule of the domain, and what a hostile member types."""

import datetime as dt
import string
import threading
import time
import unicodedata
from decimal import Context, Decimal, localcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vimbiso_fsm.document.json_codec import dumps
from vimbiso_fsm.document.typed_data import unstructure
from vimbiso_fsm.errors import FlowError, WrongCallback
from vimbiso_fsm.messages.catalogue import Catalogue
from vimbiso_fsm.messages.money import Money
from vimbiso_fsm.messages.readers import (
    AMOUNT_DIGITS,
    ANSWER_TEXTS,
    TurnReader,
    amount,
    choice,
    date,
    free_text,
    handle,
    name,
    number,
    of_turn,
    phone,
)
from vimbiso_fsm.messages.refusals import Refused

DECIMALS = {"USD": 2, "ZWG": 2, "CAD": 2, "XAU": 4, "CXX": 3}
money = amount(DECIMALS)


def usd(text):
    """Return an amount in US dollars."""
    return Money(Decimal(text), "USD")


def code(answer):
    """Return the code of a refusal."""
    assert isinstance(answer, Refused), answer
    return answer.code


# Amounts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "typed", ["100", "100 USD", "USD 100", "100usd", "usd100", "100 (USD)", "(usd) 100", "100(Usd)"]
)
def test_an_amount_is_a_number_and_at_most_one_denomination(typed):
    """An amount is one number with at most one currency, in either order and any case."""
    assert money(typed) == usd("100.00")
    assert str(money(f"  {typed}\n")) == "100.00 USD"


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("0.5", "0.50 USD"),
        ("0.01", "0.01 USD"),
        ("007", "7.00 USD"),
        ("2 xau", "2.0000 XAU"),
        ("0.0001XAU", "0.0001 XAU"),
        ("CXX 1.234", "1.234 CXX"),
        ("10  \t ZWG", "10.00 ZWG"),
        ("10\u00a0USD", "10.00 USD"),
        ("123456789012345", "123456789012345.00 USD"),
        ("1234567890123.45", "1234567890123.45 USD"),
    ],
)
def test_an_amount_has_all_the_decimals_of_its_denomination(typed, read):
    """An amount is returned with all decimals of its currency."""
    assert str(money(typed)) == read


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        *((typed, "amount.format") for typed in (
            "", " ", "USD", "(USD)", "ten", "+10", "-10", "−10", "1e5", "1E5", "1_000", "1,000", "1 000", "1,5",
            "1'000", ".5", "5.", ".", "1.2.3", "..", "nan", "inf", "NaN USD", "-inf", "0x10", "10 USD USD",
            "USD 10 USD", "usd 10 cad", "10 (USD", "10 USD)", "10 ((USD))", "10 ()", "10 20", "10 USD 20", "$10",
            "10$", "10 US D",
            "١٠٠", "१००", "１００", "1०", "²", "½", "10 ＵＳＤ", "10 USÐ", "10\u200bUSD", "\u202e10", "10\u202c",
            "10\x00", "\x1f10", "10\x1c", "10\u2028USD", "\ufeff10", "=>", "10=>alan", "<10>", "💯",
        )),
        ("100 EUR", "amount.currency"),
        ("usdt 5", "amount.currency"),
        ("1.001", "amount.decimals"),
        ("0.00001 USD", "amount.decimals"),
        ("10.000", "amount.decimals"),
        ("1.00001 XAU", "amount.decimals"),
        ("0", "amount.zero"),
        ("0.00", "amount.zero"),
        ("000 XAU", "amount.zero"),
        ("1234567890123456", "amount.digits"),
        ("12345678901234.56", "amount.digits"),
        ("0000000000000001", "amount.digits"),
        ("9" * 310, "amount.digits"),
        ("1." + "0" * 400, "amount.digits"),
        ("x" * 310, "amount.format"),
    ],
)  # fmt: skip
def test_any_other_amount_is_refused(typed, wanted):
    """Anything else is refused with its reason."""
    assert code(money(typed)) == wanted


def test_the_reader_of_amounts_has_a_default():
    """Without a currency the default is meant; a default that is not known raises ValueError."""
    assert money("1") == usd("1")
    assert amount(DECIMALS, default="CXX")("1") == Money(Decimal(1), "CXX")
    for decimals, default in (({}, ""), ({"USD": 2}, "EUR"), ({"usd": 2}, "usd"), ({"US1": 2}, "US1")):
        with pytest.raises(ValueError, match="capital letters"):
            amount(decimals, default=default)


def test_an_amount_does_not_depend_on_the_decimal_context():
    """The thread's decimal context does not change an amount."""
    with localcontext(Context(prec=2)):
        assert str(money("123456.78")) == "123456.78 USD"


@given(
    st.decimals(min_value="0.0001", max_value="99999999999", places=4),
    st.sampled_from(sorted(DECIMALS)),
    st.sampled_from(["{n} {d}", "{d} {n}", "{n}{d}", "{d}{n}", "{n} ({d})", "({d}){n}"]),
    st.booleans(),
)
def test_an_amount_is_read_or_refused_by_its_decimals(number, denom, shape, lower):
    """An amount is read exactly if it has no more decimals than its currency."""
    typed = shape.format(n=f"{number:f}", d=denom.lower() if lower else denom)
    read = money(typed)
    if DECIMALS[denom] == 4:
        assert read == Money(number, denom)
    else:
        assert code(read) == "amount.decimals"


@given(st.text(st.sampled_from(string.digits + ".-+eE ,()USDCAXusd٣\u202e"), max_size=20))
def test_an_amount_is_never_zero_negative_or_infinite(typed):
    """Whatever is typed, an amount that is read is positive and finite."""
    read = money(typed)
    if isinstance(read, Money):
        assert read.amount > 0
        assert read.amount.is_finite()
        assert sum(c.isdigit() for c in typed) <= 15
        assert read.amount.as_tuple().exponent == -DECIMALS[read.currency]
        assert money(str(read)) == read


# Names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("Emmy", "Emmy"),
        ("  Mary   Ann\n", "Mary Ann"),
        ("Mary\tAnn", "Mary Ann"),
        ("O'Neill", "O'Neill"),
        ("O’Neill", "O’Neill"),
        ("Jean-Luc", "Jean-Luc"),
        ("J. R.", "J. R."),
        ("Zoe\u0308", "Zoë"),
        ("李小龍", "李小龍"),
        ("नरेन्द्र", "नरेन्द्र"),
        ("محمد", "محمد"),
        ("ʻOkina", "ʻOkina"),
        ("Ng", "Ng"),
        ("x" * 50, "x" * 50),
        ("e\u0301" * 50, "é" * 50),
    ],
)
def test_a_name_is_letters_of_any_script(typed, read):
    """A name may be written in any script."""
    assert name()(typed) == read


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        *((typed, "name.format") for typed in (
            "R2D2", "Emmy1", "٣٣", "Emmy😀", "<b>Emmy</b>", "a@b", "a_b", "Emmy, Noether", "--", "''", ". .",
            "Em\x00my", "Em\x1bmy", "Em\x1cmy", "Em\u202emy", "\u200fEmmy", "Em\u200bmy", "Em\u2028my", "Emmy\ud800",
            "\u0301\u0301", "-\u0301a", "a\ufe0f", "\u3164\u3164", "1\ufe0f\u20e3", "A\u20dd", "\u2800\u2800",
            "a\u115f",
        )),
        *((typed, "name.length") for typed in ("", "   ", "E", "é", "x" * 51, "x" * 100_000, "a" + "\u0301" * 300)),
    ],
)  # fmt: skip
def test_any_other_name_is_refused(typed, wanted):
    """A text that is no name is refused with its reason."""
    assert code(name()(typed)) == wanted


def test_the_limits_of_a_name_can_be_chosen():
    """The length of a name is bounded by the reader's limits."""
    read = name(shortest=1, longest=3)
    assert read("E") == "E"
    assert code(read("Emmy")) == "name.length"
    refused = read("Emmy")
    assert isinstance(refused, Refused)
    assert refused.params == {"shortest": 1, "longest": 3}


@given(st.text(max_size=60))
def test_a_name_read_is_a_name(typed):
    """Whatever is typed, a name that is read is normalised, within the limits, and read as itself again."""
    read = name()(typed)
    if isinstance(read, str):
        assert 2 <= len(read) <= 50
        assert read == unicodedata.normalize("NFC", read) == read.strip()
        assert "  " not in read
        assert any(unicodedata.category(c)[0] == "L" for c in read)
        assert all(unicodedata.category(c)[0] in "LM" or c in " -'’." for c in read)
        assert name()(read) == read


# Handles -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "read"),
    [("alan", "alan"), ("@Alan", "alan"), ("  SHOP_one ", "shop_one"), ("@home", "home"), ("1", "1"), ("x" * 30,) * 2],
)
def test_a_handle(typed, read):
    """A handle is returned in lower case without its @."""
    assert handle(typed) == read


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "@",
        "@@alan",
        "@ alan",
        "al an",
        "al-an",
        "alän",
        "ａlan",
        "\u212a",
        "alan\x00",
        "al\nan",
        "x" * 31,
        "_" * 99,
    ],
)
def test_any_other_handle_is_refused(typed):
    """A text that is no handle is refused."""
    assert code(handle(typed)) == "handle.format"


# Choices, dates, texts ---------------------------------------------------------------------------------------------


def test_a_choice_is_one_of_a_few_words():
    """A choice is returned as declared; white space and case do not matter."""
    read = choice("Red", "Dark  blue", "Größe", "Été")
    assert [read(typed) for typed in (" red", "DARK BLUE\n", "GRÖSSE", "e\u0301TE\u0301")] == [
        "Red",
        "Dark  blue",
        "Größe",
        "Été",
    ]
    assert [read(typed) for typed in ("red.", "re\u200bd", "\u200fｒｅｄ")] == ["Red"] * 3
    assert {code(read(typed)) for typed in ("", ".", "green", "r ed", "red..", "red" * 999)} == {"choice.unknown"}
    assert [choice("7", "8.")(typed) for typed in ("٧", "7\ufe0f\u20e3", "8", "8.")] == [
        "7",
        "7",
        Refused("choice.unknown"),
        "8.",
    ]
    for options in (["a", "A"], ["", "a"]):
        with pytest.raises(ValueError, match="differ"):
            choice(*options)


@pytest.mark.parametrize(
    "typed", ["2026-11-22", " 2026-11-22 ", "22 November 2026", "22 nov 2026", "22. Nov. 2026", "22  NOVEMBER  2026"]
)
def test_a_date_that_means_the_same_everywhere(typed):
    """A date in an unambiguous spelling is read."""
    assert date()(typed) == dt.date(2026, 11, 22)


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        *((typed, "date.format") for typed in (
            "", "today", "2026", "20261122", "2026-W47-7", "22 Nvmbr 2026", "22 november",
            "٢٠٢٦-١١-٢٢", "2026-11-22\u202e", "2026‑11‑22", "2" * 2000,
        )),
        ("11.12.2026", "date.ambiguous"),
        ("2026-02-29", "date.unknown"),
        ("0000-01-01", "date.unknown"),
        ("2026-13-01", "date.unknown"),
        ("31 june 2026", "date.unknown"),
        ("2025-12-31", "date.early"),
        ("2027-01-01", "date.late"),
    ],
)  # fmt: skip
def test_any_other_date_is_refused(typed, wanted):
    """An ambiguous or impossible date is refused with its reason."""
    read = date(earliest=dt.date(2026, 1, 1), latest=dt.date(2026, 12, 31))
    assert code(read(typed)) == wanted


def test_every_month_can_be_spelt():
    """Each month can be written in full and abbreviated."""
    for month in range(1, 13):
        day = dt.date(2026, month, 3)
        assert {date()(f"{day:%d %B %Y}"), date()(f"{day:%d %b %Y}")} == {day}
    assert date()("3 sept 2026") == dt.date(2026, 9, 3)


def test_free_text_keeps_visible_characters():
    """Free text keeps visible characters, tabs and line breaks, and refuses the rest."""
    read = free_text(20)
    assert read("  two\r\nlines \n") == "two\nlines"
    assert read("Zoe\u0308 👨\u200d👩\u200d👧") == "Zoë 👨\u200d👩\u200d👧"
    assert read("{format} <b>%s") == "{format} <b>%s"
    assert code(read(" \n\t")) == "text.empty"
    assert code(read("x" * 21)) == "text.length"
    for hidden in ("a\x00b", "a\x1bb", "a\x7fb", "a\u202eb", "\u2066a", "a\u200bb", "\ufeffa", "a\u2028b", "\ud83d"):
        assert code(read(hidden)) == "text.format"
    for nothing in ("\u3164", "\u200d\u200c", "\u115f \u3164"):
        assert code(read(nothing)) == "text.format"
    assert code(free_text(100)("a" + "\u0301" * 31)) == "text.format"


def test_free_text_takes_the_same_signs_of_ascii_alone_and_beside_others():
    """Each sign of ASCII is taken or refused alike in a text of ASCII alone and in one with another letter."""
    read = free_text()
    for sign in map(chr, range(128)):
        taken = sign.isprintable() or sign in "\t\n"
        assert [isinstance(read(text), Refused) for text in (f"a{sign}b", f"é{sign}b")] == [not taken] * 2


def test_a_telephone_number():
    """A telephone number in any usual spelling is returned in the form E.164."""
    pytest.importorskip("phonenumbers")
    read = phone("ZW")
    assert read("077 123 4567") == read("+263 77-123-4567") == read(" +263 (77) 1234567") == "+263771234567"
    assert code(phone()("077 123 4567")) == "phone.format"
    assert {
        code(read(typed)) for typed in ("", "abc", "0800 FLOWERS", "٠٧٧١٢٣٤٥٦٧", "+", "1" * 41, "+999 1234567")
    } == {"phone.format"}
    assert code(read("+263 1")) in ("phone.format", "phone.unknown")
    assert code(read("+263 00 000 0000")) == "phone.unknown"


# All of them -------------------------------------------------------------------------------------------------------

READERS = {
    "amount": money,
    "name": name(),
    "handle": handle,
    "choice": choice("red", "blue"),
    "date": date(),
    "number": number(),
    "free_text": free_text(),
    "free_text_long": free_text(2_000_000),
}

MEGABYTE = 1_000_000
HUGE = {
    "digits": "9" * MEGABYTE,
    "letters": "x" * MEGABYTE,
    "spaces": " " * MEGABYTE,
    "spaces_inside": "1" + " " * MEGABYTE + "x",
    "brackets": "(" * MEGABYTE,
    "amounts": "1 USD " * (MEGABYTE // 6),
    "points": "1." * (MEGABYTE // 2),
    "marks": "a" + "\u0315\u0300" * (MEGABYTE // 2),
    "marks_in_words": ("a" + "\u0315\u0300" * 14) * (MEGABYTE // 29),
    "emoji": "💥" * MEGABYTE,
    "zeros": "0" * MEGABYTE + ".1",
    "dates": "2026-11-22 " * (MEGABYTE // 11),
    "surrogates": "\ud800" * MEGABYTE,
}


@pytest.mark.parametrize("typed", HUGE)
@pytest.mark.parametrize("reader", READERS)
def test_a_megabyte_is_dealt_with_at_once(reader, typed):
    """A reader takes time linear in the text."""
    began = time.thread_time()
    read = READERS[reader](HUGE[typed])
    assert time.thread_time() - began < 2
    if reader != "free_text_long":
        assert isinstance(read, Refused)


def test_a_megabyte_is_no_telephone_number():
    """A long text is refused as a telephone number, in time linear in the text."""
    pytest.importorskip("phonenumbers")
    for typed in HUGE.values():
        began = time.thread_time()
        assert code(phone("ZW")(typed)) == "phone.format"
        assert time.thread_time() - began < 2


@given(st.text(), st.sampled_from(sorted(READERS)))
def test_a_reader_never_raises_and_its_value_is_storable(typed, reader):
    """A reader never raises, and its value can be stored."""
    read = READERS[reader](typed)
    if isinstance(read, Refused):
        assert read.code in ANSWER_TEXTS
    else:
        dumps(unstructure(read))


GOOD = {"amount": "10", "name": "Emmy", "handle": "alan", "choice": "red", "date": "2026-11-22"}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("hidden", ["\x00", "\x1b", "\u202e", "\u2066", "\u200f", "\u061c"], ids=ascii)
def test_control_and_direction_characters_are_refused(reader, hidden):
    """No reader accepts control or direction characters, but `choice` ignores the ones that cannot be seen."""
    good = GOOD.get(reader, "Hi.")
    for typed in (hidden + good, good + hidden, good[:1] + hidden + good[1:]):
        read = READERS[reader](typed)
        if reader == "choice" and unicodedata.category(hidden) == "Cf":
            assert read == "red"
        else:
            assert isinstance(read, Refused)


def test_every_reason_has_words_that_need_no_more_than_it_gives():
    """The words of each refusal use only the parameters that the refusal has."""
    catalogue = Catalogue.of({"en": dict(ANSWER_TEXTS)})
    typed = ["", "0", "1.001", "1 EUR", "9" * 20, "x" * 99, "2026-02-30", "\x00", "x" * 2000]
    typed += ["2000-01-01", "2030-01-01"]
    readers = [
        *READERS.values(),
        date(earliest=dt.date(2026, 1, 1), latest=dt.date(2026, 12, 31)),
        number(least=1, most=5),
        amount({"USD": 2}, least=usd(5), most=usd(10)),
    ]
    typed += ["7", "1 USD", "20 USD"]
    reasons = {r for reader in readers for r in map(reader, typed) if isinstance(r, Refused)}
    others = (
        "phone.",
        "content.",
        "date.",
        "time.",
        "datetime.",
    )  # words of contents and dates have tests of their own
    codes = {reason.code for reason in reasons}
    assert {key for key in ANSWER_TEXTS if not key.startswith(others)} <= codes <= ANSWER_TEXTS.keys()
    for reason in reasons:
        said = catalogue.say(reason.words).text
        assert said
        assert "{" not in said
        assert said != reason.code


# Bounds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("typed", "read"), [("0", 0), ("7", 7), (" 12 ", 12), ("007", 7), ("9" * 15, 10**15 - 1)])
def test_a_whole_number(typed, read):
    """A whole number consists of ASCII digits."""
    assert number()(typed) == read


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("", "number.format"), ("1.0", "number.format"), ("1,000", "number.format"), ("+1", "number.format"),
        ("٣", "number.format"), ("²", "number.format"), ("one", "number.format"), ("1 2", "number.format"),
        ("9" * 16, "number.digits"), ("-1", "number.least"), ("--1", "number.format"),
    ],
)  # fmt: skip
def test_any_other_number_is_refused(typed, wanted):
    """Other characters, too many digits and a number out of its bounds are refused."""
    assert code(number()(typed)) == wanted


def test_a_number_may_be_negative():
    """A reader without a lower bound, or with a negative one, reads negative numbers."""
    assert number(least=None)("-5") == -5
    assert number(least=-5, most=-1)("-5") == -5
    assert code(number(least=-5, most=-1)("0")) == "number.most"


@given(st.integers(-20, 20), st.integers(-20, 20), st.integers(-25, 25))
def test_bounds_are_included(least, most, value):
    """A number, an amount and a date are read if and only if they are between their bounds, which are included."""
    first = dt.date(2026, 6, 1)
    if least > most:
        with pytest.raises(FlowError, match=r"number\(\): least is .* and most .*; least is at most most"):
            number(least=least, most=most)
        return
    inside = least <= value <= most
    assert (number(least=least, most=most)(str(value)) == value) is inside
    days = [first + dt.timedelta(days=days) for days in (least, most, value)]
    assert (date(earliest=days[0], latest=days[1])(str(days[2])) == days[2]) is inside
    moving = date(earliest=lambda turn: days[0], latest=lambda turn: days[1])
    assert isinstance(moving, TurnReader)
    assert (moving.at(None)(str(days[2])) == days[2]) is inside
    if value > 0:
        bounded = amount({"USD": 2}, least=usd(least), most=usd(most))
        assert (bounded(str(value)) == Money(Decimal(f"{value}.00"), "USD")) is inside


@pytest.mark.parametrize(
    ("make", "bounds", "named"),
    [
        (date, {"earliest": "2026-01-01"}, r"date\(\): earliest is '2026-01-01'; give a date"),
        (date, {"latest": dt.datetime(2026, 1, 1)}, r"date\(\): latest is datetime.*; give a date; of an instant"),  # noqa: DTZ001  # any datetime
        (date, {"latest": 0}, r"date\(\): latest is 0"),
        (date, {"earliest": dt.date(2026, 2, 1), "latest": dt.date(2026, 1, 1)}, "earliest is at most latest"),
        (number, {"least": 1.5}, r"number\(\): least is 1.5; give a whole number"),
        (number, {"most": True}, r"number\(\): most is True"),
        (number, {"most": float("nan")}, r"number\(\): most is nan"),
        (number, {"least": 3, "most": 2}, "least is at most most"),
        (name, {"shortest": 0}, r"name\(\): shortest is 0; give a whole number from 1"),
        (name, {"shortest": 5, "longest": 4}, r"name\(\): shortest is 5 and longest 4"),
        (name, {"longest": float("inf")}, r"name\(\): longest is inf"),
        (name, {"shortest": "2"}, r"name\(\): shortest is '2'"),
        (free_text, {"limit": 0}, r"free_text\(\): limit is 0"),
        (free_text, {"limit": -1}, r"free_text\(\): limit is -1"),
        (free_text, {"limit": float("nan")}, r"free_text\(\): limit is nan"),
        (amount, {"decimals": {}}, r"amount\(\): the currencies are none"),
        (amount, {"decimals": {"usd": 2}}, r"amount\(\): the currencies are usd"),
        (amount, {"decimals": {"USD": 2}, "default": "EUR"}, "the default is 'EUR'"),
        (amount, {"decimals": {"USD": -1}}, r"amount\(\): the decimals of USD is -1"),
        (amount, {"decimals": {"USD": 2.0}}, r"the decimals of USD is 2\.0"),
        (amount, {"decimals": {"USD": AMOUNT_DIGITS + 1}}, "the decimals of USD is 16"),
        (amount, {"decimals": {"USD": 2}, "most": 100}, r"amount\(\): most is 100; give an amount in USD"),
        (amount, {"decimals": {"USD": 2}, "most": Money(Decimal(1), "EUR")}, "give an amount in USD"),
        (amount, {"decimals": DECIMALS, "most": usd(1)}, "make a reader for each currency"),
    ],
)
def test_a_bound_that_is_none_is_refused(make: Any, bounds: dict[str, Any], named: str):
    """A reader with a bound of a wrong type, out of range or above the other one is refused when it is made."""
    with pytest.raises(FlowError, match=named):
        make(**bounds)


def test_choices_that_are_one_word_are_refused():
    """A reader of choices that cannot be told apart is refused when it is made."""
    with pytest.raises(FlowError, match=r"choice\(\): an option is empty, or two of them differ in case only; give"):
        choice("a", "A")


def test_a_bound_is_asked_of_each_turn():
    """A function is asked for its bound at each answer, beside a fixed bound, and by `of_turn` for a whole reader."""
    reader = date(earliest=lambda turn: turn, latest=dt.date(2026, 12, 31))
    assert isinstance(reader, TurnReader)
    assert reader.at(dt.date(2026, 1, 1))("2026-01-01") == dt.date(2026, 1, 1)
    assert code(reader.at(dt.date(2026, 1, 2))("2026-01-01")) == "date.early"
    assert code(reader.at(dt.date(2026, 1, 2))("2027-01-01")) == "date.late"
    whole = of_turn(lambda turn: choice(*turn))
    assert isinstance(whole, TurnReader)
    assert whole.at(["red"])("Red") == "red"
    assert code(whole.at(["blue"])("red")) == "choice.unknown"
    with pytest.raises(TypeError, match=r"reader\.at\(turn\)"):
        whole("red")


def gives(value: Any) -> Any:
    """Return a function of the turn that returns the value, whatever its type."""
    return lambda turn: value


@pytest.mark.parametrize(
    ("reader", "named"),
    [
        (date(earliest=gives(None)), r"date\(earliest=…\) returned a NoneType; it must return a date"),
        (date(latest=gives("today")), r"date\(latest=…\) returned a str"),
        (date(latest=gives(dt.datetime(2026, 1, 1))), "returned a datetime"),  # noqa: DTZ001
        (
            date(earliest=dt.date(2026, 1, 2), latest=lambda turn: dt.date(2026, 1, 1)),
            r"date\(earliest=…, latest=…\) returned a lower bound above the upper one",
        ),
        (number(most=gives(1.5)), r"number\(most=…\) returned a float; it must return a whole number"),
        (amount({"USD": 2}, most=gives(5)), r"amount\(most=…\) returned an int"),
        (of_turn(gives(None)), r"of_turn\(…\) returned a NoneType; it must return a reader"),
        (of_turn(lambda turn: date(earliest=gives(None))), r"of_turn\(…\) returned a TurnReader"),
    ],
)
def test_a_function_that_returns_no_bound_is_named(reader, named):
    """A function that returns no bound, or one above the other, is an error of the author that names it."""
    with pytest.raises(WrongCallback, match=named):
        reader.at(None)


def test_readers_can_be_shared_between_threads():
    """A reader has no state, so threads may share it."""
    read: list[object] = []
    threads = [threading.Thread(target=lambda: read.append(money("10 USD"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read == [usd("10")] * 8
