"""TODO."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import attrs

from vimbiso_fsm.errors import FlowError
from vimbiso_fsm.flow.flow import Flow


@attrs.frozen
class LegacyFlow:
    """A flow of the old release, and what it is now.

    `name`: what the records call it, `also`: further names. `steps`: our question for each step of it, in the old
    order; a step past the last of them is the last one, since what followed was a call. `answers`: from what the old
    flow gathered to fields of ours, as many as are known. It raises `codec.Unreadable` for what it cannot read.

    Raises: FlowError for a state that the flow has not, or that does not wait for an answer.
    """

    name: str
    flow: Flow[Any] = attrs.field(kw_only=True)
    steps: Mapping[str, str] = attrs.field(kw_only=True)
    answers: Callable[[Mapping[str, Any]], Mapping[str, Any]] = attrs.field(kw_only=True)
    also: Collection[str] = attrs.field(default=(), kw_only=True)

    def __attrs_post_init__(self) -> None:
        for step in self.steps.values():
            state = self.flow.by_name.get(step)
            if state is None or not state.is_question:
                place = f"steps of the old flow {self.name!r}"
                raise FlowError(self.flow.name, place, f"{step!r} is no question of it", "name a state that asks")
        if not self.steps:
            raise FlowError(self.flow.name, f"old flow {self.name!r}", "it has no steps", "name at least one")

    @property
    def names(self) -> tuple[str, ...]:
        """All it is called."""
        return (self.name, *self.also)


def _profile(record: Mapping[str, Any]) -> Mapping[str, Any]:
    return record.get("profile") or {}


def _account(record: Mapping[str, Any]) -> Mapping[str, Any]:
    return record.get("current_account") or {}


@attrs.frozen
class Legacy:
    """What a bot makes of the records of the old release, for `Bot(legacy=…)`.

    `flows`: the old flows it goes on with. `dropped`: those it does not: their members keep all but the open flow.
    `profile`, `account`: what is kept of a record's; as they are, when not given. `member_of`: asks a service whose a
    number is, None when nobody has it: `(services, number) -> member id | None`.
    """

    flows: Sequence[LegacyFlow] = ()
    dropped: Collection[str] = ()
    profile: Callable[[Mapping[str, Any]], Mapping[str, Any]] = _profile
    account: Callable[[Mapping[str, Any]], Mapping[str, Any]] = _account
    member_of: Callable[[Mapping[str, Any], str], str | None] | None = None

    def flow(self, names: Sequence[str]) -> LegacyFlow | None:
        """The flow that goes by one of the names; None for one that is dropped.

        Raises: KeyError when it is neither.
        """
        for name in names:
            for one in self.flows:
                if name in one.names:
                    return one
            if name in self.dropped:
                return None
        raise KeyError(names)
