"""The parts of a flow's declaration: its states and the transitions between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Generic, Protocol, TypeVar, cast

import attrs

from vimbiso_fsm.flow.calls import STANDARD, Call, CallPolicy
from vimbiso_fsm.flow.turn import Changes, Guard, Turn
from vimbiso_fsm.messages.replies import Row, Text

D_contra = TypeVar("D_contra", contravariant=True)


RESERVED_TRIGGERS: Final = frozenset({"answer", "done", "failed", "cancelled", "timeout", "auto"})
"""Triggers the framework pulls; every other one is a button."""


def sequence(value: Any) -> tuple[Any, ...]:
    """Return a slot that takes one value or several as a tuple."""
    if value is None:
        return ()
    return tuple(value) if isinstance(value, list | tuple | set | frozenset) else (value,)


@attrs.frozen(eq=False)
class State(Generic[D_contra]):
    """A place where a run can stand.

    `ask`: the question; `say`: said on the way in. `reads`: parses what was typed, `str -> value | Refused`.
    `into`: the data field that takes the answer, the call's result or the sub-flow's. `rows`: a list to choose from,
    any number of rows. `call`: proposes the effect; `policy`: how hard it is tried; `ask`: what a member hears who says
    something meanwhile. `flow`: the sub-flow; `given`: its data, from this turn.
    `timeout`: seconds in the state until trigger `timeout`. `cancels`: a final state that tells a parent `cancelled`.
    `result`: of a final state, what a parent gets.
    """

    name: str
    ask: Text | Callable[[Turn[D_contra]], Text] | None = attrs.field(default=None, kw_only=True)
    say: Text | Callable[[Turn[D_contra]], Text] | None = attrs.field(default=None, kw_only=True)
    reads: Callable[[str], object] | None = attrs.field(default=None, kw_only=True)
    into: str | None = attrs.field(default=None, kw_only=True)
    rows: Callable[[Turn[D_contra]], Sequence[Row]] | None = attrs.field(default=None, kw_only=True)
    call: Callable[[Turn[D_contra]], Call[Any]] | None = attrs.field(default=None, kw_only=True)
    policy: CallPolicy | None = attrs.field(default=None, kw_only=True)
    flow: Declared | None = attrs.field(default=None, kw_only=True)
    given: Callable[[Turn[D_contra]], object] | None = attrs.field(default=None, kw_only=True)
    timeout: float | None = attrs.field(default=None, kw_only=True)
    final: bool = attrs.field(default=False, kw_only=True)
    cancels: bool = attrs.field(default=False, kw_only=True)
    result: Callable[[Turn[D_contra]], object] | None = attrs.field(default=None, kw_only=True)

    @property
    def asks(self) -> bool:
        """Whether the state waits for the member."""
        return self.ask is not None

    @property
    def call_policy(self) -> CallPolicy:
        """How hard its call is tried: what `policy` says, else the standard."""
        return self.policy or STANDARD

    @property
    def idle(self) -> bool:
        """Whether the state has nothing to do and goes on by `auto`."""
        return not (self.final or self.call or self.flow or self.asks)


@attrs.frozen(eq=False)
class Transition(Generic[D_contra]):
    """A way from one state (or each of several) to another.

    `prepare` gives the data the guards see and the next state gets; it is dropped when the transition does not
    fire. `conditions` must all accept, no `unless` may. `words`: further words that press this button.
    """

    trigger: str
    source: str | Sequence[str]
    dest: str
    prepare: Callable[[Turn[D_contra]], D_contra | Changes[D_contra]] | None = attrs.field(default=None, kw_only=True)
    conditions: Guard[D_contra] | Sequence[Guard[D_contra]] = attrs.field(default=(), kw_only=True)
    unless: Guard[D_contra] | Sequence[Guard[D_contra]] = attrs.field(default=(), kw_only=True)
    words: Sequence[str] = attrs.field(default=(), kw_only=True)

    def __attrs_post_init__(self) -> None:
        # No converters: one that takes anything would hide a guard of another flow from the type checkers.
        for name in ("conditions", "unless", "words"):
            object.__setattr__(self, name, sequence(getattr(self, name)))

    @property
    def sources(self) -> tuple[str, ...]:
        """The states it leads from."""
        return cast("tuple[str, ...]", sequence(self.source))

    @property
    def guards(self) -> tuple[Guard[D_contra], ...]:
        """Its conditions, then its unless."""
        return cast("tuple[Guard[D_contra], ...]", (*cast(Any, self.conditions), *cast(Any, self.unless)))

    @property
    def button(self) -> bool:
        """Whether its trigger is a button."""
        return self.trigger not in RESERVED_TRIGGERS


class Declared(Protocol):
    """What a flow declares, as its checks, its migrations and a parent state see it. `Flow` is one."""

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
