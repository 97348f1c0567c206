"""A flow: states and transitions that an author declares, checked when the flow is made.

A flow is a value. Its terms are those of the library `transitions`: states, transitions, triggers, `prepare`,
`conditions`, `unless`. The slots of a state say what it does:

    final=True           the run ends here
    call=…               an effect on the outside world; goes on by `done` or `failed`
    flow=…               a sub-flow; goes on by `done` or `cancelled`
    ask=… (and rows=…)   a question; goes on by `answer` (with `reads` or `rows`), by buttons, by `timeout`, and by
                         `empty` if there is nothing to choose from
    none of these        nothing to do; goes on by `auto`

A trigger that is not reserved is a button of its source state, unless another system fires it (`Transition(by=…)`).
"""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, Literal, TypeAlias, cast

import attrs
from typing_extensions import TypeVar

from vimbiso_fsm.document.data_types import DataType
from vimbiso_fsm.document.marks import marks_of_fields
from vimbiso_fsm.errors import FlowError, FlowFault
from vimbiso_fsm.flow.checks import graph_faults, setting_faults, shape_faults
from vimbiso_fsm.flow.data_checks import depends_faults, field_faults, made_from, mark_faults, proven_data
from vimbiso_fsm.flow.migrations import Migration, migration_faults
from vimbiso_fsm.flow.privacy import public_names, secret_names
from vimbiso_fsm.flow.reactions import Reactions, declared_reactions
from vimbiso_fsm.flow.state import RESERVED_TRIGGERS, AnyTransition, State, Transition, sequence
from vimbiso_fsm.flow.triggers import event_faults, events_of
from vimbiso_fsm.flow.turn import Guard
from vimbiso_fsm.made import Made, caller
from vimbiso_fsm.messages.replies import Text


@attrs.frozen
class NoData:
    """The data of a flow that gathers none."""


D = TypeVar("D", default=NoData)


@attrs.frozen(eq=False, repr=False)
class Flow(Generic[D]):
    """A declared conversation.

    Attributes:
        name: The name of the flow: lower-case letters, digits and underscores.
        version: Counts 1, 2, 3 …. The author raises it when a change alters the meaning of a state that is in use.
        data: An attrs class for the values that a run gathers. All its fields have defaults.
        initial: The name of the state in which a run begins.
        requires: Guards that are checked at the start, when the run is resumed and before each call. A refusal leads
            to the bot's entry flow, and back.
        states: The states.
        transitions: The transitions.
        session: Seconds without a message after which the session ends, if they differ from the bot's.
        late_text: The handling of a text that was sent before the current question, as happens when a member sends
            several messages at once. "decide" takes it as the answer, so that members can type ahead. "close" replies
            that the question has changed; it suits a flow in which an answer to an unseen question does harm. A late
            button is always refused.
        migrations: The migrations of runs of older versions, one for each version that is still in use.
        depends: The fields that a field is made from: `{"to": "handle", "rate": ("amount", "handle")}`. When a field
            changes, the fields made from it return to their defaults, unless the same step sets them anew.
        on: The reactions to what a channel tells while the flow is the open one, by the class of the fact. They have
            priority over those of the bot.
        opens: What `manager.open` does while another flow is open: "after" lets the member end that one first, and
            "now" interrupts it; its question is asked again afterwards. A login is never interrupted.
        made: The file and the line at which the flow was made.

    Raises:
        FlowError: The declaration has faults. The error names each one with its line, its place and a remedy.
    """

    name: str
    version: int = attrs.field(default=1, kw_only=True)
    data: type[D] = attrs.field(default=cast("type[D]", NoData), kw_only=True)
    initial: str = attrs.field(kw_only=True)
    requires: Guard[D] | Sequence[Guard[D]] = attrs.field(default=(), kw_only=True)
    states: Sequence[State[D]] = attrs.field(kw_only=True)
    transitions: Sequence[Transition[D]] = attrs.field(kw_only=True)
    session: float | None = attrs.field(default=None, kw_only=True)
    late_text: Literal["decide", "close"] = attrs.field(default="decide", kw_only=True)
    migrations: Sequence[Migration] = attrs.field(default=(), kw_only=True)
    depends: Mapping[str, str | Sequence[str]] = attrs.field(factory=dict, kw_only=True)
    on: Reactions = attrs.field(factory=dict, kw_only=True)
    opens: Literal["after", "now"] = attrs.field(default="after", kw_only=True)
    made: Made = attrs.field(init=False, eq=False, repr=False, factory=caller)
    by_name: Mapping[str, State[D]] = attrs.field(init=False)
    by_trigger: Mapping[tuple[str, str], tuple[Transition[D], ...]] = attrs.field(init=False)
    events: Mapping[tuple[str, str], AnyTransition] = attrs.field(init=False)
    buttons: Mapping[str, tuple[str, ...]] = attrs.field(init=False)
    fields: Mapping[str, attrs.Attribute[object]] = attrs.field(init=False)
    data_type: DataType[D] = attrs.field(init=False)
    public: frozenset[str] = attrs.field(init=False)
    secrets: frozenset[str] = attrs.field(init=False)
    dependents: Mapping[str, frozenset[str]] = attrs.field(init=False)
    fingerprint: str = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        fill = functools.partial(object.__setattr__, self)  # the class is frozen
        fill("requires", sequence(self.requires))
        fill("states", tuple(self.states))
        fill("transitions", tuple(self.transitions))
        fill("migrations", tuple(self.migrations))
        _refuse(shape_faults(self))
        faults = list(setting_faults(self))
        try:
            fill("on", declared_reactions(self.on, self.name))
        except FlowError as error:
            faults += error.faults
        fill("fields", attrs.fields_dict(cast("type[attrs.AttrsInstance]", self.data)))
        faults += field_faults(self)
        proven = proven_data(self, faults)
        fill("data_type", proven)
        fill("public", public_names(self.fields.values()))
        fill("secrets", secret_names(marks_of_fields(self.data) if proven else {}))
        faults += mark_faults(self, self.public, self.secrets)
        if wrong := [*depends_faults(self)]:
            faults += wrong
            fill("depends", {})
        fill("depends", {name: sequence(sources) for name, sources in self.depends.items()})
        fill("dependents", _dependents(self))
        fill("by_name", {state.name: state for state in reversed(self.states)})
        fill("by_trigger", _by_trigger(self.transitions))
        fill("events", events_of(self))
        fill("buttons", _buttons(self.transitions))
        faults += [*graph_faults(self, self.required), *event_faults(self), *migration_faults(self)]
        _refuse(faults)
        fill("fingerprint", _fingerprint(self))

    def __repr__(self) -> str:
        return f"Flow({self.name!r}, version={self.version})"

    def __getitem__(self, name: str) -> State[D]:
        return self.by_name[name]

    @property
    def required(self) -> tuple[Guard[D], ...]:
        """The guards of `requires`."""
        return sequence(self.requires)

    def ways(self, state: str, trigger: str) -> tuple[Transition[D], ...]:
        """Return the transitions of `trigger` from `state`, in order."""
        return self.by_trigger.get((state, trigger), ())

    def button_title(self, state: str, trigger: str) -> Text:
        """Return the title of a button: the text with the key `<flow>.<state>.<trigger>`."""
        return Text(f"{self.name}.{state}.{trigger}")

    def stale(self, before: D, after: D) -> frozenset[str]:
        """Return the unchanged fields that are made from a changed one."""
        stale: set[str] = set()
        for name, made in self.dependents.items():
            if getattr(before, name) != getattr(after, name):
                stale.update(made)
        return frozenset([name for name in stale if getattr(before, name) == getattr(after, name)] if stale else ())

    def data_with(self, data: D, name: str, value: object) -> D:
        """Return the data with another value in a field; fields made from it return to their defaults."""
        values: dict[str, object] = {}
        for key, field in self.fields.items():
            if field.init:
                values[str(field.alias)] = value if key == name else getattr(data, key)
        changed = self.data(**values)  # like `attrs.evolve`, with the fields at hand
        return self.without(changed, self.stale(data, changed)) if self.dependents else changed

    def without(self, data: D, names: frozenset[str]) -> D:
        """Return the data with these fields at their defaults."""
        if not names:
            return data
        fresh = self.data()
        return cast(D, attrs.evolve(cast(Any, data), **{name: getattr(fresh, name) for name in names}))


