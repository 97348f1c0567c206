"""Take in one fact that the channel tells. Idempotent: a fact that is told again has no second effect.

the member     the owner of the names on the channel (`names.py`), or the guest on it. A fact about an address of which
               nothing is stored changes nothing and stores nothing, unless it is an opened chat, which begins a
               conversation as a message does
a reply        a fact about a message of the bot names the reply that was sent as this message: one that this process
               has sent, or that is noted beside the document. While another process may not have noted yet what it
               sends, a failed message is looked up again
the turn       decide and commit under the token of the fact; nothing is committed that changes nothing
a call         what the turn proposes is made, and its result is stored as a late one (`wake.py`)
a new address  `readdress.py`, before the turn, so that a fact told again completes what was begun
"""

from __future__ import annotations

import itertools
from typing import Final, Literal

import attrs

from vimbiso_fsm.audit.folding import is_fold_due
from vimbiso_fsm.document.document import Document, first_document
from vimbiso_fsm.document.ids import instant
from vimbiso_fsm.engine.commit import Decision, verifying
from vimbiso_fsm.engine.decide import decide
from vimbiso_fsm.engine.events import CallReturned, ReplyRoute, turn_token
from vimbiso_fsm.engine.outbox import is_over
from vimbiso_fsm.engine.reading import Absent, Damaged, Encrypted, Foreign, Newer, Sound, open_document
from vimbiso_fsm.engine.windows import takes_words
from vimbiso_fsm.errors import DamagedDocument
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.replies import Reply
from vimbiso_fsm.messages.sending import Sent
from vimbiso_fsm.messages.told import AddressChanged, ChatOpened, OfReply, StatusChanged, Told
from vimbiso_fsm.messages.value import Value
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.operations.effects import STILL_RUNNING, TakePlace
from vimbiso_fsm.operations.fold import fold
from vimbiso_fsm.operations.guests import find_guest
from vimbiso_fsm.operations.leave import leave
from vimbiso_fsm.operations.names import Several, find_known
from vimbiso_fsm.operations.promote import promote
from vimbiso_fsm.operations.readdress import new_channels, readdress
from vimbiso_fsm.operations.replied import reply_of
from vimbiso_fsm.operations.sending import send, whole_outbox
from vimbiso_fsm.operations.turn import NONE_BUSY, MemberTurns, first_replies, record_mismatch
from vimbiso_fsm.operations.wake import wake
from vimbiso_fsm.store.requests import Broken, Commit, Committed, Duplicate, Load, Mismatch, Stored

LOOKS_FOR_REPLY: Final = 40
"""How often a failed message is looked up at most while replies are sent to the member: for some two seconds."""


@attrs.frozen(eq=False, repr=False)
class EventOutcome(Value):
    """The result of a fact that a channel tells, or of what another system gives.

    Attributes:
        status: "advanced" if it was taken in, "refused" if a reaction or guard refused it or its id or key was used for
            another one, "duplicate" if it was taken in before, "ignored" if it changes nothing, or "failed" if a
            callback raised.
        replies: What is to be said to a fact, each with its final words in `.text`. It goes to `channel`. What another
            system gives is said through the outbox, and not here.
        channel: The member's channel; None where nothing is said.
        member_id: The member or guest; None if the address is that of none.
        reason: Why a fact was ignored: "no reaction", "unknown member", "unknown message", "nothing to do", or "several
            members" if its names belong to several. Of what another system gives: why it was ignored ("unknown member",
            "several members", "busy", "no transition", "handed", "not handed") or refused ("unreachable" if the member
            wants no messages there or has no channel, "unknown flow", "unknown trigger", "unknown inbox", "key", the
            code of a refusal, or what is wrong with the data), and the first status of a duplicate. A trigger that was
            taken in has "unreachable" if what it says does not reach the member. Empty otherwise.
        confirmed: Whether the store has confirmed in time that it keeps the turn with the required durability.
        sent: Whether the manager has sent what is to be said: True, or False where it is left to a worker or given up.
            None if nothing is said, or the caller is to say it.
        held: Of what another system gives: "window" if what it says, or a part of it, waits for the member's next
            message, because the window of the channel is over and no template is named. Empty otherwise.
        reply: Of a fact about a message: the id of the reply that was sent as this message, see `OfReply`, or "unknown"
            if it is not one of the latest of the member. Empty of other facts.
    """

    status: Literal["advanced", "refused", "duplicate", "ignored", "failed"]
    replies: tuple[Reply, ...] = attrs.field(default=(), repr=False)
    channel: Channel | None = attrs.field(default=None, repr=False)
    member_id: str | None = None
    reason: str = ""
    confirmed: bool = True
    sent: bool | None = None
    held: str = ""
    reply: str = ""


