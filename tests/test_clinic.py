"""The example of a clinic: an appointment is booked, reminded of a day before, moved and cancelled."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from vimbiso_fsm import Bot, Channel, FlowStateManager, Message, Worker
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.testing.chat import STORE_SECRET, Clock, words

bot: Bot = runpy.run_path(str(Path(__file__).parent.parent / "examples" / "clinic.py"))["bot"]
YOU = Channel("whatsapp", "263771000001")
FIRST = datetime(2026, 11, 20, 12, tzinfo=UTC)


class Clinic:
    """The clinic on a clock in the test's hand. Each worker is a new process's."""

    def __init__(self) -> None:
        self.clock, self.sent, self._count = Clock(), [""], 0
        self.sent.clear()
        self.clock.at = FIRST.timestamp()
        self.store = MemoryStore(self.clock, secret=STORE_SECRET)
        self.manager = self._started()

    def _started(self) -> FlowStateManager:
        manager = FlowStateManager(
            bot, self.store, cache=0, rates=None, deliver=lambda channel, replies: self.sent.extend(words(replies))
        )
        manager._base.clock.follow(self.clock)
        return manager

    def says(self, *texts: str) -> list[str]:
        """Say something; return what is replied to the last."""
        replies: list[str] = []
        for text in texts:
            self._count += 1
            replies = words(self.manager.handle(Message(YOU, str(self._count), text)).replies)
        return replies

    def at(self, year: int, month: int, day: int, hour: int, minute: int = 0) -> list[str]:
        """Start another worker at an instant in UTC; return what it delivers."""
        self.manager.close()
        self.clock.at = datetime(year, month, day, hour, minute, tzinfo=UTC).timestamp()
        self.manager = self._started()
        self.sent.clear()
        worker = Worker(self.manager)
        for woken in worker.round():
            woken.result()
        worker.leave()
        return [*self.sent]

    def member(self) -> str:
        """The id of the member."""
        return self.manager.bot.digests.guest_id(YOU.address)


@pytest.fixture
def clinic() -> Iterator[Clinic]:
    """A clinic at which the member has booked for 30 November, at nine in Harare."""
    clinic = Clinic()
    assert clinic.says("hi", "book an appointment", "2026-11-30", "09:00")[0] == "See you on 30 November 2026 at 09:00."
    assert clinic.at(2026, 11, 20, 14) == ["Your session ended after a while of silence."]
    yield clinic
    clinic.manager.close()


ASKED = "You have an appointment on 30 November 2026 at 09:00. Are you still coming?"


def test_a_reminder_comes_a_day_before_by_the_clock_of_the_member(clinic: Clinic):
    """A worker that is started anew asks the day before, at nine in Harare, over a session that ended long ago."""
    assert ASKED not in clinic.at(2026, 11, 29, 6, 59)
    assert clinic.at(2026, 11, 29, 7) == [ASKED]
    assert clinic.at(2026, 11, 29, 8) == []
    assert clinic.says("yes")[0] == "See you on 30 November 2026 at 09:00."


def test_an_appointment_that_is_moved_moves_its_reminder(clinic: Clinic):
    """The answer to the reminder moves the appointment, and the next reminder is that of the new one alone."""
    clinic.at(2026, 11, 29, 7)
    assert clinic.says("another time", "2026-12-04", "14:00")[0] == "See you on 4 December 2026 at 14:00."
    state = clinic.manager.state(clinic.member())
    assert state is not None
    assert [reminder.at for reminder in state.reminders] == [datetime(2026, 12, 3, 7, tzinfo=UTC)]
    assert clinic.at(2026, 12, 3, 7)[-1] == "You have an appointment on 4 December 2026 at 14:00. Are you still coming?"


def test_an_appointment_that_is_cancelled_is_not_reminded_of(clinic: Clinic):
    """A cancelled appointment has no reminder, whether it is cancelled before or at the reminder."""
    assert clinic.says("hi", "cancel my visit")[0] == "Your appointment is cancelled."
    state = clinic.manager.state(clinic.member())
    assert state is not None
    assert (state.reminders, state.profile) == ((), {})
    assert clinic.at(2026, 11, 29, 7) == []


def test_no_is_a_cancellation(clinic: Clinic):
    """The answer "no" to the reminder cancels the appointment."""
    clinic.at(2026, 11, 29, 7)
    assert clinic.says("no")[0] == "Your appointment is cancelled."
    state = clinic.manager.state(clinic.member())
    assert state is not None
    assert state.profile == {}


def test_a_reminder_after_the_appointment_is_dropped(clinic: Clinic):
    """Where no worker ran until the appointment was over, the member is not asked any more."""
    assert ASKED not in clinic.at(2026, 12, 5, 7)
