"""The timeout of a state, by the clock or when a message comes in."""

from __future__ import annotations

import attrs

from vimbiso_fsm.engine.draft import Draft
from vimbiso_fsm.engine.events import StateTimeout
from vimbiso_fsm.engine.global_words import follow_global_word, global_word
from vimbiso_fsm.engine.interpreter import fire
from vimbiso_fsm.messages.message import Message


def take_state_timeout(draft: Draft, event: StateTimeout) -> None:
    """Time a state out, if the run still stands where the timer was set."""
    run = draft.run
    if draft.pending or run is None or (run.id, run.entered, run.due) != (event.run, event.entered, event.at):
        return draft.ignore()
    if event.at > draft.now:
        return draft.ignore()
    draft.kind = "timer"
    time_out(draft)


def is_timeout_due(draft: Draft) -> bool:
    """Return whether the state's timer is due, and was due before the session's end."""
    due, deadline = draft.run.due if draft.run else None, draft.before.deadline
    return due is not None and draft.now >= due and (deadline is None or due <= deadline)


def time_out(draft: Draft) -> bool:
    """Fire `timeout`, and return whether a transition accepted it. If none did, the timer is cleared."""
    run = draft.standing
    if fire(draft, "timeout").to is None:
        draft.run = attrs.evolve(run, due=None)
        return False
    draft.kind = "timer"
    return True


def take_too_late(draft: Draft, message: Message) -> None:
    """Handle a message to a state that has timed out. Only a global word counts."""
    command = global_word(draft, message)
    if command and draft.pending is None:
        follow_global_word(draft, command)
