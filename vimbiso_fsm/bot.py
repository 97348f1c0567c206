"""What belongs to no single flow: one value, the bot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from vimbiso_fsm.commands import CARRY_ON, Commands, Shortcut
from vimbiso_fsm.errors import FlowError
from vimbiso_fsm.flow import Flow
from vimbiso_fsm.machine import Machine
from vimbiso_fsm.messages import Text
from vimbiso_fsm.state_validator import CHANNEL_TYPES, StateValidator
from vimbiso_fsm.texts import Catalogue

__all__ = ["Bot", "Limits"]


@attrs.frozen
class Limits:
    """Bounds of a conversation. `text`: characters of a message; `help`, `menu`: refusals in a row at one question
    after which help, then the menu is offered; `autos`: states passed without a question in one turn; `rows`: of a
    list shown at once."""

    text: int = 4096
    help: int = 3
    menu: int = 6
    autos: int = 16
    rows: int = 10


def _flows(given: Flow[Any] | Sequence[Flow[Any]]) -> tuple[Flow[Any], ...]:
    flows = (given,) if isinstance(given, Flow) else tuple(given)
    if not flows:
        raise FlowError("", "bot", "it has no flows", "give Bot(flows=[…]) at least one")
    return flows


@attrs.frozen(eq=False, repr=False)
class Bot:
    """A set of flows and what they share.

    `home`: the flow a member comes back to (the first flow, when not given); `entry`: the flow that makes them
    known, entered when a flow's `requires` refuses. `texts`: templates by key, or by language and key. `services`:
    what calls are made to, by the port's name in snake case. `channels`: channel types beyond the known ones.
    `session`: seconds of silence after which a session ends.

    Raises: FlowError when two flows share a name, or a flow is no flow.
    """

    flows: tuple[Flow[Any], ...] = attrs.field(converter=_flows)
    home: Flow[Any] = attrs.field(default=attrs.Factory(lambda self: self.flows[0], takes_self=True), kw_only=True)
    entry: Flow[Any] | None = attrs.field(default=None, kw_only=True)
    commands: Commands = attrs.field(factory=Commands, kw_only=True)
    shortcuts: Sequence[Shortcut] = attrs.field(default=(), kw_only=True)
    texts: Catalogue | Mapping[str, str] | Mapping[str, Mapping[str, str]] = attrs.field(factory=dict, kw_only=True)
    services: Mapping[str, object] = attrs.field(factory=dict, kw_only=True)
    channels: Sequence[str] = attrs.field(default=(), kw_only=True)
    session: float = attrs.field(default=300.0, kw_only=True)
    limits: Limits = attrs.field(factory=Limits, kw_only=True)
    catalogue: Catalogue = attrs.field(init=False, repr=False)
    machines: Mapping[str, Machine[Any]] = attrs.field(init=False, repr=False)
    validator: StateValidator = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        def fill(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        fill("flows", tuple(_all_flows(self)))
        fill("catalogue", Catalogue.of(self.texts, [flow.name for flow in self.flows]))
        fill("machines", {flow.name: Machine(flow) for flow in self.flows})
        steps = {flow.name: frozenset(flow.by_name) for flow in self.flows}
        fill("validator", StateValidator(steps, frozenset(CHANNEL_TYPES | set(self.channels))))

    def __repr__(self) -> str:
        return f"Bot({[flow.name for flow in self.flows]})"

    def flow(self, name: str) -> Flow[Any]:
        """The flow of that name.

        Raises: KeyError when the bot has none.
        """
        return self.machines[name].flow

    def button_title(self, flow: str, state: str, trigger: str) -> Text:
        """A button's title: the key `<flow>.<state>.<trigger>`."""
        return Text(f"{flow}.{state}.{trigger}")

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
