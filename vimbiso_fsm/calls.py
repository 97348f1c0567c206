"""Running what a state proposed: which service, which method, with what arguments. The shells await it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

from vimbiso_fsm.codec import structure
from vimbiso_fsm.errors import ServiceError
from vimbiso_fsm.exchange import RunCall
from vimbiso_fsm.turn import Refused

__all__ = ["RETRIES", "bind", "only_sync"]

RETRIES = (0.05, 0.2)
"""Seconds before each further try of a call that raised, with the same key."""


def bind(services: Mapping[str, object], request: RunCall) -> Callable[[], Any]:
    """The service's method with its arguments, ready to be called. The parameter `caller`, where the method has one,
    is filled. A method that is not there answers `Refused("call.failed")`: it is known that nothing was done.

    Raises: codec.Unreadable when stored arguments no longer fit the method.
    """
    call = request.call
    method = getattr(services.get(call.service), call.method, None)
    if not callable(method):
        return lambda: Refused("call.failed")
    arguments = dict(call.arguments)
    if call.stored:
        hints = _hints(getattr(method, "__func__", method))
        arguments = {
            name: structure(value, hints[name]) if name in hints else value for name, value in arguments.items()
        }
    if "caller" in _parameters(getattr(method, "__func__", method)):
        arguments["caller"] = request.caller
    return functools.partial(method, **arguments)


@functools.lru_cache(maxsize=1024)
def _parameters(method: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(method).parameters)


@functools.lru_cache(maxsize=1024)
def _hints(method: Callable[..., Any]) -> Mapping[str, Any]:
    return get_type_hints(method)


def only_sync(services: Mapping[str, object]) -> None:
    """Raises: ServiceError when a service has an async method, which the sync shell cannot await."""
    for name, service in services.items():
        for attribute in dir(type(service)):
            method = getattr(type(service), attribute, None)
            if not attribute.startswith("_") and inspect.iscoroutinefunction(method):
                raise ServiceError(
                    name, f"method {attribute!r} is async; use AsyncFlowStateManager, or give a service without await"
                )
