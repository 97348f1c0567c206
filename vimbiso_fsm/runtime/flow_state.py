"""The managers: shells with a store, a clock and services around pure operations, sync and async next to each other.

Both do the same: wait for the member's place in the queue, perform each effect of the operation, run its calls, send
its deliveries, and tell the observers. Nothing is decided here.
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

from vimbiso_fsm.audit.entries import AuditEntry, Incident
from vimbiso_fsm.audit.flow_audit import Observer
from vimbiso_fsm.document.document import Document
from vimbiso_fsm.errors import NotAnswered, ServiceError, Unreadable, VimbisoError
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.replies import Reply
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.operations.effects import (
    STILL_RUNNING,
    AsyncLegacyReader,
    Deliver,
    LegacyReader,
    Operation,
    Pause,
    ReadLegacy,
    RunCall,
    answered,
    run,
    run_awaited,
)
from vimbiso_fsm.operations.handle import Outcome
from vimbiso_fsm.operations.history import Filters, read_history, read_incidents
from vimbiso_fsm.operations.recover import Recovery, recover
from vimbiso_fsm.operations.reset import Reset, reset
from vimbiso_fsm.operations.update import Change, read, save, update
from vimbiso_fsm.operations.wipe import Wiped, wipe
from vimbiso_fsm.runtime.base import BaseManager, delay
from vimbiso_fsm.runtime.queue import AsyncMemberLock, AsyncQueue, MemberLock, Queue
from vimbiso_fsm.runtime.services import (
    DELIVERY_TIMEOUT,
    awaited,
    bind,
    bind_delivery,
    in_thread,
    only_sync,
    with_retries,
    with_retries_async,
    with_timeout,
)
from vimbiso_fsm.runtime.startup import StartupCheck
from vimbiso_fsm.store.doctor import Durability, Finding
from vimbiso_fsm.store.requests import (
    AsyncStore,
    Effect,
    FindOwner,
    Load,
    Quarantined,
    ReadQuarantine,
    RecordIncident,
    Store,
)

if TYPE_CHECKING:
    import asyncio  # not at run time: `import vimbiso_fsm` does not load it

_log = logging.getLogger("vimbiso_fsm")
R = TypeVar("R")

CONFLICT_TIMEOUT = 5.0
"""Seconds that a message waits for those of its member before it, and that it then loses races, before `Contended`."""
CALL_WAIT = 10.0
"""Seconds that `handle` waits for its own calls; then the member is told that it is being worked on."""
HOLD = 0.4
"""The part of the patience for which a call keeps the member's place. A message that comes meanwhile waits as long, and
is decided on the call's answer; after that it is told that the call is being worked on."""
AT_ONCE = 500
"""Messages in hand at the same moment in an async manager, without those that wait for a call or a delivery."""

_OUTSIDE: Final = (RunCall, Deliver)
"""Effects during which other messages of the member may be served. Their time is not time of the operation."""


class Delivery(Protocol):
    """Sends proactive replies: timers, session expiry, late results. Raise to have it retried.

    A parameter `key`, where the function has one, is filled with a text that is the same for each attempt to send the
    same replies, for channels that can tell repeats.
    """

    def __call__(self, channel: Channel, replies: Sequence[Reply], /) -> None:
        """Send the replies."""
        ...


class AsyncDelivery(Protocol):
    """Sends proactive replies, awaited. See `Delivery`."""

    def __call__(self, channel: Channel, replies: Sequence[Reply], /) -> Awaitable[None]:
        """Send the replies."""
        ...


