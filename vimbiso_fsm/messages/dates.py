"""Dates and times as people write them in several languages, and the refusals of those that mean several instants.

The names of the months are read in all languages in which the framework speaks, and in the member's: they mean the same
everywhere. A date in numbers, 04/01/2027, is read in the order of the member's language. Where the order is not known,
and both orders are dates, it is refused with both.
"""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Final

import attrs

from vimbiso_fsm.messages import locales
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.words import collapse

LENGTH: Final = 64
"""Characters of a date with its time; a longer text is none."""
SPOKEN: Final = ("en", "fr", "pt", "es", "sw", "sn")
"""The languages whose names of months and days are read from everyone."""

_DAYS: Final[Mapping[str, int]] = {
    "today": 0, "tomorrow": 1, "yesterday": -1,
    "aujourd'hui": 0, "demain": 1, "apres-demain": 2, "hier": -1,
    "hoje": 0, "amanha": 1, "depois de amanha": 2, "ontem": -1,
    "hoy": 0, "manana": 1, "pasado manana": 2, "ayer": -1,
    "leo": 0, "kesho": 1, "kesho kutwa": 2, "jana": -1,
    "nhasi": 0, "mangwana": 1, "nezuro": -1,
}  # fmt: skip
"""Words for days, folded, and their distance from today."""
_PARTICLES: Final = frozenset({"of", "the", "on", "de", "del", "le", "el", "em", "a", "feira", "ya", "tarehe"})
"""Words beside the parts of a date."""
_BEFORE_TIME: Final = frozenset({"at", "a", "as", "las", "la", "saa", "panguva", "na"})
"""Words between a date and a time."""

_YEAR_FIRST: Final = re.compile(r"([0-9]{4})[-/.]([0-9]{1,2})[-/.]([0-9]{1,2})")
_YEAR_LAST: Final = re.compile(r"([0-9]{1,2})[-/.]([0-9]{1,2})[-/.]([0-9]{4})")
_BREAK: Final = re.compile(r"[,.] ?|[ /-]")
_DAY: Final = re.compile(r"([0-9]{1,2})(?:st|nd|rd|th|er|o|a|º|ª)?")
_TIME: Final = re.compile(
    r"(?:^|(?<=[ ,t]))([0-9]{1,2})"
    r"(?:(?:[:.]| ?h ?)([0-9]{2})(?:(?:[:.]| min )([0-9]{2})(?: s)?)?| ?h|(?= ?[ap]\.? ?m\b))"
    r"(?: ?([ap])\.? ?m\.?)?(?: ?(z|utc|[+-][0-9]{2}:[0-9]{2}))?$"
)


def _no_today() -> dt.date | None:
    return None


@attrs.frozen
class Speaker:
    """What is known of a member who writes a date.

    Attributes:
        language: The language of the question.
        tags: The language tags that are known of the member, the preferred one first.
        today: Returns the date of today for the member; None if it is not known.
        zone: Returns the time zone of the member.
    """

    language: str = "en"
    tags: tuple[str, ...] = ()
    today: Callable[[], dt.date | None] = _no_today
    zone: Callable[[], dt.tzinfo] = lambda: dt.UTC

    @classmethod
    def of(cls, turn: object) -> Speaker:
        """Return the member of a turn (`vimbiso_fsm.flow.turn.Turn`)."""
        return cls(
            getattr(turn, "language", "en"),
            getattr(turn, "tags", ()),
            lambda: getattr(turn, "today", None),
            lambda: getattr(turn, "zone", dt.UTC),
        )


def folded(text: str) -> str:
    """Return a text in the form in which names of days are compared: without case and accents."""
    bare = "".join(each for each in unicodedata.normalize("NFD", text) if unicodedata.category(each) != "Mn")
    return collapse(bare).casefold().replace("’", "'")


def read_date(text: str, speaker: Speaker) -> dt.date | Refused:
    """Read a date: with the name of its month, in numbers, a word such as "tomorrow", or a day of the week.

    A day of the week is the next one. On that day itself it may be today or the one in a week, and is refused.
    """
    text = folded(text) if len(text) <= LENGTH else ""
    if found := _YEAR_FIRST.fullmatch(text):
        return _date(*map(int, found.groups()))
    if found := _YEAR_LAST.fullmatch(text):
        first, second, year = map(int, found.groups())
        return _in_numbers(first, second, year, speaker)
    today = speaker.today()
    if text in _DAYS and today is not None:
        return _moved(today, _DAYS[text])
    return _in_words(text, speaker, today)


def _date(year: int, month: int, day: int) -> dt.date | Refused:
    try:
        return dt.date(year, month, day)
    except ValueError:
        return Refused("date.unknown")


def _moved(day: dt.date, days: int) -> dt.date | Refused:
    try:
        return day + dt.timedelta(days)
    except OverflowError:
        return Refused("date.unknown")


def _in_numbers(first: int, second: int, year: int, speaker: Speaker) -> dt.date | Refused:
    order = locales.order((*speaker.tags, speaker.language))
    ways = {"dm": _date(year, second, first), "md": _date(year, first, second)}
    if order:
        return ways[order]
    possible = list(dict.fromkeys(way for way in ways.values() if not isinstance(way, Refused)))
    if len(possible) > 1:
        return Refused("date.ambiguous", first=possible[0], second=possible[1])
    return possible[0] if possible else Refused("date.unknown")


