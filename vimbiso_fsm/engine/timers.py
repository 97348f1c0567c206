"""TODO."""

from __future__ import annotations

import attrs

from vimbiso_fsm.engine.draft import Draft
from vimbiso_fsm.engine.events import StateTimeout
from vimbiso_fsm.engine.global_words import follow_global_word
from vimbiso_fsm.engine.interpreter import fire
from vimbiso_fsm.flow.commands import normalise
from vimbiso_fsm.messages.message import Message


def take_state_timeout(draft: Draft, timer: StateTimeout) -> None:
    """A state's time is over, if the run still stands where the timer was set."""
    run = draft.run
    if draft.pending or run is None or (run.id, run.entered, run.due) != (timer.run, timer.entered, timer.at):
        return draft.ignore()
    if timer.at > draft.now:
        return draft.ignore()
    draft.kind = "timer"
    time_out(draft)


def is_timeout_due(draft: Draft) -> bool:
    """Whether the state's timer should have fired before now, and before the session's end."""
    due, deadline = draft.run.due if draft.run else None, draft.before.deadline
    return due is not None and draft.now >= due and (deadline is None or due <= deadline)


def time_out(draft: Draft) -> bool:
    """The state's time is over. A timer that nothing takes is cleared -> whether it was taken."""
    run = draft.standing
    if fire(draft, "timeout").to is None:
        draft.run = attrs.evolve(run, due=None)
        return False
    draft.kind = "timer"
    return True


def take_too_late(draft: Draft, message: Message) -> None:
    """The message met a state whose time was over. What it answered is gone; only a word that always works is heard."""
    command = draft.bot.commands.command(normalise((message.text or "")[: draft.bot.limits.text]))
    if command and draft.pending is None:
        follow_global_word(draft, command)
