"""Calls: effects on the outside world that a flow proposes, and their retry policy."""

from __future__ import annotations

import contextlib
import functools
import inspect
import re
from collections.abc import Awaitable, Callable, Mapping
from types import SimpleNamespace
from typing import Any, Concatenate, Final, Generic, ParamSpec, TypeVar, get_type_hints, overload

import attrs

from vimbiso_fsm.errors import WrongCall
from vimbiso_fsm.messages.bounds import check_count, check_seconds
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.value import Value

R_co = TypeVar("R_co", covariant=True)
P = ParamSpec("P")
R = TypeVar("R")

LONGEST_PAUSE: Final = 1.0
"""The longest pause between two attempts of a round, in seconds."""

LONGEST_REST: Final = 60.0
"""The longest rest between two rounds, in seconds."""

LONGEST_ATTEMPT: Final = 3600.0
"""The longest time of one attempt that can be declared, in seconds. No other worker makes the call meanwhile."""

MOST_THREADS: Final = 10_000
"""The largest number of threads of a service that can be declared."""

MOST_FAILURES: Final = 10_000
"""The largest number of failures of a service that can be declared."""

MOST_ATTEMPTS: Final = 100
"""The largest number of attempts in a round that can be declared."""


@attrs.frozen(eq=False, repr=False)
class Caller(Value):
    """The member for whom a service's method acts. A method with a parameter `caller` receives it.

    Attributes:
        key: The idempotency key. Each attempt at one effect carries the same key.
        member_id: The member id.
        token: The member's token, if there is one.
        channel: The channel of the member's latest message. Its identifier is opaque, and no telephone number to rely
            on.
        phone: The telephone number that the channel proves, as digits with the country code; empty if it proves none.
    """

    key: str = ""
    member_id: str = ""
    token: str | None = attrs.field(default=None, repr=False)
    channel: Channel | None = attrs.field(default=None, repr=False)
    phone: str = attrs.field(default="", repr=False)


@attrs.frozen(eq=False, repr=False)
class Call(Value, Generic[R_co]):
    """A proposed effect; made by `call`.

    Attributes:
        service: The name of the service.
        method: The name of its method.
        arguments: The arguments by name. Storable.
        stored: Whether the arguments are plain values that were read from a document.
        types: The annotations of the arguments by name, in the method of the port.
    """

    service: str
    method: str
    arguments: Mapping[str, object] = attrs.field(hash=False, repr=False)
    stored: bool = False
    types: Mapping[str, Any] = attrs.field(factory=dict, eq=False, repr=False)


@attrs.frozen(eq=False, repr=False)
class CallPolicy(Value):
    """The retry policy of a call: `State(call=…, policy=CallPolicy(…))`.

    A round consists of several attempts. If each of them raises or takes too long, it is unknown whether the effect
    happened. The call stays pending and begins another round with the member's next message, or after 2, 8, 32 …
    seconds, at most `LONGEST_REST`. After the last round the flow receives `failed`, with the reason "call.unsure", or
    "call.unavailable" for a call without an effect.

    Attributes:
        timeout: Seconds for one attempt.
        attempts: Attempts in one round.
        pause: Seconds between the first two attempts. The pauses double, up to `LONGEST_PAUSE`, with jitter.
        rounds: Rounds after which the call is given up.
        effect: Whether the call changes anything. False for a call that only reads.

    Raises:
        FlowError: A bound is no number or out of range.
    """

    timeout: float = 8.0
    attempts: int = 3
    pause: float = 0.05
    rounds: int = 6
    effect: bool = True

    def __attrs_post_init__(self) -> None:
        check_seconds("CallPolicy", "timeout", self.timeout, most=LONGEST_ATTEMPT)
        check_seconds("CallPolicy", "pause", self.pause, more=False)
        check_count("CallPolicy", "attempts", self.attempts, most=MOST_ATTEMPTS)
        check_count("CallPolicy", "rounds", self.rounds)

    @property
    def lease(self) -> float:
        """Seconds for which one worker holds the call: all attempts, the pauses and the commit of the result."""
        pauses = sum(min(self.pause * (1 << made), LONGEST_PAUSE) for made in range(self.attempts - 1))
        return self.attempts * self.timeout + pauses + 5.0

    @property
    def take_ups(self) -> int:
        """How often an expired lease may be taken over: at least 3 times, so that a call survives dead workers."""
        return max(self.rounds, 3)

    def rest(self, made: int) -> float:
        """Return the seconds from the end of a round to the next one, if the member sends no message.

        Args:
            made: The number of rounds that were made.
        """
        return min(2.0 * (1 << min(2 * (made - 1), 20)), LONGEST_REST)

    @property
    def given_up(self) -> Refused:
        """The reason of `failed` after the last round."""
        return Refused("call.unsure" if self.effect else "call.unavailable")


