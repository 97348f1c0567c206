"""The transitions of a bot as a walk, and the coverage of tests, count them."""

from __future__ import annotations

import attrs

from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.carry_on import CARRY_ON
from vimbiso_fsm.flow.flow import AnyFlow


@attrs.frozen
class Way:
    """A transition of one source by one trigger.

    Attributes:
        flow: The name of the flow.
        source: The state that it leaves.
        trigger: The trigger.
        dest: The state that it leads to.
    """

    flow: str
    source: str
    trigger: str
    dest: str

    def __str__(self) -> str:
        return f"{self.trigger} {self.source} -> {self.dest}"


def flows_of(bot: Bot) -> list[AnyFlow]:
    """Return the flows of a bot without the framework's own."""
    return [flow for flow in bot.flows if flow is not CARRY_ON]


def ways_of(flow: AnyFlow) -> list[Way]:
    """Return the transitions of a flow, each once for each source and trigger."""
    found: dict[Way, None] = {}
    for (source, trigger), transitions in flow.by_trigger.items():
        found |= dict.fromkeys(Way(flow.name, source, trigger, each.dest) for each in transitions)
    return list(found)


def transitions_of(bot: Bot) -> list[Way]:
    """Return the transitions of all of an author's flows."""
    return [way for flow in flows_of(bot) for way in ways_of(flow)]
