"""Declarations of a bot: the conversion of records of the previous release."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import attrs

from vimbiso_fsm.errors import FlowError
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.flow import Flow
from vimbiso_fsm.legacy.records import JSONObject


@attrs.frozen
class LegacyFlow:
    """A flow of the previous release, and the flow in which its runs are resumed.

    Attributes:
        name: The name of the flow in the records.
        flow: The flow of the bot.
        steps: The question of `flow` for each step of the old flow, in the old order. The step after the last one
            counts as the last one, because only a call followed it.
        answers: Converts the answers of the old flow to fields of `flow`, as many as are known. It raises
            `Unreadable` for an answer that it cannot read.
        also: Further names of the flow in the records.

    Raises:
        FlowError: `steps` is empty or names a state that `flow` does not have or that asks no question.
    """

    name: str
    flow: Flow[Any] = attrs.field(kw_only=True)
    steps: Mapping[str, str] = attrs.field(kw_only=True)
    answers: Callable[[JSONObject], Mapping[str, object]] = attrs.field(kw_only=True)
    also: Collection[str] = attrs.field(default=(), kw_only=True)

    def __attrs_post_init__(self) -> None:
        for step in self.steps.values():
            state = self.flow.by_name.get(step)
            if state is None or not state.is_question:
                place = f"steps of the old flow {self.name!r}"
                fault = f"{step!r} is not one of its questions"
                raise FlowError(self.flow.name, place, fault, "name a state that asks")
        if not self.steps:
            raise FlowError(self.flow.name, f"old flow {self.name!r}", "it has no steps", "name at least one")

    @property
    def names(self) -> tuple[str, ...]:
        """All names of the flow in the records."""
        return (self.name, *self.also)


def _profile(record: JSONObject) -> JSONObject:
    return record.get("profile") or {}


def _account(record: JSONObject) -> JSONObject:
    return record.get("current_account") or {}


@attrs.frozen
class Declaration:
    """The conversion of records of the previous release.

    Attributes:
        flows: The old flows whose runs are resumed.
        dropped: The names of old flows whose runs are ended. Their members keep everything else.
        profile: Returns the profile that is kept of a record; by default the record's own.
        account: Returns the account that is kept of a record; by default the record's own.
        member_of: Asks a service for the owner of a number: `(services, number) -> member id`, None when it has none.
    """

    flows: Sequence[LegacyFlow] = ()
    dropped: Collection[str] = ()
    profile: Callable[[JSONObject], Mapping[str, object]] = _profile
    account: Callable[[JSONObject], Mapping[str, object]] = _account
    member_of: Callable[[Mapping[str, object], str], str | None] | None = None

    def flow(self, names: Sequence[str]) -> LegacyFlow | None:
        """Return the flow with one of the names, or None if that flow is dropped.

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
        """Check that the bot has each flow in which runs are resumed.

        Raises:
            FlowError: The bot does not have a flow.
        """
        for old in self.flows:
            if old.flow not in bot.flows:
                raise FlowError(
                    old.flow.name, f"old flow {old.name!r}", "the bot has no such flow", "add it to flows=[…]"
                )
