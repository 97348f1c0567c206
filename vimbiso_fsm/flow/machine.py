"""A flow compiled to a shared `transitions` machine, and one step on it. The only module that knows `transitions`.

One machine serves every run of a flow: its transitions are executed on a model made for one trigger and thrown away.
`Event.trigger` does the same, and also serves what these machines do not have: a queue, callbacks of the machine, and
handlers of errors. Every candidate starts from the same turn again, because `prepare` would leak its changes to the
next one; guards note their verdicts and reasons on the model, because the machine itself only says yes or no.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

import attrs
import transitions
from transitions.core import EventData

from vimbiso_fsm.document.document import Member
from vimbiso_fsm.errors import VimbisoError
from vimbiso_fsm.flow.flow import Flow
from vimbiso_fsm.flow.state import Transition
from vimbiso_fsm.flow.turn import Changes, Guard, Turn
from vimbiso_fsm.messages.refusals import Refused

D = TypeVar("D")


class WrongCallback(VimbisoError, TypeError):
    """A callback returned something it may not. Attributes: `callback`, `returned` (a type name), `wanted`."""

    def __init__(self, callback: str, returned: str, wanted: str) -> None:
        self.callback, self.returned, self.wanted = callback, returned, wanted
        super().__init__(f"{callback} returned a {returned}; it must return {wanted}")


@attrs.frozen
class Fired(Generic[D]):
    """What one trigger did. `to`: the new state, None when no transition accepted. `reasons`: refusals met on the
    way, in order. `verdicts`: what each guard said, by name."""

    to: str | None
    data: D
    member: Member
    reasons: tuple[Refused, ...]
    verdicts: tuple[tuple[str, str], ...]


class _Model(Generic[D]):
    """One trigger being tried: what `transitions` moves."""

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
    """How a callback is called in audit entries and errors."""
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


def _made(flow: Flow[Any], prepare: Callable[[Turn[Any]], Any], turn: Turn[Any]) -> tuple[Any, Member]:
    """What a `prepare` makes of a turn: data and member."""
    result = prepare(turn)
    data, member = (result.data, result.member) if isinstance(result, Changes) else (result, turn.member)
    if not isinstance(data, flow.data):
        raise WrongCallback(f"prepare {name_of(prepare)!r}", type(data).__name__, f"a {flow.data.__name__}")
    return data, member


def _condition(guard: Guard[Any]) -> Callable[[_Model[Any]], bool]:
    return lambda model: model.note(guard) is True


def _unless(guard: Guard[Any]) -> Callable[[_Model[Any]], bool]:
    return lambda model: model.note(guard) is not False


class Machine(Generic[D]):
    """A flow, ready to be stepped. Shared by all runs, members and threads: it keeps nothing."""

    def __init__(self, flow: Flow[D]) -> None:
        self.flow = flow
        self._machine = transitions.Machine(
            model=None,
            states=[transitions.State(state.name, final=state.final) for state in flow.states],
            transitions=[
                {
                    "trigger": transition.trigger,
                    "source": list(transition.sources),
                    "dest": transition.dest,
                    "prepare": [_prepare(flow, transition)],
                    "conditions": [_condition(guard) for guard in cast(Any, transition.conditions)],
                    "unless": [_unless(guard) for guard in cast(Any, transition.unless)],
                }
                for transition in flow.transitions
            ],
            initial=flow.initial,
            auto_transitions=False,
            queued=False,
        )

    def fire(self, turn: Turn[D]) -> Fired[D]:
        """Pull `turn.trigger` in `turn.state`: the first transition that accepts wins.

        Raises: whatever a callback raises; WrongCallback. The document is untouched: the model is thrown away.
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
