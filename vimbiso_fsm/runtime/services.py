"""Calls of services and deliveries: attempts with pauses between them, time limits.

A sync method runs in a thread of its own, so that waiting for it can be bounded. A thread that never returns is left to
the end of the process. The result of a call is a value: the return value of the method, or the exception of its last
attempt.
"""

from __future__ import annotations

import contextvars
import inspect
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from threading import Thread
from typing import TYPE_CHECKING, Any, Final, TypeVar

from vimbiso_fsm.errors import ServiceError
from vimbiso_fsm.flow.calls import LONGEST_PAUSE, CallPolicy
from vimbiso_fsm.messages.refusals import Unreachable
from vimbiso_fsm.operations.effects import NotMade, never

if TYPE_CHECKING:
    from tenacity import RetryCallState
    from tenacity.wait import wait_base

DELIVERY_TIMEOUT: Final = 10.0
"""Seconds after which a delivery counts as failed, and is tried again later."""

R = TypeVar("R")


# Attempts ------------------------------------------------------------------------------------------------------------


def in_thread(work: Callable[[], R]) -> Future[R]:
    """Run `work` in a daemon thread of its own."""
    future: Future[R] = Future()
    future.set_running_or_notify_cancel()  # a caller that stops waiting does not cancel it
    context = contextvars.copy_context()

    def run() -> None:
        try:
            result = context.run(work)
        except BaseException as error:  # noqa: BLE001  # the future raises it
            future.set_exception(error)
        else:
            future.set_result(result)

    Thread(target=run, name="vimbiso call", daemon=True).start()
    return future


def with_timeout(work: Callable[[], R], seconds: float) -> R:
    """Return the result of `work`.

    Raises:
        TimeoutError: It takes longer than `seconds`.
    """
    return in_thread(work).result(seconds)


def with_retries(method: Callable[[], object], policy: CallPolicy, refuses: Callable[[object], bool] = never) -> object:
    """Call a sync method, with the attempts of its retry policy.

    Args:
        method: The method with its arguments.
        policy: The retry policy.
        refuses: Returns whether an answer says that the login token was not accepted.

    Returns:
        The return value or the exception of the last attempt. If the last attempt had no effect (`Unreachable`, or a
        refused token) and an earlier one may have had one, the exception of the earlier attempt.
    """
    from tenacity import Retrying, stop_after_attempt

    raised: list[BaseException] = []
    retrying = Retrying(
        stop=stop_after_attempt(policy.attempts), wait=_pauses(policy), after=_noting(raised), reraise=True
    )
    try:
        answer = _no_coroutine(retrying(with_timeout, method, policy.timeout))
    except Exception as error:  # noqa: BLE001  # any exception leaves the outcome unknown; the call is made again with its key
        return error
    return _result(answer, raised, policy, refuses)


async def with_retries_async(
    method: Callable[[], object], policy: CallPolicy, refuses: Callable[[object], bool] = never
) -> object:
    """Call a sync or async method, with the attempts of its retry policy. See `with_retries`."""
    from asyncio import timeout

    from tenacity import AsyncRetrying, stop_after_attempt

    async def attempt() -> object:
        async with timeout(policy.timeout):
            return await awaited(method)

    raised: list[BaseException] = []
    retrying = AsyncRetrying(
        stop=stop_after_attempt(policy.attempts), wait=_pauses(policy), after=_noting(raised), reraise=True
    )
    try:
        answer: object = await retrying(attempt)
    except Exception as error:  # noqa: BLE001  # as above
        return error
    return _result(answer, raised, policy, refuses)


def _result(
    answer: object, raised: list[BaseException], policy: CallPolicy, refuses: Callable[[object], bool]
) -> object:
    """Return the last answer, or the exception of an earlier attempt if only that attempt may have had an effect."""
    had_no_effect = isinstance(answer, Unreachable | NotMade) or refuses(answer)
    return raised[-1] if raised and policy.effect and had_no_effect else answer


def _noting(raised: list[BaseException]) -> Callable[[RetryCallState], None]:
    """Return a hook that collects the exceptions of attempts."""

    def note(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if error is not None:
            raised.append(error)

    return note


def _pauses(policy: CallPolicy) -> wait_base:
    """Return the pauses between attempts, which double, with jitter, up to the bound of the policy."""
    from tenacity import wait_random_exponential

    return wait_random_exponential(multiplier=policy.pause, max=min(LONGEST_PAUSE, max(policy.pause, 0.001) * 1024))


async def awaited(method: Callable[[], R | Awaitable[R]]) -> R:
    """Return the result of a sync or async method. A sync one runs in a thread of its own."""
    from asyncio import wrap_future

    target = getattr(method, "func", method)
    is_async = inspect.iscoroutinefunction(target) or inspect.iscoroutinefunction(getattr(target, "__call__", None))  # noqa: B004  # asked whether its call is async
    answer: Any = method() if is_async else await wrap_future(in_thread(method))
    result: R = await answer if inspect.isawaitable(answer) else answer
    return result


def _no_coroutine(answer: object) -> object:
    """Replace a coroutine, because the sync manager cannot await it and it has had no effect yet."""
    if inspect.iscoroutine(answer):
        answer.close()
        fault = "it gave a coroutine to the sync manager"
        return NotMade(ServiceError(answer.__qualname__, fault, "use AsyncFlowStateManager, or give one without await"))
    return answer
