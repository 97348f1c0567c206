"""Steps on the machine: fire a trigger, run to completion, start, suspend and leave flows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import attrs

from vimbiso_fsm.audit.entries import AuditStep
from vimbiso_fsm.document.document import (
    NARROWED,
    Fields,
    Run,
    Suspended,
    asked,
    finishing,
    needs_asking,
    whole,
)
from vimbiso_fsm.document.ids import hashed, stamp
from vimbiso_fsm.document.json_codec import dumps_unstructured
from vimbiso_fsm.engine import question
from vimbiso_fsm.engine.draft import Draft, NotNow, settle
from vimbiso_fsm.engine.passing import hand_over
from vimbiso_fsm.engine.pending import propose, token_ends
from vimbiso_fsm.engine.refusals import count_refusal, say_reasons
from vimbiso_fsm.engine.reminders import change_reminders, checked_changes
from vimbiso_fsm.errors import Stuck, WrongCallback
from vimbiso_fsm.flow.callbacks import call_of, called, text_of, verdict_of
from vimbiso_fsm.flow.calls import Call
from vimbiso_fsm.flow.carry_on import CARRY_ON, CarryOn
from vimbiso_fsm.flow.machine import AnyPosition, Fired
from vimbiso_fsm.flow.privacy import without
from vimbiso_fsm.flow.state import Declared
from vimbiso_fsm.flow.timeouts import fires_at
from vimbiso_fsm.flow.turn import Turn
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.replies import Text

_OF_A_STATE: Final = frozenset({"attempts", "tries", NARROWED})
"""The marks of a run in its state. Refusals are also counted while a call checks the answer."""
BUSY: Final = Refused("call.busy")
"""The reason of `failed` for a call that is not made because its service takes none now."""
AGAIN: Final = Refused("call.again")
"""The reason of `failed` for an effect that is not made a second time without a word of the member."""


def fire(draft: Draft, trigger: str, answer: Any = None, *, reason: Refused | None = None) -> Fired[Any]:
    """Fire a trigger in the current state and run to completion.

    Args:
        draft: The draft of the turn.
        trigger: The trigger.
        answer: The answer, or the result of a call or sub-flow, which the state's `into` takes.
        reason: The reason of a `failed` call.

    Returns:
        What the machine did. If no transition accepted the trigger, `to` is None and only the audit records the try.
    """
    run = draft.run
    assert run is not None
    here = draft.bot.versions[run.flow, run.version].positions[run.step]
    flow, state = here.flow, here.state
    data = draft.typed[run.id] if run.id in draft.typed else draft.data(run)
    if state.into and trigger in ("answer", "done"):
        data = flow.data_with(data, state.into, answer)
    turn = Turn(
        data, draft.member, draft.channel, draft.now, flow.name, state.name, trigger, answer, reason,
        message=draft.message, by=draft.by, zone_of=draft.bot.zone_for, proof_of=draft.bot.proves,
        language_of=draft.bot.language,
    )  # fmt: skip
    fired = here.fire(turn)
    version, print_ = flow.version, flow.fingerprint
    to = here.machine.positions[fired.to] if fired.to is not None else None
    dest, effect = (None, False) if to is None else (to.name, to.has_effect)
    draft.steps.append(AuditStep(flow.name, run.id, state.name, dest, trigger, fired.verdicts, version, print_, effect))
    if to is not None:
        draft.trigger = draft.trigger or trigger
        if fired.reasons:
            say_reasons(draft, fired.reasons)
        _take_over(draft, run, here, fired, to, turn)
        if fired.reminders:
            place = f"prepare of {trigger!r} in {flow.name}.{state.name}"
            change_reminders(draft, checked_changes(fired.reminders, place), turn, place)
        if to.state.reminds is not None:
            _remind(draft, to)
        if reason is not None and reason.field and run.trail[-1:] == (to.name,):
            # The call has checked the answer to the question that the run goes back to, and has refused it.
            count_refusal(draft, reason, run.attempts)
        run_to_completion(draft)
    return fired


def _take_over(draft: Draft, run: Run, here: AnyPosition, fired: Fired[Any], to: AnyPosition, turn: Turn[Any]) -> None:
    """Take over the result of a fired transition. `back` never leads beyond a call that was made."""
    after = fired.turn
    if after.member is not draft.member:
        draft.take_member(after.member)
    step = run.step
    verdict = {"step": step, "ok": True, "code": ""} if turn.trigger == "answer" else run.verdict
    fields, typed = run.fields, run.typed
    if after.data is not typed:
        draft.typed[run.id], fields, typed = settle(here.flow, after.data)
    trail = run.trail
    if (here.has_effect or here.state.flow) and _was_made(draft, run, here, turn.reason):
        run, trail = attrs.evolve(run, made=True), ()
    elif turn.trigger in here.answers or (here.state.flow and _was_flow_answered(draft, turn.trigger)):
        trail = (*(trail[: trail.index(step)] if step in trail else trail), step)
    _enter(draft, run, to, trail, verdict, (fields, typed))


def _remind(draft: Draft, to: AnyPosition) -> None:
    """Take over the reminders that a state proposes when it is entered."""
    reminds = to.state.reminds
    if reminds is not None:
        turn = draft.turn(draft.standing)
        place = called("reminds", reminds, turn)
        change_reminders(draft, checked_changes(reminds(turn), place), turn, place)


def _was_flow_answered(draft: Draft, trigger: str) -> bool:
    """Whether the member has answered a question of the sub-flow that has ended, which counts as one question."""
    return trigger == "done" and draft.ended is not None and bool(draft.ended.trail)


def _was_made(draft: Draft, run: Run, here: AnyPosition, reason: Refused | None) -> bool:
    """Whether a call with an effect was made in the state, or may have been. A refused call had no effect."""
    if here.state.flow:
        return draft.ended is not None and draft.ended.made
    done = any((step.run, step.source, step.trigger) == (run.id, run.step, "done") for step in draft.steps)
    return done or (reason is not None and reason.code == here.state.call_policy.given_up.code)


def enter(draft: Draft, run: Run, step: str) -> None:
    """Enter a state of a run's flow, with the data of the run as it is. See `_enter`."""
    _enter(draft, run, draft.bot.machine(run).positions[step])


