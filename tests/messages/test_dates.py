"""Dates and times are said in the language and the time zone of the member, and read as they are said."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vimbiso_fsm import Bot, Channel, Flow, FlowStateManager, Message, Refused, State, Text, Transition, Turn, readers
from vimbiso_fsm.messages import dates, locales
from vimbiso_fsm.messages.catalogue import Catalogue
from vimbiso_fsm.messages.date_readers import DATE_TEXTS
from vimbiso_fsm.messages.languages import LANGUAGES

PARIS, TODAY = ZoneInfo("Europe/Paris"), dt.date(2026, 12, 1)  # a Tuesday
LANGUAGE = st.sampled_from(sorted(LANGUAGES))
ANY = st.sampled_from([*sorted(LANGUAGES), "en-US", "fr-CA", "pt-BR", "es-MX", "de", "nl"])


def member(language: str = "en", *tags: str, zone: dt.tzinfo = PARIS, today: dt.date = TODAY) -> Any:
    """Return what a reader sees of a turn."""
    return SimpleNamespace(language=language, tags=tags, today=today, zone=zone)


def read(reader: Any, text: str, of: Any) -> Any:
    """Return what a member's text is read as, or the code of the refusal."""
    found = reader.at(of)(text)
    return found.code if isinstance(found, Refused) else found


@given(day=st.dates(), language=ANY, reader=LANGUAGE)
def test_what_is_said_of_a_date_is_read_as_that_date(day: dt.date, language: str, reader: str) -> None:
    """Each date in each language is read as the same date, also by members who are asked in another language."""
    words = locales.date(day, language)
    assert read(readers.date(), words, member(language)) == day
    assert read(readers.date(), f"{words}.".upper(), member(language)) == day
    if language in LANGUAGES:
        assert read(readers.date(), words, member(reader)) == readers.date()(words) == day


@given(at=st.times().map(lambda at: at.replace(microsecond=0)), language=ANY)
def test_what_is_said_of_a_time_is_read_as_that_time(at: dt.time, language: str) -> None:
    """Each time in each language is read as the same time."""
    assert readers.time()(locales.time(at, language)) == at


FIRST, LAST = dt.datetime(1900, 1, 2), dt.datetime(9999, 12, 30)  # noqa: DTZ001  # any zone is added to them
ZONES = st.sampled_from(["UTC", "Europe/Paris", "America/New_York", "Africa/Harare", "Australia/Lord_Howe"])


@given(
    at=st.datetimes(FIRST, LAST).map(lambda at: at.replace(microsecond=0)),
    zone=ZONES.map(ZoneInfo),
    language=ANY,
)
def test_what_is_said_of_an_instant_is_read_as_that_instant(at: dt.datetime, zone: ZoneInfo, language: str) -> None:
    """Each instant is read as the same one, in each language and time zone, through each change of the clocks."""
    instant = at.replace(tzinfo=dt.UTC)
    words = Catalogue.of({language: {}}).say(Text("{at}", at=instant), zone=lambda: zone).text
    assert read(readers.datetime(), words, member(language, zone=zone)) == instant


