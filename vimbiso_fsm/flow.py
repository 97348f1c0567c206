"""What an author declares: a flow of states and transitions, checked when it is made.

A flow is a value. Its words are those of `transitions`: states, transitions, triggers, `prepare`, `conditions`,
`unless`. What each state does is said by what it has:

    final=True           the run ends here
    call=…               an effect on the outside world; goes on by `done` or `failed`
    flow=…               another flow; goes on by `done` or `cancelled`
    ask=… (and rows=…)   a question; goes on by `answer` (with `reads` or `rows`), by buttons, by `timeout`
    none of these        nothing to do; goes on by `auto`

Any trigger that is not reserved *is* a button of its source state.
"""

from __future__ import annotations

import difflib
import hashlib
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar, cast

import attrs

from vimbiso_fsm.codec import RESERVED, stable
from vimbiso_fsm.errors import FlowError
from vimbiso_fsm.fitting import called, field_type, fits, name_of, returned
from vimbiso_fsm.messages import Row, Text
from vimbiso_fsm.turn import STANDARD, Becomes, Call, CallPolicy, Guard, Turn
from vimbiso_fsm.versions import Migration, check_migrations

__all__ = ["PUBLIC", "RESERVED_TRIGGERS", "SECRET", "Flow", "NoData", "State", "Transition"]

D = TypeVar("D")
D_contra = TypeVar("D_contra", contravariant=True)

RESERVED_TRIGGERS: Final = frozenset({"answer", "done", "failed", "cancelled", "timeout", "auto"})
"""Triggers the framework pulls; every other one is a button."""

PUBLIC: Final[Mapping[str, Any]] = {"vimbiso": "public"}
"""`attrs.field(metadata=PUBLIC)`: the field's value may stand in the audit. Any other field's may not."""
SECRET: Final[Mapping[str, Any]] = {"vimbiso": "secret"}
"""`attrs.field(metadata=SECRET)`: the field's value stands in the document only, in no turn record either."""

Says: TypeAlias = Text | Callable[[Turn[D]], Text]

_NAME = re.compile(r"[a-z][a-z0-9_]{0,47}")


@attrs.frozen
class NoData:
    """The data of a flow that gathers none."""


def _sequence(value: Any) -> tuple[Any, ...]:
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
    flow: Flow[Any] | None = attrs.field(default=None, kw_only=True)
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
    prepare: Callable[[Turn[D_contra]], D_contra | Becomes[D_contra]] | None = attrs.field(default=None, kw_only=True)
    conditions: Guard[D_contra] | Sequence[Guard[D_contra]] = attrs.field(default=(), kw_only=True)
    unless: Guard[D_contra] | Sequence[Guard[D_contra]] = attrs.field(default=(), kw_only=True)
    words: Sequence[str] = attrs.field(default=(), kw_only=True)

    def __attrs_post_init__(self) -> None:
        # No converters: one that takes anything would hide a guard of another flow from the type checkers.
        for name in ("conditions", "unless", "words"):
            object.__setattr__(self, name, _sequence(getattr(self, name)))

    @property
    def sources(self) -> tuple[str, ...]:
        """The states it leads from."""
        return cast("tuple[str, ...]", _sequence(self.source))

    @property
    def guards(self) -> tuple[Guard[D_contra], ...]:
        """Its conditions, then its unless."""
        return cast("tuple[Guard[D_contra], ...]", (*cast(Any, self.conditions), *cast(Any, self.unless)))

    @property
    def button(self) -> bool:
        """Whether its trigger is a button."""
        return self.trigger not in RESERVED_TRIGGERS


