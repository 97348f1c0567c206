"""Calls of services and deliveries: places, threads, attempts with pauses between them, time limits.

A call needs a place at its service, which is taken before the turn that proposes the call is stored. A sync method runs
in a thread, so that waiting for it can be bounded. A thread that never returns is left to the end of the process and
keeps its place, which bounds the number of such threads. An async method runs in a task of its own, so that a
cancellation by the method is told from that of the task that waits.

The result of a call is a value: the return value of the method, or the exception of its last attempt, whatever its
class.
"""

from __future__ import annotations

import contextvars
import inspect
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, Final

import attrs

from vimbiso_fsm.errors import ServiceError
from vimbiso_fsm.flow.calls import LONGEST_PAUSE, CallPolicy, ServiceLimits
from vimbiso_fsm.flow.interrupts import is_interrupt
from vimbiso_fsm.messages.refusals import Unreachable
from vimbiso_fsm.operations.effects import NotMade, never
from vimbiso_fsm.runtime.circuit import Circuit
from vimbiso_fsm.runtime.threads import in_thread

if TYPE_CHECKING:
    import asyncio  # not at run time: a bot of threads needs none
    from collections.abc import Awaitable

    from tenacity import RetryCallState
    from tenacity.wait import wait_base

DELIVERY_TIMEOUT: Final = 10.0
"""Seconds after which a delivery counts as failed, and is tried again later."""
DELIVERIES: Final = ServiceLimits(threads=32, wait=DELIVERY_TIMEOUT)
"""The threads of the function that delivers replies; it has no circuit."""
REPLIES: Final = ServiceLimits(threads=256, wait=DELIVERY_TIMEOUT)
"""The threads of senders for replies that members wait for. Deliveries of workers do not hold them up."""
NO_PLACE: Final = object()
"""The result of an attempt that was not made, because no place was free or no thread could be started."""
CANCELLING: Final = 1.0
"""Seconds that a cancelled method may take to end. After them it is left behind, and keeps its place."""

_log = logging.getLogger("vimbiso_fsm")


@attrs.frozen
class Raised:
    """The outcome of an attempt that raised an exception, or took too long."""

    error: BaseException


# Threads --------------------------------------------------------------------------------------------------------------


class _Waiting:
    """A daemon thread that waits for its one piece of work.

    Raises:
        RuntimeError: The thread cannot be started.
    """

    def __init__(self) -> None:
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        Thread(target=self._run, name="vimbiso call", daemon=True).start()

    def do(self, work: Callable[[], object]) -> Future[object]:
        """Do the work; the future has its return value, or `Raised`."""
        future: Future[object] = Future()
        future.set_running_or_notify_cancel()  # a caller that stops waiting does not cancel it
        context = contextvars.copy_context()

        def run() -> None:
            try:
                result = context.run(work)
            except BaseException as error:  # noqa: BLE001  # signals come in the main thread, so this is the method's
                result = Raised(error)
            future.set_result(result)

        self._work.put(run)
        return future

    def end(self) -> None:
        """End the thread, which gets no work."""
        self._work.put(None)

    def _run(self) -> None:
        work = self._work.get()
        if work is not None:
            work()


def result_of(future: Future[object], seconds: float | None = None) -> object:
    """Return the result of work in a thread, or raise the exception that it has raised.

    Raises:
        TimeoutError: It goes on after `seconds`.
    """
    result = future.result(seconds)
    if isinstance(result, Raised):
        raise result.error
    return result


# Places ---------------------------------------------------------------------------------------------------------------


class Place:
    """A place at a service, which lets one call be made.

    It is left when the call has ended, or is not made after all.

    An attempt that is left behind takes the place with it, and the next attempt needs another one. A coroutine takes a
    place only when it is left behind.

    Attributes:
        service: The places at its service.
    """

    service: Places

    def __init__(self, service: Places, thread: _Waiting | None = None, *, counts: bool = True) -> None:
        self.service, self._thread, self._counts = service, thread, counts
        self._held = counts

    def start(self, work: Callable[[], object]) -> Future[object]:
        """Start work in the thread that waits, or in another one.

        Raises:
            RuntimeError: No thread can be started.
        """
        thread, self._thread = self._thread or _Waiting(), None
        return thread.do(work)

    def leave_behind(self, attempt: Future[object] | asyncio.Future[object]) -> None:
        """Leave the place to an attempt that takes too long, until the attempt ends."""
        self.service.leave_behind(attempt, taken=self._held)
        self._held = False

    def renew(self) -> bool:
        """Take another place for the next attempt, if this one was left to an attempt; return whether there is one."""
        if not self._counts:
            return not self.service.is_stuck
        self._held = self._held or self.service.take()
        return self._held

    def leave(self) -> None:
        """Leave the place."""
        if self._thread is not None:
            self._thread.end()
            self._thread = None
        if self._held:
            self._held = False
            self.service.leave()

    def withdraw(self) -> None:
        """Leave the place without having made a call."""
        self.service.withdrawn()
        self.leave()


