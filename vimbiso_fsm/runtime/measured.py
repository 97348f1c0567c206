"""Managers whose messages, facts and wakings are measured: drop-in replacements of the plain ones."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from vimbiso_fsm.audit.entries import AuditEntry
from vimbiso_fsm.audit.flow_audit import Observer
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.messages.message import Message
from vimbiso_fsm.messages.told import Told
from vimbiso_fsm.operations.handle import Outcome
from vimbiso_fsm.operations.handle_event import EventOutcome
from vimbiso_fsm.runtime.base import BaseManager
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager, FlowStateManager
from vimbiso_fsm.runtime.measures import WOKEN, Measures
from vimbiso_fsm.runtime.watchdog import SlowCallback
from vimbiso_fsm.store.requests import AsyncStore, Store


class MeasuredManager(FlowStateManager):
    """A `FlowStateManager` that is measured.

    Its further argument `measures` are the figures, such as a `Telemetry` or an `OpenMetrics`.
    """

    def __init__(
        self,
        flows: Bot | str,
        store: Store,
        *,
        measures: Sequence[Measures],
        observers: Sequence[Observer] = (),
        **options: Any,
    ) -> None:
        self._measures = tuple(measures)
        super().__init__(flows, store, observers=[*observers, *self._measures], **options)
        _watch(self._base, self._measures)

    def handle(self, message: Message, *, send: bool = True) -> Outcome:
        """See `FlowStateManager.handle`."""
        with ExitStack() as measuring:
            notes = [measuring.enter_context(each.handling(message, self._base)) for each in self._measures]
            outcome = super().handle(message, send=send)
            for note in notes:
                note(outcome)
            return outcome

    def handle_event(self, event: Told) -> EventOutcome:
        """See `FlowStateManager.handle_event`."""
        outcome = super().handle_event(event)
        for each in self._measures:
            each.took(event, outcome)
        return outcome

    def wake(self, member_id: str) -> tuple[AuditEntry, ...]:
        """See `FlowStateManager.wake`."""
        with ExitStack() as measuring:
            for each in self._measures:
                measuring.enter_context(each.timed(WOKEN))
            return super().wake(member_id)


class AsyncMeasuredManager(AsyncFlowStateManager):
    """An `AsyncFlowStateManager` that is measured. See `MeasuredManager`."""

    def __init__(
        self,
        flows: Bot | str,
        store: AsyncStore,
        *,
        measures: Sequence[Measures],
        observers: Sequence[Observer] = (),
        **options: Any,
    ) -> None:
        self._measures = tuple(measures)
        super().__init__(flows, store, observers=[*observers, *self._measures], **options)
        _watch(self._base, self._measures)

    async def handle(self, message: Message, *, send: bool = True) -> Outcome:
        """See `FlowStateManager.handle`."""
        with ExitStack() as measuring:
            notes = [measuring.enter_context(each.handling(message, self._base)) for each in self._measures]
            outcome = await super().handle(message, send=send)
            for note in notes:
                note(outcome)
            return outcome

    async def handle_event(self, event: Told) -> EventOutcome:
        """See `FlowStateManager.handle_event`."""
        outcome = await super().handle_event(event)
        for each in self._measures:
            each.took(event, outcome)
        return outcome

    async def wake(self, member_id: str) -> tuple[AuditEntry, ...]:
        """See `FlowStateManager.wake`."""
        with ExitStack() as measuring:
            for each in self._measures:
                measuring.enter_context(each.timed(WOKEN))
            return await super().wake(member_id)


def _watch(base: BaseManager, measures: Sequence[Measures]) -> None:
    """Count also what a manager reports outside of turns."""

    def circuit(service: str, phase: str) -> None:
        for each in measures:
            each.circuit(service, phase)

    def slow_callback(slow: SlowCallback) -> None:
        for each in measures:
            each.slow_callback(slow)

    def lagged(seconds: float) -> None:
        for each in measures:
            each.lagged(seconds)

    def incident(kind: str) -> None:
        for each in measures:
            each.incident(kind)

    base.services.told, base.lagged, base.recorded = circuit, lagged, incident
    for watched in (base.watched, base.observing):
        if watched is not None:
            watched.count = slow_callback
    for each in measures:
        each.watch(base)
