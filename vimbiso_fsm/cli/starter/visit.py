"""The flow in which a person books an appointment, and the menu that leads to it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import attrs

from vimbiso_fsm import (
    PUBLIC,
    READ_ONLY,
    Call,
    Flow,
    NoData,
    Refused,
    Row,
    State,
    Text,
    Transition,
    Turn,
    call,
    readers,
)
from vimbiso_fsm.cli.starter.diary import Diary


@attrs.frozen
class Visit:
    """The answers of one run. Each field has a default, because a run begins without answers."""

    day: date = attrs.field(default=date.min, metadata=PUBLIC)
    hours: tuple[str, ...] = ()
    hour: str = attrs.field(default="", metadata=PUBLIC)
    number: str = ""


def is_open(turn: Turn[Visit]) -> bool | Refused:
    """Guard: we are open on the day."""
    return turn.data.day.weekday() < 5 or Refused("visit.closed", field="day")


def look_up(turn: Turn[Visit]) -> Call[tuple[str, ...]]:
    """Propose to look up the hours that are free."""
    return call(Diary.free, turn.data.day)


def hours(turn: Turn[Visit]) -> Sequence[Row]:
    """Return the hours to choose from."""
    return [Row(hour, Text(hour)) for hour in turn.data.hours]


def summary(turn: Turn[Visit]) -> Text:
    """Return the question that confirms the appointment."""
    return Text("visit.confirm", day=turn.data.day, hour=turn.data.hour)


def book(turn: Turn[Visit]) -> Call[str | Refused]:
    """Propose to book. The call is made after the turn is stored, and once however often a message is delivered."""
    return call(Diary.book, turn.data.day, turn.data.hour)


def booked(turn: Turn[Visit]) -> Text:
    """Return the words after a booking."""
    return Text("visit.booked", day=turn.data.day, hour=turn.data.hour, number=turn.data.number)


visit = Flow(
    "visit", data=Visit, initial="day",
    states=[
        State("day",     ask=Text("visit.day"), reads=readers.date(earliest=lambda turn: turn.today), into="day",
              examples=["2099-01-05"]),
        State("looking", ask=Text("visit.wait"), call=look_up, policy=READ_ONLY, into="hours"),
        State("hour",    ask=Text("visit.hour"), rows=hours, into="hour"),
        State("full",    ask=Text("visit.full")),
        State("confirm", ask=summary),
        State("booking", ask=Text("visit.wait"), call=book, into="number"),
        State("booked",  say=booked, final=True),
        State("dropped", say=Text("visit.dropped"), final=True, cancels=True),
    ],
    transitions=[
        Transition("answer", "day",     "looking", conditions=is_open),
        Transition("done",   "looking", "hour"),
        Transition("failed", "looking", "day"),
        Transition("empty",  "hour",    "full"),
        Transition("answer", "hour",    "confirm"),
        Transition("yes",    "confirm", "booking"),
        Transition("no",     "confirm", "dropped"),
        Transition("done",   "booking", "booked"),
        Transition("failed", "booking", "looking"),
        Transition("again",  "full",    "day"),
    ],
)  # fmt: skip

home: Flow[NoData] = Flow(
    "home", initial="menu",
    states=[
        State("menu", ask=Text("home.menu")),
        State("visit", flow=visit),
    ],
    transitions=[
        Transition("book", "menu", "visit"),
        Transition(["done", "cancelled"], "visit", "menu"),
    ],
)  # fmt: skip
