"""A clinic that takes appointments and reminds of each a day before, at the terminal.

pip install "vimbiso_fsm[embedded]"
python examples/clinic.py [FOLDER]

The reminder is kept with the member: it comes although the session has ended and the worker was started anew, and it
asks whether the appointment still holds. Moving the appointment moves its reminder, and cancelling it cancels both.
"""

import sys
import threading
import uuid
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from typing import Any

import attrs

from vimbiso_fsm import (
    Bot,
    Channel,
    Flow,
    FlowStateManager,
    Message,
    NoData,
    Reply,
    Row,
    State,
    Text,
    TextTemplate,
    Transition,
    Turn,
    Worker,
    cancel_reminder,
    readers,
    remind,
)
from vimbiso_fsm.channels import terminal

HOURS = (time(9), time(11), time(14))
"""The times of day at which the clinic takes appointments."""
TOMORROW = {"whatsapp": TextTemplate("visit_tomorrow", ("day", "hour"))}
"""The question of the reminder on WhatsApp, which takes no other words when the member last wrote a day ago or more."""
KEY = "visit"
"""The key of the reminder. A member has one appointment, so that a new one replaces the reminder of the earlier one."""


@attrs.frozen
class Visit:
    """An appointment, as the member's clock shows it."""

    day: date | None = None
    hour: str = ""

    @property
    def at(self) -> datetime:
        """The day and the time of day, without a time zone."""
        return datetime.combine(self.day or date.max, time.fromisoformat(self.hour))

    def words(self, key: str, **late: Any) -> Text:
        """Return a text that names the appointment; `late` is what it goes as when it comes late."""
        return Text(key, day=self.day, hour=self.hour, **late)


def ahead(turn: Turn[Any]) -> bool:
    """Guard: the appointment is ahead."""
    return turn.instant(turn.data.at.date(), turn.data.at.time()) > turn.now


def booked(turn: Turn[Visit]) -> Any:
    """Keep the appointment in the profile, and remind of it a day before at nine o'clock, by the member's clock."""
    visit = turn.data
    before = datetime.combine(visit.at.date() - timedelta(days=1), time(9))
    member = attrs.evolve(turn.member, profile={**turn.member.profile, "visit": visit.at.isoformat()})
    return turn.changes(member=member, reminders=[remind(before, KEY, flow=coming, data=visit, until=visit.at)])


def cancelled(turn: Turn[Any]) -> Any:
    """Forget the appointment and its reminder."""
    profile = {name: value for name, value in turn.member.profile.items() if name != "visit"}
    return turn.changes(member=attrs.evolve(turn.member, profile=profile), reminders=[cancel_reminder(KEY)])


def has_visit(turn: Turn[Any]) -> bool:
    """Guard: the member has an appointment."""
    return "visit" in turn.member.profile


def hours(turn: Turn[Visit]) -> Sequence[Row]:
    """Return the times of day to choose from."""
    return [Row(f"{hour:%H:%M}", Text(f"{hour:%H:%M}")) for hour in HOURS]


book = Flow(
    "book", data=Visit, initial="day",
    states=[
        State("day",    ask=Text("book.day"), reads=readers.date(earliest=lambda turn: turn.today), into="day"),
        State("hour",   ask=Text("book.hour"), rows=hours, into="hour"),
        State("over",   ask=Text("book.over")),
        State("booked", say=lambda turn: turn.data.words("book.booked"), final=True),
    ],
    transitions=[
        Transition("answer", "day",  "hour"),
        Transition("answer", "hour", "booked", prepare=booked, conditions=ahead),
        Transition("answer", "hour", "over"),
        Transition("again",  "over", "day"),
    ],
)  # fmt: skip
coming: Flow[Visit] = Flow(
    "coming", data=Visit, initial="asked",
    states=[
        State("asked",     ask=lambda turn: turn.data.words("coming.asked", templates=TOMORROW)),
        State("moving",    flow=book),
        State("confirmed", say=lambda turn: turn.data.words("coming.confirmed"), final=True),
        State("moved",     final=True),
        State("dropped",   say=Text("visit.cancelled"), final=True),
    ],
    transitions=[
        Transition("yes",       "asked",  "confirmed"),
        Transition("move",      "asked",  "moving"),
        Transition("no",        "asked",  "dropped", prepare=cancelled),
        Transition("done",      "moving", "moved"),
        Transition("cancelled", "moving", "asked"),
    ],
)  # fmt: skip
home: Flow[NoData] = Flow(
    "home", initial="menu",
    states=[
        State("menu",    ask=Text("home.menu")),
        State("book",    flow=book),
        State("dropping"),
        State("dropped", say=Text("visit.cancelled")),
    ],
    transitions=[
        Transition("book",                "menu",     "book"),
        Transition("drop",                "menu",     "dropping", conditions=has_visit),
        Transition(["done", "cancelled"], "book",     "menu"),
        Transition("auto",                "dropping", "dropped", prepare=cancelled),
        Transition("auto",                "dropped",  "menu"),
    ],
)  # fmt: skip

TEXTS = {
    "book.booked": "See you on {day} at {hour}.",
    "book.day": "On which day?",
    "book.hour": "At what time?",
    "book.over": "That time is over.",
    "book.over.again": "Another time",
    "coming.asked": "You have an appointment on {day} at {hour}. Are you still coming?",
    "coming.asked.move": "Another time",
    "coming.asked.no": "No, cancel it",
    "coming.asked.yes": "Yes",
    "coming.confirmed": "See you on {day} at {hour}.",
    "home.menu": "Welcome to the clinic.",
    "home.menu.book": "Book an appointment",
    "home.menu.drop": "Cancel my visit",
    "visit.cancelled": "Your appointment is cancelled.",
}
bot = Bot([home, coming], texts=TEXTS, zone="Africa/Harare")


def show(channel: Channel, replies: Sequence[Reply], /) -> None:
    """Print replies."""
    print(*terminal.render(channel, replies), sep="\n", flush=True)


if __name__ == "__main__":
    you = Channel("terminal", "you")
    with FlowStateManager.embedded([*sys.argv[1:], "data"][0], bot, deliver=show) as manager:
        worker = Worker(manager)
        thread = threading.Thread(target=worker.run)
        thread.start()
        for line in sys.stdin:
            show(you, manager.handle(Message(you, id=uuid.uuid4().hex, text=line.strip())).replies)
        worker.stop()
        thread.join()
