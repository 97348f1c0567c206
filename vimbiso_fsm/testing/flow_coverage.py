"""Which transitions fire, and what guards say, in all that a process does with flows.

Each step on a machine is recorded when it is made for the audit, also in tests that know nothing of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

import attrs

from vimbiso_fsm.audit.short_form import AuditStep
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.callbacks import name_of
from vimbiso_fsm.flow.flow import AnyFlow
from vimbiso_fsm.made import Made
from vimbiso_fsm.testing.ways import Way, flows_of, ways_of

Seen: TypeAlias = Counter[tuple[str, ...]]
"""Steps as ("fired", flow, fingerprint, source, trigger, dest), and verdicts as ("yes", flow, fingerprint, guard)."""

_STEP: Final[Any] = AuditStep  # its constructor is replaced while steps are recorded
_PLAIN_INIT: Final[Any] = AuditStep.__init__


def record(seen: Seen) -> None:
    """Record the steps of this process from here on, until `end_recording`."""

    def recording(step: AuditStep, *arguments: Any, **named: Any) -> None:
        _PLAIN_INIT(step, *arguments, **named)
        if step.dest is not None and step.source:
            seen["fired", step.flow, step.fingerprint, step.source, step.trigger, step.dest] += 1
        for name, verdict in step.guards:
            seen["yes" if verdict == "accepted" else "no", step.flow, step.fingerprint, name] += 1

    _STEP.__init__ = recording  # no turn pays for a hook that only tests need


def end_recording() -> None:
    """Record no more steps in this process."""
    _STEP.__init__ = _PLAIN_INIT


@contextmanager
def unrecorded() -> Generator[None, None, None]:
    """Record nothing in a block, for tests that count or measure."""
    current = _STEP.__init__
    end_recording()
    try:
        yield
    finally:
        _STEP.__init__ = current


@attrs.frozen
class Coverage:
    """What was covered of one flow.

    Attributes:
        flow: The name of the flow.
        fired: The transitions that fired.
        never: The transitions that did not, each with the place where it was made.
        guards: The guards that have both accepted and not accepted.
        one_sided: The other guards.
    """

    flow: str
    fired: Sequence[Way]
    never: Sequence[tuple[Way, Made]]
    guards: Sequence[str]
    one_sided: Sequence[str]

    def __str__(self) -> str:
        fired, guards = len(self.fired), len(self.guards)
        line = f"{self.flow:<16} transitions {fired}/{fired + len(self.never)}"
        line += f"  guards {guards}/{guards + len(self.one_sided)}" if guards or self.one_sided else ""
        return line + "".join(f"\n    never: {way} ({made})" for way, made in self.never)


def coverage_of(bot: Bot, seen: Seen) -> list[Coverage]:
    """Return what was covered of each flow of a bot. Steps of other declarations of the same name do not count."""
    return [_of_flow(flow, seen) for flow in flows_of(bot)]


def percent(covered: Iterable[Coverage]) -> float:
    """Return how many of all transitions have fired, in percent; 100 if there are none."""
    flows = list(covered)
    fired = sum(len(each.fired) for each in flows)
    total = fired + sum(len(each.never) for each in flows)
    return 100.0 * fired / total if total else 100.0


def _of_flow(flow: AnyFlow, seen: Seen) -> Coverage:
    of = flow.name, flow.fingerprint
    ways = ways_of(flow)
    fired = [way for way in ways if seen["fired", *of, way.source, way.trigger, way.dest]]
    names = dict.fromkeys(name_of(guard) for way in flow.transitions for guard in way.guards)
    both = [name for name in names if seen["yes", *of, name] and seen["no", *of, name]]
    never = [(way, _made(flow, way)) for way in ways if way not in fired]
    return Coverage(flow.name, fired, never, both, [name for name in names if name not in both])


def _made(flow: AnyFlow, way: Way) -> Made:
    return next(each.made for each in flow.ways(way.source, way.trigger) if each.dest == way.dest)