def _in_words(text: str, speaker: Speaker, today: dt.date | None) -> dt.date | Refused:
    names = _names(speaker.language)
    days: list[int] = []
    months: list[int] = []
    years: list[int] = []
    weekdays: list[int] = []
    for word in _BREAK.split(text.removesuffix(".")):
        if word in names.months:
            months.append(names.months[word])
        elif word in names.weekdays:
            weekdays.append(names.weekdays[word])
        elif found := _DAY.fullmatch(word):
            days.append(int(found[1]))
        elif re.fullmatch("[0-9]{4}", word):
            years.append(int(word))
        elif word not in names.particles:
            return Refused("date.format")
    match days, months, years, weekdays:
        case [day], [month], [year], [] | [_]:
            found_day = _date(year, month, day)
            if isinstance(found_day, dt.date) and weekdays and found_day.weekday() != weekdays[0]:
                return Refused("date.weekday", date=found_day)
            return found_day
        case [], [], [], [weekday] if today is not None:
            ahead = (weekday - today.weekday()) % 7
            in_a_week = _moved(today, 7)
            if not ahead and isinstance(in_a_week, dt.date):
                return Refused("date.ambiguous", first=today, second=in_a_week)
            return _moved(today, ahead)
        case _:
            return Refused("date.format")


@attrs.frozen
class _Names:
    months: Mapping[str, int]
    weekdays: Mapping[str, int]
    particles: frozenset[str]


@lru_cache(maxsize=64)
def _names(language: str) -> _Names:
    """Return the names that are read where a language is spoken: its own ones have priority."""
    tables = [locales.names(each) for each in dict.fromkeys((language, *SPOKEN))]
    months: dict[str, int] = {}
    for table in tables:
        for name, month in table.months.items():
            months.setdefault(folded(name), month)
    full = dict(months)
    for short, month in _short_months(tables, full):
        months.setdefault(short, month)
    weekdays: dict[str, int] = {}
    for table in tables:
        for name, day in table.weekdays.items():
            for word in (folded(name), folded(name).partition("-")[0]):
                weekdays.setdefault(word, day)
    particles = {folded(word) for table in tables for word in table.particles}
    return _Names(months, {name: day for name, day in weekdays.items() if name not in months}, _PARTICLES | particles)


def _short_months(tables: Iterable[locales.Names], full: Mapping[str, int]) -> Iterable[tuple[str, int]]:
    """Yield the abbreviations of months that mean one month: those of the CLDR, and three and four letters."""
    meant: dict[str, set[int]] = {}
    for table in tables:
        for name, month in table.short_months.items():
            meant.setdefault(folded(name).removesuffix("."), set()).add(month)
    for name, month in full.items():
        for length in (3, 4):
            meant.setdefault(name[:length], set()).add(month)
    return [(short, found.pop()) for short, found in meant.items() if len(found) == 1]


@attrs.frozen
class ReadTime:
    """A time as it was written.

    Attributes:
        at: The time of day.
        offset: Its difference to UTC; None if none was written.
        before: What was written before it, folded.
    """

    at: dt.time
    offset: dt.timedelta | None
    before: str


def read_time(text: str) -> ReadTime | Refused:
    """Read the time at the end of a text: "15:30", "15h", "15h30", "3.30 pm", with a difference to UTC or without."""
    text = folded(text) if len(text) <= LENGTH else ""
    found = _TIME.search(text)
    if found is None:
        return Refused("time.format")
    hour, minute, second, half, offset = found.groups()
    at = _time(int(hour), int(minute or 0), int(second or 0), half)
    return at if isinstance(at, Refused) else ReadTime(at, _offset(offset), text[: found.start()])


def _time(hour: int, minute: int, second: int, half: str | None) -> dt.time | Refused:
    if half is not None:
        if not 1 <= hour <= 12:
            return Refused("time.unknown")
        hour = hour % 12 + (12 if half == "p" else 0)
    try:
        return dt.time(hour, minute, second)
    except ValueError:
        return Refused("time.unknown")


def _offset(written: str | None) -> dt.timedelta | None:
    if written is None:
        return None
    if written in ("z", "utc"):
        return dt.timedelta(0)
    hours, _, minutes = written[1:].partition(":")
    found = dt.timedelta(hours=int(hours), minutes=int(minutes))
    return -found if written[0] == "-" else found


def read_datetime(text: str, speaker: Speaker) -> dt.datetime | Refused:
    """Read a date and a time, in this order, as an instant in UTC.

    A time that the clocks of the member skip on that day, and one that they show twice, are refused; the second may be
    written with its difference to UTC.
    """
    time = read_time(text)
    if isinstance(time, Refused):
        return time if time.code == "time.unknown" else Refused("datetime.format")
    words = time.before.rstrip(" ,").removesuffix("t") if time.before[-2:-1].isdigit() else time.before.rstrip(" ,")
    before, _, last = words.rpartition(" ")
    while before and last in _BEFORE_TIME:
        words = before.rstrip(" ,")
        before, _, last = words.rpartition(" ")
    day = read_date(words, speaker)
    if isinstance(day, Refused):
        return Refused("datetime.format") if day.code == "date.format" else day
    try:
        return _instant(dt.datetime.combine(day, time.at), time.offset, speaker.zone())
    except (OverflowError, ValueError):  # an instant outside the calendar; a difference of more than a day
        return Refused("date.unknown")


def _instant(local: dt.datetime, offset: dt.timedelta | None, zone: dt.tzinfo) -> dt.datetime | Refused:
    if offset is not None:
        return local.replace(tzinfo=dt.timezone(offset)).astimezone(dt.UTC)
    first, second = (local.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    found = first.astimezone(dt.UTC)
    if found.astimezone(zone).replace(tzinfo=None, fold=0) != local:
        return Refused("time.skipped")
    if first.utcoffset() != second.utcoffset():
        return Refused("time.twice", first=first, second=second)  # said with their differences to UTC
    return found
