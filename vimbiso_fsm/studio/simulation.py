"""A simulation: members who talk to a bot on a store in memory, with the clock and the faults in a person's hand.

    simulation = Simulation(bot)
    phone = simulation.open("whatsapp:263771000001")
    simulation.say(phone, "hi", Fault.LOST)
    simulation.wait(360)

It does no input or output and calls no service but copies of those that it is given. The replies of each turn are sent
as a deployment with senders sends them: through the outbox of the member's document.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Any, Final, Literal, TypeVar

import attrs

from vimbiso_fsm.audit.redaction import error_record
from vimbiso_fsm.document.codec import decode, without_sent
from vimbiso_fsm.document.document import Document
from vimbiso_fsm.engine.schedule import wake_at
from vimbiso_fsm.errors import CommitUnknown, NotRecovered, VimbisoError
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.interrupts import CallbackStopped
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.refusals import Unreachable
from vimbiso_fsm.messages.replies import Reply
from vimbiso_fsm.operations.cache import Cache
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.operations.effects import Deliver, Operation, RunCall
from vimbiso_fsm.operations.recover import recover
from vimbiso_fsm.operations.sent_notes import SentNotes
from vimbiso_fsm.runtime.watchdog import SlowCallback, Watchdog, Watched, watching
from vimbiso_fsm.store.requests import Commit, Entry, SetWakeUp
from vimbiso_fsm.studio.looks import Bubble, Choice, look
from vimbiso_fsm.studio.member_view import fired, span
from vimbiso_fsm.testing.awaiting import Awaiting
from vimbiso_fsm.testing.chat import Chat, Held, choices, on_clock
from vimbiso_fsm.testing.conversation import AGAIN, DIED, LOST, channel_of
from vimbiso_fsm.testing.copies import copy_of
from vimbiso_fsm.testing.saved import rehearsed

R = TypeVar("R")

PHONES: Final = 8
"""Chats that are open at a time."""
LINES: Final = 400
"""Lines of a chat that are kept."""
LONGEST_WAIT: Final = timedelta(days=366).total_seconds()
"""Seconds that may pass at once."""
NO_TOKEN: Final = "of-a-fork"  # noqa: S105  # it stands for the token of a live member
"""The login token of a fork."""
WATCHDOG: Final = Watchdog(warn=1.0, stop=5.0)
"""The bounds of the time that a callback or a service may take. The person at the page waits for it."""
_WAKES: Final = 1000
"""Wake-ups within one wait; more of them are a timer without an end."""
_EFFECTS: Final = 1000
"""Effects of one operation; more of them are an operation without an end."""


class Fault(StrEnum):
    """A fault that the next message meets."""

    NONE = ""
    LOST = "lost"
    """The reply of the store to the commit is lost."""
    DIES = "dies"
    """The worker dies after the first commit, before it makes a call or sends a reply."""
    UNSENT = "unsent"
    """The worker dies after the last commit, before it sends the replies."""
    TWICE = "twice"
    """The channel delivers the message twice."""


_NOTES: Final[Mapping[str, str]] = {Fault.LOST: LOST, Fault.DIES: DIED}
"""The faults that a test can repeat, as notes of a transcript. The others make no difference to a test."""
_HAPPENED: Final[Mapping[str, str]] = {
    Fault.LOST: "The store has made the commit, and its reply was lost. The webhook answers that it failed.",
    Fault.DIES: "The worker has died after its commit.",
    Fault.UNSENT: "The worker has died before it has sent the replies.",
}


@attrs.frozen
class Line:
    """One line of a chat.

    Attributes:
        kind: "said" by the member, "replied" by the bot, or a "note" of what has happened.
        bubble: The words and choices.
        at: The instant on the clock of the simulation.
    """

    kind: Literal["said", "replied", "note"]
    bubble: Bubble
    at: datetime


@attrs.define(eq=False)
class Phone:
    """A chat with the bot on one channel.

    Attributes:
        channel: The channel.
        lines: What was said, and notes.
        titles: The titles of the choices that the channel has shown, by id.
        latest: The latest message; None before the first.
    """

    channel: Channel
    lines: list[Line] = attrs.field(factory=list[Line])
    titles: dict[str, str] = attrs.field(factory=dict[str, str])
    latest: Message | None = None

    @property
    def name(self) -> str:
        """The channel as "type:identifier"."""
        return f"{self.channel.type}:{self.channel.identifier}"


@attrs.frozen
class Fork:
    """The live member from whom a simulation was forked.

    Attributes:
        member_id: The id of the member at the live store.
        version: The version of the document.
    """

    member_id: str
    version: int


class Simulation:
    """Members who talk to a bot, side by side.

    Attributes:
        phones: The chats by the name of their channel, in the order in which they were opened.
        fork: The live member from whom it was forked; None if it has begun empty.
        problem: What hindered the latest verb, in words; empty if nothing did.
    """

    def __init__(self, bot: Bot, *, fork: Document | None = None, at: datetime | None = None) -> None:
        """Begin a simulation.

        Args:
            bot: The bot, with simulated services. They are copied. A service that the bot lacks is not called, nor one
                of a fork that cannot be copied, such as a connection: it is as if it could not be reached.
            fork: The document of a live member, from which it goes on; None for an empty store.
            at: The instant at which it begins; that of all tests without it, and of the document for a fork.
        """
        self.phones: dict[str, Phone] = {}
        self.problem = ""
        self.fork = None if fork is None else Fork(fork.member_id, fork.version)
        self._untouched = copy_of(bot.services)
        self._uncalled = frozenset(self._untouched.shared if fork is not None else ())
        self._awaiting = Awaiting()
        self._chat = _Process(bot.with_services(self._untouched.services()), self._answer)
        self._script: list[str] = []
        self._spoke = ""
        self._shown = 0
        if fork is not None:
            self._chat.clock.at = max(fork.last_updated, at or fork.last_updated).timestamp()
            self._plant(fork)
        elif at is not None:
            self._chat.clock.at = at.timestamp()

    # Verbs ------------------------------------------------------------------------------------------------------------

    def open(self, name: str) -> Phone:
        """Open a chat on a channel, "type:identifier", or return the one that is open.

        Raises:
            ValueError: The name is none, the bot has no such channel, or too many chats are open.
        """
        if name in self.phones:
            return self.phones[name]
        channel = channel_of(name.strip())
        known = self.bot.validator.channel_types
        if channel.type not in known:
            raise ValueError(f"{channel.type!r} is no type of channel of the bot; there are {', '.join(sorted(known))}")
        return self._phone(channel)

    def close(self, phone: Phone) -> None:
        """Close a chat. What is stored of its member stays."""
        self.phones.pop(phone.name, None)

    def say(self, phone: Phone, text: str, fault: Fault = Fault.NONE) -> None:
        """Type a message."""
        with self._trying():
            message = Message(phone.channel, self._chat.next_id(), text=text)
            self._take(phone, message, text, text, fault)

    def press(self, phone: Phone, choice: str, fault: Fault = Fault.NONE) -> None:
        """Press a button or a row by its id, also one of an earlier question.

        Raises:
            ValueError: The chat shows no such choice.
        """
        title = phone.titles.get(choice)
        if title is None:
            raise ValueError(f"{phone.name} shows no such choice; press one that is shown")
        with self._trying():
            message = Message(phone.channel, self._chat.next_id(), choice=choice)
            self._take(phone, message, title, f"[{title}]", fault)

    def fire(self, phone: Phone, trigger: str, fault: Fault = Fault.NONE) -> None:
        """Press the button of the current question that fires a trigger.

        Raises:
            ValueError: The current question has no such button.
        """
        document = self.document(phone)
        run = document.run if document is not None else None
        shown = [each.choice for each in run.shown] if run is not None else []
        if run is None or trigger not in shown:
            raise ValueError(f"the current question has no button {trigger!r}; it has {', '.join(shown) or 'none'}")
        self.press(phone, f"{run.fence}{trigger}", fault)

    def again(self, phone: Phone) -> None:
        """Let the channel deliver the latest message again.

        Raises:
            ValueError: Nothing was said yet.
        """
        if phone.latest is None:
            raise ValueError(f"nothing was said on {phone.name} yet that could be delivered again")
        with self._trying():
            self._turn_to(phone)
            self._deliver_again(phone, phone.latest)

    def wait(self, seconds: float = 0.0) -> None:
        """Let time pass, and let a worker do what is due meanwhile.

        Args:
            seconds: The span; 0 lets time pass until the next thing is due, and no time if nothing will be.

        Raises:
            ValueError: The span is negative, no number, or longer than a year.
        """
        if not 0 <= seconds <= LONGEST_WAIT:
            raise ValueError("give a span of at most a year")
        clock = self._chat.clock
        until = clock.at + seconds if seconds else self._next_due()[0]
        passed = round(until - clock.at)
        self._script.append(f"* {passed} seconds pass")
        for phone in self.phones.values():
            self._note(phone, f"{span(passed)} pass")
        with self._trying():
            self._wake_until(until)
        clock.at = max(clock.at, until)

    def deploy(self, bot: Bot, fresh: Mapping[str, object]) -> str:
        """Go on with a changed bot where the members are.

        Args:
            bot: The changed bot.
            fresh: Those of its services that are used in place of the copies, which keep what they hold.

        Returns:
            What has happened to members whose state is gone; empty if all stand where they stood.
        """
        places = {name: self.place(phone) for name, phone in self.phones.items()}
        kept = {name: each for name, each in self.bot.services.items() if name in bot.services and name not in fresh}
        made = copy_of({name: each for name, each in bot.services.items() if name not in kept}).services()
        on_clock(made, self._chat.clock)
        self._chat.bot = bot.with_services({**made, **kept})
        moved = [self._go_on(self.phones[name], place) for name, place in places.items() if place]
        return "; ".join(filter(None, moved))

    # What there is to see ---------------------------------------------------------------------------------------------

    @property
    def bot(self) -> Bot:
        """The bot, with the services of the simulation."""
        return self._chat.bot

    @property
    def now(self) -> datetime:
        """The instant that the clock shows."""
        return datetime.fromtimestamp(self._chat.clock.at, tz=UTC)

    @property
    def script(self) -> Sequence[str]:
        """What was said, as lines of a transcript; empty before the first message."""
        return (*self._script,)

    def member_id(self, phone: Phone) -> str:
        """Return the id of the member or guest on a channel."""
        self._chat.channel = phone.channel
        return self._chat.member_id()

    def document(self, phone: Phone) -> Document | None:
        """Return the document of the member on a channel; None without one, or where it is damaged."""
        stored = self._chat.stored(self.member_id(phone))
        try:
            return None if stored.document is None else without_sent(decode(stored.document), stored.sent)
        except VimbisoError:
            return None

    def entries(self, phone: Phone) -> Sequence[Entry]:
        """Return the audit entries of the member on a channel, oldest first."""
        return self._chat.entries(self.member_id(phone))

    def place(self, phone: Phone) -> str:
        """Return the state in which the member stands, as "flow.state"; empty without a flow."""
        document = self.document(phone)
        run = document.run if document is not None else None
        return f"{run.flow}.{run.step}" if run is not None else ""

    def transcript(self) -> str:
        """Return the transcript of what was said, played from the beginning to services as they were then.

        Raises:
            ValueError: Nothing was said, or it has begun in the middle of a live conversation.
            Exception: It cannot be played again, or a callback of the bot raised it.
        """
        if self.fork is not None:
            raise ValueError("a fork begins in the middle of a live conversation, which a test cannot play")
        if not any(line.startswith(">") for line in self._script):
            raise ValueError("nothing was said yet")
        return rehearsed(self.bot, self._script, self._untouched.services())

    # How it is done ---------------------------------------------------------------------------------------------------

    def _phone(self, channel: Channel) -> Phone:
        phone = Phone(channel)
        if phone.name not in self.phones and len(self.phones) >= PHONES:
            raise ValueError(f"{PHONES} chats are open; close one")
        return self.phones.setdefault(phone.name, phone)

    def _trying(self) -> _Trying:
        return _Trying(self)

    def _turn_to(self, phone: Phone) -> None:
        if self._spoke != phone.name:
            self._spoke = phone.name
            self._script.append(f"@ {phone.name}")

    def _take(self, phone: Phone, message: Message, said: str, written: str, fault: Fault) -> None:
        """Handle a message with a fault, and let time pass until the fault is over."""
        self._turn_to(phone)
        phone.latest = message
        self._add(phone, "said", Bubble(said))
        if fault in _NOTES:
            self._script.append(f"* {_NOTES[fault]}")
        self._script.append(f"> {written}")
        if self._handle(phone, message, fault):
            self._note(phone, _HAPPENED[fault])
            self._deliver_again(phone, message, written=False)
            self._settle(phone)
        elif fault is Fault.TWICE:
            self._deliver_again(phone, message)
        elif fault:
            self._note(phone, "The message led to nothing that this fault could meet.")

    def _deliver_again(self, phone: Phone, message: Message, *, written: bool = True) -> None:
        if written:
            self._script.append(f"* {AGAIN}")
        self._note(phone, "The channel delivers the message again.")
        self._handle(phone, message, Fault.NONE)

    def _handle(self, phone: Phone, message: Message, fault: Fault) -> bool:
        """Handle a message; return whether the fault has ended it."""
        process = self._chat
        operation, ended = process.begin(message), False
        for _ in range(_EFFECTS):
            request = operation.request
            if request is None or (fault is Fault.UNSENT and isinstance(request, Deliver)):
                ended = request is not None
                break
            if fault is Fault.LOST and isinstance(request, Commit):
                process.perform(request)
                unknown = CommitUnknown(request.member_id, request.token, "the reply was lost on purpose")
                with suppress(CommitUnknown):
                    operation.take(unknown)
                ended = True
                break
            process.step(operation)
            if fault is Fault.DIES and isinstance(request, Commit):
                ended = operation.request is not None
                break
        if ended and fault is not Fault.LOST:
            process.forget()
        self._gather(operation)
        outcome = operation.outcome
        if outcome is not None:
            place = outcome.state.run
            at = f"{place.flow}.{place.step}" if place is not None else "no flow"
            self._note(phone, f"{outcome.status} · {at}")
        return ended

    def _settle(self, phone: Phone) -> None:
        """Let time pass until another worker has done what a worker that died has left."""
        began = self._chat.clock.at
        for _ in range(_WAKES):
            document = self.document(phone)
            if document is None or (document.call is None and not document.outbox):
                break
            at, member_id = self._next_due()
            if not member_id:
                break
            self._wake_until(at)
        passed = round(self._chat.clock.at - began)
        if passed:
            self._note(phone, f"{span(passed)} passed until another worker had done what was left.")

    def _next_due(self) -> tuple[float, str]:
        """Return the instant of the next wake-up, not before now, and its member; now and "" without one."""
        now = self._chat.clock.at
        return min(((max(at, now), member_id) for member_id, at in self._chat.wake_ups), default=(now, ""))

    def _wake_until(self, until: float) -> None:
        for _ in range(_WAKES):
            at, member_id = self._next_due()
            if not member_id or at > until:
                return
            self._chat.clock.at = at
            operation = self._chat.waking(member_id)
            while operation.request is not None:
                self._chat.step(operation)
            self._gather(operation, told=True)
        raise ValueError(f"{_WAKES} wake-ups, and another one is due; is there a timer without an end?")

    def _gather(self, operation: Held[Any], *, told: bool = False) -> None:
        """Show in the chats what an operation has led to: replies, exceptions and, if asked for, its commits."""
        process = self._chat
        for event in operation.told:
            if told and (words := fired(event.entry)):
                self._note_at(event.entry.member_id, words)
        delivered, self._shown = process.delivered[self._shown :], len(process.delivered)
        for delivery in delivered:
            self._replied(delivery.channel, delivery.replies)
        for _, error in operation.errors:
            self.problem = self._told(error)
        process.let_know()

    def _replied(self, channel: Channel, replies: Sequence[Reply]) -> None:
        phone = Phone(channel)
        phone = self.phones.setdefault(phone.name, phone)
        phone.titles.update({id: title for title, id in choices(*replies).items()})
        for bubble in look(channel, replies):
            self._add(phone, "replied", bubble)
            phone.titles.update({each.id: each.title for each in bubble.choices if each.id not in phone.titles})

    def _told(self, error: BaseException) -> str:
        """Return an exception in words. In a fork it is shown as the audit shows it, because it may quote a member."""
        if isinstance(error, CallbackStopped):
            return self._late()
        if self.fork is None:
            return f"{type(error).__name__}: {error}"
        record = error_record(error, "")
        return " ".join(filter(None, [record["type"], record.get("callback", ""), record["message"]]))

    def _late(self) -> str:
        """Return in words which callback or service the watchdog has ended."""
        slow = self._chat.late
        if slow is None:
            return f"A callback took longer than {WATCHDOG.stop:g} s, and was ended."
        place = f" of {slow.flow}.{slow.state}" if slow.state else ""
        name = " ".join(filter(None, [slow.slot, slow.callback]))
        return f"{name}{place} took longer than {WATCHDOG.stop:g} s, and was ended: {', '.join(slow.where)}"

    def _note(self, phone: Phone, text: str) -> None:
        self._add(phone, "note", Bubble(text))

    def _note_at(self, member_id: str, text: str) -> None:
        for phone in self.phones.values():
            if self.member_id(phone) == member_id:
                self._note(phone, text)

    def _add(self, phone: Phone, kind: Literal["said", "replied", "note"], bubble: Bubble) -> None:
        phone.lines.append(Line(kind, bubble, self.now))
        del phone.lines[:-LINES]

    def _go_on(self, phone: Phone, place: str) -> str:
        """Repair the document of a member whose state the changed bot does not have any more."""
        self._chat.channel = phone.channel
        try:
            found = self._chat.finish(self._chat.operate(partial(recover, member_id=self.member_id(phone))))
        except NotRecovered:
            return ""
        except VimbisoError as error:
            return str(error)
        now = f"{found.flow}.{found.step}" if found.flow else "no flow"
        return "" if now == place or not found.lines else f"{place} is gone, {phone.name} stands at {now}"

    def _answer(self, request: RunCall, run: Callable[[RunCall], object]) -> object:
        name = request.call.service
        if name in self._uncalled or name not in self.bot.services:
            return Unreachable("call.failed")
        try:
            return self._awaiting.of(run(request))
        except CallbackStopped:
            self.problem = self._late()
            return TimeoutError(self.problem)

    def _plant(self, document: Document) -> None:
        """Store the document of a live member, without what leads back to live systems: its token and its outbox."""
        phone = self._phone(document.channel)
        own = self._chat.bot.digests.guest_id(self._chat.bot.route(document.channel).address)
        member_id = own if document.guest else document.member_id
        token = None if document.jwt_token is None else NO_TOKEN
        planted = attrs.evolve(document, member_id=member_id, jwt_token=token, token=None, outbox=(), version=1)
        self._chat.plant(planted)
        wake, head = wake_at(planted), self._chat.stored(member_id).head
        self._chat.store.perform(SetWakeUp(member_id, head, None if wake is None else wake.timestamp()))
        run = document.run
        if run is not None:
            phone.titles.update({f"{run.fence}{each.choice}": each.title for each in run.shown})
            shown = tuple(Choice(f"{run.fence}{each.choice}", each.title) for each in run.shown)
            self._add(phone, "note", Bubble(f"Forked at {run.flow}.{run.step}.", shown))


class _Trying:
    """Notes an error of a verb as the problem of the simulation, in place of raising it."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    def __enter__(self) -> None:
        self._simulation.problem = ""

    def __exit__(self, _: object, error: BaseException | None, __: object) -> bool:
        if not isinstance(error, Exception):
            return False
        self._simulation.problem = self._simulation._told(error)
        return True