def _enter(
    draft: Draft,
    run: Run,
    to: AnyPosition,
    trail: tuple[str, ...] | None = None,
    verdict: Fields | None = None,
    filled: tuple[Fields, object] | None = None,
) -> None:
    """Enter a state.

    A question that is on the trail cuts the trail there. Refusals are counted anew, unless a call checks the answer.
    The timer of the state is set when its question is asked, see `set_timer`.

    Args:
        draft: The draft of the turn.
        run: The run.
        to: The state to enter.
        trail: The questions that were answered so far; by default, those of the run.
        verdict: The verdict on the answer that leads there; by default, that of the run.
        filled: The data of the run, plain and typed, if the state is entered by a transition; by default, as it is.
    """
    flow, state, step = to.flow, to.state, to.name
    fields, typed = filled or (run.fields, run.typed)
    trail = run.trail if trail is None else trail
    context = run.context
    if context and not filled:
        context = asked(run).context
    if context:
        over = _OF_A_STATE - {"attempts"} if state.call else _OF_A_STATE
        context = {name: value for name, value in context.items() if name not in over}
    if to.is_fenced:
        known = without(fields, flow.secrets) if flow.secrets else fields
        fence = stamp(f"{draft.token} {run.id} {step}", dumps_unstructured(known), draft.bot.digests.words_key)
    else:
        fence = ""
    draft.run = Run(
        run.id,
        run.flow,
        step,
        run.channel,
        context,
        run.verdict if verdict is None else verdict,
        fields,
        typed,
        flow.version,
        flow.fingerprint,
        draft.version,
        trail[: trail.index(step)] if step in trail else trail,
        made=run.made,
        since=draft.now if state.timeout is None else None,
        stamp=fence,
    )


def enter_again(draft: Draft, run: Run) -> None:
    """Enter a run's state again, because its question is to be asked. A timer that it has goes on."""
    enter(draft, run, run.step)
    if run.due is not None:
        draft.run = attrs.evolve(draft.standing, since=draft.now, due=run.due)


def set_timer(draft: Draft) -> None:
    """Set the timer of the current state, unless it was set or has fired since the state was entered.

    A timeout that has led to a second effect is not repeated before the member has said something.
    """
    run = draft.standing
    timeout = draft.state.timeout if run.since is None else None
    if timeout is not None:
        due = None if _waits_for_a_word(draft, run) else fires_at(timeout, draft.turn(run))
        draft.run = attrs.evolve(run, since=draft.now, due=due)


