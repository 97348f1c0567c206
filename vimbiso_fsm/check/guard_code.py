"""Findings about guards, in their code and in how transitions use them."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import Any, Final

from vimbiso_fsm.check.finding import Finding
from vimbiso_fsm.check.parts import Named, at, callbacks_of, flows_of
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.callbacks import name_of
from vimbiso_fsm.flow.flow import AnyFlow
from vimbiso_fsm.flow.source import sources, sources_near
from vimbiso_fsm.flow.turn import Guard, authenticated
from vimbiso_fsm.made import Made
from vimbiso_fsm.messages.refusals import Refused

_UNSAID: Final = frozenset({"auto", "cancelled", "done", "empty", "failed", "timeout"})
"""The triggers that are no word of the member."""


def guard_findings(bot: Bot) -> Iterator[Finding]:
    """Yield what is found about the guards of a bot."""
    seen: set[int] = set()
    for named in callbacks_of(bot):
        if named.slot == "guard" and id(named.callback) not in seen:
            seen.add(id(named.callback))
            yield from _nothing_returned(named)
    for flow in flows_of(bot):
        yield from _misplaced_reasons(flow)
        yield from _unsatisfiable(bot, flow)


def _nothing_returned(named: Named) -> Iterator[Finding]:
    made = returns_nothing_at(named.callback)
    if made is not None:
        fault = f"guard {name_of(named.callback)!r} returns None for some data"
        yield named.finding("guard-returns-other", fault, "let it return False there", made)


def returns_nothing_at(guard: Callable[..., Any]) -> Made | None:
    """Return the line at which a guard returns None, or after which it ends, for some data; None if it shows none.

    A guard ends without a value after a last `if` without an `else`. A function that returns no value at all is refused
    when the transition is made.
    """
    source = next(iter(sources_near(guard)), None)
    function = next(iter(source.nodes), None) if source is not None else None
    if source is None or not isinstance(function, ast.FunctionDef):
        return None
    functions = (*source.of(ast.FunctionDef), *source.of(ast.AsyncFunctionDef), *source.of(ast.Lambda))
    inner = {id(node) for each in functions if each is not function for node in ast.walk(each)}
    own = [node for node in source.of(ast.Return) if id(node) not in inner]
    empty = [node.lineno for node in own if _is_none(node.value)]
    last = function.body[-1]
    if isinstance(last, ast.If) and not last.orelse:
        empty.append(last.lineno)
    return Made(source.file, empty[0]) if empty and any(not _is_none(node.value) for node in own) else None


def _is_none(value: ast.expr | None) -> bool:
    return value is None or (isinstance(value, ast.Constant) and value.value is None)


def _misplaced_reasons(flow: AnyFlow) -> Iterator[Finding]:
    """Yield guards with a reason that only choose between two ways of which the member has said nothing.

    The reason is said also where the next transition goes on.
    """
    for (_, trigger), ways in flow.by_trigger.items():
        for way in ways[:-1] if trigger in _UNSAID else ():
            for guard in way.guards:
                if _gives_reasons(guard):
                    fault = f"guard {name_of(guard)!r} has a reason, which the member reads though another way is taken"
                    remedy = "choose by a guard that returns False"
                    yield at(flow, way.made, f"transition {trigger!r}", "reason-misplaced", fault, remedy)


def _gives_reasons(guard: Guard[Any]) -> bool:
    return any(
        next(source.calls("Refused"), None) is not None or any(isinstance(value, Refused) for value in source.values)
        for source in sources_near(guard)
    )


def _unsatisfiable(bot: Bot, flow: AnyFlow) -> Iterator[Finding]:
    """Yield flows that only a member may enter who is logged in, in a bot that logs nobody in."""
    if authenticated not in flow.required or bot.entry is not None or bot.importer is not None:
        return
    callbacks = [named.callback for named in callbacks_of(bot)] + [*bot.on.values()]
    keywords = (node for source in sources(callbacks) for node in source.of(ast.keyword))
    if not any(node.arg == "authenticated" for node in keywords):
        fault = "it requires a login, the bot has no entry flow, and nothing logs a member in"
        yield at(flow, flow.made, "requires", "requires-unsatisfiable", fault, "give Bot(entry=…) a flow that logs in")
