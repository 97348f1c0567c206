"""The turns that one operation makes at a member: commit, reload, promote, call.

A message (`handle`) and due work (`wake`) both cause turns. Each decides an event, which is pure, and commits the
decision here. The result of a commit is a value, and the operation decides how to go on.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import Any, Final, TypeAlias

import attrs

from vimbiso_fsm.audit.entries import Incident
from vimbiso_fsm.document.document import Document
from vimbiso_fsm.document.ids import hashed, instant
from vimbiso_fsm.document.replies_codec import replies_from_raw
from vimbiso_fsm.document.turn_record import read_record
from vimbiso_fsm.engine.ahead import corrected
from vimbiso_fsm.engine.commit import Decision, caller, commit_of
from vimbiso_fsm.engine.decide import failure
from vimbiso_fsm.engine.draft import is_entering
from vimbiso_fsm.engine.events import CallReturned, Event, LeaseExpired, ReplyRoute
from vimbiso_fsm.engine.reading import refuse_encrypted
from vimbiso_fsm.engine.schedule import first_passing
from vimbiso_fsm.errors import DocumentTooLarge, Unreadable
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.calls import READ_ONLY
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.replies import Reply
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.operations.effects import LEASE_OVER, RunCall, answered, fault_of, never
from vimbiso_fsm.operations.promote import Promoted, Unlinked, addresses_of, promote
from vimbiso_fsm.store import requests

TurnResult: TypeAlias = requests.Committed | requests.Duplicate | requests.Mismatch | requests.Stored | requests.Broken
"""The result of the commit of a turn.

