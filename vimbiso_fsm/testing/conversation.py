"""A conversation to hold in a test: one member, a store in memory, and the clock in the test's hand.

    talk = Conversation(bot, "whatsapp:263771000001")
    talk.say("hi", "offer", "10 USD", "alan")
    assert talk.place == "offer.confirm"
    talk.press("Yes, offer it").again()

Each verb acts at once and returns the conversation. Between two turns the document is written out and read back, and
each turn is that of a worker that knows only the store. An exception of the bot's own code is raised where it happens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import Any, Final, Self

import attrs

from vimbiso_fsm.audit.entries import AuditEntry, unseal
from vimbiso_fsm.document.document import Document, Member, first_document
from vimbiso_fsm.document.ids import instant
from vimbiso_fsm.document.typed_data import structure, unstructure
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.calls import service_of
from vimbiso_fsm.flow.flow import AnyFlow, Flow
from vimbiso_fsm.messages.contents import Content
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.replies import Reply
from vimbiso_fsm.operations.effects import Deliver, RunCall
from vimbiso_fsm.operations.handle import Outcome
from vimbiso_fsm.runtime.base import resolve_bot
from vimbiso_fsm.store.requests import Commit, FindOwner, Head
from vimbiso_fsm.testing.awaiting import Awaiting
from vimbiso_fsm.testing.chat import Chat, Held, choices, words
from vimbiso_fsm.testing.copies import copy_of
from vimbiso_fsm.testing.transcript import Transcript

MEMBER: Final = "whatsapp:263771234567"
"""The channel of the member, unless a test names another."""
AGAIN: Final = "delivered again"
"""The note of a message that is delivered again."""
DIED: Final = "the worker dies after the commit"
"""The note of a worker that dies."""
LOST: Final = "the reply to the commit is lost"
"""The note of a commit whose outcome is unknown."""
_DUE_AT_ONCE: Final = 1000
"""Wake-ups within one wait; more of them are a timer without an end."""


@attrs.frozen
class Called:
    """A call that a service has received.

    Attributes:
        service: The name of the service.
        method: The name of the method.
        arguments: The arguments by name.
        key: The idempotency key.
        answer: What the method returned, or the exception that it raised.
        effect: Whether it may change something, by the policy of its state.
    """

    service: str
    method: str
    arguments: Mapping[str, object]
    key: str = attrs.field(repr=False)
    answer: object
    effect: bool = True


class Conversation:
    """A conversation of a member with a bot.

    Attributes:
        bot: The bot, with the services of the conversation.
        services: The services by name: copies of those of the bot, and the ones that the test has given. A service
            with an attribute `clock` has the clock of the conversation.
        channel: The channel of the next message.
        calls: The calls that services have received, in order.
        outcome: The outcome of the latest message; None before the first.
    """

    def __init__(
        self,
        bot: Bot | AnyFlow | str,
        who: str | Channel = MEMBER,
        *,
        member: Member[Any] | None = None,
        services: Mapping[str, object] | None = None,
        at: datetime | None = None,
    ) -> None:
        """Begin a conversation that nothing was said in.

        Args:
            bot: The bot, a flow that is to be its only one, or the name of a package that exports `bot`.
            who: The channel of the member, as "type:identifier".
            member: The member to whom the channel leads; a guest without it.
            services: Services in place of those of the bot, by name. They are used as they are given.
            at: The instant at which the conversation begins, with a time zone; the morning of 22 November 2026 in UTC
                without it.
        """
        resolved = Bot([bot]) if isinstance(bot, Flow) else resolve_bot(bot)
        own = {name: each for name, each in resolved.services.items() if name not in (services or {})}
        self.services: dict[str, object] = {**copy_of(own).services(), **(services or {})}
        self.calls: list[Called] = []
        self.channel = channel_of(who)
        self._chat = _Chat(resolved.with_services(self.services), self)
        if at is not None:
            self._chat.clock.at = at.timestamp()
        self._answers: dict[tuple[str, str], list[object]] = {}
        self._awaiting = Awaiting()
        self._latest: Message | None = None
        self._dies = False
        self._replies: tuple[Reply, ...] = ()
        self._heard_since = 0
        self._transcript = Transcript()
        self._transcript.turn_to(self.channel)
        if member is not None:
            self._plant(member)

    # Verbs ------------------------------------------------------------------------------------------------------------

    def say(self, *texts: str) -> Self:
        """Type one or more messages."""
        for text in texts:
            self._take(self._message(text=text), text)
        return self

    def press(self, *titles: str) -> Self:
        """Press the button or row with a title, and so for each of several titles.

        Raises:
            AssertionError: The latest replies show no such choice.
        """
        for title in titles:
            shown = self.shown
            if title not in shown:
                near = get_close_matches(title, shown, 1)
                asked = (
                    f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(map(repr, shown)) or 'none'}"
                )
                raise AssertionError(f"{title!r} is not among the choices{asked}\n\n{self.transcript}")
            self._take(self._message(choice=shown[title]), f"[{title}]")
        return self

    def send(self, text: str | None = None, *, content: Content | None = None, **fields: Any) -> Self:
        """Send a message with any fields of `Message`: `send(kind="image")`, `send(content=Location(…))`.

        Args:
            text: The text, or the caption of the content.
            content: What the message carries beside its words.
            **fields: Further fields of `Message`.
        """
        message = self._message(text=text, content=content, **fields)
        said = message.text or message.choice or ""
        return self._take(message, said if message.kind == "text" else f"({message.kind}) {said}".rstrip())

    def again(self) -> Self:
        """Let the channel deliver the latest message again. The replies are the same, and no service is called.

        Raises:
            AssertionError: Nothing was said yet.
        """
        assert self._latest is not None, "nothing was said yet that could be delivered again"
        return self._take(self._latest, "", note=AGAIN)

    def wait(self, seconds: float = 0.0, *, minutes: float = 0.0, hours: float = 0.0, days: float = 0.0) -> Self:
        """Let time pass, and let a worker do what is due meanwhile: timers, the end of the session, reminders.

        Without a span, time passes until a worker has something to do, and not at all if it never will.
        """
        span = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds).total_seconds()
        clock, self._heard_since = self._chat.clock, len(self._chat.delivered)
        if span:
            until = clock.at + span
            self._transcript.note(f"{round(span)} seconds pass")
            self._wake_until(until)
            clock.at = max(clock.at, until)
        else:
            self._wake_next()
        delivered = [reply for delivery in self._delivered() for reply in delivery.replies]
        self._replies = tuple(delivered) or self._replies
        self._transcript.heard(words(delivered))
        self._show_place()
        return self

    def on(self, who: str | Channel) -> Self:
        """Write from another channel from here on: `on("telegram:77")`. It is another member, unless it is linked."""
        self.channel, self._replies = channel_of(who), ()
        self._transcript.turn_to(self.channel)
        return self

    def answers(self, method: Callable[..., object], *answers: object) -> Self:
        """Name the next answers of a method, in place of what the service would answer.

        Args:
            method: The method, as its port declares it: `CredexCore.create_credex`.
            *answers: What the method returns, in order. An exception is raised, and a `Refused` is a reason not to go
                on.
        """
        self._answers.setdefault(service_of(method), []).extend(answers)
        return self

    def dies(self) -> Self:
        """Let the worker of the next message die after it has stored the turn, before it makes a call or replies.

        The channel then delivers the message again, to another worker, when the lease of the first one is over.
        """
        self._dies = True
        self._transcript.note(DIED)
        return self

    def loses(self) -> Self:
        """Let the reply of the store to the commit of the next message be lost, so that its outcome is unknown.

        The process gives the message up, and the channel delivers it again.
        """
        self._dies = True
        self._transcript.note(LOST)
        return self

    def deploy(self, bot: Bot | AnyFlow | str) -> Self:
        """Go on with another release of the bot, on the same store and with the same services."""
        resolved = Bot([bot]) if isinstance(bot, Flow) else resolve_bot(bot)
        self._chat.bot = resolved.with_services(self.services)
        self._transcript.note("another release")
        return self

    def play(self, script: str) -> Self:
        """Do what the lines of a transcript say: `> text`, `> [title]`, `@ channel`, `* 60 seconds pass`.

        The notes of `again`, `dies` and `loses` have their effect again. Other lines, such as replies and places, are
        passed over, so that a transcript is a script.
        """
        for line in script.splitlines():
            mark, _, rest = line.partition(" ")
            if mark == "@":
                if channel_of(rest) != self.channel:
                    self.on(rest)
            elif mark == "*" and rest.endswith(" seconds pass"):
                self.wait(float(rest.split()[0]))
            elif mark == "*" and rest in (AGAIN, DIED, LOST):
                {AGAIN: self.again, DIED: self.dies, LOST: self.loses}[rest]()
            elif mark == ">" and rest.startswith("[") and rest.endswith("]"):
                self.press(rest[1:-1])
            elif mark == ">":
                self.say(rest)
        return self

    def check(self) -> Self:
        """Check what is stored: a valid document, a whole audit that ends with it, and the wake-up of what is due.

        Raises:
            AssertionError: A rule does not hold.
        """
        self._chat.check()
        return self

    # What there is to see ---------------------------------------------------------------------------------------------

    @property
    def bot(self) -> Bot:
        """The bot."""
        return self._chat.bot

    @property
    def outcome(self) -> Outcome | None:
        """The outcome of the latest message; None before the first."""
        return self._chat.outcome

    @property
    def replies(self) -> tuple[Reply, ...]:
        """The latest replies, also those that answer no message."""
        return self._replies

    @property
    def said(self) -> str:
        """The words of the replies to the latest message, one reply a line."""
        return "\n".join(words(self.outcome.replies)) if self.outcome is not None else ""

    @property
    def heard(self) -> str:
        """The words that the latest verb has led to without being asked for, as of timers and the session's end."""
        return "\n".join(text for delivery in self._delivered() for text in words(delivery.replies))

    @property
    def shown(self) -> dict[str, str]:
        """The choices of the latest replies: the id on the wire by title."""
        return choices(*self._replies)

    @property
    def status(self) -> str:
        """The status of the latest outcome: "advanced", "refused", "duplicate", "ignored", "recovered" or "failed"."""
        return self.outcome.status if self.outcome is not None else ""

    @property
    def state(self) -> Document:
        """The document of the member, read anew from the store.

        Raises:
            AssertionError: Nothing is stored of the member.
        """
        return self._chat.document(self.member_id)

    @property
    def member_id(self) -> str:
        """The id of the member or guest on the channel."""
        chat = self._chat
        place = chat.bot.route(self.channel)
        return chat.store.perform(FindOwner(place)).member_id or chat.bot.digests.guest_id(place)

    @property
    def place(self) -> str:
        """The state in which the member stands, as "flow.state"; empty without a flow."""
        run = self.state.run if self._is_stored() else None
        return f"{run.flow}.{run.step}" if run else ""

    @property
    def data(self) -> Any:
        """The data of the open run, as an object of the flow's class; None without a flow."""
        run = self.state.run
        return structure(run.fields, self.bot.definition(run).data) if run else None

    @property
    def entries(self) -> list[AuditEntry]:
        """The audit entries of the member, oldest first."""
        return [unseal(entry) for entry in self._chat.entries(self.member_id)]

    @property
    def now(self) -> datetime:
        """The instant that the clock shows, in UTC."""
        return instant(self._chat.clock.at)

    @property
    def transcript(self) -> str:
        """What was said so far, as a script that `play` takes."""
        return str(self._transcript)

    def __repr__(self) -> str:
        return f"<Conversation at {self.place or 'no flow'}, {len(self._transcript)} messages>"

    # How it is done ---------------------------------------------------------------------------------------------------

    def _message(self, **fields: Any) -> Message:
        return Message(self.channel, self._chat.next_id(), **fields)

    def _delivered(self) -> list[Deliver]:
        return self._chat.delivered[self._heard_since :]

    def _is_stored(self) -> bool:
        return self._chat.stored(self.member_id).document is not None

    def _take(self, message: Message, said: str, note: str = "") -> Self:
        self._latest, self._heard_since = message, len(self._chat.delivered)
        before = len(self.calls)
        self._transcript.note(note) if note else self._transcript.said(said)
        if self._dies:
            self._dies = False
            self._die_in(message)
        operation = self._chat.end(self._chat.begin(message))
        self._chat.outcome = operation.outcome
        self._raise_errors(operation)
        assert operation.outcome is not None
        answered = operation.outcome.replies
        self._replies = (*answered, *(reply for delivery in self._delivered() for reply in delivery.replies))
        self._transcript.heard(self.heard.splitlines())
        self._transcript.replied(answered)
        self._show_place()
        self._transcript.called((each.method, each.key) for each in self.calls[before:])
        return self

    def _die_in(self, message: Message) -> None:
        """Handle a message up to its first commit, and let the time of the worker's lease pass."""
        operation = self._chat.begin(message)
        while operation.request is not None:
            is_commit = isinstance(operation.request, Commit)
            self._chat.step(operation)
            if is_commit:
                break
        state = self.state
        if state.call is not None:
            self._wake_until(state.call.leased_until.timestamp() + 1)

    def _next_due(self) -> tuple[float, str]:
        """Return the instant of the next wake-up, not before now, and its member; now and "" without one."""
        now = self._chat.clock.at
        due = [(max(at, now), member_id) for member_id, at in self._chat.store._due.items()]
        return min(due, default=(now, ""))

    def _wake_until(self, until: float) -> None:
        for _ in range(_DUE_AT_ONCE):
            at, member_id = self._next_due()
            if not member_id or at > until:
                return
            self._chat.clock.at = at
            self._raise_errors(self._chat.wake(member_id))
        raise AssertionError(f"{_DUE_AT_ONCE} wake-ups, and another one is due\n\n{self.transcript}")

    def _wake_next(self) -> None:
        """Wake at the next instant at which that changes something: a wake-up may be of what has been done since."""
        clock, heads = self._chat.clock, self._heads()
        began, at = clock.at, clock.at
        try:
            while heads == self._heads():
                at, member_id = self._next_due()
                if not member_id:
                    at = began
                    break
                self._wake_until(at)
        finally:
            clock.at = at
            self._transcript.note(f"{round(at - began)} seconds pass")

    def _heads(self) -> list[Head]:
        return [member.head for member in self._chat.store._members.values()]

    def _raise_errors(self, operation: Held[Any]) -> None:
        """Raise the exception of a callback. That of a call is an answer."""
        answers = [each.answer for each in self.calls]
        for _, error in operation.errors:
            if not any(error is answer for answer in answers):
                error.add_note(f"In this conversation:\n\n{self.transcript}")
                raise error

    def _show_place(self) -> None:
        run = self.state.run if self._is_stored() else None
        self._transcript.stands(self.bot, run)

    def call(self, request: RunCall, run: Callable[[RunCall], object]) -> object:
        """Answer a call: with the next answer that the test has named for it, otherwise with that of the service."""
        call = request.call
        named = self._answers.get((call.service, call.method))
        answer = named.pop(0) if named else self._awaiting.of(run(request))
        self.calls.append(
            Called(
                call.service, call.method, dict(call.arguments), request.caller.key, answer, request.policy.effect
            )
        )  # fmt: skip
        return answer

    def _plant(self, member: Member[Any]) -> None:
        place = self.bot.route(self.channel)
        document = first_document(member.id, self.channel, self.now, place.address)
        self._chat.plant(
            attrs.evolve(
                document, guest=member.guest, authenticated=member.authenticated, jwt_token=member.jwt_token,
                profile=unstructure(member.stored_profile), current_account=member.current_account, version=1,
            )
        )  # fmt: skip


class _Chat(Chat):
    """The operations of a conversation, which answers their calls."""

    def __init__(self, bot: Bot, of: Conversation) -> None:
        super().__init__(bot, channel=of.channel)
        self._of = of
        self.delivers = True

    def run_call(self, request: RunCall) -> object:
        """Answer a call, with what the test has named or with what the service answers."""
        return self._of.call(request, super().run_call)


def channel_of(who: str | Channel) -> Channel:
    """Return the channel that is written as "type:identifier".

    Raises:
        ValueError: The text names none.
    """
    if isinstance(who, Channel):
        return who
    channel_type, colon, identifier = who.partition(":")
    if not colon:
        raise ValueError(f"{who!r} names no channel; give 'type:identifier', such as {MEMBER!r}")
    return Channel(channel_type, identifier)