@pytest.mark.parametrize(
    ("typed", "of", "found"),
    [
        ("04/01/2027", member("fr"), dt.date(2027, 1, 4)),
        ("04/01/2027", member("en", "en-US"), dt.date(2027, 4, 1)),
        ("04/01/2027", member("en", "en-GB"), dt.date(2027, 1, 4)),
        ("04/01/2027", member("sn"), dt.date(2027, 1, 4)),
        ("04.01.2027", member("en"), "date.ambiguous"),
        ("04/01/2027", member("fr", "fr-CA"), "date.ambiguous"),
        ("04/04/2027", member("en"), dt.date(2027, 4, 4)),
        ("25/12/2027", member("en"), dt.date(2027, 12, 25)),
        ("12/25/2027", member("en"), dt.date(2027, 12, 25)),
        ("12/25/2027", member("fr"), "date.unknown"),
        ("25/25/2027", member("en"), "date.unknown"),
        ("2027-01-04", member("sw"), dt.date(2027, 1, 4)),
        ("4 janvier 2027", member("en"), dt.date(2027, 1, 4)),
        ("1er février 2027", member("fr"), dt.date(2027, 2, 1)),
        ("the 2nd of March 2027", member("en"), dt.date(2027, 3, 2)),
        ("lunes, 4 de enero de 2027", member("es"), dt.date(2027, 1, 4)),
        ("terça-feira, 5 de janeiro de 2027", member("pt"), dt.date(2027, 1, 5)),
        ("mardi 4 janvier 2027", member("fr"), "date.weekday"),
        ("demain", member("fr"), dt.date(2026, 12, 2)),
        ("Mangwana", member("sn"), dt.date(2026, 12, 2)),
        ("amanhã", member("pt"), dt.date(2026, 12, 2)),
        ("today", member("fr"), TODAY),
        ("vendredi", member("fr"), dt.date(2026, 12, 4)),
        ("lunes", member("es"), dt.date(2026, 12, 7)),
        ("mardi", member("fr"), "date.ambiguous"),
        ("tomorrow", member(today=dt.date.max), "date.unknown"),
        ("4 janvier", member("fr"), "date.format"),
        ("4 5 janvier 2027", member("fr"), "date.format"),
        ("4 - janvier 2027", member("fr"), "date.format"),
        ("x" * 10_000, member("fr"), "date.format"),
        ("\u202e4 janvier 2027", member("fr"), "date.format"),
    ],
)
def test_a_date_is_read_in_the_language_of_the_member(typed: str, of: Any, found: object) -> None:
    """What means one day for the member is read as that day, and the rest is refused."""
    assert read(readers.date(), typed, of) == found


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("15:30", dt.time(15, 30)), ("15h", dt.time(15)), ("15 h 30", dt.time(15, 30)), ("3.30 pm", dt.time(15, 30)),
        ("12 am", dt.time(0)), ("12pm", dt.time(12)), ("3:05:09 p.m.", dt.time(15, 5, 9)), ("9h30", dt.time(9, 30)),
        ("15", "time.format"), ("25:00", "time.unknown"), ("13 pm", "time.unknown"), ("15:30 +02:00", "time.format"),
        ("at 15:30", "time.format"), ("", "time.format"), ("9" * 9999, "time.format"),
    ],
)  # fmt: skip
def test_a_time_is_read(typed: str, found: object) -> None:
    """A time of day is read in its usual spellings."""
    value = readers.time()(typed)
    assert (value.code if isinstance(value, Refused) else value) == found


def utc(*numbers: int) -> dt.datetime:
    """Return an instant in UTC."""
    return dt.datetime(*numbers, tzinfo=dt.UTC)  # type: ignore[misc,arg-type]  # six numbers at most


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("demain à 15h", utc(2026, 12, 2, 14)),
        ("4 janvier 2027, 15:30", utc(2027, 1, 4, 14, 30)),
        ("04/07/2027 9h", utc(2027, 7, 4, 7)),
        ("2027-01-04T15:30Z", utc(2027, 1, 4, 15, 30)),
        ("vendredi 9h30", utc(2026, 12, 4, 8, 30)),
        ("28 mars 2027 à 2h30", "time.skipped"),
        ("31 octobre 2027 à 2h30", "time.twice"),
        ("31 octobre 2027, 02:30 +02:00", utc(2027, 10, 31, 0, 30)),
        ("31 octobre 2027, 02:30 +01:00", utc(2027, 10, 31, 1, 30)),
        ("31 octobre 2027, 02:30 +99:00", "date.unknown"),
        ("4 janvier 2027", "datetime.format"),
        ("4 janvier 2027, 25:00", "time.unknown"),
        ("31 juin 2027, 15:00", "date.unknown"),
        ("15:00", "datetime.format"),
    ],
)
def test_an_instant_is_read_in_the_time_zone_of_the_member(typed: str, found: object) -> None:
    """A date and a time are an instant of the member's clock; one that the clock skips or repeats is refused."""
    assert read(readers.datetime(), typed, member("fr", "fr-FR")) == found


def test_bounds_are_said_with_their_refusal() -> None:
    """The bounds of times and instants are kept, and a bound of another type is refused."""
    open_ = readers.time(earliest=dt.time(8), latest=dt.time(17))
    assert [getattr(open_(text), "code", None) for text in ("7:59", "8:00", "17:01")] == [
        "time.early",
        None,
        "time.late",
    ]
    soon = readers.datetime(earliest=lambda turn: utc(2027, 1, 1), latest=lambda turn: utc(2027, 2, 1))
    assert [read(soon, f"{day} 12:00", member()) for day in ("2026-12-31", "2027-02-02")] == ["time.early", "time.late"]
    with pytest.raises(Exception, match="give a time without a time zone"):
        readers.time(earliest=dt.time(8, tzinfo=dt.UTC))
    with pytest.raises(Exception, match="give a datetime with a time zone"):
        readers.datetime(earliest=dt.datetime(2027, 1, 1))  # noqa: DTZ001  # the fault that is refused