AnyFlow: TypeAlias = Flow[Any]
"""A flow with any data."""


def _refuse(faults: Iterable[FlowFault]) -> None:
    """Raise the error of all faults, if there are any."""
    if found := tuple(faults):
        raise FlowError.of(found)


def _by_trigger(transitions: Iterable[Transition[D]]) -> dict[tuple[str, str], tuple[Transition[D], ...]]:
    table: dict[tuple[str, str], tuple[Transition[D], ...]] = {}
    for transition in transitions:
        for trigger in transition.triggers:
            for source in transition.sources:
                key = source, trigger
                table[key] = (*table.get(key, ()), transition)
    return table


def _dependents(flow: AnyFlow) -> dict[str, frozenset[str]]:
    """Return, by field, the fields that are made from it, directly or by way of others."""
    table: dict[str, set[str]] = {}
    for name in flow.depends:
        for source in made_from(flow, name):
            table.setdefault(source, set()).add(name)
    return {source: frozenset(names) for source, names in table.items()}


def _buttons(transitions: Iterable[AnyTransition]) -> dict[str, tuple[str, ...]]:
    table: dict[str, tuple[str, ...]] = {}
    for transition in transitions:
        for trigger in () if transition.names else transition.triggers:
            for source in transition.sources if trigger not in RESERVED_TRIGGERS else ():
                if trigger not in table.get(source, ()):
                    table[source] = (*table.get(source, ()), trigger)
    return table


def _fingerprint(flow: AnyFlow) -> str:
    """Return a digest of what runs depend on: fields, states and transitions, but no texts and no code."""
    parts = [f"{field.name}:{_annotation(flow.data, field)}" for field in flow.fields.values()]
    for state in flow.states:
        sub = f"flow {state.flow.name}" if state.flow else ""
        kind = "final" if state.final else "call" if state.call else sub or "ask"
        parts.append(f"{state.name}={kind}>{state.into}")
    parts += [f"{source}-{trigger}->{t.dest}" for (source, trigger), ways in flow.by_trigger.items() for t in ways]
    return hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()[:12]


def _annotation(kind: type, field: attrs.Attribute[object]) -> object:
    """Return the type of a field as its class spells it. `field.type` changes when attrs or cattrs resolve it."""
    for base in kind.__mro__:
        written = inspect.get_annotations(base)
        if field.name in written:
            return written[field.name]
    return field.type