async def handle_event(context: Context, event: Told, *, delivers: bool) -> EventOutcome:
    """Take in a fact about a member.

    Args:
        context: The context of the operation.
        event: The fact; its channel is known.
        delivers: Whether the shell can deliver replies.

    Raises:
        Contended: Other writers were faster until the patience was over.
        DamagedDocument: The member's document is damaged. Their next message repairs it.
        InvalidMessage: The new address in the fact is none.
        NewerState: A newer release has stored the member's document.
        ForeignState: The member's document is of a flow that the bot never had.
        TooManyMessages: A chat was opened by a new guest, above the rate of new guests.
        EncryptedState: The member's data is encrypted, and its key is not at hand.
    """
    taking = _Taking(context, event, delivers)
    for attempt in itertools.count(1):
        outcome = await taking.attempt()
        if outcome is not None:
            return attrs.evolve(outcome, reply=taking.reply) if taking.reply else outcome
        await context.pause(taking.member_id, attempt)
    raise AssertionError("unreachable")


class _Taking:
    """The taking in of one fact."""

    def __init__(self, context: Context, event: Told, delivers: bool) -> None:
        assert event.channel is not None
        self._context, self._event, self._delivers = context, event, delivers
        self._channel = event.channel
        self._names = tuple(map(context.bot.route, event.channel.names))
        self._place = self._names[0]
        self._turns = MemberTurns(context)
        self._admitted = False
        self._looks = 0

    @property
    def member_id(self) -> str:
        """The member or guest whom the fact is about."""
        return self._turns.member_id

    @property
    def reply(self) -> str:
        """The reply that the fact is about, or "unknown"; empty if it is about no message."""
        return self._event.reply or "unknown" if isinstance(self._event, OfReply) else ""

    async def attempt(self) -> EventOutcome | None:
        """Take the fact in at what is stored now. None if other writers were faster, or something had to end first."""
        context, turns = self._context, self._turns
        found = await find_known(context, self._names)
        if isinstance(found, Several):
            return EventOutcome("ignored", reason="several members")
        self._place = place = found.place
        owner = found.owner.member_id
        if owner is None:
            turns.member_id, stored = await find_guest(context.bot.digests, place.address)
        else:
            turns.member_id, stored = owner, await Load(owner)
        turns.head = stored.head
        match open_document(context.bot, turns.member_id, stored, instant(max(stored.at, context.now))):
            case Sound(document):
                turns.document = document
            case Absent():
                if not isinstance(self._event, ChatOpened):
                    return EventOutcome("ignored", reason="unknown member")
                self._admit(owner)
                now = instant(context.now)
                turns.document = first_document(
                    turns.member_id, self._channel, now, place.address, version=turns.head.version
                )
            case Newer(error) | Foreign(error) | Encrypted(error):
                raise error
            case Damaged(faults=faults):
                raise DamagedDocument(turns.member_id, "; ".join(faults[:3]))
        document = turns.document
        if document.moved is not None:
            await promote(context, document, turns.head)
        elif document.leaving:
            await leave(context, document, turns.head)
        elif (owner is not None and not (document.guest or document.has(place.address))) or not document.speaks_to(
            place.address
        ):
            return EventOutcome("ignored", reason="unknown member")  # of another account, or unlinked since
        elif self._is_known_later(document, stored):
            return None
        else:
            return await self._take(document, stored)
        return None

    def _is_known_later(self, document: Document, stored: Stored | Broken) -> bool:
        """Look up the reply that the fact is about; return whether it is to be looked up again.

        Another process notes what it has sent a moment later. Until then the replies are leased to it.
        """
        event, context = self._event, self._context
        if not isinstance(event, OfReply) or event.reply:
            return False
        reply = reply_of(context, self._turns.member_id, stored, self._channel, event.message_id)
        self._event = event = attrs.evolve(event, reply=reply)
        self._looks += 1
        is_last = event.reply or self._looks > LOOKS_FOR_REPLY or context.is_overdue
        if is_last or not (isinstance(event, StatusChanged) and event.failed):
            return False
        now, outbox = instant(context.now), context.sent.strike(self._turns.member_id, document).outbox
        return any(each.leased_until is not None and not each.rest and not is_over(each, now) for each in outbox)

    def _admit(self, owner: str | None) -> None:
        """Take in a new guest, once a fact.

        Raises:
            TooManyMessages: The guest is above the rate of new guests.
        """
        door = self._context.door
        if door is not None and owner is None and not self._admitted:
            self._admitted = True
            door.admit(self._place.address)

    async def _take(self, document: Document, stored: Stored | Broken) -> EventOutcome | None:
        """Decide the fact on a document, and commit the decision."""
        context, turns, event = self._context, self._turns, self._event
        if isinstance(event, AddressChanged):
            new = new_channels(context, event, self._channel)
            if {each.identifier for each in new} <= {each.identifier for each in self._names}:
                return EventOutcome("ignored", member_id=document.person, reason="nothing to do")
            result = await turns.settle(await self._verify())
            if not isinstance(result, Committed):
                return await self._not_committed(result, document)
            if not document.guest and await readdress(context, document.person, new):
                return await self._again(document)
        return await self._commit(document)

    async def _again(self, document: Document) -> EventOutcome | None:
        """Decide on what is stored after the new address was linked."""
        turns = self._turns
        stored = await Load(turns.member_id)
        reading = open_document(self._context.bot, turns.member_id, stored, instant(self._context.now))
        if not isinstance(reading, Sound) or not reading.document.has(self._place.address):
            return None
        turns.head, turns.document = stored.head, reading.document
        return await self._commit(reading.document)

    def _verify(self) -> Commit:
        """Return a commit that stores nothing and is answered with whether this fact was taken in before."""
        verify = verifying(self._context.bot.digests, self._event, self._turns.document.channels)
        return attrs.evolve(verify, member_id=self._turns.member_id, expected=self._turns.head)

    async def _commit(self, document: Document) -> EventOutcome | None:
        context, turns, event = self._context, self._turns, self._event
        busy = NONE_BUSY
        route = self._route(document)
        if document.outbox:
            document = turns.document = await whole_outbox(context, turns.member_id, document)
        while True:
            decision = decide(context.bot, document, event, instant(context.now), busy=busy, route=route)
            if decision.call is None or await TakePlace(decision.call):
                break
            busy |= {decision.call.service}
        if decision.changed:
            result = await turns.commit(decision, event, route)
            if isinstance(result, Committed):
                return await self._go_on(turns.decision)
        else:  # nothing is stored, and the fact may have been taken in before
            result = await turns.settle(await self._verify())
            if isinstance(result, Committed):
                reason = "unknown message" if self.reply == "unknown" else "nothing to do"
                return EventOutcome("ignored", member_id=document.person, reason=reason)
        return await self._not_committed(result, document)

    def _route(self, document: Document) -> ReplyRoute:
        """Return where the replies go. Outside the window of the channel they are late, and a worker's (`windows.py`).

        A member who opens a chat waits for the bot to begin, and the channel takes its words.
        """
        context, address = self._context, self._channel.address
        if self._channel.type not in context.senders:
            return "handle"
        opens = isinstance(self._event, ChatOpened)
        return "send" if opens or takes_words(context.bot, document, instant(context.now), address) else "keep"

    async def _not_committed(self, result: object, document: Document) -> EventOutcome | None:
        match result:
            case Duplicate():
                said = first_replies(self._context.bot, result.records, document)
                return self._outcome("duplicate", said, document)
            case Mismatch():
                token = turn_token(self._event, self._context.bot.digests.token_key)
                await record_mismatch(self._context, self.member_id, result, document, self._channel, token)
                return self._outcome("refused", (), document)
            case _:
                return None

    async def _go_on(self, decision: Decision) -> EventOutcome:
        """Do what a stored decision leads to: fold the audit, let the address go, make the call."""
        context, turns = self._context, self._turns
        document = decision.document
        if decision.entry is not None and is_fold_due(decision.entry):
            await fold(turns.member_id)
        if document.leaving:
            await leave(context, document, turns.head)
            return self._outcome(decision.status, decision.replies, document)
        outcome = self._outcome(decision.status, decision.replies, document)
        if decision.delivery is not None:
            (answer,) = await send(turns, [(decision.delivery, decision.replies)], outcome.channel)
            outcome = attrs.evolve(outcome, sent=isinstance(answer, Sent))
        elif decision.replies and self._channel.type in context.senders:
            outcome = attrs.evolve(outcome, sent=False)
        call = turns.next_call(decision)
        if call is not None:
            result = await call
            returned = None if result is STILL_RUNNING else turns.returned(call, result)
            if isinstance(returned, CallReturned):
                await wake(context, turns.member_id, delivers=self._delivers, answer=returned)
        return outcome

    def _outcome(self, status: str, replies: tuple[Reply, ...], document: Document) -> EventOutcome:
        """Return the outcome. What is said goes to the channel of the fact, or where the member is reached then."""
        event = self._event
        moved = isinstance(event, AddressChanged) and not document.has(self._place.address)
        channel = document.channel if moved else self._channel
        known = status if status in ("advanced", "refused", "duplicate", "ignored") else "failed"
        return EventOutcome(
            known,  # type: ignore[arg-type]  # one of the literals
            replies,
            channel if replies else None,
            document.person,
            confirmed=self._context.confirmed,
        )
