"""Readers of dates and times, in the language and the time zone of the member, for `State(reads=…)`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from vimbiso_fsm.messages.dates import Speaker, read_date, read_datetime, read_time
from vimbiso_fsm.messages.examples import TextReader, exemplified
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.turn_readers import Bound, TurnReader, bounded

D = TypeVar("D", dt.date, dt.datetime, dt.time)

DATE_TEXTS: Final[Mapping[str, str]] = {
    "date.ambiguous": "That can mean {first} or {second}; please write the date with the name of the month.",
    "date.early": "That is too early; the first possible day is {earliest}.",
    "date.format": "Please write a date like 22 November 2026 or 2026-11-22.",
    "date.late": "That is too late; the last possible day is {latest}.",
    "date.unknown": "There is no such day.",
    "date.weekday": "{date} is not that day of the week.",
    "datetime.format": "Please write a date and a time like 22 November 2026, 15:30.",
    "time.early": "That is too early; the earliest possible time is {earliest}.",
    "time.format": "Please write a time like 15:30 or 3.30 pm.",
    "time.late": "That is too late; the latest possible time is {latest}.",
    "time.skipped": "There is no such time on that day, because the clocks go forward. Please write another one.",
    "time.twice": ("That time comes twice on that day, because the clocks go back. Please write {first} or {second}."),
    "time.unknown": "There is no such time.",
}
"""The words of every refusal of this module; the texts of a bot may replace any of them."""


def date(*, earliest: Bound[dt.date] = None, latest: Bound[dt.date] = None) -> TextReader[dt.date]:
    """Make a reader of dates: `4 January 2027`, `4 janvier 2027`, `2027-01-04`, `tomorrow`, `Friday`.

    The names of the months and the words for days are read in the six languages of the framework and in that of the
    member. `04/01/2027` is read in the order of the member's language tag, such as "fr" or "en-US"; where the tag does
    not tell the order, it is refused if both orders are dates. Without a turn, words such as `tomorrow` are refused.

    Args:
        earliest: The first possible day, or a function of the turn that returns it.
        latest: The last possible day, in the same way.

    Raises:
        FlowError: A bound is no date, or the first day is after the last one.
    """
    return bounded("date", dt.date, {"earliest": earliest, "latest": latest}, _date, _no_date)


def time(*, earliest: Bound[dt.time] = None, latest: Bound[dt.time] = None) -> TextReader[dt.time]:
    """Make a reader of times of day: `15:30`, `15h30`, `15h`, `3.30 pm`.

    Args:
        earliest: The first possible time, or a function of the turn that returns it.
        latest: The last possible time, in the same way.

    Raises:
        FlowError: A bound is no time without a time zone, or the first one is after the last one.
    """
    return bounded("time", dt.time, {"earliest": earliest, "latest": latest}, _time, _no_time)


def datetime(*, earliest: Bound[dt.datetime] = None, latest: Bound[dt.datetime] = None) -> TextReader[dt.datetime]:
    """Make a reader of a date and a time, in this order, that returns the instant in UTC: `tomorrow at 3 pm`.

    The date and the time are read as `date` and `time` read them, in the time zone of the member. A time that the
    clocks skip on that day is refused. One that they show twice is refused with both, `01:30 +02:00` and
    `01:30 +01:00`, which are read. Without a turn, the time zone is UTC.

    Args:
        earliest: The first possible instant, or a function of the turn that returns it.
        latest: The last possible instant, in the same way.

    Raises:
        FlowError: A bound is no instant, or the first one is after the last one.
    """
    return bounded("datetime", dt.datetime, {"earliest": earliest, "latest": latest}, _datetime, _no_instant)


def _date(earliest: dt.date | None, latest: dt.date | None) -> TextReader[dt.date]:
    days = [day for day in (earliest, latest) if day is not None] or [dt.date(2026, 11, 22)]
    if latest is None and days[0] < dt.date.max:
        days.append(days[0] + dt.timedelta(1))  # a guard may decline the one, such as a Sunday

    def of(speaker: Speaker) -> TextReader[dt.date]:
        @exemplified(*(day.isoformat() for day in days), near=("1/2/26", "2026-02-30"))
        def reader_of_dates(text: str) -> dt.date | Refused:
            return _within(read_date(text, speaker), earliest, latest, "date")

        return reader_of_dates

    return _local(of, dt.date)


def _time(earliest: dt.time | None, latest: dt.time | None) -> TextReader[dt.time]:
    times = [at for at in (earliest, latest) if at is not None] or [dt.time(15, 30)]

    @exemplified(*(at.isoformat("seconds").removesuffix(":00") for at in times), near=("15", "25:00"))
    def reader_of_times(text: str) -> dt.time | Refused:
        found = read_time(text)
        if isinstance(found, Refused):
            return found
        if found.before or found.offset is not None:
            return Refused("time.format")
        return _within(found.at, earliest, latest, "time")

    return reader_of_times


def _datetime(earliest: dt.datetime | None, latest: dt.datetime | None) -> TextReader[dt.datetime]:
    times = [at for at in (earliest, latest) if at is not None] or [dt.datetime(2026, 11, 22, 15, 30, tzinfo=dt.UTC)]

    def of(speaker: Speaker) -> TextReader[dt.datetime]:
        @exemplified(*(at.isoformat(timespec="seconds") for at in times), near=("2026-11-22", "2026-02-30 15:30"))
        def reader_of_instants(text: str) -> dt.datetime | Refused:
            return _within(read_datetime(text, speaker), earliest, latest, "time")

        return reader_of_instants

    return _local(of, dt.datetime)


def _local(of: Callable[[Speaker], TextReader[D]], kind: type[D]) -> TurnReader[D]:
    """Return the reader of each member, which also reads without a turn what needs none."""
    plain = of(Speaker())
    return TurnReader(lambda turn: of(Speaker.of(turn)), kind, plain.examples, plain.near, plain)


def _within(found: D | Refused, earliest: D | None, latest: D | None, kind: str) -> D | Refused:
    if isinstance(found, Refused):
        return found
    if earliest is not None and found < earliest:
        return Refused(f"{kind}.early", earliest=earliest)
    if latest is not None and found > latest:
        return Refused(f"{kind}.late", latest=latest)
    return found


def _no_date(bound: object) -> str | None:
    return (
        None if isinstance(bound, dt.date) and not isinstance(bound, dt.datetime) else "a date; of an instant, .date()"
    )


def _no_time(bound: object) -> str | None:
    return None if isinstance(bound, dt.time) and bound.tzinfo is None else "a time without a time zone"


def _no_instant(bound: object) -> str | None:
    aware = isinstance(bound, dt.datetime) and bound.utcoffset() is not None
    return None if aware else "a datetime with a time zone"
