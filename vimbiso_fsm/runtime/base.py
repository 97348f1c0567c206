"""State shared by the sync and async managers: the bot, the clock, the cache, the observers and the log."""

from __future__ import annotations

import inspect
import logging
import random
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import attrs

from vimbiso_fsm.audit.entries import AuditEntry, Incident
from vimbiso_fsm.audit.flow_audit import CommitEvent, FlowAuditLogger, Observer
from vimbiso_fsm.audit.redaction import error_record
from vimbiso_fsm.channels.joining import joined
from vimbiso_fsm.document.ids import instant
from vimbiso_fsm.engine.events import CallReturned, turn_token
from vimbiso_fsm.engine.told import is_of_interest
from vimbiso_fsm.errors import (
    BotNotFound,
    FlowError,
    InvalidMessage,
    NotAnswered,
    ServiceError,
    TooManyMessages,
    VimbisoError,
)
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.rates import CHANNEL_PACES, Pace, Rates, check_paces
from vimbiso_fsm.messages.given import Given
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.replies import Text
from vimbiso_fsm.messages.sending import Answer, Later, Never, Sent, asked_wait
from vimbiso_fsm.messages.told import Fact, Paid, StatusChanged, Told
from vimbiso_fsm.operations.attend import Attended, look
from vimbiso_fsm.operations.cache import Cache
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.operations.effects import (
    Beginning,
    Deliver,
    NotMade,
    Operation,
    PassOn,
    RunCall,
    TakePlace,
    answered,
    fault_of,
    is_lease_over,
)
from vimbiso_fsm.operations.give import give
from vimbiso_fsm.operations.handle_event import EventOutcome, handle_event
from vimbiso_fsm.operations.sent_notes import SentNotes
from vimbiso_fsm.operations.wake import wake
from vimbiso_fsm.runtime import binding
from vimbiso_fsm.runtime.budget import Budget
from vimbiso_fsm.runtime.clock import Clock
from vimbiso_fsm.runtime.door import Door
from vimbiso_fsm.runtime.next_sends import NextSends
from vimbiso_fsm.runtime.services import DELIVERIES, REPLIES, Places, Raised, Services
from vimbiso_fsm.runtime.services import is_async as is_async_method
from vimbiso_fsm.runtime.watchdog import LOOKER, Watchdog, Watched
from vimbiso_fsm.store.requests import Effect, RecordIncident

if TYPE_CHECKING:
    from vimbiso_fsm.archive.procedures import Moved

_log = logging.getLogger("vimbiso_fsm")
R = TypeVar("R")

Begin: TypeAlias = Callable[[Context], Operation[R] | Beginning[R]]
"""Makes an operation from its context: a coroutine, or one that begins as straight code."""


def resolve_bot(flows: Bot | str) -> Bot:
    """Return the bot itself, or the one that a package exports as `bot`.

    Raises:
        BotNotFound: `flows` is no bot, and no package that exports one.
    """
    found: object = getattr(import_module(flows), "bot", None) if isinstance(flows, str) else flows
    if isinstance(found, ModuleType):  # a package whose module `bot` hides the value of that name
        found = getattr(found, "bot", None)
    if not isinstance(found, Bot):
        raise BotNotFound(repr(flows) if isinstance(flows, str) else f"a {type(flows).__name__}")
    return found


def delay(attempt: int) -> float:
    """Return the seconds to wait before attempt number `attempt` + 1: exponential, with jitter, at most 0.1."""
    return random.uniform(0, min(0.1, 0.002 * 2 ** min(attempt, 10)))  # noqa: S311  # jitter is no secret


