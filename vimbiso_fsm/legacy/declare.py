"""What a bot declares of the records of the previous release."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import attrs

from vimbiso_fsm.errors import FlowError
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.flow import Flow


@attrs.frozen
class LegacyFlow:
    """A flow of the previous release, and the flow in which its runs are resumed.

    Attributes:
        name: The name of the flow in the records.
        flow: The flow of the bot.
        steps: The question of `flow` for each step of the old flow, in the old order. A step past the last of them
            counts as the last one, because only a call followed it.
        answers: Turns what the old flow has gathered into fields of `flow`, as many as are known. It raises
            `Unreadable` for what it cannot read.
        also: Further names of the flow in the records.

    Raises:
        FlowError: `steps` is empty or names a state that `flow` does not have or that asks no question.
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
        """All names of the flow in the records."""
        return (self.name, *self.also)


def _profile(record: Mapping[str, Any]) -> Mapping[str, Any]:
    return record.get("profile") or {}


def _account(record: Mapping[str, Any]) -> Mapping[str, Any]:
    return record.get("current_account") or {}


@attrs.frozen
class Declaration:
    """What a bot makes of the records of the previous release.

    Attributes:
        flows: The old flows whose runs are resumed.
        dropped: Names of the old flows whose runs end; their members keep everything else.
        profile: Returns the profile that is kept of a record; by default the record's own.
        account: Returns the account that is kept of a record; by default the record's own.
        member_of: Asks a service for the owner of a number: `(services, number) -> member id`, None when it has none.
    """

    flows: Sequence[LegacyFlow] = ()
    dropped: Collection[str] = ()
    profile: Callable[[Mapping[str, Any]], Mapping[str, Any]] = _profile
    account: Callable[[Mapping[str, Any]], Mapping[str, Any]] = _account
    member_of: Callable[[Mapping[str, Any], str], str | None] | None = None

    def flow(self, names: Sequence[str]) -> LegacyFlow | None:
        """Return the flow that has one of the names; None for one that is dropped.

        Raises:
            KeyError: The flow is not declared.
        """
        for name in names:
            for flow in self.flows:
                if name in flow.names:
                    return flow
            if name in self.dropped:
                return None
        raise KeyError(names)

    def check(self, bot: Bot, /) -> None:
        """Check that the bot has every flow in which runs are resumed.

        Raises:
            FlowError: A flow is missing.
        """
        for old in self.flows:
            if old.flow not in bot.flows:
                raise FlowError(
                    old.flow.name, f"old flow {old.name!r}", "the bot has no such flow", "add it to flows=[…]"
                )
