"""The life of a session: its renewal, its end, and the warning before the end.

A message of the member opens a session. A run with a timer outlives the session. When the timer fires, the run goes on
without a session, up to the next question, which stays open until the member answers it or its own timer fires. If a
login is made on the way, it lapses after the idle time as in a session; such a deadline has no `since`.

`renewed` is the one formula for the end of a session. A turn, an operator who puts a member back and the import of a
record of the previous release all use it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import attrs

from vimbiso_fsm.document.document import Run, Session
from vimbiso_fsm.engine.draft import Draft
from vimbiso_fsm.engine.events import (
    CallReturned,
    Event,
    ReminderDue,
    SessionEnding,
    SessionExpired,
    StateTimeout,
)
from vimbiso_fsm.engine.interpreter import go_home, offer_back, park, resume
from vimbiso_fsm.engine.passing import end_of
from vimbiso_fsm.flow.flow import Flow
from vimbiso_fsm.flow.session import SessionLife
from vimbiso_fsm.messages.given import GivenFact
from vimbiso_fsm.messages.message import Message
from vimbiso_fsm.messages.replies import Text
from vimbiso_fsm.messages.told import AddressChanged, ChatOpened


def take_session_expired(draft: Draft, event: SessionExpired) -> None:
    """End the session, unless the member has been active since.

    While a flow waits to go on from the answer of a call that had its effect, only the login ends.
    """
    pending = draft.pending
    if (
        draft.handed is not None
        or draft.before.deadline != event.deadline
        or event.deadline > draft.now
        or (pending and not pending.done)
    ):
        return draft.ignore()
    if pending is None and draft.session_since is not None:
        return end_session(draft)
    draft.kind, draft.session_since = "session", None
    log_out(draft)


def take_session_ending(draft: Draft, event: SessionEnding) -> None:
    """Warn of the end of the session, if the open flow holds answers that would be lost."""
    at, run = draft.before.warn_at, draft.run
    if (
        draft.handed is not None
        or draft.pending
        or at is None
        or at > draft.now
        or draft.before.deadline != event.deadline
    ):
        return draft.ignore()
    draft.kind = "session"
    seconds = int((event.deadline - draft.now).total_seconds())
    if seconds > 0 and run is not None and draft.holds_answers(run):
        draft.say(Text("session.ending", seconds=seconds, flow=Text(f"{run.flow}.title")))


def renewed(
    since: datetime | None,
    deadline: datetime | None,
    flow: Flow[Any] | None,
    life: SessionLife,
    now: datetime,
    *,
    warns: bool,
) -> Session:
    """Return the session as it goes on from `now`.

    It ends after the idle time of the open flow, or that of the bot if the flow declares none, and never later than
    `life.limit` seconds after it began.

    Args:
        since: The instant at which the session began; None if it begins now.
        deadline: The end of the session so far; None if none is open.
        flow: The definition of the open flow, None when no flow is open.
        life: The bot's bounds of a session.
        now: The store's clock.
        warns: Whether the open flow holds answers that would be lost.
    """
    began = since or now
    idle = life.idle if flow is None or flow.session is None else flow.session
    ends = min(now + timedelta(seconds=idle), began + timedelta(seconds=life.limit))
    warn_at = ends - timedelta(seconds=life.warning) if warns and life.warning > 0 else None
    if warn_at is not None and warn_at <= now and ends == deadline:  # the member has been warned of it
        warn_at = None
    return Session(ends, began, warn_at)


def session_after(draft: Draft, event: Event) -> Session:
    """Return the session after an event. A message or the answer of a call renews it; no other event does.

    Only a message, or an opened chat that begins the conversation, opens one, and a changed address ends it. Without a
    session, a login that a timer has led to has an end all the same.
    """
    before = draft.before
    if isinstance(event, SessionExpired | AddressChanged) or draft.parts:
        return Session()
    if before.handed is not None and not (isinstance(event, Message) and draft.handed is None):
        return _standing_still(before.session, draft.stood)
    if isinstance(event, SessionEnding):
        return Session(before.deadline, before.session_since)
    run = draft.run
    flow, life = draft.bot.versions[run.flow, run.version].flow if run else None, draft.bot.session
    if draft.off_session and isinstance(event, StateTimeout | CallReturned | GivenFact | ReminderDue):
        login = draft.member.jwt_token is not None
        return Session(renewed(None, None, flow, life, draft.now, warns=False).deadline if login else None)
    if not isinstance(event, Message | CallReturned) and not (isinstance(event, ChatOpened) and draft.begun):
        return before.session
    warns = life.warning > 0 and run is not None and draft.holds_answers(run)
    return renewed(draft.session_since, before.deadline, flow, life, draft.now, warns=warns)


def _standing_still(session: Session, stood: timedelta | None) -> Session:
    """Return the session as it goes on after a hand-over in which it stood still for a time; None while it does."""
    return session if stood is None else session.later(stood)


def session_bound(draft: Draft, event: Event) -> datetime | None:
    """Return the instant after which a decision on a message must not be stored; None if there is none.

    It is the end of the session or the timeout of the state, whichever is earlier. A pending call suspends both.
    """
    if not isinstance(event, Message) or draft.before.call is not None or draft.before.handed is not None:
        return None
    run, bound = draft.before.run, None
    for end in (draft.before.deadline, run.due if run else None):
        if end is not None and draft.now <= end and (bound is None or end < bound):
            bound = end
    return bound


def is_session_over(draft: Draft) -> bool:
    """Return whether the session has ended. A pending call suspends the end, also one that was just proposed."""
    return draft.is_late and draft.pending is None and draft.before.session_since is not None


def is_login_over(draft: Draft) -> bool:
    """Return whether a login that was made without a session has lapsed."""
    return draft.is_late and draft.pending is None and draft.before.session_since is None


def log_out(draft: Draft) -> None:
    """Drop the login token."""
    draft.member = attrs.evolve(draft.member, authenticated=False, jwt_token=None)


def end_session(draft: Draft) -> None:
    """End the session: say so, drop the login token, and park an open flow that holds answers or has a timer.

    The member is told that the answers were not sent, and that a flow with a timer stays open.
    """
    run, since = draft.run, draft.session_since
    draft.kind, draft.session_since = "session", None
    if run is not None:
        limit = timedelta(seconds=draft.bot.session.limit)
        long = since is not None and draft.before.deadline is not None and since + limit <= draft.before.deadline
        draft.say(Text("session.limit" if long else "session.ended"))
    log_out(draft)
    while run is not None and not draft.keeps(run):
        run = draft.pop()
    draft.run = None
    if run is not None:
        title = Text(f"{run.flow}.title")
        if draft.holds_answers(run):
            draft.say(Text("session.unsent", flow=title))
        if (run.due is not None or draft.bot.position(run).events) and not is_on_the_way(draft, run):
            draft.say(Text("session.kept", flow=title))
        park(draft, run)


def part(draft: Draft, event: Event) -> None:
    """End the session, because a service knows the channel of the turn as another member's, and unlink the channel.

    Nothing is said, since another person may read it. An open flow that holds answers stays for the member, who finds
    it on another channel. A call whose outcome is not known stays pending, and a worker takes it up.
    """
    renews = isinstance(event, CallReturned) and bool(event.renewal)
    pending, keeps = draft.pending, renews and draft.in_doubt
    if pending is not None and (pending.done or keeps):
        log_out(draft)
        draft.session_since, draft.pending = None, attrs.evolve(pending, leased_until=draft.now)
    else:
        draft.pending = None
        end_session(draft)
    draft.detail = {"channels": [draft.bot.digests.shown(draft.channel)], "by": "login"}
    if draft.handed is not None:
        draft.passing = (*draft.passing, end_of(draft.handed, draft.token, draft.now))
        draft.detail |= {"inbox": draft.handed.inbox, "handed": "back", "ended": "channel"}
    draft.handed, draft.kind, draft.parts, draft.replies = None, "unlink", True, []


def reopen(draft: Draft) -> None:
    """Go home after the end of a session, through the entry flow, and offer a parked flow back.

    The message itself is not interpreted, because it answers a question of the old session. A question on the way home
    is asked again without an offer.
    """
    draft.notices = len(draft.replies)
    parked = draft.pop()
    if parked is None:
        go_home(draft)
    elif is_on_the_way(draft, parked):
        resume(draft, attrs.evolve(parked, waits=""), entered=False)
    else:
        offer_back(draft, parked)


def is_on_the_way(draft: Draft, run: Run) -> bool:
    """Return whether a run without answers is of a flow that the member's next message leads to anyway."""
    entry = draft.bot.entry.name if draft.bot.entry else ""
    return run.flow in (draft.bot.home.name, entry) and not draft.holds_answers(run)
