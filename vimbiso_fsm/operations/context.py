"""The context that an operation shares with the shell that performs its effects."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from types import MappingProxyType
from typing import Final, Protocol

from vimbiso_fsm.audit.entries import AuditEntry
from vimbiso_fsm.audit.flow_audit import CommitEvent
from vimbiso_fsm.errors import Contended
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.rates import Pace
from vimbiso_fsm.messages.message import Address, Channel
from vimbiso_fsm.operations.cache import Cache
from vimbiso_fsm.operations.effects import Pause
from vimbiso_fsm.operations.sent_notes import SentNotes

_NO_SENDERS: Final = frozenset[str]()
_NO_PACES: Final = MappingProxyType[str, Pace]({})
_NOTHING_SENT: Final = SentNotes()
"""What a shell without senders has sent: nothing."""


class Door(Protocol):
    """Refuses new guests above their rate."""

    def admit(self, address: Address) -> None:
        """Take in a new guest.

        Raises:
            TooManyMessages: The guest is above the rate.
        """
        ...

    def has_room(self) -> bool:
        """Return whether many new guests can be taken in now."""
        ...

    def unadmit(self) -> None:
        """Take back the count of a guest who was taken in and is known after all."""
        ...


class Clock(Protocol):
    """The clock of a manager."""

    def agrees(self) -> bool:
        """Return whether the store's clock agrees with that of the process."""
        ...


class Context:
    """The input of an operation from its shell, and its report beside the result.

    The shell reads the report when the operation has ended, also when it ended in an exception, because commits made
    before the exception stay stored.

    Attributes:
        bot: The bot whose flows are run.
        cache: The latest documents of recent members.
        now: Seconds since the epoch, on the store's clock as far as the shell knows it. The shell sets it with every
            answer.
        waited: Seconds since the operation was asked for, calls and deliveries not counted. The shell sets it with
            every answer.
        patience: Seconds for which the operation may lose races against other writers.
        door: Refuses new guests above their rate; None refuses none.
        clock: Tells whether the store's clock is to be trusted; None trusts it.
        stored: The commits to report, in order: the entry as it was decided, the number of commits that were tried, and
            the digest of the sealed entry. `told` has them as observers are told of them.
        errors: The exceptions of callbacks, calls and deliveries, each with the reference of its turn.
        inboxes: The names of the inboxes to which the shell passes messages on.
        senders: The types of channels to whose members the shell sends replies itself.
        note_next: Notes when the replies of a member are next at a pace; None if the shell has no worker.
        paces: The pace of deliveries by the type of the channel; none of a channel without one.
        reaches: Tells whether the shell, which delivers proactive replies, has a connection to a channel now; None if
            it needs none.
        sent: What the shell has sent, until the store knows it.
        confirmed: Whether the store has confirmed the latest commit with the required durability.
        lag: Seconds by which due work was late when its waking began it; None if nothing was due.
    """

    __slots__ = (
        "_until", "bot", "cache", "clock", "confirmed", "door", "errors", "inboxes", "lag", "note_next", "now", "paces",
        "patience", "reaches", "senders", "sent", "stored", "waited",
    )  # fmt: skip

    bot: Bot
    cache: Cache
    now: float
    waited: float
    patience: float
    confirmed: bool
    door: Door | None
    clock: Clock | None
    inboxes: Container[str]
    lag: float | None
    note_next: Callable[[str, float], None] | None
    reaches: Callable[[Channel], bool] | None
    senders: Container[str]
    paces: Mapping[str, Pace]
    sent: SentNotes

    def __init__(self, bot: Bot, cache: Cache, now: float, *, patience: float = 5.0, waited: float = 0.0) -> None:
        self.bot = bot
        self.cache = cache
        self.now = now
        self.waited = waited
        self.patience = patience
        self._until = waited + patience
        self.stored: list[tuple[AuditEntry, int, str]] = []
        self.errors: list[tuple[str, BaseException]] = []
        self.confirmed = True
        self.door = None
        self.clock = None
        self.note_next = self.lag = self.reaches = None
        self.inboxes = self.senders = _NO_SENDERS
        self.paces = _NO_PACES
        self.sent = _NOTHING_SENT

    @property
    def told(self) -> list[CommitEvent]:
        """The commits as observers are told of them, in order."""
        return [CommitEvent(*each) for each in self.stored]

    @property
    def notes_sent(self) -> bool:
        """Whether the shell lets the store know what it has sent."""
        return self.sent is not _NOTHING_SENT

    @property
    def is_overdue(self) -> bool:
        """Whether the patience is over. The time in a queue before the operation does not count."""
        return self.waited > self._until

    def check_patience(self, member_id: str, attempts: int) -> None:
        """Check that another attempt may be made after a lost race.

        Raises:
            Contended: The patience is over.
        """
        if self.is_overdue:
            raise Contended(member_id, self.patience, attempts)

    async def pause(self, member_id: str, attempts: int) -> None:
        """Wait before another attempt after a lost race.

        Raises:
            Contended: The patience is over.
        """
        self.check_patience(member_id, attempts)
        await Pause(attempts)
