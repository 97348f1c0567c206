"""The parts of a flow: its states, and the transitions between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Generic, Protocol, TypeVar, cast

import attrs

from vimbiso_fsm.flow.calls import STANDARD, Call, CallPolicy
from vimbiso_fsm.flow.turn import Changes, Guard, Turn
from vimbiso_fsm.messages.replies import Row, Text

D_contra = TypeVar("D_contra", contravariant=True)


RESERVED_TRIGGERS: Final = frozenset({"answer", "done", "failed", "cancelled", "timeout", "auto"})
"""Triggers that the framework fires. Any other trigger is a button."""


def sequence(value: Any) -> tuple[Any, ...]:
    """Return a slot that takes one value or several as a tuple."""
    if value is None:
        return ()
    return tuple(value) if isinstance(value, list | tuple | set | frozenset) else (value,)


@attrs.frozen(eq=False)
class State(Generic[D_contra]):
    """A state of a flow, in which a run can stand.

    Attributes:
        name: The name of the state: lower-case letters, digits and underscores.
        ask: The question. In a state with a `call`, the reply to a message that arrives during the call.
        say: A text that is said when the state is entered.
        reads: Parses typed text: `str -> value | Refused`.
        into: The data field that takes the answer, the result of the call or the output of the sub-flow.
        rows: The list to choose from, of any length.
        call: Proposes the effect on the outside world.
        policy: The retry policy of the call.
        flow: The sub-flow.
        input: Makes the sub-flow's data from this flow's turn. Without it the sub-flow starts with its defaults.
        timeout: Seconds in the state after which trigger `timeout` is fired.
        final: Whether the run ends here.
        cancels: Whether the end means `cancelled`, rather than `done`, to the flow that waits for this one.
        output: In a final state, makes the value that the waiting flow receives.
    """

    name: str
    ask: Text | Callable[[Turn[D_contra, Any]], Text] | None = attrs.field(default=None, kw_only=True)
    say: Text | Callable[[Turn[D_contra, Any]], Text] | None = attrs.field(default=None, kw_only=True)
    reads: Callable[[str], object] | None = attrs.field(default=None, kw_only=True)
    into: str | None = attrs.field(default=None, kw_only=True)
    rows: Callable[[Turn[D_contra, Any]], Sequence[Row]] | None = attrs.field(default=None, kw_only=True)
    call: Callable[[Turn[D_contra, Any]], Call[Any]] | None = attrs.field(default=None, kw_only=True)
    policy: CallPolicy | None = attrs.field(default=None, kw_only=True)
    flow: Declared | None = attrs.field(default=None, kw_only=True)
    input: Callable[[Turn[D_contra, Any]], object] | None = attrs.field(default=None, kw_only=True)
    timeout: float | None = attrs.field(default=None, kw_only=True)
    final: bool = attrs.field(default=False, kw_only=True)
    cancels: bool = attrs.field(default=False, kw_only=True)
    output: Callable[[Turn[D_contra, Any]], object] | None = attrs.field(default=None, kw_only=True)

    @property
    def asks(self) -> bool:
        """Whether the state has words for a member who is waited for."""
        return self.ask is not None

    @property
    def is_question(self) -> bool:
        """Whether the state waits for an answer. A call's `ask` is no question: it is said while the call runs."""
        return self.ask is not None and self.call is None

    @property
    def call_policy(self) -> CallPolicy:
        """The retry policy of the state's call."""
        return self.policy or STANDARD

    @property
    def idle(self) -> bool:
        """Whether the state has nothing to do and goes on by `auto`."""
        return not (self.final or self.call or self.flow or self.asks)


@attrs.frozen(eq=False)
class Transition(Generic[D_contra]):
    """A way from one state to another.

    A transition with several triggers or several sources is the same as one transition for each of them.

    Attributes:
        trigger: The trigger, or a sequence of triggers.
        source: The state that the transition leaves, or a sequence of states.
        dest: The state that it leads to.
        prepare: Makes the data that the guards see and that the next state receives. The result is discarded if the
            transition does not fire.
        conditions: Guards that must all accept.
        unless: Guards of which none may accept.
        words: Further words that press the button of this transition.
    """

    trigger: str | Sequence[str]
    source: str | Sequence[str]
    dest: str
    prepare: Callable[[Turn[D_contra, Any]], D_contra | Changes[D_contra]] | None = attrs.field(
        default=None, kw_only=True
    )
    conditions: Guard[D_contra] | Sequence[Guard[D_contra]] = attrs.field(default=(), kw_only=True)
    unless: Guard[D_contra] | Sequence[Guard[D_contra]] = attrs.field(default=(), kw_only=True)
    words: Sequence[str] = attrs.field(default=(), kw_only=True)

    def __attrs_post_init__(self) -> None:
        # No converters: one that takes anything would hide a guard of another flow from the type checkers.
        for name in ("conditions", "unless", "words"):
            object.__setattr__(self, name, sequence(getattr(self, name)))

    @property
    def triggers(self) -> tuple[str, ...]:
        """The triggers that fire the transition."""
        return cast("tuple[str, ...]", sequence(self.trigger))

    @property
    def sources(self) -> tuple[str, ...]:
        """The states that the transition leaves."""
        return cast("tuple[str, ...]", sequence(self.source))

    @property
    def guards(self) -> tuple[Guard[D_contra], ...]:
        """The guards of `conditions`, then those of `unless`."""
        return cast("tuple[Guard[D_contra], ...]", (*cast(Any, self.conditions), *cast(Any, self.unless)))


class Declared(Protocol):
    """The declaration of a flow, as its checks, its migrations and a state with a sub-flow see it. `Flow` is one."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def data(self) -> type[Any]: ...
    @property
    def initial(self) -> str: ...
    @property
    def states(self) -> Sequence[State[Any]]: ...
    @property
    def transitions(self) -> Sequence[Transition[Any]]: ...
    @property
    def late_text(self) -> str: ...
    @property
    def migrations(self) -> Sequence[Any]: ...
    @property
    def depends(self) -> Mapping[str, str | Sequence[str]]: ...
    @property
    def fields(self) -> Mapping[str, attrs.Attribute[Any]]: ...
    @property
    def by_name(self) -> Mapping[str, State[Any]]: ...
    @property
    def by_trigger(self) -> Mapping[tuple[str, str], tuple[Transition[Any], ...]]: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def stable(self) -> Callable[[Any], bool]: ...
    def __getitem__(self, name: str, /) -> State[Any]: ...
