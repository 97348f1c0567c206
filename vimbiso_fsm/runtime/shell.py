"""The shell of the sync manager: it performs the effects of pure operations on a store, with a clock and services.

It waits for the member's place in the queue, performs each effect of the operation, makes its calls, sends its
deliveries, and reports to the observers. It decides nothing. The docstrings of `async_shell.py` refer to those here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from contextlib import suppress
from functools import partial
from threading import get_ident
from typing import Any, Final, TypeVar, cast

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
)
from vimbiso_fsm.runtime.base import BaseManager, Begin, delay
from vimbiso_fsm.runtime.binding import bind
from vimbiso_fsm.runtime.queue import MemberLock, Queue
from vimbiso_fsm.runtime.sending import Recorder
from vimbiso_fsm.runtime.services import (
    DELIVERY_TIMEOUT,
    NO_PLACE,
    Place,
    attempt,
    result_of,
    take,
    with_retries,
)
from vimbiso_fsm.runtime.startup import OWNER_KNOWN
from vimbiso_fsm.runtime.watchdog import LOOKER, NO_STRETCH, RUNNING, settle
from vimbiso_fsm.store.requests import (
    Effect,
    ReadDigests,
    RecordIncident,
    Request,
    Store,
)

R = TypeVar("R")

CALL_WAIT: Final = 10.0
"""Seconds for which `handle` waits for its calls. Then it replies that the call is being worked on."""
HOLD: Final = 0.4
"""The part of the patience for which a call keeps the member's lock.

A message that arrives meanwhile waits, and is decided on the result of the call. One that has waited longer is answered
with the notice that the call is being worked on.
"""
OUTSIDE: Final = (RunCall, Deliver, PassOn, TakePlace, StandBack)
"""Effects whose duration is not counted as waiting. During a long call and a delivery, other messages of the member may
be handled."""
BY_SHELL: Final = (*OUTSIDE, Pause, ReadLegacy, RecordIncident)
"""The effects that are no request to the store, and the one that is counted as well."""


class Shell:
    """Runs operations for `FlowStateManager`, in threads."""

    _base: BaseManager
    _store: Store
    _legacy: LegacyReader | None
    _queue: Queue
    _late: set[Future[None]]
    _recorder: Recorder
    _start: Callable[[], None] | None
    _ready_until: float
    _starting: threading.Lock

    def _claim(self) -> None:
        """Record the bot as the owner of the store, or check that it is, and take the digests of the store."""
        run(claim(self._base.bot), self._store.perform)
        self._base.bot = self._base.bot.with_digests(self._store.perform(ReadDigests()))

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

    def _operate(self, begin: Begin[R], member_id: str | None = None, *, queued: bool = False) -> R:
        """Run an operation without calls outside the queue.

        Args:
            begin: Makes the operation.
            member_id: The member whose document it may change.
            queued: Whether it is run in the member's place in the queue, because it may tell an inbox something.
        """
        if time.monotonic() >= self._ready_until:
            self._ready()
        try:
            return self._run(begin, member_id) if queued else self._drive(begin, time.monotonic())
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
                if not isinstance(effect, BY_SHELL):
                    answer = self._store.perform(effect)
                    base.clock.adjust(answer)
                    if base.clock.unreported:
                        self._report_clock()
                    return answer
                if place is None or not isinstance(effect, OUTSIDE):
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
            if isinstance(effect, RecordIncident):
                self._base.note_incident(effect)
            if self._base.clock.unreported:
                self._report_clock()
        elif self._legacy is not None:
            answer = self._legacy.read(effect.number)
        result: R = answer
        return result

    def _report_clock(self) -> None:
        """Record that the store's clock and that of the process differ."""
        with suppress(VimbisoError):
            self._perform(self._base.clock_incident())

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
        if is_lease_over(step, self._base.clock.now()):
            place.withdraw()
            return LEASE_OVER
        try:
            method = bind(self._base.bot.services, step)
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
        if place is None:
            result = places.attempt(function, DELIVERY_TIMEOUT)
            if result is not NO_PLACE:
                return base.sent_answer(step, result)
            place = take(places, places.limits.wait if step.is_reply else 0)
            if place is None:
                return base.sending_busy(step, places)
        try:
            return base.sent_answer(step, attempt(place, function, DELIVERY_TIMEOUT))
        finally:
            place.leave()
