"""The managers, sync and async: shells with a store, a clock and services around pure operations.

A manager waits for the member's place in the queue, performs each effect of the operation, makes its calls, sends its
deliveries, and reports to the observers. It decides nothing. The docstrings of the async manager refer to those of the
sync one.
"""

from __future__ import annotations

import inspect
import logging
import secrets
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from contextlib import AsyncExitStack, ExitStack, suppress
from functools import partial
from os import PathLike
from threading import get_ident
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, TypeVar, Unpack, cast

from vimbiso_fsm.archive.keeping import Archiving
from vimbiso_fsm.audit.entries import AuditEntry, Incident
from vimbiso_fsm.audit.flow_audit import Observer
from vimbiso_fsm.document.document import Document
from vimbiso_fsm.encryption.settings import Encryption
from vimbiso_fsm.errors import (
    AnotherBotsStore,
    CallbackTimedOut,
    MissingSecret,
    NotAnswered,
    ServiceError,
    UnknownLayout,
    Unreadable,
    VimbisoError,
)
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.flow import AnyFlow
from vimbiso_fsm.flow.interrupts import CallbackStopped
from vimbiso_fsm.flow.rates import DEFAULT_RATES, Pace, Rates
from vimbiso_fsm.messages.given import Given, HandedBack, HandedOver
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.replies import Reply, Said
from vimbiso_fsm.messages.sending import Answer
from vimbiso_fsm.messages.told import Told
from vimbiso_fsm.operations.claim import claim
from vimbiso_fsm.operations.effects import (
    DELIVERY,
    LEASE_OVER,
    STILL_RUNNING,
    AsyncLegacyReader,
    Deliver,
    LegacyReader,
    NotMade,
    PassOn,
    Pause,
    ReadLegacy,
    RunCall,
    StandBack,
    TakePlace,
    is_lease_over,
    run,
    run_awaited,
)
from vimbiso_fsm.operations.erase import Erasure, erase
from vimbiso_fsm.operations.export import Exported, export
from vimbiso_fsm.operations.handle import Handling, Outcome
from vimbiso_fsm.operations.handle_event import EventOutcome
from vimbiso_fsm.operations.history import Filters, read_history, read_incidents
from vimbiso_fsm.operations.link import Linking, Merging, link, merge, unlink
from vimbiso_fsm.operations.recover import Recovery, recover
from vimbiso_fsm.operations.reset import Reset, reset
from vimbiso_fsm.operations.sending import told
from vimbiso_fsm.operations.shared import find_owner
from vimbiso_fsm.operations.update import Change, read, save, update
from vimbiso_fsm.operations.wipe import Wiped, wipe
from vimbiso_fsm.runtime.arguments import checked
from vimbiso_fsm.runtime.base import BaseManager, Begin, delay
from vimbiso_fsm.runtime.binding import bind
from vimbiso_fsm.runtime.giving import flow_opened, person_said, trigger_pulled, words_given
from vimbiso_fsm.runtime.queue import AsyncMemberLock, AsyncQueue, MemberLock, Queue
from vimbiso_fsm.runtime.sending import AsyncRecorder, AsyncSender, AsyncTakesPassedOn, Recorder, Sender, TakesPassedOn
from vimbiso_fsm.runtime.services import (
    DELIVERY_TIMEOUT,
    Place,
    attempt,
    attempt_awaited,
    is_async,
    result_of,
    take,
    take_awaited,
    with_retries,
    with_retries_async,
)
from vimbiso_fsm.runtime.startup import OWNER_KNOWN, StartupCheck
from vimbiso_fsm.runtime.watchdog import LOOKER, NO_STRETCH, RUNNING, Watchdog, settle
from vimbiso_fsm.store.doctor import Durability
from vimbiso_fsm.store.index import Secret
from vimbiso_fsm.store.requests import (
    AsyncStore,
    Effect,
    Load,
    MarkSent,
    Quarantined,
    ReadDigests,
    ReadQuarantine,
    RecordIncident,
    Request,
    Store,
)

if TYPE_CHECKING:
    import asyncio  # not at run time: `import vimbiso_fsm` does not load it

    from vimbiso_fsm.archive.procedures import Moved
    from vimbiso_fsm.archive.store import AsyncArchivedStore
    from vimbiso_fsm.encryption.store import AsyncEncryptedStore

_log = logging.getLogger("vimbiso_fsm")
R = TypeVar("R")

CONFLICT_TIMEOUT: Final = 5.0
"""Seconds for which a message waits for earlier ones of its member, and then may lose races, before `Contended`."""
CALL_WAIT: Final = 10.0
"""Seconds for which `handle` waits for its calls. Then it replies that the call is being worked on."""
HOLD: Final = 0.4
"""The part of the patience for which a call keeps the member's lock.

A message that arrives meanwhile waits, and is decided on the result of the call. One that has waited longer is answered
with the notice that the call is being worked on.
"""
DEFAULT_WATCHDOG: Final = Watchdog()
"""The bounds of the time that callbacks may take, unless a manager is given others."""
AT_ONCE: Final = 500
"""The number of messages that an async manager handles at the same time, without those that wait for a call or a
delivery."""
OTHERS_AT_ONCE: Final = 32
"""The number of them that are of members whose documents are not cached, besides those that are: a flood of unknown
senders delays nobody whom the process remembers."""

_BY_SHELL: Final = (RunCall, Deliver, PassOn, TakePlace, StandBack, Pause, ReadLegacy)
"""The effects that are no request to the store."""
_OUTSIDE: Final = (RunCall, Deliver, PassOn, TakePlace, StandBack)
"""Effects whose duration is not counted as waiting. During a long call and a delivery, other messages of the member may
be handled."""


class Delivery(Protocol):
    """A function that sends proactive replies: of timers, session expiry and late results.

    A delivery that raises is tried again later. It may answer as a `Sender` does; anything else that it returns counts
    as sent. The account of the bot to send from is `channel.account`. A parameter
    `account` of the function is filled with it too, and a parameter `key` with a text that is the same in each attempt
    to send the same replies, for channels that recognise repeats.
    """

    def __call__(self, channel: Channel, replies: Sequence[Reply], /) -> Answer | None:
        """Send the replies."""
        ...


class AsyncDelivery(Protocol):
    """An async function that sends proactive replies. See `Delivery`."""

    def __call__(self, channel: Channel, replies: Sequence[Reply], /) -> Awaitable[Answer | None]:
        """Send the replies."""
        ...


