"""TODO."""

from __future__ import annotations

from datetime import datetime, timedelta

import attrs

from vimbiso_fsm.engine.draft import Draft
from vimbiso_fsm.engine.events import CallReturned, Event, SessionEnding, SessionExpired
from vimbiso_fsm.engine.interpreter import go_home, offer_back, park
from vimbiso_fsm.flow.carry_on import CARRY_ON
from vimbiso_fsm.messages.message import Message
from vimbiso_fsm.messages.replies import Text


def take_session_expired(draft: Draft, silence: SessionExpired) -> None:
    """The session is over, if nothing was said since."""
    if draft.pending or draft.before.deadline != silence.deadline or silence.deadline > draft.now:
        return draft.ignore()
    end_session(draft)


def take_session_ending(draft: Draft, ending: SessionEnding) -> None:
    """The session is about to be over: once it is, or nothing is there to be lost, there is nothing to warn of."""
    at, run = draft.before.warn_at, draft.run
    if draft.pending or at is None or at > draft.now or draft.before.deadline != ending.deadline:
        return draft.ignore()
    draft.kind = "session"
    seconds = int((ending.deadline - draft.now).total_seconds())
    if seconds > 0 and run is not None and draft.gathered(run):
        draft.say(Text("session.ending", seconds=seconds, flow=Text(f"{run.flow}.title")))


def with_session(draft: Draft, event: Event) -> tuple[datetime | None, datetime | None, datetime | None]:
    """The session's deadline, its beginning and the instant of its warning. Messages and answers of calls renew it."""
    before = draft.before
    if isinstance(event, SessionExpired):
        return None, None, None
    if isinstance(event, SessionEnding):
        return before.deadline, before.session_since, None
    if not isinstance(event, Message | CallReturned):
        return before.deadline, before.session_since, before.warn_at
    life, since = draft.bot.session, draft.session_since or draft.now
    idle = draft.flow.session if draft.run and draft.flow.session is not None else life.idle
    deadline = min(draft.now + timedelta(seconds=idle), since + timedelta(seconds=life.limit))
    warns = life.warning > 0 and draft.run is not None and draft.gathered(draft.run)
    warn_at = deadline - timedelta(seconds=life.warning) if warns else None
    if warn_at is not None and warn_at <= draft.now and deadline == before.deadline:  # they were warned of it
        warn_at = None
    return deadline, since, warn_at


def session_bound(draft: Draft, event: Event) -> datetime | None:
    """The end of the session, or of the state's time, for what was decided before it; a call suspends both."""
    if not isinstance(event, Message) or draft.before.call is not None:
        return None
    run = draft.before.run
    ends = [end for end in (draft.before.deadline, run.due if run else None) if end is not None and draft.now <= end]
    return min(ends, default=None)


def is_session_over(draft: Draft) -> bool:
    """Whether the session's end has passed; a call on its way, also one that has just been proposed, suspends it."""
    deadline = draft.before.deadline
    return draft.pending is None and deadline is not None and draft.now > deadline


def end_session(draft: Draft) -> None:
    """Say that the session ended and what was not sent. An open flow with answers in it is parked, the token is
    dropped."""
    run, since = draft.run, draft.session_since
    draft.kind, draft.session_since = "session", None
    if run is not None:
        limit = timedelta(seconds=draft.bot.session.limit)
        long = since is not None and draft.before.deadline is not None and since + limit <= draft.before.deadline
        draft.say(Text("session.limit" if long else "session.ended"))
    draft.member = attrs.evolve(draft.member, authenticated=False, jwt_token=None)
    entry = draft.bot.entry.name if draft.bot.entry else ""
    while run is not None and (run.flow in (CARRY_ON.name, entry) or not draft.gathered(run)):
        run = draft.pop()
    draft.run = None
    if run is not None:
        draft.say(Text("session.unsent", flow=Text(f"{run.flow}.title")))
        park(draft, run)


def reopen(draft: Draft) -> None:
    """After the end of a session: the way home, through the entry flow, where what was parked is offered back. The
    message itself is not acted upon: it answered a question of another time."""
    parked = draft.pop()
    if parked is None:
        return go_home(draft)
    offer_back(draft, parked)
