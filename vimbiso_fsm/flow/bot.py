"""What belongs to no single flow: one value, the bot."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from vimbiso_fsm.document.document import Run
from vimbiso_fsm.document.state_validator import CHANNEL_TYPES, StateValidator
from vimbiso_fsm.errors import FlowError
from vimbiso_fsm.flow.carry_on import CARRY_ON
from vimbiso_fsm.flow.commands import Commands, Shortcut
from vimbiso_fsm.flow.flow import Flow
from vimbiso_fsm.flow.machine import Machine
from vimbiso_fsm.legacy.declare import Legacy
from vimbiso_fsm.messages import locales
from vimbiso_fsm.messages.catalogue import Catalogue, Templates
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.replies import Reply, Text

if TYPE_CHECKING:
    from vimbiso_fsm.flow.tokens import Tokens


@attrs.frozen
class Limits:
    """Bounds of a conversation. `text`: characters of a message; `help`, `menu`: refusals in a row at one question
    after which help, then the menu is offered; `autos`: states passed without a question in one turn; `rows`: of a
    list shown at once; `age`: seconds since a message was sent, by its channel's word, after which it is ignored, None
    for no bound."""

    text: int = 4096
    help: int = 3
    menu: int = 6
    autos: int = 16
    rows: int = 10
    age: float | None = None


LONGEST_SESSION = 8 * 3600.0
"""Seconds after which a session ends though it is never silent, unless a bot says otherwise."""


@attrs.frozen
class SessionLife:
    """How long a session lives. `idle`: seconds of silence after which it ends; a flow may have its own. `limit`:
    seconds after which it ends in any case. `warning`: seconds before its end at which a member with unconfirmed
    answers is warned, where somebody delivers; 0 warns nobody. `announced`: whether somebody who delivers tells of the
    end at once, or the member hears of it with their next message.

    Raises: ValueError for bounds that are none.
    """

    idle: float = 300.0
    limit: float = LONGEST_SESSION
    warning: float = 0.0
    announced: bool = True

    def __attrs_post_init__(self) -> None:
        if not (0 < self.idle <= self.limit and 0 <= self.warning < self.idle):
            raise ValueError(f"{self}: idle is more than 0 seconds, at most limit; warning is less than idle")


def _session_life(given: SessionLife | float) -> SessionLife:
    return given if isinstance(given, SessionLife) else SessionLife(given, max(given, LONGEST_SESSION))


def _flows(given: Flow[Any] | Sequence[Flow[Any]]) -> tuple[Flow[Any], ...]:
    flows = (given,) if isinstance(given, Flow) else tuple(given)
    if not flows:
        raise FlowError("", "bot", "it has no flows", "give Bot(flows=[…]) at least one")
    return flows


@attrs.frozen(eq=False, repr=False)
class Bot:
    """A set of flows and what they share.

    `home`: the flow a member comes back to (the first flow, when not given); `entry`: the flow that makes them
    known, entered when a flow's `requires` refuses. `texts`: templates by key, or by language and key; a member is
    spoken to in the `language` that their profile names, else the one that their channel knows of them. `services`:
    what calls are made to, by the port's name in snake case. `channels`: channel types beyond the known ones.
    `session`: how long a session lives, or just the seconds of silence after which it ends. `tokens`: what is known of
    members' tokens; without it they are opaque, and live until somebody takes them away. `legacy`: what is made of the
    records of the release before (`legacy.py`). `profile`: the class that the flows read a member's profile as; one
    that cannot be read so is not stored, and is damage when it is found.

    Raises: FlowError when two flows share a name, or a flow is no flow.
    """

    flows: tuple[Flow[Any], ...] = attrs.field(converter=_flows)
    home: Flow[Any] = attrs.field(default=attrs.Factory(lambda self: self.flows[0], takes_self=True), kw_only=True)
    entry: Flow[Any] | None = attrs.field(default=None, kw_only=True)
    commands: Commands = attrs.field(factory=Commands, kw_only=True)
    shortcuts: Sequence[Shortcut] = attrs.field(default=(), kw_only=True)
    texts: Catalogue | Templates | Mapping[str, Templates] = attrs.field(factory=dict, kw_only=True)
    services: Mapping[str, object] = attrs.field(factory=dict, kw_only=True)
    channels: Sequence[str] = attrs.field(default=(), kw_only=True)
    session: SessionLife = attrs.field(factory=SessionLife, converter=_session_life, kw_only=True)
    tokens: Tokens | None = attrs.field(default=None, kw_only=True)
    legacy: Legacy | None = attrs.field(default=None, kw_only=True)
    profile: type | None = attrs.field(default=None, kw_only=True)
    limits: Limits = attrs.field(factory=Limits, kw_only=True)
    catalogue: Catalogue = attrs.field(init=False, repr=False)
    machines: Mapping[str, Machine[Any]] = attrs.field(init=False, repr=False)
    kept: Mapping[tuple[str, int], Machine[Any]] = attrs.field(init=False, repr=False)
    validator: StateValidator = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        def fill(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        fill("flows", tuple(_all_flows(self)))
        fill("catalogue", Catalogue.of(self.texts, [flow.name for flow in self.flows]))
        fill("machines", {flow.name: Machine(flow) for flow in self.flows})
        for old in self.legacy.flows if self.legacy else ():
            if old.flow not in self.flows:
                raise FlowError(
                    old.flow.name, f"old flow {old.name!r}", "the bot has no such flow", "add it to flows=[…]"
                )
        fill("kept", _kept(self.flows))
        steps = {flow.name: frozenset(flow.by_name) for flow in self.flows}
        kept = {key: frozenset(machine.flow.by_name) for key, machine in self.kept.items()}
        fill("validator", StateValidator(steps, frozenset(CHANNEL_TYPES | set(self.channels)), kept, self.profile))

    def __repr__(self) -> str:
        return f"Bot({[flow.name for flow in self.flows]})"

    def flow(self, name: str) -> Flow[Any]:
        """The flow of that name.

        Raises: KeyError when the bot has none.
        """
        return self.machines[name].flow

    def machine(self, run: Run) -> Machine[Any]:
        """What a run is stepped with: today's flow of its name, or an older definition that it finishes on.

        Raises: KeyError when the bot has none.
        """
        flow = run.flow_data.data.flow_type
        return (self.kept.get((flow, run.version)) if self.kept else None) or self.machines[flow]

    def definition(self, run: Run) -> Flow[Any]:
        """The flow as a run is stepped with it.

        Raises: KeyError when the bot has none.
        """
        return self.machine(run).flow

    def definitions(self, name: str) -> tuple[Flow[Any], ...]:
        """Today's flow of that name, if there is one, and the older ones that are kept."""
        today = [self.machines[name].flow] if name in self.machines else []
        return (*today, *(machine.flow for (flow, _), machine in self.kept.items() if flow == name))

    def button_title(self, flow: str, state: str, trigger: str) -> Text:
        """A button's title: the key `<flow>.<state>.<trigger>`."""
        return Text(f"{flow}.{state}.{trigger}")

    def language(self, profile: Mapping[str, Any], channel: Channel) -> str:
        """The language that is spoken with a member: the one that their profile names, else their channel, as far as
        the catalogue has it."""
        return self.catalogue.language(locales.preferred(profile, channel.metadata))

    def say(self, replies: Iterable[Reply], profile: Mapping[str, Any], channel: Channel) -> tuple[Reply, ...]:
        """The replies with their final words, in the member's language."""
        return self.catalogue.replies(replies, self.language(profile, channel))

    def with_services(self, services: Mapping[str, object]) -> Bot:
        """This bot, some of its services replaced by name."""
        return attrs.evolve(self, services={**self.services, **services}) if services else self