class Places:
    """The places at one service in this process, and its circuit.

    Attributes:
        limits: The bounds.
        circuit: The circuit.
    """

    limits: ServiceLimits
    circuit: Circuit

    def __init__(
        self,
        limits: ServiceLimits,
        now: Callable[[], float] = lambda: 0.0,
        told: Callable[[Circuit, Circuit], None] = lambda before, after: None,
    ) -> None:
        """Make places, all free.

        Args:
            limits: The bounds.
            now: The clock of the circuit.
            told: Called with the circuit before and after a change.
        """
        self.limits, self.circuit = limits, Circuit()
        self._now, self._told = now, told
        self._lock = threading.Lock()
        self._taken = self._left_behind = 0
        self._line: deque[Future[bool]] = deque()

    # Taken and left ---------------------------------------------------------------------------------------------------

    def take(self) -> bool:
        """Take a place without waiting; return whether one was free."""
        with self._lock:
            free = self._taken < self.limits.threads
            self._taken += free
        return free

    def ask(self) -> Future[bool]:
        """Ask for a place. The future has whether one was given; it is done at once if there is nothing to wait for."""
        answer: Future[bool] = Future()
        answer.set_running_or_notify_cancel()
        with self._lock:
            if self._taken < self.limits.threads:
                self._taken += 1
                answer.set_result(True)
            elif self.is_stuck:
                answer.set_result(False)
            else:
                self._line.append(answer)
        return answer

    def withdraw(self, answer: Future[bool]) -> bool:
        """Stop waiting, and return whether a place was given meanwhile."""
        with self._lock:
            if not answer.done():
                self._line.remove(answer)
                answer.set_result(False)
        return answer.result()

    def leave(self) -> None:
        """Leave a place to the call that has waited longest."""
        with self._lock:
            if self._line:
                self._line.popleft().set_result(True)
            else:
                self._taken -= 1

    @property
    def is_stuck(self) -> bool:
        """Whether all places are those of attempts that were left behind, so that nothing is waited for."""
        return self._left_behind >= self.limits.threads

    def leave_behind(self, attempt: Future[object] | asyncio.Future[object], *, taken: bool) -> None:
        """Leave a place, which is `taken` already or not, to an attempt that takes too long."""
        self._leave_behind(taken=taken)
        attempt.add_done_callback(self._ended)

    def _leave_behind(self, *, taken: bool = True) -> None:
        with self._lock:
            self._taken += not taken
            self._left_behind += 1
            if self.is_stuck:
                while self._line:
                    self._line.popleft().set_result(False)

    def _ended(self, _: object = None) -> None:
        with self._lock:
            self._left_behind -= 1
        self.leave()

    def attempt(self, method: Callable[[], object], seconds: float) -> object:
        """Make an attempt at a place that is free, in a thread that is used again.

        It is the short way of `take` and `attempt` for a service without a circuit, whose places are seldom all taken.

        Args:
            method: The sync method with its arguments.
            seconds: Seconds after which the attempt is left behind, with its place.

        Returns:
            What the method returns, `Raised`, or `NO_PLACE`.
        """
        with self._lock:
            if self._taken >= self.limits.threads:
                return NO_PLACE
            self._taken += 1
        answers: SimpleQueue[object] = SimpleQueue()
        decided, context = threading.Lock(), contextvars.copy_context()  # the lock is taken by who comes first:

        def work() -> None:
            try:
                answer = context.run(method)
            except BaseException as error:  # noqa: BLE001  # signals come in the main thread, so this is the method's
                answer = Raised(error)
            answers.put(answer)
            if not decided.acquire(blocking=False):  # by the caller, who has stopped waiting
                self._ended()

        try:
            in_thread(work)
        except RuntimeError:
            self.leave()
            return NO_PLACE
        try:
            answer = answers.get(timeout=seconds)
        except BaseException as error:
            if decided.acquire(blocking=False):
                self._leave_behind()
                if isinstance(error, Empty):
                    return Raised(_too_long(seconds))
                raise
            self.leave()  # by the method, which has ended meanwhile
            if isinstance(error, Empty):
                return answers.get()
            raise
        self.leave()
        return answer

    async def attempt_awaited(self, method: Callable[[], object], seconds: float) -> object:
        """Make an attempt by an async method, in a task of its own. It takes a place only when it is left behind.

        See `attempt`.
        """
        return NO_PLACE if self.is_stuck else await _in_task(method, seconds, partial(self.leave_behind, taken=False))

    # The circuit ------------------------------------------------------------------------------------------------------

    def is_open(self) -> bool:
        """Return whether the circuit keeps calls from the service now. If not, one call begins."""
        if self.circuit.opened is None:
            return False
        with self._lock:
            now = self._now()
            if not self.circuit.admits(self.limits, now):
                return True
            self.circuit = self.circuit.begun(self.limits, now)
            return False

    def withdrawn(self) -> None:
        """Take note that a call which had begun was not made."""
        with self._lock:
            self.circuit = self.circuit.withdrawn()

    def ended(self, member_id: str, result: object) -> None:
        """Take note of the result of a call; one that was not made says nothing of the service."""
        fails = isinstance(result, _NO_ANSWER)
        if not fails and not self.circuit.failures:
            return
        with self._lock:
            before = self.circuit
            if isinstance(result, NotMade):
                self.circuit = before.withdrawn()
            elif fails:
                self.circuit = before.failed(self.limits, member_id, self._now())
            else:
                self.circuit = before.answered()
            after = self.circuit
        if after.opened != before.opened:
            self._told(before, after)