class _Process(Chat):
    """The operations of a process that sends the replies of every channel itself."""

    def __init__(self, bot: Bot, answer: Callable[[RunCall, Callable[[RunCall], object]], object]) -> None:
        super().__init__(bot)
        self._answer = answer
        self._sent = SentNotes()
        self.late: SlowCallback | None = None
        self._watched = Watched(WATCHDOG)
        self._watched.count = self._note
        self.delivers = True

    def _hold(self, begin: Callable[[Context], Operation[R]], cache: Cache | None, patience: float = 5.0) -> Held[R]:
        def sending(context: Context) -> Operation[R]:
            context.senders, context.sent = self.bot.validator.channel_types, self._sent
            return begin(context)

        with watching(self._watched):
            return super()._hold(sending, cache, patience)

    def step(self, operation: Held[Any]) -> None:
        """Perform the effect that an operation waits for, and give it the answer."""
        with watching(self._watched):
            super().step(operation)

    def operate(self, begin: Callable[[Context], Operation[R]]) -> Held[R]:
        """Begin an operation, up to its first effect."""
        return self._hold(begin, None)

    def _note(self, slow: SlowCallback) -> None:
        """Note a callback that takes long, in the thread of the watchdog, which then ends it before it reports that."""
        self.late = slow

    def run_call(self, request: RunCall) -> object:
        """Answer a call."""
        return self._answer(request, super().run_call)

    @property
    def wake_ups(self) -> Iterator[tuple[str, float]]:
        """The members for whom something will be due, each with the instant."""
        return iter([*self.store._due.items()])

    def let_know(self) -> None:
        """Let the store know what was sent."""
        for request, note in self._sent.requests(self.bot):
            self.store.perform(request)
            self._sent.done(request.member_id, note)

    def forget(self) -> None:
        """Lose what this process knows, as one that ends does."""
        self._sent = SentNotes()
