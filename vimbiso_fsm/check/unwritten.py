"""Fields that are read before an answer can have been written into them.

It is claimed only of a field that a question fills, whose default is empty, and that is used as it stands: in a text, a
reason or a call, or in a comparison. So an empty field that means "none", and a counter from 0, are no findings.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import Any, Final

import attrs

from vimbiso_fsm.check.finding import Finding
from vimbiso_fsm.check.parts import at, flows_of
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.calls import call
from vimbiso_fsm.flow.flow import AnyFlow
from vimbiso_fsm.flow.source import Source, path_of, sources_near
from vimbiso_fsm.flow.state import AnyTransition
from vimbiso_fsm.made import Made
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.replies import Text

_ANSWERING: Final = ("answer", "done")
_SLOTS: Final = ("ask", "say", "rows", "call", "output")


def unwritten_findings(bot: Bot) -> Iterator[Finding]:
    """Yield the fields of a bot's flows that are read before they can have been written."""
    given = {id(state.flow) for flow in bot.flows for state in flow.states if state.input is not None}
    for flow in flows_of(bot):
        if id(flow) not in given and not flow.on:
            yield from _of_flow(flow)


def _of_flow(flow: AnyFlow) -> Iterator[Finding]:
    asked = {state.into for state in flow.states if state.is_question and state.into}
    empty = {name for name in asked if _is_empty(flow.fields[name].default)}
    if not empty:
        return
    written = _written(flow)
    for state in flow.states:
        for slot in _SLOTS:
            callback = getattr(state, slot)
            if callable(callback) and state.name in written:
                yield from _reads(flow, f"state {state.name!r}", callback, empty - written[state.name])
    for (name, trigger), ways in flow.by_trigger.items():
        for way in ways if name in written else ():
            before = written[name] | _after(flow, way, name, trigger)
            for guard in way.guards:
                yield from _reads(flow, f"transition {trigger!r}", guard, empty - before)


def _is_empty(default: object) -> bool:
    return not isinstance(default, attrs.Factory) and not isinstance(default, bool) and not default  # type: ignore[arg-type]


def _written(flow: AnyFlow) -> dict[str, frozenset[str]]:
    """Return the fields that may have been written when a state is entered, for each state that can be reached."""
    found: dict[str, frozenset[str]] = {flow.initial: frozenset()}
    waiting = [flow.initial]
    while waiting:
        name = waiting.pop()
        for (source, trigger), ways in flow.by_trigger.items():
            for way in ways if source == name else ():
                after = found[name] | _after(flow, way, name, trigger)
                known = found.get(way.dest)
                if known is None or after - known:
                    found[way.dest] = (known or frozenset()) | after
                    waiting.append(way.dest)
    return found


def _after(flow: AnyFlow, way: AnyTransition, source: str, trigger: str) -> frozenset[str]:
    """Return the fields that a transition may write: those of the answer, and those of its `prepare`."""
    into = flow.by_name[source].into
    answered = {into} if into and trigger in _ANSWERING else set[str]()
    return frozenset(answered) | (frozenset(flow.fields) if way.prepare is not None else frozenset())


def _reads(
    flow: AnyFlow, place: str, callback: Callable[..., Any], unwritten: frozenset[str] | set[str]
) -> Iterator[Finding]:
    """Yield the first line at which a callback uses each of these fields as it stands."""
    named: set[str] = set()
    for source in sources_near(callback) if unwritten else ():
        tested = set(_tested(source))
        for node in _used(source):
            name = _field(node)
            if name in unwritten and name not in tested and name not in named:
                named.add(name)
                fault = f"field {name!r} is used here, and no question that fills it was asked before"
                made = Made(source.file, node.lineno)
                yield at(flow, made, place, "read-before-written", fault, "ask for it before, or leave it out here")


def _field(node: ast.expr) -> str:
    """Return the name of a field of the turn's data; "" if an expression is none."""
    path = path_of(node)
    return path[2] if len(path) == 3 and path[:2] == ("turn", "data") else ""


def _used(source: Source) -> Iterator[ast.expr]:
    """Yield the expressions that are used as they stand."""
    for node in source.of(ast.Call):
        made = source.resolve(node.func)
        named = bool(node.args) and isinstance(
            node.args[0], ast.Constant
        )  # of another text it is not known what it shows
        if made is call or (named and (made is Text or made is Refused)):
            yield from (*node.args, *(each.value for each in node.keywords))
    for compared in source.of(ast.Compare):
        if not _is_with_empty(compared):
            yield from (compared.left, *compared.comparators)


def _tested(source: Source) -> Iterator[str]:
    """Yield the fields of which a callback asks whether they are empty."""
    yield from (_field(value) for node in source.of(ast.BoolOp) for value in node.values)
    yield from (_field(node.test) for node in source.of(ast.If))
    yield from (_field(node.test) for node in source.of(ast.IfExp))
    yield from (_field(node.operand) for node in source.of(ast.UnaryOp))
    for node in filter(_is_with_empty, source.of(ast.Compare)):
        yield from map(_field, (node.left, *node.comparators))


def _is_with_empty(node: ast.Compare) -> bool:
    """Whether a comparison is with an empty constant, such as ""."""
    return any(isinstance(each, ast.Constant) and not each.value for each in (node.left, *node.comparators))