class Services:
    """The places at all services of a manager. A forked process begins with free ones.

    Attributes:
        told: Called with the name of a service and "open" or "closed", when its circuit opens or closes.
    """

    def __init__(self, limits: Mapping[str, ServiceLimits], now: Callable[[], float]) -> None:
        """Make the places.

        Args:
            limits: The bounds by the name of the service; others have those of `ServiceLimits()`.
            now: The clock of the circuits.
        """
        self._limits, self._now = limits, now
        self.told: Callable[[str, str], None] = lambda service, phase: None
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._places: dict[str, Places] = {}

    def at(self, name: str) -> Places:
        """Return the places at a service."""
        with self._lock:
            if self._process != os.getpid():
                self._process, self._places = os.getpid(), {}
            places = self._places.get(name)
            if places is None:
                limits = self._limits.get(name, _USUAL)
                places = self._places[name] = Places(limits, self._now, self._teller(name, limits))
        return places

    def _teller(self, name: str, limits: ServiceLimits) -> Callable[[Circuit, Circuit], None]:
        def told(before: Circuit, after: Circuit) -> None:
            if before.opened is not None and after.opened is not None:  # the call that tried it had no answer
                return
            if after.opened is not None:
                fault = "the circuit of service %r is open for %g seconds, %d members in a row had no answer"
                _log.warning(fault, name, limits.rest, len(after.failures))
            else:
                _log.warning("the circuit of service %r is closed, it has answered", name)
            self.told(name, "closed" if after.opened is None else "open")

        return told


_USUAL: Final = ServiceLimits()
_NO_ANSWER: Final = (BaseException, Unreachable)


def take(places: Places, seconds: float) -> Place | None:
    """Take a place and its thread.

    Args:
        places: The places at the service.
        seconds: Seconds to wait for a place.

    Returns:
        The place; None if there is none, if the circuit is open, or if no thread can be started.
    """
    if places.is_open():
        return None
    given = places.take()
    if not given and seconds:
        answer = places.ask()
        try:
            given = answer.result(seconds)
        except TimeoutError:
            given = places.withdraw(answer)
    return _with_thread(places, given)


async def take_awaited(places: Places, seconds: float, *, threaded: bool) -> Place | None:
    """Take a place, and its thread if the method is `threaded`. See `take`."""
    from asyncio import timeout, wrap_future

    if places.is_open():
        return None
    if not threaded:
        if not places.is_stuck:
            return Place(places, counts=False)
        places.withdrawn()
        return None
    if places.take():
        return _with_thread(places, True)
    answer = places.ask()
    try:
        async with timeout(seconds):
            await wrap_future(answer)
    except TimeoutError:
        pass
    except BaseException:
        if places.withdraw(answer):
            places.leave()
        places.withdrawn()
        raise
    return _with_thread(places, places.withdraw(answer))