def _waits_for_a_word(draft: Draft, run: Run) -> bool:
    """Whether the run's state has timed out in this turn, and an effect was not made a second time since."""
    timed_out = any(
        (step.run, step.source, step.trigger) == (run.id, run.step, "timeout") and step.dest is not None
        for step in draft.steps
    )
    return timed_out and AGAIN.code in draft.codes


def time_out(draft: Draft) -> bool:
    """Fire `timeout` in the current state, and return whether a transition accepted it.

    If none did, the timer is cleared.
    """
    run = draft.standing
    if fire(draft, "timeout").to is None:
        draft.run = attrs.evolve(run, due=None)
        return False
    draft.kind = "timer"
    return True


def _times_out_at_once(draft: Draft) -> bool:
    """Whether the current state is a question whose timer is due, and has fired.

    Raises:
        Stuck: Too many states were passed in this turn.
    """
    set_timer(draft)
    run = draft.standing
    if run.due is None or run.due > draft.now:
        return False
    _count_passed(draft, run)
    return time_out(draft)


def run_to_completion(draft: Draft) -> None:
    """Carry out the current state, and go on until a state waits for the member or for a call."""
    run = draft.run
    assert run is not None
    here = draft.bot.versions[run.flow, run.version].positions[run.step]
    state = here.state
    if here.is_question and (draft.off_session or state.timeout is not None or run.due is not None):
        if draft.off_session and (_rests_at_home(draft, run) or not allowed(draft, run)):
            return
        if _times_out_at_once(draft):
            return
        run = draft.standing
    if state.say is not None:
        draft.say(text_of("say", state.say, draft.turn(run)))
    if state.hands is not None:
        hand_over(draft, draft.bot.inbox_names[state.hands])
    if state.final:
        leave(draft, cancelled=state.cancels, output=state.output(draft.turn(run)) if state.output else None)
    elif state.call:
        if allowed(draft, run):
            _call(draft, run, state.call)
    elif state.flow:
        start(draft, state.flow, state.input(draft.turn(run)) if state.input else None)
    elif here.idle:
        pass_on(draft, run)
    else:
        draft.run = whole(run) if run.context else run
        ask_question(draft)


def ask_question(draft: Draft) -> None:
    """Ask the current question. If the member can answer nothing, take the `empty` transition instead.

    Raises:
        Stuck: Too many states were passed in this turn.
    """
    if draft.run is not None and draft.run.since is None:
        set_timer(draft)
    run = draft.run
    if run is not None:
        here = draft.bot.versions[run.flow, run.version].positions[run.step]
        if here.may_be_empty and question.is_empty(here, draft.turn(run)):
            _count_passed(draft, run)
            if fire(draft, "empty").to is not None:
                return
    draft.ask()


def _call(draft: Draft, run: Run, proposed: Callable[[Turn[Any]], Call[Any]]) -> None:
    """Propose the call of the current state. A second effect there waits for a word of the member.

    Raises:
        NotNow: The service is busy, and the member can stay at the question.
        Stuck: Too many states were passed in this turn.
    """
    before = draft.effects
    if draft.policy.effect and draft.place in before:
        return fail(draft, AGAIN)
    propose(draft, run, call_of(proposed, draft.turn(run)))
    if draft.call is None:  # a service is busy, and nothing was done
        if draft.stays:
            raise NotNow
        draft.effects = before
        _count_passed(draft, run)
        fail(draft, BUSY)


def pass_on(draft: Draft, run: Run) -> None:
    """Leave a state that has nothing to do by its `auto` transition.

    Raises:
        Stuck: No transition accepts, or too many states were passed in this turn.
    """
    _count_passed(draft, run)
    if fire(draft, "auto").to is None:
        raise Stuck(run.flow, run.step, "no 'auto' transition accepts", "declare one without guards")


def _count_passed(draft: Draft, run: Run) -> None:
    draft.passed += 1
    if draft.passed > draft.bot.limits.autos:
        fault = f"more than {draft.bot.limits.autos} states without a question in one turn"
        raise Stuck(run.flow, run.step, fault, "let one of them ask, or raise Limits.autos")


def _rests_at_home(draft: Draft, run: Run) -> bool:
    """Whether only home is left, without a session; its run is dropped then, because the next message leads home."""
    rests = draft.off_session and draft.ended is not None and run.flow == draft.bot.home.name and not draft.keeps(run)
    if rests:
        draft.run = None
    return rests


