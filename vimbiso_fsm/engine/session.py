"""TODO."""

from __future__ import annotations

from datetime import datetime, timedelta

import attrs

from vimbiso_fsm.engine.draft import Conversation
from vimbiso_fsm.engine.events import Answered, Ending, Event, Silence
from vimbiso_fsm.engine.interpreter import go_home, offer_back, park
from vimbiso_fsm.flow.carry_on import CARRY_ON
from vimbiso_fsm.messages.message import Message
from vimbiso_fsm.messages.replies import Text


def _take_silence(talk: Conversation, silence: Silence) -> None:
    """The session is over, if nothing was said since."""
    if talk.pending or talk.before.deadline != silence.deadline or silence.deadline > talk.now:
        return talk.ignore()
    end_session(talk)


def _take_ending(talk: Conversation, ending: Ending) -> None:
    """The session is about to be over: once it is, or nothing is there to be lost, there is nothing to warn of."""
    at, run = talk.before.warn_at, talk.run
    if talk.pending or at is None or at > talk.now or talk.before.deadline != ending.deadline:
        return talk.ignore()
    talk.kind = "session"
    seconds = int((ending.deadline - talk.now).total_seconds())
    if seconds > 0 and run is not None and talk.gathered(run):
        talk.say(Text("session.ending", seconds=seconds, flow=Text(f"{run.flow}.title")))


def _session(talk: Conversation, event: Event) -> tuple[datetime | None, datetime | None, datetime | None]:
    """The session's deadline, its beginning and the instant of its warning. Messages and answers of calls renew it."""
    before = talk.before
    if isinstance(event, Silence):
        return None, None, None
    if isinstance(event, Ending):
        return before.deadline, before.session_since, None
    if not isinstance(event, Message | Answered):
        return before.deadline, before.session_since, before.warn_at
    life, since = talk.bot.session, talk.session_since or talk.now
    idle = talk.flow.session if talk.run and talk.flow.session is not None else life.idle
    deadline = min(talk.now + timedelta(seconds=idle), since + timedelta(seconds=life.limit))
    warns = life.warning > 0 and talk.run is not None and talk.gathered(talk.run)
    warn_at = deadline - timedelta(seconds=life.warning) if warns else None
    if warn_at is not None and warn_at <= talk.now and deadline == before.deadline:  # they were warned of it
        warn_at = None
    return deadline, since, warn_at


def _not_after(talk: Conversation, event: Event) -> datetime | None:
    """The end of the session, or of the state's time, for what was decided before it; a call suspends both."""
    if not isinstance(event, Message) or talk.before.call is not None:
        return None
    run = talk.before.run
    ends = [end for end in (talk.before.deadline, run.due if run else None) if end is not None and talk.now <= end]
    return min(ends, default=None)


def _is_session_over(talk: Conversation) -> bool:
    """Whether the session's end has passed; a call on its way, also one that has just been proposed, suspends it."""
    deadline = talk.before.deadline
    return talk.pending is None and deadline is not None and talk.now > deadline


def end_session(talk: Conversation) -> None:
    """Say that the session ended and what was not sent. An open flow with answers in it is parked, the token is
    dropped."""
    run, since = talk.run, talk.session_since
    talk.kind, talk.session_since = "session", None
    if run is not None:
        limit = timedelta(seconds=talk.bot.session.limit)
        long = since is not None and talk.before.deadline is not None and since + limit <= talk.before.deadline
        talk.say(Text("session.limit" if long else "session.ended"))
    talk.member = attrs.evolve(talk.member, authenticated=False, jwt_token=None)
    entry = talk.bot.entry.name if talk.bot.entry else ""
    while run is not None and (run.flow in (CARRY_ON.name, entry) or not talk.gathered(run)):
        run = talk.pop()
    talk.run = None
    if run is not None:
        talk.say(Text("session.unsent", flow=Text(f"{run.flow}.title")))
        park(talk, run)


def _reopen(talk: Conversation) -> None:
    """After the end of a session: the way home, through the entry flow, where what was parked is offered back. The
    message itself is not acted upon: it answered a question of another time."""
    parked = talk.pop()
    if parked is None:
        return go_home(talk)
    offer_back(talk, parked)
