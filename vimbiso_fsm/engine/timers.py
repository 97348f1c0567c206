"""TODO."""

from __future__ import annotations

import attrs

from vimbiso_fsm.engine.draft import Conversation
from vimbiso_fsm.engine.events import Due
from vimbiso_fsm.engine.global_words import _obey
from vimbiso_fsm.engine.interpreter import fire
from vimbiso_fsm.flow.commands import normal
from vimbiso_fsm.messages.message import Message


def _take_timer(talk: Conversation, timer: Due) -> None:
    """A state's time is over, if the run still stands where the timer was set."""
    run = talk.run
    if talk.pending or run is None or (run.id, run.entered, run.due) != (timer.run, timer.entered, timer.at):
        return talk.ignore()
    if timer.at > talk.now:
        return talk.ignore()
    talk.kind = "timer"
    time_out(talk)


def _is_time_over(talk: Conversation) -> bool:
    """Whether the state's timer should have fired before now, and before the session's end."""
    due, deadline = talk.run.due if talk.run else None, talk.before.deadline
    return due is not None and talk.now >= due and (deadline is None or due <= deadline)


def time_out(talk: Conversation) -> bool:
    """The state's time is over. A timer that nothing takes is cleared -> whether it was taken."""
    run = talk.standing
    if fire(talk, "timeout").to is None:
        talk.run = attrs.evolve(run, due=None)
        return False
    talk.kind = "timer"
    return True


def _too_late(talk: Conversation, message: Message) -> None:
    """The message met a state whose time was over. What it answered is gone; only a word that always works is heard."""
    command = talk.bot.commands.command(normal((message.text or "")[: talk.bot.limits.text]))
    if command and talk.pending is None:
        _obey(talk, command)