def fail(draft: Draft, reason: Refused) -> None:
    """Fire `failed` in the state of a call. If no transition accepts it, leave the flow."""
    draft.pending = None
    say_reasons(draft, [reason])
    if fire(draft, "failed", reason=reason).to is None:
        leave(draft, cancelled=True)


def start(draft: Draft, flow: Declared, data: Any = None) -> bool:
    """Start a run of a flow above the current run.

    Args:
        draft: The draft of the turn.
        flow: The flow.
        data: Its input; by default, its data class without arguments.

    Returns:
        Whether the flow may run. If its `requires` refuses, another flow was started or resumed.
    """
    if draft.run is not None:
        waits = draft.run.waits or (Suspended.SUBFLOW if draft.state.flow else Suspended.INTERRUPTED)
        draft.suspended = (*draft.suspended, attrs.evolve(draft.run, waits=waits))
    run = _begin(draft, flow, flow.data() if data is None else data)
    if not allowed(draft, run):
        return False
    run_to_completion(draft)
    return True


def _begin(draft: Draft, flow: Declared, data: Any) -> Run:
    """Begin a run of a flow in its first state."""
    if not isinstance(data, flow.data):
        raise WrongCallback(f"the input of flow {flow.name!r}", type(data).__name__, f"a {flow.data.__name__}")
    draft.begun += 1
    if draft.begun > draft.bot.limits.autos:
        fault = f"more than {draft.bot.limits.autos} flows were begun in one turn"
        raise Stuck(flow.name, flow.initial, fault, "let one of them ask, or raise Limits.autos")
    run_id = f"{flow.name}:{hashed('run', draft.token, str(draft.begun))[:16]}"
    draft.typed[run_id], fields, typed = settle(flow, data)
    channel = draft.channel.address.without_account
    fresh = Run(run_id, flow.name, flow.initial, channel, fields=fields, typed=typed, version=flow.version)
    to = draft.bot.position(fresh)
    step = AuditStep(flow.name, run_id, "", to.name, "start", (), flow.version, flow.fingerprint, to.has_effect)
    draft.steps.append(step)
    _enter(draft, fresh if flow is draft.bot.flow(flow.name) else finishing(fresh), to)
    _remind(draft, to)
    return draft.standing


def start_above(draft: Draft, flow: Declared, data: Any = None) -> bool:
    """Start a run of a flow above all that is open, also above a run that waits to be offered back. See `start`."""
    if draft.run is None and draft.suspended and draft.suspended[-1].waits == Suspended.OFFERED_BACK:
        draft.suspended = (*draft.suspended[:-1], attrs.evolve(draft.suspended[-1], waits=Suspended.INTERRUPTED))
    return start(draft, flow, data)


def open_next(draft: Draft, flow: Declared, data: Any = None) -> None:
    """Make a run of a flow that begins when the member has come home."""
    current = draft.run
    run = _begin(draft, flow, flow.data() if data is None else data)
    draft.suspended = (*draft.nexts, attrs.evolve(run, waits=Suspended.NEXT), *draft.waiting)
    draft.run = current


def begin_next(draft: Draft) -> None:
    """Begin the first of the next runs, if the member has come home in this turn. It is begun above home."""
    run = draft.run
    if draft.pending is not None or draft.off_session or draft.handed is not None:
        return
    if run is not None and not draft.at_home:
        return
    if run is not None and (draft.holds_answers(run) or run.waits):
        return
    first, *others = draft.nexts
    waiting = draft.waiting
    if run is not None:
        if draft.state.is_question and draft.replies:
            draft.replies.pop()  # the question of home, which is asked again afterwards
        waiting = (*waiting, attrs.evolve(run, waits=Suspended.INTERRUPTED))
    draft.suspended = (*others, *waiting)
    draft.say(Text("flow.next", flow=Text(f"{first.flow}.title")))
    resume(draft, to_be_entered(draft, first), entered=False)


def to_be_entered(draft: Draft, run: Run) -> Run:
    """Return a run with its first state entered now."""
    enter(draft, attrs.evolve(run, waits=""), run.step)
    return draft.standing


def go_home(draft: Draft) -> None:
    """End every run but the next ones, and start the home flow."""
    draft.run, draft.suspended = None, draft.nexts
    start(draft, draft.bot.home)


