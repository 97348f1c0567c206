"""Handle one message. Idempotent: a redelivered message returns its first result.

the member     `FindOwner`, unless the owner of the channel is cached
the document   `Load`, unless it is cached; a damaged one is repaired; where nothing was ever stored, the bot's importer
               may import a record. A guest whom the worker does not know is presumed to be new: the commit of the first
               turn is made only if that is so, and else answered with the document
the turns      decide and commit; make the proposed call, whose result is the next turn (`turn.py`)
a duplicate    return the first result; while its call is pending, wait for it
a promotion    complete it, and decide the message at the member
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from datetime import timedelta
from functools import cached_property
from typing import Any

import attrs

from vimbiso_fsm.audit.folding import is_fold_due
from vimbiso_fsm.document.codec import decode, encode
from vimbiso_fsm.document.document import Document, Undelivered, first_document
from vimbiso_fsm.document.ids import hashed, instant, is_guest_id
from vimbiso_fsm.document.replies_codec import replies_from_raw
from vimbiso_fsm.engine.ahead import SKEW
from vimbiso_fsm.engine.commit import Decision, commit_of, verifying
from vimbiso_fsm.engine.decide import current_question, decide
from vimbiso_fsm.engine.events import (
    CallReturned,
    Delivered,
    DeliveryDue,
    Event,
    LeaseExpired,
    ReplyRoute,
    turn_token,
)
from vimbiso_fsm.engine.outbox import OUTBOX
from vimbiso_fsm.engine.reading import Absent, Encrypted, Foreign, Newer, Sound, open_document
from vimbiso_fsm.engine.salvage import Salvage, evicted
from vimbiso_fsm.engine.schedule import DELIVERY_TRIES, for_address, next_delivery
from vimbiso_fsm.engine.windows import as_sent
from vimbiso_fsm.errors import DocumentTooLarge, VimbisoError
from vimbiso_fsm.messages.message import NAMES, Channel, Message
from vimbiso_fsm.messages.replies import Reply, Text
from vimbiso_fsm.messages.sending import Answer, Sent
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.operations.effects import STILL_RUNNING, Beginning, Deliver, Pause, TakePlace
from vimbiso_fsm.operations.fold import fold
from vimbiso_fsm.operations.guests import earlier_guest, find_guest
from vimbiso_fsm.operations.history import read_legible
from vimbiso_fsm.operations.leave import leave
from vimbiso_fsm.operations.mend import mend, resumed_with_notice, store_recovery
from vimbiso_fsm.operations.names import Several, meet, record_conflict
from vimbiso_fsm.operations.pass_on import pass_on
from vimbiso_fsm.operations.promote import Unlinked
from vimbiso_fsm.operations.replied import with_reply
from vimbiso_fsm.operations.sending import is_first, note_sent, send, settle, whole_outbox
from vimbiso_fsm.operations.shared import find_owner, proven_owner
from vimbiso_fsm.operations.turn import (
    NONE_BUSY,
    STALE,
    MemberTurns,
    TurnResult,
    first_replies,
    record_mismatch,
    stored_replies,
)
from vimbiso_fsm.store import requests


@attrs.frozen
class Outcome:
    """The result of a message.

    Attributes:
        status: "advanced", "refused", "duplicate", "recovered", "ignored" or "failed".
        replies: The replies to the member, each with its final words in `.text`.
        confirmed: Whether the store has confirmed in time that it keeps the turn with the required durability
            ("replicated"). Calls wait for that.
        sent: Whether the manager has sent the replies: True, or False where they are left to a worker or given up.
            None if they are to be sent by the caller of `handle`.
        leased: The replies in the outbox that the caller of `handle` sends and tells the manager about.
    """

    status: str
    replies: tuple[Reply, ...] = attrs.field(repr=False)
    _document: Document = attrs.field(repr=False)
    confirmed: bool = True
    sent: bool | None = None
    leased: tuple[tuple[Undelivered, tuple[Reply, ...]], ...] = attrs.field(default=(), repr=False)

    @property
    def member_id(self) -> str:
        """The id under which the member's document is stored."""
        return self._document.member_id

    @cached_property
    def state(self) -> Document:
        """A copy of the member's document. Changes to it are not stored."""
        return decode(encode(self._document))


async def handle(context: Context, message: Message, *, imports: bool = False, sends: bool = True) -> Outcome:
    """Handle a message as one coroutine. See `Handling`."""
    return await Handling(context, message, imports=imports, sends=sends).whole()


