"""Services bound to calls: the check when a manager starts, and the arguments when a call is made."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from types import FunctionType
from typing import Any

from vimbiso_fsm.document.typed_data import name_of as annotation_name
from vimbiso_fsm.document.typed_data import structure
from vimbiso_fsm.errors import FlowError, ServiceError, Unreadable, UnstorableType
from vimbiso_fsm.flow.annotations import fits
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.calls import parameter_types, port_signature
from vimbiso_fsm.flow.ports import PortMethod, port_methods
from vimbiso_fsm.flow.spelling import did_you_mean
from vimbiso_fsm.messages.replies import Reply
from vimbiso_fsm.operations.effects import Deliver, RunCall

_CALLER = "caller"

# At the start of a manager --------------------------------------------------------------------------------------------


def check_services(bot: Bot, *, is_async: bool) -> None:
    """Check that the services have each method that the bot's calls name, with its parameters.

    Calls whose method is computed at run time are not found here; they are checked when they are made.

    Args:
        bot: The bot with its services.
        is_async: Whether the manager can await services.

    Raises:
        ServiceError: A service is missing or does not fit.
    """
    if not is_async:
        _only_sync(bot.services)
    for port in port_methods(bot):
        for fault, remedy in _faults(bot.services, port):
            raise ServiceError(port.service, fault, remedy)


def check_delivery(deliver: object, *, is_async: bool) -> None:
    """Check the function that sends proactive replies; None is none.

    Raises:
        ServiceError: It is no function, takes other arguments, or is async where the manager cannot await it.
    """
    if deliver is None:
        return
    if not callable(deliver):
        raise ServiceError("deliver", f"it is a {type(deliver).__name__}", "give a function of a channel and replies")
    if not is_async and _is_async(deliver):
        raise ServiceError("deliver", "it is async", _USE_ASYNC)
    signature = _signature(deliver)
    if signature is not None and not _binds(signature, None, (), **_wanted(signature, {"key": "", "account": ""})):
        fault = f"it takes {_shown(signature)}, and is called with the channel and the replies"
        raise ServiceError("deliver", fault, "let it take these two; it may also take key and account")


def check_senders(senders: Mapping[str, object], types: Container[str], *, is_async: bool) -> None:
    """Check the functions that send replies, by the type of the channel. See `check_delivery`.

    Raises:
        FlowError: A type is not known to the bot.
        ServiceError: One is no function, takes other arguments, or is async where the manager cannot await it.
    """
    for channel_type, sender in senders.items():
        if channel_type not in types:
            raise FlowError("", "senders", f"{channel_type!r} is no type of a channel", "name it in Bot(channels=…)")
        if sender is None:
            raise ServiceError(f"senders[{channel_type!r}]", "it is None", "leave the type out")
        check_delivery(sender, is_async=is_async)


def check_inboxes(inboxes: Mapping[str, object], names: Container[str], *, is_async: bool) -> None:
    """Check the functions that take what passes to a person, by the name of the inbox.

    Raises:
        FlowError: The bot declares no such inbox.
        ServiceError: One is no function, takes other arguments, or is async where the manager cannot await it.
    """
    for name, inbox in inboxes.items():
        place = f"inboxes[{name!r}]"
        if name not in names:
            raise FlowError("", "inboxes", f"{name!r} is no inbox of the bot", "name it in Bot(inboxes=[…])")
        if not callable(inbox):
            raise ServiceError(place, f"it is a {type(inbox).__name__}", "give a function that takes a PassedOn")
        if not is_async and _is_async(inbox):
            raise ServiceError(place, "it is async", _USE_ASYNC)
        signature = _signature(inbox)
        if signature is not None and not _binds(signature, None):
            raise ServiceError(place, f"it takes {_shown(signature)}", "let it take one argument, a PassedOn")


_USE_ASYNC = "use AsyncFlowStateManager, or give one without await"


def _only_sync(services: Mapping[str, object]) -> None:
    for name, service in services.items():
        for attribute in dir(type(service)):
            method = getattr(type(service), attribute, None)
            if not attribute.startswith("_") and inspect.iscoroutinefunction(method):
                raise ServiceError(name, f"method {attribute!r} is async", _USE_ASYNC)


def _faults(services: Mapping[str, object], port: PortMethod) -> Iterator[tuple[str, str]]:
    """Yield what keeps a service from taking a call of a port's method, with the remedies."""
    called = f"{port.place}, calls {port.method.__qualname__}"
    service = services.get(port.service)
    if service is None:
        yield f"it is missing, and {called}", f"give services={{{port.service!r}: …}}; {_given(services)}"
        return
    method = getattr(service, port.name, None)
    if not callable(method):
        methods = [name for name in dir(service) if not name.startswith("_")]
        remedy = f"add it as the port declares it; {did_you_mean(port.name, methods)}" if methods else "add it"
        yield f"a {_type_name(service)} has no method {port.name!r}, and {called}", remedy
        return
    if isinstance(service, type) and isinstance(inspect.getattr_static(service, port.name), FunctionType):
        yield f"it is the class {service.__name__}", f"give an object: {service.__name__}(…)"
        return
    yield from _parameter_faults(service, method, port)