def park(draft: Draft, run: Run) -> None:
    """Suspend a run at its latest question, so that a confirmed call has to be confirmed again."""
    if draft.bot.definition(run)[run.step].call and run.trail:
        enter(draft, run, run.trail[-1])
        run = draft.standing
    draft.suspended = (*draft.suspended, attrs.evolve(run, waits=Suspended.OFFERED_BACK))
    draft.run = None


def offer_back(draft: Draft, run: Run) -> None:
    """Suspend a run and ask whether to carry on with it."""
    park(draft, run)
    start(draft, CARRY_ON, CarryOn(left=run.flow))


def abandon(draft: Draft) -> None:
    """End the current run and the flows that called it, up to home, without an effect."""
    while (
        draft.suspended
        and draft.suspended[-1].waits == Suspended.SUBFLOW
        and draft.suspended[-1].flow != draft.bot.home.name
    ):
        draft.pop()
    leave(draft, cancelled=True)


def leave(draft: Draft, *, cancelled: bool, output: Any = None) -> None:
    """End the current run; the run that waits below it goes on.

    Args:
        draft: The draft of the turn.
        cancelled: Whether the run ends without an effect.
        output: The output for the flow that called it.

    Raises:
        Stuck: The calling flow has no transition that accepts the end of its sub-flow.
    """
    ended, draft.run = draft.run, None
    draft.ended = ended
    below = draft.pop()
    if draft.off_session and (below is None or below.waits in (Suspended.INTERRUPTED, Suspended.OFFERED_BACK)):
        # The member is away. Their next message leads home, and offers the suspended run back.
        while below is not None and below.flow == draft.bot.home.name and not draft.keeps(below):
            below = draft.pop()
        draft.suspended = (*draft.suspended, *([below] if below else []))
    elif below is None:
        if ended is None or cancelled or ended.flow != draft.bot.home.name:
            go_home(draft)
        # Home has reached its end. The next message starts it again.
    elif below.waits == Suspended.SUBFLOW:
        draft.run = attrs.evolve(below, waits="")
        trigger = "cancelled" if cancelled else "done"
        if fire(draft, trigger, output).to is None:
            raise Stuck(below.flow, below.step, f"no {trigger!r} transition accepts", "declare one without guards")
    elif cancelled and below.waits != Suspended.INTERRUPTED:
        draft.run = below
        abandon(draft)
    else:
        resume(draft, attrs.evolve(below, waits=""), entered=below.waits == Suspended.LOGIN)


def resume(draft: Draft, run: Run, *, entered: bool) -> None:
    """Go on with a suspended run. Its timer has gone on meanwhile, and fires if it is due.

    If the entry flow has just ended (`entered`) and `requires` still refuses, the run is dropped, because another login
    would lead to the same refusal.
    """
    draft.run = run
    if needs_asking(run):
        enter_again(draft, run)
        run = draft.standing
    refusals = unmet_requirements(draft, run)
    if not refusals:
        run_to_completion(draft)
    elif entered:
        say_reasons(draft, refusals)
        draft.run, draft.suspended = None, draft.nexts
    else:
        allowed(draft, run)


def unmet_requirements(draft: Draft, run: Run) -> list[Refused]:
    """Return the refusals of the flow's `requires`. An offer to carry on has those of the flow that it offers."""
    if run.flow == CARRY_ON.name and draft.suspended:
        run = draft.suspended[-1]
    turn = draft.turn(run)
    if token_ends(draft):  # the token will be renewed before the call that needs it
        turn = attrs.evolve(turn, member=attrs.evolve(draft.member, authenticated=True))
    found: list[Refused] = []
    for guard in draft.bot.definition(run).required:
        verdict = verdict_of(guard, turn)
        if verdict is not True:
            found.append(verdict if isinstance(verdict, Refused) else Refused("choice.unknown"))
    return found


def allowed(draft: Draft, run: Run) -> bool:
    """Return whether a run may go on as the current one.

    If not, a member who is not logged in goes through the entry flow first. For another member, the reasons are said,
    and the run ends.
    """
    refusals = unmet_requirements(draft, run)
    if not refusals:
        return True
    if _rests_at_home(draft, run):
        return False
    entry = draft.bot.entry
    known = draft.member.authenticated or token_ends(draft)
    if entry is not None and not known and run.flow != entry.name:
        draft.run = attrs.evolve(run, waits=Suspended.LOGIN)
        start(draft, entry)
        return False
    say_reasons(draft, refusals)
    draft.status = "refused"
    draft.run = None
    if draft.waiting:
        leave(draft, cancelled=True)
    return False
