"""The turn of what another system gives to a member: words, a flow, or a trigger.

`hindrance` says why it cannot be taken in now, so that nothing is stored and the same key may be given again. What is
taken in answers no question and renews no session.

a trigger    fired in the current state if it declares the trigger. Without a session it is fired in a suspended run
             that waits for it, apart from the others, as a timer is. Otherwise the trigger of the bot decides. A call
             on its way, or a run that waits under another one in a session, makes it wait.
a flow       begins at once where the member is at home or nothing is open, and where the flow interrupts the open one;
             otherwise it is the next one, and begins when the member has come home
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import attrs

from vimbiso_fsm.document.document import Reminder, Run, Suspended
from vimbiso_fsm.document.ids import hashed
from vimbiso_fsm.document.replies_codec import replies_from_raw
from vimbiso_fsm.document.typed_data import structure
from vimbiso_fsm.engine.draft import Draft, is_entering
from vimbiso_fsm.engine.events import ReminderDue
from vimbiso_fsm.engine.handover import UNREACHABLE, hinders_person, take_person
from vimbiso_fsm.engine.interpreter import fire, open_next, start_above
from vimbiso_fsm.engine.reminders import due_reminder
from vimbiso_fsm.engine.schedule import is_full
from vimbiso_fsm.engine.session import is_session_over
from vimbiso_fsm.engine.timers import apart
from vimbiso_fsm.engine.told import of_bot, take_reacted
from vimbiso_fsm.errors import Unreadable
from vimbiso_fsm.flow.carry_on import CARRY_ON
from vimbiso_fsm.flow.flow import AnyFlow
from vimbiso_fsm.flow.reactions import react
from vimbiso_fsm.flow.state import sequence
from vimbiso_fsm.flow.triggers import DECLINED, NO_RIGHT, given_data
from vimbiso_fsm.messages.given import (
    FlowOpened,
    Given,
    HandedBack,
    HandedOver,
    PersonSaid,
    TriggerPulled,
    WordsGiven,
)

_KINDS: Final = {WordsGiven: "tell", FlowOpened: "open", PersonSaid: "person", HandedOver: "handed"}
"""The kinds of the audit entries of what has no sense where it cannot reach the member."""


def take_reminder_due(draft: Draft, event: ReminderDue) -> None:
    """Give a reminder that is due: say its words, and open its flow as `manager.open` does.

    One that has lost its sense meanwhile, that would not reach the member, or whose flow the bot has no longer, is
    dropped, which the audit records.
    """
    reminder = due_reminder(draft, event)
    if reminder is None:
        return draft.ignore()
    draft.kind, draft.detail = "reminder", {"reminder": reminder.key}
    if reminder.until is not None and draft.now > reminder.until:
        draft.detail |= {"dropped": "too late"}
        return None
    if draft.before.reached_at() is None:  # as what another system gives is refused
        draft.detail |= {"dropped": UNREACHABLE}
        return None
    for reply in replies_from_raw(reminder.replies):
        draft.say(reply)  # type: ignore[arg-type]  # only what can be said was kept
    if reminder.flow:
        _open_kept(draft, reminder)


def _open_kept(draft: Draft, reminder: Reminder) -> None:
    """Open the flow of a reminder. Data that the flow reads no longer gives way to its defaults."""
    machine = draft.bot.machines.get(reminder.flow)
    if machine is None:
        draft.detail |= {"dropped": "no such flow"}
        return
    data = None
    if reminder.data:
        try:
            data = structure(reminder.data, machine.flow.data)
        except Unreadable:
            draft.detail |= {"data": "defaults"}
    open_flow(draft, machine.flow, data)


def hindrance(draft: Draft, given: Given) -> str:
    """Return why something cannot be taken in now; "" if nothing hinders it.

    It is "busy" where the same key may be given again in a while: a call is on its way, the flow that the trigger is
    for waits under another one, or too many flows wait. It is "unknown flow" or "unknown trigger" where the bot has
    none, "not handed" or "handed" where a person has no say or has one already, "no transition" where the member stands
    elsewhere, and a sentence that begins with "data" where the data is not of the declared type.
    """
    match given:
        case HandedOver() | HandedBack() | PersonSaid():
            return hinders_person(draft, given)
        case FlowOpened() | TriggerPulled() if draft.handed is not None:  # the run stands where it stands
            return "busy"
        case FlowOpened():
            return _hinders_flow(draft, given)
        case TriggerPulled():
            return _hinders_trigger(draft, given)
        case _:
            return ""


def take_given(draft: Draft, given: Given) -> None:
    """Take something in that nothing hinders.

    What is to be said or asked is refused where it would not reach the member, and its key is used up: what was meant
    for now is not said in a week. A trigger is taken, because it tells a fact, such as a payment; what it says is lost.

    Args:
        draft: The draft of the turn.
        given: What is given.
    """
    if hindrance(draft, given):
        return draft.ignore()
    if not isinstance(given, HandedBack | TriggerPulled) and draft.before.reached_at(draft.named) is None:
        draft.kind = _KINDS[type(given)]
        draft.detail = {"by": given.by} if isinstance(given, PersonSaid | HandedOver) else {}
        return _refuse(draft, UNREACHABLE)
    match given:
        case WordsGiven():
            draft.kind = "tell"
            draft.say(given.text)
        case HandedOver() | HandedBack() | PersonSaid():
            take_person(draft, given)
        case FlowOpened():
            draft.kind = "open"
            draft.detail = {"flow": given.flow}
            _open(draft, given)
        case _:
            draft.kind, draft.trigger = "trigger", given.name
            draft.detail = {"by": given.by}
            _pull(draft, given)


# A flow ---------------------------------------------------------------------------------------------------------------


def _hinders_flow(draft: Draft, given: FlowOpened) -> str:
    machine = draft.bot.machines.get(given.flow)
    if machine is None or given.flow == CARRY_ON.name:
        return "unknown flow"
    if given.data is not None:
        try:
            structure(given.data, machine.flow.data)
        except Unreadable as error:
            return f"data {error}"
    return "busy" if is_full(draft.suspended) or draft.pending is not None or is_session_over(draft) else ""


def _open(draft: Draft, given: FlowOpened) -> None:
    flow = draft.bot.flow(given.flow)
    open_flow(draft, flow, None if given.data is None else structure(given.data, flow.data))


def open_flow(draft: Draft, flow: AnyFlow, data: Any = None) -> None:
    """Open a flow: now, or next where another one is open that it does not interrupt."""
    bot, run = draft.bot, draft.run
    draft.hear()
    entering = run is not None and is_entering(bot, run, draft.suspended)
    if run is None or (draft.at_home and not draft.holds_answers(run)) or (flow.opens == "now" and not entering):
        start_above(draft, flow, data)
    else:
        open_next(draft, flow, data)
        draft.detail |= {"opens": "next"}


# A trigger ------------------------------------------------------------------------------------------------------------


def _waiting(draft: Draft, name: str) -> Iterator[Run]:
    """Yield the runs that wait for a trigger, the current one first."""
    for run in (draft.run, *reversed(draft.suspended)):
        if run is not None and run.waits != Suspended.NEXT and name in draft.bot.position(run).events:
            yield run


def _hinders_trigger(draft: Draft, given: TriggerPulled) -> str:
    bot = draft.bot
    run = next(_waiting(draft, given.name), None)
    own = bot.pulled.get(given.name)
    if own is None and not any(given.name == trigger for flow in bot.flows for _, trigger in flow.events):
        return "unknown trigger"
    if draft.pending is not None or is_session_over(draft):
        return "busy"
    if run is None and own is None:
        return "no transition"
    if run is not None and run is not draft.run and not draft.off_session:
        return "busy"
    names, takes = _right(draft, run, given.name)
    if given.by not in names:
        return ""
    try:
        given_data(takes, given.data)
    except Unreadable as error:
        return f"data {error}"
    return ""


def _right(draft: Draft, run: Run | None, name: str) -> tuple[Sequence[str], Any]:
    """Return the systems that may pull a trigger, and the type of its data."""
    if run is not None:
        way = draft.bot.position(run).events[name]
        return way.names, way.takes
    own = draft.bot.pulled[name]
    return sequence(own.by), own.takes


def _pull(draft: Draft, given: TriggerPulled) -> None:
    run = next(_waiting(draft, given.name), None)
    names, takes = _right(draft, run, given.name)
    if given.by not in names:
        # The key stays free, so that a system without the right cannot use up that of another one.
        draft.token = draft.root = draft.roots = hashed("refused", draft.token, given.by, str(draft.version))
        draft.earlier = ()
        return _refuse(draft, NO_RIGHT)
    data = given_data(takes, given.data)
    draft.by = given.by
    draft.hear()
    if run is None:
        turn = attrs.evolve(of_bot(draft), trigger=given.name, answer=data, by=given.by)
        take_reacted(draft, react(draft.bot.pulled[given.name].does, turn, data), turn)
        return None
    reasons: list[str] = []

    def step() -> bool:
        fired = fire(draft, given.name, data)
        reasons.extend(reason.code for reason in fired.reasons)
        return fired.to is not None

    fired = apart(draft, run, step) if draft.off_session else step()
    if not fired:
        _refuse(draft, *(reasons or [DECLINED]))


def _refuse(draft: Draft, *codes: str) -> None:
    """Refuse a trigger. The audit has the reasons; the member, who has done nothing, is told none."""
    draft.status = "refused"
    draft.codes += codes