class FlowStateManager:
    """Handles messages on a store: each is decided, stored and answered once.

    Safe to share between threads; a context manager.
    """

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
        legacy: LegacyReader | None = None,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        """Make a manager.

        Args:
            flows: A bot, or the name of a package that exports one as `bot`.
            store: The store.
            services: Services by name; they replace the bot's.
            observers: Called with each commit after it is stored.
            cache: The number of recent members kept in the process; 0 for none.
            patience: Seconds for which an operation may lose races against other writers.
            call_wait: Seconds for which `handle` waits for its calls.
            deliver: Sends proactive replies. Without it they precede the reply to the member's next message.
            legacy: Reads the records of the previous release, which the bot's importer imports.
            on_close: Called by `close`.

        Raises:
            ServiceError: A service has async methods.
            TypeError: `flows` names no bot.
            ValueError: `legacy` is given, and the bot has no importer.
        """
        self._base = BaseManager(flows, services, observers, cache, patience, call_wait, deliver, legacy)
        only_sync(self._base.bot.services, deliver)
        self._store = store
        self._legacy = legacy
        self._queue = Queue()
        self._late: set[Future[None]] = set()
        self._start: Callable[[], None] | None = None
        self._starting = threading.Lock()
        self._on_close = on_close

    @classmethod
    def from_url(
        cls,
        url: str,
        flows: Bot | str,
        *,
        durability: Durability | None = None,
        unsafe_store: bool = False,
        legacy: LegacyReader | str | bool | None = None,
        **options: Any,
    ) -> Self:
        """Make a manager on Redis-compatible servers.

        Args:
            url: `redis://`, `rediss://`, `unix://`, `redis+cluster://` or `redis+sentinel://`.
            flows: A bot, or the name of a package that exports one as `bot`.
            durability: What an answered turn must survive: "local" (a power cut) or "replicated" (the loss of a
                server). The manager asks the servers at its start whether they can promise that, and refuses to start
                on those that cannot. Without it the manager only warns, in the log.
            unsafe_store: Start all the same; an incident of the store then says so.
            legacy: The URL of the records of the previous release, or True when they are on the same server and
                database.
            **options: As of the class.

        Raises:
            StoreUnavailable: The URL is none.
            UnsafeStore: At the first use: the servers cannot promise the durability.
        """
        from vimbiso_fsm.store.health import ask_nodes
        from vimbiso_fsm.store.redis_atomic import AtomicStateManager

        store = AtomicStateManager.from_url(url, durability=durability or "local")
        closing = ExitStack()
        closing.callback(store.close)
        if isinstance(legacy, str | bool):
            from vimbiso_fsm.legacy.source import LegacySource

            legacy = closing.enter_context(LegacySource(legacy if isinstance(legacy, str) else url)) if legacy else None
        manager = cls(flows, store, legacy=legacy, on_close=closing.close, **options)
        startup = StartupCheck(durability, unsafe_store)
        manager._start = lambda: manager._check_startup(startup.findings(ask_nodes(store.servers)), startup)
        return manager

    @classmethod
    def embedded(cls, path: str | PathLike[str], flows: Bot | str, **options: Any) -> Self:
        """Make a manager on a server that runs beside this process and keeps its files under `path`.

        Raises:
            EmbeddedServerError: The server cannot be started or joined.
        """
        from vimbiso_fsm.store.embedded import EmbeddedServer
        from vimbiso_fsm.store.redis_atomic import AtomicStateManager

        engine = EmbeddedServer.start(path)
        store = AtomicStateManager.from_url(engine.url)

        def close() -> None:
            store.close()
            engine.close()

        return cls(flows, store, on_close=close, **options)

    @classmethod
    def in_memory(cls, flows: Bot | str, *, clock: Callable[[], float] = time.time, **options: Any) -> Self:
        """Make a manager on a store in memory, which ends with the process.

        Args:
            flows: A bot, or the name of a package that exports one as `bot`.
            clock: Returns seconds since the epoch; tests turn it.
            **options: As of the class.
        """
        from vimbiso_fsm.store.memory import MemoryStore

        manager = cls(flows, MemoryStore(clock), **options)
        manager._base.clock.follow(clock)
        return manager

    @property
    def bot(self) -> Bot:
        """The bot with its services."""
        return self._base.bot

    # Messages and due work ----------------------------------------------------------------------------------------

    def handle(self, message: Message) -> Outcome:
        """Decide a message, store the turn, run its calls, and return what came of it.

        Raises:
            InvalidMessage: It is no message, or the bot does not know the type of its channel.
            StoreUnavailable: Nothing was stored.
            CommitUnknown, Contended: Handle the same message again; it takes effect once.
            NewerState: A worker of the newer release can handle the message.

        The latter four bring the reply for the member, `error.reply`.
        """
        base = self._base
        base.check(message)
        try:
            return self._run(partial(base.handle, message), base.queue(message), base.call_wait)
        except NotAnswered as error:
            base.not_answered(message, error)
            raise

    def wake(self, member_id: str) -> tuple[AuditEntry, ...]:
        """Run everything that is due at a member, and return the audit entries of what was done.

        A worker calls it (`runtime/worker.py`). It may be called by any process at any time.

        Raises:
            StoreUnavailable, CommitUnknown, Contended, NewerState: It is to be called again later.
        """
        return self._run(partial(self._base.wake, member_id, None), member_id)

    def _ready(self) -> None:
        """Check before the first use whether this manager may start on its servers."""
        with self._starting:
            if self._start is not None:
                self._start()
                self._start = None

    def _check_startup(self, findings: tuple[Finding, ...], startup: StartupCheck) -> None:
        incident = startup.incident(findings, self._base.clock.now())
        if incident is not None:
            self._store.perform(RecordIncident(None, incident.body))

    def _run(self, begin: Callable[[Context], Operation[R]], key: object, call_wait: float | None = None) -> R:
        """Run an operation in the member's place in the queue.

        Args:
            begin: Makes the operation.
            key: The key of the queue.
            call_wait: Seconds for all calls together; None waits for their end.
        """
        if self._start is not None:
            self._ready()
        base, began, outside = self._base, time.monotonic(), 0.0
        with self._queue.place(key, base.patience) as place:
            context = base.context(time.monotonic() - began)

            def perform(effect: Effect[Any]) -> object:
                nonlocal outside
                try:
                    if not isinstance(effect, _OUTSIDE):
                        return self._perform(effect)
                    since = time.monotonic()
                    answer: object
                    if isinstance(effect, Deliver):
                        answer = self._deliver(effect, place)
                    else:
                        answer = self._call(effect, None if call_wait is None else max(call_wait - outside, 0), place)
                    place.reacquire()
                    outside += time.monotonic() - since
                    return answer
                finally:
                    context.now, context.waited = base.clock.now(), time.monotonic() - began - outside

            try:
                return run(begin(context), perform)
            finally:
                base.report(context)

    def _operate(self, begin: Callable[[Context], Operation[R]], member_id: str | None = None) -> R:
        """Run an operation outside the queue. `member_id`: the member whose document it may change."""
        if self._start is not None:
            self._ready()
        base, began = self._base, time.monotonic()
        context = base.context()

        def perform(effect: Effect[Any]) -> object:
            try:
                return self._perform(effect)
            finally:
                context.now, context.waited = base.clock.now(), time.monotonic() - began

        try:
            return run(begin(context), perform)
        finally:
            base.report(context)
            if member_id is not None:  # the caller holds the object that was stored
                base.cache.forget(member_id)

    def _perform(self, effect: Effect[R]) -> R:
        answer: Any = None
        if isinstance(effect, Pause):
            time.sleep(delay(effect.attempt))
        elif not isinstance(effect, ReadLegacy):
            answer = self._store.perform(effect)
            self._base.clock.hear(answer)
        elif self._legacy is not None:
            answer = self._legacy.read(effect.number)
        result: R = answer
        return result

    def _call(self, step: RunCall, wait: float | None, place: MemberLock) -> object:
        try:
            future = in_thread(partial(with_retries, bind(self.bot.services, step), step.policy, step.refuses))
        except Unreadable as error:
            return error
        hold = HOLD * self._base.patience
        try:
            done, _ = wait_for([future], hold if wait is None else min(hold, wait))
            if not done:
                place.release()
            return future.result(None if wait is None else max(wait - hold, 0))
        except TimeoutError:
            home: Future[None] = Future()
            self._late.add(home)
            future.add_done_callback(partial(self._bring_home, step, home))
            return STILL_RUNNING

    def _bring_home(self, step: RunCall, home: Future[None], future: Future[object]) -> None:
        """Store the answer of a call that took longer than `handle` waited."""
        try:
            member_id, answer = step.caller.member_id, answered(step, future.result())
            self._run(partial(self._base.wake, member_id, answer), member_id)
        except VimbisoError as error:
            self._base.lost(error)
        finally:
            self._late.discard(home)
            home.set_result(None)

    def _deliver(self, step: Deliver, place: MemberLock) -> BaseException | None:
        assert self._base.deliver is not None
        place.release()
        try:
            given = with_timeout(bind_delivery(self._base.deliver, step), DELIVERY_TIMEOUT)
            if inspect.iscoroutine(given):
                given.close()
                return ServiceError("deliver", "it is async; use AsyncFlowStateManager, or give one without await")
        except Exception as error:  # noqa: BLE001  # whatever it raises, the replies may have been sent or not
            return error
        return None

    # Members ------------------------------------------------------------------------------------------------------

    def state(self, member_id: str) -> Document | None:
        """Return the member's document as it is stored now, None when there is none.

        Raises:
            DamagedDocument: What is stored is no valid document.
            NewerState: A newer release has stored it.
            StoreUnavailable: The store cannot be reached.
        """
        return read(self.bot, member_id, self.ask(Load(member_id)))

    def history(self, member_id: str, **filters: Unpack[Filters]) -> tuple[AuditEntry, ...]:
        """Return the member's audit entries, oldest first, with those of the guests promoted to the member.

        Args:
            member_id: The member.
            **filters: `channel`, `flow`, `run`, `since`, `until` and `last` choose among them. See `Filters`.

        Raises:
            DamagedDocument: The audit cannot be read as a whole.
            Unreadable: An entry cannot be read.
            StoreUnavailable: The store cannot be reached.
        """
        return self._operate(lambda _: read_history(member_id, filters))

    def incidents(self, member_id: str | None = None, **filters: Unpack[Filters]) -> tuple[Incident, ...]:
        """Return the incidents of a member, or (None) of the store as a whole, oldest first.

        Args:
            member_id: The member, or None.
            **filters: As of `history`.

        Raises:
            Unreadable: An incident cannot be read.
            StoreUnavailable: The store cannot be reached.
        """
        return self._operate(lambda _: read_incidents(member_id, filters))

    def member_of(self, channel: Channel) -> str | None:
        """Return the member to whom a channel is linked; None when it is a guest's, or unknown."""
        return self.ask(FindOwner(channel)).member_id

    def update(self, member_id: str, change: Change) -> Document:
        """Change a stored document outside a conversation.

        After a conflict the change is applied again to what is stored then.

        Raises:
            InvalidState, NotStorable: The changed document is invalid; nothing was stored.
            DamagedDocument: The document is damaged.
            KeyError: The member has no document.
            Contended: Other writers were faster until the patience was over.
        """
        new_token = partial(secrets.token_hex, 16)
        return self._operate(lambda context: update(context, member_id, change, new_token), member_id)

    def save(self, document: Document) -> Document:
        """Store a document that was read earlier, if the member is still at that version; a new one at version 0.

        Raises:
            VersionConflict: The member is at another version.
            InvalidState, NotStorable: The document is invalid; nothing was stored.
        """
        token = secrets.token_hex(16)
        return self._operate(lambda context: save(context, document, token), document.member_id)

    def recover(self, member_id: str, *, to: int | None = None, dry_run: bool = False) -> Recovery:
        """Mend a member's damaged document without waiting for a message; the damage is quarantined.

        A sound one is left alone. The member is told with the next reply, or by a delivery, and asked anew.

        Args:
            member_id: The member.
            to: Put the member back to the state of this version, if it is still kept and no call with an effect was
                made since.
            dry_run: Return the same, and change nothing.

        Raises:
            NothingStored: Nothing is stored of the member.
            NotRecovered: The member cannot be recovered so; nothing was changed.
            StoreUnavailable, CommitUnknown, Contended: Call it again.
        """
        return self._operate(lambda context: recover(context, member_id, to=to, dry_run=dry_run), member_id)

    def reset(self, member_id: str) -> Reset:
        """End every open flow of a member; the profile, the channels, the token and the session stay.

        The answer of a call on its way is not awaited any more.

        Raises:
            NothingStored: Nothing is stored of the member.
            DamagedDocument: The document is damaged; recover it first.
            StoreUnavailable, CommitUnknown, Contended: Call it again.
        """
        return self._operate(lambda context: reset(context, member_id), member_id)

    def wipe(self, member_id: str) -> Wiped:
        """Remove the document of a member, damaged or not, the one before, the turn records and what was quarantined.

        The tokens and the audit stay, so that nothing is done twice. The member's next message begins anew.

        Raises:
            NothingStored: Nothing is stored of the member.
            StoreUnavailable, CommitUnknown, Contended: Call it again.
        """
        return self._operate(lambda context: wipe(context, member_id), member_id)

    def quarantined(self, member_id: str) -> tuple[Quarantined, ...]:
        """Return what was quarantined of a member, oldest first; `ask(ShowQuarantined(…))` shows one of them.

        Raises:
            StoreUnavailable: The store cannot be reached.
        """
        return self.ask(ReadQuarantine(member_id))

    def ask(self, request: Effect[R]) -> R:
        """Have the store perform a request, and return its answer. See the request's class."""
        if self._start is not None:
            self._ready()
        return self._perform(request)

    # Start and end ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Check now, and not at the first message, whether the store may be used. May be called again.

        Raises:
            UnsafeStore: The servers cannot promise the durability.
            StoreUnavailable: A server cannot be reached.
        """
        self._ready()

    def now(self) -> float:
        """Return the store's clock as this process knows it: seconds since the epoch."""
        return self._base.clock.now()

    def close(self) -> None:
        """Wait a while for calls that are still being made, then close what the manager has opened."""
        wait_for(tuple(self._late), CALL_WAIT)
        self._on_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class AsyncFlowStateManager:
    """Handles messages on a store, for asyncio. See `FlowStateManager`.

    Safe to share between the tasks of one event loop. Services may be sync or async; a sync one runs in a thread of its
    own. Of more messages than `AT_ONCE` the later ones wait, in the order in which they came, as long as it takes.
    """

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
        legacy: AsyncLegacyReader | None = None,
        on_close: Callable[[], Any] = lambda: None,
    ) -> None:
        """Make a manager. See `FlowStateManager`."""
        self._base = BaseManager(flows, services, observers, cache, patience, call_wait, deliver, legacy)
        self._store = store
        self._legacy = legacy
        self._queue = AsyncQueue(AT_ONCE)
        self._late: set[asyncio.Task[None]] = set()
        self._start: Callable[[], Awaitable[None]] | None = None
        self._starting: asyncio.Future[None] | None = None
        self._on_close = on_close

    @classmethod
    def from_url(
        cls,
        url: str,
        flows: Bot | str,
        *,
        durability: Durability | None = None,
        unsafe_store: bool = False,
        legacy: AsyncLegacyReader | str | bool | None = None,
        **options: Any,
    ) -> Self:
        """Make a manager on Redis-compatible servers. See `FlowStateManager.from_url`."""
        from vimbiso_fsm.store.health import ask_nodes_awaited
        from vimbiso_fsm.store.redis_atomic import AsyncAtomicStateManager

        store = AsyncAtomicStateManager.from_url(url, durability=durability or "local")
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
            await manager._check_startup(startup.findings(await ask_nodes_awaited(store.servers)), startup)

        manager._start = start
        return manager

    @classmethod
    def embedded(cls, path: str | PathLike[str], flows: Bot | str, **options: Any) -> Self:
        """Make a manager on a server that runs beside this process. See `FlowStateManager.embedded`."""
        from vimbiso_fsm.store.embedded import EmbeddedServer
        from vimbiso_fsm.store.redis_atomic import AsyncAtomicStateManager

        engine = EmbeddedServer.start(path)
        store = AsyncAtomicStateManager.from_url(engine.url)

        async def close() -> None:
            await store.close()
            engine.close()

        return cls(flows, store, on_close=close, **options)

    @classmethod
    def in_memory(cls, flows: Bot | str, *, clock: Callable[[], float] = time.time, **options: Any) -> Self:
        """Make a manager on a store in memory. See `FlowStateManager.in_memory`."""
        from vimbiso_fsm.store.memory import AsyncMemoryStore, MemoryStore

        manager = cls(flows, AsyncMemoryStore(MemoryStore(clock)), **options)
        manager._base.clock.follow(clock)
        return manager

    @property
    def bot(self) -> Bot:
        """The bot with its services."""
        return self._base.bot

    # Messages and due work ----------------------------------------------------------------------------------------

    async def handle(self, message: Message) -> Outcome:
        """Decide a message, store the turn, run its calls, and return the outcome. See `FlowStateManager.handle`."""
        base = self._base
        base.check(message)
        try:
            return await self._run(partial(base.handle, message), base.queue(message), base.call_wait)
        except NotAnswered as error:
            base.not_answered(message, error)
            raise

    async def wake(self, member_id: str) -> tuple[AuditEntry, ...]:
        """Run everything that is due at a member. See `FlowStateManager.wake`."""
        return await self._run(partial(self._base.wake, member_id, None), member_id)

    async def _ready(self) -> None:
        """Check before the first use whether this manager may start on its servers.

        One task asks, and the others wait; a cancelled one does not stop the rest.
        """
        import asyncio

        if self._starting is None:
            self._starting = asyncio.ensure_future(self._begin())
            self._starting.add_done_callback(self._begun)
        await asyncio.shield(self._starting)

    async def _begin(self) -> None:
        if self._start is not None:
            await self._start()
            self._start = None

    def _begun(self, starting: asyncio.Future[None]) -> None:
        """Have the next use ask again, after a failure."""
        self._starting = None
        if not starting.cancelled():
            starting.exception()  # the tasks that waited have it; with none left it is not reported as never retrieved

    async def _check_startup(self, findings: tuple[Finding, ...], startup: StartupCheck) -> None:
        incident = startup.incident(findings, self._base.clock.now())
        if incident is not None:
            await self._store.perform(RecordIncident(None, incident.body))

    async def _run(self, begin: Callable[[Context], Operation[R]], key: object, call_wait: float | None = None) -> R:
        """Run an operation in the member's place in the queue. See `FlowStateManager._run`."""
        if self._start is not None:
            await self._ready()
        base, began, outside = self._base, time.monotonic(), 0.0
        async with self._queue.place(key, base.patience) as place:
            context = base.context(time.monotonic() - began)

            async def perform(effect: Effect[Any]) -> object:
                nonlocal outside
                try:
                    if not isinstance(effect, _OUTSIDE):
                        return await self._perform(effect)
                    since = time.monotonic()
                    place.give_up_slot()
                    answer: object
                    if isinstance(effect, Deliver):
                        answer = await self._deliver(effect, place)
                    else:
                        wait = None if call_wait is None else max(call_wait - outside, 0)
                        answer = await self._call(effect, wait, place)
                    await place.reacquire()
                    outside += time.monotonic() - since
                    return answer
                finally:
                    context.now, context.waited = base.clock.now(), time.monotonic() - began - outside

            try:
                return await run_awaited(begin(context), perform)
            finally:
                base.report(context)

    async def _operate(self, begin: Callable[[Context], Operation[R]], member_id: str | None = None) -> R:
        """Run an operation outside the queue. `member_id`: the member whose document it may change."""
        if self._start is not None:
            await self._ready()
        base, began = self._base, time.monotonic()
        context = base.context()

        async def perform(effect: Effect[Any]) -> object:
            try:
                return await self._perform(effect)
            finally:
                context.now, context.waited = base.clock.now(), time.monotonic() - began

        try:
            return await run_awaited(begin(context), perform)
        finally:
            base.report(context)
            if member_id is not None:  # the caller holds the object that was stored
                base.cache.forget(member_id)

    async def _perform(self, effect: Effect[R]) -> R:
        answer: Any = None
        if isinstance(effect, Pause):
            await _sleep(delay(effect.attempt))
        elif not isinstance(effect, ReadLegacy):
            answer = await self._store.perform(effect)
            self._base.clock.hear(answer)
        elif self._legacy is not None:
            answer = await self._legacy.read(effect.number)
        result: R = answer
        return result

    async def _call(self, step: RunCall, wait: float | None, place: AsyncMemberLock) -> object:
        import asyncio

        try:
            method = bind(self.bot.services, step)
        except Unreadable as error:
            return error
        call = asyncio.ensure_future(with_retries_async(method, step.policy, step.refuses))
        hold = HOLD * self._base.patience
        done: set[asyncio.Task[object]] = set()
        try:
            done, _ = await asyncio.wait({call}, timeout=hold if wait is None else min(hold, wait))
            if not done:
                place.release()
                done, _ = await asyncio.wait({call}, timeout=None if wait is None else max(wait - hold, 0))
        finally:  # the call goes on, also when the task that waits is cancelled
            if not done:
                late = asyncio.ensure_future(self._bring_home(step, call))
                self._late.add(late)
                late.add_done_callback(self._late.discard)
        return call.result() if done else STILL_RUNNING

    async def _bring_home(self, step: RunCall, call: asyncio.Future[object]) -> None:
        """Store the answer of a call that took longer than `handle` waited."""
        member_id, answer = step.caller.member_id, answered(step, await call)
        try:
            await self._run(partial(self._base.wake, member_id, answer), member_id)
        except VimbisoError as error:
            self._base.lost(error)

    async def _deliver(self, step: Deliver, place: AsyncMemberLock) -> BaseException | None:
        import asyncio

        assert self._base.deliver is not None
        place.release()
        try:
            async with asyncio.timeout(DELIVERY_TIMEOUT):
                await awaited(bind_delivery(self._base.deliver, step))
        except Exception as error:  # noqa: BLE001  # whatever it raises, the replies may have been sent or not
            return error
        return None

    # Members ------------------------------------------------------------------------------------------------------

    async def state(self, member_id: str) -> Document | None:
        """Return the member's document as it is stored now. See `FlowStateManager.state`."""
        return read(self.bot, member_id, await self.ask(Load(member_id)))

    async def history(self, member_id: str, **filters: Unpack[Filters]) -> tuple[AuditEntry, ...]:
        """Return the member's audit entries, oldest first. See `FlowStateManager.history`."""
        return await self._operate(lambda _: read_history(member_id, filters))

    async def incidents(self, member_id: str | None = None, **filters: Unpack[Filters]) -> tuple[Incident, ...]:
        """Return the incidents of a member, or of the store as a whole. See `FlowStateManager.incidents`."""
        return await self._operate(lambda _: read_incidents(member_id, filters))

    async def member_of(self, channel: Channel) -> str | None:
        """Return the member to whom a channel is linked; None when it is a guest's, or unknown."""
        return (await self.ask(FindOwner(channel))).member_id

    async def update(self, member_id: str, change: Change) -> Document:
        """Change a stored document outside a conversation. See `FlowStateManager.update`."""
        new_token = partial(secrets.token_hex, 16)
        return await self._operate(lambda context: update(context, member_id, change, new_token), member_id)

    async def save(self, document: Document) -> Document:
        """Store a document that was read earlier, if it is still at that version. See `FlowStateManager.save`."""
        token = secrets.token_hex(16)
        return await self._operate(lambda context: save(context, document, token), document.member_id)

    async def recover(self, member_id: str, *, to: int | None = None, dry_run: bool = False) -> Recovery:
        """Mend a member's damaged document, or put the member back to an earlier state.

        See `FlowStateManager.recover`.
        """
        return await self._operate(lambda context: recover(context, member_id, to=to, dry_run=dry_run), member_id)

    async def reset(self, member_id: str) -> Reset:
        """End every open flow of a member. See `FlowStateManager.reset`."""
        return await self._operate(lambda context: reset(context, member_id), member_id)

    async def wipe(self, member_id: str) -> Wiped:
        """Remove what is stored of a member but the tokens and the audit. See `FlowStateManager.wipe`."""
        return await self._operate(lambda context: wipe(context, member_id), member_id)

    async def quarantined(self, member_id: str) -> tuple[Quarantined, ...]:
        """Return what was quarantined of a member. See `FlowStateManager.quarantined`."""
        return await self.ask(ReadQuarantine(member_id))

    async def ask(self, request: Effect[R]) -> R:
        """Have the store perform a request, and return its answer. See the request's class."""
        if self._start is not None:
            await self._ready()
        return await self._perform(request)

    # Start and end ------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Check now, and not at the first message, whether the store may be used. See `FlowStateManager.start`."""
        await self._ready()

    def now(self) -> float:
        """Return the store's clock as this process knows it: seconds since the epoch."""
        return self._base.clock.now()

    async def close(self) -> None:
        """Wait a while for calls that are still being made, then close what the manager has opened."""
        import asyncio

        if self._late:
            _, slow = await asyncio.wait(tuple(self._late), timeout=CALL_WAIT)
            for task in slow:
                task.cancel()
        closed = self._on_close()
        if inspect.isawaitable(closed):
            await closed

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()


async def _sleep(seconds: float) -> None:
    import asyncio  # not at the top: `import vimbiso_fsm` does not load asyncio

    await asyncio.sleep(seconds)
