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
from contextlib import AsyncExitStack, ExitStack
from functools import partial
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, TypeVar, Unpack

from vimbiso_fsm.archive.keeping import Archiving
from vimbiso_fsm.audit.entries import AuditEntry, Incident
from vimbiso_fsm.audit.flow_audit import Observer
from vimbiso_fsm.document.document import Document
from vimbiso_fsm.encryption.settings import Encryption
from vimbiso_fsm.errors import (
    NotAnswered,
)
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.flow import AnyFlow
from vimbiso_fsm.flow.rates import DEFAULT_RATES, Pace, Rates
from vimbiso_fsm.messages.given import Given
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.replies import Reply, Said
from vimbiso_fsm.messages.sending import Answer
from vimbiso_fsm.messages.told import Told
from vimbiso_fsm.operations.attend import Attended
from vimbiso_fsm.operations.effects import (
    AsyncLegacyReader,
    LegacyReader,
)
from vimbiso_fsm.operations.erase import Erasure, erase
from vimbiso_fsm.operations.export import Exported, export
from vimbiso_fsm.operations.handed import HandedConversations, handed
from vimbiso_fsm.operations.handle import Handling, Outcome
from vimbiso_fsm.operations.handle_event import EventOutcome
from vimbiso_fsm.operations.history import Filters, read_history, read_incidents
from vimbiso_fsm.operations.link import Linking, Merging, link, merge, unlink
from vimbiso_fsm.operations.members import KEYS_AT_ONCE, Standings, standings
from vimbiso_fsm.operations.recover import Recovery, recover
from vimbiso_fsm.operations.reset import Reset, reset
from vimbiso_fsm.operations.sending import told
from vimbiso_fsm.operations.shared import find_owner
from vimbiso_fsm.operations.update import Change, read, save, update
from vimbiso_fsm.operations.wipe import Wiped, wipe
from vimbiso_fsm.runtime.arguments import checked
from vimbiso_fsm.runtime.async_shell import AsyncShell
from vimbiso_fsm.runtime.base import BaseManager
from vimbiso_fsm.runtime.giving import flow_opened, handed_back, handed_over, person_said, trigger_pulled, words_given
from vimbiso_fsm.runtime.loop_state import LoopState
from vimbiso_fsm.runtime.queue import Queue
from vimbiso_fsm.runtime.sending import AsyncSender, AsyncTakesPassedOn, Recorder, Sender, TakesPassedOn
from vimbiso_fsm.runtime.shell import CALL_WAIT, Shell
from vimbiso_fsm.runtime.startup import StartupCheck
from vimbiso_fsm.runtime.watchdog import LOOKER, Watchdog
from vimbiso_fsm.store.doctor import Durability
from vimbiso_fsm.store.index import Secret
from vimbiso_fsm.store.requests import (
    AsyncStore,
    Effect,
    Load,
    Quarantined,
    ReadQuarantine,
    RecordIncident,
    Store,
)

if TYPE_CHECKING:
    from vimbiso_fsm.archive.procedures import Moved
    from vimbiso_fsm.archive.store import AsyncArchivedStore
    from vimbiso_fsm.encryption.store import AsyncEncryptedStore

_log = logging.getLogger("vimbiso_fsm")
R = TypeVar("R")

CONFLICT_TIMEOUT: Final = 5.0
"""Seconds for which a message waits for earlier ones of its member, and then may lose races, before `Contended`."""
DEFAULT_WATCHDOG: Final = Watchdog()
"""The bounds of the time that callbacks may take, unless a manager is given others."""


