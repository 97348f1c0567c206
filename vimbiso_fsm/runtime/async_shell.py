"""The shell of the async manager. See `shell.py`."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING, Any, TypeVar, cast

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
from vimbiso_fsm.flow.interrupts import CallbackStopped
from vimbiso_fsm.messages.sending import Answer
from vimbiso_fsm.operations.claim import claim
from vimbiso_fsm.operations.effects import (
    DELIVERY,
    LEASE_OVER,
    STILL_RUNNING,
    AsyncLegacyReader,
    Deliver,
    NotMade,
    PassOn,
    Pause,
    ReadLegacy,
    RunCall,
    StandBack,
    TakePlace,
    is_lease_over,
    run_awaited,
)
from vimbiso_fsm.runtime.base import BaseManager, Begin, delay
from vimbiso_fsm.runtime.binding import bind
from vimbiso_fsm.runtime.queue import AsyncMemberLock
from vimbiso_fsm.runtime.services import (
    DELIVERY_TIMEOUT,
    NO_PLACE,
    Place,
    attempt_awaited,
    is_async,
    take_awaited,
    with_retries_async,
)
from vimbiso_fsm.runtime.shell import BY_SHELL, HOLD, OUTSIDE
from vimbiso_fsm.runtime.startup import OWNER_KNOWN
from vimbiso_fsm.runtime.watchdog import LOOKER, NO_STRETCH, RUNNING, settle
from vimbiso_fsm.store.requests import (
    AsyncStore,
    Effect,
    ReadDigests,
    RecordIncident,
    Request,
)

if TYPE_CHECKING:
    import asyncio  # not at run time: `import vimbiso_fsm` does not load it

    from vimbiso_fsm.runtime.loop_state import LoopState
    from vimbiso_fsm.store.loops import PerLoop

R = TypeVar("R")


class AsyncShell:
    """Runs operations for `AsyncFlowStateManager`, in the tasks of event loops."""

    _base: BaseManager
    _store: AsyncStore
    _legacy: AsyncLegacyReader | None
    _loops: PerLoop[LoopState]
    _start: Callable[[], Awaitable[None]] | None
    _ready_until: float

    async def _claim(self) -> None:
        """Record the bot as the owner of the store, or check that it is, and take the digests of the store."""
        await run_awaited(claim(self._base.bot), self._store.perform)
        self._base.bot = self._base.bot.with_digests(await self._store.perform(ReadDigests()))

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

    async def _operate(self, begin: Begin[R], member_id: str | None = None, *, queued: bool = False) -> R:
        """Run an operation without calls outside the queue. See `FlowStateManager._operate`."""
        if time.monotonic() >= self._ready_until:
            await self._ready()
        try:
            return await (self._run(begin, member_id) if queued else self._drive(begin, time.monotonic()))
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
                if not isinstance(effect, BY_SHELL):
                    answer = await self._store.perform(effect)
                    base.clock.adjust(answer)
                    if base.clock.unreported:
                        await self._report_clock()
                    return answer
                if place is None or not isinstance(effect, OUTSIDE):
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
            if isinstance(effect, RecordIncident):
                self._base.note_incident(effect)
            if self._base.clock.unreported:
                await self._report_clock()
        elif self._legacy is not None:
            answer = await self._legacy.read(effect.number)
        result: R = answer
        return result

    async def _report_clock(self) -> None:
        with suppress(VimbisoError):
            await self._perform(self._base.clock_incident())

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
        service: object = None if call is None else self._base.bot.services.get(call.service)
        method: object = self._base.any_sender if call is None else getattr(service, call.method, None)
        return await take_awaited(places, places.limits.wait if waits else 0, threaded=not is_async(method))

    async def _call(self, step: RunCall, wait: float | None, lock: AsyncMemberLock, place: Place | None) -> object:
        import asyncio

        base = self._base
        place = place or await self._place_at(TakePlace(step.call), waits=False)
        if place is None:
            return base.busy(step)
        if is_lease_over(step, self._base.clock.now()):
            place.withdraw()
            return LEASE_OVER
        try:
            method = bind(self._base.bot.services, step)
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
        if place is None and isinstance(step, Deliver) and step.channel.type in base.awaited:
            result = await places.attempt_awaited(function, DELIVERY_TIMEOUT)
            return base.sending_busy(step, places) if result is NO_PLACE else base.sent_answer(step, result)
        threaded = not is_async(function.func)
        place = place or await take_awaited(places, places.limits.wait if step.is_reply else 0, threaded=threaded)
        if place is None:
            return base.sending_busy(step, places)
        try:
            return base.sent_answer(step, await attempt_awaited(place, function, DELIVERY_TIMEOUT))
        finally:
            place.leave()


async def _sleep(seconds: float) -> None:
    import asyncio  # not at the top: `import vimbiso_fsm` does not load asyncio

    await asyncio.sleep(seconds)
