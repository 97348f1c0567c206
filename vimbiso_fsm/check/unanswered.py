"""What a declaration leaves without a way: a failure, a "no", and an output that nothing takes."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import Any

from vimbiso_fsm.check.finding import Finding
from vimbiso_fsm.check.parts import at, flows_of
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.flow import AnyFlow
from vimbiso_fsm.flow.source import sources_near
from vimbiso_fsm.flow.state import AnyState, Declared, sequence
from vimbiso_fsm.flow.turn import FailedWith


def unanswered_findings(bot: Bot) -> Iterator[Finding]:
    """Yield what the flows of a bot leave without a way."""
    inner = {id(state.flow) for flow in bot.flows for state in flow.states if state.flow is not None}
    for flow in flows_of(bot):
        cancels_else = bool(flow.required) or any(state.cancels for state in flow.states)
        for state in flow.states:
            if cancels_else or id(flow) not in inner:
                yield from _failures(flow, state)
            yield from _refusals(flow, state)
            yield from _outputs(flow, state)


def _failures(flow: AnyFlow, state: AnyState) -> Iterator[Finding]:
    """Yield a call with a failure that no transition takes, so that it leads out of the flow.

    It is claimed where each transition names the codes that it takes. What other guards decline is not known. Of a
    sub-flow that ends as cancelled in no other way it is not claimed, because the flow that runs it expects just that.
    """
    ways = flow.ways(state.name, "failed") if state.call is not None else ()
    named = [{code for guard in sequence(way.conditions) for code in _codes(guard)} for way in ways]
    if ways and all(named):
        fault = (
            f"'failed' leads on only for {', '.join(sorted(set[str]().union(*named)))}; another failure ends the flow"
        )
        remedy = f"add a last one without guards, such as Transition('failed', {state.name!r}, …)"
        yield at(flow, state.made, f"state {state.name!r}", "call-without-failed", fault, remedy)


def _codes(guard: object) -> Sequence[str]:
    return guard.codes if isinstance(guard, FailedWith) else ()


def _refusals(flow: AnyFlow, state: AnyState) -> Iterator[Finding]:
    """Yield a question before an effect that can only be answered with "yes"."""
    if not state.is_question or "yes" not in flow.buttons.get(state.name, ()):
        return
    leading = [way for way in flow.ways(state.name, "yes") if _is_effect(flow.by_name[way.dest])]
    said = ("answer", "empty", *flow.buttons[state.name])
    others = [way for trigger in said if trigger != "yes" for way in flow.ways(state.name, trigger)]
    if leading and all(way.dest == state.name and way.prepare is None for way in others):
        fault = f"a 'yes' at it leads to the call of {leading[0].dest!r}, and no other answer leads on"
        yield at(flow, leading[0].made, "transition 'yes'", "confirm-without-no", fault, "say where 'no' leads")


def _is_effect(state: AnyState) -> bool:
    return state.call is not None and state.call_policy.effect


def _outputs(flow: AnyFlow, state: AnyState) -> Iterator[Finding]:
    """Yield a sub-flow that does nothing but make an output, where nothing takes the output."""
    inner = state.flow
    if inner is None or state.into is not None or not any(each.output for each in inner.states):
        return
    ways = flow.ways(state.name, "done")
    callbacks = [each for way in ways for each in (*way.guards, way.prepare) if each is not None]
    if not any(map(_may_take, callbacks)) and not _does(inner):
        fault = f"flow {inner.name!r} does nothing but make an output, and nothing takes it"
        remedy = "name a field for it, into=…, or let the prepare of 'done' take turn.answer"
        yield at(flow, state.made, f"state {state.name!r}", "output-unused", fault, remedy)


def _may_take(callback: Any) -> bool:
    """Whether a callback takes `turn.answer`, or its source does not show that it does not."""
    near = sources_near(callback)
    return not near or any(
        not source.nodes or any(node.attr == "answer" for node in source.of(ast.Attribute)) for source in near
    )


def _does(flow: Declared) -> bool:
    """Whether a run of a flow, or of a flow that it runs, may leave more behind than its output."""
    seen: list[Declared] = []
    waiting: list[Declared] = [flow]
    while waiting:
        inner = waiting.pop()
        if inner not in seen:
            seen.append(inner)
            waiting += [state.flow for state in inner.states if state.flow is not None]
    prepares = (way.prepare is not None for each in seen for way in each.transitions)
    return any(prepares) or any(_is_effect(state) for each in seen for state in each.states)