class Delivery(Protocol):
    """A function that sends proactive replies: of timers, session expiry and late results.

    A delivery that raises is tried again later. It may answer as a `Sender` does; anything else that it returns counts
    as sent. One that needs a connection to the member, as a web chat does, is an object with a method
    `reaches(channel) -> bool` too: where it has none, the replies wait for a process that has one, or precede the reply
    to the member's next message. The account of the bot to send from is `channel.account`. A parameter
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


class FlowStateManager(Shell):
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
                manager._perform(RecordIncident(None, incident.body))

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
            place, key = base.enter(message)
            begin = partial(Handling, message=message, place=place, imports=base.imports, sends=send)
            return self._run(begin, key, base.call_wait)
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

    def tell(self, member: str | Channel, text: str | Said, *, key: str) -> EventOutcome:
        """Say something to a member, once, and return the outcome.

        It is said through the outbox: at once if the manager delivers, otherwise by a worker that delivers, or before
        the reply to the member's next message. A state that waits for an answer goes on waiting. An address stands for
        the member or guest whom it leads to, who is told there. A member id stands for the channel of their latest
        message or, if they want no messages there, another one. At an address that never wrote, a conversation begins.

        Args:
            member: The id of a member or guest, or an address.
            text: The words, or another reply without choices. A plain text is a key of the catalogue or the words.
            key: The name of these words at this member. The same key has no second effect; with other words it is
                refused, and an incident is recorded.

        Returns:
            "advanced", "duplicate" or "refused", with the reason "unreachable" if the member wants no messages there or
            has no channel; "ignored" with the reason "unknown member" if the id is that of no member, or the address
            that of a conversation with another account of the bot, and with "several members" if the names of the
            address belong to several. `held` is "window" if the words wait because the window of the channel is over.

        Raises:
            InvalidMessage: A value is empty, too long or of the wrong type.
            DamagedDocument: The member's document is damaged. Their next message repairs it.
            StoreUnavailable, CommitUnknown, Contended: Give the same again; it takes effect once.
            NewerState, ForeignState, EncryptedState: As in `handle`.
        """
        return self._give(member, words_given, text, key)

    def open(self, member: str | Channel, flow: str | AnyFlow, data: object = None, *, key: str) -> EventOutcome:
        """Open a flow for a member, once, and return the outcome.

        It begins at once where no flow is open, also at an address that never wrote, and where the member is at home.
        Otherwise `Flow(opens=…)` of the flow decides: it interrupts the open one, or begins when the member has come
        home. A flow that requires a login leads to it first. While a call is on its way, the outcome is "ignored" with
        the reason "busy"; give it again then.

        Args:
            member: The id of a member or guest, or an address.
            flow: The flow, or its name.
            data: The data with which it begins, an instance of its data class or plain data; None for the defaults.
            key: The name of this opening at this member, as in `tell`.

        Raises:
            InvalidMessage, DamagedDocument, StoreUnavailable, CommitUnknown, Contended: As in `tell`.
            NewerState, ForeignState, EncryptedState: As in `handle`.
        """
        return self._give(member, flow_opened, flow, data, key)

    def trigger(self, member: str | Channel, name: str, data: object = None, *, key: str, by: str) -> EventOutcome:
        """Pull a trigger at a member, once, and return the outcome.

        The current state fires it if it declares it (`Transition(by=…)`), also when the session is over and the run
        waits; otherwise the bot does (`Bot(triggers=…)`). Guards may refuse it, which the audit records. A trigger that
        cannot come now is "ignored", and the same key may be given again: it has the reason "no transition" where the
        member stands elsewhere, and "busy" while a call is on its way or the run waits under another one.

        Args:
            member: The id of a member or guest, or an address.
            name: The name of the trigger.
            data: Its data, of the type that the declaration takes, or as plain data.
            key: The name of this trigger at this member, as in `tell`.
            by: The name of the system that pulls it. One that the declaration does not name is refused.

        Raises:
            InvalidMessage, DamagedDocument, StoreUnavailable, CommitUnknown, Contended: As in `tell`.
            NewerState, ForeignState, EncryptedState: As in `handle`.
        """
        return self._give(member, trigger_pulled, name, data, key, by)

    def hand_over(self, member: str | Channel, inbox: str, *, key: str, by: str) -> EventOutcome:
        """Hand the conversation of a member over to a person, once, and return the outcome.

        What the member says passes to the inbox from then on. The open run, its timers and the session stand still.

        Args:
            member: The id of a member or guest, or an address.
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
        return self._give(member, handed_over, inbox, key, by)

    def say(self, member: str | Channel, text: str | Said, *, key: str, by: str, inbox: str = "") -> EventOutcome:
        """Say something to a member in the name of a person, once, and return the outcome.

        It goes out as the words of `tell` do, and it is "ignored" with the reason "not handed" while the bot has the
        conversation.

        Args:
            member: The id of a member or guest, or an address.
            text: The words as they are, or another reply without choices.
            key: The name of these words at this member, as in `tell`.
            by: The name of the person, for the audit.
            inbox: The inbox of the person. It is "not handed" if another one has the conversation; empty for any.

        Raises:
            InvalidMessage, DamagedDocument, StoreUnavailable, CommitUnknown, Contended: As in `tell`.
            NewerState, ForeignState, EncryptedState: As in `handle`.
        """
        return self._give(member, person_said, text, key, by, inbox)

    def hand_back(self, member: str | Channel, *, key: str, by: str, inbox: str = "") -> EventOutcome:
        """Give the conversation of a member back to the bot, once, and return the outcome.

        The run goes on where it stood, and its question is asked again.

        Args:
            member: The id of a member or guest, or an address.
            key: The name of this at this member, as in `tell`.
            by: The name of the person or system that does it, for the audit and the inbox.
            inbox: The inbox that must have the conversation, as in `say`.

        Returns:
            As of `tell`; "ignored" with the reason "not handed" if the bot has it.

        Raises:
            InvalidMessage, DamagedDocument, StoreUnavailable, CommitUnknown, Contended: As in `tell`.
            NewerState, ForeignState, EncryptedState: As in `handle`.
        """
        return self._give(member, handed_back, key, by, inbox)

    @checked
    def handed(self, inbox: str = "") -> HandedConversations:
        """List the conversations that are handed over, and those of which something still waits for an inbox.

        It asks each of 1,024 shards, and reads each member at whom something is due within seven days. That is for an
        operator and the start of a help desk, which hears of each change by its inbox then.

        Args:
            inbox: The name of an inbox; "" for all.

        Raises:
            StoreUnavailable: The store cannot be reached.
        """
        return self._operate(lambda context: handed(context, inbox))

    @checked
    def members(self, cursor: str = "", *, keys: int = KEYS_AT_ONCE) -> Standings:
        """Return a part of the members with their standing: the state, since when, and why they are stuck.

        A store may have a million members, so they come in parts. Give the cursor of a part to get the next one, until
        a part has none. Each member of a part is read, and nothing is stored.

        Args:
            cursor: Where the part begins, as the part before has told; empty for the first.
            keys: The number of keys that a server looks at, about. The members of a part are fewer.

        Raises:
            ValueError: The cursor was told by no part.
            StoreUnavailable: The store cannot be reached.
        """
        return self._operate(lambda context: standings(context, cursor, keys))

    def _give(self, member: str | Channel, make: Callable[..., Given], *details: object) -> EventOutcome:
        """Give a member or an address what `make` makes of the member's id, as far as is known, and of `details`."""
        if self._start is not None and isinstance(member, Channel):  # the digests name the place in the queue
            self._ready()
        given = make(self._base.id_of(member), *details)
        return self._run(self._base.giving(given, member), given.member_id, self._base.call_wait)

    @checked
    def wake(self, member_id: str) -> tuple[AuditEntry, ...]:
        """Run a member's due work, and return the audit entries of the turns made.

        A `Worker` calls it. Any process may call it at any time.

        Raises:
            StoreUnavailable, CommitUnknown, Contended, NewerState, ForeignState: Call it again later.
        """
        return self._run(self._base.wake(member_id), member_id)

    @checked
    def attend(self, channel: Channel, *, asks: bool = False) -> Attended:
        """Run the due work of the member on a channel, and return what is due there next.

        A process that holds a connection to the member calls it from time to time, as `vimbiso_fsm.web` does: what
        other processes have left for the member is delivered then. Where the member's latest message came on another
        channel, only what is to be said on this one counts.

        Args:
            channel: The channel.
            asks: Whether the question that is open there is asked again.

        Raises:
            InvalidMessage: The bot does not know the type of the channel.
            StoreUnavailable, CommitUnknown, Contended, NewerState, ForeignState, EncryptedState: Call it again later.
        """
        found = self._operate(self._base.looking(channel, asks=asks))
        if found.is_due(self.now()):
            self.wake(found.member_id)
            found = self._operate(self._base.looking(channel, asks=asks))
        return found

    def archive(self, member_id: str) -> Moved:
        """Move the audit entries of a member that exceed the bounds from the store to the archive.

        A `Worker` calls it for each member that it wakes. An archive that refuses is no error: the entries stay in the
        store, and an incident says why.

        Raises:
            FlowError: The manager was given no archive.
            StoreUnavailable, CommitUnknown: Call it again later.
        """
        return self.ask(self._base.moving(member_id, archives=self.archives))

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
        return self._operate(lambda context: wipe(context, member_id), member_id, queued=True)

    @checked
    def erase(self, member_id: str) -> Erasure:
        """Remove all that says anything about a member: what a wipe removes, the links, the audit and the incidents.

        A tombstone stays in the audit, and the hashed tokens of handled messages stay at the guests on the channels.
        The server's log and its copies hold the erased data until they are rewritten.

        Raises:
            MemberNotFound: Nothing is stored of the member.
            StoreUnavailable, CommitUnknown, Contended: Call it again.
        """
        return self._operate(lambda context: erase(context, member_id), member_id, queued=True)

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


