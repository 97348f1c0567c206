"""A flow compiled to a `transitions` machine, and one step on it. Only this module imports `transitions`.

One machine serves all runs of a flow. A step executes its transitions on a model that is made for one trigger and
discarded afterwards. The library's own `trigger` and `execute` would also serve queues, error handlers, log records and
callbacks of states and of the machine, which these machines do not have. Each candidate transition starts from the same
turn, because the changes of one `prepare` must not reach the next candidate. Guards record verdicts and reasons on the
model, because the machine itself only returns a bool. So the model is the result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeAlias, TypeVar, cast

import attrs
import transitions

from vimbiso_fsm.document.document import Member
from vimbiso_fsm.flow.callbacks import name_of, no_verdict, wrong
from vimbiso_fsm.flow.commands import Commands
from vimbiso_fsm.flow.flow import Flow
from vimbiso_fsm.flow.state import State, Transition, sequence
from vimbiso_fsm.flow.turn import Callback, Changes, Guard, Turn, settled
from vimbiso_fsm.messages.catalogue import Catalogue
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.replies import Text
from vimbiso_fsm.messages.words import normalise

D = TypeVar("D")


class Fired(Generic[D]):
    """The model of one trigger, on which transitions are executed, and the result of it.

    Attributes:
        state: The state in which the model stands, for the library.
        to: The new state; None if no transition accepted.
        start: The turn in which the trigger was fired.
        turn: The turn with the data and the member after the step.
        reasons: The refusals of the guards, in order.
        verdicts: The name of each guard and what it returned, in order.
        reminders: What the `prepare` of the transition has changed of the reminders.
    """

    __slots__ = ("reasons", "reminders", "start", "state", "to", "turn", "verdicts")

    def __init__(self, turn: Turn[D]) -> None:
        self.state = turn.state
        self.to: str | None = None
        self.start = self.turn = turn
        self.reasons: tuple[Refused, ...] = ()
        self.verdicts: tuple[tuple[str, str], ...] = ()
        self.reminders: Sequence[Any] = ()

    @property
    def data(self) -> D:
        """The flow's data after the step."""
        return self.turn.data

    @property
    def member(self) -> Member[Any]:
        """The member after the step."""
        return self.turn.member


class _LibraryTransition(transitions.Transition):
    """A transition of the library, with a shorter way to execute it."""

    def execute_on(self, model: Fired[Any]) -> bool:
        """Execute the transition as `execute` does where only `prepare` and conditions are declared.

        Returns:
            Whether it has changed the state of the model.
        """
        prepares: list[Any] = self.prepare  # to the library, a callback may also be a name
        for prepare in prepares:
            prepare(model)
        conditions: list[Any] = self.conditions
        for condition in conditions:
            if condition.func(model) != condition.target:
                return False
        model.state = model.to = str(self.dest)
        return True


class _LibraryMachine(transitions.Machine):
    """A machine of the library with these transitions."""

    transition_cls = _LibraryTransition


class Position(Generic[D]):
    """A state of a flow, with what each turn there asks of the declaration. It is prepared when the bot is made.

    Attributes:
        machine: The machine of the flow.
        flow: The flow.
        state: The state.
        name: The name of the state.
        buttons: The triggers of its buttons, in the order of declaration.
        always: Those of them of which a transition has no guards, so that they are always shown.
        has_choices: Whether its question can have choices: rows or buttons.
        may_be_empty: Whether it has `empty` transitions, which are taken if there is nothing to choose from.
        is_question: Whether it waits for an answer.
        answers: The triggers by which the member answers its question.
        idle: Whether it has nothing to do and goes on by `auto`.
        has_effect: Whether it makes a call with an effect.
        is_fenced: Whether each entry of it has a name of its own, which stands before its choices and names its timer.
        events: The transitions that another system may fire, one for each trigger.
        words: Its question by language, where the words are the same in each turn.
        titles: The titles of its buttons, by language and trigger.
        names: The words that mean each of its buttons, normalised: the trigger, the words of its transitions, and those
            that the bot has for "yes" and "no".
    """

    __slots__ = (
        "_candidates", "always", "answers", "buttons", "events", "flow", "has_choices", "has_effect", "idle",
        "is_fenced", "is_question", "machine", "may_be_empty", "name", "names", "state", "titles", "words",
    )  # fmt: skip

    def __init__(self, machine: Machine[D], state: State[D]) -> None:
        flow = machine.flow
        self.machine, self.flow, self.state, self.name = machine, flow, state, state.name
        self.buttons = flow.buttons.get(state.name, ())
        self.always = frozenset(
            trigger for trigger in self.buttons if not all(way.guards for way in flow.ways(state.name, trigger))
        )
        self.has_choices = state.rows is not None or bool(self.buttons)
        self.is_question, self.idle = state.is_question, state.idle
        self.is_fenced = self.has_choices or state.timeout is not None or state.call is not None
        self.has_effect = state.call is not None and state.call_policy.effect
        self.events = {trigger: way for (source, trigger), way in flow.events.items() if source == state.name}
        self._candidates = machine.candidates(state.name)
        others = {"timeout", "empty", *self.events}
        asks = self.is_question and state.flow is None
        self.answers = frozenset(self._candidates.keys() - others if asks else ())
        self.may_be_empty = "empty" in self._candidates
        self.words: Mapping[str, Text] = {}
        self.titles: Mapping[str, Mapping[str, Text]] = {}
        self.names: dict[str, tuple[str, ...]] = {}

    def prepare(self, catalogue: Catalogue, commands: Commands) -> None:
        """Write the texts that are the same in each turn out, in each language of the catalogue.

        Args:
            catalogue: The texts of the bot.
            commands: The words of the bot.
        """
        ask, languages = self.state.ask, {*catalogue.languages, catalogue.default}
        if isinstance(ask, Text) and not ask.params:
            self.words = {language: catalogue.say(ask, language) for language in languages}
        titles = {trigger: self.flow.button_title(self.name, trigger) for trigger in self.buttons}
        self.titles = {
            language: {trigger: catalogue.say(title, language) for trigger, title in titles.items()}
            for language in languages
        }
        of_bot = {"yes": commands.yes, "no": commands.no}
        for trigger in self.buttons:
            words = [word for way in self.flow.ways(self.name, trigger) for word in way.words]
            self.names[trigger] = (*map(normalise, (trigger, *words)), *of_bot.get(trigger, ()))

    def fire(self, turn: Turn[D]) -> Fired[D]:
        """Fire `turn.trigger` in this state. The first transition that accepts wins.

        Raises:
            WrongCallback: A callback returned a value of a wrong type.
            Exception: A callback raised it. The document is unchanged.
        """
        fired = Fired(turn)
        for candidate in self._candidates.get(turn.trigger, ()):
            if candidate.execute_on(fired):
                return fired
        fired.turn, fired.reminders = turn, ()
        return fired


