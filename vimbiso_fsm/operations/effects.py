"""Effects beside the requests to a store: calls, deliveries, pauses and records of the previous release.

An operation is a coroutine that awaits effects and requests (`store.requests.Effect`). It does no input or output and
needs no event loop: `run` and `run_awaited` take each effect out of it, have the shell perform the effect, and send the
answer back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

import attrs

from vimbiso_fsm.document.document import PendingCall
from vimbiso_fsm.engine.events import CallReturned
from vimbiso_fsm.errors import VimbisoError
from vimbiso_fsm.flow.calls import Call, Caller, CallPolicy
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.refusals import Unreachable
from vimbiso_fsm.messages.replies import Reply
from vimbiso_fsm.store.requests import Effect

R = TypeVar("R")

Operation: TypeAlias = Coroutine[Effect[Any], Any, R]
"""A pure procedure that awaits effects and returns an `R`."""


@attrs.frozen
class LegacyRecord:
    """A record of the previous release.

    Attributes:
        number: The telephone number under which it is kept.
        data: The bytes of a text, at most one more than `legacy.records.LARGEST`; empty for another type.
        kind: The type of its key, as Redis names it.
    """

    number: str = attrs.field(repr=False)
    data: bytes = attrs.field(default=b"", repr=False)
    kind: str = "string"


class LegacyReader(Protocol):
    """The place where a manager reads records of the previous release."""

    def read(self, number: str, /) -> LegacyRecord | None:
        """Return the record under a number, or None.

        Raises:
            StoreUnavailable: The record cannot be read now.
        """
        ...


class AsyncLegacyReader(Protocol):
    """The place where an async manager reads records of the previous release."""

    async def read(self, number: str, /) -> LegacyRecord | None:
        """Return the record under a number, or None.

        Raises:
            StoreUnavailable: The record cannot be read now.
        """
        ...


def never(_: object) -> bool:
    """Say no of every answer: the call has no token that a service could refuse."""
    return False


@attrs.frozen
class RunCall(Effect[object]):
    """Run a method of a service.

    The answer is what the method returned, the exception that it raised, or `STILL_RUNNING` when it takes longer than
    the shell waits; what it returns later is then a turn of its own.

    Attributes:
        call: The service, the method and its arguments.
        caller: The member for whom the call is made.
        policy: The retry policy.
        pending: The call as the member's document holds it.
        renews: Whether the call renews the token, ahead of the call of the flow.
        refuses: Whether an answer says that the service did not accept the token.
        curable: A token renewal may be tried once.
        in_doubt: An earlier attempt may have succeeded.
    """

    call: Call[Any]
    caller: Caller
    policy: CallPolicy
    pending: PendingCall
    renews: bool = False
    refuses: Callable[[object], bool] = attrs.field(default=never, eq=False, repr=False)
    curable: bool = False
    in_doubt: bool = False


STILL_RUNNING = object()
"""The answer of a `RunCall` that takes longer than the shell waits."""


@attrs.frozen
class Deliver(Effect["BaseException | None"]):
    """Send replies to the member. The answer is None when that was done, else what was raised.

    Attributes:
        channel: The member's channel.
        replies: What to send.
        key: The same for every attempt to send these replies.
    """

    channel: Channel
    replies: Sequence[Reply]
    key: str


@attrs.frozen
class Pause(Effect[None]):
    """Wait a moment before attempt number `attempt` + 1: longer the more there were, with jitter."""

    attempt: int


@attrs.frozen
class ReadLegacy(Effect["LegacyRecord | None"]):
    """Read the record of the previous release under a number. The answer is None when there is none."""

    number: str = attrs.field(repr=False)


def run(operation: Operation[R], perform: Callable[[Effect[Any]], object]) -> R:
    """Run an operation to its end.

    Args:
        operation: The coroutine.
        perform: Performs an effect and returns its answer. A `VimbisoError` that it raises is raised in the operation,
            at the place that awaits the effect; any other exception ends the operation.

    Returns:
        What the operation returns.
    """
    try:
        effect = operation.send(None)
        while True:
            try:
                answer = perform(effect)
            except VimbisoError as error:
                effect = operation.throw(error)
            else:
                effect = operation.send(answer)
    except StopIteration as end:
        result: R = end.value
        return result
    finally:
        operation.close()


async def run_awaited(operation: Operation[R], perform: Callable[[Effect[Any]], Awaitable[object]]) -> R:
    """Run an operation to its end, its effects awaited. See `run`."""
    try:
        effect = operation.send(None)
        while True:
            try:
                answer = await perform(effect)
            except VimbisoError as error:
                effect = operation.throw(error)
            else:
                effect = operation.send(answer)
    except StopIteration as end:
        result: R = end.value
        return result
    finally:
        operation.close()


def answered(step: RunCall, result: object) -> CallReturned:
    """Return the event that a call has ended with `result`: what it returned, or the exception it raised."""
    pending, refused = step.pending, step.refuses(result)
    says_nothing = isinstance(result, Unreachable) or (refused and not step.curable)
    unknown = isinstance(result, BaseException) or (step.in_doubt and says_nothing)
    renewal: Literal["", "needed", "done"] = "done" if step.renews else "needed" if refused and step.curable else ""
    answer = None if unknown else result
    return CallReturned(pending.key, pending.root, answer, unknown, pending.tries, renewal, pending.again)