class AsyncFlowStateManager(AsyncShell):
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
        self._loops = PerLoop(LoopState)
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
                await manager._perform(RecordIncident(None, incident.body))

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
            place, key = base.enter(message)
            begin = partial(Handling, message=message, place=place, imports=base.imports, sends=send)
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

    async def tell(self, member: str | Channel, text: str | Said, *, key: str) -> EventOutcome:
        """Say something to a member, once, and return the outcome. See `FlowStateManager.tell`."""
        return await self._give(member, words_given, text, key)

    async def open(self, member: str | Channel, flow: str | AnyFlow, data: object = None, *, key: str) -> EventOutcome:
        """Open a flow for a member, once, and return the outcome. See `FlowStateManager.open`."""
        return await self._give(member, flow_opened, flow, data, key)

    async def trigger(
        self, member: str | Channel, name: str, data: object = None, *, key: str, by: str
    ) -> EventOutcome:
        """Pull a trigger at a member, once, and return the outcome. See `FlowStateManager.trigger`."""
        return await self._give(member, trigger_pulled, name, data, key, by)

    async def hand_over(self, member: str | Channel, inbox: str, *, key: str, by: str) -> EventOutcome:
        """Hand the conversation of a member over to a person, once. See `FlowStateManager.hand_over`."""
        return await self._give(member, handed_over, inbox, key, by)

    async def say(self, member: str | Channel, text: str | Said, *, key: str, by: str, inbox: str = "") -> EventOutcome:
        """Say something to a member in the name of a person, once. See `FlowStateManager.say`."""
        return await self._give(member, person_said, text, key, by, inbox)

    async def hand_back(self, member: str | Channel, *, key: str, by: str, inbox: str = "") -> EventOutcome:
        """Give the conversation of a member back to the bot, once. See `FlowStateManager.hand_back`."""
        return await self._give(member, handed_back, key, by, inbox)

    async def handed(self, inbox: str = "") -> HandedConversations:
        """List the conversations that are handed over. See `FlowStateManager.handed`."""
        return await self._operate(lambda context: handed(context, inbox))

    @checked
    async def members(self, cursor: str = "", *, keys: int = KEYS_AT_ONCE) -> Standings:
        """Return a part of the members with their standing. See `FlowStateManager.members`."""
        return await self._operate(lambda context: standings(context, cursor, keys))

    async def _give(self, member: str | Channel, make: Callable[..., Given], *details: object) -> EventOutcome:
        if self._start is not None and isinstance(member, Channel):
            await self._ready()
        given = make(self._base.id_of(member), *details)
        return await self._run(self._base.giving(given, member), given.member_id, self._base.call_wait)

    @checked
    async def wake(self, member_id: str) -> tuple[AuditEntry, ...]:
        """Run a member's due work. See `FlowStateManager.wake`."""
        return await self._run(self._base.wake(member_id), member_id)

    @checked
    async def attend(self, channel: Channel, *, asks: bool = False) -> Attended:
        """Run the due work of the member on a channel. See `FlowStateManager.attend`."""
        found = await self._operate(self._base.looking(channel, asks=asks))
        if found.is_due(self.now()):
            await self.wake(found.member_id)
            found = await self._operate(self._base.looking(channel, asks=asks))
        return found

    async def archive(self, member_id: str) -> Moved:
        """Move the audit entries of a member to the archive. See `FlowStateManager.archive`."""
        return await self.ask(self._base.moving(member_id, archives=self.archives))

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
        return await self._operate(lambda context: wipe(context, member_id), member_id, queued=True)

    @checked
    async def erase(self, member_id: str) -> Erasure:
        """Remove all that says anything about a member. See `FlowStateManager.erase`."""
        return await self._operate(lambda context: erase(context, member_id), member_id, queued=True)

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
