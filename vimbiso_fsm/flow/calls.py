"""TODO."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Concatenate, Final, Generic, ParamSpec, TypeVar, overload

import attrs

from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.refusals import Refused

R_co = TypeVar("R_co", covariant=True)
P = ParamSpec("P")
R = TypeVar("R")


@attrs.frozen
class Caller:
    """For whom a service's method acts. A method that declares a parameter `caller` gets it from the framework.

    `key` is the idempotency key: the same effect always carries the same key, however often it is tried.
    """

    key: str = ""
    member_id: str = ""
    token: str | None = attrs.field(default=None, repr=False)
    channel: Channel | None = attrs.field(default=None, repr=False)


@attrs.frozen
class Call(Generic[R_co]):
    """An effect, proposed: a method of a service by name, and storable arguments."""

    service: str
    method: str
    arguments: Mapping[str, Any] = attrs.field(hash=False, repr=False)
    stored: bool = False
    """Whether the arguments are plain data, read back from a document."""


@attrs.frozen
class CallPolicy:
    """How hard a call is tried: `State(call=…, policy=CallPolicy(…))`. Every try carries the same key.

    `timeout`: seconds for one attempt. `attempts`: in one go, with pauses between that double from `pause` seconds,
    at most `LONGEST_PAUSE`, with jitter. When all raised or took too long, nobody knows whether it was done: the call
    stays on its way and is taken up again, with the member's next message or after 2, 8, 32 … seconds, at most
    `LONGEST_REST`. After `rounds` of that the
    flow hears `failed`, with the reason "call.unsure"; where `effect` is False (it only asks) "call.unavailable".

    Raises: ValueError for a bound that is none.
    """

    timeout: float = 8.0
    attempts: int = 3
    pause: float = 0.05
    rounds: int = 6
    effect: bool = True

    def __attrs_post_init__(self) -> None:
        if not (self.timeout > 0 and self.pause >= 0 and self.attempts >= 1 and self.rounds >= 1):
            raise ValueError(
                f"{self}: timeout is more than 0 seconds, pause not less; attempts and rounds count from 1"
            )

    @property
    def lease(self) -> float:
        """Seconds that a call stays in one pair of hands: for all attempts and pauses, and to store the answer."""
        pauses = sum(min(self.pause * (1 << made), LONGEST_PAUSE) for made in range(self.attempts - 1))
        return self.attempts * self.timeout + pauses + 5.0

    @property
    def take_ups(self) -> int:
        """How often a call is taken from hands that never ended it: as often as it may fail, but not given up because
        one worker died."""
        return max(self.rounds, 3)

    def rest(self, made: int) -> float:
        """Seconds after so many rounds before the call is taken up again by itself."""
        return min(2.0 * (1 << min(2 * (made - 1), 20)), LONGEST_REST)

    @property
    def given_up(self) -> Refused:
        """What the flow hears when the rounds are used up."""
        return Refused("call.unsure" if self.effect else "call.unavailable")


LONGEST_PAUSE: Final = 1.0
"""Seconds between two attempts in one go, at most."""


LONGEST_REST: Final = 60.0
"""Seconds between two rounds, at most."""


STANDARD: Final = CallPolicy()
"""The policy of a call whose state says nothing of it."""


READ_ONLY: Final = CallPolicy(rounds=1, effect=False)
"""The policy of a call that only asks: when it cannot be answered, the flow hears so at once."""


def snake_case(name: str) -> str:
    """`CredexCore` -> `credex_core`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


@overload
def call(method: Callable[Concatenate[Any, P], Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs) -> Call[R]: ...
@overload
def call(method: Callable[Concatenate[Any, P], R], /, *args: P.args, **kwargs: P.kwargs) -> Call[R]: ...
def call(method: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Call[Any]:
    """Propose to call a service's method: `call(CredexCore.create_credex, to=…, amount=…)`.

    `method` is taken from the port, a class; the service registered under its name in snake case is asked when the
    turn has been stored. A parameter `caller` of the method is filled by the framework.

    Raises: TypeError when `method` is no method of a class or the arguments do not fit its signature.
    """
    port, _, name = method.__qualname__.rpartition(".")
    port = port.rpartition(".")[2]
    if not port or port == "<locals>":
        raise TypeError(f"call() takes a method of a port, a class; {method.__qualname__!r} is a plain function")
    arguments = _signature(method).bind(None, *args, **kwargs).arguments
    return Call(snake_case(port), name, dict(list(arguments.items())[1:]))


@functools.cache
def _signature(method: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(method)
