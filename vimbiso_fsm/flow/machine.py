"""A flow compiled to a `transitions` machine, and one step on it. Only this module imports `transitions`.

One machine serves all runs of a flow. A step executes its transitions on a model that is made for one trigger and
discarded afterwards; `Event.trigger` would also serve queues, machine callbacks and error handlers, which these
machines do not have. Each candidate transition starts from the same turn, because the changes of one `prepare` must
not reach the next candidate. Guards record their verdicts and reasons on the model, because the machine itself only
returns a bool.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

import attrs
import transitions
from transitions.core import EventData

from vimbiso_fsm.document.document import Member
from vimbiso_fsm.errors import WrongCallback
from vimbiso_fsm.flow.flow import Flow
from vimbiso_fsm.flow.state import Transition
from vimbiso_fsm.flow.turn import Changes, Guard, Turn, settled
from vimbiso_fsm.messages.refusals import Refused

D = TypeVar("D")


@attrs.frozen
class Fired(Generic[D]):
    """The result of one trigger.

    Attributes:
        to: The new state; None if no transition accepted.
        data: The flow's data after the step.
        member: The member after the step.
        reasons: The refusals of the guards, in order.
        verdicts: The name of each guard and what it returned, in order.
    """

    to: str | None
    data: D
    member: Member[Any]
    reasons: tuple[Refused, ...]
    verdicts: tuple[tuple[str, str], ...]


class _Model(Generic[D]):
    """The model of one trigger, which `transitions` moves."""

    __slots__ = ("reasons", "start", "state", "turn", "verdicts")

    def __init__(self, state: str, turn: Turn[D]) -> None:
        self.state = state
        self.start = self.turn = turn
        self.reasons: list[Refused] = []
        self.verdicts: list[tuple[str, str]] = []

    def note(self, guard: Guard[Any]) -> bool | Refused:
        verdict = guard(self.turn)
        if isinstance(verdict, Refused):
            self.reasons.append(verdict)
            self.verdicts.append((name_of(guard), f"refused {verdict.code}"))
        elif isinstance(verdict, bool):
            self.verdicts.append((name_of(guard), "accepted" if verdict else "declined"))
        else:
            raise WrongCallback(f"guard {name_of(guard)!r}", type(verdict).__name__, "True, False or Refused(…)")
        return verdict


def name_of(callback: Callable[..., Any]) -> str:
    """Return the name of a callback in audit entries and errors."""
    return getattr(callback, "__name__", type(callback).__name__)


def _prepare(flow: Flow[Any], transition: Transition[Any]) -> Callable[[_Model[Any]], None]:
    prepare = transition.prepare
    if prepare is None:

        def begin(model: _Model[Any]) -> None:
            model.turn = model.start

        return begin

    def prepared(model: _Model[Any]) -> None:
        turn, stale = model.start, frozenset[str]()
        data, member = _made(flow, prepare, turn)
        while more := flow.stale(model.start.data, data) - stale:  # without it, what is set anew can be told
            stale |= more
            turn = attrs.evolve(turn, data=flow.without(turn.data, more))
            data, member = _made(flow, prepare, turn)
        model.turn = attrs.evolve(model.start, data=data, member=member)

    return prepared


def _made(flow: Flow[Any], prepare: Callable[[Turn[Any]], Any], turn: Turn[Any]) -> tuple[Any, Member[Any]]:
    """Return the data and the member that a `prepare` makes of a turn."""
    result = prepare(turn)
    data, member = (result.data, result.member) if isinstance(result, Changes) else (result, turn.member)
    if not isinstance(data, flow.data):
        raise WrongCallback(f"prepare {name_of(prepare)!r}", type(data).__name__, f"a {flow.data.__name__}")
    return data, settled(turn.member, member)


def _condition(guard: Guard[Any]) -> Callable[[_Model[Any]], bool]:
    return lambda model: model.note(guard) is True


def _unless(guard: Guard[Any]) -> Callable[[_Model[Any]], bool]:
    return lambda model: model.note(guard) is not False


class Machine(Generic[D]):
    """A flow that can be stepped. It keeps no state, so all runs, members and threads share it."""

    def __init__(self, flow: Flow[D]) -> None:
        self.flow = flow
        self._machine = transitions.Machine(
            model=None,
            states=[transitions.State(state.name, final=state.final) for state in flow.states],
            transitions=[
                {
                    "trigger": trigger,
                    "source": list(transition.sources),
                    "dest": transition.dest,
                    "prepare": [_prepare(flow, transition)],
                    "conditions": [_condition(guard) for guard in cast(Any, transition.conditions)],
                    "unless": [_unless(guard) for guard in cast(Any, transition.unless)],
                }
                for transition in flow.transitions
                for trigger in transition.triggers
            ],
            initial=flow.initial,
            auto_transitions=False,
            queued=False,
        )

    def fire(self, turn: Turn[D]) -> Fired[D]:
        """Fire `turn.trigger` in `turn.state`. The first transition that accepts wins.

        Raises:
            WrongCallback: A callback returned a value of a wrong type.
            Exception: A callback raised it. The document is unchanged.
        """
        model = _Model(turn.state, turn)
        fired = False
        if self.flow.ways(turn.state, turn.trigger):
            event = self._machine.events[turn.trigger]
            step = EventData(self._machine.states[turn.state], event, self._machine, model, (model,), {})
            for candidate in event.transitions[turn.state]:
                step.transition = candidate
                if candidate.execute(step):
                    fired = True
                    break
        settled = model.turn if fired else turn
        return Fired(
            model.state if fired else None,
            settled.data,
            settled.member,
            tuple(model.reasons),
            tuple(model.verdicts),
        )