def _with_thread(places: Places, given: bool) -> Place | None:
    try:
        thread = _Waiting() if given else None
    except RuntimeError:  # the process can start no further thread
        places.leave()
        thread = None
    if thread is None:
        places.withdrawn()
        return None
    return Place(places, thread)


# Attempts -------------------------------------------------------------------------------------------------------------


def attempt(place: Place, method: Callable[[], object], seconds: float) -> object:
    """Return what a sync method returns, or `Raised`. An attempt that takes too long is left behind.

    Raises:
        RuntimeError: No thread can be started. The method was not called.
    """
    running = place.start(method)
    try:
        return running.result(seconds)
    except TimeoutError:  # never the method's own, which is an outcome
        place.leave_behind(running)
        return Raised(_too_long(seconds))


async def attempt_awaited(place: Place, method: Callable[[], object], seconds: float) -> object:
    """Return what a sync or async method returns, or `Raised`. See `attempt`."""
    from asyncio import ensure_future, wrap_future

    if is_async(method):
        return await _in_task(method, seconds, place.leave_behind)
    running = place.start(method)
    answering = ensure_future(_awaited(wrap_future(running)))
    try:
        return _outcome_of(answering) if await _ends(answering, seconds) else Raised(_too_long(seconds))
    finally:  # also if the task that waits is cancelled
        answering.cancel()
        if not running.done():
            place.leave_behind(running)


async def _in_task(
    method: Callable[[], object], seconds: float, leave_behind: Callable[[asyncio.Task[object]], None]
) -> object:
    """Return what an async method returns, or `Raised`. One that does not end when it is cancelled is left behind."""
    import asyncio

    answering = asyncio.get_running_loop().create_task(_answer(method))
    try:
        if await _ends(answering, seconds):
            return _outcome_of(answering)
        answering.cancel()
        await _ends(answering, CANCELLING)
        return Raised(_too_long(seconds))
    finally:  # also if the task that waits is cancelled
        if not answering.done():
            answering.cancel()
            leave_behind(answering)


async def _ends(task: asyncio.Task[object], seconds: float) -> bool:
    """Wait for a task, and return whether it ends in time: `asyncio.wait` for one task, at half of its cost."""
    import asyncio

    loop = asyncio.get_running_loop()
    over = loop.create_future()

    def end(_: object = None) -> None:
        if not over.done():
            over.set_result(None)

    task.add_done_callback(end)
    limit = loop.call_later(seconds, end)
    try:
        await over
    finally:
        limit.cancel()
        if not task.done():
            task.remove_done_callback(end)
    return task.done()


def _outcome_of(answering: asyncio.Task[object]) -> object:
    """Return the outcome of a task that has ended. A method that has cancelled its own task has raised that."""
    from asyncio import CancelledError

    try:
        return answering.result()
    except CancelledError as error:
        return Raised(error)


async def _answer(method: Callable[[], object]) -> object:
    """Return what an async method returns, or `Raised`."""
    try:
        answer: Any = method()
        return await answer if inspect.isawaitable(answer) else answer
    except BaseException as error:
        if is_interrupt(error):
            raise
        return Raised(error)


async def _awaited(answer: Awaitable[object]) -> object:
    """Return the outcome of a thread; what can be awaited is awaited."""
    outcome = await answer
    return await _answer(lambda: outcome) if inspect.isawaitable(outcome) else outcome


def is_async(method: object) -> bool:
    """Return whether a method, or the method of a partial, is declared with `async def`."""
    target = getattr(method, "func", method)
    return inspect.iscoroutinefunction(target) or inspect.iscoroutinefunction(getattr(target, "__call__", None))  # noqa: B004  # asked whether its call is async


def _too_long(seconds: float) -> TimeoutError:
    return TimeoutError(f"no answer within {seconds:g} seconds")


# Rounds of attempts ---------------------------------------------------------------------------------------------------


