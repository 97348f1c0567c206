"""The check of the arguments of a manager's methods, so that a wrong value raises no error of a library below."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import wraps
from typing import Final, ParamSpec, TypeVar

from vimbiso_fsm.document.document import Document
from vimbiso_fsm.errors import WrongArgument
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.sending import Later, Never, Sent
from vimbiso_fsm.operations.handle import Outcome
from vimbiso_fsm.store.requests import Effect

P = ParamSpec("P")
R = TypeVar("R")

_LARGEST: Final = (1 << 63) - 1
"""The largest number that a server takes as a count."""
_KINDS: Final[Mapping[str, type | tuple[type, ...]]] = {
    "outcome": Outcome,
    "answer": (Sent, Later, Never),
    "member_id": str,
    "into": str,
    "channel": Channel,
    "document": Document,
    "request": Effect,
    "flow": str,
    "run": str,
    "since": datetime,
    "until": datetime,
    "last": int,
    "to": int,
}
"""The type of each argument, by its name."""


def checked(method: Callable[P, R]) -> Callable[P, R]:
    """Return a method that checks its arguments first.

    The method raises `WrongArgument` for a value of a wrong type, for text that is not valid Unicode, and for a number
    that is too large. None is accepted where it is the default.
    """
    signature = inspect.signature(method)

    @wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        for name, value in _named(signature.bind(*args, **kwargs)):
            parameter = signature.parameters.get(name)
            if name in _KINDS and not (value is None and (parameter is None or parameter.default is None)):
                _check(name, value, _KINDS[name])
        return method(*args, **kwargs)

    return call


def _named(bound: inspect.BoundArguments) -> Iterator[tuple[str, object]]:
    for name, value in bound.arguments.items():
        if bound.signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
            yield from value.items()
        else:
            yield name, value


def _check(name: str, value: object, kind: type | tuple[type, ...]) -> None:
    if not isinstance(value, kind) or isinstance(value, bool):
        given, wanted = type(value).__name__, "text" if kind is str else f"an instance of {_names(kind)}"
        raise WrongArgument(name, f"is of type {given}; give {wanted}")
    if isinstance(value, str) and not _is_unicode(value):
        raise WrongArgument(name, "holds half of a surrogate pair; give text that is valid Unicode")
    if isinstance(value, int) and not -_LARGEST <= value <= _LARGEST:
        raise WrongArgument(name, f"has {len(str(abs(value)))} digits; give a smaller number")


def _names(kind: type | tuple[type, ...]) -> str:
    return " or ".join(each.__name__ for each in (kind if isinstance(kind, tuple) else (kind,)))


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
