"""The shells: a store, a clock and the world round pure turns. Sync and async, next to each other.

Both do the same: take the member's place in the queue, perform each request of the turns, run each call, deliver each
reply, tell the observers. Nothing is decided here.
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
from datetime import datetime
from functools import partial
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from vimbiso_fsm.audit.entries import AuditEntry, Incident
from vimbiso_fsm.audit.flow_audit import Observer
from vimbiso_fsm.document.codec import Unreadable
from vimbiso_fsm.document.document import Document
from vimbiso_fsm.errors import Contended, DamagedDocument, DocumentTooLarge, NotAnswered, ServiceError, VimbisoError
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.replies import Reply
from vimbiso_fsm.operations.effects import (
    STILL_RUNNING,
    AsyncLegacyReader,
    Deliver,
    LegacyReader,
    Pause,
    ReadLegacy,
    RunCall,
    answered,
)
from vimbiso_fsm.operations.handle import Outcome
from vimbiso_fsm.operations.history import Wanted, reading_history, reading_incidents
from vimbiso_fsm.operations.recover import Recovery, recovering
from vimbiso_fsm.operations.reset import Reset, resetting
from vimbiso_fsm.operations.turn import Turns
from vimbiso_fsm.operations.update import Change, read, saving, updating
from vimbiso_fsm.operations.wipe import Wiped, wiping
from vimbiso_fsm.operations.work import Done, Work
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
    FindOwner,
    Linked,
    Load,
    Quarantined,
    ReadAudit,
    ReadQuarantine,
    ReadRecords,
    RecordIncident,
    Request,
    Store,
)

if TYPE_CHECKING:
    import asyncio  # not at run time: `import vimbiso_fsm` does not load it

_log = logging.getLogger("vimbiso_fsm")
R = TypeVar("R")
T = TypeVar("T", bound=Turns)

CONFLICT_TIMEOUT = 5.0
"""Seconds that a message waits for those of its member before it, and that it then fights conflicts, before
`Contended`."""
CALL_WAIT = 10.0
"""Seconds that `handle` waits for its own calls; then the member hears that it is being worked on."""
HOLD = 0.4
"""The part of the patience for which a call keeps the member's place. A message that comes meanwhile waits as long, and
is decided on the call's answer; after that it hears that it is being worked on."""
AT_ONCE = 500
"""Messages in hand at the same moment in an async manager, not counted those that wait for a call or a delivery."""


class Delivery(Protocol):
    """Takes replies that answer no message to the member: a timer's, the session's end, a call that took long.

    It raises when nothing was sent, or when nobody knows; it is then asked again later. A parameter `key`, where it
    has one, is filled with a text that is the same for the same replies, for channels that can tell repeats.
    """

    def __call__(self, channel: Channel, replies: Sequence[Reply], /) -> None: ...


class AsyncDelivery(Protocol):
    """The same, awaited."""

    def __call__(self, channel: Channel, replies: Sequence[Reply], /) -> Awaitable[None]: ...


