"""The working copy of one document for one turn, discarded after the turn.

A run stands in a state. When it enters one, `run_to_completion` does what the state has to do (say, call, sub-flow,
pass on) until one waits. Runs lie on a stack: below the current one lie those that wait for it, each for a reason
(`Run.waits`, a `Suspended`).
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
    PendingCall,
    Run,
    StepData,
    Suspended,
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

    flow: str
    state: str
    fault: str

    def __init__(self, flow: str, state: str, fault: str) -> None:
        self.flow, self.state, self.fault = flow, state, fault
        super().__init__(f"flow {flow!r} is stuck in state {state!r}: {fault}")


class Draft:
    """A working copy of one document; discarded after the turn.

    Attributes:
        before: The document at the beginning of the turn.
        token: The token of the turn, from which the ids of runs and calls are made.
        root: The token of the message that caused the turn.
        call: The call to make once the turn is stored.
        renews: Whether the call asks for a new token, before the call itself.
        kind: The kind of the audit entry.
        status: The status of the turn.
        detail: Facts for the audit entry.
        changed: Whether there is anything to store.
    """

    now: datetime
    version: int
    token: str
    root: str
    member: Member
    run: Run | None
    suspended: tuple[Run, ...]
    pending: PendingCall | None
    outbox: tuple[Undelivered, ...]
    session_since: datetime | None
    kind: str
    status: str
    changed: bool
    trigger: str

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
        """The retry policy of the current state's call."""
        return self.state.call_policy

    @property
    def tries(self) -> int:
        """Tries of the call on its way, but for those that are known to have done nothing."""
        return attrs.evolve(self.before, run=self.run, call=self.pending).tries

    @property
    def in_doubt(self) -> bool:
        """Whether an earlier try of the call on its way may have taken effect."""
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
        """Return the turn as a callback of the run sees it."""
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
        """Store nothing of this turn."""
        self.status, self.changed = "ignored", False

    # A step on the machine ----------------------------------------------------------------------------------------

    @staticmethod
    def with_answers(run: Run, answers: Sequence[str]) -> Run:
        """Return the run with answers to give as soon as it asks; with none, without queued answers."""
        data = run.flow_data.data
        context = {name: value for name, value in data.context.items() if name != "answers"}
        return with_step_data(
            run, attrs.evolve(data, context={**context, "answers": [*answers]} if answers else context)
        )

    # The stack of runs --------------------------------------------------------------------------------------------

    def gathered(self, run: Run) -> bool:
        """Return whether the run, or a run that waits for it, holds answers that would be lost."""
        return gathered(self.bot, run, self.suspended)

    def called_by(self, run: Run) -> tuple[Run, ...]:
        """Return the run, then the runs that wait for it as their sub-flow, up to home."""
        return callers_of(self.bot, run, self.suspended)

    def pop(self) -> Run | None:
        """Take the run below from the stack."""
        if not self.suspended:
            return None
        self.suspended, run = self.suspended[:-1], self.suspended[-1]
        return run


def is_entering(bot: Bot, run: Run, suspended: Sequence[Run]) -> bool:
    """Return whether a run belongs to the entry flow or to a flow that it calls. Its calls are there to get a token."""
    return bot.entry is not None and bot.entry.name in [each.flow for each in (run, *suspended)]


def _known(bot: Bot, document: Document, now: datetime) -> Member:
    """The member now. A token whose life is not known does not count when the bot reads tokens."""
    member = bot.typed(document.at(now).member)
    if bot.tokens is None or document.jwt_token is None or document.token is not None:
        return member
    return attrs.evolve(member, authenticated=False, jwt_token=None)


def has_answers(bot: Bot, run: Run) -> bool:
    """Return whether the run holds answers that would be lost with it."""
    flow = bot.definition(run)
    return any(flow[step].into for step in run.trail if step in flow.by_name)


def gathered(bot: Bot, run: Run, suspended: Sequence[Run]) -> bool:
    """Return whether the run, or a run that waits for it as its sub-flow, holds answers that would be lost."""
    return any(has_answers(bot, held) for held in callers_of(bot, run, suspended))


def callers_of(bot: Bot, run: Run, suspended: Sequence[Run]) -> tuple[Run, ...]:
    """Return the run, then the runs that wait for it as their sub-flow, up to home."""
    chain = [run]
    for below in reversed(suspended):
        if below.waits != Suspended.SUBFLOW or below.flow == bot.home.name:
            break
        chain.append(below)
    return tuple(chain)


def with_step_data(run: Run, data: StepData) -> Run:
    """Return the run with other data."""
    return attrs.evolve(run, flow_data=attrs.evolve(run.flow_data, data=data))
