"""Give something of another system to a member: words, a flow or a trigger. Idempotent: a key has its effect once.

It is done as a waking is (`wake.py`), so that what is due before it comes first: a timer that has fired, the end of a
session, an expired call, replies that wait. The replies go through the outbox, by the worker or at once if the manager
delivers. A call that it leads to is made.

An address stands for the member or guest whom its channel leads to. Nothing of the member is looked up by guess: the
names of an address that belong to several members lead to none. At an address that never wrote, a conversation begins
with what is given.
"""

from __future__ import annotations

from contextlib import suppress

import attrs

from vimbiso_fsm.document.document import first_document
from vimbiso_fsm.document.ids import instant
from vimbiso_fsm.document.turn_record import read_record
from vimbiso_fsm.engine.commit import Decision, verifying
from vimbiso_fsm.engine.decide import decide, hindered
from vimbiso_fsm.engine.handover import HANDED, NOT_HANDED, UNREACHABLE
from vimbiso_fsm.engine.outbox import UNSAID
from vimbiso_fsm.engine.reading import Absent, Damaged, refuse_encrypted
from vimbiso_fsm.engine.windows import HELD
from vimbiso_fsm.errors import DamagedDocument, Unreadable
from vimbiso_fsm.messages.given import Given
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.operations.effects import TakePlace
from vimbiso_fsm.operations.handle_event import EventOutcome
from vimbiso_fsm.operations.names import Several, find_known
from vimbiso_fsm.operations.shared import find_owner
from vimbiso_fsm.operations.turn import TurnResult, record_mismatch
from vimbiso_fsm.operations.wake import Waking
from vimbiso_fsm.store.requests import Broken, Committed, Duplicate, Mismatch, Record, Stored

BUSY = "busy"
"""The reason why something is not taken in now, and may be given again."""


async def give(context: Context, given: Given, *, delivers: bool, channel: Channel | None = None) -> EventOutcome:
    """Give something to a member.

    Args:
        context: The context of the operation.
        given: What is given.
        delivers: Whether the shell can deliver replies.
        channel: The address of the member, in place of the id in `given`.

    Raises:
        Contended: Other writers were faster until the patience was over.
        DamagedDocument: The member's document is damaged. Their next message repairs it.
        NewerState: A newer release has stored the member's document.
        ForeignState: The member's document is of a flow that the bot never had.
        EncryptedState: The member's data is encrypted, and its key is not at hand.
    """
    giving = _Giving(context, given, delivers) if channel is None else _GivingAt(context, given, delivers, channel)
    if await giving.begin():
        while await giving.step():
            pass
    return giving.outcome or EventOutcome("ignored", reason="unknown member")


