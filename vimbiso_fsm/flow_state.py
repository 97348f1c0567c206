"""The shells: a store, a clock and the world round one pure exchange. Sync and async, next to each other.

Both do the same: take the member's place in the queue, perform each request of the exchange, run each call, tell the
observers. Nothing is decided here.
"""

from __future__ import annotations

import inspect
import logging
import random
import secrets
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from importlib import import_module
from os import PathLike
from types import ModuleType, TracebackType
from typing import Any, Self

import attrs

from vimbiso_fsm.bot import Bot
from vimbiso_fsm.calls import RETRIES, bind, only_sync
from vimbiso_fsm.decision import commit_of
from vimbiso_fsm.errors import Contended, DocumentTooLarge, InvalidMessage, NotAnswered, VersionConflict
from vimbiso_fsm.exchange import Cache, Exchange, Outcome, Pause, RunCall
from vimbiso_fsm.flow_audit import AuditEntry, FlowAuditLogger, Observer, error_record
from vimbiso_fsm.messages import Channel, Message, Text
from vimbiso_fsm.state import Document
from vimbiso_fsm.store import AsyncStore, Committed, Conflict, Linked, Load, LookUp, ReadAudit, Request, Result, Store
from vimbiso_fsm.turn import Refused
from vimbiso_fsm.update import Change, read, updated

__all__ = ["AsyncFlowStateManager", "FlowStateManager"]

_log = logging.getLogger("vimbiso_fsm")

PATIENCE = 5.0
"""Seconds that a message waits for its turn and fights conflicts, before `Contended`."""


def the_bot(flows: Bot | str) -> Bot:
    """The bot itself, or the one a package exports as `bot`.

    Raises: TypeError when there is none.
    """
    found: object = getattr(import_module(flows), "bot", None) if isinstance(flows, str) else flows
    if isinstance(found, ModuleType):  # a package whose module `bot` hides the value of that name
        found = getattr(found, "bot", None)
    if not isinstance(found, Bot):
        raise TypeError("flows= takes a Bot, or the name of a package that exports one as 'bot'")
    return found


class _Clock:
    """The store's clock, kept between answers by the worker's own steady one."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def now(self) -> float:
        """Seconds since the epoch, on the store's clock as last heard."""
        return time.monotonic() + self._offset

    def hear(self, result: object) -> None:
        """Set by the instant that a store's answer carries."""
        at = getattr(result, "at", None)
        if at is None:
            at = getattr(getattr(result, "current", None), "at", None)
        if isinstance(at, float):
            self._offset = at - time.monotonic()


def _delay(attempt: int) -> float:
    """Seconds to wait before a further attempt."""
    return random.uniform(0, min(0.1, 0.002 * 2 ** min(attempt, 10)))  # noqa: S311  # jitter is no secret


class _Desk:
    """What both shells share: the bot, the clock, the cache, the log."""

    def __init__(
        self,
        flows: Bot | str,
        services: Mapping[str, object] | None,
        observers: Sequence[Observer],
        cache: int,
        patience: float,
    ) -> None:
        self.bot = the_bot(flows).with_services(services or {})
        self.clock = _Clock()
        self.cache = Cache(cache)
        self.patience = patience
        self.audit = FlowAuditLogger(observers, _observer_failed)

    def begin(self, message: Message) -> Exchange:
        """The exchange of a message.

        Raises: InvalidMessage when the channel's type is not known to the bot.
        """
        if not isinstance(message, Message):
            raise InvalidMessage("", f"handle() takes a Message, not a {type(message).__name__}")
        if message.channel.type not in self.bot.validator.channel_types:
            raise InvalidMessage("channel type", f"{message.channel.type!r} is not known; name it in Bot(channels=…)")
        return Exchange(self.bot, self.cache, message, self.clock.now(), patience=self.patience)

    def queue(self, message: Message) -> tuple[str, str] | str:
        """Who must wait for whom: the member, as far as is known before anything is asked."""
        address = message.channel.address
        return self.cache.member(address) or address

    def tell(self, exchange: Exchange) -> None:
        """Tell observers and the log what has been stored, also when the exchange ended in an error."""
        for reference, error in exchange.errors:
            _log.error("a callback or call failed: %s", error_record(error, reference))
        for details in exchange.told:
            self.audit.tell(details)

    def outcome(self, exchange: Exchange) -> Outcome:
        """What the exchange came to."""
        assert exchange.outcome is not None
        return exchange.outcome