@attrs.frozen(eq=False, repr=False)
class Flow(Generic[D]):
    """A declared machine.

    `data`: an attrs class whose fields all have defaults; what the run gathers. `requires`: guards checked at the
    start, at a resume and before each call; a refusal leads to the bot's entry flow, and back. `version`: raised
    by the author when a change of the declaration changes the meaning of a state in use. `session`: seconds of
    silence after which the session ends, when it differs from the bot's. `late_text`: what becomes of a text that was
    sent before the current question was asked, because several came at once: "decide" takes it as its answer, "close"
    says that the question has moved on. (A late button is always refused.)
    `migrations`: how runs of older versions go on, one for each version still met (`versions.py`).
    `depends`: which data was made from which, `{"to": "handle", "rate": ("amount", "handle")}`: when a field changes,
    all that was made from it goes back to its default, unless the same step sets it anew.

    Raises: FlowError naming flow, state, fault and remedy.
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
    by_name: Mapping[str, State[D]] = attrs.field(init=False)
    by_trigger: Mapping[tuple[str, str], tuple[Transition[D], ...]] = attrs.field(init=False)
    buttons: Mapping[str, tuple[str, ...]] = attrs.field(init=False)
    fields: Mapping[str, attrs.Attribute[Any]] = attrs.field(init=False)
    stable: Callable[[Any], bool] = attrs.field(init=False)
    public: frozenset[str] = attrs.field(init=False)
    secrets: frozenset[str] = attrs.field(init=False)
    dependents: Mapping[str, frozenset[str]] = attrs.field(init=False)
    fingerprint: str = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        fill = _filler(self)
        fill("requires", _sequence(self.requires))
        fill("states", tuple(self.states))
        fill("transitions", tuple(self.transitions))
        _check_data(self)
        fill("fields", attrs.fields_dict(cast(Any, self.data)))
        fill("stable", stable(self.data))
        fill("public", _marked(self, PUBLIC))
        fill("secrets", _marked(self, SECRET))
        _check_depends(self)
        fill("depends", {name: _sequence(sources) for name, sources in self.depends.items()})
        fill("dependents", _dependents(self))
        _check_states(self)
        fill("by_name", {state.name: state for state in self.states})
        _check_transitions(self)
        fill("by_trigger", _by_trigger(self.transitions))
        fill("buttons", _buttons(self.transitions))
        for state in self.states:
            _check_state(self, state)
        _check_guards_apart(self)
        _check_reachable(self)
        fill("fingerprint", _fingerprint(self))
        fill("migrations", tuple(self.migrations))
        check_migrations(self)

    def __repr__(self) -> str:
        return f"Flow({self.name!r}, version={self.version})"

    def __getitem__(self, name: str) -> State[D]:
        return self.by_name[name]

    @property
    def required(self) -> tuple[Guard[D], ...]:
        """The guards of `requires`."""
        return cast("tuple[Guard[D], ...]", self.requires)

    def ways(self, state: str, trigger: str) -> tuple[Transition[D], ...]:
        """The transitions of `trigger` from `state`, in order."""
        return self.by_trigger.get((state, trigger), ())

    def stale(self, before: D, after: D) -> frozenset[str]:
        """Fields that were made from one that differs, and do not differ themselves."""
        if not self.dependents:
            return frozenset()
        changed = {name for name in self.fields if getattr(before, name) != getattr(after, name)}
        return frozenset[str]().union(*(self.dependents.get(name, ()) for name in changed)) - changed

    def data_with(self, data: D, name: str, value: object) -> D:
        """The data with another value in a field, and without what was made from the old one."""
        values = {str(field.alias): getattr(data, key) for key, field in self.fields.items() if field.init}
        values[str(self.fields[name].alias)] = value
        changed = self.data(**values)  # what `attrs.evolve` does, with the fields at hand
        return self.without(changed, self.stale(data, changed)) if self.dependents else changed

    def without(self, data: D, names: frozenset[str]) -> D:
        """The data with these fields at their defaults."""
        if not names:
            return data
        fresh = self.data()
        return cast(D, attrs.evolve(cast(Any, data), **{name: getattr(fresh, name) for name in names}))


def _filler(flow: Flow[Any]) -> Callable[[str, Any], None]:
    """Sets the derived attributes of the frozen `flow` while it is made."""
    return lambda name, value: object.__setattr__(flow, name, value)


def _marked(flow: Flow[Any], mark: Mapping[str, Any]) -> frozenset[str]:
    """The fields with a mark."""
    return frozenset(name for name, field in flow.fields.items() if field.metadata.get("vimbiso") == mark["vimbiso"])


def _by_trigger(transitions: Iterable[Transition[D]]) -> dict[tuple[str, str], tuple[Transition[D], ...]]:
    table: dict[tuple[str, str], tuple[Transition[D], ...]] = {}
    for transition in transitions:
        for source in transition.sources:
            key = source, transition.trigger
            table[key] = (*table.get(key, ()), transition)
    return table


def _dependents(flow: Flow[Any]) -> dict[str, frozenset[str]]:
    """Field -> all that was made from it, also by way of others."""
    table: dict[str, set[str]] = {}
    for name in flow.depends:
        for source in _made_from(flow, name):
            table.setdefault(source, set()).add(name)
    return {source: frozenset(names) for source, names in table.items()}


def _made_from(flow: Flow[Any], name: str) -> set[str]:
    """All that a field was made from, also by way of others."""
    found: set[str] = set()
    fresh = [name]
    while fresh:
        sources = set(_sequence(flow.depends.get(fresh.pop()))) - found
        found |= sources
        fresh += sources
    return found


def _buttons(transitions: Iterable[Transition[Any]]) -> dict[str, tuple[str, ...]]:
    table: dict[str, tuple[str, ...]] = {}
    for transition in transitions:
        for source in transition.sources if transition.button else ():
            if transition.trigger not in table.get(source, ()):
                table[source] = (*table.get(source, ()), transition.trigger)
    return table


# What is checked when a flow is made -------------------------------------------------------------------------------


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, sorted(known), n=1)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(sorted(known))}"


def _is_name(value: object) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _is_data_class(value: object) -> bool:
    return isinstance(value, type) and attrs.has(value)


def _check_data(flow: Flow[Any]) -> None:
    if not _is_name(flow.name):
        raise FlowError(str(flow.name), "", "the name must be lower-case letters, digits and underscores", "rename it")
    if type(flow.version) is not int or flow.version < 1:
        raise FlowError(flow.name, "", f"version is {flow.version!r}", "versions count 1, 2, 3 …")
    if flow.late_text not in ("decide", "close"):
        raise FlowError(flow.name, "late_text", f"it is {flow.late_text!r}", 'say "decide" or "close"')
    if not _is_data_class(flow.data):
        raise FlowError(flow.name, "data", "it is no attrs class", "decorate it with @attrs.frozen")
    for field in attrs.fields(cast(Any, flow.data)):
        if field.name in RESERVED | {"member_id"} or field.name.startswith("_"):
            raise FlowError(flow.name, "data", f"field {field.name!r} has a reserved name", "rename the field")
        if field.default is attrs.NOTHING:
            raise FlowError(flow.name, "data", f"field {field.name!r} has no default", "a run starts with none filled")


def _check_depends(flow: Flow[Any]) -> None:
    given: object = flow.depends
    if not isinstance(given, Mapping):
        raise FlowError(flow.name, "depends", f"it is a {type(given).__name__}", "give {field: field or fields}")
    for name, sources in flow.depends.items():
        if not _sequence(sources):
            raise FlowError(flow.name, "depends", f"field {name!r} depends on nothing", "name its sources or remove it")
        for field in (name, *_sequence(sources)):
            if field not in flow.fields:
                fault = f"it names field {field!r}, which {flow.data.__name__} lacks"
                raise FlowError(flow.name, "depends", fault, _did_you_mean(str(field), flow.fields))
    for name in flow.depends:
        if name in _made_from(flow, name):
            raise FlowError(
                flow.name, "depends", f"field {name!r} depends on itself", "say only what each was made from first"
            )


def _check_states(flow: Flow[Any]) -> None:
    names: set[str] = set()
    for state in flow.states:
        if not isinstance(state, State):
            raise FlowError(flow.name, "states", f"holds a {type(state).__name__}", "declare each with State(…)")
        if not _is_name(state.name):
            raise FlowError(flow.name, f"state {state.name!r}", "the name must be lower-case letters, digits and _")
        if state.name in names:
            raise FlowError(flow.name, f"state {state.name!r}", "it is declared twice", "rename or remove one")
        names.add(state.name)
    if flow.initial not in names:
        raise FlowError(
            flow.name,
            f"state {flow.initial!r}",
            "initial names it, but it is not declared",
            _did_you_mean(flow.initial, names),
        )


def _check_transitions(flow: Flow[Any]) -> None:
    for transition in flow.transitions:
        if not isinstance(transition, Transition):
            raise FlowError(
                flow.name, "transitions", f"holds a {type(transition).__name__}", "declare each with Transition(…)"
            )
        if not _is_name(transition.trigger):
            raise FlowError(flow.name, f"transition {transition.trigger!r}", "a trigger is lower-case letters and _")
        for name in (*transition.sources, transition.dest):
            if name == "*":
                raise FlowError(flow.name, f"transition {transition.trigger!r}", "'*' is no source", "list the states")
            if name not in flow.by_name:
                raise FlowError(
                    flow.name,
                    f"state {name!r}",
                    f"transition {transition.trigger!r} names it, but no State({name!r}) is declared",
                    _did_you_mean(name, flow.by_name),
                )
        for callback in (*transition.guards, *_sequence(transition.prepare)):
            if not callable(callback):
                raise FlowError(
                    flow.name,
                    f"transition {transition.trigger!r}",
                    f"{callback!r} is no function",
                    "name callbacks by reference",
                )


def _check_state(flow: Flow[Any], state: State[Any]) -> None:
    for fault, remedy in _state_faults(flow, state):
        raise FlowError(flow.name, f"state {state.name!r}", fault, remedy)


def _state_faults(flow: Flow[Any], state: State[Any]) -> Iterator[tuple[str, str]]:
    triggers = {trigger for source, trigger in flow.by_trigger if source == state.name}
    kinds = [name for name in ("final", "call", "flow") if getattr(state, name)]
    if state.rows is not None or (state.asks and not state.call):  # what a call asks is said while it is on its way
        kinds.append("a question")
    if len(kinds) > 1:
        yield "it is more than one thing: " + ", ".join(kinds), "split the state"
    yield from _slot_faults(state)
    yield from _into_faults(flow, state)
    if state.final:
        if triggers:
            yield f"it is final and has transition {min(triggers)!r}", "remove one of the two"
        return
    if state.cancels or state.result is not None:
        yield "cancels and result belong to final states", "say final=True or remove them"
    if not triggers:
        yield "it is a dead end", "give it a transition or say final=True"
    yield from _trigger_faults(state, triggers)
    yield from _timeout_faults(state, triggers)
    yield from _policy_faults(state)


def _slot_faults(state: State[Any]) -> Iterator[tuple[str, str]]:
    for slot in ("ask", "say"):
        words: object = getattr(state, slot)
        if words is not None and not isinstance(words, Text) and not callable(words):
            yield f"{slot} is a {type(words).__name__}", f"give {slot}=Text(…) or a function that returns one"
    for slot in ("reads", "rows", "call", "given", "result"):
        callback: object = getattr(state, slot)
        if callback is not None and not callable(callback):
            yield f"{slot} is a {type(callback).__name__}", "name callbacks by reference"
    flow: object = state.flow
    if flow is not None and not isinstance(flow, Flow):
        yield f"flow is a {type(flow).__name__}", "give the flow itself, made with Flow(…)"


def _into_faults(flow: Flow[Any], state: State[Any]) -> Iterator[tuple[str, str]]:
    if state.into is not None and state.into not in flow.fields:
        yield (
            f"into names field {state.into!r}, which {flow.data.__name__} lacks",
            _did_you_mean(state.into, flow.fields),
        )
    if state.into is not None and not (state.reads or state.rows or state.call or state.flow):
        yield f"nothing ever writes into {state.into!r}", "give it reads, rows, call or flow, or remove into"
    if (state.reads or state.rows) and not state.asks:
        yield "it takes an answer but asks no question", "give it ask=Text(…)"
    if state.given and not state.flow:
        yield "it has given but no flow", "name the sub-flow with flow="
    if state.into is not None and state.into in flow.fields:
        yield from _answer_faults(flow, state, state.into)
    if state.given and isinstance(state.flow, Flow) and not fits(returned(state.given), state.flow.data):
        given, taken = name_of(returned(state.given)), state.flow.data.__name__
        yield f"given returns {given}, but flow {state.flow.name!r} takes {taken}", f"return a {taken}"


def _answer_faults(flow: Flow[Any], state: State[Any], into: str) -> Iterator[tuple[str, str]]:
    """An answer that its field cannot hold, as far as annotations tell."""
    answers: list[tuple[str, object]] = []
    if state.reads:
        answers.append(("reads", returned(state.reads)))
    if state.call:
        answers.append(("the call", called(state.call)))
    if isinstance(state.flow, Flow):
        for end in state.flow.states:
            if end.final and not end.cancels:
                ending = f"state {end.name!r} of flow {state.flow.name!r}"
                answers.append((ending, returned(end.result) if end.result else None))
    wanted = field_type(flow.data, into)
    for source, given in answers:
        if not fits(given, wanted):
            fault = f"{source} gives {name_of(given)}, but field {into!r} takes {name_of(wanted)}"
            yield fault, "give the field that type, or the answer"


def _trigger_faults(state: State[Any], triggers: set[str]) -> Iterator[tuple[str, str]]:
    needed = {"done", "failed"} if state.call else {"done", "cancelled"} if state.flow else set[str]()
    if state.idle:
        needed = {"auto"}
        if triggers - {"auto"}:
            yield "it waits for an answer but asks no question", "give it ask=Text(…)"
    for trigger in sorted(needed - triggers):
        yield f"it has no transition {trigger!r}", f"say where {trigger!r} leads"
    allowed = needed or {"answer", "timeout", *(t for t in triggers if t not in RESERVED_TRIGGERS)}
    for trigger in sorted(triggers - allowed - {"timeout"}):
        yield f"trigger {trigger!r} can never come here", "remove the transition"
    if "answer" in triggers and not (state.reads or state.rows):
        yield "it has transition 'answer' but neither reads nor rows", "say how an answer is read"
    if (state.reads or state.rows) and "answer" not in triggers:
        yield "it takes an answer but has no transition 'answer'", "say where an answer leads"


def _policy_faults(state: State[Any]) -> Iterator[tuple[str, str]]:
    if state.policy is not None and not state.call:
        yield "policy= belongs to a call", "remove it, or give the state its call="


def _timeout_faults(state: State[Any], triggers: set[str]) -> Iterator[tuple[str, str]]:
    if state.call and state.timeout is not None:  # nobody is told "not sent" while it may have been
        yield "a call that is on its way has no timeout", "let the service give up, and take its 'failed'"
    if state.flow and state.timeout is not None:  # the member is in the sub-flow, and no timer ends that for them
        yield "a sub-flow has no timeout", "give its own questions a timeout"
    if (state.timeout is not None) != ("timeout" in triggers):
        yield "timeout= and a transition 'timeout' belong together", "add the missing one"
    if state.timeout is not None and not state.timeout > 0:
        yield f"timeout is {state.timeout!r}", "give seconds, more than 0"


def _check_guards_apart(flow: Flow[Any]) -> None:
    for (source, trigger), ways in flow.by_trigger.items():
        for place, earlier in enumerate(ways):
            for later in ways[place + 1 :]:
                always = not earlier.guards
                if always or _asks(earlier) == _asks(later):
                    raise FlowError(
                        flow.name,
                        f"state {source!r}",
                        f"transition {trigger!r} to {later.dest!r} can never be told from the one to {earlier.dest!r}",
                        "give the earlier one a guard that can decline" if always else "give them different guards",
                    )


def _asks(transition: Transition[Any]) -> tuple[frozenset[object], frozenset[object]]:
    """What decides whether a transition accepts."""
    return frozenset(_sequence(transition.conditions)), frozenset(_sequence(transition.unless))


def _check_reachable(flow: Flow[Any]) -> None:
    reached, fresh = {flow.initial}, [flow.initial]
    while fresh:
        source = fresh.pop()
        for transition in flow.transitions:
            if source in transition.sources and transition.dest not in reached:
                reached.add(transition.dest)
                fresh.append(transition.dest)
    for state in flow.states:
        if state.name not in reached:
            raise FlowError(flow.name, f"state {state.name!r}", "no transition leads to it", "add one or remove it")


def _fingerprint(flow: Flow[Any]) -> str:
    """A digest of what runs depend on: fields, states, ways between them. Words and code are no part of it."""
    parts = [f"{field.name}:{_annotation(flow.data, field)}" for field in flow.fields.values()]
    for state in flow.states:
        sub = f"flow {state.flow.name}" if state.flow else ""
        kind = "final" if state.final else "call" if state.call else sub or "ask"
        parts.append(f"{state.name}={kind}>{state.into}")
    parts += [f"{source}-{trigger}->{t.dest}" for (source, trigger), ways in flow.by_trigger.items() for t in ways]
    return hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()[:12]


def _annotation(kind: type[Any], field: attrs.Attribute[Any]) -> object:
    """The type of a field as it is written in its class. `field.type` changes when attrs or cattrs resolve it."""
    for base in kind.__mro__:
        written = inspect.get_annotations(base)
        if field.name in written:
            return written[field.name]
    return field.type
