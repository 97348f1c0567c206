"""A conversation while one turn of it is decided: the stack of runs, the step on the machine, what is said.

A `Conversation` is the working copy of one document for one turn, thrown away with it. A run stands in a state; when
it enters one, `settle` does what the state has to do (say, call, sub-flow, pass on) until one waits. Runs lie on a
stack: below the current one those that wait for it, each for a reason (`Run.waits`):

    "sub"    for the sub-flow that it began              goes on by `done` or `cancelled`
    "under"  while a quick command's flow is above it    is asked again
    "asked"  because the member wanted something else    is offered back by the flow `carry_on`
    "entry"  until the member is known                   goes on when its `requires` holds then, else it is dropped
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import attrs

from vimbiso_fsm import question
from vimbiso_fsm.bot import Bot
from vimbiso_fsm.codec import structure, unstructure
from vimbiso_fsm.commands import CARRY_ON, CarryOn
from vimbiso_fsm.errors import VimbisoError
from vimbiso_fsm.flow import Flow, State
from vimbiso_fsm.flow_audit import AuditStep
from vimbiso_fsm.machine import Fired, WrongCallback
from vimbiso_fsm.messages import Channel, Reply, Text
from vimbiso_fsm.state import Address, Document, FlowData, PendingCall, Run, StepData, Undelivered
from vimbiso_fsm.turn import QUESTION, Becomes, Call, CallPolicy, Member, Refused, Turn
from vimbiso_fsm.versions import asked, finishing, is_unasked

__all__ = ["Conversation", "Stuck", "has_answers", "hashed", "is_entering"]

_COUNTED: Final = frozenset({"attempts", "tries"})
"""What a run counts at the state in which it stands; refusals also while a call judges the answer."""


def hashed(*parts: str) -> str:
    """32 hex digits; no two lists of parts share them."""
    return hashlib.sha256("\0".join([f"{len(part)}:{part}" for part in parts]).encode()).hexdigest()[:32]


def _kept(flow: Flow[Any], data: Any) -> Any:
    """The typed data, where it may stay with the run; None where a callback could change it later."""
    return data if flow.stable(data) else None


class Stuck(VimbisoError):
    """A flow that cannot go on by its own declaration. Attributes: `flow`, `state`, `fault`."""

    def __init__(self, flow: str, state: str, fault: str) -> None:
        self.flow, self.state, self.fault = flow, state, fault
        super().__init__(f"flow {flow!r} is stuck in state {state!r}: {fault}")


class Conversation:
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
        self._typed: dict[str, Any] = {}
        self._ended: Run | None = None
        self._begun = self._passed = 0

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
        data = self._typed.get(run.id)
        if data is None:
            kept, kind = run.flow_data.data.typed, self.bot.definition(run).data
            data = kept if type(kept) is kind else structure(run.flow_data.data.fields, kind)  # another definition's
            self._typed[run.id] = data
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
        return self.bot.say(self.replies, self.member.profile, self.channel)

    def give(self, reasons: Iterable[Refused]) -> None:
        """Say reasons, each once."""
        for reason in reasons:
            self.codes.append(reason.code)
            if reason.words not in self.replies:
                self.say(reason.words)

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

    def pull(self, trigger: str, answer: Any = None, *, reason: Refused | None = None) -> Fired[Any]:
        """Pull a trigger in the current state and settle the new one. When nothing accepted it, `to` is None and only
        the audit knows of the try."""
        run = self.standing
        machine = self.bot.machine(run)
        flow, state = machine.flow, machine.flow[run.step]
        data = self.data(run)
        if state.into and trigger in ("answer", "done"):
            data = flow.data_with(data, state.into, answer)
        turn = Turn(data, self.member, self.channel, self.now, flow.name, state.name, trigger, answer, reason)
        fired = machine.fire(turn)
        self._tried(flow, run.id, state.name, fired.to, trigger, fired.verdicts)
        if fired.to is not None:
            self.trigger = self.trigger or trigger
            self.give(fired.reasons)
            self._move(run, state, fired, fired.to, turn)
            if reason is not None and reason.field and run.trail[-1:] == (fired.to,):
                # The call judged the answer to the question it goes back to, and refused it.
                self.count_refusal(reason, run.flow_data.data.attempts)
            self.settle()
        return fired

    def _move(self, run: Run, state: State[Any], fired: Fired[Any], to: str, turn: Turn[Any]) -> None:
        """Take over what a fired transition made. What was answered can be walked back to, but not over a call that was
        made."""
        self._typed[run.id] = fired.data
        self.member = fired.member
        data = run.flow_data.data
        verdict = {"step": run.step, "ok": True, "code": ""} if turn.trigger == "answer" else data.verdict
        if fired.data is data.typed:
            fields, typed = data.fields, data.typed
        else:
            fields, typed = unstructure(fired.data), _kept(self.bot.definition(run), fired.data)
        data = StepData(data.flow_type, data.channel, data.context, verdict, fields, typed)
        if self._was_made(run, state, turn.reason):
            return self.enter(attrs.evolve(run, made=True, trail=()), to, data)
        answered = self._was_answered(state, turn.trigger)
        self.enter(run, to, data, (*_until(run.trail, run.step), run.step) if answered else run.trail)

    def _was_answered(self, state: State[Any], trigger: str) -> bool:
        """Whether the member has answered what the state asks; a sub-flow asks what its questions ask."""
        if state.flow:
            return trigger == "done" and self._ended is not None and bool(self._ended.trail)
        return state.asks and not state.call and trigger != "timeout"

    def _was_made(self, run: Run, state: State[Any], reason: Refused | None) -> bool:
        """Whether a call with an effect was made in the state, or may have been. One that was refused was not: that is
        returned when nothing was done."""
        if state.flow:
            return self._ended is not None and self._ended.made
        if not (state.call and state.call_policy.effect):
            return False
        done = any((step.run, step.source, step.trigger) == (run.id, run.step, "done") for step in self.steps)
        return done or (reason is not None and reason.code == state.call_policy.given_up.code)

    def enter(self, run: Run, step: str, data: StepData | None = None, trail: tuple[str, ...] | None = None) -> None:
        """Stand in a state from this version on, waiting for nothing else. Coming back to a question on the trail cuts
        the trail there; refusals are counted anew, unless a call is to judge what was answered."""
        flow = self.bot.definition(run)
        state = flow[step]
        data = data or asked(run).flow_data.data
        if data.context:
            over = _COUNTED - {"attempts"} if state.call else _COUNTED
            if over & data.context.keys():
                kept = {name: value for name, value in data.context.items() if name not in over}
                data = attrs.evolve(data, context=kept)
        timeout = state.timeout
        self.run = Run(
            FlowData(run.id, step, data),
            flow.version,
            flow.fingerprint,
            self.version,
            _until(run.trail if trail is None else trail, step),
            made=run.made,
            since=self.now,
            due=self.now + timedelta(seconds=timeout) if timeout else None,
        )

    def settle(self) -> None:
        """Do what the current state has to do, and go on until one waits."""
        run, state = self.standing, self.state
        if state.say is not None:
            self.say(question.text_of(state.say, self.turn(run)))
        if state.final:
            self.leave(cancelled=state.cancels, result=state.result(self.turn(run)) if state.result else None)
        elif state.call:
            self._propose(run, state.call(self.turn(run)) if self.allowed(run) else None)
        elif state.flow:
            self.start(state.flow, state.given(self.turn(run)) if state.given else None)
        elif state.idle:
            self._pass(run)
        else:
            self.ask()

    def _pass(self, run: Run) -> None:
        """Pass a state with nothing to do."""
        self._passed += 1
        if self._passed > self.bot.limits.autos:
            raise Stuck(run.flow, run.step, f"more than {self.bot.limits.autos} states without a question in one turn")
        if self.pull("auto").to is None:
            raise Stuck(run.flow, run.step, "no 'auto' transition accepts")

    def _propose(self, run: Run, proposed: Call[Any] | None) -> None:
        """Write a call down, already in the hands of whoever commits it; it is run once the turn is stored."""
        if proposed is None:
            return
        pending = PendingCall(
            key=hashed("call", run.id, run.step, str(run.entered)),
            service=proposed.service,
            method=proposed.method,
            arguments={name: unstructure(value) for name, value in proposed.arguments.items()},
            root=self.root,
            leased_until=self.now,
            tries=run.flow_data.data.tries + 1,
            renewed=self.member.jwt_token not in (None, self.before.jwt_token),  # there is no newer one to be had
        )
        self._make(pending, proposed)

    def take_up(self, pending: PendingCall) -> None:
        """Take a call up again: the same key, a new lease."""
        self.kind = "call"
        self._make(attrs.evolve(pending, again_at=None, tries=pending.tries + 1, renewed=False))

    def make_renewed(self, pending: PendingCall, member: Member) -> None:
        """Make the call with the token that the member has now; unless what the flow requires does not hold for it.
        What may have been made is asked for all the same. What is made after a login goes on counting its tries."""
        sure, self.member, self.pending, run = not self.in_doubt, member, None, self.standing
        data = run.flow_data.data
        counted = _with_data(run, attrs.evolve(data, context={**data.context, "tries": pending.tries}))
        if not sure or self.allowed(counted):
            self._make(attrs.evolve(pending, renewed=True))

    def with_token(self, answer: Any) -> Member:
        """The member with the token that a renewal answered.

        Raises: WrongCallback.
        """
        assert self.bot.tokens is not None
        turn = attrs.evolve(self.turn(self.standing), answer=answer, trigger="done")
        becomes: object = self.bot.tokens.renewed(turn)
        if not isinstance(becomes, Becomes):
            raise WrongCallback("Tokens.renewed", type(becomes).__name__, "turn.becomes(member=…)")
        return becomes.member

    def renew_for(self, pending: PendingCall) -> None:
        """Ask for a new token, and make the call with it: the one it had was not accepted."""
        self._make(pending, renews=True)

    def _make(self, pending: PendingCall, proposed: Call[Any] | None = None, *, renews: bool = False) -> None:
        """Have a call made by whoever commits this turn. It is in their hands for as long as it can take; with a token
        that will not last, a new one is asked for first."""
        tokens, policy = self.bot.tokens, self.policy
        needed = not pending.renewed and not is_entering(self.bot, self.standing, self.suspended)
        self.renews = tokens is not None and (renews or (needed and self.token_ends(tokens.margin)))
        lease = policy.lease + (QUESTION.lease if self.renews else 0)
        self.pending = attrs.evolve(pending, leased_until=self.now + timedelta(seconds=lease))
        if tokens is not None and self.renews:
            self.call = tokens.renew(self.turn(self.standing))
        else:
            self.call = proposed or Call(pending.service, pending.method, pending.arguments, stored=True)

    @staticmethod
    def with_answers(run: Run, answers: Sequence[str]) -> Run:
        """The run with answers it is to be given as soon as it asks; with none, without them."""
        data = run.flow_data.data
        context = {name: value for name, value in data.context.items() if name != "answers"}
        return _with_data(run, attrs.evolve(data, context={**context, "answers": [*answers]} if answers else context))

    def fail(self, reason: Refused) -> None:
        """Route a failed call. A flow that has no way for it is left, for nobody may be stranded."""
        self.pending = None
        self.give([reason])
        if self.pull("failed", reason=reason).to is None:
            self.leave(cancelled=True)

    def count_refusal(self, reason: Refused, before: int) -> None:
        """Note a refused answer at the current question, one more than `before` in a row. Every so many lead to help,
        then to the menu."""
        run, attempts, limits = self.standing, before + 1, self.bot.limits
        data = run.flow_data.data
        verdict = {"step": run.step, "ok": False, "code": reason.code}
        self.run = _with_data(run, attrs.evolve(data, context={**data.context, "attempts": attempts}, verdict=verdict))
        if attempts % limits.menu == 0:
            self.say(Text("limits.menu"))
        elif attempts % limits.help == 0:
            self.say_help()

    def say_help(self) -> None:
        """The current question's own help, when the catalogue has it, and the words that always work."""
        key = f"{self.standing.flow}.{self.standing.step}.help"
        if key in self.bot.catalogue:
            self.say(Text(key))
        self.say(Text("help.words"))

    # The stack of runs --------------------------------------------------------------------------------------------

    def start(self, flow: Flow[Any], data: Any = None) -> bool:
        """Begin a run of `flow` over the current one. False when `requires` refused and something else was begun."""
        if self.run is not None:
            waits = self.run.waits or ("sub" if self.state.flow else "under")
            self.suspended = (*self.suspended, attrs.evolve(self.run, waits=waits))
        run = self._begin(flow, flow.data() if data is None else data)
        if not self.allowed(run):
            return False
        self.settle()
        return True

    def _tried(
        self,
        flow: Flow[Any],
        run: str,
        source: str,
        dest: str | None,
        trigger: str,
        guards: tuple[tuple[str, str], ...] = (),
    ) -> None:
        """Note a step for the audit, with the declaration that decided it."""
        state = flow[dest] if dest is not None else None
        effect = state is not None and state.call is not None and state.call_policy.effect
        step = AuditStep(flow.name, run, source, dest, trigger, guards, flow.version, flow.fingerprint, effect)
        self.steps.append(step)

    def _begin(self, flow: Flow[Any], data: Any) -> Run:
        """A run of `flow` in its first state."""
        if not isinstance(data, flow.data):
            raise TypeError(f"flow {flow.name!r} is given a {type(data).__name__}, it takes a {flow.data.__name__}")
        self._begun += 1
        if self._begun > self.bot.limits.autos:
            raise Stuck(flow.name, flow.initial, f"more than {self.bot.limits.autos} flows were begun in one turn")
        run_id = f"{flow.name}:{hashed('run', self.token, str(self._begun))[:16]}"
        step_data = StepData(
            flow.name, Address(*self.channel.address), fields=unstructure(data), typed=_kept(flow, data)
        )
        self._typed[run_id] = data
        self._tried(flow, run_id, "", flow.initial, "start")
        fresh = Run(FlowData(run_id, flow.initial, step_data), flow.version, flow.fingerprint, self.version)
        self.enter(fresh if flow is self.bot.flow(flow.name) else finishing(fresh), flow.initial)
        return self.standing

    def go_home(self) -> None:
        """Begin the home flow, everything else being over."""
        self.run, self.suspended = None, ()
        self.start(self.bot.home)

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

    def park(self, run: Run) -> None:
        """Suspend a run at its latest question: what was confirmed before will be confirmed again."""
        if self.bot.definition(run)[run.step].call and run.trail:
            self.enter(run, run.trail[-1])
            run = self.standing
        self.suspended = (*self.suspended, attrs.evolve(run, waits="asked"))
        self.run = None

    def offer_back(self, run: Run) -> None:
        """Suspend a run and ask whether to carry on with it."""
        self.park(run)
        self.start(CARRY_ON, CarryOn(left=run.flow))

    def abandon(self) -> None:
        """End the current run and the flows that called it, up to home. Nothing is sent."""
        while self.suspended and self.suspended[-1].waits == "sub" and self.suspended[-1].flow != self.bot.home.name:
            self.pop()
        self.leave(cancelled=True)

    def leave(self, *, cancelled: bool, result: Any = None) -> None:
        """The current run is over; whoever waited below it goes on."""
        ended, self.run = self.run, None
        self._ended = ended
        below = self.pop()
        if below is None:
            if ended is None or cancelled or ended.flow != self.bot.home.name:
                self.go_home()
            # else home itself has come to its end: the next message begins it anew
        elif below.waits == "sub":
            self.run = attrs.evolve(below, waits="")
            if self.pull("cancelled" if cancelled else "done", result).to is None:
                raise Stuck(below.flow, below.step, "no transition takes the end of its sub-flow")
        elif cancelled and below.waits != "under":
            self.run = below
            self.abandon()
        else:
            self._resume(attrs.evolve(below, waits=""), entered=below.waits == "entry")

    def pop(self) -> Run | None:
        """The run below, taken from the stack."""
        if not self.suspended:
            return None
        self.suspended, run = self.suspended[:-1], self.suspended[-1]
        return run

    def _resume(self, run: Run, *, entered: bool) -> None:
        """Go on with a suspended run where it stands. `entered`: the entry flow has just been through; a run that it
        did not help is dropped, for asking again would only go round."""
        if run.due:  # its time stood still
            timeout = self.bot.definition(run)[run.step].timeout
            run = attrs.evolve(run, due=self.now + timedelta(seconds=timeout) if timeout else None)
        self.run = run
        if is_unasked(run):
            self.enter(run, run.step)
            run = self.standing
        refusals = self.refusals(run)
        if not refusals:
            self.settle()
        elif entered:
            self.give(refusals)
            self.run, self.suspended = None, ()
        else:
            self.allowed(run)

    # What flows require -------------------------------------------------------------------------------------------

    def refusals(self, run: Run) -> list[Refused]:
        """What the run's flow requires and does not get; for an offer to carry on, what the flow left open requires."""
        if run.flow == CARRY_ON.name and self.suspended:
            run = self.suspended[-1]
        turn = self.turn(run)
        if self.token_ends():  # judged as they will be: the token is renewed before the call that needs it
            turn = attrs.evolve(turn, member=attrs.evolve(self.member, authenticated=True))
        found: list[Refused] = []
        for guard in self.bot.definition(run).required:
            verdict = guard(turn)
            if verdict is not True:
                found.append(verdict if isinstance(verdict, Refused) else Refused("choice.unknown"))
        return found

    def token_ends(self, margin: float = 0) -> bool:
        """Whether the member's token has run out, or will within so many seconds, and can be renewed."""
        life = self.before.token
        known = self.bot.tokens is not None and life is not None
        kept = self.member.jwt_token is not None and self.member.jwt_token == self.before.jwt_token
        return known and kept and life is not None and life.expires <= self.now + timedelta(seconds=margin)

    def allowed(self, run: Run) -> bool:
        """Whether the current run may go on. If not: through the entry flow and back when the member is not known yet,
        else the reason is said and the run is over."""
        refusals = self.refusals(run)
        if not refusals:
            return True
        entry = self.bot.entry
        known = self.member.authenticated or self.token_ends()
        if entry is not None and not known and run.flow != entry.name:
            self.run = attrs.evolve(run, waits="entry")
            self.start(entry)
            return False
        self.give(refusals)
        self.status = "refused"
        self.run = None
        if self.suspended:
            self.leave(cancelled=True)
        return False


def is_entering(bot: Bot, run: Run, suspended: Sequence[Run]) -> bool:
    """Whether a run is the entry flow's, or of a flow that it calls: its calls are there to get a token."""
    return bot.entry is not None and bot.entry.name in [each.flow for each in (run, *suspended)]


def _known(bot: Bot, document: Document, now: datetime) -> Member:
    """The member as they are now. A token of which nothing is known, though the bot reads them, is not believed."""
    member = document.at(now).member
    if bot.tokens is None or document.jwt_token is None or document.token is not None:
        return member
    return attrs.evolve(member, authenticated=False, jwt_token=None)


def has_answers(bot: Bot, run: Run) -> bool:
    """Whether the run holds answers that would be lost with it."""
    flow = bot.definition(run)
    return any(flow[step].into for step in run.trail if step in flow.by_name)


def _until(trail: tuple[str, ...], step: str) -> tuple[str, ...]:
    return trail[: trail.index(step)] if step in trail else trail


def _with_data(run: Run, data: StepData) -> Run:
    return attrs.evolve(run, flow_data=attrs.evolve(run.flow_data, data=data))
