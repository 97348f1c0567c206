"""What a callback of a flow sees and may answer.

A callback gets a `Turn`: one message being decided. It is pure. A guard answers `True` (accepts), `False` (declines,
silently) or `Refused` (declines, with a reason that is said). `call` proposes an effect on the outside world, which
is run after the turn is stored.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Concatenate, Final, Generic, ParamSpec, TypeAlias, TypeVar, cast, overload

import attrs

from vimbiso_fsm.messages import NOTHING, Channel, Text

__all__ = [
    "Becomes",
    "Call",
    "Caller",
    "Guard",
    "Member",
    "Refused",
    "Turn",
    "Unreached",
    "authenticated",
    "because",
    "call",
]

D = TypeVar("D")
D_co = TypeVar("D_co", covariant=True)
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
P = ParamSpec("P")


@attrs.frozen(init=False)
class Refused:
    """A reason not to go on: returned, never raised. `code` is the key of its words, `field` the data field it is
    about, `params` what the words need: `Refused("amount.balance", field="amount", held="5.00 USD")`."""

    code: str
    field: str | None
    params: Mapping[str, Any] = attrs.field(hash=False)

    def __init__(self, code: str, /, field: str | None = None, **params: Any) -> None:
        for name, value in (("code", code), ("field", field), ("params", params or NOTHING)):
            object.__setattr__(self, name, value)

    def __bool__(self) -> bool:
        """False, so that `a or Refused(…)` and `if verdict` read as they should."""
        return False

    @property
    def words(self) -> Text:
        """The reason as a text."""
        return Text(self.code, **self.params)


class Unreached(Refused):
    """The reason that a service could not be reached. It did nothing this time, and that says nothing of an earlier try
    of the same call: where that may have been made, nobody hears that nothing was done."""


@attrs.frozen
class Member:
    """The person, as callbacks see them. `profile` and `current_account` are the embedder's own, storable."""

    id: str
    guest: bool = True
    authenticated: bool = False
    jwt_token: str | None = attrs.field(default=None, repr=False)
    profile: Mapping[str, Any] = attrs.field(factory=dict, repr=False, hash=False)
    current_account: Mapping[str, Any] = attrs.field(factory=dict, repr=False, hash=False)


@attrs.frozen
class Becomes(Generic[D_co]):
    """What `prepare` returns when more than the data changes: the new data and the new member."""

    data: D_co
    member: Member


@attrs.frozen
class Turn(Generic[D_co]):
    """One message being decided.

    `data`: the flow's typed data, the answer already in its field. `answer`: what was read, chosen, returned by a
    call or by a sub-flow. `reason`: why a call failed (on trigger `failed`). `now`: the store's clock, UTC.
    """

    data: D_co
    member: Member
    channel: Channel
    now: datetime
    flow: str
    state: str
    trigger: str = ""
    answer: Any = attrs.field(default=None, repr=False)
    reason: Refused | None = None

    def becomes(self, *, data: D | None = None, member: Member | None = None) -> Becomes[D]:
        """The result of a `prepare` that changes the member (login, onboarding, account switch)."""
        return Becomes(cast(D, self.data) if data is None else data, self.member if member is None else member)


Guard: TypeAlias = Callable[[Turn[D]], bool | Refused]
"""A pure callback that accepts, declines or refuses."""


def authenticated(turn: Turn[object]) -> bool | Refused:
    """Guard: the member is logged in. Refused leads to the bot's entry flow, and back."""
    return turn.member.authenticated or Refused("member.login")


def because(*codes: str) -> Guard[object]:
    """Guard for `failed`: the call failed for one of these reasons, `because("call.unsure")`."""

    def because_of(turn: Turn[object]) -> bool:
        return turn.reason is not None and turn.reason.code in codes

    because_of.__name__ = f"because {' or '.join(codes)}"
    return because_of


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
QUESTION: Final = CallPolicy(rounds=1, effect=False)
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
