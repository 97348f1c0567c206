"""An operation held in the hand of a test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from vimbiso_fsm.audit.flow_audit import CommitEvent
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.operations.effects import Deliver, Operation, RunCall

__all__ = ["Held"]

R = TypeVar("R")


class Held(Generic[R]):
    """An operation that goes on when the test says so.

    Attributes:
        context: The context of the operation.
        request: The effect that the operation waits for; None when it has ended.
        outcome: What it returned; None as long as it has not ended.
    """

    def __init__(self, context: Context, begin: Callable[[Context], Operation[R]]) -> None:
        """Begin an operation, up to its first effect."""
        self.context = context
        self.outcome: R | None = None
        self.request: Any = None
        self._operation = begin(context)
        self._go_on(lambda: self._operation.send(None))

    @property
    def told(self) -> list[CommitEvent]:
        """The commits that observers are told of."""
        return self.context.told

    @property
    def errors(self) -> list[tuple[str, BaseException]]:
        """What callbacks, calls and deliveries raised."""
        return self.context.errors

    def take(self, answer: object, now: float | None = None, waited: float | None = None) -> None:
        """Give the operation the answer of `request`.

        An exception of a store is raised in it; that of a call or a delivery is an answer.
        """
        assert self.request is not None, "the operation has ended"
        if now is not None:
            self.context.now = now
        if waited is not None:
            self.context.waited = waited
        if isinstance(answer, BaseException) and not isinstance(self.request, RunCall | Deliver):
            self._go_on(lambda: self._operation.throw(answer))
        else:
            self._go_on(lambda: self._operation.send(answer))

    def _go_on(self, step: Callable[[], Any]) -> None:
        self.request = None
        try:
            self.request = step()
        except StopIteration as end:
            self.outcome = end.value