class FlowStateManager:
    """Handles messages on a store: each is decided, stored and answered once.

    `flows`: a Bot, or the name of a package that exports one as `bot`. `services`: replace the bot's by name.
    `observers`: told of each commit after it is stored. `cache`: recent members kept in the process, 0 for none.
    `patience`, `call_wait`: seconds. `deliver`: takes replies that answer no message to the member; without it they
    precede the reply to the member's next message. `legacy`: where the records of the release before are; who has one
    and nothing here goes on from it, as `Bot(legacy=…)` says. Safe to share between threads; a context manager.

    Raises: ServiceError when a service has async methods; TypeError when `flows` names no bot.
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
        self._base = BaseManager(flows, services, observers, cache, patience, call_wait, deliver, legacy is not None)
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
        """On Redis-compatible servers: `redis://`, `rediss://`, `unix://`, `redis+cluster://`, `redis+sentinel://`.

        `durability`: what a turn that was answered must survive, "local" (a power cut) or "replicated" (a server). At
        its start the manager asks the servers whether they can promise that, and refuses those that cannot, unless
        `unsafe_store`; an incident of the store then says so. Without a level it only warns, in the log. `legacy`: the
        URL of the records of the release before, or True when they are on the same server and database.

        Raises: StoreUnavailable for a URL that is none. At the first use: doctor.UnsafeStore.
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
        """On a real engine that runs beside this process and keeps its files under `path`.

        Raises: EmbeddedServerError.
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
        """On the model of the laws: nothing outlives the process. `clock`: seconds since the epoch; tests turn it."""
        from vimbiso_fsm.store.memory import MemoryStore

        manager = cls(flows, MemoryStore(clock), **options)
        manager._base.clock.follow(clock)
        return manager

    @property
    def bot(self) -> Bot:
        """The bot with its services."""
        return self._base.bot

    def handle(self, message: Message) -> Outcome:
        """Decide a message, store the turn, run its calls, and say what came of it.

        Raises: InvalidMessage; StoreUnavailable (nothing was stored), CommitUnknown and Contended (handle the same
        message again: it takes effect once), NewerState (so does a worker of the newer release); the latter four bring
        what to tell the member, `error.reply`.
        """
        base = self._base
        base.check(message)
        try:
            exchange = self._run(partial(base.begin, message), base.queue(message), base.call_wait)
        except NotAnswered as error:
            base.not_answered(message, error)
            raise
        assert exchange.outcome is not None
        return exchange.outcome

    def wake(self, member_id: str) -> tuple[AuditEntry, ...]:
        """Do what is due at a member though nobody says anything -> the audit entries of what was done.

        A worker calls it (`due.py`); whoever does, as often as they like, does no harm.

        Raises: StoreUnavailable, CommitUnknown, Contended, NewerState.
        """
        waking = self._run(lambda _: self._base.wake(member_id), member_id)
        return tuple(details.entry for details in waking.told)

    def _ready(self) -> None:
        """Before the first use: may this manager start on its servers?"""
        with self._starting:
            if self._start is not None:
                self._start()
                self._start = None

    def _check_startup(self, findings: tuple[Finding, ...], startup: StartupCheck) -> None:
        incident = startup.incident(findings, self._base.clock.now())
        if incident is not None:
            self._store.perform(RecordIncident(None, incident.body))

    def _run(self, begin: Callable[[float], T], key: object, call_wait: float | None = None) -> T:
        """Perform all that turns ask for; they `begin`, so many seconds after they came, when it is their turn.
        `call_wait`: seconds for all calls together; None waits for their end."""
        if self._start is not None:
            self._ready()
        base, began, called = self._base, time.monotonic(), 0.0
        with self._queue.place(key, base.patience) as place:
            turns = begin(time.monotonic() - began)
            try:
                while (step := turns.request) is not None:
                    if isinstance(step, RunCall | Deliver):
                        since = time.monotonic()
                        wait = None if call_wait is None else max(call_wait - called, 0)
                        if isinstance(step, Deliver):
                            result = self._deliver(step, place)
                        else:
                            result = self._call(step, wait, place)
                        place.reacquire()
                        called += time.monotonic() - since
                    else:
                        result = self._perform(step)
                    turns.take(result, base.clock.now(), time.monotonic() - began - called)
                return turns
            finally:
                base.tell(turns)

    def _perform(self, step: Request | Pause | ReadLegacy) -> object:
        if isinstance(step, Pause):
            time.sleep(delay(step.attempt))
            return None
        if isinstance(step, ReadLegacy):
            return self._legacy.read(step.number) if self._legacy else None
        try:
            result = self._store.perform(step)
        except DocumentTooLarge as error:
            return error
        except DamagedDocument as error:
            if not isinstance(step, ReadAudit | ReadRecords):  # a list that helps to mend another damage
                raise
            return error
        self._base.clock.hear(result)
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
        """Store the answer of a call that nobody waits for any more."""
        try:
            member_id, answer = step.caller.member_id, answered(step, future.result())
            self._run(lambda _: self._base.wake(member_id, answer), member_id)
        except VimbisoError as error:
            self._base.lost(error)
        finally:
            self._late.discard(home)
            home.set_result(None)

    def _deliver(self, step: Deliver, place: MemberLock) -> object:
        assert self._base.deliver is not None
        place.release()
        try:
            given = with_timeout(bind_delivery(self._base.deliver, step), DELIVERY_TIMEOUT)
            if inspect.iscoroutine(given):
                given.close()
                return ServiceError("deliver", "it is async; use AsyncFlowStateManager, or give one without await")
        except Exception as error:  # noqa: BLE001  # whatever it raises: nobody knows
            return error
        return None

    def state(self, member_id: str) -> Document | None:
        """The member's document as it is stored now, None when there is none.

        Raises: DamagedDocument, StoreUnavailable.
        """
        return read(self.bot, member_id, self.ask(Load(member_id)))

    def history(
        self,
        member_id: str,
        *,
        channel: Channel | None = None,
        flow: str | None = None,
        run: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        last: int | None = None,
    ) -> tuple[AuditEntry, ...]:
        """The member's audit entries, oldest first, those of the guest they were before them; of those that fit, the
        latest `last`. `since`, `until`: both included; UTC where they have no zone.

        Raises: DamagedDocument; codec.Unreadable for an entry that cannot be read; StoreUnavailable.
        """
        wanted = Wanted(channel, flow, run, since, until, last)
        return self._work(reading_history(member_id, wanted))

    def incidents(
        self,
        member_id: str | None = None,
        *,
        channel: Channel | None = None,
        flow: str | None = None,
        run: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        last: int | None = None,
    ) -> tuple[Incident, ...]:
        """What happened at a member, or (None) at the store as a whole, and changed no document; oldest first, chosen
        as by `history`.

        Raises: codec.Unreadable for an incident that cannot be read; StoreUnavailable.
        """
        wanted = Wanted(channel, flow, run, since, until, last)
        return self._work(reading_incidents(member_id, wanted))

    def member_of(self, channel: Channel) -> str | None:
        """The member a channel is linked to; None when it is nobody's, or a guest's."""
        found: Linked = self.ask(FindOwner(channel))
        return found.member_id

    def update(self, member_id: str, change: Change) -> Document:
        """Change a stored document outside a conversation; on a conflict the change is applied again to what is
        stored then.

        Raises: InvalidState, NotStorable (nothing stored); DamagedDocument; KeyError when the member has no
        document; Contended.
        """
        return self._work(updating(self.bot, member_id, change, partial(secrets.token_hex, 16)), member_id)

    def save(self, document: Document) -> Document:
        """Store a document that was read earlier, if it is still at that version; a new one at version 0.

        Raises: VersionConflict naming both versions; InvalidState, NotStorable.
        """
        return self._work(saving(self.bot, document, secrets.token_hex(16)), document.member_id)

    def recover(self, member_id: str, *, to: int | None = None, dry_run: bool = False) -> Recovery:
        """Mend a member's damaged document without waiting for a message, the damage set aside; a sound one is left
        alone. `to`: put the member back to the state of that version, when it is still kept and no call with an effect
        was made since. They are told at their next message, or by whoever delivers, and asked anew. `dry_run`: say the
        same, and change nothing.

        Raises: operators.NothingStored; operators.NotRecovered (nothing was changed); StoreUnavailable, CommitUnknown,
        Contended.
        """
        return self._work(recovering(self.bot, member_id, to=to, dry_run=dry_run), member_id)

    def reset(self, member_id: str) -> Reset:
        """End every open flow of a member; who they are, their channels, their token and their session stay. Nobody
        waits any more for the answer of a call on its way.

        Raises: operators.NothingStored; DamagedDocument: recover it first; StoreUnavailable, CommitUnknown, Contended.
        """
        return self._work(resetting(self.bot, member_id), member_id)

    def wipe(self, member_id: str) -> Wiped:
        """Remove the document of a member, damaged or not, the one before, the turn records and what was set aside.
        Tokens and audit stay: nothing is done twice, and the audit says of it. Their next message begins anew.

        Raises: operators.NothingStored; StoreUnavailable, CommitUnknown, Contended.
        """
        return self._work(wiping(self.bot, member_id), member_id)

    def aside(self, member_id: str) -> tuple[Quarantined, ...]:
        """What was set aside of a member because it was damaged, oldest first; `ask(ShowQuarantined(…))` shows one of them.

        Raises: StoreUnavailable.
        """
        found: tuple[Quarantined, ...] = self.ask(ReadQuarantine(member_id))
        return found

    def _work(self, work: Work[R], changed: str | None = None) -> R:
        """Perform all that a work asks for. `changed`: the member whose document it may change."""
        if self._start is not None:
            self._ready()
        base, until, result = self._base, time.monotonic() + self._base.patience, None
        try:
            while True:
                step = work.send(result)
                if isinstance(step, Pause) and time.monotonic() > until:
                    raise Contended(changed or "", base.patience, step.attempt)
                result = self._perform(step)
        except StopIteration as ended:
            done: Done[R] = ended.value
            return base.done(done)
        finally:
            if changed is not None:  # whoever changed it holds this very object
                base.cache.forget(changed)

    def ask(self, request: Request) -> Any:
        """What the store says to a request; see the request's class."""
        if self._start is not None:
            self._ready()
        result = self._store.perform(request)
        self._base.clock.hear(result)
        return result

    def start(self) -> None:
        """See now, and not at the first message, whether the store may be used. May be called again.

        Raises: doctor.UnsafeStore, StoreUnavailable.
        """
        self._ready()

    def now(self) -> float:
        """The store's clock as this process last heard it: seconds since the epoch."""
        return self._base.clock.now()

    def close(self) -> None:
        """Wait a while for calls that are still being made, then give back what the manager opened."""
        wait_for(tuple(self._late), CALL_WAIT)
        self._on_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class AsyncFlowStateManager:
    """The same for asyncio: safe to share between the tasks of one event loop. Services may be sync or async; a sync
    one runs in a thread of its own, so it holds nobody up. Of more messages than `AT_ONCE` the later ones wait, in the
    order in which they came, as long as it takes."""

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
        self._base = BaseManager(flows, services, observers, cache, patience, call_wait, deliver, legacy is not None)
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
        """On Redis-compatible servers. See `FlowStateManager.from_url`."""
        from vimbiso_fsm.store.health import ask_nodes_awaited
        from vimbiso_fsm.store.redis_atomic import AsyncAtomicStateManager

        store = AsyncAtomicStateManager.from_url(url, durability=durability or "local")
        closing = AsyncExitStack()
        closing.push_async_callback(store.close)
        if isinstance(legacy, str | bool):
            from vimbiso_fsm.legacy.source import AsyncLegacySource

            old = AsyncLegacySource(legacy if isinstance(legacy, str) else url) if legacy else None
            legacy = old
            if old is not None:
                closing.push_async_callback(old.close)
        manager = cls(flows, store, legacy=legacy, on_close=closing.aclose, **options)
        startup = StartupCheck(durability, unsafe_store)

        async def start() -> None:
            await manager._check_startup(startup.findings(await ask_nodes_awaited(store.servers)), startup)

        manager._start = start
        return manager

    @classmethod
    def embedded(cls, path: str | PathLike[str], flows: Bot | str, **options: Any) -> Self:
        """On a real engine that runs beside this process and keeps its files under `path`.

        Raises: EmbeddedServerError.
        """
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
        """On the model of the laws: nothing outlives the process. `clock`: seconds since the epoch; tests turn it."""
        from vimbiso_fsm.store.memory import AsyncMemoryStore, MemoryStore

        manager = cls(flows, AsyncMemoryStore(MemoryStore(clock)), **options)
        manager._base.clock.follow(clock)
        return manager

    @property
    def bot(self) -> Bot:
        """The bot with its services."""
        return self._base.bot

    async def handle(self, message: Message) -> Outcome:
        """Decide a message, store the turn, run its calls, and say what came of it. See `FlowStateManager.handle`."""
        base = self._base
        base.check(message)
        try:
            exchange = await self._run(partial(base.begin, message), base.queue(message), base.call_wait)
        except NotAnswered as error:
            base.not_answered(message, error)
            raise
        assert exchange.outcome is not None
        return exchange.outcome

    async def wake(self, member_id: str) -> tuple[AuditEntry, ...]:
        """Do what is due at a member though nobody says anything. See `FlowStateManager.wake`."""
        waking = await self._run(lambda _: self._base.wake(member_id), member_id)
        return tuple(details.entry for details in waking.told)

    async def _ready(self) -> None:
        """Before the first use: may this manager start on its servers? One asks, the others wait; who gives up waiting
        stops nobody."""
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
        """After a failure the next one asks again."""
        self._starting = None
        if not starting.cancelled():
            starting.exception()  # those who waited have it; when nobody does any more, it is no loss

    async def _check_startup(self, findings: tuple[Finding, ...], startup: StartupCheck) -> None:
        incident = startup.incident(findings, self._base.clock.now())
        if incident is not None:
            await self._store.perform(RecordIncident(None, incident.body))

    async def _run(self, begin: Callable[[float], T], key: object, call_wait: float | None = None) -> T:
        """Perform all that turns ask for; they `begin`, so many seconds after they came, when it is their turn.
        `call_wait`: seconds for all calls together; None waits for their end."""
        if self._start is not None:
            await self._ready()
        base, began, called = self._base, time.monotonic(), 0.0
        async with self._queue.place(key, base.patience) as place:
            turns = begin(time.monotonic() - began)
            try:
                while (step := turns.request) is not None:
                    if isinstance(step, RunCall | Deliver):
                        since = time.monotonic()
                        place.give_up_slot()
                        wait = None if call_wait is None else max(call_wait - called, 0)
                        if isinstance(step, Deliver):
                            result = await self._deliver(step, place)
                        else:
                            result = await self._call(step, wait, place)
                        await place.reacquire()
                        called += time.monotonic() - since
                    else:
                        result = await self._perform(step)
                    turns.take(result, base.clock.now(), time.monotonic() - began - called)
                return turns
            finally:
                base.tell(turns)

    async def _perform(self, step: Request | Pause | ReadLegacy) -> object:
        if isinstance(step, Pause):
            await _sleep(delay(step.attempt))
            return None
        if isinstance(step, ReadLegacy):
            return await self._legacy.read(step.number) if self._legacy else None
        try:
            result = await self._store.perform(step)
        except DocumentTooLarge as error:
            return error
        except DamagedDocument as error:
            if not isinstance(step, ReadAudit | ReadRecords):  # a list that helps to mend another damage
                raise
            return error
        self._base.clock.hear(result)
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
        finally:  # also when whoever waited is cancelled: the call goes on
            if not done:
                late = asyncio.ensure_future(self._bring_home(step, call))
                self._late.add(late)
                late.add_done_callback(self._late.discard)
        return call.result() if done else STILL_RUNNING

    async def _bring_home(self, step: RunCall, call: asyncio.Future[object]) -> None:
        """Store the answer of a call that nobody waits for any more."""
        member_id, answer = step.caller.member_id, answered(step, await call)
        try:
            await self._run(lambda _: self._base.wake(member_id, answer), member_id)
        except VimbisoError as error:
            self._base.lost(error)

    async def _deliver(self, step: Deliver, place: AsyncMemberLock) -> object:
        import asyncio

        assert self._base.deliver is not None
        place.release()
        try:
            async with asyncio.timeout(DELIVERY_TIMEOUT):
                await awaited(bind_delivery(self._base.deliver, step))
        except Exception as error:  # noqa: BLE001  # whatever it raises: nobody knows
            return error
        return None

    async def state(self, member_id: str) -> Document | None:
        """The member's document as it is stored now. See `FlowStateManager.state`."""
        return read(self.bot, member_id, await self.ask(Load(member_id)))

    async def history(
        self,
        member_id: str,
        *,
        channel: Channel | None = None,
        flow: str | None = None,
        run: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        last: int | None = None,
    ) -> tuple[AuditEntry, ...]:
        """The member's audit entries, oldest first. See `FlowStateManager.history`."""
        wanted = Wanted(channel, flow, run, since, until, last)
        return await self._work(reading_history(member_id, wanted))

    async def incidents(
        self,
        member_id: str | None = None,
        *,
        channel: Channel | None = None,
        flow: str | None = None,
        run: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        last: int | None = None,
    ) -> tuple[Incident, ...]:
        """What happened and changed no document. See `FlowStateManager.incidents`."""
        wanted = Wanted(channel, flow, run, since, until, last)
        return await self._work(reading_incidents(member_id, wanted))

    async def member_of(self, channel: Channel) -> str | None:
        """The member a channel is linked to; None when it is nobody's, or a guest's."""
        found: Linked = await self.ask(FindOwner(channel))
        return found.member_id

    async def update(self, member_id: str, change: Change) -> Document:
        """Change a stored document outside a conversation. See `FlowStateManager.update`."""
        return await self._work(updating(self.bot, member_id, change, partial(secrets.token_hex, 16)), member_id)

    async def save(self, document: Document) -> Document:
        """Store a document that was read earlier, if it is still at that version. See `FlowStateManager.save`."""
        return await self._work(saving(self.bot, document, secrets.token_hex(16)), document.member_id)

    async def recover(self, member_id: str, *, to: int | None = None, dry_run: bool = False) -> Recovery:
        """Mend a member's damaged document, or put them back to an earlier state. See `FlowStateManager.recover`."""
        return await self._work(recovering(self.bot, member_id, to=to, dry_run=dry_run), member_id)

    async def reset(self, member_id: str) -> Reset:
        """End every open flow of a member. See `FlowStateManager.reset`."""
        return await self._work(resetting(self.bot, member_id), member_id)

    async def wipe(self, member_id: str) -> Wiped:
        """Remove what is stored of a member but for tokens and audit. See `FlowStateManager.wipe`."""
        return await self._work(wiping(self.bot, member_id), member_id)

    async def aside(self, member_id: str) -> tuple[Quarantined, ...]:
        """What was set aside of a member because it was damaged. See `FlowStateManager.aside`."""
        found: tuple[Quarantined, ...] = await self.ask(ReadQuarantine(member_id))
        return found

    async def _work(self, work: Work[R], changed: str | None = None) -> R:
        """Perform all that a work asks for. `changed`: the member whose document it may change."""
        if self._start is not None:
            await self._ready()
        base, until, result = self._base, time.monotonic() + self._base.patience, None
        try:
            while True:
                step = work.send(result)
                if isinstance(step, Pause) and time.monotonic() > until:
                    raise Contended(changed or "", base.patience, step.attempt)
                result = await self._perform(step)
        except StopIteration as ended:
            done: Done[R] = ended.value
            return base.done(done)
        finally:
            if changed is not None:  # whoever changed it holds this very object
                base.cache.forget(changed)

    async def ask(self, request: Request) -> Any:
        """What the store says to a request; see the request's class."""
        if self._start is not None:
            await self._ready()
        result = await self._store.perform(request)
        self._base.clock.hear(result)
        return result

    async def start(self) -> None:
        """See now, and not at the first message, whether the store may be used. See `FlowStateManager.start`."""
        await self._ready()

    def now(self) -> float:
        """The store's clock as this process last heard it: seconds since the epoch."""
        return self._base.clock.now()

    async def close(self) -> None:
        """Wait a while for calls that are still being made, then give back what the manager opened."""
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
