"""Calls of services and deliveries: binding of arguments, attempts with pauses between them, time limits.

A sync method runs in a thread of its own, so that waiting for it can be bounded. A thread that never returns is left to
the end of the process. The result of a call is a value: the return value of the method, or the exception of its last
attempt.
"""

from __future__ import annotations

import contextvars
import functools
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from threading import Thread
from typing import TYPE_CHECKING, Any, Final, TypeVar

from vimbiso_fsm.document.typed_data import structure
from vimbiso_fsm.errors import ServiceError, Unreadable, UnstorableType
from vimbiso_fsm.flow.calls import LONGEST_PAUSE, CallPolicy, parameter_types
from vimbiso_fsm.messages.refusals import Refused, Unreachable
from vimbiso_fsm.operations.effects import Deliver, RunCall, never

if TYPE_CHECKING:
    from tenacity import RetryCallState
    from tenacity.wait import wait_base

DELIVERY_TIMEOUT: Final = 10.0
"""Seconds after which a delivery counts as failed, and is tried again later."""

_log = logging.getLogger("vimbiso_fsm")
R = TypeVar("R")


# Arguments -----------------------------------------------------------------------------------------------------------


def bind(services: Mapping[str, object], request: RunCall) -> Callable[[], object]:
    """Return the method of a service with its arguments, ready to be called.

    A parameter `caller` of the method is filled. A method that does not exist is answered with
    `Refused("call.failed")`, since it has no effect, unless an earlier attempt may have had one.

    Raises:
        Unreadable: Stored arguments no longer fit the method, or the method of an earlier attempt no longer exists.
    """
    call = request.call
    service: Any = services.get(call.service)
    method = getattr(service, call.method, None)
    if not callable(method) and request.policy.effect and request.pending.tries > 1:
        raise Unreadable([f"service {call.service!r} has no {call.method!r} any more"])
    if not callable(method):
        return lambda: Refused("call.failed")
    arguments = dict(call.arguments)
    if call.stored:
        owner: Any = type(service)
        types = _types(getattr(method, "__func__", method), owner, call.method)
        try:
            arguments = {name: structure(value, types.get(name, Any)) for name, value in arguments.items()}
        except UnstorableType as error:
            raise Unreadable([str(error)]) from None
    if "caller" in _parameters(getattr(method, "__func__", method)):
        arguments["caller"] = request.caller
    return functools.partial(method, **arguments)


def bind_delivery(deliver: Callable[..., object], request: Deliver) -> Callable[[], object]:
    """Return the delivery, ready to be called. The parameters `key` and `account` of the function are filled."""
    names = inspect.signature(deliver).parameters  # not cached: a callable need not be hashable
    known = {"key": request.key, "account": request.channel.account}
    arguments = {name: value for name, value in known.items() if name in names}
    return functools.partial(deliver, request.channel, request.replies, **arguments)


@functools.lru_cache(maxsize=1024)
def _parameters(method: Callable[..., object]) -> frozenset[str]:
    return frozenset(inspect.signature(method).parameters)


@functools.lru_cache(maxsize=1024)
def _types(method: Callable[..., object], service: type[Any], name: str) -> Mapping[str, Any]:
    """Return the annotations of a service's method; those that it lacks are those of the port that it extends."""
    found: dict[str, Any] = {}
    for base in reversed(service.__mro__):
        if name in vars(base):
            found |= parameter_types(getattr(base, name))
    return {**found, **parameter_types(method)}


def only_sync(services: Mapping[str, object], deliver: object = None) -> None:
    """Check that the sync manager can call all services and `deliver`.

    Raises:
        ServiceError: One of them is async.
    """
    remedy = "use AsyncFlowStateManager, or give one without await"
    if inspect.iscoroutinefunction(deliver) or inspect.iscoroutinefunction(getattr(deliver, "__call__", None)):  # noqa: B004  # asked whether its call is async
        raise ServiceError("deliver", f"it is async; {remedy}")
    for name, service in services.items():
        for attribute in dir(type(service)):
            method = getattr(type(service), attribute, None)
            if not attribute.startswith("_") and inspect.iscoroutinefunction(method):
                raise ServiceError(name, f"method {attribute!r} is async; {remedy}")


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
    had_no_effect = isinstance(answer, Unreachable) or refuses(answer)
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
    """Replace a coroutine by a refusal, because the sync manager cannot await it and it has had no effect yet."""
    if inspect.iscoroutine(answer):
        answer.close()
        _log.error("a service gave a coroutine to the sync manager; use AsyncFlowStateManager")
        return Refused("call.failed")
    return answer
