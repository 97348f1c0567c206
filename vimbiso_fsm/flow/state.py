"""The parts of a flow: its states, and the transitions between them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Generic, Protocol, TypeAlias, TypeVar, cast

import attrs

from vimbiso_fsm.document.data_types import DataType
from vimbiso_fsm.errors import FlowError
from vimbiso_fsm.flow.calls import STANDARD, Call, CallPolicy
from vimbiso_fsm.flow.timeouts import Timeout
from vimbiso_fsm.flow.turn import Callback, Changes, Guard
from vimbiso_fsm.made import Made, caller
from vimbiso_fsm.messages.replies import Asked, Row, Said

D_contra = TypeVar("D_contra", contravariant=True)
T = TypeVar("T")

RESERVED_TRIGGERS: Final = frozenset({"answer", "done", "failed", "cancelled", "timeout", "auto", "empty"})
"""Triggers that the framework fires. Any other trigger is a button."""


def texts(given: str | Sequence[str]) -> tuple[str, ...]:
    """Return the texts of a slot that takes one or several.

    Raises:
        FlowError: One is no text.
    """
    found: tuple[object, ...] = (given,) if isinstance(given, str) else tuple(given)
    if not all(isinstance(each, str) for each in found):
        raise FlowError("", "examples", f"they are {given!r}", "give texts that a member may write")
    return cast("tuple[str, ...]", found)


@attrs.frozen(eq=False)
class State(Generic[D_contra]):
    """A state of a flow.

    Attributes:
        name: The name of the state: lower-case letters, digits and underscores.
        ask: The question: a text, a link, or a request for a location or contact. In a state with a `call`, the reply
            to a message that arrives during the call.
        say: What is said when the state is entered: a text, a file, a location, a link or a template.
        reads: Parses typed text: `str -> value | Refused`; or a reader of contents, such as `readers.photo`.
        examples: Texts that `reads` accepts, for a reader that names none itself; a walk of the flow types them.
        into: The data field that takes the answer, the result of the call or the output of the sub-flow.
        rows: The list to choose from, of any length. If there is nothing to choose from, neither a row nor a button,
            and nothing can be typed, trigger `empty` is fired.
        call: Proposes the effect on the outside world.
        policy: The retry policy of the call.
        flow: The sub-flow.
        input: Makes the sub-flow's data from this flow's turn. Without it the sub-flow starts with its defaults.
        timeout: When trigger `timeout` is fired: after so many seconds or a `timedelta` in the state, or at an
            instant, a `datetime` with a time zone. A function of the turn that enters the state may return each of
            these. An instant that has passed fires at once. It is kept with the run, also after the end of the session.
        reminds: A function of the turn that returns reminders to set and to cancel when the state is entered:
            `remind(…)`, `cancel_reminder(…)`, or a list of them.
        hands: The name of the inbox to which the conversation is handed over when the state is entered. The run goes
            on to its next question, which is asked when the bot has the conversation back.
        final: Whether the run ends here.
        cancels: Whether the end means `cancelled`, rather than `done`, to the flow that waits for this one.
        output: In a final state, makes the value that the waiting flow receives.
        made: The file and the line at which the state was made.
    """

    name: str
    ask: Asked | Callback[D_contra, Asked] | None = attrs.field(default=None, kw_only=True)
    say: Said | Callback[D_contra, Said] | None = attrs.field(default=None, kw_only=True)
    reads: Callable[[str], object] | None = attrs.field(default=None, kw_only=True)
    examples: Sequence[str] = attrs.field(default=(), kw_only=True, converter=texts)
    into: str | None = attrs.field(default=None, kw_only=True)
    rows: Callback[D_contra, Sequence[Row]] | None = attrs.field(default=None, kw_only=True)
    call: Callback[D_contra, Call[object]] | None = attrs.field(default=None, kw_only=True)
    policy: CallPolicy | None = attrs.field(default=None, kw_only=True)
    flow: Declared | None = attrs.field(default=None, kw_only=True)
    input: Callback[D_contra, object] | None = attrs.field(default=None, kw_only=True)
    timeout: Timeout | Callback[D_contra, Timeout] | None = attrs.field(default=None, kw_only=True)
    reminds: Callback[D_contra, object] | None = attrs.field(default=None, kw_only=True)
    hands: str | None = attrs.field(default=None, kw_only=True)
    final: bool = attrs.field(default=False, kw_only=True)
    cancels: bool = attrs.field(default=False, kw_only=True)
    output: Callback[D_contra, object] | None = attrs.field(default=None, kw_only=True)
    made: Made = attrs.field(init=False, eq=False, repr=False, factory=caller)

    @property
    def asks(self) -> bool:
        """Whether the state has a text for the member while it waits."""
        return self.ask is not None

    @property
    def is_question(self) -> bool:
        """Whether the state waits for an answer. The `ask` of a call is no question."""
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
        by: The names of the systems outside that may fire it, by `manager.trigger`. It is then no button: only they
            fire it. All transitions of one state and trigger have the same.
        takes: The type of the data that comes with it, which callbacks read from `turn.answer`; None without data.
        made: The file and the line at which the transition was made.
    """

    trigger: str | Sequence[str]
    source: str | Sequence[str]
    dest: str
    prepare: Callback[D_contra, D_contra | Changes[D_contra]] | None = attrs.field(default=None, kw_only=True)
    conditions: Guard[D_contra] | Sequence[Guard[D_contra]] = attrs.field(default=(), kw_only=True)
    unless: Guard[D_contra] | Sequence[Guard[D_contra]] = attrs.field(default=(), kw_only=True)
    words: Sequence[str] = attrs.field(default=(), kw_only=True)
    by: str | Sequence[str] | None = attrs.field(default=None, kw_only=True)
    takes: Any = attrs.field(default=None, kw_only=True)
    made: Made = attrs.field(init=False, eq=False, repr=False, factory=caller)

    def __attrs_post_init__(self) -> None:
        # No converters: one that takes anything would hide a guard of another flow from the type checkers.
        for name in ("conditions", "unless", "words"):
            object.__setattr__(self, name, sequence(getattr(self, name)))

    @property
    def triggers(self) -> tuple[str, ...]:
        """The triggers that fire the transition."""
        return sequence(self.trigger)

    @property
    def sources(self) -> tuple[str, ...]:
        """The states that the transition leaves."""
        return sequence(self.source)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the systems that may fire it; none for a transition of the conversation."""
        return sequence(self.by)

    @property
    def guards(self) -> tuple[Guard[D_contra], ...]:
        """The guards of `conditions`, then those of `unless`."""
        return (*sequence(self.conditions), *sequence(self.unless))


AnyState: TypeAlias = State[Any]
"""A state of a flow with any data."""

AnyTransition: TypeAlias = Transition[Any]
"""A transition of a flow with any data."""


class Declared(Protocol):
    """The declaration of a flow, as its checks, its migrations and a state with a sub-flow see it.

    `Flow` satisfies this protocol. The protocol exists because `Flow` imports the modules that take it.
    """

    @property
    def name(self) -> str:
        """The name of the flow."""
        ...

    @property
    def version(self) -> int:
        """The version, from 1."""
        ...

    @property
    def data(self) -> type:
        """The class of the flow's data."""
        ...

    @property
    def initial(self) -> str:
        """The name of the first state."""
        ...

    @property
    def requires(self) -> Any:
        """A guard, or several, that are checked when the flow is started."""
        ...

    @property
    def states(self) -> Sequence[AnyState]:
        """The states, in the order of declaration."""
        ...

    @property
    def transitions(self) -> Sequence[AnyTransition]:
        """The transitions, in the order of declaration."""
        ...

    @property
    def session(self) -> float | None:
        """Seconds without a message after which the session ends; None for those of the bot."""
        ...

    @property
    def late_text(self) -> str:
        """How a text is handled that was sent before the current question."""
        ...

    @property
    def opens(self) -> str:
        """What becomes of the flow if it is opened from outside while another one is open."""
        ...

    @property
    def migrations(self) -> Sequence[Any]:
        """The migrations. Their class imports this module."""
        ...

    @property
    def depends(self) -> Mapping[str, str | Sequence[str]]:
        """The fields that a field is made from, by its name."""
        ...

    @property
    def fields(self) -> Mapping[str, attrs.Attribute[object]]:
        """The fields of the data class, by name."""
        ...

    @property
    def by_name(self) -> Mapping[str, AnyState]:
        """The states, by name."""
        ...

    @property
    def by_trigger(self) -> Mapping[tuple[str, str], tuple[AnyTransition, ...]]:
        """The transitions, by source and trigger."""
        ...

    @property
    def events(self) -> Mapping[tuple[str, str], AnyTransition]:
        """A transition for each source and trigger that another system may fire."""
        ...

    @property
    def fingerprint(self) -> str:
        """The digest of the declaration."""
        ...

    @property
    def made(self) -> Made:
        """The file and the line at which the flow was made."""
        ...

    @property
    def data_type(self) -> DataType[Any]:
        """The data class, whose values were proven to be read back equal."""
        ...

    def __getitem__(self, name: str, /) -> AnyState: ...


def sequence(value: T | Iterable[T] | None) -> tuple[T, ...]:
    """Return the values of a slot that takes one value or several."""
    if value is None:
        return ()
    return tuple(value) if isinstance(value, list | tuple | set | frozenset) else (cast(T, value),)
