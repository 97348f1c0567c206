"""Readers of answers, for `State(reads=…)`. A reader of typed answers is a function `str -> value | Refused`.

`handle` is a reader. The others make one: `amount({"USD": 2})`, `name()`, `date(latest=…)`, `choice("red", "blue")`,
`free_text(500)`, `phone("ZW")`. A reader knows nothing of the member and takes time linear in the text. Control and
direction characters are refused, because with them the stored text differs from the text that is shown; `choice`, which
returns a word of the author, ignores the characters that cannot be seen.

A bound may depend on the turn: `date(earliest=today)` with a function `today` of the turn, or `of_turn(f)` for a reader
that `f` makes of the turn. Such a reader is made anew for each answer.

`location`, `photo`, `contact`, `form` and others read what a member sends beside words (`content_readers.py`), and
`either(photo, free_text())` takes an answer of several kinds.

A reader of texts has `examples`, which it accepts, and `near`, which it refuses: `handle.examples[0]` is "ada".
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from vimbiso_fsm.errors import FlowError
from vimbiso_fsm.messages.bounds import check_count, check_range
from vimbiso_fsm.messages.content_readers import (
    CONTENT_TEXTS,
    ContentReader,
    audio,
    contact,
    contacts,
    document,
    file,
    form,
    location,
    order,
    photo,
    video,
)
from vimbiso_fsm.messages.date_readers import DATE_TEXTS, date, datetime, time
from vimbiso_fsm.messages.examples import TextReader, exemplified
from vimbiso_fsm.messages.money import Money
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.turn_readers import Bound, Reader, TurnReader, bounded, of_turn
from vimbiso_fsm.messages.words import BLANK, collapse, is_selector, normalise, without_stop

__all__ = [
    "AMOUNT_DIGITS",
    "ANSWER_TEXTS",
    "Bound",
    "ContentReader",
    "Reader",
    "TextReader",
    "TurnReader",
    "amount",
    "audio",
    "choice",
    "contact",
    "contacts",
    "date",
    "datetime",
    "document",
    "either",
    "file",
    "form",
    "free_text",
    "handle",
    "location",
    "name",
    "number",
    "of_turn",
    "order",
    "phone",
    "photo",
    "time",
    "video",
]

ANSWER_TEXTS: Final[Mapping[str, str]] = {
    **CONTENT_TEXTS,
    **DATE_TEXTS,
    "amount.currency": "We do not know {currency}. You can use {known}.",
    "amount.decimals": "{currency} has at most {decimals} digits after the point.",
    "amount.digits": "That number is too long; please keep it to {limit} digits.",
    "amount.least": "That is too little; the least amount is {least}.",
    "amount.most": "That is too much; the largest amount is {most}.",
    "amount.format": "Please write an amount like 10 or 10.50 {currency}, without commas.",
    "amount.zero": "The amount must be more than 0.",
    "choice.unknown": "That is not one of the choices.",
    "handle.format": "A handle has only letters, digits and _ and at most {limit} of them; for example shop_one.",
    "name.format": "A name has only letters, spaces, hyphens, apostrophes and full stops.",
    "name.length": "Please write between {shortest} and {longest} characters.",
    "number.digits": "That number is too long; please keep it to {limit} digits.",
    "number.format": "Please write a whole number, like 12.",
    "number.least": "That is too few; the smallest number is {least}.",
    "number.most": "That is too many; the largest number is {most}.",
    "phone.format": "Please write the number with its country code, like +263 77 123 4567.",
    "phone.unknown": "There is no such telephone number.",
    "text.empty": "Please write something.",
    "text.format": "Please leave out invisible characters.",
    "text.length": "That is too long; please keep it to {limit} characters.",
}
"""The words of every refusal of a reader; the texts of a bot may replace any of them."""


# Several kinds of answers --------------------------------------------------------------------------------------------


def either(*readers: Callable[[str], Any]) -> Reader[Any]:
    """Make a reader that takes what one of several readers takes: `either(location, free_text(200))`.

    A content goes to the first reader that is made for it. A text is tried with the readers of texts, in order; if all
    refuse it, the reason of the first is said. The members of a union share a field, so their types must be told apart
    when they are stored (`Location | str`).

    Raises:
        FlowError: There are fewer than two readers, or one is no reader.
    """
    if len(readers) < 2 or not all(map(callable, readers)):
        raise FlowError("", "either()", f"it has {len(readers)} readers", "give two readers or more")
    if not any(isinstance(each, TurnReader) for each in readers):
        return _either(readers)
    plain = [each.plain if isinstance(each, TurnReader) else each for each in readers]
    without = [each for each in plain if each is not None]
    return TurnReader(
        lambda turn: _either([each.at(turn) if isinstance(each, TurnReader) else each for each in readers]),
        plain=_either(without) if len(without) == len(plain) else None,
    )


def _either(readers: Sequence[Callable[[str], Any]]) -> ContentReader[Any]:
    ways = [way for each in readers if isinstance(each, ContentReader) for way in each.ways]
    texts: list[Callable[[str], Any]] = []
    for each in readers:
        texts += each.texts if isinstance(each, ContentReader) else [each]
    return ContentReader(tuple(ways), tuple(texts))


# Money -------------------------------------------------------------------------------------------------------------


AMOUNT_DIGITS: Final = 15
"""Digits of an amount that is read."""
_AMOUNT_LENGTH: Final = 64
"""Characters of an amount with its currency; a longer text is no amount."""

_AMOUNT: Final = re.compile(
    r"(?:(?P<before>{unit}) ?)?(?P<whole>[0-9]+)(?:\.(?P<part>[0-9]+))?(?: ?(?P<after>{unit}))?".format(
        unit=r"(?:[A-Za-z]+|\([A-Za-z]+\))"
    )
)


def amount(
    decimals: Mapping[str, int],
    *,
    default: str = "",
    least: Bound[Money] = None,
    most: Bound[Money] = None,
) -> TextReader[Money]:
    """Make a reader of amounts: one number and at most one currency.

    They may stand in either order and any case, with or without a space, the currency in parentheses or not: `100`,
    `100 USD`, `usd100`, `100 (USD)`. The number consists of at most `AMOUNT_DIGITS` ASCII digits, with at most one
    point and digits on both sides of it; it has no sign, exponent or separator. It is more than 0 and is returned with
    all decimals of its currency.

    Args:
        decimals: The known currencies, and how many digits each has after the point.
        default: The currency of an amount without one; by default the first of `decimals`.
        least: The smallest amount, or a function of the turn that returns it. With a bound, there is one currency.
        most: The largest amount, in the same way.

    Raises:
        FlowError: A currency is not in capital letters, `default` is not among them, or a bound is none.
    """
    default = default or next(iter(decimals), "")
    if default not in decimals or not all(re.fullmatch("[A-Z]+", currency) for currency in decimals):
        fault = f"the currencies are {', '.join(map(str, decimals)) or 'none'}, and the default is {default!r}"
        raise FlowError("", "amount()", fault, "give currencies in capital letters, the default among them")
    for currency, digits in decimals.items():
        check_count("amount()", f"the decimals of {currency}", digits, least=0, most=AMOUNT_DIGITS)
    if least is None and most is None:
        return _amount(decimals, default, None, None)
    if len(decimals) > 1:  # an amount of another currency would have no bound
        fault = f"it has bounds and the currencies {', '.join(decimals)}"
        raise FlowError("", "amount()", fault, "make a reader for each currency, or check the amount with a guard")

    def no_amount(bound: object) -> str | None:
        return None if isinstance(bound, Money) and bound.currency == default else f"an amount in {default}"

    def of(least: Money | None, most: Money | None) -> TextReader[Money]:
        return _amount(decimals, default, least, most)

    return bounded("amount", Money, {"least": least, "most": most}, of, no_amount)


def _amount(decimals: Mapping[str, int], default: str, least: Money | None, most: Money | None) -> TextReader[Money]:
    @exemplified(*_amounts(decimals, default, least, most), near=("0", "ten", f"1.{'5' * (decimals[default] + 1)}"))
    def read_amount(text: str) -> Money | Refused:
        text = collapse(text)
        found = _AMOUNT.fullmatch(text) if len(text) <= _AMOUNT_LENGTH else None
        if found is None or (found["before"] and found["after"]):
            if len(text) > _AMOUNT_LENGTH and re.match(f"[0-9.]{{{AMOUNT_DIGITS + 2}}}", text):
                return Refused("amount.digits", limit=AMOUNT_DIGITS)
            return Refused("amount.format", currency=default)
        whole, part = found["whole"], found["part"] or ""
        currency = (found["before"] or found["after"] or default).strip("()").upper()
        if currency not in decimals:
            return Refused("amount.currency", currency=currency, known=", ".join(decimals))
        if len(whole) + len(part) > AMOUNT_DIGITS:
            return Refused("amount.digits", limit=AMOUNT_DIGITS)
        if len(part) > decimals[currency]:
            return Refused("amount.decimals", currency=currency, decimals=decimals[currency])
        # Built from its digits: arithmetic would use the thread's decimal context.
        money = Money(Decimal(f"{whole}.{part.ljust(decimals[currency], '0')}"), currency)
        if not money:
            return Refused("amount.zero")
        if least is not None and money < least:
            return Refused("amount.least", least=least)
        return money if most is None or money <= most else Refused("amount.most", most=most)

    return read_amount


def _amounts(decimals: Mapping[str, int], default: str, least: Money | None, most: Money | None) -> Sequence[str]:
    """Return amounts that are read: plain, small, large and of each currency, or the bounds."""
    bounds = [f"{bound.amount} {bound.currency}" for bound in (least, most) if bound is not None and bound]
    if bounds:
        return bounds
    smallest = f"0.{'1'.rjust(decimals[default], '0')}" if decimals[default] else "2"
    return ["1", smallest, "9999999", *(f"10 {currency}" for currency in decimals if currency != default)]


# Numbers -----------------------------------------------------------------------------------------------------------

_NUMBER: Final = re.compile("-?[0-9]+")


def _no_number(bound: object) -> str | None:
    return None if type(bound) is int else "a whole number"


def number(*, least: Bound[int] = 0, most: Bound[int] = None) -> TextReader[int]:
    """Make a reader of whole numbers: ASCII digits without separators, with a minus sign for a negative one.

    A number has at most `AMOUNT_DIGITS` digits.

    Args:
        least: The smallest number, or a function of the turn that returns it; None for no bound.
        most: The largest number, in the same way.

    Raises:
        FlowError: A bound is no whole number, or the lower one is above the upper one.
    """
    return bounded("number", int, {"least": least, "most": most}, _number, _no_number)


def _number(least: int | None, most: int | None) -> TextReader[int]:
    bounds = [bound for bound in (least, most) if bound is not None]
    between = [1] if (least is None or least < 1) and (most is None or most > 1) else []
    beyond = [least - 1] if least is not None else []

    @exemplified(*map(str, [*between, *bounds]) if bounds or between else "0", near=("many", *map(str, beyond)))
    def read_number(text: str) -> int | Refused:
        text = collapse(text) if len(text) <= 1000 else ""
        if _NUMBER.fullmatch(text) is None:
            return Refused("number.format")
        if len(text.lstrip("-")) > AMOUNT_DIGITS:
            return Refused("number.digits", limit=AMOUNT_DIGITS)
        value = int(text)
        if least is not None and value < least:
            return Refused("number.least", least=least)
        return value if most is None or value <= most else Refused("number.most", most=most)

    return read_number


# Characters --------------------------------------------------------------------------------------------------------

_DIRECTION: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_JOINERS: Final = frozenset("\u200c\u200d")
"""Invisible characters without which several languages, and emoji, cannot be written."""
_MARKS_IN_A_ROW: Final = 30
"""Combining marks in a row (Unicode's stream-safe format); normalisation of longer rows takes quadratic time."""


# Names and handles -------------------------------------------------------------------------------------------------


def name(shortest: int = 2, longest: int = 50) -> TextReader[str]:
    """Make a reader of people's names.

    A name consists of letters of any script with their combining marks, single spaces, hyphens, apostrophes (' and ’)
    and full stops, with at least one letter. It is trimmed, its white space is collapsed, and it is in Unicode form
    NFC.

    Args:
        shortest: The number of characters at least.
        longest: The number of characters at most.

    Raises:
        FlowError: A bound is no count, or the lower one is above the upper one.
    """
    check_count("name()", "shortest", shortest)
    check_count("name()", "longest", longest)
    check_range("name()", ("shortest", shortest), ("longest", longest))

    @exemplified("Ada Lovelace"[:longest].rstrip().ljust(shortest, "a"), near=("4", "x" * (longest + 1)))
    def read_name(text: str) -> str | Refused:
        too_long = Refused("name.length", shortest=shortest, longest=longest)
        text = collapse(text)
        if len(text) > 4 * longest:  # NFC makes at most four characters one
            return too_long
        text = unicodedata.normalize("NFC", text)
        if not _is_name(text):
            return Refused("name.format") if text else too_long
        return text if shortest <= len(text) <= longest else too_long

    return read_name


def _is_name(text: str) -> bool:
    after_letter = letters = False
    for character in text:
        kind = unicodedata.category(character)
        if character in BLANK or is_selector(character):
            return False
        if kind[0] == "L":
            after_letter = letters = True
        elif kind in ("Mn", "Mc"):
            if not after_letter:
                return False
        elif character in " -'’.":
            after_letter = False
        else:
            return False
    return letters


_HANDLE: Final = re.compile(r"@?([A-Za-z0-9_]{1,30})")


@exemplified("ada", "@shop_one", near=("ada lovelace", "a" * 31))
def handle(text: str) -> str | Refused:
    """Read a handle: letters, digits and underscores, 1 to 30 of them.

    A leading @ is left out, and the rest is returned in lower case, because handles are compared without case.
    """
    found = _HANDLE.fullmatch(collapse(text))
    return found[1].lower() if found else Refused("handle.format", limit=30)


# Choices -----------------------------------------------------------------------------------------------------------


def choice(*options: str) -> TextReader[str]:
    """Make a reader of one of a few words, which returns the option as it is declared.

    The word is compared in the form of `words.normalise`: case, white space, invisible characters and the script of
    digits do not matter. A full stop at its end is left out, unless an option ends in one.

    Raises:
        FlowError: An option is empty, or two of them are the same word.
    """
    known = {normalise(option): option for option in options}
    if len(known) < len(options) or "" in known:
        fault = "an option is empty, or two of them differ in case only"
        raise FlowError("", "choice()", fault, "give options that differ in more than case and are not empty")
    longest = 4 * max(map(len, options), default=0)

    @exemplified(*options, near=(f"not {options[0]}",) if options else ())
    def read_choice(text: str) -> str | Refused:
        word = normalise(text) if len(text) <= longest else ""
        option = known.get(word) or known.get(without_stop(word))
        return Refused("choice.unknown") if option is None else option

    return read_choice


# Text --------------------------------------------------------------------------------------------------------------


def free_text(limit: int = 1000) -> TextReader[str]:
    """Make a reader of any text of 1 to `limit` characters, trimmed and in Unicode form NFC.

    Tabs and line breaks are kept. Other control characters, direction characters and invisible ones are refused.

    Raises:
        FlowError: `limit` is no count.
    """
    check_count("free_text()", "limit", limit)

    @exemplified("hello"[:limit], near=("x" * (limit + 1), "\u202e!"))
    def read_text(text: str) -> str | Refused:
        text = text.replace("\r\n", "\n").strip(" \t\r\n")
        if not text:
            return Refused("text.empty")
        if len(text) > limit:
            return Refused("text.length", limit=limit)
        if not _is_clean(text):
            return Refused("text.format")
        return unicodedata.normalize("NFC", text)

    return read_text


def _is_clean(text: str) -> bool:
    if text.isascii() and text.isprintable():  # letters, digits and signs, and spaces between them
        return not text.isspace()
    marks = 0
    seen = False
    for character in text:
        kind = unicodedata.category(character)
        marks = marks + 1 if kind[0] == "M" else 0
        hidden = kind in ("Cc", "Cf", "Cs", "Zl", "Zp") and character not in _JOINERS and character not in "\t\n"
        if hidden or character in _DIRECTION or marks > _MARKS_IN_A_ROW:
            return False
        seen = seen or not (kind[0] in "CZ" or character in BLANK)
    return seen


# Telephone numbers -------------------------------------------------------------------------------------------------


def phone(region: str = "") -> TextReader[str]:
    """Make a reader of telephone numbers in any usual spelling, which returns the form "+263771234567".

    Needs the extra `phone`.

    Args:
        region: The region ("ZW") whose numbers may be written without a country code.

    Raises:
        ModuleNotFoundError: The package `phonenumbers` is missing.
    """
    import phonenumbers

    mobile = phonenumbers.PhoneNumberType.MOBILE
    found = phonenumbers.example_number_for_type(region, mobile) if region else None
    example = "+263771234567" if found is None else f"+{found.country_code}{found.national_number}"

    @exemplified(example, near=("12", "a number"))
    def read_phone(text: str) -> str | Refused:
        text = collapse(text)
        if len(text) > 40 or not re.fullmatch(r"\+?[0-9 ()./-]+", text):
            return Refused("phone.format")
        try:
            number = phonenumbers.parse(text, region or None)
        except phonenumbers.NumberParseException:
            return Refused("phone.format")
        if not phonenumbers.is_valid_number(number):
            return Refused("phone.unknown")
        return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)

    return read_phone
