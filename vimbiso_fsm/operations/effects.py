"""Effects beside the requests to a store: calls, deliveries, pauses and records of the previous release.

An operation is a coroutine that awaits effects and requests (`store.requests.Effect`). It does no input or output and
needs no event loop: `run` and `run_awaited` take each effect out of it, have the shell perform the effect, and send the
answer back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, Generic, Literal, Protocol, TypeAlias, TypeVar

import attrs

from vimbiso_fsm.document.document import PendingCall
from vimbiso_fsm.engine.events import CallReturned
from vimbiso_fsm.errors import DocumentTooLarge, VimbisoError
from vimbiso_fsm.flow.calls import Call, Caller, CallPolicy
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.passed_on import PassedOn
from vimbiso_fsm.messages.refusals import Unreachable
from vimbiso_fsm.messages.replies import Reply
from vimbiso_fsm.messages.sending import Answer
from vimbiso_fsm.messages.value import Value
from vimbiso_fsm.store.requests import Effect, Request

R = TypeVar("R")

Operation: TypeAlias = Coroutine[Request, object, R]
"""A pure procedure that awaits effects and returns an `R`."""


class Beginning(Generic[R]):
    """An operation that begins as straight code, because few effects mostly end it.

    The coroutine `rest` does all that is left, from wherever the straight code has come to.
    """

    __slots__ = ()

    def first(self) -> Request | None:
        """Return the first effect; None if there is more to do before it."""
        raise NotImplementedError

    def answered(self, answer: Any) -> R | Request | None:
        """Take the answer to the latest effect.

        The answer may be a `DocumentTooLarge`, for an operation that goes on from it.

        Returns:
            The result of the operation, the next effect, or None if there is more to do.
        """
        raise NotImplementedError

    async def rest(self) -> R:
        """Do what is left of the operation."""
        raise NotImplementedError

    async def whole(self) -> R:
        """Do the whole operation."""
        step: R | Request | None = self.first()
        while isinstance(step, Effect):
            try:
                answer = await step
            except DocumentTooLarge as error:
                answer = error
            step = self.answered(answer)
        return await self.rest() if step is None else step


@attrs.frozen(eq=False, repr=False)
class LegacyRecord(Value):
    """A record of the previous release.

    Attributes:
        number: The telephone number that is its key.
        data: The bytes of a string, at most one more than `legacy.records.LARGEST`; empty for another type.
        kind: The type of its key, as Redis names it.
    """

    number: str = attrs.field(repr=False)
    data: bytes = attrs.field(default=b"", repr=False)
    kind: str = "string"


class LegacyReader(Protocol):
    """A source of records of the previous release."""

    def read(self, number: str, /) -> LegacyRecord | None:
        """Return the record under a number, or None.

        Raises:
            StoreUnavailable: The record cannot be read now.
        """
        ...


class AsyncLegacyReader(Protocol):
    """A source of records of the previous release, awaited."""

    async def read(self, number: str, /) -> LegacyRecord | None:
        """Return the record under a number, or None.

        Raises:
            StoreUnavailable: The record cannot be read now.
        """
        ...


def never(_: object) -> bool:
    """Return False: a call without a token has none that a service could refuse."""
    return False


@attrs.frozen(eq=False, repr=False)
class RunCall(Effect[object]):
    """Run a method of a service.

    The answer is the result of the method, the exception that it raised, `NotMade`, `STILL_RUNNING` when it takes
    longer than the shell waits, or `LEASE_OVER` when it was not begun in time. A late result is a turn of its own.

    Attributes:
        call: The service, the method and its arguments.
        caller: The member on whose behalf the call is made.
        policy: The retry policy.
        pending: The call as the member's document holds it.
        member_id: The id under which that document is stored, where the result belongs.
        renews: Whether the call renews the login token, before the call of the flow is made.
        refuses: Returns whether an answer says that the service did not accept the login token.
        renewable: Whether the login token may be renewed if the service does not accept it.
        in_doubt: Whether an earlier attempt may have had an effect.
    """

    call: Call[object]
    caller: Caller
    policy: CallPolicy
    pending: PendingCall
    member_id: str
    renews: bool = False
    refuses: Callable[[object], bool] = attrs.field(default=never, eq=False, repr=False)
    renewable: bool = False
    in_doubt: bool = False


DELIVERY: Final = ""
"""Stands for the function that delivers replies among the names of services."""


@attrs.frozen(eq=False, repr=False)
class TakePlace(Effect[bool]):
    """Take a place for the call or the delivery that a decision proposes, before the decision is committed.

    The answer is whether the service takes the call: it is False if all threads of the service are in use, if its
    circuit is open, or if no thread can be started. A place is kept for the `RunCall` of the same service, or for the
    `Deliver`. One that is not used is left at the end of the operation.

    Attributes:
        call: The call; None for a delivery.
    """

    call: Call[object] | None

    @property
    def service(self) -> str:
        """The name of the service, or `DELIVERY`."""
        return DELIVERY if self.call is None else self.call.service


@attrs.frozen(eq=False, repr=False)
class NotMade(Value):
    """The answer of a `RunCall` whose method was not called, because the service is busy or does not fit the call.

    Attributes:
        error: Why the method was not called.
    """

    error: VimbisoError


STILL_RUNNING: Final = object()
"""The answer of a `RunCall` that takes longer than the shell waits."""
LEASE_OVER: Final = object()
"""The answer of a `RunCall` that was not begun, because another worker may have taken it up."""


@attrs.frozen(eq=False, repr=False)
class Deliver(Effect[Answer | BaseException]):
    """Send replies to the member. The answer is that of the channel, or the exception that the sender has raised.

    Attributes:
        channel: The member's channel; its account is the one to send from.
        replies: The replies to send.
        key: A text that is the same in every attempt to send these replies.
        is_reply: Whether a member waits for them, so that they wait for a place.
    """

    channel: Channel
    replies: Sequence[Reply]
    key: str
    is_reply: bool = False


@attrs.frozen(eq=False, repr=False)
class PassOn(Effect[Answer | BaseException]):
    """Give an inbox what passes to it. The answer is that of the inbox, or the exception that it has raised."""

    passed: PassedOn

    @property
    def key(self) -> str:
        """A text that is the same in every attempt."""
        return self.passed.id

    @property
    def is_reply(self) -> bool:
        """Whether a member waits for it. None does."""
        return False


@attrs.frozen(eq=False, repr=False)
class Pause(Effect[None]):
    """Wait before attempt number `attempt` + 1, longer after each attempt, with jitter."""

    attempt: int


@attrs.frozen(eq=False, repr=False)
class StandBack(Effect[None]):
    """Wait as in `Pause`, and let other messages of the member be handled meanwhile."""

    attempt: int


@attrs.frozen(eq=False, repr=False)
class ReadLegacy(Effect["LegacyRecord | None"]):
    """Read the record of the previous release under a number. The answer is None when there is none."""

    number: str = attrs.field(repr=False)


def run(operation: Operation[R] | Beginning[R], perform: Callable[[Request], object]) -> R:
    """Run an operation to its end.

    Args:
        operation: The coroutine, or an operation that begins as straight code.
        perform: Performs an effect and returns its answer. A `VimbisoError` that it raises is raised in the operation,
            at the place that awaits the effect; any other exception ends the operation.

    Returns:
        What the operation returns.
    """
    if isinstance(operation, Beginning):
        step: R | Request | None = operation.first()
        while isinstance(step, Effect):
            try:
                answer = perform(step)
            except DocumentTooLarge as error:
                answer = error
            step = operation.answered(answer)
        if step is not None:
            return step
        operation = operation.rest()
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


async def run_awaited(operation: Operation[R] | Beginning[R], perform: Callable[[Request], Awaitable[object]]) -> R:
    """Run an operation to its end with an awaitable `perform`. See `run`."""
    if isinstance(operation, Beginning):
        step: R | Request | None = operation.first()
        while isinstance(step, Effect):
            try:
                answer = await perform(step)
            except DocumentTooLarge as error:
                answer = error
            step = operation.answered(answer)
        if step is not None:
            return step
        operation = operation.rest()
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


def is_lease_over(step: RunCall, now: float) -> bool:
    """Return whether the lease of a call is over, so that it must not be begun.

    Args:
        step: The call.
        now: Seconds since the epoch, on the store's clock.
    """
    return now >= step.pending.leased_until.timestamp()


def fault_of(result: object) -> BaseException | None:
    """Return the exception that a call has ended with, None if it has returned a value."""
    error = result.error if isinstance(result, NotMade) else result
    return error if isinstance(error, BaseException) else None


def answered(step: RunCall, result: object) -> CallReturned:
    """Return the event of a call that has ended with `result`: its return value, its exception or `NotMade`."""
    if isinstance(result, NotMade):
        result = Unreachable("call.failed")
    pending, refused = step.pending, step.refuses(result)
    had_no_effect = isinstance(result, Unreachable) or (refused and not step.renewable)
    unknown = isinstance(result, BaseException) or (step.in_doubt and had_no_effect)
    renewal: Literal["", "needed", "done"] = "done" if step.renews else "needed" if refused and step.renewable else ""
    answer = None if unknown else result
    return CallReturned(pending.key, pending.root, answer, unknown, pending.tries, renewal, pending.again)