class Handling(Beginning[Outcome]):
    """The handling of one message.

    A plain turn is straight code: the document is cached, the decision proposes no call, and the outcome follows the
    commit, or the answer of the channel to the replies (`first`, `answered`). All else is done by coroutines, which go
    on from where the straight code has come to.
    A method that returns an `Outcome` ends the handling. One that returns None leaves a document and an event to be
    decided on it.
    """

    # What few messages change has its default in the class.
    _then: Callable[[Handling], Awaitable[Outcome | None]]  # what is to be done next
    _answer: requests.CommitResult | DocumentTooLarge  # to the first commit; set if it has stored nothing
    _delivery: Deliver | None = None  # the replies that are sent as straight code
    _not_sent: Answer | BaseException  # the answer of the channel to them; set if it is not `Sent`
    _decided_at = 0.0
    _elsewhere = False
    _looked_before = False
    _admitted = False
    _presumed = False
    _linked = False
    _owner_is_cached = False
    _owner_asked_at = -1  # the version of the guest at which the owner was asked for again
    _salvage: Salvage | None = None
    _repeating = False
    _status = ""
    _kept = 0  # the number of replies that turns have stored

    def __init__(
        self,
        context: Context,
        message: Message,
        place: Channel | None = None,
        *,
        imports: bool = False,
        sends: bool = True,
    ) -> None:
        """Prepare to handle a message.

        Args:
            context: The context of the operation.
            message: The message.
            place: Its channel as the bot tells it from others (`Bot.route`), where it is at hand.
            imports: Whether the shell can read records of the previous release for the bot's importer.
            sends: Whether replies are sent at once, if the shell has a sender for the channel. Otherwise they are
                leased to the caller.
        """
        self._context = context
        self._message = message
        self._place = place or context.bot.route(message.channel)
        self._names = tuple(map(context.bot.route, message.channel.names)) if NAMES in message.channel.metadata else ()
        self._imports = imports and context.bot.importer is not None
        self._event: Event = message
        self._turns = MemberTurns(context)
        self._replies: list[Reply] = []
        self.leases = message.channel.type in context.senders
        self._route: ReplyRoute = "send" if self.leases else "handle"  # "keep" once the channel has left the member
        self._sends = sends
        self._leased: list[tuple[Undelivered, tuple[Reply, ...]]] = []
        self._answers: list[Answer | None] = []
        self._repeated: dict[str, list[Any]] = {}  # the raw replies of earlier turns, by their id in the outbox

    # The way of a message -------------------------------------------------------------------------------------------

    def first(self) -> requests.Commit | None:
        """Decide the message at a cached document, and return the commit.

        None if there is more to do first: the document is not cached, something comes before the decision, or it
        proposes a call, which needs a place.
        """
        self._then = Handling.locate
        if not self.is_cached():
            return None
        turns, self._then = self._turns, Handling.turn
        document = turns.document
        is_ahead = document.last_updated.timestamp() - SKEW > self._context.now
        if document.outbox or document.moved is not None or is_ahead or self._message.replied_to:
            return None
        decision = turns.decision = self._decide()
        self._then = Handling._commit
        return commit_of(decision, turns.head) if decision.call is None else None

    def answered(self, answer: Any) -> Outcome | Deliver | None:
        """Take the answer of the store to that commit, and then that of the channel to its replies.

        Returns:
            The outcome; the replies to be sent, if they are the next ones in the outbox; None if there is more to do.
        """
        if self._delivery is not None:
            return self._delivered(self._delivery, answer)
        if not isinstance(answer, requests.Committed):
            self._answer, self._then = answer, Handling._lost
            return None
        turns = self._turns
        stored, turns.attempts = turns.decision, 1
        turns.stored(stored, answer)
        self._take_stored(stored)
        document = stored.document
        if (
            turns.passes
            or (stored.changed and (document.moved is not None or document.leaving))
            or (stored.entry is not None and stored.entry.kind != "transition" and is_fold_due(stored.entry))
        ):
            self._then = Handling._go_on
            return None
        if not self.leases:
            return self._finish(turns.document)
        waiting = stored.delivery
        if waiting is None or not (self._sends and is_first(turns, waiting)):
            self._then = Handling._go_on
            return None
        self._kept = len(self._replies)
        at = turns.document.channel.at_place_of(self._message.channel)
        self._delivery = Deliver(at, stored.replies, waiting.id, True)
        return self._delivery

    def _delivered(self, delivery: Deliver, answer: Answer | BaseException) -> Outcome | None:
        """Take the answer of the channel to the replies; return the outcome, unless there is more to do."""
        turns = self._turns
        waiting = turns.document.outbox[0]
        if not isinstance(answer, Sent):
            self._not_sent, self._then = answer, Handling._settle
            return None
        note_sent(turns, waiting, answer, delivery.channel)
        self._answers.append(answer)
        return self._finish(turns.document)

    async def _settle(self) -> Outcome:
        """Take note that the channel has not taken the replies."""
        turns, delivery = self._turns, self._delivery
        assert delivery is not None
        waiting = turns.document.outbox[0]
        self._answers.append(await settle(turns, waiting, delivery.replies, self._not_sent, delivery.channel))
        return self._finish(turns.document)

    async def rest(self) -> Outcome:
        """Do what is left of the handling.

        Raises:
            Contended: Other writers were faster until the patience was over.
            NewerState: A newer release has stored the member's document.
            ForeignState: The member's document is of a flow that the bot never had.
            TooManyMessages: The sender is a new guest, above the rate of new guests.
            EncryptedState: The member's data is encrypted, and its key is not at hand.
        """
        outcome = await self._then(self)
        while outcome is None:
            outcome = await self.turn()
        if self.leases and (not self._sends or len(outcome.replies) > self._kept):
            outcome = await self.sent(outcome, sends=self._sends)
        passes, context = self._turns.passes, self._context
        if passes and context.inboxes:
            with suppress(VimbisoError):  # the turn is stored, and a worker passes on what is left
                await pass_on(context, outcome._document.member_id, passes)
        return outcome

    # The member and the document ----------------------------------------------------------------------------------

    def is_cached(self) -> bool:
        """Take the owner of the channel and the document from the cache; return whether the document is there."""
        turns, cache = self._turns, self._context.cache
        member_id = cache.member(self._place.address)
        self._owner_is_cached = self._linked = member_id is not None
        turns.member_id = member_id or self._context.bot.digests.guest_id(self._place.address)
        known = cache.document(turns.member_id)
        if self._names and not (known is not None and self._has_names(known.document)):
            self._owner_is_cached = self._linked = False
            return False
        if known is None:
            return False
        document = known.document
        self._linked = self._linked and not document.guest
        # The channel may have left since the owner was remembered, and the document may have been read after that.
        may_have_left = self._linked and (document.leaving or self._place.address not in document.channels)
        if may_have_left and not self._leads_to(document):
            self._owner_is_cached = False
            return False
        turns.head, turns.document = known.head, document
        return True

    def _has_names(self, document: Document) -> bool:
        """Whether a cached document need not be looked for by the names of the message.

        The names of a guest end, so they are looked up again when a session begins.
        """
        is_over = document.deadline is None or document.deadline.timestamp() <= self._context.now
        return not (document.guest and is_over) and all(document.has(name.address) for name in self._names[1:])

    async def locate(self) -> Outcome | None:
        """Find the owner of the channel, unless it is cached, and read the owner's document."""
        if self._owner_is_cached:
            return await self._read(await requests.Load(self._turns.member_id))
        return await self._find_owner()

    async def _find_owner(self) -> Outcome | None:
        if not self._names:
            return await self._go_to(await find_owner(self._context, self._place))
        found = await meet(self._context, self._names)
        if isinstance(found, Several):
            return await self._refuse_names(found)
        self._place = found.place
        return await self._go_to(found.owner)

    async def _refuse_names(self, found: Several) -> Outcome:
        """Refuse a message whose names belong to several members. Nothing of them is shown or changed."""
        turns, context = self._turns, self._context
        for member_id in found.members:
            await record_conflict(context, member_id, self._place, "several members")
        turns.member_id, turns.head = context.bot.digests.guest_id(self._place.address), requests.NO_HEAD
        turns.document = document = self._new_document()
        self._status, self._replies = "refused", [*self._said([Text("address.several")], document)]
        return self._finish(document)

    async def _go_to(self, owner: requests.Linked) -> Outcome | None:
        """Read the document of the channel's owner, or of the guest on a channel that has none."""
        turns, cache, place = self._turns, self._context.cache, self._place
        self._owner_is_cached = False
        self._linked = bool(owner.member_id) and not is_guest_id(owner.member_id or "")
        turns.member_id = owner.member_id or self._context.bot.digests.guest_id(place.address)
        if owner.member_id:
            cache.linked(place.address, owner.member_id)
        known = cache.document(turns.member_id)
        if known is None or not self._leads_to(known.document):
            if known is None and not self._linked and self._presume():
                return None
            return await self._read(await requests.Load(turns.member_id))
        turns.head, turns.document = known.head, known.document
        return None if known.document.speaks_to(place.address) else await self._go_elsewhere()

    def _presume(self) -> bool:
        """Begin with a new document for a guest whom the worker does not know; return whether that may be.

        It is done once a message, by a worker that remembers guests, and where nothing else would be asked of the store
        if nothing is stored.
        """
        turns, context = self._turns, self._context
        may = context.cache.remembers and not self._imports and not self._presumed and not self._place.address.account
        if not may or len(context.bot.digests.guest_ids(self._place.address)) > 1:
            return False
        if context.door is not None and not context.door.has_room():
            return False  # a guest who is refused has to be a new one
        self._presumed = True
        self._admit()
        turns.head = requests.NO_HEAD
        turns.document = self._new_document()
        return True

    async def _go_elsewhere(self) -> Outcome | None:
        """Leave a conversation with another account of the bot alone, and read that of the guest on this one."""
        self._context.cache.forget(self._turns.member_id, self._place.address)
        self._elsewhere = True
        return await self._go_to(requests.Linked(None))

    async def _read(self, stored: requests.Stored | requests.Broken) -> Outcome | None:
        """Read the stored data, and repair it if it is damaged, until there is a document to decide on."""
        turns, context = self._turns, self._context
        while True:
            turns.head = stored.head
            match open_document(context.bot, turns.member_id, stored, instant(max(stored.at, context.now))):
                case Sound(document):
                    self._unadmit()
                    turns.document, self._salvage = document, None
                    if not self._leads_to(document) and (owner := await self._other_owner(document)) is not None:
                        return await self._depart(owner)
                    return None if document.speaks_to(self._place.address) else await self._go_elsewhere()
                case Absent():
                    return await self._begin(stored.at)
                case Newer(error) | Foreign(error) | Encrypted(error):
                    if not self._status:
                        raise error
                    return self._finish(turns.document)  # the other release goes on with the turn of this message
                case _:
                    current = await self._mend(stored)
                    if current is None:
                        return None
                    stored = current

    async def _begin(self, at: float) -> Outcome | None:
        """Begin with a new document where none is stored, and report one that the server has evicted.

        `at`: seconds since the epoch on the store's clock.
        """
        turns, context = self._turns, self._context
        turns.document = self._new_document()
        if self._salvage is not None:
            return None
        if self._linked:
            now = await find_owner(self._context, self._place)
            if now.member_id != turns.member_id:  # the channel was taken from the member, whose document is gone
                return await self._depart(now)
        if not turns.head.version:
            if self._linked and (proven := await proven_owner(context, self._place, turns.member_id)) is not None:
                context.cache.forget(turns.member_id, self._place.address)
                return await self._go_to(proven)
            earlier = await self._earlier_guest()
            if earlier is not None:
                return await self._read(earlier)
            importer, self._imports = context.bot.importer if self._imports else None, False
            if importer is not None and await importer.import_record(context, turns.member_id, self._message.channel):
                return await self._find_owner()
            self._admit()
            return None
        owner = await self._owner_after_promotion()
        if owner is not None:
            return await self._go_to(owner)
        self._admit()
        latest = await read_legible(turns.member_id, 1)
        is_current = bool(latest) and latest[-1].version == turns.head.version  # else another writer was faster
        if is_current and evicted(latest[-1], instant(at)):
            self._salvage = Salvage(turns.document, (), ("document",), Text("session.lost"))
        return None

    def _admit(self) -> None:
        """Take in a new guest, once a message.

        Raises:
            TooManyMessages: The guest is above the rate of new guests.
        """
        door = self._context.door
        if door is not None and not self._linked and not self._admitted:
            self._admitted = True
            door.admit(self._place.address)

    def _unadmit(self) -> None:
        """Take back the count of a guest who was presumed to be new and is known."""
        door = self._context.door
        if door is not None and self._presumed and self._admitted:
            self._admitted = False
            door.unadmit()

    async def _earlier_guest(self) -> requests.Stored | requests.Broken | None:
        """Return what is stored of the guest under an earlier id: of an earlier key, or of the time without accounts.

        It is looked for once a message, and only where nothing was ever stored under the guest's own id.
        """
        turns, address = self._turns, self._place.address
        if self._linked or self._looked_before:
            return None
        self._looked_before = True
        found = await earlier_guest(self._context.bot.digests, address) or await self._guest_without_account()
        if found is None:
            return None
        turns.member_id, stored = found
        return stored

    async def _guest_without_account(self) -> tuple[str, requests.Stored | requests.Broken] | None:
        """Return the guest of the time before accounts were told apart, if this account may take it over."""
        address = self._place.address
        if not address.account:
            return None
        member_id, stored = await find_guest(self._context.bot.digests, address.without_account)
        if isinstance(stored, requests.Stored) and stored.document is None:
            return None
        reading = open_document(self._context.bot, member_id, stored, instant(self._context.now))
        if isinstance(reading, Sound) and not reading.document.speaks_to(address):
            return None
        return member_id, stored

    async def _owner_after_promotion(self) -> requests.Linked | None:
        """Return the owner of the channel, if its guest was promoted meanwhile. The store is asked once a version."""
        if self._linked or self._owner_asked_at == self._turns.head.version or self._elsewhere:
            return None
        self._owner_asked_at = self._turns.head.version
        self._context.cache.forget(self._turns.member_id)
        owner = await find_owner(self._context, self._place)
        return None if owner.member_id in (None, self._turns.member_id) else owner

    def _new_document(self) -> Document:
        turns, now = self._turns, instant(self._context.now)
        channel, address = self._message.channel, self._place.address
        return first_document(turns.member_id, channel, now, address, version=turns.head.version)

    # A channel that has left its member ---------------------------------------------------------------------------

    def _leads_to(self, document: Document) -> bool:
        """Return whether the document says that the channel leads to it; that of a guest has nothing to say."""
        address = self._place.address
        return not self._linked or (document.has(address) and not document.is_leaving(address))

    async def _other_owner(self, document: Document) -> requests.Linked | None:
        """Return the owner of a channel that is not linked in the document of the member that it has led to.

        None if the index leads to the same member all the same: then the document has lost the channel, by a repair. It
        was read before the index, so a commit on it loses against an unlink since.
        """
        if document.is_leaving(self._place.address):
            await leave(self._context, document, self._turns.head)
        owner = await find_owner(self._context, self._place)
        if owner.member_id != document.member_id:
            return owner
        return await proven_owner(self._context, self._place, document.member_id)

    async def _part(self, document: Document) -> Outcome | None:
        """Handle the message at the guest on its channel, because a login says that it is another person's."""
        await leave(self._context, document, self._turns.head)
        self._event = self._message
        return await self._depart(await find_owner(self._context, self._place))

    async def _depart(self, owner: requests.Linked) -> Outcome | None:
        """Handle the message at the new owner of its channel. No reply shows anything of the former owner.

        The result of a call is a fact of the former owner, and stored there first.
        """
        if isinstance(self._event, CallReturned) and self._route != "keep":
            self._route = "keep"
            return None
        self._context.cache.forget(self._turns.member_id, self._place.address)
        self._event, self._route = self._message, "send" if self.leases else "handle"
        self._repeating, self._status, self._replies = False, "", []
        return await self._go_to(owner)

    async def _is_answered_elsewhere(self, current: requests.Stored) -> requests.Linked | None:
        """Return the new owner of the channel, if the stored document of the former one has let it go."""
        turns = self._turns
        reading = open_document(self._context.bot, turns.member_id, current, instant(self._context.now))
        if not isinstance(reading, Sound) or self._leads_to(reading.document):
            return None
        turns.head = current.head
        return await self._other_owner(reading.document)

    # Repair -------------------------------------------------------------------------------------------------------

    async def _mend(self, stored: requests.Stored | requests.Broken) -> requests.Stored | requests.Broken | None:
        """Repair a damaged document. Return the stored data if another worker was faster."""
        turns, channel = self._turns, self._message.channel
        repaired = await mend(self._context, turns.member_id, stored, channel, guest=not self._linked)
        if isinstance(repaired, requests.Conflict):
            self._salvage = None
            return await turns.reload(repaired)
        if repaired is None:
            self._salvage = None
            return await requests.Load(turns.member_id)
        self._salvage = repaired.salvage
        turns.head = repaired.head
        turns.document = attrs.evolve(repaired.salvage.document, version=repaired.head.version)
        return None

    async def _restore(self, saved: Salvage) -> Outcome | None:
        """Store the salvaged document by itself, because the turn of the message stores nothing, and read it again.

        The notice to the member comes with the next reply.
        """
        turns, context = self._turns, self._context
        self._salvage = None
        member_id, head = turns.member_id, turns.head
        document = resumed_with_notice(context.bot, member_id, head, saved, instant(context.now))
        with suppress(DocumentTooLarge):  # then the member begins with a new document
            await store_recovery(context, member_id, head, document, context.now, saved.detail)
        return await self._read(await requests.Load(member_id))

    # The turn -----------------------------------------------------------------------------------------------------

    async def turn(self) -> Outcome | None:
        """Decide the event on the document and commit the decision, then make the call that it proposes."""
        turns, context = self._turns, self._context
        if turns.document.outbox:
            turns.document = await whole_outbox(context, turns.member_id, turns.document)
        if turns.document.last_updated.timestamp() - SKEW > context.now:
            turns.correct(instant(context.now))
        if self._event is self._message:
            if self._repeating:
                return await self._repeat(turns.document)
            if turns.document.moved is not None:
                return await self._follow(turns.document)
            if self._message.replied_to and self._message.reply is None and turns.document.version:
                self._event = self._message = await with_reply(context, turns.document, self._message)
        turns.decision = self._decide()
        return await self._commit()

    def _decide(self, busy: frozenset[str] = NONE_BUSY) -> Decision:
        """Decide the event on the document."""
        turns, context, saved = self._turns, self._context, self._salvage
        self._decided_at = context.now
        now = instant(context.now)
        return decide(
            context.bot,
            turns.document,
            self._event,
            now,
            recovered=saved.words if saved is not None else None,
            arrived=now - timedelta(seconds=context.waited),
            route=self._route,
            busy=busy,
        )

    async def _commit(self) -> Outcome | None:
        """Commit the decision, once a call that it proposes has a place."""
        turns, context, event, saved = self._turns, self._context, self._event, self._salvage
        decision, busy = turns.decision, NONE_BUSY
        while decision.call is not None:
            if not await TakePlace(decision.call):
                if isinstance(event, LeaseExpired):  # the call rests, and the message was answered before
                    return self._finish(turns.document)
                busy |= {decision.call.service}
            elif context.now - self._decided_at < STALE:
                break
            decision = self._decide(busy)
        if saved is not None:
            if not decision.changed:
                return await self._restore(saved)
            if decision.entry is not None:
                detail = {**saved.detail, **decision.entry.detail}
                decision = attrs.evolve(decision, entry=attrs.evolve(decision.entry, detail=detail))
        return await self._settled(await turns.commit(decision, event, self._route))

    async def _settled(self, result: TurnResult) -> Outcome | None:
        """Go on after a commit."""
        if not isinstance(result, requests.Committed):
            return await self._not_committed(result)
        if self._route == "keep":
            return await self._depart(await find_owner(self._context, self._place))
        self._take_stored(self._turns.decision)
        return await self._go_on()

    async def _lost(self) -> Outcome | None:
        """Go on from a first commit that has stored nothing."""
        turns, answer = self._turns, self._answer
        turns.attempts = 1
        if isinstance(answer, DocumentTooLarge):
            return await self._settled(await turns.too_large(answer, self._event, self._route))
        return await self._settled(await turns.settle(answer))

    def _take_stored(self, stored: Decision) -> None:
        """Take the status and the replies of a turn that was stored.

        Those of a turn that takes the channel from its member are of another person.
        """
        self._salvage = None
        if stored.document.leaving and self._leaves(stored):
            return
        if not self._status or stored.status == "failed":
            self._status = stored.status
        self._replies += stored.replies

    def _leaves(self, stored: Decision) -> bool:
        """Whether a turn that was stored has taken the channel from its member."""
        return stored.changed and stored.document.is_leaving(self._place.address)

    async def _go_on(self) -> Outcome | None:
        """Go on after a turn that was stored."""
        turns = self._turns
        stored = turns.decision
        if stored.document.leaving and self._leaves(stored):
            return await self._part(stored.document)
        if self.leases:
            self._kept = len(self._replies)
            if stored.delivery is not None:
                self._leased.append((stored.delivery, stored.replies))
            elif stored.replies:
                self._answers.append(None)  # they wait behind others
        if stored.entry is not None and is_fold_due(stored.entry):
            await fold(turns.member_id)
        if stored.changed and stored.document.moved is not None:
            return await self._promote(stored.document, stored)
        if self._leased and self._sends:
            leased, self._leased = self._leased, []
            self._answers += await send(turns, leased, turns.document.channel.at_place_of(self._message.channel))
        if stored.call is None:
            return await self._finish_repeat(turns.document) if self._repeated else self._finish(turns.document)
        return await self._call(stored)

    async def _not_committed(self, result: TurnResult) -> Outcome | None:
        if self._linked and isinstance(result, requests.Duplicate | requests.Mismatch):
            owner = await self._is_answered_elsewhere(result.current)
            if owner is not None:
                self._event = self._message
                return await self._depart(owner)
        match result:
            case requests.Duplicate() | requests.Mismatch() if self._salvage is not None:
                return await self._restore(self._salvage)
            case requests.Duplicate():
                return await self._duplicate(result)
            case requests.Mismatch():
                return await self._refuse(result)
            case requests.Stored() | requests.Broken():
                return await self._read(result)
            case _:  # a verified message whose token has expired since it was handled
                return self._finish(self._turns.document)

    async def _call(self, decision: Decision) -> Outcome | None:
        """Make the proposed call. Its result is the next turn; without a result now, the message is finished."""
        turns = self._turns
        call = turns.next_call(decision)
        if call is None:
            return self._finish(turns.document)
        result = await call
        if result is STILL_RUNNING:
            self._replies += current_question(self._context.bot, turns.document, instant(self._context.now))
            return self._finish(turns.document)
        self._event = turns.returned(call, result)
        return None

    def _finish(self, document: Document) -> Outcome:
        """Return the outcome. A message that brought no reply is answered with the current question."""
        context, replies = self._context, tuple(self._replies)
        if not (replies or (document.opted_out and document.is_opted_out(self._place.address))):
            replies = current_question(context.bot, document, instant(context.now))
        known = document.at(instant(context.now)) if document.authenticated else document
        sent = {*map(type, self._answers)} <= {Sent} if self.leases and self._sends else None
        return Outcome(self._status, replies, known, context.confirmed, sent)

    # Sending ------------------------------------------------------------------------------------------------------

    async def _send_left(self) -> None:
        """Send what is left of the replies to a repeated message, and what precedes it, unless a process sends it now.

        What is still leased to a process that has ended is left to a worker.
        """
        turns, context = self._turns, self._context
        for _ in range(OUTBOX):
            document = turns.document = await whole_outbox(context, turns.member_id, turns.document)
            here = for_address(document.outbox, document.channel.address)
            waiting, now = next_delivery(here), instant(context.now)
            if waiting is None or not any(document.waits(id) for id in self._repeated):
                return
            if waiting.leased_until is not None and waiting.leased_until > now:
                return
            event = DeliveryDue(waiting.id, waiting.tries)
            decision = decide(context.bot, document, event, now, route="keep")
            if not decision.changed or decision.delivery is None:
                return
            if not isinstance(await turns.commit(decision, event, "keep"), requests.Committed):
                return  # another process sends it
            said = self._said(replies_from_raw(decision.delivery.replies), turns.document)
            self._answers += await send(turns, [(decision.delivery, as_sent(context.bot, turns.document, said))])

    async def sent(self, outcome: Outcome, *, sends: bool) -> Outcome:
        """Return the outcome of a message whose replies are leased, and send those that no turn has stored.

        These say what holds at this moment, such as that a call is still made, and are not kept. A repeated message
        has none.
        """
        if not sends:
            return attrs.evolve(outcome, leased=(*self._leased,))
        done = outcome.sent
        extra = outcome.replies[self._kept :]
        if done and extra and not self._repeating and not self._message.burst:
            key = hashed("said", self._token)[:16]
            at = outcome._document.channel.at_place_of(self._message.channel)
            answer = await Deliver(at, extra, key, is_reply=True)
            if isinstance(answer, BaseException):
                self._context.errors.append((key[:10], answer))
            done = isinstance(answer, Sent)
        return attrs.evolve(outcome, sent=done)

    # Duplicates --------------------------------------------------------------------------------------------------

    async def _refuse(self, mismatch: requests.Mismatch) -> Outcome:
        """Refuse a message whose token was used with another content, and record an incident."""
        document, turns, channel = self._take(mismatch.current), self._turns, self._message.channel
        self._status, self._replies = "refused", [*self._said([Text("message.reused")], document)]
        await record_mismatch(self._context, turns.member_id, mismatch, document, channel, self._token)
        return self._finish(document)

    async def _duplicate(self, duplicate: requests.Duplicate) -> Outcome | None:
        """Return the replies of the turn that was made before under this token."""
        if self._event is self._message:
            if duplicate.current.document is None:
                owner = await self._owner_after_promotion()
                if owner is not None:
                    return await self._go_to(owner)
            self._status = "duplicate"
            self._replies = []
        document = self._take(duplicate.current)
        self._repeated |= stored_replies(document.member_id, duplicate.records)
        self._replies += first_replies(self._context.bot, duplicate.records, document)
        self._repeating = True
        return None if self._event is self._message else await self._repeat(document)

    async def _repeat(self, document: Document) -> Outcome | None:
        """Complete the first result of a message: wait for its call, and take it up when its lease has expired."""
        if document.moved is not None:
            return await self._follow_on(document)
        turns, context, call = self._turns, self._context, document.call
        if call is None or self._event is not self._message or not self._verify().names(*call.root.split()):
            return await self._finish_repeat(document)
        if instant(context.now) >= call.leased_until:
            self._event = LeaseExpired(call.key, call.root, call.tries)
            return None
        if context.is_overdue:
            return await self._finish_repeat(document)
        turns.attempts += 1
        await Pause(turns.attempts)
        return await self._not_committed(await turns.settle(await self._verify()))

    async def _finish_repeat(self, document: Document) -> Outcome | None:
        """Finish a repeated message, after the replies that its answer brings were taken from the outbox.

        The answer counts as a delivery of its own. Else the member would be told twice, and the next text would be
        taken for one from before the question. Replies that wait for a login, and so for no delivery, stay.
        """
        if self.leases:
            if self._sends:
                await self._send_left()
            return self._finish(document)
        for waiting in document.outbox:
            brought = self._repeated.get(waiting.id, ())
            if waiting.tries < DELIVERY_TRIES and all(reply in brought for reply in waiting.replies):
                del self._repeated[waiting.id]  # once, also if what is stored does not change
                self._event = Delivered(waiting.id, waiting.tries + 1, done=True)
                return None
        return self._finish(document)

    @cached_property
    def _token(self) -> str:
        return turn_token(self._message, self._context.bot.digests.token_key)

    def _verify(self) -> requests.Commit:
        """Return a commit that stores nothing and is answered with whether this message was handled before."""
        turns = self._turns
        verify = verifying(self._context.bot.digests, self._message, turns.document.channels)
        return attrs.evolve(verify, member_id=turns.member_id, expected=turns.head)

    def _said(self, replies: Iterable[Reply], document: Document) -> tuple[Reply, ...]:
        return self._context.bot.say(replies, document.profile, document.channel)

    def _take(self, stored: requests.Stored) -> Document:
        """Go on with the stored document, or with a new one where none is readable."""
        turns, context = self._turns, self._context
        turns.head = stored.head
        reading = open_document(context.bot, turns.member_id, stored, instant(context.now))
        if isinstance(reading, Sound):
            turns.document = reading.document
            context.cache.keep(turns.member_id, stored.head, reading.document, len(stored.document or b""))
        elif isinstance(reading, Encrypted):
            raise reading.error
        else:
            turns.document = self._new_document()
        return turns.document

    # Promotion ----------------------------------------------------------------------------------------------------

    async def _follow(self, guest: Document) -> Outcome | None:
        """Complete a promotion that an earlier message began, unless this message was handled before it."""
        result = await self._turns.settle(await self._verify())
        return await (self._follow_on(guest) if isinstance(result, requests.Committed) else self._not_committed(result))

    async def _follow_on(self, guest: Document) -> Outcome | None:
        """Go on at the member that the guest has become."""
        self._turns.document = guest
        owner = await find_owner(self._context, self._place)
        if owner.member_id in (None, guest.member_id) or not owner.own:
            return await self._promote(guest, None)
        self._context.cache.forget(guest.member_id)
        return await self._go_to(owner)

    async def _promote(self, guest: Document, decision: Decision | None) -> Outcome | None:
        """Complete a promotion. `decision`: the decision that began it, if it was made on this message."""
        turns, context = self._turns, self._context
        result = await turns.promote(guest)
        if not guest.guest:  # a member that was joined to another one; each of its channels has its own owner
            return await self._find_owner()
        if isinstance(result, Unlinked):
            if result.owner is not None:
                return await self._go_to(requests.Linked(result.owner))
            turns.member_id, self._linked = guest.member_id, False  # a channel without an owner is a new guest's
            turns.document = self._new_document()
            return None
        document = result.document
        self._linked = not document.guest
        if self._repeating:
            return await self._repeat(document)
        if decision is None:
            return None
        if self._leased and self._sends:
            leased, self._leased = self._leased, []
            self._answers += await send(turns, leased, turns.document.channel.at_place_of(self._message.channel))
        if _run_id(document) != _run_id(guest):  # the member's own run stays, and its question is answered next
            self._replies += current_question(context.bot, document, instant(context.now))
        return await self._call(decision)


def _run_id(document: Document) -> str:
    return document.run.id if document.run else ""