@pytest.mark.parametrize("tag", sorted(LANGUAGES))
def test_each_refusal_has_an_example_that_is_read(tag: str) -> None:
    """The example in the words of a refusal is read in that language, and each refusal has its words."""
    texts = LANGUAGES[tag].texts
    assert DATE_TEXTS.keys() <= texts.keys()
    for key, reader in (("date.format", readers.date()), ("datetime.format", readers.datetime())):
        example = str(texts[key]).removesuffix(".")
        example = example[example.index("22") :]
        for part in example.split(" 2026-11-22")[0].rsplit(" ", 1)[:1] if key == "date.format" else [example]:
            assert not isinstance(read(reader, part, member(tag)), str), part


def test_no_name_of_a_month_or_a_day_means_two_of_them() -> None:
    """The names of all six languages have one meaning, so that they are read from everyone."""
    for kind in ("months", "weekdays"):
        meant: dict[str, set[int]] = {}
        for tag in dates.SPOKEN:
            for name, number in getattr(locales.names(tag), kind).items():
                meant.setdefault(dates.folded(name), set()).add(number)
        assert {name for name, numbers in meant.items() if len(numbers) > 1} == set()
    assert set(dates.SPOKEN) == set(LANGUAGES)


def test_a_parameter_is_said_in_the_language() -> None:
    """Dates, times, numbers and lists of them are written as the language writes them."""
    catalogue = Catalogue.of({"en": {"k": "{v}"}, "fr": {"k": "{v}"}, "de": {"k": "{v}"}})

    def words(value: Any, tag: str) -> str:
        return catalogue.say(Text("k", v=value), tag, lambda: PARIS).text

    assert words(dt.date(2027, 1, 4), "fr") == "4 janvier 2027"
    assert words([dt.time(15, 30), dt.time(9, 5, 1)], "fr") == "15:30\n09:05:01"
    assert words(utc(2027, 7, 4, 13, 30), "fr") == "4 juillet 2027, 15:30"
    assert words(dt.datetime(2027, 7, 4, 13, 30), "en") == "4 July 2027, 13:30"  # noqa: DTZ001  # it is said as it is
    assert words(dt.datetime.max.replace(tzinfo=dt.UTC), "en").startswith("31 December 9999")
    assert (words(Decimal("1250.50"), "de"), words(Decimal("-0.5"), "en"), words(Decimal("NaN"), "en")) == (
        "1.250,50", "-0.5", "NaN",
    )  # fmt: skip


@attrs.frozen
class Visit:
    at: dt.datetime | None = None


def booked(turn: Turn[Visit]) -> Text:
    """Say when the visit is."""
    return Text("visit.booked", at=turn.data.at)


VISIT: Flow[Any] = Flow(
    "visit",
    data=Visit,
    initial="when",
    states=[
        State("when", ask=Text("visit.when"), reads=readers.datetime(), into="at"),
        State("booked", say=booked, final=True),
    ],
    transitions=[Transition("answer", "when", "booked")],
)
BOT = Bot(
    VISIT,
    zone="Africa/Harare",
    zone_of=lambda member: member.profile.get("zone"),
    texts={
        "en": {"visit.when": "When?", "visit.booked": "Booked: {at}"},
        "fr": {"visit.when": "Quand ?", "visit.booked": "Réservé : {at}", "visit.title": "visite"},
    },
)


@pytest.mark.parametrize(
    ("tag", "typed", "words"),
    [
        ("fr-FR", "04/01/2027 15h", ["Réservé : 4 janvier 2027, 15:00"]),
        ("en", "4 January 2027 at 3 pm", ["Booked: 4 January 2027, 15:00"]),
        ("en", "2027-01-04T15:00Z", ["Booked: 4 January 2027, 17:00"]),
        ("en", "04/01/2027 15:00", [
            "That can mean 4 January 2027 or 1 April 2027; please write the date with the name of the month.", "When?",
        ]),
        ("fr", "bientôt", ["Veuillez écrire une date et une heure comme 22 novembre 2026, 15:30.", "Quand ?"]),
    ],
)  # fmt: skip
def test_a_conversation_in_the_language_and_the_zone_of_the_member(tag: str, typed: str, words: list[str]) -> None:
    """An instant is read, stored and said on the member's clock and in their words."""
    manager = FlowStateManager.in_memory(BOT)
    channel = Channel("telegram", "1", {"language": tag})
    manager.handle(Message(channel, "1", "hi"))
    assert [reply.text for reply in manager.handle(Message(channel, "2", typed)).replies] == words