class _Giving(Waking):
    """The waking in which something is given.

    Attributes:
        outcome: The outcome; None before it is known.
    """

    def __init__(self, context: Context, given: Given, delivers: bool) -> None:
        super().__init__(context, given.member_id, delivers)
        self._given = given
        self.outcome: EventOutcome | None = None

    async def begin(self) -> bool:
        """Load the member's document."""
        return await self.load(self._given.member_id)

    @property
    def _follows(self) -> bool:
        """Whether a guest who has become a member is followed."""
        return self.outcome is None or super()._follows

    async def _unsound(self, reading: object, stored: Stored | Broken) -> bool:
        if isinstance(reading, Damaged) and self.outcome is None:
            raise DamagedDocument(self._turns.member_id, "; ".join(reading.faults[:3]))
        return not isinstance(reading, Absent) and await super()._unsound(reading, stored)

    async def _rest(self) -> bool:
        """Take in what is given once nothing is due before it, and then rest."""
        return await (super()._rest() if self.outcome is not None else self._give())

    async def _give(self) -> bool:
        turns, given = self._turns, self._given
        decision = await self._decided()
        verify = verifying(self._context.bot.digests, given, turns.document.channels)
        result: TurnResult | None = None
        if isinstance(decision, str) or decision.token != verify.token:
            # Nothing is stored under the key, so it is to be asked whether it was taken in before.
            result = await turns.settle(await attrs.evolve(verify, member_id=turns.member_id, expected=turns.head))
        if not isinstance(decision, str) and (result is None or isinstance(result, Committed)):
            result = await turns.commit(decision, given, self._route)
        match result:
            case Committed() if isinstance(decision, str):
                later = decision in (BUSY, "no transition", HANDED, NOT_HANDED)
                self.outcome = self._outcome("ignored" if later else "refused", decision)
            case Committed():
                stored, entry = turns.decision, turns.decision.entry
                codes, detail = (entry.codes, entry.detail) if entry is not None else ((), {})
                reason = UNREACHABLE if UNSAID in detail else "".join(codes[:1])
                self.outcome = attrs.evolve(self._outcome(stored.status, reason), held=detail.get(HELD, ""))
                if stored.document.moved is not None:
                    return await self._promote(stored.document, stored)
                return await self._go_on(stored)
            case Duplicate():
                self.outcome = self._outcome("duplicate", _first_status(turns.member_id, result.records))
                return await self._read(result.current)
            case Mismatch():
                document = turns.document
                await record_mismatch(self._context, turns.member_id, result, document, document.channel, verify.token)
                self.outcome = self._outcome("refused", "key")
                return await self._read(result.current)
            case Stored() | Broken():
                return await self._read(result)
            case None:
                raise AssertionError("unreachable")
        return True

    async def _decided(self) -> Decision | str:
        """Return the decision, or the reason why there is none now."""
        turns, context, given = self._turns, self._context, self._given
        now = instant(context.now)
        reason = hindered(context.bot, turns.document, given, now)
        if reason:
            return reason
        decision = decide(context.bot, turns.document, given, now, route=self._route)
        if decision.call is not None and not await TakePlace(decision.call):
            return BUSY
        if decision.delivery is not None and not await self._may_deliver(decision.document, decision.delivery):
            decision = decide(context.bot, turns.document, given, now, route="keep")
        return decision

    def _outcome(self, status: str, reason: str) -> EventOutcome:
        known = status if status in ("advanced", "refused", "duplicate", "ignored") else "failed"
        return EventOutcome(
            known,  # type: ignore[arg-type]  # one of the literals
            member_id=self._turns.document.person,
            reason=reason,
            confirmed=self._context.confirmed,
        )


class _GivingAt(_Giving):
    """The waking in which something is given to an address."""

    def __init__(self, context: Context, given: Given, delivers: bool, channel: Channel) -> None:
        super().__init__(context, given, delivers)
        self._channel = channel
        self._names = tuple(map(context.bot.route, channel.names))
        self._place = self._names[0].address

    async def begin(self) -> bool:
        """Load the document of the address's owner, or of the guest on it."""
        found = await find_known(self._context, self._names)
        if isinstance(found, Several):
            self.outcome = EventOutcome("ignored", reason="several members")
            return False
        self._place = found.place.address
        return await self._go_to(found.owner.member_id or self._context.bot.digests.guest_id(self._place))

    async def _go_to(self, member_id: str) -> bool:
        self._given = attrs.evolve(self._given, member_id=member_id)
        return await self.load(member_id)

    async def _follow_guest(self) -> bool:
        """Go to the present owner of the address, or begin anew: the guest who has left may be another person."""
        if self.outcome is not None:
            return await super()._follow_guest()
        owner = (await find_owner(self._context, self._names[0])).member_id
        return await self._go_to(owner) if owner not in (None, self._turns.member_id) else self._begin()

    async def _unsound(self, reading: object, stored: Stored | Broken) -> bool:
        if isinstance(reading, Absent) and self.outcome is None:
            return self._begin()
        return await super()._unsound(reading, stored)

    def _begin(self) -> bool:
        """Begin a conversation at an address of which nothing is stored."""
        turns, now = self._turns, instant(self._context.now)
        turns.document = first_document(turns.member_id, self._channel, now, self._place, version=turns.head.version)
        return True

    async def _give(self) -> bool:
        document = self._turns.document
        if (not document.guest and not document.has(self._place)) or not document.speaks_to(self._place):
            self.outcome = EventOutcome("ignored", reason="unknown member")  # of another account, or unlinked since
            return True
        named = (*document.linked(self._place), self._place)[0]
        here = document.channel.address
        self._given = attrs.evolve(self._given, at=here if named.meets(here) else named)
        return await super()._give()


def _first_status(member_id: str, records: tuple[Record, ...]) -> str:
    """Return the status of the turn that these records are of; "" if none is kept."""
    refuse_encrypted(member_id, *(record.body for record in records))
    for record in records:
        with suppress(Unreadable, TypeError, KeyError):
            return str(read_record(record.body)["status"])
    return ""