def _all_flows(bot: Bot) -> Iterator[Flow[Any]]:
    """Every flow the bot can run, once: those given, home, entry, sub-flows, the framework's own."""
    seen: dict[str, Flow[Any]] = {}
    waiting: list[object] = [*bot.flows, bot.home, bot.entry, *(s.flow for s in bot.shortcuts), CARRY_ON]
    while waiting:
        flow = waiting.pop(0)
        if flow is None:
            continue
        if not isinstance(flow, Flow):
            raise FlowError("", "bot", f"{type(flow).__name__} is no flow", "declare flows with Flow(…)")
        known = seen.get(flow.name)
        if known is flow:
            continue
        if known is not None:
            raise FlowError(flow.name, "bot", "two flows have this name", "rename one")
        seen[flow.name] = flow
        waiting.extend(state.flow for state in flow.states)
        yield flow
    for flow in _older(tuple(seen.values())):
        if flow.name not in seen:  # a sub-flow that only an older definition has
            seen[flow.name] = flow
            yield flow


def _older(flows: Sequence[Flow[Any]]) -> tuple[Flow[Any], ...]:
    """The older definitions that runs of these flows finish on, and the sub-flows of those, each once."""
    found: list[Flow[Any]] = []
    waiting = [old for flow in flows for migration in flow.migrations for old in migration.kept]
    while waiting:
        old = waiting.pop(0)
        if isinstance(old, Flow) and old not in flows and old not in found:
            found.append(old)
            waiting += [state.flow for state in old.states if state.flow]
    return tuple(found)


def _kept(flows: Sequence[Flow[Any]]) -> dict[tuple[str, int], Machine[Any]]:
    """The machines of older definitions, by name and version."""
    table: dict[tuple[str, int], Machine[Any]] = {}
    today = {(flow.name, flow.version) for flow in flows}
    for flow in _older(flows):
        key = flow.name, flow.version
        if key in table or key in today:
            fault = f"two definitions of version {flow.version} are in use"
            raise FlowError(flow.name, "bot", fault, "keep one of each version")
        table[key] = Machine(flow)
    return table
