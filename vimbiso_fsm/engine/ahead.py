"""Documents that were stored while the store's clock was ahead, and their instants after its return.

A clock that was nine days ahead for a moment leaves leases, timers and session ends nine days away, and a document
whose latest commit lies in the future. When the clock has returned, each instant that no code can have set by the right
clock is corrected: a lease or a rest is over, a session ends as if it were renewed now, and a state that was entered in
the future counts as entered now. The next turn stores the correction, and its audit entry says by how many seconds the
clock was ahead.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import attrs

from vimbiso_fsm.document.document import Document, Handed, PendingCall, Run, Session, Undelivered
from vimbiso_fsm.engine.draft import holds_answers
from vimbiso_fsm.engine.kept_answer import LONGEST_REST
from vimbiso_fsm.engine.outbox import LONGEST_ASKED, LONGEST_PAUSE
from vimbiso_fsm.engine.session import renewed
from vimbiso_fsm.engine.timers import timer_of
from vimbiso_fsm.engine.windows import hour_of
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.calls import READ_ONLY

SKEW: Final = 60.0
"""Seconds by which the clocks of the servers of one store may differ. A failover may set the time back by so much."""
_SKEW: Final = timedelta(seconds=SKEW)


def corrected(bot: Bot, document: Document, now: datetime) -> Document:
    """Return a document that was stored while the clock was ahead, with instants that are possible now.

    Args:
        bot: The bot.
        document: The document. Its latest commit is later than `now` by more than `SKEW`.
        now: The store's clock, after its return.
    """
    runs = tuple(_entered_now(bot, document, run, now) for run in document.suspended)
    run = None if document.run is None else _entered_now(bot, document, document.run, now)
    document = attrs.evolve(
        document,
        last_updated=now,
        run=run,
        suspended=runs,
        call=None if document.call is None else _free_call(bot, document, document.call, now),
        outbox=tuple(_free_replies(waiting, now) for waiting in document.outbox),
        heard=tuple(attrs.evolve(note, at=min(note.at, hour_of(now))) for note in document.heard),
        handed=None if document.handed is None else _handed_now(document.handed, now),
        passing=tuple(attrs.evolve(item, again_at=min(item.again_at, now)) for item in document.passing),
        ahead=(document.last_updated - now).total_seconds(),
    )
    return document.with_session(_session(bot, document, now))


def _is_possible(instant: datetime | None, now: datetime, longest: timedelta) -> bool:
    return instant is None or instant <= now + longest + _SKEW


def _free_call(bot: Bot, document: Document, call: PendingCall, now: datetime) -> PendingCall:
    """The call without a lease or a rest that is longer than any."""
    run = document.run
    policy = bot.definition(run)[run.step].call_policy if run is not None else READ_ONLY
    longest = timedelta(seconds=policy.lease + READ_ONLY.lease)
    if not _is_possible(call.leased_until, now, longest):
        call = attrs.evolve(call, leased_until=now)
    return call if _is_possible(call.again_at, now, LONGEST_REST) else attrs.evolve(call, again_at=now)


def _free_replies(waiting: Undelivered, now: datetime) -> Undelivered:
    """The replies without a lease or a pause that is longer than any."""
    longest = LONGEST_ASKED if waiting.rest == "asked" else LONGEST_PAUSE
    return waiting if _is_possible(waiting.leased_until, now, longest) else attrs.evolve(waiting, leased_until=now)


def _handed_now(handed: Handed, now: datetime) -> Handed:
    """The hand-over, as if it began now, if it began in the future. It lasts as long as before."""
    ahead = max(handed.since - now, timedelta())
    return attrs.evolve(handed, since=handed.since - ahead, until=handed.until - ahead)


def _session(bot: Bot, document: Document, now: datetime) -> Session:
    """The session, which ends no later than one that is renewed now."""
    session, run = document.session, document.run
    if session.deadline is None:
        return session
    flow = None if run is None else bot.definition(run)
    warns = run is not None and holds_answers(bot, run, document.suspended)
    since = None if session.since is None else min(session.since, now)
    latest = renewed(since, session.deadline, flow, bot.session, now, warns=warns)
    if latest.deadline is not None and session.deadline > latest.deadline:
        return attrs.evolve(latest, since=since)
    return attrs.evolve(session, since=since)


def _entered_now(bot: Bot, document: Document, run: Run, now: datetime) -> Run:
    """The run, as if its state was entered now, if it was entered in the future."""
    if run.since is None or run.since <= now + _SKEW:
        return run
    if run.due is None:
        return attrs.evolve(run, since=now)
    due = timer_of(bot, attrs.evolve(document, run=run, last_updated=now), now) or now + (run.due - run.since)
    return attrs.evolve(run, since=now, due=due)