def _parameter_faults(service: object, method: Callable[..., Any], port: PortMethod) -> Iterator[tuple[str, str]]:
    """Yield the differences between the parameters of a service's method and those of the port."""
    signature = _signature(method)
    if signature is None:
        return
    place = f"method {port.name!r}"
    wanted, given = port_signature(port.method).parameters, signature.parameters
    takes_any = any(each.kind is each.VAR_KEYWORD for each in given.values())
    for name, parameter in given.items():
        if parameter.kind is parameter.POSITIONAL_ONLY:
            yield f"{place} takes {name!r} by position only", "calls are made by name; remove the /"
        if parameter.default is not parameter.empty or parameter.kind in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        ):
            continue
        if name != _CALLER and name not in wanted:
            yield f"{place} needs {name!r}, which {port.method.__qualname__} does not have", "give it a default"
        elif name != _CALLER and wanted[name].default is not parameter.empty:
            yield f"{place} needs {name!r}, which {port.method.__qualname__} can leave out", "give it a default"
    for name in wanted:
        if name not in given and not takes_any:
            yield f"{place} takes no {name!r}, which {port.method.__qualname__} has", "let it take the same parameters"
    yield from _type_faults(service, method, port, place)


def _type_faults(
    service: object, method: Callable[..., Any], port: PortMethod, place: str
) -> Iterator[tuple[str, str]]:
    takes, declared = _types(service, method, port.name), parameter_types(port.method)
    for name in port_signature(port.method).parameters:
        if name in takes and name in declared and not fits(declared[name], takes[name]):
            given, has = annotation_name(takes[name]), annotation_name(declared[name])
            yield f"{place} takes {name!r} as {given}, and the port has {has}", "let both have the same type"


# At a call ------------------------------------------------------------------------------------------------------------


def bind(services: Mapping[str, object], request: RunCall) -> Callable[[], object]:
    """Return the method of a service with its arguments, ready to be called.

    A parameter `caller` of the method is filled.

    Raises:
        ServiceError: There is no such method, or it does not take the arguments. It was not called.
        Unreadable: Stored arguments no longer fit the types of the method.
    """
    call = request.call
    method = getattr(services.get(call.service), call.method, None)
    if not callable(method):
        fault = f"it is missing, or has no method {call.method!r}"
        remedy = f"give the manager a service of this name with this method; {_given(services)}"
        raise ServiceError(call.service, fault, remedy)
    arguments, signature = dict(call.arguments), _signature(method)
    if signature is not None and _CALLER in signature.parameters:
        arguments[_CALLER] = request.caller
    if signature is not None and not _binds(signature, **arguments):
        fault = f"method {call.method!r} takes {_shown(signature)}, and is called with {', '.join(call.arguments)}"
        raise ServiceError(call.service, fault, "let it take the parameters of the port")
    if call.stored:
        types = _types(services[call.service], method, call.method)
        try:
            arguments |= {name: structure(value, types.get(name, Any)) for name, value in call.arguments.items()}
        except UnstorableType as error:
            raise Unreadable([str(error)]) from None
    return functools.partial(method, **arguments)


def bind_delivery(
    deliver: Callable[..., object],
    request: Deliver,
    replies: Sequence[Reply] | None = None,
    keywords: frozenset[str] | None = None,
) -> functools.partial[object]:
    """Return the delivery, ready to be called. The parameters `key` and `account` of the function are filled.

    Args:
        deliver: The function.
        request: The delivery.
        replies: Its replies as they are sent, where they differ from those of the request.
        keywords: Which of these parameters the function has, where it is known (`delivery_keywords`).
    """
    replies = request.replies if replies is None else replies
    known = {"key": request.key, "account": request.channel.account}
    names = delivery_keywords(deliver) if keywords is None else keywords
    named = {name: value for name, value in known.items() if name in names}
    return functools.partial(deliver, request.channel, replies, **named)


def delivery_keywords(deliver: Callable[..., object]) -> frozenset[str]:
    """Return which of the parameters that are filled a function that sends replies has."""
    return frozenset(_wanted(_signature(deliver), {"key": "", "account": ""}))


def _wanted(signature: inspect.Signature | None, known: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in known.items() if signature is not None and name in signature.parameters}


def _signature(method: Callable[..., object]) -> inspect.Signature | None:
    """Return the signature of a method; None if it does not tell one, as some functions in C."""
    try:
        return inspect.signature(method)  # not cached: a callable need not be hashable
    except (TypeError, ValueError):
        return None


def _binds(signature: inspect.Signature, *args: object, **kwargs: object) -> bool:
    try:
        signature.bind(*args, **kwargs)
    except TypeError:
        return False
    return True


def _shown(signature: inspect.Signature) -> str:
    return f"({', '.join(signature.parameters)})"


def _given(services: Mapping[str, object]) -> str:
    return f"given are {', '.join(map(repr, services))}" if services else "none are given"


def _type_name(service: object) -> str:
    return service.__name__ if isinstance(service, type) else type(service).__name__


def _is_async(function: object) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004  # asked whether its call is async


def _types(service: object, method: Callable[..., object], name: str) -> Mapping[str, Any]:
    """Return the annotations of a service's method; those that it lacks are those of the port that it extends."""
    owner: Any = type(service)
    return _types_of(getattr(method, "__func__", method), owner, name)


@functools.lru_cache(maxsize=1024)
def _types_of(method: Callable[..., object], service: type[Any], name: str) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    for base in reversed(service.__mro__):
        if name in vars(base):
            found |= parameter_types(getattr(base, name))
    return {**found, **parameter_types(method)}