def _observer_failed(observer: str, error: BaseException) -> None:
    _log.error("observer %s failed: %s", observer, error_record(error, ""))


class FlowStateManager:
    """Handles messages on a store: each is decided, stored and answered once.

    `flows`: a Bot, or the name of a package that exports one as `bot`. `services`: replace the bot's by name.
    `observers`: told of each commit after it is stored. `cache`: recent members kept in the process, 0 for none.
    `patience`: seconds. Safe to share between threads; a context manager.

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
        patience: float = PATIENCE,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self._desk = _Desk(flows, services, observers, cache, patience)
        only_sync(self._desk.bot.services)
        self._store = store
        self._queue = _Queue()
        self._on_close = on_close

    @classmethod
    def from_url(cls, url: str, flows: Bot | str, **options: Any) -> Self:
        """On a Redis-compatible server: `redis://`, `rediss://` or `unix://`."""
        from vimbiso_fsm.redis_atomic import AtomicStateManager

        store = AtomicStateManager.from_url(url)
        return cls(flows, store, on_close=store.close, **options)

    @classmethod
    def embedded(cls, path: str | PathLike[str], flows: Bot | str, **options: Any) -> Self:
        """On a real engine that runs beside this process and keeps its files under `path`.

        Raises: EngineError.
        """
        from vimbiso_fsm.embedded import Engine
        from vimbiso_fsm.redis_atomic import AtomicStateManager

        engine = Engine.start(path)
        store = AtomicStateManager.from_url(engine.url)

        def close() -> None:
            store.close()
            engine.close()

        return cls(flows, store, on_close=close, **options)

    @classmethod
    def in_memory(cls, flows: Bot | str, *, clock: Callable[[], float] = time.time, **options: Any) -> Self:
        """On the model of the laws: nothing outlives the process."""
        from vimbiso_fsm.memory import MemoryStore

        return cls(flows, MemoryStore(clock), **options)

    @property
    def bot(self) -> Bot:
        """The bot with its services."""
        return self._desk.bot

    def handle(self, message: Message) -> Outcome:
        """Decide a message, store the turn, run its calls, and say what came of it.

        Raises: InvalidMessage; StoreUnavailable (nothing was stored), CommitUnknown and Contended (handle the same
        message again: it takes effect once); the latter three bring what to tell the member, `error.reply`.
        """
        desk = self._desk
        exchange, began = desk.begin(message), time.monotonic()
        try:
            with self._queue.place(desk.queue(message), desk.patience):
                while exchange.request is not None:
                    result = self._perform(exchange.request)
                    exchange.take(result, desk.clock.now(), time.monotonic() - began)
        except NotAnswered as error:
            error.reply = desk.bot.catalogue.say(Text(error.reply_key))
            raise
        finally:
            desk.tell(exchange)
        return desk.outcome(exchange)

    def _perform(self, step: Request | RunCall | Pause) -> object:
        if isinstance(step, RunCall):
            return self._call(step)
        if isinstance(step, Pause):
            time.sleep(_delay(step.attempt))
            return None
        try:
            result = self._store.perform(step)
        except DocumentTooLarge as error:
            return error
        self._desk.clock.hear(result)
        return result

    def _call(self, step: RunCall) -> object:
        method = bind(self.bot.services, step)
        for pause in (*RETRIES, None):
            try:
                return _no_coroutine(method())
            except Exception as error:  # noqa: BLE001  # whatever it raises: unknown, ask again with its key
                if pause is None:
                    return error
                time.sleep(pause)
        raise AssertionError("unreachable")

    def state(self, member_id: str) -> Document | None:
        """The member's document as it is stored now, None when there is none.

        Raises: DamagedDocument, StoreUnavailable.
        """
        return read(self.bot, member_id, self._ask(Load(member_id)))

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
        """The member's audit entries, oldest first, those of the guest they were before them."""
        entries = FlowAuditLogger.read(self._ask(ReadAudit(member_id, last)))
        guests = [str(entry.detail["guest"]) for entry in entries if entry.kind == "move"]
        earlier = [entry for guest in guests for entry in FlowAuditLogger.read(self._ask(ReadAudit(guest, last)))]
        wanted = _filter(channel, flow, run, since, until)
        return tuple(entry for entry in (*earlier, *entries) if wanted(entry))

    def member_of(self, channel: Channel) -> str | None:
        """The member a channel is linked to; None when it is nobody's, or a guest's."""
        found: Linked = self._ask(LookUp(channel))
        return found.member_id

    def update(self, member_id: str, change: Change) -> Document:
        """Change a stored document outside a conversation; on a conflict the change is applied again to what is
        stored then.

        Raises: InvalidState, NotStorable (nothing stored); DamagedDocument; KeyError when the member has no
        document; Contended.
        """
        until = time.monotonic() + self._desk.patience
        for attempt in range(1, 10_000):
            stored = self._ask(Load(member_id))
            before = read(self.bot, member_id, stored)
            if before is None:
                raise KeyError(member_id)
            result = self._save(before, change(before), stored)
            if not isinstance(result, Conflict):
                return result
            if time.monotonic() > until:
                raise Contended(member_id, self._desk.patience, attempt)
            time.sleep(_delay(attempt))
        raise AssertionError("unreachable")

    def save(self, document: Document) -> Document:
        """Store a document that was read earlier, if it is still at that version; a new one at version 0.

        Raises: VersionConflict naming both versions; InvalidState, NotStorable.
        """
        stored = self._ask(Load(document.member_id))
        if stored.head.version != document.version:
            raise VersionConflict(document.member_id, document.version, stored.head.version)
        before = read(self.bot, document.member_id, stored)
        result = self._save(before, document, stored)
        if isinstance(result, Conflict):
            raise VersionConflict(document.member_id, document.version, result.current.head.version)
        return result

    def _save(self, before: Document | None, after: Document, stored: Any) -> Document | Conflict:
        decision = updated(self.bot, before, after, secrets.token_hex(16), stored.at, version=stored.head.version)
        result = self._ask(commit_of(decision, stored.head))
        return _saved(self._desk.cache, decision.document, result)

    def _ask(self, request: Request) -> Any:
        result = self._store.perform(request)
        self._desk.clock.hear(result)
        return result

    def close(self) -> None:
        """Give back what the manager opened."""
        self._on_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class AsyncFlowStateManager:
    """The same for asyncio: safe to share between the tasks of one event loop. Services may be sync or async; a sync
    one runs in a thread of its own, so it holds nobody up."""

    def __init__(
        self,
        flows: Bot | str,
        store: AsyncStore,
        *,
        services: Mapping[str, object] | None = None,
        observers: Sequence[Observer] = (),
        cache: int = 10_000,
        patience: float = PATIENCE,
        on_close: Callable[[], Any] = lambda: None,
    ) -> None:
        self._desk = _Desk(flows, services, observers, cache, patience)
        self._store = store
        self._queue = _AsyncQueue()
        self._on_close = on_close

    @classmethod
    def from_url(cls, url: str, flows: Bot | str, **options: Any) -> Self:
        """On a Redis-compatible server: `redis://`, `rediss://` or `unix://`."""
        from vimbiso_fsm.redis_atomic import AsyncAtomicStateManager

        store = AsyncAtomicStateManager.from_url(url)
        return cls(flows, store, on_close=store.close, **options)

    @classmethod
    def embedded(cls, path: str | PathLike[str], flows: Bot | str, **options: Any) -> Self:
        """On a real engine that runs beside this process and keeps its files under `path`.

        Raises: EngineError.
        """
        from vimbiso_fsm.embedded import Engine
        from vimbiso_fsm.redis_atomic import AsyncAtomicStateManager

        engine = Engine.start(path)
        store = AsyncAtomicStateManager.from_url(engine.url)

        async def close() -> None:
            await store.close()
            engine.close()

        return cls(flows, store, on_close=close, **options)

    @classmethod
    def in_memory(cls, flows: Bot | str, *, clock: Callable[[], float] = time.time, **options: Any) -> Self:
        """On the model of the laws: nothing outlives the process."""
        from vimbiso_fsm.memory import AsyncMemoryStore, MemoryStore

        return cls(flows, AsyncMemoryStore(MemoryStore(clock)), **options)

    @property
    def bot(self) -> Bot:
        """The bot with its services."""
        return self._desk.bot

    async def handle(self, message: Message) -> Outcome:
        """Decide a message, store the turn, run its calls, and say what came of it. See `FlowStateManager.handle`."""
        desk = self._desk
        exchange, began = desk.begin(message), time.monotonic()
        try:
            async with self._queue.place(desk.queue(message), desk.patience):
                while exchange.request is not None:
                    result = await self._perform(exchange.request)
                    exchange.take(result, desk.clock.now(), time.monotonic() - began)
        except NotAnswered as error:
            error.reply = desk.bot.catalogue.say(Text(error.reply_key))
            raise
        finally:
            desk.tell(exchange)
        return desk.outcome(exchange)

    async def _perform(self, step: Request | RunCall | Pause) -> object:
        if isinstance(step, RunCall):
            return await self._call(step)
        if isinstance(step, Pause):
            await _sleep(_delay(step.attempt))
            return None
        try:
            result = await self._store.perform(step)
        except DocumentTooLarge as error:
            return error
        self._desk.clock.hear(result)
        return result

    async def _call(self, step: RunCall) -> object:
        import asyncio

        method = bind(self.bot.services, step)
        target = getattr(method, "func", method)
        for pause in (*RETRIES, None):
            try:
                answer = method() if inspect.iscoroutinefunction(target) else await asyncio.to_thread(method)
                return await answer if inspect.isawaitable(answer) else answer
            except Exception as error:  # noqa: BLE001  # whatever it raises: unknown, ask again with its key
                if pause is None:
                    return error
                await _sleep(pause)
        raise AssertionError("unreachable")

    async def state(self, member_id: str) -> Document | None:
        """The member's document as it is stored now. See `FlowStateManager.state`."""
        return read(self.bot, member_id, await self._ask(Load(member_id)))

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
        entries = FlowAuditLogger.read(await self._ask(ReadAudit(member_id, last)))
        guests = [str(entry.detail["guest"]) for entry in entries if entry.kind == "move"]
        earlier = [entry for guest in guests for entry in FlowAuditLogger.read(await self._ask(ReadAudit(guest, last)))]
        wanted = _filter(channel, flow, run, since, until)
        return tuple(entry for entry in (*earlier, *entries) if wanted(entry))

    async def member_of(self, channel: Channel) -> str | None:
        """The member a channel is linked to; None when it is nobody's, or a guest's."""
        found: Linked = await self._ask(LookUp(channel))
        return found.member_id

    async def update(self, member_id: str, change: Change) -> Document:
        """Change a stored document outside a conversation. See `FlowStateManager.update`."""
        until = time.monotonic() + self._desk.patience
        for attempt in range(1, 10_000):
            stored = await self._ask(Load(member_id))
            before = read(self.bot, member_id, stored)
            if before is None:
                raise KeyError(member_id)
            result = await self._save(before, change(before), stored)
            if not isinstance(result, Conflict):
                return result
            if time.monotonic() > until:
                raise Contended(member_id, self._desk.patience, attempt)
            await _sleep(_delay(attempt))
        raise AssertionError("unreachable")

    async def save(self, document: Document) -> Document:
        """Store a document that was read earlier, if it is still at that version. See `FlowStateManager.save`."""
        stored = await self._ask(Load(document.member_id))
        if stored.head.version != document.version:
            raise VersionConflict(document.member_id, document.version, stored.head.version)
        before = read(self.bot, document.member_id, stored)
        result = await self._save(before, document, stored)
        if isinstance(result, Conflict):
            raise VersionConflict(document.member_id, document.version, result.current.head.version)
        return result

    async def _save(self, before: Document | None, after: Document, stored: Any) -> Document | Conflict:
        decision = updated(self.bot, before, after, secrets.token_hex(16), stored.at, version=stored.head.version)
        result = await self._ask(commit_of(decision, stored.head))
        return _saved(self._desk.cache, decision.document, result)

    async def _ask(self, request: Request) -> Any:
        result = await self._store.perform(request)
        self._desk.clock.hear(result)
        return result

    async def close(self) -> None:
        """Give back what the manager opened."""
        closed = self._on_close()
        if inspect.isawaitable(closed):
            await closed

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()