class FlowStateManager:
    """Handles messages on a store. Each message takes effect once.

    A manager can be shared between threads. It is a context manager.

    Attributes:
        archives: Whether the manager was given an archive.
    """

    archives: bool

    def __init__(
        self,
        flows: Bot | str,
        store: Store,
        *,
        services: Mapping[str, object] | None = None,
        observers: Sequence[Observer] = (),
        cache: int = 10_000,
        patience: float = CONFLICT_TIMEOUT,
        call_wait: float = CALL_WAIT,
        deliver: Delivery | None = None,
        senders: Mapping[str, Sender] | None = None,
        inboxes: Mapping[str, TakesPassedOn] | None = None,
        legacy: LegacyReader | None = None,
        rates: Rates | None = DEFAULT_RATES,
        paces: Mapping[str, Pace] | None = None,
        watchdog: Watchdog | None = DEFAULT_WATCHDOG,
        debug: bool = False,
        check_services: bool = True,
        encryption: Encryption | None = None,
        archive: Archiving | str | None = None,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        """Make a manager.

        Args:
            flows: A bot, or the name of a package that exports one as `bot`.
            store: The store.
            services: Services by name; they replace the bot's.
            observers: Functions that are called with each stored commit.
            cache: The number of recent members, and of recent guests, that are cached in the process; 0 for none.
            patience: Seconds for which an operation may lose races against other writers.
            call_wait: Seconds for which `handle` waits for its calls.
            deliver: Sends proactive replies. Without it they precede the reply to the member's next message.
            senders: Functions by type of channel that send every reply to its members: `handle` calls them. Without
                one, the caller of `handle` sends what it returns.
            inboxes: Functions by name of an inbox of the bot that take what passes to a person. What passes to other
                inboxes waits for a manager or worker that has them.
            legacy: Reads the records of the previous release for the bot's importer.
            rates: The rates at which messages are taken in, counted by this manager alone; None takes in each message.
            paces: The paces of deliveries by a worker, by type of channel; by default those of `CHANNEL_PACES`. Give
                the same ones to each manager and worker of a store. A type that is left out has none.
            watchdog: The bounds of the time that a callback may take; None for none.
            debug: Whether the log shows the message and the traceback of an exception in the code of the author. They
                can quote what a member wrote; members and the audit see neither in any case.
            check_services: Whether the services are checked now against the calls of the bot. False suits a process
                that handles no message, such as a script of an operator, and has no services.
            encryption: How what is stored of members is encrypted. Without it everything is stored plain.
            archive: Where a worker moves older audit entries, and how many stay in the store; a URL has the bounds of
                `Archiving`. Give it to every manager and worker of the store. Without it, entries that are too old for
                the store are dropped.
            on_close: A function that `close` calls.

        Raises:
            ServiceError: A service that the bot calls is missing or does not fit.
            BotNotFound: `flows` names no bot.
            FlowError: `legacy` is given, and the bot has no importer, an observer is no function, or `senders` or
                `paces` names a type of channel that the bot does not know.
            ModuleNotFoundError: `encryption` is given, and the package `cryptography` is missing, or `archive` is a
                database, and SQLAlchemy is missing.
            ArchiveUnavailable: The URL of the archive is none, or the driver of its database is missing.
        """
        self._base = BaseManager(
            flows, services, observers, cache, patience, call_wait, deliver, senders, inboxes, legacy, rates, paces,
            watchdog, debug=debug, check_services=check_services, is_async=False,
        )  # fmt: skip
        self._store = store
        self._legacy = legacy
        self._queue = Queue()
        self._late: set[Future[None]] = set()
        self._start: Callable[[], None] | None = self._claim
        self._ready_until = float("-inf")
        self._starting = threading.Lock()
        self._closing = ExitStack()
        self._closing.callback(on_close)
        self._recorder = Recorder(self._base, self._perform)
        if encryption is not None:
            from vimbiso_fsm.encryption.store import EncryptedStore

            self._store = encrypted = EncryptedStore(store, encryption, self.bot.secrets_of)
            self._closing.callback(encrypted.close)
        if archive is not None:
            from vimbiso_fsm.archive.store import ArchivedStore

            self._store = archived = ArchivedStore(self._store, archive, self._base.clock.now)
            self._closing.callback(archived.close)
        self.archives = archive is not None

    @classmethod
    def from_url(
        cls,
        url: str,
        flows: Bot | str,
        *,
        durability: Durability | None = None,
        unsafe_store: bool = False,
        namespace: str = "",
        legacy: LegacyReader | str | bool | None = None,
        secret: Secret | None = None,
        **options: Any,
    ) -> Self:
        """Make a manager on Redis-compatible servers.

        Args:
            url: `redis://`, `rediss://`, `unix://`, `redis+cluster://` or `redis+sentinel://`.
            flows: A bot, or the name of a package that exports one as `bot`.
            durability: The loss that an answered turn must survive: "local" (a power cut) or "replicated" (the loss of
                a server). The manager checks at its start whether the servers can promise that, and refuses to start if
                they cannot. Without a durability it only logs a warning.
            unsafe_store: Start in spite of the check. An incident of the store records the waiver.
            namespace: The namespace of all keys. Give each bot on a server one of its own, of at most 40 letters and
                digits of ASCII, "_", "." and "-".
            legacy: A reader of the records of the previous release, the URL of their server, or True if they are on the
                same server and database.
            secret: A random text of at least 16 characters that keys the digests of channels, or the current one and
                the earlier ones. Every manager of the store needs it. Without one, the store keeps a random key.
            **options: As of the class.

        Raises:
            StoreUnavailable: The URL is invalid.
            ValueError: A secret is too short, or the namespace has no valid form.
            UnsafeStore: At the first use, if the servers cannot promise the durability.
            AnotherBotsStore: At the first use, if the store belongs to another bot.
        """
        from vimbiso_fsm.store.health import ask_nodes
        from vimbiso_fsm.store.layout import Keys
        from vimbiso_fsm.store.redis_atomic import AtomicStateManager

        store = AtomicStateManager.from_url(url, durability=durability or "local", namespace=namespace, secret=secret)
        closing = ExitStack()
        closing.callback(store.close)
        if isinstance(legacy, str | bool):
            from vimbiso_fsm.legacy.source import LegacySource

            legacy = closing.enter_context(LegacySource(legacy if isinstance(legacy, str) else url)) if legacy else None
        manager = cls(flows, store, legacy=legacy, on_close=closing.close, **options)
        startup = StartupCheck(durability, unsafe_store)

        def start() -> None:
            incident = startup.incident(ask_nodes(store.servers, Keys(namespace).space), manager.now())
            manager._claim()
            if incident is not None:
                store.perform(RecordIncident(None, incident.body))

        manager._start = start
        return manager

    @classmethod
    def embedded(
        cls,
        path: str | PathLike[str],
        flows: Bot | str,
        *,
        namespace: str = "",
        secret: Secret | None = None,
        **options: Any,
    ) -> Self:
        """Make a manager on a server that runs beside this process and keeps its files under `path`.

        Args:
            path: The folder of the server.
            flows: A bot, or the name of a package that exports one as `bot`.
            namespace: As of `from_url`.
            secret: As of `from_url`.
            **options: As of the class.

        Raises:
            EmbeddedServerError: The server cannot be started or joined.
            ValueError: A secret is too short, or the namespace has no valid form.
        """
        from vimbiso_fsm.store.embedded import EmbeddedServer
        from vimbiso_fsm.store.redis_atomic import AtomicStateManager

        server = EmbeddedServer.start(path)
        store = AtomicStateManager.from_url(server.url, namespace=namespace, secret=secret)

        def close() -> None:
            store.close()
            server.close()

        try:
            return cls(flows, store, on_close=close, **options)
        except BaseException:  # a bot or a service that does not fit leaves no server behind
            close()
            raise

    @classmethod
    def in_memory(
        cls,
        flows: Bot | str,
        *,
        clock: Callable[[], float] = time.time,
        debug: bool = True,
        secret: Secret | None = None,
        **options: Any,
    ) -> Self:
        """Make a manager on a store in memory, which ends with the process.

        Args:
            flows: A bot, or the name of a package that exports one as `bot`.
            clock: Returns seconds since the epoch. A test can set it.
            secret: As of `from_url`. With one, guests have the same ids in each store in memory.
            debug: As of the class; a store in memory serves development, so the log shows tracebacks by default.
            **options: As of the class. If they are not given, `cache` is 0, so that each turn reads what was stored,
                `rates` is None and `paces` is empty, because the clock of a test does not go on by itself.
        """
        from vimbiso_fsm.store.memory import MemoryStore

        options = {"cache": 0, "rates": None, "paces": {}, **options}
        manager = cls(flows, MemoryStore(clock, secret=secret), debug=debug, **options)
        manager._base.clock.follow(clock)
        return manager

    @property
    def bot(self) -> Bot:
        """The bot with its services."""
        return self._base.bot

    # Messages and due work ----------------------------------------------------------------------------------------

    def handle(self, message: Message, *, send: bool = True) -> Outcome:
        """Decide a message, store the turn, send its replies, make its calls, and return the outcome.

        Replies are sent if the manager has a sender for the type of the channel. Otherwise the caller sends those of
        the outcome.

        Args:
            message: The message.
            send: Whether the sender is called. With False the caller sends the replies of the outcome, within
                30 seconds, and tells the answer of the channel by `sent`; a worker sends what it is not told of.

        Each error but `InvalidMessage` has a reply for the member, `error.reply`.

        Raises:
            InvalidMessage: It is no `Message`, or the bot does not know the type of its channel.
            TooManyMessages: The message is above the rate of its address, or of new guests. It was not taken.
            StoreUnavailable: Nothing was stored.
            CommitUnknown, Contended: Handle the same message again; it takes effect once.
            NewerState: A process of the newer release can handle the message.
            ForeignState: The member is in a flow that this bot never had. Nothing was changed.
            EncryptedState: The member's data is encrypted, and its key is not at hand. Nothing was changed.
        """
        base = self._base
        base.check(message)
        try:
            if self._start is not None:  # before the place in the queue, which the digests name
                self._ready()
            begin = partial(Handling, message=message, imports=base.imports, sends=send)
            return self._run(begin, base.enter(message), base.call_wait)
        except NotAnswered as error:
            base.not_answered(message, error)
            raise

    @checked
    def sent(self, outcome: Outcome, answer: Answer) -> None:
        """Take note of what a channel has answered to the replies of `handle(…, send=False)`.

        That they were sent is stored with the member's next commit, or soon. Without this, a worker sends them again.
        For a channel without a sender it does nothing.

        Raises:
            WrongArgument: An argument is of another type.
            StoreUnavailable, CommitUnknown, Contended: Call it again.
        """
        member_id = outcome.member_id
        if outcome.leased:
            self._run(lambda context: told(context, member_id, outcome.leased, answer), member_id)

    def handle_event(self, event: Told) -> EventOutcome:
        """Take in what the channel tells, one of `Delivery.events`, once, and return the outcome.

        The bot, or the flow that is open, reacts to it (`Bot(on=…)`). An opened chat begins the conversation. A changed
        address is linked to the member, and the former one is unlinked: its session and its login end. A fact about an
        unknown member changes nothing.

        Raises:
            InvalidMessage: It is no fact, the bot does not know the type of its channel, or its new address is none.
            TooManyMessages: It is above the rate of its address, or a chat of a new guest above theirs.
            DamagedDocument: The member's document is damaged. Their next message repairs it.
            StoreUnavailable, CommitUnknown, Contended: Handle the same fact again; it takes effect once.
            NewerState, ForeignState, EncryptedState: As in `handle`.
        """
        if self._start is not None:
            self._ready()
        taking = self._base.taking(event)
        return taking if isinstance(taking, EventOutcome) else self._run(*taking, self._base.call_wait)

    def tell(self, member_id: str, text: str | Said, *, key: str) -> EventOutcome:
        """Say something to a member, once, and return the outcome.

        It is said through the outbox: at once if the manager delivers, otherwise by a worker that delivers, or before
        the reply to the member's next message. A state that waits for an answer goes on waiting.

        Args:
            member_id: The member or guest.
            text: The words, or another reply without choices. A plain text is a key of the catalogue or the words.
            key: The name of these words at this member. The same key has no second effect; with other words it is
                refused, and an incident is recorded.

        Returns:
            "advanced", "duplicate" or "refused"; "ignored" if the member is not known.

        Raises:
            InvalidMessage: A value is empty, too long or of the wrong type.
            DamagedDocument: The member's document is damaged. Their next message repairs it.
            StoreUnavailable, CommitUnknown, Contended: Give the same again; it takes effect once.
            NewerState, ForeignState, EncryptedState: As in `handle`.
        """
        return self._give(words_given(member_id, text, key))

    def open(self, member_id: str, flow: str | AnyFlow, data: object = None, *, key: str) -> EventOutcome:
        """Open a flow for a member, once, and return the outcome.

        It begins at once where no flow is open or the member is at home. Otherwise `Flow(opens=…)` of the flow decides:
        it interrupts the open one, or begins when the member has come home. A flow that requires a login leads to it
        first. While a call is on its way, the outcome is "ignored" with the reason "busy"; give it again then.

        Args:
            member_id: The member or guest.
            flow: The flow, or its name.
            data: The data with which it begins, an instance of its data class or plain data; None for the defaults.
            key: The name of this opening at this member, as in `tell`.

        Raises:
            InvalidMessage, DamagedDocument, StoreUnavailable, CommitUnknown, Contended: As in `tell`.
            NewerState, ForeignState, EncryptedState: As in `handle`.
        """
        return self._give(flow_opened(member_id, flow, data, key))

    def trigger(self, member_id: str, name: str, data: object = None, *, key: str, by: str) -> EventOutcome:
        """Pull a trigger at a member, once, and return the outcome.

        The current state fires it if it declares it (`Transition(by=…)`), also when the session is over and the run
        waits; otherwise the bot does (`Bot(triggers=…)`). Guards may refuse it, which the audit records. A trigger that
        cannot come now is "ignored", and the same key may be given again: it has the reason "no transition" where the
        member stands elsewhere, and "busy" while a call is on its way or the run waits under another one.

        Args:
            member_id: The member or guest.
            name: The name of the trigger.
            data: Its data, of the type that the declaration takes, or as plain data.
            key: The name of this trigger at this member, as in `tell`.
            by: The name of the system that pulls it. One that the declaration does not name is refused.

        Raises:
            InvalidMessage, DamagedDocument, StoreUnavailable, CommitUnknown, Contended: As in `tell`.
            NewerState, ForeignState, EncryptedState: As in `handle`.
        """
        return self._give(trigger_pulled(member_id, name, data, key, by))

    def hand_over(self, member_id: str, inbox: str, *, key: str, by: str) -> EventOutcome:
        """Hand the conversation of a member over to a person, once, and return the outcome.

        What the member says passes to the inbox from then on. The open run, its timers and the session stand still.

        Args:
            member_id: The member or guest.
            inbox: The name of the inbox, which the bot declares (`Bot(inboxes=…)`).
            key: The name of this hand-over at this member, as in `tell`.
            by: The name of the person or system that does it, for the audit and the inbox.

        Returns:
            As of `tell`; "ignored" with the reason "handed" if a person has the conversation already, and "refused" if
            the bot has no such inbox.

        Raises:
            InvalidMessage, DamagedDocument, StoreUnavailable, CommitUnknown, Contended: As in `tell`.
            NewerState, ForeignState, EncryptedState: As in `handle`.
        """
        return self._give(HandedOver(member_id=member_id, inbox=inbox, key=key, by=by))

    def say(self, member_id: str, text: str | Said, *, key: str, by: str) -> EventOutcome:
        """Say something to a member in the name of a person, once, and return the outcome.

        It goes out as the words of `tell` do, and it is "ignored" with the reason "not handed" while the bot has the
        conversation.

        Args:
            member_id: The member or guest.
            text: The words as they are, or another reply without choices.
            key: The name of these words at this member, as in `tell`.
            by: The name of the person, for the audit.

        Raises:
            InvalidMessage, DamagedDocument, StoreUnavailable, CommitUnknown, Contended: As in `tell`.
            NewerState, ForeignState, EncryptedState: As in `handle`.
        """
        return self._give(person_said(member_id, text, key, by))

    def hand_back(self, member_id: str, *, key: str, by: str) -> EventOutcome:
        """Give the conversation of a member back to the bot, once, and return the outcome.

        The run goes on where it stood, and its question is asked again.

        Args:
            member_id: The member or guest.
            key: The name of this at this member, as in `tell`.
            by: The name of the person or system that does it, for the audit and the inbox.

        Returns:
            As of `tell`; "ignored" with the reason "not handed" if the bot has it.

        Raises:
            InvalidMessage, DamagedDocument, StoreUnavailable, CommitUnknown, Contended: As in `tell`.
            NewerState, ForeignState, EncryptedState: As in `handle`.
        """
        return self._give(HandedBack(member_id=member_id, key=key, by=by))

    def _give(self, given: Given) -> EventOutcome:
        return self._run(self._base.giving(given), given.member_id, self._base.call_wait)

    @checked
    def wake(self, member_id: str) -> tuple[AuditEntry, ...]:
        """Run a member's due work, and return the audit entries of the turns made.

        A `Worker` calls it. Any process may call it at any time.

        Raises:
            StoreUnavailable, CommitUnknown, Contended, NewerState, ForeignState: Call it again later.
        """
        return self._run(self._base.wake(member_id), member_id)

    def archive(self, member_id: str) -> Moved:
        """Move the audit entries of a member that exceed the bounds from the store to the archive.

        A `Worker` calls it for each member that it wakes. An archive that refuses is no error: the entries stay in the
        store, and an incident says why.

        Raises:
            FlowError: The manager was given no archive.
            StoreUnavailable, CommitUnknown: Call it again later.
        """
        return self.ask(self._base.moving(member_id, archives=self.archives))

    def _claim(self) -> None:
        """Record the bot as the owner of the store, or check that it is, and take the digests of the store."""
        run(claim(self.bot), self._store.perform)
        self._base.bot = self.bot.with_digests(self._store.perform(ReadDigests()))

    def _ready(self) -> None:
        """Check whether this manager may start on its servers, and later whether the store is still its bot's.

        A store that does not answer the later question is left to the request that follows.
        """
        with self._starting:
            if self._start is None and time.monotonic() < self._ready_until:
                return
            if self._start is not None:
                self._start()
            asks_again, self._start = self._start is None, None
            self._ready_until = time.monotonic() + OWNER_KNOWN
        if asks_again:  # without the lock, so that the others go on meanwhile
            try:
                self._claim()
            except (AnotherBotsStore, UnknownLayout, MissingSecret):
                self._start, self._ready_until = self._claim, float("-inf")
                raise
            except NotAnswered as error:
                self._base.owner_unknown(error)

    def _run(self, begin: Begin[R], key: object, call_wait: float | None = None) -> R:
        """Run an operation in the member's place in the queue.

        Args:
            begin: Makes the operation.
            key: The key of the queue.
            call_wait: Seconds for all calls together; None waits for their end.
        """
        began = time.monotonic()
        if began >= self._ready_until:
            self._ready()
            began = time.monotonic()
        with MemberLock(self._queue, key, self._base.patience) as place:
            return self._drive(begin, began, place, call_wait)

    def _operate(self, begin: Begin[R], member_id: str | None = None) -> R:
        """Run an operation without calls outside the queue. `member_id`: the member whose document it may change."""
        if time.monotonic() >= self._ready_until:
            self._ready()
        try:
            return self._drive(begin, time.monotonic())
        finally:
            if member_id is not None:  # the cached document may share values with the object that the caller holds
                self._base.cache.forget(member_id)

    def _drive(
        self, begin: Begin[R], began: float, place: MemberLock | None = None, call_wait: float | None = None
    ) -> R:
        """Perform the effects of an operation begun at the monotonic time `began`, and report what it has stored."""
        base, outside = self._base, 0.0
        context = base.context(time.monotonic() - began)
        taken: dict[str, Place] = {}
        watched, ident, stretch = base.watched, get_ident(), NO_STRETCH
        if watched is not None and not LOOKER.runs:
            LOOKER.start()

        def perform(effect: Request) -> object:
            nonlocal outside, stretch
            RUNNING[ident] = NO_STRETCH  # the operation waits for the effect, and its code does not run
            if stretch[1]:
                settle()
            try:
                answer: Any
                if not isinstance(effect, _BY_SHELL):
                    answer = self._store.perform(effect)
                    base.clock.adjust(answer)
                    if base.clock.unreported:
                        self._report_clock()
                    return answer
                if place is None or not isinstance(effect, _OUTSIDE):
                    return self._perform(cast(Effect[Any], effect))
                since = time.monotonic()
                if isinstance(effect, Deliver | PassOn):
                    answer = self._deliver(effect, place, taken.pop(DELIVERY, None))
                elif isinstance(effect, TakePlace):
                    answer = self._take(effect, place, taken)
                elif isinstance(effect, StandBack):
                    place.release()
                    self._perform(effect)
                    answer = None
                else:
                    wait = None if call_wait is None else max(call_wait - outside, 0)
                    answer = self._call(effect, wait, place, taken.pop(effect.call.service, None))
                place.reacquire()
                outside += time.monotonic() - since
                return answer
            finally:
                context.now, context.waited = base.clock.now(), time.monotonic() - began - outside
                if watched is not None:
                    stretch = [watched, False]
                    RUNNING[ident] = stretch

        try:
            try:
                if watched is not None:
                    stretch = [watched, False]
                    RUNNING[ident] = stretch
                return run(begin(context), perform)
            finally:
                RUNNING[ident] = NO_STRETCH
                if stretch[1]:
                    settle()
        except CallbackStopped:  # outside of a decision, which takes it for the failure of a callback
            RUNNING[ident] = NO_STRETCH
            raise CallbackTimedOut from None
        finally:
            for unused in taken.values():
                unused.withdraw()
            if base.observing is not None:  # observers are not ended, because what they have done is not undone
                RUNNING[ident] = [base.observing, False]
            try:
                base.report(context)
            finally:
                RUNNING[ident] = NO_STRETCH
            if base.sent:
                self._recorder.soon()

    def _perform(self, effect: Effect[R]) -> R:
        """Perform an effect other than a call or a delivery."""
        answer: Any = None
        if isinstance(effect, Pause | StandBack):
            time.sleep(delay(effect.attempt))
        elif not isinstance(effect, ReadLegacy):
            answer = self._store.perform(effect)
            self._base.clock.adjust(answer)
            if self._base.clock.unreported:
                self._report_clock()
        elif self._legacy is not None:
            answer = self._legacy.read(effect.number)
        result: R = answer
        return result

    def _report_clock(self) -> None:
        """Record that the store's clock and that of the process differ."""
        with suppress(VimbisoError):
            self._store.perform(self._base.clock_incident())

    def _take(self, step: TakePlace, lock: MemberLock, taken: dict[str, Place]) -> bool:
        """Take a place at a service, unless the operation has one there; return whether it has one."""
        if step.service not in taken:
            places = self._base.places(step)
            if step.call is None:
                lock.release()  # deliveries may be waited for longer than a member waits
            place = take(places, places.limits.wait)
            if place is not None:
                taken[step.service] = place
        return step.service in taken

    def _call(self, step: RunCall, wait: float | None, lock: MemberLock, place: Place | None) -> object:
        """Make a call at a place of its service, and wait for its result for `wait` seconds, or without a limit."""
        base = self._base
        place = place or take(base.services.at(step.call.service), 0)
        if place is None:
            return base.busy(step)
        if is_lease_over(step, self.now()):
            place.withdraw()
            return LEASE_OVER
        try:
            method = bind(self.bot.services, step)
        except (Unreadable, ServiceError) as error:
            place.withdraw()
            return error if isinstance(error, Unreadable) else NotMade(error)
        taken = place

        def make() -> object:
            result = with_retries(method, step.policy, step.refuses, taken, partial(base.may_begin, step))
            taken.service.ended(step.member_id, result)
            return result

        future = place.start(make)
        hold = HOLD * base.patience
        try:
            done, _ = wait_for([future], hold if wait is None else min(hold, wait))
            if not done:
                lock.release()
            return result_of(future, None if wait is None else max(wait - hold, 0))
        except TimeoutError:
            stored: Future[None] = Future()
            self._late.add(stored)
            future.add_done_callback(partial(self._store_late_result, step, stored))
            return STILL_RUNNING

    def _store_late_result(self, step: RunCall, stored: Future[None], future: Future[object]) -> None:
        """Store the result of a call that took longer than `handle` waited."""
        try:
            member_id, answer = step.member_id, self._base.late_answer(step, result_of(future))
            self._run(self._base.wake(member_id, answer), member_id)
        except VimbisoError as error:
            self._base.late_result_lost(error)
        finally:
            self._late.discard(stored)
            stored.set_result(None)

    def _deliver(self, step: Deliver | PassOn, lock: MemberLock, place: Place | None) -> Answer | BaseException:
        """Send replies at a place for deliveries; return the answer of the channel, or the exception that was raised.

        A reply that a member waits for waits for its place.
        """
        base = self._base
        lock.release()
        function, places = base.sending(step)
        place = place or take(places, places.limits.wait if step.is_reply else 0)
        if place is None:
            return base.sending_busy(step, places)
        try:
            return base.sent_answer(step, attempt(place, function, DELIVERY_TIMEOUT))
        finally:
            place.leave()

    # Members ------------------------------------------------------------------------------------------------------

    @checked
    def state(self, member_id: str) -> Document | None:
        """Return the member's stored document, or None when there is none.

        Raises:
            DamagedDocument: The stored data is no valid document.
            NewerState: A newer release has stored it.
            ForeignState: It is of a flow that this bot never had.
            StoreUnavailable: The store cannot be reached.
        """
        return read(self.bot, member_id, self.ask(Load(member_id)))

    @checked
    def history(self, member_id: str, **filters: Unpack[Filters]) -> tuple[AuditEntry, ...]:
        """Return the member's audit entries, oldest first, with those of the guests promoted to the member.

        Args:
            member_id: The member.
            **filters: `channel`, `flow`, `run`, `since`, `until` and `last` select entries. See `Filters`.

        Raises:
            DamagedDocument: The audit cannot be read as a whole.
            Unreadable: An entry cannot be read.
            StoreUnavailable: The store cannot be reached.
        """
        return self._operate(lambda context: read_history(context, member_id, filters))

    @checked
    def incidents(self, member_id: str | None = None, **filters: Unpack[Filters]) -> tuple[Incident, ...]:
        """Return the incidents of a member or of the store as a whole, oldest first.

        Args:
            member_id: The member. None selects the incidents of the store as a whole.
            **filters: As of `history`.

        Raises:
            Unreadable: An incident cannot be read.
            StoreUnavailable: The store cannot be reached.
        """
        return self._operate(lambda context: read_incidents(context, member_id, filters))

    @checked
    def member_of(self, channel: Channel) -> str | None:
        """Return the member to whom a channel is linked; None if it is a guest's or unknown.

        Args:
            channel: The channel. Its account counts, unless the bot's accounts are shared.
        """
        return self._operate(lambda context: find_owner(context, self.bot.route(channel))).member_id

    @checked
    def update(self, member_id: str, change: Change) -> Document:
        """Change a stored document outside a turn.

        Args:
            member_id: The member.
            change: A pure function from the stored document to the changed one. After a conflict it is applied to the
                document stored then.

        Raises:
            InvalidState, NotStorable: The changed document is invalid; nothing was stored.
            DamagedDocument: The document is damaged.
            MemberNotFound: Nothing is stored of the member.
            Contended: Other writers were faster until the patience was over.
        """
        new_token = partial(secrets.token_hex, 16)
        return self._operate(lambda context: update(context, member_id, change, new_token), member_id)

    @checked
    def save(self, document: Document) -> Document:
        """Store a document that was read earlier, if the member is still at its version. A new one has version 0.

        Raises:
            VersionConflict: The member is at another version.
            InvalidState, NotStorable: The document is invalid; nothing was stored.
        """
        token = secrets.token_hex(16)
        return self._operate(lambda context: save(context, document, token), document.member_id)

    @checked
    def recover(self, member_id: str, *, to: int | None = None, dry_run: bool = False) -> Recovery:
        """Repair a member's damaged document, or put the member back to an earlier state.

        The damaged document is quarantined; a sound one is left alone. A notice to the member and the question follow
        with the next reply or delivery.

        Args:
            member_id: The member.
            to: The version to whose state the member is put back, if it is still kept and no call with an effect was
                made since. None repairs a damaged document.
            dry_run: Return the same, and change nothing.

        Raises:
            MemberNotFound: Nothing is stored of the member.
            NotRecovered: The member cannot be recovered in this way; nothing was changed.
            StoreUnavailable, CommitUnknown, Contended: Call it again.
        """
        return self._operate(lambda context: recover(context, member_id, to=to, dry_run=dry_run), member_id)

    @checked
    def reset(self, member_id: str) -> Reset:
        """End every open flow of a member, and keep the profile, the channels, the token and the session.

        The result of a pending call is not awaited any more.

        Raises:
            MemberNotFound: Nothing is stored of the member.
            DamagedDocument: The document is damaged; recover it first.
            StoreUnavailable, CommitUnknown, Contended: Call it again.
        """
        return self._operate(lambda context: reset(context, member_id), member_id)

    @checked
    def wipe(self, member_id: str) -> Wiped:
        """Remove a member's document, damaged or not, the previous one, the turn records and the quarantined data.

        The tokens and the audit stay, so that no message takes effect twice. The channels are unlinked: their next
        message is a stranger's.

        Raises:
            MemberNotFound: Nothing is stored of the member.
            StoreUnavailable, CommitUnknown, Contended: Call it again.
        """
        return self._operate(lambda context: wipe(context, member_id), member_id)

    @checked
    def erase(self, member_id: str) -> Erasure:
        """Remove all that says anything about a member: what a wipe removes, the links, the audit and the incidents.

        A tombstone stays in the audit, and the hashed tokens of handled messages stay at the guests on the channels.
        The server's log and its copies hold the erased data until they are rewritten.

        Raises:
            MemberNotFound: Nothing is stored of the member.
            StoreUnavailable, CommitUnknown, Contended: Call it again.
        """
        return self._operate(lambda context: erase(context, member_id), member_id)

    @checked
    def export(self, member_id: str) -> Exported:
        """Return all that is stored of a member, for the person that it is about.

        `value` is the data as JSON holds it, of all conversations with accounts of the bot: the document and the one
        before it, the history with that of the guests and members that the member was, the incidents, the turn records
        and the list of the quarantined data. It has no login token, no token of a turn and no field that is marked
        `SECRET`. Each server is asked for all of its keys, so this is for operators. Nothing is changed.

        Raises:
            DamagedDocument: A document is damaged; recover the member first.
            MemberNotFound: Nothing is stored of the member.
            NotAMember: The member was merged into another one, or the guest became one, which the error names.
            NewerState, ForeignState: A document is of a newer release, or of another bot.
            StoreUnavailable: The store cannot be reached.
        """
        return self._operate(lambda context: export(context, member_id))

    @checked
    def link(self, member_id: str, channel: Channel) -> Linking:
        """Link a channel to a member. The conversation of the guest on it ends; what it handled stays handled.

        Args:
            member_id: The member. The member's document, login and open flow stay as they are.
            channel: The channel, which must not be linked to another member.

        Raises:
            ChannelTaken: It is linked to another member; `relink` takes it.
            CallPending: The guest on the channel waits for the outcome of a call.
            MemberNotFound: Nothing is stored of the member.
            NotAMember: The id is a guest's, or the member was merged into another.
            DamagedDocument: A document is damaged; recover it first.
            StoreUnavailable, CommitUnknown, Contended: Call it again.
        """
        return self._operate(lambda context: link(context, member_id, channel), member_id)

    @checked
    def unlink(self, member_id: str, channel: Channel) -> Linking:
        """Take a channel from a member. The next message on it is a guest's and shows nothing of the member.

        Raises:
            MemberNotFound: Nothing is stored of the member.
            NotAMember: The id is a guest's, or the member was merged into another.
            DamagedDocument: The document is damaged; recover it first.
            StoreUnavailable, CommitUnknown, Contended: Call it again.
        """
        return self._operate(lambda context: unlink(context, member_id, channel), member_id)

    @checked
    def relink(self, member_id: str, channel: Channel) -> Linking:
        """Link a channel to a member, and take it from the member that has it, if another one does.

        Raises:
            CallPending, MemberNotFound, NotAMember, DamagedDocument: As of `link`.
            StoreUnavailable, CommitUnknown, Contended: Call it again.
        """
        return self._operate(lambda context: link(context, member_id, channel, takes=True), member_id)

    @checked
    def merge(self, member_id: str, into: str) -> Merging:
        """Merge a member, or a guest, into another member of the same person, and end it.

        The channels and the history go over. The document, login and open flow of the other member stay.

        Args:
            member_id: The member that ends.
            into: The member that goes on.

        Raises:
            CallPending: The member waits for the outcome of a call.
            MemberNotFound: Nothing is stored of one of them.
            NotAMember: The two are one, `into` is a guest's id, or one was merged into a third before.
            DamagedDocument: A document is damaged; recover it first.
            StoreUnavailable, CommitUnknown, Contended: Call it again.
        """
        return self._operate(lambda context: merge(context, member_id, into), member_id)

    @checked
    def quarantined(self, member_id: str) -> tuple[Quarantined, ...]:
        """Return the list of a member's quarantined data, oldest first. `ask(ShowQuarantined(…))` returns one of them.

        Raises:
            StoreUnavailable: The store cannot be reached.
        """
        return self.ask(ReadQuarantine(member_id))

    @checked
    def ask(self, request: Effect[R]) -> R:
        """Return the store's answer to a request. See the class of the request."""
        if time.monotonic() >= self._ready_until:
            self._ready()
        return self._perform(request)

    # Start and end ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Check the servers and the owner of the store now, and not only at the first use. It may be called again.

        Raises:
            UnsafeStore: The servers cannot promise the durability.
            AnotherBotsStore: The store belongs to another bot.
            UnknownLayout: The store has a layout that this release cannot use.
            StoreUnavailable: A server cannot be reached.
        """
        self._ready()

    def now(self) -> float:
        """Return seconds since the epoch on the store's clock, as far as this process knows it."""
        return self._base.clock.now()

    def close(self) -> None:
        """Wait up to `CALL_WAIT` seconds for late results, then close the connections that the manager has opened."""
        wait_for(tuple(self._late), CALL_WAIT)
        self._recorder.close()
        LOOKER.leave(self._base.watched)
        self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class AsyncFlowStateManager:
    """Handles messages on a store, for asyncio. See `FlowStateManager`.

    A manager can be shared between the tasks of an event loop, and between event loops, one after the other or in
    several threads; each loop has connections and queues of its own. Services may be sync or async; a sync one runs in
    a thread of its own, and an async one must work in each of the loops. In each loop, messages beyond `AT_ONCE` wait
    in the order of arrival, without a time limit.

    Attributes:
        archives: Whether the manager was given an archive.
    """

    archives: bool

    def __init__(
        self,
        flows: Bot | str,
        store: AsyncStore,
        *,
        services: Mapping[str, object] | None = None,
        observers: Sequence[Observer] = (),
        cache: int = 10_000,
        patience: float = CONFLICT_TIMEOUT,
        call_wait: float = CALL_WAIT,
        deliver: AsyncDelivery | Delivery | None = None,
        senders: Mapping[str, AsyncSender | Sender] | None = None,
        inboxes: Mapping[str, AsyncTakesPassedOn | TakesPassedOn] | None = None,
        legacy: AsyncLegacyReader | None = None,
        rates: Rates | None = DEFAULT_RATES,
        paces: Mapping[str, Pace] | None = None,
        watchdog: Watchdog | None = DEFAULT_WATCHDOG,
        debug: bool = False,
        check_services: bool = True,
        encryption: Encryption | None = None,
        archive: Archiving | str | None = None,
        on_close: Callable[[], object] = lambda: None,
    ) -> None:
        """Make a manager. See `FlowStateManager`."""
        from vimbiso_fsm.store.loops import PerLoop

        self._base = BaseManager(
            flows, services, observers, cache, patience, call_wait, deliver, senders, inboxes, legacy, rates, paces,
            watchdog, debug=debug, check_services=check_services, is_async=True,
        )  # fmt: skip
        self._store = store
        self._legacy = legacy
        self._loops = PerLoop(_LoopState)
        self._start: Callable[[], Awaitable[None]] | None = self._claim
        self._ready_until = float("-inf")
        self._on_close = on_close
        self._encrypted: AsyncEncryptedStore | None = None
        if encryption is not None:
            from vimbiso_fsm.encryption.store import AsyncEncryptedStore

            self._store = self._encrypted = AsyncEncryptedStore(store, encryption, self.bot.secrets_of)
        self._archived: AsyncArchivedStore | None = None
        if archive is not None:
            from vimbiso_fsm.archive.store import AsyncArchivedStore

            self._store = self._archived = AsyncArchivedStore(self._store, archive, self._base.clock.now)
        self.archives = archive is not None

    @classmethod
    def from_url(
        cls,
        url: str,
        flows: Bot | str,
        *,
        durability: Durability | None = None,
        unsafe_store: bool = False,
        namespace: str = "",
        legacy: AsyncLegacyReader | str | bool | None = None,
        secret: Secret | None = None,
        **options: Any,
    ) -> Self:
        """Make a manager on Redis-compatible servers. See `FlowStateManager.from_url`."""
        from vimbiso_fsm.store.health import ask_nodes_awaited
        from vimbiso_fsm.store.layout import Keys
        from vimbiso_fsm.store.redis_atomic import AsyncAtomicStateManager

        store = AsyncAtomicStateManager.from_url(
            url, durability=durability or "local", namespace=namespace, secret=secret
        )
        closing = AsyncExitStack()
        closing.push_async_callback(store.close)
        if isinstance(legacy, str | bool):
            from vimbiso_fsm.legacy.source import AsyncLegacySource

            source = AsyncLegacySource(legacy if isinstance(legacy, str) else url) if legacy else None
            legacy = source
            if source is not None:
                closing.push_async_callback(source.close)
        manager = cls(flows, store, legacy=legacy, on_close=closing.aclose, **options)
        startup = StartupCheck(durability, unsafe_store)

        async def start() -> None:
            incident = startup.incident(await ask_nodes_awaited(store.servers, Keys(namespace).space), manager.now())
            await manager._claim()
            if incident is not None:
                await store.perform(RecordIncident(None, incident.body))

        manager._start = start
        return manager

    @classmethod
    def embedded(
        cls,
        path: str | PathLike[str],
        flows: Bot | str,
        *,
        namespace: str = "",
        secret: Secret | None = None,
        **options: Any,
    ) -> Self:
        """Make a manager on a server that runs beside this process. See `FlowStateManager.embedded`."""
        from vimbiso_fsm.store.embedded import EmbeddedServer
        from vimbiso_fsm.store.redis_atomic import AsyncAtomicStateManager

        server = EmbeddedServer.start(path)
        store = AsyncAtomicStateManager.from_url(server.url, namespace=namespace, secret=secret)

        async def close() -> None:
            await store.close()
            server.close()

        try:
            return cls(flows, store, on_close=close, **options)
        except BaseException:  # a bot or a service that does not fit leaves no server behind
            server.close()
            raise

    @classmethod
    def in_memory(
        cls,
        flows: Bot | str,
        *,
        clock: Callable[[], float] = time.time,
        debug: bool = True,
        secret: Secret | None = None,
        **options: Any,
    ) -> Self:
        """Make a manager on a store in memory. See `FlowStateManager.in_memory`."""
        from vimbiso_fsm.store.memory import AsyncMemoryStore, MemoryStore

        options = {"cache": 0, "rates": None, "paces": {}, **options}
        manager = cls(flows, AsyncMemoryStore(MemoryStore(clock, secret=secret)), debug=debug, **options)
        manager._base.clock.follow(clock)
        return manager

    @property
    def bot(self) -> Bot:
        """The bot with its services."""
        return self._base.bot

    # Messages and due work ----------------------------------------------------------------------------------------

    async def handle(self, message: Message, *, send: bool = True) -> Outcome:
        """Decide a message, store the turn, make its calls, and return the outcome. See `FlowStateManager.handle`."""
        base = self._base
        base.check(message)
        try:
            if self._start is not None:  # before the place in the queue, which the digests name
                await self._ready()
            begin = partial(Handling, message=message, imports=base.imports, sends=send)
            key = base.enter(message)
            if base.cache.document(key) is not None:
                return await self._run(begin, key, base.call_wait)
            state = self._loops.get()
            if base.door is not None:
                base.door.join_line(state.others)
            state.others += 1
            try:
                return await self._run(begin, key, base.call_wait, cached=False)
            finally:
                state.others -= 1
        except NotAnswered as error:
            base.not_answered(message, error)
            raise

    @checked
    async def sent(self, outcome: Outcome, answer: Answer) -> None:
        """Take note of what a channel has answered to replies. See `FlowStateManager.sent`."""
        member_id = outcome.member_id
        if outcome.leased:
            await self._run(lambda context: told(context, member_id, outcome.leased, answer), member_id)

    async def handle_event(self, event: Told) -> EventOutcome:
        """Take in what the channel tells, once, and return the outcome. See `FlowStateManager.handle_event`."""
        if self._start is not None:
            await self._ready()
        taking = self._base.taking(event)
        return taking if isinstance(taking, EventOutcome) else await self._run(*taking, self._base.call_wait)

    async def tell(self, member_id: str, text: str | Said, *, key: str) -> EventOutcome:
        """Say something to a member, once, and return the outcome. See `FlowStateManager.tell`."""
        return await self._give(words_given(member_id, text, key))

    async def open(self, member_id: str, flow: str | AnyFlow, data: object = None, *, key: str) -> EventOutcome:
        """Open a flow for a member, once, and return the outcome. See `FlowStateManager.open`."""
        return await self._give(flow_opened(member_id, flow, data, key))

    async def trigger(self, member_id: str, name: str, data: object = None, *, key: str, by: str) -> EventOutcome:
        """Pull a trigger at a member, once, and return the outcome. See `FlowStateManager.trigger`."""
        return await self._give(trigger_pulled(member_id, name, data, key, by))

    async def hand_over(self, member_id: str, inbox: str, *, key: str, by: str) -> EventOutcome:
        """Hand the conversation of a member over to a person, once. See `FlowStateManager.hand_over`."""
        return await self._give(HandedOver(member_id=member_id, inbox=inbox, key=key, by=by))

    async def say(self, member_id: str, text: str | Said, *, key: str, by: str) -> EventOutcome:
        """Say something to a member in the name of a person, once. See `FlowStateManager.say`."""
        return await self._give(person_said(member_id, text, key, by))

    async def hand_back(self, member_id: str, *, key: str, by: str) -> EventOutcome:
        """Give the conversation of a member back to the bot, once. See `FlowStateManager.hand_back`."""
        return await self._give(HandedBack(member_id=member_id, key=key, by=by))

    async def _give(self, given: Given) -> EventOutcome:
        return await self._run(self._base.giving(given), given.member_id, self._base.call_wait)

    @checked
    async def wake(self, member_id: str) -> tuple[AuditEntry, ...]:
        """Run a member's due work. See `FlowStateManager.wake`."""
        return await self._run(self._base.wake(member_id), member_id)

    async def archive(self, member_id: str) -> Moved:
        """Move the audit entries of a member to the archive. See `FlowStateManager.archive`."""
        return await self.ask(self._base.moving(member_id, archives=self.archives))

    async def _claim(self) -> None:
        """Record the bot as the owner of the store, or check that it is, and take the digests of the store."""
        await run_awaited(claim(self.bot), self._store.perform)
        self._base.bot = self.bot.with_digests(await self._store.perform(ReadDigests()))

    async def _ready(self) -> None:
        """Check whether this manager may start, and later whether the store is still its bot's.

        See `FlowStateManager._ready`. One task makes the first check, and the others wait for it, even if the first one
        is cancelled.
        """
        import asyncio

        if self._start is None:
            if time.monotonic() >= self._ready_until:
                self._ready_until = time.monotonic() + OWNER_KNOWN
                await self._claim_again()
            return
        state = self._loops.get()
        if state.starting is None:
            state.starting = asyncio.ensure_future(self._begin())
            state.starting.add_done_callback(state.started)
        await asyncio.shield(state.starting)

    async def _begin(self) -> None:
        if (start := self._start) is not None:
            await start()
            self._start, self._ready_until = None, time.monotonic() + OWNER_KNOWN

    async def _claim_again(self) -> None:
        try:
            await self._claim()
        except (AnotherBotsStore, UnknownLayout, MissingSecret):
            self._start, self._ready_until = self._claim, float("-inf")
            raise
        except NotAnswered as error:
            self._base.owner_unknown(error)

    async def _run(self, begin: Begin[R], key: object, call_wait: float | None = None, *, cached: bool = True) -> R:
        """Run an operation in the member's place in the queue. See `FlowStateManager._run` and `AsyncMemberLock`."""
        began = time.monotonic()
        if began >= self._ready_until:
            await self._ready()
            began = time.monotonic()
        queue = self._loops.get().queue
        place = AsyncMemberLock(queue, key, self._base.patience, cached=cached)
        if not place.enter():
            await place.wait()
        try:
            return await self._drive(begin, began, place, call_wait)
        finally:
            place.leave()

    async def _operate(self, begin: Begin[R], member_id: str | None = None) -> R:
        """Run an operation without calls outside the queue. See `FlowStateManager._operate`."""
        if time.monotonic() >= self._ready_until:
            await self._ready()
        try:
            return await self._drive(begin, time.monotonic())
        finally:
            if member_id is not None:
                self._base.cache.forget(member_id)

    async def _drive(
        self, begin: Begin[R], began: float, place: AsyncMemberLock | None = None, call_wait: float | None = None
    ) -> R:
        """Perform the effects of an operation, and report what it has stored. See `FlowStateManager._drive`."""
        base, outside = self._base, 0.0
        context = base.context(time.monotonic() - began)
        taken: dict[str, Place] = {}
        watched, ident, stretch = base.watched, get_ident(), NO_STRETCH
        if watched is not None and not LOOKER.runs:
            LOOKER.start()

        async def perform(effect: Request) -> object:
            nonlocal outside, stretch
            RUNNING[ident] = NO_STRETCH  # the operation waits for the effect, and its code does not run
            if stretch[1]:
                settle()
            try:
                answer: Any
                if not isinstance(effect, _BY_SHELL):
                    answer = await self._store.perform(effect)
                    base.clock.adjust(answer)
                    if base.clock.unreported:
                        await self._report_clock()
                    return answer
                if place is None or not isinstance(effect, _OUTSIDE):
                    return await self._perform(cast(Effect[Any], effect))
                since = time.monotonic()
                place.give_up_slot()
                if isinstance(effect, Deliver | PassOn):
                    answer = await self._deliver(effect, place, taken.pop(DELIVERY, None))
                elif isinstance(effect, TakePlace):
                    answer = await self._take(effect, place, taken)
                elif isinstance(effect, StandBack):
                    place.release()
                    await self._perform(effect)
                    answer = None
                else:
                    wait = None if call_wait is None else max(call_wait - outside, 0)
                    answer = await self._call(effect, wait, place, taken.pop(effect.call.service, None))
                await place.reacquire()
                outside += time.monotonic() - since
                return answer
            finally:
                context.now, context.waited = base.clock.now(), time.monotonic() - began - outside
                if watched is not None:
                    stretch = [watched, False]
                    RUNNING[ident] = stretch

        try:
            try:
                if watched is not None:
                    stretch = [watched, False]
                    RUNNING[ident] = stretch
                return await run_awaited(begin(context), perform)
            finally:
                RUNNING[ident] = NO_STRETCH
                if stretch[1]:
                    settle()
        except CallbackStopped:  # outside of a decision, which takes it for the failure of a callback
            RUNNING[ident] = NO_STRETCH
            raise CallbackTimedOut from None
        finally:
            for unused in taken.values():
                unused.withdraw()
            if base.observing is not None:  # observers are not ended, because what they have done is not undone
                RUNNING[ident] = [base.observing, False]
            try:
                base.report(context)
            finally:
                RUNNING[ident] = NO_STRETCH
            if base.sent:
                self._loops.get().recorder(base, self._perform).soon()

    async def _perform(self, effect: Effect[R]) -> R:
        answer: Any = None
        if isinstance(effect, Pause | StandBack):
            await _sleep(delay(effect.attempt))
        elif not isinstance(effect, ReadLegacy):
            answer = await self._store.perform(effect)
            self._base.clock.adjust(answer)
            if self._base.clock.unreported:
                await self._report_clock()
        elif self._legacy is not None:
            answer = await self._legacy.read(effect.number)
        result: R = answer
        return result

    async def _report_clock(self) -> None:
        with suppress(VimbisoError):
            await self._store.perform(self._base.clock_incident())

    async def _take(self, step: TakePlace, lock: AsyncMemberLock, taken: dict[str, Place]) -> bool:
        """Take a place at a service. See `FlowStateManager._take`."""
        if step.service not in taken:
            if step.call is None:
                lock.release()
            place = await self._place_at(step)
            if place is not None:
                taken[step.service] = place
        return step.service in taken

    async def _place_at(self, step: TakePlace, *, waits: bool = True) -> Place | None:
        places, call = self._base.places(step), step.call
        service: object = None if call is None else self.bot.services.get(call.service)
        method: object = self._base.any_sender if call is None else getattr(service, call.method, None)
        return await take_awaited(places, places.limits.wait if waits else 0, threaded=not is_async(method))

    async def _call(self, step: RunCall, wait: float | None, lock: AsyncMemberLock, place: Place | None) -> object:
        import asyncio

        base = self._base
        place = place or await self._place_at(TakePlace(step.call), waits=False)
        if place is None:
            return base.busy(step)
        if is_lease_over(step, self.now()):
            place.withdraw()
            return LEASE_OVER
        try:
            method = bind(self.bot.services, step)
        except (Unreadable, ServiceError) as error:
            place.withdraw()
            return error if isinstance(error, Unreadable) else NotMade(error)
        taken = place

        async def make() -> object:
            may_begin = partial(base.may_begin, step)
            result = await with_retries_async(method, step.policy, step.refuses, taken, may_begin)
            taken.service.ended(step.member_id, result)
            return result

        call = asyncio.ensure_future(make())
        hold = HOLD * base.patience
        done: set[asyncio.Task[object]] = set()
        try:
            done, _ = await asyncio.wait({call}, timeout=hold if wait is None else min(hold, wait))
            if not done:
                lock.release()
                done, _ = await asyncio.wait({call}, timeout=None if wait is None else max(wait - hold, 0))
        finally:  # the call goes on, also when the task that waits is cancelled
            if not done:
                late = asyncio.ensure_future(self._store_late_result(step, call))
                running = self._loops.get().late
                running.add(late)
                late.add_done_callback(running.discard)
        return call.result() if done else STILL_RUNNING

    async def _store_late_result(self, step: RunCall, call: asyncio.Future[object]) -> None:
        """Store the result of a call that took longer than `handle` waited."""
        member_id, answer = step.member_id, self._base.late_answer(step, await call)
        try:
            await self._run(self._base.wake(member_id, answer), member_id)
        except VimbisoError as error:
            self._base.late_result_lost(error)

    async def _deliver(
        self, step: Deliver | PassOn, lock: AsyncMemberLock, place: Place | None
    ) -> Answer | BaseException:
        base = self._base
        lock.release()
        function, places = base.sending(step)
        threaded = not is_async(function.func)
        place = place or await take_awaited(places, places.limits.wait if step.is_reply else 0, threaded=threaded)
        if place is None:
            return base.sending_busy(step, places)
        try:
            return base.sent_answer(step, await attempt_awaited(place, function, DELIVERY_TIMEOUT))
        finally:
            place.leave()

    # Members ------------------------------------------------------------------------------------------------------

    @checked
    async def state(self, member_id: str) -> Document | None:
        """Return the member's stored document. See `FlowStateManager.state`."""
        return read(self.bot, member_id, await self.ask(Load(member_id)))

    @checked
    async def history(self, member_id: str, **filters: Unpack[Filters]) -> tuple[AuditEntry, ...]:
        """Return the member's audit entries, oldest first. See `FlowStateManager.history`."""
        return await self._operate(lambda context: read_history(context, member_id, filters))

    @checked
    async def incidents(self, member_id: str | None = None, **filters: Unpack[Filters]) -> tuple[Incident, ...]:
        """Return the incidents of a member, or of the store as a whole. See `FlowStateManager.incidents`."""
        return await self._operate(lambda context: read_incidents(context, member_id, filters))

    @checked
    async def member_of(self, channel: Channel) -> str | None:
        """Return the member to whom a channel is linked. See `FlowStateManager.member_of`."""
        return (await self._operate(lambda context: find_owner(context, self.bot.route(channel)))).member_id

    @checked
    async def update(self, member_id: str, change: Change) -> Document:
        """Change a stored document outside a turn. See `FlowStateManager.update`."""
        new_token = partial(secrets.token_hex, 16)
        return await self._operate(lambda context: update(context, member_id, change, new_token), member_id)

    @checked
    async def save(self, document: Document) -> Document:
        """Store a document that was read earlier. See `FlowStateManager.save`."""
        token = secrets.token_hex(16)
        return await self._operate(lambda context: save(context, document, token), document.member_id)

    @checked
    async def recover(self, member_id: str, *, to: int | None = None, dry_run: bool = False) -> Recovery:
        """Repair a member's damaged document, or put them back to an earlier state. See `FlowStateManager.recover`."""
        return await self._operate(lambda context: recover(context, member_id, to=to, dry_run=dry_run), member_id)

    @checked
    async def reset(self, member_id: str) -> Reset:
        """End every open flow of a member. See `FlowStateManager.reset`."""
        return await self._operate(lambda context: reset(context, member_id), member_id)

    @checked
    async def wipe(self, member_id: str) -> Wiped:
        """Remove a member's data but the tokens and the audit. See `FlowStateManager.wipe`."""
        return await self._operate(lambda context: wipe(context, member_id), member_id)

    @checked
    async def erase(self, member_id: str) -> Erasure:
        """Remove all that says anything about a member. See `FlowStateManager.erase`."""
        return await self._operate(lambda context: erase(context, member_id), member_id)

    @checked
    async def export(self, member_id: str) -> Exported:
        """Return all that is stored of a member, for the person that it is about. See `FlowStateManager.export`."""
        return await self._operate(lambda context: export(context, member_id))

    @checked
    async def link(self, member_id: str, channel: Channel) -> Linking:
        """Link a channel to a member. See `FlowStateManager.link`."""
        return await self._operate(lambda context: link(context, member_id, channel), member_id)

    @checked
    async def unlink(self, member_id: str, channel: Channel) -> Linking:
        """Take a channel from a member. See `FlowStateManager.unlink`."""
        return await self._operate(lambda context: unlink(context, member_id, channel), member_id)

    @checked
    async def relink(self, member_id: str, channel: Channel) -> Linking:
        """Link a channel to a member, and take it from another one. See `FlowStateManager.relink`."""
        return await self._operate(lambda context: link(context, member_id, channel, takes=True), member_id)

    @checked
    async def merge(self, member_id: str, into: str) -> Merging:
        """Merge a member, or a guest, into another member of the same person. See `FlowStateManager.merge`."""
        return await self._operate(lambda context: merge(context, member_id, into), member_id)

    @checked
    async def quarantined(self, member_id: str) -> tuple[Quarantined, ...]:
        """Return the list of a member's quarantined data. See `FlowStateManager.quarantined`."""
        return await self.ask(ReadQuarantine(member_id))

    @checked
    async def ask(self, request: Effect[R]) -> R:
        """Return the store's answer to a request. See the class of the request."""
        if time.monotonic() >= self._ready_until:
            await self._ready()
        return await self._perform(request)

    # Start and end ------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Check the servers now, and not only at the first use. See `FlowStateManager.start`."""
        await self._ready()

    def now(self) -> float:
        """Return seconds since the epoch on the store's clock. See `FlowStateManager.now`."""
        return self._base.clock.now()

    async def close(self) -> None:
        """Wait for late results, then close the connections, of all event loops. See `FlowStateManager.close`."""
        await self._loops.close()
        LOOKER.leave(self._base.watched)
        if self._archived is not None:
            await self._archived.close()
        if self._encrypted is not None:
            await self._encrypted.close()
        closed = self._on_close()
        if inspect.isawaitable(closed):
            await closed

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()


class _LoopState:
    """The parts of an async manager that serve one event loop.

    Attributes:
        queue: The queues of the members.
        late: The tasks that store late results of calls.
        starting: The startup check while it runs.
        others: The number of messages that are handled or wait, of members whose documents are not cached.
    """

    def __init__(self) -> None:
        self.queue = AsyncQueue(AT_ONCE, OTHERS_AT_ONCE)
        self.late: set[asyncio.Task[None]] = set()
        self.starting: asyncio.Future[None] | None = None
        self.others = 0
        self._recorder: AsyncRecorder | None = None

    def recorder(self, base: BaseManager, perform: Callable[[MarkSent], Awaitable[object]]) -> AsyncRecorder:
        """Return what lets the store know what was sent in this loop."""
        self._recorder = self._recorder or AsyncRecorder(base, perform)
        return self._recorder

    def started(self, starting: asyncio.Future[None]) -> None:
        """Let the next use check again after a failure."""
        self.starting = None
        if not starting.cancelled():
            starting.exception()  # retrieved here, because the tasks that waited may all be cancelled

    async def close(self) -> None:
        """Wait for late results, at most `CALL_WAIT` seconds."""
        import asyncio

        if self.late:
            _, slow = await asyncio.wait(tuple(self.late), timeout=CALL_WAIT)
            for task in slow:
                task.cancel()
        if self._recorder is not None:
            await self._recorder.close()

    def abandon(self) -> None:
        """Do nothing: the state has no resources outside its loop."""


async def _sleep(seconds: float) -> None:
    import asyncio  # not at the top: `import vimbiso_fsm` does not load asyncio

    await asyncio.sleep(seconds)