def with_retries(
    method: Callable[[], object],
    policy: CallPolicy,
    refuses: Callable[[object], bool] = never,
    place: Place | None = None,
    may_begin: Callable[[], bool] = lambda: True,
) -> object:
    """Call a sync method, with the attempts of its retry policy.

    Args:
        method: The method with its arguments.
        policy: The retry policy.
        refuses: Returns whether an answer says that the login token was not accepted.
        place: The place at the service, which is left in the end; by default one of a service that nothing else calls.
        may_begin: Returns whether a further attempt may begin: not after the lease of the call.

    Returns:
        The return value or the exception of the last attempt. If the last attempt had no effect (`Unreachable`, or a
        refused token) and an earlier one may have had one, the exception of the earlier attempt.
    """
    from tenacity import Retrying

    round_ = _Round(policy, refuses, place, may_begin)

    def make() -> object:
        if not round_.begins():
            return _NOT_BEGUN
        return _no_coroutine(attempt(round_.place, method, policy.timeout))

    try:
        return round_.result(Retrying(**round_.rules())(make))
    except RuntimeError as error:
        return round_.not_started(error)
    finally:
        round_.place.leave()


async def with_retries_async(
    method: Callable[[], object],
    policy: CallPolicy,
    refuses: Callable[[object], bool] = never,
    place: Place | None = None,
    may_begin: Callable[[], bool] = lambda: True,
) -> object:
    """Call a sync or async method, with the attempts of its retry policy. See `with_retries`."""
    from tenacity import AsyncRetrying

    round_ = _Round(policy, refuses, place, may_begin)

    async def make() -> object:
        if not round_.begins():
            return _NOT_BEGUN
        return await attempt_awaited(round_.place, method, policy.timeout)

    try:
        return round_.result(await AsyncRetrying(**round_.rules())(make))
    except RuntimeError as error:
        return round_.not_started(error)
    finally:
        round_.place.leave()


class _Round:
    """The attempts of one call.

    Attributes:
        place: The place at the service.
    """

    def __init__(
        self,
        policy: CallPolicy,
        refuses: Callable[[object], bool],
        place: Place | None,
        may_begin: Callable[[], bool],
    ) -> None:
        self.place = place or Place(Places(_USUAL))
        self._policy, self._refuses, self._may_begin = policy, refuses, may_begin
        self._raised: list[BaseException] = []

    def rules(self) -> dict[str, Any]:
        """Return the arguments of the retry loop."""
        from tenacity import retry_if_result, stop_after_attempt

        return {
            "stop": stop_after_attempt(self._policy.attempts),
            "wait": _pauses(self._policy),
            "retry": retry_if_result(self._has_raised),
            "retry_error_callback": _last_outcome,
        }

    def begins(self) -> bool:
        """Return whether an attempt begins: the first one does, a further one if it may and has a place."""
        return not self._raised or (self._may_begin() and self.place.renew())

    def _has_raised(self, outcome: object) -> bool:
        """Take note of the exception of an attempt; return whether there was one."""
        if isinstance(outcome, Raised):
            self._raised.append(outcome.error)
        return isinstance(outcome, Raised)

    def result(self, outcome: object) -> object:
        """Return the result of the call, from the outcome of its last attempt."""
        if outcome is _NOT_BEGUN or isinstance(outcome, Raised):
            return self._raised[-1]
        had_no_effect = isinstance(outcome, Unreachable | NotMade) or self._refuses(outcome)
        return self._raised[-1] if self._raised and self._policy.effect and had_no_effect else outcome

    def not_started(self, error: RuntimeError) -> object:
        """Return the result of a call for whose next attempt no thread could be started."""
        fault = ServiceError("", f"no thread can be started ({error})", "raise the process's limit of threads")
        return self._raised[-1] if self._raised else NotMade(fault)


def _last_outcome(state: RetryCallState) -> object:
    assert state.outcome is not None
    return state.outcome.result()


_NOT_BEGUN: Final = object()


def _pauses(policy: CallPolicy) -> wait_base:
    """Return the pauses between attempts, which double, with jitter, up to the bound of the policy."""
    from tenacity import wait_random_exponential

    return wait_random_exponential(multiplier=policy.pause, max=min(LONGEST_PAUSE, max(policy.pause, 0.001) * 1024))


def _no_coroutine(answer: object) -> object:
    """Replace a coroutine, because the sync manager cannot await it and it has had no effect yet."""
    if inspect.iscoroutine(answer):
        answer.close()
        fault = "it gave a coroutine to the sync manager"
        return NotMade(ServiceError(answer.__qualname__, fault, "use AsyncFlowStateManager, or give one without await"))
    return answer