class BaseManager:
    """State shared by the sync and async managers.

    Attributes:
        bot: The bot with its services.
        clock: The store's clock.
        cache: The latest documents of recent members.
        door: Refuses messages above the rates; None takes in each message.
        patience: Seconds for which an operation may lose races against other writers.
        call_wait: Seconds for which `handle` waits for its calls.
        deliver: The function that sends proactive replies, or None.
        reaches: Its method that tells whether it has a connection to a channel now; None if it needs none.
        imports: Whether the shell can read records of the previous release.
        debug: Whether the log shows the message and the traceback of an exception.
        audit: The observers.
        services: The places at the services.
        deliveries: The places of deliveries by a worker.
        replies: The places of replies that a member waits for.
        senders: The functions that send replies, by the type of the channel.
        awaited: The types of the channels whose senders are async.
        inboxes: The functions that take what passes to a person, by the name of the inbox.
        paces: The pace of deliveries by the type of the channel.
        sent: What they have sent, until the store knows it.
        watched: The note of this manager for the watchdog; None without one.
        observing: The note for its observers, which are reported and not ended.
        budget: The memory of the servers, as a worker of this manager watches it.
        next_sends: The members whose replies wait for a pace, for the workers of this manager; None without one.
        lagged: Is called with the seconds by which due work was late; None if nothing counts them.
    """

    bot: Bot
    clock: Clock
    cache: Cache
    imports: bool
    audit: FlowAuditLogger
    services: Services
    deliveries: Places
    watched: Watched | None
    observing: Watched | None

    def __init__(
        self,
        flows: Bot | str,
        services: Mapping[str, object] | None,
        observers: Sequence[Observer],
        cache: int,
        patience: float,
        call_wait: float,
        deliver: Callable[..., object] | None,
        senders: Mapping[str, Callable[..., object]] | None,
        inboxes: Mapping[str, Callable[..., object]] | None,
        legacy: object,
        rates: Rates | None,
        paces: Mapping[str, Pace] | None,
        watchdog: Watchdog | None,
        *,
        debug: bool,
        check_services: bool,
        is_async: bool,
    ) -> None:
        self.bot = resolve_bot(flows).with_services(services or {})
        if legacy is not None and self.bot.importer is None:
            raise FlowError(
                "", "legacy", "it is given, and the bot imports nothing", "give Bot(importer=Legacy(…)) too"
            )
        given: Sequence[object] = observers
        for observer in given:
            if not callable(observer):
                fault = f"one is a {type(observer).__name__}"
                raise FlowError("", "observers", fault, "give functions that take a CommitEvent")
        binding.check_delivery(deliver, is_async=is_async)
        self.senders = {**(senders or {})}
        self.paces = CHANNEL_PACES if paces is None else {**paces}
        check_paces(paces or {}, self.bot.validator.channel_types)
        binding.check_senders(self.senders, self.bot.validator.channel_types, is_async=is_async)
        self._keywords = {name: binding.delivery_keywords(sender) for name, sender in self.senders.items()}
        self.awaited = frozenset(name for name, sender in self.senders.items() if is_async_method(sender))
        self.inboxes = {**(inboxes or {})}
        binding.check_inboxes(self.inboxes, self.bot.inbox_names, is_async=is_async)
        if check_services:
            binding.check_services(self.bot, is_async=is_async)
        self.clock = Clock()
        self.cache = Cache(cache)
        self.door = None if rates is None else Door(rates, time.monotonic)
        self.patience = patience
        self.call_wait = call_wait
        self.deliver = deliver
        self.reaches: Callable[[Channel], bool] | None = getattr(deliver, "reaches", None)
        self.sent = SentNotes()
        self.imports = legacy is not None
        self.debug = debug
        self.audit = FlowAuditLogger(observers, self._observer_failed)
        self.budget = Budget()
        self.next_sends: NextSends | None = None
        self.lagged: Callable[[float], None] | None = None
        self.recorded: Callable[[str], None] | None = None
        self.services = Services(self.bot.service_limits, self.clock.now)
        self.deliveries, self.replies = Places(DELIVERIES), Places(REPLIES)
        self.watched = LOOKER.watch(watchdog)
        self._own_key = secrets.token_bytes(32)
        self.observing = Watched(attrs.evolve(watchdog, stop=None)) if watchdog is not None and observers else None

    def moving(self, member_id: str, *, archives: bool) -> Effect[Moved]:
        """Return the request that moves audit entries of a member to the archive.

        Raises:
            FlowError: The manager has no archive.
        """
        if not archives:
            raise FlowError("", "archive", "the manager was given none", "give it archive=, as a folder or a URL")
        from vimbiso_fsm.archive.procedures import MoveToArchive  # only managers with an archive load it

        return MoveToArchive(member_id)

    def check(self, message: Message) -> None:
        """Check a message.

        Raises:
            InvalidMessage: It is no `Message`, or the bot does not know the type of its channel.
        """
        if not isinstance(message, Message):
            raise InvalidMessage("", f"handle() takes a Message, not a {type(message).__name__}")
        if message.channel.type not in self.bot.validator.channel_types:
            raise InvalidMessage("channel type", f"{message.channel.type!r} is not known; name it in Bot(channels=…)")

    def taking(self, event: Told) -> tuple[Begin[EventOutcome], str] | EventOutcome:
        """Return the operation that takes a fact in, and the id by which it waits in a queue.

        A fact that can lead to nothing is ignored here, so that the store is not asked. One that the member causes
        counts as a message of its address.

        Raises:
            InvalidMessage: It is no fact, or the bot does not know the type of its channel.
            TooManyMessages: It is above the rate of its address.
        """
        if not isinstance(event, Fact):
            raise InvalidMessage("", f"handle_event() takes a fact of a delivery, not a {type(event).__name__}")
        channel = event.channel
        if channel is not None and channel.type not in self.bot.validator.channel_types:
            raise InvalidMessage("channel type", f"{channel.type!r} is not known; name it in Bot(channels=…)")
        if not is_of_interest(self.bot, event):
            return EventOutcome("ignored", reason="no reaction")
        if channel is None:
            return EventOutcome("ignored", reason="unknown member")
        address = self.bot.route(channel).address
        member_id = self.cache.member(address)
        if self.door is not None and not isinstance(event, StatusChanged | Paid):
            self.door.enter(address, cached=member_id is not None)
        begin = partial(handle_event, event=event, delivers=self.deliver is not None)
        return begin, member_id or self.bot.digests.guest_id(address)

    def id_of(self, member: str | Channel) -> str:
        """Return the id of a member to whom another system gives something; that of an address, as far as is known.

        Raises:
            InvalidMessage: It is neither, or the bot does not know the type of the channel.
        """
        if isinstance(member, str):
            return member
        if not isinstance(member, Channel):
            raise InvalidMessage("member", f"must be an id or a Channel, not a {type(member).__name__}")
        if member.type not in self.bot.validator.channel_types:
            raise InvalidMessage("channel type", f"{member.type!r} is not known; name it in Bot(channels=…)")
        address = self.bot.route(member).address
        return self.cache.member(address) or self.bot.digests.guest_id(address)

    def giving(self, given: Given, member: str | Channel) -> Begin[EventOutcome]:
        """Return the operation that gives something of another system to a member."""
        channel = member if isinstance(member, Channel) else None
        return partial(give, given=given, delivers=self.deliver is not None, channel=channel)

    def context(self, waited: float = 0.0) -> Context:
        """Return the context of an operation that has waited in a queue for `waited` seconds."""
        context = Context(self.bot, self.cache, self.clock.now(), patience=self.patience, waited=waited)
        context.clock = self.clock
        context.door = self.door
        context.senders, context.sent, context.inboxes = self.senders, self.sent, self.inboxes
        context.paces, context.reaches = self.paces, self.reaches
        if self.next_sends is not None:
            context.note_next = self.next_sends.note
        return context

    def clock_incident(self) -> RecordIncident:
        """Log that the store's clock and that of the process differ, and return the request that records it."""
        clock = self.clock
        seconds, clock.unreported = round(clock.unreported), 0.0
        returned = clock.agrees()
        _log.warning("the store's clock %s %+d s ahead of this process's", "was" if returned else "is", seconds)
        detail = {"seconds_ahead": seconds, "returned": returned}
        return RecordIncident(None, Incident(instant(clock.now()), "clock", detail=detail).body)

    def note_incident(self, request: RecordIncident) -> None:
        """Tell whoever counts them the kind of an incident that was recorded."""
        if self.recorded is not None:
            self.recorded(Incident.read(request.body).kind)

    def wake(self, member_id: str, answer: CallReturned | None = None) -> Begin[tuple[AuditEntry, ...]]:
        """Return the operation that wakes a member. `answer`: the late result of a call, which is stored first."""
        return partial(wake, member_id=member_id, delivers=self.deliver is not None, answer=answer)

    def looking(self, channel: Channel, *, asks: bool) -> Begin[Attended]:
        """Return the operation that looks what is due at the member on a channel.

        Raises:
            InvalidMessage: The bot does not know the type of the channel.
        """
        if channel.type not in self.bot.validator.channel_types:
            raise InvalidMessage("channel type", f"{channel.type!r} is not known; name it in Bot(channels=…)")
        return partial(look, channel=channel, asks=asks)

    def enter(self, message: Message) -> tuple[Channel, str]:
        """Take a message in. Return its channel as the bot tells it from others, and the id of its queue.

        The id is the member's, or the guest's if no member is cached.

        Raises:
            TooManyMessages: The message is above the rate of its address.
        """
        place = self.bot.route(message.channel)
        address = place.address
        member_id = self.cache.member(address)
        if self.door is not None:
            self.door.enter(address, cached=member_id is not None)
        return place, member_id or self.bot.digests.guest_id(address)

    def report(self, context: Context) -> None:
        """Report to the observers and the log what an operation has stored, also if it has ended in an exception."""
        for reference, error in context.errors:
            self._log_error("a callback or call failed: %s", error, reference)
        if context.lag is not None and self.lagged is not None:
            self.lagged(context.lag)
        for entry, attempts, digest in context.stored:
            if entry.kind == "recovery":
                facts = {"reference": entry.token[:10], "version": entry.version, **entry.detail}
                _log.warning("a member was recovered: %s", facts)
            if self.audit.is_observed:
                self.audit.tell(CommitEvent(entry, attempts, digest))

    def reference(self, message: Message) -> str:
        """Return the reference of a message, which the audit has too.

        Before the store has told the key of tokens, it is made with a random key: without one, it would tell the
        sender.
        """
        return turn_token(message, self.bot.digests.token_key or self._own_key)[:10]

    def not_answered(self, message: Message, error: NotAnswered) -> None:
        """Complete an error with the reply for the member and with the reference of the message, and log it.

        The audit has the same reference once the message has been handled again, if the store has told its keys.
        """
        error.reference = self.reference(message)
        if isinstance(error, TooManyMessages):
            if not error.told:
                _log.warning("messages are not taken: %s", error_record(error, error.reference))
            if not error.reply_key:
                return
        else:
            _log.error("a message was not answered: %s", error_record(error, error.reference))
        channel, place = message.channel, self.bot.route(message.channel)
        known = self.cache.document(self.cache.member(place.address) or self.bot.digests.guest_id(place))
        language = self.bot.language(known.document.profile if known else {}, channel)
        error.reply = self.bot.catalogue.say(Text(error.reply_key, reference=error.reference), language).text

    def may_begin(self, step: RunCall) -> bool:
        """Return whether a further attempt at a call may begin. After the lease another worker may make it."""
        return not is_lease_over(step, self.clock.now())

    def places(self, step: TakePlace) -> Places:
        """Return the places of a service, or of deliveries."""
        return self.deliveries if step.call is None else self.services.at(step.call.service)

    def busy(self, step: RunCall) -> NotMade:
        """Return the answer of a call that is not made because there is no place at its service."""
        return NotMade(ServiceError(step.call.service, "it takes no call now", "see ServiceLimits"))

    @property
    def any_sender(self) -> Callable[..., object] | None:
        """The function for proactive replies, or one of the senders; None without any."""
        return self.deliver or next(iter(self.senders.values()), None)

    def sending(self, step: Deliver | PassOn) -> tuple[partial[object], Places]:
        """Return the function that sends replies, ready to be called, and the places at which it is called."""
        if isinstance(step, PassOn):
            return partial(self.inboxes[step.passed.inbox], step.passed), self.deliveries
        type, replies = step.channel.type, step.replies
        sender = self.senders.get(type)
        if sender is not None and len(replies) > 1:
            replies = joined(replies, type)
        function = self.deliver if sender is None else sender
        assert function is not None
        keywords = self._keywords.get(type)
        if keywords is not None and not keywords:
            delivery = partial(function, step.channel, replies)
        else:
            delivery = binding.bind_delivery(function, step, replies, keywords)
        return delivery, self.replies if step.is_reply else self.deliveries

    def sent_answer(self, step: Deliver | PassOn, result: object) -> Answer | BaseException:
        """Return the answer of a channel by what the function that sends has returned or raised.

        A function for proactive replies alone may return anything. What a sender returns besides its answers is
        reported, and the outcome is unknown.
        """
        if isinstance(result, Sent | Later | Never):
            return result
        if isinstance(result, Raised):
            return asked_wait(result.error) or result.error
        if inspect.iscoroutine(result):
            result.close()
            return ServiceError("deliver", "it is async", "use AsyncFlowStateManager, or give one without await")
        if isinstance(step, PassOn):
            name = f"inboxes[{step.passed.inbox!r}]"
        elif step.channel.type not in self.senders:
            return Sent()
        else:
            name = f"senders[{step.channel.type!r}]"
        return ServiceError(name, f"it has answered a {type(result).__name__}", "answer with Sent, Later or Never")

    def sending_busy(self, step: Deliver | PassOn, places: Places) -> Answer:
        """Log that replies are not sent because there is no thread for it, and return the answer: later."""
        fault = f"no thread is free; {places.limits.threads} may be in deliveries that have not ended"
        error = ServiceError("deliver", fault, "let it end in time, for example by a timeout of its requests")
        self._log_error("replies were not sent: %s", error, step.key[:10])
        return Later()

    def owner_unknown(self, error: VimbisoError) -> None:
        """Log that the store did not say whose it is. It is asked again later, and what is done meanwhile goes on."""
        _log.error("the owner of the store was not read: %s", error_record(error, ""))

    def late_result_lost(self, error: VimbisoError) -> None:
        """Log that the late result of a call was not stored. The call is made again when its lease has expired."""
        _log.error("the answer of a call was not stored, it is asked for again later: %s", error_record(error, ""))

    def late_answer(self, step: RunCall, result: object) -> CallReturned:
        """Return the event of a call that took longer than `handle` waited, and log its exception."""
        error = fault_of(result)
        if error is not None:
            self._log_error("a callback or call failed: %s", error, step.pending.root[:10])
        return answered(step, result)

    def _observer_failed(self, observer: str, error: BaseException) -> None:
        self._log_error(f"observer {observer} failed: %s", error)

    def _log_error(self, words: str, error: BaseException, reference: str = "") -> None:
        """Log an exception of an author's code as the audit shows it, with `debug` also its message and traceback."""
        _log.error(words, error_record(error, reference), exc_info=error if self.debug else None)
