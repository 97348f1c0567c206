"""Run a member's due work: timers, expired leases, pending deliveries, session expiry.

`engine.schedule` reads from the document what is due. `wake` makes one turn after another until nothing is due, and
then sets the wake-up for the next due instant. Any worker may wake a member at any time, also two at once, because each
turn has a token of its own and is made on the head that was read. The late result of a call is stored in the same way.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import attrs

from vimbiso_fsm.audit.entries import AuditEntry
from vimbiso_fsm.document.document import Document, Passing, Undelivered
from vimbiso_fsm.document.ids import instant
from vimbiso_fsm.document.replies_codec import replies_from_raw
from vimbiso_fsm.engine.ahead import SKEW
from vimbiso_fsm.engine.commit import Decision
from vimbiso_fsm.engine.decide import decide
from vimbiso_fsm.engine.events import (
    CallReturned,
    ClockReturned,
    Delivered,
    DeliveryDue,
    Event,
    LeaseExpired,
    PassingDone,
    PassingDue,
    ReplyRoute,
    turn_token,
)
from vimbiso_fsm.engine.passing import PASSING_LEASE, passed_on
from vimbiso_fsm.engine.reading import Damaged, Encrypted, Foreign, Newer, Sound, open_document
from vimbiso_fsm.engine.schedule import Delivers, delivers_to, due, first_passing, wake_at
from vimbiso_fsm.engine.stranger import is_stranger
from vimbiso_fsm.engine.windows import as_sent
from vimbiso_fsm.flow.inboxes import LONGEST_HAND_OVER
from vimbiso_fsm.messages.message import Address
from vimbiso_fsm.messages.sending import Later, Never, Sent
from vimbiso_fsm.messages.told import StatusChanged
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.operations.effects import STILL_RUNNING, Deliver, PassOn, TakePlace
from vimbiso_fsm.operations.history import read_legible
from vimbiso_fsm.operations.leave import leave
from vimbiso_fsm.operations.pace import keep_pause, wait_at_pace
from vimbiso_fsm.operations.promote import Unlinked
from vimbiso_fsm.operations.sending import failure_of, whole_outbox
from vimbiso_fsm.operations.sent_notes import sent_messages
from vimbiso_fsm.operations.shared import record_damage
from vimbiso_fsm.operations.turn import NONE_BUSY, MemberTurns
from vimbiso_fsm.store.requests import Broken, Committed, Duplicate, Load, Mismatch, SetWakeUp, Stored

TURNS_PER_WAKE: Final = 32
"""The number of turns in one waking. Work that is still due is left for the next waking."""
RETRY_DELAY: Final = timedelta(seconds=60)
"""The delay of the next waking when an event is due that cannot be decided now: its token was used before, or it leads
to a call of a service that takes none now, or to a delivery for which no thread is free."""

_FACTS: Final = (CallReturned, Delivered, PassingDone)
"""The events that are facts, whatever another writer has stored meanwhile."""

PASSING_ROOM: Final = PASSING_LEASE / 2
"""The time that must be left of a lease when something is passed on: an inbox has ten seconds to answer."""

DELIVERY_DELAY: Final = timedelta(hours=1)
"""The delay of the next waking by a worker that delivers nothing, when only one that delivers has anything to do."""


async def wake(
    context: Context, member_id: str, *, delivers: bool, answer: CallReturned | None = None
) -> tuple[AuditEntry, ...]:
    """Run a member's due work.

    Args:
        context: The context of the operation.
        member_id: The member.
        delivers: Whether the shell can deliver replies to all members. To those of `context.senders` it can.
        answer: The late result of a call, which is stored first.

    Returns:
        The audit entries of the turns made.

    Raises:
        Contended: Other writers were faster until the patience was over.
        NewerState: A newer release has stored the member's document.
        ForeignState: The member's document is of a flow that the bot never had.
    """
    waking = Waking(context, member_id, delivers, answer)
    if await waking.load(member_id):
        while await waking.step():
            pass
    return tuple(entry for entry, *_ in context.stored)


class Waking:
    """One waking. Its methods return whether there may be more to do."""

    def __init__(self, context: Context, member_id: str, delivers: bool, answer: CallReturned | None = None) -> None:
        self._context = context
        self._turns = MemberTurns(context, member_id)
        self._delivers_to_all = delivers
        self._unstored: CallReturned | Delivered | PassingDone | None = answer
        self._follow_up: CallReturned | LeaseExpired | Delivered | PassingDone | None = None
        self._announced: Decision | None = None
        self._made = 0
        self._resting: dict[str, datetime | None] = {}
        self._due: datetime | None = None
        self._has_turn = False
        self._next_turn: datetime | None = None
        self._facts: list[StatusChanged] = []

    def _name(self, event: Event) -> str:
        return turn_token(event, self._context.bot.digests.token_key)

    async def load(self, member_id: str) -> bool:
        """Load the member's document."""
        self._turns.member_id = member_id
        return await self._read(await Load(member_id))

    async def _read(self, stored: Stored | Broken) -> bool:
        turns, context = self._turns, self._context
        turns.head = stored.head
        if self._follows and isinstance(stored, Stored) and stored.document is None and stored.head.version:
            return await self._follow_guest()
        match open_document(context.bot, turns.member_id, stored, instant(context.now)):
            case Sound(document):
                turns.document = document
                return True
            case Newer(error) | Foreign(error) | Encrypted(error):
                raise error
            case reading:
                return await self._unsound(reading, stored)

    @property
    def _follows(self) -> bool:
        """Whether something is to be stored, also at the member that a guest has become meanwhile."""
        return self._unstored is not None

    async def _unsound(self, reading: object, stored: Stored | Broken) -> bool:
        """Rest. A damaged document has no due work; the member's next message repairs it."""
        if isinstance(reading, Damaged):
            faults = "; ".join(reading.faults)
            await record_damage(self._context, "document", self._turns.member_id, faults=faults)
        await SetWakeUp(self._turns.member_id, stored.head)
        return False

    async def _follow_guest(self) -> bool:
        """Load the member that a guest has become, to whom the result of the call belongs now."""
        latest = await read_legible(self._turns.member_id, 1)
        member_id = latest[0].detail.get("moved_to") if latest else None
        return isinstance(member_id, str) and await self.load(member_id)

    @property
    def _delivers_on(self) -> Delivers:
        """Where the shell can deliver replies."""
        if self._delivers_to_all and self._context.reaches is not None:
            return self._reaches
        return self._delivers_to_all or self._context.senders

    @property
    def _delivers(self) -> bool:
        """Whether the shell can deliver replies to the channel of the member's latest turn."""
        return delivers_to(self._delivers_on, self._turns.document.channel.address)

    def _reaches(self, address: Address) -> bool:
        """Return whether the shell, which needs connections to deliver, has one to an address, or a sender for it."""
        reaches = self._context.reaches
        return address.type in self._context.senders or reaches is None or reaches(address.channel)

    @property
    def _route(self) -> ReplyRoute:
        return "deliver" if self._delivers else "keep"

    async def step(self) -> bool:
        """Make the next turn; when nothing is due, set the next wake-up."""
        turns = self._turns
        if self._follow_up is not None:
            event: Event = self._follow_up
            self._follow_up = None
            return await self._turn(event)
        if self._facts:
            return await self._turn(self._facts.pop(0))
        document, now = turns.document, instant(self._context.now)
        if document.outbox:
            document = turns.document = await whole_outbox(self._context, turns.member_id, document)
        if document.last_updated.timestamp() - SKEW > self._context.now:
            document = turns.correct(now)
        if document.moved is not None:
            return await self._promote(document, None)
        if document.leaving:
            await leave(self._context, document, turns.head)
            return await self.load(turns.member_id)
        self._made += 1
        if self._unstored is not None:
            event, self._unstored = self._unstored, None
            return await self._turn(event)
        for item in self._fresh_passing if document.passing else ():
            if not await TakePlace(None):
                break
            self._follow_up = await self._pass_on(item)
            return True
        for at, event in due(document, delivers=self._delivers_on):
            if self._name(event) not in self._resting:
                if at <= now and self._made <= TURNS_PER_WAKE:
                    if self._context.lag is None:  # what is due after it was not late
                        self._context.lag = (now - at).total_seconds()
                    if isinstance(event, PassingDue):
                        return await self._pass_due(event)
                    self._due = at
                    return await self._turn(event)
                break
        if document.ahead:
            returned = ClockReturned(now + timedelta(seconds=document.ahead), document.version)
            if self._name(returned) not in self._resting:
                return await self._turn(returned)
        return await self._rest()

    async def _rest(self) -> bool:
        """Set the next wake-up, because nothing is due now."""
        turns, document, now = self._turns, self._turns.document, instant(self._context.now)
        stranger = is_stranger(self._context.bot, document)
        wake = wake_at(document, delivers=self._delivers_on, stranger=stranger)
        if wake is not None and self._resting:
            again = min(until or now + RETRY_DELAY for until in self._resting.values())
            wake = max(wake, again)
        of_others = None if self._delivers_to_all else wake_at(document, stranger=stranger)
        if of_others is not None and of_others != wake:
            postponed = max(of_others, now + DELIVERY_DELAY)
            wake = postponed if wake is None else min(wake, postponed)
        await SetWakeUp(turns.member_id, turns.head, wake.timestamp() if wake else None)
        if self._next_turn is not None and self._context.note_next is not None:
            self._context.note_next(turns.member_id, self._next_turn.timestamp())
        return False

    async def _turn(self, event: Event) -> bool:
        """Decide an event and commit it, then do what the decision proposes."""
        turns, context = self._turns, self._context
        busy, route = NONE_BUSY, self._route
        while True:
            decision = decide(context.bot, turns.document, event, instant(context.now), route=route, busy=busy)
            if decision.call is not None and not await TakePlace(decision.call):
                if not isinstance(event, _FACTS):  # it stays due, and rests
                    self._rests(event)
                    return True
                busy |= {decision.call.service}
            elif decision.delivery is None or await self._may_deliver(decision.document, decision.delivery):
                break
            elif isinstance(event, DeliveryDue):
                self._rests(event)
                return True
            else:
                route = "keep"  # the replies wait in the outbox; their delivery is due, and rests
        result = await turns.commit(decision, event, route)
        match result:
            case Committed():
                stored = turns.decision
                if stored.changed and stored.document.moved is not None:
                    return await self._promote(stored.document, stored)
                if isinstance(event, PassingDue) and stored.changed:
                    item = self._next_passing(event.id)
                    self._follow_up = None if item is None else await self._pass_on(item)
                    return True
                return await self._go_on(stored)
            case Duplicate():  # an event that is due all the same must not be decided again and again
                self._rests(event)
                return await self._read(result.current)
            case Mismatch():
                return await self._read(result.current)
            case _:
                if isinstance(event, _FACTS):  # a fact, whatever another writer has stored meanwhile
                    self._unstored = event
                return await self._read(result)

    async def _may_deliver(self, document: Document, waiting: Undelivered) -> bool:
        """Take a place for a delivery, and its turn at the pace of the channel; return whether it has both."""
        now = instant(self._context.now)
        if self._next_turn is not None and now < self._next_turn:
            return False
        if not delivers_to(self._delivers_on, document.channel_at(waiting.to).address):
            return False
        self._next_turn = None
        if self._has_turn or not await TakePlace(None):
            return self._has_turn
        wait = await wait_at_pace(self._context, document, waiting, self._due or now)
        if wait:
            self._next_turn = instant(self._context.now + wait)
        self._has_turn = not wait
        return self._has_turn

    def _rests(self, event: Event) -> None:
        """Leave an event that is due for the next waking, which is when its delivery has its turn at the latest."""
        self._resting[self._name(event)] = self._next_turn if isinstance(event, DeliveryDue) else None

    async def _promote(self, guest: Document, decision: Decision | None) -> bool:
        """Complete the promotion of a guest. Its replies and its call are the member's then."""
        if isinstance(await self._turns.promote(guest), Unlinked):
            return False
        return decision is None or await self._go_on(decision)

    async def _go_on(self, decision: Decision) -> bool:
        """Deliver the replies of a turn, then make the call that it proposed."""
        turns = self._turns
        if decision.delivery is not None and self._context.confirmed:
            self._announced = decision
            self._follow_up = await self._deliver(decision, decision.delivery)
            return True
        if self._announced is not None:
            decision, self._announced = attrs.evolve(self._announced, delivery=None), None
        call = turns.next_call(decision)
        if call is not None:
            result = await call
            if result is STILL_RUNNING:  # the shell stores its result, and goes on from there
                return False
            self._follow_up = turns.returned(call, result)
        return True

    def _next_passing(self, id: str) -> Passing | None:
        """Return what is next on its way to an inbox of the shell, by its name."""
        waiting = (each for each in first_passing(self._turns.document.passing) if each.id == id)
        return next((item for item in waiting if item.inbox in self._context.inboxes), None)

    @property
    def _fresh_passing(self) -> list[Passing]:
        """What these turns pass on at once. What no process has a lease on for long enough is left to a worker."""
        own, at_hand = self._turns.passes, self._context.inboxes
        waiting = (item for item in first_passing(self._turns.document.passing) if item.inbox in own)
        latest = instant(self._context.now) + PASSING_ROOM
        return [item for item in waiting if item.inbox in at_hand and not item.tries and item.again_at >= latest]

    async def _pass_due(self, event: PassingDue) -> bool:
        """Take a lease on what is due, and pass it on. It rests where the shell has no such inbox, or no place.

        An inbox that the bot does not declare is one of another release, or a removed one. A process of the other
        release may be there for as long as a hand-over can last.
        """
        waiting = next(item for item in self._turns.document.passing if item.id == event.id)
        if waiting.inbox not in self._context.bot.inbox_names:
            now = instant(self._context.now)
            if now - waiting.at > timedelta(seconds=LONGEST_HAND_OVER):
                gone = Never("the bot has no such inbox")
                self._follow_up = PassingDone(waiting.id, waiting.tries, done=False, answer=gone)
            else:
                self._resting[self._name(event)] = now + DELIVERY_DELAY
            return True
        if self._next_passing(event.id) is None or not await TakePlace(None):
            self._rests(event)
            return True
        return await self._turn(event)

    async def _pass_on(self, item: Passing) -> PassingDone:
        """Give an inbox what passes to it. An exception is reported, and it is given again later."""
        answer = await PassOn(passed_on(self._turns.document, item))
        if isinstance(answer, Sent):
            return PassingDone(item.id, item.tries, done=True)
        if isinstance(answer, BaseException):
            self._context.errors.append((item.id[:10], answer))
            return PassingDone(item.id, item.tries, done=False)
        return PassingDone(item.id, item.tries, done=False, answer=answer)

    async def _deliver(self, decision: Decision, waiting: Undelivered) -> Delivered:
        """Deliver replies. An exception is reported, and the delivery is tried again later, as the channel asks."""
        document, context, self._has_turn = decision.document, self._context, False
        channel = document.channel_at(waiting.to)
        replies = context.bot.say(replies_from_raw(waiting.replies), document.profile, channel)
        replies = as_sent(context.bot, document, replies, waiting.to)
        answer = await Deliver(channel, replies, waiting.id)
        if isinstance(answer, Sent):
            if answer.ids:
                turns, sent_as = self._turns, sent_messages(context.bot, channel, answer)
                context.sent.note(turns.member_id, turns.head, turns.document, waiting.id, sent_as, waits=False)
            return Delivered(waiting.id, waiting.tries, done=True)
        if isinstance(answer, BaseException):
            context.errors.append((waiting.id[:10], answer))
            return Delivered(waiting.id, waiting.tries, done=False, error=type(answer).__name__)
        if isinstance(answer, Later):
            await keep_pause(context, channel, waiting.id, answer)
        if isinstance(answer, Never) and (fact := failure_of(context.bot, waiting.id, answer, channel)):
            self._facts.append(fact)
        return Delivered(waiting.id, waiting.tries, done=False, answer=answer)