`Stored` and `Broken` are the stored data of the member now, which are to be read and decided on again: another writer
was faster, the deadline of the decision has passed, or a key is damaged.
"""


NONE_BUSY: Final[frozenset[str]] = frozenset()
"""The services that take no call, as far as an operation knows before it has asked for a place."""
STALE: Final = 1.0
"""Seconds that an operation may wait for a place at a service. After a longer time it decides again, because the lease
of a call begins when it is decided."""


class MemberTurns:
    """The turns that one operation makes at a member.

    Attributes:
        member_id: The member; another one after a promotion.
        head: The head of `document`.
        document: The member's document as it was last read or stored; to be set before the first commit.
        decision: The decision of the latest commit; set by `commit`.
        attempts: The number of commits tried for the current turn.
        passes: The inboxes to which these turns pass at once what waits: a turn of theirs found nothing waiting there.
    """

    __slots__ = ("_calls", "attempts", "context", "decision", "document", "head", "member_id", "passes")

    context: Context
    member_id: str
    head: requests.Head
    attempts: int

    def __init__(self, context: Context, member_id: str = "") -> None:
        self.context = context
        self.member_id = member_id
        self.head = requests.NO_HEAD
        self.document: Document
        self.decision: Decision
        self.attempts = 0
        self.passes: set[str] = set()
        self._calls = 0

    # Commit -------------------------------------------------------------------------------------------------------

    async def commit(self, decision: Decision, event: Event, route: ReplyRoute) -> TurnResult:
        """Commit the decision of an event.

        A document that is too large fails the turn: the member stays where they were and is told so.

        Returns:
            `Committed` when a turn is stored, which is then `decision`. Else the reason why none is.

        Raises:
            Contended: Other writers were faster until the patience was over.
            DocumentTooLarge: Even the unchanged document is too large.
        """
        self.decision = decision
        self.attempts += 1
        try:
            result = await commit_of(decision, self.head)
        except DocumentTooLarge as error:
            return await self.too_large(error, event, route)
        if isinstance(result, requests.Committed):
            self.stored(decision, result)
            return result
        return await self.settle(result)

    async def too_large(self, error: DocumentTooLarge, event: Event, route: ReplyRoute) -> TurnResult:
        """Commit the failure of the decision, whose document is too large. See `commit`."""
        if isinstance(self.decision.error, DocumentTooLarge):
            raise error
        context = self.context
        failed = failure(context.bot, self.document, event, instant(context.now), error, route=route)
        return await self.commit(failed, event, route)

    def stored(self, decision: Decision, committed: requests.Committed) -> None:
        """Remember a commit and report it."""
        context = self.context
        if decision.changed:
            self.head, self.document = committed.head, decision.document
            context.cache.keep(decision.document.member_id, committed.head, decision.document, len(decision.raw))
            if decision.document.passing:
                own = decision.token[:16]
                heads = first_passing(decision.document.passing)
                self.passes |= {item.inbox for item in heads if item.id.startswith(own)}
            if context.sent:
                context.sent.stored(decision.document.member_id, decision.document)
        if decision.entry is not None:
            context.stored.append((decision.entry, self.attempts, committed.head.digest))
        if decision.error is not None:
            context.errors.append((decision.token[:10], decision.error))
        self.attempts = 0
        context.confirmed = committed.confirmed

    async def settle(self, result: requests.CommitResult) -> TurnResult:
        """Replace the result of a commit that lost a race by the stored data; return any other result unchanged.

        Raises:
            Contended: Other writers were faster until the patience was over.
        """
        match result:
            case requests.Conflict() | requests.Late():
                return await self.reload(result)
            case requests.Committed() | requests.Duplicate() | requests.Mismatch() | requests.Broken():
                return result
            case _:
                raise TypeError(f"a store answered a commit with a {type(result).__name__}")

    async def reload(self, lost: requests.Conflict | requests.Late) -> requests.Stored | requests.Broken:
        """Return the stored data after a lost race.

        After the first one they are the snapshot in the conflict. After a later one they are loaded after a pause,
        because the snapshot is stale by then and the next commit on it would lose as well.

        Raises:
            Contended: The patience is over.
        """
        self.context.check_patience(self.member_id, self.attempts)
        self.context.cache.forget(self.member_id)
        if self.attempts < 2:
            return lost.current
        await self.context.pause(self.member_id, self.attempts)
        return await requests.Load(self.member_id)

    # Clock --------------------------------------------------------------------------------------------------------

    def correct(self, now: datetime) -> Document:
        """Correct the document, which is from the future, unless it is the clock that is behind; return the document.

        Args:
            now: The store's clock.
        """
        clock = self.context.clock
        if clock is None or clock.agrees():
            self.document = corrected(self.context.bot, self.document, now)
        return self.document

    # Promotion ----------------------------------------------------------------------------------------------------

    async def promote(self, guest: Document) -> Promoted | Unlinked:
        """Complete the promotion of a guest. After `Promoted` the turns go on at the member.

        Raises:
            Contended: Other writers of the member were faster until the patience was over.
            NewerState: A newer release has stored the member's document.
            ForeignState: The member's document is of a flow that the bot never had.
        """
        context = self.context
        result = await promote(context, guest, self.head)
        context.cache.forget(guest.member_id)
        if isinstance(result, Promoted):
            self.member_id = result.document.member_id
            if guest.guest:
                for address in addresses_of(context.bot, guest):
                    context.cache.linked(address, self.member_id)
            context.cache.keep(self.member_id, result.head, result.document, result.size)
            self.head, self.document = result.head, result.document
        return result

    # Call ---------------------------------------------------------------------------------------------------------

    def next_call(self, decision: Decision) -> RunCall | None:
        """Return the call that a stored decision proposes, if it is to be made now.

        It is not made now when another worker has taken it up, when a replica has not confirmed the commit, which may
        still be lost, or when the operation has made `Limits.autos` calls. A worker makes the call when its lease has
        expired.
        """
        document, proposed = self.document, decision.document.call
        pending = document.call
        if decision.call is None or proposed is None or pending is None:
            return None
        if (proposed.key, proposed.tries) != (pending.key, pending.tries):
            return None
        bot = self.context.bot
        self._calls += 1
        if not self.context.confirmed or self._calls > bot.limits.autos:
            return None
        return proposed_call(bot, decision, document)

    def returned(self, step: RunCall, result: object) -> CallReturned | LeaseExpired:
        """Return the event of a call that has ended, for the next turn under the same root; report an exception.

        A call that was not begun within its lease is taken up again, unless another worker has done so.
        """
        if result is LEASE_OVER:
            return LeaseExpired(step.pending.key, step.pending.root, step.pending.tries, begun=False)
        error = fault_of(result)
        if error is not None:
            self.context.errors.append((step.pending.root[:10], error))
        return answered(step, result)


def proposed_call(bot: Bot, decision: Decision, document: Document) -> RunCall:
    """Return the call that a decision proposes, as it is made.

    Args:
        bot: The bot.
        decision: The decision.
        document: The document that is stored, which holds the call.
    """
    assert decision.call is not None
    assert document.call is not None
    pending = document.call
    assert document.run is not None
    on_behalf, tokens = caller(bot, document, pending), bot.tokens
    if decision.renews:
        on_behalf = attrs.evolve(on_behalf, key=hashed("renewal", pending.key, str(pending.tries)))
        return RunCall(decision.call, on_behalf, READ_ONLY, pending, document.member_id, renews=True)
    policy = bot.definition(document.run)[document.run.step].call_policy
    entering = is_entering(bot, document.run, document.suspended)
    return RunCall(
        decision.call,
        on_behalf,
        policy,
        pending,
        document.member_id,
        refuses=tokens.is_refusal if tokens is not None else never,
        renewable=on_behalf.token is not None and not pending.renewed and not entering,
        in_doubt=policy.effect and document.tries > 1,
    )


# What was taken before ------------------------------------------------------------------------------------------------


def stored_replies(member_id: str, records: tuple[requests.Record, ...]) -> dict[str, list[Any]]:
    """Return the replies of the turns that these records are of, as raw data, by the turn's id in the outbox.

    Raises:
        EncryptedState: A record is encrypted, and its key is not at hand.
    """
    stored: dict[str, list[Any]] = {}
    refuse_encrypted(member_id, *(record.body for record in records))
    for record in records:
        with suppress(Unreadable, TypeError, KeyError):  # a record of an older release has no check
            raw = read_record(record.body)["replies"]
            replies_from_raw(raw)
            stored[record.token[:16]] = raw
    return stored


def first_replies(bot: Bot, records: tuple[requests.Record, ...], document: Document) -> tuple[Reply, ...]:
    """Return the replies of the turns that these records are of, in the member's language.

    Raises:
        EncryptedState: A record is encrypted, and its key is not at hand.
    """
    stored = stored_replies(document.member_id, records)
    return bot.say(
        [reply for raw in stored.values() for reply in replies_from_raw(raw)], document.profile, document.channel
    )


async def record_mismatch(
    context: Context, member_id: str, mismatch: requests.Mismatch, document: Document, channel: Channel, token: str
) -> None:
    """Record the incident that a token was used with another content."""
    run = document.run
    incident = Incident(
        instant(mismatch.current.at),
        "mismatch",
        member_id,
        context.bot.digests.shown(channel),
        token,
        run.flow if run else "",
        run.id if run else "",
    )
    await requests.RecordIncident(member_id, incident.body)
