"""The methods of services that a bot calls, as far as the source code of its callbacks names them.

A call is found where it is written, `call(Port.method, …)`, in a callback or in a function of the same package that it
calls. A method that is computed at run time is not found.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

import attrs

from vimbiso_fsm.errors import WrongCall
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.calls import call, service_of
from vimbiso_fsm.flow.source import Source, sources


@attrs.frozen
class PortMethod:
    """A method of a port that a bot calls.

    Attributes:
        service: The name of the service.
        name: The name of the method.
        method: The method as the port declares it.
        place: The place of the call, as an error names it.
    """

    service: str
    name: str
    method: Callable[..., Any]
    place: str


def port_methods(bot: Bot) -> tuple[PortMethod, ...]:
    """Return the methods that the calls of a bot name, each once."""
    proposing = [
        (state.call, f"flow {flow.name!r}, state {state.name!r}")
        for name in sorted({each.name for each in bot.flows})
        for flow in bot.definitions(name)
        for state in flow.states
        if state.call is not None
    ]
    if bot.tokens is not None:
        proposing.append((bot.tokens.renew, "Tokens.renew"))
    found: dict[Callable[..., Any], PortMethod] = {}
    for callback, place in proposing:
        for method in _called(callback):
            found.setdefault(method, PortMethod(*service_of(method), method, place))
    return tuple(found.values())


@functools.lru_cache(maxsize=1024)
def _called(callback: Callable[..., Any]) -> tuple[Callable[..., Any], ...]:
    return tuple(
        method
        for source in sources([callback], classes=False)
        for node in source.of(ast.Call)
        if node.args and source.resolve(node.func) is call
        for method in _methods(source, node.args[0])
    )


def _methods(source: Source, node: ast.expr) -> Iterator[Callable[..., Any]]:
    """Yield the methods that the first argument of `call` can be."""
    if isinstance(node, ast.IfExp):
        yield from _methods(source, node.body)
        yield from _methods(source, node.orelse)
    method = source.resolve(node)
    if isinstance(method, FunctionType):
        try:
            service_of(method)
        except WrongCall:  # it is raised where the call is proposed
            return
        yield method
