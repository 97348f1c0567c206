"""The reminder of the clinic of the examples, over a session that has ended, while processes of workers are killed.

A member books an appointment. Nine days later a process wakes them for the reminder and is killed; another process is
started, which asks whether the appointment still holds, and a third one hears the answer.
"""

from __future__ import annotations

import runpy
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import attrs

from tests.faults.clock import Clock, Clocked
from tests.faults.kills import Steps, in_child, nowhere, run_alone
from tests.faults.members import PAST_LEASE
from tests.faults.records import Folder
from tests.faults.row import Profile, Report, row
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.replies import Reply
from vimbiso_fsm.messages.sending import Sent
from vimbiso_fsm.runtime.flow_state import FlowStateManager
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.store.requests import Commit, Load, MarkSent, ReadDue, ReadRecords, Request, shard_of
from vimbiso_fsm.testing.chat import STORE_SECRET, words

__all__: list[str] = []

CLINIC: Final = Path(__file__).parents[2] / "examples" / "clinic.py"


@attrs.frozen
class _Mortal:
    """A store whose process may die before and after each request that is made for a member."""

    store: Clocked
    point: Steps | None

    def perform(self, request: Request) -> Any:
        """Perform a request."""
        point = self.point if self.point and isinstance(request, Commit | Load | ReadRecords | MarkSent) else nowhere
        point()
        result = self.store.perform(request)
        point()
        return result


@attrs.frozen
class _Clinic:
    """The clinic on one server, at one clock. Each of its acts is made by a manager of its own.

    Attributes:
        url: The server.
        records: The folder in which the channel notes what it has said.
        clock: The clock.
        member: The member's channel.
        bot: The bot of the example.
    """

    url: str
    records: Folder
    clock: Clock
    member: Channel
    bot: Bot = attrs.field(factory=lambda: runpy.run_path(str(CLINIC))["bot"])

    def says(self, *texts: str) -> str:
        """Say something to a new process; return all that it replies to the last."""
        with AtomicStateManager.from_url(self.url, secret=STORE_SECRET) as store, self._manager(store, None) as manager:
            said: list[str] = []
            for text in texts:
                said = words(manager.handle(Message(self.member, f"{text} {self.clock.ahead}", text)).replies)
        return "\n".join(said)

    def wake(self, point: Steps | None) -> None:
        """Wake the member, as the process of a worker does that has found them due; it may die at a point."""
        with (
            AtomicStateManager.from_url(self.url, secret=STORE_SECRET) as store,
            self._manager(store, point) as manager,
        ):
            manager.start()
            id = manager.bot.digests.guest_id(self.member.address)
            manager.state(id)  # which tells the manager what time it is
            if id in manager.ask(ReadDue(shard_of(id), manager.now(), 100_000)):
                manager.wake(id)

    def asked(self) -> int:
        """Return how often the member was asked whether the appointment holds."""
        lines = self.records.noted("said")
        texts = [text for line in lines if line["to"] == self.member.identifier for text in line["texts"]]
        return sum("Are you still coming?" in text for text in texts)

    def _manager(self, store: AtomicStateManager, point: Steps | None) -> FlowStateManager:
        def send(channel: Channel, replies: Sequence[Reply], /) -> Sent:
            (point or nowhere)()
            self.records.note("said", texts=words(replies), to=channel.identifier)
            (point or nowhere)()
            return Sent()

        store_of_worker = _Mortal(Clocked(store, self.clock), point)
        return FlowStateManager(self.bot, store_of_worker, senders={"whatsapp": send}, rates=None, paces={}, cache=0)


def _kill_reminders(profile: Profile, seed: int, url: str, records: Folder, report: Report) -> None:
    at, died = 1, True
    while died:
        clinic = _Clinic(url, records, Clock(), Channel("whatsapp", f"26377{seed % 100:02d}4{at:05d}"))
        day = datetime.now(UTC).date() + timedelta(days=10)
        booked = clinic.says("hi", "book an appointment", day.isoformat(), "09:00")
        report.demand("See you on" in booked, f"{at}: booking came to {booked!r}")
        clinic.clock.forward(86_400)  # the session is over; so is each lease
        due = datetime(day.year, day.month, day.day, 7, tzinfo=UTC) - timedelta(days=1)  # at nine in Harare
        clinic.clock.forward(due.timestamp() + 1 - time.time() - clinic.clock.ahead)
        died = bool(in_child(lambda: clinic.wake(Steps(at))))  # noqa: B023 – called here
        clinic.clock.forward(PAST_LEASE)
        in_child(lambda: clinic.wake(None))  # noqa: B023 – called here
        times = clinic.asked()
        report.demand(1 <= times <= 1 + died, f"{at}: the member was asked {times} times")
        answer = clinic.says("yes")
        report.demand("See you on" in answer, f"{at}: the answer to the reminder came to {answer!r}")
        report.count(killed=died, asked=times)
        at += profile.of(3, 1)


@row(
    "killed-reminding",
    "worker killed before and after each step of a reminder, days after the end of the session",
    "the member asked by the next worker, twice only if the first was killed; the answer heard",
)
def killed_reminding(profile: Profile, seed: int) -> Report:
    """A reminder outlives its session and the processes of its workers."""
    return run_alone(_kill_reminders, profile, seed)
