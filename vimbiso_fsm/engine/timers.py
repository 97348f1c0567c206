"""The timeout of a state, by the clock or when a message comes in.

A timer belongs to one entry of a state: it is set when the question is asked, and cleared when the state is left. In a
session, it fires in the current run. Without one, it fires in any run, also in a suspended one, which then goes on
apart from the others: home does not follow a run that ends, and suspended runs stay suspended.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import attrs

from vimbiso_fsm.document.document import Document, Run, Suspended
from vimbiso_fsm.engine.draft import Draft
from vimbiso_fsm.engine.events import StateTimeout
from vimbiso_fsm.engine.global_words import follow_global_word, global_word
from vimbiso_fsm.engine.interpreter import time_out
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.interrupts import is_interrupt
from vimbiso_fsm.flow.timeouts import fires_at
from vimbiso_fsm.messages.message import Message


def take_state_timeout(draft: Draft, event: StateTimeout) -> None:
    """Time a state out, if its run still stands where the timer was set."""
    timed = (run for run in _runs(draft) if (run.id, run.fence, run.due) == (event.run, event.fence, event.at))
    run = next(timed, None)
    if (
        draft.handed is not None
        or draft.pending
        or event.at > draft.now
        or run is None
        or not (draft.off_session or run is draft.run)
    ):
        return draft.ignore()
    draft.kind = "timer"
    if draft.off_session:
        _time_out_apart(draft, run)
    else:
        time_out(draft)


def is_timeout_due(draft: Draft, due: datetime) -> bool:
    """Return whether the timer of the current run, which fires at `due`, is due, and was before the session's end."""
    deadline = draft.before.deadline
    return draft.now >= due and (deadline is None or due <= deadline)


def time_out_overdue(draft: Draft) -> bool:
    """Time out the suspended runs whose timers are due, as would have happened before the message came in.

    Returns:
        Whether such a run is the current one now, because it has gone on to a question or a call.
    """
    overdue = sorted((run.due, run.id) for run in draft.suspended if run.due is not None and run.due <= draft.now)
    for _, run_id in overdue:
        run = next((each for each in draft.suspended if each.id == run_id), None)
        if run is None:
            continue
        current, draft.off_session = draft.run, True
        _time_out_apart(draft, run)
        draft.off_session = False
        if draft.run is not None and (current is None or draft.run.id != current.id):
            return True
    return False


def take_too_late(draft: Draft, message: Message) -> None:
    """Handle a message to a state that has timed out. Only a global word counts."""
    command = global_word(draft, message)
    if command and draft.pending is None:
        follow_global_word(draft, command)


def timer_of(bot: Bot, document: Document, now: datetime) -> datetime | None:
    """Return the instant at which the current state times out if it is entered now; None without a timeout.

    None also if its function raises; the next message meets the same exception and reports it.
    """
    draft = Draft(bot, document, document.channel, now, "", "")
    timeout = draft.state.timeout
    try:
        return fires_at(timeout, draft.turn(draft.standing)) if timeout is not None else None
    except BaseException as error:  # an author's function may raise anything
        if is_interrupt(error):
            raise
        return None


def _runs(draft: Draft) -> tuple[Run, ...]:
    """The runs, the current one last."""
    return (*draft.suspended, *([draft.run] if draft.run else []))


def _time_out_apart(draft: Draft, run: Run) -> None:
    """Time out a run without a session. If no transition accepts it, its timer is cleared."""
    if not apart(draft, run, lambda: time_out(draft)):
        if draft.run is not None and draft.run.id == run.id:
            draft.run = attrs.evolve(draft.run, due=None)
        draft.suspended = tuple(attrs.evolve(each, due=None) if each is run else each for each in draft.suspended)


def apart(draft: Draft, run: Run, step: Callable[[], bool]) -> bool:
    """Take a step of a run without a session, and return whether it was taken.

    The run comes to the top, together with the runs that wait for it. The others stay suspended. If the step is not
    taken, all runs are where they were.
    """
    runs, current = _runs(draft), draft.run
    top = runs.index(run)
    bottom, end = top, top + 1
    while bottom and runs[bottom - 1].waits == Suspended.SUBFLOW:
        bottom -= 1
    if run.waits == Suspended.LOGIN:  # the login above it was begun for its sake
        while end < len(runs) and runs[end].waits == Suspended.SUBFLOW:
            end += 1
        end = min(end + 1, len(runs))
    others = [*runs[:bottom], *runs[end:]]
    if others and others[-1].waits in ("", Suspended.OFFERED_BACK):
        others[-1] = attrs.evolve(others[-1], waits=Suspended.INTERRUPTED)
    draft.suspended, draft.run = (*others, *runs[bottom:top]), attrs.evolve(run, waits="")
    if not step():
        draft.suspended, draft.run = (runs[:-1], runs[-1]) if current else (runs, None)
        return False
    if current is not None and current is not run and [each.id for each in _runs(draft)[-1:]] == [current.id]:
        draft.pop()
        draft.run = current  # its question is still open
    return True
