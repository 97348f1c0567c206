"""Run a member's due work: timers, expired leases, pending deliveries, session expiry.

The document says what is due (`engine.schedule`). `wake` makes one turn after another until nothing is due, and then
sets the member's wake-up to what comes next. Any worker may wake a member at any time, also two at once: each turn has
a token of its own and is made on the head that was read. The answer of a call that took too long for its message comes
home in the same way.
"""

from __future__ import annotations

from datetime import timedelta

import attrs

from vimbiso_fsm.audit.entries import AuditEntry
from vimbiso_fsm.document.document import Document, Undelivered
from vimbiso_fsm.document.ids import instant
from vimbiso_fsm.document.replies_codec import replies_from_raw
from vimbiso_fsm.engine.commit import Decision
from vimbiso_fsm.engine.decide import decide
from vimbiso_fsm.engine.events import CallReturned, Delivered, Event, ReplyRoute, turn_token
from vimbiso_fsm.engine.reading import Newer, Sound, open_document
from vimbiso_fsm.engine.schedule import due, wake_at
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.operations.effects import Deliver
from vimbiso_fsm.operations.history import read_legible
from vimbiso_fsm.operations.promote import Unlinked
from vimbiso_fsm.operations.turn import MemberTurns
from vimbiso_fsm.store.requests import Broken, Committed, Duplicate, Load, Mismatch, SetWakeUp, Stored

TURNS_PER_WAKE = 32
"""Turns made in one waking. What is due then still is left for the next one."""
LATER = timedelta(seconds=60)
"""Delay of the next waking where something is due although it was done."""


async def wake(
    context: Context, member_id: str, *, delivers: bool, answer: CallReturned | None = None
) -> tuple[AuditEntry, ...]:
    """Run everything that is due at a member.

    Args:
        context: The context of the operation.
        member_id: The member.
        delivers: Whether the shell can deliver replies.
        answer: The answer of a call, which is taken first.

    Returns:
        The audit entries of what was done.

    Raises:
        Contended: Other writers were faster until the patience was over.
        NewerState: A newer release has stored the member's document.
    """
    waking = _Waking(context, member_id, delivers, answer)
    if await waking.load(member_id):
        while await waking.step():
            pass
    return tuple(event.entry for event in context.told)


class _Waking:
    """One waking. Its methods say whether to go on; if not, there is nothing more to do."""

    def __init__(self, context: Context, member_id: str, delivers: bool, answer: CallReturned | None) -> None:
        self._context = context
        self._turns = MemberTurns(context, member_id)
        self._delivers = delivers
        self._route: ReplyRoute = "deliver" if delivers else "keep"
        self._in_hand: CallReturned | Delivered | None = answer
        self._follow_up: CallReturned | Delivered | None = None
        self._announced: Decision | None = None
        self._made = 0
        self._known: set[str] = set()

    async def load(self, member_id: str) -> bool:
        """Load the member's document."""
        self._turns.member_id = member_id
        return await self._read(await Load(member_id))

    async def _read(self, stored: Stored | Broken) -> bool:
        turns, context = self._turns, self._context
        turns.head = stored.head
        if self._in_hand is not None and isinstance(stored, Stored) and stored.document is None and stored.head.version:
            return await self._follow_guest()
        match open_document(context.bot, turns.member_id, stored, instant(context.now)):
            case Sound(document):
                turns.document = document
                return True
            case Newer(error):
                raise error
            case _:  # nothing can be due that cannot be read; the member's next message mends it
                await SetWakeUp(turns.member_id, stored.head)
                return False

    async def _follow_guest(self) -> bool:
        """Find the member that a guest has become: the answer in hand belongs to the member now."""
        latest = await read_legible(self._turns.member_id, 1)
        member_id = latest[0].detail.get("moved_to") if latest else None
        return isinstance(member_id, str) and await self.load(member_id)

    async def step(self) -> bool:
        """Make the next turn; when nothing is due, set the next wake-up."""
        turns = self._turns
        if self._follow_up is not None:
            event: Event = self._follow_up
            self._follow_up = None
            return await self._turn(event)
        document = turns.document
        if document.moved is not None:
            return await self._promote(document, None)
        self._made += 1
        if self._in_hand is not None:
            event, self._in_hand = self._in_hand, None
            return await self._turn(event)
        now = instant(self._context.now)
        waiting = [item for item in due(document, delivers=self._delivers) if turn_token(item[1]) not in self._known]
        if waiting and waiting[0][0] <= now and self._made <= TURNS_PER_WAKE:
            return await self._turn(waiting[0][1])
        at = wake_at(document, delivers=self._delivers)
        if at is not None and self._known:
            at = max(at, now + LATER)
        await SetWakeUp(turns.member_id, turns.head, at.timestamp() if at else None)
        return False

    async def _turn(self, event: Event) -> bool:
        """Decide an event and commit it, then do what the decision proposes."""
        turns, context = self._turns, self._context
        decision = decide(context.bot, turns.document, event, instant(context.now), route=self._route)
        result = await turns.commit(decision, event, self._route)
        match result:
            case Committed():
                stored = turns.decision
                if stored.changed and stored.document.moved is not None:
                    return await self._promote(stored.document, stored)
                return await self._go_on(stored)
            case Duplicate():  # it was done; were it due all the same, it would be taken again and again
                self._known.add(turn_token(event))
                return await self._read(result.current)
            case Mismatch():
                return await self._read(result.current)
            case _:
                if isinstance(event, CallReturned | Delivered):  # it has happened, whatever else was stored meanwhile
                    self._in_hand = event
                return await self._read(result)

    async def _promote(self, guest: Document, decision: Decision | None) -> bool:
        """Complete the promotion of a guest, whose replies and call are the member's then."""
        if isinstance(await self._turns.promote(guest), Unlinked):
            return False
        return True if decision is None else await self._go_on(decision)

    async def _go_on(self, decision: Decision) -> bool:
        """Deliver what was said, then make the call that was proposed."""
        turns = self._turns
        if decision.delivery is not None and self._context.confirmed:
            self._announced = decision
            self._follow_up = await self._deliver(decision, decision.delivery)
            return True
        if self._announced is not None:
            decision, self._announced = attrs.evolve(self._announced, delivery=None), None
        call = turns.next_call(decision)
        if call is not None:
            self._follow_up = turns.returned(call, await call)
        return True

    async def _deliver(self, decision: Decision, waiting: Undelivered) -> Delivered:
        """Deliver replies; an exception is reported, and the delivery tried again later."""
        document, context = decision.document, self._context
        replies = context.bot.say(replies_from_raw(waiting.replies), document.profile, document.channel)
        error = await Deliver(document.channel, replies, waiting.id)
        if error is not None:
            context.errors.append((waiting.id[:10], error))
        return Delivered(waiting.id, waiting.tries, error is None)
