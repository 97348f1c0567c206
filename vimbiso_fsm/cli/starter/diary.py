"""The diary of appointments: the port that the flow calls, and a diary in memory."""

from __future__ import annotations

from datetime import date
from typing import Final, Protocol

import attrs

from vimbiso_fsm import Caller, Refused

HOURS: Final = ("09:00", "11:00")


class Diary(Protocol):
    """What the flow asks of a diary. The object that serves the bot is given as `services={"diary": …}`."""

    def free(self, day: date) -> tuple[str, ...]:
        """Return the hours of a day that are free."""
        ...

    def book(self, day: date, hour: str, *, caller: Caller = Caller()) -> str | Refused:
        """Book an hour of a day, and return the number of the booking; or the reason why it was not booked."""
        ...


@attrs.define
class PaperDiary:
    """A diary that is lost when the process ends. Put one of your own in its place."""

    booked: dict[tuple[date, str], str] = attrs.field(factory=dict[tuple[date, str], str])

    def free(self, day: date) -> tuple[str, ...]:
        """Return the hours of a day that are free."""
        return tuple(hour for hour in HOURS if (day, hour) not in self.booked)

    def book(self, day: date, hour: str, *, caller: Caller) -> str | Refused:
        """Book an hour, once for each key of a call: a call that is made again returns the same answer."""
        number = self.booked.setdefault((day, hour), caller.key)
        return number[:6] if number == caller.key else Refused("visit.taken", field="hour")