def _no_coroutine(answer: object) -> object:
    """What a sync service answered. A coroutine has done nothing yet, and nobody here can await it."""
    if inspect.iscoroutine(answer):
        answer.close()
        _log.error("a service gave a coroutine to the sync manager; use AsyncFlowStateManager")
        return Refused("call.failed")
    return answer


def _saved(cache: Cache, document: Document, result: Result) -> Document | Conflict:
    """What came of storing a document outside a conversation."""
    if isinstance(result, Conflict):
        return result
    assert isinstance(result, Committed), result
    cache.forget(document.member_id)  # the caller holds this very object and may change what is in it
    return document


def _filter(
    channel: Channel | None, flow: str | None, run: str | None, since: datetime | None, until: datetime | None
) -> Callable[[AuditEntry], bool]:
    return lambda entry: FlowAuditLogger.fits(entry, channel=channel, flow=flow, run=run, since=since, until=until)


async def _sleep(seconds: float) -> None:
    import asyncio  # not at the top: `import vimbiso_fsm` does not load asyncio

    await asyncio.sleep(seconds)


@attrs.define
class _Place:
    """A member's place in a queue: whoever holds `lock` is being served; `waiting` counts all who want it."""

    lock: Any
    waiting: int = 0


class _Queue:
    """Messages of one member are served one after the other within the process."""

    def __init__(self) -> None:
        self._places: dict[object, _Place] = {}
        self._guard = threading.Lock()

    @contextmanager
    def place(self, key: object, patience: float) -> Generator[None]:
        """Hold the member's place.

        Raises: Contended when it does not come free within `patience` seconds.
        """
        with self._guard:
            place = self._places.setdefault(key, _Place(threading.Lock()))
            place.waiting += 1
        try:
            if not place.lock.acquire(timeout=patience):
                raise Contended("", patience, 0)
            try:
                yield
            finally:
                place.lock.release()
        finally:
            with self._guard:
                place.waiting -= 1
                if not place.waiting:
                    self._places.pop(key, None)


class _AsyncQueue:
    """The same for the tasks of one event loop."""

    def __init__(self) -> None:
        self._places: dict[object, _Place] = {}

    @asynccontextmanager
    async def place(self, key: object, patience: float) -> AsyncGenerator[None]:
        """Hold the member's place.

        Raises: Contended when it does not come free within `patience` seconds.
        """
        import asyncio

        place = self._places.setdefault(key, _Place(asyncio.Lock()))
        place.waiting += 1
        try:
            try:
                async with asyncio.timeout(patience if place.lock.locked() else None):
                    await place.lock.acquire()
            except TimeoutError:
                raise Contended("", patience, 0) from None
            try:
                yield
            finally:
                place.lock.release()
        finally:
            place.waiting -= 1
            if not place.waiting:
                self._places.pop(key, None)