AnyPosition: TypeAlias = Position[Any]
"""A position in a flow with any data."""


class Machine(Generic[D]):
    """An executable flow. It keeps no state, so all runs, members and threads share it.

    Attributes:
        flow: The flow.
        positions: Its states, prepared, by name.
    """

    def __init__(self, flow: Flow[D]) -> None:
        self.flow = flow
        self._machine = _LibraryMachine(
            model=None,
            states=[transitions.State(state.name, final=state.final) for state in flow.states],
            transitions=[
                _arguments(flow, transition, trigger)
                for transition in flow.transitions
                for trigger in transition.triggers
            ],
            initial=flow.initial,
            auto_transitions=False,
            queued=False,
        )
        self.positions: Mapping[str, Position[D]] = {state.name: Position(self, state) for state in flow.states}

    def candidates(self, state: str) -> Mapping[str, Sequence[_LibraryTransition]]:
        """Return the transitions of the library that leave a state, by trigger."""
        return {
            trigger: cast("list[_LibraryTransition]", event.transitions[state])
            for trigger, event in self._machine.events.items()
            if state in event.transitions
        }

    def fire(self, turn: Turn[D]) -> Fired[D]:
        """Fire `turn.trigger` in `turn.state`. See `Position.fire`."""
        return self.positions[turn.state].fire(turn)


AnyMachine: TypeAlias = Machine[Any]
"""A machine of a flow with any data."""


def _arguments(flow: Flow[D], transition: Transition[D], trigger: str) -> dict[str, object]:
    """Return the arguments of a transition of the library.

    Where a candidate prepares something, each one does: the others take back what the one before them has prepared.
    """
    candidates = [way for source in transition.sources for way in flow.ways(source, trigger)]
    prepares = any(way.prepare is not None for way in candidates)
    conditions: tuple[Guard[D], ...] = sequence(transition.conditions)
    unless: tuple[Guard[D], ...] = sequence(transition.unless)
    return {
        "trigger": trigger,
        "source": list(transition.sources),
        "dest": transition.dest,
        "prepare": [_prepare(flow, transition)] if prepares else [],
        "conditions": [_judge(guard, unless=False) for guard in conditions],
        "unless": [_judge(guard, unless=True) for guard in unless],
    }


def _prepare(flow: Flow[D], transition: Transition[D]) -> Callable[[Fired[D]], None]:
    prepare = transition.prepare
    if prepare is None:

        def begin(model: Fired[D]) -> None:
            model.turn, model.reminders = model.start, ()

        return begin

    def prepared(model: Fired[D]) -> None:
        turn, stale = model.start, frozenset[str]()
        data, member, reminders = _made(flow, prepare, turn)
        while (
            more := flow.stale(model.start.data, data) - stale
        ):  # from the defaults, `prepare` shows what it sets anew
            stale |= more
            turn = attrs.evolve(turn, data=flow.without(turn.data, more))
            data, member, reminders = _made(flow, prepare, turn)
        model.turn, model.reminders = attrs.evolve(model.start, data=data, member=member), reminders

    return prepared


def _made(flow: Flow[D], prepare: Callback[D, D | Changes[D]], turn: Turn[D]) -> tuple[D, Member[Any], Sequence[Any]]:
    """Return the data, the member and the changes of reminders that a `prepare` makes of a turn."""
    result = prepare(turn)
    reminders: Sequence[Any] = ()
    if isinstance(result, Changes):
        data, member, reminders = result.data, result.member, result.reminders
    else:
        data, member = result, turn.member
    if not isinstance(data, flow.data):
        made = f"a {flow.data.__name__}, such as attrs.evolve(turn.data, …)"
        raise wrong("prepare", prepare, turn, data, made)
    if not isinstance(member, Member):
        raise wrong("prepare", prepare, turn, member, "turn.changes(member=…) with a member made of turn.member")
    return data, settled(turn.member, member), reminders


def _judge(guard: Guard[D], *, unless: bool) -> Callable[[Fired[D]], bool]:
    """Return a condition that evaluates a guard, and records its verdict under its name, and its reason.

    What the condition returns is compared with True for `conditions`, and with False for `unless`.
    """
    name = name_of(guard)

    def judge(model: Fired[D]) -> bool:
        verdict: object = guard(model.turn)  # as `verdict_of` does
        if isinstance(verdict, Refused):
            model.reasons += (verdict,)
            model.verdicts += ((name, f"refused {verdict.code}"),)
            return unless
        if not isinstance(verdict, bool):
            no_verdict(guard, model.turn, verdict)
        model.verdicts += ((name, "accepted" if verdict else "declined"),)
        return verdict

    return judge