@attrs.frozen(eq=False, repr=False)
class ServiceLimits(Value):
    """The bounds of what one process asks of a service: `Bot(service_limits={"ledger": ServiceLimits(threads=8)})`.

    A sync method runs in a thread, and a thread whose method never returns is kept. A call waits for a thread before
    its turn is stored. If it gets none, or the circuit of the service is open, the turn is not stored, and the member
    reads that it is not possible now.

    The circuit opens when the calls of several members in a row had no answer (an exception, a timeout, `Unreachable`).
    After a rest, one call tries the service. An answer closes the circuit, also a `Refused`.

    Attributes:
        threads: Threads that may be in a method of the service. Coroutines are not counted, except those that go on
            after they were cancelled.
        wait: Seconds for which a message, or due work, waits for a thread. While all threads are in attempts that have
            taken longer than their timeout, it does not wait.
        failures: Members in a row whose calls had no answer, after which the circuit opens.
        within: Seconds within which these calls must have ended.
        rest: Seconds for which the circuit stays open.

    Raises:
        FlowError: A bound is no number or out of range.
    """

    threads: int = 16
    wait: float = 5.0
    failures: int = 10
    within: float = 60.0
    rest: float = 30.0

    def __attrs_post_init__(self) -> None:
        check_count("ServiceLimits", "threads", self.threads, most=MOST_THREADS)
        check_seconds("ServiceLimits", "wait", self.wait, more=False)
        check_count("ServiceLimits", "failures", self.failures, most=MOST_FAILURES)
        check_seconds("ServiceLimits", "within", self.within)
        check_seconds("ServiceLimits", "rest", self.rest)


STANDARD: Final = CallPolicy()
"""The policy of a call whose state has none."""

READ_ONLY: Final = CallPolicy(rounds=1, effect=False)
"""The policy of a call that only reads: after one round without a result, the flow receives `failed`."""


def snake_case(name: str) -> str:
    """Return a class name in snake case: `CredexCore` -> `credex_core`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


@overload
def call(method: Callable[Concatenate[Any, P], Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs) -> Call[R]: ...
@overload
def call(method: Callable[Concatenate[Any, P], R], /, *args: P.args, **kwargs: P.kwargs) -> Call[R]: ...
def call(method: Callable[..., object], /, *args: object, **kwargs: object) -> Call[object]:
    """Propose a call to a method of a service: `call(CredexCore.create_credex, to=…, amount=…)`.

    The call is made after the turn is stored, to the service that is registered under the port's name in snake case.
    The framework fills a parameter `caller` of the method. It is never given here; type checkers ask for it unless the
    port gives it a default, such as `caller: Caller = Caller()`.

    Args:
        method: A method of the port, which is a class.
        *args: Arguments of the method. Each is of the type that the method declares, and is stored as that type.
        **kwargs: Arguments of the method by name.

    Raises:
        WrongCall: `method` is not a method of a class, or the arguments do not fit its signature.
    """
    service, name = service_of(method)
    if "caller" in kwargs:
        raise WrongCall(method.__qualname__, "it is given 'caller'", "leave it out, the framework fills it")
    signature = port_signature(method)
    try:
        arguments = signature.bind(*args, **kwargs).arguments
    except TypeError as error:
        takes = ", ".join(signature.parameters) or "nothing"
        raise WrongCall(method.__qualname__, str(error), f"it takes {takes}") from None
    return Call(service, name, dict(arguments), types=parameter_types(method))


def service_of(method: Callable[..., object]) -> tuple[str, str]:
    """Return the name of the service whose port a method belongs to, and the name of the method.

    Raises:
        WrongCall: It is not a method of a class.
    """
    given: object = method
    named: object = getattr(given, "__qualname__", None)
    if not isinstance(named, str):
        shown = repr(given) if isinstance(given, str) else f"a {type(given).__name__}"
        raise WrongCall(shown, "it takes a method of a port, which is a class", "write call(Port.method, …)")
    port, _, name = named.rpartition(".")
    port = port.rpartition(".")[2]
    if not port or port == "<locals>":
        fault = "it takes a method of a port, which is a class, and this is a plain function"
        raise WrongCall(named, fault, "declare it in a class, and give the manager an object with this method")
    if inspect.ismethod(method):
        fault = "it takes a method of a port, and this is a method of one object"
        raise WrongCall(named, fault, f"name it by its class, call({port}.{name}, …)")
    return snake_case(port), name


@functools.cache
def parameter_types(method: Callable[..., object]) -> Mapping[str, Any]:
    """Return the annotations of the parameters of a method by name, without those whose names cannot be found."""
    found: dict[str, Any] = {}
    names: dict[str, Any] = getattr(inspect.unwrap(method), "__globals__", {})
    for name, annotation in getattr(method, "__annotations__", {}).items():
        annotated: Any = SimpleNamespace(__annotations__={name: annotation})
        with contextlib.suppress(NameError):
            found |= get_type_hints(annotated, globalns=names)
    return found


@functools.cache
def port_signature(method: Callable[..., object]) -> inspect.Signature:
    """Return the signature of a method of a port, without its first parameter and without `caller`.

    Raises:
        WrongCall: It has parameters that cannot be given by name.
    """
    signature = inspect.signature(method)
    parameters = [each for each in list(signature.parameters.values())[1:] if each.name != "caller"]
    for each in parameters:
        if each.kind not in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY):
            fault = f"its parameter {str(each).partition(':')[0]!r} has no name to be stored under"
            raise WrongCall(method.__qualname__, fault, "declare parameters that can be given by name")
    return signature.replace(parameters=parameters)
