"""The circuit of a service: whether calls are made to it, by how its latest calls have ended.

    closed     calls are made
    open       no call is made until a rest is over, because the calls of several members in a row had no answer
    half-open  the rest is over, and one call is made to try the service

A circuit is a value without a clock of its own. Members count, and not calls, so that one member whose calls always
fail does not take the service from the others.
"""

from __future__ import annotations

from typing import Literal

import attrs

from vimbiso_fsm.flow.calls import ServiceLimits


@attrs.frozen
class Circuit:
    """The state of a circuit. All instants are seconds on one clock, which may be set back or ahead.

    Attributes:
        failures: The members whose calls had no answer since the last answer, each with the instant of its latest one,
            in the order of these instants.
        opened: The instant at which it opened; None while it is closed.
        tried: The instant at which the call began that tries the service; None without one.
    """

    failures: tuple[tuple[str, float], ...] = ()
    opened: float | None = None
    tried: float | None = None

    def phase(self, limits: ServiceLimits, now: float) -> Literal["closed", "open", "half-open"]:
        """Return the phase at an instant."""
        if self.opened is None:
            return "closed"
        return "open" if _within(self.opened, limits.rest, now) else "half-open"

    def admits(self, limits: ServiceLimits, now: float) -> bool:
        """Return whether a call may begin. A call that tries the service and never ends is forgotten after a rest."""
        phase = self.phase(limits, now)
        tries = self.tried is not None and _within(self.tried, limits.rest, now)
        return phase == "closed" or (phase == "half-open" and not tries)

    def begun(self, limits: ServiceLimits, now: float) -> Circuit:
        """Return the circuit after the begin of a call that it admits."""
        return self if self.phase(limits, now) == "closed" else attrs.evolve(self, tried=now)

    def withdrawn(self) -> Circuit:
        """Return the circuit after a call that has begun was not made after all."""
        return attrs.evolve(self, tried=None)

    def answered(self) -> Circuit:
        """Return the circuit after an answer: it is closed."""
        return Circuit()

    def failed(self, limits: ServiceLimits, member_id: str, now: float) -> Circuit:
        """Return the circuit after a call that had no answer.

        A call that began before the circuit opened does not prolong the rest.
        """
        phase = self.phase(limits, now)
        if phase == "open":
            return self
        if phase == "half-open":
            return attrs.evolve(self, opened=now, tried=None)
        kept = [each for each in self.failures if each[0] != member_id and _within(each[1], limits.within, now)]
        failures = (*kept, (member_id, now))[-limits.failures :]
        return Circuit(failures, now if len(failures) == limits.failures else None)


def _within(since: float, seconds: float, now: float) -> bool:
    """Return whether less than `seconds` have passed. A clock that was set back ends every span."""
    return 0 <= now - since < seconds
