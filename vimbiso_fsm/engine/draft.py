"""A conversation while one turn of it is decided: the stack of runs, the step on the machine, what is said.

A `Draft` is the working copy of one document for one turn, thrown away with it. A run stands in a state; when
it enters one, `settle` does what the state has to do (say, call, sub-flow, pass on) until one waits. Runs lie on a
stack: below the current one those that wait for it, each for a reason (`Run.waits`):

    "sub"    for the sub-flow that it began              goes on by `done` or `cancelled`
    "under"  while a quick command's flow is above it    is asked again
    "asked"  because the member wanted something else    is offered back by the flow `carry_on`
    "entry"  until the member is known                   goes on when its `requires` holds then, else it is dropped
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import attrs

from vimbiso_fsm.audit.entries import AuditStep
from vimbiso_fsm.document.codec import structure
from vimbiso_fsm.document.document import (
    Document,
    Member,
    Run,
    StepData,
    Undelivered,
    asked,
)
from vimbiso_fsm.engine import question
from vimbiso_fsm.errors import VimbisoError
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.calls import Call, CallPolicy
from vimbiso_fsm.flow.flow import Flow
from vimbiso_fsm.flow.state import Declared, State
from vimbiso_fsm.flow.turn import Turn
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.replies import Reply, Text


def kept_typed(flow: Declared, data: Any) -> Any:
    """The typed data, where it may stay with the run; None where a callback could change it later."""
    return data if flow.stable(data) else None


class Stuck(VimbisoError):
    """A flow that cannot go on by its own declaration. Attributes: `flow`, `state`, `fault`."""

    def __init__(self, flow: str, state: str, fault: str) -> None:
        self.flow, self.state, self.fault = flow, state, fault
        super().__init__(f"flow {flow!r} is stuck in state {state!r}: {fault}")


class Draft:
    """One document on the desk. `token` names the turn; ids of runs and calls are made from it. `root`: the token of
    the message that caused it. `call`: what is to be called once the turn is stored; `renews`: for a new token, before
    the call itself. `kind`, `status`, `detail`: what the audit will say of the turn. `changed`: whether there is
    anything to store."""

    def __init__(self, bot: Bot, document: Document, channel: Channel, now: datetime, token: str, root: str) -> None:
        self.bot = bot
        self.before = document
        self.channel = channel
        self.now = max(now, document.last_updated)
        self.version = document.version + 1
        self.token, self.root = token, root
        self.member = _known(bot, document, self.now)
        self.run = document.run
        self.suspended = document.suspended
        self.pending = document.call
        self.outbox = document.outbox
        self.call: Call[Any] | None = None
        self.renews = False
        self.session_since = document.session_since
        self.delivery: Undelivered | None = None
        self.replies: list[Reply] = []
        self.steps: list[AuditStep] = []
        self.codes: list[str] = []
        self.kind, self.status, self.changed, self.trigger = "transition", "advanced", True, ""
        self.detail: dict[str, Any] = {}
        self.typed: dict[str, Any] = {}
        self.ended: Run | None = None
        self.begun = self.passed = 0

    # What there is ------------------------------------------------------------------------------------------------

    @property
    def standing(self) -> Run:
        """The current run, where there must be one."""
        assert self.run is not None
        return self.run

    @property
    def flow(self) -> Flow[Any]:
        """The current run's flow, as it is stepped with it."""
        return self.bot.definition(self.standing)

    @property
    def state(self) -> State[Any]:
        """The current run's state."""
        return self.flow[self.standing.step]

    @property
    def policy(self) -> CallPolicy:
        """How hard the current state's call is tried."""
        return self.state.call_policy

    @property
    def tries(self) -> int:
        """Tries of the call on its way, but for those that are known to have done nothing."""
        return attrs.evolve(self.before, run=self.run, call=self.pending).tries

    @property
    def in_doubt(self) -> bool:
        """Whether an effect on its way may have been made by an earlier try."""
        return self.policy.effect and self.tries > 1

    @property
    def at_home(self) -> bool:
        """Whether the member stands in the home flow itself."""
        return self.run is not None and self.run.flow == self.bot.home.name

    def data(self, run: Run) -> Any:
        """The run's typed data."""
        data = self.typed.get(run.id)
        if data is None:
            kept, kind = run.flow_data.data.typed, self.bot.definition(run).data
            data = kept if type(kept) is kind else structure(run.flow_data.data.fields, kind)  # another definition's
            self.typed[run.id] = data
        return data

    def turn(self, run: Run) -> Turn[Any]:
        """What a callback of the run sees."""
        return Turn(self.data(run), self.member, self.channel, self.now, run.flow, run.step)

    # What is said -------------------------------------------------------------------------------------------------

    def say(self, text: Text) -> None:
        """Reply with a text."""
        self.replies.append(text)

    @property
    def said(self) -> tuple[Reply, ...]:
        """The replies with their final words, in the member's language."""
        return self.bot.say(self.replies, self.member.stored_profile, self.channel)

    def ask(self) -> None:
        """Ask the current state's question."""
        if self.run is None:
            return
        run = asked(self.run)
        built = question.build(self.bot, self.bot.machine(run), run, self.turn(run))
        if (built.shown, built.page) != (run.shown, run.page):
            run = attrs.evolve(run, shown=built.shown, page=built.page)
        self.run = run
        self.replies.append(built.reply)

    def ignore(self) -> None:
        """Nothing is stored of this turn."""
        self.status, self.changed = "ignored", False

    # A step on the machine ----------------------------------------------------------------------------------------

    @staticmethod
    def with_answers(run: Run, answers: Sequence[str]) -> Run:
        """The run with answers it is to be given as soon as it asks; with none, without them."""
        data = run.flow_data.data
        context = {name: value for name, value in data.context.items() if name != "answers"}
        return with_step_data(
            run, attrs.evolve(data, context={**context, "answers": [*answers]} if answers else context)
        )

    # The stack of runs --------------------------------------------------------------------------------------------

    def gathered(self, run: Run) -> bool:
        """Whether the run, or one that called it, holds answers that would be lost."""
        return any(has_answers(self.bot, held) for held in self.called_by(run))

    def called_by(self, run: Run) -> tuple[Run, ...]:
        """The run, then those that wait for it as their sub-flow, up to home."""
        chain = [run]
        for below in reversed(self.suspended):
            if below.waits != "sub" or below.flow == self.bot.home.name:
                break
            chain.append(below)
        return tuple(chain)

    def pop(self) -> Run | None:
        """The run below, taken from the stack."""
        if not self.suspended:
            return None
        self.suspended, run = self.suspended[:-1], self.suspended[-1]
        return run

    # What flows require -------------------------------------------------------------------------------------------


def is_entering(bot: Bot, run: Run, suspended: Sequence[Run]) -> bool:
    """Whether a run is the entry flow's, or of a flow that it calls: its calls are there to get a token."""
    return bot.entry is not None and bot.entry.name in [each.flow for each in (run, *suspended)]


def _known(bot: Bot, document: Document, now: datetime) -> Member:
    """The member as they are now. A token of which nothing is known, though the bot reads them, is not believed."""
    member = bot.typed(document.at(now).member)
    if bot.tokens is None or document.jwt_token is None or document.token is not None:
        return member
    return attrs.evolve(member, authenticated=False, jwt_token=None)


def has_answers(bot: Bot, run: Run) -> bool:
    """Whether the run holds answers that would be lost with it."""
    flow = bot.definition(run)
    return any(flow[step].into for step in run.trail if step in flow.by_name)


def with_step_data(run: Run, data: StepData) -> Run:
    return attrs.evolve(run, flow_data=attrs.evolve(run.flow_data, data=data))
