"""The parts of a bot that an author has written: flows, and callbacks with the place that names them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import attrs

from vimbiso_fsm.check.codes import ADVICE
from vimbiso_fsm.check.finding import Finding
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.flow import AnyFlow
from vimbiso_fsm.flow.state import AnyState
from vimbiso_fsm.made import Made, made_of

_LIBRARY: Final = str(Path(__file__).parent.parent)
"""The folder of this library, in whose own flow nothing is to be found."""

SLOTS: Final = ("ask", "say", "reads", "rows", "call", "input", "output", "reminds", "timeout")
"""The slots of a state that take a callback."""


@attrs.frozen
class Named:
    """A callback, with the part of a flow that names it.

    Attributes:
        flow: The flow.
        place: The state or the transition, as a finding names it.
        slot: The slot: "guard", "prepare" or the name of an attribute of a state.
        callback: The callback.
        made: The line at which the state or the transition was made.
        state: The state in which it is called.
    """

    flow: AnyFlow
    place: str
    slot: str
    callback: Callable[..., Any]
    made: Made
    state: AnyState

    @property
    def kind(self) -> str:
        """The beginning of the codes of its faults: "guard" or "callback"."""
        return "guard" if self.slot == "guard" else "callback"

    def finding(self, code: str, fault: str, remedy: str, made: Made | None = None) -> Finding:
        """Return a finding about the callback, at its own first line if no other is given."""
        own = made_of(self.callback) if made is None else made
        at = own if own.file and not own.file.startswith(_LIBRARY) else self.made
        return Finding.at(at, code, fault, remedy, flow=self.flow.name, place=self.place, advice=code in ADVICE)


def flows_of(bot: Bot) -> tuple[AnyFlow, ...]:
    """Return the flows of a bot without those of this library."""
    return tuple(flow for flow in bot.flows if not flow.made.file.startswith(_LIBRARY))


def callbacks_of(bot: Bot) -> Iterator[Named]:
    """Yield the callbacks of a bot's flows, each at every place that names it."""
    for flow in flows_of(bot):
        start = flow.by_name[flow.initial]
        for guard in flow.required:
            yield Named(flow, "requires", "guard", guard, flow.made, start)
        for state in flow.states:
            for slot in SLOTS:
                callback = getattr(state, slot)
                if callable(callback):
                    yield Named(flow, f"state {state.name!r}", slot, callback, state.made, state)
        for way in flow.transitions:
            place, state = f"transition {way.trigger!r}", flow.by_name[way.sources[0]]
            for guard in way.guards:
                yield Named(flow, place, "guard", guard, way.made, state)
            if way.prepare is not None:
                yield Named(flow, place, "prepare", way.prepare, way.made, state)


def at(flow: AnyFlow, made: Made, place: str, code: str, fault: str, remedy: str) -> Finding:
    """Return a finding about a part of a flow."""
    return Finding.at(made, code, fault, remedy, flow=flow.name, place=place, advice=code in ADVICE)
